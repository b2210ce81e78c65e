#!/usr/bin/env bats
# What happens around the server: a full disk, output that is closed or not read, a terminal that goes away, STOP.

load test_helper

setup() {
    own_folder
}

# in_folder ARGUMENT...  becomes a server in $folder, on $port.
in_folder() {
    cd "$folder" && exec "$PYTHON" "$PROGRAM" --bind "127.0.0.1:$port" "$@"
}

@test "answers and starts anew although stdout and stderr are on a full disk" {
    [ -c /dev/full ] || skip "there is no /dev/full here"
    free_port
    app_is 'app = says(1 / 1)'
    in_folder --verbose app:app >/dev/full 2>/dev/full 3>&- 4>&- & server_pid=$!
    eventually answers 1.0
    [ "$(raw <<<"nonsense" | statuses)" = "400" ]
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    eventually answers two
}

@test "answers 500, and logs why, where no space is left for a body" {
    free_port
    (ulimit -f 1000 && in_folder echo:app) >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
    eventually curl -s -o /dev/null "$url"
    head -c 3000000 /dev/zero >"$BATS_TEST_TMPDIR/body"
    run curl -s -m 20 -o /dev/null -w '%{http_code}' -H Expect: --data-binary "@$BATS_TEST_TMPDIR/body" "$url"
    [ "$output" = "500" ]
    stderr_has 1 'File too large'
    [ "$(curl -s -m 10 -d small "$url")" = "small" ]
}

@test "starts anew although stdout and stderr are closed" {
    free_port
    in_folder app:app 0<&- 1>&- 2>&- 3>&- 4>&- & server_pid=$!
    eventually answers one
    app_is 'import standard_streams; app = standard_streams.app'
    kill -HUP "$server_pid"
    eventually answers "null null null"
}

@test "starts anew although its stdout and stderr are no longer read" {
    free_port
    mkfifo "$BATS_TEST_TMPDIR/output"
    exec 7<>"$BATS_TEST_TMPDIR/output"
    in_folder --workers 1 --verbose app:app >"$BATS_TEST_TMPDIR/output" 2>&1 3>&- 4>&- 7>&- & server_pid=$!
    eventually answers one
    exec 7<&-
    [ "$(raw <<<"nonsense" | statuses)" = "400" ]
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    eventually answers two
}

@test "goes on where it was after STOP and CONT, with the connections of meanwhile" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        holds
        kill -STOP -- "-$server_pid"
        exec 7<>"/dev/tcp/127.0.0.1/$port"
        ask 7
        lets_go_later() { kill -CONT -- "-$server_pid" && lets_go "done"; }
        lets_go_later
        ask 6
        for fd in 6 7; do done_on "$fd"; done
        stop_server
    done
    [ ! -s "$stderr" ]
}

# With it goes stderr, and comes HUP.
@test "outlives the terminal that it was started from" {
    free_port
    mkfifo "$BATS_TEST_TMPDIR/started"
    (cd "$folder" && exec "$PYTHON" "$BATS_TEST_DIRNAME/hang_up.py" "$PYTHON" "$PROGRAM" --bind "127.0.0.1:$port" app:app) \
        >"$BATS_TEST_TMPDIR/started" 2>/dev/null 3>&- 4>&- & client=$!
    read -r -t 10 server line <"$BATS_TEST_TMPDIR/started"
    eventually answers one
    app_is 'app = says("two")'
    kill -HUP "$server"
    eventually answers two
    kill -TERM "$server"
    wait_for "$client"
}

# Prints how often the server's processes have gone to sleep so far.
naps() {
    local pids
    pids=$(processes) || return
    for process in $pids; do awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$process/status"; done
}

@test "sleeps in the kernel while nothing happens, and lets its children sleep" {
    [ -r /proc/self/status ] || skip "no /proc tells here how often a process sleeps"
    start_server --keep-alive 60 latch:app
    keep_open 6
    read -r -t 1 <>"$LATCH" || true # a second for the answer's last steps
    before=$(naps)
    read -r -t 2 <>"$LATCH" || true
    [ "$(naps)" = "$before" ]
}

@test "keeps its listener and its connections apart from descriptors that were missing at the start" {
    start_server
    stop_server
    (cd "$BATS_TEST_DIRNAME/apps" && exec "$PYTHON" "$PROGRAM" --bind "127.0.0.1:$port" printing:app 0<&- 1>&- 2>&- 3>&-) &
    server_pid=$!
    eventually curl -sf -m 20 -o /dev/null "$url/line"
    [ "$(curl -s -m 20 "$url/partial")" = "ok" ]
    [ "$(curl -s -m 20 "$url/line")" = "ok" ]
}
