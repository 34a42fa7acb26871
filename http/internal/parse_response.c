/*
 * http/internal/parse_response.c - the head of a response.
 */
#include "http/internal/parse.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "http/internal/parse_fields.h"

#define VERSION_LEN 9 /* "HTTP/1.1 " */
#define STATUS_END  (VERSION_LEN + 3)

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * "HTTP/" DIGIT ["." DIGIT] SP of another version, or as much of it as there is.  "HTTP/2 200" is how tools write
 * the answers of HTTP/2, and what a server may send that mimics them.
 */
static int other_version(const char *p, size_t len)
{
	size_t at = 6;

	if (len == 0) /* and then perhaps no @p */
		return 0;
	if (memcmp(p, "HTTP/", min_size(len, 5)) != 0 || (len > 5 && !is_digit(p[5])))
		return -400;
	if (at < len && p[at] == '.') {
		if (at + 1 < len && !is_digit(p[at + 1]))
			return -400;
		at += 2;
	}
	if (at >= len)
		return 0;
	return p[at] == ' ' ? -505 : -400;
}

static int status_version(struct torc__http_head *h, const char *p, size_t len)
{
	if (unlikely(len < VERSION_LEN || p[8] != ' '))
		return other_version(p, len);
	if (likely(load8(p) == load8("HTTP/1.1")))
		h->minor = 1;
	else if (load8(p) == load8("HTTP/1.0"))
		h->minor = 0;
	else
		return other_version(p, len);
	return VERSION_LEN;
}

/* Three digits, the first of them 1 to 5; at each cut the same verdict. */
static int parse_status(struct torc__http_head *h, const char *p, size_t len)
{
	unsigned status = 0;

	for (size_t i = VERSION_LEN; i < STATUS_END; i++) {
		if (i >= len)
			return 0;
		if (!is_digit(p[i]) || (i == VERSION_LEN && (p[i] < '1' || p[i] > '5')))
			return -400;
		status = status * 10 + (unsigned)(p[i] - '0');
	}
	h->status = (uint16_t)status;
	return STATUS_END;
}

/* From behind the status to behind the CRLF, which must come before offset @end. */
static int parse_reason(struct parser *p, size_t end)
{
	const char *buf = p->scan.buf;
	size_t start = STATUS_END, stop;

	if (end == start)
		return 0;
	stop = torc__http_scan_value(&p->scan, start);
	if (unlikely(stop > start && buf[start] != ' '))
		return -400;
	if (unlikely(stop >= end))
		return 0;
	if (unlikely(buf[stop] != '\r'))
		return -400;
	if (unlikely(stop + 1 == end))
		return 0;
	if (unlikely(buf[stop + 1] != '\n'))
		return -400;
	start += stop > start;
	p->head->reason = slice(buf + start, stop - start);
	return (int)stop + 2;
}

/* Returns the offset behind the status line, which must end before offset @end. */
static int parse_status_line(struct parser *p, size_t end)
{
	int at = status_version(p->head, p->scan.buf, end);

	if (likely(at > 0))
		at = parse_status(p->head, p->scan.buf, end);
	return likely(at > 0) ? parse_reason(p, end) : at;
}

static int apply_field(struct parser *p, unsigned known, struct torc_slice value)
{
	switch (known) {
	case TORC__HTTP_NAME_CONTENT_LENGTH: return apply_content_length(p, value);
	case TORC__HTTP_NAME_TRANSFER_ENCODING: return apply_transfer_encoding(p, value);
	default: return apply_connection(p, value);
	}
}

static const struct framing response_framing = { apply_field, TORC__HTTP_NAME_CONNECTION,
						 TORC__HTTP_NAME_TRANSFER_ENCODING };

static int parse_response_head(struct parser *p, size_t line_bytes)
{
	size_t len = p->scan.len, line_limit = min_size(line_bytes, INT_MAX) + 2;
	int line_end = parse_status_line(p, min_size(len, line_limit)), end;

	if (unlikely(line_end <= 0))
		return line_end == 0 && len >= line_limit ? -414 : line_end;
	end = parse_fields(p, (size_t)line_end, &response_framing);
	if (likely(end > 0))
		finish_fields(p);
	return end;
}

/* What is an answer's status to a request that was refused. */
static int refusal(int result)
{
	switch (result) {
	case -400: return -EBADMSG;
	case -505: return -EPROTONOSUPPORT;
	default: return -EMSGSIZE;
	}
}

int torc__http_parse_response(struct torc__http_head *h, const char *buf, size_t len,
			      const struct torc__http_limits *lim)
{
	size_t head_bytes = min_size(lim->head_bytes, INT_MAX);
	struct parser p;
	int result;

	reset(&p, h, lim);
	torc__http_scan_init(&p.scan, buf, min_size(len, head_bytes));
	result = parse_response_head(&p, lim->line_bytes);
	if (unlikely(result == 0))
		return len >= head_bytes ? -EMSGSIZE : 0;
	return likely(result > 0) ? result : refusal(result);
}
