/*
 * tests/sim/conform_files.h - scripts of pipes, eventfds, datagrams, files and directories.
 */
#ifndef TESTS_SIM_CONFORM_FILES_H
#define TESTS_SIM_CONFORM_FILES_H

#include <dirent.h>
#include <sys/eventfd.h>

#include <torc/io/direct.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"
#include "tests/sim/conform.h"

/* --- pipes --- */

static void pipe_script(void)
{
	struct act *a;
	int p[2];

	if (!call_pipe(p, 0))
		return;
	say_state(p[0]);
	say_state(p[1]);
	do_write(p[1], 10, 0);
	say_state(p[0]);
	do_read(p[0], 4, -1);
	do_read(p[0], 100, 0);
	do_read(p[0], 100, 0); /* waits */
	do_write(p[1], 6, -1);
	do_read(p[0], 100, 0);
	do_write(p[1], 7, 1000); /* offsets mean nothing */
	do_read(p[0], 0, 0);
	do_write(p[1], 0, 0);
	a = do_read(p[0], 5, 0);
	do_cancel(a);
	do_poll(p[0], POLLIN);
	do_read(p[0], 5, 0);
	do_close(p[1]);
	do_read(p[0], 5, 0);
	say_state(p[0]);
	do_poll(p[0], 0);
}

static void pipe_broken_script(void)
{
	int p[2];

	if (!call_pipe(p, 0))
		return;
	do_write(p[1], 10, 0);
	do_poll(p[1], 0);
	do_close(p[0]);
	say_state(p[1]);
	do_write(p[1], 10, 0);
	do_write(p[1], 0, 0);
}

static void pipe_full_script(void)
{
	struct act *a;
	int p[2];

	if (!call_pipe(p, 0))
		return;
	do_write(p[1], 65536, 0);
	say_state(p[1]);
	a = do_write(p[1], 10, 0); /* waits */
	do_cancel(a);
	do_write(p[1], 4096, 0); /* waits, in one piece */
	do_read(p[0], 4095, 0);
	say_state(p[1]);
	do_read(p[0], 1, 0);
	say_state(p[1]);
	do_read(p[0], 65536, 0);
	do_read(p[0], 65536, MSG_DONTWAIT);
	do_write(p[1], 10, 0); /* a reader waits, or it is there */
	do_write(p[1], 65536, 0);
	do_close(p[0]);
}

static void pipe_nonblock_script(void)
{
	int p[2];

	if (!call_pipe(p, O_NONBLOCK))
		return;
	do_read(p[0], 10, 0);
	do_write(p[1], 65536, 0);
	do_write(p[1], 10, 0);
	say("write(2): %s", result(torc_sys_write(p[1], "12345678", 8)));
	do_read(p[0], 10, 0);
	do_poll(p[1], POLLOUT);
	do_read(p[0], 65536, 0);
	say("write(2): %s", result(torc_sys_write(p[1], "12345678", 8)));
	say("write(2): %s", result(torc_sys_write(p[0], "12345678", 8)));
	do_read(p[0], 65536, 0);
	say("pipe: %s", result(torc_sys_pipe(p, O_APPEND)));
}

/*
 * --- reads into provided buffers ---
 *
 * Not here: one that fails, of what can be polled. Older kernels have then used the buffer up, newer ones not.
 */

static struct act *do_read_buffer(int fd, unsigned len)
{
	return do_read_selected(fd, len, 0, TORC__BUFFER_GROUP);
}

static void pipe_selected_script(void)
{
	struct act *a;
	int p[2];

	if (!call_pipe(p, 0))
		return;
	do_write(p[1], 10, 0);
	do_read_buffer(p[0], 4);
	do_read_buffer(p[0], 0);   /* as much as the buffer takes */
	do_read_buffer(p[0], 100); /* waits */
	do_write(p[1], 6, 0);
	do_write(p[1], TORC__BUFFER_BYTES + 10, 0);
	do_read_buffer(p[0], 2 * TORC__BUFFER_BYTES);
	do_read_buffer(p[0], 2 * TORC__BUFFER_BYTES);
	a = do_read_buffer(p[0], 0);
	do_cancel(a);
	do_close(p[1]);
	do_read_buffer(p[0], 10); /* the end uses a buffer up */
	do_read_buffer(p[0], 0);
}

static void use_up_buffers(const int p[2])
{
	run.keeps = true;
	for (int i = 0; i < PROVIDED_BUFFERS; i++) {
		do_write(p[1], 3, 0);
		do_read_buffer(p[0], 0);
	}
}

static void pipe_no_buffer_script(void)
{
	int p[2], q[2];

	if (!call_pipe(p, 0) || !call_pipe(q, 0))
		return;
	do_read_selected(p[0], 10, 0, 9); /* there is no such group */
	do_read_buffer(q[0], 10);         /* waits, and has no buffer meanwhile */
	use_up_buffers(p);
	do_read_buffer(p[0], 10); /* though there is nothing to be read */
	do_write(q[1], 10, 0);
	do_write(p[1], 10, 0);
	do_read_buffer(p[0], 4);
	do_read(p[0], 2, 0); /* nothing is lost */
	give_kept(1);
	do_read_buffer(p[0], 4);
	do_read_buffer(p[0], 4);
	do_read_buffer(p[1], 4); /* wrong in both ways */
	do_close(p[1]);
	give_kept(2);
	do_read_buffer(p[0], 100);
	do_read_buffer(p[0], 4); /* the end has used up the last one */
	do_read_buffer(p[0], 4);
}

static void socket_read_selected_script(void)
{
	int s[2];

	if (!call_pair("a", "b", AF_UNIX, SOCK_STREAM, s))
		return;
	do_send(s[0], 10, 0);
	do_read_buffer(s[1], 4);
	do_read_buffer(s[1], 0);
	do_read_buffer(s[1], 0); /* waits */
	do_send(s[0], 5000, 0);
	do_read_buffer(s[1], 0);
	do_shutdown(s[0], SHUT_WR);
	do_read_buffer(s[1], 0);
	do_recv_selected(s[1], 0, 0, false); /* which does not use it up */
}

/* --- eventfds --- */

static void eventfd_script(void)
{
	int fd = call_eventfd(3, 0);
	struct act *a;

	say_state(fd);
	do_read(fd, 8, 0);
	say_state(fd);
	do_read(fd, 8, 0); /* waits */
	do_add(fd, 5);
	do_read(fd, 7, 0);
	do_write(fd, 7, 0);
	do_add(fd, UINT64_MAX);
	do_add(fd, UINT64_MAX - 1);
	say_state(fd);
	do_add(fd, 0);
	do_read(fd, 100, 0);
	a = do_read(fd, 8, 0);
	do_cancel(a);
	do_add(fd, 0);
	say_state(fd);
	say("write(2): %s", result(torc_sys_write(fd, "12345678", 8)));
	say("write(2): %s", result(torc_sys_write(fd, "12345678", 4)));
	do_read(fd, 8, 0);
	call_dup(fd, "other");
	do_send(fd, 8, 0);
}

static void semaphore_script(void)
{
	int fd = call_eventfd(0, EFD_SEMAPHORE);

	do_read(fd, 8, 0);
	do_add(fd, 2);
	do_read(fd, 8, 0);
	do_read(fd, 8, 0);
	do_add(fd, 2);
	do_read(fd, 8, 0);
	do_read(fd, 8, 0);
	do_add(fd, 1);
}

static void eventfd_nonblock_script(void)
{
	int fd = call_eventfd(0, EFD_NONBLOCK);

	do_read(fd, 8, 0);
	do_add(fd, UINT64_MAX - 1);
	do_add(fd, 1);
	do_read(fd, 8, 0);
	say("eventfd: %s", result(torc_sys_eventfd(0, 1 << 20)));
}

/* --- datagrams: what the ring's send and recv do with them --- */

static void datagram_pair_script(void)
{
	int s[2];

	if (!call_pair("a", "b", AF_UNIX, SOCK_DGRAM, s))
		return;
	say_state(s[0]);
	do_send(s[0], 10, 0);
	do_send(s[0], 0, 0);
	do_send(s[0], 20, 0);
	say_state(s[1]);
	do_recv(s[1], 4, MSG_PEEK);
	do_recv(s[1], 4, 0);
	do_recv(s[1], 100, 0);
	do_recv(s[1], 4, MSG_TRUNC);
	do_recv(s[1], 4, MSG_DONTWAIT);
	do_recv(s[1], 4, 0); /* waits */
	do_write(s[0], 3, 0);
	do_read(s[1], 8, 0); /* waits */
	do_send(s[0], 3, 0);
	do_recv_selected(s[1], 0, 0, true);
	do_send(s[0], 5, 0);
	do_send(s[0], 6, 0);
	do_close(s[0]);
	do_send(s[1], 1, 0);
	do_send(s[1], 1, 0);
	say_state(s[1]);
}

static void udp_script(void)
{
	struct address at = inet_address("127.0.0.1", 0), gone;
	int a = call_socket("a", AF_INET, SOCK_DGRAM), b = call_socket("b", AF_INET, SOCK_DGRAM);

	say_state(a);
	do_send(a, 10, 0);
	do_recv(a, 10, MSG_DONTWAIT);
	call_bind(a, &at);
	at = call_name(a, true);
	call_bind(b, &at);
	do_connect(b, &at);
	call_name(b, false);
	do_send(b, 10, 0);
	do_recv(a, 100, 0);
	gone = call_name(b, true);
	do_connect(a, &gone);
	do_send(a, 5, 0);
	do_recv(b, 100, 0);
	do_recv(b, 100, 0); /* waits */
	do_send(a, 70000, 0);
	do_send(a, 6, 0);
	call_close(b);
	do_poll(a, POLLOUT);
	do_send(a, 5, 0);
	do_poll(a, POLLIN); /* the refusal */
	call_error(a);
	do_send(a, 5, 0);
	do_poll(a, 0);
	do_recv(a, 5, 0);
	call_getsockopt(a, SO_TYPE);
	call_getsockopt(a, SO_ACCEPTCONN);
	call_listen(a, 1);
	do_accept(a, 0, false);
	do_shutdown(a, SHUT_RDWR);
}

static void messages_script(void)
{
	struct address at = inet_address("127.0.0.1", 0);
	int a = call_socket("a", AF_INET, SOCK_DGRAM), b = call_socket("b", AF_INET, SOCK_DGRAM);

	do_sendto(a, 5, NULL);
	do_sendmsg(a, 5, NULL);
	call_bind(a, &at);
	at = call_name(a, true);
	do_sendto(b, 5, &at);
	do_sendmsg(b, 0, &at);
	do_sendmsg(b, 40, &at);
	do_sendto(b, 50, &at);
	do_sendto(b, 70000, &at);
	call_name(b, true);
	do_recvmsg(a, 100, 0);
	do_recvmsg(a, 100, 0);
	do_recvmsg(a, 10, 0);
	do_recvmsg(a, 10, MSG_TRUNC);
	do_recvmsg(a, 10, MSG_DONTWAIT);
	do_connect(b, &at);
	do_recvmsg_many(a);
	do_sendmsg(b, 7, NULL);
	do_sendto(b, 8, &at);
	do_sendto(b, 4090, &at); /* longer than what is left of a buffer */
	do_sendto(b, 0, NULL);   /* ends it */
	do_sendto(b, 9, NULL);
	do_recvmsg(a, 100, MSG_DONTWAIT);
}

static void stream_messages_script(void)
{
	int s[2];

	if (!call_pair("a", "b", AF_UNIX, SOCK_STREAM, s))
		return;
	do_sendmsg(s[0], 10, NULL);
	do_recvmsg(s[1], 4, 0);
	do_recvmsg(s[1], 10, 0);
	do_recvmsg(s[1], 10, MSG_DONTWAIT);
	do_close(s[0]);
	do_recvmsg(s[1], 10, 0);
	do_sendmsg(s[1], 10, NULL);
}

/* --- files --- */

/* Paths from the root are meant from the directory. */
static struct act *new_path_act(const char *path)
{
	struct act *a = new_act(0);
	size_t len = strlen(path) + strlen(run.base) + 2;

	a->memory = realloc(a->memory, len);
	check(a->memory);
	snprintf(a->memory, len, "%s%s", path[0] == '/' ? run.base : "", path);
	return a;
}

static int do_open_at(int directory, const char *path, int flags, unsigned mode)
{
	struct act *a = new_path_act(path);

	a->opens = true;
	io_uring_prep_openat(begin_act(a), directory, a->memory, flags, mode);
	step_act(a, "open %s:%s, flags %#x, mode %#o", name_of(directory), path, (unsigned)flags,
		 mode);
	return a->fd;
}

static int do_open(const char *path, int flags)
{
	return do_open_at(AT_FDCWD, path, flags, 0644);
}

static int do_open2(int directory, const char *path, uint64_t flags, uint64_t resolve)
{
	struct act *a = new_path_act(path);

	a->opens = true;
	a->how = (struct open_how){ .flags = flags, .resolve = resolve };
	io_uring_prep_openat2(begin_act(a), directory, a->memory, &a->how);
	step_act(a, "open %s:%s, flags %#llx, resolve %#llx", name_of(directory), path,
		 (unsigned long long)flags, (unsigned long long)resolve);
	return a->fd;
}

/* Of a directory neither the size nor the links are the same on all disks. */
static void do_stat(int directory, const char *path, int flags)
{
	struct act *a = new_path_act(path);
	const struct statx *x = &a->stat;

	io_uring_prep_statx(begin_act(a), directory, a->memory, flags, STATX_BASIC_STATS, &a->stat);
	step_act(a, "stat %s:%s, flags %#x", name_of(directory), path, (unsigned)flags);
	if (a->res < 0)
		return;
	say("  mode %#o", x->stx_mode);
	if (S_ISREG(x->stx_mode))
		say("  size %llu, links %u", (unsigned long long)x->stx_size, x->stx_nlink);
}

static void do_mkdir(int directory, const char *path, unsigned mode)
{
	struct act *a = new_path_act(path);

	io_uring_prep_mkdirat(begin_act(a), directory, a->memory, mode);
	step_act(a, "mkdir %s:%s, mode %#o", name_of(directory), path, mode);
}

static void do_unlink(int directory, const char *path, int flags)
{
	struct act *a = new_path_act(path);

	io_uring_prep_unlinkat(begin_act(a), directory, a->memory, flags);
	step_act(a, "unlink %s:%s, flags %#x", name_of(directory), path, (unsigned)flags);
}

/* Both below one directory. */
static void do_rename(int directory, const char *from, const char *to, unsigned flags)
{
	struct act *a = new_path_act(from);

	io_uring_prep_renameat(begin_act(a), directory, a->memory, directory, to, flags);
	step_act(a, "rename %s: %s to %s, flags %#x", name_of(directory), from, to, flags);
}

static void do_fsync(int fd, unsigned flags)
{
	struct act *a = new_act(0);

	io_uring_prep_fsync(begin_act(a), fd, flags);
	step_act(a, "fsync %s, flags %#x", name_of(fd), flags);
}

static void do_allocate(int fd, int mode, int64_t offset, int64_t len)
{
	struct act *a = new_act(0);

	io_uring_prep_fallocate(begin_act(a), fd, mode, offset, len);
	step_act(a, "fallocate %s, mode %#x, %lld + %lld", name_of(fd), (unsigned)mode,
		 (long long)offset, (long long)len);
}

static int base_directory(void)
{
	return name(do_open("/", O_RDONLY | O_DIRECTORY), "base");
}

static void file_script(void)
{
	int fd = do_open("/file", O_RDWR | O_CREAT | O_EXCL), other;

	do_open("/file", O_RDWR | O_CREAT | O_EXCL);
	do_read(fd, 10, 0);
	do_write(fd, 10, 0);
	do_write(fd, 10, 20); /* a hole */
	do_stat(AT_FDCWD, "/file", 0);
	do_read(fd, 100, 0);
	do_read(fd, 100, 25);
	do_read(fd, 100, 30);
	do_read(fd, 100, 1000);
	do_read(fd, 4, -1);
	do_read(fd, 4, -1);
	do_write(fd, 4, -1);
	do_read(fd, 100, -1);
	do_read(fd, 100, -1);
	do_read(fd, 0, 0);
	do_write(fd, 0, 500);
	do_read(fd, 10, -2);
	do_read(fd, 10, INT64_MAX);
	do_read(fd, 10, INT64_MAX - 10);
	do_write(fd, 10, INT64_MAX);
	do_write(fd, 10, -2);
	other = call_dup(fd, "other"); /* shares the offset */
	do_write(other, 3, -1);
	do_write(fd, 3, -1);
	do_stat(fd, "", AT_EMPTY_PATH);
	say_state(fd);
	do_fsync(fd, 0);
	do_fsync(fd, IORING_FSYNC_DATASYNC);
	other = do_open("/file", O_WRONLY | O_APPEND);
	do_read(other, 10, 0);
	do_write(other, 5, 0);
	do_write(other, 5, -1);
	do_write(fd, 2, -1);
	do_stat(AT_FDCWD, "/file", 0);
	other = do_open("/file", O_RDONLY);
	do_write(other, 5, 0);
	do_read(other, 1000, 0);
	do_allocate(other, 0, 0, 10);
	do_open("/file", O_WRONLY | O_TRUNC);
	do_stat(AT_FDCWD, "/file", 0);
	do_read(other, 1000, 0);
	do_read(other, 1000, -1);
	do_send(fd, 1, 0);
	do_accept(fd, 0, false);
	do_unlink(AT_FDCWD, "/file", 0);
	do_stat(AT_FDCWD, "/file", 0);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_write(fd, 5, 0);
	do_read(other, 10, 0);
	do_poll(fd, POLLIN);
	do_poll(fd, 0);
}

static void file_selected_script(void)
{
	int fd = do_open("/file", O_RDWR | O_CREAT), other;

	do_write(fd, TORC__BUFFER_BYTES + 10, 0);
	do_read_selected(fd, 100, 10, TORC__BUFFER_GROUP);
	do_read_selected(fd, 0, 0, TORC__BUFFER_GROUP);
	do_read_selected(fd, 0, TORC__BUFFER_BYTES, TORC__BUFFER_GROUP); /* less than a buffer */
	do_read_selected(fd, 0, TORC__BUFFER_BYTES + 10, TORC__BUFFER_GROUP);
	do_read_selected(fd, 10, 100000, TORC__BUFFER_GROUP);
	do_read_selected(fd, 10, -1, TORC__BUFFER_GROUP);
	do_read_selected(fd, 10, 0, 9);
	other = do_open("/file", O_WRONLY);
	do_read_selected(other, 10, 0, TORC__BUFFER_GROUP);
	do_read_selected(other, 10, 0, 9);
	do_read_selected(base_directory(), 10, 0, TORC__BUFFER_GROUP);
	do_read_selected(-1, 10, 0, TORC__BUFFER_GROUP);
}

static void allocate_script(void)
{
	int fd = do_open("/file", O_RDWR | O_CREAT), p[2];

	do_allocate(fd, 0, 0, 100);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_allocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_allocate(fd, 0, 50, 100);
	do_read(fd, 1000, 0);
	do_allocate(fd, 0, 0, 0);
	do_allocate(fd, 0, -1, 10);
	do_allocate(fd, 0, 10, -1);
	do_allocate(fd, 0, INT64_MAX, 10);
	do_allocate(fd, 1 << 20, 0, 10);
	do_fsync(fd, 0);
	do_unlink(AT_FDCWD, "/file", 0);
	if (!call_pipe(p, 0))
		return;
	do_allocate(p[1], 0, 0, 10);
	do_fsync(p[1], 0);
	do_fsync(-1, 0);
	do_allocate(-1, 0, 0, 10);
	do_stat(p[1], "", AT_EMPTY_PATH);
	if (!call_pair("a", "b", AF_UNIX, SOCK_STREAM, p))
		return;
	do_allocate(p[1], 0, 0, 10);
	do_fsync(p[1], 0);
	do_stat(p[1], "", AT_EMPTY_PATH);
	fd = call_eventfd(0, 0);
	do_fsync(fd, 0);
	do_allocate(fd, 0, 0, 10);
}

static void directory_script(void)
{
	int base = base_directory(), d, fd;

	do_mkdir(base, "d", 0755);
	do_mkdir(base, "d", 0755);
	do_mkdir(base, "d/", 0755);
	do_mkdir(base, "missing/d", 0755);
	do_mkdir(base, "d/e/", 0700);
	do_mkdir(base, ".", 0700);
	do_mkdir(base, "d/..", 0700);
	do_mkdir(base, "", 0700);
	do_stat(base, "d/e", 0);
	d = do_open_at(base, "d", O_RDONLY | O_DIRECTORY, 0);
	fd = do_open_at(d, "f", O_RDWR | O_CREAT, 0777);
	do_stat(base, "d/f", 0);
	do_stat(base, "d/f/", 0);
	do_stat(base, "d/f/g", 0);
	do_stat(base, "d/./e/../f", 0);
	do_stat(base, "", 0);
	do_stat(base, "d/f", 1 << 20);
	do_stat(base, "d/f", AT_SYMLINK_NOFOLLOW);
	do_stat(fd, "x", 0);
	do_stat(-5, "x", 0);
	do_stat(-5, "/d", 0);
	do_mkdir(fd, "x", 0755);
	do_open_at(base, "d/f/", O_RDONLY, 0);
	do_open_at(base, "d/f", O_RDONLY | O_DIRECTORY, 0);
	do_open_at(base, "d", O_RDWR, 0);
	do_open_at(base, "d", O_RDONLY | O_CREAT, 0644);
	do_open_at(base, "d/new/", O_RDWR | O_CREAT, 0644);
	do_open_at(base, "d/new", O_RDWR | O_CREAT | O_DIRECTORY, 0644);
	do_open_at(base, "missing", O_RDONLY, 0);
	do_open_at(base, "missing/x", O_RDWR | O_CREAT, 0644);
	do_open_at(base, "d/f/x", O_RDWR | O_CREAT, 0644);
	do_open_at(base, "", O_RDONLY, 0);
	do_open_at(base, "d", O_RDONLY | O_TRUNC, 0);
	do_open_at(fd, "x", O_RDONLY, 0);
	do_open_at(-5, "x", O_RDONLY, 0);
	do_read(d, 10, 0);
	do_write(d, 10, 0);
	do_fsync(d, 0);
	do_allocate(d, 0, 0, 10);
	say_state(d);
	do_unlink(base, "d", 0);
	do_unlink(base, "d", AT_REMOVEDIR);
	do_unlink(base, "d/f", AT_REMOVEDIR);
	do_unlink(base, "d/f/", 0);
	do_unlink(base, "d/f", 0);
	do_unlink(base, "d/f", 0);
	do_unlink(base, "d/.", AT_REMOVEDIR);
	do_unlink(base, "d/..", AT_REMOVEDIR);
	do_unlink(base, "d/.", 0);
	do_unlink(base, "missing", AT_REMOVEDIR);
	do_unlink(base, "d/e", AT_REMOVEDIR);
	do_unlink(base, "d", 1);
	do_unlink(base, "d/", AT_REMOVEDIR);
	do_open_at(d, "new", O_RDWR | O_CREAT, 0644); /* it is gone, and open */
	do_mkdir(d, "new", 0755);
	do_stat(d, ".", 0);
	do_stat(d, "..", 0);
	do_open_at(base, "d", O_RDONLY, 0);
}

static void rename_script(void)
{
	int base = base_directory(), fd = do_open_at(base, "a", O_RDWR | O_CREAT, 0644);

	do_write(fd, 10, 0);
	do_mkdir(base, "d", 0755);
	do_mkdir(base, "e", 0755);
	do_mkdir(base, "d/sub", 0755);
	do_rename(base, "a", "b", 0);
	do_rename(base, "a", "b", 0);
	do_stat(base, "b", 0);
	do_rename(base, "b", "b", 0);
	do_rename(base, "b", "d", 0);
	do_rename(base, "d", "b", 0);
	do_rename(base, "b", "d/b", RENAME_NOREPLACE);
	do_open_at(base, "c", O_RDWR | O_CREAT, 0600);
	do_rename(base, "c", "d/b", RENAME_NOREPLACE);
	do_rename(base, "c", "d/b", 0);
	do_stat(base, "d/b", 0);
	do_read(fd, 100, 0);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_rename(base, "d", "e", 0);
	do_rename(base, "e", "d", 0);
	do_rename(base, "d", "e", 0);
	do_rename(base, "d", "d/sub/x", 0);
	do_rename(base, "d/sub", "d", 0);
	do_rename(base, "d/b", "x/", 0);
	do_rename(base, "d/b", "missing/x", 0);
	do_rename(base, "d/b/x", "y", 0);
	do_rename(base, ".", "y", 0);
	do_rename(base, "d", "..", 0);
	do_rename(base, "d", "y/", 0);
	do_rename(base, "y", "z", 1 << 10);
	do_rename(-5, "y", "z", 0);
	do_unlink(base, "y/b", 0);
	do_unlink(base, "y/sub", AT_REMOVEDIR);
	do_unlink(base, "y", AT_REMOVEDIR);
	do_unlink(base, "d/b", 0);
	do_unlink(base, "d/sub", AT_REMOVEDIR);
	do_unlink(base, "d", AT_REMOVEDIR);
	do_unlink(base, "e/b", 0);
	do_unlink(base, "e/sub", AT_REMOVEDIR);
	do_unlink(base, "e", AT_REMOVEDIR);
}

static void open2_script(void)
{
	int base = base_directory(), d;

	do_mkdir(base, "d", 0755);
	do_mkdir(base, "d/e", 0755);
	d = do_open2(base, "d", O_RDONLY | O_DIRECTORY, 0);
	do_open2(d, "e", O_RDONLY, RESOLVE_BENEATH);
	do_open2(d, "e/..", O_RDONLY, RESOLVE_BENEATH);
	do_open2(d, "..", O_RDONLY, RESOLVE_BENEATH);
	do_open2(d, "e/../..", O_RDONLY, RESOLVE_BENEATH);
	do_open2(d, "/d", O_RDONLY, RESOLVE_BENEATH);
	do_open2(d, "..", O_RDONLY, RESOLVE_IN_ROOT);
	do_open2(d, "../e", O_RDONLY, RESOLVE_IN_ROOT);
	do_open2(d, "e", O_RDONLY, RESOLVE_NO_SYMLINKS);
	do_open2(d, "e", O_RDONLY, RESOLVE_BENEATH | RESOLVE_IN_ROOT);
	do_open2(d, "e", O_RDONLY, 1 << 20);
	do_open2(d, "e", O_RDONLY | (1ull << 40), 0);
	do_open2(d, "x", O_RDONLY, RESOLVE_BENEATH);
	do_open2(d, "e", O_PATH, 0);
	do_open2(d, "x", O_RDWR | O_CREAT, 0);
	do_stat(d, "x", 0);
	d = do_open2(d, "e", O_PATH | O_DIRECTORY, 0);
	do_read(d, 1, 0);
	do_fsync(d, 0);
	do_poll(d, POLLIN);
	do_stat(d, "", AT_EMPTY_PATH);
	do_unlink(base, "d/x", 0);
	do_unlink(base, "d/e", AT_REMOVEDIR);
	do_unlink(base, "d", AT_REMOVEDIR);
}

static void path_call(const char *call, const char *path, int r)
{
	say("%s %s: %s", call, path_text(path), result(r));
}

static void file_calls_script(void)
{
	char file[160], other[160];
	int fd;

	snprintf(file, sizeof(file), "%s/file", run.base);
	snprintf(other, sizeof(other), "%s/other", run.base);
	path_call("mkdir", file, torc_sys_mkdir(file, 0750));
	path_call("mkdir", file, torc_sys_mkdir(file, 0750));
	path_call("unlink", file, torc_sys_unlink(file));
	path_call("rename", file, torc_sys_rename(file, other));
	path_call("rename", file, torc_sys_rename(file, other));
	path_call("rmdir", file, torc_sys_rmdir(file));
	path_call("rmdir", other, torc_sys_rmdir(other));
	fd = torc_sys_open(file, O_RDONLY, 0);
	path_call("open", file, fd);
	fd = name(torc_sys_open(file, O_WRONLY | O_CREAT | O_APPEND, 0666), "file");
	say("write(2): %s", result(torc_sys_write(fd, "hello", 5)));
	say("write(2): %s", result(torc_sys_write(fd, "hello", 5)));
	do_stat(fd, "", AT_EMPTY_PATH);
	do_read(fd, 10, 0);
	path_call("rmdir", file, torc_sys_rmdir(file));
	path_call("unlink", file, torc_sys_unlink(file));
	path_call("unlink", file, torc_sys_unlink(file));
	call_bind(fd, &(struct address){ .len = 16 });
	call_name(fd, true);
}

/* --- vectored transfers, lengths, advice --- */

#define PIECES 4

/* In pieces of 1, 0, 2/3 and the rest of what is left. */
static void cut_memory(struct act *a, struct iovec *v)
{
	size_t at = 0;

	for (unsigned i = 0; i < PIECES; i++) {
		size_t left = a->len - at, len = i == 0   ? left > 0
						 : i == 1 ? 0
						 : i == 2 ? left * 2 / 3
							  : left;

		v[i] = (struct iovec){ a->memory + at, len };
		at += len;
	}
}

static struct act *do_readv(int fd, unsigned len, int64_t offset, int flags)
{
	struct act *a = new_act(len);
	struct iovec v[PIECES];

	a->fills = true;
	cut_memory(a, v);
	io_uring_prep_readv2(begin_act(a), fd, v, PIECES, (uint64_t)offset, flags);
	step_act(a, "readv %s, %u bytes at %lld, flags %#x", name_of(fd), len, (long long)offset,
		 (unsigned)flags);
	return a;
}

static void do_writev(int fd, unsigned len, int64_t offset, int flags)
{
	struct act *a = new_act(len);
	struct iovec v[PIECES];

	fill_bytes(a->memory, len);
	cut_memory(a, v);
	io_uring_prep_writev2(begin_act(a), fd, v, PIECES, (uint64_t)offset, flags);
	step_act(a, "writev %s, %u bytes at %lld, flags %#x", name_of(fd), len, (long long)offset,
		 (unsigned)flags);
}

/* So many empty pieces, or one that is too long. */
static void do_wrong_vector(int fd, unsigned count, size_t len)
{
	static struct iovec v[2000];
	struct act *a = new_act(1);

	for (unsigned i = 0; i < count; i++)
		v[i] = (struct iovec){ a->memory, len };
	io_uring_prep_readv(begin_act(a), fd, v, count, 0);
	step_act(a, "readv %s, %u pieces of %zu", name_of(fd), count, len);
}

static void vector_script(void)
{
	int fd = do_open("/file", O_RDWR | O_CREAT), other, p[2];
	struct act *a;

	do_writev(fd, 30, 0, 0);
	do_writev(fd, 10, -1, 0);
	do_readv(fd, 100, 0, 0);
	do_readv(fd, 100, 25, 0);
	do_readv(fd, 100, 30, 0);
	do_readv(fd, 7, -1, 0);
	do_readv(fd, 100, -1, 0);
	do_readv(fd, 0, 0, 0);
	do_writev(fd, 0, 500, 0);
	do_writev(fd, 5, 0, RWF_APPEND);
	do_writev(fd, 5, 3, RWF_DSYNC);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_read(fd, 100, 0);
	do_readv(fd, 5, 0, 1 << 20);
	do_writev(fd, 5, 0, 1 << 20);
	do_wrong_vector(fd, 1025, 0);
	do_wrong_vector(fd, 1024, 0);
	do_wrong_vector(fd, 0, 0);
	do_wrong_vector(fd, 1, SIZE_MAX);
	other = do_open("/file", O_RDONLY);
	do_writev(other, 5, 0, 0);
	other = do_open("/file", O_WRONLY);
	do_readv(other, 5, 0, 0);
	do_readv(-1, 5, 0, 0);
	do_writev(-1, 5, 0, 0);
	other = base_directory();
	do_readv(other, 5, 0, 0);
	do_unlink(AT_FDCWD, "/file", 0);
	if (!call_pipe(p, 0))
		return;
	do_writev(p[1], 20, 0, 0);
	do_readv(p[0], 8, 0, 0);
	do_readv(p[0], 80, 0, 0);
	do_readv(p[0], 8, 0, RWF_NOWAIT);
	a = do_readv(p[0], 8, 0, 0); /* waits */
	do_writev(p[1], 5, 0, 0);
	a = do_readv(p[0], 8, 0, 0);
	do_cancel(a);
	do_close(p[0]);
	do_writev(p[1], 5, 0, 0);
	if (!call_pair("a", "b", AF_UNIX, SOCK_STREAM, p))
		return;
	do_writev(p[0], 12, 0, 0);
	do_readv(p[1], 80, 0, 0);
}

static void do_truncate(int fd, int64_t len)
{
	struct act *a = new_act(0);

	io_uring_prep_rw(TORC__OP_FTRUNCATE, begin_act(a), fd, NULL, 0, (uint64_t)len);
	step_act(a, "truncate %s to %lld", name_of(fd), (long long)len);
}

static void do_sync_range(int fd, int64_t offset, unsigned len, int flags)
{
	struct act *a = new_act(0);

	io_uring_prep_sync_file_range(begin_act(a), fd, len, (uint64_t)offset, flags);
	step_act(a, "sync %s, %lld + %u, flags %#x", name_of(fd), (long long)offset, len,
		 (unsigned)flags);
}

static void do_advise(int fd, int advice)
{
	struct act *a = new_act(0);

	io_uring_prep_fadvise(begin_act(a), fd, 0, 0, advice);
	step_act(a, "advise %s, %d", name_of(fd), advice);
}

/* Before Linux 6.9 the ring has no such operation, and nothing is compared. */
static void truncate_script(void)
{
	struct torc__ring *ring = &torc__self()->loop->ring;
	int fd = do_open("/file", O_RDWR | O_CREAT), other, p[2];

	if (!torc__ring_has(ring, TORC__OP_FTRUNCATE, 0))
		return;
	do_write(fd, 20, 0);
	do_truncate(fd, 10);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_truncate(fd, 15); /* what was cut off is zero now */
	do_read(fd, 100, 0);
	do_truncate(fd, 0);
	do_read(fd, 100, 0);
	do_truncate(fd, -1);
	other = do_open("/file", O_RDONLY);
	do_truncate(other, 5);
	do_truncate(base_directory(), 5);
	do_truncate(-1, 5);
	do_unlink(AT_FDCWD, "/file", 0);
	do_truncate(fd, 5);
	if (!call_pipe(p, 0))
		return;
	do_truncate(p[1], 0);
}

static void advice_script(void)
{
	int fd = do_open("/file", O_RDWR | O_CREAT), base = base_directory(), p[2];

	do_sync_range(fd, 0, 0, 0);
	do_sync_range(fd, 10, 100, SYNC_FILE_RANGE_WRITE);
	do_sync_range(fd, 10, 100, 8);
	do_sync_range(fd, -1, 100, 0);
	do_sync_range(fd, INT64_MAX, 100, 0);
	do_sync_range(base, 0, 0, SYNC_FILE_RANGE_WRITE);
	do_sync_range(-1, 0, 0, 0);
	do_advise(fd, POSIX_FADV_RANDOM);
	do_advise(fd, POSIX_FADV_WILLNEED);
	do_advise(fd, POSIX_FADV_DONTNEED);
	do_advise(fd, 6);
	do_advise(base, POSIX_FADV_NORMAL);
	do_advise(-1, 0);
	do_unlink(AT_FDCWD, "/file", 0);
	if (!call_pipe(p, 0))
		return;
	do_sync_range(p[0], 0, 0, SYNC_FILE_RANGE_WRITE);
	do_sync_range(p[0], 0, 0, 8);
	do_advise(p[0], 0);
	do_advise(p[0], 6);
	if (!call_pair("a", "b", AF_UNIX, SOCK_STREAM, p))
		return;
	do_sync_range(p[0], 0, 0, 0);
	do_advise(p[0], 0);
	do_advise(p[0], 6);
}

/* --- links --- */

static void do_link(int directory, const char *from, const char *to, int flags)
{
	struct act *a = new_path_act(from);

	io_uring_prep_linkat(begin_act(a), directory, a->memory, directory, to, flags);
	step_act(a, "link %s: %s to %s, flags %#x", name_of(directory), from, to, (unsigned)flags);
}

static void do_symlink(int directory, const char *target, const char *path)
{
	struct act *a = new_path_act(path);

	io_uring_prep_symlinkat(begin_act(a), target, directory, a->memory);
	step_act(a, "symlink %s: %s leads to %s", name_of(directory), path, target);
}

/* A call that may wait: of the seam, as io/file.c makes it on another thread. */
static void call_readlink(int directory, const char *path, size_t size)
{
	char target[100] = "";
	int r = torc__system->readlinkat(directory, path, target, size);

	say("readlink %s:%s, %zu bytes: %s %s", name_of(directory), path, size, result(r), target);
}

static void link_script(void)
{
	int base = base_directory(), fd = do_open_at(base, "a", O_RDWR | O_CREAT, 0644);

	do_write(fd, 10, 0);
	do_mkdir(base, "d", 0755);
	do_link(base, "a", "b", 0);
	do_stat(base, "b", 0);
	do_link(base, "a", "b", 0);
	do_link(base, "missing", "c", 0);
	do_link(base, "a", "missing/c", 0);
	do_link(base, "a", "d/c", 0);
	do_link(base, "a", "c/", 0);
	do_link(base, "a/", "c", 0);
	do_link(base, "a", "d/.", 0);
	do_link(base, "a", "..", 0);
	do_link(base, "d", "c", 0);
	do_link(base, "d", "b", 0);
	do_link(base, "a", "c", 1);
	do_link(base, "", "c", 0);
	do_link(base, "a/x", "c", 0);
	do_link(-5, "a", "c", 0);
	do_rename(base, "a", "b", 0); /* one file: both stay */
	do_stat(base, "a", 0);
	do_unlink(base, "a", 0);
	do_stat(base, "b", 0);
	do_unlink(base, "b", 0);
	do_unlink(base, "d/c", 0);
	do_stat(fd, "", AT_EMPTY_PATH);
	do_link(fd, "", "c", AT_EMPTY_PATH);
	do_unlink(base, "d", AT_REMOVEDIR);
}

static void symlink_script(void)
{
	int base = base_directory(), fd = do_open_at(base, "a", O_RDWR | O_CREAT, 0644);

	do_write(fd, 10, 0);
	do_mkdir(base, "d", 0755);
	do_mkdir(base, "d/e", 0755);
	do_symlink(base, "a", "l");
	do_symlink(base, "a", "l");
	do_symlink(base, "", "x");
	do_symlink(base, "x", "missing/l");
	do_symlink(base, "x", "y/");
	do_symlink(base, "nowhere", "broken");
	do_symlink(base, "circle", "circle");
	do_symlink(base, "../a", "d/up");
	do_symlink(base, "d/e", "e");
	do_symlink(base, "d/", "slash");
	do_stat(base, "l", 0);
	do_stat(base, "l", AT_SYMLINK_NOFOLLOW);
	do_stat(base, "l/", 0);
	do_stat(base, "broken", 0);
	do_stat(base, "broken", AT_SYMLINK_NOFOLLOW);
	do_stat(base, "circle", 0);
	do_stat(base, "circle/x", 0);
	do_stat(base, "d/up", 0);
	do_stat(base, "e/../up", 0);
	do_stat(base, "e/", AT_SYMLINK_NOFOLLOW);
	do_stat(base, "slash/e", 0);
	do_stat(base, "slash/up/x", 0);
	do_open_at(base, "l", O_RDONLY, 0);
	do_open_at(base, "l", O_RDONLY | O_NOFOLLOW, 0);
	do_open_at(base, "e", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0);
	do_open_at(base, "e/", O_RDONLY | O_NOFOLLOW | O_DIRECTORY, 0);
	do_open_at(base, "l", O_PATH | O_NOFOLLOW, 0);
	do_open_at(base, "l", O_RDWR | O_CREAT | O_EXCL, 0644);
	do_open_at(base, "broken", O_RDWR | O_CREAT | O_EXCL, 0644);
	do_open_at(base, "broken", O_RDWR, 0);
	do_open_at(base, "broken", O_RDWR | O_CREAT, 0644);
	do_stat(base, "nowhere", 0);
	do_open_at(base, "circle", O_RDWR | O_CREAT, 0644);
	do_open2(base, "l", O_RDONLY, RESOLVE_NO_SYMLINKS);
	do_open2(base, "e/x", O_RDONLY, RESOLVE_NO_SYMLINKS);
	do_open2(base, "d/up", O_RDONLY, RESOLVE_BENEATH);
	fd = do_open_at(base, "d", O_RDONLY | O_DIRECTORY, 0);
	do_open2(fd, "up", O_RDONLY, RESOLVE_BENEATH);
	do_open2(fd, "up", O_RDONLY, RESOLVE_IN_ROOT);
	do_symlink(base, "/e", "d/root");
	do_open2(fd, "root", O_RDONLY, RESOLVE_BENEATH);
	do_open2(fd, "root", O_RDONLY, RESOLVE_IN_ROOT);
	do_mkdir(base, "l", 0755);
	do_mkdir(base, "e/f", 0755);
	do_stat(base, "d/e/f", 0);
	do_link(base, "l", "k", 0);
	do_stat(base, "k", AT_SYMLINK_NOFOLLOW);
	do_link(base, "l", "m", AT_SYMLINK_FOLLOW);
	do_stat(base, "m", AT_SYMLINK_NOFOLLOW);
	do_rename(base, "k", "n", 0);
	do_stat(base, "n", AT_SYMLINK_NOFOLLOW);
	call_readlink(base, "n", 100);
	call_readlink(base, "broken", 3);
	call_readlink(base, "a", 100);
	call_readlink(base, "missing", 100);
	call_readlink(base, "d/up", 100);
	call_readlink(base, "e/../up", 100);
	do_unlink(base, "e", AT_REMOVEDIR);
	do_unlink(base, "e", 0);
	do_unlink(base, "n", 0);
	do_stat(base, "a", 0);
}

/* --- what is in a directory --- */

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Sorted, as nobody promises an order. */
static void call_list(int fd, size_t size)
{
	_Alignas(8) char buf[4096];
	char lines[64][64];
	size_t count = 0;
	int r = torc_sys_getdents(fd, buf, size);

	say("list %s, %zu bytes: %s", name_of(fd), size, r > 0 ? "some" : result(r));
	for (int at = 0; at < r && count < 64;) {
		const struct dirent64 *e = (const struct dirent64 *)(void *)(buf + at);

		snprintf(lines[count++], sizeof(lines[0]), "  %.40s, type %d", e->d_name,
			 e->d_type);
		at += e->d_reclen;
	}
	qsort(lines, count, sizeof(lines[0]), by_text);
	for (size_t i = 0; i < count; i++)
		say("%s", lines[i]);
}

static void list_script(void)
{
	int base = base_directory(), d, p[2];

	do_mkdir(base, "d", 0755);
	do_mkdir(base, "d/sub", 0755);
	do_symlink(base, "x", "d/link");
	do_open_at(base, "d/file", O_RDWR | O_CREAT, 0644);
	d = do_open_at(base, "d", O_RDONLY | O_DIRECTORY, 0);
	call_list(d, 10);
	call_list(d, 4096);
	call_list(d, 4096);
	d = do_open_at(base, "d", O_RDONLY | O_DIRECTORY, 0);
	do_unlink(base, "d/file", 0);
	call_list(d, 4096);
	call_list(do_open_at(base, "d", O_PATH | O_DIRECTORY, 0), 4096);
	call_list(-1, 4096);
	do_open_at(base, "file", O_RDWR | O_CREAT, 0644);
	call_list(do_open_at(base, "file", O_RDONLY, 0), 4096);
	d = do_open_at(base, "d/sub", O_RDONLY | O_DIRECTORY, 0);
	do_unlink(base, "d/sub", AT_REMOVEDIR);
	call_list(d, 4096);
	if (!call_pipe(p, 0))
		return;
	call_list(p[0], 4096);
}

static void call_chmod(int fd, unsigned mode)
{
	say("chmod %s to %#o: %s", name_of(fd), mode, result(torc_sys_fchmod(fd, mode)));
	do_stat(fd, "", AT_EMPTY_PATH);
}

static void chmod_script(void)
{
	int base = base_directory(), fd = do_open_at(base, "a", O_RDWR | O_CREAT, 0644);

	call_chmod(fd, 0600);
	call_chmod(fd, 04711);
	call_chmod(fd, 0100000 | 0644);
	say("chmod: %s", result(torc_sys_fchmod(do_open_at(base, "a", O_PATH, 0), 0600)));
	say("chmod: %s", result(torc_sys_fchmod(-1, 0600)));
}

/* --- registered memory --- */

static void call_fixed(struct torc_arena *a, int fd, char *memory, unsigned len, int64_t offset,
		       bool writes)
{
	int r = writes ? torc_pwrite_fixed(a, fd, memory, len, offset)
		       : torc_pread_fixed(a, fd, memory, len, offset);

	say("%s %s, %u bytes at %lld: %s, sum %08x", writes ? "write" : "read", name_of(fd), len,
	    (long long)offset, result(r), r > 0 ? sum_of_bytes(memory, (size_t)r) : 0);
}

static void fixed_script(void)
{
	int fd = do_open("/file", O_RDWR | O_CREAT), other, p[2];
	struct torc_arena a;
	void *memory;

	check_eq(torc_arena_open(&a, 1, 8192, 0), 0);
	check_eq(torc_arena_take(&a, &memory), 0);
	fill_bytes(memory, 8192);
	call_fixed(&a, fd, memory, 5000, 0, true);
	call_fixed(&a, fd, (char *)memory + 100, 5000, 4000, true);
	call_fixed(&a, fd, memory, 8192, 10, false);
	call_fixed(&a, fd, memory, 8192, 100000, false);
	call_fixed(&a, fd, memory, 0, 0, false);
	call_fixed(&a, fd, (char *)memory + 8192, 0, 0, false);
	do_stat(fd, "", AT_EMPTY_PATH);
	other = do_open("/file", O_RDONLY);
	call_fixed(&a, other, memory, 10, 0, true);
	call_fixed(&a, base_directory(), memory, 10, 0, false);
	call_fixed(&a, -1, memory, 10, 0, false);
	if (call_pipe(p, 0)) {
		call_fixed(&a, p[1], memory, 10, 0, true);
		call_fixed(&a, p[0], memory, 100, 0, false);
	}
	torc_arena_give(&a, memory);
	torc_arena_close(&a);
}

#endif
