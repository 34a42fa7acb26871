/*
 * core/internal/bell.h - bells: how one process tells another one that there is something in the memory they share.
 *
 * A word in that memory, on which futex(2) works across processes, so that whoever rings needs no file descriptor:
 *
 *	who sleeps					who rings
 *	look for news: none				put the news into the memory
 *	0 -> ASLEEP, or there is RUNG: look again	old = word |= RUNG
 *	sleep while the word is ASLEEP			if old was ASLEEP: FUTEX_WAKE
 *	word = 0, look for the news
 *
 * The word is changed by atomic operations that are sequentially consistent: who rings finds ASLEEP, or who goes to sleep
 * finds RUNG. A loop sleeps in its ring, by IORING_OP_FUTEX_WAIT (Linux 6.7), which stays armed over turns that
 * something else has ended.
 *
 * AWAY instead of 0: nobody listens just now, and who rings tells somebody else. That is the bell of a thread which does
 * not wait, of a loop that has ended, and, where a ring cannot wait for futexes, of a loop that sleeps.
 *
 * The other process may be broken, and write anything, or die before its FUTEX_WAKE. So any word but 0 and ASLEEP means that
 * there may be news; its death is told another way, and then those who are still asleep are woken (torc__bells_rescue).
 */
#ifndef TORC_CORE_INTERNAL_BELL_H
#define TORC_CORE_INTERNAL_BELL_H

#include <linux/futex.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

struct torc__loop;

#define TORC__BELL_RUNG   1u
#define TORC__BELL_ASLEEP 2u
#define TORC__BELL_AWAY   4u

/* Each on a cache line of its own. */
struct torc__bell {
	_Alignas(64) uint32_t word;
	uint32_t cpu; /* of who has rung it last */
};

/* Returns false: nobody listens. */
static inline bool torc__bell_ring(struct torc__bell *bell)
{
	uint32_t old;

	__atomic_store_n(&bell->cpu, (uint32_t)sched_getcpu(), __ATOMIC_RELAXED);
	old = __atomic_fetch_or(&bell->word, TORC__BELL_RUNG, __ATOMIC_SEQ_CST);
	if ((old & (TORC__BELL_RUNG | TORC__BELL_ASLEEP)) == TORC__BELL_ASLEEP)
		(void)syscall(SYS_futex, &bell->word, FUTEX_WAKE, 1, NULL, NULL, 0);
	return !(old & TORC__BELL_AWAY);
}

static inline bool torc__bell_rung(const struct torc__bell *bell)
{
	return __atomic_load_n(&bell->word, __ATOMIC_ACQUIRE) &
	       ~(TORC__BELL_ASLEEP | TORC__BELL_AWAY);
}

/*
 * Is it worth to look out for the next ring before sleeping? Not if who rings was last seen on this very core, which it needs
 * to do so.
 */
static inline bool torc__bell_from_elsewhere(const struct torc__bell *bell)
{
	return __atomic_load_n(&bell->cpu, __ATOMIC_RELAXED) != (uint32_t)sched_getcpu();
}

/* Before one looks for the news. */
static inline void torc__bell_clear(struct torc__bell *bell)
{
	(void)__atomic_exchange_n(&bell->word, 0, __ATOMIC_SEQ_CST);
}

/* Listen no more. Returns whether it was rung, and nobody else was told. */
static inline bool torc__bell_leave(struct torc__bell *bell)
{
	uint32_t old = __atomic_exchange_n(&bell->word, TORC__BELL_AWAY, __ATOMIC_SEQ_CST);

	return old & TORC__BELL_RUNG && !(old & TORC__BELL_AWAY);
}

/* Returns false: it was rung. */
static inline bool torc__bell_sleepy(struct torc__bell *bell)
{
	uint32_t none = 0;

	return __atomic_compare_exchange_n(&bell->word, &none, TORC__BELL_ASLEEP, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) ||
	       none == TORC__BELL_ASLEEP;
}

/* ---- files that are handed to another program ---------------------------------------------------------- */

/* The same file at a number that is no other program's to expect; the old one is closed in any case. Or a negative errno. */
int torc__move_fd_up(int fd);

/* A file of so many bytes, of which none has memory yet, at such a number; or a negative errno: -EFBIG by RLIMIT_FSIZE. */
int torc__shared_file(const char *name, uint64_t bytes);

/* ---- the bells of loops and threads -------------------------------------------------------------------- */

/* As many as a runtime has loops at most; and those of other threads behind them. */
#define TORC__BELLS_LOOPS 256u
#define TORC__BELLS       512u

/*
 * The memory that has them all, as a file to be mapped by others; once made it stays for the life of this process. Returns
 * a file descriptor, or a negative errno. Any thread.
 */
int torc__bells_open(void);

/* Wake all whose bell was rung, and who may not have been woken. Any thread. */
void torc__bells_rescue(void);

/* In a child that was forked from a process with bells: it has none. */
void torc__bells_forget(void);

/* One of them, after that. */
struct torc__bell *torc__bell_at(unsigned index);

/*
 * Have a loop answer its bell from now on, by calling on_rung outside of any fiber. The loop's thread.
 */
void torc__loop_answer(struct torc__loop *loop, void (*on_rung)(struct torc__loop *loop));

/* For the turn of a loop that has one. */
void torc__loop_bell_answer(struct torc__loop *loop);

/* Sleep may begin. Returns false when it was rung. */
bool torc__loop_bell_armed(struct torc__loop *loop);

/* Sleep is over. */
void torc__loop_bell_awake(struct torc__loop *loop);

/* It ends. */
void torc__loop_bell_close(struct torc__loop *loop);

#endif
