/*
 * No descriptor is left: at whichever step a call finds that out, it says so and leaves none behind, and with descriptors again it
 * works. Accepting, children, signals and what else has ways of its own is tested with those.
 */
#include "tests/io/files.h"

#include <net/if.h>

#include <torc/executor/offload.h>
#include <torc/io/contents.h>
#include <torc/io/datagram.h>
#include <torc/io/directory.h>
#include <torc/io/pipe.h>
#include <torc/io/unix.h>
#include <torc/io/watch.h>

TestSuite(exhausted, .timeout = 60);

static char tcp_address[TORC_ADDRESS_MAX];

static int close_if(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int close_both_if(int r, const int fds[2])
{
	if (!r) {
		close(fds[0]);
		close(fds[1]);
	}
	return r;
}

/* --- what to call: each closes what it has got --- */

static int call_dial(void)
{
	return close_if(torc_dial(tcp_address));
}

static int call_dial_unix(void)
{
	return close_if(torc_dial("unix:listens"));
}

static int call_dial_from(void)
{
	return close_if(
		torc_dial_with(tcp_address, &(struct torc_dial_options){ .local = "127.0.0.1:0",
									 .device = "lo" }));
}

static int call_pair(void)
{
	int fds[2];

	return close_both_if(torc_unix_pair(SOCK_STREAM, fds), fds);
}

static int call_pipe(void)
{
	int fds[2];

	return close_both_if(torc_pipe(fds, 0), fds);
}

static int call_open(void)
{
	return close_if(torc_open("file", O_RDONLY, 0));
}

static int call_directory(void)
{
	struct torc_directory d;
	int r = torc_directory_open(&d, AT_FDCWD, ".");

	if (!r)
		torc_directory_close(&d);
	return r;
}

static int visit(const struct torc_walk_entry *entry, void *arg)
{
	(void)entry, (void)arg;
	return TORC_WALK_ON;
}

static int call_walk(void)
{
	return torc_walk(AT_FDCWD, ".", NULL, visit, NULL);
}

static int listen_at(const char *address)
{
	struct torc_listener l;
	int r = torc_listen(&l, address, NULL);

	if (!r)
		torc_listener_close(&l);
	return r;
}

static int call_listen(void)
{
	return listen_at("127.0.0.1:0");
}

/* A file that nobody listens on any more. */
static int call_listen_stale(void)
{
	return listen_at("unix:stale");
}

static int dgram_at(const char *address, const char *peer)
{
	struct torc_dgram d;
	int r = torc_dgram_open(&d, address, &(struct torc_dgram_options){ .peer = peer });

	return r ? r : torc_dgram_close(&d);
}

static int call_dgram(void)
{
	return dgram_at("127.0.0.1:0", "127.0.0.1:9");
}

static int call_dgram_stale(void)
{
	return dgram_at("unixgram:stale-too", NULL);
}

static int call_watch(void)
{
	struct torc_watch w;
	int r = torc_watch_open(&w);

	if (!r)
		torc_watch_close(&w);
	return r;
}

static int call_read_file(void)
{
	void *data;
	size_t len;
	int r = torc_read_file(AT_FDCWD, "file", 100, &data, &len);

	if (!r)
		torc_free_file(data);
	return r;
}

static int call_append_file(void)
{
	return torc_append_file(AT_FDCWD, "file", "x", 1, 0600);
}

static int call_copy_file(void)
{
	return torc_copy_file(AT_FDCWD, "file", AT_FDCWD, "copy", 0);
}

static int call_remove_tree(void)
{
	int r;

	if (!exists("tree/in")) {
		check(exists("tree") || !mkdir("tree", 0700));
		check_eq(mkdir("tree/in", 0700), 0);
	}
	r = torc_remove_tree(AT_FDCWD, "tree");
	check(r == 0 || exists("tree"));
	return r;
}

/* --- with ever more descriptors --- */

static int (*const calls[])(void) = {
	call_dial,      call_dial_unix,   call_dial_from, call_pair,      call_pipe,
	call_open,      call_directory,   call_walk,      call_listen,    call_listen_stale,
	call_dgram,     call_dgram_stale, call_watch,     call_read_file, call_append_file,
	call_copy_file, call_remove_tree,
};

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* Those here are low ones; count_fds looks at far more, for each of some hundred steps too slowly. */
static int count_low_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A socket's file whose socket is closed. */
static void make_stale(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	unlink(path);
	strcpy(a.sun_path, path);
	check_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
}

static void starve(size_t which)
{
	struct rlimit old, low;
	int r = -EMFILE;

	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)dup(0); /* what is below is open */
	close((int)low.rlim_cur);
	for (; r; low.rlim_cur++) {
		int before;

		make_stale("stale", SOCK_STREAM);
		make_stale("stale-too", SOCK_DGRAM);
		before = count_low_fds();
		check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
		r = calls[which]();
		check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (r && r != -EMFILE)
			fprintf(stderr, "call %zu: %d\n", which, r);
		check(r == 0 || r == -EMFILE);
		/* torc_close is not waited for, and a thread of the kernel may do it. */
		for (int i = 0; count_low_fds() != before && i < 1000; i++)
			check_eq(torc_yield(), 0);
		if (count_low_fds() != before)
			fprintf(stderr, "call %zu: %d, descriptors\n", which, r);
		check_eq(count_low_fds(), before);
		check_lt(low.rlim_cur, 200);
	}
}

static int starve_each(void *arg)
{
	struct torc_listener tcp, local;

	(void)arg;
	put_file("file", "text");
	check_eq(torc_listen(&tcp, "127.0.0.1:0", NULL), 0);
	check_eq(torc_listen(&local, "unix:listens", NULL), 0);
	strcpy(tcp_address, tcp.address);
	check_eq(torc_offload(nothing, NULL), 0); /* its thread is there */
	for (size_t i = 0; i < COUNT(calls); i++)
		starve(i);
	torc_listener_close(&tcp);
	torc_listener_close(&local);
	return 0;
}

Test(exhausted, descriptors_are_missed_at_any_step_and_none_is_left)
{
	run_in_directory(starve_each, NULL);
}

/* To find an interface by its name takes no descriptor. */
static int join(void *arg)
{
	struct rlimit old, low;
	struct torc_dgram d;

	(void)arg;
	check_eq(torc_dgram_open(&d, "0.0.0.0:0", NULL), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 3;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	check_eq(torc_dgram_join(&d, "239.1.2.3:0", "lo"), 0);
	check_eq(torc_dgram_join(&d, "239.1.2.3:0", "nosuchthing"), -ENODEV);
	check_eq(torc_dgram_join(&d, "239.1.2.3:0", "longer-than-any-name"), -ENODEV);
	check_eq(torc_dgram_leave(&d, "239.1.2.3:0", "lo"), 0);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

Test(exhausted, groups_are_joined_without_a_descriptor_to_spare)
{
	run(join, NULL);
}
