/*
 * io/internal/call.h - one operation of the ring as a call that returns its result.
 */
#ifndef TORC_IO_INTERNAL_CALL_H
#define TORC_IO_INTERNAL_CALL_H

#include <errno.h>
#include <stddef.h>

#include <torc/core/op.h>

#include "core/internal/system.h"

/* TORC__CALL(fsync, fd, flags): what io_uring_prep_fsync(sqe, fd, flags) prepares, waited for. */
#define TORC__CALL(operation, ...)                                         \
	__extension__({                                                    \
		struct torc_op torc__op;                                   \
		struct io_uring_sqe *torc__sqe;                            \
		int torc__r = torc_op_begin(&torc__op, &torc__sqe);        \
                                                                           \
		if (!torc__r) {                                            \
			io_uring_prep_##operation(torc__sqe, __VA_ARGS__); \
			torc__r = torc_op_wait(&torc__op);                 \
		}                                                          \
		torc__r;                                                   \
	})

/* How much of it one operation takes: a length is 32 bits wide there, and a result 31. */
static inline unsigned torc__at_once(size_t len)
{
	return len < (1u << 30) ? (unsigned)len : 1u << 30;
}

/* Calls that go around the ring, to Linux itself, are not to leave a simulation. */
static inline bool torc__on_linux(void)
{
	return torc__system == &torc__system_linux;
}

#endif
