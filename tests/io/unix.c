#include "tests/io/run.h"

#include <torc/io/unix.h>

TestSuite(unix_socket, .timeout = 30);

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	check_ge(fd, 0);
	return fd;
}

static int round_trip(void *arg)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

	(void)arg;
	for (size_t i = 0; i < COUNT(types); i++) {
		int pair[2], fds[TORC_FDS_MAX], got[TORC_FDS_MAX], null = open_null(), before;
		char buf[16];
		unsigned count;

		check_eq(torc_unix_pair(types[i], pair), 0);
		for (size_t k = 0; k < COUNT(fds); k++)
			fds[k] = null;
		for (unsigned n = 0; n <= TORC_FDS_MAX; n += n < 4 ? 1 : 83) {
			before = count_fds();
			check_eq(torc_send_fds(pair[0], "hello", 5, fds, n), 5);
			check_eq(torc_recv_fds(pair[1], buf, sizeof(buf), got, n, &count), 5);
			check_eq(count, n);
			check_eq(count_fds(), before + (int)n);
			for (unsigned k = 0; k < n; k++) {
				check(fcntl(got[k], F_GETFD) & FD_CLOEXEC);
				close(got[k]);
			}
		}
		close(null);
		close(pair[0]);
		close(pair[1]);
	}
	return 0;
}

Test(unix_socket, descriptors_arrive_with_their_bytes)
{
	run(round_trip, NULL);
}

static int too_many(void *arg)
{
	int pair[2], fds[TORC_FDS_MAX], got[TORC_FDS_MAX], null = open_null(), before;
	const int one = 1;
	char buf[16];

	(void)arg;
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	for (size_t k = 0; k < COUNT(fds); k++)
		fds[k] = null;
	for (int creds = 0; creds < 2; creds++) {
		check_eq(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &creds, sizeof(creds)), 0);
		for (unsigned sent = 1; sent <= TORC_FDS_MAX; sent += 9) {
			unsigned count = 77;

			before = count_fds();
			memset(got, -1, sizeof(got));
			check_eq(torc_send_fds(pair[0], "x", 1, fds, sent), 1);
			check_eq(torc_recv_fds(pair[1], buf, sizeof(buf), got, sent - 1, &count),
				 -ETOOMANYREFS);
			check_eq(count, 77);
			check_eq(got[0], -1);
			check_eq(count_fds(), before);
			/* With those who do not look for any. */
			check_eq(torc_send_fds(pair[0], "x", 1, fds, sent), 1);
			check_eq(torc_recv(pair[1], buf, sizeof(buf), 0), 1);
			check_eq(count_fds(), before);
			check_eq(torc_send_fds(pair[0], "x", 1, fds, sent), 1);
			check_eq(torc_recvfrom(pair[1], buf, sizeof(buf), 0, NULL), 1);
			check_eq(count_fds(), before);
			check_eq(torc_send_fds(pair[0], "x", 1, fds, sent), 1);
			check_eq(torc_recv_fds(pair[1], buf, sizeof(buf), got, sent, &count), 1);
			check_eq(count, sent);
			while (count)
				close(got[--count]);
		}
	}
	check_eq(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	close(null);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_socket, a_peer_that_sends_more_descriptors_than_wanted_leaves_none)
{
	run(too_many, NULL);
}

static int at_the_limit(void *arg)
{
	struct rlimit old, low;
	int pair[2], fds[20], got[20], null = open_null(), before;
	unsigned count = 77;
	char buf[16];

	(void)arg;
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	for (size_t k = 0; k < COUNT(fds); k++)
		fds[k] = null;
	check_eq(torc_send_fds(pair[0], "x", 1, fds, 20), 1);
	check_eq(torc_send_fds(pair[0], "y", 1, fds, 1), 1);
	before = count_fds();
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	/* Room for a few only, somewhere among those that are open. */
	low.rlim_cur = (rlim_t)dup(null);
	close((int)low.rlim_cur);
	low.rlim_cur += 5;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	check_eq(torc_recv_fds(pair[1], buf, sizeof(buf), got, 20, &count), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(count, 77);
	check_eq(count_fds(), before);
	check_eq(torc_recv_fds(pair[1], buf, sizeof(buf), got, 20, &count), 1);
	check_eq(count, 1);
	close(got[0]);
	close(null);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_socket, without_room_for_all_descriptors_none_is_left)
{
	run(at_the_limit, NULL);
}

static int errors(void *arg)
{
	int pair[2], got[2], null = open_null(), none = 9999;
	struct torc_scope t;
	unsigned count = 77;
	char buf[4];

	(void)arg;
	check_eq(torc_unix_pair(SOCK_RAW, pair), -EINVAL);
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	check_eq(torc_send_fds(pair[0], "x", 0, &null, 1), -EINVAL);
	check_eq(torc_send_fds(pair[0], "x", 1, &null, TORC_FDS_MAX + 1), -EINVAL);
	check_eq(torc_recv_fds(pair[0], buf, 1, got, TORC_FDS_MAX + 1, &count), -EINVAL);
	check_eq(torc_send_fds(pair[0], "x", 1, &none, 1), -EBADF);
	check_eq(torc_send_fds(-1, "x", 1, &null, 1), -EBADF);
	check_eq(torc_recv_fds(-1, buf, 1, got, 1, &count), -EBADF);
	torc_scope_enter(&t, TORC_MS(10));
	check_eq(torc_recv_fds(pair[1], buf, 1, got, 1, &count), -ETIMEDOUT);
	check_eq(torc_send_fds(pair[0], "x", 1, &null, 1), -ETIMEDOUT);
	torc_scope_leave(&t);
	check_eq(recv(pair[1], buf, 1, MSG_DONTWAIT), -1);
	close(pair[1]);
	check_eq(torc_send_fds(pair[0], "x", 1, &null, 1), -EPIPE);
	check_eq(torc_recv_fds(pair[0], buf, 1, got, 1, &count), 0);
	check_eq(count, 0);
	close(null);
	torc_close(pair[0]);
	return 0;
}

Test(unix_socket, errors_and_cancellation)
{
	run(errors, NULL);
}

/* Sends a descriptor whenever it likes, until the receiver has had enough. */
struct race {
	int fd, null;
	uint64_t seed;
};

#define RACES 400

static int race_sender(void *arg)
{
	struct race *race = arg;

	for (int i = 0; i < RACES; i++) {
		check_eq(torc_send_fds(race->fd, "x", 1, &race->null, 1), 1);
		check_eq(torc_sleep(next_random(&race->seed) % 30000), 0);
	}
	return 0;
}

static int races(void *arg)
{
	struct race race = { .seed = 3, .null = open_null() };
	uint64_t seed = 11;
	struct torc_group g;
	int pair[2], received = 0, before;

	(void)arg;
	check_eq(torc_unix_pair(SOCK_SEQPACKET, pair), 0);
	race.fd = pair[0];
	before = count_fds();
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, race_sender, &race), 0);
	while (received < RACES) {
		struct torc_scope t;
		unsigned count = 0;
		int r, got = -1;
		char buf[4];

		torc_scope_enter(&t, 1 + next_random(&seed) % 30000);
		r = torc_recv_fds(pair[1], buf, sizeof(buf), &got, 1, &count);
		torc_scope_leave(&t);
		check(r == 1 || r == -ETIMEDOUT);
		check_eq(count, r == 1);
		if (r == 1) {
			received++;
			close(got);
		} else {
			torc_yield();
		}
	}
	check_eq(torc_group_wait(&g), 0);
	check_eq(count_fds(), before);
	close(race.null);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_socket, a_receive_cut_short_at_any_time_loses_no_descriptor)
{
	run(races, NULL);
}

static int credentials(void *arg)
{
	struct torc_credentials c = { .pid = 77 };
	int pair[2];

	(void)arg;
	tcp_pair(pair);
	check_eq(torc_peer_credentials(pair[0], &c), -ENODATA);
	check_eq(torc_peer_credentials(-1, &c), -EBADF);
	check_eq(c.pid, 77);
	close(pair[0]);
	close(pair[1]);
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	check_eq(torc_peer_credentials(pair[0], &c), 0);
	check_eq(c.pid, getpid());
	check_eq(c.uid, getuid());
	check_eq(c.gid, getgid());
	close(pair[0]);
	close(pair[1]);
	return 0;
}

Test(unix_socket, credentials_of_the_peer)
{
	run(credentials, NULL);
}

/* --- listeners: abstract names, records --- */

struct listening {
	struct torc_listener l;
	const char *address;
};

static int listen_and_dial(void *arg)
{
	static const char *const names[] = { "unix:@torc-test-%d", "unixpacket:@torc-test-%d",
					     "unixpacket:/tmp/torc-test-packet-%d" };

	(void)arg;
	for (size_t i = 0; i < COUNT(names); i++) {
		struct torc_listen_options o = { .mode = 0600 };
		struct torc_listener l, second;
		char address[TORC_ADDRESS_MAX], buf[16];
		struct stat st;
		int fd, peer;

		snprintf(address, sizeof(address), names[i], getpid());
		check_eq(torc_dial(address), strchr(address, '@') ? -ECONNREFUSED : -ENOENT);
		check_eq(torc_listen(&l, address, &o), 0);
		check(!strcmp(l.address, address));
		check_eq(torc_listen(&second, address, NULL), -EADDRINUSE);
		fd = torc_dial(address);
		check_ge(fd, 0);
		peer = torc_accept(&l);
		check_ge(peer, 0);
		check_eq(torc_send(fd, "ab", 2, 0), 2);
		check_eq(torc_send(fd, "c", 1, 0), 1);
		check_eq(torc_recv(peer, buf, sizeof(buf), 0), i ? 2 : 3);
		torc_close(fd);
		torc_close(peer);
		if (i == 2) {
			check_eq(stat(strchr(address, '/'), &st), 0);
			check_eq(st.st_mode & 0777, 0600);
		}
		torc_listener_close(&l);
		if (i == 2)
			check_eq(stat(strchr(address, '/'), &st), -1);
		check_eq(torc_listen(&l, address, NULL), 0);
		torc_listener_close(&l);
	}
	return 0;
}

Test(unix_socket, abstract_names_and_records_are_listened_on)
{
	run(listen_and_dial, NULL);
}
