# ports.bash - who has a port of 127.0.0.1. Sourced by compare and by peers/servers.bash.

# Is a TCP socket listening there? Not by connecting: a proxy would connect too.
listens() { # PORT
	grep -q ":$(printf %04X "$1") 00000000:0000 0A" /proc/net/tcp
}

# Is a UDP socket bound there? Nobody answers an empty question.
bound() { # PORT
	grep -q " 0100007F:$(printf %04X "$1") " /proc/net/udp
}

# Below the ephemeral range, so that no connection of ours holds it.
free_port() {
	local port

	while :; do
		port=$((10000 + RANDOM % 20000))
		listens "$port" || bound "$port" || break
	done
	echo "$port"
}
