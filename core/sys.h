/*
 * core/sys.h - the system calls that are made directly, because they never wait.
 *
 * Everything that can wait is an operation on the ring (core/op.h). The rest goes through these, and not straight
 * to the kernel, for one reason: a program that runs on the simulator (core/sim.h) has its sockets, pipes and files
 * there. A program that is to run on both calls these too.
 *
 * Each takes what the system call of that name takes, and returns its result, or a negative errno.
 *
 * Suspends    never
 * Thread      any; inside of torc_run one of the runtime's, if the program is to run on the simulator
 * Source      the manual page of each, section 2
 */
#ifndef TORC_CORE_SYS_H
#define TORC_CORE_SYS_H

#include <sys/socket.h>
#include <sys/un.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* Sockets. Descriptors are closed on exec. */
TORC_API TORC_MUST_CHECK int torc_sys_socket(int domain, int type, int protocol);
TORC_API TORC_MUST_CHECK int torc_sys_socketpair(int domain, int type, int protocol,
						 int ret_fds[2]);
TORC_API TORC_MUST_CHECK int torc_sys_bind(int fd, const struct sockaddr *address, socklen_t len);
TORC_API TORC_MUST_CHECK int torc_sys_listen(int fd, int backlog);
TORC_API int torc_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
TORC_API TORC_MUST_CHECK int torc_sys_getsockopt(int fd, int level, int name, void *ret_value,
						 socklen_t *len);
TORC_API TORC_MUST_CHECK int torc_sys_getsockname(int fd, struct sockaddr *ret_address,
						  socklen_t *len);
TORC_API TORC_MUST_CHECK int torc_sys_getpeername(int fd, struct sockaddr *ret_address,
						  socklen_t *len);

/*
 * Whether somebody listens at a path, which ends with a zero byte: 0, -ECONNREFUSED when there is a socket without a
 * listener, -ENOTSOCK when something else is there, or what stat(2) or connect(2) says.
 */
TORC_API TORC_MUST_CHECK int torc_sys_probe(const struct sockaddr_un *address, socklen_t len);

/* Pipes and counters. Descriptors are closed on exec. */
TORC_API TORC_MUST_CHECK int torc_sys_pipe(int ret_fds[2], int flags);
TORC_API TORC_MUST_CHECK int torc_sys_eventfd(unsigned value, int flags);

/* Files, by a path from the root or from the working directory. */
TORC_API TORC_MUST_CHECK int torc_sys_open(const char *path, int flags, unsigned mode);
TORC_API TORC_MUST_CHECK int torc_sys_mkdir(const char *path, unsigned mode);
TORC_API int torc_sys_unlink(const char *path);
TORC_API int torc_sys_rmdir(const char *path);
TORC_API TORC_MUST_CHECK int torc_sys_rename(const char *from, const char *to);

/*
 * What is in a directory, as struct dirent64: bytes, or 0 at the end. It may have to wait for a disk, other than the calls
 * above: make it on another thread (executor/offload.h), as io/directory.h does.
 */
TORC_API TORC_MUST_CHECK int torc_sys_getdents(int fd, void *buf, size_t len);

/* Permissions of an open file, on a thread of its own likewise. */
TORC_API TORC_MUST_CHECK int torc_sys_fchmod(int fd, unsigned mode);

/* Any descriptor. */
TORC_API TORC_MUST_CHECK int torc_sys_dup(int fd);
TORC_API int torc_sys_close(int fd);

/* Whether it has a position, as a regular file, and so is never waited for long: 1, or 0, also when it is not open. */
TORC_API int torc_sys_seekable(int fd);

/* Write a few bytes, such as 8 to an eventfd, without waiting: -EAGAIN when that were needed. */
TORC_API int torc_sys_write(int fd, const void *buf, size_t len);

/* The time of day: nanoseconds since 1970 (clock_gettime(2), CLOCK_REALTIME). */
TORC_API uint64_t torc_sys_wall_ns(void);

TORC_END_DECLS

#endif
