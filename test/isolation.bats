#!/usr/bin/env bats
# No exception that one connection causes reaches another: it ends that connection, is logged, and the process goes on.

load test_helper

setup() {
    answer="$BATS_TEST_TMPDIR/answer"
}

make_certificate() {
    command -v openssl >/dev/null || skip "there is no openssl to make a certificate with"
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$BATS_TEST_TMPDIR/key" -out "$BATS_TEST_TMPDIR/certificate" \
        -days 2 -subj /CN=localhost 2>"$answer"
}

# While the server waits for the rest of the handshake, ssl finds the reset, and closes the descriptor itself.
reset_handshakes() {
    "$PYTHON" - "$port" <<'END'
import socket, ssl, sys, time
def connect():
    return socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
def ask():
    kept.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return kept.recv(65536).partition(b"\r\n\r\n")[2]
kept = ssl._create_unverified_context().wrap_socket(connect())
before = ask()
for first in (b"\x16", b"\x16\x03\x01", b"G", b"") * 2:
    client = connect()
    time.sleep(0.1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.sendall(first)
    client.close()
assert before and ask() == before, "the process has ended, or another one answers"
END
}

@test "goes on when a client resets in the first bytes of its handshake" {
    make_certificate
    for SERVER_OPTIONS in --no-fork "--workers 1 --threads 2"; do
        start_server --certfile "$BATS_TEST_TMPDIR/certificate" --keyfile "$BATS_TEST_TMPDIR/key" pid:app
        reset_handshakes
        stop_server
    done
}

# What was not foreseen, raised where bytes arrive: first bytes, in a head, in a body, after a response.
raise_everywhere() {
    "$PYTHON" - "$port" <<'END'
import socket, sys, time
GET, POST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n"
def connect(data):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    client.sendall(data)
    time.sleep(0.1)
    return client
kept = connect(GET)
before = kept.recv(65536)
for data in b"", GET[:9], POST, GET:
    client = connect(data)
    client.sendall(b"raise")
    try:
        while client.recv(65536):  # a timeout here: the connection was left open
            pass
    except ConnectionResetError:
        pass
kept.sendall(GET)
assert before[-9:] == kept.recv(65536)[-9:], "the process has ended, or another one answers"
END
}

@test "closes the one connection on which something unforeseen is raised, and logs that" {
    altered raising-recv
    for SERVER_OPTIONS in --no-fork "--workers 1 --threads 2"; do
        rm -f "$BATS_TEST_TMPDIR/stderr"
        start_server pid:app
        raise_everywhere
        stop_server
        [ "$(grep -c 'RuntimeError: raised on demand' "$stderr")" -eq 4 ]
    done
}

@test "closes the one connection on which something unforeseen is raised, in a program that calls make_server()" {
    importable
    cd "$BATS_TEST_TMPDIR"
    PYTHONPATH="$BATS_TEST_TMPDIR:$BATS_TEST_DIRNAME/apps" "$PYTHON" - 2>"$answer" <<'END'
import called, faulthandler, socket
faulthandler.dump_traceback_later(10, exit=True)
recv = socket.socket.recv
def raise_on_demand(sock, *arguments):
    data = recv(sock, *arguments)
    if data == b"raise":
        raise RuntimeError("raised on demand")
    return data
socket.socket.recv = raise_on_demand
with called.make() as server, called.serving(server):
    client = socket.create_connection(server.server_address)
    client.sendall(b"raise")
    assert not client.recv(9)
    assert called.ask(server) == (200, "/")
END
    grep -q 'RuntimeError: raised on demand' "$answer"
}

@test "goes on when the application closes the descriptor of a connection, and ends that connection" {
    for SERVER_OPTIONS in --no-fork "--workers 1" "--workers 1 --threads 2"; do
        start_server closes_descriptor:app
        before=$(curl -sf -m 10 "$url")
        run curl -s -m 10 "$url/close"
        [ "$status" -ne 0 ] && [ "$status" -ne 28 ] # it ended, and did not time out
        [ "$(curl -sf -m 10 "$url")" = "$before" ]
        stop_server
    done
}

# What the system refuses one connection it does not refuse the process. (Connections: one that waits for its first
# byte, one with more to send than its client reads, and one that ends.)
fail_its_polling() {
    "$PYTHON" - "$port" <<'END'
import socket, sys, time
def ask(path=b"/"):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
    time.sleep(0.1)
    client.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path)
    time.sleep(0.1)
    try:
        return b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[2]
    except ConnectionResetError:
        return b"reset"
first, _, last, one_more = ask(), ask(b"/large"), ask(), ask()
assert first in (last, b"", b"reset") and last == one_more != b"reset", (first, last, one_more)
END
}

@test "goes on when the system refuses to watch one connection, and logs nothing of fork" {
    "$PYTHON" -c 'import select; select.epoll' || skip "there is no epoll here"
    altered failing-epoll
    for SERVER_OPTIONS in --no-fork "--workers 1 --threads 2"; do
        rm -f "$BATS_TEST_TMPDIR/stderr"
        start_server pid_or_large:app
        fail_its_polling
        stop_server
        grep -q 'injected epoll register' "$stderr"
        [ "$(grep -c 'fork' "$stderr")" -eq 0 ]
    done
}
