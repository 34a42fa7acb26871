/*
 * micro_http.c - one parse of a request head.
 */
#include "bench/micro.h"

#include <errno.h>
#include <string.h>

#include "bench/http_parse_bench.h"

static int parse(const char *metric, const char *request, int force_scalar)
{
	double ns = torc_bench_http_parse_ns(request, strlen(request), force_scalar);

	if (isnan(ns))
		return -EBADMSG;
	micro_report(metric, ns, "ns", MICRO_NO_TARGET);
	return 0;
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
	parse_peer("minimal request, http-parser", torc_bench_request_minimal);
	parse_peer("browser's request, http-parser", torc_bench_request_browser);
	return r;
}

const struct micro micro_http_parse = { "http-parse",
					"the parser, on a request head of 2 and of 14 fields",
					run };
