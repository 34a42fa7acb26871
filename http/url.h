/*
 * http/url.h - URLs: take one apart, resolve one against another, and what an HTTP request says of one.
 *
 *	struct torc_url url;
 *	char text[TORC_URL_MAX + 1], host[TORC_URL_AUTHORITY_MAX + 1];
 *	int len;
 *
 *	len = torc_url_normalize(typed, strlen(typed), text, sizeof(text));	"HTTP://Example.org/a b/../c" -> "http://example.org/c"
 *	if (len < 0 || torc_url_parse(text, (size_t)len, &url) < 0)
 *		return -EINVAL;
 *	r = torc_url_host(&url, host, sizeof(host));				the value of Host
 *	...
 *	len = torc_url_resolve(text, (size_t)len, location.data, location.len, next, sizeof(next));	where a redirection leads
 *
 * Two readers that take one text for two hosts are how requests end where they must not. So what is not in RFC 3986 is
 * refused, and not guessed at: control characters, backslashes, hosts beyond ASCII (their IDNA form, "xn--...", is the caller's to make), escapes
 * in a host, a host that ends in a number without being an IPv4 address in four decimals ("127.1", "0x7f000001"), port 0.
 * torc_url_normalize and the reference of torc_url_resolve may have what people type and servers send: bytes that ought to
 * have been escaped are escaped then.
 *
 * Nothing here suspends or allocates, and all of it is for any thread. Buffers for results must not overlap with what is read. A result is
 * followed by a zero byte, which is not counted.
 */
#ifndef TORC_HTTP_URL_H
#define TORC_HTTP_URL_H

#include <torc/core/api.h>
#include <torc/core/slice.h>

TORC_BEGIN_DECLS

/* The longest URL, in bytes: as text, and what a function makes of one. */
#define TORC_URL_MAX 8192

/* The longest host; names in the DNS have 253 bytes at most. */
#define TORC_URL_HOST_MAX 255

/* The longest "host:port", with the brackets of IPv6. */
#define TORC_URL_AUTHORITY_MAX (TORC_URL_HOST_MAX + 8)

/* Views into the text that was parsed, encoded as they are there. What is not there is empty, with an address. */
struct torc_url {
	struct torc_slice scheme;   /* in the case in which it is written */
	struct torc_slice userinfo; /* before the '@' */
	struct torc_slice host;  /* in the case in which it is written; IPv6 without its brackets */
	struct torc_slice path;  /* with its first '/'; may be empty */
	struct torc_slice query; /* behind the '?' */
	struct torc_slice fragment; /* behind the '#' */
	uint16_t port;      /* the one that is written, or that of http, https, ws, wss; else 0 */
	bool has_authority; /* "//" is there; only then userinfo, host and port may be */
	bool has_userinfo;
	bool has_port; /* it is written: "http://a:80", but not "http://a:" */
	bool has_query;
	bool has_fragment;
	bool is_ipv6; /* the host is an IPv6 address */
};

/*
 * torc_url_parse - take an absolute URL apart, of any scheme ("mailto:a@b" is a scheme and a path).
 *
 * Path, query and fragment are of the characters of RFC 3986 and, as browsers let them through, '[', ']' and '|'. So they can be put
 * into a request as they are.
 *
 *   @text     [len] bytes; borrowed as long as *ret_url is used
 *   @ret_url  written only on success
 *
 * Returns     0
 *             -EINVAL     not a URL, or one as said above that is refused; http, https, ws or wss without a host
 *             -EMSGSIZE   longer than TORC_URL_MAX, or its host than TORC_URL_HOST_MAX
 * Source      RFC 3986; RFC 9110, section 4.2
 */
TORC_API TORC_MUST_CHECK int torc_url_parse(const char *text, size_t len, struct torc_url *ret_url);

/*
 * torc_url_format - the URL of these parts; parsed, it has the same ones again.
 *
 *   @url   parts that were parsed, or of the caller's: a port is written when has_port says so, or when it is neither 0 nor the scheme's
 *   @out   [size] bytes, undefined after an error; TORC_URL_MAX + 1 are always enough
 *
 * Returns     the length, without the zero byte
 *             -EINVAL     such parts are of no URL: a '/' in the host, a '?' in the path, userinfo without has_authority, ...
 *             -EMSGSIZE   longer than TORC_URL_MAX, or its host than TORC_URL_HOST_MAX
 *             -ENOSPC     longer than @out
 */
TORC_API TORC_MUST_CHECK int torc_url_format(const struct torc_url *url, char *out, size_t size);

/*
 * torc_url_normalize - the same URL as everybody writes it, as torc_url_parse takes it.
 *
 * Spaces around it are cut off. Scheme and host become lower-case, IPv6 is shortened as RFC 5952 has it. The scheme's own port is left out, and
 * an empty path of http, https, ws and wss becomes "/". "." and ".." in the path are resolved, also when written "%2e". Spaces, quotes,
 * '<', '>', '^', '`', '{', '}', bytes beyond ASCII, and a '%' that begins no escape, are escaped; in the fragment '#' too. All other
 * escapes stay as they are, as does a path of no authority that has no '/' first ("mailto:").
 *
 *   @text  [len] bytes: an absolute URL
 *   @out   [size] bytes, undefined after an error; TORC_URL_MAX + 1 are always enough
 *
 * Returns     as torc_url_format
 */
TORC_API TORC_MUST_CHECK int torc_url_normalize(const char *text, size_t len, char *out,
						size_t size);

/*
 * torc_url_resolve - the URL that a reference in a document, or in Location, means.
 *
 * RFC 3986, section 5.2, strictly; what ought to be escaped in the reference is, as in torc_url_normalize. The result is not normalised
 * otherwise, and need not be one that can be fetched: "http:g" is its own result, and torc_url_parse refuses it. Of a
 * path that is not resolved against the base's, such as that of "mailto:", dots are no segments.
 *
 *   @base       [base_len] bytes: a URL that torc_url_parse takes
 *   @reference  [reference_len] bytes: relative or absolute; may be empty
 *   @out        [size] bytes, undefined after an error; TORC_URL_MAX + 1 are always enough
 *
 * Returns     the length, without the zero byte
 *             -EINVAL     the base or the reference is none; a relative path, while the base has no path that begins with '/' ("mailto:")
 *             -EMSGSIZE   base, reference or result are longer than TORC_URL_MAX
 *             -ENOSPC     longer than @out
 */
TORC_API TORC_MUST_CHECK int torc_url_resolve(const char *base, size_t base_len,
					      const char *reference, size_t reference_len,
					      char *out, size_t size);

/*
 * torc_url_target - what stands between method and version in a request to the host itself: path and query (RFC 9112, section 3.2.1).
 * torc_url_host   - the value of Host: host in lower case and, if it is not the scheme's, port.
 *
 *   @out  [size] bytes, undefined after an error; TORC_URL_MAX + 1 and TORC_URL_AUTHORITY_MAX + 1 are always enough
 *
 * Returns     the length, without the zero byte
 *             -EINVAL   it has no host
 *             -ENOSPC   longer than @out
 */
TORC_API TORC_MUST_CHECK int torc_url_target(const struct torc_url *url, char *out, size_t size);
TORC_API TORC_MUST_CHECK int torc_url_host(const struct torc_url *url, char *out, size_t size);

/*
 * torc_url_same_origin - have the two the same scheme, host and port (RFC 6454, section 5)? Names are compared in any case, IPv6 addresses
 * as numbers. What has no host has the origin of nothing, not even of itself.
 */
TORC_API bool torc_url_same_origin(const struct torc_url *a, const struct torc_url *b);

/*
 * torc_url_credentials - cut userinfo in two at its first ':'; both still encoded. Without one the password is empty.
 *
 * Returns     false   there is no userinfo
 */
TORC_API bool torc_url_credentials(const struct torc_url *url, struct torc_slice *ret_user,
				   struct torc_slice *ret_password);

/*
 * torc_url_decode - undo escapes, of userinfo for example.
 *
 *   @out  [size] bytes, undefined after an error; text.len + 1 are always enough
 *
 * Returns     the length, without the zero byte
 *             -EINVAL   a '%' without two hexadecimal digits; a control character or a zero byte, as such or as an escape
 *             -ENOSPC   longer than @out
 */
TORC_API TORC_MUST_CHECK int torc_url_decode(struct torc_slice text, char *out, size_t size);

TORC_END_DECLS

#endif
