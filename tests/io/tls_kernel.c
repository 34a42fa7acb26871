/*
 * TLS that is sent by the kernel, where one stands in that has it: it sits behind the socket of one end, and does there what
 * Linux does (Documentation/networking/tls.rst) with the keys that it is given.
 */
#include <linux/tls.h>
#include <poll.h>

#include <torc/io/file.h>
#include <torc/io/poll.h>
#include <torc/io/socket.h>

#include "io/internal/tls.h"
#include "tests/io/tls.h"

TestSuite(tls_kernel, .timeout = 60);

/* --- the kernel --- */

static struct fake {
	int fd;              /* the program's socket, whose other end is `inside` */
	int inside, outside; /* outside: towards the peer */
	int attach_error, key_error;
	unsigned attached, given, records;
	bool encrypts;
	unsigned version;
	char key[32];
	unsigned key_bytes;
	unsigned char salt[4], iv[8];
	uint64_t number;
} fake;

static void count_up(unsigned char bytes[8])
{
	for (int i = 7; i >= 0 && !++bytes[i]; i--)
		;
}

static void put64(unsigned char *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (unsigned char)(v >> (56 - 8 * i));
}

static void put16(unsigned char *p, size_t v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

struct sealing {
	unsigned char nonce[12], extra[13];
	int extra_len;
};

/* RFC 8446, 5.2 and 5.3. */
static struct sealing seal_as_13(const unsigned char *header)
{
	struct sealing s = { .extra_len = 5 };
	unsigned char number[8];

	memcpy(s.extra, header, 5);
	put64(number, fake.number);
	memcpy(s.nonce, fake.salt, 4);
	for (int i = 0; i < 8; i++)
		s.nonce[4 + i] = fake.iv[i] ^ number[i];
	return s;
}

/* RFC 5288, 3; RFC 5246, 6.2.3.3. */
static struct sealing seal_as_12(unsigned char type, size_t len)
{
	struct sealing s = { .extra_len = 13 };

	memcpy(s.nonce, fake.salt, 4);
	memcpy(s.nonce + 4, fake.iv, 8);
	put64(s.extra, fake.number);
	s.extra[8] = type;
	s.extra[9] = s.extra[10] = 3;
	put16(s.extra + 11, len);
	return s;
}

static size_t seal(unsigned char *to, const struct sealing *s, const unsigned char *data,
		   size_t len)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	const EVP_CIPHER *kind = fake.key_bytes == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
	int n;

	check_eq(EVP_EncryptInit_ex(c, kind, NULL, (const unsigned char *)fake.key, s->nonce), 1);
	check_eq(EVP_EncryptUpdate(c, NULL, &n, s->extra, s->extra_len), 1);
	check_eq(EVP_EncryptUpdate(c, to, &n, data, (int)len), 1);
	check_eq(EVP_EncryptFinal_ex(c, to + len, &n), 1);
	check_eq(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, to + len), 1);
	EVP_CIPHER_CTX_free(c);
	return len + 16;
}

static void send_out(const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = send(fake.outside, (const char *)data + done, len - done, MSG_NOSIGNAL);

		check_ge(n, 0);
		done += (size_t)n;
	}
}

static void put_record(unsigned char type, const unsigned char *data, size_t len)
{
	static unsigned char record[17000], plain[17000];
	bool is_13 = fake.version == TLS_1_3_VERSION;
	size_t body = is_13 ? len + 1 + 16 : 8 + len + 16;
	struct sealing s;

	record[0] = is_13 ? 23 : type;
	record[1] = record[2] = 3;
	put16(record + 3, body);
	memcpy(plain, data, len);
	plain[len] = type;
	s = is_13 ? seal_as_13(record) : seal_as_12(type, len);
	if (!is_13)
		memcpy(record + 5, fake.iv, 8);
	check_eq(seal(record + (is_13 ? 5 : 13), &s, plain, len + is_13),
		 is_13 ? len + 17 : len + 16);
	send_out(record, 5 + body);
	fake.number++;
	if (!is_13)
		count_up(fake.iv);
	fake.records++;
}

/* What the program has written. Returns false at the end. */
static bool pass_on(void)
{
	static unsigned char piece[16384];
	ssize_t n;

	while ((n = recv(fake.inside, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
		if (fake.encrypts)
			put_record(23, piece, (size_t)n);
		else
			send_out(piece, (size_t)n);
	}
	return n;
}

static int fake_attach(int fd)
{
	if (fd != fake.fd)
		return -ENOENT;
	fake.attached++;
	return fake.attach_error;
}

static int fake_give_keys(int fd, const void *keys, unsigned bytes)
{
	const struct tls12_crypto_info_aes_gcm_128 *k128 = keys;
	const struct tls12_crypto_info_aes_gcm_256 *k256 = keys;
	bool is_128 = k128->info.cipher_type == TLS_CIPHER_AES_GCM_128;

	check_eq(fd, fake.fd);
	check_eq(bytes, is_128 ? sizeof(*k128) : sizeof(*k256));
	fake.given++;
	if (fake.key_error)
		return fake.key_error;
	check(pass_on()); /* what was sent before is not touched */
	fake.encrypts = true;
	fake.version = k128->info.version;
	fake.key_bytes = is_128 ? 16 : 32;
	memcpy(fake.key, is_128 ? k128->key : k256->key, fake.key_bytes);
	memcpy(fake.salt, is_128 ? k128->salt : k256->salt, 4);
	memcpy(fake.iv, is_128 ? k128->iv : k256->iv, 8);
	fake.number = 0;
	for (int i = 0; i < 8; i++)
		fake.number = fake.number << 8 | (is_128 ? k128->rec_seq : k256->rec_seq)[i];
	return 0;
}

static int fake_send(int fd, unsigned char type, const void *data, size_t len)
{
	check_eq(fd, fake.fd);
	check(fake.encrypts);
	check(pass_on()); /* it comes behind */
	put_record(type, data, len);
	return torc_yield();
}

static const struct torc__tls_kernel fake_kernel = { fake_attach, fake_give_keys, fake_send };

/* From the program to the peer. */
static int outwards(void *arg)
{
	(void)arg;
	while (torc_poll(fake.inside, POLLIN) > 0 && pass_on())
		;
	shutdown(fake.outside, SHUT_WR);
	return 0;
}

static int inwards(void *arg)
{
	char piece[4096];
	int n;

	(void)arg;
	while ((n = torc_recv(fake.outside, piece, sizeof(piece), 0)) > 0)
		if (torc_send_all(fake.inside, piece, (size_t)n) < 0)
			break;
	shutdown(fake.inside, SHUT_WR);
	return 0;
}

/* --- both ends --- */

struct party {
	struct torc_tls *server, *client; /* the one that is to be helped has the option */
	bool client_has_it;
	int expected; /* of the handshake of the one who has it */
	torc_fn *then;
	struct torc_stream s[2]; /* server, client */
};

/* A stream whose socket has the kernel behind it, and its peer. */
static void open_with_kernel(struct torc_stream *s, struct torc_stream *peer)
{
	int near[2], far[2];

	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, near), 0);
	tcp_pair(far);
	fake.fd = near[0];
	fake.encrypts = false;
	fake.inside = near[1];
	fake.outside = far[0];
	check_eq(torc_stream_open(s, near[0]), 0);
	check_eq(torc_stream_open(peer, far[1]), 0);
}

static int meet_and_talk(void *arg)
{
	struct party *p = arg;
	struct end server = { .tls = p->server }, client = { .tls = p->client, .host = "a.test" };
	int has = p->client_has_it;
	struct torc_group g;

	open_with_kernel(&p->s[has], &p->s[!has]);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, outwards, NULL), 0);
	check_eq(torc_group_spawn(&g, inwards, NULL), 0);
	meet(p->s, &server, &client);
	check_eq(has ? client.result : server.result, p->expected);
	if (!p->expected) {
		check_eq(server.result, 0);
		check_eq(client.result, 0);
		check_eq(p->then(p), 0);
	}
	(void)!torc_stream_close(&p->s[0]);
	(void)!torc_stream_close(&p->s[1]);
	check_eq(torc_group_wait(&g), 0);
	close(fake.inside);
	close(fake.outside);
	return 0;
}

struct wish {
	struct torc_tls_options options; /* of both */
	bool of_client, other_cipher, is_rsa;
	int expected;
};

static void with_party(torc_fn *fn, struct party *p, struct wish wish)
{
	struct torc_tls_options o = wish.options;
	struct cert_wish leaf = { 0 };
	struct world w;

	if (wish.is_rsa)
		leaf = (struct cert_wish){ .subject = "a.test",
					   .rsa_bits = 2048,
					   .names = "DNS:a.test" };
	open_world(&w, leaf);
	torc__tls_kernel = &fake_kernel;
	o.kernel_sends = true;
	p->server = server_with(&w.leaf, o);
	p->client = client_with(&w.authority, o);
	if (wish.other_cipher) {
		SSL_CTX *c = p->client->set->contexts[0];

		check_eq(SSL_CTX_set_ciphersuites(c, "TLS_AES_256_GCM_SHA384"), 1);
		check_eq(SSL_CTX_set_cipher_list(c, "ECDHE-ECDSA-AES256-GCM-SHA384"), 1);
	}
	run(fn, p);
	torc_tls_unref(p->server);
	torc_tls_unref(p->client);
	close_world(&w);
}

static void with_kernel(torc_fn *then, struct wish wish)
{
	with_party(meet_and_talk,
		   &(struct party){ .client_has_it = wish.of_client,
				    .expected = wish.expected,
				    .then = then },
		   wish);
}

/* --- what is said --- */

static char nth_byte(size_t i)
{
	return (char)(i * 7 + i / 251);
}

struct telling {
	struct torc_stream *s;
	size_t bytes, piece;
};

static int tell(void *arg)
{
	struct telling *t = arg;
	static char all[400000];
	int r = 0;

	check_le(t->bytes, sizeof(all));
	for (size_t i = 0; i < t->bytes; i++)
		all[i] = nth_byte(i);
	for (size_t done = 0; !r && done < t->bytes; done += t->piece)
		r = torc_stream_write(t->s, all + done,
				      t->piece < t->bytes - done ? t->piece : t->bytes - done);
	return r;
}

static void hear(struct torc_stream *s, size_t bytes)
{
	struct torc_slice in;

	for (size_t done = 0; done < bytes;) {
		check_eq(torc_stream_peek(s, &in), 1);
		for (size_t i = 0; i < in.len; i++)
			check_eq(in.data[i], nth_byte(done + i));
		torc_stream_consume(s, in.len);
		done += in.len;
		check_le(done, bytes);
	}
}

static void carry(struct torc_stream *from, struct torc_stream *to, size_t bytes, size_t piece)
{
	struct telling t = { from, bytes, piece };
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, tell, &t), 0);
	hear(to, bytes);
	check_eq(torc_group_wait(&g), 0);
}

static int say_all(void *arg)
{
	struct party *p = arg;
	struct torc_stream *has = &p->s[p->client_has_it], *peer = &p->s[!p->client_has_it];
	struct torc_tls_info info;
	struct torc_slice in;

	check(torc_tls_info(has, &info) && info.kernel_sends);
	check(torc_tls_info(peer, &info) && !info.kernel_sends);
	check_eq(fake.given, 1);
	carry(has, peer, 10, 3);
	carry(peer, has, 10, 3);
	carry(has, peer, 400000, 1000);
	carry(has, peer, 400000, 100000);
	carry(peer, has, 400000, 100000);
	check_ge(fake.records, 800000 / 16384);
	check_eq(torc_stream_write(has, "last", 4), 0);
	check_eq(torc_stream_shutdown(has), 0);
	check_eq(torc_stream_write(has, "x", 1), -EPIPE);
	check_eq(torc_stream_fill(peer, 5, &in), 0); /* and a clean end */
	check_eq(in.len, 4);
	torc_stream_consume(peer, 4);
	carry(peer, has, 10, 10);
	check_eq(torc_stream_shutdown(peer), 0);
	check_eq(torc_stream_peek(has, &in), 0);
	return 0;
}

static const struct torc_tls_options old = { .max_version = 12 };

static void in_all_ways(struct wish wish)
{
	for (int of_client = 0; of_client < 2; of_client++) {
		wish.of_client = of_client;
		fake.given = fake.records = 0;
		with_kernel(say_all, wish);
	}
}

Test(tls_kernel, it_sends_what_a_server_or_a_client_of_tls_1_3_writes)
{
	in_all_ways((struct wish){ 0 });
}

Test(tls_kernel, it_sends_with_tls_1_2_too)
{
	in_all_ways((struct wish){ .options = old });
}

Test(tls_kernel, keys_may_be_of_256_bits)
{
	in_all_ways((struct wish){ .other_cipher = true });
}

Test(tls_kernel, the_handshake_may_compute_on_other_threads)
{
	in_all_ways((struct wish){ .options = { .compute = TORC_TLS_COMPUTE_OTHER } });
	in_all_ways(
		(struct wish){ .options = { .max_version = 12, .compute = TORC_TLS_COMPUTE_OTHER },
			       .is_rsa = true });
}

/* --- files --- */

#define FILE_BYTES 400000

/* More than is spliced at least. */
static int make_file(void)
{
	char path[] = "/tmp/torc-tls-XXXXXX";
	int fd = mkstemp(path);

	check_ge(fd, 0);
	unlink(path);
	for (size_t i = 0; i < FILE_BYTES; i++) {
		char c = nth_byte(i);

		check_eq(pwrite(fd, &c, 1, (off_t)i), 1);
	}
	return fd;
}

static int copy_file(void *arg)
{
	struct telling *t = arg;
	struct torc_stream file;
	uint64_t copied;
	int r;

	check_eq(torc_stream_open_fds(&file, make_file(), -1), 0);
	r = torc_stream_copy(t->s, &file, UINT64_MAX, &copied);
	check_eq(copied, FILE_BYTES);
	check_eq(torc_stream_close(&file), 0);
	return r;
}

static int send_file(void *arg)
{
	struct party *p = arg;
	struct telling t = { .s = &p->s[0] };
	struct torc_group g;

	/* The stream below is taken for it, and so the kernel moves the bytes. */
	check_eq(p->s[0].kind->bare(&p->s[0]), p->s[0].below);
	carry(&p->s[0], &p->s[1], 100, 100);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, copy_file, &t), 0);
	hear(&p->s[1], FILE_BYTES);
	check_eq(torc_group_wait(&g), 0);
	carry(&p->s[0], &p->s[1], 100000, 50000);
	return 0;
}

Test(tls_kernel, files_go_into_it_without_a_copy)
{
	with_kernel(send_file, (struct wish){ 0 });
}

/* --- cancellation --- */

/* The handshake of the one who has it ends after so many turns. Is it done before? */
static bool cancel_after(struct party *p, unsigned turns)
{
	struct end ends[2] = { { &p->s[0], p->server, NULL, 0 },
			       { &p->s[1], p->client, "a.test", 0 } };
	int has = p->client_has_it, r;
	struct torc_group pumps, g, other;

	open_with_kernel(&p->s[has], &p->s[!has]);
	torc_group_enter(&pumps);
	torc_group_enter(&other);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&pumps, outwards, NULL), 0);
	check_eq(torc_group_spawn(&pumps, inwards, NULL), 0);
	check_eq(torc_group_spawn(has ? &other : &g, accept_end, &ends[0]), 0);
	check_eq(torc_group_spawn(has ? &g : &other, connect_end, &ends[1]), 0);
	for (unsigned i = 0; i < turns; i++)
		check_eq(torc_yield(), 0);
	torc_group_cancel(&g);
	(void)!torc_group_wait(&g);
	r = ends[has].result;
	check(r == 0 || r == -ECANCELED);
	(void)!torc_stream_close(&p->s[has]);
	torc_group_cancel(&other);
	(void)!torc_group_wait(&other);
	(void)!torc_stream_close(&p->s[!has]);
	check_eq(torc_group_wait(&pumps), 0);
	close(fake.inside);
	close(fake.outside);
	return !r;
}

static int cancel_everywhere(void *arg)
{
	struct party *p = arg;
	unsigned turns = 0, done = 0;

	while (done < 10 && turns < 20000)
		done = cancel_after(p, turns++) ? done + 1 : 0;
	check_eq(done, 10);
	return 0;
}

static void cancelled(struct torc_tls_options o, bool of_client)
{
	o.no_resumption = true;
	with_party(cancel_everywhere, &(struct party){ .client_has_it = of_client },
		   (struct wish){ .options = o });
}

Test(tls_kernel, its_handshake_is_cancelled_at_any_turn)
{
	for (int of_client = 0; of_client < 2; of_client++) {
		cancelled((struct torc_tls_options){ 0 }, of_client);
		cancelled(old, of_client);
	}
}

/* --- where it cannot --- */

static int say_little(void *arg)
{
	struct party *p = arg;
	struct torc_tls_info info;

	check(torc_tls_info(&p->s[0], &info) && !info.kernel_sends);
	carry(&p->s[0], &p->s[1], 100000, 1000);
	carry(&p->s[1], &p->s[0], 100000, 1000);
	check_eq(torc_stream_shutdown(&p->s[0]), 0);
	return 0;
}

Test(tls_kernel, a_kernel_without_it_is_no_loss)
{
	fake.attach_error = -ENOENT;
	with_kernel(say_little, (struct wish){ 0 });
	check_eq(fake.attached, 1);
	check_eq(fake.given, 0);
}

static int chacha(void *arg)
{
	struct party *p = arg;
	SSL_CTX *c = p->client->set->contexts[0];

	check_eq(SSL_CTX_set_ciphersuites(c, "TLS_CHACHA20_POLY1305_SHA256"), 1);
	return meet_and_talk(p);
}

Test(tls_kernel, a_cipher_that_is_not_aes_is_left_to_openssl)
{
	with_party(chacha, &(struct party){ .then = say_little }, (struct wish){ 0 });
	check_ge(fake.attached, 1);
	check_eq(fake.given, 0);
}

Test(tls_kernel, keys_that_it_refuses_end_one_connection_and_no_other_is_tried_with_it)
{
	fake.key_error = -ENOENT;
	with_kernel(say_little, (struct wish){ .expected = -ENOENT });
	check_eq(fake.given, 1);
	with_kernel(say_little, (struct wish){ 0 });
	check_eq(fake.given, 1);
}

/* --- a peer that wants a new key --- */

static int ask_for_key(void *ssl)
{
	size_t none;

	check_eq(SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED), 1);
	(void)SSL_write_ex(ssl, "", 0, &none);
	return SSL_do_handshake(ssl);
}

static int rekey(void *arg)
{
	struct party *p = arg;
	struct torc_stream *s = &p->s[0];
	char word[5];

	check_eq(torc_call_deep(ask_for_key, p->s[1].tls->ssl), 1);
	check_eq(torc_stream_write(&p->s[1], "after", 5), 0);
	check_eq(torc_stream_read_exact(s, word, 5), 0);
	check_eq(torc_stream_write(s, "no more", 7), 0); /* kept until the end of the turn */
	check_eq(torc_stream_flush(s), -EPROTO);
	check_eq(torc_stream_write(s, s, sizeof(*s)), -EPROTO);
	return 0;
}

Test(tls_kernel, a_peer_that_asks_for_a_new_key_ends_the_connection)
{
	with_kernel(rekey, (struct wish){ 0 });
}

/* --- this machine's --- */

static const struct torc__tls_kernel *linux_kernel;

static int over_tcp(void *arg)
{
	struct party *p = arg;
	struct end server = { .tls = p->server }, client = { .tls = p->client, .host = "a.test" };

	torc__tls_kernel = linux_kernel;
	open_sockets(p->s);
	meet(p->s, &server, &client);
	check_eq(server.result, 0);
	check_eq(client.result, 0);
	carry(&p->s[0], &p->s[1], 400000, 1000);
	carry(&p->s[0], &p->s[1], 400000, 100000);
	carry(&p->s[1], &p->s[0], 400000, 1000);
	close_both(p->s);
	return 0;
}

Test(tls_kernel, whatever_this_kernel_has_all_arrives)
{
	struct party p = { 0 };

	linux_kernel = torc__tls_kernel;
	with_party(over_tcp, &p, (struct wish){ 0 });
}
