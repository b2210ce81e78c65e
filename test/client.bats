#!/usr/bin/env bats
# client.py, against webserver.py, and against a server that does wrong on purpose.

load test_helper

ok=$'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

# Python compiles a script anew at each start: the tests start what is compiled once, the same program.
setup_file() {
    "$PYTHON" -c 'import py_compile, sys; py_compile.compile(*sys.argv[1:], doraise=True)' "$CLIENT" "$BATS_FILE_TMPDIR/client.pyc"
    export CLIENT="$BATS_FILE_TMPDIR/client.pyc"
    export SERVER_OPTIONS="${SERVER_OPTIONS:---workers 1}" # the client sees no difference, and a fork each costs more
}

# Starts a client whose requests stay unanswered, and waits until one has arrived.
start_client() {
    start_fake --then hold
    "$PYTHON" "$CLIENT" --max-conns 3 "$url" >"$BATS_TEST_TMPDIR/summary" 3>&- &
    client_pid=$!
    eventually grep -q GET "$stderr"
}

is_gone() {
    [ -z "$(ps -A -o pid=,stat= | awk -v pid="$1" '$1 == pid && $2 !~ /^Z/')" ]
}

@test "is answered on every connection of every process" {
    start_server
    client --max-clients 3 --max-conns 40 "$url/hello"
    [ "$status" -eq 0 ]
    [[ $output == "120 answered, 0 refused, 0 reset, 0 timed out, 0 malformed, 0 cut short, 0 failed in "*" s" ]]
}

@test "opens 1024 connections per process by default, and raises its own descriptor limit to what they need" {
    start_fake --answer "$ok"
    run bash -c 'ulimit -Sn 64 && exec "$@"' - "$PYTHON" "$CLIENT" --max-clients 1 "$url"
    [ "$status" -eq 0 ]
    [[ $output == "1024 answered,"* ]]
}

@test "opens all connections at once, and holds them until every process is done" {
    start_fake --answer "$ok" --then hold --together 8
    client --max-clients 2 --max-conns 4 "$url"
    [ "$status" -eq 0 ]
    [[ $output == "8 answered,"* ]]
}

@test "sends the path and query of the URL, and its authority as Host" {
    start_fake --answer "$ok"
    client --max-conns 1 "$url/a/b?c=%20#fragment"
    [ "$status" -eq 0 ]
    [ "$(cat "$stderr")" = "b'GET /a/b?c=%20 HTTP/1.1\r\nHost: 127.0.0.1:$port\r\n\r\n'" ]
}

# Its name has a second address here, for the first refuses.
@test "tries each address of a name" {
    start_server
    run "$PYTHON" -c 'import runpy, socket, sys; find = socket.getaddrinfo; del sys.argv[0]
socket.getaddrinfo = lambda host, port, **hints: find(host, 1, **hints) + find(host, port, **hints)
runpy.run_path(sys.argv[0], run_name="__main__")' "$CLIENT" --max-conns 2 "$url"
    [ "$status" -eq 0 ]
}

@test "takes an IPv6 address in brackets" {
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' || skip "there is no IPv6 here"
    start_server --bind '[::1]:0'
    client --max-conns 2 "http://[::1]:$port/"
    [ "$status" -eq 0 ]
}

# RFC 9112 6.3, 7.1; RFC 9110 15.2
@test "reads responses to their end, however that is marked" {
    start_fake --answer "$ok" --answer $'HTTP/1.0 200 OK\r\n\r\nuntil close' --answer $'HTTP/1.1 200 \r\n\r\n' \
        --answer $'HTTP/1.1 200 OK\r\ntransfer-encoding: x, Chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n' \
        --answer $'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n'"$ok"
    client --max-conns 5 "$url"
    [[ $output == "5 answered,"* ]] || false
    [ "${#lines[@]}" -eq 1 ]
}

@test "waits for no end of the connection where the response has one" {
    start_fake --then hold --answer "$ok" --answer $'HTTP/1.1 204 No Content\r\n\r\n' \
        --answer $'HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n' \
        --answer $'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n'
    client --max-conns 4 "$url"
    [[ $output == "4 answered,"* ]]
}

@test "counts responses that are cut short, and reports where" {
    chunked=$'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    start_fake --answer '' --answer 'HTTP/1.1 200 OK' --answer $'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok' \
        --answer "$chunked" --answer "${chunked}5" --answer "$chunked"$'5\r\nabc' --answer "$chunked"$'5\r\nabcde' \
        --answer "$chunked"$'0\r\n' --answer "$chunked"$'0\r\nA: b\r\n'
    client --max-conns 9 "$url"
    [ "$status" -eq 1 ]
    [[ ${lines[0]} == *" 0 malformed, 9 cut short, 0 failed in"* ]] || false
    [ "${output#*$'\n'}" = '     1 cut short: before the head
     2 cut short: in the body
     1 cut short: in the chunk end
     2 cut short: in the chunk-size
     1 cut short: in the head
     2 cut short: in the trailer field' ]
}

# RFC 9112 2.2, 4, 5.1, 5.2
@test "counts a head that breaks HTTP as malformed, and shows what came" {
    start_fake --answer $'Hello, World!\r\n\r\n' --answer $'HTTP/2.0 200 OK\r\n\r\n' --answer $'HTTP/1.1 999 OK\r\n\r\n' \
        --answer $'HTTP/1.1 200 OK\nA: b\r\n\r\n' --answer $'HTTP/1.1 200 OK\r\nA : b\r\n\r\n' \
        --answer $'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'
    client --max-conns 6 "$url"
    [ "$status" -eq 1 ]
    [[ $output == *", 0 timed out, 6 malformed, 0 cut short,"*"1 malformed: not a head: 'Hello, World!\\r\\n\\r\\n'"* ]]
}

# RFC 9112 6.1, 6.3, 7.1, 7.1.2; RFC 9110 15.2.2
@test "counts framing with two readings as malformed" {
    head=$'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n'
    start_fake --answer $'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok' \
        --answer $'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok' --answer "$head"$'Content-Length: 2\r\n\r\nok' \
        --answer "$head"$'\r\n0x2\r\nok\r\n0\r\n\r\n' --answer "$head"$'\r\n2\r\nokay\r\n0\r\n\r\n' \
        --answer $'HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n' --answer "$head"$'\r\n0\r\nno field\r\n\r\n' \
        --answer $'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' \
        --answer "$head"$'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n'
    client --max-conns 9 "$url"
    [[ $output == *", 9 malformed, 0 cut short,"* ]]
}

@test "stops reading a head without end" {
    start_fake --answer "HTTP/1.1 200 OK$(printf '\r\nA: %65536s' b)" --then hold
    client --max-conns 1 "$url"
    [[ $output == *"1 malformed: no end of the head within 65536 bytes" ]]
}

@test "reports in one line that the system allows too few descriptors" {
    run bash -c 'ulimit -n 64 && exec "$@"' - "$PYTHON" "$CLIENT" --max-conns 100
    [ "$status" -eq 2 ]
    [[ $output == "client.py: error: "*" descriptors are needed, 64 allowed (ulimit -Hn)" ]] || false
    [ "${#lines[@]}" -eq 1 ]
}

# One process reads them all.
@test "reports in one line what is wrong with its command line" {
    run "$PYTHON" - "$CLIENT" <<'END'
import runpy, subprocess, sys
main = runpy.run_path(sys.argv[1])["main"]
for bad in ("--no-such --max-conns=2|--requests=3 --max-clients=2|--connections=3 --max-conns=0 --max-conns=x --max-conns=99999999999999999999 --max-clients=-1 --timeout=nan --timeout=1e9 "
            "--requests=0 --rate=0 --duration=-1 --expect=2xx --slow=x --slow=both:1 --pipeline=0 --abort-after=-1 "
            "--data-file=/no/such one|two ftp://127.0.0.1/ localhost:8888 http://127.0.0.1:0/ http://127.0.0.1:65536/ "
            "http://a@127.0.0.1/ http://[::1/ http:// http://no..host/ http:/x").split():
    sys.argv[1:] = bad.split("|")
    try:
        main()
    except SystemExit as exit:
        print(exit.code, bad, file=sys.stderr)
END
    [ "$(grep -c '^client.py: error: .' <<<"$output")" -eq 28 ] && [ "$(grep -c '^2 ' <<<"$output")" -eq 28 ] && [ "${#lines[@]}" -eq 56 ]
}

# The module stands for any that Python still imports when Ctrl-C comes.
@test "shows no traceback on Ctrl-C while it starts" {
    echo 'import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)' >"$BATS_TEST_TMPDIR/ssl.py"
    PYTHONPATH=$BATS_TEST_TMPDIR client --max-conns 1 http://127.0.0.1:1/
    [ "$status" -eq 130 ]
    [ "$output" = "" ]
}

@test "prints the summary so far on Ctrl-C" {
    start_client
    kill -INT "$client_pid"
    code=0; wait_for "$client_pid" || code=$?
    [ "$code" -eq 130 ]
    [[ $(cat "$BATS_TEST_TMPDIR/summary") == "0 answered,"*" 3 failed in "*"3 failed: interrupted" ]]
}

@test "counts the connections of a process that dies as failed, and leaves none behind when it is killed" {
    start_client
    kill -KILL "$(children "$client_pid")"
    code=0; wait_for "$client_pid" || code=$?
    [ "$code" -eq 1 ]
    [ "$(sed -n '1s/ .*//p; 2p' "$BATS_TEST_TMPDIR/summary")" = "0
     3 failed: the process died" ]
    "$PYTHON" "$CLIENT" --max-conns 3 "$url/again" 3>&- & client_pid=$!
    eventually grep -q again "$stderr"
    process=$(children "$client_pid")
    kill -KILL "$client_pid"
    wait_for "$client_pid" || true
    eventually is_gone "$process"
}
