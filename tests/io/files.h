/*
 * tests/io/files.h - what the tests of files share: a directory to work in, cancelled scopes, fibers that wait.
 */
#ifndef TESTS_IO_FILES_H
#define TESTS_IO_FILES_H

#include "tests/io/run.h"

#include <ftw.h>
#include <sched.h>
#include <sys/mount.h>

#include <torc/io/file.h>

/* --- a directory to work in --- */

static int files_remove(const char *path, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat, (void)type, (void)at;
	return remove(path);
}

/* A new working directory: each test is a process of its own. */
static inline void enter_directory(char base[static 64])
{
	strcpy(base, "/tmp/torc-files-XXXXXX");
	check(mkdtemp(base));
	check_eq(chdir(base), 0);
}

static inline void leave_directory(const char *base)
{
	check_eq(chdir("/"), 0);
	nftw(base, files_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* fn(arg) as the first fiber, in a directory of its own that is removed afterwards. */
static inline void run_in_directory(torc_fn *fn, void *arg)
{
	char base[64];

	enter_directory(base);
	run(fn, arg);
	leave_directory(base);
}

/* A file system of so many bytes on the working directory, which only this process sees. False: not allowed here. */
static inline bool mount_small(const char *size)
{
	char options[64];
	char here[256];

	snprintf(options, sizeof(options), "size=%s,mode=0755", size);
	check(getcwd(here, sizeof(here)));
	return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mount("torc-test", here, "tmpfs", 0, options) && !chdir(here);
}

/* As enter_directory, on a file system of so many bytes. False, and the test is skipped, where mounting is not allowed. */
static inline bool enter_small_disk(char base[static 64], const char *size)
{
	enter_directory(base);
	if (mount_small(size))
		return true;
	leave_directory(base);
	cr_skip_test("mounting is not allowed here");
	return false;
}

static inline void leave_small_disk(const char *base)
{
	check_eq(chdir("/"), 0);
	check_eq(umount2(base, MNT_DETACH), 0);
	check_eq(rmdir(base), 0);
}

static inline int make_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	check_ge(fd, 0);
	check_eq(write(fd, data, len), len);
	return fd;
}

static inline void put_file(const char *path, const char *text)
{
	close(make_file(path, text, strlen(text)));
}

static inline bool file_is(const char *path, const char *text)
{
	char buf[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	check_ge(fd, 0);
	n = read(fd, buf, sizeof(buf));
	close(fd);
	return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

static inline bool exists(const char *path)
{
	return !faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW);
}

/* --- cancellation --- */

/* What a call returns in a cancelled scope. */
#define check_when_cancelled(call, expected)                     \
	do {                                                     \
		struct torc_scope scope_;                        \
		long long r_;                                    \
                                                                 \
		torc_scope_enter(&scope_, TORC_NEVER);           \
		torc_scope_cancel(&scope_);                      \
		r_ = (call);                                     \
		check_eq(torc_scope_leave(&scope_), -ECANCELED); \
		check_eq(r_, expected);                          \
	} while (0)

#define check_cancelled(call) check_when_cancelled(call, -ECANCELED)

/* A call in a fiber of its own, to be cancelled while it waits. */
struct waiting {
	int (*fn)(void *arg);
	void *arg;
	int result;
	bool ended;
	struct torc_task task;
};

static inline int waiting_main(void *arg)
{
	struct waiting *w = arg;

	w->result = w->fn(w->arg);
	w->ended = true;
	return 0;
}

static inline void waiting_start(struct torc_group *g, struct waiting *w)
{
	const struct torc_spawn_options o = { .task = &w->task };

	check_eq(torc_group_spawn_with(g, &o, waiting_main, w), 0);
}

/* The result of fn(arg), which is cancelled after so many turns; `meanwhile` runs just before. */
static inline int cancelled_after(int turns, int (*fn)(void *arg), void *arg,
				  void (*meanwhile)(void *arg))
{
	struct torc_group g;
	struct waiting w = { .fn = fn, .arg = arg };

	torc_group_enter(&g);
	waiting_start(&g, &w);
	for (int i = 0; i < turns; i++)
		torc_yield();
	if (meanwhile)
		meanwhile(arg);
	torc_task_cancel(&w.task);
	check_eq(torc_task_join(&w.task), 0);
	check_eq(torc_group_wait(&g), 0);
	return w.result;
}

#endif
