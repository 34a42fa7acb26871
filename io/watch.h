/*
 * io/watch.h - be told when files and directories change.
 *
 *	struct torc_watch w;
 *	struct torc_watch_event e;
 *
 *	r = torc_watch_open(&w);
 *	if (r < 0)
 *		return r;
 *	r = torc_watch_add(&w, "/etc/app", IN_CLOSE_WRITE | IN_MOVED_TO);
 *	while (r >= 0 && (r = torc_watch_next(&w, &e)) == 0)
 *		if (e.mask & IN_Q_OVERFLOW || !strcmp(e.name, "app.conf"))
 *			reload();
 *	torc_watch_close(&w);
 *
 * Events are hints: look at the file to see how it is now. Several changes may be one event, and one that is not read in time is
 * lost: then there is an event with IN_Q_OVERFLOW, and all that is watched has to be looked at. A watch is on the file, not on its
 * name: to see a file replaced, which is how most programs write their files, watch its directory.
 *
 * Only changes that this machine makes are seen, not those of others on a network file system, nor those of /proc and /sys.
 */
#ifndef TORC_IO_WATCH_H
#define TORC_IO_WATCH_H

#include <sys/inotify.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* Room for events that the kernel has given out: at least 15 with the longest names. */
#define TORC_WATCH_BYTES 4096

/* Caller's memory until it is closed. The fields are private. */
struct torc_watch {
	uint64_t events[TORC_WATCH_BYTES / sizeof(uint64_t)];
	uint32_t at, len;
	int fd;
	bool waiting;
};

struct torc_watch_event {
	int id;          /* what torc_watch_add has returned; -1 with IN_Q_OVERFLOW */
	uint32_t mask;   /* what has happened: IN_*; IN_ISDIR: to a directory in it */
	uint32_t cookie; /* the same in IN_MOVED_FROM and IN_MOVED_TO of one rename; else 0 */
	const char *
		name; /* of the file in the watched directory; "": what is watched itself. Valid until the next call */
	size_t name_len; /* at most 255 */
};

/*
 * torc_watch_open - watch nothing yet.
 *
 * Returns     0
 *             -EMFILE   no descriptor is left, or the user has fs.inotify.max_user_instances already
 *             -ENFILE, -ENOMEM         the machine has none
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             -ENOSYS   in the simulator
 * Suspends    never
 * Thread      a fiber's
 * Source      inotify(7)
 */
TORC_API TORC_MUST_CHECK int torc_watch_open(struct torc_watch *watch);

/*
 * torc_watch_add - watch a file, or a directory and the files directly in it.
 *
 * What is watched already gets the new mask, and keeps its id. On another thread.
 *
 *   @mask  IN_MODIFY, IN_CREATE, ...; with IN_MASK_ADD added to an earlier one
 *
 * Returns     its id, 1 or more
 *             -ENOENT, -ENOTDIR, -EACCES, -ELOOP, -ENAMETOOLONG   the path
 *             -ENOSPC   the user has fs.inotify.max_user_watches already
 *             -EEXIST   IN_MASK_CREATE, and it is watched already
 *             -EINVAL   no event in the mask
 *             -ENOMEM   no memory
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing has changed
 * Suspends    always
 * Thread      a fiber's
 * Source      inotify_add_watch(2)
 */
TORC_API TORC_MUST_CHECK int torc_watch_add(struct torc_watch *watch, const char *path,
					    uint32_t mask);

/*
 * torc_watch_remove - watch it no more. Its last event is IN_IGNORED, after those that have happened already.
 *
 * Does not ask the scope: it is for clean-up too.
 *
 * Returns     0
 *             -EINVAL   no such id: it may have gone by itself, with an IN_IGNORED, when the file was deleted
 * Suspends    never
 * Thread      any
 */
TORC_API int torc_watch_remove(struct torc_watch *watch, int id);

/*
 * torc_watch_next - the next event.
 *
 *   @ret_event  its name is valid until the next call
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope: no event was taken
 * Suspends    if there is none
 * Thread      a fiber's; one at a time
 */
TORC_API TORC_MUST_CHECK int torc_watch_next(struct torc_watch *watch,
					     struct torc_watch_event *ret_event);

/* torc_watch_close - watch nothing any more. No fiber may wait for an event. Never suspends. */
TORC_API void torc_watch_close(struct torc_watch *watch);

TORC_END_DECLS

#endif
