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
        Child      runs one conversation, blocking                      (the default)
        Worker     runs many on an event loop, calls in a ThreadPool    (--workers, --threads)

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
    Steps = Generator[Tuple[Any, Any], Any, T]  # a part of a conversation, returning T
    Environ = Dict[str, Any]
    ExcInfo = Tuple[Type[BaseException], BaseException, TracebackType]
    Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

__version__ = "2.0"


# ---- limits: every number, with its unit in its name and its reason beside it -----------------


class Limits:
    """What a client may ask of the server. An instance has what the command line changes."""

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
    recv_timeout_s = 0.02  # a child blocks in recv so long, then polls: one call for a busy client, not two
    eviction_grace_s = 0.25  # a connection is not closed before: its first bytes may be on their way
    accept_pause_s = 0.005  # a worker with more connections than another leaves new ones to it so long
    stuck_call_s = 0.02  # a worker in a call for so long takes no connection soon
    block_bytes = 32768  # of one read: glibc trims its heap when it frees twice as much
    unsent_bytes = 65536  # in the kernel, for one client
    cached_lines = 512  # field lines: nearly all that a browser sends come again
    cached_line_bytes = 256  # the longest of them: clients must not fill the memory
    cached_requests = 512  # of 8 kB each, for each listener in a process
    cached_head_bytes = 2048  # the longest head of a cached request; browsers send 1000
    cached_request_s = 60.0  # none is kept longer: a head has cookies and credentials
    cached_response_heads = 1024


# ---- errors: what ends an exchange, a connection or the program -------------------------------

REASONS = {
    400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 413: "Content Too Large",
    414: "URI Too Long", 417: "Expectation Failed", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 505: "HTTP Version Not Supported",
}  # fmt: skip
LIMIT_CLAUSES = {400: "9112 7.1.1", 408: "9110 15.5.9", 413: "9110 15.5.14", 414: "9110 15.5.15"}
LIMIT_CLAUSES[431] = "6585 5"


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
    """The command line asks for what is not possible: one line on stderr, exit status 2."""


# ---- grammar: RFC 9110, RFC 9112 and RFC 3986 as regular expressions --------------------------

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = r"[\t\x20-\x7e\x80-\xff]*"  # field-value with its OWS; obs-text is kept as latin-1
TARGET = r"[\x21\x22\x24-\x7e]+"  # visible ASCII; a fragment is never sent (RFC 9112 3.2)
AUTHORITY = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::[0-9]*)?"  # no userinfo

REQUEST_LINE = re.compile(rf"({TOKEN}) ({TARGET}) HTTP/1\.([0-9])")
FIELD_LINE = re.compile(rf"({TOKEN}):({VALUE})")
FIELD_LINES = re.compile(rf"(?:{TOKEN}:{VALUE}\r\n)*".encode("latin-1"))
HEAD_PREFIX = re.compile(rf"{TOKEN} {TARGET} HTTP/1\.[0-9]\r\n".encode("latin-1") + FIELD_LINES.pattern)
TRAILER_LINE = re.compile(rf"(?:{TOKEN}:{VALUE})?\r\n".encode("latin-1"))
CRLF = re.compile(rb"\r\n")
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

# Wrong anywhere in a head, and refused before the head is whole. A bare LF or CR ends a line for some
# parsers and not for others: two readings of one head, and between them a smuggled request.
BARE_LF, BARE_CR, CONTROL = r"(?<!\r)\n", r"\r(?=[^\n])", r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
FORBIDDEN_OCTETS = re.compile(f"{BARE_LF}|{BARE_CR}|{CONTROL}".encode())
CRLF_RULE = "a line ends in CRLF, not in a bare LF"

# Why a head is malformed, most telling first: what to search for, the status, the rule.
HEAD_FAULTS = (
    (r"\A\r\n", 400, "too many empty lines before the request-line (RFC 9112 2.2)"),
    (BARE_LF, 400, CRLF_RULE + " (RFC 9112 2.2)"),
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


def explain_bad_head(head: str) -> HTTPError:
    """Return the refusal that names the rule which `head` breaks."""
    for pattern, status, rule in HEAD_FAULTS:
        found = re.search(pattern, head)
        if found:
            return HTTPError(status, rule, found.group())
    return HTTPError(400, "not a request (RFC 9112 2.1)", head)


# ---- transport: the socket, tried first and waited for by yielding ----------------------------

# The contract of a conversation
#
# A conversation is a generator. It yields what it needs, and its runner resumes it when that is there:
#
#     (state, timeout)   wait for the socket, for connection.events(state). The runner sends True when it is
#                        ready, False after `timeout` seconds or when the connection is evicted. It may send
#                        True too early: every call is tried again.
#     (IN_APP, act)      call act() in a thread; send what it returned, throw what it raised
#     (TURN, None)       resume after others have had their turn
#
# Its runners are a Task in a Worker, a Child, and Child.block for the write callable. The runner sets
# four hooks of the connection: `may_block`, no other conversation shares this process; `call`, which calls
# the application in place (None: yield IN_APP); `block`, which runs steps to their end inside a call;
# `release`, called when the calls for a request are over, so that its thread is free.
# When the connection is lost, calls go on, so that the iterable's close() is called (PEP 3333).

# The states, in the order in which an evicting server prefers them; up to FIRST_BYTE nothing has arrived.
KEEP_ALIVE, FIRST_BYTE, READ_HEAD, READ_BODY, WRITE, IN_APP, TURN = 1, 2, 3, 4, 5, 6, 7
STATE_NAMES = ["", "idle", "waiting for a first byte", "reading a head", "reading a body", "writing"]
STATE_NAMES.append("in the application")
NO_EVENTS, READABLE, WRITABLE = 0, select.POLLIN, select.POLLOUT  # epoll has the same numbers

NEVER = float("inf")
DONTWAIT = socket.MSG_DONTWAIT
LINGER_OFF, LINGER_RESET = struct.pack("ii", 0, 0), struct.pack("ii", 1, 0)  # struct linger


def grace_left(limits: Limits, state: int, timeout: float) -> float:
    """Return the seconds until a connection may be evicted that has `timeout` seconds left in `state`."""
    # Idle or behind for so long: what it sends next may be on its way.
    grace_s = limits.recv_timeout_s if state == KEEP_ALIVE else limits.eviction_grace_s
    allowed_s = {KEEP_ALIVE: limits.keep_alive_s, READ_BODY: limits.stall_timeout_s}
    allowed_s[WRITE] = limits.send_timeout_s
    return timeout - allowed_s.get(state, limits.header_timeout_s) + grace_s


class Connection:
    """A client's socket, and in `buffer` what was received and is not used yet."""

    buffer: Any = b""  # bytes, and a bytearray while a head is gathered
    head: Optional[bytes] = None  # the last one
    request: Optional[Request] = None  # made of it; None while one is read
    since = 0.0  # the beginning of an exchange, where it is logged
    sent = 0  # bytes of a response that the kernel has taken
    drain_deadline = NEVER  # for pipelined requests, when the server is closing
    turn_ends = 0.0
    client_text: Tuple[Any, bytes] = (None, b"")  # a request, and what the scoreboard shows of it
    may_block = False
    call: Any = None
    block: Any = None
    release: Any = None

    def __init__(self, sock: socket.socket, peer: Any, listener: Listener, context: ServerContext) -> None:
        self.sock: Any = sock
        # A peer of AF_UNIX has no address.
        self.peer = (normalize_ip(peer[0]) or peer[0], str(peer[1])) if type(peer) is tuple else ("", "")
        self.trusted: bool = context.trusted.includes(self.peer[0] or "unix")
        self.listener = listener
        self.request_cache = listener.request_caches[self.trusted]
        self.context = context
        self.limits = context.limits

    def client(self) -> str:
        """Return the client's address for logs, as far as it is known."""
        return ((self.request and self.request.client) or self.peer)[0] or "unix"

    def events(self, state: int) -> int:
        """Return the poll events to wait for in `state`, which are TLS's own choice where it has made one."""
        return getattr(self.sock, "wanted", 0) or (WRITABLE if state == WRITE else READABLE)

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a call on the socket returns, None where it would block. Raises ClientDisconnected."""
        try:
            return call(*arguments)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientDisconnected from error

    def retry(self, state: int, deadline: float, call: Callable[..., Any], *arguments: Any) -> Steps[Any]:
        """Return what a call on the socket returns in the end. Raises TimeoutError, ClientDisconnected."""
        ready = True
        while True:  # once more after the deadline too, so that bytes which are there are not lost
            result = self.attempt(call, *arguments)
            if result is not None:
                return result
            if not ready:
                raise TimeoutError
            ready = yield state, deadline - time.monotonic()

    def receive(self, state: int, deadline: float) -> Steps[bytes]:
        """Return what arrives, b"" at the end. Raises TimeoutError, ClientDisconnected."""
        return self.retry(state, deadline, self.sock.recv, Limits.block_bytes)

    def send_now(self, data: Union[bytes, memoryview]) -> int:
        """Send what the socket takes at once; return how many bytes that is. Raises ClientDisconnected."""
        sent: int = self.attempt(self.sock.send, data) or 0
        self.sent += sent
        return sent

    def send(self, data: Union[bytes, memoryview]) -> Steps[None]:
        """Send `data`. Raises ClientDisconnected."""
        sent = self.send_now(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            yield from self.transfer(len(rest), lambda done: self.attempt(self.sock.send, rest[done:]))

    def send_file(self, file: int, offset: int, count: int) -> Steps[None]:
        """Send `count` bytes of a regular file. Raises ClientDisconnected, EOFError, OSError of the file."""
        by_kernel = not self.context.tls  # the kernel has no key

        def send_part(done: int) -> Any:
            nonlocal by_kernel
            if by_kernel:
                try:
                    return os.sendfile(self.sock.fileno(), file, offset + done, count - done)
                except BlockingIOError:
                    return None
                except ConnectionError as error:
                    raise ClientDisconnected from error
                except OSError:  # a sandbox, FUSE and some file systems refuse it: ENOSYS, EPERM, EINVAL, ...
                    by_kernel = False
            data = os.pread(file, min(Limits.block_bytes, count - done), offset + done)
            return self.attempt(self.sock.send, data) if data else 0

        return self.transfer(count, send_part)

    def transfer(self, count: int, send: Callable[[int], Optional[int]]) -> Steps[None]:
        """Send `count` bytes at the client's pace. `send` takes how many are sent, and returns how many more
        it sent, None where it would block. Raises ClientDisconnected, also for a client that is too slow."""
        stall_s, done = self.limits.send_timeout_s, 0
        deadline = self.extend_deadline(stall_s)
        while done < count:
            sent = send(done)
            if sent:
                done += sent
                self.sent += sent
                deadline = self.extend_deadline(stall_s, deadline, sent)
                yield from self.yield_turn()
            elif sent == 0:
                raise EOFError("the file became shorter while it was sent")
            elif not (yield WRITE, deadline - time.monotonic()):
                raise ClientDisconnected

    def extend_deadline(self, stall_s: float, deadline: float = NEVER, moved: int = 0) -> float:
        """Return the deadline of a transfer: each byte extends it, but to no more than a stall from now."""
        return min(time.monotonic() + stall_s, deadline + moved / self.limits.rate_bytes_per_s)

    def yield_turn(self) -> Steps[None]:
        """Give other connections their turn, where there are others and this one has used up its time."""
        if not self.may_block and time.monotonic() >= self.turn_ends:
            yield TURN, None
            self.turn_ends = time.monotonic() + self.limits.time_slice_s

    def is_last_response(self) -> bool:
        """Return whether the server closes the connection after this response."""
        context = self.context
        if not (context.closing or context.flags[CLOSING] or context.flags[FULL]):
            return False
        # Requests that are in the socket already are answered, for two seconds: closing with unread bytes
        # would reset the connection, and lose them.
        self.buffer = self.buffer or self.attempt(self.sock.recv, Limits.block_bytes, DONTWAIT) or b""
        now = time.monotonic()
        self.drain_deadline = min(self.drain_deadline, now + self.limits.linger_s)
        return not self.buffer or now > self.drain_deadline

    def set_reset(self, on: bool) -> None:
        """Have close() reset the connection: a response that is cut short must not pass for a whole one."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET if on else LINGER_OFF)
        except OSError:  # the client has reset it
            pass

    def lingering_close(self) -> Steps[None]:
        """Shut the sending side down, then discard what arrives for a while: closing with unread bytes would
        reset the connection, and the reset can overtake the response (RFC 9112 9.6)."""
        deadline, discarded = time.monotonic() + self.limits.linger_s, 0
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while discarded < self.limits.linger_bytes:
                data = yield from self.receive(FIRST_BYTE, deadline)
                if not data:
                    return
                discarded += len(data)
        except (OSError, ClientDisconnected):  # a TimeoutError is an OSError
            return

    def start_tls(self, tls: Any) -> Steps[None]:
        """Put TLS below the conversation. Raises ClientDisconnected, TimeoutError, HTTPError."""
        deadline = time.monotonic() + self.limits.header_timeout_s
        self.sock.setblocking(False)
        # Before anything waits for the socket: where the client has reset it, ssl closes the descriptor.
        wrap = functools.partial(tls.wrap_socket, server_side=True, do_handshake_on_connect=False)
        self.sock = secure = self.attempt(wrap, self.sock)
        try:
            first = yield from self.retry(FIRST_BYTE, deadline, secure.recv, 1, socket.MSG_PEEK)
            if first and first != b"\x16":  # RFC 8446 5.1: a handshake
                raise HTTPError(400, "this port speaks https (RFC 9110 4.2.2)")
            yield from self.retry(READ_HEAD, deadline, secure.do_handshake)
        except (ClientDisconnected, HTTPError, TimeoutError) as error:
            self.sock = socket.socket(fileno=secure.detach())
            if isinstance(error.__cause__, ConnectionAbortedError):  # the alert has to reach the client
                yield from self.lingering_close()
            raise


def tls_socket_class() -> Any:
    """Return ssl.SSLSocket, changed to what a conversation needs of a socket."""
    import ssl  # takes 15 ms

    class TLSSocket(ssl.SSLSocket):
        """Never blocks, and raises what a plain socket raises. `wanted` is the event that TLS waits for."""

        RECORD_BYTES = 16384  # RFC 8446 5.1; of a longer write nothing counts as sent before all of it is
        wanted = NO_EVENTS

        def translate(self, call: Callable[..., Any], *arguments: Any) -> Any:
            """Return what `call` returns. Raises OSError as a plain socket does."""
            self.wanted = NO_EVENTS
            try:
                return call(*arguments)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
                self.wanted = READABLE if isinstance(error, ssl.SSLWantReadError) else WRITABLE
                raise BlockingIOError from None
            except ssl.SSLError as error:  # its errno is not the system's
                raise ConnectionAbortedError(error.reason) from error

        def do_handshake(self, block: bool = False) -> Any:
            """Go on with the handshake; return True at its end."""
            self.translate(super().do_handshake)
            return True

        def recv(self, count: int = 0, flags: int = 0) -> bytes:
            """Receive. A peek sees the bytes below TLS: whether the client is there, and how it begins."""
            if flags & socket.MSG_PEEK:
                return socket.socket.recv(self, count, flags)
            return bytes(self.translate(super().recv, count))

        def send(self, data: Any, flags: int = 0) -> int:
            """Send. OpenSSL takes an empty write for the end of the connection."""
            return int(self.translate(super().send, data[: self.RECORD_BYTES])) if data else 0

        def shutdown(self, how: int) -> None:
            """Send close_notify, which says that this was all (RFC 8446 6.1); wait for no answer."""
            try:
                self.unwrap()
            except (OSError, ValueError):
                pass
            super().shutdown(how)

    return TLSSocket


def tls_context(certfile: str, keyfile: Optional[str], ca_certs: Optional[str]) -> Any:
    """Return an ssl.SSLContext, for client certificates too where `ca_certs` is given. Raises ConfigError."""
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.sslsocket_class = tls_socket_class()
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
        self.names = {normalize_ip(name) or name for name in re.findall(r"[^\s,]+", text)}
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

    def __init__(self, head: bytes, connection: Connection) -> None:
        """Raises HTTPError for a head that breaks a rule."""
        limits, context = connection.limits, connection.context
        text = head.decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        match = REQUEST_LINE.fullmatch(first)
        if not match:
            raise explain_bad_head(text)
        self.method, target, minor = match.groups()
        self.minor = int(minor)
        self.line = head[: len(first)]
        if len(first) > limits.request_line_bytes:
            raise limit_error(414, "the request-line", limits.request_line_bytes)
        if len(lines) > limits.fields:
            raise limit_error(431, "the header section", limits.fields, "field lines")
        if len(head) > limits.field_line_bytes and max(map(len, lines), default=0) > limits.field_line_bytes:
            raise limit_error(431, "a field line", limits.field_line_bytes)
        self.client: Optional[Tuple[str, str]] = None  # address and port, as a trusted proxy says
        self.log_fields: Any = None  # what the access log shows of it
        environ = self.environ = {**context.environ, **connection.listener.environ}
        environ["REQUEST_METHOD"] = self.method
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if self.minor else "HTTP/1.0"
        # Keys that each exchange sets: a dict that has them already is copied without growing.
        environ["REMOTE_ADDR"] = environ["REMOTE_PORT"] = environ["wsgi.input"] = None
        try:
            self.add_fields(lines)
        except ValueError:
            raise explain_bad_head(text) from None
        self.parse_target(target)
        self.parse_framing(limits)
        self.apply_forwarded(connection)

    def add_fields(self, lines: List[str]) -> None:
        """Add fields to the environ, repeated ones joined (RFC 9110 5.3). Raises ValueError, HTTPError."""
        environ, most = self.environ, Limits.cached_line_bytes
        for line in lines:
            key, value = cached_field(line) if len(line) <= most else parse_field(line)
            if key in environ:
                if key in SINGLETON_FIELDS:
                    rule = "this field occurs once in a request (RFC 9110 5.3)"
                    raise HTTPError(400, rule, line.partition(":")[0])
                value = environ[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value
            environ[key] = value
        environ.pop("", None)

    def parse_target(self, target: str) -> None:
        """Read the four forms of a request-target, and the Host beside them (RFC 9112 3.2)."""
        environ, method = self.environ, self.method
        absolute = None if target[0] == "/" else ABSOLUTE.fullmatch(target)
        if absolute and absolute[1].lower() != environ["wsgi.url_scheme"]:
            absolute = None
        if self.minor and "HTTP_HOST" not in environ:
            raise HTTPError(400, "a request of HTTP/1.1 has a Host (RFC 9112 3.2)")
        for authority in (environ.get("HTTP_HOST"), absolute and absolute[2]):
            if authority is not None and not is_authority(authority):
                raise HTTPError(400, "an authority is a host and perhaps a port (RFC 9112 3.2)", authority)
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
            if connection.context.board.first(FORWARDED_DROPPED):
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


@functools.lru_cache(maxsize=64)
def is_authority(text: str) -> bool:
    """Return whether `text` is a host and perhaps a port (RFC 3986 3.2)."""
    match = HOST.fullmatch(text)
    return bool(match and (not match[1] or (":" in match[1] and normalize_ip(match[1]))))


@functools.lru_cache(maxsize=64)
def list_members(value: str) -> Set[str]:
    """Return the members of a list-based field value, in lower case (RFC 9110 5.6.1)."""
    return {member.strip(" \t") for member in value.lower().split(",")}


def parse_field(line: str) -> Tuple[str, str]:
    """Return the environ's key for a field line, "" to leave it out, and the value. Raises ValueError."""
    match = FIELD_LINE.fullmatch(line)
    if not match:
        raise ValueError
    name, value = match.groups()
    key = name.upper().replace("-", "_")
    # A name with an underscore would pass for another one, and Proxy for a setting (httpoxy).
    if "_" in name or key == "PROXY":
        key = ""
    elif key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        key = "HTTP_" + key
    return key, value.strip(" \t")


cached_field = functools.lru_cache(maxsize=Limits.cached_lines)(parse_field)


class RequestCache:
    """Requests by their heads. Load generators, health checks and pollers repeat theirs byte for byte;
    browsers do not. A head is kept when it comes the second time, so that one-time heads push nothing out."""

    def __init__(self) -> None:
        self.requests: Dict[bytes, Request] = {}
        self.seen: Set[int] = set()  # hashes of heads that came once
        self.expires_at = 0.0

    def add(self, head: bytes, connection: Connection) -> Request:
        """Return the request that a head is; keep it if the head has come before. Raises HTTPError."""
        connection.request = None
        request = Request(head, connection)
        now = time.monotonic()
        if now > self.expires_at or len(self.seen) >= Limits.cached_requests:
            self.expires_at = now + Limits.cached_request_s
            self.requests.clear()
            self.seen.clear()
        if hash(head) in self.seen:
            self.requests[head] = request
        elif len(head) <= Limits.cached_head_bytes:
            self.seen.add(hash(head))
        return request


def read_head(connection: Connection) -> Steps[bytes]:
    """Return the next head, b"" when nothing comes. Raises HTTPError, ClientDisconnected."""
    data: Optional[bytes] = None
    if connection.buffer:  # pipelined: others have their turn before it
        yield from connection.yield_turn()
        data = connection.buffer
    elif connection.may_block or not connection.request:
        # In other cases a response was just sent, and the next request is hardly there yet.
        data = connection.attempt(connection.sock.recv, Limits.block_bytes)
    if data is None and connection.request:
        ready = yield KEEP_ALIVE, connection.limits.keep_alive_s
        data = connection.attempt(connection.sock.recv, Limits.block_bytes)  # also at the last moment
        if data is None and not ready:
            return b""
    if data == b"" or data in connection.request_cache.requests:
        connection.buffer = b""
        return data
    end = data.find(b"\r\n\r\n") + 4 if data else 0
    if data and end >= 4 and not data.startswith(b"\r\n"):
        connection.buffer = data[end:]
        return data[:end]
    connection.buffer = bytearray(data or b"")
    return (yield from gather_head(connection))


def gather_head(connection: Connection) -> Steps[bytes]:
    """Return the next head, in however many pieces it comes, without blank lines before it; b"" when nothing
    comes. What cannot become a head is refused at once. Raises HTTPError, ClientDisconnected."""
    limits, searched, checked, blank = connection.limits, 0, 0, 0
    connection.request = connection.head = None
    data: bytearray = connection.buffer
    deadline = time.monotonic() + limits.header_timeout_s
    while True:
        while data.startswith(b"\r\n") and blank < limits.blank_lines:
            del data[:2]
            searched, blank = 0, blank + 1
        end = data.find(b"\r\n\r\n", max(0, searched - 3))
        size = end if end >= 0 else len(data)
        if FORBIDDEN_OCTETS.search(data, max(0, searched - 1), size):
            raise explain_bad_head(data[:size].decode("latin-1"))
        longest = limits.request_line_bytes + 2
        if size >= longest and data.find(b"\r\n", 0, longest) < 0:
            raise limit_error(414, "the request-line", limits.request_line_bytes)
        if size > limits.head_bytes:
            raise limit_error(431, "the head", limits.head_bytes)
        last = data.rfind(b"\r\n", max(checked, searched - 1), size)
        if last >= 0:  # the lines up to there are complete
            if not (FIELD_LINES if checked else HEAD_PREFIX).fullmatch(data, checked, last + 2):
                raise explain_bad_head(data[: last + 2].decode("latin-1") + "\r\n")
            checked = last + 2
        if end >= 0:
            connection.buffer = bytes(data[end + 4 :])
            return bytes(data[: end + 4])
        searched = size
        try:
            more = yield from connection.receive(READ_HEAD if data else FIRST_BYTE, deadline)
        except TimeoutError:
            if not data:
                return b""
            raise limit_error(408, "the time for a head", limits.header_timeout_s, "seconds") from None
        if not more:
            return b""
        data += more


# ---- body: read whole before the application is called, by either framing ---------------------


class Spool:
    """A file in memory, moved to disk when it grows. (tempfile.SpooledTemporaryFile lacks what wsgi.input
    needs before Python 3.11, and its import takes 5 ms, which each forked child would pay.)"""

    def __init__(self, memory_bytes: int) -> None:
        self.file: Any = io.BytesIO()
        self.size = 0
        self.memory_bytes = memory_bytes

    def write(self, data: Union[bytes, bytearray]) -> None:
        """Append `data`. Raises OSError where the disk is full."""
        if self.size <= self.memory_bytes < self.size + len(data):
            import tempfile

            memory, self.file = self.file, tempfile.TemporaryFile()
            self.file.write(memory.getbuffer())
        self.file.write(data)
        self.size += len(data)


class BodyReader:
    """Moves a request's body from its connection to a spool."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.limits = connection.limits
        self.buffer = bytearray(connection.buffer)
        self.spool = Spool(self.limits.memory_bytes)
        self.deadline = connection.extend_deadline(self.limits.stall_timeout_s)

    def read(self, request: Request, environ: Environ) -> Steps[None]:
        """Put the body into the environ, as a file. Raises HTTPError, ClientDisconnected."""
        if request.expects_continue and not self.buffer:
            yield from self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            yield from self.move_chunks() if request.chunked else self.move(request.length)
            self.spool.file.seek(0)
        except OSError as error:
            log("error", f"cannot keep a body of more than {self.spool.size} bytes: {error.strerror}")
            raise HTTPError(500, "this body cannot be kept") from None
        self.connection.buffer = bytes(self.buffer)
        environ["wsgi.input"] = self.spool.file
        environ["CONTENT_LENGTH"] = str(self.spool.size)

    def receive(self) -> Steps[bytes]:
        """Return what arrives next."""
        yield from self.connection.yield_turn()
        try:
            data = yield from self.connection.receive(READ_BODY, self.deadline)
        except TimeoutError:
            rule = f"a body arrives at {self.limits.rate_bytes_per_s} bytes a second (RFC 9110 15.5.9)"
            raise HTTPError(408, rule) from None
        self.deadline = self.connection.extend_deadline(self.limits.stall_timeout_s, self.deadline, len(data))
        if not data:  # a body that ends early is never passed on as a whole one (RFC 9112 8)
            raise ClientDisconnected
        return data

    def move(self, count: int) -> Steps[None]:
        """Move the next `count` bytes to the spool."""
        data: Union[bytes, bytearray] = self.buffer[:count]
        del self.buffer[:count]
        while True:
            self.spool.write(data)
            count -= len(data)
            if not count:
                return
            more = yield from self.receive()
            data = more[:count]
            self.buffer += more[count:]

    def move_chunks(self) -> Steps[None]:
        """Move the data of all chunks; drop the trailer section, which is not merged (RFC 9112 7.1)."""
        limits = self.limits
        for _ in range(limits.chunks + 1):  # and the last-chunk
            rule = "a chunk begins with a hexadecimal chunk-size, and perhaps extensions"
            line = yield from self.take_line(CHUNK_LINE, limits.chunk_line_bytes, 400, rule)
            size = int(line[1], 16)
            if self.spool.size + size > limits.body_bytes:
                raise limit_error(413, "the body", limits.body_bytes)
            if not size:
                break
            yield from self.move(size)
            yield from self.take_line(CRLF, 2, 400, "a chunk ends in CRLF")
        else:
            raise limit_error(413, "the body", limits.chunks, "chunks")
        for _ in range(limits.fields + 1):
            rule = "a trailer section is field lines, and ends in an empty one"
            line = yield from self.take_line(TRAILER_LINE, limits.field_line_bytes + 2, 431, rule)
            if line[0] == b"\r\n":
                return
        raise limit_error(431, "the trailer section", limits.fields, "field lines")

    def take_line(self, pattern: re.Pattern[bytes], limit: int, status: int, rule: str) -> Steps[Any]:
        """Take a line of at most `limit` bytes from the buffer; return its match with `pattern`."""
        while True:
            end = self.buffer.find(b"\n", 0, limit) + 1
            line = bytes(self.buffer[:end])
            found = pattern.fullmatch(line)
            if found:
                del self.buffer[:end]
                return found
            if end or (pattern is CRLF and len(self.buffer) >= limit):
                bare = pattern is not CRLF and not line.endswith(b"\r\n")
                part = self.buffer[: end or limit].decode("latin-1")
                raise HTTPError(400, (CRLF_RULE if bare else rule) + " (RFC 9112 7.1)", part)
            if len(self.buffer) >= limit:
                raise limit_error(status, "a line of the chunked coding", limit)
            self.buffer += yield from self.receive()


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

    app: Any = None
    tls: Any = None  # an ssl.SSLContext
    access_log: Optional[AccessLog] = None
    verbose = False  # log each refused request
    reraise: Any = ClientDisconnected  # exceptions out of a call that are not the application's failure
    closing = False  # this process closes each connection after its response
    requests_left = NEVER  # until --max-requests
    on_max_requests: Callable[[], None]

    def __init__(self, limits: Limits, trusted: TrustedProxies, slots: int = 1, root: str = "") -> None:
        self.limits = limits
        self.trusted = trusted
        self.board = Scoreboard(slots)
        self.flags = self.board.memory
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


class Clock:
    """The time in UTC as bytes, which are made once a second, in English in any locale."""

    def __init__(self, form: str) -> None:
        self.form = form  # of strftime, with {day} and {month}
        self.second, self.text = NEVER, b""

    def read(self) -> bytes:
        """Return the time."""
        now = time.time()
        if not self.second <= now < self.second + 1:
            when = time.gmtime(now)
            form = self.form.format(day=DAYS[when.tm_wday], month=MONTHS[when.tm_mon - 1])
            self.second, self.text = now // 1, time.strftime(form, when).encode()
        return self.text


date_line = Clock("Date: {day}, %d {month} %Y %H:%M:%S GMT\r\n\r\n").read  # and the end of a head

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


# An application repeats itself.
cached_response_head = functools.lru_cache(maxsize=Limits.cached_response_heads)(ResponseHead)


class Response:
    """One response: start_response and write for the application, framing for the wire."""

    head: Optional[ResponseHead] = None  # from start_response
    headers_sent = False  # the head is on its way
    left: Optional[int] = None  # bytes of the body still to come, None where that is not known
    framing_bytes = 0  # of what was made for the wire, those that are not the body's
    finished = False  # nothing more may be written
    overflowed = False  # there is more than the Content-Length says
    spool: Optional[Spool] = None  # what could not be sent at once

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request

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
        """The write callable of PEP 3333. It blocks in a child; elsewhere it keeps what cannot be sent."""
        if not isinstance(data, bytes):
            raise TypeError(f"write takes bytes, not {type(data).__name__} (PEP 3333)")
        if self.finished:
            raise AssertionError("write was called after the end of the response (PEP 3333)")
        data = self.frame_block(data) if data else data
        if self.connection.block:
            self.connection.block(self.connection.send(data))
        else:
            self.send_or_keep(data)

    def send_or_keep(self, data: bytes) -> None:
        """Send what the socket takes, and keep the rest. Raises OSError where the disk is full."""
        if data and not self.spool:
            data = data[self.connection.send_now(data) :]
        if data:
            self.spool = self.spool or Spool(self.connection.limits.memory_bytes)
            self.spool.write(data)

    def build_head(self, known: Optional[int]) -> bytes:
        """Return the head, and decide how the body is framed (RFC 9112 6.3), whose length may be `known`."""
        head, request = self.head, self.request
        if not head:
            raise AssertionError("the application did not call start_response (PEP 3333)")
        lines, length = head.lines, known if head.length is None and head.code != 304 else head.length
        self.chunked, self.bodiless = False, head.code in BODILESS or request.method == "HEAD"
        self.close = head.close or self.connection.is_last_response() or not request.persistent
        if self.bodiless:
            if head.code == 205:  # RFC 9110 15.3.6
                length = 0
            elif head.code == 204 or not length:  # RFC 9110 8.6; the body of a GET need not be empty
                length = None
        elif length is None:
            self.chunked = request.minor > 0
            if not self.chunked:  # the end of the connection is the end of the body
                self.close = True
                self.connection.set_reset(True)
        self.left = 0 if self.bodiless else length
        if length is not None:
            lines += b"Content-Length: %d\r\n" % length
        elif self.chunked:
            lines += b"Transfer-Encoding: chunked\r\n"
        if self.close:
            lines += b"Connection: close\r\n"
        elif not request.minor:
            lines += b"Connection: keep-alive\r\n"
        self.headers_sent = True
        lines += b"\r\n" if head.has_date else date_line()
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

    def frame_block(self, data: bytes, known: Optional[int] = None) -> bytes:
        """Return `data` as it goes on the wire, after the head where that is still to be sent."""
        head = b"" if self.headers_sent else self.build_head(known)
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

    def last_bytes(self) -> bytes:
        """Return what follows the last block. Raises EOFError where the body is too short."""
        data = self.frame_block(b"", 0)
        if self.left:
            self.send_or_keep(data)  # the head, for the client to see what is missing
            raise EOFError(f"{self.left} bytes of the Content-Length are missing")
        if self.chunked:
            data += b"0\r\n\r\n"
            self.framing_bytes += 5
        return data


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
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.file = 2 if path == "-" else os.open(path, flags, 0o666)
        self.as_json = as_json
        self.template, form = self.JSON if as_json else self.COMBINED
        self.read_clock = Clock(form).read

    def log_request(self, connection: Connection, status: int, size: int) -> None:
        """Log how the last request on a connection was answered. The server goes on where that fails."""
        request = connection.request  # None where it was refused
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
        try:
            what = line, status, size, referer, agent, took_us
            os.write(self.file, self.template % (connection.client().encode(), self.read_clock(), *what))
        except OSError as error:
            if connection.context.board.first(LOG_FAILED):
                log("error", f"cannot write the access log: {error.strerror}")

    def quote(self, text: str, limit: int) -> bytes:
        """Return `text` quoted and escaped, so that it forges no line and controls no terminal, and cut."""
        if self.as_json:
            import json

            quoted = json.dumps(text)
        else:
            quoted = '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
        if len(quoted) > limit:
            return self.quote(text[: len(text) * limit // len(quoted) - 4] + "...", limit)
        return quoted.encode()


# ---- conversation: a connection from its first byte to its last -------------------------------


def serve_connection(connection: Connection) -> Steps[None]:
    """Serve one connection until it ends. Raises nothing but GeneratorExit."""
    context = connection.context
    try:
        if context.tls:
            yield from connection.start_tls(context.tls)
        if (yield from serve_requests(connection)):
            # A client that did not ask for the end may be sending more.
            unread = connection.buffer or connection.attempt(connection.sock.recv, 1, DONTWAIT)
            if unread or (connection.request and connection.request.persistent):
                yield from connection.lingering_close()
                return
        if context.tls:
            connection.attempt(connection.sock.shutdown, socket.SHUT_WR)
    except HTTPError as error:
        if context.verbose and error.status != 500:
            log("notice", f"{connection.peer[0] or 'unix'} {error.rule} {error.status}")
        yield from send_error(connection, error, connection.head or connection.buffer)
    except (ClientDisconnected, TimeoutError):
        pass
    except Exception as error:  # a fault of the server, or no memory: this connection ends, and no other
        log_exception(connection.head or b"", error)


def serve_requests(connection: Connection) -> Steps[bool]:
    """Answer requests; return True when a response ends the connection, False when the client does. Raises
    HTTPError, ClientDisconnected."""
    cache, access_log = connection.request_cache, connection.context.access_log
    while True:
        head = connection.head = yield from read_head(connection)
        if not head:
            return False
        request = connection.request = cache.requests.get(head) or cache.add(head, connection)
        if access_log:
            connection.since = time.monotonic()
        environ = request.environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = request.client or connection.peer
        if request.has_body:
            yield from BodyReader(connection).read(request, environ)
        else:
            environ["wsgi.input"] = io.BytesIO()
        response = Response(connection, request)
        try:
            keep_alive = yield from exchange(response, environ)
        finally:
            if access_log and response.headers_sent and response.head:  # else it was refused, or is lost
                sent = max(0, connection.sent - response.framing_bytes)
                access_log.log_request(connection, response.head.code, sent)
        if not keep_alive:
            return True
        del environ, response  # an idle connection holds none


def exchange(response: Response, environ: Environ) -> Steps[bool]:
    """Call the application and send its response; return whether the connection persists. Raises HTTPError,
    ClientDisconnected."""
    request, connection = response.request, response.connection
    # All calls of one request run in a contextvars context of their own.
    context, run = connection.context, contextvars.copy_context().run
    blocks: Any = None
    connection.sent = 0
    context.requests_left -= 1
    if not context.requests_left:
        context.on_max_requests()
    try:
        if connection.call:  # as call() does, without a generator on the way of every request
            blocks = connection.call(connection, run, context.app, environ, response.start)
        else:
            blocks = yield IN_APP, functools.partial(run, context.app, environ, response.start)
        data = response.single_block(blocks) or (yield from send_blocks(response, blocks, run))
    except context.reraise:
        raise
    except BaseException as error:  # SystemExit and MemoryError too: the next request is not to blame
        name = log_exception(request.line, error)
        yield from send_spool(response)
        if not response.headers_sent:
            raise HTTPError(500, f"the application failed; the log has it as {name}") from None
        raise ClientDisconnected from error  # the client sees that this was not a whole response
    finally:
        response.finished = True
        if type(blocks) is not list and hasattr(blocks, "close"):
            try:
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
    return not response.close


def send_blocks(response: Response, blocks: Any, run: Any) -> Steps[bytes]:
    """Send each block before the next one is asked for; return the last bytes, for after the calls."""
    connection, limits, end = response.connection, response.connection.limits, object()
    iterable = hasattr(blocks, "__iter__") or hasattr(blocks, "__getitem__")
    if isinstance(blocks, (str, bytes)) or not iterable:
        kind = type(blocks).__name__
        raise TypeError(f"the application returned {kind}, not an iterable of bytes (PEP 3333)")
    extent = blocks.extent() if isinstance(blocks, FileWrapper) and not response.headers_sent else None
    if extent:
        file, offset, size = extent
        yield from connection.send(response.build_head(size))
        size = min(size, response.left or 0)
        yield from connection.send_file(file, offset, size)
        response.left = (response.left or 0) - size
        return response.last_bytes()
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
        if response.left == 0 and len(data) <= limits.memory_bytes:
            response.send_or_keep(data)  # probably the last: the application need not wait for the client
        elif data:
            yield from connection.send(data)
        if not block:  # nothing is sent that would show whether the client is there
            connection.attempt(connection.sock.recv, 1, socket.MSG_PEEK | DONTWAIT)
        if response.overflowed or (response.headers_sent and response.bodiless):
            break
        yield from connection.yield_turn()
    return response.last_bytes()


def send_spool(response: Response) -> Steps[None]:
    """Send what was kept."""
    if response.spool:
        file, response.spool = response.spool.file, None
        file.seek(0)
        with file:
            for data in iter(functools.partial(file.read, Limits.block_bytes), b""):
                yield from response.connection.send(data)


def send_error(connection: Connection, error: HTTPError, head: Union[bytes, bytearray]) -> Steps[None]:
    """Answer a refused request with the rule that it broke, and close so that the client can read it."""
    title = f"{error.status} {REASONS[error.status]}"
    body = f"{title}: {error.rule}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    data = ResponseHead(title, *headers).lines + b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
    data += date_line()
    framing_bytes, connection.sent = len(data), 0
    try:
        yield from connection.send(data if head.startswith(b"HEAD ") else data + body)
        yield from connection.lingering_close()
    except ClientDisconnected:
        return
    finally:
        if connection.context.access_log:
            sent = max(0, connection.sent - framing_bytes)
            connection.context.access_log.log_request(connection, error.status, sent)


def call(connection: Connection, act: Callable[..., Any], *arguments: Any) -> Steps[Any]:
    """Call into the application: in place, or in the thread that the request has."""
    if connection.call:
        return connection.call(connection, act, *arguments)
    return (yield IN_APP, functools.partial(act, *arguments))


def step(conversation: Steps[Any], value: Any) -> Any:
    """Resume `conversation` until it yields; return what it yields, None at its end."""
    try:
        return conversation.send(value)
    except StopIteration:
        return None


# ---- loop: resumes what is ready, or whose deadline has passed --------------------------------


class Handle:
    """What waits for a descriptor: `resume` is called with True when it is ready, with False at the
    deadline."""

    __slots__ = ("deadline", "events", "key")

    def __init__(self, key: int) -> None:
        self.key = key
        self.events = NO_EVENTS
        self.deadline = NEVER

    def resume(self, ready: bool) -> None:
        """Go on."""
        raise NotImplementedError


class Watch(Handle):
    """A function that is called whenever a descriptor is readable."""

    __slots__ = ("callback",)
    callback: Callable[[], None]

    def resume(self, ready: bool) -> None:
        """Call it."""
        self.callback()


class Loop:
    """An event loop. Connections have deadlines that move all the time and may be late: they are looked
    through when the earliest that was seen has passed. Timers are few, named and exact."""

    SCAN_S = 0.1  # the least between two looks at all deadlines
    MOST_S = 3600.0  # poll takes 2**31 ms at most; an application may have replaced the clock

    def __init__(self) -> None:
        self.poller: Any = getattr(select, "epoll", select.poll)()  # with the same methods
        self.unit = 1 if hasattr(select, "epoll") else 1000  # poll takes milliseconds
        self.handles: Dict[int, Handle] = {}
        self.timers: Dict[str, Tuple[float, Callable[[], None]]] = {}
        self.turns: List[Handle] = []  # resumed after all that is ready now
        self.next_scan = NEVER
        self.running = True

    def wait(self, handle: Handle, events: int, deadline: float) -> None:
        """Resume `handle` when its descriptor is ready for `events`, or at `deadline`."""
        if handle.events != events:
            try:
                if not events:
                    self.poller.unregister(handle.key)
                elif handle.events:
                    self.poller.modify(handle.key, events)
                else:
                    self.poller.register(handle.key, events)
            finally:
                handle.events = events
        handle.deadline = deadline
        if deadline < self.next_scan:
            self.next_scan = deadline

    def take_turn(self, handle: Handle) -> None:
        """Resume `handle` after the others."""
        self.wait(handle, NO_EVENTS, NEVER)
        self.turns.append(handle)

    def watch(self, key: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `key` is readable."""
        watch: Any = self.handles.get(key) or self.handles.setdefault(key, Watch(key))
        watch.callback = callback
        self.wait(watch, READABLE, NEVER)

    def forget(self, key: int) -> None:
        """Wait for a descriptor no longer. To be called before it is closed: where another process has it
        open too, epoll would go on reporting it."""
        handle = self.handles.pop(key, None)
        if handle:
            self.wait(handle, NO_EVENTS, NEVER)

    def call_at(self, name: str, when: float, callback: Callable[[], None]) -> None:
        """Call `callback` once, then. A timer of the same name is replaced."""
        self.timers[name] = when, callback

    def close(self) -> None:
        """Close the poller. An epoll set is shared by fork: a child must not unregister from it."""
        if hasattr(self.poller, "close"):
            self.poller.close()

    def run(self) -> None:
        """Run until `running` is made false."""
        poll, handles, timers = self.poller.poll, self.handles, self.timers
        while self.running:
            due = min(timers.values(), key=lambda timer: timer[0])[0] if timers else NEVER
            due = 0.0 if self.turns else min(due, self.next_scan)
            timeout = None if due == NEVER else min(max(0.0, due - time.monotonic()), self.MOST_S) * self.unit
            for key, _ in poll(timeout):
                handle = handles.get(key)
                # It may be forgotten or busy by now, or its number be another one's: that finds nothing.
                if handle and handle.events:
                    handle.resume(True)
            turns, self.turns = self.turns, []
            for handle in turns:
                handle.resume(True)
            if timers or self.next_scan != NEVER:
                self.run_timers(time.monotonic())

    def run_timers(self, now: float) -> None:
        """Call the timers that are due, and resume the handles whose deadline has passed."""
        for name, (when, callback) in list(self.timers.items()):
            if when <= now and self.timers.get(name) == (when, callback):
                del self.timers[name]
                callback()
        if now >= self.next_scan:
            self.next_scan = NEVER
            for handle in list(self.handles.values()):
                if handle.deadline <= now:
                    handle.deadline = NEVER
                    handle.resume(False)
            earliest = min((handle.deadline for handle in self.handles.values()), default=NEVER)
            self.next_scan = max(earliest, now + self.SCAN_S)


def wake_up_pipe() -> Tuple[int, int]:
    """Return a pipe of which neither end blocks, by which a thread or a signal wakes a loop."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def read_wake_ups(reader: int) -> None:
    """Empty the pipe. The bytes in it mean nothing."""
    try:
        os.read(reader, 4096)
    except BlockingIOError:
        pass


def wake(writer: int) -> None:
    """Wake the loop that watches the other end."""
    try:
        os.write(writer, b".")
    except BlockingIOError:  # it is full, and wakes
        pass


# ---- scoreboard: what every process is doing, in memory that outlives it ----------------------

# A Server and its children share one scoreboard. There are no locks: each byte has one writer.
#
#     byte 0  CLOSING            close each connection after its response    written by the Server
#     byte 1  DRAINING           close idle connections too                  written by the Server
#     byte 2  FULL               children: as CLOSING, while clients wait    written by the ForkServer
#     byte 3  FORWARDED_DROPPED  this was logged once                        written by anyone
#     byte 4  LOG_FAILED         this was logged once                        written by anyone
#
#     byte 256 n   the record of slot n, written by the child or thread that has it:
#                  state (1 byte), 3 unused, load (4), since (8: when the state began), client and
#                  request-line (240, the first byte is their length)
#
# A child has one slot, a worker one for each thread, of which the first carries its load: how many
# connections it has, or NOT_ACCEPTING. From these the Server knows what a dead child was serving and which
# call hangs, and a worker whether another one has fewer connections.
CLOSING, DRAINING, FULL, FORWARDED_DROPPED, LOG_FAILED = range(5)
NOT_ACCEPTING = 0xFFFFFFFF


class Scoreboard:
    """See the picture above. A slot is named by the offset of its record."""

    SLOT_BYTES = 256
    RECORD = struct.Struct("=B3xId240p")
    TEXT = struct.Struct("240p")

    def __init__(self, slots: int) -> None:
        self.memory = mmap.mmap(-1, (slots + 1) * self.SLOT_BYTES)
        self.loads = memoryview(self.memory).cast("I")
        self.sinces = memoryview(self.memory).cast("d")

    def first(self, flag: int) -> bool:
        """Set a flag; return whether it was not set before."""
        before, self.memory[flag] = self.memory[flag], 1
        return not before

    def clear(self, at: int, text: bytes = b"", load: int = NOT_ACCEPTING) -> None:
        """Begin a record."""
        self.RECORD.pack_into(self.memory, at, 0, load, 0.0, text)

    def set_state(self, at: int, state: int) -> None:
        """Note that a state begins."""
        self.sinces[at // 8 + 1] = time.monotonic()
        self.memory[at] = state

    def read(self, at: int) -> Tuple[int, int, float, str]:
        """Return state, load, since, and the client with its request-line."""
        state, load, since, text = self.RECORD.unpack_from(self.memory, at)
        return state, load, since, text.decode("latin-1")


class Slot:
    """A place on the scoreboard, for one call into the application at a time."""

    def __init__(self, board: Scoreboard, at: int, idle_state: int = KEEP_ALIVE) -> None:
        self.memory: Any = board.memory
        self.sinces: Any = board.sinces
        self.at = at
        self.since_index = at // 8 + 1
        self.text = slice(at + 16, at + board.SLOT_BYTES)
        self.idle_state = idle_state  # after a call

    def call(self, connection: Connection, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the application, and show meanwhile what is served, for which client and since when."""
        request, text = connection.client_text
        if request is not connection.request:
            request = connection.request
            text = Scoreboard.TEXT.pack(b"%b %b" % (connection.client().encode(), request.line))
            connection.client_text = request, text
        self.memory[self.text] = text
        self.sinces[self.since_index] = time.monotonic()
        self.memory[self.at] = IN_APP
        try:
            return act(*arguments)
        finally:
            self.memory[self.at] = self.idle_state


# ---- listeners: addresses and sockets ---------------------------------------------------------

BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]\s]+)?)\]|([^:\[\]/]*)):([0-9]{1,5})")
UNAVAILABLE_ERRNOS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address that this machine does not have


class Listener:
    """A listening socket, its names, and the requests that came by it before."""

    def __init__(self, sock: socket.socket, bind: str, name: str = "", file: Any = None) -> None:
        """`bind` is what asked for it, `name` the server's, `file` the identity of a socket file of ours."""
        sock.setblocking(False)
        # Connections inherit these. Without the second one the socket of a slow reader takes megabytes at
        # once, then nothing for minutes.
        for option, value in (("TCP_NODELAY", 1), ("TCP_NOTSENT_LOWAT", Limits.unsent_bytes)):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            except (AttributeError, OSError):  # not on each system, and not of AF_UNIX
                pass
        self.sock = sock
        self.bind = bind
        self.file = file
        address = sock.getsockname()
        self.unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        self.where = f"unix:{address}" if self.unix else f"port {address[1]}"
        name = name or socket.gethostname()
        port = "80" if self.unix else str(address[1])
        self.environ = {"SERVER_NAME": f"[{name}]" if ":" in name else name, "SERVER_PORT": port}
        # One for clients that are not trusted, one for trusted proxies: they may say more.
        self.request_caches = RequestCache(), RequestCache()

    def remove_file(self) -> None:
        """Remove the socket file, if it is still the one that was made here."""
        path = self.bind[len("unix:") :]
        if self.file and identity(path) == self.file:
            os.unlink(path)

    def shut_down(self) -> None:
        """End it for every process that has it open, but not for whoever passed it in."""
        if not self.bind.startswith("fd://"):
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:  # another process was first, or the system cannot
                pass

    def refuse_new(self) -> None:
        """Have the kernel drop new SYNs, which their clients repeat, so that none gets in between the last
        accept and the shutdown (Linux)."""
        if self.unix or self.bind.startswith("fd://") or not hasattr(socket, "SO_INCOMING_CPU"):
            return
        import array

        # Load the byte with the TCP flags (RFC 9293 3.1); where SYN is set drop the segment, else take it.
        steps = ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
        code = array.array("B", b"".join(struct.pack("HBBI", *step) for step in steps))
        program = struct.pack("HP", len(steps), code.buffer_info()[0])
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
        except OSError:
            pass


def identity(path: str) -> Optional[Tuple[int, int]]:
    """Return what tells a file from another one of its name, None where there is no file."""
    try:
        status = os.lstat(path)
        return status.st_dev, status.st_ino
    except OSError:
        return None


def listen(bind: str, backlog: int) -> List[Listener]:
    """Return listeners for a --bind: HOST:PORT on each address, all on the same port; unix:PATH; fd://N, a
    socket that is open already. Raises ConfigError."""
    try:
        if re.match("unix:.", bind):
            return [Listener(bind_unix(bind[5:], backlog), bind, "", identity(bind[5:]))]
        if re.fullmatch("fd://[0-9]{1,9}", bind):
            return [Listener(inherited_socket(int(bind[5:])), bind)]
        match = BIND.fullmatch(bind)
        if not match or int(match[3]) > 65535:
            raise ConfigError(f"not HOST:PORT, :PORT, [IPV6]:PORT, unix:PATH or fd://N: {bind}")
        host, port = match[1] or match[2], int(match[3])
        names = ("127.0.0.1", "::1") if host == "localhost" else (host or None,)
        resolve, kind = socket.getaddrinfo, socket.SOCK_STREAM
        infos = [info for name in names for info in resolve(name, port, 0, kind, 0, socket.AI_PASSIVE)]
        found = list(dict.fromkeys((family, address) for family, _, _, _, address in infos))
        return [Listener(sock, bind, host) for sock in bind_all(found, port, backlog)]
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).split(" (")[0]
        raise ConfigError(f"cannot listen on {bind}: {reason}") from None


def bind_unix(path: str, backlog: int) -> socket.socket:
    """Return a socket that listens on a file, in place of one that no process listens on. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            with socket.socket(socket.AF_UNIX) as client:
                client.setblocking(False)  # a full backlog is that of a living server
                if error.errno != errno.EADDRINUSE or client.connect_ex(path) != errno.ECONNREFUSED:
                    raise
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise
            os.unlink(path)
            sock.bind(path)
        sock.listen(backlog)
        return sock
    except BaseException:
        sock.close()
        raise


def inherited_socket(descriptor: int) -> socket.socket:
    """Return the listening socket that this descriptor is. Raises OSError."""
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise OSError(errno.EINVAL, "not a listening socket")
    return sock


def bind_all(found: List[Tuple[Any, Any]], port: int, backlog: int, tries: int = 20) -> List[socket.socket]:
    """Return a listening socket for each of these addresses that this machine has. Raises OSError."""
    socks: List[socket.socket] = []
    try:
        for family, (host, _, *scope) in found:
            same = socks[0].getsockname()[1] if socks else port
            try:
                socks.append(socket.create_server((host, same, *scope), family=family, backlog=backlog))
            except OSError as error:
                if error.errno not in UNAVAILABLE_ERRNOS or len(found) == 1:
                    raise
                unavailable = error
        if not socks:
            raise unavailable
        return socks
    except OSError as error:
        for sock in socks:
            sock.close()
        if error.errno == errno.EADDRINUSE and not port and tries:  # free on one address, taken on another
            return bind_all(found, port, backlog, tries - 1)
        raise


# ---- accepting: from the listeners, while there is capacity -----------------------------------

# The client has left already, or another process has taken the connection.
TRANSIENT_ERRNOS = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO)
NOTHING_WAITS = (errno.EAGAIN, errno.EWOULDBLOCK)
RESOURCE_ERRNOS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # may be had again in a moment


class Acceptor:
    """Accepts connections for a ForkServer or a Worker. No connection is dropped: what is over capacity stays
    in the backlog, and what was accepted and cannot be started is held until it can."""

    AT_ONCE = 8  # connections between two looks at everything else

    def __init__(
        self,
        loop: Loop,
        listeners: List[Listener],
        limits: Limits,
        start: Callable[[Listener, socket.socket, Any], None],
        capacity_error: Callable[[], str],
        set_full: Callable[[bool], bool],
        is_overloaded: Callable[[], bool] = lambda: False,
    ) -> None:
        """`start` serves a connection, and raises OSError where the system refuses; `capacity_error` returns
        why there is no capacity, or ""; `set_full(True)` evicts for a connection that waits, and returns
        whether there is room at once; `is_overloaded` says that other processes should accept instead."""
        self.loop = loop
        self.listeners = listeners.copy()
        self.limits = limits
        self.start, self.capacity_error, self.set_full = start, capacity_error, set_full
        self.is_overloaded = is_overloaded
        self.held: List[Tuple[Listener, socket.socket, Any]] = []
        self.full = False
        self.leaves_out = False  # of the loop, for others to accept
        self.draining = False
        self.logged: Set[str] = set()

    def resume(self) -> None:
        """Go on with what is held, then with what waits."""
        self.loop.timers.pop("accept", None)
        self.leaves_out = False
        if self.draining:
            self.drain_backlog()
        elif self.start_held():
            for listener in self.listeners:
                self.loop.watch(listener.sock.fileno(), functools.partial(self.on_readable, listener))

    def pause(self, timeout_s: float, then: Optional[Callable[[], None]] = None) -> None:
        """Leave the listeners out of the loop for a while."""
        for listener in self.listeners:
            self.loop.forget(listener.sock.fileno())
        self.loop.call_at("accept", time.monotonic() + timeout_s, then or self.resume)

    def on_readable(self, listener: Listener) -> None:
        """Accept what waits, unless other processes should."""
        for count in range(self.AT_ONCE):
            if self.is_overloaded():
                self.leaves_out = True
                self.pause(self.limits.accept_pause_s, self.accept_anyway)
                return
            if not self.accept(listener, waits=not count):
                return

    def accept_anyway(self) -> None:
        """Accept one connection that the others have left."""
        for listener in self.listeners:
            if self.accept(listener, waits=False):
                break
        if self.leaves_out:
            self.resume()

    def accept(self, listener: Listener, waits: bool) -> bool:
        """Accept one connection; return whether it is started. Without capacity evict another one, but only
        if a connection `waits` for certain: for want of descriptors accept fails with an empty backlog too."""
        error = self.capacity_error()
        try:
            if not error:
                sock, peer = listener.sock.accept()
                if not peer and not listener.unix:  # BSD's way to say that the client has left
                    sock.close()
                    return True
                self.held.append((listener, sock, peer))
                return self.start_held()
        except OSError as failure:
            if failure.errno in RESOURCE_ERRNOS:
                error = f"accept: {failure.strerror}: see ulimit -n, and the limits of the system"
            elif failure.errno in NOTHING_WAITS:
                self.end_full()  # another process has taken what waited
            elif failure.errno not in TRANSIENT_ERRNOS:  # EINVAL: another process has shut it down
                self.pause(self.limits.retry_delay_s)
        if error and waits:
            self.on_full(error)
        return False

    def start_held(self) -> bool:
        """Start the connections that are held; return whether none is left."""
        while self.held:
            error = self.capacity_error()
            try:
                if not error:
                    self.start(*self.held[0])
            except OSError as failure:
                error = f"fork: {failure.strerror}: see ulimit -u, and the limits of the system"
            if error:
                self.on_full(error)
                return False
            del self.held[0]
            self.end_full()
        return True

    def on_full(self, error: str) -> None:
        """A connection waits that cannot be started: evict another one, and try again in a moment, or as soon
        as resume() is called. The system does not say when it has what it refused."""
        if error not in self.logged:
            self.logged.add(error)
            log("warning", error)
        self.full = True
        self.pause(0.0 if self.set_full(True) else self.limits.retry_delay_s)

    def end_full(self) -> None:
        """No connection waits, or there is capacity for it."""
        if self.full:
            self.full = False
            self.set_full(False)

    def retire(self) -> None:
        """Leave the listeners to others. What is held is still started."""
        for listener in self.listeners:
            self.loop.forget(listener.sock.fileno())
            listener.sock.close()
        self.listeners.clear()

    def drain(self) -> None:
        """Accept all that wait, shut the listeners down for every process, then start what is held."""
        self.draining = True
        for listener in self.listeners:
            self.loop.forget(listener.sock.fileno())
            listener.refuse_new()
        self.drain_backlog()

    def drain_backlog(self) -> None:
        """Empty the backlog, without starting anything between: a client that is told to close connects
        again as fast as a process forks, and that would never end."""
        for listener in self.listeners.copy():
            failure = 0
            while failure not in (*NOTHING_WAITS, *RESOURCE_ERRNOS, errno.EINVAL):
                try:
                    self.held.append((listener, *listener.sock.accept()))
                except OSError as error:
                    failure = error.errno or 0
            if failure in RESOURCE_ERRNOS:  # some of the others have to end first
                self.loop.call_at("accept", time.monotonic() + self.limits.retry_delay_s, self.resume)
                continue
            self.listeners.remove(listener)
            listener.shut_down()
            listener.sock.close()
        self.start_held()

    def is_done(self) -> bool:
        """Return whether there is nothing left to accept or to start."""
        return not (self.listeners or self.held)

    def close(self) -> None:
        """Close what is the server's here, in a process that is to have none of it."""
        for listener in self.listeners:
            listener.sock.close()
        for _, sock, _ in self.held:
            sock.close()


# ---- worker: many connections on an event loop ------------------------------------------------


class Task(Handle):
    """Runs the conversation of one connection in a Worker."""

    __slots__ = ("closed", "connection", "state", "steps", "thread", "worker")

    def __init__(self, worker: Worker, connection: Connection) -> None:
        super().__init__(connection.sock.fileno())
        self.worker = worker
        self.connection = connection
        self.thread: Optional[PoolThread] = None  # that the request has
        self.closed = False  # the connection is; the application may still have to be called
        self.state = FIRST_BYTE
        self.steps = serve_connection(connection)

    def resume(self, value: Any, error: Optional[BaseException] = None) -> None:
        """Go on until the conversation waits again, or has ended."""
        worker = self.worker
        try:
            event = self.steps.send(value) if error is None else self.steps.throw(error)
            while self.closed and event[0] != IN_APP:
                event = self.steps.throw(ClientDisconnected())
            self.state, what = event
            if self.state < IN_APP:
                if self.state <= FIRST_BYTE and worker.draining:
                    what = min(what, Limits.eviction_grace_s)
                events = self.connection.events(self.state)
                worker.loop.wait(self, events, time.monotonic() + what)
            elif self.state == TURN:
                worker.loop.take_turn(self)
            else:
                worker.submit(self, what)
        except (StopIteration, ClientDisconnected):  # the latter where it had ended before
            worker.close_connection(self)
        except Exception as failure:  # the last resort: no connection ends the loop that serves the others
            log_exception(self.connection.head or b"", failure)
            worker.close_connection(self)


def most_connections() -> int:
    """Return how many connections this process may have, with some descriptors left to the application."""
    try:
        import resource  # not on each system
    except ImportError:
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - 48, soft // 2) if 0 < soft < Limits.connections else Limits.connections


class Worker:
    """Serves many connections on an event loop: one of a PreforkServer's, or a whole server by itself."""

    # With fewer connections by so many, another worker is left the new ones.
    SLACK = 4

    def __init__(self, context: ServerContext, listeners: List[Listener], at: int, threads: int = 1) -> None:
        self.context = context
        self.limits = context.limits
        self.board = context.board
        self.loop = Loop()
        self.at = at  # its first slot
        self.slot = Slot(self.board, at)
        self.pool = ThreadPool(self, threads) if threads > 1 else None
        self.load = 0  # connections
        self.most = most_connections()
        self.others: List[int] = []  # the slots of other workers
        self.draining = False
        self.acceptor = Acceptor(
            self.loop, listeners, self.limits, self.start_connection, self.capacity_error, self.set_full,
            self.is_overloaded,
        )  # fmt: skip
        self.after_close: Callable[[], None] = self.end_if_done

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
        """Close a connection, whose conversation has ended or is abandoned."""
        if task.closed:
            return
        task.closed = True
        try:
            self.loop.forget(task.key)
        except OSError:  # it was closed already
            pass
        task.connection.sock.close()
        self.load -= 1
        self.publish_load()
        if self.acceptor.leaves_out and not self.is_overloaded():
            self.acceptor.resume()
        self.after_close()

    def submit(self, task: Task, act: Callable[[], Any]) -> None:
        """Have a thread call into the application."""
        assert self.pool
        self.loop.wait(task, NO_EVENTS, NEVER)
        self.pool.submit(task, act)

    # Balance: workers share the listeners, and each accepts for itself. One that is stuck in a call accepts
    # nothing, and the others do; one with more connections than another leaves new ones out until its load is
    # back, or for accept_pause_s, and then accepts one in any case.

    def publish_load(self) -> None:
        """Show the other workers how many connections this one has; with no thread free, it is not to be
        given any."""
        busy = self.draining or (self.pool and self.pool.is_busy())
        self.board.loads[self.at // 4 + 1] = NOT_ACCEPTING if busy else self.load

    def is_overloaded(self) -> bool:
        """Return whether another worker that could accept has fewer connections."""
        load = self.board.loads[self.at // 4 + 1] - self.SLACK
        stuck = time.monotonic() - self.limits.stuck_call_s
        for at in self.others:
            state, other, since, _ = self.board.read(at)
            if other < load and not (self.pool is None and state == IN_APP and since < stuck):
                return True
        return False

    # Capacity and eviction.

    def capacity_error(self) -> str:
        """Return why there is no capacity, "" when there is."""
        most = self.most
        return "" if self.load < most else f"all {most} connections are in use: ulimit -n allows more"

    def set_full(self, full: bool) -> bool:
        """Have connections close after their responses while others wait, and evict one now; return whether
        there was one."""
        self.context.closing = full or not self.acceptor.listeners
        return full and self.evict(self.tasks())

    def evict(self, tasks: List[Task]) -> bool:
        """Close one of these connections: an idle one, or one that is behind for longer than the grace, and
        has made the least progress; return whether there was one."""
        now = time.monotonic()
        evictable = [
            task for task in tasks
            if task.state < IN_APP and (task.state == KEEP_ALIVE or grace_left(self.limits, task.state, task.deadline - now) <= 0)
        ]  # fmt: skip
        if evictable:
            min(evictable, key=lambda task: (task.state, task.deadline)).resume(False)
        return bool(evictable)

    # The end.

    def retire(self) -> None:
        """Leave new connections to others, close each one after its next response or when it was idle for
        too long, and end with the last."""
        self.context.closing = True
        self.acceptor.retire()
        self.publish_load()
        self.end_if_done()

    def drain(self) -> None:
        """Accept what waits in the backlog, close the listeners for all, close idle connections, and end with
        the last response."""
        if not self.draining:
            self.context.closing = self.draining = True
            self.publish_load()
            soon = time.monotonic() + self.limits.eviction_grace_s  # a request may be on its way
            for task in self.tasks():
                if task.state <= FIRST_BYTE:
                    self.loop.wait(task, task.events, min(task.deadline, soon))
            self.acceptor.drain()
            self.end_if_done()

    def abandon_overdue(self) -> None:
        """Reset the connections whose calls exceed --timeout; their threads cannot be ended."""
        for thread in self.pool.threads if self.pool else ():
            state, _, since, _ = self.board.read(thread.slot.at)
            if thread.task and state == IN_APP and time.monotonic() - since >= self.limits.timeout_s:
                thread.task.connection.set_reset(True)
                self.close_connection(thread.task)

    def end_if_done(self) -> None:
        """Leave the loop when the last connection is closed, and no more can come."""
        if not self.load and self.acceptor.is_done():
            self.loop.running = False

    def close_after_fork(self) -> None:
        """Close everything of the server's, in a process that the application has forked: there it would keep
        the port in use, and clients from seeing the end of their connections."""
        for task in self.tasks():
            if not task.closed:
                os.close(task.connection.sock.detach())
        self.acceptor.close()
        self.loop.close()


# ---- threads: of a worker, to call the application --------------------------------------------


class PoolThread:
    """A thread, the queue of calls for it, and the task whose request it serves."""

    def __init__(self, pool: ThreadPool, slot: Slot) -> None:
        self.slot = slot
        self.calls = pool.make_queue()
        self.task: Optional[Task] = None
        pool.make_thread(target=pool.run_thread, args=(self,), daemon=True).start()


class ThreadPool:
    """Threads that call the application. A request keeps its thread until its calls are over; further
    requests wait."""

    def __init__(self, worker: Worker, count: int) -> None:
        import collections
        import queue
        import threading

        self.make_queue, self.make_thread = queue.SimpleQueue, threading.Thread
        self.worker = worker
        slot_bytes = Scoreboard.SLOT_BYTES
        self.slots = [Slot(worker.board, worker.at + n * slot_bytes) for n in reversed(range(count))]  # unused ones
        self.threads: List[PoolThread] = []
        self.idle: List[PoolThread] = []
        self.waiting: Any = collections.deque()  # tasks without a thread, and their calls
        self.done: Any = collections.deque()  # threads, what their calls returned, what they raised
        self.reader, self.writer = wake_up_pipe()
        worker.loop.watch(self.reader, self.on_done)

    def is_busy(self) -> bool:
        """Return whether no thread is free."""
        return not (self.idle or self.slots)

    def submit(self, task: Task, act: Callable[[], Any]) -> None:
        """Have the thread of the task's request call `act`, or the next one that is free."""
        if task.thread:
            task.thread.calls.put((task.connection, act))
        else:
            self.waiting.append((task, act))
            self.start_waiting()

    def start_waiting(self) -> None:
        """Give free threads to the requests that wait. Where some still wait, see to it that one of the
        connections that keep a thread is reset if its client reads slower than --min-rate."""
        while self.waiting and not self.is_busy():
            try:
                thread = self.idle.pop() if self.idle else self.start_thread()
            except RuntimeError:  # the system has no more threads now
                break
            thread.task, act = self.waiting.popleft()
            thread.task.thread = thread
            thread.calls.put((thread.task.connection, act))
        self.worker.publish_load()
        if self.waiting:
            self.worker.loop.call_at("threads", time.monotonic() + Limits.retry_delay_s, self.on_pressure)

    def start_thread(self) -> PoolThread:
        """Return a new thread. Raises RuntimeError."""
        thread = PoolThread(self, self.slots[-1])
        self.slots.pop()
        self.threads.append(thread)
        return thread

    def on_pressure(self) -> None:
        """Requests have waited for a moment."""
        self.worker.evict([thread.task for thread in self.threads if thread.task])
        self.start_waiting()

    def release(self, task: Task) -> None:
        """Free the thread of a request whose calls are over."""
        thread, task.thread = task.thread, None
        if thread:
            thread.task = None
            self.idle.append(thread)
            self.start_waiting()

    def run_thread(self, thread: PoolThread) -> None:
        """Make calls, in the thread."""
        while True:
            connection, act = thread.calls.get()
            value: Any = None
            failure: Optional[BaseException] = None
            try:
                value = thread.slot.call(connection, act)
            except GeneratorExit as error:  # thrown as it is, it would close the conversation
                failure = RuntimeError(repr(error))
            except BaseException as error:
                failure = error
            self.done.append((thread.task, value, failure))
            del connection, act, value, failure  # an idle thread holds nothing
            wake(self.writer)

    def on_done(self) -> None:
        """Resume the conversations whose calls have returned."""
        read_wake_ups(self.reader)
        while self.done:
            task, value, failure = self.done.popleft()
            task.resume(value, failure)


# ---- library: a server in any thread of any program -------------------------------------------


class WSGIServer:
    """A server in the thread that calls serve_forever(), without signals and processes, and with the names of
    what users of wsgiref's server call."""

    def __init__(self, context: ServerContext, listeners: List[Listener]) -> None:
        import threading

        context.reraise = ClientDisconnected, KeyboardInterrupt
        self.worker = Worker(context, listeners, Scoreboard.SLOT_BYTES)
        self.worker.after_close = lambda: None
        self.listeners = listeners
        self.socket = listeners[0].sock
        self.server_address = self.socket.getsockname()
        self.server_name = listeners[0].environ["SERVER_NAME"]
        self.server_port = int(listeners[0].environ["SERVER_PORT"])
        self.fileno = self.socket.fileno
        self.stop_requested = self.closed = False
        self.stopped = threading.Event()
        self.stopped.set()
        self.reader, self.writer = wake_up_pipe()
        self.worker.loop.watch(self.reader, self.on_wake)
        close_after_fork(self.worker)

    def on_wake(self) -> None:
        """Leave the loop if that is asked for."""
        read_wake_ups(self.reader)
        self.worker.loop.running = not self.stop_requested

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until shutdown() is called, or return at once if it was called before."""
        if self.closed:
            return
        self.stopped.clear()
        try:
            self.worker.loop.running = not self.stop_requested
            self.worker.acceptor.resume()
            self.worker.loop.run()
        finally:
            self.stop_requested = False
            self.stopped.set()

    def shutdown(self) -> None:
        """Have serve_forever() return, now or when it is called next, and wait while it runs. To be called in
        another thread."""
        if not self.closed:
            self.stop_requested = True
            wake(self.writer)
            self.stopped.wait()

    def handle_request(self) -> None:
        """Serve one connection, with one request."""

        def end() -> None:
            self.worker.loop.running = False

        self.worker.after_close, self.worker.context.closing = end, True
        try:
            self.serve_forever()
        finally:
            self.worker.after_close, self.worker.context.closing = (lambda: None), False

    def server_close(self) -> None:
        """Close the listeners and all connections; serve no more."""
        if self.closed:
            return
        self.closed = True
        for task in self.worker.tasks():
            task.resume(None, ClientDisconnected())
        self.worker.acceptor.retire()
        for listener in self.listeners:
            listener.remove_file()
        self.worker.loop.close()
        os.close(self.reader)
        os.close(self.writer)

    def __enter__(self) -> WSGIServer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.server_close()


def make_server(host: str, port: int, app: Application) -> WSGIServer:
    """Return a server of `app` that listens on `host` and `port` (0: a free one). Raises ConfigError."""
    context = ServerContext(Limits(), TrustedProxies(""))
    context.app = app
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return WSGIServer(context, listen(bind, Limits.backlog))


# ---- child: a process for one connection ------------------------------------------------------

RECV_TIMEOUT = struct.pack("@ll", 0, int(Limits.recv_timeout_s * 1e6))  # a struct timeval


class Child:
    """Runs one conversation, blocking where it waits. `lifeline` is the end to read of the ForkServer's pipe:
    one byte in it asks one child to go, its end asks all that are idle."""

    def __init__(self, lifeline: int, server_pid: int, at: int, connection: Connection) -> None:
        self.lifeline = lifeline
        self.server_pid = server_pid
        self.connection = connection
        self.context = connection.context
        self.limits = connection.limits
        self.board = self.context.board
        self.slot = Slot(self.board, at, WRITE)
        self.evicted = False
        self.drains = False  # the lifeline has ended
        self.orphan = False
        self.key = connection.sock.fileno()
        connection.may_block, connection.call, connection.block = True, self.call, self.block
        try:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, RECV_TIMEOUT)
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, RECV_TIMEOUT)
        except OSError:  # the client has left, or this system's timeval is another one
            connection.sock.setblocking(False)

    def run(self, steps: Steps[Any]) -> None:
        """Run `steps` to the end."""
        event = step(steps, None)
        while event:
            event = step(steps, event[0] == TURN or self.wait(*event))

    def wait(self, state: int, timeout: float) -> bool:
        """Return True when the socket is ready, False after `timeout` seconds or when evicted."""
        self.board.set_state(self.slot.at, state)
        idle = state <= FIRST_BYTE
        if self.evicted and state != WRITE:  # what has arrived by now may complete a request
            return self.poll(state, 0.0, None) is not None
        if idle and self.context.tls and self.poll(state, self.limits.recv_timeout_s, None):  # it does not block
            return True
        deadline = time.monotonic() + timeout
        # Until it may be evicted, a child watches the lifeline for its end alone: with a byte in it, which is
        # for another one, it would not sleep.
        grace_ends = 0.0 if state == KEEP_ALIVE else deadline - timeout + grace_left(self.limits, state, timeout)
        while True:
            now = time.monotonic()
            if self.drains and idle:  # a request may be on its way
                return self.poll(state, min(self.limits.eviction_grace_s, deadline - now), None) is not None
            evictable = now >= grace_ends
            until = deadline if evictable else min(deadline, grace_ends)
            ready = self.poll(state, until - now, None if self.drains else READABLE if evictable else NO_EVENTS)
            if ready == self.key:
                return True
            if ready is None and until == deadline:
                return False
            if ready is not None and self.take_token():
                return False

    def poll(self, state: int, timeout: float, lifeline_events: Optional[int]) -> Optional[int]:
        """Wait for the socket, and for the lifeline unless that is None; return which one is ready, the socket
        first."""
        poll = select.poll()
        poll.register(self.key, self.connection.events(state))
        if lifeline_events is not None:
            poll.register(self.lifeline, lifeline_events)
        ready = [key for key, _ in poll.poll(min(max(0.0, timeout), Loop.MOST_S) * 1000)]
        return self.key if self.key in ready else ready[0] if ready else None

    def take_token(self) -> bool:
        """Read the lifeline; return whether this child is to go."""
        try:
            self.evicted = bool(os.read(self.lifeline, 1))
            self.drains = not self.evicted
        except BlockingIOError:  # another one took it
            pass
        self.context.closing = self.context.closing or self.evicted or self.drains
        return self.evicted

    def call(self, connection: Connection, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the application."""
        self.check_server()
        return self.slot.call(connection, act, *arguments)

    def block(self, steps: Steps[Any]) -> None:
        """Run `steps` to the end, within a call into the application."""
        self.check_server()
        self.run(steps)
        self.board.set_state(self.slot.at, IN_APP)

    def check_server(self) -> None:
        """Where the Server is dead, take no further request, and end what is under way at the graceful
        timeout: no process is left that would do it."""
        if os.getppid() != self.server_pid and not self.orphan:
            self.orphan = self.context.closing = True
            signal.setitimer(signal.ITIMER_REAL, self.limits.graceful_timeout_s)

    def close_after_fork(self) -> None:
        """Close the connection in a process that the application has forked: the client would not see its
        end."""
        if self.connection.sock.fileno() >= 0:
            os.close(self.connection.sock.detach())
        os.close(self.lifeline)


# ---- server: forks and reaps children ---------------------------------------------------------

# A worker's life
#
#     Server forks it --> imports --> "r" ready --> serves --> --max-requests: "m" --> still serves
#                                                                                        |
#     Server has another one forked, and when that is ready: "r" retire ----------------'
#     Server drains: the flags CLOSING and DRAINING, then "d"    the worker drains
#     Server dies: the end of file                               the worker retires
#     the worker dies, or exceeds --timeout (KILL)               Server forks another one, after a backoff
#
# With threads a call that exceeds --timeout does not take the others' connections along: "t" has the worker
# reset the one connection, and the Server replaces it as after "m".


class Backoff:
    """Delays the successors of processes that die young, ever longer, up to 5 s."""

    YOUNG_S, FIRST_S, MOST_S = 1.0, 0.1, 5.0

    def __init__(self) -> None:
        self.delay_s = 0.0

    def after(self, what: str, started_at: float, ready: bool) -> float:
        """Return when the successor of a process that has ended may start; log a delay."""
        now = time.monotonic()
        young = not ready or now - started_at < self.YOUNG_S
        self.delay_s = min(max(self.FIRST_S, 2 * self.delay_s), self.MOST_S) if young else 0.0
        if young:
            lived = f"ended {now - started_at:.1f} s after its start"
            log("warning", f"{what} {lived}; next start in {self.delay_s:.1f} s")
        return now + self.delay_s


def describe_exit(status: int, killed: bool = False) -> str:
    """Return how a process ended, by the status of waitpid; `killed`, this server has sent it KILL."""
    if not os.WIFSIGNALED(status):
        return f"exited with status {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    name = SIGNAL_NAMES.get(number, f"signal {number}")
    external = number == signal.SIGKILL and not killed
    return f"was killed by {name}" + (" (not by this server: out of memory?)" if external else "")


class ChildRecord:
    """What a Server knows of a child."""

    def __init__(self, pid: int, at: int, channel: Optional[socket.socket]) -> None:
        self.pid = pid
        self.at = at  # its first slot
        self.channel = channel  # to a worker
        self.started_at = time.monotonic()
        self.ready = False
        self.leaving = False  # another worker takes its place
        self.told = False  # to retire
        self.killed = False  # by this server
        self.overdue_since = 0.0  # when a call of it was first seen to exceed --timeout


class Server:
    """Forks and reaps children; never parses HTTP. Its two variants differ in how connections reach the
    children."""

    kind = "child"

    def __init__(self, context: ServerContext, listeners: List[Listener], options: Any, channel: socket.socket) -> None:
        self.context = context
        self.limits = context.limits
        self.board = context.board
        self.listeners = listeners
        self.options = options
        self.channel = channel  # to the Supervisor
        self.pid = os.getpid()
        self.loop = Loop()
        self.children: Dict[int, ChildRecord] = {}
        self.slot_bytes = options.threads * Scoreboard.SLOT_BYTES  # of one child
        self.slots = list(range(len(self.board.memory) - self.slot_bytes, 0, -self.slot_bytes))  # unused ones
        self.ready = self.retiring = self.draining = False
        self.status = 0
        self.signals: Set[int] = set()
        self.reader, self.writer = wake_up_pipe()

    def run(self) -> int:
        """Serve until told to retire or to drain and the last child has ended; return the exit status."""
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        for signum in (signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(signum, lambda signum, _: self.signals.add(signum))
        faulthandler.register(signal.SIGUSR1, file=2, chain=True)
        close_after_fork(self)
        self.loop.watch(self.reader, self.on_wake)
        self.loop.watch(self.channel.fileno(), self.on_supervisor)
        gc.collect()
        gc.freeze()  # children share these pages as long as nothing is counted in them
        if self.limits.timeout_s:
            self.check_timeouts()
        if self.options.reload:
            self.source = source_files()
            self.check_source()
        self.start()
        self.loop.run()
        return self.status

    def start(self) -> None:
        """Begin to serve."""
        raise NotImplementedError

    def on_child_exit(self, record: ChildRecord, status: int) -> None:
        """Go on without a child."""
        raise NotImplementedError

    def stop_accepting(self) -> None:
        """Leave the listeners to another Server, or drain them."""
        raise NotImplementedError

    def is_done(self) -> bool:
        """Return whether the last child has ended."""
        return not self.children

    def close_in_child(self) -> None:
        """Close what a child does not need."""
        self.channel.close()
        self.loop.close()
        os.close(self.reader)
        os.close(self.writer)

    def close_after_fork(self) -> None:
        """Close everything of the server's, in a process that the application has forked."""
        self.close_in_child()
        for listener in self.listeners:
            listener.sock.close()

    def report(self, word: bytes) -> None:
        """Tell the Supervisor "r", ready, or "h", the source has changed."""
        send_word(self.channel, word)

    def become_ready(self) -> None:
        """Have the Supervisor know that connections are served."""
        if not self.ready:
            self.ready = True
            self.report(b"r")

    def spawn(self, main: Callable[[int], None], text: bytes = b"", channel: Optional[socket.socket] = None) -> ChildRecord:
        """Fork a child that runs `main` with its slot, and ends; return its record. Raises OSError where the
        system refuses."""
        at = self.slots[-1]
        self.board.clear(at, text)
        pid = fork()
        if not pid:
            self.run_child(main, at)
        self.slots.pop()
        record = self.children[pid] = ChildRecord(pid, at, channel)
        return record

    def run_child(self, main: Callable[[int], None], at: int) -> NoReturn:
        """Run `main` in a child, and end it."""
        status = 70  # EX_SOFTWARE, unless the end is reached
        try:
            signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            self.close_in_child()
            main(at)
            run_exit_functions(self.limits.graceful_timeout_s)
            status = 0
        except ConfigError as error:
            status = 2
            print_error(error)
        except BaseException as error:
            status = 1
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            try:
                flush_streams()  # os._exit loses what is not flushed
            finally:
                if status in (0, 1, 2):  # nothing is to be logged of it
                    self.board.memory[at] = 0
                os._exit(status)

    # What wakes it: signals, the Supervisor.

    def on_wake(self) -> None:
        """Act on the signals that have arrived."""
        read_wake_ups(self.reader)
        signals, self.signals = self.signals, set()
        if signal.SIGUSR1 in signals:
            self.dump_status(list(self.children.values()))
        self.reap()
        self.end_if_done()

    def reap(self) -> None:
        """Reap all children that have ended: several exits may be one signal."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                record = self.children.pop(pid, None)
                if record:
                    self.slots.append(record.at)
                    self.log_exit(record, status)
                    self.on_child_exit(record, status)
        except ChildProcessError:
            return

    def on_supervisor(self) -> None:
        """Do what the Supervisor says; drain where it is dead."""
        word = receive_word(self.channel)
        if word == b"r":
            self.retire()
        elif word == b"d" and not self.context.flags[DRAINING]:
            self.context.flags[CLOSING] = 1
            self.loop.call_at("drain", time.monotonic() + self.limits.drain_delay_s, self.drain)
        elif word == b"a":
            self.abort()
        elif word == b"":
            self.loop.forget(self.channel.fileno())
            self.drain()

    def retire(self) -> None:
        """Leave new connections to another Server, close each one after its next response, and end with the
        last."""
        self.retiring = True
        self.context.flags[CLOSING] = 1
        self.stop_accepting()
        self.end_if_done()

    def drain(self) -> None:
        """Accept what waits in the backlog and nothing more, finish requests, close idle connections, and end
        with the last response, at the latest after the graceful timeout."""
        if not self.draining:
            self.draining = True
            self.context.flags[CLOSING] = self.context.flags[DRAINING] = 1
            self.loop.call_at("abort", time.monotonic() + self.limits.graceful_timeout_s, self.abort)
            self.stop_accepting()
            self.end_if_done()

    def abort(self) -> None:
        """Kill all children, and end when they are reaped."""
        self.drain()
        for record in self.children.values():
            self.kill(record)
        if not self.children:
            self.loop.running = False

    def end_if_done(self) -> None:
        """Leave the loop when it is told to end and the last child has ended."""
        if (self.retiring or self.draining) and self.is_done():
            self.loop.running = False

    def kill(self, record: ChildRecord) -> None:
        """Kill a child, and remember that."""
        record.killed = True
        os.kill(record.pid, signal.SIGKILL)

    # What the scoreboard is for: logs, USR1, --timeout.

    def slots_of(self, record: ChildRecord) -> Iterator[Tuple[int, int, float, str]]:
        """Yield state, load, since and text of a child's slots."""
        for at in range(record.at, record.at + self.slot_bytes, Scoreboard.SLOT_BYTES):
            yield self.board.read(at)

    def log_exit(self, record: ChildRecord, status: int) -> None:
        """Log the end of a child that did not reach its end, and what it was serving."""
        slots = list(self.slots_of(record))
        for at in range(record.at, record.at + self.slot_bytes, Scoreboard.SLOT_BYTES):
            self.board.clear(at)
        if slots[0][0] or os.WIFSIGNALED(status):
            serving = [text for state, _, _, text in slots if " " in text and state >= WRITE]
            last = max(slots, key=lambda slot: slot[2])[3]
            when = f"after {last}" if " " in last else "before its first request"
            what = "while serving " + ", ".join(serving) if serving else when
            log("error", f"{self.kind} {record.pid} {describe_exit(status, record.killed)} {what}")

    def dump_status(self, records: List[ChildRecord]) -> None:
        """Log what each of these children is doing, and have it write its stacks; one after the other, so
        that they do not mix."""
        record = records.pop() if records else None
        if record and record.pid in self.children:
            now = time.monotonic()
            load = self.board.read(record.at)[1]
            log("notice", f"{self.kind} {record.pid}" + (f" has {load} connections" if load < NOT_ACCEPTING else ""))
            for state, _, since, text in self.slots_of(record):
                if state and (state == IN_APP or self.kind == "child"):
                    what = f"is {STATE_NAMES[state]} for {now - since:.1f} s: {text}"
                    log("notice", f"{self.kind} {record.pid} {what}")
            os.kill(record.pid, signal.SIGUSR1)
        if records:
            self.loop.call_at("dump", time.monotonic() + 0.05, functools.partial(self.dump_status, records))

    def check_timeouts(self) -> None:
        """Look for calls that exceed --timeout: first log them with their stacks, then end them."""
        now, any_overdue = time.monotonic(), False
        for record in self.children.values():
            calls = [(since, text) for state, _, since, text in self.slots_of(record) if state == IN_APP]
            since, text = min(calls, default=(NEVER, ""))
            if record.leaving or now - since < self.limits.timeout_s:
                record.overdue_since = 0.0
                continue
            any_overdue = True
            if record.overdue_since != since:
                record.overdue_since = since
                log("error", f"{self.kind} {record.pid} is in the application for {now - since:.1f} s: {text}")
                os.kill(record.pid, signal.SIGUSR1)
            else:
                self.end_overdue(record)
        again_s = 0.2 if any_overdue else min(1.0, self.limits.timeout_s / 4)
        self.loop.call_at("timeouts", now + again_s, self.check_timeouts)

    def end_overdue(self, record: ChildRecord) -> None:
        """End the one call that is in this process, with it."""
        self.kill(record)

    def check_source(self) -> None:
        """Have another Server started when a source file has changed."""
        source = source_files()
        if source != self.source and not self.retiring:
            self.report(b"h")
        self.source = source
        self.loop.call_at("source", time.monotonic() + 1.0, self.check_source)


class ForkServer(Server):
    """Accepts, and forks a Child for each connection."""

    def __init__(self, context: ServerContext, listeners: List[Listener], options: Any, channel: socket.socket) -> None:
        super().__init__(context, listeners, options, channel)
        self.lifeline_reader, self.lifeline_writer = wake_up_pipe()
        self.acceptor = Acceptor(
            self.loop, listeners, self.limits, self.start_connection, self.capacity_error, self.set_full
        )

    def start(self) -> None:
        """Begin to serve."""
        self.acceptor.resume()
        self.become_ready()

    def capacity_error(self) -> str:
        """Return why there is no capacity, "" when there is."""
        most = self.limits.max_children
        return "" if len(self.children) < most else f"all {most} children are busy: --max-children allows more"

    def start_connection(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Fork a child for the connection. Raises OSError where the system refuses."""
        sock.setblocking(True)
        date_line()  # made here once a second, and not in each child
        client = peer[0].encode() if type(peer) is tuple else b"unix"
        self.spawn(functools.partial(self.serve_connection, listener, sock, peer), client)
        sock.close()  # or the client would not see the end of its connection

    def serve_connection(self, listener: Listener, sock: socket.socket, peer: Any, at: int) -> None:
        """Serve a connection, in a child."""
        for _, held, _ in self.acceptor.held[1:]:
            held.close()
        connection = Connection(sock, peer, listener, self.context)
        child = Child(self.lifeline_reader, self.pid, at, connection)
        close_after_fork(child)
        child.run(serve_connection(connection))
        connection.sock.close()

    def close_in_child(self) -> None:
        """Close what a child does not need."""
        super().close_in_child()
        if self.lifeline_writer >= 0:
            os.close(self.lifeline_writer)
        for listener in self.acceptor.listeners:
            listener.sock.close()

    def close_after_fork(self) -> None:
        """Close everything of the server's, in a process that the application has forked."""
        self.close_in_child()
        os.close(self.lifeline_reader)

    def set_full(self, full: bool) -> bool:
        """Write the lifeline a byte for the child that is wanted back, in place of one that none has taken."""
        self.context.flags[FULL] = full  # before the byte: a child that becomes idle after it sees the byte
        read_wake_ups(self.lifeline_reader)
        if full and self.lifeline_writer >= 0:
            wake(self.lifeline_writer)
        return False

    def on_child_exit(self, record: ChildRecord, status: int) -> None:
        """Go on with the connections that wait: there is capacity."""
        if self.acceptor.full or self.acceptor.draining:
            self.acceptor.resume()

    def stop_accepting(self) -> None:
        """Leave the listeners to another Server, or drain them and have idle children go."""
        if self.draining:
            os.close(self.lifeline_writer)
            self.lifeline_writer = -1
            self.acceptor.drain()
        else:
            self.acceptor.retire()

    def abort(self) -> None:
        """Drop what is held, and kill all children."""
        self.drain()
        self.acceptor.held.clear()
        super().abort()

    def is_done(self) -> bool:
        """Return whether the last child has ended, and no connection is held."""
        return not self.children and self.acceptor.is_done()


class PreforkServer(Server):
    """Keeps workers alive, which accept."""

    kind = "worker"

    def __init__(self, context: ServerContext, listeners: List[Listener], options: Any, channel: socket.socket) -> None:
        super().__init__(context, listeners, options, channel)
        self.all_slots = self.slots.copy()
        self.backoff = Backoff()
        self.next_spawn_at = 0.0
        self.any_ready = False

    def start(self) -> None:
        """Begin to serve, with one worker: where that cannot start, the others would fail too."""
        self.spawn_missing()

    def spawn_missing(self) -> None:
        """Start the workers that are missing, as soon as they may be started."""
        wanted = self.options.workers if self.any_ready else 1
        while not (self.retiring or self.draining) and self.slots:
            if sum(not record.leaving for record in self.children.values()) >= wanted:
                return
            if time.monotonic() < self.next_spawn_at:
                self.loop.call_at("spawn", self.next_spawn_at, self.spawn_missing)
                return
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            try:
                record = self.spawn(functools.partial(self.run_worker, ours, theirs), b"", ours)
                self.loop.watch(ours.fileno(), functools.partial(self.on_worker, record))
            except OSError as error:
                ours.close()
                log("warning", f"fork: {error.strerror}: see ulimit -u, and the limits of the system")
                self.next_spawn_at = time.monotonic() + self.limits.retry_delay_s
            finally:
                theirs.close()

    def run_worker(self, ours: socket.socket, channel: socket.socket, at: int) -> None:
        """Be a worker: serve until told to retire or to drain."""
        ours.close()
        for record in self.children.values():
            if record.channel:
                record.channel.close()
        context, options = self.context, self.options
        close_after_fork(Channel(channel, self.listeners))
        if context.app is None:
            context.app = options.load()
            install_no_op_handlers()
            gc.collect()
            gc.freeze()
        if options.max_requests:
            import random

            context.requests_left = options.max_requests + random.randint(0, options.max_requests_jitter)
            context.on_max_requests = functools.partial(send_word, channel, b"m")
        worker = Worker(context, self.listeners, at, options.threads)
        worker.others = [slot for slot in self.all_slots if slot != at]
        close_after_fork(worker)
        worker.loop.watch(channel.fileno(), functools.partial(self.on_server, worker, channel))
        self.board.memory[at] = KEEP_ALIVE  # from here on its end is logged
        worker.publish_load()
        send_word(channel, b"r")
        worker.acceptor.resume()
        worker.loop.run()

    def on_server(self, worker: Worker, channel: socket.socket) -> None:
        """Do what the Server says, in a worker; retire where it is dead."""
        word = receive_word(channel)
        if word == b"":
            worker.loop.forget(channel.fileno())
            # No process is left that would end what is under way.
            signal.setitimer(signal.ITIMER_REAL, self.limits.graceful_timeout_s)
        if word == b"t":
            worker.abandon_overdue()
        elif word == b"d" or self.context.flags[DRAINING]:
            worker.drain()
        elif word is not None:
            worker.retire()

    def on_worker(self, record: ChildRecord) -> None:
        """A worker is ready, or has served --max-requests, or has ended."""
        assert record.channel
        word = receive_word(record.channel)
        if word == b"r":
            record.ready = self.any_ready = True
            leaving = next((one for one in self.children.values() if one.leaving and not one.told), None)
            if leaving and leaving.channel:
                leaving.told = True
                send_word(leaving.channel, b"r")
            if sum(one.ready for one in self.children.values()) >= self.options.workers:
                self.become_ready()
        elif word == b"m":
            record.leaving = True
        elif word == b"":
            self.loop.forget(record.channel.fileno())
        self.spawn_missing()

    def on_child_exit(self, record: ChildRecord, status: int) -> None:
        """Replace a worker that has ended; end where none could start."""
        assert record.channel
        self.loop.forget(record.channel.fileno())
        record.channel.close()
        if self.retiring or self.draining:
            return
        if not self.any_ready:
            self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) and status else 1
            self.abort()
        elif not record.told:
            self.next_spawn_at = self.backoff.after(f"worker {record.pid}", record.started_at, record.ready)
        self.spawn_missing()

    def end_overdue(self, record: ChildRecord) -> None:
        """End a call that exceeds --timeout: a thread cannot be ended without its process, so the worker is
        replaced, and its other connections end in peace."""
        if self.options.threads == 1 or not record.channel:
            self.kill(record)
            return
        record.leaving = True
        send_word(record.channel, b"t")
        kill = functools.partial(lambda: record.pid in self.children and self.kill(record))
        self.loop.call_at(f"kill {record.pid}", time.monotonic() + self.limits.graceful_timeout_s, kill)
        self.spawn_missing()

    def stop_accepting(self) -> None:
        """Have the workers retire or drain; one that is not ready has nothing to finish."""
        for record in self.children.values():
            if record.channel:
                send_word(record.channel, b"d" if self.draining else b"r")
            if not record.ready:
                self.kill(record)
        for listener in self.listeners:
            listener.sock.close()


# ---- supervisor: keeps a Server, and its own pid, across restarts -----------------------------

# A restart
#
#     HUP --> Supervisor forks Server 2 --> imports --> "r" ready
#                 | "r" retire                              |
#                 v                                         v
#             Server 1 leaves the listeners to it, answers what it has, ends with its last connection
#
#     Server 2 fails to start    Server 1 was not told anything, and goes on
#     a ready Server dies        another one is forked, after a backoff; its children finish their requests
#     Supervisor gets TERM       "d" drain to all Servers; a second TERM: "a" abort, and KILL a second later
#     Supervisor dies            its end of the channels ends with it: all Servers drain
#
# Only the Supervisor acts on TERM, INT and HUP: a terminal and a service manager signal every process.

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNAL_NAMES = {number.value: number.name for number in signal.Signals}


def ignore_signal(signum: int, frame: Optional[FrameType]) -> None:
    """Do nothing. In contrast to SIG_IGN, a program that is started gets the default again."""


def install_no_op_handlers() -> None:
    """Leave stop signals and HUP to the Supervisor, also where the application has set its own handlers."""
    for signum in (*STOP_SIGNALS, signal.SIGHUP):
        signal.signal(signum, ignore_signal)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


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


class Channel:
    """What a process has open before its Worker or Server exists."""

    def __init__(self, sock: socket.socket, listeners: List[Listener]) -> None:
        self.sock = sock
        self.listeners = listeners

    def close_after_fork(self) -> None:
        """Close it."""
        self.sock.close()
        for listener in self.listeners:
            listener.sock.close()


_open_here: Any = None  # a WeakSet of what is open in this process
_own_fork = False


def fork() -> int:
    """Fork a process of the server's: return 0 in it, else its pid. Raises OSError where the system refuses."""
    global _own_fork, _open_here
    _own_fork = True
    try:
        pid = os.fork()
    finally:
        _own_fork = False
    if not pid:
        atexit._clear()  # they belong to the process that registered them
        if _open_here is not None:
            _open_here.clear()
    return pid


def close_after_fork(owner: Any) -> None:
    """Have owner.close_after_fork() called in each process that the application forks from this one."""
    global _open_here
    if _open_here is None:
        import weakref

        _open_here = weakref.WeakSet()
        os.register_at_fork(after_in_child=after_application_fork)
    _open_here.add(owner)


def after_application_fork() -> None:
    """Leave a process that the application has forked nothing of the server: no descriptor, no handler."""
    if _own_fork:
        return
    for owner in list(_open_here):
        owner.close_after_fork()
    _open_here.clear()
    if signal.getsignal(signal.SIGTERM) in (ignore_signal, *(one.on_signal for one in _supervisors)):
        signal.set_wakeup_fd(-1)
        faulthandler.unregister(signal.SIGUSR1)
        for signum in (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
            signal.signal(signum, signal.SIG_DFL)


def run_exit_functions(timeout_s: float) -> None:
    """Run what was registered with atexit in this process, and wait for its threads, but not for longer than
    `timeout_s`: then the process ends."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, max(0.1, timeout_s))
    atexit._run_exitfuncs()
    threading = sys.modules.get("threading")
    if threading:
        threading._shutdown()
    signal.setitimer(signal.ITIMER_REAL, 0)


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
    """Print the ready line, and on a terminal how to go on; tell the service manager."""
    where = ", ".join(dict.fromkeys(listener.where for listener in listeners))
    try:
        print(f"Serving HTTP{'S' if options.certfile else ''} on {where} ...", flush=True)
        if os.isatty(1) and not listeners[0].unix:
            scheme, port = "https" if options.certfile else "http", listeners[0].environ["SERVER_PORT"]
            print(f"Open {scheme}://localhost:{port}/ in a browser; Ctrl-C stops the server.", flush=True)
    except (OSError, ValueError):  # a closed pipe or terminal
        pass
    notify("READY=1")


class ServerRecord:
    """What the Supervisor knows of a Server."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.started_at = time.monotonic()
        self.ready = self.retiring = self.given_up = False


class Supervisor:
    """Forks Servers, and knows no HTTP. It never imports the application: nothing in it goes stale."""

    def __init__(self, options: Any, listeners: List[Listener]) -> None:
        self.options = options
        self.limits = options.limits
        self.listeners = listeners
        self.loop = Loop()
        self.servers: Dict[int, ServerRecord] = {}
        self.backoff = Backoff()
        self.stops = 0
        self.interrupted = False  # by INT, not TERM
        self.reload_requested = self.dump_requested = False
        self.was_ready = self.stopping = False
        self.status = 0
        self.reader, self.writer = wake_up_pipe()

    def run(self) -> int:
        """Serve until told to stop, or until the first Server fails to start; return the exit status."""
        _supervisors.append(self)
        wakeup_before = signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        signals = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
        before = {signum: signal.signal(signum, self.on_signal) for signum in signals}
        close_after_fork(self)
        self.loop.watch(self.reader, self.on_wake)
        try:
            self.spawn()
            self.loop.run()
        finally:
            for listener in self.listeners:
                listener.remove_file()
            signal.set_wakeup_fd(wakeup_before)
            for signum, handler in before.items():
                signal.signal(signum, handler)
            self.close_after_fork()
            _supervisors.remove(self)
        return self.status

    def close_after_fork(self) -> None:
        """Close everything."""
        for server in self.servers.values():
            server.channel.close()
        for listener in self.listeners:
            listener.sock.close()
        self.loop.close()
        os.close(self.reader)
        os.close(self.writer)

    # Servers: spawned, ready, dead.

    def spawn(self) -> None:
        """Fork a Server, for the start, for HUP, or in place of a dead one."""
        ours, theirs = socket.socketpair()
        try:
            pid = fork()
        except OSError as error:
            ours.close()
            log("warning", f"fork: {error.strerror}: see ulimit -u, and the limits of the system")
            self.loop.call_at("spawn", time.monotonic() + self.limits.retry_delay_s, self.spawn)
            return
        finally:
            if sys.exc_info()[0] or pid:
                theirs.close()
        if not pid:
            self.be_server(ours, theirs)
        server = self.servers[pid] = ServerRecord(pid, ours)
        self.loop.watch(ours.fileno(), functools.partial(self.on_server, server))

    def be_server(self, ours: socket.socket, channel: socket.socket) -> NoReturn:
        """Be a Server, and end."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for descriptor in (self.reader, self.writer):
                os.close(descriptor)
            for sock in (ours, *(server.channel for server in self.servers.values())):
                sock.close()  # else the Supervisor's end would not be the end of these
            self.loop.close()
            status = run_server(self.options, self.listeners, channel)
        except ConfigError as error:
            status = 2
            print_error(error)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            try:
                flush_streams()
            finally:
                os._exit(status)

    def on_server(self, server: ServerRecord) -> None:
        """A Server is ready, or its source has changed, or it is dead."""
        word = receive_word(server.channel)
        if word == b"":
            self.loop.forget(server.channel.fileno())
        elif word == b"h":
            self.reload_requested = True
            self.reload()
        elif word == b"r" and not self.stopping:
            server.ready = True
            if self.was_ready:
                notify("READY=1")
            else:
                self.was_ready = True
                print_ready(self.options, self.listeners)
            self.retire_others(server)
            self.reload()

    def retire_others(self, current: ServerRecord) -> None:
        """Leave the listeners to one Server. Of the others one may retire at its ease; older ones have the
        graceful timeout."""
        for server in self.servers.values():
            if server.retiring:
                send_word(server.channel, b"d")
            elif server.ready and server is not current:
                server.retiring = True
                send_word(server.channel, b"r")

    def reload(self) -> None:
        """Have another Server started, if that was asked for, as soon as none is starting."""
        starting = next((server for server in self.servers.values() if not server.ready), None)
        if not self.reload_requested or self.stopping:
            return
        if starting:
            overdue_at = starting.started_at + self.limits.graceful_timeout_s
            if time.monotonic() >= overdue_at:
                starting.given_up = True
                os.kill(starting.pid, signal.SIGKILL)
            else:
                self.loop.call_at("reload", overdue_at, self.reload)
            return
        self.reload_requested = False
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self.spawn()

    def on_exit(self, server: ServerRecord, status: int) -> None:
        """Go on without a Server."""
        self.loop.forget(server.channel.fileno())
        server.channel.close()
        if self.stopping:
            return
        if not self.was_ready and not server.given_up:  # it has shown why
            self.status = (os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1) or 1
            self.loop.running = False
            return
        if not server.ready and not server.given_up:
            log("error", f"the new Server {describe_exit(status)} before it was ready: the previous one goes on")
            notify("READY=1")
        elif not server.retiring and not server.given_up:
            log("error", f"Server {server.pid} {describe_exit(status)}")
        self.reload()
        if all(other.retiring for other in self.servers.values()):
            when = self.backoff.after(f"Server {server.pid}", server.started_at, server.ready)
            self.loop.call_at("spawn", when, self.spawn)

    # Signals.

    def on_signal(self, signum: int, frame: Optional[FrameType]) -> None:
        """Note a signal: only what is noted counts, whatever else wakes the loop."""
        if signum in STOP_SIGNALS:
            self.stops += 1
            self.interrupted = self.interrupted or signum == signal.SIGINT
        elif signum == signal.SIGHUP:
            self.reload_requested = True
        elif signum == signal.SIGUSR1:
            self.dump_requested = True

    def on_wake(self) -> None:
        """Act on the signals that have arrived."""
        read_wake_ups(self.reader)
        self.reap()
        if self.dump_requested:
            self.dump_requested = False
            for pid in self.servers:
                os.kill(pid, signal.SIGUSR1)
        if self.stops:
            self.stop()
        if self.stops > 1:
            self.abort()
        self.reload()

    def reap(self) -> None:
        """Reap Servers that have ended; as PID 1, which inherits orphans, every process. A program that calls
        serve() reaps its other children itself."""
        for pid in [-1] if os.getpid() == 1 else list(self.servers):
            try:
                ended, status = os.waitpid(pid, os.WNOHANG)
                while ended:
                    server = self.servers.pop(ended, None)
                    if server:
                        self.on_exit(server, status)
                    ended, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        if self.stopping and not self.servers:
            self.loop.running = os.getpid() == 1 and has_children()

    def stop(self) -> None:
        """Have all Servers drain; one that is still starting is given up."""
        if self.stopping:
            return
        self.stopping = True
        notify("STOPPING=1")
        self.loop.timers.clear()
        self.status = 130 if self.interrupted and not self.was_ready else 0
        for server in self.servers.values():
            send_word(server.channel, b"d")
            if not server.ready:
                os.kill(server.pid, signal.SIGTERM)
        now, delay_s = time.monotonic(), self.limits.drain_delay_s
        self.loop.call_at("files", now + delay_s, self.remove_files)
        self.loop.call_at("kill", now + delay_s + self.limits.graceful_timeout_s + 2, self.kill_all)
        self.reap()

    def abort(self) -> None:
        """Have all Servers kill their children and end."""
        self.remove_files()
        for server in self.servers.values():
            send_word(server.channel, b"a")
        self.loop.timers.setdefault("abort", (time.monotonic() + 1, self.kill_all))

    def remove_files(self) -> None:
        """Remove the socket files, and leave the listeners to the Servers."""
        for listener in self.listeners:
            listener.remove_file()
            listener.sock.close()

    def kill_all(self) -> None:
        """End what does not end by itself."""
        for pid in self.servers:
            os.kill(pid, signal.SIGKILL)
        if not self.servers:  # as PID 1: whatever is left ends with it
            self.loop.running = False


_supervisors: List[Supervisor] = []


def has_children() -> bool:
    """Return whether this process has any child left."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    except ChildProcessError:
        return False


def run_server(options: Any, listeners: List[Listener], channel: socket.socket) -> int:
    """Import the application and serve, in a process of a Supervisor; return the exit status. Raises
    ConfigError, and whatever the import raises."""
    import fcntl

    for signum in (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM):
        signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, ignore_signal)
    signal.signal(signal.SIGHUP, ignore_signal)
    faulthandler.register(signal.SIGUSR1, file=2)
    # An import that hangs reads no message: until it is done, the kernel ends this process at the first one,
    # and at the Supervisor's death (SIGIO; where that is ignored by default, the handler does).
    signal.signal(signal.SIGIO, lambda *_: os._exit(1))
    fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
    flags = fcntl.fcntl(channel, fcntl.F_GETFL)
    fcntl.fcntl(channel, fcntl.F_SETFL, flags | os.O_ASYNC)
    before = Channel(channel, listeners)
    close_after_fork(before)
    enter_folder(options)
    context = make_context(options)
    if options.preload or not options.workers:
        context.app = options.load()
        warn_of_threads()
    fcntl.fcntl(channel, fcntl.F_SETFL, flags)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    install_no_op_handlers()
    faulthandler.unregister(signal.SIGUSR1)
    _open_here.clear()
    server = (PreforkServer if options.workers else ForkServer)(context, listeners, options, channel)
    status = server.run()
    run_exit_functions(options.limits.graceful_timeout_s)
    return status


class Alone:
    """A Worker that is the whole server, for --no-fork."""

    def __init__(self, options: Any, listeners: List[Listener]) -> None:
        self.options = options
        self.listeners = listeners
        context = make_context(options)
        context.app = options.load()
        self.worker = Worker(context, listeners, Scoreboard.SLOT_BYTES)
        self.stops = 0
        self.reader, self.writer = wake_up_pipe()

    def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        _supervisors.append(self)  # type: ignore
        signal.set_wakeup_fd(self.writer, warn_on_full_buffer=False)
        signals = (*STOP_SIGNALS, signal.SIGHUP, signal.SIGUSR1)
        before = {signum: signal.signal(signum, self.on_signal) for signum in signals}
        faulthandler.register(signal.SIGUSR1, file=2, chain=True)
        close_after_fork(self)
        self.worker.loop.watch(self.reader, self.on_wake)
        print_ready(self.options, self.listeners)
        try:
            self.worker.acceptor.resume()
            self.worker.loop.run()
        finally:
            faulthandler.unregister(signal.SIGUSR1)
            signal.set_wakeup_fd(-1)
            for signum, handler in before.items():
                signal.signal(signum, handler)
        return 0

    def on_signal(self, signum: int, frame: Optional[FrameType]) -> None:
        """Note a signal; a second one that stops ends at once, for the loop may be in the application."""
        if signum in STOP_SIGNALS:
            self.stops += 1
            if self.stops > 1:
                self.abort()
        elif signum == signal.SIGHUP:
            log("notice", "HUP restarts nothing with --no-fork")
        else:
            state, _, since, text = self.worker.board.read(self.worker.at)
            doing = f"in the application for {time.monotonic() - since:.1f} s: {text}" if state == IN_APP else "waiting"
            log("notice", f"has {self.worker.load} connections, and is {doing}")

    def on_wake(self) -> None:
        """Drain, at the end of the delay, and reap orphans as PID 1."""
        read_wake_ups(self.reader)
        while os.getpid() == 1 and has_children() and os.waitpid(-1, os.WNOHANG)[0]:
            pass
        if self.stops and "drain" not in self.worker.loop.timers and not self.worker.draining:
            notify("STOPPING=1")
            self.worker.context.closing = True
            self.worker.loop.call_at("drain", time.monotonic() + self.options.limits.drain_delay_s, self.drain)

    def drain(self) -> None:
        """Finish what is under way."""
        self.worker.loop.call_at("abort", time.monotonic() + self.options.limits.graceful_timeout_s, self.abort)
        for listener in self.listeners:
            listener.remove_file()
        self.worker.drain()

    def abort(self) -> NoReturn:
        """End at once."""
        for listener in self.listeners:
            listener.remove_file()
        flush_streams()
        os._exit(0)

    def close_after_fork(self) -> None:
        """Close everything of the server's, in a process that the application has forked."""
        self.worker.close_after_fork()
        os.close(self.reader)
        os.close(self.writer)


# ---- command line: from arguments to a running server -----------------------------------------


def number(low: float, high: float, kind: Any = int) -> Callable[[str], Any]:
    """Return a function that reads a number in this range, and raises ArgumentTypeError."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = NEVER
        if not low <= value <= high:
            import argparse

            raise argparse.ArgumentTypeError(f"a number from {low:g} to {high:.15g}, not {text}")
        return value

    return read


COUNT, SIZE, SECONDS = number(0, 10**6), number(1, 10**15), number(1e-6, 10**6, float)
OPTIONS: Any = (  # groups of (option, type or None for a flag, default or attribute of Limits, metavar, help)
    ("application", (
        ("--app", str, None, "MODULE:APP", "the WSGI application: MODULE, MODULE:NAME or MODULE:FACTORY(); by "
         "default a page says hello"),
        ("--root-path", str, "", "/PATH", "mount the application below this path"),
        ("--validate", None, False, "", "check the application against PEP 3333, by wsgiref.validate"),
        ("--reload", None, False, "", "restart when a source file changes"),
        ("--check-config", None, False, "", "import, bind, read the certificates, report what fails, and exit"),
    )),
    ("listening", (
        ("--bind", str, [], "HOST:PORT", "also :PORT, [IPV6]:PORT, unix:PATH and fd://N; may be repeated; port 0 "
         "is any free one; by default the sockets of systemd, or 0.0.0.0:$PORT, or localhost:8888"),
        ("--backlog", number(1, 10**6), "backlog", "N", "connections that may wait in the kernel"),
    )),
    ("processes", (
        ("--no-fork", None, False, "", "serve in one process, for debuggers; a slow request delays the others"),
        ("--max-children", number(1, 10**6), "max_children", "N", "processes at once; further clients wait"),
        ("--workers", str, "0", "N", "worker processes with many connections each; auto: one a processor; 0: a "
         "process for each connection; WEB_CONCURRENCY in the environment is another default"),
        ("--threads", number(1, 10**6), 1, "N", "threads that call the application in each worker"),
        ("--preload", None, False, "", "import the application once, before the workers are forked"),
        ("--max-requests", COUNT, 0, "N", "replace a worker after so many requests; 0: never"),
        ("--max-requests-jitter", COUNT, 0, "N", "and up to so many more, at random"),
    )),
    ("limits and timeouts", (
        ("--header-timeout", SECONDS, "header_timeout_s", "S", "seconds for the head of a request to arrive"),
        ("--keep-alive", SECONDS, "keep_alive_s", "S", "seconds that an idle connection stays open"),
        ("--stall-timeout", SECONDS, "stall_timeout_s", "S", "seconds that a request body may be behind --min-rate"),
        ("--send-timeout", SECONDS, "send_timeout_s", "S", "seconds that a reading client may be behind --min-rate"),
        ("--min-rate", SIZE, "rate_bytes_per_s", "BYTES", "bytes a second of a request body, or read by a client"),
        ("--timeout", number(0, 10**6, float), "timeout_s", "S", "seconds that a call into the application may take; "
         "0: no limit"),
        ("--graceful-timeout", SECONDS, "graceful_timeout_s", "S", "seconds for requests in flight at the end"),
        ("--drain-delay", number(0, 10**6, float), "drain_delay_s", "S", "seconds to go on before that, with "
         "Connection: close"),
        ("--max-body", SIZE, "body_bytes", "BYTES", "size of a request body"),
        ("--limit-request-line", SIZE, "request_line_bytes", "BYTES", "size of a request-line"),
        ("--limit-request-field-size", SIZE, "field_line_bytes", "BYTES", "size of a field line"),
    )),
    ("TLS", (
        ("--certfile", str, None, "FILE", "speak TLS, with this certificate and its chain"),
        ("--keyfile", str, None, "FILE", "its private key, where --certfile does not have it"),
        ("--ca-certs", str, None, "FILE", "require a certificate of clients, signed by one of these"),
    )),
    ("proxies and logging", (
        ("--forwarded-allow-ips", str, "127.0.0.1,::1", "LIST", "proxies whose X-Forwarded-For and -Proto are "
         "trusted: addresses, networks, unix, or *; FORWARDED_ALLOW_IPS in the environment is another default"),
        ("--access-log", str, None, "FILE", "a line for each request; -: stderr, the default on a terminal"),
        ("--access-log-format", str, "combined", "FORMAT", "combined, with the microseconds taken, or json"),
        ("--verbose", None, False, "", "log the reason of each refusal, as on a terminal"),
    )),
)  # fmt: skip
APP = re.compile(r"([^\W\d][\w-]*(?:\.[^\W\d][\w-]*)*)(?::([^\W\d]\w*(?:\.[^\W\d]\w*)*)(\(.*\))?)?", re.DOTALL)


def make_parser() -> Any:
    """Return the parser of the command line, which raises ConfigError."""
    import argparse  # takes 10 ms, and a program that imports this file never needs it

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise ConfigError(message)

    layout = functools.partial(argparse.HelpFormatter, width=80)  # without a width it imports shutil
    description = (__doc__ or "").split("\n")[0]
    parser = Parser(prog="webserver.py", allow_abbrev=False, description=description, formatter_class=layout)
    parser.add_argument("module", nargs="?", metavar="MODULE:APP", help="as --app")
    for title, options in OPTIONS:
        group = parser.add_argument_group(title)
        for option, kind, default, metavar, text in options:
            if kind is None:
                group.add_argument(option, action="store_true", help=text)
            elif default == []:
                group.add_argument(option, action="append", default=[], metavar=metavar, help=text)
            else:
                dest = default if kind is not str and hasattr(Limits, str(default)) else option[2:].replace("-", "_")
                default = getattr(Limits, dest, default)
                shown = "" if default in (None, "") else f" ({default:.15g})" if kind is not str else f" ({default})"
                group.add_argument(option, type=kind, dest=dest, default=default, metavar=metavar, help=text + shown)
    parser.add_argument("--version", action="version", version="webserver.py " + __version__)
    parser.set_defaults(workers=os.environ.get("WEB_CONCURRENCY") or "0")
    if "FORWARDED_ALLOW_IPS" in os.environ:
        parser.set_defaults(forwarded_allow_ips=os.environ["FORWARDED_ALLOW_IPS"])
    return parser


def parse_options(arguments: Optional[Sequence[str]], app: Any) -> Any:
    """Return the options, with `limits`, `trusted`, and `load`, which returns the application. Raises
    ConfigError."""
    options = make_parser().parse_args(arguments)
    options.limits = Limits()
    for name, value in vars(options).items():
        if hasattr(Limits, name):
            setattr(options.limits, name, value)
    check_processes(options)
    if options.app is not None and options.module is not None:
        raise ConfigError("the application is named twice")
    if not re.fullmatch(r"(/[^/?#\x00-\x20\x7f]+)*", options.root_path):
        raise ConfigError(f"--root-path: /PATH, without a slash at its end, not {options.root_path}")
    if options.access_log_format not in ("combined", "json"):
        raise ConfigError(f"--access-log-format: combined or json, not {options.access_log_format}")
    if options.certfile is None and (options.keyfile, options.ca_certs) != (None, None):
        raise ConfigError("--keyfile, --ca-certs: only with --certfile")
    try:
        options.trusted = TrustedProxies(options.forwarded_allow_ips)
    except ValueError as error:
        raise ConfigError(f"--forwarded-allow-ips, FORWARDED_ALLOW_IPS: {error}") from None
    options.folder = working_folder()
    for name in ("access_log", "certfile", "keyfile", "ca_certs"):
        if getattr(options, name) not in (None, "", "-"):
            setattr(options, name, os.path.join(options.folder, getattr(options, name)))
    binds = options.bind or default_binds(os.environ)
    relative = re.compile("unix:[^/]").match
    options.bind = [f"unix:{options.folder}/{bind[5:]}" if relative(bind) else bind for bind in binds]
    options.resolved_folder = os.getcwd()
    options.app = options.module if options.app is None else options.app
    options.load = functools.partial(load_application, options, app)
    return options


def check_processes(options: Any) -> None:
    """Make --workers a number. Raises ConfigError where it contradicts other options."""
    if options.workers == "auto":
        affinity = getattr(os, "sched_getaffinity", None)
        options.workers = len(affinity(0)) if affinity else os.cpu_count() or 1
    elif not re.fullmatch("[0-9]{1,4}", options.workers):
        raise ConfigError(f"--workers, WEB_CONCURRENCY: a number or auto, not {options.workers}")
    options.workers = 0 if options.no_fork else int(options.workers)
    if not options.no_fork and not hasattr(os, "fork"):
        raise ConfigError("this platform has no fork: use --no-fork")
    for name, default in (("threads", 1), ("max_requests", 0), ("max_requests_jitter", 0), ("preload", False)):
        if getattr(options, name) != default and not options.workers:
            raise ConfigError(f"--{name.replace('_', '-')}: only with --workers")
    if options.no_fork and (options.timeout_s or options.reload):
        raise ConfigError("--timeout, --reload: not with --no-fork")


def default_binds(environ: Any) -> List[str]:
    """Return where to listen by default: the sockets of the service manager (sd_listen_fds(3)), a port that
    the platform asks for, or the article's."""
    count = environ.get("LISTEN_FDS", "")
    if re.fullmatch("[1-9][0-9]{0,3}", count):
        if environ.get("LISTEN_PID") == str(os.getpid()):
            return [f"fd://{3 + number}" for number in range(int(count))]
        log("warning", "LISTEN_FDS is for another process, LISTEN_PID; --bind fd://3 takes the first socket anyway")
    return [f"0.0.0.0:{environ['PORT']}" if environ.get("PORT") else "localhost:8888"]


def working_folder() -> str:
    """Return the current folder by the name that it was entered by: a link in it may lead elsewhere later.
    Raises ConfigError."""
    name = os.environ.get("PWD", "")
    try:
        return name if os.path.isabs(name) and os.path.samefile(name, ".") else os.getcwd()
    except OSError:
        pass
    try:
        return os.getcwd()
    except OSError as error:
        raise ConfigError(f"the current folder cannot be used: {error.strerror}") from None


def enter_folder(options: Any) -> None:
    """Enter the working folder again, by its name: it may be another release now."""
    import importlib

    try:
        os.chdir(options.folder)
    except OSError as error:
        raise ConfigError(f"cannot enter {options.folder}: {error.strerror}") from None
    sys.path[:] = [os.getcwd() if name == options.resolved_folder else name for name in sys.path]
    importlib.invalidate_caches()


def source_files() -> Set[Tuple[str, int]]:
    """Return the application's Python files, and when each was changed."""
    found, library = set(), os.path.dirname(os.__file__)
    for top in {os.getcwd(), *map(os.path.abspath, sys.path)}:
        if top == "/" or (top + "/").startswith(library + "/"):
            continue
        for folder, folders, files in os.walk(top):
            foreign = ("node_modules", "site-packages", "dist-packages", "__pycache__")
            folders[:] = [
                name for name in folders
                if name[0] != "." and name not in foreign and not os.path.exists(f"{folder}/{name}/pyvenv.cfg")
            ]  # fmt: skip
            for path in (os.path.join(folder, name) for name in files if name.endswith(".py")):
                try:
                    found.add((path, os.stat(path).st_ctime_ns))  # st_mtime may be anything
                except OSError:  # it is about to be written
                    pass
    return found


def hello(environ: Environ, start_response: Callable[..., Any]) -> List[bytes]:
    """The article's page."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, World!\n"]


def load_application(options: Any, app: Any) -> Application:
    """Return the application that the options name, or `app`, or the page. Raises ConfigError, and what its
    module raises."""
    try:
        application: Application = find_application(options.app) if options.app is not None else app or hello
    except SystemExit as error:
        raise ConfigError(f"{options.app} ends the program at its import: SystemExit({error.code!r})") from None
    patched = sys.modules.get("gevent.monkey") or sys.modules.get("eventlet.patcher")
    if patched and (getattr(patched, "saved", None) or getattr(patched, "already_patched", None)):
        name = patched.__name__.partition(".")[0]
        raise ConfigError(f"{name} has patched the standard library, which this server cannot use then: see gunicorn")
    if options.validate:
        from wsgiref.validate import validator

        application = validator(application)
    return application


def find_application(spec: str) -> Application:
    """Return the application that MODULE:APP names. Raises ConfigError, and what its module raises."""
    import importlib

    match = APP.fullmatch(spec)
    if not match:
        raise ConfigError(f"not MODULE, MODULE:APP or MODULE:FACTORY(): {spec}")
    module, path, call_text = match.groups()
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module + ".").startswith(error.name + "."):
            raise ConfigError(f"no module named {error.name}") from None
        raise
    for name in (path or ("application" if hasattr(found, "application") else "app")).split("."):
        if not hasattr(found, name):
            raise ConfigError(f"{module} has no {path or 'application, and no app'}")
        found = getattr(found, name)
    if call_text:
        positional, named = parse_literals(spec, call_text)
        found = found(*positional, **named) if callable(found) else found
    if not callable(found):
        raise ConfigError(f"{spec} is not a WSGI application: {type(found).__name__} is not callable")
    application: Application = found
    return application


def parse_literals(spec: str, call_text: str) -> Tuple[List[Any], Dict[str, Any]]:
    """Return the arguments in a call of a factory. Raises ConfigError for what is not a literal."""
    import ast

    try:
        call: Any = ast.parse("f" + call_text, mode="eval").body
        positional = [ast.literal_eval(value) for value in call.args]
        return positional, {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, AttributeError, TypeError):
        raise ConfigError(f"the arguments of a factory are literals: {spec}") from None


def warn_of_threads() -> None:
    """Log where the application has started threads that are not in the processes which serve."""
    import warnings

    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    threading = sys.modules.get("threading")
    if threading and threading.active_count() > 1:
        text = "the application started threads at import: the children that serve have none; see --workers"
        log("warning", text)


def make_context(options: Any) -> ServerContext:
    """Return what all conversations share, without the application. Raises ConfigError."""
    slots = 1 if options.no_fork else options.limits.max_children
    if options.workers:  # as many again while others retire
        slots = (2 * options.workers + 2) * options.threads
    context = ServerContext(options.limits, options.trusted, slots, options.root_path)
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


def start(arguments: Optional[Sequence[str]], app: Any = None) -> int:
    """Do what the command line says, with `app` where it names no application; return the exit status. Raises
    ConfigError, and with --no-fork and --check-config what the application's module raises."""
    options = parse_options(arguments, app)
    listeners: List[Listener] = []
    try:
        for bind in dict.fromkeys(options.bind):
            listeners += listen(bind, options.limits.backlog)
        if options.check_config:
            return check_config(options)
        if not options.no_fork:
            return Supervisor(options, listeners).run()
        alone = Alone(options, listeners)
        gc.freeze()
        alone.run()
        run_exit_functions(options.limits.graceful_timeout_s)
        return 0
    finally:
        for listener in listeners:
            listener.remove_file()
            listener.sock.close()


def check_config(options: Any) -> int:
    """Try what a start would do; return the exit status. Raises as start() does."""
    new = options.access_log not in (None, "-") and not os.path.exists(options.access_log)
    make_context(options)
    if new:
        os.unlink(options.access_log)
    options.load()
    return 0


def open_standard_streams() -> None:
    """Open descriptors 0 to 2 where they are missing: a listener must not become stdout."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number
    sys.stdin = sys.stdin or open(0, closefd=False)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False, errors="backslashreplace")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)  # what is printed appears at once, in a pipe too


def print_error(error: ConfigError) -> None:
    """Write the one line that a usage error is."""
    sys.stderr.write("webserver.py: " + "\\n".join(str(error).splitlines()) + "\n")


def serve(app: Union[str, Application], **options: Any) -> int:
    """Serve `app`, an application or MODULE:APP, until TERM or INT; return the exit status. `options` are the
    command line's, by the same names: serve(app, bind="localhost:8888", workers=2). HUP can import MODULE:APP
    anew, but not an object. Raises ConfigError, and ValueError in a thread."""
    arguments: List[str] = []
    if isinstance(app, str):
        arguments.append(f"--app={app}")
    elif not callable(app):
        raise ConfigError(f"serve takes a WSGI application, not {type(app).__name__}")
    elif options.get("reload"):
        raise ConfigError("--reload: only with an application that is named, MODULE:APP")
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is not None and one is not False:
                arguments.append(option if one is True else f"{option}={one}")
    open_standard_streams()
    return start(arguments, None if isinstance(app, str) else app)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The program: return its exit status."""
    open_standard_streams()
    try:
        return start(arguments)
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
