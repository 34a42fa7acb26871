/*
 * executor/call.h - calls: a function whose argument and result are bytes, so that another process can run it.
 *
 *	static int count_words(struct torc_process_call *call)
 *	{
 *		uint64_t *words = call->result;
 *
 *		*words = count(call->arg, call->arg_bytes);
 *		return 0;
 *	}
 *
 *	uint64_t words;
 *	struct torc_process_call call = {
 *		.fn = count_words,
 *		.arg = text, .arg_bytes = strlen(text),
 *		.result = &words, .result_bytes = sizeof(words),
 *	};
 *	r = torc_submit(processes, torc_process_call_run, &call, &f);		executor/process.h
 *	r = torc_await(f, NULL);
 *
 * To a pool of threads a call is a task like any other, and runs on the caller's own bytes.
 */
#ifndef TORC_EXECUTOR_CALL_H
#define TORC_EXECUTOR_CALL_H

#include <torc/executor/executor.h>

TORC_BEGIN_DECLS

struct torc_process_call;

/*
 * What is called. In a pool of processes the call that it is given is not the caller's, but has copies of the argument
 * and room for the result, both at addresses that are multiples of 64; what both sides share (torc_process_alloc) is not
 * copied, and is where it is.
 *
 * Returns the status: 0 or more for success, or a negative errno. Then there is no result.
 */
typedef int torc_process_call_fn(struct torc_process_call *call);

/* Borrowed, with its argument and its room for the result, until the future is done. One future at a time. */
struct torc_process_call {
	torc_process_call_fn *fn;
	const void *arg; /* [arg_bytes]; may be NULL when that is 0 */
	size_t arg_bytes;
	void *result; /* [result_bytes]; may be NULL when that is 0 */
	size_t result_bytes; /* before: the room there is; after: how much the function has made of it. All, unless the
	                      * function says less; 0 after a failure */
	int wait_status; /* after -EPIPE or -ECANCELED: how the process ended that was to run it, as waitpid(2) tells; 0: by
	                  * exit(0), or it did not, or nobody knows how */
	uint64_t private_[2];
};

/*
 * torc_process_call_run - what to submit for a call: torc_submit(executor, torc_process_call_run, call, &f). The future's value is the call's
 * `result`.
 *
 * Suspends    what its function does
 * Thread      any
 */
TORC_API int torc_process_call_run(void *call, void **ret_value);

TORC_END_DECLS

#endif
