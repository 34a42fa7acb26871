/*
 * Does the simulator do what Linux does? Each script of operations is run on both, and what came of each step compared.
 * conform.h says what is written down, and what is not.
 *
 *	build/tests/sim-conform [--script NAME] [--print] [--random COUNT] [--seed FIRST]
 *
 * Exit status: 0 all the same, 1 not, 77 without io_uring.
 */
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/conform.h"
#include "tests/sim/conform_files.h"
#include "tests/sim/conform_random.h"
#include "tests/sim/conform_streams.h"

/* Resets that may be lost in one script, one run after the other: the next one has to come. */
#define LOST_MAX 2

struct script {
	const char *name;
	void (*steps)(void);
	bool of_domains; /* run for Unix, then for TCP */
};

static const struct script scripts[] = {
	{ "transfers", transfers_script, true },
	{ "waitall", waitall_script, true },
	{ "half close", half_close_script, true },
	{ "shut read", shut_read_script, true },
	{ "shut read with data", shut_read_with_data_script, true },
	{ "end", end_script_of_pair, true },
	{ "reset by answer", reset_by_answer_script, true },
	{ "unread", unread_script, true },
	{ "unread by both", unread_both_script, true },
	{ "unread, then send", unread_then_send_script, true },
	{ "unread after the end", unread_after_end_script, true },
	{ "linger", linger_script, true },
	{ "linger, waiting", linger_waiting_script, true },
	{ "linger, then send", linger_then_send_script, true },
	{ "close under way", close_under_way_script, true },
	{ "large", large_script, true },
	{ "full", full_script, true },
	{ "selected", selected_script, true },
	{ "selected, reset", selected_reset_script, true },
	{ "quiet", quiet_script, true },
	{ "quiet, short", quiet_short_script, true },
	{ "nonblock", nonblock_script, false },
	{ "cancel", cancel_script, true },
	{ "poll", poll_script, true },
	{ "unconnected", unconnected_script, true },
	{ "listener", listener_script, true },
	{ "tcp connect", tcp_connect_script, false },
	{ "tcp listener gone", tcp_listener_gone_script, false },
	{ "tcp early", tcp_early_script, false },
	{ "tcp backlog", tcp_backlog_script, false },
	{ "tcp nonblock", tcp_nonblock_script, false },
	{ "tcp bind", tcp_bind_script, false },
	{ "tcp reuse port", tcp_reuse_port_script, false },
	{ "tcp reuse address", tcp_reuse_address_script, false },
	{ "tcp options", tcp_options_script, false },
	{ "unix connect", unix_connect_script, false },
	{ "unix bound", unix_bound_not_listening_script, false },
	{ "unix abstract", unix_abstract_script, false },
	{ "unix listener gone", unix_listener_gone_script, false },
	{ "unix backlog", unix_backlog_script, false },
	{ "unix nonblock", unix_nonblock_script, false },
	{ "wrong", wrong_script, false },
	{ "pipe", pipe_script, false },
	{ "pipe, broken", pipe_broken_script, false },
	{ "pipe, full", pipe_full_script, false },
	{ "pipe, nonblock", pipe_nonblock_script, false },
	{ "pipe, selected", pipe_selected_script, false },
	{ "pipe, no buffer", pipe_no_buffer_script, false },
	{ "socket, read selected", socket_read_selected_script, false },
	{ "eventfd", eventfd_script, false },
	{ "semaphore", semaphore_script, false },
	{ "eventfd, nonblock", eventfd_nonblock_script, false },
	{ "datagram pair", datagram_pair_script, false },
	{ "udp", udp_script, false },
	{ "messages", messages_script, false },
	{ "stream messages", stream_messages_script, false },
	{ "file", file_script, false },
	{ "file, selected", file_selected_script, false },
	{ "allocate", allocate_script, false },
	{ "directory", directory_script, false },
	{ "rename", rename_script, false },
	{ "open2", open2_script, false },
	{ "file calls", file_calls_script, false },
	{ "vector", vector_script, false },
	{ "truncate", truncate_script, false },
	{ "advice", advice_script, false },
	{ "link", link_script, false },
	{ "symlink", symlink_script, false },
	{ "list", list_script, false },
	{ "chmod", chmod_script, false },
	{ "fixed", fixed_script, false },
};

static const struct script random_scripts[] = {
	{ "random unix", random_unix_script, false },
	{ "random tcp", random_tcp_script, false },
	{ "random pipe", random_pipe_script, false },
	{ "random counter", random_counter_script, false },
	{ "random file", random_file_script, false },
	{ "random tree", random_tree_script, false },
};

static struct {
	const char *only;
	bool print;
	unsigned random_count;
	unsigned first_seed;
} options = { .random_count = 300, .first_seed = 1 };

static char base[] = "/tmp/torc-conform-XXXXXX";
static bool began; /* the runtime has */

/* The simulator's disk is empty. */
static int make_base(void)
{
	int r = torc_sys_mkdir("/tmp", 0777);

	return r < 0 ? r : torc_sys_mkdir(base, 0700);
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *at)
{
	(void)stat, (void)type;
	return at->level ? remove(path) : 0;
}

/* What a script has left on Linux's. */
static void clear_base(void)
{
	nftw(base, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static int first_fiber(void *arg)
{
	const struct script *script = arg;

	began = true;
	if (!run.expected)
		check_eq(make_base(), 0);
	script->steps();
	end_script();
	return 0;
}

static int run_on(struct torc_sim *sim, const struct script *script)
{
	const struct torc_options o = { .sim = sim,
					.recv_buffers = PROVIDED_BUFFERS,
					.no_signals = true };

	return torc_run(&o, first_fiber, (void *)(uintptr_t)script);
}

static void on_simulator(const struct script *script, struct transcript *t, void *arg)
{
	struct torc_sim *sim;

	check_eq(torc_sim_new(NULL, &sim), 0);
	begin_script(t, NULL, base, arg);
	check_eq(run_on(sim, script), 0);
	torc_sim_free(sim);
}

static void on_linux(const struct script *script, struct transcript *t,
		     const struct transcript *expected, void *arg)
{
	int r;

	began = false;
	begin_script(t, expected, base, arg);
	r = run_on(NULL, script);
	clear_base();
	if (!began && (r == -ENOSYS || r == -EPERM)) {
		rmdir(base);
		puts("no io_uring");
		exit(77);
	}
	check_eq(r, 0);
}

/* --- comparison --- */

static const char *line_of(const struct transcript *t, size_t i)
{
	return i < t->count ? t->lines[i] : "(nothing)";
}

static bool compare(const char *title, const struct transcript *simulator,
		    const struct transcript *real)
{
	size_t i = 0;

	while (i < simulator->count && i < real->count &&
	       !strcmp(simulator->lines[i], real->lines[i]))
		i++;
	if (i == simulator->count && i == real->count)
		return true;
	printf("%s: line %zu differs\n", title, i + 1);
	for (size_t k = i < 5 ? 0 : i - 5; k < i; k++)
		printf("             %s\n", real->lines[k]);
	printf("  Linux:     %s\n  simulator: %s\n", line_of(real, i), line_of(simulator, i));
	return false;
}

static void print(const char *title, const struct transcript *t)
{
	printf("== %s\n", title);
	for (size_t i = 0; i < t->count; i++)
		puts(t->lines[i]);
}

static bool run_script(const struct script *script, const char *title, void *arg)
{
	struct transcript simulator = { .count = 0 }, real = { .count = 0 };
	bool same;

	if (options.print)
		printf("== %s\n", title), fflush(stdout);
	on_simulator(script, &simulator, arg);
	on_linux(script, &real, &simulator, arg);
	for (int again = 0; run.lost && again < LOST_MAX; again++) {
		printf("%s: a reset was lost\n", title);
		free_transcript(&real);
		on_linux(script, &real, &simulator, arg);
	}
	same = compare(title, &simulator, &real);
	if (options.print)
		print("Linux", &real);
	free_transcript(&simulator);
	free_transcript(&real);
	return same;
}

static bool run_of_domain(const struct script *script, const char *kind, int domain)
{
	char title[64];

	snprintf(title, sizeof(title), "%s%s", script->name, kind);
	if (options.only && strcmp(options.only, title))
		return true;
	return run_script(script, title, (void *)(intptr_t)domain);
}

static bool run_scripts(void)
{
	bool same = true;

	for (size_t i = 0; i < COUNT(scripts); i++) {
		const struct script *s = &scripts[i];

		same &= run_of_domain(s, s->of_domains ? ", unix" : "", AF_UNIX);
		if (s->of_domains)
			same &= run_of_domain(s, ", tcp", AF_INET);
	}
	return same;
}

static bool run_random(void)
{
	bool same = true;

	for (unsigned i = 0; i < options.random_count; i++) {
		unsigned seed = options.first_seed + i;
		const struct script *s = &random_scripts[seed % COUNT(random_scripts)];
		char title[64];

		snprintf(title, sizeof(title), "%s, --seed %u", s->name, seed);
		same &= run_script(s, title, (void *)(uintptr_t)seed);
	}
	return same;
}

/* --- the program --- */

static bool parse_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--print")) {
			options.print = true;
			continue;
		}
		if (!value)
			return false;
		if (!strcmp(argv[i], "--script"))
			options.only = value;
		else if (!strcmp(argv[i], "--random"))
			options.random_count = (unsigned)strtoul(value, NULL, 10);
		else if (!strcmp(argv[i], "--seed"))
			options.first_seed = (unsigned)strtoul(value, NULL, 10);
		else
			return false;
		i++;
	}
	return true;
}

int main(int argc, char **argv)
{
	bool same;

	if (!parse_options(argc, argv)) {
		fprintf(stderr, "see the beginning of tests/sim/conform.c\n");
		return 2;
	}
	umask(022);
	check(mkdtemp(base));
	same = run_scripts();
	same &= run_random();
	rmdir(base);
	return !same;
}
