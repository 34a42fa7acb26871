/*
 * tests/io/child.h - what the tests of children share.
 */
#ifndef TESTS_IO_CHILD_H
#define TESTS_IO_CHILD_H

#include "tests/io/system.h"

#include <sys/wait.h>

#include <torc/io/child.h>

#define SH(script) ((const char *const[]){ "/bin/sh", "-c", (script), NULL })

/* A shell script with options. */
static inline int start_sh(struct torc_child *c, const char *script, struct torc_child_options o)
{
	o.argv = SH(script);
	return torc_child_start(c, &o);
}

/* No child is left, neither running nor as a zombie. */
static inline void check_no_children(void)
{
	check_eq(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	check_eq(errno, ECHILD);
}

/* What a script writes to its standard output, and its exit code. */
static inline int output_of(const char *script, struct torc_child_options o, char *ret, size_t size)
{
	struct torc_child_talk talk = { .linger_ns = 0 };
	struct torc_child_status status;

	o.argv = SH(script);
	o.out.stream = TORC_CHILD_PIPE;
	check_eq(torc_child_run(&o, &talk, &status), 0);
	check_lt(talk.out_len, size);
	memcpy(ret, talk.out ? talk.out : "", talk.out_len + 1);
	torc_child_talk_done(&talk);
	return status.exit_code;
}

/* Wait until it has said something: then it is past that line of its script. */
static inline void await_word(struct torc_child *c, const char *word)
{
	char text[64];
	size_t len = 0;

	while (len < strlen(word)) {
		int r = torc_read(c->out, text + len, sizeof(text) - len);

		check_ge(r, 1);
		len += (size_t)r;
	}
	check(!strncmp(text, word, strlen(word)));
}

static inline void run_children(torc_fn *fn, void *arg)
{
	run(fn, arg);
	check_no_children();
}

#endif
