/*
 * tests/sim/streams.h - streams over pipes and over memory, and copies between them: a writer, a chain of copies that are
 * cut short by deadlines and go on, and a reader.
 *
 * Checked: what is read is what was written, nothing missing and nothing twice, up to where something was lost, and then
 * somebody was told; a copy that ended at the end has copied all; what is on its way stays bounded.
 */
#ifndef TESTS_SIM_STREAMS_H
#define TESTS_SIM_STREAMS_H

#include "tests/sim/pair.h"

/* Of a chain of links: what is written at one end of each is read at the other. */
struct chain_link {
	struct torc_stream tx, rx;
};

#define LINKS_MOST 3

struct chain {
	struct chain_link links[LINKS_MOST];
	unsigned count;
	struct way way; /* from the first one's tx to the last one's rx */
	bool broken;    /* a copy has failed, or lost something: it was told */
};

static inline int open_pipe_streams(struct chain_link *l)
{
	int fds[2], r = torc_sys_pipe(fds, 0);

	if (r < 0)
		return r;
	r = torc_stream_open_fds(&l->rx, fds[0], -1);
	if (r < 0) {
		torc_sys_close(fds[0]);
		torc_sys_close(fds[1]);
		return r;
	}
	/* The loop has its buffers by now. */
	check_eq(torc_stream_open_fds(&l->tx, -1, fds[1]), 0);
	return 0;
}

static inline int open_chain_link(struct chain_link *l)
{
	return one_in(2) ? open_pipe_streams(l) : torc_stream_pair(&l->tx, &l->rx);
}

/* One that copies from a link to the next one. */
struct copier {
	struct chain *chain;
	unsigned at;
};

static inline int copy_once(struct torc_stream *to, struct torc_stream *from, uint64_t most,
			    uint64_t *ret_copied)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, one_in(3) ? some_time() : TORC_NEVER);
	r = torc_stream_copy(to, from, most, ret_copied);
	torc_scope_leave(&scope);
	check(r <= 0 && r != -EINTR && r != -EAGAIN);
	return r;
}

static inline int copier_main(void *arg)
{
	struct copier *c = arg;
	struct torc_stream *from = &c->chain->links[c->at].rx;
	struct torc_stream *to = &c->chain->links[c->at + 1].tx;
	uint64_t most, n;
	int r;

	do {
		most = one_in(2) ? 1 + dice(5000) : TORC_STREAM_UNLIMITED;
		r = copy_once(to, from, most, &n);
		check_le(n, most <= INT64_MAX ? most : INT64_MAX);
		if (!r && n < most)
			break; /* the end */
		if (one_in(4))
			(void)do_something();
	} while (!r || (is_stop(r) && torc_scope_status() == 0));
	if (!r)
		r = torc_stream_shutdown(to);
	c->chain->broken |= r < 0;
	return 0;
}

/* As long as nothing breaks or is slow, five seconds are enough for all of it: nobody waits for what has come. */
static inline bool should_have_ended(bool waited)
{
	return waited && torc_scope_status() == 0 && no_chaos(BREAKS | SLOWS);
}

static inline void run_chain(struct chain *c)
{
	struct copier copiers[LINKS_MOST];
	struct torc_group group;
	bool waited;

	torc_group_enter_supervisor(&group);
	(void)any_of_spawn(torc_group_spawn(&group, writer, &c->way));
	(void)any_of_spawn(torc_group_spawn(&group, reading, &c->way));
	for (unsigned i = 0; i + 1 < c->count; i++) {
		copiers[i] = (struct copier){ c, i };
		if (any_of_spawn(torc_group_spawn(&group, copier_main, &copiers[i])) < 0)
			c->broken = true;
	}
	/* A writer whose reader was never started, or has given up, would wait for ever. */
	waited = !one_in(3);
	(void)do_sleep(waited ? TORC_SECONDS(5) : some_time());
	if (should_have_ended(waited))
		check(c->way.ended || c->way.failed || c->broken);
	torc_group_cancel(&group);
	(void)any_of_spawn(torc_group_wait(&group));
}

/* Nobody reads what is unsent. */
static inline void close_chain(struct chain *c)
{
	struct torc_scope scope;

	torc_scope_enter(&scope, TORC_SECONDS(1));
	for (unsigned i = 0; i < c->count; i++) {
		bool reader_first = one_in(2);

		(void)torc_stream_close(reader_first ? &c->links[i].rx : &c->links[i].tx);
		(void)torc_stream_close(reader_first ? &c->links[i].tx : &c->links[i].rx);
	}
	torc_scope_leave(&scope);
}

static inline int streams_scenario(void *arg)
{
	struct chain c = { .count = 0 };

	(void)arg;
	for (unsigned wanted = 1 + dice(LINKS_MOST); c.count < wanted; c.count++)
		if (open_chain_link(&c.links[c.count]) < 0)
			break;
	if (!c.count)
		return 0;
	c.way = (struct way){ .from = &c.links[0].tx, .to = &c.links[c.count - 1].rx, .number = 5 };
	run_chain(&c);
	if (c.way.ended && !c.way.failed && !c.broken)
		check_eq(c.way.read, c.way.written);
	close_chain(&c);
	return 0;
}

/* --- an echo over a pair --- */

static inline int echo_pair(void *arg)
{
	struct torc_stream *s = arg;
	uint64_t n;
	int r = torc_stream_copy(s, s, UINT64_MAX, &n);

	if (!r)
		r = torc_stream_shutdown(s);
	check(r <= 0 && r != -EINTR && r != -EAGAIN);
	return 0;
}

/* What comes back is what was sent, and all of it when both ended well. */
static inline int echo_pair_scenario(void *arg)
{
	struct torc_stream a, b;
	struct torc_scope scope;
	struct torc_group group;
	struct way way = { .from = &a, .to = &a, .number = 6 };
	bool all, waited, a_first;

	(void)arg;
	if (torc_stream_pair(&a, &b) < 0)
		return 0;
	torc_group_enter_supervisor(&group);
	all = any_of_spawn(torc_group_spawn(&group, echo_pair, &b)) == 0;
	all &= any_of_spawn(torc_group_spawn(&group, writer, &way)) == 0;
	all &= any_of_spawn(torc_group_spawn(&group, reading, &way)) == 0;
	waited = !one_in(3);
	(void)do_sleep(waited ? TORC_SECONDS(5) : some_time());
	if (should_have_ended(waited) && all)
		check(way.ended || way.failed);
	torc_group_cancel(&group);
	(void)any_of_spawn(torc_group_wait(&group));
	if (all && way.ended && !way.failed)
		check_eq(way.read, way.written);
	torc_scope_enter(&scope, TORC_SECONDS(1));
	a_first = one_in(2);
	(void)torc_stream_close(a_first ? &a : &b);
	(void)torc_stream_close(a_first ? &b : &a);
	torc_scope_leave(&scope);
	return 0;
}

#endif
