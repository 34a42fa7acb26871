/*
 * http/programs/httpd.h - what the parts of torc-httpd share.
 *
 *	torc-httpd.c      from the command line to the end
 *	httpd_options.c   its options
 *	httpd_serve.c     the server, and what runs beside it
 *	httpd_answer.c    what it answers
 */
#ifndef TORC_HTTP_PROGRAMS_HTTPD_H
#define TORC_HTTP_PROGRAMS_HTTPD_H

#include <torc/http/files.h>
#include <torc/http/log.h>
#include <torc/http/metrics.h>
#include <torc/http/server.h>

#include "io/programs/options.h"

#define HTTPD_LOOPS_MAX   256
#define HTTPD_INDEX_MAX   16
#define HTTPD_HEADERS_MAX 32

/* Of all --header: there has to be room for what the server adds. */
#define HTTPD_HEADER_BYTES_MAX 4096

/* One per loop and cache line: a counter that all loops write would bounce between the cores. */
struct httpd_count {
	_Alignas(64) unsigned long long requests;
};

struct httpd {
	struct program program; /* first: options are given it */

	struct torc_http_options server; /* limits, and what is set when it serves */
	uint64_t connections, handlers;  /* of all loops together; 0: no limit */

	struct torc_http_files_options options; /* without a root there are no files */
	const char *index[HTTPD_INDEX_MAX + 1];
	size_t index_count;
	bool spa;
	bool has_files;
	struct torc_http_files files;
	char *app; /* the file that --spa answers with */

	struct torc_http_pair headers[HTTPD_HEADERS_MAX];
	size_t header_count, header_bytes;

	const char *log_path; /* NULL: no log */
	enum torc_http_log_format log_format;
	bool has_log_format;
	struct torc_http_log log;
	const char *metrics_path, *metrics_address; /* NULL: neither */
	struct torc_http_metrics metrics;
	bool compress;
	struct torc_http_step steps[4]; /* [step_count]; none: straight to httpd_answer */
	size_t step_count;

	struct httpd_count counts[HTTPD_LOOPS_MAX];
};

extern const struct program_option httpd_options[];

/* Do the options fit together? -1, or the exit status. */
int httpd_check(const struct httpd *h);

/* In a fiber: serve until cancelled. */
int httpd_serve(void *httpd);

/* A torc_http_fn; the argument is the struct httpd. */
int httpd_answer(struct torc_http_exchange *x, void *httpd);

#endif
