/*
 * io/name_cache.c - names that are looked up, and those that have been.
 *
 *	WAITING ----------> RUNNING ----------> DONE
 *	   |    take_next             finish      |
 *	   | leave                                | drop: too old, or too many
 *	   v                                      v
 *	 (gone)                                 (gone)
 *
 *	state     in the line   hashed               who has a reference
 *	WAITING   yes           yes, or cleared      the line, those who wait
 *	RUNNING   no            yes, or cleared      the worker, those who wait
 *	DONE      no            if it is kept        the cache if it is kept, those who were waiting
 *
 * Invariants
 *	1. A lookup that is hashed is found by who asks for its name, and only one of a name and family is.
 *	2. WAITING ones are waited for: who leaves last takes it out of the line. So the line is as long as fibers wait.
 *	3. Where the line is not empty there is a worker that will take from it, or one that has been submitted.
 *	4. `error` and `ips` are written before `done` is set and never after, and are read without the lock then.
 *
 * A worker is a function on torc_offload_executor, which makes one lookup after the other until the line is empty. The lock is
 * held for a search and some pointers, never while somebody waits.
 */
#include "io/internal/name.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <torc/core/fiber.h>
#include <torc/executor/offload.h>

#include "core/internal/fiber.h"
#include "core/internal/thread.h"
#include "io/internal/call.h"

#define BUCKETS         1024u
#define NAMES_DEFAULT   1024u
#define NAMES_MOST      65536u
#define FOUND_DEFAULT   TORC_SECONDS(30)
#define MISSING_DEFAULT TORC_SECONDS(5)

enum state { WAITING, RUNNING, DONE };

struct lookup {
	struct lookup *next_hashed;
	struct lookup *before, *after; /* in a list of the cache */
	struct torc_future *done;
	uint64_t expires_ns; /* of one that is kept */
	uint32_t hash;
	uint32_t references; /* atomic */
	uint32_t waiters;
	int family, error;
	uint8_t state;
	bool hashed;
	struct torc__ips ips;
	char name[];
};

struct list {
	struct lookup *first, *last;
};

struct cache {
	pthread_mutex_t lock;
	struct lookup *buckets[BUCKETS];
	struct list line;    /* WAITING, the oldest first */
	struct list running; /* RUNNING */
	struct list by_use;  /* those that are kept, the latest use last */
	struct list lost;    /* in a child of fork(2): what nobody will end */
	struct torc__name_counts counts;
	struct torc_name_cache_options options;
	unsigned loops; /* of a simulation: that use it */
};

#define DEFAULTS                                              \
	{                                                     \
		NAMES_DEFAULT, FOUND_DEFAULT, MISSING_DEFAULT \
	}
#define CACHE_INIT                                                     \
	{                                                              \
		.lock = PTHREAD_MUTEX_INITIALIZER, .options = DEFAULTS \
	}

static const struct torc_name_cache_options defaults = DEFAULTS;

/* On the simulator there is another one, which ends with the loops that use it: its memory and its time are not those outside. */
static struct cache of_process = CACHE_INIT, of_simulation = CACHE_INIT;

/* --- lists and references --- */

static void list_add(struct list *list, struct lookup *l)
{
	l->before = list->last;
	l->after = NULL;
	if (list->last)
		list->last->after = l;
	else
		list->first = l;
	list->last = l;
}

static void list_remove(struct list *list, struct lookup *l)
{
	if (l->before)
		l->before->after = l->after;
	else
		list->first = l->after;
	if (l->after)
		l->after->before = l->before;
	else
		list->last = l->before;
}

static void get(struct lookup *l)
{
	__atomic_fetch_add(&l->references, 1, __ATOMIC_RELAXED);
}

static void put(struct lookup *l)
{
	if (__atomic_sub_fetch(&l->references, 1, __ATOMIC_ACQ_REL))
		return;
	torc_future_put(l->done);
	torc__free(l);
}

/* --- the table; inside the lock --- */

/*
 * FNV-1a. Who knows it can choose names of one bucket; that costs as much as a search of all that are kept, some
 * microseconds, and is as far as it goes.
 */
static uint32_t hash_name(const char *name, int family)
{
	uint32_t hash = 2166136261u ^ (uint32_t)family;

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash;
}

static struct lookup **bucket(struct cache *c, uint32_t hash)
{
	return &c->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static void insert(struct cache *c, struct lookup *l)
{
	struct lookup **first = bucket(c, l->hash);

	l->next_hashed = *first;
	*first = l;
	l->hashed = true;
}

static void unhash(struct cache *c, struct lookup *l)
{
	struct lookup **link = bucket(c, l->hash);

	if (!l->hashed)
		return;
	while (*link != l)
		link = &(*link)->next_hashed;
	*link = l->next_hashed;
	l->hashed = false;
}

/* One that is kept is forgotten. */
static void drop(struct cache *c, struct lookup *l)
{
	unhash(c, l);
	list_remove(&c->by_use, l);
	c->counts.kept--;
	put(l);
}

static void keep(struct cache *c, struct lookup *l, uint64_t age_ns)
{
	l->expires_ns = torc__later(torc_now_ns(), age_ns);
	get(l);
	list_add(&c->by_use, l);
	c->counts.kept++;
	while (c->counts.kept > c->options.names_max)
		drop(c, c->by_use.first);
}

/* How long its result is kept; 0: not at all. */
static uint64_t age_of(const struct cache *c, const struct lookup *l)
{
	if (c == &of_simulation && !c->loops)
		return 0; /* nobody would tidy up */
	if (!l->error)
		return c->options.found_ns;
	return l->error == -ENOENT || l->error == -ENODATA ? c->options.missing_ns : 0;
}

static bool is_of(const struct lookup *l, const char *name, int family, uint32_t hash)
{
	return l->hash == hash && l->family == family && !strcmp(l->name, name);
}

/* What is too old is not there. */
static struct lookup *search(struct cache *c, const char *name, int family, uint32_t hash)
{
	struct lookup *l = *bucket(c, hash);

	while (l && !is_of(l, name, family, hash))
		l = l->next_hashed;
	if (!l || l->state != DONE)
		return l;
	if (torc_now_ns() >= l->expires_ns) {
		drop(c, l);
		return NULL;
	}
	list_remove(&c->by_use, l);
	list_add(&c->by_use, l);
	return l;
}

static void clear(struct cache *c)
{
	while (c->by_use.first)
		drop(c, c->by_use.first);
	for (size_t i = 0; i < BUCKETS; i++)
		while (c->buckets[i])
			unhash(c, c->buckets[i]);
}

/* --- which cache --- */

static void lock_process(void)
{
	pthread_mutex_lock(&of_process.lock);
}

static void unlock_process(void)
{
	pthread_mutex_unlock(&of_process.lock);
}

static void lose(struct cache *c, struct list *list)
{
	struct lookup *l;

	while ((l = list->first)) {
		list_remove(list, l);
		unhash(c, l);
		l->state = RUNNING;
		list_add(&c->lost, l);
	}
}

/* The child has none of the threads: what these were at stays where it is, and is looked up anew. */
static void begin_child(void)
{
	struct cache *c = &of_process;

	lose(c, &c->line);
	lose(c, &c->running);
	c->counts.waiting = c->counts.running = c->counts.workers = 0;
	unlock_process();
}

static void watch_forks(void)
{
	(void)pthread_atfork(lock_process, unlock_process, begin_child);
}

static void leave_simulation(void *data)
{
	struct cache *c = data;

	if (--c->loops)
		return;
	clear(c);
	c->options = defaults;
}

static struct cache *join_simulation(void)
{
	struct torc__loop *loop = torc__loop();
	struct torc__attached *attached = loop ? &loop->attached[TORC__ATTACHED_NAMES] : NULL;

	if (attached && !attached->destroy) {
		*attached = (struct torc__attached){ &of_simulation, leave_simulation };
		of_simulation.loops++;
	}
	return &of_simulation;
}

static struct cache *cache_here(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (torc__unlikely(torc__threads_simulated()))
		return join_simulation();
	pthread_once(&once, watch_forks);
	return &of_process;
}

/* --- the side that works --- */

static struct lookup *take_next(struct cache *c)
{
	struct lookup *l;

	pthread_mutex_lock(&c->lock);
	l = c->line.first;
	if (l) {
		list_remove(&c->line, l);
		list_add(&c->running, l);
		l->state = RUNNING;
		c->counts.waiting--;
		c->counts.running++;
	} else {
		c->counts.workers--;
	}
	pthread_mutex_unlock(&c->lock);
	return l;
}

/* Those who wait go on; the reference of who ends it goes. Outside of the lock. */
static void announce(struct lookup *l)
{
	(void)!torc_future_set(l->done, NULL); /* nobody else sets it */
	put(l);
}

static void finish(struct cache *c, struct lookup *l)
{
	uint64_t age_ns;

	pthread_mutex_lock(&c->lock);
	list_remove(&c->running, l);
	l->state = DONE;
	c->counts.running--;
	age_ns = l->hashed ? age_of(c, l) : 0;
	if (age_ns)
		keep(c, l, age_ns);
	else
		unhash(c, l);
	pthread_mutex_unlock(&c->lock);
	announce(l);
}

static int run_lookups(void *arg, void **ret_value)
{
	struct cache *c = arg;
	struct lookup *l;

	(void)ret_value;
	while ((l = take_next(c))) {
		l->error = torc__resolver(l->name, l->family, &l->ips);
		finish(c, l);
	}
	return 0;
}

/*
 * A worker will not come. Others take what is in the line; when there are none left, it fails. Errors of a scope, or of an
 * executor that ends, are none of a name.
 */
static void lose_worker(struct cache *c, int error)
{
	struct list failed = { NULL, NULL };
	struct lookup *l;

	pthread_mutex_lock(&c->lock);
	if (!--c->counts.workers) {
		failed = c->line;
		c->line = (struct list){ NULL, NULL };
		c->counts.waiting = 0;
	}
	for (l = failed.first; l; l = l->after) {
		l->error = error == -ENOMEM ? error : -EAGAIN;
		l->state = DONE;
		unhash(c, l);
	}
	pthread_mutex_unlock(&c->lock);
	while ((l = failed.first)) {
		list_remove(&failed, l);
		announce(l);
	}
}

/* It was taken, and then no thread could be started for it after all. */
static void on_worker_over(struct torc_future *f, void *arg)
{
	int r = torc_future_try(f, NULL);

	if (r < 0)
		lose_worker(arg, r);
}

/* One that counts already. */
static void start_worker(struct cache *c)
{
	struct torc_executor *executor;
	struct torc_future *f;
	int r = torc_offload_executor(&executor);

	if (!r)
		r = torc_submit(executor, run_lookups, c, &f);
	if (r < 0) {
		lose_worker(c, r);
		return;
	}
	if (torc_future_on_done(f, on_worker_over, c) < 0) {
		/* Nobody would tell us. So it is to run already, or never. */
		(void)torc_future_cancel(f);
		r = torc_future_try(f, NULL);
		if (r < 0 && r != -EINPROGRESS)
			lose_worker(c, -ENOMEM);
	}
	torc_future_put(f);
}

/* --- the side that waits --- */

/* In the line; the references are the line's and the caller's. Inside the lock. NULL: no memory. */
static struct lookup *queue_new(struct cache *c, const char *name, int family, uint32_t hash)
{
	size_t bytes = strlen(name) + 1;
	struct lookup *l = torc__malloc(sizeof(*l) + bytes);

	if (!l)
		return NULL;
	*l = (struct lookup){ .references = 2, .hash = hash, .family = family, .state = WAITING };
	memcpy(l->name, name, bytes);
	if (torc_future_create(&l->done) < 0) {
		torc__free(l);
		return NULL;
	}
	insert(c, l);
	list_add(&c->line, l);
	c->counts.waiting++;
	return l;
}

/* The caller's reference of a lookup of this name; NULL: no memory. */
static struct lookup *join(struct cache *c, const char *name, int family)
{
	uint32_t hash = hash_name(name, family);
	bool start = false;
	struct lookup *l;

	pthread_mutex_lock(&c->lock);
	l = search(c, name, family, hash);
	if (l) {
		get(l);
	} else {
		l = queue_new(c, name, family, hash);
		start = l && c->counts.workers < TORC_LOOKUPS_MAX;
		c->counts.workers += start;
	}
	if (l)
		l->waiters++;
	pthread_mutex_unlock(&c->lock);
	if (start)
		start_worker(c);
	return l;
}

/* The last one that wanted it, before it was begun, takes it out of the line. */
static void leave(struct cache *c, struct lookup *l)
{
	bool unwanted;

	pthread_mutex_lock(&c->lock);
	unwanted = !--l->waiters && l->state == WAITING;
	if (unwanted) {
		list_remove(&c->line, l);
		unhash(c, l);
		c->counts.waiting--;
	}
	pthread_mutex_unlock(&c->lock);
	if (unwanted)
		put(l);
	put(l);
}

int torc__name_look_up(const char *name, int family, struct torc__ips *ret)
{
	struct cache *c = cache_here();
	struct lookup *l = join(c, name, family);
	int r;

	if (!l)
		return -ENOMEM;
	r = torc_await(l->done, NULL);
	if (r >= 0)
		r = l->error;
	if (!r)
		*ret = l->ips;
	leave(c, l);
	return r;
}

/* --- what programs and tests ask for --- */

int torc_name_cache_configure(const struct torc_name_cache_options *options)
{
	struct torc_name_cache_options o = options ? *options : defaults;
	struct cache *c = cache_here();

	if (o.names_max > NAMES_MOST)
		return -EINVAL;
	o.names_max = o.names_max ? o.names_max : defaults.names_max;
	o.found_ns = o.found_ns ? o.found_ns : defaults.found_ns;
	o.missing_ns = o.missing_ns ? o.missing_ns : defaults.missing_ns;
	pthread_mutex_lock(&c->lock);
	c->options = o;
	while (c->counts.kept > o.names_max)
		drop(c, c->by_use.first);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

void torc_name_cache_clear(void)
{
	struct cache *c = cache_here();

	pthread_mutex_lock(&c->lock);
	clear(c);
	pthread_mutex_unlock(&c->lock);
}

void torc__name_counts(struct torc__name_counts *ret)
{
	struct cache *c = cache_here();

	pthread_mutex_lock(&c->lock);
	*ret = c->counts;
	pthread_mutex_unlock(&c->lock);
}
