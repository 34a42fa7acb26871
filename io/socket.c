#include <torc/io/socket.h>

#include <errno.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <string.h>

#include <torc/core/op.h>
#include <torc/core/scope.h>
#include <torc/core/sys.h>
#include <torc/io/address.h>

#include "io/internal/call.h"
#include "io/internal/sockopt.h"

int torc_recv(int fd, void *buf, size_t len, int flags)
{
	return TORC__CALL(recv, fd, buf, torc__at_once(len), flags);
}

int torc_send(int fd, const void *buf, size_t len, int flags)
{
	return TORC__CALL(send, fd, buf, torc__at_once(len), flags | MSG_NOSIGNAL);
}

static void io_uring_prep_send_without_copy(struct io_uring_sqe *sqe, int fd, const void *buf,
					    size_t len, int flags)
{
	io_uring_prep_send_zc(sqe, fd, buf, len, flags | MSG_NOSIGNAL, 0);
}

int torc_send_zc(int fd, const void *buf, size_t len, int flags)
{
	return TORC__CALL(send_without_copy, fd, buf, torc__at_once(len), flags);
}

int torc_send_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len) {
		int r = torc_send(fd, p, len, MSG_WAITALL);

		if (r < 0)
			return r;
		p += r;
		len -= (size_t)r;
	}
	return 0;
}

int torc_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	return TORC__CALL(connect, fd, address, len);
}

/* --- datagrams and messages --- */

int torc_recvmsg(int fd, struct msghdr *message, int flags)
{
	return TORC__CALL(recvmsg, fd, message, (unsigned)flags);
}

int torc_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return TORC__CALL(sendmsg, fd, message, (unsigned)(flags | MSG_NOSIGNAL));
}

int torc_sendmsg_zc(int fd, const struct msghdr *message, int flags)
{
	return TORC__CALL(sendmsg_zc, fd, message, (unsigned)(flags | MSG_NOSIGNAL));
}

int torc_recvfrom(int fd, void *buf, size_t len, int flags, struct torc_address *ret_from)
{
	struct torc_address from;
	struct iovec iov = { buf, torc__at_once(len) };
	struct msghdr message = { .msg_name = &from.any,
				  .msg_namelen = sizeof(from.un),
				  .msg_iov = &iov,
				  .msg_iovlen = 1 };
	int r;

	memset(&from, 0, sizeof(from));
	r = torc_recvmsg(fd, &message, flags);
	if (r < 0 || !ret_from)
		return r;
	from.len = message.msg_namelen < sizeof(from.un) ? message.msg_namelen : sizeof(from.un);
	*ret_from = from;
	return r;
}

static void io_uring_prep_sendto(struct io_uring_sqe *sqe, int fd, const void *buf, size_t len,
				 int flags, const struct torc_address *to)
{
	io_uring_prep_send(sqe, fd, buf, len, flags | MSG_NOSIGNAL);
	if (to)
		io_uring_prep_send_set_addr(sqe, &to->any, (uint16_t)to->len);
}

int torc_sendto(int fd, const void *buf, size_t len, int flags, const struct torc_address *to)
{
	return TORC__CALL(sendto, fd, buf, torc__at_once(len), flags, to);
}

/* --- options --- */

int torc__set_int(int fd, int level, int name, int value)
{
	return torc_sys_setsockopt(fd, level, name, &value, sizeof(value));
}

int torc__set_device(int fd, const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= IF_NAMESIZE)
		return -EINVAL;
	return torc_sys_setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)len + 1);
}

int torc__remove_stale(const struct torc_address *a)
{
	int r = torc_sys_probe(&a->un, a->len);

	if (r == -ECONNREFUSED)
		torc_sys_unlink(a->un.sun_path);
	return r == -EMFILE || r == -ENFILE || r == -ENOMEM ? r : 0;
}

int torc_set_nodelay(int fd, bool on)
{
	return torc__set_int(fd, IPPROTO_TCP, TCP_NODELAY, on);
}

int torc_set_cork(int fd, bool on)
{
	return torc__set_int(fd, IPPROTO_TCP, TCP_CORK, on);
}

static int set_unless_0(int fd, int name, unsigned value)
{
	if (value > INT16_MAX)
		return -EINVAL;
	return value ? torc__set_int(fd, IPPROTO_TCP, name, (int)value) : 0;
}

int torc_set_keepalive(int fd, const struct torc_keepalive *k)
{
	bool on = k && torc__keepalive_is_set(k);
	int r = on ? set_unless_0(fd, TCP_KEEPIDLE, k->idle_s) : 0;

	if (!r && on)
		r = set_unless_0(fd, TCP_KEEPINTVL, k->interval_s);
	if (!r && on)
		r = set_unless_0(fd, TCP_KEEPCNT, k->count);
	return r ? r : torc__set_int(fd, SOL_SOCKET, SO_KEEPALIVE, on);
}

int torc_set_user_timeout(int fd, unsigned ms)
{
	return ms > INT32_MAX ? -EINVAL : torc__set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)ms);
}

int torc_set_linger(int fd, int seconds)
{
	const struct linger l = { .l_onoff = seconds >= 0, .l_linger = seconds < 0 ? 0 : seconds };

	if (seconds < -1)
		return -EINVAL;
	return torc_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
}

int torc_set_buffers(int fd, int recv_bytes, int send_bytes)
{
	int r = 0;

	if (recv_bytes < 0 || send_bytes < 0)
		return -EINVAL;
	if (recv_bytes)
		r = torc__set_int(fd, SOL_SOCKET, SO_RCVBUF, recv_bytes);
	if (!r && send_bytes)
		r = torc__set_int(fd, SOL_SOCKET, SO_SNDBUF, send_bytes);
	return r;
}

int torc_socket_error(int fd)
{
	int error;
	socklen_t len = sizeof(error);
	int r = torc_sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);

	return r ? r : -error;
}

/* --- end --- */

int torc_shutdown(int fd, int how)
{
	return TORC__CALL(shutdown, fd, how);
}

void torc_close(int fd)
{
	struct io_uring_sqe *sqe = torc_op_ignored();

	io_uring_prep_close(sqe, fd);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}
