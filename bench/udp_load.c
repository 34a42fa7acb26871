/*
 * udp_load - a load generator for UDP echo servers.
 *
 * Many sockets, each with a window of datagrams that are on their way: for each that comes back another one is sent. One
 * that is lost is missed when nothing has come for a second: then its socket's window is filled anew.
 *
 *   udp_load --addr 127.0.0.1:PORT [--conns 32] [--window 8] [--bytes 64] [--seconds 5] [--warmup 1]
 *
 * prints one line:
 *
 *   {"requests":N,"seconds":S,"rps":R,"p50_us":L,"p99_us":L,"lost":N,"errors":N}
 *
 * Exit status: 0 no errors, 1 wrong answers or no server, 2 wrong usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
	CONNS_MAX = 4096,
	WINDOW_MAX = 64,
	BYTES_MAX = 1400,
	SLOTS = 100000,
	SILENCE_NS = 1000000000
};

struct conn {
	int fd;
	unsigned missing; /* on their way */
	uint64_t heard_ns;
};

static struct {
	struct sockaddr_in addr;
	unsigned conns, window, bytes, seconds, warmup;
} opt = { .conns = 32, .window = 8, .bytes = 64, .seconds = 5, .warmup = 1 };

static struct conn conns[CONNS_MAX];
static uint64_t histogram[SLOTS]; /* microseconds */
static uint64_t requests, lost, errors;
static int measuring;
static struct mmsghdr messages[WINDOW_MAX];
static struct iovec iovs[WINDOW_MAX];
static char memory[WINDOW_MAX][BYTES_MAX];

static void die(const char *what)
{
	fprintf(stderr, "udp_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void send_some(struct conn *c, unsigned count, uint64_t now_ns)
{
	int n;

	for (unsigned i = 0; i < count; i++) {
		memcpy(memory[i], &now_ns, sizeof(now_ns));
		iovs[i].iov_len = opt.bytes;
	}
	n = sendmmsg(c->fd, messages, count, 0);
	if (n < 0 && errno == ECONNREFUSED)
		die("no server");
	c->missing += n > 0 ? (unsigned)n : 0;
}

static void count_answer(const char *data, unsigned len, uint64_t now_ns)
{
	uint64_t sent_ns, us;

	memcpy(&sent_ns, data, sizeof(sent_ns));
	if (len != opt.bytes || sent_ns > now_ns) {
		errors++;
		return;
	}
	if (!measuring)
		return;
	requests++;
	us = (now_ns - sent_ns) / 1000;
	histogram[us < SLOTS ? us : SLOTS - 1]++;
}

static void on_readable(struct conn *c, uint64_t now_ns)
{
	int n = recvmmsg(c->fd, messages, opt.window, MSG_DONTWAIT, NULL);

	if (n < 0 && errno == ECONNREFUSED)
		die("no server");
	if (n <= 0)
		return;
	for (int i = 0; i < n; i++)
		count_answer(memory[i], messages[i].msg_len, now_ns);
	c->missing -= (unsigned)n < c->missing ? (unsigned)n : c->missing;
	c->heard_ns = now_ns;
	send_some(c, opt.window - c->missing, now_ns);
}

static void refill(uint64_t now_ns)
{
	for (unsigned i = 0; i < opt.conns; i++) {
		struct conn *c = &conns[i];

		if (now_ns - c->heard_ns < SILENCE_NS)
			continue;
		lost += measuring ? c->missing : 0;
		c->missing = 0;
		c->heard_ns = now_ns;
		send_some(c, opt.window, now_ns);
	}
}

static void open_all(int poll_fd)
{
	for (unsigned i = 0; i < opt.conns; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };

		conns[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (conns[i].fd < 0 ||
		    connect(conns[i].fd, (struct sockaddr *)&opt.addr, sizeof(opt.addr)) < 0 ||
		    epoll_ctl(poll_fd, EPOLL_CTL_ADD, conns[i].fd, &e) < 0)
			die("socket");
	}
	for (unsigned i = 0; i < WINDOW_MAX; i++) {
		iovs[i] = (struct iovec){ memory[i], opt.bytes };
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &iovs[i], .msg_iovlen = 1 };
	}
}

static void run_until(int poll_fd, uint64_t end_ns)
{
	struct epoll_event events[256];
	uint64_t now_ns, refill_ns = 0;

	while ((now_ns = clock_ns()) < end_ns) {
		int n = epoll_wait(poll_fd, events, 256, 10);

		for (int i = 0; i < n; i++)
			on_readable(&conns[events[i].data.u32], clock_ns());
		if (now_ns > refill_ns) {
			refill(now_ns);
			refill_ns = now_ns + SILENCE_NS / 4;
		}
	}
}

static unsigned quantile(double q)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		sum += histogram[i];
		if ((double)sum >= q * (double)requests && sum)
			return i;
	}
	return 0;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: udp_load --addr HOST:PORT [--conns N] [--window N] [--bytes N] [--seconds N] [--warmup N]\n");
	exit(2);
}

static unsigned number(const char *text, unsigned least, unsigned most)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (end == text || *end || n < least || n > most)
		usage();
	return (unsigned)n;
}

static void set_addr(char *text)
{
	char *colon = strrchr(text, ':');

	if (!colon)
		usage();
	*colon = '\0';
	opt.addr.sin_family = AF_INET;
	opt.addr.sin_port = htons((uint16_t)number(colon + 1, 1, 65535));
	if (inet_pton(AF_INET, text, &opt.addr.sin_addr) != 1)
		usage();
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "addr", required_argument, NULL, 'a' },
		{ "conns", required_argument, NULL, 'c' },
		{ "window", required_argument, NULL, 'n' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "seconds", required_argument, NULL, 's' },
		{ "warmup", required_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case 'a': set_addr(optarg); break;
		case 'c': opt.conns = number(optarg, 1, CONNS_MAX); break;
		case 'n': opt.window = number(optarg, 1, WINDOW_MAX); break;
		case 'b': opt.bytes = number(optarg, 8, BYTES_MAX); break;
		case 's': opt.seconds = number(optarg, 1, 3600); break;
		case 'w': opt.warmup = number(optarg, 0, 3600); break;
		default: usage();
		}
	}
	if (optind < argc || !opt.addr.sin_family)
		usage();
}

int main(int argc, char **argv)
{
	int poll_fd = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begin_ns;
	double seconds;

	parse(argc, argv);
	open_all(poll_fd);
	run_until(poll_fd, clock_ns() + opt.warmup * 1000000000ull);
	measuring = 1;
	begin_ns = clock_ns();
	run_until(poll_fd, begin_ns + opt.seconds * 1000000000ull);
	seconds = (double)(clock_ns() - begin_ns) / 1e9;
	printf("{\"requests\":%llu,\"seconds\":%.3f,\"rps\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"lost\":%llu,\"errors\":%llu}\n",
	       (unsigned long long)requests, seconds, (double)requests / seconds, quantile(0.5),
	       quantile(0.99), (unsigned long long)lost, (unsigned long long)errors);
	return errors || !requests;
}
