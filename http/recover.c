#include <torc/http/recover.h>

#include <errno.h>

#include <torc/http/router.h>

#include "http/internal/exchange.h"

/* It becomes a 404, or a 4xx about the body. */
static bool is_the_clients(const struct torc_http_exchange *x, int result)
{
	return result == -ENOENT || (result && (result == x->rejected || result == x->body_error));
}

static void tell(struct torc_http_exchange *x, const struct torc_http_recover *recover, int result)
{
	const struct torc_http_failure failure = {
		.x = x,
		.route = torc_http_route(x),
		.result = result,
		.status = torc_http_status(x),
	};

	if (recover->on_failure)
		recover->on_failure(&failure, recover->arg);
}

int torc_http_recover_handle(struct torc_http_exchange *x, void *arg)
{
	int r = torc_http_next(x);

	if (torc__likely(r >= 0 && torc_http_status(x)))
		return r;
	if (torc_http_status(x)) {
		tell(x, arg, r);
		return r;
	}
	if (r > 0)
		r = 0;
	if (!is_the_clients(x, r))
		tell(x, arg, r);
	return torc_http_respond_error(x, r);
}
