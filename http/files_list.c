/*
 * http/files_list.c - a directory as a page of links.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/scope.h>
#include <torc/io/directory.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "http/internal/files.h"

/* The page is sent in parts of this size; one name with all that is about it fits into one of those. */
#define PAGE_BYTES 4096
#define LINK_BYTES (255 * 3 + 255 * 6 + 64)

/* So does a path up to this, with what is before it. */
#define TITLE_MAX 600
_Static_assert(TITLE_MAX * 6 + 300 < PAGE_BYTES, "the head of a page must fit into it");

/* Names, one behind the other, each behind a byte for its type; and where they are. */
struct names {
	char *text;
	size_t len, capacity;
	uint32_t *at;
	unsigned count, room;
	bool more; /* than fit */
};

static void free_names(struct names *n)
{
	torc__free(n->text);
	torc__free(n->at);
}

static int grow(void **block, size_t bytes)
{
	void *larger = torc__realloc(*block, bytes);

	if (!larger)
		return -ENOMEM;
	*block = larger;
	return 0;
}

static int make_room(struct names *n, size_t len)
{
	int r = 0;

	if (n->len + len > n->capacity) {
		n->capacity = (n->capacity + len) * 2 + 1024;
		r = grow((void **)&n->text, n->capacity);
	}
	if (!r && n->count == n->room) {
		n->room = n->room * 2 + 64;
		r = grow((void **)&n->at, n->room * sizeof(n->at[0]));
	}
	return r;
}

static int add_name(struct names *n, const struct torc_directory_entry *e)
{
	size_t len = strlen(e->name) + 1;
	int r = make_room(n, len + 1);

	if (r < 0)
		return r;
	n->at[n->count++] = (uint32_t)n->len;
	n->text[n->len++] = e->type == DT_DIR ? '/' : '\0';
	memcpy(n->text + n->len, e->name, len);
	n->len += len;
	return 0;
}

static int read_names(const struct torc_http_files *f, struct torc_directory *d, struct names *n)
{
	struct torc_directory_entry e;
	int r;

	while ((r = torc_directory_next(d, &e)) > 0) {
		if (!f->options.hidden && *e.name == '.')
			continue;
		n->more = n->count == f->options.listing_max;
		if (n->more)
			return 0;
		r = add_name(n, &e);
		if (r < 0)
			return r;
	}
	return r;
}

static int compare(const void *a, const void *b, void *text)
{
	return strcmp((const char *)text + *(const uint32_t *)a + 1,
		      (const char *)text + *(const uint32_t *)b + 1);
}

/* Opened beneath the root first: whatever takes the place of its path meanwhile is not listed. */
static int collect(const struct torc_http_files *f, const char *path, struct names *n)
{
	size_t len = strlen(path);
	char bare[TORC__HTTP_PATH_BYTES];
	struct torc_directory d;
	int fd, r;

	memcpy(bare, path, len + 1);
	if (len)
		bare[len - 1] = '\0'; /* its slash */
	fd = torc__http_files_open(f, bare);
	if (fd < 0)
		return fd;
	r = torc_directory_open(&d, fd, ".");
	torc_close(fd);
	if (r < 0)
		return r;
	r = read_names(f, &d, n);
	torc_directory_close(&d);
	if (r == 0 && n->count)
		qsort_r(n->at, n->count, sizeof(n->at[0]), compare, n->text);
	return r;
}

/* --- the page --- */

struct page {
	struct torc_http_exchange *x;
	size_t len;
	int error;
	char text[PAGE_BYTES];
};

static void put(struct page *p, const char *text)
{
	size_t len = strlen(text);

	memcpy(p->text + p->len, text, len);
	p->len += len;
}

static void put_escaped(struct page *p, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '&': put(p, "&amp;"); break;
		case '<': put(p, "&lt;"); break;
		case '>': put(p, "&gt;"); break;
		case '"': put(p, "&quot;"); break;
		case '\'': put(p, "&#39;"); break;
		default: p->text[p->len++] = *text;
		}
	}
}

static void flush(struct page *p)
{
	if (!p->error)
		p->error = torc_http_write(p->x, p->text, p->len);
	p->len = 0;
}

/* "./" keeps a name with a colon from being taken for a scheme. */
static void put_link(struct page *p, const char *name, bool directory)
{
	char link[255 * 3 + 8];
	const char *end = directory ? "/" : "";

	if (p->len + LINK_BYTES > PAGE_BYTES)
		flush(p);
	if (torc__http_path_encode(name, link, sizeof(link)) < 0)
		return;
	put(p, "<li><a href=\"./");
	put(p, link);
	put(p, end);
	put(p, "\">");
	put_escaped(p, name);
	put(p, end);
	put(p, "</a></li>\n");
}

static void put_head(struct page *p, const char *path)
{
	put(p, "<!DOCTYPE html>\n<html>\n<head><meta charset=\"utf-8\"><title>");
	/* A long path would not fit, and nobody would read it. */
	put_escaped(p, *path ? strlen(path) < TITLE_MAX ? path : "..." : "/");
	put(p, "</title></head>\n<body>\n<ul>\n");
	if (*path)
		put(p, "<li><a href=\"../\">../</a></li>\n");
}

static int send_page(struct torc_http_exchange *x, const char *path, const struct names *n)
{
	struct page p = { .x = x };

	put_head(&p, path);
	for (unsigned i = 0; !p.error && i < n->count; i++)
		put_link(&p, n->text + n->at[i] + 1, n->text[n->at[i]]);
	if (p.len + LINK_BYTES > PAGE_BYTES)
		flush(&p);
	put(&p, n->more ? "<li>and more</li>\n" : "");
	put(&p, "</ul>\n</body>\n</html>\n");
	flush(&p);
	return p.error;
}

int torc__http_files_list(struct torc_http_exchange *x, const struct torc_http_files *f,
			  const char *path, int *ret_error)
{
	struct names n = { 0 };
	int r = collect(f, path, &n);

	if (r < 0) {
		*ret_error = r;
		goto free;
	}
	*ret_error = 0;
	r = f->options.cache_control
		    ? torc_http_add_field(x, "Cache-Control", f->options.cache_control)
		    : 0;
	if (!r)
		r = torc_http_begin(x, 200, "text/html; charset=utf-8", TORC_NEVER);
	if (!r)
		r = send_page(x, path, &n);
free:
	free_names(&n);
	return r;
}
