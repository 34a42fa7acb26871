/*
 * parse.h - the heads of requests and of responses of HTTP/1.1, RFC 9112.
 *
 * A pure function from bytes to a struct of views.  It refuses whatever two parsers on one
 * connection could read in two ways, because that is how messages are smuggled; the policy is
 * enforced here, once, and nothing above has to look at Content-Length, Transfer-Encoding, Host,
 * Connection or Expect again.
 *
 * Reading in steps: parse what has arrived; on 0, keep the bytes, and parse from the start again
 * once torc__http_head_grew says so.  A verdict is stable: if a prefix is refused, every longer
 * input is refused with the same status.
 */
#ifndef TORC_HTTP_INTERNAL_PARSE_H
#define TORC_HTTP_INTERNAL_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <torc/core/slice.h>

enum torc__http_method {
	TORC__HTTP_GET,
	TORC__HTTP_HEAD,
	TORC__HTTP_POST,
	TORC__HTTP_PUT,
	TORC__HTTP_DELETE,
	TORC__HTTP_CONNECT,
	TORC__HTTP_OPTIONS,
	TORC__HTTP_TRACE,
	TORC__HTTP_PATCH,
	TORC__HTTP_METHOD_UNKNOWN
};

/* RFC 9112 3.2 */
enum torc__http_form {
	TORC__HTTP_ORIGIN,
	TORC__HTTP_ABSOLUTE,
	TORC__HTTP_AUTHORITY,
	TORC__HTTP_ASTERISK
};

/*
 * X(token, name, its second character, its last but one): the two characters and the length are
 * what the hash in parse_names.h sees.  Those that the framing depends on come first.  At most 63 names,
 * for the set in torc__http_head.  A new name whose slot is taken is a compile-time error
 * (-Woverride-init); vary the factors then.
 */
/* clang-format off */
#define TORC__HTTP_NAMES(X) \
	X(HOST, "host", 'o', 's') \
	X(CONNECTION, "connection", 'o', 'o') \
	X(CONTENT_LENGTH, "content-length", 'o', 't') \
	X(TRANSFER_ENCODING, "transfer-encoding", 'r', 'n') \
	X(EXPECT, "expect", 'x', 'c') \
	X(UPGRADE, "upgrade", 'p', 'd') \
	X(TE, "te", 'e', 't') \
	X(TRAILER, "trailer", 'r', 'e') \
	X(KEEP_ALIVE, "keep-alive", 'e', 'v') \
	X(ACCEPT, "accept", 'c', 'p') \
	X(ACCEPT_ENCODING, "accept-encoding", 'c', 'n') \
	X(ACCEPT_LANGUAGE, "accept-language", 'c', 'g') \
	X(AUTHORIZATION, "authorization", 'u', 'o') \
	X(CACHE_CONTROL, "cache-control", 'a', 'o') \
	X(CONTENT_ENCODING, "content-encoding", 'o', 'n') \
	X(CONTENT_TYPE, "content-type", 'o', 'p') \
	X(CONTENT_RANGE, "content-range", 'o', 'g') \
	X(CONTENT_LANGUAGE, "content-language", 'o', 'g') \
	X(CONTENT_LOCATION, "content-location", 'o', 'o') \
	X(CONTENT_DISPOSITION, "content-disposition", 'o', 'o') \
	X(COOKIE, "cookie", 'o', 'i') \
	X(DATE, "date", 'a', 't') \
	X(FORWARDED, "forwarded", 'o', 'e') \
	X(IF_MATCH, "if-match", 'f', 'c') \
	X(IF_MODIFIED_SINCE, "if-modified-since", 'f', 'c') \
	X(IF_NONE_MATCH, "if-none-match", 'f', 'c') \
	X(IF_RANGE, "if-range", 'f', 'g') \
	X(IF_UNMODIFIED_SINCE, "if-unmodified-since", 'f', 'c') \
	X(ORIGIN, "origin", 'r', 'i') \
	X(PRAGMA, "pragma", 'r', 'm') \
	X(PRIORITY, "priority", 'r', 't') \
	X(RANGE, "range", 'a', 'g') \
	X(REFERER, "referer", 'e', 'e') \
	X(SEC_FETCH_SITE, "sec-fetch-site", 'e', 't') \
	X(SEC_FETCH_MODE, "sec-fetch-mode", 'e', 'd') \
	X(SEC_FETCH_DEST, "sec-fetch-dest", 'e', 's') \
	X(SEC_WEBSOCKET_KEY, "sec-websocket-key", 'e', 'e') \
	X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", 'e', 'o') \
	X(SEC_WEBSOCKET_PROTOCOL, "sec-websocket-protocol", 'e', 'o') \
	X(SEC_WEBSOCKET_EXTENSIONS, "sec-websocket-extensions", 'e', 'n') \
	X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", 'e', 'p') \
	X(UPGRADE_INSECURE_REQUESTS, "upgrade-insecure-requests", 'p', 't') \
	X(USER_AGENT, "user-agent", 's', 'n') \
	X(VIA, "via", 'i', 'i') \
	X(X_FORWARDED_FOR, "x-forwarded-for", '-', 'o') \
	X(X_FORWARDED_PROTO, "x-forwarded-proto", '-', 't') \
	X(X_REQUEST_ID, "x-request-id", '-', 'i') \
	X(TRACEPARENT, "traceparent", 'r', 'n') \
	X(PROXY_AUTHORIZATION, "proxy-authorization", 'r', 'o') \
	X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method", 'c', 'o') \
	X(ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers", 'c', 'r') \
	X(LAST_EVENT_ID, "last-event-id", 'a', 'i') \
	X(SERVER, "server", 'e', 'e') \
	X(LOCATION, "location", 'o', 'o') \
	X(SET_COOKIE, "set-cookie", 'e', 'i') \
	X(ETAG, "etag", 't', 'a') \
	X(LAST_MODIFIED, "last-modified", 'a', 'e') \
	X(RETRY_AFTER, "retry-after", 'e', 'e') \
	X(ALLOW, "allow", 'l', 'o') \
	X(VARY, "vary", 'a', 'r') \
	X(WWW_AUTHENTICATE, "www-authenticate", 'w', 't')
/* clang-format on */

enum torc__http_name {
	TORC__HTTP_NAME_OTHER,
#define TORC__HTTP_NAME_TOKEN(token, ...) TORC__HTTP_NAME_##token,
	TORC__HTTP_NAMES(TORC__HTTP_NAME_TOKEN)
#undef TORC__HTTP_NAME_TOKEN
		TORC__HTTP_NAME_COUNT
};

struct torc__http_field {
	struct torc_slice name;  /* at least 1 byte, in the sender's spelling */
	struct torc_slice value; /* without the white space around it; may be empty */
	uint8_t known;           /* enum torc__http_name */
};

struct torc__http_limits {
	size_t line_bytes; /* longest first line, without its CRLF, or else 414, or -EMSGSIZE */
	size_t head_bytes; /* longest head with its last CRLF, up to INT_MAX, or else 431 */
	unsigned fields;   /* most field lines, or else 431 */
};

struct torc__http_head {
	struct torc__http_field *fields; /* the caller's array */
	unsigned field_capacity; /* its length; the smaller of this and limits.fields counts */

	/*
	 * Everything below is written by the parser and valid only after success.  Of a response there are no
	 * method, target, path, query, authority and form: these keep what they were.
	 */
	unsigned field_count;
	uint64_t known_set;      /* bit n: the field with token n is there at least once */
	uint64_t content_length; /* 0 .. INT64_MAX; 0 without has_length */
	struct torc_slice method_name;
	struct torc_slice target;    /* as sent */
	struct torc_slice path;      /* not decoded; "" for CONNECT, "*" for asterisk-form */
	struct torc_slice query;     /* without the '?' */
	struct torc_slice authority; /* the target's, else the Host field's; "" only in HTTP/1.0 */
	enum torc__http_method method;
	enum torc__http_form form;
	uint8_t minor; /* HTTP/1.minor: 0 or 1 */
	bool has_query;
	bool has_length;
	bool chunked;         /* never together with has_length */
	bool keep_alive;      /* the sender wants the connection to persist */
	bool expect_continue; /* never in HTTP/1.0 */
	bool upgrade;         /* Upgrade there, and named in Connection; never in HTTP/1.0 */

	/* Of a response; the parser of requests leaves them alone. */
	uint16_t status; /* 100 .. 599 */
	struct torc_slice
		reason; /* HTAB, space, and what is neither a control nor DEL; may be empty */
};

/*
 * torc__http_parse_request - parse the request head at the start of @buf.
 *
 * Reads no byte outside buf[0 .. len].  The views in @h point into @buf, or to static strings.
 *
 * Returns     > 0   bytes of the head with its final empty line, and a leading one if there was
 *             0     incomplete, and nothing wrong so far
 *             -400  malformed, or ambiguous about where the message ends or for whom it is
 *             -414  the request line exceeds its limit
 *             -417  an expectation other than 100-continue
 *             -431  too many fields, or too large a head
 *             -501  the method is a token that the library does not know
 *             -505  HTTP, but neither 1.0 nor 1.1
 */
int torc__http_parse_request(struct torc__http_head *h, const char *buf, size_t len,
			     const struct torc__http_limits *lim);

/*
 * torc__http_parse_response - parse the response head at the start of @buf.
 *
 * Reads no byte outside buf[0 .. len].  The views in @h point into @buf, or to static strings.  It does not know
 * what was asked: that a response to HEAD, or one with status 1xx, 204 or 304, has no body, whatever has_length and
 * chunked say, is for the caller to see to.
 *
 * As strict as about requests: no empty line before, CRLF only, one plain Content-Length or one plain "chunked", not both,
 * and no "chunked" in HTTP/1.0.  One leniency: the status line may end behind the status, as many servers have it.
 *
 * Returns     > 0               bytes of the head with its final empty line
 *             0                 incomplete, and nothing wrong so far
 *             -EBADMSG          malformed, or ambiguous about where the message ends
 *             -EMSGSIZE         the status line, the fields or the head exceed their limit
 *             -EPROTONOSUPPORT  HTTP, but neither 1.0 nor 1.1
 */
int torc__http_parse_response(struct torc__http_head *h, const char *buf, size_t len,
			      const struct torc__http_limits *lim);

/*
 * torc__http_head_grew - is it worth parsing again?  For requests and responses.
 *
 * After a result of 0 for the first @scanned bytes: true if the bytes that have come since end a
 * line or reach a limit; else sets *@scanned to @len.  As the number of lines is limited,
 * a head that arrives byte by byte costs a limited number of passes over it, not one per byte.
 */
bool torc__http_head_grew(const char *buf, size_t len, const struct torc__http_limits *lim,
			  size_t *scanned);

/* The token of a field name, which must be a valid one; letters may be in either case. */
enum torc__http_name torc__http_name_find(const char *name, size_t len);

/* The first field with this token, or NULL; at once if there is none. */
const struct torc__http_field *torc__http_field_find(const struct torc__http_head *h,
						     enum torc__http_name known);

/* host [":" port] by RFC 3986 3.2.2, not empty, no userinfo, no ','; see authority.c for the rest. */
bool torc__http_authority_valid(struct torc_slice authority, bool need_port);

#endif
