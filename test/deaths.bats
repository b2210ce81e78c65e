#!/usr/bin/env bats
# What is left when a process of the server dies by KILL or a crash: the Supervisor, a Server, or both in turn; and what the
# server does as PID 1. Workers that die stand in workers.bats, children in children.bats.

# bats file_tags=workers
load test_helper

setup() {
    own_folder
    modes=("" "--workers 1 --threads 2") # the Supervisor is the same in all of them
}

# kills_supervisor  kills the process that was started.
kills_supervisor() {
    kill -KILL "$server_pid"
    server_pid=
}

# kills_server  kills the one Server, and waits until there is another.
kills_server() {
    killed=$(the_server)
    kill -KILL "$killed"
    eventually is_replaced
}

is_replaced() {
    local found
    found=$(the_server 2>/dev/null) && [ "$found" != "$killed" ]
}

# ---- the Supervisor ----

@test "leaves no process when the Supervisor is killed with -9, and its port free" {
    start_server --keep-alive 60 latch:app
    keep_open 6
    keep_open 7
    pids=$(processes)
    kill -KILL "$server_pid"
    eventually gone "$pids"
    start_server --bind "127.0.0.1:$port" hello:app
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

# bats test_tags=modes
@test "finishes the request in flight when the Supervisor is killed with -9, and leaves its port free" {
    start_server --keep-alive 60 latch:app
    exec 5<>"$LATCH"
    curl -si -m 20 "$url/wait" >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -KILL "$server_pid"
    eventually refused
    start_server --bind "127.0.0.1:$port" hello:app
    echo >&5
    wait_for "$client"
    [ "$(grep -c -i -e '^connection: close' -e '^done$' "$answer")" -eq 2 ]
    eventually gone "$(cat "$LATCH.arrived")"
}

# What ends them otherwise is dead: each sees to it by itself.
# bats test_tags=modes
@test "cuts what outlives the graceful timeout although the Server is killed with -9 while it drains" {
    start_server --graceful-timeout 2 endless:app
    curl -s -N -m 20 -o "$answer" "$url" 3>&- 4>&- & client=$!
    eventually test -s "$answer"
    pids=$(processes)
    kill -TERM "$server_pid"
    eventually refused
    sleep 0.3 # all drain
    kill -KILL "$(the_server)"
    eventually gone "$pids"
    ends_well
    run wait_for "$client"
    [ "$status" -ne 28 ]
}

# The Server takes what waits, then shuts its listeners down. One connection may come between the two.
# bats test_tags=fork
@test "loses no request when the Supervisor is killed with -9 under load, and leaves no process" {
    for SERVER_OPTIONS in "" "--workers 2"; do
        start_server app:app
        "$PYTHON" "$BATS_TEST_DIRNAME/load.py" "$port" 3 >"$answer" 3>&- 4>&- & load=$!
        sleep 1 # it asks by then
        pids=$(servers) # children come and go
        kills_supervisor
        wait_for "$load"
        awk '{ print; exit !($1 > 20 && $3 > 0 && $5 <= 1) }' "$answer"
        eventually gone "$pids"
    done
}

# killed_beside_a_stream PATH  kills the Supervisor while a response comes without end.
killed_beside_a_stream() {
    start_server --graceful-timeout 1 endless:app
    : >"$answer"
    curl -sN -m 30 "$url$1" >"$answer" 3>&- & client=$!
    eventually test -s "$answer"
    pids=$(processes)
    kills_supervisor
    eventually gone "$pids"
    wait_for "$client" || [ "$?" -eq 18 ] # curl: the end is missing
}

@test "cuts an endless response after its graceful timeout when the Supervisor is killed with -9" {
    killed_beside_a_stream /
    killed_beside_a_stream /written
}

# bats test_tags=modes
@test "closes the connection of a busy client when the Supervisor is killed with -9" {
    start_server hello:app
    pids=$(processes)
    "$PYTHON" "$BATS_TEST_DIRNAME/busy_client.py" "$port" "$server_pid"
    server_pid=
    eventually gone "$pids"
}

# bats test_tags=fork
@test "leaves no process from before HUP when the Supervisor is killed with -9, whatever is imported meanwhile" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        renew
        pids=$(processes)
        app_is 'wait()'
        rm -f "$LATCH.arrived"
        exec 5<>"$LATCH"
        kill -HUP "$server_pid"
        eventually arrived 1
        kills_supervisor
        eventually gone "$pids" "$(cat "$LATCH.arrived")"
        exec 5>&- 6>&-
    done
}

# ---- a Server ----

# bats test_tags=fork
@test "has another Server when the one is killed with -9, on the same listeners" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        free_port
        begin_server --bind unix:socket app:app
        eventually grep -q '^Serving' "$stdout" # the Supervisor has been told
        kills_server
        eventually logs_that 1 "[^0-9]${killed}[^0-9].*SIGKILL"
        for _ in 1 2 3; do
            answers one
            [ "$(curl -s -m 10 --unix-socket "$folder/socket" http://a/)" = one ]
        done
        eventually rests
        [ "$(zombies)" = "" ]
        stop_server
        [ ! -e "$folder/socket" ]
        : >"$stderr" && : >"$stdout"
    done
}

# bats test_tags=fork
@test "has the application's children and workers finish their requests when their Server is killed with -9" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'app = says("done")'
        start_server --keep-alive 60 app:app
        keep_open 6
        exec 5<>"$LATCH"
        rm -f "$LATCH.arrived"
        curl -si -m 20 -o "$answer" "$url/wait" 3>&- 4>&- & client=$!
        eventually arrived 1
        pids=$(children)
        kills_server
        answers "done"
        echo >&5
        wait_for "$client"
        grep -q -x "done" "$answer"
        grep -q -i '^connection: close' "$answer"
        eventually gone "$pids"
        eventually rests
        exec 6>&-
        stop_server
    done
}

@test "has a worker cut an endless response after its graceful timeout when HUP came, and then its Server is killed" {
    for SERVER_OPTIONS in "--workers 1" "--workers 1 --threads 2"; do
        start_server --graceful-timeout 1 endless:app
        : >"$answer"
        curl -sN -m 30 "$url" >"$answer" 3>&- & client=$!
        eventually test -s "$answer"
        pids=$(children) killed=$(the_server)
        renew
        kill -KILL "$killed"
        eventually gone "$pids"
        wait_for "$client" || [ "$?" -eq 18 ]
        stop_server
    done
}

@test "closes the connection of a busy client when its Server is killed with -9" {
    start_server hello:app
    pids=$(children)
    "$PYTHON" "$BATS_TEST_DIRNAME/busy_client.py" "$port" "$(the_server)"
    eventually gone "$pids"
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

# Each kill may meet a connection of each of eight clients that is accepted, and has no process yet.
# bats test_tags=fork
@test "loses only what was in the Server when that is killed with -9 again and again under load" {
    start_server app:app
    "$PYTHON" "$BATS_TEST_DIRNAME/load.py" "$port" 3 >"$answer" 3>&- 4>&- & load=$!
    for _ in 1 2 3; do kills_server || return; done
    wait_for "$load"
    awk '{ print; exit !($1 > 20 && $3 == 0 && $5 <= 24) }' "$answer"
    eventually rests
    [ "$(zombies)" = "" ]
}

# bats test_tags=fork
@test "replaces a Server that dies while it is to replace another" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait(); app = says("two")'
    kill -KILL "$(the_server)"
    eventually arrived 1
    app_is 'app = says("three")'
    kill -KILL "$(the_server)"
    eventually answers three
    eventually rests
}

# bats test_tags=fork
@test "starts Servers ever later that die soon after they are ready, and recovers" {
    app_is 'import threading
open("started", "a").write("started\n")
if os.path.exists("dies"):
    threading.Timer(0.1, os.kill, (os.getpid(), 9)).start()
app = says("one")'
    start_server app:app
    : >"$folder/dies"
    kill -KILL "$(the_server)"
    sleep 3
    [ "$(grep -c . "$folder/started")" -gt 2 ]
    [ "$(grep -c . "$folder/started")" -lt 9 ]
    rm "$folder/dies"
    eventually answers one
    eventually rests
}

# bats test_tags=fork
@test "ends on TERM although its Server has just been killed with -9" {
    start_server app:app
    kill -KILL "$(the_server)"
    stop_server
    eventually refused
}

# bats test_tags=fork
@test "leaves no worker whose import hangs when its Server is killed with -9" {
    free_port
    exec 5<>"$LATCH"
    app_is 'wait(); app = says("one")'
    begin_server --workers 1 app:app
    eventually arrived 1
    kill -KILL "$(the_server)"
    eventually gone "$(cat "$LATCH.arrived")"
    wait_for "$server_pid" || server_pid= # it has failed to start
    [ "$server_pid" = "" ]
}

# ---- PID 1 ----

# as_first  starts the server as PID 1, and sets $first to its pid as others see it.
as_first() {
    as_first_process
    launch+=(bash -c "cd '$folder' && exec \"\$@\"" in_folder)
    start_server "$@"
    first=$(children "$server_pid")
    own=$(children "$first" | grep -c .) || true # a Server
}

# bats test_tags=fork
@test "reaps the orphans that it inherits as PID 1" {
    as_first orphan:app
    exec 5<>"$LATCH"
    curl -sf -m 20 -o /dev/null "$url"
    eventually has_children "$((own + 1))" "$first"
    echo >&5
    eventually has_children "$own" "$first"
    curl -si -m 20 "$url" >"$answer"
    echo >&5
    [ "$(grep -c -i '^connection: close' "$answer")" -eq 0 ]
    kill -TERM "$first"
    ends_well
}

# bats test_tags=fork
@test "ends as PID 1 although an orphan still runs" {
    as_first --graceful-timeout 1 orphan:app
    exec 5<>"$LATCH"
    curl -sf -m 20 -o /dev/null "$url"
    kill -TERM "$first"
    ends_well
    [ ! -s "$stderr" ]
}

# bats test_tags=fork
@test "ends as PID 1 where the first import fails, although an orphan still runs" {
    app_is 'import subprocess
helper = subprocess.Popen(["sleep", "20"])
raise ValueError'
    as_first_process
    SECONDS=0
    run "${launch[@]}" bash -c "cd '$folder' && exec \"\$@\"" in_folder "$PYTHON" "$PROGRAM" --bind 127.0.0.1:0 app:app
    [ "$status" -eq 1 ]
    [ "$SECONDS" -lt 10 ]
}

# bats test_tags=fork
@test "replaces a Server as PID 1, has its orphans finish, and reaps them" {
    app_is 'app = says("one")'
    as_first app:app
    holds
    kill -KILL "$(children "$first")"
    eventually answers one
    lets_go one
    eventually has_children "$own" "$first"
    kill -TERM "$first"
    ends_well
}

# Its end kills what is left.
# bats test_tags=fork
@test "waits as PID 1 for the request of an orphan before it ends" {
    app_is 'app = says("one")'
    as_first app:app
    holds
    kill -KILL "$(children "$first")"
    eventually answers one
    kill -TERM "$first"
    sleep 1
    lets_go one
    ends_well
}
