/*
 * tests/http/reference.h - a request head read the plain way: a line at a time, a byte at a time, every rule where the
 * RFC has it. It shares nothing with http/internal/parse*.c but the names of things, and decides the same.
 *
 * A line counts once its CRLF is there. The parser may refuse before that; then no continuation may be good.
 */
#ifndef TESTS_HTTP_REFERENCE_H
#define TESTS_HTTP_REFERENCE_H

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "http/internal/parse.h"

#define REFERENCE_FIELDS 64

struct reference_field {
	struct torc_slice name, value;
};

struct reference {
	int status; /* as torc__http_parse_request, without limits but that of the fields */
	struct torc_slice method, target, path, query, authority;
	enum torc__http_form form;
	unsigned minor, field_count;
	struct reference_field fields[REFERENCE_FIELDS];
	uint64_t length;
	bool has_query, has_length, chunked, host, close, keep_alive, upgrade_option, upgrade,
		expects, bad_expectation;
};

static inline struct torc_slice reference_slice(const char *data, size_t len)
{
	return (struct torc_slice){ data, len };
}

static inline bool reference_equal(struct torc_slice s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.data, text, s.len);
}

static inline bool reference_equal_any_case(struct torc_slice s, const char *text)
{
	return s.len == strlen(text) && !strncasecmp(s.data, text, s.len);
}

static inline bool reference_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool reference_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool reference_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

/* RFC 9110 5.6.2 */
static inline bool reference_token(char c)
{
	return reference_digit(c) || reference_letter(c) || reference_one_of(c, "!#$%&'*+-.^_`|~");
}

/* RFC 9110 5.5: VCHAR, obs-text, space and tab */
static inline bool reference_text(char c)
{
	unsigned char u = (unsigned char)c;

	return u == '\t' || (u >= ' ' && u != 0x7f);
}

/* --- an authority, RFC 3986 3.2 --- */

static inline bool reference_hex(char c)
{
	return reference_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static inline bool reference_ipv6(const char *text, size_t len)
{
	struct in6_addr address;
	char copy[64];

	if (len >= sizeof(copy) || memchr(text, 0, len))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return inet_pton(AF_INET6, copy, &address) == 1;
}

static inline bool reference_name(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '%') {
			if (len - i < 3 || !reference_hex(text[i + 1]) ||
			    !reference_hex(text[i + 2]))
				return false;
			i += 2;
		} else if (!reference_digit(text[i]) && !reference_letter(text[i]) &&
			   !reference_one_of(text[i], "-._~!$&'()*+;=")) { /* without ',' */
			return false;
		}
	}
	return len > 0;
}

static inline bool reference_port(const char *text, size_t len, bool needed)
{
	unsigned long value = 0;

	for (size_t i = 0; i < len; i++) {
		if (!reference_digit(text[i]))
			return false;
		value = value * 10 + (unsigned long)(text[i] - '0');
		if (value > 65535)
			return false;
	}
	return len ? value > 0 : !needed;
}

static inline bool reference_authority(struct torc_slice s, bool need_port)
{
	size_t host = 0;

	if (s.len && s.data[0] == '[') {
		while (host < s.len && s.data[host] != ']')
			host++;
		if (host == s.len || !reference_ipv6(s.data + 1, host - 1))
			return false;
		host++;
	} else {
		while (host < s.len && s.data[host] != ':')
			host++;
		if (!reference_name(s.data, host))
			return false;
	}
	if (host == s.len)
		return !need_port;
	return s.data[host] == ':' &&
	       reference_port(s.data + host + 1, s.len - host - 1, need_port);
}

/* --- the request line, RFC 9112 3 --- */

static inline bool reference_is_method(struct torc_slice s)
{
	static const char *const methods[] = { "GET",     "HEAD",    "POST",  "PUT",  "DELETE",
					       "CONNECT", "OPTIONS", "TRACE", "PATCH" };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (reference_equal(s, methods[i]))
			return true;
	return false;
}

static inline size_t reference_scheme(struct torc_slice target)
{
	static const char *const schemes[] = { "http://", "https://" };

	for (size_t i = 0; i < 2; i++)
		if (target.len >= strlen(schemes[i]) &&
		    !strncasecmp(target.data, schemes[i], strlen(schemes[i])))
			return strlen(schemes[i]);
	return 0;
}

static inline int reference_absolute(struct reference *r)
{
	size_t scheme = reference_scheme(r->target), at = scheme, end;

	if (!scheme)
		return -400;
	end = r->target.len - (r->has_query ? r->query.len + 1 : 0);
	while (at < end && r->target.data[at] != '/')
		at++;
	r->form = TORC__HTTP_ABSOLUTE;
	r->authority = reference_slice(r->target.data + scheme, at - scheme);
	r->path = reference_slice(r->target.data + at, end - at);
	if (at == end)
		r->path = reference_slice(
			reference_equal(r->method, "OPTIONS") && !r->has_query ? "*" : "/", 1);
	return reference_authority(r->authority, false) ? 1 : -400;
}

static inline int reference_target(struct reference *r)
{
	const char *mark = memchr(r->target.data, '?', r->target.len);

	r->has_query = mark != NULL;
	r->path = reference_slice(r->target.data,
				  mark ? (size_t)(mark - r->target.data) : r->target.len);
	if (mark)
		r->query = reference_slice(mark + 1, r->target.len - r->path.len - 1);
	if (reference_equal(r->method, "CONNECT")) {
		r->form = TORC__HTTP_AUTHORITY;
		r->authority = r->target;
		r->path = reference_slice("", 0);
		return reference_authority(r->target, true) ? 1 : -400;
	}
	if (r->target.data[0] == '/') {
		r->form = TORC__HTTP_ORIGIN;
		return 1;
	}
	if (reference_equal(r->target, "*")) {
		r->form = TORC__HTTP_ASTERISK;
		return reference_equal(r->method, "OPTIONS") ? 1 : -400;
	}
	return reference_absolute(r);
}

static inline int reference_version(struct reference *r, const char *v, size_t len)
{
	if (len != 8 || memcmp(v, "HTTP/", 5) || !reference_digit(v[5]) || v[6] != '.' ||
	    !reference_digit(v[7]))
		return -400;
	if (v[5] != '1' || v[7] > '1')
		return -505;
	r->minor = (unsigned)(v[7] - '0');
	return 1;
}

static inline int reference_request_line(struct reference *r, const char *line, size_t len)
{
	size_t at = 0, target;
	int status;

	while (at < len && reference_token(line[at]))
		at++;
	if (at > 32)
		return -501;
	if (at == 0 || at == len || line[at] != ' ')
		return -400;
	r->method = reference_slice(line, at);
	target = ++at;
	while (at < len && line[at] != ' ') {
		if (line[at] <= ' ' || line[at] >= 0x7f || line[at] == '#')
			return -400;
		at++;
	}
	if (at == target || at == len)
		return -400;
	r->target = reference_slice(line + target, at - target);
	status = reference_version(r, line + at + 1, len - at - 1);
	if (status > 0 && !reference_is_method(r->method))
		status = -501;
	return status > 0 ? reference_target(r) : status;
}

/* --- fields, RFC 9112 5 and 6 --- */

static inline struct torc_slice reference_trim(const char *start, size_t len)
{
	while (len && (*start == ' ' || *start == '\t')) {
		start++;
		len--;
	}
	while (len && (start[len - 1] == ' ' || start[len - 1] == '\t'))
		len--;
	return reference_slice(start, len);
}

static inline int reference_length(struct reference *r, struct torc_slice value)
{
	if (r->has_length || r->chunked || !value.len)
		return -400;
	for (size_t i = 0; i < value.len; i++) {
		if (!reference_digit(value.data[i]))
			return -400;
		if (__builtin_mul_overflow(r->length, 10, &r->length) ||
		    __builtin_add_overflow(r->length, (uint64_t)(value.data[i] - '0'),
					   &r->length) ||
		    r->length > INT64_MAX)
			return -400;
	}
	r->has_length = true;
	return 1;
}

static inline int reference_options(struct reference *r, struct torc_slice value)
{
	size_t at = 0;

	for (;;) {
		size_t start = at;
		struct torc_slice option;

		while (at < value.len && value.data[at] != ',')
			at++;
		option = reference_trim(value.data + start, at - start);
		r->close |= reference_equal_any_case(option, "close");
		r->keep_alive |= reference_equal_any_case(option, "keep-alive");
		r->upgrade_option |= reference_equal_any_case(option, "upgrade");
		if (at++ == value.len)
			return 1;
	}
}

static inline int reference_host(struct reference *r, struct torc_slice value)
{
	if (r->host || !reference_authority(value, false))
		return -400;
	r->host = true;
	if (!r->authority.len)
		r->authority = value;
	return 1;
}

static inline int reference_apply(struct reference *r, const struct reference_field *f)
{
	if (reference_equal_any_case(f->name, "host"))
		return reference_host(r, f->value);
	if (reference_equal_any_case(f->name, "content-length"))
		return reference_length(r, f->value);
	if (reference_equal_any_case(f->name, "connection"))
		return reference_options(r, f->value);
	if (reference_equal_any_case(f->name, "upgrade"))
		r->upgrade = true;
	if (reference_equal_any_case(f->name, "expect")) {
		bool good = reference_equal_any_case(f->value, "100-continue");

		r->expects |= good;
		r->bad_expectation |= !good;
	}
	if (reference_equal_any_case(f->name, "transfer-encoding")) {
		if (r->chunked || r->has_length || !r->minor ||
		    !reference_equal_any_case(f->value, "chunked"))
			return -400;
		r->chunked = true;
	}
	return 1;
}

static inline int reference_field_line(struct reference *r, const char *line, size_t len,
				       unsigned most)
{
	struct reference_field *f = &r->fields[r->field_count];
	size_t colon = 0;

	if (!reference_token(line[0]))
		return -400;
	if (r->field_count == most)
		return -431;
	while (colon < len && reference_token(line[colon]))
		colon++;
	if (colon == len || line[colon] != ':')
		return -400;
	for (size_t i = colon + 1; i < len; i++)
		if (!reference_text(line[i]))
			return -400;
	f->name = reference_slice(line, colon);
	f->value = reference_trim(line + colon + 1, len - colon - 1);
	r->field_count++;
	return reference_apply(r, f);
}

/* --- all of it --- */

static inline int reference_finish(struct reference *r)
{
	if (r->minor && !r->host)
		return -400;
	r->keep_alive = r->minor ? !r->close : r->keep_alive && !r->close;
	r->expects = r->expects && r->minor;
	r->upgrade = r->upgrade && r->upgrade_option && r->minor;
	return r->bad_expectation ? -417 : 1;
}

static inline int reference_lines(struct reference *r, const char *buf, size_t len, unsigned most)
{
	size_t at = len >= 2 && !memcmp(buf, "\r\n", 2) ? 2 : 0;
	bool first = true;

	for (;; first = false) {
		const char *line = buf + at, *end = memmem(line, len - at, "\r\n", 2);
		int status;

		if (!end)
			return 0;
		at = (size_t)(end - buf) + 2;
		if (end == line && !first)
			break;
		status = first ? reference_request_line(r, line, (size_t)(end - line))
			       : reference_field_line(r, line, (size_t)(end - line), most);
		if (status < 0)
			return status;
	}
	return reference_finish(r) > 0 ? (int)at : reference_finish(r);
}

static inline void reference_parse(struct reference *r, const char *buf, size_t len, unsigned most)
{
	memset(r, 0, sizeof(*r));
	r->path = r->query = r->authority = reference_slice("", 0);
	r->status = reference_lines(r, buf, len, most < REFERENCE_FIELDS ? most : REFERENCE_FIELDS);
}

static inline bool reference_same_slice(struct torc_slice a, struct torc_slice b)
{
	return a.len == b.len && !memcmp(a.data, b.data, a.len);
}

static inline bool reference_same_fields(const struct reference *r, const struct torc__http_head *h)
{
	static const char *const known[] = { "",
#define REFERENCE_NAME(token, name, ...) name,
					     TORC__HTTP_NAMES(REFERENCE_NAME)
#undef REFERENCE_NAME
	};
	uint64_t set = 0;

	for (unsigned i = 0; i < r->field_count; i++) {
		const struct torc__http_field *f = &h->fields[i];
		unsigned token = TORC__HTTP_NAME_COUNT;

		while (--token > 0 && !reference_equal_any_case(f->name, known[token]))
			;
		if (!reference_same_slice(f->name, r->fields[i].name) ||
		    !reference_same_slice(f->value, r->fields[i].value) || f->known != token)
			return false;
		set |= (uint64_t)1 << token;
	}
	return set == h->known_set;
}

/* What differs first between the two, or NULL; of heads that both accept. */
static inline const char *reference_difference(const struct reference *r,
					       const struct torc__http_head *h)
{
#define REFERENCE_CHECK(same, what)  \
	do {                         \
		if (!(same))         \
			return what; \
	} while (0)
	REFERENCE_CHECK(reference_same_slice(r->method, h->method_name), "method");
	REFERENCE_CHECK(reference_same_slice(r->target, h->target), "target");
	REFERENCE_CHECK(reference_same_slice(r->path, h->path), "path");
	REFERENCE_CHECK(reference_same_slice(r->query, h->query), "query");
	REFERENCE_CHECK(r->has_query == h->has_query, "has_query");
	REFERENCE_CHECK(reference_same_slice(r->authority, h->authority), "authority");
	REFERENCE_CHECK(r->form == h->form, "form");
	REFERENCE_CHECK(r->minor == h->minor, "minor");
	REFERENCE_CHECK(r->has_length == h->has_length, "has_length");
	REFERENCE_CHECK(r->length == h->content_length, "length");
	REFERENCE_CHECK(r->chunked == h->chunked, "chunked");
	REFERENCE_CHECK(r->keep_alive == h->keep_alive, "keep_alive");
	REFERENCE_CHECK(r->expects == h->expect_continue, "expect_continue");
	REFERENCE_CHECK(r->upgrade == h->upgrade, "upgrade");
	REFERENCE_CHECK(r->field_count == h->field_count, "field_count");
	REFERENCE_CHECK(reference_same_fields(r, h), "fields");
	return NULL;
}

#endif
