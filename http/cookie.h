/*
 * http/cookie.h - cookies (RFC 6265, and what browsers have added since).
 *
 *	struct torc_slice session;
 *
 *	if (!torc_http_cookie(x, "__Host-session", &session))
 *		return login(x);
 *
 *	r = torc_http_set_cookie(x, &(struct torc_http_cookie){
 *		.name = "__Host-session", .value = token, .path = "/", .max_age_s = 3600,
 *		.secure = true, .http_only = true, .same_site = TORC_SAME_SITE_LAX });
 */
#ifndef TORC_HTTP_COOKIE_H
#define TORC_HTTP_COOKIE_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/*
 * torc_http_cookie - the value of a cookie that the client sent, the first of several, without the double quotes around it; not decoded.
 *
 * torc_http_next_cookie shows all, from *at = 0 on, in the order sent. What is no cookie is skipped.
 *
 * Returns     false   there is none; there are no more
 */
TORC_API bool torc_http_cookie(const struct torc_http_exchange *x, const char *name,
			       struct torc_slice *ret_value);
TORC_API bool torc_http_next_cookie(const struct torc_http_exchange *x, uint64_t *at,
				    struct torc_slice *ret_name, struct torc_slice *ret_value);

enum torc_same_site {
	TORC_SAME_SITE_UNSET, /* what the browser takes for granted, mostly Lax */
	TORC_SAME_SITE_STRICT,
	TORC_SAME_SITE_LAX,
	TORC_SAME_SITE_NONE, /* needs secure */
};

/* A cookie to be set; strings are borrowed during the call. */
struct torc_http_cookie {
	const char *
		name; /* a token. "__Secure-" needs secure; "__Host-" that too, path "/" and no domain */
	const char *
		value; /* no spaces, quotes, commas, semicolons, backslashes, controls: encode what may have them */
	const char *path; /* begins with '/'; NULL: that of the request, up to its last slash */
	const char
		*domain; /* a host name: it and those below; NULL: only the host that was asked */
	uint64_t max_age_s; /* seconds; 0: until the browser is closed */
	bool remove; /* forget it: value and max_age_s are ignored; path and domain must be as they were */
	bool secure;      /* only by TLS */
	bool http_only;   /* not for scripts */
	bool partitioned; /* apart for each site that embeds ours; needs secure */
	enum torc_same_site same_site;
};

/* The longest name and value together that clients must take: RFC 6265, section 6.1. */
#define TORC_HTTP_COOKIE_BYTES 4096

/*
 * torc_http_set_cookie - add a Set-Cookie field to the response.
 *
 * Returns     0
 *             -EINVAL    as said at the fields; max_age_s beyond INT32_MAX; longer than TORC_HTTP_COOKIE_BYTES in all
 *             or as torc_http_add_field
 */
TORC_API TORC_MUST_CHECK int torc_http_set_cookie(struct torc_http_exchange *x,
						  const struct torc_http_cookie *cookie);

TORC_END_DECLS

#endif
