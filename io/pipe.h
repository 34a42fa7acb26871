/*
 * io/pipe.h - pipes, and the standard streams, as any program is given them.
 *
 *	int fds[2];
 *
 *	r = torc_pipe(fds, 0);				fds[0] is read, fds[1] written
 *	...
 *	while ((r = torc_read(fds[0], buf, sizeof(buf))) > 0)
 *		use(buf, r);				0: all that could write have closed their end
 *
 * A pipe is read and written with torc_read, torc_write, torc_write_all and torc_splice (io/file.h). So are standard input and output,
 * whatever they are: a terminal, a pipe, a socket, a file, /dev/null. Do not set O_NONBLOCK: it belongs to the open file,
 * which other programs may share (the shell that has started this one), and torc does not need it. A call that was
 * cancelled has moved nothing: what it would have read is still there.
 *
 * With O_NONBLOCK, torc_read of a terminal that has nothing returns -EAGAIN on older kernels; torc_poll (io/poll.h) then waits
 * for it.
 */
#ifndef TORC_IO_PIPE_H
#define TORC_IO_PIPE_H

#include <fcntl.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/*
 * torc_pipe - make a pipe.
 *
 * It holds 64 KiB: a writer waits for its reader beyond that. Writing when nobody reads any more is -EPIPE.
 *
 *   @ret_fds  [2] the end to read and the end to write, both the caller's; closed on exec
 *   @flags    0, O_NONBLOCK or O_DIRECT, as pipe2(2)
 *
 * Returns     0
 *             -EMFILE, -ENFILE         no descriptor is left, in this process or on the machine
 *             -EINVAL                  unknown flags
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was made
 * Suspends    never
 * Thread      a fiber's
 * Source      pipe2(2)
 */
TORC_API TORC_MUST_CHECK int torc_pipe(int ret_fds[2], int flags);

TORC_END_DECLS

#endif
