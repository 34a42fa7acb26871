/* Unix sockets whose peers are hostile, of other users, or over their limits. */
#include "tests/io/system.h"

#include <sys/wait.h>

#include <torc/io/unix.h>

#include "tests/io/files.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76 /* Linux 6.5 */
#endif

TestSuite(unix_peers, .timeout = 30);

static int open_null(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	check_ge(fd, 0);
	return fd;
}

static void fill_with(int *fds, int fd)
{
	for (unsigned i = 0; i < TORC_FDS_MAX; i++)
		fds[i] = fd;
}

/* --- as many descriptors as can be --- */

/* A limit that leaves exactly so many below it; those that are open stay. */
static void leave_room(unsigned room, struct rlimit *ret_old)
{
	struct rlimit low;
	int fd = 0;

	check_eq(getrlimit(RLIMIT_NOFILE, ret_old), 0);
	low = *ret_old;
	for (;; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		if (!room--)
			break;
	}
	low.rlim_cur = (rlim_t)fd;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
}

/* All of 253 have room, or none is taken: with any room in between too. */
static int any_room(void *arg)
{
	static const unsigned rooms[] = { 0, 1, 2, 100, 251, 252, 253, 300 };
	int pair[2], fds[TORC_FDS_MAX], got[TORC_FDS_MAX], null = open_null();

	(void)arg;
	fill_with(fds, null);
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	for (size_t i = 0; i < COUNT(rooms); i++) {
		bool fits = rooms[i] >= TORC_FDS_MAX;
		unsigned count = 77;
		int before = count_fds(), r;
		struct rlimit old;
		char byte;

		check_eq(torc_send_fds(pair[0], "x", 1, fds, TORC_FDS_MAX), 1);
		leave_room(rooms[i], &old);
		r = torc_recv_fds(pair[1], &byte, 1, got, TORC_FDS_MAX, &count);
		check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
		check_eq(r, fits ? 1 : -EMFILE);
		check_eq(count, fits ? TORC_FDS_MAX : 77);
		check_eq(count_fds(), before + (fits ? TORC_FDS_MAX : 0));
		while (fits && count)
			close(got[--count]);
	}
	close(null);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_peers, a_full_message_of_descriptors_comes_whole_or_leaves_none)
{
	run(any_room, NULL);
}

/* Nobody has asked a stream for descriptors: the bytes come, and it stays usable. */
static int streams_take_none(void *arg)
{
	int pair[2], fds[TORC_FDS_MAX], null = open_null(), before;
	struct torc_stream s;
	char buf[3];

	(void)arg;
	fill_with(fds, null);
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	check_eq(torc_stream_open(&s, pair[1]), 0);
	before = count_fds();
	for (int i = 0; i < 5; i++) {
		check_eq(torc_send_fds(pair[0], "abc", 3, fds, TORC_FDS_MAX), 3);
		check_eq(torc_stream_read_exact(&s, buf, 3), 0);
		check(!memcmp(buf, "abc", 3));
		check_eq(count_fds(), before);
	}
	close(null);
	torc_close(pair[0]);
	check_eq(torc_stream_close(&s), 0);
	return 0;
}

Test(unix_peers, a_stream_takes_no_descriptors)
{
	run_all_features(NULL, streams_take_none, NULL);
}

/* The program has asked the socket for the sender's process, which comes as a descriptor. */
static int pidfds(void *arg)
{
	int pair[2], null = open_null(), got, before;
	const int one = 1;
	unsigned count;
	char byte;

	(void)arg;
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	if (setsockopt(pair[1], SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one)) < 0)
		check_eq(errno, ENOPROTOOPT); /* before Linux 6.5 */
	before = count_fds();
	for (unsigned sent = 0; sent < 2; sent++) {
		check_eq(torc_send_fds(pair[0], "x", 1, &null, sent), 1);
		check_eq(torc_recv_fds(pair[1], &byte, 1, &got, 1, &count), 1);
		check_eq(count, sent);
		check_eq(count_fds(), before + (int)sent);
	}
	check_eq(torc_send_fds(pair[0], "x", 1, &null, 1), 1);
	check_eq(torc_recv_fds(pair[1], &byte, 1, &got, 0, &count), -ETOOMANYREFS);
	check_eq(count_fds(), before + 1);
	close(got);
	close(null);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_peers, the_senders_process_as_a_descriptor_is_not_left_open)
{
	run(pidfds, NULL);
}

/* An ordinary user is stopped there, root is not. */
static int under_way(void *arg)
{
	int pair[2], fds[TORC_FDS_MAX], got[TORC_FDS_MAX], null = open_null(), r, sent = 0;
	struct rlimit old, low;
	unsigned count;
	char byte;

	(void)arg;
	fill_with(fds, null);
	check_eq(torc_unix_pair(SOCK_SEQPACKET, pair), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = (struct rlimit){ 100, old.rlim_max };
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	while ((r = torc_send_fds(pair[0], "x", 1, fds, 40)) == 1 && sent < 10)
		sent++;
	check_eq(r, -ETOOMANYREFS);
	check_ge(sent, 2);
	while (sent--) {
		check_eq(torc_recv_fds(pair[1], &byte, 1, got, 40, &count), 1);
		check_eq(count, 40);
		while (count)
			close(got[--count]);
	}
	check_eq(torc_send_fds(pair[0], "x", 1, fds, 40), 1); /* there is room again */
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(null);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_peers, more_under_way_than_a_process_may_have_is_etoomanyrefs)
{
	if (!getuid() && setresuid(65534, 65534, 65534) < 0) {
		cr_skip_test("another user cannot be had");
		return;
	}
	run(under_way, NULL);
}

/* --- who it is --- */

/* Connects as another user, if that may be, says so, and stays until it is told to go. */
static void be_peer(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	uid_t uid;
	char byte;

	strcpy(a.sun_path, path);
	if (!getuid() && (setresgid(65533, 65533, 65533) < 0 || setresuid(65534, 65534, 65534) < 0))
		_exit(1);
	uid = getuid();
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || write(fd, &uid, sizeof(uid)) < 0)
		_exit(2);
	_exit(read(fd, &byte, 1) == 0 ? 0 : 3);
}

/* The child is forked before there are threads. */
static pid_t peer;
static int go[2];

static int other_process(void *arg)
{
	struct torc_credentials c;
	struct torc_listener l;
	uid_t uid;
	int fd;

	(void)arg;
	check_eq(torc_listen(&l, "unix:meet", &(struct torc_listen_options){ .mode = 0666 }), 0);
	check_eq(write(go[1], "x", 1), 1);
	fd = torc_accept(&l);
	check_ge(fd, 0);
	check_eq(torc_recv(fd, &uid, sizeof(uid), MSG_WAITALL), sizeof(uid));
	check_eq(torc_peer_credentials(fd, &c), 0);
	check_eq(c.pid, peer);
	check_eq(c.uid, uid);
	check(uid != 65534 || c.gid == 65533);
	torc_close(fd);
	torc_listener_close(&l);
	return 0;
}

Test(unix_peers, credentials_are_those_of_the_process_that_has_connected)
{
	char base[64], byte;
	int status;

	enter_directory(base);
	check_eq(chmod(".", 0755), 0);
	umask(0); /* or another user may not connect */
	check_eq(pipe2(go, O_CLOEXEC), 0);
	peer = fork();
	check_ge(peer, 0);
	if (!peer) {
		if (read(go[0], &byte, 1) != 1)
			_exit(4);
		be_peer("meet");
	}
	run(other_process, NULL);
	check_eq(waitpid(peer, &status, 0), peer);
	check_eq(status, 0);
	leave_directory(base);
}

/* A peer that has gone is still the one that it was. */
static int gone_peer(void *arg)
{
	struct torc_credentials c;
	int pair[2], alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), file = open_null();

	(void)arg;
	check_eq(torc_unix_pair(SOCK_SEQPACKET, pair), 0);
	close(pair[1]);
	check_eq(torc_peer_credentials(pair[0], &c), 0);
	check_eq(c.pid, getpid());
	c.pid = 77;
	check_eq(torc_peer_credentials(alone, &c), -ENODATA);
	check_eq(torc_peer_credentials(file, &c), -ENOTSOCK);
	check_eq(c.pid, 77);
	close(pair[0]);
	close(alone);
	close(file);
	return 0;
}

Test(unix_peers, credentials_outlive_the_peer_and_need_one)
{
	run(gone_peer, NULL);
}

/* --- what else is documented --- */

static int errors(void *arg)
{
	static char large[1 << 20];
	int pair[2], null = open_null(), got;
	unsigned count = 77;

	(void)arg;
	check_eq(torc_unix_pair(SOCK_DGRAM, pair), 0);
	check_eq(torc_send_fds(pair[0], large, sizeof(large), &null, 1), -EMSGSIZE);
	check_cancelled(torc_send_fds(pair[0], "x", 1, &null, 1));
	check_cancelled(torc_recv_fds(pair[1], large, 1, &got, 1, &count));
	check_eq(recv(pair[1], large, 1, MSG_DONTWAIT), -1);
	check_eq(torc_send_fds(null, "x", 1, &null, 1), -ENOTSOCK);
	check_eq(torc_recv_fds(null, large, 1, &got, 1, &count), -ENOTSOCK);
	check_eq(count, 77);
	close(pair[1]);
	check_eq(torc_send_fds(pair[0], "x", 1, &null, 1), -ECONNREFUSED);
	close(pair[0]);
	close(null);
	return 0;
}

Test(unix_peers, what_cannot_be_sent_takes_no_descriptor)
{
	run(errors, NULL);
}

static int simulated(void *arg)
{
	struct torc_credentials c;
	int pair[2];

	(void)arg;
	check_eq(torc_unix_pair(SOCK_SEQPACKET, pair), -ESOCKTNOSUPPORT);
	check_eq(torc_unix_pair(SOCK_STREAM, pair), 0);
	check_eq(torc_peer_credentials(pair[0], &c), -ENOPROTOOPT);
	torc_close(pair[0]);
	torc_close(pair[1]);
	return 0;
}

Test(unix_peers, the_simulator_knows_nobody)
{
	run_simulated(simulated);
}
