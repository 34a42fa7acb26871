/*
 * What a handler notices of a client that leaves an encrypted connection.
 */
#define world tls_world
#include "tests/io/tls.h"
#undef world

#include "tests/http/world.h"

#include <torc/http/exchange.h>

TestSuite(http_exchange_tls, .timeout = 40);

static struct tls_world secure;

static int wait_long(struct torc_http_exchange *x, void *arg)
{
	struct world *w = arg;
	int r = 0;

	if (torc_http_path_is(x, "/quick"))
		return torc_http_respond_text(x, 200, "quick");
	w->open++;
	while (!w->gate && !r)
		r = torc_sleep(TORC_MS(1));
	w->open--;
	w->result = r;
	return r ? r : torc_http_respond_text(x, 200, "through");
}

static void until_open(struct world *w, int open)
{
	while (w->open != open)
		check_eq(torc_yield(), 0);
}

static void dial_secure(struct world *w, struct torc_stream *s)
{
	check_eq(torc_stream_dial(s, w->address, NULL, secure.client, NULL), 0);
}

static void say_secure(struct torc_stream *s, const char *text)
{
	check_eq(torc_stream_write(s, text, strlen(text)), 0);
	check_eq(torc_stream_flush(s), 0);
}

/* The answers so far end in a text. */
static void hear_secure(struct torc_stream *s, const char *text)
{
	struct torc_slice view;
	int r;

	while ((r = torc_stream_peek(s, &view)) > 0 &&
	       !memmem(view.data, view.len, text, strlen(text)))
		torc_stream_consume(s, view.len);
	check_eq(r, 1);
}

static void leave(struct world *w)
{
	struct torc_stream s;

	for (int reset = 0; reset < 2; reset++) {
		w->result = 1;
		dial_secure(w, &s);
		say_secure(&s, GET("/"));
		until_open(w, 1);
		if (reset)
			check_eq(torc_set_linger(torc_stream_fd(&s), 0), 0);
		torc_stream_close(&s);
		until_open(w, 0);
		check_eq(w->result, -ECANCELED);
	}
	dial_secure(w, &s);
	say_secure(&s, GET("/"));
	until_open(w, 1);
	say_secure(&s, GET("/quick"));
	for (int i = 0; i < 10; i++)
		check_eq(torc_sleep(TORC_MS(1)), 0);
	check_eq(w->open, 1);
	w->gate = true;
	hear_secure(&s, "quick");
	check_eq(w->result, 0);
	torc_stream_close(&s);
}

Test(http_exchange_tls, cancels_the_handler_of_a_client_that_leaves)
{
	static const char *const addresses[] = { "tls://127.0.0.1:0", NULL };

	open_world(&secure, (struct cert_wish){ 0 });
	run_world_with(&(struct world){ .options.tls = secure.server,
					.options.addresses = addresses },
		       wait_long, leave);
	close_world(&secure);
}
