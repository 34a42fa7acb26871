/*
 * curl_multi.c - GET one URL over and over with libcurl: so many easy handles in one multi, driven by epoll as its manual shows for
 * curl_multi_socket_action.
 *
 *	bench-curl-multi URL CONCURRENT SECONDS
 *
 * One line, as bench-http-client prints it. A handle that is done is asked again at once: with curl_multi_remove_handle and _add_handle,
 * as there is no other way; its connection stays in the multi's cache.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

#include <curl/curl.h>

#define EVENTS 256

static struct {
	CURLM *multi;
	int epoll;
	long timeout_ms; /* -1: none */
	double end;
	unsigned long requests, failures;
	unsigned live; /* handles */
} bench;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* `known` is what curl_multi_assign has set: not NULL if epoll has it already. */
static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct epoll_event e = { .data.fd = fd };

	(void)easy, (void)arg;
	if (what == CURL_POLL_REMOVE)
		return epoll_ctl(bench.epoll, EPOLL_CTL_DEL, fd, NULL) < 0 && errno != EBADF ? -1
											     : 0;
	e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (epoll_ctl(bench.epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) < 0)
		return -1;
	return curl_multi_assign(bench.multi, fd, &bench) == CURLM_OK ? 0 : -1;
}

static int set_timer(CURLM *multi, long timeout_ms, void *arg)
{
	(void)multi, (void)arg;
	bench.timeout_ms = timeout_ms;
	return 0;
}

static size_t discard(char *data, size_t size, size_t count, void *arg)
{
	(void)data, (void)arg;
	return size * count;
}

static void add_easy(const char *url)
{
	CURL *easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_multi_add_handle(bench.multi, easy);
	bench.live++;
}

static void be_done(const CURLMsg *m)
{
	CURL *easy = m->easy_handle;
	long status = 0;

	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	bench.requests++;
	bench.failures += m->data.result != CURLE_OK || status != 200;
	curl_multi_remove_handle(bench.multi, easy);
	if (now() < bench.end) {
		curl_multi_add_handle(bench.multi, easy);
	} else {
		curl_easy_cleanup(easy);
		bench.live--;
	}
}

static void reap(void)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(bench.multi, &left)) != NULL)
		if (m->msg == CURLMSG_DONE)
			be_done(m);
}

static void act(const struct epoll_event *e)
{
	int mask = (e->events & EPOLLIN ? CURL_CSELECT_IN : 0) |
		   (e->events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
		   (e->events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
	int running;

	curl_multi_socket_action(bench.multi, e->data.fd, mask, &running);
}

static void run(void)
{
	struct epoll_event events[EVENTS];
	int running, n;

	while (bench.live) {
		n = epoll_wait(bench.epoll, events, EVENTS, (int)bench.timeout_ms);
		for (int i = 0; i < n; i++)
			act(&events[i]);
		if (n <= 0 || bench.timeout_ms == 0) {
			bench.timeout_ms = -1;
			curl_multi_socket_action(bench.multi, CURL_SOCKET_TIMEOUT, 0, &running);
		}
		reap();
	}
}

int main(int argc, char **argv)
{
	unsigned concurrent;
	double cpu = cpu_seconds(), seconds;

	if (argc != 4) {
		fprintf(stderr, "usage: bench-curl-multi URL CONCURRENT SECONDS\n");
		return 2;
	}
	concurrent = (unsigned)strtoul(argv[2], NULL, 10);
	seconds = strtod(argv[3], NULL);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	bench.multi = curl_multi_init();
	bench.epoll = epoll_create1(EPOLL_CLOEXEC);
	bench.end = now() + seconds;
	curl_multi_setopt(bench.multi, CURLMOPT_SOCKETFUNCTION, watch);
	curl_multi_setopt(bench.multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(bench.multi, CURLMOPT_MAXCONNECTS, (long)concurrent);
	for (unsigned i = 0; i < concurrent; i++)
		add_easy(argv[1]);
	run();
	cpu = cpu_seconds() - cpu;
	printf("%lu requests, %.0f per second, %.2f us of CPU each, %lu failures\n", bench.requests,
	       (double)bench.requests / seconds, cpu * 1e6 / (double)bench.requests,
	       bench.failures);
	curl_multi_cleanup(bench.multi);
	return 0;
}
