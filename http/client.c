/*
 * http/client.c - the client as a whole: options, opening and closing, and the keeper of each loop's connections.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/core/run.h>
#include <torc/core/scope.h>

#include "http/internal/client.h"

#define FIELDS_MAX 1000

/* --- options --- */

static void or_else(uint64_t *value, uint64_t otherwise)
{
	if (!*value)
		*value = otherwise;
}

static void or_count(unsigned *value, unsigned otherwise)
{
	if (!*value)
		*value = otherwise;
}

static void fill_in(struct torc_http_client_options *o)
{
	static const struct torc_http_coding *const zlib[] = { &torc_http_gzip, &torc_http_deflate,
							       NULL };

	or_count(&o->connections_max, 256);
	or_count(&o->origin_max, 64);
	or_else(&o->line_ns, TORC_SECONDS(30));
	or_else(&o->idle_ns, TORC_SECONDS(30));
	or_else(&o->connect_ns, TORC_SECONDS(10));
	or_else(&o->head_ns, TORC_SECONDS(30));
	or_else(&o->body_ns, TORC_SECONDS(30));
	or_else(&o->write_ns, TORC_SECONDS(30));
	or_else(&o->continue_ns, TORC_SECONDS(1));
	or_count(&o->fields, 100);
	or_count(&o->interim_max, 20);
	or_count(&o->decode_ratio, 250);
	or_count(&o->redirects_max, 10);
	o->head_bytes = o->head_bytes ? o->head_bytes : 64 << 10;
	o->codings = o->codings ? o->codings : zlib;
	o->user_agent = o->user_agent ? o->user_agent : "torc/" TORC_VERSION;
}

static int copy_text(const char *text, char **ret)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

static int set_options(struct torc_http_client *client,
		       const struct torc_http_client_options *options)
{
	struct torc_http_client_options *o = &client->options;
	int r;

	if (options)
		*o = *options;
	fill_in(o);
	if (o->fields > FIELDS_MAX || o->head_bytes > TORC_STREAM_VIEW_MAX ||
	    (o->connect_to && o->proxy) || !torc__http_is_field_value(o->user_agent))
		return -EINVAL;
	client->limits = (struct torc__http_limits){ .line_bytes = o->head_bytes,
						     .head_bytes = o->head_bytes,
						     .fields = o->fields };
	r = copy_text(o->user_agent, &client->user_agent);
	if (!r)
		r = copy_text(o->connect_to, &client->connect_to);
	if (!r)
		r = torc__http_proxies_init(client, o);
	if (!r)
		r = torc__http_lines_init(client);
	if (!r && o->tls)
		client->tls = torc_tls_ref(o->tls);
	return r;
}

/* --- the keeper --- */

/* Close what is to be closed now, or wait until something is. True: the client is being closed. */
static bool keep_once(struct torc__http_pool *pool)
{
	uint64_t next_ns;
	struct torc__http_conn *list = torc__http_pool_expired(pool, torc_now_ns(), &next_ns);

	if (list) {
		torc__http_conns_close(list);
		return false;
	}
	torc_scope_set_deadline(&pool->nap, next_ns);
	return !torc_latch_wait(&pool->client->closing);
}

/*
 * Waits until a connection has been idle for long enough, or there is one to be closed at once. Between a look at the
 * pool and the wait nothing suspends, so that nothing is missed.
 */
static void keep(struct torc__http_pool *pool)
{
	bool closing;

	do {
		torc_scope_enter(&pool->nap, TORC_NEVER);
		closing = keep_once(pool);
		torc_scope_leave(&pool->nap);
	} while (!closing);
}

/*
 * It is there until the client is closed, and not until the scope is cancelled in which that was opened: responses are still open
 * then, and whoever cleans up in a shield may ask for more.
 */
static int keeper_main(void *arg)
{
	struct torc__http_pool *pool = arg;
	struct torc_scope shield;
	int r;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	torc_group_enter(&pool->uploads);
	/* Whoever puts a connection back before the first sleep may cancel it. */
	torc_latch_count_down(&pool->client->started);
	keep(pool);
	torc__check(!pool->responses, "an HTTP client was closed with a response open");
	torc_scope_enter(&pool->nap, TORC_NEVER);
	torc__http_pool_clear(pool);
	torc_scope_leave(&pool->nap);
	for (unsigned i = 0; i < TORC__HTTP_PLACES; i++)
		torc__http_place_put(pool->places[i]);
	r = torc_group_wait(&pool->uploads);
	torc_scope_leave(&shield);
	return r;
}

static void keeper_unstarted(void *arg, int error)
{
	struct torc__http_pool *pool = arg;

	__atomic_store_n(&pool->client->unstarted, error, __ATOMIC_RELAXED);
	torc_latch_count_down(&pool->client->started);
}

static int spawn_keeper(struct torc_http_client *client, int i)
{
	struct torc_spawn_options o = { .name = "HTTP client",
					.loop = TORC_ON_LOOP(client->first_loop + i),
					.unstarted = keeper_unstarted };

	client->pools[i].client = client;
	return torc_group_spawn_with(&client->keepers, &o, keeper_main, &client->pools[i]);
}

/* --- opening and closing --- */

static int start_keepers(struct torc_http_client *client)
{
	struct torc_scope shield;
	int r = torc_scope_status();

	torc_latch_init(&client->started, (uint32_t)client->pool_count);
	torc_latch_init(&client->closing, 1);
	torc_mutex_init(&client->tls_lock);
	torc_group_enter(&client->keepers);
	for (int i = 0; i < client->pool_count; i++) {
		if (!r)
			r = spawn_keeper(client, i);
		if (r < 0)
			torc_latch_count_down(&client->started);
	}
	torc_scope_enter_shield(&shield, TORC_NEVER);
	(void)!torc_latch_wait(&client->started);
	torc_scope_leave(&shield);
	return r ? r : __atomic_load_n(&client->unstarted, __ATOMIC_RELAXED);
}

static void free_client(struct torc_http_client *client)
{
	torc__http_proxies_done(client);
	if (client->tls)
		torc_tls_unref(client->tls);
	torc__http_string_done(&client->lines);
	free(client->user_agent);
	free(client->connect_to);
	free(client->pools);
	free(client);
}

static int open_client(const struct torc_http_client_options *options, bool alone,
		       struct torc_http_client **ret)
{
	struct torc_http_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return -ENOMEM;
	client->first_loop = alone ? torc_loop_index() : 0;
	client->pool_count = alone ? 1 : torc_loop_count();
	client->pools = aligned_alloc(64, (size_t)client->pool_count * sizeof(*client->pools));
	r = client->pools ? set_options(client, options) : -ENOMEM;
	if (r < 0) {
		free_client(client);
		return r;
	}
	memset(client->pools, 0, (size_t)client->pool_count * sizeof(*client->pools));
	r = start_keepers(client);
	if (r < 0)
		torc_http_client_close(client);
	else
		*ret = client;
	return r;
}

int torc_http_client_open(const struct torc_http_client_options *options,
			  struct torc_http_client **ret)
{
	return open_client(options, false, ret);
}

int torc__http_client_open_alone(struct torc_http_client **ret)
{
	return open_client(NULL, true, ret);
}

void torc_http_client_close(struct torc_http_client *client)
{
	torc_latch_count_down(&client->closing);
	torc_group_wait(&client->keepers);
	torc_latch_done(&client->started);
	torc_latch_done(&client->closing);
	torc_mutex_done(&client->tls_lock);
	free_client(client);
}

/* --- */

struct torc__http_pool *torc__http_client_pool(struct torc_http_client *client)
{
	int i = torc_loop_index() - client->first_loop;

	torc__check(i >= 0 && i < client->pool_count,
		    "an HTTP client was used on a loop that it is not of");
	return &client->pools[i];
}

void torc_http_client_stats(const struct torc_http_client *client,
			    struct torc_http_client_stats *ret)
{
	const struct torc__http_pool *pool =
		torc__http_client_pool((struct torc_http_client *)(uintptr_t)client);

	*ret = (struct torc_http_client_stats){
		.connections = pool->connections,
		.idle = pool->idle,
		.waiting = pool->waiting,
		.requests = pool->requests,
		.connects = pool->connects,
		.retries = pool->retries,
		.dropped = pool->dropped,
	};
}
