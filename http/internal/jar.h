/*
 * http/internal/jar.h - what a cookie jar is made of.
 *
 *	jar.c         the store: by domain, by path, and by use
 *	jar_parse.c   Set-Cookie
 *	jar_file.c    cookies.txt
 */
#ifndef TORC_HTTP_INTERNAL_JAR_H
#define TORC_HTTP_INTERNAL_JAR_H

#include <torc/http/jar.h>

/* A cookie is kept for no longer: 400 days. */
#define TORC__HTTP_JAR_SECONDS_MAX (INT64_C(400) * 86400)

/* A cookie on its way into a jar. Slices are borrowed. */
struct torc__http_set_cookie {
	struct torc_slice name, value;
	struct torc_slice
		domain; /* the attribute without a dot before it, in any case; then the one that it is for, in lower case */
	struct torc_slice path; /* empty: none that is one */
	int64_t expires; /* seconds since 1970, 0: never; at most `now`: it is to be removed */
	bool secure, http_only, host_only;
};

/* 0, or -EBADMSG. What is said of domain, path and time is not judged. */
int torc__http_set_cookie_parse(struct torc__http_set_cookie *c, struct torc_slice text,
				int64_t now);

/* The dates of section 5.1.1, of which nobody knows the format. False: it is none. */
bool torc__http_cookie_date(struct torc_slice text, int64_t *ret_seconds);

/* No control characters, tabs included. */
bool torc__http_is_cookie_text(struct torc_slice s);

/* Does a name that begins with __Secure- or __Host- keep what it promises? */
bool torc__http_cookie_keeps_promise(const struct torc__http_set_cookie *c);

/* An address, which has no domains above it. */
bool torc__http_is_ip(struct torc_slice host);

/* In lower case, without brackets: TORC_HTTP_JAR_DOMAIN_MAX + 1 bytes, a string. -EINVAL: none, too long, or with control characters. */
int torc__http_lower_host(struct torc_slice host, char *to);

/* Add it, or end it. 0, -EPERM: it would hide a Secure one; or -ENOMEM. */
int torc__http_jar_put(struct torc_http_jar *jar, const struct torc__http_set_cookie *c,
		       bool from_secure);

/* Could it be kept? 0 or -EMSGSIZE. */
int torc__http_jar_fits(const struct torc_http_jar *jar, const struct torc__http_set_cookie *c);

#endif
