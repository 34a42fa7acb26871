/*
 * http/jar_file.c - cookies.txt: a line for each cookie, of seven columns with a tab between them.
 *
 *	example.com	TRUE	/	FALSE	1893456000	name	value
 *
 * The domain, with or without a dot before it; whether it is also for those below; the path; whether it is Secure; its time; its name and value. In
 * front of the domain of one that is HttpOnly there is "#HttpOnly_"; all other lines that begin with '#' are comments.
 */
#include <errno.h>
#include <stdio.h>

#include <torc/core/sys.h>
#include <torc/io/contents.h>

#include "core/internal/system.h"
#include "http/internal/exchange.h"
#include "http/internal/jar.h"

#define HTTP_ONLY "#HttpOnly_"

#define HEADER "# Netscape HTTP Cookie File\n# Made by torc.\n\n"

enum { DOMAIN, BELOW, PATH, SECURE, TIME, NAME, VALUE, COLUMNS };

/* --- read --- */

/* Without a line's last column, it is empty. */
static bool split(struct torc_slice line, struct torc_slice columns[COLUMNS])
{
	size_t n = 0;

	columns[VALUE] = (struct torc_slice){ "", 0 };
	for (; n < COLUMNS; n++) {
		const char *tab = line.len ? memchr(line.data, '\t', line.len) : NULL;
		size_t len = tab && n != VALUE ? (size_t)(tab - line.data) : line.len;

		columns[n] = (struct torc_slice){ line.data, len };
		if (!tab || n == VALUE)
			break;
		line.data += len + 1;
		line.len -= len + 1;
	}
	return n >= NAME;
}

static bool read_time(struct torc_slice s, int64_t *ret)
{
	int64_t n = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.data[i] < '0' || s.data[i] > '9')
			return false;
		if (n < INT64_MAX / 20)
			n = n * 10 + s.data[i] - '0';
	}
	*ret = n;
	return true;
}

/* `domain` has room for what it becomes. */
static bool read_cookie(struct torc_slice line, int64_t now, struct torc__http_set_cookie *c,
			char *domain)
{
	struct torc_slice columns[COLUMNS];
	size_t prefix = sizeof(HTTP_ONLY) - 1;
	bool http_only = line.len >= prefix && !memcmp(line.data, HTTP_ONLY, prefix);

	if (http_only)
		line = (struct torc_slice){ line.data + prefix, line.len - prefix };
	if (!line.len || *line.data == '#' || !split(line, columns))
		return false;
	if (*columns[DOMAIN].data == '.' && columns[DOMAIN].len) {
		columns[DOMAIN].data++;
		columns[DOMAIN].len--;
	}
	if (torc__http_lower_host(columns[DOMAIN], domain) < 0)
		return false;
	*c = (struct torc__http_set_cookie){
		.name = columns[NAME],
		.value = columns[VALUE],
		.domain = { domain, strlen(domain) },
		.path = columns[PATH],
		.secure = torc__http_slice_is_word(columns[SECURE], "TRUE"),
		.http_only = http_only,
	};
	c->host_only =
		!torc__http_slice_is_word(columns[BELOW], "TRUE") || torc__http_is_ip(c->domain);
	if (!read_time(columns[TIME], &c->expires))
		return false;
	if (c->expires > now + TORC__HTTP_JAR_SECONDS_MAX)
		c->expires = now + TORC__HTTP_JAR_SECONDS_MAX;
	return !c->expires || c->expires > now;
}

/* What Set-Cookie could not have said is none. */
static bool is_sound(const struct torc_http_jar *jar, const struct torc__http_set_cookie *c)
{
	return c->name.len && c->path.len && *c->path.data == '/' &&
	       torc__http_is_cookie_text(c->name) && torc__http_is_cookie_text(c->value) &&
	       torc__http_is_cookie_text(c->path) && !memchr(c->name.data, ';', c->name.len) &&
	       !memchr(c->name.data, '=', c->name.len) &&
	       !(c->value.len && memchr(c->value.data, ';', c->value.len)) &&
	       torc__http_cookie_keeps_promise(c) && !torc__http_jar_fits(jar, c);
}

static int read_lines(struct torc_http_jar *jar, const char *text, size_t len)
{
	char domain[TORC_HTTP_JAR_DOMAIN_MAX + 1];
	const char *end = text + len;
	int64_t now = (int64_t)(torc_sys_wall_ns() / 1000000000);
	int count = 0;

	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		struct torc_slice line = { text, (size_t)((stop ? stop : end) - text) };
		struct torc__http_set_cookie c;

		text = stop ? stop + 1 : end;
		if (line.len && line.data[line.len - 1] == '\r')
			line.len--;
		if (!read_cookie(line, now, &c, domain) || !is_sound(jar, &c))
			continue;
		if (torc__http_jar_put(jar, &c, true) < 0)
			return -ENOMEM;
		count++;
	}
	return count;
}

int torc_http_jar_load(struct torc_http_jar *jar, int dirfd, const char *path)
{
	void *text;
	size_t len;
	int r = torc_read_file(dirfd, path, TORC_HTTP_JAR_FILE_MAX, &text, &len);

	if (r < 0)
		return r;
	r = read_lines(jar, text, len);
	torc_free_file(text);
	return r;
}

/* --- write --- */

/* As snprintf: how long it is, and no more than `size` bytes of it. */
static size_t write_cookie(char *to, size_t size, const struct torc_http_jar_cookie *c)
{
	return (size_t)snprintf(to, size, "%s%s%s\t%s\t%s\t%s\t%lld\t%s\t%s\n",
				c->http_only ? HTTP_ONLY : "", c->host_only ? "" : ".", c->domain,
				c->host_only ? "FALSE" : "TRUE", c->path,
				c->secure ? "TRUE" : "FALSE", (long long)c->expires, c->name,
				c->value);
}

static char *write_lines(const struct torc_http_jar_cookie *list, size_t count, size_t *ret_len)
{
	size_t size = sizeof(HEADER), n = sizeof(HEADER) - 1;
	char *text;

	for (size_t i = 0; i < count; i++)
		size += write_cookie(NULL, 0, &list[i]);
	text = torc__malloc(size);
	if (!text)
		return NULL;
	memcpy(text, HEADER, sizeof(HEADER));
	for (size_t i = 0; i < count; i++)
		n += write_cookie(text + n, size - n, &list[i]);
	*ret_len = n;
	return text;
}

int torc_http_jar_save(struct torc_http_jar *jar, int dirfd, const char *path)
{
	struct torc_http_jar_cookie *list;
	size_t count, len;
	char *text;
	int r = torc_http_jar_list(jar, &list, &count);

	if (r < 0)
		return r;
	text = write_lines(list, count, &len);
	torc_http_jar_free_list(list);
	if (!text)
		return -ENOMEM;
	r = torc_write_file(dirfd, path, text, len, 0600);
	torc__free(text);
	return r;
}
