/*
 * A connection that the peer resets, in each state that a call may find it in, or wait in. It is told as an error, never as an end: or
 * half a message would be taken for a whole one.
 */
#include "tests/io/run.h"

#include "tests/io/files.h"

TestSuite(reset, .timeout = 60);

#define MUCH (8 << 20) /* more than any socket's buffers */

static char much[MUCH];

struct connection {
	struct torc_stream s;
	int fd[2];
	int file;
};

/* --- what is under way --- */

static int in_peek(void *arg)
{
	struct connection *c = arg;
	struct torc_slice in;

	return torc_stream_peek(&c->s, &in);
}

static int in_read_exact(void *arg)
{
	struct connection *c = arg;
	char buf[10];

	return torc_stream_read_exact(&c->s, buf, sizeof(buf));
}

static int in_fill(void *arg)
{
	struct connection *c = arg;
	struct torc_slice in;

	return torc_stream_fill(&c->s, 100, &in);
}

static int in_read_line(void *arg)
{
	struct connection *c = arg;
	struct torc_slice in;

	return torc_stream_read_line(&c->s, 100, &in);
}

static int in_write(void *arg)
{
	struct connection *c = arg;

	return torc_stream_write(&c->s, much, MUCH);
}

static int in_many_writes(void *arg)
{
	struct connection *c = arg;
	int r = 0;

	for (int i = 0; !r && i < MUCH / 1000; i++)
		r = torc_stream_write(&c->s, much, 1000);
	return r ? r : torc_stream_flush(&c->s);
}

static int in_recv(void *arg)
{
	struct connection *c = arg;
	char byte;

	return torc_recv(c->fd[0], &byte, 1, 0);
}

/* To the end: a short count is the failure's beginning. */
static int in_send(void *arg)
{
	struct connection *c = arg;
	int r;

	do
		r = torc_send(c->fd[0], much, MUCH, MSG_WAITALL);
	while (r > 0 && r < MUCH);
	return r;
}

static int in_send_zc(void *arg)
{
	struct connection *c = arg;
	int r;

	do
		r = torc_send_zc(c->fd[0], much, MUCH, MSG_WAITALL);
	while (r > 0 && r < MUCH);
	return r;
}

static int in_sendfile(void *arg)
{
	struct connection *c = arg;
	off_t at = 0;
	int r;

	while ((r = torc_sendfile(c->fd[0], c->file, at, MUCH)) > 0)
		at += r;
	check_lt(at, MUCH);
	/* io/file.h: the call that was cut short has had the error */
	return at && r == -EPIPE ? -ECONNRESET : r;
}

enum half { NEITHER, OURS, PEERS };

static const struct state {
	torc_fn *call;
	bool reads, stream;
} states[] = {
	{ in_peek, true, true },      { in_read_exact, true, true },
	{ in_fill, true, true },      { in_read_line, true, true },
	{ in_write, false, true },    { in_many_writes, false, true },
	{ in_recv, true, false },     { in_send, false, false },
	{ in_send_zc, false, false }, { in_sendfile, false, false },
};

/* --- the reset --- */

static void connect_both(struct connection *c, const struct state *state, enum half half)
{
	char byte;

	tcp_pair(c->fd);
	if (state->stream)
		check_eq(torc_stream_open(&c->s, c->fd[0]), 0);
	if (half == OURS)
		check_eq(torc_shutdown(c->fd[0], SHUT_WR), 0);
	if (half != PEERS)
		return;
	check_eq(torc_shutdown(c->fd[1], SHUT_WR), 0);
	check_eq(state->stream ? torc_stream_read(&c->s, &byte, 1)
			       : torc_recv(c->fd[0], &byte, 1, 0),
		 0);
}

static void check_result(const struct state *state, enum half half, int r)
{
	if (state->reads)
		check_eq(r, -ECONNRESET);
	else if (half == PEERS)
		check(r == -EPIPE || r == -ECONNRESET);
	else
		check(r == -ECONNRESET || (state->stream && r == -EPIPE)); /* its reader was told */
}

/* Later: nothing can be written, and what is read is no end unless there was one before. */
static void check_after(struct connection *c, const struct state *state, enum half half, int first)
{
	struct torc_slice in;
	int r;

	if (state->stream && half != PEERS)
		check_eq(torc_stream_peek(&c->s, &in), -ECONNRESET);
	if (state->stream && !state->reads) {
		check_eq(torc_stream_write(&c->s, "x", 1), first);
		check_eq(torc_stream_flush(&c->s), first);
	}
	if (!state->stream)
		check_eq(torc_send(c->fd[0], "x", 1, 0), -EPIPE);
	if (!state->stream) {
		torc_close(c->fd[0]);
		return;
	}
	r = torc_stream_close(&c->s);
	check_eq(r, state->reads ? 0 : first);
}

static void reset_in(const struct state *state, enum half half, bool waits, int file)
{
	struct connection c = { .file = file };
	struct waiting w = { .fn = state->call, .arg = &c };
	struct torc_group g;

	connect_both(&c, state, half);
	torc_group_enter(&g);
	if (waits) {
		waiting_start(&g, &w);
		for (int i = 0; i < 20; i++)
			torc_yield();
		check(!w.ended);
		reset_peer(c.fd[1]);
	} else {
		reset_peer(c.fd[1]);
		waiting_start(&g, &w);
	}
	check_eq(torc_group_wait(&g), 0);
	if (w.result != -ECONNRESET && w.result != -EPIPE)
		fprintf(stderr, "state %d, half %d, waits %d: %d\n", (int)(state - states), half,
			waits, w.result);
	check_result(state, half, w.result);
	check_after(&c, state, half, w.result);
}

static int reset_in_each(void *arg)
{
	int file = make_file("contents", much, MUCH);

	(void)arg;
	for (size_t i = 0; i < COUNT(states); i++)
		for (int waits = 0; waits < 2; waits++) {
			reset_in(&states[i], NEITHER, waits, file);
			reset_in(&states[i], states[i].reads ? OURS : PEERS, waits, file);
		}
	torc_close(file);
	return 0;
}

Test(reset, is_an_error_in_each_state_and_never_an_end)
{
	run_in_directory(reset_in_each, NULL);
}

Test(reset, is_so_without_what_newer_kernels_have)
{
	setenv("TORC_DISABLE", "recv_multishot,cqe_skip,splice", 1);
	run_in_directory(reset_in_each, NULL);
}
