/*
 * http/events.h - server-sent events: a response that goes on, of messages for an EventSource in a browser.
 *
 *	static int news(struct torc_http_exchange *x, void *arg)
 *	{
 *		struct torc_chan *items = arg;
 *		struct item item;
 *		int r = torc_http_events_begin(x, NULL);
 *
 *		while (!r) {
 *			r = torc_http_events_wait(x, items, &item, TORC_SECONDS(15));
 *			if (r <= 0)
 *				break;				0: closed, or the server stops
 *			r = torc_http_events_send(x, &(struct torc_http_event){
 *				.event = "news", .id = item.id, .data = item.text, .len = item.len });
 *		}
 *		return r;
 *	}
 *
 * When the client leaves, what the handler waits in fails with -ECANCELED, as in any handler (http/exchange.h). When the
 * response ends, browsers connect again, and say in Last-Event-ID which event they have seen last:
 * torc_http_events_last_id.
 *
 * Compression (http/compress.h) does not hold events back.
 *
 * Source      WHATWG HTML, "Server-sent events"
 */
#ifndef TORC_HTTP_EVENTS_H
#define TORC_HTTP_EVENTS_H

#include <torc/core/chan.h>
#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

/* Zeroed means the defaults. */
struct torc_http_events_options {
	uint64_t
		retry_ms; /* how long a client waits before it connects again; default: it decides */
};

/*
 * torc_http_events_begin - begin the response: 200, text/event-stream, Cache-Control: no-store unless one was added, and X-Accel-Buffering: no, for
 * the proxies that know it.
 *
 *   @options  may be NULL
 *
 * Returns     0
 *             or as torc_http_add_field, torc_http_begin and torc_http_write
 * Suspends    as torc_http_write
 */
TORC_API TORC_MUST_CHECK int torc_http_events_begin(struct torc_http_exchange *x,
						    const struct torc_http_events_options *options);

/* A message. What is NULL is left out. */
struct torc_http_event {
	const char *event; /* its type: default "message" */
	/*
	 * [len] bytes of UTF-8; NULL: none, and a client takes it for no event, but remembers the id and retry_ms. Lines
	 * end with LF, CR or CR LF, and the client sees an LF.
	 */
	const char *data;
	size_t len;
	const char *id;    /* "": the client is to forget the last one */
	uint64_t retry_ms; /* 0: left out */
};

/*
 * torc_http_events_send - send an event, and let the client see it at once.
 *
 * Returns     0
 *             -EINVAL   a CR or LF in event or id
 *             or as torc_http_write and torc_http_flush
 * Suspends    as torc_http_write
 */
TORC_API TORC_MUST_CHECK int torc_http_events_send(struct torc_http_exchange *x,
						   const struct torc_http_event *event);

/* torc_http_events_comment - what clients ignore, and proxies take for a sign of life. As torc_http_events_send; text without CR and LF. */
TORC_API TORC_MUST_CHECK int torc_http_events_comment(struct torc_http_exchange *x,
						      const char *text);

/*
 * torc_http_events_wait - receive from a channel, and send a comment whenever nothing came for a time.
 *
 *   @ret_item     written when 1 is returned
 *   @interval_ns  at least a millisecond; 15 s is usual; TORC_NEVER: no comments
 *
 * Returns     1            an item
 *             0            the channel is closed and empty; or the server stops, and the response should end: it looks each half second
 *             -ECANCELED, -ETIMEDOUT   the scope, or the client has left: nothing was received
 *             -EINVAL      interval_ns is too short
 *             or as torc_http_write, of a comment
 * Suspends    if there is no item
 */
TORC_API TORC_MUST_CHECK int torc_http_events_wait(struct torc_http_exchange *x,
						   struct torc_chan *chan, void *ret_item,
						   uint64_t interval_ns);

/*
 * torc_http_events_last_id - the id of the last event that the client has seen.
 *
 * Returns     true   *ret_id is set
 *             false  it has seen none with an id
 */
TORC_API bool torc_http_events_last_id(const struct torc_http_exchange *x,
				       struct torc_slice *ret_id);

TORC_END_DECLS

#endif
