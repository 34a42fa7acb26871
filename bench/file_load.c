/*
 * file_load - random reads or writes of a file by fibers: how many per second, and what a processor has to do for each.
 *
 *   file_load --file PATH [--size 1G] [--bytes 4096] [--depth 16] [--seconds 5] [--write] [--direct] [--fixed]
 *
 * The file is made, and filled, unless it is there and has that size. `depth` fibers on one loop each do one transfer after the
 * other, at random multiples of `bytes`.
 *
 *   --write   write instead of read
 *   --direct  O_DIRECT
 *   --fixed   with memory that the ring knows (io/direct.h)
 *
 * Prints one line:
 *
 *   {"operations":N,"seconds":S,"iops":I,"cpu_ns":C,"iops_per_cpu_second":P}
 *
 * cpu_ns   processor time of the whole process for each operation, that of the ring's threads in the kernel included
 *
 * Exit status: 0 measured, 1 something failed, 2 wrong usage.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <torc/core/group.h>
#include <torc/core/run.h>
#include <torc/io/direct.h>
#include <torc/io/file.h>

#define DEPTH_MAX  4096u
#define FILL_BYTES (1u << 20)

static struct options {
	const char *file;
	uint64_t size;
	unsigned bytes, depth, seconds;
	bool write, direct, fixed;
} opt = { .size = 1u << 30, .bytes = 4096, .depth = 16, .seconds = 5 };

static struct load {
	struct torc_arena arena;
	int fd;
	uint64_t end_ns, operations;
	uint64_t seed;
} load;

static int said(const char *what, int r)
{
	if (r < 0)
		fprintf(stderr, "file_load: %s: %s\n", what, strerror(-r));
	return r;
}

/* --- the file --- */

static int fill_file(int fd)
{
	char *data = malloc(FILL_BYTES);
	int r = data ? 0 : -ENOMEM;

	for (unsigned i = 0; !r && i < FILL_BYTES; i++)
		data[i] = (char)(i * 31 >> 3);
	for (uint64_t at = 0; !r && at < opt.size; at += FILL_BYTES)
		r = torc_pwrite_all(fd, data, FILL_BYTES, (off_t)at);
	free(data);
	return r ? r : torc_fsync(fd);
}

static int make_file(void)
{
	struct statx st;
	int fd = torc_open(opt.file, O_RDWR | O_CREAT, 0600), r;

	if (fd < 0)
		return fd;
	r = torc_statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &st);
	if (!r && st.stx_size != opt.size)
		r = fill_file(fd);
	(void)torc_close_wait(fd);
	return r;
}

/* --- the load --- */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15u;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static int transfer(void *buf, off_t at)
{
	struct torc_arena *a = &load.arena;

	if (opt.fixed)
		return opt.write ? torc_pwrite_fixed(a, load.fd, buf, opt.bytes, at)
				 : torc_pread_fixed(a, load.fd, buf, opt.bytes, at);
	return opt.write ? torc_pwrite(load.fd, buf, opt.bytes, at)
			 : torc_pread(load.fd, buf, opt.bytes, at);
}

static int worker(void *arg)
{
	uint64_t blocks = opt.size / opt.bytes, state = ++load.seed << 32;
	void *buf;
	int r = torc_arena_take(&load.arena, &buf);

	(void)arg;
	if (r < 0)
		return r;
	while (r >= 0 && torc_turn_ns() < load.end_ns) {
		uint64_t block = (uint64_t)((unsigned __int128)next_random(&state) * blocks >> 64);

		r = transfer(buf, (off_t)(block * opt.bytes));
		if (r >= 0 && (unsigned)r != opt.bytes)
			r = -EIO;
		load.operations++;
	}
	torc_arena_give(&load.arena, buf);
	return r < 0 ? r : 0;
}

static int run_workers(void)
{
	struct torc_group g;
	int r = 0;

	torc_group_enter(&g);
	for (unsigned i = 0; !r && i < opt.depth; i++)
		r = torc_group_spawn(&g, worker, NULL);
	if (r)
		torc_group_cancel(&g);
	r = torc_group_wait(&g);
	return r;
}

static uint64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

static int measure(void)
{
	uint64_t begin_ns = torc_now_ns(), cpu = cpu_ns();
	double seconds, used;
	int r;

	load.end_ns = begin_ns + TORC_SECONDS(opt.seconds);
	r = run_workers();
	if (r < 0)
		return said(opt.write ? "write" : "read", r);
	seconds = (double)(torc_now_ns() - begin_ns) / 1e9;
	used = (double)(cpu_ns() - cpu);
	printf("{\"operations\":%llu,\"seconds\":%.3f,\"iops\":%.0f,\"cpu_ns\":%.0f,\"iops_per_cpu_second\":%.0f}\n",
	       (unsigned long long)load.operations, seconds, (double)load.operations / seconds,
	       used / (double)load.operations, (double)load.operations * 1e9 / used);
	return 0;
}

static int app(void *arg)
{
	int r = said(opt.file, make_file());

	(void)arg;
	if (r < 0)
		return r;
	r = said("memory", torc_arena_open(&load.arena, opt.depth, opt.bytes, 0));
	if (r < 0)
		return r;
	load.fd = torc_open(opt.file, O_RDWR | (opt.direct ? O_DIRECT : 0), 0);
	r = said(opt.file, load.fd);
	if (r >= 0) {
		r = measure();
		(void)torc_close_wait(load.fd);
	}
	torc_arena_close(&load.arena);
	return r;
}

/* --- the command line --- */

static int usage(void)
{
	fprintf(stderr,
		"Usage: file_load --file PATH [--size 1G] [--bytes 4096] [--depth 16] [--seconds 5]\n"
		"                 [--write] [--direct] [--fixed]\n");
	return 2;
}

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);
	unsigned shift = *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;

	if (end == text || *text == '-' || (*end && (!shift || end[1])) || n > UINT64_MAX >> shift)
		return false;
	*ret = n << shift;
	return *ret >= least && *ret <= most;
}

static bool parse_unsigned(const char *text, unsigned most, unsigned *ret)
{
	uint64_t n;

	if (!parse_number(text, 1, most, &n))
		return false;
	*ret = (unsigned)n;
	return true;
}

static bool parse_option(int option)
{
	switch (option) {
	case 'f': opt.file = optarg; return true;
	case 's': return parse_number(optarg, FILL_BYTES, INT64_MAX, &opt.size);
	case 'b': return parse_unsigned(optarg, FILL_BYTES, &opt.bytes);
	case 'd': return parse_unsigned(optarg, DEPTH_MAX, &opt.depth);
	case 't': return parse_unsigned(optarg, 3600, &opt.seconds);
	case 'w': opt.write = true; return true;
	case 'D': opt.direct = true; return true;
	case 'F': opt.fixed = true; return true;
	default: return false;
	}
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "file", required_argument, NULL, 'f' },
		{ "size", required_argument, NULL, 's' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "depth", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 't' },
		{ "write", no_argument, NULL, 'w' },
		{ "direct", no_argument, NULL, 'D' },
		{ "fixed", no_argument, NULL, 'F' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!parse_option(option))
			return usage();
	if (optind < argc || !opt.file || opt.size % FILL_BYTES || opt.size < opt.bytes)
		return usage();
	return torc_run(NULL, app, NULL) < 0;
}
