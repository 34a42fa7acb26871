/*
 * io/signal.c - from handlers to channels.
 *
 *	any thread	on_signal	marks the number in each subscription that has asked for it, and writes to
 *					its eventfd
 *	its loop	on_read		takes the marks, and sends the numbers into the channel
 *
 * A channel has room for each of its numbers once, and a number that is in it already is not sent again. So it is never
 * full, and no number is ever left behind for one that comes often.
 */
#include <torc/io/signal.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <torc/core/run.h>
#include <torc/core/sys.h>

#include "core/internal/chan.h"
#include "core/internal/dump_signal.h"
#include "core/internal/fiber.h"
#include "core/internal/runtime.h"
#include "io/internal/call.h"

#define NUMBERS 64

/* Changed under the lock. Handlers read the list without it: who unlinks waits until those that run have ended. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct torc_signals *first;
static unsigned handlers; /* that run right now */

/* How many have asked for a signal, and what was set before the first did. Under the lock. */
static struct {
	unsigned users;
	struct sigaction before;
} taken[NUMBERS + 1];

static uint64_t bit(int number)
{
	return UINT64_C(1) << (number - 1);
}

/* --- the handler --- */

static void on_signal(int number)
{
	const uint64_t one = 1;
	int saved = errno;
	struct torc_signals *s;

	__atomic_fetch_add(&handlers, 1, __ATOMIC_SEQ_CST);
	for (s = __atomic_load_n(&first, __ATOMIC_SEQ_CST); s;
	     s = __atomic_load_n(&s->next, __ATOMIC_SEQ_CST)) {
		if (!(s->set & bit(number)))
			continue;
		__atomic_fetch_or(&s->pending, bit(number), __ATOMIC_SEQ_CST);
		/* It cannot be full, and a process that was forked off only wakes this one for nothing. */
		(void)!write(s->fd, &one, sizeof(one));
	}
	__atomic_fetch_sub(&handlers, 1, __ATOMIC_SEQ_CST);
	errno = saved;
}

/* Those that have seen what is no longer in the list are done with it in no time. */
static void await_handlers(void)
{
	while (__atomic_load_n(&handlers, __ATOMIC_SEQ_CST))
		sched_yield();
}

/* --- into the channel --- */

static bool is_waiting(struct torc_signals *s, int number)
{
	struct torc_chan *c = &s->chan;
	bool owned = torc__guard_enter(s->loop, &c->guard), found = false;

	for (uint32_t i = 0; i < c->count && !found; i++) {
		int item;

		memcpy(&item, c->items + ((c->first + i) % c->capacity) * sizeof(item),
		       sizeof(item));
		found = item == number;
	}
	torc__guard_leave(s->loop, &c->guard, owned);
	return found;
}

/* Nobody else sends: what is not in it finds room. */
static void hand_out(struct torc_signals *s)
{
	uint64_t marks = __atomic_exchange_n(&s->pending, 0, __ATOMIC_SEQ_CST);

	for (int n = 1; n <= NUMBERS && marks; n++) {
		if (marks & bit(n) && !is_waiting(s, n))
			(void)!torc_chan_try_send(&s->chan, &n);
		marks &= ~bit(n);
	}
}

static void on_read(struct torc_op *op, int res, unsigned cqe_flags)
{
	struct torc_signals *s = torc__container_of(op, struct torc_signals, op);

	(void)cqe_flags;
	if (res != -ECANCELED) {
		hand_out(s);
		torc__turn_defer(s->loop, &s->rearm); /* no operation can be started here */
	}
	torc__slot_wake(&s->closer);
}

static void arm(struct torc_signals *s)
{
	struct io_uring_sqe *sqe = torc_op_start(&s->op, on_read);

	io_uring_prep_read(sqe, s->fd, &s->value, sizeof(s->value), 0);
}

static void run_rearm(struct torc__turn_work *work)
{
	struct torc_signals *s = torc__container_of(work, struct torc_signals, rearm);

	if (s->closing)
		torc__slot_wake(&s->closer); /* which waits for this very run */
	else
		arm(s);
}

/* --- which signals --- */

static int check_number(int number, const struct torc_options *options)
{
	if (number < 1 || number > NUMBERS || (number >= __SIGRTMIN && number < SIGRTMIN))
		return -EINVAL;
	switch (number) {
	case SIGKILL:
	case SIGSTOP:
	case SIGSEGV:
	case SIGBUS:
	case SIGILL:
	case SIGFPE:
	case SIGTRAP:
	case SIGSYS:
	case SIGABRT:
	case SIGPIPE:
	case SIGXFSZ: return -EINVAL;
	case SIGINT:
	case SIGTERM:
		if (!options->no_signals)
			return -EBUSY;
	}
	return number == torc__dump_signal_number() ? -EBUSY : 0;
}

static int make_set(const int *numbers, size_t count, uint64_t *ret_set)
{
	const struct torc_options *options = torc__self()->loop->runtime->options;

	*ret_set = 0;
	for (size_t i = 0; i < count; i++) {
		int r = check_number(numbers[i], options);

		if (r < 0)
			return r;
		*ret_set |= bit(numbers[i]);
	}
	return count ? 0 : -EINVAL;
}

/* --- from the process --- */

/* Let the loop's own thread have them: there might be no other. Returns which it had blocked. */
static uint64_t unblock(uint64_t set)
{
	uint64_t blocked = 0;
	sigset_t ours, old;

	sigemptyset(&ours);
	for (int n = 1; n <= NUMBERS; n++)
		if (set & bit(n))
			sigaddset(&ours, n);
	pthread_sigmask(SIG_UNBLOCK, &ours, &old);
	for (int n = 1; n <= NUMBERS; n++)
		if (set & bit(n) && sigismember(&old, n))
			blocked |= bit(n);
	return blocked;
}

/* Block what this one has unblocked, unless another one of the same loop needs it: then that one has to. */
static void block_again(const struct torc_signals *s)
{
	uint64_t left = s->unblocked;
	sigset_t set;

	for (struct torc_signals *other = first; other; other = other->next)
		if (other->loop == s->loop) {
			other->unblocked |= left & other->set;
			left &= ~other->set;
		}
	sigemptyset(&set);
	for (int n = 1; n <= NUMBERS; n++)
		if (left & bit(n))
			sigaddset(&set, n);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void take(uint64_t set)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	for (int n = 1; n <= NUMBERS; n++)
		if (set & bit(n) && !taken[n].users++)
			sigaction(n, &action, &taken[n].before);
}

static void give_back(uint64_t set)
{
	for (int n = 1; n <= NUMBERS; n++)
		if (set & bit(n) && !--taken[n].users)
			sigaction(n, &taken[n].before, NULL);
}

static void subscribe(struct torc_signals *s)
{
	pthread_mutex_lock(&lock);
	s->next = first;
	__atomic_store_n(&first, s, __ATOMIC_SEQ_CST);
	take(s->set);
	s->unblocked = unblock(s->set);
	pthread_mutex_unlock(&lock);
}

static void unsubscribe(struct torc_signals *s)
{
	struct torc_signals **link = &first;

	pthread_mutex_lock(&lock);
	while (*link != s)
		link = &(*link)->next;
	__atomic_store_n(link, s->next, __ATOMIC_SEQ_CST);
	block_again(s);
	give_back(s->set);
	pthread_mutex_unlock(&lock);
	await_handlers();
}

/* --- open and close --- */

int torc_signals_open(struct torc_signals *s, const int *numbers, size_t count)
{
	struct torc__fiber *f = torc__self();
	uint64_t set;
	int r = torc__scope_check(f);

	if (r < 0)
		return r;
	if (!torc__on_linux())
		return -ENOSYS;
	r = make_set(numbers, count, &set);
	if (r < 0)
		return r;
	*s = (struct torc_signals){ .loop = f->loop, .set = set, .rearm.run = run_rearm };
	r = torc_chan_init(&s->chan, sizeof(int), (size_t)__builtin_popcountll(set));
	if (r < 0)
		return r;
	s->fd = torc_sys_eventfd(0, EFD_NONBLOCK);
	if (s->fd < 0) {
		torc_chan_done(&s->chan);
		return s->fd;
	}
	arm(s);
	subscribe(s);
	return 0;
}

int torc_signals_next(struct torc_signals *s)
{
	int number, r = torc_chan_recv(&s->chan, &number);

	return r > 0 ? number : r;
}

static const struct torc__wait_kind close_kind = { "signals close", NULL, NULL };

void torc_signals_close(struct torc_signals *s)
{
	torc__check(torc__self()->loop == s->loop, "signals are closed by another loop's fiber");
	unsubscribe(s);
	s->closing = true;
	torc_op_cancel(&s->op);
	while (torc_op_pending(&s->op) || s->rearm.queued)
		torc__slot_wait(&s->closer, &close_kind);
	torc_sys_close(s->fd);
	torc_chan_done(&s->chan);
}
