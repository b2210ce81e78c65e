#!/usr/bin/env bats
# The stages of the article, each a promise, with the article's own figures. Those that need a limit
# of the system stand in limits.bats.

# bats file_tags=workers
load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
}

# Succeeds when the server has $1 zombies.
has_zombies() {
    [ "$(zombies | grep -c .)" -eq "$1" ]
}

@test "serves the page of the article on port 8888 of localhost" {
    if (: </dev/tcp/127.0.0.1/8888) 2>/dev/null; then skip "something else listens on port 8888"; fi
    "$PYTHON" "$PROGRAM" >"$BATS_TEST_TMPDIR/ready" 3>&- & server_pid=$!
    eventually grep -q '^Serving HTTP on port 8888 \.\.\.$' "$BATS_TEST_TMPDIR/ready"
    [ "$(curl -s -m 20 http://127.0.0.1:8888/hello)" = "Hello, World!" ]
}

@test "answers localhost on IPv6 and on IPv4 alike" {
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' || skip "there is no IPv6 here"
    start_server --bind localhost:0
    [ "$(curl -s -m 20 "http://127.0.0.1:$port/")" = "Hello, World!" ]
    [ "$(curl -s -m 20 "http://[::1]:$port/")" = "Hello, World!" ]
}

# bats test_tags=fork
@test "serves in its own process with --no-fork" {
    start_server --no-fork pid:app
    [ "$(curl -s -m 20 "$url")" = "$server_pid" ]
}

# bats test_tags=fork
@test "serves one connection after another with --no-fork" {
    start_server --no-fork hello:app
    seq 20 | xargs -P 5 -I{} curl -sf -m 20 -o /dev/null "$url/{}"
}

# bats test_tags=fork
@test "gives each connection a process of its own" {
    start_server pid:app
    first=$(curl -s -m 20 "$url" "$url")
    second=$(curl -s -m 20 "$url")
    [ "$(echo "$first" | sort -u | grep -c .)" -eq 1 ]
    [ "$second" != "${first%%[!0-9]*}" ]
    [ "$second" != "$server_pid" ]
}

# bats test_tags=modes
@test "answers others while one request is slow" {
    start_server latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    [ "$(curl -s -m 10 "$url")" = "done" ]
    echo >&5
    wait_for "$client"
    [ "$(cat "$answer")" = "done" ]
}

@test "answers others while one client sends nothing" {
    start_server --header-timeout 60 hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    if forks; then eventually has_children 1; fi
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

@test "holds twenty slow requests in the application at once" {
    start_server latch:app
    exec 5<>"$LATCH"
    seq 20 | xargs -P 20 -I{} curl -sf -m 20 -o /dev/null "$url/wait?{}" 3>&- & client=$!
    eventually arrived 20
    printf '%20s' "" >&5
    wait_for "$client"
}

@test "answers twenty clients of a two-second application in the time of one" {
    start_server slow:app
    started=$SECONDS
    seq 20 | xargs -P 20 -I{} curl -sf -m 20 -o /dev/null "$url/{}"
    [ "$((SECONDS - started))" -lt 15 ] # one after the other they take 40
}

@test "lets curl end at once where the response ends with the connection" {
    start_server stream:app
    [ "$(curl -s -m 10 --http1.0 "$url" | tr '\n' ' ')" = "one two three " ]
    curl -s -m 10 --http1.0 -o /dev/null "$url"
}

# bats test_tags=modes
@test "keeps no descriptor of two hundred connections" {
    start_server hello:app
    curl -sf -m 20 -o /dev/null "$url"
    eventually rests
    before=$(descriptors_of_all)
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-200]"
    eventually rests
    [ "$(descriptors_of_all)" -eq "$before" ]
}

# bats test_tags=fork
@test "leaves no connection to the children that come later" {
    start_server descriptors:app
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    first=$(printf 'GET / HTTP/1.0\r\n\r\n' | raw | tail -n 1)
    exec 8<>"/dev/tcp/127.0.0.1/$port" 9<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children 4
    [ "$(curl -s -m 20 "$url")" -eq "$first" ]
}

# One of them lives on: who waits for it serves nobody.
@test "is not disturbed by the exit of its children" {
    start_server --header-timeout 60 hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    if forks; then eventually has_children 1; fi
    for _ in 1 2 3 4 5; do
        curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-10]"
        kill -CHLD "$(the_server)" "$server_pid"
    done
    [ ! -s "$stderr" ]
}

# The Server is stopped while they end, so that their 128 signals become one.
# bats test_tags=fork
@test "leaves no zombie when 128 children end at once, with no later connection to wake it" {
    start_server latch:app
    exec 5<>"$LATCH"
    "$PYTHON" "$CLIENT" --max-conns 128 "$url/wait" 3>&- & client=$!
    eventually arrived 128
    forking=$(the_server)
    kill -STOP "$forking"
    printf '%128s' "" >&5
    wait_for "$client"
    eventually has_zombies 128
    kill -CONT "$forking"
    eventually has_children 0
}

@test "leaves no zombie after 128 clients at once" {
    start_server hello:app
    "$PYTHON" "$CLIENT" --max-conns 128 "$url"
    eventually rests
}

# bats test_tags=modes
@test "leaves no zombie under continuous load" {
    start_server hello:app
    seq 8 | xargs -P 8 -I{} curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-30]"
    [ "$(zombies | grep -c .)" -lt 20 ]
    eventually rests
}

@test "answers every connection of client.py" {
    start_server hello:app
    run "$PYTHON" "$CLIENT" --max-clients 3 --max-conns 10 "$url"
    [ "$status" -eq 0 ]
    [[ $output == *"30 answered"* ]]
}
