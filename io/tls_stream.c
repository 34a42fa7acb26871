/*
 * io/tls_stream.c - a stream that encrypts into another one.
 *
 * Reading: whoever wants bytes decrypts what the stream below has received, and waits for it to receive more. Writing: at the
 * end of the turn all that was written is encrypted into what the stream below is to send, and that is sent at once: one
 * send per turn, as without. OpenSSL runs on the thread's stack, the loop's in both cases, and never waits: it reads
 * what is there, and what it writes is only kept (tls_bio.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/scope.h>
#include <torc/executor/offload.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "core/internal/thread.h"
#include "io/internal/tls.h"

#define HANDSHAKE_NS TORC_SECONDS(10)

/* Of plain text, and of what a record adds to it. */
#define RECORD_BYTES    16384u
#define RECORD_OVERHEAD 64u

/* So many other connections a loop may hold up while it computes for a handshake: 0.7 ms, with RSA 1.7. */
#define OTHERS_FEW 16

/* What a server sends up to where its private key has computed is more than this, and a request to begin again less. */
#define FLIGHT_LEAST 400

/* --- reading --- */

struct reading {
	struct torc__tls *t;
	struct iovec room;
	size_t done;
};

/* A peer that has said goodbye right behind its last bytes may not close the connection: nothing more would come to tell us. */
static bool may_go_on(const struct torc__tls *t)
{
	struct torc_slice view;

	return SSL_has_pending(t->ssl) || (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN) ||
	       torc__stream_shown(&t->below, &view);
}

/* What a call that has read nothing has come to. */
static int without_bytes(struct torc__tls *t, int r)
{
	switch (SSL_get_error(t->ssl, r)) {
	case SSL_ERROR_ZERO_RETURN: return 0;
	case SSL_ERROR_WANT_READ: return -EAGAIN;
	default: return torc__tls_failed(t);
	}
}

/*
 * A handshake, and each ticket and new key that comes after it, makes OpenSSL take a buffer of 16 KiB to answer with, and keep it
 * until the next write. One of nothing sends nothing (SSL_write_ex(3)).
 */
static void drop_buffer(struct torc__tls *t)
{
	size_t none;

	if (!t->buffered || t->error || torc__tls_is_left_to_kernel(t))
		return;
	t->buffered = false;
	(void)SSL_write_ex(t->ssl, "", 0, &none);
	ERR_clear_error();
}

/*
 * Decrypt what there is: 1, 0 at the end, -EAGAIN, or a negative errno. What a failure leaves on OpenSSL's list is of the
 * thread, and all its connections would have failed: so it is taken from there at once, even if bytes come first.
 */
static int decrypt(void *arg)
{
	struct reading *d = arg;
	struct torc__tls *t = d->t;
	int r;

	ERR_clear_error();
	do {
		r = SSL_read(t->ssl, (char *)d->room.iov_base + d->done,
			     (int)(d->room.iov_len - d->done));
		if (r > 0) {
			d->done += (size_t)r;
			t->messages = 0;
		}
	} while (r > 0 && d->done < d->room.iov_len && may_go_on(t));
	if (r <= 0)
		r = without_bytes(t, r);
	drop_buffer(t);
	return d->done ? 1 : r;
}

static int read_some(struct torc_stream *s, struct torc__tls *t)
{
	struct reading d = { .t = t };
	struct torc_slice view = { NULL, 0 };
	bool much = SSL_pending(t->ssl) > 4000 ||
		    (torc__stream_shown(&t->below, &view) && view.len > 2000);
	int r = torc__stream_receive_room(s, much ? RECORD_BYTES : TORC__CHUNK_MIN, &d.room);

	if (r < 0)
		return r;
	if (d.room.iov_len > RECORD_BYTES)
		d.room.iov_len = RECORD_BYTES;
	r = torc_call_deep(decrypt, &d);
	s->spill_len += (uint32_t)d.done;
	torc__stream_drop_room(s);
	if (torc__unlikely(s->sending != NULL)) /* tls_send had to wait for this */
		torc__stream_defer(s);
	return r;
}

static int tls_arm(struct torc_stream *s)
{
	struct torc__tls *t = s->tls;
	struct torc_slice view;
	int r = -EAGAIN;

	if (t->error || !t->open)
		return s->rx_error = t->error ? t->error : -EPROTO;
	for (;;) {
		if (may_go_on(t) || t->below.rx_eof)
			r = read_some(s, t);
		if (r != -EAGAIN)
			break;
		r = torc__stream_tx_failure(s);
		if (t->below.rx_eof) /* OpenSSL should have seen it */
			r = -ECONNABORTED;
		else if (!r)
			r = torc_stream_peek(&t->below, &view);
		if (r < 0)
			return r;
		r = -EAGAIN;
	}
	if (r < 0 && r != -ENOMEM)
		s->rx_error = r;
	s->rx_eof |= !r;
	if (t->records_len && !torc__stream_unsent(&t->below))
		(void)torc__tls_kernel_follow(t); /* why, to the peer */
	return r < 0 ? r : 1;
}

/* --- writing --- */

struct writing {
	struct torc__tls *t;
	const char *data;
	size_t len;
};

/* After our close_notify OpenSSL would take a write for a failure of the connection, and it can still be read. */
static int why_not(const struct torc__tls *t)
{
	if (t->error || !t->open)
		return t->error ? t->error : -EPROTO;
	return SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN ? -EPIPE : 0;
}

/*
 * 0; -EAGAIN: not before more was read, for the peer is in the middle of a message (of a new key, or a ticket) that has come
 * in several records; or another negative errno: then the connection is of no more use.
 */
static int encrypt(void *arg)
{
	struct writing *w = arg;
	struct torc__tls *t = w->t;
	size_t records = w->len / RECORD_BYTES + 1;
	int r = why_not(t);

	if (!r)
		r = torc__stream_prepare(&t->below, w->len + records * RECORD_OVERHEAD);
	if (r < 0)
		return r;
	ERR_clear_error();
	r = SSL_write(t->ssl, w->data, (int)w->len);
	t->messages = 0;
	if (r == (int)w->len)
		return 0;
	return SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ ? -EAGAIN : torc__tls_failed(t);
}

/* What is unsent there is as it is here: the same piece of memory, if there is none yet. */
static int pass_down(struct torc_stream *s)
{
	struct torc_stream *b = s->below;

	if (b->pending)
		return torc__stream_append(b, s->sending, s->sending_len);
	b->pending = s->sending;
	b->pending_len = s->sending_len;
	b->pending_capacity = s->sending_capacity;
	s->sending = NULL;
	return 0;
}

/* OpenSSL answers a peer that asks for a new key before it writes again, and the kernel knows of none. */
static int why_not_by_kernel(struct torc__tls *t)
{
	int r = why_not(t);

	if (!r && SSL_get_key_update_type(t->ssl) != SSL_KEY_UPDATE_NONE)
		r = t->error = -EPROTO;
	t->messages = 0;
	return r;
}

static int encrypt_or_pass(struct torc_stream *s, struct writing *w)
{
	int r;

	if (w->t->sender != TORC__TLS_IS_KERNEL)
		return encrypt(w);
	r = why_not_by_kernel(w->t);
	return r ? r : pass_down(s);
}

static void tls_send(struct torc_stream *s)
{
	struct writing w = { s->tls, s->sending + s->sending_offset,
			     s->sending_len - s->sending_offset };
	int r = s->tx_error ? s->tx_error : encrypt_or_pass(s, &w);

	if (r == -EAGAIN)
		return; /* read_some comes back to it */
	if (!r)
		torc__stream_push(&w.t->below);
	torc__stream_sent(s, r < 0 ? r : (int)w.len);
}

/* Behind what could not be encrypted yet. */
static int encrypt_or_keep(struct torc_stream *s, struct writing *w)
{
	int r = s->sending || s->pending ? -EAGAIN : torc_call_deep(encrypt, w);

	return r == -EAGAIN ? torc__stream_append(s, w->data, w->len) : r;
}

/* Encrypted from where it is. */
static int tls_write(struct torc_stream *s, const void *data, size_t len)
{
	size_t done = 0;
	int r = 0;

	if (s->tls->sender == TORC__TLS_IS_KERNEL) {
		r = why_not_by_kernel(s->tls);
		return r ? r : torc_stream_write(s->below, data, len);
	}
	while (!r && done < len) {
		struct writing w = { s->tls, (const char *)data + done, len - done };

		if (w.len > TORC__TX_HIGH)
			w.len = TORC__TX_HIGH;
		r = encrypt_or_keep(s, &w);
		done += w.len; /* sent at the end of the turn, when it is known that somebody waits for it */
		if (!r)
			r = torc__stream_await_sent(s, done < len ? TORC__TX_HIGH : 0);
	}
	return r;
}

/* --- the end --- */

static int shut_down(void *arg)
{
	struct torc__tls *t = arg;

	ERR_clear_error();
	if (SSL_shutdown(t->ssl) >= 0)
		return 0;
	return torc__tls_failed(t);
}

static int notify(struct torc__tls *t)
{
	int r = torc_call_deep(shut_down, t);

	return !r && t->records_len ? torc__tls_kernel_follow(t) : r;
}

static bool may_notify(const struct torc_stream *s)
{
	const struct torc__tls *t = s->tls;

	return t->open && !t->error && !s->tx_error && !t->below.tx_error &&
	       !(SSL_get_shutdown(t->ssl) & SSL_SENT_SHUTDOWN);
}

static int tls_shutdown(struct torc_stream *s)
{
	struct torc__tls *t = s->tls;
	int r = may_notify(s) ? notify(t) : 0;

	return r < 0 ? r : torc_stream_shutdown(&t->below);
}

static int free_connection(void *arg)
{
	struct torc__tls *t = arg;

	SSL_free(t->ssl);
	ERR_clear_error();
	torc__tls_set_give(t->set);
	torc_tls_unref(t->config);
	torc__free(t->out);
	torc__tls_kernel_forget(t);
	return 0;
}

static void tls_close(struct torc_stream *s)
{
	struct torc__tls *t = s->tls;

	if (may_notify(s))
		(void)notify(t);
	torc_stream_close(&t->below);
	(void)torc_call_deep(free_connection, t);
	torc__free(t);
	s->tls = NULL;
	s->below = NULL;
}

static void tls_moved(struct torc_stream *s)
{
	struct torc__tls *t = s->tls;

	t->below.above = s;
}

static struct torc_stream *tls_bare(struct torc_stream *s)
{
	return s->tls->sender == TORC__TLS_IS_KERNEL && !why_not_by_kernel(s->tls) ? s->below
										   : NULL;
}

static bool tls_holds(const struct torc_stream *s)
{
	return may_go_on(s->tls);
}

static const struct torc__stream_kind tls_kind = {
	.arm = tls_arm,
	.send = tls_send,
	.write = tls_write,
	.shutdown = tls_shutdown,
	.close = tls_close,
	.moved = tls_moved,
	.bare = tls_bare,
	.holds = tls_holds,
};

/* --- the handshake --- */

/* 0: done; -EAGAIN: the peer's turn; or a negative errno. */
static int advance(void *arg)
{
	struct torc__tls *t = arg;
	int r;

	t->advanced = true;
	ERR_clear_error();
	r = SSL_do_handshake(t->ssl);
	if (r == 1)
		return 0;
	return SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_READ ? -EAGAIN : torc__tls_failed(t);
}

/* Beside those that are in their handshakes too: nobody would wait for this one but them. */
static bool has_others(const struct torc__buffers *b)
{
	return b->sockets >= b->handshakes + OTHERS_FEW;
}

static bool computes_elsewhere(const struct torc__tls *t)
{
	const struct torc_tls *tls = t->config;

	if (tls->options.compute != TORC_TLS_COMPUTE_AUTO)
		return tls->options.compute == TORC_TLS_COMPUTE_OTHER;
	return t->sent_bytes < FLIGHT_LEAST && has_others(t->below.buffers);
}

static struct torc_executor *executor;
static pthread_once_t executor_once = PTHREAD_ONCE_INIT;

/*
 * No more threads than cores, and behind the loops: on a core that a loop shares with them it goes on as soon as it has something
 * to do, and a burst of handshakes takes the time that is left.
 */
static void make_executor(void)
{
	const struct torc_elastic_options o = {
		.threads_max = (unsigned)torc__thread_cores(),
		.name = "tls",
		.nice = 10,
	};

	if (torc_elastic_create(&o, &executor) < 0)
		executor = NULL;
}

static int compute(struct torc__tls *t)
{
	if (torc__threads_simulated())
		return torc_offload(advance, t);
	if (pthread_once(&executor_once, make_executor) || !executor)
		return -EAGAIN;
	return torc_offload_on(executor, advance, t);
}

static int advance_away(struct torc__tls *t)
{
	struct torc_slice view;
	int r, settled;

	if (torc__stream_shown(&t->below, &view)) {
		t->in = view.data;
		t->in_len = view.len;
	}
	t->ended = t->below.rx_eof && !t->in_len;
	t->away = true;
	r = compute(t);
	t->away = false;
	settled = torc__tls_bio_settle(t);
	return settled < 0 ? settled : r;
}

/* A burst of handshakes is not to hold up the loop's other fibers for all of its length: one in a turn. */
static int advance_here(struct torc__tls *t)
{
	struct torc__buffers *b = t->below.buffers;
	int r = 0;

	while (!r && b->loop->stats.turns < b->handshake_turn)
		r = torc_yield();
	if (r < 0)
		return r;
	b->handshake_turn = b->loop->stats.turns + 1;
	return torc_call_deep(advance, t);
}

/* Where no thread can be had, the loop has to. */
static int advance_somewhere(struct torc__tls *t)
{
	int r;

	t->advanced = false;
	r = computes_elsewhere(t) ? advance_away(t) : advance_here(t);
	return r == -EAGAIN && !t->advanced ? advance_here(t) : r;
}

/* A client begins, and a server with what it has received. */
static int converse(struct torc__tls *t)
{
	struct torc_slice view;
	int r = t->config->server ? torc_stream_peek(&t->below, &view) : 1;

	while (r >= 0) {
		bool ended = !r;

		r = advance_somewhere(t);
		if (torc__tls_is_left_to_kernel(t) && (!r || r == -EAGAIN)) {
			int followed = torc__tls_kernel_follow(t);

			r = followed < 0 ? followed : r;
		}
		if (r != -EAGAIN)
			break;
		/* OpenSSL has to see the end too; not to ask it for ever if it does not */
		r = ended ? -ECONNABORTED : torc_stream_peek(&t->below, &view);
	}
	return r;
}

/* A server takes its place in the line only when a client has something to say. */
static int wait_in_line(struct torc__tls *t)
{
	struct torc_slice view;
	int r = t->config->server ? torc_stream_peek(&t->below, &view) : 0;

	return r < 0 ? r : torc_sem_acquire(&t->config->handshakes, 1);
}

/* With each message: a new key is not told of in any other way. */
static void on_progress(const SSL *ssl, int where, int r)
{
	struct torc__tls *t = torc__tls_of(ssl);

	(void)r;
	if (!(where & SSL_CB_LOOP))
		return;
	t->buffered = true;
	t->messages += t->open;
}

static int make_connection(void *arg)
{
	struct torc__tls *t = arg;

	t->ssl = SSL_new(t->set->contexts[0]);
	if (!t->ssl || SSL_set_app_data(t->ssl, t) != 1)
		return -ENOMEM;
	SSL_set_info_callback(t->ssl, on_progress);
	if (t->config->server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	torc__tls_kernel_probe(t);
	return torc__tls_bio_attach(t);
}

static bool is_address(const char *host)
{
	struct in6_addr a;

	return inet_pton(AF_INET, host, &a) == 1 || inet_pton(AF_INET6, host, &a) == 1;
}

/* RFC 6125, 6.4.3: a wildcard stands for one whole label. RFC 6066, 3: an address is not sent. */
static int expect_host(struct torc__tls *t)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);

	if (!*t->host)
		return 0;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (is_address(t->host))
		return X509_VERIFY_PARAM_set1_ip_asc(param, t->host) == 1 ? 0 : -EINVAL;
	if (X509_VERIFY_PARAM_set1_host(param, t->host, 0) != 1 ||
	    SSL_set_tlsext_host_name(t->ssl, t->host) != 1)
		return -EINVAL;
	return 0;
}

static int prepare(void *arg)
{
	struct torc__tls *t = arg;
	int r = make_connection(t);

	if (!r && !t->config->server) {
		r = expect_host(t);
		torc__tls_session_offer(t);
	}
	ERR_clear_error();
	return r;
}

static int shake_hands(struct torc__tls *t)
{
	int r = wait_in_line(t);

	if (r < 0)
		return r;
	r = torc_call_deep(prepare, t);
	if (!r)
		r = converse(t);
	torc_sem_release(&t->config->handshakes, 1);
	return r;
}

static void note_peer(struct torc__tls *t)
{
	struct torc_address a;
	int fd = torc_stream_fd(&t->below);

	if (fd >= 0 && torc_peer_address(fd, &a) == 0)
		torc_address_format(&a, t->peer, sizeof(t->peer));
}

static int cover(struct torc_stream *s, struct torc_tls *tls, const char *host)
{
	struct torc__tls *t;
	int r = torc_stream_flush(s);

	if (r < 0)
		return r;
	t = torc__calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->config = torc_tls_ref(tls);
	t->set = torc__tls_set_take(tls);
	if (host)
		memcpy(t->host, host, strlen(host));
	torc__stream_cover(s, &tls_kind, &t->below);
	s->tls = t;
	note_peer(t);
	return 0;
}

/* All later calls fail with the same; the peer is told by an alert, if OpenSSL has written one. */
static void give_up(struct torc_stream *s, int error)
{
	int r = torc_stream_flush(&s->tls->below);

	if (!r && s->tls->records_len)
		r = torc__tls_kernel_follow(s->tls);
	(void)r;
	s->tls->error = error;
	torc__stream_tx_failed(s, error);
}

/* What was to be encrypted must not go on in the clear, either way. */
static int refuse(struct torc_stream *s, int error)
{
	torc__stream_fail(s, error);
	return error;
}

static int start(struct torc_stream *s, struct torc_tls *tls, const char *host)
{
	uint64_t ns = tls->options.handshake_ns ? tls->options.handshake_ns : HANDSHAKE_NS;
	struct torc_scope scope;
	int r = cover(s, tls, host);

	if (r < 0)
		return refuse(s, r);
	torc_scope_enter(&scope, ns);
	s->buffers->handshakes++;
	r = shake_hands(s->tls);
	s->buffers->handshakes--;
	if (r < 0)
		give_up(s, r);
	torc_scope_leave(&scope);
	s->tls->open = !r;
	return r;
}

int torc_tls_accept(struct torc_stream *s, struct torc_tls *tls)
{
	torc__check(tls->server, "torc_tls_accept with a client's configuration");
	return start(s, tls, NULL);
}

int torc_tls_connect(struct torc_stream *s, struct torc_tls *tls, const char *host)
{
	torc__check(!tls->server, "torc_tls_connect with a server's configuration");
	if (host && (!*host || strlen(host) >= sizeof(s->tls->host)))
		return refuse(s, -EINVAL);
	return start(s, tls, host);
}

/* --- what was agreed on --- */

bool torc_tls_info(const struct torc_stream *s, struct torc_tls_info *ret)
{
	const unsigned char *alpn;
	unsigned alpn_len;
	SSL *ssl;

	if (!s->tls || !s->tls->open)
		return false;
	ssl = s->tls->ssl;
	SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
	*ret = (struct torc_tls_info){
		.version = SSL_version(ssl) == TLS1_3_VERSION ? 13 : 12,
		.resumed = SSL_session_reused(ssl),
		.cipher = SSL_get_cipher_name(ssl),
		.server_name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name),
		.alpn = { (const char *)alpn, alpn_len },
		.kernel_sends = s->tls->sender == TORC__TLS_IS_KERNEL,
		.has_certificate = SSL_get0_peer_certificate(ssl) != NULL,
	};
	return true;
}

struct subject {
	const struct torc__tls *t;
	char *buf;
	size_t size, len;
};

static int write_subject(void *arg)
{
	struct subject *u = arg;
	X509 *certificate = SSL_get0_peer_certificate(u->t->ssl);
	BIO *bio = certificate ? BIO_new(BIO_s_mem()) : NULL;
	char *text;
	long len;

	if (!bio)
		return 0;
	X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
	len = BIO_get_mem_data(bio, &text);
	u->len = len < (long)u->size ? (size_t)len : u->size - 1;
	memcpy(u->buf, text, u->len);
	u->buf[u->len] = '\0';
	BIO_free(bio);
	return 0;
}

size_t torc_tls_peer_subject(const struct torc_stream *s, char *buf, size_t size)
{
	struct subject u = { s->tls, buf, size, 0 };

	if (!s->tls || !s->tls->open || !size)
		return 0;
	*buf = '\0';
	(void)torc_call_deep(write_subject, &u);
	return u.len;
}
