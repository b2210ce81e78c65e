#!/usr/bin/env bats
# The command line: which application, which address, what is refused, and what the server says.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    # Where the program goes that ends by itself; stdout and stderr are those of a server that runs.
    out="$BATS_TEST_TMPDIR/out" err="$BATS_TEST_TMPDIR/err" pipe="$BATS_TEST_TMPDIR/pipe"
    mkfifo "$pipe"
}

# Runs the server, which has to end by itself, and is killed if it serves instead; returns its exit status.
ends() {
    local line bind=(--bind 127.0.0.1:0)
    case " $* " in *' --bind'[\ =]*) bind=() ;; esac
    : >"$out"
    (
        cd "$BATS_TEST_DIRNAME/apps" || exit
        exec ${launch[@]+"${launch[@]}"} "$PYTHON" "$PROGRAM" ${bind[@]+"${bind[@]}"} "$@"
    ) </dev/null >"$pipe" 2>"$err" 3>&- 4>&- &
    while read -r line; do
        echo "$line" >>"$out"
        case $line in "Serving HTTP"*) kill -KILL "$!" ;; esac
    done <"$pipe"
    wait_for "$!"
}

# misused WORD ARGUMENT...  is refused with status 2, and with one line on stderr that contains the word.
misused() {
    run ends "${@:2}"
    cat "$err"
    [ "$status" -eq 2 ]
    [ "$(grep -c '' "$err")" -eq 1 ]
    grep -q -F -e "$1" "$err"
    [ ! -s "$out" ]
}

# sleeps PID  succeeds while the process waits in the kernel.
sleeps() {
    ps -o stat= -p "$1" | grep -q '^S'
}

# interrupt PID  sends INT; again after a while, for one that comes just before a system call is noted after it.
interrupt() {
    kill -INT -- "$1"
    read -r -t 2 <>"$LATCH.never" || kill -INT -- "$1" 2>/dev/null || true
}

# breaks PATTERN MODULE:APP  ends with status 1, and with a traceback that matches the pattern.
breaks() {
    run ends "$2"
    cat "$err"
    [ "$status" -eq 1 ]
    grep -q '^Traceback' "$err"
    grep -q -e "$1" "$err"
    [ ! -s "$out" ]
}

# serves BODY ARGUMENT...
serves() {
    start_server "${@:2}"
    [ "$(curl -s -m 10 "$url")" = "$1" ]
    stop_server
}

# module NAME LINES...  makes a module that Python finds, though not in the current folder.
module() {
    printf '%s\n' "${@:2}" >"$BATS_TEST_TMPDIR/$1.py"
    export PYTHONPATH="$BATS_TEST_TMPDIR"
}

has_ipv6() {
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' 2>/dev/null
}

# Linux has all of 127.0.0.0/8, others the first address of it.
has_second_loopback() {
    "$PYTHON" -c 'import socket; socket.create_server(("127.0.0.2", 0))' 2>/dev/null
}

# Succeeds when a request was shown with what the pattern says; a terminal ends lines with CRLF.
shown() {
    tr -d '\r' <"$stderr" | grep -q -e "$1"
}

@test "answers every request with the page when no application is named" {
    start_server
    [ "$(curl -s -m 10 -d a=b "$url/any/path?a=b")" = "Hello, World!" ]
    [ "$(curl -s -m 10 -X DELETE "$url")" = "Hello, World!" ]
}

@test "takes MODULE:APP as an argument and as --app" {
    serves "Hello, World!" hello:app
    serves "Hello, World!" --app hello:app
    serves "Hello, World!" --app=hello:app
}

@test "takes an attribute of an object in a module of a package" {
    mkdir "$BATS_TEST_TMPDIR/package"
    module package/module 'import hello' 'class holder:' '    class inner: app = staticmethod(hello.app)'
    serves "Hello, World!" package.module:holder.inner.app
}

@test "calls a factory, once" {
    module factory 'import hello, sys' 'def make():' '    print("made", file=sys.stderr)' '    return hello.app'
    start_server 'factory:make()'
    curl -sf -m 10 -o /dev/null -H 'Connection: close' "$url" "$url"
    [ "$(cat "$stderr")" = "made" ]
}

@test "calls a factory that is an attribute of an object" {
    module factory 'import hello' 'class holder:' '    make = staticmethod(lambda: hello.app)'
    serves "Hello, World!" 'factory:holder.make()'
}

@test "takes application, then app, where only the module is named" {
    module both 'from hello import app as application' 'from slow import app'
    serves "Hello, World!" both
    serves "Hello, World!" hello
}

@test "takes a module of a package where only that is named" {
    mkdir "$BATS_TEST_TMPDIR/package"
    module package/module 'from hello import app'
    serves "Hello, World!" package.module
}

# Before the folder of webserver.py and that in PYTHONPATH; the rest of the path comes after these.
@test "looks for the module in the current folder first" {
    mkdir "$BATS_TEST_TMPDIR/current" "$BATS_TEST_TMPDIR/other"
    sed 's/World/here/' "$BATS_TEST_DIRNAME/apps/hello.py" >"$BATS_TEST_TMPDIR/current/greeting.py"
    cp "$BATS_TEST_DIRNAME/apps/hello.py" "$BATS_TEST_TMPDIR/other/greeting.py"
    cp "$WEBSERVER" "$BATS_TEST_TMPDIR/other/webserver.py"
    export WEBSERVER="$BATS_TEST_TMPDIR/other/webserver.py" PYTHONPATH="$BATS_TEST_TMPDIR/other"
    launch=("$PYTHON" -c 'import os, sys; os.chdir(sys.argv[1]); os.execvp(sys.argv[2], sys.argv[2:])' "$BATS_TEST_TMPDIR/current")
    serves "Hello, here!" greeting:app
}

@test "refuses an option that it does not know" {
    misused --nonsense --nonsense
    misused extra hello:app extra
    misused --max-child --max-child 3 # no abbreviations: they change their meaning with the next option
}

@test "refuses an option without its value, or with one that is none" {
    misused --app --app
    {
        for value in x 0 1.5 ''; do echo "--max-children --max-children=$value"; done
        for value in -1 nan inf 10000000; do echo "--keep-alive --keep-alive=$value"; done
        for value in 0 x; do echo "--stall-timeout --stall-timeout=$value"; done
        for value in 0 1.5; do echo "--min-rate --min-rate=$value"; done
        for value in one / /one/ //one '/one?' '/one\ntwo' '/one#two'; do echo "--root-path '--root-path=$value'"; done
        echo '--backlog --backlog=x'
    } | refuses
}

@test "refuses an address that is none" {
    for bind in 127.0.0.1:x 127.0.0.1:65536 127.0.0.1:-1 127.0.0.1: 127.0.0.1 ::1:80 '[::1]' '[nonsense]:80'; do
        echo "$bind --bind $bind"
    done | refuses
}

# 192.0.2.0/24 is for documentation (RFC 5737): no machine has such an address, and nothing is sent there.
@test "refuses an address that this machine does not have" {
    label=$(printf 'a%.0s' {1..64}) # it has 63 characters at most
    refuses <<<"192.0.2.1:0 --bind 192.0.2.1:0
$label --bind $label:0"
}

@test "refuses an address in use" {
    start_server
    misused "127.0.0.1:$port" --bind "127.0.0.1:$port"
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

@test "refuses localhost where its port is in use on either family" {
    has_ipv6 || skip "there is no IPv6 here"
    start_server --bind '[::1]:0'
    misused "localhost:$port" --bind "localhost:$port"
    stop_server
    start_server --bind 127.0.0.1:0
    misused "localhost:$port" --bind "localhost:$port"
}

@test "refuses an address that it has no permission for" {
    altered no-permission
    misused 127.0.0.1:80 --bind 127.0.0.1:80
}

@test "refuses a module that is not there, and a name" {
    misused nowhere nowhere:app
    module empty ''
    refuses <<'END'
nowhere         nowhere
nowhere         nowhere.deeper:app
hello.deeper    hello.deeper:app
nothing         hello:nothing
nothing         hello:app.nothing
nothing         hello:nothing()
application     latch:application
app             empty
END
}


@test "refuses an object that is not callable" {
    module odd 'text = "text"' 'def make(): return text'
    refuses <<<$'str odd:text\nstr odd:text()\nstr odd:make()'
}

@test "refuses what does not name an application, or names two" {
    for app in hello: :app 'hello:app(' ../hello hello.py:1 .hello:app; do echo "'$app' '$app'"; done | refuses
    refuses <<<'twice hello:app --app hello:app'
}

@test "keeps to one line when what it refuses has more" {
    misused hello "hello:app"$'\n'"second"
    refuses <<'END'
127         --bind '127.0.0.1:1\n2'
nonsense    '--nonsense\nsecond'
END
}

@test "refuses to fork where the platform cannot, and serves there with --no-fork" {
    altered no-fork
    misused fork hello:app
    serves "Hello, World!" --no-fork hello:app
}

@test "shows the traceback of an application that fails at import, or of a factory" {
    module fails 'import hello' 'raise ValueError("broken on purpose")'
    module incomplete 'import nowhere'
    module partial 'from hello import nothing'
    module unfinished 'def'
    module factory 'def make(): raise ValueError("broken on purpose")' 'def needs(needed): pass'
    breaks '^ValueError: broken on purpose' fails:app
    fails <<'END'
'fails\.py", line 2'                    fails
'^ModuleNotFoundError: .*nowhere'       incomplete:app
'^ImportError: .*nothing'               partial:app
^SyntaxError                            unfinished:app
'^ValueError: broken on purpose'        factory:make()
'^TypeError: .*needed'                  factory:needs()
END
}

@test "listens on every address with --bind :PORT" {
    start_server --bind :0
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
    if has_ipv6; then [ "$(curl -s -m 10 "http://[::1]:$port")" = "Hello, World!" ]; fi
    if has_second_loopback; then [ "$(curl -s -m 10 "http://127.0.0.2:$port")" = "Hello, World!" ]; fi
    stop_server
    start_server --bind=":$port"
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
}

@test "listens on an address of IPv6, and on that alone" {
    has_ipv6 || skip "there is no IPv6 here"
    start_server --bind '[::1]:0'
    [ "$(curl -s -m 10 "http://[::1]:$port/")" = "Hello, World!" ]
    run curl -s -m 10 "http://127.0.0.1:$port/"
    [ "$status" -eq 7 ]
}

@test "listens on localhost where there is no IPv6" {
    altered no-ipv6
    serves "Hello, World!" --bind localhost:0
}

@test "listens on the port that it had a moment ago, although connections of then linger" {
    start_server
    curl -sf -m 10 -o /dev/null -H 'Connection: close' "$url"
    stop_server
    serves "Hello, World!" --bind "127.0.0.1:$port"
}

@test "keeps as many connections waiting as --backlog says" {
    connect='import socket, sys
connected = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1) for _ in range(20)]'
    for backlog in 1 100; do
        start_server --backlog "$backlog"
        accepting=$(the_server)
        kill -STOP "$accepting"
        run "$PYTHON" -c "$connect" "$port"
        kill -CONT "$accepting"
        [ "$((status == 0))" -eq "$((backlog == 100))" ]
        stop_server
    done
}

@test "prints its ready line only when it listens" {
    exec 5<>"$LATCH"
    "$PYTHON" "$BATS_TEST_DIRNAME/altered.py" held-listen "$PYTHON" "$PROGRAM" --bind 127.0.0.1:0 >"$out" 2>"$err" 3>&- 4>&- & server_pid=$!
    eventually grep -q listen "$err"
    [ ! -s "$out" ]
    echo >&5
    eventually grep -q '^Serving HTTP on port [1-9][0-9]* \.\.\.$' "$out"
    stop_server
}

@test "prints one line and no more" {
    start_server hello:app
    curl -sf -m 10 -o /dev/null "$url" "$url"
    stop_server
    [ ! -s "$stdout" ]
    [ ! -s "$stderr" ]
}

# A program that becomes another, with INT as it is on a terminal: whoever runs the tests may have it ignored.
with_default_int='import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])'

# imports [ADDRESS]  starts the server, with a process group of its own, and returns when the application is imported.
imports() {
    local options=()
    read -r -a options <<<"${SERVER_OPTIONS-}"
    rm -f "$LATCH.arrived"
    set -m
    (cd "$BATS_TEST_DIRNAME/apps" && exec "$PYTHON" -c "$with_default_int" "$PYTHON" "$PROGRAM" --bind "${1-127.0.0.1:0}" \
        ${options[@]+"${options[@]}"} latch_at_import:app) \
        >"$out" 2>"$err" 3>&- 4>&- & pid=$!
    set +m
    eventually test -s "$LATCH.arrived"
    importing=$(sed 1q "$LATCH.arrived")
    eventually sleeps "$importing" # what comes just before it reads is noted when it has read
}

# Ctrl-C is for the whole process group.
@test "ends with 130 and without a traceback on Ctrl-C while the application is imported" {
    exec 5<>"$LATCH"
    mkfifo "$LATCH.never"
    for how in ":" ":-" "--workers 1:-" "--no-fork:-"; do
        code=0
        SERVER_OPTIONS=${how%:*} imports
        interrupt "${how##*:}$pid"
        wait_for "$pid" || code=$?
        [ "$code" -eq 130 ]
        cat "$err"
        [ "$(grep -c Traceback "$err")" -eq 0 ]
        eventually gone "$importing"
    done
}

# An open port is not readiness.
@test "has clients wait while the application is imported" {
    start_server
    stop_server # its port is free now
    exec 5<>"$LATCH"
    imports "127.0.0.1:$port"
    server_pid=$pid
    curl -s -m 20 -o "$LATCH.answer" "$url" 3>&- 4>&- & client=$!
    sleep 0.5
    [ ! -s "$LATCH.answer" ] && [ ! -s "$out" ]
    echo >&5
    wait_for "$client"
    [ "$(cat "$LATCH.answer")" = "Hello, World!" ]
    eventually grep -q '^Serving' "$out"
    stop_server
}

@test "opens each of descriptors 0 to 2 that is missing at the start on the null device" {
    start_server
    stop_server # its port is free now
    for missing in 0 1 2; do
        (cd "$BATS_TEST_DIRNAME/apps" && eval "exec $missing>&-" && exec "$PYTHON" "$PROGRAM" --bind "127.0.0.1:$port" standard_streams:app) 3>&- 4>&- & server_pid=$!
        eventually curl -sf -m 10 -o "$out" "$url"
        [ "$(cut -d ' ' -f "$((missing + 1))" "$out")" = "null" ]
        stop_server
    done
}

# PEP 3333: the environ is the application's to change.
@test "shows requests on a terminal whatever the application did to the environ" {
    launch=("$PYTHON" "$BATS_TEST_DIRNAME/on_terminal.py")
    start_server changed_environ:app
    [ "$(curl -s -m 10 "$url/one" "$url/two" | grep -c False)" -eq 2 ]
    eventually shown 'GET /two HTTP/1\.1'
    [ "$(grep -c '' "$stderr")" -eq 2 ]
}

@test "logs what is wrong with a refused request with --verbose" {
    start_server --verbose as_asked:app
    curl -s -m 10 -o /dev/null "$url/one?status=200+OK" "$url/two?status=404+None" -H 'Connection: close'
    printf 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3.2"
    eventually grep -q '127\.0\.0\.1 .*(RFC 9112 3\.2): .* 400$' "$stderr"
    [ "$(grep -c '' "$stderr")" -eq 1 ]
}

@test "logs whose request it was that is refused, by a trusted proxy's word" {
    start_server --verbose as_asked:app
    printf 'POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n' | is_refused 400 '.*'
    logs_that 1 'notice: 192\.0\.2\.7 a chunk is .* 400$'
}

@test "logs nothing of a refused request without --verbose" {
    start_server as_asked:app
    curl -s -m 10 -o /dev/null "$url/two?status=404+None"
    printf 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3.2"
    stop_server
    [ ! -s "$stderr" ]
}

@test "prints its version on stdout" {
    run ends --version
    [ "$status" -eq 0 ]
    [ "$(grep -c '^webserver\.py [0-9][0-9.]*$' "$out")" -eq 1 ]
    [ "$(grep -c '' "$out" "$err" | tr '\n' ' ')" = "$out:1 $err:0 " ]
}

@test "prints every option with its default on stdout" {
    run ends --help
    [ "$status" -eq 0 ]
    for option in --app --bind --no-fork --max-children --backlog --version --help; do grep -q -e "$option" "$out"; done
    grep -q 'localhost:8888' "$out"
    grep -q '256' "$out"
    [ ! -s "$err" ]
}
