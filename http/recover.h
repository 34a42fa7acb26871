/*
 * http/recover.h - what becomes of handlers that fail: an answer, and somebody who is told.
 *
 *	static void failed(const struct torc_http_failure *f, void *arg)
 *	{
 *		struct torc_slice path = torc_http_path(f->x);
 *
 *		fprintf(stderr, "%s %.*s: %s\n", f->route ? f->route : "-", (int)path.len, path.data,
 *			strerror(-f->result));
 *	}
 *
 *	static struct torc_http_recover recover = { .on_failure = failed };
 *
 *	r = torc_router_use(router, torc_http_recover_handle, &recover);	inside of the log, around the rest
 *
 * A path is what a client has sent: escape it, or use the access log (http/log.h).
 */
#ifndef TORC_HTTP_RECOVER_H
#define TORC_HTTP_RECOVER_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

struct torc_http_failure {
	struct torc_http_exchange *x;
	const char *route; /* torc_http_route */
	int result;        /* what the handler returned; 0: it did not answer */
	int status; /* of the response that it had begun, which is cut; 0: none, it becomes a 500 */
};

/* Borrowed while it serves. */
struct torc_http_recover {
	void (*on_failure)(const struct torc_http_failure *failure, void *arg); /* may be NULL */
	void *arg;
};

/*
 * torc_http_recover_handle - the step: a torc_http_fn.
 *
 * A handler that fails, or returns 0, without an answer is answered for with torc_http_respond_error. on_failure is called first,
 * unless that is no failure of the program: -ENOENT, which is 404, and what is wrong with the request's body. After the
 * beginning of a response any error is one, also that the client has left (-EPIPE, -ECONNRESET, -ECANCELED): the
 * result is returned, and the connection closed.
 *
 *   @recover  a const struct torc_http_recover
 *
 * Returns     as torc_http_next, or as torc_http_respond_error
 * Suspends    as these
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_recover_handle(struct torc_http_exchange *x, void *recover);

TORC_END_DECLS

#endif
