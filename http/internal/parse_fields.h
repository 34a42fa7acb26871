/*
 * parse_fields.h - what the parsers of requests and of responses share: field lines, and the fields that
 * the framing depends on.
 *
 * To be included by parse_request.c and parse_response.c only: the functions are static, as each parser
 * is to be compiled as one, with what differs known.
 *
 * Positions are offsets into the buffer.  Internal results are those of torc__http_parse_request:
 * a positive one is the offset behind what was parsed, 0 means that it does not end in the buffer,
 * a negative one is a refusal.
 */
#ifndef TORC_HTTP_INTERNAL_PARSE_FIELDS_H
#define TORC_HTTP_INTERNAL_PARSE_FIELDS_H

#include <limits.h>
#include <string.h>

#include "http/internal/parse.h"
#include "http/internal/parse_names.h"
#include "http/internal/scan.h"

struct parser {
	struct torc__http_scan scan;
	struct torc__http_head *head;
	struct torc__http_field *field_limit; /* behind the last that there may be */
	uint64_t seen;                        /* becomes known_set */
	bool bad_expectation;
	bool close;
	bool connection_keep_alive;
	bool connection_upgrade;
};

/* The empty string, with an address so that callers may compare and subtract pointers. */
static const struct torc_slice empty = { "", 0 };

static inline struct torc_slice slice(const char *data, size_t len)
{
	return (struct torc_slice){ data, len };
}

static inline size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* ---- The fields that the framing depends on ------------------------------------------------- */

/*
 * One number in decimal digits, on one line.  RFC 9110 8.6 would let a recipient take a list of
 * equal numbers for one; whoever needs that leniency is more likely an attacker.
 */
static int apply_content_length(struct parser *p, struct torc_slice value)
{
	struct torc__http_head *h = p->head;
	uint64_t length = 0;

	if (h->has_length || h->chunked || value.len == 0)
		return -400;
	for (size_t i = 0; i < value.len; i++) {
		unsigned digit = (unsigned)(unsigned char)value.data[i] - '0';

		if (digit > 9 || length > (INT64_MAX - (uint64_t)digit) / 10)
			return -400;
		length = length * 10 + digit;
	}
	h->has_length = true;
	h->content_length = length;
	return 1;
}

static inline bool value_is(struct torc_slice value, const char *lower, size_t len)
{
	return value.len == len && equals_lower(value.data, lower, len);
}

/*
 * RFC 9112 6.1 has a server answer 501 to a coding that it lacks.  It is 400 here, as is any
 * spelling but the plain one, since the length of such a message is a matter of interpretation.
 * HTTP/1.0 knows no transfer codings, so there it is faulty framing too.
 */
static int apply_transfer_encoding(struct parser *p, struct torc_slice value)
{
	struct torc__http_head *h = p->head;

	if (h->chunked || h->has_length || h->minor == 0 || !value_is(value, "chunked", 7))
		return -400;
	h->chunked = true;
	return 1;
}

static void connection_option(struct parser *p, struct torc_slice option)
{
	if (value_is(option, "close", 5))
		p->close = true;
	else if (value_is(option, "keep-alive", 10))
		p->connection_keep_alive = true;
	else if (value_is(option, "upgrade", 7))
		p->connection_upgrade = true;
}

/* White space is space and HTAB; no other byte up to 0x20 gets as far as here. */
static inline bool is_ows(char c)
{
	return (unsigned char)c <= ' ';
}

static inline struct torc_slice trim(const char *start, const char *end)
{
	while (start < end && is_ows(*start))
		start++;
	while (start < end && unlikely(is_ows(end[-1])))
		end--;
	return slice(start, (size_t)(end - start));
}

/* A list, possibly over several lines and with empty members (RFC 9110 5.6.1.2). */
static int apply_connection(struct parser *p, struct torc_slice value)
{
	const char *pos = value.data, *end = pos + value.len;

	if (value_is(value, "keep-alive", 10)) { /* what browsers send */
		p->connection_keep_alive = true;
		return 1;
	}
	for (;;) {
		const char *comma = memchr(pos, ',', (size_t)(end - pos));

		connection_option(p, trim(pos, comma ? comma : end));
		if (!comma)
			return 1;
		pos = comma + 1;
	}
}

/* ---- Field lines, RFC 9112 5 ---------------------------------------------------------------- */

static inline bool is_hash(const struct torc__http_scan *s, size_t pos)
{
	return pos < s->len && s->buf[pos] == '#';
}

/* The end of a token, given the first stop in it: '#', alone of all stops, does not end it. */
static inline size_t token_end(struct torc__http_scan *s, size_t stop)
{
	while (unlikely(is_hash(s, stop)))
		stop = torc__http_scan_name(s, stop + 1);
	return stop;
}

/*
 * What differs between requests and responses: the names from @first to @last, of which the framing or the
 * routing depends, are passed to @field.  A constant, so that nothing of it is left at run time.
 */
struct framing {
	/* The value is passed by itself, as the field was just written, see set_target. */
	int (*field)(struct parser *p, unsigned known, struct torc_slice value);
	enum torc__http_name first, last;
};

/* The value behind the colon; one space before it and none behind is what nearly everyone sends. */
static inline struct torc_slice field_value(const char *start, const char *end)
{
	start += *start == ' ';
	if (unlikely(is_ows(*start) || is_ows(end[-1])))
		return trim(start, end);
	return slice(start, (size_t)(end - start));
}

/* Why is there no CRLF at @pos, where a search stopped? */
static int no_crlf(const struct torc__http_scan *s, size_t pos)
{
	return pos >= s->len || (s->buf[pos] == '\r' && pos + 1 == s->len) ? 0 : -400;
}

static inline bool is_crlf(const struct torc__http_scan *s, size_t pos)
{
	return pos + 2 <= s->len && memcmp(s->buf + pos, "\r\n", 2) == 0;
}

/* Where things end in a line. */
struct line {
	size_t colon; /* the first byte that is not of a name */
	size_t end;   /* the first byte that is not of a value */
};

/*
 * Both searches begin at the start of the line: what stops a value stops a name too, so there is none
 * before the colon.  The processor then need not know where the colon is to go on to the next line,
 * which halves the chain of dependent loads from line to line.
 *
 * Each search may move the window, and none may begin before it: so all of the name comes first.
 */
static struct line find_line_slow(struct torc__http_scan *s, size_t pos)
{
	struct line line;

	line.colon = token_end(s, torc__http_scan_name(s, pos));
	line.end = torc__http_scan_value(s, pos > s->base ? pos : s->base);
	return line;
}

static inline struct line find_line(struct torc__http_scan *s, size_t pos)
{
	uint64_t name = torc__http_scan_bits(s, s->name, pos);
	uint64_t value = torc__http_scan_bits(s, s->value, pos);
	size_t end = pos;

	if (!value) { /* a line of more than 56 bytes: two looks do for twice as much */
		end = torc__http_scan_behind_bits(s, pos);
		value = torc__http_scan_bits(s, s->value, end);
	}
	if (likely(name && value))
		return (struct line){ pos + torc__http_first_bit(name),
				      end + torc__http_first_bit(value) };
	return find_line_slow(s, pos);
}

/* Why the line is none.  A space before the colon (RFC 9112 5.1) shows as a name that ends in something else. */
static int bad_field(struct torc__http_scan *s, struct line line)
{
	line.colon = token_end(s, line.colon);
	if (line.colon >= s->len || s->buf[line.colon] != ':')
		return line.colon >= s->len ? 0 : -400;
	return no_crlf(s, line.end);
}

/* A name with a hash in it, which the first search stopped at. */
static bool find_colon(struct torc__http_scan *s, struct line *line)
{
	line->colon = token_end(s, line->colon);
	return line->colon < s->len && s->buf[line->colon] == ':';
}

/* Is this a field line, up to its CRLF? */
static inline bool is_field(struct torc__http_scan *s, struct line *line)
{
	if (unlikely(!is_crlf(s, line->end)))
		return false;
	return likely(s->buf[line->colon] == ':') || find_colon(s, line);
}

/* The field of the line at @pos, which has a colon and ends in CRLF. */
static inline __attribute__((always_inline)) int set_field(struct parser *p,
							   struct torc__http_field *f, size_t pos,
							   struct line line,
							   const struct framing *framing)
{
	const char *name = p->scan.buf + pos;
	struct torc_slice value = field_value(p->scan.buf + line.colon + 1, p->scan.buf + line.end);
	unsigned known = name_find(name, line.colon - pos, p->scan.len - pos);
	int result = 1;

	f->name = slice(name, line.colon - pos);
	f->value = value;
	f->known = (uint8_t)known;
	if (known - framing->first <= framing->last - framing->first)
		result = framing->field(p, known, value);
	p->seen |= 1ull << known;
	return result;
}

/* Returns the offset behind the empty line. */
static inline __attribute__((always_inline)) int parse_fields(struct parser *p, size_t pos,
							      const struct framing *framing)
{
	struct torc__http_scan *s = &p->scan;
	struct torc__http_field *f = p->head->fields;

	for (;; f++) {
		struct line line = find_line(s, pos);

		/* No name: the end of the head, a folded line (RFC 9112 5.2), or worse. */
		if (unlikely(line.colon == pos) && !is_hash(s, pos))
			break;
		if (unlikely(f == p->field_limit))
			return -431;
		if (unlikely(!is_field(s, &line)))
			return bad_field(s, line);
		if (unlikely(set_field(p, f, pos, line, framing) < 0))
			return -400;
		pos = line.end + 2;
	}
	p->head->field_count = (unsigned)(f - p->head->fields);
	return is_crlf(s, pos) ? (int)pos + 2 : no_crlf(s, pos);
}

/* What only the complete set of fields tells. */
static inline void finish_fields(struct parser *p)
{
	struct torc__http_head *h = p->head;

	h->known_set = p->seen;
	if (h->minor == 0) {
		h->keep_alive = p->connection_keep_alive && !p->close;
		h->upgrade = false; /* RFC 9110 7.8 */
	} else {
		h->keep_alive = !p->close;
		h->upgrade = p->connection_upgrade && h->known_set >> TORC__HTTP_NAME_UPGRADE & 1;
	}
}

static inline void reset(struct parser *p, struct torc__http_head *h,
			 const struct torc__http_limits *lim)
{
	p->head = h;
	p->field_limit =
		h->fields + (h->field_capacity < lim->fields ? h->field_capacity : lim->fields);
	p->bad_expectation = p->close = p->connection_keep_alive = p->connection_upgrade = false;
	p->seen = 0;
	h->content_length = 0;
	h->has_length = h->chunked = h->expect_continue = false;
}

#endif
