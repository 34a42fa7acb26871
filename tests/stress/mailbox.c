/*
 * Mailboxes under plain threads: nothing is lost, each sender's order is kept, and a receiver that sleeps is
 * woken, once per burst. First the mailbox by itself, then a loop that sleeps in its ring.
 */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <torc/torc.h>

#include "core/internal/fiber.h"
#include "tests/support/random.h"

#define SENDERS 4
#define MAILS   50000

struct letter {
	struct torc__mail mail; /* first */
	int sender, number;
};

static struct letter letters[SENDERS][MAILS];
static struct torc__mailbox box;
static struct torc__loop *volatile loop;
static sem_t wake;
static int next[SENDERS], received, sleeps, wakes, failures;

static void fail(const char *what)
{
	if (!failures++)
		printf("failed: %s\n", what);
}

static void receive(struct torc__loop *at, struct torc__mail *mail)
{
	struct letter *l = (struct letter *)(void *)mail;

	(void)at;
	if (l->number != next[l->sender]++)
		fail("a sender's order is kept");
	received++;
}

static void rest(uint64_t *seed)
{
	if (next_random(seed) % 256 == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

static void *send_all(void *arg)
{
	int sender = (int)(intptr_t)arg;
	uint64_t seed = (uint64_t)sender;

	for (int i = 0; i < MAILS; i++) {
		struct letter *l = &letters[sender][i];

		*l = (struct letter){ .mail.deliver = receive, .sender = sender, .number = i };
		if (loop)
			torc__loop_post(loop, &l->mail);
		else if (torc__mailbox_push(&box, &l->mail))
			sem_post(&wake);
		rest(&seed);
	}
	return NULL;
}

static void start(pthread_t *threads)
{
	received = 0;
	for (int i = 0; i < SENDERS; i++) {
		next[i] = 0;
		if (pthread_create(&threads[i], NULL, send_all, (void *)(intptr_t)i))
			exit(77);
	}
}

static void join(pthread_t *threads)
{
	for (int i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
}

/* Every sleep is ended by a wake-up, or the test by a timeout: one was lost. */
static void sleep_in_box(void)
{
	struct timespec until;

	if (!torc__mailbox_sleep(&box))
		return;
	sleeps++;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	if (sem_timedwait(&wake, &until))
		fail("a wake-up was lost");
	else
		wakes++;
	torc__mailbox_awake(&box);
}

static void alone(void)
{
	pthread_t threads[SENDERS];

	sem_init(&wake, 0, 0);
	start(threads);
	while (received < SENDERS * MAILS && !failures) {
		struct torc__mail *mail = torc__mailbox_take(&box), *after;

		if (!mail)
			sleep_in_box();
		for (; mail; mail = after) {
			after = mail->next;
			mail->deliver(NULL, mail);
		}
	}
	join(threads);
	if (wakes != sleeps || sem_trywait(&wake) == 0)
		fail("one wake-up per sleep");
}

static int on_loop(void *arg)
{
	pthread_t threads[SENDERS];
	struct torc_scope s;

	(void)arg;
	loop = torc__loop();
	torc_scope_enter(&s, TORC_SECONDS(60));
	start(threads);
	while (received < SENDERS * MAILS && !torc_scope_status())
		torc_sleep(TORC_MS(1));
	if (torc_scope_leave(&s))
		fail("the loop received all");
	join(threads);
	return 0;
}

int main(void)
{
	alone();
	if (torc_run(NULL, on_loop, NULL))
		fail("torc_run");
	setenv("TORC_DISABLE", "single_issuer,min_wait", 1);
	if (torc_run(NULL, on_loop, NULL))
		fail("torc_run without single_issuer");
	printf("%d sleeps, %d wake-ups, %d failures\n", sleeps, wakes, failures);
	return failures != 0;
}
