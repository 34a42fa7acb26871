/*
 * What the network, the file system and the machine refuse only in special places: unreachable networks, ports and files of
 * others, mounts. Each test is a process of its own, which goes there.
 */
#include "tests/io/system.h"

#include <net/if.h>
#include <net/route.h>
#include <sched.h>

#include <torc/io/contents.h>
#include <torc/io/datagram.h>
#include <torc/io/directory.h>
#include <torc/io/watch.h>

#include "tests/io/files.h"

TestSuite(refusals, .timeout = 60);

/* --- networks --- */

#define NOWHERE "192.0.2.1"    /* without a route */
#define REFUSED "198.51.100.1" /* with one that says no */

static void add_refusing_route(int fd)
{
	struct rtentry q = { .rt_flags = RTF_UP | RTF_REJECT };
	struct sockaddr_in *to = (void *)&q.rt_dst, *mask = (void *)&q.rt_genmask;

	to->sin_family = mask->sin_family = AF_INET;
	to->sin_addr.s_addr = htonl(0xc6336400); /* 198.51.100.0 */
	mask->sin_addr.s_addr = htonl(0xffffff00);
	check_eq(ioctl(fd, SIOCADDRT, &q), 0);
}

/* Nothing but the loopback interface, and a route that refuses. */
static bool enter_network(void)
{
	struct ifreq q = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	check_ge(fd, 0);
	check_eq(ioctl(fd, SIOCSIFFLAGS, &q), 0);
	add_refusing_route(fd);
	close(fd);
	return true;
}

static int unreachable_streams(void)
{
	const struct torc_dial_options elsewhere = { .local = "192.0.2.9:0" };
	struct torc_listener l;

	check_eq(torc_dial(NOWHERE ":80"), -ENETUNREACH);
	check_eq(torc_dial("[2001:db8::1]:80"), -ENETUNREACH);
	check_eq(torc_dial(REFUSED ":80"), -EHOSTUNREACH);
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	check_eq(torc_dial_with(l.address, &elsewhere), -EADDRNOTAVAIL);
	check_eq(torc_dial_with(l.address, &(struct torc_dial_options){ .local = l.address }),
		 -EADDRINUSE);
	torc_listener_close(&l);
	return 0;
}

static int unreachable_datagrams(void)
{
	const struct torc_dgram_options nowhere = { .peer = NOWHERE ":9" },
					refused = { .peer = REFUSED ":9" };
	static char large[70000];
	struct torc_dgram_stats stats;
	struct torc_address to;
	struct torc_dgram d;

	check_eq(torc_dgram_open(&d, NULL, &nowhere), -ENETUNREACH);
	check_eq(torc_dgram_open(&d, NULL, &refused), -EHOSTUNREACH);
	check_eq(torc_dgram_open(&d, "0.0.0.0:0", NULL), 0);
	check_eq(torc_address_parse(NOWHERE ":9", 0, &to), 0);
	for (int i = 0; i < 3; i++) /* as a train too */
		check_eq(torc_dgram_send(&d, "x", 1, &to), 0);
	check_eq(torc_dgram_flush(&d), -ENETUNREACH);
	check_eq(torc_dgram_flush(&d), 0);
	check_eq(torc_sendto(d.fd, "x", 1, 0, &to), -ENETUNREACH);
	check_eq(torc_address_parse(REFUSED ":9", 0, &to), 0);
	check_eq(torc_dgram_send(&d, "x", 1, &to), 0);
	check_eq(torc_dgram_flush(&d), -EHOSTUNREACH);
	check_eq(torc_sendto(d.fd, "x", 1, 0, &to), -EHOSTUNREACH);
	torc_dgram_stats(&d, &stats);
	check_eq(stats.failed, 4);
	check_eq(stats.sent, 0);
	/* What is longer than any datagram, or of another family. */
	check_eq(torc_address_parse("127.0.0.1:9", 0, &to), 0);
	check_eq(torc_sendto(d.fd, large, sizeof(large), 0, &to), -EMSGSIZE);
	check_eq(torc_address_parse("[::1]:9", 0, &to), 0);
	check_eq(torc_sendto(d.fd, "x", 1, 0, &to), -EAFNOSUPPORT);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

static int unreachable(void *arg)
{
	(void)arg;
	return unreachable_streams() | unreachable_datagrams();
}

Test(refusals, what_cannot_be_reached_says_how)
{
	if (!enter_network()) {
		cr_skip_test("a network namespace is not allowed here");
		return;
	}
	run(unreachable, NULL);
}

/* Ports below 1024, which a new namespace keeps for root, and broadcasts without the option. */
static int not_permitted(void *arg)
{
	struct torc_listener l;
	struct torc_address to;
	struct torc_dgram d;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.1:80", NULL), -EACCES);
	check_eq(torc_dgram_open(&d, "127.0.0.1:53", NULL), -EACCES);
	check_eq(torc_dgram_open(&d, "0.0.0.0:0", NULL), 0);
	check_eq(torc_address_parse("127.255.255.255:9", 0, &to), 0);
	check_eq(torc_dgram_send(&d, "x", 1, &to), 0);
	check_eq(torc_dgram_flush(&d), -EACCES);
	check_eq(torc_sendto(d.fd, "x", 1, 0, &to), -EACCES);
	check_eq(torc_dgram_close(&d), 0);
	check_eq(torc_dgram_open(&d, "0.0.0.0:0",
				 &(struct torc_dgram_options){ .broadcast = true }),
		 0);
	check_eq(torc_dgram_send(&d, "x", 1, &to), 0);
	check_eq(torc_dgram_flush(&d), 0);
	check_eq(torc_dgram_close(&d), 0);
	return 0;
}

/* A user who may do nothing: root has its own way with all of it. */
static bool become_nobody(void)
{
	return getuid() || !setresuid(65534, 65534, 65534);
}

Test(refusals, what_only_root_may_is_eacces)
{
	if (!enter_network() || !become_nobody()) {
		cr_skip_test("a network namespace, or another user, is not allowed here");
		return;
	}
	run(not_permitted, NULL);
}

/* --- files --- */

/* "shut" is a directory, and "secret" a file, of somebody else. */
static int others_files(void *arg)
{
	struct torc_directory d;
	struct torc_listener l;
	struct torc_watch w;
	void *data;
	size_t len;

	(void)arg;
	check_eq(torc_watch_open(&w), 0);
	check_eq(torc_watch_add(&w, "secret", IN_MODIFY), -EACCES);
	check_eq(torc_watch_add(&w, "shut/file", IN_MODIFY), -EACCES);
	torc_watch_close(&w);
	check_eq(torc_listen(&l, "unix:shut/socket", NULL), -EACCES);
	check_eq(torc_directory_open(&d, AT_FDCWD, "shut"), -EACCES);
	check_eq(torc_read_file(AT_FDCWD, "secret", 100, &data, &len), -EACCES);
	check_eq(torc_append_file(AT_FDCWD, "secret", "x", 1, 0600), -EACCES);
	check_eq(torc_write_file(AT_FDCWD, "shut/file", "x", 1, 0600), -EACCES);
	check_eq(torc_write_file(AT_FDCWD, "new", "x", 1, 0600), -EACCES); /* no file beside it */
	check_eq(torc_copy_file(AT_FDCWD, "secret", AT_FDCWD, "/tmp/torc-copy", 0), -EACCES);
	check_eq(torc_remove_tree(AT_FDCWD, "shut"), -EACCES);
	check_eq(torc_fchmodat(AT_FDCWD, "readable", 0777, 0), -EPERM);
	check_eq(torc_fchownat(AT_FDCWD, "readable", 1, 1, 0), -EPERM);
	return 0;
}

Test(refusals, what_is_somebody_elses_is_not_touched)
{
	char base[64];

	enter_directory(base);
	check_eq(chmod(".", 0755), 0);
	check_eq(mkdir("shut", 0700), 0);
	put_file("secret", "secret");
	check_eq(chmod("secret", 0600), 0);
	put_file("readable", "text");
	if (getuid() || seteuid(65534)) {
		leave_directory(base);
		cr_skip_test("only root can become another user");
		return;
	}
	run(others_files, NULL);
	check_eq(seteuid(0), 0);
	check(file_is("secret", "secret"));
	leave_directory(base);
}

static int busy_and_read_only(void *arg)
{
	(void)arg;
	/* Something is mounted in there. */
	check_eq(torc_remove_tree(AT_FDCWD, "tree"), -EBUSY);
	check(!exists("tree/mounted/inside")); /* it was emptied; the mount stays */
	check(exists("tree/mounted"));
	check_eq(umount2("tree/mounted", MNT_DETACH), 0);
	check_eq(torc_remove_tree(AT_FDCWD, "tree"), 0);
	check(!exists("tree"));
	check_eq(mkdir("full", 0700), 0);
	put_file("full/file", "text");
	check_eq(mount(NULL, ".", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL), 0);
	check_eq(torc_remove_tree(AT_FDCWD, "full"), -EROFS);
	check_eq(torc_write_file(AT_FDCWD, "full/file", "new", 3, 0600), -EROFS);
	check_eq(torc_append_file(AT_FDCWD, "full/file", "new", 3, 0600), -EROFS);
	check_eq(torc_copy_file(AT_FDCWD, "full/file", AT_FDCWD, "copy", 0), -EROFS);
	check(file_is("full/file", "text"));
	return 0;
}

Test(refusals, mounts_in_a_tree_and_those_that_cannot_be_written)
{
	char base[64];

	if (!enter_small_disk(base, "1m"))
		return;
	check_eq(mkdir("tree", 0700), 0);
	check_eq(mkdir("tree/mounted", 0700), 0);
	check_eq(mount("torc-test", "tree/mounted", "tmpfs", 0, NULL), 0);
	put_file("tree/mounted/inside", "text");
	run(busy_and_read_only, NULL);
	leave_small_disk(base);
}

/* --- odd arguments --- */

static int odd_files(void *arg)
{
	char too_long[300];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), pipe_ends[2];
	struct torc_watch w;
	int a = make_file("a", "text", 4), b = make_file("b", "", 0);

	(void)arg;
	check_eq(torc_fallocate(null, 0, 0, 10), -ENODEV);
	check_eq(torc_pipe(pipe_ends, 0), 0);
	check_eq(torc_fallocate(pipe_ends[1], 0, 0, 10), -ESPIPE);
	check_eq(torc_copy_file_range(a, 0, b, INT64_MAX, 100), -EFBIG);
	check_eq(torc_copy_file_range(a, INT64_MAX, b, 0, 100), 0);
	check_eq(torc_pwrite(b, "x", 1, -5), -EINVAL);
	memset(too_long, 'n', 299);
	too_long[299] = '\0';
	check_eq(symlink("loop", "loop"), 0);
	check_eq(torc_watch_open(&w), 0);
	check_eq(torc_watch_add(&w, too_long, IN_MODIFY), -ENAMETOOLONG);
	check_eq(torc_watch_add(&w, "loop", IN_MODIFY), -ELOOP);
	check_cancelled(torc_watch_add(&w, ".", IN_MODIFY));
	torc_watch_close(&w);
	check_cancelled(torc_watch_open(&w));
	close(null);
	close(a);
	close(b);
	close(pipe_ends[0]);
	close(pipe_ends[1]);
	return 0;
}

Test(refusals, what_makes_no_sense_of_a_file)
{
	run_in_directory(odd_files, NULL);
}

/* --- as many sockets as a loop has groups of buffers for --- */

#define GROUPS 1024

static int one_group_more(void *arg)
{
	static struct torc_dgram d[GROUPS + 1];
	const struct torc_dgram_options o = { .recv_count = 4, .datagram_bytes = 64 };
	struct torc_datagram in;

	(void)arg;
	for (int i = 0; i <= GROUPS; i++) {
		check_eq(torc_dgram_open(&d[i], "127.0.0.1:0", &o), 0);
		check_eq(torc_dgram_send(&d[i], "x", 1, torc_dgram_address(&d[i])), 0);
		check_eq(torc_dgram_recv(&d[i], &in), i < GROUPS ? 0 : -ENOSPC);
	}
	/* It can still send; and receive, when one of the others is closed. */
	check_eq(torc_dgram_send(&d[GROUPS], "y", 1, torc_dgram_address(&d[0])), 0);
	check_eq(torc_dgram_recv(&d[0], &in), 0);
	check_eq(in.data[0], 'y');
	check_eq(torc_dgram_close(&d[0]), 0);
	check_eq(torc_dgram_recv(&d[GROUPS], &in), 0);
	check_eq(in.data[0], 'x');
	for (int i = 1; i <= GROUPS; i++)
		check_eq(torc_dgram_close(&d[i]), 0);
	return 0;
}

Test(refusals, one_socket_more_than_there_are_groups_is_enospc)
{
	struct rlimit most;

	check_eq(getrlimit(RLIMIT_NOFILE, &most), 0);
	most.rlim_cur = most.rlim_max;
	check_eq(setrlimit(RLIMIT_NOFILE, &most), 0);
	if (most.rlim_cur < GROUPS + 100) {
		cr_skip_test("more descriptors cannot be had");
		return;
	}
	run(one_group_more, NULL);
}
