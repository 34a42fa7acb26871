/*
 * io/unix.h - what only Unix sockets can: pairs, descriptors on their way to another process, who the peer is.
 *
 *	int pair[2], r = torc_unix_pair(SOCK_SEQPACKET, pair);
 *	...
 *	r = torc_send_fds(pair[0], "log", 3, &file, 1);
 *
 * and at the other end, which may be another process:
 *
 *	r = torc_recv_fds(fd, buf, sizeof(buf), files, 4, &count);
 *	if (r >= 0)
 *		... count descriptors are yours now
 *
 * A peer may send descriptors with any message, wanted or not. torc_recv, torc_recvfrom and streams let the kernel drop them;
 * torc_recv_fds takes so many and no more.
 */
#ifndef TORC_IO_UNIX_H
#define TORC_IO_UNIX_H

#include <sys/socket.h>
#include <sys/types.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* As many descriptors as one message carries (SCM_MAX_FD). */
#define TORC_FDS_MAX 253

/*
 * torc_unix_pair - two sockets that are connected to each other.
 *
 *   @type  SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM
 *
 * Returns     0; both are closed on exec
 *             -EINVAL, -ESOCKTNOSUPPORT   another type; the simulator has no SOCK_SEQPACKET
 *             -EMFILE, -ENFILE, -ENOMEM
 * Suspends    never
 * Source      socketpair(2), unix(7)
 */
TORC_API TORC_MUST_CHECK int torc_unix_pair(int type, int ret_fds[2]);

/*
 * torc_send_fds - send bytes, and descriptors with the first of them. They stay yours, the peer gets duplicates.
 *
 *   @data   [len] bytes, at least 1
 *   @fds    [count] of them, borrowed: 0 .. TORC_FDS_MAX
 *
 * Returns     1..len   bytes sent: the descriptors are with them. A short count is for torc_send_all to go on
 *             -EINVAL         no byte, or too many descriptors
 *             -EBADF          one of them, or fd, is none
 *             -ETOOMANYREFS   more descriptors of this user are under way than one process may have open (RLIMIT_NOFILE)
 *             -EPIPE, -EMSGSIZE, ...   as torc_sendmsg
 *             -ECANCELED, -ETIMEDOUT   the scope; nothing was sent
 * Suspends    always
 * Thread      a fiber's
 * Source      unix(7), SCM_RIGHTS
 */
TORC_API TORC_MUST_CHECK int torc_send_fds(int fd, const void *data, size_t len, const int *fds,
					   unsigned count);

/*
 * torc_recv_fds - receive bytes, and the descriptors that come with them.
 *
 *   @ret_fds    [max] descriptors, closed on exec
 *   @max        0 .. TORC_FDS_MAX: how many are expected at most
 *   @ret_count  how many there are
 *
 * Returns     0..len          bytes stored; 0 as torc_recv
 *             -ETOOMANYREFS   more than max came: all are closed, and the bytes are lost. A peer that breaks the
 *                             rules, so close the connection
 *             -EMFILE         they came, and this process has no room for all of them: likewise
 *             or as torc_recvmsg: then there are no descriptors
 *             -ECANCELED, -ETIMEDOUT   the scope; nothing was received
 * Suspends    always
 * Thread      a fiber's; one receiver per socket at a time
 * Source      unix(7), cmsg(3)
 */
TORC_API TORC_MUST_CHECK int torc_recv_fds(int fd, void *buf, size_t len, int *ret_fds,
					   unsigned max, unsigned *ret_count);

/* Of the process that has connected, listened or made the pair, at that time. */
struct torc_credentials {
	pid_t pid; /* 0: it is in a namespace that cannot be seen from here */
	uid_t uid;
	gid_t gid;
};

/*
 * torc_peer_credentials - who the peer of a connected Unix socket is.
 *
 * Returns     0
 *             -ENODATA       no Unix socket, or not connected
 *             -EBADF, -ENOTSOCK
 *             -ENOPROTOOPT   in the simulator
 * Suspends    never
 * Source      unix(7), SO_PEERCRED
 */
TORC_API TORC_MUST_CHECK int torc_peer_credentials(int fd, struct torc_credentials *ret);

TORC_END_DECLS

#endif
