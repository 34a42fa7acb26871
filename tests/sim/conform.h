/*
 * tests/sim/conform.h - one script of operations, run on Linux and on the simulator: what is written down, and the steps
 * that scripts are made of.
 *
 * Each step begins something and then lets all happen that comes of it. What it began, and each completion that has come
 * until then, of whichever operation, is a line of the transcript; those of one step are sorted by operation, as their
 * order is not promised.
 *
 * The simulator is first: a few virtual milliseconds, and all has happened. Linux is then waited for until as many
 * completions have come as in the simulator at the end of the same step: so a step takes no longer than it does, and
 * time decides nothing but when a completion that never comes is given up. After that a few turns of the ring show
 * whether there are more than there should be.
 *
 * What has no completion, such as what arrives at a TCP socket that nobody reads, a script has to wait for by a step of
 * its own: a poll, or a recv that peeks.
 *
 * When several operations wait for the same of one descriptor, any of them may be served: Linux takes the last one first,
 * which nobody has promised. No script has two that do.
 *
 * Normalised, as Linux promises neither: numbers of descriptors, ports and inodes, times, the directory's path, and
 * IORING_CQE_F_SOCK_NONEMPTY, a hint.
 */
#ifndef TESTS_SIM_CONFORM_H
#define TESTS_SIM_CONFORM_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <linux/openat2.h>

#include <torc/core/op.h>
#include <torc/core/run.h>
#include <torc/core/sim.h>
#include <torc/core/sys.h>
#include <torc/core/timeout.h>

#include "io/internal/buffers.h"
#include "tests/support/check.h"

#define PATIENCE_NS TORC_SECONDS(5)
#define SETTLE_NS   (TORC_SECONDS(1) / 100)

/* Descriptors that a script has open, and ports that it has seen, at most. */
#define NAMES 128
#define PORTS 64

/* Of 4096 bytes each: TORC__BUFFER_GROUP. */
#define PROVIDED_BUFFERS 8

/* --- transcripts --- */

struct transcript {
	char **lines;
	size_t count, capacity;
	size_t *completions; /* at the end of each step */
	size_t steps;
};

static void *larger(void *memory, size_t count, size_t size)
{
	if (count & (count - 1)) /* it grows when the count comes to a power of two */
		return memory;
	memory = realloc(memory, (count ? 2 * count : 1) * size);
	check(memory);
	return memory;
}

static void add_line(struct transcript *t, const char *text)
{
	t->lines = larger(t->lines, t->count, sizeof(*t->lines));
	t->lines[t->count] = strdup(text);
	check(t->lines[t->count++]);
}

static void end_step(struct transcript *t, size_t completions)
{
	t->completions = larger(t->completions, t->steps, sizeof(*t->completions));
	t->completions[t->steps++] = completions;
}

static void free_transcript(struct transcript *t)
{
	for (size_t i = 0; i < t->count; i++)
		free(t->lines[i]);
	free(t->lines);
	free(t->completions);
	*t = (struct transcript){ .count = 0 };
}

/* --- the script that runs --- */

/* One operation. */
struct act {
	struct torc_op op;
	struct act *next;
	unsigned number;
	bool opens; /* its result is a descriptor */
	bool fills; /* its result is a length of memory */
	int fd;     /* the last that it opened, or negative */
	int res;    /* the last */
	unsigned count;
	uint64_t total;  /* of the results */
	uint64_t *bytes; /* where further ones are added; NULL: nowhere */
	char *memory;
	size_t len;
	struct sockaddr_storage address;
	socklen_t address_len;
	struct open_how how;
	struct statx stat;
	struct msghdr message;
	struct iovec iov;
};

struct name {
	int fd;
	char text[16];
};

static struct {
	struct transcript *transcript;
	const struct transcript *expected; /* the simulator's; NULL: it is the simulator */
	struct transcript step;            /* lines of this step's completions */
	struct act *acts, **acts_tail;
	unsigned act_count;
	size_t completions;
	struct name names[NAMES];
	in_port_t ports[PORTS];
	uint32_t place; /* of the next byte that is sent */
	uint64_t settle_ns;
	bool keeps;                      /* provided buffers that come with a result */
	uint16_t kept[PROVIDED_BUFFERS]; /* those */
	unsigned kept_count;
	const char *base; /* the directory */
	void *arg;        /* the script's */
	bool lost;        /* what only comes once has not come */
} run;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
	char text[256];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	add_line(run.transcript, text);
}

static const char *result(int r)
{
	static char text[16];

	if (r < 0)
		return strerrorname_np(-r);
	snprintf(text, sizeof(text), "%d", r);
	return text;
}

/* --- descriptors --- */

static const char *name_of(int fd)
{
	for (size_t i = 0; i < NAMES; i++)
		if (run.names[i].text[0] && run.names[i].fd == fd)
			return run.names[i].text;
	return fd == AT_FDCWD ? "cwd" : "?";
}

/* It will be closed at the end. */
static int name(int fd, const char *format, ...)
{
	struct name *n = run.names;
	va_list list;

	if (fd < 0)
		return fd;
	while (n < run.names + NAMES && n->text[0])
		n++;
	check(n < run.names + NAMES);
	n->fd = fd;
	va_start(list, format);
	vsnprintf(n->text, sizeof(n->text), format, list);
	va_end(list);
	return fd;
}

static void unname(int fd)
{
	for (size_t i = 0; i < NAMES; i++)
		if (run.names[i].text[0] && run.names[i].fd == fd)
			run.names[i].text[0] = '\0';
}

/* --- bytes --- */

static void fill_bytes(char *memory, size_t len)
{
	for (size_t i = 0; i < len; i++, run.place++)
		memory[i] = (char)(run.place * 31 + (run.place >> 8));
}

static uint32_t sum_of_bytes(const char *memory, size_t len)
{
	uint32_t sum = 2166136261u;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ (unsigned char)memory[i]) * 16777619u;
	return sum;
}

/* --- addresses --- */

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	};
	socklen_t len;
};

/* Ports are numbered as they are seen. */
static size_t port_number(in_port_t port)
{
	size_t i = 0;

	if (!port)
		return 0;
	while (i < PORTS && run.ports[i] && run.ports[i] != port)
		i++;
	check(i < PORTS);
	run.ports[i] = port;
	return i + 1;
}

static const char *path_text(const char *path)
{
	size_t len = strlen(run.base);

	return strncmp(path, run.base, len) ? path : path + len;
}

static const char *address_text(const struct address *a)
{
	static char text[160];
	char host[INET6_ADDRSTRLEN] = "";

	if (a->len < sizeof(sa_family_t))
		return "nobody";
	switch (a->any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "%s, port %zu", host, port_number(a->v4.sin_port));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "%s, port %zu", host, port_number(a->v6.sin6_port));
		break;
	case AF_UNIX:
		if (a->len <= sizeof(sa_family_t))
			return "unix";
		if (a->un.sun_path[0])
			snprintf(text, sizeof(text), "%s", path_text(a->un.sun_path));
		else
			snprintf(text, sizeof(text), "@%.*s",
				 (int)(a->len - sizeof(sa_family_t) - 1),
				 path_text(a->un.sun_path + 1));
		break;
	default: snprintf(text, sizeof(text), "family %d", a->any.sa_family); break;
	}
	return text;
}

static struct address inet_address(const char *host, in_port_t port)
{
	struct address a = { .v4 = { .sin_family = AF_INET, .sin_port = port },
			     .len = sizeof(a.v4) };

	inet_pton(AF_INET, host, &a.v4.sin_addr);
	return a;
}

static struct address path_address(const char *file)
{
	struct address a = { .un = { .sun_family = AF_UNIX } };

	snprintf(a.un.sun_path, sizeof(a.un.sun_path), "%s/%s", run.base, file);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(a.un.sun_path) + 1);
	return a;
}

static struct address abstract_address(const char *text)
{
	struct address a = { .un = { .sun_family = AF_UNIX } };

	snprintf(a.un.sun_path + 1, sizeof(a.un.sun_path) - 1, "%s/%s", run.base, text);
	a.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a.un.sun_path + 1));
	return a;
}

/* --- completions --- */

static void describe_result(const struct act *a, int res, const char *memory, char *text,
			    size_t len)
{
	if (res >= 0 && a->opens)
		snprintf(text, len, "a descriptor");
	else if (res > 0 && a->fills)
		snprintf(text, len, "%d, sum %08x", res, sum_of_bytes(memory, (size_t)res));
	else
		snprintf(text, len, "%s", result(res));
}

static void give_buffer(uint16_t id)
{
	torc__buffer_give(torc__buffers(torc__loop()), id);
}

static void done_with_buffer(uint16_t id)
{
	if (run.keeps)
		run.kept[run.kept_count++] = id;
	else
		give_buffer(id);
}

/* To begin with those that were kept first. */
static void give_kept(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		give_buffer(run.kept[i]);
	run.kept_count -= count;
	memmove(run.kept, run.kept + count, run.kept_count * sizeof(*run.kept));
}

static void complete_act(struct torc_op *op, int res, unsigned flags)
{
	struct act *a = (struct act *)(void *)((char *)op - offsetof(struct act, op));
	char what[64], text[128];
	const char *memory = a->memory;
	uint16_t id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);

	if (flags & IORING_CQE_F_BUFFER)
		memory = torc__buffer_data(torc__buffers(torc__loop()), id);
	describe_result(a, res, memory, what, sizeof(what));
	if (flags & IORING_CQE_F_BUFFER)
		done_with_buffer(id);
	snprintf(text, sizeof(text), "  #%03u: %s%s%s", a->number, what,
		 flags & IORING_CQE_F_MORE ? ", more" : "",
		 flags & IORING_CQE_F_BUFFER ? ", buffer" : "");
	add_line(&run.step, text);
	a->res = res;
	a->count++;
	if (res > 0)
		a->total += (unsigned)res;
	if (res > 0 && a->bytes)
		*a->bytes += (unsigned)res;
	if (a->opens && res >= 0)
		a->fd = name(res, "fd%u.%u", a->number, a->count);
	run.completions++;
}

/* By "  #007". */
static int compare_lines(const char *a, const char *b)
{
	return strncmp(a, b, 6);
}

/* Stable, so that those of one operation stay in order. */
static void sort_lines(struct transcript *t)
{
	for (size_t i = 1; i < t->count; i++)
		for (size_t k = i; k && compare_lines(t->lines[k - 1], t->lines[k]) > 0; k--) {
			char *line = t->lines[k];

			t->lines[k] = t->lines[k - 1];
			t->lines[k - 1] = line;
		}
}

static void turn(void)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;

	check_eq(torc_op_begin(&op, &sqe), 0);
	io_uring_prep_nop(sqe);
	check_eq(torc_op_wait(&op), 0);
}

/* Of Linux: what is expected, and whether there is more. */
static void await_expected(void)
{
	size_t step = run.transcript->steps;
	size_t wanted = step < run.expected->steps ? run.expected->completions[step] : 0;
	uint64_t end_ns = torc_now_ns() + PATIENCE_NS;

	for (int i = 0; run.completions < wanted && torc_now_ns() < end_ns; i++)
		if (i < 20)
			turn();
		else
			check_eq(torc_sleep(100000), 0);
	for (int i = 0; i < 3; i++)
		turn();
}

/* The end of a step. */
static void settle(void)
{
	if (run.expected)
		await_expected();
	else
		check_eq(torc_sleep(run.settle_ns), 0);
	sort_lines(&run.step);
	for (size_t i = 0; i < run.step.count; i++)
		add_line(run.transcript, run.step.lines[i]);
	free_transcript(&run.step);
	end_step(run.transcript, run.completions);
}

/* --- operations --- */

static struct act *new_act(size_t len)
{
	struct act *a = calloc(1, sizeof(*a));

	check(a);
	a->number = ++run.act_count;
	a->fd = -1;
	a->len = len;
	a->memory = calloc(1, len ? len : 1);
	check(a->memory);
	*run.acts_tail = a;
	run.acts_tail = &a->next;
	return a;
}

/* To be filled in, with nothing that suspends before `end_act`. */
static struct io_uring_sqe *begin_act(struct act *a)
{
	return torc_op_start(&a->op, complete_act);
}

#define step_act(a, ...)                                               \
	do {                                                           \
		char step_text_[200];                                  \
		snprintf(step_text_, sizeof(step_text_), __VA_ARGS__); \
		say("#%03u %s", (a)->number, step_text_);              \
		settle();                                              \
	} while (0)

static struct act *do_nop(void)
{
	struct act *a = new_act(0);

	io_uring_prep_nop(begin_act(a));
	step_act(a, "nop");
	return a;
}

static struct act *do_read(int fd, unsigned len, int64_t offset)
{
	struct act *a = new_act(len);

	a->fills = true;
	io_uring_prep_read(begin_act(a), fd, a->memory, len, (uint64_t)offset);
	step_act(a, "read %s, %u bytes at %lld", name_of(fd), len, (long long)offset);
	return a;
}

static struct act *do_write(int fd, unsigned len, int64_t offset)
{
	struct act *a = new_act(len);

	fill_bytes(a->memory, len);
	io_uring_prep_write(begin_act(a), fd, a->memory, len, (uint64_t)offset);
	step_act(a, "write %s, %u bytes at %lld", name_of(fd), len, (long long)offset);
	return a;
}

/* Of an eventfd. */
static struct act *do_add(int fd, uint64_t value)
{
	struct act *a = new_act(sizeof(value));

	memcpy(a->memory, &value, sizeof(value));
	io_uring_prep_write(begin_act(a), fd, a->memory, sizeof(value), 0);
	step_act(a, "add to %s, %llu", name_of(fd), (unsigned long long)value);
	return a;
}

static struct act *do_send(int fd, unsigned len, int flags)
{
	struct act *a = new_act(len);

	fill_bytes(a->memory, len);
	io_uring_prep_send(begin_act(a), fd, a->memory, len, flags | MSG_NOSIGNAL);
	step_act(a, "send %s, %u bytes, flags %#x", name_of(fd), len, (unsigned)flags);
	return a;
}

static struct act *do_recv(int fd, unsigned len, int flags)
{
	struct act *a = new_act(len);

	a->fills = !(flags & MSG_TRUNC);
	io_uring_prep_recv(begin_act(a), fd, a->memory, len, flags);
	step_act(a, "recv %s, %u bytes, flags %#x", name_of(fd), len, (unsigned)flags);
	return a;
}

/* Into a provided buffer of the group. */
static struct act *do_read_selected(int fd, unsigned len, int64_t offset, unsigned group)
{
	struct act *a = new_act(0);
	struct io_uring_sqe *sqe;

	check(torc__buffers(torc__loop()));
	a->fills = true;
	sqe = begin_act(a);
	io_uring_prep_read(sqe, fd, NULL, len, (uint64_t)offset);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = (uint16_t)group;
	step_act(a, "read %s into a buffer of group %u, %u bytes at %lld", name_of(fd), group, len,
		 (long long)offset);
	return a;
}

/* With provided buffers, of 4096 bytes. */
static struct act *do_recv_selected(int fd, unsigned len, int flags, bool multishot)
{
	struct act *a = new_act(0);
	struct io_uring_sqe *sqe;

	check(torc__buffers(torc__loop()));
	a->fills = true;
	sqe = begin_act(a);
	io_uring_prep_recv(sqe, fd, NULL, len, flags);
	if (multishot)
		sqe->ioprio |= IORING_RECV_MULTISHOT;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = TORC__BUFFER_GROUP;
	step_act(a, "recv%s %s into a buffer, %u bytes, flags %#x", multishot ? ", many," : "",
		 name_of(fd), len, (unsigned)flags);
	return a;
}

/* to: NULL, where it is connected. */
static struct act *do_sendto(int fd, unsigned len, const struct address *to)
{
	struct act *a = new_act(len);
	struct io_uring_sqe *sqe = begin_act(a);

	fill_bytes(a->memory, len);
	io_uring_prep_send(sqe, fd, a->memory, len, MSG_NOSIGNAL);
	if (to) {
		memcpy(&a->address, &to->storage, sizeof(a->address));
		io_uring_prep_send_set_addr(sqe, (struct sockaddr *)&a->address, (uint16_t)to->len);
	}
	step_act(a, "send %s, %u bytes, to %s", name_of(fd), len,
		 to ? address_text(to) : "its peer");
	return a;
}

static void set_message(struct act *a, size_t len, socklen_t name_len)
{
	a->iov = (struct iovec){ a->memory, len };
	a->message = (struct msghdr){ .msg_iov = &a->iov, .msg_iovlen = 1 };
	if (!name_len)
		return;
	a->message.msg_name = &a->address;
	a->message.msg_namelen = name_len;
}

static struct act *do_sendmsg(int fd, unsigned len, const struct address *to)
{
	struct act *a = new_act(len);

	fill_bytes(a->memory, len);
	if (to)
		memcpy(&a->address, &to->storage, sizeof(a->address));
	set_message(a, len, to ? to->len : 0);
	io_uring_prep_sendmsg(begin_act(a), fd, &a->message, MSG_NOSIGNAL);
	step_act(a, "sendmsg %s, %u bytes, to %s", name_of(fd), len,
		 to ? address_text(to) : "its peer");
	return a;
}

/* One that does not wait: what came with it is told at once. */
static struct act *do_recvmsg(int fd, unsigned len, int flags)
{
	struct act *a = new_act(len);
	struct address from;

	a->fills = !(flags & MSG_TRUNC);
	set_message(a, len, sizeof(a->address));
	io_uring_prep_recvmsg(begin_act(a), fd, &a->message, (unsigned)flags);
	step_act(a, "recvmsg %s, %u bytes, flags %#x", name_of(fd), len, (unsigned)flags);
	memcpy(&from.storage, &a->address, sizeof(from.storage));
	from.len = a->message.msg_namelen;
	if (a->res >= 0)
		say("  from %s, control data %zu, flags %#x",
		    from.len ? address_text(&from) : "nobody", a->message.msg_controllen,
		    (unsigned)a->message.msg_flags & MSG_TRUNC);
	return a;
}

/* Again and again, into the provided buffers of 4096 bytes. */
static struct act *do_recvmsg_many(int fd)
{
	struct act *a = new_act(0);
	struct io_uring_sqe *sqe;

	check(torc__buffers(torc__loop()));
	sqe = begin_act(a);
	a->message = (struct msghdr){ .msg_namelen = 32, .msg_controllen = 24 };
	io_uring_prep_recvmsg_multishot(sqe, fd, &a->message, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = TORC__BUFFER_GROUP;
	step_act(a, "recvmsg, many, %s", name_of(fd));
	return a;
}

static struct act *do_poll(int fd, unsigned events)
{
	struct act *a = new_act(0);

	io_uring_prep_poll_add(begin_act(a), fd, events);
	step_act(a, "poll %s, events %#x", name_of(fd), events);
	return a;
}

/* Returns the act; its fd is what was accepted. */
static struct act *do_accept(int fd, int flags, bool multishot)
{
	struct act *a = new_act(0);
	struct io_uring_sqe *sqe = begin_act(a);

	a->opens = true;
	if (multishot)
		io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, flags);
	else
		io_uring_prep_accept(sqe, fd, NULL, NULL, flags);
	step_act(a, "accept%s %s, flags %#x", multishot ? ", many," : "", name_of(fd),
		 (unsigned)flags);
	return a;
}

static struct act *do_accept_address(int fd)
{
	struct act *a = new_act(0);
	struct address peer;

	a->opens = true;
	a->address_len = sizeof(a->address);
	io_uring_prep_accept(begin_act(a), fd, (struct sockaddr *)&a->address, &a->address_len, 0);
	step_act(a, "accept %s with its address", name_of(fd));
	memcpy(&peer.storage, &a->address, sizeof(peer.storage));
	peer.len = a->address_len;
	say("  from %s", address_text(&peer));
	return a;
}

static struct act *do_connect(int fd, const struct address *to)
{
	struct act *a = new_act(0);

	memcpy(&a->address, &to->storage, sizeof(a->address));
	io_uring_prep_connect(begin_act(a), fd, (struct sockaddr *)&a->address, to->len);
	step_act(a, "connect %s to %s", name_of(fd), address_text(to));
	return a;
}

static struct act *do_shutdown(int fd, int how)
{
	struct act *a = new_act(0);

	io_uring_prep_shutdown(begin_act(a), fd, how);
	step_act(a, "shutdown %s, how %d", name_of(fd), how);
	return a;
}

static struct act *do_close(int fd)
{
	struct act *a = new_act(0);
	char text[16];

	snprintf(text, sizeof(text), "%s", name_of(fd));
	unname(fd);
	io_uring_prep_close(begin_act(a), fd);
	step_act(a, "close %s", text);
	return a;
}

static struct act *do_socket(int domain, int type)
{
	struct act *a = new_act(0);

	a->opens = true;
	io_uring_prep_socket(begin_act(a), domain, type, 0, 0);
	step_act(a, "socket, domain %d, type %#x", domain, (unsigned)type);
	return a;
}

/* By what it was given to the kernel as. */
static struct act *do_cancel(struct act *target)
{
	struct act *a = new_act(0);

	io_uring_prep_cancel(begin_act(a), &target->op, 0);
	step_act(a, "cancel #%03u", target->number);
	return a;
}

/*
 * A send of which only the failure is to be told. The success has no completion, and is told by the runtime when the
 * submission has passed.
 */
static struct act *do_send_quietly(int fd, unsigned len)
{
	struct act *a = new_act(len);
	struct io_uring_sqe *sqe;

	fill_bytes(a->memory, len);
	sqe = torc_op_start_quiet(&a->op, complete_act, (int)len);
	io_uring_prep_send(sqe, fd, a->memory, len, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	turn();
	step_act(a, "send %s, %u bytes, quietly", name_of(fd), len);
	return a;
}

/* --- calls --- */

static void say_call(const char *call, int fd, int r)
{
	say("%s %s: %s", call, name_of(fd), result(r));
}

static int call_socket(const char *text, int domain, int type)
{
	int fd = torc_sys_socket(domain, type, 0);

	say("socket %s, domain %d, type %#x: %s", text, domain, (unsigned)type,
	    fd < 0 ? result(fd) : "a descriptor");
	return name(fd, "%s", text);
}

static bool call_pair(const char *a, const char *b, int domain, int type, int ret_fds[2])
{
	int r = torc_sys_socketpair(domain, type, 0, ret_fds);

	say("socketpair %s %s, domain %d, type %#x: %s", a, b, domain, (unsigned)type, result(r));
	if (r < 0)
		return false;
	name(ret_fds[0], "%s", a);
	name(ret_fds[1], "%s", b);
	return true;
}

static bool call_pipe(int ret_fds[2], int flags)
{
	int r = torc_sys_pipe(ret_fds, flags);

	say("pipe, flags %#x: %s", (unsigned)flags, result(r));
	if (r < 0)
		return false;
	name(ret_fds[0], "reader");
	name(ret_fds[1], "writer");
	return true;
}

static int call_eventfd(unsigned value, int flags)
{
	int fd = torc_sys_eventfd(value, flags);

	say("eventfd, %u, flags %#x: %s", value, (unsigned)flags, fd < 0 ? result(fd) : "ok");
	return name(fd, "counter");
}

static int call_bind(int fd, const struct address *a)
{
	int r = torc_sys_bind(fd, &a->any, a->len);

	say("bind %s to %s: %s", name_of(fd), address_text(a), result(r));
	return r;
}

static int call_listen(int fd, int backlog)
{
	int r = torc_sys_listen(fd, backlog);

	say("listen %s, backlog %d: %s", name_of(fd), backlog, result(r));
	return r;
}

static struct address call_name(int fd, bool local)
{
	struct address a = { .len = sizeof(a.storage) };
	int r = local ? torc_sys_getsockname(fd, &a.any, &a.len)
		      : torc_sys_getpeername(fd, &a.any, &a.len);

	say("%s of %s: %s", local ? "name" : "peer", name_of(fd),
	    r < 0 ? result(r) : address_text(&a));
	return a;
}

static void call_getsockopt(int fd, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);
	int r = torc_sys_getsockopt(fd, SOL_SOCKET, option, &value, &len);

	if (r < 0)
		say("option %d of %s: %s", option, name_of(fd), result(r));
	else
		say("option %d of %s: value %d, %u bytes", option, name_of(fd), value, len);
}

static void call_error(int fd)
{
	call_getsockopt(fd, SO_ERROR);
}

static void call_setsockopt(int fd, int level, int option, int value)
{
	say("set option %d.%d of %s to %d: %s", level, option, name_of(fd), value,
	    result(torc_sys_setsockopt(fd, level, option, &value, sizeof(value))));
}

static void call_linger_zero(int fd)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	say_call("linger 0", fd,
		 torc_sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

static int call_dup(int fd, const char *text)
{
	int r = torc_sys_dup(fd);

	say("dup %s: %s", name_of(fd), r < 0 ? result(r) : text);
	return name(r, "%s", text);
}

static void call_close(int fd)
{
	char text[16];

	snprintf(text, sizeof(text), "%s", name_of(fd));
	unname(fd);
	say("close(2) %s: %s", text, result(torc_sys_close(fd)));
	settle(); /* the peer may hear of it */
}

/* What poll(2) would say at once: an operation that is cancelled when it has to wait. */
static void say_state(int fd)
{
	struct act *a = do_poll(fd, POLLIN | POLLOUT | POLLRDHUP);

	if (torc_op_pending(&a->op))
		do_cancel(a);
}

/* --- the beginning and the end --- */

static void begin_script(struct transcript *t, const struct transcript *expected, const char *base,
			 void *arg)
{
	memset(&run, 0, sizeof(run));
	run.transcript = t;
	run.expected = expected;
	run.base = base;
	run.acts_tail = &run.acts;
	run.settle_ns = SETTLE_NS;
	run.arg = arg;
}

static void free_acts(void)
{
	while (run.acts) {
		struct act *a = run.acts;

		run.acts = a->next;
		free(a->memory);
		free(a);
	}
}

/* What is under way is cancelled, what is open closed. */
static void end_script(void)
{
	say("end");
	run.keeps = false;
	give_kept(run.kept_count);
	for (struct act *a = run.acts; a; a = a->next)
		if (torc_op_pending(&a->op))
			torc_op_cancel(&a->op);
	settle();
	for (struct act *a = run.acts; a; a = a->next)
		while (torc_op_pending(&a->op))
			check_eq(torc_sleep(100000), 0);
	for (size_t i = 0; i < NAMES; i++)
		if (run.names[i].text[0])
			torc_sys_close(run.names[i].fd);
	free_acts();
	free_transcript(&run.step);
}

#endif
