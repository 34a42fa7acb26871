#include <torc/io/socket.h>

#include <errno.h>
#include <netinet/tcp.h>

#include <torc/core/op.h>
#include <torc/core/scope.h>
#include <torc/core/sys.h>

#include "io/internal/address.h"
#include "io/internal/call.h"

int torc_recv(int fd, void *buf, size_t len, int flags)
{
	return TORC__CALL(recv, fd, buf, torc__at_once(len), flags);
}

int torc_send(int fd, const void *buf, size_t len, int flags)
{
	return TORC__CALL(send, fd, buf, torc__at_once(len), flags | MSG_NOSIGNAL);
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

int torc_dial(const char *text)
{
	struct torc__address address;
	const int one = 1;
	int fd, r = torc__address_parse(text, false, &address);

	if (r < 0)
		return r;
	fd = torc_sys_socket(address.any.sa_family, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	if (address.any.sa_family != AF_UNIX)
		(void)torc_sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = torc_connect(fd, &address.any, address.len);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	return fd;
}

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
