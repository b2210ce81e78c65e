#!/usr/bin/env bats
# client.py as a load and fault tool, against webserver.py, and against a server that does wrong on purpose.

load test_helper

ok=$'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

# Python compiles a script anew at each start: the tests start what is compiled once, the same program.
setup_file() {
    shares hello:app echo:app
    "$PYTHON" -c 'import py_compile, sys; py_compile.compile(*sys.argv[1:], doraise=True)' "$CLIENT" "$BATS_FILE_TMPDIR/client.pyc"
    export CLIENT="$BATS_FILE_TMPDIR/client.pyc"
    export SERVER_OPTIONS="${SERVER_OPTIONS:---workers 1}" # the client sees no difference, and a fork each costs more
}

# one ARGUMENT...  opens one connection at a time.
one() {
    client --connections 1 "$@"
}

# value EXPRESSION  prints what it makes of the summary that --json has printed, `s`.
value() {
    "$PYTHON" -c 'import json, sys; s = json.loads(sys.argv[1]); print(eval(sys.argv[2]))' "$output" "$1"
}

# ends STATUS LINE  succeeds when the client ended so, and a line of its summary matches.
ends() {
    if [ "$status" -ne "$1" ] || ! grep -q -E -e "$2" <<<"$output"; then
        echo "$status, not $1, or no line '$2': $output" && return 1
    fi
}

# ---- how much

@test "sends 200 requests on 50 connections by default" {
    start_server hello:app
    client --json "$url"
    [ "$status" -eq 0 ]
    [ "$(value 's["answered"], s["details"]')" = "(200, {'answered: 200': 200})" ]
}

@test "keeps a connection, and sends as many requests as --requests says" {
    start_fake --answer "$ok" --answer "${ok/200/201}" --repeat 2 --then hold
    one --requests 2 --expect 200,201 "$url"
    ends 0 '^ +1 answered: 201'
    [ "$(grep -c GET "$stderr")" -eq 2 ]
}

@test "opens a connection for each request with --no-keepalive, and sends Connection: close" {
    start_fake --answer "$ok"
    client --requests 9 --no-keepalive "$url"
    ends 0 '^9 answered, 0 refused'
    [ "$(grep -c 'Connection: close' "$stderr")" -eq 9 ]
}

# RFC 9112 9.3
@test "opens another connection where the server closes" {
    start_fake --answer $'HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok' \
        --answer $'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok' --answer $'HTTP/1.1 200 OK\r\n\r\nuntil close'
    one --requests 6 "$url"
    ends 0 '^6 answered, 0 refused'
}

@test "runs for the time of --duration, counts apart what its end has cut, and fails when nothing was answered" {
    start_fake --answer "$ok" --then hold
    client --duration 1 --processes 1 --connections 3 "$url"
    ends 0 '^ +3 cut: by the deadline'
    ends 0 '^3 answered, 0 refused'
    client --duration 0.3 --connections 3 "https://127.0.0.1:$port/" # of which it makes nothing: none is a failure, too
    ends 1 '^0 answered, 0 refused, 0 reset, 0 timed out'
}

@test "counts only what was due, at a rate" {
    start_server hello:app
    client --json --rate 50 --requests 40 --duration 30 "$url"
    [ "$status" -eq 0 ]
    [ "$(value 's["answered"], s["seconds"] > 0.7')" = "(40, True)" ]
}

# Three are due while the first takes two seconds: the last has waited for six, less the 1.5 that it was not yet due.
@test "counts latency from when a request was due" {
    start_server --app slow:app
    one --json --rate 2 --requests 3 "$url"
    [ "$status" -eq 0 ]
    [ "$(value 's["latency"]["slowest"] > 4.5')" = True ]
}

# ---- what it sends

@test "sends method, field lines and a body" {
    start_server echo:app
    client --debug --method PUT --header 'Content-Type: a/b' --header 'host: c' --data 'x y' "$url/d"
    ends 0 '^> PUT /d HTTP/1.1\\r\\n$'
    [ "$(grep '^>' <<<"$output" | tail -n +2)" = '> Content-Length: 3\r\n
> Content-Type: a/b\r\n
> host: c\r\n
> \r\n
> x y' ]
}

@test "sends a file, whole or in chunks, of any size" {
    start_server echo:app
    "$PYTHON" -c 'print("x" * 9999999)' >"$BATS_TEST_TMPDIR/body"
    for option in '' --chunked; do
        # shellcheck disable=SC2086
        one --json --requests 1 --data-file "$BATS_TEST_TMPDIR/body" $option "$url"
        [ "$status" -eq 0 ]
        [ "$(value 's["answered"], s["bytes_sent"] > 9999999')" = "(1, True)" ]
    done
}

@test "reads no body after HEAD" {
    start_fake --answer $'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n' --repeat 2 --then hold
    one --method HEAD --requests 2 "$url"
    ends 0 '^2 answered, 0 refused'
}

@test "shows every byte of one exchange with --debug" {
    start_fake --answer $'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\x1b'
    client --debug --header $'A: \xc3\xa4' "$url"
    ends 0 '^> A: \\xc3\\xa4\\r\\n$'
    [ "$(grep -a '^<' <<<"$output" | sed 's/^< //' | tr -d '\n')" = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\x1b' ]
    [ "$(grep -c GET "$stderr")" -eq 1 ]
}

@test "connects to a UNIX socket" {
    file=$(mktemp -d /tmp/client.XXXXXX)/at
    start_server --bind 127.0.0.1:0 --bind "unix:$file" || true # its ready line names both
    client --unix "$file" http://some.host/
    rm -r "${file%/at}"
    ends 0 '^200 answered, 0 refused'
}

@test "accepts a self-signed certificate only with --insecure" {
    cd "$BATS_TEST_TMPDIR"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout key -out cert -days 2 2>/dev/null
    start_server --certfile "$BATS_TEST_TMPDIR/cert" --keyfile "$BATS_TEST_TMPDIR/key" || port=${port##* } # it says HTTPS
    client --insecure "https://127.0.0.1:$port/"
    ends 0 '^200 answered, 0 refused'
    client --requests 2 "https://127.0.0.1:$port/"
    ends 1 ', 2 failed in'
    ends 1 '^ +[12] failed: .*CERTIFICATE_VERIFY_FAILED' # and the line of _ssl.c, which may be one of two
}

# ---- faults on purpose

@test "sends and reads no faster than --slow" {
    start_fake --answer "$ok"
    client --debug --json --slow send:40 "$url"
    [ "$status" -eq 0 ]
    [ "$(grep -c '^>' <<<"$output")" -gt 10 ]
    output=$(sed '1,/^< ok/d' <<<"$output")
    [ "$(value 's["seconds"] > 0.8')" = True ]
    client --debug --json --slow read:40 "$url"
    [ "$(grep -c '^>' <<<"$output")" -eq 3 ] && [ "$(grep -c '^<' <<<"$output")" -gt 10 ]
}

@test "sends several requests before it reads with --pipeline" {
    start_fake --heads 3 --answer "$ok$ok$ok" --answer "$ok" --repeat 2 --then hold
    one --requests 4 --pipeline 3 --timeout 2 "$url"
    ends 1 '^3 answered, 0 refused, 0 reset, 1 timed out'
}

# RFC 9112 9.6
@test "sends again the requests of a pipeline that a closing server left unanswered" {
    start_fake --heads 2 --answer "${ok/OK/OK$'\r\nConnection: close'}" --answer "$ok$ok"
    one --requests 3 --pipeline 2 "$url"
    ends 0 '^3 answered, 0 refused'
}

@test "ends its side of a connection with --half-close" {
    start_fake --to-end --answer "$ok"
    client --requests 3 --half-close "$url"
    ends 0 '^3 answered, 0 refused'
}

@test "resets connections with --abort-after" {
    start_server --app large:app
    client --json --requests 3 --abort-after 1000 "$url"
    [ "$status" -eq 0 ]
    [ "$(value 's["aborted"], s["answered"], s["bytes_received"]')" = "(3, 0, 3000)" ]
}

@test "sends the requests of --pipeline on every connection with --hold, and holds all until the end" {
    start_fake --heads 2 --answer "$ok$ok" --then hold --together 3
    client --hold --pipeline 2 --connections 3 --timeout 5 "$url"
    ends 0 '^6 answered, 0 refused'
}

# select() fails for them.
@test "waits on descriptors above 1023" {
    start_server hello:app
    run "$PYTHON" -c 'import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
for number in range(3, 1100):
    os.dup2(0, number)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])' "$CLIENT" --rate 100 --requests 9 "$url"
    ends 0 '^9 answered, 0 refused'
}

# ---- what it finds

@test "counts refused and reset connections, and goes on" {
    start_fake --answer "${ok%k}" --then reset
    one --requests 2 "$url"
    ends 1 '^0 answered, 0 refused, 2 reset'
    client --requests 3 http://127.0.0.1:1/
    ends 1 '^0 answered, 3 refused'
}

@test "times out each request" {
    start_fake --answer "$ok" --answer 'HTTP/1.1 200' --repeat 2 --then hold
    one --requests 2 --timeout 0.3 "$url"
    ends 1 '^1 answered, 0 refused, 0 reset, 1 timed out'
    ends 1 '^ +1 timed out: no whole response in time'
}

# The kernel accepts what the server does not: only TLS notices.
@test "times out each connection" {
    start_fake --answer "$ok" --heads 99
    one --requests 1 --connect-timeout 0.3 "https://127.0.0.1:$port/"
    ends 1 '^ +1 timed out: no connection in time'
}

@test "finds a byte too many" {
    start_fake --answer "$ok" --late x
    one --requests 2 --no-keepalive "$url"
    ends 1 "^ +2 malformed: more than the response"
}

@test "finds a byte too many after the same response, before the next" {
    start_fake --answer "$ok" --answer "${ok}x" --answer "$ok" --repeat 3 --at-once
    one --requests 3 "$url"
    ends 1 "^ +1 malformed: more than the response"
}

@test "finds a response without a request" {
    start_fake --answer "$ok" --late "$ok"
    one --requests 2 --rate 1 "$url"
    ends 1 '^ +1 malformed: a response without a request'
}

@test "counts only the statuses of --expect as success" {
    start_fake --answer "$ok" --answer $'HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n'
    client --requests 2 --no-keepalive "$url"
    ends 1 '^ +1 answered: 404'
    client --requests 2 --no-keepalive --expect 200,404 "$url"
    ends 0 '^2 answered'
    client --max-conns 4 "$url" # any
    ends 0 '^ +2 answered: 404'
}

@test "reads a response that comes before it has sent everything" {
    start_fake --answer "$ok" --then hold
    one --json --requests 1 --slow send:500 --data "$(printf '%9999s' x)" "$url"
    [ "$status" -eq 0 ]
    [ "$(value 's["answered"], s["bytes_sent"] < 9999')" = "(1, True)" ]
}

# ---- what it reports

@test "runs a command in the middle, which costs no requests, and reports its exit status" {
    start_server --workers 1
    client --rate 300 --duration 2 --during "kill -HUP $server_pid; exit 3" "$url"
    ends 1 '^ +1 failed: --during: exit status 3$'
    ends 1 '^[56][0-9][0-9] answered, 0 refused, 0 reset, 0 timed out, 0 malformed, 0 cut short, 1 failed'
}

@test "reports that a command cost requests" {
    start_server
    client --rate 50 --duration 3 --during "kill -TERM $server_pid" "$url"
    ends 1 '^ +1 during: --during: exit status 0$'
    ends 1 '^ +[1-9][0-9]* refused: Connection refused$'
    ends_well
}
