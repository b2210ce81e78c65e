#!/usr/bin/env bats
# What the system and the options refuse: descriptors, processes, children. It ends no server and loses no client.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
}

# A launcher that leaves the server $1 processes beside those that its user runs already; threads count.
# The limit does not bind root: then the server runs as nobody, which the system must let read what it runs.
limit_processes() {
    launch=("$PYTHON" -c 'import os, pwd, resource, subprocess, sys
user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
listing = ["ps", "-A", "-o", "ruid="] + ["-L"] * os.path.isdir("/proc/self/task")
running = subprocess.check_output(listing).split().count(b"%d" % user.pw_uid)
resource.setrlimit(resource.RLIMIT_NPROC, (running + int(sys.argv[1]),) * 2)
if os.getuid() == 0:
    os.setgroups([]), os.setgid(user.pw_gid), os.setuid(user.pw_uid)
os.execvp(sys.argv[2], sys.argv[2:])' "$1")
    chmod a+x "$BATS_RUN_TMPDIR"
    cp "$WEBSERVER" "$BATS_TEST_TMPDIR/webserver.py"
    WEBSERVER="$BATS_TEST_TMPDIR/webserver.py"
    for python in "$PYTHON" /usr/bin/python3; do
        if PYTHON=$python && "${launch[@]}" "$PYTHON" "$WEBSERVER" --version; then return; fi
    done
    skip "the user nobody can read no Python here"
}

# answers_although CALL:ERRNO...  starts the server with the first three calls of each failing: no client may notice.
answers_although() {
    local failures=("$@")
    altered "${failures[@]/%/:3}"
    start_server hello:app
    seq 10 | xargs -P 10 -I{} curl -sf -m 20 -o /dev/null "$url/{}"
    for failure in "${failures[@]}"; do [ "$(grep -c "^injected ${failure/:/ }$" "$stderr")" -eq 3 ] || return; done
    [ "$(grep -c Traceback "$stderr")" -eq 0 ]
}

# Clients come while every call of $1 fails with $2: the server neither spins nor misses TERM.
sleeps_while_fails() {
    altered "$1:$2:1000000"
    start_server --graceful-timeout 1 hello:app
    run curl -s -m 2 "$url"
    [ "$status" -eq 28 ]
    [ "$(grep -c "^injected $1 $2$" "$stderr")" -lt 1000 ]
}

@test "answers 100 quick clients with 64 descriptors" {
    launch=(bash -c 'ulimit -n 64 && exec "$@"' limited)
    start_server hello:app
    seq 10 | xargs -P 10 -I{} curl --fail-early -sf -m 10 -o /dev/null -H 'Connection: close' "$url/[1-10]"
}

@test "answers 100 clients that hold their connections with 64 descriptors" {
    launch=(bash -c 'ulimit -n 64 && exec "$@"' limited)
    start_server --keep-alive 60 --max-children 200 hello:app
    "$PYTHON" "$CLIENT" --max-conns 100 "$url"
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

@test "answers 100 clients that hold their connections with 64 descriptors and --no-fork" {
    launch=(bash -c 'ulimit -n 64 && exec "$@"' limited)
    start_server --keep-alive 60 --no-fork hello:app
    "$PYTHON" "$CLIENT" --max-conns 100 "$url"
}

@test "answers 120 clients that hold their connections with 30 processes" {
    limit_processes 30
    start_server --keep-alive 60 --max-children 1000
    "$PYTHON" "$CLIENT" --max-conns 120 "$url"
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
    [ "$(grep -c 'ulimit -u' "$stderr")" -eq 1 ]
}

@test "answers 120 clients that come at once with 30 processes" {
    limit_processes 30
    start_server --keep-alive 60 --max-children 1000
    "$PYTHON" "$CLIENT" --max-clients 4 --max-conns 30 "$url"
    [ "$(grep -c Traceback "$stderr")" -eq 0 ]
}

# bats test_tags=all
@test "answers 400 clients that hold their connections with the children it has by default" {
    start_server --keep-alive 60 hello:app
    "$PYTHON" "$CLIENT" --max-conns 400 "$url"
}

@test "never has more children than --max-children, and answers the connections that wait" {
    start_server --keep-alive 60 --max-children 2 latch:app
    exec 5<>"$LATCH"
    seq 4 | xargs -P 4 -I{} curl -sf -m 20 -o /dev/null "$url/wait?{}" 3>&- & client=$!
    eventually arrived 2
    run curl -s -m 1 "$url"
    [ "$status" -eq 28 ]
    has_children 2
    printf '%4s' "" >&5
    wait_for "$client"
}

@test "answers 40 clients that hold their connections with two children, and logs once which option raises that" {
    start_server --keep-alive 60 --max-children 2 hello:app
    "$PYTHON" "$CLIENT" --max-conns 40 "$url"
    "$PYTHON" "$CLIENT" --max-conns 10 "$url"
    [ "$(grep -c -- --max-children "$stderr")" -eq 1 ]
}

@test "answers although accept fails for want of descriptors (EMFILE)" {
    answers_although accept:EMFILE
}

# The system's descriptors, its buffers, its memory.
@test "answers although accept fails for want of anything else (ENFILE, ENOBUFS, ENOMEM)" {
    answers_although accept:ENFILE accept:ENOBUFS accept:ENOMEM
}

# No connection, one that has ended, an error of the protocol, a signal.
@test "answers although accept returns without a connection (EAGAIN, ECONNABORTED, EPROTO, EINTR), and logs nothing" {
    answers_although accept:EAGAIN accept:ECONNABORTED accept:EPROTO accept:EINTR
    [ "$(grep -v -c "^injected" "$stderr")" -eq 0 ]
}

@test "answers although fork fails for want of processes (EAGAIN)" {
    answers_although fork:EAGAIN
}

@test "answers although fork fails for want of memory (ENOMEM)" {
    answers_although fork:ENOMEM
}

@test "answers the client whose fork has failed so far on TERM" {
    altered fork:EAGAIN:20
    start_server hello:app
    curl -sf -m 20 -o /dev/null "$url" 3>&- & client=$!
    eventually grep -q "^injected" "$stderr"
    kill -TERM "$server_pid"
    wait_for "$client"
    wait_for "$server_pid"
    server_pid=
}

@test "ends within its graceful timeout although fork fails for a client that waits" {
    altered fork:EAGAIN:1000000:1 eviction_grace_s=60 # or the first would be evicted
    start_server --graceful-timeout 1 hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\n' >&6
    eventually has_children 1
    exec 7<>"/dev/tcp/127.0.0.1/$port"
    eventually grep -q "^injected" "$stderr"
    stop_server
}

# To show a traceback Python opens files.
@test "outlives a failure of the application while every descriptor is taken, with --no-fork" {
    altered room:1
    start_server --no-fork broken:app
    [ "$(curl -s -m 10 -o /dev/null -w '%{http_code}' "$url")" = "500" ]
    [ "$(curl -s -m 10 -o /dev/null -w '%{http_code}' "$url")" = "500" ]
    grep -q "GET / HTTP/1.1 failed" "$stderr"
}

@test "sleeps while there is no descriptor for the connections that wait" {
    sleeps_while_fails accept EMFILE
}

@test "sleeps while there is no process for the connections that wait" {
    sleeps_while_fails fork EAGAIN
}
