/*
 * Two streams with nothing but memory between them; and what all streams have for reading: lines and limits.
 */
#include "tests/io/pump.h"

TestSuite(stream_memory, .timeout = 60);

/* The header: so many bytes on their way in one direction. */
#define ON_THEIR_WAY 131072u

static void open_pair(struct torc_stream *a, struct torc_stream *b)
{
	check_eq(torc_stream_pair(a, b), 0);
}

/* --- bytes --- */

/* Views stay as they are while the other end goes on writing. */
static int pump_read(void *arg)
{
	struct pump *p = arg;
	struct torc_slice in;
	uint64_t at = 0;
	int r;

	do {
		size_t least = 1 +
			       next_random(&p->seed) % (next_random(&p->seed) % 8 ? 100 : 300000),
		       n;

		r = torc_stream_fill(p->s, least, &in);
		check_ge(r, 0);
		if (!(next_random(&p->seed) % 4))
			check_eq(torc_yield(), 0);
		if (!(next_random(&p->seed) % 16))
			check_eq(torc_sleep(10000), 0);
		check(same_bytes(in.data, in.len, p->name, at));
		n = in.len && r ? 1 + next_random(&p->seed) % in.len : in.len;
		torc_stream_consume(p->s, n);
		at += n;
	} while (r);
	check_eq(at, p->total);
	return 0;
}

static int both_ways(void *arg)
{
	static const uint32_t most[] = { 10, 1000, 16384, 300000 };

	(void)arg;
	for (size_t i = 0; i < COUNT(most); i++) {
		struct torc_stream s[2];
		struct pump tx[2], rx[2];
		struct torc_group g;

		open_pair(&s[0], &s[1]);
		torc_group_enter(&g);
		for (unsigned k = 0; k < 2; k++) {
			uint64_t total = most[i] == 10 ? 20000 : 1500000;

			tx[k] = (struct pump){ &s[k], i, total, k, most[i] };
			rx[k] = (struct pump){ &s[!k], i + 9, total, k, 0 };
			check_eq(torc_group_spawn(&g, pump_write, &tx[k]), 0);
			check_eq(torc_group_spawn(&g, pump_read, &rx[k]), 0);
		}
		check_eq(torc_group_wait(&g), 0);
		check_eq(torc_stream_close(&s[i % 2]), 0);
		check_eq(torc_stream_close(&s[1 - i % 2]), 0);
	}
	return 0;
}

Test(stream_memory, bytes_of_any_size_arrive_in_order_both_ways)
{
	run(both_ways, NULL);
}

static int one_fiber(void *arg)
{
	static char data[ON_THEIR_WAY];
	struct torc_stream a, b;
	struct torc_slice in;

	(void)arg;
	open_pair(&a, &b);
	for (int i = 0; i < 20; i++) {
		check_eq(torc_stream_write(&a, "ping", 4), 0);
		check_eq(torc_stream_peek(&b, &in), 1);
		check(same_text(in, "ping"));
		/* a view stays valid while the other end writes, flushes and closes */
		check_eq(torc_stream_write(&a, "more", 4), 0);
		check_eq(torc_stream_flush(&a), 0);
		check(same_text(in, "ping"));
		torc_stream_consume(&b, 4);
		check_eq(torc_stream_write(&b, in.data, 0), 0);
		check_eq(torc_stream_read_exact(&b, data, 4), 0);
		check(!memcmp(data, "more", 4));
	}
	/* as much as may be on its way, though nobody reads */
	fill_bytes(data, sizeof(data), 1, 0);
	check_eq(torc_stream_write(&a, data, sizeof(data)), 0);
	for (size_t at = 0; at < sizeof(data); at += in.len) {
		check_eq(torc_stream_peek(&b, &in), 1);
		check(same_bytes(in.data, in.len, 1, at));
		torc_stream_consume(&b, in.len);
	}
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_peek(&b, &in), 0);
	check_eq(torc_stream_close(&b), 0);
	return 0;
}

Test(stream_memory, one_fiber_may_have_both_ends)
{
	run(one_fiber, NULL);
}

/* Writes until it has to wait for the reader. */
struct vain {
	struct torc_stream *s;
	struct torc_scope scope;
	size_t part, n;
	bool flush;
};

static int write_in_vain(void *arg)
{
	static const char data[16384];
	struct vain *v = arg;
	int r = 0;

	torc_scope_enter(&v->scope, TORC_NEVER);
	while (!r) {
		r = torc_stream_write(v->s, data, v->part);
		v->n += r ? 0 : v->part;
		if (!r && v->flush)
			r = torc_stream_flush(v->s);
	}
	check_eq(r, -ECANCELED);
	torc_scope_leave(&v->scope);
	return 0;
}

static size_t written_in_vain(struct torc_stream *s, size_t part, bool flush)
{
	struct vain v = { .s = s, .part = part, .flush = flush };
	struct torc_group g;
	size_t before = 1;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, write_in_vain, &v), 0);
	/* No kernel is in between: who does not go on in a few turns of the loop, each of which a sleep ends, waits. */
	while (before != v.n) {
		before = v.n;
		for (int i = 0; i < 4; i++)
			check_eq(torc_sleep(1), 0);
	}
	torc_scope_cancel(&v.scope);
	check_eq(torc_group_wait(&g), 0);
	return v.n;
}

static int bound(void *arg)
{
	static const size_t parts[] = { 1, 1000, 4096, 16383 };
	static char data[16384];

	(void)arg;
	for (size_t i = 0; i < COUNT(parts); i++)
		for (int flush = 0; flush < 2; flush++) {
			struct torc_stream a, b;
			struct torc_scope t;
			size_t n;

			open_pair(&a, &b);
			check_eq(torc_stream_write(&a, data, 1 + i),
				 0); /* so that parts do not fit evenly */
			check_eq(torc_stream_flush(&a), 0);
			n = 1 + i + written_in_vain(&a, parts[i], flush);
			n += written_in_vain(&a, parts[i], false);
			check_le(n, ON_THEIR_WAY);
			check_ge(n, ON_THEIR_WAY - parts[i]);
			for (size_t got = 0; got < n;) {
				int r = torc_stream_read(&b, data, sizeof(data));

				check_ge(r, 1);
				got += (size_t)r;
			}
			check_eq(torc_stream_flush(&a), 0);
			torc_scope_enter(&t, 0);
			check_eq(torc_stream_read(&b, data, 1), -ETIMEDOUT);
			torc_scope_leave(&t);
			check_eq(torc_stream_close(&a), 0);
			check_eq(torc_stream_read(&b, data, 1), 0);
			check_eq(torc_stream_close(&b), 0);
		}
	return 0;
}

Test(stream_memory, a_reader_that_lags_stops_the_writer)
{
	run(bound, NULL);
}

/* --- the end --- */

static int ended(void *arg)
{
	struct torc_stream a, b;
	char buf[10];

	(void)arg;
	/* nothing was written */
	open_pair(&a, &b);
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_read(&b, buf, 10), 0);
	check_eq(torc_stream_read(&b, buf, 10), 0);
	check_eq(torc_stream_close(&b), 0);
	/* unsent bytes go before the end; the other direction is not concerned */
	open_pair(&a, &b);
	check_eq(torc_stream_write(&a, "abc", 3), 0);
	check_eq(torc_stream_shutdown(&a), 0);
	check_eq(torc_stream_write(&a, "x", 1), -EPIPE);
	check_eq(torc_stream_read(&b, buf, 10), 3);
	check_eq(torc_stream_read(&b, buf, 10), 0);
	check_eq(torc_stream_write(&b, "answer", 6), 0);
	check_eq(torc_stream_close(&b), 0);
	check_eq(torc_stream_read(&a, buf, 10), 6);
	check_eq(torc_stream_read(&a, buf, 10), 0);
	check_eq(torc_stream_close(&a), 0);
	/* nobody reads: told at the end of the turn, and from then on */
	open_pair(&a, &b);
	check_eq(torc_stream_close(&b), 0);
	check_eq(torc_stream_write(&a, "abc", 3), 0);
	check_eq(torc_stream_flush(&a), -EPIPE);
	check_eq(torc_stream_write(&a, "abc", 3), -EPIPE);
	check_eq(torc_stream_close(&a), -EPIPE);
	/* closed with bytes that nobody has read, at both ends */
	open_pair(&a, &b);
	check_eq(torc_stream_write(&a, "abc", 3), 0);
	check_eq(torc_stream_write(&b, "abc", 3), 0);
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_read(&b, buf, 1), 1);
	check_eq(torc_stream_close(&b), 0); /* as a socket: it had been taken */
	return 0;
}

Test(stream_memory, what_was_written_is_read_before_the_end)
{
	run(ended, NULL);
}

/* What the other fiber does, while we wait. */
struct other {
	struct torc_stream *s;
	int what, turns; /* after so many turns of the loop */
};

enum {
	CLOSE,
	CLOSE_CANCELLED,
	SHUTDOWN,
};

static int act(void *arg)
{
	struct other *o = arg;
	struct torc_scope t;
	int r = 0;

	check_eq(torc_yield(), 0);
	for (int i = 0; i < o->turns; i++)
		check_eq(torc_sleep(1), 0);
	if (o->what == SHUTDOWN)
		return torc_stream_shutdown(o->s);
	torc_scope_enter(&t, TORC_NEVER);
	if (o->what == CLOSE_CANCELLED)
		torc_scope_cancel(&t);
	r = torc_stream_close(o->s);
	torc_scope_leave(&t);
	return r;
}

static int peer_acts(void *arg)
{
	static char data[100000];
	int turns = *(int *)arg;

	for (int what = CLOSE; what <= SHUTDOWN; what++)
		for (int writing = 0; writing < 3; writing++) {
			struct torc_stream a, b;
			struct other o = { &b, what, turns };
			struct torc_group g;
			char c;
			int r = 0;

			if (writing && what == SHUTDOWN)
				continue;
			open_pair(&a, &b);
			torc_group_enter(&g);
			check_eq(torc_group_spawn(&g, act, &o), 0);
			while (writing && !r)
				r = torc_stream_write(&a, data, writing == 1 ? 1000 : sizeof(data));
			check_eq(writing ? r : torc_stream_read(&a, &c, 1), writing ? -EPIPE : 0);
			check_eq(torc_group_wait(&g), 0);
			check_eq(torc_stream_close(&a), writing ? -EPIPE : 0);
			if (what == SHUTDOWN)
				check_eq(torc_stream_close(&b), 0);
		}
	return 0;
}

Test(stream_memory, who_waits_learns_that_the_other_end_has_ended)
{
	for (int turns = 0; turns < 5; turns++)
		run(peer_acts, &turns);
}

static int cancelled_close(void *arg)
{
	static char data[ON_THEIR_WAY];
	struct torc_stream a, b;
	struct torc_scope t;

	(void)arg;
	open_pair(&a, &b);
	check_eq(torc_stream_write(&a, data, sizeof(data)), 0);
	torc_scope_enter(&t, TORC_MS(1));
	check_eq(torc_stream_close(&a), -ETIMEDOUT); /* nobody reads */
	torc_scope_leave(&t);
	check_eq(torc_stream_read_exact(&b, data, sizeof(data) / 2), 0); /* what had been taken */
	check_eq(torc_stream_read(&b, data, 1), 0);
	check_eq(torc_stream_close(&b), 0);
	return 0;
}

Test(stream_memory, close_waits_no_longer_than_its_scope)
{
	run(cancelled_close, NULL);
}

static int cancelled(void *arg)
{
	struct torc_stream a, b;
	struct torc_slice in;
	struct torc_scope t;

	(void)arg;
	open_pair(&a, &b);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_stream_write(&a, "abc", 3), -ECANCELED);
	check_eq(torc_stream_flush(&a), -ECANCELED);
	check_eq(torc_stream_shutdown(&a), -ECANCELED);
	check_eq(torc_stream_peek(&b, &in), -ECANCELED);
	torc_scope_leave(&t);
	torc_scope_enter(&t, TORC_MS(1));
	check_eq(torc_stream_peek(&b, &in), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_stream_write(&a, "def", 3), 0);
	check_eq(torc_stream_fill(&b, 3, &in), 1);
	check(same_text(in, "def"));
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_close(&b), 0);
	return 0;
}

Test(stream_memory, calls_in_a_cancelled_scope_do_nothing)
{
	run(cancelled, NULL);
}

/* --- lines --- */

static void written(struct torc_stream *s, const char *data, size_t len)
{
	check_eq(torc_stream_write(s, data, len), 0);
	check_eq(torc_stream_flush(s), 0);
}

static int lines(void *arg)
{
	static const char text[] = "one\r\ntwo\n\n\r\n\r\r\nnul\0in\nlast\r";
	static const struct {
		const char *text;
		size_t len;
	} expected[] = { { "one", 3 }, { "two", 3 },     { "", 0 },      { "", 0 },
			 { "\r", 1 },  { "nul\0in", 6 }, { "last\r", 5 } };
	struct torc_slice line;

	(void)arg;
	/* all at once, and cut anywhere */
	for (size_t cut = 0; cut < sizeof(text); cut++) {
		struct torc_stream a, b;

		open_pair(&a, &b);
		written(&a, text, cut);
		for (size_t i = 0, done = false; i < COUNT(expected); i++) {
			int r;

			if (!done) {
				struct torc_scope t;

				torc_scope_enter(&t, 100000);
				r = torc_stream_read_line(&b, 100, &line);
				torc_scope_leave(&t);
				if (r == -ETIMEDOUT) {
					written(&a, text + cut, sizeof(text) - 1 - cut);
					check_eq(torc_stream_shutdown(&a), 0);
					done = true;
				}
			}
			if (done)
				check_eq(torc_stream_read_line(&b, 100, &line), 1);
			check_eq(line.len, expected[i].len);
			check(!memcmp(line.data, expected[i].text, line.len));
		}
		check_eq(torc_stream_read_line(&b, 100, &line), 0);
		check_eq(torc_stream_read_line(&b, 100, &line), 0);
		check_eq(torc_stream_close(&a), 0);
		check_eq(torc_stream_close(&b), 0);
	}
	return 0;
}

Test(stream_memory, lines_have_no_ends_and_the_last_one_needs_none)
{
	run(lines, NULL);
}

static int line_limits(void *arg)
{
	struct torc_stream a, b;
	struct torc_slice line;
	char c;

	(void)arg;
	open_pair(&a, &b);
	written(&a, "1234567\r\nabc", 12);
	check_eq(torc_stream_shutdown(&a), 0);
	for (size_t limit = 1; limit < 9; limit++)
		check_eq(torc_stream_read_line(&b, limit, &line), -EMSGSIZE);
	check_eq(torc_stream_read_line(&b, 9, &line), 1);
	check(same_text(line, "1234567"));
	/* without an end: that of the stream decides, and a limit that is reached is too long */
	check_eq(torc_stream_read_line(&b, 2, &line), -EMSGSIZE);
	check_eq(torc_stream_read(&b, &c, 1),
		 1); /* consumes no line that was refused, but the one before */
	check_eq(c, 'a');
	check_eq(torc_stream_read_line(&b, TORC_STREAM_VIEW_MAX, &line), 1);
	check(same_text(line, "bc"));
	check_eq(torc_stream_read(&b, &c, 1), 0);
	check_eq(torc_stream_close(&a), 0);
	check_eq(torc_stream_close(&b), 0);
	return 0;
}

Test(stream_memory, a_line_beyond_its_limit_is_not_consumed)
{
	run(line_limits, NULL);
}

/* A line is consumed by whatever reads next. */
static int line_then(void *arg)
{
	struct torc_stream a, b, c, d;
	struct torc_slice in;
	struct torc_scope t;
	uint64_t n;
	char buf[8];

	(void)arg;
	for (int how = 0; how < 8; how++) {
		open_pair(&a, &b);
		open_pair(&c, &d);
		written(&a, "line\nrest", 9);
		check_eq(torc_stream_shutdown(&a), 0);
		check_eq(torc_stream_read_line(&b, 10, &in), 1);
		written(&b, in.data, in.len); /* no reading */
		check(same_text(in, "line"));
		switch (how) {
		case 0: check_eq(torc_stream_peek(&b, &in), 1); break;
		case 1: check_eq(torc_stream_fill(&b, 4, &in), 1); break;
		case 2: check_eq(torc_stream_read_until(&b, 't', 4, &in), 1); break;
		case 3: check_eq(torc_stream_read_exact(&b, buf, 4), 0); break;
		case 4: torc_stream_consume(&b, 0); break;
		case 5:
			torc_stream_limit(&b, 4);
			check_eq(torc_stream_read_exact(&b, buf, 4), 0);
			check_eq(torc_stream_read(&b, buf, 4), 0);
			break;
		case 6:
			check_eq(torc_stream_copy(&c, &b, 100, &n), 0);
			check_eq(n, 4);
			check_eq(torc_stream_read_exact(&d, buf, 4), 0);
			check(!memcmp(buf, "rest", 4));
			break;
		default:
			torc_scope_enter(&t, 0);
			check_eq(torc_stream_peek(&b, &in), -ETIMEDOUT);
			torc_scope_leave(&t);
		}
		if (how < 3)
			check(same_text(in, "rest"));
		if (how == 7 || how == 4) {
			check_eq(torc_stream_peek(&b, &in), 1);
			check(same_text(in, "rest"));
		}
		if (how == 3)
			check(!memcmp(buf, "rest", 4));
		check_eq(torc_stream_close(&a), 0);
		check_eq(torc_stream_close(&b), 0);
		check_eq(torc_stream_close(&c), 0);
		check_eq(torc_stream_close(&d), 0);
	}
	return 0;
}

Test(stream_memory, the_next_call_that_reads_consumes_a_line)
{
	run(line_then, NULL);
}

static int lines_across_buffers(void *arg)
{
	static char text[3 * TORC__BUFFER_BYTES];
	struct torc_slice line;

	for (size_t at = TORC__BUFFER_BYTES - 3; at <= TORC__BUFFER_BYTES + 3; at++)
		for (int cr = 0; cr < 2; cr++) {
			struct torc_stream s;
			int fd[2];

			unix_pair(fd);
			check_eq(torc_stream_open(&s, fd[0]), 0);
			memset(text, 'x', sizeof(text));
			text[at] = '\n';
			if (cr)
				text[at - 1] = '\r';
			text[2 * TORC__BUFFER_BYTES + at % 7] = '\n';
			check_eq(send(fd[1], text, sizeof(text), 0), sizeof(text));
			close(fd[1]);
			check_eq(torc_stream_read_line(&s, sizeof(text), &line), 1);
			check_eq(line.len, at - (size_t)cr);
			check(!memchr(line.data, '\n', line.len) &&
			      !memchr(line.data, '\r', line.len));
			check_eq(torc_stream_read_line(&s, sizeof(text), &line), 1);
			check_eq(line.len, 2 * TORC__BUFFER_BYTES + at % 7 - at - 1);
			check_eq(torc_stream_read_line(&s, sizeof(text), &line), 1);
			check_eq(line.len, TORC__BUFFER_BYTES - at % 7 - 1);
			check_eq(torc_stream_read_line(&s, sizeof(text), &line), 0);
			check_eq(torc_stream_close(&s), 0);
		}
	(void)arg;
	return 0;
}

Test(stream_memory, a_line_may_end_anywhere_in_a_buffer)
{
	run_all_features(NULL, lines_across_buffers, NULL);
	run_all_features(&(struct torc_options){ .recv_buffers = 8 }, lines_across_buffers, NULL);
}

/* --- limits --- */

static void read_limited(struct torc_stream *s)
{
	struct torc_slice in;
	char buf[20];

	torc_stream_limit(s, 0);
	check_eq(torc_stream_peek(s, &in), 0);
	check_eq(torc_stream_fill(s, 1, &in), 0);
	check_eq(in.len, 0);
	torc_stream_limit(s, 5);
	check_eq(torc_stream_peek(s, &in), 1);
	check_le(in.len, 5);
	check_eq(torc_stream_fill(s, 6, &in), 0);
	check_eq(in.len, 5);
	check_eq(torc_stream_fill(s, 5, &in), 1);
	check(same_text(in, "01234"));
	check_eq(torc_stream_read_until(s, '5', 20, &in), 0);
	check_eq(in.len, 5);
	torc_stream_consume(s, 2);
	check_eq(torc_stream_read_exact(s, buf, 4), -EPIPE);
	check_eq(torc_stream_peek(s, &in), 0);
	check_eq(torc_stream_read(s, buf, 1), 0);
	/* the next one begins where this one ended */
	torc_stream_limit(s, 3);
	check_eq(torc_stream_read_exact(s, buf, 3), 0);
	check(!memcmp(buf, "567", 3));
	torc_stream_limit(s, 2);
	check_eq(torc_stream_read_line(s, 10, &in), 1); /* the end of a line is beyond it */
	check(same_text(in, "89"));
	check_eq(torc_stream_read_line(s, 10, &in), 0);
	torc_stream_limit(s, TORC_STREAM_UNLIMITED);
	check_eq(torc_stream_read_line(s, 10, &in), 1);
	check_eq(in.len, 0);
	check_eq(torc_stream_read(s, buf, 20), 3);
	check_eq(torc_stream_read(s, buf, 20), 0);
	torc_stream_limit(s, 1);
	check_eq(torc_stream_read(s, buf, 20), 0);
}

static int limits(void *arg)
{
	static const char text[] = "0123456789\nend";
	struct torc_stream a, b, s;
	int fd[2];

	(void)arg;
	open_pair(&a, &b);
	written(&a, text, sizeof(text) - 1);
	check_eq(torc_stream_close(&a), 0);
	read_limited(&b);
	check_eq(torc_stream_close(&b), 0);
	tcp_pair(fd);
	check_eq(torc_stream_open(&s, fd[0]), 0);
	send_text(fd[1], text);
	close(fd[1]);
	read_limited(&s);
	check_eq(torc_stream_close(&s), 0);
	return 0;
}

Test(stream_memory, nothing_beyond_a_limit_is_shown)
{
	run_all_features(NULL, limits, NULL);
}

static int consume_beyond(void *arg)
{
	struct torc_stream a, b;
	struct torc_slice in;

	(void)arg;
	open_pair(&a, &b);
	written(&a, "abc", 3);
	torc_stream_limit(&b, 2);
	check_eq(torc_stream_peek(&b, &in), 1);
	torc_stream_consume(&b, 3);
	exit(0);
}

Test(stream_memory, consuming_beyond_a_limit_traps, .signal = SIGABRT)
{
	(void)!torc_run(NULL, consume_beyond, NULL);
}
