/*
 * Every suspending call of core in every situation in which it can end: a row for each call, a column for each
 * situation.
 */
#include "tests/core/run.h"

#include <sys/ioctl.h>

#include <torc/core/interval.h>

#include "core/internal/fiber.h"

TestSuite(matrix, .timeout = 60);

enum situation {
	SUCCESS,
	ERROR,            /* of what is waited for */
	CANCELLED_BEFORE, /* the call */
	CANCELLED,        /* while it waits */
	DEADLINE_BEFORE,
	DEADLINE,
	SHIELDED,        /* the scope around the shield is cancelled */
	SHIELD_DEADLINE, /* the same, and the shield's own deadline passes */
	COMPLETED_FIRST, /* it is cancelled after that, but before the fiber runs again */
	CANCELLED_FIRST, /* it completes after that, but before the fiber runs again */
	SITUATIONS,
};

static const char *const situations[] = {
	"success",  "error",    "cancelled before",  "cancelled",       "deadline before",
	"deadline", "shielded", "shield's deadline", "completed first", "cancelled first",
};

struct row;

/* One cell: the fiber that calls, and what it waits for. */
struct cell {
	const struct row *row;
	enum situation situation;
	struct torc_scope scope, shield;
	struct torc_task subject, child;
	struct torc_interval interval;
	uint64_t moment_ns; /* of sleeps */
	int pipe[2];
	char byte;
	int result, again; /* what the call returned, and in the same scope once more */
};

struct row {
	const char *name;
	int loop; /* of the child that is waited for */
	int (*call)(struct cell *c);
	void (*complete)(struct cell *c);
	int success;
	int error;           /* 0: it has none of its own */
	int completed_first; /* what it returns then */
	bool either;         /* cancelled first, it may have completed: the kernel decides */
	bool once;           /* it cannot be called again */
};

static bool completes(enum situation s)
{
	return s == SUCCESS || s == ERROR || s == SHIELDED || s == COMPLETED_FIRST ||
	       s == CANCELLED_FIRST;
}

static bool in_shield(enum situation s)
{
	return s == SHIELDED || s == SHIELD_DEADLINE;
}

/* --- the rows --- */

static int call_yield(struct cell *c)
{
	(void)c;
	return torc_yield();
}

static void nothing(struct cell *c)
{
	(void)c;
}

static int call_sleep(struct cell *c)
{
	uint64_t now = torc_now_ns();

	return torc_sleep(c->moment_ns > now ? c->moment_ns - now : 1);
}

static int call_sleep_until(struct cell *c)
{
	return torc_sleep_until(c->moment_ns);
}

static int call_interval(struct cell *c)
{
	if (!c->interval.period_ns)
		torc_interval_init_at(&c->interval, c->moment_ns, TORC_SECONDS(3600));
	return torc_interval_wait(&c->interval);
}

static void let_time_pass(struct cell *c)
{
	if (!completes(c->situation)) /* the situation is over: the call is to succeed now */
		c->moment_ns = c->interval.next_ns = torc_turn_ns();
	while (torc_now_ns() <= c->moment_ns)
		;
}

/* The child ends when its task is cancelled, with a result of its own. */
static int child(void *arg)
{
	const struct cell *c = arg;

	torc_sleep(TORC_NEVER);
	return c->situation == ERROR ? c->row->error : c->row->success;
}

static void end_child(struct cell *c)
{
	torc_task_cancel(&c->child);
}

static int call_join(struct cell *c)
{
	return torc_task_join(&c->child);
}

static int call_group(struct cell *c)
{
	struct torc_group g;

	torc_group_enter(&g);
	check_eq(torc_group_spawn_with(&g,
				       HOW(.loop = TORC_ON_LOOP(c->row->loop), .task = &c->child),
				       child, c),
		 0);
	return torc_group_wait(&g);
}

static int call_read(struct cell *c)
{
	return read_fd(c->situation == ERROR ? -1 : c->pipe[0], &c->byte, 1);
}

static void write_byte(struct cell *c)
{
	check_eq(write(c->pipe[1], "x", 1), 1);
}

static const struct row rows[] = {
	{ "yield", 0, call_yield, nothing, 0, 0, -ECANCELED, false, false },
	{ "sleep", 0, call_sleep, let_time_pass, 0, 0, 0, false, false },
	{ "sleep_until", 0, call_sleep_until, let_time_pass, 0, 0, 0, false, false },
	{ "interval_wait", 0, call_interval, let_time_pass, 1, 0, 1, false, false },
	{ "task_join", 0, call_join, end_child, 7, -EIO, 7, false, false },
	{ "task_join, elsewhere", 1, call_join, end_child, 7, -EIO, 7, false, false },
	/* its result tells of the scopes around it, whatever its fibers have done */
	{ "group_wait", 0, call_group, end_child, 0, -EIO, -ECANCELED, false, true },
	{ "group_wait, elsewhere", 1, call_group, end_child, 0, -EIO, -ECANCELED, false, true },
	{ "op_wait", 0, call_read, write_byte, 1, -EBADF, 1, true, false },
};

/* --- a cell --- */

static int subject(void *arg)
{
	struct cell *c = arg;

	torc_scope_enter(&c->scope, c->situation == DEADLINE_BEFORE ? 0 : TORC_NEVER);
	if (c->situation == CANCELLED_BEFORE || in_shield(c->situation))
		torc_scope_cancel(&c->scope);
	if (in_shield(c->situation))
		torc_scope_enter_shield(&c->shield, TORC_NEVER);
	c->result = c->row->call(c);
	if (!completes(c->situation) && !c->row->once)
		c->again = c->row->call(c);
	if (in_shield(c->situation))
		torc_scope_leave(&c->shield);
	torc_scope_leave(&c->scope);
	return 0;
}

static void bring_about(struct cell *c)
{
	const struct torc__fiber *f = c->subject.fiber;

	switch (c->situation) {
	case CANCELLED: torc_scope_cancel(&c->scope); break;
	case DEADLINE: torc_scope_set_deadline(&c->scope, torc_turn_ns()); break;
	case SHIELD_DEADLINE: torc_scope_set_deadline(&c->shield, torc_turn_ns()); break;
	case COMPLETED_FIRST:
		c->row->complete(c);
		while (f->state == TORC__PARKED) /* we stand before it in the run queue */
			torc_yield();
		check_eq(f->state, TORC__READY);
		torc_scope_cancel(&c->scope);
		break;
	case CANCELLED_FIRST:
		torc_scope_cancel(&c->scope);
		c->row->complete(c);
		break;
	case CANCELLED_BEFORE:
	case DEADLINE_BEFORE: break;
	default: c->row->complete(c);
	}
}

static int expected(const struct cell *c)
{
	switch (c->situation) {
	case SUCCESS:
	case SHIELDED: return c->row->success;
	case ERROR: return c->row->error;
	case DEADLINE_BEFORE:
	case DEADLINE:
	case SHIELD_DEADLINE: return -ETIMEDOUT;
	case COMPLETED_FIRST: return c->row->completed_first;
	default: return -ECANCELED;
	}
}

static void judge(const struct cell *c)
{
	bool right = c->result == expected(c) || (c->situation == CANCELLED_FIRST &&
						  c->row->either && c->result == c->row->success);

	/* again and again, until the scope is left */
	if (!completes(c->situation) && !c->row->once)
		right = right && c->again == expected(c);
	if (!right)
		fprintf(stderr, "%s, %s: returned %d, then %d, expected %d\n", c->row->name,
			situations[c->situation], c->result, c->again, expected(c));
	check(right);
}

/* A call that failed by its scope has had no effect: the same one succeeds outside of the scope. */
static void repeat(struct cell *c)
{
	int left = 0;

	if ((c->result == -ECANCELED || c->result == -ETIMEDOUT) && !c->row->once) {
		if (!completes(c->situation))
			c->row->complete(c);
		check_eq(c->row->call(c), c->row->success);
	}
	check_eq(ioctl(c->pipe[0], FIONREAD, &left), 0);
	check_eq(left, c->situation == ERROR && c->row->call == call_read);
}

static void try_cell(const struct row *row, enum situation situation)
{
	struct cell c = { .row = row, .situation = situation };
	struct torc_group g;

	check_eq(pipe2(c.pipe, O_CLOEXEC), 0);
	check_eq(nop(), 0); /* a turn begins, and lasts until the situation is there */
	c.moment_ns = completes(situation) ? torc_now_ns() + TORC_MS(1) : TORC_NEVER;
	torc_group_enter_supervisor(&g);
	if (row->call == call_join)
		check_eq(torc_group_spawn_with(&g,
					       HOW(.loop = TORC_ON_LOOP(row->loop),
						   .task = &c.child),
					       child, &c),
			 0);
	check_eq(torc_group_spawn_with(&g, HOW(.task = &c.subject), subject, &c), 0);
	check_eq(torc_yield(), 0); /* it waits, or has been refused */
	bring_about(&c);
	check_eq(torc_task_join(&c.subject), 0);
	judge(&c);
	repeat(&c);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	close(c.pipe[0]);
	close(c.pipe[1]);
}

static int try_all(void *arg)
{
	(void)arg;
	for (size_t r = 0; r < COUNT(rows); r++)
		for (enum situation s = 0; s < SITUATIONS; s++)
			if (s != ERROR || rows[r].error)
				try_cell(&rows[r], s);
	return 0;
}

Test(matrix, every_suspending_call_in_every_situation)
{
	static const char *const features[] = { "", "defer_taskrun", "single_issuer", "msg_ring" };

	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		cr_assert_eq(run_with(OPTIONS(.loops = 2), try_all, NULL), 0);
	}
}
