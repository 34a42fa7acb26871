/*
 * tests/sim/pair.h - two streams, one at each end of a connection: a fiber writes and one reads, each in each direction, and
 * each call may be cut short by a deadline and tried again.
 *
 * Checked: what is read is what was written, nothing missing and nothing twice, however often a read ran out of time; a
 * reader that got the end got everything; a failed call of exact length says so.
 */
#ifndef TESTS_SIM_PAIR_H
#define TESTS_SIM_PAIR_H

#include <stdlib.h>

#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "tests/sim/serving.h"

/* One direction. */
struct way {
	struct torc_stream *from, *to;
	unsigned number;
	size_t written; /* bytes that a write took, or some of which it may have */
	size_t read;
	bool ended, failed;
};

#define WRITE_MOST 40000u
#define TOTAL_MOST 200000u

/* --- writing --- */

/* After a write that failed, or ran out of time in the middle, nothing more can be known. */
static inline int write_once(struct way *w, const char *bytes, size_t len)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, one_in(4) ? some_time() : TORC_NEVER);
	w->written += len;
	r = torc_stream_write(w->from, bytes, len);
	torc_scope_leave(&scope);
	check(r <= 0 && r != -EINTR && r != -EAGAIN);
	return r;
}

static inline int write_way(struct way *w)
{
	char *bytes = malloc(WRITE_MOST);
	int r = 0;

	/* From 16 KiB on they are sent from where they are. */
	for (unsigned n = dice(20); n && !r && w->written < TOTAL_MOST; n--) {
		size_t len = 1 + dice(one_in(5) ? WRITE_MOST : 2000);

		fill_bytes(bytes, len, w->number, w->written);
		r = write_once(w, bytes, len);
		if (one_in(4))
			(void)do_something();
	}
	free(bytes);
	return r;
}

static inline int writer(void *arg)
{
	struct way *w = arg;
	int r = write_way(w);

	if (!r)
		r = torc_stream_flush(w->from);
	if (!r)
		r = torc_stream_shutdown(w->from);
	w->failed = r < 0;
	return 0;
}

/* --- reading --- */

static inline void take(struct way *w, const char *bytes, size_t len)
{
	check_le(w->read + len, w->written);
	check_bytes(bytes, len, w->number, w->read);
	w->read += len;
}

static inline int read_some(struct way *w)
{
	char buf[3000];
	int r = torc_stream_read(w->to, buf, 1 + dice(sizeof(buf)));

	if (r > 0)
		take(w, buf, (size_t)r);
	return r;
}

static inline int peek_some(struct way *w)
{
	struct torc_slice in;
	int r = torc_stream_peek(w->to, &in);
	size_t len;

	if (r <= 0)
		return r;
	len = 1 + dice((unsigned)in.len);
	take(w, in.data, len);
	torc_stream_consume(w->to, len);
	return 1;
}

static inline int fill_some(struct way *w)
{
	size_t least = 1 + dice(one_in(4) ? 20000 : 200);
	struct torc_slice in;
	int r = torc_stream_fill(w->to, least, &in);

	if (r < 0)
		return r;
	if (r)
		check_ge(in.len, least);
	take(w, in.data, in.len);
	torc_stream_consume(w->to, in.len);
	return r;
}

static inline int find_some(struct way *w)
{
	struct torc_slice in;
	int r = torc_stream_read_until(w->to, 'm', 1 + dice(300), &in);

	if (r < 0)
		return r == -EMSGSIZE ? read_some(w) : r;
	if (r)
		check_eq(in.data[in.len - 1], 'm');
	take(w, in.data, in.len);
	torc_stream_consume(w->to, in.len);
	return r;
}

static inline int read_once(struct way *w)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, one_in(3) ? some_time() : TORC_NEVER);
	switch (dice(4)) {
	case 0: r = peek_some(w); break;
	case 1: r = fill_some(w); break;
	case 2: r = find_some(w); break;
	default: r = read_some(w); break;
	}
	torc_scope_leave(&scope);
	check(r != -EINTR && r != -EAGAIN);
	return r;
}

static inline int reading(void *arg)
{
	struct way *w = arg;
	int r;

	do {
		r = read_once(w);
		if (one_in(6))
			(void)do_sleep(some_time());
	} while (r > 0 || (is_stop(r) && torc_scope_status() == 0));
	w->ended = r == 0;
	return 0;
}

/* --- both --- */

static inline void run_ways(struct way *ways)
{
	struct torc_group group;

	torc_group_enter_supervisor(&group);
	for (int i = 0; i < 2; i++) {
		(void)any_of_spawn(torc_group_spawn(&group, writer, &ways[i]));
		(void)any_of_spawn(torc_group_spawn(&group, reading, &ways[i]));
	}
	/* A side whose peer was never started, or has given up, would wait for ever. */
	(void)do_sleep(one_in(3) ? some_time() : TORC_SECONDS(5));
	torc_group_cancel(&group);
	(void)any_of_spawn(torc_group_wait(&group));
}

static inline void check_ways(const struct way *ways)
{
	for (int i = 0; i < 2; i++)
		if (ways[i].ended && !ways[i].failed)
			check_eq(ways[i].read, ways[i].written);
}

static inline bool open_ends(struct torc_stream *a, struct torc_stream *b)
{
	int fds[2];

	if (torc_sys_socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return false;
	if (torc_stream_open(a, fds[0]) == 0 && torc_stream_open(b, fds[1]) == 0)
		return true;
	torc_close(fds[0]);
	torc_close(fds[1]);
	return false;
}

/* Nobody reads what is unsent. */
static inline void close_ends(struct torc_stream *a, struct torc_stream *b)
{
	struct torc_scope scope;

	torc_scope_enter(&scope, TORC_SECONDS(1));
	(void)torc_stream_close(a);
	(void)torc_stream_close(b);
	torc_scope_leave(&scope);
}

static inline int pair_scenario(void *arg)
{
	struct torc_stream a, b;
	struct way ways[2] = { { .from = &a, .to = &b, .number = 3 },
			       { .from = &b, .to = &a, .number = 4 } };

	(void)arg;
	if (!open_ends(&a, &b))
		return 0;
	run_ways(ways);
	check_ways(ways);
	close_ends(&a, &b);
	return 0;
}

#endif
