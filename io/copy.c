/*
 * io/copy.c - torc_copy_file.
 *
 * On another thread, up to 16 MiB at a time: where is the next data, and let the kernel copy it. Where the kernel does not copy, or
 * is the simulator, the ring reads and writes.
 */
#include <torc/io/contents.h>

#include <errno.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <torc/executor/offload.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "io/internal/call.h"
#include "io/internal/staged.h"

#define COPY_FLAGS   (TORC_COPY_EXCLUSIVE | TORC_COPY_DURABLE)
#define PART_BYTES   ((off_t)16 << 20)
#define BUFFER_BYTES 262144u

struct copy {
	int from, to;
	off_t at, end; /* the data that is next; end == at: look for it */
	off_t size;    /* of the source: known at the end, when holes may follow the data */
	bool by_hand;  /* the kernel does not copy */
	bool ended;
	char *buffer;
};

/* --- on another thread --- */

static int clone_whole(void *arg)
{
	const struct copy *c = arg;

	return ioctl(c->to, FICLONE, c->from) < 0 ? -errno : 0;
}

/* What cannot tell of its holes has none: all that follows is data. */
static int all_is_data(struct copy *c)
{
	c->end = INT64_MAX;
	return 0;
}

static int end_of_data(struct copy *c)
{
	off_t size = lseek(c->from, 0, SEEK_END);

	if (size < 0)
		return -errno;
	c->size = size > c->at ? size : c->at;
	c->ended = true;
	return 0;
}

static int find_data(void *arg)
{
	struct copy *c = arg;
	off_t at = lseek(c->from, c->at, SEEK_DATA), end;

	if (at < 0)
		return errno == ENXIO ? end_of_data(c) : all_is_data(c);
	end = lseek(c->from, at, SEEK_HOLE);
	if (end <= at)
		return all_is_data(c);
	c->at = at;
	c->end = end;
	return 0;
}

/* Kernels say this of files that they cannot copy; copy_file_range(2) lists the first three. */
static bool cannot(int error)
{
	return error == EXDEV || error == EINVAL || error == EOPNOTSUPP || error == ENOSYS ||
	       error == EPERM || error == ETXTBSY;
}

static int copy_part(struct copy *c)
{
	off_t from = c->at, to = c->at, left = c->end - c->at;
	ssize_t n = copy_file_range(c->from, &from, c->to, &to,
				    (size_t)(left < PART_BYTES ? left : PART_BYTES), 0);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && !cannot(errno))
		return -errno;
	/* 0: the end; or a file that says it is empty, such as those of /proc. A read will show. */
	c->by_hand = n <= 0;
	c->at += n > 0 ? n : 0;
	return 0;
}

static int next_part(void *arg)
{
	struct copy *c = arg;
	int r = c->at == c->end ? find_data(c) : 0;

	return r || c->ended ? r : copy_part(c);
}

/* --- by hand --- */

static int move_part(struct copy *c)
{
	off_t left = c->end - c->at;
	int n = torc_pread(c->from, c->buffer, left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES,
			   c->at);
	int r = n > 0 ? torc_pwrite_all(c->to, c->buffer, (size_t)n, c->at) : n;

	if (r < 0)
		return r;
	c->at += n;
	if (!n) { /* shorter than it was, or than it can tell */
		c->size = c->at;
		c->ended = true;
	}
	return 0;
}

static int move_next(struct copy *c)
{
	int r = 0;

	if (!c->buffer)
		c->buffer = torc__malloc(BUFFER_BYTES);
	if (!c->buffer)
		return -ENOMEM;
	if (c->at == c->end)
		r = torc__on_linux() ? torc_offload(find_data, c) : all_is_data(c);
	return r || c->ended ? r : move_part(c);
}

/* --- all of it --- */

static int copy_data(struct copy *c)
{
	int r = 0;

	c->by_hand = !torc__on_linux();
	if (!c->by_hand) {
		r = torc_offload(clone_whole, c);
		if (!r)
			return 0;
		if (r == -ECANCELED || r == -ETIMEDOUT)
			return r;
		r = 0;
	}
	while (!r && !c->ended)
		r = c->by_hand ? move_next(c) : torc_offload(next_part, c);
	return r ? r : torc_ftruncate(c->to, c->size);
}

static int copy_staged(int from, mode_t mode, struct torc__staged *s, unsigned flags)
{
	struct copy c = { .from = from, .to = s->fd };
	int r = copy_data(&c);

	torc__free(c.buffer);
	if (!r)
		r = torc__set_mode(s->fd, mode);
	if (!r && flags & TORC_COPY_DURABLE)
		r = torc_fsync(s->fd);
	return r;
}

static int copy_open(int from, mode_t mode, int to_dirfd, const char *to, unsigned flags)
{
	unsigned how = (flags & TORC_COPY_DURABLE ? (unsigned)TORC__PLACE_DURABLE : 0) |
		       (flags & TORC_COPY_EXCLUSIVE ? (unsigned)TORC__PLACE_EXCLUSIVE : 0);
	struct torc__staged s;
	int r = torc__staged_open(&s, to_dirfd, to, 0600, false);

	if (r < 0)
		return r;
	r = copy_staged(from, mode, &s, flags);
	if (!r)
		return torc__staged_place(&s, how);
	torc__staged_drop(&s);
	return r;
}

static int check_source(int fd, mode_t *ret_mode)
{
	struct statx st;
	int r = torc_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE, &st);

	if (r)
		return r;
	if (!S_ISREG(st.stx_mode))
		return S_ISDIR(st.stx_mode) ? -EISDIR : -EINVAL;
	*ret_mode = st.stx_mode & 0777;
	return 0;
}

int torc_copy_file(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
	mode_t mode;
	int fd, r;

	if (flags & ~(unsigned)COPY_FLAGS)
		return -EINVAL;
	/* Without a wait for a pipe's other side, and so that nothing is done to a device. */
	fd = torc_openat(from_dirfd, from, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	r = check_source(fd, &mode);
	if (!r)
		r = copy_open(fd, mode, to_dirfd, to, flags);
	(void)torc_close_wait(fd);
	return r;
}
