#!/usr/bin/env bats
# Addresses that a user takes for granted: one with a zone, and the sockets that systemd has opened for a wrapper.

load test_helper

setup() {
    answer="$BATS_TEST_TMPDIR/answer"
}

# link_local  sets zoned to an address of this machine with its zone, as fe80::1%eth0.
link_local() {
    zoned=$(ifconfig 2>/dev/null | sed -n 's/.*inet6 \(fe80::[0-9a-f:]*%[a-z0-9]*\) .*/\1/p' | head -n 1)
    [ -n "$zoned" ] || zoned=$(awk '/^fe80/ { print $1 "%" $6 }' /proc/net/if_inet6 2>/dev/null | head -n 1 |
        sed 's/..../&:/g; s/:%/%/; s/:\([^:%]*\)$/\1/')
    [ -n "$zoned" ] || skip "no interface has a link-local address here"
}

# RFC 4007 11: without its zone, such an address says nothing.
@test "listens on a link-local address with its zone" {
    link_local
    for SERVER_OPTIONS in "" --no-fork; do
        start_server --bind "[$zoned]:0" environ:app
        curl -s -g -m 10 "http://[${zoned%\%*}%25${zoned#*%}]:$port" >"$answer"
        grep -q '^REMOTE_ADDR=fe80:' "$answer"
        stop_server
    done
}

@test "listens on a link-local address with its zone in make_server()" {
    link_local
    importable
    PYTHONPATH="$BATS_TEST_TMPDIR:$BATS_TEST_DIRNAME/apps" "$PYTHON" - "$zoned" <<'END'
import called, socket, sys, webserver
with webserver.make_server(sys.argv[1], 0, called.app) as server, called.serving(server):
    client = socket.create_connection((sys.argv[1], server.server_port), 10)
    client.sendall(b"GET /path HTTP/1.0\r\n\r\n")
    assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"/path")
END
}

# LISTEN_PID names a wrapper, as `uv run`, that has started the server as another process. Nothing else says where to listen.
for_a_wrapper() {
    launch=("$PYTHON" -c '
import os, socket, sys
bind, python, server, *rest = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
os.dup2(listener.fileno(), 97)
os.dup2(97, 3)
os.closerange(4, 256)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getppid()), PORT="0")
os.execvp(python, [python, server, *([] if bind == "none" else ["--bind", bind]), *rest[2:]])' "$1")
}

@test "logs that sockets are there for another process, and how to name them, where no --bind says where to listen" {
    for_a_wrapper none
    start_server hello:app
    [ "$(grep -c -e 'LISTEN_PID.*--bind fd://3' -e 'LISTEN_FDS.*--bind fd://3' "$stderr")" -eq 1 ]
}

@test "listens on such a socket as it has logged, and logs no more" {
    for_a_wrapper fd://3
    start_server hello:app
    [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
    [ ! -s "$stderr" ]
}
