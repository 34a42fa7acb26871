#include <torc/io/tty.h>

#include <sys/ioctl.h>

#include "io/internal/call.h"

/* Set it without waiting for what is still to be written: TCSANOW. */
static int set_mode(int fd, const struct termios *mode)
{
	int r;

	do
		r = tcsetattr(fd, TCSANOW, mode) < 0 ? -errno : 0;
	while (r == -EINTR);
	return r;
}

bool torc_tty_is(int fd)
{
	struct termios mode;

	return torc__on_linux() && tcgetattr(fd, &mode) == 0;
}

int torc_tty_raw(int fd, struct torc_tty_saved *ret_saved)
{
	struct termios old, raw;
	int r;

	if (!torc__on_linux())
		return -ENOSYS;
	if (tcgetattr(fd, &old) < 0)
		return -errno;
	raw = old;
	cfmakeraw(&raw);
	r = set_mode(fd, &raw);
	if (r < 0)
		return r;
	*ret_saved = (struct torc_tty_saved){ .mode = old, .fd = fd };
	return 0;
}

int torc_tty_restore(const struct torc_tty_saved *saved)
{
	return torc__on_linux() ? set_mode(saved->fd, &saved->mode) : -ENOSYS;
}

int torc_tty_size(int fd, struct torc_tty_size *ret_size)
{
	struct winsize size;

	if (!torc__on_linux())
		return -ENOSYS;
	if (ioctl(fd, TIOCGWINSZ, &size) < 0)
		return -errno;
	*ret_size = (struct torc_tty_size){ .rows = size.ws_row,
					    .columns = size.ws_col,
					    .width = size.ws_xpixel,
					    .height = size.ws_ypixel };
	return 0;
}

int torc_tty_set_size(int fd, const struct torc_tty_size *size)
{
	const struct winsize ws = { .ws_row = size->rows,
				    .ws_col = size->columns,
				    .ws_xpixel = size->width,
				    .ws_ypixel = size->height };

	if (!torc__on_linux())
		return -ENOSYS;
	return ioctl(fd, TIOCSWINSZ, &ws) < 0 ? -errno : 0;
}
