/*
 * io/server.h - serve connections: listeners on every loop, a fiber per connection, an orderly end.
 */
#ifndef TORC_IO_SERVER_H
#define TORC_IO_SERVER_H

#include <torc/io/listener.h>
#include <torc/io/rate.h>
#include <torc/io/stream.h>

TORC_BEGIN_DECLS

struct torc_tls;

/*
 * What runs in the fiber of each connection. The server then flushes the stream, for 30 seconds at most, and
 * closes it; when the handler returns -ETIMEDOUT (a peer that takes nothing) what is unsent is dropped.
 */
typedef int torc_serve_fn(struct torc_stream *stream, void *arg);

/* What becomes of connections beyond connections_max. */
enum torc_at_limit {
	TORC_AT_LIMIT_WAIT,  /* they wait in the kernel's queue until another one ends */
	TORC_AT_LIMIT_RESET, /* they are reset, so that the peer knows at once */
};

/* On which loop a connection runs. */
enum torc_balance {
	/*
	 * Where it is accepted: the kernel spreads them by their addresses, as chance has it. A Unix socket, or one that the program
	 * was started with, is one for all loops: when the loop that has accepted is full, where the fewest are.
	 */
	TORC_BALANCE_KERNEL,
	TORC_BALANCE_LEAST, /* where the fewest are; one that moves costs a mail to the other loop */
};

struct torc_serve_options {
	const char *const *addresses; /* NULL-terminated; see torc_listen; and "tls://HOST:PORT" */
	torc_serve_fn *handler;
	void *arg;                   /* borrowed; seen by the handlers of all loops at once */
	const char *name;            /* of the connections' fibers; default "connection" */
	uint64_t grace_ns;           /* to finish when the server stops; default 5 s */
	size_t connections_max;      /* per loop; default 1048576 */
	enum torc_at_limit at_limit; /* what becomes of further ones */
	enum torc_balance balance;   /* with several loops */
	struct torc_rate
		*accept_rate; /* of all loops together, to be accepted; borrowed. NULL: no limit */
	size_t stack_bytes;   /* of a connection's fiber; default: the runtime's */
	int unsent_bytes; /* that the kernel keeps of a slow reader's: struct torc_listen_options */
	/* Of each connection; 0: no limit. */
	uint64_t read_ns, write_ns;            /* one wait for the peer: torc_stream_limit_waits */
	uint64_t lifetime_ns;                  /* its handler's scope has this deadline */
	uint64_t rx_per_second, tx_per_second; /* bytes: torc_stream_limit_rates */
	/*
	 * Addresses that begin with "tls://" are encrypted with it (io/tls.h): a handler runs when the handshake is done, within
	 * lifetime_ns. Borrowed. NULL: such an address is -EINVAL.
	 */
	struct torc_tls *tls;
	/*
	 * A path where the next process finds this one, for a restart that no client notices: see below. NULL: none.
	 */
	const char *handover;
	/* Called once per address when all loops listen, with the address that was bound; with a handover, when this process
	 * has taken over, or can be found at the path. May be NULL. */
	void (*on_listen)(const char *address, void *arg);
	/* Called when a listener cannot be set up, before torc_serve_with returns the error. May be NULL. */
	void (*on_error)(const char *address, int error, void *arg);
};

/*
 * Handover. Start the new program with the same `handover` path, such as "/run/user/1000/web.handover", while the old one
 * serves. It asks the old one, through a Unix socket of that name, for the sockets it listens on, and listens on them as well, by
 * address as it is written in `addresses`; what the old one does not have is opened anew, what the new one does not want is
 * closed. When it serves, the old one stops accepting, and returns when its connections have ended: those that wait for
 * data go on for the grace period, so that no request is lost that is on its way (HTTP tells them to close with the next
 * answer), and then as in any other end. A cancellation meanwhile is an ordinary end at once: SIGTERM does not wait for the first
 * of the two periods. Until the new program serves, nothing has changed for the old one: it may crash without harm.
 *
 * A program that was killed leaves "PATH" behind, which the next one replaces, and perhaps "PATH.PID". Anything but a socket at
 * the path is left alone: -ENOTSOCK.
 *
 * Only processes of the same user, or of root, can take over: the socket has mode 0600, and both sides look who the other
 * one is. Not in the simulator: -ENOSYS.
 */

/*
 * torc_serve - accept connections on one address, on all loops, and run handler(stream, arg) for each.
 *
 * A handler's error ends its connection, nothing else. When the calling fiber is cancelled (as SIGINT
 * and SIGTERM do to the first one) the server drains: it stops accepting, cancels connections that
 * wait for data and are not busy, lets the others finish within the grace period, cancels what is
 * left, and returns.
 *
 * Waiting for data is a read of the connection's stream, or a torc_stream_copy from it, that would suspend: it fails with
 * -ECANCELED. As long as bytes have been received, reads and copies go on, for where a message ends only the handler knows; and
 * so does a copy from any other stream. One of bytes that always come ends with the grace period.
 *
 * Returns     0            stopped by a cancellation, drained
 *             -ETIMEDOUT   stopped by the scope's deadline, drained
 *             -EADDRINUSE, -EINVAL, ...   as torc_listen: nothing was served
 *             -EPERM       handover: the process there is somebody else's
 *             -EPROTO      handover: what listens there is no server of torc's
 *             -ENOTSOCK    handover: at the path is something else
 *             -EAGAIN      handover: the process there does not answer, or is being replaced by another one: nothing was served
 *             -EMFILE      handover: there is no room for its sockets
 *             -ENAMETOOLONG, -EACCES, ...   handover: as torc_listen of a Unix socket
 *             -ENOSYS      handover, in the simulator
 *             -ENOMEM
 * Suspends    until cancelled
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_serve(const char *address, torc_serve_fn *handler, void *arg);
TORC_API TORC_MUST_CHECK int torc_serve_with(const struct torc_serve_options *options);

TORC_END_DECLS

#endif
