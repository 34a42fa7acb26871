#include "io/internal/pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <torc/core/scope.h>
#include <torc/io/poll.h>

#include "core/internal/system.h"

/* Two descriptors each. */
#define KEPT 16u

struct pipes {
	unsigned count;
	struct torc__pipe kept[KEPT];
};

static void close_both(struct torc__pipe pipe)
{
	close(pipe.rx);
	close(pipe.tx);
}

static void destroy(void *data)
{
	struct pipes *p = data;

	while (p->count)
		close_both(p->kept[--p->count]);
	torc__free(p);
}

static struct pipes *pipes_of(struct torc__loop *loop)
{
	struct torc__attached *attached = &loop->attached[TORC__ATTACHED_PIPES];

	if (!attached->data)
		*attached =
			(struct torc__attached){ torc__calloc(1, sizeof(struct pipes)), destroy };
	return attached->data;
}

int torc__pipe_take(struct torc__loop *loop, struct torc__pipe *ret)
{
	struct pipes *p = pipes_of(loop);
	int fds[2];

	if (!p)
		return -ENOMEM;
	if (p->count) {
		*ret = p->kept[--p->count];
		return 0;
	}
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	(void)fcntl(fds[1], F_SETPIPE_SZ, TORC__PIPE_BYTES); /* or it stays as it is */
	*ret = (struct torc__pipe){ fds[0], fds[1] };
	return 0;
}

void torc__pipe_give(struct torc__loop *loop, struct torc__pipe pipe, bool empty)
{
	struct pipes *p = loop->attached[TORC__ATTACHED_PIPES].data;

	if (empty && p->count < KEPT)
		p->kept[p->count++] = pipe;
	else
		close_both(pipe);
}

ssize_t torc__splice_now(int from, int to, size_t len)
{
	ssize_t n;

	do
		n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

bool torc__splice_is_refused(int r)
{
	return r == -EINVAL || r == -EOPNOTSUPP || r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

int torc__await_writable(int fd, uint64_t within_ns)
{
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, within_ns);
	r = torc_poll(fd, POLLOUT);
	torc_scope_leave(&scope);
	return r < 0 ? r : 0;
}

int torc__pipe_empty(int pipe, int to, size_t len, uint64_t within_ns, size_t *ret_moved)
{
	int r = 0;

	*ret_moved = 0;
	while (!r && *ret_moved < len) {
		ssize_t n = torc__splice_now(pipe, to, len - *ret_moved);

		if (n > 0)
			*ret_moved += (size_t)n;
		else
			r = n == -EAGAIN ? torc__await_writable(to, within_ns) : n ? (int)n : -EIO;
	}
	return r;
}

bool torc__set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_NONBLOCK || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}
