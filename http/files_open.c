/*
 * http/files_open.c - from a path to an open file, or one in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <torc/core/sys.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "http/internal/files.h"
#include "io/internal/call.h"

/* A pipe or a device, which is refused once it is known to be one, is not waited for. */
#define READ_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

/* Renames on the way that are put up with: each makes the kernel say that it cannot be sure. */
#define ATTEMPTS 16

/* Two changes of a file in so short a time may leave it the same times: clocks of file systems tick slowly. */
#define RACY_NS TORC_SECONDS(2)

static int open_beneath(const struct torc_http_files *f, const char *path)
{
	struct open_how how = {
		.flags = READ_FLAGS,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -EAGAIN;

	if (f->options.symlinks == TORC_HTTP_SYMLINKS_NONE)
		how.resolve |= RESOLVE_NO_SYMLINKS;
	for (int i = 0; fd == -EAGAIN && i < ATTEMPTS; i++)
		fd = torc_openat2(f->root_fd, *path ? path : ".", &how);
	return fd;
}

/* One part, which may not be a symbolic link; ".." is in none. */
static int open_part(int directory, const char *part, bool last)
{
	int flags = last ? READ_FLAGS | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

	return torc_openat(directory, *part ? part : ".", flags, 0);
}

/* Part by part: safe everywhere, but without symbolic links. */
static int open_parts(const struct torc_http_files *f, const char *path)
{
	int directory = f->root_fd, fd;

	for (;;) {
		const char *slash = strchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);
		char part[NAME_MAX + 1];

		if (len > NAME_MAX) {
			fd = -ENAMETOOLONG;
		} else {
			memcpy(part, path, len);
			part[len] = '\0';
			fd = open_part(directory, part, !slash);
		}
		if (directory != f->root_fd)
			torc_close(directory);
		if (fd < 0 || !slash)
			return fd;
		directory = fd;
		path = slash + 1;
	}
}

/*
 * The ring's operations wait where O_NONBLOCK would have them fail, but on a file system that cannot say whether it would
 * wait: so it is taken away again. Nobody else has the description.
 */
static int let_wait(int fd)
{
	if (fd >= 0 && torc__on_linux())
		(void)fcntl(fd, F_SETFL, O_RDONLY);
	return fd;
}

int torc__http_files_open(const struct torc_http_files *f, const char *path)
{
	if (torc__ring_has(&torc__self()->loop->ring, IORING_OP_OPENAT2, TORC__OPENAT2))
		return let_wait(open_beneath(f, path));
	return let_wait(open_parts(f, path));
}

int torc__http_path_open(const char *path)
{
	return let_wait(torc_open(path, READ_FLAGS, 0));
}

/* --- a file that is held --- */

static int check_type(unsigned mode)
{
	if (S_ISREG(mode))
		return 0;
	return S_ISDIR(mode) ? -EISDIR : -EPERM;
}

static uint64_t modified_ns(const struct statx *s)
{
	return (uint64_t)s->stx_mtime.tv_sec * 1000000000u + s->stx_mtime.tv_nsec;
}

static void make_validators(struct torc__http_held *h)
{
	char date[29];

	snprintf(h->etag, sizeof(h->etag), "\"%llx-%llx-%llx%s%s\"",
		 (unsigned long long)h->status.stx_ino, (unsigned long long)h->size,
		 (unsigned long long)modified_ns(&h->status), h->coding ? "-" : "",
		 h->coding ? torc__http_coding_name(h->coding) : "");
	torc__http_date(date, h->status.stx_mtime.tv_sec);
	h->lines_len = (uint32_t)snprintf(h->lines, sizeof(h->lines),
					  "ETag: %s\r\nLast-Modified: %.29s\r\n"
					  "Accept-Ranges: bytes\r\n",
					  h->etag, date);
}

/* All of it; fewer bytes if it has shrunk since. */
static int read_content(struct torc__http_held *h, char *to)
{
	size_t done = 0;
	int r = 1;

	while (r > 0 && done < h->size) {
		r = torc_pread(h->fd, to + done, (size_t)h->size - done, (off_t)done);
		if (r > 0)
			done += (size_t)r;
	}
	if (r < 0)
		return r;
	h->size = done;
	h->content = to;
	torc_close(h->fd);
	h->fd = -1;
	return 0;
}

static struct torc__http_held *new_held(int fd, const char *path, size_t path_len,
					const struct statx *status, bool in_memory)
{
	size_t bytes = sizeof(struct torc__http_held) + path_len + 1 +
		       (in_memory ? (size_t)status->stx_size : 0);
	struct torc__http_held *h = torc__malloc(bytes);

	if (!h)
		return NULL;
	*h = (struct torc__http_held){ .refs = 1, .bytes = bytes, .fd = fd, .status = *status };
	h->size = status->stx_size;
	h->path_len = (uint32_t)path_len;
	h->racy = modified_ns(status) + RACY_NS > torc_sys_wall_ns();
	memcpy(h->path, path, path_len);
	h->path[path_len] = '\0';
	return h;
}

int torc__http_held_make(int fd, const char *path, size_t path_len, size_t most,
			 enum torc__http_coding coding, struct torc__http_held **ret)
{
	struct statx status;
	struct torc__http_held *h;
	bool in_memory;
	int r = torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &status);

	if (!r)
		r = check_type(status.stx_mode);
	if (r < 0)
		goto close;
	in_memory = status.stx_size <= most;
	h = new_held(fd, path, path_len, &status, in_memory);
	r = -ENOMEM;
	if (!h)
		goto close;
	h->coding = (uint8_t)coding;
	r = in_memory ? read_content(h, h->path + path_len + 1) : 0;
	if (r < 0)
		goto free;
	make_validators(h);
	*ret = h;
	return 0;
free:
	torc__free(h);
close:
	torc_close(fd);
	return r;
}

void torc__http_held_put(struct torc__http_held *h)
{
	if (--h->refs)
		return;
	if (h->fd >= 0)
		torc_close(h->fd);
	torc__free(h);
}
