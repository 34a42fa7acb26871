/*
 * io/socket.h - the socket calls, as blocking calls of a fiber.
 *
 * Each is one submission to the loop's ring and honours the fiber's scope. Descriptors are plain ones:
 * borrowed by every call but torc_close. Names and flags are those of the system calls.
 *
 * All return a negative errno on failure, and in a cancelled scope -ECANCELED or -ETIMEDOUT without
 * having done anything.
 */
#ifndef TORC_IO_SOCKET_H
#define TORC_IO_SOCKET_H

#include <sys/socket.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/*
 * torc_recv - receive bytes.
 *
 *   @buf  [len] bytes, written only on success
 *   @len  1 .. INT32_MAX
 *
 * Returns     1..len        bytes stored; a short count is normal
 *             0             the peer shut down its sending side
 *             -ECONNRESET   the peer reset the connection
 *             -ENOTCONN, -EBADF, ...   as recv(2)
 * Suspends    always
 * Thread      a fiber's; one receiver per socket at a time
 * Source      recv(2), io_uring_prep_recv(3)
 */
TORC_API TORC_MUST_CHECK int torc_recv(int fd, void *buf, size_t len, int flags);

/*
 * torc_send - send bytes; SIGPIPE is never raised.
 *
 * Returns     1..len        bytes sent; fewer than len when it was interrupted
 *             -EPIPE        the peer no longer reads, or this side was shut down
 *             -ECONNRESET   the peer reset the connection
 * Suspends    always
 * Thread      a fiber's; one sender per socket at a time: two sends in flight may be reordered
 * Source      send(2), io_uring_prep_send(3)
 */
TORC_API TORC_MUST_CHECK int torc_send(int fd, const void *buf, size_t len, int flags);

/*
 * torc_send_all - torc_send until everything is sent.
 *
 * Returns     0, or a negative errno: then an unknown part was sent, and the connection is of no more use
 */
TORC_API TORC_MUST_CHECK int torc_send_all(int fd, const void *buf, size_t len);

/*
 * torc_connect - connect a socket. Source: connect(2), io_uring_prep_connect(3).
 *
 * Returns     0
 *             -ECONNREFUSED   nobody listens there
 *             -ENETUNREACH, -EHOSTUNREACH, ...   as connect(2)
 * After -ECANCELED or -ETIMEDOUT the socket is of no more use: close it.
 */
TORC_API TORC_MUST_CHECK int torc_connect(int fd, const struct sockaddr *address, socklen_t len);

/*
 * torc_dial - a connected stream socket.
 *
 *   @address  "tcp://HOST:PORT", "HOST:PORT" or "unix:PATH"; HOST is a numeric address, "localhost",
 *             or an IPv6 address in brackets. Names are not resolved
 *
 * Returns     the descriptor, close-on-exec, TCP_NODELAY set
 *             -EINVAL   not such an address
 *             or as socket(2) and torc_connect
 */
TORC_API TORC_MUST_CHECK int torc_dial(const char *address);

/* torc_shutdown - as shutdown(2): SHUT_RD, SHUT_WR or SHUT_RDWR. */
TORC_API int torc_shutdown(int fd, int how);

/*
 * torc_close - close a descriptor of any kind.
 *
 * It always takes effect, in a cancelled scope too. Does not suspend: the ring closes it at the end of
 * this turn. End pending operations on it first.
 */
TORC_API void torc_close(int fd);

TORC_END_DECLS

#endif
