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

#define EACH(c) (UINT64_C(0x0101010101010101) * (c))

/* Eight hexadecimal digits at once: each byte of the word is a digit, the first one the least significant. */
static void put_hex8(char *to, uint32_t n)
{
	uint64_t w = __builtin_bswap32(n), letters;

	w = (w | w << 16) & UINT64_C(0x0000ffff0000ffff);
	w = (w | w << 8) & UINT64_C(0x00ff00ff00ff00ff);
	w = (w >> 4 | w << 8) & EACH(0x0f);
	letters = (w + EACH(6)) >> 4 & EACH(1);
	w += EACH('0') + letters * ('a' - '0' - 10);
	memcpy(to, &w, 8);
}

static void put_hex(char *to, uint64_t n)
{
	put_hex8(to, (uint32_t)(n >> 32));
	put_hex8(to + 8, (uint32_t)n);
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

#define FIELD "X-Request-Id"

/* Nothing in an id needs a look: both kinds are clean. */
static int keep_default(struct torc_http_exchange *x, const char *id, size_t len)
{
	char line[sizeof(FIELD ": \r\n") + TORC_HTTP_REQUEST_ID_MAX];
	char *p = line;

	p = mempcpy(p, FIELD ": ", sizeof(FIELD ": ") - 1);
	p = mempcpy(p, id, len);
	p = mempcpy(p, "\r\n", 2);
	return torc__http_keep_lines(x, line, (size_t)(p - line));
}

/* Most requests have none, which the parser knows of the default field. */
static bool may_take(const struct torc_http_exchange *x,
		     const struct torc_http_request_id_options *options)
{
	if (options && (options->always_new || options->field))
		return !options->always_new;
	return torc__http_field_find(&x->head, TORC__HTTP_NAME_X_REQUEST_ID) != NULL;
}

static int name_request(struct torc_http_exchange *x,
			const struct torc_http_request_id_options *options)
{
	const char *field = options && options->field ? options->field : NULL;
	struct torc_slice sent = { NULL, 0 };
	bool taken = may_take(x, options) && incoming(x, field ? field : FIELD, &sent);
	size_t len = taken ? sent.len : 32;
	char *id = torc_http_alloc(x, len + 1);
	int r;

	if (!id)
		return -ENOMEM;
	if (taken) {
		memcpy(id, sent.data, len);
		id[len] = '\0';
	} else {
		make_id(id);
	}
	r = field ? torc_http_keep_field(x, field, id) : keep_default(x, id, len);
	return r ? r : torc_http_local_set(x, &id_key, id);
}

int torc_http_request_id_handle(struct torc_http_exchange *x, void *arg)
{
	int r = name_request(x, arg);

	return r ? r : torc_http_next(x);
}

const char *torc_http_request_id(const struct torc_http_exchange *x)
{
	return torc_http_local_get(x, &id_key);
}
