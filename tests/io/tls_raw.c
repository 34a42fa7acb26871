/*
 * TLS servers, spoken to by OpenSSL itself: what our own clients do not ask for.
 */
#include <openssl/err.h>
#include <openssl/ocsp.h>

#include "io/internal/tls.h"
#include "tests/io/tls.h"

TestSuite(tls_raw, .timeout = 60);

/* --- a client without torc_tls --- */

struct raw {
	SSL_CTX *context;
	SSL *ssl;
	struct torc_stream *s;
	int (*step)(SSL *ssl); /* until it returns 1 */
	int result;
};

static int raw_make(void *arg)
{
	struct raw *w = arg;

	w->context = SSL_CTX_new(TLS_client_method());
	w->ssl = SSL_new(w->context);
	SSL_set_bio(w->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(w->ssl);
	check_eq(SSL_set_tlsext_host_name(w->ssl, "a.test"), 1);
	return 0;
}

static int raw_free(void *arg)
{
	struct raw *w = arg;

	SSL_free(w->ssl);
	SSL_CTX_free(w->context);
	return 0;
}

static void raw_open(struct raw *w, struct torc_stream *s)
{
	*w = (struct raw){ .s = s };
	(void)torc_call_deep(raw_make, w);
}

static void raw_close(struct raw *w)
{
	(void)torc_call_deep(raw_free, w);
}

static int raw_step(void *arg)
{
	struct raw *w = arg;
	int r;

	ERR_clear_error();
	r = w->step(w->ssl);
	w->result = r > 0 ? 0 : SSL_get_error(w->ssl, r);
	return 0;
}

static void raw_send(struct raw *w)
{
	char *data;
	long len = BIO_get_mem_data(SSL_get_wbio(w->ssl), &data);

	if (len <= 0)
		return;
	check_eq(torc_stream_write(w->s, data, (size_t)len), 0);
	check_eq(torc_stream_flush(w->s), 0);
	check_eq(BIO_reset(SSL_get_wbio(w->ssl)), 1);
}

/* Returns 0, or OpenSSL's error. */
static int raw_run(struct raw *w, int (*step)(SSL *ssl))
{
	struct torc_slice in;

	w->step = step;
	for (;;) {
		(void)torc_call_deep(raw_step, w);
		raw_send(w);
		if (w->result != SSL_ERROR_WANT_READ)
			return w->result;
		if (torc_stream_peek(w->s, &in) != 1)
			return SSL_ERROR_SYSCALL;
		BIO_write(SSL_get_rbio(w->ssl), in.data, (int)in.len);
		torc_stream_consume(w->s, in.len);
	}
}

/* Against a server of ours, which then says a word. */
static int answer(void *arg)
{
	struct end *e = arg;

	e->result = torc_tls_accept(e->s, e->tls);
	if (!e->result)
		e->result = torc_stream_write(e->s, "hello", 5);
	if (!e->result)
		e->result = torc_stream_flush(e->s);
	return 0;
}

static int hear_word(SSL *ssl)
{
	char word[6];
	int r = SSL_read(ssl, word, sizeof(word));

	if (r > 0)
		check(r == 5 && !memcmp(word, "hello", 5));
	return r;
}

static int say_word(SSL *ssl)
{
	return SSL_write(ssl, "later", 5);
}

/* --- what an authority says of a certificate --- */

static void write_answer(const struct cert *authority, const struct cert *leaf, int status,
			 const char *path)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(NULL, leaf->x509, authority->x509);
	ASN1_TIME *from = X509_gmtime_adj(NULL, -60), *to = X509_gmtime_adj(NULL, 3600);
	OCSP_RESPONSE *response;
	unsigned char *der = NULL;
	FILE *f = fopen(path, "w");
	int len;

	check(f && OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, to));
	check_eq(OCSP_basic_sign(basic, authority->x509, authority->key, EVP_sha256(), NULL, 0), 1);
	response = OCSP_response_create(status,
					status == OCSP_RESPONSE_STATUS_SUCCESSFUL ? basic : NULL);
	len = i2d_OCSP_RESPONSE(response, &der);
	check_eq(fwrite(der, 1, (size_t)len, f), len);
	fclose(f);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_CERTID_free(id);
	OCSP_BASICRESP_free(basic);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

struct asking {
	struct torc_tls *server;
	const char *path; /* what is to come, or NULL: nothing */
	const char *host;
	bool asks;
	int version;
};

static void compare(SSL *ssl, const char *path)
{
	const unsigned char *got;
	long len = SSL_get_tlsext_status_ocsp_resp(ssl, &got);
	char want[8192];
	FILE *f;

	if (!path) {
		check_eq(len, -1);
		return;
	}
	f = fopen(path, "r");
	check(f);
	check_eq(fread(want, 1, sizeof(want), f), len);
	check(!memcmp(want, got, (size_t)len));
	fclose(f);
}

static int ask(void *arg)
{
	struct asking *a = arg;
	struct torc_stream s[2];
	struct end server = { .s = &s[0], .tls = a->server };
	struct torc_group g;
	struct raw w;

	check_eq(torc_stream_pair(&s[0], &s[1]), 0);
	raw_open(&w, &s[1]);
	check_eq(SSL_set_tlsext_host_name(w.ssl, a->host), 1);
	SSL_set_max_proto_version(w.ssl, a->version);
	if (a->asks)
		check_eq(SSL_set_tlsext_status_type(w.ssl, TLSEXT_STATUSTYPE_ocsp), 1);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, answer, &server), 0);
	check_eq(raw_run(&w, SSL_do_handshake), 0);
	check_eq(raw_run(&w, hear_word), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(server.result, 0);
	compare(w.ssl, a->path);
	raw_close(&w);
	(void)torc_stream_close(&s[1]);
	(void)torc_stream_close(&s[0]);
	return 0;
}

static void ask_of(struct torc_tls *server, const char *host, bool asks, const char *path)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct asking a = { server, path, host, asks, version };

		run(ask, &a);
	}
}

Test(tls_raw, what_the_authority_says_is_shown_to_who_asks_and_read_again_with_the_certificate)
{
	struct torc_tls_certificate two[2];
	struct torc_tls_options o = { .certificates = two, .certificate_count = 2 };
	char path[64], why[TORC_TLS_WHY_MAX];
	struct torc_tls *server;
	struct cert other;
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	other = cert_make(&w.all, &w.authority,
			  (struct cert_wish){ .subject = "b", .names = "DNS:b.test" });
	snprintf(path, sizeof(path), "%s/ocsp.der", w.all.directory);
	write_answer(&w.authority, &other, OCSP_RESPONSE_STATUS_SUCCESSFUL, path);
	two[0] = (struct torc_tls_certificate){ .cert_file = w.leaf.cert_file,
						.key_file = w.leaf.key_file };
	two[1] = (struct torc_tls_certificate){ .cert_file = other.cert_file,
						.key_file = other.key_file,
						.ocsp_file = path };
	cr_assert_eq(torc_tls_server_create(&o, &server, why), 0);
	ask_of(server, "a.test", true, NULL);
	ask_of(server, "b.test", true, path);
	ask_of(server, "b.test", false, NULL);
	write_answer(&w.authority, &w.leaf, OCSP_RESPONSE_STATUS_SUCCESSFUL, path);
	cr_assert_eq(torc_tls_reload(server, why), 0);
	ask_of(server, "b.test", true, path);
	torc_tls_unref(server);
	cert_free(&other);
	unlink(path);
	close_world(&w);
}

Test(tls_raw, a_file_that_is_no_answer_of_an_authority_is_refused)
{
	struct torc_tls_certificate c;
	struct torc_tls_options o = { .certificates = &c, .certificate_count = 1 };
	char path[64], why[TORC_TLS_WHY_MAX] = "";
	struct torc_tls *tls;
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	snprintf(path, sizeof(path), "%s/ocsp.der", w.all.directory);
	c = (struct torc_tls_certificate){ .cert_file = w.leaf.cert_file,
					   .key_file = w.leaf.key_file,
					   .ocsp_file = path };
	cr_assert_eq(torc_tls_server_create(&o, &tls, why), -ENOENT);
	cr_assert(strstr(why, path), "%s", why);
	write_answer(&w.authority, &w.leaf, OCSP_RESPONSE_STATUS_TRYLATER, path);
	cr_assert_eq(torc_tls_server_create(&o, &tls, why), -EINVAL);
	cr_assert(strstr(why, path) && strstr(why, "not a successful"), "%s", why);
	cr_assert_eq(truncate(path, 3), 0);
	cr_assert_eq(torc_tls_server_create(&o, &tls, why), -EINVAL);
	cr_assert(strstr(why, path), "%s", why);
	cr_assert_eq(truncate(path, 0), 0);
	cr_assert_eq(torc_tls_server_create(&o, &tls, why), -EINVAL);
	cr_assert_eq(torc_tls_client_create(&o, &tls, why), -EINVAL);
	cr_assert(strstr(why, "ocsp_file"), "%s", why);
	unlink(path);
	close_world(&w);
}

/* --- early data --- */

static int say_early(SSL *ssl)
{
	size_t n;

	return SSL_write_early_data(ssl, "early", 5, &n);
}

static SSL_SESSION *visit(struct torc_tls *tls, SSL_SESSION *session)
{
	struct torc_stream s[2];
	struct end server = { .s = &s[0], .tls = tls };
	struct torc_group g;
	SSL_SESSION *next;
	char word[5];
	struct raw w;

	check_eq(torc_stream_pair(&s[0], &s[1]), 0);
	raw_open(&w, &s[1]);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, answer, &server), 0);
	if (session) {
		check_eq(SSL_SESSION_get_max_early_data(session), 0);
		check_eq(SSL_SESSION_set_max_early_data(session, 1000), 1); /* it insists */
		check_eq(SSL_set_session(w.ssl, session), 1);
		check_eq(raw_run(&w, say_early), 0);
	}
	check_eq(raw_run(&w, SSL_do_handshake), 0);
	check_eq(SSL_get_early_data_status(w.ssl),
		 session ? SSL_EARLY_DATA_REJECTED : SSL_EARLY_DATA_NOT_SENT);
	check_eq(SSL_session_reused(w.ssl), session != NULL);
	check_eq(raw_run(&w, hear_word), 0);
	check_eq(raw_run(&w, say_word), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(server.result, 0);
	check_eq(torc_stream_read_exact(&s[0], word, 5), 0);
	check(!memcmp(word, "later", 5));
	next = SSL_get1_session(w.ssl);
	SSL_set_shutdown(w.ssl, SSL_SENT_SHUTDOWN); /* or it would be no more good */
	raw_close(&w);
	(void)torc_stream_close(&s[1]);
	(void)torc_stream_close(&s[0]);
	return next;
}

static int visit_twice(void *arg)
{
	struct world *w = arg;
	SSL_SESSION *first = visit(w->server, NULL), *second = visit(w->server, first);

	SSL_SESSION_free(first);
	SSL_SESSION_free(second);
	return 0;
}

Test(tls_raw, early_data_is_not_taken_and_the_handshake_is_as_usual)
{
	struct world w;

	open_world(&w, (struct cert_wish){ 0 });
	run(visit_twice, &w);
	close_world(&w);
}
