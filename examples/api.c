/*
 * api - a small API: routes, middleware, one handler that computes on a pool of threads, and one that may crash or take
 * for ever, in a pool of processes.
 *
 *	build/examples/api 127.0.0.1:8080 secret
 *
 *	curl localhost:8080/primes/1000000
 *	curl -H 'Authorization: Bearer secret' -d 'aaab a+b' localhost:8080/match	a text and an expression, regex(7)
 */
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

struct api {
	const char *addresses[2];
	char *token;
	struct torc_executor *threads, *processes;
};

/* --- middleware --- */

static int check(struct torc_http_exchange *x, const char *token, void *wanted)
{
	(void)x;
	return torc_http_equal(token, strlen(token), wanted, strlen(wanted)) ? 0 : -EACCES;
}

/* --- a handler that computes --- */

static int count_primes(void *arg, void **ret_value)
{
	size_t most = (size_t)arg, count = 0;

	for (size_t n = 2, d; n <= most; n++) {
		for (d = 2; d * d <= n && n % d; d++)
			;
		count += d * d > n;
	}
	*ret_value = (void *)count;
	return 0;
}

static int primes(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice most = { "", 0 };
	struct torc_future *f;
	void *count;
	char text[64];
	size_t n;
	int r;

	(void)torc_http_param(x, "most", &most);
	snprintf(text, sizeof(text), "%.*s", (int)most.len, most.data);
	n = strtoul(text, NULL, 10);
	if (n < 1 || n > 10000000)
		return torc_http_respond_text(x, 422, "A number up to 10000000, please\n");
	r = torc_submit(((struct api *)arg)->threads, count_primes, (void *)n, &f);
	if (r < 0)
		return r;
	r = torc_await(f, &count); /* other requests go on meanwhile */
	torc_future_put(f);
	if (r < 0)
		return r;
	r = snprintf(text, sizeof(text), "{\"primes\":%zu}\n", (size_t)count);
	return torc_http_respond_json(x, 200, text, (size_t)r);
}

/* --- a handler that may crash --- */

/* In a worker: a text, a space, and an expression of a stranger's, with a 0 at its end. */
static int match(struct torc_process_call *call)
{
	const char *text = call->arg, *space = strchr(text, ' ');
	regmatch_t found;
	regex_t compiled;

	if (!space || regcomp(&compiled, space + 1, REG_EXTENDED) != 0)
		return -EINVAL;
	found = (regmatch_t){ 0, (regoff_t)(space - text) };
	*(bool *)call->result = !regexec(&compiled, text, 1, &found, REG_STARTEND);
	regfree(&compiled);
	return 0;
}

/* The call is in this fiber's memory: it must be over, also when the client has left or waited for too long. */
static int await_call(struct torc_future *f)
{
	int r = torc_await(f, NULL);
	struct torc_scope shield;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	if (torc_future_cancel(f)) /* kills the worker, if it has begun */
		(void)!torc_await(f, NULL);
	torc_scope_leave(&shield);
	torc_future_put(f);
	return r;
}

static int matches(struct torc_http_exchange *x, void *arg)
{
	struct torc_process_call call = { .fn = match };
	struct torc_future *f;
	struct torc_slice body;
	bool yes;
	int r = torc_http_body_read(x, 100000, &body);

	if (r < 0)
		return r;
	call.arg = body.data;
	call.arg_bytes = body.len + 1;
	call.result = &yes;
	call.result_bytes = sizeof(yes);
	r = torc_submit(((struct api *)arg)->processes, torc_process_call_run, &call, &f);
	if (!r)
		r = await_call(f);
	if (r == -EPIPE || r == -EINVAL) /* it has crashed, or is none: its author's fault */
		return torc_http_respond_text(x, 422, "No such expression, please\n");
	if (r < 0)
		return r;
	return torc_http_respond_text(x, 200, yes ? "true\n" : "false\n");
}

static void on_listen(const char *address, void *arg)
{
	(void)arg;
	fprintf(stderr, "api: on %s\n", address);
}

static int serve(struct api *api, struct torc_router *router)
{
	struct torc_http_bearer bearer = { .check = check, .arg = api->token };
	const struct torc_http_step guard = { torc_http_bearer_handle, &bearer };
	const struct torc_route match_route = {
		.method = "POST",
		.pattern = "/match",
		.handler = matches,
		.arg = api,
		.steps = &guard,
		.step_count = 1,
		.deadline_ns = TORC_MS(500),
	};
	int r = torc_router_add(router, "GET", "/primes/:most", primes, api);

	if (!r)
		r = torc_router_add_route(router, &match_route);
	if (!r)
		r = torc_http_serve(&(struct torc_http_options){ .addresses = api->addresses,
								 .handler = torc_router_handle,
								 .arg = router,
								 .handlers_max = 100,
								 .on_listen = on_listen });
	return r;
}

static int app(void *arg)
{
	const struct torc_process_options processes = { .workers = 2, .kill_on_cancel = true };
	struct torc_router *router = NULL;
	struct api *api = arg;
	int r = torc_pool_create(NULL, &api->threads);

	if (!r)
		r = torc_process_create(&processes, &api->processes);
	if (!r)
		r = torc_router_create(NULL, &router);
	if (!r)
		r = serve(api, router);
	torc_router_destroy(router);
	torc_executor_destroy(api->processes);
	torc_executor_destroy(api->threads);
	return r;
}

int main(int argc, char **argv)
{
	struct api api = { { argv[1], NULL }, argc == 3 ? argv[2] : NULL, NULL, NULL };
	int r;

	torc_process_begin(); /* workers go on from here */
	if (!api.token) {
		fprintf(stderr, "Usage: api ADDRESS TOKEN\n");
		return 2;
	}
	r = torc_run(&(struct torc_options){ .loops = TORC_LOOP_PER_CORE }, app, &api);
	if (r < 0)
		fprintf(stderr, "api: %s\n", strerror(-r));
	return r < 0;
}
