/*
 * http/log.h - an access log: a line for each request, written without any request waiting for the disk.
 *
 *	struct torc_http_log log;
 *
 *	r = torc_http_log_open(&log, &(struct torc_http_log_options){ .path = "access.log" });
 *	...
 *	r = torc_router_use(router, torc_http_log_handle, &log);	first, so that it sees what the others answer
 *	...
 *	r = torc_http_serve(&options);					returns when it has drained
 *	torc_http_log_close(&log);					what was logged is written now
 *
 * Each loop has a buffer of its own and a fiber that writes it. A line is put there when its exchange is over, and goes to the
 * file flush_ns later at the latest.
 *
 * When the file is slower than the traffic, or fails, lines are dropped, never requests delayed, and memory stays what it was: two
 * buffers per loop. How many were dropped is said by torc_http_log_dropped, and in the log itself, by a line in front of
 * the next ones: "# 12 lines dropped", or {"time":"...","dropped":12}. A full disk or an error is told to on_error once, and then
 * again when lines could be written in between.
 *
 * The file is opened to append, and lines of all loops are whole: one of them writes at a time. Other processes may append to the same
 * file; then too lines are whole but where the kernel takes only a part of a write, as a full disk makes it.
 *
 * No client can forge a line, or a field: quotes, backslashes, control characters and what is not UTF-8 are escaped, as \xHH, or
 * in JSON as \u00HH and U+FFFD; in the first two formats all bytes beyond ASCII are. Long fields are cut.
 *
 * A request that was refused before a handler ran, since it was malformed, is not logged.
 */
#ifndef TORC_HTTP_LOG_H
#define TORC_HTTP_LOG_H

#include <torc/core/group.h>
#include <torc/core/sync.h>
#include <torc/http/exchange.h>

TORC_BEGIN_DECLS

enum torc_http_log_format {
	/*
	 * remote - user [02/Jan/2026:15:04:05 +0000] "GET /path?query HTTP/1.1" status bytes "referer" "user agent"
	 * The user is that of torc_http_user (http/auth.h); what there is none of is "-", and so is the status when no answer has begun.
	 */
	TORC_HTTP_LOG_COMBINED,
	TORC_HTTP_LOG_COMMON, /* the same without the last two */
	/*
	 * An object per line: time (RFC 3339, with milliseconds), remote, host, method, path, status (0: no answer has begun), bytes,
	 * duration (microseconds); and where there is one, query, user, referer, user_agent, request_id, route.
	 */
	TORC_HTTP_LOG_JSON,
};

/* Zeroed but for path or fd means the defaults. Bytes are those of the body, as they were sent. */
struct torc_http_log_options {
	const char *path; /* appended to, created; borrowed until _close, for _reopen. NULL: fd */
	int fd;           /* borrowed: a pipe, a terminal, standard error; not in O_NONBLOCK mode */
	unsigned mode;    /* of a new file; default 0640 */
	enum torc_http_log_format format;
	size_t buffer_bytes; /* of each of a loop's two buffers, 4 KiB .. 64 MiB; default 256 KiB */
	uint64_t flush_ns;   /* the most that a line waits for more; default 100 ms */
	uint64_t write_ns;   /* for the file to take a buffer; then it is dropped; default 10 s */
	/*
	 * The log fails: a negative errno; -ETIMEDOUT: write_ns. In a fiber of any loop, one at a time, which writes nothing before it returns.
	 * May be NULL.
	 */
	void (*on_error)(int error, void *arg);
	void *arg;
};

struct torc__log_lane;

/* Caller's memory from _open to _close. The fields are private. */
struct torc_http_log {
	struct torc_http_log_options options;
	struct torc_group writers;
	struct torc_latch started;
	struct torc_mutex turn; /* who writes, or changes what follows */
	int fd;
	bool torn;                    /* the file ends in the middle of a line */
	bool failing;                 /* and on_error knows */
	bool closing;                 /* atomic */
	int unstarted;                /* atomic: the error of a writer that could not be started */
	struct torc__log_lane *lanes; /* [torc_loop_count()] */
};

/*
 * torc_http_log_open - open the file, and start a writer on each loop.
 *
 * It opens a group in the calling fiber (core/group.h), which _close leaves: scopes and groups that are entered in between are left
 * before it. A cancellation of that fiber does not end the writers.
 *
 *   @options  copied; what it points to is borrowed
 *
 * Returns     0
 *             -EINVAL   an option out of range
 *             -ENOMEM, -EAGAIN   no memory, or no room for a fiber
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was opened
 *             or as torc_open
 * Suspends    yes
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_http_log_open(struct torc_http_log *log,
						const struct torc_http_log_options *options);

/*
 * torc_http_log_close - write what was logged, end the writers, and close the file; in a cancelled scope too. When no request
 * is logged any more: after torc_http_serve has returned.
 *
 * Suspends    until all is written, or write_ns has passed in vain, twice for each loop at the worst
 * Thread      the fiber that has opened it
 */
TORC_API void torc_http_log_close(struct torc_http_log *log);

/*
 * torc_http_log_handle - the step: a torc_http_fn. It never fails by itself, and does not wait.
 *
 *   @log  a struct torc_http_log
 *
 * Returns     as torc_http_next
 * Suspends    as that
 * Thread      the handler's fiber
 */
TORC_API TORC_MUST_CHECK int torc_http_log_handle(struct torc_http_exchange *x, void *log);

/*
 * torc_http_log_flush - wait until all that was logged before is written, or dropped.
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope; it will be written all the same
 *             -ENOMEM, -EAGAIN         no room for a fiber on each loop
 * Suspends    yes
 * Thread      a fiber's of any loop, while the log is open
 */
TORC_API TORC_MUST_CHECK int torc_http_log_flush(struct torc_http_log *log);

/*
 * torc_http_log_reopen - open the path anew, since the file that it was has been renamed (logrotate): on SIGHUP, say (io/signal.h). Lines
 * that are buffered go to the new one; when it returns, nothing is written to the old one any more.
 *
 * Returns     0         also where the log has no path
 *             -ECANCELED, -ETIMEDOUT   the scope; the old one stays
 *             or as torc_open: the old one stays
 * Suspends    yes
 * Thread      a fiber's of any loop, while the log is open
 */
TORC_API TORC_MUST_CHECK int torc_http_log_reopen(struct torc_http_log *log);

/* torc_http_log_dropped - lines that were dropped so far, on all loops. Never suspends. Any thread, while the log is open. */
TORC_API uint64_t torc_http_log_dropped(const struct torc_http_log *log);

TORC_END_DECLS

#endif
