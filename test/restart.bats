#!/usr/bin/env bats
# What HUP does: another Server imports the application, the certificates and the log files anew; when it is ready, the one
# before it retires. No client notices.

load test_helper

setup() {
    own_folder
    modes=("" "--workers 1 --threads 2") # the Supervisor is the same in all of them
}

# What is logged, in a line, when the previous Server goes on.
goes_on='[^a-z](old|previous|goes on)([^a-z]|$)'

# Clients open a connection for each request, and keep theirs, while the server is restarted again and again.
loses_nothing() { # OPTION...
    start_server "$@" app:app
    "$PYTHON" "$BATS_TEST_DIRNAME/steady.py" "$port" >"$answer" 3>&- 4>&- & client=$!
    for _ in 1 2 3 ${ALL_MODES:+4 5 6 7 8 9 10}; do
        renew || return
        sleep 0.3 # while they ask
    done
    kill -TERM "$client"
    wait_for "$client" || { cat "$answer" && return 1; }
    [ ! -s "$stderr" ]
}

@test "loses no request when it starts anew again and again" {
    loses_nothing
}

# bats test_tags=all
@test "loses no request of workers when they start anew again and again" {
    loses_nothing --workers 2
}

@test "loses no request of threads when they start anew again and again" {
    loses_nothing --workers 1 --threads 4
}

# Half a second is promised; a curl that starts beside other tests gets another.
@test "delays no request while the new code takes two seconds to import" {
    for SERVER_OPTIONS in "" "--workers 2"; do
        app_is 'app = says("one")'
        start_server app:app
        app_is 'import time; time.sleep(2); app = says("two")'
        kill -HUP "$server_pid"
        found=one
        while [ "$found" = one ]; do found=$(curl -sf -m 1 "$url") && sleep 0.1; done
        [ "$found" = two ]
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "serves the new code after HUP, under the same pid" {
    for SERVER_OPTIONS in "" "--workers 2 --preload"; do
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
    SERVER_OPTIONS="--workers 2"
    start_server app:app
    descriptors=$(descriptors_of_all)
    for _ in 1 2 3 4; do renew; done
    eventually rests
    [ "$(descriptors_of_all)" -eq "$descriptors" ]
    [ "$(zombies)" = "" ]
}

@test "leaves no descriptor behind when it starts anew while a request from before lasts" {
    start_server app:app
    holds
    renew
    eventually has_servers 2
    descriptors=$(descriptors "$server_pid")
    for _ in 1 2 3; do renew; done
    eventually has_servers 2
    [ "$(descriptors "$server_pid")" -eq "$descriptors" ]
    lets_go one
    eventually rests
}

# The second that retires makes the first drain, and that ends within its graceful timeout.
@test "has no more than two Servers beside the new one, although each has a response that does not end" {
    app_is 'from endless import app'
    start_server --graceful-timeout 1 app:app
    streams=()
    for _ in 1 2 3 4; do
        : >"$answer"
        curl -sN -m 60 -o "$answer" "$url" 3>&- 4>&- & streams+=("$!")
        eventually test -s "$answer"
        renew
    done
    eventually has_servers 2
    kill "${streams[@]}"
    eventually rests
}

# ---- what cannot start ----

# breaks STATEMENTS  sends HUP with these as the application: one line says, once, that the previous Server goes on.
breaks() {
    : >"$stderr"
    app_is "$1"
    kill -HUP "$server_pid"
    if ! eventually logs_that 1 "$goes_on" || ! answers one || ! rests; then echo "with: $1" && return 1; fi
}

@test "goes on with the previous code where the new code cannot start, and logs why, once" {
    for SERVER_OPTIONS in "" "--workers 2"; do
        app_is 'app = says("one")'
        start_server app:app
        breaks 'broken = 1 / 0' && grep -q ZeroDivisionError "$stderr"
        breaks 'os._exit(0)'
        if [ "$SERVER_OPTIONS" = "" ]; then
            breaks 'app = says(' && grep -q SyntaxError "$stderr"
            breaks 'app2 = says("two")' && grep -q 'app' "$stderr"
            breaks 'import nowhere' && grep -q ModuleNotFoundError "$stderr"
            breaks 'raise SystemExit(0)'
            breaks 'import sys; sys.exit(3)'
            breaks 'os._exit(7)'
            breaks 'os.kill(os.getpid(), 9)'
        fi
        app_is 'app = says("two")'
        renew
        eventually answers two
        eventually rests
        stop_server
    done
}

@test "kills an import that hangs when HUP comes again after the graceful timeout" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        exec 5<>"$LATCH"
        rm -f "$LATCH.arrived"
        app_is 'app = says("one")'
        start_server --graceful-timeout 1 app:app
        app_is 'wait(); app = says("two")'
        kill -HUP "$server_pid"
        eventually arrived 1
        answers one
        app_is 'app = says("three")'
        for _ in 1 2 3; do
            kill -HUP "$server_pid"
            sleep 1
        done
        eventually answers three
        eventually gone "$(cat "$LATCH.arrived")"
        stop_server
    done
}

@test "goes on when the process that imports the new code is killed" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait()'
    kill -HUP "$server_pid"
    eventually arrived 1
    kill -KILL "$(cat "$LATCH.arrived")"
    eventually logs_that 1 "$goes_on"
    answers one
    app_is 'app = says("two")'
    renew
    answers two
}

@test "goes on where it cannot fork for the new code" {
    altered fork-server:EAGAIN:1:1
    launch=(bash -c "cd '$folder' && exec \"\$@\"" in_folder "${launch[@]}")
    start_server app:app
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    eventually stderr_has 1 '^injected fork-server'
    stderr_has 0 Traceback
    curl -sf -m 10 -o /dev/null "$url"
    renew
    eventually answers two
}

@test "does not log that a previous Server goes on where none does" {
    start_server app:app
    app_is 'broken = 1 / 0'
    kill -KILL "$(the_server)"
    eventually logs_that 1 'error: Server [0-9]+ exited with status 1 before it was ready$'
    stderr_has 0 "$goes_on"
    app_is 'app = says("two")'
    eventually answers two
}

@test "logs how the first import was killed" {
    free_port
    app_is 'os.kill(os.getpid(), 11)'
    begin_server app:app
    code=0
    wait_for "$server_pid" || code=$?
    server_pid=
    [ "$code" -eq 1 ]
    logs_that 1 'error: Server [0-9]+ was killed by SIGSEGV before it was ready$'
}

# The end of the first generation is what may make room for the third.
@test "starts anew when it can fork again, although the generation before has ended meanwhile" {
    altered fork-server:EAGAIN:30:2
    launch=(bash -c "cd '$folder' && exec \"\$@\"" in_folder "${launch[@]}")
    app_is 'app = says("one")'
    start_server app:app
    holds
    app_is 'app = says("two")'
    renew
    app_is 'app = says("three")'
    kill -HUP "$server_pid"
    eventually grep -q '^injected fork-server' "$stderr"
    lets_go one
    eventually answers three
}

# bats test_tags=fork
@test "cuts no response of a worker that could not be replaced before HUP" {
    app_is 'import time
def app(environ, start_response):
    start_response("200 OK", [])
    for _ in range(40):
        yield b"more\n"
        time.sleep(0.1)'
    start_server --workers 1 --max-requests 1 --graceful-timeout 1 app:app
    app_is "app = says('two') if os.getppid() != $(the_server) else 1 / 0"
    curl -sN -m 20 "$url" >"$answer" 3>&- 4>&- & client=$!
    eventually grep -q ZeroDivisionError "$stderr"
    renew
    wait_for "$client"
    [ "$(grep -c more "$answer")" -eq 40 ]
}

# ---- several at once ----

# bats test_tags=all
@test "starts anew on many HUPs at once, with the last code" {
    start_server app:app
    for text in 1 2 3 4 5 6 7 8; do
        app_is "app = says($text)"
        kill -HUP "$server_pid"
    done
    eventually answers 8
    eventually rests
    stop_server
    [ ! -s "$stderr" ]
}

# starts_as_of_the_last_hup STATEMENTS  sends HUP while the code of the HUP before, these statements, is imported.
starts_as_of_the_last_hup() {
    exec 5<>"$LATCH"
    rm -f "$LATCH.arrived"
    app_is 'app = says("one")'
    start_server app:app
    app_is "wait(); $1"
    kill -HUP "$server_pid"
    eventually arrived 1
    app_is 'app = says("three")'
    kill -HUP "$server_pid"
    echo >&5
    eventually answers three
    eventually rests
    stop_server
}

@test "ends up with the code as of the last HUP, although that came while another was imported" {
    starts_as_of_the_last_hup 'app = says("two")'
    starts_as_of_the_last_hup 'broken = 1 / 0'
}

@test "notes a HUP that comes while the first code is imported" {
    free_port
    exec 5<>"$LATCH"
    app_is 'wait(); app = says("one")'
    begin_server app:app
    eventually arrived 1
    app_is 'app = says("two")'
    kill -HUP "$server_pid"
    echo >&5
    eventually answers two
}

# ---- what is imported, opened and kept ----

# A release is a folder, and a link says which: the server starts in the link.
@test "starts the release to which a link leads now, by the name with which it was started" {
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
}

@test "reopens its access log on HUP" {
    start_server --access-log log app:app
    mv "$folder/log" "$folder/log.old"
    renew
    eventually curl -s -m 10 -o /dev/null "$url/new"
    eventually grep -q '"GET /new ' "$folder/log"
}

@test "finds its folder and its environment on HUP as they were at the start, whatever the application did to them" {
    app_is 'app = says(os.environ.get("SEEN", "new")); os.environ["SEEN"] = "old"; os.chdir("/")'
    start_server --access-log log app:app
    renew
    renew
    answers new
}

@test "takes no other folder for its own that the environment names" {
    launch=(bash -c "cd '$folder' && exec env PWD=/ \"\$@\"" in_folder)
    start_server --access-log log app:app
    renew
    answers one
    eventually test -s "$folder/log"
}

@test "starts anew although the application left a thread running at import" {
    app_is 'import threading; threading.Thread(target=threading.Event().wait).start(); app = says("two")'
    start_server app:app
    app_is 'import threading; threading.Thread(target=threading.Event().wait).start(); app = says("three")'
    renew
    eventually answers three
    eventually rests
}

@test "starts programs with no signal blocked or ignored, also at an import after HUP" {
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

# ---- requests and connections from before ----

@test "finishes a request from before HUP by the Server of then while the new one serves, and has one Server at last" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'app = says("one")'
        start_server app:app
        first=$(the_server)
        holds
        app_is 'app = says("two")'
        renew
        eventually answers two
        has_servers 2
        lets_go one
        eventually rests
        [ "$(the_server)" != "$first" ]
        stop_server
    done
}

@test "answers the next request on a connection from before HUP, and closes the connection" {
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
    app_is 'app = says("done")'
    start_server --keep-alive 1 app:app
    keep_open 6
    renew
    run read -r -t 10 <&6
    [ "$status" -eq 1 ] # the end, before the time is over
    eventually rests
}

@test "keeps a connection whose response was under way at HUP until its next request" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        start_server --keep-alive 60 stream:app
        goes_idle renew
        stop_server
    done
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

@test "drains on TERM what is left from before HUP" {
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

@test "logs which process from before HUP was killed, and goes on" {
    start_server app:app
    holds
    renew
    kill -KILL "$(cat "$LATCH.arrived")"
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    eventually logs_that 1 "[^0-9]$(cat "$LATCH.arrived")[^0-9].*was killed by SIGKILL"
    answers one
}

@test "logs how a process from before HUP ended that was not killed" {
    app_is 'def app(environ, start_response): wait(); os._exit(7)'
    SERVER_OPTIONS="--workers 1"
    start_server app:app
    holds
    renew
    echo >&5
    wait_for "$client" || [ "$?" -eq 52 ] # curl: no answer
    eventually stderr_has 1 'exited with status 7([^0-9]|$)'
    stop_server
}

# Its --timeout has begun before HUP.
@test "ends a call from before HUP that takes too long" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        start_server --timeout 1 hangs:app
        : >"$stderr"
        printf 'GET /hang HTTP/1.1\r\nHost: a\r\n\r\n' | raw >"$answer" 3>&- & client=$!
        eventually in_application
        kill -HUP "$server_pid"
        wait_for "$client" || [ "$?" -eq 1 ] # or a reset, of which cat complains
        stop_server
    done
}

in_application() {
    kill -USR1 "$server_pid" && grep -q ' in hang$' "$stderr"
}

# ---- TERM meanwhile ----

@test "ends on TERM although the new code hangs at its import, and leaves no process" {
    exec 5<>"$LATCH"
    start_server app:app
    app_is 'wait()'
    kill -HUP "$server_pid"
    eventually arrived 1
    SECONDS=0
    stop_server
    [ "$SECONDS" -lt 15 ]
    eventually gone "$(cat "$LATCH.arrived")"
}

@test "aborts on a second stop what imports the new code, and what serves from before" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 2"; do
        app_is 'app = says("one")'
        free_port
        begin_server --bind unix:socket app:app
        eventually answers one
        holds
        app_is 'wait(); app = says("two")'
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

@test "does not start anew while it drains" {
    start_server app:app
    holds
    first=$(the_server)
    kill -TERM "$server_pid"
    sleep 0.2 # or it could note both at once
    kill -HUP "$server_pid"
    sleep 1 # in which it could
    [ "$(the_server)" = "$first" ]
    lets_go one
    ends_well
}

@test "logs on HUP that it cannot start anew with --no-fork, and goes on" {
    start_server --no-fork app:app
    kill -HUP "$server_pid"
    eventually logs_that 1 '--no-fork'
    answers one
}
