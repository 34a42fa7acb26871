/*
 * Liveness and readiness.
 */
#include "tests/http/steps.h"

#include <torc/http/health.h>

TestSuite(http_health, .timeout = 40);

static struct torc_http_health health;
static int verdict;

static int check_it(void *arg)
{
	check(arg == &verdict);
	check_eq(torc_yield(), 0);
	return verdict;
}

static int handle(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;

	if (torc_http_path_is(x, "/live"))
		return torc_http_live_handle(x, NULL);
	if (torc_http_path_is(x, "/ready"))
		return torc_http_ready_handle(x, &health);
	w->open++;
	while (!torc_http_is_draining(x))
		check_eq(torc_sleep(TORC_MS(1)), 0);
	return torc_http_path_is(x, "/wait-ready") ? torc_http_ready_handle(x, &health)
						   : torc_http_live_handle(x, NULL);
}

static struct stage stage;
static const struct torc_http_step steps[] = { { handle, &stage.world } };

static void run_health(void (*client)(struct world *))
{
	stage = (struct stage){ .steps = steps, .step_count = 1 };
	run_stage(&stage, client);
}

static void expect_ready(struct world *w, int status, const char *text)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/ready"), &r), status);
	check(!strcmp(r.body, text));
	expect_field(&r, "Cache-Control", "no-store");
	check_eq(ask(w, GET("/live"), &r), 200);
	check(!strcmp(r.body, "OK\n"));
	free(r.body);
}

static void change_health(struct world *w)
{
	expect_ready(w, 200, "OK\n");
	torc_http_health_set_unready(&health, true);
	expect_ready(w, 503, "unready\n");
	torc_http_health_set_unready(&health, false);
	expect_ready(w, 200, "OK\n");
	health.check = check_it;
	health.arg = &verdict;
	expect_ready(w, 200, "OK\n");
	verdict = -EIO;
	expect_ready(w, 503, "failing\n");
	verdict = 1;
	expect_ready(w, 503, "failing\n");
	check_eq(ask_status(w, "HEAD /ready HTTP/1.1\r\nHost: h\r\n\r\n"), 503);
}

Test(http_health, is_ready_when_the_program_says_so)
{
	run_health(change_health);
}

/* Requests that are under way when the server begins to drain. */
static void drain_under_way(struct world *w)
{
	struct torc_scope shield;
	struct client c[2];

	dial(w, &c[0]);
	dial(w, &c[1]);
	say(&c[0], GET("/wait-ready"));
	say(&c[1], GET("/wait-live"));
	while (w->open < 2)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	torc_scope_enter_shield(&shield, TORC_SECONDS(20));
	torc_group_cancel(&w->group);
	expect(&c[0], 503, "draining\n");
	expect(&c[1], 200, "OK\n");
	torc_scope_leave(&shield);
	hang_up(&c[0]);
	hang_up(&c[1]);
}

Test(http_health, is_not_ready_while_the_server_drains)
{
	run_health(drain_under_way);
}

static int never(void *arg)
{
	(void)arg;
	return torc_sleep(TORC_NEVER);
}

static int late_check(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_health h = { .check = never };
	struct torc_scope scope;
	int r;

	(void)arg;
	torc_scope_enter(&scope, TORC_MS(1));
	r = torc_http_ready_handle(x, &h);
	torc_scope_leave(&scope);
	check_eq(r, -ETIMEDOUT);
	check_eq(torc_http_status(x), 0);
	return torc_http_respond_text(x, 200, "late");
}

static void ask_late(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 200);
}

Test(http_health, answers_nothing_when_its_check_is_cancelled)
{
	RUN(ask_late, { late_check, NULL });
}
