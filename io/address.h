/*
 * io/address.h - addresses of sockets as text, and back.
 *
 *	struct torc_address a;
 *	char text[TORC_ADDRESS_MAX];
 *
 *	r = torc_address_parse("udp://[::1]:53", 0, &a);
 *	...
 *	if (torc_peer_address(fd, &a) == 0)
 *		printf("from %s\n", torc_address_format(&a, text, sizeof(text)));
 *
 * The forms of a text:
 *
 *	tcp://HOST:PORT      a stream
 *	udp://HOST:PORT      datagrams
 *	HOST:PORT            whichever the one who asks for it means
 *	unix:PATH            a stream; also unix:///PATH
 *	unix:@NAME           the same in the abstract name space: no file, gone with the last socket
 *	unixgram:...         datagrams, PATH or @NAME
 *	unixpacket:...       records in order (SOCK_SEQPACKET), PATH or @NAME
 *
 * HOST is a numeric IPv4 address, "localhost" (127.0.0.1), or an IPv6 address in brackets: "[::1]". One that is good on one link
 * only names its interface: "[fe80::1%eth0]", or by number "[fe80::1%2]". Other names are not resolved here: torc_dial (io/socket.h) and
 * torc_resolve (io/name.h) do that. A path that begins with @ is written as ./@path.
 */
#ifndef TORC_IO_ADDRESS_H
#define TORC_IO_ADDRESS_H

#include <torc/core/api.h>
#include <torc/core/sockaddr.h>

TORC_BEGIN_DECLS

/* What the longest text needs, with its zero byte. */
#define TORC_ADDRESS_MAX 128

/* For torc_address_parse: HOST may be empty or "*", for every IPv4 address of this machine. */
#define TORC_ADDRESS_WILDCARD 1u

/*
 * torc_address_parse - read one of the forms above.
 *
 *   @flags  0 or TORC_ADDRESS_WILDCARD
 *   @ret    with its type, 0 for "HOST:PORT"
 *
 * Returns     0
 *             -EINVAL   not such an address; also an interface that is given for an address which needs none
 *             -ENODEV   no interface of that name; in the simulator there is none
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_address_parse(const char *text, unsigned flags,
						struct torc_address *ret);

/*
 * torc_address_format - an address as text, cut to fit into [size] bytes, its zero byte included. An address of type 0 has no
 * scheme, an interface is a number. What was formatted parses to the same address, but for Unix sockets without a
 * name ("unix:") and for abstract names with zero bytes in them, which become @.
 *
 *   @size  1 or more; TORC_ADDRESS_MAX fits all
 *
 * Returns     text
 */
TORC_API char *torc_address_format(const struct torc_address *address, char *text, size_t size);

/*
 * torc_address_equal - is it the same place? Types are not compared; an IPv4 address and the same one mapped into IPv6
 * (::ffff:1.2.3.4, as sockets that take both show it) are two.
 */
TORC_API bool torc_address_equal(const struct torc_address *a, const struct torc_address *b);

/*
 * torc_address_port - the port of an IP address; torc_address_set_port - give it another one.
 *
 * Returns     0 .. 65535, or 0
 *             -EAFNOSUPPORT   it has none
 */
TORC_API int torc_address_port(const struct torc_address *address);
TORC_API TORC_MUST_CHECK int torc_address_set_port(struct torc_address *address, uint16_t port);

/*
 * torc_local_address - where a socket is bound; torc_peer_address - where it is connected to. Both with its type.
 *
 * Returns     0
 *             -ENOTCONN          torc_peer_address: it is not connected, or not any more
 *             -EAFNOSUPPORT      a socket of another family
 *             -EBADF, -ENOTSOCK
 * Suspends    never
 * Thread      any
 * Source      getsockname(2), getpeername(2)
 */
TORC_API TORC_MUST_CHECK int torc_local_address(int fd, struct torc_address *ret);
TORC_API TORC_MUST_CHECK int torc_peer_address(int fd, struct torc_address *ret);

TORC_END_DECLS

#endif
