/*
 * io/tls_bio.c - between OpenSSL and the stream below.
 *
 * OpenSSL reads what the stream below shows, and what it writes is appended to what that is to send: no system call, and one copy
 * each. On another thread the stream must not be touched: what it shows was noted before, it stays where it is until it is
 * consumed, and what is written is kept until the loop fetches it.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <string.h>

#include "core/internal/system.h"
#include "io/internal/tls.h"

/* Tickets and new keys without any data between them, and what may be read after the first. */
#define MESSAGES_MAX   64
#define PESTERED_BYTES 1024

/* --- reading --- */

static void take(struct torc__tls *t)
{
	torc_stream_consume(&t->below, t->in_taken);
	t->in = NULL;
	t->in_len = t->in_taken = 0;
}

static bool show(struct torc__tls *t)
{
	struct torc_slice view;

	if (t->in_taken < t->in_len)
		return true;
	if (t->away)
		return false;
	take(t);
	if (!torc__stream_shown(&t->below, &view))
		return false;
	t->in = view.data;
	t->in_len = view.len;
	return true;
}

static bool is_at_end(const struct torc__tls *t)
{
	return t->away ? t->ended : t->below.rx_eof && t->in_taken == t->in_len;
}

/*
 * A new key is some 25 bytes of the peer's and up to 20 us of ours, and OpenSSL takes one after the other as long as there are
 * any. After the first of them it is given less at once, so that it does not go far beyond the limit.
 */
static bool is_pestered(struct torc__tls *t, int *len)
{
	if (t->messages && *len > PESTERED_BYTES)
		*len = PESTERED_BYTES;
	if (t->messages <= MESSAGES_MAX)
		return false;
	t->error = -EPROTO;
	return true;
}

static int bio_read(BIO *bio, char *buf, int len)
{
	struct torc__tls *t = BIO_get_data(bio);
	int done = 0;

	BIO_clear_retry_flags(bio);
	if (is_pestered(t, &len))
		return -1;
	while (done < len && show(t)) {
		size_t part = t->in_len - t->in_taken;

		if (part > (size_t)(len - done))
			part = (size_t)(len - done);
		memcpy(buf + done, t->in + t->in_taken, part);
		t->in_taken += part;
		done += (int)part;
	}
	if (!t->away)
		take(t);
	if (done)
		return done;
	if (is_at_end(t))
		return 0;
	BIO_set_retry_read(bio);
	return -1;
}

/* --- writing --- */

static int keep(struct torc__tls *t, const char *data, size_t len)
{
	if (t->out_len + len > t->out_capacity) {
		size_t capacity = 2 * (t->out_len + len);
		char *out = torc__realloc(t->out, capacity);

		if (!out)
			return -ENOMEM;
		t->out = out;
		t->out_capacity = capacity;
	}
	memcpy(t->out + t->out_len, data, len);
	t->out_len += len;
	return 0;
}

/* A peer that makes us answer, and does not take the answers. */
static bool is_flooded(const struct torc__tls *t)
{
	return torc__stream_unsent(&t->below) > 4 * (size_t)TORC__TX_HIGH;
}

static int bio_write(BIO *bio, const char *data, int len)
{
	struct torc__tls *t = BIO_get_data(bio);
	int r;

	BIO_clear_retry_flags(bio);
	if (torc__tls_is_left_to_kernel(t))
		r = torc__tls_kernel_keep(t, t->record_type, data, (size_t)len);
	else if (t->away)
		r = keep(t, data, (size_t)len);
	else if (is_flooded(t))
		r = -ENOBUFS;
	else
		r = torc__stream_append(&t->below, data, (size_t)len);
	if (r < 0) {
		t->error = r;
		return -1;
	}
	t->sent_bytes += (size_t)len;
	return len;
}

int torc__tls_bio_settle(struct torc__tls *t)
{
	int r = t->out_len ? torc__stream_append(&t->below, t->out, t->out_len) : 0;

	torc__free(t->out);
	t->out = NULL;
	t->out_len = t->out_capacity = 0;
	take(t);
	return r;
}

/* --- the rest --- */

/* openssl/bio.h has these as numbers that are taken, BIO_s_socket's source what they are for. */
#define SET_KTLS_SEND     72 /* number: of what is sent; pointer: struct tls_crypto_info, linux/tls.h */
#define SET_KTLS_CTRL_MSG 74 /* number: the type of the record that is written next */

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct torc__tls *t = BIO_get_data(bio);

	switch (command) {
	case BIO_CTRL_FLUSH: return 1;
	case BIO_CTRL_EOF: return is_at_end(t);
	case SET_KTLS_SEND: return number && torc__tls_kernel_take_keys(t, pointer);
	case BIO_CTRL_GET_KTLS_SEND: return torc__tls_is_left_to_kernel(t);
	case SET_KTLS_CTRL_MSG: t->record_type = (unsigned char)number; return 1;
	default: return 0;
	}
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static void make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "torc stream");

	if (m && BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		method = m;
	else
		BIO_meth_free(m);
}

int torc__tls_bio_attach(struct torc__tls *t)
{
	BIO *bio = pthread_once(&method_once, make_method) || !method ? NULL : BIO_new(method);

	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	return 0;
}
