/*
 * torc-load - how many requests a server answers, and how fast.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/torc.h>

#include "http/programs/load.h"

static const char *why(const struct load *load)
{
	for (unsigned i = 0; i < load->loop_count; i++)
		if (*load->loops[i].why)
			return load->loops[i].why;
	return load->counts.unanswered ? "no request was answered" : "it was over too soon";
}

static int close_svg(const struct load *load)
{
	int error;

	if (!load->svg)
		return 0;
	load_write_svg(load, load->svg);
	error = ferror(load->svg) ? EIO : 0;
	if (fclose(load->svg) && !error)
		error = errno;
	if (error)
		fprintf(stderr, "%s: %s: %s\n", load->program.name, load->svg_path,
			strerror(error));
	return error ? 1 : 0;
}

static int report(struct load *load)
{
	int status;

	load_sum(load);
	if (load->measuring)
		(load->json ? load_print_json : load_print)(load);
	status = close_svg(load);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "%s: cannot write the report\n", load->program.name);
		return 1;
	}
	if (load->counts.answers)
		return status;
	fprintf(stderr, "%s: nothing could be measured: %s\n", load->program.name, why(load));
	return 1;
}

static void free_loops(struct load *load)
{
	for (unsigned i = 0; load->loops && i < load->loop_count; i++)
		free(load->loops[i].connections);
	free(load->loops);
	free(load->latency);
}

static int run(struct load *load)
{
	uint64_t loops = (uint64_t)load->program.loops;
	int r, status;

	load->latency = calloc(1, sizeof(*load->latency));
	if (!load->latency) {
		fprintf(stderr, "%s: %s\n", load->program.name, strerror(ENOMEM));
		return 1;
	}
	program_raise_limits();
	/* A loop without a connection would have nothing to do. */
	r = torc_run(&(struct torc_options){ .loops = (int)(loops < load->connections
								    ? loops
								    : load->connections) },
		     load_run, load);
	status = load->loops ? report(load) : 1;
	if (r == -ENOMEM)
		fprintf(stderr, "%s: %s\n", load->program.name, strerror(ENOMEM));
	free_loops(load);
	return r == -ENOMEM ? 1 : status;
}

int main(int argc, char **argv)
{
	static struct load load = {
		.program = {
			.name = "torc-load",
			.what = "Send requests to URL, which is http:// or https://, or bytes to an echo server, which is\n"
				"tcp://HOST:PORT, tls://HOST:PORT or unix:PATH; and say how fast the answers come.",
			.operand = "URL",
			.options = load_options,
		},
	};
	int status = program_parse(&load.program, argc, argv);

	if (status < 0)
		status = load_check(&load);
	if (status < 0)
		status = load_prepare(&load);
	return status >= 0 ? status : run(&load);
}
