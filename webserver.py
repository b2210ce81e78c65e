#!/usr/bin/env python3
"""A concurrent HTTP/1.1 and WSGI server in one file, with nothing to install.

    python webserver.py                      answer every request with `Hello, World!`
    python webserver.py --app module:app     serve a WSGI application, a process per connection
    python webserver.py --workers 2 ...      serve from two processes, each with many connections

The file tells two stories, each once, in the order in which things happen.

    Data    bytes -> head -> request -> body -> environ -> application -> response -> bytes
    Life    listen -> accept -> fork -> serve -> reap -> drain

A connection is one *conversation*: a generator that reads straight down and never blocks; see "The
contract of a conversation" below. The processes that run conversations:

    Supervisor     opens the listeners, forks a Server, and another one on HUP; knows no HTTP
      Server       forks and reaps children; a ForkServer accepts, a PreforkServer has workers accept
        Worker     runs them on an event loop: one in a child of a ForkServer (the default), many in a
                   child of a PreforkServer (--workers), which may call in a ThreadPool (--threads)

With --no-fork and in make_server() a Worker serves alone. The words are those of RFC 9110, RFC 9112 and
PEP 3333; a line of dashes begins each part of the file.
"""

from __future__ import annotations

import _signal  # type: ignore  # signal.signal also looks up enums: 45 page faults in a child
import atexit
import contextvars
import errno
import faulthandler
import functools
import gc
import io
import mmap
import os
import re
import select
import signal
import socket
import stat
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, Callable, Dict, Generator, Iterable, Iterator, List, NoReturn
    from typing import Optional, Sequence, Set, Tuple, Type, TypeVar, Union

    T = TypeVar("T")
    ConnectionOwner = Union["ForkServer", "Worker"]
    Steps = Generator[Tuple[Any, Any], Any, T]  # a part of a conversation, returning T
    Environ = Dict[str, Any]
    ExcInfo = Tuple[Type[BaseException], BaseException, TracebackType]
    Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

__version__ = "2.0"


# ---- limits: every number, with its unit in its name and its reason beside it -----------------


class Limits:
    """What a client may ask of the server. The options of the command line are an instance."""

    # What a client may send.
    request_line_bytes = 8192  # RFC 9112 3 asks for 8000 at least
    field_line_bytes = 16384  # four cookies of 4096 bytes, as browsers keep them
    head_bytes = 65536  # the request-line and all field lines
    fields = 128  # browsers send 20, proxies add 10
    body_bytes = 1 << 30  # a disk image passes
    chunks = 1 << 20  # a chunk costs work whatever its size
    chunk_line_bytes = 1024  # a chunk-size with its extensions
    blank_lines = 4  # RFC 9112 2.2 asks for one before a request-line
    memory_bytes = 1 << 20  # a larger body is kept in a temporary file

    # How long it may take.
    header_timeout_s = 10.0  # for a whole head, in however many pieces
    keep_alive_s = 5.0  # for the next request on an idle connection
    stall_timeout_s = 10.0  # for a body to be behind the rate below
    send_timeout_s = 60.0  # for a reader to be behind it: its window opens in large steps
    rate_bytes_per_s = 1024  # slower than a modem is an attack
    linger_s = 2.0  # for a client to read the response to a refused request
    linger_bytes = 1 << 20  # received and discarded meanwhile

    # How much of the machine.
    max_children = 256  # processes of 10 MB each, and what the application takes
    connections = 1 << 20  # of a process, where its descriptors allow so many
    backlog = 2048  # connections that wait in the kernel, which has a ceiling of its own
    timeout_s = 0.0  # for one call into the application; 0 means no limit
    graceful_timeout_s = 30.0  # for requests in flight when the server is told to stop
    drain_delay_s = 0.0  # before that, for load balancers to look away
    retry_delay_s = 0.1  # until the system is asked again for what it refused
    time_slice_s = 0.005  # for one connection, before others have their turn
    keep_alive_grace_s = 0.02  # an idle connection is not evicted before: its next request may be on its way
    eviction_grace_s = 0.25  # any other is not closed before: its next bytes may be on their way
    accept_pause_s = 0.005  # a worker with more connections than another leaves new ones to it so long
    stuck_call_s = 0.02  # a worker in a call for so long takes no connection soon
    block_bytes = 32768  # of one read: glibc trims its heap when it frees twice as much
    unsent_bytes = 65536  # in the kernel, for one client
    cached_lines = 512  # field lines: nearly all that a browser sends come again
    cached_line_bytes = 256  # the longest of them: clients must not fill the memory
    cached_requests = 512  # of 8 kB each, for each listener in a process
    cached_head_bytes = 2048  # the longest head of a cached request; browsers send 1000
    cached_request_s = 60.0  # all are forgotten at the next new head: they have cookies and credentials
    cached_response_heads = 1024


# ---- errors: what ends an exchange, a connection or the program -------------------------------

REASONS = {
    400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 413: "Content Too Large",
    414: "URI Too Long", 417: "Expectation Failed", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 505: "HTTP Version Not Supported",
}  # fmt: skip
LIMIT_CLAUSES = {400: "9112 7.1.1", 413: "9110 15.5.14", 414: "9110 15.5.15", 431: "6585 5"}


class HTTPError(Exception):
    """Refuse a request: a status, the rule that was broken with its clause, and the offending part."""

    def __init__(self, status: int, rule: str, part: str = "") -> None:
        super().__init__(status, rule)
        self.status = status
        self.rule = rule + (": " + ascii(part[:60]) if part else "")


def limit_error(status: int, what: str, limit: float, unit: str = "bytes") -> HTTPError:
    """Return the refusal of what exceeds a limit."""
    return HTTPError(status, f"{what} exceeds {limit:.15g} {unit} (RFC {LIMIT_CLAUSES[status]})")


class ClientDisconnected(Exception):
    """The connection cannot be used any more: it was reset, closed too early, or is too slow."""


class ConfigError(Exception):
    """The command line asks for what is not possible: one line on stderr, and exit status 2; 1 for
    --check-config."""


# ---- grammar: RFC 9110, RFC 9112 and RFC 3986 as regular expressions --------------------------

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = r"[\t\x20-\x7e\x80-\xff]*"  # field-value with its OWS; obs-text is kept as latin-1
TARGET = r"[\x21\x22\x24-\x7e]+"  # visible ASCII; a fragment is never sent (RFC 9112 3.2)
AUTHORITY = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::[0-9]*)?"  # no userinfo

REQUEST_LINE = re.compile(rf"({TOKEN}) ({TARGET}) HTTP/1\.([0-9])")
FIELD_LINE = re.compile(rf"({TOKEN}):({VALUE})")
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
ABSOLUTE = re.compile(rf"(https?)://({AUTHORITY})(/[^?]*|)(\?.*|)", re.IGNORECASE)
AUTHORITY_FORM = re.compile(rf"(?=.*:[0-9]+\Z){AUTHORITY}")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
DIGITS = re.compile(r"[0-9]+")
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
EXTENSION = rf"[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|{QUOTED}))?"
CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]+)(?:{EXTENSION})*\r\n".encode("latin-1"))
STATUS = re.compile(rf"[2-5][0-9][0-9] {VALUE}")
FIELD_NAME = re.compile(TOKEN)
FIELD_VALUE = re.compile(VALUE)

# Wrong anywhere in a line, and refused before the line is whole. A bare LF or CR ends a line for some parsers
# and not for others: two readings of one request, and between them a smuggled one.
BARE_LF, BARE_CR, CONTROL = r"(?<!\r)\n", r"\r(?=[^\n])", r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
FORBIDDEN_OCTETS = re.compile(f"{BARE_LF}|{BARE_CR}|{CONTROL}".encode())

# Why a head is malformed, most telling first: what to search for, the status, the rule.
HEAD_FAULTS = (
    (r"\A\r\n", 400, "too many empty lines before the request-line (RFC 9112 2.2)"),
    (BARE_LF, 400, "a line ends in CRLF, not in a bare LF (RFC 9112 2.2)"),
    (BARE_CR, 400, "a CR is followed by a LF (RFC 9112 2.2)"),
    (CONTROL, 400, "a head has no control characters (RFC 9110 5.5)"),
    (r"\A[^\r]* HTTP/[02-9]\.[0-9]\r", 505, "the major version is 1 (RFC 9110 15.6.6)"),
    (rf"\A(?!{TOKEN} )[^ \r]*", 400, "a method is a token, and one space follows (RFC 9112 3)"),
    (r"\A[^ ]+ [^ \r]*#[^ \r]*", 400, "a request-target has no fragment (RFC 9112 3.2)"),
    (rf"\A[^ ]+ (?!{TARGET} )[^\r]*", 400, "a request-target is visible ASCII, then one space (RFC 9112 3)"),
    (r"\A(?!.* HTTP/1\.[0-9]\r)[^\r]*", 400, "a request-line ends in a version, as HTTP/1.1 (RFC 9112 3)"),
    (r"\A[^ ]+ [^ ]+ [^\r]* [^\r]*", 400, "a request-line has two spaces (RFC 9112 3)"),
    (r"(?<=\n)[ \t][^\r]*", 400, "a field line is not folded (RFC 9112 5.2)"),
    (r"(?<=\n)[^:\r\n]*(?<=[ \t]):", 400, "there is no space before the colon (RFC 9112 5.1)"),
    (rf"(?<=\n)(?!{TOKEN}:)[^\r\n]+", 400, "a field line is a token, a colon and a value (RFC 9112 5)"),
)


def explain_bad_head(head: Union[bytes, bytearray]) -> HTTPError:
    """Return the refusal that names the rule which a head, or its beginning, breaks."""
    text = head.decode("latin-1")
    for pattern, status, rule in HEAD_FAULTS:
        found = re.search(pattern, text)
        if found:
            return HTTPError(status, rule, found.group())
    return HTTPError(400, "not a request (RFC 9112 2.1)", text)


# ---- transport: the socket, tried first and waited for by yielding ----------------------------

# The contract of a conversation
#
# A conversation is a generator. It yields what it needs, and its runner resumes it when that is there:
#
#     (state, timeout)   wait until the socket can be read, in WRITE until it can be written. The runner sends
#                        True when it is ready, False after `timeout` seconds or when the connection is
#                        evicted. It may send True too early: every call is tried again.
#     (IN_APP, act)      call act() in a thread; send what it returned, throw what it raised
#     (TURN, None)       resume after others have had their turn
#
# Its runner is a Task in a Worker, which sets two hooks of the connection: `call`, which calls the
# application in place (None: yield IN_APP), and `release`, called when the calls for a request are over, so
# that its thread is free.
# When the connection is lost, calls go on, so that the iterable's close() is called (PEP 3333).

# The states, in the order in which an evicting server prefers them. In the first two nothing has arrived, and
# in LINGER the response is sent.
KEEP_ALIVE, FIRST_BYTE, LINGER, READ_HEAD, READ_BODY, WRITE, IN_APP, TURN = range(1, 9)
STATE_NAMES = ["", "idle", "waiting for a first byte", "closing", "reading a head", "reading a body"]
STATE_NAMES += ["writing", "in the application"]
STATE_LIMITS = ["", "keep_alive_s", "header_timeout_s", "linger_s", "header_timeout_s", "stall_timeout_s"]
STATE_LIMITS += ["send_timeout_s"]
NO_EVENTS, READABLE, WRITABLE = 0, select.POLLIN, select.POLLOUT  # epoll has the same numbers

NEVER = float("inf")
DONTWAIT = socket.MSG_DONTWAIT
RECORD_BYTES = 16384  # of TLS (RFC 8446 5.1): of a longer write nothing counts as sent before all of it is
LINGER_OFF, LINGER_RESET = struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)  # struct linger


def grace_left(limits: Limits, state: int, timeout: float) -> float:
    """Return the seconds until a connection may be evicted that has `timeout` seconds left in `state`: until
    it has used up its grace, which is the first part of the time that it is allowed."""
    allowed_s: float = getattr(limits, STATE_LIMITS[state])
    grace_s = limits.keep_alive_grace_s if state == KEEP_ALIVE else limits.eviction_grace_s
    return timeout - allowed_s + grace_s


class Connection:
    """A client's socket, and in `buffer` what was received and is not used yet."""

    def __init__(self, sock: socket.socket, peer: Any, listener: Listener, context: ServerContext) -> None:
        self.sock: Any = sock
        # A peer of AF_UNIX has no address.
        self.peer = (normalize_ip(peer[0]) or peer[0], str(peer[1])) if type(peer) is tuple else ("", "")
        self.trusted: bool = context.trusted.includes(self.peer[0] or "unix")
        self.listener = listener
        self.request_cache = listener.request_caches[self.trusted]
        self.context = context
        self.limits = context.limits
        self.buffer: Any = b""  # bytes, and a bytearray while a head or a body is taken from it in pieces
        self.head: Union[bytes, bytearray] = b""  # the last one
        self.request: Optional[Request] = None  # made of it; None while one is read
        self.since = 0.0  # the beginning of an exchange, where it is logged
        self.sent = 0  # bytes of a response that the kernel has taken
        self.deadline = NEVER  # of what is received or sent
        self.drain_deadline = NEVER  # for pipelined requests, when the server is closing
        self.turn_ends = 0.0
        self.client_text: Tuple[Any, bytes] = (None, b"")  # a request, and what the scoreboard shows of it
        self.secure = False  # TLS is on
        self.wanted = NO_EVENTS  # what TLS waits for
        self.call: Any = None  # set by the runner, as release
        self.release: Any = None

    def client(self) -> str:
        """Return the client's address for logs, as far as it is known."""
        return ((self.request and self.request.client) or self.peer)[0] or "unix"

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a call on the socket returns, None where it would block. Raises ClientDisconnected."""
        self.wanted = NO_EVENTS
        try:
            return call(*arguments)
        except OSError as error:
            return self.would_block(error)

    def would_block(self, error: OSError) -> Any:
        """Return None where a call on the socket would block, and note what TLS waits for then; else raise
        ClientDisconnected."""
        if isinstance(error, BlockingIOError):
            return None
        if self.secure:
            import ssl

            if isinstance(error, (ssl.SSLWantReadError, ssl.SSLWantWriteError)):
                self.wanted = READABLE if isinstance(error, ssl.SSLWantReadError) else WRITABLE
                return None
        raise ClientDisconnected from error

    def retry(self, state: int, call: Callable[..., Any], *arguments: Any) -> Steps[Any]:
        """Return what a call on the socket returns in the end. Raises TimeoutError, ClientDisconnected."""
        ready = True
        while True:  # once more after the deadline too, so that bytes which are there are not lost
            result = self.attempt(call, *arguments)
            if result is not None:
                return result
            if not ready:
                raise TimeoutError
            ready = yield state, self.deadline - time.monotonic()

    def peek(self, count: int) -> bytes:
        """Receive, below TLS, what stays there."""
        return socket.socket.recv(self.sock, count, socket.MSG_PEEK)

    def receive(self, state: int) -> Steps[None]:
        """Add what arrives to the buffer. Raises TimeoutError, and ClientDisconnected also at the end."""
        yield from self.yield_turn()
        started = self.head or self.buffer
        data = yield from self.retry(state if started else FIRST_BYTE, self.sock.recv, Limits.block_bytes)
        if not data:
            raise ClientDisconnected
        self.buffer += data
        if state == READ_BODY:  # a head has no more time for each byte
            self.extend_deadline(self.limits.stall_timeout_s, len(data))

    def take_line(self, state: int, malformed: Any, limit: int, too_long: HTTPError) -> Steps[bytearray]:
        """Take a line of at most `limit` bytes and its CRLF from the buffer. What no line may have is refused
        before it is whole, by what `malformed` makes of it. Raises HTTPError, and as receive() does."""
        buffer, limit, searched = self.buffer, limit + 2, 0
        while True:
            end = buffer.find(b"\n", searched, limit) + 1
            if end:
                line: bytearray = buffer[:end]
                if not line.endswith(b"\r\n"):
                    raise malformed(line)
                del buffer[:end]
                return line
            size = min(limit, len(buffer))
            if FORBIDDEN_OCTETS.search(buffer, max(0, searched - 1), size):
                raise malformed(buffer[:size])
            if size == limit:
                raise too_long
            searched = size
            yield from self.receive(state)

    def send_now(self, data: Union[bytes, memoryview]) -> int:
        """Send what the socket takes at once; return how many bytes that is. Raises ClientDisconnected."""
        if self.secure:
            data = data[:RECORD_BYTES]
        self.wanted = NO_EVENTS
        try:  # without attempt(): each request pays for a call
            sent: int = self.sock.send(data)
        except OSError as error:
            sent = self.would_block(error) or 0
        self.sent += sent
        return sent

    def send(self, data: Union[bytes, memoryview]) -> Steps[None]:
        """Send `data`. Raises ClientDisconnected."""
        sent = self.send_now(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            yield from self.transfer(len(rest), lambda done: self.send_now(rest[done:]))

    def send_file(self, file: int, offset: int, count: int) -> Steps[int]:
        """Have the kernel send `count` bytes of a regular file; return how many it has sent: fewer where it
        refuses, as a sandbox, FUSE and some file systems do. Raises ClientDisconnected, EOFError."""
        before = self.sent

        def send_part(done: int) -> int:
            try:
                sent = os.sendfile(self.sock.fileno(), file, offset + done, count - done)
            except BlockingIOError:
                return 0
            except ConnectionError as error:
                raise ClientDisconnected from error
            if not sent:
                raise EOFError("the file became shorter while it was sent")
            self.sent += sent
            return sent

        try:
            yield from self.transfer(count, send_part)
        except OSError:  # ENOSYS, EPERM, EINVAL, ...
            pass
        return self.sent - before

    def transfer(self, count: int, send_part: Callable[[int], int]) -> Steps[None]:
        """Send `count` bytes at the client's pace. `send_part` takes how many are sent, and returns how many
        more it sent at once. Raises ClientDisconnected, also for a client that is too slow."""
        done, stall_s = 0, self.limits.send_timeout_s
        self.deadline = time.monotonic() + stall_s
        while done < count:
            sent = send_part(done)
            if sent:
                done += sent
                self.extend_deadline(stall_s, sent)
                yield from self.yield_turn()
            elif not (yield WRITE, self.deadline - time.monotonic()):
                raise ClientDisconnected

    def extend_deadline(self, stall_s: float, moved: int) -> None:
        """Give a transfer more time for each byte that was moved, but no more than a stall from now."""
        most = time.monotonic() + stall_s
        self.deadline = min(most, self.deadline + moved / self.limits.rate_bytes_per_s)

    def yield_turn(self) -> Steps[None]:
        """Give other connections their turn, where this one has used up its time."""
        if time.monotonic() >= self.turn_ends:
            yield TURN, None
            self.turn_ends = time.monotonic() + self.limits.time_slice_s

    def is_last_response(self, now: float) -> bool:
        """Return whether the server closes the connection after this response. `now` is time.time()."""
        context, flags = self.context, self.context.flags
        if now >= context.next_orphan_check:  # its loop sees the end of the channel only after this request
            context.next_orphan_check = now + Limits.time_slice_s
            context.closing = context.closing or os.getppid() != context.server_pid
        if not (context.closing or context.full or flags[CLOSING] or flags[FULL]):
            self.drain_deadline = NEVER
            return False
        # Requests that are in the socket already are answered, for two seconds: closing with unread bytes
        # would reset the connection, and lose them.
        self.buffer = self.buffer or self.attempt(self.sock.recv, Limits.block_bytes) or b""
        tick = time.monotonic()
        self.drain_deadline = min(self.drain_deadline, tick + self.limits.linger_s)
        return not self.buffer or tick > self.drain_deadline

    def set_reset(self, on: bool) -> None:
        """Have close() reset the connection: a response that is cut short must not pass for a whole one."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET if on else LINGER_OFF)
        except OSError:  # the client has reset it
            pass

    def end_sending(self) -> None:
        """Say that this was all, in TLS by close_notify (RFC 8446 6.1)."""
        try:
            if self.secure:
                self.secure = False
                self.sock.unwrap()
        except (OSError, ValueError):  # it would wait for an answer
            pass
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the client has left
            pass

    def lingering_close(self) -> Steps[None]:
        """End sending, then discard what arrives for a while: closing with unread bytes would reset the
        connection, and the reset can overtake the response (RFC 9112 9.6)."""
        self.deadline, discarded = time.monotonic() + self.limits.linger_s, 0
        self.end_sending()
        try:
            while discarded < self.limits.linger_bytes:
                data = yield from self.retry(LINGER, self.sock.recv, Limits.block_bytes)
                if not data:
                    return
                discarded += len(data)
        except (ClientDisconnected, TimeoutError):
            return

    def start_tls(self) -> Steps[None]:
        """Put TLS below the conversation. Raises ClientDisconnected, TimeoutError, HTTPError."""
        import ssl

        self.deadline = time.monotonic() + self.limits.header_timeout_s
        # Before anything waits for the socket: where the client has reset it, ssl closes the descriptor.
        wrap = functools.partial(self.context.tls.wrap_socket, do_handshake_on_connect=False)
        self.sock = sock = self.attempt(wrap, self.sock, True)  # as the server
        try:
            first = yield from self.retry(FIRST_BYTE, self.peek, 1)
            if first and first != b"\x16":  # RFC 8446 5.1: a handshake
                raise HTTPError(400, "this port speaks https (RFC 9110 4.2.2)")
            self.secure = True
            yield from self.retry(READ_HEAD, lambda: sock.do_handshake() or True)
        except (ClientDisconnected, HTTPError, TimeoutError) as error:
            self.sock, self.secure = socket.socket(fileno=sock.detach()), False
            if isinstance(error.__cause__, ssl.SSLError):  # the alert has to reach the client
                yield from self.lingering_close()
            raise


def tls_context(certfile: str, keyfile: Optional[str], ca_certs: Optional[str]) -> Any:
    """Return an ssl.SSLContext, for client certificates too where `ca_certs` is given. Raises ConfigError."""
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # with older OpenSSL a client may ask for it without end
    files = f"--certfile {certfile}" + (f" with --keyfile {keyfile}" if keyfile else ", without --keyfile,")
    try:
        context.load_cert_chain(certfile, keyfile, lambda: "")  # a server cannot ask for a password
        files = f"--ca-certs {ca_certs}"
        if ca_certs is not None:
            context.load_verify_locations(ca_certs)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot use {files}: {reason}") from None
    return context


# ---- proxies: which ones to trust about a client ----------------------------------------------

FORWARDED = ["HTTP_FORWARDED", *("HTTP_X_FORWARDED_" + name for name in "FOR PROTO HOST PORT PREFIX".split())]
FORWARDED_NODE = re.compile(r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")


@functools.lru_cache(maxsize=Limits.cached_lines)
def normalize_ip(address: str) -> str:
    """Return the one canonical spelling of an IP address, of IPv4 in IPv6 too (RFC 4291 2.5.5.2), or ""."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        text = socket.inet_ntop(family, socket.inet_pton(family, address))
    except (OSError, ValueError):
        return ""
    return text[7:] if text.startswith("::ffff:") and "." in text else text


class TrustedProxies:
    """Addresses, networks, `unix` for peers of a unix socket, or `*` for all, separated by commas."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is none of these."""
        names = filter(None, map(str.strip, text.split(",")))
        self.names = {normalize_ip(name) or name for name in names}
        self.networks: List[Any] = []
        self.includes = functools.lru_cache(maxsize=Limits.cached_lines)(self.look_up)
        for name in self.names - {"unix", "*"}:
            if not normalize_ip(name):
                import ipaddress  # takes 5 ms, and only networks need it

                self.networks.append(ipaddress.ip_network(name))

    def look_up(self, address: str) -> bool:
        """Return whether an address, or `unix`, is trusted."""
        address = address.partition("%")[0]
        if address in self.names or "*" in self.names:
            return True
        if not self.networks or address == "unix":
            return False
        import ipaddress

        return any(ipaddress.ip_address(address) in network for network in self.networks)


# ---- request: from bytes to a head that has one reading ---------------------------------------

SINGLETON_FIELDS = "HTTP_HOST CONTENT_LENGTH CONTENT_TYPE HTTP_TRANSFER_ENCODING HTTP_AUTHORIZATION".split()


class Request:
    """A parsed head. `environ` is what the application sees of it, and is copied for each exchange."""

    def __init__(self, head: bytes, environ: Environ, connection: Connection) -> None:
        """Read a head, with an environ that has what is the same for all. Raises HTTPError."""
        limits = connection.limits
        self.line, *lines = head[:-4].split(b"\r\n")
        match = REQUEST_LINE.fullmatch(self.line.decode("latin-1"))
        if not match:
            raise explain_bad_head(head)
        self.method, target, minor = match.groups()
        self.minor = int(minor)
        if len(self.line) > limits.request_line_bytes:
            raise limit_error(414, "the request-line", limits.request_line_bytes)
        if len(lines) > limits.fields:
            raise limit_error(431, "the header section", limits.fields, "field lines")
        if len(head) > limits.field_line_bytes and max(map(len, lines), default=0) > limits.field_line_bytes:
            raise limit_error(431, "a field line", limits.field_line_bytes)
        self.client: Optional[Tuple[str, str]] = None  # address and port, as a trusted proxy says
        self.log_fields: Any = None  # what the access log shows of it
        self.environ = environ
        environ["REQUEST_METHOD"] = self.method
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if self.minor else "HTTP/1.0"
        try:
            self.add_fields(lines)
        except ValueError:
            raise explain_bad_head(head) from None
        own_scheme = environ["wsgi.url_scheme"]
        self.apply_forwarded(connection)
        self.parse_target(target, {own_scheme, environ["wsgi.url_scheme"]})
        self.parse_framing(limits)

    def add_fields(self, lines: List[bytes]) -> None:
        """Add fields to the environ, repeated ones joined (RFC 9110 5.3). Raises ValueError, HTTPError."""
        environ, known = self.environ, known_fields.get
        for line in lines:
            key, value = known(line) or parse_field(line)
            if key in environ and key:  # none was there before these lines
                if key in SINGLETON_FIELDS:
                    rule = "this field occurs once in a request (RFC 9110 5.3)"
                    raise HTTPError(400, rule, line.partition(b":")[0].decode())
                value = environ[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value
            environ[key] = value
        environ.pop("", None)

    def parse_target(self, target: str, schemes: Set[str]) -> None:
        """Read the four forms of a request-target, and the Host beside them (RFC 9112 3.2)."""
        environ, method = self.environ, self.method
        absolute = None if target[0] == "/" else ABSOLUTE.fullmatch(target)
        if absolute and absolute[1].lower() not in schemes:
            absolute = None
        host = environ.get("HTTP_HOST")
        if host:
            check_authority(host)
        elif host == "":  # of a target without an authority
            del environ["HTTP_HOST"]
        elif self.minor:
            raise HTTPError(400, "a request of HTTP/1.1 has a Host (RFC 9112 3.2)")
        if absolute:
            check_authority(absolute[2])
        if method == "CONNECT" and AUTHORITY_FORM.fullmatch(target):
            raise HTTPError(501, "this server is not a tunnel (RFC 9110 9.3.6)")
        if target[0] == "/" and method != "CONNECT":
            path, _, query = target.partition("?")
        elif absolute and method != "CONNECT":
            environ["HTTP_HOST"] = absolute[2]  # whatever Host says (RFC 9112 3.2.2)
            path, query = absolute[3] or "/", absolute[4][1:]
        elif target == "*" and method == "OPTIONS":
            path = query = ""
        else:
            raise HTTPError(400, f"not a request-target of {method} (RFC 9112 3.2)", target)
        if "%" in path:
            if BAD_ESCAPE.search(path):
                raise HTTPError(400, "a % is followed by two hexadecimal digits (RFC 3986 2.1)", path)
            path = ESCAPE.sub(lambda match: chr(int(match[1], 16)), path)
        root = environ["SCRIPT_NAME"]
        if root and path and not (path + "/").startswith(root + "/"):
            raise HTTPError(404, "nothing is mounted here (RFC 9110 15.5.5)")
        environ["PATH_INFO"] = path[len(root) :]
        environ["QUERY_STRING"] = query

    def parse_framing(self, limits: Limits) -> None:
        """Find how the message body ends (RFC 9112 6.3), and if the connection goes on after it (9.3)."""
        environ = self.environ
        self.chunked = "HTTP_TRANSFER_ENCODING" in environ
        self.length = 0
        length = environ.get("CONTENT_LENGTH")
        if self.chunked:
            coding = environ.pop("HTTP_TRANSFER_ENCODING")  # decoded here (RFC 9112 7.1.3)
            if length is not None:
                raise HTTPError(400, "Transfer-Encoding and Content-Length contradict (RFC 9112 6.3)")
            if not self.minor:
                raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)")
            if coding.lower() != "chunked":
                status = 400 if list_members(coding) <= {"chunked", ""} else 501
                raise HTTPError(status, "the only coding is chunked, once (RFC 9112 6.1)", coding)
        elif length is not None:
            if not DIGITS.fullmatch(length):
                raise HTTPError(400, "Content-Length is digits only (RFC 9110 8.6)", length)
            digits = length.lstrip("0") or "0"
            if len(digits) > 18 or int(digits) > limits.body_bytes:  # int() of a million digits takes seconds
                raise limit_error(413, "the body", limits.body_bytes)
            self.length = int(digits)
        self.has_body = self.chunked or self.length > 0
        expect = environ.get("HTTP_EXPECT", "") if self.minor else ""
        if expect and not list_members(expect) <= {"", "100-continue"}:
            raise HTTPError(417, "the only expectation is 100-continue (RFC 9110 10.1.1)", expect)
        self.expects_continue = bool(expect)
        options = list_members(environ["HTTP_CONNECTION"]) if "HTTP_CONNECTION" in environ else ()
        self.persistent = "close" not in options and (self.minor > 0 or "keep-alive" in options)

    def apply_forwarded(self, connection: Connection) -> None:
        """Take client and scheme from what trusted proxies say, and drop what others say. X-Forwarded-Host is
        left to the application: a proxy that does not overwrite it passes on what the client chose."""
        environ, trusted, hops = self.environ, connection.context.trusted, 0
        forwarded = [key for key in FORWARDED if key in environ]
        if not forwarded:
            return
        if not connection.trusted:  # the application sees of these only what a trusted proxy says
            for key in forwarded:
                del environ[key]
            if connection.context.board.set_once(FORWARDED_DROPPED):
                name = forwarded[0][len("HTTP_") :].replace("_", "-").title()
                client = connection.client()
                log("notice", f"{name} of {client} is dropped: --forwarded-allow-ips would trust it")
            return
        # The right-most address that is not trusted is the client: what stands to its left can be made up.
        for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            match = FORWARDED_NODE.fullmatch(hop.strip(" \t"))
            address = match and normalize_ip(match[1] or match[2] or match[4])
            if not match or not address:
                break
            self.client, hops = (address, match[3] or ""), hops + 1
            if not trusted.includes(address):
                break
        schemes = environ.get("HTTP_X_FORWARDED_PROTO", "").lower().split(",")
        # A shorter list is not by the same proxies: the last one's word counts.
        scheme = schemes[-hops if 0 < hops <= len(schemes) else -1].strip(" \t")
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme


@functools.lru_cache(maxsize=16)
def check_authority(text: str) -> None:
    """Raise HTTPError for what is not a host and perhaps a port (RFC 3986 3.2)."""
    match = HOST.fullmatch(text)
    if not match or (match[1] and not (":" in match[1] and normalize_ip(match[1]))):
        raise HTTPError(400, "an authority is a host and perhaps a port (RFC 9112 3.2)", text)


@functools.lru_cache(maxsize=16)
def list_members(value: str) -> Set[str]:
    """Return the members of a list-based field value, in lower case (RFC 9110 5.6.1)."""
    return {member.strip(" \t") for member in value.lower().split(",")}


known_fields: Dict[bytes, Tuple[str, str]] = {}  # by their lines


def parse_field(line: bytes) -> Tuple[str, str]:
    """Return the environ's key for a field line, "" to leave it out, and the value. Raises ValueError."""
    match = FIELD_LINE.fullmatch(line.decode("latin-1"))
    if not match:
        raise ValueError
    name, value = match.groups()
    key = name.upper().replace("-", "_")
    # A name with an underscore would pass for another one, and Proxy for a setting (httpoxy).
    if "_" in name or key == "PROXY":
        key = ""
    elif key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        key = "HTTP_" + key
    field = key, value.strip(" \t")
    if len(line) <= Limits.cached_line_bytes:
        if len(known_fields) >= Limits.cached_lines:
            known_fields.clear()
        known_fields[line] = field
    return field


class RequestCache:
    """Requests by their heads. Load generators, health checks and pollers repeat theirs byte for byte;
    browsers do not. A head is kept when it comes the second time, so that one-time heads push nothing out."""

    def __init__(self) -> None:
        self.requests: Dict[bytes, Request] = {}
        self.seen: Set[int] = set()  # hashes of heads that came once
        self.expires_at = 0.0
        self.environ: Environ = {}  # what is the same for all requests

    def parse(self, head: bytes, connection: Connection) -> Request:
        """Return the request that a head is; keep it if the head has come before. Raises HTTPError."""
        if not self.environ:  # with the keys that each exchange sets: a dict that has them need not grow
            later = dict.fromkeys(("REMOTE_ADDR", "REMOTE_PORT", "wsgi.input"))
            self.environ = {**connection.context.environ, **connection.listener.environ, **later}
        request = Request(head, self.environ.copy(), connection)
        now = time.monotonic()
        if now > self.expires_at or len(self.seen) >= Limits.cached_requests:
            self.expires_at = now + Limits.cached_request_s
            self.requests.clear()
            self.seen.clear()
        mark = hash(head)
        if mark in self.seen:
            self.requests[head] = request
        elif len(head) <= Limits.cached_head_bytes:
            self.seen.add(mark)
        return request


def read_request(connection: Connection, data: Optional[bytes]) -> Steps[Optional[Request]]:
    """Return the next request, of which `data` has arrived; None when nothing comes, or the end. Raises
    HTTPError, ClientDisconnected."""
    end = data.find(b"\r\n\r\n") + 4 if data else 0
    if data and end >= 4 and not data.startswith(b"\r\n"):
        head, connection.buffer = data[:end], data[end:]
    else:
        head = yield from gather_head(connection, data)
        if not head:
            return None
    connection.head, connection.request = head, None
    return connection.request_cache.requests.get(head) or connection.request_cache.parse(head, connection)


def gather_head(connection: Connection, data: Optional[bytes]) -> Steps[bytes]:
    """Return the next head without blank lines before it, b"" when nothing comes. It is taken line by line:
    what cannot become a head is refused at once. Raises HTTPError, ClientDisconnected."""
    limits, head = connection.limits, bytearray()
    connection.request, connection.head, connection.buffer = None, head, bytearray(data or b"")
    if data == b"":
        return b""
    connection.deadline = time.monotonic() + limits.header_timeout_s
    take_line = functools.partial(connection.take_line, READ_HEAD, lambda part: explain_bad_head(head + part))
    pattern, too_long = REQUEST_LINE, limit_error(414, "the request-line", limits.request_line_bytes)
    try:
        for _ in range(limits.blank_lines + 1):
            line = yield from take_line(limits.request_line_bytes, too_long)
            if line != b"\r\n":
                break
        else:  # it is blank
            raise explain_bad_head(line)
        too_long = limit_error(431, "a field line", limits.field_line_bytes)
        while line != b"\r\n":
            head += line
            if not pattern.fullmatch(line[:-2].decode("latin-1")):
                raise explain_bad_head(head)
            if len(head) > limits.head_bytes:
                raise limit_error(431, "the head", limits.head_bytes)
            pattern = FIELD_LINE
            line = yield from take_line(limits.field_line_bytes, too_long)
    except TimeoutError:
        if not (head or connection.buffer):
            return b""
        rule = f"a head arrives in {limits.header_timeout_s:.15g} s, or sooner where others wait"
        raise HTTPError(408, rule + " (RFC 9110 15.5.9)") from None
    connection.buffer = bytes(connection.buffer)
    return bytes(head + line)


# ---- body: read whole before the application is called, by either framing ---------------------


class Spool:
    """A file in memory, moved to disk when it grows. (tempfile.SpooledTemporaryFile lacks what wsgi.input
    needs before Python 3.11, and its import takes 5 ms, which each forked child would pay.)"""

    def __init__(self) -> None:
        self.file: Any = io.BytesIO()
        self.size = 0

    def write(self, data: Union[bytes, bytearray]) -> None:
        """Append `data`. Raises OSError where the disk is full."""
        if self.size <= Limits.memory_bytes < self.size + len(data):
            import tempfile

            memory, self.file = self.file, tempfile.TemporaryFile()
            self.file.write(memory.getbuffer())
        self.file.write(data)
        self.size += len(data)


def read_body(connection: Connection, request: Request, environ: Environ) -> Steps[None]:
    """Put the body of a request into the environ, as a file. Raises HTTPError, ClientDisconnected."""
    limits = connection.limits
    spool = Spool()
    if request.expects_continue and not connection.buffer:
        yield from connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.buffer = bytearray(connection.buffer)
    connection.deadline = time.monotonic() + limits.stall_timeout_s
    try:
        if request.chunked:
            yield from move_chunks(connection, spool)
        else:
            yield from move(connection, spool, request.length)
        spool.file.seek(0)
    except TimeoutError:
        rule = f"a body arrives at {limits.rate_bytes_per_s} bytes a second (RFC 9110 15.5.9)"
        raise HTTPError(408, rule) from None
    except OSError as error:
        log("error", f"cannot keep a body of more than {spool.size} bytes: {error.strerror}")
        raise HTTPError(500, "this body cannot be kept") from None
    connection.buffer = bytes(connection.buffer)
    environ["wsgi.input"] = spool.file
    environ["CONTENT_LENGTH"] = str(spool.size)


def move(connection: Connection, spool: Spool, count: int) -> Steps[None]:
    """Move the next `count` bytes to the spool. Raises as receive() does, and OSError."""
    while True:
        data = connection.buffer[:count]
        del connection.buffer[:count]
        spool.write(data)
        count -= len(data)
        if not count:
            return
        yield from connection.receive(READ_BODY)


def move_chunks(connection: Connection, spool: Spool) -> Steps[None]:
    """Move the data of all chunks; drop the trailer section, which is not merged (RFC 9112 7.1)."""
    limits = connection.limits
    rule = "a chunk is a hexadecimal chunk-size, extensions, CRLF, data and CRLF; a trailer is a field line"

    def malformed(part: Union[bytes, bytearray]) -> HTTPError:
        return HTTPError(400, rule + " (RFC 9112 7.1)", part.decode("latin-1"))

    take_line = functools.partial(connection.take_line, READ_BODY, malformed)
    too_long = limit_error(400, "a chunk-size with its extensions", limits.chunk_line_bytes)
    no_end = malformed(b"")
    for _ in range(limits.chunks + 1):  # and the last-chunk
        line = yield from take_line(limits.chunk_line_bytes, too_long)
        match = CHUNK_LINE.fullmatch(line)
        if not match:
            raise malformed(line)
        size = int(match[1], 16)
        if spool.size + size > limits.body_bytes:
            raise limit_error(413, "the body", limits.body_bytes)
        if not size:
            break
        yield from move(connection, spool, size)
        yield from take_line(0, no_end)
    else:
        raise limit_error(413, "the body", limits.chunks, "chunks")
    too_long = limit_error(431, "a trailer", limits.field_line_bytes)
    for _ in range(limits.fields + 1):
        line = yield from take_line(limits.field_line_bytes, too_long)
        if line == b"\r\n":
            return
        if not FIELD_LINE.fullmatch(line[:-2].decode("latin-1")):
            raise malformed(line)
    raise limit_error(431, "the trailer section", limits.fields, "field lines")


# ---- environ: what the application is given (PEP 3333) ----------------------------------------

PLAIN_FILES = (io.FileIO, io.BufferedReader, io.BufferedRandom)


class FileWrapper:
    """`wsgi.file_wrapper`: an iterable over a file; a regular file is sent by the kernel."""

    def __init__(self, file: Any, block_bytes: int = Limits.block_bytes) -> None:
        self.file = file
        self.block_bytes = block_bytes
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(functools.partial(self.file.read, self.block_bytes), b"")

    def extent(self) -> Optional[Tuple[int, int, int]]:
        """Return descriptor, offset and bytes left of a regular file, None for anything else."""
        # What a GzipFile or a subclass reads is not what its descriptor gives.
        own = getattr(self.file, "__dict__", ())
        if type(self) is not FileWrapper or type(self.file) not in PLAIN_FILES or "read" in own:
            return None
        try:
            file, offset = self.file.fileno(), self.file.tell()
            status, readable = os.fstat(file), self.file.readable()
        except (OSError, ValueError):
            return None
        left = status.st_size - offset
        # A file without blocks on a disk, as in /sys, may claim any size.
        sendable = stat.S_ISREG(status.st_mode) and status.st_blocks and readable and left > 0
        return (file, offset, left) if sendable else None


class ServerContext:
    """What all conversations of a process share."""

    def __init__(self, limits: Limits, trusted: TrustedProxies, slots: int = 1, root: str = "") -> None:
        self.limits = limits
        self.trusted = trusted
        self.board = Scoreboard(slots)
        self.flags = self.board.flags
        self.app: Any = None
        self.tls: Any = None  # an ssl.SSLContext
        self.access_log: Optional[AccessLog] = None
        self.verbose = False  # log each refused request
        self.reraise: Any = ClientDisconnected  # out of a call, these are not the application's failure
        self.closing = False  # this process closes each connection after its response
        self.full = False  # the same, while other clients wait
        self.server_pid = 0  # of the Server
        self.next_orphan_check = NEVER
        self.requests_left = NEVER  # until --max-requests
        self.ask_for_successor: Any = None  # called then, and for --timeout: has the worker replaced
        self.environ: Environ = {
            "SCRIPT_NAME": os.fsencode(root).decode("latin-1"),
            "SERVER_SOFTWARE": "webserver.py/" + __version__,
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            "wsgi.multithread": False,
            "wsgi.multiprocess": slots > 1,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }


# ---- response: from what the application says to bytes ----------------------------------------

DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@functools.lru_cache(maxsize=4)  # for once a second, in each form
def format_time(second: float, form: str) -> bytes:
    """Return a time in UTC, in English in any locale: `form` is of strftime, with {day} and {month}."""
    when = time.gmtime(second)
    text = form.format(day=DAYS[when.tm_wday], month=MONTHS[when.tm_mon - 1])
    return time.strftime(text, when).encode()


DATE = "Date: {day}, %d {month} %Y %H:%M:%S GMT\r\n\r\n"  # and the end of a head

# The server sets these, whatever the application says (RFC 9110 7.6.1, PEP 3333).
HOP_BY_HOP = frozenset("connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split())
SINGLETON_RESPONSE_FIELDS = frozenset("content-length content-type date location server".split())
BODILESS = (204, 205, 304)  # RFC 9110 6.4.1, 15.3.6; an application does not send 1xx


class ResponseHead:
    """The arguments of start_response, checked. `lines` are what goes on the wire for them."""

    def __init__(self, status: str, *headers: Tuple[str, str]) -> None:
        """Raises TypeError and ValueError for what HTTP cannot carry."""
        if not STATUS.fullmatch(status):
            raise ValueError(f"a status is 200 to 599, a space and a reason, not {status!r} (PEP 3333)")
        # Joined, for an f-string would ask a subclass of str for another text than the one checked here.
        lines, values = ["HTTP/1.1 ", status, "\r\n"], {}
        self.close = False
        for header in headers:
            if type(header) is not tuple or len(header) != 2:
                raise TypeError
            name, value = header
            if not FIELD_NAME.fullmatch(name) or not FIELD_VALUE.fullmatch(value):
                raise ValueError(f"HTTP cannot carry this header: {name!r}: {value!r} (RFC 9110 5)")
            lower = name.lower()
            if lower in values and lower in SINGLETON_RESPONSE_FIELDS:
                raise ValueError(f"{name} occurs once in a response (RFC 9110 5.3)")
            if lower == "content-length" and not (DIGITS.fullmatch(value) and len(value) <= 18):
                raise ValueError(f"Content-Length is digits, not {value!r} (RFC 9110 8.6)")
            values[lower] = value
            if lower == "connection":
                self.close = self.close or "close" in list_members(value)
            elif lower != "content-length" and lower not in HOP_BY_HOP:
                lines += name, ": ", value, "\r\n"
        if "server" not in values:
            lines.append("Server: webserver.py\r\n")
        self.code = int(status[:3])
        self.length = int(values["content-length"]) if "content-length" in values else None
        self.has_date = "date" in values
        self.lines = "".join(lines).encode("latin-1")


# An application repeats itself, and its framing.
cached_response_head = functools.lru_cache(maxsize=Limits.cached_response_heads)(ResponseHead)


@functools.lru_cache(maxsize=Limits.cached_response_heads)
def frame_head(
    head: ResponseHead, to_head: bool, minor: int, known: Optional[int], close: bool, second: int
) -> Tuple[bytes, Optional[int], bool, bool, bool]:
    """Return what goes on the wire, the length of the body that follows, None where it is not known, and
    whether that is chunked, left out, and the connection's last (RFC 9112 6.3)."""
    lines, length = head.lines, known if head.length is None and head.code != 304 else head.length
    chunked, bodiless = False, head.code in BODILESS or to_head
    if bodiless:
        if head.code == 205:  # RFC 9110 15.3.6
            length = 0
        elif head.code == 204 or not length:  # RFC 9110 8.6; the body of a GET need not be empty
            length = None
    elif length is None:
        chunked = minor > 0
        close = close or not chunked
    if length is not None:
        lines += b"Content-Length: %d\r\n" % length
    elif chunked:
        lines += b"Transfer-Encoding: chunked\r\n"
    if close:
        lines += b"Connection: close\r\n"
    elif not minor:
        lines += b"Connection: keep-alive\r\n"
    lines += b"\r\n" if head.has_date else format_time(second, DATE)
    return lines, 0 if bodiless else length, chunked, bodiless, close


class Response:
    """One response: start_response and write for the application, framing for the wire."""

    __slots__ = "bodiless chunked close connection finished framing_bytes head headers_sent left".split()
    __slots__ += "overflowed request spool".split()

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        connection.sent = 0
        self.head: Optional[ResponseHead] = None  # from start_response
        self.headers_sent = False  # the head is on its way
        self.left: Optional[int] = None  # bytes of the body still to come, None where that is not known
        self.framing_bytes = 0  # of what was made for the wire, those that are not the body's
        self.finished = False  # nothing more may be written
        self.overflowed = False  # there is more than the Content-Length says
        self.spool: Optional[Spool] = None  # what could not be sent at once

    def start(self, status: str, headers: List[Tuple[str, str]], exc_info: Optional[ExcInfo] = None) -> Any:
        """start_response of PEP 3333. Raises TypeError, ValueError, AssertionError, and `exc_info` when the
        head is on its way."""
        if exc_info:
            try:
                if self.headers_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # breaks the cycle of traceback and frame
        elif self.head:
            raise AssertionError("start_response was called before, and without exc_info (PEP 3333)")
        try:
            if type(headers) is not list:
                raise TypeError
            self.head = cached_response_head(status, *headers)
        except TypeError:
            takes = "a str and a list of tuples of two str"
            raise TypeError(f"start_response takes {takes}, not {status!r}, {headers!r} (PEP 3333)") from None
        return self.write

    def write(self, data: bytes) -> None:
        """The write callable of PEP 3333: send what the socket takes now, and keep the rest."""
        if not isinstance(data, bytes):
            raise TypeError(f"write takes bytes, not {type(data).__name__} (PEP 3333)")
        if self.finished:
            raise AssertionError("write was called after the end of the response (PEP 3333)")
        data = self.frame_block(data) if data else data
        self.send_or_keep(data)

    def send_or_keep(self, data: bytes) -> None:
        """Send what the socket takes, and keep the rest. Raises OSError where the disk is full."""
        if data and not self.spool:
            data = data[self.connection.send_now(data) :]
        if data:
            self.spool = self.spool or Spool()
            self.spool.write(data)

    def build_head(self, known: Optional[int]) -> bytes:
        """Return the head, and decide the framing. `known` is the length of a whole body."""
        head, request = self.head, self.request
        if not head:
            raise AssertionError("the application did not call start_response (PEP 3333)")
        now = time.time()
        close = head.close or not request.persistent or self.connection.is_last_response(now)
        framed = frame_head(head, request.method == "HEAD", request.minor, known, close, int(now))
        lines, self.left, self.chunked, self.bodiless, self.close = framed
        if self.left is None and not self.chunked:  # the end of the connection is the end of the body
            self.connection.set_reset(True)
        self.headers_sent = True
        self.framing_bytes += len(lines)
        return lines

    def single_block(self, blocks: Any) -> bytes:
        """Return head and body in one where `blocks` is a list of one block, b"" where it is not."""
        if type(blocks) is not list or len(blocks) != 1 or type(blocks[0]) is not bytes or self.headers_sent:
            return b""
        block = blocks[0]
        if self.head and self.head.length not in (None, len(block)):
            return b""
        head = self.build_head(len(block))
        return head if self.bodiless else head + block

    def frame_block(self, data: bytes) -> bytes:
        """Return `data` as it goes on the wire, after the head where that is still to be sent."""
        head = b"" if self.headers_sent else self.build_head(None)
        if self.bodiless or not data:
            return head
        if self.chunked:
            size = b"%x\r\n" % len(data)
            self.framing_bytes += len(size) + 2
            return b"%b%b%b\r\n" % (head, size, data)
        if self.left is not None:
            if len(data) > self.left and not self.overflowed:
                log("error", f"{self.request.line.decode()}: the body exceeds its Content-Length and is cut")
                self.overflowed = True
            data = data[: self.left]
            self.left -= len(data)
        return head + data if head else data

    def finish(self) -> None:
        """Send or keep what follows the last block. Raises EOFError where the body is too short."""
        data = b"" if self.headers_sent else self.build_head(0)
        if self.chunked:
            data += b"0\r\n\r\n"
            self.framing_bytes += 5
        self.send_or_keep(data)  # before the iterable's close(), which may take its time
        if self.left:
            raise EOFError(f"{self.left} bytes of the Content-Length are missing")


# ---- log: stderr, and the access log ----------------------------------------------------------


def log(kind: str, message: str) -> None:
    """Write a line to stderr, where that is possible: time, pid, kind (error, warning, notice), message."""
    try:
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {kind}: {message}\n")
        sys.stderr.flush()
    except Exception:  # the application may have made anything of it
        pass


def log_exception(head: Union[bytes, bytearray], error: BaseException) -> str:
    """Log an exception and the request-line that led to it; return the name that it has in the log."""
    line, name = ascii(first_line(head).decode("latin-1"))[1:-1], os.urandom(4).hex()
    try:
        import traceback  # takes 10 ms, and a healthy application never needs it

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")
        # What a client sent may be in it, and must not forge a line.
        text = re.sub(r"[^\n\t -~\xa0-\U0010ffff]", lambda match: ascii(match[0])[1:-1], "\n" + text)
        log("error", f"{line} failed ({name})" + text.replace("\n", "\n  "))
    except Exception:  # no memory, stack or descriptor is left to show more
        log("error", f"{line} failed ({name}): {type(error).__name__}")
    return name


def first_line(head: Union[bytes, bytearray]) -> bytes:
    """Return the first line of a head, however it ends."""
    return bytes(head).splitlines()[0] if head else b""


def flush_streams() -> None:
    """Flush stdout and stderr; give up those that fail."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:
            setattr(sys, name, None)


class AccessLog:
    """A file with a line for each exchange, each of one write of at most 4096 bytes: it stays whole also in a
    pipe that other processes write to (PIPE_BUF)."""

    COMBINED = b"%b - - [%b] %b %d %d %b %b %d\n", "%d/{month}/%Y:%H:%M:%S +0000"
    JSON = (
        b'{"client":"%b","time":"%b","request":%b,"status":%d,"bytes":%d,"referer":%b,"user_agent":%b,'
        b'"microseconds":%d}\n', "%Y-%m-%dT%H:%M:%SZ",
    )  # fmt: skip

    def __init__(self, path: str, as_json: bool) -> None:
        """Raises OSError."""
        from json import dumps  # quotes for both formats

        self.file = open(2 if path == "-" else path, "ab", 0, closefd=path != "-")
        self.template, self.time_form = self.JSON if as_json else self.COMBINED
        self.dumps = dumps

    def log_request(self, connection: Connection, status: int, framing_bytes: int) -> None:
        """Log how the last request on a connection was answered, with so many bytes that are not the body's.
        The server goes on where that fails."""
        request = connection.request  # None where its head was refused
        quoted = request and request.log_fields
        if not quoted:
            line = request.line if request else first_line(connection.head or connection.buffer)
            environ = request.environ if request else {}
            quoted = [self.quote(line.decode("latin-1"), 1900)]
            quoted += [self.quote(environ.get(key, "-"), 900) for key in ("HTTP_REFERER", "HTTP_USER_AGENT")]
        if request:
            request.log_fields = quoted
        line, referer, agent = quoted
        took_us = (time.monotonic() - connection.since) * 1e6 if request else 0
        when, size = format_time(time.time() // 1, self.time_form), max(0, connection.sent - framing_bytes)
        what = connection.client().encode(), when, line, status, size, referer, agent, took_us
        try:
            self.file.write(self.template % what)
        except OSError as error:
            if connection.context.board.set_once(LOG_FAILED):
                log("error", f"cannot write the access log: {error.strerror}")

    def quote(self, text: str, limit: int) -> bytes:
        """Return `text` quoted and escaped, so that it forges no line and controls no terminal, and cut."""
        quoted: str = self.dumps(text)
        if len(quoted) > limit:
            return self.quote(text[: len(text) * limit // len(quoted) - 4] + "...", limit)
        return quoted.encode()


# ---- conversation: a connection from its first byte to its last -------------------------------


def serve_connection(connection: Connection) -> Steps[None]:
    """Serve one connection until it ends. Raises nothing but GeneratorExit."""
    context = connection.context
    try:
        if context.tls:
            yield from connection.start_tls()
        if (yield from serve_requests(connection)):
            # A client that did not ask for the end may be sending more.
            unread = connection.buffer or connection.attempt(connection.sock.recv, 1)
            if unread or (connection.request and connection.request.persistent):
                yield from connection.lingering_close()
                return
        if context.tls:
            connection.end_sending()
    except HTTPError as error:
        if context.verbose and error.status != 500:
            log("notice", f"{connection.client()} {error.rule} {error.status}")
        yield from send_error(connection, error)
    except (ClientDisconnected, TimeoutError):
        pass
    except Exception as error:  # a fault of the server, or no memory: this connection ends, and no other
        log_exception(connection.head or b"", error)


def serve_requests(connection: Connection) -> Steps[bool]:
    """Answer requests; return True when a response ends the connection, False when the client does. Raises
    HTTPError, ClientDisconnected."""
    context, cache, request = connection.context, connection.request_cache, None
    while True:
        data: Any = connection.buffer
        if data:  # pipelined: others have their turn before it
            yield from connection.yield_turn()
        else:  # where a response was just sent, the next request is hardly there yet
            ready = not request or (yield KEEP_ALIVE, connection.limits.keep_alive_s)
            try:  # also at the last moment
                data = connection.sock.recv(Limits.block_bytes)
            except OSError as error:
                data = connection.would_block(error)
            if data is None and not ready:
                return False
        request = cache.requests.get(data)
        if request:
            connection.head, connection.buffer = data, b""
        else:
            request = yield from read_request(connection, data)
            if not request:
                return False
        connection.request = request
        if context.access_log:
            connection.since = time.monotonic()
        environ = request.environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = request.client or connection.peer
        environ["wsgi.input"] = io.BytesIO()
        if request.has_body:
            yield from read_body(connection, request, environ)
        response = Response(connection, request)
        try:
            yield from exchange(response, environ)
        finally:
            if context.access_log and response.head and response.headers_sent:  # else it was refused
                context.access_log.log_request(connection, response.head.code, response.framing_bytes)
        if response.close:
            return True
        del environ, response  # an idle connection holds none


def exchange(response: Response, environ: Environ) -> Steps[None]:
    """Call the application and send its response. Raises HTTPError, ClientDisconnected."""
    request, connection = response.request, response.connection
    # All calls of one request run in a contextvars context of their own.
    context, run = connection.context, contextvars.copy_context().run
    blocks: Any = None
    context.requests_left -= 1
    if not context.requests_left:
        context.ask_for_successor()
    try:
        if connection.call:  # as call() does, without a generator on the way of every request
            blocks = connection.call(connection, run, context.app, environ, response.start)
        else:
            blocks = yield IN_APP, functools.partial(run, context.app, environ, response.start)
        data = response.single_block(blocks)
        if not data:
            yield from send_blocks(response, blocks, run)
    except context.reraise:
        raise
    except BaseException as error:  # SystemExit and MemoryError too: the next request is not to blame
        yield from fail(response, error)
    finally:
        response.finished = True
        try:
            if type(blocks) is not list and hasattr(blocks, "close"):
                yield from call(connection, run, blocks.close)  # which may write, and take its time
        except BaseException as error:
            log_exception(request.line, error)
        if connection.release:
            connection.release()
    del blocks  # `data` may be a copy, and the client slow
    if response.spool:
        yield from send_spool(response)
    sent = connection.send_now(data) if data else 0
    if sent < len(data):
        yield from connection.send(memoryview(data)[sent:])
    if response.left is None and not response.chunked:
        connection.set_reset(False)


def fail(response: Response, error: BaseException) -> Steps[None]:
    """Log what the application raised, and answer it by 500, or have the client see that the response was not
    a whole one. Raises HTTPError, ClientDisconnected."""
    name = log_exception(response.request.line, error)
    yield from send_spool(response)
    if not response.headers_sent:
        raise HTTPError(500, f"the application failed; the log has it as {name}") from None
    raise ClientDisconnected from error


def send_blocks(response: Response, blocks: Any, run: Any) -> Steps[None]:
    """Send what the application returned, each block before the next one is asked for. At the end some of it
    may be kept, which can be sent without the application."""
    connection, limits, end = response.connection, response.connection.limits, object()
    iterable = hasattr(blocks, "__iter__") or hasattr(blocks, "__getitem__")
    if isinstance(blocks, (str, bytes)) or not iterable:
        kind = type(blocks).__name__
        raise TypeError(f"the application returned {kind}, not an iterable of bytes (PEP 3333)")
    extent = blocks.extent() if isinstance(blocks, FileWrapper) and not response.headers_sent else None
    if extent:
        blocks = yield from send_extent(response, *extent)
    blocks = yield from call(connection, run, iter, blocks)
    connection.turn_ends = time.monotonic() + limits.time_slice_s
    while True:
        block = yield from call(connection, run, next, blocks, end)
        if block is end:
            break
        yield from send_spool(response)
        if not isinstance(block, bytes):
            raise TypeError(f"the application yielded {type(block).__name__}, not bytes (PEP 3333)")
        data = response.frame_block(block) if block else b""
        if not block:  # nothing is sent that would show that the client has reset the connection
            connection.attempt(connection.peek, 1)
        elif response.left == 0 and len(data) <= limits.memory_bytes:
            response.send_or_keep(data)  # probably the last: the application need not wait for the client
        else:
            yield from connection.send(data)
        if response.overflowed or (response.headers_sent and response.bodiless):
            break
        yield from connection.yield_turn()
    response.finish()


def send_extent(response: Response, file: int, at: int, size: int) -> Steps[Iterable[bytes]]:
    """Send a head, and have the kernel send a part of a regular file; return an iterable over what it has not
    sent: all of it in TLS, for the kernel has no key."""
    connection = response.connection
    yield from connection.send(response.build_head(size))
    left = response.left or 0  # none, or less than the size, where the application says so
    end = at + min(size, left)
    if not connection.secure:
        sent = yield from connection.send_file(file, at, end - at)
        at, response.left = at + sent, left - sent
    reads = range(at, end, Limits.block_bytes)
    return (os.pread(file, min(Limits.block_bytes, end - at), at) for at in reads)


def send_spool(response: Response) -> Steps[None]:
    """Send what was kept."""
    if response.spool:
        file, response.spool = response.spool.file, None
        file.seek(0)
        with file:
            for data in iter(functools.partial(file.read, Limits.block_bytes), b""):
                yield from response.connection.send(data)


def send_error(connection: Connection, error: HTTPError) -> Steps[None]:
    """Answer a refused request with the rule that it broke, and close so that the client can read it."""
    title = f"{error.status} {REASONS[error.status]}"
    body = f"{title}: {error.rule}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    data = ResponseHead(title, *headers).lines + b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
    data += format_time(time.time() // 1, DATE)
    framing_bytes, connection.sent = len(data), 0
    try:
        to_head = (connection.head or connection.buffer).startswith(b"HEAD ")
        yield from connection.send(data if to_head else data + body)
        yield from connection.lingering_close()
    except ClientDisconnected:
        return
    finally:
        if connection.context.access_log:
            connection.context.access_log.log_request(connection, error.status, framing_bytes)


def call(connection: Connection, act: Callable[..., Any], *arguments: Any) -> Steps[Any]:
    """Call into the application: in place, or in the thread that the request has."""
    if connection.call:
        return connection.call(connection, act, *arguments)
    return (yield IN_APP, functools.partial(act, *arguments))


# ---- loop: resumes what is ready, or due --------------------------------------------------------

_own_descriptors: Set[int] = set()  # those of the server that this process has open


def open_pipe() -> Tuple[int, int]:
    """Return the ends of a pipe, to read and to write. Neither blocks."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    _own_descriptors.update(ends)
    return ends


class Handle:
    """Waits for a descriptor: resume(True) is called when it is ready, resume(False) at the deadline."""

    __slots__ = ("callback", "deadline", "events", "key")

    def __init__(self, key: int, callback: Any = None) -> None:
        self.key = key
        self.callback = callback
        self.events = NO_EVENTS
        self.deadline = NEVER

    def resume(self, ready: bool) -> None:
        """Call the function that was given for it."""
        self.callback()


class Loop:
    """An event loop. A signal or a thread writes to `waker`: `on_wake` is called. Timers are few and exact;
    deadlines move all the time and may be late: the loop looks at all when the earliest has passed."""

    def __init__(self, on_wake: Optional[Callable[[], None]] = None) -> None:
        """Without `on_wake` it is a small one, for few descriptors."""
        kind = select.poll if on_wake is None else getattr(select, "epoll", select.poll)
        self.poller: Any = kind()  # both have the same methods
        self.unit = 1000 if kind is select.poll else 1  # poll takes milliseconds
        self.handles: Dict[int, Handle] = {}
        self.timers: Dict[str, Tuple[float, Callable[[], Any]]] = {}
        self.next_scan = NEVER
        self.running = True
        if hasattr(self.poller, "fileno"):
            _own_descriptors.add(self.poller.fileno())
        if on_wake is not None:
            self.on_wake = on_wake
            self.reader, self.waker = open_pipe()
            self.watch(self.reader, self.read_waker)

    def wake(self) -> None:
        """Have on_wake() called, from a thread or a signal handler."""
        try:
            os.write(self.waker, b".")
        except BlockingIOError:  # it is full, and wakes
            pass

    def read_waker(self) -> None:
        """Empty the pipe: its bytes mean nothing."""
        os.read(self.reader, 4096)
        self.on_wake()

    def wait(self, handle: Handle, events: int, deadline: float = NEVER) -> None:
        """Resume `handle` when its descriptor is ready for `events`, or at `deadline`."""
        if handle.events != events:
            before, handle.events = handle.events, events
            if not events:
                self.poller.unregister(handle.key)
            elif before:
                self.poller.modify(handle.key, events)
            else:
                self.poller.register(handle.key, events)
        handle.deadline = deadline
        if deadline < self.next_scan:
            self.next_scan = deadline

    def watch(self, key: int, callback: Callable[[], Any]) -> None:
        """Call `callback` whenever `key` is readable."""
        self.forget(key)
        handle = self.handles[key] = Handle(key, callback)
        self.wait(handle, READABLE)

    def forget(self, key: int) -> None:
        """Wait for a descriptor no longer. Call this before it is closed: where another process has it open,
        epoll would go on reporting it."""
        handle = self.handles.pop(key, None)
        if handle:
            self.wait(handle, NO_EVENTS)

    def call_later(self, name: str, delay_s: float, callback: Callable[[], Any]) -> None:
        """Call `callback` once, after a delay. A timer of the same name is replaced."""
        self.timers[name] = time.monotonic() + delay_s, callback

    def close(self) -> None:
        """Close what the loop has opened."""
        if hasattr(self.poller, "fileno"):
            _own_descriptors.discard(self.poller.fileno())
            self.poller.close()
        for descriptor in (self.reader, self.waker):
            _own_descriptors.discard(descriptor)
            os.close(descriptor)

    def run(self) -> None:
        """Run until `running` is made false."""
        poll, handles, timers, now = self.poller.poll, self.handles, self.timers, time.monotonic()
        while self.running:
            due = min([self.next_scan, *(when for when, _ in timers.values())]) if timers else self.next_scan
            # poll takes 2**31 ms at most, and an application may have replaced the clock: an hour will do.
            timeout = None if due == NEVER else min(max(0.0, due - now), 3600.0) * self.unit
            for key, _ in poll(timeout):
                handle = handles.get(key)
                # It may be forgotten or busy by now, or its number another one's, which then finds nothing.
                if handle and handle.events:
                    handle.resume(True)
            now = time.monotonic()
            if now < due:
                continue
            for name, timer in list(timers.items()):
                if timer[0] <= now and timers.get(name) is timer:  # another one may have removed it
                    del timers[name]
                    timer[1]()
            if now >= self.next_scan:
                for handle in list(handles.values()):
                    if handle.deadline <= now:
                        handle.deadline = NEVER
                        handle.resume(False)
                earliest = min((handle.deadline for handle in handles.values()), default=NEVER)
                self.next_scan = max(earliest, now + 0.1)  # there may be many
            now = time.monotonic()  # what was called may have taken long


# ---- scoreboard: what every process is doing, in memory that outlives it ----------------------

# A Server and its children share one scoreboard. It has no locks: a byte has one writer at a time.
#
#     flags  CLOSING            close each connection after its response    written by the Server
#            FULL               the same, while other clients wait          written by the ForkServer
#            FORWARDED_DROPPED  this was logged once                        written by anyone
#            LOG_FAILED         this was logged once                        written by anyone
#     accepting_until           when children no longer leave the           written by the ForkServer
#                               processors to it, which has to accept
#
#     states, since, loads, texts: of each slot, written by the child or thread that has it. When the state
#     began; the number of connections, or NOT_ACCEPTING; client and request-line
#
# A child has one slot, a worker one for each thread; the first carries its load. From these the Server knows
# what a dead child was serving and which call hangs, and a worker whether another one has fewer connections.
CLOSING, FULL, FORWARDED_DROPPED, LOG_FAILED = range(4)
NOT_ACCEPTING = 0xFFFFFFFF


class Scoreboard:
    """See the picture above."""

    TEXT = struct.Struct("240p")

    def __init__(self, slots: int) -> None:
        memory = memoryview(mmap.mmap(-1, 16 + (8 + 4 + 1 + self.TEXT.size) * slots))
        self.flags = memory[:8]
        self.accepting_until = memory[8:16].cast("d")
        self.since = memory[16 : 16 + 8 * slots].cast("d")
        self.loads = memory[16 + 8 * slots : 16 + 12 * slots].cast("I")
        self.states = memory[16 + 12 * slots : 16 + 13 * slots]
        self.texts = memory[16 + 13 * slots :]
        for slot in range(slots):
            self.loads[slot] = NOT_ACCEPTING

    def set_once(self, flag: int) -> bool:
        """Set a flag; return whether it was not set before."""
        before, self.flags[flag] = self.flags[flag], 1
        return not before

    def set_text(self, slot: int, text: bytes) -> None:
        """Show this client and request-line, as far as there is room."""
        self.TEXT.pack_into(self.texts, self.TEXT.size * slot, text)

    def clear(self, slot: int, text: bytes = b"") -> None:
        """Forget what a slot shows, but for `text`."""
        self.states[slot], self.loads[slot], self.since[slot] = 0, NOT_ACCEPTING, 0.0
        self.set_text(slot, text)

    def read(self, slot: int) -> Tuple[int, float, str]:
        """Return state, since, and the client with its request-line."""
        text: bytes = self.TEXT.unpack_from(self.texts, self.TEXT.size * slot)[0]
        return self.states[slot], self.since[slot], text.decode("latin-1")


class Slot:
    """A place on the scoreboard, for one call into the application at a time."""

    def __init__(self, board: Scoreboard, number: int, idle_state: int = KEEP_ALIVE) -> None:
        self.board = board
        self.number = number
        self.text = b""  # the one that is shown
        self.idle_state = idle_state  # after a call
        self.calls: Any = None  # a queue, of what its thread in a ThreadPool is to call

    def call(self, connection: Connection, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the application, and show meanwhile what is served, for which client and since when."""
        request, text = connection.client_text
        if request is not connection.request:
            request = connection.request
            assert request
            text = b"%b %b" % (connection.client().encode(), request.line)
            connection.client_text = request, text
        if text is not self.text:
            self.text = text
            self.board.set_text(self.number, text)
        self.board.since[self.number] = time.monotonic()
        self.board.states[self.number] = IN_APP
        try:
            return act(*arguments)
        finally:
            self.board.states[self.number] = self.idle_state


# ---- listeners: addresses and sockets ---------------------------------------------------------

BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]\s]+)?)\]|([^:\[\]/]*)):([0-9]{1,5})")
UNAVAILABLE_ERRNOS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address that this machine does not have


class Listener:
    """A listening socket, its names, and the requests that came by it before."""

    def __init__(self, sock: socket.socket, bind: str, name: str = "") -> None:
        """`bind` is what asked for it, `name` the server's."""
        sock.setblocking(False)
        # Connections inherit these. Without the second one the socket of a slow reader takes megabytes at
        # once, then nothing for minutes.
        for option, value in (("TCP_NODELAY", 1), ("TCP_NOTSENT_LOWAT", Limits.unsent_bytes)):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            except (AttributeError, OSError):  # not on each system, and not of AF_UNIX
                pass
        _own_descriptors.add(sock.fileno())
        self.sock = sock
        self.family = sock.family
        self.passed_in = bind.startswith("fd://")
        self.path = bind[5:] if bind.startswith("unix:") else ""  # of a socket file that was made here
        self.file_status: Any = os.lstat(self.path) if self.path else None
        address = sock.getsockname()
        self.unix = self.family not in (socket.AF_INET, socket.AF_INET6)
        self.where = f"unix:{address}" if self.unix else f"port {address[1]}"
        name = name or socket.gethostname()
        port = "80" if self.unix else str(address[1])
        self.environ = {"SERVER_NAME": f"[{name}]" if ":" in name else name, "SERVER_PORT": port}
        # One for clients that are not trusted, one for trusted proxies: they may say more.
        self.request_caches = RequestCache(), RequestCache()

    def remove_file(self) -> None:
        """Remove the socket file, if it is still the one that was made here."""
        try:
            if os.path.samestat(os.lstat(self.path), self.file_status):
                os.unlink(self.path)
        except OSError:  # there is none, or the application has given up the right to remove it
            pass

    def close(self, shut_down: bool = False) -> None:
        """Close it in this process. `shut_down` ends it for every process, unless it was passed in."""
        if shut_down and not self.passed_in:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # another process was first, or the system cannot
                pass
        _own_descriptors.discard(self.sock.fileno())
        self.sock.close()


def listen(bind: str, backlog: int) -> List[Listener]:
    """Return listeners for a --bind: HOST:PORT on each address, all on the same port; unix:PATH; fd://N, a
    socket that is open already. Raises ConfigError."""
    try:
        if re.match("unix:.", bind):
            path = os.path.abspath(bind[5:])
            return [Listener(bind_unix(path, backlog), "unix:" + path)]
        if re.fullmatch("fd://[0-9]{1,9}", bind):
            sock = socket.socket(fileno=int(bind[5:]))
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if sock.type != socket.SOCK_STREAM or not listens or sock.fileno() in _own_descriptors:
                sock.detach()
                raise OSError(errno.EINVAL, "not a listening socket")
            sock.set_inheritable(False)
            return [Listener(sock, bind)]
        match = BIND.fullmatch(bind)
        if not match or int(match[3]) > 65535:
            raise ConfigError(f"not HOST:PORT, :PORT, [IPV6]:PORT, unix:PATH or fd://N: {bind}")
        host, port = match[1] or match[2], int(match[3])
        addresses: Dict[Any, Any] = {}  # to their families
        for name in ("127.0.0.1", "::1") if host == "localhost" else (host or None,):
            # For a str a codec would be imported, which takes 2 ms.
            encoded = name.encode() if name and name.isascii() else name
            for info in socket.getaddrinfo(encoded, port, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE):
                addresses[info[4]] = info[0]
        return [Listener(sock, bind, host) for sock in bind_all(addresses, port, backlog)]
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).split(" (")[0]
        raise ConfigError(f"cannot listen on {bind}: {reason}") from None


def bind_unix(path: str, backlog: int) -> socket.socket:
    """Return a socket that listens on a file, in place of one that no process listens on. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # a full backlog is that of a living server
        if client.connect_ex(path) == errno.ECONNREFUSED and stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.listen(backlog)
        return sock
    except OSError:
        sock.close()
        raise


def bind_all(addresses: Dict[Any, Any], port: int, backlog: int, tries: int = 20) -> List[socket.socket]:
    """Return a listening socket for each address that this machine has, on the same port. Raises OSError."""
    socks: List[socket.socket] = []
    try:
        for (host, _, *scope), family in addresses.items():
            same = socks[0].getsockname()[1] if socks else port
            try:
                socks.append(socket.create_server((host, same, *scope), family=family, backlog=backlog))
            except OSError as error:
                if error.errno not in UNAVAILABLE_ERRNOS:
                    raise
        if not socks:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        return socks
    except OSError as error:
        for sock in socks:
            sock.close()
        if error.errno == errno.EADDRINUSE and not port and tries:  # free on one address, taken on another
            return bind_all(addresses, port, backlog, tries - 1)
        raise


# ---- accepting: from the listeners, while there is capacity -----------------------------------

TRANSIENT_ERRNOS = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO)  # that client has left already
RESOURCE_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # may be had again in a moment


class Acceptor:
    """Accepts connections for a ForkServer or a Worker. None is dropped: one over capacity is held until it
    can be started, and the others stay in the backlog."""

    def __init__(self, loop: Loop, listeners: List[Listener], owner: ConnectionOwner) -> None:
        self.loop = loop
        self.listeners = listeners.copy()
        self.owner = owner
        self.held: List[Tuple[Listener, socket.socket, Any]] = []
        self.full = False  # a connection waits, and there is no capacity
        self.paused = False  # for another process to accept
        self.draining = False
        self.logged: Set[str] = set()

    def resume(self) -> None:
        """Go on with what is held, then with what waits."""
        self.loop.timers.pop("accept", None)
        if self.draining:
            self.drain()
        elif self.start_held():
            for listener in self.listeners:
                self.loop.watch(listener.sock.fileno(), functools.partial(self.on_readable, listener))

    def pause(self, delay_s: float) -> None:
        """Leave the listeners out of the loop for a while."""
        for listener in self.listeners:
            self.loop.forget(listener.sock.fileno())
        self.loop.call_later("accept", delay_s, self.resume)

    def on_readable(self, listener: Listener) -> None:
        """Accept what waits, unless another process should: after a pause for that, one in any case."""
        for count in range(8):  # then everything else has its turn
            if self.owner.is_overloaded(self.paused):
                self.paused = True
                self.pause(Limits.accept_pause_s)
                return
            self.paused = False
            failure = self.accept(listener)
            if failure == errno.EAGAIN:
                return
            if failure in RESOURCE_ERRNOS:
                if not count:  # only at first a connection waits for certain
                    what = os.strerror(failure)
                    self.on_full(f"accept: {what}: see ulimit -n, and the limits of the system")
                return
            if failure:  # EINVAL: another process has shut it down
                self.pause(Limits.retry_delay_s)
                return
            if not self.start_held():
                return

    def accept(self, listener: Listener) -> int:
        """Accept a connection, and hold it. Return 0, also where the client has left, or an errno."""
        try:
            # As accept() does, which also looks up two enums: a sixth of what a connection costs.
            descriptor, peer = listener.sock._accept()  # type: ignore
        except OSError as error:
            return 0 if error.errno in TRANSIENT_ERRNOS else error.errno or errno.EIO
        sock = socket.socket(listener.family, socket.SOCK_STREAM, 0, descriptor)
        if peer or listener.unix:
            self.held.append((listener, sock, peer))
            _own_descriptors.add(descriptor)
        else:  # BSD's way to say that the client has left
            sock.close()
        return 0

    def start_held(self) -> bool:
        """Start the connections that are held; return whether none is left."""
        while self.held:
            error, held = self.owner.capacity_error(), self.held.pop(0)
            try:
                if not error:
                    self.owner.start_connection(*held)
            except OSError as failure:
                error = str(failure.strerror)
            if error:
                self.held.insert(0, held)
                self.on_full(error)
                return False
        if self.full:
            self.full = False
            self.owner.set_full(False)
        return True

    def on_full(self, error: str) -> None:
        """Evict another connection for one that waits, and try again in a moment, or as soon as resume() is
        called: the system does not notify when it has what it refused."""
        if error not in self.logged:
            self.logged.add(error)
            log("warning", error)
        self.full = True
        self.pause(0.0 if self.owner.set_full(True) else Limits.retry_delay_s)

    def retire(self) -> None:
        """Leave the listeners to others. What is held is still started."""
        for listener in self.listeners:
            self.loop.forget(listener.sock.fileno())
            listener.close()
        self.listeners.clear()
        self.owner.end_if_done()

    def abort(self) -> None:
        """Leave the listeners to others, and drop what is held."""
        for _, sock, _ in self.held:
            _own_descriptors.discard(sock.fileno())
            sock.close()
        self.held.clear()
        self.retire()

    def drain(self) -> None:
        """Empty the backlog, shut the listeners down for every process, then start what is held. Nothing is
        started before: a client that is told to close connects again as fast as a process forks, and that
        would never end."""
        self.draining = True
        for listener in self.listeners.copy():
            self.loop.forget(listener.sock.fileno())
            failure = 0
            while not failure:
                failure = self.accept(listener)
            if failure in RESOURCE_ERRNOS:  # some of the others have to end first
                self.pause(Limits.retry_delay_s)
            else:
                self.listeners.remove(listener)
                listener.close(shut_down=True)
        self.start_held()
        self.owner.end_if_done()

    def is_done(self) -> bool:
        """Return whether there is nothing left to accept or to start."""
        return not (self.listeners or self.held)


# ---- worker: many connections on an event loop ------------------------------------------------


class Task(Handle):
    """Runs the conversation of one connection in a Worker."""

    __slots__ = ("closed", "connection", "due", "slot", "state", "steps", "worker")

    def __init__(self, worker: Worker, connection: Connection) -> None:
        super().__init__(connection.sock.fileno())
        self.worker = worker
        self.connection = connection
        self.slot: Optional[Slot] = None  # of the thread that the request has
        self.closed = False  # the connection is; the application may still have to be called
        self.state = FIRST_BYTE
        self.due = NEVER  # when its time in this state is over; the deadline is sooner when draining
        self.steps: Any = serve_connection(connection)

    def resume(self, value: Any, error: Optional[BaseException] = None) -> None:
        """Go on until the conversation waits again, or has ended."""
        worker = self.worker
        try:
            event = self.steps.send(value) if error is None else self.steps.throw(error)
            while self.closed and event[0] != IN_APP:
                event = self.steps.throw(ClientDisconnected())
            self.state, what = event
            if self.state < IN_APP:
                now = time.monotonic()
                self.due = now + what
                if self.state <= FIRST_BYTE and worker.acceptor.draining:
                    what = min(what, Limits.eviction_grace_s)
                events = self.connection.wanted or (WRITABLE if self.state == WRITE else READABLE)
                worker.loop.wait(self, events, now + what)
                if worker.tokens >= 0:
                    worker.await_token(self)
            else:
                worker.loop.wait(self, NO_EVENTS)
                if self.state == IN_APP:
                    worker.pool.submit(self, what)
                else:
                    worker.loop.call_later(f"turn {self.key}", 0.0, functools.partial(self.resume, True))
        except (StopIteration, ClientDisconnected):  # the latter where it had ended before
            worker.close_connection(self)
        except Exception as failure:  # the last resort: no connection ends the loop that serves the others
            log_exception(self.connection.head or b"", failure)
            worker.close_connection(self)


class Worker:
    """Serves connections on an event loop: one of a PreforkServer's, or the child of a ForkServer for one
    connection, or a whole server by itself."""

    SLACK = 4  # another worker with fewer connections by so many is left the new ones

    def __init__(
        self, context: ServerContext, listeners: List[Listener], slot: int, threads: int = 1, tokens: int = -1
    ) -> None:
        """`slot` is its first one; `tokens`, in a child of a ForkServer, the pipe with these."""
        self.context = context
        self.limits = context.limits
        self.board = context.board
        self.first_slot = slot
        self.tokens = tokens
        self.loop = Loop(self.on_wake if listeners else None)
        self.slot = Slot(self.board, slot, KEEP_ALIVE if listeners else WRITE)
        self.load = 0  # connections
        soft = os.sysconf("SC_OPEN_MAX")  # some descriptors are left to the application
        self.most = max(soft - 48, soft // 2) if 0 < soft < Limits.connections else Limits.connections
        self.others: List[int] = []  # the slots of other workers
        self.acceptor = Acceptor(self.loop, listeners, self)
        self.pool: Any = ThreadPool(self, threads) if threads > 1 else None

    def on_wake(self) -> None:
        """Resume the conversations that have called and have an answer."""
        while self.pool and self.pool.done:
            self.pool.done.popleft()()

    def tasks(self) -> List[Task]:
        """Return those of all connections."""
        return [handle for handle in self.loop.handles.values() if isinstance(handle, Task)]

    def start_connection(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Serve a connection among the others."""
        sock.setblocking(False)
        connection = Connection(sock, peer, listener, self.context)
        task = self.loop.handles[sock.fileno()] = Task(self, connection)
        if self.pool:
            connection.release = functools.partial(self.pool.release, task)
        else:
            connection.call = self.slot.call
        self.load += 1
        self.publish_load()
        task.resume(None)

    def close_connection(self, task: Task) -> None:
        """Close a connection at the end of its conversation, or abandon it."""
        if task.closed:
            return
        task.closed = True
        _own_descriptors.discard(task.key)
        for close in (functools.partial(self.loop.forget, task.key), task.connection.sock.close):
            try:
                close()
            except OSError:  # the application or ssl has closed the descriptor
                pass
        self.load -= 1
        self.publish_load()
        if self.acceptor.paused and not self.is_overloaded():
            self.acceptor.resume()
        self.end_if_done()

    # Balance: workers share the listeners, and each accepts for itself. One that is stuck in a call accepts
    # nothing, and the others do; one with more connections than another leaves new ones out until its load is
    # back, or for accept_pause_s, and then accepts one in any case.

    def publish_load(self) -> None:
        """Show the other workers how many connections this one has; without a free thread it is not to have
        any more."""
        busy = self.context.closing or (self.pool and not self.pool.idle)
        self.board.loads[self.first_slot] = NOT_ACCEPTING if busy else self.load

    def is_overloaded(self, paused: bool = False) -> bool:
        """Return whether another worker that could accept has fewer connections. After a pause for that, only
        one without a free thread goes on leaving new ones to others."""
        load = self.board.loads[self.first_slot]
        if not self.others or (paused and load < NOT_ACCEPTING):
            return False
        stuck = time.monotonic() - Limits.stuck_call_s
        for slot in self.others:
            if self.board.loads[slot] + self.SLACK < load:
                busy = self.board.states[slot] == IN_APP and self.board.since[slot] <= stuck
                if self.pool or not busy:
                    return True
        return False

    # Capacity and eviction.

    def capacity_error(self) -> str:
        """Return why there is no capacity, "" when there is."""
        if self.load < self.most:
            return ""
        return f"all {self.most} connections are in use: ulimit -n allows more"

    def set_full(self, full: bool) -> bool:
        """Have connections close after their responses while others wait, and evict one now; return whether
        there was one."""
        self.context.full = full
        return full and self.evict(self.tasks())

    def evict(self, tasks: List[Task]) -> bool:
        """Close the one of these connections that is idle, or behind for longer than the grace, and has made
        the least progress; return whether there was one."""
        now, limits = time.monotonic(), self.limits
        waiting = [task for task in tasks if task.state < IN_APP]
        evictable = [task for task in waiting if grace_left(limits, task.state, task.due - now) <= 0]
        if evictable:
            min(evictable, key=lambda task: (task.state, task.due)).resume(False)
        return bool(evictable)

    # A child of a ForkServer.

    def await_token(self, task: Task) -> None:
        """Show what the connection waits for. From when it may be evicted, watch the tokens: until then one
        that comes is for another child."""
        if task.state == KEEP_ALIVE:
            self.leave_processors()
        now = time.monotonic()
        self.board.since[self.first_slot] = now
        self.board.states[self.first_slot] = task.state
        self.loop.forget(self.tokens)
        grace_s = grace_left(self.limits, task.state, task.due - now)
        self.loop.call_later("tokens", grace_s, lambda: self.loop.watch(self.tokens, self.on_token))

    def leave_processors(self) -> None:
        """Sleep while the Server has connections to accept: these have waited for longer than the next
        request of this one."""
        ends = time.monotonic() + Limits.eviction_grace_s
        while time.monotonic() < min(ends, self.board.accepting_until[0]):
            time.sleep(0.01)

    def on_token(self) -> None:
        """Evict the connection, if no other child was first to take the token."""
        try:
            token = os.read(self.tokens, 1)
        except BlockingIOError:
            return
        if not token:  # the Server has ended
            self.loop.forget(self.tokens)
            self.tokens = -1
            return
        self.context.closing = True
        while self.evict(self.tasks()):  # again where its client has sent something, and is still behind
            pass

    # The end.

    def on_word(self, word: bytes) -> None:
        """Do what the Server asks for. Where it is dead, leave the listeners to the next one and drain: no
        process may be left that would end what is under way."""
        if word == b"a":  # no call is cut: the loop turns after it
            self.loop.running = False
        if word in (b"r", b""):
            self.retire()
        if word in (b"d", b""):
            self.drain()
        if not word and not signal.getitimer(signal.ITIMER_REAL)[0]:  # an application may use it
            signal.setitimer(signal.ITIMER_REAL, self.limits.graceful_timeout_s + 1)

    def retire(self) -> None:
        """Leave new connections to others, close each one after its next response, and end with the last."""
        self.context.closing = True
        self.publish_load()
        self.acceptor.retire()

    def drain(self) -> None:
        """Accept what waits, shut the listeners down, close idle connections in a moment (a request may be on
        its way), and end with the last response."""
        self.context.closing = True
        self.publish_load()
        soon = time.monotonic() + Limits.eviction_grace_s
        for task in self.tasks():
            if task.state <= FIRST_BYTE:
                self.loop.wait(task, task.events, min(task.deadline, soon))
        self.acceptor.drain()

    def end_if_done(self) -> None:
        """Leave the loop when the last connection is closed, and no more can come."""
        if not self.load and self.acceptor.is_done():
            self.loop.running = False


# ---- threads: of a worker, to call the application --------------------------------------------


class ThreadPool:
    """Threads that call the application. A request keeps its thread until its calls are over; further
    requests wait."""

    def __init__(self, worker: Worker, count: int) -> None:
        import collections
        import queue
        import threading

        self.make_queue, self.make_thread = queue.SimpleQueue, threading.Thread
        self.worker = worker
        # A slot has a thread from its first use.
        self.idle = [Slot(worker.board, worker.first_slot + n) for n in range(count)]
        self.waiting: Any = collections.deque()  # tasks without a thread, and their calls
        self.done: Any = collections.deque()  # resumes the tasks that have called

    def submit(self, task: Task, act: Callable[[], Any]) -> None:
        """Have the thread of the task's request call `act`, or the next one that is free."""
        if task.slot:
            task.slot.calls.put((task, act))
        else:
            self.waiting.append((task, act))
            self.start_waiting()

    def start_waiting(self) -> None:
        """Give free threads to requests that wait, and look again in a moment where some still wait."""
        while self.waiting and self.idle:
            slot = self.idle[-1]
            if not (slot.calls or self.start_thread(slot)):
                break
            task, act = self.waiting.popleft()
            task.slot = self.idle.pop()
            slot.calls.put((task, act))
        self.worker.publish_load()
        if self.waiting and "threads" not in self.worker.loop.timers:
            self.worker.loop.call_later("threads", Limits.retry_delay_s, self.on_pressure)

    def start_thread(self, slot: Slot) -> bool:
        """Start the thread of a slot; return whether the system allows it now."""
        slot.calls = self.make_queue()
        try:
            self.make_thread(target=self.run_thread, args=(slot,), daemon=True).start()
        except RuntimeError:
            slot.calls = None
        return bool(slot.calls)

    def on_pressure(self) -> None:
        """For each request that waits reset a response that keeps a thread while its client takes nothing."""
        for _ in range(len(self.waiting)):
            self.worker.evict([task for task in self.worker.tasks() if task.slot])
        self.start_waiting()

    def release(self, task: Task) -> None:
        """Free the thread of a request when its calls are over."""
        slot, task.slot = task.slot, None
        if slot and slot.board is self.worker.board:  # else another thread has taken its place
            self.idle.append(slot)
            self.start_waiting()

    def run_thread(self, slot: Slot) -> None:
        """Make calls, in the thread."""
        while True:
            task, act = slot.calls.get()
            value = failure = None
            try:
                value = slot.call(task.connection, act)
            except BaseException as error:  # a GeneratorExit, thrown as it is, would close the conversation
                failure = RuntimeError(repr(error)) if isinstance(error, GeneratorExit) else error
            self.done.append(functools.partial(task.resume, value, failure))
            del task, act, value, failure  # an idle thread holds nothing
            self.worker.loop.wake()

    def check_timeouts(self) -> None:
        """Log calls that exceed --timeout with their stacks, reset their connections, and have the worker
        replaced: a thread can only be ended with its process."""
        worker, timeout_s = self.worker, self.worker.limits.timeout_s
        for task in [task for task in worker.tasks() if task.slot]:
            slot: Any = task.slot
            state, since, text = worker.board.read(slot.number)
            took_s = time.monotonic() - since
            if state == IN_APP and took_s >= timeout_s:
                log("error", f"worker {os.getpid()} is in the application for {took_s:.1f} s: {text}")
                faulthandler.dump_traceback(2)
                task.connection.set_reset(True)
                worker.close_connection(task)
                worker.context.ask_for_successor()
                # Another thread takes its place; what this one writes at its end must not count.
                self.idle.append(Slot(worker.board, slot.number))
                slot.board = Scoreboard(slot.number + 1)
                worker.board.states[slot.number] = KEEP_ALIVE
                self.start_waiting()
        worker.loop.call_later("timeouts", min(1.0, timeout_s / 4), self.check_timeouts)


# ---- library: a server in any thread of any program -------------------------------------------


class WSGIServer(Worker):
    """A server of `app` in the thread that calls serve_forever(), without signals and processes, and with the
    names of what users of wsgiref's server call."""

    def __init__(self, host: str, port: int, app: Application) -> None:
        """Listen on `host` and `port` (0: a free one). Raises ConfigError."""
        import threading

        context = ServerContext(Limits(), TrustedProxies(""))
        context.app = app
        context.reraise = ClientDisconnected, KeyboardInterrupt
        listeners = listen(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", Limits.backlog)
        super().__init__(context, listeners, 0)
        self.socket = listeners[0].sock
        self.server_address = self.socket.getsockname()
        self.server_name = listeners[0].environ["SERVER_NAME"]
        self.server_port = int(listeners[0].environ["SERVER_PORT"])
        self.fileno = self.socket.fileno
        self.stop_requested = False
        self.serving = threading.RLock()  # an application may close its server

    def on_wake(self) -> None:
        """Leave the loop if that is asked for, or the server is closed."""
        self.loop.running = not (self.stop_requested or self.acceptor.is_done())

    def end_if_done(self) -> None:
        """Leave the loop after one connection, in handle_request()."""
        if self.context.closing:
            self.loop.running = False

    def is_overloaded(self, paused: bool = False) -> bool:
        """Return whether handle_request() has, or has had, its one connection."""
        return self.context.closing and (self.load > 0 or not self.loop.running)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until shutdown() is called, or return at once if it was called before."""
        with self.serving:
            try:
                self.on_wake()
                self.acceptor.resume()
                self.loop.run()
            finally:
                self.stop_requested = False

    def shutdown(self) -> None:
        """Have serve_forever() return, now or when it is called next, and wait while it runs. Call it in
        another thread."""
        if self.acceptor.listeners:
            self.stop_requested = True
            self.loop.wake()
            with self.serving:
                pass

    def handle_request(self) -> None:
        """Serve one connection, with one request."""
        for task in self.tasks():
            if task.state == KEEP_ALIVE:  # it would count for the one
                task.resume(False)
        self.context.closing = True
        try:
            self.serve_forever()
        finally:
            self.context.closing = False

    def server_close(self) -> None:
        """Close the listeners and all connections; serve no more. Waits as shutdown() does."""
        self.shutdown()
        with self.serving:  # another thread may close it, too
            if not self.acceptor.listeners:
                return
            self.loop.running = False
            for task in self.tasks():
                if task.steps.gi_running:  # it is the application that calls
                    self.close_connection(task)
                else:
                    task.resume(None, ClientDisconnected())
            for listener in self.acceptor.listeners:
                listener.remove_file()
            self.acceptor.abort()
            self.loop.close()

    def __enter__(self) -> WSGIServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.server_close()


make_server = WSGIServer


# ---- processes: forking, signals, and what a process leaves behind ----------------------------

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# Ignored by a Server and its children; HUP means something to the Supervisor, the others to other servers.
IGNORED_SIGNALS = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2, signal.SIGWINCH)
SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}
_forking: Set[bool] = set()  # {True} while this process makes a fork of its own
_handled_signals: Set[int] = set()  # those that this process has a handler of ours for


def fork(main: Callable[[], int], *kept: int) -> int:
    """Fork a process of the server's, with these of its descriptors, which runs `main` and ends with the
    status that this returns; return its pid. Raises OSError where the system refuses."""
    _forking.add(True)
    try:
        pid = os.fork()
    except OSError as error:
        what = f"fork: {error.strerror}: see ulimit -u, and the limits of the system"
        raise OSError(error.errno, what) from None
    finally:
        _forking.clear()
    if not pid:
        signal.set_wakeup_fd(-1)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        atexit._clear()  # a function runs in the process that has registered it
        for descriptor in _own_descriptors.difference(kept):
            try:
                os.close(descriptor)  # the objects that have it are not used here any more
            except OSError:  # the application has closed it
                pass
        _own_descriptors.intersection_update(kept)
        end_process(main)
    return pid


def after_fork_in_child() -> None:
    """In a process that the application has forked leave nothing of the server: no handler, no descriptor,
    which would keep the port in use, and clients from seeing the end of their connections."""
    if not _forking:
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in _own_descriptors:  # not free: objects may still close these numbers
            os.dup2(null, descriptor, inheritable=False)
        os.close(null)
        _own_descriptors.clear()
        if _handled_signals:
            signal.set_wakeup_fd(-1)
            faulthandler.unregister(signal.SIGUSR1)
        for signum in _handled_signals:
            signal.signal(signum, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=after_fork_in_child)


def ignore_signal(signum: int, frame: Optional[FrameType]) -> None:
    """Do nothing. After SIG_IGN a program that is started would ignore the signal too."""


def handle_signals(handler: Callable[[int, Optional[FrameType]], None], *signums: int) -> None:
    """Have `handler` called for these signals."""
    for signum in signums:
        _signal.signal(signum, handler)
    _handled_signals.update(signums)


def run_with_signals(loop: Loop, begin: Callable[[], None], handler: Any, *signums: int) -> None:
    """Call `begin` and run a loop with a handler for these signals, which also wake it; then have the former
    handlers again. On USR1 the process also writes its stacks."""
    before = {signum: signal.getsignal(signum) for signum in signums}
    signal.set_wakeup_fd(loop.waker, warn_on_full_buffer=False)
    handle_signals(handler, *signums)
    faulthandler.register(signal.SIGUSR1, file=2, chain=True)
    try:
        begin()
        loop.run()
    finally:
        faulthandler.unregister(signal.SIGUSR1)
        signal.set_wakeup_fd(-1)
        for signum, former in before.items():
            signal.signal(signum, former or signal.SIG_DFL)  # None: it was not Python's
        _handled_signals.clear()
        loop.close()


def run_exit_functions(timeout_s: float) -> None:
    """Run what was registered with atexit in this process, flush the files that it has left open, and end it
    where that takes longer than `timeout_s`. It does not wait for threads: some never end."""
    handle_signals(lambda *_: os._exit(0), signal.SIGALRM)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, timeout_s))
    atexit._run_exitfuncs()
    flush_files()
    signal.setitimer(signal.ITIMER_REAL, 0)


WRITTEN_FILES = (io.BufferedWriter, io.TextIOWrapper)


def flush_files() -> None:
    """Flush all open files: before a fork, so that no other process writes the same again, and before
    os._exit, which does not."""
    gc.unfreeze()
    for file in gc.get_objects():
        if issubclass(type(file), WRITTEN_FILES):  # isinstance takes twice as long, for 10,000 objects
            try:
                file.flush()
            except (OSError, ValueError):  # it is closed, or its disk is full
                pass


def end_process(main: Callable[[], int]) -> NoReturn:
    """Run `main`, and end this process with the status that it returns, 2 for a ConfigError, 1 for any other
    exception."""
    status = 1
    try:
        status = main()
    except ConfigError as error:
        status = 2
        print_error(error)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        flush_streams()  # os._exit loses what is not flushed
        os._exit(status)


def send_signal(pid: int, signum: int) -> None:
    """Send a signal to a child. It may have ended: an application may reap what is not its own."""
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        pass


def reap(children: Dict[int, ChildRecord], everything: bool = True) -> Iterator[Tuple[ChildRecord, int]]:
    """Take the children that have ended out of `children`, and yield each with its status. One signal may
    stand for several. Others than these are reaped where `everything` is."""
    for wanted in [-1] if everything else list(children):
        pid = 1
        while pid:
            try:
                pid, status = os.waitpid(wanted, os.WNOHANG)
                ended = [pid]
            except ChildProcessError:  # there is none: the application has reaped them
                pid, status, ended = 0, 0, list(children) if everything else [wanted]
            for one in ended:
                if one in children:
                    yield children.pop(one), status


def has_children() -> bool:
    """Return whether this process has children, of whatever kind. One that has ended is reaped."""
    try:
        os.waitpid(-1, os.WNOHANG)
        return True
    except ChildProcessError:
        return False


def describe_exit(status: int, killed: bool = False) -> str:
    """Return how a process ended, by the status of waitpid; `killed`: this server has sent it KILL."""
    if not os.WIFSIGNALED(status):
        return f"exited with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    external = number == signal.SIGKILL and not killed
    name = SIGNAL_NAMES.get(number, f"signal {number}")
    return f"was killed by {name}" + (" (not by this server: out of memory?)" if external else "")


class ChildRecord:
    """What a parent knows of a child."""

    def __init__(self, pid: int, slot: int, channel: Any) -> None:
        self.pid = pid
        self.slot = slot  # its first one on the scoreboard
        self.channel: Any = channel  # None to a child of a ForkServer
        self.started_at = time.monotonic()
        self.ready = False
        self.leaving = False  # another one takes its place, or will
        self.retiring = False  # it was told to
        self.killed = False  # by this process
        self.overdue = 0.0  # the start of a call that was seen to exceed --timeout


# What a parent and a child say to each other, over a channel, a byte each. The Supervisor is the parent of
# its Servers, and a PreforkServer that of its workers.
#
#     to the child     r  retire: leave new connections to another one, close each of its own after the next
#                         response, and end with the last
#                      d  drain: accept what waits, shut the listeners down, close idle connections, and end
#                         with the last response
#                      a  abort: end at once
#                      the end of the channel: the parent is dead. A Server drains; a worker retires, then
#                         drains
#     to the parent    r  ready: imported, and accepting
#                      h  have another one take my place (--reload, --max-requests)
#
# The children of a ForkServer share one channel, on which nothing is said. Its end has them drain.


def send_word(channel: socket.socket, word: bytes) -> None:
    """Send a message of one byte. One to a dead process is dropped."""
    try:
        channel.send(word, DONTWAIT)
    except OSError:
        pass


def receive_word(channel: socket.socket) -> Optional[bytes]:
    """Return the next message, b"" when the other process is dead, None when there is no message."""
    try:
        return channel.recv(1, DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""


def watch_words(loop: Loop, channel: socket.socket, act: Callable[[bytes], Any]) -> None:
    """Call act(word) for each message, and at last act(b"")."""

    def on_readable() -> None:
        word = receive_word(channel)
        if word == b"":
            loop.forget(channel.fileno())
        if word is not None:
            act(word)

    loop.watch(channel.fileno(), on_readable)


def open_channel() -> Tuple[socket.socket, socket.socket]:
    """Return the ends of a channel."""
    ends = socket.socketpair()
    _own_descriptors.update(end.fileno() for end in ends)
    return ends


def close_channel(channel: socket.socket) -> None:
    """Close an end of a channel in this process. It may be closed already."""
    _own_descriptors.discard(channel.fileno())
    channel.close()


def end_by_words(channel: socket.socket, on: bool) -> None:
    """While this is `on`, have the next message, or the parent's death, end this process by SIGIO, as its
    default on Linux is: an import that hangs reads no message."""
    import fcntl

    to_default = not on or hasattr(fcntl, "F_SETSIG")
    signal.signal(signal.SIGIO, signal.SIG_DFL if to_default else lambda *_: os._exit(1))
    fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(channel, fcntl.F_GETFL)
    fcntl.fcntl(channel, fcntl.F_SETFL, flags | os.O_ASYNC if on else flags & ~os.O_ASYNC)
    if on and receive_word(channel) is not None:  # it came before
        os._exit(1)


class Parent:
    """Forks children, reaps them, and keeps as many alive as are wanted: none in a ForkServer, which has one
    for each connection, and no channel to it."""

    YOUNG_S, FIRST_DELAY_S, MOST_DELAY_S = 1.0, 0.1, 5.0  # of children that end young the next one waits

    kind = "child"
    reaps_all = True  # not only its own children
    spawn: Callable[[], None]  # raises OSError where the system refuses
    on_ready: Callable[[ChildRecord], None]
    on_replace: Callable[[ChildRecord], None]  # it asks for another one in its place
    on_exit: Callable[[ChildRecord, int], None]
    on_signals: Callable[[List[int]], None]
    end_if_done: Callable[[], None]

    def __init__(self, options: Any, listeners: List[Listener]) -> None:
        self.options = options
        self.listeners = listeners
        self.loop = Loop(self.on_wake)
        self.children: Dict[int, ChildRecord] = {}
        self.wanted = 1  # children that stay
        self.signals: List[int] = []  # that have arrived
        self.was_ready = False  # a child was
        self.ending = False
        self.delay_s = 0.0
        self.status = 0

    def run_loop(self, begin: Callable[[], None], *signums: int) -> int:
        """Call `begin`, and run until there is nothing left to do; return the exit status."""
        signums += signal.SIGCHLD, signal.SIGUSR1
        run_with_signals(self.loop, begin, lambda signum, _: self.signals.append(signum), *signums)
        return self.status

    def fork_with_channel(self, main: Callable[[socket.socket], int], slot: int = 0) -> None:
        """Fork a child that runs `main` with its end of a channel. Raises OSError."""
        ours, theirs = open_channel()
        try:
            kept = (listener.sock.fileno() for listener in self.listeners)
            pid = fork(functools.partial(main, theirs), theirs.fileno(), *kept)
        except OSError:
            close_channel(ours)
            close_channel(theirs)
            raise
        close_channel(theirs)
        self.children[pid] = record = ChildRecord(pid, slot, ours)
        watch_words(self.loop, ours, functools.partial(self.on_word, record))

    def spawn_missing(self) -> None:
        """Start the children that are missing, unless that has to wait."""
        missing = self.wanted - sum(not record.leaving for record in self.children.values())
        for _ in range(missing):
            if self.ending or "spawn" in self.loop.timers:
                return
            try:
                self.spawn()
            except OSError as error:
                log("warning", str(error.strerror))
                self.loop.call_later("spawn", Limits.retry_delay_s, self.spawn_missing)

    def on_word(self, record: ChildRecord, word: bytes) -> None:
        """Act on what a child says."""
        if word == b"h":
            self.on_replace(record)
        elif word == b"r" and not (record.ready or record.killed or self.ending):
            record.ready = True
            self.on_ready(record)
        self.on_wake()

    def on_wake(self) -> None:
        """Act on the signals that have arrived, as the handler has noted them, and reap the children that
        have ended."""
        signals, self.signals = self.signals, []
        self.on_signals(signals)  # first: what ends by a signal to all has not failed
        for record, status in reap(self.children, self.reaps_all):
            if record.channel:
                self.see_ready(record)
                self.loop.forget(record.channel.fileno())
                close_channel(record.channel)
            self.on_exit(record, status)
        self.spawn_missing()
        self.end_if_done()

    def see_ready(self, record: ChildRecord) -> bool:
        """Return whether a child is ready. That may be unread."""
        if not record.ready:
            record.ready = receive_word(record.channel) == b"r"
        return record.ready

    def back_off(self, record: ChildRecord) -> None:
        """Have the successor of a child wait that has ended young, ever longer; no longer where several end
        at once."""
        if "spawn" in self.loop.timers:
            return
        lived_s = time.monotonic() - record.started_at
        if record.ready and lived_s >= self.YOUNG_S:
            self.delay_s = 0.0
            return
        self.delay_s = min(max(self.FIRST_DELAY_S, 2 * self.delay_s), self.MOST_DELAY_S)
        what = f"{self.kind} {record.pid} ended {lived_s:.1f} s after its start"
        log("warning", f"{what}; next start in {self.delay_s:.1f} s")
        self.loop.call_later("spawn", self.delay_s, self.spawn_missing)

    def fail(self, status: int) -> None:
        """End: the first child could not start."""
        self.status = (os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1) or 1
        self.ending = True
        self.loop.running = False

    def kill(self, record: ChildRecord) -> None:
        """Kill a child, if it is still there, and remember that."""
        if self.children.get(record.pid) is record:
            record.killed = True
            send_signal(record.pid, signal.SIGKILL)


# ---- server: forks and reaps children ---------------------------------------------------------


class Server(Parent):
    """Forks and reaps children; parses no client's request. Its variants differ in who accepts."""

    start: Callable[[], None]  # begins to serve
    stop_accepting: Callable[[bytes], None]  # at its end; takes what on_supervisor() has got

    def __init__(self, context: ServerContext, listeners: List[Listener], options: Any, channel: Any) -> None:
        super().__init__(options, listeners)
        self.context = context
        context.server_pid, context.next_orphan_check = os.getpid(), 0.0
        self.board = context.board
        self.flags = context.flags
        self.channel: socket.socket = channel  # to the Supervisor
        first = range(0, len(self.board.loads), options.threads)  # of each child
        self.slots = list(reversed(first))  # unused ones
        self.source: Any = None  # files for --reload

    def run(self) -> int:
        """Serve until told to end and the last child has ended; return the exit status."""
        watch_words(self.loop, self.channel, self.on_supervisor)
        flush_files()
        gc.freeze()  # children share these pages as long as nothing is counted in them
        if self.options.timeout_s and self.options.threads == 1:
            self.check_timeouts()
        if self.options.reload:
            self.check_source()
        return self.run_loop(self.start)

    def on_signals(self, signals: List[int]) -> None:
        """Log on USR1 what each child is doing."""
        if signal.SIGUSR1 in signals:
            self.dump_status(list(self.children.values()))

    def on_supervisor(self, word: bytes) -> None:
        """Do what the Supervisor asks for; drain where it is dead."""
        if word == b"a":
            self.abort()
        elif word == b"d":
            self.flags[CLOSING] = 1
            delay_s = 0.0 if self.ending else self.options.drain_delay_s  # no balancer sees one that retires
            self.loop.call_later("drain", delay_s, functools.partial(self.finish, word))
        else:
            self.finish(word or b"d")

    def finish(self, word: bytes) -> None:
        """Retire or drain; end with the last child, and a drain at the latest after the graceful timeout."""
        self.ending = True
        self.flags[CLOSING] = 1
        if word == b"d" and "abort" not in self.loop.timers:
            self.loop.call_later("abort", self.options.graceful_timeout_s, self.abort)
        self.stop_accepting(word)
        self.end_if_done()

    def abort(self) -> None:
        """Kill all children, and end when they are reaped."""
        self.ending = True
        for record in self.children.values():
            self.kill(record)
        self.end_if_done()

    def end_if_done(self) -> None:
        """Leave the loop when it is told to end, and no child is left."""
        if self.ending and not self.children:
            self.loop.running = False

    # What the scoreboard is for: logs, USR1, --timeout. And --reload.

    def read_slots(self, record: ChildRecord) -> List[Tuple[int, float, str]]:
        """Return state, since and text of a child's slots."""
        return [self.board.read(record.slot + index) for index in range(self.options.threads)]

    def free_slots(self, record: ChildRecord, status: int) -> None:
        """Take back the slots of a child that has ended. Where it was killed or failed, log that, and what it
        was serving."""
        self.slots.append(record.slot)
        slots = self.read_slots(record)
        for index in range(self.options.threads):
            self.board.clear(record.slot + index)
        quiet = record.killed and not any(" " in slot[2] for slot in slots)  # it was serving nothing
        if (os.WIFSIGNALED(status) or slots[0][0]) and not quiet:
            serving = [text for state, _, text in slots if " " in text and state >= WRITE]
            last = max(slots, key=lambda slot: slot[1])[2]
            when = f"after {last}" if " " in last else "before its first request"
            what = "while serving " + ", ".join(serving) if serving else when
            log("error", f"{self.kind} {record.pid} {describe_exit(status, record.killed)} {what}")

    def dump_status(self, records: List[ChildRecord]) -> None:
        """Log what each of these children is doing, and have it write its stacks; one after the other, so
        that they do not mix."""
        record = records.pop() if records else None
        if record and record.pid in self.children:
            slots, now = self.read_slots(record), time.monotonic()
            load = self.board.loads[record.slot]
            what = f" has {load} connections" if load < NOT_ACCEPTING else ""
            log("notice", f"{self.kind} {record.pid}{what}")
            for state, since, text in slots:
                if state == IN_APP or (state and self.kind == "child"):
                    what = f"{STATE_NAMES[state]} for {now - since:.1f} s: {text}"
                    log("notice", f"{self.kind} {record.pid} is {what}")
            send_signal(record.pid, signal.SIGUSR1)
        if records:
            self.loop.call_later("dump", 0.05, functools.partial(self.dump_status, records))

    def check_timeouts(self) -> None:
        """Log calls that exceed --timeout with their stacks, and kill their processes at the next look."""
        now, again_s = time.monotonic(), min(1.0, self.options.timeout_s / 4)
        for record in self.children.values():
            state, since, text = self.board.read(record.slot)
            if state == IN_APP and now - since >= self.options.timeout_s:
                again_s = 0.2
                if record.overdue == since:
                    self.kill(record)
                else:
                    record.overdue = since
                    what = f"is in the application for {now - since:.1f} s: {text}"
                    log("error", f"{self.kind} {record.pid} {what}")
                    send_signal(record.pid, signal.SIGUSR1)
        self.loop.call_later("timeouts", again_s, self.check_timeouts)

    def check_source(self) -> None:
        """Ask for another Server when a source file has changed."""
        source = source_files()
        if self.source not in (None, source) and not self.ending:
            send_word(self.channel, b"h")
        self.source = source
        self.loop.call_later("source", 1.0, self.check_source)


def backlog_length(sock: socket.socket) -> int:
    """Return how many connections wait in a listener's backlog, as far as the system says that."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_INFO", -1), 28)
        return int(struct.unpack_from("I", info, 24)[0])  # tcpi_unacked, of a listener the backlog (Linux)
    except (OSError, struct.error):  # another system, or a closed or unix socket
        return 0


class ForkServer(Server):
    """Accepts, and forks a child for each connection."""

    def start(self) -> None:
        """Begin to serve."""
        self.wanted = 0
        self.lifeline, self.lifeline_end = open_channel()
        self.tokens, self.token_writer = open_pipe()
        self.acceptor = Acceptor(self.loop, self.listeners, self)
        self.warm_up()
        self.acceptor.resume()
        send_word(self.channel, b"r")

    def warm_up(self) -> None:
        """Serve some requests of this process's own before the first fork: Python keeps what it looks up and
        specializes in pages that each child would have to copy otherwise, a fifth of its page faults."""
        context, before = vars(self.context), vars(self.context).copy()
        context.update(app=hello, access_log=None, tls=None, next_orphan_check=NEVER)
        for port in range(10):
            ours, theirs = socket.socketpair()
            with theirs:
                theirs.sendall(b"OPTIONS * HTTP/1.1\r\nHost: a:%d\r\nConnection: close\r\n\r\n" % port)
                theirs.shutdown(socket.SHUT_WR)
                worker = Worker(self.context, [], self.slots[-1], tokens=self.tokens)
                worker.start_connection(self.listeners[0], ours, ("127.0.0.1", 0))
                worker.loop.run()
        context.update(before)

    def is_overloaded(self, paused: bool = False) -> bool:
        """Return whether another process should accept: there is none."""
        return False

    def capacity_error(self) -> str:
        """Return why there is no capacity, "" when there is."""
        if len(self.children) < self.options.max_children:
            return ""
        return f"all {self.options.max_children} children are busy: --max-children allows more"

    def start_connection(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Fork a child for the connection. Raises OSError where the system refuses."""
        format_time(time.time() // 1, DATE)  # made here once a second, and not in each child
        client = peer[0].encode() if type(peer) is tuple else b"unix"
        slot = self.slots[-1]
        self.board.clear(slot, client)
        main = functools.partial(self.run_child, listener, sock, peer, slot)
        pid = fork(main, sock.fileno(), self.lifeline.fileno(), self.tokens)
        self.slots.pop()
        self.children[pid] = ChildRecord(pid, slot, None)
        _own_descriptors.discard(sock.fileno())
        sock.close()  # or the client would not see the end of its connection
        # Each child has as much of the processors as this process, which has to fork the others.
        soon = time.monotonic() + Limits.retry_delay_s
        self.board.accepting_until[0] = soon if backlog_length(listener.sock) else 0.0

    def run_child(self, listener: Listener, sock: socket.socket, peer: Any, slot: int) -> int:
        """Be a child: serve a connection; return the exit status."""
        worker = Worker(self.context, [], slot, tokens=self.tokens)
        watch_words(worker.loop, self.lifeline, worker.on_word)
        worker.start_connection(listener, sock, peer)
        worker.loop.run()
        if atexit._ncallbacks():  # to look for open files would copy the Server's memory
            signal.setitimer(signal.ITIMER_REAL, self.options.graceful_timeout_s)
            atexit._run_exitfuncs()
        self.board.states[slot] = 0  # nothing is to be logged of it
        return 0

    def set_full(self, full: bool) -> bool:
        """Have children close after their responses while others wait, and put a token into the pipe for each
        connection that waits, in place of those that no child has taken: one that takes it evicts its own."""
        self.flags[FULL] = full  # before the tokens: a child that becomes idle after this sees them
        try:
            os.read(self.tokens, 65536)
        except BlockingIOError:
            pass
        if full:
            wanted = sum(backlog_length(listener.sock) for listener in self.listeners)
            os.write(self.token_writer, b"." * min(max(1, wanted), self.options.max_children))
        return False

    def on_exit(self, record: ChildRecord, status: int) -> None:
        """Go on with the connections that wait: there is capacity."""
        self.free_slots(record, status)
        if self.acceptor.full or self.acceptor.draining:
            self.acceptor.resume()

    def stop_accepting(self, word: bytes) -> None:
        """Leave the listeners to another Server; or take what waits, shut them down, and have children
        drain."""
        if word == b"r":
            self.acceptor.retire()
        else:
            close_channel(self.lifeline_end)
            self.acceptor.drain()

    def abort(self) -> None:
        """Drop what is held, too. The listeners may be another Server's: they are not shut down."""
        self.acceptor.abort()
        super().abort()

    def end_if_done(self) -> None:
        """Leave the loop when nothing is left to serve."""
        if self.acceptor.is_done():
            super().end_if_done()


class PreforkServer(Server):
    """Keeps workers alive, which accept."""

    kind = "worker"

    def start(self) -> None:
        """Begin to serve."""
        self.all_slots = self.slots.copy()
        self.spawn_missing()

    def spawn(self) -> None:
        """Fork a worker, if a slot is unused: others may take long to retire."""
        if self.slots:
            self.fork_with_channel(functools.partial(self.run_worker, self.slots[-1]), self.slots[-1])
            self.slots.pop()

    def run_worker(self, slot: int, channel: socket.socket) -> int:
        """Be a worker: serve until told to retire or to drain; return the exit status."""
        context, options = self.context, self.options
        self.board.states[slot] = KEEP_ALIVE  # from here on its end is logged
        if context.app is None:
            end_by_words(channel, True)
            context.app = options.load()
            end_by_words(channel, False)
            handle_signals(ignore_signal, *STOP_SIGNALS, *IGNORED_SIGNALS)
            gc.collect()
            gc.freeze()
        worker = Worker(context, self.listeners, slot, options.threads)
        worker.others = self.all_slots
        context.ask_for_successor = functools.partial(send_word, channel, b"h")
        if options.max_requests:
            import random

            context.requests_left = options.max_requests + random.randint(0, options.max_requests_jitter)
        if worker.pool and self.options.timeout_s:
            worker.pool.check_timeouts()
        worker.publish_load()
        send_word(channel, b"r")
        watch_words(worker.loop, channel, worker.on_word)
        worker.acceptor.resume()
        worker.loop.run()
        run_exit_functions(self.options.graceful_timeout_s)
        self.board.states[slot] = 0  # nothing is to be logged of it
        return 0

    def on_ready(self, record: ChildRecord) -> None:
        """Start the others after the first one: where that fails they would, too. Have one that leaves retire
        for one that came."""
        self.was_ready, self.wanted = True, self.options.workers
        for leaving in self.children.values():
            if leaving.leaving and not leaving.retiring:
                leaving.retiring = True
                send_word(leaving.channel, b"r")
                abort = functools.partial(send_word, leaving.channel, b"a")
                self.loop.call_later(f"abort {leaving.pid}", self.options.graceful_timeout_s, abort)
                break
        if sum(one.ready for one in self.children.values()) >= self.wanted:
            send_word(self.channel, b"r")

    def on_replace(self, record: ChildRecord) -> None:
        """Have a worker replaced."""
        record.leaving = True

    def on_exit(self, record: ChildRecord, status: int) -> None:
        """Replace a worker that has ended; end where the first one could not start."""
        self.free_slots(record, status)
        if not (self.was_ready or record.ready or self.ending):
            self.fail(status)
        elif not record.leaving and not self.ending:
            self.back_off(record)

    def stop_accepting(self, word: bytes) -> None:
        """Leave that to the workers. One that is not ready has nothing to finish."""
        for record in self.children.values():
            if self.see_ready(record):
                send_word(record.channel, word)
            else:
                self.kill(record)
        for listener in self.listeners:
            listener.close()


# ---- supervisor: keeps a Server, and its own pid, across restarts -----------------------------

# A restart
#
#     HUP --> Supervisor forks Server 2 --> imports --> "r" ready
#                 | "r" retire                              |
#                 v                                         v
#             Server 1 leaves the listeners to it, answers what it has, ends with its last connection
#
#     Server 2 fails to start    Server 1 has got no message, and goes on
#     a ready Server dies        another one is forked, after a backoff; its children finish their requests
#     Supervisor gets TERM       "d" drain to all Servers; a second TERM: "a" abort, and KILL a second later
#     Supervisor dies            its end of the channels ends with it: all Servers drain
#
# Only the Supervisor acts on TERM, INT and HUP: terminals and service managers signal every process.


def notify(*lines: str) -> None:
    """Tell the service manager, where there is one (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto("\n".join(lines).encode(), "\0" + path[1:] if path[0] == "@" else path)
            except OSError:
                pass


def print_ready(options: Any, listeners: List[Listener]) -> None:
    """Print the ready line, and on a terminal how to go on."""
    where = ", ".join(dict.fromkeys(listener.where for listener in listeners))
    scheme = "https" if options.certfile else "http"
    try:
        print(f"Serving {scheme.upper()} on {where} ...", flush=True)
        if os.isatty(1) and not listeners[0].unix:
            url = f"{scheme}://localhost:{listeners[0].environ['SERVER_PORT']}/"
            print(f"Open {url} in a browser; Ctrl-C stops the server.", flush=True)
    except (OSError, ValueError):  # a closed pipe or terminal
        pass
    notify("READY=1")


class Supervisor(Parent):
    """Keeps a Server, and knows no HTTP. It never imports the application: nothing in it goes stale."""

    kind = "Server"

    def __init__(self, options: Any, listeners: List[Listener]) -> None:
        super().__init__(options, listeners)
        self.reaps_all = os.getpid() == 1  # it inherits orphans; a program that calls serve() reaps its own
        self.stops: List[int] = []  # all TERM and INT so far
        self.reload_requested = False

    def run(self) -> int:
        """Serve until told to stop, or until the first Server fails to start; return the exit status."""
        return self.run_loop(self.spawn_missing, *STOP_SIGNALS, *IGNORED_SIGNALS)

    # Servers: spawned, ready, dead.

    def spawn(self) -> None:
        """Fork a Server: at the start, on HUP, or in place of a dead one."""
        self.fork_with_channel(functools.partial(run_server, self.options, self.listeners))

    def on_ready(self, server: ChildRecord) -> None:
        """Have the other Servers retire. One may do so at its ease; those that do already drain."""
        if self.was_ready:
            notify("READY=1")
        else:
            self.was_ready = True
            print_ready(self.options, self.listeners)
        for other in self.children.values():
            if other.retiring:
                send_word(other.channel, b"d")
            elif other.ready and other is not server:
                other.leaving = other.retiring = True
                send_word(other.channel, b"r")

    def on_replace(self, server: ChildRecord) -> None:
        """Restart: a source file has changed."""
        self.reload_requested = True

    def spawn_missing(self) -> None:
        """Start a Server in place of one that has ended, or will."""
        self.reload()
        super().spawn_missing()

    def reload(self) -> None:
        """Have another Server started, if that was asked for, as soon as none is starting."""
        if not self.reload_requested or self.ending:
            return
        for server in self.children.values():
            if not server.ready:
                left_s = server.started_at + self.options.graceful_timeout_s - time.monotonic()
                if left_s > 0:
                    self.loop.call_later("reload", left_s, self.spawn_missing)
                elif not server.killed:
                    server.killed = True
                    send_word(server.channel, b"a")
                    self.loop.call_later("kill", 1.0, functools.partial(self.kill, server))
                return
        self.reload_requested = False
        if self.options.app is None and self.options.default_app is not hello:
            log("notice", "HUP renews workers, certificates and logs; an object cannot be imported anew")
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        for server in self.children.values():
            server.leaving = True
        self.loop.timers.pop("spawn", None)

    def on_exit(self, server: ChildRecord, status: int) -> None:
        """Go on without a Server."""
        if self.ending or server.retiring:
            return
        if not (self.was_ready or server.ready or server.killed):
            if os.WIFSIGNALED(status):  # else it has shown why
                log("error", f"Server {server.pid} {describe_exit(status)} before it was ready")
            self.fail(status)
            return
        others = [other for other in self.children.values() if not other.retiring]
        if not server.killed:
            when = "" if server.ready else " before it was ready"
            goes_on = not server.ready and any(other.ready for other in others)
            if goes_on:
                when += ": the previous one goes on"
                notify("READY=1")
            log("error", f"Server {server.pid} {describe_exit(status)}{when}")
        for other in others:
            other.leaving = other.leaving and server.ready
        if not others:
            self.back_off(server)

    # Signals.

    def on_signals(self, signals: List[int]) -> None:
        """Stop, restart, or have the Servers log what they do."""
        self.stops += [signum for signum in signals if signum in STOP_SIGNALS]
        if signal.SIGUSR1 in signals:
            for pid in self.children:
                send_signal(pid, signal.SIGUSR1)
        if self.stops and not self.ending:
            self.stop()
        if len(self.stops) > 1:
            self.remove_files()
            for server in self.children.values():
                send_word(server.channel, b"a")
            self.loop.timers.setdefault("kill now", (time.monotonic() + 1, self.kill_all))
        self.reload_requested = self.reload_requested or signal.SIGHUP in signals

    def stop(self) -> None:
        """Have all Servers drain; one that is still starting is given up."""
        self.ending = True
        notify("STOPPING=1")
        self.loop.timers.clear()
        self.status = 130 if signal.SIGINT in self.stops and not self.was_ready else 0
        for server in self.children.values():
            send_word(server.channel, b"d")
            if not server.ready:
                send_signal(server.pid, signal.SIGTERM)
        self.loop.call_later("files", self.options.drain_delay_s, self.remove_files)
        end_s = self.options.drain_delay_s + self.options.graceful_timeout_s
        self.loop.call_later("kill", end_s + 2, self.kill_all)

    def remove_files(self) -> None:
        """Remove the socket files, and leave the listeners to the Servers."""
        for listener in self.listeners:
            listener.remove_file()
            listener.close()

    def kill_all(self) -> None:
        """Kill what is left. As PID 1, end with whatever else is left."""
        for server in self.children.values():
            self.kill(server)
        self.loop.running = bool(self.children) and os.getpid() != 1

    def end_if_done(self) -> None:
        """Leave the loop when no Server is left, and as PID 1 no orphan."""
        if self.ending and not self.children:
            self.loop.running = self.loop.running and os.getpid() == 1 and has_children()


def run_server(options: Any, listeners: List[Listener], channel: socket.socket) -> int:
    """Import the application and serve, in a process of a Supervisor; return the exit status. Raises
    ConfigError, and whatever the import raises."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    handle_signals(ignore_signal, signal.SIGINT, signal.SIGUSR1, *IGNORED_SIGNALS)
    faulthandler.register(signal.SIGUSR1, file=2)
    end_by_words(channel, True)
    enter_folder(options)
    source = source_files() if options.reload else None  # as it is before the import
    context = make_context(options)
    if options.preload or not options.workers:
        context.app = options.load()
    end_by_words(channel, False)
    handle_signals(ignore_signal, *STOP_SIGNALS, *IGNORED_SIGNALS)
    faulthandler.unregister(signal.SIGUSR1)
    server = (PreforkServer if options.workers else ForkServer)(context, listeners, options, channel)
    server.source = source
    status = server.run()
    run_exit_functions(options.graceful_timeout_s)
    return status


class LoneWorker(Worker):
    """Serves in this process, for --no-fork. Raises as run_server() does."""

    def __init__(self, options: Any, listeners: List[Listener]) -> None:
        context = make_context(options)
        context.app = options.load()
        super().__init__(context, listeners, 0)
        self.options = options
        self.stops = 0

    def run(self) -> int:
        """Serve until TERM or INT; return the exit status."""
        gc.freeze()
        self.acceptor.resume()
        ready = functools.partial(print_ready, self.options, self.acceptor.listeners.copy())
        orphans = [signal.SIGCHLD] if os.getpid() == 1 else []
        signums = (*STOP_SIGNALS, *IGNORED_SIGNALS, signal.SIGUSR1, *orphans)
        run_with_signals(self.loop, ready, self.on_signal, *signums)
        if self.context.access_log:
            self.context.access_log.file.close()
        return 0

    def on_signal(self, signum: int, frame: Optional[FrameType]) -> None:
        """Note a first stop; end at once at a second one, for the loop may be in the application."""
        if signum in STOP_SIGNALS:
            self.stops += 1
            if self.stops > 1:
                self.abort()
        elif signum == signal.SIGHUP:
            log("notice", "HUP restarts nothing with --no-fork")
        elif signum == signal.SIGUSR1:
            state, since, text = self.board.read(0)
            busy = f"in the application for {time.monotonic() - since:.1f} s: {text}"
            log("notice", f"has {self.load} connections, and is {busy if state == IN_APP else 'waiting'}")

    def on_wake(self) -> None:
        """Begin to stop, after the drain delay; as PID 1, reap orphans."""
        list(reap({}, os.getpid() == 1))
        if self.stops and not self.context.closing:
            notify("STOPPING=1")
            self.context.closing = True
            self.loop.call_later("drain", self.limits.drain_delay_s, self.drain)

    def drain(self) -> None:
        """Drain as other workers do, at the latest until the graceful timeout."""
        self.loop.call_later("abort", self.limits.graceful_timeout_s, self.abort)
        for listener in self.acceptor.listeners:
            listener.remove_file()
        super().drain()

    def abort(self) -> None:
        """End at once."""
        for listener in self.acceptor.listeners:
            listener.remove_file()
        flush_streams()
        os._exit(0)


# ---- command line: from arguments to a running server -----------------------------------------


def count_workers(text: str) -> int:
    """Return the number of workers that `text` asks for: N, or auto for one a processor."""
    if text != "auto":
        return int(text)
    affinity = getattr(os, "sched_getaffinity", None)  # of a container, where the system has it
    return len(affinity(0)) if affinity else os.cpu_count() or 1


VALUES: Any = {  # the pattern and the type of a value, by what stands for it in --help; else any line
    "N": ("(?=.*[1-9])[0-9]{1,7}", int),
    "S": (r"(?=.*[1-9])[0-9]{1,6}(\.[0-9]+)?", float),
    "BYTES": ("[1-9][0-9]{0,14}", int),
    "N/auto": ("[0-9]{1,4}|auto", count_workers),
    "/PATH": (r"(/[^/?#\x00-\x20\x7f]+)*", str),
    "LIST": (".*", TrustedProxies),
    "FORMAT": ("combined|json", str),
}
OPTIONS = """\
application
--app                       MODULE:APP  -                   MODULE, MODULE:NAME or MODULE:FACTORY()
--root-path                 /PATH       -                   mount the application below this path
--validate                  -           -                   check the application against PEP 3333
--reload                    -           -                   restart when a source file changes
--check-config              -           -                   import, bind, read certificates, report, and exit
listening
--bind                      HOST:PORT   -                   or unix:PATH, fd://N; repeatable (localhost:8888)
--backlog                   N           backlog             connections that may wait in the kernel
processes
--no-fork                   -           -                   serve in one process, for debuggers
--max-children              N           max_children        processes at once; further clients wait
--workers                   N/auto      0                   processes; 0: one for each connection
--threads                   N           1                   of each worker, to call the application
--preload                   -           -                   import the application before workers are forked
--max-requests              N           0                   replace a worker after so many; 0: never
--max-requests-jitter       N           0                   and up to so many more, at random
limits and timeouts
--header-timeout            S           header_timeout_s    seconds for the head of a request
--keep-alive                S           keep_alive_s        seconds that a connection may be idle
--stall-timeout             S           stall_timeout_s     seconds that a body may be behind --min-rate
--send-timeout              S           send_timeout_s      seconds that a reader may be behind it
--min-rate                  BYTES       rate_bytes_per_s    bytes a second, sent or read by a client
--timeout                   S           timeout_s           seconds of a call to the application; 0: any
--graceful-timeout          S           graceful_timeout_s  seconds for requests in flight at the end
--drain-delay               S           drain_delay_s       seconds to go on before that
--max-body                  BYTES       body_bytes          size of a request body
--limit-request-line        BYTES       request_line_bytes  size of a request-line
--limit-request-field-size  BYTES       field_line_bytes    size of a field line
TLS
--certfile                  FILE        -                   speak TLS, with this certificate and its chain
--keyfile                   FILE        -                   its private key, if it is in another file
--ca-certs                  FILE        -                   require client certificates that these signed
proxies and logging
--forwarded-allow-ips       LIST        127.0.0.1,::1       trusted: addresses, networks, unix, or *
--access-log                FILE        -                   a line per request; -: stderr, as on a terminal
--access-log-format         FORMAT      combined            combined or json
--verbose                   -           -                   log the reason of each refusal, as on a terminal
"""  # the name of each group; option, value (-: none, a flag), default or limit (-: none), help


def value_reader(name: str, default: str) -> Callable[[str], Any]:
    """Return what reads a value, and raises ValueError, which argparse explains by the name."""
    pattern, kind = VALUES.get(name, (".*", str))
    pattern += r"|0(\.0*)?" if default == "0" else ""

    def read(text: str) -> Any:
        if not re.fullmatch(pattern, text, re.DOTALL):
            raise ValueError
        return kind(text)

    read.__name__ = name
    return read


def make_parser() -> Any:
    """Return the parser of the command line, which raises ConfigError."""
    import argparse  # takes 10 ms, and a program that imports this file never needs it

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(message)

    layout = functools.partial(argparse.HelpFormatter, width=80)  # without a width it imports shutil
    usage = "%(prog)s [OPTION...] [MODULE:APP]"
    parser = Parser("webserver.py", usage, formatter_class=layout, allow_abbrev=False)
    parser.add_argument("module", nargs="?", metavar="MODULE:APP", help="as --app; by default hello")
    parser.add_argument("--version", action="version", version="webserver.py " + __version__)
    for line in OPTIONS.splitlines():
        if not line.startswith("--"):
            group = parser.add_argument_group(line)
            continue
        option, name, default, text = line.split(None, 3)
        settings: Any = {"action": "store_true", "help": text}
        if name != "-":
            settings.update(action="store", metavar=name)
            if hasattr(Limits, default):
                settings.update(dest=default, default=getattr(Limits, default))
                default = f"{settings['default']:.15g}"
            settings["type"] = value_reader(name, default)
            if default != "-":
                settings["help"] = f"{text} ({default})"
                settings.setdefault("default", default)  # a text is read as an argument is
        if option == "--bind":
            settings["action"] = "append"
        group.add_argument(option, **settings)
    parser.set_defaults(
        workers=os.environ.get("WEB_CONCURRENCY") or parser.get_default("workers"),
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", parser.get_default("forwarded_allow_ips")),
    )
    return parser


def parse_options(arguments: Optional[Sequence[str]], app: Any) -> Any:
    """Return the options, and in `load` what returns the application. Raises ConfigError."""
    options = make_parser().parse_args(arguments, Limits())
    # A head may have the longest request-line and the longest field line.
    options.head_bytes = max(Limits.head_bytes, options.request_line_bytes + 2 * options.field_line_bytes)
    if options.no_fork:
        options.workers = 0
    elif not hasattr(os, "fork"):
        raise ConfigError("this platform has no fork: use --no-fork")
    if options.no_fork and (options.timeout_s or options.reload):
        raise ConfigError("--timeout, --reload: not with --no-fork")
    replaces = options.max_requests or options.max_requests_jitter
    if not options.workers and (options.threads > 1 or options.preload or replaces):
        raise ConfigError("--threads, --preload, --max-requests, --max-requests-jitter: only with --workers")
    if (options.keyfile or options.ca_certs) and not options.certfile:
        raise ConfigError("--keyfile, --ca-certs: only with --certfile")
    if options.app is not None and options.module is not None:
        raise ConfigError("the application is named twice")
    options.app = options.module if options.app is None else options.app
    options.default_app = app
    options.load = functools.partial(load_application, options)
    passed_in = re.fullmatch("[1-9][0-9]{0,3}", os.environ.get("LISTEN_FDS", ""))  # sd_listen_fds(3)
    if not options.bind and passed_in and os.environ.get("LISTEN_PID") == str(os.getpid()):
        options.bind = [f"fd://{3 + index}" for index in range(int(passed_in[0]))]
    elif not options.bind:
        options.bind = [f"0.0.0.0:{os.environ['PORT']}" if os.environ.get("PORT") else "localhost:8888"]
        if passed_in:
            log("warning", "LISTEN_FDS is for another process, LISTEN_PID; --bind fd://3 takes the first")
    try:
        options.resolved_folder = os.getcwd()
    except OSError as error:
        raise ConfigError(f"the current folder cannot be used: {error.strerror}") from None
    # The folder by the name that it was entered by: a link in it may lead to another release later.
    options.folder = os.environ.get("PWD") or options.resolved_folder
    if os.path.realpath(options.folder) != options.resolved_folder:
        options.folder = options.resolved_folder
    return options


def enter_folder(options: Any) -> None:
    """Enter the working folder again, by its name. Raises ConfigError."""
    try:
        os.chdir(options.folder)
    except OSError as error:
        raise ConfigError(f"cannot enter {options.folder}: {error.strerror}") from None
    sys.path[:] = [os.getcwd() if name == options.resolved_folder else name for name in sys.path]
    sys.path_importer_cache.clear()


def source_files() -> Set[Tuple[str, int]]:
    """Return the application's Python files, and when each was changed."""
    found, library = set(), os.path.dirname(os.__file__)
    foreign = ("", "node_modules", "site-packages", "dist-packages")  # "": the root
    for top in {os.getcwd(), *map(os.path.abspath, sys.path)}:
        if top.startswith(library) or os.path.basename(top) in foreign:
            continue
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name[0] != "." and name not in foreign]
            if "pyvenv.cfg" in files:  # a virtual environment
                folders[:], files = [], []
            for path in (os.path.join(folder, name) for name in files if name.endswith(".py")):
                try:
                    found.add((path, os.stat(path).st_ctime_ns))  # st_mtime may be anything
                except OSError:  # it is about to be written
                    pass
    return found


def hello(environ: Environ, start_response: Callable[..., Any]) -> List[bytes]:
    """The application that is served by default."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, World!\n"]


def load_application(options: Any) -> Any:
    """Return the application that the options name. Raises ConfigError, and what its module raises."""
    import warnings

    app = options.default_app
    if options.app is not None:
        try:
            app = find_application(options.app)
        except SystemExit as error:
            raise ConfigError(f"{options.app} ends the program: SystemExit({error.code!r})") from None
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the application may have given it its default
    # What they patch waits in their own loops: gunicorn has workers for them.
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if getattr(gevent, "saved", None) or getattr(eventlet, "already_patched", None):
        raise ConfigError("gevent or eventlet has patched the standard library: use another server")
    warnings.filterwarnings("ignore", "This process .* multi-threaded", DeprecationWarning, module=__name__)
    threading = sys.modules.get("threading")
    forks = not options.no_fork and (options.preload or not options.workers)
    if forks and threading and threading.active_count() > 1:
        log("warning", "the application started threads at import; the children have none: see --workers")
    if options.validate:
        from wsgiref.validate import validator

        return validator(app)
    return app


def find_application(spec: str) -> Any:
    """Return the application that MODULE, MODULE:NAME or MODULE:FACTORY(LITERALS) names. Raises as above."""
    import ast
    import importlib

    match = re.fullmatch(r"([^:(]*)(?::([^(]*)(\(.*)?)?", spec, re.DOTALL)
    module_name, path, call = match.groups() if match else ("", "", "")
    names = [*module_name.replace("-", "_").split("."), *(path or "app").split(".")]
    if not all(map(str.isidentifier, names)) or path == "":
        raise ConfigError(f"not MODULE, MODULE:NAME or MODULE:FACTORY(): {spec}")
    try:
        parsed: Any = ast.parse("f" + (call or "()"), mode="eval").body
        positional = [ast.literal_eval(value) for value in parsed.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in parsed.keywords}
        if not isinstance(parsed.func, ast.Name) or None in named:  # f()(), or f(**{})
            raise ValueError
    except (SyntaxError, ValueError, AttributeError, TypeError):
        raise ConfigError(f"the arguments of a factory are literals: {spec}") from None
    sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigError(f"no module named {error.name}") from None
        raise
    path = path or ("application" if hasattr(module, "application") else "app")
    try:
        found: Any = functools.reduce(getattr, path.split("."), module)
    except AttributeError:
        raise ConfigError(f"{module_name} has no {path}") from None
    if call and callable(found):
        found = found(*positional, **named)
    if not callable(found):
        raise ConfigError(f"{spec} is not a WSGI application: {type(found).__name__} is not callable")
    return found


def make_context(options: Any) -> ServerContext:
    """Return what all conversations share, without the application. Raises ConfigError."""
    slots = 1 if options.no_fork else options.max_children
    if options.workers:  # as many again while others retire
        slots = (2 * options.workers + 2) * options.threads
    context = ServerContext(options, options.forwarded_allow_ips, slots, options.root_path or "")
    context.environ["wsgi.multithread"] = options.threads > 1
    context.verbose = options.verbose or os.isatty(2)
    if options.certfile is not None:
        context.tls = tls_context(options.certfile, options.keyfile, options.ca_certs)
        context.environ["wsgi.url_scheme"] = "https"
    if options.access_log or os.isatty(2):
        try:
            context.access_log = AccessLog(options.access_log or "-", options.access_log_format == "json")
        except OSError as error:
            raise ConfigError(f"--access-log: cannot write {options.access_log}: {error.strerror}") from None
    return context


def start(options: Any) -> int:
    """Do what the options say; return the exit status. Raises ConfigError, and with --no-fork and
    --check-config what the application's module raises."""
    listeners: List[Listener] = []
    try:
        for bind in dict.fromkeys(options.bind):
            listeners += listen(bind, options.backlog)
        if options.check_config:
            new_log = options.access_log not in (None, "-") and not os.path.exists(options.access_log)
            make_context(options)
            if new_log:
                os.unlink(options.access_log)
            options.load()
            return 0
        return (LoneWorker if options.no_fork else Supervisor)(options, listeners).run()
    finally:
        for listener in listeners:
            listener.remove_file()
            listener.close()


def open_standard_streams() -> None:
    """Open descriptors 0 to 2 where they are missing: a listener must not become stdout."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number
        stream = getattr(sys, name) or open(number, "w" if number else "r", closefd=False)
        setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what is printed appears at once, in a pipe too


def print_error(error: ConfigError) -> None:
    """Write the one line that a usage error is."""
    sys.stderr.write("webserver.py: " + "\\n".join(str(error).splitlines()) + "\n")


def serve(app: Union[str, Application], **options: Any) -> int:
    """Serve `app`, an application or MODULE:APP, until TERM or INT; return the exit status. `options` are the
    command line's, by the same names: serve(app, bind="localhost:8888", workers=2). HUP can import MODULE:APP
    anew, but not an object. Raises ConfigError, and ValueError in a thread."""
    arguments = [f"--app={app}"] if isinstance(app, str) else []
    if not arguments and not callable(app):
        raise ConfigError(f"serve takes a WSGI application, not {type(app).__name__}")
    if not arguments and options.get("reload"):
        raise ConfigError("--reload: only with an application that is named, MODULE:APP")
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is not None and one is not False:
                arguments.append(option if one is True else f"{option}={one}")
    open_standard_streams()
    flush_files()
    wakeup_before = signal.set_wakeup_fd(-1)  # raises in a thread
    try:
        return start(parse_options(arguments, app))
    finally:
        signal.set_wakeup_fd(wakeup_before)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The program: return its exit status."""
    open_standard_streams()
    try:
        options = parse_options(arguments, hello)
        status = start(options)
        run_exit_functions(options.graceful_timeout_s)
        return status
    except ConfigError as error:
        print_error(error)
        return 1 if "--check-config" in (sys.argv if arguments is None else arguments) else 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the application's own failure, shown to its author
        sys.excepthook(type(error), error, error.__traceback__)
        return 1


if __name__ == "__main__":
    status = main()
    flush_streams()
    os._exit(status)  # threads would be waited for
