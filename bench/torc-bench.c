/*
 * torc-bench - what the parts of torc cost, one by one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/executor/process.h>

#include "bench/micro.h"

static const struct micro *const micros[] = {
	&micro_switch,   &micro_yield,      &micro_spawn, &micro_sleep,   &micro_scope,
	&micro_chan,     &micro_select,     &micro_mutex, &micro_op,      &micro_cross,
	&micro_memory,   &micro_http_parse, &micro_local, &micro_timeout, &micro_gen,
	&micro_submit,   &micro_fork,       &micro_map,   &micro_offload, &micro_process,
	&micro_zerocopy,
};

#define MICRO_COUNT (sizeof(micros) / sizeof(micros[0]))

static bool as_json;
static int cores = 1;       /* loops of the runtime around a bench in a fiber */
static const char *running; /* the name of the bench that runs */

static const struct micro *find(const char *name)
{
	for (size_t i = 0; i < MICRO_COUNT; i++)
		if (!strcmp(micros[i]->name, name))
			return micros[i];
	return NULL;
}

static void report_json(const char *metric, double value, const char *unit)
{
	printf("{\"bench\":\"%s\",\"metric\":\"%s\",\"value\":", running, metric);
	printf(isfinite(value) ? "%.6g" : "null", value);
	printf(",\"unit\":\"%s\"}\n", unit);
}

static void report_row(const char *metric, double value, const char *unit, double target, bool met)
{
	printf("%-12s %-38s %10.*f %-6s", running, metric, value < 100 ? 2 : 0, value, unit);
	if (!isnan(target))
		printf(" %8.*f  %s", target < 10 ? 1 : 0, target, met ? "ok" : "missed");
	putchar('\n');
}

static void report(const char *metric, double value, const char *unit, double target, bool met)
{
	if (as_json)
		report_json(metric, value, unit);
	else
		report_row(metric, value, unit, target, met);
	fflush(stdout);
}

void micro_report(const char *metric, double value, const char *unit, double target)
{
	report(metric, value, unit, target, value <= target);
}

void micro_report_rate(const char *metric, double value, const char *unit, double target)
{
	report(metric, value, unit, target, value >= target);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double micro_median_of(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

double micro_median(micro_fn *measure, void *arg)
{
	double values[MICRO_REPEATS];

	measure(arg);
	for (unsigned i = 0; i < MICRO_REPEATS; i++)
		values[i] = measure(arg);
	return micro_median_of(values, MICRO_REPEATS);
}

int micro_in_fiber(torc_fn *fn)
{
	return torc_run(&(struct torc_options){ .loops = cores, .no_signals = true }, fn, NULL);
}

static int run(const struct micro *micro)
{
	int r;

	running = micro->name;
	r = micro->run();
	if (r < 0)
		fprintf(stderr, "torc-bench: %s: %s\n", micro->name, strerror(-r));
	return r;
}

static void help(void)
{
	printf("Usage: torc-bench [--json] [--cores 1|2] NAME...\n"
	       "Measure what the parts of torc cost: medians, as a table.\n\n"
	       "  NAME        a bench, as `torc-bench list` names it, or all\n"
	       "  --json      one JSON object per line instead of the table\n"
	       "  --cores N   2: beside the loop that is measured there is a second, idle one\n"
	       "  --help      this text\n"
	       "  --version   the version\n");
}

static void list(void)
{
	for (size_t i = 0; i < MICRO_COUNT; i++)
		printf("%-12s %s\n", micros[i]->name, micros[i]->what);
}

static int wrong(const char *what, const char *value)
{
	fprintf(stderr, "torc-bench: %s%s%s; try --help\n", what, value ? ": " : "",
		value ? value : "");
	return 2;
}

/* Returns -1: go on; otherwise the exit status. */
static int parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "cores", required_argument, NULL, 'c' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j': as_json = true; break;
		case 'c':
			if (strcmp(optarg, "1") != 0 && strcmp(optarg, "2") != 0)
				return wrong("--cores wants 1 or 2", optarg);
			cores = optarg[0] - '0';
			break;
		case 'h': help(); return 0;
		case 'v': printf("torc-bench %s\n", TORC_VERSION); return 0;
		default: return wrong("unknown option or no value", argv[optind - 1]);
		}
	}
	return optind == argc ? wrong("which bench? `torc-bench list` names them", NULL) : -1;
}

static int run_all(void)
{
	int failed = 0;

	for (size_t i = 0; i < MICRO_COUNT; i++)
		failed |= run(micros[i]) < 0;
	return failed;
}

static int run_named(char **names)
{
	int failed = 0;

	for (; *names; names++)
		failed |= run(find(*names)) < 0;
	return failed;
}

int main(int argc, char **argv)
{
	char **names;
	bool all = false;
	int status;

	torc_process_begin();
	status = parse_options(argc, argv);
	names = argv + optind;
	if (status >= 0)
		return status;
	if (!strcmp(names[0], "list") && !names[1]) {
		list();
		return 0;
	}
	if (!strcmp(names[0], "all") && !names[1])
		all = true;
	for (char **name = names; !all && *name; name++)
		if (!find(*name))
			return wrong("no such bench", *name);
	if (!as_json)
		printf("%-12s %-38s %10s %-6s %8s\n", "bench", "metric", "median", "unit",
		       "target");
	return all ? run_all() : run_named(names);
}
