/*
 * http/internal/metrics.h - counters of a loop: http/metrics.c counts, http/metrics_text.c adds them up and shows them.
 *
 * A series is written by its loop only, with plain stores that other loops may read at any time (relaxed). It is
 * complete before its address is put into the table (release), stays there until the end, and is never moved: so who reads needs no lock.
 */
#ifndef TORC_HTTP_INTERNAL_METRICS_H
#define TORC_HTTP_INTERNAL_METRICS_H

#include <torc/http/metrics.h>

#include "http/internal/exchange.h"

/* And one for all that takes longer. */
#define TORC__METRICS_BUCKETS 14

/* Their upper bounds, in seconds. */
extern const char *const torc__metrics_bounds[TORC__METRICS_BUCKETS];

struct torc__metrics_counts {
	uint64_t took[TORC__METRICS_BUCKETS + 1]; /* requests, by how long; not added up */
	uint64_t ns;
	uint64_t bytes_in, bytes_out;
};

struct torc__metrics_series {
	struct torc__metrics_counts counts;
	uint32_t hash;
	uint16_t code;
	uint16_t route_len;
	char method[12];
	char route[]; /* [route_len + 1] */
};

struct torc__metrics_lane {
	_Alignas(64) struct torc__metrics_series **table; /* [places]; open addressing */
	struct torc__metrics_series *other;
	size_t count;
	uint64_t begun, ended;
};

static inline uint64_t torc__metrics_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
