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

/* torc/io/stream.h: 64 KiB may wait, and the part under way is some more. */
#define UNSENT_MOST  (65536u + 65536u)
#define BUFFERS_MOST 64u

static inline void check_bounds(const struct torc_stream *stream)
{
	check_le(stream->pending_len + stream->sending_len - stream->sending_offset, UNSENT_MOST);
	check_le(stream->rx_count, BUFFERS_MOST);
}

static inline int echo_handler(struct torc_stream *stream, void *arg)
{
	struct serving *s = arg;
	struct torc_slice in;
	int r;

	s->connections++;
	while ((r = torc_stream_peek(stream, &in)) > 0) {
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

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = one_in(3) ? local : tcp,
		.handler = echo_handler,
		.arg = s,
		.connections_max = one_in(3) ? 1 + dice(3) : 0,
		.grace_ns = one_in(2) ? some_time() : 0,
		.on_listen = on_listen,
	});
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
			r = torc_stream_read_exact(stream, in, len);
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
	for (unsigned n = dice(30); n && !r; n--, sent += sizeof(out)) {
		fill_bytes(out, sizeof(out), number, sent);
		r = torc_stream_write(stream, out, sizeof(out));
	}
	return r;
}

/* Sends some, says that it is all, and reads until the end: all of it must come back. */
static inline int finish_talking(struct torc_stream *stream, unsigned number)
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
	return r;
}

static inline int behave(struct torc_stream *stream, unsigned number)
{
	switch (dice(6)) {
	case 0: return flood(stream, number);
	case 1: return do_sleep(some_time());
	case 2: return finish_talking(stream, number);
	default: return talk(stream, number, dice(6), one_in(2) ? 100 : 2000);
	}
}

static inline int echo_client(struct serving *s)
{
	unsigned number = dice(1000);
	struct torc_stream stream;
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, one_in(4) ? some_time() : CLIENT_NS);
	r = dial(s, &stream);
	if (!r) {
		r = behave(&stream, number);
		check(r <= 0 && r != -EINTR && r != -EAGAIN);
		(void)torc_stream_close(&stream);
	}
	torc_scope_leave(&scope);
	return r;
}

static inline int echo_scenario(void *arg)
{
	struct serving s = { .serve = serve_echo, .client = echo_client };

	(void)arg;
	return run_serving(&s);
}

#endif
