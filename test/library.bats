#!/usr/bin/env bats
# The server in a program of somebody else's: serve(), which is the command line in a call, and make_server().

load test_helper

setup() {
    export LATCH="$BATS_TEST_TMPDIR/latch" PYTHONPATH="$BATS_TEST_TMPDIR:$BATS_TEST_DIRNAME/apps"
    mkfifo "$LATCH"
    original=$WEBSERVER
    importable
    cd "$BATS_TEST_TMPDIR" || return # where the programs on stdin look first
    answer="$BATS_TEST_TMPDIR/answer" stdout="$BATS_TEST_TMPDIR/stdout" stderr="$BATS_TEST_TMPDIR/stderr"
}

# start_program OPTION...  starts the program that calls serve() with these, NAME=LITERAL.
start_program() {
    WEBSERVER="$BATS_TEST_DIRNAME/apps/calls_serve.py" start_server "$@"
}

# program ARGUMENT...  runs the program on stdin, after a few lines more; it fails when it hangs.
program() {
    { echo "import called, faulthandler; faulthandler.dump_traceback_later(10, exit=True)" && cat; } |
        "$PYTHON" - "$@" 2>"$stderr"
}

# quietly  runs it as well, and wants nothing on stderr.
quietly() {
    program
    [ ! -s "$stderr" ]
}

# returned PATTERN  waits for what the program says when serve() has returned.
returned() {
    eventually grep -q -x -e "returned $1" "$stdout"
}

@test "finishes the request in flight on TERM, and returns 0 from serve()" {
    for options in "" "workers=1 threads=2" "no_fork=True"; do
        read -r -a options <<<"$options"
        start_program ${options[@]+"${options[@]}"}
        exec 5<>"$LATCH"
        curl -s -m 20 -o "$answer" "$url/wait" 3>&- & client=$!
        eventually arrived 1
        kill -TERM "$server_pid"
        echo >&5
        wait_for "$client"
        ends_well
        [ "$(cat "$answer")" = "done" ]
        returned '0, .*'
        rm "$LATCH.arrived" "$stdout"
    done
}

@test "leaves the program its signal handlers when serve() has returned" {
    for options in "workers=0" "no_fork=True"; do
        start_program "$options"
        stop_server
        returned '0, handlers back True, .*'
        rm "$stdout"
    done
}

@test "leaves the program no descriptor more when serve() has returned" {
    for options in "workers=0" "no_fork=True"; do
        start_program "$options" "access_log='$BATS_TEST_TMPDIR/log'"
        curl -s -m 10 -o /dev/null "$url"
        stop_server
        returned '.*, open 0'
        rm "$stdout"
    done
}

@test "takes the options of the command line by their names: lists, numbers, True, False and None" {
    path="$BATS_TEST_TMPDIR/socket"
    "$PYTHON" "$BATS_TEST_DIRNAME/apps/calls_serve.py" "bind=['127.0.0.1:0', 'unix:$path']" workers=2 preload=False \
        verbose=True certfile=None "access_log='$BATS_TEST_TMPDIR/log'" "root_path='/root'" >"$answer" 2>"$answer.err" 3>&- 4>&- & server_pid=$!
    eventually grep -q '^Serving HTTP on port .*, unix:' "$answer"
    port=$(sed -n 's/^Serving HTTP on port \([0-9]*\),.*/\1/p' "$answer")
    curl -sf -m 10 -o /dev/null "http://127.0.0.1:$port/root/a"
    curl -sf -m 10 -o /dev/null --unix-socket "$path" http://a/root/b
    curl -s -m 10 -o /dev/null "http://127.0.0.1:$port/c"
    has_children 2
    eventually three_logged
    grep -q '(RFC 9110 15\.5\.5) 404$' "$answer.err"
}

three_logged() {
    [ "$(grep -c . "$BATS_TEST_TMPDIR/log")" -eq 3 ]
}

@test "raises ConfigError from serve() for what it cannot do" {
    quietly <<'END'
import sys, webserver
wrong = [{"nonsense": 1}, {"workers": "x"}, {"bind": "x"}, {"bind": ["127.0.0.1:0", "192.0.2.1:0"]}, {"keep_alive": -1},
         {"no_fork": "yes"}, {"threads": 2}, {"keep_alive": True}, {"reload": True}]
for options in wrong:
    try:
        webserver.serve(called.app, **{"bind": "127.0.0.1:0", **options})
    except webserver.ConfigError as error:
        assert "\n" not in str(error) and str(error)
    else:
        sys.exit(f"It took {options}.")
END
}

@test "returns 2 from serve(), after one line each, where its Server cannot use a file" {
    program "$BATS_TEST_TMPDIR/none/file" <<'END'
import sys, webserver
for option in "access_log", "certfile":
    assert webserver.serve(called.app, bind="127.0.0.1:0", **{option: sys.argv[1]}) == 2
END
    [ "$(grep -c -e '^webserver.py: .*none/file' "$stderr")" -eq 2 ]
    [ "$(grep -c '' "$stderr")" -eq 2 ]
}

@test "raises from serve() for an application that is not callable" {
    quietly <<'END'
import sys, webserver
for wrong in 42, object():
    try:
        webserver.serve(wrong, bind="192.0.2.1:0")
    except (webserver.ConfigError, TypeError) as error:
        assert "192.0.2.1" not in str(error), error
    else:
        sys.exit(f"It served {wrong}.")
END
}

@test "serves an application that is false" {
    cat >"$BATS_TEST_TMPDIR/false.py" <<'END'
import latch, webserver
class App(list):
    __call__ = staticmethod(latch.app)
webserver.serve(App(), bind="127.0.0.1:0")
END
    WEBSERVER="$BATS_TEST_TMPDIR/false.py" start_server
    [ "$(curl -s -m 10 "$url")" = "done" ]
}

@test "raises from serve() in a thread that is not the main one, and leaves nothing open" {
    for options in "" "workers=1" "no_fork=True"; do
        program <<END
import webserver
raised = []
def serve():
    try:
        webserver.serve(called.app, bind="127.0.0.1:0", $options)
    except ValueError as error:
        raised.append(str(error))
before = called.descriptors()
called.start(serve).join()
assert len(raised) == 1 and called.descriptors() == before, raised
END
    done
}

@test "returns from serve() into a program that has threads" {
    cat >"$BATS_TEST_TMPDIR/threads_too.py" <<'END'
import called, threading, webserver
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("returned", webserver.serve(called.app, bind="127.0.0.1:0"))
END
    WEBSERVER="$BATS_TEST_TMPDIR/threads_too.py" start_server
    stop_server
    returned 0
}

# serving_by EXPRESSION  starts a program in $folder that calls serve() so, of its own module program.
serving_by() {
    printf '%s\n' 'import webserver' 'from says import says' 'app = says("object")' 'if __name__ == "__main__":' "    $1" >"$folder/program.py"
    WEBSERVER=program.py start_server
}

@test "imports the application anew on HUP where serve() is given its name" {
    own_folder
    app_is 'app = says("one")'
    serving_by "webserver.serve('app:app', bind='127.0.0.1:0')"
    answers one
    app_is 'app = says("two")'
    renew
    eventually answers two
    stop_server
    [ ! -s "$stderr" ]
}

# It cannot be imported again; its workers, certificates and logs are renewed all the same.
@test "goes on with the application on HUP where serve() is given an object, and logs that" {
    own_folder
    for options in "" ", workers=2"; do
        : >"$stderr"
        serving_by "webserver.serve(app, bind='127.0.0.1:0', access_log='log'$options)"
        answers object
        before=$(the_server)
        mv "$folder/log" "$folder/log.old"
        renew
        eventually rests_with "${options##*=}"
        [ "$(the_server)" != "$before" ]
        answers object
        eventually test -s "$folder/log"
        [ "$(grep -c '' "$stderr")" -eq 1 ]
        stop_server
    done
}

rests_with() {
    the_server >/dev/null && has_children "${1:-0}"
}

@test "refuses reload where serve() is given an object" {
    quietly <<'END'
import webserver
try:
    webserver.serve(called.app, bind="127.0.0.1:0", reload=True)
    raise SystemExit("It serves.")
except webserver.ConfigError as error:
    assert "reload" in str(error)
END
}

@test "leaves the program the exit statuses of its own children" {
    cat >"$BATS_TEST_TMPDIR/children_too.py" <<'END'
import ast, subprocess, sys, called, webserver
children = [subprocess.Popen(["sh", "-c", f"exit {status}"]) for status in (7, 8)]
*_, options = map(ast.literal_eval, sys.argv[3:])
print("returned", webserver.serve(called.app, bind="127.0.0.1:0", **options), [child.wait() for child in children])
END
    for options in '{}' '{"no_fork":True}'; do
        WEBSERVER="$BATS_TEST_TMPDIR/children_too.py" start_server "$options"
        curl -sf -m 10 -o /dev/null "$url"
        stop_server
        returned '0 \[7, 8\]'
        rm "$stdout"
    done
}

@test "serves in the calling thread, with no process, no thread and no signal handler more" {
    quietly <<'END'
import os, signal, threading
handlers = [signal.getsignal(signum) for signum in (1, 2, 10, 15, signal.SIGCHLD)]
seen = []
def app(environ, start_response):
    seen.append((threading.current_thread(), os.getpid(), threading.active_count()))
    return called.app(environ, start_response)
with called.make(app) as server, called.serving(server):
    *_, thread = threading.enumerate()
    assert called.ask(server, "/path") == (200, "/path")
    assert seen == [(thread, os.getpid(), 2)], seen
assert handlers == [signal.getsignal(signum) for signum in (1, 2, 10, 15, signal.SIGCHLD)]
assert signal.set_wakeup_fd(-1) == -1
END
}

@test "has the attributes of wsgiref's server" {
    quietly <<'END'
with called.make() as server:
    assert server.server_port == server.server_address[1] == server.socket.getsockname()[1] > 0
    assert server.server_name == server.server_address[0] == "127.0.0.1" and server.fileno() == server.socket.fileno()
END
}

@test "serves again when serve_forever() is called after shutdown()" {
    quietly <<'END'
with called.make() as server:
    for _ in range(3):
        with called.serving(server):
            assert called.ask(server) == (200, "/")
END
}

@test "waits in shutdown() until serve_forever() has returned, also after a KeyboardInterrupt" {
    quietly <<'END'
import signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
inside, leave = threading.Event(), threading.Event()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/held":
        inside.set(), leave.wait()
    return called.app(environ, start_response)
with called.make(app) as server:
    called.interrupted(server)
    serving, asking = called.start(server.serve_forever), called.start(lambda: called.ask(server, "/held"))
    inside.wait()
    stopping = called.start(server.shutdown)
    stopping.join(0.2)
    assert stopping.is_alive()
    leave.set()
    stopping.join()
    serving.join(5)
    assert not serving.is_alive()
END
}

@test "returns from each shutdown(), of several at once and of one too many" {
    quietly <<'END'
with called.make() as server:
    with called.serving(server):
        called.ask(server)
        for thread in [called.start(server.shutdown) for _ in range(3)]:
            thread.join()
    server.serve_forever()  # returns at once, for the one too many, as the standard library's does
    with called.serving(server):
        assert called.ask(server) == (200, "/")
        assert called.ask(server) == (200, "/")
END
}

@test "does not serve where shutdown() came before serve_forever() had begun, at each use" {
    quietly <<'END'
with called.make() as server:
    for _ in range(3):
        server.shutdown()
        server.serve_forever()
        with called.serving(server):
            assert called.ask(server) == (200, "/")
server.serve_forever()
END
}

@test "serves one connection in handle_request()" {
    quietly <<'END'
with called.make() as server:
    for path in "/one", "/two":
        one = called.start(server.handle_request)
        assert called.ask(server, path) == (200, path)
        one.join(5)
        assert not one.is_alive()
END
}

@test "serves a new connection in handle_request() although another one is open" {
    quietly <<'END'
with called.make() as server:
    with called.socket.create_connection(server.server_address, 5) as idle:
        with called.serving(server):
            idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert idle.recv(100)
        called.start(server.handle_request)
        assert called.ask(server, "/new") == (200, "/new")
END
}

@test "is closed by the application and by another thread at once" {
    quietly <<'END'
import time
def app(environ, start_response):
    called.app(environ, start_response)
    time.sleep(0.2)
    server.server_close()
    return [b"done"]
with called.make(app) as server:
    thread = called.start(server.serve_forever)
    client = called.socket.create_connection(server.server_address)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.1)
thread.join(5)
assert not thread.is_alive()
END
}

@test "serves one of several connections that wait in each handle_request()" {
    quietly <<'END'
with called.make() as server:
    clients = [called.socket.create_connection(server.server_address, 5) for _ in range(3)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    for client in clients:
        server.handle_request()
        assert client.recv(100).startswith(b"HTTP/1.1 200")
END
}

@test "frees its port, and refuses connections, when the server is closed" {
    quietly <<'END'
with called.make() as server, called.serving(server):
    idle = called.socket.create_connection(server.server_address)
    idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert idle.recv(100)
while idle.recv(100):
    pass
assert called.socket.socket().connect_ex(server.server_address)
with called.make(port=server.server_port) as again, called.serving(again):
    assert called.ask(again) == (200, "/")
END
}

# A second server_close() must not close descriptors that are somebody else's by then.
@test "can be closed twice" {
    quietly <<'END'
import os
with called.make() as server:
    server.server_close()
    others = [os.dup(0) for _ in range(20)]
    server.server_close()
assert all(os.fstat(other) for other in others)
END
}

@test "leaves no descriptor open after fifty servers" {
    quietly <<'END'
before = called.descriptors()
for _ in range(50):
    called.make().server_close()
for _ in range(5):
    with called.make() as server, called.serving(server):
        silent = called.socket.create_connection(server.server_address)
        called.ask(server)
    silent.close()
assert called.descriptors() == before
END
}

@test "returns from serve_forever() when the server is closed, by another thread or by the application" {
    quietly <<'END'
def app(environ, start_response):
    called.app(environ, start_response)
    if environ["PATH_INFO"] == "/close":
        server.server_close()
    return [b"done"]
with called.make(app) as server:
    thread = called.start(server.serve_forever)
    assert called.ask(server) == (200, "done")
thread.join(5)
assert not thread.is_alive()
with called.make(app) as server:
    thread = called.start(server.serve_forever)
    client = called.socket.create_connection(server.server_address)
    client.sendall(b"GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
    thread.join(5)
    assert not thread.is_alive()
END
}

# As in a worker that is full for a moment, and again later. Each of the two seconds is for one such time.
@test "answers what a client has pipelined although the server was full before" {
    quietly <<'END'
import time
def app(environ, start_response):
    called.app(environ, start_response)
    server.context.full = environ["PATH_INFO"] == "/full"
    return [environ["PATH_INFO"].encode()]
ask = b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in (b"/full", b"/free"))
with called.make(app) as server, called.serving(server):
    with called.socket.create_connection(server.server_address, 5) as client:
        for _ in range(2):
            client.sendall(ask)
            answer = b""
            while answer.count(b"/f") < 2:
                part = client.recv(9999)
                assert part, answer
                answer += part
            time.sleep(2.1)
END
}

@test "runs two servers in one process" {
    quietly <<'END'
def other(environ, start_response):
    start_response("201 Created", [])
    return [b"other"]
with called.make() as one, called.make(other) as two, called.serving(one), called.serving(two):
    for _ in range(20):
        assert called.ask(one) == (200, "/")
        assert called.ask(two) == (201, "other")
END
}

@test "lets no slow client hold up another" {
    quietly <<'END'
parts = b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
def app(environ, start_response):
    called.app(environ, start_response)
    return [b"x" * 30000000] if environ["PATH_INFO"] == "/large" else [b"done"]
with called.make(app) as server, called.serving(server):
    for part in [*parts, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n"] * 5:
        client = called.socket.create_connection(server.server_address)
        client.sendall(part)
        parts = (*parts, client)  # open
    for _ in range(3):
        assert called.ask(server) == (200, "done")
END
}

@test "answers 500 where the application fails, logs it, and goes on" {
    program <<'END'
def app(environ, start_response):
    called.app(environ, start_response)
    return [str(1 / len(environ["PATH_INFO"][1:])).encode()]
with called.make(app) as server, called.serving(server):
    status, body = called.ask(server, "/")
    assert status == 500 and body.startswith("500 Internal Server Error"), body
    assert called.ask(server, "/a") == (200, "1.0")
END
    grep -q -E '^[-0-9]{10} [:0-9]{8} \[[0-9]+\] (error: )?GET / HTTP/1\.1 failed \([0-9a-f]+\)$' "$stderr"
    [ "$(grep -c '^  ZeroDivisionError' "$stderr")" -eq 1 ]
}

@test "logs nothing when it is closed in the middle of a response" {
    quietly <<'END'
import gc
closed = []
class Endless:
    def __iter__(self):
        return iter(lambda: b"x" * 65536, None)
    def close(self):
        closed.append(True)
def app(environ, start_response):
    start_response("200 OK", [])
    return Endless()
with called.make(app) as server, called.serving(server):
    client = called.socket.create_connection(server.server_address)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.recv(100)
del server
gc.collect()
assert closed == [True]
END
}

@test "lets KeyboardInterrupt out of serve_forever(), and serves again" {
    quietly <<'END'
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
with called.make() as server:
    called.interrupted(server)
    with called.serving(server):
        assert called.ask(server) == (200, "/")
END
}

# Ctrl-C comes when a request is served as soon as when none is.
@test "lets KeyboardInterrupt out of serve_forever() also where the application was interrupted" {
    quietly <<'END'
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def app(environ, start_response):
    os.kill(os.getpid(), signal.SIGINT)
    return called.app(environ, start_response)
with called.make(app) as server:
    client = called.socket.create_connection(server.server_address)
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        server.serve_forever()
        raise SystemExit("It came not out.")
    except KeyboardInterrupt:
        pass
END
}

@test "raises ConfigError from make_server() where it cannot listen" {
    quietly <<'END'
import webserver
with called.make() as server:
    for host, port in ("127.0.0.1", server.server_port), ("192.0.2.1", 0), ("127.0.0.1", 65536):
        try:
            webserver.make_server(host, port, called.app)
            raise SystemExit(f"It took {host}:{port}.")
        except webserver.ConfigError as error:
            assert str(port) in str(error)
END
}

@test "listens on every address for an empty host, and on an address of IPv6" {
    quietly <<'END'
import webserver
with webserver.make_server("", 0, called.app) as server, called.serving(server):
    assert called.ask(server) == (200, "/") and server.server_name
try:
    called.socket.create_server(("::1", 0), family=called.socket.AF_INET6).close()
except OSError:
    raise SystemExit
with webserver.make_server("::1", 0, called.app) as server:
    assert server.server_address[0] == "::1"
END
}

@test "serves, and is imported, under another name" {
    mkdir "$BATS_TEST_TMPDIR/alone"
    cp "$original" "$BATS_TEST_TMPDIR/alone/my_server.py"
    rm "$BATS_TEST_TMPDIR"/webserver.py*
    WEBSERVER="$BATS_TEST_TMPDIR/alone/my_server.py" start_server --workers 1 latch:app
    [ "$(curl -s -m 10 "$url")" = "done" ]
    PYTHONPATH="$BATS_TEST_TMPDIR/alone" "$PYTHON" - <<'END'
import sys
import my_server
with my_server.make_server("127.0.0.1", 0, my_server.hello) as server:
    assert server.server_port and "webserver" not in sys.modules
try:
    my_server.serve(my_server.hello, nonsense=1)
except my_server.ConfigError:
    pass
END
}

# -S, for what is installed beside this Python may import these.
@test "imports nothing that most programs do without" {
    "$PYTHON" -S - <<'END'
import sys
heavy = "ssl argparse json threading tempfile ipaddress subprocess asyncio logging random traceback email http"
assert not {*heavy.split()} & {*sys.modules}, "Python imports them."
import webserver
assert not {*heavy.split()} & {*sys.modules}, {*heavy.split()} & {*sys.modules}
END
}

@test "is imported in 40 ms or so" {
    for _ in 1 2 3 4 5; do "$PYTHON" -X importtime -c 'import webserver' 2>>"$answer"; done
    awk -F '|' '$3 ~ /^ *webserver$/ && (!least || $2 + 0 < least) { least = $2 + 0 } END { print least; exit !(least && least < 300000) }' "$answer"
}

@test "starts nothing when it is imported" {
    "$PYTHON" - <<'END'
import faulthandler, os, signal, sys, threading
def state():
    spare = os.dup(0)
    os.close(spare)
    return spare, threading.active_count(), [signal.getsignal(signum) for signum in range(1, 32)], os.environ.copy(), sys.stdout, sys.path[:], os.getcwd()
before = state()
import webserver
assert state() == before
assert signal.set_wakeup_fd(-1) == -1 and not faulthandler.is_enabled()
END
}
