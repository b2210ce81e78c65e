#!/usr/bin/env bats
# What clients send stays with them: a process remembers no long values, of cookies and credentials above all, and few heads.

load test_helper

# private PID  prints the kB of memory that the process has for itself.
private() {
    awk '/^Private_(Clean|Dirty):/ { sum += $2 } END { print sum }' "/proc/$1/smaps_rollup"
}

# sends_much TIMES WIDTH  sends so many requests, of which no two have a line in common, with values of this width.
sends_much() {
    "$PYTHON" - "$port" "$@" <<'END'
import socket, sys
times, width = map(int, sys.argv[2:])
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
for number in range(times):
    value = b"%d" % number + b"x" * width
    lines = b"GET /%d HTTP/1.1" % number, b"Host: " + value, b"Connection: keep-alive, " + value
    lines += b"Cookie: " + value, b"Authorization: Basic " + value, b"X-Forwarded-For: " + value, b"X-Any: " + value
    client.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
    assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
END
}

@test "keeps nothing of what clients send, however many long values come" {
    [ -r /proc/self/smaps_rollup ] || skip "no /proc tells here what a process has for itself"
    for SERVER_OPTIONS in --no-fork "--workers 1"; do
        start_server pid:app
        process=$(curl -s -m 10 "$url")
        before=$(private "$process")
        sends_much 1200 100 # and long ones last, which would take the place of short ones
        sends_much 600 7900
        grown=$(($(private "$process") - before))
        echo "$SERVER_OPTIONS: grown by $grown kB"
        [ "$grown" -lt 4000 ]
        stop_server
    done
}
