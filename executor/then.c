/*
 * executor/then.c - chains: a future of what is made of another one's value.
 */
#include <errno.h>

#include "core/internal/system.h"
#include "executor/internal/future.h"
#include "executor/internal/worker.h"

/* Two hooks, and it is freed when both have been fired: the next step may be cancelled at any time. */
struct step {
	struct torc__hook before;   /* first: in the line of the future before it */
	struct torc__hook after;    /* in the line of its own */
	struct torc_future *source; /* who completes it has a reference */
	struct step *next;          /* of those that are put off, with a reference to `source` */
	struct torc_future *result; /* a reference, until `after` */
	struct torc_executor *executor;
	torc_then_fn *fn;
	void *arg;
	void *value;
	uint32_t hooks;
};

static void unhooked(struct step *s)
{
	if (__atomic_sub_fetch(&s->hooks, 1, __ATOMIC_ACQ_REL) == 0)
		torc__free(s);
}

static int run_step(void *arg, void **ret_value)
{
	struct step *s = arg;

	return s->fn(s->value, s->arg, ret_value);
}

/* The executor's reference is handed over with it. */
static void start_step(struct step *s, struct torc_executor *executor)
{
	struct torc_future *f = s->result;
	int r;

	if (!executor) {
		torc_future_run(f);
		return;
	}
	torc__queue_no_wait++;
	r = executor->ops->submit(executor, &f, 1);
	torc__queue_no_wait--;
	if (r < 1)
		torc__future_refuse(f, r < 0 ? r : -EAGAIN);
}

static void take_step(struct step *s)
{
	int status = torc__future_read(s->source, &s->value);
	bool cancelled = torc__future_look(s->source) & TORC__FUTURE_CANCELLED;

	if (status >= 0) {
		start_step(s, s->executor);
	} else if (cancelled) {
		torc__future_refuse(s->result, -ECANCELED);
	} else {
		torc__future_refuse(s->result, status);
	}
	unhooked(s);
}

/*
 * A step may complete its future at once, which is the source of the next one: it is put off until this one is
 * through, or long chains would need deep stacks.
 */
static __thread struct step **steps_tail; /* NULL: none is being taken */

static void source_over(struct torc__hook *hook)
{
	struct step *s = (struct step *)hook, *first = NULL;

	if (steps_tail) {
		torc_future_get(s->source);
		s->next = NULL;
		*steps_tail = s;
		steps_tail = &s->next;
		return;
	}
	steps_tail = &first;
	take_step(s);
	while ((s = first)) {
		struct torc_future *source = s->source;

		first = s->next;
		if (!first)
			steps_tail = &first;
		take_step(s);
		torc_future_put(source);
	}
	steps_tail = NULL;
}

static void source_dropped(struct torc__hook *hook)
{
	struct step *s = (struct step *)hook;

	torc__future_refuse(s->result, -EPIPE);
	unhooked(s);
}

static void result_over(struct torc__hook *hook)
{
	struct step *s = torc__container_of(hook, struct step, after);

	torc_future_put(s->result);
	unhooked(s);
}

int torc_then(struct torc_future *f, struct torc_executor *executor, torc_then_fn *fn, void *arg,
	      struct torc_future **ret_future)
{
	struct step *s = torc__malloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	*s = (struct step){
		.before = { .fire = source_over, .drop = source_dropped },
		.after = { .fire = result_over },
		.source = f,
		.executor = executor,
		.fn = fn,
		.arg = arg,
		.hooks = 2,
	};
	/* References: the caller's, the executor's, that of `after`. */
	s->result = torc__future_new(run_step, s, torc__canceller(executor), 3);
	if (!s->result) {
		torc__free(s);
		return -ENOMEM;
	}
	*ret_future = s->result;
	(void)torc__event_hook(&s->result->event, &s->after); /* it is not over yet */
	if (!torc__event_hook(&f->event, &s->before))
		source_over(&s->before);
	return 0;
}
