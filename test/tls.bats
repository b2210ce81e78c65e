#!/usr/bin/env bats
# TLS: the handshake, the records and their end. What a client sees is what it sees of plain HTTP, and none can cut it
# unseen.

# bats file_tags=every-mode
load test_helper

# The certificates, and what the clients below have in common.
setup_file() {
    export CERTS="$BATS_FILE_TMPDIR" no_tls=""
    command -v openssl >/dev/null || no_tls="there is no openssl to make certificates with"
    "$PYTHON" -c 'import ssl' || no_tls="this Python has no ssl"
    [ -n "$no_tls" ] || (cd "$CERTS" && make_certificates) 2>"$CERTS/errors" || cat "$CERTS/errors" >&2
    cat >"$CERTS/tls_client.py" <<'END'
import contextlib, os, re, select, signal, socket, ssl, sys, threading, time

PORT, SERVER, CERTS, LATCH = (os.environ[name] for name in ("PORT", "SERVER", "CERTS", "LATCH"))
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
PAGE = b"Hello, World!\n"

def context(name="", version=None):
    found = ssl.create_default_context(cafile=CERTS + "/ca.pem")
    found.options &= ~0x80  # OP_IGNORE_UNEXPECTED_EOF, set by older Pythons
    if name:
        found.load_cert_chain(f"{CERTS}/{name}.pem", f"{CERTS}/{name}.key")
    if version:
        found.minimum_version = found.maximum_version = version
    return found

def dial(data=b"", window=0):
    sock = socket.socket()
    sock.settimeout(20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if window:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.connect(("127.0.0.1", int(PORT)))
    sock.sendall(data)
    return sock

def connect(data=b"", window=0, using=None):
    """Connect; an end without close_notify is a failure."""
    sock = (using or context()).wrap_socket(dial(b"", window), False, True, False, "localhost")
    sock.sendall(data)
    return sock

def rest(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))

def more(sock):
    arrived = sock.recv(65536)
    assert arrived, "it ends too early"
    return arrived

def exchange(sock, data=GET):
    """Send a request, and return head and body of the response, which has a length."""
    sock.sendall(data)
    received = bytearray()
    def end():
        return received.find(b"\r\n\r\n") + 4
    while end() < 4:
        received += more(sock)
    length = int(re.search(rb"Content-Length: (\d+)", received)[1])
    while len(received) < end() + length:
        received += more(sock)
    return bytes(received[: end()]), bytes(received[end() :])

def ask(sock, data=GET):
    return exchange(sock, data)[1]

def ends_well(sock):
    with contextlib.suppress(OSError):
        rest(sock)
        return True
    return False

def opening(part=None):
    """Return the first bytes of a handshake."""
    return Records(None).made(lambda tls: tls.do_handshake())[:part]

class Records:
    """A client whose records go where the test says: `send` is called with each flight."""

    def __init__(self, send):
        self.arrived, self.leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context().wrap_bio(self.arrived, self.leaving, server_hostname="localhost")
        self.sock, self.send = (dial(), send) if send else (None, None)

    def made(self, act):
        """Return what `act` would send."""
        with contextlib.suppress(ssl.SSLWantReadError):
            act(self.tls)
        return self.leaving.read()

    def do(self, act):
        while True:
            try:
                return act(self.tls)
            except ssl.SSLWantReadError:
                self.send(self.sock, self.leaving.read())
                self.arrived.write(self.sock.recv(65536))
            finally:
                self.send(self.sock, self.leaving.read())
END
}

make_certificates() {
    printf '%s\n' '[req]' distinguished_name=dn prompt=no '[dn]' CN=a '[authority]' subjectKeyIdentifier=hash \
        basicConstraints=critical,CA:true keyUsage=critical,keyCertSign,cRLSign '[leaf]' basicConstraints=CA:false \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid subjectAltName=DNS:localhost,IP:127.0.0.1 >conf
    for name in ca other server renewed client stranger; do
        openssl ecparam -name prime256v1 -genkey -noout -out "$name.key" || return
    done
    for name in ca other; do
        openssl req -x509 -new -key "$name.key" -days 2 -config conf -extensions authority -subj "/CN=$name" \
            -out "$name.pem" || return
    done
    sign server ca 1 && sign renewed ca 2 && sign client ca 3 && sign stranger other 4 &&
        openssl ec -in server.key -aes128 -passout pass:secret -out locked.key && cat server.pem locked.key >both.pem
}

sign() { # NAME AUTHORITY SERIAL
    openssl req -new -key "$1.key" -config conf -subj "/CN=$1" -out "$1.csr" &&
        openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey "$2.key" -set_serial "$3" -days 2 -extfile conf \
            -extensions leaf -out "$1.pem"
}

setup() {
    [ -z "$no_tls" ] || skip "$no_tls"
    export LATCH="$BATS_TEST_TMPDIR/latch"
    mkfifo "$LATCH"
    answer="$BATS_TEST_TMPDIR/answer"
}

# As start_server, with a certificate.
start_https() {
    start_server --certfile "$CERTS/server.pem" --keyfile "$CERTS/server.key" "$@"
    url=https://127.0.0.1:$port
}

# client  runs stdin, a client in Python.
client() {
    { echo 'from tls_client import *' && cat; } >"$BATS_TEST_TMPDIR/client.py"
    PORT=$port SERVER=$server_pid PYTHONPATH="$CERTS" "$PYTHON" -W ignore "$BATS_TEST_TMPDIR/client.py"
}

fetch() {
    curl -s -m 20 --cacert "$CERTS/ca.pem" "$@"
}

# locked_out ARGUMENT...  ends with status 2 and one line that names --keyfile, and takes no password. (A server that serves
# instead is killed.)
locked_out() {
    local line code=0
    "$PYTHON" "$PROGRAM" --bind 127.0.0.1:0 "$@" <<<secret >"$LATCH" 2>&1 3>&- 4>&- &
    while read -r line; do
        echo "$line"
        case $line in Serving*) kill -KILL "$!" ;; esac
    done <"$LATCH" >"$answer"
    wait_for "$!" || code=$?
    echo "status $code" | cat "$answer" -
    [ "$code" -eq 2 ]
    [ "$(grep -c '' "$answer")" -eq 1 ]
    grep -q -e "^webserver.py: .*--keyfile" "$answer"
}

# bats test_tags=fork
@test "refuses files that are missing, and that are no certificate and no key, in a line" {
    for bad in "$CERTS/missing" "$CERTS" "$CERTS/tls_client.py"; do
        echo "'--certfile $bad' --certfile $bad --keyfile $CERTS/server.key"
        echo "'--keyfile $bad' --certfile $CERTS/server.pem --keyfile $bad"
        echo "'--ca-certs $bad' --certfile $CERTS/server.pem --keyfile $CERTS/server.key --ca-certs $bad"
    done | refuses
}

# bats test_tags=fork
@test "refuses a file that it may not read, in a line" {
    cp "$CERTS/server.key" "$BATS_TEST_TMPDIR/key"
    chmod 0 "$BATS_TEST_TMPDIR/key"
    if cat "$BATS_TEST_TMPDIR/key" >/dev/null 2>&1; then skip "this user may read everything"; fi
    refuses <<<"'Permission denied' --certfile $CERTS/server.pem --keyfile $BATS_TEST_TMPDIR/key"
}

# bats test_tags=fork
@test "refuses a key that is locked, and asks for no password" {
    locked_out --certfile "$CERTS/server.pem" --keyfile "$CERTS/locked.key"
    locked_out --certfile "$CERTS/both.pem"
}

# An empty name is as a variable that is not set leaves it: it must not serve without TLS, or let in everybody.
# bats test_tags=fork
@test "refuses a key that does not fit, and none, files without a certificate, and empty names" {
    refuses <<END
--keyfile   --certfile $CERTS/server.pem --keyfile $CERTS/client.key
--keyfile   --certfile $CERTS/server.pem
--certfile  --keyfile $CERTS/server.key
--certfile  --ca-certs $CERTS/ca.pem
--certfile  --certfile ''
--ca-certs  --certfile $CERTS/server.pem --keyfile $CERTS/server.key --ca-certs ''
END
}

# bats test_tags=fork
@test "gives the application https as the scheme, and takes the key from the certificate's file" {
    cat "$CERTS/server.pem" "$CERTS/server.key" >"$BATS_TEST_TMPDIR/both.pem"
    start_server --certfile "$BATS_TEST_TMPDIR/both.pem" environ:app
    fetch "https://127.0.0.1:$port" | grep -q -x wsgi.url_scheme=https
    printf 'GET / HTTP/1.0\r\n\r\n' | openssl s_client -quiet -connect "127.0.0.1:$port" 2>/dev/null |
        grep -q -x wsgi.url_scheme=https
}

# ---- the handshake ----

# bats test_tags=fork
@test "speaks TLS 1.2 and 1.3, not 1.1, and of what clients offer http/1.1" {
    start_https hello:app
    client <<'END'
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    using = context(version=version)
    using.set_alpn_protocols(["h2", "http/1.1"])
    sock = connect(using=using)
    assert (sock.version().replace(".", "_"), sock.selected_alpn_protocol()) == (version.name, "http/1.1")
    assert ask(sock) == PAGE
# A ClientHello of TLS 1.1, which the client's library may not make; the answer is the alert protocol_version.
suites = b"\xc0\x0a\xc0\x09\xc0\x14\xc0\x13\0\x35\0\x2f"
body = b"\x03\x02" + bytes(range(32)) + b"\0" + bytes([0, len(suites)]) + suites + b"\x01\0"
sock = dial(b"\x16\x03\x01" + bytes([0, len(body) + 4, 1, 0, 0, len(body)]) + body)
assert rest(sock)[5:] == b"\x02\x46"
END
}

# bats test_tags=fork
@test "lets in clients with a certificate that --ca-certs has signed, and no others" {
    start_https --ca-certs "$CERTS/ca.pem" hello:app
    client <<'END'
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    assert ask(connect(using=context("client", version))) == PAGE
    for name in "", "stranger":
        with contextlib.suppress(OSError):
            sys.exit(f"it let in {name}: {ask(connect(using=context(name, version)))}")
END
    [ ! -s "$stderr" ]
}

# In TLS 1.3 a client takes the handshake for done, and sends: a reset would overtake the alert (RFC 9112 9.6).
# bats test_tags=fork
@test "answers clients without a certificate by an alert, whatever they send" {
    for SERVER_OPTIONS in "" --no-fork; do
        start_https --ca-certs "$CERTS/ca.pem" hello:app
        client <<'END'
sock = connect(using=context(version=ssl.TLSVersion.TLSv1_3))
for _ in range(3):
    sock.sendall(GET)
    time.sleep(0.05)
try:
    rest(sock)
except ssl.SSLError as error:
    assert "ALERT" in error.reason
END
        stop_server
    done
}

@test "answers clients of plain HTTP that this is https" {
    start_https hello:app
    client <<'END'
for method in b"GET", b"POST", b"DELETE", b"OPTIONS":
    head, _, body = rest(dial(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"Content-Type: text/plain" in head, (method, head)
    assert b"https" in body
END
    [ ! -s "$stderr" ]
}

# bats test_tags=modes
@test "has no handshake delay another client" {
    start_https --header-timeout 60 hello:app
    client <<'END'
whole = opening()
held = [dial(whole[:size]) for size in (0, 1, 5, 50, None) * 8], [connect() for _ in range(8)]
for _ in range(3):
    assert ask(connect()) == PAGE
END
}

# bats test_tags=fork
@test "evicts handshakes when all processes or descriptors are taken" {
    start_https --header-timeout 60 --max-children 4 hello:app
    client <<<'held = [dial(), dial(opening(50))] * 4; assert ask(connect()) == PAGE'
    stop_server
    launch=(bash -c 'ulimit -n 64 && exec "$@"' limited)
    for SERVER_OPTIONS in --no-fork "--workers 1 --threads 4"; do
        start_https --header-timeout 60 hello:app
        client <<<'part = opening(50); held = [(dial(), dial(part)) for _ in range(40)]; assert ask(connect()) == PAGE'
        stop_server
    done
}

@test "has a handshake come within --header-timeout, however it is cut" {
    start_https --header-timeout 0.5 hello:app
    client <<'END'
whole = opening()
socks, slow = [dial(whole[:size]) for size in (0, 1, 100, None)] + [connect()], dial()
with contextlib.suppress(BrokenPipeError, ConnectionResetError):
    for place in range(100):
        slow.sendall(whole[place : place + 1])
        if select.select([slow], [], [], 0.1)[0]:
            break
    else:
        sys.exit("it goes on")
for sock in socks:
    rest(sock)
END
    [ ! -s "$stderr" ]
}

# ---- requests and responses ----

# bats test_tags=modes
@test "answers what is pipelined, in one record or two, on a connection that is kept" {
    start_https --keep-alive 60 hello:app
    client <<'END'
sock, answers = connect(GET * 3 + GET[:20]), b""
while answers.count(PAGE) < 3:
    answers += more(sock)
assert ask(sock, GET[20:]) == ask(sock) == PAGE
sock.sendall(GET + LAST)
assert rest(sock).count(PAGE) == 2
END
}

@test "reads records that arrive byte by byte, and many small ones" {
    start_https echo:app
    client <<'END'
def drip(sock, data):
    for place in range(len(data)):
        sock.sendall(data[place : place + 1])
head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n"
records, answer = Records(drip), b""
records.do(lambda tls: tls.do_handshake())
records.do(lambda tls: tls.write(head + b"x" * 1995))
records.do(lambda tls: tls.write(b"\nend\n"))
while not answer.endswith(b"\nend\n"):
    answer += records.do(lambda tls: tls.read(65536))
sock = connect(head)
drip(sock, b"x" * 1999)
assert ask(sock, b"y") == b"x" * 1999 + b"y"
END
}

@test "takes in 30 MB, and gives them back" {
    start_https echo:app
    client <<'END'
body = os.urandom(1000000) * 30
assert ask(connect(), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body) == body
END
}

# bats test_tags=fork
@test "takes chunks and gives chunks, and sends 100 Continue" {
    start_https echo:app
    fetch -i -H 'Expect: 100-continue' -H 'Transfer-Encoding: chunked' --data-binary $'one\ntwo' "$url" >"$answer"
    [ "$(statuses <"$answer")" = "100 200" ]
    [ "$(tail -n 2 "$answer")" = $'one\ntwo' ]
    stop_server
    start_https stream:app
    fetch -i "$url" | tr -d '\r' >"$answer"
    grep -q -x 'Transfer-Encoding: chunked' "$answer"
    [ "$(tail -n 3 "$answer")" = $'one\ntwo\nthree' ]
}

# bats test_tags=fork
@test "sends a file whole, with its Content-Length" {
    export FILE="$BATS_TEST_TMPDIR/file"
    "$PYTHON" -c 'import os, sys; sys.stdout.buffer.write(os.urandom(1000001) * 3)' >"$FILE"
    start_https sends_file:app
    fetch -D "$answer" "$url/file" | cmp - "$FILE"
    tr -d '\r' <"$answer" | grep -q -x 'Content-Length: 3000003'
    fetch "$url/partly-read" | cmp - <(tail -c +7 "$FILE")
}

# The large block is more than the system takes in at once, and the last of its response.
# bats test_tags=modes
@test "sends what is yielded and what is written at the pace of a slow reader" {
    start_https blocks:app
    client <<'END'
lines = b"".join(b"%08d\n" % number for number in range(600000))
for path, size in (b"/", len(lines)), (b"/written", len(lines)), (b"/announced", 900000):
    sock, data = connect(b"GET %b HTTP/1.0\r\n\r\n" % path, 4096), b""
    for _ in range(20):
        time.sleep(0.01)
        data += sock.recv(5000)
    assert (data + rest(sock)).partition(b"\r\n\r\n")[2] == lines[:size], path
END
}

@test "gives a client that reads fast enough more than --send-timeout for a large block" {
    start_https --send-timeout 0.5 large:app
    client <<'END'
sock = connect(LAST, 4096)
for _ in range(90):
    more(sock)
    time.sleep(0.01)
assert rest(sock).endswith(b"end\n")
END
}

# RFC 9112 3.2.2
# bats test_tags=fork
@test "takes a request-target that names https" {
    start_https seen:app
    client <<<'body = ask(connect(), b"GET https://b:1/path HTTP/1.1\r\nHost: a\r\n\r\n").decode().split("\n")
assert "PATH_INFO='\''/path'\''" in body and "HTTP_HOST='\''b:1'\''" in body, body'
}

# bats test_tags=fork
@test "keeps the connection when it cuts off what exceeds the Content-Length" {
    start_https as_asked:app
    client <<'END'
sock = connect()
for _ in range(2):
    assert ask(sock, b"GET /1234/5678?status=200+OK&Content-Length=4 HTTP/1.1\r\nHost: a\r\n\r\n") == b"1234"
END
}

# ---- the end: without a length it is that of the connection, and close_notify tells it from a cut ----

@test "ends a response without a length by close_notify" {
    start_https stream:app
    client <<'END'
for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
    assert rest(connect(OLD, using=context(version=version))).endswith(b"\r\n\r\none\ntwo\nthree\n")
assert b" 400 Bad Request" in rest(connect(b"no request\r\n\r\n"))
END
}

# curl takes the end of the connection for that of the body: only a reset tells it.
@test "shows no end of a response that the application has cut, also to clients that need no close_notify" {
    start_https closing:app
    client <<<'assert not ends_well(connect(b"GET /fails-later HTTP/1.0\r\n\r\n"))'
    run fetch --http1.0 "$url/fails-later"
    [ "$output" = "one" ]
    [ "$status" -eq 56 ] # it could not receive
}

# bats test_tags=fork
@test "shows no end of a response whose call took too long" {
    for SERVER_OPTIONS in "" "--workers 1 --threads 4"; do
        start_https --timeout 0.3 hangs:app
        client <<<'assert not ends_well(connect(b"GET /stream HTTP/1.0\r\n\r\n"))'
        stop_server
    done
}

@test "shows no end of a response that is cut because its client reads too slowly" {
    altered time_slice_s=0 # or a client comes to wait for its turn only where others take theirs
    start_https --send-timeout 0.2 blocks:app
    client <<'END'
socks = [connect(OLD, 4096) for _ in range(4)]
time.sleep(0.7)
assert not any(map(ends_well, socks))
END
}

@test "answers a client that has said by close_notify that it sends no more" {
    start_https latch:app
    client <<'END'
sock = connect(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
sock.setblocking(False)
with contextlib.suppress(ssl.SSLWantReadError):
    sock.unwrap()
sock.settimeout(20)
with open(LATCH, "w") as latch:
    latch.write("x")
assert more(sock).endswith(b"\r\n\r\ndone\n")
END
}

# bats test_tags=modes
@test "ends connections that clients reset at any point, and disturbs no other" {
    start_https large:app
    client <<'END'
kept, whole = connect(GET[:9]), opening()
socks = [dial(), dial(whole[:50]), dial(whole), connect(), connect(GET[:9]), connect(GET * 9, 4096), connect(GET)]
time.sleep(0.1)
for sock in socks:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()
assert ask(kept, GET[9:]).endswith(b"end\n")
END
    [ ! -s "$stderr" ]
}

@test "waits for a next request as long as --keep-alive says, and no longer for a part of its record" {
    start_https --keep-alive 0.5 --header-timeout 1 hello:app
    client <<'END'
idle, records, answer = connect(), Records(socket.socket.sendall), b""
assert ask(idle) == PAGE
records.do(lambda tls: tls.do_handshake())
records.do(lambda tls: tls.write(GET))
while PAGE not in answer:
    answer += records.do(lambda tls: tls.read(65536))
record = records.made(lambda tls: tls.write(GET))
assert rest(idle) == b""
with contextlib.suppress(BrokenPipeError, ConnectionResetError):
    for place in range(30):
        records.sock.sendall(record[place : place + 1])
        if select.select([records.sock], [], [], 0.1)[0]:
            break
    else:
        sys.exit("it goes on")
END
}

# What write() could not send at once is sent later without waiting for the client, which has read meanwhile.
# bats test_tags=modes
@test "waits for a next request as long as --keep-alive says, although a client was behind before" {
    start_https --keep-alive 1 --header-timeout 60 writes:app
    client <<'END'
latch = os.open(LATCH, os.O_RDWR)
sock = connect(b"GET /held-much HTTP/1.1\r\nHost: a\r\n\r\n", 16384)
while not os.path.exists(LATCH + ".arrived"):
    time.sleep(0.1)
answer = b""
sock.settimeout(0.5)
with contextlib.suppress(socket.timeout):  # a record is not whole
    while True:
        answer += more(sock)
sock.settimeout(10)
os.write(latch, b".")
while not answer.endswith(b"0\r\n\r\n"):
    answer += more(sock)
assert sock.recv(1) == b""
END
}

# bats test_tags=modes
@test "takes no processor time while it waits for its clients" {
    [ -r /proc/self/stat ] || skip "no /proc tells here what processes take"
    start_https --header-timeout 60 --keep-alive 60 blocks:app
    client <<'END'
def processes(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [pid, *(found for child in file.read().split() for found in processes(child))]
def ticks():
    pids = processes(SERVER)
    return sum(sum(map(int, open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[11:13])) for pid in pids)
whole, socks = opening(), [connect(data) for data in (b"", GET[:9], b"", LAST[:9], GET)]
for sock in socks[2:]:
    socket.socket.sendall(sock, b"\x17\x03\x03\x00\x50part of a record")
socks += [dial(whole[:size]) for size in (0, 50, None)] + [connect(GET, 4096), connect(GET * 9, 4096)]
socks.append(connect(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"))
time.sleep(0.3)
before = ticks()
time.sleep(0.5)
assert ticks() - before < 10
END
}

# ---- processes and signals ----

# bats test_tags=modes
@test "finishes the response in flight on TERM, to its close_notify, and closes what is idle by one" {
    start_https stream:app
    client <<'END'
idle, latch = connect(GET), os.open(LATCH, os.O_RDWR)
while not more(idle).endswith(b"0\r\n\r\n"):
    pass
sock = connect(b"GET /wait HTTP/1.0\r\n\r\n")
while not os.path.exists(LATCH + ".arrived"):
    time.sleep(0.01)
os.kill(int(SERVER), signal.SIGTERM)
os.write(latch, b"x")
assert rest(sock).endswith(b"\r\n\r\none\ntwo\nthree\n")
rest(idle)
END
    ends_well
}

# bats test_tags=fork
@test "finishes a handshake that is under way on TERM, and answers the request behind it" {
    for SERVER_OPTIONS in "" "--workers 1" --no-fork; do
        start_https hello:app
        client <<'END'
flights = []
def send(sock, data):
    if data:
        flights.append(data)
    if len(flights) == 1 and data:
        sock.sendall(data)
    if len(flights) == 3 and data:
        os.kill(int(SERVER), signal.SIGTERM)
        time.sleep(0.3)
        sock.sendall(flights[1] + flights[2])
one = Records(send)
one.do(lambda tls: tls.do_handshake())
one.do(lambda tls: tls.write(GET))
assert b" 200 OK" in one.do(lambda tls: tls.read(65536))
END
        ends_well
    done
}

# Each sends its next request as soon as it has a response, and loses none but after a moment: see kept_clients.py.
# bats test_tags=modes
@test "loses no request of busy clients on TERM" {
    for _ in 1 ${ALL_MODES:+2 3}; do
        start_https hello:app
        client <<'END'
late, answers, before = {connect(GET): False for _ in range(8)}, 0, time.monotonic()
while late:
    ready = select.select(late, [], [], 20)[0]
    last, before = before, time.monotonic()
    for sock in ready:
        response = b""
        with contextlib.suppress(OSError):
            response = sock.recv(65536)
            if response and b"\r\nConnection: close\r\n" not in response:
                answers += 1
                sock.sendall(GET)
                late[sock] = time.monotonic() - last > 0.01
                continue
        assert response or late[sock], f"a request is lost after {answers} answers"
        del late[sock]
    if answers >= 500 and SERVER:
        os.kill(int(SERVER), signal.SIGTERM)
        SERVER = ""
END
        ends_well
    done
}

# put CERTIFICATE KEY  gives the server another certificate.
put() {
    cp "$CERTS/$1" "$BATS_TEST_TMPDIR/server.pem"
    cp "$CERTS/$2" "$BATS_TEST_TMPDIR/server.key"
}

serial_is() {
    openssl s_client -connect "127.0.0.1:$port" </dev/null 2>/dev/null | openssl x509 -noout -serial | grep -q -x "serial=0*$1"
}

# bats test_tags=fork
@test "renews its certificate on HUP, loses no request meanwhile, and keeps the old where there is no new" {
    for SERVER_OPTIONS in "" "--workers 2"; do
        put server.pem server.key
        start_server --certfile "$BATS_TEST_TMPDIR/server.pem" --keyfile "$BATS_TEST_TMPDIR/server.key" hello:app
        rm -f "$BATS_TEST_TMPDIR/done"
        client 3>&- <<'END' & asking=$!
count, sock = 0, None
while not os.path.exists(os.path.dirname(LATCH) + "/done"):
    sock, count = sock or connect(), count + 1
    head, body = exchange(sock)
    assert body == PAGE
    if b"\r\nConnection: close\r\n" in head or not count % 5:
        sock = sock.close()
END
        serial_is 1
        put renewed.pem renewed.key
        kill -HUP "$server_pid"
        eventually serial_is 2
        put ca.pem server.key
        kill -HUP "$server_pid"
        eventually grep -q 'the previous one goes on' "$stderr"
        serial_is 2
        touch "$BATS_TEST_TMPDIR/done"
        wait_for "$asking"
        stop_server
    done
}

# Such a process may close what it has, but not say on the connections of another that this was all.
# bats test_tags=fork
@test "keeps its connections apart from processes that the application forks" {
    for SERVER_OPTIONS in "" "--workers 1" "--workers 1 --threads 4"; do
        rm -f "$LATCH.arrived"
        start_https leaves_process:app
        client <<'END'
kept, latch = connect(GET[:9]), os.open(LATCH, os.O_RDWR)
assert b"done" in rest(connect(b"GET /fork HTTP/1.1\r\nHost: a\r\n\r\n"))
while not os.path.exists(LATCH + ".arrived"):
    time.sleep(0.01)
os.write(latch, b"x")
kept.sendall(GET[9:])
assert b"done" in rest(kept)
END
        stop_server
    done
}
