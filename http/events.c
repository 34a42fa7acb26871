/*
 * http/events.c - server-sent events.
 */
#include <torc/http/events.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/internal/fiber.h"
#include "http/internal/exchange.h"

/* How often a waiter looks whether the server stops: well within its grace period. */
#define LOOK_NS (TORC_SECONDS(1) / 2)

#define INTERVAL_MIN (TORC_SECONDS(1) / 1000)

/* An event is put together in parts of so many bytes, each a chunk of the response. */
struct out {
	struct torc_http_exchange *x;
	int error;
	size_t len;
	char data[2048];
};

static void send_out(struct out *o)
{
	if (!o->error && o->len)
		o->error = torc_http_write(o->x, o->data, o->len);
	o->len = 0;
}

static void put(struct out *o, const char *data, size_t len)
{
	while (len) {
		size_t room = sizeof(o->data) - o->len, n = len < room ? len : room;

		memcpy(o->data + o->len, data, n);
		o->len += n;
		data += n;
		len -= n;
		if (o->len == sizeof(o->data))
			send_out(o);
	}
}

/* "name: value\n"; without the space, one at the beginning of the value would be lost. */
static void put_field(struct out *o, const char *name, const char *value, size_t len)
{
	put(o, name, strlen(name));
	put(o, ": ", 2);
	put(o, value, len);
	put(o, "\n", 1);
}

static size_t line_length(const char *data, size_t len)
{
	const char *lf = memchr(data, '\n', len), *cr;

	len = lf ? (size_t)(lf - data) : len;
	cr = len ? memchr(data, '\r', len) : NULL;
	return cr ? (size_t)(cr - data) : len;
}

static void put_data(struct out *o, const char *data, size_t len)
{
	for (;;) {
		size_t n = len ? line_length(data, len) : 0;

		put_field(o, "data", data, n);
		if (n == len)
			return;
		n += data[n] == '\r' && n + 1 < len && data[n + 1] == '\n' ? 2 : 1;
		data += n;
		len -= n;
	}
}

static void put_retry(struct out *o, uint64_t ms)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRIu64, ms);

	put_field(o, "retry", text, (size_t)n);
}

static int finish(struct out *o)
{
	send_out(o);
	return o->error ? o->error : torc_http_flush(o->x);
}

static bool is_line(const char *text)
{
	return !text || !text[strcspn(text, "\r\n")];
}

int torc_http_events_send(struct torc_http_exchange *x, const struct torc_http_event *event)
{
	struct out o = { .x = x };

	if (!is_line(event->event) || !is_line(event->id))
		return -EINVAL;
	if (event->event)
		put_field(&o, "event", event->event, strlen(event->event));
	if (event->id)
		put_field(&o, "id", event->id, strlen(event->id));
	if (event->retry_ms)
		put_retry(&o, event->retry_ms);
	if (event->data)
		put_data(&o, event->data, event->len);
	put(&o, "\n", 1);
	return finish(&o);
}

int torc_http_events_comment(struct torc_http_exchange *x, const char *text)
{
	struct out o = { .x = x };

	if (!is_line(text))
		return -EINVAL;
	put(&o, ":", 1);
	put(&o, text, strlen(text));
	put(&o, "\n\n", 2);
	return finish(&o);
}

/* Has the handler said something about caches? */
static bool has_cache_control(const struct torc_http_exchange *x)
{
	const char *p = x->extra.data, *end = p + x->extra.len;

	while (p < end) {
		if (end - p > 14 && !strncasecmp(p, "Cache-Control:", 14))
			return true;
		p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1;
	}
	return false;
}

int torc_http_events_begin(struct torc_http_exchange *x,
			   const struct torc_http_events_options *options)
{
	int r = 0;

	if (!has_cache_control(x))
		r = torc_http_add_field(x, "Cache-Control", "no-store");
	if (!r)
		r = torc_http_add_field(x, "X-Accel-Buffering", "no");
	if (!r)
		r = torc_http_begin(x, 200, "text/event-stream", TORC_NEVER);
	if (!r && options && options->retry_ms)
		r = torc_http_events_send(x, &(struct torc_http_event){
						     .retry_ms = options->retry_ms });
	return r;
}

static bool is_stopping(const struct torc_http_exchange *x)
{
	const uint8_t *drain = x->stream->drain;

	return drain && *drain;
}

int torc_http_events_wait(struct torc_http_exchange *x, struct torc_chan *chan, void *ret_item,
			  uint64_t interval_ns)
{
	struct torc_case item = { .chan = chan, .op = TORC_RECV, .item = ret_item };
	uint64_t now = torc_now_ns(), due;

	if (interval_ns < INTERVAL_MIN)
		return -EINVAL;
	due = interval_ns < TORC_NEVER - now ? now + interval_ns : TORC_NEVER;
	while (!is_stopping(x)) {
		uint64_t until = now + LOOK_NS < due ? now + LOOK_NS : due;
		int r = torc_select(&item, 1, until);

		if (r != -EAGAIN)
			return r < 0 ? r : item.result;
		now = torc_now_ns();
		if (now < due)
			continue;
		due = now + interval_ns;
		r = torc_http_events_comment(x, "");
		if (r < 0)
			return r;
	}
	return 0;
}

bool torc_http_events_last_id(const struct torc_http_exchange *x, struct torc_slice *ret_id)
{
	struct torc_slice id;

	if (!torc_http_field(x, "Last-Event-ID", &id) || !id.len)
		return false;
	*ret_id = id;
	return true;
}
