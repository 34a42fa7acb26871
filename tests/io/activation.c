#include "tests/io/run.h"

#include <sys/wait.h>

#include <torc/io/activation.h>

/*
 * A socket that a program is started with can only be tested by a program that is started: the test runs itself, with
 * TORC_TEST_CHILD naming what the child is to do, before Criterion's main comes to it.
 */

TestSuite(activation, .timeout = 30);

static int connect_and_serve(const char *address)
{
	struct torc_listener l;
	int fd, peer, r = torc_listen(&l, address, NULL);

	if (r < 0)
		return r;
	fd = torc_dial(l.address);
	check_ge(fd, 0);
	peer = torc_accept(&l);
	check_ge(peer, 0);
	torc_close(fd);
	torc_close(peer);
	torc_listener_close(&l);
	return 0;
}

/* Twice each: what is listened on is a duplicate. */
static int use_names(void *arg)
{
	struct torc_activated all[4];
	struct torc_listener l;

	(void)arg;
	for (int i = 0; i < 2; i++) {
		check_eq(connect_and_serve("systemd:web"), 0);
		check_eq(connect_and_serve("systemd:local"), 0);
		check_eq(connect_and_serve("fd:3"), 0);
	}
	check_eq(torc_listen(&l, "systemd:file", NULL), -ENOENT);
	check_eq(torc_listen(&l, "systemd:nobody", NULL), -ENOENT);
	check_eq(torc_listen(&l, "systemd:", NULL), -ENOENT);
	check_eq(torc_listen(&l, "fd:5", NULL), -ENOTSOCK);
	check_eq(torc_listen(&l, "fd:999", NULL), -EBADF);
	check_eq(torc_listen(&l, "fd:", NULL), -EINVAL);
	check_eq(torc_listen(&l, "fd:-1", NULL), -EINVAL);
	check_eq(torc_listen(&l, "fd:99999999999", NULL), -EINVAL);
	check_eq(torc_listen(&l, "fd:3x", NULL), -EINVAL);
	check_eq(torc_activation_take(all, 2), -ENOBUFS);
	check_eq(torc_activation_take(all, 4), 3);
	check(!strcmp(all[0].name, "web") && all[0].fd == 3 && all[0].type == SOCK_STREAM &&
	      all[0].listening);
	check(!strcmp(all[1].name, "local") && all[1].fd == 4 && all[1].listening);
	check(!strcmp(all[2].name, "file") && all[2].fd == 5 && !all[2].type && !all[2].listening);
	for (int i = 0; i < 3; i++)
		check(fcntl(all[i].fd, F_GETFD) & FD_CLOEXEC);
	check(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
	check_eq(torc_activation_take(all, 4), 0);
	check_eq(torc_listen(&l, "systemd:web", NULL), -ENOENT);
	return 0;
}

static int stop_after(void *arg)
{
	check_eq(connect_and_serve("fd:3"), 0); /* the duplicate of each loop is closed again */
	return torc_serve(arg, NULL, NULL);
}

/* The whole server: every loop shares the socket. */
static int serve_named(void *arg)
{
	struct torc_scope t;
	int r;

	(void)arg;
	torc_scope_enter(&t, TORC_MS(20));
	r = stop_after((void *)(uintptr_t) "systemd:web");
	torc_scope_leave(&t);
	check_eq(r, -ETIMEDOUT);
	return connect_and_serve("systemd:web");
}

static int child(const char *what)
{
	struct torc_activated all[4];
	int r;

	if (!strcmp(what, "names"))
		return torc_run(NULL, use_names, NULL) != 0;
	if (!strcmp(what, "serve"))
		return torc_run(&(struct torc_options){ .loops = 2 }, serve_named, NULL) != 0;
	r = torc_activation_take(all, 4);
	if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES"))
		return 99;
	if (r > 0 && strcmp(all[0].name, "unknown"))
		return 98;
	return r < 0 ? -r : r;
}

__attribute__((constructor)) static void begin(void)
{
	const char *what = getenv("TORC_TEST_CHILD");
	char pid[16];

	if (!what)
		return;
	/* Who starts a program cannot know its number before: so does systemd, between fork and exec. */
	if (getenv("LISTEN_PID") && !*getenv("LISTEN_PID")) {
		snprintf(pid, sizeof(pid), "%d", getpid());
		setenv("LISTEN_PID", pid, 1);
	}
	_exit(child(what));
}

struct start {
	const char *what, *pid, *fds, *names;
	int wanted;
};

static void set(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

/* The child with a TCP listener, a Unix one and a file at 3 to 5, and nothing else. */
static int start(const struct start *s)
{
	static int fds[3];
	struct sockaddr_in a;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	pid_t pid;
	int status;

	fds[0] = bound_socket(&a);
	check_eq(listen(fds[0], 8), 0);
	fds[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, "torc-test-activation-%d", getpid());
	check_eq(bind(fds[1], (struct sockaddr *)&un,
		      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
				  strlen(un.sun_path + 1))),
		 0);
	check_eq(listen(fds[1], 8), 0);
	fds[2] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid = fork();
	check_ge(pid, 0);
	if (!pid) {
		for (int i = 0; i < 3; i++)
			fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 50);
		for (int i = 0; i < 3; i++)
			dup2(fds[i], 3 + i);
		for (int fd = 6; fd < 50; fd++)
			close(fd);
		set("TORC_TEST_CHILD", s->what);
		set("LISTEN_PID", s->pid);
		set("LISTEN_FDS", s->fds);
		set("LISTEN_FDNAMES", s->names);
		execl("/proc/self/exe", "test", (char *)NULL);
		_exit(97);
	}
	check_eq(waitpid(pid, &status, 0), pid);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(activation, sockets_are_addresses_and_are_handed_out_once)
{
	check_eq(start(&(struct start){ "names", "", "3", "web:local:file", 0 }), 0);
}

Test(activation, a_server_shares_the_socket_among_its_loops)
{
	check_eq(start(&(struct start){ "serve", "", "2", "web:local", 0 }), 0);
}

#define LONG_NAME                                                                                  \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

Test(activation, hostile_variables_hand_out_nothing)
{
	static const struct start cases[] = {
		{ "take", "", "3", NULL, 3 },
		{ "take", "", "1", "unknown", 1 },
		{ "take", NULL, "3", NULL, 0 },
		{ "take", "", NULL, NULL, 0 },
		{ "take", "1", "3", NULL, 0 },
		{ "take", "", "0", NULL, 0 },
		{ "take", "x", "3", NULL, EINVAL },
		{ "take", "-1", "3", NULL, EINVAL },
		{ "take", "99999999999999999999", "3", NULL, EINVAL },
		{ "take", "4294967297", "3", NULL, EINVAL },
		{ "take", "", "", NULL, EINVAL },
		{ "take", "", "-1", NULL, EINVAL },
		{ "take", "", " 3", NULL, EINVAL },
		{ "take", "", "3 ", NULL, EINVAL },
		{ "take", "", "257", NULL, EINVAL },
		{ "take", "", "99999999999999999999", NULL, EINVAL },
		{ "take", "", "4", NULL, EBADF },
		{ "take", "", "256", NULL, EBADF },
		{ "take", "", "3", "a:b", EINVAL },
		{ "take", "", "3", "a:b:c:d", EINVAL },
		{ "take", "", "3", "a:b:c\n", EINVAL },
		{ "take", "", "1", "\xff", EINVAL },
		{ "take", "", "1", LONG_NAME, EINVAL },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		int got = start(&cases[i]);

		if (got != cases[i].wanted)
			fprintf(stderr, "case %zu\n", i);
		check_eq(got, cases[i].wanted);
	}
}
