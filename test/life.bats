#!/usr/bin/env bats
# How the server ends, what it leaves behind, and what it does while nothing happens.

# bats file_tags=workers
load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
}

# Succeeds when nothing listens on the port any more: a connection that merely waits is not refused.
refused() {
    local code=0
    curl -s -m 1 -o /dev/null "$url" || code=$?
    [ "$code" -eq 7 ]
}

# Succeeds when none of the processes given runs; one that nobody has reaped does not run.
gone() {
    local pids=" $* "
    ps -A -o pid=,stat= | awk -v pids="${pids//$'\n'/ }" 'index(pids, " " $1 " ") && $2 !~ /^Z/ { found = 1 } END { exit found }'
}

# Prints how often the server's processes have gone to sleep so far.
naps() {
    local pids
    pids=$(processes) || return
    for process in $pids; do awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$process/status"; done
}

@test "can be stopped as soon as it says that it serves" {
    for signal in TERM INT TERM INT TERM; do
        start_server
        stop_server "$signal"
        [ ! -s "$stderr" ]
    done
}

@test "finishes the request in flight on TERM, then exits with 0" {
    start_server latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually refused
    echo >&5
    wait_for "$client"
    ends_well
    [ "$(cat "$answer")" = "done" ]
}

@test "answers all that was pipelined before it was told to stop" {
    start_server latch:app
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually refused
    echo >&5
    cat <&6 >"$answer"
    ends_well
    [ "$(grep -c '^HTTP/1.1 200 ' "$answer")" -eq 2 ]
}

@test "finishes the response in flight on TERM" {
    start_server stream:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually refused
    echo >&5
    wait_for "$client"
    ends_well
    [ "$(tr '\n' ' ' <"$answer")" = "one two three " ]
}

@test "finishes a request whose head is not whole yet on TERM" {
    start_server latch:app
    keep_open 6
    printf 'GET / HTTP/1.1\r\nHost: a\r\n' >&6
    kill -TERM "$server_pid"
    eventually refused
    run read -r -t 1 <&6
    [ "$status" -gt 128 ] # it waits
    printf '\r\n' >&6
    done_on 6
    ends_well
}

@test "says in its last response that the connection closes" {
    start_server latch:app
    exec 5<>"$LATCH"
    curl -si -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually refused
    echo >&5
    wait_for "$client"
    ends_well
    grep -qi '^connection: close' "$answer"
}

@test "cuts what is in flight on a second TERM" {
    start_server latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually refused
    kill -TERM "$server_pid"
    eventually gone "$server_pid" "$(cat "$LATCH.arrived")"
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    [ ! -s "$answer" ]
    ends_well
}

# Two signals that differ: the same one, sent twice, may arrive as one.
# bats test_tags=fork
@test "cuts what is in flight on a second signal with --no-fork" {
    start_server --no-fork latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    kill -INT "$server_pid"
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    [ ! -s "$answer" ]
    ends_well
}

@test "cuts what is in flight when its grace has passed" {
    start_server --graceful-timeout 0.5 latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually gone "$server_pid" "$(cat "$LATCH.arrived")"
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    [ ! -s "$answer" ]
    ends_well
}

@test "shows no traceback on INT" {
    start_server latch:app
    keep_open 6
    stop_server INT
    [ ! -s "$stderr" ]
}

# Here, as below, its grace is longer than the test waits for it to end.
@test "closes idle connections when it stops" {
    start_server --keep-alive 60 --graceful-timeout 60 latch:app
    keep_open 6
    keep_open 7
    read -r -d '' -a idle <<<"$(children)" || true
    stop_server
    gone "${idle[@]}"
}

# bats test_tags=fork
@test "closes idle connections when it stops with --no-fork" {
    start_server --keep-alive 60 --graceful-timeout 60 --no-fork latch:app
    keep_open 6
    keep_open 7
    stop_server
}

# The response is larger than what the system takes in, and its head is sent before the server is told to stop.
# bats test_tags=fork
@test "lets no connection go idle when it stops with --no-fork" {
    start_server --keep-alive 60 --graceful-timeout 60 --no-fork large:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    read -r -t 10 line <&6
    kill -TERM "$server_pid"
    eventually refused
    [ "$(cat <&6 | tail -n 1)" = "end" ]
    ends_well
}

# bats test_tags=fork
@test "closes connections that have sent nothing when it stops" {
    start_server --header-timeout 60 --graceful-timeout 60 hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children "$(($(workers) + 1))"
    stop_server
}

# bats test_tags=fork
@test "lets a hundred connections go when it stops, but for the one in flight" {
    start_server --keep-alive 60 latch:app
    exec 5<>"$LATCH"
    "$PYTHON" "$CLIENT" --max-conns 100 "$url/wait" 3>&- & client=$!
    eventually arrived 100
    printf '%99s' "" >&5
    kill -TERM "$server_pid"
    eventually has_children "$(($(workers) + 1))"
    echo >&5
    wait_for "$client"
    ends_well
}

@test "leaves no idle child when it is killed with -9, and its port free" {
    start_server --keep-alive 60 latch:app
    keep_open 6
    keep_open 7
    read -r -d '' -a idle <<<"$(children)" || true
    kill -KILL "$server_pid"
    eventually gone "$server_pid" "${idle[@]}"
    start_server --bind "127.0.0.1:$port" hello:app
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

@test "finishes the request in flight when it is killed with -9, and leaves its port free" {
    start_server --keep-alive 60 latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -KILL "$server_pid"
    start_server --bind "127.0.0.1:$port" hello:app
    echo >&5
    wait_for "$client"
    [ "$(cat "$answer")" = "done" ]
    eventually gone "$(cat "$LATCH.arrived")"
}

@test "says in its last response that the connection closes, also when it is killed with -9" {
    start_server --keep-alive 60 latch:app
    exec 5<>"$LATCH"
    keep_open 6
    curl -si -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    idle=$(children | grep -v -x "$(cat "$LATCH.arrived")")
    kill -KILL "$server_pid"
    server_pid=
    eventually gone "$idle"
    echo >&5
    wait_for "$client"
    grep -qi '^connection: close' "$answer"
}

cut_after_grace() { # PATH
    start_server --graceful-timeout 1 endless:app
    curl -sN -m 30 "$url$1" >"$answer" 3>&- & client=$!
    eventually test -s "$answer"
    child=$(children)
    kill -KILL "$server_pid"
    server_pid=
    eventually gone "$child"
    wait_for "$client" || [ "$?" -eq 18 ] # curl: the end is missing
}

@test "cuts an endless response after its grace when it is killed with -9" {
    cut_after_grace /
}

@test "cuts an endless response through write() after its grace when it is killed with -9" {
    cut_after_grace /written
}

@test "leaves no child that a busy client keeps busy when it is killed with -9" {
    start_server hello:app
    workers=$(children)
    "$PYTHON" "$repository/test/busy_client.py" "$port" "$server_pid"
    server_pid=
    eventually gone "$workers"
}

# bats test_tags=fork
@test "reaps the orphans that it inherits as PID 1" {
    as_first_process
    start_server orphan:app
    exec 5<>"$LATCH"
    first=$(children "$server_pid")
    curl -sf -m 20 -o /dev/null "$url"
    eventually has_children 1 "$first"
    echo >&5
    eventually has_children 0 "$first"
    curl -si -m 20 "$url" >"$answer"
    echo >&5
    [ "$(grep -c -i '^connection: close' "$answer")" -eq 0 ]
    kill -TERM "$first"
    ends_well
}

@test "ends as PID 1 although an orphan still runs" {
    as_first_process
    start_server orphan:app
    exec 5<>"$LATCH"
    first=$(children "$server_pid")
    curl -sf -m 20 -o /dev/null "$url"
    kill -TERM "$first"
    ends_well
    [ ! -s "$stderr" ]
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
    (cd "$BATS_TEST_DIRNAME/apps" && exec "$PYTHON" "$WEBSERVER" --bind "127.0.0.1:$port" printing:app 0<&- 1>&- 2>&- 3>&-) &
    server_pid=$!
    eventually curl -sf -m 20 -o /dev/null "$url/line"
    [ "$(curl -s -m 20 "$url/partial")" = "ok" ]
    [ "$(curl -s -m 20 "$url/line")" = "ok" ]
}
