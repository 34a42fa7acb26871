#include <torc/core/sys.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/internal/system.h"

const struct torc__system *torc__system = &torc__system_linux;
size_t torc__memory_blocks;

/* --- Linux --- */

static int result(int r)
{
	return r < 0 ? -errno : r;
}

static int linux_socket(int domain, int type, int protocol)
{
	return result(socket(domain, type | SOCK_CLOEXEC, protocol));
}

static int linux_socketpair(int domain, int type, int protocol, int ret_fds[2])
{
	return result(socketpair(domain, type | SOCK_CLOEXEC, protocol, ret_fds));
}

static int linux_bind(int fd, const struct sockaddr *address, socklen_t len)
{
	return result(bind(fd, address, len));
}

static int linux_listen(int fd, int backlog)
{
	return result(listen(fd, backlog));
}

static int linux_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return result(setsockopt(fd, level, name, value, len));
}

static int linux_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *len)
{
	return result(getsockopt(fd, level, name, ret_value, len));
}

static int linux_getsockname(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	return result(getsockname(fd, ret_address, len));
}

static int linux_getpeername(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	return result(getpeername(fd, ret_address, len));
}

/* connect(2) says ECONNREFUSED of any file, such as a regular one. */
static int linux_probe(const struct sockaddr_un *address, socklen_t len)
{
	struct stat st;
	int r, fd;

	if (stat(address->sun_path, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = linux_socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	r = result(connect(fd, (const struct sockaddr *)address, len));
	close(fd);
	return r;
}

static int linux_pipe(int ret_fds[2], int flags)
{
	return result(pipe2(ret_fds, flags | O_CLOEXEC));
}

static int linux_eventfd(unsigned value, int flags)
{
	return result(eventfd(value, flags | EFD_CLOEXEC));
}

static int linux_open(const char *path, int flags, unsigned mode)
{
	return result(open(path, flags | O_CLOEXEC, mode));
}

static int linux_mkdir(const char *path, unsigned mode)
{
	return result(mkdir(path, mode));
}

static int linux_unlink(const char *path)
{
	return result(unlink(path));
}

static int linux_rmdir(const char *path)
{
	return result(rmdir(path));
}

static int linux_rename(const char *from, const char *to)
{
	return result(rename(from, to));
}

static int linux_getdents(int fd, void *buf, size_t len)
{
	return result((int)syscall(SYS_getdents64, fd, buf, len));
}

static int linux_fchmod(int fd, unsigned mode)
{
	return result(fchmod(fd, mode));
}

static int linux_ftruncate(int fd, int64_t len)
{
	return result(ftruncate(fd, len));
}

static int linux_readlinkat(int dirfd, const char *path, char *ret_target, size_t size)
{
	return result((int)readlinkat(dirfd, path, ret_target, size));
}

static int linux_dup(int fd)
{
	return result(fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

static int linux_close(int fd)
{
	return result(close(fd));
}

static int linux_seekable(int fd)
{
	return lseek(fd, 0, SEEK_CUR) >= 0;
}

static int linux_write(int fd, const void *buf, size_t len)
{
	return result((int)write(fd, buf, len));
}

static uint64_t linux_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

const struct torc__system torc__system_linux = {
	.socket = linux_socket,
	.socketpair = linux_socketpair,
	.bind = linux_bind,
	.listen = linux_listen,
	.setsockopt = linux_setsockopt,
	.getsockopt = linux_getsockopt,
	.getsockname = linux_getsockname,
	.getpeername = linux_getpeername,
	.probe = linux_probe,
	.pipe = linux_pipe,
	.eventfd = linux_eventfd,
	.open = linux_open,
	.mkdir = linux_mkdir,
	.unlink = linux_unlink,
	.rmdir = linux_rmdir,
	.rename = linux_rename,
	.getdents = linux_getdents,
	.fchmod = linux_fchmod,
	.ftruncate = linux_ftruncate,
	.readlinkat = linux_readlinkat,
	.dup = linux_dup,
	.close = linux_close,
	.seekable = linux_seekable,
	.write = linux_write,
	.wall_ns = linux_wall_ns,
};

/* --- whoever answers --- */

int torc_sys_socket(int domain, int type, int protocol)
{
	return torc__system->socket(domain, type, protocol);
}

int torc_sys_socketpair(int domain, int type, int protocol, int ret_fds[2])
{
	return torc__system->socketpair(domain, type, protocol, ret_fds);
}

int torc_sys_bind(int fd, const struct sockaddr *address, socklen_t len)
{
	return torc__system->bind(fd, address, len);
}

int torc_sys_listen(int fd, int backlog)
{
	return torc__system->listen(fd, backlog);
}

int torc_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return torc__system->setsockopt(fd, level, name, value, len);
}

int torc_sys_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *len)
{
	return torc__system->getsockopt(fd, level, name, ret_value, len);
}

int torc_sys_getsockname(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	return torc__system->getsockname(fd, ret_address, len);
}

int torc_sys_getpeername(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	return torc__system->getpeername(fd, ret_address, len);
}

int torc_sys_probe(const struct sockaddr_un *address, socklen_t len)
{
	return torc__system->probe(address, len);
}

int torc_sys_pipe(int ret_fds[2], int flags)
{
	return torc__system->pipe(ret_fds, flags);
}

int torc_sys_eventfd(unsigned value, int flags)
{
	return torc__system->eventfd(value, flags);
}

int torc_sys_open(const char *path, int flags, unsigned mode)
{
	return torc__system->open(path, flags, mode);
}

int torc_sys_mkdir(const char *path, unsigned mode)
{
	return torc__system->mkdir(path, mode);
}

int torc_sys_unlink(const char *path)
{
	return torc__system->unlink(path);
}

int torc_sys_rmdir(const char *path)
{
	return torc__system->rmdir(path);
}

int torc_sys_rename(const char *from, const char *to)
{
	return torc__system->rename(from, to);
}

int torc_sys_getdents(int fd, void *buf, size_t len)
{
	return torc__system->getdents(fd, buf, len);
}

int torc_sys_fchmod(int fd, unsigned mode)
{
	return torc__system->fchmod(fd, mode);
}

int torc_sys_dup(int fd)
{
	return torc__system->dup(fd);
}

int torc_sys_close(int fd)
{
	return torc__system->close(fd);
}

int torc_sys_seekable(int fd)
{
	return torc__system->seekable(fd);
}

int torc_sys_write(int fd, const void *buf, size_t len)
{
	return torc__system->write(fd, buf, len);
}

uint64_t torc_sys_wall_ns(void)
{
	return torc__system->wall_ns();
}
