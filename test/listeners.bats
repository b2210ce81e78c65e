#!/usr/bin/env bats
# Where the server listens: several addresses, files, descriptors that it inherits, what systemd or a platform says.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    can_renew
    answer="$BATS_TEST_TMPDIR/answer" file="$BATS_TEST_TMPDIR/at"
}

# serves ARGUMENT...  starts a server and sets $where to what its ready line says, port and url by the first port, and
# other to the last one.
serves() {
    start_server "$@" >/dev/null || [ -n "$port" ] # which has all that stands there, where that is not one number
    [ "${port#Serving HTTP on }" != "$port" ] || port="port $port"
    where=${port#Serving HTTP on }
    port=${where#*port } port=${port%%,*} other=${where##*port } other=${other%%,*} url=http://127.0.0.1:$port
}

# A function of a test runs with a Supervisor, and in one process.
in_each_mode() {
    for SERVER_OPTIONS in "" --no-fork; do
        "$@"
        [ -z "$server_pid" ] || stop_server
    done
}

# misused WORD ARGUMENT...  ends with status 2, and with one line on stderr that contains the word.
misused() {
    local code=0
    : >"$BATS_TEST_TMPDIR/stderr"
    if start_server "${@:2}" >/dev/null || [ -n "$port" ]; then echo "It serves." && return 1; fi
    wait_for "$server_pid" || code=$?
    server_pid=
    cat "$stderr"
    [ "$code" -eq 2 ]
    [ "$(grep -c '' "$stderr")" -eq 1 ]
    grep -q -F -e "$1" "$stderr"
}

# Succeeds when the file is there, and a connection to it is refused.
nobody_listens() {
    run curl -s -m 1 -o /dev/null --unix-socket "$file" http://a/
    [ "$status" -eq 7 ] && [ -S "$file" ]
}

# greets ADDRESS...  succeeds when hello:app answers at each: a URL or the path of a socket.
greets() {
    local address
    for address in "$@"; do
        case $address in /*) set -- --unix-socket "$address" http://a/ ;; *) set -- "$address" ;; esac
        [ "$(curl -s -m 10 "$@")" = "Hello, World!" ] || { echo "No server is at $address." && return 1; }
    done
}

# One process alone does not start anew.
starts_anew() {
    if [ "${SERVER_OPTIONS-}" != --no-fork ]; then renew; fi
}

has_ipv6() {
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' 2>/dev/null
}

has_second_loopback() {
    "$PYTHON" -c 'import socket; socket.create_server(("127.0.0.2", 0))' 2>/dev/null
}

# with_socket HOW  sets the launcher of a server that has a socket as its descriptor 7: one that is listening, on a port
# or at $file where HOW is file, or just bound, connected or for datagrams. Its descriptor 8 is another that listens.
with_socket() {
    launch=("$PYTHON" -c '
import os, socket, sys
how, file = sys.argv[1:3]
with socket.create_server(("127.0.0.1", 0)) as other:
    client = socket.create_connection(other.getsockname())
    family = socket.AF_UNIX if how == "file" else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM if how == "datagrams" else socket.SOCK_STREAM)
    one.bind(file if how == "file" else ("127.0.0.1", 0))
    if how in ("file", "listening"):
        one.listen(99)
    os.dup2((client if how == "connected" else one).fileno(), 97)
    os.dup2(other.fileno(), 98)
os.closerange(3, 97)
for number in 7, 8:
    os.dup2(90 + number, number)
os.closerange(9, 256)
os.execvp(sys.argv[3], sys.argv[3:])' "$1" "$file")
}

# activated OFFSET  sets the launcher of a server as systemd has it: without the --bind of start_server, with sockets that
# listen on a port and at $file as descriptors 3 and 4, and with the OFFSET from its pid to LISTEN_PID.
activated() {
    launch=("$PYTHON" -c '
import os, socket, sys
offset, file, python, server, *rest = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
other = socket.socket(socket.AF_UNIX)
other.bind(file)
other.listen(9)
os.dup2(listener.fileno(), 97)
os.dup2(other.fileno(), 98)
os.dup2(97, 3)
os.dup2(98, 4)
os.closerange(5, 256)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid() + int(offset)), LISTEN_FDNAMES="a:b")
os.execvp(python, [python, server, *(rest[2:] if rest[1] == "127.0.0.1:0" else rest)])' "$1" "$file")
}

# unbound  sets the launcher of a server that is told no address, but by the environment.
unbound() {
    launch=("$PYTHON" -c 'import os, sys; del sys.argv[3:5]; os.execvp(sys.argv[1], sys.argv[1:])')
}

# ---- several ----

listens_on_all() {
    serves --bind 127.0.0.1:0 --bind "unix:$file" --bind localhost:0 hello:app
    [ "$where" = "port $port, unix:$file, port $other" ]
    [ "$port" != "$other" ]
    greets "$url" "$file" "http://127.0.0.1:$other" "$url" "$file" "http://127.0.0.1:$other"
}

@test "listens on each --bind, and names all of them in its ready line" {
    in_each_mode listens_on_all
}

@test "listens on IPv4 and IPv6, each with a port of its own" {
    has_ipv6 || skip "there is no IPv6 here"
    serves --bind 127.0.0.1:0 --bind '[::1]:0' hello:app
    greets "$url" "http://[::1]:$other"
}

# On one a client has sent half a request, another reads nothing of what is sent.
answers_beside_slow_clients() {
    serves --bind 127.0.0.1:0 --bind localhost:0 --bind "unix:$file" writes:app
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port" 8<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\n' >&6
    printf 'GET /much HTTP/1.1\r\nHost: a\r\n\r\n' >&7
    read -r -t 10 line <&7
    curl -sf -m 5 -o "$answer" "http://127.0.0.1:$other/both"
    curl -sf -m 5 -o "$answer" --unix-socket "$file" http://a/both
    exec 6>&- 7>&- 8>&-
}

@test "delays no client on one address for clients of another" {
    in_each_mode answers_beside_slow_clients
}

@test "leaves nothing behind when it cannot listen on one of its addresses" {
    for bind in nonsense fd://999 "unix:$BATS_TEST_TMPDIR/nowhere/at"; do
        refuses <<<"$bind --bind unix:$file --bind $bind"
        [ ! -e "$file" ]
    done
}

# ---- files ----

answers_on_a_file() {
    serves --bind "unix:$file" environ_repr:app
    [ "$where" = "unix:$file" ]
    curl -s -m 10 --unix-socket "$file" http://a:1/path http://a:1/path >"$answer"
    [ "$(grep -c -x -e "REMOTE_ADDR=''" -e "REMOTE_PORT=''" -e "PATH_INFO='/path'" -e "HTTP_HOST='a:1'" "$answer")" -eq 8 ]
    grep -q "^SERVER_NAME='..*'" "$answer"
    grep -q "^SERVER_PORT='[0-9][0-9]*'" "$answer"
    stop_server
    [ ! -e "$file" ]
    [ ! -s "$stderr" ]
}

@test "answers on a file, where clients have no address, and removes it at the end" {
    in_each_mode answers_on_a_file
}

@test "logs unix where a client has no address" {
    serves --access-log - --bind "unix:$file" hello:app
    greets "$file"
    eventually grep -q '^unix .*GET / HTTP/1\.1' "$stderr"
}

takes_the_place_of_the_dead() {
    serves --bind "unix:$file" hello:app
    greets "$file"
    pids=$(processes)
    kill -KILL "$server_pid"
    eventually gone "$pids"
    [ -S "$file" ]
    serves --bind "unix:$file" hello:app
    greets "$file"
}

@test "replaces the file of a server that was killed with -9" {
    takes_the_place_of_the_dead
}

@test "replaces the file of a server that was killed with -9, while one of its children still serves" {
    serves --bind "unix:$file" latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 --unix-socket "$file" http://a/wait >"$answer" 3>&- & client=$!
    eventually arrived 1
    kill -KILL "$server_pid"
    eventually nobody_listens
    serves --bind "unix:$file" hello:app
    greets "$file"
    echo >&5
    wait_for "$client"
    [ "$(cat "$answer")" = "done" ]
}

@test "refuses a file where another server listens, which goes on" {
    serves --bind "unix:$file" hello:app
    was=$(ls -di "$file")
    refuses <<<"unix:$file --bind unix:$file hello:app"
    [ "$(ls -di "$file")" = "$was" ]
    greets "$file"
}

# A connection is tried to see whether somebody is there: it must not wait for room.
@test "refuses a file where another server listens that accepts no connection" {
    "$PYTHON" -c '
import os, socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen(0)
    clients = []
    try:
        while True:
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            client.connect(sys.argv[1])
    except ConnectionRefusedError:
        print("refused", flush=True)
    except BlockingIOError:
        print("full", flush=True)
    os.open(os.environ["LATCH"], os.O_RDONLY)' "$file" >"$answer" 3>&- & holder=$!
    eventually test -s "$answer"
    [ "$(cat "$answer")" = "full" ] || skip "this system does not show that another listens"
    refuses <<<"unix:$file --bind unix:$file hello:app"
    [ -S "$file" ]
    kill "$holder"
}

@test "refuses a file that is no socket, and a socket of another kind, and leaves them as they are" {
    echo precious >"$file"
    ln -s "$file" "$file.link"
    mkdir "$file.folder"
    mkfifo "$file.fifo"
    "$PYTHON" -c '
import os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
    other.bind(sys.argv[1])
    os.open(os.environ["LATCH"], os.O_RDONLY)' "$file.live" 3>&- & holder=$!
    eventually test -S "$file.live"
    was=$(ls -di "$file"*)
    for kind in '' .link .folder .fifo .live; do echo "unix:$file$kind --bind unix:$file$kind"; done | refuses
    [ "$(ls -di "$file"*)" = "$was" ]
    [ "$(cat "$file")" = "precious" ]
    kill "$holder"
}

@test "refuses a file without a name, with one that is too long, and where there is no folder" {
    for path in '' "$file$(printf 'a%.0s' {1..120})" "$BATS_TEST_TMPDIR/nowhere/at"; do echo "unix: --bind unix:$path"; done | refuses
}

# Replaced by a file, then by the socket of another server.
leaves_what_is_not_its_own() {
    serves --bind "unix:$file" hello:app
    rm "$file"
    echo precious >"$file"
    stop_server
    [ "$(cat "$file")" = "precious" ]
    rm "$file"
    serves --bind "unix:$file" hello:app
    first=$server_pid
    rm "$file"
    serves --bind "unix:$file" hello:app
    kill -TERM "$first"
    wait_for "$first"
    greets "$file"
}

@test "leaves a file that another program has put in the place of its own" {
    in_each_mode leaves_what_is_not_its_own
}

removes_its_file() { # SIGNAL SIGNAL
    serves --bind "unix:$file" --bind 127.0.0.1:0 latch:app
    exec 5<>"$LATCH"
    : >"$LATCH.arrived"
    curl -s -m 20 -o "$answer" "$url/wait" 3>&- & client=$!
    eventually arrived 1
    kill -s "$1" "$server_pid"
    kill -s "$2" "$server_pid"
    ends_well
    wait_for "$client" || true
    [ ! -e "$file" ]
}

@test "removes its file although it cuts what is in flight" {
    in_each_mode removes_its_file TERM INT
}

drains_although_its_file_stays() {
    serves --bind "unix:$file" --bind 127.0.0.1:0 latch:app
    exec 5<>"$LATCH"
    : >"$LATCH.arrived"
    curl -s -m 20 -o "$answer" "$url/wait" 3>&- & client=$!
    eventually arrived 1
    kill -TERM "$server_pid"
    echo >&5
    wait_for "$client"
    [ "$(cat "$answer")" = "done" ]
    ends_well
    [ -S "$file" ]
    rm "$file"
}

@test "answers what is in flight although it may not remove its file any more" {
    altered unlink:EACCES:9
    in_each_mode drains_although_its_file_stays
    grep -q 'injected unlink' "$stderr"
}

# ---- descriptors ----

listens_on_a_descriptor() {
    with_socket listening
    serves --bind fd://7 hello:app
    [ "$where" = "port $port" ]
    greets "$url" "$url"
}

@test "listens on a descriptor that it inherits" {
    listens_on_a_descriptor
}

@test "listens on descriptors beside other addresses, and leaves a file that came with one" {
    with_socket file
    serves --bind 127.0.0.1:0 --bind fd://7 --bind fd://8 hello:app
    [ "$where" = "port $port, unix:$file, port $other" ]
    greets "$url" "$file" "http://127.0.0.1:$other"
    stop_server
    [ -S "$file" ]
}

@test "refuses a descriptor that is closed, or no listening socket" {
    with_socket listening
    for number in 9 x -1 0; do echo "fd://$number --bind fd://$number"; done | refuses
    for kind in bound connected datagrams; do
        with_socket "$kind"
        refuses <<<'fd://7 --bind fd://7'
    done
}

# The first address takes the lowest number that is free.
@test "refuses a descriptor that it has opened itself" {
    with_socket listening
    refuses <<<'fd://3 --bind 127.0.0.1:0 --bind fd://3'
}

@test "takes a descriptor once that is named twice" {
    with_socket listening
    serves --bind fd://7 --bind fd://7 hello:app
    [ "$where" = "port $port" ]
}

# What is not its own stays as it was, here descriptor 8.
keeps_its_descriptor() {
    with_socket listening
    serves --bind fd://7 inherited:app
    [ "$(curl -s -m 10 "$url")" = "8" ]
    starts_anew
    [ "$(curl -s -m 10 "$url")" = "8" ]
}

@test "keeps the descriptor from programs that the application starts, after a restart too" {
    in_each_mode keeps_its_descriptor
}

# ---- the environment ----

listens_as_activated() {
    rm -f "$file"
    activated 0
    PORT=1 serves hello:app
    [ "$where" = "port $port, unix:$file" ]
    greets "$url" "$file"
    starts_anew
    greets "$url" "$file"
    stop_server
    [ -S "$file" ]
}

@test "listens on what systemd has opened, also when it starts anew, and leaves it there" {
    listens_as_activated
}

@test "does not listen on what systemd has opened for another process" {
    activated 1
    PORT=0 serves hello:app
    [ "$where" = "port $port" ]
    run curl -s -m 1 --unix-socket "$file" http://a/
    [ "$status" -eq 28 ] # nothing accepts
    greets "$url"
}

@test "listens where --bind says, whatever the environment has" {
    activated 0
    PORT=1 serves --bind '127.0.0.1:00' hello:app
    [ "$where" = "port $port" ]
    greets "$url"
}

@test "listens on every address of IPv4 on the port that PORT says" {
    unbound
    PORT=0 serves hello:app
    [ "$where" = "port $port" ]
    greets "$url"
    if has_second_loopback; then greets "http://127.0.0.2:$port"; fi
    stop_server
    PORT=$port serves hello:app
    greets "$url"
}

@test "refuses a PORT that is none" {
    unbound
    for number in x 65536; do PORT=$number misused "$number" hello:app || return; done
}

# ---- a restart, and a successor ----

# Serves anew: the same addresses, the same file, and no others.
keeps_its_addresses() {
    with_socket listening
    serves --bind 127.0.0.1:0 --bind "unix:$file" --bind fd://7 hello:app
    was=$(ls -di "$file")
    for _ in 1 2; do
        starts_anew
        [ "$(ls -di "$file")" = "$was" ]
        greets "$url" "$file" "http://127.0.0.1:$other" "$url" "$file" "http://127.0.0.1:$other"
    done
    stop_server
    [ ! -e "$file" ]
}

@test "keeps its addresses, its file and its descriptors when it starts anew" {
    keeps_its_addresses
}

@test "keeps its addresses when it starts anew, and takes no more, where one is named twice" {
    serves --bind 127.0.0.1:0 --bind 127.0.0.1:0 hello:app
    starts_anew
}

# Again and again, under load: the next one starts on the same descriptor, then the one before is told to stop.
hands_over() {
    "$PYTHON" -c '
import os, socket, subprocess, sys
listener, (load, *options), servers = socket.create_server(("127.0.0.1", 0), backlog=99), sys.argv[1:], []
def start():
    command = [sys.executable, os.environ["PROGRAM"], "--bind", f"fd://{listener.fileno()}", *options, "hello:app"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[listener.fileno()])
    servers.append(server)
    assert server.stdout.readline().startswith(b"Serving HTTP on port ")
def stop(server):
    server.terminate()
    assert server.wait() == 0
try:
    start()
    clients = subprocess.Popen([sys.executable, load, str(listener.getsockname()[1]), "1"], stdout=subprocess.PIPE)
    while clients.poll() is None:
        start()
        stop(servers.pop(0))
    stop(servers[0])
    print(clients.stdout.read().decode().strip())
finally:
    for server in servers:
        server.kill()
' "$BATS_TEST_DIRNAME/load.py" "$@" >"$answer" 3>&-
    awk '{ print; exit !($1 > 20 && $3 == 0 && $5 == 0) }' "$answer"
}

@test "loses no request when another takes over its descriptor" {
    cd "$BATS_TEST_DIRNAME/apps"
    hands_over
}

# bats test_tags=all
@test "loses no request when another takes over its descriptor, with workers" {
    cd "$BATS_TEST_DIRNAME/apps"
    hands_over --workers 2
}

# bats test_tags=all
@test "loses no request when another takes over its descriptor, with --no-fork" {
    cd "$BATS_TEST_DIRNAME/apps"
    hands_over --no-fork
}
