#!/usr/bin/env bats
# What the server writes: the access log, failures and deaths on stderr, and on USR1 what every process is doing.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" FILE="$BATS_TEST_TMPDIR/file"
    mkfifo "$LATCH"
    log="$BATS_TEST_TMPDIR/log" answer="$BATS_TEST_TMPDIR/answer" stderr="$BATS_TEST_TMPDIR/stderr"
    modes=("" "--workers 1 --threads 2")
}

# start_logged MODE ARGUMENT...  starts the server in this mode with an access log, which is empty.
start_logged() {
    [ -z "$server_pid" ] || stop_server
    rm -f "$log"
    SERVER_OPTIONS="$1" start_server --access-log "$log" "${@:2}"
}

# logged N LINE [FILE]  succeeds when so many lines of the access log match the whole of this.
logged() {
    [ "$(grep -c -x -E -e "$2" "${3-$log}")" -eq "$1" ]
}

# tells REQUEST-LINE STATUS BYTES  waits for the one line of this exchange.
tells() {
    eventually logged 1 "[^ ]+ - - .* \"$1\" $2 $3 .*" && return
    cat "$log"
    return 1
}

# lines N [FILE]  succeeds when there are so many lines, and none is begun.
lines() {
    [ "$(tr -d -c '\n' <"${2-$log}" | wc -c)" -eq "$1" ]
}

# send REQUEST  sends the request, in which \r\n stand for themselves, and drops the answer.
send() {
    printf '%b' "$1" | raw >"$answer"
}

# said N PATTERN  succeeds when so many lines on stderr match.
said() {
    [ "$(grep -c -E -e "$2" "$stderr")" -eq "$1" ]
}

# hang [PATH]  leaves a request to hangs:app in the application, on a connection that had another before it.
hang() {
    keep_open 6
    printf 'GET %s HTTP/1.1\r\nHost: a\r\n\r\n' "${1-/hang}" >&6
    eventually is_in_application
}

# The process whose application hangs says so when USR1 asks; the stack of --no-fork names the function.
is_in_application() {
    kill -USR1 "$server_pid" && grep -q ' in hang$' "$stderr"
}

# gone_after BYTES  asks for $1, reads so many bytes of the answer, and resets the connection.
gone_after() {
    "$PYTHON" - "$port" "$1" "$2" <<'END'
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % sys.argv[2].encode())
left = int(sys.argv[3])
while left > 0:
    left -= len(client.recv(65536)) or sys.exit("The server closed the connection.")
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
client.close()
END
}

# bytes  prints the bytes of the body in the one line of the log.
bytes() {
    awk '{ print $(NF - 3) }' "$log"
}

@test "logs a line for each request in combined format, with the microseconds at its end" {
    start_logged "" latch:app
    exec 5<>"$LATCH"
    curl -s -m 20 -o /dev/null -A "an agent" -e http://from/ "$url/wait?a=b" 3>&- & client=$!
    eventually arrived 1
    sleep 0.2
    echo >&5
    wait_for "$client"
    eventually logged 1 '127\.0\.0\.1 - - \[[0-3][0-9]/[A-Z][a-z][a-z]/20[0-9]{2}:[0-9:]{8} \+0000\] "GET /wait\?a=b HTTP/1\.1" 200 5 "http://from/" "an agent" [2-9][0-9]{5,6}'
    lines 1
}

@test "logs the time of a request, in UTC" {
    export TZ=XYZ+5
    start_logged "" hello:app
    before=$(LC_ALL=C date -u '+%d/%b/%Y:%H:%M')
    curl -s -m 10 "$url"
    after=$(LC_ALL=C date -u '+%d/%b/%Y:%H:%M')
    eventually logged 1 ".* \[($before|$after):[0-5][0-9] .0000\] .*"
}

@test "logs a JSON object a line with --access-log-format json" {
    start_logged "" --access-log-format json hello:app
    curl -s -m 10 -A 'a "b" \.' -e '\é' "$url/x" "$url/y" -o /dev/null -H 'Connection: close'
    eventually lines 2
    "$PYTHON" - "$log" <<'END'
import json, re, sys
first, second = sorted(map(json.loads, open(sys.argv[1])), key=lambda line: line["request"])
assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", first.pop("time")), first
assert 0 < first.pop("microseconds") < 10**7, first
assert first.pop("user_agent") == 'a "b" \\.' and first.pop("referer") == "\\é".encode().decode("latin-1"), first
assert first == {"client": "127.0.0.1", "request": "GET /x HTTP/1.1", "status": 200, "bytes": 14}, first
assert second["request"] == "GET /y HTTP/1.1"
END
}

@test "logs the status and the length of the body, whole, in blocks, left out or cut" {
    for mode in "${modes[@]}"; do
        start_logged "$mode" as_asked:app
        curl -s -m 10 -o /dev/null "$url/one?status=404+None" "$url/one/three?status=200+OK" "$url/two?status=204+No" "$url/two?status=304+No"
        curl -s -m 10 -I -o /dev/null "$url/one?status=200+OK" "$url/one/two?status=200+OK"
        curl -s -m 10 -0 -o /dev/null "$url/one/three?status=201+OK"
        curl -s -m 10 -o /dev/null "$url/12345?status=200+OK&Content-Length=3"
        tells 'GET /one\?status=404\+None HTTP/1.1' 404 3
        tells 'GET /one/three\?status=200\+OK HTTP/1.1' 200 8
        tells 'GET /two\?status=204\+No HTTP/1.1' 204 0
        tells 'GET /two\?status=304\+No HTTP/1.1' 304 0
        tells 'HEAD /one\?status=200\+OK HTTP/1.1' 200 0
        tells 'HEAD /one/two\?status=200\+OK HTTP/1.1' 200 0
        tells 'GET /one/three\?status=201\+OK HTTP/1.0' 201 8
        tells 'GET /12345\?status=200\+OK&Content-Length=3 HTTP/1.1' 200 3
        lines 8
    done
}

@test "logs the length of a file that the kernel sends" {
    printf '0123456789' >"$FILE"
    start_logged "" sends_file:app
    curl -s -m 10 -o /dev/null "$url/file" "$url/partly-read" "$url/announced" "$url/gzip"
    curl -s -m 10 -I -o /dev/null "$url/file"
    tells 'GET /file HTTP/1.1' 200 10
    tells 'GET /partly-read HTTP/1.1' 200 4
    tells 'GET /announced HTTP/1.1' 200 4
    tells 'HEAD /file HTTP/1.1' 200 0
}

@test "logs what was sent of a response whose client has gone" {
    start_logged "" large:app
    gone_after / 300000
    eventually lines 1
    [ "$(bytes)" -gt 299000 ]
    [ "$(bytes)" -lt 30000000 ]
}

@test "logs what was sent of a file whose client has gone" {
    "$PYTHON" -c 'print("x" * 39999999)' >"$FILE"
    start_logged "--workers 1" sends_file:app
    gone_after /file 300000
    eventually lines 1
    [ "$(bytes)" -gt 299000 ]
    [ "$(bytes)" -lt 40000000 ]
}

@test "logs what was sent in blocks to a client that has gone" {
    start_logged "" held_up:app
    gone_after /blocks 300000
    tells 'GET /blocks HTTP/1.1' 200 '[1-9][0-9]{5,6}'
}

@test "logs an application that fails once, as the client saw it" {
    for mode in "${modes[@]}"; do
        start_logged "$mode" broken:app
        for path in / /first /later; do curl -s -m 10 -o "$answer" "$url$path" || true; done
        tells 'GET / HTTP/1.1' 500 '[1-9][0-9]'
        tells 'GET /first HTTP/1.1' 500 '[1-9][0-9]'
        tells 'GET /later HTTP/1.1' 200 4
        lines 3
    done
}

@test "logs the client for which an application failed, and how long it took" {
    start_logged "" broken:app
    curl -s -m 10 -o /dev/null -A agent -e referer -H 'X-Forwarded-For: 192.0.2.7' "$url"
    eventually logged 1 '192\.0\.2\.7 .* 500 [0-9]+ "referer" "agent" [1-9][0-9]+'
}

@test "logs each refused request once" {
    start_logged "" --header-timeout 0.3 hello:app
    keep_alive='GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    send "${keep_alive}GET /bad HTTP/1.1\r\nHost : a\r\n\r\n"
    send "${keep_alive}GET /late HTTP/1.1\r\nHost"
    send "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"
    send "GET /fields HTTP/1.1\r\nHost: a\r\n$(printf 'A: b\\r\\n%.0s' {1..200})\r\n"
    send "POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"
    tells 'GET /bad HTTP/1.1' 400 '[1-9][0-9]+'
    tells 'GET /late HTTP/1.1' 408 '[1-9][0-9]+'
    tells 'POST /large HTTP/1.1' 413 '[1-9][0-9]+'
    tells 'GET /fields HTTP/1.1' 431 '[1-9][0-9]+'
    tells 'POST /chunks HTTP/1.1' 400 '[1-9][0-9]+'
    lines 7
}

@test "logs no body for a HEAD that is refused, or fails" {
    start_logged "" broken:app
    send 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'
    send 'HEAD /#a HTTP/1.1\r\nHost: a\r\n\r\n'
    tells 'HEAD / HTTP/1.1' 500 0
    tells 'HEAD /#a HTTP/1.1' 400 0
}

@test "logs the client that a trusted proxy names, and no other" {
    start_logged "" --forwarded-allow-ips 127.0.0.1 hello:app
    curl -s -m 10 -o /dev/null -H 'X-Forwarded-For: 192.0.2.1, 192.0.2.2' "$url"
    curl -s -m 10 -o /dev/null -H 'X-Forwarded-For: a"b' "$url/none"
    eventually logged 1 '192\.0\.2\.2 .*"GET / .*'
    eventually logged 1 '127\.0\.0\.1 .*"GET /none .*'
    start_logged "" --forwarded-allow-ips 192.0.2.9 hello:app
    curl -s -m 10 -o /dev/null -H 'X-Forwarded-For: 192.0.2.1' "$url"
    eventually logged 1 '127\.0\.0\.1 .*'
}

@test "logs the client of a unix socket as unix" {
    path="${BATS_TEST_TMPDIR#"$PWD/"}/socket"
    (cd "$BATS_TEST_DIRNAME/apps" && exec "$PYTHON" "$PROGRAM" --bind "unix:$path" --access-log "$log" hello:app) >"$answer" 3>&- 4>&- & server_pid=$!
    eventually grep -q '^Serving' "$answer"
    curl -s -m 10 -o /dev/null --unix-socket "$path" http://a/
    eventually logged 1 'unix - - .* "GET / HTTP/1.1" 200 14 .*'
}

# Quotes, backslashes, controls and obs-text in each place, refused and served: what a line looks like is ours alone.
hostile() {
    send 'GET /"\\x HTTP/1.1\r\nHost: a\r\nUser-Agent: "\\\xff\xe9\t"\r\nReferer: \x80" 200 1 "\r\nConnection: close\r\n\r\n'
    send 'GET /\x1b[31m"\\\x07 HTTP/1.1\r\nHost: a\r\n\r\n'
    send 'GET /a\n127.0.0.1 - - "GET /forged HTTP/1.1" 200 1 "-" "-" 1\n HTTP/1.1\r\nHost: a\r\n\r\n'
    send '\x9b\xff\x7f"\\\r\n\r\n'
    eventually lines 4
    LC_ALL=C
    run grep -c '[^ -~]' "$log"
    [ "$output" -eq 0 ]
}

@test "lets no client forge a line of the log, or write to a terminal" {
    quoted='"([^"\\]|\\.)*"'
    start_logged "" hello:app
    hostile
    logged 4 "127\.0\.0\.1 - - \[[^]]*\] $quoted [24]0[0-9] [0-9]+ $quoted $quoted [0-9]+"
    logged 0 '127[^"]*"GET /forged.*'
}

@test "lets no client forge a line of JSON" {
    start_logged "" --access-log-format json hello:app
    hostile
    "$PYTHON" - "$log" <<'END'
import json, sys
served, *refused = map(json.loads, open(sys.argv[1]))
assert served["request"] == 'GET /"\\x HTTP/1.1' and served["status"] == 200, served
assert served["user_agent"] == '"\\\xff\xe9\t"' and served["referer"] == '\x80" 200 1 "', served
assert [one["status"] for one in refused] == [400] * 3 and refused[0]["request"].startswith('GET /\x1b[31m"\\\x07'), refused
END
}

# What a pipe takes in one piece is 4096 bytes. These requests have more in each of their three parts, or, as they are
# or escaped, about as much as a line has room for.
write_much() { # MODE FORMAT
    mkfifo "$log.pipe" 2>/dev/null || true
    cat "$log.pipe" >"$log" 3>&- 4>&- & reader=$!
    SERVER_OPTIONS="$1" start_server --access-log "$log.pipe" --access-log-format "$2" hello:app
    "$PYTHON" - "$port" <<'END'
import socket, sys, threading
REQUEST = b"GET /%s HTTP/1.1\r\nHost: a\r\nUser-Agent: %s\r\nReferer: %s\r\nConnection: close\r\n\r\n"
SIZES = (7000, 8000), (2700, 1300), (1880, 880), (930, 440), (300, 140)
def send(part):
    for line, field in SIZES * 2:
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
            client.sendall(REQUEST % (b"a" * line if part == b"\xff" else part * line, part * field, part * field))
            while client.recv(65536):
                pass
threads = [threading.Thread(target=send, args=(part,)) for part in (b"a", b'"', b"\\", b"\xff")]
[thread.start() for thread in threads], [thread.join() for thread in threads]
END
    stop_server
    wait_for "$reader"
    lines 40
    [ "$(LC_ALL=C awk 'length > most { most = length } END { print most + 1 }' "$log")" -le 4096 ]
}

@test "writes whole lines into a pipe, from all its processes, of at most 4096 bytes" {
    write_much "--workers 4" combined
    logged 40 '127\.0\.0\.1 - - \[[^]]*\] "GET /.*" 200 14 ".*" ".*" [0-9]+'
}

@test "writes whole objects of JSON, from all its processes, of at most 4096 bytes" {
    write_much "--workers 4" json
    "$PYTHON" -c 'import json, sys; assert {json.loads(line)["status"] for line in open(sys.argv[1])} == {200}' "$log"
}

# The log shares the file with what the application prints: a seek for each line would overwrite that.
@test "appends to what the file has" {
    echo "first" >"$log"
    start_server --access-log "$log" hello:app
    curl -s -m 10 -o /dev/null -H 'Connection: close' "$url/a" "$url/b"
    eventually lines 3
    [ "$(sed 1q "$log")" = "first" ]
}

@test "logs to stderr with --access-log -, and nothing unless asked" {
    start_server --access-log - hello:app
    curl -s -m 10 -o /dev/null "$url"
    eventually logged 1 '127.* "GET / HTTP/1.1" 200 14 .*' "$stderr"
    : >"$stderr"
    restart hello:app
    curl -s -m 10 -o /dev/null "$url"
    stop_server
    [ ! -s "$stderr" ]
}

@test "logs on a terminal, unless a file is named" {
    launch=("$PYTHON" "$BATS_TEST_DIRNAME/on_terminal.py")
    start_server hello:app
    curl -s -m 10 -o /dev/null "$url/shown"
    eventually logged 1 '127.* "GET /shown HTTP/1.1" 200 14 .*' "$stderr"
    restart --access-log "$log" hello:app
    curl -s -m 10 -o /dev/null "$url/kept"
    tells 'GET /kept HTTP/1.1' 200 14
    stop_server
    said 0 kept
}

@test "goes on where the disk is full, and logs that once" {
    [ -c /dev/full ] || skip "there is no /dev/full here"
    for mode in "" "--workers 2"; do
        : >"$stderr"
        SERVER_OPTIONS="$mode" start_server --access-log /dev/full hello:app
        curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-4]"
        stop_server
        said 1 '^[-0-9]{10} [:0-9]{8} \[[0-9]+\] .*access log.*: No space left on device$'
    done
}

@test "goes on when the reader of its log is gone, and logs that once" {
    mkfifo "$log"
    head -n 1 "$log" >"$answer" 3>&- 4>&- & reader=$!
    start_server --access-log "$log" hello:app
    curl -s -m 10 -o /dev/null "$url"
    wait_for "$reader"
    curl --fail-early -sf -m 20 -o /dev/null -H 'Connection: close' "$url/[1-4]"
    stop_server
    said 1 'access log.*: Broken pipe$'
}

@test "refuses a log that it cannot write" {
    for file in none/log . 'a\nb/log'; do echo "'--access-log: cannot write ' --access-log '$BATS_TEST_TMPDIR/$file'"; done | refuses
}

@test "names each failure of the application on stderr and to its client, with time and pid" {
    for mode in "" "--workers 1 --threads 2"; do
        : >"$stderr"
        [ -z "$server_pid" ] || stop_server
        SERVER_OPTIONS="$mode" start_server broken:app
        one=$(curl -s -m 10 "$url" | sed 's/.* as //') two=$(curl -s -m 10 "$url" | sed 's/.* as //')
        [ "$one" != "$two" ]
        said 1 "^20[0-9]{2}-[0-9]{2}-[0-9]{2} [0-9:]{8} \[[0-9]+\] ([a-z]+: )?GET / HTTP/1\.1 failed \($one\)$"
        said 1 " GET / HTTP/1\.1 failed \($two\)$"
        grep -A 1 -e "($one)" "$stderr" | grep -q '^  Traceback'
        said 2 '^  ValueError: broken on purpose$'
    done
}

@test "logs the failure of a response whose head was sent" {
    start_server broken:app
    run curl -s -m 10 "$url/later"
    eventually said 1 '\] ([a-z]+: )?GET /later HTTP/1\.1 failed \([0-9a-f]+\)$'
}

# honest N  succeeds when stderr has so many lines with a time, each of a process of the server, and no control character.
honest() {
    said "$1" '^[-0-9]{10} [:0-9]{8} \[[0-9]+\] '
    said 0 '\[1\]'
    [ "$(LC_ALL=C grep -c '[^ -~]' "$stderr")" -eq 0 ]
}

@test "lets no refused request forge a line on stderr" {
    start_server --verbose hello:app
    send 'GET /\n2026-01-01 00:00:00 [1] forged\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n'
    send 'GET / HTTP/1.1\r\nHost: a\r\nA: b\n2026-01-01 00:00:00 [1] forged\r\n\r\n'
    send 'GET / HTTP/1.1\r\nHost: \x9b31m\xff\r\n\r\n'
    stop_server
    honest 3
}

# A path is decoded for the application, and may end in the message of what that raises.
@test "lets no request that fails forge a line on stderr" {
    start_server complains:app
    send 'GET /a%0A2026-01-01%2000:00:00%20[1]%20child%207%20was%20killed%0D%1b[31m HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    eventually grep -q '^  ValueError' "$stderr"
    [ "$(grep -c -E '^[-0-9]{10} [:0-9]{8} \[' "$stderr")" -eq 1 ]
    [ "$(LC_ALL=C grep -c "$(printf '[\r\33]')" "$stderr")" -eq 0 ]
}

# dies HOW PATTERN  succeeds when stderr comes to tell of one death, by KILL, in this way.
dies() {
    eventually said 1 "^[-0-9]{10} [:0-9]{8} \[[0-9]+\] ([a-z]+: )?(child|worker) [0-9]+ was killed by SIGKILL $1$"
}

while_serving='while serving 127\.0\.0\.1 GET /deaf HTTP/1\.1'
somebody='\(not by this server: [a-z ]*memory\?\)'

# start_hanging MODE ARGUMENT...
start_hanging() {
    [ -z "$server_pid" ] || stop_server
    : >"$stderr"
    SERVER_OPTIONS="$1" start_server "${@:2}" hangs:app
    hang /deaf
}

@test "logs what a child was serving that it killed after the graceful timeout" {
    for mode in "${modes[@]}"; do
        start_hanging "$mode" --graceful-timeout 0.2
        kill -TERM "$server_pid"
        dies "$while_serving"
        ends_well
    done
}

@test "logs what a child was serving that it killed on a second TERM" {
    start_hanging ""
    kill -TERM "$server_pid"
    kill -INT "$server_pid"
    dies "$while_serving"
    ends_well
}

@test "logs what a child was serving that it killed after --timeout" {
    for mode in "" "--workers 1"; do
        start_hanging "$mode" --timeout 0.3
        dies "$while_serving"
        stop_server
    done
}

@test "logs what a child was serving that another process killed, and the likely cause" {
    for mode in "${modes[@]}"; do
        start_hanging "$mode"
        kill -KILL "$(children)"
        dies "$somebody $while_serving"
    done
}

@test "logs what a child had served last that another process killed" {
    for mode in "${modes[@]}"; do
        [ -z "$server_pid" ] || stop_server
        : >"$stderr"
        export SERVER_OPTIONS="$mode"
        start_server latch:app
        keep_open 6
        settles
        kill -KILL "$(children)"
        dies "$somebody after 127\.0\.0\.1 GET / HTTP/1\.1"
    done
}

# start_shown MODE APP
start_shown() {
    [ -z "$server_pid" ] || stop_server
    : >"$stderr"
    SERVER_OPTIONS="$1" start_server "$2"
}

@test "shows on USR1 for which client, for how long and where an application hangs" {
    for mode in --no-fork "${modes[@]}"; do
        start_shown "$mode" latch:app
        exec 5<>"$LATCH"
        curl -s -m 20 -o "$answer" "$url/wait" 3>&- & client=$!
        eventually arrived 1
        kill -USR1 "$server_pid"
        eventually grep -q '", line [0-9]* in wait$' "$stderr"
        said 1 '^[-0-9]{10} [:0-9]{8} \[[0-9]+\] .*[0-9.]+ s: 127\.0\.0\.1 GET /wait HTTP/1\.1$'
        echo >&5
        wait_for "$client"
        rm "$LATCH.arrived"
        [ "$(cat "$answer")" = "done" ] # the read went on
        [ "$(curl -s -m 10 "$url")" = "done" ]
    done
}

@test "shows on USR1 every thread that is in the application" {
    start_shown "--workers 1 --threads 2" latch:app
    exec 5<>"$LATCH"
    for count in 1 2; do
        curl -s -m 20 -o "$answer" "$url/wait" 3>&- &
        eventually arrived "$count"
    done
    kill -USR1 "$server_pid"
    eventually said 2 ' in wait$'
    said 2 '[0-9.]+ s: 127\.0\.0\.1 GET /wait HTTP/1\.1$'
    echo "12" >&5
}

@test "shows on USR1 that a client is silent, and its address" {
    start_server hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually has_children 1
    settles
    : >"$stderr"
    kill -USR1 "$server_pid"
    eventually grep -q '^  File ".*webserver' "$stderr"
    said 1 "child $(children) .*[0-9.]+ s: 127\.0\.0\.1"
}

@test "shows on USR1 every worker, and those without a request too" {
    start_server --workers 2 hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually counted
    pids=$(children)
    for worker in $pids; do eventually grep -q -E "\] notice: worker $worker .*[01] connections?" "$stderr"; done
    grep -q '^  File ".*webserver' "$stderr"
}

counted() {
    kill -USR1 "$server_pid" && grep -q -E 'worker [0-9]+ .*[^0-9]1 connection' "$stderr"
}

@test "cuts nothing short on USR1" {
    for mode in "" "--no-fork"; do
        start_shown "$mode" naps:app
        curl -s -m 20 -o "$answer" "$url" 3>&- & client=$!
        for _ in 1 2; do
            sleep 0.1
            kill -USR1 "$server_pid"
        done
        wait_for "$client"
        awk '{ exit !($1 >= 0.3 && $1 < 5) }' "$answer"
    done
}

@test "loses no request to USR1" {
    for mode in "" "--workers 2"; do
        start_shown "$mode" hello:app
        for _ in 1 2 3 4; do
            kill -USR1 "$server_pid"
            [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
        done
    done
}
