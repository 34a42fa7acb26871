#include "core/internal/pause.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "core/internal/dump.h"
#include "core/internal/loop.h"
#include "core/internal/runtime.h"

void torc__futex_wait(atomic_uint *word, unsigned value, uint64_t timeout_ns)
{
	struct timespec ts = { .tv_sec = (time_t)(timeout_ns / 1000000000u),
			       .tv_nsec = (long)(timeout_ns % 1000000000u) };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns == TORC_NEVER ? NULL : &ts,
		NULL, 0);
}

void torc__futex_wake(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void stand_still(struct torc__loop *loop, unsigned number)
{
	struct torc__pause *pause = &loop->runtime->pause;

	atomic_store(&loop->attention.paused, number);
	atomic_fetch_add(&pause->arrived, 1);
	torc__futex_wake(&pause->arrived);
	while (atomic_load(&pause->number) == number)
		torc__futex_wait(&pause->number, number, TORC_NEVER);
}

static void attend(struct torc__loop *loop, struct torc__mail *mail)
{
	struct torc__pause *pause = &loop->runtime->pause;
	unsigned number;

	(void)mail;
	atomic_store(&loop->attention.queued, false);
	number = atomic_load(&pause->number);
	if (number & 1)
		stand_still(loop, number);
	if (atomic_exchange(&pause->asked, false))
		(void)torc__dump(loop, STDERR_FILENO); /* there is nobody to tell of a failure */
}

void torc__attention_call(struct torc__loop *loop)
{
	if (!atomic_exchange(&loop->attention.queued, true)) {
		loop->attention.mail.deliver = attend;
		torc__mailbox_push(&loop->mailbox, &loop->attention.mail);
	}
	torc__loop_wake_by_fd(loop);
}

static unsigned claim(struct torc__loop *self)
{
	struct torc__pause *pause = &self->runtime->pause;
	unsigned number = atomic_load(&pause->number);

	for (;;) {
		if (number & 1) {
			stand_still(self, number);
			number = atomic_load(&pause->number);
		} else if (atomic_compare_exchange_weak(&pause->number, &number, number + 1)) {
			return number + 1;
		}
	}
}

static bool all_answered(struct torc__runtime *rt, unsigned number)
{
	bool all = true;

	for (int i = 0; i < rt->loop_count; i++) {
		struct torc__attention *a = &rt->loops[i]->attention;

		a->answered = atomic_load(&a->paused) == number;
		all &= a->answered;
	}
	return all;
}

void torc__pause_begin(struct torc__loop *self)
{
	struct torc__runtime *rt = self->runtime;
	unsigned number = claim(self);
	uint64_t now = torc_now_ns(), until = now + TORC__PAUSE_NS;

	atomic_store(&self->attention.paused, number);
	if (rt->options->sim) { /* the others are on this very thread, between two turns */
		for (int i = 0; i < rt->loop_count; i++)
			rt->loops[i]->attention.answered = true;
		return;
	}
	for (int i = 0; i < rt->loop_count; i++)
		if (rt->loops[i] != self)
			torc__attention_call(rt->loops[i]);
	for (;;) {
		unsigned arrived = atomic_load(&rt->pause.arrived);

		if (all_answered(rt, number) || now >= until)
			return;
		torc__futex_wait(&rt->pause.arrived, arrived, until - now);
		now = torc_now_ns();
	}
}

void torc__pause_end(struct torc__loop *self)
{
	struct torc__pause *pause = &self->runtime->pause;

	atomic_fetch_add(&pause->number, 1);
	torc__futex_wake(&pause->number);
}
