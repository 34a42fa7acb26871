/*
 * core/internal/opcode.h - what an operation is, in words.
 */
#ifndef TORC_CORE_INTERNAL_OPCODE_H
#define TORC_CORE_INTERNAL_OPCODE_H

#include <liburing.h>

#include "core/internal/trap.h"

/* "recv, fd 7"; what is newer than this file is told by its number. */
void torc__opcode_describe(const struct io_uring_sqe *sqe, struct torc__message *m);

#endif
