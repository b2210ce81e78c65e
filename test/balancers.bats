#!/usr/bin/env bats
# Three servers behind nginx and behind HAProxy, restarted one after the other as README.md says: no client notices.

load test_helper

# start_one NUMBER [PORT]  starts the server of that number, to be stopped by finish.
start_one() {
    start_server --bind "127.0.0.1:${2-0}" --drain-delay 1.5 hello:app
    pids[$1]=$server_pid ports[$1]=$port
    server_pid=
}

# start_three  starts them, and sets front to a port on which nothing listens.
start_three() {
    pids=() ports=()
    start_server
    front=$port
    stop_server
    for number in 0 1 2; do start_one "$number"; done
}

# Clients ask the balancer while each server ends and another takes its place. `takes_out NUMBER` and `takes_in NUMBER`
# are what the operator does beside that.
nobody_notices() {
    eventually curl -sf -m 10 -o /dev/null "http://127.0.0.1:$front"
    "$PYTHON" "$BATS_TEST_DIRNAME/steady.py" "$front" >"$BATS_TEST_TMPDIR/answer" 3>&- 4>&- & client=$!
    for number in 0 1 2; do
        kill -TERM "${pids[$number]}"
        takes_out "$number"
        wait_for "${pids[$number]}"
        start_one "$number" "${ports[$number]}"
        takes_in "$number"
    done
    kill -TERM "$client"
    wait_for "$client" || { cat "$BATS_TEST_TMPDIR/answer" "$BATS_TEST_TMPDIR"/*.log && return 1; }
    kill -TERM "$balancer"
    wait_for "$balancer" || [ "$?" -eq 143 ] # HAProxy ends by the signal
    for server_pid in "${pids[@]}"; do stop_server; done
    [ ! -s "$stderr" ]
}

# write_nginx [NUMBER]  writes the configuration, with that server marked as down.
write_nginx() {
    local number down servers=
    for number in 0 1 2; do
        [ "${1-}" = "$number" ] && down=" down" || down=
        servers="$servers server 127.0.0.1:${ports[$number]} max_fails=1 fail_timeout=1s$down;"
    done
    nginx_configuration "keepalive_timeout 0; proxy_next_upstream error timeout;" |
        sed "s/server 127.0.0.1:8888;/$servers/; s/listen 80;/listen 127.0.0.1:$front;/; s/keepalive_timeout 4s;/keepalive_timeout 500ms;/" \
            >"$BATS_TEST_TMPDIR/nginx.conf"
}

# nginx looks after no server: it learns by a reload that one goes, within --drain-delay, and until then asks on kept
# connections and new ones. Those that it keeps end before --drain-delay does. A request that fails is asked of another
# server, but no POST that was sent: it may have been served, and proxy_next_upstream has no `non_idempotent`. (Clients
# keep no connection, for a reload closes those that are idle.)
@test "is restarted behind nginx, and no client notices" {
    command -v nginx >/dev/null || skip "there is no nginx here"
    mkfifo "$BATS_TEST_TMPDIR/never"
    takes_out() {
        read -r -t 1 <>"$BATS_TEST_TMPDIR/never" || true # operators are slow
        write_nginx "$1" && kill -HUP "$balancer"
    }
    takes_in() { write_nginx && kill -HUP "$balancer"; }
    start_three
    write_nginx
    nginx -e "$BATS_TEST_TMPDIR/nginx.log" -c "$BATS_TEST_TMPDIR/nginx.conf" >/dev/null 2>&1 3>&- 4>&- & balancer=$!
    nobody_notices
}

# HAProxy looks after each server, several times in --drain-delay, and takes `Connection: close` for the word that it
# goes. (A tcp-check, for an http-check never sees that field.) Where a connection is refused it asks another server.
# (`timeout` stands in quotes, for it is no command here.)
@test "is restarted behind HAProxy, which learns by Connection: close that a server goes, and no client notices" {
    command -v haproxy >/dev/null || skip "there is no haproxy here"
    takes_out() { :; }
    is_up() { [ "$(grep -c 'is UP' "$BATS_TEST_TMPDIR/haproxy.log")" -gt "$1" ]; }
    takes_in() { eventually is_up "$1"; }
    start_three
    recipe haproxy | sed "s/:80$/127.0.0.1:$front/; s/:8001/:${ports[0]}/; s/:8002/:${ports[1]}/; s/:8003/:${ports[2]}/" \
        >"$BATS_TEST_TMPDIR/haproxy.cfg"
    haproxy -db -f "$BATS_TEST_TMPDIR/haproxy.cfg" >"$BATS_TEST_TMPDIR/haproxy.log" 2>&1 3>&- 4>&- & balancer=$!
    nobody_notices
    [ "$(grep -c 'is DOWN.*Connection: close' "$BATS_TEST_TMPDIR/haproxy.log")" -eq 3 ]
}
