/*
 * Forms with files: what browsers send, what nobody should, cut at every byte; and how they are sent.
 */
#include "tests/http/world.h"

#include <dirent.h>

#include <torc/core/fiber.h>
#include <torc/core/sim.h>
#include <torc/executor/offload.h>
#include <torc/http/form_data.h>
#include <torc/http/multipart.h>
#include <torc/io/contents.h>

#include "http/internal/multipart.h"

TestSuite(http_multipart, .timeout = 60);

/* --- the parser alone: a form as text --- */

static char said[65536];

static void tell(const char *what, struct torc_slice s)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%s=%.*s;", what, (int)s.len, s.data);
}

static void tell_part(struct torc__multipart *m)
{
	struct torc_http_part part;
	int r = torc__multipart_head(m->head, m->head_len, &part);

	if (r < 0) {
		strcat(said, "bad head;");
		return;
	}
	tell("name", part.name);
	if (part.has_filename)
		tell("file", part.filename);
	tell("type", part.type);
	strcat(said, "data=");
}

/* In parts of so many bytes, of which the first is `first`. Returns the last event, or a negative errno. */
static int parse(const char *type, const char *body, size_t len, size_t first, size_t piece)
{
	char head[2 * 200];
	struct torc__multipart m = { .head = head, .head_capacity = 200 };
	struct torc_slice data;
	int r = torc__multipart_init(&m, (struct torc_slice){ type, strlen(type) });

	*said = '\0';
	for (size_t at = 0, n = first; !r && at < len; n = piece) {
		/* Of memory of its own, so that what is beyond is seen by the sanitizer. */
		size_t left = n < len - at ? n : len - at, used;
		char *copy = malloc(left), *p = copy;

		check(copy);
		memcpy(copy, body + at, left);
		at += left;
		while (!r && left) {
			r = torc__multipart_next(&m, p, left, &used, &data);
			if (r < 0)
				break;
			check_le(used, left);
			if (r == TORC__MULTIPART_BYTES) {
				check(data.len);
				strncat(said, data.data, data.len);
			}
			if (r == TORC__MULTIPART_PART)
				tell_part(&m);
			if (r == TORC__MULTIPART_PART_END)
				strcat(said, ";");
			check(r != TORC__MULTIPART_MORE || used == left);
			if (r == TORC__MULTIPART_DONE)
				break;
			p += used;
			left -= used;
			r = 0;
		}
		free(copy);
	}
	return r;
}

#define TYPE        "multipart/form-data; boundary=xyz"
#define FIELD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n"
#define ONE(data)   "--xyz\r\n" FIELD("a") "\r\n" data "\r\n--xyz--\r\n"
#define A(data)     "name=a;type=text/plain;data=" data ";"

static const struct {
	const char *type, *body;
	int result;
	const char *said; /* NULL: of no interest */
} cases[] = {
	{ TYPE, ONE("1"), TORC__MULTIPART_DONE, A("1") },
	{ TYPE, ONE(""), TORC__MULTIPART_DONE, A("") },
	{ TYPE, "--xyz--", TORC__MULTIPART_DONE, "" },
	{ TYPE, "--xyz--\r\nwhatever --xyz", TORC__MULTIPART_DONE, "" },
	{ TYPE, "--xyz\r\n" FIELD("a") "\r\n--xyz--", TORC__MULTIPART_DONE, A("") },
	{ TYPE, "--xyz\r\n" FIELD("a") "\r\n--xy\r\n--xyz--", TORC__MULTIPART_DONE, A("--xy") },
	{ TYPE, "--xyz\r\n" FIELD("a") "\r\n-\r\n--xyz--", TORC__MULTIPART_DONE, A("-") },
	{ TYPE, ONE("\r\n"), TORC__MULTIPART_DONE, A("\r\n") },
	{ TYPE, ONE("\r\r\n\r\n-\r\n--\r\n--x\r\n--xy\r\n-\r"), TORC__MULTIPART_DONE,
	  A("\r\r\n\r\n-\r\n--\r\n--x\r\n--xy\r\n-\r") },
	{ TYPE, ONE("\r\n--xy\r\n--xy\r"), TORC__MULTIPART_DONE, A("\r\n--xy\r\n--xy\r") },
	{ TYPE, ONE("x--xyz--\n--xyz\n"), TORC__MULTIPART_DONE, A("x--xyz--\n--xyz\n") },
	{ TYPE, ONE("a\r\n--zyx\r\n\r\n--xy z"), TORC__MULTIPART_DONE,
	  A("a\r\n--zyx\r\n\r\n--xy z") },
	{ TYPE,
	  "--xyz\r\n" FIELD(
		  "a") "\r\n1\r\n--xyz\r\nCONTENT-type:  text/css \r\n"
		       "content-disposition:form-data;filename=\"b c.txt\";\tname=n; other=\"x;\"\r\nX: y\r\n\r\nbody\r\n--xyz--",
	  TORC__MULTIPART_DONE, A("1") "name=n;file=b c.txt;type=text/css;data=body;" },
	{ TYPE,
	  "--xyz\r\nContent-Disposition: form-data; name=\"q\\\"\\\\\\n%22\"; filename=\"C:\\dir\\\\f\"; "
	  "filename*=UTF-8''other\r\n\r\n\r\n--xyz--",
	  TORC__MULTIPART_DONE, "name=q\"\\\\n%22;file=C:\\dir\\f;type=text/plain;data=;" },
	{ TYPE,
	  "--xyz\r\nContent-Disposition: form-data; name=\"\"; filename=\"\"\r\n\r\n\r\n--xyz--",
	  TORC__MULTIPART_DONE, "name=;file=;type=text/plain;data=;" },
	{ TYPE, "--xyz\r\n" FIELD("\xc3\xa4") "Content-Transfer-Encoding: 8BIT\r\n\r\n\r\n--xyz--",
	  TORC__MULTIPART_DONE, "name=\xc3\xa4;type=text/plain;data=;" },
	/* Boundaries. */
	{ "Multipart/Form-Data ; charset=utf-8; Boundary=\"x y:z\"", "--x y:z--",
	  TORC__MULTIPART_DONE, "" },
	{ "multipart/form-data; boundary=1234567890123456789012345678901234567890123456789012345678901234567890",
	  "--1234567890123456789012345678901234567890123456789012345678901234567890--",
	  TORC__MULTIPART_DONE, "" },
	{ "multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
	  "", -EBADMSG, NULL },
	{ "multipart/form-data", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=\"\"", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=\"x ", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=\"x \"", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=\"x\\y\"", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=x; boundary=y", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=x y", "", -EBADMSG, NULL },
	{ "multipart/form-data boundary=x", "", -EBADMSG, NULL },
	{ "multipart/form-data; boundary=x;", "", -EBADMSG, NULL },
	{ "multipart/form-datas; boundary=x", "", -EPROTOTYPE, NULL },
	{ "multipart/mixed; boundary=x", "", -EPROTOTYPE, NULL },
	{ "text/plain", "", -EPROTOTYPE, NULL },
	{ "", "", -EPROTOTYPE, NULL },
	/* What begins or goes on in another way. */
	{ TYPE, "\r\n--xyz--", -EBADMSG, NULL },
	{ TYPE, "preamble\r\n--xyz--", -EBADMSG, NULL },
	{ TYPE, "-xyz", -EBADMSG, NULL },
	{ TYPE, "--xyz \r\n", -EBADMSG, NULL },
	{ TYPE, "--xyz\n", -EBADMSG, NULL },
	{ TYPE, "--xyz\r\r", -EBADMSG, NULL },
	{ TYPE, "--xyz-\r", -EBADMSG, NULL },
	{ TYPE, "--xyzz\r\n", -EBADMSG, NULL },
	{ TYPE, "--XYZ--", -EBADMSG, NULL },
	{ TYPE, ONE("a\r\n--xyz1\r\nb"), -EBADMSG, NULL },
	{ TYPE, ONE("a\r\n--xyz \r\nb"), -EBADMSG, NULL },
	{ TYPE, ONE("a\r\n--xyz\nb"), -EBADMSG, NULL },
	/* Cut short: no end. */
	{ TYPE, "", 0, "" },
	{ TYPE, "--xyz\r\n" FIELD("a") "\r\n1\r\n--xyz", 0, A("1") },
	{ TYPE, "--xyz\r\n" FIELD("a") "\r\n1\r\n--xy", 0, "name=a;type=text/plain;data=1" },
	{ TYPE, "--xyz\r\n" FIELD("a"), 0, "" },
	/* Heads. */
	{ TYPE, "--xyz\r\n\r\n1\r\n--xyz--", TORC__MULTIPART_DONE, "bad head;1;" },
	{ TYPE, "--xyz\r\n" FIELD("a") "\n1\r\n--xyz--", -EBADMSG, NULL },
	{ TYPE, "--xyz\r\nContent-Disposition: form-data; name=a\n\r\n1\r\n--xyz--", -EBADMSG,
	  NULL },
	{ TYPE,
	  "--xyz\r\nX: "
	  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	  "\r\n\r\n",
	  -EMSGSIZE, NULL },
};

Test(http_multipart, means_the_same_however_it_is_cut)
{
	static char whole[sizeof(said)];

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *type = cases[i].type, *body = cases[i].body;
		size_t len = strlen(body);
		int r = parse(type, body, len, len, len);

		if (r != cases[i].result || (cases[i].said && strcmp(said, cases[i].said))) {
			fprintf(stderr, "%s\n%s\n%d: %s\n", type, body, r, said);
			abort();
		}
		memcpy(whole, said, sizeof(whole));
		for (size_t cut = 1; cut < len; cut++) {
			check_eq(parse(type, body, len, cut, len), r);
			check(r < 0 || !strcmp(said, whole));
			check_eq(parse(type, body, len, len, cut), r);
			check_eq(parse(type, body, len, 1, cut), r);
			check(r < 0 || !strcmp(said, whole));
		}
	}
}

static int head_of(const char *text, struct torc_http_part *ret_part)
{
	static char room[2000];

	memcpy(room, text, strlen(text));
	return torc__multipart_head(room, strlen(text), ret_part);
}

Test(http_multipart, refuses_heads_that_can_be_read_in_two_ways)
{
	static const char *const bad[] = {
		"",
		"X: y\r\n",
		"Content-Disposition: form-data\r\n",
		"Content-Disposition: form-data; filename=x\r\n",
		"Content-Disposition: attachment; name=a\r\n",
		"Content-Disposition: form-data name=a\r\n",
		"Content-Disposition: form-datax; name=a\r\n",
		"Content-Disposition: form-data; name\r\n",
		"Content-Disposition: form-data; name=\r\n",
		"Content-Disposition: form-data; name = a\r\n",
		"Content-Disposition: form-data; name=\"a\r\n",
		"Content-Disposition: form-data; name=\"a\\\"\r\n",
		"Content-Disposition: form-data; name=\"a\"b\r\n",
		"Content-Disposition: form-data; name=a b\r\n",
		"Content-Disposition: form-data; name=a;\r\n",
		"Content-Disposition: form-data;; name=a\r\n",
		"Content-Disposition: form-data; name=a; name=b\r\n",
		"Content-Disposition: form-data; name=a; filename=b; filename=c\r\n",
		FIELD("a") FIELD("b"),
		FIELD("a") "Content-Type: a/b\r\nContent-Type: a/c\r\n",
		FIELD("a") "Content-Transfer-Encoding: base64\r\n",
		FIELD("a") "Content-Transfer-Encoding: quoted-printable\r\n",
		FIELD("a") " folded\r\n",
		FIELD("a") "X : y\r\n",
		FIELD("a") ": y\r\n",
		FIELD("a") "no colon\r\n",
		FIELD("a") "X: a\rb\r\n",
		FIELD("a") "X: a\x01\r\n",
		FIELD("a") "X: a\x7f\r\n",
		"Content-Disposition : form-data; name=a\r\n",
	};
	static const char nul[] = FIELD("a") "X: a\0b\r\n";
	static char copy[2 * sizeof(nul)];
	struct torc_http_part part = { .type.len = 77 };
	struct torc_slice value;

	for (size_t i = 0; i < COUNT(bad); i++)
		if (head_of(bad[i], &part) != -EBADMSG) {
			fprintf(stderr, "%s\n", bad[i]);
			abort();
		}
	memcpy(copy, nul, sizeof(nul));
	check_eq(torc__multipart_head(copy, sizeof(nul) - 1, &part), -EBADMSG);
	check_eq(part.type.len, 77);
	check_eq(head_of(FIELD("a") "X-Y: \tz \r\nx-y: 2\r\nE:\r\n", &part), 0);
	check(torc_http_part_field(&part, "x-y", &value) && same_text(value, "z"));
	check(torc_http_part_field(&part, "e", &value) && !value.len);
	check(!torc_http_part_field(&part, "X", &value));
	check(!torc_http_part_field(&part, "X-Y-Z", &value));
	check(!part.has_filename && !torc_http_part_basename(&part, &value));
}

Test(http_multipart, strips_directories_of_file_names)
{
	static const struct {
		const char *name, *base;
	} names[] = {
		{ "a.txt", "a.txt" }, { "/etc/passwd", "passwd" },
		{ "..\\..\\x", "x" }, { "C:\\a b\\c", "c" },
		{ "", NULL },         { "a/", NULL },
		{ "..", NULL },       { "a/..", NULL },
		{ ".", NULL },        { ".hidden", ".hidden" },
		{ "a\tb", NULL },     { "\xc3\xa4", "\xc3\xa4" },
	};
	struct torc_slice base;
	char longest[257];

	memset(longest, 'x', sizeof(longest));
	for (size_t i = 0; i < COUNT(names); i++) {
		struct torc_http_part part = { .filename = { names[i].name, strlen(names[i].name) },
					       .has_filename = true };
		bool good = torc_http_part_basename(&part, &base);

		check_eq(good, names[i].base != NULL);
		check(!good || same_text(base, names[i].base));
	}
	for (size_t n = 255; n <= 256; n++) {
		struct torc_http_part part = { .filename = { longest, n }, .has_filename = true };

		check_eq(torc_http_part_basename(&part, &base), n == 255);
	}
}

/* As many bytes that could begin a delimiter as there can be: each is looked at a few times at most. */
Test(http_multipart, takes_time_that_grows_with_the_length)
{
	static const char *const units[] = { "\r", "\r\n--xy", "\r\n-", "\r\n--", "-" };
	size_t len = 8 * MIB;
	char *body = malloc(len), head[400];

	check(body);
	for (size_t i = 0; i < COUNT(units); i++) {
		struct torc__multipart m = { .head = head, .head_capacity = 200 };
		size_t unit = strlen(units[i]), used, left;
		struct torc_slice data;
		const char *p = body;
		int r = 0;

		check_eq(torc__multipart_init(&m, (struct torc_slice){ TYPE, strlen(TYPE) }), 0);
		m.state = TORC__MULTIPART_DATA;
		m.matched = 0;
		for (size_t at = 0; at + unit <= len; at += unit)
			memcpy(body + at, units[i], unit);
		/* 4 KiB at a time, as they come. A quadratic search would take hours. */
		for (left = len / unit * unit; left; p += used, left -= used) {
			r = torc__multipart_next(&m, p, left < 4096 ? left : 4096, &used, &data);
			check(r == TORC__MULTIPART_BYTES || r == TORC__MULTIPART_MORE);
		}
	}
	free(body);
}

/* --- with a server --- */

static struct torc_http_multipart_limits limits;

static int describe(struct torc_http_exchange *x, struct torc_http_multipart *m)
{
	struct torc_http_part part;
	struct torc_slice view;
	int r;

	*said = '\0';
	while ((r = torc_http_multipart_next(m, &part)) > 0) {
		tell("name", part.name);
		if (same_text(part.name, "skip"))
			continue;
		if (same_text(part.name, "peek")) {
			while ((r = torc_http_multipart_peek(m, &view)) > 0) {
				strncat(said, view.data, 1);
				torc_http_multipart_consume(m, 1);
			}
			check(r < 0 || torc_http_multipart_peek(m, &view) == 0);
		} else {
			r = torc_http_multipart_read(m, 1000, &view);
			if (!r) {
				check(!view.data[view.len]);
				tell("data", view);
			}
		}
		if (r < 0)
			break;
	}
	if (r < 0) {
		check(r == -ECANCELED || torc_http_multipart_next(m, &part) == r);
		check(r == -ECANCELED || torc_http_multipart_peek(m, &view) == r);
		return r;
	}
	check_eq(torc_http_multipart_next(m, &part), 0);
	return torc_http_respond_text(x, 200, said);
}

static int save(struct torc_http_exchange *x, struct world *w, struct torc_http_multipart *m)
{
	struct torc_http_part part;
	uint64_t bytes = 12345;
	int r = torc_http_multipart_next(m, &part);

	check_eq(r, 1);
	r = torc_http_multipart_save(m, w->root, "saved", 0600, 100000, &bytes);
	w->result = r;
	check(!r || bytes == 12345);
	if (r < 0)
		return r;
	snprintf(said, sizeof(said), "%llu", (unsigned long long)bytes);
	return torc_http_respond_text(x, 200, said);
}

static int take_form(struct torc_http_exchange *x, void *arg)
{
	struct torc_http_multipart *m;
	struct world *w = arg;
	int r;

	w->open++;
	r = torc_http_multipart_begin(x, limits.parts ? &limits : NULL, &m);
	if (!r)
		r = torc_http_path_is(x, "/save") ? save(x, w, m) : describe(x, m);
	w->open--;
	return r;
}

static int post(struct world *w, const char *path, const char *body, struct reply *r)
{
	char *request = malloc(strlen(body) + 500);
	int status;

	check(request);
	sprintf(request,
		"POST %s HTTP/1.1\r\nHost: h\r\nContent-Type: " TYPE
		"\r\nContent-Length: %zu\r\n\r\n%s",
		path, strlen(body), body);
	status = ask(w, request, r);
	free(request);
	return status;
}

#define PART(name, data) "--xyz\r\n" FIELD(name) "\r\n" data "\r\n"
#define END              "--xyz--\r\n"

static void send_forms(struct world *w)
{
	struct reply r = { 0 };
	char big[3000] = "";

	check_eq(post(w, "/",
		      PART("a", "1") PART("skip", "2") PART("peek", "345\r\n-") END "epilogue", &r),
		 200);
	check(!strcmp(r.body, "name=a;data=1;name=skip;name=peek;345\r\n-"));
	check_eq(post(w, "/", END, &r), 200);
	check(!strcmp(r.body, ""));
	check_eq(post(w, "/", PART("a", "1"), &r), 400);
	check_eq(post(w, "/", PART("skip", "1"), &r), 400);
	check_eq(post(w, "/", "nonsense", &r), 400);
	check_eq(post(w, "/", "--xyz\r\nX: y\r\n\r\n1\r\n" END, &r), 400);
	check_eq(post(w, "/", "", &r), 400);
	strcat(big, "--xyz\r\n" FIELD("a") "\r\n");
	memset(big + strlen(big), 'x', 1001);
	strcat(big, "\r\n" END);
	check_eq(post(w, "/", big, &r), 413);
	check_eq(
		ask(w,
		    "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx",
		    &r),
		415);
	check_eq(ask(w, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", &r), 415);
	check_eq(
		ask(w,
		    "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\nx",
		    &r),
		400);
	check_eq(ask(w,
		     "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: " TYPE
		     "\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
		     &r),
		 415);
	free(r.body);
}

Test(http_multipart, reads_forms)
{
	run_world_with(&(struct world){ 0 }, take_form, send_forms);
}

static void exceed(struct world *w)
{
	struct reply r = { 0 };

	limits = (struct torc_http_multipart_limits){
		.parts = 2, .head_bytes = 60, .part_bytes = 5, .bytes = 300
	};
	check_eq(post(w, "/", PART("a", "12345") PART("skip", "12345") END, &r), 200);
	check_eq(post(w, "/", PART("a", "123456") END, &r), 413);
	check_eq(post(w, "/", PART("skip", "123456") END, &r), 413);
	check_eq(post(w, "/", PART("a", "") PART("a", "") PART("a", "") END, &r), 413);
	check_eq(post(w, "/", PART("long name of a field that is longer", "") END, &r), 413);
	check_eq(ask(w,
		     "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: " TYPE
		     "\r\nContent-Length: 301\r\n\r\n",
		     &r),
		 413);
	limits.bytes = 100;
	check_eq(post(w, "/",
		      PART("a", "1") END
		      "012345678901234567890123456789012345678901234567890123456789",
		      &r),
		 413);
	limits.head_bytes = 65537;
	check_eq(post(w, "/", END, &r), 500);
	free(r.body);
}

Test(http_multipart, has_limits)
{
	run_world_with(&(struct world){ 0 }, take_form, exceed);
}

/* --- files --- */

static size_t files_in(const char *path)
{
	struct dirent *e;
	DIR *d = opendir(path);
	size_t n = 0;

	check(d);
	while ((e = readdir(d)) != NULL)
		n += *e->d_name != '.';
	closedir(d);
	return n;
}

static char form[200000];

static char *form_of(size_t len)
{
	char *p = form + sprintf(form, "--xyz\r\n" FIELD("f") "\r\n");

	for (size_t i = 0; i < len; i++)
		*p++ = "0123456789\r\n--xyw"[i % 17];
	strcpy(p, "\r\n" END);
	return form;
}

static void save_files(struct world *w)
{
	struct reply r = { 0 };
	struct rlimit old, small;
	struct client c;
	struct stat st;

	check_eq(post(w, "/save", form_of(100000), &r), 200);
	check(!strcmp(r.body, "100000"));
	check_eq(fstatat(w->root, "saved", &st, 0), 0);
	check(st.st_size == 100000 && (st.st_mode & 0777) == 0600);
	/* What is there stays. */
	check_eq(post(w, "/save", form_of(5), &r), 500);
	check_eq(w->result, -EEXIST);
	check_eq(fstatat(w->root, "saved", &st, 0), 0);
	check_eq(st.st_size, 100000);
	check_eq(unlinkat(w->root, "saved", 0), 0);
	check_eq(post(w, "/save", form_of(0), &r), 200);
	check_eq(unlinkat(w->root, "saved", 0), 0);
	/* Too long, no room, cut short, gone: no file. */
	check_eq(post(w, "/save", form_of(100001), &r), 413);
	check_eq(files_in(w->root_path), 0);
	strstr(form_of(90000), "\r\n--xyz--")[6] = '!';
	check_eq(post(w, "/save", form, &r), 400);
	check_eq(files_in(w->root_path), 0);
	check_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 50000, old.rlim_max };
	check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
	check_eq(post(w, "/save", form_of(90000), &r), 500);
	check_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	check_eq(w->result, -EFBIG);
	check_eq(files_in(w->root_path), 0);
	dial(w, &c);
	say(&c, "POST /save HTTP/1.1\r\nHost: h\r\nContent-Type: " TYPE
		"\r\nContent-Length: 90000\r\n\r\n");
	form_of(50000)[50000] = '\0';
	say(&c, form);
	while (!files_in(w->root_path))
		check_eq(torc_yield(), 0);
	hang_up(&c);
	while (w->open)
		check_eq(torc_yield(), 0);
	check_lt(w->result, 0);
	check_eq(files_in(w->root_path), 0);
	/* The server stops in the middle. */
	dial(w, &c);
	say(&c, "POST /save HTTP/1.1\r\nHost: h\r\nContent-Type: " TYPE
		"\r\nContent-Length: 90000\r\n\r\n");
	say(&c, form);
	while (!files_in(w->root_path))
		check_eq(torc_yield(), 0);
	free(r.body);
	torc_group_cancel(&w->group);
	hang_up(&c);
}

Test(http_multipart, saves_files_and_leaves_none_behind)
{
	char path[] = "/tmp/torc-multipart-XXXXXX";
	struct world w = { .root_path = mkdtemp(path), .options.grace_ns = 1 };

	w.root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check_ge(w.root, 0);
	run_world_with(&w, take_form, save_files);
	close(w.root);
	check_eq(rmdir(path), 0);
}

/* --- curl as a client --- */

static int command(void *arg)
{
	return system(arg) ? -EIO : 0;
}

static void upload(struct world *w)
{
	char line[1024];

	snprintf(line, sizeof(line),
		 "test \"$(printf '1\\r\\n2' | curl -sf -F 'a=x' -F 'skip=@-;filename=q.txt' "
		 "http%s/)\" = 'name=a;data=x;name=skip;'",
		 strstr(w->address, "://"));
	check_eq(torc_offload(command, line), 0);
}

Test(http_multipart, reads_what_curl_sends)
{
	if (system("command -v curl >/dev/null"))
		cr_skip_test("there is no curl");
	run_world_with(&(struct world){ 0 }, take_form, upload);
}

/* --- forms that are sent --- */

/* What was written; and what is to be done after so many bytes. */
struct sink {
	char *data;
	size_t len, capacity, calls;
	size_t fail_at;     /* this call fails; 0: none */
	void (*then)(void); /* after the first 64 KiB */
};

static int take_bytes(void *to, const void *data, size_t len)
{
	struct sink *s = to;

	check(len);
	if (++s->calls == s->fail_at)
		return -EPIPE;
	if (s->capacity < s->len + len) {
		s->capacity = 2 * (s->len + len);
		s->data = realloc(s->data, s->capacity);
		check(s->data);
	}
	memcpy(s->data + s->len, data, len);
	s->len += len;
	if (s->then && s->len > 65536) {
		s->then();
		s->then = NULL;
	}
	return (int)(len & 1); /* whatever is not negative is fine */
}

static int write_to(const struct torc_http_form_data *f, struct sink *s)
{
	free(s->data);
	s->data = NULL;
	s->len = s->capacity = s->calls = 0;
	return torc_http_form_data_write(f, take_bytes, s);
}

static int send_texts(void *arg)
{
	struct torc_http_form_data f, other;
	const char *b, *type;
	char expected[1000];
	struct sink s = { 0 };

	(void)arg;
	torc_http_form_data_init(&f);
	torc_http_form_data_init(&other);
	type = torc_http_form_data_type(&f);
	check(!strncmp(type, "multipart/form-data; boundary=torc-", 35));
	check(strcmp(type, torc_http_form_data_type(&other)) != 0);
	b = strchr(type, '=') + 1;
	check_eq(strlen(b), 37);
	check_eq(write_to(&f, &s), 0);
	check_eq(snprintf(expected, sizeof(expected), "--%s--\r\n", b), s.len);
	check(!memcmp(s.data, expected, s.len));
	check_eq(torc_http_form_data_length(&f), s.len);
	check_eq(torc_http_form_data_add_text(&f, "a", "1\r\n2"), 0);
	check_eq(torc_http_form_data_add_text(&f, "\"\\\r\n\t\xc3\xa4", ""), 0);
	check_eq(torc_http_form_data_add_memory(&f, "", "q\"", NULL, "\0x", 2), 0);
	check_eq(torc_http_form_data_add_memory(&f, "t", NULL, "a/b; c=d", NULL, 0), 0);
	snprintf(
		expected, sizeof(expected),
		"--%s\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n"
		"--%s\r\nContent-Disposition: form-data; name=\"%%22%%5C%%0D%%0A\t\xc3\xa4\"\r\n\r\n\r\n"
		"--%s\r\nContent-Disposition: form-data; name=\"\"; filename=\"q%%22\"\r\n"
		"Content-Type: application/octet-stream\r\n\r\n?x\r\n"
		"--%s\r\nContent-Disposition: form-data; name=\"t\"\r\n"
		"Content-Type: a/b; c=d\r\n\r\n\r\n--%s--\r\n",
		b, b, b, b, b);
	*strchr(expected, '?') = '\0';
	for (int i = 0; i < 2; i++) {
		check_eq(write_to(&f, &s), 0);
		check_eq(torc_http_form_data_length(&f), s.len);
		check(!memcmp(s.data, expected, s.len) && !expected[s.len]);
	}
	/* As it is read. */
	for (size_t piece = 1; piece < 100; piece += 7) {
		check_eq(parse(type, s.data, s.len, piece, piece), TORC__MULTIPART_DONE);
		check(!strncmp(said, A("1\r\n2"), strlen(A("1\r\n2"))));
		check(strstr(said, "file=q%22;") && strstr(said, "type=a/b; c=d;"));
	}
	/* Errors of whoever takes it. */
	for (size_t n = s.calls; n; n--) {
		s.fail_at = n;
		check_eq(write_to(&f, &s), -EPIPE);
		check_eq(s.calls, n);
	}
	free(s.data);
	torc_http_form_data_done(&f);
	torc_http_form_data_done(&other);
	torc_http_form_data_done(&other);
	return 0;
}

Test(http_multipart, sends_forms_with_their_length)
{
	run(send_texts, NULL);
}

Test(http_multipart, sends_no_names_that_make_no_sense)
{
	static char name[TORC_HTTP_FORM_NAME_MAX + 2];
	static const char *const wrong[] = { "\x01", "a\x7f", "a\vb" };
	struct torc_http_form_data f;
	uint64_t length;

	memset(name, 'n', sizeof(name) - 1);
	torc_http_form_data_init(&f);
	length = torc_http_form_data_length(&f);
	for (size_t i = 0; i <= COUNT(wrong); i++) {
		const char *text = i < COUNT(wrong) ? wrong[i] : name;

		check_eq(torc_http_form_data_add_text(&f, text, "x"), -EINVAL);
		check_eq(torc_http_form_data_add_memory(&f, text, NULL, NULL, "x", 1), -EINVAL);
		check_eq(torc_http_form_data_add_memory(&f, "a", text, NULL, "x", 1), -EINVAL);
		check_eq(torc_http_form_data_add_memory(&f, "a", "f", text, "x", 1), -EINVAL);
	}
	check_eq(torc_http_form_data_add_memory(&f, "a", "f", "a/b\r\nx: y", "x", 1), -EINVAL);
	check_eq(torc_http_form_data_add_memory(&f, "a", NULL, NULL, "x", INT64_MAX), -EFBIG);
	check_eq(torc_http_form_data_add_memory(&f, "a", NULL, NULL, "x", SIZE_MAX), -EFBIG);
	check_eq(torc_http_form_data_length(&f), length);
	check_eq(torc_http_form_data_add_memory(&f, "a", NULL, NULL, "x", INT64_MAX - 1000), 0);
	check_eq(torc_http_form_data_add_memory(&f, "a", NULL, NULL, "x", 1000), -EFBIG);
	check_eq(torc_http_form_data_add_text(&f, name + 1, "x"), -EFBIG);
	torc_http_form_data_done(&f);
	torc_http_form_data_init(&f);
	check_eq(torc_http_form_data_add_text(&f, name + 1, "x"), 0);
	torc_http_form_data_done(&f);
}

static void set_size(off_t size)
{
	check_eq(truncate("photo.JPG", size), 0);
}

static void shrink(void)
{
	set_size(100000);
}

static void grow_file(void)
{
	set_size(300000);
}

#define PHOTO_BYTES 200001

static int send_files(void *arg)
{
	struct torc_http_form_data f;
	struct sink s = { 0 };
	struct rlimit old, small;
	char *photo = malloc(PHOTO_BYTES);

	(void)arg;
	check(photo);
	fill_bytes(photo, PHOTO_BYTES, 1, 0);
	check_eq(torc_write_file(AT_FDCWD, "photo.JPG", photo, PHOTO_BYTES, 0600), 0);
	check_eq(torc_write_file(AT_FDCWD, "empty", "", 0, 0600), 0);
	check_eq(mkfifo("pipe", 0600), 0);
	torc_http_form_data_init(&f);
	check_eq(torc_http_form_data_add_file(&f, "p", NULL, NULL, AT_FDCWD, "./photo.JPG"), 0);
	check_eq(torc_http_form_data_add_file(&f, "e", "x", NULL, AT_FDCWD, "empty"), 0);
	check_eq(torc_http_form_data_add_file(&f, "e", "x", "a/b", AT_FDCWD, "empty"), 0);
	check_eq(torc_http_form_data_add_file(&f, "e", NULL, NULL, AT_FDCWD, "none"), -ENOENT);
	check_eq(torc_http_form_data_add_file(&f, "e", NULL, NULL, AT_FDCWD, "."), -EISDIR);
	check_eq(torc_http_form_data_add_file(&f, "e", NULL, NULL, AT_FDCWD, "pipe"), -EOPNOTSUPP);
	check_eq(torc_http_form_data_add_file(&f, "\x01", NULL, NULL, AT_FDCWD, "empty"), -EINVAL);
	for (int i = 0; i < 2; i++) {
		check_eq(write_to(&f, &s), 0);
		check_eq(s.len, torc_http_form_data_length(&f));
		check(memmem(s.data, s.len, photo, PHOTO_BYTES) != NULL);
		check(memmem(s.data, 300,
			     "name=\"p\"; filename=\"photo.JPG\"\r\nContent-Type: image/jpeg\r\n",
			     58) != NULL);
		check_eq(parse(torc_http_form_data_type(&f), s.data, s.len, 5000, 5000),
			 TORC__MULTIPART_DONE);
	}
	for (size_t n = s.calls; n; n--) {
		s.fail_at = n;
		check_eq(write_to(&f, &s), -EPIPE);
	}
	s.fail_at = 0;
	/* Other than it was: before, and meanwhile. */
	set_size(PHOTO_BYTES - 1);
	check_eq(write_to(&f, &s), -EIO);
	set_size(PHOTO_BYTES + 1);
	check_eq(write_to(&f, &s), -EIO);
	check_eq(s.calls, 1);
	set_size(PHOTO_BYTES);
	s.then = shrink;
	check_eq(write_to(&f, &s), -EIO);
	set_size(PHOTO_BYTES);
	s.then = grow_file;
	check_eq(write_to(&f, &s), -EIO);
	check_eq(rename("pipe", "photo.JPG"), 0);
	check_eq(write_to(&f, &s), -EIO);
	check_eq(unlink("photo.JPG"), 0);
	check_eq(write_to(&f, &s), -ENOENT);
	check_eq(mkdir("photo.JPG", 0700), 0);
	check_eq(write_to(&f, &s), -EIO);
	check_eq(rmdir("photo.JPG"), 0);
	check_eq(torc_write_file(AT_FDCWD, "photo.JPG", photo, PHOTO_BYTES, 0600), 0);
	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	small = old;
	small.rlim_cur = 3;
	check_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
	check_eq(write_to(&f, &s), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(write_to(&f, &s), 0);
	check_eq(unlink("photo.JPG"), 0);
	check_eq(unlink("empty"), 0);
	torc_http_form_data_done(&f);
	free(s.data);
	free(photo);
	return 0;
}

Test(http_multipart, sends_files_as_long_as_they_were)
{
	char path[] = "/tmp/torc-multipart-XXXXXX";

	check(mkdtemp(path));
	check_eq(chdir(path), 0);
	run(send_files, NULL);
	check_eq(chdir("/"), 0);
	check_eq(rmdir(path), 0);
}

struct canceller {
	struct torc_scope scope;
	int calls;
};

/* With the first bytes of the file. */
static int cancel_in(void *to, const void *data, size_t len)
{
	struct canceller *c = to;

	(void)data;
	(void)len;
	if (++c->calls == 5)
		torc_scope_cancel(&c->scope);
	return 0;
}

static int send_cancelled(void *arg)
{
	static char data[100000];
	struct torc_http_form_data f;
	struct canceller c = { .calls = 0 };
	struct sink s = { 0 };

	(void)arg;
	check_eq(torc_write_file(AT_FDCWD, "file", data, sizeof(data), 0600), 0);
	torc_http_form_data_init(&f);
	check_eq(torc_http_form_data_add_text(&f, "a", "1"), 0);
	check_eq(torc_http_form_data_add_file(&f, "b", NULL, NULL, AT_FDCWD, "file"), 0);
	torc_scope_enter(&c.scope, TORC_NEVER);
	check_eq(torc_http_form_data_write(&f, cancel_in, &c), -ECANCELED);
	check_eq(c.calls, 5);
	check_eq(write_to(&f, &s), -ECANCELED);
	check_eq(s.calls, 0);
	check_eq(torc_http_form_data_add_file(&f, "b", NULL, NULL, AT_FDCWD, "file"), -ECANCELED);
	check_eq(torc_scope_leave(&c.scope), -ECANCELED);
	check_eq(write_to(&f, &s), 0);
	check_eq(s.len, torc_http_form_data_length(&f));
	free(s.data);
	torc_http_form_data_done(&f);
	return 0;
}

static int send_without_memory(void *arg)
{
	struct torc_http_form_data f;
	struct sink s = { 0 };
	int r = torc_write_file(AT_FDCWD, "file", "x", 1, 0600);

	(void)arg;
	torc_http_form_data_init(&f);
	if (!r)
		r = torc_http_form_data_add_text(&f, "a", "1");
	if (!r)
		r = torc_http_form_data_add_memory(&f, "a", NULL, NULL, "1", 1);
	if (!r)
		r = torc_http_form_data_add_file(&f, "b", NULL, NULL, AT_FDCWD, "file");
	if (!r)
		r = write_to(&f, &s);
	free(s.data);
	torc_http_form_data_done(&f);
	return r;
}

/* On the simulator, which sees what is leaked. Returns how many allocations there were. */
static uint64_t run_on_sim(torc_fn *fn, struct torc_sim_options options, int *ret)
{
	struct torc_options o = { .loops = 1 };
	struct torc_sim_report report;

	check_eq(torc_sim_new(&options, &o.sim), 0);
	*ret = run_with(&o, fn, NULL);
	torc_sim_report(o.sim, &report);
	torc_sim_free(o.sim);
	return report.allocations;
}

Test(http_multipart, sends_nothing_more_when_it_is_cancelled)
{
	int r;

	run_on_sim(send_cancelled, (struct torc_sim_options){ 0 }, &r);
	check_eq(r, 0);
	/* However few bytes a read gives. */
	for (uint64_t seed = 0; seed < 20; seed++) {
		run_on_sim(send_cancelled,
			   (struct torc_sim_options){ .seed = seed,
						      .rates[TORC_SIM_SHORT] = 500000,
						      .rates[TORC_SIM_DELAY] = 300000 },
			   &r);
		check_eq(r, 0);
	}
}

Test(http_multipart, sends_nothing_without_memory)
{
	int r, refused = 0;
	uint64_t count = run_on_sim(send_without_memory, (struct torc_sim_options){ 0 }, &r);

	check_eq(r, 0);
	for (uint64_t n = 1; n <= count; n++) {
		run_on_sim(send_without_memory, (struct torc_sim_options){ .fail_memory = n }, &r);
		check(!r || r == -ENOMEM);
		refused += r < 0;
	}
	check_ge(refused, 4);
}
