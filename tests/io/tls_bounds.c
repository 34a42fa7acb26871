/*
 * TLS on streams: what a connection must not do to others, to itself, and to memory.
 */
#include <dirent.h>
#include <sys/resource.h>

#include <malloc.h>
#include <openssl/err.h>

#include <torc/core/timeout.h>
#include <torc/io/socket.h>

#include "io/internal/tls.h"
#include "tests/io/tls.h"

TestSuite(tls_bounds, .timeout = 60);

static const struct torc_tls_options defaults;

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

static void abandon(struct torc_stream s[2])
{
	(void)torc_stream_close(&s[0]);
	(void)torc_stream_close(&s[1]);
}

/* As if it had come from OpenSSL. */
static void say_raw(struct torc_stream *s, const char *data, size_t len)
{
	check_eq(torc_stream_write(&s->tls->below, data, len), 0);
	check_eq(torc_stream_flush(&s->tls->below), 0);
}

static int peek_briefly(struct torc_stream *s)
{
	struct torc_slice in;
	int r = 0;

	torc_within(TORC_MS(10)) r = torc_stream_peek(s, &in);
	return r;
}

static void say_and_hear(struct torc_stream *from, struct torc_stream *to)
{
	char word[5];

	check_eq(torc_stream_write(from, "hello", 5), 0);
	check_eq(torc_stream_read_exact(to, word, 5), 0);
	check(!memcmp(word, "hello", 5));
}

/* --- one beside another --- */

static const char half_record[] = "\x17\x03\x03";
static const char bad_record[] = "\x17\x03\x03\x00\x20"
				 "0123456789abcdef0123456789abcdef";

static int fail_beside(void *arg)
{
	struct torc_stream a[2], b[2];
	struct torc_slice in;
	char why[TORC_TLS_WHY_MAX];

	open_encrypted(arg, a, true);
	open_encrypted(arg, b, true);
	check_eq(torc_stream_write(&a[1], "good", 4), 0);
	check_eq(torc_stream_flush(&a[1]), 0);
	say_raw(&a[1], bad_record, sizeof(bad_record) - 1);
	say_raw(&b[1], half_record, sizeof(half_record) - 1);
	/* what came before the forged record is read before its failure */
	check_eq(torc_stream_peek(&a[0], &in), 1);
	check(same_text(in, "good"));
	check_eq(peek_briefly(&b[0]), -ETIMEDOUT);
	torc_stream_consume(&a[0], 4);
	check_eq(torc_stream_peek(&a[0], &in), -EPROTO);
	check_eq(torc_stream_peek(&a[0], &in), -EPROTO);
	check_eq(torc_stream_write(&a[0], "x", 1), 0);
	check_eq(torc_stream_flush(&a[0]), -EPROTO);
	check(strstr(torc_tls_why(&a[0], why), "bad record mac"));
	abandon(a);
	abandon(b);
	return 0;
}

Test(tls_bounds, a_connection_that_fails_leaves_others_alone)
{
	in_world(fail_beside, defaults, defaults);
}

static void leave_an_error(void)
{
	ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
}

static int use_beside(void *arg)
{
	struct torc_stream s[2];

	leave_an_error();
	open_encrypted(arg, s, true);
	say_raw(&s[1], half_record, sizeof(half_record) - 1);
	leave_an_error();
	check_eq(peek_briefly(&s[0]), -ETIMEDOUT);
	leave_an_error();
	say_and_hear(&s[0], &s[1]);
	leave_an_error();
	check_eq(torc_stream_shutdown(&s[0]), 0);
	abandon(s);
	return 0;
}

Test(tls_bounds, what_the_program_itself_leaves_on_openssls_list_is_not_ours)
{
	in_world(use_beside, defaults, defaults);
}

/* --- a server that drains --- */

static int drain(void *arg)
{
	uint8_t now = TORC__DRAIN_NOW;
	struct torc_stream s[2];
	struct torc_slice in;

	open_encrypted(arg, s, false);
	check_eq(torc_stream_write(&s[1], "request", 7), 0);
	check_eq(torc_stream_flush(&s[1]), 0);
	/* received, and not looked at yet */
	check_eq(torc_stream_peek(s[0].below, &in), 1);
	s[0].drain = s[0].below->drain = &now;
	check_eq(torc_stream_peek(&s[0], &in), 1);
	check(same_text(in, "request"));
	torc_stream_consume(&s[0], in.len);
	check_eq(torc_stream_peek(&s[0], &in), -ECANCELED);
	torc_stream_set_busy(&s[0], true);
	check_eq(peek_briefly(&s[0]), -ETIMEDOUT);
	s[0].drain = s[0].below->drain = NULL;
	close_both(s);
	return 0;
}

Test(tls_bounds, a_drain_does_not_take_away_what_was_received)
{
	in_world(drain, defaults, defaults);
}

/* --- twice --- */

struct piece {
	struct torc_stream *s;
	size_t total;
};

static int read_piece(void *arg)
{
	struct piece *p = arg;
	struct torc_slice in;

	for (size_t at = 0; at < p->total; at += in.len) {
		check_eq(torc_stream_peek(p->s, &in), 1);
		check(same_bytes(in.data, in.len, 1, at));
		torc_stream_consume(p->s, in.len);
	}
	return 0;
}

static void send_piece(struct torc_stream s[2], size_t total)
{
	char *data = malloc(total);
	struct piece p = { &s[1], total };
	struct torc_group g;

	fill_bytes(data, total, 1, 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, read_piece, &p), 0);
	check_eq(torc_stream_write(&s[0], data, total), 0);
	check_eq(torc_stream_flush(&s[0]), 0);
	check_eq(torc_group_wait(&g), 0);
	free(data);
}

static int twice(void *arg)
{
	static const size_t totals[] = { 1, 5000, 70000, 1000000 };
	struct world *w = arg;

	for (int in_memory = 0; in_memory < 2; in_memory++) {
		struct end server = { .tls = w->server };
		struct end client = { .tls = w->client, .host = "a.test" };
		struct torc_stream s[2];

		open_encrypted(w, s, in_memory);
		meet(s, &server, &client);
		check_eq(client.result, 0);
		check_eq(server.result, 0);
		for (size_t i = 0; i < COUNT(totals); i++)
			send_piece(s, totals[i]);
		check_eq(torc_stream_shutdown(&s[0]), 0);
		check_eq(peek_briefly(&s[1]), 0);
		close_both(s);
	}
	return 0;
}

Test(tls_bounds, a_connection_may_be_encrypted_within_another_one)
{
	in_world(twice, defaults, defaults);
}

static int twice_all(void *arg)
{
	return twice(arg);
}

Test(tls_bounds, works_without_newer_features_of_the_kernel)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	run_all_features(NULL, twice_all, &w);
	close_world(&w);
}

/* --- the end --- */

static int shut_down(void *arg)
{
	return torc_stream_shutdown(arg);
}

/* It is cancelled when the goodbye has been said and is not sent yet. */
static int shut_down_briefly(void *arg)
{
	struct torc_stream s[2];
	struct torc_group g;

	open_encrypted(arg, s, false);
	check_eq(torc_stream_flush(&s[0]), 0);
	torc_group_enter_supervisor(&g);
	check_eq(torc_group_spawn(&g, shut_down, &s[0]), 0);
	check_eq(torc_yield(), 0);
	torc_group_cancel(&g);
	(void)torc_group_wait(&g);
	check(!s[0].tx_closed);
	check_eq(torc_stream_write(&s[0], "x", 1), 0);
	check_eq(torc_stream_flush(&s[0]), -EPIPE);
	check_eq(peek_briefly(&s[1]), 0);
	/* the other direction is of no concern to it */
	say_and_hear(&s[1], &s[0]);
	abandon(s);
	return 0;
}

Test(tls_bounds, a_write_after_the_goodbye_fails_and_reading_goes_on)
{
	in_world(shut_down_briefly, defaults, defaults);
}

static int last_owner(void *arg)
{
	struct world *w = arg;
	struct torc_stream s[2];

	open_encrypted(w, s, false);
	torc_tls_unref(w->server);
	torc_tls_unref(w->client);
	say_and_hear(&s[0], &s[1]);
	close_both(s);
	w->server = w->client = NULL;
	return 0;
}

Test(tls_bounds, a_stream_may_be_the_last_owner_of_its_configuration)
{
	in_world(last_owner, defaults, defaults);
}

/* --- messages in several records --- */

static void carry(struct torc_stream *from, struct torc_stream *to, size_t most)
{
	struct torc_slice in;

	check_eq(torc_stream_peek(from, &in), 1);
	in.len = in.len < most ? in.len : most;
	check_eq(torc_stream_write(to, in.data, in.len), 0);
	torc_stream_consume(from, in.len);
	check_eq(torc_stream_flush(to), 0);
}

/* There, back, there: then the server sends its ticket. [1] are ours. */
static void meet_by_hand(struct world *w, struct torc_stream client[2],
			 struct torc_stream server[2])
{
	struct end ends[2] = { { &server[0], w->server, NULL, 0 },
			       { &client[0], w->client, "a.test", 0 } };
	struct torc_group g;

	check_eq(torc_stream_pair(&client[0], &client[1]), 0);
	check_eq(torc_stream_pair(&server[0], &server[1]), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, accept_end, &ends[0]), 0);
	check_eq(torc_group_spawn(&g, connect_end, &ends[1]), 0);
	carry(&client[1], &server[1], SIZE_MAX);
	carry(&server[1], &client[1], SIZE_MAX);
	carry(&client[1], &server[1], SIZE_MAX);
	check_eq(torc_group_wait(&g), 0);
	check_eq(ends[0].result, 0);
	check_eq(ends[1].result, 0);
}

struct writes {
	struct torc_stream *s;
	char *data;
	size_t len;
};

/* A short one and a long one. */
static int write_two(void *arg)
{
	struct writes *w = arg;
	int r = torc_stream_write(w->s, w->data, 5);

	check_eq(r, 0);
	check_eq(torc_stream_write(w->s, w->data + 5, w->len - 5), 0);
	return torc_stream_flush(w->s);
}

/* What the client has written, when the rest of the ticket has come. */
static void read_two(struct torc_stream client[2], struct torc_stream server[2], size_t len)
{
	size_t at = 0;

	while (at < len) {
		struct torc_slice in;

		carry(&client[1], &server[1], SIZE_MAX);
		while (at < len && peek_briefly(&server[0]) > 0) {
			check_eq(torc_stream_peek(&server[0], &in), 1);
			check(same_bytes(in.data, in.len, 1, at));
			at += in.len;
			torc_stream_consume(&server[0], in.len);
		}
	}
}

/* The client's certificate is in the ticket, which so needs several of these small records; the second comes late. */
static int write_in_between(void *arg)
{
	struct world *w = arg;
	struct torc_stream client[2], server[2];
	struct writes writes = { &client[0], malloc(200000), 200000 };
	struct torc_group g;

	fill_bytes(writes.data, writes.len, 1, 0);
	SSL_CTX_set_max_send_fragment(w->server->set->contexts[0], 512);
	meet_by_hand(w, client, server);
	carry(&server[1], &client[1], 540);
	check_eq(peek_briefly(&client[0]), -ETIMEDOUT);
	check(SSL_in_init(client[0].tls->ssl));
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, write_two, &writes), 0);
	for (int i = 0; i < 20; i++)
		check_eq(torc_yield(), 0);
	check_eq(peek_briefly(&client[1]), -ETIMEDOUT);
	carry(&server[1], &client[1], SIZE_MAX);
	check_eq(peek_briefly(&client[0]), -ETIMEDOUT);
	read_two(client, server, writes.len);
	check_eq(torc_group_wait(&g), 0);
	abandon(client);
	abandon(server);
	free(writes.data);
	return 0;
}

Test(tls_bounds, a_write_waits_for_the_rest_of_a_message_that_has_come_in_part)
{
	struct world w;
	struct torc_tls_certificate own;
	struct torc_tls_options server, client;

	open_world(&w, (struct cert_wish){ 0 });
	own = (struct torc_tls_certificate){ .cert_file = w.leaf.cert_file,
					     .key_file = w.leaf.key_file };
	server = (struct torc_tls_options){ .ca_file = w.authority.cert_file };
	client = (struct torc_tls_options){ .certificates = &own, .certificate_count = 1 };
	torc_tls_unref(w.server);
	torc_tls_unref(w.client);
	w.server = server_with(&w.leaf, server);
	w.client = client_with(&w.authority, client);
	run(write_in_between, &w);
	close_world(&w);
}

/* --- a peer that only makes work --- */

struct flood {
	struct torc_stream *s;
	unsigned count;
};

static int ask_for_key(void *arg)
{
	SSL *ssl = arg;

	check_eq(SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
	return SSL_do_handshake(ssl) == 1 ? 0 : -EPIPE;
}

/* As fast as it goes, and then a word. */
static int flood_keys(void *arg)
{
	struct flood *f = arg;

	for (unsigned i = 0; i < f->count; i++) {
		check_eq(torc_call_deep(ask_for_key, f->s->tls->ssl), 0);
		if (i % 2000 == 1999)
			check_eq(torc_stream_flush(f->s), 0);
	}
	check_eq(torc_stream_write(f->s, "hello", 5), 0);
	return torc_stream_flush(f->s);
}

static int flooded(void *arg)
{
	struct torc_stream s[2];
	struct flood few = { &s[1], 60 }, many = { &s[1], 3000 };
	char word[5];

	open_encrypted(arg, s, false);
	check_eq(flood_keys(&few), 0);
	check_eq(torc_stream_read_exact(&s[0], word, 5), 0);
	check_eq(flood_keys(&few), 0);
	check_eq(torc_stream_read_exact(&s[0], word, 5), 0);
	check_eq(flood_keys(&many), 0);
	check_eq(torc_stream_read_exact(&s[0], word, 5), -EPROTO);
	/* most of them were not looked at */
	check_le(BIO_number_read(SSL_get_rbio(s[0].tls->ssl)), 40000);
	abandon(s);
	return 0;
}

Test(tls_bounds, a_peer_that_sends_new_keys_and_no_data_is_cut_off)
{
	in_world(flooded, defaults, defaults);
}

/* Nor is one that only receives. */
static int rekey_while_reading(void *arg)
{
	struct torc_stream s[2];

	open_encrypted(arg, s, false);
	for (int i = 0; i < 200; i++) {
		check_eq(torc_call_deep(ask_for_key, s[1].tls->ssl), 0);
		say_and_hear(&s[0], &s[1]);
		check_eq(peek_briefly(&s[0]), -ETIMEDOUT);
	}
	close_both(s);
	return 0;
}

Test(tls_bounds, new_keys_between_data_may_be_many)
{
	in_world(rekey_while_reading, defaults, defaults);
}

/* --- kernel TLS --- */

static int with_kernel(void *arg)
{
	struct world *w = arg;
	struct torc_stream s[2];

	SSL_CTX_set_options(w->server->set->contexts[0], SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_options(w->client->set->contexts[0], SSL_OP_ENABLE_KTLS);
	open_encrypted(w, s, false);
	send_piece(s, 100000);
	close_both(s);
	return 0;
}

Test(tls_bounds, who_has_kernel_tls_switched_on_for_all_programs_gets_it_by_openssl)
{
	static const struct torc_tls_options old = { .max_version = 12 };

	in_world(with_kernel, defaults, defaults);
	in_world(with_kernel, old, old);
}

/* --- the loop's time --- */

#define BURST 20

static int one_of_burst(void *arg)
{
	struct world *w = arg;
	struct torc_stream s[2];

	open_encrypted(w, s, true);
	close_both(s);
	return 0;
}

/* Each handshake is computed in three steps at least that have a turn of their own: two of the client's, one of the server's. */
static int burst(void *arg)
{
	struct torc_stats before, after;
	struct torc_group g;

	torc_stats(&before);
	torc_group_enter(&g);
	for (int i = 0; i < BURST; i++)
		check_eq(torc_group_spawn(&g, one_of_burst, arg), 0);
	check_eq(torc_group_wait(&g), 0);
	torc_stats(&after);
	check_ge(after.turns - before.turns, 3 * BURST);
	return 0;
}

Test(tls_bounds, a_burst_of_handshakes_leaves_turns_to_others)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	run(burst, &w);
	close_world(&w);
}

/* Threads that compute for handshakes, of a lower priority than this one. */
static int count_threads(void)
{
	int count = 0, own = getpriority(PRIO_PROCESS, 0);
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;

	check(tasks);
	while ((entry = readdir(tasks))) {
		char path[300], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", entry->d_name);
		f = *entry->d_name == '.' ? NULL : fopen(path, "r");
		if (!f)
			continue;
		check(fgets(name, sizeof(name), f));
		fclose(f);
		if (strncmp(name, "tls", 3))
			continue;
		check_ge(getpriority(PRIO_PROCESS, (id_t)atoi(entry->d_name)),
			 own + 10 < 19 ? own + 10 : 19);
		count++;
	}
	closedir(tasks);
	return count;
}

static int among_others(void *arg)
{
	enum { OTHERS = 10 };
	struct torc_stream s[2], others[OTHERS][2];

	open_encrypted(arg, s, false);
	close_both(s);
	check_eq(count_threads(), 0);
	for (int i = 0; i < OTHERS; i++)
		open_sockets(others[i]);
	open_encrypted(arg, s, false);
	check_ge(count_threads(), 1);
	close_both(s);
	for (int i = 0; i < OTHERS; i++)
		close_both(others[i]);
	return 0;
}

Test(tls_bounds, where_others_would_be_held_up_handshakes_compute_behind_them)
{
	in_world(among_others, defaults, defaults);
}
