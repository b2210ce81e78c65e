#!/usr/bin/env bats
# Responses on the wire: framing, the fields that are the server's own, the end of the connection.

# bats file_tags=every-mode
load test_helper

setup_file() {
    shares as_asked:app broken:app
}

setup() {
    answer="$BATS_TEST_TMPDIR/answer" never="$BATS_TEST_TMPDIR/silence"
    mkfifo "$never"
}

# Asks once more and for the last time, on a connection that is still open: what follows the first body begins with
# its status-line.
next='GET /last?status=200+Last HTTP/1.0\r\n\r\n'

# body_ends BODY  is the first body, and the response to $next comes right after it.
body_ends() {
    body_is "$1${body:${#1}}"
    case ${body:${#1}} in "HTTP/1.1 200 Last"*) ;; *) printf 'Then comes %q\n' "${body:${#1}}" && return 1 ;; esac
}

# Succeeds when the head has no such field.
lacks() {
    for name in "$@"; do [ "$(grep -c -i "^$name:" <<<"$head")" -eq 0 ] || { echo "$head" && return 1; }; done
}

# Prints how many lines of the head have the name.
lines() {
    grep -c -i "^$1:" <<<"$head" || true
}

# Asks on descriptor 6 and succeeds when the response to it has another Date than the last.
date_changes() {
    local line='' old=$date
    printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    while [ "$line" != "Hello, World!" ]; do
        read -r -t 10 line <&6
        case $line in Date:*) date=$line ;; esac
    done
    [ "$old" != "$date" ] && [ -n "$old" ]
}

made() {
    grep -c made "$stdout" || true
}

made_more_than() {
    [ "$(made)" -gt "$1" ]
}

@test "sends a list of one block with its Content-Length" {
    start_server as_asked:app
    exchange "GET /body?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\n$next"
    has "Content-Length: 4"
    lacks Transfer-Encoding Connection
    body_ends body
}

# RFC 9112 7.1
@test "sends blocks of unknown length chunked" {
    start_server stream:app
    exchange 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    has "Transfer-Encoding: chunked"
    lacks Content-Length
    body_is $'4\r\none\n\r\n4\r\ntwo\n\r\n6\r\nthree\n\r\n0\r\n\r\n'
}

@test "goes on with the connection after the last chunk" {
    start_server as_asked:app
    exchange "GET /one/twelve+bytes?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\n$next"
    body_ends $'3\r\none\r\nc\r\ntwelve+bytes\r\n0\r\n\r\n'
}

# An empty chunk would be the last.
# The server remembers how it framed the last response to the same request.
@test "frames each response as it is, whatever the one before to the same request was" {
    start_server turns:app
    request='GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    exchange "$request$request$request$request${request}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    [ "$(statuses <"$answer")" = "200 200 201 200 200 200" ]
    framing=$(LC_ALL=C tr -d '\r' <"$answer" | sed -n -e 's/^Content-Length: //p' -e 's/^Transfer-Encoding: //p' | tr '\n' ' ')
    [ "$framing" = "4 6 6 chunked 4 6 " ]
}

@test "sends no chunk for an empty block" {
    start_server as_asked:app
    exchange "GET //one///two/?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\n$next"
    body_ends $'3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n'
}

# RFC 9112 6.3: before HTTP/1.1 nothing but the end of the connection can tell.
@test "sends blocks of unknown length to HTTP/1.0 until it closes" {
    start_server stream:app
    exchange 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'
    lacks Content-Length Transfer-Encoding
    has "Connection: close"
    body_is $'one\ntwo\nthree\n'
}

# RFC 9110 2.5: the version is the server's own.
@test "answers HTTP/1.0 with its own version" {
    start_server
    exchange 'GET / HTTP/1.0\r\n\r\n'
    status_is "200 OK"
}

@test "sends an empty block with its Content-Length" {
    start_server as_asked:app
    exchange "GET /?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\n$next"
    has "Content-Length: 0"
    body_ends ''
}

@test "sends the application's Content-Length, and its blocks as they are" {
    start_server as_asked:app
    exchange "GET /one/two?status=200+OK&content-length=6 HTTP/1.1\r\nHost: a\r\n\r\n$next"
    has "Content-Length: 6"
    [ "$(lines content-length)" -eq 1 ]
    lacks Transfer-Encoding
    body_ends onetwo
}

# RFC 9110 9.3.2: as to GET, but for the body.
@test "answers HEAD with the head of GET and without a body" {
    start_server as_asked:app
    for target in '/body?status=200+OK' '/one/two?status=200+OK' '/one/two?status=200+OK&Content-Length=6' '/body?status=404+None'; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        expected=$(grep -v '^Date' <<<"$head")
        exchange "HEAD $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        [ "$(grep -v -E '^Date|^Transfer-Encoding' <<<"$head")" = "$(grep -v '^Transfer-Encoding' <<<"$expected")" ]
        body_ends ''
    done
}

@test "answers HEAD of HTTP/1.0 without a body, and keeps its connection when asked" {
    start_server as_asked:app
    exchange "HEAD /body?status=200+OK HTTP/1.0\r\nConnection: keep-alive\r\n\r\n$next"
    has "Content-Length: 4"
    has "Connection: keep-alive"
    body_ends ''
}

# What an application leaves out for HEAD, its body, is not of length 0 therefore.
@test "announces no length to HEAD that it does not know" {
    start_server as_asked:app
    exchange "HEAD /?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\n$next"
    lacks Content-Length
    exchange "HEAD /?status=200+OK&Content-Length=4 HTTP/1.1\r\nHost: a\r\n\r\n$next"
    has "Content-Length: 4"
    body_ends ''
}

# RFC 9110 15.3.5, 8.6
@test "sends 204 without a body and without a length" {
    start_server as_asked:app
    for target in '/body?status=204+None' '/one/two?status=204+None' '/?status=204+None' '/body?status=204+None&Content-Length=4'; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        status_is "204 None"
        lacks Content-Length Transfer-Encoding
        body_ends ''
    done
}

# RFC 9110 15.4.5
@test "sends 304 without a body" {
    start_server as_asked:app
    for target in '/body?status=304+Same' '/one/two?status=304+Same' '/one/two?status=304+Same&Content-Length=6'; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        status_is "304 Same"
        lacks Transfer-Encoding
        body_ends ''
    done
    has "Content-Length: 6"
}

# RFC 9110 8.6: it would be the length of the 200 (OK), which the application did not say.
@test "sends 304 without a length of its own" {
    start_server as_asked:app
    for target in '/body?status=304+Same' '/one/two?status=304+Same' '/?status=304+Same'; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        lacks Content-Length
    done
}

# RFC 9110 15.3.6
@test "sends 205 without content" {
    start_server as_asked:app
    exchange "GET /body?status=205+Reset HTTP/1.1\r\nHost: a\r\n\r\n$next"
    has "Content-Length: 0"
    body_ends ''
}

@test "cuts what exceeds the application's Content-Length, and logs that" {
    start_server as_asked:app
    for target in '/1234567?status=200+OK&Content-Length=5' '/1234/567/890?status=200+OK&Content-Length=5'; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        has "Content-Length: 5"
        body_ends 12345
        grep -q Content-Length "$stderr"
    done
}

@test "cuts everything after a Content-Length of zero" {
    start_server as_asked:app
    exchange "GET /one/two?status=200+OK&Content-Length=0 HTTP/1.1\r\nHost: a\r\n\r\n$next"
    body_ends ''
}

# bats test_tags=modes
@test "asks for no more where the Content-Length has come" {
    start_server endless:app
    [ "$(curl -s -m 10 "$url/short")" = "more" ]
    eventually grep -q closed "$stdout"
}

# RFC 9112 9.6: a client that has not said close may be sending on, and the reset would destroy the answer.
# bats test_tags=modes
@test "drains what comes after a response that was the last" {
    start_server as_asked:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /body?status=200+OK&Connection=close HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    grep -q body <&6
    for _ in 1 2 3; do printf 'GET / HTTP/1.1\r\n' >&6 && sleep 0.1; done
}

# RFC 9112 8: what is short of its length is incomplete, and the client can tell.
@test "ends the connection where less than the Content-Length came" {
    start_server as_asked:app
    for target in /123 /1/23; do
        exchange "GET $target?status=200+OK&Content-Length=5 HTTP/1.1\r\nHost: a\r\n\r\n$next"
        body_is 123
        run curl -s -m 10 -o /dev/null "$url$target?status=200+OK&Content-Length=5"
        [ "$status" -eq 18 ] # a partial file
    done
}

# RFC 9112 9.3.1: a client asks again where a connection closed without a response, and the application runs twice.
@test "answers where nothing at all came of the Content-Length" {
    start_server as_asked:app
    exchange "GET /?status=200+OK&Content-Length=5 HTTP/1.1\r\nHost: a\r\n\r\n$next"
    case $head in "HTTP/1.1 500 "* | "HTTP/1.1 200 "*"Content-Length: 5"*) ;; *) echo "$head" && return 1 ;; esac
    [ "$(grep -c '^HTTP/' "$answer")" -eq 1 ]
}

# bats test_tags=modes
@test "ends the connection without a last chunk when the application fails in the middle" {
    start_server broken:app
    exchange "GET /later HTTP/1.1\r\nHost: a\r\n\r\n$next"
    status_is "200 OK"
    body_is $'4\r\none\n\r\n'
    grep -q '^  ValueError: broken on purpose' "$stderr"
    run curl -s -m 10 "$url/later"
    [ "$status" -eq 18 ]
}

@test "answers with a plain 500 when the application fails before its first block" {
    start_server broken:app
    for target in /exit / /first; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\n\r\n$next"
        status_is "500 Internal Server Error"
        has "Connection: close"
        [ "$(grep -c '^HTTP/' "$answer")" -eq 1 ]
        [ "$(grep -c -i -E 'Traceback|purpose|ValueError|\.py"' "$answer")" -eq 0 ]
    done
    [ "$(grep -c '^  ValueError: broken on purpose' "$stderr")" -eq 2 ]
}

@test "answers a failed HEAD without a body" {
    start_server broken:app
    exchange 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n'
    status_is "500 Internal Server Error"
    body_is ''
}

# RFC 9110 6.6.1, 10.2.4
@test "sends Date and Server once" {
    start_server as_asked:app
    for target in '/body?status=200+OK' '/one/two?status=200+OK' '/?status=204+None' '/?status=200'; do
        exchange "GET $target HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        [ "$(lines date) $(lines server)" = "1 1" ]
        grep -q -E '^Date: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] [A-Z][a-z][a-z] 20[0-9][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT$' <<<"$head"
    done
}

@test "leaves Date and Server to the application that sets them" {
    start_server as_asked:app
    exchange 'GET /body?status=200+OK&date=Sun,+06+Nov+1994+08:49:37+GMT&SERVER=mine HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    has "date: Sun, 06 Nov 1994 08:49:37 GMT"
    has "SERVER: mine"
    [ "$(lines date) $(lines server)" = "1 1" ]
}

# RFC 9110 5.6.7
@test "gives the time of Greenwich wherever it is, in English" {
    export TZ=Asia/Tokyo LC_ALL=fr_FR.UTF-8
    start_server
    exchange 'GET / HTTP/1.0\r\n\r\n'
    "$PYTHON" -c 'import email.utils, sys, time
said = email.utils.parsedate_to_datetime(sys.argv[1]).timestamp()
sys.exit(abs(said - time.time()) > 600)' "$(sed -n 's/^Date: //p' <<<"$head")"
}

@test "gives the time of each response, not of the first" {
    start_server hello:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    eventually date_changes
}

# RFC 9112 9.3
@test "keeps a connection of HTTP/1.1 open, without a Connection field" {
    start_server as_asked:app
    exchange "GET /body?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\n$next"
    lacks Connection Keep-Alive
    body_ends body
}

# RFC 9112 9.6
@test "sends Connection: close when the client asked for it, and closes" {
    start_server as_asked:app
    for value in close Close 'x, CLOSE' ', close ,x' 'keep-alive, close'; do
        exchange "GET /body?status=200+OK HTTP/1.1\r\nHost: a\r\nConnection: $value\r\n\r\n$next"
        has "Connection: close"
        [ "$(lines connection)" -eq 1 ]
        body_is body
    done
}

@test "closes a connection of HTTP/1.0, with Connection: close" {
    start_server as_asked:app
    exchange "GET /body?status=200+OK HTTP/1.0\r\n\r\n$next"
    has "Connection: close"
    body_is body
}

@test "keeps a connection of HTTP/1.0 open when the client asked for it, with Connection: keep-alive" {
    start_server as_asked:app
    for value in keep-alive 'x, Keep-Alive'; do
        exchange "GET /body?status=200+OK HTTP/1.0\r\nConnection: $value\r\n\r\n$next"
        has "Connection: keep-alive"
        [ "$(lines connection)" -eq 1 ]
        body_ends body
    done
}

@test "sends head and small body together" {
    altered shown-sends
    start_server as_asked:app
    : >"$stderr" # whatever it did before it served
    exchange 'GET /body?status=200+OK HTTP/1.1\r\nHost: a\r\n\r\nGET /one/two?status=200+OK&Content-Length=6 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    [ "$(sed -n '$p' "$answer")" = "onetwo" ]
    [ "$(grep '^send ' "$stderr" | grep -c -v ' 1$')" -eq 3 ] # the second block is another send; "ready" has one byte
}

# bats test_tags=modes
@test "pauses an application whose client does not read, and serves others" {
    start_server held_up:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually made_more_than 2
    read -r -t 2 <>"$never" || true
    [ "$(made)" -lt 500 ] # 32 MB, of which the system's buffers take at most 10
    [ "$(curl -s -m 10 "$url")" = "another" ]
    exec 6>&-
}

# bats test_tags=modes
@test "goes on with the application when its client reads again" {
    start_server held_up:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /blocks HTTP/1.1\r\nHost: a\r\n\r\n' >&6
    eventually made_more_than 2
    [ "$(head -c 50000000 <&6 | wc -c)" -eq 50000000 ]
    eventually made_more_than 700 # what it prints takes its own way
    exec 6>&-
}

@test "asks for the next block at once, however long the last one took" {
    for SERVER_OPTIONS in "" "--workers 1" "--workers 1 --threads 2"; do
        start_server gaps:app
        [ "$(curl -s -m 20 "$url" | tail -n 1)" = "at once" ]
        stop_server
    done
}

# RFC 9112 8: the end of the connection is the end of such a body, but for a reset.
# bats test_tags=modes
@test "resets the connection of HTTP/1.0 when the application fails in the middle of a body without a length" {
    start_server broken:app
    run curl -s -m 10 --http1.0 "$url/later"
    [ "$status" -eq 56 ] # curl: the connection was reset
    run curl -s -m 10 --http1.0 "$url/first"
    [ "$status" -eq 0 ]
}
