#include <torc/io/socket.h>

#include <errno.h>
#include <netinet/tcp.h>

#include <torc/core/op.h>
#include <torc/core/scope.h>
#include <torc/core/sys.h>

#include "io/internal/address.h"

/* The length of one operation is 32 bits wide, and its result 31. */
static size_t at_once(size_t len)
{
	return len < (1u << 30) ? len : 1u << 30;
}

int torc_recv(int fd, void *buf, size_t len, int flags)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_recv(sqe, fd, buf, at_once(len), flags);
	return torc_op_wait(&op);
}

int torc_send(int fd, const void *buf, size_t len, int flags)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_send(sqe, fd, buf, at_once(len), flags | MSG_NOSIGNAL);
	return torc_op_wait(&op);
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
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_connect(sqe, fd, address, len);
	return torc_op_wait(&op);
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
	struct torc_op op;
	struct io_uring_sqe *sqe;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_shutdown(sqe, fd, how);
	return torc_op_wait(&op);
}

void torc_close(int fd)
{
	struct io_uring_sqe *sqe = torc_op_ignored();

	io_uring_prep_close(sqe, fd);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}
