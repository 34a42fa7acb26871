/*
 * http/files_one.c - one file as an answer.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "http/internal/files.h"

#define RANGES_MAX 16

/* A file up to this size goes with its head; above that it is read in parts, or spliced. */
#define MEMORY_BYTES 8192u

/* RFC 8187: attr-char. */
static bool is_plain(unsigned char c)
{
	unsigned char letter = c | 0x20;

	return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') ||
	       (c && strchr("!#$&+-.^_`|~", c));
}

/*
 * Content-Disposition, RFC 6266: a name for those who know no more than ASCII, and the right one. No slash and no
 * backslash gets through in either, lest a client save it elsewhere.
 */
static int add_disposition(struct torc_http_exchange *x, const char *name)
{
	static const char digits[] = "0123456789ABCDEF";
	char value[64 + 255 + 255 * 3];
	char *p = value + sprintf(value, "attachment; filename=\"");

	if (strlen(name) > 255)
		return -EINVAL;
	for (const char *c = name; *c; c++)
		*p++ = is_plain((unsigned char)*c) || *c == ' ' ? *c : '_';
	p += sprintf(p, "\"; filename*=UTF-8''");
	for (const char *c = name; *c; c++) {
		unsigned char byte = (unsigned char)*c;

		if (byte == '/' || byte == '\\')
			byte = '_';
		if (byte < ' ' || byte == 0x7f)
			return -EINVAL;
		if (is_plain(byte)) {
			*p++ = (char)byte;
			continue;
		}
		*p++ = '%';
		*p++ = digits[byte >> 4];
		*p++ = digits[byte & 15];
	}
	*p = '\0';
	return torc_http_add_field(x, "Content-Disposition", value);
}

static const char *type_of(const struct torc_http_file *file)
{
	const char *name = file->download ? file->download : file->path ? file->path : "";

	return file->type ? file->type : torc__http_type_of(name, NULL, "application/octet-stream");
}

static int send_held(struct torc_http_exchange *x, const struct torc_http_file *file,
		     const struct torc__http_held *h)
{
	struct torc__http_file_answer a = {
		.status = file->status ? file->status : 200,
		.ranges_max = RANGES_MAX,
		.type = type_of(file),
		.cache_control = file->cache_control,
	};
	int r = file->download ? add_disposition(x, file->download) : 0;

	return r ? r : torc__http_file_send(x, h, &a);
}

int torc_http_respond_file(struct torc_http_exchange *x, const struct torc_http_file *file)
{
	struct torc__http_held *h;
	int fd, r = torc_scope_status();

	if (r < 0)
		return r;
	if (x->responded)
		return -EALREADY;
	fd = file->path ? torc__http_path_open(file->path) : torc_sys_dup(file->fd);
	if (fd < 0)
		return fd;
	r = torc__http_held_make(fd, "", 0, MEMORY_BYTES, TORC__HTTP_IDENTITY, &h);
	if (r < 0)
		return r;
	r = send_held(x, file, h);
	torc__http_held_put(h);
	return r;
}
