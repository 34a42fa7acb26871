/*
 * http/multipart.c - forms with files, from the body of an exchange.
 */
#include <torc/http/multipart.h>

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/internal/exchange.h"
#include "http/internal/multipart.h"
#include "http/internal/save.h"

#define PARTS      100
#define HEAD_BYTES 4096
#define HEAD_MAX   65536

struct torc_http_multipart {
	struct torc_http_exchange *x;
	struct torc_http_multipart_limits limits;
	struct torc__multipart parser;
	struct torc_slice run; /* data of the part that was not consumed */
	size_t run_used;       /* bytes of the body that go with it */
	uint64_t part_bytes;   /* so far */
	unsigned parts;
	int error; /* sticks */
	bool in_part, done;
};

static void fill_in(struct torc_http_multipart_limits *l)
{
	l->parts = l->parts ? l->parts : PARTS;
	l->head_bytes = l->head_bytes ? l->head_bytes : HEAD_BYTES;
	l->part_bytes = l->part_bytes ? l->part_bytes : TORC_NEVER;
	l->bytes = l->bytes ? l->bytes : TORC_NEVER;
}

int torc_http_multipart_begin(struct torc_http_exchange *x,
			      const struct torc_http_multipart_limits *limits,
			      struct torc_http_multipart **ret_form)
{
	struct torc_http_multipart *m = torc_http_alloc(x, sizeof(*m));
	struct torc_slice type = { "", 0 };
	int r;

	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	m->x = x;
	if (limits)
		m->limits = *limits;
	fill_in(&m->limits);
	if (m->limits.head_bytes > HEAD_MAX)
		return -EINVAL;
	(void)torc_http_field(x, "Content-Type", &type);
	r = torc__http_body_is_coded(x) ? -EPROTOTYPE : torc__multipart_init(&m->parser, type);
	if (r < 0)
		return torc__http_reject(x, r);
	r = torc_http_limit_body(x, m->limits.bytes);
	if (r < 0)
		return r;
	m->parser.head_capacity = m->limits.head_bytes;
	m->parser.head = torc_http_alloc(x, 2 * m->limits.head_bytes);
	if (!m->parser.head)
		return -ENOMEM;
	*ret_form = m;
	return 0;
}

static int fail(struct torc_http_multipart *m, int error)
{
	m->error = error;
	return torc__http_reject(m->x, error);
}

static int count_data(struct torc_http_multipart *m)
{
	m->part_bytes += m->run.len;
	return m->part_bytes > m->limits.part_bytes ? fail(m, -EMSGSIZE) : 0;
}

/* The next thing in the body: an enum torc__multipart_event but MORE, or a negative errno. */
static int next_event(struct torc_http_multipart *m)
{
	for (;;) {
		struct torc_slice view;
		size_t used;
		int r = torc_http_body_peek(m->x, &view);

		if (r == 0)
			return fail(m, -EBADMSG);
		if (r < 0)
			return r;
		r = torc__multipart_next(&m->parser, view.data, view.len, &used, &m->run);
		if (r < 0)
			return fail(m, r);
		if (r == TORC__MULTIPART_BYTES) {
			m->run_used = used;
			r = count_data(m);
			return r ? r : TORC__MULTIPART_BYTES;
		}
		torc_http_body_consume(m->x, used);
		if (r != TORC__MULTIPART_MORE)
			return r;
	}
}

int torc_http_multipart_peek(struct torc_http_multipart *m, struct torc_slice *ret_view)
{
	int r;

	if (m->error < 0)
		return m->error;
	if (!m->in_part)
		return 0;
	if (!m->run.len) {
		r = next_event(m);
		if (r < 0)
			return r;
		m->in_part = r == TORC__MULTIPART_BYTES;
		if (!m->in_part)
			return 0;
	}
	*ret_view = m->run;
	return 1;
}

void torc_http_multipart_consume(struct torc_http_multipart *m, size_t n)
{
	torc__check(n <= m->run.len, "more is consumed than was seen of a form");
	m->run.data += n;
	m->run.len -= n;
	if (n && !m->run.len && m->run_used)
		torc_http_body_consume(m->x, m->run_used);
}

static int skip_part(struct torc_http_multipart *m)
{
	struct torc_slice view;
	int r;

	while ((r = torc_http_multipart_peek(m, &view)) > 0)
		torc_http_multipart_consume(m, view.len);
	return r;
}

/* What follows the last boundary; how much that may be is for the body's limit to say. */
static int skip_rest(struct torc_http_multipart *m)
{
	struct torc_slice view;
	int r;

	m->done = true;
	while ((r = torc_http_body_peek(m->x, &view)) > 0)
		torc_http_body_consume(m->x, view.len);
	return r;
}

int torc_http_multipart_next(struct torc_http_multipart *m, struct torc_http_part *ret_part)
{
	int r = skip_part(m);

	if (r < 0)
		return r;
	if (m->done)
		return skip_rest(m);
	r = next_event(m);
	if (r < 0)
		return r;
	if (r == TORC__MULTIPART_DONE)
		return skip_rest(m);
	if (++m->parts > m->limits.parts)
		return fail(m, -EMSGSIZE);
	r = torc__multipart_head(m->parser.head, m->parser.head_len, ret_part);
	if (r < 0)
		return fail(m, r);
	m->in_part = true;
	m->part_bytes = 0;
	return 1;
}

/* --- a part as a whole --- */

int torc_http_multipart_read(struct torc_http_multipart *m, size_t most,
			     struct torc_slice *ret_data)
{
	struct torc__http_text text = { NULL, 0, 0 };
	struct torc_slice view;
	int r;

	while ((r = torc_http_multipart_peek(m, &view)) > 0) {
		if (view.len > most - text.len)
			return fail(m, -EMSGSIZE);
		r = torc__http_text_grow(m->x, &text, view.len + 1, UINT32_MAX / 4);
		if (r < 0)
			return -ENOMEM;
		memcpy(text.data + text.len, view.data, view.len);
		text.len += (uint32_t)view.len;
		torc_http_multipart_consume(m, view.len);
	}
	if (r < 0)
		return r;
	if (text.len)
		text.data[text.len] = '\0';
	*ret_data = text.len ? (struct torc_slice){ text.data, text.len }
			     : (struct torc_slice){ "", 0 };
	return 0;
}

static int peek_part(void *arg, struct torc_slice *ret_view)
{
	return torc_http_multipart_peek(arg, ret_view);
}

static void consume_part(void *arg, size_t n)
{
	torc_http_multipart_consume(arg, n);
}

int torc_http_multipart_save(struct torc_http_multipart *m, int dirfd, const char *path,
			     mode_t mode, uint64_t most, uint64_t *ret_bytes)
{
	const struct torc__http_parts parts = { peek_part, consume_part, m };
	int r = m->error < 0 ? m->error
			     : torc__http_save(&parts, dirfd, path, mode, most, ret_bytes);

	return r == -EMSGSIZE ? fail(m, r) : r;
}

/* --- what a part says --- */

bool torc_http_part_field(const struct torc_http_part *part, const char *name,
			  struct torc_slice *ret_value)
{
	const char *p = part->head.data, *end = p + part->head.len;
	size_t len = strlen(name);

	while (p < end) {
		const char *last = (const char *)memchr(p, '\n', (size_t)(end - p)) - 1;

		if ((size_t)(last - p) > len && !strncasecmp(p, name, len) && p[len] == ':') {
			p += len + 1;
			while (p < last && (*p == ' ' || *p == '\t'))
				p++;
			while (last > p && (last[-1] == ' ' || last[-1] == '\t'))
				last--;
			*ret_value = (struct torc_slice){ p, (size_t)(last - p) };
			return true;
		}
		p = last + 2;
	}
	return false;
}

bool torc_http_part_basename(const struct torc_http_part *part, struct torc_slice *ret_name)
{
	const char *begin = part->filename.data, *end = begin + part->filename.len;

	if (!part->has_filename)
		return false;
	for (const char *p = begin; p < end; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
		if (*p == '/' || *p == '\\')
			begin = p + 1;
	}
	*ret_name = (struct torc_slice){ begin, (size_t)(end - begin) };
	return begin < end && end - begin <= 255 && !torc__http_slice_is(*ret_name, ".") &&
	       !torc__http_slice_is(*ret_name, "..");
}
