#!/usr/bin/env bats
# The forwarding fields: which peers are trusted for them, what is taken from them, and what others try. The peer of all is 127.0.0.1.

load test_helper

setup_file() {
    shares environ:app
}

setup() {
    unset FORWARDED_ALLOW_IPS
    answer="$BATS_TEST_TMPDIR/answer"
}

# asks LINE...  sends a request with these field lines, and keeps in $answer the environ that the application sees.
asks() {
    printf '%s\r\n' 'GET / HTTP/1.1' 'Host: a' 'Connection: close' "$@" '' | raw | LC_ALL=C tr -d '\r' >"$answer"
}

# sees NAME=VALUE...  succeeds when these are in that environ; lacks NAME... when no such names are.
sees() {
    local one
    for one in "$@"; do grep -q -x -F -e "$one" "$answer" || { echo "no $one:" && cat "$answer" && return 1; }; done
}

lacks() {
    local name
    for name in "$@"; do [ "$(grep -c "^$name=" "$answer")" -eq 0 ] || { cat "$answer" && return 1; }; done
}

# takes CLIENT MEMBERS  succeeds when these members of X-Forwarded-For make this REMOTE_ADDR, a blank and REMOTE_PORT.
takes() {
    asks "X-Forwarded-For: $2"
    sees "REMOTE_ADDR=${1% *}" "REMOTE_PORT=${1#* }"
}

# each_sees  tries the lines of stdin: what has to be in the environ, a tab, and the field line that is sent. "=own" is the port of
# the connection.
each_sees() {
    "$PYTHON" -c '
import socket, sys
for line in sys.stdin.buffer.read().splitlines():
    wanted, field = line.split(b"\t", 1)
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as sock:
        wanted = wanted.replace(b"=own", b"=%d" % sock.getsockname()[1])
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + field + b"\r\n\r\n")
        seen = b"".join(iter(lambda: sock.recv(65536), b"")).split(b"\n")
    assert not {*wanted.split()}.difference(seen), (line, seen)
' "$port"
}

# from ADDRESS ARGUMENT...  asks as this client, with curl's arguments.
from() {
    curl -sf -m 10 --interface "$1" "${@:2}" "$url" >"$answer"
}

has_second_loopback() {
    "$PYTHON" -c 'import socket; socket.create_server(("127.0.0.2", 0))' 2>/dev/null
}

has_ipv6() {
    "$PYTHON" -c 'import socket; socket.create_server(("::1", 0), family=socket.AF_INET6)' 2>/dev/null
}

# ---- the client ----

@test "trusts a proxy on the same machine for client and scheme" {
    start_server environ:app
    asks 'X-Forwarded-For: 192.0.2.1' 'X-Forwarded-Proto: https' 'X-Forwarded-Host: www.example:8443'
    sees REMOTE_ADDR=192.0.2.1 REMOTE_PORT= wsgi.url_scheme=https HTTP_HOST=a
    [ ! -s "$stderr" ]
}

@test "takes the right-most address that is not trusted" {
    start_server --forwarded-allow-ips '127.0.0.1, 10.0.0.0/8, 2001:db8::/32,198.51.100.7' environ:app
    takes '192.0.2.1 ' '192.0.2.1, 10.0.0.1'
    takes '192.0.2.1 ' '192.0.2.1,10.0.0.1 ,2001:db8::5, 10.255.255.255,198.51.100.7'
    takes '11.0.0.1 ' '192.0.2.1, 11.0.0.1, 10.0.0.1'
    takes '198.51.100.8 ' '192.0.2.1, 198.51.100.8, 198.51.100.7'
    takes '2001:db9::1 ' '192.0.2.1, 2001:db9::1, 2001:db8::1'
}

# What the client has sent itself stands to the left of what the first proxy knows of it.
@test "lets no client make up another address, whatever stands before its own" {
    start_server environ:app
    for made_up in 6.6.6.6 127.0.0.1 '127.0.0.1, ::1' '6.6.6.6:80' '[::1]' unknown '' ',' '"' '6.6.6.6;' 'for=6.6.6.6' '6.6.6.6,,'; do
        printf 'REMOTE_ADDR=192.0.2.1 REMOTE_PORT=\tX-Forwarded-For: %s\n' "$made_up, 192.0.2.1" "$made_up,192.0.2.1, 127.0.0.1"
    done | each_sees
}

@test "takes the left-most address where all are trusted" {
    start_server environ:app
    takes '127.0.0.1 ' '127.0.0.1'
    takes '::1 ' '::1, 127.0.0.1'
    stop_server
    start_server --forwarded-allow-ips '*' environ:app
    takes '192.0.2.1 80' '192.0.2.1:80, 192.0.2.2'
}

@test "takes a port with the address, and an address in brackets" {
    start_server environ:app
    takes '192.0.2.1 4711' '192.0.2.1:4711'
    takes '2001:db8::1 4711' '[2001:db8::1]:4711'
    takes '2001:db8::1 ' '[2001:db8::1]'
    takes '192.0.2.1 4711' '6.6.6.6:1, 192.0.2.1:4711, 127.0.0.1:5, [::1]:6'
}

@test "takes an address in each spelling for the same one" {
    start_server --forwarded-allow-ips '127.0.0.1,2001:DB8:0::0:1,::ffff:198.51.100.7' environ:app
    {
        for spelling in 2001:db8::a 2001:DB8::A 2001:0db8:0000::000a 2001:db8:0:0:0:0:0:a 2001:db8::0.0.0.10; do
            printf 'REMOTE_ADDR=2001:db8::a REMOTE_PORT=\tX-Forwarded-For: %s\n' "$spelling"
        done
        for spelling in ::ffff:192.0.2.1 ::FFFF:192.0.2.1 ::ffff:c000:201 0:0:0:0:0:ffff:192.0.2.1; do
            printf 'REMOTE_ADDR=192.0.2.1 REMOTE_PORT=\tX-Forwarded-For: %s\n' "$spelling"
        done
        for trusted in 2001:db8::1 2001:0DB8::0001 '[2001:db8:0::1]:9' 198.51.100.7 ::ffff:c633:6407 ::ffff:7f00:1; do
            printf 'REMOTE_ADDR=192.0.2.1 REMOTE_PORT=\tX-Forwarded-For: %s\n' "6.6.6.6, 192.0.2.1, $trusted"
        done
    } | each_sees
}

@test "goes no further to the left than to what is no address" {
    start_server environ:app
    for rubbish in unknown _hidden 192.0.2 192.0.2.256 192.0.2.1.1 192.0.2.1: 192.0.2.1:x 192.0.2.1:123456 '192.0.2.1 192.0.2.2' \
        '"192.0.2.1"' 1::2::3 '[::1' '::1]' '[192.0.2.1' 'for=192.0.2.1' http://192.0.2.1 '' ' ' 3221225985 0xc0000201 $'192.0.2.1\xa0'; do
        printf 'REMOTE_ADDR=127.0.0.1 REMOTE_PORT=own\tX-Forwarded-For: %s\n' "$rubbish" "6.6.6.6, $rubbish"
        printf 'REMOTE_ADDR=::1 REMOTE_PORT=\tX-Forwarded-For: %s\n' "6.6.6.6, $rubbish, ::1, 127.0.0.1"
    done | each_sees
}

@test "takes several field lines for one list" {
    start_server environ:app
    asks 'X-Forwarded-For: 6.6.6.6' 'x-forwarded-for:192.0.2.1' $'X-FORWARDED-FOR:\t127.0.0.1 '
    sees REMOTE_ADDR=192.0.2.1
    asks 'X-Forwarded-For: 6.6.6.6' 'X-Forwarded-For: 192.0.2.1'
    sees REMOTE_ADDR=192.0.2.1
    asks 'X-Forwarded-For: 6.6.6.6, 192.0.2.1' 'X-Forwarded-Proto: http' 'X-Forwarded-Proto: https'
    sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=https
}

# ---- the scheme, and not the host ----

@test "takes http or https for the scheme, and nothing else" {
    start_server environ:app
    {
        for scheme in https HTTPS ' https' 'http, https' ', https'; do
            printf 'wsgi.url_scheme=https\tX-Forwarded-Proto: %s\n' "$scheme"
        done
        for scheme in http wss ftp '' https: 'https://a' 'https;q=1' '"https"' on 'https, http' 'https,' 'https, wss'; do
            printf 'wsgi.url_scheme=http\tX-Forwarded-Proto: %s\n' "$scheme"
        done
    } | each_sees
}

@test "takes an absolute-form of the scheme that a trusted proxy names" {
    start_server environ:app
    printf '%s\r\n' 'GET https://b/c HTTP/1.1' 'Host: a' 'Connection: close' 'X-Forwarded-Proto: https' '' | raw | tr -d '\r' >"$answer"
    sees HTTP_HOST=b PATH_INFO=/c
    printf '%s\r\n' 'GET http://b/c HTTP/1.1' 'Host: a' 'Connection: close' 'X-Forwarded-Proto: https' '' | raw | tr -d '\r' >"$answer"
    sees HTTP_HOST=b PATH_INFO=/c wsgi.url_scheme=https
}

@test "takes the scheme from where the client stands in the list" {
    start_server --forwarded-allow-ips '127.0.0.1,10.0.0.0/8' environ:app
    asks 'X-Forwarded-For: 192.0.2.1, 10.0.0.1' 'X-Forwarded-Proto: https, http'
    sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=https
    # What the client sent itself stands one further to the left.
    asks 'X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.1' 'X-Forwarded-Proto: http, https, http'
    sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=https
    asks 'X-Forwarded-For: 6.6.6.6, 192.0.2.1' 'X-Forwarded-Proto: https, http'
    sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=http
    # The one that there is, and the right-most where no field names the client.
    asks 'X-Forwarded-For: 192.0.2.1, 10.0.0.2, 10.0.0.1' 'X-Forwarded-Proto: https'
    sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=https
    asks 'X-Forwarded-Proto: http, https'
    sees REMOTE_ADDR=127.0.0.1 wsgi.url_scheme=https
    asks 'X-Forwarded-For: 192.0.2.1, unknown' 'X-Forwarded-Proto: http, https'
    sees REMOTE_ADDR=127.0.0.1 wsgi.url_scheme=https
}

# ---- who is believed ----

@test "keeps forwarding fields of any other peer from the application" {
    start_server --forwarded-allow-ips 127.0.0.2,10.0.0.0/8,unix environ:app
    asks 'X-Forwarded-For: 192.0.2.1' 'X-Forwarded-Proto: https' 'X-Forwarded-Host: evil' 'X-Forwarded-Port: 1' \
        'X-Forwarded-Prefix: /evil' 'Forwarded: for=192.0.2.1' 'x-forwarded-for: 127.0.0.2' 'X-Other: kept'
    sees REMOTE_ADDR=127.0.0.1 wsgi.url_scheme=http HTTP_HOST=a HTTP_X_OTHER=kept
    [ "$(grep -c '^REMOTE_PORT=[1-9]' "$answer")" -eq 1 ]
    for name in X_FORWARDED_FOR X_FORWARDED_PROTO X_FORWARDED_HOST X_FORWARDED_PORT X_FORWARDED_PREFIX FORWARDED; do
        lacks "HTTP_$name" || return
    done
    [ "$(grep -c -e 192.0.2.1 -e evil "$answer")" -eq 0 ]
}

@test "leaves forwarding fields of a trusted proxy to the application" {
    start_server environ:app
    asks 'X-Forwarded-For: 192.0.2.1,127.0.0.1' 'X-Forwarded-Port: 1' 'X-Forwarded-Prefix: /b' 'Forwarded: for=192.0.2.1'
    sees HTTP_X_FORWARDED_FOR=192.0.2.1,127.0.0.1 HTTP_X_FORWARDED_PORT=1 HTTP_X_FORWARDED_PREFIX=/b HTTP_FORWARDED=for=192.0.2.1
}

trusts() {
    asks 'X-Forwarded-For: 192.0.2.1'
    sees REMOTE_ADDR=192.0.2.1
}

doubts() {
    asks 'X-Forwarded-For: 192.0.2.1'
    sees REMOTE_ADDR=127.0.0.1
}

@test "trusts what --forwarded-allow-ips names: addresses, networks, or all" {
    for list in ::ffff:127.0.0.1 '10.0.0.1, 127.0.0.0/30 ,::1' '10.0.0.1,*'; do
        start_server --forwarded-allow-ips "$list" environ:app
        trusts || return
        stop_server
    done
    for list in '' 127.0.0.2/31,::1 ::/0; do
        start_server --forwarded-allow-ips "$list" environ:app
        doubts || return
        stop_server
    done
}

@test "trusts what FORWARDED_ALLOW_IPS names, unless the option is given" {
    FORWARDED_ALLOW_IPS=10.0.0.1 start_server --bind 127.0.0.1:0 environ:app
    doubts
    stop_server
    FORWARDED_ALLOW_IPS='10.0.0.1,127.0.0.1' start_server --bind 127.0.0.1:0 environ:app
    trusts
    stop_server
    FORWARDED_ALLOW_IPS='*' start_server --forwarded-allow-ips 10.0.0.1 environ:app
    doubts
}

@test "trusts connections by a file where --forwarded-allow-ips has unix" {
    for list in '127.0.0.1,::1' unix; do
        start_server --bind "unix:$BATS_TEST_TMPDIR/at" --bind 127.0.0.1:0 --forwarded-allow-ips "$list" environ:app >/dev/null || true
        curl -s -m 10 --unix-socket "$BATS_TEST_TMPDIR/at" -H 'X-Forwarded-For: 6.6.6.6, 192.0.2.1' -H 'X-Forwarded-Proto: https' http://a/ >"$answer"
        if [ "$list" = unix ]; then
            sees REMOTE_ADDR=192.0.2.1 REMOTE_PORT= wsgi.url_scheme=https
        else
            sees REMOTE_ADDR= REMOTE_PORT= wsgi.url_scheme=http
            lacks HTTP_X_FORWARDED_FOR HTTP_X_FORWARDED_PROTO
        fi
        stop_server
    done
}

@test "trusts a proxy on the same machine by IPv6, and one by IPv4 on a listener for both" {
    has_ipv6 || skip "there is no IPv6 here"
    launch=("$PYTHON" -c '
import os, socket, sys
listener = socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
os.dup2(listener.fileno(), 7)
os.execvp(sys.argv[1], sys.argv[1:])')
    start_server --bind fd://7 environ:app
    curl -sf -m 10 -H 'X-Forwarded-For: 192.0.2.1' "http://[::1]:$port" >"$answer"
    sees REMOTE_ADDR=192.0.2.1
    trusts
    asks
    sees REMOTE_ADDR=127.0.0.1
}

@test "refuses a list that has something else" {
    for list in localhost 10.0.0.0/33 10.0.0.1/8 256.0.0.1 '127.0.0.1 ::1' 127.0.0.1:80 '127.0.0.1,x' '**' '127.0.0.1\nx'; do
        echo "forwarded-allow-ips --forwarded-allow-ips '$list'"
    done | refuses
    FORWARDED_ALLOW_IPS=nobody refuses <<<'forwarded-allow-ips hello:app'
}

# ---- logged once, and remembered for the peer that sent it ----

names_a_process() {
    seq 16 | xargs -P 8 -I{} curl -sf -m 10 -H 'X-Forwarded-For: 192.0.2.1' -H 'Connection: close' "$url" >>"$answer"
    [ "$(sort -u "$answer" | grep -c .)" -ge "$1" ]
}

# $1 processes, at least, have dropped something.
says_once() {
    : >"$answer"
    start_server --forwarded-allow-ips 192.0.2.9 "${@:2}" pid:app
    [ ! -s "$stderr" ]
    eventually names_a_process "$1"
    [ "$(grep -c '' "$stderr")" -eq 1 ]
    grep -q 'X-Forwarded-For .*127\.0\.0\.1.*--forwarded-allow-ips' "$stderr"
    stop_server
    : >"$stderr"
}

@test "logs which forwarding fields it drops, and the option that would trust them, once for all its processes" {
    says_once 2
    says_once 2 --workers 2
}

@test "logs nothing where no forwarding field is dropped" {
    start_server --forwarded-allow-ips 192.0.2.9 environ:app
    asks
    asks 'X_Forwarded_For: 192.0.2.1'
    [ ! -s "$stderr" ]
}

# Requests are remembered by their bytes when they come again.
tells_apart() {
    start_server --bind 0.0.0.0:0 --forwarded-allow-ips 127.0.0.1 "$@" environ:app
    for first in 127.0.0.1 127.0.0.2; do
        other=127.0.0.$((3 - ${first##*.}))
        for peer in "$first" "$first" "$first" "$other" "$other" "$other" "$first"; do
            from "$peer" -A "first: $first" -H 'X-Forwarded-For: 192.0.2.1' -H 'X-Forwarded-Proto: https'
            if [ "$peer" = 127.0.0.1 ]; then
                sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=https HTTP_X_FORWARDED_FOR=192.0.2.1
            else
                sees REMOTE_ADDR=127.0.0.2 wsgi.url_scheme=http "HTTP_HOST=127.0.0.1:$port"
                lacks HTTP_X_FORWARDED_FOR
            fi
        done
    done
}

@test "trusts no peer for bytes that a trusted one has sent" {
    has_second_loopback || skip "127.0.0.2 is no address here"
    tells_apart --workers 1
    stop_server
    tells_apart
}

# A proxy keeps its connection for all its clients.
forgets() {
    start_server "$@" environ:app
    one='GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1:5\r\nX-Forwarded-Proto: https\r\n\r\n'
    two='GET / HTTP/1.1\r\nHost: a\r\n\r\n'
    printf '%b' "$one$two$one$one$one$two$two$two$one${two%'\r\n'}Connection: close\r\n\r\n" | raw >"$answer"
    [ "$(sed -n 's/^REMOTE_ADDR=//p' "$answer" | tr '\n' ' ')" = "192.0.2.1 127.0.0.1 192.0.2.1 192.0.2.1 192.0.2.1 127.0.0.1 127.0.0.1 127.0.0.1 192.0.2.1 127.0.0.1 " ]
    [ "$(grep -c -x 'REMOTE_PORT=5' "$answer")" -eq 5 ]
    [ "$(grep -c -x 'wsgi.url_scheme=https' "$answer")" -eq 5 ]
    [ "$(grep -c -x 'HTTP_X_FORWARDED_FOR=192.0.2.1:5' "$answer")" -eq 5 ]
}

@test "applies forwarding fields to one request, and to no other on its connection" {
    forgets
    stop_server
    forgets --workers 1
}

# ---- what a client may try through a proxy that is trusted ----

@test "takes no name with an underscore for a forwarding field" {
    start_server environ:app
    asks 'X-Forwarded-For: 192.0.2.1' 'X_Forwarded_For: 6.6.6.6' 'X-Forwarded_For: 6.6.6.6' 'X_Forwarded_Proto: https' 'X_Forwarded_Host: evil'
    sees REMOTE_ADDR=192.0.2.1 HTTP_X_FORWARDED_FOR=192.0.2.1 wsgi.url_scheme=http HTTP_HOST=a
}

@test "takes no trailer field for a forwarding field" {
    start_server environ:app
    printf '%b' 'POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n' \
        '0\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n\r\n' | raw >"$answer"
    sees REMOTE_ADDR=192.0.2.1 wsgi.url_scheme=http HTTP_HOST=a
    [ "$(grep -c -e 6.6.6.6 -e evil "$answer")" -eq 0 ]
}

has_lines() {
    [ "$(grep -c '' "$stderr")" -eq "$1" ]
}

# What stands in the log is an address in its one spelling, or the proxy's.
@test "lets no client write into the access log what is no address" {
    start_server --access-log - hello:app
    for client in '6.6.6.6 - - [now] "GET / HTTP/1.1" 200' $'6.6.6.6\x85' '::1%eth0' '6.6.6.6"' '[6.6.6.6] evil'; do asks "X-Forwarded-For: $client"; done
    asks 'X-Forwarded-For: 6.6.6.6, 2001:DB8::0001'
    eventually has_lines 6
    [ "$(sed 's/ .*//' "$stderr" | tr '\n' ' ')" = "127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1 2001:db8::1 " ]
    [ "$(grep -c -e 6.6.6.6 -e evil "$stderr")" -eq 0 ]
}

# Each of 3000 members is to be looked up in a network, and raw waits for no more than 40 s.
@test "is not kept busy by a long list" {
    start_server --forwarded-allow-ips 127.0.0.1,1.0.0.0/8 environ:app
    members=$(seq 1 1000 | awk '{ printf "1.%d.%d.%d,", $1 / 256, $1 % 256, $1 % 7 }')
    for _ in 1 2 3; do asks "X-Forwarded-For: 192.0.2.1,${members%,}" "X-Forwarded-For: ${members%,}" "X-Forwarded-For: ${members%,}" || return; done
    sees REMOTE_ADDR=192.0.2.1
}
