#!/usr/bin/env bats
# What names the host: the request-target, or Host, which may be empty, and nothing else that a client can send.

load test_helper

setup() {
    unset FORWARDED_ALLOW_IPS
    answer="$BATS_TEST_TMPDIR/answer"
}

# asks REQUEST-LINE FIELD-LINE...  sends this request, and keeps in $answer the environ that the application sees.
asks() {
    printf '%s\r\n' "$1" 'Connection: close' "${@:2}" '' | raw | LC_ALL=C tr -d '\r' >"$answer"
    head -n 1 "$answer" | grep -q '^HTTP/1\.1 200 ' || { cat "$answer" && return 1; }
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

# A proxy that sets Host, as all do, may pass X-Forwarded-Host on as the client has sent it.
@test "takes no host from X-Forwarded-Host, and shows what a trusted proxy says there" {
    for trusted in 127.0.0.1 '*'; do
        start_server --forwarded-allow-ips "$trusted" environ:app
        asks 'GET / HTTP/1.1' 'Host: a' 'X-Forwarded-Host: evil' 'X-Forwarded-Proto: https' 'X-Forwarded-For: 192.0.2.1'
        sees HTTP_HOST=a HTTP_X_FORWARDED_HOST=evil wsgi.url_scheme=https REMOTE_ADDR=192.0.2.1
        asks 'GET http://b/ HTTP/1.1' 'Host: a' 'X-Forwarded-Host: evil'
        sees HTTP_HOST=b
        asks 'GET / HTTP/1.0' 'X-Forwarded-Host: evil'
        lacks HTTP_HOST
        stop_server
    done
}

@test "takes no host from X-Forwarded-Host on the file of a socket" {
    path="${BATS_TEST_TMPDIR#"$PWD/"}/socket"
    start_server --bind "unix:$path" --bind 127.0.0.1:0 --forwarded-allow-ips unix environ:app >"$answer" || [ -n "$port" ]
    curl -s -m 10 --unix-socket "$path" -H 'X-Forwarded-Host: evil' http://a/ >"$answer"
    sees HTTP_HOST=a HTTP_X_FORWARDED_HOST=evil
}

# RFC 9112 3.2: where the target has no authority, Host is empty. (Docker and some health checks send it so.)
@test "serves a request whose Host is empty, without one in the environ" {
    start_server environ:app
    for host in 'Host:' 'Host: ' $'Host: \t '; do
        asks 'GET / HTTP/1.1' "$host"
        lacks HTTP_HOST
        asks 'GET / HTTP/1.0' "$host"
        lacks HTTP_HOST
        asks 'GET http://b:80/ HTTP/1.1' "$host" # RFC 9112 3.2.2
        sees HTTP_HOST=b:80 SERVER_NAME=127.0.0.1
    done
}
