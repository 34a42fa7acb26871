/*
 * http/server.h - serve HTTP/1.1.
 *
 * A handler is a plain function that runs in the fiber of its connection: it reads the request, writes
 * the response, and may suspend anywhere.
 *
 *	static int hello(struct torc_http_exchange *x, void *arg)
 *	{
 *		return torc_http_respond(x, 200, "text/plain", "Hello\n", 6);
 *	}
 *
 *	const char *const addresses[] = { "127.0.0.1:8080", NULL };
 *	torc_http_serve(&(struct torc_http_options){ .addresses = addresses, .handler = hello });
 *
 * The library reads requests as strictly as RFC 9112 lets it: what two parsers could read differently is
 * answered with 400 and the connection is closed. It adds Date, Content-Length or chunks, and Connection;
 * leaves out the body of an answer to HEAD and of 204 and 304; sends 100 Continue when a body that
 * waits for it is first read; and reads on past a body that the handler left, within limits.
 */
#ifndef TORC_HTTP_SERVER_H
#define TORC_HTTP_SERVER_H

#include <torc/core/slice.h>
#include <torc/io/server.h>

TORC_BEGIN_DECLS

struct torc_http_exchange;

/*
 * Answers one request. A negative result with no answer begun becomes a 500, and -ENOENT a 404; with one begun, the
 * connection is closed, so that the client notices that it is cut short.
 */
typedef int torc_http_fn(struct torc_http_exchange *x, void *arg);

/* How to serve; addresses and handler are needed, the rest may be zero for the default. */
struct torc_http_options {
	const char *const *addresses; /* NULL-terminated; see torc_listen */
	torc_http_fn *handler;
	void *arg; /* borrowed; seen by the handlers of all loops at once */

	size_t line_bytes;   /* of a request line; default 8192; more is 414 */
	size_t head_bytes;   /* of all header lines; default 32768; more is 431 */
	unsigned fields;     /* header lines; default 100, at most 1000; more is 431 */
	uint64_t body_bytes; /* of a request; default 64 MiB; more is 413 */
	uint64_t header_ns; /* from the first byte to the end of the head; default 10 s; then 408 */
	uint64_t
		body_ns; /* for a body, besides what its bytes take at 1 KiB/s; default 10 s; 408 */
	uint64_t idle_ns;  /* between requests; default 60 s; then closed */
	uint64_t write_ns; /* for the peer to take what it is sent; default 30 s; then closed */
	uint64_t grace_ns; /* for requests under way when the server stops; default 5 s */
	size_t connections_max; /* per loop; see io/server.h, also for the next five */
	enum torc_at_limit at_limit;
	enum torc_balance balance;
	struct torc_rate *accept_rate;
	struct torc_tls *tls;
	const char *handover;

	void (*on_listen)(const char *address, void *arg);
	void (*on_error)(const char *address, int error, void *arg);
};

/*
 * torc_http_serve - serve until cancelled, then drain. As torc_serve_with (io/server.h), and
 * connections that wait for a request are the idle ones.
 *
 * Returns     as torc_serve_with
 *             -EINVAL   an option out of range
 */
TORC_API TORC_MUST_CHECK int torc_http_serve(const struct torc_http_options *options);

/*
 * The request. Views are valid until the handler returns.
 *
 * The path is as it was sent, percent-encoded, and begins with '/' (or is "*", for OPTIONS); the query
 * is without the '?'.
 */
TORC_API struct torc_slice torc_http_method(const struct torc_http_exchange *x);
TORC_API struct torc_slice torc_http_path(const struct torc_http_exchange *x);
TORC_API struct torc_slice torc_http_query(const struct torc_http_exchange *x);
TORC_API struct torc_slice torc_http_host(const struct torc_http_exchange *x);

/* torc_http_method_is - compare, with case, as RFC 9110 section 9.1 says. */
TORC_API bool torc_http_method_is(const struct torc_http_exchange *x, const char *method);
TORC_API bool torc_http_path_is(const struct torc_http_exchange *x, const char *path);

/*
 * torc_http_field - the value of a header field, the first of several with that name.
 *
 *   @name  in any case
 *
 * Returns     true   *ret_value is set; it may be empty
 *             false  there is none
 */
TORC_API bool torc_http_field(const struct torc_http_exchange *x, const char *name,
			      struct torc_slice *ret_value);

/* torc_http_body_length - the length the request declares; TORC_NEVER when it comes in chunks. */
TORC_API uint64_t torc_http_body_length(const struct torc_http_exchange *x);

/*
 * torc_http_body_peek - see the next part of the request's body.
 *
 *   @ret_view  valid until the next call about the body
 *
 * Returns     1            there are bytes
 *             0            the body is complete
 *             -EMSGSIZE    it is longer than body_bytes
 *             -EBADMSG     its chunks are malformed
 *             -EPIPE       the peer left in the middle
 *             -ETIMEDOUT   it did not come fast enough (or the caller's scope)
 *             -ECANCELED, -ECONNRESET, ...   as torc_stream_peek
 * After -EMSGSIZE, -EBADMSG and a body that was too slow, a handler that returns the error without an
 * answer makes it 413, 400 or 408.
 *
 * Suspends    if nothing is there
 * Thread      the handler's fiber, as all of these
 */
TORC_API TORC_MUST_CHECK int torc_http_body_peek(struct torc_http_exchange *x,
						 struct torc_slice *ret_view);
TORC_API void torc_http_body_consume(struct torc_http_exchange *x, size_t n);

/*
 * torc_http_add_field - add a header field to the response; before it begins.
 *
 * Returns     0
 *             -EINVAL   a name that is no token, or one of Connection, Content-Length, Date and
 *                       Transfer-Encoding, which are the library's; control characters in the value
 *             -ENOSPC   more than 2 KiB of them
 *             -EALREADY the response has begun
 */
TORC_API TORC_MUST_CHECK int torc_http_add_field(struct torc_http_exchange *x, const char *name,
						 const char *value);

/*
 * torc_http_respond - the whole response in one call.
 *
 *   @status  200 .. 599
 *   @type    Content-Type; NULL: none
 *   @body    [len] bytes, copied or sent before the call returns
 *
 * Returns     0
 *             -EALREADY   a response has begun
 *             -EINVAL     status out of range, or CR, LF or NUL in type
 *             -ETIMEDOUT, -ECANCELED, -EPIPE, -ECONNRESET, ...   as torc_stream_write
 * Suspends    as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_http_respond(struct torc_http_exchange *x, int status,
					       const char *type, const void *body, size_t len);

/*
 * torc_http_begin - begin a response whose body follows in parts with torc_http_write.
 *
 *   @length  of the body; TORC_NEVER: not known, sent in chunks (to HTTP/1.0: until the connection closes)
 *
 * torc_http_write returns -EMSGSIZE for more than `length`. The response ends when the handler returns;
 * when `length` was not reached, the connection is closed.
 */
TORC_API TORC_MUST_CHECK int torc_http_begin(struct torc_http_exchange *x, int status,
					     const char *type, uint64_t length);
TORC_API TORC_MUST_CHECK int torc_http_write(struct torc_http_exchange *x, const void *data,
					     size_t len);

TORC_END_DECLS

#endif
