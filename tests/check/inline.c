/*
 * What tests/check/inline compiles in many ways, as C and as C++: the functions of core/gen.h that are in line have to
 * work in whatever code surrounds them. Everything here is about what a compiler keeps in registers over a
 * resume or a yield.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <torc/core/gen.h>

static int failures;

#define expect(condition)                                            \
	do {                                                         \
		if (!(condition)) {                                  \
			failures++;                                  \
			printf("%d: failed: " #condition, __LINE__); \
			putchar('\n');                               \
		}                                                    \
	} while (0)

#define ARG(value)   ((void *)(intptr_t)(value))
#define VALUE(value) ((intptr_t)(value))

static struct torc_gen *make(torc_gen_fn *fn, void *arg)
{
	struct torc_gen *g = NULL;

	if (torc_gen_create(fn, arg, NULL, &g) < 0)
		exit(2);
	return g;
}

/* --- static variables whose address nobody has --- */

static int turns, pulled;

static int take_turns(struct torc_gen *g, void *arg)
{
	int r = 0;

	(void)arg;
	while (!r) {
		turns = turns * 2 + 1;
		r = torc_gen_yield(g, ARG(turns), NULL);
		turns++;
	}
	return r;
}

static void statics(void)
{
	struct torc_gen *g = make(take_turns, NULL);
	int mine = 0, r;

	turns = 0;
	for (int i = 0; i < 10; i++) {
		void *value;
		int before = turns;

		r = torc_gen_next(g, &value);
		mine = (i ? mine + 1 : 0) * 2 + 1;
		expect(r == 1 && turns == mine && VALUE(value) == mine && before != turns);
		mine += 3;
		turns += 3;
	}
	torc_gen_destroy(g);
	expect(turns == mine + 1);
}

/* The same through functions that contain nothing else: gcc looks up which static variables a call can change. */
static __attribute__((noinline)) int pull(struct torc_gen *g)
{
	return torc_gen_next(g, NULL);
}

static __attribute__((noinline)) int hand_out(struct torc_gen *g)
{
	return torc_gen_yield(g, NULL, NULL);
}

static int pulled_body(struct torc_gen *g, void *arg)
{
	int r = 0;

	(void)arg;
	while (!r) {
		int before = ++pulled;

		r = hand_out(g);
		expect(pulled == before + 100);
	}
	return r;
}

static void statics_behind_calls(void)
{
	struct torc_gen *g = make(pulled_body, NULL);

	for (int i = 0; i < 10; i++) {
		int before = pulled;

		expect(pull(g) == 1);
		expect(pulled == before + 1);
		pulled += 100;
	}
	torc_gen_destroy(g);
	expect(pulled == 10 * 101);
}

/* --- values that live in registers, on both sides --- */

typedef double wide __attribute__((vector_size(32)));

struct live {
	long a, b, c, d, e, f, g, h;
	double x, y, z, w;
	float s, t;
	wide v;
};

#define LIVE(n, q)                                                                                \
	long a = (n), b = (n)*3, c = (n) ^ 0x5555, d = (n) + 7, e = ~(n), f = (n)*8, h = (n) | 1; \
	double x = (q), y = (q)*2, z = (q) + 1, w = (q) / 7;                                      \
	float s = (float)(q), t = (float)(q)*3;                                                   \
	wide v = { (q), (q) + 1, (q) + 2, (q) + 3 }

#define STILL_LIVE(n, q)                                                                           \
	(a == (n) && b == (n)*3 && c == ((n) ^ 0x5555) && d == (n) + 7 && e == ~(n) &&             \
	 f == (n)*8 && h == ((n) | 1) && x == (q) && y == (q)*2 && z == (q) + 1 && w == (q) / 7 && \
	 s == (float)(q) && t == (float)(q)*3 && v[0] == (q) && v[1] == (q) + 1 &&                 \
	 v[2] == (q) + 2 && v[3] == (q) + 3)

static int live_body(struct torc_gen *g, void *arg)
{
	long n = (long)VALUE(arg);
	double q = (double)n / 3;
	int r = 0;

	while (!r) {
		LIVE(n, q);
		r = torc_gen_yield(g, ARG(n), NULL);
		expect(STILL_LIVE(n, q));
		n++;
		q += 0.25;
	}
	return r;
}

static void registers(void)
{
	struct torc_gen *g = make(live_body, ARG(1000));
	double q = 0.125;

	for (long n = 5; n < 200; n++) {
		void *value;
		LIVE(n, q);
		int r = torc_gen_next(g, &value);

		expect(r == 1 && VALUE(value) == 1000 + n - 5);
		expect(STILL_LIVE(n, q));
		q *= 1.5;
	}
	torc_gen_destroy(g);
}

/* Sums that compilers make vectors of, with a resume in the middle. */
static int vector_body(struct torc_gen *g, void *arg)
{
	const float *in = (const float *)arg;
	float sums[16] = { 0 };
	int r = 0;

	for (int n = 0; !r; n++) {
		float sum = 0;

		for (int i = 0; i < 16; i++)
			sums[i] += in[i];
		for (int i = 0; i < 16; i++)
			sum += sums[i];
		r = torc_gen_yield(g, ARG(sum), NULL);
	}
	return r;
}

static void vectors(void)
{
	float in[16], products[16];
	struct torc_gen *g;

	for (int i = 0; i < 16; i++) {
		in[i] = (float)i;
		products[i] = 1;
	}
	g = make(vector_body, in);
	for (int n = 1; n <= 20; n++) {
		void *value;

		for (int i = 0; i < 16; i++)
			products[i] *= 2;
		expect(torc_gen_next(g, &value) == 1);
		expect(VALUE(value) == 120 * n);
		for (int i = 0; i < 16; i++)
			expect(products[i] == (float)(1 << n));
	}
	torc_gen_destroy(g);
}

/* --- frames of a size that is not known before, and library calls on a small stack --- */

static int frame_body(struct torc_gen *g, void *arg)
{
	int r = 0;

	for (size_t n = 1; !r && n < 50; n++) {
		char *text = (char *)__builtin_alloca(n * 8);

		snprintf(text, n * 8, "%zu %.3f %s", n, (double)n / 7, (const char *)arg);
		r = torc_gen_yield(g, text, NULL);
		expect(strtoul(text, NULL, 10) == n);
	}
	return r;
}

static void frames(void)
{
	struct torc_gen *g = make(frame_body, ARG("of many"));
	size_t n = 1;

	torc_gen_each(value, g) {
		char *mine = (char *)__builtin_alloca(64);

		snprintf(mine, 64, "%zu %.3f of many", n, (double)n / 7);
		expect(!strncmp(mine, (const char *)value, n * 8 - 1));
		n++;
	}
	expect(n == 50);
	torc_gen_destroy(g);
}

/* --- the loop, and generators in generators --- */

static int count(struct torc_gen *g, void *arg)
{
	int r = 0;

	for (intptr_t i = 1; i <= VALUE(arg) && !r; i++)
		r = torc_gen_yield(g, ARG(i), NULL);
	return r < 0 ? r : torc_gen_return(g, arg);
}

static int leave_loop(struct torc_gen *g, int how)
{
	torc_gen_each(value, g) {
		if (VALUE(value) < 3)
			continue;
		if (how == 0)
			break;
		if (how == 1)
			return 1;
		if (how == 2)
			goto out;
	}
	return 0;
out:
	return 2;
}

static int both(struct torc_gen *g, void *arg)
{
	struct torc_gen *inner = make(count, arg);
	void *result = NULL;
	int r = torc_gen_yield_from(g, inner, &result);

	torc_gen_destroy(inner);
	return r < 0 ? r : torc_gen_return(g, result);
}

static void loops(void)
{
	for (int how = 0; how < 4; how++) {
		struct torc_gen *g = make(how % 2 ? both : count, ARG(5));
		int left = leave_loop(g, how);

		expect(left == (how == 3 ? 0 : how));
		expect(torc_gen_state(g) == TORC_GEN_CLOSED && torc_gen_status(g) == 0);
		expect(VALUE(torc_gen_result(g)) == (how == 3 ? 5 : 0));
		torc_gen_destroy(g);
	}
}

/* --- sending --- */

static int adder(struct torc_gen *g, void *arg)
{
	intptr_t sum = VALUE(arg);
	void *sent = NULL;
	int r;

	while (!(r = torc_gen_yield(g, ARG(sum), &sent)))
		sum += VALUE(sent);
	return r == -EDOM ? torc_gen_return(g, ARG(sum)) : r;
}

static void sends(void)
{
	struct torc_gen *g = make(adder, ARG(1));
	intptr_t sum = 1;
	void *value = NULL;

	expect(torc_gen_next(g, &value) == 1);
	for (intptr_t i = 1; i < 100; i++) {
		sum += i;
		expect(torc_gen_send(g, ARG(i), &value) == 1 && VALUE(value) == sum);
	}
	expect(torc_gen_throw(g, -EDOM, &value) == 0 && VALUE(torc_gen_result(g)) == sum);
	torc_gen_destroy(g);
}

#ifdef __cplusplus
struct counted {
	int *live;
	explicit counted(int *n) : live(n)
	{
		++*live;
	}
	~counted()
	{
		--*live;
	}
};

static int live_objects;

static int with_object(struct torc_gen *g, void *arg)
{
	counted object(&live_objects);

	return count(g, arg);
}

static void objects(void)
{
	struct torc_gen *g = make(with_object, ARG(5));

	try {
		torc_gen_each(value, g) {
			expect(live_objects == 1);
			if (VALUE(value) == 3)
				throw 3;
		}
	} catch (int) {
		expect(live_objects == 0);
		live_objects = 7;
	}
	expect(live_objects == 7);
	torc_gen_destroy(g);
}
#else
static void objects(void) {}
#endif

int main(void)
{
	statics();
	statics_behind_calls();
	registers();
	vectors();
	frames();
	loops();
	sends();
	objects();
	return failures != 0;
}
