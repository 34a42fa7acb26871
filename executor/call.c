#include <torc/executor/call.h>

int torc_process_call_run(void *arg, void **ret_value)
{
	struct torc_process_call *call = arg;
	int status;

	call->wait_status = 0;
	status = call->fn(call);
	if (status < 0)
		call->result_bytes = 0;
	*ret_value = call->result;
	return status;
}
