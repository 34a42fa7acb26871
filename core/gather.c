#include <torc/core/gather.h>

#include <errno.h>

#include "core/internal/group.h"

static void set_results(struct torc_call *calls, size_t n, int result)
{
	for (size_t i = 0; i < n; i++)
		calls[i].result = result;
}

static int spawn(struct torc_group *g, struct torc_call *c, const void *site)
{
	struct torc_spawn_options o = { .name = c->name, .loop = c->loop, .task = &c->task };

	return torc__group_spawn(g, &o, c->fn, c->arg, site);
}

/*
 * Start calls, up to the first that cannot be started: it gets the error as its result, those after it -ECANCELED.
 * Returns how many were started.
 */
static size_t spawn_all(struct torc_group *g, struct torc_call *calls, size_t n, int *ret_error,
			const void *site)
{
	for (size_t i = 0; i < n; i++) {
		*ret_error = spawn(g, &calls[i], site);
		if (*ret_error < 0) {
			set_results(calls + i, n - i, -ECANCELED);
			calls[i].result = *ret_error;
			return i;
		}
	}
	return n;
}

/* The results of calls that have ended. Returns how many were cut short by a cancellation. */
static size_t take_results(struct torc_call *calls, size_t n)
{
	size_t echoes = 0;

	for (size_t i = 0; i < n; i++) {
		calls[i].result = calls[i].task.result;
		echoes += calls[i].task.echo;
	}
	return echoes;
}

int torc_gather(struct torc_call *calls, size_t n)
{
	struct torc_group g;
	size_t started, echoes;
	int r = torc__scope_check(torc__self()), error = 0;

	set_results(calls, n, r);
	if (r < 0)
		return r;
	torc_group_enter(&g);
	started = spawn_all(&g, calls, n, &error, __builtin_return_address(0));
	if (error)
		torc_group_cancel_with(&g, "another call could not be started");
	r = torc_group_wait(&g);
	echoes = take_results(calls, started);
	if (error)
		return error;
	/* What came too late to cut any of them short has changed nothing. */
	return g.failure || echoes ? r : 0;
}

int torc_gather_all(struct torc_call *calls, size_t n)
{
	const void *site = __builtin_return_address(0);
	struct torc_group g;
	size_t failed = 0, echoes = 0;
	int r = torc__scope_check(torc__self());

	set_results(calls, n, r);
	if (r < 0)
		return r;
	torc_group_enter_supervisor(&g);
	for (size_t i = 0; i < n; i++)
		calls[i].result = spawn(&g, &calls[i], site);
	r = torc_group_wait(&g);
	for (size_t i = 0; i < n; i++) {
		if (calls[i].result == 0) /* it was started */
			echoes += take_results(&calls[i], 1);
		failed += calls[i].result < 0;
	}
	return r < 0 && echoes ? r : (int)failed;
}

struct race {
	struct torc_group group;
	struct torc_call *winner; /* NULL: none yet */
	enum torc_race_end end;
	int failure;    /* the first */
	bool cut_short; /* a call was cancelled before there was a winner */
};

/* One call has ended. Who was cut short does not win. */
static void judge(struct race *race, struct torc_task *task)
{
	if (race->winner)
		return;
	if (task->echo)
		race->cut_short = true;
	else if (task->result >= 0 || race->end == TORC_FIRST_DONE)
		race->winner = torc__container_of(task, struct torc_call, task);
	else if (!race->failure)
		race->failure = task->result;
}

/* Until somebody wins, all have ended, or the caller is cancelled. */
static void watch(struct race *race)
{
	struct torc_task *task;

	while (!race->winner && torc_group_next(&race->group, &task) > 0)
		judge(race, task);
}

/* Cancel the rest and wait for it. */
static void stop(struct race *race, const char *reason)
{
	struct torc_task *task;

	torc_group_cancel_with(&race->group, reason);
	torc_group_wait(&race->group);
	while ((task = torc__task_take(&race->group)))
		judge(race, task);
}

int torc_race(struct torc_call *calls, size_t n, enum torc_race_end end, size_t *ret_winner)
{
	struct torc__fiber *f = torc__self();
	struct race race = { .end = end };
	size_t started;
	int r = torc__scope_check(f), error = 0;

	set_results(calls, n, r);
	if (r < 0)
		return r;
	if (!n)
		return -EINVAL;
	torc_group_enter_supervisor(&race.group);
	started = spawn_all(&race.group, calls, n, &error, __builtin_return_address(0));
	if (!error)
		watch(&race);
	stop(&race, error ? "another call could not be started" : "another call won the race");
	take_results(calls, started);
	if (race.winner) {
		if (ret_winner)
			*ret_winner = (size_t)(race.winner - calls);
		return race.winner->result;
	}
	if (error)
		return error;
	/* With no winner, only the caller's scope can have cut one short. */
	return race.cut_short ? f->scope->status : race.failure;
}
