/*
 * tests/core/gdb.h - what gdb says of a program that stands on a stack of ours.
 */
#ifndef TESTS_CORE_GDB_H
#define TESTS_CORE_GDB_H

#include "tests/core/run.h"

#include <sys/prctl.h>

/*
 * Says so on the descriptor `report`, if it is one, and waits to be looked at. 0 after that, if there is one: to be
 * checked, as the caller's frame would not be seen after a tail call.
 */
static inline int await_gdb(int report)
{
	if (report < 0)
		return 0;
	check_eq(write(report, "x", 1), 1);
	return pause() == -1 ? 0 : -EIO;
}

/* What gdb says about a process in which stand(report) has got to await_gdb(report). */
static inline void ask_gdb(int (*stand)(int report), char *text, size_t len)
{
	char command[128];
	int ready[2];
	char byte;
	size_t n;
	pid_t pid;
	FILE *gdb;

	cr_assert_eq(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
		_exit(stand(ready[1]));
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	snprintf(command, sizeof(command), "timeout 40 gdb -nx -batch -p %d -ex bt 2>&1", (int)pid);
	gdb = popen(command, "r");
	cr_assert(gdb);
	n = fread(text, 1, len - 1, gdb);
	text[n] = '\0';
	pclose(gdb);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* gdb shows these frames there, from the innermost outward, and none beyond the last. */
static inline void expect_gdb_frames(int (*stand)(int report), const char *const *frames,
				     size_t count)
{
	char text[32768];
	const char *at = text;

	if (WITH_ASAN)
		cr_skip_test("slow under ASan");
	if (system("command -v gdb >/dev/null 2>&1") != 0)
		cr_skip_test("no gdb here");
	ask_gdb(stand, text, sizeof(text));
	if (strstr(text, "ptrace: Operation not permitted") || strstr(text, "Could not attach"))
		cr_skip_test("gdb may not attach here");
	for (size_t i = 0; i < count; i++) {
		const char *found = strstr(at, frames[i]);

		cr_assert(found, "%s is missing in: %s", frames[i], text);
		at = found + strlen(frames[i]);
	}
	at = strchr(at, '\n');
	cr_assert(at && !strstr(at, "\n#"), "frames beyond the first: %s", text);
	cr_assert_not(strstr(text, "Backtrace stopped"), "%s", text);
	cr_assert_not(strstr(text, "corrupt stack"), "%s", text);
}

#endif
