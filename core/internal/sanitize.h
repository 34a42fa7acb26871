/*
 * core/internal/sanitize.h - tell ASan, TSan and valgrind when the stack changes.
 *
 * Three kinds of places: a fiber's memory is taken or given back, a switch is about to happen, and a
 * switch has happened. In a plain build each is nothing.
 */
#ifndef TORC_CORE_INTERNAL_SANITIZE_H
#define TORC_CORE_INTERNAL_SANITIZE_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define TORC__ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TORC__ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define TORC__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TORC__TSAN 1
#endif
#endif

#if defined(TORC__ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(TORC__TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if defined(__has_include) && !defined(NDEBUG_VALGRIND)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define TORC__VALGRIND 1
#endif
#endif

/* What the tools know about one stack. */
struct torc__sanitize {
#if defined(TORC__ASAN)
	void *fake_stack;
	const void *bottom;
	size_t bytes;
#endif
#if defined(TORC__TSAN)
	void *tsan_fiber;
#endif
#if defined(TORC__VALGRIND)
	unsigned valgrind_id; /* in the thread's: not 0 when valgrind runs the program */
#endif
	char unused[1];
};

/* The thread's own stack: where the scheduler runs. */
static inline void torc__sanitize_thread(struct torc__sanitize *s)
{
	(void)s;
#if defined(TORC__TSAN)
	s->tsan_fiber = __tsan_get_current_fiber();
#endif
#if defined(TORC__VALGRIND)
	/* Asked once: a request to valgrind takes 2 ns without it too, a spawn and its end would make two. */
	s->valgrind_id = RUNNING_ON_VALGRIND;
#endif
}

/* Whatever stack runs now, which is to be left for a generator's and come back to. */
static inline void torc__sanitize_caller(struct torc__sanitize *s)
{
	(void)s;
#if defined(TORC__ASAN)
	s->bytes = 0; /* torc__sanitize_arrive is to fill it in */
#endif
#if defined(TORC__TSAN)
	s->tsan_fiber = __tsan_get_current_fiber();
#endif
}

/* The running fiber's, or NULL: outside of one, and when nobody is to be told. */
#if defined(TORC__ASAN) || defined(TORC__TSAN)
struct torc__sanitize *torc__sanitize_fiber(void);
#else
static inline struct torc__sanitize *torc__sanitize_fiber(void)
{
	return NULL;
}
#endif

/* `thread`: what torc__sanitize_thread has filled in. */
static inline void torc__sanitize_create(struct torc__sanitize *s,
					 const struct torc__sanitize *thread, void *bottom,
					 size_t bytes)
{
	(void)s, (void)thread, (void)bottom, (void)bytes;
#if defined(TORC__ASAN)
	__asan_unpoison_memory_region(bottom, bytes);
	s->fake_stack = NULL;
	s->bottom = bottom;
	s->bytes = bytes;
#endif
#if defined(TORC__TSAN)
	s->tsan_fiber = __tsan_create_fiber(0);
#endif
#if defined(TORC__VALGRIND)
	if (__builtin_expect(thread->valgrind_id != 0, 0))
		s->valgrind_id = (unsigned)VALGRIND_STACK_REGISTER(bottom, (char *)bottom + bytes);
#endif
}

/* Not while running on that stack. */
static inline void torc__sanitize_destroy(struct torc__sanitize *s,
					  const struct torc__sanitize *thread)
{
	(void)s, (void)thread;
#if defined(TORC__TSAN)
	__tsan_destroy_fiber(s->tsan_fiber);
#endif
#if defined(TORC__VALGRIND)
	if (__builtin_expect(thread->valgrind_id != 0, 0))
		VALGRIND_STACK_DEREGISTER(s->valgrind_id);
#endif
}

/* Before the switch; `from` is NULL when the stack left behind has ended. */
static inline void torc__sanitize_leave(struct torc__sanitize *from, struct torc__sanitize *to)
{
	(void)from, (void)to;
#if defined(TORC__ASAN)
	__sanitizer_start_switch_fiber(from ? &from->fake_stack : NULL, to->bottom, to->bytes);
#endif
#if defined(TORC__TSAN)
	__tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
}

/*
 * After the switch, on the new stack. `thread` is filled in with where the switch came from when its bounds are
 * not known: the thread's own stack, whose bounds only ASan knows, or a generator's caller.
 */
static inline void torc__sanitize_arrive(struct torc__sanitize *self, struct torc__sanitize *thread)
{
	(void)self, (void)thread;
#if defined(TORC__ASAN)
	{
		const void *bottom;
		size_t bytes;

		__sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &bytes);
		if (thread && !thread->bytes) {
			thread->bottom = bottom;
			thread->bytes = bytes;
		}
	}
#endif
}

#endif
