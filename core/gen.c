#include <torc/core/gen.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal/gen.h"
#include "core/internal/sanitize.h"
#include "core/internal/stack.h"
#include "core/internal/switch.h"
#include "core/internal/trap.h"

/*
 * Yielding from. A generator in torc_gen_yield_from is linked to the inner one while it is suspended: `delegate`,
 * and `outer` back. Who resumes the first of such a chain switches to its last, the leaf, directly; the others
 * sleep on. When the leaf ends, its outer one is woken with the outcome, on behalf of the one that was resumed.
 *
 *	consumer ..> G1 --> G2 --> G3	the leaf of all three is G3; its driver, while it runs, is G1
 *
 * Invariants
 *	1. A generator is linked to at most one inner one, and at most one is linked to it: a second one that
 *	   yields from the same inner one resumes it by itself.
 *	2. `leaf` is right in every generator at any time: who links or unlinks goes through all outer ones.
 *	3. A linked generator is SUSPENDED, or it is the driver and RUNNING.
 */

/* Beside the state: each keeps resume and yield from their way in line. */
#define STATE_MASK 3u
#define ALWAYS     4u /* a sanitizer is to be told, or there is no guard */
#define LINKED     8u

/* Free stacks kept, in bytes: nobody else gives any back, for there is no loop to do it in time. */
#define WARM_MOST ((size_t)16 << 20)

/*
 * Not to be looked into by link-time optimisation: as a function that nothing is known of, it makes gcc believe that
 * static variables change over a resume and a yield (core/context.h).
 */
#if defined(__has_attribute)
#if __has_attribute(noipa)
#define OPAQUE __attribute__((noipa))
#endif
#endif
#ifndef OPAQUE
#define OPAQUE __attribute__((noinline))
#endif

#if defined(TORC__ASAN) || defined(TORC__TSAN)
#define SANITIZED     1
#define DEFAULT_BYTES (4 * TORC_GEN_STACK_BYTES) /* frames are larger */
#else
#define SANITIZED     0
#define DEFAULT_BYTES TORC_GEN_STACK_BYTES
#endif

struct record {
	struct torc_gen gen; /* first */
	struct torc__stack stack;
	struct torc__sanitize sanitize;
	struct torc__sanitize caller; /* the stack of the one that has resumed it */
};

static struct record *record_of(struct torc_gen *g)
{
	return (struct record *)(void *)g;
}

static _Noreturn void trap(const struct torc_gen *g, const char *what)
{
	struct torc__message m = { .len = 0 };

	torc__message_text(&m, what);
	torc__message_text(&m, ": generator ");
	torc__message_text(&m, g->name ? g->name : "unnamed");
	m.text[m.len] = '\0';
	torc__trap(m.text);
}

/* --- stacks: one pool for the process, as generators belong to no thread --- */

static struct {
	pthread_once_t once;
	pthread_mutex_t lock;
	struct torc__stacks stacks;
	struct torc__sanitize thread;
} pool = { .once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER };

static void lock_pool(void)
{
	pthread_mutex_lock(&pool.lock);
}

static void unlock_pool(void)
{
	pthread_mutex_unlock(&pool.lock);
}

static void open_pool(void)
{
	const char *disabled = getenv("TORC_DISABLE");

	torc__stacks_init(&pool.stacks, sizeof(struct record), offsetof(struct record, stack),
			  disabled && strstr(disabled, "guard_install"));
	torc__sanitize_thread(&pool.thread);
	/* A child of fork(2) must not find it locked by a thread that it does not have. */
	(void)pthread_atfork(lock_pool, unlock_pool, unlock_pool);
}

static struct record *take_record(unsigned class_index)
{
	struct torc__stack *stack;
	void *record;

	pthread_once(&pool.once, open_pool);
	lock_pool();
	stack = torc__stack_take_warm(&pool.stacks, class_index);
	record = stack ? (char *)stack - offsetof(struct record, stack)
		       : torc__stack_take_cold(&pool.stacks, class_index);
	unlock_pool();
	return record;
}

static void give_record(struct record *r)
{
	lock_pool();
	torc__stack_give(&pool.stacks, &r->stack);
	if (torc__unlikely(pool.stacks.warm_bytes > WARM_MOST))
		torc__stacks_shrink(&pool.stacks);
	unlock_pool();
}

const struct torc_gen *torc__gen_overflowed(const void *address)
{
	const struct torc_gen *g = torc__stacks_find_guard(&pool.stacks, address);

	return g && (g->state & STATE_MASK) == TORC_GEN_RUNNING ? g : NULL;
}

size_t torc__gen_stack_bytes(const struct torc_gen *g)
{
	return torc__stack_bytes(&((const struct record *)(const void *)g)->stack);
}

/* --- create, destroy --- */

int torc_gen_create(torc_gen_fn *fn, void *arg, const struct torc_gen_options *options,
		    struct torc_gen **ret_gen)
{
	size_t bytes = options && options->stack_bytes ? options->stack_bytes : DEFAULT_BYTES;
	int class_index = torc__stack_class_of(bytes);
	struct record *r;

	if (class_index < 0)
		return class_index;
	r = take_record((unsigned)class_index);
	if (!r)
		return -ENOMEM;
	r->gen = (struct torc_gen){
		.stack_bytes = (uint32_t)((char *)r - r->stack.bottom),
		.state =
			SANITIZED || r->stack.canary ? ALWAYS | TORC_GEN_CREATED : TORC_GEN_CREATED,
		.fn = fn,
		.arg = arg,
		.name = options ? options->name : NULL,
		.outcome = 1,
		.leaf = &r->gen,
	};
	torc__context_init(&r->gen.context, (void *)((uintptr_t)r & ~(uintptr_t)63),
			   torc__gen_entry);
	torc__sanitize_create(&r->sanitize, &pool.thread, r->stack.bottom, r->gen.stack_bytes);
	*ret_gen = &r->gen;
	return 0;
}

void torc_gen_destroy(struct torc_gen *g)
{
	int r;

	if (!g)
		return;
	torc__check(g->fn, "a generator is destroyed twice");
	r = torc_gen_close(g);
	if (r == -EBUSY && torc_gen_state(g) != TORC_GEN_CLOSED)
		trap(g, "destroyed while it is running");
	if (r == -EPROTO && torc_gen_state(g) != TORC_GEN_CLOSED)
		trap(g, "it yielded while it was to end");
	if (g->outers)
		trap(g, "destroyed while another one yields from it");
	g->fn = NULL;
	torc__sanitize_destroy(&record_of(g)->sanitize, &pool.thread);
	give_record(record_of(g));
}

/* --- state --- */

/* The one place where a state changes, but for those in line. */
static void set_state(struct torc_gen *g, enum torc_gen_state state)
{
	g->state = (uint8_t)((g->state & ~STATE_MASK) | state);
}

static enum torc_gen_state own_state(const struct torc_gen *g)
{
	return (enum torc_gen_state)(g->state & STATE_MASK);
}

/* Is it asleep between the one that was resumed and the leaf that runs for it? */
static bool is_driven(const struct torc_gen *g)
{
	const struct torc_gen *driver = g->leaf->driver;

	for (; driver && g; g = g->outer)
		if (g == driver)
			return true;
	return false;
}

enum torc_gen_state torc_gen_state(const struct torc_gen *g)
{
	enum torc_gen_state state = own_state(g);

	return state == TORC_GEN_SUSPENDED && is_driven(g) ? TORC_GEN_RUNNING : state;
}

struct torc_gen *torc_gen_delegate(const struct torc_gen *g)
{
	return g->delegate;
}

void *torc_gen_result(const struct torc_gen *g)
{
	return own_state(g) == TORC_GEN_CLOSED ? g->result : NULL;
}

int torc_gen_status(const struct torc_gen *g)
{
	return g->status;
}

const char *torc_gen_name(const struct torc_gen *g)
{
	return g->name;
}

static int end(struct torc_gen *g, int status)
{
	g->status = status < 0 ? status : 0;
	if (status < 0)
		g->result = NULL;
	set_state(g, TORC_GEN_CLOSED);
	return g->status;
}

/* --- the switch --- */

static void check_canary(const struct record *r)
{
	if (r->stack.canary && *(const uint64_t *)(const void *)r->stack.bottom != TORC__CANARY)
		trap(&r->gen, "stack overflow: the end of the stack was overwritten");
}

/*
 * Inside a fiber, the fiber is on the generator's stack now. When it parks there, and when somebody switches back to it,
 * its record must tell the sanitizers of that stack.
 */
static inline void switch_to(struct record *r)
{
	struct torc__sanitize *fiber = torc__sanitize_fiber(), saved;

	torc__sanitize_caller(&r->caller);
	if (fiber) {
		saved = *fiber;
		*fiber = r->sanitize;
	}
	torc__sanitize_leave(&r->caller, &r->sanitize);
	torc__switch(&r->gen.caller, &r->gen.context);
	torc__sanitize_arrive(&r->caller, NULL);
	if (fiber)
		*fiber = saved;
}

_Static_assert(offsetof(struct torc_gen, fn) == TORC__GEN_FN &&
		       offsetof(struct torc_gen, arg) == TORC__GEN_ARG,
	       "torc__gen_entry calls the body");

/* Called by torc__gen_entry, on the generator's stack, before and after the body. */
__attribute__((used)) void torc__gen_begin(struct torc_gen *g);
_Noreturn __attribute__((used)) void torc__gen_end(struct torc_gen *g, int result);

void torc__gen_begin(struct torc_gen *g)
{
	torc__sanitize_arrive(&record_of(g)->sanitize, &record_of(g)->caller);
}

_Noreturn void torc__gen_end(struct torc_gen *g, int result)
{
	struct record *r = record_of(g);

	end(g, result);
	check_canary(r);
	torc__sanitize_leave(NULL, &r->caller);
	torc__switch(&g->context, &g->caller);
	__builtin_unreachable();
}

static inline int suspend(struct torc_gen *g, void *value, void **ret_sent)
{
	struct record *r = record_of(g);
	int error;

	check_canary(r);
	g->value = value;
	set_state(g, TORC_GEN_SUSPENDED);
	torc__sanitize_leave(&r->sanitize, &r->caller);
	torc__switch(&g->context, &g->caller);
	torc__sanitize_arrive(&r->sanitize, &r->caller);
	error = g->error;
	g->error = 0;
	if (!error && ret_sent)
		*ret_sent = g->value;
	return error;
}

static void check_runs_here(const struct torc_gen *g)
{
	uintptr_t depth = (uintptr_t)g - (uintptr_t)__builtin_frame_address(0);

	if (own_state(g) != TORC_GEN_RUNNING || depth >= g->stack_bytes)
		trap(g, "a yield outside of the generator's body");
}

OPAQUE int torc_gen_suspend(struct torc_gen *g, void *value, void **ret_sent)
{
	check_runs_here(g);
	return suspend(g, value, ret_sent);
}

/* --- resume --- */

/* Resume this very one, for `driver`. Returns as torc_gen_send. */
static int run(struct torc_gen *g, struct torc_gen *driver, int error, void *sent)
{
	switch (own_state(g)) {
	case TORC_GEN_RUNNING: return -EBUSY;
	case TORC_GEN_CLOSED: return error;
	case TORC_GEN_CREATED:
		if (error < 0)
			return end(g, error);
		if (sent)
			return -EINVAL;
		break;
	case TORC_GEN_SUSPENDED: break;
	}
	g->value = sent;
	g->error = error;
	g->driver = driver;
	set_state(g, TORC_GEN_RUNNING);
	switch_to(record_of(g));
	g->driver = NULL;
	return own_state(g) == TORC_GEN_SUSPENDED ? 1 : g->status;
}

static void set_leaf(struct torc_gen *g, struct torc_gen *leaf)
{
	for (; g; g = g->outer)
		g->leaf = leaf;
}

static void link_to(struct torc_gen *g, struct torc_gen *inner)
{
	if (inner->outer)
		return;
	inner->outer = g;
	g->state |= LINKED;
	set_leaf(g, inner->leaf);
}

static void unlink_from(struct torc_gen *g, struct torc_gen *inner)
{
	if (inner->outer != g)
		return;
	inner->outer = NULL;
	g->state &= (uint8_t)~LINKED;
	set_leaf(g, g);
}

/* An inner one has ended. Returns the one that yields from it, to be woken. */
static struct torc_gen *tell_outer(struct torc_gen *inner, int outcome)
{
	struct torc_gen *g = inner->outer;

	unlink_from(g, inner);
	g->outcome = outcome;
	return g;
}

/* The first of a chain that is running, although its head is not; or NULL. */
static struct torc_gen *first_running(const struct torc_gen *g)
{
	struct torc_gen *leaf = g->leaf;

	if (own_state(leaf) != TORC_GEN_RUNNING)
		return NULL;
	return leaf->driver ? leaf->driver : leaf;
}

/* Resume the last of a chain, and those before it whose inner ones end. */
static int run_chain(struct torc_gen *g, int error, void *sent, void **ret_value)
{
	struct torc_gen *at = first_running(g);
	int r;

	if (!at)
		at = g->leaf;
	set_state(g, TORC_GEN_RUNNING);
	while ((r = run(at, g, error, sent)) != 1) {
		at = tell_outer(at, r);
		error = 0;
		sent = NULL;
		if (at == g) {
			set_state(g, TORC_GEN_SUSPENDED);
			r = run(g, g, 0, NULL);
			break;
		}
	}
	if (at != g)
		set_state(g, TORC_GEN_SUSPENDED);
	if (r == 1 && ret_value)
		*ret_value = at->value;
	return r;
}

OPAQUE int torc_gen_resume(struct torc_gen *g, int error, void *sent, void **ret_value)
{
	int r;

	torc__check(g->fn, "a generator is used after it was destroyed");
	if (torc_gen_state(g) == TORC_GEN_RUNNING)
		return -EBUSY;
	if (g->leaf != g && error != TORC_GEN_EXIT)
		return run_chain(g, error, sent, ret_value);
	r = run(g, g, error, sent);
	if (r == 1 && ret_value)
		*ret_value = g->value;
	return r;
}

/* Back from a switch in line: the body has ended, or is linked. */
OPAQUE int torc_gen_resumed(struct torc_gen *g, void **ret_value)
{
	if (own_state(g) == TORC_GEN_CLOSED)
		return g->status;
	if (ret_value)
		*ret_value = g->value;
	return 1;
}

int torc_gen_throw(struct torc_gen *g, int error, void **ret_value)
{
	return error < 0 ? torc_gen_resume(g, error, NULL, ret_value) : -EINVAL;
}

int torc_gen_close(struct torc_gen *g)
{
	int r;

	switch (torc_gen_state(g)) {
	case TORC_GEN_RUNNING: return -EBUSY;
	case TORC_GEN_CLOSED: return 0;
	case TORC_GEN_CREATED: return end(g, 0);
	case TORC_GEN_SUSPENDED: break;
	}
	r = torc_gen_resume(g, TORC_GEN_EXIT, NULL, NULL);
	if (r == 1)
		return -EPROTO;
	if (r == TORC_GEN_EXIT)
		g->status = r = 0;
	return r;
}

/* --- yielding from --- */

/* Pass on what came out of the yield of g. Returns as torc_gen_send. */
static int pass_on(struct torc_gen *inner, int error, void *sent, void **ret_value)
{
	int r;

	if (!error)
		return torc_gen_send(inner, sent, ret_value);
	if (error != TORC_GEN_EXIT)
		return torc_gen_throw(inner, error, ret_value);
	r = torc_gen_close(inner);
	return r < 0 ? r : TORC_GEN_EXIT;
}

/* One yield of a value of the inner one, and what the inner one says to what comes back. */
static inline int yield_for(struct torc_gen *g, struct torc_gen *inner, void **value)
{
	void *sent = NULL;
	int error, outcome;

	link_to(g, inner);
	error = suspend(g, *value, &sent);
	outcome = g->outcome;
	if (outcome != 1) {
		g->outcome = 1;
		return outcome;
	}
	unlink_from(g, inner);
	return pass_on(inner, error, sent, value);
}

int torc_gen_yield_from(struct torc_gen *g, struct torc_gen *inner, void **ret_result)
{
	void *value;
	int r;

	check_runs_here(g);
	g->delegate = inner;
	inner->outers++;
	r = torc_gen_next(inner, &value);
	while (r == 1)
		r = yield_for(g, inner, &value);
	inner->outers--;
	g->delegate = NULL;
	if (!r && ret_result)
		*ret_result = inner->result;
	return r;
}
