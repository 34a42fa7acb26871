#include <torc/io/watch.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <torc/core/sys.h>
#include <torc/executor/offload.h>
#include <torc/io/poll.h>

#include "core/internal/fiber.h"
#include "io/internal/call.h"

_Static_assert(TORC_WATCH_BYTES >= sizeof(struct inotify_event) + NAME_MAX + 1,
	       "read(2) fails where the longest event has no room");

int torc_watch_open(struct torc_watch *w)
{
	int r = torc__scope_check(torc__self());

	if (r < 0)
		return r;
	if (!torc__on_linux())
		return -ENOSYS;
	r = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (r < 0)
		return -errno;
	w->fd = r;
	w->at = w->len = 0;
	w->waiting = false;
	return 0;
}

/* --- what to watch --- */

struct request {
	int fd;
	const char *path;
	uint32_t mask;
};

static int add(void *arg)
{
	const struct request *q = arg;
	int r = inotify_add_watch(q->fd, q->path, q->mask);

	return r < 0 ? -errno : r;
}

/* A path may lead to a disk. */
int torc_watch_add(struct torc_watch *w, const char *path, uint32_t mask)
{
	struct request q = { w->fd, path, mask };

	return torc_offload(add, &q);
}

int torc_watch_remove(struct torc_watch *w, int id)
{
	return inotify_rm_watch(w->fd, id) < 0 ? -errno : 0;
}

/* --- events --- */

static int wait_ready(struct torc_watch *w)
{
	int r;

	torc__check(!w->waiting, "two fibers wait for the events of one watch");
	w->waiting = true;
	r = torc_poll(w->fd, POLLIN);
	w->waiting = false;
	return r;
}

/* Not through the ring: older kernels leave a read that has to wait, of a file such as this, to a thread. */
static int fill(struct torc_watch *w)
{
	ssize_t n;
	int r;

	while ((n = read(w->fd, w->events, sizeof(w->events))) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_ready(w);
		if (r < 0)
			return r;
	}
	w->at = 0;
	w->len = (uint32_t)n;
	return 0;
}

static void take(struct torc_watch *w, struct torc_watch_event *ret)
{
	const char *p = (const char *)w->events + w->at;
	struct inotify_event e;

	memcpy(&e, p, sizeof(e));
	w->at += (uint32_t)sizeof(e) + e.len;
	*ret = (struct torc_watch_event){
		.id = e.wd, .mask = e.mask, .cookie = e.cookie, .name = e.len ? p + sizeof(e) : ""
	};
	ret->name_len = strlen(ret->name); /* it is padded with zero bytes */
}

int torc_watch_next(struct torc_watch *w, struct torc_watch_event *ret_event)
{
	int r = torc__scope_check(torc__self());

	if (!r && w->at == w->len)
		r = fill(w);
	if (r < 0)
		return r;
	take(w, ret_event);
	return 0;
}

void torc_watch_close(struct torc_watch *w)
{
	torc__check(!w->waiting, "a watch is closed while a fiber waits for its events");
	torc_sys_close(w->fd);
	w->fd = -1;
}
