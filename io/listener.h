/*
 * io/listener.h - accept connections.
 */
#ifndef TORC_IO_LISTENER_H
#define TORC_IO_LISTENER_H

#include <torc/core/op.h>

TORC_BEGIN_DECLS

struct torc__wait;

#define TORC_ADDRESS_MAX 128

/* How to listen; zeroed means the defaults. */
struct torc_listen_options {
	int backlog;     /* default 4096; the kernel cuts it to net.core.somaxconn */
	bool reuse_port; /* SO_REUSEPORT: one listener per loop, the kernel spreads connections */
	int share_fd;    /* > 0: listen on this listening socket instead; borrowed */
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
	bool shared, closing;
	char address
		[TORC_ADDRESS_MAX]; /* what it listens on, with the port the kernel chose for 0 */
};

/*
 * torc_listen - begin to listen.
 *
 *   @address  "tcp://HOST:PORT", "HOST:PORT", "[::1]:PORT", ":PORT" (all addresses) or "unix:PATH".
 *             HOST is numeric or "localhost". "[::]:PORT" takes IPv4 too. A socket file that nobody
 *             listens on is replaced
 *   @options  may be NULL
 *
 * Returns     0
 *             -EINVAL       not such an address
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
