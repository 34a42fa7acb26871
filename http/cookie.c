/*
 * http/cookie.c - read and set cookies.
 */
#include <torc/http/cookie.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/internal/trap.h"
#include "http/internal/exchange.h"

/* --- what the client sends: name=value, divided by "; " --- */

static bool split(struct torc_slice text, struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	const char *end = text.data + text.len;
	const char *equals = text.len ? memchr(text.data, '=', text.len) : NULL;

	if (!equals)
		return false;
	*ret_name = torc__http_trim(text.data, equals);
	*ret_value = torc__http_trim(equals + 1, end);
	if (ret_value->len >= 2 && *ret_value->data == '"' &&
	    ret_value->data[ret_value->len - 1] == '"') {
		ret_value->data++;
		ret_value->len -= 2;
	}
	return ret_name->len;
}

/* The next cookie of one field; *at is an offset into it. */
static bool next_in_field(struct torc_slice field, uint32_t *at, struct torc_slice *ret_name,
			  struct torc_slice *ret_value)
{
	const char *end = field.data + field.len;

	while (*at < field.len) {
		const char *p = field.data + *at;
		const char *stop = memchr(p, ';', (size_t)(end - p));

		*at = (uint32_t)((stop ? stop + 1 : end) - field.data);
		if (split((struct torc_slice){ p, (size_t)((stop ? stop : end) - p) }, ret_name,
			  ret_value))
			return true;
	}
	return false;
}

/* *at: which field in its upper half, where in it in the lower one. A head is shorter than that. */
bool torc_http_next_cookie(const struct torc_http_exchange *x, uint64_t *at,
			   struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	size_t i = *at >> 32;
	uint32_t offset = (uint32_t)*at;

	for (; i < x->head.field_count; i++, offset = 0) {
		const struct torc__http_field *f = &x->head.fields[i];

		if (f->known == TORC__HTTP_NAME_COOKIE &&
		    next_in_field(f->value, &offset, ret_name, ret_value)) {
			*at = (uint64_t)i << 32 | offset;
			return true;
		}
	}
	*at = (uint64_t)i << 32;
	return false;
}

bool torc_http_cookie(const struct torc_http_exchange *x, const char *name,
		      struct torc_slice *ret_value)
{
	struct torc_slice found, value;
	uint64_t at = 0;

	while (torc_http_next_cookie(x, &at, &found, &value)) {
		if (torc__http_slice_is(found, name)) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* --- what is set --- */

/* cookie-octet of RFC 6265, section 4.1.1. */
static bool is_cookie_value(const char *p)
{
	for (; *p; p++)
		if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || strchr("\",;\\", *p))
			return false;
	return true;
}

static bool is_path(const char *p)
{
	return *p == '/' && torc__http_is_field_value(p) && !strchr(p, ';');
}

static bool is_domain(const char *p)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";

	return *p && strspn(p, allowed) == strlen(p);
}

/* What browsers refuse, a program should hear of. */
static bool keeps_promises(const struct torc_http_cookie *c)
{
	bool host = !strncasecmp(c->name, "__Host-", 7);

	if (c->secure)
		return !host || (!c->domain && c->path && !strcmp(c->path, "/"));
	return !host && strncasecmp(c->name, "__Secure-", 9) != 0 && !c->partitioned &&
	       c->same_site != TORC_SAME_SITE_NONE;
}

static bool is_valid(const struct torc_http_cookie *c)
{
	if (!c->name || !torc__http_is_token(c->name) || (!c->value && !c->remove))
		return false;
	if (!c->remove && !is_cookie_value(c->value))
		return false;
	if (c->path && !is_path(c->path))
		return false;
	if (c->domain && !is_domain(c->domain))
		return false;
	return c->max_age_s <= INT32_MAX && c->same_site <= TORC_SAME_SITE_NONE &&
	       keeps_promises(c);
}

/* What there was no room for is missing at the end, and n is too large. */
struct out {
	char text[TORC_HTTP_COOKIE_BYTES + 1];
	size_t n;
};

static void append(struct out *o, const char *a, const char *b)
{
	size_t room = o->n < sizeof(o->text) ? sizeof(o->text) - o->n : 0;

	o->n += (size_t)snprintf(o->text + (room ? o->n : 0), room, "%s%s", a, b);
}

static void append_lifetime(struct out *o, const struct torc_http_cookie *c)
{
	char seconds[24];

	if (c->remove) {
		append(o, "; Max-Age=0", "; Expires=Thu, 01 Jan 1970 00:00:00 GMT");
	} else if (c->max_age_s) {
		snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)c->max_age_s);
		append(o, "; Max-Age=", seconds);
	}
}

static void append_attributes(struct out *o, const struct torc_http_cookie *c)
{
	static const char *const sites[] = { "", "Strict", "Lax", "None" };

	if (c->path)
		append(o, "; Path=", c->path);
	if (c->domain)
		append(o, "; Domain=", c->domain);
	append_lifetime(o, c);
	if (c->secure)
		append(o, "; Secure", "");
	if (c->http_only)
		append(o, "; HttpOnly", "");
	if (c->same_site)
		append(o, "; SameSite=", sites[c->same_site]);
	if (c->partitioned)
		append(o, "; Partitioned", "");
}

int torc_http_set_cookie(struct torc_http_exchange *x, const struct torc_http_cookie *c)
{
	struct out o;

	if (!is_valid(c))
		return -EINVAL;
	o.n = 0;
	append(&o, c->name, "=");
	append(&o, c->remove ? "" : c->value, "");
	append_attributes(&o, c);
	return o.n < sizeof(o.text) ? torc_http_add_field(x, "Set-Cookie", o.text) : -EINVAL;
}
