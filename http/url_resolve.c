/*
 * http/url_resolve.c - where a reference leads, and how everybody writes a URL.
 */
#include <torc/http/url.h>

#include <errno.h>
#include <string.h>

#include "http/internal/url.h"

static const char digits[] = "0123456789ABCDEF";

static void put_escaped(struct torc__url_out *o, struct torc_slice s)
{
	const char *end = s.data + s.len;

	for (const char *p = s.data; p < end; p++) {
		unsigned char c = (unsigned char)*p;

		if (torc__url_needs_escape(p, end))
			torc__url_put(o, (char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
		else
			torc__url_put(o, p, 1);
	}
}

/* ---- Paths, from their end ------------------------------------------------------------------ */

static void put_before(struct torc__url_out *o, char c)
{
	o->back++;
	if (o->front <= o->size && o->back <= o->size - o->front)
		o->text[o->size - o->back] = c;
	o->first[1] = o->first[0];
	o->first[0] = c;
}

static void put_before_escaped(struct torc__url_out *o, const char *p, const char *end)
{
	unsigned char c = (unsigned char)*p;

	if (torc__url_needs_escape(p, end)) {
		put_before(o, digits[c & 15]);
		put_before(o, digits[c >> 4]);
		put_before(o, '%');
	} else {
		put_before(o, *p);
	}
}

static void path_done(struct torc__url_out *o)
{
	if (o->front <= o->size && o->back <= o->size - o->front)
		memmove(o->text + o->front, o->text + o->size - o->back, o->back);
	o->front += o->back;
	o->back = 0;
}

/* 1 for ".", 2 for "..", else 0. An escaped dot is one, as it is for browsers and for many a server. */
static unsigned dots(struct torc_slice segment)
{
	const char *p = segment.data, *end = p + segment.len;
	unsigned count = 0;

	while (p < end && count < 3) {
		if (*p == '.')
			p++;
		else if (end - p >= 3 && p[0] == '%' && p[1] == '2' && (p[2] | 0x20) == 'e')
			p += 3;
		else
			return 0;
		count++;
	}
	return count < 3 ? count : 0;
}

/* How many of the segments to come are taken away by ".." that were met. */
struct walk {
	struct torc__url_out *o;
	size_t pending;
	bool last; /* the segment is the path's last */
};

static void put_segment(struct walk *w, struct torc_slice s)
{
	unsigned count = dots(s);

	if (count && w->last)
		put_before(w->o, '/');
	if (count == 2) {
		w->pending++;
	} else if (count == 0 && w->pending) {
		w->pending--;
	} else if (count == 0) {
		for (const char *end = s.data + s.len, *p = end; p > s.data; p--)
			put_before_escaped(w->o, p - 1, end);
		put_before(w->o, '/');
	}
	w->last = false;
}

/* Of segments with a '/' between two of them, the last one first. */
static void put_segments(struct walk *w, struct torc_slice s)
{
	for (;;) {
		const char *slash = s.len ? memrchr(s.data, '/', s.len) : NULL;
		size_t start = slash ? (size_t)(slash - s.data) + 1 : 0;

		put_segment(w, (struct torc_slice){ s.data + start, s.len - start });
		if (!slash)
			return;
		s.len = start - 1;
	}
}

/*
 * The path dir + rest without its dot segments, RFC 3986, section 5.2.4. @dir begins and ends with '/'.
 *
 * Without an authority a path that begins with "//" would be read as one: "/." before it keeps it what it is.
 */
static void put_path(struct torc__url_out *o, struct torc_slice dir, struct torc_slice rest,
		     bool has_authority)
{
	struct walk w = { o, 0, true };

	put_segments(&w, rest);
	if (dir.len > 1)
		put_segments(&w, (struct torc_slice){ dir.data + 1, dir.len - 2 });
	if (!has_authority && o->back > 1 && o->first[0] == '/' && o->first[1] == '/') {
		put_before(o, '.');
		put_before(o, '/');
	}
	path_done(o);
}

static bool is_rooted(struct torc_slice path)
{
	return path.len && *path.data == '/';
}

static const struct torc_slice root = { "/", 1 };

/* Of a URL by itself. */
static void put_own_path(struct torc__url_out *o, const struct torc_url *u)
{
	if (is_rooted(u->path))
		put_path(o, root, (struct torc_slice){ u->path.data + 1, u->path.len - 1 },
			 u->has_authority);
	else
		put_escaped(o, u->path);
}

static void put_query(struct torc__url_out *o, const struct torc_url *u)
{
	torc__url_put(o, "?", u->has_query);
	put_escaped(o, u->query);
}

static void put_fragment(struct torc__url_out *o, const struct torc_url *u)
{
	torc__url_put(o, "#", u->has_fragment);
	put_escaped(o, u->fragment);
}

/* ---- Normalise ------------------------------------------------------------------------------ */

static struct torc_slice trim(const char *text, size_t len)
{
	while (len && *text == ' ') {
		text++;
		len--;
	}
	while (len && text[len - 1] == ' ')
		len--;
	return (struct torc_slice){ text, len };
}

static void put_scheme(struct torc__url_out *o, struct torc_slice scheme)
{
	for (size_t i = 0; i < scheme.len; i++) {
		char c = scheme.data[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		torc__url_put(o, &c, 1);
	}
	torc__url_put(o, ":", 1);
}

int torc_url_normalize(const char *text, size_t len, char *out, size_t size)
{
	struct torc__url_out o = { .text = out, .size = size };
	struct torc_slice s = trim(text, len);
	struct torc_url u;
	int r = torc__url_split(s.data, s.len, true, &u);

	if (r < 0)
		return r;
	if (!u.scheme.len || (torc__url_is_web(&u) && !u.host.len))
		return -EINVAL;
	put_scheme(&o, u.scheme);
	if (u.has_authority)
		torc__url_put_authority(&o, &u, true);
	put_own_path(&o, &u);
	torc__url_put(&o, "/", torc__url_is_web(&u) && !u.path.len);
	put_query(&o, &u);
	put_fragment(&o, &u);
	return torc__url_finish(&o);
}

/* ---- Resolve, RFC 3986, section 5.2.2 ------------------------------------------------------- */

static int put_merged_path(struct torc__url_out *o, const struct torc_url *base,
			   const struct torc_url *reference)
{
	const char *slash;

	if (is_rooted(reference->path)) {
		put_path(o, root,
			 (struct torc_slice){ reference->path.data + 1, reference->path.len - 1 },
			 base->has_authority);
		return 0;
	}
	if (base->has_authority && !base->path.len) {
		put_path(o, root, reference->path, true);
		return 0;
	}
	if (!is_rooted(base->path))
		return -EINVAL;
	slash = memrchr(base->path.data, '/', base->path.len);
	put_path(o, (struct torc_slice){ base->path.data, (size_t)(slash - base->path.data) + 1 },
		 reference->path, base->has_authority);
	return 0;
}

/* Of a reference without scheme and authority. */
static int put_relative(struct torc__url_out *o, const struct torc_url *base,
			const struct torc_url *reference)
{
	int r;

	if (base->has_authority)
		torc__url_put_authority(o, base, false);
	if (!reference->path.len) {
		torc__url_put_slice(o, base->path);
		put_query(o, reference->has_query ? reference : base);
		return 0;
	}
	r = put_merged_path(o, base, reference);
	put_query(o, reference);
	return r;
}

int torc_url_resolve(const char *base_text, size_t base_len, const char *text, size_t len,
		     char *out, size_t size)
{
	struct torc__url_out o = { .text = out, .size = size };
	struct torc_slice s = trim(text, len);
	struct torc_url base, reference;
	int r = torc_url_parse(base_text, base_len, &base);

	if (r == 0)
		r = torc__url_split(s.data, s.len, true, &reference);
	if (r < 0)
		return r;
	torc__url_put_slice(&o, reference.scheme.len ? reference.scheme : base.scheme);
	torc__url_put(&o, ":", 1);
	if (reference.scheme.len || reference.has_authority) {
		if (reference.has_authority)
			torc__url_put_authority(&o, &reference, false);
		put_own_path(&o, &reference);
		put_query(&o, &reference);
	} else {
		r = put_relative(&o, &base, &reference);
	}
	put_fragment(&o, &reference);
	return r < 0 ? r : torc__url_finish(&o);
}
