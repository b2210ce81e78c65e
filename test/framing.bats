#!/usr/bin/env bats
# Framing: where a request's body ends, and with it where the next request begins. The long tables stand in tables.py.

# bats file_tags=parser
load test_helper

setup_file() {
    shares seen:app hello:app
}

setup() {
    start_server seen:app
}

# RFC 9110 8.6
@test "refuses a Content-Length that is not digits alone" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello' | is_refused 400 "9110 8.6"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nhello' | is_refused 400 "9110 8.6"
}

# RFC 9112 6.3
@test "refuses two lengths, even the same" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello' | is_refused 400 "9110 8.6"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello' |
        is_refused 400 "9110 [58][.][36]"
}

# RFC 9112 6.1: two lengths, and between them a request that only one of two servers sees.
@test "refuses Transfer-Encoding beside Content-Length" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n' |
        is_refused 400 "9112 6[.0-9]*"
}

# RFC 9112 6.1
@test "refuses Transfer-Encoding in HTTP/1.0" {
    printf 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' | is_refused 400 "9112 6.1"
}

# RFC 9112 6.1
@test "refuses another coding than chunked" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n' | is_refused 501 "9112 6.1"
}

# RFC 9112 6.1
@test "refuses chunked twice" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n' | is_refused 400 "9112 6.1"
}

# RFC 9112 7.1
@test "reads chunks, and gives the application their length" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: CHUNKED\r\n\r\n5;a="b;\\""\r\nhello\r\n0\r\n\r\n' |
        is_seen "CONTENT_LENGTH='5'"
}

# RFC 9112 7.1
@test "refuses a chunk-size that is not hexadecimal digits alone" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n' | is_refused 400 "9112 7.1"
}

# RFC 9112 7.1.1
@test "refuses a chunk extension with a bare LF in its quotes" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a="\n"\r\nhello\r\n0\r\n\r\n' |
        is_refused 400 "9112 7.1[.0-9]*"
}

# RFC 9112 7.1
@test "refuses a chunk that does not end in CRLF" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n' | is_refused 400 "9112 7.1"
}

# RFC 9112 7.1.2
@test "merges no trailer into the request" {
    run raw <<<$'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: evil\r\n\r'
    [ "${lines[0]}" = $'HTTP/1.1 200 OK\r' ]
    [ "$(grep -c evil <<<"$output")" -eq 0 ]
}

@test "bounds the number of chunks" {
    altered chunks=10
    restart seen:app
    head=$'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r'
    { echo "$head" && printf '1\r\n%d\r\n' 0 {1..9} && printf '0\r\n\r\n'; } | is_seen "body=b'0123456789'"
    { echo "$head" && printf '1\r\n%d\r\n' 0 0 {1..9} && printf '0\r\n\r\n'; } | is_refused 413 "9[.0-9 ]*"
}

@test "takes no longer for twenty thousand chunks than their bytes need" {
    printf '1\r\nx\r\n%.0s' {1..20000} >"$BATS_TEST_TMPDIR/chunks"
    head=$'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r'
    started=$SECONDS
    { echo "$head" && cat "$BATS_TEST_TMPDIR/chunks" && printf '0\r\n\r\n'; } | is_seen "CONTENT_LENGTH='20000'"
    [ "$((SECONDS - started))" -lt 5 ]
}

# A body beyond a megabyte waits in a file, whatever its framing.
# bats test_tags=modes
@test "holds no more than a part of a large body in memory" {
    restart memory:app
    read -r _ before <<<"$(curl -s -m 20 "$url")"
    head -c 40000000 /dev/zero >"$BATS_TEST_TMPDIR/body"
    printf 'PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2625a00\r\n' >"$BATS_TEST_TMPDIR/head"
    one=$({ cat "$BATS_TEST_TMPDIR/head" "$BATS_TEST_TMPDIR/body" && printf '\r\n0\r\n\r\n'; } | raw | tail -n 1)
    for answer in "$one" "$(curl -s -m 20 -T - "$url/" <"$BATS_TEST_TMPDIR/body")" "$(curl -s -m 20 -T "$BATS_TEST_TMPDIR/body" "$url/")"; do
        [ "${answer% *}" -eq 40 ] && [ "${answer#* }" -lt "$((before + 15))" ]
    done
}

# RFC 9112 8
@test "shows no body that ended early to the application" {
    verdicts ends
}

# RFC 9112 6.3
@test "never takes what a body holds for the next request" {
    answers=$(printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET /last HTTP/1.0\r\n\r\n' | raw)
    [ "$(statuses <<<"$answers")" = "200 200" ]
    [ "$(grep -c "REQUEST_URI='/smuggled'" <<<"$answers")" -eq 0 ]
}

@test "never takes the body of a refused request for the next one" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n' |
        is_refused 417 "9110 10.1.1"
}

# bats test_tags=modes
@test "never takes a body for the next request, read or not" {
    verdicts leftovers
    restart hello:app
    verdicts leftovers
}

# The application fails before it has looked at the body.
# bats test_tags=modes
@test "never takes a body for the next request after a failure" {
    restart broken:app
    answers=$(printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET /first HTTP/1.0\r\n\r\n' | raw)
    [ "$(statuses <<<"$answers")" = "500" ]
    [ "$(grep -c 'Connection: close' <<<"$answers")" -eq 1 ]
}

# RFC 9110 10.1.1
# bats test_tags=modes
@test "sends 100 Continue before the body comes, and only once" {
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n' >&6
    read -r -t 10 line <&6
    [ "$line" = $'HTTP/1.1 100 Continue\r' ]
    printf hello >&6
    [ "$(statuses <&6)" = "200" ]
}

# RFC 9110 10.1.1
@test "sends no 100 Continue to HTTP/1.0, nor without a body" {
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    printf 'POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n' >&6
    run read -r -t 1 <&6
    printf hello >&6
    [ "$status" -gt 128 ]
    [ "$(statuses <&6)" = "200" ]
    [ "$(printf 'GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n' | raw | statuses)" = "200" ]
}

# RFC 9110 10.1.1: the answer comes before the body.
@test "sends no 100 Continue where the body has come with the head" {
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    env printf 'PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhello' >&6
    [ "$(statuses <&6)" = "200" ]
}

@test "sends no 100 Continue to a request that it refuses" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n' | is_refused 413 "9110 15.5.14"
}

# RFC 9110 10.1.1
@test "refuses another expectation" {
    printf 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: miracles\r\n\r\nhello' | is_refused 417 "9110 10.1.1"
}

# RFC 9112 9.3.2
# Three times, for what comes a second time is remembered.
# bats test_tags=modes
@test "answers hundreds of pipelined requests in one packet, in order" {
    requests=$(printf 'GET /%d HTTP/1.1\r\nHost: a\r\n\r\n' {1..99} {1..99} {1..99})$'\nGET /100 HTTP/1.0\r\n\r'
    answers=$(echo "$requests" | raw)
    [ "$(sed -n "s/^REQUEST_URI='.\(.*\)'$/\1/p" <<<"$answers" | tr '\n' ' ')" = "$(echo {1..99} {1..99} {1..100}) " ]
}

# The server knows a head again that repeats the last one.
@test "answers a request that is repeated, in one packet and with another behind it" {
    for _ in 1 2 3; do printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'; done >"$BATS_TEST_TMPDIR/requests"
    printf 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' >>"$BATS_TEST_TMPDIR/requests"
    [ "$(raw <"$BATS_TEST_TMPDIR/requests" | statuses)" = "200 200 200 200" ]
}

# bats test_tags=modes
@test "waits for the rest of a head whose first part is as long as the last head" {
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    for _ in 1 2; do
        printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' >&6
        while read -r -t 10 line <&6 && [ "$line" != "body=b''" ]; do :; done
    done
    env printf 'GET /other HTTP/1.1\r\nHost: ' >&6
    run read -r -t 1 <&6
    printf 'a\r\nConnection: close\r\n\r\n' >&6
    [ "$(statuses <&6)" = "200" ]
}

# RFC 9112 9.3.2
@test "answers the first request when the second is refused" {
    [ "$(printf 'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n' | raw | statuses)" = "200 400" ]
}

# RFC 9112 9.6
@test "answers nothing after Connection: close" {
    [ "$(printf 'GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n' | raw | statuses)" = "200" ]
}

# RFC 9112 9.6: else a reset could overtake the last response. The second byte would meet it.
# bats test_tags=modes
@test "takes what a client still sends after Connection: close" {
    altered linger_s=5
    restart seen:app
    exec 6<>"/dev/tcp/127.0.0.1/$port"
    env printf 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nmore' >&6
    [ "$(statuses <&6)" = "200" ]
    for _ in 1 2 3; do env printf x >&6; done
}

@test "refuses what it should of Content-Length" {
    verdicts lengths
}

@test "refuses what it should of Transfer-Encoding" {
    verdicts codings versions
}

@test "refuses what it should of chunks" {
    verdicts chunk-lines chunks
}

@test "refuses what it should of trailers" {
    verdicts trailers
}

@test "refuses a body beyond its limit, before it comes" {
    restart --max-body 1000 seen:app
    verdicts body-limits
}

@test "keeps to the rules of expectations" {
    verdicts expectations
}

@test "answers pipelined requests whole and byte by byte" {
    verdicts pipelines
}

# bats test_tags=modes
@test "lets no client that pipelines without end keep another waiting" {
    verdicts flood
}
