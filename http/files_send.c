/*
 * http/files_send.c - a file as an answer: whole, a part, or several.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "http/internal/files.h"
#include "io/internal/pipes.h"
#include "io/internal/stream.h"

/* What is read into memory at a time. */
#define PART_BYTES 65536u

/* What is sent at a time past memory, with write_ns of its own: so that is a minimum rate. */
#define SPLICE_BYTES ((size_t)128 << 10)

/* "\r\n--BOUNDARY\r\nContent-Type: ...\r\nContent-Range: ...\r\n\r\n" */
#define PART_HEAD_BYTES 512
#define BOUNDARY_BYTES  40
#define TYPE_MAX        255

int torc__http_file_refuse(struct torc_http_exchange *x, int status)
{
	const char *reason = torc__http_reason(status);

	return torc_http_respond(x, status, "text/plain", reason, strlen(reason));
}

/* --- bytes of the file --- */

/* Has the stream a socket of its own, which nothing looks at or changes what goes to? And are the bytes the body's own? */
static bool is_plain(const struct torc_http_exchange *x)
{
	struct torc_stream *s = x->stream;

	return torc__http_is_plain(x) && !x->incomplete && !s->tx_rate && torc_stream_fd(s) >= 0 &&
	       (!s->tls || s->kind->bare(s)); /* the kernel may encrypt */
}

static int flush_head(struct torc_http_exchange *x)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, x->config->options.write_ns);
	r = torc_stream_flush(x->stream);
	torc_scope_leave(&scope);
	return r;
}

/* Up to SPLICE_BYTES, in the time that so much may take. */
static int splice_some(struct torc_http_exchange *x, int fd, uint64_t offset, uint64_t len)
{
	size_t part = len < SPLICE_BYTES ? (size_t)len : SPLICE_BYTES, done = 0;
	struct torc_scope scope;
	int r = 1;

	torc_scope_enter(&scope, x->config->options.write_ns);
	while (r > 0 && done < part) {
		r = torc_sendfile(torc_stream_fd(x->stream), fd, (off_t)(offset + done),
				  part - done);
		done += r > 0 ? (size_t)r : 0;
	}
	torc_scope_leave(&scope);
	torc__http_sent(x, done);
	if (r < 0)
		torc__stream_tx_failed(x->stream, r); /* which has not seen it */
	/* It has shrunk: the client must see that something is missing. */
	return done == part ? (int)part : r ? r : -EIO;
}

static int splice_range(struct torc_http_exchange *x, int fd, struct torc__http_range range)
{
	int r = flush_head(x);

	while (r >= 0 && range.len) {
		r = splice_some(x, fd, range.first, range.len);
		if (r > 0) {
			range.first += (uint64_t)r;
			range.len -= (uint64_t)r;
		}
	}
	x->incomplete = r < 0;
	return r < 0 ? r : 0;
}

static int copy_range(struct torc_http_exchange *x, int fd, struct torc__http_range range)
{
	size_t size = range.len < PART_BYTES ? (size_t)range.len : PART_BYTES;
	char *buf = torc__malloc(size ? size : 1);
	int r = buf ? 0 : -ENOMEM;

	while (!r && range.len) {
		int n = torc_pread(fd, buf, range.len < size ? (size_t)range.len : size,
				   (off_t)range.first);

		if (n <= 0) {
			r = n ? n : -EIO;
			break;
		}
		range.first += (uint64_t)n;
		range.len -= (uint64_t)n;
		r = torc_http_write(x, buf, (size_t)n);
	}
	torc__free(buf);
	return r;
}

static int send_range(struct torc_http_exchange *x, const struct torc__http_held *h,
		      struct torc__http_range range)
{
	if (x->without_body)
		return 0;
	if (h->content)
		return torc_http_write(x, h->content + range.first, (size_t)range.len);
	if (range.len >= TORC__SPLICE_LEAST && is_plain(x))
		return splice_range(x, h->fd, range);
	return copy_range(x, h->fd, range);
}

/* --- several parts --- */

struct parts {
	const struct torc__http_held *file;
	const char *type;
	struct torc__http_range range[TORC__HTTP_RANGES_MAX];
	int count;
	char boundary[BOUNDARY_BYTES];
};

static size_t put_part_head(const struct parts *p, int i, char out[PART_HEAD_BYTES])
{
	const struct torc__http_range *range = &p->range[i];
	int n = snprintf(out, PART_HEAD_BYTES,
			 "%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
			 "/%" PRIu64 "\r\n\r\n",
			 i ? "\r\n" : "", p->boundary, p->type, range->first,
			 range->first + range->len - 1, p->file->size);

	return (size_t)n;
}

static size_t put_end(const struct parts *p, char out[PART_HEAD_BYTES])
{
	return (size_t)snprintf(out, PART_HEAD_BYTES, "\r\n--%s--\r\n", p->boundary);
}

static uint64_t length_of(const struct parts *p)
{
	char head[PART_HEAD_BYTES];
	uint64_t length = put_end(p, head);

	for (int i = 0; i < p->count; i++)
		length += put_part_head(p, i, head) + p->range[i].len;
	return length;
}

static int send_each(struct torc_http_exchange *x, const struct parts *p)
{
	char head[PART_HEAD_BYTES];
	int r = 0;

	for (int i = 0; !r && i < p->count; i++) {
		r = torc_http_write(x, head, put_part_head(p, i, head));
		if (!r)
			r = send_range(x, p->file, p->range[i]);
	}
	return r ? r : torc_http_write(x, head, put_end(p, head));
}

/* Not to be found in a file by chance; who wants to confuse his own clients can do so anyway. */
static void make_boundary(struct parts *p)
{
	uint64_t now = torc_sys_wall_ns(), which = now ^ p->file->status.stx_ino;

	snprintf(p->boundary, sizeof(p->boundary), "torc-%016" PRIx64 "%016" PRIx64,
		 now * UINT64_C(0x9e3779b97f4a7c15), which * UINT64_C(0xbf58476d1ce4e5b9));
}

/* The outer type is looked at when the response begins; this one goes into the heads of the parts. */
static bool is_type(const char *type)
{
	size_t len = strlen(type);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)type[i] < ' ' || type[i] == 0x7f)
			return false;
	return len <= TYPE_MAX;
}

static int send_parts(struct torc_http_exchange *x, struct parts *p)
{
	char type[40 + BOUNDARY_BYTES];
	int r;

	if (!is_type(p->type))
		return -EINVAL;
	make_boundary(p);
	snprintf(type, sizeof(type), "multipart/byteranges; boundary=%s", p->boundary);
	r = torc_http_begin(x, 206, type, length_of(p));
	return r ? r : send_each(x, p);
}

/* --- one part, or all --- */

/* What is in memory goes with the head, in one send if it is small. */
static int send_one(struct torc_http_exchange *x, const struct torc__http_held *h, int status,
		    const char *type, struct torc__http_range range)
{
	int r;

	if (h->content)
		return torc_http_respond(x, status, type, h->content + range.first,
					 (size_t)range.len);
	r = torc_http_begin(x, status, type, range.len);
	return r ? r : send_range(x, h, range);
}

static int send_part(struct torc_http_exchange *x, const struct parts *p)
{
	struct torc__http_range range = p->range[0];
	char text[80];
	int r;

	snprintf(text, sizeof(text), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, range.first,
		 range.first + range.len - 1, p->file->size);
	r = torc_http_add_field(x, "Content-Range", text);
	return r ? r : send_one(x, p->file, 206, p->type, range);
}

static int refuse_range(struct torc_http_exchange *x, const struct torc__http_held *h)
{
	char text[40];
	int r;

	snprintf(text, sizeof(text), "bytes */%" PRIu64, h->size);
	r = torc_http_add_field(x, "Content-Range", text);
	return r ? r : torc__http_file_refuse(x, 416);
}

/* 0: all of it. Two lines of Range are none. */
static int find_ranges(const struct torc_http_exchange *x, const struct torc__http_file_answer *a,
		       struct parts *p)
{
	struct torc_slice value, another;
	unsigned at = 0;

	if (a->status != 200 || x->head.method != TORC__HTTP_GET ||
	    !torc__http_next_field(x, TORC__HTTP_NAME_RANGE, &at, &value) ||
	    torc__http_next_field(x, TORC__HTTP_NAME_RANGE, &at, &another) ||
	    !torc__http_if_range(x, p->file))
		return 0;
	return torc__http_ranges(value, p->file->size, a->ranges_max, p->range);
}

/* --- the answer --- */

/* Lines that are known to be right: torc_http_add_field would look at each byte again, for each request. */
static int add_lines(struct torc_http_exchange *x, const char *lines, size_t len)
{
	int r;

	if (x->responded)
		return -EALREADY;
	r = torc__http_text_grow(x, &x->extra, len, TORC_HTTP_FIELDS_BYTES);
	if (r < 0)
		return r;
	memcpy(x->extra.data + x->extra.len, lines, len);
	x->extra.len += (uint32_t)len;
	return 0;
}

/* Those that a 304 has too: RFC 9110, section 15.4.5. */
static int add_fields(struct torc_http_exchange *x, const struct torc__http_held *h,
		      const struct torc__http_file_answer *a)
{
	int r = a->status == 200 ? add_lines(x, h->lines, h->lines_len) : 0;

	if (!r && a->cache_control)
		r = torc_http_add_field(x, "Cache-Control", a->cache_control);
	if (!r && a->vary)
		r = torc_http_add_field(x, "Vary", "Accept-Encoding");
	return r;
}

static int send_body(struct torc_http_exchange *x, const struct torc__http_held *h,
		     const struct torc__http_file_answer *a)
{
	struct parts p;
	int r;

	p.file = h;
	p.type = a->type;
	p.count = find_ranges(x, a, &p);
	if (p.count < 0)
		return refuse_range(x, h);
	r = h->coding
		    ? torc_http_add_field(x, "Content-Encoding", torc__http_coding_name(h->coding))
		    : 0;
	if (r < 0)
		return r;
	if (p.count > 1)
		return send_parts(x, &p);
	return p.count ? send_part(x, &p)
		       : send_one(x, h, a->status, a->type,
				  (struct torc__http_range){ 0, h->size });
}

int torc__http_file_send(struct torc_http_exchange *x, const struct torc__http_held *h,
			 const struct torc__http_file_answer *a)
{
	int verdict = a->status == 200 ? torc__http_condition(x, h) : 0;
	int r = add_fields(x, h, a);

	if (r < 0)
		return r;
	if (verdict == 304)
		return torc_http_respond(x, 304, NULL, NULL, 0);
	return verdict ? torc__http_file_refuse(x, verdict) : send_body(x, h, a);
}
