/*
 * http/save.c - what comes in parts, as a new file.
 */
#include <errno.h>
#include <fcntl.h>

#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/file.h>

#include "http/internal/save.h"

/* To remove a file that is not complete, when the scope has ended. */
#define CLEAN_UP_NS TORC_SECONDS(5)

/*
 * At a position of our own: Linux does not move its own behind a write that is cut short by a limit, and says of the next that
 * it has succeeded.
 */
static int write_parts(const struct torc__http_parts *from, int fd, uint64_t most,
		       uint64_t *ret_bytes)
{
	struct torc_slice part;
	uint64_t at = 0;
	int r;

	while ((r = from->peek(from->arg, &part)) > 0) {
		if (part.len > most - at)
			return -EMSGSIZE;
		r = torc_pwrite_all(fd, part.data, part.len, (off_t)at);
		if (r < 0)
			return r;
		at += part.len;
		from->consume(from->arg, part.len);
	}
	*ret_bytes = at;
	return r;
}

static void remove_file(int dirfd, const char *path)
{
	struct torc_scope scope;

	torc_scope_enter_shield(&scope, CLEAN_UP_NS);
	(void)torc_unlinkat(dirfd, path, 0);
	torc_scope_leave(&scope);
}

int torc__http_save(const struct torc__http_parts *from, int dirfd, const char *path, mode_t mode,
		    uint64_t most, uint64_t *ret_bytes)
{
	int fd = torc_openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode), r;
	uint64_t bytes = 0;

	if (fd < 0)
		return fd;
	r = write_parts(from, fd, most, &bytes);
	torc_sys_close(fd);
	if (r < 0)
		remove_file(dirfd, path);
	else if (ret_bytes)
		*ret_bytes = bytes;
	return r;
}
