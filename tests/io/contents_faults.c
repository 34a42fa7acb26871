/*
 * Files as a whole, and as streams, where something fails on the way: disks that break or are full, quotas, limits, others who write at the same
 * time. Whatever it is, there are the old contents or the new ones, and no other file.
 */
#include "tests/io/files.h"

#include <dirent.h>

#include <torc/io/contents.h>

#include "tests/io/forge.h"

TestSuite(contents_faults, .timeout = 60);

/* Those that these calls are made of, but for the one that takes a file away. */
#define OPERATIONS                                                                    \
	(FORGE_BIT(OPENAT) | FORGE_BIT(STATX) | FORGE_BIT(WRITE) | FORGE_BIT(FSYNC) | \
	 FORGE_BIT(RENAMEAT) | FORGE_BIT(LINKAT) | FORGE_BIT(FALLOCATE))

#define OLD "old contents"
#define NEW "new contents, which are longer"

/* How many files are in the working directory. */
static unsigned files_here(void)
{
	DIR *d = opendir(".");
	unsigned n = 0;

	check(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.' || strncmp(e->d_name, ".torc-", 6) == 0;
	closedir(d);
	return n;
}

/* --- each operation fails once --- */

static int write_new(void)
{
	return torc_write_file(AT_FDCWD, "file", NEW, strlen(NEW), 0600);
}

static int copy_new(void)
{
	return torc_copy_file(AT_FDCWD, "source", AT_FDCWD, "file", TORC_COPY_DURABLE);
}

static int append_more(void)
{
	return torc_append_file(AT_FDCWD, "file", "!", 1, 0600);
}

struct fault_call {
	int (*call)(void);
	const char *after; /* what is in the file when it has worked */
	unsigned least;    /* operations that it has, of which each can fail */
};

/* Only the last one may come too late to change nothing: the synchronisation of what is there by then. */
static void fail_each(const struct fault_call *c, int error)
{
	unsigned nth = 0, kept = 0, changed = 0;
	bool failed = true;

	for (; failed; nth++) {
		struct forging f = { .opcodes = OPERATIONS, .nth = nth, .res = error };
		int r, before = count_fds();

		put_file("file", OLD);
		forge_begin(&f);
		r = c->call();
		failed = forge_end(&f);
		check_eq(r, failed ? error : 0);
		check_eq(count_fds(), before);
		check_eq(files_here(), 2);
		check(file_is("file", OLD) || file_is("file", c->after));
		kept += file_is("file", OLD);
		changed += failed && file_is("file", c->after);
	}
	check_ge(nth, c->least + 1);
	check_ge(kept, c->least - 1);
	check_le(changed, 1);
}

static int each_fails(void *arg)
{
	static const struct fault_call calls[] = {
		{ write_new, NEW, 6 },
		{ copy_new, NEW, 7 },
		{ append_more, OLD "!", 5 },
	};
	static const int errors[] = { -EIO, -EDQUOT, -ENOSPC };

	(void)arg;
	put_file("source", NEW);
	for (size_t i = 0; i < COUNT(calls); i++)
		for (size_t k = 0; k < COUNT(errors); k++)
			fail_each(&calls[i], errors[k]);
	return 0;
}

Test(contents_faults, whichever_step_fails_the_old_contents_stay_and_nothing_is_left)
{
	run_in_directory(each_fails, NULL);
}

/* --- an append that gets half way --- */

struct other {
	const char *text;
	struct rlimit limit, none;
};

/* Somebody else, whom the limit does not hold, appends. */
static void append_by_other(void *arg)
{
	const struct other *o = arg;
	int fd;

	check_eq(setrlimit(RLIMIT_FSIZE, &o->none), 0);
	fd = open("file", O_WRONLY | O_APPEND | O_CLOEXEC);
	check_ge(fd, 0);
	check_eq(write(fd, o->text, strlen(o->text)), strlen(o->text));
	close(fd);
	check_eq(setrlimit(RLIMIT_FSIZE, &o->limit), 0);
}

static int append_with_company(void *arg)
{
	struct other o = { .text = "others' line" };
	/* That one's first write has the result that it would have anyway. */
	struct forging f = { .opcodes = FORGE_BIT(WRITE),
			     .res = 50 - (int)strlen(OLD),
			     .made = true,
			     .then = append_by_other,
			     .arg = &o };
	char expected[100] = OLD;

	(void)arg;
	check_eq(getrlimit(RLIMIT_FSIZE, &o.none), 0);
	o.limit = (struct rlimit){ 50, o.none.rlim_max };
	put_file("file", OLD);
	check_eq(setrlimit(RLIMIT_FSIZE, &o.limit), 0);
	forge_begin(&f);
	check_eq(torc_append_file(AT_FDCWD, "file",
				  "----------------------------------------------------------", 58,
				  0600),
		 -EFBIG);
	check(forge_end(&f));
	check_eq(setrlimit(RLIMIT_FSIZE, &o.none), 0);
	memset(expected + strlen(OLD), '-', 50 - strlen(OLD));
	strcpy(expected + 50, o.text);
	check(file_is("file", expected));
	return 0;
}

Test(contents_faults, what_others_have_appended_meanwhile_is_not_cut_off)
{
	run_in_directory(append_with_company, NULL);
}

/* The user's quota is used up half way; nobody else writes. */
static int append_to_quota(void *arg)
{
	struct forging f = { .opcodes = FORGE_BIT(WRITE), .nth = 1, .res = -EDQUOT };
	struct rlimit old, small;

	(void)arg;
	put_file("file", OLD);
	check_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 20, old.rlim_max };
	check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	forge_begin(&f);
	check_eq(torc_append_file(AT_FDCWD, "file", "0123456789", 10, 0600), -EDQUOT);
	check(forge_end(&f));
	check_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	check(file_is("file", OLD));
	return 0;
}

Test(contents_faults, an_append_that_ends_at_a_quota_is_taken_back)
{
	run_in_directory(append_to_quota, NULL);
}

/* A write that is no error and writes nothing must not go on for ever. */
static int nothing_is_written(void *arg)
{
	struct forging f = { .opcodes = FORGE_BIT(WRITE), .res = 0 };

	(void)arg;
	put_file("file", OLD);
	forge_begin(&f);
	check_eq(torc_append_file(AT_FDCWD, "file", "x", 1, 0600), -EIO);
	check(forge_end(&f));
	f = (struct forging){ .opcodes = FORGE_BIT(WRITE), .res = 0 };
	forge_begin(&f);
	check_lt(torc_write_file(AT_FDCWD, "file", "x", 1, 0600), 0);
	check(forge_end(&f));
	check(file_is("file", OLD));
	check_eq(files_here(), 1);
	return 0;
}

Test(contents_faults, a_write_of_nothing_is_an_error)
{
	run_in_directory(nothing_is_written, NULL);
}

/* --- limits and full disks --- */

static int full_device(void *arg)
{
	int fd = torc_open("/dev/full", O_WRONLY, 0);

	(void)arg;
	check_eq(torc_append_file(AT_FDCWD, "/dev/full", "x", 1, 0600), -ENOSPC);
	check_eq(torc_write_all(fd, "x", 1), -ENOSPC);
	check_eq(torc_pwrite_all(fd, "x", 1, 0), -ENOSPC);
	check_eq(torc_close_wait(fd), 0);
	return 0;
}

Test(contents_faults, a_full_device_is_enospc)
{
	run(full_device, NULL);
}

static void make_large(const char *path, size_t len)
{
	static char data[256 << 10];

	check_le(len, sizeof(data));
	memset(data, 'x', len);
	close(make_file(path, data, len));
}

/* Longer than the limit: for one that is new, one that is replaced, and a copy within the file system. */
static int copy_too_large(void *arg)
{
	struct rlimit old, small;

	(void)arg;
	make_large("large", 200 << 10);
	put_file("file", OLD);
	check_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 100 << 10, old.rlim_max };
	check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	check_eq(torc_copy_file(AT_FDCWD, "large", AT_FDCWD, "new", 0), -EFBIG);
	check_eq(torc_copy_file(AT_FDCWD, "large", AT_FDCWD, "file", 0), -EFBIG);
	check_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	check(file_is("file", OLD));
	check_eq(files_here(), 2);
	return 0;
}

Test(contents_faults, a_copy_beyond_the_limit_leaves_what_was_there)
{
	run_in_directory(copy_too_large, NULL);
}

/* From another file system, and within the full one. */
static int full_disk(void *arg)
{
	(void)arg;
	put_file("file", OLD);
	check_eq(torc_copy_file(AT_FDCWD, "/proc/self/exe", AT_FDCWD, "new", 0), -ENOSPC);
	check_eq(torc_copy_file(AT_FDCWD, "/proc/self/exe", AT_FDCWD, "file", TORC_COPY_DURABLE),
		 -ENOSPC);
	make_large("large", 40 << 10);
	check_eq(torc_copy_file(AT_FDCWD, "large", AT_FDCWD, "file", 0), -ENOSPC);
	check_eq(torc_copy_file(AT_FDCWD, "large", AT_FDCWD, "new", TORC_COPY_EXCLUSIVE), -ENOSPC);
	check(file_is("file", OLD));
	check_eq(files_here(), 2);
	/* And with room again it works: nothing holds what was given back. */
	check_eq(unlink("large"), 0);
	make_large("large", 20 << 10);
	check_eq(torc_copy_file(AT_FDCWD, "large", AT_FDCWD, "file", 0), 0);
	check(!file_is("file", OLD));
	return 0;
}

Test(contents_faults, a_copy_to_a_full_disk_leaves_what_was_there)
{
	char base[64];

	if (!enter_small_disk(base, "64k"))
		return;
	run(full_disk, NULL);
	leave_small_disk(base);
}

/* No more files, though there is room (ENOSPC of inodes): nothing to take away either. */
static int no_inodes(void *arg)
{
	char name[16];
	int n = 0, fd;

	(void)arg;
	put_file("file", OLD);
	do {
		snprintf(name, sizeof(name), "f%d", n++);
		fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
	} while (fd >= 0 && n < 1000);
	check_lt(n, 1000);
	check_eq(torc_write_file(AT_FDCWD, "file", NEW, 3, 0600), -ENOSPC);
	check_eq(torc_append_file(AT_FDCWD, "new", NEW, 3, 0600), -ENOSPC);
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "new", 0), -ENOSPC);
	check_eq(torc_mkdir("new", 0700), -ENOSPC);
	check_eq(torc_open("new", O_CREAT | O_WRONLY, 0600), -ENOSPC);
	check_eq(torc_symlinkat("file", AT_FDCWD, "new"), -ENOSPC);
	check(!exists("new"));
	check(file_is("file", OLD));
	return 0;
}

Test(contents_faults, without_room_for_one_more_file_nothing_changes)
{
	char base[64];

	if (!enter_small_disk(base, "64k,nr_inodes=10"))
		return;
	run(no_inodes, NULL);
	leave_small_disk(base);
}

/* --- time is up --- */

static int too_late(void *arg)
{
	struct torc_scope t;
	void *got;
	size_t len;

	(void)arg;
	put_file("file", OLD);
	torc_scope_enter(&t, 0);
	check_eq(torc_read_file(AT_FDCWD, "file", 100, &got, &len), -ETIMEDOUT);
	check_eq(write_new(), -ETIMEDOUT);
	check_eq(append_more(), -ETIMEDOUT);
	check_eq(torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "copy", 0), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	check(file_is("file", OLD));
	check_eq(files_here(), 1);
	return 0;
}

Test(contents_faults, after_the_deadline_nothing_is_done)
{
	run_in_directory(too_late, NULL);
}

/* --- streams over files --- */

/* The error comes with the flush, and stays; what was read before it is shown first. */
static int stream_fails(void *arg)
{
	static const int errors[] = { -EIO, -ENOSPC, -EDQUOT };
	struct torc_stream s;
	struct torc_slice in;

	(void)arg;
	for (size_t i = 0; i < COUNT(errors); i++) {
		struct forging f = { .opcodes = FORGE_BIT(WRITE), .res = errors[i] };

		check_eq(torc_stream_open_fds(&s, -1, make_file("file", "", 0)), 0);
		forge_begin(&f);
		check_eq(torc_stream_write(&s, "text", 4), 0);
		check_eq(torc_stream_flush(&s), errors[i]);
		check(forge_end(&f));
		check_eq(torc_stream_write(&s, "more", 4), errors[i]);
		check_eq(torc_stream_close(&s), errors[i]);
		check(file_is("file", ""));
	}
	for (unsigned nth = 0; nth < 2; nth++) {
		struct forging f = { .opcodes = FORGE_BIT(READ), .nth = nth, .res = -EIO };
		int r;

		put_file("file", OLD);
		check_eq(torc_stream_open_fds(&s, open("file", O_RDONLY | O_CLOEXEC), -1), 0);
		forge_begin(&f);
		while ((r = torc_stream_peek(&s, &in)) > 0) {
			check(nth == 1 && same_text(in, OLD));
			torc_stream_consume(&s, in.len);
		}
		check_eq(r, -EIO);
		check(forge_end(&f));
		check_eq(torc_stream_peek(&s, &in), -EIO);
		check_eq(torc_stream_close(&s), 0);
	}
	return 0;
}

Test(contents_faults, what_a_file_fails_with_is_told_by_its_stream_and_sticks)
{
	run_in_directory(stream_fails, NULL);
}
