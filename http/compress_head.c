/*
 * http/compress_head.c - what compression does to the fields that were added to a response.
 *
 * They are kept as they will be sent: lines "Name: value\r\n".
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/internal/coding.h"

/* What the edits below can take together. */
#define ROOM 96

/* The line at or behind *at with that name; *at is then where the next one begins. Where it begins, or NULL. */
static char *find_line(const struct torc_http_exchange *x, const char *name, size_t *at,
		       struct torc_slice *ret_value)
{
	const struct torc__http_text *t = &x->extra;
	size_t len = strlen(name);

	while (*at < t->len) {
		char *line = t->data + *at;
		const char *end = memchr(line, '\n', t->len - *at);
		size_t line_len = (size_t)(end - line) + 1;

		*at += line_len;
		if (line_len < len + 4 || strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		*ret_value = (struct torc_slice){ line + len + 2, line_len - len - 4 };
		return line;
	}
	return NULL;
}

bool torc__http_added(const struct torc_http_exchange *x, const char *name, size_t *at,
		      struct torc_slice *ret_value)
{
	return find_line(x, name, at, ret_value) != NULL;
}

bool torc__http_added_has(const struct torc_http_exchange *x, const char *name, const char *element)
{
	struct torc_slice list, found;
	size_t at = 0;

	while (find_line(x, name, &at, &list))
		while (torc_http_next_element(&list, &found))
			if (torc__http_slice_is_word(found, element))
				return true;
	return false;
}

int torc__http_head_room(struct torc_http_exchange *x)
{
	return torc__http_text_grow(x, &x->extra, ROOM, TORC_HTTP_FIELDS_BYTES);
}

static void insert(struct torc_http_exchange *x, size_t at, const char *text)
{
	struct torc__http_text *t = &x->extra;
	size_t len = strlen(text);

	memmove(t->data + at + len, t->data + at, t->len - at);
	memcpy(t->data + at, text, len);
	t->len += (uint32_t)len;
}

static void append(struct torc_http_exchange *x, const char *text)
{
	insert(x, x->extra.len, text);
}

void torc__http_add_vary(struct torc_http_exchange *x)
{
	struct torc_slice value;
	size_t at = 0;

	if (torc__http_added_has(x, "Vary", "Accept-Encoding") ||
	    torc__http_added_has(x, "Vary", "*"))
		return;
	if (find_line(x, "Vary", &at, &value))
		insert(x, at - 2, value.len ? ", Accept-Encoding" : "Accept-Encoding");
	else
		append(x, "Vary: Accept-Encoding\r\n");
}

void torc__http_weaken_etag(struct torc_http_exchange *x)
{
	struct torc_slice value;
	size_t at = 0;

	if (find_line(x, "ETag", &at, &value) && value.len && *value.data == '"')
		insert(x, (size_t)(value.data - x->extra.data), "W/");
}

static void drop(struct torc_http_exchange *x, const char *name)
{
	struct torc__http_text *t = &x->extra;
	struct torc_slice value;
	size_t at = 0;
	char *line;

	while ((line = find_line(x, name, &at, &value)) != NULL) {
		size_t begin = (size_t)(line - t->data);

		memmove(line, t->data + at, t->len - at);
		t->len -= (uint32_t)(at - begin);
		at = begin;
	}
}

/* What a range would be of is the plain form, and this is another one. */
void torc__http_mark_coded(struct torc_http_exchange *x, const char *coding)
{
	append(x, "Content-Encoding: ");
	append(x, coding);
	append(x, "\r\n");
	drop(x, "Accept-Ranges");
	torc__http_weaken_etag(x);
}
