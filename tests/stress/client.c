/*
 * client - one HTTP client for fibers of several loops, which ask, send bodies, and give up at any time, while the server ends connections.
 *
 *	client [SECONDS [SEED]]
 *
 * Every answer has to be the asker's own. Exit status: 0 passed, 1 failed.
 */
#include <errno.h>
#include <string.h>

#include "tests/stress/stress.h"

enum {
	LOOPS = 3,
	FIBERS = 8, /* per loop */
	ENOUGH = 200
};

static struct {
	uint64_t seconds, seed, end_ns;
	char address[TORC_ADDRESS_MAX];
	struct torc_event listening;
	struct torc_http_client *client;
	struct tally tally;
} test = { .seconds = 1, .seed = 1 };

/* The length of the body, and the path. */
static int answer(struct torc_http_exchange *x, void *arg)
{
	struct torc_slice part, path = torc_http_path(x);
	char text[64];
	size_t len = 0;
	int r;

	(void)arg;
	while ((r = torc_http_body_peek(x, &part)) > 0) {
		len += part.len;
		torc_http_body_consume(x, part.len);
	}
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%zu %.*s", len, (int)path.len, path.data);
	return torc_http_respond_text(x, 200, text);
}

static void listening(const char *address, void *arg)
{
	(void)arg;
	snprintf(test.address, sizeof(test.address), "%s",
		 strstr(address, "://") ? strstr(address, "://") + 3 : address);
	torc_event_set(&test.listening);
}

static int serve(void *arg)
{
	static const char *const addresses[] = { "127.0.0.1:0", NULL };

	(void)arg;
	return torc_http_serve(&(struct torc_http_options){ .addresses = addresses,
							    .handler = answer,
							    .requests_max = 20,
							    .idle_ns = TORC_MS(2),
							    .on_listen = listening });
}

static int ask(uint64_t *seed)
{
	static const char zeros[40000];
	char url[TORC_ADDRESS_MAX + 32], expected[64];
	unsigned number = (unsigned)(next_random(seed) % 1000000);
	struct torc_http_request q = { .url = url, .method = "PUT", .body = zeros };
	struct torc_http_response *res;
	struct torc_slice body;
	int r;

	q.body_len = next_random(seed) % 3 ? number % 100 : number % sizeof(zeros);
	snprintf(url, sizeof(url), "http://%s/%u", test.address, number);
	snprintf(expected, sizeof(expected), "%zu /%u", q.body_len, number);
	r = torc_http_request(test.client, &q, &res);
	if (r < 0)
		return r;
	r = torc_http_response_read(res, 1000, &body);
	if (!r) {
		check_eq(torc_http_response_status(res), 200);
		check(body.len == strlen(expected) && !memcmp(body.data, expected, body.len));
	}
	torc_http_response_close(res);
	return r;
}

static int ask_on(void *arg)
{
	uint64_t seed = test.seed + 1000 * (uint64_t)(uintptr_t)arg;

	while (torc_now_ns() < test.end_ns) {
		struct torc_scope scope;
		int r;

		torc_scope_enter(&scope,
				 next_random(&seed) % 4 ? TORC_NEVER : next_random(&seed) % 300000);
		r = ask(&seed);
		torc_scope_leave(&scope);
		check(r != -EBADMSG && r != -EINTR);
		(void)tally(&test.tally, r);
		if (next_random(&seed) % 50 == 0)
			(void)!torc_sleep(TORC_MS(2)); /* as long as the server keeps it */
	}
	return 0;
}

static int ask_everywhere(void)
{
	struct torc_group g;
	int r = 0;

	torc_group_enter(&g);
	for (int i = 0; !r && i < LOOPS * FIBERS; i++)
		r = torc_group_spawn_with(&g,
					  &(struct torc_spawn_options){
						  .loop = TORC_ON_LOOP(i % LOOPS) },
					  ask_on, (void *)(uintptr_t)i);
	check_eq(r, 0);
	return torc_group_wait(&g);
}

static int app(void *arg)
{
	const struct torc_http_client_options o = { .origin_max = 3, .no_environment = true };
	struct torc_group g;
	int rounds = 0;

	(void)arg;
	torc_event_init(&test.listening);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, serve, NULL), 0);
	check_eq(torc_event_wait(&test.listening), 0);
	for (test.end_ns = 0; test.tally.done < ENOUGH || !rounds; rounds++) {
		test.end_ns = torc_now_ns() + TORC_SECONDS(1) * test.seconds / 2;
		check_eq(torc_http_client_open(&o, &test.client), 0);
		check_eq(ask_everywhere(), 0);
		torc_http_client_close(test.client);
	}
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	torc_event_done(&test.listening);
	return rounds;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		test.seconds = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		test.seed = strtoull(argv[2], NULL, 10);
	return run_rounds(LOOPS, app, &test.tally, "requests");
}
