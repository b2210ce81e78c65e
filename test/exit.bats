#!/usr/bin/env bats
# What the application leaves with atexit: it runs once, at the graceful end of the process where it was registered, and
# nowhere else. (Events that wait for Sentry or OpenTelemetry, data of coverage, temporary folders.)

load test_helper

setup() {
    export EXITS="$BATS_TEST_TMPDIR/exits"
    modes=("" --no-fork "--workers 2 --threads 2")
}

# starts MODE [ARGUMENT...]  starts the server in this mode, with nothing noted yet.
starts() {
    rm -rf "$EXITS" "$BATS_TEST_TMPDIR/stdout"
    mkdir "$EXITS"
    SERVER_OPTIONS=$1 start_server "${@:2}" exits:app
}

# noted NAME  prints how many processes have noted this; has N NAME  succeeds when it is so many, or more.
noted() {
    cat "$EXITS/$1" 2>/dev/null | grep -c . || true
}

has() {
    [ "$(noted "$2")" -ge "$1" ]
}

# importers MODE  prints how many processes import the application.
importers() {
    case $1 in *workers*) echo 2 ;; *) echo 1 ;; esac
}

# all_exited N  succeeds when N processes have imported the application, and these, and no others, have run what they had
# registered, once, have printed, and have removed their temporary folders.
all_exited() {
    (cd "$EXITS" && grep -n . imported exited; ls) || true
    [ "$(noted imported)" -eq "$1" ]
    [ "$(sort "$EXITS/imported")" = "$(sort "$EXITS/exited")" ]
    [ "$(cd "$EXITS" && echo of-import.*)" = "of-import.*" ]
    eventually has_printed "$1"
}

has_printed() {
    [ "$(tr '|' '\n' <"$stdout" | grep -c 'left$')" -eq "$1" ]
}

# serves TIMES  asks so often, on connections of their own.
serves() {
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-$1]"
}

@test "runs what was left with atexit once in each process that has imported the application" {
    for mode in "${modes[@]}"; do
        starts "$mode"
        serves 4
        stop_server
        all_exited "$(importers "$mode")"
    done
}

@test "runs what was left with atexit although threads live, and waits for none of these" {
    for mode in "${modes[@]}"; do
        ENDING=thread starts "$mode"
        serves 2
        stop_server INT
        all_exited "$(importers "$mode")"
    done
    ENDING=daemon starts ""
    stop_server
    all_exited 1
}

@test "runs what the code before HUP has left with atexit when that ends, and leaves nothing of it" {
    for mode in "" "--workers 2"; do
        starts "$mode"
        for times in 1 2; do
            kill -HUP "$server_pid"
            eventually has "$((times * $(importers "$mode")))" exited
            serves 2
        done
        stop_server
        all_exited "$((3 * $(importers "$mode")))"
    done
}

@test "runs what was left with atexit in a worker that has served its share" {
    mode="--workers 1 --threads 2"
    starts "$mode" --max-requests 2
    serves 3
    eventually has 1 exited
    eventually has 2 imported
    stop_server
    all_exited "$(noted imported)"
}

@test "runs in a worker what requests have left with atexit" {
    for mode in --no-fork "--workers 1 --threads 2"; do
        starts "$mode"
        curl -s -m 10 -o /dev/null "$url/register"
        stop_server
        [ "$(cat "$EXITS/registered" "$EXITS/imported")" = "$(cat "$EXITS/exited")" ]
    done
}

@test "runs what was left with atexit in the process that has imported with --preload, and in no worker" {
    mode="--workers 2 --threads 2 --preload"
    starts "$mode" --max-requests 2
    serves 5
    stop_server
    all_exited 1
}

@test "ends when its graceful timeout has passed although a function that was left with atexit never returns" {
    for mode in "${modes[@]}"; do
        ENDING=hangs starts "$mode" --graceful-timeout 1
        SECONDS=0
        stop_server
        [ "$SECONDS" -lt 15 ]
        [ "$(noted exited)" -eq "$(importers "$mode")" ] # the other one ran
    done
}

# A child for one connection has inherited them.
@test "runs no function of the process that has imported in a child for a connection" {
    starts ""
    serves 4
    eventually rests
    [ "$(noted exited)" -eq 0 ]
}

@test "writes what waits in files that the application has left open" {
    for mode in "" "--workers 2"; do
        starts "$mode"
        serves 2
        stop_server
        [ "$(sort "$EXITS/buffered")" = "$(sort "$EXITS/imported")" ]
    done
}

# Succeeds when none of the first N helpers, which have all been started, runs; one that nobody has reaped does not run.
helpers_gone() {
    local pids
    has "$1" helpers && pids=" $(head -n "$1" "$EXITS/helpers" | tr '\n' ' ')" || return
    ps -A -o pid=,stat= | awk -v pids="$pids" 'index(pids, " " $1 " ") && $2 !~ /^Z/ { found = 1 } END { exit found }'
}

# It is in C, where no handler of Python's runs.
# bats test_tags=fork
@test "ends a child whose request has left a function with atexit that never returns" {
    own_folder
    app_is 'import atexit, itertools
def app(environ, start_response):
    atexit.register(sum, itertools.repeat(0))
    start_response("200 OK", [("Connection", "close")])
    return [b"done"]'
    start_server --graceful-timeout 1 app:app
    curl -sf -m 10 -o /dev/null "$url"
    eventually rests
}

# A thread of the Server writes to a file, of which each child has what waits to be written.
# bats test_tags=fork
@test "writes nothing twice that waits in a file, although a request leaves a function with atexit" {
    own_folder
    app_is 'import atexit, itertools, threading, time
log = open("log", "w")
def write():
    for number in itertools.count():
        print(number, file=log)
        time.sleep(0.05)
threading.Thread(target=write, daemon=True).start()
def app(environ, start_response):
    atexit.register(int)
    start_response("200 OK", [])
    return [b"done"]'
    start_server app:app
    sleep 0.3
    for _ in 1 2 3; do curl -sf -m 10 -o /dev/null "$url"; done
    stop_server
    [ "$(grep -c . "$folder/log")" -gt 4 ]
    [ "$(sort "$folder/log" | uniq -d | grep -c .)" -eq 0 ]
}

@test "ends the helpers that the application has started at import, and keeps what waits in its log" {
    for mode in "" "--workers 2"; do
        rm -rf "$EXITS"
        mkdir "$EXITS"
        SERVER_OPTIONS=$mode start_server helpers:app
        all=$(importers "$mode")
        kill -HUP "$server_pid"
        eventually helpers_gone "$all"
        all=$((all * 2))
        stop_server
        helpers_gone "$all"
        [ "$(noted helpers)" -eq "$all" ]
        [ "$(noted logged)" -eq "$all" ]
    done
}
