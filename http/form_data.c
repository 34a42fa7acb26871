/*
 * http/form_data.c - forms with files, to be sent.
 *
 * A part is its head as text, from the boundary to the empty line, and where its data is. A form is its parts, a line's end behind each, and
 * the last boundary.
 */
#include <torc/http/form_data.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include <torc/core/scope.h>
#include <torc/io/file.h>

#include "core/internal/system.h"
#include "http/internal/exchange.h"
#include "http/internal/files.h"
#include "http/internal/random.h"

#define PIECE_BYTES ((size_t)64 << 10)

#define TYPE "multipart/form-data; boundary="

#define OTHERWISE "application/octet-stream"

#define LENGTH_MAX ((uint64_t)INT64_MAX)

struct torc__http_form_part {
	struct torc__http_form_part *next;
	uint64_t length;  /* of its data */
	const char *data; /* NULL: it is a file */
	int dirfd;
	const char *path;
	size_t head_len;
	char head[]; /* then the path, or the text */
};

/* --- begin and end --- */

/* "--BOUNDARY--\r\n" */
static uint64_t end_length(const struct torc_http_form_data *f)
{
	return strlen(f->boundary) + 6;
}

void torc_http_form_data_init(struct torc_http_form_data *f)
{
	unsigned char bytes[16];
	size_t n = sizeof(TYPE) - 1;

	*f = (struct torc_http_form_data){ .end = &f->first, .type = TYPE };
	f->boundary = f->type + n;
	n += (size_t)snprintf(f->type + n, sizeof(f->type) - n, "torc-");
	torc__http_seed(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		n += (size_t)snprintf(f->type + n, sizeof(f->type) - n, "%02x", bytes[i]);
	f->length = end_length(f);
}

void torc_http_form_data_done(struct torc_http_form_data *f)
{
	struct torc__http_form_part *p = f->first;

	while (p) {
		struct torc__http_form_part *next = p->next;

		torc__free(p);
		p = next;
	}
	*f = (struct torc_http_form_data){ .first = NULL };
}

const char *torc_http_form_data_type(const struct torc_http_form_data *f)
{
	return f->type;
}

uint64_t torc_http_form_data_length(const struct torc_http_form_data *f)
{
	return f->length;
}

/* --- heads --- */

static const char *escape_of(char c)
{
	switch (c) {
	case '"': return "%22";
	case '\\': return "%5C";
	case '\r': return "%0D";
	case '\n': return "%0A";
	default: return NULL;
	}
}

static bool is_name(const char *name)
{
	const char *p = name;

	for (; *p; p++)
		if (torc__http_is(*p, TORC__HTTP_CTL) && !escape_of(*p))
			return false;
	return p - name <= TORC_HTTP_FORM_NAME_MAX;
}

/* What there is no room for is only counted. */
struct out {
	char *text;
	size_t size, n;
};

static void put(struct out *o, const char *text, size_t len)
{
	if (len <= o->size && o->n <= o->size - len)
		memcpy(o->text + o->n, text, len);
	o->n += len;
}

static void put_string(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void put_name(struct out *o, const char *key, const char *name)
{
	put_string(o, key);
	put_string(o, "=\"");
	for (; *name; name++) {
		const char *escape = escape_of(*name);

		put(o, escape ? escape : name, escape ? 3 : 1);
	}
	put_string(o, "\"");
}

/* What is said of a part. */
struct said {
	const char *name, *filename, *type;
};

static bool is_said_well(const struct said *s)
{
	return is_name(s->name) && (!s->filename || is_name(s->filename)) &&
	       (!s->type ||
		(torc__http_is_field_value(s->type) && strlen(s->type) <= TORC_HTTP_FORM_NAME_MAX));
}

static void put_head(struct out *o, const struct torc_http_form_data *f, const struct said *s)
{
	put_string(o, "--");
	put_string(o, f->boundary);
	put_string(o, "\r\nContent-Disposition: form-data");
	put_name(o, "; name", s->name);
	if (s->filename)
		put_name(o, "; filename", s->filename);
	if (s->type) {
		put_string(o, "\r\nContent-Type: ");
		put_string(o, s->type);
	}
	put_string(o, "\r\n\r\n");
}

/* --- parts --- */

/* `kept` is copied behind the head. */
static struct torc__http_form_part *make_part(const struct torc_http_form_data *f,
					      const struct said *s, const char *kept)
{
	struct out o = { NULL, 0, 0 };
	struct torc__http_form_part *p;
	size_t bytes = strlen(kept) + 1;

	put_head(&o, f, s);
	p = torc__malloc(sizeof(*p) + o.n + bytes);
	if (!p)
		return NULL;
	*p = (struct torc__http_form_part){ .head_len = o.n };
	o = (struct out){ p->head, o.n, 0 };
	put_head(&o, f, s);
	memcpy(p->head + p->head_len, kept, bytes);
	return p;
}

/* With its head, and a line's end behind it. */
static int add(struct torc_http_form_data *f, struct torc__http_form_part *p)
{
	uint64_t around = p->head_len + 2;

	if (f->length > LENGTH_MAX - around || p->length > LENGTH_MAX - around - f->length) {
		torc__free(p);
		return -EFBIG;
	}
	f->length += around + p->length;
	*f->end = p;
	f->end = &p->next;
	return 0;
}

int torc_http_form_data_add_text(struct torc_http_form_data *f, const char *name, const char *text)
{
	const struct said s = { .name = name };
	struct torc__http_form_part *p;

	if (!is_said_well(&s))
		return -EINVAL;
	p = make_part(f, &s, text);
	if (!p)
		return -ENOMEM;
	p->data = p->head + p->head_len;
	p->length = strlen(text);
	return add(f, p);
}

int torc_http_form_data_add_memory(struct torc_http_form_data *f, const char *name,
				   const char *filename, const char *type, const void *data,
				   size_t len)
{
	const struct said s = { name, filename, type || !filename ? type : OTHERWISE };
	struct torc__http_form_part *p;

	if (!is_said_well(&s))
		return -EINVAL;
	p = make_part(f, &s, "");
	if (!p)
		return -ENOMEM;
	p->data = data ? data : "";
	p->length = len;
	return add(f, p);
}

static int size_of(int dirfd, const char *path, int flags, uint64_t *ret)
{
	struct statx st;
	int r = torc_statx(dirfd, path, flags, STATX_TYPE | STATX_SIZE, &st);

	if (r < 0)
		return r;
	if (!S_ISREG(st.stx_mode))
		return S_ISDIR(st.stx_mode) ? -EISDIR : -EOPNOTSUPP;
	*ret = st.stx_size;
	return 0;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int torc_http_form_data_add_file(struct torc_http_form_data *f, const char *name,
				 const char *filename, const char *type, int dirfd,
				 const char *path)
{
	const struct said s = {
		name,
		filename ? filename : last_part(path),
		type ? type : torc__http_type_of(path, NULL, OTHERWISE),
	};
	struct torc__http_form_part *p;
	uint64_t size;
	int r;

	if (!is_said_well(&s))
		return -EINVAL;
	r = size_of(dirfd, path, 0, &size);
	if (r < 0)
		return r;
	p = make_part(f, &s, path);
	if (!p)
		return -ENOMEM;
	p->dirfd = dirfd;
	p->path = p->head + p->head_len;
	p->length = size;
	return add(f, p);
}

/* --- write --- */

struct writer {
	int (*write)(void *to, const void *data, size_t len);
	void *to;
	char *room; /* [PIECE_BYTES], for files; NULL: none was needed yet */
};

static int write_bytes(struct writer *w, const char *data, size_t len)
{
	int r = len ? w->write(w->to, data, len) : 0;

	return r < 0 ? r : 0;
}

/* Is it still what was added? */
static int check_size(int fd, uint64_t expected)
{
	uint64_t size;
	int r = size_of(fd, "", AT_EMPTY_PATH, &size);

	if (r == -EISDIR || r == -EOPNOTSUPP)
		return -EIO;
	return r < 0 || size == expected ? r : -EIO;
}

static int copy_file(struct writer *w, int fd, uint64_t length)
{
	uint64_t at = 0;
	int r = 0;

	while (!r && at < length) {
		size_t n = length - at < PIECE_BYTES ? (size_t)(length - at) : PIECE_BYTES;

		r = torc_pread(fd, w->room, n, (off_t)at);
		if (r < 0)
			return r;
		if (!r)
			return -EIO; /* it has become shorter */
		at += (unsigned)r;
		r = write_bytes(w, w->room, (size_t)r);
	}
	return r;
}

/* A pipe that has taken the file's place is not waited for. */
static int write_file(struct writer *w, const struct torc__http_form_part *p)
{
	int fd, r;

	if (!w->room)
		w->room = torc__malloc(PIECE_BYTES);
	if (!w->room)
		return -ENOMEM;
	fd = torc_openat(p->dirfd, p->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	r = check_size(fd, p->length);
	if (!r)
		r = copy_file(w, fd, p->length);
	if (!r)
		r = check_size(fd, p->length);
	torc_close(fd);
	return r;
}

static int write_part(struct writer *w, const struct torc__http_form_part *p)
{
	int r = write_bytes(w, p->head, p->head_len);

	if (!r)
		r = p->data ? write_bytes(w, p->data, (size_t)p->length) : write_file(w, p);
	return r ? r : write_bytes(w, "\r\n", 2);
}

int torc_http_form_data_write(const struct torc_http_form_data *f,
			      int (*write)(void *to, const void *data, size_t len), void *to)
{
	struct writer w = { .write = write, .to = to };
	char end[sizeof(f->type)];
	int r = torc_scope_status();

	for (const struct torc__http_form_part *p = f->first; !r && p; p = p->next)
		r = write_part(&w, p);
	torc__free(w.room);
	if (r < 0)
		return r;
	snprintf(end, sizeof(end), "--%s--\r\n", f->boundary);
	return write_bytes(&w, end, strlen(end));
}
