/*
 * tls_load - a client of TLS servers, for measurements: handshakes, requests, bytes.
 *
 *   tls_load --mode MODE --addr 127.0.0.1:PORT [--conns 16] [--seconds 3] [--warmup 1] [--rate N] [--version 13]
 *            [--cipher NAME] [--group P-256] [--path /] [--bytes 1000000] [--server PID]
 *
 *   full       closed loop: connect, handshake, GET with "Connection: close", read to the end, again
 *   resumed    the same, each with the session that the connection before has brought
 *   bulk       closed loop of GETs on connections that stay; counts bytes too
 *   rate       as full, but RATE of them begin each second, whatever has become of those before
 *   plain      without TLS: RATE GETs each second on connections that stay
 *   echo       one connection to torc-echo: BYTES that come back changed in nothing although the client's direction was closed
 *              behind them, and then the end of the other one; nothing is measured
 *
 * Latency of rate and plain runs from when it was due, so that a server that is late cannot hide it (what a handshake
 * needs that waits for a free one of the CONNS is in it). One thread. It prints one line:
 *
 *   {"count":N,"seconds":S,"per_s":R,"bytes":N,"p50_us":L,"p99_us":L,"not_resumed":N,"errors":N,"cpu_us":C,"mb_per_cpu_s":M}
 *
 * count         handshakes, or replies, within the measured seconds
 * not_resumed   of those in mode resumed
 * cpu_us        with --server: processor time that this process took in the measured seconds, per count
 *
 * The server's certificate is not verified, but its signature of the handshake is, as by any client.
 *
 * Exit status: 0 no errors, 1 errors or no server, 2 wrong usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/server_ticks.h"

enum {
	CONNS_MAX = 4096,
	SAMPLES_MAX = 1 << 20,
	BUF_BYTES = 262144,
	EVENTS = 256,
	ERRORS_MAX = 1000, /* then there is no point in going on */
	DRAIN_SECONDS = 10,
};

#define NS_PER_S 1000000000ull

enum mode { MODE_NONE, MODE_FULL, MODE_RESUMED, MODE_BULK, MODE_RATE, MODE_PLAIN, MODE_ECHO };

/* IDLE -> HANDSHAKE -> REQUEST -> REPLY, then IDLE on the same connection or on none (fd -1). */
enum state { STATE_IDLE, STATE_HANDSHAKE, STATE_REQUEST, STATE_REPLY };

struct conn {
	int fd; /* -1: none */
	enum state state;
	SSL *ssl; /* NULL: in the clear */
	SSL_SESSION *session;
	uint64_t due_ns;
	uint64_t missing; /* of a reply; UINT64_MAX: its head was not seen yet */
};

static struct {
	enum mode mode;
	struct sockaddr_in addr;
	int conns, version;
	double seconds, warmup, rate;
	const char *cipher, *group, *path;
	uint64_t bytes;
	unsigned server;
} opt = { .conns = 16,
	  .version = 13,
	  .seconds = 3,
	  .warmup = 1,
	  .rate = 500,
	  .group = "P-256",
	  .path = "/",
	  .bytes = 1000000 };

static struct conn conns[CONNS_MAX];
static uint32_t samples_us[SAMPLES_MAX];
static size_t sample_count;
static char buf[BUF_BYTES], request[1024];
static int poller;
static SSL_CTX *context;
static bool measuring;
static uint64_t count, bytes, errors, not_resumed, next_due_ns;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "tls_load: %s: %s\n", what, errno ? strerror(errno) : "failed");
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t server_ticks(void)
{
	uint64_t ticks = 0;
	int r = opt.server ? server_ticks_read(opt.server, &ticks) : 0;

	errno = -r;
	if (r < 0)
		die("--server");
	return ticks;
}

/* ---- one connection ---- */

static bool stays(void)
{
	return opt.mode == MODE_BULK || opt.mode == MODE_PLAIN;
}

static bool is_open_loop(void)
{
	return opt.mode == MODE_RATE || opt.mode == MODE_PLAIN;
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct conn *c = SSL_get_app_data(ssl);

	SSL_SESSION_free(c->session);
	c->session = session;
	return 1; /* ours now */
}

static void start_tls(struct conn *c)
{
	c->ssl = SSL_new(context);
	if (!c->ssl || SSL_set_app_data(c->ssl, c) != 1 || SSL_set_fd(c->ssl, c->fd) != 1)
		die("SSL_new");
	SSL_set_connect_state(c->ssl);
	if (opt.mode == MODE_RESUMED && c->session && SSL_set_session(c->ssl, c->session) != 1)
		die("SSL_set_session");
}

static void open_conn(struct conn *c)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
	const int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&opt.addr, sizeof(opt.addr)) < 0 &&
	    errno != EINPROGRESS)
		die("connect");
	if (opt.mode != MODE_PLAIN)
		start_tls(c);
	if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e) < 0)
		die("epoll_ctl");
}

static void close_conn(struct conn *c)
{
	if (c->ssl)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	close(c->fd);
	c->ssl = NULL;
	c->fd = -1;
	c->state = STATE_IDLE;
}

/* Begin what is counted. */
static void begin(struct conn *c, uint64_t due_ns)
{
	c->due_ns = due_ns;
	c->missing = UINT64_MAX;
	if (c->fd < 0)
		open_conn(c);
	c->state = c->ssl && !SSL_is_init_finished(c->ssl) ? STATE_HANDSHAKE : STATE_REQUEST;
}

static void done(struct conn *c)
{
	if (measuring) {
		count++;
		if (sample_count < SAMPLES_MAX)
			samples_us[sample_count++] = (uint32_t)((now_ns() - c->due_ns) / 1000);
	}
	if (stays())
		c->state = STATE_IDLE;
	else
		close_conn(c);
}

static void failed(struct conn *c, const char *what)
{
	if (!errors++) {
		fprintf(stderr, "tls_load: %s: ", what);
		ERR_print_errors_fp(stderr);
		fprintf(stderr, "%s\n", strerror(errno));
	}
	if (errors >= ERRORS_MAX)
		exit(1);
	ERR_clear_error();
	close_conn(c);
}

/* More than 0: as read(2); 0: the end; -EAGAIN; another negative number: failed. */
static int transferred(struct conn *c, long n)
{
	if (n > 0)
		return (int)n;
	if (!c->ssl)
		return n == 0 ? 0 : errno == EAGAIN || errno == ENOTCONN ? -EAGAIN : -errno;
	switch (SSL_get_error(c->ssl, (int)n)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE: return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN: return 0;
	default: return -EPROTO;
	}
}

static int receive(struct conn *c)
{
	errno = 0;
	return transferred(c, c->ssl ? SSL_read(c->ssl, buf, sizeof(buf) - 1)
				     : recv(c->fd, buf, sizeof(buf) - 1, 0));
}

static int transmit(struct conn *c, const char *data, size_t len)
{
	errno = 0;
	return transferred(c, c->ssl ? SSL_write(c->ssl, data, (int)len)
				     : send(c->fd, data, len, MSG_NOSIGNAL));
}

/* The head of a reply comes in one piece from all servers that this is for. */
static bool read_head(struct conn *c, size_t len)
{
	const char *end, *length;

	buf[len] = '\0';
	end = strstr(buf, "\r\n\r\n");
	length = strcasestr(buf, "content-length:");
	if (strncmp(buf, "HTTP/1.1 200 ", 13) != 0 || !end || !length || length > end)
		return false;
	c->missing = (uint64_t)(end + 4 - buf) + strtoull(length + 15, NULL, 10);
	return true;
}

/* Without a "missing" byte the reply is complete; otherwise as `transferred`. */
static int take_reply(struct conn *c)
{
	int n = receive(c);

	if (n <= 0)
		return n == 0 ? -ECONNRESET : n;
	if (c->missing == UINT64_MAX && !read_head(c, (size_t)n))
		return -EPROTO;
	if ((uint64_t)n > c->missing)
		return -EPROTO;
	c->missing -= (uint64_t)n;
	if (measuring)
		bytes += (uint64_t)n;
	return n;
}

/* One step; true: there may be another. */
static bool step_handshake(struct conn *c)
{
	int r;

	errno = 0;
	r = transferred(c, SSL_do_handshake(c->ssl));
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		failed(c, "handshake");
		return false;
	}
	not_resumed += measuring && opt.mode == MODE_RESUMED && !SSL_session_reused(c->ssl);
	c->state = STATE_REQUEST;
	return true;
}

static bool step_request(struct conn *c)
{
	int r = transmit(c, request, strlen(request));

	if (r == (int)strlen(request))
		c->state = STATE_REPLY;
	else if (r != -EAGAIN)
		failed(c, "request");
	return c->state == STATE_REPLY;
}

static bool step_reply(struct conn *c)
{
	int r = take_reply(c);

	if (r == -EAGAIN)
		return false;
	if (r < 0) {
		failed(c, "reply");
		return false;
	}
	if (!c->missing)
		done(c);
	return c->state == STATE_REPLY;
}

static bool step(struct conn *c)
{
	switch (c->state) {
	case STATE_HANDSHAKE: return step_handshake(c);
	case STATE_REQUEST: return step_request(c);
	case STATE_REPLY: return step_reply(c);
	default: return false;
	}
}

static void go_on(struct conn *c)
{
	while (step(c))
		;
	/* A closed loop begins again at once. */
	while (c->state == STATE_IDLE && !is_open_loop()) {
		begin(c, now_ns());
		while (step(c))
			;
	}
}

/* ---- all of them ---- */

/* Those that are due begin, as far as there are free connections; returns how long until the next is due. */
static uint64_t begin_due(uint64_t now)
{
	static int last;
	uint64_t gap_ns = (uint64_t)(1e9 / opt.rate);

	for (int tried = 0; next_due_ns <= now && tried < opt.conns; tried++) {
		struct conn *c = &conns[last = (last + 1) % opt.conns];

		if (c->state != STATE_IDLE)
			continue;
		begin(c, next_due_ns);
		next_due_ns += gap_ns;
		while (step(c))
			;
	}
	return next_due_ns > now ? next_due_ns - now : NS_PER_S / 1000;
}

static void run_until(uint64_t end)
{
	struct epoll_event events[EVENTS];
	uint64_t now;

	while ((now = now_ns()) < end) {
		uint64_t wait = is_open_loop() ? begin_due(now) : NS_PER_S / 10;
		struct timespec ts;
		int n;

		wait = wait < end - now ? wait : end - now;
		ts = (struct timespec){ (time_t)(wait / NS_PER_S), (long)(wait % NS_PER_S) };
		n = epoll_pwait2(poller, events, EVENTS, &ts, NULL);
		for (int i = 0; i < n; i++)
			go_on(events[i].data.ptr);
	}
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static unsigned quantile_us(double q)
{
	return sample_count ? samples_us[(size_t)(q * (double)(sample_count - 1))] : 0;
}

static void report(double seconds, uint64_t ticks)
{
	double cpu_s = (double)ticks / (double)sysconf(_SC_CLK_TCK);

	qsort(samples_us, sample_count, sizeof(*samples_us), compare);
	printf("{\"count\":%llu,\"seconds\":%.3f,\"per_s\":%.0f,\"bytes\":%llu,\"p50_us\":%u,\"p99_us\":%u,"
	       "\"not_resumed\":%llu,\"errors\":%llu",
	       (unsigned long long)count, seconds, (double)count / seconds,
	       (unsigned long long)bytes, quantile_us(0.5), quantile_us(0.99),
	       (unsigned long long)not_resumed, (unsigned long long)errors);
	if (opt.server && count && ticks)
		printf(",\"cpu_us\":%.3f,\"mb_per_cpu_s\":%.1f", cpu_s * 1e6 / (double)count,
		       (double)bytes / cpu_s / 1e6);
	printf("}\n");
}

static int measure(void)
{
	uint64_t begun, ended, ticks;

	poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0)
		die("epoll_create1");
	for (int i = 0; i < opt.conns; i++) {
		conns[i].fd = -1;
		if (!is_open_loop())
			begin(&conns[i], now_ns());
	}
	next_due_ns = now_ns();
	run_until(now_ns() + (uint64_t)(opt.warmup * 1e9));
	ticks = server_ticks();
	begun = now_ns();
	measuring = true;
	run_until(begun + (uint64_t)(opt.seconds * 1e9));
	ended = now_ns();
	report((double)(ended - begun) / 1e9, server_ticks() - ticks);
	return errors || !count;
}

/* ---- echo ---- */

/* What is sent, by position. */
static void fill(char *to, size_t len, uint64_t at)
{
	for (size_t i = 0; i < len; i++)
		to[i] = (char)((at + i) * 31 + ((at + i) >> 8) * 7 + ((at + i) >> 16));
}

static void cork(const struct conn *c, int on)
{
	setsockopt(c->fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
}

/* The end goes right behind the last bytes: a server may see both at once. */
static uint64_t echo_send(struct conn *c, uint64_t sent)
{
	static char piece[16000];
	size_t len = opt.bytes - sent < sizeof(piece) ? (size_t)(opt.bytes - sent) : sizeof(piece);
	int n;

	fill(piece, len,
	     sent); /* the same again, if it could not be sent: SSL_write(3) wants it so */
	cork(c, 1);
	n = transmit(c, piece, len);
	if (n != -EAGAIN && n <= 0)
		die("echo: write");
	sent += n > 0 ? (uint64_t)n : 0;
	if (sent == opt.bytes && SSL_shutdown(c->ssl) < 0)
		die("echo: close_notify");
	cork(c, 0);
	return sent;
}

/* Returns 0 at the end. */
static int echo_receive(struct conn *c, uint64_t *received)
{
	static char expected[BUF_BYTES];
	int n = receive(c);

	if (n == -EAGAIN)
		return n;
	if (n < 0)
		die("echo: cut off");
	fill(expected, (size_t)n, *received);
	if (memcmp(buf, expected, (size_t)n) != 0)
		die("echo: other bytes come back");
	*received += (uint64_t)n;
	return n;
}

static int echo(void)
{
	uint64_t sent = 0, received = 0, end = now_ns() + DRAIN_SECONDS * NS_PER_S;
	struct conn *c = &conns[0];
	struct epoll_event e;
	int r;

	poller = epoll_create1(EPOLL_CLOEXEC);
	c->fd = -1;
	begin(c, 0);
	while (c->state == STATE_HANDSHAKE && now_ns() < end && !errors)
		if (!step_handshake(c))
			epoll_wait(poller, &e, 1, 100);
	if (c->state != STATE_REQUEST)
		die("echo: handshake");
	while ((r = echo_receive(c, &received)) && now_ns() < end) {
		uint64_t before = sent;

		if (sent < opt.bytes)
			sent = echo_send(c, sent);
		if (r == -EAGAIN && sent == before)
			epoll_wait(poller, &e, 1, 100);
	}
	printf("{\"sent\":%llu,\"received\":%llu,\"ended\":%s}\n", (unsigned long long)sent,
	       (unsigned long long)received, r ? "false" : "true");
	return r || received != opt.bytes;
}

/* ---- options ---- */

static _Noreturn void usage(const char *what)
{
	fprintf(stderr,
		"tls_load: %s\n"
		"usage: tls_load --mode full|resumed|bulk|rate|plain|echo --addr A.B.C.D:PORT [--conns N] [--seconds S]\n"
		"       [--warmup S] [--rate N] [--version 12|13] [--cipher NAME] [--group NAME] [--path PATH] [--bytes N]\n"
		"       [--server PID]\n",
		what);
	exit(2);
}

static enum mode mode_of(const char *text)
{
	static const char *const names[] = { "full", "resumed", "bulk", "rate", "plain", "echo" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(text, names[i]))
			return (enum mode)(MODE_FULL + i);
	usage("no such mode");
}

static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	const char *colon = strchr(text, ':');
	char host[INET_ADDRSTRLEN];

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		usage("--addr wants A.B.C.D:PORT");
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	a.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || !a.sin_port)
		usage("--addr wants A.B.C.D:PORT");
	return a;
}

static void take(int option)
{
	switch (option) {
	case 'm': opt.mode = mode_of(optarg); break;
	case 'a': opt.addr = address_of(optarg); break;
	case 'n': opt.conns = atoi(optarg); break;
	case 's': opt.seconds = atof(optarg); break;
	case 'w': opt.warmup = atof(optarg); break;
	case 'r': opt.rate = atof(optarg); break;
	case 'v': opt.version = atoi(optarg); break;
	case 'c': opt.cipher = optarg; break;
	case 'g': opt.group = optarg; break;
	case 'p': opt.path = optarg; break;
	case 'b': opt.bytes = strtoull(optarg, NULL, 10); break;
	case 'S': opt.server = (unsigned)atoi(optarg); break;
	default: usage("unknown option");
	}
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "mode", required_argument, NULL, 'm' },
		{ "addr", required_argument, NULL, 'a' },
		{ "conns", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },
		{ "warmup", required_argument, NULL, 'w' },
		{ "rate", required_argument, NULL, 'r' },
		{ "version", required_argument, NULL, 'v' },
		{ "cipher", required_argument, NULL, 'c' },
		{ "group", required_argument, NULL, 'g' },
		{ "path", required_argument, NULL, 'p' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "server", required_argument, NULL, 'S' },
		{ NULL, 0, NULL, 0 },
	};
	int o;

	while ((o = getopt_long(argc, argv, "", names, NULL)) != -1)
		take(o);
	if (optind < argc || !opt.mode || !opt.addr.sin_port)
		usage("--mode and --addr are needed");
	if (opt.conns < 1 || opt.conns > CONNS_MAX || opt.seconds <= 0 || opt.warmup < 0 ||
	    opt.rate <= 0 || (opt.version != 12 && opt.version != 13) || !opt.bytes)
		usage("a number out of its range");
}

static void make_context(void)
{
	int version = opt.version == 12 ? TLS1_2_VERSION : TLS1_3_VERSION;

	context = SSL_CTX_new(TLS_client_method());
	if (!context || SSL_CTX_set_min_proto_version(context, version) != 1 ||
	    SSL_CTX_set_max_proto_version(context, version) != 1 ||
	    SSL_CTX_set1_groups_list(context, opt.group) != 1)
		die("SSL_CTX_new");
	if (opt.cipher && (opt.version == 12 ? SSL_CTX_set_cipher_list(context, opt.cipher)
					     : SSL_CTX_set_ciphersuites(context, opt.cipher)) != 1)
		usage("no such cipher");
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (opt.mode == MODE_RESUMED)
		SSL_CTX_sess_set_new_cb(context, on_session);
}

int main(int argc, char **argv)
{
	int length;

	parse(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	make_context();
	length = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
			  opt.path, stays() ? "" : "Connection: close\r\n");
	if (length < 0 || (size_t)length >= sizeof(request))
		usage("--path is too long");
	return opt.mode == MODE_ECHO ? echo() : measure();
}
