/*
 * http_parse_bench.h - what one parse of a head costs, for torc-bench.
 */
#ifndef TORC_BENCH_HTTP_PARSE_BENCH_H
#define TORC_BENCH_HTTP_PARSE_BENCH_H

#include <stddef.h>

/* The request that wrk sends when told nothing else. */
extern const char torc_bench_request_minimal[];

/* What a browser sends when it reloads a page: 14 fields, some 700 bytes. */
extern const char torc_bench_request_browser[];

/*
 * Median over several rounds of the nanoseconds that one parse takes, NAN if @req is not exactly
 * one good request head.  With @force_scalar without vector instructions.  Resets the choice of
 * instruction set for the whole process to the automatic one.
 */
double torc_bench_http_parse_ns(const char *req, size_t len, int force_scalar);

/* What a web server answers: 10 fields, some 300 bytes; and the same measure of a response's head. */
extern const char torc_bench_response[];
double torc_bench_http_response_ns(const char *response, size_t len, int force_scalar);

/* The same of Debian's libhttp-parser, NAN when it was not there to compile with or is not now. */
double torc_bench_http_parser_ns(const char *req, size_t len);

#endif
