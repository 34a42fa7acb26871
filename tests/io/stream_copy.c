/*
 * Copies from stream to stream: of every kind to every other one, by splice(2) and without.
 */
#include "tests/io/run.h"

#include <torc/core/fiber.h>

#include "io/internal/stream.h"

TestSuite(stream_copy, .timeout = 120);

static const struct torc_options few_buffers = { .recv_buffers = 8 };

static void run_both(torc_fn *fn, void *arg)
{
	run(fn, arg);
	setenv("TORC_DISABLE", "splice", 1);
	check_eq(run_with(&few_buffers, fn, arg), 0);
	unsetenv("TORC_DISABLE");
}

static bool splices(void)
{
	return !getenv("TORC_DISABLE");
}

/* --- links: what is written at one end is read at the other --- */

enum kind {
	TCP,
	UNIX,
	PIPE,
	MEMORY,
	KINDS,
};

struct link {
	struct torc_stream tx, rx;
};

static void open_link(struct link *l, int kind)
{
	int fd[2];

	if (kind == MEMORY) {
		check_eq(torc_stream_pair(&l->tx, &l->rx), 0);
	} else if (kind == PIPE) {
		check_eq(pipe2(fd, O_CLOEXEC), 0);
		check_eq(torc_stream_open_fds(&l->rx, fd[0], -1), 0);
		check_eq(torc_stream_open_fds(&l->tx, -1, fd[1]), 0);
	} else {
		(kind == TCP ? tcp_pair : unix_pair)(fd);
		check_eq(torc_stream_open(&l->rx, fd[0]), 0);
		check_eq(torc_stream_open(&l->tx, fd[1]), 0);
	}
}

/* Whatever is lost then. */
static void close_link(struct link *l)
{
	struct torc_scope t;

	torc_scope_enter(&t, 0);
	(void)torc_stream_close(&l->tx);
	(void)torc_stream_close(&l->rx);
	torc_scope_leave(&t);
}

struct pump {
	struct torc_stream *s;
	uint64_t seed, at, total;
	uint32_t most;
	bool slow;
};

static int pump_write(void *arg)
{
	struct pump *p = arg;
	char *buf = malloc(p->most);
	int r = 0;

	while (!r && p->at < p->total) {
		size_t len = 1 + next_random(&p->seed) % p->most;

		len = len < p->total - p->at ? len : p->total - p->at;
		fill_bytes(buf, len, 1, p->at);
		r = torc_stream_write(p->s, buf, len);
		p->at += r ? 0 : len;
		if (!r && !(next_random(&p->seed) % 4))
			r = torc_yield();
	}
	free(buf);
	return r ? r : torc_stream_shutdown(p->s);
}

/* All that comes is a piece of the same stream of bytes, from `at` on. */
static int pump_read(void *arg)
{
	struct pump *p = arg;
	struct torc_slice in;
	int r;

	while ((r = torc_stream_peek(p->s, &in)) > 0) {
		check(same_bytes(in.data, in.len, 1, p->at));
		p->at += in.len;
		torc_stream_consume(p->s, in.len);
		if (p->slow)
			(void)!torc_sleep(20000);
	}
	return r;
}

/* --- every kind to every kind --- */

static void copy_between(int from_kind, int to_kind, uint64_t seed)
{
	enum { TOTAL = 700000 };
	struct link from, to;
	struct pump tx = { &from.tx, seed, 0, TOTAL, seed % 2 ? 40000 : 3000, false };
	struct pump rx = { &to.rx, seed, 0, 0, 0, seed % 3 == 0 };
	struct torc_slice in;
	struct torc_group g;
	uint64_t n = 7;
	char buf[8000];

	open_link(&from, from_kind);
	open_link(&to, to_kind);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &tx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	/* some is read before, and what is written on is still unsent; more has been received */
	check_eq(torc_stream_read_exact(&from.rx, buf, sizeof(buf)), 0);
	check(same_bytes(buf, sizeof(buf), 1, 0));
	check_eq(torc_stream_peek(&from.rx, &in), 1);
	check_eq(torc_stream_write(&to.tx, buf, sizeof(buf)), 0);
	check_eq(torc_stream_copy(&to.tx, &from.rx, UINT64_MAX, &n), 0);
	check_eq(n, TOTAL - sizeof(buf));
	check_eq(torc_stream_peek(&from.rx, &in), 0);
	check_eq(torc_stream_copy(&to.tx, &from.rx, UINT64_MAX, &n), 0);
	check_eq(n, 0);
	check_eq(torc_stream_shutdown(&to.tx), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.at, TOTAL);
	close_link(&from);
	close_link(&to);
}

static int every_pair(void *arg)
{
	(void)arg;
	for (int from = 0; from < KINDS; from++)
		for (int to = 0; to < KINDS; to++)
			for (uint64_t seed = 1; seed <= 3; seed++)
				copy_between(from, to, seed);
	return 0;
}

Test(stream_copy, from_every_kind_to_every_kind)
{
	run_both(every_pair, NULL);
}

/* The parts of the largest program that copies: proxies and downloads. */
static int temporary_file(void)
{
	char path[] = "/tmp/torc-copy-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	check_ge(fd, 0);
	check_eq(unlink(path), 0);
	return fd;
}

static void copy_file(int kind)
{
	enum { TOTAL = 500000 };
	char *data = malloc(TOTAL);
	int fd = temporary_file(), copy = temporary_file();
	struct torc_stream file, result;
	struct torc_group g;
	struct link l;
	struct pump rx = { .s = &l.rx };
	uint64_t n;

	fill_bytes(data, TOTAL, 1, 0);
	check_eq(write(fd, data, TOTAL), TOTAL);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_eq(torc_stream_open_fds(&file, fd, -1), 0);
	check_eq(torc_stream_open_fds(&result, -1, fcntl(copy, F_DUPFD_CLOEXEC, 3)), 0);
	open_link(&l, kind);
	/* the first half there, and from there into a file; the second half directly */
	torc_group_enter(&g);
	check_eq(torc_stream_copy(&l.tx, &file, 60000, &n), 0);
	check_eq(n, 60000);
	check_eq(torc_stream_copy(&result, &l.rx, 60000, &n), 0);
	check_eq(n, 60000);
	check_eq(torc_stream_copy(&result, &file, 100000, &n), 0);
	check_eq(n, 100000);
	rx.at = 160000;
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	check_eq(torc_stream_copy(&l.tx, &file, UINT64_MAX, &n), 0);
	check_eq(n, TOTAL - 160000);
	check_eq(torc_stream_shutdown(&l.tx), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.at, TOTAL);
	check_eq(torc_stream_close(&result), 0);
	check_eq(torc_stream_close(&file), 0);
	check_eq(pread(copy, data, TOTAL, 0), 160000);
	check(same_bytes(data, 160000, 1, 0));
	close(copy);
	close_link(&l);
	free(data);
}

static int files(void *arg)
{
	(void)arg;
	for (int kind = 0; kind < KINDS; kind++)
		copy_file(kind);
	return 0;
}

Test(stream_copy, to_and_from_files)
{
	run_both(files, NULL);
}

/* --- how much --- */

static void copy_exactly(int from_kind, int to_kind, uint64_t seed)
{
	enum { TOTAL = 300000 };
	struct link from, to;
	struct pump tx = { &from.tx, seed, 0, TOTAL, 9000, false };
	struct pump rx = { &to.rx, seed, 0, 0, 0, false };
	struct torc_group g;
	struct torc_slice in;
	uint64_t at = 0, most, n;

	open_link(&from, from_kind);
	open_link(&to, to_kind);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &tx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	check_eq(torc_stream_copy(&to.tx, &from.rx, 0, &n), 0);
	check_eq(n, 0);
	do {
		bool limit = next_random(&seed) % 3 == 0;

		most = 1 + next_random(&seed) % (next_random(&seed) % 2 ? 200 : 30000);
		if (limit)
			torc_stream_limit(&from.rx, most);
		check_eq(torc_stream_copy(&to.tx, &from.rx, limit ? most + seed % 2 : most, &n), 0);
		check_le(n, most);
		at += n;
		if (limit)
			check_eq(torc_stream_peek(&from.rx, &in), 0);
		torc_stream_limit(&from.rx, TORC_STREAM_UNLIMITED);
		if (n == most && at < TOTAL) {
			check_eq(torc_stream_peek(&from.rx, &in), 1);
			check(same_bytes(in.data, in.len, 1, at));
		}
	} while (n == most);
	check_eq(at, TOTAL);
	check_eq(torc_stream_shutdown(&to.tx), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.at, TOTAL);
	close_link(&from);
	close_link(&to);
}

static int exactly(void *arg)
{
	(void)arg;
	for (int from = 0; from < KINDS; from++)
		for (int to = 0; to < KINDS; to++)
			copy_exactly(from, to, (uint64_t)(from * KINDS + to));
	return 0;
}

Test(stream_copy, as_much_as_was_asked_for_and_not_a_byte_more)
{
	run_both(exactly, NULL);
}

/* A copy in the kernel takes no byte of what is behind its end. */
static int waits_for_the_rest(void *arg)
{
	(void)arg;
	for (int kind = 0; kind < KINDS; kind++) {
		struct link from, to;
		struct torc_scope t;
		uint64_t n = 9;
		char buf[8];

		open_link(&from, kind);
		open_link(&to, UNIX);
		check_eq(torc_stream_write(&from.tx, "abcde", 5), 0);
		torc_scope_enter(&t, TORC_MS(5));
		check_eq(torc_stream_copy(&to.tx, &from.rx, 8, &n), -ETIMEDOUT);
		check_eq(n, 5);
		torc_scope_leave(&t);
		check_eq(torc_stream_read_exact(&to.rx, buf, 5), 0);
		check(!memcmp(buf, "abcde", 5));
		/* both go on: by reads, and by a copy that finds the poll of the first one */
		check_eq(torc_stream_write(&from.tx, "fg", 2), 0);
		check_eq(torc_stream_read_exact(&from.rx, buf, 2), 0);
		check(!memcmp(buf, "fg", 2));
		torc_scope_enter(&t, TORC_MS(1));
		check_eq(torc_stream_copy(&to.tx, &from.rx, 8, &n), -ETIMEDOUT);
		check_eq(torc_stream_copy(&to.tx, &from.rx, 8, &n), -ETIMEDOUT);
		torc_scope_leave(&t);
		check_eq(torc_stream_write(&from.tx, "hij", 3), 0);
		check_eq(torc_stream_copy(&to.tx, &from.rx, 3, &n), 0);
		check_eq(torc_stream_write(&to.tx, "k", 1), 0);
		check_eq(torc_stream_read_exact(&to.rx, buf, 4), 0);
		check(!memcmp(buf, "hijk", 4));
		torc_scope_enter(&t, TORC_NEVER);
		torc_scope_cancel(&t);
		check_eq(torc_stream_write(&from.tx, "l", 1), -ECANCELED);
		check_eq(torc_stream_copy(&to.tx, &from.rx, 3, &n), -ECANCELED);
		check_eq(n, 0);
		torc_scope_leave(&t);
		/* closed with a poll under way */
		torc_scope_enter(&t, TORC_MS(1));
		check_eq(torc_stream_copy(&to.tx, &from.rx, 8, &n), -ETIMEDOUT);
		torc_scope_leave(&t);
		check_eq(torc_stream_close(&from.rx), 0);
		check_eq(torc_stream_close(&from.tx), 0);
		close_link(&to);
	}
	return 0;
}

Test(stream_copy, both_streams_work_on_after_a_copy_that_was_cut_short)
{
	run_both(waits_for_the_rest, NULL);
}

/* --- cancellation at any time --- */

static void cut_short(int from_kind, int to_kind, uint64_t seed)
{
	enum { TOTAL = 400000 };
	struct link from, to;
	struct pump tx = { &from.tx, seed, 0, TOTAL, 20000, false };
	struct pump rx = { &to.rx, seed, 0, 0, 0, true };
	struct torc_group g;
	uint64_t taken = 0, n;
	int r;

	open_link(&from, from_kind);
	open_link(&to, to_kind);
	torc_group_enter_supervisor(&g);
	check_eq(torc_group_spawn(&g, pump_write, &tx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	do {
		struct torc_scope t;

		torc_scope_enter(&t, next_random(&seed) % 150000);
		r = torc_stream_copy(&to.tx, &from.rx, UINT64_MAX, &n);
		torc_scope_leave(&t);
		check(r == 0 || r == -ETIMEDOUT || r == -EPIPE);
		taken += n;
	} while (r == -ETIMEDOUT);
	if (r == 0) {
		check_eq(taken, TOTAL); /* nothing was lost */
		check_eq(torc_stream_shutdown(&to.tx), 0);
	} else {
		/* some of it is on its way to nowhere: nothing comes after that, and `from` goes on behind */
		struct pump rest = { .s = &from.rx, .at = taken };

		check_eq(torc_stream_write(&to.tx, "x", 1), -EPIPE);
		check_eq(pump_read(&rest), 0);
		check_eq(rest.at, TOTAL);
	}
	check_eq(torc_stream_close(&to.tx), r);
	(void)torc_group_wait(&g);
	check_eq(tx.at, TOTAL);
	check_le(rx.at, TOTAL);
	if (!r)
		check_eq(rx.at, TOTAL);
	check_eq(torc_stream_close(&to.rx), 0);
	close_link(&from);
}

static int cut_short_anywhere(void *arg)
{
	(void)arg;
	for (int from = 0; from < KINDS; from++)
		for (int to = 0; to < KINDS; to++)
			for (uint64_t seed = 1; seed <= 6; seed++)
				cut_short(from, to, seed + (uint64_t)(from * 64 + to * 8));
	return 0;
}

Test(stream_copy, one_that_is_cut_short_at_any_time_loses_only_what_it_says)
{
	run_both(cut_short_anywhere, NULL);
}

/* --- failures --- */

struct copying {
	struct torc_stream *to, *from;
	uint64_t n;
	int r;
	bool ended;
};

static int copying(void *arg)
{
	struct copying *c = arg;

	c->r = torc_stream_copy(c->to, c->from, UINT64_MAX, &c->n);
	c->ended = true;
	return 0;
}

static int source_resets(void *arg)
{
	for (int to_kind = 0; to_kind < KINDS; to_kind++)
		for (int sent = 0; sent < 2; sent++) {
			struct torc_stream from;
			struct torc_slice in;
			struct torc_group g;
			struct link to;
			struct copying c = { .to = &to.tx, .from = &from };
			int fd[2];
			char buf[3];

			tcp_pair(fd);
			check_eq(torc_stream_open(&from, fd[0]), 0);
			open_link(&to, to_kind);
			torc_group_enter(&g);
			check_eq(torc_group_spawn(&g, copying, &c), 0);
			if (sent) {
				send_text(fd[1], "abc");
				check_eq(torc_stream_read_exact(&to.rx, buf, 3), 0);
			} else {
				check_eq(torc_sleep(TORC_MS(1)), 0); /* so that it mostly waits */
			}
			reset_peer(fd[1]);
			check_eq(torc_group_wait(&g), 0);
			check_eq(c.r, -ECONNRESET);
			check_eq(c.n, sent ? 3 : 0);
			/* it sticks, and it is no end */
			check_eq(torc_stream_peek(&from, &in), -ECONNRESET);
			check_eq(torc_stream_copy(&to.tx, &from, 10, NULL), -ECONNRESET);
			/* the other one has not failed */
			check_eq(torc_stream_write(&to.tx, "def", 3), 0);
			check_eq(torc_stream_read_exact(&to.rx, buf, 3), 0);
			check(!memcmp(buf, "def", 3));
			check_eq(torc_stream_close(&to.tx), 0);
			check_eq(torc_stream_close(&to.rx), 0);
			check_eq(torc_stream_close(&from), 0);
		}
	(void)arg;
	return 0;
}

Test(stream_copy, a_source_that_is_reset_is_an_error_that_sticks)
{
	run_both(source_resets, NULL);
}

static int endless(void *arg)
{
	static const char data[5000];
	int r = 0;

	while (!r)
		r = torc_stream_write(arg, data, sizeof(data));
	check(r == -ECANCELED || r == -EPIPE || r == -ECONNRESET);
	return 0;
}

static int target_resets(void *arg)
{
	for (int from_kind = 0; from_kind < KINDS; from_kind++)
		for (int full = 0; full < 2; full++) {
			struct torc_stream to;
			struct torc_group g, writers;
			struct link from;
			struct copying c = { .to = &to, .from = &from.rx };
			char buf[1000];
			int fd[2];

			tcp_pair(fd);
			check_eq(torc_stream_open(&to, fd[0]), 0);
			open_link(&from, from_kind);
			torc_group_enter(&writers);
			check_eq(torc_group_spawn(&writers, endless, &from.tx), 0);
			torc_group_enter(&g);
			check_eq(torc_group_spawn(&g, copying, &c), 0);
			check_eq(torc_recv(fd[1], buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
			if (full) /* until it waits for the reader */
				check_eq(torc_sleep(TORC_MS(20)), 0);
			reset_peer(fd[1]);
			check_eq(torc_group_wait(&g), 0);
			check(c.r == -ECONNRESET || c.r == -EPIPE);
			check_eq(torc_stream_write(&to, "x", 1), c.r);
			check_eq(torc_stream_flush(&to), c.r);
			/* what is left can be read */
			check_eq(torc_stream_read_exact(&from.rx, buf, sizeof(buf)), 0);
			torc_group_cancel(&writers);
			(void)torc_group_wait(&writers);
			check_eq(torc_stream_close(&to), c.r);
			close_link(&from);
		}
	(void)arg;
	return 0;
}

Test(stream_copy, a_target_that_is_reset_is_an_error_that_sticks)
{
	run_both(target_resets, NULL);
}

/* Of a connection that failed, the send has heard; what is read from it then must not seem to have ended. */
static int failed_by_a_send(void *arg)
{
	for (int waiting = 0; waiting < 2; waiting++) {
		struct torc_stream from;
		struct torc_group g;
		struct link to;
		struct copying c = { .to = &to.tx, .from = &from };
		int fd[2];

		tcp_pair(fd);
		check_eq(torc_stream_open(&from, fd[0]), 0);
		open_link(&to, TCP);
		torc_group_enter(&g);
		if (waiting) {
			check_eq(torc_group_spawn(&g, copying, &c), 0);
			check_eq(torc_sleep(TORC_MS(1)), 0);
		}
		/* as if it had been the send that was told */
		torc__stream_tx_failed(&from, -ECONNRESET);
		if (!waiting) {
			shutdown(fd[1], SHUT_WR);
			check_eq(torc_group_spawn(&g, copying, &c), 0);
		}
		check_eq(torc_group_wait(&g), 0);
		check_eq(c.r, -ECONNRESET);
		check_eq(torc_stream_close(&from), -ECONNRESET);
		close(fd[1]);
		close_link(&to);
	}
	(void)arg;
	return 0;
}

Test(stream_copy, a_source_that_failed_to_the_sender_has_not_ended)
{
	run_both(failed_by_a_send, NULL);
}

/* --- proxies --- */

/* One direction of a proxy. */
static int relay(void *arg)
{
	struct copying *c = arg;
	int r = torc_stream_copy(c->to, c->from, UINT64_MAX, &c->n);

	return r ? r : torc_stream_shutdown(c->to);
}

/* The program behind it: sends back what it gets. By a copy to itself. */
static int echoing(void *arg)
{
	struct torc_stream *s = arg;
	uint64_t n;
	int r = torc_stream_copy(s, s, UINT64_MAX, &n);

	return r ? r : torc_stream_shutdown(s);
}

struct proxied {
	struct torc_stream client, front, back, server;
	struct copying there, again;
	struct pump tx, rx;
};

static void start_proxied(struct torc_group *g, struct proxied *p, unsigned i)
{
	int front[2], back[2];

	(i % 2 ? tcp_pair : unix_pair)(front);
	(i % 3 ? tcp_pair : unix_pair)(back);
	check_eq(torc_stream_open(&p->client, front[0]), 0);
	check_eq(torc_stream_open(&p->front, front[1]), 0);
	check_eq(torc_stream_open(&p->back, back[0]), 0);
	check_eq(torc_stream_open(&p->server, back[1]), 0);
	p->there = (struct copying){ .to = &p->back, .from = &p->front };
	p->again = (struct copying){ .to = &p->front, .from = &p->back };
	p->tx = (struct pump){ &p->client, i, 0, 1 + 30000 * i, 1 + 3000 * (i % 12), false };
	p->rx = (struct pump){ .s = &p->client, .slow = i % 5 == 0 };
	check_eq(torc_group_spawn(g, relay, &p->there), 0);
	check_eq(torc_group_spawn(g, relay, &p->again), 0);
	check_eq(torc_group_spawn(g, echoing, &p->server), 0);
	check_eq(torc_group_spawn(g, pump_write, &p->tx), 0);
	check_eq(torc_group_spawn(g, pump_read, &p->rx), 0);
}

static int proxies(void *arg)
{
	enum { PROXIES = 40 }; /* more than there are pipes at hand */
	struct proxied *p = calloc(PROXIES, sizeof(*p));
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (unsigned i = 0; i < PROXIES; i++)
		start_proxied(&g, &p[i], i);
	check_eq(torc_group_wait(&g), 0);
	for (unsigned i = 0; i < PROXIES; i++) {
		check_eq(p[i].rx.at, p[i].tx.total);
		check_eq(p[i].there.n, p[i].tx.total);
		check_eq(p[i].again.n, p[i].tx.total);
		check_eq(torc_stream_close(&p[i].client), 0);
		check_eq(torc_stream_close(&p[i].front), 0);
		check_eq(torc_stream_close(&p[i].back), 0);
		check_eq(torc_stream_close(&p[i].server), 0);
	}
	free(p);
	return 0;
}

Test(stream_copy, two_of_them_are_a_proxy)
{
	run_both(proxies, NULL);
}

static int cancelled_proxies(void *arg)
{
	enum { PROXIES = 30 };
	struct proxied *p = calloc(PROXIES, sizeof(*p));
	struct torc_group g;

	for (uint64_t ns = 100000; ns < 20000000; ns *= 2) {
		torc_group_enter(&g);
		for (unsigned i = 0; i < PROXIES; i++)
			start_proxied(&g, &p[i], i + 5);
		check_eq(torc_sleep(ns), 0);
		torc_group_cancel(&g);
		(void)torc_group_wait(&g);
		for (unsigned i = 0; i < PROXIES; i++) {
			struct torc_scope t;

			torc_scope_enter(&t, 0);
			(void)torc_stream_close(&p[i].client);
			(void)torc_stream_close(&p[i].front);
			(void)torc_stream_close(&p[i].back);
			(void)torc_stream_close(&p[i].server);
			torc_scope_leave(&t);
		}
	}
	free(p);
	(void)arg;
	return 0;
}

Test(stream_copy, proxies_that_are_cancelled_leave_nothing_behind)
{
	run_both(cancelled_proxies, NULL);
}

/* --- no descriptors --- */

static int without_descriptors(void *arg)
{
	struct rlimit before, none;
	struct link from, to;
	struct pump tx = { &from.tx, 1, 0, 300000, 9000, false }, rx = { .s = &to.rx };
	struct torc_group g;
	uint64_t n;
	int next;

	(void)arg;
	open_link(&from, TCP);
	open_link(&to, TCP);
	next = fcntl(0, F_DUPFD_CLOEXEC, 0);
	close(next);
	check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)next;
	check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &tx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	check_eq(torc_stream_copy(&to.tx, &from.rx, UINT64_MAX, &n), 0);
	check_eq(n, tx.total);
	check_eq(torc_stream_shutdown(&to.tx), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.at, tx.total);
	check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	close_link(&from);
	close_link(&to);
	return 0;
}

Test(stream_copy, without_a_descriptor_for_a_pipe_memory_will_do)
{
	run_both(without_descriptors, NULL);
}

/* Connections that wait have no pipe of their own, and those at hand are few. */
static int idle_ones(void *arg)
{
	enum { IDLE = 50 };
	struct copying *c = calloc(IDLE, sizeof(*c));
	struct link *from = calloc(IDLE, sizeof(*from)), *to = calloc(IDLE, sizeof(*to));
	struct torc_group g;
	int before;
	char byte;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < IDLE; i++) {
		open_link(&from[i], UNIX);
		open_link(&to[i], UNIX);
	}
	before = count_fds();
	for (int i = 0; i < IDLE; i++) {
		c[i] = (struct copying){ .to = &to[i].tx, .from = &from[i].rx };
		check_eq(torc_group_spawn(&g, copying, &c[i]), 0);
		check_eq(torc_stream_write(&from[i].tx, "x", 1), 0);
	}
	for (int i = 0; i < IDLE; i++)
		check_eq(torc_stream_read_exact(&to[i].rx, &byte, 1), 0);
	check_le(count_fds() - before, splices() ? 32 : 0);
	check_ge(count_fds() - before, splices() ? 2 : 0); /* it is the kernel that copies */
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < IDLE; i++) {
		check_eq(c[i].r, -ECANCELED);
		close_link(&from[i]);
		close_link(&to[i]);
	}
	free(c);
	free(from);
	free(to);
	return 0;
}

Test(stream_copy, connections_that_wait_hold_no_pipe)
{
	run_both(idle_ones, NULL);
}

/* --- a server that drains --- */

static char bound[TORC_ADDRESS_MAX];
static int served_result;

static int serve_by_copy(struct torc_stream *s, void *arg)
{
	(void)arg;
	served_result = torc_stream_copy(s, s, UINT64_MAX, NULL);
	return served_result;
}

static void on_listen(const char *address, void *arg)
{
	(void)arg;
	strcpy(bound, address);
}

static int server(void *arg)
{
	const char *const addresses[] = { "127.0.0.1:0", NULL };

	(void)arg;
	return torc_serve_with(&(struct torc_serve_options){
		.addresses = addresses,
		.handler = serve_by_copy,
		.on_listen = on_listen,
		.grace_ns = TORC_SECONDS(60),
	});
}

static int draining(void *arg)
{
	struct torc_spawn_options o;
	struct torc_group g;
	struct torc_task task;
	uint64_t start;
	char buf[4];
	int fd;

	(void)arg;
	bound[0] = '\0';
	served_result = 1;
	o = (struct torc_spawn_options){ .task = &task };
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, &o, server, NULL), 0);
	while (!bound[0])
		check_eq(torc_yield(), 0);
	fd = torc_dial(bound);
	check_ge(fd, 0);
	check_eq(torc_send(fd, "ping", 4, 0), 4);
	check_eq(torc_recv(fd, buf, 4, MSG_WAITALL), 4);
	start = torc_now_ns();
	torc_task_cancel(&task);
	check_eq(torc_task_join(&task), 0);
	check_le(torc_now_ns() - start, TORC_SECONDS(20)); /* not its grace period */
	check_eq(served_result, -ECANCELED);
	check_eq(torc_recv(fd, buf, 1, 0), 0);
	torc_close(fd);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(stream_copy, a_server_that_drains_ends_one_that_waits)
{
	run_both(draining, NULL);
}

/* --- to two --- */

static void tee_to(int kind, int also_kind, uint64_t seed)
{
	enum { TOTAL = 300000 };
	struct link from, to, also;
	struct pump tx = { &from.tx, seed, 0, TOTAL, 30000, false };
	struct pump rx = { .s = &to.rx, .slow = seed % 2 }, rx2 = { .s = &also.rx };
	struct torc_slice in;
	struct torc_group g;
	uint64_t n;

	open_link(&from, (int)(seed % KINDS));
	open_link(&to, kind);
	open_link(&also, also_kind);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &tx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx2), 0);
	check_eq(torc_stream_tee(&to.tx, &also.tx, &from.rx, 0, &n), 0);
	check_eq(n, 0);
	check_eq(torc_stream_tee(&to.tx, &also.tx, &from.rx, 12345, &n), 0);
	check_eq(n, 12345);
	check_eq(torc_stream_peek(&from.rx, &in), 1);
	check(same_bytes(in.data, in.len, 1, 12345));
	check_eq(torc_stream_tee(&to.tx, &also.tx, &from.rx, UINT64_MAX, &n), 0);
	check_eq(n, TOTAL - 12345);
	check_eq(torc_stream_shutdown(&to.tx), 0);
	check_eq(torc_stream_shutdown(&also.tx), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.at, TOTAL);
	check_eq(rx2.at, TOTAL);
	close_link(&from);
	close_link(&to);
	close_link(&also);
}

/* The second one stands still, and the tee is cut short: the first must not get anything twice. */
static void tee_cut_short(void)
{
	struct link from, to, also;
	struct pump tx = { &from.tx, 1, 0, 400000, 9000, false };
	struct pump rx = { .s = &to.rx }, rest = { .s = &from.rx };
	struct torc_scope t;
	struct torc_group g;
	uint64_t n;

	open_link(&from, MEMORY);
	open_link(&to, MEMORY);
	open_link(&also, MEMORY);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &tx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	torc_scope_enter(&t, TORC_MS(20));
	check_eq(torc_stream_tee(&to.tx, &also.tx, &from.rx, UINT64_MAX, &n), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_stream_flush(&to.tx), 0);
	check_eq(torc_stream_write(&also.tx, "x", 1), -EPIPE);
	check_eq(torc_stream_copy(&to.tx, &from.rx, UINT64_MAX, &rest.at), 0);
	check_eq(n + rest.at, tx.total);
	check_eq(torc_stream_shutdown(&to.tx), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(rx.at, tx.total);
	close_link(&from);
	close_link(&to);
	close_link(&also);
}

static int tee_failing(void)
{
	struct link from, to, also;
	uint64_t n;

	open_link(&from, UNIX);
	open_link(&to, UNIX);
	open_link(&also, MEMORY);
	check_eq(torc_stream_close(&also.rx), 0);
	check_eq(torc_stream_write(&from.tx, "abc", 3), 0);
	check_eq(torc_stream_shutdown(&from.tx), 0);
	check_eq(torc_stream_tee(&to.tx, &also.tx, &from.rx, UINT64_MAX, &n), -EPIPE);
	check_eq(n, 3);
	check_eq(torc_stream_close(&also.tx), -EPIPE);
	close_link(&from);
	close_link(&to);
	return 0;
}

static int tees(void *arg)
{
	(void)arg;
	for (int kind = 0; kind < KINDS; kind++)
		for (int also = 0; also < KINDS; also++)
			tee_to(kind, also, (uint64_t)(kind * 5 + also));
	tee_cut_short();
	return tee_failing();
}

Test(stream_copy, a_tee_sends_the_same_to_both)
{
	run_both(tees, NULL);
}
