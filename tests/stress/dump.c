/*
 * Dumps of every kind while fibers are spawned, cancelled and woken on several loops. Exits 0 when all fibers
 * were accounted for and all dumps were complete; the sanitizers see the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <torc/torc.h>

#include "tests/support/random.h"

#define LOOPS  3
#define ROUNDS 60
#define WIDTH  6

static atomic_long started, ended, dumps, incomplete;

static int read_for_ever(int fd)
{
	struct torc_op op;
	struct io_uring_sqe *sqe;
	uint64_t value;
	int r = torc_op_begin(&op, &sqe);

	if (r < 0)
		return r;
	io_uring_prep_read(sqe, fd, &value, sizeof(value), 0);
	return torc_op_wait(&op);
}

static int event_fd;

static int leaf(void *arg)
{
	unsigned kind = (unsigned)(uintptr_t)arg % 4;
	int r = 0;

	atomic_fetch_add(&started, 1);
	if (kind == 0)
		r = torc_sleep(TORC_NEVER);
	else if (kind == 1)
		r = torc_sleep(1000 * ((uintptr_t)arg % 97));
	else if (kind == 2)
		r = read_for_ever(event_fd);
	atomic_fetch_add(&ended, 1);
	return r;
}

static void dump_and_look(void)
{
	static const char end[] = "torc: end of dump\n";
	char tail[sizeof(end)] = "";
	int fd = memfd_create("dump", MFD_CLOEXEC);
	off_t len;

	if (torc_dump(fd) < 0)
		atomic_fetch_add(&incomplete, 1);
	len = lseek(fd, 0, SEEK_END);
	if (len < (off_t)sizeof(end) ||
	    pread(fd, tail, sizeof(end) - 1, len + 1 - (off_t)sizeof(end)) < 0 ||
	    strcmp(tail, end) != 0)
		atomic_fetch_add(&incomplete, 1);
	atomic_fetch_add(&dumps, 1);
	close(fd);
}

static int branch(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct torc_group g;
	struct torc_scope s;
	int r = 0;

	atomic_fetch_add(&started, 1);
	torc_scope_enter(&s, 1000 * (next_random(&seed) % 2000));
	torc_group_enter(&g);
	for (int i = 0; i < WIDTH && !r; i++) {
		struct torc_spawn_options o = {
			.name = "leaf", .loop = TORC_ON_LOOP((int)(next_random(&seed) % LOOPS))
		};

		r = torc_group_spawn_with(&g, &o, leaf, (void *)(uintptr_t)next_random(&seed));
	}
	if (next_random(&seed) % 3 == 0)
		dump_and_look();
	if (next_random(&seed) % 3 == 0)
		torc_yield();
	if (next_random(&seed) % 3 == 0)
		torc_group_cancel(&g);
	if (next_random(&seed) % 17 == 0)
		kill(getpid(), SIGQUIT);
	torc_group_wait(&g);
	torc_scope_leave(&s);
	atomic_fetch_add(&ended, 1);
	return 0;
}

static int app(void *arg)
{
	(void)arg;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct torc_group g;
		int r = 0;

		torc_group_enter_supervisor(&g);
		for (int i = 0; i < WIDTH && !r; i++) {
			struct torc_spawn_options o = { .name = "branch",
							.loop = TORC_ON_LOOP(i % LOOPS) };

			r = torc_group_spawn_with(&g, &o, branch,
						  (void *)(uintptr_t)(round * 31u + (unsigned)i));
		}
		if (round % 7 == 0)
			torc_group_cancel(&g);
		torc_group_wait(&g);
		if (r < 0)
			return r;
		if (atomic_load(&started) != atomic_load(&ended))
			return -EPROTO;
	}
	return 0;
}

int main(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), kept = dup(STDERR_FILENO), r;

	event_fd = eventfd(0, EFD_CLOEXEC);
	dup2(null, STDERR_FILENO); /* what the signal asks for */
	r = torc_run(&(struct torc_options){ .loops = LOOPS, .no_pin = true }, app, NULL);
	dup2(kept, STDERR_FILENO);
	printf("result %d, %ld fibers started, %ld ended, %ld dumps, %ld of them incomplete\n", r,
	       (long)started, (long)ended, (long)dumps, (long)incomplete);
	return r != 0 || incomplete != 0;
}
