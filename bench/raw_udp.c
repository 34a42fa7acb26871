/*
 * raw_udp - a UDP echo server without any runtime: the opponent of torc-echo with udp://.
 *
 * One thread that waits in recvmmsg(2) for as many datagrams as there are, up to 64, and sends them back by one
 * sendmmsg(2): what a careful programmer writes by hand.
 *
 *   raw_udp PORT       serves 127.0.0.1:PORT until SIGTERM or SIGINT, then prints one line:
 *                      {"enters":N,"requests":N}    system calls, datagrams sent
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, BYTES = 2048, SOCKET_BYTES = 4 << 20 };

static volatile sig_atomic_t stop;
static struct mmsghdr messages[BATCH];
static struct iovec iovs[BATCH];
static struct sockaddr_in peers[BATCH];
static char memory[BATCH][BYTES] __attribute__((aligned(64)));
static uint64_t enter_count, sent_count;

static void die(const char *what)
{
	fprintf(stderr, "raw_udp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_signal(int number)
{
	(void)number;
	stop = 1;
}

static int open_socket(uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int bytes = SOCKET_BYTES;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("bind");
	return fd;
}

static void prepare(int count)
{
	for (int i = 0; i < count; i++) {
		iovs[i] = (struct iovec){ memory[i], BYTES };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
						       .msg_namelen = sizeof(peers[i]),
						       .msg_iov = &iovs[i],
						       .msg_iovlen = 1 };
	}
}

static void send_back(int fd, int count)
{
	int done = 0;

	for (int i = 0; i < count; i++)
		iovs[i].iov_len = messages[i].msg_len;
	while (done < count) {
		int n = sendmmsg(fd, messages + done, (unsigned)(count - done), 0);

		enter_count++;
		done += n > 0 ? n : 1; /* one that cannot be sent is lost */
		sent_count += n > 0 ? (unsigned)n : 0;
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	int fd, count = BATCH, port = argc == 2 ? atoi(argv[1]) : 0;

	if (port < 1 || port > UINT16_MAX) {
		fprintf(stderr, "usage: raw_udp PORT\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	fd = open_socket((uint16_t)port);
	while (!stop) {
		prepare(count);
		count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		enter_count++;
		if (count > 0)
			send_back(fd, count);
		else
			count = BATCH;
	}
	printf("{\"enters\":%llu,\"requests\":%llu}\n", (unsigned long long)enter_count,
	       (unsigned long long)sent_count);
	return 0;
}
