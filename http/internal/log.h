/*
 * http/internal/log.h - the access log: who has which buffer.
 *
 *	requests of a loop --lines--> lane.filling --swap--> lane.writing --write, in turn--> the file
 *	                                            (the lane's writer, a fiber)
 *
 * A lane is touched on its loop only, but for `closing`, `wake` and what is marked. The writer rests in one of two places: until
 * there is a line at all, and then, for flush_ns, until there are many. Only there it is woken: a line costs nothing else.
 */
#ifndef TORC_HTTP_INTERNAL_LOG_H
#define TORC_HTTP_INTERNAL_LOG_H

#include <torc/http/log.h>

#include "http/internal/exchange.h"

enum torc__log_rest {
	TORC__LOG_WORKS,  /* it will look again by itself */
	TORC__LOG_IDLE,   /* waits for a line */
	TORC__LOG_GATHERS /* waits for more */
};

struct torc__log_lane {
	_Alignas(64) struct torc_http_log *log;
	char *filling, *writing; /* [capacity] */
	size_t len, capacity;    /* of filling */
	enum torc__log_rest rest;
	unsigned flushing;       /* who wait for `written` */
	uint64_t added, written; /* bytes, since the beginning; written or dropped */
	uint64_t dropped;        /* lines; atomic: read by any loop */
	uint64_t told;           /* of them, in the log */
	struct torc_event wake, progress;

	/* of this second */
	uint64_t second;         /* since 1970 */
	uint64_t second_ends_ns; /* torc_now_ns */
	uint64_t wall_offset_ns; /* between the clocks */
	char clf_time[32], json_time[32];
	uint8_t clf_len, json_len;
};

/* What a line is made of. */
struct torc__log_entry {
	struct torc_http_exchange *x;
	uint64_t begin_ns, end_ns;
};

/* A line with its end at [room] bytes. Returns its length, or 0: there is no room. */
size_t torc__log_line(struct torc__log_lane *lane, const struct torc__log_entry *e, char *to,
		      size_t room);

/* The line that tells of dropped ones; 128 bytes are enough. */
size_t torc__log_note(struct torc__log_lane *lane, uint64_t dropped, char *to, size_t room);

/* A field of a client's, as it may stand between quotes; cut to [room]. For the tests too. */
size_t torc__log_escape(struct torc_slice text, bool json, char *to, size_t room);

#endif
