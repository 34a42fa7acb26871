/*
 * crawler - find the broken links of a site.
 *
 *	build/examples/crawler http://localhost:8080/
 *
 * It goes from page to page, as far as they are of the first one's origin. All pages that are as many clicks away are asked
 * for at once, in a fiber each: there may be a thousand, but no more connections than the client's options allow.
 */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <torc/torc.h>

#define PAGE_BYTES  ((size_t)4 << 20)
#define PAGES_MAX   100000
#define AT_ONCE     1000
#define CONNECTIONS 32

struct page {
	char *url;
	const struct page *from; /* NULL: the program's argument */
	int status;              /* of the answer; or a negative errno */
};

/* All on one loop, so that no lock is needed. */
static struct torc_http_client *client;
static struct torc_url site;
static struct page *pages[PAGES_MAX];
static size_t page_count, asked, broken;
static void *known; /* a tree of URLs: tsearch(3) */

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* One that is known already, or one too many, is left out. */
static int add_page(const char *url, const struct page *from)
{
	struct page *p;

	if (page_count == PAGES_MAX || tfind(url, &known, by_text))
		return 0;
	p = calloc(1, sizeof(*p));
	if (!p || !(p->url = strdup(url)) || !tsearch(p->url, &known, by_text)) {
		if (p)
			free(p->url);
		free(p);
		return -ENOMEM;
	}
	p->from = from;
	pages[page_count++] = p;
	return 0;
}

static int add_link(const struct page *from, const char *base, struct torc_slice link)
{
	char text[TORC_URL_MAX + 1], url[TORC_URL_MAX + 1];
	struct torc_url u;
	int n = torc_url_resolve(base, strlen(base), link.data, link.len, text, sizeof(text));

	if (n > 0)
		n = (int)strcspn(text, "#");
	if (n > 0)
		n = torc_url_normalize(text, (size_t)n, url, sizeof(url));
	if (n <= 0 || torc_url_parse(url, (size_t)n, &u) < 0 || !torc_url_same_origin(&u, &site))
		return 0;
	return add_page(url, from);
}

/* What is quoted behind href= and src=; a browser would see more, and less. */
static int add_links(const struct page *p, const char *base, const char *html)
{
	size_t len;
	int r = 0;

	while (!r && (html = strchr(html, '=')) != NULL) {
		bool link = !strncasecmp(html - 4, "href", 4) || !strncasecmp(html - 4, " src", 4);
		char quote = *++html;

		if (!link || (quote != '"' && quote != '\''))
			continue;
		len = strcspn(++html, quote == '"' ? "\"" : "'");
		r = add_link(p, base, (struct torc_slice){ html, len });
		html += len;
	}
	return r;
}

static bool is_html(const struct torc_http_response *res)
{
	struct torc_slice type;

	return torc_http_response_field(res, "Content-Type", &type) && type.len >= 9 &&
	       !strncasecmp(type.data, "text/html", 9);
}

/* A redirect may have led to another site, whose links are not ours. */
static bool is_ours(const struct torc_http_response *res)
{
	const char *url = torc_http_response_url(res);
	struct torc_url u;

	return !torc_url_parse(url, strlen(url), &u) && torc_url_same_origin(&u, &site);
}

static int read_page(struct page *p, struct torc_http_response *res)
{
	struct torc_slice html;
	int r;

	p->status = torc_http_response_status(res);
	if (p->status != 200 || !is_html(res) || !is_ours(res))
		return 0;
	r = torc_http_response_read(res, PAGE_BYTES, &html);
	if (r < 0 || html.len < 4) {
		p->status = r < 0 ? r : p->status;
		return 0;
	}
	return add_links(p, torc_http_response_url(res), html.data + 4);
}

static void show_progress(void)
{
	if (torc_tty_is(STDERR_FILENO))
		fprintf(stderr, "\r%zu of %zu, %zu broken ", asked, page_count, broken);
}

/* A broken link is a finding, and no failure of the crawl. */
static int visit(void *arg)
{
	struct torc_http_response *res;
	struct page *p = arg;
	int r;

	p->status = torc_http_get(client, p->url, &res);
	if (p->status == -ECANCELED)
		return p->status;
	r = 0;
	if (!p->status) {
		r = read_page(p, res);
		torc_http_response_close(res);
	}
	asked++;
	broken += p->status < 0 || p->status >= 400;
	show_progress();
	return r;
}

/* All pages from one to the one before another, at once. */
static int visit_all(size_t from, size_t to)
{
	static struct torc_call calls[AT_ONCE]; /* too large for a fiber's stack */

	for (size_t i = from; i < to; i++)
		calls[i - from] = (struct torc_call){ .fn = visit, .arg = pages[i] };
	return torc_gather(calls, to - from);
}

static int crawl(void)
{
	int r = 0;

	for (size_t done = 0, to; done < page_count && r >= 0; done = to) {
		to = page_count - done < AT_ONCE ? page_count : done + AT_ONCE;
		r = visit_all(done, to);
	}
	return r;
}

static void report(void)
{
	for (struct page **p = pages; p < pages + page_count; p++) {
		int s = (*p)->status;

		if (s >= 400)
			printf("%d %s, from %s\n", s, (*p)->url,
			       (*p)->from ? (*p)->from->url : "the command line");
		else if (s < 0)
			printf("%s: %s\n", (*p)->url, strerror(-s));
	}
	fprintf(stderr, "%s%zu pages, %zu broken\n", torc_tty_is(STDERR_FILENO) ? "\r" : "", asked,
		broken);
}

static int app(void *arg)
{
	/* Whoever waits in line for a connection does so until it is served: that is what the line is for. */
	const struct torc_http_client_options o = { .origin_max = CONNECTIONS,
						    .line_ns = TORC_NEVER };
	char first[TORC_URL_MAX + 1];
	int n = torc_url_normalize(arg, strlen(arg), first, sizeof(first));
	int r = n < 0 ? n : torc_url_parse(first, (size_t)n, &site);

	if (!r)
		r = add_page(first, NULL);
	if (!r)
		r = torc_http_client_open(&o, &client);
	if (r < 0)
		return r;
	r = crawl();
	torc_http_client_close(client);
	report();
	return r;
}

static void nothing(void *unused)
{
	(void)unused;
}

int main(int argc, char **argv)
{
	int r;

	if (argc != 2) {
		fputs("usage: crawler URL\n", stderr);
		return 2;
	}
	r = torc_run(NULL, app, argv[1]);
	if (r < 0)
		fprintf(stderr, "crawler: %s\n", strerror(-r));
	tdestroy(known, nothing);
	while (page_count) {
		free(pages[--page_count]->url);
		free(pages[page_count]);
	}
	return r < 0 || broken;
}
