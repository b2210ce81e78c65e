#!/usr/bin/env bats
# What README.md says of running the server works: with systemd, in a container, behind nginx, in a program. (That which
# it says of HAProxy stands in balancers.bats.)

load test_helper

setup() {
    folder=$BATS_TEST_TMPDIR/app answer=$BATS_TEST_TMPDIR/answer
    mkdir "$folder"
    cp "$WEBSERVER" "$folder/webserver.py"
    cp "$BATS_TEST_DIRNAME/apps/environ.py" "$folder/module.py"
}

# as_written DIRECTORY COMMAND...  sets the launcher: the server starts there by this command, whatever start_server has
# of it, with a socket that listens already as systemd passes it.
as_written() {
    launch+=("$PYTHON" -c '
import os, socket, sys
directory, count, *command = sys.argv[1:]
with socket.create_server(("127.0.0.1", 0)) as listener:
    os.dup2(listener.fileno(), 97)
os.dup2(97, 3)
os.closerange(4, 256)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.chdir(directory)
os.execvp(command[0], command[: int(count)])' "$1" "$(($# - 1))" "${@:2}")
}

# value NAME  prints what the unit for the service sets it to.
value() {
    recipe 'ini app.service' | sed -n "s/^$1=//p"
}

@test "has units in its README that systemd understands" {
    type systemd-analyze >/dev/null 2>&1 || skip "there is no systemd-analyze"
    recipe 'ini app.socket' | sed "s,ListenStream=80,ListenStream=$BATS_TEST_TMPDIR/socket," >"$BATS_TEST_TMPDIR/app.socket"
    recipe 'ini app.service' | sed "s,/srv/app,$folder,; s,/usr/bin/python3,$PYTHON," >"$BATS_TEST_TMPDIR/app.service"
    run systemd-analyze verify "$BATS_TEST_TMPDIR/app.socket" "$BATS_TEST_TMPDIR/app.service"
    echo "$output"
    [ "$status" -eq 0 ]
    run grep -F "$BATS_TEST_TMPDIR/app.s" <<<"$output"
    [ "$output" = "" ]
}

@test "serves by the command of the README's unit, on the socket that systemd has opened, and starts anew by its reload" {
    read -r -a words <<<"$(value ExecStart)"
    [ "${words[0]}" = /usr/bin/python3 ]
    [ "$(value WorkingDirectory)" = /srv/app ]
    [ "$(value Type)" = notify ]
    can_renew
    take_notices
    as_written "$folder" "$PYTHON" "${words[@]:1}"
    start_server
    eventually has_noticed 1 READY=1
    curl -sf -m 10 "$url" >"$answer"
    grep -q -x wsgi.multiprocess=True "$answer"
    cp "$BATS_TEST_DIRNAME/apps/hello.py" "$folder/module.py"
    MAINPID=$server_pid bash -c "$(value ExecReload)"
    eventually answers "Hello, World!"
    eventually has_noticed 2 READY=1
}

@test "has a unit in its README that gives requests in flight the time that the server gives them" {
    grace=$("$PYTHON" "$PROGRAM" --help | tr -s '\n ' ' ' | sed -n 's/.*--graceful-timeout S [^(]*(\([0-9]*\)).*/\1/p')
    [ "$(value TimeoutStopSec)" -gt "$grace" ]
    [ "$(value KillMode)" = mixed ] # TERM is for the Supervisor alone
}

# bats test_tags=fork
@test "serves as process 1 by the command of the README's Dockerfile, and ends when the container is stopped" {
    as_first_process
    recipe dockerfile >"$BATS_TEST_TMPDIR/Dockerfile"
    read -r -a words <<<"$(sed -n 's/^CMD \[\(.*\)\]$/\1/p' "$BATS_TEST_TMPDIR/Dockerfile" | tr -d '",')"
    [ "${words[*]:0:3}" = "python -m webserver" ]
    [ "${words[*]:5:1}" = --bind ]
    as_written "$folder" "$PYTHON" "${words[@]:1:5}" 127.0.0.1:0
    while read -r setting; do export "${setting?}"; done < <(sed -n 's/^ENV //p' "$BATS_TEST_TMPDIR/Dockerfile")
    start_server
    first=$(children "$server_pid")
    curl -sf -m 10 "$url" >"$answer"
    grep -q -x wsgi.multiprocess=True "$answer"
    server_pid=$first eventually has_children 2 # WEB_CONCURRENCY
    kill -s "$(sed -n 's/^STOPSIGNAL //p' "$BATS_TEST_TMPDIR/Dockerfile")" "$first"
    ends_well
}

@test "has a Dockerfile of ten lines in its README" {
    [ "$(recipe dockerfile | grep -c .)" -le 10 ]
}

@test "sees its clients through nginx as the README has it, and not what they claim to be" {
    type nginx >/dev/null 2>&1 || skip "there is no nginx: Debian's package nginx-light, Homebrew's nginx"
    start_server
    front=$port
    stop_server
    start_server environ:app
    nginx_configuration | sed "s/127.0.0.1:8888;/127.0.0.1:$port;/; s/listen 80;/listen 127.0.0.1:$front;/" >"$BATS_TEST_TMPDIR/nginx.conf"
    nginx -e "$BATS_TEST_TMPDIR/nginx.log" -c "$BATS_TEST_TMPDIR/nginx.conf" >/dev/null 2>&1 3>&- 4>&- & neighbour=$!
    eventually curl -sf -m 10 -o /dev/null "http://127.0.0.1:$front"
    curl -sf -m 10 -H "X-Forwarded-For: 6.6.6.6" -H "X-Forwarded-Proto: https" -H "X-Forwarded-Host: evil" \
        "http://127.0.0.1:$front/path" >"$answer"
    kill -TERM "$neighbour" && wait_for "$neighbour"
    for line in REMOTE_ADDR=127.0.0.1 "HTTP_HOST=127.0.0.1:$front" wsgi.url_scheme=http PATH_INFO=/path \
        HTTP_X_FORWARDED_FOR=127.0.0.1; do grep -q -x -F "$line" "$answer" || { cat "$answer" && false; }; done
}

# Prints the program of the README in which a line matches.
program() {
    recipe python | awk -v pattern="$1" '
        /^(import|from) / && seen { if (text ~ pattern) printf "%s", text; text = ""; seen = 0 }
        !/^(import|from) / && NF { seen = 1 }
        { text = text $0 "\n" }
        END { if (text ~ pattern) printf "%s", text }'
}

@test "serves by the program of the README" {
    program 'serve\(app' | sed "s/localhost:8888/127.0.0.1:0/; s,unix:/tmp/app.sock,unix:$BATS_TEST_TMPDIR/socket," >"$folder/program.py"
    as_written "$folder" "$PYTHON" program.py
    start_server >"$BATS_TEST_TMPDIR/said" || [ -n "$port" ] # two addresses
    [ "$(curl -sf -m 10 --unix-socket "$BATS_TEST_TMPDIR/socket" http://a/)" = "Hello" ]
    kill -TERM "$server_pid" # after --drain-delay
    ends_well
}

@test "serves in a thread by the fixture of the README" {
    program make_server >"$folder/fixture.py"
    [ "$(cd "$folder" && no_proxy='*' "$PYTHON" fixture.py)" = "b'Hello'" ]
}
