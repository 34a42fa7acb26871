#include "tests/io/system.h"

#include <sched.h>
#include <sys/wait.h>

#include <torc/io/watch.h>

TestSuite(watch, .timeout = 60);

/* A directory to be watched, and how to get at what is in it. */
static char dir[64];

static void make_dir(void)
{
	strcpy(dir, "/tmp/torc-watch-XXXXXX");
	check(mkdtemp(dir));
}

static const char *in_dir(const char *name)
{
	static char path[2][512];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", dir, name);
	return path[turn];
}

static void touch(const char *name)
{
	int fd = open(in_dir(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	check_ge(fd, 0);
	close(fd);
}

static void expect(struct torc_watch *w, int id, uint32_t mask, const char *name)
{
	struct torc_watch_event e;

	check_eq(torc_watch_next(w, &e), 0);
	check_eq(e.id, id);
	check_eq(e.mask, mask);
	check(!strcmp(e.name, name));
	check_eq(e.name_len, strlen(name));
}

/* --- events --- */

static int events(void *arg)
{
	struct torc_watch_event from, to;
	struct torc_watch w;
	int id, file;

	(void)arg;
	make_dir();
	check_eq(torc_watch_open(&w), 0);
	check_eq(fcntl(w.fd, F_GETFD), FD_CLOEXEC);
	id = torc_watch_add(&w, dir, IN_CREATE | IN_DELETE | IN_MOVE);
	check_ge(id, 1);
	touch("a");
	expect(&w, id, IN_CREATE, "a");
	check_eq(mkdir(in_dir("d"), 0700), 0);
	expect(&w, id, IN_CREATE | IN_ISDIR, "d");
	check_eq(rename(in_dir("a"), in_dir("b")), 0);
	check_eq(torc_watch_next(&w, &from), 0);
	check(from.mask == IN_MOVED_FROM && !strcmp(from.name, "a"));
	check_eq(torc_watch_next(&w, &to), 0);
	check(to.mask == IN_MOVED_TO && !strcmp(to.name, "b"));
	check(from.cookie && from.cookie == to.cookie);
	file = torc_watch_add(&w, in_dir("b"), IN_MODIFY | IN_DELETE_SELF);
	check(file >= 1 && file != id);
	check_eq(truncate(in_dir("b"), 5), 0);
	expect(&w, file, IN_MODIFY, "");
	check_eq(unlink(in_dir("b")), 0);
	expect(&w, file, IN_DELETE_SELF, "");
	expect(&w, file, IN_IGNORED, "");
	expect(&w, id, IN_DELETE, "b");
	check_eq(torc_watch_remove(&w, file), -EINVAL);
	check_eq(torc_watch_remove(&w, id), 0);
	expect(&w, id, IN_IGNORED, "");
	torc_watch_close(&w);
	rmdir(in_dir("d"));
	rmdir(dir);
	return 0;
}

Test(watch, tells_what_happens)
{
	run_all_features(NULL, events, NULL);
}

/* Of the longest name, and more than one read holds. */
static int many(void *arg)
{
	char name[256];
	struct torc_watch w;
	int id;

	(void)arg;
	make_dir();
	check_eq(torc_watch_open(&w), 0);
	id = torc_watch_add(&w, dir, IN_CREATE);
	memset(name, 'x', 255);
	name[255] = '\0';
	for (int i = 0; i < 100; i++) {
		name[0] = (char)('0' + i / 10);
		name[1] = (char)('0' + i % 10);
		name[i < 50 ? 255 : i] = '\0'; /* of any length */
		touch(name);
		name[i < 50 ? 255 : i] = i < 50 ? '\0' : 'x';
	}
	for (int i = 0; i < 100; i++) {
		name[0] = (char)('0' + i / 10);
		name[1] = (char)('0' + i % 10);
		name[i < 50 ? 255 : i] = '\0';
		expect(&w, id, IN_CREATE, name);
		unlink(in_dir(name));
		name[i < 50 ? 255 : i] = i < 50 ? '\0' : 'x';
	}
	torc_watch_close(&w);
	rmdir(dir);
	return 0;
}

Test(watch, many_events_with_long_names_come_in_order)
{
	run(many, NULL);
}

static int overflow(void *arg)
{
	struct torc_watch_event e;
	struct torc_watch w;
	unsigned most = 0, seen = 0;
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	(void)arg;
	check(f && fscanf(f, "%u", &most) == 1);
	fclose(f);
	make_dir();
	check_eq(torc_watch_open(&w), 0);
	check_ge(torc_watch_add(&w, dir, IN_CREATE | IN_OPEN | IN_CLOSE | IN_DELETE), 1);
	for (unsigned i = 0; i < most / 4 + 10; i++) {
		touch("a");
		unlink(in_dir("a"));
	}
	do {
		check_eq(torc_watch_next(&w, &e), 0);
		seen++;
	} while (!(e.mask & IN_Q_OVERFLOW));
	check_eq(e.id, -1);
	check_eq(e.name_len, 0);
	check_le(seen, most + 1);
	touch("b"); /* from there on all is told again */
	check_eq(torc_watch_next(&w, &e), 0);
	check(e.mask == IN_CREATE && !strcmp(e.name, "b"));
	torc_watch_close(&w);
	unlink(in_dir("b"));
	rmdir(dir);
	return 0;
}

Test(watch, says_when_events_were_lost)
{
	run(overflow, NULL);
}

/* --- waiting --- */

static int toucher(void *arg)
{
	(void)arg;
	touch("a");
	return 0;
}

static int waits(void *arg)
{
	struct torc_watch_event e = { .cookie = 77 };
	struct torc_group g;
	struct torc_scope t;
	struct torc_watch w;
	int id;

	(void)arg;
	make_dir();
	check_eq(torc_watch_open(&w), 0);
	id = torc_watch_add(&w, dir, IN_CREATE);
	torc_scope_enter(&t, TORC_MS(5));
	check_eq(torc_watch_next(&w, &e), -ETIMEDOUT);
	touch("c");
	check_eq(torc_watch_next(&w, &e), -ETIMEDOUT);
	check_eq(torc_watch_add(&w, "/tmp", IN_CREATE), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(e.cookie, 77);
	expect(&w, id, IN_CREATE, "c"); /* nothing was lost */
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, toucher, NULL), 0);
	expect(&w, id, IN_CREATE, "a"); /* which comes while this waits */
	check_eq(torc_group_wait(&g), 0);
	torc_watch_close(&w);
	unlink(in_dir("a"));
	unlink(in_dir("c"));
	rmdir(dir);
	return 0;
}

Test(watch, waits_for_an_event_and_loses_none_when_cancelled)
{
	run_all_features(NULL, waits, NULL);
}

/* --- errors --- */

static int errors(void *arg)
{
	struct torc_watch w = { .fd = 77 }, starved = { .fd = 77 };
	struct rlimit old, low;
	struct torc_scope t;

	(void)arg;
	torc_scope_enter(&t, 0);
	check_eq(torc_watch_open(&w), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(w.fd, 77);
	check_eq(torc_watch_open(&w), 0);
	check_eq(torc_watch_add(&w, "/nonexistent", IN_CREATE), -ENOENT);
	check_eq(torc_watch_add(&w, "/etc/passwd/x", IN_CREATE), -ENOTDIR);
	check_eq(torc_watch_add(&w, "/etc/passwd", IN_CREATE | IN_ONLYDIR), -ENOTDIR);
	check_eq(torc_watch_add(&w, "/tmp", 0), -EINVAL);
	check_eq(torc_watch_add(&w, "/tmp", IN_CREATE), 1);
	check_eq(torc_watch_add(&w, "/tmp", IN_DELETE), 1);
	check_eq(torc_watch_add(&w, "/tmp", IN_DELETE | IN_MASK_CREATE), -EEXIST);
	check_eq(torc_watch_remove(&w, 99), -EINVAL);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 3;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	check_eq(torc_watch_open(&starved), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(starved.fd, 77);
	torc_watch_close(&w);
	return 0;
}

Test(watch, says_why_it_cannot)
{
	run(errors, NULL);
}

/* --- limits of the user --- */

static bool write_number(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* In a namespace of its own this process is a user who may have so many. */
static bool limit_user(const char *instances, const char *watches)
{
	return !unshare(CLONE_NEWUSER) &&
	       write_number("/proc/sys/user/max_inotify_instances", instances) &&
	       write_number("/proc/sys/user/max_inotify_watches", watches);
}

static int too_many_watches(void *arg)
{
	struct torc_watch w;
	int id;

	(void)arg;
	make_dir();
	check_eq(mkdir(in_dir("a"), 0700), 0);
	check_eq(mkdir(in_dir("b"), 0700), 0);
	check_eq(torc_watch_open(&w), 0);
	id = torc_watch_add(&w, dir, IN_CREATE);
	check_ge(id, 1);
	check_ge(torc_watch_add(&w, in_dir("a"), IN_CREATE), 1);
	check_eq(torc_watch_add(&w, in_dir("b"), IN_CREATE), -ENOSPC);
	check_eq(torc_watch_add(&w, dir, IN_DELETE), id); /* that is not one more */
	check_eq(torc_watch_remove(&w, id), 0);
	expect(&w, id, IN_IGNORED, "");
	check_ge(torc_watch_add(&w, in_dir("b"), IN_CREATE), 1);
	torc_watch_close(&w);
	rmdir(in_dir("a"));
	rmdir(in_dir("b"));
	rmdir(dir);
	return 0;
}

static int too_many_instances(void *arg)
{
	struct torc_watch w[2], one_more = { .fd = 77 };

	(void)arg;
	check_eq(torc_watch_open(&w[0]), 0);
	check_eq(torc_watch_open(&w[1]), 0);
	check_eq(torc_watch_open(&one_more), -EMFILE);
	check_eq(one_more.fd, 77);
	torc_watch_close(&w[0]);
	check_eq(torc_watch_open(&one_more), 0);
	torc_watch_close(&one_more);
	torc_watch_close(&w[1]);
	return 0;
}

Test(watch, says_when_the_user_has_too_many)
{
	int status;
	pid_t child = fork(); /* a process with threads cannot go there */

	check_ge(child, 0);
	if (!child) {
		if (!limit_user("2", "2"))
			_exit(77);
		run(too_many_watches, NULL);
		run(too_many_instances, NULL);
		_exit(0);
	}
	check_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		cr_skip_test("a user namespace with limits is not allowed here");
	check_eq(status, 0);
}

static int simulated(void *arg)
{
	struct torc_watch w;

	(void)arg;
	check_eq(torc_watch_open(&w), -ENOSYS);
	return 0;
}

Test(watch, there_is_none_on_the_simulator)
{
	run_simulated(simulated);
}
