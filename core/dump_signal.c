#include "core/internal/dump_signal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "core/internal/fiber.h"
#include "core/internal/runtime.h"

#define SAMPLE_NS UINT64_C(200000000)

static struct sigaction previous;
static int installed; /* the signal, or 0 */

static _Atomic(struct torc__runtime *) open_runtime;
static atomic_int handlers; /* that run right now: they may be using the runtime */

/* --- the handler --- */

static struct torc__context interrupted(const ucontext_t *u)
{
#if defined(__x86_64__)
	return (struct torc__context){
		.sp = (void *)u->uc_mcontext.gregs[REG_RSP],
		.fp = (void *)u->uc_mcontext.gregs[REG_RBP],
		.pc = (void *)u->uc_mcontext.gregs[REG_RIP],
	};
#else
	return (struct torc__context){
		.sp = (void *)u->uc_mcontext.sp,
		.fp = (void *)u->uc_mcontext.regs[29],
		.pc = (void *)u->uc_mcontext.pc,
	};
#endif
}

/*
 * Where the interrupted code is. In one place there is no frame to begin with: at the end of torc__switch, with
 * the registers of a fiber that is to begin. That one is the loop's current fiber already.
 */
static int look(const struct torc__fiber *f, const ucontext_t *u, const void **addresses)
{
	struct torc__context here = interrupted(u);

	if (f && !here.fp && here.sp == f->context.sp)
		return torc__unwind_context(&f->context, addresses, TORC__FRAMES_MOST);
	return torc__unwind_interrupted(here.pc, addresses, TORC__FRAMES_MOST);
}

static void take_sample(struct torc__loop *loop, const void *context)
{
	struct torc__sample *s = &loop->sample;
	const struct torc__fiber *f = loop->current;
	unsigned wanted = TORC__SAMPLE_WANTED;

	if (!atomic_compare_exchange_strong(&s->state, &wanted, TORC__SAMPLE_TAKING))
		return;
	s->in_fiber = f;
	s->name[0] = '\0';
	if (f && f->name)
		strncpy(s->name, f->name, sizeof(s->name) - 1);
	s->entry = f ? (const void *)(uintptr_t)f->fn : NULL;
	s->spawn_site = f ? f->spawn_site : NULL;
	s->count = look(f, context, s->addresses);
	atomic_store(&s->state, TORC__SAMPLE_DONE);
	torc__futex_wake(&s->state);
}

static void ask_for_dump(void)
{
	struct torc__runtime *rt;

	atomic_fetch_add(&handlers, 1);
	rt = atomic_load(&open_runtime);
	if (rt) {
		atomic_store(&rt->pause.asked, true);
		for (int i = 0; i < rt->loop_count; i++)
			torc__attention_call(rt->loops[i]);
	}
	atomic_fetch_sub(&handlers, 1);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	struct torc__loop *loop = torc__loop();

	(void)number;
	if (info->si_code != SI_QUEUE || info->si_value.sival_ptr != &installed)
		ask_for_dump();
	else if (loop)
		take_sample(loop, context);
	errno = saved;
}

/* --- install and remove --- */

int torc__dump_signal_check(const struct torc_options *options)
{
	int n = options->dump_signal;

	if (n < TORC_NO_SIGNAL || n > SIGRTMAX || (n > SIGSYS && n < SIGRTMIN))
		return -EINVAL;
	switch (n) {
	case SIGKILL:
	case SIGSTOP:
	case SIGSEGV:
	case SIGBUS:
	case SIGABRT:
	case SIGPIPE:
	case SIGXFSZ: return -EINVAL;
	case SIGINT:
	case SIGTERM: return options->no_signals ? 0 : -EINVAL;
	default: return 0;
	}
}

/* By default it is SIGQUIT, unless the program has its own plans with that. */
static int wanted_signal(const struct torc_options *options)
{
	struct sigaction now;

	if (options->dump_signal)
		return options->dump_signal;
	if (options->no_signals || sigaction(SIGQUIT, NULL, &now) < 0 ||
	    now.sa_flags & SA_SIGINFO || now.sa_handler != SIG_DFL)
		return TORC_NO_SIGNAL;
	return SIGQUIT;
}

/* What is called for the first time is looked up by the dynamic linker, and that is not for handlers. */
static void bind_unwinder(void)
{
	struct torc__context here;
	const void *address;

	torc__context_here(&here);
	torc__unwind_context(&here, &address, 1);
}

void torc__dump_signal_install(const struct torc_options *options)
{
	struct sigaction action = { .sa_sigaction = on_signal,
				    .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
	int number = wanted_signal(options);

	installed = 0;
	if (number == TORC_NO_SIGNAL)
		return;
	bind_unwinder();
	sigemptyset(&action.sa_mask);
	if (!sigaction(number, &action, &previous))
		installed = number;
}

void torc__dump_signal_remove(void)
{
	if (installed)
		sigaction(installed, &previous, NULL);
	installed = 0;
}

int torc__dump_signal_number(void)
{
	return installed;
}

void torc__dump_signal_open(struct torc__runtime *rt)
{
	atomic_store(&open_runtime, rt);
}

void torc__dump_signal_close(struct torc__runtime *rt)
{
	atomic_store(&open_runtime, NULL);
	while (atomic_load(
		&handlers)) /* one that has seen the runtime is done with it in no time */
		sched_yield();
	atomic_store(&rt->pause.asked,
		     false); /* the mail that tells of it may be delivered later */
}

/* --- samples --- */

void torc__sample_ask(struct torc__loop *loop)
{
	unsigned none = TORC__SAMPLE_NONE;

	if (atomic_load(&loop->sample.state) == TORC__SAMPLE_DONE)
		torc__sample_release(loop); /* it came too late for the last dump */
	/* Without an alternate stack the handler would need more room than a fiber may have left. */
	if (!installed || !loop->alt_stack ||
	    !atomic_compare_exchange_strong(&loop->sample.state, &none, TORC__SAMPLE_WANTED))
		return;
	if (pthread_sigqueue(loop->thread, installed, (union sigval){ .sival_ptr = &installed }))
		atomic_store(&loop->sample.state, TORC__SAMPLE_NONE);
}

bool torc__sample_await(struct torc__loop *loop)
{
	atomic_uint *state = &loop->sample.state;
	uint64_t now = torc_now_ns(), until = now + SAMPLE_NS;
	unsigned s, wanted = TORC__SAMPLE_WANTED;

	while ((s = atomic_load(state)) != TORC__SAMPLE_DONE && s != TORC__SAMPLE_NONE &&
	       now < until) {
		torc__futex_wait(state, s, until - now);
		now = torc_now_ns();
	}
	if (s == TORC__SAMPLE_WANTED)
		atomic_compare_exchange_strong(state, &wanted, TORC__SAMPLE_NONE);
	return s == TORC__SAMPLE_DONE;
}

void torc__sample_release(struct torc__loop *loop)
{
	atomic_store(&loop->sample.state, TORC__SAMPLE_NONE);
}
