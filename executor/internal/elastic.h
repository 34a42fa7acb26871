/*
 * executor/internal/elastic.h - see elastic.c.
 */
#ifndef TORC_EXECUTOR_INTERNAL_ELASTIC_H
#define TORC_EXECUTOR_INTERNAL_ELASTIC_H

#include <torc/executor/offload.h>

/*
 * End an elastic executor without waiting: what has not been started is cancelled, and the thread that ends last frees
 * it. For threads that nobody joins: on the simulator.
 */
void torc__elastic_abandon(struct torc_executor *executor);

#endif
