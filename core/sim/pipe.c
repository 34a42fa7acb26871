/*
 * core/sim/pipe.c - pipes and eventfds.
 */
#include "core/sim/sim.h"

#include <errno.h>
#include <limits.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

/* --- pipes --- */

#define PIPE_PAGES 16
#define PAGE_BYTES 4096u

enum { READER, WRITER, ENDS };

/* An end is gone when its file is destroyed: an operation under way still holds it after its close(2). */
struct pipe {
	struct torc__sim_file *ends[ENDS]; /* NULL: gone, or not there yet */
	struct torc__sim_bytes bytes;
	/* What they take: a page is free when all of it was read, and only the last one is added to. */
	struct {
		size_t from, to;
	} pages[PIPE_PAGES];
	size_t page_count;
};

struct pipe_end {
	struct torc__sim_file file; /* first */
	struct pipe *pipe;
};

static struct pipe *pipe_of(struct torc__sim_file *file)
{
	return torc__container_of(file, struct pipe_end, file)->pipe;
}

static void end_changed(struct pipe *p, int end)
{
	if (p->ends[end])
		torc__sim_changed(p->ends[end]);
}

static void free_pages(struct pipe *p, size_t len)
{
	size_t n = 0;

	while (n < p->page_count && len >= p->pages[n].to - p->pages[n].from) {
		len -= p->pages[n].to - p->pages[n].from;
		n++;
	}
	p->page_count -= n;
	memmove(p->pages, p->pages + n, p->page_count * sizeof(p->pages[0]));
	p->pages[0].from += len;
}

static ssize_t read_pipe(struct torc__sim_file *file, void *buf, size_t len, uint64_t offset,
			 int flags)
{
	struct pipe *p = pipe_of(file);
	size_t n;

	(void)offset, (void)flags;
	if (!len)
		return 0;
	if (!p->bytes.len)
		return p->ends[WRITER] ? TORC__SIM_WAIT : 0;
	n = torc__sim_bytes_take(&p->bytes, buf, len, false);
	free_pages(p, n);
	end_changed(p, WRITER);
	return (ssize_t)n;
}

static void put(struct pipe *p, const char **bytes, size_t *len, size_t part)
{
	torc__sim_bytes_put(&p->bytes, *bytes, part);
	*bytes += part;
	*len -= part;
}

/* What is beyond whole pages goes behind what is there, if it fits. */
static void put_on_last_page(struct pipe *p, const char **bytes, size_t *len)
{
	size_t part = *len % PAGE_BYTES, last = p->page_count - 1;

	if (!p->page_count || p->pages[last].to + part > PAGE_BYTES)
		return;
	p->pages[last].to += part;
	put(p, bytes, len, part);
}

static void put_on_new_pages(struct pipe *p, const char **bytes, size_t *len)
{
	while (*len && p->page_count < PIPE_PAGES) {
		size_t part = *len < PAGE_BYTES ? *len : PAGE_BYTES, n = p->page_count++;

		p->pages[n].from = 0;
		p->pages[n].to = part;
		put(p, bytes, len, part);
	}
}

/*
 * As of fs/pipe.c, so that up to PIPE_BUF bytes go in together. Of more, what fits: a ring never waits in write(2) for
 * the rest, as the system call would.
 */
static ssize_t write_pipe(struct torc__sim_file *file, const void *buf, size_t len, uint64_t offset,
			  int flags)
{
	struct pipe *p = pipe_of(file);
	const char *bytes = buf;
	size_t left = len;

	(void)offset, (void)flags;
	if (!len)
		return 0;
	if (!p->ends[READER])
		return -EPIPE;
	put_on_last_page(p, &bytes, &left);
	put_on_new_pages(p, &bytes, &left);
	if (left == len)
		return TORC__SIM_WAIT;
	end_changed(p, READER);
	return (ssize_t)(len - left);
}

static unsigned poll_reader(struct torc__sim_file *file)
{
	const struct pipe *p = pipe_of(file);
	unsigned events = p->bytes.len ? POLLIN | POLLRDNORM : 0;

	return p->ends[WRITER] ? events : events | POLLHUP;
}

static unsigned poll_writer(struct torc__sim_file *file)
{
	const struct pipe *p = pipe_of(file);
	unsigned events = p->page_count < PIPE_PAGES ? POLLOUT | POLLWRNORM : 0;

	return p->ends[READER] ? events : events | POLLERR;
}

static void destroy_end(struct torc__sim_file *file)
{
	struct pipe *p = pipe_of(file);
	int end = p->ends[READER] == file ? READER : WRITER;

	p->ends[end] = NULL;
	free(torc__container_of(file, struct pipe_end, file));
	if (p->ends[!end]) {
		torc__sim_changed(p->ends[!end]);
		return;
	}
	torc__sim_bytes_done(&p->bytes);
	free(p);
}

static const struct torc__sim_file_kind reader_kind = {
	.name = "pipe, to read",
	.is_pipe = true,
	.read = read_pipe,
	.destroy = destroy_end,
	.poll = poll_reader,
};

static const struct torc__sim_file_kind writer_kind = {
	.name = "pipe, to write",
	.is_pipe = true,
	.whole_write = PIPE_BUF,
	.write = write_pipe,
	.destroy = destroy_end,
	.poll = poll_writer,
};

static int open_end(struct pipe *p, int end, int flags)
{
	struct pipe_end *e = torc__sim_alloc(sizeof(*e));

	if (end == READER)
		torc__sim_file_init(&e->file, &reader_kind, O_RDONLY | flags);
	else
		torc__sim_file_init(&e->file, &writer_kind, O_WRONLY | flags);
	e->pipe = p;
	p->ends[end] = &e->file;
	return torc__sim_fd_open(&e->file);
}

int torc__sim_pipe(int ret_fds[2], int flags)
{
	struct pipe *p;
	int fds[ENDS];

	if (flags & ~(O_NONBLOCK | O_CLOEXEC))
		return -EINVAL;
	p = torc__sim_alloc(sizeof(*p));
	/* A pipe goes with its last end, also here. */
	fds[READER] = open_end(p, READER, flags & O_NONBLOCK);
	if (fds[READER] < 0)
		return fds[READER];
	fds[WRITER] = open_end(p, WRITER, flags & O_NONBLOCK);
	if (fds[WRITER] < 0) {
		torc__sim_fd_close(fds[READER]);
		return fds[WRITER];
	}
	memcpy(ret_fds, fds, sizeof(fds));
	return 0;
}

/* --- eventfds --- */

#define COUNT_MOST (UINT64_MAX - 1)

struct counter {
	struct torc__sim_file file; /* first */
	uint64_t count;
	bool semaphore;
};

static struct counter *counter_of(struct torc__sim_file *file)
{
	return torc__container_of(file, struct counter, file);
}

static ssize_t read_counter(struct torc__sim_file *file, void *buf, size_t len, uint64_t offset,
			    int flags)
{
	struct counter *c = counter_of(file);
	uint64_t value = c->semaphore ? 1 : c->count;

	(void)offset, (void)flags;
	if (len < sizeof(value))
		return -EINVAL;
	if (!c->count)
		return TORC__SIM_WAIT;
	c->count -= value;
	memcpy(buf, &value, sizeof(value));
	torc__sim_changed(file);
	return sizeof(value);
}

static ssize_t write_counter(struct torc__sim_file *file, const void *buf, size_t len,
			     uint64_t offset, int flags)
{
	struct counter *c = counter_of(file);
	uint64_t value;

	(void)offset, (void)flags;
	if (len < sizeof(value))
		return -EINVAL;
	memcpy(&value, buf, sizeof(value));
	if (value > COUNT_MOST)
		return -EINVAL;
	/* A ring waits for POLLOUT first, also to add 0. */
	if (c->count == COUNT_MOST || value > COUNT_MOST - c->count)
		return TORC__SIM_WAIT;
	c->count += value;
	torc__sim_changed(file);
	return sizeof(value);
}

static unsigned poll_counter(struct torc__sim_file *file)
{
	uint64_t count = counter_of(file)->count;

	return (count ? POLLIN : 0u) | (count < COUNT_MOST ? POLLOUT : 0u);
}

static void destroy_counter(struct torc__sim_file *file)
{
	free(counter_of(file));
}

static const struct torc__sim_file_kind counter_kind = {
	.name = "eventfd",
	.whole_read = SIZE_MAX,
	.whole_write = SIZE_MAX,
	.read = read_counter,
	.write = write_counter,
	.destroy = destroy_counter,
	.poll = poll_counter,
};

int torc__sim_eventfd(unsigned value, int flags)
{
	struct counter *c;

	if (flags & ~(EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC))
		return -EINVAL;
	c = torc__sim_alloc(sizeof(*c));
	torc__sim_file_init(&c->file, &counter_kind, O_RDWR | (flags & EFD_NONBLOCK));
	c->count = value;
	c->semaphore = flags & EFD_SEMAPHORE;
	return torc__sim_fd_open(&c->file);
}
