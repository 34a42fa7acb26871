/*
 * http/server.h - serve HTTP/1.1.
 *
 *	static int hello(struct torc_http_exchange *x, void *arg)
 *	{
 *		return torc_http_respond(x, 200, "text/plain", "Hello\n", 6);
 *	}
 *
 *	const char *const addresses[] = { "127.0.0.1:8080", NULL };
 *	torc_http_serve(&(struct torc_http_options){ .addresses = addresses, .handler = hello });
 *
 * http/exchange.h has what a handler does, http/router.h chooses among many.
 *
 * The library reads requests as strictly as RFC 9112 lets it: what two parsers could read differently is
 * answered with 400 and the connection is closed. It adds Date, Content-Length or chunks, and Connection;
 * leaves out the body of an answer to HEAD and of 204 and 304; sends 100 Continue when a body that
 * waits for it is first read; and reads on past a body that the handler left, within limits.
 */
#ifndef TORC_HTTP_SERVER_H
#define TORC_HTTP_SERVER_H

#include <torc/http/exchange.h>
#include <torc/io/server.h>

TORC_BEGIN_DECLS

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
	uint64_t idle_ns; /* between requests; default 60 s; then closed */
	/*
	 * For the peer to take what it is sent; default 30 s; then closed. A long answer is sent in parts of 128 KiB, each of which has so
	 * much: a peer slower than that, 4.4 KiB/s, is cut, however small the pieces are that the handler writes.
	 */
	uint64_t write_ns;
	uint64_t
		handler_ns; /* for an answer, from a complete head on; default: any; then the handler's calls fail
			      * with -ETIMEDOUT, and 503 if it had not begun */
	size_t memory_bytes; /* torc_http_alloc in one exchange; default 1 MiB */
	/*
	 * A client that resets or ends the connection while the handler waits for anything else has left: the handler's
	 * calls fail with -ECANCELED. An end alone may also be a client that has half-closed and waits for its answer; torc
	 * takes it for a leaver, as few clients do that and many close. With this set only a reset counts. An end that
	 * was there when the handler began, or came while it sent to the client, counts in neither case: sending will tell.
	 * Pipelined requests are no end.
	 */
	bool let_half_close;
	/* Requests that a connection may send; its last answer says "Connection: close". Default: any number. */
	uint64_t requests_max;
	/*
	 * Overload. A handler that has to wait for something keeps its request's memory meanwhile, and what it waits for: so
	 * only handlers_max run at once, on each loop; default: any number. queue_max further requests (default:
	 * as many as handlers_max) wait for queue_ns at most (default 1 s), first come, first served; the others, and those that have waited
	 * for so long, are answered with 503 and Retry-After at once, while the client still wants an answer. Choose handlers_max by what
	 * the handlers share (a database's connections, memory) and queue_ns by the patience of clients.
	 */
	unsigned handlers_max;
	unsigned queue_max;
	uint64_t queue_ns;
	unsigned retry_after_s; /* in the Retry-After of all of these 503; default 1 */
	uint64_t grace_ns;      /* for requests under way when the server stops; default 5 s */
	size_t connections_max; /* per loop; see io/server.h, also for the next five */
	/*
	 * The first request of a connection beyond connections_max is answered with 503 and Retry-After, and the connection closed, for an
	 * eighth as many (8 to 1024) at a time; at_limit is for those beyond. Without this it is for all.
	 */
	bool answer_at_limit;
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
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_http_serve(const struct torc_http_options *options);

TORC_END_DECLS

#endif
