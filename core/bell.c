#include "core/internal/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "core/internal/loop.h"

/* --- memory --- */

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static struct torc__bell *bells;
static int bells_fd;

/* Those below are given to a program that is started. */
#define FD_LEAST 10

int torc__move_fd_up(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, FD_LEAST), error = errno;

	close(fd);
	return high < 0 ? -error : high;
}

int torc__shared_file(const char *name, uint64_t bytes)
{
	struct rlimit limit;
	int fd, error;

	/* Beyond it a file is not only refused: the process gets a SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    bytes > limit.rlim_cur)
		return -EFBIG;
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	fd = torc__move_fd_up(fd);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) == 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

static int make_bells(void)
{
	size_t bytes = TORC__BELLS * sizeof(struct torc__bell);
	int fd = torc__shared_file("torc-bells", bytes);
	void *memory = MAP_FAILED;

	if (fd < 0)
		return fd;
	if (fallocate(fd, 0, 0, (off_t)bytes) == 0)
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		int error = errno;

		close(fd);
		return -error;
	}
	bells_fd = fd;
	__atomic_store_n(&bells, memory, __ATOMIC_RELEASE);
	return 0;
}

int torc__bells_open(void)
{
	int r = 0;

	pthread_mutex_lock(&opening);
	if (!bells)
		r = make_bells();
	pthread_mutex_unlock(&opening);
	return r < 0 ? r : bells_fd;
}

void torc__bells_rescue(void)
{
	for (unsigned i = 0; i < TORC__BELLS; i++) {
		struct torc__bell *bell = torc__bell_at(i);

		if (__atomic_load_n(&bell->word, __ATOMIC_SEQ_CST) ==
		    (TORC__BELL_RUNG | TORC__BELL_ASLEEP))
			(void)syscall(SYS_futex, &bell->word, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

void torc__bells_forget(void)
{
	pthread_mutex_init(&opening, NULL);
	if (!bells)
		return;
	munmap(bells, TORC__BELLS * sizeof(struct torc__bell));
	close(bells_fd);
	bells = NULL;
}

struct torc__bell *torc__bell_at(unsigned index)
{
	return &__atomic_load_n(&bells, __ATOMIC_ACQUIRE)[index];
}

/* --- a loop --- */

void torc__loop_answer(struct torc__loop *loop, void (*on_rung)(struct torc__loop *loop))
{
	if (torc__likely(loop->bell != NULL))
		return;
	loop->deaf = !torc__ring_has(&loop->ring, TORC__OP_FUTEX_WAIT, TORC__RING_FUTEX);
	loop->on_rung = on_rung;
	loop->bell = torc__bell_at((unsigned)loop->index);
	torc__bell_clear(loop->bell);
}

void torc__loop_bell_answer(struct torc__loop *loop)
{
	if (!torc__bell_rung(loop->bell))
		return;
	torc__bell_clear(loop->bell);
	loop->on_rung(loop);
}

static void on_wake(struct torc_op *op, int res, unsigned cqe_flags)
{
	/* Whatever it says, the bell is looked at; what would make it fail again and again must not. */
	(void)op, (void)cqe_flags;
	torc__check(res != -EINVAL && res != -EFAULT, "io_uring cannot wait for a futex");
}

static void start_wait(struct torc__loop *loop)
{
	struct io_uring_sqe *sqe = torc__op_start_background(&loop->bell_op, on_wake);

	io_uring_prep_rw(TORC__OP_FUTEX_WAIT, sqe, FUTEX_32, &loop->bell->word, 0,
			 TORC__BELL_ASLEEP);
	sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
}

bool torc__loop_bell_armed(struct torc__loop *loop)
{
	if (loop->deaf && torc__bell_leave(loop->bell)) {
		torc__bell_clear(loop->bell);
		loop->on_rung(loop);
		return false;
	}
	if (loop->deaf)
		return true;
	if (!torc__bell_sleepy(loop->bell))
		return false;
	if (!torc_op_pending(&loop->bell_op))
		start_wait(loop);
	return true;
}

void torc__loop_bell_awake(struct torc__loop *loop)
{
	if (loop->deaf)
		torc__bell_clear(loop->bell); /* what was rung meanwhile somebody else was told */
}

void torc__loop_bell_close(struct torc__loop *loop)
{
	if (torc__bell_leave(loop->bell))
		loop->on_rung(loop);
	loop->bell = NULL;
}
