/*
 * http/url.c - take URLs apart, and put parts together.
 */
#include <torc/http/url.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/internal/parse.h"
#include "http/internal/scan.h"
#include "http/internal/url.h"

/* Which bytes may be where, RFC 3986, section 2 and 3. '%' is looked at by itself. */
enum {
	SCHEME = 1,
	USERINFO = 2,
	PATH = 4,   /* and in queries and fragments; what does not belong ends it before */
	ESCAPE = 8, /* what is to be escaped, where the text is lax */
};

#define UNRESERVED (USERINFO | PATH)

static const uint8_t class_of[256] = {
	['a' ... 'z'] = SCHEME | UNRESERVED,
	['A' ... 'Z'] = SCHEME | UNRESERVED,
	['0' ... '9'] = SCHEME | UNRESERVED,
	['-'] = SCHEME | UNRESERVED,
	['.'] = SCHEME | UNRESERVED,
	['+'] = SCHEME | UNRESERVED,
	['_'] = UNRESERVED,
	['~'] = UNRESERVED,
	/* sub-delims */
	['!'] = UNRESERVED,
	['$'] = UNRESERVED,
	['&'] = UNRESERVED,
	['\''] = UNRESERVED,
	['('] = UNRESERVED,
	[')'] = UNRESERVED,
	['*'] = UNRESERVED,
	[','] = UNRESERVED,
	[';'] = UNRESERVED,
	['='] = UNRESERVED,
	[':'] = UNRESERVED,
	['@'] = PATH,
	['/'] = PATH,
	['?'] = PATH,
	/* beyond the RFC: browsers send them as they are, and servers know "a[]=1" */
	['['] = PATH,
	[']'] = PATH,
	['|'] = PATH,
	[' '] = ESCAPE,
	['"'] = ESCAPE,
	['#'] = ESCAPE, /* the second one: only in a fragment */
	['<'] = ESCAPE,
	['>'] = ESCAPE,
	['^'] = ESCAPE,
	['`'] = ESCAPE,
	['{'] = ESCAPE,
	['}'] = ESCAPE,
	[0x80 ... 0xff] = ESCAPE,
};

static bool is(char c, unsigned classes)
{
	return (class_of[(unsigned char)c] & classes) != 0;
}

static bool is_letter(char c)
{
	return (unsigned char)((c | 0x20) - 'a') < 26;
}

static bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static bool is_escape(const char *p, const char *end)
{
	return end - p > 2 && *p == '%' && torc__http_hex(p[1]) >= 0 && torc__http_hex(p[2]) >= 0;
}

bool torc__url_needs_escape(const char *p, const char *end)
{
	return *p == '%' ? !is_escape(p, end) : !is(*p, PATH);
}

static bool is_made_of(struct torc_slice s, unsigned classes, bool lax)
{
	const char *end;

	if (!s.len) /* NULL perhaps */
		return true;
	end = s.data + s.len;
	for (const char *p = s.data; p < end; p++) {
		if (*p == '%') {
			if (!lax && !is_escape(p, end))
				return false;
		} else if (!is(*p, lax ? classes | ESCAPE : classes)) {
			return false;
		}
	}
	return true;
}

static const struct torc_slice empty = { "", 0 };

static struct torc_slice between(const char *start, const char *end)
{
	return (struct torc_slice){ start, (size_t)(end - start) };
}

static bool is_word(struct torc_slice s, const char *text)
{
	return s.len == strlen(text) && !strncasecmp(s.data, text, s.len);
}

static uint16_t default_port(struct torc_slice scheme)
{
	if (is_word(scheme, "http") || is_word(scheme, "ws"))
		return 80;
	return is_word(scheme, "https") || is_word(scheme, "wss") ? 443 : 0;
}

bool torc__url_is_web(const struct torc_url *u)
{
	return default_port(u->scheme) != 0;
}

/* ---- Authority ------------------------------------------------------------------------------ */

/* As inet_pton has it, which takes just what the RFC does. */
static bool is_address(struct torc_slice host, int family, void *ret)
{
	char text[INET6_ADDRSTRLEN];

	if (host.len >= sizeof(text))
		return false;
	memcpy(text, host.data, host.len);
	text[host.len] = '\0';
	return inet_pton(family, text, ret) == 1;
}

/* Digits, or "0x" and hexadecimal ones: what some resolvers take for a part of an IPv4 address. */
static bool is_number(struct torc_slice label)
{
	size_t i = 0;
	bool hex = label.len >= 2 && label.data[0] == '0' && (label.data[1] | 0x20) == 'x';

	for (i = hex ? 2 : 0; i < label.len; i++)
		if (hex ? torc__http_hex(label.data[i]) < 0 : !is_digit(label.data[i]))
			return false;
	return label.len > 0;
}

/* A name, or four decimals; no other spelling of an address, as whoever looks it up might know more than who filters. */
static bool is_name(struct torc_slice host)
{
	struct torc_slice name = host;
	struct in_addr ipv4;
	const char *dot;

	if (memchr(host.data, '%', host.len))
		return false;
	if (name.data[name.len - 1] == '.')
		name.len--;
	dot = memrchr(name.data, '.', name.len);
	if (!is_number(dot ? between(dot + 1, name.data + name.len) : name))
		return true;
	return is_address(host, AF_INET, &ipv4);
}

/* Digits, which are no more than UINT16_MAX; the default one if there are none. */
static void take_port(struct torc_slice digits, struct torc_url *u)
{
	unsigned port = 0;

	for (size_t i = 0; i < digits.len; i++)
		port = port * 10 + (unsigned)(digits.data[i] - '0');
	u->has_port = digits.len > 0;
	if (u->has_port)
		u->port = (uint16_t)port;
}

/* host [":" port], not empty */
static int take_host(struct torc_slice s, struct torc_url *u)
{
	const char *end = s.data + s.len, *host_end;

	if (!torc__http_authority_valid(s, false))
		return -EINVAL;
	u->is_ipv6 = *s.data == '[';
	host_end = memchr(s.data, u->is_ipv6 ? ']' : ':', s.len);
	if (!host_end)
		host_end = end;
	u->host = between(s.data + u->is_ipv6, host_end);
	if (u->host.len > TORC_URL_HOST_MAX)
		return -EMSGSIZE;
	host_end += u->is_ipv6;
	if (host_end < end)
		take_port(between(host_end + 1, end), u);
	return u->is_ipv6 || is_name(u->host) ? 0 : -EINVAL;
}

static int take_authority(struct torc_slice s, struct torc_url *u)
{
	const char *at = memrchr(s.data, '@', s.len);

	u->has_authority = true;
	if (at) {
		u->has_userinfo = true;
		u->userinfo = between(s.data, at);
		s = between(at + 1, s.data + s.len);
		if (!is_made_of(u->userinfo, USERINFO, false))
			return -EINVAL;
	} else if (!s.len) { /* "file:///" */
		return 0;
	}
	return take_host(s, u);
}

/* ---- All of it ------------------------------------------------------------------------------ */

/* The first of the bytes in @stops, or @end. */
static const char *find(const char *p, const char *end, const char *stops)
{
	while (p < end && (!*p || !strchr(stops, *p)))
		p++;
	return p;
}

/* Returns what is behind the scheme's ':', @p if there is none, NULL for a ':' where there should be none. */
static const char *take_scheme(const char *p, const char *end, struct torc_url *u)
{
	const char *colon = find(p, end, ":/?#");

	if (colon == end || *colon != ':')
		return p;
	u->scheme = between(p, colon);
	if (!u->scheme.len || !is_letter(*p) || !is_made_of(u->scheme, SCHEME, false) ||
	    memchr(p, '%', u->scheme.len))
		return NULL;
	u->port = default_port(u->scheme);
	return colon + 1;
}

/* From behind the authority on. */
static int take_rest(const char *p, const char *end, bool lax, struct torc_url *u)
{
	const char *stop = find(p, end, "?#");

	u->path = between(p, stop);
	u->has_query = stop < end && *stop == '?';
	if (u->has_query) {
		p = stop + 1;
		stop = find(p, end, "#");
		u->query = between(p, stop);
	}
	u->has_fragment = stop < end;
	if (u->has_fragment)
		u->fragment = between(stop + 1, end);
	return is_made_of(u->path, PATH, lax) && is_made_of(u->query, PATH, lax) &&
			       is_made_of(u->fragment, PATH, lax)
		       ? 0
		       : -EINVAL;
}

int torc__url_split(const char *text, size_t len, bool lax, struct torc_url *u)
{
	const char *p = text, *end = text + len;
	int r = 0;

	*u = (struct torc_url){ .scheme = empty,
				.userinfo = empty,
				.host = empty,
				.path = empty,
				.query = empty,
				.fragment = empty };
	if (len > TORC_URL_MAX)
		return -EMSGSIZE;
	p = take_scheme(p, end, u);
	if (!p)
		return -EINVAL;
	if (end - p >= 2 && p[0] == '/' && p[1] == '/') {
		const char *stop = find(p + 2, end, "/?#");

		r = take_authority(between(p + 2, stop), u);
		p = stop;
	}
	return r < 0 ? r : take_rest(p, end, lax, u);
}

int torc_url_parse(const char *text, size_t len, struct torc_url *ret_url)
{
	struct torc_url u;
	int r = torc__url_split(text, len, false, &u);

	if (r < 0)
		return r;
	if (!u.scheme.len || (torc__url_is_web(&u) && !u.host.len))
		return -EINVAL;
	*ret_url = u;
	return 0;
}

/* ---- Text ----------------------------------------------------------------------------------- */

void torc__url_put(struct torc__url_out *o, const char *data, size_t len)
{
	if (len && o->front <= o->size && len <= o->size - o->front)
		memcpy(o->text + o->front, data, len);
	o->front += len;
}

void torc__url_put_slice(struct torc__url_out *o, struct torc_slice s)
{
	torc__url_put(o, s.data, s.len);
}

int torc__url_finish(struct torc__url_out *o)
{
	if (o->front > TORC_URL_MAX)
		return -EMSGSIZE;
	if (o->front >= o->size)
		return -ENOSPC;
	o->text[o->front] = '\0';
	return (int)o->front;
}

static void put_lower(struct torc__url_out *o, struct torc_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.data[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		torc__url_put(o, &c, 1);
	}
}

static void put_ipv6(struct torc__url_out *o, struct torc_slice host)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (is_address(host, AF_INET6, &address) &&
	    inet_ntop(AF_INET6, &address, text, sizeof(text)))
		torc__url_put(o, text, strlen(text));
	else
		torc__url_put_slice(o, host);
}

static void put_host(struct torc__url_out *o, const struct torc_url *u, bool normal)
{
	bool usual = !u->port || u->port == default_port(u->scheme);
	char text[8];

	if (u->is_ipv6)
		torc__url_put(o, "[", 1);
	if (!normal)
		torc__url_put_slice(o, u->host);
	else if (u->is_ipv6)
		put_ipv6(o, u->host);
	else
		put_lower(o, u->host);
	if (u->is_ipv6)
		torc__url_put(o, "]", 1);
	if (!usual || (u->has_port && !normal))
		torc__url_put(o, text, (size_t)snprintf(text, sizeof(text), ":%u", u->port));
}

void torc__url_put_authority(struct torc__url_out *o, const struct torc_url *u, bool normal)
{
	torc__url_put(o, "//", 2);
	torc__url_put_slice(o, u->userinfo);
	if (u->has_userinfo)
		torc__url_put(o, "@", 1);
	put_host(o, u, normal);
}

static bool same(struct torc_slice a, struct torc_slice b)
{
	return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

/* Port 0 is the scheme's. */
static bool same_parts(const struct torc_url *a, const struct torc_url *b)
{
	return same(a->scheme, b->scheme) && same(a->userinfo, b->userinfo) &&
	       same(a->host, b->host) && same(a->path, b->path) && same(a->query, b->query) &&
	       same(a->fragment, b->fragment) && (!a->port || a->port == b->port) &&
	       a->has_authority == b->has_authority && a->has_userinfo == b->has_userinfo &&
	       a->has_query == b->has_query && a->has_fragment == b->has_fragment &&
	       a->is_ipv6 == b->is_ipv6;
}

/* Whether the parts are good is seen by whether they are found again. */
int torc_url_format(const struct torc_url *u, char *out, size_t size)
{
	struct torc__url_out o = { .text = out, .size = size };
	struct torc_url again;
	int len, r;

	torc__url_put_slice(&o, u->scheme);
	torc__url_put(&o, ":", 1);
	if (u->has_authority)
		torc__url_put_authority(&o, u, false);
	torc__url_put_slice(&o, u->path);
	torc__url_put(&o, "?", u->has_query);
	torc__url_put_slice(&o, u->query);
	torc__url_put(&o, "#", u->has_fragment);
	torc__url_put_slice(&o, u->fragment);
	len = torc__url_finish(&o);
	if (len < 0)
		return len;
	r = torc_url_parse(out, (size_t)len, &again);
	if (r < 0)
		return r;
	return same_parts(u, &again) ? len : -EINVAL;
}

/* ---- For a request -------------------------------------------------------------------------- */

int torc_url_target(const struct torc_url *u, char *out, size_t size)
{
	struct torc__url_out o = { .text = out, .size = size };

	if (!u->host.len || (u->path.len && *u->path.data != '/') ||
	    !is_made_of(u->path, PATH, false) || !is_made_of(u->query, PATH, false))
		return -EINVAL;
	if (u->path.len)
		torc__url_put_slice(&o, u->path);
	else
		torc__url_put(&o, "/", 1);
	torc__url_put(&o, "?", u->has_query);
	torc__url_put_slice(&o, u->query);
	return torc__url_finish(&o);
}

int torc_url_host(const struct torc_url *u, char *out, size_t size)
{
	struct torc__url_out o = { .text = out, .size = size };
	struct torc_slice host;
	int len;

	put_host(&o, u, true);
	len = torc__url_finish(&o);
	if (len < 0)
		return len;
	host = (struct torc_slice){ out, (size_t)len };
	return torc__http_authority_valid(host, false) ? len : -EINVAL;
}

static bool same_host(const struct torc_url *a, const struct torc_url *b)
{
	struct in6_addr x, y;

	if (a->is_ipv6 && b->is_ipv6 && is_address(a->host, AF_INET6, &x) &&
	    is_address(b->host, AF_INET6, &y))
		return !memcmp(&x, &y, sizeof(x));
	return a->is_ipv6 == b->is_ipv6 && a->host.len == b->host.len &&
	       !strncasecmp(a->host.data, b->host.data, a->host.len);
}

bool torc_url_same_origin(const struct torc_url *a, const struct torc_url *b)
{
	return a->host.len && b->host.len && a->port == b->port && same_host(a, b) &&
	       a->scheme.len == b->scheme.len &&
	       !strncasecmp(a->scheme.data, b->scheme.data, a->scheme.len);
}

/* ---- Userinfo ------------------------------------------------------------------------------- */

bool torc_url_credentials(const struct torc_url *u, struct torc_slice *ret_user,
			  struct torc_slice *ret_password)
{
	struct torc_slice s = u->userinfo;
	const char *colon = s.len ? memchr(s.data, ':', s.len) : NULL;

	if (!u->has_userinfo)
		return false;
	*ret_user = colon ? between(s.data, colon) : s;
	*ret_password = colon ? between(colon + 1, s.data + s.len) : empty;
	return true;
}

int torc_url_decode(struct torc_slice text, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		const char *p = text.data + i;
		char c = *p;

		if (c == '%') {
			if (!is_escape(p, text.data + text.len))
				return -EINVAL;
			c = (char)(torc__http_hex(p[1]) << 4 | torc__http_hex(p[2]));
			i += 2;
		}
		if ((unsigned char)c < ' ' || c == 0x7f)
			return -EINVAL;
		if (len < size)
			out[len] = c;
		len++;
	}
	if (len >= size)
		return -ENOSPC;
	out[len] = '\0';
	return (int)len;
}
