#!/usr/bin/env bats
# A response that only the end of its connection ends (RFC 9112 6.3, HTTP/1.0) has a clean end when it is whole, and else
# a reset: without it, a proxy passes what came on as a whole 200, and caches it.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
    modes=("" "--workers 1 --threads 2")
}

# asks PATH  asks by HTTP/1.0 in the background, and returns when the first block has come.
asks() {
    : >"$answer"
    curl -s -N -m 20 --http1.0 -o "$answer" "$url$1" 3>&- & client=$!
    eventually grep -q first "$answer"
}

# is_reset  succeeds when the connection ends by a reset: curl's 56. A clean end is 0, more that comes is 28.
is_reset() {
    local code=0
    wait_for "$client" || code=$?
    [ "$code" -eq 56 ] || { echo "curl ended with $code" && return 1; }
}

@test "resets a response without a length whose process dies" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        start_server half:app
        for path in /exit /kill /segfault; do
            asks "$path"
            is_reset || return
        done
        asks /whole
        wait_for "$client"
        stop_server
    done
}

# bats test_tags=fork
@test "resets a response without a length when its one process dies with --no-fork" {
    for path in /exit /kill; do
        start_server --no-fork half:app
        asks "$path"
        is_reset
        wait_for "$server_pid" || true
        server_pid=
    done
}

@test "resets a response without a length that --timeout ends" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        start_server --timeout 0.3 half:app
        asks /hang
        is_reset
        stop_server
    done
}

@test "resets a response without a length that the graceful timeout ends" {
    for SERVER_OPTIONS in --no-fork "${modes[@]}"; do
        start_server --graceful-timeout 0.3 half:app
        asks /endless
        kill -TERM "$server_pid"
        is_reset
        ends_well
    done
}

@test "resets a response without a length that a second signal ends" {
    for SERVER_OPTIONS in --no-fork "${modes[@]}"; do
        start_server half:app
        asks /endless
        kill -TERM "$server_pid"
        kill -INT "$server_pid"
        is_reset
        ends_well
    done
}

# What works by a reset is undone before the end, also for a client that has yet to take what was sent.
@test "ends a whole response without a length well, for a client that takes its time" {
    for SERVER_OPTIONS in "" --no-fork; do
        start_server blocks:app
        "$PYTHON" - "$port" <<'END'
import socket, sys, time
client = socket.socket()
client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
client.connect(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET / HTTP/1.0\r\n\r\n")
time.sleep(0.5)
assert sum(map(len, iter(lambda: client.recv(65536), b""))) > 9 * 600000
END
        stop_server
    done
}
