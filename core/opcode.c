#include "core/internal/opcode.h"

#include <stdbool.h>

/* By number, as io_uring_enter(2) has them: the headers that torc builds with end at sendmsg_zc. */
static const struct {
	const char *name;
	bool no_fd; /* or one that says nothing, such as AT_FDCWD */
} opcodes[] = {
	[0] = { "nop", true },
	[1] = { "readv", false },
	[2] = { "writev", false },
	[3] = { "fsync", false },
	[4] = { "read_fixed", false },
	[5] = { "write_fixed", false },
	[6] = { "poll", false },
	[7] = { "poll_remove", true },
	[8] = { "sync_file_range", false },
	[9] = { "sendmsg", false },
	[10] = { "recvmsg", false },
	[11] = { "timeout", true },
	[12] = { "timeout_remove", true },
	[13] = { "accept", false },
	[14] = { "async_cancel", true },
	[15] = { "link_timeout", true },
	[16] = { "connect", false },
	[17] = { "fallocate", false },
	[18] = { "openat", true },
	[19] = { "close", false },
	[20] = { "files_update", true },
	[21] = { "statx", true },
	[22] = { "read", false },
	[23] = { "write", false },
	[24] = { "fadvise", false },
	[25] = { "madvise", true },
	[26] = { "send", false },
	[27] = { "recv", false },
	[28] = { "openat2", true },
	[29] = { "epoll_ctl", false },
	[30] = { "splice", false },
	[31] = { "provide_buffers", true },
	[32] = { "remove_buffers", true },
	[33] = { "tee", false },
	[34] = { "shutdown", false },
	[35] = { "renameat", true },
	[36] = { "unlinkat", true },
	[37] = { "mkdirat", true },
	[38] = { "symlinkat", true },
	[39] = { "linkat", true },
	[40] = { "msg_ring", false },
	[41] = { "fsetxattr", false },
	[42] = { "setxattr", true },
	[43] = { "fgetxattr", false },
	[44] = { "getxattr", true },
	[45] = { "socket", true },
	[46] = { "uring_cmd", false },
	[47] = { "send_zc", false },
	[48] = { "sendmsg_zc", false },
	[49] = { "read_multishot", false },
	[50] = { "waitid", true },
	[51] = { "futex_wait", true },
	[52] = { "futex_wake", true },
	[53] = { "futex_waitv", true },
	[54] = { "fixed_fd_install", false },
	[55] = { "ftruncate", false },
	[56] = { "bind", false },
	[57] = { "listen", false },
	[58] = { "recv_zc", false },
	[59] = { "epoll_wait", false },
	[60] = { "readv_fixed", false },
	[61] = { "writev_fixed", false },
	[62] = { "pipe", true },
};

#define COUNT (sizeof(opcodes) / sizeof(opcodes[0]))

_Static_assert(IORING_OP_RECV == 27 && IORING_OP_MSG_RING == 40 && IORING_OP_SENDMSG_ZC == 48,
	       "the numbers above are the kernel's");

void torc__opcode_describe(const struct io_uring_sqe *sqe, struct torc__message *m)
{
	if (sqe->opcode < COUNT) {
		torc__message_text(m, opcodes[sqe->opcode].name);
	} else {
		torc__message_text(m, "number ");
		torc__message_number(m, sqe->opcode, 10);
	}
	if (sqe->fd < 0 || (sqe->opcode < COUNT && opcodes[sqe->opcode].no_fd))
		return;
	torc__message_text(m, sqe->flags & IOSQE_FIXED_FILE ? ", fixed file " : ", fd ");
	torc__message_number(m, (unsigned)sqe->fd, 10);
}
