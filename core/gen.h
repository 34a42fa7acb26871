/*
 * core/gen.h - generators: functions that hand out one value after the other, and stand still in between.
 *
 * Who produces values one by one (the lines of a file, the nodes of a tree, the answers of a search) would
 * like to write a loop, and so would the one who consumes them. With callbacks only one of them can. A generator
 * is a function with a stack of its own that stops where it yields a value and goes on when the next one is
 * asked for:
 *
 *	static int squares(struct torc_gen *g, void *arg)		the body
 *	{
 *		int *count = arg;
 *		int r = 0;
 *
 *		for (intptr_t i = 1; i <= *count && !r; i++)
 *			r = torc_gen_yield(g, (void *)(i * i), NULL);
 *		return r;
 *	}
 *
 *	int main(void)
 *	{
 *		struct torc_gen *g;
 *		int count = 10, r = torc_gen_create(squares, &count, NULL, &g);
 *
 *		if (r < 0)
 *			return 1;
 *		torc_gen_each(value, g) {
 *			if ((intptr_t)value > 50)
 *				break;
 *			printf("%d\n", (int)(intptr_t)value);
 *		}
 *		r = torc_gen_status(g);
 *		torc_gen_destroy(g);
 *		return r < 0;
 *	}
 *
 * The one rule of a body: what torc_gen_yield returns below 0 ends it. Clean up, and return that. It is how a generator
 * learns that nobody wants its other values (TORC_GEN_EXIT), here because of the break.
 *
 * A generator is no fiber: it needs no loop, works in plain C programs and inside of fibers, and costs some 3 ns per
 * value. Its body may call whatever who resumes it may call; inside a fiber that includes calls that suspend
 * the fiber.
 *
 *	            next, send              yield
 *	CREATED ---------------> RUNNING <-----------> SUSPENDED
 *	   |                        |    next, send,
 *	   | close, throw           |    throw, close
 *	   v                        | the body returns
 *	CLOSED <--------------------+
 *
 * What not to do:
 *	- leave a scope or group open over a yield that was entered in the body: it belongs to the fiber that runs
 *	  the body just then. Enter and leave it between two yields
 *	- hold a lock over a yield
 *	- resume one generator from two threads at a time. One after the other is fine, with whatever hands it over
 *	- keep the address of a thread-local variable (errno's is one) over a yield when threads take turns
 *	- longjmp or throw a C++ exception out of a body: it ends by returning
 *	- change the floating-point control words over a yield (core/fiber.h)
 *
 * The semantics are those of Python's generators (PEP 342, PEP 380), with errors for exceptions. The end of a generator
 * is no error, so that of an inner one cannot be mistaken for the outer one's, which took Python PEP 479.
 */
#ifndef TORC_CORE_GEN_H
#define TORC_CORE_GEN_H

#include <errno.h>

#include <torc/core/api.h>
#include <torc/core/context.h>

TORC_BEGIN_DECLS

struct torc_gen;

/*
 * A generator's body. Returns 0 or more when it is finished, or a negative errno, which is what next, send, throw
 * or close return.
 */
typedef int torc_gen_fn(struct torc_gen *g, void *arg);

/* What torc_gen_close throws into the body: nobody wants its other values. */
#define TORC_GEN_EXIT (-ECANCELED)

/* The stack of a generator whose options do not say otherwise. */
#define TORC_GEN_STACK_BYTES ((size_t)16384)

enum torc_gen_state {
	TORC_GEN_CREATED, /* not started */
	TORC_GEN_RUNNING, /* its body runs, or a generator does that it yields from or has resumed */
	TORC_GEN_SUSPENDED, /* its body stands in a yield */
	TORC_GEN_CLOSED,    /* its body has ended, or never will run */
};

/* How to create; zeroed means the defaults. */
struct torc_gen_options {
	const char *name; /* borrowed, must outlive the generator (a literal); default: unnamed */
	/* Default TORC_GEN_STACK_BYTES; rounded up to a power of two, at most 64 MiB. The default is enough for
	 * printf(3) and the like; give recursion, large arrays and foreign libraries more. */
	size_t stack_bytes;
};

/* A generator, at the top of its own stack. The fields are private: they are here for the functions in line. */
struct torc_gen {
	struct torc__context context; /* first: where it goes on */
	struct torc__context caller;  /* where the one goes on that has resumed it */
	void *value;                  /* yielded, or sent */
	int32_t error;                /* thrown into it; 0: none */
	uint8_t state;        /* enum torc_gen_state, and bits that forbid the way in line */
	uint32_t stack_bytes; /* below this record */

	torc_gen_fn *fn; /* NULL: destroyed */
	void *arg;
	void *result;
	const char *name;
	int32_t status;
	int32_t outcome; /* what the one that it yielded from came to; 1: it has not ended */
	struct torc_gen *delegate; /* yields from it */
	struct torc_gen *outer;    /* is linked to this one, which yields from it */
	struct torc_gen *leaf;     /* at the end of the links; itself, when it is linked to none */
	struct torc_gen
		*driver; /* while it runs: the one that was resumed to have it run; or NULL */
	size_t outers;   /* generators that yield from it */
};

/*
 * torc_gen_create - make a generator whose body is fn(g, arg). The body does not run before it is first resumed.
 *
 * One allocation, its stack, of which one page is touched at first. Some 16 MiB of free stacks are kept for the next ones.
 *
 *   @arg      borrowed
 *   @options  may be NULL
 *   @ret_gen  to be destroyed
 *
 * Returns     0
 *             -ENOMEM   no memory for a stack
 *             -EINVAL   stack_bytes beyond 64 MiB
 * Suspends    never
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_gen_create(torc_gen_fn *fn, void *arg,
					     const struct torc_gen_options *options,
					     struct torc_gen **ret_gen);

/*
 * torc_gen_destroy - close a generator, and give its memory back.
 *
 * An error of its clean-up is lost: call torc_gen_close first when it matters. Traps when the generator is
 * running, when another one yields from it, and when it yields again instead of ending.
 *
 *   @g  may be NULL
 *
 * Suspends    what the body's clean-up does
 * Thread      any, one at a time for each generator; so all the others
 */
TORC_API void torc_gen_destroy(struct torc_gen *g);

/*
 * torc_gen_close - have a generator end: TORC_GEN_EXIT is thrown into its body, which cleans up and returns.
 *
 * The body of one that was never resumed never runs. Closing again is harmless.
 *
 * Returns     0        closed: the body returned TORC_GEN_EXIT, or 0 or more
 *             -EPROTO  the body yielded again; it stands there, and the value is lost
 *             -EBUSY   it is running
 *             < 0      another error that the body returned; it is closed
 * Suspends    what the body does
 * Source      PEP 342, "New generator method: close()"
 */
TORC_API int torc_gen_close(struct torc_gen *g);

/*
 * torc_gen_throw - go on with an error: the yield that the body stands in returns it.
 *
 * A body that was never resumed does not run for this: the generator is closed, with the error.
 *
 *   @error      a negative errno
 *   @ret_value  the next value; may be NULL
 *
 * Returns     1        a value
 *             0        finished: torc_gen_result has what it returned
 *             -EINVAL  error is not negative
 *             -EBUSY   it is running
 *             < 0      the error that the body returned, or `error` itself: the generator is closed
 * Suspends    what the body does
 * Source      PEP 342, "New generator method: throw()"
 */
TORC_API TORC_MUST_CHECK int torc_gen_throw(struct torc_gen *g, int error, void **ret_value);

/*
 * torc_gen_yield_from - yield all values of another generator, in the body of g.
 *
 * What is sent or thrown to g meanwhile reaches the inner one, what it yields reaches g's consumer, and closing
 * g closes it first. However deep generators yield from each other, a value takes one switch there and one back.
 *
 *   @inner       in any state; borrowed: whoever created it destroys it, not before this has returned
 *   @ret_result  what the inner one returned; may be NULL
 *
 * Returns     0               the inner one has finished
 *             TORC_GEN_EXIT   g is to end, and the inner one has been closed
 *             -EBUSY          the inner one is running
 *             -EPROTO         g is to end, but the inner one yielded again
 *             < 0             the error of the inner one
 * Suspends    what the bodies do
 * Thread      the body of g
 * Source      PEP 380, "Formal Semantics"
 */
TORC_API TORC_MUST_CHECK int torc_gen_yield_from(struct torc_gen *g, struct torc_gen *inner,
						 void **ret_result);

/* torc_gen_state - which of the four. */
TORC_API enum torc_gen_state torc_gen_state(const struct torc_gen *g);

/* torc_gen_delegate - the generator that g is yielding from, or NULL. */
TORC_API struct torc_gen *torc_gen_delegate(const struct torc_gen *g);

/* torc_gen_result - the body's last torc_gen_return, once it has finished without an error; else NULL. */
TORC_API void *torc_gen_result(const struct torc_gen *g);

/* torc_gen_status - the error that ended it, or 0: it has not ended, finished, or was closed. */
TORC_API int torc_gen_status(const struct torc_gen *g);

/* torc_gen_name - its name, or NULL. */
TORC_API const char *torc_gen_name(const struct torc_gen *g);

/*
 * Those parts of the functions below that are not in line: what is rare, and everything when a sanitizer has
 * to be told. Not to be called.
 */
TORC_API int torc_gen_resume(struct torc_gen *g, int error, void *sent, void **ret_value);
TORC_API int torc_gen_resumed(struct torc_gen *g, void **ret_value);
TORC_API int torc_gen_suspend(struct torc_gen *g, void *value, void **ret_sent);

/* The generator that a context is a member of: see torc__switch. */
#define TORC__GEN_OF(context, member) \
	((struct torc_gen *)((uintptr_t)(context)-offsetof(struct torc_gen, member)))

/*
 * torc_gen_send - go on with a value: the yield that the body stands in has it in *ret_sent.
 *
 *   @sent       NULL when the body has not started: no yield waits for it
 *   @ret_value  the next value; may be NULL
 *
 * Returns     1        a value
 *             0        finished: torc_gen_result has what it returned. So does each later call
 *             -EINVAL  something is sent to a body that has not started
 *             -EBUSY   it is running
 *             < 0      the error that the body returned; once, then 0
 * Suspends    what the body does
 * Source      PEP 342, "New generator method: send(value)"
 */
TORC__INLINE TORC_MUST_CHECK int torc_gen_send(struct torc_gen *g, void *sent, void **ret_value)
{
	if (__builtin_expect(g->state != TORC_GEN_SUSPENDED, 0))
		return torc_gen_resume(g, 0, sent, ret_value);
	g->value = sent;
	g->state = TORC_GEN_RUNNING;
	g = TORC__GEN_OF(torc__switch(&g->caller, &g->context), caller);
	if (__builtin_expect(g->state != TORC_GEN_SUSPENDED, 0))
		return torc_gen_resumed(g, ret_value);
	if (ret_value)
		*ret_value = g->value;
	return 1;
}

/* torc_gen_next - go on to the next value: torc_gen_send of NULL. */
TORC__INLINE TORC_MUST_CHECK int torc_gen_next(struct torc_gen *g, void **ret_value)
{
	return torc_gen_send(g, NULL, ret_value);
}

/*
 * torc_gen_yield - hand out a value, and wait until the generator is resumed.
 *
 *   @ret_sent  what was sent, NULL after torc_gen_next; may be NULL
 *
 * Returns     0
 *             < 0   what was thrown: TORC_GEN_EXIT when the generator is to end
 * Suspends    never: it goes on in the same fiber, if any, that resumes it
 * Thread      the body of g
 */
TORC__INLINE TORC_MUST_CHECK int torc_gen_yield(struct torc_gen *g, void *value, void **ret_sent)
{
	uintptr_t depth = (uintptr_t)g - (uintptr_t)__builtin_frame_address(0);
	int error;

	if (__builtin_expect(g->state != TORC_GEN_RUNNING || depth >= g->stack_bytes, 0))
		return torc_gen_suspend(g, value, ret_sent);
	g->value = value;
	g->state = TORC_GEN_SUSPENDED;
	g = TORC__GEN_OF(torc__switch(&g->context, &g->caller), context);
	error = g->error;
	if (__builtin_expect(error != 0, 0)) {
		g->error = 0;
		return error;
	}
	if (ret_sent)
		*ret_sent = g->value;
	return 0;
}

/* torc_gen_return - `return torc_gen_return(g, result);` finishes a body with a result. */
TORC__INLINE int torc_gen_return(struct torc_gen *g, void *result)
{
	g->result = result;
	return 0;
}

/*
 * torc_gen_each - for each value of a generator: torc_gen_each(value, g) { ... }
 *
 * Declares `void *value`. The generator is closed however the loop is left: at its end, by break, return or goto, in C++
 * by an exception; not by longjmp. torc_gen_status then tells whether an error ended it. It is
 * not destroyed.
 */
#define torc_gen_each(value, g)                                                                 \
	for (void *value = NULL,                                                                \
		  *TORC__GEN_EACH(__LINE__) __attribute__((cleanup(torc__gen_each_end))) = (g); \
	     torc_gen_next((struct torc_gen *)TORC__GEN_EACH(__LINE__), &value) > 0;)

#define TORC__GEN_EACH(line)  TORC__GEN_EACH_(line)
#define TORC__GEN_EACH_(line) torc__gen_each_##line

static inline void torc__gen_each_end(void **g)
{
	(void)torc_gen_close((struct torc_gen *)*g);
}

TORC_END_DECLS

#endif
