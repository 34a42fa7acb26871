/*
 * core/internal/overflow.h - a stack overflow is reported with the fiber's name, not as a bare SIGSEGV.
 *
 * The handler runs on an alternate stack, one per loop. Faults elsewhere go to whatever handler was there.
 */
#ifndef TORC_CORE_INTERNAL_OVERFLOW_H
#define TORC_CORE_INTERNAL_OVERFLOW_H

/* Install and remove the handler of the process; by torc_run only. */
void torc__overflow_install(void);
void torc__overflow_remove(void);

/* The alternate stack of the calling thread. Returns it, or NULL: then overflows are plain faults. */
void *torc__overflow_thread_begin(void);
void torc__overflow_thread_end(void *stack);

#endif
