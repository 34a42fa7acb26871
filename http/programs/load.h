/*
 * http/programs/load.h - what the parts of torc-load share.
 *
 *	torc-load.c        from the command line to the exit status
 *	load_options.c     its options
 *	load_request.c     the bytes that are sent
 *	load_run.c         the phases of a run, and what watches over it
 *	load_schedule.c    which request is sent when
 *	load_connection.c  a connection: connects, sends, waits for the answers, again
 *	load_http.c        answers of HTTP; load_echo.c  those of an echo server
 *	load_report.c      what came of it; load_svg.c  as a picture
 *	hdr.h              the histogram
 *
 * Each loop has its connections, its histogram and its part of the requests, and shares none of it: they are added up when all
 * is over. What is said below to be fixed is written before the loops begin.
 */
#ifndef TORC_HTTP_PROGRAMS_LOAD_H
#define TORC_HTTP_PROGRAMS_LOAD_H

#include <stdatomic.h>
#include <stdio.h>

#include <torc/core/group.h>
#include <torc/core/scope.h>
#include <torc/core/slice.h>
#include <torc/core/sync.h>
#include <torc/io/stream.h>
#include <torc/io/tls.h>

#include "http/programs/hdr.h"
#include "io/programs/options.h"

#define LOAD_CONNECTIONS_MAX 65536u
#define LOAD_PIPELINE_MAX    1024u
#define LOAD_LOOPS_MAX       256
#define LOAD_HEADERS_MAX     64
#define LOAD_RATE_MAX        10000000u

/* What one train of requests may be, and so also a body and an echo. */
#define LOAD_TRAIN_BYTES_MAX ((size_t)64 << 20)

/* A longer train is sent by a fiber of its own, for a server may answer its beginning before it reads on. */
#define LOAD_INLINE_BYTES_MAX 12288u

/* How long, after the end, answers that are under way are waited for. */
#define LOAD_DRAIN_NS TORC_SECONDS(1)

/* Of an open loop: what is sent later than this after it was due is late. */
#define LOAD_LATE_NS TORC_MS(1)

/* The longest head of an answer, and the fields in it. */
#define LOAD_HEAD_BYTES_MAX 65536u
#define LOAD_FIELDS_MAX     128u

/*
 * The longest head that is remembered, and the longest answer, of which a head is: what is longer than a received buffer is not
 * seen in one piece.
 */
#define LOAD_SEEN_BYTES_MAX  1024u
#define LOAD_WHOLE_BYTES_MAX 4096u

enum load_error {
	LOAD_CONNECT,   /* an attempt to connect; all others are requests */
	LOAD_READ,      /* the connection failed while an answer was waited for */
	LOAD_WRITE,     /* ... while it was written to */
	LOAD_TIMEOUT,   /* no answer in time */
	LOAD_MALFORMED, /* one that is none; of an echo: other bytes */
	LOAD_EARLY,     /* the connection ended in an answer, or without one at all */
	LOAD_ERRORS
};

/* What a connection's functions return besides 0. */
enum load_end {
	LOAD_CLOSED = 1, /* the server has closed, or will: connect again */
	LOAD_FAILED,     /* and load_fail was told */
};

struct load;
struct load_loop;

/* A head that was parsed, and what it said of the answer. */
struct load_seen {
	size_t len;   /* of the head */
	size_t whole; /* with the body; SIZE_MAX: nothing was seen yet */
	uint16_t status;
	char bytes[LOAD_SEEN_BYTES_MAX];
};

/* What was measured. */
struct load_counts {
	uint64_t requests; /* sent */
	uint64_t answers;
	uint64_t by_class[6]; /* [1..5]: 1xx .. 5xx; [0]: of an echo, or another status */
	uint64_t errors[LOAD_ERRORS];
	uint64_t unanswered; /* under way at the end */
	uint64_t reconnects; /* because the server had closed */
	uint64_t resent;     /* because of such a reconnection: were not answered before it */
	uint64_t surplus;    /* reconnections because of bytes behind the last answer */
	uint64_t received_bytes, sent_bytes;
	uint64_t late, unsent, backlog_peak; /* open loop */
};

struct load_connection {
	struct torc_stream stream;
	struct torc_scope scope; /* of one connection, from connecting to closing */
	struct load_loop *loop;
	/* The train under way: requests [first, first + count) of this loop, [done] of them answered. */
	uint64_t first;
	unsigned count, done;
	uint64_t sent_ns;   /* of a closed loop: latency runs from here */
	uint64_t since_ns;  /* what is waited for now was waited for since then; 0: nothing is */
	size_t part_bytes;  /* of an echo that is not complete */
	uint32_t fruitless; /* connections in a row without an answer */
	bool measured;      /* the train is within the time that counts */
	bool open;          /* a stream is */
	bool overdue;       /* the watchdog has cancelled the scope */
	bool answered;      /* something, since it was connected */
	bool sent;          /* what is left of the train was, as far as it got */
	bool writing;       /* by a fiber of its own */
};

struct load_loop {
	struct load *load;
	unsigned index; /* among those that have connections */
	struct load_connection *connections;
	unsigned connection_count, live;
	struct torc_task watchdog;
	struct load_counts counts;
	uint64_t last_ns; /* when the last answer came */

	/* The schedule. */
	struct torc_mutex next; /* an open loop: who has it sends next */
	uint64_t claimed;       /* requests of this loop that were given to a connection */
	uint64_t budget_left;   /* of --requests; else UINT64_MAX */

	struct load_seen seen;
	enum load_error why_kind; /* valid if *why */
	char why[TORC_TLS_WHY_MAX + 64];
	_Alignas(64)
		atomic_ullong published; /* counts.answers, now and then: for the progress line */
	struct hdr latency;
};

typedef int load_answers_fn(struct load_connection *c);

struct load {
	struct program program; /* first: options are given it */

	/* The options; fixed. */
	uint64_t connections, pipeline, rate, requests, size;
	uint64_t duration_ns, warm_up_ns, timeout_ns;
	bool has_duration, has_warm_up, has_size;
	const char *method, *body, *body_file, *connect, *svg_path, *tls_ca;
	struct torc_slice headers[LOAD_HEADERS_MAX];
	size_t header_count;
	bool tls_insecure, json;

	/* What they come to; fixed. */
	bool is_http, is_tls, is_head;
	char *authority, *host; /* of the URL; the host without brackets */
	char *path;             /* the request's target */
	char *address;          /* where to connect to */
	struct torc_slice train;
	size_t request_bytes; /* train.len / pipeline */
	load_answers_fn *read_answers;
	FILE *svg;
	struct torc_tls *tls;

	/* The run. */
	struct load_loop *loops; /* [loop_count] */
	unsigned loop_count;
	struct torc_latch settled; /* each connection has been tried once */
	struct torc_latch running; /* loops that have connections */
	struct torc_event begun;   /* the times below are fixed */
	atomic_uint connected;     /* have been at all */
	bool measuring;            /* begin_ns has come */
	uint64_t start_ns, begin_ns, end_ns;
	uint64_t over_ns;              /* end_ns, or before it: a signal */
	uint64_t cpu_begin_ns, cpu_ns; /* of this process */

	/* The sum of all loops'; load_sum. */
	struct load_counts counts;
	struct hdr *latency;
	double seconds;
};

extern const struct program_option load_options[];

/* Do the options fit together, and what do they come to? -1, or the exit status. */
int load_check(struct load *load);

/* Make the train. -1, or the exit status. */
int load_prepare(struct load *load);

/* In a fiber: the whole run. */
int load_run(void *load);

/* The fiber of a connection. */
int load_connection_main(void *connection);

/*
 * The requests to be sent next, as c->first and count; waits until they are due. False: there are no more, or the scope has
 * ended.
 */
bool load_claim(struct load_connection *c);

/* When a request is due: its latency is counted from there, whenever it was sent. */
uint64_t load_due(const struct load_loop *l, uint64_t request);

/* Of an open loop, at the end: what was due and never sent. */
void load_count_unsent(struct load_loop *l);

/* Wait until the train is answered: 0, or enum load_end. */
int load_read_http(struct load_connection *c);
int load_read_echo(struct load_connection *c);

/* The next `count` requests of the train have been answered, just now. */
void load_answered(struct load_connection *c, unsigned count, uint16_t status);

/* Bytes of answers have been dealt with. */
void load_consume(struct load_connection *c, size_t n);

/* What is left of the train failed; `error` is a negative errno, or 0 where the kind says all. Returns LOAD_FAILED. */
int load_fail(struct load_connection *c, enum load_error kind, int error);

/* What torc_stream_peek and the like have returned, 0 or less. `inside`: in an answer. */
int load_ended(struct load_connection *c, int r, bool inside);

/* Add up the loops. */
void load_sum(struct load *load);

/* To standard output. */
void load_print(const struct load *load);
void load_print_json(const struct load *load);
void load_write_svg(const struct load *load, FILE *to);

/* How the kinds of errors are called. */
extern const char *const load_error_names[LOAD_ERRORS];

#endif
