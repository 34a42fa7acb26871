/*
 * adder - a server with a bug that no test over loopback finds, and how the simulator finds it.
 *
 * A request is 8 bytes, two 32-bit numbers in the machine's order; the answer is 4 bytes, their sum. Clients of a fast
 * network send the 8 bytes at once and receive them at once. `serve_wrong` relies on that.
 *
 *	build/examples/adder --scenario wrong		fails within a few seeds, and prints how to run it again
 *	build/examples/adder --scenario right
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

struct request {
	uint32_t a, b;
};

/* The bug: what has arrived need not be a whole request. */
static int serve_wrong(struct torc_stream *s, void *arg)
{
	struct torc_slice in;
	int r;

	(void)arg;
	while ((r = torc_stream_peek(s, &in)) > 0) {
		struct request q = { 0, 0 };
		uint32_t sum;

		memcpy(&q, in.data, in.len < sizeof(q) ? in.len : sizeof(q));
		sum = q.a + q.b;
		torc_stream_consume(s, in.len < sizeof(q) ? in.len : sizeof(q));
		r = torc_stream_write(s, &sum, sizeof(sum));
		if (r < 0)
			break;
	}
	return r;
}

static int serve_right(struct torc_stream *s, void *arg)
{
	struct request q;
	int r;

	(void)arg;
	while ((r = torc_stream_read_exact(s, &q, sizeof(q))) == 0) {
		uint32_t sum = q.a + q.b;

		r = torc_stream_write(s, &sum, sizeof(sum));
		if (r < 0)
			break;
	}
	return r;
}

/* --- what is below runs on the simulator --- */

#define ADDRESS "unix:/adder"

static int server(void *handler)
{
	return torc_serve(ADDRESS, *(torc_serve_fn **)handler, NULL);
}

/* What chaos may do to a connection is no failure; a wrong answer is. */
static int ask(struct torc_stream *s)
{
	struct request q = { (uint32_t)torc_sim_random(1000), (uint32_t)torc_sim_random(1000) };
	uint32_t sum;
	int r = torc_stream_write(s, &q, sizeof(q));

	if (!r)
		r = torc_stream_read_exact(s, &sum, sizeof(sum));
	if (!r && sum != q.a + q.b) {
		fprintf(stderr, "%u + %u is not %u\n", q.a, q.b, sum);
		abort();
	}
	return r;
}

static int dial(struct torc_stream *s)
{
	int r, fd = torc_dial(ADDRESS);

	if (fd < 0)
		return fd;
	r = torc_stream_open(s, fd);
	if (r < 0)
		torc_close(fd);
	return r;
}

static int client(void *arg)
{
	struct torc_stream s;
	struct torc_scope scope;
	int r;

	(void)arg;
	torc_scope_enter(&scope, TORC_SECONDS(10));
	while ((r = dial(&s)) < 0 && torc_sleep(TORC_MS(10)) == 0)
		; /* until it listens */
	if (r == 0) {
		for (int i = 0; i < 5 && r == 0; i++)
			r = ask(&s);
		(void)!torc_stream_close(&s);
	}
	torc_scope_leave(&scope);
	return 0;
}

static int scenario(void *handler)
{
	struct torc_group servers, clients;
	int r;

	torc_group_enter_supervisor(&servers);
	r = torc_group_spawn(&servers, server, handler);
	torc_group_enter_supervisor(&clients);
	for (int i = 0; i < 3 && r == 0; i++)
		r = torc_group_spawn(&clients, client, NULL);
	(void)!torc_group_wait(&clients);
	torc_group_cancel(&servers);
	(void)!torc_group_wait(&servers);
	return r;
}

int main(int argc, char **argv)
{
	static torc_serve_fn *wrong = serve_wrong, *right = serve_right;
	const struct torc_sim_scenario scenarios[] = {
		{ .name = "wrong", .fn = scenario, .arg = &wrong },
		{ .name = "right", .fn = scenario, .arg = &right },
		{ .name = NULL },
	};

	return torc_sim_main(argc, argv, scenarios);
}
