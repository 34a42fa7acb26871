/*
 * io/server.h - serve connections: listeners on every loop, a fiber per connection, an orderly end.
 */
#ifndef TORC_IO_SERVER_H
#define TORC_IO_SERVER_H

#include <torc/io/listener.h>
#include <torc/io/stream.h>

TORC_BEGIN_DECLS

/*
 * What runs in the fiber of each connection. The server then flushes the stream, for 30 seconds at most, and
 * closes it; when the handler returns -ETIMEDOUT (a peer that takes nothing) what is unsent is dropped.
 */
typedef int torc_serve_fn(struct torc_stream *stream, void *arg);

struct torc_serve_options {
	const char *const *addresses; /* NULL-terminated; see torc_listen */
	torc_serve_fn *handler;
	void *arg;              /* borrowed; seen by the handlers of all loops at once */
	const char *name;       /* of the connections' fibers; default "connection" */
	uint64_t grace_ns;      /* to finish when the server stops; default 5 s */
	size_t connections_max; /* per loop; further ones wait in the kernel's queue; default 1048576 */
	size_t stack_bytes;     /* of a connection's fiber; default: the runtime's */
	/* Called once per address when all loops listen, with the address that was bound. May be NULL. */
	void (*on_listen)(const char *address, void *arg);
	/* Called when a listener cannot be set up, before torc_serve_with returns the error. May be NULL. */
	void (*on_error)(const char *address, int error, void *arg);
};

/*
 * torc_serve - accept connections on one address, on all loops, and run handler(stream, arg) for each.
 *
 * A handler's error ends its connection, nothing else. When the calling fiber is cancelled (as SIGINT
 * and SIGTERM do to the first one) the server drains: it stops accepting, cancels connections that
 * wait for data and are not busy, lets the others finish within the grace period, cancels what is
 * left, and returns.
 *
 * Returns     0            stopped by a cancellation, drained
 *             -ETIMEDOUT   stopped by the scope's deadline, drained
 *             -EADDRINUSE, -EINVAL, ...   as torc_listen: nothing was served
 *             -ENOMEM
 * Suspends    until cancelled
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_serve(const char *address, torc_serve_fn *handler, void *arg);
TORC_API TORC_MUST_CHECK int torc_serve_with(const struct torc_serve_options *options);

TORC_END_DECLS

#endif
