/*
 * core/kernel_uring.c - the real kernel under a loop.
 */
#include "core/internal/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/internal/trap.h"

/* How long a wait for several completions holds out before it is content with one. */
#define GATHER_US 50

/* The smallest ring there is: torc_options.ring_entries. */
#define ENTRIES_LEAST 8

/* How long to wait for locked memory that is on its way back: 50 times 10 ms. */
#define LOCKED_PAUSES   50
#define LOCKED_PAUSE_NS 10000000

static const struct {
	const char *name;
	uint32_t bit;
} features[] = {
	{ "guard_install", TORC__GUARD_INSTALL },
	{ "msg_ring", TORC__MSG_RING },
	{ "single_issuer", TORC__SINGLE_ISSUER | TORC__DEFER_TASKRUN },
	{ "defer_taskrun", TORC__DEFER_TASKRUN },
	{ "registered_ring", TORC__REGISTERED_RING },
	{ "recv_multishot", TORC__RECV_MULTISHOT },
	{ "min_wait", TORC__MIN_WAIT },
	{ "cqe_skip", TORC__CQE_SKIP },
	{ "membarrier", TORC__MEMBARRIER },
	{ "ring_futex", TORC__RING_FUTEX },
	{ "ring_ftruncate", TORC__RING_FTRUNCATE },
	{ "splice", TORC__SPLICE },
	{ "udp_segment", TORC__UDP_SEGMENT },
	{ "fixed_buffers", TORC__FIXED_BUFFERS },
	{ "openat2", TORC__OPENAT2 },
	{ "sendfile", TORC__SENDFILE },
};

static uint32_t feature_bit(const char *name, size_t len)
{
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++)
		if (strlen(features[i].name) == len && !memcmp(features[i].name, name, len))
			return features[i].bit;
	return 0;
}

int torc__features_parse(const char *text, uint32_t *ret_disabled, const char **ret_unknown)
{
	uint32_t disabled = 0;

	while (text && *text) {
		size_t len = strcspn(text, ",");
		uint32_t bit = len ? feature_bit(text, len) : 0;

		if (len && !bit) {
			*ret_unknown = text;
			return -EINVAL;
		}
		disabled |= bit;
		text += len + (text[len] == ',');
	}
	*ret_disabled = disabled;
	return 0;
}

static long sysctl_io_uring_disabled(void)
{
	FILE *f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
	long value = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%ld", &value) != 1)
		value = 0;
	fclose(f);
	return value;
}

void torc__kernel_explain(int error)
{
	const char *why;

	if (error == -ENOSYS)
		why = "this kernel has no io_uring; torc needs Linux 6.1 or newer, built with CONFIG_IO_URING";
	else if (error == -EINVAL)
		why = "this kernel's io_uring is too old; torc needs Linux 6.1 or newer";
	else if (error == -EPERM && sysctl_io_uring_disabled())
		why = "io_uring is switched off on this machine; set sysctl kernel.io_uring_disabled=0, or "
		      "with 1 add the user's group as kernel.io_uring_group";
	else if (error == -EPERM || error == -EACCES)
		why = "io_uring is forbidden here, most likely by a container's seccomp profile; allow "
		      "io_uring_setup, io_uring_enter and io_uring_register in it";
	else if (error == -ENOMEM)
		why = "no memory for an io_uring; raise the limit of locked memory (ulimit -l, RLIMIT_MEMLOCK) "
		      "or ask for a smaller ring";
	else if (error == -EMFILE || error == -ENFILE)
		why = "no file descriptor left for an io_uring; raise the limit (ulimit -n)";
	else
		why = strerror(-error);
	fprintf(stderr, "torc: cannot set up io_uring: %s\n", why);
}

static unsigned setup_flags(const struct torc__ring *ring)
{
	unsigned flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;

	if (!(ring->disabled & TORC__SINGLE_ISSUER))
		flags |= IORING_SETUP_SINGLE_ISSUER;
	if (ring->disabled & TORC__DEFER_TASKRUN)
		flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	else
		flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	return flags;
}

static int init_queues(struct torc__ring *ring, unsigned entries,
		       struct io_uring_params *ret_params)
{
	/* The kernel's limit is 65536 completions, also with 32768 entries. */
	*ret_params = (struct io_uring_params){
		.flags = setup_flags(ring),
		.cq_entries = entries < 16384 ? entries * 4 : 65536,
	};
	return io_uring_queue_init_params(entries, &ring->uring, ret_params);
}

/*
 * Kernels that count rings as locked memory (RLIMIT_MEMLOCK, without CAP_IPC_LOCK) free those that a process has
 * closed in the background, and tell nobody: a short wait is all that can be done. Where the limit itself
 * is too low a smaller ring is slower, and works.
 */
static int init_within_limit(struct torc__ring *ring, unsigned entries,
			     struct io_uring_params *ret_params)
{
	const struct timespec pause = { .tv_nsec = LOCKED_PAUSE_NS };
	int r = init_queues(ring, entries, ret_params);

	for (int i = 0; r == -ENOMEM && i < LOCKED_PAUSES; i++) {
		nanosleep(&pause, NULL);
		r = init_queues(ring, entries, ret_params);
	}
	while (r == -ENOMEM && entries > ENTRIES_LEAST)
		r = init_queues(ring, entries /= 2, ret_params);
	return r;
}

static int uring_open(struct torc__ring *ring, unsigned entries)
{
	struct io_uring_params p;
	struct io_uring_sq *sq = &ring->uring.sq;
	int r = init_within_limit(ring, entries, &p);

	if (r < 0)
		return r;
	/* Newer versions of liburing do this themselves, 2.3 at each submission. It never changes. */
	for (unsigned i = 0; sq->array && i < p.sq_entries; i++)
		sq->array[i] = i;
	ring->enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	ring->enter_fd = ring->uring.ring_fd;
	if (p.features & IORING_FEAT_NO_IOWAIT)
		ring->enter_flags |= IORING_ENTER_NO_IOWAIT;
	if (!(p.features & IORING_FEAT_MIN_TIMEOUT))
		ring->disabled |= TORC__MIN_WAIT;
	/* It saves the look-up of the file at each enter; without it everything works. */
	if (!(ring->disabled & TORC__REGISTERED_RING) &&
	    io_uring_register_ring_fd(&ring->uring) == 1) {
		ring->enter_flags |= IORING_ENTER_REGISTERED_RING;
		ring->enter_fd = ring->uring.enter_ring_fd;
	}
	return 0;
}

static void uring_close(struct torc__ring *ring)
{
	io_uring_queue_exit(&ring->uring);
}

/* Which errors of io_uring_enter(2) pass: the rest would be our bug. */
static int enter_error(int r)
{
	switch (r) {
	case -ETIME:
	case -EINTR: return 0;
	case -EAGAIN:
	case -EBUSY:
	case -ENOMEM: return r;
	default: torc__trap("io_uring_enter failed");
	}
}

static int uring_enter(struct torc__ring *ring, unsigned wait_count, uint64_t timeout_ns)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	struct __kernel_timespec ts = { .tv_sec = (long long)(timeout_ns / 1000000000u),
					.tv_nsec = (long long)(timeout_ns % 1000000000u) };
	struct io_uring_getevents_arg arg = { .sigmask_sz = _NSIG / 8 };
	unsigned submit;
	int r;

	io_uring_smp_store_release(sq->ktail, sq->sqe_tail);
	sq->sqe_head = sq->sqe_tail;
	submit = sq->sqe_tail - io_uring_smp_load_acquire(sq->khead);
	if (wait_count && timeout_ns != UINT64_MAX)
		arg.ts = (uint64_t)(uintptr_t)&ts;
	if (wait_count > 1 && ring->disabled & TORC__MIN_WAIT)
		wait_count = 1;
	else if (wait_count > 1)
		arg.TORC__MIN_WAIT_USEC = GATHER_US;
	ring->enters++;
	r = io_uring_enter2((unsigned)ring->enter_fd, submit, wait_count, ring->enter_flags,
			    (sigset_t *)(void *)&arg, sizeof(arg));
	return r < 0 ? enter_error(r) : 0;
}

static uint64_t uring_now(struct torc__ring *ring)
{
	struct timespec ts;

	(void)ring;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int uring_provide(struct torc__ring *ring, struct io_uring_buf_reg *reg)
{
	return io_uring_register_buf_ring(&ring->uring, reg, 0);
}

static void uring_withdraw(struct torc__ring *ring, unsigned group)
{
	(void)io_uring_unregister_buf_ring(&ring->uring, (int)group);
}

static int uring_register_buffers(struct torc__ring *ring, unsigned count)
{
	return io_uring_register_buffers_sparse(&ring->uring, count);
}

static int uring_update_buffer(struct torc__ring *ring, unsigned slot, void *memory, size_t bytes)
{
	const struct iovec v = { memory, bytes };
	const __u64 tag = 0;
	int r = io_uring_register_buffers_update_tag(&ring->uring, slot, &v, &tag, 1);

	return r < 0 ? r : 0;
}

/* Bit n: operation n; the highest one: the kernel was asked. */
#define ASKED ((uint64_t)1 << 63)

static uint64_t ask(struct torc__ring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
	uint64_t known = ASKED;

	if (!probe)
		return 0; /* no memory: ask again next time */
	for (unsigned i = 0; i < probe->ops_len && i < 63; i++)
		if (probe->ops[i].flags & IO_URING_OP_SUPPORTED)
			known |= (uint64_t)1 << i;
	free(probe);
	return known;
}

static bool uring_has(struct torc__ring *ring, unsigned opcode)
{
	static uint64_t known; /* of the machine: every loop finds the same */
	uint64_t k = __atomic_load_n(&known, __ATOMIC_RELAXED);

	if (!k) {
		k = ask(ring);
		__atomic_store_n(&known, k, __ATOMIC_RELAXED);
	}
	return k >> opcode & 1;
}

const struct torc__kernel torc__kernel_uring = {
	.open = uring_open,
	.close = uring_close,
	.enter = uring_enter,
	.now = uring_now,
	.provide = uring_provide,
	.withdraw = uring_withdraw,
	.register_buffers = uring_register_buffers,
	.update_buffer = uring_update_buffer,
	.has = uring_has,
};
