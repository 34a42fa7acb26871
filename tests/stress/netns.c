/*
 * Two hosts, each in a network namespace of its own, and a link between them that is cut: what both ends notice, and when.
 * The namespaces end with the processes in them, so nothing is left behind, however this ends. Needs root and ip(8).
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <torc/core/fiber.h>
#include <torc/core/group.h>
#include <torc/core/run.h>
#include <torc/core/scope.h>
#include <torc/io/server.h>
#include <torc/io/socket.h>
#include <torc/io/stream.h>

#include "tests/support/check.h"

#define SKIPPED 77

#define PLAIN     "10.77.77.1:7001"
#define IMPATIENT "10.77.77.1:7002" /* read_ns */
#define ASKING    "10.77.77.1:7003" /* keep-alive */

/* How the connections of a server have ended, seen by both hosts. */
static struct seen {
	atomic_int ended, result;
} * impatient, *asking;

static pid_t server;

/* --- the server's host --- */

static int echo(struct torc_stream *s, void *arg)
{
	struct torc_slice in;
	struct seen *seen = arg;
	int r;

	if (seen == asking)
		check_eq(torc_set_keepalive(s->fd, &(struct torc_keepalive){ 1, 1, 2 }), 0);
	while ((r = torc_stream_peek(s, &in)) > 0) {
		r = torc_stream_write(s, in.data, in.len);
		if (r < 0)
			break;
		torc_stream_consume(s, in.len);
	}
	if (seen) {
		seen->result = r;
		seen->ended++;
	}
	return r;
}

static void on_listen(const char *address, void *arg)
{
	(void)address;
	(void)arg;
	check_eq(write(STDOUT_FILENO, "L", 1), 1);
}

static int serve(const char *address, void *arg, uint64_t read_ns)
{
	const char *const addresses[] = { address, NULL };

	return torc_serve_with(&(struct torc_serve_options){
		.addresses = addresses,
		.handler = echo,
		.arg = arg,
		.read_ns = read_ns,
		.on_listen = on_listen,
	});
}

static int serve_plain(void *arg)
{
	return serve(PLAIN, arg, 0);
}

static int serve_impatient(void *arg)
{
	return serve(IMPATIENT, arg, TORC_MS(300));
}

static int serve_asking(void *arg)
{
	return serve(ASKING, arg, 0);
}

static int serve_all(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, serve_plain, NULL), 0);
	check_eq(torc_group_spawn(&g, serve_impatient, impatient), 0);
	check_eq(torc_group_spawn(&g, serve_asking, asking), 0);
	/* The client has gone, with all of its host: nobody is there to tell. */
	for (int i = 0; i < 800 && !asking->ended; i++)
		check_eq(torc_sleep(TORC_MS(25)), 0);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	check_eq(asking->ended, 1);
	check(asking->result == -ETIMEDOUT || asking->result == -EHOSTUNREACH ||
	      asking->result == -ENETUNREACH);
	return 0;
}

/* --- the client's host --- */

static void cut(void)
{
	check_eq(system("ip link set torc-b down"), 0);
}

static void mend(void)
{
	check_eq(system("ip link set torc-b up"), 0);
}

static int ping(int fd, uint64_t ns)
{
	struct torc_scope t;
	char buf[4];
	int r;

	torc_scope_enter(&t, ns);
	r = torc_send(fd, "ping", 4, 0);
	if (r == 4)
		r = torc_recv(fd, buf, 4, MSG_WAITALL);
	torc_scope_leave(&t);
	return r;
}

static int dial(const char *address, const struct torc_dial_options *o)
{
	struct torc_scope t;
	int fd;

	torc_scope_enter(&t, TORC_SECONDS(5));
	fd = torc_dial_with(address, o);
	torc_scope_leave(&t);
	if (fd >= 0)
		check_eq(ping(fd, TORC_SECONDS(5)), 4);
	return fd;
}

/* What the kernel says when a peer does not answer, or cannot be reached. */
static bool is_lost(int r)
{
	return r == -ETIMEDOUT || r == -EHOSTUNREACH || r == -ENETUNREACH;
}

/* A receiving that only the kernel ends. */
static void check_lost(int fd)
{
	struct torc_scope t;
	char byte;
	int r;

	torc_scope_enter(&t, TORC_SECONDS(10));
	r = torc_recv(fd, &byte, 1, 0);
	check_eq(torc_scope_leave(&t), 0);
	check(is_lost(r));
	torc_close(fd);
}

static void check_unreachable(void)
{
	struct torc_scope t;

	torc_scope_enter(&t, TORC_MS(100));
	check(is_lost(torc_dial(PLAIN)));
	torc_scope_leave(&t);
}

static int visit(void *arg)
{
	const struct torc_dial_options user_timeout = { .user_timeout_ms = 500 };
	const struct torc_dial_options keepalive = { .keepalive = { 1, 1, 1 } };
	int stays = dial(PLAIN, NULL), sends = dial(PLAIN, &user_timeout);
	int idle = dial(PLAIN, &keepalive), slow, last;

	(void)arg;
	check_ge(stays, 0);
	check_ge(sends, 0);
	check_ge(idle, 0);
	slow = dial(IMPATIENT, NULL);
	check_ge(slow, 0);
	cut();
	check_eq(ping(stays, TORC_MS(100)), -ETIMEDOUT); /* our own deadline */
	check_unreachable();
	check_eq(torc_send(sends, "x", 1, 0), 1);
	check_lost(sends); /* what was sent was not acknowledged in time */
	check_lost(idle);  /* nothing was sent, and it asked in vain */
	while (!impatient->ended)
		check_eq(torc_sleep(TORC_MS(5)), 0);
	check_eq(impatient->result, -ETIMEDOUT);
	mend();
	while ((last = dial(ASKING, NULL)) < 0) /* the route takes a moment to come back */
		check(is_lost(last));
	check_eq(ping(stays, TORC_SECONDS(10)), 4); /* an outage is no end */
	torc_close(stays);
	torc_close(slow);
	check_eq(asking->ended, 0);
	cut(); /* the end of the process is not to be heard */
	_exit(0);
}

/* --- the two of them --- */

static void enter_host(void)
{
	check_eq(prctl(PR_SET_PDEATHSIG, SIGKILL), 0);
	if (unshare(CLONE_NEWNET) < 0)
		_exit(SKIPPED);
}

static void be_server(int from, int to)
{
	char byte;

	enter_host();
	check_eq(dup2(to, STDOUT_FILENO), STDOUT_FILENO);
	check_eq(write(to, "N", 1), 1);
	check_eq(read(from, &byte, 1), 1);
	check_eq(system("ip addr add 10.77.77.1/24 dev torc-a && ip link set torc-a up >&2"), 0);
	_exit(torc_run(NULL, serve_all, NULL) ? 1 : 0);
}

static void be_client(int from, int to)
{
	char command[128], byte;

	enter_host();
	snprintf(command, sizeof(command),
		 "ip link add torc-b type veth peer name torc-a netns %d 2>/dev/null", server);
	if (system(command) != 0)
		_exit(SKIPPED);
	check_eq(system("ip addr add 10.77.77.2/24 dev torc-b && ip link set torc-b up"), 0);
	check_eq(write(to, "A", 1), 1);
	for (int i = 0; i < 3; i++)
		check_eq(read(from, &byte, 1), 1);
	torc_run(NULL, visit, NULL);
	_exit(1);
}

static int skip(const char *why)
{
	if (server > 0)
		kill(server, SIGKILL);
	printf("%s\n", why);
	return SKIPPED;
}

static int status_of(pid_t child)
{
	int status;

	check_eq(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
	int up[2], down[2], status;
	pid_t client;
	char byte;

	if (geteuid() != 0)
		return skip("network namespaces need root");
	if (system("command -v ip >/dev/null") != 0)
		return skip("iproute2 is not installed");
	impatient = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(impatient != MAP_FAILED);
	asking = impatient + 1;
	check(pipe(up) == 0 && pipe(down) == 0);
	server = fork();
	if (!server)
		be_server(down[0], up[1]);
	close(up[1]);
	if (read(up[0], &byte, 1) != 1)
		return skip("no network namespaces here");
	client = fork();
	if (!client)
		be_client(up[0], down[1]);
	close(down[1]);
	status = status_of(client);
	if (status == SKIPPED)
		return skip("no veth links here");
	if (status)
		kill(server, SIGKILL);
	return status_of(server) || status;
}
