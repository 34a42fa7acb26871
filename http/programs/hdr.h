/*
 * http/programs/hdr.h - a histogram of latencies with three significant digits, after HdrHistogram's scheme.
 *
 * Values below 2048 have a slot each. Above, the slots of each power of two are half as many and twice as wide as of the one
 * before: 1024 of them, so that a slot is never wider than a thousandth of what falls into it. A slot is found from the
 * number of leading zeros, without a search; the memory is fixed, 264 KiB, of which a run touches a few pages.
 *
 *	hdr_record(&h, ns, 1);
 *	p99 = hdr_at(&h, 990000000);
 *
 * Values are nanoseconds, from 0 to one hour; what is longer counts as one hour, and hdr.clamped says how often.
 * Zeroed, it is empty. Not for several threads: each has its own, and hdr_merge adds them up.
 */
#ifndef TORC_HTTP_PROGRAMS_HDR_H
#define TORC_HTTP_PROGRAMS_HDR_H

#include <stddef.h>
#include <stdint.h>

#define HDR_SUB_BITS  11u /* 2048 slots for the first values, then 1024 for each power of two */
#define HDR_HALF      ((size_t)1 << (HDR_SUB_BITS - 1))
#define HDR_VALUE_MAX 3600000000000u /* below 2^42 */
#define HDR_SHIFT_MAX (42u - HDR_SUB_BITS)
#define HDR_SLOTS     ((HDR_SHIFT_MAX + 2) * HDR_HALF)

/* All of them, for hdr_at. */
#define HDR_ALL 1000000000u

struct hdr {
	uint64_t total, clamped;
	uint64_t least, most; /* of what was recorded, exactly; valid when total is not 0 */
	uint64_t slots[HDR_SLOTS];
};

/* How many low bits a value's slot leaves out. */
static inline unsigned hdr_shift(uint64_t value)
{
	const uint64_t first = ((uint64_t)1 << HDR_SUB_BITS) - 1;

	return 64u - (unsigned)__builtin_clzll(value | first) - HDR_SUB_BITS;
}

static inline size_t hdr_slot(uint64_t value)
{
	unsigned shift = hdr_shift(value);

	return shift * HDR_HALF + (size_t)(value >> shift);
}

/* The least and the greatest value of a slot. */
static inline uint64_t hdr_slot_least(size_t slot)
{
	size_t shift = slot < 2 * HDR_HALF ? 0 : slot / HDR_HALF - 1;

	return (uint64_t)(slot - shift * HDR_HALF) << shift;
}

static inline uint64_t hdr_slot_most(size_t slot)
{
	return hdr_slot_least(slot + 1) - 1;
}

/* So many times the same value. */
static inline void hdr_record(struct hdr *h, uint64_t value, uint64_t times)
{
	if (value > HDR_VALUE_MAX) {
		value = HDR_VALUE_MAX;
		h->clamped += times;
	}
	if (value < h->least || !h->total)
		h->least = value;
	if (value > h->most)
		h->most = value;
	h->total += times;
	h->slots[hdr_slot(value)] += times;
}

static inline void hdr_merge(struct hdr *to, const struct hdr *from)
{
	if (!from->total)
		return;
	if (from->least < to->least || !to->total)
		to->least = from->least;
	if (from->most > to->most)
		to->most = from->most;
	to->total += from->total;
	to->clamped += from->clamped;
	for (size_t i = hdr_slot(from->least); i <= hdr_slot(from->most); i++)
		to->slots[i] += from->slots[i];
}

/*
 * The value that so many of a thousand million are not above: 500000000 is the median. A whole number, for 99.9 % as a
 * fraction of two is a little more than that, and the rank behind the right one. 0 when there are none.
 */
static inline uint64_t hdr_at(const struct hdr *h, uint64_t of_billion)
{
	uint64_t rank =
		(uint64_t)(((unsigned __int128)of_billion * h->total + HDR_ALL - 1) / HDR_ALL);
	uint64_t seen = 0, value;

	if (!h->total)
		return 0;
	if (!rank)
		return h->least;
	for (size_t i = hdr_slot(h->least);; i++) {
		seen += h->slots[i];
		if (seen < rank && i < hdr_slot(h->most))
			continue;
		value = hdr_slot_most(i);
		return value < h->most ? value : h->most;
	}
}

/* The middle of a slot stands for what is in it. */
static inline double hdr_slot_middle(size_t slot)
{
	return ((double)hdr_slot_least(slot) + (double)hdr_slot_most(slot)) / 2;
}

static inline double hdr_mean(const struct hdr *h)
{
	double sum = 0;

	for (size_t i = hdr_slot(h->least); h->total && i <= hdr_slot(h->most); i++)
		sum += (double)h->slots[i] * hdr_slot_middle(i);
	return h->total ? sum / (double)h->total : 0;
}

/* Its root is the standard deviation. */
static inline double hdr_variance(const struct hdr *h)
{
	double mean = hdr_mean(h), sum = 0;

	for (size_t i = hdr_slot(h->least); h->total && i <= hdr_slot(h->most); i++) {
		double off = hdr_slot_middle(i) - mean;

		sum += (double)h->slots[i] * off * off;
	}
	return h->total ? sum / (double)h->total : 0;
}

#endif
