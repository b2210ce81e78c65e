#!/usr/bin/env bats
# Signals that are sent by habit, or to everybody, and what an application makes of one: they end and stop nothing.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
    modes=("" --no-fork "--workers 1 --threads 2")
}

# family PID  prints the process, its children, and theirs.
family() {
    local pid
    echo "$1"
    for pid in $(children "$1"); do family "$pid"; done
}

# states PID...  prints the state of each that runs: T is stopped, Z has ended.
states() {
    local pids=" $* "
    ps -A -o pid=,stat= | awk -v pids="$pids" 'index(pids, " " $1 " ") { print substr($2, 1, 1) }'
}

# gunicorn's, uWSGI's and nginx's: more workers, fewer, another program, no workers.
@test "ends and stops nothing on TTIN, TTOU, USR2 and WINCH" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        start_server latch:app
        exec 5<>"$LATCH"
        curl -s -m 20 -o "$answer" "$url/wait" 3>&- & client=$!
        eventually arrived 1
        all=$(family "$server_pid" | tr '\n' ' ')
        for signal in TTIN TTOU USR2 WINCH; do
            for pid in $all; do kill -s "$signal" "$pid" 2>/dev/null || true; done
        done
        # shellcheck disable=SC2086
        [ "$(states $all | grep -c -v '[TZ]')" -eq "$(wc -w <<<"$all")" ]
        echo >&5
        wait_for "$client"
        [ "$(cat "$answer")" = "done" ]
        # shellcheck disable=SC2086
        [ "$(states $server_pid | grep -c -v '[TZ]')" -eq 1 ]
        rm "$LATCH.arrived"
        stop_server
        [ ! -s "$stderr" ]
    done
}

# reset_in_the_middle  has a client leave a response that is on its way, in two steps: after the first, a write raises
# EPIPE, and a signal.
reset_in_the_middle() {
    "$PYTHON" - "$port" <<'END'
import socket, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
assert client.recv(1000)
client.shutdown(socket.SHUT_WR)
time.sleep(0.1)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
client.close()
END
}

@test "outlives clients that leave, although the application has given SIGPIPE its default at import" {
    for SERVER_OPTIONS in "" --no-fork "--workers 1 --threads 2"; do
        start_server pipe_default:app
        before=$(curl -s -m 10 "$url")
        for _ in 1 2 3 4; do reset_in_the_middle; done
        after=$(curl -s -m 10 "$url")
        [ "$before" = "$after" ] || forks
        stop_server
        [ ! -s "$stderr" ]
    done
}

@test "ends well, and soon, although the application reaps its processes" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        start_server --graceful-timeout 3 reaps:app
        curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-4]"
        stop_server
        [ "$(grep -c Traceback "$stderr")" -eq 0 ]
    done
}
