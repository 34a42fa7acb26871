/*
 * executor/map.h - the same function for many items, in parallel.
 *
 *	static int thumbnail(void *arg, const void *item, void *ret_result) ...
 *
 *	struct torc_map map = {
 *		.fn = thumbnail,
 *		.items = images, .item_bytes = sizeof(images[0]),
 *		.results = thumbnails, .result_bytes = sizeof(thumbnails[0]),
 *		.count = n,
 *	};
 *	r = torc_map(pool, &map);
 *
 * What waits here waits like torc_await does, on any thread, and inside of tasks: a worker takes part itself.
 */
#ifndef TORC_EXECUTOR_MAP_H
#define TORC_EXECUTOR_MAP_H

#include <torc/core/gen.h>
#include <torc/executor/executor.h>

TORC_BEGIN_DECLS

/* ---- arrays ------------------------------------------------------------------------------------------- */

/* Makes a result of an item. Returns 0 or more, or a negative errno: then no further items are begun. */
typedef int torc_map_fn(void *arg, const void *item, void *ret_result);

struct torc_map {
	torc_map_fn *fn;
	void *arg;
	size_t arg_bytes; /* of it, which a pool of processes passes to its workers; 0: they are given NULL */
	const void *items; /* [count], borrowed; NULL when item_bytes is 0 */
	size_t item_bytes;
	void *results; /* [count], in the order of the items; NULL when result_bytes is 0 */
	size_t result_bytes;
	size_t count;
	size_t chunk; /* items that a worker takes at a time; 0: what is likely to be good */
	uint64_t deadline_ns; /* a moment of torc_now_ns; 0 or TORC_NEVER: none */
};

/*
 * torc_map - call a function for each item of an array.
 *
 * Nothing is left running when it returns: what was begun has ended, also after a failure, a timeout or a cancellation.
 *
 * Returns     0            all results are there
 *             < 0          the failure of the first item, in the order of items, among those that were tried; results of
 *                          items that succeeded are there
 *             -ETIMEDOUT   the deadline passed, or that of the calling fiber's scope
 *             -ECANCELED   the calling fiber's scope
 *             as torc_submit, if not one task for it could be submitted
 * Suspends    if count is not 0; as torc_await
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_map(struct torc_executor *executor, const struct torc_map *map);

/* Does what is to be done for the numbers from `begin` on, before `end`. Returns as torc_map_fn. */
typedef int torc_range_fn(void *arg, size_t begin, size_t end);

/*
 * torc_parallel_for - call fn(arg, i, j) for parts of a range of numbers that cover all of it once.
 *
 * Nothing is left running when it returns.
 *
 *   @end    0 .. SIZE_MAX; the range is empty unless it is more than `begin`
 *   @chunk  the length of a part, but for the last; 0: what is likely to be good
 *
 * Returns     0            all was done
 *             < 0          a failure; parts that had not been begun by then were not
 *             -ECANCELED, -ETIMEDOUT   the calling fiber's scope
 *             as torc_submit, if not one task for it could be submitted
 * Suspends    if the range is not empty; as torc_await
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_parallel_for(struct torc_executor *executor, size_t begin,
					       size_t end, size_t chunk, torc_range_fn *fn,
					       void *arg);

/* ---- generators --------------------------------------------------------------------------------------- */

/* Makes a result of an item: of the value of a generator. Returns 0 or more, or a negative errno. */
typedef int torc_map_gen_fn(void *item, void *arg, void **ret_result);

/* Zeroed means the defaults. */
struct torc_map_gen_options {
	size_t buffer; /* items that are taken from the source before their turn; 0: twice as many chunks
	                as the executor's parallelism */
	size_t chunk;         /* items that are submitted as one task; 0: 1 */
	uint64_t deadline_ns; /* a moment of torc_now_ns; 0 or TORC_NEVER: none */
	const char *name;     /* of the generator; borrowed */
};

/*
 * torc_map_gen - a generator of what a function makes of another generator's values, in the order of these.
 *
 *	r = torc_map_gen(pool, thumbnail, NULL, images, NULL, &thumbnails);
 *	torc_gen_each(thumbnail, thumbnails)
 *		...
 *	r = torc_gen_status(thumbnails);
 *	torc_gen_destroy(thumbnails);
 *
 * Up to `buffer` items are in work at a time; no more are taken from the source until results are asked for, so
 * it may be endless. The generator ends when the source has ended, with the source's error if it has one; or with
 * the first failure of an item, in order; or with -ETIMEDOUT, when a result was not there by the deadline; or with the error
 * of a submit, then without the results that were in work. When it ends
 * or is closed what was not started is cancelled, and what runs is waited for.
 *
 *   @arg      borrowed until the generator has ended; so is the executor
 *   @source   borrowed until then; it is resumed by who resumes this one, and not closed
 *   @options  may be NULL
 *   @ret_gen  to be destroyed
 *
 * Returns     0
 *             -ENOMEM   no memory
 *             -EINVAL   chunk is more than buffer, and buffer is not 0; or as large that no memory could hold it
 * Suspends    never; resuming the generator does, as torc_await
 * Thread      any
 */
TORC_API TORC_MUST_CHECK int torc_map_gen(struct torc_executor *executor, torc_map_gen_fn *fn,
					  void *arg, struct torc_gen *source,
					  const struct torc_map_gen_options *options,
					  struct torc_gen **ret_gen);

TORC_END_DECLS

#endif
