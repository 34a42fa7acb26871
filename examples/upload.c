/*
 * upload - files from a form in the browser into a directory, of any size in little memory.
 *
 *	build/examples/upload 127.0.0.1:8080 DIRECTORY
 *	curl -F note=hello -F file=@photo.jpg localhost:8080/
 *
 * They get names of our own: what a client calls its file is only shown, and only once it is made harmless.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include <torc/torc.h>

#define FILE_BYTES ((uint64_t)1 << 30)
#define FILES_MAX  20

struct saved {
	char text[8192]; /* what the client is told */
	size_t len;
};

static const char form[] = "<!doctype html><title>upload</title>\n"
			   "<form method=post enctype=multipart/form-data>\n"
			   "<input type=file name=file multiple> <button>Upload</button></form>\n";

static int show_form(struct torc_http_exchange *x, void *arg)
{
	(void)arg;
	return torc_http_respond(x, 200, "text/html; charset=utf-8", form, sizeof(form) - 1);
}

static void tell(struct saved *s, const char *name, uint64_t bytes, struct torc_slice theirs)
{
	size_t room = sizeof(s->text) - s->len;
	int n = snprintf(s->text + s->len, room, "%s %llu ", name, (unsigned long long)bytes);

	for (size_t i = 0; n > 0 && (size_t)n + 2 < room && i < theirs.len; i++)
		s->text[s->len + (size_t)n++] = theirs.data[i];
	if (n > 0 && (size_t)n + 1 < room) {
		s->text[s->len + (size_t)n++] = '\n';
		s->len += (size_t)n;
	}
}

/* If the client leaves in the middle, no half of a file stays: torc_http_multipart_save removes it. */
static int save(struct torc_http_multipart *m, const struct torc_http_part *part, int directory,
		struct saved *s)
{
	struct torc_slice theirs = { "-", 1 };
	uint64_t random, bytes;
	char name[32];
	int r;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(name, sizeof(name), "%016llx", (unsigned long long)random);
	r = torc_http_multipart_save(m, directory, name, 0600, FILE_BYTES, &bytes);
	if (r < 0)
		return r;
	(void)torc_http_part_basename(part, &theirs);
	tell(s, name, bytes, theirs);
	return 0;
}

static int receive(struct torc_http_exchange *x, void *arg)
{
	const struct torc_http_multipart_limits limits = { .parts = FILES_MAX };
	struct saved *s = torc_http_alloc(x, sizeof(*s));
	struct torc_http_multipart *m;
	struct torc_http_part part;
	int r = s ? torc_http_multipart_begin(x, &limits, &m) : -ENOMEM;

	if (r < 0)
		return r; /* 415, 400 and 413 by themselves */
	s->len = 0;
	while ((r = torc_http_multipart_next(m, &part)) > 0) {
		r = part.has_filename ? save(m, &part, *(const int *)arg, s) : 0;
		if (r < 0)
			return r;
	}
	return r < 0 ? r : torc_http_respond(x, 201, "text/plain; charset=utf-8", s->text, s->len);
}

struct upload {
	const char *addresses[2], *path;
};

static void on_listen(const char *address, void *arg)
{
	(void)arg;
	fprintf(stderr, "upload: on %s\n", address);
}

static int serve(const struct upload *u, int *directory)
{
	struct torc_router *router;
	int r = torc_router_create(NULL, &router);

	if (r < 0)
		return r;
	r = torc_router_add(router, "GET", "/", show_form, NULL);
	if (!r)
		r = torc_router_add(router, "POST", "/", receive, directory);
	if (!r)
		r = torc_http_serve(&(struct torc_http_options){
			.addresses = u->addresses,
			.handler = torc_router_handle,
			.arg = router,
			.body_bytes = FILES_MAX * FILE_BYTES,
			.handlers_max = 50, /* a form takes some memory, and its files a disk */
			.on_listen = on_listen });
	torc_router_destroy(router);
	return r;
}

static int app(void *arg)
{
	const struct upload *u = arg;
	int r, directory = torc_open(u->path, O_PATH | O_DIRECTORY, 0);

	if (directory < 0)
		return directory;
	r = serve(u, &directory);
	torc_close(directory);
	return r;
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 3) {
		fprintf(stderr, "Usage: upload ADDRESS DIRECTORY\n");
		return 2;
	}
	r = torc_run(NULL, app, &(struct upload){ { argv[1], NULL }, argv[2] });
	if (r < 0)
		fprintf(stderr, "upload: %s\n", strerror(-r));
	return r < 0;
}
