/*
 * tests/http/client_pool.c - connections that are kept, and who waits for one: mostly in the virtual time of the simulator, which is exact.
 */
#include "tests/http/client.h"

#include <torc/core/sim.h>

TestSuite(client_pool, .timeout = 60);

/* What looking at the clock and a few turns of the loop take on the simulator. */
#define SLACK TORC_MS(1)

static void run_on_sim(struct peer *p, uint64_t seed,
		       void (*script)(struct peer *, struct torc_stream *, int),
		       void (*client)(struct peer *, struct torc_http_client *))
{
	const struct torc_sim_options o = {
		.seed = seed,
		.rates = { [TORC_SIM_ORDER] = 300000, [TORC_SIM_DELAY] = seed ? 100000 : 0 }
	};

	check_eq(torc_sim_new(&o, &p->runtime.sim), 0);
	run_peer_with(p, script, client);
	torc_sim_free(p->runtime.sim);
}

static const char *const any_host[] = { "0.0.0.0:0", NULL };

/* An origin of its own for each number. */
static void host_url(const struct peer *p, int host, const char *path, char ret_url[64])
{
	snprintf(ret_url, 64, "http://127.0.0.%d%s%s", host, strrchr(p->url, ':'), path);
}

/* --- a server that takes its time --- */

static int open_now, open_most, working, working_most;
static bool gate;

static void note(int *now, int *most)
{
	if (++*now > *most)
		*most = *now;
}

/* Answers with the path, 10 ms later; to /bye, once. */
static void be_slow(struct peer *p, struct torc_stream *s, int number)
{
	char path[64] = "", text[192];

	(void)number;
	note(&open_now, &open_most);
	while (strcmp(path, "/bye") && hear_head(p, s)) {
		check_eq(sscanf(p->head, "GET %63s ", path), 1);
		note(&working, &working_most);
		check_eq(torc_sleep(TORC_MS(10)), 0);
		working--;
		snprintf(text, sizeof(text),
			 "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: %s\r\n\r\n%s",
			 strlen(path), strcmp(path, "/bye") ? "keep-alive" : "close", path);
		tell(s, text);
	}
	open_now--;
}

/* --- fibers that ask --- */

struct crowd {
	struct peer *p;
	struct torc_http_client *client;
	int next, done, host;
	int order[64]; /* in which they were answered */
};

static int ask_one(void *arg)
{
	struct crowd *c = arg;
	int me = c->next++;
	char path[16];

	snprintf(path, sizeof(path), "/%d", me);
	get_and_expect(c->client, url_of(c->p, path), 200, path);
	c->order[c->done++] = me;
	return 0;
}

static void ask_all(struct crowd *c, int count)
{
	struct torc_group group;

	torc_group_enter(&group);
	for (int i = 0; i < count; i++)
		check_eq(torc_group_spawn(&group, ask_one, c), 0);
	check_eq(torc_group_wait(&group), 0);
}

static void wait_in_order(struct peer *p, struct torc_http_client *client)
{
	struct crowd c = { .p = p, .client = client };
	uint64_t begin = torc_now_ns();

	ask_all(&c, 20);
	check_eq(c.done, 20);
	/* Those that were served at the same time are answered in any order, and no others. */
	for (int i = 0; i < 20; i++)
		check_eq(c.order[i] / 4, i / 4);
	check_eq(working_most, 4);
	check_eq(open_most, 4);
	check_ge(torc_now_ns() - begin, TORC_MS(50));
	check_lt(torc_now_ns() - begin, TORC_MS(60));
	check_eq(stats_of(client).connections, 4);
	check_eq(stats_of(client).idle, 4);
	check_eq(stats_of(client).waiting, 0);
	check_eq(stats_of(client).connects, 4);
	check_eq(stats_of(client).requests, 20);
	check_eq(stats_of(client).dropped, 0);
}

Test(client_pool, who_finds_no_connection_free_waits_in_line)
{
	struct peer p = { .options.origin_max = 4 };

	run_on_sim(&p, 0, be_slow, wait_in_order);
	check_eq(open_now, 0);
}

/* --- how long one waits --- */

static int ask_plainly(void *arg)
{
	struct crowd *c = arg;
	struct torc_http_response *res;
	char url[64];
	int r;

	host_url(c->p, c->host, "/x", url);
	r = torc_http_get(c->client, url, &res);
	if (!r) {
		c->done++;
		torc_http_response_close(res);
	}
	return r;
}

static void wait_too_long(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res, *other = NULL;
	char why[TORC_HTTP_WHY_MAX] = "";
	uint64_t begin;
	struct torc_scope scope;

	check_eq(torc_http_get(client, url_of(p, "/x"), &res), 0);
	begin = torc_now_ns();
	check_eq(torc_http_request(client,
				   &(struct torc_http_request){ .url = url_of(p, "/y"),
								.ret_why = why },
				   &other),
		 -ETIMEDOUT);
	check_ge(torc_now_ns() - begin, TORC_SECONDS(3));
	check_lt(torc_now_ns() - begin, TORC_SECONDS(3) + SLACK);
	check(strstr(why, "waiting for a connection"));
	torc_scope_enter(&scope, TORC_SECONDS(1));
	check_eq(torc_http_get(client, url_of(p, "/y"), &other), -ETIMEDOUT);
	torc_scope_leave(&scope);
	check(!other);
	check_lt(torc_now_ns() - begin, TORC_SECONDS(4) + SLACK);
	check_eq(stats_of(client).waiting, 0);
	check_eq(stats_of(client).connections, 1);
	torc_http_response_close(res);
	get_and_expect(client, url_of(p, "/x"), 200, "/x");
	check_eq(stats_of(client).connects, 1);
}

Test(client_pool, one_waits_in_line_for_so_long)
{
	struct peer p = { .options = { .origin_max = 1, .line_ns = TORC_SECONDS(3) } };

	run_on_sim(&p, 0, be_slow, wait_too_long);
}

static void spawn_asking(struct torc_group *group, struct torc_task *task, struct crowd *c)
{
	check_eq(torc_group_spawn_with(group, &(struct torc_spawn_options){ .task = task },
				       ask_plainly, c),
		 0);
}

static void until_waiting(const struct torc_http_client *client, unsigned count)
{
	while (stats_of(client).waiting != count)
		check_eq(torc_yield(), 0);
}

/*
 * The first in line is served, and cancelled before it has seen that: with a connection of its own origin, or with a place that one of another
 * has made room for.
 */
static void cancel_served(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res;
	struct torc_task tasks[2];
	struct torc_group group;
	struct torc_slice body;
	char url[64];

	host_url(p, 1, "/x", url);
	for (int host = 1; host <= 2; host++) {
		struct crowd c = { .p = p, .client = client, .host = host };

		check_eq(torc_http_get(client, url, &res), 0);
		torc_group_enter(&group);
		for (int i = 0; i < 2; i++)
			spawn_asking(&group, &tasks[i], &c);
		until_waiting(client, 2);
		check_eq(torc_http_response_read(res, 10, &body), 0);
		check_eq(stats_of(client).waiting, 1);
		torc_task_cancel(&tasks[0]);
		check_eq(torc_task_join(&tasks[0]), -ECANCELED);
		check_eq(torc_task_join(&tasks[1]), 0);
		(void)torc_group_wait(&group);
		torc_http_response_close(res);
		check_eq(c.done, 1);
		check_eq(stats_of(client).connections, 1);
		check_eq(stats_of(client).idle, 1);
		check_eq(stats_of(client).connects, (unsigned)host);
	}
}

Test(client_pool, what_was_granted_and_is_not_wanted_goes_to_the_next)
{
	struct peer p = { .addresses = any_host,
			  .options = { .connections_max = 1, .line_ns = TORC_NEVER } };

	run_on_sim(&p, 0, be_slow, cancel_served);
}

/* A connection that ends makes a place, too. */
static void end_one(struct peer *p, struct torc_http_client *client)
{
	struct crowd c = { .p = p, .client = client, .host = 1 };
	struct torc_http_response *res;
	struct torc_group group;
	char url[64];

	host_url(p, 1, "/bye", url);
	check_eq(torc_http_get(client, url, &res), 0);
	torc_group_enter(&group);
	for (int i = 0; i < 3; i++)
		spawn_asking(&group, NULL, &c);
	until_waiting(client, 3);
	torc_http_response_close(res);
	check_eq(torc_group_wait(&group), 0);
	check_eq(c.done, 3);
	check_eq(p->connections, 2);
}

Test(client_pool, the_place_of_a_connection_that_ends_goes_to_the_next)
{
	struct peer p = { .addresses = any_host,
			  .options = { .origin_max = 1, .line_ns = TORC_NEVER } };

	run_on_sim(&p, 0, be_slow, end_one);
}

/* The first in line waits for another origin than that whose connection makes room. */
static void overtake(struct peer *p, struct torc_http_client *client)
{
	struct crowd first = { .p = p, .client = client, .host = 1 };
	struct crowd second = { .p = p, .client = client, .host = 3 };
	struct torc_http_response *res[2];
	struct torc_task tasks[2];
	struct torc_group group;
	struct torc_slice body;
	char url[64];

	for (int i = 0; i < 2; i++) {
		host_url(p, i + 1, "/x", url);
		check_eq(torc_http_get(client, url, &res[i]), 0);
	}
	torc_group_enter(&group);
	spawn_asking(&group, &tasks[0], &first);
	until_waiting(client, 1);
	spawn_asking(&group, &tasks[1], &second);
	until_waiting(client, 2);
	check_eq(torc_http_response_read(res[1], 10, &body), 0);
	check_eq(torc_task_join(&tasks[1]), 0);
	check_eq(first.done, 0);
	check_eq(torc_http_response_read(res[0], 10, &body), 0);
	check_eq(torc_group_wait(&group), 0);
	check_eq(first.done, 1);
	for (int i = 0; i < 2; i++)
		torc_http_response_close(res[i]);
}

Test(client_pool, who_can_be_served_does_not_wait_for_who_cannot)
{
	struct peer p = { .addresses = any_host,
			  .options = {
				  .connections_max = 2, .origin_max = 1, .line_ns = TORC_NEVER } };

	run_on_sim(&p, 0, be_slow, overtake);
}

/* --- many origins --- */

static void ask_host(struct peer *p, struct torc_http_client *client, int host, unsigned connects)
{
	char url[64];

	host_url(p, host, "/x", url);
	get_and_expect(client, url, 200, "/x");
	check_eq(stats_of(client).connects, connects);
	check_le(stats_of(client).connections, 2);
}

static void evict(struct peer *p, struct torc_http_client *client)
{
	ask_host(p, client, 1, 1);
	ask_host(p, client, 2, 2);
	ask_host(p, client, 3, 3); /* instead of the first */
	ask_host(p, client, 2, 3);
	ask_host(p, client, 1, 4); /* instead of the third */
	ask_host(p, client, 2, 4);
	ask_host(p, client, 1, 4);
	ask_host(p, client, 3, 5); /* instead of the second */
	ask_host(p, client, 1, 5);
	check_eq(stats_of(client).dropped, 3);
	check_eq(torc_sleep(TORC_MS(5)), 0);
	check_eq(open_now, 2); /* they are closed at once */
	check_le(open_most, 3);
}

Test(client_pool, the_one_that_was_idle_for_longest_makes_room)
{
	struct peer p = { .addresses = any_host, .options.connections_max = 2 };

	run_on_sim(&p, 0, be_slow, evict);
}

struct wanderer {
	struct peer *p;
	struct torc_http_client *client;
	int *done;
};

static int wander(void *arg)
{
	struct wanderer *w = arg;

	for (int i = 0; i < 4; i++) {
		struct torc_http_response *res;
		struct torc_scope scope;
		char url[64];
		int r;

		host_url(w->p, 1 + (int)torc_sim_random(4), "/x", url);
		torc_scope_enter(&scope,
				 torc_sim_random(4) ? TORC_NEVER : torc_sim_random(TORC_MS(40)));
		r = torc_http_get(w->client, url, &res);
		torc_scope_leave(&scope);
		check(!r || r == -ETIMEDOUT);
		check_le(stats_of(w->client).connections, 5);
		if (!r)
			torc_http_response_close(res);
		if (!torc_sim_random(3))
			check_eq(torc_sleep(torc_sim_random(TORC_MS(20))), 0);
	}
	++*w->done;
	return 0;
}

static void wander_all(struct peer *p, struct torc_http_client *client)
{
	int done = 0;
	struct wanderer w = { p, client, &done };
	struct torc_group group;

	torc_group_enter(&group);
	for (int i = 0; i < 30; i++)
		check_eq(torc_group_spawn(&group, wander, &w), 0);
	check_eq(torc_group_wait(&group), 0);
	check_eq(done, 30);
	check_eq(stats_of(client).waiting, 0);
	check_eq(stats_of(client).connections, stats_of(client).idle);
}

/* Nobody waits for ever: on the simulator that ends the run, as nothing else has a deadline. */
Test(client_pool, nobody_is_forgotten_in_the_line)
{
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct peer p = { .addresses = any_host,
				  .options = { .connections_max = 5,
					       .origin_max = 2,
					       .line_ns = TORC_NEVER,
					       .idle_ns = TORC_MS(15) } };

		run_on_sim(&p, seed, be_slow, wander_all);
	}
}

/* --- idle ones --- */

static void be_idle(struct peer *p, struct torc_http_client *client)
{
	get_and_expect(client, url_of(p, "/1"), 200, "/1");
	check_eq(torc_sleep(TORC_SECONDS(5) - TORC_MS(2)), 0);
	check_eq(open_now, 1);
	check_eq(torc_sleep(TORC_MS(4)), 0);
	check_eq(stats_of(client).connections, 0);
	check_eq(open_now, 0);
	/* It counts from the last request on. */
	for (int i = 0; i < 4; i++) {
		get_and_expect(client, url_of(p, "/2"), 200, "/2");
		check_eq(torc_sleep(TORC_SECONDS(3)), 0);
		check_eq(open_now, 1);
	}
	check_eq(torc_sleep(TORC_SECONDS(2) + TORC_MS(2)), 0);
	check_eq(open_now, 0);
	check_eq(p->connections, 2);
	check_eq(stats_of(client).dropped, 2);
}

Test(client_pool, what_is_idle_for_long_is_closed_without_any_request)
{
	struct peer p = { .options.idle_ns = TORC_SECONDS(5) };

	run_on_sim(&p, 0, be_slow, be_idle);
}

static void be_idle_for_ever(struct peer *p, struct torc_http_client *client)
{
	get_and_expect(client, url_of(p, "/1"), 200, "/1");
	check_eq(torc_sleep(TORC_SECONDS(10000)), 0);
	get_and_expect(client, url_of(p, "/1"), 200, "/1");
	check_eq(p->connections, 1);
}

Test(client_pool, idle_for_ever_is_for_ever)
{
	struct peer p = { .options.idle_ns = TORC_NEVER };

	run_on_sim(&p, 0, be_slow, be_idle_for_ever);
}

/* Answers once; then, when it may, closes or says what nobody has asked for. */
static void be_unreliable(struct peer *p, struct torc_stream *s, int number)
{
	if (!hear_head(p, s))
		return;
	tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue");
	check_eq(torc_stream_flush(s), 0);
	while (!gate)
		check_eq(torc_yield(), 0);
	if (!number)
		return;
	tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong");
	hear_out(s);
}

static void see_end(struct peer *p, struct torc_http_client *client)
{
	int before = count_fds();

	for (int i = 0; i < 2; i++) {
		gate = false;
		get_and_expect(client, url_of(p, "/"), 200, "true");
		check_eq(stats_of(client).idle, 1);
		check_eq(count_fds(), before + 2);
		gate = true;
		/* Without a request. */
		while (stats_of(client).connections || count_fds() != before)
			check_eq(torc_yield(), 0);
		check_eq(stats_of(client).idle, 0);
	}
	get_and_expect(client, url_of(p, "/"), 200, "true");
	check_eq(p->connections, 3);
	check_eq(stats_of(client).retries, 0);
}

Test(client_pool, a_connection_on_which_something_happens_unasked_is_closed_at_once)
{
	run_peer(be_unreliable, see_end);
}

/* --- on the way to somewhere else --- */

/* The page of a redirect comes after its head: soon, or too late. */
static void redirect_slowly(struct peer *p, struct torc_stream *s, int number)
{
	(void)number;
	while (hear_head(p, s)) {
		if (heard(p, "GET /end")) {
			tell(s, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend");
			continue;
		}
		tell(s,
		     heard(p, "GET /large")
			     ? "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 99999\r\n\r\n"
			     : "HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 4\r\n\r\n");
		if (torc_stream_flush(s) ||
		    torc_sleep(heard(p, "GET /soon") ? TORC_MS(10) : TORC_SECONDS(20)))
			return;
		tell(s, "page");
	}
}

static void follow_slowly(struct peer *p, struct torc_http_client *client)
{
	uint64_t begin = torc_now_ns();

	get_and_expect(client, url_of(p, "/soon"), 200, "end");
	check_eq(p->connections, 1);
	get_and_expect(client, url_of(p, "/large"), 200, "end");
	check_eq(p->connections, 2);
	check_lt(torc_now_ns() - begin, TORC_MS(20));
	get_and_expect(client, url_of(p, "/late"), 200, "end");
	check_eq(p->connections, 3);
	check_lt(torc_now_ns() - begin, TORC_MS(300));
}

Test(client_pool, a_redirect_keeps_its_connection_if_that_takes_no_time)
{
	run_on_sim(&(struct peer){ 0 }, 0, redirect_slowly, follow_slowly);
}

/* --- what was cancelled, and what fails --- */

static void ask_in_vain(struct peer *p, struct torc_http_client *client)
{
	struct torc_http_response *res = NULL;
	struct torc_scope scope;

	torc_scope_enter(&scope, TORC_NEVER);
	torc_scope_cancel(&scope);
	check_eq(torc_http_get(client, url_of(p, "/"), &res), -ECANCELED);
	check_eq(torc_http_get(NULL, url_of(p, "/"), &res), -ECANCELED);
	torc_scope_leave(&scope);
	torc_scope_enter(&scope, 0);
	check_eq(torc_http_get(client, url_of(p, "/"), &res), -ETIMEDOUT);
	torc_scope_leave(&scope);
	check(!res);
	check_eq(p->connections, 0);
	check_eq(stats_of(client).connects, 0);
	check_eq(stats_of(client).requests, 0);
	for (int i = 0; i < 3; i++) /* more than there are places */
		check_eq(torc_http_get(client, "http://127.0.0.1:1/", &res), -ECONNREFUSED);
	check_eq(stats_of(client).connections, 0);
	check_eq(stats_of(client).connects, 3);
}

Test(client_pool, a_cancelled_scope_asks_nothing)
{
	struct peer p = { .options.connections_max = 2 };

	run_on_sim(&p, 0, be_slow, ask_in_vain);
}

static void refuse_options(struct peer *p, struct torc_http_client *unused)
{
	static const struct torc_http_client_options wrong[] = {
		{ .fields = 1001, .no_environment = true },
		{ .head_bytes = SIZE_MAX, .no_environment = true },
		{ .user_agent = "a\r\nb", .no_environment = true },
		{ .proxy = "ftp://a", .no_environment = true },
	};
	struct torc_http_client *client = NULL;
	struct torc_scope scope;

	(void)p, (void)unused;
	for (size_t i = 0; i < COUNT(wrong); i++)
		check_eq(torc_http_client_open(&wrong[i], &client), -EINVAL);
	torc_scope_enter(&scope, TORC_NEVER);
	torc_scope_cancel(&scope);
	check_eq(torc_http_client_open(NULL, &client), -ECANCELED);
	torc_scope_leave(&scope);
	check(!client);
}

Test(client_pool, options_out_of_their_range_are_refused)
{
	run_on_sim(&(struct peer){ 0 }, 0, be_slow, refuse_options);
}

/* --- loops --- */

static int say_path(struct torc_http_exchange *x, void *arg)
{
	char text[64];
	struct torc_slice path = torc_http_path(x);

	(void)arg;
	snprintf(text, sizeof(text), "%.*s", (int)path.len, path.data);
	return torc_http_respond_text(x, 200, text);
}

struct throng {
	struct torc_http_client *client;
	char base[160];
	_Atomic int next, done, most, alone;
};

static int ask_in_throng(void *arg)
{
	struct throng *t = arg;
	char url[192], path[24];

	snprintf(path, sizeof(path), "/%d", t->next++);
	snprintf(url, sizeof(url), "%s%s", t->base, path);
	get_and_expect(t->client, url, 200, path);
	if ((int)stats_of(t->client).connections > t->most)
		t->most = (int)stats_of(t->client).connections;
	t->done++;
	return 0;
}

static int ask_alone(void *arg)
{
	struct throng *t = arg;
	struct torc_http_response *one, *two;

	check_eq(torc_http_get(NULL, t->base, &one), 0);
	check_eq(torc_http_get(NULL, t->base, &two), 0);
	expect_body(two, 200, "/");
	torc_http_response_close(two);
	expect_body(one, 200, "/");
	torc_http_response_close(one);
	t->alone++;
	return 0;
}

static void ask_on_loops(struct throng *t, torc_fn *fn, int count)
{
	struct torc_group group;

	torc_group_enter(&group);
	for (int i = 0; i < count; i++)
		check_eq(torc_group_spawn_with(&group,
					       &(struct torc_spawn_options){
						       .loop = TORC_ON_LOOP(i %
									    torc_loop_count()) },
					       fn, t),
			 0);
	check_eq(torc_group_wait(&group), 0);
}

static void ask_by_thousands(struct world *w)
{
	struct torc_http_client_options o = { .no_environment = true, .origin_max = 8 };
	struct throng t = { 0 };

	snprintf(t.base, sizeof(t.base), "http://%s",
		 strstr(w->address, "://") ? strstr(w->address, "://") + 3 : w->address);
	check_eq(torc_http_client_open(&o, &t.client), 0);
	ask_on_loops(&t, ask_in_throng, 1000);
	check_eq(t.done, 1000);
	check_ge(t.most, 1);
	check_le(t.most, 8);
	check_eq(stats_of(t.client).connections, stats_of(t.client).idle);
	check_ge(stats_of(t.client).requests, 300);
	check_le(stats_of(t.client).connects, 8);
	setenv("no_proxy", "*", 1);
	ask_on_loops(&t, ask_alone, torc_loop_count());
	check_eq(t.alone, torc_loop_count());
	/* With connections idle on all of them. */
	torc_http_client_close(t.client);
}

Test(client_pool, a_thousand_fibers_of_several_loops_each_get_their_answer)
{
	for (int loops = 1; loops <= 3; loops += 2)
		run_world_with(&(struct world){ .runtime = { .loops = loops, .no_pin = true } },
			       say_path, ask_by_thousands);
}
