#!/usr/bin/env bats
# Clocks that stand still, or jump, in the process that serves: a test suite's, or those of a board without a battery.

load test_helper

setup() {
    export PYTHONPATH="$BATS_TEST_DIRNAME/apps" LATCH="$BATS_TEST_TMPDIR/latch"
    answer="$BATS_TEST_TMPDIR/answer"
}

# freezes  has the clocks of the application stand still in 2100, as freezegun does, and go on, while a connection waits
# until then, and others until a moment after.
freezes() {
    "$PYTHON" - "$port" <<'END'
import socket, sys
def ask(path):
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10)
    client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    assert client.recv(65536).endswith(b"\r\n\r\ndone\n"), path
    return client
for _ in range(2):
    kept = ask(b"/freeze")
    assert ask(b"/thaw").recv(1) == b"", "its time is over"
    ask(b"/")
END
}

@test "goes on when the application has its clocks stand still, and go on" {
    for SERVER_OPTIONS in --no-fork "--workers 1 --threads 2"; do
        start_server --keep-alive 0.2 --header-timeout 0.5 freezes:app
        freezes
        stop_server
        [ ! -s "$stderr" ]
    done
}

@test "goes on in a program that has its clocks stand still" {
    importable
    PYTHONPATH="$BATS_TEST_TMPDIR:$PYTHONPATH" "$PYTHON" - <<'END'
import called, faulthandler, freezes
faulthandler.dump_traceback_later(10, exit=True)
with called.make(freezes.app) as server, called.serving(server):
    for path in "/", "/freeze", "/thaw", "/", "/freeze", "/", "/thaw", "/":
        assert called.ask(server, path) == (200, "done\n")
END
}

# RFC 9110 6.6.1
@test "sends a Date, and a whole head, in the first second of 1970" {
    altered epoch
    start_server --access-log "$BATS_TEST_TMPDIR/log" hello:app
    exchange 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    has 'Date: Thu, 01 Jan 1970 00:00:00 GMT'
    body_is $'Hello, World!\n'
    eventually grep -q '\[01/Jan/1970:00:00:00 ' "$BATS_TEST_TMPDIR/log"
}
