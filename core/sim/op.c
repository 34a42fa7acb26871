#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "core/internal/opcode.h"
#include "core/sim/sim.h"

#define ERRORS 4

/* An attempt: not done, but it can go on. */
#define GO_ON (INT_MIN + 1)

/* What an operation is. */
struct torc__sim_op_kind {
	bool needs_file;
	bool at_once;                             /* while it is submitted, whatever else */
	void (*prepare)(struct torc__sim_op *op); /* at submission; may be NULL */
	int (*attempt)(struct torc__sim_op *op);  /* the result, or TORC__SIM_WAIT */
	int errors[ERRORS]; /* that it may fail with at any time: TORC_SIM_ERROR */
};

static void attempt(struct torc__sim_op *op);

/* --- arguments --- */

static void *pointer(uint64_t value)
{
	return (void *)(uintptr_t)value;
}

static _Noreturn void refuse(const struct io_uring_sqe *sqe, const char *why)
{
	struct torc__message m = { .len = 0 };
	char text[sizeof(m.text) + 1];

	torc__opcode_describe(sqe, &m);
	torc__message_text(&m, why);
	memcpy(text, m.text, m.len);
	text[m.len] = '\0';
	torc__sim_fail("an operation that the simulator does not know", text);
}

/* Where a path starts from: NULL is the root. Returns 0, or -EBADF for one that needs the directory. */
static int directory_of(const struct io_uring_sqe *sqe, int fd, uint64_t path,
			struct torc__sim_file **ret)
{
	const char *text = pointer(path);

	*ret = NULL;
	if (fd == AT_FDCWD)
		return 0;
	if (fd >= 0 && fd < TORC_SIM_FD)
		refuse(sqe, " below a directory that is not the simulator's");
	*ret = torc__sim_fd_file(fd);
	return *ret || (text && *text == '/') ? 0 : -EBADF;
}

/* --- the kinds --- */

static int attempt_nop(struct torc__sim_op *op)
{
	(void)op;
	return 0;
}

static void prepare_read(struct torc__sim_op *op)
{
	if (!(op->sqe.flags & IOSQE_BUFFER_SELECT))
		torc__sim_claim_out(&op->claim, pointer(op->sqe.addr), op->sqe.len);
}

static void prepare_write(struct torc__sim_op *op)
{
	torc__sim_claim_in(&op->claim, pointer(op->sqe.addr), op->sqe.len);
}

static bool is_transfer(const struct torc__sim_op *op)
{
	return op->sqe.opcode == IORING_OP_SEND || op->sqe.opcode == IORING_OP_RECV;
}

/* It is over when it is submitted. */
static bool is_at_once(const struct torc__sim_op *op)
{
	return op->kind->at_once || (is_transfer(op) && op->sqe.msg_flags & MSG_DONTWAIT);
}

/* O_NONBLOCK is for the system calls: what can be polled is waited for. */
static int or_again(const struct torc__sim_op *op, ssize_t r)
{
	return r == TORC__SIM_WAIT && op->sqe.rw_flags & RWF_NOWAIT ? -EAGAIN : (int)r;
}

static size_t cut(size_t len, size_t whole)
{
	return len <= whole ? len : torc__sim_cut(len);
}

/* Into a provided buffer, which is picked when there is something for it. */
static ssize_t into_selected(struct torc__sim_op *op,
			     ssize_t (*transfer)(struct torc__sim_op *op, char *memory, size_t len))
{
	size_t len = op->sqe.len;
	uint16_t id;
	char *memory;
	ssize_t r;

	memory = torc__sim_chaos(TORC_SIM_NOBUFS)
			 ? NULL
			 : torc__sim_buffer_take(op->ring, op->sqe.buf_group, &len, &id);
	if (!memory)
		return -ENOBUFS;
	r = transfer(op, memory, len);
	/* A read that finds the end has used up its buffer, and says so; a receive puts it back. */
	if (r > 0 || (!r && op->sqe.opcode == IORING_OP_READ))
		op->flags = IORING_CQE_F_BUFFER | (unsigned)id << IORING_CQE_BUFFER_SHIFT;
	else
		torc__sim_buffer_untake(op->ring, id);
	return r;
}

static ssize_t read_into(struct torc__sim_op *op, char *memory, size_t len)
{
	struct torc__sim_file *file = op->file;

	return file->kind->read(file, memory, cut(len, file->kind->whole_read), op->sqe.off, 0);
}

static int attempt_read(struct torc__sim_op *op)
{
	struct torc__sim_file *file = op->file;
	int r;

	if (!file->kind->read)
		return -EBADF;
	if (op->sqe.flags & IOSQE_BUFFER_SELECT)
		return or_again(op, into_selected(op, read_into));
	if (file->kind->is_socket && !op->claim.len)
		return 0;
	r = or_again(op, read_into(op, op->claim.memory, op->claim.len));
	if (r > 0)
		op->done = (size_t)r;
	return r;
}

static int attempt_write(struct torc__sim_op *op)
{
	struct torc__sim_file *file = op->file;

	if (!file->kind->write)
		return -EBADF;
	return or_again(op, file->kind->write(file, op->claim.memory,
					      cut(op->claim.len, file->kind->whole_write),
					      op->sqe.off, 0));
}

static bool never_waits(const struct torc__sim_op *op)
{
	return op->sqe.msg_flags & MSG_DONTWAIT;
}

static int unless_asked(const struct torc__sim_op *op, ssize_t r)
{
	return r == TORC__SIM_WAIT && never_waits(op) ? -EAGAIN : (int)r;
}

/* A datagram, which is all or nothing. */
static int unless_waiting(struct torc__sim_op *op, ssize_t r)
{
	if (r == TORC__SIM_WAIT)
		return never_waits(op) ? -EAGAIN : TORC__SIM_WAIT;
	if (r > 0)
		op->done = (size_t)r < op->claim.len ? (size_t)r : op->claim.len;
	return (int)r;
}

/* What is transferred goes on until all is, with MSG_WAITALL. */
static int with_waitall(struct torc__sim_op *op, ssize_t r)
{
	bool all = op->sqe.msg_flags & MSG_WAITALL;
	bool never = never_waits(op);

	if (r > 0)
		op->done += (size_t)r;
	if (r > 0 && all && op->done < op->claim.len)
		return never ? (int)op->done : GO_ON;
	if (r != TORC__SIM_WAIT)
		return op->done ? (int)op->done : (int)r;
	return never ? op->done ? (int)op->done : -EAGAIN : TORC__SIM_WAIT;
}

static void break_perhaps(struct torc__sim_file *file)
{
	if (torc__sim_is_stream(file) && torc__sim_chaos(TORC_SIM_RESET))
		torc__sim_stream_break(file);
}

static int attempt_send(struct torc__sim_op *op)
{
	struct torc__sim_file *file = op->file;
	const char *p = op->claim.memory + op->done;
	size_t len = op->claim.len - op->done;

	if (!file->kind->is_socket)
		return -ENOTSOCK;
	break_perhaps(file);
	if (torc__sim_is_datagram(file))
		return unless_waiting(op, torc__sim_datagram_send(file, p, len, NULL));
	return with_waitall(op, file->kind->write(file, p, torc__sim_cut(len), 0,
						  (int)op->sqe.msg_flags));
}

static ssize_t recv_into(struct torc__sim_op *op, char *memory, size_t len)
{
	struct torc__sim_file *file = op->file;
	bool truncated;

	if (torc__sim_is_datagram(file))
		return torc__sim_datagram_recv(file, memory, len, (int)op->sqe.msg_flags, NULL,
					       &truncated);
	return file->kind->read(file, memory, torc__sim_cut(len), 0, (int)op->sqe.msg_flags);
}

static int attempt_recv(struct torc__sim_op *op)
{
	if (!op->file->kind->is_socket)
		return -ENOTSOCK;
	break_perhaps(op->file);
	if (op->sqe.flags & IOSQE_BUFFER_SELECT)
		return unless_asked(op, into_selected(op, recv_into));
	if (torc__sim_is_datagram(op->file))
		return unless_waiting(op, recv_into(op, op->claim.memory, op->claim.len));
	return with_waitall(op,
			    recv_into(op, op->claim.memory + op->done, op->claim.len - op->done));
}

static void prepare_recv(struct torc__sim_op *op)
{
	op->multishot = op->sqe.ioprio & IORING_RECV_MULTISHOT;
	prepare_read(op);
}

static void prepare_accept(struct torc__sim_op *op)
{
	op->multishot = op->sqe.ioprio & IORING_ACCEPT_MULTISHOT;
}

static int attempt_accept(struct torc__sim_op *op)
{
	if (!torc__sim_is_stream(op->file))
		return op->file->kind->is_socket ? -EOPNOTSUPP : -ENOTSOCK;
	return torc__sim_stream_accept(op->file, pointer(op->sqe.addr), pointer(op->sqe.addr2),
				       (int)op->sqe.accept_flags);
}

static int attempt_connect(struct torc__sim_op *op)
{
	struct torc__address address;
	int r;

	if (!op->file->kind->is_socket)
		return -ENOTSOCK;
	r = torc__sim_address_read((const struct sockaddr *)&op->address, op->address_len,
				   &address);
	if (r < 0)
		return r;
	if (torc__sim_is_datagram(op->file))
		return torc__sim_datagram_connect(op->file, &address);
	return torc__sim_stream_connect(op->file, &address, op->tried);
}

/* The kernel copies the address when it takes the entry. */
static void prepare_connect(struct torc__sim_op *op)
{
	op->address_len =
		op->sqe.off < sizeof(op->address) ? (socklen_t)op->sqe.off : sizeof(op->address);
	memcpy(&op->address, pointer(op->sqe.addr), op->address_len);
}

static int attempt_shutdown(struct torc__sim_op *op)
{
	if (!op->file->kind->is_socket)
		return -ENOTSOCK;
	if (!torc__sim_is_stream(op->file))
		return 0;
	return torc__sim_stream_shutdown(op->file, (int)op->sqe.len);
}

static int attempt_close(struct torc__sim_op *op)
{
	return torc__sim_fd_close(op->sqe.fd);
}

static int attempt_socket(struct torc__sim_op *op)
{
	return torc__sim_system.socket(op->sqe.fd, (int)op->sqe.off, (int)op->sqe.len);
}

static int attempt_openat(struct torc__sim_op *op)
{
	struct torc__sim_file *directory;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &directory);

	return r ? r
		 : torc__sim_disk_open(directory, pointer(op->sqe.addr), (int)op->sqe.open_flags,
				       op->sqe.len, 0);
}

#define OPEN_FLAGS    0x7fffffu /* all that there are */
#define RESOLVE_FLAGS 0x3fu

/* openat2(2) is strict where openat(2) is not. */
static int check_how(const struct open_how *how)
{
	if (how->flags & ~(uint64_t)OPEN_FLAGS || how->resolve & ~(uint64_t)RESOLVE_FLAGS)
		return -EINVAL;
	return how->mode & (how->flags & O_CREAT ? ~(uint64_t)07777 : ~(uint64_t)0) ? -EINVAL : 0;
}

static int attempt_openat2(struct torc__sim_op *op)
{
	const struct open_how *how = pointer(op->sqe.addr2);
	struct torc__sim_file *directory;
	int r = check_how(how);

	if (!r)
		r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &directory);
	return r ? r
		 : torc__sim_disk_open(directory, pointer(op->sqe.addr), (int)how->flags,
				       (unsigned)how->mode, how->resolve);
}

static void prepare_statx(struct torc__sim_op *op)
{
	torc__sim_claim_out(&op->claim, pointer(op->sqe.addr2), sizeof(struct statx));
}

static int attempt_statx(struct torc__sim_op *op)
{
	struct torc__sim_file *file;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &file);

	if (!r)
		r = torc__sim_disk_stat(file, pointer(op->sqe.addr), (int)op->sqe.statx_flags,
					(struct statx *)(void *)op->claim.memory);
	if (!r)
		op->done = sizeof(struct statx);
	return r;
}

static int attempt_mkdirat(struct torc__sim_op *op)
{
	struct torc__sim_file *directory;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &directory);

	return r ? r : torc__sim_disk_mkdir(directory, pointer(op->sqe.addr), op->sqe.len);
}

static int attempt_unlinkat(struct torc__sim_op *op)
{
	struct torc__sim_file *directory;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &directory);

	return r ? r
		 : torc__sim_disk_unlink(directory, pointer(op->sqe.addr),
					 (int)op->sqe.unlink_flags);
}

static int attempt_renameat(struct torc__sim_op *op)
{
	struct torc__sim_file *from, *to;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &from);

	if (!r)
		r = directory_of(&op->sqe, (int)op->sqe.len, op->sqe.addr2, &to);
	return r ? r
		 : torc__sim_disk_rename(from, pointer(op->sqe.addr), to, pointer(op->sqe.addr2),
					 op->sqe.rename_flags);
}

static int attempt_fsync(struct torc__sim_op *op)
{
	return torc__sim_disk_sync(op->file);
}

static int attempt_fallocate(struct torc__sim_op *op)
{
	return torc__sim_disk_allocate(op->file, (int)op->sqe.len, op->sqe.off, op->sqe.addr);
}

/* io_uring does not let go of POLLRDHUP either: io_uring/poll.c, IO_POLL_UNMASK. */
static int attempt_poll(struct torc__sim_op *op)
{
	unsigned wanted = op->sqe.poll32_events | POLLERR | POLLHUP | POLLNVAL | POLLRDHUP;
	unsigned events = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

	if (op->file->kind->poll)
		events = op->file->kind->poll(op->file);
	if (events & wanted)
		return (int)(events & wanted);
	return op->file->kind->poll ? TORC__SIM_WAIT : -EINVAL;
}

static int attempt_msg_ring(struct torc__sim_op *op)
{
	struct torc__sim_ring *to = torc__sim_ring_of(op->sqe.fd);

	if (op->sqe.addr)
		refuse(&op->sqe, " that sends a descriptor");
	if (!to)
		return -EBADFD;
	torc__sim_note("message", to->loop->index, (int64_t)op->sqe.off, 0);
	torc__sim_post(to, op->sqe.off, (int)op->sqe.len, 0);
	return 0;
}

static int attempt_cancel(struct torc__sim_op *op);

static const struct torc__sim_op_kind kinds[IORING_OP_LAST] = {
	[IORING_OP_NOP] = { .attempt = attempt_nop },
	[IORING_OP_READ] = { .needs_file = true,
			     .prepare = prepare_read,
			     .attempt = attempt_read,
			     .errors = { -EIO, -EINTR, -ENOMEM, -EAGAIN } },
	[IORING_OP_WRITE] = { .needs_file = true,
			      .prepare = prepare_write,
			      .attempt = attempt_write,
			      .errors = { -EIO, -EINTR, -ENOMEM, -EDQUOT } },
	[IORING_OP_SEND] = { .needs_file = true,
			     .prepare = prepare_write,
			     .attempt = attempt_send,
			     .errors = { -ENOMEM, -ENOBUFS, -EINTR } },
	[IORING_OP_RECV] = { .needs_file = true,
			     .prepare = prepare_recv,
			     .attempt = attempt_recv,
			     .errors = { -ENOMEM, -EINTR } },
	[IORING_OP_ACCEPT] = { .needs_file = true,
			       .prepare = prepare_accept,
			       .attempt = attempt_accept,
			       .errors = { -EMFILE, -ENFILE, -ENOMEM, -ECONNABORTED } },
	[IORING_OP_CONNECT] = { .needs_file = true,
				.prepare = prepare_connect,
				.attempt = attempt_connect,
				.errors = { -ETIMEDOUT, -ENETUNREACH, -EADDRNOTAVAIL, -EINTR } },
	[IORING_OP_SHUTDOWN] = { .needs_file = true,
				 .attempt = attempt_shutdown,
				 .errors = { -ENOTCONN, -EINTR } },
	[IORING_OP_CLOSE] = { .at_once = true, .attempt = attempt_close },
	[IORING_OP_SOCKET] = { .attempt = attempt_socket, .errors = { -EMFILE, -ENFILE, -ENOMEM } },
	[IORING_OP_OPENAT] = { .attempt = attempt_openat,
			       .errors = { -EMFILE, -ENFILE, -ENOMEM, -EINTR } },
	[IORING_OP_OPENAT2] = { .attempt = attempt_openat2,
				.errors = { -EMFILE, -ENFILE, -ENOMEM, -EINTR } },
	[IORING_OP_STATX] = { .prepare = prepare_statx,
			      .attempt = attempt_statx,
			      .errors = { -EIO, -EINTR, -ENOMEM } },
	[IORING_OP_MKDIRAT] = { .attempt = attempt_mkdirat, .errors = { -EIO, -ENOSPC } },
	[IORING_OP_UNLINKAT] = { .attempt = attempt_unlinkat, .errors = { -EIO, -EINTR } },
	[IORING_OP_RENAMEAT] = { .attempt = attempt_renameat, .errors = { -EIO, -ENOSPC } },
	[IORING_OP_FSYNC] = { .needs_file = true,
			      .attempt = attempt_fsync,
			      .errors = { -EIO, -EINTR } },
	[IORING_OP_FALLOCATE] = { .needs_file = true,
				  .attempt = attempt_fallocate,
				  .errors = { -EIO, -ENOSPC, -EINTR } },
	[IORING_OP_POLL_ADD] = { .needs_file = true,
				 .attempt = attempt_poll,
				 .errors = { -ENOMEM } },
	[IORING_OP_MSG_RING] = { .at_once = true,
				 .attempt = attempt_msg_ring,
				 .errors = { -ENOMEM, -EOVERFLOW } },
	[IORING_OP_ASYNC_CANCEL] = { .at_once = true, .attempt = attempt_cancel },
};

/* --- the end of an operation --- */

static bool has_failed(const struct torc__sim_op *op, int res)
{
	if (res < 0)
		return true;
	return is_transfer(op) && op->sqe.msg_flags & MSG_WAITALL && (size_t)res < op->sqe.len;
}

static void post(struct torc__sim_op *op, int res, unsigned flags)
{
	torc__sim_note("complete", (int64_t)op->number, res, flags);
	if (!(op->sqe.flags & IOSQE_CQE_SKIP_SUCCESS) || has_failed(op, res))
		torc__sim_post(op->ring, op->sqe.user_data, res, flags);
}

static void stop_waiting(struct torc__sim_op *op)
{
	torc__sim_forget(&op->event);
	if (!op->waiting_link)
		return;
	*op->waiting_link = op->next_waiting;
	if (op->next_waiting)
		op->next_waiting->waiting_link = op->waiting_link;
	else
		op->file->waiting_tail = op->waiting_link;
	op->waiting_link = NULL;
}

static void end(struct torc__sim_op *op)
{
	stop_waiting(op);
	*op->link = op->next;
	if (op->next)
		op->next->link = op->link;
	if (op->file)
		torc__sim_file_drop(op->file);
	free(op);
}

static void complete(struct torc__sim_op *op)
{
	torc__sim_claim_check(&op->claim, op->done);
	torc__sim_claim_end(&op->claim, op->done);
	post(op, op->res, op->flags);
	end(op);
}

static void run_completion(struct torc__sim_event *event)
{
	complete(torc__container_of(event, struct torc__sim_op, event));
}

/* It is decided; the completion may take its time, and until then the memory is the kernel's. */
static void decide(struct torc__sim_op *op, int res)
{
	uint64_t latency = is_at_once(op) ? 0 : torc__sim_latency(0);

	stop_waiting(op);
	op->res = res;
	op->state = TORC__SIM_DONE;
	if (latency)
		torc__sim_at(&op->event, torc__sim->now_ns + latency, run_completion);
	else
		complete(op);
}

/* --- attempts --- */

static void run_attempt(struct torc__sim_event *event)
{
	attempt(torc__container_of(event, struct torc__sim_op, event));
}

static void schedule(struct torc__sim_op *op, uint64_t at_ns)
{
	stop_waiting(op);
	op->state = TORC__SIM_SCHEDULED;
	torc__sim_at(&op->event, at_ns, run_attempt);
}

static void wait_for_file(struct torc__sim_op *op)
{
	struct torc__sim_file *file = op->file;

	op->state = TORC__SIM_WAITING;
	op->next_waiting = NULL;
	op->waiting_link = file->waiting_tail;
	*file->waiting_tail = op;
	file->waiting_tail = &op->next_waiting;
}

void torc__sim_changed(struct torc__sim_file *file)
{
	while (file->waiting)
		schedule(file->waiting, torc__sim->now_ns + torc__sim_latency(0));
}

static int chaotic_error(const struct torc__sim_op_kind *kind)
{
	size_t n = 0;

	while (n < ERRORS && kind->errors[n])
		n++;
	return n && torc__sim_chaos(TORC_SIM_ERROR)
		       ? kind->errors[torc__sim_draw(TORC_SIM_ERROR, n)]
		       : 0;
}

/* One more completion of a multishot operation, which goes on unless it ends early. */
static void complete_one(struct torc__sim_op *op, int res)
{
	if (torc__sim_chaos(TORC_SIM_END)) {
		decide(op, res);
		return;
	}
	post(op, res, op->flags | IORING_CQE_F_MORE);
	op->flags = 0;
	schedule(op, torc__sim->now_ns + torc__sim_latency(0));
}

static void settle(struct torc__sim_op *op, int r)
{
	if (r == GO_ON)
		schedule(op, torc__sim->now_ns + torc__sim_latency(0));
	else if (r == TORC__SIM_WAIT && op->doomed)
		decide(op, op->done ? (int)op->done : -EINTR);
	else if (r == TORC__SIM_WAIT)
		wait_for_file(op);
	else if (op->multishot && (r > 0 || (!r && op->sqe.opcode == IORING_OP_ACCEPT)))
		complete_one(op, r);
	else
		decide(op, r);
}

static void attempt(struct torc__sim_op *op)
{
	int r = 0;

	stop_waiting(op);
	torc__sim_claim_check(&op->claim, op->done);
	/* At its first attempt, or when what it waited for has come: never halfway. */
	if (!op->done)
		r = chaotic_error(op->kind);
	if (!r)
		r = op->kind->attempt(op);
	op->tried = true;
	settle(op, r);
}

/* --- submission --- */

bool torc__sim_knows(unsigned opcode)
{
	return opcode < IORING_OP_LAST && kinds[opcode].attempt;
}

static const struct torc__sim_op_kind *kind_of(const struct io_uring_sqe *sqe)
{
	if (!torc__sim_knows(sqe->opcode))
		refuse(sqe, "");
	if (sqe->flags & ~(IOSQE_ASYNC | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS))
		refuse(sqe, " with flags of the entry");
	return &kinds[sqe->opcode];
}

static struct torc__sim_op *create(struct torc__sim_ring *ring, const struct io_uring_sqe *sqe)
{
	struct torc__sim_op *op = torc__sim_alloc(sizeof(*op));

	op->sqe = *sqe;
	op->kind = kind_of(sqe);
	op->ring = ring;
	op->number = ++torc__sim->report.operations;
	op->next = ring->ops;
	op->link = &ring->ops;
	if (op->next)
		op->next->link = &op->next;
	ring->ops = op;
	return op;
}

void torc__sim_submit(struct torc__sim_ring *ring, const struct io_uring_sqe *sqe)
{
	struct torc__sim_op *op = create(ring, sqe);
	uint64_t latency;

	torc__sim_note("submit", (int64_t)op->number, sqe->opcode, sqe->fd);
	if (op->kind->needs_file) {
		if (sqe->fd < TORC_SIM_FD && sqe->fd >= 0)
			refuse(sqe, ", which is not the simulator's");
		op->file = torc__sim_fd_file(sqe->fd);
		if (!op->file || op->file->flags & O_PATH) {
			op->file = NULL;
			decide(op, -EBADF);
			return;
		}
		torc__sim_file_hold(op->file);
	}
	if (op->kind->prepare)
		op->kind->prepare(op);
	latency = is_at_once(op) ? 0 : torc__sim_latency(0);
	if (latency)
		schedule(op, torc__sim->now_ns + latency);
	else
		attempt(op);
}

/* --- cancellation --- */

static struct torc__sim_op *find(struct torc__sim_ring *ring, uint64_t user_data)
{
	struct torc__sim_op *op = ring->ops;

	/* One that is decided is beyond reach. Cancellations and closes have no use for it. */
	while (op &&
	       (op->sqe.user_data != user_data || op->state == TORC__SIM_DONE || op->kind->at_once))
		op = op->next;
	return op;
}

/* A race that it does not simply win. Returns the result of the cancellation, or 0: it stops the operation. */
static int race(struct torc__sim_op *op)
{
	struct torc__sim_ring *ring = op->ring;
	uint64_t user_data = op->sqe.user_data;

	if (torc__sim_draw(TORC_SIM_RACE, 2)) {
		/* It is running: it ends by itself, or is interrupted. */
		op->doomed = true;
		schedule(op, torc__sim->now_ns + torc__sim_latency(1000));
		return -EALREADY;
	}
	attempt(op);
	return find(ring, user_data) == op ? 0 : -ENOENT;
}

static int attempt_cancel(struct torc__sim_op *cancel)
{
	struct torc__sim_op *op;
	int r;

	if (cancel->sqe.cancel_flags)
		refuse(&cancel->sqe, " with flags");
	op = find(cancel->ring, cancel->sqe.addr);
	if (!op)
		return -ENOENT;
	if (torc__sim_chaos(TORC_SIM_RACE)) {
		r = race(op);
		if (r)
			return r;
	}
	decide(op, op->done ? (int)op->done : -ECANCELED);
	return 0;
}
