/*
 * TLS on streams: what arrives, who is believed, and how it ends.
 */
#include <torc/core/sync.h>

#include "tests/io/tls.h"

TestSuite(tls, .timeout = 60);

/* --- bytes --- */

struct pump {
	struct torc_stream *s;
	uint64_t seed, total;
	size_t most;
};

static int pump_write(void *arg)
{
	struct pump *p = arg;
	uint64_t random = p->seed, at = 0;
	char *buf = malloc(p->most);

	while (at < p->total) {
		size_t len = 1 + next_random(&random) % p->most;

		len = len < p->total - at ? len : p->total - at;
		fill_bytes(buf, len, p->seed, at);
		check_eq(torc_stream_write(p->s, buf, len), 0);
		at += len;
	}
	free(buf);
	return torc_stream_shutdown(p->s);
}

static int pump_read(void *arg)
{
	struct pump *p = arg;
	struct torc_slice in;
	uint64_t at = 0;
	int r;

	while ((r = torc_stream_peek(p->s, &in)) > 0) {
		check(same_bytes(in.data, in.len, p->seed, at));
		torc_stream_consume(p->s, in.len);
		at += in.len;
	}
	check_eq(r, 0);
	check_eq(at, p->total);
	return 0;
}

static void pump_both(struct torc_stream s[2], size_t most, uint64_t total)
{
	struct pump there = { .s = &s[0], .seed = 1, .total = total, .most = most }, back = there;
	struct pump there_rx = there, back_rx;
	struct torc_group g;

	back.s = &s[1];
	back.seed = 2;
	back_rx = back;
	there_rx.s = &s[1];
	back_rx.s = &s[0];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, pump_write, &there), 0);
	check_eq(torc_group_spawn(&g, pump_write, &back), 0);
	check_eq(torc_group_spawn(&g, pump_read, &there_rx), 0);
	check_eq(torc_group_spawn(&g, pump_read, &back_rx), 0);
	check_eq(torc_group_wait(&g), 0);
}

static int both_ways(void *arg)
{
	static const size_t most[] = { 10, 1000, 20000, 300000 };
	struct world *w = arg;

	for (size_t i = 0; i < COUNT(most); i++) {
		for (int in_memory = 0; in_memory < 2; in_memory++) {
			struct torc_stream s[2];

			open_encrypted(w, s, in_memory);
			pump_both(s, most[i], most[i] == 10 ? 20000 : 2000000);
			close_both(s);
		}
	}
	return 0;
}

Test(tls, bytes_of_any_size_arrive_in_order_both_ways)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	run(both_ways, &w);
	close_world(&w);
}

/* --- who is believed --- */

/* A server with this certificate, a client with these options that asks for this host: what both handshakes come to. */
struct trial {
	struct torc_tls *server, *client;
	const char *host;
	int server_result, client_result;
	char why[TORC_TLS_WHY_MAX], server_why[TORC_TLS_WHY_MAX];
	struct torc_tls_info info, server_info;
	char subject[64]; /* of the client's certificate */
	bool read;        /* the client reads what the server says, too */
};

static int try_main(void *arg)
{
	struct trial *t = arg;
	struct torc_stream s[2];
	struct end server = { .tls = t->server }, client = { .tls = t->client, .host = t->host };
	struct torc_slice in;
	int r = 0;

	open_sockets(s);
	meet(s, &server, &client);
	if (!client.result) {
		check(torc_tls_info(&s[1], &t->info));
		if (!server.result)
			r = torc_stream_write(&s[0], "hello", 5);
		check_eq(torc_stream_flush(&s[0]), server.result);
		r = torc_stream_peek(&s[1], &in);
		/* in TLS 1.3 a client learns only now that its certificate was refused */
		t->client_result = r == 1 ? 0 : r;
	} else {
		t->client_result = client.result;
		check_eq(torc_stream_peek(&s[1], &in), client.result);
		check_lt(torc_stream_write(&s[1], "x", 1), 0);
	}
	t->server_result = server.result;
	if (!server.result) {
		check(torc_tls_info(&s[0], &t->server_info));
		torc_tls_peer_subject(&s[0], t->subject, sizeof(t->subject));
	}
	torc_tls_why(&s[1], t->why);
	torc_tls_why(&s[0], t->server_why);
	r = torc_stream_close(&s[0]);
	r = torc_stream_close(&s[1]);
	return 0;
}

static void try(struct trial *t)
{
	run(try_main, t);
}

/* One with a leaf of its own. */
static struct trial try_leaf(struct cert_wish leaf, const char *host,
			     struct torc_tls_options client)
{
	struct trial t = { .host = host };
	struct world w;

	open_world(&w, leaf);
	torc_tls_unref(w.client);
	t.client = w.client = client_with(&w.authority, client);
	t.server = w.server;
	try(&t);
	close_world(&w);
	return t;
}

Test(tls, a_client_believes_only_a_certificate_that_is_valid_and_for_its_host)
{
	static const struct {
		struct cert_wish leaf;
		const char *host;
		int result;
		const char *why;
	} cases[] = {
		{ { .subject = "a.test", .names = "DNS:a.test" }, "a.test", 0, "" },
		{ { .subject = "a.test", .names = "DNS:a.test" }, "A.TEST", 0, "" },
		{ { .subject = "a.test", .rsa_bits = 2048, .names = "DNS:a.test" },
		  "a.test",
		  0,
		  "" },
		{ { .subject = "a.test", .names = "DNS:a.test" }, NULL, 0, "" },
		{ { .subject = "x", .names = "DNS:*.w.test" }, "b.w.test", 0, "" },
		{ { .subject = "x", .names = "DNS:*.w.test" },
		  "a.b.w.test",
		  -EKEYREJECTED,
		  "hostname mismatch" },
		{ { .subject = "x", .names = "DNS:*.w.test" },
		  "w.test",
		  -EKEYREJECTED,
		  "hostname mismatch" },
		{ { .subject = "x", .names = "DNS:b*.w.test" },
		  "bc.w.test",
		  -EKEYREJECTED,
		  "hostname mismatch" },
		{ { .subject = "a.test", .names = "DNS:b.test" },
		  "a.test",
		  -EKEYREJECTED,
		  "hostname mismatch" },
		{ { .subject = "x", .names = "IP:127.0.0.1" }, "127.0.0.1", 0, "" },
		{ { .subject = "x", .names = "IP:::1" }, "::1", 0, "" },
		{ { .subject = "127.0.0.1", .names = "DNS:a.test" },
		  "127.0.0.1",
		  -EKEYREJECTED,
		  "IP address mismatch" },
		{ { .subject = "x", .names = "DNS:127.0.0.1" },
		  "127.0.0.1",
		  -EKEYREJECTED,
		  "IP address mismatch" },
		{ { .subject = "a.test", .names = "DNS:a.test", .from_s = -7200, .to_s = -60 },
		  "a.test",
		  -EKEYEXPIRED,
		  "certificate has expired" },
		{ { .subject = "a.test", .names = "DNS:a.test", .from_s = 3600, .to_s = 7200 },
		  "a.test",
		  -EKEYEXPIRED,
		  "certificate is not yet valid" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct trial t =
			try_leaf(cases[i].leaf, cases[i].host, (struct torc_tls_options){ 0 });

		cr_assert_eq(t.client_result, cases[i].result, "case %zu: %d, %s", i,
			     t.client_result, t.why);
		cr_assert(strstr(t.why, cases[i].why), "case %zu: %s", i, t.why);
		if (cases[i].result)
			cr_assert_eq(t.server_result, -EPROTO, "case %zu: %d", i, t.server_result);
	}
}

Test(tls, what_went_wrong_names_the_host_the_peer_and_the_reason)
{
	struct trial t = try_leaf((struct cert_wish){ .subject = "a", .names = "DNS:b.test" },
				  "a.test", (struct torc_tls_options){ 0 });

	cr_assert(strstr(t.why, "a.test at tcp://127.0.0.1:"), "%s", t.why);
	cr_assert(strstr(t.why, ": certificate verify failed: hostname mismatch"), "%s", t.why);
	cr_assert(strstr(t.server_why, "tcp://127.0.0.1:") == t.server_why, "%s", t.server_why);
	cr_assert(strstr(t.server_why, "alert"), "%s", t.server_why);
}

Test(tls, an_authority_that_is_not_trusted_is_not_believed)
{
	struct world w, other;
	struct trial t = { .host = "a.test" };

	open_world(&w, (struct cert_wish){ 0 });
	open_world(&other, (struct cert_wish){ 0 });
	t.server = w.server;
	t.client = other.client;
	try(&t);
	cr_assert_eq(t.client_result, -EKEYREJECTED);
	/* the system's authorities do not know it either */
	t.client = client_with(NULL, (struct torc_tls_options){ 0 });
	try(&t);
	cr_assert_eq(t.client_result, -EKEYREJECTED);
	cr_assert(strstr(t.why, "unable to get local issuer certificate"), "%s", t.why);
	torc_tls_unref(t.client);
	close_world(&other);
	close_world(&w);
}

Test(tls, a_certificate_signed_by_itself_is_believed_only_by_who_trusts_it_or_does_not_verify)
{
	struct cert_wish wish = { .subject = "a.test", .names = "DNS:a.test" };
	struct trial t = { .host = "a.test" };
	struct certs all;
	struct cert self;

	certs_open(&all);
	self = cert_make(&all, NULL, wish);
	t.server = server_with(&self, (struct torc_tls_options){ 0 });
	t.client = client_with(NULL, (struct torc_tls_options){ 0 });
	try(&t);
	cr_assert_eq(t.client_result, -EKEYREJECTED);
	cr_assert(strstr(t.why, "self-signed"), "%s", t.why);
	torc_tls_unref(t.client);
	t.client = client_with(&self, (struct torc_tls_options){ 0 });
	try(&t);
	cr_assert_eq(t.client_result, 0, "%s", t.why);
	torc_tls_unref(t.client);
	t.client = client_with(NULL, (struct torc_tls_options){ .verify = TORC_TLS_VERIFY_NONE });
	try(&t);
	cr_assert_eq(t.client_result, 0, "%s", t.why);
	torc_tls_unref(t.client);
	torc_tls_unref(t.server);
	cert_free(&self);
	certs_close(&all);
}

Test(tls, a_weak_key_is_refused_by_both_ends)
{
	struct torc_tls_certificate c;
	struct torc_tls_options o = { .certificates = &c, .certificate_count = 1 };
	char why[TORC_TLS_WHY_MAX];
	struct torc_tls *tls;
	struct certs all;
	struct cert weak;

	certs_open(&all);
	weak = cert_make(&all, NULL, (struct cert_wish){ .subject = "a.test", .rsa_bits = 1024 });
	c = (struct torc_tls_certificate){ .cert_file = weak.cert_file, .key_file = weak.key_file };
	cr_assert_eq(torc_tls_server_create(&o, &tls, why), -EINVAL);
	cr_assert(strstr(why, weak.cert_file) && strstr(why, "key too small"), "%s", why);
	cert_free(&weak);
	certs_close(&all);
}

Test(tls, a_revoked_certificate_is_refused)
{
	char path[64];
	struct trial t = { .host = "a.test" };
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	snprintf(path, sizeof(path), "%s/crl.pem", w.all.directory);
	t.server = w.server;
	for (int revoked = 0; revoked < 2; revoked++) {
		cert_revoke(&w.authority, revoked ? &w.leaf : NULL, path);
		t.client = client_with(&w.authority, (struct torc_tls_options){ .crl_file = path });
		try(&t);
		cr_assert_eq(t.client_result, revoked ? -EKEYREVOKED : 0, "%s", t.why);
		torc_tls_unref(t.client);
	}
	unlink(path);
	close_world(&w);
}

static void pin_of(const struct cert *c, char text[45])
{
	unsigned char *der = NULL, hash[32];
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(c->x509), &der);
	unsigned hash_len;

	check(EVP_Digest(der, (size_t)len, hash, &hash_len, EVP_sha256(), NULL) == 1);
	EVP_EncodeBlock((unsigned char *)text, hash, 32);
	OPENSSL_free(der);
}

Test(tls, a_pinned_key_must_be_in_the_chain)
{
	char leaf[45], authority[45], other[45];
	struct world w, stranger;

	open_world(&w, (struct cert_wish){ 0 });
	open_world(&stranger, (struct cert_wish){ 0 });
	pin_of(&w.leaf, leaf);
	pin_of(&w.authority, authority);
	pin_of(&stranger.leaf, other);
	for (int i = 0; i < 6; i++) {
		const char *const pins[3] = { i % 3 == 0   ? leaf
					      : i % 3 == 1 ? authority
							   : other,
					      i == 2 ? NULL : other, NULL };
		bool unverified = i > 2;
		struct torc_tls_options o = {
			.pins = pins,
			.verify = unverified ? TORC_TLS_VERIFY_NONE : TORC_TLS_VERIFY_DEFAULT,
		};
		struct trial t = { .host = "a.test", .server = w.server };
		/* without verification only the leaf is known to be the peer's */
		bool good = unverified ? i == 3 : i < 2;

		t.client = client_with(&w.authority, o);
		try(&t);
		cr_assert_eq(t.client_result, good ? 0 : -EKEYREJECTED, "case %d: %s", i, t.why);
		if (!good)
			cr_assert(strstr(t.why, "pinned"), "%s", t.why);
		torc_tls_unref(t.client);
	}
	close_world(&stranger);
	close_world(&w);
}

Test(tls, a_server_may_ask_for_certificates_of_clients_or_require_them)
{
	static const struct {
		enum torc_tls_verify verify;
		int shows; /* 0: none, 1: a good one, 2: of a stranger */
		int server;
	} cases[] = {
		{ TORC_TLS_VERIFY_DEFAULT, 0, -EKEYREJECTED },
		{ TORC_TLS_VERIFY_DEFAULT, 1, 0 },
		{ TORC_TLS_VERIFY_DEFAULT, 2, -EKEYREJECTED },
		{ TORC_TLS_VERIFY_OPTIONAL, 0, 0 },
		{ TORC_TLS_VERIFY_OPTIONAL, 1, 0 },
		{ TORC_TLS_VERIFY_OPTIONAL, 2, -EKEYREJECTED },
		{ TORC_TLS_VERIFY_NONE, 0, 0 },
		{ TORC_TLS_VERIFY_NONE, 1, 0 },
	};
	struct world w, stranger;

	open_world(&w, (struct cert_wish){ 0 });
	open_world(&stranger, (struct cert_wish){ 0 });
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct cert *own = cases[i].shows == 2 ? &stranger.leaf : &w.leaf;
		struct torc_tls_certificate c = { .cert_file = own->cert_file,
						  .key_file = own->key_file };
		struct torc_tls_options so = { .verify = cases[i].verify,
					       .ca_file = w.authority.cert_file };
		struct torc_tls_options co = { .certificates = &c,
					       .certificate_count = cases[i].shows ? 1 : 0 };
		struct trial t = { .host = "a.test" };

		t.server = server_with(&w.leaf, so);
		t.client = client_with(&w.authority, co);
		try(&t);
		cr_assert_eq(t.server_result, cases[i].server, "case %zu: %d %s", i,
			     t.server_result, t.server_why);
		cr_assert_eq(t.client_result, cases[i].server ? -EPROTO : 0, "case %zu: %s", i,
			     t.why);
		if (!cases[i].server && cases[i].verify != TORC_TLS_VERIFY_NONE) {
			cr_assert_eq(t.server_info.has_certificate, cases[i].shows == 1);
			cr_assert_str_eq(t.subject, cases[i].shows ? "CN=a.test" : "");
		}
		torc_tls_unref(t.server);
		torc_tls_unref(t.client);
	}
	close_world(&stranger);
	close_world(&w);
}

/* --- what is agreed on --- */

Test(tls, the_certificate_is_chosen_by_the_name_that_is_asked_for)
{
	struct world w;
	struct cert other, wild;
	struct torc_tls_certificate three[3];
	struct torc_tls_options o = { .certificates = three, .certificate_count = 3 };
	static const struct {
		const char *host;
		int result;
	} cases[] = {
		{ "a.test", 0 },
		{ "b.test", 0 },
		{ "x.c.test", 0 },
		{ "B.test", 0 },
		{ "d.test", -EKEYREJECTED },
		{ "127.0.0.1", 0 }, /* no name is sent: the first */
	};
	struct torc_tls *server;

	open_world(&w, (struct cert_wish){ 0 });
	other = cert_make(&w.all, &w.authority,
			  (struct cert_wish){
				  .subject = "b", .rsa_bits = 2048, .names = "DNS:b.test" });
	wild = cert_make(&w.all, &w.authority,
			 (struct cert_wish){ .subject = "c", .names = "DNS:*.c.test" });
	three[0] = (struct torc_tls_certificate){ .cert_file = w.leaf.cert_file,
						  .key_file = w.leaf.key_file };
	three[1] = (struct torc_tls_certificate){ .cert_file = other.cert_file,
						  .key_file = other.key_file };
	three[2] = (struct torc_tls_certificate){ .cert_file = wild.cert_file,
						  .key_file = wild.key_file };
	cr_assert_eq(torc_tls_server_create(&o, &server, NULL), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct trial t = { .server = server, .client = w.client, .host = cases[i].host };

		try(&t);
		cr_assert_eq(t.client_result, cases[i].result, "%s: %s", cases[i].host, t.why);
	}
	torc_tls_unref(server);
	cert_free(&other);
	cert_free(&wild);
	close_world(&w);
}

Test(tls, protocols_are_agreed_on_in_the_servers_order)
{
	static const char *const server_list[] = { "h2", "http/1.1", NULL };
	static const struct {
		const char *const client[3];
		const char *agreed;
	} cases[] = {
		{ { "http/1.1", "h2", NULL }, "h2" },
		{ { "http/1.1", NULL }, "http/1.1" },
		{ { "spdy", NULL }, NULL },
		{ { NULL }, "" },
	};
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	torc_tls_unref(w.server);
	w.server = server_with(&w.leaf, (struct torc_tls_options){ .alpn = server_list });
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *agreed = cases[i].agreed;
		struct torc_tls_options o = { .alpn = cases[i].client[0] ? cases[i].client : NULL };
		struct trial t = { .host = "a.test", .server = w.server };

		t.client = client_with(&w.authority, o);
		try(&t);
		cr_assert_eq(t.client_result, agreed ? 0 : -EPROTO, "case %zu: %s", i, t.why);
		if (agreed)
			cr_assert_eq(t.info.alpn.len, strlen(agreed), "case %zu", i);
		torc_tls_unref(t.client);
	}
	close_world(&w);
}

Test(tls, a_session_is_resumed_once_and_after_a_reload_of_the_files_too)
{
	char why[TORC_TLS_WHY_MAX];
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	for (int i = 0; i < 4; i++) {
		struct trial t = { .server = w.server, .client = w.client, .host = "a.test" };

		if (i == 2)
			cr_assert_eq(torc_tls_reload(w.server, why), 0);
		try(&t);
		cr_assert_eq(t.client_result, 0);
		cr_assert_eq(t.info.resumed, i > 0, "connection %d", i);
		cr_assert_eq(t.server_info.resumed, i > 0);
	}
	close_world(&w);
}

Test(tls, a_session_is_not_resumed_with_another_server_or_host_or_when_switched_off)
{
	struct world w;
	struct trial t = { .host = "a.test" };

	open_world(&w, (struct cert_wish){ 0 });
	t.server = w.server;
	t.client = w.client;
	try(&t);
	t.host = "127.0.0.1";
	try(&t);
	cr_assert(!t.info.resumed);
	t.host = "a.test";
	t.server = server_with(&w.leaf, (struct torc_tls_options){ 0 });
	try(&t);
	cr_assert(!t.info.resumed);
	cr_assert_eq(t.client_result, 0);
	torc_tls_unref(t.server);
	t.server = server_with(&w.leaf, (struct torc_tls_options){ .no_resumption = true });
	for (int i = 0; i < 2; i++) {
		try(&t);
		cr_assert(!t.info.resumed);
	}
	torc_tls_unref(t.server);
	close_world(&w);
}

Test(tls, a_reload_that_fails_changes_nothing_and_one_that_succeeds_is_for_new_handshakes)
{
	char why[TORC_TLS_WHY_MAX] = "";
	struct world w;
	struct trial t = { .host = "a.test" };
	FILE *f;

	open_world(&w, (struct cert_wish){ 0 });
	t.server = w.server;
	f = fopen(w.leaf.cert_file, "w");
	fprintf(f, "nonsense\n");
	fclose(f);
	cr_assert_eq(torc_tls_reload(w.server, why), -EINVAL);
	cr_assert(strstr(why, w.leaf.cert_file), "%s", why);
	unlink(w.leaf.cert_file);
	cr_assert_eq(torc_tls_reload(w.server, why), -ENOENT);
	cr_assert(strstr(why, "No such file"), "%s", why);
	t.client = w.client;
	try(&t);
	cr_assert_eq(t.client_result, 0);
	f = fopen(w.leaf.cert_file, "w");
	PEM_write_X509(f, w.authority.x509);
	fclose(f);
	f = fopen(w.leaf.key_file, "w");
	PEM_write_PrivateKey(f, w.authority.key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	cr_assert_eq(torc_tls_reload(w.server, why), 0);
	t.client = client_with(&w.authority, (struct torc_tls_options){ 0 });
	try(&t);
	cr_assert_eq(t.client_result, -EKEYREJECTED); /* it is for nobody */
	torc_tls_unref(t.client);
	close_world(&w);
}

Test(tls, wrong_options_are_refused_with_a_reason)
{
	static const char *const pins[] = { "too short", NULL };
	static const char *const alpn[] = { "", NULL };
	struct torc_tls_certificate c = { .cert_file = "/nowhere/cert.pem" };
	const struct torc_tls_options cases[] = {
		{ 0 },
		{ .certificates = &c, .certificate_count = 1 },
		{ .certificates = &c, .certificate_count = 1, .min_version = 11 },
		{ .certificates = &c, .certificate_count = 1, .pins = pins },
		{ .certificates = &c, .certificate_count = 1, .alpn = alpn },
		{ .certificates = &c, .certificate_count = 1, .verify = (enum torc_tls_verify)9 },
	};
	static const char *const whys[] = { "certificate", "/nowhere/cert.pem: No such file",
					    "min_version", "pin",
					    "alpn",        "verify" };

	for (size_t i = 0; i < COUNT(cases); i++) {
		char why[TORC_TLS_WHY_MAX] = "";
		struct torc_tls *tls;

		cr_assert_eq(torc_tls_server_create(&cases[i], &tls, why),
			     i == 1 ? -ENOENT : -EINVAL);
		cr_assert(strstr(why, whys[i]), "case %zu: %s", i, why);
	}
}

/* --- from an address to a stream --- */

struct dialled {
	struct world *w;
	char address[TORC_ADDRESS_MAX];
	struct torc_event listening;
};

static void note_address(const char *address, void *arg)
{
	struct dialled *d = arg;

	snprintf(d->address, sizeof(d->address), "%s", address);
	torc_event_set(&d->listening);
}

static int say_hello(struct torc_stream *s, void *arg)
{
	(void)arg;
	return torc_stream_write(s, "hello", 5);
}

static int serve_tls(void *arg)
{
	struct dialled *d = arg;
	const char *const addresses[] = { "tls://127.0.0.1:0", NULL };

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = addresses,
		.handler = say_hello,
		.arg = d,
		.tls = d->w->server,
		.on_listen = note_address,
	});
}

static int dial_it(void *arg)
{
	struct dialled *d = arg;
	struct torc_group g;
	struct torc_stream s;
	char text[TORC_ADDRESS_MAX], why[TORC_TLS_WHY_MAX] = "", word[5];
	const char *port;
	struct torc_slice in;

	torc_event_init(&d->listening);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, serve_tls, d), 0);
	check_eq(torc_event_wait(&d->listening), 0);
	check(!strncmp(d->address, "tls://127.0.0.1:", 16));
	port = strrchr(d->address, ':');
	for (int i = 0; i < 3; i++) {
		check_eq(torc_stream_dial(&s, d->address, NULL, d->w->client, why), 0);
		check_eq(torc_stream_read_exact(&s, word, 5), 0);
		check(!memcmp(word, "hello", 5));
		check_eq(torc_stream_peek(&s, &in), 0);
		check_eq(torc_stream_close(&s), 0);
	}
	snprintf(text, sizeof(text), "tls://localhost%s", port);
	check_eq(torc_stream_dial(&s, text, NULL, d->w->client, why), -EKEYREJECTED);
	check(strstr(why, "localhost at tcp://127.0.0.1:"));
	check(strstr(why, "hostname mismatch"));
	snprintf(text, sizeof(text), "tls://127.0.0.1%s", port);
	check_eq(torc_stream_dial(&s, text, NULL, NULL, NULL), -EINVAL);
	check_eq(torc_stream_dial(&s, "tls://", NULL, d->w->client, NULL), -EINVAL);
	check_eq(torc_stream_dial(&s, "tls://tcp://127.0.0.1:1", NULL, d->w->client, NULL),
		 -EINVAL);
	check_eq(torc_stream_dial(&s, "tls://unix:/nowhere", NULL, d->w->client, NULL), -EINVAL);
	check_eq(torc_stream_dial(&s, "udp://127.0.0.1:1", NULL, NULL, NULL), -EINVAL);
	check_eq(torc_dial(text), -EINVAL);
	/* in the clear, the server waits for a handshake */
	snprintf(text, sizeof(text), "tcp://127.0.0.1%s", port);
	check_eq(torc_stream_dial(&s, text, NULL, NULL, NULL), 0);
	check_eq(torc_stream_write(&s, "hello?\n", 7), 0);
	check_ge(torc_stream_peek(&s, &in), 0); /* an alert, or the end */
	(void)!torc_stream_close(&s);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return 0;
}

Test(tls, a_stream_is_dialled_by_an_address_and_served_by_one)
{
	struct dialled d;
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	d.w = &w;
	run(dial_it, &d);
	close_world(&w);
}

static int without_certificate(void *arg)
{
	const char *const addresses[] = { "tls://127.0.0.1:0", NULL };

	return torc_serve_with(
		&(struct torc_serve_options){ .addresses = addresses, .handler = arg });
}

Test(tls, a_server_without_a_configuration_does_not_serve_such_an_address)
{
	cr_assert_eq(run_with(NULL, without_certificate, say_hello), -EINVAL);
}
