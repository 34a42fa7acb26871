/*
 * io/internal/listener.h - the end of a listener in two steps.
 */
#ifndef TORC_IO_INTERNAL_LISTENER_H
#define TORC_IO_INTERNAL_LISTENER_H

#include <torc/io/listener.h>

/*
 * Accept no more; torc_listener_close is still to follow. Returns a connection that was accepted and not taken, until there
 * is none: -EAGAIN. Suspends briefly, also in a cancelled scope.
 */
int torc__listener_stop(struct torc_listener *listener);

#endif
