/*
 * io/tty.h - terminals: raw mode, and how large the window is. They are read and written as pipes are (io/pipe.h).
 *
 *	static void restore(void *saved)
 *	{
 *		(void)torc_tty_restore(saved);
 *	}
 *	...
 *	struct torc_tty_saved saved;
 *
 *	r = torc_tty_raw(STDIN_FILENO, &saved);
 *	if (r < 0)
 *		return r;
 *	torc_defer(restore, &saved);		however this block is left
 *	while ((r = torc_read(STDIN_FILENO, &key, 1)) > 0 && key != 'q')
 *		...
 *
 * SIGINT and SIGTERM cancel the first fiber, so its blocks are left and the terminal is as it was. A program that is killed,
 * or aborts, leaves it raw. When the window changes its size there is a SIGWINCH: io/signal.h.
 *
 * None of these calls waits, nor asks the scope: they are for clean-up too.
 */
#ifndef TORC_IO_TTY_H
#define TORC_IO_TTY_H

#include <termios.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* How a terminal was. Caller's memory; the fields are private. */
struct torc_tty_saved {
	struct termios mode;
	int fd;
};

struct torc_tty_size {
	uint16_t rows, columns;
	uint16_t width, height; /* in pixels; 0: unknown */
};

/*
 * torc_tty_is - is it a terminal? No for anything that is not open, too.
 *
 * Suspends    never
 * Thread      any
 */
TORC_API bool torc_tty_is(int fd);

/*
 * torc_tty_raw - from now on each key is read as it is pressed, nothing is echoed, and no key is a signal (cfmakeraw(3)).
 *
 * A process in the background that changes its terminal is stopped by SIGTTOU, as with tcsetattr(3).
 *
 *   @ret_saved  for torc_tty_restore
 *
 * Returns     0
 *             -EBADF    not a descriptor
 *             -ENOTTY   not a terminal
 *             -EIO      a process in the background whose terminal nobody controls any more
 *             -ENOSYS   in the simulator
 * Suspends    never
 * Thread      any
 * Source      termios(3)
 */
TORC_API TORC_MUST_CHECK int torc_tty_raw(int fd, struct torc_tty_saved *ret_saved);

/* torc_tty_restore - as it was before torc_tty_raw; what it returns likewise. Twice is harmless. */
TORC_API int torc_tty_restore(const struct torc_tty_saved *saved);

/*
 * torc_tty_size - how large its window is; torc_tty_set_size - set that: of the program's end of a pseudo-terminal
 * (io/child.h), whose programs get a SIGWINCH.
 *
 * Returns     0
 *             -EBADF, -ENOTTY, -EIO, -ENOSYS   as torc_tty_raw
 * Suspends    never
 * Thread      any
 * Source      ioctl_tty(2): TIOCGWINSZ, TIOCSWINSZ
 */
TORC_API TORC_MUST_CHECK int torc_tty_size(int fd, struct torc_tty_size *ret_size);
TORC_API TORC_MUST_CHECK int torc_tty_set_size(int fd, const struct torc_tty_size *size);

TORC_END_DECLS

#endif
