/*
 * core/remote.c - fibers whose group is on another loop, and spawning into a group from another loop.
 *
 * Up to three loops take part: `from` has the caller, `home` the group, `away` is where the fiber starts.
 *
 *	from				home				away
 *	adopt_mail ---- adopt -------->	links and counts it
 *	start_mail ---- start -----------------------------------------> starts it
 *					cancel_mail ---- cancel -------> asks it to stop
 *					           <--- echo ----------- cancel_mail
 *					           <--- ended ---------- start_mail
 *
 * Two of them may be one loop. From home no adopt travels: the caller links the record itself. To away no start
 * travels from away: the caller creates the fiber itself, and is told at once when that fails.
 *
 * Order. Mailboxes keep causal order: what was posted to a loop before something that led to another post to the
 * same loop is delivered before it. Adopt is posted before start. Hence
 *	1. adopt comes before ended: that was posted because of start, or after adopt on the same loop;
 *	2. adopt comes before home hears that the caller has ended, directly or by way of the groups in between:
 *	   the group that the caller keeps open is still open;
 *	3. cancel may come before start, when home is quick: `stopped` remembers it for the start.
 *
 * Passing on. A fiber that was placed by load may find its loop too busy and go on to another one, once. The
 * loop that passes it on leaves a note in `passed_to`, and sends a cancellation that comes later after it:
 *
 *	home				away				passed_to
 *					start_mail ---- start ---------> starts it
 *	cancel_mail --- cancel -------> cancel_mail --- cancel --------> asks it to stop
 *	           <--- echo ------------------------------------------ cancel_mail
 *	           <--- ended ----------------------------------------- start_mail
 *
 * The record is home's once it is adopted, and is released there when ended and each echo have come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal/group.h"
#include "core/internal/runtime.h"
#include "core/internal/system.h"

struct torc__remote {
	/* Never changed after the caller has posted the first message. */
	struct torc__loop *home, *away;
	struct torc_group *group;
	struct torc_task *task;
	torc_fn *fn;
	void *arg;
	const void *spawn_site;
	unsigned class_index;
	void (*unstarted)(void *arg, int error); /* or NULL */

	/* Home's. */
	struct torc__mail adopt_mail;
	struct torc__remote *next, **link; /* in the group, or in the loop's spare ones */
	bool cancelling;                   /* the echo has not come back */
	bool ended;

	/* Home's until cancel_mail is posted, then read by the fiber's loop. */
	struct torc__mail cancel_mail;
	const char *reason;
	int32_t status; /* 0: not cancelled */

	/* Away's; from the start there on, of the loop where the fiber starts. */
	struct torc__mail start_mail;
	const char *name;
	struct torc__locals *locals; /* what the child inherits; the child's from its start on */
	struct torc__fiber *fiber;   /* NULL before it starts and after it ends */
	struct torc__loop *passed_to;
	int32_t result;
	bool echo;    /* result is that of a cancellation */
	bool stopped; /* cancelled before it started */
	bool placed;  /* by load: may be passed on */
};

/* --- memory --- */

/*
 * Records are wanted in bursts, which is where malloc(3) is slow. So many stay with the loop that freed them; none
 * where a sanitizer is to see the use of one that is over.
 */
#if defined(TORC__ASAN) || defined(TORC__TSAN)
#define SPARE_MOST 0u
#else
#define SPARE_MOST 1024u
#endif

static struct torc__remote *allocate(struct torc__loop *loop)
{
	struct torc__remote *r = loop->spare_remotes;

	if (!r)
		return torc__calloc(1, sizeof(*r));
	loop->spare_remotes = r->next;
	loop->spare_remotes_count--;
	memset(r, 0, sizeof(*r));
	return r;
}

static void release(struct torc__loop *loop, struct torc__remote *r)
{
	if (loop->spare_remotes_count == SPARE_MOST) {
		torc__free(r);
		return;
	}
	r->next = loop->spare_remotes;
	loop->spare_remotes = r;
	loop->spare_remotes_count++;
}

void torc__remotes_done(struct torc__loop *loop)
{
	struct torc__remote *r = loop->spare_remotes, *next;

	for (; r; r = next) {
		next = r->next;
		torc__free(r);
	}
}

/* --- at home --- */

static void release_over(struct torc__loop *home, struct torc__remote *r)
{
	if (r->ended && !r->cancelling)
		release(home, r);
}

static void link_remote(struct torc__remote *r)
{
	struct torc_group *g = r->group;

	torc__group_check_open(g);
	r->next = g->remotes;
	r->link = &g->remotes;
	if (r->next)
		r->next->link = &r->next;
	g->remotes = r;
	g->live++;
	if (r->task)
		torc__task_start(g, r->task, NULL, r);
	if (g->scope.status)
		torc__remote_cancel(r, g->scope.status, torc__scope_why(&g->scope));
}

static void unlink_remote(struct torc__remote *r)
{
	*r->link = r->next;
	if (r->next)
		r->next->link = r->link;
}

static void deliver_adopt(struct torc__loop *home, struct torc__mail *mail)
{
	(void)home;
	link_remote(torc__container_of(mail, struct torc__remote, adopt_mail));
}

static void deliver_ended(struct torc__loop *home, struct torc__mail *mail)
{
	struct torc__remote *r = torc__container_of(mail, struct torc__remote, start_mail);
	struct torc_group *g = r->group;

	unlink_remote(r);
	if (r->task)
		torc__task_end(g, r->task, r->result, r->echo);
	if (r->result < 0 && !r->echo)
		torc__group_child_failed(g, &(struct torc_failure){ .result = r->result,
								    .name = r->name,
								    .fn = r->fn,
								    .arg = r->arg,
								    .spawn_site = r->spawn_site });
	torc__group_child_gone(g);
	r->ended = true;
	release_over(home, r);
}

static void deliver_echo(struct torc__loop *home, struct torc__mail *mail)
{
	struct torc__remote *r = torc__container_of(mail, struct torc__remote, cancel_mail);

	r->cancelling = false;
	release_over(home, r);
}

static void deliver_cancel(struct torc__loop *loop, struct torc__mail *mail);

void torc__remote_cancel(struct torc__remote *r, int status, const char *reason)
{
	if (r->status)
		return;
	r->status = status;
	r->reason = reason;
	r->cancelling = true;
	r->cancel_mail.deliver = deliver_cancel;
	torc__loop_post(r->away, &r->cancel_mail);
}

void torc__remote_cancel_all(struct torc__remote *r, int status, const char *reason)
{
	for (; r; r = r->next)
		torc__remote_cancel(r, status, reason);
}

void torc__remote_look(const struct torc__remote *r, struct torc__remote_view *ret_view)
{
	*ret_view = (struct torc__remote_view){
		.next = r->next,
		.group = r->group,
		.away = r->passed_to ? r->passed_to : r->away,
		.fiber = r->fiber,
		.fn = r->fn,
		.name = r->name,
		.spawn_site = r->spawn_site,
	};
}

/* --- where the fiber is --- */

static void report_end(struct torc__remote *r, int result, bool echo)
{
	r->fiber = NULL;
	r->result = result;
	r->echo = echo;
	r->start_mail.deliver = deliver_ended;
	torc__loop_post(r->home, &r->start_mail);
}

void torc__remote_ended(struct torc__fiber *f, int result, bool echo)
{
	f->remote->name = f->name;
	report_end(f->remote, result, echo);
}

/* Returns 0, or a negative errno. */
static int start(struct torc__remote *r, struct torc__loop *loop)
{
	int error;
	struct torc__fiber *f = torc__fiber_create(loop, r->class_index, r->fn, r->arg, &error);

	if (!f)
		return error;
	if (r->locals)
		f->locals = r->locals; /* else it has what its spawner has, which is here */
	f->name = r->name;
	f->spawn_site = r->spawn_site;
	f->remote = r;
	r->fiber = f;
	if (r->stopped)
		torc__scope_cancel(&f->base, r->status, r->reason);
	return 0;
}

static void send_start(struct torc__remote *r, struct torc__loop *to)
{
	__atomic_fetch_add(&to->load.coming, 1, __ATOMIC_RELAXED);
	torc__loop_post(to, &r->start_mail);
}

static void deliver_start(struct torc__loop *loop, struct torc__mail *mail)
{
	struct torc__remote *r = torc__container_of(mail, struct torc__remote, start_mail);
	struct torc__loop *to = r->placed && !r->passed_to ? torc__place_onward(loop) : loop;
	int error;

	__atomic_fetch_sub(&loop->load.coming, 1, __ATOMIC_RELAXED);
	if (to != loop) {
		r->passed_to = to;
		send_start(r, to);
		return;
	}
	error = start(r, loop);
	if (error) {
		torc__locals_drop(r->locals);
		if (r->unstarted)
			r->unstarted(r->arg, error);
		report_end(r, error, false);
	}
	torc__load_publish(loop);
}

static void deliver_cancel(struct torc__loop *loop, struct torc__mail *mail)
{
	struct torc__remote *r = torc__container_of(mail, struct torc__remote, cancel_mail);

	if (r->passed_to && r->passed_to != loop) {
		torc__loop_post(r->passed_to, mail);
		return;
	}
	if (r->fiber)
		torc__scope_cancel(&r->fiber->base, r->status, r->reason);
	else
		r->stopped = true; /* or it has ended, and nobody asks */
	mail->deliver = deliver_echo;
	torc__loop_post(r->home, mail);
}

/* --- the caller --- */

static struct torc__remote *create(struct torc__loop *from, struct torc_group *g,
				   struct torc__loop *away, const struct torc_spawn_options *o)
{
	struct torc__remote *r = allocate(from);

	if (!r)
		return NULL;
	r->home = g->scope.fiber->loop;
	r->away = away;
	r->group = g;
	if (o) {
		r->name = o->name;
		r->task = o->task;
		r->unstarted = o->unstarted;
		r->placed = o->loop == TORC_ON_LEAST_LOADED;
	}
	r->adopt_mail.deliver = deliver_adopt;
	r->start_mail.deliver = deliver_start;
	return r;
}

/* Tell the group, then start the fiber, unless that was done because it is here. */
static int launch(struct torc__remote *r, struct torc__loop *from)
{
	if (r->away == from) {
		int error = start(r, from);

		if (error) {
			release(from, r);
			return error;
		}
	}
	if (r->home == from)
		link_remote(r);
	else
		torc__loop_post(r->home, &r->adopt_mail);
	if (r->away != from)
		send_start(r, r->away);
	return 0;
}

int torc__remote_spawn(struct torc_group *g, const struct torc_spawn_options *o,
		       struct torc__loop *away, unsigned class_index, torc_fn *fn, void *arg,
		       const void *site)
{
	struct torc__loop *from = torc__loop();
	struct torc__remote *r;

	torc__check(!o || !o->task || g->scope.fiber->loop == from,
		    "a task is given for a group of another loop");
	r = create(from, g, away, o);
	if (!r)
		return -ENOMEM;
	r->fn = fn;
	r->arg = arg;
	r->spawn_site = site;
	r->class_index = class_index;
	if (away != from && from->current && torc__locals_copy(from->current->locals, &r->locals)) {
		release(from, r);
		return -ENOMEM;
	}
	return launch(r, from);
}
