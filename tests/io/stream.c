#include "tests/io/run.h"

TestSuite(stream, .timeout = 60);

/* A stream of the runtime, and the other end of its connection. */
struct end {
	struct torc_stream s;
	int peer;
};

static void open_end(struct end *e)
{
	int fd[2];

	tcp_pair(fd);
	check_eq(torc_stream_open(&e->s, fd[0]), 0);
	e->peer = fd[1];
}

static void close_end(struct end *e)
{
	check_eq(torc_stream_close(&e->s), 0);
	if (e->peer >= 0)
		close(e->peer);
}

/* Bytes at..at+len of stream 1, from the peer. */
static void peer_sends(struct end *e, size_t at, size_t len)
{
	char *buf = malloc(len);

	fill_bytes(buf, len, 1, at);
	check_eq(torc_send_all(e->peer, buf, len), 0);
	free(buf);
}

static void peer_ends(struct end *e)
{
	check_eq(shutdown(e->peer, SHUT_WR), 0);
}

/* --- reading --- */

static int peek_sizes(void *arg)
{
	static const size_t sizes[] = { 1, 2, 100, 4095, 4096, 4097, 8192, 10000, 65536, 200000 };
	struct torc_slice in;
	size_t at = 0;
	struct end e;

	(void)arg;
	open_end(&e);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t left = sizes[i];

		peer_sends(&e, at, left);
		while (left) {
			size_t n;

			check_eq(torc_stream_peek(&e.s, &in), 1);
			check_ge(in.len, 1);
			check(same_bytes(in.data, in.len, 1, at));
			check_eq(torc_stream_peek(&e.s, &in), 1); /* nothing was consumed */
			check(same_bytes(in.data, in.len, 1, at));
			n = (in.len + i) / (1 + i % 3);
			n = n < in.len ? n : in.len;
			torc_stream_consume(&e.s, n);
			torc_stream_consume(&e.s, 0);
			left -= n;
			at += n;
		}
	}
	peer_ends(&e);
	check_eq(torc_stream_peek(&e.s, &in), 0);
	check_eq(torc_stream_peek(&e.s, &in), 0);
	close_end(&e);
	return 0;
}

static const struct torc_options few_buffers = { .recv_buffers = 8 };

Test(stream, peek_and_consume_over_many_sizes)
{
	run_all_features(NULL, peek_sizes, NULL);
	run_all_features(&few_buffers, peek_sizes, NULL);
}

/* More than one buffer can be consumed at once after a fill. */
static int fill(void *arg)
{
	static const size_t least[] = { 1, 5, 4096, 4097, 12288, 12289, 100000, 300000, 1 };
	struct torc_slice in = { NULL, 0 };
	size_t at = 0, sent = 0;
	struct end e;

	(void)arg;
	open_end(&e);
	for (size_t i = 0; i < COUNT(least); i++) {
		/* In pieces, so that it has to wait with a part in hand. */
		while (sent < at + least[i]) {
			size_t part = least[i] / 3 + 1;

			peer_sends(&e, sent, part);
			sent += part;
			if (sent < at + least[i]) {
				struct torc_scope t;

				torc_scope_enter(&t, 0);
				check_eq(torc_stream_fill(&e.s, least[i], &in), -ETIMEDOUT);
				torc_scope_leave(&t);
				torc_scope_enter(&t, 200000);
				check_eq(torc_stream_fill(&e.s, least[i], &in), -ETIMEDOUT);
				torc_scope_leave(&t);
			}
		}
		check_eq(torc_stream_fill(&e.s, least[i], &in), 1);
		check_ge(in.len, least[i]);
		check(same_bytes(in.data, in.len, 1, at));
		torc_stream_consume(&e.s, least[i] - least[i] / 7);
		at += least[i] - least[i] / 7;
	}
	check_eq(torc_stream_fill(&e.s, TORC_STREAM_VIEW_MAX + 1, &in), -EMSGSIZE);
	check_eq(torc_stream_fill(&e.s, SIZE_MAX, &in), -EMSGSIZE);
	peer_ends(&e);
	check_eq(torc_stream_fill(&e.s, TORC_STREAM_VIEW_MAX, &in), 0);
	check_eq(in.len, sent - at); /* what is left, in one piece */
	check(same_bytes(in.data, in.len, 1, at));
	torc_stream_consume(&e.s, in.len);
	check_eq(torc_stream_fill(&e.s, 1, &in), 0);
	check_eq(in.len, 0);
	close_end(&e);
	return 0;
}

Test(stream, fill_shows_bytes_of_many_buffers_in_one_piece)
{
	run_all_features(NULL, fill, NULL);
	run_all_features(&few_buffers, fill, NULL);
}

static int largest_sender(void *arg)
{
	struct end *e = arg;

	peer_sends(e, 0, TORC_STREAM_VIEW_MAX + 100000);
	peer_ends(e);
	return 0;
}

static int largest_fill(void *arg)
{
	struct torc_slice in;
	struct torc_group g;
	struct end e;

	(void)arg;
	open_end(&e);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, largest_sender, &e), 0);
	check_eq(torc_stream_fill(&e.s, TORC_STREAM_VIEW_MAX, &in), 1);
	check_ge(in.len, TORC_STREAM_VIEW_MAX);
	check(same_bytes(in.data, in.len, 1, 0));
	check_eq(torc_stream_read_until(&e.s, 'x', TORC_STREAM_VIEW_MAX, &in), 1);
	torc_stream_consume(&e.s, 99999);
	check_eq(torc_stream_fill(&e.s, TORC_STREAM_VIEW_MAX, &in), 1);
	check(same_bytes(in.data, in.len, 1, 99999));
	torc_stream_consume(&e.s, TORC_STREAM_VIEW_MAX);
	check_eq(torc_stream_fill(&e.s, 1, &in), 1);
	check_eq(in.len, 1);
	check_eq(torc_stream_fill(&e.s, 2, &in), 0);
	check_eq(in.len, 1);
	check_eq(torc_group_wait(&g), 0);
	close_end(&e);
	return 0;
}

Test(stream, fill_of_the_largest_view)
{
	run(largest_fill, NULL);
	check_eq(run_with(&few_buffers, largest_fill, NULL), 0);
}

/* "....\n" with the delimiter at `at`, the first `cut` bytes sent ahead. */
static void find_line(struct end *e, size_t at, size_t cut, size_t before)
{
	struct torc_slice line;
	struct torc_scope t;
	char *text = malloc(at + 3);

	memset(text, 'a', at);
	memcpy(text + at, "\nb\n", 3);
	/* An unconsumed rest in front, so that lines begin anywhere in a buffer. */
	if (before) {
		char *junk = calloc(1, before);

		check_eq(torc_send_all(e->peer, junk, before), 0);
		check_eq(torc_stream_read_exact(&e->s, junk, before), 0);
		free(junk);
	}
	if (cut) {
		check_eq(torc_send_all(e->peer, text, cut), 0);
		torc_scope_enter(&t, 20000);
		check_eq(torc_stream_read_until(&e->s, '\n', 65536, &line), -ETIMEDOUT);
		torc_scope_leave(&t);
	}
	check_eq(torc_send_all(e->peer, text + cut, at + 3 - cut), 0);
	check_eq(torc_stream_read_until(&e->s, '\n', 65536, &line), 1);
	check_eq(line.len, at + 1);
	check(!memcmp(line.data, text, at + 1));
	torc_stream_consume(&e->s, line.len);
	check_eq(torc_stream_read_until(&e->s, '\n', 2, &line), 1);
	check(same_text(line, "b\n"));
	torc_stream_consume(&e->s, line.len);
	free(text);
}

static int read_until(void *arg)
{
	static const size_t far[] = { 4094, 4095, 4096, 4097, 8191, 8192, 12287, 40000 };
	struct end e;

	(void)arg;
	open_end(&e);
	for (size_t at = 0; at < 40; at++)
		for (size_t cut = 0; cut <= at; cut += 1 + at / 8)
			find_line(&e, at, cut, 0);
	for (size_t i = 0; i < COUNT(far); i++)
		for (size_t cut = 0; cut <= far[i]; cut += 1 + far[i] / 3)
			find_line(&e, far[i], cut, 4000 + i);
	close_end(&e);
	return 0;
}

Test(stream, read_until_finds_the_delimiter_at_every_position)
{
	run_all_features(NULL, read_until, NULL);
	check_eq(run_with(&few_buffers, read_until, NULL), 0);
}

static int read_until_limit(void *arg)
{
	struct torc_slice line;
	struct end e;

	(void)arg;
	open_end(&e);
	send_text(e.peer, "0123456789\nrest");
	for (size_t limit = 1; limit <= 10; limit++)
		check_eq(torc_stream_read_until(&e.s, '\n', limit, &line), -EMSGSIZE);
	check_eq(torc_stream_read_until(&e.s, '\n', 11, &line), 1);
	check(same_text(line, "0123456789\n"));
	check_eq(torc_stream_read_until(&e.s, '0', 1, &line), 1);
	check(same_text(line, "0"));
	check_eq(torc_stream_read_until(&e.s, '\n', TORC_STREAM_VIEW_MAX, &line), 1);
	torc_stream_consume(&e.s, line.len);
	peer_ends(&e);
	check_eq(torc_stream_read_until(&e.s, '\n', 4, &line), -EMSGSIZE);
	check_eq(torc_stream_read_until(&e.s, '\n', 5, &line), 0);
	check(same_text(line, "rest"));
	torc_stream_consume(&e.s, line.len);
	check_eq(torc_stream_read_until(&e.s, '\n', 5, &line), 0);
	check_eq(line.len, 0);
	close_end(&e);
	return 0;
}

Test(stream, read_until_respects_its_limit_and_the_end)
{
	run_all_features(NULL, read_until_limit, NULL);
}

static int read_exact(void *arg)
{
	char *buf = malloc(100000), small[3];
	struct end e;

	(void)arg;
	open_end(&e);
	peer_sends(&e, 0, 100000);
	check_eq(torc_stream_read_exact(&e.s, buf, 0), 0);
	check_eq(torc_stream_read_exact(&e.s, buf, 99990), 0);
	check(same_bytes(buf, 99990, 1, 0));
	check_eq(torc_stream_read(&e.s, small, sizeof(small)), 3);
	check(same_bytes(small, 3, 1, 99990));
	peer_ends(&e);
	check_eq(torc_stream_read_exact(&e.s, buf, 8), -EPIPE);
	check_eq(torc_stream_read(&e.s, buf, 8), 0);
	free(buf);
	close_end(&e);
	return 0;
}

Test(stream, read_and_read_exact)
{
	run_all_features(NULL, read_exact, NULL);
}

static int read_errors(void *arg)
{
	struct torc_slice in;
	struct torc_stream s;
	struct end e;
	char c;

	(void)arg;
	/* what came before the reset is shown first */
	open_end(&e);
	send_text(e.peer, "abc");
	check_eq(torc_stream_peek(&e.s, &in), 1);
	reset_peer(e.peer);
	e.peer = -1;
	check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(torc_stream_peek(&e.s, &in), 1);
	check(same_text(in, "abc"));
	torc_stream_consume(&e.s, 3);
	check_eq(torc_stream_peek(&e.s, &in), -ECONNRESET);
	check_eq(torc_stream_peek(&e.s, &in), -ECONNRESET);
	check_eq(torc_stream_read(&e.s, &c, 1), -ECONNRESET);
	check_eq(torc_stream_read_exact(&e.s, &c, 1), -ECONNRESET);
	check_eq(torc_stream_fill(&e.s, 1, &in), -ECONNRESET);
	check_eq(torc_stream_read_until(&e.s, 'x', 1, &in), -ECONNRESET);
	close_end(&e);
	check_eq(torc_stream_open(&s, -1), 0);
	check_eq(torc_stream_peek(&s, &in), -EBADF);
	check_eq(torc_stream_write(&s, "x", 1), 0);
	check_eq(torc_stream_flush(&s), -EBADF);
	check_eq(torc_stream_close(&s), -EBADF);
	return 0;
}

Test(stream, read_errors_come_after_the_data_and_stick)
{
	run_all_features(NULL, read_errors, NULL);
}

static int nonblocking(void *arg)
{
	struct torc_stats before, after;
	struct torc_slice in;
	struct torc_scope t;
	struct end e;

	(void)arg;
	open_end(&e);
	check_eq(fcntl(e.s.fd, F_SETFL, O_NONBLOCK), 0);
	torc_stats(&before);
	torc_scope_enter(&t, TORC_MS(30));
	check_eq(torc_stream_peek(&e.s, &in), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_stats(&after);
	check_lt(after.turns - before.turns, 20);
	send_text(e.peer, "x");
	check_eq(torc_stream_peek(&e.s, &in), 1);
	close_end(&e);
	return 0;
}

Test(stream, a_socket_opened_nonblocking_does_not_spin)
{
	run_all_features(NULL, nonblocking, NULL);
}

/* --- half-close --- */

static int half_close(void *arg)
{
	struct torc_slice in;
	char buf[8];
	struct end e;

	(void)arg;
	/* ours: everything written arrives, then the end; receiving goes on */
	open_end(&e);
	check_eq(torc_stream_write(&e.s, "abc", 3), 0);
	check_eq(torc_stream_shutdown(&e.s), 0);
	check_eq(torc_stream_write(&e.s, "x", 1), -EPIPE);
	check_eq(torc_recv(e.peer, buf, sizeof(buf), MSG_WAITALL), 3);
	check_eq(torc_recv(e.peer, buf, sizeof(buf), 0), 0);
	send_text(e.peer, "late");
	check_eq(torc_stream_fill(&e.s, 4, &in), 1);
	check(same_text(in, "late"));
	close_end(&e);
	/* the peer's: writing goes on */
	open_end(&e);
	send_text(e.peer, "abc");
	peer_ends(&e);
	check_eq(torc_stream_fill(&e.s, 4, &in), 0);
	check(same_text(in, "abc"));
	torc_stream_consume(&e.s, 3);
	check_eq(torc_stream_peek(&e.s, &in), 0);
	check_eq(torc_stream_write(&e.s, "answer", 6), 0);
	check_eq(torc_stream_flush(&e.s), 0);
	check_eq(torc_recv(e.peer, buf, sizeof(buf), 0), 6);
	close_end(&e);
	return 0;
}

Test(stream, half_close_both_ways)
{
	run_all_features(NULL, half_close, NULL);
}

/* --- writing --- */

static int gathered(void *arg)
{
	struct torc_stats before, after;
	struct end e;
	char buf[4096], *room;

	(void)arg;
	open_end(&e);
	check_eq(torc_sleep(1), 0); /* the loop's own operations of the first turn */
	torc_stats(&before);
	for (int i = 0; i < 100; i++)
		check_eq(torc_stream_write(&e.s, "0123456789", 10), 0);
	check_eq(torc_stream_reserve(&e.s, 500, &room), 0);
	memset(room, 'r', 500);
	torc_stream_commit(&e.s, 24);
	check_eq(torc_stream_reserve(&e.s, 16384, &room), 0);
	torc_stream_commit(&e.s, 0);
	check_eq(torc_stream_write(&e.s, NULL, 0), 0);
	check_eq(torc_stream_flush(&e.s), 0);
	torc_stats(&after);
	check_eq(after.sqes - before.sqes, 1);
	check_eq(recv(e.peer, buf, sizeof(buf), MSG_DONTWAIT), 1024);
	for (size_t i = 0; i < 1024; i++)
		check_eq(buf[i], i < 1000 ? (char)('0' + i % 10) : 'r');
	check_eq(torc_stream_reserve(&e.s, 16384, &room), 0);
	torc_stream_commit(&e.s, 0);
	close_end(&e);
	return 0;
}

Test(stream, writes_of_one_turn_are_one_send)
{
	run_all_features(NULL, gathered, NULL);
}

struct pump {
	struct torc_stream *s;
	int fd;
	uint64_t seed, total;
	uint64_t name; /* of the bytes */
	size_t most;   /* in one call */
};

/* Writes `total` bytes in random pieces. */
static int pump_write(void *arg)
{
	struct pump *p = arg;
	char *buf = malloc(p->most);

	for (uint64_t at = 0; at < p->total;) {
		size_t len = 1 + next_random(&p->seed) % p->most;

		len = len < p->total - at ? len : p->total - at;
		fill_bytes(buf, len, p->name, at);
		check_eq(torc_stream_write(p->s, buf, len), 0);
		memset(buf, 0xee, len); /* the stream must be done with it */
		at += len;
	}
	free(buf);
	check_eq(torc_stream_flush(p->s), 0);
	return 0;
}

/* Reads them with whatever call the dice say. */
static int pump_read(void *arg)
{
	struct pump *p = arg;
	char buf[6000];

	for (uint64_t at = 0; at < p->total;) {
		size_t len = 1 + next_random(&p->seed) % sizeof(buf);
		struct torc_slice in;

		len = len < p->total - at ? len : p->total - at;
		switch (next_random(&p->seed) % 4) {
		case 0:
			check_eq(torc_stream_read_exact(p->s, buf, len), 0);
			check(same_bytes(buf, len, p->name, at));
			break;
		case 1:
			len = (size_t)torc_stream_read(p->s, buf, len);
			check_ge((ssize_t)len, 1);
			check(same_bytes(buf, len, p->name, at));
			break;
		case 2:
			check_eq(torc_stream_fill(p->s, len, &in), 1);
			check_ge(in.len, len);
			check(same_bytes(in.data, in.len, p->name, at));
			torc_stream_consume(p->s, len);
			break;
		default:
			check_eq(torc_stream_peek(p->s, &in), 1);
			len = 1 + next_random(&p->seed) % in.len;
			check(same_bytes(in.data, in.len, p->name, at));
			torc_stream_consume(p->s, len);
		}
		at += len;
		if (!(next_random(&p->seed) % 50))
			torc_yield();
	}
	return 0;
}

static int direct(void *arg)
{
	static const size_t sizes[] = {
		16383, 16384, 16385, 65536, 1000000, 5000000, 10, 16384, 7
	};
	struct pump rx = { .seed = 4, .name = 1 };
	struct torc_group g;
	struct torc_stream s;
	struct end e;
	size_t at = 0;
	char *buf = malloc(5000000);

	(void)arg;
	open_end(&e);
	check_eq(torc_stream_open(&s, e.peer), 0);
	rx.s = &s;
	for (size_t i = 0; i < COUNT(sizes); i++)
		rx.total += sizes[i];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_read, &rx), 0);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		fill_bytes(buf, sizes[i], 1, at);
		check_eq(torc_stream_write(&e.s, buf, sizes[i]), 0);
		memset(buf, 0, sizes[i]); /* ours again */
		at += sizes[i];
	}
	check_eq(torc_stream_flush(&e.s), 0);
	check_eq(torc_group_wait(&g), 0);
	e.peer = -1;
	check_eq(torc_stream_close(&s), 0);
	close_end(&e);
	free(buf);
	return 0;
}

Test(stream, large_writes_keep_their_place_among_small_ones)
{
	run_all_features(NULL, direct, NULL);
}

/* Bytes of memory that this process has, in KiB. */
static long resident(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	check(f && fscanf(f, "%*d %ld", &pages) == 1);
	fclose(f);
	return pages * 4;
}

static int writer_blocks(void *arg)
{
	static char block[4000];
	struct torc_scope t;
	long before;
	uint64_t written = 0, received = 0;
	struct end e;
	int r;

	(void)arg;
	open_end(&e);
	before = resident();
	torc_scope_enter(&t, TORC_MS(100));
	while ((r = torc_stream_write(&e.s, block, sizeof(block))) == 0)
		written += sizeof(block);
	check_eq(r, -ETIMEDOUT);
	torc_scope_leave(&t);
	check_lt(written, 32 << 20); /* the kernel's buffers and our 64 KiB */
	check_lt(resident() - before, 1024);
	/* The write that timed out took nothing, and those before lost nothing. */
	while (received < written) {
		r = torc_recv(e.peer, block, sizeof(block), 0);
		check_ge(r, 1);
		received += (uint64_t)r;
	}
	check_eq(received, written);
	check_eq(torc_stream_flush(&e.s), 0);
	check_lt(recv(e.peer, &r, 1, MSG_DONTWAIT), 0);
	check_eq(torc_stream_write(&e.s, "x", 1), 0);
	check_eq(torc_stream_flush(&e.s), 0);
	check_eq(recv(e.peer, &r, 1, MSG_DONTWAIT), 1);
	close_end(&e);
	return 0;
}

Test(stream, a_writer_to_a_peer_that_does_not_read_suspends)
{
	run_all_features(NULL, writer_blocks, NULL);
}

/* The peer's blocking point is the kernel's: its socket stays unwritable for a while of turns. */
static int reader_blocks(void *arg)
{
	static char block[65536];
	struct torc_slice in;
	uint64_t sent = 0, received = 0;
	struct end e;
	int idle = 0;
	ssize_t n;

	(void)arg;
	open_end(&e);
	send_text(e.peer, "x");
	check_eq(torc_stream_peek(&e.s, &in), 1); /* arms the receiving */
	sent = 1;
	while (idle < 20) {
		n = send(e.peer, block, sizeof(block), MSG_DONTWAIT);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (uint64_t)n : 0;
		check_eq(torc_sleep(TORC_MS(1)), 0);
		check_lt(sent, 32 << 20);
	}
	check_lt(e.s.rx_count, 300); /* buffers it holds */
	peer_ends(&e);
	while (torc_stream_peek(&e.s, &in) > 0) {
		received += in.len;
		torc_stream_consume(&e.s, in.len);
	}
	check_eq(received, sent);
	close_end(&e);
	return 0;
}

Test(stream, a_reader_that_does_not_keep_up_stops_the_peer)
{
	run_all_features(NULL, reader_blocks, NULL);
	run_all_features(&few_buffers, reader_blocks, NULL);
}

static int write_errors(void *arg)
{
	static char big[20000];
	struct end e;
	char *room;
	int first;

	(void)arg;
	open_end(&e);
	reset_peer(e.peer);
	e.peer = -1;
	check_eq(torc_stream_write(&e.s, "x", 1), 0); /* not known yet */
	first = torc_stream_flush(&e.s);
	check(first == -ECONNRESET || first == -EPIPE);
	check_eq(torc_stream_write(&e.s, "x", 1), first);
	check_eq(torc_stream_write(&e.s, "x", 0), first);
	check_eq(torc_stream_write(&e.s, big, sizeof(big)), first);
	check_eq(torc_stream_reserve(&e.s, 1, &room), first);
	check_eq(torc_stream_flush(&e.s), first);
	check_eq(torc_stream_shutdown(&e.s), first);
	check_eq(torc_stream_close(&e.s), first);

	open_end(&e);
	reset_peer(e.peer);
	first = torc_stream_write(&e.s, big, sizeof(big));
	check(first == -ECONNRESET || first == -EPIPE);
	check_eq(torc_stream_write(&e.s, "x", 1), first);
	check_eq(torc_stream_close(&e.s), first);

	open_end(&e); /* lost at close: told there */
	reset_peer(e.peer);
	check_eq(torc_stream_write(&e.s, "x", 1), 0);
	check_lt(torc_stream_close(&e.s), 0);
	return 0;
}

Test(stream, write_errors_stick)
{
	run_all_features(NULL, write_errors, NULL);
}

static int write_cancelled(void *arg)
{
	static char big[8 << 20];
	struct torc_scope t;
	struct end e;
	char byte;

	(void)arg;
	/* in a cancelled scope: nothing is taken, nothing breaks */
	open_end(&e);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_stream_write(&e.s, "x", 1), -ECANCELED);
	check_eq(torc_stream_write(&e.s, big, sizeof(big)), -ECANCELED);
	check_eq(torc_stream_flush(&e.s), -ECANCELED);
	check_eq(torc_stream_shutdown(&e.s), -ECANCELED);
	torc_scope_leave(&t);
	check_lt(recv(e.peer, &byte, 1, MSG_DONTWAIT), 0);
	check_eq(torc_stream_write(&e.s, "y", 1), 0);
	check_eq(torc_stream_flush(&e.s), 0);
	check_eq(recv(e.peer, &byte, 1, MSG_DONTWAIT), 1);
	check_eq(byte, 'y');
	/* a large one that was cut short is the end of the connection */
	torc_scope_enter(&t, TORC_MS(20));
	check_eq(torc_stream_write(&e.s, big, sizeof(big)), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(torc_stream_write(&e.s, "x", 1), -EPIPE);
	check_eq(torc_stream_close(&e.s), -EPIPE);
	close(e.peer);
	return 0;
}

Test(stream, a_cancelled_write)
{
	run_all_features(NULL, write_cancelled, NULL);
}

/* --- closing --- */

static int close_flushes(void *arg)
{
	struct end e;
	static char buf[60000];

	(void)arg;
	for (size_t i = 0; i < 5; i++) {
		open_end(&e);
		memset(buf, 'a' + (int)i, sizeof(buf));
		for (size_t at = 0; at < 60000; at += 10000)
			check_eq(torc_stream_write(&e.s, buf, 10000), 0);
		check_eq(torc_stream_close(&e.s), 0);
		check_eq(torc_recv(e.peer, buf, sizeof(buf), MSG_WAITALL), sizeof(buf));
		check_eq(torc_recv(e.peer, buf, 1, 0), 0);
		close(e.peer);
	}
	return 0;
}

Test(stream, close_flushes)
{
	run_all_features(NULL, close_flushes, NULL);
}

/* A socket that takes nothing more, and has a byte to send: of a Unix pair, which has no buffers that grow. */
static void open_full_end(struct end *e)
{
	static const char block[4096];
	int fd[2];

	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	while (send(fd[0], block, sizeof(block), MSG_DONTWAIT) > 0)
		;
	check_eq(errno, EAGAIN);
	while (send(fd[0], block, 1, MSG_DONTWAIT) > 0)
		;
	check_eq(errno, EAGAIN);
	check_eq(torc_stream_open(&e->s, fd[0]), 0);
	e->peer = fd[1];
	check_eq(torc_stream_write(&e->s, "x", 1), 0);
}

/* Close with each operation under way or none, the peer never reads. */
static int close_cancelled(void *arg)
{
	struct torc_slice in;
	struct torc_scope t;
	struct end e;

	(void)arg;
	for (int rx = 0; rx < 3; rx++) {
		for (int tx = 0; tx < 3; tx++) {
			uint64_t start;
			int expected = tx ? -ECANCELED : 0;

			if (tx == 2)
				open_full_end(&e);
			else
				open_end(&e);
			if (rx == 2)
				peer_sends(&e, 0, 100000); /* received, never consumed */
			torc_scope_enter(&t, TORC_MS(10));
			if (rx)
				(void)!torc_stream_peek(&e.s, &in);
			torc_scope_leave(&t);
			if (tx == 1)
				check_eq(torc_stream_write(&e.s, "x", 1), 0);
			torc_scope_enter(&t, TORC_NEVER);
			torc_scope_cancel(&t);
			start = torc_now_ns();
			check_eq(torc_stream_close(&e.s), expected);
			check_lt(torc_now_ns() - start, TORC_SECONDS(2));
			torc_scope_leave(&t);
			close(e.peer);
		}
	}
	return 0;
}

Test(stream, close_in_a_cancelled_scope_is_prompt_and_leaks_nothing)
{
	run_all_features(NULL, close_cancelled, NULL);
	check_eq(run_with(&few_buffers, close_cancelled, NULL), 0);
}

static int close_deadline(void *arg)
{
	struct torc_scope t;
	struct end e;

	(void)arg;
	open_full_end(&e);
	torc_scope_enter(&t, TORC_MS(30));
	check_eq(torc_stream_close(&e.s), -ETIMEDOUT);
	torc_scope_leave(&t);
	close(e.peer);
	return 0;
}

Test(stream, close_flushes_no_longer_than_the_scope)
{
	run_all_features(NULL, close_deadline, NULL);
}

/* --- many connections --- */

static int starving(void *arg)
{
	enum { CONNECTIONS = 64, ACTIVE = 4, EACH = 20000 };
	static struct end e[CONNECTIONS];
	struct torc_group g;
	struct torc_slice in;

	(void)arg;
	for (int i = 0; i < CONNECTIONS; i++) {
		open_end(&e[i]);
		peer_sends(&e[i], 0, i < ACTIVE ? 1 : EACH);
		check_eq(torc_stream_peek(&e[i].s, &in), 1); /* receives from now on */
	}
	torc_group_enter(&g);
	{
		struct pump tx[ACTIVE], rx[ACTIVE];
		struct torc_stream s[ACTIVE];

		for (int i = 0; i < ACTIVE; i++) {
			uint64_t seed = (uint64_t)i;

			torc_stream_consume(&e[i].s, 1);
			check_eq(torc_stream_open(&s[i], e[i].peer), 0);
			tx[i] = (struct pump){ &s[i], 0, seed, 200000, 1, 20000 };
			rx[i] = (struct pump){ &e[i].s, 0, seed, 200000, 1, 0 };
			check_eq(torc_group_spawn(&g, pump_write, &tx[i]), 0);
			check_eq(torc_group_spawn(&g, pump_read, &rx[i]), 0);
		}
		check_eq(torc_group_wait(&g), 0);
		for (int i = 0; i < ACTIVE; i++) {
			check_eq(torc_stream_close(&s[i]), 0);
			e[i].peer = -1;
		}
	}
	for (int i = ACTIVE; i < CONNECTIONS; i++) { /* the slow ones wake up: nothing is lost */
		struct pump rx = { &e[i].s, 0, 7, EACH, 1, 0 };

		peer_ends(&e[i]);
		check_eq(pump_read(&rx), 0);
		check_eq(torc_stream_peek(&e[i].s, &in), 0);
	}
	for (int i = 0; i < CONNECTIONS; i++)
		close_end(&e[i]);
	return 0;
}

Test(stream, slow_readers_do_not_starve_the_rest)
{
	run_all_features(&few_buffers, starving, NULL);
	run_all_features(NULL, starving, NULL);
}

static int integrity(void *arg)
{
	enum { CONNECTIONS = 6, EACH = 300000 };
	struct torc_stream s[CONNECTIONS][2];
	struct pump tx[CONNECTIONS][2], rx[CONNECTIONS][2];
	struct torc_group g;
	uint64_t seed = *(uint64_t *)arg;

	torc_group_enter(&g);
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd[2];

		if (i % 2)
			unix_pair(fd);
		else
			tcp_pair(fd);
		for (int k = 0; k < 2; k++) {
			uint64_t name = seed + (uint64_t)(i * 2 + k);

			check_eq(torc_stream_open(&s[i][k], fd[k]), 0);
			tx[i][k] =
				(struct pump){ &s[i][k], 0, name, EACH, name, i < 3 ? 40000 : 900 };
			rx[i][!k] = (struct pump){ &s[i][!k], 0, name + 50, EACH, name, 0 };
			check_eq(torc_group_spawn(&g, pump_write, &tx[i][k]), 0);
		}
		for (int k = 0; k < 2; k++)
			check_eq(torc_group_spawn(&g, pump_read, &rx[i][k]), 0);
	}
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < CONNECTIONS; i++)
		for (int k = 0; k < 2; k++)
			check_eq(torc_stream_close(&s[i][k]), 0);
	return 0;
}

Test(stream, random_sizes_in_both_directions_arrive_intact)
{
	for (uint64_t seed = 1; seed <= 4; seed++) {
		run_all_features(seed % 2 ? NULL : &few_buffers, integrity, &seed);
		check_eq(run_with(&(struct torc_options){ .ring_entries = 8 }, integrity, &seed),
			 0);
	}
}

/* --- cancelled reads --- */

static int paced_writer(void *arg)
{
	struct pump *p = arg;
	char buf[9000];

	for (uint64_t at = 0; at < p->total;) {
		size_t len = 1 + next_random(&p->seed) % p->most;

		len = len < p->total - at ? len : p->total - at;
		fill_bytes(buf, len, p->name, at);
		check_eq(torc_send_all(p->fd, buf, len), 0);
		at += len;
		if (!(next_random(&p->seed) % 3))
			check_eq(torc_sleep(next_random(&p->seed) % 50000), 0);
	}
	check_eq(shutdown(p->fd, SHUT_WR), 0);
	return 0;
}

static int peek_cancelled(void *arg)
{
	uint64_t seed = *(uint64_t *)arg, at = 0, cancelled = 0;
	struct pump tx = { .seed = seed, .total = 400000, .name = 3, .most = 9000 };
	struct torc_group g;
	struct end e;
	int r = 1;

	open_end(&e);
	tx.fd = e.peer;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, paced_writer, &tx), 0);
	while (r) {
		struct torc_slice in = { NULL, 0 };
		struct torc_scope t;
		size_t n;

		torc_scope_enter(&t, next_random(&seed) % 40000);
		if (next_random(&seed) % 3)
			r = torc_stream_peek(&e.s, &in);
		else
			r = torc_stream_fill(&e.s, 1 + next_random(&seed) % 12000, &in);
		torc_scope_leave(&t);
		check(r >= 0 || r == -ETIMEDOUT);
		if (r < 0) {
			cancelled++;
			torc_yield();
			continue;
		}
		check(same_bytes(in.data, in.len, 3, at));
		n = in.len && r ? 1 + next_random(&seed) % in.len : in.len;
		torc_stream_consume(&e.s, n);
		at += n;
		if (!r && n)
			r = 1;
	}
	check_eq(at, tx.total);
	check_ge(cancelled, 1);
	check_eq(torc_group_wait(&g), 0);
	close_end(&e);
	return 0;
}

Test(stream, a_read_cut_short_at_any_time_loses_no_byte)
{
	for (uint64_t seed = 1; seed <= 3; seed++) {
		run_all_features(NULL, peek_cancelled, &seed);
		run_all_features(&few_buffers, peek_cancelled, &seed);
	}
}

static int peek_in_cancelled_scope(void *arg)
{
	struct torc_slice in;
	struct torc_scope t;
	struct end e;
	char c;

	(void)arg;
	open_end(&e);
	send_text(e.peer, "abc");
	check_eq(torc_stream_peek(&e.s, &in), 1);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_stream_peek(&e.s, &in), -ECANCELED);
	check_eq(torc_stream_read(&e.s, &c, 1), -ECANCELED);
	check_eq(torc_stream_read_exact(&e.s, &c, 1), -ECANCELED);
	check_eq(torc_stream_fill(&e.s, 1, &in), -ECANCELED);
	check_eq(torc_stream_read_until(&e.s, 'a', 3, &in), -ECANCELED);
	torc_scope_leave(&t);
	check_eq(torc_stream_fill(&e.s, 3, &in), 1);
	check(same_text(in, "abc"));
	close_end(&e);
	return 0;
}

Test(stream, reads_in_a_cancelled_scope_consume_nothing)
{
	run(peek_in_cancelled_scope, NULL);
}

/* The header: consuming more than was shown traps. */
static int consume_too_much(void *arg)
{
	struct torc_slice in;
	struct end e;

	(void)arg;
	open_end(&e);
	send_text(e.peer, "abc");
	check_eq(torc_stream_peek(&e.s, &in), 1);
	torc_stream_consume(&e.s, in.len + 1);
	exit(0);
}

Test(stream, consuming_more_than_was_shown_traps, .signal = SIGABRT)
{
	(void)!torc_run(NULL, consume_too_much, NULL);
}
