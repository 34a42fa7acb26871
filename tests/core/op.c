/*
 * Operations: results, cancellation that loses nothing, and more of them than the rings have room for.
 */
#include "tests/core/run.h"

#include <sys/socket.h>

#include "core/internal/fiber.h"

TestSuite(op, .timeout = 60);

/* fn with everything that the machine offers, and with each of these turned off. */
static void run_features(const struct torc_options *options, torc_fn *fn)
{
	static const char *const features[] = { "", "defer_taskrun", "single_issuer", "min_wait",
						"registered_ring" };

	for (size_t i = 0; i < COUNT(features); i++) {
		setenv("TORC_DISABLE", features[i], 1);
		check_eq(run_with(options, fn, NULL), 0);
	}
	unsetenv("TORC_DISABLE");
}

static void put(int fd, const void *data, size_t len)
{
	check_eq(write(fd, data, len), len);
}

struct reader {
	int fd;
	int result;
	char byte;
};

static int read_one(void *arg)
{
	struct reader *r = arg;

	r->result = read_fd(r->fd, &r->byte, 1);
	return 0;
}

static int begin_when_cancelled(void *arg)
{
	struct torc_scope s;
	struct torc_stats before, after;
	struct io_uring_sqe *sqe = arg;
	struct torc_op op;

	check_eq(read_fd(-1, &op, sizeof(op)), -EBADF);
	torc_stats(&before);
	torc_scope_enter(&s, TORC_NEVER);
	torc_scope_cancel(&s);
	check_eq(torc_op_begin(&op, &sqe), -ECANCELED);
	check(sqe == arg); /* outputs are written on success only */
	check_eq(torc_scope_leave(&s), -ECANCELED);
	check_eq(nop(), 0);
	torc_stats(&after);
	check_eq(after.sqes - before.sqes, 1);
	return 0;
}

Test(op, in_a_cancelled_scope_none_is_prepared)
{
	run_features(NULL, begin_when_cancelled);
}

static int time_out(void *arg)
{
	struct torc_scope s;
	int fds[2];
	char byte = 0;

	(void)arg;
	check_eq(pipe2(fds, O_CLOEXEC), 0);
	for (int i = 0; i < 5; i++, byte = 0) {
		torc_scope_enter(&s, TORC_MS(2));
		check_eq(read_fd(fds[0], &byte, 1), -ETIMEDOUT);
		check_eq(torc_scope_leave(&s), -ETIMEDOUT);
		/* the kernel has let go: what comes now is still there */
		put(fds[1], "y", 1);
		check_eq(torc_sleep(TORC_MS(1)), 0);
		check_eq(byte, 0);
		check_eq(read_fd(fds[0], &byte, 1), 1);
		check_eq(byte, 'y');
	}
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(op, a_read_that_times_out_leaves_buffer_and_data_alone)
{
	run_features(NULL, time_out);
}

/* Data and the cancellation come in either order, in the same turn or not. */
static int race(void *arg)
{
	int fds[2], delivered = 0, kept = 0;

	(void)arg;
	check_eq(pipe2(fds, O_CLOEXEC), 0);
	for (int i = 0; i < 600; i++) {
		struct reader r = { .fd = fds[0] };
		struct torc_group g;
		struct torc_task t;

		torc_group_enter(&g);
		check_eq(torc_group_spawn_with(&g, HOW(.task = &t), read_one, &r), 0);
		if (i % 5) /* else it is cancelled before it has begun */
			torc_yield();
		if (i % 4 == 1) /* submitted, and parked in the kernel */
			check_eq(torc_sleep(1), 0);
		if (i % 2)
			put(fds[1], "x", 1);
		if (i % 3 == 2)
			torc_yield();
		torc_task_cancel(&t);
		if (!(i % 2))
			put(fds[1], "x", 1);
		check_eq(torc_group_wait(&g), 0);
		if (r.result == 1) {
			delivered++;
		} else {
			check_eq(r.result, -ECANCELED);
			check_eq(r.byte, 0);
			check_eq(read_fd(fds[0], &r.byte, 1), 1);
			kept++;
		}
		check_eq(r.byte, 'x');
	}
	check(delivered && kept);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(op, a_cancelled_read_loses_nothing)
{
	run_features(NULL, race);
}

static int big_send(void *arg)
{
	static char data[4 << 20];
	int *fd = arg;
	struct torc_op op;
	struct io_uring_sqe *sqe;

	fd[2] = torc_op_begin(&op, &sqe);
	if (!fd[2]) {
		io_uring_prep_send(sqe, fd[1], data, sizeof(data), MSG_WAITALL | MSG_NOSIGNAL);
		fd[2] = torc_op_wait(&op);
	}
	return 0;
}

static int cancelled_send(void *arg)
{
	static char buf[65536];
	struct torc_group g;
	int fd[3], total = 0;
	ssize_t n;

	(void)arg;
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	torc_group_enter(&g);
	check_eq(torc_group_spawn(&g, big_send, fd), 0);
	check_eq(torc_sleep(TORC_MS(1)), 0);
	torc_group_cancel(&g);
	check_eq(torc_group_wait(&g), 0);
	close(fd[1]);
	while ((n = read(fd[0], buf, sizeof(buf))) > 0)
		total += (int)n;
	check_ge(fd[2], 1); /* what fitted into the socket's buffer */
	check_eq(fd[2], total);
	close(fd[0]);
	return 0;
}

Test(op, a_cancelled_send_says_what_went_out)
{
	run_features(NULL, cancelled_send);
}

/* 100 000 reads that reach the kernel and are cancelled there, by the thousand. */
static int cancel_many(void *arg)
{
	static struct reader readers[1000];
	struct torc_stats before, after;
	int fds[2];

	(void)arg;
	check_eq(pipe2(fds, O_CLOEXEC), 0);
	torc_stats(&before);
	for (int round = 0; round < 100; round++) {
		struct torc_group g;

		torc_group_enter(&g);
		for (size_t i = 0; i < COUNT(readers); i++) {
			readers[i] = (struct reader){ .fd = fds[0] };
			check_eq(torc_group_spawn(&g, read_one, &readers[i]), 0);
		}
		check_eq(torc_sleep(1000), 0);
		torc_group_cancel(&g);
		check_eq(torc_group_wait(&g), 0);
		for (size_t i = 0; i < COUNT(readers); i++)
			check_eq(readers[i].result, -ECANCELED);
	}
	torc_stats(&after);
	check_eq(after.fibers, before.fibers);
	check_ge(after.sqes - before.sqes, 100000);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

Test(op, a_hundred_thousand_cancelled_reads_leave_nothing_behind)
{
	run(cancel_many, NULL);
	cr_assert_eq(run_with(OPTIONS(.ring_entries = 8), cancel_many, NULL), 0);
}

/* --- full queues --- */

#define MANY 2000

static int read_counter(void *arg)
{
	struct reader *r = arg;
	uint64_t value;

	for (; r->result < 3; r->result++) {
		check_eq(read_fd(r->fd, &value, sizeof(value)), sizeof(value));
		check_eq(value, 1);
	}
	return 0;
}

/* One eventfd that counts down by one per read: all reads complete at the same moment. */
static int complete_at_once(void *arg)
{
	static struct reader readers[MANY];
	struct torc_group g;
	struct torc_stats s;
	uint64_t all = MANY * 3;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < MANY; i++) {
		readers[i] = (struct reader){ .fd = fd };
		check_eq(torc_group_spawn(&g, read_counter, &readers[i]), 0);
	}
	check_eq(torc_sleep(TORC_MS(5)), 0); /* they are all in the kernel */
	put(fd, &all, sizeof(all));
	check_eq(torc_group_wait(&g), 0);
	for (int i = 0; i < MANY; i++)
		check_eq(readers[i].result, 3);
	torc_stats(&s);
	check_ge(s.overflows, 1); /* or the test would prove nothing */
	close(fd);
	return 0;
}

Test(op, a_completion_queue_that_overflows_loses_nothing)
{
	run_features(OPTIONS(.ring_entries = 8), complete_at_once);
}

/* Each with a descriptor of its own, answered in another order. */
static int more_than_entries(void *arg)
{
	static struct reader readers[1000];
	static int pipes[1000][2];
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (size_t i = 0; i < COUNT(readers); i++) {
		check_eq(pipe2(pipes[i], O_CLOEXEC), 0);
		readers[i] = (struct reader){ .fd = pipes[i][0] };
		check_eq(torc_group_spawn(&g, read_one, &readers[i]), 0);
	}
	check_eq(torc_yield(), 0);
	for (size_t i = 0; i < COUNT(readers); i++) {
		char byte = (char)(i * 7 % 1000);

		put(pipes[i * 7 % 1000][1], &byte, 1);
	}
	check_eq(torc_group_wait(&g), 0);
	for (size_t i = 0; i < COUNT(readers); i++) {
		check_eq(readers[i].result, 1);
		check_eq(readers[i].byte, (char)i);
		close(pipes[i][0]);
		close(pipes[i][1]);
	}
	return 0;
}

Test(op, more_operations_than_entries)
{
	run_features(OPTIONS(.ring_entries = 8), more_than_entries);
}

/* --- results that the kernel hardly ever gives --- */

static struct {
	const struct torc__kernel *kernel;
	struct torc__kernel forging;
	const struct torc_op *op; /* whose next result is another one */
	int res;
	unsigned count;
} forger;

/* In the completion queue, where the loop has not yet looked. */
static int enter_and_forge(struct torc__ring *ring, unsigned wait_count, uint64_t timeout_ns)
{
	int r = forger.kernel->enter(ring, wait_count, timeout_ns);
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		if (forger.op && cqe->user_data == (uint64_t)(uintptr_t)forger.op) {
			cqe->res = forger.res;
			forger.op = NULL;
			forger.count++;
		}
	}
	return r;
}

static void forge(struct torc__ring *ring, const struct torc_op *op, int res)
{
	forger.kernel = ring->kernel;
	forger.forging = *ring->kernel;
	forger.forging.enter = enter_and_forge;
	forger.op = op;
	forger.res = res;
	forger.count = 0;
	ring->kernel = &forger.forging;
}

static int read_interrupted(void *arg)
{
	static const int codes[] = { -EINTR, -512, -513, -514, -516 };
	struct torc__ring *ring = &torc__self()->loop->ring;
	struct io_uring_sqe *sqe;
	struct torc_op op;
	char byte;

	(void)arg;
	for (size_t i = 0; i < COUNT(codes); i++) {
		int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

		forge(ring, &op, codes[i]);
		check_eq(torc_op_begin(&op, &sqe), 0);
		io_uring_prep_read(sqe, fd, &byte, 1, 0);
		check_eq(torc_op_wait(&op), 1);
		check_eq(forger.count, 1);
		ring->kernel = forger.kernel;
		close(fd);
	}
	return 0;
}

Test(op, an_operation_that_was_interrupted_is_submitted_again)
{
	run(read_interrupted, NULL);
}

static int close_interrupted(void *arg)
{
	struct torc__ring *ring = &torc__self()->loop->ring;
	struct io_uring_sqe *sqe;
	struct torc_op op;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)arg;
	forge(ring, &op, -EINTR);
	check_eq(torc_op_begin(&op, &sqe), 0);
	io_uring_prep_close(sqe, fd);
	check_eq(torc_op_wait(&op), 0);
	check_eq(forger.count, 1);
	ring->kernel = forger.kernel;
	return 0;
}

Test(op, a_close_that_was_interrupted_is_not_repeated)
{
	run(close_interrupted, NULL);
}
