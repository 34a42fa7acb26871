#include "http/programs/load.h"

#include <math.h>

/*
 * Latency over the part of the requests that were faster. To the right each decade is as wide as the one before: 90 %, 99 %,
 * 99.9 % ..., that is log(1 / (1 - p)), so that the slowest ones are seen as well as the others. Where there are no more
 * requests the line ends.
 */

enum {
	WIDTH = 800,
	HEIGHT = 480,
	LEFT = 90,
	RIGHT = 770,
	TOP = 50,
	BOTTOM = 420,
	STEPS = 40, /* points of the line for each decade */
	DECADES_MAX = 8,
};

struct plot {
	const struct hdr *latency;
	FILE *to;
	double top_us;
	int decades;
};

/* As many nines as the number of requests can tell of. */
static int decades_of(const struct hdr *h)
{
	int n = 1;

	while (n < DECADES_MAX && (double)h->total >= pow(10, n))
		n++;
	return n;
}

static double x_of(const struct plot *p, double decades)
{
	return LEFT + (RIGHT - LEFT) * decades / p->decades;
}

static double y_of(const struct plot *p, double us)
{
	return BOTTOM - (BOTTOM - TOP) * us / p->top_us;
}

/* The least of 1, 2, 5, 10, 20 ... that is enough for five lines. */
static double step_of(double most)
{
	double step = 0.001;

	for (int i = 0; step * 5 < most && i < 60; i++)
		step *= i % 3 == 1 ? 2.5 : 2;
	return step;
}

static void text(const struct plot *p, double x, double y, const char *anchor, const char *what)
{
	fprintf(p->to, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
	for (; *what; what++)
		if (*what == '<' || *what == '&' || *what == '>')
			fprintf(p->to, "&#%d;", *what);
		else if (*what < ' ' || *what > '~')
			fputc('?', p->to);
		else
			fputc(*what, p->to);
	fputs("</text>\n", p->to);
}

static void line(const struct plot *p, double x1, double y1, double x2, double y2)
{
	fprintf(p->to, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", x1, y1, x2, y2);
}

static void format_time(char *to, size_t size, double us)
{
	if (us < 1000)
		snprintf(to, size, "%g us", us);
	else if (us < 1e6)
		snprintf(to, size, "%g ms", us / 1e3);
	else
		snprintf(to, size, "%g s", us / 1e6);
}

/* "0 %", "90 %", "99 %", "99.9 %" ... */
static void format_percentile(char *to, size_t size, int nines)
{
	if (nines < 2)
		snprintf(to, size, "%s", nines ? "90 %" : "0 %");
	else
		snprintf(to, size, "%.*f %%", nines - 2, 100 - pow(10, 2 - nines));
}

static void draw_grid(const struct plot *p, double step)
{
	char label[32];

	fputs("<g stroke=\"#ddd\">\n", p->to);
	for (int i = 0; i <= p->decades; i++)
		line(p, x_of(p, i), TOP, x_of(p, i), BOTTOM);
	for (double us = 0; us <= p->top_us * 1.0001; us += step)
		line(p, LEFT, y_of(p, us), RIGHT, y_of(p, us));
	fputs("</g>\n", p->to);
	for (int i = 0; i <= p->decades; i++) {
		format_percentile(label, sizeof(label), i);
		text(p, x_of(p, i), BOTTOM + 20, "middle", label);
	}
	for (double us = 0; us <= p->top_us * 1.0001; us += step) {
		format_time(label, sizeof(label), us);
		text(p, LEFT - 8, y_of(p, us) + 4, "end", label);
	}
}

/* Up to where there is one request; its end is the slowest of all. */
static void draw_line(const struct plot *p)
{
	double last = log10((double)p->latency->total);

	fputs("<polyline fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\" points=\"", p->to);
	for (int i = 0; i <= p->decades * STEPS; i++) {
		double decades = (double)i / STEPS;
		uint64_t part = (uint64_t)((1 - pow(10, -decades)) * HDR_ALL);

		if (decades > last)
			break;
		fprintf(p->to, "%.1f,%.1f ", x_of(p, decades),
			y_of(p, (double)hdr_at(p->latency, part) / 1e3));
	}
	fprintf(p->to, "%.1f,%.1f\"/>\n", x_of(p, last < p->decades ? last : p->decades),
		y_of(p, (double)p->latency->most / 1e3));
}

static void draw_titles(const struct plot *p, const struct load *load)
{
	char title[512];

	snprintf(title, sizeof(title), "%s %s, %llu connections, %.0f requests/s, %llu answers",
		 load->is_http ? load->method : "echo", load->program.target,
		 (unsigned long long)load->connections,
		 load->seconds > 0 ? (double)load->counts.answers / load->seconds : 0,
		 (unsigned long long)load->counts.answers);
	text(p, (LEFT + RIGHT) / 2.0, 28, "middle", title);
	text(p, (LEFT + RIGHT) / 2.0, BOTTOM + 44, "middle",
	     load->rate ? "percentile of the latency from when a request was due"
			: "percentile of the latency");
}

void load_write_svg(const struct load *load, FILE *to)
{
	struct plot p = { .latency = load->latency, .to = to };
	double most = (double)load->latency->most / 1e3, step = step_of(most);

	p.decades = decades_of(load->latency);
	p.top_us = most > 0 ? ceil(most / step) * step : step;
	fprintf(to,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
		"font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
		"<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, WIDTH, HEIGHT);
	draw_titles(&p, load);
	draw_grid(&p, step);
	if (load->latency->total)
		draw_line(&p);
	fputs("</svg>\n", to);
}
