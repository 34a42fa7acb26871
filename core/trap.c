#include "core/internal/trap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/internal/fiber.h"
#include "core/internal/symbols.h"

void torc__message_bytes(struct torc__message *m, const char *bytes, size_t len)
{
	if (len > sizeof(m->text) - m->len)
		len = sizeof(m->text) - m->len;
	memcpy(m->text + m->len, bytes, len);
	m->len += len;
}

void torc__message_text(struct torc__message *m, const char *text)
{
	if (text)
		torc__message_bytes(m, text, strlen(text));
}

void torc__message_number(struct torc__message *m, unsigned long long value, unsigned base)
{
	char digits[2 + 64 + 1];
	char *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = "0123456789abcdef"[value % base];
	while (value /= base);
	if (base == 16) {
		*--p = 'x';
		*--p = '0';
	}
	torc__message_text(m, p);
}

void torc__message_duration(struct torc__message *m, unsigned long long ns)
{
	static const struct {
		unsigned long long ns;
		const char *name;
	} units[] = {
		{ 3600000000000ull, " h" }, { 60000000000ull, " min" }, { 1000000000ull, " s" },
		{ 1000000ull, " ms" },      { 1000ull, " us" },         { 1ull, " ns" },
	};
	size_t i = 0;
	unsigned long long whole, rest;

	while (units[i].ns > 1 && ns < units[i].ns)
		i++;
	whole = ns / units[i].ns;
	rest = ns % units[i].ns * 100 / units[i].ns;
	torc__message_number(m, whole, 10);
	if (units[i].ns > 1 && whole < 100) {
		torc__message_text(m, rest < 10 ? ".0" : ".");
		torc__message_number(m, rest, 10);
	}
	torc__message_text(m, units[i].name);
}

void torc__message_write(struct torc__message *m)
{
	/* Nothing is left to be done about a failure to write it. */
	ssize_t ignored = write(STDERR_FILENO, m->text, m->len);

	(void)ignored;
}

void torc__trap(const char *what)
{
	struct torc__message m = { .len = 0 };
	struct torc__loop *loop = torc__loop();
	struct torc__fiber *f = loop ? loop->current : NULL;

	torc__message_text(&m, "torc: ");
	torc__message_text(&m, what);
	if (f) {
		torc__message_text(&m, " (fiber ");
		torc__message_text(&m, f->name ? f->name : "unnamed");
		torc__message_text(&m, ", entry ");
		torc__symbols_put_last(&m, (const void *)(uintptr_t)f->fn);
		torc__message_text(&m, ")");
	}
	torc__message_text(&m, "\n");
	torc__message_write(&m);
	abort();
}
