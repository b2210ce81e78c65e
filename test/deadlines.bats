#!/usr/bin/env bats
# How long a client may take: over a head, over a body, and between two requests.

# bats file_tags=every-mode
load test_helper

# Succeeds when no connection is left, of a server that had $1 descriptors before the first came.
all_gone() {
    rests && [ "$(descriptors_of_all)" -eq "$1" ]
}

# A file of 32 MB, with "end" as its last line.
make_file() {
    export FILE="$BATS_TEST_TMPDIR/file"
    { head -c 32000000 /dev/zero && printf '\nend\n'; } >"$FILE"
}

# RFC 9110 15.5.9
@test "refuses a head that does not arrive in time" {
    start_server --header-timeout 1 seen:app
    printf 'GET / HTTP/1.1\r\nHost: a\r\n' | is_refused 408 "9110 15.5.9"
}

@test "gives a head no more time for each byte that comes" {
    start_server --header-timeout 1 seen:app
    started=$SECONDS
    for _ in {1..100}; do printf 'X' && sleep 0.1; done 2>/dev/null | is_refused 408 "9110 15.5.9"
    [ "$((SECONDS - started))" -lt 8 ]
}

@test "gives a second head as much time as the first, and answers the first" {
    start_server --header-timeout 1 seen:app
    [ "$(printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /' | raw | statuses)" = "200 408" ]
}

@test "closes a connection on which nothing comes, without an answer" {
    start_server --header-timeout 1 seen:app
    answer=$(raw </dev/null)
    [ "$answer" = "" ]
}

@test "closes an idle connection after a while, without a further answer" {
    start_server --keep-alive 0.2 seen:app
    started=$SECONDS
    answer=$(printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' | raw)
    [ "$((SECONDS - started))" -lt 5 ]
    [ "$(echo "$answer" | statuses)" = "200" ]
}

# RFC 9112 9.6: for a bounded time
@test "leaves a refused client that does not close after a while" {
    start_server seen:app
    before=$(descriptors_of_all)
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    [ "$(statuses <&6)" = "400" ]
    eventually all_gone "$before"
}

# RFC 9112 9.6: and for a bounded amount
@test "leaves a refused client that sends on without end" {
    start_server seen:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    run bash -c 'head -c 50000000 /dev/zero >&6'
    [ "$status" -ne 0 ]
}

# RFC 9110 15.5.9
# bats test_tags=modes
@test "refuses a body that stalls" {
    start_server --stall-timeout 1 seen:app
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' | is_refused 408 "9110 15.5.9"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: ' | is_refused 408 "9110 15.5.9"
}

@test "gives a body no more time for each byte that comes" {
    start_server --stall-timeout 1 seen:app
    started=$SECONDS
    { printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n' && for _ in {1..100}; do printf x && sleep 0.1; done; } 2>/dev/null |
        is_refused 408 "9110 15.5.9"
    [ "$((SECONDS - started))" -lt 8 ]
}

# The pace counts, not the whole time: 20 bytes in two seconds.
@test "takes a body that comes at a good pace for longer than it may stall" {
    start_server --stall-timeout 1 --min-rate 1 seen:app
    [ "$({ printf 'POST / HTTP/1.0\r\nContent-Length: 20\r\n\r\n' && for _ in {1..20}; do printf x && sleep 0.1; done; } | raw | statuses)" = "200" ]
}

# A hundred thousand bytes at once, more than one read takes with the head, would be good for a minute.
@test "gives a body no more time for bytes that came fast than it may stall" {
    start_server --stall-timeout 1 seen:app
    { printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n' && printf '%0100000d' 0; } | is_refused 408 "9110 15.5.9"
}

# bats test_tags=modes
@test "leaves a client that reads nothing of its response" {
    start_server --send-timeout 1 large_or_held:app
    before=$(descriptors_of_all)
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /large HTTP/1.0\r\n\r\n' >&6
    read -r -t 10 line <&6
    eventually all_gone "$before"
    [ "$(tail -n 1 <&6)" != "done" ]
}

# Reads ten million bytes in two seconds, then the rest, and succeeds when the end is among it.
reads_steadily() { # PATH
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&6
    [ "$({ for _ in {1..10}; do head -c 1000000 && sleep 0.2; done && cat; } <&6 | tail -n 1)" = "end" ]
}

@test "waits for a client that reads at a good pace for longer than it may stall" {
    start_server --send-timeout 1 large:app
    reads_steadily /
}

# bats test_tags=modes
@test "waits for a client that reads a file at a good pace for longer than it may stall" {
    make_file
    start_server --send-timeout 1 sends_file:app
    reads_steadily /file
}

@test "leaves a client that reads nothing of its file" {
    make_file
    start_server --send-timeout 1 sends_file:app
    before=$(descriptors_of_all)
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /file HTTP/1.0\r\n\r\n' >&6
    read -r -t 10 line <&6
    eventually all_gone "$before"
}
