/*
 * io/internal/tls.h - what the configuration of TLS and its streams know of each other.
 */
#ifndef TORC_IO_INTERNAL_TLS_H
#define TORC_IO_INTERNAL_TLS_H

#include <openssl/ssl.h>
#include <pthread.h>

#include <torc/core/sync.h>
#include <torc/io/address.h>
#include <torc/io/tls.h>

#include "io/internal/stream.h"

/* What sessions are encrypted with: tls_session.c. */
struct torc__ticket_key {
	unsigned char name[16], aes[32], mac[32];
	uint64_t made_ns; /* 0: there is none */
};

/* A client's, of one server. */
struct torc__tls_session {
	char host[256];
	SSL_SESSION *session;
	uint64_t used;
};

#define TORC__TLS_SESSIONS 64

/* Copies of what the options point to. */
struct torc__tls_names {
	struct torc_tls_certificate *certificates;
	size_t certificate_count;
	char *ca_file, *ca_path, *crl_file;
	char **pins;
	unsigned char *alpn; /* as on the wire: lengths and names */
	unsigned alpn_bytes;
};

/* What handshakes begin with; replaced as a whole by torc_tls_reload. */
struct torc__tls_set {
	uint32_t refs; /* atomic */
	size_t count;
	SSL_CTX *contexts[]; /* [count], by certificate */
};

struct torc_tls {
	struct torc__secure secure; /* first */
	uint32_t refs;              /* atomic */
	bool server;
	struct torc_tls_options options; /* its pointers are of no use: see names */
	struct torc__tls_names names;
	struct torc_sem handshakes;

	pthread_mutex_t lock; /* for short: */
	struct torc__tls_set *set;
	struct torc__ticket_key keys[2];    /* the present one, and the one before */
	struct torc__tls_session *sessions; /* [TORC__TLS_SESSIONS], of a client */
	uint64_t uses;
};

/* Who encrypts what is sent. */
enum torc__tls_sender {
	TORC__TLS_IS_OPENSSL,
	TORC__TLS_MAY_BE_KERNEL, /* it could, and OpenSSL knows */
	TORC__TLS_HAS_KEYS, /* OpenSSL is done, and the kernel is to begin: torc__tls_kernel_follow */
	TORC__TLS_IS_KERNEL,
};

/* One stream's. */
struct torc__tls {
	struct torc_stream below;
	struct torc_tls *config;
	struct torc__tls_set *set;
	SSL *ssl;
	const char *in; /* shown by `below`, and not taken yet */
	size_t in_len, in_taken;
	char *out; /* while it computes on another thread: not to be given to `below` there */
	size_t out_len, out_capacity;
	size_t sent_bytes;    /* of the handshake */
	bool away;            /* it does */
	bool advanced;        /* and has begun to */
	bool ended;           /* and there is nothing to read any more */
	bool open;            /* the handshake is done */
	bool buffered;        /* a message of the handshake was sent or received */
	uint32_t messages;    /* such, since the handshake and the last data either way */
	int error;            /* 0 or the negative errno that all fails with */
	unsigned long reason; /* OpenSSL's */
	long verify;          /* X509_V_... */
	bool unpinned;
	enum torc__tls_sender sender;
	unsigned char record_type; /* of what OpenSSL writes next; 0: it does not say */
	unsigned key_bytes;
	char keys[64];
	char *records; /* of other types than data, to be sent by the kernel: tls_kernel.c */
	size_t records_len;
	char host[256];
	char peer[TORC_ADDRESS_MAX];
};

/* tls_context.c: a reference of its own, to be given back. */
struct torc__tls_set *torc__tls_set_take(struct torc_tls *tls);
void torc__tls_set_give(struct torc__tls_set *set);

/* tls_session.c: for a new context; of a client, for the connection before its handshake. 0 or -ENOMEM. */
int torc__tls_sessions_init(struct torc_tls *tls);
void torc__tls_sessions_done(struct torc_tls *tls);
void torc__tls_sessions_use(struct torc_tls *tls, SSL_CTX *context);
void torc__tls_session_offer(struct torc__tls *t);

/* tls_bio.c: how OpenSSL reads and writes; never fails but for memory. */
int torc__tls_bio_attach(struct torc__tls *t);
/* On the loop: what was taken and written while it was away. 0 or -ENOMEM. */
int torc__tls_bio_settle(struct torc__tls *t);

/* What the kernel does for us; tests have others. 0 or a negative errno; `send` may suspend. */
struct torc__tls_kernel {
	int (*attach)(int fd);
	int (*give_keys)(int fd, const void *keys, unsigned bytes);
	int (*send)(int fd, unsigned char type, const void *data, size_t len);
};
extern const struct torc__tls_kernel *torc__tls_kernel;

/* tls_kernel.c: of a new connection: can it be? OpenSSL's keys: does it take them? What OpenSSL wrote since then: 0, -ENOMEM, -EPROTO. */
void torc__tls_kernel_probe(struct torc__tls *t);
bool torc__tls_kernel_take_keys(struct torc__tls *t, const void *keys);
int torc__tls_kernel_keep(struct torc__tls *t, unsigned char type, const char *data, size_t len);
/* In a fiber, after OpenSSL: send what it wrote, then let the kernel begin, then send what was kept. 0 or a negative errno. */
int torc__tls_kernel_follow(struct torc__tls *t);
void torc__tls_kernel_forget(struct torc__tls *t);

static inline bool torc__tls_is_left_to_kernel(const struct torc__tls *t)
{
	return torc__unlikely(t->sender >= TORC__TLS_HAS_KEYS);
}

/* tls_staple.c: read the file; false: OpenSSL's list says why, or it is no answer. Before the context is freed: drop. */
bool torc__tls_staple_use(SSL_CTX *context, const char *path);
void torc__tls_staple_drop(SSL_CTX *context);

/* tls_verify.c */
void torc__tls_verify_use(struct torc_tls *tls, SSL_CTX *context);

/* tls_error.c: note why OpenSSL has failed; returns the negative errno for it. Right after the call, on the same thread. */
int torc__tls_failed(struct torc__tls *t);
void torc__tls_reason(char *text, const char *what, unsigned long reason);

/* The connection that OpenSSL calls back for. */
static inline struct torc__tls *torc__tls_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

#endif
