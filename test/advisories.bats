#!/usr/bin/env bats
# What went wrong in other servers, advisory by advisory, with the input that shows it. Left out is what this server
# has no part in: early hints, a debugger, a tunnel's client, CGI. The tables stand in tables.py.

# bats file_tags=parser
load test_helper

setup_file() {
    shares seen:app bad_head:app
}

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    answers="$BATS_TEST_TMPDIR/answers"
}

# is_failure PATH...  succeeds when each path of bad_head:app is answered by 500, and by nothing of what it says.
is_failure() {
    for path; do
        code=$(curl -s -m 10 -i -o "$answers" -w '%{http_code}' "$url/$path")
        echo "$path: $code" && cat -v "$answers"
        [ "$code" = 500 ]
        [ "$(grep -c -i -E 'set-cookie|x-next|bad name|hello|traceback' "$answers")" -eq 0 ]
    done
}

# Prints the seconds of processor time that the server's processes have used.
seconds_used() {
    local pids
    pids=$(processes) && ps -o time= -p "${pids//$'\n'/,}" |
        awk '{ sub(/[.].*/, ""); n = split($0, part, ":"); sum += part[n] + 60 * part[n - 1] } END { print sum }'
}

# CVE-2024-1135, CVE-2024-6827: Transfer-Encoding that is chunked for one and not for another.
@test "gunicorn: refuses every Transfer-Encoding but one chunked" {
    start_server seen:app
    verdicts gunicorn
}

# gunicorn#3382
@test "gunicorn: serves no chunked body without its last CRLF" {
    start_server seen:app
    verdicts truncated
}

# CVE-2018-1000164; CVE-2020-5247 in puma, CVE-2026-0865 in CPython
@test "gunicorn, puma, CPython: writes no CR, LF or NUL of the application's into a head" {
    start_server bad_head:app
    is_failure crlf cr lf nul name-crlf status-crlf length
}

# CVE-2026-0865, gh-150726: assertions are gone under -O.
@test "CPython: writes none under -O either" {
    export PYTHONOPTIMIZE=1
    start_server bad_head:app
    is_failure crlf name-crlf status-crlf length-word lengths
}

# CVE-2026-42545
@test "granian: answers 500 for a header that the application may not send, and lives" {
    start_server bad_head:app
    is_failure name name-colon name-empty status-short length-word lengths
    [ "$(grep -c 'X Bad Name' "$stderr")" -ge 1 ]
    [ "$(curl -s -m 10 "$url/both")" = hello ]
}

# CVE-2024-24795: the application says both Content-Length and Transfer-Encoding.
@test "mod_proxy_uwsgi: frames a response in one way" {
    start_server bad_head:app
    printf 'GET /both HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' | raw >"$answers"
    [ "$(grep -c -i '^content-length: 5' "$answers")" -eq 1 ]
    [ "$(grep -c -i '^transfer-encoding' "$answers")" -eq 0 ]
    [ "$(tail -n 1 "$answers")" = hello ]
}

# CVE-2019-16785, -16786, -16789, -16792, GHSA-73m2-3pwg-5fgc, CVE-2022-24761, GHSA-9298-4cf8-g4wj
@test "waitress: refuses what it took for a request" {
    start_server seen:app
    verdicts waitress
}

# waitress#377: a client that leaves at the right time takes the server with it.
# bats test_tags=all
@test "waitress: serves others wherever a client leaves" {
    start_server seen:app
    verdicts departures
}

# GHSA-3f84-rpwh-47g6: a connection that is reset at once, or half closed, and a loop that spins on it.
@test "waitress: sleeps when clients have come and gone" {
    start_server seen:app
    verdicts departures
    exec 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET / HTTP/1.1\r\n' >&6
    exec 7>&-
    mkfifo "$LATCH"
    before=$(seconds_used)
    read -r -t 3 <>"$LATCH" || exec 6>&-
    [ "$(($(seconds_used) - before))" -lt 2 ]
}

# CVE-2020-11076, -11077, CVE-2021-41136, CVE-2022-24790, GHSA-68xg-gqqm-vgj8, GHSA-c2f4-cvqm-65w2
@test "puma: refuses what it took for a request" {
    start_server seen:app
    verdicts puma
}

# CVE-2019-16770, CVE-2021-29509
# bats test_tags=all
@test "puma: serves others while clients pipeline without end" {
    start_server hello:app
    verdicts flood
}

# GHSA-rmj8-8hhh-gv5h
@test "puma: closes the response of a client that leaves in its middle" {
    mkfifo "$LATCH"
    start_server stream:app
    exec 5<>"$LATCH" 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /wait HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    while [ "$line" != one ]; do read -r -t 10 line <&6; done
    exec 6>&-
    echo >&5
    eventually grep -q -x closed "$stdout"
}

# CVE-2024-45614 in puma, CVE-2015-0219 in bjoern, CVE-2016-1000110, CVE-2021-28861, CVE-2020-10735, gh-150499 and
# gh-119452 in CPython, CVE-2026-42544 in granian, CVE-2018-7490 and CVE-2018-6758 in uWSGI, CVE-2024-49766 in
# werkzeug, puma#3944
@test "puma, bjoern, CPython, granian, uWSGI, werkzeug: gives the application what it may see, and no more" {
    start_server seen:app
    verdicts passed-on
}

# gh-150499: the application does not read the body.
# bats test_tags=all
@test "CPython: takes no body that was left unread for the next request" {
    start_server hello:app
    verdicts leftovers
}

# gh-119452: a Content-Length is a promise, not yet a body.
@test "CPython: sets no memory aside for a body that has not come" {
    start_server seen:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n' >&6
    read -r -t 10 line <&6
    [ "$line" = $'HTTP/1.1 100 Continue\r' ]
    pids=$(processes)
    for pid in $pids; do [ "$(ps -o rss= -p "$pid")" -lt 100000 ]; done
    exec 6>&-
}

# CVE-2020-26116, of http.client: what is in the URL never becomes a line of its own.
@test "CPython: client.py sends no line that its URL smuggles in" {
    "$PYTHON" "$BATS_TEST_DIRNAME/fake_server.py" >"$answers" 2>"$answers.heads" 3>&- & fake=$!
    eventually grep -q Serving "$answers"
    port=$(sed 's/[^0-9]//g' "$answers")
    "$PYTHON" "$CLIENT" $'http://127.0.0.1:'"$port"$'/a HTTP/1.1\r\nX: smuggled\r\nY:' || true
    kill "$fake" && wait "$fake" || true
    [ "$(grep -c '\\nX: smuggled' "$answers.heads")" -eq 0 ]
}
