#!/usr/bin/env bats
# What the server does about code and system of its own accord: with --reload it starts anew when a file has changed,
# with --check-config it says what would go wrong. How it starts anew, restart.bats has.

load test_helper

setup() {
    own_folder
}

# said N PATTERN  succeeds when so many lines of stderr match.
said() {
    [ "$(grep -c -e "$2" "$stderr")" -eq "$1" ]
}

goes_on='\(old\|previous\) \|goes on'

# check OPTION...  has the server check its configuration in the folder, as "${launch[@]}".
check() {
    run "${launch[@]}" "$PYTHON" "$PROGRAM" --check-config --backlog 100 "$@"
    printf '%s\n' "$output"
}

# cannot PATTERN OPTION...  succeeds when that is the one line, and the server could not start.
cannot() {
    check "${@:2}"
    [ "$status" -ne 0 ]
    [ "${#lines[@]}" -eq 1 ]
    grep -q -e "$1" <<<"$output"
}

@test "starts anew when the application's file changes" {
    file_is app.py 'app = says("one")'
    start_server --reload app:app
    file_is app.py 'app = says("two")'
    eventually answers two
    stop_server
    [ ! -s "$stderr" ]
}

@test "starts anew when a file changes that a request had imported" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        file_is part.py 'answer = says("one")'
        file_is app.py 'def app(*request): import part; return part.answer(*request)'
        start_server --reload app:app
        answers one
        file_is part.py 'answer = says("two")'
        eventually answers two
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "does not start anew while no file changes" {
    start_server --reload app:app
    answers one
    first=$(the_server)
    sleep 3
    [ "$(the_server)" = "$first" ]
    [ ! -s "$stderr" ]
}

@test "shows the traceback of a file that is broken, and goes on with the last good code until it is mended" {
    start_server --reload app:app
    file_is app.py 'app = says('
    eventually said 1 "$goes_on"
    said 1 SyntaxError
    answers one
    file_is app.py 'app = says("two")'
    eventually answers two
}

# mends FILE  breaks the application in a file that it had not imported, and then mends that.
mends() {
    start_server --reload app:app
    file_is "$1" 'answer = says('
    file_is app.py 'from part import answer as app'
    eventually said 1 "$goes_on"
    read -r -t 2 <>"$LATCH" || true # until it has looked again
    file_is "$1" 'answer = says("two")'
    eventually answers two
}

@test "starts anew when a broken file is mended that the old code had not imported" {
    mends part.py
}

@test "starts anew when a broken file is mended in a folder that the old code did not know" {
    mkdir "$folder/part"
    mends part/__init__.py
}

# bats test_tags=all
@test "starts anew when a broken file is mended in a folder within that of Python" {
    "$PYTHON" -m venv --without-pip "$BATS_TEST_TMPDIR/environment" || skip "this Python makes no environment"
    mv "$folder" "$BATS_TEST_TMPDIR/environment/folder"
    folder="$BATS_TEST_TMPDIR/environment/folder" PYTHON="$BATS_TEST_TMPDIR/environment/bin/python"
    # shellcheck disable=SC2016
    launch=(bash -c "cd '$folder' && exec \"\$@\"" in_folder)
    mends part.py
}

# As when several files are copied.
@test "starts anew when a file comes that the code needs while that is tried" {
    exec 5<>"$LATCH"
    start_server --reload app:app
    printf 'try:\n from part import app\nexcept ImportError:\n from latch import wait\n wait()\n raise\n' >"$folder/app.new"
    mv "$folder/app.new" "$folder/app.py"
    eventually arrived 1
    file_is part.py 'app = says("two")'
    echo >&5
    eventually answers two
}

@test "starts anew when a file changes while the application is imported" {
    exec 5<>"$LATCH"
    file_is part.py 'answer = says("one")'
    file_is app.py 'from part import answer as app; wait()'
    { eventually arrived 1 && file_is part.py 'answer = says("two")' && sleep 0.2 && echo 12345678 >&5; } 3>&- 4>&- &
    start_server --reload app:app
    eventually answers two
}

@test "starts anew when a file changes again while the code is tried" {
    exec 5<>"$LATCH"
    start_server --reload app:app
    file_is app.py 'wait(); broken = 1 / 0'
    eventually arrived 1
    file_is app.py 'app = says("two")'
    read -r -t 2 <>"$LATCH" || true # it takes the byte, and has looked
    echo >&5
    eventually answers two
}

@test "starts anew no more often for a file whose time has yet to come" {
    touch -t 203001010000 "$folder/app.py"
    start_server --reload app:app
    answers one
    first=$(the_server)
    sleep 3
    [ "$(the_server)" = "$first" ]
    file_is app.py 'app = says("two")'
    eventually answers two
}

@test "keeps an open connection when a file changes" {
    file_is app.py 'app = says("done")'
    start_server --reload --keep-alive 60 app:app
    keep_open 6
    file_is app.py 'app = says("two")'
    eventually answers two
    ask 6
    [ "$(grep -c -i -e '^connection: close' -e '^done' <&6)" -eq 2 ]
}

# A build that writes its own modules there must not restart the server again and again.
@test "does not start anew for files in hidden folders, in node_modules and in virtual environments" {
    mkdir "$folder/.hidden" "$folder/node_modules" "$folder/environment"
    : >"$folder/environment/pyvenv.cfg"
    start_server --reload app:app
    first=$(the_server)
    for name in .hidden node_modules environment; do file_is "$name/part.py" 'answer = says("two")'; done
    sleep 3
    [ "$(the_server)" = "$first" ]
    file_is app.py 'app = says("two")'
    eventually answers two
}

@test "refuses --reload with --no-fork" {
    refuses <<<"'--timeout, --reload: not with --no-fork' --reload --no-fork"
}

@test "prints nothing with --check-config where all is well, and leaves nothing" {
    check --bind 127.0.0.1:0 --bind unix:socket --workers 2 app:app
    [ "$status" -eq 0 ]
    [ "$output" = "" ]
    [ "$(ls "$folder")" = "app.py" ]
}

@test "leaves no access log behind with --check-config" {
    check --bind 127.0.0.1:0 --access-log log app:app
    [ "$status" -eq 0 ]
    [ ! -e "$folder/log" ]
}

@test "ends with --check-config although the application left a thread running" {
    file_is app.py 'import threading; threading.Thread(target=threading.Event().wait).start(); app = says("one")'
    (cd "$folder" && exec "$PYTHON" "$PROGRAM" --check-config --bind 127.0.0.1:0 app:app) 3>&- 4>&- & checker=$!
    wait_for "$checker"
}

@test "prints one line with --check-config where the server could not start" {
    start_server
    cannot "no module named nowhere" --bind 127.0.0.1:0 nowhere:app
    cannot "cannot listen on 127.0.0.1:$port: Address already in use" --bind "127.0.0.1:$port" app:app
    cannot "cannot use --certfile" --bind 127.0.0.1:0 --certfile app.py app:app
    cannot "cannot use --certfile" --bind 127.0.0.1:0 --certfile nowhere app:app
    answers "Hello, World!"
}

@test "shows with --check-config why the application cannot be imported" {
    file_is app.py 'broken = 1 / 0'
    check --bind 127.0.0.1:0 app:app
    [ "$status" -eq 1 ]
    grep -q ZeroDivisionError <<<"$output"
}

@test "leaves another's socket alone with --check-config" {
    (cd "$folder" && exec "$PYTHON" "$PROGRAM" --bind unix:socket) >/dev/null 3>&- 4>&- & server_pid=$!
    eventually test -S "$folder/socket"
    cannot "cannot listen on unix:socket: Address already in use" --bind unix:socket app:app
    [ -S "$folder/socket" ]
}
