#include "core/internal/overflow.h"

#include <signal.h>
#include <stdlib.h>

#include "core/internal/fiber.h"
#include "core/internal/gen.h"
#include "core/internal/symbols.h"
#include "core/internal/trap.h"
#include "core/internal/unwind.h"

#define ALT_STACK_BYTES 32768

static struct sigaction previous_segv, previous_bus;

static bool in_guard(const struct torc__fiber *f, const char *address)
{
	return address < f->stack.bottom && address >= f->stack.bottom - TORC__GUARD_BYTES;
}

static void put_head(struct torc__message *m, const char *what, const char *name, const void *fn)
{
	torc__message_text(m, what);
	torc__message_text(m, name ? name : "(unnamed)");
	torc__message_text(m, ", entry function ");
	torc__symbols_put_last(m, fn);
}

static void put_tail(struct torc__message *m, size_t stack_bytes)
{
	torc__message_text(m, ", stack of ");
	torc__message_number(m, stack_bytes, 10);
	torc__message_text(m, " bytes; give it more with stack_bytes\n");
	torc__message_write(m);
}

static void report(const struct torc__fiber *f)
{
	struct torc__message m = { .len = 0 };

	put_head(&m, "torc: stack overflow in fiber ", f->name, (const void *)(uintptr_t)f->fn);
	torc__message_text(&m, ", spawned from ");
	torc__symbols_put_last(&m, torc__call_site(f->spawn_site));
	put_tail(&m, torc__stack_bytes(&f->stack));
}

static void report_generator(const struct torc_gen *g, const struct torc__fiber *f)
{
	struct torc__message m = { .len = 0 };

	put_head(&m, "torc: stack overflow in generator ", torc_gen_name(g),
		 (const void *)(uintptr_t)g->fn);
	if (f) {
		torc__message_text(&m, ", resumed in fiber ");
		torc__message_text(&m, f->name ? f->name : "(unnamed)");
	}
	put_tail(&m, torc__gen_stack_bytes(g));
}

/* Hand the fault on: with the old handler back in place the instruction faults again. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	struct torc__loop *loop = torc__loop();
	const struct torc__fiber *f = loop ? loop->current : NULL;
	const struct torc_gen *g;

	(void)context;
	torc__unwind_escape();
	g = torc__gen_overflowed(info->si_addr);
	if (f && in_guard(f, info->si_addr))
		report(f);
	else if (g)
		report_generator(g, f);
	sigaction(number, number == SIGBUS ? &previous_bus : &previous_segv, NULL);
}

void torc__overflow_install(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &previous_segv);
	sigaction(SIGBUS, &action, &previous_bus);
}

void torc__overflow_remove(void)
{
	sigaction(SIGSEGV, &previous_segv, NULL);
	sigaction(SIGBUS, &previous_bus, NULL);
}

struct alt_stack {
	stack_t previous; /* the program's own, such as ASan's */
	char bytes[ALT_STACK_BYTES];
};

void *torc__overflow_thread_begin(void)
{
	struct alt_stack *stack = malloc(sizeof(*stack));

	if (stack)
		sigaltstack(&(stack_t){ .ss_sp = stack->bytes, .ss_size = sizeof(stack->bytes) },
			    &stack->previous);
	return stack;
}

void torc__overflow_thread_end(void *stack)
{
	struct alt_stack *alt = stack;

	if (!alt)
		return;
	sigaltstack(&alt->previous, NULL);
	free(alt);
}
