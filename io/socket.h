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
#include <torc/core/sockaddr.h>

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
 * torc_send_zc - send bytes without copying them: the network card reads the caller's memory. torc_sendmsg_zc - with addresses
 * and control data.
 *
 * It returns when the memory is free again: for TCP that is when the peer has acknowledged the bytes, about one round trip after
 * torc_send would have returned. So it is for large pieces (bench/micro_zerocopy.c measures it) and several
 * fibers or connections; over loopback the kernel copies all the same.
 *
 * Cancelling it stops the sending, but what was taken already is waited for as long as the peer takes to acknowledge it, or the
 * connection to fail: the kernel does not give the memory back. torc_set_user_timeout limits that.
 *
 *   @buf    [len] bytes, not to be changed until it returns
 *   @flags  of send(2). With MSG_WAITALL it goes on until all is sent
 *
 * Returns     as torc_send and torc_sendmsg, also in a scope that ended after the bytes were taken, and
 *             -EOPNOTSUPP   a kind of socket that cannot, such as a Unix socket
 *             -ENOMEM       RLIMIT_MEMLOCK: the memory is pinned meanwhile
 * Suspends    always
 * Thread      a fiber's; one sender per socket at a time. Not in the simulator, which ends the run
 * Source      io_uring_prep_send_zc(3), io_uring_prep_sendmsg_zc(3)
 */
TORC_API TORC_MUST_CHECK int torc_send_zc(int fd, const void *buf, size_t len, int flags);
TORC_API TORC_MUST_CHECK int torc_sendmsg_zc(int fd, const struct msghdr *message, int flags);

/*
 * torc_recvfrom - receive bytes, or a datagram, and who sent it.
 *
 *   @buf       [len] bytes, 0 for those of a datagram to be dropped
 *   @flags     of recv(2); with MSG_TRUNC the result is the datagram's length, also where buf is shorter
 *   @ret_from  may be NULL; its type is not set. Of a Unix socket without a name, and of a connection, its len is 0 or that
 *              of the family alone
 *
 * Returns     0..len          bytes stored; 0 is an empty datagram, or the end of a connection
 *             -ECONNREFUSED   a connected datagram socket: nobody is bound there (ICMP); told once
 *             or as torc_recv
 * Suspends    always
 * Thread      a fiber's
 * Source      recvfrom(2), io_uring_prep_recvmsg(3)
 */
TORC_API TORC_MUST_CHECK int torc_recvfrom(int fd, void *buf, size_t len, int flags,
					   struct torc_address *ret_from);

/*
 * torc_sendto - send a datagram to an address. io/datagram.h sends many of them faster.
 *
 *   @to  NULL: where the socket is connected to
 *
 * Returns     len             sent, which says nothing about its arrival
 *             -EMSGSIZE       longer than the socket can send
 *             -ECONNREFUSED   a connected socket: what an earlier one met (ICMP); this one was not sent. Unix: nobody is bound there
 *             -EDESTADDRREQ, -ENOTCONN   no address, and it is not connected
 *             -ENETUNREACH, -EACCES, -EAFNOSUPPORT, ...   as sendto(2)
 * Suspends    always
 * Thread      a fiber's
 * Source      sendto(2), io_uring_prep_send_set_addr(3)
 */
TORC_API TORC_MUST_CHECK int torc_sendto(int fd, const void *buf, size_t len, int flags,
					 const struct torc_address *to);

/*
 * torc_recvmsg - receive with addresses and control data; torc_sendmsg - send with such. As the system calls: recvmsg writes
 * msg_namelen, msg_controllen and msg_flags. For descriptors as control data use torc_recv_fds (io/unix.h), which leaks none;
 * here those that come are yours, so pass MSG_CMSG_CLOEXEC.
 *
 * Returns     as torc_recvfrom; as torc_send, without SIGPIPE, and torc_sendto
 * Suspends    always
 * Thread      a fiber's
 * Source      recvmsg(2), sendmsg(2), io_uring_prep_recvmsg(3), io_uring_prep_sendmsg(3)
 */
TORC_API TORC_MUST_CHECK int torc_recvmsg(int fd, struct msghdr *message, int flags);
TORC_API TORC_MUST_CHECK int torc_sendmsg(int fd, const struct msghdr *message, int flags);

/*
 * torc_connect - connect a socket. Source: connect(2), io_uring_prep_connect(3).
 *
 * Returns     0
 *             -ECONNREFUSED   nobody listens there
 *             -ENETUNREACH, -EHOSTUNREACH, ...   as connect(2)
 * After -ECANCELED or -ETIMEDOUT the socket is of no more use: close it.
 */
TORC_API TORC_MUST_CHECK int torc_connect(int fd, const struct sockaddr *address, socklen_t len);

/* --- dial --- */

/* When the kernel asks a silent peer whether it is still there. Of 0: the system's. */
struct torc_keepalive {
	unsigned idle_s;     /* silence before it asks: 1 .. 32767; 0 in all three: no keep-alive */
	unsigned interval_s; /* between two questions: 1 .. 32767 */
	unsigned count;      /* unanswered ones until the connection fails: 1 .. 127 */
};

/* How to connect; zeroed means the defaults. Those that only TCP has are ignored for Unix sockets. */
struct torc_dial_options {
	const char *local;  /* where to be bound: "HOST:PORT", port 0: any; "unix:..." */
	const char *device; /* the interface to go through (SO_BINDTODEVICE) */
	struct torc_keepalive keepalive; /* TCP */
	unsigned user_timeout_ms;   /* TCP: what is sent and not acknowledged so long ends it */
	int recv_bytes, send_bytes; /* of the socket's buffers; the kernel has limits */
	bool delay;                 /* TCP: no TCP_NODELAY, small writes may wait for an answer */
	bool fast_open;             /* TCP: connect with the first bytes sent, where the peer has
					    said that it may; so an error may come with those */
	uint64_t attempt_delay_ns;  /* names: how long one address has before the next one is tried
					    too, 10 ms .. 2 s; default 250 ms */
};

/*
 * torc_dial - a connected stream socket; for "udp://" a connected datagram socket.
 *
 * HOST may be a name (io/name.h). When it has several addresses they are tried as RFC 8305 ("Happy Eyeballs") says: in the
 * order of torc_resolve, IPv6 and IPv4 in turns; the next one as soon as one fails, and in any case after attempt_delay_ns,
 * beside those that are still being tried. The first connection there is wins, and nothing is left of the others. So a dead
 * address costs a quarter of a second, and not the minutes that TCP tries. What limits the whole is the scope's deadline.
 *
 * Each attempt is a fiber of this loop, and at most TORC_NAME_ADDRESSES_MAX sockets are open at a time. An address, or a name that
 * has just one, is connected to by the calling fiber. "localhost" has two.
 *
 * With options.local only addresses of its family are tried. With options.fast_open the first address wins, for its connection
 * is not made before something is sent. Of a name, "udp://" takes the first address: whether somebody is there, no
 * datagram socket knows.
 *
 *   @address  io/address.h: "tcp://HOST:PORT", "HOST:PORT", "udp://HOST:PORT", "unix:PATH", "unix:@NAME", or "unixpacket:..."
 *   @options  may be NULL
 *
 * Returns     the descriptor, close-on-exec, TCP_NODELAY set
 *             -EINVAL          not such an address; an option out of its range
 *             -ENODEV          no such interface
 *             -EADDRINUSE, -EADDRNOTAVAIL   options.local
 *             -ENOENT, -ENODATA, -EAGAIN, -EREMOTEIO, -ENAMETOOLONG, ...   the name has no address: torc_resolve
 *             -EAGAIN, -ENOMEM   also: no fiber could be started for an attempt (torc_group_spawn), and no other one succeeded
 *             or as socket(2) and torc_connect; of several addresses, what the first one has met that can be reached from
 *             here at all (that is, not -ENETUNREACH, -EADDRNOTAVAIL or -EAFNOSUPPORT), or else the first
 * Suspends    always, but for wrong arguments
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_dial(const char *address);
TORC_API TORC_MUST_CHECK int torc_dial_with(const char *address,
					    const struct torc_dial_options *options);

/* --- options of a socket ---
 *
 * What was not named above is torc_sys_setsockopt's (core/sys.h). None of these suspends.
 *
 * Each returns 0, or
 *	-EINVAL                           out of its range
 *	-EOPNOTSUPP, -ENOPROTOOPT         not for this kind of socket
 *	-EBADF, -ENOTSOCK
 */

/* torc_set_nodelay - small writes go out at once, true for what torc dials and accepts. torc_set_cork - only full packets go out,
 * until it is taken off, or 200 ms have passed. Source: tcp(7). */
TORC_API TORC_MUST_CHECK int torc_set_nodelay(int fd, bool on);
TORC_API TORC_MUST_CHECK int torc_set_cork(int fd, bool on);

/* torc_set_keepalive - NULL, or zeroed: off. Source: tcp(7). */
TORC_API TORC_MUST_CHECK int torc_set_keepalive(int fd, const struct torc_keepalive *keepalive);

/* torc_set_user_timeout - how long sent bytes may stay unacknowledged; 0: the system's. Source: tcp(7). */
TORC_API TORC_MUST_CHECK int torc_set_user_timeout(int fd, unsigned ms);

/* torc_set_linger - what a close does with unsent bytes: -1 sends them in the background, which is the default; 0 drops them and
 * resets the connection. More than 0 would make a thread of the kernel wait so many seconds. Source: socket(7), SO_LINGER. */
TORC_API TORC_MUST_CHECK int torc_set_linger(int fd, int seconds);

/* torc_set_buffers - ask for the sizes of a socket's buffers; 0: leave that one. The kernel doubles them, and cuts them to
 * net.core.rmem_max and wmem_max. Source: socket(7). */
TORC_API TORC_MUST_CHECK int torc_set_buffers(int fd, int recv_bytes, int send_bytes);

/*
 * torc_socket_error - the error that a socket has met in the background (SO_ERROR), which is told once.
 *
 * Returns     0, or that error; -EBADF and -ENOTSOCK can mean either
 */
TORC_API TORC_MUST_CHECK int torc_socket_error(int fd);

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
