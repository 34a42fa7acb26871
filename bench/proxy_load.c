/*
 * proxy_load - both ends of a TCP proxy: a server that sends without end, and clients that throw away what they get.
 *
 *   proxy_load --backend PORT --proxy PORT [--conns 16] [--seconds 5] [--piece BYTES]
 *
 * Listens on 127.0.0.1:BACKEND, prints "ready", waits for a line on standard input (the proxy is to be up by then), makes the
 * connections to 127.0.0.1:PROXY, and after a second of warm-up counts for the given time. It prints "begin" and "end"
 * around that time, each with the bytes received so far: whoever measures the proxy reads its CPU time then.
 *
 * Exit status: 0, 1 a connection failed, 2 wrong usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNS_MAX = 4096, PIECE_MAX = 1 << 20, EVENTS = 256 };

static char piece[PIECE_MAX];
static int poller, listener, conns = 16, backend_port, proxy_port;
static size_t piece_bytes = 262144;
static double seconds = 5;
static uint64_t received;
static bool senders[1 << 16]; /* by descriptor */

static void fail(const char *what)
{
	fprintf(stderr, "proxy_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static struct sockaddr_in local(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons((uint16_t)port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void watch(int fd, unsigned events, bool sends)
{
	struct epoll_event e = { .events = events, .data.fd = fd };

	if (fd >= (int)sizeof(senders) || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) < 0)
		fail("epoll");
	senders[fd] = sends;
}

static void listen_backend(void)
{
	struct sockaddr_in a = local(backend_port);
	const int one = 1;

	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(listener, 1024) < 0)
		fail("listen");
	watch(listener, EPOLLIN, false);
}

static void connect_clients(void)
{
	struct sockaddr_in a = local(proxy_port);

	for (int i = 0; i < conns; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			fail("connect");
		watch(fd, EPOLLIN, false);
	}
}

static void accept_all(void)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		watch(fd, EPOLLOUT, true);
}

/* MSG_TRUNC: the kernel throws it away, so that the load is the lighter. */
static void receive(int fd)
{
	ssize_t n = recv(fd, NULL, PIECE_MAX, MSG_TRUNC | MSG_DONTWAIT);

	if (n > 0)
		received += (uint64_t)n;
	else if (n == 0 || errno != EAGAIN)
		fail("receive");
}

static void send_piece(int fd)
{
	if (send(fd, piece, piece_bytes, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
		fail("send");
}

static void run_until(double end)
{
	struct epoll_event events[EVENTS];

	while (now_s() < end) {
		int n = epoll_wait(poller, events, EVENTS, 100);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener)
				accept_all();
			else if (senders[fd])
				send_piece(fd);
			else
				receive(fd);
		}
	}
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "backend", required_argument, NULL, 'b' },
		{ "proxy", required_argument, NULL, 'p' },
		{ "conns", required_argument, NULL, 'c' },
		{ "seconds", required_argument, NULL, 's' },
		{ "piece", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'b': backend_port = atoi(optarg); break;
		case 'p': proxy_port = atoi(optarg); break;
		case 'c': conns = atoi(optarg); break;
		case 's': seconds = atof(optarg); break;
		case 'n': piece_bytes = (size_t)atol(optarg); break;
		default: exit(2);
		}
	}
	if (!backend_port || !proxy_port || conns < 1 || conns > CONNS_MAX || !piece_bytes ||
	    piece_bytes > PIECE_MAX || seconds <= 0) {
		fprintf(stderr,
			"usage: proxy_load --backend PORT --proxy PORT [--conns N] [--seconds S] [--piece BYTES]\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	double begin;

	parse(argc, argv);
	setvbuf(stdout, NULL, _IONBF, 0);
	poller = epoll_create1(EPOLL_CLOEXEC);
	listen_backend();
	printf("ready\n");
	if (getchar() == EOF)
		return 1;
	connect_clients();
	run_until(now_s() + 1);
	begin = now_s();
	printf("begin %llu\n", (unsigned long long)received);
	run_until(begin + seconds);
	printf("end %llu\n", (unsigned long long)received);
	return 0;
}
