/*
 * http/files_path.c - from the request's path to one that the kernel may see, and back.
 */
#include <errno.h>
#include <string.h>

#include "http/internal/files.h"

/* The byte at in[*i], which is moved on. A NUL, or an encoded slash, is refused: no name has them. */
static int next_byte(struct torc_slice in, size_t *i)
{
	int high, low, c = (unsigned char)in.data[(*i)++];

	if (c != '%')
		return c;
	high = *i + 1 < in.len ? torc__http_hex(in.data[*i]) : -1;
	low = high >= 0 ? torc__http_hex(in.data[*i + 1]) : -1;
	if (low < 0)
		return -EINVAL;
	*i += 2;
	c = high << 4 | low;
	return !c || c == '/' ? -EINVAL : c;
}

static bool is_part(const char *part, size_t len, const char *text)
{
	return len == strlen(text) && !memcmp(part, text, len);
}

/*
 * out[start .. end] is a part that has just ended: where the next one begins, behind its slash. It is looked at here, when it
 * is decoded, and not before, so that there is one reading of it.
 */
static int end_part(const char *out, size_t start, size_t end)
{
	size_t len = end - start;

	if (!len || is_part(out + start, len, "."))
		return (int)start;
	if (!is_part(out + start, len, ".."))
		return (int)end + 1;
	if (!start)
		return -EXDEV;
	for (start--; start && out[start - 1] != '/'; start--)
		;
	return (int)start;
}

int torc__http_path_normalise(struct torc_slice in, char out[TORC__HTTP_PATH_BYTES])
{
	size_t start = 0, n = 0, i = 0;
	int next;

	while (i < in.len) {
		bool ends = in.data[i] == '/';
		int c = next_byte(in, &i);

		if (c < 0)
			return c;
		if (n == TORC__HTTP_PATH_BYTES - 2)
			return -ENAMETOOLONG;
		if (!ends) {
			out[n++] = (char)c;
			continue;
		}
		next = end_part(out, start, n);
		if (next < 0)
			return next;
		if ((size_t)next > n)
			out[n] = '/';
		n = start = (size_t)next;
	}
	/* The last part lacks its slash: only "." and ".." are directories without. */
	next = end_part(out, start, n);
	if (next < 0)
		return next;
	n = (size_t)next > n ? n : (size_t)next;
	out[n] = '\0';
	return (int)n;
}

bool torc__http_path_hidden(const char *path)
{
	static const char known[] = ".well-known";
	size_t len = sizeof(known) - 1;

	if (!strncmp(path, known, len) && (path[len] == '/' || !path[len]))
		path += len;
	return *path == '.' || strstr(path, "/.");
}

/* RFC 3986, section 3.3, without what means something to HTML. */
static bool stays(unsigned char c)
{
	static const char others[] = "-._~!$()*+,;=:@/";
	unsigned char letter = c | 0x20;

	return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') ||
	       (c && strchr(others, c));
}

int torc__http_path_encode(const char *path, char *out, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t n = 0;

	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;

		if (n + 4 > size)
			return -ENOSPC;
		if (stays(c)) {
			out[n++] = (char)c;
			continue;
		}
		out[n++] = '%';
		out[n++] = digits[c >> 4];
		out[n++] = digits[c & 15];
	}
	out[n] = '\0';
	return (int)n;
}
