/*
 * io/activation.h - sockets that a program is started with: by systemd's socket units, or whatever else speaks that protocol.
 *
 * The one who starts the program has made the sockets and listens on them already. So the program needs no privilege for port 80,
 * and is restarted without a connection being refused. It finds them as descriptors 3, 4, ... and these variables:
 *
 *	LISTEN_PID      whom they are meant for: this process's number
 *	LISTEN_FDS      how many there are
 *	LISTEN_FDNAMES  a name for each, with colons between them; FileDescriptorName= of the unit
 *
 * For a server it is enough to give their names as addresses:
 *
 *	torc_serve("systemd:web", handler, arg);
 *
 * "fd:N" is a listening socket at descriptor N, whoever has put it there. Both listen on a duplicate: they can be used again.
 */
#ifndef TORC_IO_ACTIVATION_H
#define TORC_IO_ACTIVATION_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* More than that in LISTEN_FDS is taken for nonsense. */
#define TORC_ACTIVATION_MAX 256

struct torc_activated {
	const char *name; /* "unknown" where none was given; valid for ever */
	int fd;
	int type;       /* SOCK_STREAM, SOCK_DGRAM, ...; 0: it is no socket */
	bool listening; /* connections can be accepted from it */
};

/*
 * torc_activation_take - the descriptors that this process was started with.
 *
 * The first use of this, or of a "systemd:" address, reads the variables, removes them from the environment, so that no child
 * takes them for its own, and sets FD_CLOEXEC. Like every change of the environment that belongs to a time at which no other thread
 * looks at it: before torc_run, or in its first fiber.
 *
 *   @ret  [max] of them, in their order; the descriptors are yours from now on. They are handed out once, also to "systemd:"
 *
 * Returns     0..max    how many; 0 also when LISTEN_PID is not this process
 *             -EINVAL   LISTEN_FDS, LISTEN_PID or LISTEN_FDNAMES is nonsense: then nothing is handed out, ever
 *             -EBADF    fewer descriptors are open than LISTEN_FDS says: likewise
 *             -ENOBUFS  more than max: none was handed out
 *             -ENOMEM
 *             In the simulator there are none.
 * Suspends    never
 * Thread      any
 * Source      sd_listen_fds_with_names(3)
 */
TORC_API TORC_MUST_CHECK int torc_activation_take(struct torc_activated *ret, unsigned max);

TORC_END_DECLS

#endif
