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
    awk -v least="$2" -v most="$3" -v workers="$(children | grep -c .)" '
        { print; exit !(NF == workers && $1 >= least && $NF <= most) }' "$BATS_TEST_TMPDIR/shares"
}

# Kills the first worker, and waits until another is there.
kill_a_worker() {
    local victim count
    count=$(children | grep -c .)
    victim=$(children | head -n 1)
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

@test "shares connections that are opened at once and one by one, 32 over two workers" {
    start_server --workers 2 pid:app
    spreads 32 12 20
    spreads 32 12 20 one-by-one
}

@test "shares connections that are opened at once, 400 over four workers" {
    start_server --workers 4 pid:app
    spreads 400 70 130
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

@test "replaces a worker that was killed, and logs what it was serving" {
    start_server --workers 1 crash:app
    run curl -s -m 10 "$url/segfault"
    [ "$status" -eq 52 ]
    eventually said 'worker [0-9]* was killed by SIGSEGV while serving 127.0.0.1 GET /segfault HTTP/1.1'
    [ "$(curl -s -m 10 "$url/well")" = "alive" ]
}

@test "loses only what was in them when workers are killed again and again under load" {
    start_server --workers 2 hello:app
    "$PYTHON" "$BATS_TEST_DIRNAME/load.py" "$port" 3 >"$BATS_TEST_TMPDIR/load" 3>&- & load=$!
    for _ in 1 2 3 4; do kill_a_worker || return; done
    wait_for "$load"
    # Eight clients, four deaths.
    awk '{ print; exit !($1 > 100 && $3 == 0 && $5 <= 32) }' "$BATS_TEST_TMPDIR/load"
    [ "$(zombies)" = "" ]
}

@test "replaces workers that have served their share, and loses no request" {
    start_server --workers 2 --max-requests 20 --max-requests-jitter 10 pid:app
    "$PYTHON" "$CLIENT" --max-conns 200 "$url/"
    for _ in 1 2 3 4 5 6; do curl -sf -m 10 -o /dev/null "$url/[1-40]" || return; done
    eventually has_children 2
    [ ! -s "$stderr" ]
}

@test "starts the successor of a worker before that leaves" {
    start_server --workers 1 --max-requests 1 --header-timeout 1 pid:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    first=$(curl -s -m 10 "$url")
    eventually has_children 1
    second=$(curl -s -m 10 "$url")
    [ "$first" != "$second" ]
    [ -n "$second" ]
}

@test "ends with status 1 and the reason when no worker can start" {
    seq 100 >"$FAILURES"
    cd "$BATS_TEST_DIRNAME/apps"
    run "$PYTHON" "$PROGRAM" --bind 127.0.0.1:0 --workers 2 --app start_fails:app
    [ "$status" -eq 1 ]
    grep -q '^RuntimeError: broken on purpose' <<<"$output"
}

# Each import leaves a line.
@test "imports the application in each worker, and with --preload once for all" {
    own_folder
    for preload in "" --preload; do
        app_is 'open("imported", "a").write(f"{os.getpid()}\n"); app = says("one")'
        rm -f "$folder/imported"
        start_server --workers 3 $preload app:app
        pids=$(children | sort) server=$(the_server)
        if [ -n "$preload" ]; then pids=$server; fi
        [ "$(sort "$folder/imported")" = "$pids" ]
        kill_a_worker
        answers one
        [ "$(grep -c . "$folder/imported")" -eq "$([ -n "$preload" ] && echo 1 || echo 4)" ]
        stop_server
    done
}

@test "has the threads that the application starts at its import, in each worker" {
    own_folder
    app_is 'import threading
threading.Thread(target=threading.Event().wait, name="mine", daemon=True).start()
def app(*request):
    return says(any(thread.name == "mine" for thread in threading.enumerate()))(*request)'
    start_server --workers 2 app:app
    for _ in 1 2 3 4; do answers True; done
    [ ! -s "$stderr" ]
}

@test "starts workers ever later that die as soon as they start, logs that, and recovers" {
    : >"$FAILURES"
    start_server --workers 1 start_fails:app
    seq 4 >"$FAILURES"
    kill -KILL "$(children)"
    eventually test ! -s "$FAILURES"
    [ "$(curl -s -m 20 "$url")" = "started" ]
    said 'next start in'
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
    said "1\.[0-9] s.* 127.0.0.1 GET $path HTTP/1.1"
    said '", line [0-9]* in hang'
}

@test "ends a call that takes too long" {
    ends_call /hang
}

@test "ends a stream that takes too long" {
    ends_call /stream
}

@test "ends a call that takes too long in a worker, and replaces the worker" {
    for path in /hang /deaf; do
        ends_call "$path" --workers 1
        eventually said "was killed by SIGKILL while serving 127.0.0.1 GET $path HTTP/1.1"
        eventually has_children 1
        stop_server
    done
}

@test "ends a call that takes too long in a thread" {
    ends_call /hang --workers 1 --threads 2
    stop_server
    ends_call /deaf --workers 1 --threads 2
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

# Both threads are kept by a reader that takes nothing, and one request waits.
@test "resets no more slow readers than requests wait for a thread" {
    start_server --workers 1 --threads 2 large_or_held:app
    "$PYTHON" - "$port" <<'END'
import socket, sys, time
def ask(path):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path)
    return client
def is_whole(client):
    try:
        return b"".join(iter(lambda: client.recv(1 << 20), b""))[-5:] == b"done\n"
    except ConnectionResetError:
        return False
readers = [ask(b"/large"), ask(b"/large")]
time.sleep(0.5)
assert is_whole(ask(b"/"))
time.sleep(0.5)
assert sorted(map(is_whole, readers)) == [False, True]
END
}

@test "sets wsgi.multithread where threads call the application" {
    start_server --workers 1 --threads 2 environ:app
    curl -s -m 10 "$url" | grep -q "wsgi.multithread.*True"
    restart --workers 1 environ:app
    curl -s -m 10 "$url" | grep -q "wsgi.multithread.*False"
}

# Connections that are open when it forks see their end all the same, and the port is free as soon as the server ends. The
# response to HTTP/1.0 ends in close() alone, which ends the connection for who has the last descriptor of it.
@test "keeps connections and listeners from processes that the application forks" {
    start_server --workers 1 leaves_process:app
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    curl -sf -m 10 "$url/fork"
    eventually arrived 1
    ask 6
    [ "$(cat <&6 | tail -n 1)" = "done" ]
    printf 'GET / HTTP/1.0\r\n\r\n' >&7
    done_on 7
    run read -r -t 10 <&7
    [ "$status" -eq 1 ] # the end, before the time is over
    restart --bind "127.0.0.1:$port" hello:app
    echo >&5
}

# Others are answered while a body comes in many small chunks, each within a second. $@ are the options.
uploads_beside_others() {
    { printf 'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n'
        yes $'1\r\nx\r' | head -n 150000
        printf '0\r\n\r\n'; } >"$BATS_TEST_TMPDIR/upload"
    start_server "$@" hello:app
    : >"$BATS_TEST_TMPDIR/uploaded"
    raw <"$BATS_TEST_TMPDIR/upload" >>"$BATS_TEST_TMPDIR/uploaded" 3>&- & upload=$!
    for ((count = 0; count < 500; count++)); do
        [ ! -s "$BATS_TEST_TMPDIR/uploaded" ] || break
        curl -sf -m 1 -o /dev/null "$url" || return
    done
    wait_for "$upload"
    grep -q Hello "$BATS_TEST_TMPDIR/uploaded"
    [ "$count" -gt 4 ]
}

@test "answers others within a second while a body comes in 75,000 chunks" {
    uploads_beside_others --workers 1
}

# answers_another PID  succeeds when a worker that is not the one answers.
answers_another() {
    local pid
    pid=$(curl -s -m 5 "$url") && [ -n "$pid" ] && [ "$pid" != "$1" ]
}

# number_of_threads PID
number_of_threads() {
    awk '/^Threads:/ { print $2 }' "/proc/$1/status"
}

is_stopped() {
    ps -o stat= -p "$1" | grep -q T
}

# It sees that the other one is in a call for long, and takes one in any case after a pause: either will do.
@test "takes connections although a worker has fewer that takes none" {
    exec 5<>"$LATCH"
    for change in accept_pause_s=5 stuck_call_s=60; do
        altered "$change"
        rm -f "$LATCH.arrived"
        start_server --workers 2 latch:app
        curl -sf -m 40 -o /dev/null "$url/wait" 3>&- & held=$!
        eventually arrived 1
        "$PYTHON" "$CLIENT" --max-conns 60 --timeout 10 "$url/"
        echo >&5
        wait_for "$held"
        stop_server
    done
}

# bats test_tags=all
@test "shares connections again and again, after two of four workers were replaced" {
    start_server --workers 4 pid:app
    kill_a_worker
    kill_a_worker
    for _ in 1 2 3 4; do spreads 400 70 130 || return; done
    for _ in 1 2 3 4; do spreads 64 10 24 one-by-one || return; done
}

@test "starts workers ever later that die as soon as they start" {
    : >"$FAILURES"
    start_server --workers 1 start_fails:app
    seq 1000 >"$FAILURES"
    kill -KILL "$(children)"
    eventually said 'next start in'
    read -r -t 3 <>"$LATCH" || true
    [ "$(grep -c . "$FAILURES")" -gt 988 ]
}

# Only --timeout ends a call.
@test "loses no call of a worker that is replaced, however long it takes" {
    start_server --workers 1 --max-requests 1 --graceful-timeout 0.5 latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$BATS_TEST_TMPDIR/answer" 3>&- 4>&- & client=$!
    eventually arrived 1
    eventually has_children 2
    sleep 1
    echo >&5
    wait_for "$client"
    [ "$(cat "$BATS_TEST_TMPDIR/answer")" = "done" ]
    [ ! -s "$stderr" ]
}

@test "waits no longer where several workers end at once" {
    start_server --workers 4 hello:app
    # shellcheck disable=SC2046
    kill -KILL $(children)
    eventually has_children 4
    [ "$(grep -c 'next start in' "$stderr")" -eq 1 ]
}

@test "starts its workers although fork fails at first" {
    altered fork:EAGAIN:3
    start_server --workers 2 hello:app
    [ "$(curl -sf -m 10 "$url")" = "Hello, World!" ]
    has_children 2
    said 'fork: Resource temporarily unavailable'
}

@test "goes on with a worker that has served --max-requests until its successor is ready" {
    exec 5<>"$LATCH"
    echo >&5 # for the first import
    start_server --workers 1 --max-requests 1 latch_at_import:app
    curl -sf -m 5 -o /dev/null "$url"
    eventually arrived 2
    [ "$(curl -sf -m 5 "$url")" = "Hello, World!" ]
    echo >&5
    eventually has_children 1
    echo >&5 # for the successor's successor
}

@test "keeps an idle connection of a worker that leaves until its next request, and takes no new one" {
    start_server --workers 1 --keep-alive 60 --max-requests 30 pid:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    ask 6
    old=$(children)
    curl -sf -m 10 -o /dev/null "$url/[1-29]"
    eventually answers_another "$old"
    for _ in 1 2 3 4 5 6 7 8 9 10; do answers_another "$old" || return; done
    ask 6
    [ "$(grep -c -x -e "$old" -e $'Connection: close\r' <&6)" -eq 3 ] # ends after its second response
    eventually has_children 1
}

# Those that retire wait for their clients.
@test "replaces a worker that has served its share as soon as another makes room for its successor" {
    start_server --workers 1 --max-requests 1 --keep-alive 60 pid:app
    for fd in 6 7 8 9; do
        eval "exec $fd<>/dev/tcp/127.0.0.1/$port" && ask "$fd"
        read -r -t 1 <>"$LATCH" || true # until there is a successor
    done
    last=$(children | sort -n | tail -n 1)
    exec 6>&-
    eventually answers_another "$last"
}

# The Server is stopped until it has to hear that the successor is ready before it learns that the other is dead.
@test "outlives a worker that dies before it can retire" {
    exec 5<>"$LATCH"
    echo >&5 # for the first import
    start_server --workers 1 --max-requests 2 latch_at_import:app
    curl -sf -m 5 -o /dev/null "$url/[1-2]"
    eventually arrived 2
    forking=$(the_server)
    kill -STOP "$forking"
    eventually is_stopped "$forking"
    kill -KILL "$(head -n 1 "$LATCH.arrived")"
    echo >&5
    curl -sf -m 10 -o /dev/null "$url" # the successor is ready
    kill -CONT "$forking"
    eventually has_children 1
    curl -sf -m 10 -o /dev/null "$url"
    echo >&5 # for a third
}

@test "replaces a worker after a random number of requests with --max-requests-jitter" {
    start_server --workers 1 --max-requests 1 --max-requests-jitter 1000000 pid:app
    curl -sf -m 10 "$url/[1-20]" >"$BATS_TEST_TMPDIR/pids" # the share is less once in 50,000 times
    [ "$(sort -u "$BATS_TEST_TMPDIR/pids")" = "$(children)" ]
}

@test "loses no request of clients that keep it busy when it stops" {
    for _ in 1 ${ALL_MODES:+2 3}; do # once is not always telling
        start_server --workers 2 hello:app
        "$PYTHON" "$BATS_TEST_DIRNAME/kept_clients.py" "$port" "$server_pid"
        ends_well
        [ ! -s "$stderr" ]
    done
}

# Each call is short, whatever they take together. $@ are the options.
ends_no_stream() {
    start_server --timeout 0.5 "$@" endless:app
    run curl -sN -m 2 -o /dev/null "$url"
    [ "$status" -eq 28 ] # curl's own time is over
    [ ! -s "$stderr" ]
    stop_server
}

@test "ends no stream that comes slowly" {
    ends_no_stream
    ends_no_stream --workers 1 --threads 2
}

@test "loses no other connection when it ends the calls of all threads" {
    start_server --timeout 1 --workers 1 --threads 2 --keep-alive 60 hangs:app
    keep_open 6
    keep_open 7
    keep_open 8
    for path in hang deaf; do curl -s -m 20 "$url/$path" 3>&- & done
    eventually has_children 2 # the successor, and who still has the three
    for fd in 6 7 8; do ask "$fd" && done_on "$fd" || return; done
    [ "$(grep -c 'was killed' "$stderr")" -eq 0 ]
}

@test "is not disturbed by a client that resets while its call hangs in a thread" {
    start_server --timeout 1 --workers 1 --threads 2 --keep-alive 60 hangs:app
    keep_open 6
    exec 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n' >&7
    read -r -t 10 line <&7
    exec 7>&- # with the rest unread: a reset
    eventually has_children 2 # the successor, and who still has the other
    ask 6
    done_on 6
    [ "$(grep -c -e Traceback -e 'was killed' -e exited "$stderr")" -eq 0 ]
}

@test "keeps the connections that it may have as long as no other waits" {
    altered connections=2
    start_server --workers 1 --keep-alive 60 latch:app
    keep_open 6
    read -r -t 1 <>"$LATCH" || true # since when it is idle
    keep_open 7
    ask 6
    done_on 6
    [ ! -s "$stderr" ]
}

# A call of the request is under way when the loop comes to what the poll before it had found.
@test "answers a request once that comes together with a connection that has to wait" {
    altered connections=2
    start_server --workers 1 --threads 2 --keep-alive 60 latch:app
    keep_open 6
    keep_open 7
    read -r -t 1 <>"$LATCH" || true # since when both are idle
    kill -STOP "$(children)"
    eventually is_stopped "$(children)"
    exec 8<>"/dev/tcp/127.0.0.1/$port"
    for fd in 6 7 8; do ask 1 | cat >&"$fd"; done # in one segment each
    kill -CONT "$(children)"
    for fd in 6 7 8; do done_on "$fd" || return; done
    [ "$(grep -c Traceback "$stderr")" -eq 0 ]
}

@test "makes no more calls at once than it has threads" {
    start_server --workers 1 --threads 2 latch:app
    exec 5<>"$LATCH"
    seq 4 | xargs -P 4 -I{} curl -sf -m 20 -o /dev/null "$url/wait" 3>&- & held=$!
    eventually arrived 2
    read -r -t 1 <>"$LATCH" || true
    arrived 2
    printf '%4s' "" >&5
    wait_for "$held"
}

@test "takes back the threads of requests that are over" {
    [ -r /proc/self/status ] || skip "no /proc tells here how many threads a process has"
    start_server --workers 1 --threads 4 stream:app
    seq 8 | xargs -P 8 -I{} curl --fail-early -sf -m 10 -o /dev/null -H 'Connection: close' "$url/{}/[1-12]"
    [ "$(number_of_threads "$(children)")" -le 5 ]
}

@test "answers others while a client reads nothing of what is written" {
    start_server --workers 1 writes:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /much HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    read -r -t 10 line <&6
    [ "$(curl -s -m 10 "$url/both" | tr '\n' ' ')" = "one two three " ]
    exec 6>&-
}

@test "leaves descriptors to the application, whatever connections take" {
    launch=(bash -c 'ulimit -n 128 && exec "$@"' limited)
    start_server --workers 1 --keep-alive 60 subprocesses:app
    [ "$("$PYTHON" "$CLIENT" --max-conns 200 "$url/output" | grep -c .)" -eq 1 ] # all are 200
    [ "$(grep -c Traceback "$stderr")" -eq 0 ]
}

@test "makes do with the threads that it gets" {
    start_server --workers 1 --threads 8 few_threads:app
    seq 6 | xargs -P 6 -I{} curl -sf -m 20 -o /dev/null "$url/{}"
    [ ! -s "$stderr" ]
}

