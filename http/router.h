/*
 * http/router.h - which handler a request is for.
 *
 *	struct torc_router *r;
 *
 *	e = torc_router_create(NULL, &r);
 *	if (!e)
 *		e = torc_router_add(r, "GET", "/users/:id", show_user, &db);
 *	if (!e)
 *		e = torc_router_add(r, "PUT", "/users/:id", change_user, &db);
 *	if (!e)
 *		e = torc_router_use(r, timed, &stats);		around all of them
 *	if (!e)
 *		e = torc_http_serve(&(struct torc_http_options){
 *			.addresses = addresses, .handler = torc_router_handle, .arg = r });
 *	torc_router_destroy(r);
 *
 *	static int show_user(struct torc_http_exchange *x, void *arg)
 *	{
 *		struct torc_slice id;
 *		if (!torc_http_param(x, "id", &id))
 *	...
 *
 * Patterns. "/users/all" is literal; a segment ":name" stands for any text but none, up to the next slash; "*name" at
 * the end for everything from there on, slashes too, and nothing as well. A literal is tried before a ":name", that before a "*name", at
 * each segment, and what leads nowhere is taken back: with "/a/b/c" and "/:x/b/d", "/a/b/d" is the second. A route of
 * another method does not count as found. How long that takes depends on the path, not on how many routes there are.
 *
 * Paths are percent-decoded before they are compared; patterns are written decoded. An encoded slash or NUL, or a malformed
 * encoding, is answered with 400, and so is a segment "." or ".." (also encoded) in what a parameter or mount stands for: no handler gets to
 * see them there. They are not resolved.
 *
 * What the router answers by itself: HEAD by the route for GET; OPTIONS with 204 and Allow; 405 with Allow where the path is
 * known and the method is not; 400 as above; 413 for a body that a route does not take; 503 for a route that has used up its
 * time. Where nothing is found it calls torc_http_next: 404 in the end. All of these are seen by the middleware of
 * torc_router_use.
 *
 * A router is filled before it serves, and then used by all loops at once without a lock.
 */
#ifndef TORC_HTTP_ROUTER_H
#define TORC_HTTP_ROUTER_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

struct torc_router;

/* "/users" and "/users/", when there is a route for one of them only. */
enum torc_slash {
	TORC_SLASH_STRICT,   /* the other is not found */
	TORC_SLASH_REDIRECT, /* 308 to the one that there is */
	TORC_SLASH_SAME,     /* they are the same */
};

/* Zeroed means the defaults. */
struct torc_router_options {
	enum torc_slash slash;
	torc_http_fn *not_found; /* instead of torc_http_next, where nothing is found */
	void *not_found_arg;
	uint64_t
		body_bytes; /* of requests to its routes; default: the server's, which is the most in any case */
	uint64_t deadline_ns; /* for its routes to answer; default: none but the server's */
};

/* The most parameters in a pattern, and the longest pattern. */
#define TORC_ROUTE_PARAMS_MAX  16
#define TORC_ROUTE_PATTERN_MAX 255

/* A route: copied by torc_router_add_route, but for what the pointers to functions and arguments point to. */
struct torc_route {
	const char *method;  /* as in a request; NULL: any */
	const char *pattern; /* begins with '/' */
	torc_http_fn *handler;
	void *arg;
	const struct torc_http_step
		*steps; /* [step_count]: middleware of this route, inside of the router's */
	size_t step_count;
	uint64_t body_bytes; /* more is 413; default: the router's */
	uint64_t
		deadline_ns; /* for the handler and its steps; then their calls fail with -ETIMEDOUT, and 503; default: the router's */
};

/*
 * torc_router_create - a router without routes. torc_router_destroy frees it, not the routers mounted in it; NULL is fine.
 *
 *   @options  may be NULL
 *
 * Returns     0
 *             -ENOMEM
 * Suspends    never, as all that fills a router
 * Thread      any; one at a time, before it serves
 */
TORC_API TORC_MUST_CHECK int torc_router_create(const struct torc_router_options *options,
						struct torc_router **ret_router);
TORC_API void torc_router_destroy(struct torc_router *router);

/*
 * torc_router_add - a route for a method and a pattern; torc_router_add_route, with all that there is to say.
 *
 *   @method  NULL: any that has no route of its own there
 *
 * Returns     0
 *             -EINVAL   the pattern does not begin with '/', has an empty or a double name, '*' before its end, more than
 *                       TORC_ROUTE_PARAMS_MAX parameters or TORC_ROUTE_PATTERN_MAX bytes, "." or ".." as a segment, a '%', '?', '#' or control
 *                       character; an unknown method; no handler
 *             -EEXIST   the same method and pattern, whatever its parameters are called
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_router_add(struct torc_router *router, const char *method,
					     const char *pattern, torc_http_fn *handler, void *arg);
TORC_API TORC_MUST_CHECK int torc_router_add_route(struct torc_router *router,
						   const struct torc_route *route);

/*
 * torc_router_use - middleware around everything that the router answers, now or later added; in the order of these calls.
 * It knows the route: torc_http_route.
 *
 * Returns     0
 *             -EINVAL   no function
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_router_use(struct torc_router *router, torc_http_fn *fn,
					     void *arg);

/*
 * torc_router_mount - give all paths below a prefix, and the prefix itself, to a handler: torc_router_handle with another
 * router, which then sees what is behind the prefix; or one that looks at torc_http_rest.
 *
 *   @prefix  "/" or as a pattern without "*name"; a slash at its end is ignored
 *
 * The routes of this router are tried first.
 *
 * Returns     as torc_router_add
 */
TORC_API TORC_MUST_CHECK int torc_router_mount(struct torc_router *router, const char *prefix,
					       torc_http_fn *fn, void *arg);

/*
 * torc_router_host - let another router, borrowed, answer requests for a host, inside of this one's middleware. This one's routes are
 * for all other hosts.
 *
 *   @host  a name without a port; "*.example.org": whatever ends in ".example.org", unless a longer or an exact name is
 *          there. In any case
 *
 * Returns     0
 *             -EINVAL   empty, a '*' elsewhere, or characters that are none of a host
 *             -EEXIST
 *             -ENOMEM
 */
TORC_API TORC_MUST_CHECK int torc_router_host(struct torc_router *router, const char *host,
					      struct torc_router *to);

/*
 * torc_router_handle - answer a request; the handler of a server, a step of a chain, or mounted.
 *
 *   @arg  the router
 *
 * Returns     as the handler, or as torc_http_respond
 * Suspends    as they do
 * Thread      fibers of any loop, at once
 */
TORC_API int torc_router_handle(struct torc_http_exchange *x, void *arg);

/*
 * torc_http_param - what a ":name" or "*name" stands for, decoded; of the innermost mount that has it.
 *
 * Returns     true, or false: the pattern has no such name
 */
TORC_API bool torc_http_param(const struct torc_http_exchange *x, const char *name,
			      struct torc_slice *ret_value);

/*
 * torc_http_route - the pattern that was found, with the prefixes of the mounts before it: for logs and metrics, which must not
 * count by paths.
 *
 * Returns     NULL   none was found, or no memory to put it together
 */
TORC_API const char *torc_http_route(struct torc_http_exchange *x);

/*
 * torc_http_rest - in what is mounted: the path behind the prefix, decoded; it begins with '/', or is "/" for the prefix itself. Elsewhere: the
 * path as torc_http_path.
 */
TORC_API struct torc_slice torc_http_rest(const struct torc_http_exchange *x);

TORC_END_DECLS

#endif
