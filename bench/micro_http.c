/*
 * micro_http.c - one parse of a head.
 */
#include "bench/micro.h"

#include <errno.h>
#include <string.h>

#include "bench/http_parse_bench.h"

static int report(const char *metric, double ns)
{
	if (isnan(ns))
		return -EBADMSG;
	micro_report(metric, ns, "ns", MICRO_NO_TARGET);
	return 0;
}

static int parse(const char *metric, const char *request, int force_scalar)
{
	return report(metric, torc_bench_http_parse_ns(request, strlen(request), force_scalar));
}

static int parse_response(const char *metric, int force_scalar)
{
	return report(metric,
		      torc_bench_http_response_ns(torc_bench_response, strlen(torc_bench_response),
						  force_scalar));
}

/* Only where that library is. */
static void parse_peer(const char *metric, const char *request)
{
	double ns = torc_bench_http_parser_ns(request, strlen(request));

	if (!isnan(ns))
		micro_report(metric, ns, "ns", MICRO_NO_TARGET);
}

static int run(void)
{
	int r = parse("minimal request", torc_bench_request_minimal, 0);

	if (!r)
		r = parse("minimal request, scalar", torc_bench_request_minimal, 1);
	if (!r)
		r = parse("browser's request", torc_bench_request_browser, 0);
	if (!r)
		r = parse("browser's request, scalar", torc_bench_request_browser, 1);
	if (!r)
		r = parse_response("server's response", 0);
	if (!r)
		r = parse_response("server's response, scalar", 1);
	parse_peer("minimal request, http-parser", torc_bench_request_minimal);
	parse_peer("browser's request, http-parser", torc_bench_request_browser);
	return r;
}

const struct micro micro_http_parse = {
	"http-parse", "the parsers, on request heads of 2 and of 14 fields, a response head of 10",
	run
};
