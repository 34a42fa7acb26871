/*
 * executor/process/dispatch.c - from the queue into seats, and out of them.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "executor/internal/process.h"
#include "executor/internal/worker.h"

/* Who takes results and gives calls is in the midst of something else: the warden goes on with what is left then. */
#define ROUNDS_MOST 8u

/* A bay that has held more gives it back. */
#define BAY_KEPT ((uint64_t)4 << 20)

/* From a worker to one that has nothing to do goes only what has another call before it. */
#define RICH 2u

/*
 * How many calls a worker is given at a time, by how long its last ones took. One that waits for the program between two short
 * calls does nothing most of the time. Calls that take long are better off in the queue: they begin in their order.
 */
static const struct {
	uint64_t took_ns;
	uint32_t depth;
} depths[] = { { 50000, TORC__SLOTS }, { 1000000, 4 }, { 20000000, 2 } };

static size_t lines(size_t bytes)
{
	return (bytes + 63u) & ~(size_t)63;
}

static struct torc__slot *slot_at(const struct torc__member *m, uint32_t position)
{
	return &m->link->slots[position % TORC__SLOTS];
}

static struct torc__seat *seat_at(struct torc__member *m, uint32_t position)
{
	return &m->seats[position % TORC__SLOTS];
}

static uint32_t seated(const struct torc__member *m)
{
	return m->tail - m->done;
}

/* --- what a round leaves to be done outside of the guard --- */

static bool has_room(const struct torc__round *round)
{
	return round->outcomes_count < TORC__ROUND_MOST && round->bells_count < TORC__ROUND_MOST;
}

static void add_bell(struct torc__round *round, struct torc__bell *bell)
{
	for (unsigned i = 0; i < round->bells_count; i++)
		if (round->bells[i] == bell)
			return;
	round->bells[round->bells_count++] = bell;
}

static struct torc__outcome *add_outcome(struct torc__round *round, struct torc_future *f,
					 int status)
{
	struct torc__outcome *o = &round->outcomes[round->outcomes_count++];

	*o = (struct torc__outcome){ .future = f, .status = status };
	return o;
}

/* --- seats --- */

static struct torc__parcel parcel_of(const struct torc_future *f)
{
	const struct torc_process_call *call = f->arg;

	if (f->fn == torc__chunk_run)
		return ((const struct torc__chunk *)f->arg)->parcel;
	return (struct torc__parcel){
		.function = { call->private_[1], (uint32_t)call->private_[0] },
		.bell = (uint32_t)(call->private_[0] >> 32),
		.arg = call->arg,
		.arg_bytes = call->arg_bytes,
		.result = call->result,
		.result_bytes = call->result_bytes,
	};
}

/* Bytes that are to be copied, or made room for. */
static size_t copied(const struct torc__processes *p, const void *memory, size_t bytes)
{
	return torc__processes_shares(p, memory, bytes) ? 0 : lines(bytes);
}

static size_t parcel_bytes(const struct torc__processes *p, const struct torc__parcel *m)
{
	size_t result = copied(p, m->result, m->result_bytes);

	return copied(p, m->arg, m->arg_bytes) + copied(p, m->items, m->items_bytes) +
	       (result > TORC__INLINE_BYTES ? TORC__SKEW : 0) + result;
}

static uint64_t bay_at(const struct torc__processes *p, const struct torc__member *m, int bay)
{
	return m->link_at + p->region->bays + (uint64_t)bay * p->region->bay_bytes;
}

static int free_bay(const struct torc__member *m)
{
	for (int i = 0; i < (int)TORC__BAYS; i++)
		if (!(m->bays_used >> i & 1))
			return i;
	return -1;
}

/* Where bytes go, from *at on; what is shared stays where it is. */
static struct torc__span place(const struct torc__processes *p, const void *memory, size_t bytes,
			       uint64_t *at)
{
	struct torc__span span = { *at, bytes };

	if (torc__processes_shares(p, memory, bytes))
		span.at = (uint64_t)((const char *)memory - p->memory);
	else
		*at += lines(bytes);
	return span;
}

static struct torc__span put(const struct torc__processes *p, const void *memory, size_t bytes,
			     uint64_t *at)
{
	struct torc__span span = place(p, memory, bytes, at);

	if (bytes && p->memory + span.at != memory)
		memcpy(p->memory + span.at, memory, bytes);
	return span;
}

static void write_slot(struct torc__processes *p, struct torc__member *m, uint32_t position)
{
	struct torc__seat *seat = seat_at(m, position);
	struct torc__slot *slot = slot_at(m, position);
	const struct torc__parcel *parcel = &seat->parcel;
	uint64_t at = seat->bay < 0 ? (uint64_t)((const char *)slot->data - p->memory)
				    : bay_at(p, m, seat->bay);

	slot->function = parcel->function;
	slot->bell = parcel->bell;
	slot->count = parcel->count;
	slot->result_each = parcel->result_each;
	slot->arg = put(p, parcel->arg, parcel->arg_bytes, &at);
	slot->items = put(p, parcel->items, parcel->items_bytes, &at);
	/* Not as far into a page as what is read meanwhile: a processor takes one for the other. */
	if (parcel->result_bytes > TORC__INLINE_BYTES)
		at += TORC__SKEW;
	slot->result = place(p, parcel->result, parcel->result_bytes, &at);
	seat->result_at = slot->result.at;
}

static void free_seat(struct torc__processes *p, struct torc__member *m, uint32_t position)
{
	struct torc__seat *seat = seat_at(m, position);

	if (seat->bay >= 0)
		m->bays_used &= ~(1u << seat->bay);
	seat->phase = TORC__SEAT_EMPTY;
	m->taken--;
	p->seated--;
}

/* --- the queue --- */

static struct torc_future *take_queued(struct torc__processes *p)
{
	struct torc_future *f;

	if (torc__lane_take(&p->again, &f, 1, 1) || torc__lane_take(&p->queue, &f, 1, 1))
		return f;
	return NULL;
}

size_t torc__processes_queued(const struct torc__processes *p)
{
	return torc__lane_count(&p->again) + torc__lane_count(&p->queue);
}

static bool queue_empty(const struct torc__processes *p)
{
	return !torc__processes_queued(p);
}

/* It was in a seat, and has not begun: it can be cancelled again. There is room for all seats. */
static void queue_again(struct torc__processes *p, struct torc_future *f)
{
	__atomic_fetch_and(&f->event.state, ~TORC__FUTURE_RUNNING, __ATOMIC_RELEASE);
	torc__lane_put(&p->again, &f, 1);
}

/* One that was in a seat ends, or goes back into the queue. */
static void not_begun(struct torc__processes *p, struct torc_future *f, bool unwanted,
		      struct torc__round *round)
{
	if (unwanted || p->cancelling)
		add_outcome(round, f, 0)->end = TORC__END_CANCEL;
	else if (p->broken)
		add_outcome(round, f, -EPIPE);
	else
		queue_again(p, f);
}

bool torc__processes_idle(const struct torc__processes *p)
{
	return queue_empty(p) && !p->seated;
}

/* --- giving --- */

static uint32_t depth(const struct torc__member *m)
{
	for (size_t i = 0; m->took_ns && i < sizeof(depths) / sizeof(depths[0]); i++)
		if (m->took_ns < depths[i].took_ns)
			return depths[i].depth;
	return 1;
}

/* A long one counts for a while. */
static void learn(struct torc__member *m, uint64_t took_ns)
{
	m->took_ns = took_ns > m->took_ns / 2 ? took_ns : m->took_ns / 2;
}

/* The one with the least to do, or NULL: none has a free seat. */
static struct torc__member *pick(const struct torc__processes *p, bool needs_bay)
{
	struct torc__member *best = NULL;

	for (unsigned i = 0; i < p->members_count; i++) {
		struct torc__member *m = &p->members[i];

		if (m->state != TORC__MEMBER_READY ||
		    seat_at(m, m->tail)->phase != TORC__SEAT_EMPTY ||
		    (needs_bay && free_bay(m) < 0))
			continue;
		if (!m->busy)
			return m;
		if (m->busy < depth(m) && (!best || m->busy < best->busy))
			best = m;
	}
	return best;
}

void torc__member_dismiss(struct torc__processes *p, struct torc__member *m)
{
	p->ready -= m->state == TORC__MEMBER_READY;
	m->state = TORC__MEMBER_LEAVING;
	m->link->quit_at = m->tail;
	__atomic_store_n(&m->link->quit, 1, __ATOMIC_SEQ_CST);
}

static void publish(struct torc__member *m, uint32_t position, struct torc__round *round)
{
	seat_at(m, position)->phase = TORC__SEAT_TAKEN;
	__atomic_store_n(&slot_at(m, position)->state, TORC__SLOT_READY, __ATOMIC_SEQ_CST);
	add_bell(round, &m->link->bell);
}

static void seat(struct torc__processes *p, struct torc__member *m, struct torc_future *f,
		 const struct torc__parcel *parcel, size_t bytes, struct torc__round *round)
{
	uint32_t position = m->tail++;
	struct torc__seat *s = seat_at(m, position);

	*s = (struct torc__seat){ .future = f, .parcel = *parcel, .bay = -1 };
	m->taken++;
	m->busy++;
	m->given++;
	p->seated++;
	if (bytes <= TORC__INLINE_BYTES) {
		write_slot(p, m, position);
		publish(m, position, round);
	} else {
		s->bay = (int8_t)free_bay(m);
		m->bays_used |= 1u << s->bay;
		s->phase = TORC__SEAT_FILLING;
		round->fill = m;
		round->fill_position = position;
	}
	if (p->calls_max && m->given >= p->calls_max)
		torc__member_dismiss(p, m);
	add_bell(round, &m->link->bell);
}

/* Until the queue is empty, no seat is free, or the round has enough to do. */
static void fill(struct torc__processes *p, struct torc__round *round)
{
	while (!p->broken && !p->cancelling && p->ready && !queue_empty(p) && pick(p, false)) {
		struct torc_future *f;
		struct torc__parcel parcel;
		struct torc__member *m;
		size_t bytes;

		if (!has_room(round) || round->fill) {
			round->more = true;
			return;
		}
		f = take_queued(p);
		if (!torc__future_start(f)) {
			add_outcome(round, f, 0)->end = TORC__END_PUT;
			continue;
		}
		parcel = parcel_of(f);
		bytes = parcel_bytes(p, &parcel);
		m = pick(p, bytes > TORC__INLINE_BYTES);
		if (!m) {
			queue_again(p, f);
			return;
		}
		seat(p, m, f, &parcel, bytes, round);
	}
}

/* --- taking --- */

/* How many bytes of result there are, if that can be. */
static size_t believe(const struct torc__seat *s, uint64_t made, int *status)
{
	const struct torc__parcel *m = &s->parcel;

	if (made > (m->count ? m->count : m->result_bytes)) {
		*status = -EPIPE;
		return 0;
	}
	return m->count ? made * m->result_each : made;
}

/* The result of a seat that is done; it is free then, unless there is much to copy. */
static void take_done(struct torc__processes *p, struct torc__member *m, struct torc__round *round)
{
	uint32_t position = m->done++;
	struct torc__seat *s = seat_at(m, position);
	struct torc__slot *slot = slot_at(m, position);
	struct torc__outcome *o;

	__atomic_store_n(&slot->state, TORC__SLOT_FREE, __ATOMIC_RELAXED);
	if (!s->future) {
		free_seat(p, m, position);
		return;
	}
	p->calls++;
	m->busy--;
	learn(m, slot->took_ns);
	o = add_outcome(round, s->future, slot->status);
	o->parcel = s->parcel;
	o->made = believe(s, __atomic_load_n(&slot->made, __ATOMIC_RELAXED), &o->status);
	if (o->made && s->bay < 0 && p->memory + s->result_at != s->parcel.result)
		memcpy(s->parcel.result, p->memory + s->result_at, o->made);
	if (s->bay < 0) {
		free_seat(p, m, position);
		return;
	}
	s->phase = TORC__SEAT_EMPTYING;
	o->member = m;
	o->position = position;
}

static bool is_done(struct torc__member *m)
{
	return seated(m) && seat_at(m, m->done)->phase == TORC__SEAT_TAKEN &&
	       torc__slot_look(slot_at(m, m->done)) == TORC__SLOT_DONE;
}

static void collect(struct torc__processes *p, struct torc__round *round)
{
	for (unsigned i = 0; i < p->members_count; i++) {
		struct torc__member *m = &p->members[i];

		while (is_done(m)) {
			if (!has_room(round)) {
				round->more = true;
				return;
			}
			take_done(p, m, round);
		}
	}
}

/* --- evening out --- */

static struct torc__member *richest(const struct torc__processes *p)
{
	struct torc__member *best = NULL;

	for (unsigned i = 0; i < p->members_count; i++) {
		struct torc__member *m = &p->members[i];

		if (m->busy >= RICH && (!best || m->busy > best->busy))
			best = m;
	}
	return best;
}

/* Take the oldest back that it has not begun. Its slot remains, and is skipped. */
static bool take_back(struct torc__processes *p, struct torc__member *m)
{
	for (uint32_t at = m->done; at != m->tail; at++) {
		struct torc__seat *s = seat_at(m, at);

		if (s->phase != TORC__SEAT_TAKEN || !s->future ||
		    !torc__slot_change(slot_at(m, at), TORC__SLOT_READY, TORC__SLOT_VOID))
			continue;
		queue_again(p, s->future);
		s->future = NULL;
		m->busy--;
		m->given--;
		return true;
	}
	return false;
}

size_t torc__processes_idle_workers(const struct torc__processes *p)
{
	size_t n = 0;

	for (unsigned i = 0; i < p->members_count; i++)
		n += p->members[i].state == TORC__MEMBER_READY && !p->members[i].busy;
	return n;
}

size_t torc__member_waiting(const struct torc__member *m)
{
	size_t n = 0;

	for (uint32_t at = m->done; at != m->tail; at++)
		n += torc__slot_look(slot_at(m, at)) == TORC__SLOT_READY;
	return n;
}

static void even_out(struct torc__processes *p, struct torc__round *round)
{
	struct torc__member *rich;

	for (unsigned i = 0; i < p->members_count; i++) {
		if (!has_room(round) || round->fill || !queue_empty(p) ||
		    !torc__processes_idle_workers(p))
			return;
		rich = richest(p);
		if (!rich || !take_back(p, rich))
			return;
		fill(p, round);
	}
}

/* --- outside of the guard --- */

/* Returns false: a bay cannot have so much memory. */
static bool hold_bay(struct torc__processes *p, struct torc__member *m, int bay, uint64_t bytes)
{
	uint64_t held = m->bay_held[bay];

	if (bytes <= held)
		return true;
	if (torc__processes_hold(p, bay_at(p, m, bay) + held, bytes - held) < 0)
		return false;
	m->bay_held[bay] = bytes;
	return true;
}

static void shrink_bay(struct torc__processes *p, struct torc__member *m, int bay)
{
	uint64_t held = m->bay_held[bay];

	if (held <= BAY_KEPT)
		return;
	torc__processes_release(p, bay_at(p, m, bay) + BAY_KEPT, held - BAY_KEPT);
	m->bay_held[bay] = BAY_KEPT;
}

/* A member may wait for this to be started anew. */
static void call_if_waiting(const struct torc__member *m, struct torc__round *round)
{
	round->call_warden |= m->state == TORC__MEMBER_ABSENT;
}

/* Its seat, whose bay is filled now, unless there was no memory. Returns what became of its future, if that is over. */
static struct torc_future *settle(struct torc__processes *p, struct torc__round *round, bool filled,
				  int *ret_status)
{
	struct torc__member *m = round->fill;
	struct torc__seat *s = seat_at(m, round->fill_position);
	struct torc_future *f = s->future;

	*ret_status = -ENOMEM;
	if (s->orphaned && !filled) {
		free_seat(p, m, round->fill_position);
	} else if (s->orphaned) {
		not_begun(p, f, s->unwanted, round);
		free_seat(p, m, round->fill_position);
		round->more = true;
		f = NULL;
	} else if (filled && !s->unwanted && !p->cancelling) {
		publish(m, round->fill_position, round);
		f = NULL;
	} else {
		if (filled) {
			not_begun(p, f, true, round);
			f = NULL;
		}
		s->future = NULL;
		m->busy--;
		s->phase = TORC__SEAT_TAKEN;
		__atomic_store_n(&slot_at(m, round->fill_position)->state, TORC__SLOT_VOID,
				 __ATOMIC_SEQ_CST);
		add_bell(round, &m->link->bell);
	}
	call_if_waiting(m, round);
	return f;
}

static void ring_all(struct torc__round *round)
{
	for (unsigned i = 0; i < round->bells_count; i++)
		torc__bell_ring(round->bells[i]);
	round->bells_count = 0;
}

static void deliver(struct torc__outcome *o)
{
	struct torc_future *f = o->future;

	if (o->end == TORC__END_PUT) {
		torc_future_put(f);
		return;
	}
	if (o->end == TORC__END_CANCEL) {
		torc__future_abandon(f);
		return;
	}
	if (f->fn != torc__chunk_run) {
		struct torc_process_call *call = f->arg;

		call->result_bytes = o->status < 0 ? 0 : o->made;
		call->wait_status = o->wait_status;
	}
	torc__future_complete(f, o->status, o->parcel.result);
}

static void copy_in(struct torc__processes *p, struct torc__round *round)
{
	struct torc__member *m = round->fill;
	const struct torc__seat *s = seat_at(m, round->fill_position);
	bool filled = hold_bay(p, m, s->bay, parcel_bytes(p, &s->parcel));
	struct torc_future *f;
	int status;

	if (filled)
		write_slot(p, m, round->fill_position);
	torc__guard_lock(NULL, &p->guard);
	f = settle(p, round, filled, &status);
	torc__guard_unlock(&p->guard);
	round->fill = NULL;
	ring_all(round);
	if (f)
		deliver(&(struct torc__outcome){ .future = f, .status = status });
}

static void copy_out(struct torc__processes *p, struct torc__outcome *o, struct torc__round *round)
{
	struct torc__seat *s = seat_at(o->member, o->position);

	if (o->made && p->memory + s->result_at != o->parcel.result)
		memcpy(o->parcel.result, p->memory + s->result_at, o->made);
	shrink_bay(p, o->member, s->bay);
	torc__guard_lock(NULL, &p->guard);
	free_seat(p, o->member, o->position);
	call_if_waiting(o->member, round);
	torc__guard_unlock(&p->guard);
	round->more = true; /* there may be a call that has waited for the bay */
}

void torc__round_end(struct torc__processes *p, struct torc__round *round)
{
	ring_all(round);
	if (round->fill)
		copy_in(p, round);
	for (unsigned i = 0; i < round->outcomes_count; i++) {
		if (round->outcomes[i].member)
			copy_out(p, &round->outcomes[i], round);
		deliver(&round->outcomes[i]);
	}
	round->outcomes_count = 0;
	if (round->call_warden) /* the warden itself looks once more then */
		torc__warden_call(p);
}

/* --- rounds --- */

static void begin(struct torc__round *round)
{
	round->bells_count = round->outcomes_count = 0;
	round->more = round->call_warden = false;
	round->fill = NULL;
}

static void go_round(struct torc__processes *p, bool take)
{
	bool is_warden = torc__thread_current == &p->warden, over;
	struct torc__round round;
	unsigned rounds = 0;

	do {
		begin(&round);
		torc__guard_lock(NULL, &p->guard);
		if (take)
			collect(p, &round);
		fill(p, &round);
		even_out(p, &round);
		over = p->closed && torc__processes_idle(p);
		torc__guard_unlock(&p->guard);
		torc__round_end(p, &round);
	} while (round.more && (is_warden || ++rounds < ROUNDS_MOST));
	if ((over || round.more) && !is_warden)
		torc__warden_call(p);
}

void torc__processes_harvest(struct torc__processes *p)
{
	go_round(p, true);
}

void torc__processes_pump(struct torc__processes *p)
{
	go_round(p, false);
}

void torc__processes_refuse(struct torc__processes *p, int status)
{
	struct torc__round round;

	do {
		struct torc_future *f;

		begin(&round);
		torc__guard_lock(NULL, &p->guard);
		while (has_room(&round) && (f = take_queued(p)))
			if (!torc__future_start(f))
				add_outcome(&round, f, 0)->end = TORC__END_PUT;
			else if (status == -ECANCELED)
				add_outcome(&round, f, 0)->end = TORC__END_CANCEL;
			else
				add_outcome(&round, f, status);
		round.more = !queue_empty(p);
		torc__guard_unlock(&p->guard);
		torc__round_end(p, &round);
	} while (round.more);
}

/* --- cancelling --- */

static struct torc__member *find_seat(struct torc__processes *p, const struct torc_future *f,
				      uint32_t *ret_position)
{
	for (unsigned i = 0; i < p->members_count; i++) {
		struct torc__member *m = &p->members[i];

		for (unsigned j = 0; j < TORC__SLOTS; j++)
			if (m->seats[j].phase != TORC__SEAT_EMPTY && m->seats[j].future == f) {
				*ret_position = j;
				return m;
			}
	}
	return NULL;
}

enum cancelled { NOT, WITHDRAWN, LATER, CONDEMNED };

/* Inside the guard: of one that has a seat. */
static enum cancelled cancel_seated(struct torc__processes *p, struct torc__member *m, uint32_t at)
{
	struct torc__seat *s = seat_at(m, at);

	if (s->phase == TORC__SEAT_FILLING) {
		s->unwanted = true;
		return LATER;
	}
	if (s->phase != TORC__SEAT_TAKEN)
		return NOT;
	if (torc__slot_change(slot_at(m, at), TORC__SLOT_READY, TORC__SLOT_VOID)) {
		s->future = NULL;
		m->busy--;
		return WITHDRAWN;
	}
	if (!p->kill_on_cancel ||
	    !torc__slot_change(slot_at(m, at), TORC__SLOT_RUNNING, TORC__SLOT_CONDEMNED))
		return NOT;
	torc__member_kill(m, SIGKILL);
	return CONDEMNED;
}

/* The pool may be gone, with the future done: then there is nothing to cancel. */
bool torc__processes_cancel(struct torc_executor *executor, struct torc_future *f)
{
	struct torc__processes *p = torc__processes_pin(executor);
	enum cancelled cancelled = NOT;
	struct torc__member *m;
	uint32_t at = 0;

	if (!p)
		return false;
	torc__guard_lock(NULL, &p->guard);
	m = find_seat(p, f, &at);
	if (m)
		cancelled = cancel_seated(p, m, at);
	torc__guard_unlock(&p->guard);
	if (cancelled == CONDEMNED)
		torc__server_call(p);
	torc__processes_unpin(p);
	if (cancelled == WITHDRAWN)
		torc__future_abandon(f);
	return cancelled != NOT || (!m && torc__future_cancel_pending(f));
}

void torc__processes_cancel_given(struct torc__processes *p)
{
	struct torc__round round;

	do {
		begin(&round);
		torc__guard_lock(NULL, &p->guard);
		for (unsigned i = 0; i < p->members_count; i++) {
			struct torc__member *m = &p->members[i];

			for (uint32_t at = m->done; at != m->tail; at++) {
				struct torc__seat *s = seat_at(m, at);

				if (s->phase != TORC__SEAT_TAKEN || !s->future)
					continue;
				if (!has_room(&round)) {
					round.more = true;
					break;
				}
				if (!torc__slot_change(slot_at(m, at), TORC__SLOT_READY,
						       TORC__SLOT_VOID))
					continue;
				add_outcome(&round, s->future, 0)->end = TORC__END_CANCEL;
				s->future = NULL;
				m->busy--;
			}
		}
		torc__guard_unlock(&p->guard);
		torc__round_end(p, &round);
	} while (round.more);
}

/* --- a worker that is dead --- */

/* The one of its calls that it may have begun. */
static void fail_running(struct torc__processes *p, struct torc__seat *s, uint32_t state,
			 int wait_status, struct torc__round *round)
{
	struct torc__outcome *o =
		add_outcome(round, s->future, state == TORC__SLOT_CONDEMNED ? -ECANCELED : -EPIPE);

	o->wait_status = wait_status;
	p->calls++;
	if (state != TORC__SLOT_CONDEMNED) {
		p->crashes++;
		if (p->break_on_crash)
			torc__processes_break(p, -EPIPE);
	}
}

static void clear_seat(struct torc__processes *p, struct torc__member *m, uint32_t position,
		       bool first, int wait_status, struct torc__round *round)
{
	struct torc__seat *s = seat_at(m, position);
	uint32_t state = torc__slot_look(slot_at(m, position));

	if (s->phase == TORC__SEAT_FILLING) {
		s->orphaned = true;
		return;
	}
	if (s->future && first && state != TORC__SLOT_READY && state != TORC__SLOT_VOID)
		fail_running(p, s, state, wait_status, round);
	else if (s->future)
		not_begun(p, s->future, false, round);
	free_seat(p, m, position);
}

void torc__member_bury(struct torc__processes *p, struct torc__member *m, int wait_status,
		       struct torc__round *round)
{
	uint32_t first;

	begin(round);
	while (is_done(m))
		take_done(p, m, round);
	first = m->done;
	for (uint32_t at = first; at != m->tail; at++)
		clear_seat(p, m, at, at == first, wait_status, round);
	m->done = m->tail;
	m->busy = 0;
	if (m->state == TORC__MEMBER_READY)
		p->ready--;
	m->state = TORC__MEMBER_ABSENT;
	round->more = true;
}
