/*
 * io/internal/pipes.h - empty pipes, for those who move bytes through one: a loop keeps some.
 *
 * So a connection that waits has none, and one that does not takes no system call for it.
 */
#ifndef TORC_IO_INTERNAL_PIPES_H
#define TORC_IO_INTERNAL_PIPES_H

#include "core/internal/loop.h"

/* Asked for; what the kernel grants may be less: /proc/sys/fs/pipe-user-pages-soft. */
#define TORC__PIPE_BYTES (256u << 10)

struct torc__pipe {
	int rx, tx;
};

/* 0, or -EMFILE, -ENFILE, -ENOMEM. */
int torc__pipe_take(struct torc__loop *loop, struct torc__pipe *ret);

/* Back again. One with something in it is closed. */
void torc__pipe_give(struct torc__loop *loop, struct torc__pipe pipe, bool empty);

#endif
