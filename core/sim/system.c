#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal/runtime.h"
#include "core/sim/sim.h"

/* The virtual clock begins on 2023-11-14 at 22:13:20 UTC. */
#define WALL_BEGIN TORC_SECONDS(1700000000)

/* --- sockets --- */

static int file_of(int fd, struct torc__sim_file **ret)
{
	*ret = torc__sim_fd_file(fd);
	if (!*ret)
		return -EBADF;
	return (*ret)->kind->is_socket ? 0 : -ENOTSOCK;
}

/* Chaos in a call that makes a descriptor: an error, or 0. */
static int no_descriptor(void)
{
	if (!torc__sim_chaos(TORC_SIM_ERROR))
		return 0;
	return torc__sim_draw(TORC_SIM_ERROR, 2) ? -ENFILE : -EMFILE;
}

/* What is left of a type without its flags, or -EINVAL. */
static int type_of(int type)
{
	int kind = type & 15;

	return type & ~(kind | SOCK_NONBLOCK | SOCK_CLOEXEC) ? -EINVAL : kind;
}

static bool is_protocol_of(int domain, int type, int protocol)
{
	bool stream = type_of(type) == SOCK_STREAM;

	if (domain == AF_UNIX)
		return !protocol || protocol == AF_UNIX;
	return !protocol || protocol == (stream ? IPPROTO_TCP : IPPROTO_UDP);
}

static int sys_socket(int domain, int type, int protocol)
{
	int r = no_descriptor();

	if (r)
		return r;
	if (type_of(type) < 0)
		return -EINVAL;
	if (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX)
		return -EAFNOSUPPORT;
	if (!is_protocol_of(domain, type, protocol))
		return -EPROTONOSUPPORT;
	switch (type_of(type)) {
	case SOCK_STREAM: return torc__sim_stream_new(domain, type);
	case SOCK_DGRAM: return torc__sim_datagram_new(domain, type);
	default: return -ESOCKTNOSUPPORT;
	}
}

static int sys_socketpair(int domain, int type, int protocol, int ret_fds[2])
{
	int r = no_descriptor();

	(void)protocol;
	if (r)
		return r;
	if (type_of(type) < 0)
		return -EINVAL;
	if (domain != AF_UNIX)
		return -EOPNOTSUPP;
	switch (type_of(type)) {
	case SOCK_STREAM: return torc__sim_stream_pair(domain, ret_fds, type);
	case SOCK_DGRAM: return torc__sim_datagram_pair(domain, ret_fds, type);
	default: return -ESOCKTNOSUPPORT;
	}
}

static int sys_bind(int fd, const struct sockaddr *address, socklen_t len)
{
	struct torc_address a;
	struct torc__sim_file *file;
	int r = file_of(fd, &file);

	if (!r)
		r = torc__sim_address_read(address, len, &a);
	if (r)
		return r;
	return torc__sim_is_stream(file) ? torc__sim_stream_bind(file, &a)
					 : torc__sim_datagram_bind(file, &a);
}

static int sys_listen(int fd, int backlog)
{
	struct torc__sim_file *file;
	int r = file_of(fd, &file);

	if (r)
		return r;
	return torc__sim_is_stream(file) ? torc__sim_stream_listen(file, backlog) : -EOPNOTSUPP;
}

static int sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct torc__sim_file *file;
	int r = file_of(fd, &file);

	if (r)
		return r;
	return torc__sim_is_stream(file)
		       ? torc__sim_stream_setsockopt(file, level, name, value, len)
		       : 0;
}

static int sys_getsockopt(int fd, int level, int name, void *ret_value, socklen_t *len)
{
	struct torc__sim_file *file;
	int r = file_of(fd, &file);

	if (r)
		return r;
	return torc__sim_is_stream(file)
		       ? torc__sim_stream_getsockopt(file, level, name, ret_value, len)
		       : torc__sim_datagram_getsockopt(file, level, name, ret_value, len);
}

static int name_of(int fd, bool local, struct sockaddr *ret_address, socklen_t *len)
{
	struct torc_address a;
	struct torc__sim_file *file;
	int r = file_of(fd, &file);

	if (!r)
		r = torc__sim_is_stream(file) ? torc__sim_stream_name(file, local, &a)
					      : torc__sim_datagram_name(file, local, &a);
	if (!r)
		torc__sim_address_write(&a, ret_address, len);
	return r;
}

static int sys_getsockname(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	return name_of(fd, true, ret_address, len);
}

static int sys_getpeername(int fd, struct sockaddr *ret_address, socklen_t *len)
{
	return name_of(fd, false, ret_address, len);
}

static int sys_probe(const struct sockaddr_un *address, socklen_t len)
{
	struct torc_address a;
	int r = torc__sim_address_read((const struct sockaddr *)address, len, &a);

	return r ? r : torc__sim_stream_probe(&a);
}

/* --- the rest --- */

static int sys_pipe(int ret_fds[2], int flags)
{
	int r = no_descriptor();

	return r ? r : torc__sim_pipe(ret_fds, flags);
}

static int sys_eventfd(unsigned value, int flags)
{
	int r = no_descriptor();

	return r ? r : torc__sim_eventfd(value, flags);
}

static int sys_open(const char *path, int flags, unsigned mode)
{
	int r = no_descriptor();

	return r ? r : torc__sim_disk_open(NULL, path, flags, mode, 0);
}

static int sys_mkdir(const char *path, unsigned mode)
{
	return torc__sim_disk_mkdir(NULL, path, mode);
}

static int sys_unlink(const char *path)
{
	/* Paths of sockets are not on the disk. */
	return torc__sim_name_unlink(path) ? torc__sim_disk_unlink(NULL, path, 0) : 0;
}

static int sys_rmdir(const char *path)
{
	return torc__sim_disk_unlink(NULL, path, AT_REMOVEDIR);
}

static int sys_rename(const char *from, const char *to)
{
	return torc__sim_disk_rename(NULL, from, NULL, to, 0);
}

static int sys_getdents(int fd, void *buf, size_t len)
{
	struct torc__sim_file *file = torc__sim_fd_file(fd);

	if (!file)
		return -EBADF;
	if (torc__sim_chaos(TORC_SIM_ERROR))
		return torc__sim_draw(TORC_SIM_ERROR, 2) ? -EIO : -ENOMEM;
	return torc__sim_disk_list(file, buf, len);
}

static int sys_fchmod(int fd, unsigned mode)
{
	struct torc__sim_file *file = torc__sim_fd_file(fd);

	if (!file)
		return -EBADF;
	if (torc__sim_chaos(TORC_SIM_ERROR))
		return torc__sim_draw(TORC_SIM_ERROR, 2) ? -EIO : -EROFS;
	return torc__sim_disk_chmod(file, mode);
}

static int sys_ftruncate(int fd, int64_t len)
{
	struct torc__sim_file *file = torc__sim_fd_file(fd);

	if (!file)
		return -EBADF;
	if (torc__sim_chaos(TORC_SIM_ERROR))
		return torc__sim_draw(TORC_SIM_ERROR, 2) ? -EIO : -EPERM;
	return torc__sim_disk_truncate(file, (uint64_t)len);
}

static int sys_readlinkat(int dirfd, const char *path, char *ret_target, size_t size)
{
	struct torc__sim_file *directory = torc__sim_fd_file(dirfd);

	if (!directory && dirfd != AT_FDCWD && *path != '/')
		return -EBADF;
	if (torc__sim_chaos(TORC_SIM_ERROR))
		return torc__sim_draw(TORC_SIM_ERROR, 2) ? -EIO : -ENOMEM;
	return torc__sim_disk_readlink(directory, path, ret_target, size);
}

static int sys_dup(int fd)
{
	struct torc__sim_file *file = torc__sim_fd_file(fd);
	int r = no_descriptor();

	if (!file)
		return -EBADF;
	if (r)
		return r;
	torc__sim_file_hold(file);
	return torc__sim_fd_open(file);
}

static int sys_close(int fd)
{
	return torc__sim_fd_close(fd);
}

/* What cannot be polled is a file or a directory. */
static int sys_seekable(int fd)
{
	const struct torc__sim_file *file = torc__sim_fd_file(fd);

	return file && !file->kind->poll;
}

static int sys_write(int fd, const void *buf, size_t len)
{
	struct torc__sim_file *file = torc__sim_fd_file(fd);
	ssize_t r;

	if (!file || !file->kind->write)
		return -EBADF;
	r = file->kind->write(file, buf, len, UINT64_MAX, MSG_DONTWAIT);
	return r == TORC__SIM_WAIT ? -EAGAIN : (int)r;
}

static uint64_t sys_wall_ns(void)
{
	return WALL_BEGIN + torc__sim->now_ns;
}

static bool refuse_memory(void)
{
	struct torc__sim *sim = torc__sim;

	if (!sim->running)
		return false;
	if (++sim->report.allocations == sim->options.fail_memory) {
		torc__sim_note("no memory", (int64_t)sim->report.allocations, 0, 0);
		sim->report.chaos[TORC_SIM_MEMORY]++;
		return true;
	}
	return torc__sim_chaos(TORC_SIM_MEMORY);
}

/* --- mappings --- */

/*
 * Kept from run to run, each with the pages that it has: most of what a short run takes would be page faults. What a
 * run sees of them is the same, as a slab has its guards where the one before it had them.
 */
struct mapping {
	struct mapping *next;
	void *base;
	size_t bytes;
	int flags;
};

static struct mapping *mappings;

static void *map(size_t bytes, int flags)
{
	for (struct mapping **link = &mappings, *m; (m = *link); link = &m->next) {
		void *base = m->base;

		if (m->bytes != bytes || m->flags != flags)
			continue;
		*link = m->next;
		free(m);
		return base;
	}
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1,
		    0);
}

static void unmap(void *base, size_t bytes, int flags)
{
	struct mapping *m = torc__sim_alloc(sizeof(*m));

	*m = (struct mapping){ mappings, base, bytes, flags };
	mappings = m;
}

const struct torc__system torc__sim_system = {
	.socket = sys_socket,
	.socketpair = sys_socketpair,
	.bind = sys_bind,
	.listen = sys_listen,
	.setsockopt = sys_setsockopt,
	.getsockopt = sys_getsockopt,
	.getsockname = sys_getsockname,
	.getpeername = sys_getpeername,
	.probe = sys_probe,
	.pipe = sys_pipe,
	.eventfd = sys_eventfd,
	.open = sys_open,
	.mkdir = sys_mkdir,
	.unlink = sys_unlink,
	.rmdir = sys_rmdir,
	.rename = sys_rename,
	.getdents = sys_getdents,
	.fchmod = sys_fchmod,
	.ftruncate = sys_ftruncate,
	.readlinkat = sys_readlinkat,
	.dup = sys_dup,
	.close = sys_close,
	.seekable = sys_seekable,
	.write = sys_write,
	.wall_ns = sys_wall_ns,
	.run_loops = torc__sim_run_loops,
	.await_loops = torc__sim_await_loops,
	.thread_start = torc__sim_thread_start,
	.thread_point = torc__sim_thread_point,
	.futex_wait = torc__sim_futex_wait,
	.futex_wake = torc__sim_futex_wake,
	.now_ns = torc__sim_now,
	.refuse_memory = refuse_memory,
	.map = map,
	.unmap = unmap,
};
