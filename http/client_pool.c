/*
 * http/client_pool.c - connections that are kept, and who waits for one.
 *
 * All of it belongs to one loop, so there are no locks: between two calls that suspend nobody else looks. One rule keeps it fair: in the
 * line is nobody who could be served. So whoever comes and can be served has overtaken nobody that waits for the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal/fiber.h"
#include "http/internal/client.h"

/* For TLS to say goodbye. */
#define GOODBYE_NS TORC_MS(100)

/* --- origins --- */

/* FNV-1a. */
uint32_t torc__http_origin_hash(const char *key)
{
	uint32_t hash = 2166136261u;

	for (; *key; key++)
		hash = (hash ^ (unsigned char)*key) * 16777619u;
	return hash;
}

static struct torc__http_origin **slot_of(struct torc__http_pool *pool, uint32_t hash)
{
	return &pool->origins[hash % TORC__HTTP_ORIGIN_SLOTS];
}

static struct torc__http_origin *new_origin(struct torc__http_pool *pool, const char *key,
					    uint32_t hash)
{
	size_t bytes = strlen(key) + 1;
	struct torc__http_origin *o = calloc(1, sizeof(*o) + bytes);
	struct torc__http_origin **slot = slot_of(pool, hash);

	if (!o)
		return NULL;
	memcpy(o->key, key, bytes);
	o->pool = pool;
	o->hash = hash;
	o->next = *slot;
	*slot = o;
	return o;
}

struct torc__http_origin *torc__http_origin_get(struct torc__http_pool *pool, const char *key,
						uint32_t hash)
{
	struct torc__http_origin *o = *slot_of(pool, hash);

	while (o && (o->hash != hash || strcmp(o->key, key)))
		o = o->next;
	if (!o)
		o = new_origin(pool, key, hash);
	if (o)
		o->users++;
	return o;
}

void torc__http_origin_put(struct torc__http_origin *o)
{
	struct torc__http_origin **p = slot_of(o->pool, o->hash);

	if (--o->users)
		return;
	while (*p != o)
		p = &(*p)->next;
	*p = o->next;
	free(o);
}

/* --- idle connections --- */

static void link_idle(struct torc__http_conn *c)
{
	struct torc__http_origin *o = c->origin;
	struct torc__http_pool *pool = o->pool;

	c->prev = NULL;
	c->next = o->idle;
	if (o->idle)
		o->idle->prev = c;
	o->idle = c;
	c->younger = NULL;
	c->older = pool->youngest;
	if (pool->youngest)
		pool->youngest->younger = c;
	else
		pool->oldest = c;
	pool->youngest = c;
	pool->idle++;
}

static void unlink_idle(struct torc__http_conn *c)
{
	struct torc__http_origin *o = c->origin;
	struct torc__http_pool *pool = o->pool;

	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		o->idle = c->next;
	if (c->younger)
		c->younger->older = c->older;
	else
		pool->youngest = c->older;
	if (c->older)
		c->older->younger = c->younger;
	else
		pool->oldest = c->younger;
	pool->idle--;
	torc__stream_unwatch(&c->stream);
}

/* The place of a connection in its pool, which somebody else may have now. */
static void leave_pool(struct torc__http_conn *c)
{
	struct torc__http_origin *o = c->origin;

	o->connections--;
	o->pool->connections--;
	c->origin = NULL;
	torc__http_origin_put(o);
}

/* An idle one that is not to be used any more: the keeper closes it, as that suspends. */
static void discard(struct torc__http_conn *c)
{
	struct torc__http_pool *pool = c->origin->pool;

	unlink_idle(c);
	leave_pool(c);
	pool->dropped++;
	c->next = pool->stale;
	pool->stale = c;
	torc_scope_cancel_with(&pool->nap, "a connection to close");
}

/* --- claims --- */

static bool grant_idle(struct torc__http_claim *claim)
{
	struct torc__http_conn *c;

	while ((c = claim->origin->idle)) {
		if (!torc__stream_is_quiet(&c->stream)) {
			discard(c);
			continue;
		}
		unlink_idle(c);
		claim->conn = c;
		return true;
	}
	return false;
}

/* A place for a connection, if need be that of one which has been idle for longest. */
static bool grant_place(struct torc__http_claim *claim)
{
	struct torc__http_origin *o = claim->origin;
	struct torc__http_pool *pool = o->pool;
	const struct torc_http_client_options *options = &pool->client->options;

	if (o->connections >= options->origin_max)
		return false;
	if (pool->connections >= options->connections_max) {
		if (!pool->oldest)
			return false;
		discard(pool->oldest);
	}
	o->connections++;
	o->users++;
	pool->connections++;
	return true;
}

static bool grant(struct torc__http_claim *claim)
{
	claim->granted = grant_idle(claim) || grant_place(claim);
	return claim->granted;
}

static void queue_claim(struct torc__http_pool *pool, struct torc__http_claim *claim)
{
	claim->next = NULL;
	claim->prev = pool->last;
	if (pool->last)
		pool->last->next = claim;
	else
		pool->first = claim;
	pool->last = claim;
	pool->waiting++;
}

static void unqueue_claim(struct torc__http_pool *pool, struct torc__http_claim *claim)
{
	if (claim->next)
		claim->next->prev = claim->prev;
	else
		pool->last = claim->prev;
	if (claim->prev)
		claim->prev->next = claim->next;
	else
		pool->first = claim->next;
	pool->waiting--;
}

/*
 * One connection, or a place for one, has become free. The first of those whom it serves gets it, and then there is nobody
 * again who could be served: so it ends there, however long the line is.
 */
static void serve_line(struct torc__http_pool *pool)
{
	struct torc__http_claim *claim = pool->first;

	while (claim && !grant(claim))
		claim = claim->next;
	if (claim) {
		unqueue_claim(pool, claim);
		torc__slot_wake(&claim->slot);
	}
}

static void describe_line(const struct torc__wait *wait, struct torc__message *m)
{
	const struct torc__http_claim *claim =
		torc__container_of(torc__slot_of(wait), struct torc__http_claim, slot);

	torc__message_text(m, " to ");
	torc__message_text(m, claim->origin->key);
}

static const struct torc__wait_kind line_kind = { "HTTP connection", torc__slot_cancel,
						  describe_line };

/* A place that was granted, and is not wanted. */
static void give_place(struct torc__http_origin *o)
{
	struct torc__http_pool *pool = o->pool;

	o->connections--;
	pool->connections--;
	torc__http_origin_put(o);
	serve_line(pool);
}

static void give_granted(struct torc__http_claim *claim)
{
	if (claim->conn)
		torc__http_conn_give(claim->conn);
	else
		give_place(claim->origin);
}

static int wait_in_line(struct torc__http_pool *pool, struct torc__http_claim *claim)
{
	struct torc_scope scope;
	int r;

	queue_claim(pool, claim);
	torc_scope_enter(&scope, pool->client->options.line_ns);
	r = torc__slot_wait(&claim->slot, &line_kind);
	torc_scope_leave(&scope);
	if (!claim->granted) {
		unqueue_claim(pool, claim);
		return r;
	}
	/* It was served, and cancelled in the same turn: then the next one is. */
	r = torc_scope_status();
	if (r < 0)
		give_granted(claim);
	return r;
}

static struct torc__http_conn *new_conn(struct torc__http_origin *o)
{
	struct torc__http_conn *c = calloc(1, sizeof(*c));

	if (c)
		c->origin = o;
	else
		give_place(o);
	return c;
}

int torc__http_conn_take(struct torc__http_origin *o, struct torc__http_conn **ret)
{
	struct torc__http_claim claim = { .origin = o };
	int r = torc_scope_status();

	if (!r && !grant(&claim))
		r = wait_in_line(o->pool, &claim);
	if (r < 0)
		return r;
	*ret = claim.conn ? claim.conn : new_conn(o);
	return *ret ? 0 : -ENOMEM;
}

void torc__http_conn_give(struct torc__http_conn *c)
{
	struct torc__http_pool *pool = c->origin->pool;

	c->kept = true;
	c->idle_until_ns = torc__later(torc_turn_ns(), pool->client->options.idle_ns);
	link_idle(c);
	torc__stream_watch_quiet(&c->stream, &pool->nap);
	if (torc__unlikely(c->idle_until_ns < pool->look_ns)) {
		pool->look_ns = c->idle_until_ns;
		torc_scope_set_deadline(&pool->nap, pool->look_ns);
	}
	if (torc__unlikely(pool->first != NULL))
		serve_line(pool);
}

/* --- closing --- */

static void close_stream(struct torc__http_conn *c)
{
	struct torc_scope shield;

	if (!c->open)
		return;
	torc_scope_enter_shield(&shield, c->stream.below ? GOODBYE_NS : 0);
	(void)torc_stream_close(&c->stream);
	torc_scope_leave(&shield);
}

/* Its place is somebody else's only when it is closed: a server that has a limit counts too. */
void torc__http_conn_drop(struct torc__http_conn *c)
{
	struct torc__http_pool *pool = c->origin->pool;

	close_stream(c);
	leave_pool(c);
	free(c);
	serve_line(pool);
}

void torc__http_conns_close(struct torc__http_conn *list)
{
	while (list) {
		struct torc__http_conn *c = list;

		list = c->next;
		close_stream(c);
		free(c);
	}
}

struct torc__http_conn *torc__http_pool_expired(struct torc__http_pool *pool, uint64_t now,
						uint64_t *ret_next_ns)
{
	struct torc__http_conn *c = pool->oldest, *younger, *list;

	*ret_next_ns = TORC_NEVER;
	for (; c; c = younger) {
		younger = c->younger;
		if (c->idle_until_ns <= now || !torc__stream_is_quiet(&c->stream))
			discard(c);
		else if (c->idle_until_ns < *ret_next_ns)
			*ret_next_ns = c->idle_until_ns;
	}
	pool->look_ns = *ret_next_ns;
	list = pool->stale;
	pool->stale = NULL;
	return list;
}

void torc__http_pool_clear(struct torc__http_pool *pool)
{
	while (pool->oldest)
		discard(pool->oldest);
	torc__http_conns_close(pool->stale);
	pool->stale = NULL;
}
