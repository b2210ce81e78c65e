#!/usr/bin/env bats
# What the server evicts when connections wait and there is no room: idle connections at once; after a grace those that have
# sent nothing, or whose head, body or reading is behind. Room is --max-children, or in one process what ulimit -n leaves.

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
    start_server --keep-alive 60 --header-timeout 60 --stall-timeout 60 --graceful-timeout 1 "$@" large_or_held:app
}

answers_another() {
    [ "$(curl -s -m 5 "$url")" = "done" ]
}

# Succeeds when another client gets no answer.
keeps_another_waiting() {
    run curl -s -m 1 "$url"
    [ "$status" -eq 28 ]
}

# open_slowly KIND N  opens connections that are slow in this way of slow_clients.py; `kill "$slow"` ends them.
open_slowly() {
    "$PYTHON" "$BATS_TEST_DIRNAME/slow_clients.py" "$port" "$1" "$2" >"$BATS_TEST_TMPDIR/slow" 3>&- & slow=$!
    eventually grep -q connected "$BATS_TEST_TMPDIR/slow"
}

# answers_among KIND  has a client's requests answered, each on a connection of its own, while others hold three slow ones
# for each place. (Without eviction none is.)
answers_among() {
    start_with_room 40
    open_slowly "$1" 120
    for _ in 1 2 3 4 5; do curl -sS -f -m 5 -o /dev/null -w '%{http_code} %{time_total} s\n' "$url"; done
    kill "$slow"
}

# bats test_tags=modes
@test "evicts an idle connection" {
    start_with_room 1
    keep_open 6
    settles
    answers_another
    [ "$(cat <&6)" = "" ]
}

# bats test_tags=modes
@test "evicts a connection on which nothing has come" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    answers_another
    [ "$(cat <&6)" = "" ]
}

# RFC 9110 15.5.9
# bats test_tags=modes
@test "evicts an unfinished head, with an answer" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    answers_another
    answer=$(cat <&6)
    [ "$(statuses <<<"$answer")" = "408" ]
    grep -q "sooner where others wait" <<<"$answer"
}

# RFC 9110 15.5.9
# bats test_tags=modes
@test "evicts an unfinished body, with an answer" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' >&6
    answers_another
    [ "$(statuses <&6)" = "408" ]
}

# bats test_tags=modes
@test "evicts a client that does not read" {
    start_with_room 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /large HTTP/1.0\r\n\r\n' >&6
    answers_another
    [ "$(tail -n 1 <&6)" != "done" ]
}

# Closed at once, its next bytes would have the connection reset, and the refusal lost.
# bats test_tags=modes
@test "has a client read why it is refused while it still sends, although others wait" {
    start_with_room 1
    "$PYTHON" - "$port" <<'END'
import socket, sys, time
def connect():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
with connect() as refused, connect() as waiting:
    waiting.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    refused.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999\r\n\r\n")
    for _ in range(3):
        time.sleep(0.05)
        refused.sendall(b"more")
    assert refused.recv(9999).startswith(b"HTTP/1.1 413 ")
    assert waiting.recv(9999).endswith(b"done\n")
END
}

@test "evicts an idle connection before those that are in their grace" {
    start_with_room 2 eviction_grace_s=60
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    keep_open 7
    settles
    answers_another
    [ "$(cat <&7)" = "" ]
    ask 6
    done_on 6
}

# Each of eight may go at once.
# bats test_tags=modes
@test "evicts one connection for one client that waits, not all" {
    start_with_room 8
    "$PYTHON" - "$port" <<'END'
import select, socket, sys, time
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
def connect():
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    sock.sendall(GET)
    assert sock.recv(9999).endswith(b"done\n")
    return sock
idle = [connect() for _ in range(8)]
time.sleep(0.5)
connect()
time.sleep(0.5)
closed = len(select.select(idle, [], [], 0)[0])
assert closed == 1, closed
END
}

# What has to wait until it may evict waits in the kernel.
# bats test_tags=modes
@test "takes no processor time while no connection may be evicted yet" {
    start_with_room 8 eviction_grace_s=60
    for _ in 1 2 3 4 5 6 7 8; do exec 6<>"/dev/tcp/127.0.0.1/$port" && printf 'GET / HTTP/1.1\r\n' >&6 && cat <&6 >/dev/null 3>&- 4>&- & done
    sleep 1
    curl -s -m 5 "$url" 3>&- 4>&- &
    sleep 1
    before=$(ticks)
    sleep 1
    [ "$(($(ticks) - before))" -lt 10 ]
}

# Prints the hundredths of a second that the server's processes have used.
ticks() {
    local pids
    [ -r /proc/self/stat ] || skip "no /proc tells here what processes take"
    pids=$(processes) || return
    for process in $pids; do sed 's/.*) //' "/proc/$process/stat"; done | awk '{ sum += $12 + $13 } END { print sum }'
}

# What is on its way arrives within the grace.
@test "evicts no head and no body whose last bytes may be on their way" {
    start_with_room 2 eviction_grace_s=60
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell' >&7
    keeps_another_waiting
    printf ': a\r\n\r\n' >&6 && done_on 6
    printf o >&7 && done_on 7
}

@test "evicts none while there is room" {
    start_with_room 3 eviction_grace_s=0
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\nHost' >&6
    for _ in 1 2 3; do answers_another; done
    ask 7 && done_on 7
    printf ': a\r\n\r\n' >&6 && done_on 6
}

# bats test_tags=fork
@test "cuts no request that is in the application, although others wait" {
    start_with_room 1 eviction_grace_s=0
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 1
    keeps_another_waiting
    echo >&5
    done_on 6
}

@test "evicts no body that comes at a good pace, although others wait" {
    start_with_room 1 eviction_grace_s=2 -- --min-rate 1
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.0\r\nContent-Length: 40\r\n\r\n' >&6
    curl -sf -m 20 -o /dev/null "$url" 3>&- & client=$!
    for _ in {1..40}; do printf x >&6 && sleep 0.1; done
    [ "$(statuses <&6)" = "200" ]
    wait_for "$client"
}

@test "evicts a connection that has sent nothing before a body that comes at a good pace" {
    start_with_room 2 -- --min-rate 1
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.0\r\nContent-Length: 20\r\n\r\n' >&6
    curl -sf -m 20 -o /dev/null "$url" 3>&- & client=$!
    for _ in {1..20}; do printf x >&6 && sleep 0.1; done
    [ "$(statuses <&6)" = "200" ]
    [ "$(cat <&7)" = "" ]
    wait_for "$client"
}

# bats test_tags=modes
@test "answers others while three clients for each place send nothing" {
    answers_among silent
}

@test "answers others while three clients for each place send their heads slowly" {
    answers_among head
}

@test "answers others while three clients for each place send their bodies slowly" {
    answers_among body
}

# bats test_tags=modes
@test "answers others while three clients for each place read slowly" {
    if threads; then skip "a client keeps a thread until it is behind --min-rate"; fi
    answers_among read
}

# ---- with a process for each connection ----

# bats test_tags=fork
@test "lets idle connections stay while there is room" {
    start_server --keep-alive 60 --max-children 3 latch:app
    keep_open 6
    keep_open 7
    curl -sf -m 10 -o /dev/null "$url"
    ask 6
    done_on 6
    ask 7
    done_on 7
}

# bats test_tags=fork
@test "closes with the response while other connections wait" {
    start_server --keep-alive 60 --max-children 1 latch:app
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    echo >&5 && done_on 6
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 2
    run curl -s -m 1 "$url"
    echo >&5
    while read -r -t 10 line <&6 && [ "$line" != $'Connection: close\r' ]; do :; done
    [ "$line" = $'Connection: close\r' ]
}

# env's printf sends a request whole, where bash's own sends it line by line: the child goes from idle right into
# the application.
# bats test_tags=fork
@test "evicts the connection that is idle, not the one that is busy" {
    start_server --keep-alive 60 --max-children 2 latch:app
    exec 5<>"$LATCH"
    keep_open 6
    env printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 1
    keep_open 7
    [ "$(curl -s -m 10 "$url")" = "done" ]
    echo >&5
    done_on 6
}

# bats test_tags=fork
@test "evicts another connection when a child does not react" {
    start_server --max-children 2 latch:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children 1
    child=$(children)
    kill -STOP "$child"
    exec 7<>"/dev/tcp/127.0.0.1/$port"
    [ "$(curl -s -m 8 "$url")" = "done" ]
    kill -CONT "$child"
}

# The head, which could have had Connection: close, is sent by then. None is evicted twice within a minute.
# bats test_tags=fork
@test "closes a connection whose response had begun when others came to wait" {
    altered retry_delay_s=60
    start_server --keep-alive 60 --max-children 1 stream:app
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 1
    run curl -s -m 1 "$url"
    echo >&5
    [ "$(curl -s -m 10 "$url" | tail -n 1)" = "three" ]
}

# bats test_tags=fork
@test "lets connections go idle again when none waits any more" {
    start_server --keep-alive 60 --max-children 1 latch:app
    keep_open 6
    [ "$(curl -s -m 10 "$url")" = "done" ]
    eventually has_children 0
    keep_open 7
    ask 7
    done_on 7
}

# bats test_tags=fork
@test "answers a request that has arrived unread before it evicts the connection, be it the first or not" {
    start_server --keep-alive 60 --max-children 1 latch:app
    for first in yes no; do
        if [ "$first" = yes ]; then exec 6<>"/dev/tcp/127.0.0.1/$port" && eventually has_children 1; else keep_open 6; fi
        settles
        child=$(children)
        kill -STOP "$child"
        ask 6
        run curl -s -m 1 "$url"
        kill -CONT "$child"
        done_on 6
        exec 6>&-
        eventually has_children 0
    done
}
