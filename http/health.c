#include <torc/http/health.h>

#include "http/internal/exchange.h"

void torc_http_health_set_unready(struct torc_http_health *health, bool unready)
{
	__atomic_store_n(&health->unready, unready, __ATOMIC_RELAXED);
}

static int say(struct torc_http_exchange *x, int status, const char *text)
{
	int r = torc_http_add_field(x, "Cache-Control", "no-store");

	return r ? r : torc_http_respond_text(x, status, text);
}

int torc_http_live_handle(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return say(x, 200, "OK\n");
}

int torc_http_ready_handle(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_health *h = arg;

	if (torc_http_is_draining(x))
		return say(x, 503, "draining\n");
	if (__atomic_load_n(&h->unready, __ATOMIC_RELAXED))
		return say(x, 503, "unready\n");
	if (h->check && h->check(h->arg) != 0)
		return torc_scope_status() ? torc_scope_status() : say(x, 503, "failing\n");
	return say(x, 200, "OK\n");
}
