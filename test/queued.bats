#!/usr/bin/env bats
# The connections that wait when the server is told to stop: each is served, and ends with its own response.

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
}

# requests FD PATH  opens a connection and sends a request, whose response the end of the connection ends.
requests() {
    eval "exec $1<>/dev/tcp/127.0.0.1/$port"
    printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&"$1"
}

# A process that was forked for one of them holds none of the others.
@test "ends each connection that has waited with its own response, and not with another's" {
    start_server --max-children 2 latch:app
    exec 5<>"$LATCH"
    for fd in 6 7 8; do requests "$fd" /wait; done
    requests 9 /
    eventually arrived 2
    kill -TERM "$server_pid"
    printf 'xx' >&5
    eventually arrived 3
    done_on 9
    run read -r -t 10 <&9
    [ "$status" -eq 1 ] # the end, before the time is over, and while a third response is held
    echo >&5
    ends_well
}
