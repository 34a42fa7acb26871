/*
 * Handlers that fail.
 */
#include "tests/http/steps.h"

#include <torc/http/recover.h>
#include <torc/http/router.h>

TestSuite(http_recover, .timeout = 40);

static struct {
	int calls, result, status;
	char path[64], route[64];
} told;

static void on_failure(const struct torc_http_failure *f, void *arg)
{
	struct torc_slice path = torc_http_path(f->x);

	check(arg == &told);
	told.calls++;
	told.result = f->result;
	told.status = f->status;
	snprintf(told.path, sizeof(told.path), "%.*s", (int)path.len, path.data);
	snprintf(told.route, sizeof(told.route), "%s", f->route ? f->route : "none");
}

static struct torc_http_recover recover = { on_failure, &told };
static struct torc_http_recover silent;

static int misbehave(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice body;
	int r;

	(void)arg;
	if (torc_http_path_is(x, "/error"))
		return -EIO;
	if (torc_http_path_is(x, "/nothing"))
		return 0;
	if (torc_http_path_is(x, "/positive"))
		return 7;
	if (torc_http_path_is(x, "/none"))
		return -ENOENT;
	if (torc_http_path_is(x, "/body"))
		return torc_http_body_read(x, 1, &body);
	if (torc_http_path_is(x, "/cut")) {
		r = torc_http_begin(x, 200, "text/plain", 100);
		return r ? r : -EBADF;
	}
	return torc_http_respond_text(x, 200, "ok");
}

static void expect_told(int calls, int result, int status, const char *path)
{
	check_eq(told.calls, calls);
	check_eq(told.result, result);
	check_eq(told.status, status);
	check(!strcmp(told.path, path));
}

static void fail_in_all_ways(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask_status(w, GET("/")), 200);
	check_eq(told.calls, 0);
	check_eq(ask_status(w, GET("/error")), 500);
	expect_told(1, -EIO, 0, "/error");
	check_eq(ask_status(w, GET("/nothing")), 500);
	expect_told(2, 0, 0, "/nothing");
	check_eq(ask_status(w, GET("/positive")), 500);
	expect_told(3, 0, 0, "/positive");
	/* The client's. */
	check_eq(ask_status(w, GET("/none")), 404);
	check_eq(ask_status(w, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"),
		 413);
	check_eq(told.calls, 3);
	/* It is cut, and the connection closed. */
	check_eq(ask(w, GET("/cut"), &r), 0);
	check_eq(r.status, 200);
	expect_told(4, -EBADF, 200, "/cut");
	free(r.body);
}

Test(http_recover, tells_what_a_handler_has_failed_with)
{
	RUN(fail_in_all_ways, { torc_http_recover_handle, &recover }, { misbehave, NULL });
}

static void fail_silently(struct world *w)
{
	check_eq(ask_status(w, GET("/error")), 500);
}

Test(http_recover, needs_nobody_to_tell)
{
	RUN(fail_silently, { torc_http_recover_handle, &silent }, { misbehave, NULL });
}

/* The steps around it see an answer. */
static int expect_answer(struct torc_http_exchange *x, void *arg)
{
	int r = torc_http_next(x);

	(void)arg;
	check_eq(r, 0);
	check_eq(torc_http_status(x), 500);
	return r;
}

Test(http_recover, answers_before_the_steps_around_it_go_on)
{
	RUN(fail_silently, { expect_answer, NULL }, { torc_http_recover_handle, &recover },
	    { misbehave, NULL });
}

static struct torc_router *router;

static int route(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_router_handle(x, router);
}

static void fail_routed(struct world *w)
{
	check_eq(ask_status(w, GET("/u/7")), 500);
	check(!strcmp(told.route, "/u/:id"));
}

static int fail_always(struct torc_http_exchange *x, void *arg)
{
	(void)x;
	(void)arg;
	return -EPROTO;
}

Test(http_recover, tells_the_route)
{
	check_eq(torc_router_create(NULL, &router), 0);
	check_eq(torc_router_use(router, torc_http_recover_handle, &recover), 0);
	check_eq(torc_router_add(router, "GET", "/u/:id", fail_always, NULL), 0);
	RUN(fail_routed, { route, NULL });
	torc_router_destroy(router);
}

static int wait_for_ever(struct torc_http_exchange *x, void *arg)
{
	(void)x;
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static void time_out(struct world *w)
{
	check_eq(ask_status(w, GET("/slow")), 500);
	check_eq(told.result, -ETIMEDOUT);
}

/* A scope of the handler's own: the answer is still sent. */
static int in_time(struct torc_http_exchange *x, void *arg)
{
	struct torc_scope scope;
	int r;

	(void)arg;
	torc_scope_enter(&scope, TORC_MS(1));
	r = torc_http_next(x);
	torc_scope_leave(&scope);
	return r;
}

Test(http_recover, answers_for_a_handler_that_was_cancelled)
{
	RUN(time_out, { torc_http_recover_handle, &recover }, { in_time, NULL },
	    { wait_for_ever, NULL });
}
