#include "tests/io/files.h"

#include <dirent.h>
#include <pthread.h>

#include <torc/io/contents.h>

#include "core/internal/system.h"

TestSuite(contents, .timeout = 60);

/* What is in the working directory, but for the names given: nothing may be left there. */
static unsigned others_than(const char *a, const char *b)
{
	DIR *d = opendir(".");
	unsigned n = 0;

	check(d);
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, a) &&
		     strcmp(e->d_name, b);
	closedir(d);
	return n;
}

static mode_t mode_of(const char *path)
{
	struct stat st;

	check_eq(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

/*
 * fn(name), which makes a file of `len` bytes or adds to one, is cancelled after 0, 1, 2, ... turns: it has happened or it has
 * not, and no other file is left (but "large", to copy from).
 */
static void cancel_at_any_turn(int most, int (*fn)(void *arg), const char *name, off_t len)
{
	unsigned cancelled = 0;

	for (int turns = 0; turns < most; turns++) {
		struct stat st;
		int r;

		put_file(name, "old");
		r = cancelled_after(turns, fn, (void *)(uintptr_t)name, NULL);
		check(r == 0 || r == -ECANCELED);
		cancelled += r < 0;
		check_eq(stat(name, &st), 0);
		check_eq(st.st_size, r ? 3 : len);
		check_eq(others_than(name, "large"), 0);
	}
	check(cancelled > 0);
}

/* --- read --- */

static void check_read(const char *path, size_t limit, const char *expected)
{
	void *data;
	size_t len;

	check_eq(torc_read_file(AT_FDCWD, path, limit, &data, &len), 0);
	check_eq(len, strlen(expected));
	check(!strcmp(data, expected)); /* with the zero byte behind */
	torc_free_file(data);
}

static int reads(void *arg)
{
	static char large[200000];
	void *data = arg;
	size_t len = 7;
	int dir;

	put_file("empty", "");
	put_file("file", "hello");
	memset(large, 'x', sizeof(large) - 1);
	put_file("large", large);
	check_read("empty", 0, "");
	check_read("empty", 100, "");
	check_read("file", 5, "hello");
	check_read("file", 1000000, "hello");
	check_read("file", PTRDIFF_MAX - 1, "hello");
	check_read("large", sizeof(large), large);
	check_eq(torc_read_file(AT_FDCWD, "file", 4, &data, &len), -EFBIG);
	check_eq(torc_read_file(AT_FDCWD, "file", 0, &data, &len), -EFBIG);
	check_eq(torc_read_file(AT_FDCWD, "file", PTRDIFF_MAX, &data, &len), -EINVAL);
	check_eq(torc_read_file(AT_FDCWD, "file", SIZE_MAX, &data, &len), -EINVAL);
	check_eq(torc_read_file(AT_FDCWD, "missing", 10, &data, &len), -ENOENT);
	check_eq(torc_read_file(AT_FDCWD, ".", 10000, &data, &len), -EISDIR);
	check_cancelled(torc_read_file(AT_FDCWD, "file", 10, &data, &len));
	check(data == arg && len == 7);
	dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_eq(torc_read_file(dir, "file", 10, &data, &len), 0);
	torc_free_file(data);
	torc_free_file(NULL);
	close(dir);
	return 0;
}

Test(contents, read_file_returns_all_or_says_that_it_is_too_large)
{
	run_in_directory(reads, NULL);
}

static int reads_proc(void *arg)
{
	void *data;
	size_t len;

	(void)arg;
	check_eq(torc_read_file(AT_FDCWD, "/proc/self/status", 1 << 20, &data, &len), 0);
	check(len > 100 && strlen(data) == len && !strncmp(data, "Name:", 5));
	torc_free_file(data);
	check_eq(torc_read_file(AT_FDCWD, "/proc/self/status", 10, &data, &len), -EFBIG);
	check_eq(torc_read_file(AT_FDCWD, "/dev/zero", 100000, &data, &len), -EFBIG);
	check_eq(torc_read_file(AT_FDCWD, "/dev/null", 100000, &data, &len), 0);
	check_eq(len, 0);
	torc_free_file(data);
	return 0;
}

Test(contents, read_file_reads_what_does_not_tell_its_size)
{
	run_in_directory(reads_proc, NULL);
}

/* A size that nobody has memory for is no reason to ask for that much. */
static int reads_sparse(void *arg)
{
	int fd = open("sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *data;
	size_t len;

	(void)arg;
	check_eq(ftruncate(fd, (off_t)1 << 40), 0);
	check_eq(torc_read_file(AT_FDCWD, "sparse", 1 << 20, &data, &len), -EFBIG);
	close(fd);
	return 0;
}

Test(contents, read_file_looks_at_the_size_before_it_asks_for_memory)
{
	run_in_directory(reads_sparse, NULL);
}

/* --- write --- */

static int writes(void *arg)
{
	char long_name[256];
	int dir;

	(void)arg;
	umask(022);
	memset(long_name, 'n', 255);
	long_name[255] = '\0';
	check_eq(torc_write_file(AT_FDCWD, "file", "one", 3, 0666), 0);
	check(file_is("file", "one"));
	check_eq(mode_of("file"), 0644);
	check_eq(chmod("file", 0640), 0);
	check_eq(torc_write_file(AT_FDCWD, "file", "2", 1, 0666), 0);
	check(file_is("file", "2"));
	check_eq(mode_of("file"), 0640);
	check_eq(torc_write_file(AT_FDCWD, "file", "", 0, 0666), 0);
	check(file_is("file", ""));
	check_eq(torc_write_file(AT_FDCWD, long_name, "long", 4, 0600), 0);
	check(file_is(long_name, "long"));
	check_eq(others_than("file", long_name), 0);
	check_eq(mkdir("dir", 0755), 0);
	check_eq(torc_write_file(AT_FDCWD, "dir/sub", "x", 1, 0600), 0);
	dir = open("dir", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_eq(torc_write_file(dir, "sub", "y", 1, 0600), 0);
	check(file_is("dir/sub", "y"));
	close(dir);
	check_eq(symlink("file", "link"), 0);
	check_eq(torc_write_file(AT_FDCWD, "link", "z", 1, 0600), 0);
	check(file_is("link", "z") && file_is("file", ""));
	check_eq(mode_of("link"), 0600);
	return 0;
}

Test(contents, write_file_replaces_and_keeps_permissions)
{
	run_in_directory(writes, NULL);
}

static int write_errors(void *arg)
{
	char too_long[300];

	(void)arg;
	memset(too_long, 'n', 299);
	too_long[299] = '\0';
	put_file("file", "old");
	check_eq(mkdir("dir", 0755), 0);
	check_eq(torc_write_file(AT_FDCWD, "dir", "x", 1, 0600), -EISDIR);
	check_eq(torc_write_file(AT_FDCWD, "dir/", "x", 1, 0600), -EISDIR);
	check_eq(torc_write_file(AT_FDCWD, ".", "x", 1, 0600), -EISDIR);
	check_eq(torc_write_file(AT_FDCWD, "dir/..", "x", 1, 0600), -EISDIR);
	check_eq(torc_write_file(AT_FDCWD, "", "x", 1, 0600), -ENOENT);
	check_eq(torc_write_file(AT_FDCWD, "missing/x", "x", 1, 0600), -ENOENT);
	check_eq(torc_write_file(AT_FDCWD, "file/x", "x", 1, 0600), -ENOTDIR);
	check_eq(torc_write_file(AT_FDCWD, too_long, "x", 1, 0600), -ENAMETOOLONG);
	check_eq(torc_write_file(AT_FDCWD, "file", (void *)(uintptr_t)16, 10, 0600), -EFAULT);
	check_cancelled(torc_write_file(AT_FDCWD, "file", "new", 3, 0600));
	check(file_is("file", "old"));
	check_eq(others_than("file", "dir"), 0);
	return 0;
}

Test(contents, write_file_that_fails_leaves_the_old_file_and_no_other)
{
	run_in_directory(write_errors, NULL);
}

static int write_too_large(void *arg)
{
	static char data[100];
	struct rlimit old, small;

	(void)arg;
	put_file("file", "old");
	check_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 50, old.rlim_max };
	check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	check_eq(torc_write_file(AT_FDCWD, "file", data, sizeof(data), 0600), -EFBIG);
	check_eq(torc_append_file(AT_FDCWD, "file", data, sizeof(data), 0600), -EFBIG);
	check(file_is("file", "old")); /* the 47 bytes that fitted were cut off again */
	check_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	check_eq(others_than("file", "file"), 0);
	return 0;
}

Test(contents, what_is_written_or_appended_in_part_is_taken_back)
{
	run_in_directory(write_too_large, NULL);
}

static int write_without_descriptors(void *arg)
{
	struct rlimit old, few;
	int last = dup(0), r = -EMFILE;

	(void)arg;
	put_file("file", "old");
	close(last);
	check_eq(torc_write_file(AT_FDCWD, "file", "old", 3, 0600),
		 0); /* the threads have what they need */
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t more = 0; r; more++) {
		few = (struct rlimit){ (rlim_t)last + more, old.rlim_max };
		check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		r = torc_write_file(AT_FDCWD, "file", "new", 3, 0600);
		check(r == 0 || (r == -EMFILE && more < 16)); /* others may be open above */
		check(r == 0 || !exists("new"));
	}
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check(file_is("file", "new"));
	check_eq(others_than("file", "file"), 0);
	return 0;
}

Test(contents, write_file_without_descriptors_leaves_nothing_behind)
{
	run_in_directory(write_without_descriptors, NULL);
}

static int on_full_disk(void *arg)
{
	static char data[256 * 1024];

	(void)arg;
	put_file("file", "old");
	check_eq(torc_write_file(AT_FDCWD, "file", data, sizeof(data), 0600), -ENOSPC);
	check_eq(torc_append_file(AT_FDCWD, "file", data, sizeof(data), 0600), -ENOSPC);
	check(file_is("file", "old"));
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "copy", 0), 0);
	check_eq(others_than("file", "copy"), 0);
	return 0;
}

Test(contents, on_a_full_disk_the_old_contents_stay)
{
	char base[64];

	if (!enter_small_disk(base, "64k"))
		return;
	run(on_full_disk, NULL);
	leave_small_disk(base);
}

/* A reader, in a thread: it never sees anything but one of the two. */
static volatile bool reading_over;

static void *read_again_and_again(void *arg)
{
	char buf[64];

	(void)arg;
	while (!reading_over) {
		int fd = open("file", O_RDONLY | O_CLOEXEC);
		ssize_t n;

		check_ge(fd, 0); /* it is never without a file */
		n = read(fd, buf, sizeof(buf));
		check(n == 10 || n == 20);
		for (ssize_t i = 1; i < n; i++)
			check_eq(buf[i], buf[0]);
		close(fd);
	}
	return NULL;
}

static int write_again_and_again(void *arg)
{
	pthread_t thread;

	(void)arg;
	put_file("file", "aaaaaaaaaa");
	reading_over = false;
	check_eq(pthread_create(&thread, NULL, read_again_and_again, NULL), 0);
	for (int i = 0; i < 100; i++)
		check_eq(torc_write_file(AT_FDCWD, "file",
					 i % 2 ? "aaaaaaaaaa" : "bbbbbbbbbbbbbbbbbbbb",
					 i % 2 ? 10 : 20, 0600),
			 0);
	reading_over = true;
	pthread_join(thread, NULL);
	return 0;
}

Test(contents, whoever_reads_while_a_file_is_written_sees_all_of_one_or_the_other)
{
	run_in_directory(write_again_and_again, NULL);
}

static int write_new(void *arg)
{
	static char data[300000];

	return torc_write_file(AT_FDCWD, arg, data, sizeof(data), 0600);
}

static int write_cancelled(void *arg)
{
	(void)arg;
	cancel_at_any_turn(80, write_new, "file", 300000);
	return 0;
}

Test(contents, write_file_that_is_cancelled_has_not_happened_and_leaves_nothing)
{
	run_in_directory(write_cancelled, NULL);
}

/* --- append --- */

static int appends(void *arg)
{
	char text[16];

	(void)arg;
	umask(022);
	check_eq(torc_append_file(AT_FDCWD, "file", "one ", 4, 0666), 0);
	check_eq(mode_of("file"), 0644);
	check_eq(torc_append_file(AT_FDCWD, "file", "two", 3, 0666), 0);
	check_eq(torc_append_file(AT_FDCWD, "file", "", 0, 0666), 0);
	check(file_is("file", "one two"));
	check_cancelled(torc_append_file(AT_FDCWD, "file", "three", 5, 0666));
	check_cancelled(torc_append_file(AT_FDCWD, "new", "three", 5, 0666));
	check(!exists("new"));
	check_eq(torc_append_file(AT_FDCWD, ".", "x", 1, 0666), -EISDIR);
	check_eq(mkdir("dir", 0755), 0);
	check_eq(torc_append_file(AT_FDCWD, "dir", "x", 1, 0666), -EISDIR);
	check_eq(torc_append_file(AT_FDCWD, "missing/x", "x", 1, 0666), -ENOENT);
	check_eq(torc_append_file(AT_FDCWD, "", "x", 1, 0666), -ENOENT);
	check_eq(torc_append_file(AT_FDCWD, "file", (void *)(uintptr_t)16, 5, 0666), -EFAULT);
	check_eq(symlink("nowhere", "broken"), 0);
	check_eq(torc_append_file(AT_FDCWD, "broken", "x", 1, 0666), -EEXIST);
	check(file_is("file", "one two"));
	for (int i = 0; i < 10; i++) {
		snprintf(text, sizeof(text), "%d", i);
		check_eq(torc_append_file(AT_FDCWD, "digits", text, 1, 0600), 0);
	}
	check(file_is("digits", "0123456789"));
	return 0;
}

Test(contents, append_file_adds_to_the_end_or_creates)
{
	run_in_directory(appends, NULL);
}

static int append_new(void *arg)
{
	static char data[3000000];

	return torc_append_file(AT_FDCWD, arg, data, sizeof(data), 0600);
}

static int append_cancelled(void *arg)
{
	(void)arg;
	cancel_at_any_turn(60, append_new, "file", 3000003);
	return 0;
}

Test(contents, append_file_that_is_cancelled_adds_nothing)
{
	run_in_directory(append_cancelled, NULL);
}

/* --- copy --- */

static int copies(void *arg)
{
	static char data[3 << 20];
	void *back;
	size_t len;

	(void)arg;
	fill_bytes(data, sizeof(data), 5, 0);
	close(make_file("file", data, sizeof(data)));
	check_eq(chmod("file", 04751), 0);
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "copy", 0), 0);
	check_eq(mode_of("copy"), 0751);
	check_eq(torc_read_file(AT_FDCWD, "copy", SIZE_MAX / 2 - 1, &back, &len), 0);
	check(len == sizeof(data) && same_bytes(back, len, 5, 0));
	torc_free_file(back);
	put_file("other", "other");
	check_eq(torc_copy_file(AT_FDCWD, "other", AT_FDCWD, "copy", TORC_COPY_EXCLUSIVE), -EEXIST);
	check_eq(torc_copy_file(AT_FDCWD, "other", AT_FDCWD, "copy", TORC_COPY_DURABLE), 0);
	check(file_is("copy", "other"));
	check_eq(unlink("copy"), 0);
	check_eq(torc_copy_file(AT_FDCWD, "other", AT_FDCWD, "copy",
				TORC_COPY_EXCLUSIVE | TORC_COPY_DURABLE),
		 0);
	check_eq(torc_copy_file(AT_FDCWD, "copy", AT_FDCWD, "copy", 0), 0);
	check(file_is("copy", "other"));
	check_eq(unlink("other"), 0);
	check_eq(others_than("copy", "file"), 0);
	put_file("empty", "");
	check_eq(torc_copy_file(AT_FDCWD, "empty", AT_FDCWD, "copy", 0), 0);
	check(file_is("copy", ""));
	return 0;
}

Test(contents, copy_file_copies_bytes_and_permissions)
{
	run_in_directory(copies, NULL);
}

static int copy_errors(void *arg)
{
	(void)arg;
	put_file("file", "text");
	check_eq(mkfifo("fifo", 0600), 0);
	check_eq(torc_copy_file(AT_FDCWD, "missing", AT_FDCWD, "copy", 0), -ENOENT);
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "missing/x", 0), -ENOENT);
	check_eq(torc_copy_file(AT_FDCWD, ".", AT_FDCWD, "copy", 0), -EISDIR);
	check_eq(torc_copy_file(AT_FDCWD, "fifo", AT_FDCWD, "copy", 0), -EINVAL);
	check_eq(torc_copy_file(AT_FDCWD, "/dev/zero", AT_FDCWD, "copy", 0), -EINVAL);
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "copy", 1 << 9), -EINVAL);
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, ".", 0), -EISDIR);
	check_cancelled(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "copy", 0));
	check_eq(others_than("file", "fifo"), 0);
	return 0;
}

Test(contents, copy_file_reports_errors_and_leaves_nothing)
{
	run_in_directory(copy_errors, NULL);
}

#define FAR ((off_t)5 << 30)

/* 5 GiB, of which two small pieces are data. */
static int copies_holes(void *arg)
{
	struct stat from, to;
	char buf[8];
	int fd = make_file("sparse", "begin", 5);

	(void)arg;
	check_eq(pwrite(fd, "far", 3, FAR), 3);
	check_eq(ftruncate(fd, FAR + (1 << 20)), 0);
	check_eq(fstat(fd, &from), 0);
	close(fd);
	check_eq(torc_copy_file(AT_FDCWD, "sparse", AT_FDCWD, arg, 0), 0);
	fd = open(arg, O_RDONLY | O_CLOEXEC);
	check_eq(fstat(fd, &to), 0);
	check_eq(to.st_size, from.st_size);
	check_le(to.st_blocks, from.st_blocks + 64);
	check_eq(pread(fd, buf, 5, 0), 5);
	check(!memcmp(buf, "begin", 5));
	check_eq(pread(fd, buf, 5, FAR - 1), 5);
	check(!memcmp(buf, "\0far\0", 5));
	close(fd);
	check_eq(unlink(arg), 0);
	return 0;
}

Test(contents, copy_file_keeps_holes)
{
	char name[] = "copy";

	run_in_directory(copies_holes, name);
}

/* To a file system of another kind the kernel does not copy. */
Test(contents, copy_file_keeps_holes_from_one_file_system_to_another)
{
	char name[] = "/dev/shm/torc-copy-XXXXXX";
	int fd = mkstemp(name);

	if (fd < 0)
		cr_skip_test("/dev/shm cannot be written");
	close(fd);
	run_in_directory(copies_holes, name);
}

static int copies_proc(void *arg)
{
	void *data;
	size_t len;

	(void)arg;
	check_eq(torc_copy_file(AT_FDCWD, "/proc/version", AT_FDCWD, "copy", 0), 0);
	check_eq(torc_read_file(AT_FDCWD, "copy", 10000, &data, &len), 0);
	check(len > 5 && !memcmp(data, "Linux", 5));
	torc_free_file(data);
	return 0;
}

Test(contents, copy_file_copies_what_does_not_tell_its_size)
{
	run_in_directory(copies_proc, NULL);
}

static int copy_large(void *arg)
{
	return torc_copy_file(AT_FDCWD, "large", AT_FDCWD, arg, 0);
}

static int copy_cancelled(void *arg)
{
	static char data[1 << 20];
	int fd = make_file("large", data, sizeof(data));

	(void)arg;
	for (int i = 1; i < 40; i++)
		check_eq(pwrite(fd, data, sizeof(data), (off_t)i << 20), sizeof(data));
	close(fd);
	cancel_at_any_turn(40, copy_large, "copy", (off_t)40 << 20);
	return 0;
}

Test(contents, copy_file_that_is_cancelled_leaves_what_was_there)
{
	run_in_directory(copy_cancelled, NULL);
}

/* The part that fits is where it belongs, once, and what does not is an error. */
static int write_at_the_limit(void *arg)
{
	struct rlimit old, small;
	char data[100];
	int fd = open("limited", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	(void)arg;
	check_ge(fd, 0);
	memset(data, 'x', sizeof(data));
	check_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 150, old.rlim_max };
	check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	check_eq(torc_write_all(fd, data, 100), 0);
	check_eq(torc_write_all(fd, data, 100), -EFBIG);
	check_eq(lseek(fd, 0, SEEK_CUR), 150);
	check_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	check_eq(torc_write_all(fd, "end", 3), 0);
	check_eq(lseek(fd, 0, SEEK_END), 153);
	torc_close(fd);
	check_eq(unlink("limited"), 0);
	return 0;
}

Test(contents, a_write_that_is_cut_short_is_no_success)
{
	run_in_directory(write_at_the_limit, NULL);
}
