#!/usr/bin/env bats
# sd_notify(3): with Type=notify, systemd waits for READY=1, and knows a restart and an end from RELOADING=1 and STOPPING=1.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" TOLD="$BATS_TEST_TMPDIR/told" PYTHONPATH="$BATS_TEST_TMPDIR:$BATS_TEST_DIRNAME/apps"
    export PYTHONDONTWRITEBYTECODE=1 # a cache does not tell two files of one second and one size apart
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
    address="$BATS_TEST_TMPDIR/manager"
    modes=("" --no-fork "--workers 2")
    app_is 'from hello import app'
}

# app_is STATEMENT  makes the application.
app_is() {
    echo "$1" >"$BATS_TEST_TMPDIR/it.py"
}

# starts MODE ARGUMENT...  starts the server under a service manager that has got no message yet.
starts() {
    [ -z "$server_pid" ] || stop_server
    rm -f "$TOLD" "$address"
    launch=("$PYTHON" "$BATS_TEST_DIRNAME/notified.py" "$address")
    SERVER_OPTIONS=$1 start_server "${@:2}"
}

# told WORDS  succeeds when the main process has said this so far, but for what systemd does not need.
told() {
    [ "$(sed -n -E 's/^main ((READY|RELOADING|STOPPING)=.*)/\1/p' "$TOLD" | tr '\n' ' ')" = "$1 " ] ||
        { cat "$TOLD" && return 1; }
}

# of_main  succeeds when nobody but the main process has said anything: with NotifyAccess=main, systemd ignores others.
of_main() {
    [ "$(grep -c -v '^main ' "$TOLD")" -eq 0 ]
}

@test "notifies the service manager that it is ready, and that it stops" {
    for mode in "${modes[@]}"; do
        starts "$mode" it:app
        eventually told "READY=1"
        curl -sf -m 10 -o /dev/null "$url"
        stop_server
        eventually told "READY=1 STOPPING=1"
        of_main
    done
}

@test "notifies the service manager that it is ready when its application is imported, and not before" {
    app_is 'import latch_at_import; app = latch_at_import.app'
    exec 5<>"$LATCH"
    { eventually arrived 1 && { cat "$TOLD" || true; } && echo >&5; } >"$answer" 2>/dev/null 3>&- & letting=$!
    starts "" it:app
    wait_for "$letting"
    [ ! -s "$answer" ]
    eventually told "READY=1"
}

@test "notifies the service manager that it starts anew, and when it has" {
    starts "--workers 2" it:app
    eventually told "READY=1"
    kill -HUP "$server_pid"
    eventually told "READY=1 RELOADING=1 READY=1"
    kill -HUP "$server_pid"
    eventually told "READY=1 RELOADING=1 READY=1 RELOADING=1 READY=1"
    stop_server
    of_main
}

@test "notifies the service manager that it serves on where the new code is broken" {
    starts "" it:app
    eventually told "READY=1"
    app_is 'raise ValueError("broken on purpose")'
    kill -HUP "$server_pid"
    eventually told "READY=1 RELOADING=1 READY=1"
    curl -sf -m 10 -o /dev/null "$url"
}

@test "notifies that it stops before it drains, and starts without a service manager that listens" {
    starts "" latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 -o /dev/null "$url/wait" 3>&- & client=$!
    eventually arrived 1
    eventually told "READY=1"
    kill -TERM "$server_pid"
    eventually told "READY=1 STOPPING=1"
    echo >&5
    wait_for "$client"
    ends_well
    export NOTIFY_SOCKET="$BATS_TEST_TMPDIR/none"
    launch=()
    start_server it:app
    curl -sf -m 10 -o /dev/null "$url"
}

@test "notifies in the abstract name space, too" {
    [ "$(uname)" = Linux ] || skip "only Linux has one"
    address="@webserver.$BATS_TEST_TMPDIR"
    starts "" it:app
    eventually told "READY=1"
}
