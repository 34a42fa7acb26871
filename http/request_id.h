/*
 * http/request_id.h - a name for each request, to find it again in the logs of all who had to do with it.
 *
 *	r = torc_router_use(router, torc_http_request_id_handle, NULL);
 *	...
 *	printf("%s: no such user\n", torc_http_request_id(x));
 *
 * It is what the client, or a proxy, has sent in X-Request-Id, if that is 1 to 128 letters, digits and "-._~:+/=@"; else
 * 32 random hexadecimal digits. The response has it too, also when it is an error's. It names a request, and proves nothing.
 */
#ifndef TORC_HTTP_REQUEST_ID_H
#define TORC_HTTP_REQUEST_ID_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

#define TORC_HTTP_REQUEST_ID_MAX 128

/* Zeroed means the defaults. Borrowed while it serves. */
struct torc_http_request_id_options {
	const char *field; /* instead of X-Request-Id */
	bool always_new;   /* do not take what the client has sent */
};

/*
 * torc_http_request_id_handle - the step: a torc_http_fn. No lock and no system call, but for the first request of a loop.
 *
 *   @options  a const struct torc_http_request_id_options, or NULL
 *
 * Returns     as torc_http_next
 *             as torc_http_keep_field, which is -EINVAL for a field that is no token
 * Suspends    as torc_http_next
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_request_id_handle(struct torc_http_exchange *x,
							 void *options);

/* torc_http_request_id - the name, valid until the exchange ends; NULL: the step was not run. */
TORC_API const char *torc_http_request_id(const struct torc_http_exchange *x);

TORC_END_DECLS

#endif
