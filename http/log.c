/*
 * http/log.c - the access log: buffers, writers, the file. http/log_line.c makes the lines.
 */
#include <torc/http/log.h>

#include <errno.h>
#include <string.h>

#include <torc/core/run.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/system.h"
#include "http/internal/log.h"

#define BUFFER_MIN ((size_t)4096)
#define BUFFER_MAX ((size_t)64 << 20)

#define FLUSH_NS TORC_MS(100)
#define WRITE_NS TORC_SECONDS(10)

#define NOTE_BYTES 128

/* --- the file: in turn --- */

static uint64_t count_lines(const char *data, size_t len)
{
	uint64_t lines = 0;
	const char *end = data + len;

	while ((data = memchr(data, '\n', (size_t)(end - data)))) {
		lines++;
		data++;
	}
	return lines;
}

/* How much of it the file has taken is added to *done: also when it fails. */
static int put(struct torc_http_log *log, const char *data, size_t len, size_t *done)
{
	while (*done < len) {
		int r = torc_write(log->fd, data + *done, len - *done);

		if (r <= 0)
			return r ? r : -EIO;
		*done += (size_t)r;
		log->torn = data[*done - 1] != '\n';
	}
	return 0;
}

/* The rest of a line that was cut is gone: the next one must not look like it. */
static int mend(struct torc_http_log *log)
{
	size_t done = 0;

	return log->torn ? put(log, "\n", 1, &done) : 0;
}

static int put_note(struct torc__log_lane *lane)
{
	uint64_t dropped = lane->dropped;
	char note[NOTE_BYTES];
	size_t done = 0, len;
	int r;

	if (dropped == lane->told)
		return 0;
	len = torc__log_note(lane, dropped - lane->told, note, sizeof(note));
	r = put(lane->log, note, len, &done);
	if (!r)
		lane->told = dropped;
	return r;
}

static int put_all(struct torc__log_lane *lane, size_t len, size_t *done)
{
	int r = mend(lane->log);

	if (!r)
		r = put_note(lane);
	return r ? r : put(lane->log, lane->writing, len, done);
}

static void report(struct torc_http_log *log, int error)
{
	if (error && !log->failing && log->options.on_error)
		log->options.on_error(error, log->options.arg);
	log->failing = error != 0;
}

/* A file that takes nothing must not hold up the others, nor the end, for ever. */
static void write_in_turn(struct torc__log_lane *lane, size_t len)
{
	struct torc_http_log *log = lane->log;
	struct torc_scope scope;
	size_t done = 0;
	int r;

	torc_scope_enter(&scope, log->options.write_ns);
	r = torc_mutex_lock(&log->turn);
	if (!r) {
		r = put_all(lane, len, &done);
		report(log, r);
		torc_mutex_unlock(&log->turn);
	}
	torc_scope_leave(&scope);
	if (r < 0)
		torc__http_count(&lane->dropped, count_lines(lane->writing + done, len - done));
}

/* --- a lane's writer --- */

static bool is_closing(const struct torc_http_log *log)
{
	return __atomic_load_n(&log->closing, __ATOMIC_ACQUIRE);
}

/* Is there no reason to wait for more? */
static bool is_due(const struct torc__log_lane *lane)
{
	return lane->len >= lane->capacity / 2 || lane->flushing || is_closing(lane->log);
}

static void rest(struct torc__log_lane *lane, enum torc__log_rest how)
{
	lane->rest = how;
	(void)!torc_event_wait(&lane->wake); /* fails when it has gathered for long enough */
	lane->rest = TORC__LOG_WORKS;
}

/* `wake` is cleared before what it is about is looked at. Returns whether there is something. */
static bool await_lines(struct torc__log_lane *lane)
{
	struct torc_scope scope;

	torc_event_clear(&lane->wake);
	while (!lane->len && !is_closing(lane->log)) {
		rest(lane, TORC__LOG_IDLE);
		torc_event_clear(&lane->wake);
	}
	if (!is_due(lane)) {
		torc_scope_enter(&scope, lane->log->options.flush_ns);
		rest(lane, TORC__LOG_GATHERS);
		torc_scope_leave(&scope);
	}
	return lane->len;
}

static void write_lines(struct torc__log_lane *lane)
{
	size_t len = lane->len;
	char *data = lane->filling;

	lane->filling = lane->writing;
	lane->writing = data;
	lane->len = 0;
	write_in_turn(lane, len);
	lane->written += len;
	if (lane->flushing) {
		torc_event_set(&lane->progress);
		torc_event_clear(&lane->progress);
	}
}

static int writer_main(void *arg)
{
	struct torc__log_lane *lane = arg;
	struct torc_scope shield;

	torc_latch_count_down(&lane->log->started);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	while (await_lines(lane))
		write_lines(lane);
	if (lane->dropped != lane->told)
		write_in_turn(lane, 0);
	torc_scope_leave(&shield);
	return 0;
}

static void writer_unstarted(void *arg, int error)
{
	struct torc_http_log *log = ((struct torc__log_lane *)arg)->log;

	__atomic_store_n(&log->unstarted, error, __ATOMIC_RELAXED);
	torc_latch_count_down(&log->started);
}

/* --- open and close --- */

static int fill_in(struct torc_http_log *log, const struct torc_http_log_options *options)
{
	struct torc_http_log_options *o = &log->options;

	*log = (struct torc_http_log){ .options = *options, .fd = -1 };
	o->mode = o->mode ? o->mode : 0640;
	o->buffer_bytes = o->buffer_bytes ? o->buffer_bytes : 4 * ((size_t)64 << 10);
	o->flush_ns = o->flush_ns ? o->flush_ns : FLUSH_NS;
	o->write_ns = o->write_ns ? o->write_ns : WRITE_NS;
	if (o->buffer_bytes < BUFFER_MIN || o->buffer_bytes > BUFFER_MAX ||
	    o->format > TORC_HTTP_LOG_JSON || (!o->path && o->fd < 0))
		return -EINVAL;
	return 0;
}

static void free_lanes(struct torc_http_log *log)
{
	for (int i = 0; log->lanes && i < torc_loop_count(); i++) {
		struct torc__log_lane *lane = &log->lanes[i];

		torc_event_done(&lane->wake);
		torc_event_done(&lane->progress);
		torc__free(lane->filling);
		torc__free(lane->writing);
	}
	torc__free(log->lanes);
	log->lanes = NULL;
}

static int make_lanes(struct torc_http_log *log)
{
	size_t count = (size_t)torc_loop_count(), bytes = log->options.buffer_bytes;
	int r = 0;

	log->lanes = torc__alloc_lines(count * sizeof(*log->lanes));
	if (!log->lanes)
		return -ENOMEM;
	memset(log->lanes, 0, count * sizeof(*log->lanes));
	for (size_t i = 0; i < count; i++) {
		struct torc__log_lane *lane = &log->lanes[i];

		lane->log = log;
		lane->capacity = bytes;
		torc_event_init(&lane->wake);
		torc_event_init(&lane->progress);
		lane->filling = torc__malloc(bytes);
		lane->writing = torc__malloc(bytes);
		if (!lane->filling || !lane->writing)
			r = -ENOMEM;
	}
	return r;
}

static int open_file(const struct torc_http_log_options *o)
{
	return torc_open(o->path, O_WRONLY | O_APPEND | O_CREAT | O_NOCTTY, o->mode);
}

static void close_file(struct torc_http_log *log)
{
	int r = log->options.path && log->fd >= 0 ? torc_close_wait(log->fd) : 0;

	if (r < 0)
		report(log, r);
}

static int spawn_writers(struct torc_http_log *log)
{
	int r = 0, count = torc_loop_count();

	for (int i = 0; i < count; i++) {
		struct torc_spawn_options o = {
			.name = "access log",
			.loop = TORC_ON_LOOP(i),
			.unstarted = writer_unstarted,
		};

		if (!r)
			r = torc_group_spawn_with(&log->writers, &o, writer_main, &log->lanes[i]);
		if (r < 0)
			torc_latch_count_down(&log->started);
	}
	return r;
}

static int start_writers(struct torc_http_log *log)
{
	struct torc_scope shield;
	int r;

	torc_latch_init(&log->started, (uint32_t)torc_loop_count());
	torc_mutex_init(&log->turn);
	torc_group_enter(&log->writers);
	r = spawn_writers(log);
	torc_scope_enter_shield(&shield, TORC_NEVER);
	(void)!torc_latch_wait(&log->started);
	torc_scope_leave(&shield);
	return r ? r : __atomic_load_n(&log->unstarted, __ATOMIC_RELAXED);
}

int torc_http_log_open(struct torc_http_log *log, const struct torc_http_log_options *options)
{
	int r = fill_in(log, options);

	if (r < 0)
		return r;
	r = log->options.path ? open_file(&log->options) : torc_scope_status();
	if (r < 0)
		return r;
	log->fd = log->options.path ? r : log->options.fd;
	r = make_lanes(log);
	if (r < 0) {
		close_file(log);
		free_lanes(log);
		return r;
	}
	r = start_writers(log);
	if (r < 0)
		torc_http_log_close(log);
	return r;
}

void torc_http_log_close(struct torc_http_log *log)
{
	__atomic_store_n(&log->closing, true, __ATOMIC_RELEASE);
	for (int i = 0; i < torc_loop_count(); i++)
		torc_event_set(&log->lanes[i].wake);
	torc_group_wait(&log->writers);
	close_file(log);
	torc_latch_done(&log->started);
	torc_mutex_done(&log->turn);
	free_lanes(log);
}

/* --- flush and reopen --- */

static int flush_lane(void *arg)
{
	struct torc__log_lane *lane = arg;
	uint64_t all = lane->added;
	int r = torc_scope_status();

	lane->flushing++;
	if (lane->rest == TORC__LOG_GATHERS)
		torc_event_set(&lane->wake);
	while (!r && lane->written < all)
		r = torc_event_wait(&lane->progress);
	lane->flushing--;
	return r;
}

int torc_http_log_flush(struct torc_http_log *log)
{
	struct torc_group group;
	int r = torc_scope_status(), ended;

	if (r < 0)
		return r;
	torc_group_enter(&group);
	for (int i = 0; !r && i < torc_loop_count(); i++) {
		struct torc_spawn_options o = { .name = "log flush", .loop = TORC_ON_LOOP(i) };

		r = torc_group_spawn_with(&group, &o, flush_lane, &log->lanes[i]);
	}
	ended = torc_group_wait(&group);
	return r ? r : ended;
}

int torc_http_log_reopen(struct torc_http_log *log)
{
	int fd, old, r;

	if (!log->options.path)
		return 0;
	fd = open_file(&log->options);
	if (fd < 0)
		return fd;
	r = torc_mutex_lock(&log->turn);
	if (r < 0) {
		torc_close(fd);
		return r;
	}
	old = log->fd;
	log->fd = fd;
	log->torn = false;
	torc_mutex_unlock(&log->turn);
	(void)torc_close_wait(old);
	return 0;
}

uint64_t torc_http_log_dropped(const struct torc_http_log *log)
{
	uint64_t sum = 0;

	for (int i = 0; i < torc_loop_count(); i++)
		sum += __atomic_load_n(&log->lanes[i].dropped, __ATOMIC_RELAXED);
	return sum;
}

/* --- the step --- */

struct pending {
	struct torc_http_log *log;
	struct torc__log_entry entry;
};

static void wake_writer(struct torc__log_lane *lane)
{
	if (lane->rest == TORC__LOG_IDLE ||
	    (lane->rest == TORC__LOG_GATHERS && lane->len >= lane->capacity / 2)) {
		lane->rest = TORC__LOG_WORKS;
		torc_event_set(&lane->wake);
	}
}

static void log_line(void *arg)
{
	struct pending *p = arg;
	struct torc__log_lane *lane = &p->log->lanes[torc_loop_index()];
	size_t len;

	p->entry.end_ns = torc_now_ns();
	len = torc__log_line(lane, &p->entry, lane->filling + lane->len,
			     lane->capacity - lane->len);
	lane->len += len;
	lane->added += len;
	if (torc__unlikely(!len))
		torc__http_count(&lane->dropped, 1);
	wake_writer(lane);
}

int torc_http_log_handle(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_log *log = arg;
	struct pending *p = torc_http_alloc(x, sizeof(*p));

	if (torc__likely(p != NULL)) {
		*p = (struct pending){ log, { x, torc_now_ns(), 0 } };
		(void)torc__http_peer(x); /* later it may have gone */
	}
	if (torc__unlikely(!p || torc_http_defer(x, log_line, p) < 0))
		torc__http_count(&log->lanes[torc_loop_index()].dropped, 1);
	return torc_http_next(x);
}
