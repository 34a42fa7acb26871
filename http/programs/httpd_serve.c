#include "http/programs/httpd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <torc/core/run.h>
#include <torc/http/compress.h>
#include <torc/io/signal.h>

static void on_listen(const char *address, void *arg)
{
	program_on_listen(&((struct httpd *)arg)->program, address);
}

static void on_error(const char *address, int error, void *arg)
{
	program_on_error(&((struct httpd *)arg)->program, address, error);
}

/* --- the access log --- */

static void on_log_error(int error, void *arg)
{
	const struct httpd *h = arg;

	fprintf(stderr, "%s: --access-log %s: %s\n", h->program.name, h->log_path,
		strerror(-error));
}

static int open_log(struct httpd *h)
{
	bool standard = !strcmp(h->log_path, "-");

	return torc_http_log_open(&h->log, &(struct torc_http_log_options){
						   .path = standard ? NULL : h->log_path,
						   .fd = 1,
						   .format = h->log_format,
						   .on_error = on_log_error,
						   .arg = h,
					   });
}

/* A fiber: logrotate renames the file, and sends SIGHUP. */
static int reopen_main(void *arg)
{
	struct httpd *h = arg;
	struct torc_signals signals;
	int r = torc_signals_open(&signals, (const int[]){ SIGHUP }, 1);

	if (r < 0)
		return r;
	while ((r = torc_signals_next(&signals)) > 0) {
		r = torc_http_log_reopen(&h->log);
		if (r < 0 && r != -ECANCELED)
			on_log_error(r, h);
	}
	torc_signals_close(&signals);
	return r;
}

/* --- metrics at an address of their own --- */

static void on_metrics_listen(const char *address, void *arg)
{
	const struct httpd *h = ((const struct torc_http_step *)arg)->arg;

	if (!h->program.quiet)
		fprintf(stderr, "%s: metrics on %s\n", h->program.name, address);
}

static void on_metrics_error(const char *address, int error, void *arg)
{
	on_error(address, error, ((const struct torc_http_step *)arg)->arg);
}

static int answer_metrics(struct torc_http_exchange *x, void *arg)
{
	struct httpd *h = ((const struct torc_http_step *)arg)->arg;

	return torc_http_metrics_handle(x, &h->metrics);
}

/* A fiber. A handover is for these sockets too, or the next process could not have the address. */
static int metrics_main(void *arg)
{
	struct httpd *h = arg;
	const char *const addresses[] = { h->metrics_address, NULL };
	struct torc_http_step self = { NULL, h };
	char handover[256];
	int n = snprintf(handover, sizeof(handover), "%s.metrics",
			 h->program.handover ? h->program.handover : "");

	if (n >= (int)sizeof(handover))
		return -ENAMETOOLONG;
	return torc_http_serve(&(struct torc_http_options){
		.addresses = addresses,
		.handler = answer_metrics,
		.arg = &self,
		.connections_max = 64,
		.handover = h->program.handover ? handover : NULL,
		.on_listen = on_metrics_listen,
		.on_error = on_metrics_error,
	});
}

/* --- the server --- */

/* A loop's share, at least one. */
static size_t share(uint64_t of_all)
{
	uint64_t loops = (uint64_t)torc_loop_count();

	return (size_t)((of_all + loops - 1) / loops);
}

static int run_steps(struct torc_http_exchange *x, void *httpd)
{
	struct httpd *h = httpd;

	return torc_http_run(x, h->steps, h->step_count);
}

static void add_step(struct httpd *h, torc_http_fn *fn, void *arg)
{
	h->steps[h->step_count++] = (struct torc_http_step){ fn, arg };
}

static void add_steps(struct httpd *h)
{
	static struct torc_http_compress_options compress;

	compress.codings = torc_http_codings_all;
	if (h->log_path)
		add_step(h, torc_http_log_handle, &h->log);
	if (h->metrics_path || h->metrics_address)
		add_step(h, torc_http_metrics_count, &h->metrics);
	if (h->compress)
		add_step(h, torc_http_compress, &compress);
	if (h->step_count)
		add_step(h, httpd_answer, h);
}

static int serve_alone(struct httpd *h)
{
	struct torc_http_options o = h->server;

	o.addresses = h->program.addresses;
	o.handler = h->step_count ? run_steps : httpd_answer;
	o.arg = h;
	o.connections_max = share(h->connections);
	o.answer_at_limit = true;
	o.handlers_max = (unsigned)share(h->handlers);
	o.tls = h->program.tls;
	o.handover = h->program.handover;
	o.balance = h->program.balance;
	o.on_listen = on_listen;
	o.on_error = on_error;
	return torc_http_serve(&o);
}

/* What runs beside the server ends after it; if it fails so does the server. */
static int serve_beside(struct httpd *h)
{
	struct torc_group group;
	int r = 0, ended;

	torc_group_enter(&group);
	if (h->log_path)
		r = torc_group_spawn_with(&group,
					  &(struct torc_spawn_options){ .name = "log reopener" },
					  reopen_main, h);
	if (!r && h->metrics_address)
		r = torc_group_spawn_with(&group,
					  &(struct torc_spawn_options){ .name = "metrics server" },
					  metrics_main, h);
	if (!r)
		r = serve_alone(h);
	torc_group_cancel(&group);
	ended = torc_group_wait(&group);
	return r || ended == -ECANCELED ? r : ended;
}

static int serve_with_log(struct httpd *h)
{
	int r;

	if (!h->log_path)
		return serve_beside(h);
	r = open_log(h);
	if (r < 0) {
		on_log_error(r, h);
		return r;
	}
	r = serve_beside(h);
	torc_http_log_close(&h->log);
	return r;
}

int httpd_serve(void *httpd)
{
	struct httpd *h = httpd;
	int r;

	add_steps(h);
	if (!h->metrics_path && !h->metrics_address)
		return serve_with_log(h);
	r = torc_http_metrics_init(&h->metrics, NULL);
	if (r < 0)
		return r;
	r = serve_with_log(h);
	torc_http_metrics_done(&h->metrics);
	return r;
}
