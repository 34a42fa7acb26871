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
	switch (op->sqe.opcode) {
	case IORING_OP_SEND:
	case IORING_OP_RECV:
	case IORING_OP_SENDMSG:
	case IORING_OP_RECVMSG: return true;
	default: return false;
	}
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

/*
 * Is the buffer gone? A receive that brings nothing puts it back, and a message always brings its header. A read that finds the
 * end has used it up, and of a file that cannot be polled even one that fails: nothing is put back there. (Of what can be
 * polled it depends on the kernel; here it is put back.)
 */
static bool uses_up(const struct torc__sim_op *op, ssize_t r)
{
	if (r > 0)
		return true;
	if (r == TORC__SIM_WAIT || op->sqe.opcode != IORING_OP_READ)
		return false;
	return !r || !op->file->kind->poll;
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
	if (uses_up(op, r))
		op->flags = IORING_CQE_F_BUFFER | (unsigned)id << IORING_CQE_BUFFER_SHIFT;
	else
		torc__sim_buffer_untake(op->ring, op->sqe.buf_group, id);
	return r;
}

static ssize_t read_into(struct torc__sim_op *op, char *memory, size_t len)
{
	struct torc__sim_file *file = op->file;

	if (!file->kind->read)
		return -EBADF;
	return file->kind->read(file, memory, cut(len, file->kind->whole_read), op->sqe.off, 0);
}

static int attempt_read(struct torc__sim_op *op)
{
	int r;

	if (op->sqe.flags & IOSQE_BUFFER_SELECT)
		return or_again(op, into_selected(op, read_into));
	if (op->file->kind->is_socket && !op->claim.len)
		return 0;
	r = or_again(op, read_into(op, op->claim.memory, op->claim.len));
	if (r > 0)
		op->done = (size_t)r;
	return r;
}

static bool is_fixed(const struct torc__sim_op *op)
{
	const struct torc__sim_ring *ring = op->ring;
	const struct iovec *v = &ring->fixed[op->sqe.buf_index];
	uint64_t at;

	if (op->sqe.buf_index >= ring->fixed_count || !v->iov_base)
		return false;
	at = op->sqe.addr - (uint64_t)(uintptr_t)v->iov_base;
	return at <= v->iov_len && op->sqe.len <= v->iov_len - at;
}

static void prepare_read_fixed(struct torc__sim_op *op)
{
	if (is_fixed(op))
		prepare_read(op);
}

static void prepare_write_fixed(struct torc__sim_op *op)
{
	if (is_fixed(op))
		prepare_write(op);
}

static int attempt_read_fixed(struct torc__sim_op *op)
{
	return is_fixed(op) ? attempt_read(op) : -EFAULT;
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

/* --- vectored transfers --- */

#define PIECES_MOST 1024u
#define MOVED_MOST  (INT_MAX & ~4095)

/* The kernel copies the vector when it takes the entry. Of one that is wrong nothing is claimed. */
static void prepare_vector(struct torc__sim_op *op,
			   void (*claim)(struct torc__sim_claim *claim, struct iovec piece))
{
	const struct iovec *v = pointer(op->sqe.addr);
	unsigned count = op->sqe.len;

	if (count > PIECES_MOST)
		return;
	for (unsigned i = 0; i < count; i++)
		if (v[i].iov_len > SSIZE_MAX)
			return;
	op->pieces = torc__sim_alloc(count * sizeof(*op->pieces));
	op->piece_count = count;
	for (unsigned i = 0; i < count; i++) {
		claim(&op->pieces[i], v[i]);
		op->pieces_len += v[i].iov_len;
	}
	if (op->pieces_len > MOVED_MOST)
		refuse(&op->sqe, " of more than 2 GiB");
}

static void claim_out(struct torc__sim_claim *claim, struct iovec piece)
{
	torc__sim_claim_out(claim, piece.iov_base, piece.iov_len);
}

static void claim_in(struct torc__sim_claim *claim, struct iovec piece)
{
	torc__sim_claim_in(claim, piece.iov_base, piece.iov_len);
}

static void prepare_readv(struct torc__sim_op *op)
{
	prepare_vector(op, claim_out);
}

static void prepare_writev(struct torc__sim_op *op)
{
	prepare_vector(op, claim_in);
}

/* From or to one piece of memory, which is as long as all of them, or is cut. */
static void move_pieces(const struct torc__sim_op *op, char *memory, size_t len, bool in)
{
	for (unsigned i = 0; len; i++) {
		const struct torc__sim_claim *p = &op->pieces[i];
		size_t n = p->len < len ? p->len : len;

		if (n && in)
			memcpy(memory, p->memory, n);
		else if (n)
			memcpy(p->memory, memory, n);
		memory += n;
		len -= n;
	}
}

/* What flags of one transfer mean is the file's business: here RWF_APPEND. */
static int check_rw_flags(const struct torc__sim_op *op)
{
	unsigned known = RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND;

	if (op->sqe.rw_flags & RWF_HIPRI)
		refuse(&op->sqe, " with RWF_HIPRI");
	return (unsigned)op->sqe.rw_flags & ~known ? -EOPNOTSUPP : op->pieces ? 0 : -EINVAL;
}

static int attempt_readv(struct torc__sim_op *op)
{
	struct torc__sim_file *file = op->file;
	size_t len = cut(op->pieces_len, file->kind->whole_read);
	char *memory;
	int r;

	if (!file->kind->read)
		return -EBADF;
	r = check_rw_flags(op);
	if (r)
		return r;
	memory = torc__sim_alloc(len);
	r = or_again(op, file->kind->read(file, memory, len, op->sqe.off, 0));
	if (r > 0) {
		move_pieces(op, memory, (size_t)r, false);
		op->done = (size_t)r;
	}
	free(memory);
	return r;
}

static int attempt_writev(struct torc__sim_op *op)
{
	struct torc__sim_file *file = op->file;
	size_t len = cut(op->pieces_len, file->kind->whole_write);
	int flags = file->flags, r;
	char *memory;

	if (!file->kind->write)
		return -EBADF;
	r = check_rw_flags(op);
	if (r)
		return r;
	memory = torc__sim_alloc(len);
	move_pieces(op, memory, len, true);
	if (op->sqe.rw_flags & RWF_APPEND)
		file->flags |= O_APPEND;
	r = or_again(op, file->kind->write(file, memory, len, op->sqe.off, 0));
	file->flags = flags;
	free(memory);
	return r;
}

/* How many bytes of piece i are among the first `done` of all. */
static size_t done_of_piece(const struct torc__sim_op *op, unsigned i, size_t *done)
{
	size_t n = op->pieces[i].len < *done ? op->pieces[i].len : *done;

	*done -= n;
	return n;
}

static void check_claims(const struct torc__sim_op *op)
{
	size_t done = op->done;

	torc__sim_claim_check(&op->claim, op->done);
	for (unsigned i = 0; i < op->piece_count; i++)
		torc__sim_claim_check(&op->pieces[i], done_of_piece(op, i, &done));
}

static void end_claims(struct torc__sim_op *op)
{
	size_t done = op->done;

	torc__sim_claim_end(&op->claim, op->done);
	for (unsigned i = 0; i < op->piece_count; i++)
		torc__sim_claim_end(&op->pieces[i], done_of_piece(op, i, &done));
	free(op->pieces);
	op->pieces = NULL;
	op->piece_count = 0;
}

/* --- sockets --- */

static int attempt_write_fixed(struct torc__sim_op *op)
{
	return is_fixed(op) ? attempt_write(op) : -EFAULT;
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

/* A datagram to the address of the operation, if it has one. */
static ssize_t send_datagram(struct torc__sim_op *op, const char *p, size_t len)
{
	struct torc_address to;
	int r;

	if (!op->address_len)
		return torc__sim_datagram_send(op->file, p, len, NULL);
	r = torc__sim_address_read((const struct sockaddr *)&op->address, op->address_len, &to);
	return r < 0 ? r : torc__sim_datagram_send(op->file, p, len, &to);
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
		return unless_waiting(op, send_datagram(op, p, len));
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

/* --- messages --- */

/* The kernel copies the address when it takes the entry. */
static void keep_address(struct torc__sim_op *op, const void *address, size_t len)
{
	op->address_len = len < sizeof(op->address) ? (socklen_t)len : sizeof(op->address);
	if (op->address_len)
		memcpy(&op->address, address, op->address_len);
}

static void prepare_send(struct torc__sim_op *op)
{
	if (op->sqe.addr2)
		keep_address(op, pointer(op->sqe.addr2), op->sqe.addr_len);
	prepare_write(op);
}

/* From here on it is as a send or a receive of its one piece. */
static void open_message(struct torc__sim_op *op)
{
	struct msghdr *m = pointer(op->sqe.addr);

	if (m->msg_iovlen > 1)
		refuse(&op->sqe, " of several pieces");
	op->message = m;
	op->sqe.addr = m->msg_iovlen ? (uint64_t)(uintptr_t)m->msg_iov->iov_base : 0;
	op->sqe.len = m->msg_iovlen ? (unsigned)m->msg_iov->iov_len : 0;
}

static void prepare_sendmsg(struct torc__sim_op *op)
{
	open_message(op);
	if (op->message->msg_controllen)
		refuse(&op->sqe, " with control data");
	if (op->message->msg_name)
		keep_address(op, op->message->msg_name, op->message->msg_namelen);
	prepare_write(op);
}

static void prepare_recvmsg(struct torc__sim_op *op)
{
	open_message(op);
	op->name_room = op->message->msg_namelen;
	op->control_room = op->message->msg_controllen;
	prepare_recv(op);
}

/* Control data never comes: nothing that asks for it is modelled. */
static ssize_t recv_message(struct torc__sim_op *op, char *memory, size_t len,
			    struct torc_address *ret_from, int *ret_flags)
{
	struct torc__sim_file *file = op->file;
	bool truncated = false;
	ssize_t r;

	ret_from->len = 0;
	if (torc__sim_is_datagram(file))
		r = torc__sim_datagram_recv(file, memory, len, (int)op->sqe.msg_flags, ret_from,
					    &truncated);
	else
		r = file->kind->read(file, memory, torc__sim_cut(len), 0, (int)op->sqe.msg_flags);
	*ret_flags = truncated ? MSG_TRUNC : 0;
	return r;
}

/* As struct io_uring_recvmsg_out says: a header, room for name and control data, the bytes. */
static ssize_t recv_laid_out(struct torc__sim_op *op, char *memory, size_t len)
{
	struct io_uring_recvmsg_out out = { .namelen = 0 };
	size_t head = sizeof(out) + op->name_room + op->control_room;
	struct torc_address from;
	int flags;
	ssize_t r;

	if (len < head)
		return -EFAULT;
	r = recv_message(op, memory + head, len - head, &from, &flags);
	if (r < 0)
		return r;
	out.namelen = from.len;
	out.payloadlen = (uint32_t)r;
	out.flags = (uint32_t)flags;
	memcpy(memory, &out, sizeof(out));
	memcpy(memory + sizeof(out), &from.any,
	       from.len < op->name_room ? from.len : op->name_room);
	op->multishot = op->multishot && r > 0; /* an empty one ends it */
	return (ssize_t)(head + ((size_t)r < len - head ? (size_t)r : len - head));
}

static int attempt_recvmsg(struct torc__sim_op *op)
{
	struct msghdr *m = op->message;
	struct torc_address from;
	int flags = 0;
	ssize_t r;

	if (!op->file->kind->is_socket)
		return -ENOTSOCK;
	break_perhaps(op->file);
	if (op->multishot)
		return unless_asked(op, into_selected(op, recv_laid_out));
	if (op->sqe.flags & IOSQE_BUFFER_SELECT)
		refuse(&op->sqe, " into a provided buffer, once");
	r = recv_message(op, op->claim.memory + op->done, op->claim.len - op->done, &from, &flags);
	if (r >= 0) {
		socklen_t room = (socklen_t)op->name_room;

		torc__sim_address_write(&from, m->msg_name, &room);
		m->msg_namelen = m->msg_name ? from.len : 0;
		m->msg_controllen = 0;
		m->msg_flags = flags;
	}
	return torc__sim_is_datagram(op->file) ? unless_waiting(op, r) : with_waitall(op, r);
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
	struct torc_address address;
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

static void prepare_connect(struct torc__sim_op *op)
{
	keep_address(op, pointer(op->sqe.addr), op->sqe.off);
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

static int attempt_ftruncate(struct torc__sim_op *op)
{
	return torc__sim_disk_truncate(op->file, op->sqe.off);
}

static int attempt_sync_file_range(struct torc__sim_op *op)
{
	return torc__sim_disk_sync_range(op->file, op->sqe.off, op->sqe.len,
					 (int)op->sqe.sync_range_flags);
}

static int attempt_fadvise(struct torc__sim_op *op)
{
	return torc__sim_disk_advise(op->file, (int)op->sqe.fadvise_advice);
}

static int attempt_linkat(struct torc__sim_op *op)
{
	struct torc__sim_file *from, *to;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr, &from);

	if (!r)
		r = directory_of(&op->sqe, (int)op->sqe.len, op->sqe.addr2, &to);
	return r ? r
		 : torc__sim_disk_link(from, pointer(op->sqe.addr), to, pointer(op->sqe.addr2),
				       (int)op->sqe.hardlink_flags);
}

static int attempt_symlinkat(struct torc__sim_op *op)
{
	struct torc__sim_file *directory;
	int r = directory_of(&op->sqe, op->sqe.fd, op->sqe.addr2, &directory);

	return r ? r
		 : torc__sim_disk_symlink(pointer(op->sqe.addr), directory, pointer(op->sqe.addr2));
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

static const struct torc__sim_op_kind kinds[] = {
	[IORING_OP_NOP] = { .attempt = attempt_nop },
	[IORING_OP_READ] = { .needs_file = true,
			     .prepare = prepare_read,
			     .attempt = attempt_read,
			     .errors = { -EIO, -EINTR, -ENOMEM, -EAGAIN } },
	[IORING_OP_WRITE] = { .needs_file = true,
			      .prepare = prepare_write,
			      .attempt = attempt_write,
			      .errors = { -EIO, -EINTR, -ENOMEM, -EDQUOT } },
	[IORING_OP_READV] = { .needs_file = true,
			      .prepare = prepare_readv,
			      .attempt = attempt_readv,
			      .errors = { -EIO, -EINTR, -ENOMEM, -EAGAIN } },
	[IORING_OP_WRITEV] = { .needs_file = true,
			       .prepare = prepare_writev,
			       .attempt = attempt_writev,
			       .errors = { -EIO, -EINTR, -ENOMEM, -EDQUOT } },
	[IORING_OP_READ_FIXED] = { .needs_file = true,
				   .prepare = prepare_read_fixed,
				   .attempt = attempt_read_fixed,
				   .errors = { -EIO, -EINTR, -ENOMEM, -EAGAIN } },
	[IORING_OP_WRITE_FIXED] = { .needs_file = true,
				    .prepare = prepare_write_fixed,
				    .attempt = attempt_write_fixed,
				    .errors = { -EIO, -EINTR, -ENOMEM, -EDQUOT } },
	[TORC__OP_FTRUNCATE] = { .needs_file = true,
				 .attempt = attempt_ftruncate,
				 .errors = { -EIO, -EINTR, -EPERM } },
	[IORING_OP_SYNC_FILE_RANGE] = { .needs_file = true,
					.attempt = attempt_sync_file_range,
					.errors = { -EIO, -EINTR, -ENOMEM } },
	[IORING_OP_FADVISE] = { .needs_file = true, .attempt = attempt_fadvise },
	[IORING_OP_LINKAT] = { .attempt = attempt_linkat, .errors = { -EIO, -ENOSPC, -EMLINK } },
	[IORING_OP_SYMLINKAT] = { .attempt = attempt_symlinkat, .errors = { -EIO, -ENOSPC } },
	[IORING_OP_SEND] = { .needs_file = true,
			     .prepare = prepare_send,
			     .attempt = attempt_send,
			     .errors = { -ENOMEM, -ENOBUFS, -EINTR } },
	[IORING_OP_SENDMSG] = { .needs_file = true,
				.prepare = prepare_sendmsg,
				.attempt = attempt_send,
				.errors = { -ENOMEM, -ENOBUFS, -EINTR } },
	[IORING_OP_RECVMSG] = { .needs_file = true,
				.prepare = prepare_recvmsg,
				.attempt = attempt_recvmsg,
				.errors = { -ENOMEM, -EINTR } },
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
	check_claims(op);
	end_claims(op);
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
	check_claims(op);
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
	return opcode < sizeof(kinds) / sizeof(kinds[0]) && kinds[opcode].attempt;
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
