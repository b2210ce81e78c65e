#!/usr/bin/env bats
# Who gives way when others wait and there is no room: first who is idle, then who has sent nothing, an unfinished
# head, an unfinished body, a client that does not read. Room is --max-children, with --no-fork what ulimit -n leaves.

# bats file_tags=every-mode
load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
}

# start_with_room N CHANGE... [-- ARGUMENT...]  starts a server that serves N connections at once, and no more.
start_with_room() {
    local room=$1 changes=()
    shift
    while [ "$#" -gt 0 ] && [ "$1" != -- ]; do changes+=("$1") && shift; done
    [ "$#" -eq 0 ] || shift
    if forks; then set -- "$@" --max-children "$room"; else changes+=("room:$room"); fi
    [ "$(workers)" -eq 0 ] || set -- "$@" --workers 1 # each has its own room
    altered ${changes[@]+"${changes[@]}"}
    start_server --keep-alive 60 --header-timeout 60 --stall-timeout 60 "$@" large_or_held:app
}

answers_another() {
    [ "$(curl -s -m 5 "$url")" = "done" ]
}

# Succeeds when another client gets no answer.
keeps_another_waiting() {
    run curl -s -m 1 "$url"
    [ "$status" -eq 28 ]
}

# Opens 300 connections that are slow in the way $1 of slow_clients.py; `kill "$slow"` ends them.
open_slowly() {
    "$PYTHON" "$BATS_TEST_DIRNAME/slow_clients.py" "$port" "$1" 300 >"$BATS_TEST_TMPDIR/slow" 3>&- & slow=$!
    eventually grep -q connected "$BATS_TEST_TMPDIR/slow"
}

# answers_among KIND  has a client's requests answered, each on a connection of its own, while others hold 300 slow
# ones. (Without giving way that takes ten seconds.)
answers_among() {
    start_server large_or_held:app
    open_slowly "$1"
    for _ in 1 2 3 4 5; do curl -sS -f -m 5 -o /dev/null -w '%{http_code} %{time_total} s\n' "$url"; done
    kill "$slow"
}

@test "lets an idle connection give way" {
    start_with_room 1
    keep_open 6
    settles
    answers_another
    [ "$(cat <&6)" = "" ]
}

@test "lets a connection give way on which nothing has come" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    answers_another
    [ "$(cat <&6)" = "" ]
}

# RFC 9110 15.5.9
@test "lets an unfinished head give way, with an answer" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    answers_another
    [ "$(statuses <&6)" = "408" ]
}

# RFC 9110 15.5.9
@test "lets an unfinished body give way, with an answer" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' >&6
    answers_another
    [ "$(statuses <&6)" = "408" ]
}

@test "lets a client give way that does not read" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /large HTTP/1.0\r\n\r\n' >&6
    answers_another
    [ "$(tail -n 1 <&6)" != "done" ]
}

@test "lets who is idle give way before who has sent nothing" {
    start_with_room 2 eviction_grace_s=0 retry_delay_s=1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    keep_open 7
    read -r -t 1 <>"$LATCH" || true # a second for the answer's last steps
    answers_another
    [ "$(cat <&7)" = "" ]
    ask 6
    done_on 6
}

@test "lets who has sent nothing give way before an unfinished head" {
    start_with_room 2 eviction_grace_s=0 retry_delay_s=1
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    answers_another
    [ "$(cat <&7)" = "" ]
    printf ': a\r\n\r\n' >&6
    done_on 6
}

@test "lets an unfinished head give way before an unfinished body" {
    start_with_room 2 eviction_grace_s=0 retry_delay_s=1
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' >&6
    printf 'GET / HTTP/1.1\r\nHost' >&7
    answers_another
    [ "$(statuses <&7)" = "408" ]
    printf o >&6
    done_on 6
}

@test "lets an unfinished body give way before a client that does not read" {
    start_with_room 2 eviction_grace_s=0 retry_delay_s=1
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /large HTTP/1.0\r\n\r\n' >&6
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' >&7
    answers_another
    [ "$(statuses <&7)" = "408" ]
    [ "$(tail -n 1 <&6)" = "done" ]
}

@test "lets who has been behind for longest give way first" {
    start_with_room 2 eviction_grace_s=0 retry_delay_s=1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    answers_another
    exec 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&7
    run read -r -t 1 <&7 # by then it can be asked, too
    answers_another
    [ "$(statuses <&6)" = "408" ]
    printf ': a\r\n\r\n' >&7 && done_on 7
}

# What is on its way arrives within a moment, and a signal to give way that comes before it would cut off everybody.
@test "lets no head and no body give way whose last bytes may be on their way" {
    start_with_room 2 eviction_grace_s=60
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' >&7
    keeps_another_waiting
    printf ': a\r\n\r\n' >&6 && done_on 6
    printf o >&7 && done_on 7
}

@test "lets no connection give way to nobody" {
    start_with_room 3 eviction_grace_s=0
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    for _ in 1 2 3; do answers_another; done
    ask 7 && done_on 7
    printf ': a\r\n\r\n' >&6 && done_on 6
}

# bats test_tags=fork
@test "cuts no request that is in the application, whoever waits" {
    start_with_room 1 eviction_grace_s=0
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 1
    keeps_another_waiting
    echo >&5
    done_on 6
}

@test "cuts no body that comes at a good pace, whoever waits" {
    start_with_room 1 eviction_grace_s=2 -- --min-rate 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.0\r\nContent-Length: 40\r\n\r\n' >&6
    curl -sf -m 20 -o /dev/null "$url" 3>&- & client=$!
    for _ in {1..40}; do printf x >&6 && sleep 0.1; done
    [ "$(statuses <&6)" = "200" ]
    wait_for "$client"
}

@test "lets who has sent nothing give way before a body that comes at a good pace" {
    start_with_room 2 -- --min-rate 1
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.0\r\nContent-Length: 20\r\n\r\n' >&6
    curl -sf -m 20 -o /dev/null "$url" 3>&- & client=$!
    for _ in {1..20}; do printf x >&6 && sleep 0.1; done
    [ "$(statuses <&6)" = "200" ]
    [ "$(cat <&7)" = "" ]
    wait_for "$client"
}

@test "answers another while three clients for each place send their heads slowly" {
    start_with_room 100
    open_slowly head
    [ "$(curl -s -m 10 "$url")" = "done" ]
    kill "$slow"
}

@test "answers others while 300 clients say nothing" {
    answers_among silent
}

@test "answers others while 300 clients send their heads slowly" {
    answers_among head
}

@test "answers others while 300 clients send their bodies slowly" {
    answers_among body
}

@test "answers others while 300 clients read slowly" {
    answers_among read
}
