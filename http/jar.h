/*
 * http/jar.h - a cookie jar: what servers have set, and what is sent back to whom (RFC 6265, and much of what browsers have added since).
 *
 *	struct torc_http_jar *jar;
 *
 *	r = torc_http_jar_create(NULL, &jar);
 *	if (r < 0)
 *		return r;
 *	r = torc_http_jar_load(jar, AT_FDCWD, "cookies.txt");
 *	...						give it to a client
 *	r = torc_http_jar_save(jar, AT_FDCWD, "cookies.txt");
 *	torc_http_jar_unref(jar);
 *
 * By hand, for each response and request:
 *
 *	struct torc_http_jar_site site = { .host = host, .path = path, .secure = is_https };
 *
 *	(void)torc_http_jar_take(jar, &site, value_of_set_cookie);	what is refused is none of ours to repair
 *	len = torc_http_jar_cookies(jar, &site, value, sizeof(value));	"a=1; b=2"
 *
 * Who may set what. A cookie is for the host that has set it, or, with Domain, for that domain and all below, of which the host must be one.
 * A domain such as "co.uk", below which anybody may have a name, must have no cookies, or one of them could set those of
 * the others. There is a list of these (publicsuffix.org), which changes each week, so none is in here: give a function that
 * knows it as is_public_suffix. Without one only domains of one label ("com") are refused. That is enough for a client of a few known
 * servers, and not for one that goes wherever links lead it.
 *
 * Secure cookies are neither set nor replaced by plain HTTP, and not sent over it; names that begin with __Secure- or __Host- must keep
 * what they promise. SameSite is ignored: it is about pages that embed others, which a client does not know.
 *
 * What is past its time is neither sent nor listed. Cookies without a time are those of a session, which lasts as long as the jar,
 * or the file. Nothing is kept beyond 400 days.
 *
 * Memory. At the limits what was not used for the longest time goes: of one domain first what is not Secure. A host that has many names
 * below its own domain can fill the jar.
 *
 * Suspends    never, but for _load and _save
 * Thread      any, and several at a time. The program that runs on the simulator: a fiber's
 * Source      RFC 6265, section 5; draft-ietf-httpbis-rfc6265bis, section 5
 */
#ifndef TORC_HTTP_JAR_H
#define TORC_HTTP_JAR_H

#include <torc/core/api.h>
#include <torc/core/slice.h>

TORC_BEGIN_DECLS

/* The longest domain, and the longest path, of a cookie. */
#define TORC_HTTP_JAR_DOMAIN_MAX 255
#define TORC_HTTP_JAR_PATH_MAX   1024

/* The largest file that is read. */
#define TORC_HTTP_JAR_FILE_MAX ((size_t)32 << 20)

struct torc_http_jar;

/* Zeroed means the defaults. */
struct torc_http_jar_options {
	unsigned cookies_max; /* in all; 1 .. 1000000, default 3000 */
	unsigned domain_max;  /* of one domain; default 50 */
	unsigned
		cookie_bytes; /* name and value; a longer one is refused; 1 .. 1000000, default 4096 */
	/*
	 * May anybody have a name below this domain? In lower case, without a dot before or behind, and with one in it. It is called by the fiber
	 * that takes a cookie, without any lock. NULL: none is.
	 */
	bool (*is_public_suffix)(const char *domain, void *arg);
	void *arg;
};

/* Where a response came from, or a request goes to. Borrowed. */
struct torc_http_jar_site {
	struct torc_slice
		host; /* in any case, without a port; an IPv6 address in brackets or not */
	struct torc_slice path; /* as in the request, without the query; empty is "/" */
	bool secure;            /* https */
};

/* A cookie as it is listed. */
struct torc_http_jar_cookie {
	const char *name, *value;
	const char *domain; /* lower case, without a dot before it */
	const char *path;
	int64_t expires; /* seconds since 1970; 0: of this session */
	bool host_only;  /* for this host; otherwise also for those below */
	bool secure, http_only;
};

/*
 * torc_http_jar_create - an empty jar, which belongs to the caller; torc_http_jar_ref - to one more; torc_http_jar_unref - to one less: with the
 * last one it ends. NULL is fine for both.
 *
 *   @options  may be NULL; copied
 *
 * Returns     0
 *             -EINVAL   an option out of its range
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_http_jar_create(const struct torc_http_jar_options *options,
						  struct torc_http_jar **ret_jar);
TORC_API struct torc_http_jar *torc_http_jar_ref(struct torc_http_jar *jar);
TORC_API void torc_http_jar_unref(struct torc_http_jar *jar);

/*
 * torc_http_jar_take - what a response says in one Set-Cookie field: a cookie that is new, replaces another one, or ends it.
 *
 *   @site   where the response came from
 *   @value  the field's value; whatever a server may send
 *
 * Returns     0
 *             -EBADMSG    no name, or characters that must not be in it
 *             -EMSGSIZE   name and value, the domain or the path are too long
 *             -EPERM      not this host's to set: another domain, a public suffix, Secure over plain HTTP or instead of a Secure one, or a
 *                         name whose promise is not kept
 *             -EINVAL     a site without a host, or with one of more than TORC_HTTP_JAR_DOMAIN_MAX bytes
 *             -ENOMEM
 * Suspends    as is_public_suffix
 */
TORC_API int torc_http_jar_take(struct torc_http_jar *jar, const struct torc_http_jar_site *site,
				struct torc_slice value);

/*
 * torc_http_jar_cookies - the value of the Cookie field of a request: longer paths first, then what is older.
 *
 *   @ret_value  [size], a string
 *
 * Returns     its length; 0: there are none, and nothing is written but the end of the string, if that has room
 *             -ERANGE   `size` is too small, and nothing is written
 *             -EINVAL   as torc_http_jar_take
 */
TORC_API TORC_MUST_CHECK int torc_http_jar_cookies(struct torc_http_jar *jar,
						   const struct torc_http_jar_site *site,
						   char *ret_value, size_t size);

/*
 * torc_http_jar_list - all cookies, as they are now, those that were not used for the longest time first; torc_http_jar_free_list - their memory back.
 *
 *   @ret_cookies  [*ret_count]; the strings are in the same memory
 *
 * Returns     0
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_http_jar_list(struct torc_http_jar *jar,
						struct torc_http_jar_cookie **ret_cookies,
						size_t *ret_count);
TORC_API void torc_http_jar_free_list(struct torc_http_jar_cookie *cookies);

/*
 * torc_http_jar_remove - those of a domain, a path and a name; NULL: of any. torc_http_jar_clear - all.
 *
 *   @domain  in any case, without a dot before it; not those of the domains below
 *
 * Returns     how many there were
 */
TORC_API size_t torc_http_jar_remove(struct torc_http_jar *jar, const char *domain,
				     const char *path, const char *name);
TORC_API void torc_http_jar_clear(struct torc_http_jar *jar);

/*
 * torc_http_jar_load - add the cookies of a file in the format of Netscape's cookies.txt, as curl and others write it.
 *
 * Lines that make no sense, and cookies that are past their time, are skipped. Whose cookies they are is believed.
 *
 * Returns     how many were added, or replaced others
 *             -EFBIG    more than TORC_HTTP_JAR_FILE_MAX bytes
 *             -ENOMEM   a part may have been added
 *             or as torc_read_file
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_jar_load(struct torc_http_jar *jar, int dirfd,
						const char *path);

/*
 * torc_http_jar_save - write all cookies to such a file, in place of what was there, readable for its owner only. Those of the session
 * have the time 0, as curl has it.
 *
 * Returns     0
 *             -ENOMEM
 *             or as torc_write_file
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_jar_save(struct torc_http_jar *jar, int dirfd,
						const char *path);

TORC_END_DECLS

#endif
