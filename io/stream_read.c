/*
 * io/stream_read.c - reading in pieces of a certain shape, on top of what a stream shows.
 */
#include <torc/io/stream.h>

#include <errno.h>
#include <string.h>

int torc_stream_read(struct torc_stream *s, void *buf, size_t len)
{
	struct torc_slice view;
	int r = torc_stream_peek(s, &view);

	if (r <= 0)
		return r;
	if (len > view.len)
		len = view.len;
	memcpy(buf, view.data, len);
	torc_stream_consume(s, len);
	return (int)len;
}

int torc_stream_read_exact(struct torc_stream *s, void *buf, size_t len)
{
	char *p = buf;

	while (len) {
		int r = torc_stream_read(s, p, len);

		if (r <= 0)
			return r ? r : -EPIPE;
		p += r;
		len -= (size_t)r;
	}
	return 0;
}

int torc_stream_read_until(struct torc_stream *s, char delimiter, size_t limit,
			   struct torc_slice *ret_view)
{
	size_t looked = 0;

	for (;;) {
		const char *found;
		size_t len;
		int r = torc_stream_fill(s, looked + 1, ret_view);

		if (r <= 0)
			return r;
		len = ret_view->len < limit ? ret_view->len : limit;
		found = memchr(ret_view->data + looked, delimiter, len - looked);
		if (found) {
			ret_view->len = (size_t)(found - ret_view->data) + 1;
			return 1;
		}
		if (len == limit)
			return -EMSGSIZE;
		looked = len;
	}
}

static void cut_end(struct torc_slice *line)
{
	if (line->len && line->data[line->len - 1] == '\n')
		line->len--;
	else
		return; /* the last line of the stream: a carriage return there is its own */
	if (line->len && line->data[line->len - 1] == '\r')
		line->len--;
}

int torc_stream_read_line(struct torc_stream *s, size_t limit, struct torc_slice *ret_line)
{
	struct torc_slice line;
	int r = torc_stream_read_until(s, '\n', limit, &line);

	if (r < 0 || (!r && !line.len))
		return r;
	if (line.len > limit) /* without its end: the stream's came first */
		return -EMSGSIZE;
	s->owed = line.len;
	cut_end(&line);
	*ret_line = line;
	return 1;
}
