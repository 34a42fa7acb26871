/*
 * core/sim/sim.h - the simulator's parts, and what they ask of each other.
 *
 *	engine.c	the clock, events to come, random numbers, chaos, the trace, failures
 *	loops.c		the loops as coroutines, who runs next; the seam of kernel.h: the queues of a ring
 *	threads.c	other threads, likewise
 *	op.c		the life of an operation, and cancellation
 *	memory.c	what the program must not touch: buffers of operations, provided buffers
 *	file.c		descriptors and what they stand for
 *	stream.c	stream sockets and listeners
 *	datagram.c	datagram sockets
 *	pipe.c		pipes and eventfds
 *	disk.c		files and directories
 *	system.c	the calls of core/sys.h
 *	main.c		many seeds: torc_sim_main
 *
 * All of it runs on the thread of torc_run. Nothing in here may depend on an address, on the real clock or on
 * anything else that the seed does not decide.
 *
 * The life of an operation
 *
 *	          submitted                    event                      event, or at once
 *	(none) --------------> SCHEDULED --------------> attempted ------------------------> completed
 *	                           ^                      |      |                ^
 *	                           | something changed    |      | done           |
 *	                           +------- WAITING <-----+      +-----> DONE ----+
 *	                                    (for its file)
 *
 * What it does is done in the attempt, all at once: its memory is read and written then. A multishot operation goes
 * from each completion back to SCHEDULED.
 */
#ifndef TORC_CORE_SIM_SIM_H
#define TORC_CORE_SIM_SIM_H

#include <liburing.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <torc/core/sim.h>

#include "core/internal/container.h"
#include "core/internal/loop.h"
#include "core/internal/sim.h"
#include <torc/core/sockaddr.h>

struct torc__sim_file;
struct torc__sim_op;
struct torc__sim_ring;

/* --- engine.c --- */

/* Something that will happen. Embedded in what it is about. */
struct torc__sim_event {
	uint64_t at_ns;
	uint64_t order; /* among those at one time */
	void (*run)(struct torc__sim_event *event);
	size_t index; /* in the heap, from 1; 0: not in it */
};

/* Random numbers beyond those of each kind of chaos. */
enum {
	TORC__SIM_WORLD = TORC_SIM_KINDS, /* what is random without chaos */
	TORC__SIM_PROGRAM,                /* torc_sim_random */
	TORC__SIM_STREAMS,
};

/* A loop, and the kernel's side of its ring. */
struct torc__sim_ring {
	struct torc__ring *ring; /* NULL: not open */
	struct torc__loop *loop;
	struct torc_gen *coroutine;
	bool ended;
	bool asleep;
	bool awaiting;       /* another loop, at start-up or shutdown */
	uint64_t awaited_at; /* sim->steps, when it last looked */
	unsigned wait_count; /* completions that it waits for */
	uint64_t until_ns;   /* and for how long */
	uint64_t few_ns;     /* from when on one is enough */

	unsigned sq_head, sq_tail, sq_flags, sq_dropped, sq_mask, sq_entries;
	unsigned cq_head, cq_tail, cq_flags, cq_overflow, cq_mask, cq_entries;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	struct io_uring_cqe *late; /* [late_capacity], those that the queue had no room for */
	size_t late_count, late_capacity;
	struct torc__sim_op *ops;
	struct torc__sim_buffers *buffers;
	struct iovec *fixed; /* [fixed_count], registered memory; base NULL: an empty slot */
	unsigned fixed_count;
};

#define TORC__SIM_LOOPS 8

struct torc__sim {
	struct torc_sim seam; /* first */
	struct torc_sim_options options;
	struct torc_sim_report report;
	uint64_t random[TORC__SIM_STREAMS];
	uint64_t chaos_total;
	bool peace;
	bool running; /* a runtime runs on it */

	uint64_t now_ns;
	struct torc__sim_event **heap; /* [1 .. heap_count] */
	size_t heap_count, heap_capacity;
	uint64_t event_order;

	struct torc__runtime *rt;
	struct torc__sim_ring rings[TORC__SIM_LOOPS];
	struct torc__sim_ring *active; /* whose loop runs, NULL: none */
	int turn;                      /* who is looked at first */
	uint64_t steps;                /* of loops that did not just await others */
	uint64_t op_number;

	struct torc__sim_file **files; /* by descriptor - TORC_SIM_FD */
	size_t files_capacity;
	struct torc__sim_name *names; /* bound addresses */
	uint16_t next_port;
	struct torc__sim_disk *disk;

	char trace[8192]; /* lines on their way to trace_fd */
	size_t trace_len;
};

/* The one that runs. */
extern struct torc__sim *torc__sim;

/* SplitMix64 (Steele, Lea, Flood 2014): any state is a good one. */
uint64_t torc__sim_next_random(uint64_t *state);

uint64_t torc__sim_draw(unsigned stream, uint64_t below);

/* Is this the time for a piece of chaos of that kind? */
bool torc__sim_chaos(enum torc_sim_chaos kind);

/* Which of n to take first: 0, or under TORC_SIM_ORDER any. */
size_t torc__sim_pick(size_t n);

/* A length of 1 .. len: all of it, or under TORC_SIM_SHORT less. 0 for 0. */
size_t torc__sim_cut(size_t len);

/* How long something takes: usual_ns, or under TORC_SIM_DELAY longer. */
uint64_t torc__sim_latency(uint64_t usual_ns);

void torc__sim_at(struct torc__sim_event *event, uint64_t at_ns,
		  void (*run)(struct torc__sim_event *event));
void torc__sim_forget(struct torc__sim_event *event); /* also when it is not to come */

/* When the next event is; TORC_NEVER: there is none. */
uint64_t torc__sim_next(void);
/* Another step of the run: is it too long? */
void torc__sim_count(void);
/* Run what is due. */
void torc__sim_run_due(void);

/* One line of the trace: verb is a literal. Numbers only, none that depends on an address. */
void torc__sim_note(const char *verb, int64_t a, int64_t b, int64_t c);

/* The run has failed: say why on standard error, with the seed, and abort. */
_Noreturn void torc__sim_fail(const char *what, const char *detail);

/* --- loops.c --- */

#define TORC__SIM_RING_FD (TORC_SIM_FD - 100) /* plus the loop's index */

extern const struct torc__kernel torc__sim_kernel;

void torc__sim_run_loops(struct torc__runtime *rt);
void torc__sim_await_loops(struct torc__runtime *rt);

/* The clock; looking at it takes some time. */
uint64_t torc__sim_now(void);

void torc__sim_post(struct torc__sim_ring *ring, uint64_t user_data, int res, unsigned flags);

/* The ring of a message's target, or NULL. */
struct torc__sim_ring *torc__sim_ring_of(int fd);

/* --- threads.c --- */

struct torc__thread;

int torc__sim_thread_start(struct torc__thread *thread);
void torc__sim_thread_point(void);
void torc__sim_futex_wait(uint32_t *word, uint32_t expected, uint64_t deadline_ns);
void torc__sim_futex_wake(const uint32_t *word, unsigned count);

/* How many can run; let one of them run; when another one will be able to, if nobody wakes it. */
size_t torc__sim_threads_able(void);
void torc__sim_thread_resume(size_t index);
uint64_t torc__sim_threads_next(void);
bool torc__sim_threads_ended(void);

/* --- op.c --- */

/* An attempt: not yet, it waits for op->file. */
#define TORC__SIM_WAIT INT_MIN

enum torc__sim_op_state {
	TORC__SIM_SCHEDULED,
	TORC__SIM_WAITING,
	TORC__SIM_DONE,
};

/* Memory that the kernel has been given. */
struct torc__sim_claim {
	char *memory;
	size_t len;
	char *saved;  /* what was there, when the kernel writes into it; else NULL */
	uint64_t sum; /* of its bytes, when the kernel reads it */
};

struct torc__sim_op {
	struct io_uring_sqe sqe;
	const struct torc__sim_op_kind *kind;
	struct torc__sim_ring *ring;
	uint64_t number;                   /* for the trace */
	struct torc__sim_file *file;       /* referenced; NULL: none */
	struct torc__sim_op *next, **link; /* all of the ring's */
	struct torc__sim_op *next_waiting, **waiting_link;
	struct torc__sim_event event;
	struct torc__sim_claim claim;
	struct torc__sim_claim *pieces; /* [piece_count], of a vectored transfer */
	unsigned piece_count;
	size_t pieces_len; /* in all */
	enum torc__sim_op_state state;
	bool multishot;
	bool tried;             /* once at least */
	bool doomed;            /* a cancellation came that could not stop it */
	size_t done;            /* bytes, with MSG_WAITALL */
	struct msghdr *message; /* of sendmsg and recvmsg; sqe.addr and len are its one piece */
	size_t name_room, control_room;  /* of recvmsg */
	struct sockaddr_storage address; /* of connect and of sends */
	socklen_t address_len;
	int res; /* when DONE */
	unsigned flags;
};

/* Take what was submitted. */
void torc__sim_submit(struct torc__sim_ring *ring, const struct io_uring_sqe *sqe);

/* Is it modelled? What is not ends the simulation when it is submitted. */
bool torc__sim_knows(unsigned opcode);

/* Something about a file has changed: those who wait for it try again. */
void torc__sim_changed(struct torc__sim_file *file);

/* --- memory.c --- */

/* The kernel will write into memory, or read it. */
void torc__sim_claim_out(struct torc__sim_claim *claim, void *memory, size_t len);
void torc__sim_claim_in(struct torc__sim_claim *claim, const void *memory, size_t len);
/* Look whether the program has kept away; `written` bytes are the kernel's own. */
void torc__sim_claim_check(const struct torc__sim_claim *claim, size_t written);
/* The kernel has written so many bytes and is through with it. */
void torc__sim_claim_end(struct torc__sim_claim *claim, size_t written);

int torc__sim_buffers_provide(struct torc__sim_ring *ring, const struct io_uring_buf_reg *reg);
/* All of its buffers must have been given back. */
void torc__sim_buffers_withdraw(struct torc__sim_ring *ring, unsigned group);
/* See what was given back. */
void torc__sim_buffers_look(struct torc__sim_ring *ring);
/* A buffer to fill, of at most *len bytes: returns it, *ret_id; or NULL: there is none. */
char *torc__sim_buffer_take(struct torc__sim_ring *ring, unsigned group, size_t *len,
			    uint16_t *ret_id);
/* The one taken last was not used. */
void torc__sim_buffer_untake(struct torc__sim_ring *ring, unsigned group, uint16_t id);
void torc__sim_buffers_end(struct torc__sim_ring *ring);

/* --- file.c --- */

/* What a file is. A function that is NULL: the file cannot do that. Results as of the system calls. */
struct torc__sim_file_kind {
	const char *name;
	bool is_socket, is_pipe;
	/* A transfer of up to so many bytes happens as a whole or not at all. */
	size_t whole_read, whole_write;
	/* Up to len bytes; TORC__SIM_WAIT when it has to wait. flags: of send(2) and recv(2). */
	ssize_t (*read)(struct torc__sim_file *file, void *buf, size_t len, uint64_t offset,
			int flags);
	ssize_t (*write)(struct torc__sim_file *file, const void *buf, size_t len, uint64_t offset,
			 int flags);
	/* The last descriptor is closed: operations may still hold it. */
	void (*close)(struct torc__sim_file *file);
	/* Nobody refers to it any more: free it. */
	void (*destroy)(struct torc__sim_file *file);
	/* poll(2)'s events that are there; NULL: it never has to wait. */
	unsigned (*poll)(struct torc__sim_file *file);
};

/* An open file description: the first member of what stands for each kind. */
struct torc__sim_file {
	const struct torc__sim_file_kind *kind;
	unsigned references; /* descriptors and operations */
	unsigned descriptors;
	int flags;       /* O_NONBLOCK, O_APPEND, O_ACCMODE */
	uint64_t offset; /* of read and write without one */
	struct torc__sim_op *waiting, **waiting_tail;
};

void torc__sim_file_init(struct torc__sim_file *file, const struct torc__sim_file_kind *kind,
			 int flags);
/* The lowest free descriptor for it; -EMFILE, -ENOMEM (then the file is destroyed). */
int torc__sim_fd_open(struct torc__sim_file *file);
struct torc__sim_file *torc__sim_fd_file(int fd); /* NULL: no such descriptor */
int torc__sim_fd_close(int fd);
void torc__sim_file_hold(struct torc__sim_file *file);
void torc__sim_file_drop(struct torc__sim_file *file);

/* The simulator's own memory never fails. */
void *torc__sim_alloc(size_t bytes); /* zeroed */

/* A queue of bytes. */
struct torc__sim_bytes {
	char *data;
	size_t head, len, capacity;
};

void torc__sim_bytes_put(struct torc__sim_bytes *bytes, const void *data, size_t len);
size_t torc__sim_bytes_take(struct torc__sim_bytes *bytes, void *buf, size_t len, bool peek);
void torc__sim_bytes_done(struct torc__sim_bytes *bytes);

/* At the end of a run nothing may be left. */
void torc__sim_files_end(void);

/* --- addresses: file.c --- */

/* Who may be bound to one address with another: when both have it. */
enum torc__sim_reuse {
	TORC__SIM_REUSE_ADDRESS = 1, /* SO_REUSEADDR: unless one listens */
	TORC__SIM_REUSE_PORT = 2,    /* SO_REUSEPORT */
};

/* Who is bound where. */
struct torc__sim_name {
	struct torc__sim_name *next;
	struct torc_address address;
	int type; /* SOCK_STREAM, SOCK_DGRAM */
	unsigned reuse;
	bool listens;
	struct torc__sim_file *file; /* NULL: a Unix path whose socket has gone */
};

int torc__sim_address_read(const struct sockaddr *address, socklen_t len, struct torc_address *ret);
void torc__sim_address_write(const struct torc_address *address, struct sockaddr *ret,
			     socklen_t *len);
/* Bind a file: port 0 becomes a free one. 0, -EADDRINUSE. */
int torc__sim_name_bind(struct torc_address *address, int type, unsigned reuse,
			struct torc__sim_file *file);
/* It listens, and not any more. 0, -EADDRINUSE. */
int torc__sim_name_listen(struct torc__sim_file *file);
void torc__sim_name_deafen(struct torc__sim_file *file);
/* The name that a packet to `address` reaches: one of several with SO_REUSEPORT by the seed; NULL: none. */
struct torc__sim_name *torc__sim_name_find(const struct torc_address *address, int type);
/* Is a Unix address bound to, by a socket of whichever type? */
bool torc__sim_name_is_taken(const struct torc_address *address);
bool torc__sim_is_abstract(const struct torc_address *address);
void torc__sim_name_release(struct torc__sim_file *file);
int torc__sim_name_unlink(const char *path);

/* --- stream.c --- */

int torc__sim_stream_new(int domain, int type);
int torc__sim_stream_pair(int domain, int ret_fds[2], int flags);
bool torc__sim_is_stream(const struct torc__sim_file *file);
int torc__sim_stream_bind(struct torc__sim_file *file, const struct torc_address *address);
int torc__sim_stream_listen(struct torc__sim_file *file, int backlog);
/* An attempt of connect, `again` when it is not the first of its operation: TORC__SIM_WAIT until it is decided. */
int torc__sim_stream_connect(struct torc__sim_file *file, const struct torc_address *address,
			     bool again);
/* The connection breaks, if there is one and it can. */
void torc__sim_stream_break(struct torc__sim_file *file);
/* An attempt of accept: a descriptor, or an error. */
int torc__sim_stream_accept(struct torc__sim_file *file, struct sockaddr *ret_peer, socklen_t *len,
			    int flags);
int torc__sim_stream_shutdown(struct torc__sim_file *file, int how);
int torc__sim_stream_setsockopt(struct torc__sim_file *file, int level, int name, const void *value,
				socklen_t len);
int torc__sim_stream_getsockopt(struct torc__sim_file *file, int level, int name, void *ret,
				socklen_t *len);
/* local: getsockname, else getpeername */
int torc__sim_stream_name(struct torc__sim_file *file, bool local, struct torc_address *ret);
int torc__sim_stream_probe(const struct torc_address *address);

/* --- datagram.c --- */

int torc__sim_datagram_new(int domain, int type);
int torc__sim_datagram_pair(int domain, int ret_fds[2], int flags);
bool torc__sim_is_datagram(const struct torc__sim_file *file);
int torc__sim_datagram_bind(struct torc__sim_file *file, const struct torc_address *address);
int torc__sim_datagram_connect(struct torc__sim_file *file, const struct torc_address *address);
int torc__sim_datagram_name(struct torc__sim_file *file, bool local, struct torc_address *ret);
int torc__sim_datagram_getsockopt(struct torc__sim_file *file, int level, int name, void *ret,
				  socklen_t *len);
/* One datagram; `to` may be NULL. The bytes are copied at once. */
ssize_t torc__sim_datagram_send(struct torc__sim_file *file, const void *buf, size_t len,
				const struct torc_address *to);
/* One datagram; *ret_truncated: it was longer. */
ssize_t torc__sim_datagram_recv(struct torc__sim_file *file, void *buf, size_t len, int flags,
				struct torc_address *ret_from, bool *ret_truncated);

/* --- pipe.c --- */

int torc__sim_pipe(int ret_fds[2], int flags);
int torc__sim_eventfd(unsigned value, int flags);

/* --- disk.c: paths are relative to the root, or to a directory file --- */

int torc__sim_disk_open(struct torc__sim_file *directory, const char *path, int flags,
			unsigned mode, uint64_t resolve);
int torc__sim_disk_stat(struct torc__sim_file *file_or_directory, const char *path, int flags,
			struct statx *ret);
int torc__sim_disk_mkdir(struct torc__sim_file *directory, const char *path, unsigned mode);
int torc__sim_disk_unlink(struct torc__sim_file *directory, const char *path, int flags);
int torc__sim_disk_rename(struct torc__sim_file *from_directory, const char *from,
			  struct torc__sim_file *to_directory, const char *to, unsigned flags);
int torc__sim_disk_link(struct torc__sim_file *from_directory, const char *from,
			struct torc__sim_file *to_directory, const char *to, int flags);
int torc__sim_disk_symlink(const char *target, struct torc__sim_file *directory, const char *path);
int torc__sim_disk_readlink(struct torc__sim_file *directory, const char *path, char *buf,
			    size_t size);
int torc__sim_disk_truncate(struct torc__sim_file *file, uint64_t size);
int torc__sim_disk_sync_range(struct torc__sim_file *file, uint64_t offset, uint64_t len,
			      int flags);
int torc__sim_disk_advise(const struct torc__sim_file *file, int advice);
/* As getdents64(2). */
int torc__sim_disk_list(struct torc__sim_file *file, void *buf, size_t len);
int torc__sim_disk_chmod(struct torc__sim_file *file, unsigned mode);
int torc__sim_disk_sync(struct torc__sim_file *file);
int torc__sim_disk_allocate(struct torc__sim_file *file, int mode, uint64_t offset, uint64_t len);
void torc__sim_disk_done(void); /* free it all */

/* --- system.c --- */

extern const struct torc__system torc__sim_system;

#endif
