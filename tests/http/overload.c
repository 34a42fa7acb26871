#include "tests/http/world.h"

TestSuite(http_overload, .timeout = 40);

static const char waits[] = GET("/waits"), hello[] = GET("/hello");

/* --- the server --- */

static int wait_at_gate(struct torc_http_exchange *x, struct world *w)
{
	int r = 0;

	w->open++;
	while (!w->gate && !r)
		r = torc_sleep(TORC_MS(1));
	w->open--;
	return r ? r : torc_http_respond_text(x, 200, "through");
}

/* Pieces without end. */
static int pour(struct torc_http_exchange *x, struct world *w)
{
	char piece[1024] = { 0 };
	int r = torc_http_begin(x, 200, NULL, TORC_NEVER);

	while (!r)
		r = torc_http_write(x, piece, sizeof(piece));
	w->result = r;
	return r;
}

static int handle(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;

	w->calls++;
	if (torc_http_path_is(x, "/waits"))
		return wait_at_gate(x, w);
	if (torc_http_path_is(x, "/pours"))
		return pour(x, w);
	return torc_http_respond_text(x, 200, "hello");
}

static void run_overload(struct world *w, void (*client)(struct world *))
{
	run_world_with(w, handle, client);
}

static void expect_busy(struct client *c, bool closes)
{
	struct reply r = { 0 };

	check_eq(hear_reply(c, &r, false), 503);
	check(header(&r, "Retry-After"));
	check_eq(strcmp(header(&r, "Retry-After"), "7"), 0);
	check_eq(header(&r, "Connection") != NULL, closes);
	free(r.body);
}

/* A client whose request is in its handler. */
static void dial_busy(struct world *w, struct client *c)
{
	int open = w->open;

	dial(w, c);
	say(c, waits);
	while (w->open == open)
		check_eq(torc_yield(), 0);
}

/* This fiber is the group's owner and is cancelled with it, but for what it does in the shield. */
static void stop_server(struct world *w, struct torc_scope *shield)
{
	torc_group_cancel(&w->group);
	torc_scope_enter_shield(shield, TORC_SECONDS(20));
}

/* --- connections --- */

static void beyond_the_limit(struct world *w)
{
	struct client a, b, c[10];

	dial_busy(w, &a);
	dial(w, &b);
	say(&b, hello);
	expect(&b, 200, "hello");
	/* Those that say nothing take no place of those that are served. */
	for (int i = 0; i < 8; i++)
		dial(w, &c[i]);
	for (int i = 7; i >= 0; i--) {
		say(&c[i], hello);
		expect_busy(&c[i], true);
		expect_end(&c[i]);
		hang_up(&c[i]);
	}
	check_eq(w->calls, 2);
	say(&b, hello);
	expect(&b, 200, "hello");
	hang_up(&b);
	w->gate = true;
	expect(&a, 200, "through");
	dial(w, &b);
	say(&b, "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
	expect(&b, 200, "hello");
	expect_end(&b);
	hang_up(&b);
	hang_up(&a);
}

Test(http_overload, answers_503_to_connections_beyond_the_limit)
{
	run_overload(&(struct world){ .options = { .connections_max = 2,
						   .answer_at_limit = true,
						   .retry_after_s = 7 } },
		     beyond_the_limit);
}

/* Those that are turned away take places too: what is beyond them is reset. */
static void beyond_the_spare(struct world *w)
{
	struct client a, c[9];

	dial_busy(w, &a);
	for (int i = 0; i < 9; i++)
		dial(w, &c[i]);
	while (hear(&c[8]))
		;
	check_eq(c[8].end, -ECONNRESET);
	/* Who says nothing is sent nothing, and closed soon. */
	expect_end(&c[0]);
	for (int i = 0; i < 9; i++)
		hang_up(&c[i]);
	w->gate = true;
	expect(&a, 200, "through");
	hang_up(&a);
}

Test(http_overload, turns_only_a_few_away_at_a_time)
{
	run_overload(&(struct world){ .options = { .connections_max = 1,
						   .answer_at_limit = true,
						   .at_limit = TORC_AT_LIMIT_RESET } },
		     beyond_the_spare);
}

static void stopped_at_the_limit(struct world *w)
{
	struct torc_scope shield;
	struct client a, b;

	dial_busy(w, &a);
	dial(w, &b);
	stop_server(w, &shield);
	expect_end(&b);
	w->gate = true;
	expect(&a, 200, "through");
	torc_scope_leave(&shield);
	hang_up(&a);
	hang_up(&b);
}

Test(http_overload, ends_those_that_it_turns_away_when_it_stops)
{
	run_overload(&(struct world){ .options = { .connections_max = 1,
						   .answer_at_limit = true } },
		     stopped_at_the_limit);
}

static void three_requests(struct world *w)
{
	struct reply r = { 0 };
	struct client c;

	dial(w, &c);
	for (int i = 0; i < 5; i++)
		say(&c, hello);
	for (int i = 0; i < 3; i++) {
		check_eq(hear_reply(&c, &r, false), 200);
		check_eq(header(&r, "Connection") != NULL, i == 2);
	}
	expect_end(&c);
	check_eq(w->calls, 3);
	free(r.body);
	hang_up(&c);
}

Test(http_overload, closes_with_the_last_answer_that_a_connection_may_get)
{
	run_overload(&(struct world){ .options = { .requests_max = 3 } }, three_requests);
}

/* --- handlers --- */

static const struct torc_http_options one_and_one = { .handlers_max = 1,
						      .queue_ns = TORC_SECONDS(30),
						      .retry_after_s = 7 };

static void one_in_line(struct world *w)
{
	struct client a, b, c;

	dial_busy(w, &a);
	dial(w, &b);
	say(&b, waits);
	dial(w, &c);
	say(&c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
	expect_busy(&c, false); /* at once: the line is full */
	check_eq(w->calls, 1);
	w->gate = true;
	expect(&a, 200, "through");
	expect(&b, 200, "through");
	say(&c, hello); /* where its next request begins is known */
	expect(&c, 200, "hello");
	hang_up(&a);
	hang_up(&b);
	hang_up(&c);
}

Test(http_overload, keeps_a_short_line_for_handlers_and_answers_503_behind_it)
{
	run_overload(&(struct world){ .options = one_and_one }, one_in_line);
}

static void too_long_in_line(struct world *w)
{
	struct client a, b;
	uint64_t began;

	dial_busy(w, &a);
	dial(w, &b);
	began = torc_now_ns();
	say(&b, hello);
	expect_busy(&b, false);
	check_ge(torc_now_ns(), began + TORC_MS(30));
	check_eq(w->calls, 1);
	w->gate = true;
	expect(&a, 200, "through");
	say(&b, hello);
	expect(&b, 200, "hello");
	hang_up(&a);
	hang_up(&b);
}

Test(http_overload, answers_503_to_who_has_waited_too_long_for_a_handler)
{
	struct world w = { .options = one_and_one };

	w.options.queue_ns = TORC_MS(30);
	run_overload(&w, too_long_in_line);
}

/* Who leaves gives back its handler, or its place in the line. */
static void leavers(struct world *w)
{
	struct client a, b, c;

	for (int i = 0; i < 3; i++) {
		dial_busy(w, &a);
		dial(w, &b);
		say(&b, hello);
		dial(w, &c);
		say(&c, hello);
		expect_busy(&c, false); /* so b is in the line */
		hang_up(&b);
		hang_up(&a);
		do {
			struct reply r = { 0 };

			say(&c, hello);
			w->result = hear_reply(&c, &r, false);
			free(r.body);
		} while (w->result == 503);
		check_eq(w->result, 200);
		hang_up(&c);
	}
	check_eq(w->open, 0);
}

Test(http_overload, gives_the_handler_of_a_client_that_leaves_to_the_next)
{
	run_overload(&(struct world){ .options = one_and_one }, leavers);
}

static void stopped_in_line(struct world *w)
{
	struct torc_scope shield;
	struct client a, b, c;

	dial_busy(w, &a);
	dial(w, &b);
	say(&b, hello);
	dial(w, &c);
	say(&c, hello);
	expect_busy(&c, false);
	stop_server(w, &shield);
	expect_end(&c);
	w->gate = true;
	expect(&a, 200, "through");
	expect(&b, 200, "hello"); /* within the grace period */
	torc_scope_leave(&shield);
	hang_up(&a);
	hang_up(&b);
	hang_up(&c);
}

Test(http_overload, answers_who_is_in_line_when_it_stops)
{
	run_overload(&(struct world){ .options = one_and_one }, stopped_in_line);
}

static void cut_in_line(struct world *w)
{
	struct torc_scope shield;
	struct client a, b, c;

	dial_busy(w, &a);
	dial(w, &b);
	say(&b, hello);
	dial(w, &c);
	say(&c, hello);
	expect_busy(&c, false);
	stop_server(w, &shield);
	expect_end(&a);
	expect_end(&b);
	check_eq(w->calls, 1);
	check_eq(w->open, 0);
	torc_scope_leave(&shield);
	hang_up(&a);
	hang_up(&b);
	hang_up(&c);
}

Test(http_overload, cancels_who_is_in_line_after_the_grace_period)
{
	struct world w = { .options = one_and_one };

	w.options.grace_ns = TORC_MS(10);
	run_overload(&w, cut_in_line);
}

/* --- slow readers --- */

/* A little less than the server wants, of which it would wait for no piece longer than it may. */
static void read_slowly(struct world *w)
{
	struct client c;
	char buf[8192];
	int r;

	dial(w, &c);
	say(&c, GET("/pours"));
	do {
		check_eq(torc_sleep(TORC_MS(10)), 0);
		r = torc_recv(c.fd, buf, sizeof(buf), 0);
	} while (r > 0 && !w->result);
	check_eq(w->result, -ETIMEDOUT);
	hang_up(&c);
}

Test(http_overload, cuts_a_reader_that_is_slower_than_the_least_rate)
{
	static const char *const addresses[] = { "unix:@torc-http-overload", NULL };

	run_overload(&(struct world){ .options = { .addresses = addresses,
						   .write_ns = TORC_MS(100) } },
		     read_slowly);
}
