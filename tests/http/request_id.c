/*
 * Names of requests.
 */
#include "tests/http/steps.h"

#include <torc/http/request_id.h>

TestSuite(http_request_id, .timeout = 40);

static int say_id(struct torc_http_exchange *x, void *arg)
{
	const char *id = torc_http_request_id(x);

	(void)arg;
	return torc_http_respond_text(x, 200, id ? id : "none");
}

static int fail(struct torc_http_exchange *x, void *arg)
{
	int r = torc_http_add_field(x, "X-Mine", "1");

	(void)arg;
	return r ? r : -EIO;
}

static void ask_with(struct world *w, const char *field, struct reply *r)
{
	char request[1024];

	snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", field);
	check_eq(ask(w, request, r), 200);
	expect_field(r, "X-Request-Id", r->body);
}

static bool is_new(const char *id)
{
	return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32;
}

static void take_good_ones(struct world *w)
{
	static const char *const good[] = { "a", "0", "Az9-._~:+/=@",
					    "1b4e28ba-2fa1-11d2-883f-0016d3cca427" };
	static const char *const bad[] = { "a b",      "a\"b", "a,b", "a\\b",
					   "\xc3\xa9", "",     "<x>", "%0d" };
	struct reply r = { 0 };
	char field[256], longest[130];

	for (size_t i = 0; i < COUNT(good); i++) {
		snprintf(field, sizeof(field), "x-request-ID: %s\r\n", good[i]);
		ask_with(w, field, &r);
		check(!strcmp(r.body, good[i]));
	}
	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(field, sizeof(field), "X-Request-Id: %s\r\n", bad[i]);
		ask_with(w, field, &r);
		check(is_new(r.body));
	}
	memset(longest, 'x', 129);
	longest[129] = '\0';
	snprintf(field, sizeof(field), "X-Request-Id: %s\r\n", longest);
	ask_with(w, field, &r);
	check(is_new(r.body));
	longest[128] = '\0';
	snprintf(field, sizeof(field), "X-Request-Id: %s\r\n", longest);
	ask_with(w, field, &r);
	check(!strcmp(r.body, longest));
	ask_with(w, "X-Request-Id: a\r\nX-Request-Id: b\r\n", &r);
	check(is_new(r.body));
	free(r.body);
}

Test(http_request_id, takes_a_valid_one_and_makes_one_for_any_other)
{
	RUN(take_good_ones, { torc_http_request_id_handle, NULL }, { say_id, NULL });
}

#define MANY 3000

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void make_many(struct world *w)
{
	static char ids[MANY][33];
	struct reply r = { 0 };

	for (int i = 0; i < MANY; i += 100) {
		struct client c;

		dial(w, &c);
		for (int k = 0; k < 100; k++)
			say(&c, GET("/"));
		for (int k = 0; k < 100; k++) {
			check_eq(hear_reply(&c, &r, false), 200);
			check(is_new(r.body));
			memcpy(ids[i + k], r.body, 33);
		}
		hang_up(&c);
	}
	qsort(ids, MANY, 33, compare);
	for (int i = 1; i < MANY; i++)
		check(strcmp(ids[i - 1], ids[i]));
	free(r.body);
}

static const struct torc_http_step said[] = { { torc_http_request_id_handle, NULL },
					      { say_id, NULL } };

Test(http_request_id, makes_none_twice_on_any_loop)
{
	run_stage(&(struct stage){ .steps = said,
				   .step_count = 2,
				   .world.runtime = { .loops = 3, .no_pin = true } },
		  make_many);
}

static void fail_with_id(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: seven\r\n\r\n", &r), 500);
	expect_field(&r, "X-Request-Id", "seven");
	expect_field(&r, "X-Mine", NULL);
	free(r.body);
}

Test(http_request_id, is_in_the_answer_to_a_failure)
{
	RUN(fail_with_id, { torc_http_request_id_handle, NULL }, { fail, NULL });
}

static int add_then_next(struct torc_http_exchange *x, void *arg)
{
	int r = torc_http_add_field(x, "X-Before", arg);

	return r ? r : torc_http_next(x);
}

/* What is not kept has come before it. */
Test(http_request_id, is_kept_behind_a_field_that_is_not)
{
	static char value[1200];

	memset(value, 'v', sizeof(value) - 1); /* more than an exchange has room for */
	RUN(fail_with_id, { add_then_next, (void *)(uintptr_t) "1" },
	    { torc_http_request_id_handle, NULL }, { fail, NULL });
	RUN(fail_with_id, { add_then_next, value }, { torc_http_request_id_handle, NULL },
	    { fail, NULL });
}

static const struct torc_http_request_id_options own = { .field = "X-Trace", .always_new = true };
static const struct torc_http_request_id_options bad_field = { .field = "no token" };

#define OPTIONS(o) ((void *)(uintptr_t)(o))

static void use_options(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nX-Trace: mine\r\n\r\n", &r), 200);
	check(is_new(r.body));
	expect_field(&r, "X-Trace", r.body);
	expect_field(&r, "X-Request-Id", NULL);
	free(r.body);
}

static void misuse(struct world *w)
{
	check_eq(ask_status(w, GET("/")), 500);
}

static void nameless(struct world *w)
{
	struct client c;

	dial(w, &c);
	say(&c, GET("/"));
	expect(&c, 200, "none");
	hang_up(&c);
}

Test(http_request_id, heeds_its_options)
{
	RUN(use_options, { torc_http_request_id_handle, OPTIONS(&own) }, { say_id, NULL });
	RUN(misuse, { torc_http_request_id_handle, OPTIONS(&bad_field) }, { say_id, NULL });
	RUN(nameless, { say_id, NULL });
}

static const struct torc_http_request_id_options trace = { .field = "X-Trace" };

static void fail_with_trace(struct world *w)
{
	struct reply r = { 0 };

	check_eq(ask(w, "GET / HTTP/1.1\r\nHost: h\r\nX-Trace: eight\r\n\r\n", &r), 500);
	expect_field(&r, "X-Trace", "eight");
	expect_field(&r, "X-Before", NULL);
	free(r.body);
}

Test(http_request_id, keep_field_keeps_no_other_one)
{
	RUN(fail_with_trace, { add_then_next, (void *)(uintptr_t) "1" },
	    { torc_http_request_id_handle, OPTIONS(&trace) }, { fail, NULL });
}

static int keep_late(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	check_eq(torc_http_keep_field(x, "X-A", "a\nb"), -EINVAL);
	check_eq(torc_http_keep_field(x, "Date", "now"), -EINVAL);
	check_eq(torc_http_respond_text(x, 200, "none"), 0);
	check_eq(torc_http_keep_field(x, "X-A", "b"), -EALREADY);
	return 0;
}

Test(http_request_id, keep_field_refuses_as_add_field_does)
{
	RUN(nameless, { keep_late, NULL });
}
