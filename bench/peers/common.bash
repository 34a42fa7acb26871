# common.bash - what run and pool share: options, building, alternating the programs, and the table. Sourced.
#
# A script defines help() and show() in awk, see report().

set -uo pipefail
export LC_ALL=C

readonly here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly program_s=60 # a program takes some seconds; one that hangs is ended

build=build
rounds=5
rounds_s=110 # on a busy machine no further round begins after so many seconds, unless --rounds was given
done_rounds=0
work=

die() { # STATUS MESSAGE
	echo "peers: $2" >&2
	exit "$1"
}

trap '[[ $work && $BASHPID == "$$" ]] && rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Sets the variable of each option; those that all scripts have are checked.
options() { # "OPTION..." ARGUMENT...
	local known=$1
	shift

	while (($#)); do
		if [[ $1 == --help ]]; then
			help
			exit 0
		fi
		[[ $1 == --* && " $known " == *" $1 "* ]] || die 2 "unknown argument '$1'; try --help"
		(($# >= 2)) || die 2 "$1 wants a value; try --help"
		printf -v "${1#--}" %s "$2"
		[[ $1 == --rounds ]] && rounds_s=
		shift 2
	done
	[[ $rounds =~ ^[1-9][0-9]?$ ]] || die 2 "--rounds wants a number from 1 to 99, not '$rounds'"
	[[ $build ]] || die 2 "--build wants a directory"
}

need() { # TOOL...
	local tool

	for tool in taskset timeout awk "$@"; do
		type -P "$tool" >/dev/null || die 2 "$tool is missing: make deps bench-peers installs it"
	done
	[[ -x $build/bin/torc-bench ]] || die 2 "$build/bin/torc-bench is missing: run make first"
}

work_directory() {
	work=$(mktemp -d) && mkdir -p "$build/peers" || die 1 "no directory to work in"
}

# ---- build ----

# No module from outside, and nothing written but below the build directory.
build_go() {
	local out

	out=$(realpath "$build")/peers
	(cd "$here/go" && GOCACHE=$out/go-cache GOENV=off GOFLAGS=-buildvcs=false GOPROXY=off GOTOOLCHAIN=local GOWORK=off \
		go build -o "$out/bench-go" .) || die 1 "bench-go does not build"
}

up_to_date() { # TARGET SOURCE...
	local target=$1 source
	shift

	for source; do
		[[ $target -nt $source ]] || return 1
	done
}

build_cxx() { # PEER FLAG...
	local peer=$1 out=$build/peers/bench-$1
	shift

	up_to_date "$out" "$here/$peer"/* "$here"/*.hpp "$0" "${BASH_SOURCE[0]}" && return
	g++ -std=c++17 -O2 -DNDEBUG -Wall -Wextra -o "$out" "$here/$peer"/*.cpp "$@" ||
		die 1 "bench-$peer does not build (its packages: make deps bench-peers)"
}

# ---- measure ----

# Those of the benches that this torc-bench has.
torc_benches() { # BENCH...
	local name known

	known=$("$build/bin/torc-bench" list | awk '{ print $1 }')
	for name; do
		grep -qx "$name" <<<"$known" && echo "$name"
	done
}

# Appends "program <tab> one JSON object" for each row.
measure() { # CPUS PROGRAM COMMAND...
	local cpus=$1 program=$2 status
	shift 2

	timeout -k 5 "$program_s" taskset -c "$cpus" "$@" >"$work/out"
	status=$?
	((status == 0)) || die 1 "$program failed with status $status: $*"
	sed "s/^/$program\t/" "$work/out" >>"$work/rows"
}

measure_rounds() { # COMMAND-OF-ONE-ROUND... -> done_rounds
	local start=$SECONDS

	: >"$work/rows"
	for ((done_rounds = 0; done_rounds < rounds; done_rounds++)); do
		[[ $rounds_s ]] && ((SECONDS - start > rounds_s)) && break
		"$@"
	done
}

# ---- report ----

# Prints a table of all that the peers measured, bench by bench. For each row it calls the awk function
# show(bench, metric), which calls line(bench, metric, metric of torc, label) for each line of the table. Of a unit
# per second more is better.
report() { # "PEER:HEADING..." AWK-CODE
	awk -F '\t' -v peers="$1" "$2"'
	function field(json, name,    at) { # the fields are flat, and no string in them has a quote
		at = index(json, "\"" name "\":")
		json = substr(json, at + length(name) + 3)
		if (sub(/^"/, "", json))
			sub(/".*/, "", json)
		else
			sub(/[,}].*/, "", json)
		return json
	}
	function median(program, row,    n, i, j, t, v) {
		n = count[program, row]
		for (i = 1; i <= n; i++)
			v[i] = value[program, row, i]
		for (i = 2; i <= n; i++)
			for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
				t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
			}
		return n == 0 ? "-" : n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
	}
	function figure(x) {
		return x == "-" ? x : sprintf(x < 0.1 ? "%.4f" : x < 100 ? "%.2f" : "%.0f", x)
	}
	function line(bench, metric, of_torc, label,    row, torc, x, i, more, best, ratio, figures) {
		row = bench SUBSEP metric
		torc = median("torc", bench SUBSEP of_torc)
		more = unit[row] ~ /\/s$/
		best = "-"
		for (i = 1; i <= programs; i++) {
			x = median(name[i], row)
			figures = figures sprintf(" %10s", figure(x))
			if (x != "-" && (best == "-" || (more ? x > best : x < best)))
				best = x
		}
		ratio = torc == "-" || best == "-" ? "-" : more ? torc / best : best / torc
		printf "%-8s %-50s %-4s %10s%s %8s  %s\n", bench, label, unit[row], figure(torc), figures, figure(ratio),
			ratio == "-" ? "-" : (ratio > 1 ? "ahead" : "behind")
	}
	function show_bench(bench,    i, part) {
		for (i = 1; i <= rows; i++) {
			split(order[i], part, SUBSEP)
			if (part[1] == bench)
				show(bench, part[2])
		}
	}
	BEGIN {
		programs = split(peers, name, " ")
		for (i = 1; i <= programs; i++) {
			split(name[i], pair, ":")
			name[i] = pair[1]
			headings = headings sprintf(" %10s", pair[2])
		}
	}
	{
		bench = field($2, "bench")
		row = bench SUBSEP field($2, "metric")
		if ($1 != "torc" && !(row in unit)) {
			unit[row] = field($2, "unit")
			order[++rows] = row
			if (!(bench in seen))
				bench_order[++benches] = bench
			seen[bench]
		}
		if (field($2, "value") != "null")
			value[$1, row, ++count[$1, row]] = field($2, "value") + 0
	}
	END {
		printf "%-8s %-50s %-4s %10s%s %8s  %s\n", "bench", "metric", "unit", "torc", headings, "ratio", "torc is"
		for (b = 1; b <= benches; b++)
			show_bench(bench_order[b])
	}' "$work/rows"
}
