/*
 * bench/http_client.c - GET one URL over and over: so many fibers at once, through one client.
 *
 *	bench-http-client URL CONCURRENT SECONDS
 *
 * One line: requests, requests per second, microseconds of CPU per request, failures.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <torc/torc.h>

static struct {
	const char *url;
	unsigned concurrent;
	uint64_t end_ns, requests, failures;
	struct torc_http_client *client;
} bench;

static void ask(void)
{
	struct torc_http_response *res;
	struct torc_slice view;
	int r = torc_http_get(bench.client, bench.url, &res);

	if (!r) {
		while ((r = torc_http_response_peek(res, &view)) > 0)
			torc_http_response_consume(res, view.len);
		if (torc_http_response_status(res) != 200)
			r = -1;
		torc_http_response_close(res);
	}
	bench.requests++;
	bench.failures += r < 0;
}

static int ask_on(void *arg)
{
	(void)arg;
	while (torc_turn_ns() < bench.end_ns)
		ask();
	return 0;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int app(void *arg)
{
	const struct torc_http_client_options o = { .origin_max = bench.concurrent,
						    .connections_max = bench.concurrent,
						    .no_environment = true };
	double seconds = *(double *)arg, cpu = cpu_seconds();
	struct torc_group group;
	int r = torc_http_client_open(&o, &bench.client);

	if (r < 0)
		return r;
	bench.end_ns = torc_now_ns() + (uint64_t)(seconds * 1e9);
	torc_group_enter(&group);
	for (unsigned i = 0; i < bench.concurrent && !r; i++)
		r = torc_group_spawn(&group, ask_on, NULL);
	r = torc_group_wait(&group);
	torc_http_client_close(bench.client);
	cpu = cpu_seconds() - cpu;
	printf("%llu requests, %.0f per second, %.2f us of CPU each, %llu failures\n",
	       (unsigned long long)bench.requests, (double)bench.requests / seconds,
	       cpu * 1e6 / (double)(bench.requests ? bench.requests : 1),
	       (unsigned long long)bench.failures);
	return r;
}

int main(int argc, char **argv)
{
	double seconds;

	if (argc != 4) {
		fprintf(stderr, "usage: bench-http-client URL CONCURRENT SECONDS\n");
		return 2;
	}
	bench.url = argv[1];
	bench.concurrent = (unsigned)strtoul(argv[2], NULL, 10);
	seconds = strtod(argv[3], NULL);
	return torc_run(NULL, app, &seconds) < 0;
}
