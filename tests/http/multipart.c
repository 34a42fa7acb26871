/*
 * Forms with files: what browsers send, what nobody should, cut at every byte.
 */
#include "tests/http/world.h"

#include <dirent.h>

#include <torc/core/fiber.h>
#include <torc/executor/offload.h>
#include <torc/http/multipart.h>

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
