/*
 * http/files_condition.c - conditions: RFC 9110, section 13.
 */
#include <string.h>

#include <torc/core/sys.h>

#include "http/internal/files.h"

/* --- dates --- */

static bool skip(struct torc_slice *in, const char *text)
{
	size_t len = strlen(text);

	if (in->len < len || memcmp(in->data, text, len) != 0)
		return false;
	in->data += len;
	in->len -= len;
	return true;
}

/* Exactly so many digits. */
static bool number(struct torc_slice *in, size_t digits, int *ret)
{
	int value = 0;

	if (in->len < digits)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (in->data[i] < '0' || in->data[i] > '9')
			return false;
		value = value * 10 + (in->data[i] - '0');
	}
	in->data += digits;
	in->len -= digits;
	*ret = value;
	return true;
}

/* One of the names, each of which has 3 letters. */
static bool name(struct torc_slice *in, const char *names, int *ret)
{
	for (int i = 0; names[i * 3]; i++)
		if (in->len >= 3 && !memcmp(in->data, names + i * 3, 3)) {
			in->data += 3;
			in->len -= 3;
			*ret = i;
			return true;
		}
	return false;
}

static bool month_name(struct torc_slice *in, int *ret)
{
	return name(in, "JanFebMarAprMayJunJulAugSepOctNovDec", ret);
}

struct moment {
	int year, month, day, hour, minute, second; /* month 0 .. 11 */
};

static bool time_of_day(struct torc_slice *in, struct moment *m)
{
	return number(in, 2, &m->hour) && skip(in, ":") && number(in, 2, &m->minute) &&
	       skip(in, ":") && number(in, 2, &m->second);
}

/* ", 06 Nov 1994 08:49:37 GMT" */
static bool imf_date(struct torc_slice in, struct moment *m)
{
	return skip(&in, ", ") && number(&in, 2, &m->day) && skip(&in, " ") &&
	       month_name(&in, &m->month) && skip(&in, " ") && number(&in, 4, &m->year) &&
	       skip(&in, " ") && time_of_day(&in, m) && skip(&in, " GMT") && !in.len;
}

/* " Nov  6 08:49:37 1994" */
static bool asctime_date(struct torc_slice in, struct moment *m)
{
	return skip(&in, " ") && month_name(&in, &m->month) && skip(&in, " ") &&
	       (skip(&in, " ") ? number(&in, 1, &m->day) : number(&in, 2, &m->day)) &&
	       skip(&in, " ") && time_of_day(&in, m) && skip(&in, " ") &&
	       number(&in, 4, &m->year) && !in.len;
}

/* Days from 1970-01-01, of any year of the Gregorian calendar; years that begin in March have their odd day at the end. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month < 2 ? year - 1 : year;
	int64_t m = month < 2 ? month + 10 : month - 2;

	return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

static int64_t seconds_of(const struct moment *m)
{
	return ((days_of(m->year, m->month, m->day) * 24 + m->hour) * 60 + m->minute) * 60 +
	       m->second;
}

/* "day, 06-Nov-94 08:49:37 GMT", behind the first three letters; more than 50 years ahead is a century ago. */
static bool rfc850_date(struct torc_slice in, int weekday, int64_t now, struct moment *m)
{
	static const char *const rest[] = {
		"day", "day", "sday", "nesday", "rsday", "day", "urday"
	};

	if (!(skip(&in, rest[weekday]) && skip(&in, ", ") && number(&in, 2, &m->day) &&
	      skip(&in, "-") && month_name(&in, &m->month) && skip(&in, "-") &&
	      number(&in, 2, &m->year) && skip(&in, " ") && time_of_day(&in, m) &&
	      skip(&in, " GMT") && !in.len))
		return false;
	m->year += 1900;
	while (seconds_of(m) + (int64_t)50 * 31556952 < now)
		m->year += 100;
	return true;
}

static bool is_moment(const struct moment *m)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = m->year % 4 == 0 && (m->year % 100 != 0 || m->year % 400 == 0);

	return m->day >= 1 && m->day <= days[m->month] + (m->month == 1 && leap) && m->hour < 24 &&
	       m->minute < 60 && m->second <= 60;
}

bool torc__http_date_parse(struct torc_slice text, int64_t now, int64_t *ret_seconds)
{
	struct moment m;
	int weekday;

	if (!name(&text, "SunMonTueWedThuFriSat", &weekday))
		return false;
	if (!imf_date(text, &m) && !asctime_date(text, &m) && !rfc850_date(text, weekday, now, &m))
		return false;
	if (!is_moment(&m))
		return false;
	*ret_seconds = seconds_of(&m);
	return true;
}

/* --- entity tags --- */

bool torc__http_next_field(const struct torc_http_exchange *x, enum torc__http_name known,
			   unsigned *at, struct torc_slice *ret_value)
{
	if (!(x->head.known_set >> known & 1))
		return false;
	while (*at < x->head.field_count) {
		const struct torc__http_field *f = &x->head.fields[(*at)++];

		if (f->known == known) {
			*ret_value = f->value;
			return true;
		}
	}
	return false;
}

static bool has_field(const struct torc_http_exchange *x, enum torc__http_name known)
{
	return x->head.known_set >> known & 1;
}

/* The next tag of a list, with its quotes. A tag may have commas in it. False: the end, or garbled from here on. */
static bool next_tag(struct torc_slice *in, struct torc_slice *ret_tag, bool *ret_weak)
{
	const char *end;

	while (skip(in, " ") || skip(in, "\t") || skip(in, ","))
		;
	*ret_weak = skip(in, "W/");
	if (!in->len || *in->data != '"')
		return false;
	end = memchr(in->data + 1, '"', in->len - 1);
	if (!end)
		return false;
	*ret_tag = (struct torc_slice){ in->data, (size_t)(end + 1 - in->data) };
	in->len -= ret_tag->len;
	in->data += ret_tag->len;
	return true;
}

/* Ours is strong: a weak one is equal to it only where weak ones may be compared (RFC 9110, section 8.8.3.2). */
static bool list_has(struct torc_slice list, const char *etag, bool weakly)
{
	struct torc_slice tag;
	bool weak;

	if (list.len == 1 && *list.data == '*')
		return true;
	while (next_tag(&list, &tag, &weak))
		if ((weakly || !weak) && tag.len == strlen(etag) &&
		    !memcmp(tag.data, etag, tag.len))
			return true;
	return false;
}

static bool field_has(const struct torc_http_exchange *x, enum torc__http_name known,
		      const char *etag, bool weakly)
{
	struct torc_slice list;
	unsigned at = 0;

	while (torc__http_next_field(x, known, &at, &list))
		if (list_has(list, etag, weakly))
			return true;
	return false;
}

/* --- the conditions --- */

static int64_t now_seconds(void)
{
	return (int64_t)(torc_sys_wall_ns() / TORC_SECONDS(1));
}

/* A date that is none, or one of several, is as if it were not there. */
static bool date_field(const struct torc_http_exchange *x, enum torc__http_name known,
		       int64_t *ret_seconds)
{
	struct torc_slice value, another;
	unsigned at = 0;

	return torc__http_next_field(x, known, &at, &value) &&
	       !torc__http_next_field(x, known, &at, &another) &&
	       torc__http_date_parse(value, now_seconds(), ret_seconds);
}

static bool precondition_fails(const struct torc_http_exchange *x, const struct torc__http_held *h)
{
	int64_t date;

	if (has_field(x, TORC__HTTP_NAME_IF_MATCH))
		return !field_has(x, TORC__HTTP_NAME_IF_MATCH, h->etag, false);
	return date_field(x, TORC__HTTP_NAME_IF_UNMODIFIED_SINCE, &date) &&
	       h->status.stx_mtime.tv_sec > date;
}

static bool not_modified(const struct torc_http_exchange *x, const struct torc__http_held *h)
{
	int64_t date;

	if (has_field(x, TORC__HTTP_NAME_IF_NONE_MATCH))
		return field_has(x, TORC__HTTP_NAME_IF_NONE_MATCH, h->etag, true);
	return date_field(x, TORC__HTTP_NAME_IF_MODIFIED_SINCE, &date) &&
	       h->status.stx_mtime.tv_sec <= date;
}

int torc__http_condition(const struct torc_http_exchange *x, const struct torc__http_held *h)
{
	static const uint64_t any = (uint64_t)1 << TORC__HTTP_NAME_IF_MATCH |
				    (uint64_t)1 << TORC__HTTP_NAME_IF_NONE_MATCH |
				    (uint64_t)1 << TORC__HTTP_NAME_IF_MODIFIED_SINCE |
				    (uint64_t)1 << TORC__HTTP_NAME_IF_UNMODIFIED_SINCE;

	if (!(x->head.known_set & any))
		return 0;
	if (precondition_fails(x, h))
		return 412;
	return not_modified(x, h) ? 304 : 0;
}

/*
 * A date is as good as a tag when the file cannot have changed again within the same second: it is over, for the client that
 * was told of it (RFC 9110, section 8.8.2.2).
 */
static bool same_date(const struct torc__http_held *h, struct torc_slice value)
{
	int64_t date, now = now_seconds();

	return torc__http_date_parse(value, now, &date) && date == h->status.stx_mtime.tv_sec &&
	       date + 1 < now;
}

bool torc__http_if_range(const struct torc_http_exchange *x, const struct torc__http_held *h)
{
	struct torc_slice value, tag, another;
	unsigned at = 0;
	bool weak;

	if (!torc__http_next_field(x, TORC__HTTP_NAME_IF_RANGE, &at, &value))
		return true;
	if (torc__http_next_field(x, TORC__HTTP_NAME_IF_RANGE, &at, &another))
		return false;
	if (same_date(h, value))
		return true;
	/* One tag, and no list. */
	return next_tag(&value, &tag, &weak) && !weak && !value.len && tag.len == strlen(h->etag) &&
	       !memcmp(tag.data, h->etag, tag.len);
}
