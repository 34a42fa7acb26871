/*
 * http/file.c - answer with a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <torc/core/op.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "http/internal/exchange.h"

#define PATH_BYTES 4096
#define PART_BYTES 65536u

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode %XX; the result is relative. A NUL, or an encoded slash, is refused: no file has them. */
static int decode_path(struct torc_slice in, char out[PATH_BYTES])
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		int c = (unsigned char)in.data[i];

		if (c == '%') {
			int high = i + 2 < in.len ? hex(in.data[i + 1]) : -1;
			int low = high >= 0 ? hex(in.data[i + 2]) : -1;

			if (low < 0)
				return -EINVAL;
			c = high << 4 | low;
			i += 2;
			if (!c || c == '/')
				return -EINVAL;
		}
		if (n == PATH_BYTES - sizeof("/index.html"))
			return -ENAMETOOLONG;
		/* openat2 would take a leading slash for the root of the system, and refuse it. */
		if (n || c != '/')
			out[n++] = (char)c;
	}
	out[n] = '\0';
	return 0;
}

static int open_beneath(int directory_fd, const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_openat2(sqe, directory_fd, *path ? path : ".", &how);
	return torc_op_wait(&op);
}

static int read_status(int fd, struct statx *ret)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_statx(sqe, fd, "", AT_EMPTY_PATH,
			    STATX_TYPE | STATX_SIZE | STATX_MTIME | STATX_INO, ret);
	return torc_op_wait(&op);
}

static int read_part(int fd, char *buf, size_t len, uint64_t offset)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_read(sqe, fd, buf, (unsigned)len, offset);
	return torc_op_wait(&op);
}

/* Open the file, or the index.html of a directory. Returns the descriptor, *ret_status filled in. */
static int open_file(int directory_fd, char *path, struct statx *ret_status)
{
	for (bool index = false;; index = true) {
		int fd = open_beneath(directory_fd, path);
		int r = fd < 0 ? fd : read_status(fd, ret_status);

		if (r < 0) {
			if (fd >= 0)
				torc_close(fd);
			return r;
		}
		if (S_ISREG(ret_status->stx_mode))
			return fd;
		torc_close(fd);
		if (index || !S_ISDIR(ret_status->stx_mode))
			return -EACCES;
		strcat(path, *path && path[strlen(path) - 1] != '/' ? "/index.html" : "index.html");
	}
}

static const char *type_of(const char *path)
{
	static const struct {
		const char *suffix, *type;
	} types[] = {
		{ ".html", "text/html; charset=utf-8" },
		{ ".htm", "text/html; charset=utf-8" },
		{ ".css", "text/css; charset=utf-8" },
		{ ".js", "text/javascript; charset=utf-8" },
		{ ".mjs", "text/javascript; charset=utf-8" },
		{ ".json", "application/json" },
		{ ".txt", "text/plain; charset=utf-8" },
		{ ".md", "text/markdown; charset=utf-8" },
		{ ".xml", "application/xml" },
		{ ".svg", "image/svg+xml" },
		{ ".png", "image/png" },
		{ ".jpg", "image/jpeg" },
		{ ".jpeg", "image/jpeg" },
		{ ".gif", "image/gif" },
		{ ".webp", "image/webp" },
		{ ".ico", "image/x-icon" },
		{ ".woff2", "font/woff2" },
		{ ".wasm", "application/wasm" },
		{ ".pdf", "application/pdf" },
		{ ".gz", "application/gzip" },
		{ ".zip", "application/zip" },
		{ ".mp4", "video/mp4" },
	};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcasecmp(dot, types[i].suffix))
			return types[i].type;
	return "application/octet-stream";
}

struct validators {
	char etag[64];
	char modified[30];
};

static void make_validators(const struct statx *st, struct validators *v)
{
	snprintf(v->etag, sizeof(v->etag), "\"%llx-%llx-%llx\"", (unsigned long long)st->stx_ino,
		 (unsigned long long)st->stx_size,
		 (unsigned long long)(uint64_t)st->stx_mtime.tv_sec * 1000000000u +
			 st->stx_mtime.tv_nsec);
	torc__http_date(v->modified, st->stx_mtime.tv_sec);
	v->modified[29] = '\0';
}

/* Weak comparison in a list, RFC 9110, section 13.1.2: our tags have neither commas nor spaces. */
static bool etag_listed(struct torc_slice list, const char *etag)
{
	if (list.len == 1 && *list.data == '*')
		return true;
	return memmem(list.data, list.len, etag, strlen(etag)) != NULL;
}

static bool not_modified(const struct torc_http_exchange *x, const struct validators *v)
{
	struct torc_slice value;

	if (torc_http_field(x, "If-None-Match", &value))
		return etag_listed(value, v->etag);
	/* The date that we sent comes back as we sent it; any other form is taken for an older one. */
	if (torc_http_field(x, "If-Modified-Since", &value))
		return value.len == 29 && !memcmp(value.data, v->modified, 29);
	return false;
}

static int send_parts(struct torc_http_exchange *x, int fd, uint64_t size)
{
	size_t part = size < PART_BYTES ? (size_t)size : PART_BYTES;
	char *buf = torc__malloc(part ? part : 1);
	uint64_t offset = 0;
	int r = buf ? 0 : -ENOMEM;

	while (!r && offset < size && x->head.method != TORC__HTTP_HEAD) {
		r = read_part(fd, buf, part, offset);
		if (r <= 0) {
			r = r ? r
			      : -EIO; /* it has shrunk: the client must see that something is missing */
			break;
		}
		if ((uint64_t)r > size - offset)
			r = (int)(size - offset);
		offset += (uint64_t)r;
		r = torc_http_write(x, buf, (size_t)r);
	}
	torc__free(buf);
	return r;
}

static int send_open_file(struct torc_http_exchange *x, int fd, const char *path,
			  const struct statx *st)
{
	struct validators v;
	int r;

	make_validators(st, &v);
	r = torc_http_add_field(x, "ETag", v.etag);
	if (!r)
		r = torc_http_add_field(x, "Last-Modified", v.modified);
	if (r < 0)
		return r;
	if (not_modified(x, &v))
		return torc_http_begin(x, 304, NULL, TORC_NEVER);
	r = torc_http_begin(x, 200, type_of(path), st->stx_size);
	return r ? r : send_parts(x, fd, st->stx_size);
}

static int send_status(struct torc_http_exchange *x, int status)
{
	const char *reason = torc__http_reason(status);

	return torc_http_respond(x, status, "text/plain", reason, strlen(reason));
}

static int open_error(struct torc_http_exchange *x, int error)
{
	switch (error) {
	case -ENOENT:
	case -ENOTDIR: return -ENOENT;
	case -EACCES:
	case -EPERM:
	case -EXDEV: /* it would lead out of the directory */
	case -ELOOP:
	case -ENXIO: return send_status(x, 403);
	case -ENAMETOOLONG: return send_status(x, 414);
	case -EMFILE:
	case -ENFILE:
	case -ENOMEM: return send_status(x, 503);
	default: return error;
	}
}

int torc_http_send_file(struct torc_http_exchange *x, int directory_fd)
{
	char path[PATH_BYTES];
	struct statx st;
	int fd, r;

	if (x->head.method != TORC__HTTP_GET && x->head.method != TORC__HTTP_HEAD) {
		r = torc_http_add_field(x, "Allow", "GET, HEAD");
		return r ? r : send_status(x, 405);
	}
	r = decode_path(x->head.path, path);
	if (r < 0)
		return send_status(x, r == -EINVAL ? 400 : 414);
	fd = open_file(directory_fd, path, &st);
	if (fd < 0)
		return open_error(x, fd);
	r = send_open_file(x, fd, path, &st);
	torc_close(fd);
	return r;
}
