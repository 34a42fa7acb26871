#include "http/programs/load.h"

/*
 * A closed loop has no schedule: a connection that is through with its train takes the next one. The requests of an open loop
 * are due at even distances, and those of the loops alternate. They wait in no queue: which of them are due, and which of
 * those a connection has taken, are two numbers, so that any backlog takes no memory. Idle connections stand in line for
 * the mutex `next`; the first of them sleeps until a request is due, and takes it.
 */

uint64_t load_due(const struct load_loop *l, uint64_t request)
{
	const struct load *load = l->load;
	double of_all = (double)request * load->loop_count + l->index;

	return load->start_ns + (uint64_t)(of_all * 1e9 / (double)load->rate);
}

/* How many of this loop's requests are due at a moment. */
static uint64_t due_by(const struct load_loop *l, uint64_t moment_ns)
{
	const struct load *load = l->load;
	double due = (double)(moment_ns - load->start_ns) * (double)load->rate / 1e9;
	double of_loop = (due - l->index) / load->loop_count;

	return moment_ns < load->start_ns || of_loop < 0 ? 0 : (uint64_t)of_loop + 1;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The warm-up takes nothing from --requests. */
static unsigned take(struct load_connection *c, uint64_t most)
{
	struct load_loop *l = c->loop;
	uint64_t n = smaller(most, l->load->pipeline);

	if (c->measured) {
		n = smaller(n, l->budget_left);
		l->budget_left -= n;
		l->counts.requests += n;
	}
	c->first = l->claimed;
	c->count = (unsigned)n;
	c->done = 0;
	l->claimed += n;
	return c->count;
}

/* A turn may have begun before the whole: without a warm-up all counts, or --requests would not be kept to. */
static bool counts(const struct load *load, uint64_t moment_ns)
{
	return !load->warm_up_ns || moment_ns >= load->begin_ns;
}

static bool claim_now(struct load_connection *c)
{
	const struct load *load = c->loop->load;
	uint64_t now = torc_turn_ns();

	/* In this order: it may have been cancelled before the times were fixed. */
	if (torc_scope_status() < 0 || now >= load->end_ns)
		return false;
	c->sent_ns = now;
	c->measured = counts(load, now);
	return take(c, UINT64_MAX);
}

/* In the line's first place. */
static bool claim_due(struct load_connection *c)
{
	struct load_loop *l = c->loop;
	const struct load *load = l->load;
	uint64_t due_ns = load_due(l, l->claimed), now, backlog;

	/* What is due within the time is sent within it, or not at all. */
	if (due_ns >= load->end_ns || torc_sleep_until(due_ns) < 0)
		return false;
	now = torc_turn_ns();
	if (now >= load->end_ns)
		return false;
	c->sent_ns = now;
	c->measured = counts(load, due_ns);
	backlog = due_by(l, now);
	backlog = backlog > l->claimed ? backlog - l->claimed : 1;
	if (!take(c, backlog))
		return false;
	if (c->measured && backlog > l->counts.backlog_peak)
		l->counts.backlog_peak = backlog;
	for (unsigned i = 0; c->measured && i < c->count; i++)
		l->counts.late += now > load_due(l, c->first + i) + LOAD_LATE_NS;
	return true;
}

bool load_claim(struct load_connection *c)
{
	struct load_loop *l = c->loop;
	bool claimed;

	if (!l->load->rate)
		return claim_now(c);
	if (torc_mutex_lock(&l->next) < 0)
		return false;
	claimed = claim_due(c);
	torc_mutex_unlock(&l->next);
	return claimed;
}

void load_count_unsent(struct load_loop *l)
{
	const struct load *load = l->load;
	uint64_t due, begun;

	if (!load->rate || load->requests || load->over_ns <= load->begin_ns)
		return;
	due = due_by(l, load->over_ns - 1);
	begun = due_by(l, load->begin_ns - 1);
	begun = begun > l->claimed ? begun : l->claimed;
	l->counts.unsent = due > begun ? due - begun : 0;
}
