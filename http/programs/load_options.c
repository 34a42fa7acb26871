#include "http/programs/load.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* The program is the first member. */
#define LOAD(p) ((struct load *)(void *)(p))

#define SETS_NUMBER(field, least, most)                                                \
	static int set_##field(struct program *p, const struct program_option *option, \
			       const char *text)                                       \
	{                                                                              \
		return program_number(p, option, text, least, most, &LOAD(p)->field);  \
	}

SETS_NUMBER(connections, 1, LOAD_CONNECTIONS_MAX)
SETS_NUMBER(pipeline, 1, LOAD_PIPELINE_MAX)
SETS_NUMBER(rate, 1, LOAD_RATE_MAX)
SETS_NUMBER(requests, 1, UINT64_C(1) << 40)

#define SETS_TEXT(field)                                                               \
	static int set_##field(struct program *p, const struct program_option *option, \
			       const char *text)                                       \
	{                                                                              \
		if (!*text)                                                            \
			return program_wrong(p, option, text, "is empty");             \
		LOAD(p)->field = text;                                                 \
		return -1;                                                             \
	}

SETS_TEXT(connect)
SETS_TEXT(body_file)
SETS_TEXT(tls_ca)
SETS_TEXT(svg_path)

#define SETS_TRUE(name, field)                                                        \
	static int set_##name(struct program *p, const struct program_option *option, \
			      const char *text)                                       \
	{                                                                             \
		(void)option, (void)text;                                             \
		field = true;                                                         \
		return -1;                                                            \
	}

SETS_TRUE(tls_insecure, LOAD(p)->tls_insecure)
SETS_TRUE(json, LOAD(p)->json)
SETS_TRUE(quiet, p->quiet)

static int set_size(struct program *p, const struct program_option *option, const char *text)
{
	int status = program_bytes(p, option, text, &LOAD(p)->size);

	if (status < 0 && LOAD(p)->size > LOAD_TRAIN_BYTES_MAX)
		return program_wrong(p, option, text, "more than 64M");
	LOAD(p)->has_size = true;
	return status;
}

/* A day, so that no sum of times overflows. */
static int set_time(struct program *p, const struct program_option *option, const char *text,
		    uint64_t *ret_ns)
{
	int status = program_time(p, option, text, ret_ns);

	if (status < 0 && *ret_ns > TORC_SECONDS(86400))
		return program_wrong(p, option, text, "more than a day");
	return status;
}

static int set_duration(struct program *p, const struct program_option *option, const char *text)
{
	LOAD(p)->has_duration = true;
	return set_time(p, option, text, &LOAD(p)->duration_ns);
}

static int set_warm_up(struct program *p, const struct program_option *option, const char *text)
{
	LOAD(p)->has_warm_up = true;
	LOAD(p)->warm_up_ns = 0;
	return strcmp(text, "0") ? set_time(p, option, text, &LOAD(p)->warm_up_ns) : -1;
}

static int set_timeout(struct program *p, const struct program_option *option, const char *text)
{
	return set_time(p, option, text, &LOAD(p)->timeout_ns);
}

static size_t token_len(const char *text)
{
	return strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789!#$%&'*+-.^_`|~");
}

static int set_method(struct program *p, const struct program_option *option, const char *text)
{
	if (!*text || text[token_len(text)] || strlen(text) > 32)
		return program_wrong(p, option, text, "not a method");
	if (!strcmp(text, "CONNECT"))
		return program_wrong(p, option, text, "makes a tunnel, and no request");
	LOAD(p)->method = text;
	return -1;
}

static int set_body(struct program *p, const struct program_option *option, const char *text)
{
	(void)option;
	LOAD(p)->body = text;
	return -1;
}

static bool is_named(const char *header, size_t len, const char *name)
{
	return len == strlen(name) && !strncasecmp(header, name, len);
}

static int set_header(struct program *p, const struct program_option *option, const char *text)
{
	struct load *load = LOAD(p);
	size_t len = token_len(text);

	if (!len || text[len] != ':' || !program_is_line(text + len))
		return program_wrong(p, option, text, "not 'Name: value' as HTTP has it");
	if (is_named(text, len, "Content-Length") || is_named(text, len, "Transfer-Encoding"))
		return program_wrong(p, option, text, "torc-load says that by itself");
	if (load->header_count == LOAD_HEADERS_MAX)
		return program_wrong(p, option, text, "there are too many");
	load->headers[load->header_count++] = (struct torc_slice){ text, strlen(text) };
	return -1;
}

const struct program_option load_options[] = {
	{ "connections", "N", "connections at once (default: 64)", set_connections },
	{ "pipeline", "N",
	  "requests that a connection sends before it waits for their\n"
	  "answers (default: 1)",
	  set_pipeline },
	{ "rate", "N",
	  "requests per second of all connections together, each due at\n"
	  "its time, from which its latency counts (default: a connection\n"
	  "sends as soon as it has its answers)",
	  set_rate },
	{ "duration", "TIME", "how long it measures: 10, 500ms, 5m, 1h (default: 10)",
	  set_duration },
	{ "requests", "N", "so many requests instead, and at most an hour", set_requests },
	{ "warm-up", "TIME",
	  "before that, not counted; may be 0 (default: 1, and 0 with\n"
	  "--requests)",
	  set_warm_up },
	{ "timeout", "TIME", "for an answer, and for connecting (default: 10)", set_timeout },
	{ "method", "NAME", "of the requests (default: GET, with a body POST)", set_method },
	{ "header", "'NAME: VALUE'", "a field of each request; repeatable", set_header },
	{ "body", "TEXT", "the body of each request", set_body },
	{ "body-file", "FILE", "the same from a file", set_body_file },
	{ "size", "BYTES", "of what is to be echoed: 64, 4K, 1M (default: 64)", set_size },
	{ "connect", "ADDR",
	  "connect there, and not to the URL's host: HOST:PORT, unix:PATH\n"
	  "or unix:@NAME",
	  set_connect },
	{ "tls-ca", "FILE", "PEM: trust these authorities, and not the system's", set_tls_ca },
	{ "tls-insecure", NULL, "trust whoever answers", set_tls_insecure },
	{ "json", NULL, "print the report as JSON", set_json },
	{ "svg", "FILE", "draw the latencies", set_svg_path },
	{ "quiet", NULL, "no progress on the terminal", set_quiet },
	{ NULL, NULL, NULL, NULL },
};

static int lacks(const struct load *load, const char *what)
{
	fprintf(stderr, "%s: %s; try --help\n", load->program.name, what);
	return 2;
}

static void set_defaults(struct load *load)
{
	bool of_count = load->requests && !load->has_duration;

	load->connections = load->connections ? load->connections : 64;
	load->pipeline = load->pipeline ? load->pipeline : 1;
	load->size = load->size ? load->size : 64;
	load->timeout_ns = load->timeout_ns ? load->timeout_ns : TORC_SECONDS(10);
	if (!load->has_duration)
		load->duration_ns = TORC_SECONDS(of_count ? 3600 : 10);
	if (!load->has_warm_up)
		load->warm_up_ns = load->requests ? 0 : TORC_SECONDS(1);
	if (!load->method)
		load->method = load->body || load->body_file ? "POST" : "GET";
	load->is_head = !strcmp(load->method, "HEAD");
}

/* What only HTTP has. */
static bool asks_for_http(const struct load *load)
{
	return load->method || load->header_count || load->body || load->body_file || load->connect;
}

int load_check(struct load *load)
{
	const char *target = load->program.target;

	load->is_tls = !strncmp(target, "https://", 8) || !strncmp(target, "tls://", 6);
	load->is_http = !strncmp(target, "http", 4);
	if (!load->is_http && asks_for_http(load))
		return lacks(load,
			     "--method, --header, --body, --body-file and --connect need an URL "
			     "of http or https");
	if (load->is_http && load->has_size)
		return lacks(load, "--size is for echoes");
	if (load->body && load->body_file)
		return lacks(load, "--body or --body-file, not both");
	if (!load->is_tls && (load->tls_insecure || load->tls_ca))
		return lacks(load, "--tls-ca and --tls-insecure need https:// or tls://");
	set_defaults(load);
	return -1;
}
