/*
 * core/internal/mailbox.h - messages from other threads to a loop.
 *
 * Many producers, one consumer, no locks: a stack that producers push to and the owner takes as a whole.
 * Messages are embedded in what they are about, so that posting cannot fail.
 *
 * Sleeping. The owner stores ASLEEP, then looks at the mailbox once more, then waits. A producer pushes,
 * then looks at the state. Both pairs are sequentially consistent, so one of the two sees the other.
 * Only the producer that turns ASLEEP into AWAKE sends a wake-up: one per burst.
 */
#ifndef TORC_CORE_INTERNAL_MAILBOX_H
#define TORC_CORE_INTERNAL_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct torc__loop;
struct torc__mail;

typedef void torc__mail_fn(struct torc__loop *loop, struct torc__mail *mail);

struct torc__mail {
	struct torc__mail *next;
	torc__mail_fn *deliver; /* runs on the receiving loop, outside of any fiber */
	struct torc__loop *to;  /* while it is outgoing: torc__loop_post_later */
};

struct torc__mailbox {
	_Atomic(struct torc__mail *) head;
	atomic_int asleep;
};

/* Returns whether the owner must be woken. Any thread. */
static inline bool torc__mailbox_push(struct torc__mailbox *box, struct torc__mail *mail)
{
	struct torc__mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);

	do
		mail->next = head;
	while (!atomic_compare_exchange_weak(&box->head, &head, mail));
	return atomic_load(&box->asleep) && atomic_exchange(&box->asleep, 0);
}

/* Everything that was pushed, oldest first. The owner only. */
static inline struct torc__mail *torc__mailbox_take(struct torc__mailbox *box)
{
	struct torc__mail *mail, *next, *oldest = NULL;

	if (!atomic_load_explicit(&box->head, memory_order_relaxed))
		return NULL;
	mail = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
	for (; mail; mail = next) {
		next = mail->next;
		mail->next = oldest;
		oldest = mail;
	}
	return oldest;
}

/* Announce sleep; returns false when there is mail after all. The owner only. */
static inline bool torc__mailbox_sleep(struct torc__mailbox *box)
{
	atomic_store(&box->asleep, 1);
	if (!atomic_load(&box->head))
		return true;
	atomic_store_explicit(&box->asleep, 0, memory_order_relaxed);
	return false;
}

/* Is the owner asleep, and nothing there or under way to wake it? Any thread. */
static inline bool torc__mailbox_quiet(struct torc__mailbox *box)
{
	return atomic_load(&box->asleep) && !atomic_load(&box->head);
}

static inline void torc__mailbox_awake(struct torc__mailbox *box)
{
	if (atomic_load_explicit(&box->asleep, memory_order_relaxed))
		atomic_store_explicit(&box->asleep, 0, memory_order_relaxed);
}

#endif
