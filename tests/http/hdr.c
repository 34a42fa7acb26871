/*
 * torc-load's histogram.
 */
#include "http/programs/hdr.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/check.h"
#include "tests/support/random.h"

TestSuite(http_hdr, .timeout = 20);

static struct hdr a, b, both;

Test(http_hdr, slots_follow_each_other_and_are_a_thousandth_wide_at_most)
{
	for (size_t i = 0; i < HDR_SLOTS; i++) {
		uint64_t least = hdr_slot_least(i), most = hdr_slot_most(i);

		check_eq(hdr_slot(least), i);
		check_eq(hdr_slot(most), i);
		check_eq(hdr_slot(most + 1), i + 1);
		check_le((most - least) * 1000, least);
	}
	check_eq(hdr_slot_least(0), 0);
	check(hdr_slot(HDR_VALUE_MAX) < HDR_SLOTS);
}

static int compare(const void *x, const void *y)
{
	uint64_t p = *(const uint64_t *)x, q = *(const uint64_t *)y;

	return p < q ? -1 : p > q;
}

#define VALUES 20000

static uint64_t values[VALUES];

/* The value of that rank, or one that is above it by less than a thousandth. */
static void check_rank(uint64_t of_billion)
{
	uint64_t rank = (of_billion * VALUES + HDR_ALL - 1) / HDR_ALL;
	uint64_t exact = values[rank ? rank - 1 : 0], got = hdr_at(&both, of_billion);

	check_ge(got, exact);
	check_le((got - exact) * 1000, exact);
}

Test(http_hdr, percentiles_of_a_merged_histogram_are_those_of_the_sorted_values)
{
	static const uint64_t parts[] = { 0,         1,         50000,     499999999,
					  500000000, 900000000, 990000000, 999000000,
					  999900000, 999950000, 999999999, HDR_ALL };
	uint64_t state = 7;
	double sum = 0, mean;

	for (size_t i = 0; i < VALUES; i++) {
		/* As many of each size, from nanoseconds to an hour. */
		uint64_t bits = (uint64_t)next_random(&state) << 11 | next_random(&state) % 2048;

		values[i] = bits >> next_random(&state) % 42;
		if (values[i] > HDR_VALUE_MAX)
			values[i] = HDR_VALUE_MAX;
		sum += (double)values[i];
		hdr_record(i % 3 ? &a : &b, values[i], 1);
	}
	hdr_merge(&both, &a);
	hdr_merge(&both, &b);
	qsort(values, VALUES, sizeof(values[0]), compare);
	check_eq(both.total, VALUES);
	check_eq(both.least, values[0]);
	check_eq(both.most, values[VALUES - 1]);
	check_eq(hdr_at(&both, HDR_ALL), values[VALUES - 1]);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		check_rank(parts[i]);
	mean = sum / VALUES;
	check(hdr_mean(&both) > mean * 0.999 && hdr_mean(&both) < mean * 1.001);
}

Test(http_hdr, a_percentile_that_is_a_whole_rank_is_that_one)
{
	for (uint64_t i = 1; i <= 1000; i++)
		hdr_record(&a, i, 1);
	check_eq(hdr_at(&a, 500000000), 500);
	check_eq(hdr_at(&a, 999000000), 999);
	check_eq(hdr_at(&a, 999000001), 1000);
	check_eq(hdr_at(&a, 1), 1);
	check_eq(hdr_at(&a, 0), 1);
}

Test(http_hdr, what_is_longer_than_an_hour_counts_as_one_hour)
{
	hdr_record(&a, 5, 3);
	hdr_record(&a, HDR_VALUE_MAX + 1, 2);
	hdr_record(&a, UINT64_MAX, 1);
	check_eq(a.clamped, 3);
	check_eq(a.total, 6);
	check_eq(a.most, HDR_VALUE_MAX);
	check_eq(hdr_at(&a, HDR_ALL), HDR_VALUE_MAX);
	check_eq(hdr_at(&a, 500000000), 5);
}

Test(http_hdr, an_empty_one_says_nothing_and_adds_nothing)
{
	check_eq(hdr_at(&a, HDR_ALL), 0);
	check(hdr_mean(&a) == 0 && hdr_variance(&a) == 0);
	hdr_record(&b, 7, 1);
	hdr_merge(&b, &a);
	check_eq(b.least, 7);
	check_eq(b.total, 1);
	hdr_merge(&a, &b);
	check_eq(a.least, 7);
	check(hdr_variance(&a) == 0);
}
