#include <torc/io/contents.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "io/internal/staged.h"

/* What is read at first of a file that does not say how long it is. */
#define FIRST_BYTES 4096u

/* --- read --- */

/* What was read. `limit` and a zero byte have room in a size_t. */
struct contents {
	char *data;
	size_t len, capacity, limit;
};

/* Room for one byte more than there may be shows that there is more; the zero byte takes its place in the end. */
static int grow(struct contents *c, size_t capacity)
{
	char *data;

	if (capacity > c->limit + 1)
		capacity = c->limit + 1;
	data = torc__realloc(c->data, capacity);
	if (!data)
		return -ENOMEM;
	c->data = data;
	c->capacity = capacity;
	return 0;
}

static int read_more(struct contents *c, int fd)
{
	int r = 0;

	if (c->len == c->capacity)
		r = grow(c, c->capacity < SIZE_MAX / 2 ? 2 * c->capacity : SIZE_MAX);
	if (!r)
		r = torc_read(fd, c->data + c->len, c->capacity - c->len);
	if (r > 0)
		c->len += (size_t)r;
	return c->len > c->limit ? -EFBIG : r;
}

/* How much room to begin with, so that the end is found in it. */
static int find_size(int fd, size_t limit, size_t *ret_capacity)
{
	struct statx st;
	int r = torc_statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE, &st);

	if (r < 0)
		return r;
	if (S_ISREG(st.stx_mode) && st.stx_size > limit)
		return -EFBIG;
	*ret_capacity = S_ISREG(st.stx_mode) && st.stx_size ? (size_t)st.stx_size + 1 : FIRST_BYTES;
	return 0;
}

static int read_all(struct contents *c, int fd)
{
	size_t capacity;
	int r = find_size(fd, c->limit, &capacity);

	if (!r)
		r = grow(c, capacity);
	if (r < 0)
		return r;
	do
		r = read_more(c, fd);
	while (r > 0);
	return r;
}

int torc_read_file(int dirfd, const char *path, size_t limit, void **ret_data, size_t *ret_len)
{
	struct contents c = { .limit = limit };
	int fd, r;

	if (limit >= PTRDIFF_MAX)
		return -EINVAL;
	fd = torc_openat(dirfd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	r = read_all(&c, fd);
	(void)torc_close_wait(fd);
	if (r < 0) {
		torc__free(c.data);
		return r;
	}
	c.data[c.len] = '\0';
	*ret_data = c.data;
	*ret_len = c.len;
	return 0;
}

void torc_free_file(void *data)
{
	torc__free(data);
}

/* --- write --- */

int torc_write_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	struct torc__staged s;
	int r = torc__staged_open(&s, dirfd, path, mode, true);

	if (r < 0)
		return r;
	r = torc_pwrite_all(s.fd, data, len, 0);
	if (!r)
		r = torc_fsync(s.fd);
	if (!r)
		return torc__staged_place(&s, TORC__PLACE_DURABLE);
	torc__staged_drop(&s);
	return r;
}

/* --- append --- */

struct appended {
	int dir, fd;
	bool created;
};

/* There may be one, or none, and another one may come or go at any time. */
#define OPENS_TRIED 100

static int open_to_append(struct appended *a, const char *base, mode_t mode)
{
	int fd = -ENOENT;

	for (unsigned i = 0; (fd == -ENOENT || fd == -EEXIST) && i < OPENS_TRIED; i++) {
		a->created = i % 2;
		fd = torc_openat(a->dir, base,
				 O_WRONLY | O_APPEND | (a->created ? O_CREAT | O_EXCL : 0), mode);
	}
	a->fd = fd;
	return fd < 0 ? fd : 0;
}

static int size_of(int fd, uint64_t *ret_size)
{
	struct statx st;
	int r = torc_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &st);

	if (!r)
		*ret_size = st.stx_size;
	return r;
}

/* Cut off what was written of it, unless somebody else has written too. */
static void take_back(int fd, uint64_t before, size_t written)
{
	struct torc_scope shield;
	uint64_t now;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	if (written && !size_of(fd, &now) && now == before + written &&
	    torc_ftruncate(fd, (off_t)before) < 0) {
		/* Then it stays: the caller is told of what went wrong first. */
	}
	torc_scope_leave(&shield);
}

static int append(int fd, const char *data, size_t len)
{
	uint64_t before;
	size_t written = 0;
	int r = size_of(fd, &before);

	while (!r && written < len) {
		r = torc_write(fd, data + written, len - written);
		if (r > 0)
			written += (size_t)r;
		r = r > 0 ? 0 : r ? r : -EIO;
	}
	if (r)
		take_back(fd, before, written);
	return r;
}

/* Not cut short: what is there could not be told from what is not. */
static int sync_appended(const struct appended *a)
{
	struct torc_scope shield;
	int r;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	r = torc_fdatasync(a->fd);
	if (!r && a->created)
		r = torc__sync_directory(a->dir);
	torc_scope_leave(&shield);
	return r;
}

int torc_append_file(int dirfd, const char *path, const void *data, size_t len, mode_t mode)
{
	struct appended a;
	const char *base;
	int r = torc__open_parent(dirfd, path, &a.dir, &base);

	if (r < 0)
		return r;
	r = open_to_append(&a, base, mode);
	if (!r) {
		r = append(a.fd, data, len);
		if (!r)
			r = sync_appended(&a);
		(void)torc_close_wait(a.fd);
	}
	(void)torc_close_wait(a.dir);
	return r;
}
