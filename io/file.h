/*
 * io/file.h - files and directories: the system calls of those names, as blocking calls of a fiber.
 *
 *	int fd = torc_open("notes", O_RDWR | O_CREAT, 0644);
 *
 *	r = torc_pwrite(fd, text, len, 0);
 *	...
 *	r = torc_fdatasync(fd);
 *	r = torc_close_wait(fd);
 *
 * Each is one submission to the loop's ring, and honours the fiber's scope; those that the ring does not have are made on
 * another thread (executor/offload.h), as is said with them: there a call that has begun is not cut short. Descriptors are
 * plain ones, borrowed by every call that does not close them, and closed on exec. Memory that is passed is the kernel's
 * until the call returns, not longer.
 *
 * What every call can return, beside what is said with it:
 *
 *	-ECANCELED, -ETIMEDOUT   the fiber's scope. Nothing was done, or it cannot be seen whether it was: a file may have
 *	                         been created, renamed or written by a call that was cut short. What has completed is
 *	                         returned as such: no descriptor and no count is lost
 *	-EBADF                   not a descriptor, or not one for this
 *	-EFAULT                  a pointer to no memory
 *	-ENOMEM                  the kernel has none
 *	-EIO                     the device failed
 *
 * and of those that take a path:
 *
 *	-ENOENT         there is no such file, or the path is empty
 *	-ENOTDIR        a directory is needed there, and that is none
 *	-EACCES         a permission is missing, of the file or of a directory on the way
 *	-EPERM          the kernel does not allow it: an immutable file, a file system that cannot do it
 *	-EROFS          the file system is read-only
 *	-ELOOP          too many symbolic links, or one where none may be (O_NOFOLLOW)
 *	-ENAMETOOLONG   over 255 bytes in a name, or 4095 in a path
 *	-EXDEV          from one file system to another
 *
 * A regular file whose data is in the page cache is read without a wait; what has to wait for a disk does so on a thread of the
 * kernel, of which each ring has a limited number (io_uring_register(2), IORING_REGISTER_IOWQ_MAX_WORKERS).
 *
 * Suspends    always, unless the scope has ended
 * Thread      a fiber's
 * Source      the manual page of each, section 2, and io_uring_prep_*(3) of liburing
 */
#ifndef TORC_IO_FILE_H
#define TORC_IO_FILE_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include <torc/core/api.h>

TORC_BEGIN_DECLS

struct open_how; /* linux/openat2.h */
struct statx;

/* --- open and close --- */

/*
 * torc_openat - open a file; torc_open - the same below the working directory. O_CLOEXEC is always set.
 *
 * Of a named pipe: the ring tries without waiting for the pipe's other side first, and waits only where that try was not
 * possible, such as for a path that is not cached, or with O_CREAT. Who relies on either says O_NONBLOCK, or O_RDWR.
 *
 *   @dirfd  the directory that a relative path begins at, or AT_FDCWD
 *   @mode   permissions of a file that is created (O_CREAT, O_TMPFILE); the umask applies
 *
 * Returns     a descriptor: the caller's
 *             -EEXIST           O_CREAT | O_EXCL, and it exists
 *             -EISDIR           a directory, to be written
 *             -EMFILE, -ENFILE  no descriptor is left, in this process or on the machine
 *             -ENXIO            a pipe to be written that nobody reads (see above), or a device that is not there
 *             -ENOSPC, -EDQUOT  no room for a new file
 *             -ETXTBSY          a program that runs, to be written
 *             -EINVAL, -EOVERFLOW, ...   as open(2)
 */
TORC_API TORC_MUST_CHECK int torc_openat(int dirfd, const char *path, int flags, mode_t mode);
TORC_API TORC_MUST_CHECK int torc_open(const char *path, int flags, mode_t mode);

/*
 * torc_openat2 - with a say in how the path is resolved: RESOLVE_BENEATH keeps it below dirfd, whatever links there are.
 * O_CLOEXEC is as in how->flags.
 *
 * Returns     as torc_openat, and
 *             -EXDEV    RESOLVE_BENEATH or RESOLVE_NO_XDEV, and the path leads out
 *             -EAGAIN   RESOLVE_CACHED, and it would have to wait; or a rename got in the way of RESOLVE_BENEATH: try again
 *             -EINVAL   unknown flags
 */
TORC_API TORC_MUST_CHECK int torc_openat2(int dirfd, const char *path, const struct open_how *how);

/*
 * torc_close_wait - close a descriptor, and learn what became of the last writes: file systems that write late, such as NFS, say
 * so here. For what needs no answer, sockets for one, there is torc_close (io/socket.h).
 *
 * It always takes effect, in a cancelled scope too, and is waited for. Not a substitute for torc_fsync.
 *
 * Returns     0
 *             -EIO, -ENOSPC, -EDQUOT   an earlier write failed; the descriptor is closed all the same
 */
TORC_API int torc_close_wait(int fd);

/* --- read and write --- */

/*
 * torc_read, torc_write - at the descriptor's own position, as for pipes, terminals, or a file that is read from front to back.
 * torc_pread, torc_pwrite - at a position, in bytes from the beginning; the descriptor's own one stays. Any number of fibers
 * may do so at once. What has no positions (pipes, sockets, terminals) ignores it, as the ring does and pread(2) does not.
 *
 *   @buf  [len] bytes; when reading, written only as far as the result says
 *   @len  0 .. SIZE_MAX; one call moves 1 GiB at most
 *
 * Returns     1..len   bytes moved; fewer than len at the end of the file, from a pipe, when a signal or the scope interrupted it
 *             0        reading: the end. Or len is 0
 *             -EAGAIN   a descriptor with O_NONBLOCK that cannot be polled would wait
 *             -EINVAL   O_DIRECT, and the memory, the length or the offset is not aligned; a negative offset
 *             -EISDIR   a directory was read
 *             -ENOSPC   writing: the device is full
 *             -EDQUOT   writing: the user's quota is used up
 *             -EFBIG    writing: beyond the file system's limit or RLIMIT_FSIZE. No SIGXFSZ is raised by the latter inside of
 *                       torc_run, unless the program handles it
 *             -EPIPE    writing: nobody reads that pipe. No SIGPIPE is raised inside of torc_run
 */
TORC_API TORC_MUST_CHECK int torc_read(int fd, void *buf, size_t len);
TORC_API TORC_MUST_CHECK int torc_write(int fd, const void *buf, size_t len);
TORC_API TORC_MUST_CHECK int torc_pread(int fd, void *buf, size_t len, off_t offset);
TORC_API TORC_MUST_CHECK int torc_pwrite(int fd, const void *buf, size_t len, off_t offset);

/*
 * The vectored forms: one operation, several pieces of memory. The ...2 forms take flags for this transfer, RWF_DSYNC,
 * RWF_APPEND, RWF_NOWAIT ...; an offset of -1 means the descriptor's own position.
 *
 *   @iov    [iov_count], borrowed as the memory that it describes
 *   @iov_count  0 .. IOV_MAX (1024)
 *
 * Returns     as torc_read and torc_write, and
 *             -EINVAL       more pieces than IOV_MAX, or one of more than SSIZE_MAX bytes; what is over 2 GiB in all is cut
 *             -EAGAIN       RWF_NOWAIT, and it would wait
 *             -EOPNOTSUPP   flags that the kernel or this file does not know
 */
TORC_API TORC_MUST_CHECK int torc_readv(int fd, const struct iovec *iov, unsigned iov_count);
TORC_API TORC_MUST_CHECK int torc_writev(int fd, const struct iovec *iov, unsigned iov_count);
TORC_API TORC_MUST_CHECK int torc_preadv(int fd, const struct iovec *iov, unsigned iov_count,
					 off_t offset);
TORC_API TORC_MUST_CHECK int torc_pwritev(int fd, const struct iovec *iov, unsigned iov_count,
					  off_t offset);
TORC_API TORC_MUST_CHECK int torc_preadv2(int fd, const struct iovec *iov, unsigned iov_count,
					  off_t offset, int flags);
TORC_API TORC_MUST_CHECK int torc_pwritev2(int fd, const struct iovec *iov, unsigned iov_count,
					   off_t offset, int flags);

/*
 * torc_pread_all, torc_pwrite_all, torc_write_all - again until all of it is read or written.
 *
 * Returns     0
 *             -ENODATA   torc_pread_all: the file ends before
 *             or as the single call; then an unknown part was read or written
 */
TORC_API TORC_MUST_CHECK int torc_pread_all(int fd, void *buf, size_t len, off_t offset);
TORC_API TORC_MUST_CHECK int torc_pwrite_all(int fd, const void *buf, size_t len, off_t offset);
TORC_API TORC_MUST_CHECK int torc_write_all(int fd, const void *buf, size_t len);

/* --- to the disk --- */

/*
 * torc_fsync - wait until data and metadata are on the device; torc_fdatasync - until the data is, and what is needed to find it.
 *
 * After an error nobody knows what was written, and the kernel may not try again: take the file as lost, do not
 * sync it once more (fsync(2), NOTES).
 *
 * Returns     0
 *             -EIO, -ENOSPC, -EDQUOT   something written earlier did not get there
 *             -EINVAL, -EROFS          a file that cannot be synchronised, such as a pipe
 */
TORC_API TORC_MUST_CHECK int torc_fsync(int fd);
TORC_API TORC_MUST_CHECK int torc_fdatasync(int fd);

/*
 * torc_sync_file_range - start or await the writing of a part; says nothing of metadata, and so promises nothing after a crash.
 *
 *   @len    0: to the end of the file
 *   @flags  SYNC_FILE_RANGE_*
 *
 * Returns     0
 *             -EINVAL   unknown flags; a negative offset, or an end beyond the largest
 *             -ESPIPE   not a file, a directory or a block device
 *             -EIO, -ENOSPC   as sync_file_range(2)
 */
TORC_API TORC_MUST_CHECK int torc_sync_file_range(int fd, off_t offset, size_t len, int flags);

/*
 * torc_fallocate - reserve room, or give it back (FALLOC_FL_PUNCH_HOLE, ...).
 *
 * Returns     0
 *             -ENOSPC, -EDQUOT   no room
 *             -EFBIG             beyond the largest file, or RLIMIT_FSIZE
 *             -EOPNOTSUPP        the file system cannot
 *             -EINVAL, -ENODEV, -ESPIPE, ...   as fallocate(2)
 */
TORC_API TORC_MUST_CHECK int torc_fallocate(int fd, int mode, off_t offset, off_t len);

/*
 * torc_ftruncate - set the length. On another thread before Linux 6.9.
 *
 * Returns     0
 *             -EINVAL   a negative length, not a regular file, or one that is not open for writing
 *             -EFBIG    beyond the largest file, or RLIMIT_FSIZE
 *             -EPERM, -ETXTBSY, ...   as ftruncate(2)
 */
TORC_API TORC_MUST_CHECK int torc_ftruncate(int fd, off_t len);

/*
 * torc_fadvise - say how a part will be used: POSIX_FADV_*.
 *
 *   @len  0: to the end of the file
 *
 * Returns     0
 *             -EINVAL   a negative length, or no such advice
 *             -ESPIPE   a pipe
 */
TORC_API TORC_MUST_CHECK int torc_fadvise(int fd, off_t offset, off_t len, int advice);

/* --- names and metadata --- */

/*
 * torc_statx - what is known of a file; of the descriptor itself with AT_EMPTY_PATH and "".
 *
 *   @flags     AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, ...
 *   @mask      what is wanted, STATX_*; ret_stat->stx_mask says what there is
 *   @ret_stat  written on success
 *
 * Returns     0
 *             -EINVAL   unknown flags
 */
TORC_API TORC_MUST_CHECK int torc_statx(int dirfd, const char *path, int flags, unsigned mask,
					struct statx *ret_stat);

/*
 * torc_renameat2 - give a file another name, in place of what has it: nobody ever sees neither. torc_rename - below the working
 * directory, without flags.
 *
 *   @flags  RENAME_NOREPLACE, RENAME_EXCHANGE
 *
 * Returns     0
 *             -EEXIST      RENAME_NOREPLACE, and there is one
 *             -ENOTEMPTY, -EISDIR   a directory is in the place
 *             -EINVAL      into itself; flags that the file system does not know
 *             -ENOSPC, -EDQUOT, -EBUSY, ...   as rename(2)
 */
TORC_API TORC_MUST_CHECK int torc_renameat2(int from_dirfd, const char *from, int to_dirfd,
					    const char *to, unsigned flags);
TORC_API TORC_MUST_CHECK int torc_rename(const char *from, const char *to);

/*
 * torc_unlinkat - take a name away; of a directory with AT_REMOVEDIR. torc_unlink, torc_rmdir - below the working directory.
 *
 * Returns     0
 *             -EISDIR      a directory, without AT_REMOVEDIR
 *             -ENOTEMPTY   a directory that is not empty
 *             -EBUSY, -EINVAL, ...   as unlink(2) and rmdir(2)
 */
TORC_API int torc_unlinkat(int dirfd, const char *path, int flags);
TORC_API int torc_unlink(const char *path);
TORC_API int torc_rmdir(const char *path);

/*
 * torc_mkdirat - make a directory; torc_mkdir - below the working directory.
 *
 * Returns     0
 *             -EEXIST   there is something of that name
 *             -ENOSPC, -EDQUOT, -EMLINK, ...   as mkdir(2)
 */
TORC_API TORC_MUST_CHECK int torc_mkdirat(int dirfd, const char *path, mode_t mode);
TORC_API TORC_MUST_CHECK int torc_mkdir(const char *path, mode_t mode);

/*
 * torc_linkat - one more name for a file; torc_symlinkat - a symbolic link to `target`.
 *
 *   @flags  AT_SYMLINK_FOLLOW, AT_EMPTY_PATH
 *
 * Returns     0
 *             -EEXIST   there is something of that name
 *             -EMLINK   it has as many names as it can have
 *             -ENOSPC, -EDQUOT, -EPERM, ...   as link(2) and symlink(2)
 */
TORC_API TORC_MUST_CHECK int torc_linkat(int from_dirfd, const char *from, int to_dirfd,
					 const char *to, int flags);
TORC_API TORC_MUST_CHECK int torc_symlinkat(const char *target, int dirfd, const char *path);

/*
 * torc_readlinkat - where a symbolic link leads. On another thread.
 *
 *   @ret_target  [size] bytes; a string, ended by a zero byte
 *
 * Returns     its length, without the zero byte
 *             -ERANGE   it has no room in `size` bytes
 *             -EINVAL   not a symbolic link
 */
TORC_API TORC_MUST_CHECK int torc_readlinkat(int dirfd, const char *path, char *ret_target,
					     size_t size);

/*
 * torc_fchmodat, torc_fchownat, torc_utimensat - permissions, owner, times. On another thread.
 *
 *   @flags  AT_SYMLINK_NOFOLLOW; or AT_EMPTY_PATH with "" for the descriptor itself: of torc_fchmodat not one of O_PATH
 *   @times  access and modification; NULL: now
 *
 * Returns     0
 *             -EPERM   not the owner's or root's to change
 *             -EOPNOTSUPP    torc_fchmodat with AT_SYMLINK_NOFOLLOW, of a symbolic link: it has no permissions
 *             -EINVAL, ...   as chmod(2), chown(2), utimensat(2)
 *             -ENOSYS  in the simulator
 */
TORC_API TORC_MUST_CHECK int torc_fchmodat(int dirfd, const char *path, mode_t mode, int flags);
TORC_API TORC_MUST_CHECK int torc_fchownat(int dirfd, const char *path, uid_t owner, gid_t group,
					   int flags);
TORC_API TORC_MUST_CHECK int torc_utimensat(int dirfd, const char *path,
					    const struct timespec times[2], int flags);

/* --- extended attributes --- */

/*
 * torc_getxattr, torc_fgetxattr - one attribute's value; with a size of 0 only its length.
 *
 *   @name       with its namespace: "user.origin"
 *   @ret_value  [size] bytes
 *
 * Returns     the length
 *             -ENODATA      there is none of that name
 *             -ERANGE       it is longer than `size`
 *             -EOPNOTSUPP   the file system has none, or not that namespace
 */
TORC_API TORC_MUST_CHECK int torc_getxattr(const char *path, const char *name, void *ret_value,
					   size_t size);
TORC_API TORC_MUST_CHECK int torc_fgetxattr(int fd, const char *name, void *ret_value, size_t size);

/*
 * torc_setxattr, torc_fsetxattr - set it.
 *
 *   @flags  0, XATTR_CREATE or XATTR_REPLACE
 *
 * Returns     0
 *             -EEXIST, -ENODATA   XATTR_CREATE and there is one; XATTR_REPLACE and there is none
 *             -ENOSPC, -EDQUOT    no room
 *             -ERANGE, -E2BIG     name or value too long
 *             -EOPNOTSUPP         as above
 */
TORC_API TORC_MUST_CHECK int torc_setxattr(const char *path, const char *name, const void *value,
					   size_t size, int flags);
TORC_API TORC_MUST_CHECK int torc_fsetxattr(int fd, const char *name, const void *value,
					    size_t size, int flags);

/*
 * torc_flistxattr - the names, each ended by a zero byte; with a size of 0 only how long they are in all.
 * torc_fremovexattr - take one away. Both on another thread.
 *
 * Returns     the length of all; or 0
 *             -ERANGE    they are longer than `size`
 *             -ENODATA   there is none of that name
 *             -ENOSYS    in the simulator
 */
TORC_API TORC_MUST_CHECK int torc_flistxattr(int fd, char *ret_names, size_t size);
TORC_API TORC_MUST_CHECK int torc_fremovexattr(int fd, const char *name);

/* --- from descriptor to descriptor --- */

/*
 * torc_splice - move bytes without copying them, from or to a pipe.
 *
 *   @from_offset, @to_offset  -1: the descriptor's own position, and for pipes
 *   @flags                    SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK (for the pipes)
 *
 * The kernel gives it a thread of its own (io-wq), which waits where data or room is missing. So poll first where that can
 * take long (io/poll.h), or use torc_stream_copy.
 *
 * Returns     1..len    bytes moved
 *             0         the end of what is read
 *             -EINVAL   neither is a pipe, both are the same one, or one cannot be spliced: O_APPEND
 *             -EAGAIN   SPLICE_F_NONBLOCK, and it would wait
 *             -ESPIPE   an offset into a pipe
 *             or as torc_read and torc_write
 * Source      splice(2), io_uring_prep_splice(3)
 */
TORC_API TORC_MUST_CHECK int torc_splice(int from, off_t from_offset, int to, off_t to_offset,
					 size_t len, unsigned flags);

/*
 * torc_tee - what is in one pipe into another one, without taking it from there.
 *
 * Returns     1..len, 0, or a negative errno as torc_splice
 */
TORC_API TORC_MUST_CHECK int torc_tee(int from, int to, size_t len, unsigned flags);

/*
 * torc_sendfile - the contents of a file to a stream socket. For a whole file call it again with what is left.
 *
 * From 64 KiB on the bytes stay inside of the kernel. What is in its cache goes directly. What is not goes by way of a pipe: a thread of the
 * kernel reads the file, where it may wait for a disk, and the fiber waits while the peer does not keep up, with two descriptors
 * and no memory. Less than that, and what cannot be spliced, is read into memory, 64 KiB at a time. What is written to the file meanwhile may be sent or not.
 *
 *   @socket  connected; made non-blocking (O_NONBLOCK) for that, and stays so: operations of the ring wait all the same, but
 *            direct system calls of others who share it by dup(2) or fork(2) do not
 *   @file    a regular file, or what else torc_pread can read; its own position stays
 *   @offset  0 or more, from its beginning
 *   @len     one call sends 1 GiB at most
 *
 * Returns     1..len   bytes sent: taken by the socket. Fewer at the end of the file, or when what follows came in between:
 *                      then the next call tells
 *             0        offset is at the end of the file, or beyond. Or len is 0
 *             -ECANCELED, -ETIMEDOUT   the scope: nothing was sent
 *             -EPIPE, -ECONNRESET      as torc_send; after a short count -EPIPE for both
 *             -EINVAL, -EISDIR, -ESPIPE, ...   as torc_pread, of the file
 *             -ENOTSOCK, -EBADF
 * Suspends    always, unless the scope has ended or it has nothing to do
 * Thread      a fiber's; one sender per socket at a time
 * Source      sendfile(2), splice(2), io_uring_prep_splice(3)
 */
TORC_API TORC_MUST_CHECK int torc_sendfile(int socket, int file, off_t offset, size_t len);

/*
 * torc_copy_file_range - from file to file: shared, where the file system can, or copied inside of the kernel. On another thread.
 *
 *   @from_offset, @to_offset  0 or more
 *   @len                      one call moves 1 GiB at most
 *
 * Returns     1..len    bytes copied
 *             0         the end of the file
 *             -EXDEV, -EOPNOTSUPP   file systems of different kinds, or one that cannot
 *             -EINVAL   a negative offset; the ranges overlap in one file; not regular files
 *             -EFBIG    to beyond the largest offset of a file, or RLIMIT_FSIZE
 *             -ENOSPC, -EDQUOT, -EISDIR, -ETXTBSY, ...   as copy_file_range(2)
 *             -ENOSYS   in the simulator
 */
TORC_API TORC_MUST_CHECK int torc_copy_file_range(int from, off_t from_offset, int to,
						  off_t to_offset, size_t len);

TORC_END_DECLS

#endif
