/*
 * io/proxy.h - the PROXY protocol: whom a load balancer in front speaks for.
 *
 * A proxy that forwards a connection puts one header in front of its bytes, which names both ends of the connection that it
 * has accepted (HAProxy's proxy-protocol.txt, versions 1 and 2). A server behind it reads that first:
 *
 *	static int handler(struct torc_stream *s, void *arg)
 *	{
 *		struct torc_proxy client;
 *		int r = -ETIMEDOUT;
 *
 *		torc_within(TORC_SECONDS(5))
 *			r = torc_proxy_read(s, &client);
 *		if (r < 0)
 *			return r;
 *		...
 *
 * Who can connect without the proxy can claim to be anybody: listen where only the proxy can reach. There is no guessing whether a
 * header is there, for that would be the same hole: it must be.
 */
#ifndef TORC_IO_PROXY_H
#define TORC_IO_PROXY_H

#include <torc/io/address.h>
#include <torc/io/stream.h>

TORC_BEGIN_DECLS

/* The longest header that is accepted, of version 2; one of version 1 has 107 bytes at most. */
#define TORC_PROXY_MAX 4096

/* Bits of torc_proxy.ssl. */
#define TORC_PROXY_SSL           1u /* the client came over TLS */
#define TORC_PROXY_CERT_CONN     2u /* with a certificate on this connection */
#define TORC_PROXY_CERT_SESSION  4u /* or in this TLS session */
#define TORC_PROXY_CERT_VERIFIED 8u /* which was verified */

/* Texts end with a zero byte, and are empty when the proxy has not told. */
struct torc_proxy {
	int version; /* 1 or 2 */
	/* The proxy speaks for itself (a health check), or does not know: the connection's own ends are the right ones. */
	bool local;
	struct torc_address source, destination; /* len 0: not told */
	char authority[256];                     /* the host name that the client asked for */
	char alpn[256];
	unsigned char unique_id[128];
	unsigned unique_id_len;
	unsigned ssl;
	char ssl_version[32];
	char ssl_name[256]; /* the common name of the client's certificate */
};

/*
 * torc_proxy_read - take the header from the front of a stream. What follows it stays there.
 *
 * Returns     0
 *             -EPROTO   there is none, or a wrong, damaged or too long one; nothing was consumed. Close the connection
 *             -EPIPE    the stream ended before it was complete
 *             -ECANCELED, -ETIMEDOUT   the scope; nothing was consumed
 *             or as torc_stream_fill
 * Suspends    until it is there
 * Source      proxy-protocol.txt of HAProxy
 */
TORC_API TORC_MUST_CHECK int torc_proxy_read(struct torc_stream *stream, struct torc_proxy *ret);

/*
 * torc_proxy_write - put a header in front of what is written to a stream.
 *
 *   @version      1 or 2
 *   @source       whom you speak for, and what he has connected to: of one family; version 1 can only name TCP over IP. Both NULL:
 *   @destination  yourself
 *
 * Returns     0
 *             -EINVAL         another version; one address only, or of two families
 *             -EAFNOSUPPORT   version 1, and not addresses of TCP
 *             or as torc_stream_write
 * Suspends    as torc_stream_write
 */
TORC_API TORC_MUST_CHECK int torc_proxy_write(struct torc_stream *stream, int version,
					      const struct torc_address *source,
					      const struct torc_address *destination);

TORC_END_DECLS

#endif
