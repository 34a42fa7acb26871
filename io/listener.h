/*
 * io/listener.h - accept connections.
 */
#ifndef TORC_IO_LISTENER_H
#define TORC_IO_LISTENER_H

#include <torc/core/op.h>
#include <torc/io/address.h>
#include <torc/io/socket.h>

TORC_BEGIN_DECLS

struct torc__wait;

/* How to listen; zeroed means the defaults. Those that only TCP has are ignored for Unix sockets. */
struct torc_listen_options {
	int backlog;     /* default 4096; the kernel cuts it to net.core.somaxconn */
	bool reuse_port; /* SO_REUSEPORT: one listener per loop, the kernel spreads connections */
	int share_fd;    /* > 0: listen on this listening socket instead; borrowed */

	/* Connections inherit these. */
	struct torc_keepalive keepalive; /* TCP */
	unsigned user_timeout_ms;   /* TCP: what is sent and not acknowledged so long ends it */
	int recv_bytes, send_bytes; /* of the sockets' buffers; the kernel has limits */
	/*
	 * TCP: of what was written and cannot be sent yet, the kernel keeps about so much (TCP_NOTSENT_LOWAT, tcp(7)); what is on its way
	 * comes on top. 0: up to some megabytes for each reader that is slow.
	 */
	int unsent_bytes;
	bool delay; /* TCP: no TCP_NODELAY */

	unsigned defer_accept_s; /* TCP: show a connection when it has sent something, or so many
				    seconds later */
	int fast_open;           /* TCP: how many may come with data in their first packet */
	const char *device;      /* take what comes through this interface only */
	bool v6_only;            /* "[::]" does not take IPv4 */
	bool free_bind;          /* an address that this machine does not have yet (IP_FREEBIND) */
	unsigned mode; /* a Unix socket's file: its permissions, less the umask's; 0: all */
};

/* Caller's memory until torc_listener_close. The fields are private. */
struct torc_listener {
	struct torc_op op;
	struct torc__turn_work brake; /* stops accepting when nobody takes */
	struct torc__wait *waiter;
	int *accepted; /* ring of descriptors nobody has taken yet */
	unsigned accepted_head, accepted_count, accepted_capacity;
	int fd;
	int error;
	bool shared, inherited, closing;
	char address
		[TORC_ADDRESS_MAX]; /* what it listens on, with the port the kernel chose for 0 */
};

/*
 * torc_listen - begin to listen.
 *
 *   @address  io/address.h: "tcp://HOST:PORT", "HOST:PORT", ":PORT" (all IPv4 addresses), "unix:PATH", "unix:@NAME", or
 *             "unixpacket:..." for records instead of streams. "[::]:PORT" takes IPv4 too. A socket file that
 *             nobody listens on is replaced. "fd:N" and "systemd:NAME" are sockets that the program was started
 *             with (io/activation.h): all options but backlog are ignored then
 *   @options  may be NULL
 *
 * Returns     0
 *             -EINVAL       not such an address, or one for datagrams; an option out of its range
 *             -ENODEV       no such interface
 *             -ENOENT       "systemd:NAME": there is none of that name
 *             -EBADF, -ENOTSOCK, -EINVAL   "fd:N": no descriptor, no socket, it does not listen
 *             -EADDRINUSE   somebody listens there already
 *             -EACCES       a port below 1024, or a directory that cannot be written
 *             -EADDRNOTAVAIL, -EMFILE, ...   as socket(2), bind(2), listen(2)
 * Suspends    never
 * Thread      a fiber's; the listener belongs to its loop
 */
TORC_API TORC_MUST_CHECK int torc_listen(struct torc_listener *listener, const char *address,
					 const struct torc_listen_options *options);

/*
 * torc_accept - the next connection.
 *
 * Running out of descriptors or memory is waited out: connections stay in the kernel's queue meanwhile.
 *
 * Returns     a connected descriptor, close-on-exec; the caller's
 *             -ECANCELED, -ETIMEDOUT   the scope; no connection was lost
 * Suspends    if none is waiting
 * Thread      the listener's loop; one fiber at a time
 * Source      accept4(2), io_uring_prep_multishot_accept(3)
 */
TORC_API TORC_MUST_CHECK int torc_accept(struct torc_listener *listener);

/*
 * torc_listener_close - stop listening. Connections that were accepted but not taken are closed, the
 * file of a Unix socket is removed.
 *
 * Suspends    briefly, also in a cancelled scope
 */
TORC_API void torc_listener_close(struct torc_listener *listener);

TORC_END_DECLS

#endif
