/*
 * io/internal/pipes.h - empty pipes, for those who move bytes through one: a loop keeps some.
 *
 * So a connection that waits has none, and one that does not takes no system call for it.
 */
#ifndef TORC_IO_INTERNAL_PIPES_H
#define TORC_IO_INTERNAL_PIPES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/internal/loop.h"

/*
 * A piece of a file from which on a pipe costs less than memory: the ring's splice goes to a thread of the kernel, which takes as
 * long as copying so much (bench/micro_zerocopy.c).
 */
#define TORC__SPLICE_LEAST (64u << 10)

/* Asked for; what the kernel grants may be less: /proc/sys/fs/pipe-user-pages-soft. */
#define TORC__PIPE_BYTES (256u << 10)

struct torc__pipe {
	int rx, tx;
};

/* 0, or -EMFILE, -ENFILE, -ENOMEM. */
int torc__pipe_take(struct torc__loop *loop, struct torc__pipe *ret);

/* Back again. One with something in it is closed. */
void torc__pipe_give(struct torc__loop *loop, struct torc__pipe pipe, bool empty);

/* From or to a pipe, whose other end does not wait: bytes, 0 at the end, or a negative errno. Both are non-blocking. */
ssize_t torc__splice_now(int from, int to, size_t len);

/* It cannot be spliced, or there is neither memory nor a descriptor for a pipe: that is nobody's failure, and memory will do. */
bool torc__splice_is_refused(int r);

/* Until it takes something, or fails: then the next call tells. 0, -ETIMEDOUT after so long, the scope's status, or -ENOMEM. */
int torc__await_writable(int fd, uint64_t within_ns);

/*
 * All that is in a pipe, to a descriptor that does not wait; each wait for it is limited as above. 0, or a negative errno.
 * *ret_moved: what it took, in either case.
 */
int torc__pipe_empty(int pipe, int to, size_t len, uint64_t within_ns, size_t *ret_moved);

/*
 * For calls that are made directly. Those who share the description see it; the ring's operations wait all the same, but of a
 * regular file.
 */
bool torc__set_nonblocking(int fd);

#endif
