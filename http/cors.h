/*
 * http/cors.h - which other sites' scripts may use this one (the Fetch standard, "CORS protocol").
 *
 *	static const char *const origins[] = { "https://app.example.org", NULL };
 *	static struct torc_http_cors cors = { .origins = origins, .methods = "GET, PUT", .headers = "Content-Type" };
 *
 *	r = torc_router_use(router, torc_http_cors_handle, &cors);	outside of authentication: preflights have no credentials
 *
 * A browser asks first (a preflight: OPTIONS with Access-Control-Request-Method) before it sends what a form could not
 * have sent; that is answered here, with 204, and no handler sees it. Requests are let through in any case: what CORS decides is whether a script
 * gets to see the answer. It is no protection of the server from anybody but browsers.
 */
#ifndef TORC_HTTP_CORS_H
#define TORC_HTTP_CORS_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* Who may, and what. Borrowed while it serves. */
struct torc_http_cors {
	/* Each as a browser sends it: "https://app.example.org", with a port unless it is the default one, and no slash at the end. */
	const char *const *origins; /* NULL-terminated; may be NULL */
	/* Asked for others. May suspend. May be NULL. */
	bool (*allow)(struct torc_http_exchange *x, struct torc_slice origin, void *arg);
	void *arg;
	bool any;            /* all others: "*". Never together with credentials */
	bool credentials;    /* cookies and the like are sent, and the answer may still be seen */
	const char *methods; /* a list; default "GET, HEAD, POST" */
	const char *
		headers; /* fields that scripts may set, a list; default: those that any form has */
	const char *
		expose; /* fields of the response that scripts may see; default: the harmless ones */
	uint32_t max_age; /* seconds that a preflight's answer is kept; 0: nothing is said: 5 s */
};

/*
 * torc_http_cors_handle - the step: a torc_http_fn.
 *
 * A preflight from another origin than those, or for a method or field that is not in the list, gets a 204 that allows nothing.
 * Vary says what the answer depends on, also where no Origin was sent. Errors' answers have the fields too.
 *
 *   @cors  a const struct torc_http_cors
 *
 * Returns     as torc_http_next, torc_http_keep_field or torc_http_respond
 *             -EINVAL   any together with credentials
 *             -ENOMEM
 * Suspends    as these
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_cors_handle(struct torc_http_exchange *x, void *cors);

TORC_END_DECLS

#endif
