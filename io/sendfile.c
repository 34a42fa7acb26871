/*
 * io/sendfile.c - from a file to a socket.
 *
 * sendfile(2) itself waits for the disk, and there is no asking before: pages that are in the cache may be under way from the disk,
 * or gone a moment later. So the ring's splice fills a pipe from the file, on a thread of the kernel, and a direct one that
 * does not wait empties it into the socket. That thread costs about as much as copying 64 KiB: shorter pieces are copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

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
