/*
 * TLS on streams that are cut, delayed, forged and cancelled.
 */
#include <torc/io/socket.h>

#include "io/internal/tls.h"
#include "tests/io/tls.h"

TestSuite(tls_faults, .timeout = 120);

/* --- somebody in the middle --- */

/* What a relay does to what it carries in one direction. */
struct tamper {
	uint64_t cut_at;  /* ends after so many bytes, without a word */
	uint64_t flip_at; /* byte of which a bit is changed */
	size_t piece;     /* bytes at once; 0: as they come */
};

struct carry {
	struct torc_stream *from, *to;
	struct tamper t;
	uint64_t count;
	uint64_t next_record; /* where it begins */
	unsigned char length; /* the high byte of its length */
	bool in_version;      /* what was changed is a version in front of a record */
};

/* RFC 8446, 5.1: the version in front of a record that is not encrypted means nothing. */
static void note_record(struct carry *c, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t at = c->count + i, in_header = at - c->next_record;

		if (at == c->t.flip_at && at >= c->next_record &&
		    (in_header == 1 || in_header == 2))
			c->in_version = true;
		if (at < c->next_record)
			continue;
		if (in_header == 3)
			c->length = (unsigned char)data[i];
		if (in_header == 4)
			c->next_record =
				at + 1 + ((unsigned)c->length << 8 | (unsigned char)data[i]);
	}
}

static int carry_piece(struct carry *c, const char *data, size_t len)
{
	char copy[4096];

	memcpy(copy, data, len);
	note_record(c, data, len);
	if (c->t.flip_at >= c->count && c->t.flip_at < c->count + len)
		copy[c->t.flip_at - c->count] ^= 0x10;
	c->count += len;
	return torc_stream_write(c->to, copy, len);
}

static int carry_main(void *arg)
{
	struct carry *c = arg;
	struct torc_slice in;
	int r = 0;

	while (c->count < c->t.cut_at && !r && torc_stream_peek(c->from, &in) > 0) {
		size_t len = in.len < 4096 ? in.len : 4096;

		if (c->t.piece && len > c->t.piece)
			len = c->t.piece;
		if (len > c->t.cut_at - c->count)
			len = (size_t)(c->t.cut_at - c->count);
		r = carry_piece(c, in.data, len);
		torc_stream_consume(c->from, len);
		if (!r)
			r = torc_stream_flush(c->to);
		if (!r && c->t.piece)
			r = torc_yield();
	}
	r = torc_stream_shutdown(c->to);
	return 0;
}

/* Between a server and a client: both handshakes through it, then a word each way. */
struct middle {
	struct world *w;
	struct torc_tls *server, *client;
	struct tamper up, down; /* towards the server, towards the client */
	int server_result, client_result;
	int server_read, client_read;
	uint64_t up_count, down_count;
	bool in_version;
};

struct talk {
	struct end end;
	bool is_server;
	int read;
};

/* Says a word, hears one, and ends. */
static int talk_main(void *arg)
{
	struct talk *t = arg;
	struct torc_stream *s = t->end.s;
	char word[5];
	int r;

	t->end.result = t->is_server ? torc_tls_accept(s, t->end.tls)
				     : torc_tls_connect(s, t->end.tls, t->end.host);
	t->read = t->end.result;
	if (!t->end.result) {
		t->read = torc_stream_write(s, t->is_server ? "world" : "hello", 5);
		if (!t->read)
			t->read = torc_stream_read_exact(s, word, 5);
		if (!t->read) {
			struct torc_slice in;

			check(!memcmp(word, t->is_server ? "hello" : "world", 5));
			r = torc_stream_shutdown(s);
			t->read = torc_stream_peek(s, &in);
		}
	}
	r = torc_stream_close(s);
	(void)r;
	return 0;
}

static int middle_main(void *arg)
{
	struct middle *m = arg;
	struct torc_stream client[2], server[2]; /* [1] is the relay's */
	struct talk talks[2] = {
		{ .end = { &server[0], m->server, NULL, 0 }, .is_server = true },
		{ .end = { &client[0], m->client, "a.test", 0 } },
	};
	struct carry up = { .from = &client[1], .to = &server[1], .t = m->up };
	struct carry down = { .from = &server[1], .to = &client[1], .t = m->down };
	struct torc_group g;
	int r;

	check_eq(torc_stream_pair(&client[0], &client[1]), 0);
	check_eq(torc_stream_pair(&server[0], &server[1]), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, talk_main, &talks[0]), 0);
	check_eq(torc_group_spawn(&g, talk_main, &talks[1]), 0);
	check_eq(torc_group_spawn(&g, carry_main, &up), 0);
	check_eq(torc_group_spawn(&g, carry_main, &down), 0);
	check_eq(torc_group_wait(&g), 0);
	r = torc_stream_close(&client[1]);
	r = torc_stream_close(&server[1]);
	(void)r;
	m->server_result = talks[0].end.result;
	m->client_result = talks[1].end.result;
	m->server_read = talks[0].read;
	m->client_read = talks[1].read;
	m->up_count = up.count;
	m->down_count = down.count;
	m->in_version = up.in_version || down.in_version;
	return 0;
}

static struct middle between(struct world *w)
{
	const struct tamper none = { UINT64_MAX, UINT64_MAX, 0 };

	return (struct middle){
		.w = w, .server = w->server, .client = w->client, .up = none, .down = none
	};
}

static int whole(void *arg)
{
	struct middle m = between(arg);

	check_eq(middle_main(&m), 0);
	check_eq(m.client_result, 0);
	check_eq(m.server_result, 0);
	check_eq(m.client_read, 0);
	check_eq(m.server_read, 0);
	m.up.piece = m.down.piece = 1;
	check_eq(middle_main(&m), 0);
	check_eq(m.client_result, 0);
	check_eq(m.server_result, 0);
	check_eq(m.client_read, 0);
	check_eq(m.server_read, 0);
	return 0;
}

static void in_world(torc_fn *fn, struct torc_tls_options server, struct torc_tls_options client)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	torc_tls_unref(w.server);
	torc_tls_unref(w.client);
	w.server = server_with(&w.leaf, server);
	w.client = client_with(&w.authority, client);
	run(fn, &w);
	close_world(&w);
}

static const struct torc_tls_options defaults;
static const struct torc_tls_options elsewhere = { .compute = TORC_TLS_COMPUTE_OTHER };
static const struct torc_tls_options full = { .no_resumption = true };
static const struct torc_tls_options old = { .max_version = 12 };

Test(tls_faults, records_that_come_byte_by_byte_are_understood)
{
	in_world(whole, defaults, defaults);
	in_world(whole, elsewhere, elsewhere);
	in_world(whole, old, defaults);
}

/* Where either side is when the other one is cut off: never a clean end, unless all was said. */
static int cut_everywhere(void *arg)
{
	struct middle m = between(arg);
	uint64_t up, down;

	check_eq(middle_main(&m), 0);
	up = m.up_count;
	/* signatures are not all of the same length */
	down = m.down_count - 8;
	for (uint64_t at = 0; at < up - 8; at++) {
		m = between(arg);
		m.up.cut_at = at;
		check_eq(middle_main(&m), 0);
		check(m.server_result == -ECONNABORTED || m.server_read == -ECONNABORTED);
	}
	for (uint64_t at = 0; at < down; at++) {
		m = between(arg);
		m.down.cut_at = at;
		check_eq(middle_main(&m), 0);
		check(m.client_result == -ECONNABORTED || m.client_read == -ECONNABORTED);
	}
	return 0;
}

Test(tls_faults, a_stream_that_is_cut_at_any_byte_ends_with_an_error)
{
	in_world(cut_everywhere, full, full);
	in_world(cut_everywhere, old, full);
}

/* Not every byte: that would be seconds, and under a sanitizer half a minute. */
#ifdef TORC__ASAN
#define STRIDE 11
#else
#define STRIDE 3
#endif

/* One changed bit: somebody notices, and nobody reads what was not said. */
static int flip_everywhere(void *arg)
{
	struct middle m = between(arg);
	uint64_t up, down;

	check_eq(middle_main(&m), 0);
	up = m.up_count;
	down = m.down_count - 8; /* signatures are not all of the same length */
	for (uint64_t at = 0; at < up + down; at += STRIDE) {
		m = between(arg);
		*(at < up ? &m.up.flip_at : &m.down.flip_at) = at < up ? at : at - up;
		/* a length that has grown is waited for: the end then comes from the other side */
		check_eq(middle_main(&m), 0);
		check(m.client_read < 0 || m.server_read < 0 || m.in_version);
	}
	return 0;
}

Test(tls_faults, one_changed_bit_anywhere_is_noticed)
{
	struct torc_tls_options o = full;

	o.handshake_ns = TORC_MS(30);
	in_world(flip_everywhere, o, o);
	o.max_version = 12;
	in_world(flip_everywhere, o, o);
}

/* --- not TLS at all --- */

#define GARBAGE(text)                  \
	{                              \
		text, sizeof(text) - 1 \
	}

static int say_garbage(void *arg)
{
	static const struct {
		const char *data;
		size_t len;
	} words[] = {
		GARBAGE("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
		GARBAGE("\x16\x03\x01\xff\xff\x01"),
		GARBAGE("\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff"),
		GARBAGE("\x80\x2e\x01\x03\x01"),
		GARBAGE("\x15\x03\x01\x00\x02\x02\x28"),
		GARBAGE("\x17\x03\x03\x00\x01x"),
		GARBAGE("SSH-2.0-OpenSSH_9.2\r\n"),
	};
	struct world *w = arg;

	for (size_t i = 0; i < COUNT(words); i++) {
		for (int as_client = 0; as_client < 2; as_client++) {
			struct torc_stream s[2];
			struct torc_slice in;
			int r;

			check_eq(torc_stream_pair(&s[0], &s[1]), 0);
			check_eq(torc_stream_write(&s[1], words[i].data, words[i].len), 0);
			check_eq(torc_stream_shutdown(&s[1]), 0);
			r = as_client ? torc_tls_connect(&s[0], w->client, "a.test")
				      : torc_tls_accept(&s[0], w->server);
			check(r == -EPROTO || r == -ECONNABORTED);
			check_eq(torc_stream_peek(&s[0], &in), r);
			check_eq(torc_stream_write(&s[0], "x", 1), r);
			r = torc_stream_close(&s[0]);
			r = torc_stream_close(&s[1]);
		}
	}
	return 0;
}

Test(tls_faults, what_is_no_tls_is_refused)
{
	in_world(say_garbage, defaults, defaults);
	in_world(say_garbage, elsewhere, elsewhere);
}

/* --- the end --- */

static int half_close(void *arg)
{
	struct torc_stream s[2];
	struct torc_slice in;
	char buf[8];

	open_encrypted(arg, s, false);
	check_eq(torc_stream_write(&s[0], "last", 4), 0);
	check_eq(torc_stream_shutdown(&s[0]), 0);
	check_eq(torc_stream_write(&s[0], "x", 1), -EPIPE);
	check_eq(torc_stream_read_exact(&s[1], buf, 4), 0);
	check_eq(torc_stream_peek(&s[1], &in), 0);
	check_eq(torc_stream_peek(&s[1], &in), 0);
	/* the other direction is still open */
	check_eq(torc_stream_write(&s[1], "answer", 6), 0);
	check_eq(torc_stream_shutdown(&s[1]), 0);
	check_eq(torc_stream_read_exact(&s[0], buf, 6), 0);
	check_eq(torc_stream_peek(&s[0], &in), 0);
	close_both(s);
	return 0;
}

Test(tls_faults, each_direction_ends_by_itself)
{
	in_world(half_close, defaults, defaults);
}

static int peer_vanishes(void *arg)
{
	struct torc_stream s[2];
	struct torc_slice in;
	char buf[4];
	int r;

	for (int reset = 0; reset < 2; reset++) {
		open_encrypted(arg, s, false);
		check_eq(torc_stream_write(&s[0], "last", 4), 0);
		check_eq(torc_stream_flush(&s[0]), 0);
		check_eq(torc_stream_read_exact(&s[1], buf, 4), 0);
		s[0].tls->error = -EPROTO; /* so that it says nothing when it closes */
		if (reset)
			check_eq(torc_set_linger(torc_stream_fd(&s[0]), 0), 0);
		r = torc_stream_close(&s[0]);
		check_eq(torc_stream_peek(&s[1], &in), reset ? -ECONNRESET : -ECONNABORTED);
		check_eq(torc_stream_peek(&s[1], &in), reset ? -ECONNRESET : -ECONNABORTED);
		r = torc_stream_close(&s[1]);
		(void)r;
	}
	return 0;
}

Test(tls_faults, a_peer_that_says_no_goodbye_has_been_cut_off)
{
	in_world(peer_vanishes, defaults, defaults);
}

/* --- time and cancellation --- */

/* The first of them is silent. */
static int silent(void *arg)
{
	struct world *w = arg;
	char why[TORC_TLS_WHY_MAX];

	for (int as_client = 0; as_client < 2; as_client++) {
		struct torc_stream s[2];
		int r;

		check_eq(torc_stream_pair(&s[0], &s[1]), 0);
		r = as_client ? torc_tls_connect(&s[1], w->client, "a.test")
			      : torc_tls_accept(&s[1], w->server);
		check_eq(r, -ETIMEDOUT);
		check(strstr(torc_tls_why(&s[1], why), "timed out"));
		check_eq(torc_stream_write(&s[1], "x", 1), -EPIPE);
		r = torc_stream_close(&s[0]);
		r = torc_stream_close(&s[1]);
	}
	return 0;
}

Test(tls_faults, a_handshake_has_a_deadline)
{
	struct torc_tls_options o = { .handshake_ns = TORC_MS(20) };

	in_world(silent, o, o);
}

/* Cancelled after so many turns; does it end by itself before? */
static bool cancel_after(struct world *w, unsigned turns, bool server)
{
	struct torc_stream s[2];
	struct end ends[2] = { { &s[0], w->server, NULL, 0 }, { &s[1], w->client, "a.test", 0 } };
	struct torc_group g, other;
	struct torc_slice in;
	int r;

	open_sockets(s);
	torc_group_enter(&other);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(server ? &g : &other, accept_end, &ends[0]), 0);
	check_eq(torc_group_spawn(server ? &other : &g, connect_end, &ends[1]), 0);
	for (unsigned i = 0; i < turns; i++)
		check_eq(torc_yield(), 0);
	torc_group_cancel(&g);
	r = torc_group_wait(&g);
	r = ends[!server].result;
	check(r == 0 || r == -ECANCELED);
	if (r)
		check_lt(torc_stream_peek(&s[!server], &in), 0);
	(void)torc_stream_close(&s[!server]); /* the other one then sees that it ends */
	torc_group_cancel(&other);
	(void)torc_group_wait(&other);
	(void)torc_stream_close(&s[server]);
	return !r;
}

static int cancel_everywhere(void *arg)
{
	for (int server = 0; server < 2; server++) {
		unsigned turns = 0, done = 0;

		/* until it is done before it is cancelled, ten times in a row */
		while (done < 10 && turns < 20000)
			done = cancel_after(arg, turns++, server) ? done + 1 : 0;
		check_eq(done, 10);
	}
	return 0;
}

Test(tls_faults, a_handshake_is_cancelled_at_any_turn)
{
	in_world(cancel_everywhere, full, full);
}

/* Nothing of what was read or written is lost by a cancellation. */
static int cancelled_read(void *arg)
{
	struct torc_stream s[2];
	struct torc_slice in;
	struct torc_scope scope;
	char buf[5];
	int r;

	open_encrypted(arg, s, false);
	for (int i = 0; i < 50; i++) {
		torc_scope_enter(&scope, (uint64_t)i * 2000);
		r = torc_stream_peek(&s[1], &in);
		torc_scope_leave(&scope);
		check_eq(torc_stream_write(&s[0], "12345", 5), 0);
		torc_scope_enter(&scope, (uint64_t)i * 2000);
		r = torc_stream_fill(&s[1], 5, &in);
		torc_scope_leave(&scope);
		check_eq(torc_stream_read_exact(&s[1], buf, 5), 0);
		check(!memcmp(buf, "12345", 5));
	}
	(void)r;
	close_both(s);
	return 0;
}

Test(tls_faults, a_cancelled_read_loses_nothing)
{
	in_world(cancelled_read, defaults, defaults);
}

/* --- limits --- */

static int accept_briefly(void *arg)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, TORC_MS(20));
	r = accept_end(arg);
	torc_scope_leave(&scope);
	return r;
}

static int second_in_line(void *arg)
{
	struct world *w = arg;
	struct torc_stream mute[2], s[2];
	struct end first = { &mute[0], w->server, NULL, 0 };
	struct end server = { .tls = w->server }, client = { .tls = w->client, .host = "a.test" };
	struct torc_group g;
	int r;

	check_eq(torc_stream_pair(&mute[0], &mute[1]), 0);
	check_eq(torc_stream_write(&mute[1], "\x16\x03\x01", 3), 0);
	check_eq(torc_stream_flush(&mute[1]), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, accept_briefly, &first), 0);
	open_sockets(s);
	while (torc_sem_units(&w->server->handshakes))
		check_eq(torc_yield(), 0);
	meet(s, &server, &client);
	/* it had its turn when the first one's time was over */
	check_eq(first.result, -ETIMEDOUT);
	check_eq(server.result, 0);
	check_eq(torc_group_wait(&g), 0);
	close_both(s);
	r = torc_stream_close(&mute[0]);
	r = torc_stream_close(&mute[1]);
	(void)r;
	return 0;
}

Test(tls_faults, more_handshakes_than_there_may_be_wait_in_line)
{
	struct torc_tls_options o = { .handshakes_max = 1 };

	in_world(second_in_line, o, defaults);
}

/* The peer asks for new keys again and again, and takes none of the answers. */
static int ask_for_keys(void *arg)
{
	struct torc__tls *t = arg;

	check_eq(SSL_key_update(t->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	return SSL_write(t->ssl, "x", 1) == 1 ? 0 : -EPIPE;
}

static int flood(void *arg)
{
	struct torc_stream s[2];
	struct torc_slice in;
	int r = 0;

	open_encrypted(arg, s, true);
	for (int i = 0; i < 20000 && r >= 0; i++) {
		check_eq(torc_call_deep(ask_for_keys, s[1].tls), 0);
		check_eq(torc_stream_flush(&s[1]), 0);
		r = torc_stream_peek(&s[0], &in);
		if (r > 0)
			torc_stream_consume(&s[0], in.len);
		check_le(torc__stream_unsent(&s[0]), 300000);
	}
	(void)torc_stream_close(&s[1]);
	(void)torc_stream_close(&s[0]);
	return 0;
}

Test(tls_faults, answers_that_a_peer_does_not_take_are_bounded)
{
	in_world(flood, defaults, defaults);
}

static int renegotiate(void *arg)
{
	struct torc_stream s[2];
	struct torc_slice in;

	open_encrypted(arg, s, true);
	check_eq(SSL_renegotiate(s[1].tls->ssl), 0); /* not allowed here either: so by force */
	SSL_clear_options(s[1].tls->ssl, SSL_OP_NO_RENEGOTIATION);
	check_eq(SSL_renegotiate(s[1].tls->ssl), 1);
	(void)SSL_do_handshake(s[1].tls->ssl);
	torc__stream_push(&s[1].tls->below);
	check_eq(torc_stream_write(&s[0], "still here", 10), 0);
	check_eq(torc_stream_flush(&s[0]), 0);
	{
		struct torc_scope scope;

		torc_scope_enter(&scope, TORC_MS(20));
		check_lt(torc_stream_peek(&s[0], &in), 0);
		torc_scope_leave(&scope);
	}
	(void)torc_stream_close(&s[1]);
	(void)torc_stream_close(&s[0]);
	return 0;
}

Test(tls_faults, a_connection_is_not_renegotiated)
{
	in_world(renegotiate, old, old);
}

/* --- from clear to encrypted --- */

static int upgrade(void *arg)
{
	struct world *w = arg;
	struct end server = { .tls = w->server }, client = { .tls = w->client, .host = "a.test" };
	struct torc_stream s[2];
	struct torc_slice line;

	open_sockets(s);
	check_eq(torc_stream_write(&s[1], "STARTTLS\n", 9), 0);
	check_eq(torc_stream_read_line(&s[0], 100, &line), 1);
	check(same_text(line, "STARTTLS"));
	check_eq(torc_stream_write(&s[0], "go on\n", 6), 0);
	check_eq(torc_stream_read_line(&s[1], 100, &line), 1);
	check(same_text(line, "go on"));
	meet(s, &server, &client);
	check_eq(server.result, 0);
	check_eq(client.result, 0);
	check_eq(torc_stream_write(&s[1], "secret\n", 7), 0);
	check_eq(torc_stream_read_line(&s[0], 100, &line), 1);
	check(same_text(line, "secret"));
	close_both(s);
	return 0;
}

Test(tls_faults, an_open_stream_changes_over)
{
	in_world(upgrade, defaults, defaults);
}

/* Whoever does not look at the result must not go on in the clear. */
static int refused_hosts(void *arg)
{
	static const char label[] = "a23456789012345678901234567890.";
	char too_long[9 * sizeof(label)] = "";
	const char *const hosts[] = { "", too_long };
	struct world *w = arg;

	for (int i = 0; i < 9; i++)
		strcat(too_long, label);
	for (size_t i = 0; i < 2; i++) {
		struct torc_stream s[2];
		struct torc_slice in;

		open_sockets(s);
		check_eq(torc_stream_write(&s[0], "bait", 4), 0);
		check_eq(torc_stream_peek(&s[1], &in), 1);
		check_eq(torc_tls_connect(&s[1], w->client, hosts[i]), -EINVAL);
		check_eq(torc_stream_write(&s[1], "secret", 6), -EINVAL);
		check_eq(torc_stream_flush(&s[1]), -EINVAL);
		check_eq(torc_stream_peek(&s[1], &in), -EINVAL);
		check_eq(torc_stream_close(&s[1]), -EINVAL);
		check_eq(torc_stream_peek(&s[0], &in), 0); /* nothing had come */
		check_eq(torc_stream_close(&s[0]), 0);
	}
	return 0;
}

Test(tls_faults, a_host_that_cannot_be_one_leaves_a_stream_of_no_use)
{
	in_world(refused_hosts, defaults, defaults);
}

/* --- stacks --- */

static int on_small_stacks(void *arg)
{
	struct torc_stream s[2];
	char buf[100];

	open_encrypted(arg, s, false);
	check_eq(torc_stream_write(&s[0], "hello", 5), 0);
	check_eq(torc_stream_read_exact(&s[1], buf, 5), 0);
	check_eq(torc_tls_peer_subject(&s[1], buf, sizeof(buf)), 9);
	close_both(s);
	return 0;
}

Test(tls_faults, fibers_with_the_smallest_stack_will_do)
{
	const struct torc_options small = { .stack_bytes = 16384 };
	struct world w;

	open_world(&w, (struct cert_wish){
			       .subject = "a.test", .rsa_bits = 2048, .names = "DNS:a.test" });
	check_eq(run_with(&small, on_small_stacks, &w), 0);
	close_world(&w);
}
