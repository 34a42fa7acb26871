#include <torc/executor/process.h>

#include <stdlib.h>

#include "executor/internal/process.h"

int torc__process_index = -1;
bool torc__process_begun;

void torc_process_begin(void)
{
	torc__process_begun = true;
	if (!secure_getenv(TORC__PROCESS_VARIABLE))
		return;
	unsetenv(TORC__PROCESS_VARIABLE);
	torc__process_index = TORC__PROCESSES_MOST;
	torc__server_main();
}

int torc_process_worker(void)
{
	return torc__process_index < (int)TORC__PROCESSES_MOST ? torc__process_index : -1;
}
