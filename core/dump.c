#include <torc/core/dump.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/internal/dump.h"
#include "core/internal/fiber.h"
#include "core/internal/runtime.h"
#include "core/internal/symbols.h"
#include "core/internal/unwind.h"

/* Fibers that are written; more are counted. */
#define FIBERS_MOST 10000

/* Levels of the tree that are shown by indenting; deeper ones by their number. */
#define INDENT_MOST 32

/* The text is written when the loops run again, unless there is more of it, or no memory. */
#define TEXT_BYTES ((size_t)16 << 20)

/* How long a descriptor that does not block may be full. */
#define FULL_MS 1000

/* Places by address: thousands of fibers stand in a few of them. */
#define PLACES 1024

struct place {
	const void *address;
	uint16_t len;
	char text[120];
};

/*
 * One at a time: who holds the pause. Static, because a dump is asked for in fibers with small stacks, and when
 * there may be no memory.
 */
static struct {
	struct torc__symbols symbols;
	struct place places[PLACES];
	char text[16384]; /* where there is no memory for more */
} shared;

struct dump {
	int fd;
	int error; /* the first one: nothing is written any more */
	char *text;
	size_t len, capacity;
	uint64_t now_ns;
	size_t printed, more; /* fibers */
};

/* --- output --- */

static int write_some(int fd, const char *text, size_t len)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	ssize_t n = write(fd, text, len);

	if (n >= 0)
		return (int)n;
	if (errno == EINTR)
		return 0;
	if (errno != EAGAIN)
		return -errno;
	return poll(&p, 1, FULL_MS) > 0 ? 0 : -EAGAIN;
}

static void flush(struct dump *d)
{
	for (size_t at = 0; at < d->len && !d->error;) {
		size_t part = d->len - at < 1u << 20 ? d->len - at : 1u << 20;
		int n = write_some(d->fd, d->text + at, part);

		if (n < 0)
			d->error = n;
		else
			at += (size_t)n;
	}
	d->len = 0;
}

static void put_bytes(struct dump *d, const char *bytes, size_t len)
{
	if (len > d->capacity - d->len)
		flush(d);
	memcpy(d->text + d->len, bytes, len);
	d->len += len;
}

/* One line at a level of the tree, indented by some more. */
static void put_line(struct dump *d, size_t depth, size_t more, const struct torc__message *m)
{
	struct torc__message level = { .len = 0 };
	char blanks[2 * INDENT_MOST + 8];

	memset(blanks, ' ', sizeof(blanks));
	put_bytes(d, blanks, 2 * (depth < INDENT_MOST ? depth : INDENT_MOST) + more);
	if (depth > INDENT_MOST && !more) {
		torc__message_text(&level, "[level ");
		torc__message_number(&level, depth, 10);
		torc__message_text(&level, "] ");
		put_bytes(d, level.text, level.len);
	}
	put_bytes(d, m->text, m->len);
	put_bytes(d, "\n", 1);
}

static void put_number(struct torc__message *m, const char *before, uint64_t value)
{
	torc__message_text(m, before);
	torc__message_number(m, value, 10);
}

static void put_duration(struct torc__message *m, const char *before, uint64_t ns)
{
	torc__message_text(m, before);
	torc__message_duration(m, ns);
}

/* --- places --- */

static const struct place *find_place(const void *address)
{
	size_t hash = (size_t)((uintptr_t)address * UINT64_C(0x9e3779b97f4a7c15) >> 32);
	struct place *p = &shared.places[hash % PLACES];
	struct torc__message m = { .len = 0 };

	if (p->address == address && p->len)
		return p;
	torc__symbols_put(&shared.symbols, &m, address);
	p->address = address;
	p->len = (uint16_t)(m.len < sizeof(p->text) ? m.len : sizeof(p->text));
	memcpy(p->text, m.text, p->len);
	return p;
}

static void put_place(struct torc__message *m, const char *before, const void *address)
{
	const struct place *p = find_place(address);

	torc__message_text(m, before);
	torc__message_bytes(m, p->text, p->len);
}

/* From here on it is ours, for every fiber. */
static bool is_bottom(const struct place *p)
{
	static const char bottom[] = "torc__fiber_main+";

	return p->len >= sizeof(bottom) - 1 && !memcmp(p->text, bottom, sizeof(bottom) - 1);
}

static void put_backtrace(struct dump *d, size_t depth, const void *const *addresses, int count)
{
	for (int i = 0; i < count; i++) {
		struct torc__message m = { .len = 0 };

		if (is_bottom(find_place(addresses[i])))
			return;
		put_number(&m, "#", (uint64_t)i);
		put_place(&m, " ", addresses[i]);
		put_line(d, depth, 4, &m);
	}
}

/* --- one fiber --- */

static void put_name(struct torc__message *m, const char *name)
{
	torc__message_text(m, name ? name : "(unnamed)");
}

static void put_wait(struct torc__message *m, const struct torc__wait *wait, uint64_t now_ns)
{
	torc__message_text(m, ": waiting for ");
	torc__message_text(m, wait->kind->name);
	if (wait->kind->describe)
		wait->kind->describe(wait, m);
	put_duration(m, "; for ", now_ns > wait->since_ns ? now_ns - wait->since_ns : 0);
}

static void put_state(struct torc__message *m, const struct torc__fiber *f, uint64_t now_ns)
{
	switch ((enum torc__fiber_state)f->state) {
	case TORC__READY: torc__message_text(m, ": ready"); break;
	case TORC__RUNNING: torc__message_text(m, ": running, asks for a dump"); break;
	case TORC__PARKED: put_wait(m, f->wait, now_ns); break;
	case TORC__ENDED: torc__message_text(m, ": ended"); break;
	}
}

static void put_status(struct torc__message *m, int status, const char *where)
{
	torc__message_text(m, status == -ETIMEDOUT ? "; out of time" : "; cancelled");
	torc__message_text(m, where);
}

/* What its calls return, or would without a shield, and when that begins. */
static void put_limits(struct torc__message *m, const struct torc__fiber *f, uint64_t now_ns)
{
	uint64_t at = f->scope->timer_ns;
	const struct torc_scope *s = f->scope;

	if (at != TORC_NEVER && at <= now_ns)
		torc__message_text(m, "; deadline passed");
	else if (at != TORC_NEVER)
		put_duration(m, "; deadline in ", at - now_ns);
	if (s->status)
		put_status(m, s->status, "");
	while (s && !s->status)
		s = s->parent;
	if (s && s != f->scope)
		put_status(m, s->status, " outside of a shield");
}

/* A fiber that waits in the body of a generator, which it has resumed, is on the generator's stack. */
static void put_stack(struct torc__message *m, const struct torc__fiber *f)
{
	uintptr_t top = (uintptr_t)f & ~(uintptr_t)63, sp = (uintptr_t)f->context.sp;

	if (sp > top || sp < (uintptr_t)f->stack.bottom) {
		torc__message_text(m, ", in a generator");
		return;
	}
	put_number(m, ", stack ", top - sp);
	put_number(m, " of ", torc__stack_bytes(&f->stack));
	torc__message_text(m, " bytes");
}

static void put_origin(struct torc__message *m, const void *entry, const void *spawn_site)
{
	put_place(m, "entry ", entry);
	if (spawn_site)
		put_place(m, ", spawned from ", torc__call_site(spawn_site));
}

static void print_fiber(struct dump *d, const struct torc__fiber *f, size_t depth)
{
	struct torc__message m = { .len = 0 };
	const void *addresses[TORC__FRAMES_MOST];

	put_name(&m, f->name);
	put_number(&m, ", loop ", (uint64_t)f->loop->index);
	put_state(&m, f, d->now_ns);
	put_limits(&m, f, d->now_ns);
	put_line(d, depth, 0, &m);
	m.len = 0;
	put_origin(&m, (const void *)(uintptr_t)f->fn, f->spawn_site);
	put_stack(&m, f);
	put_line(d, depth, 4, &m);
	put_backtrace(d, depth, addresses,
		      torc__unwind_context(&f->context, addresses, TORC__FRAMES_MOST));
}

static void visit(struct dump *d, const struct torc__fiber *f, size_t depth)
{
	if (d->printed == FIBERS_MOST) {
		d->more++;
	} else {
		d->printed++;
		print_fiber(d, f, depth);
	}
}

/* --- the tree --- */

/* The children of one group that have not been visited. */
struct cursor {
	struct torc_group *group; /* NULL: its fiber has no more of them */
	struct torc__fiber *child;
	struct torc__remote *remote;
	size_t depth;
};

static void put_group(struct dump *d, const struct torc_group *g, size_t depth)
{
	struct torc__message m = { .len = 0 };

	if (!g->live || d->printed == FIBERS_MOST)
		return;
	put_number(&m, g->supervises ? "supervisor group of " : "group of ", g->live);
	if (g->scope.status)
		put_status(&m, g->scope.status, "");
	put_line(d, depth, 0, &m);
}

/* Go to the first group from a scope outward. */
static void enter_group(struct dump *d, struct cursor *c, struct torc_scope *scope)
{
	while (scope && !scope->is_group)
		scope = scope->parent;
	c->group = (struct torc_group *)scope;
	if (!scope)
		return;
	c->child = c->group->children;
	c->remote = c->group->remotes;
	put_group(d, c->group, c->depth);
}

/* One that is not on its loop yet, or on a loop that has not answered: what is known of it here. */
static void print_remote(struct dump *d, const struct torc__remote_view *r, size_t depth)
{
	struct torc__message m = { .len = 0 };

	if (d->printed == FIBERS_MOST) {
		d->more++;
		return;
	}
	d->printed++;
	put_name(&m, r->name);
	put_number(&m, ", loop ", (uint64_t)r->away->index);
	torc__message_text(&m, r->away->attention.answered ? ": on its way"
							   : ": its loop has not answered");
	put_line(d, depth, 0, &m);
	m.len = 0;
	put_origin(&m, (const void *)(uintptr_t)r->fn, r->spawn_site);
	put_line(d, depth, 4, &m);
}

/* The next fiber of the cursor's group that can be looked at, on this loop or on another; or NULL. */
static struct torc__fiber *next_child(struct dump *d, struct cursor *c)
{
	struct torc__fiber *f = c->child;
	struct torc__remote_view r;

	if (f) {
		c->child = f->sibling;
		return f;
	}
	while (c->remote) {
		torc__remote_look(c->remote, &r);
		c->remote = r.next;
		if (r.away->attention.answered && r.fiber)
			return r.fiber;
		print_remote(d, &r, c->depth + 1);
	}
	return NULL;
}

/* Back to where f stands among the children of its group. */
static void ascend(struct cursor *c, const struct torc__fiber *f)
{
	struct torc__remote_view r;

	c->depth -= 2;
	if (f->group) {
		c->group = f->group;
		c->child = f->sibling;
		c->remote = c->group->remotes;
		return;
	}
	torc__remote_look(f->remote, &r);
	c->group = r.group;
	c->child = NULL;
	c->remote = r.next;
}

/* Depth first, with what the records themselves say instead of a stack: trees can be deeper than any. */
static void print_tree(struct dump *d, struct torc__fiber *root)
{
	struct torc__fiber *owner = root, *child;
	struct cursor c = { .depth = 1 };

	visit(d, root, 0);
	enter_group(d, &c, root->scope);
	while (c.group || owner != root) {
		child = c.group ? next_child(d, &c) : NULL;
		if (child) {
			visit(d, child, c.depth + 1);
			owner = child;
			c.depth += 2;
			enter_group(d, &c, child->scope);
		} else if (c.group) {
			enter_group(d, &c, c.group->scope.parent);
		} else {
			ascend(&c, owner);
			owner = c.group->scope.fiber;
		}
	}
}

/* --- loops --- */

static void print_counters(struct dump *d, const struct torc__loop *loop)
{
	struct torc__message m = { .len = 0 };
	struct torc_stats s;

	torc__loop_stats(loop, d->now_ns, &s);
	put_number(&m, "loop ", (uint64_t)loop->index);
	put_number(&m, ": turns ", s.turns);
	put_number(&m, ", switches ", s.switches);
	put_number(&m, ", spawns ", s.spawns);
	put_number(&m, ", enters ", s.enters);
	put_number(&m, ", sqes ", s.sqes);
	put_number(&m, ", cqes ", s.cqes);
	put_number(&m, ", overflows ", s.overflows);
	put_number(&m, ", wakes sent ", s.wakes_sent);
	put_number(&m, ", received ", s.wakes_received);
	put_number(&m, ", mails ", s.mails);
	put_number(&m, ", fibers ", s.fibers);
	put_number(&m, " (peak ", s.fibers_peak);
	put_number(&m, "), stack bytes ", s.stacks_bytes);
	put_number(&m, " (cached stacks ", s.stacks_cached);
	put_number(&m, "), timers ", s.timers);
	put_number(&m, ", in flight ", loop->in_flight);
	put_duration(&m, ", busy ", s.busy_ns);
	put_duration(&m, ", idle ", s.idle_ns);
	put_line(d, 0, 0, &m);
}

static void put_sample(struct torc__message *m, const struct torc__sample *s)
{
	if (!s->in_fiber) {
		torc__message_text(m, "; it runs no fiber");
		return;
	}
	torc__message_text(m, "; it runs fiber ");
	put_name(m, *s->name ? s->name : NULL);
	torc__message_text(m, ", ");
	put_origin(m, s->entry, s->spawn_site);
}

/* Nothing of it may be read, but for a sample that its own thread has taken. */
static void print_silent(struct dump *d, struct torc__loop *loop)
{
	struct torc__message m = { .len = 0 };
	bool sampled = torc__sample_await(loop);

	put_number(&m, "loop ", (uint64_t)loop->index);
	put_duration(&m, ": has not answered for ", TORC__PAUSE_NS);
	if (sampled)
		put_sample(&m, &loop->sample);
	put_line(d, 0, 0, &m);
	if (!sampled)
		return;
	put_backtrace(d, 0, loop->sample.addresses, loop->sample.count);
	torc__sample_release(loop);
}

static void print_loops(struct dump *d, const struct torc__runtime *rt)
{
	for (int i = 0; i < rt->loop_count; i++)
		if (!rt->loops[i]->attention.answered)
			torc__sample_ask(rt->loops[i]);
	for (int i = 0; i < rt->loop_count; i++)
		if (rt->loops[i]->attention.answered)
			print_counters(d, rt->loops[i]);
		else
			print_silent(d, rt->loops[i]);
}

/* A loop has no root before its first turn and when it is about to end. */
static void print_trees(struct dump *d, const struct torc__runtime *rt)
{
	for (int i = 0; i < rt->loop_count; i++) {
		const struct torc__loop *loop = rt->loops[i];

		if (loop->attention.answered && loop->root_group)
			print_tree(d, loop->root_group->scope.fiber);
	}
}

static void print_head(struct dump *d, const struct torc__runtime *rt)
{
	struct torc__message m = { .len = 0 };
	size_t fibers = 0;

	for (int i = 0; i < rt->loop_count; i++)
		fibers += rt->loops[i]->attention.answered ? rt->loops[i]->fibers : 0;
	put_number(&m, "torc: dump of process ", (uint64_t)getpid());
	put_number(&m, ": loops ", (uint64_t)rt->loop_count);
	put_number(&m, ", fibers ", fibers);
	put_line(d, 0, 0, &m);
}

static void print_end(struct dump *d)
{
	struct torc__message m = { .len = 0 };

	if (d->more) {
		put_number(&m, "... and ", d->more);
		torc__message_text(&m, d->more == 1 ? " more fiber\n" : " more fibers\n");
	}
	torc__message_text(&m, "torc: end of dump");
	put_line(d, 0, 0, &m);
}

/* --- all --- */

static void print_all(struct dump *d, const struct torc__runtime *rt)
{
	print_head(d, rt);
	print_loops(d, rt);
	print_trees(d, rt);
	print_end(d);
	torc__symbols_done(&shared.symbols);
	memset(shared.places, 0,
	       sizeof(shared.places)); /* a library may go, and another come there */
}

static int check_fd(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || (flags & O_ACCMODE) == O_RDONLY ? -EBADF : 0;
}

int torc__dump(struct torc__loop *loop, int fd)
{
	struct dump d = { .fd = fd, .capacity = TEXT_BYTES };
	int r = check_fd(fd);

	if (r < 0)
		return r;
	d.text = mmap(NULL, TEXT_BYTES, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	torc__pause_begin(loop);
	d.now_ns = torc_now_ns();
	if (d.text == MAP_FAILED) {
		d.text = shared.text;
		d.capacity = sizeof(shared.text);
	}
	print_all(&d, loop->runtime);
	if (d.text == shared.text)
		flush(&d);
	torc__pause_end(loop);
	if (d.text != shared.text) {
		flush(&d);
		munmap(d.text, TEXT_BYTES);
	}
	return d.error;
}

int torc_dump(int fd)
{
	struct torc__fiber *self = torc__self();

	/* Nobody needs it while the fiber runs: it is saved anew when it gives way. */
	torc__context_here(&self->context);
	return torc__dump(self->loop, fd);
}
