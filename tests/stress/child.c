/*
 * Many short children, started from three loops at once, and ended in all ways at any moment: each ends once, as it should, and
 * nothing is left of it.
 *
 * STRESS_CHILDREN=10000 in the environment for more of them.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/stress/stress.h"
#include "tests/support/fds.h"

#include <torc/io/child.h>

#if defined(__SANITIZE_THREAD__)
#define CHILDREN 100

/* The last thread of the process's offload executor that has ended is never joined, for that executor stays. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "report_thread_leaks=0";
}
#else
#define CHILDREN 1000
#endif

#define LOOPS  3
#define FIBERS 8

static atomic_long left, ended, cut_short;

/* Its output comes back, and its pipes are in no other child: the talk would not end. */
static void talk(uint64_t *seed)
{
	char input[64];
	struct torc_child_talk t = { .input = input, .input_len = sizeof(input) };
	struct torc_child_status status;

	memset(input, (int)('a' + next_random(seed) % 26), sizeof(input));
	check_eq(torc_run_command((const char *const[]){ "cat", NULL }, &t, &status), 0);
	check_eq(status.exit_code, 0);
	check_eq(t.out_len, sizeof(input));
	check(!memcmp(t.out, input, sizeof(input)));
	torc_child_talk_done(&t);
	atomic_fetch_add(&ended, 1);
}

/* Started, waited for or stopped in a scope that ends at any time. */
static void cut(uint64_t *seed)
{
	static const char *const scripts[] = { "exit 7", "exec sleep 100", "kill -9 $$", "read x" };
	size_t which = next_random(seed) % COUNT(scripts);
	const struct torc_child_options o = {
		.argv = (const char *const[]){ "/bin/sh", "-c", scripts[which], NULL },
		.in = { .stream = TORC_CHILD_PIPE },
		.err = { .stream = TORC_CHILD_PIPE },
		.group = next_random(seed) % 2 ? TORC_CHILD_NEW_GROUP : TORC_CHILD_SAME_GROUP,
	};
	struct torc_child c;
	struct torc_scope scope;
	int r;

	torc_scope_enter(&scope, next_random(seed) % TORC_MS(8));
	r = torc_child_start(&c, &o);
	if (!r && next_random(seed) % 2)
		r = torc_child_wait(&c, NULL);
	if (!r && next_random(seed) % 2)
		r = torc_child_stop(&c, next_random(seed) % TORC_MS(4), NULL);
	check(r == 0 || r == -ETIMEDOUT);
	torc_child_close(&c);
	torc_scope_leave(&scope);
	atomic_fetch_add(r ? &cut_short : &ended, 1);
}

static void fail(void)
{
	struct torc_child c;
	const struct torc_child_options o = {
		.argv = (const char *const[]){ "torc-no-such-program", NULL },
		.out = { .stream = TORC_CHILD_PIPE },
	};

	check_eq(torc_child_start(&c, &o), -ENOENT);
}

static int work(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg + 1;

	while (atomic_fetch_sub(&left, 1) > 0)
		switch (next_random(&seed) % 8) {
		case 0: fail(); break;
		case 1:
		case 2:
		case 3: cut(&seed); break;
		default: talk(&seed);
		}
	return 0;
}

static int app(void *arg)
{
	struct torc_group g;

	(void)arg;
	torc_group_enter(&g);
	for (int i = 0; i < FIBERS; i++)
		check_eq(torc_group_spawn_with(&g,
					       &(struct torc_spawn_options){
						       .loop = TORC_ON_LOOP(i % LOOPS) },
					       work, (void *)(uintptr_t)i),
			 0);
	return torc_group_wait(&g);
}

int main(void)
{
	const char *children = getenv("STRESS_CHILDREN");
	int before = count_fds();

	left = children ? atol(children) : CHILDREN;
	check_eq(torc_run(&(struct torc_options){ .loops = LOOPS, .no_pin = true }, app, NULL), 0);
	check_eq(count_fds(), before);
	check_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	check_eq(errno, ECHILD);
	printf("%ld ended, %ld cut short\n", (long)ended, (long)cut_short);
	return 0;
}
