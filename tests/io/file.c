#include "tests/io/files.h"

#include <linux/openat2.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <torc/core/timeout.h>

#include "core/internal/compat.h"
#include "core/internal/kernel.h"
#include "io/internal/call.h"

TestSuite(file, .timeout = 60);

/* --- open and close --- */

static int opens(void *arg)
{
	struct stat st;
	int fd, dir;

	(void)arg;
	umask(022);
	fd = torc_open("new", O_RDWR | O_CREAT | O_EXCL, 0666);
	check_ge(fd, 0);
	check_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	check_eq(fstat(fd, &st), 0);
	check_eq(st.st_mode & 07777, 0644);
	check_eq(torc_close_wait(fd), 0);
	check_eq(mkdir("dir", 0755), 0);
	dir = torc_open("dir", O_RDONLY | O_DIRECTORY, 0);
	fd = torc_openat(dir, "inner", O_WRONLY | O_CREAT, 0600);
	check_eq(torc_close_wait(fd), 0);
	check(exists("dir/inner"));
	fd = torc_openat(dir, ".", O_TMPFILE | O_RDWR, 0600);
	check(fd >= 0 || fd == -EOPNOTSUPP);
	if (fd >= 0)
		check_eq(torc_close_wait(fd), 0);
	check_eq(torc_close_wait(dir), 0);
	return 0;
}

Test(file, open_returns_a_descriptor_that_is_closed_on_exec)
{
	run_in_directory(opens, NULL);
}

static int running_program(void)
{
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	check_ge(n, 1);
	self[n] = '\0';
	return torc_open(self, O_RDWR, 0);
}

static int open_errors(void *arg)
{
	char long_name[300], long_path[5000];

	(void)arg;
	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	memset(long_path, '/', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	put_file("file", "x");
	check_eq(mkdir("dir", 0755), 0);
	check_eq(symlink("loop", "loop"), 0);
	check_eq(symlink("file", "link"), 0);
	check_eq(mkfifo("fifo", 0600), 0);
	check_eq(torc_open("missing", O_RDONLY, 0), -ENOENT);
	check_eq(torc_open("", O_RDONLY, 0), -ENOENT);
	check_eq(torc_open("file/x", O_RDONLY, 0), -ENOTDIR);
	check_eq(torc_open("file", O_RDONLY | O_DIRECTORY, 0), -ENOTDIR);
	check_eq(torc_open("file", O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST);
	check_eq(torc_open("dir", O_WRONLY, 0), -EISDIR);
	check_eq(torc_open("loop", O_RDONLY, 0), -ELOOP);
	check_eq(torc_open("link", O_RDONLY | O_NOFOLLOW, 0), -ELOOP);
	check_eq(torc_open("fifo", O_WRONLY | O_NONBLOCK, 0), -ENXIO);
	check_eq(torc_open(long_name, O_RDONLY, 0), -ENAMETOOLONG);
	check_eq(torc_open(long_path, O_RDONLY, 0), -ENAMETOOLONG);
	check_eq(torc_open((const char *)(uintptr_t)16, O_RDONLY, 0), -EFAULT);
	check_eq(torc_openat(-5, "file", O_RDONLY, 0), -EBADF);
	check_eq(running_program(), -ETXTBSY);
	if (geteuid())
		check_eq(torc_open("/proc/1/mem", O_RDONLY, 0), -EACCES);
	return 0;
}

Test(file, open_reports_what_is_wrong_with_a_path)
{
	run_in_directory(open_errors, NULL);
}

/* With as few as the process can do with, and one more that the call takes and gives back. */
static int open_without_descriptors(void *arg)
{
	struct rlimit old, few;
	int fd, last = dup(0);

	(void)arg;
	check_ge(last, 0);
	close(last);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ (rlim_t)last, old.rlim_max };
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	check_eq(torc_open("new", O_RDWR | O_CREAT, 0600), -EMFILE);
	few.rlim_cur++;
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	fd = torc_open("file", O_RDWR | O_CREAT, 0600);
	check_eq(fd, last);
	check_eq(torc_open("file", O_RDONLY, 0), -EMFILE);
	check_eq(torc_close_wait(fd), 0);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	return 0;
}

Test(file, open_reports_emfile_without_a_descriptor)
{
	run_in_directory(open_without_descriptors, NULL);
}

static int opens_beneath(void *arg)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH };
	int dir, fd;

	(void)arg;
	check_eq(mkdir("dir", 0755), 0);
	put_file("dir/in", "in");
	put_file("out", "out");
	check_eq(symlink("../out", "dir/escape"), 0);
	check_eq(symlink("in", "dir/link"), 0);
	dir = torc_open("dir", O_PATH | O_DIRECTORY, 0);
	check_ge(dir, 0);
	fd = torc_openat2(dir, "link", &how);
	check_ge(fd, 0);
	check_eq(torc_close_wait(fd), 0);
	check_eq(torc_openat2(dir, "escape", &how), -EXDEV);
	check_eq(torc_openat2(dir, "../out", &how), -EXDEV);
	how.resolve = RESOLVE_NO_SYMLINKS;
	check_eq(torc_openat2(dir, "link", &how), -ELOOP);
	how.resolve = 1u << 30;
	check_eq(torc_openat2(dir, "in", &how), -EINVAL);
	how = (struct open_how){ .flags = O_RDWR | O_CREAT,
				 .mode = 0600,
				 .resolve = RESOLVE_CACHED };
	check_eq(torc_openat2(dir, "new", &how), -EAGAIN);
	check_cancelled(torc_openat2(dir, "in", &how));
	check_eq(torc_close_wait(dir), 0);
	return 0;
}

Test(file, openat2_keeps_a_path_where_it_is_told_to)
{
	run_in_directory(opens_beneath, NULL);
}

/* With O_CREAT the ring waits for the other side as open(2) does. */
static int open_pipe(void *arg)
{
	return torc_open("fifo", *(int *)arg | O_CREAT, 0600);
}

/* The other side opens as well: the open under way may succeed. */
static void open_other_side(void *arg)
{
	int fd = open("fifo", *(int *)arg == O_RDONLY ? O_WRONLY | O_NONBLOCK | O_CLOEXEC
						      : O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
}

/* A named pipe without its other side: open(2) waits there. */
static int open_cancelled(void *arg)
{
	(void)arg;
	check_eq(mkfifo("fifo", 0600), 0);
	for (int i = 0; i < 200; i++) {
		int flags = i % 2 ? O_RDONLY : O_WRONLY;
		int fd = cancelled_after(i % 23, open_pipe, &flags, i % 3 ? open_other_side : NULL);

		check(fd >= 0 || fd == -ECANCELED);
		if (fd >= 0)
			check_eq(torc_close_wait(fd), 0);
	}
	return 0;
}

Test(file, open_that_is_cancelled_leaves_no_descriptor)
{
	run_in_directory(open_cancelled, NULL);
}

static int open_deadline(void *arg)
{
	struct torc_scope t;
	int flags = O_RDONLY;

	(void)arg;
	check_eq(mkfifo("fifo", 0600), 0);
	torc_scope_enter(&t,
			 TORC_MS(20)); /* long enough for a thread of the kernel to wait in there */
	check_eq(open_pipe(&flags), -ETIMEDOUT);
	check_eq(torc_open("new", O_WRONLY | O_CREAT, 0600), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	check(!exists("new"));
	return 0;
}

Test(file, open_reports_etimedout)
{
	run_in_directory(open_deadline, NULL);
}

static int closes(void *arg)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)arg;
	check_when_cancelled(torc_close_wait(fd), 0);
	check_eq(torc_close_wait(fd), -EBADF);
	check_eq(torc_close_wait(-1), -EBADF);
	return 0;
}

Test(file, close_takes_effect_in_a_cancelled_scope_too)
{
	run_in_directory(closes, NULL);
}

/* --- read and write --- */

static int reads_and_writes(void *arg)
{
	char buf[16] = "";
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600);

	(void)arg;
	check_eq(torc_write(fd, "hello", 5), 5);
	check_eq(torc_write(fd, " you", 4), 4);
	check_eq(torc_read(fd, buf, sizeof(buf)), 0);
	check_eq(torc_pread(fd, buf, sizeof(buf), 6), 3);
	check(!memcmp(buf, "you", 3));
	check_eq(torc_pwrite(fd, "J", 1, 0), 1);
	check_eq(lseek(fd, 0, SEEK_CUR), 9);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_eq(torc_read(fd, buf, 5), 5);
	check(!memcmp(buf, "Jello", 5));
	check_eq(torc_pread(fd, buf, sizeof(buf), 9), 0);
	check_eq(torc_pread(fd, buf, sizeof(buf), 1000), 0);
	check_eq(torc_read(fd, buf, 0), 0);
	check_eq(torc_write(fd, buf, 0), 0);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, read_and_write_go_on_where_the_descriptor_is_and_pread_and_pwrite_leave_it_there)
{
	run_in_directory(reads_and_writes, NULL);
}

static int transfer_errors(void *arg)
{
	char buf[16] = "untouched";
	int fd = torc_open("file", O_RDONLY | O_CREAT, 0600), p[2], dir;

	(void)arg;
	check_eq(torc_write(fd, buf, 1), -EBADF);
	check_eq(torc_read(-1, buf, 1), -EBADF);
	check_eq(torc_pread(fd, buf, 1, -1), -EINVAL);
	check_eq(torc_pwrite(fd, buf, 1, -1), -EINVAL);
	check_eq(torc_pread(fd, buf, 1, INT64_MIN), -EINVAL);
	check_eq(torc_close_wait(fd), 0);
	fd = torc_open("file", O_RDWR, 0);
	check_eq(torc_write(fd, (void *)(uintptr_t)16, 4), -EFAULT);
	check_eq(torc_write(fd, "text", 4), 4);
	check_eq(torc_pread(fd, (void *)(uintptr_t)16, 4, 0), -EFAULT);
	check_eq(torc_close_wait(fd), 0);
	dir = torc_open(".", O_RDONLY, 0);
	check_eq(torc_read(dir, buf, 1), -EISDIR);
	check_eq(torc_close_wait(dir), 0);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	close(p[0]);
	check_eq(torc_write(p[1], "x", 1), -EPIPE);
	close(p[1]);
	check(!strcmp(buf, "untouched"));
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(torc_pwrite(p[1], "a", 1, 100), 1);
	check_eq(torc_pread(p[0], buf, 1, 7), 1);
	check(!strcmp(buf, "antouched"));
	close(p[0]), close(p[1]);
	return 0;
}

Test(file, transfers_report_errors_and_leave_the_buffer_alone)
{
	run_in_directory(transfer_errors, NULL);
}

static int no_room(void *arg)
{
	int fd = torc_open("/dev/full", O_WRONLY, 0);

	(void)arg;
	check_eq(torc_write(fd, "x", 1), -ENOSPC);
	check_eq(torc_pwrite(fd, "x", 1, 10), -ENOSPC);
	check_eq(torc_write_all(fd, "xyz", 3), -ENOSPC);
	check_eq(torc_pwrite_all(fd, "xyz", 3, 0), -ENOSPC);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, write_reports_enospc)
{
	run_in_directory(no_room, NULL);
}

static int too_large(void *arg)
{
	char data[100] = "";
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600);
	struct rlimit old, small;

	(void)arg;
	check_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 50, old.rlim_max };
	check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	check_eq(torc_pwrite(fd, data, sizeof(data), 0), 50);
	check_eq(torc_pwrite(fd, data, sizeof(data), 50), -EFBIG);
	check_eq(torc_pwrite_all(fd, data, sizeof(data), 0), -EFBIG);
	check_eq(torc_ftruncate(fd, 51), -EFBIG);
	check_eq(torc_fallocate(fd, 0, 0, 51), -EFBIG);
	check_eq(torc_ftruncate(fd, 50), 0);
	check_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, what_exceeds_the_limit_of_a_file_is_cut_and_then_efbig_without_a_signal)
{
	run_in_directory(too_large, NULL);
	setenv("TORC_DISABLE", "ring_ftruncate", 1);
	run_in_directory(too_large, NULL);
}

static int on_full_disk(void *arg)
{
	static char data[256 * 1024];
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600), r;

	(void)arg;
	r = torc_pwrite(fd, data, sizeof(data), 0);
	check(r > 0 && r <= 64 * 1024);
	check_eq(torc_pwrite_all(fd, data, sizeof(data), 0), -ENOSPC);
	check_eq(torc_fallocate(fd, 0, 0, sizeof(data)), -ENOSPC);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, a_full_file_system_cuts_a_write_and_then_reports_enospc)
{
	char base[64];

	if (!enter_small_disk(base, "64k"))
		return;
	run(on_full_disk, NULL);
	leave_small_disk(base);
}

static int on_read_only(void *arg)
{
	int fd = torc_open("file", O_RDONLY, 0);

	(void)arg;
	check_ge(fd, 0);
	check_eq(torc_open("file", O_RDWR, 0), -EROFS);
	check_eq(torc_open("new", O_RDWR | O_CREAT, 0600), -EROFS);
	check_eq(torc_mkdir("dir", 0700), -EROFS);
	check_eq(torc_unlink("file"), -EROFS);
	check_eq(torc_rename("file", "new"), -EROFS);
	check_eq(torc_symlinkat("file", AT_FDCWD, "link"), -EROFS);
	check_eq(torc_fchmodat(AT_FDCWD, "file", 0600, 0), -EROFS);
	check_eq(torc_fsetxattr(fd, "user.x", "y", 1, 0), -EROFS);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, a_read_only_file_system_is_erofs)
{
	char base[64];

	if (!enter_small_disk(base, "64k"))
		return;
	put_file("file", "x");
	check_eq(mount(NULL, ".", NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	run(on_read_only, NULL);
	leave_small_disk(base);
}

static int misaligned(void *arg)
{
	int fd = torc_open("file", O_RDWR | O_CREAT | O_DIRECT, 0600);
	char *buf = aligned_alloc(4096, 8192);

	(void)arg;
	if (fd == -EINVAL) {
		free(buf);
		return 0; /* a file system without O_DIRECT */
	}
	check(buf);
	memset(buf, 'd', 8192);
	check_eq(torc_pwrite(fd, buf, 4096, 0), 4096);
	check_eq(torc_pread(fd, buf + 4096, 4096, 0), 4096);
	check(!memcmp(buf, buf + 4096, 4096));
	check_eq(torc_pwrite(fd, buf, 100, 0), -EINVAL);
	check_eq(torc_pwrite(fd, buf, 4096, 7), -EINVAL);
	check_eq(torc_pwrite(fd, buf + 1, 4096, 0), -EINVAL);
	check_eq(torc_pread(fd, buf + 1, 4096, 0), -EINVAL);
	check_eq(torc_close_wait(fd), 0);
	free(buf);
	return 0;
}

Test(file, direct_transfers_have_to_be_aligned)
{
	run_in_directory(misaligned, NULL);
}

#define FAR (((off_t)5 << 30) + 123)

static int far_away(void *arg)
{
	struct statx st;
	char buf[8] = "";
	struct iovec v = { buf, 4 };
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600);

	(void)arg;
	check_eq(torc_ftruncate(fd, (off_t)3 << 30), 0);
	check_eq(torc_pwrite(fd, "end", 3, FAR), 3);
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &st), 0);
	check_eq(st.stx_size, FAR + 3);
	check_eq(torc_pread(fd, buf, sizeof(buf), FAR), 3);
	check(!memcmp(buf, "end", 3));
	check_eq(torc_preadv(fd, &v, 1, FAR + 1), 2);
	check_eq(torc_pread(fd, buf, 4, (off_t)4 << 30), 4);
	check(!memcmp(buf, "\0\0\0\0", 4));
	check_eq(torc_sync_file_range(fd, 0, FAR, SYNC_FILE_RANGE_WRITE), 0);
	check_eq(torc_fadvise(fd, 0, FAR, POSIX_FADV_DONTNEED), 0);
	check_eq(torc_fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FAR - 4, 5), 0);
	check_eq(torc_pread(fd, buf, 3, FAR), 3);
	check(!memcmp(buf, "\0nd", 3));
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, offsets_and_lengths_beyond_4_gib_are_kept)
{
	run_in_directory(far_away, NULL);
	setenv("TORC_DISABLE", "ring_ftruncate", 1);
	run_in_directory(far_away, NULL);
}

Test(file, one_operation_takes_1_gib_at_most)
{
	cr_assert_eq(torc__at_once(0), 0);
	cr_assert_eq(torc__at_once(1), 1);
	cr_assert_eq(torc__at_once((1u << 30) - 1), (1u << 30) - 1);
	cr_assert_eq(torc__at_once(1u << 30), 1u << 30);
	cr_assert_eq(torc__at_once((size_t)1 << 32), 1u << 30);
	cr_assert_eq(torc__at_once(((size_t)1 << 32) + 5), 1u << 30);
	cr_assert_eq(torc__at_once(SIZE_MAX), 1u << 30);
}

/* A length that 32 bits would make 5: it moves what there is. */
static int long_length(void *arg)
{
	char buf[16] = "";
	int fd = make_file("file", "0123456789", 10);

	(void)arg;
	check_eq(torc_pread(fd, buf, ((size_t)1 << 32) + 5, 0), 10);
	close(fd);
	return 0;
}

Test(file, a_length_of_more_than_32_bits_is_not_cut_to_them)
{
	run_in_directory(long_length, NULL);
}

static int vectored(void *arg)
{
	char a[4] = "", b[8] = "";
	char one[] = "one ", two[] = "two";
	struct iovec out[] = { { one, 4 }, { one, 0 }, { two, 3 } };
	struct iovec in[] = { { a, 4 }, { b, 8 } };
	struct iovec many[1025];
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600), p[2];

	(void)arg;
	check_eq(torc_writev(fd, out, 3), 7);
	check_eq(torc_pwritev(fd, out, 1, 7), 4);
	check_eq(torc_preadv(fd, in, 2, 0), 11);
	check(!memcmp(a, "one ", 4) && !memcmp(b, "twoone ", 7));
	check_eq(lseek(fd, 4, SEEK_SET), 4);
	check_eq(torc_readv(fd, in, 1), 4);
	check_eq(torc_preadv2(fd, in, 1, -1, 0), 3);
	check_eq(torc_pwritev2(fd, out, 1, 0, RWF_APPEND), 4);
	check_eq(torc_pwritev2(fd, out, 1, 0, RWF_DSYNC), 4);
	check_eq(lseek(fd, 0, SEEK_END), 15);
	check_eq(torc_readv(fd, in, 0), 0);
	check_eq(torc_preadv(fd, in, 1, -1), -EINVAL);
	check_eq(torc_pwritev(fd, in, 1, -1), -EINVAL);
	check_eq(torc_preadv2(fd, in, 1, -2, 0), -EINVAL);
	check_eq(torc_pwritev2(fd, out, 1, -2, 0), -EINVAL);
	check_eq(torc_preadv2(fd, in, 1, 0, 1 << 30), -EOPNOTSUPP);
	for (int i = 0; i < 1025; i++)
		many[i] = in[0];
	check_eq(torc_preadv(fd, many, 1025, 0), -EINVAL);
	many[0].iov_len = SIZE_MAX;
	check_eq(torc_preadv(fd, many, 1, 0), -EINVAL);
	check_eq(torc_close_wait(fd), 0);
	check_eq(torc_readv(fd, in, 1), -EBADF);
	check_eq(torc_writev(fd, out, 1), -EBADF);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(torc_preadv2(p[0], in, 1, -1, RWF_NOWAIT), -EAGAIN);
	close(p[0]);
	close(p[1]);
	return 0;
}

Test(file, vectored_transfers_use_the_pieces_in_order)
{
	run_in_directory(vectored, NULL);
}

static int all_of_it(void *arg)
{
	static char data[300000], back[300000];
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600);

	(void)arg;
	fill_bytes(data, sizeof(data), 1, 0);
	check_eq(torc_write_all(fd, data, 1000), 0);
	check_eq(torc_pwrite_all(fd, data, sizeof(data), 1000), 0);
	check_eq(torc_pread_all(fd, back, sizeof(back), 1000), 0);
	check(!memcmp(data, back, sizeof(back)));
	check_eq(torc_pread_all(fd, back, sizeof(back), 1001), -ENODATA);
	check_eq(torc_pread_all(fd, back, 0, 1 << 30), 0);
	check_eq(torc_pread_all(-1, back, 1, 0), -EBADF);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, the_all_forms_move_all_or_say_that_the_file_ends)
{
	run_in_directory(all_of_it, NULL);
}

/* A pipe that takes 4096 bytes at once, and a reader that takes 1000. */
struct trickle {
	int fd;
	size_t got;
};

static int trickle_main(void *arg)
{
	struct trickle *t = arg;
	char buf[1000];
	int r;

	while ((r = torc_read(t->fd, buf, sizeof(buf))) > 0) {
		check(same_bytes(buf, (size_t)r, 3, t->got));
		t->got += (size_t)r;
	}
	return r;
}

static int write_through_a_narrow_pipe(void *arg)
{
	static char data[100000];
	struct torc_group g;
	struct trickle t = { .got = 0 };
	int p[2];

	(void)arg;
	fill_bytes(data, sizeof(data), 3, 0);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_ge(fcntl(p[1], F_SETPIPE_SZ, 4096), 4096);
	t.fd = p[0];
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, trickle_main, &t), 0);
	check_eq(torc_write_all(p[1], data, sizeof(data)), 0);
	check_eq(torc_close_wait(p[1]), 0);
	check_eq(torc_group_wait(&g), 0);
	check_eq(t.got, sizeof(data));
	close(p[0]);
	return 0;
}

Test(file, write_all_goes_on_after_short_writes)
{
	run_in_directory(write_through_a_narrow_pipe, NULL);
}

/* --- cancellation of transfers --- */

struct pipe_read {
	int fd[2];
	char buf[8];
};

static int read_pipe(void *arg)
{
	struct pipe_read *p = arg;

	return torc_read(p->fd[0], p->buf, sizeof(p->buf));
}

static void write_pipe(void *arg)
{
	struct pipe_read *p = arg;

	check_eq(write(p->fd[1], "abc", 3), 3);
}

/* Whether the bytes come just before the cancellation or not at all: they are read, or still there. */
static int read_cancelled(void *arg)
{
	struct pipe_read p = { .buf = "pristin" };
	int r;

	(void)arg;
	check_eq(pipe2(p.fd, O_CLOEXEC), 0);
	for (int i = 0; i < 100; i++) {
		memcpy(p.buf, "pristin", 8);
		r = cancelled_after(i % 7, read_pipe, &p, i % 2 ? write_pipe : NULL);
		check(r == -ECANCELED || (r == 3 && i % 2));
		check(!memcmp(p.buf, r < 0 ? "pristin" : "abcstin", 8));
		if (i % 2 && r < 0)
			check_eq(read(p.fd[0], p.buf, 8), 3);
	}
	close(p.fd[0]);
	close(p.fd[1]);
	return 0;
}

Test(file, read_that_is_cancelled_consumes_nothing)
{
	run_in_directory(read_cancelled, NULL);
}

static int read_deadline(void *arg)
{
	struct pipe_read p = { .buf = "pristin" };
	struct torc_scope t;

	(void)arg;
	check_eq(pipe2(p.fd, O_CLOEXEC), 0);
	torc_scope_enter(&t, TORC_MS(10));
	check_eq(read_pipe(&p), -ETIMEDOUT);
	write_pipe(&p);
	check_eq(read_pipe(&p), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	check(!memcmp(p.buf, "pristin", 8));
	check_eq(read_pipe(&p), 3);
	close(p.fd[0]);
	close(p.fd[1]);
	return 0;
}

Test(file, read_reports_etimedout_and_consumes_nothing)
{
	run_in_directory(read_deadline, NULL);
}

/* Each call of the header, in a cancelled scope. */
static void cancelled_transfers(int fd, char *b, const int *p, const int *q)
{
	struct iovec v = { b, 4 };

	check_cancelled(torc_read(fd, b, 4));
	check_cancelled(torc_write(fd, "TEXT", 4));
	check_cancelled(torc_pread(fd, b, 4, 0));
	check_cancelled(torc_pwrite(fd, "TEXT", 4, 0));
	check_cancelled(torc_readv(fd, &v, 1));
	check_cancelled(torc_writev(fd, &v, 1));
	check_cancelled(torc_preadv(fd, &v, 1, 0));
	check_cancelled(torc_pwritev(fd, &v, 1, 0));
	check_cancelled(torc_preadv2(fd, &v, 1, 0, 0));
	check_cancelled(torc_pwritev2(fd, &v, 1, 0, 0));
	check_cancelled(torc_pread_all(fd, b, 4, 0));
	check_cancelled(torc_pwrite_all(fd, "TEXT", 4, 0));
	check_cancelled(torc_write_all(fd, "TEXT", 4));
	check_cancelled(torc_fsync(fd));
	check_cancelled(torc_fdatasync(fd));
	check_cancelled(torc_sync_file_range(fd, 0, 0, 0));
	check_cancelled(torc_fallocate(fd, 0, 0, 100));
	check_cancelled(torc_ftruncate(fd, 0));
	check_cancelled(torc_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	check_cancelled(torc_splice(p[0], -1, q[1], -1, 4, 0));
	check_cancelled(torc_tee(p[0], q[1], 4, 0));
	check_cancelled(torc_copy_file_range(fd, 0, fd, 100, 4));
}

static void cancelled_names(int fd, char *b, struct statx *st)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	check_cancelled(torc_open("new", O_RDWR | O_CREAT, 0600));
	check_cancelled(torc_openat(AT_FDCWD, "new", O_RDWR | O_CREAT, 0600));
	check_cancelled(torc_statx(fd, "", AT_EMPTY_PATH, 0, st));
	check_cancelled(torc_rename("file", "new"));
	check_cancelled(torc_renameat2(AT_FDCWD, "file", AT_FDCWD, "new", 0));
	check_cancelled(torc_unlink("file"));
	check_cancelled(torc_unlinkat(AT_FDCWD, "file", 0));
	check_cancelled(torc_mkdir("new", 0700));
	check_cancelled(torc_mkdirat(AT_FDCWD, "new", 0700));
	check_eq(mkdir("dir", 0700), 0);
	check_cancelled(torc_rmdir("dir"));
	check_cancelled(torc_linkat(AT_FDCWD, "file", AT_FDCWD, "new", 0));
	check_cancelled(torc_symlinkat("file", AT_FDCWD, "new"));
	check_cancelled(torc_readlinkat(AT_FDCWD, "file", b, 10));
	check_cancelled(torc_fchmodat(AT_FDCWD, "file", 0, 0));
	check_cancelled(torc_fchownat(AT_FDCWD, "file", 1, 1, 0));
	check_cancelled(torc_utimensat(AT_FDCWD, "file", times, 0));
	check_cancelled(torc_getxattr("file", "user.a", b, 4));
	check_cancelled(torc_fgetxattr(fd, "user.a", b, 4));
	check_cancelled(torc_setxattr("file", "user.a", b, 4, 0));
	check_cancelled(torc_fsetxattr(fd, "user.a", b, 4, 0));
	check_cancelled(torc_flistxattr(fd, b, 4));
	check_cancelled(torc_fremovexattr(fd, "user.a"));
}

static int nothing_is_done(void *arg)
{
	char buf[64] = "untouched";
	struct statx st = { .stx_mode = 7 };
	int fd = torc_open("file", O_RDWR | O_CREAT, 0600), p[2], q[2];

	(void)arg;
	check_eq(torc_write(fd, "text", 4), 4);
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(pipe2(q, O_CLOEXEC), 0);
	check_eq(write(p[1], "pipe", 4), 4);
	cancelled_transfers(fd, buf, p, q);
	cancelled_names(fd, buf, &st);
	check(!exists("new") && exists("dir") && file_is("file", "text"));
	check(!strcmp(buf, "untouched") && st.stx_mode == 7);
	check_eq(lseek(fd, 0, SEEK_CUR), 0);
	check_eq(torc_flistxattr(fd, NULL, 0), 0);
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), 0);
	check(st.stx_mode == (S_IFREG | 0600) && st.stx_mtime.tv_sec > 1);
	check_eq(read(p[0], buf, sizeof(buf)), 4);
	close(p[0]), close(p[1]), close(q[0]), close(q[1]);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(file, in_a_cancelled_scope_nothing_is_done)
{
	run_in_directory(nothing_is_done, NULL);
	setenv("TORC_DISABLE", "ring_ftruncate", 1);
	run_in_directory(nothing_is_done, NULL);
}

/* --- to the disk --- */

static int synchronises(void *arg)
{
	int fd = make_file("file", "text", 4), p[2];

	(void)arg;
	check_eq(torc_fsync(fd), 0);
	check_eq(torc_fdatasync(fd), 0);
	check_eq(torc_sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE), 0);
	check_eq(torc_sync_file_range(fd, 1, 0, SYNC_FILE_RANGE_WRITE), 0);
	check_eq(torc_sync_file_range(fd, 0, 4, 1 << 10), -EINVAL);
	check_eq(torc_sync_file_range(fd, -1, 4, 0), -EINVAL);
	check_eq(torc_sync_file_range(fd, INT64_MAX, 4, 0), -EINVAL);
	check_eq(torc_sync_file_range(fd, 0, SIZE_MAX, 0), -EINVAL);
	check_eq(torc_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED), 0);
	check_eq(torc_fadvise(fd, 0, 4, POSIX_FADV_SEQUENTIAL), 0);
	check_eq(torc_fadvise(fd, 0, 4, 99), -EINVAL);
	check_eq(torc_fadvise(fd, 0, -1, POSIX_FADV_NORMAL), -EINVAL);
	close(fd);
	check_eq(torc_fsync(fd), -EBADF);
	check_eq(torc_fdatasync(fd), -EBADF);
	check_eq(torc_sync_file_range(fd, 0, 0, 0), -EBADF);
	check_eq(torc_fadvise(fd, 0, 0, 0), -EBADF);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(torc_fsync(p[1]), -EINVAL);
	check_eq(torc_fdatasync(p[1]), -EINVAL);
	check_eq(torc_sync_file_range(p[1], 0, 0, SYNC_FILE_RANGE_WRITE), -ESPIPE);
	check_eq(torc_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL), -ESPIPE);
	close(p[0]), close(p[1]);
	return 0;
}

Test(file, what_is_written_can_be_sent_to_the_disk)
{
	run_in_directory(synchronises, NULL);
}

static int sizes(void *arg)
{
	int fd = make_file("file", "0123456789", 10), ro, p[2], dir;

	(void)arg;
	check_eq(torc_ftruncate(fd, 4), 0);
	check(file_is("file", "0123"));
	check_eq(torc_ftruncate(fd, 6), 0);
	check_eq(lseek(fd, 0, SEEK_END), 6);
	check_eq(torc_fallocate(fd, 0, 0, 100), 0);
	check_eq(lseek(fd, 0, SEEK_END), 100);
	check_eq(torc_fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000), 0);
	check_eq(lseek(fd, 0, SEEK_END), 100);
	check_eq(torc_ftruncate(fd, -1), -EINVAL);
	check_eq(torc_ftruncate(fd, INT64_MAX), -EFBIG);
	check_eq(torc_fallocate(fd, 0, 0, 0), -EINVAL);
	check_eq(torc_fallocate(fd, 0, -1, 10), -EINVAL);
	check_eq(torc_fallocate(fd, 0, INT64_MAX - 5, 10), -EFBIG);
	check_eq(torc_fallocate(fd, 1 << 20, 0, 10), -EOPNOTSUPP);
	close(fd);
	ro = torc_open("file", O_RDONLY, 0);
	check_eq(torc_ftruncate(ro, 1), -EINVAL);
	check_eq(torc_fallocate(ro, 0, 0, 10), -EBADF);
	check_eq(torc_close_wait(ro), 0);
	check_eq(torc_ftruncate(ro, 1), -EBADF);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(torc_ftruncate(p[1], 1), -EINVAL);
	check_eq(torc_fallocate(p[1], 0, 0, 1), -ESPIPE);
	close(p[0]), close(p[1]);
	dir = torc_open(".", O_RDONLY, 0);
	check_eq(torc_ftruncate(dir, 1), -EINVAL);
	check_eq(torc_close_wait(dir), 0);
	return 0;
}

Test(file, truncate_and_fallocate_set_sizes_with_and_without_the_rings_operation)
{
	run_in_directory(sizes, NULL);
	setenv("TORC_DISABLE", "ring_ftruncate", 1);
	run_in_directory(sizes, NULL);
}

/* --- names --- */

static int stats(void *arg)
{
	struct statx st;
	int fd = make_file("file", "12345", 5);

	(void)arg;
	check_eq(symlink("file", "link"), 0);
	check_eq(torc_statx(AT_FDCWD, "link", 0, STATX_BASIC_STATS, &st), 0);
	check(S_ISREG(st.stx_mode) && st.stx_size == 5);
	check_eq(torc_statx(AT_FDCWD, "link", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st), 0);
	check(S_ISLNK(st.stx_mode));
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), 0);
	check_eq(st.stx_size, 5);
	memset(&st, 9, sizeof(st));
	check_eq(torc_statx(AT_FDCWD, "missing", 0, 0, &st), -ENOENT);
	check_eq(torc_statx(AT_FDCWD, "file", 1 << 28, 0, &st), -EINVAL);
	check_eq(torc_statx(AT_FDCWD, "file/x", 0, 0, &st), -ENOTDIR);
	check_eq(torc_statx(-5, "file", 0, 0, &st), -EBADF);
	check_eq(st.stx_mode, 0x0909);
	close(fd);
	return 0;
}

Test(file, statx_tells_of_a_path_or_a_descriptor)
{
	run_in_directory(stats, NULL);
}

static int renames(void *arg)
{
	int dir;

	(void)arg;
	put_file("a", "A");
	put_file("b", "B");
	check_eq(torc_renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE), -EEXIST);
	check_eq(torc_renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE), 0);
	check(file_is("a", "B") && file_is("b", "A"));
	check_eq(torc_rename("a", "b"), 0);
	check(!exists("a") && file_is("b", "B"));
	check_eq(torc_rename("a", "b"), -ENOENT);
	check_eq(torc_mkdir("dir", 0755), 0);
	check_eq(torc_rename("b", "dir"), -EISDIR);
	check_eq(torc_rename("dir", "b"), -ENOTDIR);
	check_eq(torc_rename("dir", "dir/sub"), -EINVAL);
	check_eq(torc_rename(".", "x"), -EBUSY);
	check_eq(torc_renameat2(AT_FDCWD, "b", AT_FDCWD, "c", 1 << 10), -EINVAL);
	check_eq(torc_rename("b", "/proc/b"), -EXDEV);
	dir = torc_open("dir", O_RDONLY | O_DIRECTORY, 0);
	check_eq(torc_renameat2(AT_FDCWD, "b", dir, "inner", 0), 0);
	check(file_is("dir/inner", "B"));
	check_eq(torc_mkdir("other", 0755), 0);
	check_eq(torc_rename("other", "dir"), -ENOTEMPTY);
	check_eq(torc_close_wait(dir), 0);
	return 0;
}

Test(file, rename_replaces_or_exchanges_or_refuses)
{
	run_in_directory(renames, NULL);
}

static int unlinks(void *arg)
{
	int dir;

	(void)arg;
	check_eq(torc_mkdir("dir", 0755), 0);
	check_eq(torc_mkdir("dir", 0755), -EEXIST);
	check_eq(torc_mkdir("missing/dir", 0755), -ENOENT);
	dir = torc_open("dir", O_RDONLY | O_DIRECTORY, 0);
	check_eq(torc_mkdirat(dir, "sub", 0755), 0);
	put_file("dir/f", "x");
	check_eq(torc_unlink("dir"), -EISDIR);
	check_eq(torc_rmdir("dir"), -ENOTEMPTY);
	check_eq(torc_rmdir("dir/f"), -ENOTDIR);
	check_eq(torc_unlinkat(dir, "f", 1 << 20), -EINVAL);
	check_eq(torc_unlinkat(dir, "f", 0), 0);
	check_eq(torc_unlinkat(dir, "f", 0), -ENOENT);
	check_eq(torc_rmdir("dir/."), -EINVAL);
	check_eq(torc_unlinkat(dir, "sub", AT_REMOVEDIR), 0);
	check_eq(torc_rmdir("dir"), 0);
	check_eq(torc_mkdirat(dir, "sub", 0755), -ENOENT);
	check_eq(torc_close_wait(dir), 0);
	return 0;
}

Test(file, mkdir_and_unlink_make_and_take_away_names)
{
	run_in_directory(unlinks, NULL);
}

static int links(void *arg)
{
	char target[16];
	int fd = make_file("file", "text", 4);

	(void)arg;
	check_eq(torc_linkat(AT_FDCWD, "file", AT_FDCWD, "hard", 0), 0);
	check_eq(torc_linkat(AT_FDCWD, "file", AT_FDCWD, "hard", 0), -EEXIST);
	check_eq(torc_linkat(AT_FDCWD, "missing", AT_FDCWD, "x", 0), -ENOENT);
	check_eq(torc_linkat(AT_FDCWD, ".", AT_FDCWD, "x", 0), -EPERM);
	check_eq(torc_linkat(AT_FDCWD, "file", AT_FDCWD, "x", 1 << 20), -EINVAL);
	check_eq(torc_symlinkat("file", AT_FDCWD, "soft"), 0);
	check_eq(torc_symlinkat("file", AT_FDCWD, "soft"), -EEXIST);
	check_eq(torc_symlinkat("", AT_FDCWD, "empty"), -ENOENT);
	check_eq(torc_linkat(AT_FDCWD, "soft", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW), 0);
	check(file_is("hard", "text") && file_is("soft", "text") && file_is("followed", "text"));
	memset(target, '#', sizeof(target));
	check_eq(torc_readlinkat(AT_FDCWD, "soft", target, 4), -ERANGE);
	check_eq(torc_readlinkat(AT_FDCWD, "soft", target, 0), -ERANGE);
	check_eq(torc_readlinkat(AT_FDCWD, "file", target, 16), -EINVAL);
	check_eq(torc_readlinkat(AT_FDCWD, "missing", target, 16), -ENOENT);
	check_eq(target[0], '#');
	check_eq(torc_readlinkat(AT_FDCWD, "soft", target, 5), 4);
	check(!strcmp(target, "file"));
	close(fd);
	return 0;
}

Test(file, links_lead_where_they_were_told_to)
{
	run_in_directory(links, NULL);
}

static int attributes(void *arg)
{
	const struct timespec times[2] = { { 100, 5 }, { 200, 7 } };
	struct statx st;
	int fd = make_file("file", "text", 4);

	(void)arg;
	check_eq(symlink("file", "link"), 0);
	check_eq(torc_fchmodat(AT_FDCWD, "file", 0640, 0), 0);
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), 0);
	check_eq(st.stx_mode & 07777, 0640);
	check_eq(torc_fchmodat(fd, "", 0600, AT_EMPTY_PATH), 0);
	check_eq(torc_utimensat(AT_FDCWD, "file", times, 0), 0);
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), 0);
	check_eq(st.stx_mode & 07777, 0600);
	check(st.stx_atime.tv_sec == 100 && st.stx_mtime.tv_sec == 200);
	check(st.stx_atime.tv_nsec == 5 && st.stx_mtime.tv_nsec == 7);
	check_eq(torc_utimensat(fd, "", NULL, AT_EMPTY_PATH), 0);
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), 0);
	check(st.stx_mtime.tv_sec > 200);
	check_eq(torc_utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW), 0);
	check_eq(torc_statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st), 0);
	check(st.stx_mtime.tv_sec > 200);
	check_eq(torc_fchownat(AT_FDCWD, "file", (uid_t)-1, (gid_t)-1, 0), 0);
	check_eq(torc_fchownat(fd, "", geteuid(), getegid(), AT_EMPTY_PATH), 0);
	check_eq(torc_fchmodat(AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW), -EOPNOTSUPP);
	check_eq(torc_fchmodat(AT_FDCWD, "missing", 0600, 0), -ENOENT);
	check_eq(torc_fchmodat(AT_FDCWD, "file", 0600, 1 << 20), -EINVAL);
	check_eq(torc_fchownat(AT_FDCWD, "missing", 0, 0, 0), -ENOENT);
	check_eq(torc_fchownat(AT_FDCWD, "file", 0, 0, 1 << 20), -EINVAL);
	check_eq(torc_utimensat(AT_FDCWD, "missing", NULL, 0), -ENOENT);
	check_eq(torc_utimensat(AT_FDCWD, "file", NULL, 1 << 20), -EINVAL);
	close(fd);
	check_eq(torc_fchmodat(fd, "", 0600, AT_EMPTY_PATH), -EBADF);
	check_eq(torc_utimensat(fd, "", NULL, AT_EMPTY_PATH), -EBADF);
	return 0;
}

Test(file, mode_owner_and_times_can_be_set)
{
	run_in_directory(attributes, NULL);
}

/* --- extended attributes --- */

static int xattr_errors(int fd)
{
	static char large[70000];
	char name[300] = "user.", value[8] = "untouch";

	memset(name + 5, 'n', sizeof(name) - 6);
	check_eq(torc_fgetxattr(fd, "user.none", value, 8), -ENODATA);
	check_eq(torc_getxattr("file", "user.a", value, 2), -ERANGE);
	check_eq(torc_getxattr("missing", "user.a", value, 2), -ENOENT);
	check_eq(torc_fgetxattr(-1, "user.a", value, 2), -EBADF);
	check_eq(torc_fgetxattr(fd, "nowhere.a", value, 8), -EOPNOTSUPP);
	check_eq(torc_fgetxattr(fd, name, value, 8), -ERANGE);
	check_eq(torc_fsetxattr(fd, name, "x", 1, 0), -ERANGE);
	check_eq(torc_fsetxattr(fd, "", "x", 1, 0), -ERANGE);
	check_eq(torc_fsetxattr(fd, "user.b", large, sizeof(large), 0), -E2BIG);
	check_eq(torc_fsetxattr(fd, "nowhere.a", "x", 1, 0), -EOPNOTSUPP);
	check_eq(torc_setxattr("file", "user.a", "x", 1, XATTR_CREATE), -EEXIST);
	check_eq(torc_setxattr("file", "user.none", "x", 1, XATTR_REPLACE), -ENODATA);
	check_eq(torc_setxattr("missing", "user.a", "x", 1, 0), -ENOENT);
	check_eq(torc_setxattr("file", "user.a", "x", 1, 99), -EINVAL);
	check_eq(torc_fsetxattr(-1, "user.a", "x", 1, 0), -EBADF);
	check_eq(torc_flistxattr(fd, value, 2), -ERANGE);
	check_eq(torc_flistxattr(-1, value, 2), -EBADF);
	check_eq(torc_fremovexattr(fd, "user.none"), -ENODATA);
	check_eq(torc_fremovexattr(-1, "user.none"), -EBADF);
	check(!strcmp(value, "untouch"));
	return 0;
}

static int xattrs(void *arg)
{
	char value[32] = "", names[64];
	int fd = make_file("file", "text", 4);
	int r = torc_fsetxattr(fd, "user.a", "value", 5, 0);

	*(int *)arg = r;
	if (r == 0) {
		check_eq(torc_fgetxattr(fd, "user.a", NULL, 0), 5);
		check_eq(torc_getxattr("file", "user.a", value, sizeof(value)), 5);
		check(!memcmp(value, "value", 5));
		check_eq(torc_setxattr("file", "user.a", "new", 3, XATTR_REPLACE), 0);
		check_eq(torc_fgetxattr(fd, "user.a", value, sizeof(value)), 3);
		check_eq(torc_flistxattr(fd, NULL, 0), 7);
		check_eq(torc_flistxattr(fd, names, sizeof(names)), 7);
		check(!memcmp(names, "user.a", 7));
		xattr_errors(fd);
		check_eq(torc_fremovexattr(fd, "user.a"), 0);
		check_eq(torc_flistxattr(fd, NULL, 0), 0);
	}
	close(fd);
	return 0;
}

Test(file, extended_attributes_are_set_read_listed_and_removed)
{
	int supported;

	run_in_directory(xattrs, &supported);
	if (supported == -EOPNOTSUPP)
		cr_skip_test("no user attributes on the file system of /tmp");
	check_eq(supported, 0);
}

/* --- from descriptor to descriptor --- */

static int splices(void *arg)
{
	char buf[32];
	int fd = make_file("file", "0123456789", 10), p[2], q[2], app;

	(void)arg;
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(pipe2(q, O_CLOEXEC), 0);
	check_eq(torc_splice(fd, 2, p[1], -1, 5, 0), 5);
	check_eq(torc_tee(p[0], q[1], 3, 0), 3);
	check_eq(read(q[0], buf, sizeof(buf)), 3);
	check(!memcmp(buf, "234", 3));
	check_eq(torc_splice(p[0], -1, fd, 10, SIZE_MAX, 0), 5);
	check(file_is("file", "012345678923456"));
	check_eq(lseek(fd, 0, SEEK_SET), 0);
	check_eq(torc_splice(fd, -1, p[1], -1, 4, 0), 4);
	check_eq(lseek(fd, 0, SEEK_CUR), 4);
	check_eq(torc_splice(fd, 100, p[1], -1, 4, 0), 0);
	check_eq(torc_splice(p[0], 0, fd, -1, 4, 0), -ESPIPE);
	check_eq(torc_splice(fd, 0, fd, 100, 4, 0), -EINVAL);
	check_eq(torc_splice(p[0], -1, p[1], -1, 4, 0), -EINVAL);
	check_eq(torc_splice(-1, -1, p[1], -1, 4, 0), -EBADF);
	check_eq(torc_splice(q[0], -1, fd, -1, 4, SPLICE_F_NONBLOCK), -EAGAIN);
	check_eq(torc_tee(q[0], p[1], 4, SPLICE_F_NONBLOCK), -EAGAIN);
	check_eq(torc_tee(fd, p[1], 4, 0), -EINVAL);
	check_eq(torc_tee(-1, p[1], 4, 0), -EBADF);
	app = torc_open("file", O_WRONLY | O_APPEND, 0);
	check_eq(torc_splice(p[0], -1, app, -1, 4, 0), -EINVAL);
	close(q[1]);
	check_eq(torc_splice(q[0], -1, fd, 0, 4, 0), 0);
	check_eq(torc_tee(q[0], p[1], 4, 0), 0);
	close(fd), close(app), close(p[0]), close(p[1]), close(q[0]);
	return 0;
}

Test(file, splice_and_tee_move_bytes_by_pipes)
{
	run_in_directory(splices, NULL);
}

struct splice_wait {
	int p[2], q[2];
};

static int splice_pipe(void *arg)
{
	struct splice_wait *s = arg;

	return torc_splice(s->p[0], -1, s->q[1], -1, 10, 0);
}

static void feed_splice(void *arg)
{
	check_eq(write(((struct splice_wait *)arg)->p[1], "abc", 3), 3);
}

/* The kernel's thread that waits in there is interrupted; what it has moved is not lost. */
static int splice_cancelled(void *arg)
{
	struct splice_wait s;
	char buf[8];

	(void)arg;
	check_eq(pipe2(s.p, O_CLOEXEC), 0);
	check_eq(pipe2(s.q, O_CLOEXEC), 0);
	for (int i = 0; i < 60; i++) {
		int r = cancelled_after(i % 11, splice_pipe, &s, i % 2 ? feed_splice : NULL);

		check(r == -ECANCELED || (r == 3 && i % 2));
		if (i % 2)
			check_eq(read(r < 0 ? s.p[0] : s.q[0], buf, sizeof(buf)), 3);
	}
	close(s.p[0]), close(s.p[1]), close(s.q[0]), close(s.q[1]);
	return 0;
}

Test(file, splice_that_is_cancelled_loses_nothing)
{
	run_in_directory(splice_cancelled, NULL);
}

static int copies_ranges(void *arg)
{
	int a = make_file("a", "0123456789", 10), b = make_file("b", "", 0), p[2];
	int r = torc_copy_file_range(a, 2, b, 1, 100);

	(void)arg;
	check(r == 8 || r == -EXDEV || r == -EOPNOTSUPP);
	if (r == 8) {
		check_eq(lseek(b, 0, SEEK_END), 9);
		check_eq(torc_copy_file_range(a, 10, b, 0, 5), 0);
		check_eq(torc_copy_file_range(a, 0, a, 1, 5), -EINVAL);
	}
	check_eq(torc_copy_file_range(a, -1, b, 0, 5), -EINVAL);
	check_eq(torc_copy_file_range(-1, 0, b, 0, 5), -EBADF);
	check_eq(pipe2(p, O_CLOEXEC), 0);
	check_eq(torc_copy_file_range(a, 0, p[1], 0, 5), -EINVAL);
	close(p[0]), close(p[1]), close(a), close(b);
	return 0;
}

Test(file, copy_file_range_copies_inside_of_the_kernel)
{
	run_in_directory(copies_ranges, NULL);
}
