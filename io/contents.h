/*
 * io/contents.h - files as a whole: read one, replace one, append to one, copy one.
 *
 *	void *data;
 *	size_t len;
 *
 *	r = torc_read_file(AT_FDCWD, "state", 1 << 20, &data, &len);
 *	if (r < 0)
 *		return r;
 *	...
 *	torc_free_file(data);
 *	r = torc_write_file(AT_FDCWD, "state", text, text_len, 0644);
 *
 * Who opens "state" meanwhile, or after the machine has failed at any moment, finds the old contents or the new ones, whole:
 * they are written to a file of another name beside it, which is synchronised and then renamed. That name begins with
 * ".torc-"; whatever fails, and when the call is cancelled, it is taken away again. Only if the process or the machine dies
 * is it left.
 *
 * The directory has to be readable, since it is opened to be synchronised; it is opened once, so that somebody who renames it
 * does not lead the call elsewhere. A symbolic link of the file's name is replaced, not followed, but when appending.
 *
 * What every call can return, beside what is said with it: what io/file.h lists for paths and for reading and writing,
 * -ECANCELED and -ETIMEDOUT (the scope), -ENOMEM.
 *
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's
 */
#ifndef TORC_IO_CONTENTS_H
#define TORC_IO_CONTENTS_H

#include <fcntl.h>
#include <sys/types.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

/*
 * torc_read_file - all that is in a file; also one of /proc, which does not say how much that is. torc_free_file - its memory back.
 *
 *   @limit     bytes at most: 0 .. PTRDIFF_MAX - 1
 *   @ret_data  *ret_len bytes, and a zero byte behind them, which is not counted; to be freed with torc_free_file
 *
 * Returns     0
 *             -EFBIG    there is more than `limit`
 *             -EISDIR   a directory
 *             -EINVAL   a limit out of its range
 */
TORC_API TORC_MUST_CHECK int torc_read_file(int dirfd, const char *path, size_t limit,
					    void **ret_data, size_t *ret_len);
TORC_API void torc_free_file(void *data);

/*
 * torc_write_file - make these the contents of a file, at once and for good.
 *
 * A regular file that is there keeps its permissions (the lower nine bits), not its owner, other names and attributes.
 *
 *   @mode  permissions of a file that was not there; the umask applies
 *
 * Returns     0            it is on the disk
 *             -ECANCELED, -ETIMEDOUT   the scope: the old contents are untouched. From the rename on it is not cut short
 *             -EISDIR      a directory has that name, or the path ends as one of a directory
 *             -EEXIST      no free name was found for the new file
 *             -EIO, ...    the old contents are untouched; but when the synchronisation of the directory fails in the
 *                          end, the new ones are there, and could be the old ones again after a crash
 */
TORC_API TORC_MUST_CHECK int torc_write_file(int dirfd, const char *path, const void *data,
					     size_t len, mode_t mode);

/*
 * torc_append_file - add to the end of a file, which is created where there is none, and wait until that is on the disk.
 *
 * If only a part can be written, and the file is as long as that leaves it, it is cut off again; with several who append at a
 * time that is not certain, but bytes of others are cut off only if they come at that very moment.
 *
 *   @mode  permissions of a file that is created; the umask applies
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was added, as far as is said above. Once all is written it is not
 *                                      cut short
 *             -ENOSPC, -EFBIG, ...     likewise
 *             -EIO                     also: all is added, and may not be on the disk
 *             -EISDIR                  a directory
 *             -EEXIST                  a symbolic link that leads nowhere
 */
TORC_API TORC_MUST_CHECK int torc_append_file(int dirfd, const char *path, const void *data,
					      size_t len, mode_t mode);

enum torc_copy_flags {
	TORC_COPY_EXCLUSIVE = 1 << 0, /* -EEXIST if there is something of the new name */
	TORC_COPY_DURABLE = 1 << 1,   /* wait until the copy and its name are on the disk */
};

/*
 * torc_copy_file - copy a regular file, with its permissions (the lower nine bits), but not its owner, times and attributes.
 *
 * File systems that can share the data do; otherwise the kernel copies it, or torc does where that does not work.
 * Holes stay holes. The copy gets its name when it is complete, in place of what had it.
 *
 *   @flags  of enum torc_copy_flags
 *
 * Returns     0
 *             -ECANCELED, -ETIMEDOUT   the scope, at the latest after 16 MiB; what has the new name is untouched
 *             -EEXIST   TORC_COPY_EXCLUSIVE; or no free name was found
 *             -EISDIR   either is a directory
 *             -EINVAL   unknown flags; the source is no regular file
 */
TORC_API TORC_MUST_CHECK int torc_copy_file(int from_dirfd, const char *from, int to_dirfd,
					    const char *to, unsigned flags);

TORC_END_DECLS

#endif
