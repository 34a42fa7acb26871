/*
 * io/internal/staged.h - a file that is complete before anybody can see it under its name.
 */
#ifndef TORC_IO_INTERNAL_STAGED_H
#define TORC_IO_INTERNAL_STAGED_H

#include <stdbool.h>
#include <sys/types.h>

/* In the directory that it will stay in, under a name of its own until then. */
struct torc__staged {
	int dir, fd;
	const char *base; /* what it will be called; the end of the caller's path */
	char name[32];    /* what it is called */
};

/* A directory that has `path` in it, to be closed, and the name there. */
int torc__open_parent(int dirfd, const char *path, int *ret_dir, const char **ret_base);

/*
 * A new file, open for writing; then torc__staged_place or torc__staged_drop. Its permissions are `mode`, under the umask, or
 * with `keeps` those of the regular file that it will replace, if there is one.
 * 0, -EEXIST, or as open(2).
 */
int torc__staged_open(struct torc__staged *s, int dirfd, const char *path, mode_t mode, bool keeps);

/* fchmod(2), on another thread. */
int torc__set_mode(int fd, mode_t mode);

enum torc__placing {
	TORC__PLACE_DURABLE = 1 << 0,   /* wait until the directory is on the disk */
	TORC__PLACE_EXCLUSIVE = 1 << 1, /* -EEXIST rather than replace */
};

/*
 * Give it its name. When the scope has ended by then it is dropped; from there on it does not end. It is
 * closed in either case; if it fails without having the name it is dropped.
 */
int torc__staged_place(struct torc__staged *s, unsigned how);

/* Take it away. Never fails, in a cancelled scope neither. */
void torc__staged_drop(struct torc__staged *s);

/* fsync(2) of a directory, unless the file system knows nothing of that. */
int torc__sync_directory(int dir);

#endif
