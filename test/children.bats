#!/usr/bin/env bats
# What an application may do to its process: die, print, spawn, catch signals. It does it to one connection.

# bats file_tags=workers
load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
}

# A request to crash:app for the path $1 ends its child; stderr gets one line, with pid, $2 and request.
reports_death() {
    start_server crash:app
    run curl -s -m 10 "$url$1"
    [ "$status" -eq 52 ] # no answer
    eventually grep -q "GET $1" "$stderr"
    child=$(awk '$1 == "child" { print $2 }' "$stdout")
    grep -E "(^|[^0-9])$child([^0-9]|\$)" "$stderr" | grep -E "$2" | grep -q "GET $1"
    [ "$(grep -c -v 'next start in' "$stderr")" -eq 1 ] # of a worker that dies young
    [ "$(curl -s -m 10 "$url")" = "alive" ]
}

# A request to crash:app for the path $1 ends that connection's child and nothing else; prints curl's view.
outlives() {
    start_server crash:app
    run curl -s -m 10 -o /dev/null -w '%{http_code}' "$url$1"
    [ "$status" -ne 28 ] # the client is not left waiting
    eventually rests
    [ "$(curl -s -m 10 "$url")" = "alive" ]
}

# bats test_tags=modes
@test "logs a segmentation fault in the application, and goes on" {
    reports_death /segfault 'SIGSEGV|signal 11'
}

@test "logs a child that was killed with -9, with the likely cause, and goes on" {
    reports_death /kill 'SIGKILL \(not by this server: [a-z ]*memory\?\)'
}

@test "logs an application that ends its process, and goes on" {
    reports_death /exit 'status 3|exit code 3'
}

@test "logs nothing of children that end well" {
    start_server crash:app
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-20]"
    eventually rests
    [ ! -s "$stderr" ]
}

# bats test_tags=modes
@test "answers 500 and goes on when the application raises SystemExit" {
    outlives /system-exit
    [ "$output" = "500" ]
}

@test "answers 500 and goes on when the application raises KeyboardInterrupt" {
    outlives /interrupt
    [ "$output" = "500" ]
}

@test "answers 500 and goes on when the application raises MemoryError" {
    outlives /memory
    [ "$output" = "500" ]
    grep -q '^  MemoryError' "$stderr"
}

# bats test_tags=fork
@test "loses no other connection when one child dies" {
    start_server crash:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children "$(($(workers) + 1))"
    run curl -s -m 10 "$url/segfault"
    printf 'GET / HTTP/1.0\r\n\r\n' >&6
    while read -r -t 10 line <&6 && [ "$line" != "alive" ]; do :; done
    [ "$line" = "alive" ]
}

# bats test_tags=fork
@test "does not take a dead child's pid for the one that has it next" {
    start_server crash:app
    run curl -s -m 10 "$url/kill" "$url/exit" "$url/segfault"
    eventually grep -q "GET /segfault" "$stderr"
    [ "$(grep -c 'GET /kill' "$stderr")" -eq 1 ]
    [ "$(grep -c 'GET /exit' "$stderr")" -eq 1 ]
}

# bats test_tags=fork
@test "names no request for a child that dies before its first one" {
    start_server crash:app
    curl -sf -m 10 -o /dev/null "$url"
    eventually rests
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children "$(($(workers) + 1))"
    kill -KILL "$(children)"
    eventually grep -q 'before its first request' "$stderr"
}

# lines_say N PATTERN  succeeds when so many lines of stdout match.
lines_say() {
    [ "$(grep -c -e "$2" "$stdout")" -eq "$1" ]
}

# In a process for each connection the Server has imported it, else each worker.
# bats test_tags=modes
@test "runs what the application registers with atexit once, in the process that imported it" {
    start_server at_exit:app
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-3]"
    eventually rests
    lines_say 0 'at exit'
    stop_server
    eventually lines_say "$(if forks; then echo 1; else workers; fi)" 'at exit'
}

@test "ends a child although its application left a thread running" {
    start_server threads:app
    [ "$(curl -s -m 10 "$url/left")" = "sum 10" ]
    eventually rests
}

@test "runs the application's own threads" {
    start_server threads:app
    [ "$(curl -s -m 10 "$url")" = "sum 10" ]
}

# bats test_tags=fork
@test "warns once that threads started at import do not exist in its children" {
    start_server thread_at_import:app
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-3]"
    [ "$(grep -c '^[-0-9]* [:0-9]* \[[0-9]*\] .*threads' "$stderr")" -eq 1 ]
}

# bats test_tags=modes
@test "keeps what the application prints into a pipe" {
    start_server printing:app
    curl -sf -m 20 -o /dev/null "$url/line"
    eventually grep -q '^printed a line$' "$stdout"
}

# bats test_tags=fork
@test "keeps what the application prints without a newline" {
    start_server printing:app
    curl -sf -m 20 -o /dev/null "$url/partial"
    eventually grep -q 'printed without a newline' "$stdout"
}

@test "keeps what the application printed before it raised SystemExit" {
    start_server crash:app
    run curl -s -m 10 "$url/system-exit"
    eventually grep -q '^child' "$stdout"
}

# bats test_tags=modes
@test "shows what the application prints at once, while the request still runs" {
    start_server printing:app
    exec 5<>"$LATCH"
    curl -sf -m 20 -o /dev/null "$url/wait" 3>&- & client=$!
    eventually arrived 1
    eventually grep -q '^printed a line$' "$stdout"
    echo >&5
    wait_for "$client"
}

# What waits in a buffer when a child is forked would be in both processes.
@test "keeps what the application prints into a file, and repeats nothing" {
    file="$BATS_TEST_TMPDIR/file"
    printf '%s\n' 'print("printed at the import", end="")' 'from printing import app' >"$BATS_TEST_TMPDIR/prints.py"
    (cd "$BATS_TEST_DIRNAME/apps" && PYTHONPATH="$BATS_TEST_TMPDIR" exec "$PYTHON" "$PROGRAM" --bind 127.0.0.1:0 prints:app) >"$file" 3>&- & server_pid=$!
    eventually grep -q Serving "$file"
    url="http://127.0.0.1:$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$file")"
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/line/[1-3]" "$url/partial"
    eventually grep -q '^printed without a newline$' "$file"
    [ "$(grep -c '^printed a line$' "$file")" -eq 3 ]
    stop_server
    [ "$(grep -c 'printed at the import' "$file")" -eq 1 ]
}

@test "lets the application run programs and read what they print" {
    start_server subprocesses:app
    [ "$(curl -s -m 10 "$url/output")" = "from a program" ]
}

@test "lets the application learn how its programs end" {
    start_server subprocesses:app
    [ "$(curl -s -m 10 "$url/status")" = "status 7" ]
}

@test "gives programs that the application starts the default INT and TERM" {
    start_server subprocesses:app
    [ "$(curl -s -m 10 "$url/terminate")" = "status -15" ]
    [ "$(curl -s -m 10 "$url/interrupt")" = "status -2" ]
}

# bats test_tags=fork
@test "leaves SIGCHLD to the application, and no signal blocked" {
    start_server signals:app
    [ "$(curl -s -m 10 "$url")" = "default True, saw ['SIGCHLD'], status 7, blocked 0" ]
}

# The child has closed the pipe into which the parent's signals are written: its number is another file's now.
@test "writes nothing into the application's files when a signal comes" {
    start_server stray:app
    [ "$(curl -s -m 10 "$url")" -eq 0 ]
}

# bats test_tags=fork
@test "leaves a child no descriptor but the standard ones, its connection and two pipes" {
    launch=("$PYTHON" -c 'import os, sys; os.closerange(3, 256); os.execvp(sys.argv[1], sys.argv[1:])')
    start_server descriptors:app
    [ "$(curl -s -m 10 "$url")" -eq 6 ]
}

@test "calls the application in a context of each request's own" {
    start_server contexts:app
    [ "$(curl -s -m 20 "$url/ann" "$url/bob" | tr '\n' ' ')" = "nobody then /ann nobody then /bob " ]
    eventually grep -q '^close sees /bob$' "$stdout"
    grep -q '^close sees /ann$' "$stdout"
}

# The application's program has ended, and waits to be asked for by it.
no_zombie_but_one() {
    [ "$(zombies | grep -c .)" -eq 1 ]
}

# Linux has signals without a name.
# bats test_tags=fork
@test "goes on after a child was killed by any signal" {
    start_server hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children "$(($(workers) + 1))"
    kill -40 "$(children)" 2>/dev/null || skip "no signal has the number 40 here"
    eventually grep -q 'killed by' "$stderr"
    curl -sf -m 10 -o /dev/null "$url"
}

# bats test_tags=modes
@test "lets an application end with TERM a process that it has forked" {
    start_server forks:app
    [ "$(curl -s -m 20 "$url")" = "status -15" ]
}

# bats test_tags=fork
@test "leaves the application its own children with --no-fork" {
    start_server --no-fork forks:app
    curl -s -m 10 "$url/start"
    eventually no_zombie_but_one
    [ "$(curl -s -m 10 "$url/later")" = "status 7" ]
}

# What is forked lives until the latch lets go. HTTP/1.0 without a length: the end of the connection is that of the body.
# bats test_tags=fork
@test "has a client see the end, although the application has forked a process that lives on" {
    for SERVER_OPTIONS in "" --no-fork "--workers 1 --threads 2"; do
        start_server forks_on:app
        exec 5<>"$LATCH"
        curl -s --http1.0 -m 10 -o "$BATS_TEST_TMPDIR/answer" "$url"
        [ "$(cat "$BATS_TEST_TMPDIR/answer")" = "forked" ]
        keep_open 6 # which another process has been forked for
        exec 6>&-
        kill -TERM "$server_pid"
        ends_well
        printf '\n\n' >&5
        exec 5>&-
    done
}

# bats test_tags=fork
@test "goes on whatever the application makes of stderr" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        start_server takes_stderr:app
        for name in none plain none; do
            [ "$(curl -s -m 10 "$url/$name")" = "o" ] # what exceeds its length is cut off, and told if that can be
        done
        stop_server
    done
}

# bats test_tags=fork
@test "starts with whatever the application has made of stderr at its import" {
    for name in none plain; do
        STDERR=$name start_server takes_stderr:app
        [ "$(curl -s -m 10 "$url/$name")" = "o" ]
        curl -s -m 10 "$url/ends" || [ "$?" -eq 52 ] # a death, which it would tell
        [ "$(curl -s -m 10 "$url/$name")" = "o" ]
        stop_server
    done
}
