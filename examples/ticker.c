/*
 * ticker - server-sent events: what one client posts, all that listen are told, in their browsers too.
 *
 *	build/examples/ticker 127.0.0.1:8080		then open http://127.0.0.1:8080/
 *	curl -N localhost:8080/events &
 *	curl -d 'hello, all' localhost:8080/say
 *
 * On one loop, so that the list needs no lock. A listener that is too slow for what it is told misses some of it, and nobody waits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

#define TEXT_MAX 200
#define WAITING  16

struct news {
	unsigned number;
	size_t len;
	char text[TEXT_MAX];
};

struct listener {
	struct torc_chan chan;
	struct listener *next, **link;
};

static struct listener *listeners;
static unsigned last;

static const char page[] = "<!doctype html><title>ticker</title><ul id=l></ul><script>\n"
			   "new EventSource('/events').onmessage = e => {\n"
			   "  const i = document.createElement('li');\n"
			   "  i.textContent = e.data;\n"
			   "  document.getElementById('l').append(i);\n"
			   "};\n"
			   "</script>\n";

static int front(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond(x, 200, "text/html; charset=utf-8", page, sizeof(page) - 1);
}

static int say(struct torc_http_exchange *x, void *arg)
{
	struct news news = { .number = ++last };
	struct torc_slice text;
	int r = torc_http_body_read(x, TEXT_MAX, &text);

	(void)arg;
	if (r < 0)
		return r;
	news.len = text.len;
	memcpy(news.text, text.data, text.len);
	for (struct listener *l = listeners; l; l = l->next)
		(void)!torc_chan_try_send(&l->chan, &news); /* it is full: too slow */
	return torc_http_respond(x, 204, NULL, NULL, 0);
}

static int tell(struct torc_http_exchange *x, struct torc_chan *chan)
{
	int r = torc_http_events_begin(x, NULL);

	while (!r) {
		struct news news;
		char id[16];

		r = torc_http_events_wait(x, chan, &news, TORC_SECONDS(15));
		if (r <= 0)
			break;
		snprintf(id, sizeof(id), "%u", news.number);
		r = torc_http_events_send(x, &(struct torc_http_event){ .id = id,
									.data = news.text,
									.len = news.len });
	}
	return r;
}

/* As long as the client listens. When it leaves, whatever waits here fails. */
static int events(struct torc_http_exchange *x, void *arg)
{
	struct listener l = { .next = listeners, .link = &listeners };
	int r = torc_chan_init(&l.chan, sizeof(struct news), WAITING);

	(void)arg;
	if (r < 0)
		return r;
	if (l.next)
		l.next->link = &l.next;
	listeners = &l;
	r = tell(x, &l.chan);
	*l.link = l.next;
	if (l.next)
		l.next->link = l.link;
	torc_chan_done(&l.chan);
	return r;
}

static void on_listen(const char *address, void *arg)
{
	(void)arg;
	fprintf(stderr, "ticker: on %s\n", address);
}

static int app(void *address)
{
	const char *const addresses[] = { address, NULL };
	struct torc_router *router;
	int r = torc_router_create(NULL, &router);

	if (r < 0)
		return r;
	r = torc_router_add(router, "GET", "/", front, NULL);
	if (!r)
		r = torc_router_add(router, "GET", "/events", events, NULL);
	if (!r)
		r = torc_router_add(router, "POST", "/say", say, NULL);
	if (!r)
		r = torc_http_serve(&(struct torc_http_options){ .addresses = addresses,
								 .handler = torc_router_handle,
								 .arg = router,
								 .on_listen = on_listen });
	torc_router_destroy(router);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 2) {
		fprintf(stderr, "Usage: ticker ADDRESS\n");
		return 2;
	}
	r = torc_run(NULL, app, argv[1]);
	if (r < 0)
		fprintf(stderr, "ticker: %s\n", strerror(-r));
	return r < 0;
}
