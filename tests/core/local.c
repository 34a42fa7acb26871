/*
 * Fiber-local values: who has which, who destroys them and when, and what happens when memory runs out.
 */
#include "tests/core/run.h"

#include <stdatomic.h>

#include <torc/core/local.h>

TestSuite(local, .timeout = 60);

/* --- malloc that fails once, when told to --- */

#if !WITH_ASAN
static atomic_int fail_in; /* 1: the next one */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static bool fails_now(void)
{
	return atomic_load(&fail_in) && atomic_fetch_sub(&fail_in, 1) == 1;
}

void *malloc(size_t size)
{
	return fails_now() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __libc_realloc(old, size);
}
#endif

/* A literal as a value. */
#define TEXT(text) ((void *)(uintptr_t)(text))

/* --- values that are counted --- */

struct value {
	int number;
};

static atomic_int alive;

static struct value *make(int number)
{
	struct value *v = malloc(sizeof(*v));

	check(v);
	v->number = number;
	atomic_fetch_add(&alive, 1);
	return v;
}

static void destroy(void *value)
{
	struct value *v = value;

	check_ge(v->number, 0);
	v->number = -1; /* twice would be noticed */
	free(v);
	atomic_fetch_sub(&alive, 1);
}

static struct value none = { 0 };
static struct torc_local plain, counted = { .destroy = destroy, .initial = &none };
static struct torc_local mine = { .destroy = destroy, .initial = &none, .not_inherited = true };
static const struct torc_local by_macro = TORC_LOCAL(destroy);

static int number_of(const struct torc_local *key)
{
	return ((struct value *)torc_local_get(key))->number;
}

static void set(const struct torc_local *key, int number)
{
	check_eq(torc_local_set(key, make(number)), 0);
	check_eq(number_of(key), number);
}

/* --- one fiber --- */

static int set_and_get(void *arg)
{
	(void)arg;
	check(!torc_local_get(&plain));
	check(!torc_local_get(&by_macro));
	check(torc_local_get(&counted) == &none);
	check_eq(torc_local_unset(&counted), 0); /* it has none */
	check_eq(torc_local_set(&plain, TEXT("text")), 0);
	check(!strcmp(torc_local_get(&plain), "text"));
	set(&counted, 1);
	set(&counted, 2);
	set(&mine, 3);
	set(&mine, 4);
	set(&by_macro, 5);
	check_eq(atomic_load(&alive), 3); /* what was replaced has gone */
	check_eq(number_of(&counted), 2);
	check_eq(number_of(&mine), 4);
	check_eq(torc_local_unset(&counted), 0);
	check_eq(torc_local_unset(&mine), 0);
	check_eq(atomic_load(&alive), 1);
	check(torc_local_get(&counted) == &none && torc_local_get(&mine) == &none);
	check(!strcmp(torc_local_get(&plain), "text")); /* others stay */
	check_eq(number_of(&by_macro), 5);
	/* NULL is a value, but nothing to destroy */
	check_eq(torc_local_set(&counted, NULL), 0);
	check(!torc_local_get(&counted));
	/* the value that it has: neither destroyed nor held twice */
	check_eq(torc_local_set(&by_macro, torc_local_get(&by_macro)), 0);
	check_eq(number_of(&by_macro), 5);
	return 0;
}

Test(local, values_are_set_replaced_and_taken_away)
{
	run(set_and_get, NULL);
	cr_assert_eq(atomic_load(&alive), 0);
}

static int fill(void *arg)
{
	static struct torc_local keys[2][TORC_LOCALS_MAX + 1];
	struct value *rest = make(7);

	(void)arg;
	for (int own = 0; own < 2; own++) {
		for (int i = 0; i <= TORC_LOCALS_MAX; i++) {
			keys[own][i] = (struct torc_local){ destroy, NULL, own };
			if (i < TORC_LOCALS_MAX)
				set(&keys[own][i], i);
		}
		check_eq(torc_local_set(&keys[own][TORC_LOCALS_MAX], rest), -ENOSPC);
		check_eq(rest->number, 7); /* still the caller's */
		check(!torc_local_get(&keys[own][TORC_LOCALS_MAX]));
		set(&keys[own][3], 300);
		check_eq(torc_local_unset(&keys[own][0]), 0);
		set(&keys[own][TORC_LOCALS_MAX], 1000);
		for (int i = 1; i < TORC_LOCALS_MAX; i++)
			check_eq(number_of(&keys[own][i]), i == 3 ? 300 : i);
	}
	destroy(rest);
	return 0;
}

Test(local, one_key_too_many_is_refused_and_its_value_stays_the_callers)
{
	run(fill, NULL);
	cr_assert_eq(atomic_load(&alive), 0);
}

/* --- inheritance --- */

static int see_spawners(void *arg)
{
	const int *loop = arg;

	check_eq(torc_loop_index(), *loop);
	check_eq(number_of(&counted), 1); /* as they were when it was spawned */
	check(!strcmp(torc_local_get(&plain), "then"));
	check(torc_local_get(&mine) == &none);
	set(&counted, 10);
	set(&mine, 11);
	check_eq(torc_local_unset(&plain), 0);
	check_eq(torc_yield(), 0);
	check_eq(number_of(&counted), 10);
	check_eq(number_of(&mine), 11);
	check(!torc_local_get(&plain));
	return 0;
}

static int see_grandparents(void *arg)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, see_spawners, arg), 0);
	return torc_group_wait(&g);
}

static int inherit_on(int loop)
{
	struct torc_group g;

	check_eq(torc_local_set(&plain, TEXT("then")), 0);
	set(&counted, 1);
	set(&mine, 2);
	torc_group_enter(&g);
	for (int i = 0; i < 5; i++)
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(loop)),
					       i % 2 ? see_spawners : see_grandparents, &loop),
			 0);
	set(&counted, 3);
	check_eq(torc_local_set(&plain, TEXT("now")), 0);
	check_eq(torc_group_wait(&g), 0);
	/* what the children set is theirs */
	check_eq(number_of(&counted), 3);
	check_eq(number_of(&mine), 2);
	check(!strcmp(torc_local_get(&plain), "now"));
	check_eq(atomic_load(&alive), 2); /* 1 went with the last child */
	return 0;
}

static int inherit(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3; i++)
		for (int loop = 0; loop < 3; loop++)
			check_eq(inherit_on(loop), 0);
	return 0;
}

Test(local, children_have_what_their_spawner_had_and_both_go_on_independently)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 3), inherit, NULL), 0);
	cr_assert_eq(atomic_load(&alive), 0);
}

static int see_number(void *arg)
{
	check_eq(number_of(&counted), VALUE(arg));
	return 0;
}

static int spawn_into(void *arg)
{
	set(&counted, 5);
	check_eq(torc_group_spawn(arg, see_number, ARG(5)), 0);
	check_eq(torc_group_spawn_with(arg, HOW(.loop = TORC_ON_LOOP(1)), see_number, ARG(5)), 0);
	check_eq(torc_detach("stray", see_number, ARG(5)), 0);
	return 0;
}

static int own_group(void *arg)
{
	struct torc_group g;

	(void)arg;
	set(&counted, 4);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, spawn_into, &g), 0);
	return torc_group_wait(&g);
}

Test(local, the_spawner_counts_not_the_groups_owner)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), own_group, NULL), 0);
	cr_assert_eq(atomic_load(&alive), 0);
}

/* --- a spawn that fails --- */

static int fail_to_spawn(void *arg)
{
	struct torc_group g;
	int loop = (int)VALUE(arg), alive_before;

	set(&mine, 1);
	set(&counted, 2);
	torc_group_enter(&g);
	if (loop == 0) {
		while (torc_group_spawn(&g, forever, NULL) == 0)
			;
	} else {
		for (int i = 0; i < 100; i++)
			check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(loop)), forever,
						       NULL),
				 0);
		check_eq(torc_sleep(TORC_NEVER), -ECANCELED); /* there it is the fiber's failure */
	}
	check_eq(torc_group_spawn_with(&g, HOW(.loop = 99), forever, NULL), -EINVAL);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), loop ? -EAGAIN : 0);
	/* nobody else has it any more */
	alive_before = atomic_load(&alive);
	set(&counted, 3);
	check_eq(atomic_load(&alive), alive_before);
	return 0;
}

/* The value lives only in the mail to the other loop when the spawn fails there. */
static int orphan_value(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter_supervisor(&g);
	for (int i = 0; i < 100; i++) {
		set(&counted, i);
		check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(1)), forever, NULL), 0);
	}
	check_eq(torc_local_unset(&counted), 0);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	check_eq(atomic_load(&alive), 0);
	return 0;
}

Test(local, a_spawn_that_fails_leaves_no_holder)
{
	for (int loop = 0; loop < 2; loop++) {
		cr_assert_eq(run_with(OPTIONS(.fibers_max = 50, .loops = 2), fail_to_spawn,
				      ARG(loop)),
			     0);
		cr_assert_eq(atomic_load(&alive), 0);
	}
	cr_assert_eq(run_with(OPTIONS(.fibers_max = 50, .loops = 2), orphan_value, NULL), 0);
}

/* --- destructors --- */

static char destroyed[32];
static bool ending;

static void note(void *value)
{
	strncat(destroyed, value, sizeof(destroyed) - strlen(destroyed) - 1);
}

static void note_and_look(void *value)
{
	note(value);
	check(torc_in_fiber());
	check(!ending || !torc_local_get(&plain)); /* the fiber has no values any more */
}

static struct torc_local first = TORC_LOCAL(note), second = TORC_LOCAL(note_and_look),
			 third = TORC_LOCAL(note);
static struct torc_local own_first = { .destroy = note, .not_inherited = true },
			 own_second = { .destroy = note_and_look, .not_inherited = true };

static int set_all(void *arg)
{
	(void)arg;
	check_eq(torc_local_set(&plain, TEXT("set")), 0);
	check_eq(torc_local_set(&first, TEXT("1")), 0);
	check_eq(torc_local_set(&own_first, TEXT("a")), 0);
	check_eq(torc_local_set(&second, TEXT("2")), 0);
	check_eq(torc_local_set(&third, TEXT("3")), 0);
	check_eq(torc_local_set(&own_second, TEXT("b")), 0);
	check_eq(torc_local_set(&first, TEXT("4")), 0);
	check(!strcmp(destroyed, "1"));
	check_eq(torc_local_unset(&second), 0);
	check_eq(torc_local_set(&second, TEXT("5")), 0);
	check(!strcmp(destroyed, "12"));
	ending = true;
	return 0;
}

static int in_order(void *arg)
{
	struct torc_group g;
	struct torc_task task;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &task), set_all, NULL), 0);
	check_eq(torc_task_join(&task), 0);
	check(!strcmp(destroyed, "12ba534")); /* they have run by then */
	return torc_group_wait(&g);
}

Test(local, destructors_run_at_the_end_before_others_learn_of_it_last_set_first)
{
	run(in_order, NULL);
}

static atomic_bool destroyed_slowly;

static void take_time(void *value)
{
	uint64_t until = torc_now_ns() + TORC_MS(2);

	(void)value;
	while (torc_now_ns() < until)
		;
	atomic_store(&destroyed_slowly, true);
}

static int set_slow(void *arg)
{
	static struct torc_local slow = TORC_LOCAL(take_time);

	return torc_local_set(&slow, arg);
}

static int wait_elsewhere(void *arg)
{
	for (int i = 0; i < 5; i++) {
		atomic_store(&destroyed_slowly, false);
		check_eq(run_on(1, set_slow, &arg), 0);
		check(atomic_load(&destroyed_slowly));
	}
	return 0;
}

Test(local, a_group_elsewhere_learns_of_the_end_when_the_destructors_have_run)
{
	setenv("TORC_DISABLE", "msg_ring", 1); /* wakes at once, not at the end of the turn */
	cr_assert_eq(run_with(OPTIONS(.loops = 2), wait_elsewhere, NULL), 0);
}

static int hold_until_told(void *arg)
{
	return torc_sleep_until(*(uint64_t *)arg);
}

static int share(void *arg)
{
	struct torc_group g, later;
	uint64_t moment = torc_now_ns() + TORC_MS(5);

	(void)arg;
	torc_group_enter(&later);
	torc_group_enter(&g);
	set(&counted, 1);
	for (int i = 0; i < 10; i++)
		check_eq(torc_group_spawn(&g, hold_until_told, &moment), 0);
	for (int i = 0; i < 4; i++)
		check_eq(torc_group_spawn_with(&later, HOW(.loop = TORC_ON_LOOP(i % 2)), forever,
					       NULL),
			 0);
	set(&counted, 2);
	check_eq(atomic_load(&alive), 2);
	check_eq(torc_group_wait(&g), 0);
	check_eq(atomic_load(&alive), 2); /* the later ones still have it */
	torc_group_cancel(&later);
	check_eq(torc_group_wait(&later), 0);
	check_eq(atomic_load(&alive), 1);
	return 0;
}

Test(local, a_shared_value_is_destroyed_once_by_the_last_that_has_it)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), share, NULL), 0);
	cr_assert_eq(atomic_load(&alive), 0);
}

static struct torc_local restless;

static void sleep_in_destructor(void *value)
{
	(void)value;
	torc_sleep(TORC_MS(1));
}

static void yield_in_destructor(void *value)
{
	(void)value;
	torc_yield();
}

static void set_in_destructor(void *value)
{
	check_eq(torc_local_set(&plain, value), 0);
}

static void unset_in_destructor(void *value)
{
	(void)value;
	check_eq(torc_local_unset(&plain), 0);
}

static int end_with_destructor(void *arg)
{
	(void)arg;
	torc_fiber_set_name("restless");
	return torc_local_set(&restless, &none);
}

Test(local, a_destructor_that_suspends_or_sets_values_as_its_fiber_ends_traps)
{
	restless.destroy = sleep_in_destructor;
	expect_trap(end_with_destructor, "of a fiber-local value suspends (fiber restless");
	restless.destroy = yield_in_destructor;
	expect_trap(end_with_destructor, "of a fiber-local value suspends");
	restless.destroy = set_in_destructor;
	expect_trap(end_with_destructor, "sets or takes away one (fiber restless");
	restless.destroy = unset_in_destructor;
	expect_trap(end_with_destructor, "sets or takes away one");
}

static struct torc_group spawned_into;

static int see_none(void *arg)
{
	(void)arg;
	check(torc_local_get(&counted) == &none);
	return 0;
}

static void spawn_see_none(void *value)
{
	(void)value;
	check_eq(torc_group_spawn(&spawned_into, see_none, NULL), 0);
}

static struct torc_local last = TORC_LOCAL(spawn_see_none);

static int end_and_spawn(void *arg)
{
	(void)arg;
	set(&counted, 8);
	return torc_local_set(&last, &last);
}

static int spawn_from_destructor(void *arg)
{
	(void)arg;
	torc_group_enter(&spawned_into);
	check_eq(torc_group_spawn(&spawned_into, end_and_spawn, NULL), 0);
	return torc_group_wait(&spawned_into);
}

Test(local, what_a_destructor_spawns_inherits_nothing)
{
	run(spawn_from_destructor, NULL);
	cr_assert_eq(atomic_load(&alive), 0);
}

/* --- no memory --- */

#if !WITH_ASAN
/* Tries until it succeeds, one allocation later each time. What failed must have changed nothing. */
#define WITH_FAILURES(call, expected_before)                       \
	for (int n_ = 1, r_ = -ENOMEM; r_; n_++) {                 \
		int alive_ = atomic_load(&alive);                  \
		atomic_store(&fail_in, n_);                        \
		r_ = (call);                                       \
		failures += r_ != 0;                               \
		if (r_) {                                          \
			check_eq(r_, -ENOMEM);                     \
			check_eq(atomic_load(&fail_in), 0);        \
			check_eq(number_of(key), expected_before); \
			check_eq(atomic_load(&alive), alive_);     \
		}                                                  \
		atomic_store(&fail_in, 0);                         \
	}

static int holder(void *arg)
{
	check_eq(number_of(&counted), VALUE(arg));
	return torc_sleep(TORC_NEVER);
}

static int run_out_with(const struct torc_local *key)
{
	static struct torc_local more[8];
	struct torc_group g;
	int failures = 0;
	struct value *v = make(1);

	WITH_FAILURES(torc_local_set(key, v), 0);
	v = make(2);
	WITH_FAILURES(torc_local_set(key, v), 1);
	for (size_t i = 0; i < COUNT(more); i++) { /* the table grows */
		more[i] = *key;
		v = make((int)i);
		WITH_FAILURES(torc_local_set(&more[i], v), 2);
	}
	torc_group_enter(&g);
	for (int loop = 0; loop < 2; loop++) {
		int known = key->not_inherited ? 0 : 2;

		WITH_FAILURES(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(loop)), holder,
						    ARG(known)),
			      2);
	}
	check_eq(torc_yield(), 0); /* now the table is shared */
	v = make(3);
	WITH_FAILURES(torc_local_set(key, v), 2);
	check_eq(torc_group_spawn(&g, forever, NULL), 0);
	WITH_FAILURES(torc_local_unset(key), 3);
	/* the table is the fiber's alone: this needs no memory */
	atomic_store(&fail_in, 1);
	check_eq(torc_local_unset(&more[0]), 0);
	check_eq(atomic_exchange(&fail_in, 0), 1);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	return failures;
}

static int run_out(void *arg)
{
	(void)arg;
	check_ge(run_out_with(&counted), 12);
	check_eq(torc_local_unset(&counted), 0);
	check_ge(run_out_with(&mine), 11);
	return 0;
}

Test(local, without_memory_nothing_changes_and_nothing_leaks)
{
	cr_assert_eq(run_with(OPTIONS(.loops = 2), run_out, NULL), 0);
	cr_assert_eq(atomic_load(&alive), 0);
}
#endif

/* --- against a model --- */

#define KEYS 12

/* Every third is not inherited, every second has no destructor but a value out of `numbers`. */
static struct torc_local keys[KEYS];
static int numbers[1000];

struct model {
	int numbers[KEYS]; /* 0: none set */
	unsigned depth;
	uint64_t seed;
};

static void compare_all(const struct model *m)
{
	for (int k = 0; k < KEYS; k++) {
		const int *value = torc_local_get(&keys[k]);

		check_eq(value ? *value : 0, m->numbers[k]);
	}
}

static void change_one(struct model *m)
{
	int k = (int)(next_random(&m->seed) % KEYS);
	int number = 1 + (int)(next_random(&m->seed) % 999);

	if (next_random(&m->seed) % 3 == 0) {
		check_eq(torc_local_unset(&keys[k]), 0);
		number = 0;
	} else if (keys[k].destroy) {
		set(&keys[k], number);
	} else {
		check_eq(torc_local_set(&keys[k], &numbers[number]), 0);
	}
	m->numbers[k] = number;
}

static int grow_tree(void *arg)
{
	struct model m = *(struct model *)arg;
	struct torc_group g;
	size_t n = 0;

	free(arg);
	torc_group_enter(&g);
	for (int step = 0; step < 30; step++) {
		compare_all(&m);
		if (m.depth && step % 6 == 3) {
			struct model *child = malloc(sizeof(*child));
			int loop = (int)(next_random(&m.seed) % 3);

			*child = m;
			child->depth--;
			child->seed += n++;
			for (int k = 0; k < KEYS; k++)
				if (keys[k].not_inherited)
					child->numbers[k] = 0;
			check_eq(torc_group_spawn_with(&g, HOW(.loop = TORC_ON_LOOP(loop)),
						       grow_tree, child),
				 0);
		} else if (next_random(&m.seed) % 4 == 0) {
			check_eq(torc_yield(), 0);
		} else {
			change_one(&m);
		}
	}
	check_eq(n, m.depth ? 5 : 0);
	return torc_group_wait(&g);
}

Test(local, a_random_tree_of_fibers_agrees_with_a_model)
{
	for (size_t i = 0; i < COUNT(numbers); i++)
		numbers[i] = (int)i;
	for (int k = 0; k < KEYS; k++)
		keys[k] = (struct torc_local){ k % 2 ? destroy : NULL, NULL, k % 3 == 0 };
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct model *m = calloc(1, sizeof(*m));

		m->depth = 4; /* 781 fibers */
		m->seed = seed;
		cr_assert_eq(run_with(OPTIONS(.loops = 3), grow_tree, m), 0);
		cr_assert_eq(atomic_load(&alive), 0, "seed %d", (int)seed);
	}
}

/* --- misuse --- */

static int call_get(void *arg)
{
	return torc_local_get(arg) != NULL;
}

static int call_set(void *arg)
{
	return torc_local_set(arg, NULL);
}

static int call_unset(void *arg)
{
	return torc_local_unset(arg);
}

Test(local, calls_from_outside_of_a_fiber_trap)
{
	static torc_fn *const calls[] = { call_get, call_set, call_unset };

	for (size_t i = 0; i < COUNT(calls); i++) {
		struct died d = in_child(calls[i], &plain);

		cr_assert_eq(d.signal, SIGABRT, "case %zu", i);
		cr_assert_str_eq(d.text, "torc: called outside of a fiber\n", "case %zu", i);
	}
}
