#!/usr/bin/env bats
# Reading a request: what is served, what is refused, and how a refusal is told. Where a sender and a receiver could
# read a request in two ways, it is refused. The long tables stand in tables.py; here are the most telling inputs.

# bats file_tags=parser
load test_helper

setup_file() {
    shares seen:app
}

setup() {
    start_server seen:app
}

# bats test_tags=modes
@test "answers in one sentence which rule a request broke, with the clause, and closes" {
    run raw <<<$'GET / HTTP/1.1\r\nHost : a\r\n\r'
    [ "${lines[0]}" = $'HTTP/1.1 400 Bad Request\r' ]
    [ "$(grep -c -i -x -E $'(connection: close|x-content-type-options: nosniff|date: .* GMT)\r' <<<"$output")" -eq 3 ]
    grep -q -i -E '^content-type: text/plain' <<<"$output"
    grep -q -x -E "400 Bad Request: .+ \(RFC 9112 5\.1\).*" <<<"$output"
    [ ! -s "$stderr" ]
}

@test "shows the offending part escaped and cut short" {
    { printf 'GET / HTTP/1.1\r\nHost: a\r\nX\033]0;<b>' && head -c 9000 /dev/zero | tr '\0' x && printf ': y\r\n\r\n'; } |
        raw >"$BATS_TEST_TMPDIR/answer"
    [ "$(LC_ALL=C tr -d '\r\n -~' <"$BATS_TEST_TMPDIR/answer" | grep -c .)" -eq 0 ]
    [ "$(tail -n 1 "$BATS_TEST_TMPDIR/answer" | grep -c '.')" -eq 1 ]
    [ "$(tail -n 1 "$BATS_TEST_TMPDIR/answer" | wc -c)" -lt 300 ]
}

# RFC 9110 9.3.2
@test "refuses HEAD without a body" {
    run raw <<<$'HEAD / HTTP/1.1\r\n\r'
    [ "${lines[0]}" = $'HTTP/1.1 400 Bad Request\r' ]
    [ "$(grep -c RFC <<<"$output")" -eq 0 ]
}

@test "answers nothing that follows a refused request" {
    printf 'GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3.2"
}

# RFC 9112 9.6: closing on unread bytes resets the connection, and the reset overtakes the answer.
# bats test_tags=modes
@test "lets a client that goes on sending read its refusal" {
    restart --max-body 1000 seen:app
    head -c 800000 /dev/zero >"$BATS_TEST_TMPDIR/body"
    status=$(curl -s -m 20 -o /dev/null -w '%{http_code}' -H 'Expect:' -T "$BATS_TEST_TMPDIR/body" "$url/")
    [ "$status" = 413 ]
}

# RFC 9112 9.6: else a reset could overtake the answer. The second byte would meet it.
# bats test_tags=modes
@test "takes what a refused client still sends" {
    altered linger_s=5
    restart seen:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /#a HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    [ "$(statuses <&6)" = "400" ]
    for _ in 1 2 3; do env printf x >&6; done
}

# RFC 9112 2.2
@test "refuses a bare LF as the end of a line" {
    printf 'GET / HTTP/1.1\nHost: a\r\n\r\n' | is_refused 400 "9112 2.2"
    printf 'GET / HTTP/1.1\r\nHost: a\n\r\n' | is_refused 400 "9112 2.2"
}

# RFC 9112 2.2
@test "refuses a bare CR" {
    printf 'GET / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 5\r\n\r\n' | is_refused 400 "9112 2.2"
}

# RFC 9112 3
@test "refuses a second space in a request-line" {
    printf 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3[.0-9]*"
}

# RFC 9112 2.3
@test "refuses HTTP/0.9" {
    printf 'GET /\r\n\r\n' | is_refused 400 "9112 (2.3|3[.0-9]*)"
}

# RFC 9110 15.6.6
@test "refuses another major version" {
    printf 'GET / HTTP/2.0\r\nHost: a\r\n\r\n' | is_refused 505 "9110 15.6.6"
}

# RFC 9110 2.5
@test "serves a higher minor version as HTTP/1.1" {
    printf 'GET / HTTP/1.7\r\nHost: a\r\nConnection: close\r\n\r\n' | is_seen "SERVER_PROTOCOL='HTTP/1.1'"
}

# RFC 9112 2.2
@test "skips empty lines before a request-line, a few and no more" {
    printf '\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' | is_seen "REQUEST_URI='/a'"
    { printf '\r\n%.0s' 1 2 3 4 5 6 7 8 9 10 && printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'; } | is_refused 400 "9112 [.0-9]*"
}

# RFC 9112 3.2
@test "refuses a fragment in a target" {
    printf 'GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3[.0-9]*"
}

# RFC 9112 3.2
@test "refuses an 8-bit byte in a target" {
    printf 'GET /\303\251 HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3[.0-9]*"
}

# RFC 9112 3.2.2
@test "takes the authority of an absolute-form for Host" {
    printf 'GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' | is_seen "HTTP_HOST='b:81'"
}

# RFC 9110 7.4
@test "refuses https on a connection that is not secured" {
    printf 'GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused "(400|421)" "(9110 7.4|9112 3.2[.0-9]*)"
}

# RFC 9112 3.2.4
@test "takes the asterisk-form for OPTIONS alone" {
    printf 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' | is_seen "REQUEST_URI='*'"
    printf 'GET * HTTP/1.1\r\nHost: a\r\n\r\n' | is_refused 400 "9112 3.2[.0-9]*"
}

# RFC 9112 3.2
@test "refuses HTTP/1.1 without a Host" {
    printf 'GET / HTTP/1.1\r\n\r\n' | is_refused 400 "9112 3.2"
}

# RFC 9112 3.2
@test "refuses two Hosts, even the same" {
    printf 'GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n' | is_refused 400 "(9112 3.2|9110 5.3)"
}

# RFC 9112 3.2
@test "refuses a Host that is none by its grammar" {
    printf 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n' | is_refused 400 "9112 3.2"
    printf 'GET / HTTP/1.1\r\nHost: [1:2:3]\r\n\r\n' | is_refused 400 "9112 3.2"
}

# RFC 9112 5.1
@test "refuses a space before the colon" {
    printf 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello' | is_refused 400 "9112 5.1"
}

# RFC 9112 5.2
@test "refuses a folded field line" {
    printf 'GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n' | is_refused 400 "9112 5.2"
}

# RFC 9110 5.5
@test "refuses a NUL in a value" {
    printf 'GET / HTTP/1.1\r\nHost: a\r\nX: y\000z\r\n\r\n' | is_refused 400 "9110 5.5"
}

# RFC 9112 5.1: OWS is SP and HTAB; str.strip() takes these too.
@test "trims no other white space than space and tab" {
    printf 'GET / HTTP/1.0\r\nX:\t \240y\205 \t\r\n\r\n' | is_seen "HTTP_X='\\xa0y\\x85'"
    printf 'GET / HTTP/1.0\r\nX: \014y\r\n\r\n' | is_refused 400 "9110 5.5"
}

# RFC 9110 5.3
@test "joins repeated fields in order" {
    printf 'GET / HTTP/1.0\r\nX: a\r\nY: b\r\nx: c\r\n\r\n' | is_seen "HTTP_X='a, c'"
    printf 'GET / HTTP/1.0\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n' | is_seen "HTTP_COOKIE='a=1; b=2'"
}

# In the environ a hyphen is an underscore: the one could pass for the other.
@test "lets no name with an underscore reach the application" {
    printf 'GET / HTTP/1.0\r\nX-User: me\r\nX_User: root\r\n\r\n' | is_seen "HTTP_X_USER='me'"
    run raw <<<$'GET / HTTP/1.0\r\nX_User: root\r\n\r'
    [ "$(grep -c root <<<"$output")" -eq 0 ]
}

# Programs take HTTP_PROXY for a setting.
@test "never makes HTTP_PROXY" {
    run raw <<<$'GET / HTTP/1.0\r\nProxy: http://evil\r\n\r'
    [ "${lines[0]}" = $'HTTP/1.1 200 OK\r' ]
    [ "$(grep -c evil <<<"$output")" -eq 0 ]
}

# RFC 9110 15.5.15
@test "refuses a request-line that is too long" {
    { printf 'GET /' && head -c 1000000 /dev/zero | tr '\0' a; } | is_refused 414 "9110 15.5.15"
}

# RFC 6585 5
@test "refuses a field line that is too long" {
    { printf 'GET / HTTP/1.0\r\nX: ' && head -c 20000 /dev/zero | tr '\0' a && printf '\r\n\r\n'; } | is_refused 431 "6585 5"
}

# RFC 6585 5
@test "refuses too many fields" {
    { printf 'GET / HTTP/1.0\r\n' && printf 'X: %d\r\n' {1..1000} && printf '\r\n'; } | is_refused 431 "6585 5"
}

# RFC 6585 5
@test "refuses a header section without end" {
    { printf 'GET / HTTP/1.0\r\n' && yes $'X: y\r' | head -n 100000; } | is_refused 431 "6585 5"
}

@test "refuses what it should of request-lines, whole and byte by byte" {
    verdicts request-lines blanks
}

@test "refuses what it should of request-targets" {
    verdicts targets
}

@test "refuses what it should of Host" {
    verdicts hosts hosts-of-1.0 hosts-of-absolute
}

@test "refuses what it should of field lines" {
    verdicts fields first-fields
}

@test "joins and refuses what it should of repeated fields" {
    verdicts repeated
}

@test "hides the names that the environ would confuse" {
    verdicts names underscores
}

@test "refuses what goes beyond its limits, however it is cut" {
    verdicts limits
}

@test "refuses at once what cannot become a request" {
    verdicts early
}

@test "refuses HEAD without a body, whatever is wrong with it and however it is cut" {
    verdicts heads
}

@test "gives the same verdict wherever a request is cut in two" {
    verdicts cuts
}

# bats test_tags=modes
@test "serves the next client wherever one leaves" {
    verdicts departures
}

# RFC 9112 3: nothing that may follow makes these a request, and the server does not wait for it.
@test "refuses a line that can begin no request before the next one comes" {
    printf 'GET /\r\n' | is_refused 400 "9112 3[.0-9]*"
    printf 'GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n' | is_refused 400 "9112 5[.0-9]*"
}
