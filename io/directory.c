#include <torc/io/directory.h>

#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/sys.h>
#include <torc/executor/offload.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "core/internal/system.h"

/* What is asked for at once, and what one entry takes at most, with names of 4 KiB, of which there are none. */
#define BATCH_BYTES 32768u
#define ENTRY_BYTES 4352u

/* --- one directory --- */

/* Takes over the descriptor, also when it fails. */
static int begin(struct torc_directory *d, int fd)
{
	*d = (struct torc_directory){ .fd = fd, .batch = torc__malloc(BATCH_BYTES) };
	if (d->batch)
		return 0;
	torc_close(fd);
	return -ENOMEM;
}

int torc_directory_open(struct torc_directory *d, int dirfd, const char *path)
{
	int fd = torc_openat(dirfd, path, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 ? fd : begin(d, fd);
}

void torc_directory_close(struct torc_directory *d)
{
	torc_close(d->fd);
	torc__free(d->batch);
	d->batch = NULL;
}

static int ask(struct torc_directory *d)
{
	int r;

	do
		r = torc_sys_getdents(d->fd, d->batch + d->len, BATCH_BYTES - d->len);
	while (r == -EINTR);
	return r;
}

/*
 * On another thread. A small directory is read to its end in one go: the last question, which finds nothing, is worth no
 * second journey.
 */
static int fill(void *arg)
{
	struct torc_directory *d = arg;
	int r;

	d->at = d->len = 0;
	while ((r = ask(d)) > 0) {
		d->len += (uint32_t)r;
		if (d->len > BATCH_BYTES - ENTRY_BYTES)
			return 0;
	}
	d->ended = r == 0;
	return d->len ? 0 : r; /* an error comes again when what is there has been used */
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static bool take(struct torc_directory *d, struct torc_directory_entry *ret_entry)
{
	while (d->at < d->len) {
		const struct dirent64 *e =
			(const struct dirent64 *)(const void *)(d->batch + d->at);

		d->at += e->d_reclen;
		if (is_dot(e->d_name))
			continue;
		*ret_entry = (struct torc_directory_entry){ e->d_name, e->d_ino, e->d_type };
		return true;
	}
	return false;
}

int torc_directory_next(struct torc_directory *d, struct torc_directory_entry *ret_entry)
{
	int r = torc__scope_check(torc__self());

	while (!r) {
		if (take(d, ret_entry))
			return 1;
		if (d->ended)
			return 0;
		r = torc_offload(fill, d);
	}
	return r;
}

/* --- a tree --- */

/* A directory that was entered. */
struct level {
	struct torc_directory d;
	size_t path_len; /* of its own path */
	uint64_t inode;
};

struct walk {
	struct torc_walk_options options;
	torc_walk_fn *fn;
	void *arg;
	struct level *levels; /* [TORC_WALK_DEPTH] */
	unsigned depth;       /* of them are open */
	char *path;           /* of what is visited */
	size_t path_capacity;
};

/* path becomes the first `len` bytes of it and the name. */
static int set_path(struct walk *w, size_t len, const char *name)
{
	size_t name_len = strlen(name), needed = len + 1 + name_len + 1;

	if (needed > w->path_capacity) {
		size_t capacity = 2 * needed + 256;
		char *path = torc__realloc(w->path, capacity);

		if (!path)
			return -ENOMEM;
		w->path = path;
		w->path_capacity = capacity;
	}
	if (len)
		w->path[len++] = '/';
	memcpy(w->path + len, name, name_len + 1);
	return 0;
}

/* Of what `path` names, in the directory on top. */
static struct torc_walk_entry entry_of(const struct walk *w, unsigned char type, uint64_t inode)
{
	const struct level *in = &w->levels[w->depth - 1];

	return (struct torc_walk_entry){
		.dirfd = in->d.fd,
		.name = w->path + in->path_len + (in->path_len > 0),
		.path = w->path,
		.inode = inode,
		.depth = w->depth,
		.type = type,
	};
}

/* Only links and others in between are meant: it was a directory a moment ago. */
static bool has_vanished(int error)
{
	return error == -ENOENT || error == -ENOTDIR || error == -ELOOP;
}

static int report(struct walk *w, int error)
{
	struct torc_walk_entry e;

	if (error == -ECANCELED || error == -ETIMEDOUT || !w->options.report_errors)
		return error;
	e = entry_of(w, DT_DIR, 0);
	e.error = error;
	return w->fn(&e, w->arg);
}

static int open_level(const struct walk *w, int dirfd, const char *name)
{
	const struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = w->options.one_file_system && w->depth ? RESOLVE_NO_XDEV : 0,
	};

	return torc_openat2(dirfd, name, &how);
}

static int push(struct walk *w, int fd, size_t path_len, uint64_t inode)
{
	struct level *l = &w->levels[w->depth];
	int r = begin(&l->d, fd);

	if (r < 0)
		return r;
	l->path_len = path_len;
	l->inode = inode;
	w->depth++;
	return 0;
}

static int enter(struct walk *w, const struct torc_walk_entry *e)
{
	int fd;

	if (w->options.depth_max && e->depth >= w->options.depth_max)
		return 0;
	if (w->depth == TORC_WALK_DEPTH)
		return report(w, -ELOOP);
	fd = open_level(w, e->dirfd, e->name);
	if (has_vanished(fd) || (fd == -EXDEV && w->options.one_file_system))
		return 0;
	return fd < 0 ? report(w, fd) : push(w, fd, strlen(w->path), e->inode);
}

/* The one on top is left: is it to be visited once more? */
static int leave(struct walk *w)
{
	struct level *l = &w->levels[--w->depth];
	struct torc_walk_entry e;

	torc_directory_close(&l->d);
	if (!w->depth || !w->options.after)
		return 0;
	w->path[l->path_len] = '\0';
	e = entry_of(w, DT_DIR, l->inode);
	e.after = true;
	return w->fn(&e, w->arg);
}

/* It could not be read to its end. */
static int give_up(struct walk *w, int error)
{
	struct level *l = &w->levels[w->depth - 1];

	if (error == -ENOENT)
		return leave(w);
	if (w->depth == 1)
		return error;
	w->depth--;
	torc_directory_close(&l->d);
	w->path[l->path_len] = '\0';
	return report(w, error);
}

static int find_type(int dirfd, const char *name, unsigned char *ret_type)
{
	struct statx st;
	int r = torc_statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &st);

	if (!r)
		*ret_type = (unsigned char)((st.stx_mode & S_IFMT) >> 12);
	return r;
}

static int visit(struct walk *w, const struct torc_directory_entry *found)
{
	struct level *in = &w->levels[w->depth - 1];
	unsigned char type = found->type;
	struct torc_walk_entry e;
	int r = 0;

	if (type == DT_UNKNOWN)
		r = find_type(in->d.fd, found->name, &type);
	if (r)
		return r == -ENOENT ? 0 : r;
	r = set_path(w, in->path_len, found->name);
	if (r)
		return r;
	e = entry_of(w, type, found->inode);
	r = w->fn(&e, w->arg);
	return r == TORC_WALK_ON && type == DT_DIR ? enter(w, &e) : r;
}

static int step(struct walk *w)
{
	struct torc_directory_entry found;
	int r = torc_directory_next(&w->levels[w->depth - 1].d, &found);

	if (r < 0)
		return give_up(w, r);
	return r ? visit(w, &found) : leave(w);
}

static int go(struct walk *w, int fd)
{
	int r = push(w, fd, 0, 0);

	while (w->depth && r >= 0 && r != TORC_WALK_STOP)
		r = step(w);
	while (w->depth)
		torc_directory_close(&w->levels[--w->depth].d);
	return r < 0 ? r : r == TORC_WALK_STOP;
}

int torc_walk(int dirfd, const char *path, const struct torc_walk_options *options,
	      torc_walk_fn *fn, void *arg)
{
	struct walk w = { .fn = fn, .arg = arg };
	int r;

	if (options)
		w.options = *options;
	w.levels = torc__calloc(TORC_WALK_DEPTH, sizeof(*w.levels));
	if (!w.levels)
		return -ENOMEM;
	r = open_level(&w, dirfd, path);
	if (r >= 0)
		r = go(&w, r);
	torc__free(w.path);
	torc__free(w.levels);
	return r;
}

/* --- removal --- */

struct removal {
	int root; /* where to move what is too deep */
	unsigned moved;
	bool progress;
};

/* What is in the way is removed sooner or later. */
static int move_up(struct removal *rm, const struct torc_walk_entry *e)
{
	char name[32];
	int r;

	do {
		snprintf(name, sizeof(name), ".torc-deep-%u", rm->moved++);
		r = torc_renameat2(e->dirfd, e->name, rm->root, name, 0);
	} while (r == -EEXIST || r == -ENOTEMPTY || r == -ENOTDIR);
	rm->progress |= !r;
	return r && r != -ENOENT ? r : TORC_WALK_SKIP;
}

/*
 * Whatever has become something else since it was looked at is left for the next round, and so is a directory that
 * something was put into.
 */
static bool is_for_later(int error)
{
	return error == -ENOENT || error == -EISDIR || error == -ENOTDIR || error == -ENOTEMPTY ||
	       error == -EEXIST;
}

static int remove_entry(const struct torc_walk_entry *e, void *arg)
{
	struct removal *rm = arg;
	int r;

	if (e->type == DT_DIR && !e->after)
		return e->depth < TORC_WALK_DEPTH ? TORC_WALK_ON : move_up(rm, e);
	r = torc_unlinkat(e->dirfd, e->name, e->after ? AT_REMOVEDIR : 0);
	rm->progress |= !r;
	return is_for_later(r) ? 0 : r;
}

static int remove_directory(int dirfd, const char *path)
{
	const struct torc_walk_options o = { .after = true };
	struct removal rm = { .root = torc_openat(dirfd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW,
						  0) };
	int r;

	if (rm.root < 0)
		return rm.root;
	do {
		rm.progress = false;
		r = torc_walk(rm.root, ".", &o, remove_entry, &rm);
		if (!r)
			r = torc_unlinkat(dirfd, path, AT_REMOVEDIR);
	} while (rm.progress && (r == -ENOTEMPTY || r == -EEXIST));
	torc_close(rm.root);
	return r == -EEXIST ? -ENOTEMPTY : r;
}

/* Without the slashes at its end, which would follow a link. NULL: no memory. */
static char *without_slashes(const char *path)
{
	size_t len = strlen(path);
	char *copy;

	while (len && path[len - 1] == '/')
		len--;
	copy = torc__malloc(len + 1);
	if (!copy)
		return NULL;
	memcpy(copy, path, len);
	copy[len] = '\0';
	return copy;
}

static bool names_nothing(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !*path || is_dot(slash ? slash + 1 : path);
}

int torc_remove_tree(int dirfd, const char *path)
{
	char *copy;
	int r;

	if (!*path)
		return -ENOENT;
	copy = without_slashes(path);
	if (!copy)
		return -ENOMEM;
	r = names_nothing(copy) ? -EINVAL : torc_unlinkat(dirfd, copy, 0);
	if (r == -EISDIR)
		r = remove_directory(dirfd, copy);
	torc__free(copy);
	return r;
}
