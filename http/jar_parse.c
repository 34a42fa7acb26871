/*
 * http/jar_parse.c - Set-Cookie, as user agents have to read it: RFC 6265, sections 5.1.1 and 5.2.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "http/internal/exchange.h"
#include "http/internal/jar.h"

/* A longer value of an attribute is none. */
#define ATTRIBUTE_MAX 1024

/* --- dates --- */

struct date {
	int hour, minute, second, day, month, year;
	bool has_time, has_day, has_month, has_year;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_delimiter(char c)
{
	unsigned char b = (unsigned char)c;

	return b == 0x09 || (b >= 0x20 && b <= 0x2f) || (b >= 0x3b && b <= 0x40) ||
	       (b >= 0x5b && b <= 0x60) || (b >= 0x7b && b <= 0x7e);
}

/* `least` to `most` digits, and no further one, at the front of *s. */
static bool take_number(struct torc_slice *s, size_t least, size_t most, int *ret)
{
	size_t n = 0;
	int number = 0;

	for (; n < s->len && is_digit(s->data[n]); n++) {
		if (n == most)
			return false;
		number = number * 10 + s->data[n] - '0';
	}
	if (n < least)
		return false;
	s->data += n;
	s->len -= n;
	*ret = number;
	return true;
}

static bool take_colon(struct torc_slice *s)
{
	if (!s->len || *s->data != ':')
		return false;
	s->data++;
	s->len--;
	return true;
}

/* What is behind the numbers of a token does not matter, as long as it is no digit. */
static bool take_time(struct torc_slice s, struct date *d)
{
	return take_number(&s, 1, 2, &d->hour) && take_colon(&s) &&
	       take_number(&s, 1, 2, &d->minute) && take_colon(&s) &&
	       take_number(&s, 1, 2, &d->second);
}

static bool take_month(struct torc_slice s, int *ret)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

	for (int i = 0; s.len >= 3 && i < 12; i++)
		if (!strncasecmp(s.data, names + 3 * i, 3)) {
			*ret = i + 1;
			return true;
		}
	return false;
}

static void take_token(struct torc_slice s, struct date *d)
{
	struct torc_slice number = s;
	struct date time = { 0 };

	if (!d->has_time && take_time(s, &time)) {
		d->hour = time.hour;
		d->minute = time.minute;
		d->second = time.second;
		d->has_time = true;
	} else if (!d->has_day && take_number(&number, 1, 2, &d->day)) {
		d->has_day = true;
	} else if (!d->has_month && take_month(s, &d->month)) {
		d->has_month = true;
	} else if (!d->has_year && take_number(&number, 2, 4, &d->year)) {
		d->has_year = true;
	}
}

static int days_of(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (!(year % 4) && year % 100) || !(year % 400);

	return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970, by the calendar that has always been. */
static int64_t day_number(int year, int month, int day)
{
	int64_t y = year - 1, n = y * 365 + y / 4 - y / 100 + y / 400;

	for (int m = 1; m < month; m++)
		n += days_of(year, m);
	return n + day - 1 - 719162;
}

static bool is_date(const struct date *d)
{
	return d->has_time && d->has_day && d->has_month && d->has_year && d->year >= 1601 &&
	       d->day >= 1 && d->day <= days_of(d->year, d->month) && d->hour <= 23 &&
	       d->minute <= 59 && d->second <= 59;
}

bool torc__http_cookie_date(struct torc_slice text, int64_t *ret_seconds)
{
	struct date d = { 0 };
	size_t i = 0;

	while (i < text.len) {
		size_t begin = i;

		while (i < text.len && !is_delimiter(text.data[i]))
			i++;
		if (i > begin)
			take_token((struct torc_slice){ text.data + begin, i - begin }, &d);
		else
			i++;
	}
	if (d.has_year && d.year < 100)
		d.year += d.year < 70 ? 2000 : 1900;
	if (!is_date(&d))
		return false;
	*ret_seconds = day_number(d.year, d.month, d.day) * 86400 + d.hour * 3600 + d.minute * 60 +
		       d.second;
	return true;
}

/* --- the field --- */

static bool is_text(struct torc_slice s, bool with_tabs)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if ((c < ' ' && !(with_tabs && c == '\t')) || c == 0x7f)
			return false;
	}
	return true;
}

bool torc__http_is_cookie_text(struct torc_slice s)
{
	return is_text(s, false);
}

/* What is before the next ';', which goes too. */
static struct torc_slice cut(struct torc_slice *text)
{
	const char *stop = text->len ? memchr(text->data, ';', text->len) : NULL;
	size_t n = stop ? (size_t)(stop - text->data) : text->len;
	struct torc_slice part = { text->data, n };

	text->data += n + (stop != NULL);
	text->len -= n + (stop != NULL);
	return part;
}

/* Without an equals sign the value is empty. */
static bool split(struct torc_slice part, struct torc_slice *ret_name, struct torc_slice *ret_value)
{
	const char *end = part.data + part.len;
	const char *equals = part.len ? memchr(part.data, '=', part.len) : NULL;

	*ret_name = torc__http_trim(part.data, equals ? equals : end);
	*ret_value = torc__http_trim(equals ? equals + 1 : end, end);
	return equals != NULL;
}

/* Seconds from now on, at most as many as there may be; 0: none that are left. False: it is no number. */
static bool take_max_age(struct torc_slice s, int64_t *ret)
{
	bool negative = s.len && *s.data == '-';
	int64_t n = 0;

	if (s.len == negative)
		return false;
	for (size_t i = negative; i < s.len; i++) {
		if (!is_digit(s.data[i]))
			return false;
		n = n * 10 + s.data[i] - '0';
		n = n < TORC__HTTP_JAR_SECONDS_MAX ? n : TORC__HTTP_JAR_SECONDS_MAX;
	}
	*ret = negative ? 0 : n;
	return true;
}

struct lifetime {
	int64_t max_age, expires;
	bool has_max_age, has_expires;
};

static void take_attribute(struct torc__http_set_cookie *c, struct lifetime *l,
			   struct torc_slice name, struct torc_slice value)
{
	if (value.len > ATTRIBUTE_MAX)
		return;
	if (torc__http_slice_is_word(name, "Expires")) {
		l->has_expires = torc__http_cookie_date(value, &l->expires) || l->has_expires;
	} else if (torc__http_slice_is_word(name, "Max-Age")) {
		l->has_max_age = take_max_age(value, &l->max_age) || l->has_max_age;
	} else if (torc__http_slice_is_word(name, "Domain")) {
		size_t dot = value.len && *value.data == '.';

		c->domain = (struct torc_slice){ value.data + dot, value.len - dot };
	} else if (torc__http_slice_is_word(name, "Path")) {
		bool is_path = value.len && *value.data == '/';

		c->path = is_path ? value : (struct torc_slice){ "", 0 };
	} else if (torc__http_slice_is_word(name, "Secure")) {
		c->secure = true;
	} else if (torc__http_slice_is_word(name, "HttpOnly")) {
		c->http_only = true;
	}
}

/* 0 is for those that have none, so a time before 1970 becomes the first second. */
static int64_t expiry(const struct lifetime *l, int64_t now)
{
	int64_t latest = now + TORC__HTTP_JAR_SECONDS_MAX, at;

	if (!l->has_max_age && !l->has_expires)
		return 0;
	at = l->has_max_age ? now + l->max_age : l->expires;
	at = at < latest ? at : latest;
	return at < 1 ? 1 : at;
}

int torc__http_set_cookie_parse(struct torc__http_set_cookie *c, struct torc_slice text,
				int64_t now)
{
	struct lifetime l = { 0 };
	struct torc_slice name, value;

	*c = (struct torc__http_set_cookie){ .domain = { "", 0 }, .path = { "", 0 } };
	if (!is_text(text, true) || !split(cut(&text), &c->name, &c->value) || !c->name.len)
		return -EBADMSG;
	while (text.len) {
		split(cut(&text), &name, &value);
		take_attribute(c, &l, name, value);
	}
	c->expires = expiry(&l, now);
	/* Tabs divide the columns of a file. */
	if (!is_text(c->name, false) || !is_text(c->value, false) || !is_text(c->path, false))
		return -EBADMSG;
	return 0;
}

static bool begins_with(struct torc_slice s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.len >= n && !strncasecmp(s.data, prefix, n);
}

/* In any case, as servers may compare names so. */
bool torc__http_cookie_keeps_promise(const struct torc__http_set_cookie *c)
{
	if (begins_with(c->name, "__Host-"))
		return c->secure && c->host_only && torc__http_slice_is(c->path, "/");
	return !begins_with(c->name, "__Secure-") || c->secure;
}

/* --- hosts --- */

bool torc__http_is_ip(struct torc_slice host)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr address;

	if (!host.len || memchr(host.data, ':', host.len))
		return true;
	if (host.len >= sizeof(text))
		return false;
	memcpy(text, host.data, host.len);
	text[host.len] = '\0';
	return inet_pton(AF_INET, text, &address) == 1;
}

int torc__http_lower_host(struct torc_slice host, char *to)
{
	if (host.len > 2 && *host.data == '[' && host.data[host.len - 1] == ']')
		host = (struct torc_slice){ host.data + 1, host.len - 2 };
	if (!host.len || host.len > TORC_HTTP_JAR_DOMAIN_MAX || !is_text(host, false))
		return -EINVAL;
	for (size_t i = 0; i < host.len; i++) {
		char c = host.data[i];

		to[i] = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
	}
	to[host.len] = '\0';
	return 0;
}
