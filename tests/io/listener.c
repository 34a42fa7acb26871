#include "tests/io/run.h"

TestSuite(listener, .timeout = 30);

static int port_of(const struct torc_listener *l)
{
	return atoi(strrchr(l->address, ':') + 1);
}

static int accept_all(void *arg)
{
	enum { CLIENTS = 300 };
	static int client[CLIENTS];
	const char *address = arg;
	struct torc_listener l;
	char byte;

	check_eq(torc_listen(&l, address, NULL), 0);
	if (strncmp(address, "unix:", 5))
		check_ge(port_of(&l), 1);
	for (int i = 0; i < CLIENTS; i++)
		check_ge(client[i] = torc_dial(l.address), 0);
	for (int i = 0; i < CLIENTS; i++) {
		int fd = torc_accept(&l);

		check_ge(fd, 0);
		check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		check_eq(torc_send(fd, "x", 1, 0), 1);
		torc_close(fd);
	}
	for (int i = 0; i < CLIENTS; i++) {
		check_eq(torc_recv(client[i], &byte, 1, 0), 1);
		check_eq(torc_recv(client[i], &byte, 1, 0), 0);
		torc_close(client[i]);
	}
	torc_listener_close(&l);
	return 0;
}

static char path[64];

static const char *unix_address(void)
{
	static char address[80];

	snprintf(path, sizeof(path), "/tmp/torc-listener-%d", getpid());
	snprintf(address, sizeof(address), "unix:%s", path);
	return address;
}

Test(listener, accepts_every_connection)
{
	run_all_features(NULL, accept_all, (void *)(uintptr_t) "127.0.0.1:0");
	run(accept_all, (void *)(uintptr_t) "tcp://localhost:0");
	run(accept_all, (void *)(uintptr_t) "[::1]:0");
	run(accept_all, (void *)(uintptr_t)unix_address());
}

static int wildcards(void *arg)
{
	struct torc_listener l;
	char address[64];
	int fd;

	(void)arg;
	check_eq(torc_listen(&l, ":0", NULL), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port_of(&l));
	check_ge(fd = torc_dial(address), 0);
	torc_close(fd);
	torc_listener_close(&l);
	check_eq(torc_listen(&l, "[::]:0", NULL), 0);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port_of(&l));
	check_ge(fd = torc_dial(address), 0);
	torc_close(fd);
	snprintf(address, sizeof(address), "[::1]:%d", port_of(&l));
	check_ge(fd = torc_dial(address), 0);
	torc_close(fd);
	check_ge(fd = torc_accept(&l), 0);
	torc_close(fd);
	torc_listener_close(&l);
	return 0;
}

Test(listener, wildcards_take_both_families)
{
	run(wildcards, NULL);
}

static int listen_errors(void *arg)
{
	struct torc_listener l, m;

	(void)arg;
	check_eq(torc_listen(&l, "nonsense", NULL), -EINVAL);
	check_eq(torc_listen(&l, "192.0.2.1:0", NULL), -EADDRNOTAVAIL);
	check_eq(torc_listen(&l, "unix:/nonexistent/x", NULL), -ENOENT);
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	check_eq(torc_listen(&m, l.address, NULL), -EADDRINUSE);
	torc_listener_close(&l);
	return 0;
}

Test(listener, listen_reports_errors_and_leaks_nothing)
{
	run(listen_errors, NULL);
}

static int listen_again(void *arg)
{
	struct torc_listener l, m;
	char address[TORC_ADDRESS_MAX];
	struct torc_scope t;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	strcpy(address, l.address);
	torc_listener_close(&l);
	check_eq(torc_listen(&m, address, NULL), 0); /* in the same turn */
	torc_scope_enter(&t, TORC_MS(5));
	check_eq(torc_accept(&m), -ETIMEDOUT); /* armed */
	torc_scope_leave(&t);
	torc_listener_close(&m);
	check_eq(torc_listen(&m, address, NULL), 0);
	torc_listener_close(&m);
	return 0;
}

Test(listener, an_address_is_free_again_when_close_has_returned)
{
	run_all_features(NULL, listen_again, NULL);
}

static int share(void *arg)
{
	struct torc_listener l;
	struct torc_listen_options o;
	struct sockaddr_in a;
	struct torc_stats before, after;
	struct torc_scope t;
	int fd = bound_socket(&a), c, s;

	check_eq(listen(fd, 8), 0);
	if (*(bool *)arg)
		check_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	o = (struct torc_listen_options){ .share_fd = fd };
	check_eq(torc_listen(&l, "127.0.0.1:0", &o), 0);
	check_eq(port_of(&l), ntohs(a.sin_port));
	torc_stats(&before);
	torc_scope_enter(&t, TORC_MS(50));
	check_eq(torc_accept(&l), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_stats(&after);
	check_lt(after.turns - before.turns, 20); /* it did not spin */
	for (int i = 0; i < 3; i++) {
		c = connect_to(&a);
		check_ge(s = torc_accept(&l), 0);
		torc_close(c);
		torc_close(s);
	}
	torc_listener_close(&l);
	check(fcntl(fd, F_GETFD) >= 0); /* borrowed */
	close(fd);
	return 0;
}

Test(listener, a_shared_socket_is_borrowed_blocking_or_not)
{
	bool nonblock = false;

	run(share, &nonblock);
	nonblock = true;
	run(share, &nonblock);
}

static int bad_share(void *arg)
{
	struct torc_listener l;
	struct torc_listen_options o;
	int fd[2], r;

	(void)arg;
	unix_pair(fd);
	o = (struct torc_listen_options){ .share_fd = fd[0] };
	r = torc_listen(&l, "127.0.0.1:0", &o);
	if (r == 0) {
		check_lt(torc_accept(&l), 0);
		torc_listener_close(&l);
	}
	o.share_fd = 9999;
	r = torc_listen(&l, "127.0.0.1:0", &o);
	if (r == 0) {
		check_eq(torc_accept(&l), -EBADF);
		torc_listener_close(&l);
	}
	close(fd[0]);
	close(fd[1]);
	return 0;
}

Test(listener, what_is_no_listening_socket_ends_accept)
{
	run(bad_share, NULL);
}

/* --- unix sockets --- */

static int unix_files(void *arg)
{
	const char *address = unix_address();
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct torc_listener l, m;
	struct stat st;
	int fd;

	(void)arg;
	strcpy(a.sun_path, path);
	/* stale: its server has gone without removing it */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	check_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	check_eq(listen(fd, 1), 0);
	close(fd);
	check_eq(stat(path, &st), 0);
	check_eq(torc_listen(&l, address, NULL), 0);
	check(!strcmp(l.address, address));
	/* live */
	check_eq(torc_listen(&m, address, NULL), -EADDRINUSE);
	check_ge(fd = torc_dial(address), 0);
	torc_close(fd);
	check_ge(fd = torc_accept(&l), 0); /* the probe of the second torc_listen */
	torc_close(fd);
	torc_listener_close(&l);
	check_lt(stat(path, &st), 0);
	/* another kind of file is not replaced */
	check_ge(fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600), 0);
	close(fd);
	check_eq(torc_listen(&l, address, NULL), -EADDRINUSE);
	check_eq(stat(path, &st), 0);
	check(S_ISREG(st.st_mode));
	unlink(path);
	return 0;
}

Test(listener, unix_files_stale_live_foreign_and_removed)
{
	run(unix_files, NULL);
}

/* A live server with a full queue is no stale file. */
static int unix_full(void *arg)
{
	const char *address = unix_address();
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct torc_listener l, m;
	int c[8], n = 0;

	(void)arg;
	strcpy(a.sun_path, path);
	check_eq(torc_listen(&l, address, &(struct torc_listen_options){ .backlog = 1 }), 0);
	do {
		c[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	} while (connect(c[n++], (struct sockaddr *)&a, sizeof(a)) == 0 && n < 8);
	check_lt(n, 8);
	check_eq(torc_listen(&m, address, NULL), -EADDRINUSE);
	while (n)
		close(c[--n]);
	torc_listener_close(&l);
	return 0;
}

Test(listener, a_unix_server_with_a_full_queue_is_not_replaced)
{
	run(unix_full, NULL);
}

/* --- what accept promises --- */

static int starve(void *arg)
{
	enum { CLIENTS = 20 };
	struct rlimit full, low;
	struct torc_stats before, after;
	struct torc_listener l;
	struct torc_scope t;
	int client[CLIENTS], server[CLIENTS], next;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		check_ge(client[i] = torc_dial(l.address), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &full), 0);
	check_ge(next = dup(0), 0);
	close(next);
	low = full;
	low.rlim_cur = (rlim_t)next;
	check_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	torc_stats(&before);
	torc_scope_enter(&t, TORC_MS(250));
	check_eq(torc_accept(&l), -ETIMEDOUT);
	check_eq(torc_scope_leave(&t), -ETIMEDOUT);
	torc_stats(&after);
	check_lt(after.enters - before.enters, 40);
	check_lt(after.turns - before.turns, 40);
	close(client[0]); /* one becomes free */
	check_ge(server[0] = torc_accept(&l), 0);
	check_eq(setrlimit(RLIMIT_NOFILE, &full), 0);
	for (int i = 1; i < CLIENTS; i++)
		check_ge(server[i] = torc_accept(&l), 0);
	for (int i = 0; i < CLIENTS; i++) {
		if (i)
			close(client[i]);
		close(server[i]);
	}
	torc_listener_close(&l);
	return 0;
}

Test(listener, running_out_of_descriptors_is_waited_out_without_spinning)
{
	run_all_features(NULL, starve, NULL);
}

/* One connection is taken, which arms a multishot accept; the others are nobody's. */
static int untaken(void *arg)
{
	enum { CLIENTS = 30 };
	struct torc_listener l;
	int client[CLIENTS], fd;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	for (int i = 0; i < CLIENTS; i++)
		check_ge(client[i] = torc_dial(l.address), 0);
	check_ge(fd = torc_accept(&l), 0);
	check_ge(l.accepted_count, 1); /* or this tests nothing */
	torc_close(fd);
	torc_listener_close(&l);
	check_eq(torc_sleep(1), 0); /* a turn: torc_close takes effect */
	for (int i = 0; i < CLIENTS; i++) {
		check(ends(client[i]));
		close(client[i]);
	}
	return 0;
}

Test(listener, connections_accepted_but_not_taken_are_closed)
{
	run_all_features(NULL, untaken, NULL);
}

struct dialler {
	const char *address;
	uint64_t seed;
	int count;
};

static int dialler_main(void *arg)
{
	struct dialler *d = arg;

	for (int i = 0; i < d->count; i++) {
		int fd = torc_dial(d->address);
		char byte;

		check_ge(fd, 0);
		if (!(next_random(&d->seed) % 4))
			check_eq(torc_sleep(next_random(&d->seed) % 50000), 0);
		check_eq(torc_recv(fd, &byte, 1, 0), 1);
		torc_close(fd);
	}
	return 0;
}

static int accept_cancelled(void *arg)
{
	enum { DIALLERS = 5, EACH = 100 };
	struct torc_listener l;
	struct torc_group g;
	struct dialler d[DIALLERS];
	uint64_t seed = *(uint64_t *)arg;
	int accepted = 0, cancelled = 0;

	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	torc_group_enter(&g);
	for (int i = 0; i < DIALLERS; i++) {
		d[i] = (struct dialler){ l.address, seed + (uint64_t)i, EACH };
		check_eq(torc_group_spawn(&g, dialler_main, &d[i]), 0);
	}
	while (accepted < DIALLERS * EACH) {
		struct torc_scope t;
		int fd;

		torc_scope_enter(&t, next_random(&seed) % 60000);
		fd = torc_accept(&l);
		torc_scope_leave(&t);
		if (fd < 0) {
			check_eq(fd, -ETIMEDOUT);
			cancelled++;
			torc_yield();
			continue;
		}
		accepted++;
		check_eq(torc_send(fd, "x", 1, 0), 1);
		torc_close(fd);
	}
	check_ge(cancelled, 1);
	check_eq(torc_group_wait(&g), 0); /* every client was served */
	torc_listener_close(&l);
	return 0;
}

Test(listener, a_cancelled_accept_loses_no_connection)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		run_all_features(NULL, accept_cancelled, &seed);
}

static int accept_in_cancelled_scope(void *arg)
{
	struct torc_listener l;
	struct torc_scope t;
	int c, fd;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	check_ge(c = torc_dial(l.address), 0);
	torc_scope_enter(&t, TORC_NEVER);
	torc_scope_cancel(&t);
	check_eq(torc_accept(&l), -ECANCELED);
	check_eq(torc_accept(&l), -ECANCELED);
	torc_scope_leave(&t);
	check_ge(fd = torc_accept(&l), 0);
	torc_close(fd);
	torc_scope_enter(&t, 0);
	torc_listener_close(&l);
	torc_scope_leave(&t);
	torc_close(c);
	return 0;
}

Test(listener, accept_and_close_in_a_cancelled_scope)
{
	run(accept_in_cancelled_scope, NULL);
}

/* An accept loop that is slow, or serves one connection after the other, must not take in all the world. */
static int flood(void *arg)
{
	enum { CLIENTS = 1000 };
	static int client[CLIENTS];
	struct torc_listener l;
	int fd, before;

	(void)arg;
	check_eq(torc_listen(&l, "127.0.0.1:0", NULL), 0);
	check_ge(client[0] = torc_dial(l.address), 0);
	check_ge(fd = torc_accept(&l), 0);
	before = count_fds();
	for (int i = 1; i < CLIENTS; i++)
		check_ge(client[i] = torc_dial(l.address), 0);
	check_eq(torc_sleep(TORC_MS(1)), 0);
	fprintf(stderr, "accepted: %d\n", count_fds() - before - CLIENTS + 1);
	check_lt(count_fds() - before - (CLIENTS - 1), 300);
	for (int i = 0; i < CLIENTS; i++)
		close(client[i]);
	torc_close(fd);
	torc_listener_close(&l);
	return 0;
}

Test(listener, a_slow_acceptor_leaves_connections_in_the_kernels_queue)
{
	run(flood, NULL);
}

/* --- closing while the loop still has work for it --- */

/* As when accepting ends by itself right after the connection that made too many. */
static int close_before_brake(void *arg)
{
	struct torc_listener *l = malloc(sizeof(*l));
	struct torc_scope t;

	(void)arg;
	check_eq(torc_listen(l, "127.0.0.1:0", NULL), 0);
	torc_scope_enter(&t, 1000);
	check_eq(torc_accept(l), -ETIMEDOUT);
	torc_scope_leave(&t);
	torc_op_cancel(&l->op);
	while (torc_op_pending(&l->op))
		torc_yield();
	torc__turn_defer(torc__self()->loop, &l->brake);
	torc_listener_close(l);
	check(!l->brake.queued);
	free(l);
	return torc_yield();
}

Test(listener, close_leaves_no_work_of_its_own_in_the_loop)
{
	run(close_before_brake, NULL);
}
