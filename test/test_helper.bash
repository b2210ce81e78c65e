# What every .bats file loads. A test starts a server with start_server and need not stop it: the teardown does,
# and fails the test when the server does not end with exit status 0, so that every test also tests the drain.
#
# shellcheck shell=bash

repository=$(CDPATH='' cd "${BASH_SOURCE[0]%/*}/.." && pwd)
: "${PYTHON:=python3}" "${WEBSERVER:=$repository/webserver.py}" "${CLIENT:=$repository/client.py}"
script=$WEBSERVER PROGRAM=${COMPILED:-$WEBSERVER} # which test/run has compiled: the same, and faster to start
export PYTHON WEBSERVER PROGRAM CLIENT
unset PYTHONUNBUFFERED # with it nothing that is printed can be lost, and no test of that can fail

# A proxy that the environment names must not stand between curl and 127.0.0.1.
export no_proxy='*' NO_PROXY='*'

launch=()          # the command, if any, that starts the server: launch=(bash -c 'ulimit -n 256; exec "$@"' -)
server_pid=        # the server that runs; empty when the test itself has seen to its end
is_shared=         # the folder of the server, when other tests use it, too
single=            # "yes" when that is one process: with --no-fork
notifier=          # the process that take_notices started
started=0          # how many servers this test started
started_servers='' # all that this test started, for the teardown of a test that failed

# `run` unsets $stderr, its place for what --separate-stderr collects. Here it is the server's, and stays.
if ! declare -F bats_run_unwrapped >/dev/null; then
    definition=$(declare -f run)
    eval "bats_run_unwrapped ${definition#run }"
fi
run() {
    local kept=${stderr-}
    bats_run_unwrapped "$@"
    stderr=$kept
}

# Before each command bats notes where it stands, for what it prints of a failed test. Its way takes
# 0.4 ms a command, and a quarter of a run. Here it is a tenth of that, and nothing in this file, whose failures are shown
# at the line that calls it.
if declare -F bats_capture_stack_trace >/dev/null && [ "${BATS_TRACE_LEVEL:-0}" -eq 0 ]; then
    helper_file=${BASH_SOURCE[0]}
    bats_debug_trap() {
        case $1 in "$helper_file" | "$BATS_ROOT"/*) return 0 ;; esac
        [ -z "${BATS_INTERRUPTED+yes}${BATS_TIMED_OUT+yes}" ] || return 0
        BATS_DEBUG_LASTLAST_STACK_TRACE=(${BATS_DEBUG_LAST_STACK_TRACE[@]+"${BATS_DEBUG_LAST_STACK_TRACE[@]}"})
        BATS_DEBUG_LAST_LINENO=(${BASH_LINENO[@]+"${BASH_LINENO[@]}"})
        BATS_DEBUG_LAST_SOURCE=(${BASH_SOURCE[@]+"${BASH_SOURCE[@]}"})
        bats_capture_stack_trace
    }
fi

# start_server ARGUMENT...  starts $WEBSERVER in test/apps, as "${launch[@]}" if that is set, with the options in
# SERVER_OPTIONS, on a port of the system's choice unless an argument says --bind. Returns when the server listens,
# and sets server_pid, port, url, stdout and stderr; the last two name the files with what it prints.
start_server() {
    local shared
    case "${#launch[@]} $WEBSERVER ${SHARED_APPS-}" in "0 $script "*" $* "*) ;; *)
        output=$BATS_TEST_TMPDIR launch_server "$@"
        return
        ;;
    esac
    known_as "${SERVER_OPTIONS-}"
    shared=$BATS_FILE_TMPDIR/${1//[:\/]/.}
    if [ -s "$shared/server" ]; then
        read -r server_pid port <"$shared/server"
        url=http://127.0.0.1:$port stdout=$shared/stdout stderr=$shared/stderr
        : >"$stdout" && : >"$stderr"
    else
        mkdir -p "$shared"
        output=$shared launch_server "$@" || return
        started_servers=${started_servers% "$server_pid"}
        echo "$server_pid $port" >"$shared/server"
    fi
    is_shared=$shared
}

# shares MODULE:APP...  in a setup_file, has the tests use one server for each of these, where they start one for it and
# nothing else; none that reads the environment. A test finds stdout and stderr empty, all the same.
shares() {
    export SHARED_APPS=" $* "
}

teardown_file() {
    local file pid pids=''
    for file in "$BATS_FILE_TMPDIR"/*/server; do
        [ ! -f "$file" ] || { read -r pid _ <"$file" && pids="$pids $pid" && kill -TERM "$pid"; }
    done
    [ -z "$pids" ] || eventually gone "$pids"
}

# launch_server ARGUMENT...  starts it, with what it prints in $output.
launch_server() {
    local line='' fifo options=() program=$WEBSERVER
    [ "$program" != "$script" ] || program=$PROGRAM
    started=$((started + 1)) fifo=$output/ready.$started
    stdout=$output/stdout stderr=$output/stderr
    read -r -a options <<<"${SERVER_OPTIONS-}"
    case " $* " in *' --bind'[\ =]*) ;; *) options=(--bind 127.0.0.1:0 ${options[@]+"${options[@]}"}) ;; esac
    known_as "${options[*]-} $*"
    [ -p "$fifo" ] || mkfifo "$fifo"
    # With job control on, the server gets a process group of its own, as from a terminal: a test can send a
    # signal to the group, and INT, which a shell without job control makes its background jobs ignore, arrives.
    # 3 and 4 are bats's own: whoever keeps 3 open keeps bats waiting.
    set -m
    (
        cd "$repository/test/apps" || exit
        exec ${launch[@]+"${launch[@]}"} "$PYTHON" "$program" ${options[@]+"${options[@]}"} "$@"
    ) </dev/null >"$fifo" 2>>"$stderr" 3>&- 4>&- &
    server_pid=$!
    set +m
    started_servers="$started_servers $server_pid"
    # The end of file that a server leaves behind when it dies ends the read at once.
    {
        read -r -t 30 line <&7 || true
        cat <&7 >>"$stdout" 3>&- 4>&- &
    } 7<"$fifo"
    port=${line#Serving HTTP* on port } port=${port% ...} url=http://127.0.0.1:$port
    case $port in '' | *[!0-9]*) echo "The server printed no ready line, but '$line'." && return 1 ;; esac
}

# importable  has programs with $BATS_TEST_TMPDIR in PYTHONPATH import the server, which is compiled already.
importable() {
    cp "$PROGRAM" "$BATS_TEST_TMPDIR/webserver.${PROGRAM##*.}"
}

# known_as ARGUMENTS  sets whether a server with these arguments is one process.
known_as() {
    single=
    case " $1 " in *' --no-fork '* | *' no_fork=True '*) single=yes ;; esac
}

# refuses  has the command lines of a table on stdin tried, as refused.py says: each ends with status 2 and a line on stderr;
# fails  each ends with status 1 and a traceback. "${launch[@]}" is the launcher.
refuses() {
    ${launch[@]+"${launch[@]}"} "$PYTHON" "$repository/test/refused.py" "$PROGRAM" "${1-2}"
}

fails() {
    refuses 1
}

# stop_server [SIGNAL]  sends TERM or another signal, and succeeds when the server ends with exit status 0.
stop_server() {
    local pid=$server_pid code=0
    server_pid=
    if [ -n "$is_shared" ]; then is_shared='' && return; fi
    kill -s "${1:-TERM}" "$pid" && wait_for "$pid" || code=$?
    [ "$code" -eq 0 ] || { echo "The server ended with status $code on ${1:-TERM}." && return 1; }
}

# restart ARGUMENT...  replaces the server.
restart() {
    stop_server
    start_server "$@"
}

# altered CHANGE...  has the server start where the system or a limit is different; altered.py names the changes.
altered() {
    launch=("$PYTHON" "$BATS_TEST_DIRNAME/altered.py" "$@")
}

# forks  succeeds when the server has a process for each connection, as it does unless SERVER_OPTIONS say otherwise.
forks() {
    case " ${SERVER_OPTIONS-} " in *' --no-fork '* | *' --workers '*) return 1 ;; esac
}

# workers  prints how many workers the server has; rests  succeeds when it has one Server, with these and no other children.
workers() {
    set -- "$(sed -n 's/.*--workers \([0-9]*\).*/\1/p' <<<"${SERVER_OPTIONS-}")"
    echo "${1:-0}"
}

rests() {
    pids_of rests "$(workers)" 2>/dev/null
}

# threads  succeeds when workers call the application in threads.
threads() {
    case " ${SERVER_OPTIONS-} " in *' --threads '*) ;; *) return 1 ;; esac
}

# wait_for PID  waits for a background job of this shell and returns its exit status. The server gives requests in
# flight 30 s; a job that takes longer than 40 is killed. (The read is the clock: nothing writes to that pipe.)
wait_for() {
    local code=0 watchdog never=$BATS_TEST_TMPDIR/never
    [ -p "$never" ] || mkfifo "$never" 2>/dev/null || [ -p "$never" ]
    { read -r -t 40 <>"$never" || kill -KILL "$1"; } >/dev/null 2>&1 3>&- 4>&- &
    watchdog=$!
    wait "$1" || code=$?
    # KILL, for a shell just forked may still have the trap of bats for TERM, and would lose the signal.
    kill -KILL "$watchdog" 2>/dev/null && wait "$watchdog" 2>/dev/null || true
    return "$code"
}

# The server has been told to end already, and does so with exit status 0.
ends_well() {
    wait_for "$server_pid"
    server_pid=
}

# What bats prints of a failed test includes what its teardown prints.
teardown() {
    local code=0
    [ -z "$notifier" ] || kill -KILL "$notifier"
    if [ -z "${BATS_TEST_COMPLETED-}" ]; then
        kill_everything
    elif [ -n "$server_pid" ]; then
        stop_server || { code=$? && kill_everything; }
    fi
    if [ -s "${stderr-}" ]; then
        echo "The server wrote on stderr:"
        cat "$stderr"
    fi
    return "$code"
}

# A test that has failed leaves nothing behind: no server, with whatever is in its group, and no client. Among the
# children is the clock of BATS_TEST_TIMEOUT too: bats forgets it when a test fails, and waits until it has run down.
kill_everything() {
    local pid
    [ -z "$is_shared" ] || rm "$is_shared/server"
    [ -z "$server_pid" ] || kill -KILL "$server_pid" 2>/dev/null || true
    for pid in $started_servers; do kill -KILL -- "-$pid" 2>/dev/null || true; done
    for pid in $started_servers $server_pid; do wait "$pid" 2>/dev/null || true; done
    for pid in $(children "$$"); do kill "$pid" 2>/dev/null || true; done
}

# eventually COMMAND...  repeats the command until it succeeds, for states that have no event to wait for, and
# fails after about 10 s. In a function called so, only the last command's failure counts.
eventually() {
    local tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "It never came true: $*" && return 1; }
        sleep 0.1
    done
}

# The processes of a server. The one that the test starts, $server_pid, is the Supervisor. It has a Server, and for a while
# after HUP two. A Server has a child for each connection, or workers. With --no-fork one process is all of that.
# Each of these functions fails when there is no Server: else a test of "no zombie" passes where nothing runs.
#
# servers     prints the pids of all Servers
# the_server  prints the pid of the one Server; it accepts in fork mode, and forks workers
# children    prints the pids of the children of all Servers, zombies included
# zombies     prints the pids of the zombies that the Supervisor and the Servers have
# processes   prints all pids, zombies left out
# children PID  prints the pids of the children of any process, zombies included
servers() {
    pids_of servers
}

the_server() {
    local found
    found=$(servers) || return
    case $found in *[!0-9]*) echo "There are several Servers: $found" >&2 && return 1 ;; esac
    echo "$found"
}

children() {
    if [ "$#" -eq 0 ]; then
        pids_of children
        return
    fi
    ps -A -o pid=,ppid= | awk -v parent="$1" '$2 == parent { print $1 }'
}

zombies() {
    pids_of zombies
}

processes() {
    pids_of processes
}

# Asks ps, for kill -0 succeeds for a zombie too.
pids_of() {
    ps -A -o pid=,ppid=,stat= | awk -v kind="$1" -v wanted="${2-}" -v root="$server_pid" -v single="$single" '
        { pids[NR] = $1; parent[$1] = $2; zombie[$1] = $3 ~ /^Z/ }
        END {
            for (i = 1; i <= NR; i++) {
                pid = pids[i]
                if (!zombie[pid] && (single ? pid : parent[pid]) == root) { is_server[pid] = 1; found++ }
            }
            for (i = 1; found && i <= NR; i++) {
                pid = pids[i]
                is_child = parent[pid] in is_server
                count += is_child
                is_ours = pid == root || pid in is_server || is_child
                if (kind == "servers" && pid in is_server || kind == "children" && is_child ||
                    kind == "zombies" && zombie[pid] && (is_child || parent[pid] == root) ||
                    kind == "processes" && is_ours && !zombie[pid]) print pid
            }
            exit kind == "rests" ? found != 1 || count != wanted : !found
        }' || { echo "No Server runs, of process ${server_pid:-none}." >&2 && return 1; }
}

# has_children N [PID]  succeeds when the Servers, or another process, have so many.
has_children() {
    local found
    found=$(children "${@:2}") && [ "$(grep -c . <<<"$found")" -eq "$1" ]
}

# descriptors_of_all  prints the number of open descriptors of the server's processes; descriptors PID  of one.
descriptors_of_all() {
    local pid pids sum=0
    pids=$(processes) || return
    for pid in $pids; do sum=$((sum + $(descriptors "$pid"))); done
    echo "$sum"
}

descriptors() {
    if [ -d "/proc/$1/fd" ]; then
        set -- "/proc/$1/fd/"*
        echo "$#"
    else
        lsof -p "$1" -a -d 0-999999 -F f | grep -c '^f'
    fi
}

# stderr_has N PATTERN  succeeds when so many of the server's lines there match; logs_that N PATTERN  of those with a time.
stderr_has() {
    [ "$(grep -a -c -E -e "$2" "$stderr")" -eq "$1" ]
}

logs_that() {
    stderr_has "$1" "^[-0-9]{10} [:0-9]{8} \[[0-9]+\].*$2"
}

# refused  succeeds when nothing listens on the port: a connection that merely waits is not refused.
refused() {
    local code=0
    curl -s -m 1 -o /dev/null "$url" || code=$?
    [ "$code" -eq 7 ]
}

# gone PID...  succeeds when none of these processes runs; a zombie does not run.
gone() {
    local pids=" $* "
    ps -A -o pid=,stat= | awk -v pids="${pids//$'\n'/ }" 'index(pids, " " $1 " ") && $2 !~ /^Z/ { found = 1 } END { exit found }'
}

# own_folder  has the servers of a test start in a folder of its own, $folder, where app:app is the application.
own_folder() {
    export LATCH="$BATS_TEST_TMPDIR/latch" PYTHONPATH="$BATS_TEST_DIRNAME/apps${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONDONTWRITEBYTECODE=1 # a cache does not tell two files of one second and one size apart
    folder=$BATS_TEST_TMPDIR/folder answer=$BATS_TEST_TMPDIR/answer
    # shellcheck disable=SC2016
    launch=(bash -c "cd '$folder' && exec \"\$@\"" in_folder)
    [ -p "$LATCH" ] || mkfifo "$LATCH"
    mkdir "$folder"
    can_renew
    app_is 'app = says("one")'
}

# file_is NAME STATEMENTS  makes a module in that folder, in one step; app_is STATEMENTS  makes the application.
file_is() {
    printf 'import os\nfrom latch import wait\nfrom says import says\n%s\n' "$2" >"$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1"
}

app_is() {
    file_is app.py "$1"
}

# answers LINE  succeeds when that is the answer.
answers() {
    [ "$(curl -s -m 10 "$url")" = "$1" ]
}

# renew [-GROUP]  sends HUP, and returns when the new Server is ready: systemd would be told. For a server that starts
# after can_renew.
can_renew() {
    export NOTIFY_SOCKET="$BATS_TEST_TMPDIR/notify"
    notices=$BATS_TEST_TMPDIR/notices
}

renew() {
    local before
    take_notices
    before=$(grep -c -x READY=1 "$notices") || true
    kill -HUP -- "${1-$server_pid}"
    eventually has_noticed "$((before + 1))" READY=1
}

# has_noticed N LINE  succeeds when systemd would have been told that often; take_notices  keeps what it is told in $notices.
has_noticed() {
    [ "$(grep -c -x -e "$2" "$notices")" -ge "$1" ]
}

take_notices() {
    [ -z "$notifier" ] || return 0
    : >"$notices"
    "$PYTHON" -I -S -c '
import os, _socket as socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(os.environ["NOTIFY_SOCKET"])
while True:
    os.write(1, sock.recv(999) + b"\n")' >>"$notices" 3>&- 4>&- & notifier=$!
    eventually test -S "$NOTIFY_SOCKET"
}

# has_servers N
has_servers() {
    [ "$(servers | grep -c .)" -eq "$1" ]
}

# holds  has a request arrive in the application, where the latch keeps it; lets_go LINE  has it answered with that.
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

# goes_idle COMMAND  runs it during a response whose head is sent, without Connection: close: then the connection stays open.
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

# free_port  sets port and url to those of a server that has just ended.
free_port() {
    start_server
    stop_server
}

# begin_server ARGUMENT...  starts a server in $folder, on that port, and does not wait until it is ready; start_server would.
begin_server() {
    local options=()
    read -r -a options <<<"${SERVER_OPTIONS-}"
    known_as "${options[*]-} $*"
    (cd "$folder" && exec "$PYTHON" "$PROGRAM" --bind "127.0.0.1:$port" ${options[@]+"${options[@]}"} "$@") \
        >>"$stdout" 2>>"$stderr" 3>&- 4>&- & server_pid=$!
}

# raw  sends stdin to the server as it is, and prints what comes back until the server closes the connection. It
# never closes its own side first: a half-closed connection is another test.
raw() {
    local sender code=0
    {
        # A server may well answer and close before it has read everything.
        cat <&8 >&9 2>/dev/null 3>&- 4>&- & sender=$!
        cat <&9 3>&- 4>&- || code=$?
        kill -KILL "$sender" 2>/dev/null && wait "$sender" 2>/dev/null || true
    } 8<&0 9<>"/dev/tcp/127.0.0.1/$port"
    return "$code"
}

# ask FD  sends a request on a connection that is open; done_on FD  reads the response whose body is the line "done".
ask() {
    printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&"$1"
}

done_on() {
    local line=
    while [ "$line" != "done" ]; do read -r -t 10 line <&"$1" || return 1; done
}

# keep_open FD  opens a connection, has a request answered on it, and leaves it open.
keep_open() {
    eval "exec $1<>/dev/tcp/127.0.0.1/$port"
    ask "$1"
    done_on "$1"
}

# settles  gives a child the moment, after a response, in which it looks for the next request before it waits for it.
settles() {
    sleep 0.3
}

# arrived N  succeeds when so many requests have come to the application, where the latch holds them.
arrived() {
    [ "$(grep -c . "$LATCH.arrived" 2>/dev/null)" = "$1" ]
}

# statuses  prints those of the answers on stdin.
statuses() {
    LC_ALL=C awk '/^HTTP\/1\.1 [1-5][0-9][0-9] / { found = found " " $2 } END { print substr(found, 2) }'
}

# is_refused STATUS CLAUSE  sends stdin, and succeeds when the one answer has this status and names this clause;
# both are regular expressions.
is_refused() {
    raw | LC_ALL=C tr -d '\r\0' >"$BATS_TEST_TMPDIR/answer"
    cat -v "$BATS_TEST_TMPDIR/answer"
    statuses <"$BATS_TEST_TMPDIR/answer" | grep -q -x -E "$1" && grep -q -E "^$1 .*\(RFC $2\)" "$BATS_TEST_TMPDIR/answer"
}

# is_seen LINE  sends stdin, and succeeds when seen:app answers with this line.
is_seen() {
    raw | LC_ALL=C tr -d '\r' | tee "$BATS_TEST_TMPDIR/answer" | grep -q -x -F -e "$1" ||
        { cat -v "$BATS_TEST_TMPDIR/answer" && false; }
}

# verdicts TABLE...  holds the server against these tables of tables.py.
verdicts() {
    "$PYTHON" "$BATS_TEST_DIRNAME/verdicts.py" "$port" "$@"
    [ ! -s "$stderr" ]
}

# exchange REQUEST  sends the request, in which \r\n stand for themselves, and keeps in $answer what comes until the
# server closes; sets $head and $body of the first response, of which the functions below ask.
exchange() {
    local all empty=$'\r\n\r\n'
    answer=$BATS_TEST_TMPDIR/answer
    {
        trap '' PIPE # it may close before it has read everything
        printf '%b' "$1" >&9 2>/dev/null || true
        trap - PIPE
        cat <&9 >"$answer" || true
    } 9<>"/dev/tcp/127.0.0.1/$port"
    IFS= read -r -d '' all <"$answer" || true
    head=${all%%"$empty"*} head=${head//$'\r'/} body=${all#*"$empty"}
}

status_is() {
    [ "${head%%$'\n'*}" = "HTTP/1.1 $1" ] || { echo "$head" && return 1; }
}

# body_is BODY  is all that came after the first head.
body_is() {
    [ "$body" = "$1" ] || { printf 'The body is %q\n' "$body" && return 1; }
}

# has LINE  succeeds when the head has this line.
has() {
    grep -a -q -i -x -F -e "$1" <<<"$head" || { echo "$head" && return 1; }
}

# A launcher that makes the server the first process of a new pid namespace.
as_first_process() {
    for launch in "--pid" "--user --map-root-user --pid"; do
        read -r -a launch <<<"unshare $launch --fork --mount-proc"
        if "${launch[@]}" true; then return; fi
    done
    skip "unshare may make no pid namespace here"
}

# recipe KIND  prints the block of the README that is of this kind.
recipe() {
    awk -v fence="\`\`\`$1" '$0 == "```" { inside = 0 } inside { print } $0 == fence { inside = 1 }' "$repository/README.md"
}

# nginx_configuration [LINES]  prints that of the README, within what makes it a whole one, and with more LINES.
nginx_configuration() {
    local kind
    echo "daemon off; pid $BATS_TEST_TMPDIR/nginx.pid; error_log $BATS_TEST_TMPDIR/nginx.log; events {} http { access_log off;"
    for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $BATS_TEST_TMPDIR/$kind;"; done
    echo "${1-}"
    recipe nginx
    echo "}"
}

# start_fake ARGUMENT...  starts fake_server.py, which does wrong on purpose; client ARGUMENT...  runs client.py.
start_fake() {
    WEBSERVER=$BATS_TEST_DIRNAME/fake_server.py SERVER_OPTIONS='' start_server "$@"
}

client() {
    run "$PYTHON" "$CLIENT" "$@"
}
