#include <torc/http/request_id.h>

#include <errno.h>
#include <string.h>

#include "http/internal/exchange.h"
#include "http/internal/random.h"

static const char id_key;

/* Two counters of a loop's thread, each behind a bijection: no id comes twice, and none tells which is next to it. */
struct generator {
	bool seeded;
	uint64_t a, b, step;
};

static __thread struct generator generator;

static void put_hex(char *to, uint64_t n)
{
	static const char hex[] = "0123456789abcdef";

	for (int i = 15; i >= 0; i--, n >>= 4)
		to[i] = hex[n & 15];
}

/* Not in line: the address of a thread's variable must not outlive a suspension. */
static __attribute__((noinline)) void make_id(char to[33])
{
	struct generator *g = &generator;

	if (torc__unlikely(!g->seeded)) {
		torc__http_seed(g, sizeof(*g));
		g->step |= 1;
		g->seeded = true;
	}
	g->a += g->step;
	g->b += g->step;
	put_hex(to, torc__http_mix(g->a));
	put_hex(to + 16, torc__http_mix(g->b));
	to[32] = '\0';
}

static bool is_id_character(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("-._~:+/=@", c));
}

static bool is_id(struct torc_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_id_character(s.data[i]))
			return false;
	return s.len && s.len <= TORC_HTTP_REQUEST_ID_MAX;
}

/* The one of the client, if it has sent one and no more. */
static bool incoming(const struct torc_http_exchange *x, const char *field, struct torc_slice *ret)
{
	struct torc_slice second;
	size_t at = 0;

	return torc_http_next_value(x, field, &at, ret) && is_id(*ret) &&
	       !torc_http_next_value(x, field, &at, &second);
}

static int name_request(struct torc_http_exchange *x,
			const struct torc_http_request_id_options *options)
{
	const char *field = options && options->field ? options->field : "X-Request-Id";
	struct torc_slice sent = { NULL, 0 };
	bool taken = !(options && options->always_new) && incoming(x, field, &sent);
	char *id = torc_http_alloc(x, taken ? sent.len + 1 : 33);
	int r;

	if (!id)
		return -ENOMEM;
	if (taken) {
		memcpy(id, sent.data, sent.len);
		id[sent.len] = '\0';
	} else {
		make_id(id);
	}
	r = torc_http_keep_field(x, field, id);
	return r ? r : torc_http_set(x, &id_key, id);
}

int torc_http_request_id_handle(struct torc_http_exchange *x, void *arg)
{
	int r = name_request(x, arg);

	return r ? r : torc_http_next(x);
}

const char *torc_http_request_id(const struct torc_http_exchange *x)
{
	return torc_http_get(x, &id_key);
}
