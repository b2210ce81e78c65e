#!/usr/bin/env bats
# What the server does on HUP: it starts anew, in front of clients who do not notice. How it leaves a load balancer
# time to look away. And what it outlives.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" PYTHONPATH="$BATS_TEST_DIRNAME/apps"
    export PYTHONDONTWRITEBYTECODE=1 # a cache does not tell two files of one second and one size apart
    folder="$BATS_TEST_TMPDIR/folder" answer="$BATS_TEST_TMPDIR/answer"
    # shellcheck disable=SC2016
    launch=(bash -c "cd '$folder' && exec \"\$@\"" in_folder)
    modes=("" "--workers 2" "--workers 1 --threads 2")
    mkfifo "$LATCH"
    mkdir "$folder"
    app_is 'app = says("one")'
}

# app_is STATEMENTS  makes the application, in one step.
app_is() {
    printf 'import os\nfrom latch import wait\nfrom says import says\n%s\n' "$1" >"$folder/app.new"
    mv "$folder/app.new" "$folder/app.py"
}

answers() {
    [ "$(curl -s -m 10 "$url")" = "$1" ]
}

# said N PATTERN  succeeds when so many lines of stderr match.
said() {
    [ "$(grep -c -e "$2" "$stderr")" -eq "$1" ]
}

# restarts  prints how often the server has said again that it serves.
restarts() {
    grep -c '^Serving' "$stdout" || true
}

has_restarted() {
    [ "$(restarts)" -ge "$1" ]
}

# renew [-GROUP]  has the server start anew, and returns when it has.
renew() {
    local before
    before=$(restarts)
    kill -HUP -- "${1-$server_pid}"
    eventually has_restarted "$((before + 1))"
}

# holds  has a request arrive in the application, where the latch keeps it; lets_go  has it answered with $1.
holds() {
    rm -f "$LATCH.arrived"
    exec 5<>"$LATCH"
    curl -s -m 20 "$url/wait" >"$answer" 3>&- 4>&- & client=$!
    eventually arrived 1
}

lets_go() {
    echo >&5
    wait_for "$client"
    [ "$(cat "$answer")" = "$1" ]
}

# Succeeds when none of the processes given runs; one that nobody has reaped does not run.
gone() {
    local pids=" $* "
    ps -A -o pid=,stat= | awk -v pids="${pids//$'\n'/ }" 'index(pids, " " $1 " ") && $2 !~ /^Z/ { found = 1 } END { exit found }'
}

# free_port  sets port and url to those of a server that has just ended; in_folder ARGUMENT...  becomes one there.
free_port() {
    start_server
    stop_server
}

in_folder() {
    cd "$folder" && exec "$PYTHON" "$WEBSERVER" --bind "127.0.0.1:$port" "$@"
}

# Succeeds when nobody listens any more.
refused() {
    run curl -s -m 1 -o /dev/null "$url"
    [ "$status" -eq 7 ]
}

# Clients come and stay; none is refused, none has to ask twice.
loses_nothing() { # OPTION...
    start_server "$@" app:app
    "$PYTHON" "$BATS_TEST_DIRNAME/steady.py" "$port" >"$answer" 3>&- 4>&- & client=$!
    for _ in 1 2 3 4 5 6 7 8 9 10; do renew || return; done
    kill -TERM "$client"
    wait_for "$client" || { cat "$answer" && return 1; }
    [ ! -s "$stderr" ]
}

@test "loses no request when it starts anew ten times" {
    loses_nothing
}

@test "loses no request of workers when they start anew ten times" {
    loses_nothing --workers 2
}

@test "loses no request of threads when they start anew ten times" {
    loses_nothing --workers 1 --threads 4
}

@test "serves the new code after HUP, under the same pid" {
    for SERVER_OPTIONS in "${modes[@]}" "--workers 2 --no-preload"; do
        app_is 'app = says("one")'
        start_server app:app
        app_is 'app = says("two")'
        renew
        eventually answers two
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "leaves no process and no descriptor behind when it starts anew several times" {
    for SERVER_OPTIONS in "" "--workers 2"; do
        start_server app:app
        descriptors=$(descriptors_of_all)
        for _ in 1 2 3 4; do renew; done
        eventually rests
        [ "$(descriptors_of_all)" -eq "$descriptors" ]
        stop_server
    done
}

@test "leaves no descriptor behind when it starts anew while a request from before lasts" {
    for SERVER_OPTIONS in "" "--workers 2"; do
        start_server app:app
        holds
        renew
        eventually has_children "$(($(workers) + 1))"
        descriptors=$(descriptors "$server_pid")
        renew && renew && renew
        eventually has_children "$(($(workers) + 1))"
        [ "$(descriptors "$server_pid")" -eq "$descriptors" ]
        lets_go one
        stop_server
    done
}

@test "keeps the old code where the new one cannot be imported, and says why" {
    start_server --workers 1 --no-preload app:app
    app_is 'broken = 1 / 0'
    kill -HUP "$server_pid"
    eventually said 1 'the new code cannot start: the old goes on'
    said 1 ZeroDivisionError
    answers one
    app_is 'app = says("two")'
    renew
    eventually answers two
}

@test "keeps the old code where the new one ends the program, with whatever status" {
    for SERVER_OPTIONS in "" "--workers 1" "--workers 1 --no-preload"; do
        app_is 'app = says("one")'
        start_server app:app
        : >"$stderr"
        app_is 'raise SystemExit(0)'
        kill -HUP "$server_pid"
        eventually said 1 'the new code cannot start: the old goes on'
        said 1 'app:app ends the program at its import: SystemExit(0)'
        answers one
        stop_server
    done
}

@test "keeps the old code where the new webserver.py does nothing" {
    cp "$WEBSERVER" "$folder/copy.py"
    WEBSERVER=copy.py
    start_server app:app
    : >"$folder/copy.py"
    kill -HUP "$server_pid"
    eventually said 1 'the new code cannot start: the old goes on'
    answers one
}

# A release is a folder, and a link says which: the server starts in the link.
@test "starts the release to which a link leads now, in whose name it was started" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        mkdir -p "$folder/1" "$folder/2"
        app_is 'app = says("one")' && mv "$folder/app.py" "$folder/1"
        app_is 'app = says("two")' && mv "$folder/app.py" "$folder/2"
        ln -s 1 "$folder/current"
        launch=(bash -c "cd '$folder/current' && exec \"\$@\"" in_release)
        start_server --access-log log app:app
        answers one
        ln -s 2 "$folder/next" && mv "$folder/current" "$folder/before" && mv "$folder/next" "$folder/current"
        renew
        eventually answers two
        rm -r "$folder/1"
        renew
        eventually answers two
        eventually test -s "$folder/2/log"
        stop_server
        rm -r "$folder/2" "$folder/current" "$folder/before"
    done
}

@test "serves with the new certificate after HUP, and with the old one while that is broken" {
    certificate() { # NAME
        openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj "/CN=$1" -keyout "$folder/key" -out "$folder/cert" 2>/dev/null
    }
    shows() { # NAME
        openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | openssl x509 -noout -subject | grep -q "CN *= *$1\$"
    }
    certificate one || skip "there is no openssl here"
    free_port
    in_folder --certfile cert --keyfile key app:app >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
    eventually shows one
    echo "no certificate" >"$folder/cert"
    kill -HUP "$server_pid"
    eventually said 1 'the old goes on'
    shows one
    certificate two
    kill -HUP "$server_pid"
    eventually shows two
}

@test "reads webserver.py itself anew on HUP" {
    cp "$WEBSERVER" "$folder/copy.py"
    WEBSERVER=copy.py
    start_server
    sed 's/Hello, World/Hello, again/' "$folder/copy.py" >"$folder/new.py"
    mv "$folder/new.py" "$folder/copy.py"
    renew
    answers "Hello, again!"
}

@test "reopens its access log on HUP" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server --access-log log app:app
        mv "$folder/log" "$folder/log.old"
        renew
        eventually curl -s -m 10 -o /dev/null "$url/new"
        eventually grep -q '"GET /new ' "$folder/log"
        stop_server
    done
}

@test "finds its folder and its environment on HUP as they were at the start, whatever the application did to them" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        app_is 'app = says(os.environ.get("SEEN", "new")); os.environ["SEEN"] = "old"; os.chdir("/")'
        start_server --access-log log app:app
        renew
        renew
        answers new
        stop_server
    done
}

@test "takes no other folder for its own that the environment names" {
    launch=(bash -c "cd '$folder' && exec env PWD=/ \"\$@\"" in_folder)
    start_server --access-log log app:app
    renew
    answers one
    eventually test -s "$folder/log"
}

@test "goes on listening on the file of a socket after HUP, and removes it in the end" {
    free_port
    in_folder --bind unix:socket app:app >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
    eventually answers one
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    eventually answers two
    [ "$(curl -s -m 10 --unix-socket "$folder/socket" http://localhost/)" = "two" ]
    stop_server
    [ ! -e "$folder/socket" ]
}

@test "finishes a request from before HUP by the old code while the new one serves" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'app = says("one")'
        start_server app:app
        holds
        app_is 'app = says("two")'
        renew
        eventually answers two
        lets_go one
        eventually rests
        stop_server
    done
}

@test "answers the next request on a connection from before HUP, and closes that" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        app_is 'app = says("two")'
        renew
        eventually answers two
        ask 6
        cat <&6 >"$answer" # until it is closed
        exec 6>&-
        [ "$(grep -c -x -i -e "done" -e $'connection: close\r' "$answer")" -eq 2 ]
        eventually rests
        stop_server
    done
}

@test "closes a connection from before HUP when its keep-alive time is over" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        app_is 'app = says("done")'
        start_server --keep-alive 1 app:app
        keep_open 6
        renew
        run read -r -t 10 <&6
        [ "$status" -eq 1 ] # the end, before the time is over
        eventually rests
        stop_server
    done
}

# goes_idle COMMAND  runs it during a response that has not said that the connection closes: then that stays open.
goes_idle() {
    local line=
    rm -f "$LATCH.arrived"
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually arrived 1
    "$@"
    echo >&5
    until [ "$line" = $'0\r' ]; do read -r -t 10 line <&6 || return; done
    read -r -t 10 line <&6
    run read -r -t 1 <&6
    [ "$status" -gt 128 ] # it waits
    ask 6
    [ "$(grep -c -i '^connection: close' <&6)" -eq 1 ]
}

@test "keeps a connection whose response was under way at HUP until its next request" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        start_server --keep-alive 60 stream:app
        goes_idle renew
        stop_server
    done
}

@test "drains who serves from before HUP on TERM" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 --graceful-timeout 60 app:app
        keep_open 6
        holds
        renew
        kill -TERM "$server_pid"
        run read -r -t 10 <&6
        [ "$status" -eq 1 ] # idle: its end
        lets_go "done"
        ends_well
    done
}

@test "cuts who serves from before HUP on a second TERM" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server app:app
        holds
        renew
        kill -TERM "$server_pid"
        kill -INT "$server_pid"
        SECONDS=0
        ends_well
        [ "$SECONDS" -lt 20 ]
        wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
        gone "$(cat "$LATCH.arrived")"
    done
}

@test "leaves nobody from before HUP when it is killed with -9" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        read -r -d '' -a before <<<"$(children)" || true
        renew
        kill -KILL "$server_pid"
        server_pid=
        eventually gone "${before[@]}"
    done
}

@test "leaves nobody from before HUP when it is killed with -9 while it tries the code after" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        read -r -d '' -a before <<<"$(children)" || true
        renew
        app_is 'wait()'
        rm -f "$LATCH.arrived"
        exec 5<>"$LATCH"
        kill -HUP "$server_pid"
        eventually arrived 1
        kill -KILL "$server_pid"
        server_pid=
        eventually gone "${before[@]}"
        echo >&5
    done
}

@test "leaves nobody who tries the new code when it ends" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait()'
    kill -HUP "$server_pid"
    eventually arrived 1
    stop_server
    eventually gone "$(cat "$LATCH.arrived")"
}

@test "starts anew on many HUPs at once, with the last code" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server app:app
        for text in 1 2 3 4 5 6 7 8; do
            app_is "app = says($text)"
            kill -HUP "$server_pid"
        done
        eventually answers 8
        eventually rests
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "gives up a trial that hangs when HUP comes again after the time for what is in flight" {
    exec 5<>"$LATCH"
    start_server --graceful-timeout 1 app:app
    app_is 'wait(); app = says("two")'
    kill -HUP "$server_pid"
    eventually arrived 1
    app_is 'app = says("three")'
    for _ in 1 2 3; do
        kill -HUP "$server_pid"
        read -r -t 1 <&5 || true # a while
    done
    eventually answers three
}

@test "tries once more when HUP comes while it tries the code before" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait(); broken = 1 / 0'
    kill -HUP "$server_pid"
    eventually arrived 1
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    echo >&5
    eventually answers two
    said 0 'the old goes on'
}

@test "outlives code that breaks after it was tried" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait(); app = says("two")'
    kill -HUP "$server_pid"
    eventually arrived 1
    app_is 'broken = 1 / 0'
    echo >&5
    eventually said 1 ZeroDivisionError
    app_is 'app = says("three")'
    kill -HUP "$server_pid"
    eventually answers three
}

# The trial ends before it listens, for the server that runs has the port.
@test "outlives an address that is taken, and serves when it is free" {
    start_server
    taken=$port other=$server_pid
    app_is "import webserver
webserver.serve(says('one'), bind='127.0.0.1:0')"
    cp "$WEBSERVER" "$folder/webserver.py"
    WEBSERVER=app.py start_server
    app_is "import webserver
webserver.serve(says('two'), bind='127.0.0.1:$taken')"
    kill -HUP "$server_pid"
    eventually said 1 "cannot listen on 127.0.0.1:$taken: Address already in use"
    said 0 Traceback
    kill -TERM "$other" && wait_for "$other"
    renew
    [ "$(curl -s -m 10 "http://127.0.0.1:$taken/")" = two ]
}

@test "closes what the new code does not ask for" {
    cp "$WEBSERVER" "$folder/webserver.py"
    app_is "import webserver
webserver.serve(says('one'), bind=['127.0.0.1:0', 'unix:old'])"
    WEBSERVER=app.py start_server >/dev/null || [ -n "$port" ]
    port=${port%%,*}
    app_is "import webserver
webserver.serve(says('two'), bind='unix:new', workers=2)"
    renew
    [ "$(curl -s -m 10 --unix-socket "$folder/new" http://a/)" = two ]
    run curl -s -m 10 "http://127.0.0.1:${port#* port }/"
    [ "$status" -eq 7 ] # refused
    [ ! -e "$folder/old" ]
}

# What fork mode has left hears of the end by the lifeline, whoever serves now.
@test "drains children from before HUP where workers have followed them" {
    cp "$WEBSERVER" "$folder/webserver.py"
    app_is "import webserver
webserver.serve(says('done'), bind='127.0.0.1:0', keep_alive=60)"
    WEBSERVER=app.py start_server
    keep_open 6
    keep_open 7
    app_is "import webserver
webserver.serve(says('two'), bind='127.0.0.1:0', keep_alive=60, workers=1)"
    renew
    renew
    ask 6
    grep -q -x "done" <&6
    SECONDS=0
    kill -TERM "$server_pid"
    ends_well
    [ "$SECONDS" -lt 20 ]
}

@test "is cut by a second stop while it imports the new code, with who serves from before" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        app_is 'app = says("one")'
        free_port
        in_folder --bind unix:socket ${SERVER_OPTIONS:+$SERVER_OPTIONS} app:app >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
        eventually answers one
        holds
        rm -f "$folder/tried"
        app_is 'wait() if os.path.exists("tried") else open("tried", "w").close(); app = says("two")'
        kill -HUP "$server_pid"
        eventually arrived 2
        kill -TERM "$server_pid"
        kill -INT "$server_pid"
        ends_well
        eventually gone "$(sed 1q "$LATCH.arrived")"
        wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
        [ ! -e "$folder/socket" ]
    done
}

@test "removes the file of its socket when it ends while it waits for code that broke after it was tried" {
    exec 5<>"$LATCH"
    free_port
    in_folder --bind unix:socket app:app >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
    eventually answers one
    app_is 'wait(); app = says("two")'
    kill -HUP "$server_pid"
    eventually arrived 1
    app_is 'broken = 1 / 0'
    echo >&5
    eventually said 1 ZeroDivisionError
    stop_server
    [ ! -e "$folder/socket" ]
}

@test "goes on when the process that tries the new code is killed" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait()'
    kill -HUP "$server_pid"
    eventually arrived 1
    kill -KILL "$(cat "$LATCH.arrived")"
    eventually said 1 'the old goes on'
    answers one
    app_is 'app = says("two")'
    renew
    answers two
}

@test "heeds HUP before its workers are ready" {
    exec 5<>"$LATCH"
    parent_of() { ps -A -o pid=,ppid= | awk -v child="$1" '$1 == child { print $2 }'; }
    { eventually arrived 1 && kill -HUP "$(parent_of "$(cat "$LATCH.arrived")")" && eventually arrived 2 && echo 123456 >&5; } 3>&- 4>&- & helper=$!
    start_server --workers 1 --no-preload latch_at_import:app
    wait "$helper"
    answers "Hello, World!"
    eventually has_children 1
}

@test "starts anew although the application left a thread running at import" {
    app_is 'import threading; threading.Thread(target=threading.Event().wait).start(); app = says("two")'
    start_server --workers 1 app:app
    app_is 'import threading; threading.Thread(target=threading.Event().wait).start(); app = says("three")'
    renew
    eventually answers three
}

@test "starts programs with no signal blocked, also at an import after HUP" {
    app_is 'import subprocess; app = says(subprocess.call(["sh", "-c", "kill -TERM $$; exit 7"]))'
    start_server app:app
    answers -15
    renew
    answers -15
}

@test "lets TERM end a process that the application forks at an import after HUP" {
    app_is 'import forks; app = says(forks.run("/").strip())'
    start_server app:app
    renew
    answers "status -15"
}

@test "finishes what is in flight when HUP reaches the whole process group" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        holds
        renew "-$server_pid"
        lets_go "done"
        ask 6
        done_on 6
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "says on HUP that it cannot with --no-fork, and goes on" {
    start_server --no-fork app:app
    kill -HUP "$server_pid"
    eventually said 1 'not with --no-fork'
    answers one
}

# From here on: TERM, and who came before it.

@test "answers on TERM what has arrived, and who waits to be accepted" {
    for SERVER_OPTIONS in "${modes[@]}" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        kill -STOP -- "-$server_pid"
        exec 7<>"/dev/tcp/127.0.0.1/$port" 8<>"/dev/tcp/127.0.0.1/$port"
        for fd in 6 7 8; do ask "$fd"; done
        kill -TERM "$server_pid"
        kill -CONT -- "-$server_pid"
        for fd in 6 7 8; do [ "$(grep -c '^done' <&"$fd")" -eq 1 ]; done # and then the end
        exec 6>&- 7>&- 8>&-
        ends_well
    done
}

# What was accepted already takes the descriptors that accepting needs.
@test "answers on TERM all who wait, although descriptors are short" {
    for SERVER_OPTIONS in "--max-children 4" "--workers 1 --threads 4" --no-fork "--workers 1"; do
        nap=0.02
        [ "$SERVER_OPTIONS" != "--workers 1" ] || nap=0
        launch=(bash -c "ulimit -n 64; cd '$folder'; exec \"\$@\"" short)
        app_is "from time import sleep
def app(environ, start_response):
    sleep($nap)
    return says('one')(environ, start_response)"
        start_server app:app
        "$PYTHON" - "$port" "$server_pid" <<'END'
import os, signal, socket, sys
clients = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(150)]
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

# While it leaves, it looks whether more has come before it says that the connection closes.
@test "says nothing of a client that resets while it leaves" {
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
    time.sleep(0.01)  # until it leaves
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
client.close()
END
        echo >&5
        ends_well
        [ ! -s "$stderr" ]
    done
}

@test "lets nobody connect after TERM, although a worker is busy" {
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

# Each of its requests has arrived when the last is answered.
@test "tells a client to close, although it asks without a pause" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server app:app
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

@test "serves on TERM who waits while --max-children are busy" {
    start_server --max-children 1 app:app
    holds
    curl -s -m 20 "$url" >"$BATS_TEST_TMPDIR/second" 3>&- 4>&- & second=$!
    eventually said 1 'all 1 children are busy'
    kill -TERM "$server_pid"
    lets_go one
    wait_for "$second"
    [ "$(cat "$BATS_TEST_TMPDIR/second")" = "one" ]
    ends_well
}

# A child has the listener for a moment after the fork: here half a second.
@test "lets nobody connect after TERM whom it does not serve" {
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

@test "ends within its grace whatever clients do" {
    for SERVER_OPTIONS in "" "--workers 1" --no-fork; do
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

@test "goes on after TERM with --drain-delay, and says that connections close; a second TERM cuts" {
    for SERVER_OPTIONS in "${modes[@]}" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 --drain-delay 60 app:app
        keep_open 6
        closes() { curl -si -m 10 "$url" | grep -q -i '^connection: close'; }
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

@test "says that the connection closes, although it has said otherwise in the same second" {
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

@test "drains when --drain-delay is over" {
    for SERVER_OPTIONS in "" "--workers 1" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 --drain-delay 0.5 app:app
        keep_open 6
        kill -TERM "$server_pid"
        run read -r -t 10 <&6
        [ "$status" -eq 1 ] # idle: its end
        ends_well
    done
}

@test "keeps a connection whose response was under way at TERM until its next request, with --drain-delay" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        start_server --keep-alive 60 --drain-delay 60 stream:app
        term() { kill -TERM "$server_pid" && eventually closes; }
        closes() { curl -si -m 10 "$url" | grep -q -i '^connection: close'; }
        goes_idle term
        kill -TERM "$server_pid"
        ends_well
    done
}

@test "leaves no file of a socket when it is cut before --drain-delay is over" {
    for mode in "" "--workers 1" --no-fork; do
        free_port
        read -r -a options <<<"$mode"
        in_folder --drain-delay 60 --bind unix:socket ${options[@]+"${options[@]}"} app:app >>"$stdout" 2>>"$stderr" 3>&- 4>&- &
        server_pid=$!
        eventually answers one
        kill -TERM "$server_pid"
        eventually grep -q -i '^connection: close' <(curl -si -m 10 "$url")
        stop_server
        [ ! -e "$folder/socket" ]
    done
}

@test "starts no worker in place of those that a second TERM cuts" {
    start_server --workers 2 --drain-delay 60 app:app
    read -r -t 2 <>"$LATCH" || true # those that die young are started later
    holds
    curl -s -m 20 -o /dev/null "$url/wait" 3>&- 4>&- & other=$!
    eventually arrived 2 # an idle one could leave before it is cut
    kill -STOP "$server_pid"
    kill -TERM "$server_pid" && kill -INT "$server_pid"
    kill -CONT "$server_pid"
    ends_well
    said 2 'was killed by SIGKILL' # and no other
    said 0 'started later'
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    wait_for "$other" || [ "$?" -eq 52 ]
}

@test "does not start anew while it drains" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server app:app
        holds
        before=$(restarts)
        kill -TERM "$server_pid"
        sleep 0.2 # lest both be heeded at once
        kill -HUP "$server_pid"
        read -r -t 1 <>"$LATCH" || true # in which it could
        lets_go one
        ends_well
        [ "$(restarts)" -eq "$before" ]
    done
}

# From here on: what it outlives.

@test "answers although its access log is on a full disk, and says so" {
    [ -c /dev/full ] || skip "there is no /dev/full here"
    for SERVER_OPTIONS in "" "--workers 1" "--workers 1 --threads 2" --no-fork; do
        start_server --access-log /dev/full app:app
        for _ in 1 2 3; do answers one; done
        said 1 'the access log cannot be written: No space left on device'
        stop_server
        : >"$stderr"
    done
}

@test "answers and starts anew although stdout and stderr are on a full disk" {
    [ -c /dev/full ] || skip "there is no /dev/full here"
    free_port
    app_is 'app = says(1 / 1)'
    in_folder --verbose app:app >/dev/full 2>/dev/full 3>&- 4>&- & server_pid=$!
    eventually answers 1.0
    [ "$(raw <<<"nonsense" | statuses)" = "400" ]
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    eventually answers two
}

@test "answers 500, and says so, where no space is left for a body" {
    free_port
    (ulimit -f 1000 && in_folder echo:app) >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
    eventually curl -s -o /dev/null "$url"
    head -c 3000000 /dev/zero >"$BATS_TEST_TMPDIR/body"
    run curl -s -m 20 -o /dev/null -w '%{http_code}' -H Expect: --data-binary "@$BATS_TEST_TMPDIR/body" "$url"
    [ "$output" = "500" ]
    said 1 'cannot be kept: File too large'
    [ "$(curl -s -m 10 -d small "$url")" = "small" ]
}

@test "starts anew although stdout and stderr are closed" {
    free_port
    in_folder app:app 0<&- 1>&- 2>&- 3>&- 4>&- & server_pid=$!
    eventually answers one
    app_is 'import standard_streams; app = standard_streams.app'
    kill -HUP "$server_pid"
    eventually answers "null null null"
}

@test "starts anew although nobody reads its stdout and stderr any more" {
    free_port
    mkfifo "$BATS_TEST_TMPDIR/output"
    exec 7<>"$BATS_TEST_TMPDIR/output"
    in_folder --workers 1 --verbose app:app >"$BATS_TEST_TMPDIR/output" 2>&1 3>&- 4>&- 7>&- & server_pid=$!
    eventually answers one
    exec 7<&-
    [ "$(raw <<<"nonsense" | statuses)" = "400" ]
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    eventually answers two
}

@test "goes on where it was after STOP and CONT, with whoever came meanwhile" {
    for SERVER_OPTIONS in "${modes[@]}" --no-fork; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        holds
        kill -STOP -- "-$server_pid"
        exec 7<>"/dev/tcp/127.0.0.1/$port"
        ask 7
        lets_go_later() { kill -CONT -- "-$server_pid" && lets_go "done"; }
        lets_go_later
        ask 6
        for fd in 6 7; do done_on "$fd"; done
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "says who of those from before HUP was killed, and goes on" {
    start_server app:app
    holds
    renew
    kill -KILL "$(cat "$LATCH.arrived")"
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    eventually said 1 "$(cat "$LATCH.arrived"), from before the restart, was killed by SIGKILL"
    answers one
}

@test "says how those from before HUP died that nobody killed" {
    app_is 'def app(environ, start_response): wait(); os._exit(7)'
    for SERVER_OPTIONS in "" "--workers 1"; do
        start_server app:app
        holds
        renew
        echo >&5
        wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
        eventually said 1 'from before the restart, exited with status 7$'
        stop_server
        : >"$stderr"
    done
}

@test "counts those from before HUP among --max-children, and has them give way" {
    app_is 'app = says("done")'
    start_server --max-children 2 --keep-alive 60 app:app
    keep_open 6
    holds
    renew
    curl -s -m 20 -o "$answer.second" "$url" # in place of the idle one
    eventually has_children 1
    run read -r -t 10 <&6
    [ "$status" -eq 1 ]
    lets_go "done"
}

# With it goes stderr, and comes HUP.
@test "outlives the terminal that it was started from" {
    free_port
    mkfifo "$BATS_TEST_TMPDIR/started"
    (cd "$folder" && exec "$PYTHON" "$BATS_TEST_DIRNAME/hang_up.py" "$PYTHON" "$WEBSERVER" --bind "127.0.0.1:$port" app:app) \
        >"$BATS_TEST_TMPDIR/started" 2>/dev/null 3>&- 4>&- & client=$!
    read -r -t 10 server line <"$BATS_TEST_TMPDIR/started"
    eventually answers one
    app_is 'app = says("two")'
    kill -HUP "$server"
    eventually answers two
    kill -TERM "$server"
    wait_for "$client"
}
