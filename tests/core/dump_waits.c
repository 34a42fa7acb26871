/*
 * What the dump says of fibers that wait for locks and channels, and in generators; what a deadlock of them says.
 */
#include "tests/core/run.h"

#include <torc/core/chan.h>
#include <torc/core/gen.h>
#include <torc/core/sync.h>

#include "tests/support/dump.h"

TestSuite(dump_waits, .timeout = 60);

static struct torc_mutex mutex;
static struct torc_cond cond;
static struct torc_rwlock rwlock;
static struct torc_sem sem;
static struct torc_event event;
static struct torc_latch latch;
static struct torc_barrier barrier;
static struct torc_once once;
static struct torc_chan empty, full;

static int wait_mutex(void *arg)
{
	(void)arg;
	return torc_mutex_lock(&mutex);
}

static int wait_cond(void *arg)
{
	static struct torc_mutex own;
	int r;

	(void)arg;
	check_eq(torc_mutex_lock(&own), 0);
	r = torc_cond_wait(&cond, &own);
	torc_mutex_unlock(&own);
	return r;
}

static int wait_read(void *arg)
{
	(void)arg;
	return torc_rwlock_read(&rwlock);
}

static int wait_write(void *arg)
{
	(void)arg;
	return torc_rwlock_write(&rwlock);
}

static int wait_sem(void *arg)
{
	(void)arg;
	return torc_sem_acquire(&sem, 3);
}

static int wait_event(void *arg)
{
	(void)arg;
	return torc_event_wait(&event);
}

static int wait_latch(void *arg)
{
	(void)arg;
	return torc_latch_wait(&latch);
}

static int wait_barrier(void *arg)
{
	(void)arg;
	return torc_barrier_wait(&barrier);
}

static int wait_once(void *arg)
{
	(void)arg;
	return torc_once(&once, forever, NULL);
}

static int wait_recv(void *arg)
{
	uint64_t item;

	(void)arg;
	return torc_chan_recv(&empty, &item);
}

static int wait_send(void *arg)
{
	uint64_t item = 1;

	(void)arg;
	return torc_chan_send(&full, &item);
}

static int wait_select(void *arg)
{
	uint64_t item;
	struct torc_case cases[] = {
		{ .chan = &empty, .op = TORC_RECV, .item = &item },
		{ .chan = &full, .op = TORC_SEND, .item = &item },
	};

	(void)arg;
	return torc_select(cases, COUNT(cases), TORC_NEVER);
}

static int sleep_in_body(struct torc_gen *g, void *arg)
{
	int r = torc_sleep(TORC_NEVER);

	(void)g, (void)arg;
	check_eq(r, -ECANCELED);
	return r;
}

static int wait_in_generator(void *arg)
{
	struct torc_gen *g;
	int r;

	check_eq(torc_gen_create(sleep_in_body, arg, NULL, &g), 0);
	r = torc_gen_next(g, NULL);
	torc_gen_destroy(g);
	return r;
}

static const struct wait {
	const char *name;
	torc_fn *fn;
	const char *says; /* with an address for % */
	const void *object;
} waits[] = {
	{ "w-mutex", wait_mutex, "mutex at %, locked by fiber main", &mutex },
	{ "w-cond", wait_cond, "condition at %", &cond },
	{ "w-read", wait_read, "rwlock, to read at %", &rwlock },
	{ "w-write", wait_write, "rwlock, to write at %", &rwlock },
	{ "w-sem", wait_sem, "semaphore at %", &sem },
	{ "w-event", wait_event, "event at %", &event },
	{ "w-latch", wait_latch, "latch at %", &latch },
	{ "w-barrier", wait_barrier, "barrier at %", &barrier },
	{ "w-runner", wait_once, "sleep until cancelled", NULL },
	{ "w-once", wait_once, "once at %", &once },
	{ "w-recv", wait_recv, "channel, to receive at %, with 0 of 2 items", &empty },
	{ "w-send", wait_send, "channel, to send at %, with 1 of 1 items", &full },
	{ "w-select", wait_select, "select to receive from %, to send to 0x", &empty },
	{ "w-gen", wait_in_generator, "sleep until cancelled", NULL },
};

static void expect_line(const char *text, const struct wait *w)
{
	char line[256], address[32] = "";
	const char *percent = strchr(w->says, '%');
	int before = percent ? (int)(percent - w->says) : (int)strlen(w->says);

	if (percent)
		snprintf(address, sizeof(address), "0x%llx",
			 (unsigned long long)(uintptr_t)w->object);
	snprintf(line, sizeof(line), " %s, loop 0: waiting for %.*s%s%s", w->name, before, w->says,
		 address, percent ? percent + 1 : "");
	if (strstr(text, line))
		return;
	fprintf(stderr, "expected \"%s\" in:\n%s\n", line, text);
	abort();
}

static void hold_everything(void)
{
	uint64_t item = 0;

	check_eq(torc_mutex_lock(&mutex), 0);
	check_eq(torc_rwlock_write(&rwlock), 0);
	torc_latch_add(&latch, 1);
	torc_barrier_init(&barrier, 2);
	check_eq(torc_chan_init(&empty, sizeof(item), 2), 0);
	check_eq(torc_chan_init(&full, sizeof(item), 1), 0);
	check_eq(torc_chan_send(&full, &item), 0);
}

static int show_waits(void *arg)
{
	struct torc_group g;
	char *text;

	(void)arg;
	hold_everything();
	torc_group_enter_supervisor(&g);
	for (size_t i = 0; i < COUNT(waits); i++)
		check_eq(torc_group_spawn_with(&g, HOW(.name = waits[i].name), waits[i].fn, NULL),
			 0);
	while (torc_yield() == 0) {
		struct torc_stats s;

		torc_stats(&s);
		if (s.switches > 4 * COUNT(waits)) /* all have run to where they wait */
			break;
	}
	text = dump_text();
	for (size_t i = 0; i < COUNT(waits); i++)
		expect_line(text, &waits[i]);
	check(strstr(text, ", in a generator\n"));
	check(strstr(text, " sleep_in_body+0x"));
	free(text);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	torc_chan_done(&empty);
	torc_chan_done(&full);
	return 0;
}

Test(dump_waits, shows_what_each_kind_of_wait_is_for)
{
	run(show_waits, NULL);
}

/* --- deadlocks --- */

static int receive_from_nobody(void *arg)
{
	struct torc_chan c;
	uint64_t item;

	(void)arg;
	check_eq(torc_chan_init(&c, sizeof(item), 0), 0);
	return torc_chan_recv(&c, &item);
}

static int send_to_the_other(void *arg)
{
	uint64_t item = 0;

	return torc_chan_send(arg, &item);
}

/* Each sends to the other, and nobody receives; on two loops. */
static int send_crosswise(void *arg)
{
	struct torc_chan a, b;
	struct torc_group g;

	(void)arg;
	check_eq(torc_chan_init(&a, sizeof(uint64_t), 0), 0);
	check_eq(torc_chan_init(&b, sizeof(uint64_t), 0), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "there", .loop = TORC_ON_LOOP(1)),
				       send_to_the_other, &a),
		 0);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "here"), send_to_the_other, &b), 0);
	return torc_group_wait(&g);
}

static int lock_for_good(void *arg)
{
	return torc_mutex_lock(arg);
}

static int wait_for_a_lock_that_is_never_let_go(void *arg)
{
	struct torc_mutex m = { .owner = NULL };
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "first"), lock_for_good, &m), 0);
	check_eq(torc_group_spawn_with(&g, HOW(.name = "second"), lock_for_good, &m), 0);
	return torc_group_wait(&g);
}

Test(dump_waits, a_deadlock_says_what_everybody_waits_for)
{
	static const struct {
		torc_fn *fn;
		const char *says;
	} deadlocks[] = {
		{ receive_from_nobody, "main, loop 0: waiting for channel, to receive at 0x" },
		{ send_crosswise, "there, loop 1: waiting for channel, to send at 0x" },
		{ wait_for_a_lock_that_is_never_let_go, "second, loop 0: waiting for mutex at 0x" },
	};

	for (size_t i = 0; i < COUNT(deadlocks); i++) {
		struct died d = run_in_child(OPTIONS(.loops = 2), deadlocks[i].fn, NULL);

		cr_assert_eq(d.signal, SIGABRT, "case %zu: %s", i, d.text);
		cr_assert(strstr(d.text, "torc: deadlock: every fiber waits for another one\n"),
			  "case %zu: %s", i, d.text);
		cr_assert(strstr(d.text, deadlocks[i].says), "case %zu: %s", i, d.text);
	}
}
