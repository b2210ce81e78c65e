#!/usr/bin/env bats
# What workers promise beyond what every mode does: to share connections, to be replaced, to end what hangs, threads.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" FAILURES="$BATS_TEST_TMPDIR/failures"
    mkfifo "$LATCH"
}

# spreads COUNT LEAST MOST [one-by-one]  opens so many connections, and succeeds when each worker has its share.
spreads() {
    "$PYTHON" "$BATS_TEST_DIRNAME/spread.py" "$port" "$1" ${4+"$4"} >"$BATS_TEST_TMPDIR/shares"
    awk -v least="$2" -v most="$3" -v workers="$(children "$server_pid" | grep -c .)" '
        { print; exit !(NF == workers && $1 >= least && $NF <= most) }' "$BATS_TEST_TMPDIR/shares"
}

# Kills the first worker, and waits until another is there.
kill_a_worker() {
    local victim count
    count=$(children "$server_pid" | grep -c .)
    victim=$(children "$server_pid" | head -n 1)
    kill -KILL "$victim"
    eventually said "worker $victim was killed by SIGKILL"
    eventually has_children "$count"
}

said() {
    grep -q -e "$1" "$stderr"
}

closed() {
    [ "$(grep -c "closed in one thread" "$stdout")" -eq "$1" ]
}

# times_said N LINE
times_said() {
    [ "$(grep -c -e "$2" "$stderr")" -eq "$1" ]
}

@test "shares connections that are opened at once, 32 over two workers" {
    start_server --workers 2 pid:app
    spreads 32 12 20
}

@test "shares connections that are opened at once, 400 over four workers" {
    start_server --workers 4 pid:app
    spreads 400 70 130
}

@test "shares connections that are opened one by one" {
    start_server --workers 2 pid:app
    spreads 32 12 20 one-by-one
}

@test "shares connections after a worker was replaced" {
    start_server --workers 2 pid:app
    kill_a_worker
    spreads 32 12 20
    spreads 32 12 20 one-by-one
}

@test "leaves new connections to workers that have a thread free" {
    start_server --workers 2 --threads 2 latch:app
    exec 5<>"$LATCH"
    for count in 1 2 3; do
        curl -sf -m 20 -o /dev/null "$url/wait" 3>&- &
        eventually arrived "$count"
    done
    for _ in 1 2 3 4 5 6 7 8; do [ "$(curl -s -m 5 "$url")" = "done" ] || return; done
    echo "123" >&5
}

@test "answers 300 clients that hold their connections with 256 descriptors in one worker" {
    launch=(bash -c 'ulimit -n 256 && exec "$@"' limited)
    start_server --workers 1 --keep-alive 60 hello:app
    "$PYTHON" "$CLIENT" --max-conns 300 "$url/"
}

@test "replaces a worker that was killed, and says what it was serving" {
    start_server --workers 1 crash:app
    run curl -s -m 10 "$url/segfault"
    [ "$status" -eq 52 ]
    eventually said 'worker [0-9]* was killed by SIGSEGV while serving GET /segfault HTTP/1.1'
    [ "$(curl -s -m 10 "$url/well")" = "alive" ]
}

@test "loses only what was in them when workers are killed again and again under load" {
    start_server --workers 2 hello:app
    "$PYTHON" "$BATS_TEST_DIRNAME/load.py" "$port" 3 >"$BATS_TEST_TMPDIR/load" 3>&- & load=$!
    for _ in 1 2 3 4; do kill_a_worker || return; done
    wait_for "$load"
    # Eight clients, four deaths.
    awk '{ print; exit !($1 > 100 && $3 == 0 && $5 <= 32) }' "$BATS_TEST_TMPDIR/load"
    [ "$(zombies "$server_pid")" = "" ]
}

@test "replaces workers that have served their share, and loses no request" {
    start_server --workers 2 --max-requests 20 --max-requests-jitter 10 pid:app
    "$PYTHON" "$CLIENT" --max-conns 200 "$url/"
    for _ in 1 2 3 4 5 6; do curl -sf -m 10 -o /dev/null "$url/[1-40]" || return; done
    eventually has_children 2
    [ ! -s "$stderr" ]
}

@test "starts the successor of a worker before that leaves" {
    start_server --workers 1 --max-requests 1 pid:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    first=$(curl -s -m 10 "$url")
    eventually has_children 1
    second=$(curl -s -m 10 "$url")
    [ "$first" != "$second" ]
    [ -n "$second" ]
}

@test "ends with status 1 and the reason when no worker can start" {
    seq 100 >"$FAILURES"
    run "$PYTHON" "$WEBSERVER" --bind 127.0.0.1:0 --workers 2 --no-preload --app start_fails:app
    [ "$status" -eq 1 ]
    grep -q 'no worker could start' <<<"$output"
}

@test "starts workers ever later that die as soon as they start, says so once, and recovers" {
    : >"$FAILURES"
    start_server --workers 1 --no-preload start_fails:app
    seq 4 >"$FAILURES"
    kill -KILL "$(children "$server_pid")"
    eventually test ! -s "$FAILURES"
    [ "$(curl -s -m 20 "$url")" = "started" ]
    times_said 1 'started later'
}

@test "imports the application in each worker with --no-preload" {
    : >"$FAILURES"
    start_server --workers 2 --no-preload start_fails:app
    echo >"$FAILURES" # for the next import
    kill_a_worker
    eventually said 'RuntimeError: broken on purpose'
}

@test "takes the number of workers from WEB_CONCURRENCY, and from the processors" {
    WEB_CONCURRENCY=3 start_server hello:app
    has_children 3
    stop_server
    start_server --workers auto hello:app
    has_children "$("$PYTHON" -c 'import os; print(len(getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))(0)))')"
}

# Every mode: $2... are its options. A call ends that takes longer than a second, its client is told by the end of the
# connection, stderr has request, client and stack, and others are served.
ends_call() { # PATH ARGUMENT...
    local path=$1
    shift
    start_server --timeout 1 "$@" hangs:app
    run curl -s -m 20 "$url$path"
    [ "$status" -ne 28 ]
    [ "$(curl -s -m 20 "$url")" = "done" ]
    said "in the application for 1\.[0-9] s: 127.0.0.1 GET $path HTTP/1.1"
    said '", line [0-9]* in hang'
}

@test "ends a call that takes too long" {
    ends_call /hang
}

@test "ends a stream that takes too long" {
    ends_call /stream
}

@test "ends a call that takes too long in a worker, and replaces it" {
    ends_call /hang --workers 1
    eventually has_children 1
    said "Overtime"
}

@test "ends a call that heeds no exception in a worker" {
    ends_call /deaf --workers 1
    eventually said 'was killed by SIGKILL while serving 127.0.0.1 GET /deaf HTTP/1.1'
}

@test "ends a call that takes too long in a thread" {
    ends_call /hang --workers 1 --threads 2
    ends_call /deaf --workers 1 --threads 2
}

@test "loses no other connection of a worker when it ends a call" {
    start_server --timeout 1 --workers 1 --keep-alive 60 large_or_held:app
    exec 5<>"$LATCH"
    keep_open 6
    run curl -s -m 20 "$url/wait"
    said Overtime
    ask 6
    done_on 6
}

@test "keeps one thread for a request until its close, which runs no other meanwhile" {
    start_server --workers 1 --threads 4 one_thread:app
    exec 5<>"$LATCH"
    seq 3 | xargs -P 3 -I{} curl -sf -m 20 -o /dev/null "$url/wait" 3>&- & held=$!
    eventually arrived 3
    seq 40 | xargs -P 8 -I{} curl -sf -m 10 "$url" >"$BATS_TEST_TMPDIR/blocks"
    printf '%3s' "" >&5
    wait_for "$held"
    [ "$(sort -u "$BATS_TEST_TMPDIR/blocks")" = "one thread" ]
    eventually closed 43
}

@test "answers others while more clients than threads read slowly" {
    start_server --workers 1 --threads 2 large_or_held:app
    "$PYTHON" "$BATS_TEST_DIRNAME/slow_clients.py" "$port" read 20 >"$BATS_TEST_TMPDIR/slow" 3>&- & slow=$!
    eventually grep -q connected "$BATS_TEST_TMPDIR/slow"
    [ "$(curl -s -m 5 "$url")" = "done" ]
    kill "$slow"
}

@test "says in the environ that threads call the application" {
    start_server --workers 1 --threads 2 environ:app
    curl -s -m 10 "$url" | grep -q "wsgi.multithread.*True"
    restart --workers 1 environ:app
    curl -s -m 10 "$url" | grep -q "wsgi.multithread.*False"
}

# Connections that are open when it forks see their end all the same, and the port is free as soon as the server ends.
@test "keeps connections and listeners from processes that the application forks" {
    start_server --workers 1 leaves_process:app
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    curl -sf -m 10 "$url/fork"
    eventually arrived 1
    ask 6
    [ "$(cat <&6 | tail -n 1)" = "done" ]
    restart --bind "127.0.0.1:$port" hello:app
    echo >&5
}

@test "leaves descriptors to the application when connections have taken the others" {
    launch=(bash -c 'ulimit -n 128 && exec "$@"' limited)
    start_server --workers 1 --keep-alive 60 subprocesses:app
    "$PYTHON" "$CLIENT" --max-conns 200 "$url/output"
}

@test "refuses a thread to nobody for want of processes" {
    launch=("$PYTHON" -c 'import os, resource, sys
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65533), os.setuid(65533)
resource.setrlimit(resource.RLIMIT_NPROC, (4, 4))
os.execvp(sys.argv[1], sys.argv[1:])')
    [ "$(id -u)" -eq 0 ] || skip "another user runs too many processes to count"
    "${launch[@]}" "$PYTHON" -c "" || skip "nobody can read no Python here"
    cp "$WEBSERVER" "$BATS_TEST_TMPDIR/webserver.py" && chmod a+rx "$BATS_TEST_TMPDIR" "$BATS_RUN_TMPDIR"
    WEBSERVER="$BATS_TEST_TMPDIR/webserver.py" start_server --workers 1 --threads 8 slow:app
    seq 6 | xargs -P 6 -I{} curl -sf -m 20 -o /dev/null "$url/{}"
}
