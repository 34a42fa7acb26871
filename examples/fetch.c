/*
 * fetch - what is behind URLs, on standard output or in a file.
 *
 *	build/examples/fetch -v https://example.org/
 *	build/examples/fetch -o image -d 'q=a b' -H 'Accept: image/png' --proxy http://localhost:3128 http://example.org/
 *
 * They are asked one after the other through one client: those of one server share a connection.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <torc/torc.h>

#define FIELDS_MAX 32

static struct torc_http_client_options client_options;
static struct torc_http_pair fields[FIELDS_MAX];
static char why[TORC_HTTP_WHY_MAX];
static struct torc_http_request request = { .fields = fields, .ret_why = why };
static const char *file;
static bool verbose, failed;

typedef bool next_fn(const struct torc_http_response *res, size_t *at, struct torc_slice *ret_name,
		     struct torc_slice *ret_value);

static void show(const struct torc_http_response *res, next_fn *next, char mark)
{
	struct torc_slice n, v;

	for (size_t at = 0; next(res, &at, &n, &v);)
		fprintf(stderr, "%c %.*s: %.*s\n", mark, (int)n.len, n.data, (int)v.len, v.data);
}

/* Interim ones too, such as 103 Early Hints. */
static void show_head(const struct torc_http_response *res, void *arg)
{
	(void)arg;
	fprintf(stderr, "< %d %s\n", torc_http_response_status(res), torc_http_response_url(res));
	show(res, torc_http_response_next_field, '<');
}

static int save(struct torc_http_response *res, int fd)
{
	bool progress = file && torc_tty_is(STDERR_FILENO);
	struct torc_slice view;
	uint64_t bytes = 0;
	int r;

	while ((r = torc_http_response_peek(res, &view)) > 0) {
		r = torc_write_all(fd, view.data, view.len);
		if (r < 0)
			break;
		torc_http_response_consume(res, view.len);
		bytes += view.len;
		if (progress)
			fprintf(stderr, "\r%.1f MB", (double)bytes / 1e6);
	}
	if (progress)
		fputc('\n', stderr);
	return r;
}

static int fetch(struct torc_http_client *client, const char *url, int fd)
{
	struct torc_http_response *res;
	int r;

	request.url = url;
	r = torc_http_request(client, &request, &res);
	if (r < 0)
		return r;
	if (verbose)
		show_head(res, NULL);
	r = save(res, fd);
	if (r < 0)
		snprintf(why, sizeof(why), "%s: %s", url, strerror(-r));
	else if (verbose)
		show(res, torc_http_response_next_trailer, '>');
	failed |= torc_http_response_status(res) >= 400;
	torc_http_response_close(res);
	return r;
}

static int app(void *urls)
{
	struct torc_http_client *client;
	int fd = file ? torc_open(file, O_WRONLY | O_CREAT | O_TRUNC, 0666) : STDOUT_FILENO;
	int r = fd < 0 ? fd : torc_http_client_open(&client_options, &client);

	if (!r) {
		for (char **url = urls; *url && !r; url++)
			r = fetch(client, *url, fd);
		torc_http_client_close(client);
	}
	if (file && fd >= 0)
		torc_close(fd);
	return r;
}

/* "Name: value" in two, where it stands. */
static bool add_field(char *text)
{
	char *colon = strchr(text, ':');

	if (!colon || request.field_count == FIELDS_MAX)
		return false;
	*colon++ = '\0';
	fields[request.field_count++] = (struct torc_http_pair){ text, colon + strspn(colon, " ") };
	return true;
}

static bool parse(int argc, char **argv)
{
	static const struct option options[] = { { "proxy", 1, NULL, 'x' }, { 0 } };
	bool good = true;
	int c;

	while ((c = getopt_long(argc, argv, "d:eH:o:T:vX:x:", options, NULL)) != -1)
		switch (c) {
		case 'd': request.body = optarg, request.body_len = strlen(optarg); break;
		case 'e': request.expect_continue = true; break;
		case 'H': good &= add_field(optarg); break;
		case 'o': file = optarg; break;
		case 'T': request.body_file = optarg; break;
		case 'v': verbose = true, request.on_interim = show_head; break;
		case 'X': request.method = optarg; break;
		case 'x': client_options.proxy = optarg; break;
		default: good = false;
		}
	return good && optind < argc;
}

int main(int argc, char **argv)
{
	int r;

	if (!parse(argc, argv)) {
		fputs("usage: fetch [-v] [-X METHOD] [-H 'NAME: VALUE'] [-d TEXT] [-T FILE] [-e] [-o FILE] [--proxy URL] URL...\n",
		      stderr);
		return 2;
	}
	r = torc_run(NULL, app, argv + optind);
	if (r < 0)
		fprintf(stderr, "fetch: %s\n", *why ? why : strerror(-r));
	return r < 0 || failed;
}
