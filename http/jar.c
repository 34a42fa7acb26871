/*
 * http/jar.c - a cookie jar.
 *
 * Cookies are found by domain in a table of hashes, for each domain above a host in turn. Those of one domain are in the order in which
 * they are sent, so that what is for a host is a merge of few lists. All are in one list by use.
 *
 * All is behind one lock, which is held for some microseconds and never while anything waits.
 */
#include "http/internal/jar.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include <torc/core/sys.h>

#include "core/internal/system.h"
#include "http/internal/exchange.h"
#include "http/internal/random.h"

#define COOKIES_MAX  3000
#define DOMAIN_MAX   50
#define COOKIE_BYTES 4096
#define OPTION_MAX   1000000

/* As many domains as a host can be below. */
#define LABELS_MAX 128

struct domain;

struct cookie {
	struct cookie *next;            /* of its domain: longer paths first, then what is older */
	struct cookie *before, *behind; /* by use: what was used less lately, and later */
	struct domain *domain;
	uint64_t created, used;              /* numbers that grow */
	int64_t expires;                     /* 0: never */
	struct torc_slice name, value, path; /* in text */
	bool secure, http_only, host_only;
	char text[];
};

struct domain {
	struct domain *next; /* of its hash */
	struct cookie *cookies;
	size_t count; /* of them, not 0 */
	size_t len;
	char name[];
};

struct torc_http_jar {
	struct torc_http_jar_options options;
	unsigned refs;
	pthread_mutex_t lock; /* of what follows */
	uint64_t clock;       /* the last number of `created` or `used` */
	size_t count;
	struct cookie *first, *last; /* by use: of the least lately used, the most lately */
	int64_t swept;               /* when all that had expired was removed */
	uint64_t key[2];
	size_t mask; /* of the hash: as many buckets, but one */
	struct domain *buckets[];
};

static int64_t now_s(void)
{
	return (int64_t)(torc_sys_wall_ns() / 1000000000);
}

/* --- the jar --- */

static bool is_option(unsigned n)
{
	return n <= OPTION_MAX;
}

int torc_http_jar_create(const struct torc_http_jar_options *options, struct torc_http_jar **ret)
{
	struct torc_http_jar_options o = options ? *options : (struct torc_http_jar_options){ 0 };
	struct torc_http_jar *jar;
	size_t buckets = 16;

	if (!is_option(o.cookies_max) || !is_option(o.domain_max) || !is_option(o.cookie_bytes))
		return -EINVAL;
	o.cookies_max = o.cookies_max ? o.cookies_max : COOKIES_MAX;
	o.domain_max = o.domain_max ? o.domain_max : DOMAIN_MAX;
	o.cookie_bytes = o.cookie_bytes ? o.cookie_bytes : COOKIE_BYTES;
	while (buckets < o.cookies_max / 8)
		buckets *= 2;
	jar = torc__calloc(1, sizeof(*jar) + buckets * sizeof(jar->buckets[0]));
	if (!jar)
		return -ENOMEM;
	jar->options = o;
	jar->refs = 1;
	jar->mask = buckets - 1;
	pthread_mutex_init(&jar->lock, NULL);
	torc__http_seed(jar->key, sizeof(jar->key));
	*ret = jar;
	return 0;
}

struct torc_http_jar *torc_http_jar_ref(struct torc_http_jar *jar)
{
	if (jar)
		__atomic_fetch_add(&jar->refs, 1, __ATOMIC_RELAXED);
	return jar;
}

void torc_http_jar_unref(struct torc_http_jar *jar)
{
	if (!jar || __atomic_sub_fetch(&jar->refs, 1, __ATOMIC_ACQ_REL))
		return;
	torc_http_jar_clear(jar);
	pthread_mutex_destroy(&jar->lock);
	torc__free(jar);
}

/* --- the table; from here on with the lock --- */

static struct domain **bucket_of(struct torc_http_jar *jar, struct torc_slice name)
{
	return &jar->buckets[torc__http_hash(jar->key, name.data, name.len) & jar->mask];
}

static struct domain *find_domain(struct torc_http_jar *jar, struct torc_slice name)
{
	struct domain *d = *bucket_of(jar, name);

	while (d && (d->len != name.len || memcmp(d->name, name.data, name.len) != 0))
		d = d->next;
	return d;
}

static bool same(struct torc_slice a, struct torc_slice b)
{
	return a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

static void unlink_use(struct torc_http_jar *jar, struct cookie *k)
{
	*(k->before ? &k->before->behind : &jar->first) = k->behind;
	*(k->behind ? &k->behind->before : &jar->last) = k->before;
}

static void link_use(struct torc_http_jar *jar, struct cookie *k)
{
	k->used = ++jar->clock;
	k->before = jar->last;
	k->behind = NULL;
	*(k->before ? &k->before->behind : &jar->first) = k;
	jar->last = k;
}

/* Its domain goes with its last one. */
static void drop(struct torc_http_jar *jar, struct cookie *k)
{
	struct domain *d = k->domain, **at;
	struct cookie **link = &d->cookies;

	while (*link != k)
		link = &(*link)->next;
	*link = k->next;
	unlink_use(jar, k);
	jar->count--;
	torc__free(k);
	if (--d->count)
		return;
	at = bucket_of(jar, (struct torc_slice){ d->name, d->len });
	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	torc__free(d);
}

static bool is_over(const struct cookie *k, int64_t now)
{
	return k->expires && k->expires <= now;
}

/* All of a domain that is past its time. */
static void drop_over(struct torc_http_jar *jar, struct torc_slice domain, int64_t now)
{
	struct domain *d = find_domain(jar, domain);
	struct cookie *next, *k = d ? d->cookies : NULL;

	for (; k; k = next) {
		next = k->next;
		if (is_over(k, now))
			drop(jar, k);
	}
}

static void sweep(struct torc_http_jar *jar, int64_t now)
{
	struct cookie *next;

	for (struct cookie *k = jar->first; k; k = next) {
		next = k->behind;
		if (is_over(k, now))
			drop(jar, k);
	}
	jar->swept = now;
}

/* --- room --- */

/* What nobody could trust goes before what came over TLS. */
static bool goes_before(const struct cookie *a, const struct cookie *b)
{
	return a->secure != b->secure ? b->secure : a->used < b->used;
}

static void make_room_in_domain(struct torc_http_jar *jar, struct torc_slice domain, int64_t now)
{
	struct domain *d = find_domain(jar, domain);
	struct cookie *worst;

	if (!d || d->count < jar->options.domain_max)
		return;
	drop_over(jar, domain, now);
	d = find_domain(jar, domain);
	if (!d || d->count < jar->options.domain_max)
		return;
	worst = d->cookies;
	for (struct cookie *k = worst->next; k; k = k->next)
		if (goes_before(k, worst))
			worst = k;
	drop(jar, worst);
}

static void make_room(struct torc_http_jar *jar, struct torc_slice domain, int64_t now)
{
	make_room_in_domain(jar, domain, now);
	if (jar->count < jar->options.cookies_max)
		return;
	if (jar->swept != now)
		sweep(jar, now);
	if (jar->count >= jar->options.cookies_max)
		drop(jar, jar->first);
}

/* --- put --- */

/* Is the host in the domain? RFC 6265, section 5.1.3. */
static bool domain_matches(struct torc_slice host, struct torc_slice domain)
{
	if (host.len <= domain.len)
		return same(host, domain);
	return host.data[host.len - domain.len - 1] == '.' && !torc__http_is_ip(host) &&
	       !memcmp(host.data + host.len - domain.len, domain.data, domain.len);
}

/* Section 5.1.4. */
static bool path_matches(struct torc_slice path, struct torc_slice prefix)
{
	if (path.len < prefix.len || memcmp(path.data, prefix.data, prefix.len) != 0)
		return false;
	return path.len == prefix.len || prefix.data[prefix.len - 1] == '/' ||
	       path.data[prefix.len] == '/';
}

/* Would it be sent instead of, or beside, one that came over TLS? */
static bool hides_secure(struct torc_http_jar *jar, const struct torc__http_set_cookie *c,
			 int64_t now)
{
	for (struct cookie *k = jar->first; k; k = k->behind) {
		struct torc_slice domain = { k->domain->name, k->domain->len };

		if (k->secure && !is_over(k, now) && same(k->name, c->name) &&
		    (domain_matches(domain, c->domain) || domain_matches(c->domain, domain)) &&
		    path_matches(c->path, k->path))
			return true;
	}
	return false;
}

static struct cookie *find_same(struct torc_http_jar *jar, const struct torc__http_set_cookie *c)
{
	struct domain *d = find_domain(jar, c->domain);
	struct cookie *k = d ? d->cookies : NULL;

	while (k &&
	       !(same(k->name, c->name) && same(k->path, c->path) && k->host_only == c->host_only))
		k = k->next;
	return k;
}

static bool is_sent_before(const struct cookie *a, const struct cookie *b)
{
	return a->path.len != b->path.len ? a->path.len > b->path.len : a->created < b->created;
}

/* `fresh` is for a domain that is not there yet. False: it was not needed. */
static bool insert(struct torc_http_jar *jar, struct cookie *k, struct domain *fresh)
{
	struct torc_slice name = { fresh->name, fresh->len };
	struct domain *d = find_domain(jar, name);
	struct cookie **link;

	k->domain = d ? d : fresh;
	if (!d) {
		struct domain **bucket = bucket_of(jar, name);

		fresh->next = *bucket;
		*bucket = fresh;
	}
	for (link = &k->domain->cookies; *link && is_sent_before(*link, k); link = &(*link)->next)
		;
	k->next = *link;
	*link = k;
	k->domain->count++;
	jar->count++;
	link_use(jar, k);
	return !d;
}

/* Both have become the jar's, or are NULL; but for a domain that was not needed. */
static int put_locked(struct torc_http_jar *jar, const struct torc__http_set_cookie *c,
		      bool from_secure, struct cookie **k, struct domain **fresh)
{
	int64_t now = now_s();
	struct cookie *old;

	if (!from_secure && hides_secure(jar, c, now))
		return -EPERM;
	old = find_same(jar, c);
	(*k)->created = old ? old->created : ++jar->clock;
	if (old)
		drop(jar, old);
	if (is_over(*k, now))
		return 0;
	make_room(jar, c->domain, now);
	if (insert(jar, *k, *fresh))
		*fresh = NULL;
	*k = NULL;
	return 0;
}

/* --- without the lock --- */

static struct torc_slice store(char **to, struct torc_slice s)
{
	struct torc_slice stored = { *to, s.len };

	if (s.len)
		memcpy(*to, s.data, s.len);
	(*to)[s.len] = '\0';
	*to += s.len + 1;
	return stored;
}

static struct cookie *make_cookie(const struct torc__http_set_cookie *c)
{
	size_t bytes = c->name.len + c->value.len + c->path.len + 3;
	struct cookie *k = torc__malloc(sizeof(*k) + bytes);
	char *to;

	if (!k)
		return NULL;
	*k = (struct cookie){ .expires = c->expires,
			      .secure = c->secure,
			      .http_only = c->http_only,
			      .host_only = c->host_only };
	to = k->text;
	k->name = store(&to, c->name);
	k->value = store(&to, c->value);
	k->path = store(&to, c->path);
	return k;
}

static struct domain *make_domain(struct torc_slice name)
{
	struct domain *d = torc__malloc(sizeof(*d) + name.len + 1);
	char *to;

	if (!d)
		return NULL;
	*d = (struct domain){ .len = name.len };
	to = d->name;
	store(&to, name);
	return d;
}

int torc__http_jar_put(struct torc_http_jar *jar, const struct torc__http_set_cookie *c,
		       bool from_secure)
{
	struct cookie *k = make_cookie(c);
	struct domain *fresh = make_domain(c->domain);
	int r = -ENOMEM;

	if (k && fresh) {
		pthread_mutex_lock(&jar->lock);
		r = put_locked(jar, c, from_secure, &k, &fresh);
		pthread_mutex_unlock(&jar->lock);
	}
	torc__free(k);
	torc__free(fresh);
	return r;
}

int torc__http_jar_fits(const struct torc_http_jar *jar, const struct torc__http_set_cookie *c)
{
	if (c->name.len + c->value.len > jar->options.cookie_bytes ||
	    c->path.len > TORC_HTTP_JAR_PATH_MAX)
		return -EMSGSIZE;
	return 0;
}

/* Without a dot, or as somebody knows. */
static bool is_public(const struct torc_http_jar *jar, struct torc_slice domain)
{
	const struct torc_http_jar_options *o = &jar->options;

	if (!memchr(domain.data, '.', domain.len) || torc__http_is_ip(domain))
		return true;
	return o->is_public_suffix && o->is_public_suffix(domain.data, o->arg);
}

/* Whose is it? `host` and `domain` are strings in lower case. */
static int settle_domain(const struct torc_http_jar *jar, struct torc__http_set_cookie *c,
			 struct torc_slice host, char *domain)
{
	struct torc_slice wanted = { domain, 0 };

	c->host_only = !c->domain.len;
	if (!c->host_only) {
		if (c->domain.len > TORC_HTTP_JAR_DOMAIN_MAX)
			return -EMSGSIZE;
		if (torc__http_lower_host(c->domain, domain) < 0)
			return -EPERM;
		wanted.len = strlen(domain);
		if (*domain == '.' || domain[wanted.len - 1] == '.' ||
		    !domain_matches(host, wanted))
			return -EPERM;
		c->host_only = is_public(jar, wanted);
		/* A public suffix may be a host too, and have cookies of its own. */
		if (c->host_only && !same(host, wanted))
			return -EPERM;
	}
	c->domain = c->host_only ? host : wanted;
	return 0;
}

/* Up to the last slash: section 5.1.4. */
static struct torc_slice default_path(struct torc_slice path)
{
	const char *slash;

	if (!path.len || *path.data != '/')
		return (struct torc_slice){ "/", 1 };
	slash = memrchr(path.data, '/', path.len);
	return slash == path.data ? (struct torc_slice){ path.data, 1 }
				  : (struct torc_slice){ path.data, (size_t)(slash - path.data) };
}

int torc_http_jar_take(struct torc_http_jar *jar, const struct torc_http_jar_site *site,
		       struct torc_slice value)
{
	char host[TORC_HTTP_JAR_DOMAIN_MAX + 1], domain[TORC_HTTP_JAR_DOMAIN_MAX + 1];
	struct torc__http_set_cookie c;
	int r = torc__http_lower_host(site->host, host);

	if (!r)
		r = torc__http_set_cookie_parse(&c, value, now_s());
	if (!r)
		r = settle_domain(jar, &c, (struct torc_slice){ host, strlen(host) }, domain);
	if (!r && ((c.secure && !site->secure) || !torc__http_cookie_keeps_promise(&c)))
		r = -EPERM;
	if (r)
		return r;
	c.path = c.path.len ? c.path : default_path(site->path);
	if (!torc__http_is_cookie_text(c.path))
		return -EBADMSG;
	r = torc__http_jar_fits(jar, &c);
	return r ? r : torc__http_jar_put(jar, &c, site->secure);
}

/* --- what is sent --- */

/* The next cookie of each domain that the host is in. */
struct merge {
	struct cookie *next[LABELS_MAX];
	size_t count;
	struct torc_slice host, path;
	bool secure;
};

static struct cookie *skip_others(const struct merge *m, struct cookie *k)
{
	while (k && !((!k->host_only || k->domain->len == m->host.len) &&
		      path_matches(m->path, k->path) && (!k->secure || m->secure)))
		k = k->next;
	return k;
}

static void merge_begin(struct torc_http_jar *jar, struct merge *m, int64_t now)
{
	struct torc_slice s = m->host;
	bool alone = torc__http_is_ip(s);

	m->count = 0;
	while (s.len && m->count < LABELS_MAX) {
		const char *dot = alone ? NULL : memchr(s.data, '.', s.len);
		struct domain *d;

		drop_over(jar, s, now);
		d = find_domain(jar, s);
		if (d)
			m->next[m->count++] = skip_others(m, d->cookies);
		s.len = dot ? (size_t)(s.data + s.len - dot) - 1 : 0;
		s.data = dot ? dot + 1 : NULL;
	}
}

static struct cookie *merge_next(struct merge *m)
{
	struct cookie **best = NULL, *k;

	for (size_t i = 0; i < m->count; i++)
		if (m->next[i] && (!best || is_sent_before(m->next[i], *best)))
			best = &m->next[i];
	if (!best)
		return NULL;
	k = *best;
	*best = skip_others(m, k->next);
	return k;
}

static size_t merged_length(const struct merge *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		for (struct cookie *k = m->next[i]; k; k = skip_others(m, k->next))
			n += k->name.len + k->value.len + 3;
	return n ? n - 2 : 0; /* the last one has no "; " behind it */
}

static char *append(char *to, struct torc_slice s)
{
	return s.len ? mempcpy(to, s.data, s.len) : to;
}

static void write_cookies(struct torc_http_jar *jar, struct merge *m, char *to)
{
	struct cookie *k = merge_next(m);

	while (k) {
		to = append(to, k->name);
		*to++ = '=';
		to = append(to, k->value);
		unlink_use(jar, k);
		link_use(jar, k);
		k = merge_next(m);
		if (k)
			to = append(to, (struct torc_slice){ "; ", 2 });
	}
	*to = '\0';
}

int torc_http_jar_cookies(struct torc_http_jar *jar, const struct torc_http_jar_site *site,
			  char *ret_value, size_t size)
{
	char host[TORC_HTTP_JAR_DOMAIN_MAX + 1];
	struct merge m = { .secure = site->secure };
	size_t n;

	if (torc__http_lower_host(site->host, host) < 0)
		return -EINVAL;
	m.host = (struct torc_slice){ host, strlen(host) };
	m.path = site->path.len ? site->path : (struct torc_slice){ "/", 1 };
	pthread_mutex_lock(&jar->lock);
	merge_begin(jar, &m, now_s());
	n = merged_length(&m);
	if (n < size && n <= INT_MAX)
		write_cookies(jar, &m, ret_value);
	pthread_mutex_unlock(&jar->lock);
	return n && (n >= size || n > INT_MAX) ? -ERANGE : (int)n;
}

/* --- all of them --- */

static char *copy_cookie(struct torc_http_jar_cookie *to, const struct cookie *k, char *text)
{
	*to = (struct torc_http_jar_cookie){ .expires = k->expires,
					     .host_only = k->host_only,
					     .secure = k->secure,
					     .http_only = k->http_only };
	to->name = store(&text, k->name).data;
	to->value = store(&text, k->value).data;
	to->domain = store(&text, (struct torc_slice){ k->domain->name, k->domain->len }).data;
	to->path = store(&text, k->path).data;
	return text;
}

static struct torc_http_jar_cookie *list_locked(struct torc_http_jar *jar)
{
	size_t bytes = jar->count * sizeof(struct torc_http_jar_cookie), i = 0;
	struct torc_http_jar_cookie *list;
	char *text;

	for (struct cookie *k = jar->first; k; k = k->behind)
		bytes += k->name.len + k->value.len + k->path.len + k->domain->len + 4;
	list = torc__malloc(bytes ? bytes : 1);
	if (!list)
		return NULL;
	text = (char *)(list + jar->count);
	for (struct cookie *k = jar->first; k; k = k->behind)
		text = copy_cookie(&list[i++], k, text);
	return list;
}

int torc_http_jar_list(struct torc_http_jar *jar, struct torc_http_jar_cookie **ret_cookies,
		       size_t *ret_count)
{
	struct torc_http_jar_cookie *list;
	size_t count;

	pthread_mutex_lock(&jar->lock);
	sweep(jar, now_s());
	count = jar->count;
	list = list_locked(jar);
	pthread_mutex_unlock(&jar->lock);
	if (!list)
		return -ENOMEM;
	*ret_cookies = list;
	*ret_count = count;
	return 0;
}

void torc_http_jar_free_list(struct torc_http_jar_cookie *cookies)
{
	torc__free(cookies);
}

static bool is_asked_for(const struct cookie *k, const char *domain, const char *path,
			 const char *name)
{
	if (domain && strcasecmp(domain, k->domain->name) != 0)
		return false;
	return (!path || !strcmp(path, k->path.data)) && (!name || !strcmp(name, k->name.data));
}

size_t torc_http_jar_remove(struct torc_http_jar *jar, const char *domain, const char *path,
			    const char *name)
{
	struct cookie *next;
	size_t n = 0;

	pthread_mutex_lock(&jar->lock);
	for (struct cookie *k = jar->first; k; k = next) {
		next = k->behind;
		if (is_asked_for(k, domain, path, name)) {
			drop(jar, k);
			n++;
		}
	}
	pthread_mutex_unlock(&jar->lock);
	return n;
}

void torc_http_jar_clear(struct torc_http_jar *jar)
{
	(void)torc_http_jar_remove(jar, NULL, NULL, NULL);
}
