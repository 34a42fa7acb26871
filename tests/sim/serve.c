/*
 * Scenarios of files, connections, servers and their clients, for the simulator.
 *
 *	build/tests/sim-serve --help
 */
#include <torc/core/sim.h>

#include "tests/sim/app.h"
#include "tests/sim/client.h"
#include "tests/sim/dial.h"
#include "tests/sim/echo.h"
#include "tests/sim/files.h"
#include "tests/sim/listen.h"
#include "tests/sim/pair.h"
#include "tests/sim/streams.h"
#include "tests/sim/tls.h"
#include "tests/sim/udp.h"
#include "tests/sim/web.h"

int main(int argc, char **argv)
{
	static const struct torc_sim_scenario scenarios[] = {
		{ .name = "app", .fn = app_scenario },
		{ .name = "client", .fn = client_scenario },
		{ .name = "dial", .fn = dial_scenario },
		{ .name = "echo", .fn = echo_scenario },
		{ .name = "files", .fn = files_scenario },
		{ .name = "http", .fn = web_scenario },
		{ .name = "listen", .fn = listen_scenario },
		{ .name = "pair", .fn = pair_scenario },
		{ .name = "udp", .fn = udp_scenario },
		{ .name = "streams", .fn = streams_scenario },
		{ .name = "echo-pair", .fn = echo_pair_scenario },
		{ .name = "tls", .fn = tls_scenario },
		{ .name = NULL },
	};

	tls_make_keys();
	return torc_sim_main(argc, argv, scenarios);
}
