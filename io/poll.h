/*
 * io/poll.h - wait until a descriptor is ready: for those that belong to another library, which reads and writes them itself.
 *
 *	r = torc_poll(PQsocket(connection), POLLIN);
 *	if (r > 0)
 *		PQconsumeInput(connection);
 *
 * What is read with calls of torc needs no poll: torc_read and the like wait by themselves.
 */
#ifndef TORC_IO_POLL_H
#define TORC_IO_POLL_H

#include <poll.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/*
 * torc_poll - wait for one of some events of a descriptor.
 *
 * That it is ready is a hint, as with poll(2): another reader may be first, so leave O_NONBLOCK set. A file that cannot be
 * polled, such as a regular one, is always ready to be read and written.
 *
 *   @fd      borrowed. Who closes it meanwhile does not end the wait: cancel that first
 *   @events  POLLIN, POLLOUT, POLLPRI, POLLRDHUP, ... of poll(2). POLLERR and POLLHUP are waited for in any case; on some kernels
 *            POLLRDHUP too. 0: only for those
 *
 * Returns     1 ..         what it is ready for: POLL* bits, only of those that were waited for
 *             -EBADF       not a descriptor
 *             -EINVAL      a file that cannot be polled, and neither POLLIN nor POLLOUT was asked for
 *             -ECANCELED, -ETIMEDOUT   the scope
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's; any number at a time
 * Source      poll(2), io_uring_prep_poll_add(3)
 */
TORC_API TORC_MUST_CHECK int torc_poll(int fd, short events);

TORC_END_DECLS

#endif
