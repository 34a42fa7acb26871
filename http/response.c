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

/*
 * A body is sent in parts. A peer that takes such a part in write_ns is fast enough, however small the pieces are that
 * it comes in: each byte gives back its share of the time that was waited for it.
 */
#define PART_BYTES ((size_t)128 << 10)

const char *torc__http_reason(int status)
{
	/* clang-format off */
	switch (status) {
	case 102: return "Processing";
	case 103: return "Early Hints";
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

/* How many bytes come before the first that no field value may have: the end of a string is one. */
static size_t value_length(const char *value)
{
	size_t n = 0;

	while (!torc__http_is(value[n], TORC__HTTP_CTL))
		n++;
	return n;
}

bool torc__http_is_field_value(const char *value)
{
	return !value[value_length(value)];
}

/* RFC 9110, section 5.6.2. */
bool torc__http_is_token(const char *name)
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

static int check_field(const char *name, const char *value)
{
	return torc__http_is_token(name) && !is_ours(name) && torc__http_is_field_value(value)
		       ? 0
		       : -EINVAL;
}

/* "name: value\r\n" */
static char *put_field(char *p, const char *name, const char *value)
{
	p = put(p, name, strlen(name));
	p = PUT(p, ": ");
	p = put(p, value, strlen(value));
	return PUT(p, "\r\n");
}

static size_t field_bytes(const char *name, const char *value)
{
	return strlen(name) + strlen(value) + 4;
}

static int append_field(struct torc_http_exchange *x, struct torc__http_text *text,
			const char *name, const char *value)
{
	int r = torc__http_text_grow(x, text, field_bytes(name, value), TORC_HTTP_FIELDS_BYTES);

	if (r < 0)
		return r;
	text->len = (uint32_t)(put_field(text->data + text->len, name, value) - text->data);
	return 0;
}

int torc_http_add_field(struct torc_http_exchange *x, const char *name, const char *value)
{
	int r = check_field(name, value);

	if (x->responded)
		return -EALREADY;
	return r ? r : append_field(x, &x->extra, name, value);
}

/* Behind those that are kept, in front of the others. */
int torc__http_keep_lines(struct torc_http_exchange *x, const char *lines, size_t len)
{
	struct torc__http_text *extra = &x->extra;
	char *at;
	int r;

	if (x->responded)
		return -EALREADY;
	r = torc__http_text_grow(x, extra, len, TORC_HTTP_FIELDS_BYTES);
	if (r < 0)
		return r;
	at = extra->data + x->extra_kept;
	if (torc__unlikely(x->extra_kept < extra->len))
		memmove(at + len, at, extra->len - x->extra_kept);
	memcpy(at, lines, len);
	extra->len += (uint32_t)len;
	x->extra_kept += (uint32_t)len;
	return 0;
}

int torc_http_keep_field(struct torc_http_exchange *x, const char *name, const char *value)
{
	uint32_t before = x->extra.len, len;
	int r = torc_http_add_field(x, name, value);
	char *lines;

	if (r < 0)
		return r;
	len = x->extra.len - before;
	if (before > x->extra_kept) {
		/* It belongs in front of those that are not kept. */
		lines = torc_http_alloc(x, len);
		if (lines)
			memcpy(lines, x->extra.data + before, len);
		x->extra.len = before;
		if (!lines)
			return -ENOMEM;
		return torc__http_keep_lines(x, lines, len);
	}
	x->extra_kept += len;
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

	if (!x->head.keep_alive || !body_allows_keep_alive(x) || (drain && *drain) ||
	    x->connection->requests >= x->config->options.requests_max)
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
	p = put(p, x->extra.data, x->extra.len);
	return PUT(p, "\r\n");
}

static int check_response(const struct torc_http_exchange *x, int status, const char *type)
{
	size_t len;

	if (x->responded)
		return -EALREADY;
	if (status < 200 || status > 599)
		return -EINVAL;
	if (!type)
		return 0;
	len = value_length(type);
	return type[len] || len > TYPE_MAX ? -EINVAL : 0;
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

/*
 * Sending waits for the peer; it may not let us wait for ever. It will hardly wait at all if that is less than so much.
 */
#define SELDOM_WAITS (TORC__TX_HIGH / 2)

static void enter_write(struct torc_http_exchange *x, struct torc_scope *scope, size_t len)
{
	x->unwatched = len + torc__stream_unsent(x->stream) > SELDOM_WAITS || x->stream->tx_rate;
	if (torc__unlikely(x->unwatched))
		torc__http_unwatch(x);
	x->write_began_ns = torc_turn_ns();
	torc_scope_enter_until(scope, x->write_began_ns + x->connection->write_left_ns);
}

static void leave_write(struct torc_http_exchange *x, struct torc_scope *scope, size_t len)
{
	const uint64_t most = x->config->options.write_ns;
	uint64_t waited = torc_turn_ns() - x->write_began_ns, left = x->connection->write_left_ns;

	torc_scope_leave(scope);
	left = (left > waited ? left - waited : 0) + most / PART_BYTES * len;
	x->connection->write_left_ns = left < most ? left : most;
	if (torc__unlikely(x->unwatched))
		torc__http_watch(x);
}

static int write_body(struct torc_http_exchange *x, const char *data, size_t len)
{
	int r = 0;

	while (!r && len) {
		size_t part = len < PART_BYTES ? len : PART_BYTES;
		struct torc_scope scope;

		enter_write(x, &scope, part < TORC__TX_DIRECT ? part : TORC__TX_HIGH);
		r = torc_stream_write(x->stream, data, part);
		leave_write(x, &scope, part);
		data += part;
		len -= part;
	}
	return r;
}

/* The head, and a body if it is small enough, in one piece. */
static int send_head(struct torc_http_exchange *x, const struct torc_http_response_head *head,
		     size_t body_len)
{
	size_t most = HEAD_ROOM + TYPE_MAX + x->extra.len + body_len;
	char *room, *p;
	struct torc_scope scope;
	int r;

	enter_write(x, &scope, most);
	r = torc_stream_reserve(x->stream, most, &room);
	leave_write(x, &scope, most);
	if (r < 0)
		return r;
	x->responded = true;
	x->status = head->status;
	p = put_head(room, x, head->status, head->type, head->length);
	if (body_len)
		p = put(p, head->body, body_len);
	torc_stream_commit(x->stream, (size_t)(p - room));
	return 0;
}

/* --- whole responses --- */

static int respond_plain(struct torc_http_exchange *x, const struct torc_http_response_head *head)
{
	size_t len = (size_t)head->length, copied;
	int r;

	prepare(x, head->status, len);
	x->out_left = 0;
	copied = len <= COPY_BYTES && !x->without_body ? len : 0;
	r = send_head(x, head, copied);
	if (r)
		return r;
	x->ended = true;
	if (x->without_body)
		return 0;
	x->sent_bytes = len;
	if (copied < len) {
		r = write_body(x, head->body, len);
		x->incomplete = r < 0;
	}
	return r;
}

/* What the filters make of the head. Those that this response is not for are left out. */
static int begin_filters(struct torc_http_exchange *x, struct torc_http_response_head *head)
{
	struct torc_http_filter **link = &x->filters;

	while (*link) {
		int r = (*link)->begin(*link, x, head);

		if (r < 0)
			return r;
		if (r)
			*link = (*link)->next;
		else
			link = &(*link)->next;
	}
	return check_response(x, head->status, head->type);
}

static int begin_plain(struct torc_http_exchange *x, const struct torc_http_response_head *head)
{
	prepare(x, head->status, head->length);
	return send_head(x, head, 0);
}

static int respond_filtered(struct torc_http_exchange *x, struct torc_http_response_head *head)
{
	const void *body = head->body;
	size_t len = (size_t)head->length;
	int r = begin_filters(x, head);

	if (r < 0)
		return r;
	if (!x->filters) {
		torc__check(head->length != TORC_NEVER,
			    "a filter left a response without a length");
		return respond_plain(x, head);
	}
	/* One filter may have put another body in the place of the first, which the others then see. */
	if (head->body != body) {
		body = head->body;
		len = (size_t)head->length;
	}
	r = begin_plain(x, head);
	if (r < 0)
		return r;
	x->promised_left = len;
	r = torc_http_write(x, body, len);
	return r ? r : torc_http_end(x);
}

int torc_http_respond(struct torc_http_exchange *x, int status, const char *type, const void *body,
		      size_t len)
{
	struct torc_http_response_head head = { status, type, len, body };
	int r = check_response(x, status, type);

	if (r < 0)
		return r;
	return torc__unlikely(x->filters != NULL) ? respond_filtered(x, &head)
						  : respond_plain(x, &head);
}

int torc_http_respond_text(struct torc_http_exchange *x, int status, const char *text)
{
	return torc_http_respond(x, status, "text/plain; charset=utf-8", text, strlen(text));
}

int torc_http_respond_json(struct torc_http_exchange *x, int status, const char *json, size_t len)
{
	return torc_http_respond(x, status, "application/json", json, len);
}

static bool is_redirect(int status)
{
	return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

int torc_http_redirect(struct torc_http_exchange *x, int status, const char *location)
{
	int r;

	if (x->responded)
		return -EALREADY;
	if (!is_redirect(status) || !*location)
		return -EINVAL;
	for (const char *p = location; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f)
			return -EINVAL;
	r = torc_http_add_field(x, "Location", location);
	return r ? r : torc_http_respond(x, status, NULL, NULL, 0);
}

/* The status that stands for an error of the request; 0: the connection itself has failed. */
static int status_of_request(int error)
{
	switch (error) {
	case -EMSGSIZE: return 413;
	case -EBADMSG: return 400;
	case -EPROTOTYPE: return 415;
	case -ETIMEDOUT: return 408;
	case -ENOMEM: return 503;
	default: return 0;
	}
}

int torc_http_respond_error(struct torc_http_exchange *x, int result)
{
	const char *reason;
	int status = result == -ENOENT ? 404 : 500;

	if (x->late)
		status = 503;
	/* The peer is gone: nobody is left to answer. Not to be told from the handler's result alone, which
	 * may be about a connection of its own. */
	else if (result && (result == x->body_error || result == x->rejected))
		status = status_of_request(result);
	if (!status)
		return result;
	if (x->body_error)
		x->close = true;
	if (x->responded)
		return -EALREADY;
	x->extra.len = x->extra_kept;
	x->filters = NULL;
	reason = torc__http_reason(status);
	return torc_http_respond(x, status, "text/plain", reason, strlen(reason));
}

/* --- interim responses --- */

static int measure_fields(const struct torc_http_pair *fields, size_t count, size_t *ret_bytes)
{
	size_t bytes = 0;

	for (size_t i = 0; i < count; i++) {
		int r = check_field(fields[i].name, fields[i].value);

		if (r < 0)
			return r;
		bytes += field_bytes(fields[i].name, fields[i].value);
		if (bytes > TORC_HTTP_FIELDS_BYTES)
			return -ENOSPC;
	}
	*ret_bytes = bytes;
	return 0;
}

int torc_http_inform(struct torc_http_exchange *x, int status, const struct torc_http_pair *fields,
		     size_t count)
{
	struct torc_scope scope;
	size_t bytes;
	char *room, *p;
	int r;

	if (x->responded)
		return -EALREADY;
	if (status < 102 || status > 199)
		return -EINVAL;
	r = measure_fields(fields, count, &bytes);
	if (r < 0 || !x->head.minor)
		return r;
	enter_write(x, &scope, bytes);
	r = torc_stream_reserve(x->stream, HEAD_ROOM + bytes, &room);
	leave_write(x, &scope, bytes);
	if (r < 0)
		return r;
	p = put_status(room, status);
	for (size_t i = 0; i < count; i++)
		p = put_field(p, fields[i].name, fields[i].value);
	p = PUT(p, "\r\n");
	torc_stream_commit(x->stream, (size_t)(p - room));
	return 0;
}

/* --- responses in parts --- */

int torc_http_begin(struct torc_http_exchange *x, int status, const char *type, uint64_t length)
{
	struct torc_http_response_head head = { status, type, length, NULL };
	int r = check_response(x, status, type);

	if (r < 0)
		return r;
	if (torc__unlikely(x->filters != NULL)) {
		r = begin_filters(x, &head);
		if (r < 0)
			return r;
		torc__check(!head.body, "a filter gave a body to a response that comes in parts");
		x->promised_left = length;
	}
	return begin_plain(x, &head);
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

/* Counts off a promised length. */
static int count_off(uint64_t *left, size_t len)
{
	if (*left == TORC_NEVER)
		return 0;
	if (len > *left)
		return -EMSGSIZE;
	*left -= len;
	return 0;
}

/* Behind the last filter. */
static int write_plain(struct torc_http_exchange *x, const void *data, size_t len)
{
	int r = count_off(&x->out_left, len);

	if (r < 0)
		return r;
	if (x->without_body || !len)
		return 0;
	x->sent_bytes += len;
	r = x->in_chunks ? write_chunk(x, data, len) : write_body(x, data, len);
	x->incomplete = r < 0;
	return r;
}

int torc_http_write(struct torc_http_exchange *x, const void *data, size_t len)
{
	int r;

	if (!x->responded || (x->ended && !x->incomplete))
		return -EINVAL;
	if (x->incomplete) /* what follows would take the place of what is missing */
		return -EPIPE;
	if (torc__likely(!x->filters))
		return write_plain(x, data, len);
	r = count_off(&x->promised_left, len);
	if (r < 0 || x->without_body || !len)
		return r;
	r = x->filters->write(x->filters, x, data, len);
	x->incomplete |= r < 0;
	return r;
}

int torc_http_filter_write(struct torc_http_filter *f, struct torc_http_exchange *x,
			   const void *data, size_t len)
{
	if (!len)
		return 0;
	return f->next ? f->next->write(f->next, x, data, len) : write_plain(x, data, len);
}

int torc_http_flush(struct torc_http_exchange *x)
{
	struct torc_http_filter from = { .next = x->filters };
	int r;

	if (!x->responded)
		return -EINVAL;
	if (x->incomplete)
		return -EPIPE;
	if (!x->filters || x->ended || x->without_body)
		return 0;
	r = torc_http_filter_flush(&from, x);
	x->incomplete |= r < 0;
	return r;
}

/* The last chunk, with the trailers. */
static int end_chunks(struct torc_http_exchange *x)
{
	int r = write_body(x, "0\r\n", 3);

	if (!r)
		r = write_body(x, x->trailing.data, x->trailing.len);
	return r ? r : write_body(x, "\r\n", 2);
}

static int end_filters(struct torc_http_exchange *x)
{
	if (x->promised_left && x->promised_left != TORC_NEVER)
		return -EPIPE;
	return x->filters->end(x->filters, x);
}

int torc_http_end(struct torc_http_exchange *x)
{
	int r = 0;

	if (!x->responded)
		return -EINVAL;
	if (x->ended || x->incomplete)
		return x->incomplete ? -EPIPE : 0;
	x->ended = true;
	if (x->without_body)
		return 0;
	if (x->filters)
		r = end_filters(x);
	if (!r && x->out_left != TORC_NEVER)
		r = x->out_left ? -EPIPE : 0;
	else if (!r && x->in_chunks)
		r = x->trailing.len ? end_chunks(x) : write_body(x, "0\r\n\r\n", 5);
	x->incomplete = r < 0;
	return r;
}

/* --- trailers --- */

/* Is it a trailer that the head has announced? */
static bool is_announced(const struct torc_http_exchange *x, const char *name)
{
	const char *p = x->extra.data, *end = p + x->extra.len;
	struct torc_slice element;
	size_t len = strlen(name);

	for (const char *next; p < end; p = next) {
		struct torc_slice list = { p + 9, 0 };

		next = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
		if (strncasecmp(p, "Trailer: ", 9) != 0)
			continue;
		list.len = (size_t)(next - 2 - list.data);
		while (torc_http_next_element(&list, &element))
			if (element.len == len && !strncasecmp(element.data, name, len))
				return true;
	}
	return false;
}

static bool is_no_trailer(const char *name)
{
	static const char *const names[] = { "Host", "Set-Cookie", "Trailer", "Authorization" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcasecmp(name, names[i]))
			return true;
	return false;
}

int torc_http_add_trailer(struct torc_http_exchange *x, const char *name, const char *value)
{
	if (check_field(name, value) < 0 || is_no_trailer(name) || !is_announced(x, name))
		return -EINVAL;
	if (x->ended)
		return -EALREADY;
	if (!x->responded || !x->in_chunks)
		return -ENOTSUP;
	return append_field(x, &x->trailing, name, value);
}

/* --- what became of it --- */

int torc_http_status(const struct torc_http_exchange *x)
{
	return x->responded ? x->status : 0;
}

uint64_t torc_http_sent_bytes(const struct torc_http_exchange *x)
{
	return x->sent_bytes;
}

/* --- without an exchange --- */

int torc__http_refuse(struct torc_stream *s, const struct torc__http_config *config, int status)
{
	const char *reason = torc__http_reason(status);
	bool again = status == 503;
	struct torc_scope scope;
	char text[256], date[29];
	int n, r;

	memcpy(date, torc__http_date_line() + 6, 29);
	n = snprintf(text, sizeof(text),
		     "HTTP/1.1 %d %s\r\nDate: %.29s\r\nContent-Type: text/plain\r\n"
		     "Content-Length: %zu\r\nConnection: close\r\n%s%s%s\r\n%s\n",
		     status, reason, date, strlen(reason) + 1, again ? "Retry-After: " : "",
		     again ? config->retry_after : "", again ? "\r\n" : "", reason);
	torc_scope_enter_until(&scope, torc_turn_ns() + config->options.write_ns);
	r = torc_stream_write(s, text, (size_t)n);
	torc_scope_leave(&scope);
	return r;
}
