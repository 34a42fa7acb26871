/*
 * matcher - regular expressions from strangers, which can crash glibc's matcher or keep it busy for years, tried by
 * workers: the program itself lives on, and tells what became of each.
 *
 *	build/examples/matcher TEXT PATTERN...
 *	build/examples/matcher aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab '^a' '(x' "$(printf '(%.0s' {1..60000})" \
 *		'(.*)(.*)(.*)(.*)(.*)(.*)\1\2\3\4\5\6x'
 */
#include <errno.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <torc/torc.h>

struct question {
	struct torc_process_call call;
	struct torc_future *future;
	const char *pattern;
	bool matches;
};

/* In a worker. The argument: text and pattern, each with its 0 at the end. */
static int match(struct torc_process_call *call)
{
	const char *text = call->arg, *pattern = text + strlen(text) + 1;
	regex_t compiled;

	if (regcomp(&compiled, pattern, REG_EXTENDED) != 0)
		return -EINVAL;
	*(bool *)call->result = regexec(&compiled, text, 0, NULL, 0) == 0;
	regfree(&compiled);
	return 0;
}

static int ask(struct torc_executor *pool, struct question *q, const char *text)
{
	size_t text_bytes = strlen(text) + 1, pattern_bytes = strlen(q->pattern) + 1;
	char *arg = malloc(text_bytes + pattern_bytes);
	int r;

	if (!arg)
		return -ENOMEM;
	memcpy(arg, text, text_bytes);
	memcpy(arg + text_bytes, q->pattern, pattern_bytes);
	q->call = (struct torc_process_call){
		.fn = match,
		.arg = arg,
		.arg_bytes = text_bytes + pattern_bytes,
		.result = &q->matches,
		.result_bytes = sizeof(q->matches),
	};
	r = torc_submit(pool, torc_process_call_run, &q->call, &q->future);
	if (r < 0)
		free(arg);
	return r;
}

static void tell(const struct question *q, int status)
{
	printf("%-30.30s ", q->pattern);
	if (status == -EPIPE && WIFSIGNALED(q->call.wait_status))
		printf("%s\n", WTERMSIG(q->call.wait_status) == SIGXCPU
				       ? "takes too long"
				       : strsignal(WTERMSIG(q->call.wait_status)));
	else if (status < 0)
		printf("%s\n", status == -EINVAL ? "is no pattern" : strerror(-status));
	else
		printf("%s\n", q->matches ? "matches" : "does not match");
}

struct program {
	char **patterns;
	const char *text;
	int count;
};

static int answer(struct torc_executor *pool, const struct program *program,
		  struct question *questions)
{
	int asked = 0, r = 0;

	while (asked < program->count && r == 0) {
		questions[asked].pattern = program->patterns[asked];
		r = ask(pool, &questions[asked], program->text);
		asked += r == 0;
	}
	for (int i = 0; i < asked; i++) {
		int status = torc_await(questions[i].future, NULL);

		if (torc_future_state(questions[i].future) != TORC_RUNNING)
			tell(&questions[i], status);
	}
	torc_executor_destroy(pool); /* no worker uses a question any more */
	for (int i = 0; i < asked; i++) {
		torc_future_put(questions[i].future);
		free((void *)(uintptr_t)questions[i].call.arg);
	}
	return r;
}

static int app(void *arg)
{
	const struct program *program = arg;
	const struct torc_process_options options = {
		.cpu_seconds = 1,
		.memory_max = (size_t)256 << 20,
	};
	struct question *questions = calloc((size_t)program->count, sizeof(*questions));
	struct torc_executor *pool;
	int r = questions ? torc_process_create(&options, &pool) : -ENOMEM;

	if (r == 0)
		r = answer(pool, program, questions);
	free(questions);
	return r;
}

int main(int argc, char **argv)
{
	struct program program;
	int r;

	torc_process_begin();
	if (argc < 3) {
		fprintf(stderr,
			"Usage: matcher TEXT PATTERN...\n"
			"Which of the patterns (regex(7)) match the text? Each is tried for a second.\n");
		return 2;
	}
	program = (struct program){ argv + 2, argv[1], argc - 2 };
	r = torc_run(NULL, app, &program);
	if (r < 0)
		fprintf(stderr, "matcher: %s\n", strerror(-r));
	return r < 0;
}
