#!/usr/bin/env bats
# The bytes in the access log: those of the body that the kernel took, without its head, whatever became of them.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    log="$BATS_TEST_TMPDIR/log" answer="$BATS_TEST_TMPDIR/answer"
}

# start_counted ARGUMENT...  starts the server with an access log; what the kernel takes of it is on stderr.
start_counted() {
    [ -z "$server_pid" ] || stop_server
    altered shown-sends
    start_server --access-log "$log" "$@"
}

# head_of ARGUMENT...  sets head to the length of the head of this response, for curl, and begins to count anew.
head_of() {
    : >"$log"
    head=$(curl -s -m 10 -o "$answer" -w '%{size_header}' "$@")
    eventually test -s "$log"
    : >"$log"
    : >"$stderr"
}

# leaves REQUEST-LINE [TIMES]  resets the connection in the middle of what the server sends, and waits for the log.
leaves() {
    "$PYTHON" "$BATS_TEST_DIRNAME/leaves.py" "$port" "$stderr" "$@"
    eventually test -s "$log"
}

# logged LEAST MOST  succeeds when the log has numbers of bytes, whose sum is one of these; given  prints what the kernel took.
logged() {
    awk -v least="$1" -v most="$2" '$(NF - 3) !~ /^[0-9]+$/ { bad = 1 } { sum += $(NF - 3) }
        END { print sum " bytes logged, and not from " least " to " most; exit bad || sum < least || sum > most }' "$log"
}

given() {
    awk '/^send(file)? [0-9]+$/ { sum += $2 } END { print sum + 0 }' "$stderr"
}

@test "counts no byte for a client that was gone before the response" {
    for SERVER_OPTIONS in "" --no-fork "--workers 1 --threads 2"; do
        start_counted latch:app
        exec 5<>"$LATCH"
        : >"$log"
        leaves 'GET /wait HTTP/1.1' arrived
        logged 0 0
    done
}

# Written by the application, and spooled where the client does not take it. The end of the connection is its framing.
@test "counts of a response what the kernel took, and not what waited for it" {
    for SERVER_OPTIONS in "" --no-fork "--workers 1 --threads 2"; do
        start_counted blocks:app
        head_of --http1.0 -H 'Host: a' -H 'User-Agent:' -H 'Accept:' "$url/written"
        leaves 'GET /written HTTP/1.0'
        logged "$(($(given) - head))" "$(($(given) - head))"
    done
}

# The kernel takes some of the last response to a client that asks on and on, and perhaps not the whole of its head.
@test "counts nothing below zero" {
    for SERVER_OPTIONS in "" --no-fork; do
        start_counted hello:app
        head_of "$url"
        leaves 'GET / HTTP/1.1' 60000
        each=$((head + 14)) whole=$(($(given) / (head + 14))) last=$(($(given) % (head + 14) - head))
        logged "$((whole * 14 + (last > 0 ? last : 0)))" "$((whole * 14 + (last > 0 ? last : 0)))"
    done
}
