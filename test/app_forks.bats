#!/usr/bin/env bats
# What the application forks, in whatever mode and at whatever time: it has the default signal handlers, and no descriptor
# of the server's.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
    # A terminal, or whoever runs the tests, may leave descriptors open, and signals ignored.
    launch=("$PYTHON" -c 'import os, signal, sys; os.closerange(3, 256)
for signum in signal.SIGHUP, signal.SIGINT: signal.signal(signum, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])')
    modes=("" --no-fork "--workers 1 --threads 2")
}

# starts MODE ARGUMENT...
starts() {
    [ -z "$server_pid" ] || stop_server
    rm -f "$LATCH.forked"
    SERVER_OPTIONS=$1 start_server "${@:2}" forks_helpers:app
}

# forked  prints the numbers of what has been forked so far; have_forked N  succeeds when that is so many, or more.
forked() {
    awk '{ print $1 }' "$LATCH.forked"
}

have_forked() {
    [ "$(forked | grep -c .)" -ge "$1" ]
}

# let_go  ends what has been forked.
let_go() {
    local pid
    for pid in $(forked); do kill -KILL "$pid" 2>/dev/null || true; done
}

@test "leaves nothing of its own to what the application forks, at import, in a request and after HUP" {
    for mode in "${modes[@]}"; do
        starts "$mode"
        exec 6<>"/dev/tcp/127.0.0.1/$port"
        curl -sf -m 10 -o "$answer" "$url/fork"
        eventually have_forked 2
        if [ "$mode" != --no-fork ]; then
            kill -HUP "$server_pid"
            eventually have_forked 3
        fi
        run grep -v ' has \[\]$' "$LATCH.forked"
        let_go
        [ "$output" = "" ] || { echo "$mode: $output" && return 1; }
    done
}

@test "has TERM end what the application has forked" {
    for mode in "${modes[@]}"; do
        starts "$mode"
        curl -sf -m 10 -o "$answer" "$url/fork"
        eventually have_forked 2
        for pid in $(forked); do kill -TERM "$pid"; done
        # shellcheck disable=SC2046 # one word a process
        eventually gone $(forked)
        curl -sf -m 10 -o "$answer" "$url"
    done
}

# Two signals, as the server counts them for itself.
@test "keeps the file of its socket although a process that the application has forked is told to end, twice" {
    path="${BATS_TEST_TMPDIR#"$PWD/"}/socket"
    for mode in --no-fork "--workers 1"; do
        starts "$mode" --bind 127.0.0.1:0 --bind "unix:$path" >"$answer" || [ -n "$port" ]
        curl -sf -m 10 -o "$answer" --unix-socket "$path" http://a/fork
        eventually have_forked 2
        for signal in TERM TERM INT; do
            for pid in $(forked); do kill -s "$signal" "$pid" 2>/dev/null || true; done
        done
        # shellcheck disable=SC2046
        eventually gone $(forked)
        curl -sf -m 10 -o "$answer" --unix-socket "$path" http://a/
    done
}

# imports_twice MODE  has two processes forked, one before HUP and one after.
imports_twice() {
    starts "$1"
    eventually have_forked 1
    kill -HUP "$server_pid"
    eventually have_forked 2
    curl -sf -m 10 -o "$answer" "$url"
}

@test "ends soon, and frees its port, although what the application has forked at import lives on" {
    imports_twice "--workers 1"
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    kill -TERM "$server_pid"
    SECONDS=0
    ends_well
    [ "$SECONDS" -lt 15 ] # of 30 that it may take
    refused
    let_go
    imports_twice ""
    kill -KILL "$server_pid"
    server_pid=
    eventually refused
    let_go
}
