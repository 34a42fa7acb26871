/*
 * http/form.c - queries and urlencoded forms.
 */
#include <torc/http/form.h>

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "http/internal/exchange.h"

ssize_t torc__http_percent_decode(const char *from, size_t len, char *to, bool form)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = from[i];

		if (c == '%') {
			int high = len - i > 2 ? torc__http_hex(from[i + 1]) : -1;
			int low = high >= 0 ? torc__http_hex(from[i + 2]) : -1;

			if (low < 0)
				return -EBADMSG;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+' && form) {
			c = ' ';
		}
		to[n++] = c;
	}
	return (ssize_t)n;
}

bool torc_http_next_pair(struct torc_slice *rest, struct torc_slice *ret_name,
			 struct torc_slice *ret_value)
{
	const char *p = rest->data, *end = p + rest->len, *stop, *equals;

	while (p < end && *p == '&')
		p++;
	if (p == end) {
		*rest = (struct torc_slice){ p, 0 };
		return false;
	}
	stop = memchr(p, '&', (size_t)(end - p));
	if (!stop)
		stop = end;
	equals = memchr(p, '=', (size_t)(stop - p));
	*ret_name = (struct torc_slice){ p, (size_t)((equals ? equals : stop) - p) };
	p = equals ? equals + 1 : stop;
	*ret_value = (struct torc_slice){ p, (size_t)(stop - p) };
	*rest = (struct torc_slice){ stop, (size_t)(end - stop) };
	return true;
}

int torc_http_decode(struct torc_http_exchange *x, struct torc_slice text,
		     struct torc_slice *ret_text)
{
	ssize_t len;
	char *to;

	if (!text.len || (!memchr(text.data, '%', text.len) && !memchr(text.data, '+', text.len))) {
		*ret_text = text;
		return 0;
	}
	to = torc_http_alloc(x, text.len);
	if (!to)
		return -ENOMEM;
	len = torc__http_percent_decode(text.data, text.len, to, true);
	if (len < 0)
		return (int)len;
	*ret_text = (struct torc_slice){ to, (size_t)len };
	return 0;
}

int torc_http_query_value(struct torc_http_exchange *x, const char *name,
			  struct torc_slice *ret_value)
{
	struct torc_slice rest = x->head.query, found, value;

	while (torc_http_next_pair(&rest, &found, &value)) {
		int r = torc_http_decode(x, found, &found);

		if (r < 0)
			return r;
		if (!torc__http_slice_is(found, name))
			continue;
		r = torc_http_decode(x, value, ret_value);
		return r < 0 ? r : 1;
	}
	return 0;
}

/* --- forms --- */

static bool is_form(const struct torc_http_exchange *x)
{
	static const char type[] = "application/x-www-form-urlencoded";
	struct torc_slice value;
	size_t len = sizeof(type) - 1;

	if (!torc_http_field(x, "Content-Type", &value) || value.len < len ||
	    strncasecmp(value.data, type, len) != 0)
		return false;
	return value.len == len || strchr("; \t", value.data[len]);
}

static size_t count_pairs(struct torc_slice rest)
{
	struct torc_slice name, value;
	size_t n = 0;

	while (torc_http_next_pair(&rest, &name, &value))
		n++;
	return n;
}

/* In its place: decoding makes nothing longer. */
static int decode_here(struct torc_slice *text)
{
	ssize_t len = torc__http_percent_decode(text->data, text->len,
						(char *)(uintptr_t)text->data, true);

	if (len < 0)
		return (int)len;
	text->len = (size_t)len;
	return 0;
}

int torc_http_form_read(struct torc_http_exchange *x, size_t most, struct torc_http_form *ret_form)
{
	struct torc_http_form_pair *pairs;
	struct torc_slice body;
	size_t count, i = 0;
	int r;

	if (!is_form(x) || torc__http_body_is_coded(x))
		return torc__http_reject(x, -EPROTOTYPE);
	r = torc_http_body_read(x, most, &body);
	if (r < 0)
		return r;
	count = count_pairs(body);
	if (count > TORC_HTTP_FORM_PAIRS_MAX)
		return torc__http_reject(x, -EMSGSIZE);
	pairs = torc_http_alloc(x, count * sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	while (torc_http_next_pair(&body, &pairs[i].name, &pairs[i].value)) {
		if (decode_here(&pairs[i].name) < 0 || decode_here(&pairs[i].value) < 0)
			return torc__http_reject(x, -EBADMSG);
		i++;
	}
	*ret_form = (struct torc_http_form){ count, pairs };
	return 0;
}

bool torc_http_form_value(const struct torc_http_form *form, const char *name,
			  struct torc_slice *ret_value)
{
	for (size_t i = 0; i < form->count; i++)
		if (torc__http_slice_is(form->pairs[i].name, name)) {
			*ret_value = form->pairs[i].value;
			return true;
		}
	return false;
}
