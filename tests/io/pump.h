/*
 * tests/io/pump.h - bytes in random pieces through a stream.
 */
#ifndef TESTS_IO_PUMP_H
#define TESTS_IO_PUMP_H

#include "tests/io/run.h"

struct pump {
	struct torc_stream *s;
	uint64_t seed, total;
	uint64_t name; /* of the bytes */
	uint32_t most; /* in one call */
};

/* Writes `total` bytes in random pieces, and their end. */
static inline int pump_write(void *arg)
{
	struct pump *p = arg;
	char *buf = malloc(p->most);
	uint64_t at = 0;

	while (at < p->total) {
		size_t len = 1 + next_random(&p->seed) % p->most;

		len = len < p->total - at ? len : p->total - at;
		fill_bytes(buf, len, p->name, at);
		check_eq(torc_stream_write(p->s, buf, len), 0);
		memset(buf, 0xee, len); /* the stream must be done with it */
		at += len;
		if (!(next_random(&p->seed) % 4))
			check_eq(torc_yield(), 0);
	}
	free(buf);
	return torc_stream_shutdown(p->s);
}

#endif
