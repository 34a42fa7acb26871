#include "http/programs/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- the sum --- */

static void add_counts(struct load_counts *to, const struct load_counts *from)
{
	to->requests += from->requests;
	to->answers += from->answers;
	for (size_t i = 0; i < sizeof(to->by_class) / sizeof(to->by_class[0]); i++)
		to->by_class[i] += from->by_class[i];
	for (size_t i = 0; i < LOAD_ERRORS; i++)
		to->errors[i] += from->errors[i];
	to->unanswered += from->unanswered;
	to->reconnects += from->reconnects;
	to->resent += from->resent;
	to->surplus += from->surplus;
	to->received_bytes += from->received_bytes;
	to->sent_bytes += from->sent_bytes;
	to->late += from->late;
	to->unsent += from->unsent;
	/* They need not have been at the same time; as if they had. */
	to->backlog_peak += from->backlog_peak;
}

void load_sum(struct load *load)
{
	uint64_t end_ns = load->requests ? load->begin_ns : load->over_ns;

	for (unsigned i = 0; i < load->loop_count; i++) {
		struct load_loop *l = &load->loops[i];

		load_count_unsent(l);
		add_counts(&load->counts, &l->counts);
		hdr_merge(load->latency, &l->latency);
		if (load->requests && l->last_ns > end_ns)
			end_ns = l->last_ns;
	}
	if (load->measuring && end_ns > load->begin_ns)
		load->seconds = (double)(end_ns - load->begin_ns) / 1e9;
}

/* --- figures --- */

static double per_second(const struct load *load, uint64_t n)
{
	return load->seconds > 0 ? (double)n / load->seconds : 0;
}

static double cpu_us(const struct load *load)
{
	return load->counts.answers ? (double)load->cpu_ns / 1e3 / (double)load->counts.answers : 0;
}

/* With connecting: of that attempts are counted, of all else requests. */
static uint64_t error_count(const struct load *load)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < LOAD_ERRORS; i++)
		sum += load->counts.errors[i];
	return sum;
}

struct figure {
	const char *name;
	double us;
};

#define FIGURES_MAX 10

static size_t latency_figures(const struct load *load, struct figure figures[FIGURES_MAX])
{
	const struct hdr *h = load->latency;
	size_t n = 0;

	figures[n++] = (struct figure){ "min", (double)(h->total ? h->least : 0) / 1e3 };
	figures[n++] = (struct figure){ "mean", hdr_mean(h) / 1e3 };
	figures[n++] = (struct figure){ "stddev", sqrt(hdr_variance(h)) / 1e3 };
	figures[n++] = (struct figure){ "p50", (double)hdr_at(h, 500000000) / 1e3 };
	figures[n++] = (struct figure){ "p90", (double)hdr_at(h, 900000000) / 1e3 };
	figures[n++] = (struct figure){ "p99", (double)hdr_at(h, 990000000) / 1e3 };
	figures[n++] = (struct figure){ "p99.9", (double)hdr_at(h, 999000000) / 1e3 };
	figures[n++] = (struct figure){ "p99.99", (double)hdr_at(h, 999900000) / 1e3 };
	figures[n++] = (struct figure){ "max", (double)h->most / 1e3 };
	return n;
}

/* --- for people --- */

static void print_time(double us)
{
	if (us < 1000)
		printf("%10.1f us", us);
	else if (us < 1e6)
		printf("%10.2f ms", us / 1e3);
	else
		printf("%10.2f s ", us / 1e6);
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void print_head(const struct load *load)
{
	printf("%s: %.2f s of %s%s%s, %llu connection%s", load->program.name, load->seconds,
	       load->is_http ? load->method : "echoes", load->is_http ? " " : " by ",
	       load->program.target, (unsigned long long)load->connections,
	       plural(load->connections));
	if (load->pipeline > 1)
		printf(", %llu at once on each", (unsigned long long)load->pipeline);
	printf(", %u loop%s\n", load->loop_count, plural(load->loop_count));
}

static void print_answers(const struct load *load)
{
	const struct load_counts *n = &load->counts;

	printf("  requests  %12llu\n", (unsigned long long)n->requests);
	printf("  answers   %12llu", (unsigned long long)n->answers);
	for (int i = 1; i < 6; i++)
		if (n->by_class[i])
			printf("   %dxx %llu", i, (unsigned long long)n->by_class[i]);
	if (load->is_http && n->by_class[0])
		printf("   others %llu", (unsigned long long)n->by_class[0]);
	printf("\n  errors    %12llu", (unsigned long long)error_count(load));
	for (size_t i = 0; i < LOAD_ERRORS; i++)
		if (n->errors[i])
			printf("   %s %llu", load_error_names[i], (unsigned long long)n->errors[i]);
	putchar('\n');
	if (n->unanswered)
		printf("  at the end%12llu   not answered yet\n",
		       (unsigned long long)n->unanswered);
	if (n->reconnects)
		printf("  reconnects%12llu   requests sent again %llu\n",
		       (unsigned long long)n->reconnects, (unsigned long long)n->resent);
	if (n->surplus)
		printf("  surplus   %12llu   times there was more than the answers\n",
		       (unsigned long long)n->surplus);
}

static void print_rates(const struct load *load)
{
	const struct load_counts *n = &load->counts;

	printf("  rate      %12.0f requests/s", per_second(load, n->answers));
	if (load->rate)
		printf(" of %llu asked for", (unsigned long long)load->rate);
	putchar('\n');
	if (load->rate)
		printf("  late      %12llu   never sent %llu, at most %llu were waiting\n",
		       (unsigned long long)n->late, (unsigned long long)n->unsent,
		       (unsigned long long)n->backlog_peak);
	printf("  received  %12.2f MB/s, sent %.2f MB/s\n",
	       per_second(load, n->received_bytes) / 1e6, per_second(load, n->sent_bytes) / 1e6);
	printf("  CPU       %12.2f us per request, of %s\n", cpu_us(load), load->program.name);
}

void load_print(const struct load *load)
{
	struct figure figures[FIGURES_MAX];
	size_t count = latency_figures(load, figures);

	print_head(load);
	print_answers(load);
	print_rates(load);
	printf("  latency%s\n", load->rate ? ", from when a request was due" : "");
	for (size_t i = 0; i < count; i++) {
		printf("    %-8s", figures[i].name);
		print_time(figures[i].us);
		putchar('\n');
	}
	if (load->latency->clamped)
		printf("    %llu were longer than an hour\n",
		       (unsigned long long)load->latency->clamped);
}

/* --- for programs --- */

/* A path may have any bytes in it: those beyond ASCII are escaped one by one. */
static void print_string(const char *name, const char *text)
{
	printf("\"%s\":\"", name);
	for (; *text; text++)
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if (*text < ' ' || *text > '~')
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	putchar('"');
}

static void print_number(const char *name, uint64_t n)
{
	printf(",\"%s\":%llu", name, (unsigned long long)n);
}

static void print_settings(const struct load *load)
{
	print_string("target", load->program.target);
	putchar(',');
	print_string("method", load->is_http ? load->method : "");
	print_number("connections", load->connections);
	print_number("pipeline", load->pipeline);
	print_number("loops", load->loop_count);
	printf(",\"open_loop\":%s,\"rate_asked\":%llu,\"seconds\":%.6f",
	       load->rate ? "true" : "false", (unsigned long long)load->rate, load->seconds);
}

static void print_counts(const struct load *load)
{
	static const char *const classes[] = { "other", "1xx", "2xx", "3xx", "4xx", "5xx" };
	const struct load_counts *n = &load->counts;

	print_number("requests", n->requests);
	print_number("answers", n->answers);
	print_number("unanswered", n->unanswered);
	printf(",\"status\":{");
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		printf("%s\"%s\":%llu", i ? "," : "", classes[i],
		       (unsigned long long)n->by_class[i]);
	printf("},\"errors\":{");
	for (size_t i = 0; i < LOAD_ERRORS; i++)
		printf("%s\"%s\":%llu", i ? "," : "", load_error_names[i],
		       (unsigned long long)n->errors[i]);
	putchar('}');
	print_number("reconnects", n->reconnects);
	print_number("resent", n->resent);
	print_number("surplus", n->surplus);
	print_number("received_bytes", n->received_bytes);
	print_number("sent_bytes", n->sent_bytes);
	print_number("late", n->late);
	print_number("unsent", n->unsent);
	print_number("backlog_peak", n->backlog_peak);
}

void load_print_json(const struct load *load)
{
	struct figure figures[FIGURES_MAX];
	size_t count = latency_figures(load, figures);

	putchar('{');
	print_settings(load);
	print_counts(load);
	printf(",\"requests_per_second\":%.3f,\"received_mb_per_second\":%.6f"
	       ",\"sent_mb_per_second\":%.6f,\"cpu_us_per_request\":%.4f,\"latency_us\":{",
	       per_second(load, load->counts.answers),
	       per_second(load, load->counts.received_bytes) / 1e6,
	       per_second(load, load->counts.sent_bytes) / 1e6, cpu_us(load));
	for (size_t i = 0; i < count; i++)
		printf("%s\"%s\":%.3f", i ? "," : "", figures[i].name, figures[i].us);
	printf("},\"longer_than_an_hour\":%llu}\n", (unsigned long long)load->latency->clamped);
}
