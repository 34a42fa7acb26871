#include <torc/io/unix.h>

#include <errno.h>
#include <string.h>

#include <torc/core/sys.h>
#include <torc/io/socket.h>

#include "core/internal/compat.h"
#include "io/internal/call.h"

int torc_unix_pair(int type, int ret_fds[2])
{
	if (type != SOCK_STREAM && type != SOCK_SEQPACKET && type != SOCK_DGRAM)
		return -EINVAL;
	return torc_sys_socketpair(AF_UNIX, type, 0, ret_fds);
}

int torc_send_fds(int fd, const void *data, size_t len, const int *fds, unsigned count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(TORC_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)data, torc__at_once(len) };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!len || count > TORC_FDS_MAX)
		return -EINVAL;
	if (count) {
		memset(&control, 0, CMSG_SPACE(count * sizeof(int)));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	return torc_sendmsg(fd, &message, 0);
}

/* What else may come, when the program has asked the socket for it: who has sent it. */
#define OTHER_BYTES CMSG_SPACE(sizeof(struct ucred))

struct received {
	int fds[TORC_FDS_MAX + OTHER_BYTES / sizeof(int)];
	unsigned count;
};

/* The sender's process, as a descriptor: nobody is told of it here, so nobody else would close it. */
static void drop_pidfd(struct cmsghdr *c)
{
	int fd;

	if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != TORC__SCM_PIDFD ||
	    c->cmsg_len != CMSG_LEN(sizeof(fd)))
		return;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (fd >= 0) /* or an errno */
		torc_sys_close(fd);
}

static void collect(struct received *all, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		drop_pidfd(c);
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(all->fds + all->count, CMSG_DATA(c), bytes);
		all->count += (unsigned)(bytes / sizeof(int));
	}
}

/* With too many, or not all: none. */
static int judge(struct received *all, unsigned max, bool cut)
{
	if (all->count <= max && !cut)
		return 0;
	for (unsigned i = 0; i < all->count; i++)
		torc_sys_close(all->fds[i]);
	/* Where there was room for more than came, it was the process that had none. */
	return all->count < max ? -EMFILE : -ETOOMANYREFS;
}

int torc_recv_fds(int fd, void *buf, size_t len, int *ret_fds, unsigned max, unsigned *ret_count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(TORC_FDS_MAX * sizeof(int)) + OTHER_BYTES];
	} control;
	struct iovec iov = { buf, torc__at_once(len) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = CMSG_LEN(max * sizeof(int)) + OTHER_BYTES };
	struct received all = { .count = 0 };
	int r, judged;

	if (max > TORC_FDS_MAX)
		return -EINVAL;
	r = torc_recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
	if (r < 0)
		return r;
	collect(&all, &message);
	judged = judge(&all, max, message.msg_flags & MSG_CTRUNC);
	if (judged < 0)
		return judged;
	if (all.count)
		memcpy(ret_fds, all.fds, all.count * sizeof(int));
	*ret_count = all.count;
	return r;
}

int torc_peer_credentials(int fd, struct torc_credentials *ret)
{
	struct ucred c;
	socklen_t len = sizeof(c);
	int r = torc_sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len);

	if (r < 0)
		return r;
	if (!c.pid && c.uid == (uid_t)-1)
		return -ENODATA;
	*ret = (struct torc_credentials){ c.pid, c.uid, c.gid };
	return 0;
}
