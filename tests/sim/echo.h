/*
 * tests/sim/echo.h - an echo server, and clients good and bad: that send and read, that only send, that never read, that
 * leave in the middle, that say nothing.
 *
 * Checked: what comes back is what was sent, in order, up to where a connection ended; what waits to be sent stays
 * within the limits of a stream; no connection outlives its server.
 */
#ifndef TESTS_SIM_ECHO_H
#define TESTS_SIM_ECHO_H

#include "tests/sim/serving.h"

#define UNSENT_MOST  65536u /* torc/io/stream.h */
#define BUFFER_BYTES 4096u

/*
 * Receiving stops at 32 buffers, at the end of a turn: beyond that is what a socket may hold at once, in as small parts
 * as the clients send it.
 */
#define BUFFERS_MOST  56u
#define BUFFERS_CHAOS (CHAOS(SHORT) | CHAOS(BUSY) | CHAOS(RACE) | CHAOS(OVERFLOW) | SLOWS)

/* What TLS adds to the last of it, and says by itself. */
#define UNSENT_MORE 1000u

static inline void check_bounds(const struct torc_stream *stream)
{
	check_le(stream->pending_len + stream->sending_len - stream->sending_offset,
		 stream->above ? UNSENT_MOST + UNSENT_MORE : UNSENT_MOST);
	if (no_chaos(BUFFERS_CHAOS))
		check_le(stream->rx_count, BUFFERS_MOST);
	if (stream->below)
		check_bounds(stream->below);
}

/* Of what has come, two buffers in one piece. No more than these are copied, however many there are. */
static inline int look_further(struct torc_stream *stream, struct torc_slice *in)
{
	size_t least = in->len + 1;
	int r;

	if (stream->rx_count < 2)
		return 1;
	r = torc_stream_fill(stream, least, in);
	if (r > 0)
		check_le(stream->spill_len, least + BUFFER_BYTES);
	return r;
}

static inline int echo_handler(struct torc_stream *stream, void *arg)
{
	struct serving *s = arg;
	struct torc_slice in;
	int r;

	s->connections++;
	if (s->most)
		check_le(s->connections, s->most);
	/* A slow one: what is sent to it has to wait somewhere. */
	if (one_in(8))
		(void)do_sleep(TORC_MS(2));
	while ((r = torc_stream_peek(stream, &in)) > 0 && (r = look_further(stream, &in)) > 0) {
		size_t part =
			in.len > 1 && one_in(4) ? 1 + dice((unsigned)in.len) % in.len : in.len;

		check_bounds(stream);
		r = torc_stream_write(stream, in.data, part);
		if (r < 0)
			break;
		torc_stream_consume(stream, part);
		if (one_in(8) && (r = do_something()) < 0)
			break;
	}
	check(r <= 0 && r != -EINTR && r != -EAGAIN);
	s->connections--;
	s->served++;
	return r;
}

static inline int serve_echo(struct serving *s)
{
	static const char *const tcp[] = { "tcp://127.0.0.1:0", NULL };
	static const char *const local[] = { "unix:/sim.sock", NULL };
	static const char *const both[] = { "tcp://127.0.0.1:0", "unix:/sim.sock", NULL };
	int most = one_in(3) ? 1 + (int)dice(3) : 0;

	s->most = most * torc_loop_count();
	s->grace_ns = one_in(2) ? some_time() : 0;
	return torc_serve_with(&(struct torc_serve_options){
		.addresses = one_in(3)   ? local
			     : one_in(2) ? both
					 : tcp,
		.handler = echo_handler,
		.arg = s,
		.connections_max = (size_t)most,
		.balance = one_in(3) ? TORC_BALANCE_LEAST : TORC_BALANCE_KERNEL,
		.grace_ns = s->grace_ns,
		.on_listen = on_listen,
	});
}

static inline int read_back(struct torc_stream *stream, char *buf, size_t len)
{
	struct torc_slice view;
	int r;

	if (one_in(2))
		return torc_stream_read_exact(stream, buf, len);
	r = torc_stream_fill(stream, len, &view);
	if (r <= 0)
		return r ? r : -EPIPE;
	check_ge(view.len, len);
	memcpy(buf, view.data, len);
	torc_stream_consume(stream, len);
	return 0;
}

static inline int talk(struct torc_stream *stream, unsigned number, unsigned messages,
		       unsigned most)
{
	char out[2048], in[2048];
	size_t offset = 0;
	int r = 0;

	for (; messages && !r; messages--) {
		size_t len = 1 + dice(most);

		fill_bytes(out, len, number, offset);
		r = torc_stream_write(stream, out, len);
		if (!r)
			r = read_back(stream, in, len);
		if (!r)
			check_bytes(in, len, number, offset);
		offset += len;
	}
	return r;
}

/* One that sends a lot before it reads, or instead. */
static inline int flood(struct torc_stream *stream, unsigned number)
{
	static const char zeros[20000];
	char out[3000];
	size_t sent = 0;
	int r = 0;

	if (one_in(2))
		return torc_stream_write(stream, zeros, sizeof(zeros));
	for (unsigned n = dice(one_in(3) ? 150 : 30); n && !r; n--, sent += sizeof(out)) {
		fill_bytes(out, sizeof(out), number, sent);
		r = torc_stream_write(stream, out, sizeof(out));
		check_bounds(stream);
	}
	/* It may all be on its way, and a connection that is closed with what was not read is broken. */
	if (one_in(4))
		(void)do_sleep(TORC_MS(1));
	return r;
}

/* Sends some, says that it is all, and reads until the end: all of it must come back. */
static inline int finish_talking(struct serving *s, struct torc_stream *stream, unsigned number)
{
	char out[2000];
	size_t len = 1 + dice(sizeof(out)), got = 0;
	struct torc_slice in;
	int r;

	fill_bytes(out, len, number, 0);
	r = torc_stream_write(stream, out, len);
	if (!r)
		r = torc_stream_shutdown(stream);
	if (r < 0)
		return r;
	while ((r = torc_stream_peek(stream, &in)) > 0) {
		check_le(got + in.len, len);
		check_bytes(in.data, in.len, number, got);
		got += in.len;
		torc_stream_consume(stream, in.len);
	}
	if (!r && !s->stopping && no_chaos(BREAKS))
		check_eq(got, len);
	return r;
}

static inline int behave(struct serving *s, struct torc_stream *stream, unsigned number)
{
	int r = 0;

	switch (dice(7)) {
	case 0: torc_within(CLIENT_NS) r = flood(stream, number); return r;
	case 1: return do_sleep(some_time());
	case 2: return idle_away(s, stream, false);
	case 3: return finish_talking(s, stream, number);
	default: return talk(stream, number, dice(6), one_in(2) ? 100 : 2000);
	}
}

/* Who floods the server, or is silent, has no right to an answer. */
static inline int behave_patiently(struct serving *s, struct torc_stream *stream, unsigned number)
{
	if (one_in(3))
		return behave(s, stream, number);
	if (one_in(3))
		return served_or_stopped(s, finish_talking(s, stream, number));
	return served_or_stopped(s, talk(stream, number, dice(6), one_in(2) ? 100 : 2000));
}

static inline int echo_visit(struct serving *s, struct torc_stream *stream, unsigned number)
{
	int r = 0;

	if (!one_in(4))
		return behave_patiently(s, stream, number);
	torc_within(some_time()) r = behave(s, stream, number);
	return r;
}

static inline int echo_client(struct serving *s)
{
	return visit(s, echo_visit, dice(1000));
}

static inline int echo_scenario(void *arg)
{
	struct serving s = { .serve = serve_echo, .client = echo_client };

	(void)arg;
	return run_serving(&s);
}

#endif
