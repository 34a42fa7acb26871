/*
 * io/tls.h - TLS 1.2 and 1.3 on any stream (io/stream.h), by OpenSSL.
 *
 * A stream that was open in the clear becomes an encrypted one in place; everything that works on a stream works on it then:
 *
 *	struct torc_tls *tls;
 *	char why[TORC_TLS_WHY_MAX];
 *
 *	r = torc_tls_client_create(NULL, &tls, why);	the system's certificate authorities
 *	...
 *	r = torc_stream_dial(&s, "tls://example.org:443", NULL, tls, why);
 *
 * A client verifies: the chain up to a trusted authority, the dates, and that the certificate is for the host it asked for.
 *
 * What is sent in the clear before (STARTTLS) is sent in full first; what was received already is the beginning of the handshake.
 * A protocol that changes over must not have read ahead: whoever sits between could have put it there.
 *
 * Closing. torc_stream_shutdown and torc_stream_close tell the peer by a close_notify that nothing was cut off. A stream that ends
 * without the peer's fails with -ECONNABORTED where it would have ended: what was read may not be all (RFC 8446, 6.1).
 *
 * Early data (RFC 8446, 2.3) is not taken and not sent: who records it can send it again, and the server would do again what it
 * says. A client that offers some gets a usual handshake, and says it after that.
 *
 * A peer that sends new keys (RFC 8446, 4.6.3) more than 64 times with no data either way in between only makes work: reading fails
 * with -EPROTO.
 *
 * Memory. Beside what OpenSSL has of its own (some 14 KiB), a connection that waits for data holds 1 KiB and the stream.
 * OpenSSL runs on the stack of the loop's thread (torc_call_deep), so that fibers need no larger stacks. What a private
 * RSA key computes takes most of a millisecond and is done by other threads (torc_offload), as many as there are cores, so that
 * the loop goes on; with an elliptic key a handshake takes a fraction of that, and stays where it is, one in a turn.
 */
#ifndef TORC_IO_TLS_H
#define TORC_IO_TLS_H

#include <torc/io/stream.h>

TORC_BEGIN_DECLS

struct torc_dial_options;

/* A configuration. Any thread; may be used by all loops at once. */
struct torc_tls;

/* What a text that says why needs, with its zero byte. */
#define TORC_TLS_WHY_MAX 384

struct torc_tls_certificate {
	const char *cert_file; /* PEM: the certificate, and those between it and the authority */
	const char *key_file;  /* PEM, without a password; NULL: in cert_file */
	/*
	 * DER: what the authority says of it (OCSP), a server's only; sent to clients that ask. NULL: nothing is. It is not
	 * looked at beyond that it is an answer: whoever fetches it anew calls torc_tls_reload.
	 */
	const char *ocsp_file;
};

enum torc_tls_verify {
	TORC_TLS_VERIFY_DEFAULT, /* a client: REQUIRE; a server: REQUIRE if it has ca_file or ca_path, else NONE */
	TORC_TLS_VERIFY_NONE, /* a client does not know whom it talks to; a server asks for no certificate */
	TORC_TLS_VERIFY_OPTIONAL, /* a server: a client may have none, but no wrong one */
	TORC_TLS_VERIFY_REQUIRE,
};

/* Where private keys compute in handshakes. */
enum torc_tls_compute {
	/* other threads, where the loop has 16 other connections or more, which would have to wait */
	TORC_TLS_COMPUTE_AUTO,
	TORC_TLS_COMPUTE_LOOP,  /* always the loop: the least processor time */
	TORC_TLS_COMPUTE_OTHER, /* always other threads: the least delay for others */
};

/* Zeroed means the defaults. All strings are copied. */
struct torc_tls_options {
	/*
	 * Who we are. A server needs one at least; which of them a client gets is by the name that it asks for (SNI), and
	 * where none fits, or it asks for none, the first. A client may have one.
	 */
	const struct torc_tls_certificate *certificates;
	size_t certificate_count;

	const char *
		ca_file; /* PEM: authorities that are trusted; with ca_path NULL and of a client: the system's */
	const char *ca_path;  /* a directory of such, named by hash (openssl-rehash(1)) */
	const char *crl_file; /* PEM: revoked certificates; then each authority needs a list */
	enum torc_tls_verify verify;
	/*
	 * Base64 of SHA-256 of public keys (RFC 7469, 2.4), NULL-terminated: beside all else, one certificate of the peer's
	 * chain must have one of these. NULL: any.
	 */
	const char *const *pins;
	const char *const *
		alpn; /* RFC 7301, NULL-terminated; of a server in order of preference. NULL: not spoken of */

	int min_version, max_version; /* 12 or 13, TLS 1.2 or 1.3; 0: 12 and 13 */
	bool no_resumption;           /* every handshake is a full one */
	enum torc_tls_compute compute;
	uint64_t
		handshake_ns; /* from torc_tls_accept or _connect on; 0: 10 s; TORC_NEVER: the scope's deadline only */
	/*
	 * Let the kernel encrypt what is sent, where it has TLS and the cipher is AES: files then go into the connection without
	 * a copy (torc_stream_copy). Where it has not, all is as without. A peer that asks for a new key ends the connection
	 * (-EPROTO): the kernel could not follow.
	 */
	bool kernel_sends;
	uint32_t handshakes_max; /* at once, further ones wait in line; 0: 1024 */
	uint64_t
		ticket_ns; /* a server's: how long a session may be resumed; 0: 2 h. Its key changes in half of it */
};

/*
 * torc_tls_server_create, torc_tls_client_create - a configuration.
 *
 * Its defaults are what Mozilla calls "intermediate": TLS 1.2 with forward secrecy and authenticated encryption only, and 1.3;
 * keys of 112 bits of security or more (RSA from 2048 on); neither compression nor renegotiation. Unlike there a server chooses the
 * cipher: AES with 128 bits first, but ChaCha20 for a client that prefers it.
 *
 *   @options  may be NULL for a client
 *   @ret      to be given back: torc_tls_unref
 *   @ret_why  TORC_TLS_WHY_MAX bytes, written only on failure: the file and OpenSSL's reason. May be NULL
 *
 * Returns     0
 *             -ENOENT, -EACCES, ...   a file cannot be read
 *             -EINVAL   an option out of its range, a file that is not what it should be, a key that does not belong to its
 *                       certificate or is too weak
 *             -ENOMEM
 * Suspends    in a fiber, while files are read
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_tls_server_create(const struct torc_tls_options *options,
						    struct torc_tls **ret, char *ret_why);
TORC_API TORC_MUST_CHECK int torc_tls_client_create(const struct torc_tls_options *options,
						    struct torc_tls **ret, char *ret_why);

/*
 * torc_tls_reload - read the files again: handshakes that begin from now on use what they hold. Connections go on, and sessions can
 * still be resumed.
 *
 * Returns     as torc_tls_server_create; on failure everything is as before
 */
TORC_API TORC_MUST_CHECK int torc_tls_reload(struct torc_tls *tls, char *ret_why);

/* One more owner, and one less; streams that use it are owners. Never suspend. Any thread. */
TORC_API struct torc_tls *torc_tls_ref(struct torc_tls *tls);
TORC_API void torc_tls_unref(struct torc_tls *tls);

/*
 * torc_tls_accept, torc_tls_connect - the handshake, as a server and as a client. The stream is an encrypted one after it.
 *
 *   @stream  open, of any kind; nobody else reads or writes it meanwhile. Stays open on failure, to be asked
 *            torc_tls_why and closed: reading and writing fail
 *   @host    whom the certificate has to be for: a name, or an IPv4 or IPv6 address without brackets; also sent as
 *            SNI, if it is a name. NULL: any, which is of use with pins or an authority of one's own only
 *
 * Returns     0
 *             -EKEYREJECTED   the peer's certificate does not verify, is for another host, not pinned, or missing
 *             -EKEYEXPIRED    it has expired, or is not valid yet
 *             -EKEYREVOKED    it was revoked
 *             -EPROTO         the peer does not speak TLS, nothing in common with us, or rejects us: its alert is in torc_tls_why
 *             -ECONNABORTED   the peer closed in the middle
 *             -ETIMEDOUT      handshake_ns, or the scope
 *             -ECANCELED, -ECONNRESET, ...   as torc_stream_peek and torc_stream_write
 *             -EINVAL         host is neither name nor address
 *             -ENOMEM
 * Suspends    always
 * Thread      a fiber's, of the stream's loop
 * Source      RFC 8446, RFC 5246; SSL_do_handshake(3)
 */
TORC_API TORC_MUST_CHECK int torc_tls_accept(struct torc_stream *stream, struct torc_tls *tls);
TORC_API TORC_MUST_CHECK int torc_tls_connect(struct torc_stream *stream, struct torc_tls *tls,
					      const char *host);

/*
 * torc_stream_dial - an open stream to an address: torc_dial (io/socket.h) and torc_stream_open, and for "tls://" the handshake.
 *
 *	r = torc_stream_dial(&s, "tls://example.org:443", NULL, tls, why);
 *
 * torc_dial itself gives out descriptors, and what is encrypted is more than that: to it "tls://" is no address.
 *
 *   @address  as of torc_dial, or "tls://HOST:PORT": the certificate must be for HOST
 *   @options  may be NULL
 *   @tls      of a client; borrowed. NULL, and address is of another kind
 *   @ret_why  TORC_TLS_WHY_MAX bytes, written only when the handshake fails: torc_tls_why. May be NULL
 *
 * Returns     0
 *             -EINVAL   no such address, one for datagrams, or "tls://" without tls
 *             or as torc_dial, torc_stream_open and torc_tls_connect; nothing is left open
 * Suspends    always
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_stream_dial(struct torc_stream *stream, const char *address,
					      const struct torc_dial_options *options,
					      struct torc_tls *tls, char *ret_why);

/*
 * torc_tls_why - why a handshake, or reading or writing after it, has failed: the peer's address and OpenSSL's reason. Returns text.
 *
 *   @text  TORC_TLS_WHY_MAX bytes; empty when nothing has failed
 */
TORC_API char *torc_tls_why(const struct torc_stream *stream, char *text);

/* What was agreed on; the strings are valid until the stream is closed. */
struct torc_tls_info {
	int version; /* 12, 13 */
	bool resumed;
	const char *cipher;      /* OpenSSL's name */
	const char *server_name; /* that the client asked for, or NULL */
	struct torc_slice alpn;  /* empty: none */
	bool kernel_sends;       /* it encrypts: see the option */
	bool has_certificate;    /* of the peer; verified, unless verify is NONE */
};

/*
 * torc_tls_info - of a stream whose handshake is done; false: it is not encrypted.
 */
TORC_API bool torc_tls_info(const struct torc_stream *stream, struct torc_tls_info *ret);

/*
 * torc_tls_peer_subject - the subject of the peer's certificate as RFC 2253 writes it, cut to fit. Returns its length, 0: it has
 * none.
 */
TORC_API size_t torc_tls_peer_subject(const struct torc_stream *stream, char *buf, size_t size);

TORC_END_DECLS

#endif
