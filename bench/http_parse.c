#include "bench/http_parse_bench.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "bench/peers/http_parser.h"
#include "http/internal/parse.h"
#include "http/internal/scan.h"

const char torc_bench_request_minimal[] = "GET / HTTP/1.1\r\n"
					  "Host: 127.0.0.1:8080\r\n"
					  "\r\n";

const char torc_bench_request_browser[] =
	"GET /articles/2026/11/fibers-on-io-uring?ref=frontpage&page=2 HTTP/1.1\r\n"
	"Host: www.example.com\r\n"
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
	"Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
	"Accept-Encoding: gzip, deflate, br, zstd\r\n"
	"Referer: https://www.example.com/articles/2026/?page=1\r\n"
	"Connection: keep-alive\r\n"
	"Cookie: session=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b; theme=dark; consent=2026-01-31\r\n"
	"Upgrade-Insecure-Requests: 1\r\n"
	"Sec-Fetch-Dest: document\r\n"
	"Sec-Fetch-Mode: navigate\r\n"
	"Sec-Fetch-Site: same-origin\r\n"
	"If-Modified-Since: Mon, 23 Nov 2026 17:04:11 GMT\r\n"
	"Cache-Control: max-age=0\r\n"
	"\r\n";

const char torc_bench_response[] = "HTTP/1.1 200 OK\r\n"
				   "Date: Mon, 23 Nov 2026 17:04:11 GMT\r\n"
				   "Server: nginx/1.22.1\r\n"
				   "Content-Type: text/html; charset=utf-8\r\n"
				   "Content-Length: 12043\r\n"
				   "Connection: keep-alive\r\n"
				   "Last-Modified: Sun, 22 Nov 2026 09:30:00 GMT\r\n"
				   "ETag: \"65bf10a8-2f0b\"\r\n"
				   "Cache-Control: public, max-age=300\r\n"
				   "Vary: Accept-Encoding\r\n"
				   "Accept-Ranges: bytes\r\n"
				   "\r\n";

#define ROUNDS   31
#define ROUND_NS 300000.0 /* short, so that most rounds see no interrupt and no other process */
#define FIELDS   64

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

typedef int parse_fn(struct torc__http_head *head, const char *buf, size_t len,
		     const struct torc__http_limits *lim);

/* The head stays from parse to parse, as in a connection. */
static inline int parse_once(parse_fn *parse, struct torc__http_head *head, const char *req,
			     size_t len)
{
	static const struct torc__http_limits limits = { 8192, 65536, FIELDS };
	int result;

	/* The compiler must neither know what is in the request nor drop what is not used. */
	__asm__ volatile("" : "+r"(req), "+r"(len) : : "memory");
	result = parse(head, req, len, &limits);
	__asm__ volatile("" : : "r"(head) : "memory");
	return result;
}

/* What is measured: one parse of req. Returns < 0 when it is not good. */
typedef int once_fn(void *context, const char *req, size_t len);

static int request_once(void *head, const char *req, size_t len)
{
	return parse_once(torc__http_parse_request, head, req, len);
}

static int response_once(void *head, const char *response, size_t len)
{
	return parse_once(torc__http_parse_response, head, response, len);
}

static double round_ns(once_fn *once, void *context, const char *req, size_t len, unsigned count)
{
	double start = now_ns();

	for (unsigned i = 0; i < count; i++)
		once(context, req, len);
	return (now_ns() - start) / count;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_ns(once_fn *once, void *context, const char *req, size_t len)
{
	double rounds[ROUNDS];
	double estimate = round_ns(once, context, req, len, 2000);
	unsigned count = (unsigned)(ROUND_NS / estimate) + 1;

	for (unsigned i = 0; i < ROUNDS; i++)
		rounds[i] = round_ns(once, context, req, len, count);
	qsort(rounds, ROUNDS, sizeof(rounds[0]), compare);
	return rounds[ROUNDS / 2];
}

static double parse_ns(once_fn *once, const char *buf, size_t len, int force_scalar)
{
	struct torc__http_field fields[FIELDS];
	struct torc__http_head head = { .fields = fields, .field_capacity = FIELDS };
	double ns;

	if (len > INT32_MAX || once(&head, buf, len) != (int)len)
		return NAN;
	torc__http_scan_select(force_scalar ? TORC__HTTP_ISA_SCALAR : TORC__HTTP_ISA_AUTO);
	ns = median_ns(once, &head, buf, len);
	torc__http_scan_select(TORC__HTTP_ISA_AUTO);
	return ns;
}

double torc_bench_http_parse_ns(const char *req, size_t len, int force_scalar)
{
	return parse_ns(request_once, req, len, force_scalar);
}

double torc_bench_http_response_ns(const char *response, size_t len, int force_scalar)
{
	return parse_ns(response_once, response, len, force_scalar);
}

#if PEER_PARSER

/* Its callbacks store what torc stores: a pointer and a length for each part. */
struct peer {
	struct peer_parser calls;
	http_parser_settings settings;
	struct torc_slice url, fields[2 * FIELDS];
	unsigned count;
	bool done;
};

static int peer_url(http_parser *p, const char *at, size_t len)
{
	((struct peer *)p->data)->url = (struct torc_slice){ at, len };
	return 0;
}

static int peer_part(http_parser *p, const char *at, size_t len)
{
	struct peer *peer = p->data;

	if (peer->count == 2 * FIELDS)
		return 1;
	peer->fields[peer->count++] = (struct torc_slice){ at, len };
	return 0;
}

static int peer_end(http_parser *p)
{
	((struct peer *)p->data)->done = true;
	return 0;
}

static int peer_once(void *context, const char *req, size_t len)
{
	struct peer *peer = context;
	http_parser parser;

	__asm__ volatile("" : "+r"(req), "+r"(len) : : "memory");
	peer->calls.init(&parser, HTTP_REQUEST);
	parser.data = peer;
	peer->count = 0;
	peer->done = false;
	(void)peer->calls.execute(&parser, &peer->settings, req, len);
	return peer->done ? 0 : -1;
}

double torc_bench_http_parser_ns(const char *req, size_t len)
{
	static struct peer peer;

	if (!peer_parser_load(&peer.calls))
		return NAN;
	peer.calls.settings_init(&peer.settings);
	peer.settings.on_url = peer_url;
	peer.settings.on_header_field = peer_part;
	peer.settings.on_header_value = peer_part;
	peer.settings.on_message_complete = peer_end;
	return peer_once(&peer, req, len) < 0 ? NAN : median_ns(peer_once, &peer, req, len);
}

#else

double torc_bench_http_parser_ns(const char *req, size_t len)
{
	(void)req;
	(void)len;
	return NAN;
}

#endif
