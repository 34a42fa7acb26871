# servers.bash - what proxies and connections share: a server on core 0, and what it takes. Sourced after common.bash.

# shellcheck source=../ports.bash
. "$here/../ports.bash"

server_pid=
load_pid=
control_pid=

stop() { # PID
	[[ $1 ]] || return
	kill -TERM "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

# A child that is ended before it has begun its own program still has these traps: it must leave all of this alone.
end_all() {
	[[ $BASHPID == "$$" ]] || return
	stop "$server_pid"
	stop "$load_pid"
	stop "$control_pid"
	[[ $work ]] && rm -rf "$work"
}
trap end_all EXIT

start_server() { # NAME PORT COMMAND... -> server_pid
	local name=$1 port=$2 tries
	shift 2

	taskset -c 0 "$@" >"$work/server" 2>&1 </dev/null &
	server_pid=$!
	for ((tries = 0; tries < 250; tries++)); do
		listens "$port" && return
		read -rt 0.02 <> <(:)
	done
	die 1 "$name does not listen: $(cat "$work/server")"
}

stop_server() {
	stop "$server_pid"
	server_pid=
}

# The processor time of a process, in ticks.
cpu_ticks() { # PID
	awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}

# One measured figure, for report.
row() { # PROGRAM BENCH METRIC UNIT VALUE
	printf '%s\t{"bench":"%s","metric":"%s","unit":"%s","value":%s}\n' "$@" >>"$work/rows"
}
