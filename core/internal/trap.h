/*
 * core/internal/trap.h - misuse by the program ends it, with a message that names the fiber.
 *
 * For what only a bug in the program can cause. What a peer, the network, the kernel or a user can
 * cause is a negative errno instead.
 */
#ifndef TORC_CORE_INTERNAL_TRAP_H
#define TORC_CORE_INTERNAL_TRAP_H

#include <stddef.h>

#define torc__likely(x)   __builtin_expect(!!(x), 1)
#define torc__unlikely(x) __builtin_expect(!!(x), 0)

/* Write "torc: <what> (fiber <name>)" to standard error without allocating, then abort. */
_Noreturn void torc__trap(const char *what);

/* An assertion that is always on. */
#define torc__check(condition, what)              \
	do {                                      \
		if (torc__unlikely(!(condition))) \
			torc__trap(what);         \
	} while (0)

/* A message put together in the caller's memory, for signal handlers and traps. */
struct torc__message {
	char text[512];
	size_t len;
};

void torc__message_text(struct torc__message *m, const char *text);
void torc__message_bytes(struct torc__message *m, const char *bytes, size_t len);
void torc__message_number(struct torc__message *m, unsigned long long value, unsigned base);
/* Three digits or so of it, in the unit that suits: "1.53 s", "12.0 ms". */
void torc__message_duration(struct torc__message *m, unsigned long long ns);
void torc__message_write(struct torc__message *m);

#endif
