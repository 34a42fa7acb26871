/*
 * http/log_line.c - the lines of the access log. Nothing that a client sends gets out of its field.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <torc/core/fiber.h>
#include <torc/core/sys.h>
#include <torc/http/auth.h>
#include <torc/http/request_id.h>
#include <torc/http/router.h>

#include "http/internal/log.h"

/* What of a field is kept: an attacker's 32 KiB would push the lines of a hundred others out of the buffer. */
#define PATH_BYTES  2048
#define FIELD_BYTES 512

#define SECOND TORC_SECONDS(1)

/* A line under way: at == end when it does not fit. */
struct out {
	char *at, *end;
};

/* --- text --- */

static void put(struct out *o, const char *text, size_t len)
{
	if (torc__unlikely(len > (size_t)(o->end - o->at))) {
		o->at = o->end;
		return;
	}
	memcpy(o->at, text, len);
	o->at += len;
}

#define PUT(o, literal) put(o, literal, sizeof(literal) - 1)

static void put_slice(struct out *o, struct torc_slice s)
{
	put(o, s.data, s.len);
}

static void put_string(struct out *o, const char *s)
{
	put(o, s, strlen(s));
}

static void put_number(struct out *o, uint64_t n)
{
	char digits[20], *p = digits + sizeof(digits);

	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	put(o, p, (size_t)(digits + sizeof(digits) - p));
}

/* --- escaping --- */

static bool is_clean(unsigned char c)
{
	return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

static size_t clean_run(const char *p, const char *end)
{
	const char *begin = p;

	while (p < end && is_clean((unsigned char)*p))
		p++;
	return (size_t)(p - begin);
}

static bool is_tail(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Length of the UTF-8 character at p, which begins beyond ASCII; 0: it is none (RFC 3629, section 4). */
static size_t utf8_len(const unsigned char *p, size_t left)
{
	size_t len = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;

	if (*p < 0xc2 || *p > 0xf4 || left < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if (!is_tail(p[i]))
			return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static void put_hex(struct out *o, const char *prefix, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	char text[2] = { hex[c >> 4], hex[c & 15] };

	put_string(o, prefix);
	put(o, text, 2);
}

/* One that is not clean. Returns its length. */
static size_t escape_json(struct out *o, const unsigned char *p, size_t left)
{
	size_t len = *p < 0x80 ? 1 : utf8_len(p, left);
	char quoted[2] = { '\\', (char)*p };

	if (!len) {
		PUT(o, "\\ufffd");
		return 1;
	}
	if (*p == '"' || *p == '\\')
		put(o, quoted, 2);
	else if (len == 1)
		put_hex(o, "\\u00", *p);
	else if (*p == 0xc2 &&
		 p[1] < 0xa0) /* control characters of ISO 8859: terminals obey them */
		put_hex(o, "\\u00", p[1]);
	else
		put(o, (const char *)p, len);
	return len;
}

static size_t escape_plain(struct out *o, const unsigned char *p)
{
	char quoted[2] = { '\\', (char)*p };

	if (*p == '"' || *p == '\\')
		put(o, quoted, 2);
	else
		put_hex(o, "\\x", *p);
	return 1;
}

static void put_escaped(struct out *o, struct torc_slice s, size_t most, bool json)
{
	const char *p = s.data, *end;

	if (!s.len)
		return;
	end = p + (s.len < most ? s.len : most);
	while (p < end) {
		const unsigned char *u = (const unsigned char *)p;
		size_t run = clean_run(p, end);

		if (run)
			put(o, p, run);
		else
			run = json ? escape_json(o, u, (size_t)(end - p)) : escape_plain(o, u);
		p += run;
	}
}

size_t torc__log_escape(struct torc_slice text, bool json, char *to, size_t room)
{
	struct out o = { to, to + room };

	put_escaped(&o, text, SIZE_MAX, json);
	return (size_t)(o.at - to);
}

/* --- time --- */

static void new_second(struct torc__log_lane *lane, uint64_t now_ns)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	uint64_t wall_ns = torc_sys_wall_ns();
	time_t t = (time_t)(wall_ns / SECOND);
	struct tm tm;

	gmtime_r(&t, &tm);
	lane->second = (uint64_t)t;
	lane->wall_offset_ns = wall_ns - now_ns;
	lane->second_ends_ns = now_ns + (SECOND - wall_ns % SECOND);
	/* Not strftime: its names depend on the locale. */
	lane->clf_len = (uint8_t)snprintf(lane->clf_time, sizeof(lane->clf_time),
					  "%02d/%.3s/%04d:%02d:%02d:%02d +0000", tm.tm_mday,
					  months + tm.tm_mon * 3, tm.tm_year + 1900, tm.tm_hour,
					  tm.tm_min, tm.tm_sec);
	lane->json_len =
		(uint8_t)snprintf(lane->json_time, sizeof(lane->json_time),
				  "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
				  tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void know_second(struct torc__log_lane *lane, uint64_t now_ns)
{
	if (torc__unlikely(now_ns >= lane->second_ends_ns))
		new_second(lane, now_ns);
}

static void put_json_time(struct out *o, struct torc__log_lane *lane, uint64_t now_ns)
{
	uint64_t ns = lane->wall_offset_ns + now_ns - lane->second * SECOND;
	unsigned ms = (unsigned)(ns / TORC_MS(1));
	char text[5] = { '.', (char)('0' + ms / 100 % 10), (char)('0' + ms / 10 % 10),
			 (char)('0' + ms % 10), 'Z' };

	put(o, lane->json_time, lane->json_len);
	put(o, text, sizeof(text));
}

/* --- the common and the combined format --- */

static struct torc_slice string(const char *s)
{
	return (struct torc_slice){ s, s ? strlen(s) : 0 };
}

static void put_or_dash(struct out *o, struct torc_slice s)
{
	if (s.len)
		put_escaped(o, s, FIELD_BYTES, false);
	else
		PUT(o, "-");
}

/* A user's name stands without quotes. */
static void put_user(struct out *o, struct torc_slice user)
{
	char *begin = o->at;

	put_or_dash(o, user);
	for (char *p = begin; p < o->at; p++)
		*p = *p == ' ' ? '_' : *p;
}

static void put_field(struct out *o, const struct torc_http_exchange *x, const char *name)
{
	struct torc_slice value = { NULL, 0 };

	(void)torc_http_field(x, name, &value);
	PUT(o, " \"");
	put_or_dash(o, value);
	PUT(o, "\"");
}

static void put_request(struct out *o, const struct torc_http_exchange *x)
{
	struct torc_slice query = torc_http_query(x);

	PUT(o, "] \"");
	put_slice(o, torc_http_method(x));
	PUT(o, " ");
	put_escaped(o, torc_http_path(x), PATH_BYTES, false);
	if (query.len) {
		PUT(o, "?");
		put_escaped(o, query, PATH_BYTES, false);
	}
	PUT(o, " HTTP/1.");
	put_number(o, (uint64_t)torc_http_minor(x));
	PUT(o, "\" ");
}

static void put_clf(struct out *o, struct torc__log_lane *lane, struct torc_http_exchange *x)
{
	put_or_dash(o, torc_http_remote(x));
	PUT(o, " - ");
	put_user(o, string(torc_http_user(x)));
	PUT(o, " [");
	put(o, lane->clf_time, lane->clf_len);
	put_request(o, x);
	if (torc_http_status(x))
		put_number(o, (uint64_t)torc_http_status(x));
	else
		PUT(o, "-");
	PUT(o, " ");
	put_number(o, torc_http_sent_bytes(x));
	if (lane->log->options.format == TORC_HTTP_LOG_COMBINED) {
		put_field(o, x, "Referer");
		put_field(o, x, "User-Agent");
	}
}

/* --- JSON --- */

static void put_member(struct out *o, const char *name, struct torc_slice value, size_t most)
{
	PUT(o, ",\"");
	put_string(o, name);
	PUT(o, "\":\"");
	put_escaped(o, value, most, true);
	PUT(o, "\"");
}

static void put_optional(struct out *o, const char *name, struct torc_slice value, size_t most)
{
	if (value.len)
		put_member(o, name, value, most);
}

static void put_field_member(struct out *o, const char *name, const struct torc_http_exchange *x,
			     const char *field)
{
	struct torc_slice value;

	if (torc_http_field(x, field, &value))
		put_optional(o, name, value, FIELD_BYTES);
}

static void put_count(struct out *o, const char *name, uint64_t n)
{
	PUT(o, ",\"");
	put_string(o, name);
	PUT(o, "\":");
	put_number(o, n);
}

static void put_json(struct out *o, struct torc__log_lane *lane, const struct torc__log_entry *e)
{
	struct torc_http_exchange *x = e->x;

	PUT(o, "{\"time\":\"");
	put_json_time(o, lane, e->end_ns);
	PUT(o, "\"");
	put_member(o, "remote", torc_http_remote(x), FIELD_BYTES);
	put_member(o, "host", torc_http_host(x), FIELD_BYTES);
	put_member(o, "method", torc_http_method(x), FIELD_BYTES);
	put_member(o, "path", torc_http_path(x), PATH_BYTES);
	put_optional(o, "query", torc_http_query(x), PATH_BYTES);
	put_count(o, "status", (uint64_t)torc_http_status(x));
	put_count(o, "bytes", torc_http_sent_bytes(x));
	put_count(o, "duration", (e->end_ns - e->begin_ns) / 1000);
	put_optional(o, "user", string(torc_http_user(x)), FIELD_BYTES);
	put_field_member(o, "referer", x, "Referer");
	put_field_member(o, "user_agent", x, "User-Agent");
	put_optional(o, "request_id", string(torc_http_request_id(x)), FIELD_BYTES);
	put_optional(o, "route", string(torc_http_route(x)), FIELD_BYTES);
	PUT(o, "}");
}

/* --- the lines --- */

size_t torc__log_line(struct torc__log_lane *lane, const struct torc__log_entry *e, char *to,
		      size_t room)
{
	struct out o = { to, to + room };

	know_second(lane, e->end_ns);
	if (lane->log->options.format == TORC_HTTP_LOG_JSON)
		put_json(&o, lane, e);
	else
		put_clf(&o, lane, e->x);
	if (o.at == o.end)
		return 0;
	*o.at++ = '\n';
	return (size_t)(o.at - to);
}

size_t torc__log_note(struct torc__log_lane *lane, uint64_t dropped, char *to, size_t room)
{
	struct out o = { to, to + room };
	uint64_t now = torc_now_ns();

	know_second(lane, now);
	if (lane->log->options.format == TORC_HTTP_LOG_JSON) {
		PUT(&o, "{\"time\":\"");
		put_json_time(&o, lane, now);
		PUT(&o, "\"");
		put_count(&o, "dropped", dropped);
		PUT(&o, "}\n");
	} else {
		PUT(&o, "# ");
		put_number(&o, dropped);
		PUT(&o, " lines dropped\n");
	}
	return (size_t)(o.at - to);
}
