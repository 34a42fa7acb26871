/*
 * io/directory.h - what is in a directory, and in all those below it.
 *
 *	struct torc_directory d;
 *	struct torc_directory_entry e;
 *
 *	r = torc_directory_open(&d, AT_FDCWD, "spool");
 *	if (r < 0)
 *		return r;
 *	while ((r = torc_directory_next(&d, &e)) > 0)
 *		take(torc_directory_fd(&d), e.name);
 *	torc_directory_close(&d);
 *
 * and of a whole tree:
 *
 *	static int count(const struct torc_walk_entry *e, void *arg)
 *	{
 *		if (e->type == DT_DIR && e->name[0] == '.')
 *			return TORC_WALK_SKIP;
 *		*(unsigned *)arg += e->type == DT_REG;
 *		return TORC_WALK_ON;
 *	}
 *
 *	r = torc_walk(AT_FDCWD, "src", NULL, count, &files);
 *
 * What is found is opened by its directory's descriptor and its name, never by the path: between the look and the open
 * somebody may have put a symbolic link in the way. A path is for messages.
 */
#ifndef TORC_IO_DIRECTORY_H
#define TORC_IO_DIRECTORY_H

#include <dirent.h>
#include <fcntl.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/* --- one directory --- */

/* Caller's memory. The fields are private. */
struct torc_directory {
	char *batch;       /* what the kernel told of last, 32 KiB at most */
	uint32_t at, len;  /* the next entry there; bytes that are used */
	int32_t fd, error; /* error: told once the batch is used up */
	bool ended;        /* the batch is the last */
};

struct torc_directory_entry {
	const char *name; /* valid until the next call for this directory */
	uint64_t inode;   /* where something is mounted: of what is below it */
	unsigned char
		type; /* DT_REG, DT_DIR, DT_LNK, ...; DT_UNKNOWN: the file system does not say; see torc_statx */
};

/*
 * torc_directory_open - open a directory to read what is in it.
 *
 *   @d      to be closed, if this succeeds
 *   @dirfd  the directory that a relative path begins at, or AT_FDCWD
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing is open
 *             -ENOTDIR                 not a directory
 *             -ENOENT, -EACCES, -EMFILE, ...   as torc_openat
 *             -ENOMEM                  no memory
 * Suspends    always
 * Thread      a fiber's
 * Source      openat(2)
 */
TORC_API TORC_MUST_CHECK int torc_directory_open(struct torc_directory *d, int dirfd,
						 const char *path);

/*
 * torc_directory_next - the next entry; "." and ".." are left out.
 *
 * The order is the file system's. What is created or removed meanwhile may be told of or not; all else is told of once. After
 * an error the next call tries again from there.
 *
 *   @ret_entry  written when there is one
 *
 * Returns     1
 *             0         there is none left
 *             -ECANCELED, -ETIMEDOUT   the scope: no entry is passed over
 *             -ENOENT   the directory was removed
 *             -EIO      the device failed, or names that make no sense
 *             -EAGAIN, -ENOMEM   as torc_offload
 * Suspends    once for some hundred entries, while another thread asks for them
 * Thread      a fiber's; one at a time
 * Source      getdents64(2)
 */
TORC_API TORC_MUST_CHECK int torc_directory_next(struct torc_directory *d,
						 struct torc_directory_entry *ret_entry);

/* torc_directory_fd - its descriptor, to open by it what was found. Borrowed until it is closed. */
static inline int torc_directory_fd(const struct torc_directory *d)
{
	return d->fd;
}

/*
 * torc_directory_close - always takes effect, in a cancelled scope too.
 *
 * Suspends    never
 * Thread      a fiber's of the same loop
 */
TORC_API void torc_directory_close(struct torc_directory *d);

/* --- a tree --- */

/*
 * Directories that are entered into each other at most. Each that is takes a descriptor and 32 KiB, and gives them back
 * when the walk leaves it.
 */
#define TORC_WALK_DEPTH 128

/* What to do after a visit. */
enum torc_walk_verdict {
	TORC_WALK_ON = 0,
	TORC_WALK_SKIP = 1, /* do not enter this directory; of anything else it means nothing */
	TORC_WALK_STOP = 2, /* the walk is over */
};

/* Valid during the visit. */
struct torc_walk_entry {
	int dirfd;        /* the directory that it is in; borrowed */
	const char *name; /* in there */
	const char *path; /* from the tree's root, without it: "a/b" */
	uint64_t inode;
	unsigned depth;     /* 1: in the root itself */
	unsigned char type; /* as of struct torc_directory_entry, and never DT_UNKNOWN */
	bool after;         /* a directory, once all that is in it was visited */
	int error;          /* why a directory could not be read: with `report_errors` */
};

/* Returns an enum torc_walk_verdict, or a negative errno: the walk is over. It may suspend. */
typedef int torc_walk_fn(const struct torc_walk_entry *entry, void *arg);

/* Zeroed means the defaults. */
struct torc_walk_options {
	unsigned
		depth_max; /* directories of this depth are not entered; 0: down to TORC_WALK_DEPTH */
	bool after;        /* visit each directory that was entered once more, when it is left */
	bool one_file_system; /* do not enter what is mounted in the tree */
	/* A directory that cannot be read is visited again, with `error`, and the walk goes on unless that returns
	 * something else. Default: the walk ends with that error. */
	bool report_errors;
};

/*
 * torc_walk - visit all that is in a directory, and in the directories in it, depth first: each directory is visited, then what
 * is in it.
 *
 * Symbolic links are visited and never followed, not even those that take a directory's place meanwhile. What vanishes
 * meanwhile is passed over.
 *
 *   @path     the root; may lead by symbolic links, but not be one: add a "/" for what that leads to. It is not visited itself
 *   @options  may be NULL
 *
 * Returns     0
 *             1         a visit said TORC_WALK_STOP
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             -ELOOP    deeper than TORC_WALK_DEPTH, and no depth_max keeps it from there
 *             -ENOMEM, -EMFILE, ...    as torc_directory_open and torc_directory_next; or what a visit returned
 * Suspends    always
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_walk(int dirfd, const char *path,
				       const struct torc_walk_options *options, torc_walk_fn *fn,
				       void *arg);

/*
 * torc_remove_tree - remove a file, or a directory with all that is in it, however deep.
 *
 * Nothing is removed but what was in there: no symbolic link is followed, whoever puts one into the tree meanwhile. What
 * others put there meanwhile is removed too.
 *
 * After an error a part is removed. A tree of more than TORC_WALK_DEPTH directories into each other is taken apart:
 * deeper ones are moved up first.
 *
 *   @path  may lead by symbolic links; if it is one, that is removed. Its last part is a name, not "." or ".."
 *
 * Returns     0
 *             -ENOENT   there is nothing of that name
 *             -EINVAL   the root directory, ".", or "..": nothing is removed
 *             -ECANCELED, -ETIMEDOUT   the scope
 *             -ENOTEMPTY   something is put there as fast as it is removed, or cannot be seen
 *             -EACCES, -EPERM, -EBUSY, -EROFS, ...   as torc_walk and torc_unlinkat, of anything in there
 * Suspends    always
 * Thread      a fiber's
 */
TORC_API TORC_MUST_CHECK int torc_remove_tree(int dirfd, const char *path);

TORC_END_DECLS

#endif
