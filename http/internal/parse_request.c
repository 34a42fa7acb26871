/*
 * http/internal/parse_request.c - the head of a request.
 */
#include "http/internal/parse.h"

#include <limits.h>
#include <string.h>

#include "http/internal/parse_fields.h"

/* ---- Request line, RFC 9112 3 --------------------------------------------------------------- */

/* A longer method is refused before its end is seen (RFC 9112 3: 501). */
#define METHOD_LEN_MAX 32

#define IS(literal) (memcmp(p, literal, sizeof(literal) - 1) == 0)

static enum torc__http_method method_find(const char *p, size_t len)
{
	switch (len) {
	case 3:
		return IS("GET")   ? TORC__HTTP_GET
		       : IS("PUT") ? TORC__HTTP_PUT
				   : TORC__HTTP_METHOD_UNKNOWN;
	case 4:
		return IS("POST")   ? TORC__HTTP_POST
		       : IS("HEAD") ? TORC__HTTP_HEAD
				    : TORC__HTTP_METHOD_UNKNOWN;
	case 5:
		return IS("PATCH")   ? TORC__HTTP_PATCH
		       : IS("TRACE") ? TORC__HTTP_TRACE
				     : TORC__HTTP_METHOD_UNKNOWN;
	case 6: return IS("DELETE") ? TORC__HTTP_DELETE : TORC__HTTP_METHOD_UNKNOWN;
	case 7:
		return IS("OPTIONS")   ? TORC__HTTP_OPTIONS
		       : IS("CONNECT") ? TORC__HTTP_CONNECT
				       : TORC__HTTP_METHOD_UNKNOWN;
	default: return TORC__HTTP_METHOD_UNKNOWN;
	}
}

/*
 * Finds the space behind the target at @start, and the first '?' on the way.  The stops of a name
 * are few in a target, and every byte that a target must not contain is among them.  Characters
 * that RFC 3986 excludes without need, such as '|' or '"', are let through: browsers send them.
 */
static int target_end(struct parser *p, size_t start, size_t end, size_t *ret_query)
{
	struct torc__http_scan *s = &p->scan;

	for (size_t pos = start, stop = start;; pos = stop + 1) {
		uint64_t bits;

		pos = torc__http_scan_name(s, pos);
		/* The stops that one look at the map tells, without a wait for each. */
		for (bits = torc__http_scan_bits(s, s->name, pos); bits; bits &= bits - 1) {
			stop = pos + torc__http_first_bit(bits);
			if (unlikely(stop >= end))
				return 0;
			switch (s->buf[stop]) {
			case ' ': return stop > start ? (int)stop : -400;
			case '?':
				if (!*ret_query)
					*ret_query = stop;
				break;
			case '#': return -400;
			default:
				/* 0x80 and above are negative */
				if ((signed char)s->buf[stop] < ' ' || s->buf[stop] == 0x7f)
					return -400;
			}
		}
	}
}

/* What there is of "HTTP/" DIGIT "." DIGIT CRLF; 0 if it is cut off, 505 for a version not ours. */
static int version_slow(const char *p, size_t len)
{
	static const char pattern[] = "HTTP/0.0\r\n";

	for (size_t i = 0; i < sizeof(pattern) - 1; i++) {
		if (i == len)
			return 0;
		if (pattern[i] == '0' ? p[i] < '0' || p[i] > '9' : p[i] != pattern[i])
			return -400;
	}
	return -505;
}

/* Returns the offset behind the CRLF that ends the request line. */
static int parse_version(struct parser *p, size_t start, size_t end)
{
	const char *v = p->scan.buf + start;

	if (unlikely(end < start + 10 || v[8] != '\r' || v[9] != '\n'))
		return version_slow(v, end - start);
	if (load8(v) == load8("HTTP/1.1"))
		p->head->minor = 1;
	else if (load8(v) == load8("HTTP/1.0"))
		p->head->minor = 0;
	else
		return version_slow(v, end - start);
	return (int)start + 10;
}

static size_t scheme_len(struct torc_slice target)
{
	if (target.len >= 7 && equals_lower(target.data, "http", 4) &&
	    memcmp(target.data + 4, "://", 3) == 0)
		return 7;
	if (target.len >= 8 && equals_lower(target.data, "https", 5) &&
	    memcmp(target.data + 5, "://", 3) == 0)
		return 8;
	return 0;
}

/* RFC 9112 3.2.2; the authority ends at the path, the query, or with the target. */
static int absolute_form(struct torc__http_head *h)
{
	size_t scheme = scheme_len(h->target);
	struct torc_slice rest = slice(h->target.data + scheme, h->target.len - scheme);
	const char *slash;

	if (!scheme)
		return -400;
	if (h->has_query)
		rest.len = (size_t)(h->query.data - 1 - rest.data);
	slash = memchr(rest.data, '/', rest.len);
	h->form = TORC__HTTP_ABSOLUTE;
	h->authority = slice(rest.data, slash ? (size_t)(slash - rest.data) : rest.len);
	if (slash)
		h->path = slice(slash, rest.len - h->authority.len);
	else /* RFC 9110 4.2.3, and RFC 9112 3.2.4 for OPTIONS */
		h->path = slice(h->method == TORC__HTTP_OPTIONS && !h->has_query ? "*" : "/", 1);
	return torc__http_authority_valid(h->authority, false) ? 1 : -400;
}

/* Which form it is follows from the method and the first byte; RFC 9112 3.2. */
static int target_form(struct torc__http_head *h)
{
	if (unlikely(h->method == TORC__HTTP_CONNECT)) {
		h->form = TORC__HTTP_AUTHORITY;
		h->authority = h->target;
		h->path = empty;
		return torc__http_authority_valid(h->target, true) ? 1 : -400;
	}
	if (likely(h->target.data[0] == '/')) {
		h->form = TORC__HTTP_ORIGIN;
		return 1;
	}
	if (h->target.len == 1 && h->target.data[0] == '*') {
		h->form = TORC__HTTP_ASTERISK;
		return h->method == TORC__HTTP_OPTIONS ? 1 : -400;
	}
	return absolute_form(h);
}

/*
 * Each view is made anew: a copy of one that was just written would be a load of 16 bytes behind two stores
 * of 8, which the processor cannot forward.
 */
static void set_target(struct torc__http_head *h, const char *start, const char *end,
		       const char *query)
{
	h->target = slice(start, (size_t)(end - start));
	h->path = slice(start, (size_t)((query ? query : end) - start));
	h->query = query ? slice(query + 1, (size_t)(end - query - 1)) : slice("", 0);
	h->has_query = query != NULL;
	h->authority = slice("", 0);
}

/* The line must end before offset @end.  Returns the offset behind it. */
static int parse_request_line(struct parser *p, size_t start, size_t end)
{
	const char *buf = p->scan.buf;
	struct torc__http_head *h = p->head;
	size_t method_end = token_end(&p->scan, torc__http_scan_name(&p->scan, start));
	size_t query = 0;
	int space, line_end, result;

	if (unlikely(min_size(method_end, end) - start > METHOD_LEN_MAX))
		return -501;
	if (unlikely(method_end >= end))
		return 0;
	if (unlikely(buf[method_end] != ' ' || method_end == start))
		return -400;
	space = target_end(p, method_end + 1, end, &query);
	if (unlikely(space <= 0))
		return space;
	line_end = parse_version(p, (size_t)space + 1, end);
	if (unlikely(line_end <= 0))
		return line_end;

	h->method_name = slice(buf + start, method_end - start);
	h->method = method_find(buf + start, method_end - start);
	if (unlikely(h->method == TORC__HTTP_METHOD_UNKNOWN))
		return -501;
	set_target(h, buf + method_end + 1, buf + space, query ? buf + query : NULL);
	result = target_form(h);
	return result > 0 ? line_end : result;
}

/* ---- The fields that the framing and the routing depend on ------------------------------------ */

static int apply_host(struct parser *p, struct torc_slice value)
{
	struct torc__http_head *h = p->head;

	if (p->seen >> TORC__HTTP_NAME_HOST & 1)
		return -400;
	if (!torc__http_authority_valid(value, false))
		return -400;
	if (h->authority.len == 0)
		h->authority = slice(value.data, value.len);
	return 1;
}

/* Refused at the end of the head only: a framing error in a later line has precedence. */
static int apply_expect(struct parser *p, struct torc_slice value)
{
	if (value_is(value, "100-continue", 12))
		p->head->expect_continue = true;
	else
		p->bad_expectation = true;
	return 1;
}

_Static_assert(TORC__HTTP_NAME_HOST + 1 == TORC__HTTP_NAME_CONNECTION &&
		       TORC__HTTP_NAME_TRANSFER_ENCODING + 1 == TORC__HTTP_NAME_EXPECT,
	       "those of a response lie between");

static int apply(struct parser *p, unsigned known, struct torc_slice value)
{
	switch (known) {
	case TORC__HTTP_NAME_HOST: return apply_host(p, value);
	case TORC__HTTP_NAME_CONTENT_LENGTH: return apply_content_length(p, value);
	case TORC__HTTP_NAME_TRANSFER_ENCODING: return apply_transfer_encoding(p, value);
	case TORC__HTTP_NAME_CONNECTION: return apply_connection(p, value);
	default: return apply_expect(p, value);
	}
}

static const struct framing framing = { apply, TORC__HTTP_NAME_HOST, TORC__HTTP_NAME_EXPECT };

/* ---- The whole head ------------------------------------------------------------------------- */

/* What only the complete set of fields tells. */
static int finish(struct parser *p)
{
	struct torc__http_head *h = p->head;

	finish_fields(p);
	if (h->minor == 0)
		h->expect_continue = false;                   /* RFC 9110 10.1.1 */
	else if (!(h->known_set >> TORC__HTTP_NAME_HOST & 1)) /* RFC 9112 3.2 */
		return -400;
	return p->bad_expectation ? -417 : 1;
}

/* One empty line may precede a request, RFC 9112 2.2.  Returns its length, 0 also if incomplete. */
static inline size_t leading_crlf(const char *buf, size_t len)
{
	return len >= 2 && buf[0] == '\r' && buf[1] == '\n' ? 2 : 0;
}

static int parse_head(struct parser *p, size_t line_bytes)
{
	size_t len = p->scan.len;
	size_t start = leading_crlf(p->scan.buf, len);
	size_t line_limit = min_size(line_bytes, INT_MAX) + start + 2;
	int line_end, end, result;

	if (unlikely(len == 1 && p->scan.buf[0] == '\r'))
		return 0;
	line_end = parse_request_line(p, start, min_size(len, line_limit));
	if (unlikely(line_end <= 0))
		return line_end == 0 && len >= line_limit ? -414 : line_end;
	end = parse_fields(p, (size_t)line_end, &framing);
	if (unlikely(end <= 0))
		return end;
	result = finish(p);
	return result > 0 ? end : result;
}

int torc__http_parse_request(struct torc__http_head *h, const char *buf, size_t len,
			     const struct torc__http_limits *lim)
{
	size_t head_bytes = min_size(lim->head_bytes, INT_MAX);
	struct parser p;
	int result;

	reset(&p, h, lim);
	torc__http_scan_init(&p.scan, buf, min_size(len, head_bytes));
	result = parse_head(&p, lim->line_bytes);
	return unlikely(result == 0) && len >= head_bytes ? -431 : result;
}
