#!/usr/bin/env bats
# How the server ends on TERM and INT: it answers what has arrived, closes what is idle, and exits with 0, within its graceful
# timeout, and with --drain-delay after it. A second signal aborts.

# bats file_tags=workers
load test_helper

setup() {
    own_folder
    modes=("" "--workers 1 --threads 2")
}

# holding OPTION... MODULE:APP  starts the server, and has a request arrive in the application, where the latch keeps it.
holding() {
    start_server "$@"
    holds
}

@test "can be stopped as soon as it has printed its ready line" {
    for signal in TERM INT TERM; do
        start_server
        stop_server "$signal"
        [ ! -s "$stderr" ]
    done
}

# bats test_tags=modes
@test "finishes the request in flight on TERM, with Connection: close in its response, then exits with 0" {
    start_server latch:app
    exec 5<>"$LATCH"
    curl -si -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    eventually refused
    echo >&5
    wait_for "$client"
    ends_well
    [ "$(grep -c -i -e '^connection: close' -e '^done$' "$answer")" -eq 2 ]
}

@test "answers all that was pipelined before TERM" {
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

# bats test_tags=modes
@test "finishes the response in flight on TERM" {
    holding stream:app
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

# bats test_tags=modes
@test "aborts what is in flight on a second TERM" {
    holding latch:app
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
@test "aborts what is in flight on a second signal with --no-fork" {
    holding --no-fork latch:app
    kill -TERM "$server_pid"
    kill -INT "$server_pid"
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    [ ! -s "$answer" ]
    ends_well
}

# bats test_tags=modes
@test "aborts what is in flight when its graceful timeout is over" {
    holding --graceful-timeout 0.5 latch:app
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

# Here, as below, its graceful timeout is longer than the test waits for it to end.
# bats test_tags=modes
@test "closes idle connections when it stops" {
    start_server --keep-alive 60 --graceful-timeout 60 latch:app
    keep_open 6
    keep_open 7
    idle=$(children)
    stop_server
    gone "$idle"
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
@test "closes forty connections when it stops, but for the one in flight" {
    start_server --keep-alive 60 latch:app
    exec 5<>"$LATCH"
    "$PYTHON" "$CLIENT" --max-conns 40 "$url/wait" 3>&- & client=$!
    eventually arrived 40
    printf '%39s' "" >&5
    kill -TERM "$server_pid"
    eventually has_children "$(($(workers) + 1))"
    echo >&5
    wait_for "$client"
    ends_well
}

# ---- each kind of server ----

# Each process is stopped until all has arrived, and until the one above it has said that it drains. It accepts eight at a time.
# bats test_tags=fork
@test "answers on TERM what has arrived, also on connections that wait to be accepted" {
    for SERVER_OPTIONS in "${modes[@]}" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        server=$(the_server) others=$(children)
        for pid in $server $others; do kill -STOP "$pid"; done
        : >"$answer"
        "$PYTHON" - "$port" >>"$answer" 3>&- 4>&- <<'END' & client=$!
import socket, sys
socks = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) for _ in range(20)]
for sock in socks:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
print("sent", flush=True)
for sock in socks:
    assert b"".join(iter(lambda: sock.recv(9999), b"")).endswith(b"\r\n\r\ndone\n")
END
        ask 6
        eventually grep -q sent "$answer"
        kill -TERM "$server_pid"
        settles
        kill -CONT "$server"
        settles
        for pid in $others; do kill -CONT "$pid"; done
        wait_for "$client"
        [ "$(grep -c '^done' <&6)" -eq 1 ] # and then the end
        exec 6>&-
        ends_well
    done
}

# What was accepted already takes the descriptors that accepting needs.
# bats test_tags=fork
@test "answers on TERM every connection that waits, although descriptors are short" {
    for SERVER_OPTIONS in "--max-children 4" "--workers 1 --threads 4" --no-fork; do
        launch=(bash -c "ulimit -n 64; cd '$folder'; exec \"\$@\"" short)
        app_is "from time import sleep
def app(environ, start_response):
    sleep(0.02)
    return says('one')(environ, start_response)"
        start_server app:app
        "$PYTHON" - "$port" "$server_pid" <<'END'
import os, signal, socket, sys
clients = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(100)]
for client in clients:
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
os.kill(int(sys.argv[2]), signal.SIGTERM)
for number, client in enumerate(clients):
    client.settimeout(30)
    assert client.recv(12) == b"HTTP/1.1 200", number
END
        ends_well
    done
}

# While it drains, it looks whether more has come before it says that the connection closes.
# bats test_tags=fork
@test "logs nothing of a client that resets while the server drains" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        start_server app:app
        rm -f "$LATCH.arrived"
        exec 5<>"$LATCH"
        "$PYTHON" - "$port" "$server_pid" "$LATCH.arrived" <<'END'
import os, signal, socket, struct, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET /wait HTTP/1.0\r\n\r\n")
while not os.path.exists(sys.argv[3]):
    time.sleep(0.01)
os.kill(int(sys.argv[2]), signal.SIGTERM)
while not socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
    time.sleep(0.01)  # until it drains
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
END
        echo >&5
        ends_well
        [ ! -s "$stderr" ]
    done
}

# bats test_tags=fork
@test "refuses connections after TERM, although a worker is busy" {
    for SERVER_OPTIONS in "--workers 2" "--workers 1 --threads 2"; do
        start_server app:app
        holds
        kill -TERM "$server_pid"
        eventually refused
        lets_go one
        ends_well
        [ ! -s "$stderr" ]
    done
}

# Each call takes 0.2 s, and eighteen clients have one process. After the first answer that says so, no more is asked.
# bats test_tags=fork
@test "closes each connection of a busy worker with its next response after TERM" {
    app_is 'import time
def app(environ, start_response):
    time.sleep(0.2)
    return says("one")(environ, start_response)'
    start_server --workers 1 --keep-alive 60 app:app
    "$PYTHON" - "$port" "$server_pid" <<'END'
import os, select, signal, socket, sys, time
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
socks = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) for _ in range(18)]
for sock in socks:
    sock.sendall(GET)
answers, stopped = {sock: 0 for sock in socks}, 0.0
while socks:
    ready = select.select(socks, [], [], 20)[0]
    assert ready, f"{len(socks)} connections hang"
    for sock in ready:
        data = sock.recv(9999)
        assert data or stopped, "it closes too early"
        answers[sock] += bool(data)
        if not data or b"\r\nConnection: close\r\n" in data:
            assert data or answers[sock], "a connection ended without an answer"
            socks.remove(sock)
        else:
            sock.sendall(GET)
    if not stopped and sum(answers.values()) > 20:
        os.kill(int(sys.argv[2]), signal.SIGTERM)
        stopped, answers = time.monotonic(), dict.fromkeys(answers, 0)
assert max(answers.values()) <= 2, sorted(answers.values())
END
    ends_well
}

# Each of its requests has arrived when the last is answered.
# bats test_tags=fork
@test "closes the connection of a client that asks without a pause" {
    altered linger_s=0.2
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server hello:app
        "$PYTHON" - "$port" "$server_pid" <<'END'
import os, signal, socket, sys, threading
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
def ask():
    try:
        while True:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
    except OSError:  # it is closed
        pass
threading.Thread(target=ask, daemon=True).start()
client.recv(1)
os.kill(int(sys.argv[2]), signal.SIGTERM)
tail = data = b"."
while data:
    data = client.recv(65536)
    tail = tail[-500:] + data
assert b"\r\nConnection: close\r\n" in tail, tail
END
        ends_well
    done
}

# bats test_tags=fork
@test "serves on TERM the connection that waits while --max-children are busy" {
    start_server --max-children 1 app:app
    holds
    curl -s -m 20 "$url" >"$BATS_TEST_TMPDIR/second" 3>&- 4>&- & second=$!
    eventually stderr_has 1 'all 1 children are busy'
    kill -TERM "$server_pid"
    lets_go one
    wait_for "$second"
    [ "$(cat "$BATS_TEST_TMPDIR/second")" = "one" ]
    ends_well
}

# A child has the listener for a moment after the fork: here half a second.
# bats test_tags=fork
@test "refuses a connection after TERM, or serves it" {
    app_is 'import time; os.register_at_fork(after_in_child=lambda: time.sleep(0.5)); app = says("one")'
    start_server app:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children 1
    kill -TERM "$server_pid"
    status=0
    while [ "$status" -eq 0 ]; do run curl -s -m 10 -o /dev/null "$url"; done
    [ "$status" -eq 7 ] # curl: refused
    ends_well
}

# bats test_tags=fork
@test "ends within its graceful timeout whatever clients do" {
    for SERVER_OPTIONS in "" --no-fork; do
        start_server --graceful-timeout 0.5 echo:app
        exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port" 8<>"/dev/tcp/127.0.0.1/$port"
        printf 'GET / HTTP/1.1\r\nHost: a\r\n' >&6
        printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nbody' >&7
        (while printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&8; do :; done) 2>/dev/null 3>&- 4>&- &
        SECONDS=0
        stop_server
        [ "$SECONDS" -lt 8 ]
    done
}

# ---- signals to other processes than the first ----

# A terminal signals the whole process group, systemd with KillMode=control-group every process.
# bats test_tags=fork
@test "finishes the request in flight when the stop reaches every process" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        for signal in TERM INT-group; do
            app_is 'app = says("done")'
            start_server --keep-alive 60 app:app
            keep_open 6
            holds
            pids=$(processes)
            case $signal in
                TERM) for pid in $pids; do kill -TERM "$pid"; done ;;
                *) kill -s "${signal%-group}" -- "-$server_pid" ;;
            esac
            lets_go "done"
            run read -r -t 10 <&6
            [ "$status" -eq 1 ] # idle: its end
            ends_well
            [ ! -s "$stderr" ]
        done
    done
}

# bats test_tags=fork
@test "does nothing when TERM, INT or HUP reaches a Server, a child or a worker alone" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        holds
        server=$(the_server) pids=$(children)
        for signal in TERM INT HUP TERM; do
            for pid in $server $pids; do kill -s "$signal" "$pid"; done
        done
        lets_go "done"
        ask 6
        done_on 6
        [ "$(the_server)" = "$server" ]
        forks || [ "$(children)" = "$pids" ]
        exec 6>&-
        stop_server
    done
    [ ! -s "$stderr" ]
}

# ---- before it serves ----

# bats test_tags=fork
@test "ends with 0 on TERM while the application is imported, without a traceback, and leaves no process" {
    for SERVER_OPTIONS in "" "--workers 2" --no-fork; do
        free_port
        exec 5<>"$LATCH"
        rm -f "$LATCH.arrived"
        app_is 'wait()'
        begin_server app:app
        eventually test -s "$LATCH.arrived"
        SECONDS=0
        kill -TERM "$server_pid"
        wait_for "$server_pid" || [ "$SERVER_OPTIONS" = --no-fork ] # which has the default of the signal
        server_pid=
        [ "$SECONDS" -lt 15 ]
        eventually gone "$(cat "$LATCH.arrived")"
        stderr_has 0 Traceback
    done
}

# The Supervisor sees the stop and the Server's end at once.
# bats test_tags=fork
@test "ends with 0 where TERM reaches the whole group while the application is imported" {
    free_port
    exec 5<>"$LATCH"
    app_is 'wait()'
    set -m
    begin_server app:app
    set +m
    eventually test -s "$LATCH.arrived"
    kill -STOP "$server_pid"
    kill -TERM -- "-$server_pid"
    eventually gone "$(cat "$LATCH.arrived")"
    kill -CONT "$server_pid"
    ends_well
}

# bats test_tags=fork
@test "leaves an application its own alarm when it drains" {
    app_is 'import signal, time
class Late(Exception):
    pass
def late(*_):
    raise Late
def app(environ, start_response):
    start_response("200 OK", [])
    signal.signal(signal.SIGALRM, late)
    signal.alarm(1)
    try:
        while True:
            yield b"more\n"
            time.sleep(0.05)
    except Late:
        yield b"late\n"'
    start_server app:app
    curl -sN -m 20 "$url" >"$answer" 3>&- 4>&- & client=$!
    eventually test -s "$answer"
    kill -TERM "$server_pid"
    ends_well
    wait_for "$client"
    [ "$(tail -n 1 "$answer")" = late ]
}

# ---- --drain-delay ----

# closes  succeeds when a response says that its connection closes.
closes() {
    curl -si -m 10 "$url" | grep -q -i '^connection: close'
}

# bats test_tags=fork
@test "goes on after TERM with --drain-delay, with Connection: close in each response; a second TERM aborts" {
    for SERVER_OPTIONS in "${modes[@]}" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 --drain-delay 60 app:app
        keep_open 6
        kill -TERM "$server_pid"
        eventually closes
        ask 6
        [ "$(grep -c -i -e '^connection: close' -e '^done' <&6)" -eq 2 ]
        closes
        SECONDS=0
        kill -TERM "$server_pid"
        ends_well
        [ "$SECONDS" -lt 20 ]
    done
}

@test "closes with each response after TERM, although the same second had others" {
    altered one-second
    start_server --drain-delay 60 hello:app
    "$PYTHON" - "$port" "$server_pid" <<'END'
import os, signal, socket, sys, time
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as client:
    def ask():
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return b"\r\nConnection: close\r\n" in client.recv(65536)
    assert not any(ask() for _ in range(3))
    os.kill(int(sys.argv[2]), signal.SIGTERM)
    for _ in range(100):
        if ask():
            break
        time.sleep(0.05)
    else:
        sys.exit("it does not")
END
    stop_server # a second time
}

# bats test_tags=fork
@test "drains when --drain-delay is over" {
    for SERVER_OPTIONS in "" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 --drain-delay 0.5 app:app
        keep_open 6
        kill -TERM "$server_pid"
        run read -r -t 10 <&6
        [ "$status" -eq 1 ] # idle: its end
        ends_well
    done
}

# bats test_tags=fork
@test "keeps a connection whose response was under way at TERM until its next request, with --drain-delay" {
    start_server --keep-alive 60 --drain-delay 60 stream:app
    term() { kill -TERM "$server_pid" && eventually closes; }
    goes_idle term
    kill -TERM "$server_pid"
    ends_well
}

# bats test_tags=fork
@test "leaves no file of a socket when it is aborted before --drain-delay is over" {
    for SERVER_OPTIONS in "" --no-fork; do
        free_port
        begin_server --drain-delay 60 --bind unix:socket app:app
        eventually answers one
        kill -TERM "$server_pid"
        eventually grep -q -i '^connection: close' <(curl -si -m 10 "$url")
        stop_server
        [ ! -e "$folder/socket" ]
    done
}

# bats test_tags=fork
@test "starts no worker in place of those that a second TERM kills" {
    start_server --workers 2 --drain-delay 60 app:app
    read -r -t 2 <>"$LATCH" || true # those that die young are started later
    holds
    curl -s -m 20 -o /dev/null "$url/wait" 3>&- 4>&- & other=$!
    eventually arrived 2 # an idle one could leave before it is cut
    kill -STOP "$server_pid"
    kill -TERM "$server_pid" && kill -INT "$server_pid"
    kill -CONT "$server_pid"
    ends_well
    stderr_has 2 'was killed by SIGKILL' # and no other
    stderr_has 0 'next start'
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    wait_for "$other" || [ "$?" -eq 52 ]
}
