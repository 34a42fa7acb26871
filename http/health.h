/*
 * http/health.h - is the process alive, and should it get requests?
 *
 *	static struct torc_http_health health = { .check = database_is_there };
 *
 *	r = torc_router_add(router, "GET", "/livez", torc_http_live_handle, NULL);
 *	r = torc_router_add(router, "GET", "/readyz", torc_http_ready_handle, &health);
 *
 * Liveness is 200 as long as a handler runs at all: who asks restarts a process that does not answer. Readiness is 503 while the
 * program says so, or the server drains.
 *
 * A server that drains has closed its listeners, and connections that wait for a request: only who has sent one already sees the
 * 503. So a load balancer is told first, and given the time to notice:
 *
 *	torc_http_health_set_unready(&health, true);
 *	torc_sleep(TORC_SECONDS(10));
 *	torc_task_cancel(&server);
 */
#ifndef TORC_HTTP_HEALTH_H
#define TORC_HTTP_HEALTH_H

#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* Zeroed means: ready but while draining. */
struct torc_http_health {
	/*
	 * Returns 0 when it is ready, or anything else. It may suspend: it runs in the handler's fiber, each time somebody
	 * asks. May be NULL.
	 */
	int (*check)(void *arg);
	void *arg;
	bool unready; /* atomic: torc_http_health_set_unready */
};

/* torc_http_health_set_unready - from now on it is not ready, or is again. Never suspends. Any thread. */
TORC_API void torc_http_health_set_unready(struct torc_http_health *health, bool unready);

/*
 * torc_http_live_handle - 200 "OK"; torc_http_ready_handle - 200, or 503 "draining", "unready" or "failing", which is the check's. Each a torc_http_fn;
 * no cache keeps the answer.
 *
 *   @health  a struct torc_http_health; of torc_http_live_handle: not looked at
 *
 * Returns     as torc_http_respond
 *             -ECANCELED, -ETIMEDOUT   the scope, where the check has returned that too
 * Suspends    as torc_http_respond, and the check
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_live_handle(struct torc_http_exchange *x, void *health);
TORC_API TORC_MUST_CHECK int torc_http_ready_handle(struct torc_http_exchange *x, void *health);

TORC_END_DECLS

#endif
