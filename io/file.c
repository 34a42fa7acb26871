#include <torc/io/file.h>

#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <torc/core/scope.h>
#include <torc/executor/offload.h>

#include "core/internal/compat.h"
#include "core/internal/fiber.h"
#include "io/internal/call.h"

/* The descriptor's own position. */
#define HERE ((uint64_t)-1)

/* liburing 2.3 ends before these. */
static void io_uring_prep_ftruncate_at(struct io_uring_sqe *sqe, int fd, off_t len)
{
	io_uring_prep_rw(TORC__OP_FTRUNCATE, sqe, fd, NULL, 0, (uint64_t)len);
}

/* --- open and close --- */

int torc_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	return TORC__CALL(openat, dirfd, path, flags | O_CLOEXEC, mode);
}

int torc_open(const char *path, int flags, mode_t mode)
{
	return torc_openat(AT_FDCWD, path, flags, mode);
}

int torc_openat2(int dirfd, const char *path, const struct open_how *how)
{
	struct open_how copy = *how;

	return TORC__CALL(openat2, dirfd, path, &copy);
}

int torc_close_wait(int fd)
{
	struct torc_scope shield;
	int r;

	torc_scope_enter_shield(&shield, TORC_NEVER);
	r = TORC__CALL(close, fd);
	torc_scope_leave(&shield);
	return r;
}

/* --- read and write --- */

int torc_read(int fd, void *buf, size_t len)
{
	return TORC__CALL(read, fd, buf, torc__at_once(len), HERE);
}

int torc_write(int fd, const void *buf, size_t len)
{
	return TORC__CALL(write, fd, buf, torc__at_once(len), HERE);
}

/* The ring takes -1 for the descriptor's own position, and leaves the others to the file. */
int torc_pread(int fd, void *buf, size_t len, off_t offset)
{
	if (offset < 0)
		return -EINVAL;
	return TORC__CALL(read, fd, buf, torc__at_once(len), (uint64_t)offset);
}

int torc_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	if (offset < 0)
		return -EINVAL;
	return TORC__CALL(write, fd, buf, torc__at_once(len), (uint64_t)offset);
}

int torc_preadv2(int fd, const struct iovec *iov, unsigned iov_count, off_t offset, int flags)
{
	if (offset < -1)
		return -EINVAL;
	return TORC__CALL(readv2, fd, iov, iov_count, (uint64_t)offset, flags);
}

int torc_pwritev2(int fd, const struct iovec *iov, unsigned iov_count, off_t offset, int flags)
{
	if (offset < -1)
		return -EINVAL;
	return TORC__CALL(writev2, fd, iov, iov_count, (uint64_t)offset, flags);
}

int torc_readv(int fd, const struct iovec *iov, unsigned iov_count)
{
	return torc_preadv2(fd, iov, iov_count, -1, 0);
}

int torc_writev(int fd, const struct iovec *iov, unsigned iov_count)
{
	return torc_pwritev2(fd, iov, iov_count, -1, 0);
}

int torc_preadv(int fd, const struct iovec *iov, unsigned iov_count, off_t offset)
{
	return offset < 0 ? -EINVAL : torc_preadv2(fd, iov, iov_count, offset, 0);
}

int torc_pwritev(int fd, const struct iovec *iov, unsigned iov_count, off_t offset)
{
	return offset < 0 ? -EINVAL : torc_pwritev2(fd, iov, iov_count, offset, 0);
}

int torc_pread_all(int fd, void *buf, size_t len, off_t offset)
{
	char *p = buf;

	while (len) {
		int r = torc_pread(fd, p, len, offset);

		if (r <= 0)
			return r ? r : -ENODATA;
		p += r;
		len -= (size_t)r;
		offset += r;
	}
	return 0;
}

/* The ring (of Linux 6.18) leaves a file's own position where it was when a write is cut short. */
static off_t position_of(int fd, uint64_t offset)
{
	return offset == HERE && torc__on_linux() ? lseek(fd, 0, SEEK_CUR) : -1;
}

static void mend_position(int fd, off_t before, int written)
{
	if (before >= 0 && lseek(fd, 0, SEEK_CUR) == before)
		(void)lseek(fd, before + written, SEEK_SET);
}

static int write_all(int fd, const char *p, size_t len, uint64_t offset)
{
	while (len) {
		off_t before = position_of(fd, offset);
		int r = TORC__CALL(write, fd, p, torc__at_once(len), offset);

		if (r > 0 && (size_t)r < len)
			mend_position(fd, before, r);

		if (r <= 0)
			return r ? r : -EIO;
		p += r;
		len -= (size_t)r;
		if (offset != HERE)
			offset += (unsigned)r;
	}
	return 0;
}

int torc_pwrite_all(int fd, const void *buf, size_t len, off_t offset)
{
	return offset < 0 ? -EINVAL : write_all(fd, buf, len, (uint64_t)offset);
}

int torc_write_all(int fd, const void *buf, size_t len)
{
	return write_all(fd, buf, len, HERE);
}

/* --- to the disk --- */

int torc_fsync(int fd)
{
	return TORC__CALL(fsync, fd, 0);
}

int torc_fdatasync(int fd)
{
	return TORC__CALL(fsync, fd, IORING_FSYNC_DATASYNC);
}

/* An entry has 32 bits for the length: several, unless it is to the end anyway. */
int torc_sync_file_range(int fd, off_t offset, size_t len, int flags)
{
	unsigned part;
	int r;

	if (offset < 0 || len > (uint64_t)(INT64_MAX - offset))
		return -EINVAL;
	do {
		part = torc__at_once(len);
		r = TORC__CALL(sync_file_range, fd, part, (uint64_t)offset, flags);
		offset += part;
		len -= part;
	} while (!r && len);
	return r;
}

int torc_fallocate(int fd, int mode, off_t offset, off_t len)
{
	return TORC__CALL(fallocate, fd, mode, offset, len);
}

int torc_fadvise(int fd, off_t offset, off_t len, int advice)
{
	if (len < 0)
		return -EINVAL; /* 32 bits of it would be a length */
	/* 32 bits of length there; what is longer is as good as the rest of the file. */
	return TORC__CALL(fadvise, fd, (uint64_t)offset, len > INT_MAX ? 0 : (off_t)len, advice);
}

/* --- names and metadata --- */

int torc_statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *ret_stat)
{
	return TORC__CALL(statx, dirfd, path, flags, mask, ret_stat);
}

int torc_renameat2(int from_dirfd, const char *from, int to_dirfd, const char *to, unsigned flags)
{
	return TORC__CALL(renameat, from_dirfd, from, to_dirfd, to, flags);
}

int torc_rename(const char *from, const char *to)
{
	return torc_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int torc_unlinkat(int dirfd, const char *path, int flags)
{
	return TORC__CALL(unlinkat, dirfd, path, flags);
}

int torc_unlink(const char *path)
{
	return torc_unlinkat(AT_FDCWD, path, 0);
}

int torc_rmdir(const char *path)
{
	return torc_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int torc_mkdirat(int dirfd, const char *path, mode_t mode)
{
	return TORC__CALL(mkdirat, dirfd, path, mode);
}

int torc_mkdir(const char *path, mode_t mode)
{
	return torc_mkdirat(AT_FDCWD, path, mode);
}

int torc_linkat(int from_dirfd, const char *from, int to_dirfd, const char *to, int flags)
{
	return TORC__CALL(linkat, from_dirfd, from, to_dirfd, to, flags);
}

int torc_symlinkat(const char *target, int dirfd, const char *path)
{
	return TORC__CALL(symlinkat, target, dirfd, path);
}

/* --- extended attributes --- */

int torc_getxattr(const char *path, const char *name, void *ret_value, size_t size)
{
	return TORC__CALL(getxattr, name, ret_value, path, torc__at_once(size));
}

int torc_fgetxattr(int fd, const char *name, void *ret_value, size_t size)
{
	return TORC__CALL(fgetxattr, fd, name, ret_value, torc__at_once(size));
}

int torc_setxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	return TORC__CALL(setxattr, name, value, path, flags, torc__at_once(size));
}

int torc_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	return TORC__CALL(fsetxattr, fd, name, value, flags, torc__at_once(size));
}

/* --- from descriptor to descriptor --- */

int torc_splice(int from, off_t from_offset, int to, off_t to_offset, size_t len, unsigned flags)
{
	return TORC__CALL(splice, from, from_offset, to, to_offset, torc__at_once(len), flags);
}

int torc_tee(int from, int to, size_t len, unsigned flags)
{
	return TORC__CALL(tee, from, to, torc__at_once(len), flags);
}

/* --- what the ring does not have: on another thread --- */

/* One such call. Those who wait for it keep what it points to. */
struct request {
	ssize_t (*fn)(const struct request *q);
	const char *path, *name;
	void *memory;
	size_t size;
	off_t offset, to_offset;
	int fd, to_fd, flags;
	unsigned first, second;
};

static int run_request(void *arg)
{
	const struct request *q = arg;
	ssize_t r;

	do
		r = q->fn(q);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (int)r;
}

static int elsewhere(struct request *q)
{
	return torc__on_linux() ? torc_offload(run_request, q) : -ENOSYS;
}

/* Those that the simulator has too say what is wrong themselves. */
static int run_for_system(void *arg)
{
	const struct request *q = arg;
	ssize_t r;

	do
		r = q->fn(q);
	while (r == -EINTR);
	return (int)r;
}

static ssize_t do_ftruncate(const struct request *q)
{
	return torc__system->ftruncate(q->fd, q->offset);
}

int torc_ftruncate(int fd, off_t len)
{
	struct torc__ring *ring = &torc__self()->loop->ring;

	if (len < 0)
		return -EINVAL;
	if (torc__ring_has(ring, TORC__OP_FTRUNCATE, TORC__RING_FTRUNCATE))
		return TORC__CALL(ftruncate_at, fd, len);
	return torc_offload(run_for_system,
			    &(struct request){ .fn = do_ftruncate, .fd = fd, .offset = len });
}

/* By way of memory of its own: the caller's is written on success only. */
static ssize_t do_readlinkat(const struct request *q)
{
	char target[PATH_MAX];
	int len = torc__system->readlinkat(q->fd, q->path, target, sizeof(target));

	if (len < 0)
		return len;
	if ((size_t)len >= q->size || (size_t)len == sizeof(target))
		return -ERANGE;
	memcpy(q->memory, target, (size_t)len);
	((char *)q->memory)[len] = '\0';
	return len;
}

int torc_readlinkat(int dirfd, const char *path, char *ret_target, size_t size)
{
	struct request q = {
		.fn = do_readlinkat, .fd = dirfd, .path = path, .memory = ret_target, .size = size
	};

	return torc_offload(run_for_system, &q);
}

static ssize_t do_fchmodat(const struct request *q)
{
	if (q->flags == AT_EMPTY_PATH && !*q->path)
		return fchmod(q->fd, q->first);
	return fchmodat(q->fd, q->path, q->first, q->flags);
}

int torc_fchmodat(int dirfd, const char *path, mode_t mode, int flags)
{
	return elsewhere(&(struct request){
		.fn = do_fchmodat, .fd = dirfd, .path = path, .first = mode, .flags = flags });
}

static ssize_t do_fchownat(const struct request *q)
{
	return fchownat(q->fd, q->path, q->first, q->second, q->flags);
}

int torc_fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags)
{
	return elsewhere(&(struct request){ .fn = do_fchownat,
					    .fd = dirfd,
					    .path = path,
					    .first = owner,
					    .second = group,
					    .flags = flags });
}

static ssize_t do_utimensat(const struct request *q)
{
	return utimensat(q->fd, q->path, q->memory, q->flags);
}

int torc_utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
	return elsewhere(&(struct request){ .fn = do_utimensat,
					    .fd = dirfd,
					    .path = path,
					    .memory = (void *)(uintptr_t)times,
					    .flags = flags });
}

static ssize_t do_flistxattr(const struct request *q)
{
	return flistxattr(q->fd, q->memory, q->size);
}

int torc_flistxattr(int fd, char *ret_names, size_t size)
{
	return elsewhere(&(struct request){
		.fn = do_flistxattr, .fd = fd, .memory = ret_names, .size = size });
}

static ssize_t do_fremovexattr(const struct request *q)
{
	return fremovexattr(q->fd, q->name);
}

int torc_fremovexattr(int fd, const char *name)
{
	return elsewhere(&(struct request){ .fn = do_fremovexattr, .fd = fd, .name = name });
}

static ssize_t do_copy_file_range(const struct request *q)
{
	off64_t from = q->offset, to = q->to_offset;

	return copy_file_range(q->fd, &from, q->to_fd, &to, q->size, 0);
}

int torc_copy_file_range(int from, off_t from_offset, int to, off_t to_offset, size_t len)
{
	if (from_offset < 0 || to_offset < 0)
		return -EINVAL;
	return elsewhere(&(struct request){ .fn = do_copy_file_range,
					    .fd = from,
					    .offset = from_offset,
					    .to_fd = to,
					    .to_offset = to_offset,
					    .size = torc__at_once(len) });
}
