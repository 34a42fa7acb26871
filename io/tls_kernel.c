/*
 * io/tls_kernel.c - the kernel encrypts what is sent: kernel TLS, for who asks for it.
 *
 * OpenSSL hands over the keys when it has written the last record of its own (BIO_CTRL_SET_KTLS), and from then on writes records as
 * plain bytes and tells their type. They are kept here until all before them has gone out and the kernel has the keys. Then
 * what the program writes goes straight into the socket, past OpenSSL, and the few records of another type (tickets, the end)
 * each with a message of their own. What is received is still decrypted by OpenSSL.
 */
#include <errno.h>
#include <linux/tls.h>
#include <netinet/tcp.h>
#include <string.h>

#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "io/internal/call.h"
#include "io/internal/tls.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

/* A record of a type that is not data: the type, the length in three bytes, and that many. */
#define HEADER_BYTES 4u

/* --- the kernel's side --- */

/* Fails where the kernel has no TLS (ENOENT), and for what is no connection of TCP. It changes nothing as long as there are no keys. */
static int attach(int fd)
{
	return torc__on_linux() ? torc_sys_setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 4) : -ENOSYS;
}

static int give_keys(int fd, const void *keys, unsigned bytes)
{
	return torc_sys_setsockopt(fd, SOL_TLS, TLS_TX, keys, bytes);
}

static int send_record(int fd, unsigned char type, const void *data, size_t len)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(unsigned char))];
	} control = { .header = { CMSG_LEN(sizeof(type)), SOL_TLS, TLS_SET_RECORD_TYPE } };
	struct iovec iov = { (void *)data, len };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	int r;

	*CMSG_DATA(&control.header) = type;
	r = torc_sendmsg(fd, &message, 0);
	return r < 0 ? r : r == (int)len ? 0 : -EIO; /* a record goes as a whole */
}

static const struct torc__tls_kernel linux_kernel = { attach, give_keys, send_record };
const struct torc__tls_kernel *torc__tls_kernel = &linux_kernel;

/* --- its socket --- */

/* Not MSG_WAITALL, which it does not know; so what was sent has to be told. */
static void kernel_send(struct torc_stream *s)
{
	io_uring_prep_send(torc_op_start(&s->tx, torc__stream_on_tx), s->fd,
			   s->sending + s->sending_offset, s->sending_len - s->sending_offset,
			   MSG_NOSIGNAL);
}

static int kernel_write(struct torc_stream *s, const void *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		int r = torc_send(s->fd, (const char *)data + done, len - done, 0);

		if (r < 0)
			return r;
		done += (size_t)r;
	}
	return 0;
}

static int kernel_arm(struct torc_stream *s)
{
	return torc__socket_kind.arm(s);
}

static void kernel_watch(struct torc_stream *s)
{
	torc__socket_kind.watch(s);
}

static int kernel_shutdown(struct torc_stream *s)
{
	return torc__socket_kind.shutdown(s);
}

static void kernel_close(struct torc_stream *s)
{
	torc__socket_kind.close(s);
}

static const struct torc__stream_kind kernel_kind = {
	.arm = kernel_arm,
	.watch = kernel_watch,
	.send = kernel_send,
	.write = kernel_write,
	.shutdown = kernel_shutdown,
	.close = kernel_close,
};

/* --- OpenSSL's side --- */

/* A kernel that has TLS, but not with such keys, is not asked again. */
static bool refuses; /* atomic */

void torc__tls_kernel_probe(struct torc__tls *t)
{
	if (!t->config->options.kernel_sends || t->below.kind != &torc__socket_kind ||
	    __atomic_load_n(&refuses, __ATOMIC_RELAXED) ||
	    torc__tls_kernel->attach(t->below.fd) < 0)
		return;
	SSL_set_options(t->ssl, SSL_OP_ENABLE_KTLS);
	t->sender = TORC__TLS_MAY_BE_KERNEL;
}

/* tls(7) has them as structures that begin alike. */
static unsigned bytes_of(const struct tls_crypto_info *keys)
{
	switch (keys->cipher_type) {
	case TLS_CIPHER_AES_GCM_128: return sizeof(struct tls12_crypto_info_aes_gcm_128);
	case TLS_CIPHER_AES_GCM_256: return sizeof(struct tls12_crypto_info_aes_gcm_256);
	default: return 0;
	}
}

bool torc__tls_kernel_take_keys(struct torc__tls *t, const void *keys)
{
	unsigned bytes = bytes_of(keys);

	if (t->sender != TORC__TLS_MAY_BE_KERNEL || !bytes || bytes > sizeof(t->keys))
		return false;
	memcpy(t->keys, keys, bytes);
	t->key_bytes = bytes;
	t->sender = TORC__TLS_HAS_KEYS;
	return true;
}

int torc__tls_kernel_keep(struct torc__tls *t, unsigned char type, const char *data, size_t len)
{
	size_t all = t->records_len + HEADER_BYTES + len;
	char *records, *p;

	/* A new key: the kernel would have to change over to it behind this message, which Linux cannot before 6.14. */
	if (t->open && type == SSL3_RT_HANDSHAKE)
		return -EPROTO;
	records = torc__realloc(t->records, all);
	if (!records)
		return -ENOMEM;
	p = records + t->records_len;
	p[0] = (char)type;
	p[1] = (char)(len >> 16);
	p[2] = (char)(len >> 8);
	p[3] = (char)len;
	memcpy(p + HEADER_BYTES, data, len);
	t->records = records;
	t->records_len = all;
	return 0;
}

/* --- changing over --- */

void torc__tls_kernel_forget(struct torc__tls *t)
{
	OPENSSL_cleanse(t->keys, sizeof(t->keys));
	torc__free(t->records);
	t->records = NULL;
	t->records_len = 0;
}

static int change_over(struct torc__tls *t)
{
	int r = torc__tls_kernel->give_keys(t->below.fd, t->keys, t->key_bytes);

	OPENSSL_cleanse(t->keys, sizeof(t->keys));
	if (r < 0) {
		__atomic_store_n(&refuses, true, __ATOMIC_RELAXED);
		return r;
	}
	t->below.kind = &kernel_kind;
	t->sender = TORC__TLS_IS_KERNEL;
	return 0;
}

static int send_records(struct torc__tls *t)
{
	const unsigned char *p = (const unsigned char *)t->records;
	const unsigned char *end = p + t->records_len;
	int r = 0;

	while (!r && p < end) {
		size_t len = (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];

		r = torc__tls_kernel->send(t->below.fd, p[0], p + HEADER_BYTES, len);
		p += HEADER_BYTES + len;
	}
	torc__tls_kernel_forget(t);
	return r;
}

int torc__tls_kernel_follow(struct torc__tls *t)
{
	int r = torc__stream_await_sent(&t->below, 0);

	if (!r && t->sender == TORC__TLS_HAS_KEYS)
		r = change_over(t);
	if (!r && t->records_len)
		r = send_records(t);
	return r;
}
