/*
 * io/internal/listener.h - listeners on sockets that there are already, and their end in two steps.
 */
#ifndef TORC_IO_INTERNAL_LISTENER_H
#define TORC_IO_INTERNAL_LISTENER_H

#include <torc/io/listener.h>

/*
 * Accept no more; torc_listener_close is still to follow. Returns a connection that was accepted and not taken, until there
 * is none: -EAGAIN. Suspends briefly, also in a cancelled scope.
 */
int torc__listener_stop(struct torc_listener *listener);

/*
 * After that, for a socket that somebody else accepts from too: one more connection, or -EAGAIN. The kernel wakes one accept for
 * each connection, and when that was ours, just before it was cancelled, the connection would wait until another one
 * comes and wakes the others.
 */
int torc__listener_last(struct torc_listener *listener);

/* On a socket that listens, which may also be descriptor 0; as if torc_listen had opened it. */
void torc__listener_adopt(struct torc_listener *listener, int fd);

/* The file of such an address: of a Unix socket that is not abstract. Of any other: nothing. */
void torc__listener_remove_file(const char *address);

#endif
