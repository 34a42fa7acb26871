/*
 * supervisor - keeps commands running: each is started again when it ends, later and later while it keeps ending soon. SIGTERM or
 * ^C ends them all, politely first.
 *
 *	build/examples/supervisor 'exec sleep 5' 'echo tick; sleep 1' 'exit 3'
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <torc/torc.h>

#define BACKOFF_LEAST_NS TORC_MS(100)
#define BACKOFF_MOST_NS  TORC_SECONDS(10)

/* What has run so long was all right: it is started again at once, as the first time. */
#define STABLE_NS TORC_SECONDS(10)

/* From SIGTERM to SIGKILL. */
#define GRACE_NS TORC_SECONDS(5)

static void tell(const char *command, const struct torc_child_status *status)
{
	if (status->signal)
		fprintf(stderr, "supervisor: '%s' was killed: %s\n", command,
			strsignal(status->signal));
	else
		fprintf(stderr, "supervisor: '%s' has ended: %d\n", command, status->exit_code);
}

/* Runs it once. Whatever it has started itself ends with it. */
static int run_once(const char *command)
{
	const struct torc_child_options options = {
		.argv = (const char *const[]){ "/bin/sh", "-c", command, NULL },
		.in = { .stream = TORC_CHILD_NULL },
		.group = TORC_CHILD_NEW_GROUP,
	};
	struct torc_child_status status;
	struct torc_child child;
	int r = torc_child_start(&child, &options);

	if (r < 0) {
		fprintf(stderr, "supervisor: '%s': %s: %s\n", command, child.failed, strerror(-r));
		return r;
	}
	r = torc_child_wait(&child, &status);
	if (r == 0)
		tell(command, &status);
	else if (torc_child_stop(&child, GRACE_NS, &status) == 0)
		tell(command, &status);
	torc_child_close(&child);
	return r;
}

static int supervise(void *command)
{
	uint64_t backoff_ns = BACKOFF_LEAST_NS;

	for (;;) {
		uint64_t begun_ns = torc_now_ns();
		int r = run_once(command);

		if (torc_scope_status() < 0)
			return torc_scope_status();
		if (torc_now_ns() - begun_ns >= STABLE_NS)
			backoff_ns = BACKOFF_LEAST_NS;
		r = torc_sleep(backoff_ns);
		if (r < 0)
			return r;
		backoff_ns = backoff_ns * 2 < BACKOFF_MOST_NS ? backoff_ns * 2 : BACKOFF_MOST_NS;
	}
}

static int app(void *arg)
{
	struct torc_group group;
	int r = 0;

	torc_group_enter(&group);
	for (char **command = arg; *command && r == 0; command++)
		r = torc_group_spawn(&group, supervise, *command);
	if (r < 0)
		torc_group_cancel(&group);
	return torc_group_wait(&group) < 0 && r < 0 ? r : 0;
}

int main(int argc, char **argv)
{
	int r;

	if (argc < 2) {
		fprintf(stderr,
			"Usage: supervisor COMMAND...\nKeep shell commands running until SIGTERM.\n");
		return 2;
	}
	r = torc_run(NULL, app, argv + 1);
	if (r < 0)
		fprintf(stderr, "supervisor: %s\n", strerror(-r));
	return r < 0;
}
