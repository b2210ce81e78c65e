#!/usr/bin/env bats
# nginx and HAProxy in front of the server, by a port and by a socket in a file, on connections that they keep.
# A test tagged fork runs in one mode: it asks of the parser, which is the same in all.
#
# bats file_tags=workers

load helper

# through ARGUMENT...  is curl, through the neighbour.
through() {
    curl -sS -f -m 20 --unix-socket "$front" "$@"
}

# bats test_tags=fork
@test "reads every message as nginx does" {
    start_server --stall-timeout 1 sees:app
    nginx_before "127.0.0.1:$port"
    smuggles
}

# bats test_tags=fork
@test "reads every message as an nginx does that passes on what it can" {
    start_server --stall-timeout 1 sees:app
    nginx_before "127.0.0.1:$port" "ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;" \
        "proxy_request_buffering off;"
    smuggles
}

# bats test_tags=fork
@test "reads every message as HAProxy does" {
    start_server --stall-timeout 1 sees:app
    haproxy_before "127.0.0.1:$port"
    smuggles
}

# bats test_tags=fork
@test "reads every message as a HAProxy does that passes on what it can" {
    start_server --stall-timeout 1 sees:app
    haproxy_before "127.0.0.1:$port" LENIENT
    smuggles
}

# Asks twenty times, a client each, and counts the processes that answered: a process is a connection.
is_kept() {
    for number in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do through http://a/ && echo; done >"$answer"
    [ "$(grep -c '^[0-9]' "$answer")" -eq 20 ]
    [ "$(sort -u "$answer" | grep -c '^[0-9]')" -le 2 ]
}

@test "answers many clients of nginx on a connection that it keeps" {
    start_server pid:app
    nginx_before "127.0.0.1:$port"
    is_kept
}

@test "answers many clients of HAProxy on a connection that it keeps" {
    start_server pid:app
    haproxy_before "127.0.0.1:$port"
    is_kept
}

@test "serves nginx and HAProxy by a socket in a file, and believes what they say of the client" {
    start_server --bind "unix:$back" --forwarded-allow-ips unix sees:app >/dev/null || [ -n "$port" ]
    nginx_before "unix:$back"
    through http://a/nginx | grep -q '"client": "9.9.9.9"'
    kill -TERM "$neighbour" && wait_for "$neighbour" || true
    haproxy_before "unix@$back"
    through http://a/haproxy | grep -q '"client": "9.9.9.9"'
    [ "$(grep -c 9.9.9.9 "$LOG")" -eq 2 ]
}

# Sends the large file by form and by chunks, and gets it, and a stream as it comes.
carries() {
    through -o "$answer" -F "file=@$UPLOAD" http://a/upload
    cmp "$UPLOAD" "$answer"
    [ "$(through -T - http://a/upload <"$UPLOAD" | grep -c -x '[0-9a-f]\{64\}')" -eq 1 ]
    mkfifo "$GATE"
    through -N http://a/stream >"$answer" 3>&- 4>&- & client=$!
    eventually grep -q -x first "$answer"
    echo second >"$GATE"
    wait_for "$client"
    [ "$(cat "$answer")" = $'first\nsecond' ]
}

@test "takes 30 MB through nginx, gives them back, and streams" {
    large_file "$UPLOAD"
    serves on_flask
    CLIENT_TIMEOUT=20s nginx_before "127.0.0.1:$port" "proxy_request_buffering off; proxy_buffering off;"
    carries
}

@test "takes 30 MB through HAProxy, gives them back, and streams" {
    large_file "$UPLOAD"
    serves on_flask
    CLIENT_TIMEOUT=20s haproxy_before "127.0.0.1:$port"
    carries
}

@test "is up for HAProxy's health checks, down when it has ended, and up again" {
    start_server hello:app
    haproxy_before "127.0.0.1:$port" CHECKED
    eventually is_for_haproxy UP
    stop_server
    eventually is_for_haproxy DOWN
    start_server --bind "127.0.0.1:$port" hello:app
    eventually is_for_haproxy UP
    [ "$(through http://a/)" = "Hello, World!" ]
}

# Starts anew twice under load.
is_without_loss() {
    "$PYTHON" "$BATS_TEST_DIRNAME/keeps_asking.py" "$front" "$BATS_TEST_TMPDIR/done" >"$answer" 3>&- 4>&- & client=$!
    sleep 0.5 # so that there is something to lose
    for _ in 1 2; do
        renew
    done
    touch "$BATS_TEST_TMPDIR/done"
    wait_for "$client" || { cat "$answer" && false; }
}

@test "loses no request of nginx's when it starts anew" {
    can_renew
    start_server hello:app
    nginx_before "127.0.0.1:$port"
    is_without_loss
}

@test "loses no request of HAProxy's when it starts anew" {
    can_renew
    start_server hello:app
    haproxy_before "127.0.0.1:$port"
    is_without_loss
}
