#include "tests/io/files.h"

#include <pthread.h>

#include <torc/io/directory.h>

#include "core/internal/system.h"

TestSuite(directory, .timeout = 60);

/* --- one directory --- */

#define MANY 3000

static int reads_many(void *arg)
{
	static unsigned char seen[MANY];
	struct torc_directory d;
	struct torc_directory_entry e;
	struct stat st;
	char name[32];
	int r, dirs = 0, links = 0;

	(void)arg;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "a-file-with-a-name-%d", i);
		put_file(name, "");
	}
	check_eq(mkdir("dir", 0755), 0);
	check_eq(symlink("dir", "link"), 0);
	check_eq(torc_directory_open(&d, AT_FDCWD, "."), 0);
	check_eq(fcntl(torc_directory_fd(&d), F_GETFD), FD_CLOEXEC);
	while ((r = torc_directory_next(&d, &e)) > 0) {
		check_eq(fstatat(torc_directory_fd(&d), e.name, &st, AT_SYMLINK_NOFOLLOW), 0);
		check_eq(st.st_ino, e.inode);
		if (e.type != DT_UNKNOWN)
			check_eq(e.type, st.st_mode >> 12);
		dirs += S_ISDIR(st.st_mode);
		links += S_ISLNK(st.st_mode);
		if (S_ISREG(st.st_mode))
			seen[atoi(e.name + strlen("a-file-with-a-name-"))]++;
	}
	check_eq(r, 0);
	check_eq(torc_directory_next(&d, &e), 0);
	for (int i = 0; i < MANY; i++)
		check_eq(seen[i], 1);
	check(dirs == 1 && links == 1);
	torc_directory_close(&d);
	return 0;
}

Test(directory, each_entry_is_told_of_once_without_the_dots)
{
	run_in_directory(reads_many, NULL);
}

static int open_errors(void *arg)
{
	struct torc_directory d;
	struct torc_directory_entry e = { .name = "untouched" };

	(void)arg;
	put_file("file", "x");
	check_eq(torc_directory_open(&d, AT_FDCWD, "missing"), -ENOENT);
	check_eq(torc_directory_open(&d, AT_FDCWD, "file"), -ENOTDIR);
	check_eq(torc_directory_open(&d, -5, "x"), -EBADF);
	check_cancelled(torc_directory_open(&d, AT_FDCWD, "."));
	check_eq(mkdir("gone", 0755), 0);
	check_eq(torc_directory_open(&d, AT_FDCWD, "gone"), 0);
	check_eq(rmdir("gone"), 0);
	check_eq(torc_directory_next(&d, &e), -ENOENT);
	check(!strcmp(e.name, "untouched"));
	torc_directory_close(&d);
	return 0;
}

Test(directory, open_and_next_report_errors)
{
	run_in_directory(open_errors, NULL);
}

static int cancelled(void *arg)
{
	struct torc_directory d;
	struct torc_directory_entry e;
	unsigned count = 0;

	(void)arg;
	put_file("a", "");
	put_file("b", "");
	check_eq(torc_directory_open(&d, AT_FDCWD, "."), 0);
	check_cancelled(torc_directory_next(&d, &e));
	check_eq(torc_directory_next(&d, &e), 1);
	check_cancelled(torc_directory_next(&d, &e));
	do
		count++;
	while (torc_directory_next(&d, &e) > 0);
	check_eq(count, 2);
	torc_directory_close(&d);
	check_eq(torc_directory_open(&d, AT_FDCWD, "."), 0);
	check_when_cancelled((torc_directory_close(&d), 0), 0);
	return 0;
}

Test(directory, a_cancelled_next_passes_over_nothing)
{
	run_in_directory(cancelled, NULL);
}

/* --- trees --- */

/* What was visited, as a text: "a a/b (a) ..." sorted by nothing but the order of the visits. */
struct visits {
	char text[4096];
	const char *skip, *stop, *fail, *remove;
	unsigned count;
};

static int note_visit(const struct torc_walk_entry *e, void *arg)
{
	struct visits *v = arg;
	struct stat st;
	size_t len = strlen(v->text);
	const char *slash = strrchr(e->path, '/');
	unsigned slashes = 0;

	for (const char *p = e->path; *p; p++)
		slashes += *p == '/';
	check_eq(e->depth, slashes + 1);
	check(!strcmp(e->name, slash ? slash + 1 : e->path));
	if (!e->error && !fstatat(e->dirfd, e->name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (!S_ISDIR(st.st_mode)) /* where something is mounted it is that below it */
			check_eq(st.st_ino, e->inode);
		check_eq(st.st_mode >> 12, e->type);
	}
	snprintf(v->text + len, sizeof(v->text) - len,
		 e->error   ? "!%s "
		 : e->after ? "(%s) "
			    : "%s ",
		 e->path);
	v->count++;
	if (v->remove && !strcmp(v->remove, e->path))
		check_eq(unlinkat(e->dirfd, e->name, AT_REMOVEDIR), 0);
	if (v->stop && !strcmp(v->stop, e->path))
		return TORC_WALK_STOP;
	if (v->fail && !strcmp(v->fail, e->path))
		return -ETXTBSY;
	return v->skip && !strcmp(v->skip, e->path) ? TORC_WALK_SKIP : TORC_WALK_ON;
}

/* One entry in each directory, so that the order is known. */
static void make_chain(void)
{
	check_eq(mkdir("root", 0755), 0);
	check_eq(mkdir("root/a", 0755), 0);
	check_eq(mkdir("root/a/b", 0755), 0);
	check_eq(mkdir("root/a/b/c", 0755), 0);
	put_file("root/a/b/c/file", "x");
}

static void check_walk(struct visits v, const struct torc_walk_options *o, int result,
		       const char *expected)
{
	check_eq(torc_walk(AT_FDCWD, "root", o, note_visit, &v), result);
	if (strcmp(v.text, expected))
		fprintf(stderr, "visited: %s\n", v.text);
	check(!strcmp(v.text, expected));
}

static int walks(void *arg)
{
	const struct torc_walk_options after = { .after = true },
				       two = { .depth_max = 2, .after = true };

	(void)arg;
	make_chain();
	check_walk((struct visits){ .count = 0 }, NULL, 0, "a a/b a/b/c a/b/c/file ");
	check_walk((struct visits){ .count = 0 }, &after, 0,
		   "a a/b a/b/c a/b/c/file (a/b/c) (a/b) (a) ");
	check_walk((struct visits){ .count = 0 }, &two, 0, "a a/b (a) ");
	check_walk((struct visits){ .skip = "a/b" }, &after, 0, "a a/b (a) ");
	check_walk((struct visits){ .stop = "a/b" }, &after, 1, "a a/b ");
	check_walk((struct visits){ .fail = "a/b/c" }, &after, -ETXTBSY, "a a/b a/b/c ");
	check_walk((struct visits){ .skip = "a/b/c/file" }, NULL, 0, "a a/b a/b/c a/b/c/file ");
	return 0;
}

Test(directory, a_walk_visits_depth_first_and_does_what_the_visits_say)
{
	run_in_directory(walks, NULL);
}

static int walk_of_nothing(void *arg)
{
	struct visits v = { .count = 0 };

	(void)arg;
	check_eq(mkdir("dir", 0755), 0);
	put_file("dir/file", "");
	check_eq(symlink("dir", "link"), 0);
	check_eq(torc_walk(AT_FDCWD, "missing", NULL, note_visit, &v), -ENOENT);
	check_eq(torc_walk(AT_FDCWD, "dir/file", NULL, note_visit, &v), -ENOTDIR);
	check_eq(torc_walk(AT_FDCWD, "link", NULL, note_visit, &v), -ENOTDIR);
	check_cancelled(torc_walk(AT_FDCWD, "dir", NULL, note_visit, &v));
	check_eq(v.count, 0);
	check_eq(torc_walk(AT_FDCWD, "link/", NULL, note_visit, &v), 0);
	check_eq(v.count, 1);
	return 0;
}

Test(directory, a_walk_begins_at_a_directory_or_fails)
{
	run_in_directory(walk_of_nothing, NULL);
}

static int links_and_vanishing(void *arg)
{
	(void)arg;
	make_chain();
	check_eq(unlink("root/a/b/c/file"), 0);
	check_walk((struct visits){ .remove = "a/b/c" }, NULL, 0, "a a/b a/b/c ");
	check_eq(symlink("../../a", "root/a/b/up"), 0);
	check_walk((struct visits){ .count = 0 }, NULL, 0, "a a/b a/b/up ");
	return 0;
}

Test(directory, a_walk_follows_no_link_and_survives_what_vanishes)
{
	run_in_directory(links_and_vanishing, NULL);
}

/* Puts a link in the place of a directory that is just visited. */
static int exchange_visit(const struct torc_walk_entry *e, void *arg)
{
	unsigned *visits = arg;

	++*visits;
	if (!strcmp(e->path, "a")) {
		check_eq(rmdir("root/a"), 0);
		check_eq(symlink("../outside", "root/a"), 0);
	}
	return TORC_WALK_ON;
}

static int exchanged(void *arg)
{
	unsigned visits = 0;

	(void)arg;
	check_eq(mkdir("root", 0755), 0);
	check_eq(mkdir("root/a", 0755), 0);
	check_eq(mkdir("outside", 0755), 0);
	put_file("outside/file", "");
	check_eq(torc_walk(AT_FDCWD, "root", NULL, exchange_visit, &visits), 0);
	check_eq(visits, 1);
	return 0;
}

Test(directory, a_walk_does_not_enter_a_link_that_took_a_directorys_place)
{
	run_in_directory(exchanged, NULL);
}

/* A file system that does not tell types. */
static struct torc__system typeless;

static int getdents_without_types(int fd, void *buf, size_t len)
{
	int r = torc__system_linux.getdents(fd, buf, len);

	for (int at = 0; at < r;) {
		struct dirent64 *e = (struct dirent64 *)(void *)((char *)buf + at);

		e->d_type = DT_UNKNOWN;
		at += e->d_reclen;
	}
	return r;
}

static int without_types(void *arg)
{
	(void)arg;
	make_chain();
	typeless = torc__system_linux;
	typeless.getdents = getdents_without_types;
	torc__system = &typeless;
	check_walk((struct visits){ .count = 0 }, NULL, 0, "a a/b a/b/c a/b/c/file ");
	check_eq(torc_remove_tree(AT_FDCWD, "root"), 0);
	torc__system = &torc__system_linux;
	return 0;
}

Test(directory, a_walk_finds_types_out_where_the_file_system_does_not_tell)
{
	run_in_directory(without_types, NULL);
}

/* The second question fails once: what the first one has brought is told of, then the error, then the rest. */
static int failing_calls;

static int getdents_that_fails(int fd, void *buf, size_t len)
{
	if (failing_calls++ == 1)
		return -EIO;
	return torc__system_linux.getdents(fd, buf, len < 300 ? len : 300);
}

static int read_error(void *arg)
{
	struct torc_directory d;
	struct torc_directory_entry e;
	unsigned count = 0, errors = 0;
	char name[16];
	int r;

	(void)arg;
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "file%d", i);
		put_file(name, "");
	}
	typeless = torc__system_linux;
	typeless.getdents = getdents_that_fails;
	torc__system = &typeless;
	check_eq(torc_directory_open(&d, AT_FDCWD, "."), 0);
	while ((r = torc_directory_next(&d, &e))) {
		count += r > 0;
		errors += r == -EIO;
	}
	torc_directory_close(&d);
	torc__system = &torc__system_linux;
	check_eq(count, 40);
	check_le(errors, 1);
	return 0;
}

Test(directory, an_error_halfway_loses_no_entry)
{
	run_in_directory(read_error, NULL);
}

static void make_deep(const char *root, unsigned depth)
{
	int fd, below;

	check_eq(mkdir(root, 0755), 0);
	fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (unsigned i = 0; i < depth; i++) {
		check_eq(mkdirat(fd, "d", 0755), 0);
		below = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		check_ge(below, 0);
		close(openat(fd, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		close(fd);
		fd = below;
	}
	close(fd);
}

static int count_visit(const struct torc_walk_entry *e, void *arg)
{
	(void)e;
	++*(unsigned *)arg;
	return TORC_WALK_ON;
}

static int deep(void *arg)
{
	const struct torc_walk_options limited = { .depth_max = TORC_WALK_DEPTH };
	unsigned n = 0;

	(void)arg;
	make_deep("fits", TORC_WALK_DEPTH - 1);
	check_eq(torc_walk(AT_FDCWD, "fits", NULL, count_visit, &n), 0);
	check_eq(n, 2 * (TORC_WALK_DEPTH - 1));
	make_deep("deep", 3000);
	check_eq(torc_walk(AT_FDCWD, "deep", NULL, count_visit, &n), -ELOOP);
	n = 0;
	check_eq(torc_walk(AT_FDCWD, "deep", &limited, count_visit, &n), 0);
	check_eq(n, 2 * TORC_WALK_DEPTH);
	check_eq(torc_remove_tree(AT_FDCWD, "deep"), 0);
	check(!exists("deep"));
	return 0;
}

Test(directory, depth_is_limited_but_not_that_of_a_tree_to_be_removed)
{
	run_in_directory(deep, NULL);
}

/* --- errors of directories: as somebody who may not read them --- */

static int unreadable(void *arg)
{
	const struct torc_walk_options o = { .report_errors = true, .after = true };

	(void)arg;
	make_chain();
	check_eq(chmod("root/a/b", 0), 0);
	check_walk((struct visits){ .count = 0 }, NULL, -EACCES, "a a/b ");
	check_walk((struct visits){ .count = 0 }, &o, 0, "a a/b !a/b (a) ");
	check_eq(torc_remove_tree(AT_FDCWD, "root"), -EACCES);
	check(exists("root/a/b"));
	check_eq(chmod("root/a/b", 0755), 0);
	return 0;
}

Test(directory, what_cannot_be_read_ends_a_walk_or_is_reported)
{
	char base[64];

	enter_directory(base);
	check_eq(chmod(base, 0777), 0);
	if (!geteuid() && seteuid(65534))
		cr_skip_test("root may read everything, and cannot become somebody else");
	run(unreadable, NULL);
	if (!getuid())
		check_eq(seteuid(0), 0);
	leave_directory(base);
}

static int few_descriptors(void *arg)
{
	struct rlimit old, few;
	unsigned n = 0;
	int last = dup(0);

	(void)arg;
	make_chain();
	close(last);
	check_eq(torc_walk(AT_FDCWD, "root", NULL, count_visit, &n), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = (struct rlimit){ (rlim_t)last + 2, old.rlim_max };
	check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	check_eq(torc_walk(AT_FDCWD, "root", NULL, count_visit, &n), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	return 0;
}

Test(directory, a_walk_without_descriptors_ends_and_leaves_none)
{
	run_in_directory(few_descriptors, NULL);
}

static int across_mount(void *arg)
{
	const struct torc_walk_options o = { .one_file_system = true };

	(void)arg;
	check_walk((struct visits){ .count = 0 }, NULL, 0, "a a/b a/b/file ");
	check_walk((struct visits){ .count = 0 }, &o, 0, "a a/b ");
	return 0;
}

Test(directory, a_walk_can_stay_on_one_file_system)
{
	char base[64];

	if (!enter_small_disk(base, "64k"))
		return;
	check_eq(mkdir("root", 0755), 0);
	check_eq(mkdir("root/a", 0755), 0);
	check_eq(mkdir("root/a/b", 0755), 0);
	check_eq(mount("torc-test", "root/a/b", "tmpfs", 0, "size=64k"), 0);
	put_file("root/a/b/file", "x");
	run(across_mount, NULL);
	leave_small_disk(base);
}

/* --- cancellation --- */

static int cancel_visit(const struct torc_walk_entry *e, void *arg)
{
	if (!strcmp(e->name, "b"))
		torc_scope_cancel(arg);
	return TORC_WALK_ON;
}

static int cancelled_walk(void *arg)
{
	struct torc_scope s;

	(void)arg;
	make_chain();
	torc_scope_enter(&s, TORC_NEVER);
	check_eq(torc_walk(AT_FDCWD, "root", NULL, cancel_visit, &s), -ECANCELED);
	check_eq(torc_scope_leave(&s), -ECANCELED);
	check_cancelled(torc_remove_tree(AT_FDCWD, "root"));
	check(exists("root/a/b/c/file"));
	torc_scope_enter(&s, 0);
	check_eq(torc_remove_tree(AT_FDCWD, "root"), -ETIMEDOUT);
	torc_scope_leave(&s);
	return 0;
}

Test(directory, a_walk_that_is_cancelled_ends_and_leaves_no_descriptor)
{
	run_in_directory(cancelled_walk, NULL);
}

static int remove_root(void *arg)
{
	(void)arg;
	return torc_remove_tree(AT_FDCWD, "root");
}

static int cancelled_removal(void *arg)
{
	(void)arg;
	for (int i = 0; i < 60; i++) {
		int r;

		make_deep("root", 20);
		r = cancelled_after(i * 3, remove_root, NULL, NULL);
		check(r == 0 || r == -ECANCELED);
		check_eq(exists("root"), r != 0);
		if (r)
			check_eq(torc_remove_tree(AT_FDCWD, "root"), 0);
	}
	return 0;
}

Test(directory, a_removal_that_is_cancelled_can_be_tried_again)
{
	run_in_directory(cancelled_removal, NULL);
}

/* --- removal --- */

static int removes(void *arg)
{
	char name[64];
	int dir;

	(void)arg;
	check_eq(mkdir("outside", 0755), 0);
	put_file("outside/file", "kept");
	make_chain();
	check_eq(symlink("../../outside", "root/a/link"), 0);
	check_eq(symlink("nowhere", "root/a/broken"), 0);
	check_eq(mkfifo("root/a/fifo", 0600), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "root/a/b/%d", i);
		put_file(name, "x");
	}
	check_eq(torc_remove_tree(AT_FDCWD, "root"), 0);
	check(!exists("root") && file_is("outside/file", "kept"));
	check_eq(torc_remove_tree(AT_FDCWD, "root"), -ENOENT);
	check_eq(torc_remove_tree(AT_FDCWD, ""), -ENOENT);
	check_eq(symlink("outside", "link"), 0);
	check_eq(torc_remove_tree(AT_FDCWD, "link"), 0);
	check(!exists("link"));
	check_eq(symlink("outside", "link"), 0);
	check_eq(torc_remove_tree(AT_FDCWD, "link//"), 0);
	check(!exists("link") && file_is("outside/file", "kept"));
	dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_eq(torc_remove_tree(dir, "outside/"), 0);
	check(!exists("outside"));
	close(dir);
	return 0;
}

Test(directory, remove_tree_removes_all_and_follows_nothing)
{
	run_in_directory(removes, NULL);
}

static int refuses(void *arg)
{
	static const char *const paths[] = { "/", "//", ".", "./", "..", "b/.", "b/..", "b/../" };

	(void)arg;
	make_chain();
	check_eq(
		chdir("root/a"),
		0); /* were it broken, all of these but the first would be a part of the test's directory */
	for (size_t i = 0; i < COUNT(paths); i++)
		check_eq(torc_remove_tree(AT_FDCWD, paths[i]), -EINVAL);
	check(exists("b/c/file"));
	return 0;
}

Test(directory, remove_tree_refuses_what_is_no_name)
{
	run_in_directory(refuses, NULL);
}

/* Somebody exchanges a directory of the tree and a link out of it, again and again. */
static volatile bool attack_over;

static void *attack(void *arg)
{
	(void)arg;
	while (!attack_over) {
		if (renameat2(AT_FDCWD, "root/a", AT_FDCWD, "link", RENAME_EXCHANGE) &&
		    !mkdir("root/a", 0755))
			close(open("root/a/f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	return NULL;
}

static int attacked(void *arg)
{
	pthread_t thread;

	(void)arg;
	check_eq(mkdir("outside", 0755), 0);
	put_file("outside/file", "kept");
	for (int i = 0; i < 100; i++) {
		int r;

		make_chain();
		if (!exists("link"))
			check_eq(symlink("outside", "link"), 0);
		attack_over = false;
		check_eq(pthread_create(&thread, NULL, attack, NULL), 0);
		r = torc_remove_tree(AT_FDCWD, "root");
		attack_over = true;
		pthread_join(thread, NULL);
		check(r == 0 || r == -ENOTEMPTY || r == -ENOENT);
		check(file_is("outside/file", "kept"));
		r = torc_remove_tree(AT_FDCWD, "root");
		check(r == 0 || r == -ENOENT);
		r = torc_remove_tree(AT_FDCWD, "link");
		check(r == 0 || r == -ENOENT);
		check(file_is("outside/file", "kept"));
	}
	return 0;
}

Test(directory, remove_tree_is_not_led_out_of_the_tree_by_whoever_exchanges_links)
{
	run_in_directory(attacked, NULL);
}
