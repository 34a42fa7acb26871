/*
 * Figures for Prometheus, read as its server reads them.
 */
#include "tests/http/steps.h"

#include <torc/executor/pool.h>
#include <torc/executor/executor.h>
#include <torc/http/metrics.h>
#include <torc/http/router.h>

TestSuite(http_metrics, .timeout = 60);

/* --- a reader of the text format --- */

struct sample {
	char name[128];
	char labels[512]; /* as they stand */
	double value;
};

struct scrape {
	struct sample samples[4096];
	size_t count;
};

static bool is_name_character(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' ||
	       (!first && c >= '0' && c <= '9');
}

static const char *read_name(const char *p, char *to, size_t size)
{
	size_t n = 0;

	check(is_name_character(*p, true));
	while (is_name_character(*p, false)) {
		check_lt(n, size - 1);
		to[n++] = *p++;
	}
	to[n] = '\0';
	return p;
}

/* name="value",...} ; in a value only \\, \" and \n are escapes. */
static const char *skip_labels(const char *p)
{
	char name[64];

	do {
		p = read_name(p + 1, name, sizeof(name));
		check(p[0] == '=' && p[1] == '"');
		for (p += 2; *p != '"'; p++) {
			check(*p && *p != '\n');
			if (*p == '\\') {
				p++;
				check(*p == '\\' || *p == '"' || *p == 'n');
			}
		}
		p++;
	} while (*p == ',');
	check(*p == '}');
	return p + 1;
}

/* A sample belongs to the family whose TYPE was last. */
static void check_family(const struct sample *s, const char *family, const char *type)
{
	size_t n = strlen(family);
	const char *rest = s->name + n;

	check(!strncmp(s->name, family, n));
	if (!strcmp(type, "histogram"))
		check(!strcmp(rest, "_bucket") || !strcmp(rest, "_sum") || !strcmp(rest, "_count"));
	else
		check(!*rest);
	if (!strcmp(type, "counter"))
		check(!strcmp(s->name + strlen(s->name) - 6, "_total"));
}

static const char *read_sample(const char *p, struct sample *s)
{
	const char *labels;
	char *end;

	labels = p = read_name(p, s->name, sizeof(s->name));
	if (*p == '{')
		p = skip_labels(p);
	check_lt((size_t)(p - labels), sizeof(s->labels));
	memcpy(s->labels, labels, (size_t)(p - labels));
	s->labels[p - labels] = '\0';
	check(*p == ' ');
	s->value = strtod(p + 1, &end);
	check(end > p + 1 && *end == '\n');
	check(s->value >= 0 && s->value < 1e18);
	return end + 1;
}

static void read_scrape(const char *p, struct scrape *scrape)
{
	static char families[64][128];
	char family[128] = "", helped[128] = "", type[32] = "";
	size_t known = 0;

	scrape->count = 0;
	while (*p) {
		if (!strncmp(p, "# HELP ", 7)) {
			check_eq(sscanf(p, "# HELP %127s %*[^\n]", helped), 1);
			p = strchr(p, '\n') + 1;
			check_eq(sscanf(p, "# TYPE %127s %31s", family, type), 2);
			check(!strcmp(helped, family));
			for (size_t i = 0; i < known; i++)
				check(strcmp(families[i], family)); /* each once */
			strcpy(families[known++], family);
			p = strchr(p, '\n') + 1;
			continue;
		}
		check_lt(scrape->count, COUNT(scrape->samples));
		p = read_sample(p, &scrape->samples[scrape->count]);
		check_family(&scrape->samples[scrape->count++], family, type);
	}
}

static double value_of(const struct scrape *s, const char *name, const char *labels)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->samples[i].name, name) && !strcmp(s->samples[i].labels, labels))
			return s->samples[i].value;
	return -1;
}

/* Buckets only grow, and the last is the count. */
static void check_histograms(const struct scrape *s)
{
	double last = 0;
	int buckets = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct sample *at = &s->samples[i];

		if (strstr(at->name, "_bucket")) {
			check(at->value >= last);
			last = at->value;
			buckets++;
		} else if (strstr(at->name, "seconds_count")) {
			check(strstr(s->samples[i - 2].labels, ",le=\"+Inf\"}"));
			check(at->value == last);
			check_eq(buckets, 15);
			last = buckets = 0;
		}
	}
}

/* --- the world --- */

static struct torc_http_metrics metrics;
static struct torc_http_metrics_options options;
static struct torc_router *router, *api;
static struct scrape scrape;
static _Atomic int waiting;
static _Atomic bool gate;

static int echo_length(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice body;
	int r = torc_http_body_read(x, 1000, &body);

	(void)arg;
	return r ? r : torc_http_respond_text(x, 201, "12345");
}

static int wait_at_gate(struct torc_http_exchange *x, void *arg)
{
	waiting++;
	while (!gate)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	return say_ok(x, arg);
}

static int fail(struct torc_http_exchange *x, void *arg)
{
	(void)x;
	(void)arg;
	return -EIO;
}

static void set_up(void)
{
	check_eq(torc_http_metrics_init(&metrics, &options), 0);
	check_eq(torc_router_create(NULL, &router), 0);
	check_eq(torc_router_create(NULL, &api), 0);
	check_eq(torc_router_use(router, torc_http_metrics_count, &metrics), 0);
	check_eq(torc_router_add(router, "GET", "/metrics", torc_http_metrics_handle, &metrics), 0);
	check_eq(torc_router_add(router, "GET", "/u/:id", say_ok, NULL), 0);
	check_eq(torc_router_add(router, "POST", "/u/:id", echo_length, NULL), 0);
	check_eq(torc_router_add(router, "GET", "/wait", wait_at_gate, NULL), 0);
	check_eq(torc_router_add(router, "GET", "/a\"b\\c", say_ok, NULL), 0);
	check_eq(torc_router_add(router, NULL, "/fail", fail, NULL), 0);
	check_eq(torc_router_add(api, "GET", "/x", say_ok, NULL), 0);
	check_eq(torc_router_mount(router, "/api", torc_router_handle, api), 0);
}

static void take_down(void)
{
	torc_router_destroy(router);
	torc_router_destroy(api);
	torc_http_metrics_done(&metrics);
}

static int route(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_router_handle(x, router);
}

static void run_counted(int loops, void (*client)(struct world *))
{
	const struct torc_http_step steps[] = { { route, NULL } };

	run_stage(&(struct stage){ .steps = steps,
				   .step_count = 1,
				   .world.runtime = { .loops = loops, .no_pin = true },
				   .before = set_up,
				   .after = take_down },
		  client);
}

static void scrape_now(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, GET("/metrics"), &r), 200);
	expect_field(&r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	read_scrape(r.body, &scrape);
	check_histograms(&scrape);
	free(r.body);
}

#define LABELS(method, code, route) "{method=\"" method "\",code=\"" #code "\",route=\"" route "\"}"

static double requests(const char *labels)
{
	return value_of(&scrape, "torc_http_requests_total", labels);
}

static void ask_all(struct world *w)
{
	scrape_now(w);
	check(requests(LABELS("GET", 200, "/u/:id")) == -1);
	for (int i = 0; i < 5; i++)
		check_eq(ask_status(w, i % 2 ? GET("/u/1") : GET("/u/2")), 200);
	for (int i = 0; i < 3; i++)
		check_eq(ask_status(
				 w,
				 "POST /u/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd"),
			 201);
	check_eq(ask_status(w, "POST /u/1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
			       "6\r\nabcdef\r\n0\r\n\r\n"),
		 201);
	check_eq(ask_status(w, GET("/fail")), 500);
	check_eq(ask_status(w, GET("/nowhere/1")), 404);
	check_eq(ask_status(w, GET("/nowhere/2")), 404);
	check_eq(ask_status(w, GET("/api/x")), 200);
	check_eq(ask_status(w, GET("/a%22b%5Cc")), 200);
	check_eq(ask_status(w, "HEAD /u/1 HTTP/1.1\r\nHost: h\r\n\r\n"), 200);
}

static void count_requests(struct world *w)
{
	ask_all(w);
	scrape_now(w);
	check(requests(LABELS("GET", 200, "/metrics")) == 1);
	check(requests(LABELS("GET", 200, "/u/:id")) == 5);
	check(requests(LABELS("HEAD", 200, "/u/:id")) == 1);
	check(requests(LABELS("POST", 201, "/u/:id")) == 4);
	check(requests(LABELS("GET", 500, "/fail")) == 1);
	check(requests(LABELS("GET", 404, "unmatched")) == 2);
	check(requests(LABELS("GET", 200, "/api/x")) == 1);
	check(requests(LABELS("GET", 200, "/a\\\"b\\\\c")) == 1);
	check(value_of(&scrape, "torc_http_request_bytes_total", LABELS("POST", 201, "/u/:id")) ==
	      18);
	check(value_of(&scrape, "torc_http_response_bytes_total", LABELS("POST", 201, "/u/:id")) ==
	      20);
	check(value_of(&scrape, "torc_http_request_duration_seconds_count",
		       LABELS("GET", 200, "/u/:id")) == 5);
	check(value_of(&scrape, "torc_http_request_duration_seconds_sum",
		       LABELS("GET", 200, "/u/:id")) > 0);
	check(value_of(&scrape, "torc_http_requests_in_flight", "") == 1); /* the scrape */
}

Test(http_metrics, counts_by_method_code_and_route)
{
	run_counted(1, count_requests);
	run_counted(3, count_requests);
}

static void count_waiting(struct world *w)
{
	struct client c[2];

	gate = false;
	waiting = 0;
	for (int i = 0; i < 2; i++) {
		dial(w, &c[i]);
		say(&c[i], GET("/wait"));
	}
	while (waiting < 2)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	scrape_now(w);
	check(value_of(&scrape, "torc_http_requests_in_flight", "") == 3);
	check(value_of(&scrape, "torc_http_connections", "") >= 3);
	check(value_of(&scrape, "torc_http_connections_total", "") >= 3);
	check_eq(torc_sleep(TORC_MS(30)), 0); /* longer than a bucket, not for synchronisation */
	gate = true;
	for (int i = 0; i < 2; i++) {
		expect(&c[i], 200, "ok");
		hang_up(&c[i]);
	}
	do
		scrape_now(w);
	while (value_of(&scrape, "torc_http_requests_in_flight", "") > 1);
	check(requests(LABELS("GET", 200, "/wait")) == 2);
	check(value_of(&scrape, "torc_http_request_duration_seconds_bucket",
		       "{method=\"GET\",code=\"200\",route=\"/wait\",le=\"0.025\"}") == 0);
	check(value_of(&scrape, "torc_http_request_duration_seconds_bucket",
		       "{method=\"GET\",code=\"200\",route=\"/wait\",le=\"+Inf\"}") == 2);
	check(value_of(&scrape, "torc_http_request_duration_seconds_sum",
		       LABELS("GET", 200, "/wait")) >= 0.06);
}

Test(http_metrics, shows_what_is_under_way_and_how_long_it_took)
{
	run_counted(1, count_waiting);
	run_counted(3, count_waiting);
}

static void look_at_loops(struct world *w)
{
	int loops = torc_loop_count();
	char labels[32];

	scrape_now(w);
	for (int i = 0; i < loops; i++) {
		snprintf(labels, sizeof(labels), "{loop=\"%d\"}", i);
		check(value_of(&scrape, "torc_loop_turns_total", labels) >= 1);
		check(value_of(&scrape, "torc_loop_fibers", labels) >= 1);
		check(value_of(&scrape, "torc_loop_idle_seconds_total", labels) >= 0);
		check(value_of(&scrape, "torc_loop_busy_seconds_total", labels) > 0);
	}
	snprintf(labels, sizeof(labels), "{loop=\"%d\"}", loops);
	check(value_of(&scrape, "torc_loop_turns_total", labels) == -1);
}

Test(http_metrics, shows_each_loop)
{
	run_counted(1, look_at_loops);
	run_counted(3, look_at_loops);
}

static void make_many_series(struct world *w)
{
	ask_all(w);
	scrape_now(w);
	check(requests(LABELS("GET", 200, "/metrics")) == 1);
	check(requests(LABELS("GET", 200, "/u/:id")) == 5);
	check(requests(LABELS("POST", 201, "/u/:id")) == -1);
	check(requests(LABELS("other", 0, "other")) == 10);
}

Test(http_metrics, counts_what_is_beyond_its_limit_together)
{
	options.series_max = 2;
	run_counted(1, make_many_series);
}

static void look_at_pools(struct world *w)
{
	scrape_now(w);
	check(value_of(&scrape, "torc_pool_workers", "{pool=\"a\\\"\\nb\"}") == 2);
	check(value_of(&scrape, "torc_pool_tasks_total", "{pool=\"a\\\"\\nb\"}") == 0);
}

Test(http_metrics, shows_pools)
{
	static struct torc_http_metrics_pool pool = { .name = "a\"\nb" };

	check_eq(torc_pool_create(&(struct torc_pool_options){ .workers = 2 }, &pool.pool), 0);
	options = (struct torc_http_metrics_options){ .pools = &pool, .pool_count = 1 };
	run_counted(1, look_at_pools);
	torc_executor_destroy(pool.pool);
}

static int scrape_cancelled(struct torc_http_exchange *x, void *arg)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, TORC_NEVER);
	torc_scope_cancel(&scope);
	r = torc_http_metrics_handle(x, arg);
	torc_scope_leave(&scope);
	check_eq(r, -ECANCELED);
	check_eq(torc_http_status(x), 0);
	return say_ok(x, NULL);
}

static void ask_ok(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 200);
}

Test(http_metrics, shows_nothing_in_a_cancelled_scope)
{
	const struct torc_http_step steps[] = { { scrape_cancelled, &metrics } };

	run_stage(&(struct stage){ .steps = steps,
				   .step_count = 1,
				   .before = set_up,
				   .after = take_down },
		  ask_ok);
}

static int try_options(void *arg)
{
	struct torc_http_metrics m;

	(void)arg;
	check_eq(torc_http_metrics_init(&m,
					&(struct torc_http_metrics_options){ .series_max = 65537 }),
		 -EINVAL);
	check_eq(torc_http_metrics_init(&m, NULL), 0);
	torc_http_metrics_done(&m);
	torc_http_metrics_done(&m);
	return 0;
}

Test(http_metrics, refuses_options_out_of_range)
{
	run(try_options, NULL);
}
