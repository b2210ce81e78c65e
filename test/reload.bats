#!/usr/bin/env bats
# What the server does about code and system of its own accord: with --reload it starts anew when a file has changed,
# with --check-config it says what would go wrong. How it starts anew, restart.bats has.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" PYTHONPATH="$BATS_TEST_DIRNAME/apps"
    export PYTHONDONTWRITEBYTECODE=1 # a cache does not tell two files of one second and one size apart
    folder="$BATS_TEST_TMPDIR/folder"
    # shellcheck disable=SC2016
    launch=(bash -c "cd '$folder' && exec \"\$@\"" in_folder)
    mkfifo "$LATCH"
    mkdir "$folder"
    file_is app.py 'app = says("one")'
}

# file_is NAME STATEMENTS  makes a module, in one step.
file_is() {
    printf 'from latch import wait\nfrom says import says\n%s\n' "$2" >"$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

answers() {
    [ "$(curl -s -m 10 "$url")" = "$1" ]
}

# said N PATTERN  succeeds when so many lines of stderr match.
said() {
    [ "$(grep -c -e "$2" "$stderr")" -eq "$1" ]
}

# check OPTION...  has the server check its configuration in the folder, as "${launch[@]}".
check() {
    run "${launch[@]}" "$PYTHON" "$WEBSERVER" --check-config --backlog 100 "$@"
    printf '%s\n' "$output"
}

# doubts PATTERN OPTION...  succeeds when that is the one line, and nothing to end for.
doubts() {
    check --bind 127.0.0.1:0 "${@:2}"
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 1 ]
    grep -q -e "$1" <<<"$output"
}

# cannot PATTERN OPTION...  succeeds when that is the one line, and the server could not start.
cannot() {
    check "${@:2}"
    [ "$status" -ne 0 ]
    [ "${#lines[@]}" -eq 1 ]
    grep -q -e "$1" <<<"$output"
}

@test "starts anew when the application's file changes" {
    for SERVER_OPTIONS in "" "--workers 1"; do
        file_is app.py 'app = says("one")'
        start_server --reload app:app
        file_is app.py 'app = says("two")'
        eventually answers two
        stop_server
    done
    [ ! -s "$stderr" ]
}

@test "starts anew when a file changes that a request had imported" {
    for SERVER_OPTIONS in "" "--workers 1" "--workers 1 --threads 2" "--workers 1 --no-preload"; do
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
    read -r -t 3 <>"$LATCH" || true
    [ ! -s "$stdout" ] # no second ready line
    [ ! -s "$stderr" ]
}

@test "shows the traceback of a file that is broken, and goes on with the last good code until it is mended" {
    start_server --reload app:app
    file_is app.py 'app = says('
    eventually said 1 'the old goes on'
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
    eventually said 1 'the old goes on'
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

@test "starts anew when a file is mended that broke after it was tried" {
    exec 5<>"$LATCH"
    start_server --reload app:app
    file_is app.py 'wait(); app = says("two")'
    eventually arrived 1
    file_is app.py 'broken = 1 / 0'
    echo >&5
    eventually grep -q ZeroDivisionError "$stderr"
    file_is app.py 'app = says("three")'
    eventually answers three
}

# It takes the time of what it has seen first, for the clock may be set back: the file is older than the code then.
@test "sees that a file has changed, although the clock was set back" {
    "$PYTHON" - "$WEBSERVER" "$folder/app.py" <<'END'
import os, runpy, sys, time
watcher = runpy.run_path(sys.argv[1])["Watcher"]()
watcher.names = {sys.argv[2]}
watcher.since = time.time() + 3600
assert not watcher.has_changed() and not watcher.has_changed()
os.utime(sys.argv[2])
assert watcher.has_changed()
END
}

@test "starts anew no more often for a file whose time has yet to come" {
    touch -t 203001010000 "$folder/app.py"
    start_server --reload app:app
    answers one
    read -r -t 3 <>"$LATCH" || true
    [ ! -s "$stdout" ] # no second ready line
    file_is app.py 'app = says("two")'
    eventually answers two
}

# The names of their files are more than a pipe takes in.
@test "finishes a request from before a change that imports many files" {
    long=$(printf '%0200d' 0)
    exec 5<>"$LATCH"
    mkdir "$folder/p$long"
    (cd "$folder/p$long" && for number in {1..400}; do echo >"m$number.py"; done)
    file_is app.py "import importlib
def app(environ, start_response):
    if environ['PATH_INFO'] == '/wait':
        wait()
        for number in range(1, 401): importlib.import_module(f'p$long.m{number}')
        environ['PATH_INFO'] = '/'
    return says('one')(environ, start_response)"
    start_server --reload app:app
    curl -s -m 10 "$url/wait" >"$BATS_TEST_TMPDIR/answer" 3>&- 4>&- & client=$!
    eventually arrived 1
    file_is app.py 'app = says("two")'
    eventually answers two
    echo >&5
    wait_for "$client"
    [ "$(cat "$BATS_TEST_TMPDIR/answer")" = "one" ]
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

@test "says once that --reload does nothing with --no-fork, and goes on" {
    start_server --reload --no-fork app:app
    file_is app.py 'app = says("two")'
    eventually said 1 'not with --no-fork'
    answers one
}

@test "finds nothing to say with --check-config where all is well, and leaves nothing" {
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
    (cd "$folder" && exec "$PYTHON" "$WEBSERVER" --check-config --bind 127.0.0.1:0 app:app) 3>&- 4>&- & checker=$!
    wait_for "$checker"
}

@test "says with --check-config what one process takes" {
    launch=(bash -c "ulimit -n 256 && cd '$folder' && exec \"\$@\"" limited)
    doubts 'ulimit -n, which is 256' --workers 2 app:app
    doubts 'ulimit -n, which is 256' --no-fork app:app
    check --bind 127.0.0.1:0 app:app
    [ "$output" = "" ]
}

# Root has no such limit: then the check runs as nobody.
@test "says with --check-config what processes its user may have" {
    cp "$WEBSERVER" "$folder/webserver.py"
    chmod a+rx "$BATS_RUN_TMPDIR" "$BATS_TEST_TMPDIR" "$folder"
    WEBSERVER=webserver.py
    launch=("$PYTHON" -c 'import os, pwd, resource, sys
os.chdir(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))
if os.getuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(pwd.getpwnam("nobody").pw_uid)
os.execvp(sys.argv[2], sys.argv[2:])' "$folder")
    for python in "$PYTHON" /usr/bin/python3; do "${launch[@]}" "$python" -c '' 2>/dev/null && break; done
    PYTHON=$python
    "${launch[@]}" "$PYTHON" "$WEBSERVER" --version || skip "nobody can read no Python here"
    doubts 'ulimit -u is 200'
}

@test "says with --check-config that the kernel lets fewer wait than --backlog says" {
    [ -r /proc/sys/net/core/somaxconn ] || skip "this system does not tell here how many may wait"
    most=$(cat /proc/sys/net/core/somaxconn)
    doubts "lets $most connections wait: raise net.core.somaxconn, or lower" --backlog "$((most + 1))" app:app
}

@test "says in one line with --check-config that the server could not start" {
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
    (cd "$folder" && exec "$PYTHON" "$WEBSERVER" --bind unix:socket) >/dev/null 3>&- 4>&- & server_pid=$!
    eventually test -S "$folder/socket"
    cannot "cannot listen on unix:$folder/socket: Address already in use" --bind unix:socket app:app
    [ -S "$folder/socket" ]
}
