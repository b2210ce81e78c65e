#!/usr/bin/env bats
# A client that sends before it reads: what it sends is read, although it has not taken the response before.

load test_helper

# The first response is all in the kernel, of which the client takes nothing yet, and 40 kB of it wait there. The second
# request follows at once, or when the server waits for one.
sends_before_it_reads() {
    "$PYTHON" - "$port" <<'END'
import socket, sys, time
BODY, BLOCK = 16 * 1000 * 1000, bytes(100000)  # more than the kernel keeps
for pause in 0, 0.3:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(10)
    client.connect(("127.0.0.1", int(sys.argv[1])))
    client.sendall(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n" + bytes(50000))
    time.sleep(pause)
    client.sendall(b"POST /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % BODY)
    for _ in range(0, BODY, len(BLOCK)):
        client.sendall(BLOCK)  # a timeout here: nobody reads
    assert sum(map(len, iter(lambda: client.recv(1000000), b""))) > BODY + 50000
END
}

@test "reads a large body behind a response that its client has not taken" {
    for SERVER_OPTIONS in --no-fork "--workers 1 --threads 2"; do
        start_server echo:app
        sends_before_it_reads
        stop_server
    done
}
