/*
 * http/client.h - an HTTP/1.1 client: requests as calls of a fiber.
 *
 *	struct torc_http_client *client;
 *	struct torc_http_response *res;
 *	struct torc_slice body;
 *
 *	r = torc_http_client_open(NULL, &client);
 *	...
 *	r = torc_http_get(client, "https://example.org/", &res);
 *	if (r < 0)
 *		return r;				ret_why of a request says it in words
 *	r = torc_http_response_read(res, 1 << 20, &body);
 *	if (!r && torc_http_response_status(res) == 200)
 *		use(body.data, body.len);
 *	torc_http_response_close(res);
 *	...
 *	torc_http_client_close(client);
 *
 * A client keeps connections to be used again: a pool for each loop, which fibers of that loop share. It is open like a scope: by
 * one fiber, which closes it when everything that was asked through it has been answered. A thousand requests at once are a thousand fibers of
 * a group; those for which there is no connection wait in line.
 *
 * A response that says 404 or 500 is a response, and no error. A deadline for all of it is a scope's (core/timeout.h):
 * what is cancelled leaves nothing behind but, at worst, a connection less. The phases have limits of their own (struct torc_http_client_options).
 *
 * What is safe to do again is done again by itself: a request with an idempotent method (RFC 9110, section 9.2.2) on a connection that was kept
 * too long, of which the server has shown by closing it without a byte that it was not answered. Others are not, but
 * for a connection that is seen to be closed before anything was sent.
 *
 * It reads responses as strictly as the server reads requests: what two readers could understand differently is -EBADMSG. What arrives on a
 * connection that nobody has asked anything ends that connection; but a new one may begin with the answer to what is about to be asked: so do servers
 * that have no place left.
 *
 * Redirects are followed as the Fetch standard and RFC 9110, section 15.4, say: 301 and 302 turn POST into GET, 303 anything but HEAD, 307 and 308
 * repeat the request, with its body. Across origins (scheme, host and port) the fields Authorization, Cookie and Proxy-Authorization
 * of the request are left out, and so are its credentials. Cookies are those of the jar.
 */
#ifndef TORC_HTTP_CLIENT_H
#define TORC_HTTP_CLIENT_H

#include <sys/types.h>

#include <torc/core/slice.h>
#include <torc/http/authorize.h>
#include <torc/http/exchange.h>
#include <torc/http/jar.h>

TORC_BEGIN_DECLS

struct torc_dial_options;
struct torc_gen;
struct torc_http_client;
struct torc_http_coding;
struct torc_http_form_data;
struct torc_http_response;
struct torc_http_upload;
struct torc_stream;
struct torc_tls;

/* What a text that says why needs, with its zero byte. */
#define TORC_HTTP_WHY_MAX 512

/* --- the client --- */

/* Zeroed means the defaults. Strings are copied, the rest is borrowed while it is open. */
struct torc_http_client_options {
	/* The pool, of each loop. Who finds no connection free waits in line, first come, first served. */
	unsigned
		connections_max; /* in all, but for idle ones that make room, and are about to be closed; default 256 */
	unsigned origin_max; /* to one origin; default 64 */
	uint64_t line_ns;    /* in line; default 30 s; then -ETIMEDOUT */
	uint64_t idle_ns;    /* without a request, then it is closed; default 30 s */

	/* The phases of a request. TORC_NEVER: the scope's deadline only. */
	uint64_t connect_ns; /* the name, TCP and TLS; default 10 s */
	uint64_t
		head_ns; /* from the request's last byte to the end of the response's head; default 30 s */
	uint64_t
		body_ns; /* waiting for the body once the request was sent, besides what its bytes take at 1 KiB/s; default 30 s */
	uint64_t write_ns;    /* for the server to take more of the request; default 30 s */
	uint64_t continue_ns; /* for "100 Continue"; then the body is sent anyway; default 1 s */

	/* What a server may say. More is -EMSGSIZE. */
	size_t head_bytes;    /* of a head; default 64 KiB */
	unsigned fields;      /* header lines; default 100, at most 1000 */
	unsigned interim_max; /* 1xx responses to one request; default 20 */
	unsigned
		decode_ratio; /* decoded bytes for each that came, beyond the first MiB; default 250 */

	/* Redirects. */
	unsigned redirects_max; /* default 10; more is -ELOOP */
	bool no_redirects;      /* 3xx is a response like any other */
	bool allow_downgrade;   /* from https to http, too: else -EPERM */

	/*
	 * NULL-terminated: what is asked for, and decoded (http/compress.h). Default: gzip and deflate. no_decode: nothing is.
	 * A request with an Accept-Encoding of its own is left alone.
	 */
	const struct torc_http_coding *const *codings;
	bool no_decode;

	/*
	 * "http://[USER:PASSWORD@]HOST:PORT", for all but what no_proxy names: hosts, domains with all that is below them, addresses,
	 * networks (10.0.0.0/8), each with or without ":PORT", separated by commas, or a star for all. Requests to https are tunnelled (CONNECT).
	 * Default: the environment's http_proxy, https_proxy or HTTPS_PROXY, all_proxy or ALL_PROXY, and no_proxy or
	 * NO_PROXY, when it is opened. (HTTP_PROXY is not looked at: in a CGI program it is what a client has sent.)
	 */
	const char *proxy, *no_proxy;
	bool no_environment; /* without `proxy` there is none */
	/* Who we are to proxies that ask (407), if not USER:PASSWORD. For fibers of all loops. http/authorize.h */
	torc_http_authorize_fn *proxy_authorize;
	void *proxy_authorize_arg;

	struct torc_tls *tls; /* default: the system's authorities, verified (io/tls.h) */
	const struct torc_dial_options *dial;
	struct torc_http_jar *jar; /* cookies; default: none */
	const char *user_agent;    /* default "torc/VERSION"; "": none */
	/* Instead of all of a URL's host and port, the address (io/address.h) to connect to: "unix:/run/docker.sock". Not with `proxy`. */
	const char *connect_to;
};

/*
 * torc_http_client_open - begin to keep connections.
 *
 * It starts a fiber on each loop, in a group that it opens: so the client is closed by the same fiber, and before scopes that
 * were entered earlier are left.
 *
 *   @options  may be NULL
 *
 * Returns     0
 *             -EINVAL   an option out of its range; a proxy that is none, or is asked by TLS; a proxy and connect_to
 *             -ENOMEM
 *             -EAGAIN   no fiber could be started (torc_group_spawn)
 *             -ECANCELED, -ETIMEDOUT   the scope
 * Suspends    with several loops
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_client_open(const struct torc_http_client_options *options,
						   struct torc_http_client **ret);

/*
 * torc_http_client_close - close all connections. Responses that are still open trap.
 *
 * Suspends    yes
 * Thread      the fiber that opened it
 */
TORC_API void torc_http_client_close(struct torc_http_client *client);

/* Of the caller's loop. */
struct torc_http_client_stats {
	unsigned connections; /* open, or being opened */
	unsigned idle;        /* of them */
	unsigned waiting;     /* fibers in line */
	uint64_t requests;    /* sent, redirected and repeated ones too */
	uint64_t connects;    /* tried */
	uint64_t retries;     /* on another connection, as the first one had been closed */
	uint64_t dropped;     /* connections that were closed though they might have been kept */
};

/* Never suspends. */
TORC_API void torc_http_client_stats(const struct torc_http_client *client,
				     struct torc_http_client_stats *ret);

/* --- requests --- */

/* Writes a body, with torc_http_upload_write, and returns 0; or an error, which becomes the request's. */
typedef int torc_http_upload_fn(struct torc_http_upload *u, void *arg);

/* Zeroed means the defaults; only the URL is needed. All is borrowed during the call, the body until the response is closed. */
struct torc_http_request {
	const char *method; /* a token; default GET, with a body POST. Not CONNECT */
	const char *url; /* http:// or https:// (http/url.h); "user:password@" is sent as Basic */
	/*
	 * Instead of those that the client adds: Host, User-Agent, Accept, Accept-Encoding, Cookie, Content-Type, and Authorization from the URL. With
	 * Range, nothing is asked for in a coding. Proxy-Authorization goes to no server behind a tunnel.
	 */
	const struct torc_http_pair *fields; /* [field_count] */
	size_t field_count;

	/* The body: one of these, or none. */
	const void *body; /* [body_len]; may be sent again */
	size_t body_len;
	const char *body_file;                  /* a path; may be sent again */
	const struct torc_http_form_data *form; /* http/form_data.h; may be sent again */
	struct torc_stream *body_stream; /* what it reads until its end; stays the caller's */
	struct torc_gen *body_gen;       /* its values: const struct torc_slice * (core/gen.h) */
	torc_http_upload_fn *body_fn;    /* with body_arg */
	void *body_arg;
	bool body_again; /* body_fn may be called once more, and writes the same then */
	/* Of the last three: a length that is known; it has to be met, or it is -EIO. Default: sent in chunks. */
	uint64_t body_length;
	/* Wait for "100 Continue" before the body is sent: a server that does not want it then need not get it. After 417 it is sent without. */
	bool expect_continue;

	torc_http_authorize_fn *authorize; /* http/authorize.h; default: none */
	void *authorize_arg;

	bool no_redirects;
	/* Interim responses other than 100, such as 103 Early Hints; `res` shows its fields, and nothing else, during the call. */
	void (*on_interim)(const struct torc_http_response *res, void *arg);
	void *on_interim_arg;
	char *ret_why; /* TORC_HTTP_WHY_MAX bytes, written only on failure: what went wrong, and where. May be NULL */
};

/*
 * torc_http_request - ask, and read the head of the response.
 *
 *   @client   NULL: one with the defaults, of its own, which is open until the response is closed: by the same fiber, and before
 *             scopes that were entered earlier are left
 *   @ret      to be closed; set only on success
 *
 * Returns     0
 *             -EINVAL           no URL; a field or method that is none, or a field that is the library's: Connection, Content-Length, Expect,
 *                               Keep-Alive, Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade; more than one body
 *             -EPROTONOSUPPORT  neither http nor https; a version of HTTP that is not 1
 *             -ETIMEDOUT        a phase, or the scope
 *             -ECANCELED        the scope
 *             -EBADMSG          the response makes no sense, or two kinds of it
 *             -EMSGSIZE         its head is too large, or too many interim ones; an URL, or one that it leads to, is too long
 *             -EPIPE            the connection ended before the response did
 *             -EPROTO           101, which nobody has asked for; the proxy refuses (ret_why has its status); or TLS (torc_tls_connect)
 *             -ELOOP            too many redirects; -EPERM one from https to http; -ESPIPE one that wants a body once more that cannot be
 *             -EKEYREJECTED, ...   TLS: as torc_tls_connect
 *             -ECONNREFUSED, -ECONNRESET, -ENOENT, ...   as torc_dial and torc_stream_write
 *             -EIO, -ENOENT, ... body_file, body_stream, body_gen, body_fn: what they fail with
 *             -ENOMEM; -EAGAIN  no fiber could be started for the body (torc_group_spawn)
 * Suspends    always
 * Thread      a fiber's, of any loop while the client is open
 * Source      RFC 9110, RFC 9112
 */
TORC_API TORC_MUST_CHECK int torc_http_request(struct torc_http_client *client,
					       const struct torc_http_request *request,
					       struct torc_http_response **ret);

/* torc_http_get - with GET; torc_http_post - with POST, and a body in memory of some type ("application/json"). */
TORC_API TORC_MUST_CHECK int torc_http_get(struct torc_http_client *client, const char *url,
					   struct torc_http_response **ret);
TORC_API TORC_MUST_CHECK int torc_http_post(struct torc_http_client *client, const char *url,
					    const char *type, const void *body, size_t len,
					    struct torc_http_response **ret);

/*
 * torc_http_upload_write - more of a body; from within a torc_http_upload_fn.
 *
 * Returns     0
 *             -EPIPE     the server has answered, and does not want more: to be returned
 *             -EMSGSIZE  more than body_length
 *             or as torc_stream_write
 * Suspends    while the server does not take it
 */
TORC_API TORC_MUST_CHECK int torc_http_upload_write(struct torc_http_upload *u, const void *data,
						    size_t len);

/* --- responses --- */

/*
 * For the fiber that asked, or others of its loop, one at a time. What is returned by pointer is valid until the response is closed.
 */
TORC_API int torc_http_response_status(const struct torc_http_response *res);
TORC_API struct torc_slice torc_http_response_reason(const struct torc_http_response *res);
/* Where it comes from at last, with "user:password@" if that was in it, and how many redirects that took. */
TORC_API const char *torc_http_response_url(const struct torc_http_response *res);
TORC_API unsigned torc_http_response_redirects(const struct torc_http_response *res);
/* The connection, to ask for addresses or its TLS; NULL once the body has been read to its end. */
TORC_API struct torc_stream *torc_http_response_stream(const struct torc_http_response *res);

/*
 * torc_http_response_field - the value of a header field, the first of several with that name; torc_http_response_next_field, all: from
 * *at = 0 on. What was decoded has no Content-Encoding and Content-Length any more.
 *
 * Returns     false   there is none; there are no more
 */
TORC_API bool torc_http_response_field(const struct torc_http_response *res, const char *name,
				       struct torc_slice *ret_value);
TORC_API bool torc_http_response_next_field(const struct torc_http_response *res, size_t *at,
					    struct torc_slice *ret_name,
					    struct torc_slice *ret_value);

/* torc_http_response_length - of the body, as far as it was said; TORC_NEVER: it was not. */
TORC_API uint64_t torc_http_response_length(const struct torc_http_response *res);

/*
 * torc_http_response_peek - see more of the body, decoded; torc_http_response_consume - be done with n bytes of what was seen.
 *
 * Returns     1            there are bytes, valid until the next call about the body
 *             0            it is complete
 *             -EPIPE, -ECONNABORTED   the connection ended before; the latter: TLS
 *             -EBADMSG     its chunks or its coding are malformed
 *             -EMSGSIZE    it decodes into more than decode_ratio allows; too large trailers
 *             -ETIMEDOUT   body_ns, or the scope
 *             -ECANCELED, -ECONNRESET, ...   as torc_stream_peek
 * Errors stay, but those of the scope.
 *
 * Suspends    if nothing is there
 */
TORC_API TORC_MUST_CHECK int torc_http_response_peek(struct torc_http_response *res,
						     struct torc_slice *ret_view);
TORC_API void torc_http_response_consume(struct torc_http_response *res, size_t n);

/*
 * torc_http_response_read - the whole body in one piece, with a NUL behind it that does not count. Again: the same.
 *
 *   @most  0 .. TORC_HTTP_RESPONSE_READ_MAX bytes
 *
 * Returns     0
 *             -EMSGSIZE   it is longer
 *             -EINVAL     most is beyond; a part of it was read otherwise
 *             -ENOMEM
 *             or as torc_http_response_peek
 * Suspends    until all of it is there
 */
#define TORC_HTTP_RESPONSE_READ_MAX ((size_t)1 << 30)
TORC_API TORC_MUST_CHECK int torc_http_response_read(struct torc_http_response *res, size_t most,
						     struct torc_slice *ret_body);

/*
 * torc_http_response_save - the rest of the body into a new file. On any failure it is removed again.
 *
 *   @path       relative to dirfd (or AT_FDCWD)
 *   @mode       permissions; the umask applies
 *   @most       bytes
 *   @ret_bytes  how many there were; may be NULL
 *
 * Returns     0
 *             -EEXIST     there is something of that name, which is left alone
 *             -EMSGSIZE   it is longer
 *             -ENOSPC, -EDQUOT, ...   as torc_openat and torc_pwrite_all
 *             or as torc_http_response_peek
 * Suspends    until all of it is there
 */
TORC_API TORC_MUST_CHECK int torc_http_response_save(struct torc_http_response *res, int dirfd,
						     const char *path, mode_t mode, uint64_t most,
						     uint64_t *ret_bytes);

/* torc_http_response_copy - the rest of the body to a stream, which is not flushed. Returns as _peek, and torc_stream_write. */
TORC_API TORC_MUST_CHECK int torc_http_response_copy(struct torc_http_response *res,
						     struct torc_stream *to, uint64_t most,
						     uint64_t *ret_bytes);

/* torc_http_response_trailer - a field behind the body, once that has been read to its end. */
TORC_API bool torc_http_response_trailer(const struct torc_http_response *res, const char *name,
					 struct torc_slice *ret_value);
TORC_API bool torc_http_response_next_trailer(const struct torc_http_response *res, size_t *at,
					      struct torc_slice *ret_name,
					      struct torc_slice *ret_value);

/*
 * torc_http_response_close - be done with it.
 *
 * The connection goes back to the pool if the body has been read to its end, or is short and here already; else it is closed. A body that is still being
 * sent is stopped.
 *
 * Suspends    if the connection is closed
 */
TORC_API void torc_http_response_close(struct torc_http_response *res);

TORC_END_DECLS

#endif
