/*
 * core/defer.h - clean-up that is written where the need for it arises, and runs however the block is left.
 *
 *	fd = torc_open(path, O_RDONLY, 0);
 *	if (fd < 0)
 *		return fd;
 *	torc_defer(close_fd, &fd);
 *	buf = malloc(size);
 *	if (!buf)
 *		return -ENOMEM;			closes fd
 *	torc_defer(free, buf);
 *	return copy(fd, buf, size);		frees buf, then closes fd, after the call
 *
 * It runs at the end of the enclosing block: by falling out, return, break, continue or goto; in C++ by an
 * exception too. Last deferred, first run. Not by longjmp, abort or exit.
 *
 * A goto or switch must not jump forward over it within its block: the clean-up would run at the end of that
 * block without having been set up. gcc says nothing then, clang refuses to compile it. So either defer or
 * `goto out`, not both in one function.
 *
 * The clean-up may suspend in a fiber. In a cancelled scope it then fails like everything else: begin a
 * shield scope in it (core/scope.h).
 */
#ifndef TORC_CORE_DEFER_H
#define TORC_CORE_DEFER_H

#include <torc/core/api.h>

/*
 * torc_defer - call fn(arg) when the enclosing block is left. A declaration: not after a label or a case.
 *
 *   @fn   void (*)(void *)
 *   @arg  evaluated now
 */
#define torc_defer(fn, arg)                                                              \
	__attribute__((cleanup(torc__deferred_run), unused)) const struct torc__deferred \
	TORC__DEFERRED(__COUNTER__) = { (fn), (arg) }

struct torc__deferred {
	void (*fn)(void *arg);
	void *arg;
};

static inline void torc__deferred_run(const struct torc__deferred *deferred)
{
	deferred->fn(deferred->arg);
}

#define TORC__DEFERRED(n)  TORC__DEFERRED_(n)
#define TORC__DEFERRED_(n) torc__deferred_##n

#endif
