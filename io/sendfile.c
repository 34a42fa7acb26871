/*
 * io/sendfile.c - from a file to a socket.
 *
 * sendfile(2) costs least, but waits for the disk where a page is missing. It is asked for before: a read of a byte that does not wait
 * (RWF_NOWAIT), of the first and the last page of a piece. Files come from the disk in longer runs than that, and go from the cache by age, so
 * that it is right but for rare moments, and then the loop waits for one read. What is not there is for the ring: its splice fills
 * a pipe from the file, on a thread of the kernel, and a direct one that does not wait empties it into the socket. That thread costs about
 * as much as copying 64 KiB: shorter pieces are copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <torc/core/fiber.h>
#include <torc/core/scope.h>
#include <torc/io/file.h>
#include <torc/io/socket.h>

#include "core/internal/fiber.h"
#include "io/internal/call.h"
#include "io/internal/pipes.h"

/* What is read into memory at a time. */
#define MEMORY_BYTES TORC__SPLICE_LEAST

struct transfer {
	int socket, file;
	off_t offset;
	size_t left, sent;
};

static void count(struct transfer *t, size_t n)
{
	t->offset += (off_t)n;
	t->left -= n;
	t->sent += n;
}

/* --- by memory --- */

static int send_memory(struct transfer *t, const char *memory, size_t len)
{
	while (len) {
		int r = torc_send(t->socket, memory, len, MSG_WAITALL);

		if (r < 0)
			return r;
		count(t, (size_t)r);
		memory += r;
		len -= (size_t)r;
	}
	return 0;
}

/* One piece. Returns 1 when it was sent, 0 at the end of the file. */
static int copy_piece(struct transfer *t, char *memory)
{
	size_t len = t->left < MEMORY_BYTES ? t->left : MEMORY_BYTES;
	int r = torc_pread(t->file, memory, len, t->offset);

	if (r <= 0)
		return r;
	r = send_memory(t, memory, (size_t)r);
	return r < 0 ? r : 1;
}

static int copy_all(struct transfer *t)
{
	char *memory = torc__malloc(t->left < MEMORY_BYTES ? t->left : MEMORY_BYTES);
	int r = memory ? 1 : -ENOMEM;

	while (r > 0 && t->left)
		r = copy_piece(t, memory);
	torc__free(memory);
	return r;
}

/* --- from the cache --- */

/* So much is asked about at once, and after so much others have their turn. */
#define DIRECT_BYTES ((size_t)256 << 10)
#define TURN_BYTES   ((size_t)1 << 20)

static bool has_page(int file, off_t offset)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return preadv2(file, &iov, 1, offset, RWF_NOWAIT) == 1;
}

static bool is_cached(const struct transfer *t, size_t len)
{
	return has_page(t->file, t->offset) && has_page(t->file, t->offset + (off_t)len - 1);
}

/* Takes what the socket takes. 1, 0 at the end of the file, -EAGAIN, or a negative errno. */
static int send_now(struct transfer *t, size_t len)
{
	off_t at = t->offset;
	ssize_t n;

	do
		n = sendfile(t->socket, t->file, &at, len);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		count(t, (size_t)n);
	return n < 0 ? -errno : n > 0;
}

/* As copy_piece; -EBUSY: not all of it is in the cache. */
static int send_cached(struct transfer *t)
{
	size_t len = t->left < DIRECT_BYTES ? t->left : DIRECT_BYTES, before = t->sent;
	int r;

	if (torc__self()->loop->ring.disabled & TORC__SENDFILE || !is_cached(t, len))
		return -EBUSY;
	r = send_now(t, len);
	if (r == -EAGAIN)
		r = torc__await_writable(t->socket, TORC_NEVER);
	else if (r > 0 && t->sent / TURN_BYTES != before / TURN_BYTES)
		r = torc_yield();
	else
		return r;
	return r < 0 ? r : 1;
}

/* --- by a pipe --- */

/* What the socket does not take is lost with the pipe: it is in the file. */
static int push_out(struct transfer *t, int pipe, size_t len)
{
	size_t moved;
	int r = torc__pipe_empty(pipe, t->socket, len, TORC_NEVER, &moved);

	count(t, moved);
	return r;
}

/* As copy_piece. */
static int splice_piece(struct transfer *t)
{
	struct torc__loop *loop = torc__self()->loop;
	size_t len = t->left < TORC__PIPE_BYTES ? t->left : TORC__PIPE_BYTES;
	struct torc__pipe pipe;
	int n, r = torc__pipe_take(loop, &pipe);

	if (r < 0)
		return r;
	n = torc_splice(t->file, t->offset, pipe.tx, -1, len, SPLICE_F_MOVE);
	if (n > 0)
		r = push_out(t, pipe.rx, (size_t)n);
	torc__pipe_give(loop, pipe, n >= 0 && !r);
	return r < 0 ? r : n > 0 ? 1 : n;
}

/* A pipe could be emptied into a file as well. */
static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static bool can_splice(const struct transfer *t)
{
	return torc__on_linux() && !(torc__self()->loop->ring.disabled & TORC__SPLICE) &&
	       t->left >= TORC__SPLICE_LEAST && is_socket(t->socket) &&
	       torc__set_nonblocking(t->socket);
}

static int send_all(struct transfer *t)
{
	int r = 1;

	if (can_splice(t))
		while (r > 0 && t->left >= TORC__SPLICE_LEAST)
			if ((r = send_cached(t)) == -EBUSY)
				r = splice_piece(t);
	/* Memory will do, and says what is wrong otherwise. */
	return (r > 0 && t->left) || torc__splice_is_refused(r) ? copy_all(t) : r;
}

int torc_sendfile(int socket, int file, off_t offset, size_t len)
{
	struct transfer t = {
		.socket = socket, .file = file, .offset = offset, .left = torc__at_once(len)
	};
	int r = torc__scope_check(torc__self());

	if (!r && offset < 0)
		r = -EINVAL;
	if (!r && len)
		r = send_all(&t);
	return t.sent ? (int)t.sent : r < 0 ? r : 0;
}
