/*
 * http/response.c - write responses: the size first, then one reservation and straight copies.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <torc/core/sys.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "http/internal/exchange.h"

/* A body up to this size is copied behind the head: one send. */
#define COPY_BYTES 8192

/* Head without the added fields and the type. */
#define HEAD_ROOM 256

#define TYPE_MAX 256

/* A body is sent in parts, each with write_ns of its own: so that is a minimum rate. */
#define PART_BYTES ((size_t)128 << 10)

const char *torc__http_reason(int status)
{
	/* clang-format off */
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 202: return "Accepted";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 301: return "Moved Permanently";
	case 302: return "Found";
	case 303: return "See Other";
	case 304: return "Not Modified";
	case 307: return "Temporary Redirect";
	case 308: return "Permanent Redirect";
	case 400: return "Bad Request";
	case 401: return "Unauthorized";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 409: return "Conflict";
	case 411: return "Length Required";
	case 412: return "Precondition Failed";
	case 413: return "Content Too Large";
	case 414: return "URI Too Long";
	case 415: return "Unsupported Media Type";
	case 416: return "Range Not Satisfiable";
	case 417: return "Expectation Failed";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 502: return "Bad Gateway";
	case 503: return "Service Unavailable";
	case 504: return "Gateway Timeout";
	case 505: return "HTTP Version Not Supported";
	default: return "Unknown";
	}
	/* clang-format on */
}

void torc__http_date(char out[29], int64_t unix_seconds)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	char text[64];
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	/* Not strftime: its names depend on the locale. */
	gmtime_r(&t, &tm);
	snprintf(text, sizeof(text), "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
		 days + tm.tm_wday * 3, tm.tm_mday, months + tm.tm_mon * 3, tm.tm_year + 1900,
		 tm.tm_hour, tm.tm_min, tm.tm_sec);
	memcpy(out, text, 29);
}

struct date_cache {
	uint64_t until_ns;
	char line[6 + 29 + 2];
};

static void free_cache(void *data)
{
	torc__free(data);
}

static struct date_cache *cache_of(struct torc__loop *loop)
{
	struct torc__attached *slot = &loop->attached[TORC__ATTACHED_HTTP];
	static struct date_cache none; /* without memory: formatted anew each time */

	if (!slot->data) {
		slot->data = torc__calloc(1, sizeof(struct date_cache));
		slot->destroy = free_cache;
	}
	return slot->data ? slot->data : &none;
}

const char *torc__http_date_line(void)
{
	struct torc__loop *loop = torc__self()->loop;
	struct date_cache *cache = cache_of(loop);
	uint64_t wall_ns;

	if (torc__likely(loop->now_ns < cache->until_ns))
		return cache->line;
	wall_ns = torc_sys_wall_ns();
	memcpy(cache->line, "Date: ", 6);
	torc__http_date(cache->line + 6, (int64_t)(wall_ns / TORC_SECONDS(1)));
	memcpy(cache->line + 35, "\r\n", 2);
	cache->until_ns = loop->now_ns + TORC_SECONDS(1) - wall_ns % TORC_SECONDS(1);
	return cache->line;
}

static char *put(char *p, const char *text, size_t len)
{
	memcpy(p, text, len);
	return p + len;
}

#define PUT(p, literal) put(p, literal, sizeof(literal) - 1)

static char *put_number(char *p, uint64_t value)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while (value /= 10);
	while (n)
		*p++ = digits[--n];
	return p;
}

static char *put_status(char *p, int status)
{
	const char *reason;

	if (status == 200)
		return PUT(p, "HTTP/1.1 200 OK\r\n");
	reason = torc__http_reason(status);
	p = PUT(p, "HTTP/1.1 ");
	p = put_number(p, (uint64_t)status);
	*p++ = ' ';
	p = put(p, reason, strlen(reason));
	return PUT(p, "\r\n");
}

static bool is_field_value(const char *value)
{
	for (; *value; value++)
		if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
			return false;
	return true;
}

/* RFC 9110, section 5.6.2. */
static bool is_token(const char *name)
{
	static const char others[] = "!#$%&'*+-.^_`|~";
	const char *p = name;

	for (; *p; p++) {
		bool letter = (*p | 0x20) >= 'a' && (*p | 0x20) <= 'z';

		if (!letter && !(*p >= '0' && *p <= '9') && !strchr(others, *p))
			return false;
	}
	return p != name;
}

/* Fields that the library writes itself: a second one would make two responses of one. */
static bool is_ours(const char *name)
{
	static const char *const ours[] = { "Connection", "Content-Length", "Date",
					    "Transfer-Encoding" };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (!strcasecmp(name, ours[i]))
			return true;
	return false;
}

int torc_http_add_field(struct torc_http_exchange *x, const char *name, const char *value)
{
	size_t name_len = strlen(name), value_len = strlen(value);
	char *p = x->extra + x->extra_len;

	if (x->responded)
		return -EALREADY;
	if (!is_token(name) || is_ours(name) || !is_field_value(value))
		return -EINVAL;
	if (name_len + value_len + 4 > sizeof(x->extra) - x->extra_len)
		return -ENOSPC;
	p = put(p, name, name_len);
	p = PUT(p, ": ");
	p = put(p, value, value_len);
	p = PUT(p, "\r\n");
	x->extra_len = (uint32_t)(p - x->extra);
	return 0;
}

/* Would what is left of the body, as far as one can know, be skipped? */
static bool body_allows_keep_alive(const struct torc_http_exchange *x)
{
	if (x->body_done)
		return true;
	return !x->continue_due && !x->body_error && x->body_left <= TORC__HTTP_SKIP_BYTES;
}

static void decide_connection(struct torc_http_exchange *x)
{
	const uint8_t *drain = x->stream->drain;

	if (!x->head.keep_alive || !body_allows_keep_alive(x) || (drain && *drain))
		x->close = true;
}

static char *put_connection(char *p, const struct torc_http_exchange *x)
{
	if (x->close)
		return PUT(p, "Connection: close\r\n");
	if (x->head.minor == 0)
		return PUT(p, "Connection: keep-alive\r\n");
	return p;
}

/* Everything up to the empty line. */
static char *put_head(char *p, const struct torc_http_exchange *x, int status, const char *type,
		      uint64_t length)
{
	p = put_status(p, status);
	p = put(p, torc__http_date_line(), 37);
	if (type) {
		p = PUT(p, "Content-Type: ");
		p = put(p, type, strlen(type));
		p = PUT(p, "\r\n");
	}
	if (x->in_chunks) {
		p = PUT(p, "Transfer-Encoding: chunked\r\n");
	} else if (length != TORC_NEVER && status != 204 && (status != 304 || length)) {
		/* In a 304 it would be that of the 200, which 0 is not: RFC 9110, section 8.6. */
		p = PUT(p, "Content-Length: ");
		p = put_number(p, length);
		p = PUT(p, "\r\n");
	}
	p = put_connection(p, x);
	p = put(p, x->extra, x->extra_len);
	return PUT(p, "\r\n");
}

static int check_response(const struct torc_http_exchange *x, int status, const char *type)
{
	if (x->responded)
		return -EALREADY;
	if (status < 200 || status > 599)
		return -EINVAL;
	return type && (!is_field_value(type) || strlen(type) > TYPE_MAX) ? -EINVAL : 0;
}

static void prepare(struct torc_http_exchange *x, int status, uint64_t length)
{
	bool unknown = length == TORC_NEVER;

	x->without_body = x->head.method == TORC__HTTP_HEAD || status == 204 || status == 304;
	x->in_chunks = unknown && x->head.minor && status != 204 && status != 304;
	x->out_left = length;
	decide_connection(x);
	if (unknown && !x->head.minor)
		x->close = true; /* the end of the connection is the end of the body */
}

/* Sending waits for the peer; it may not let us wait for ever. */
static void enter_write(const struct torc_http_exchange *x, struct torc_scope *scope)
{
	torc_scope_enter_until(scope, torc_turn_ns() + x->config->options.write_ns);
}

static int write_body(struct torc_http_exchange *x, const char *data, size_t len)
{
	int r = 0;

	while (!r && len) {
		size_t part = len < PART_BYTES ? len : PART_BYTES;
		struct torc_scope scope;

		enter_write(x, &scope);
		r = torc_stream_write(x->stream, data, part);
		torc_scope_leave(&scope);
		data += part;
		len -= part;
	}
	return r;
}

/* The head, and a body if it is small enough, in one piece. */
static int send_head(struct torc_http_exchange *x, int status, const char *type, uint64_t length,
		     const void *body, size_t body_len)
{
	char *room, *p;
	struct torc_scope scope;
	int r;

	enter_write(x, &scope);
	r = torc_stream_reserve(x->stream, HEAD_ROOM + TYPE_MAX + x->extra_len + body_len, &room);
	torc_scope_leave(&scope);
	if (r < 0)
		return r;
	x->responded = true;
	p = put_head(room, x, status, type, length);
	if (body_len)
		p = put(p, body, body_len);
	torc_stream_commit(x->stream, (size_t)(p - room));
	return 0;
}

int torc_http_respond(struct torc_http_exchange *x, int status, const char *type, const void *body,
		      size_t len)
{
	size_t copied;
	int r = check_response(x, status, type);

	if (r < 0)
		return r;
	prepare(x, status, len);
	x->out_left = 0;
	copied = len <= COPY_BYTES && !x->without_body ? len : 0;
	r = send_head(x, status, type, len, body, copied);
	if (!r && copied < len && !x->without_body) {
		r = write_body(x, body, len);
		x->incomplete = r < 0;
	}
	return r;
}

int torc_http_begin(struct torc_http_exchange *x, int status, const char *type, uint64_t length)
{
	int r = check_response(x, status, type);

	if (r < 0)
		return r;
	prepare(x, status, length);
	return send_head(x, status, type, length, NULL, 0);
}

static int write_chunk(struct torc_http_exchange *x, const void *data, size_t len)
{
	char head[20];
	int n = snprintf(head, sizeof(head), "%zx\r\n", len);
	int r = write_body(x, head, (size_t)n);

	if (!r)
		r = write_body(x, data, len);
	return r ? r : write_body(x, "\r\n", 2);
}

int torc_http_write(struct torc_http_exchange *x, const void *data, size_t len)
{
	int r;

	if (!x->responded)
		return -EINVAL;
	if (x->incomplete) /* what follows would take the place of what is missing */
		return -EPIPE;
	if (x->out_left != TORC_NEVER) {
		if (len > x->out_left)
			return -EMSGSIZE;
		x->out_left -= len;
	}
	if (x->without_body || !len)
		return 0;
	r = x->in_chunks ? write_chunk(x, data, len) : write_body(x, data, len);
	x->incomplete = r < 0;
	return r;
}

int torc__http_finish(struct torc_http_exchange *x)
{
	if (x->incomplete)
		return -EPIPE;
	if (x->out_left != TORC_NEVER)
		return x->out_left && !x->without_body ? -EPIPE : 0;
	if (!x->in_chunks || x->without_body)
		return 0;
	return write_body(x, "0\r\n\r\n", 5);
}

int torc__http_refuse(struct torc_stream *s, const struct torc__http_config *config, int status)
{
	const char *reason = torc__http_reason(status);
	struct torc_scope scope;
	char text[256], date[29];
	int n, r;

	memcpy(date, torc__http_date_line() + 6, 29);
	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 %d %s\r\nDate: %.29s\r\nContent-Type: text/plain\r\n"
		     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
		     status, reason, date, strlen(reason) + 1, reason);
	torc_scope_enter_until(&scope, torc_turn_ns() + config->options.write_ns);
	r = torc_stream_write(s, text, (size_t)n);
	torc_scope_leave(&scope);
	return r;
}
