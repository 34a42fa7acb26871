/*
 * core/local.h - values of a fiber, which the fibers that it starts inherit: a request's id, a logger, a
 * deadline's name, whatever would else be one more argument of every function on the way.
 *
 *	static struct torc_local request_id = TORC_LOCAL(free);
 *
 *	r = torc_local_set(&request_id, strdup(id));
 *	...
 *	log_line("%s: %s", torc_local_get(&request_id), text);	here, and in all that is spawned from here
 *
 * A fiber starts with the values that its spawner has when it calls torc_group_spawn or torc_detach,
 * whoever owns the group and whichever loop the fiber runs on. From then on the two are independent: what
 * one of them sets the other does not see. The values are not copied but shared, and destroyed when the
 * last fiber that has them ends, sets another value or takes it away. So what is inherited across loops
 * must be safe to read from several threads at once, and to destroy on any of them.
 *
 * A key that is not inherited is what a thread-local variable is to a thread: each fiber starts with the
 * initial value. Its values never leave their fiber.
 *
 * Starting a fiber costs no more for having values, but for a first copy of the table when it is for
 * another loop. Looking one up is a search among those that are set: use one key for a structure rather
 * than ten keys.
 */
#ifndef TORC_CORE_LOCAL_H
#define TORC_CORE_LOCAL_H

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* So many keys can have a value in one fiber, and as many again that are not inherited. */
#define TORC_LOCALS_MAX 64

/*
 * A key: an object of the program that is never freed, known by its address. Zeroed means: inherited, NULL
 * at first, nothing to destroy.
 *
 * The destructor runs once for each value that was set, but for NULL; never for `initial`. Mostly it runs at
 * the end of a fiber: when its function has returned, before its group can learn of it. Then those of keys
 * that are not inherited come first, and in either kind those last set for the first time. It finds the
 * fiber without values. It must not suspend, nor set or take away values: at a fiber's end both trap. It may
 * also run outside of any fiber, when a spawn on another loop fails there.
 */
struct torc_local {
	void (*destroy)(void *value); /* may be NULL */
	void *initial;                /* what a fiber has in which none is set */
	bool not_inherited;
};

/* Initialises a key by its destructor, or NULL. */
#define TORC_LOCAL(destroy)            \
	{                              \
		(destroy), NULL, false \
	}

/*
 * torc_local_get - the calling fiber's value of a key, or the key's initial one.
 *
 * Borrowed: valid until this fiber sets another one, takes it away or ends.
 *
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API void *torc_local_get(const struct torc_local *key);

/*
 * torc_local_set - give the calling fiber a value, which is destroyed once no fiber has it any more.
 *
 * The one it had is let go of after that. Setting the very value that it has changes nothing.
 *
 *   @value  the key's from now on; on failure it is still the caller's
 *
 * Returns     0
 *             -ENOMEM   no memory; the fiber keeps the value that it has
 *             -ENOSPC   TORC_LOCALS_MAX other keys have a value
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_local_set(const struct torc_local *key, void *value);

/*
 * torc_local_unset - take the calling fiber's value away: it has the initial one again.
 *
 * Returns     0         also if none was set
 *             -ENOMEM   no memory to part with the fibers that share it; the fiber keeps the value. Not
 *                       when no fiber was started since this one last set or took away a value
 * Suspends    never
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_local_unset(const struct torc_local *key);

TORC_END_DECLS

#endif
