/*
 * core/internal/dump.h - what torc_dump, the signal and a deadlock share.
 */
#ifndef TORC_CORE_INTERNAL_DUMP_H
#define TORC_CORE_INTERNAL_DUMP_H

#include "core/internal/loop.h"

/* Pause the other loops, write everything, let them go on. On the loop's thread. 0 or a negative errno. */
int torc__dump(struct torc__loop *loop, int fd);

#endif
