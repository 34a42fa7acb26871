#include "core/internal/trap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/internal/fiber.h"

void torc__message_text(struct torc__message *m, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len > sizeof(m->text) - m->len)
		len = sizeof(m->text) - m->len;
	memcpy(m->text + m->len, text ? text : "", len);
	m->len += len;
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
		torc__message_number(&m, (unsigned long long)(uintptr_t)f->fn, 16);
		torc__message_text(&m, ")");
	}
	torc__message_text(&m, "\n");
	torc__message_write(&m);
	abort();
}
