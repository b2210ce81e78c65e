#!/usr/bin/env python3
"""A concurrent HTTP/1.1 and WSGI server in one file, with nothing to install.

    python webserver.py                      every request gets `Hello, World!`
    python webserver.py --app module:app     a WSGI application, a process per connection
    python webserver.py --workers 2 ...      processes forked beforehand, each for many connections

Two stories, each told once, in the order in which things happen.

    Data    bytes -> head -> request -> body -> environ -> application -> response -> bytes
    Life    listen -> accept -> fork -> serve -> reap -> drain, or start anew

A connection is one *conversation*: a generator that reads straight down and never blocks.
It yields what it needs, and whoever runs it provides that and resumes it:

    (state, timeout)      wait until the socket is ready, or for so many seconds
    (CALL, act)           hand back what act() returns: the application is called in a thread

    Parent, which never parses HTTP and reaps every child, serves in one of three roles:

    Forking    accepts, and forks for each connection a Child, which runs the one conversation
    Crew       forks workers beforehand; each is a Host on the shared listeners
    Host       runs many conversations on a Loop, and calls in a Pool of threads; --no-fork

    lifeline      a pipe that the parent holds open; its end tells a waiting child to go
    channel       a socket pair to each worker, for "ready", "spent", "leave"
    scoreboard    shared memory: what each process is at, its load, its client and the request-line

On HUP the parent executes the program again, in its own process: the new image takes over the
listeners, and leaves the old one's children, its Elders, to finish what they have.

Rooms: limits, errors, grammar, transport, proxies, request, body, environ, response, log,
conversation, loop, scoreboard, listener, hosting, children, workers, restart, parent, command
line. Each does one thing, in the words of the RFCs 9110 and 9112 and of PEP 3333.
"""

from __future__ import annotations

import _signal  # type: ignore  # signal.signal also names what it replaces: 45 page faults for a child
import contextvars
import errno
import faulthandler
import functools
import gc
import io
import math
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
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Any, BinaryIO, Callable, Dict, Generator, Iterator, List, NoReturn
    from typing import Optional, Sequence, Set, Tuple, Type, TypeVar, Union

    T = TypeVar("T")
    Steps = Generator[Tuple[Any, ...], Any, T]  # a part of a conversation, returning T
    Environ = Dict[str, Any]
    ExcInfo = Tuple[Type[BaseException], BaseException, TracebackType]
    Resume = Callable[[bool], Any]
    Application = Callable[[Environ, Callable[..., Any]], Any]

__version__ = "1.0"


# ---- limits: every number, its unit in its name, its reason beside it -------------------------


class Limits:
    """What a client may ask of the server; an instance carries what the command line changed."""

    # What a client may send.
    request_line_bytes = 8192  # RFC 9112 3 asks for 8000 at least
    field_line_bytes = 16384  # four cookies of 4096 bytes, as browsers keep them
    head_bytes = 65536  # the request-line and all field lines
    fields = 128  # browsers send 20, proxies add 10
    body_bytes = 1 << 30  # a disk image passes
    chunks = 1 << 20  # a chunk costs work whatever its size
    chunk_line_bytes = 1024  # a chunk-size with its extensions
    blank_lines = 4  # RFC 9112 2.2 asks for one before a request-line
    memory_bytes = 1 << 20  # a larger body waits in a temporary file

    # How long it may take.
    header_timeout_s = 10.0  # for a whole head, however it is cut
    keep_alive_s = 5.0  # for the next request on an idle connection
    stall_timeout_s = 10.0  # that a body may be behind the rate below
    send_timeout_s = 60.0  # that a client who reads may be: its window opens in large steps
    rate_bytes_per_s = 1024  # slower than a modem is an attack
    linger_s = 2.0  # for a client to read its refusal
    linger_bytes = 1 << 20  # drained meanwhile

    # How much of the machine.
    max_children = 256  # processes, of 10 MB each and what the application takes
    connections = 1 << 20  # of a process, where its descriptors allow so many
    backlog = 2048  # connections that wait in the kernel, which has a ceiling of its own
    timeout_s = 0.0  # for one call into the application; 0 is for ever
    graceful_timeout_s = 30.0  # for what is in flight when the server is told to stop
    drain_delay_s = 0.0  # before that, for load balancers to look away
    moment_s = 0.1  # before the system is asked again for what it refused
    turn_s = 0.005  # a response takes so long before others have their turn
    likely_s = 0.02  # a child waits in recv so long, then polls: a busy client costs one call, not two
    share = 0.125  # of those who may be asked to give way is asked at once
    fresh_s = 0.25  # nobody is asked to give way before: first bytes may be on their way
    block_bytes = 32768  # of one read: glibc tidies its whole heap when it frees twice as much
    unsent_bytes = 65536  # in the kernel, for one client
    remembered_fields = 512  # lines; of those that a browser sends, all but a few are the same for all
    remembered_heads = 1024  # of responses
    remembered_requests = 512  # of 8 kB each, for a listener in a process
    remembered_bytes = 2048  # the longest head among them; browsers send 1000


# ---- errors: what ends an exchange, a connection or the program -------------------------------


class HTTPError(Exception):
    """A request is refused: the status, the rule that it broke, and the offending part."""

    def __init__(self, status: int, rule: str, part: str = "") -> None:
        super().__init__(status, rule)
        self.status = status
        self.rule = rule + (": " + ascii(part[:60]) if part else "")


def excess(status: int, what: str, most: float, units: str = "bytes") -> HTTPError:
    """Return the refusal of what goes beyond a limit."""
    clause = {431: "RFC 6585 5", 400: "RFC 9112 7.1.1"}.get(status, f"RFC 9110 15.5.{status - 399}")
    return HTTPError(status, f"{what} has {most:.15g} {units} at the most ({clause})")


class ClientGone(Exception):
    """The connection is no more: reset, closed too early, or too slow to be kept."""


class UsageError(Exception):
    """The command line asks for what cannot be had: one line, exit status 2."""


REASONS = {400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 413: "Content Too Large"}
REASONS.update({414: "URI Too Long", 417: "Expectation Failed", 431: "Request Header Fields Too Large"})
REASONS.update({500: "Internal Server Error", 501: "Not Implemented", 505: "HTTP Version Not Supported"})


# ---- grammar: RFC 9110, RFC 9112 and RFC 3986 as regular expressions --------------------------

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = r"[\t\x20-\x7e\x80-\xff]*"  # field-value with its OWS; obs-text is kept as latin-1
TARGET = r"[\x21\x22\x24-\x7e]+"  # visible ASCII; a fragment is never sent (RFC 9112 3.2)
AUTHORITY = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::[0-9]*)?"  # no userinfo

REQUEST_LINE = re.compile(rf"({TOKEN}) ({TARGET}) HTTP/1\.([0-9])")
FIELD_LINE = re.compile(rf"({TOKEN}):({VALUE})")
OPENING = re.compile(rf"{TOKEN} {TARGET} HTTP/1\.[0-9]\r\n(?:{TOKEN}:{VALUE}\r\n)*".encode("latin-1"))
LINES = re.compile(rf"(?:{TOKEN}:{VALUE}\r\n)*".encode("latin-1"))
TRAILER_LINE = re.compile(rf"(?:{TOKEN}:{VALUE})?\r\n".encode("latin-1"))
CRLF = re.compile(rb"\r\n")
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
ABSOLUTE = re.compile(rf"(https?)://({AUTHORITY})(/[^?]*|)(\?.*|)", re.IGNORECASE)
TUNNEL = re.compile(rf"(?=.*:[0-9]+\Z){AUTHORITY}")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
DIGITS = re.compile(r"[0-9]+")
LENGTH = re.compile(r"[0-9]{1,18}")
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
EXTENSION = rf"[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|{QUOTED}))?"
CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]+)(?:{EXTENSION})*\r\n".encode("latin-1"))
STATUS = re.compile(rf"[2-5][0-9][0-9] {VALUE}")
NAME = re.compile(TOKEN)
CONTENT = re.compile(VALUE)

# Wrong wherever it stands in a head, and told before the head is whole. A bare LF or CR is a
# line end to some and not to others: two readings, and between them a smuggled request.
STRAY = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

BARE_LF = "a line ends in CRLF, not in a bare LF"

# Why a head is not one, most telling first: what to search for, the status, the rule.
FAULTS = (
    (r"\A\r\n", 400, "few empty lines stand before a request-line (RFC 9112 2.2)"),
    (r"(?<!\r)\n", 400, BARE_LF + " (RFC 9112 2.2)"),
    (r"\r(?=[^\n])", 400, "a CR stands only before a LF (RFC 9112 2.2)"),
    (r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", 400, "a head has no control characters (RFC 9110 5.5)"),
    (r"\A[^\r]* HTTP/[02-9]\.[0-9]\r", 505, "the major version is 1 (RFC 9110 15.6.6)"),
    (rf"\A(?!{TOKEN} )[^ \r]*", 400, "a method is a token, and one space follows (RFC 9112 3)"),
    (r"\A[^ ]+ [^ \r]*#[^ \r]*", 400, "a request-target has no fragment (RFC 9112 3.2)"),
    (rf"\A[^ ]+ (?!{TARGET} )[^\r]*", 400, "a request-target is visible ASCII, then one space (RFC 9112 3)"),
    (r"\A(?!.* HTTP/1\.[0-9]\r)[^\r]*", 400, "a request-line ends in a version, as HTTP/1.1 (RFC 9112 3)"),
    (r"\A[^ ]+ [^ ]+ [^\r]* [^\r]*", 400, "a request-line has two spaces, single ones (RFC 9112 3)"),
    (r"(?<=\n)[ \t][^\r]*", 400, "a field line is not folded (RFC 9112 5.2)"),
    (r"(?<=\n)[^:\r\n]*(?<=[ \t]):", 400, "no space stands before the colon (RFC 9112 5.1)"),
    (rf"(?<=\n)(?!{TOKEN}:)[^\r\n]+", 400, "a field line is a token, a colon and a value (RFC 9112 5)"),
)


def fault(head: str) -> HTTPError:
    """Return the refusal that names the rule which `head` breaks."""
    for pattern, status, rule in FAULTS:
        found = re.search(pattern, head)
        if found:
            return HTTPError(status, rule, found.group())
    return HTTPError(400, "this is not a request (RFC 9112 2.1)", head)


# ---- transport: the socket, tried first and waited for by yielding ----------------------------

# What a conversation waits for, in the order in which they give way when others have to wait.
IDLE, SILENT, HEADING, BODY, WRITING, CALL = 1, 2, 3, 4, 5, 6
NOTHING, READ, WRITE = 0, select.POLLIN, select.POLLOUT  # of epoll as well

NEVER = float("inf")
DONTWAIT = socket.MSG_DONTWAIT
RESET = struct.pack("ii", 1, 0)  # a struct linger: close() resets the connection


def expendable(limits: Limits, state: int, deadline: float) -> float:
    """Return from when on a client who may wait until `deadline` can be asked to give way: a moment after
    it became idle, or fell behind what its state allows."""
    if state == IDLE:
        return deadline - limits.keep_alive_s + limits.likely_s
    whole = {BODY: limits.stall_timeout_s, WRITING: limits.send_timeout_s}.get(state, limits.header_timeout_s)
    return deadline - whole + limits.fresh_s


class Connection:
    """A client's bytes: `ahead` are those that were received and not yet used."""

    __slots__ = "ahead alone block call head known limits listener peer release request".split()
    __slots__ += "shown since site sock term trusted turn unsent wants".split()

    def __init__(self, sock: socket.socket, peer: Any, listener: Listener, site: Site) -> None:
        self.sock = sock
        # Of AF_UNIX, a peer has no address.
        self.peer = (unmapped(peer[0]), str(peer[1])) if type(peer) is tuple else ("", "")
        self.trusted: bool = site.trust.includes(self.peer[0] or "unix")
        self.listener = listener
        self.known = listener.requests[self.trusted]
        self.site = site
        self.limits = site.limits
        self.ahead: Any = b""  # bytes, and a bytearray while a head is gathered
        self.head: Optional[bytes] = None  # the last one
        self.request: Optional[Request] = None  # that was one, None while one is read
        self.since = 0.0  # the beginning of an exchange, where it is logged
        self.term = NEVER  # for what arrives while the server leaves
        self.unsent = 0  # bytes of what is to be sent
        self.shown: Tuple[Any, bytes] = (None, b"")  # a request, and what the scoreboard has of it
        # Set by whoever runs the conversation.
        self.alone = False  # no other conversation is in this process: a call on the socket may block
        self.call: Any = None  # makes a call into the application, where no thread does
        self.block: Any = None  # runs steps to their end, where the application may block
        self.turn = 0.0  # when others have theirs
        self.wants = NOTHING  # the event that TLS waits for, where it is not what the conversation does
        self.release: Any = None  # is told that the calls for a request are over

    def client(self) -> str:
        """Return whom to name on stderr: the client of the last request, as far as that is known."""
        return ((self.request and self.request.client) or self.peer)[0] or "unix"

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a call on the socket returns, None where it would block. Raises ClientGone."""
        try:
            return call(*arguments)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.EIO, errno.EINVAL):  # of a file that is sent
                raise
            raise ClientGone from error

    def shake_hands(self, context: Any) -> Steps[None]:
        """Have TLS between the socket and the conversation. Raises ClientGone, HTTPError for plain HTTP."""
        deadline = time.monotonic() + self.limits.header_timeout_s
        first: Optional[bytes] = None
        while first is None:
            first = self.attempt(self.sock.recv, 1, socket.MSG_PEEK)
            if first is None and not (yield SILENT, deadline - time.monotonic()):
                raise ClientGone
        if first and first != b"\x16":  # RFC 8446 5.1: a handshake
            raise HTTPError(400, "what is asked of this port is https (RFC 9110 4.2.2)")
        secure: Any = self.attempt(TLSSocket, self, context)
        self.sock = secure
        try:
            while not self.attempt(secure.shake_hands):
                if not (yield HEADING, deadline - time.monotonic()):
                    raise ClientGone
        except ClientGone as error:
            self.sock = socket.socket(fileno=secure.detach())
            if isinstance(error.__cause__, ConnectionAbortedError):  # the alert has to be read
                yield from self.linger()
            raise

    def receive(self, state: int, deadline: float) -> Steps[bytes]:
        """Return what arrives, b"" at the end. A last try follows the deadline: bytes that are
        there are not lost. Raises TimeoutError, ClientGone."""
        ready = True
        while True:
            data: Optional[bytes] = self.attempt(self.sock.recv, Limits.block_bytes)
            if data is not None:
                return data
            if not ready:
                raise TimeoutError
            ready = yield state, deadline - time.monotonic()

    def send(self, data: bytes, sent: int = 0) -> Steps[None]:
        """Send `data`, but for the bytes `sent` already. Raises ClientGone."""
        rest = memoryview(data)[sent:]
        return self.transfer(len(rest), lambda done: self.sock.send(rest[done:]))

    def send_file(self, file: int, offset: int, count: int) -> Steps[None]:
        """Send `count` bytes of a regular file, from `offset`, without reading them here. Raises ClientGone,
        EOFError."""
        sock, some = self.sock.fileno(), Limits.block_bytes
        if self.site.tls:  # the kernel has no key
            return self.transfer(
                count, lambda done: self.sock.send(os.pread(file, min(some, count - done), offset + done))
            )
        return self.transfer(count, lambda done: os.sendfile(sock, file, offset + done, count - done))

    def transfer(self, count: int, send: Callable[[int], int]) -> Steps[None]:
        """Send `count` bytes, as the client reads them, by a function that is told how many are sent and
        returns how many more were. Raises ClientGone, also for one who reads too slowly."""
        stall_s, done, self.unsent = self.limits.send_timeout_s, 0, count
        deadline = self.later(stall_s)
        while done < count:
            sent = self.attempt(send, done)
            if sent:
                done, deadline = done + sent, self.later(stall_s, deadline, sent)
                self.unsent = count - done
                yield from self.share()
            elif sent == 0:
                raise EOFError("the file became shorter while it was sent")
            elif not (yield WRITING, deadline - time.monotonic()):
                raise ClientGone

    def later(self, stall_s: float, deadline: float = NEVER, moved: int = 0) -> float:
        """Return the deadline of a transfer: each byte puts it off by what the slowest rate takes for
        it, and never beyond one stall."""
        return min(time.monotonic() + stall_s, deadline + moved / self.limits.rate_bytes_per_s)

    def share(self) -> Steps[None]:
        """Let others have their turn, where there are others and this one has lasted. Raises ClientGone."""
        if time.monotonic() >= self.turn and not self.alone:
            if not (yield WRITING, self.limits.send_timeout_s):
                raise ClientGone
            self.turn = time.monotonic() + self.limits.turn_s

    def reset(self) -> None:
        """Have the end of the connection be no end of a response."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except OSError:  # the client has done so
            pass

    def linger(self) -> Steps[None]:
        """Half-close, then drain for a while: closing on unread bytes resets the connection, and
        the reset can overtake the answer (RFC 9112 9.6)."""
        deadline, drained = time.monotonic() + self.limits.linger_s, 0
        try:
            self.sock.shutdown(socket.SHUT_WR)
            while drained < self.limits.linger_bytes:
                data = yield from self.receive(SILENT, deadline)
                if not data:
                    return
                drained += len(data)
        except (OSError, ClientGone):
            return


class TLSSocket:
    """What a conversation needs of a socket, over TLS; the socket itself does not block."""

    RECORD_BYTES = 16384  # RFC 8446 5.1; of more nothing counts as sent before all is

    def __init__(self, connection: Connection, context: Any) -> None:
        import ssl  # takes 15 ms, and was imported if there is a context

        self.ssl = ssl
        self.connection = connection
        connection.sock.setblocking(False)
        self.sock = context.wrap_socket(connection.sock, server_side=True, do_handshake_on_connect=False)
        self.fileno, self.detach = self.sock.fileno, self.sock.detach
        self.whole = True  # the end of what is sent is meant

    def attempt(self, event: int, act: Callable[..., Any], *arguments: Any) -> Any:
        """Return what `act` returns. Raises OSError as a plain socket does: BlockingIOError where it has to
        wait, and keeps for what, where it is not `event`."""
        ssl = self.ssl
        self.connection.wants = NOTHING
        try:
            return act(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            wants = READ if isinstance(error, ssl.SSLWantReadError) else WRITE
            self.connection.wants = wants if wants != event else NOTHING
            raise BlockingIOError from None
        except ssl.SSLError as error:  # its errno is not the system's
            raise ConnectionAbortedError(error.reason) from error

    def shake_hands(self) -> bool:
        """Go on with the handshake; return True at its end."""
        self.attempt(READ, self.sock.do_handshake)
        return True

    def recv(self, count: int, flags: int = 0) -> bytes:
        """Receive. To peek shows no bytes, but whether the client is there."""
        if flags & socket.MSG_PEEK:
            return socket.socket.recv(self.sock, count, flags)
        data: bytes = self.attempt(READ, self.sock.recv, count)
        return data

    def send(self, data: Any) -> int:
        """Send; nothing where there is nothing, which OpenSSL takes for the end."""
        if not data:
            return 0
        sent: int = self.attempt(WRITE, self.sock.send, data[: self.RECORD_BYTES])
        return sent

    def setsockopt(self, *option: Any) -> None:
        """Prepare a reset, the one use of this: the client is not told that this was all."""
        self.whole = False
        self.sock.setsockopt(*option)

    def shutdown(self, how: int) -> None:
        """Say that this was all; what the client still sends is not deciphered."""
        try:
            self.sock.unwrap() if self.whole else None
        except (OSError, ValueError):  # it does not wait for the client to say the same
            pass
        self.whole = False
        self.sock.shutdown(how)

    def close(self) -> None:
        """Say that this was all, if it was, and close."""
        try:
            if self.whole:
                self.shutdown(socket.SHUT_WR)
        except OSError:  # the client has left
            pass
        self.sock.close()


def tls_context(certfile: str, keyfile: Optional[str], ca_certs: Optional[str]) -> Any:
    """Return how TLS is spoken: 1.2 and newer, by clients with a certificate where `ca_certs` says who signs
    those. Raises UsageError."""
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION  # with older OpenSSL each client may ask for it without end
    files = f"--certfile {certfile}" + (f" with --keyfile {keyfile}" if keyfile else ", without --keyfile,")
    try:
        context.load_cert_chain(certfile, keyfile, lambda: "")  # nobody is there to be asked for a password
        files = f"--ca-certs {ca_certs}"
        if ca_certs is not None:
            context.load_verify_locations(ca_certs)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UsageError(f"cannot use {files}: {reason}") from None
    return context


# ---- proxies: whom to believe about a client --------------------------------------------------

FORWARDED = ["HTTP_FORWARDED", *("HTTP_X_FORWARDED_" + name for name in "FOR PROTO HOST PORT PREFIX".split())]
HOP = re.compile(r"([0-9.]+)(?::([0-9]{1,5}))?|\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?|([0-9A-Fa-f:.]+)")


def unmapped(address: str) -> str:
    """Return an IPv4 address as such, where IPv6 carries it (RFC 4291 2.5.5.2)."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


@functools.lru_cache(maxsize=Limits.remembered_fields)
def canonical(address: str) -> str:
    """Return an IP address in the one spelling that it has here, "" for what is none."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return unmapped(socket.inet_ntop(family, socket.inet_pton(family, address)))
    except OSError:
        return ""


class Trust:
    """The proxies that are believed: addresses, networks, `unix` for whoever comes by a file, `*` for all."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for what is none of these."""
        names = [name.strip() for name in text.split(",") if name.strip()]
        self.names = {canonical(name) or name for name in names}
        self.networks: List[Any] = []
        self.includes = functools.lru_cache(maxsize=Limits.remembered_fields)(self.look_up)
        for name in self.names:
            if not canonical(name) and name not in ("unix", "*"):
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

SINGULAR = ("HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_AUTHORIZATION")


class Request:
    """A head, read: `environ` is what the application sees of it, copied for each exchange."""

    def __init__(self, head: bytes, environ: Environ, limits: Limits) -> None:
        """Add to `environ` what `head` says. Raises HTTPError for a head that breaks a rule."""
        text = head.decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        match = REQUEST_LINE.fullmatch(first)
        if not match:
            raise fault(text)
        self.method, target, minor = match.groups()
        self.minor = int(minor)
        self.line = head[: head.index(b"\r")]
        if len(self.line) > limits.request_line_bytes:
            raise excess(414, "a request-line", limits.request_line_bytes)
        self.environ = environ
        self.client: Optional[Tuple[str, str]] = None  # address and port, where a proxy says them
        environ["REQUEST_METHOD"] = self.method
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if self.minor else "HTTP/1.0"
        # Keys that each exchange sets: a copy with room for them is a fast one.
        environ["REMOTE_ADDR"] = environ["REMOTE_PORT"] = environ["wsgi.input"] = None
        if len(lines) > limits.fields:
            raise excess(431, "a header section", limits.fields, "field lines")
        if len(head) > limits.field_line_bytes < max(map(len, lines), default=0):
            raise excess(431, "a field line", limits.field_line_bytes)
        try:
            self.add_fields(lines)
        except ValueError:
            raise fault(text) from None
        self.place(target)
        self.frame(limits)
        options = members(environ.get("HTTP_CONNECTION", ""))
        self.persistent = "close" not in options and (self.minor > 0 or "keep-alive" in options)
        # How the last response to it began: the head, the length and the second; the framing and the bytes.
        self.answered: Tuple[Any, Optional[int], float, Any, bytes] = (None, 0, NEVER, None, b"")
        self.logged: Any = None  # what the access log has of it

    def environ_for(self, connection: Connection, body: BinaryIO) -> Environ:
        """Return a fresh environ for one exchange."""
        environ = self.environ.copy()
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self.client or connection.peer
        environ["wsgi.input"] = body
        if self.chunked:
            environ["CONTENT_LENGTH"] = str(body.seek(0, io.SEEK_END))
            body.seek(0)
        return environ

    def add_fields(self, lines: List[str]) -> None:
        """Add the field lines to the environ, repeated ones joined in order (RFC 9110 5.3). Raises ValueError
        for what is no field line, HTTPError."""
        pairs = [*map(read_field, lines)]
        fields = dict(pairs)
        if len(fields) < len(pairs):
            fields.clear()
            for line, (key, value) in zip(lines, pairs):
                if key in fields:
                    if key in SINGULAR:
                        name = line.partition(":")[0]
                        raise HTTPError(400, "this field stands once in a request (RFC 9110 5.3)", name)
                    value = fields[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value
                fields[key] = value
        fields.pop("", None)
        self.environ.update(fields)

    def place(self, target: str) -> None:
        """Read the four forms of a request-target, and Host beside them (RFC 9112 3.2)."""
        environ, method = self.environ, self.method
        absolute = None if target[0] == "/" else ABSOLUTE.fullmatch(target)
        if absolute and absolute[1].lower() != environ["wsgi.url_scheme"]:
            absolute = None
        if self.minor and "HTTP_HOST" not in environ:
            raise HTTPError(400, "a request of HTTP/1.1 has a Host (RFC 9112 3.2)")
        for authority in (environ.get("HTTP_HOST"), absolute and absolute[2]):
            if authority is not None and not is_authority(authority):
                rule = "what names the host is a host and perhaps a port (RFC 9112 3.2)"
                raise HTTPError(400, rule, authority)
        if method == "CONNECT" and TUNNEL.fullmatch(target):
            raise HTTPError(501, "this server is no tunnel (RFC 9110 9.3.6)")
        if target[0] == "/" and method != "CONNECT":
            path, _, query = target.partition("?")
        elif absolute and method != "CONNECT":
            environ["HTTP_HOST"] = absolute[2]  # whatever Host says (RFC 9112 3.2.2)
            path, query = absolute[3] or "/", absolute[4][1:]
        elif target == "*" and method == "OPTIONS":
            path = query = ""
        else:
            raise HTTPError(400, f"this is no request-target of {method} (RFC 9112 3.2)", target)
        if "%" in path:
            if BAD_ESCAPE.search(path):
                raise HTTPError(400, "a % stands before two hexadecimal digits (RFC 3986 2.1)", path)
            path = ESCAPE.sub(lambda match: chr(int(match[1], 16)), path)
        root = environ["SCRIPT_NAME"]
        if root and path and not (path + "/").startswith(root + "/"):
            raise HTTPError(404, "nothing is here (RFC 9110 15.5.5)")
        environ["PATH_INFO"] = path[len(root) :]
        environ["QUERY_STRING"] = query

    def believe(self, trust: Trust) -> None:
        """Take the client, the scheme and the host from what proxies say that are trusted: as the right-most
        address that is not trusted has it, for what stands to its left anybody may have made up."""
        environ, hops = self.environ, 0
        for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
            match = HOP.fullmatch(hop.strip(" \t"))
            address = match and canonical(match[1] or match[3] or match[5])
            if not match or not address:
                break
            self.client, hops = (address, match[2] or match[4] or ""), hops + 1
            if not trust.includes(address):
                break
        lists = [environ.get("HTTP_X_FORWARDED_" + name, "").split(",") for name in ("PROTO", "HOST")]
        # A shorter list is not by the same proxies: the last one's word counts.
        scheme, host = (some[-hops if 0 < hops <= len(some) else -1].strip(" \t") for some in lists)
        if scheme.lower() in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme.lower()
        if host and is_authority(host):
            environ["HTTP_HOST"] = host

    def doubt(self, connection: Connection) -> None:
        """Keep from the application what only a proxy may say."""
        dropped = [key for key in FORWARDED if self.environ.pop(key, None) is not None]
        told = connection.site.board.memory
        if dropped and not told[1]:
            told[1] = 1
            name = dropped[0][len("HTTP_") :].replace("_", "-").title()
            say(f"{name} of {connection.client()} is dropped: --forwarded-allow-ips lets it in")

    def frame(self, limits: Limits) -> None:
        """Say how the body ends, by the steps of RFC 9112 6.3."""
        environ = self.environ
        coding = environ.pop("HTTP_TRANSFER_ENCODING", None)  # decoded here (RFC 9112 7.1.3)
        length = environ.get("CONTENT_LENGTH", "0")
        self.chunked = coding is not None
        if coding is not None:
            if "CONTENT_LENGTH" in environ:
                raise HTTPError(400, "Transfer-Encoding and Content-Length are two lengths (RFC 9112 6.3)")
            if not self.minor:
                raise HTTPError(400, "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)")
            if coding.lower() != "chunked":
                status = 400 if members(coding) <= {"chunked", ""} else 501
                raise HTTPError(status, "the one coding is chunked, once (RFC 9112 6.1)", coding)
        if not DIGITS.fullmatch(length):
            raise HTTPError(400, "Content-Length is digits alone (RFC 9110 8.6)", length)
        digits = length.lstrip("0") or "0"
        if len(digits) > 18 or int(digits) > limits.body_bytes:  # int() of a million digits takes seconds
            raise excess(413, "a body", limits.body_bytes)
        self.length = int(digits)
        self.framing = self.chunked or self.length > 0
        expect = environ.get("HTTP_EXPECT", "").lower() if self.minor else ""
        if not members(expect) <= {"", "100-continue"}:
            raise HTTPError(417, "the one expectation is 100-continue (RFC 9110 10.1.1)", expect)
        self.continues = bool(expect)


@functools.lru_cache(maxsize=Limits.remembered_fields)
def is_authority(text: str) -> bool:
    """Return whether `text` is a host and perhaps a port (RFC 3986 3.2)."""
    match = HOST.fullmatch(text)
    try:
        return bool(match and (not match[1] or socket.inet_pton(socket.AF_INET6, match[1])))
    except OSError:
        return False


@functools.lru_cache(maxsize=Limits.remembered_fields)
def members(value: str) -> Set[str]:
    """Return the members of a list-based field value, in lower case (RFC 9110 5.6.1)."""
    return {member.strip(" \t") for member in value.lower().split(",")}


@functools.lru_cache(maxsize=Limits.remembered_fields)
def read_field(line: str) -> Tuple[str, str]:
    """Return the environ's key for a field line, and its value. The key is "" for a field that must not reach
    it: a name with an underscore would pass for another, and Proxy for a setting (httpoxy). Raises ValueError
    for what is no field line."""
    match = FIELD_LINE.fullmatch(line)
    if not match:
        raise ValueError
    name, value = match.groups()
    key = name.upper().replace("-", "_")
    if "_" in name or key == "PROXY":
        key = ""
    elif key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        key = "HTTP_" + key
    return key, value.strip(" \t")


def read_head(connection: Connection) -> Optional[bytes]:
    """Return the next head if all of it is there, b"" if not, None if nothing is. Raises ClientGone."""
    data: bytes = connection.ahead
    if not data:
        try:  # as attempt does, at half the cost
            data = connection.sock.recv(Limits.block_bytes)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientGone from error
    if not data or data in connection.known:
        connection.ahead = b""
        return data
    end = data.find(b"\r\n\r\n") + 4
    if end < 4 or data.startswith(b"\r\n"):
        connection.ahead = data
        return b""
    connection.ahead = data[end:]
    return data[:end]


def gather_head(connection: Connection) -> Steps[bytes]:
    """Return the next head, however it is cut, without blank lines before it; b"" when nothing
    comes. What cannot become a head is refused as soon as that shows. Raises HTTPError, ClientGone."""
    limits, seen, read, blank = connection.limits, 0, 0, 0
    connection.request = None
    data = connection.ahead = bytearray(connection.ahead)
    deadline = time.monotonic() + limits.header_timeout_s
    while True:
        while data.startswith(b"\r\n") and blank < limits.blank_lines:
            del data[:2]
            seen, blank = 0, blank + 1
        end = data.find(b"\r\n\r\n", max(0, seen - 3))
        size = end if end >= 0 else len(data)
        if STRAY.search(data, max(0, seen - 1), size):
            raise fault(data[:size].decode("latin-1"))
        longest = limits.request_line_bytes + 2
        if size >= longest and data.find(b"\r\n", 0, longest) < 0:
            raise excess(414, "a request-line", limits.request_line_bytes)
        if size > limits.head_bytes:
            raise excess(431, "a head", limits.head_bytes)
        last = data.rfind(b"\r\n", max(read, seen - 1), size)
        if last >= 0:  # lines are whole up to there
            if not (LINES if read else OPENING).fullmatch(data, read, last + 2):
                raise fault(data[: last + 2].decode("latin-1") + "\r\n")
            read = last + 2
        if end >= 0:
            connection.ahead = bytes(data[end + 4 :])
            return bytes(data[: end + 4])
        seen = size
        try:
            more = yield from connection.receive(HEADING if data else SILENT, deadline)
        except TimeoutError:
            if not data:
                return b""
            raise excess(408, "a head", limits.header_timeout_s, "seconds") from None
        if not more:
            return b""
        data += more


def parse(head: bytes, connection: Connection) -> Request:
    """Return the request that a head is, and remember what was seen before: clients repeat theirs byte
    for byte. Raises HTTPError."""
    listener, limits, connection.request = connection.listener, connection.limits, None
    request = Request(head, {**connection.site.environ, **listener.environ}, limits)
    if connection.trusted:
        request.believe(connection.site.trust)
    else:
        request.doubt(connection)
    if hash(head) in listener.seen and len(head) <= limits.remembered_bytes:
        connection.known[head] = request
    listener.seen.add(hash(head))
    if len(listener.seen) >= limits.remembered_requests:
        listener.forget()
    return request


# ---- body: read whole before the application is called, by either framing ---------------------


class Spool:
    """A file that is in memory while it is small."""

    def __init__(self, memory_bytes: int) -> None:
        self.file: Any = io.BytesIO()
        self.size = 0
        self.memory_bytes = memory_bytes

    def write(self, data: Union[bytes, bytearray]) -> None:
        """Append `data`. Raises OSError where the disk is full."""
        if self.size <= self.memory_bytes < self.size + len(data):
            import tempfile  # takes 5 ms, and most servers never need it

            memory, self.file = self.file, tempfile.TemporaryFile()
            self.file.write(memory.getbuffer())
        self.file.write(data)
        self.size += len(data)


class Body:
    """A request's body, moved from its connection to a spool."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.limits = connection.limits
        self.buffer = bytearray(connection.ahead)
        self.spool = Spool(self.limits.memory_bytes)
        self.deadline = connection.later(self.limits.stall_timeout_s)

    def read(self, request: Request) -> Steps[BinaryIO]:
        """Return the body as a file, at its start. Raises HTTPError, ClientGone."""
        if request.continues and not self.buffer:
            yield from self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            yield from self.move_chunks() if request.chunked else self.move(request.length)
            self.spool.file.seek(0)
        except OSError as error:
            say(f"a body of more than {self.spool.size} bytes cannot be kept: {error.strerror}")
            raise HTTPError(500, "this body cannot be kept") from None
        self.connection.ahead = bytes(self.buffer)
        file: BinaryIO = self.spool.file
        return file

    def arrive(self) -> Steps[bytes]:
        """Return what arrives next."""
        yield from self.connection.share()
        try:
            data = yield from self.connection.receive(BODY, self.deadline)
        except TimeoutError:
            rule = f"a body brings {self.limits.rate_bytes_per_s} bytes a second (RFC 9110 15.5.9)"
            raise HTTPError(408, rule) from None
        self.deadline = self.connection.later(self.limits.stall_timeout_s, self.deadline, len(data))
        if not data:  # a body that ends early is never shown as a whole one (RFC 9112 8)
            raise ClientGone
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
            more = yield from self.arrive()
            data = more[:count]
            self.buffer += more[count:]

    def move_chunks(self) -> Steps[None]:
        """Move the data of all chunks; drop the trailer section, which is not merged (RFC 9112 7.1)."""
        limits = self.limits
        for _ in range(limits.chunks + 1):  # and the last-chunk
            rule = "a chunk begins with a hexadecimal size, and perhaps extensions"
            line = yield from self.take(CHUNK_LINE, limits.chunk_line_bytes, 400, rule)
            size = int(line[1], 16)
            if self.spool.size + size > limits.body_bytes:
                raise excess(413, "a body", limits.body_bytes)
            if not size:
                break
            yield from self.move(size)
            yield from self.take(CRLF, 2, 400, "a chunk ends in CRLF")
        else:
            raise excess(413, "a body", limits.chunks, "chunks")
        for _ in range(limits.fields + 1):
            rule = "a trailer section has field lines, and ends in an empty one"
            line = yield from self.take(TRAILER_LINE, limits.field_line_bytes + 2, 431, rule)
            if line[0] == b"\r\n":
                return
        raise excess(431, "a trailer section", limits.fields, "field lines")

    def take(self, pattern: re.Pattern[bytes], limit: int, status: int, rule: str) -> Steps[re.Match[bytes]]:
        """Take a line of at most so many bytes from the buffer; return its match with `pattern`."""
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
                raise HTTPError(400, (BARE_LF if bare else rule) + " (RFC 9112 7.1)", part)
            if len(self.buffer) >= limit:
                raise excess(status, "a line beside chunks", limit)
            self.buffer += yield from self.arrive()


# ---- environ: what the application is told (PEP 3333) -----------------------------------------


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
        """Return descriptor, offset and bytes left of a regular file, None for anything else: what
        is read from a GzipFile, or a subclass, is not what its descriptor gives."""
        own = getattr(self.file, "__dict__", ())
        if type(self) is not FileWrapper or type(self.file) not in PLAIN_FILES or "read" in own:
            return None
        try:
            file, offset = self.file.fileno(), self.file.tell()
            status, readable = os.fstat(file), self.file.readable()
        except (OSError, ValueError):
            return None
        # What has no blocks on a disk, as in /sys, may say any size.
        regular = stat.S_ISREG(status.st_mode) and status.st_blocks
        left = status.st_size - offset if regular and readable else 0
        return (file, offset, left) if left > 0 else None


class Site:
    """What all conversations share: the application, the limits, the scoreboard that says
    whether to leave, and the part of the environ that is the same for all."""

    through: Any = ClientGone  # what is no failure of the application
    talks = False  # a line on stderr for each refusal
    log: Optional[AccessLog] = None
    left: float = NEVER  # requests until `spent` is called
    spent: Callable[[], Any]
    tls: Any = None  # how TLS is spoken, where it is

    def __init__(
        self, app: Application, limits: Limits, root: str = "", slots: int = 1, trust: Optional[Trust] = None
    ) -> None:
        self.app = app
        self.limits = limits
        self.trust = trust or Trust("")
        self.board = Scoreboard(slots)
        self.leaving: Any = self.board.memory  # while its first byte is not zero, nobody goes idle
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
DATE: List[Any] = [0.0, b""]  # the second that it is for, and the line


def date_line() -> bytes:
    """Return the Date field line and what ends a head, made once a second; the names are English
    in any locale."""
    second: float = DATE[0]
    line: bytes = DATE[1]
    if second <= time.time() < second + 1:
        return line
    second = time.time() // 1
    now = time.gmtime(second)
    day, month = DAYS[now.tm_wday], MONTHS[now.tm_mon - 1]
    line = time.strftime(f"Date: {day}, %d {month} %Y %H:%M:%S GMT\r\n\r\n", now).encode()
    DATE[:] = second, line
    return line


# The server's own, whatever the application says of them (RFC 9110 7.6.1, PEP 3333).
HOP_BY_HOP = frozenset("connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split())

ONCE = frozenset("content-length content-type date location server".split())

BODILESS = (204, 205, 304)  # RFC 9110 6.4.1, 15.3.6; an application does not send 1xx


class Head:
    """What an application says to start_response, checked; `lines` are as they go on the wire."""

    def __init__(self, status: str, headers: List[Tuple[str, str]]) -> None:
        """Raises TypeError and ValueError for what HTTP cannot carry."""
        if not STATUS.fullmatch(status):
            raise ValueError(f"a status is 200 to 599, a space and a reason, not {status!r} (PEP 3333)")
        # Joined, for an f-string asks a subclass of str for its text, which is another than what was checked.
        lines, names = ["HTTP/1.1 ", status, "\r\n"], {}
        self.close = False
        for header in headers:
            if type(header) is not tuple or len(header) != 2:
                raise TypeError
            name, value = header
            if not NAME.fullmatch(name) or not CONTENT.fullmatch(value):
                raise ValueError(f"HTTP cannot carry this header: {name!r}: {value!r} (RFC 9110 5)")
            lower = name.lower()
            if lower in names and lower in ONCE:
                raise ValueError(f"{name} stands once in a response (RFC 9110 5.3)")
            if lower == "content-length" and not LENGTH.fullmatch(value):
                raise ValueError(f"Content-Length is digits, not {value!r} (RFC 9110 8.6)")
            names[lower] = value
            if lower == "connection":
                self.close = self.close or "close" in members(value)
            elif lower != "content-length" and lower not in HOP_BY_HOP:
                lines += name, ": ", value, "\r\n"
        if "server" not in names:
            lines.append("Server: webserver.py\r\n")
        self.code = int(status[:3])
        self.length = int(names["content-length"]) if "content-length" in names else None
        self.dated = "date" in names
        self.lines = "".join(lines).encode("latin-1")

    def frame(self, request: Request, known: Optional[int], leaving: int) -> Tuple[bytes, Tuple[Any, ...]]:
        """Return the head without its Date and its end, and the framing: the length of the body, and whether
        it is chunked, left out, the last on its connection (RFC 9112 6.3)."""
        lines, length = self.lines, known if self.length is None and self.code != 304 else self.length
        chunked, bodiless = False, self.code in BODILESS or request.method == "HEAD"
        close = self.close or bool(leaving) or not request.persistent
        if bodiless:
            if self.code == 205:  # RFC 9110 15.3.6
                length = 0
            elif self.code == 204 or not length:  # RFC 9110 8.6; what HEAD leaves out is not empty
                length = None
        elif length is None:
            chunked = request.minor > 0
            close = close or not chunked
        if length is not None:
            lines += b"Content-Length: %d\r\n" % length
        elif chunked:
            lines += b"Transfer-Encoding: chunked\r\n"
        if close:
            lines += b"Connection: close\r\n"
        elif not request.minor:
            lines += b"Connection: keep-alive\r\n"
        return lines, (0 if bodiless else length, chunked, bodiless, close)


HEADS: Dict[Any, Head] = {}  # by status and headers: an application repeats itself


class Response:
    """One response: start_response and write for the application, framing for the wire."""

    __slots__ = "begun bodiless chunked close connection ended excess head left request size spool".split()

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.head: Optional[Head] = None  # what start_response was told
        self.begun = False  # the head is on its way
        self.size = 0  # bytes of the body that were sent, or are on their way
        self.ended = False  # nothing more may be written
        self.excess = False  # there is more than the Content-Length says
        self.spool: Optional[Spool] = None  # what need not or may not be sent at once

    def start(self, status: str, headers: List[Tuple[str, str]], exc_info: Optional[ExcInfo] = None) -> Any:
        """start_response of PEP 3333. Raises TypeError and ValueError for what HTTP cannot
        carry, AssertionError when called twice, and `exc_info` when it is too late."""
        if exc_info:
            try:
                if self.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # else the traceback holds this frame, and this frame the traceback
        elif self.head:
            raise AssertionError("start_response was called before, and without exc_info (PEP 3333)")
        try:
            if type(headers) is not list:
                raise TypeError
            self.head = HEADS.get((status, *headers))
            if not self.head:
                if len(HEADS) >= Limits.remembered_heads:
                    HEADS.clear()
                self.head = HEADS[(status, *headers)] = Head(status, headers)
        except TypeError:
            wants = "a str and a list of tuples of two str"
            raise TypeError(f"start_response takes {wants}, not {status!r}, {headers!r} (PEP 3333)") from None
        return self.write

    def write(self, data: bytes) -> None:
        """The write callable of PEP 3333: it blocks, or spools the rest where nothing may block."""
        if not isinstance(data, bytes):
            raise TypeError(f"write takes bytes, not {type(data).__name__} (PEP 3333)")
        if self.ended:
            raise AssertionError("write was called when the response had ended (PEP 3333)")
        data = self.framed(data) if data else data
        if self.connection.block:
            self.connection.block(self.connection.send(data))
        else:
            self.put(data)

    def put(self, data: bytes) -> None:
        """Send what the socket takes now, and put the rest by. Raises ClientGone, OSError."""
        connection = self.connection
        sent = 0 if self.spool or not data else connection.attempt(connection.sock.send, data) or 0
        if sent < len(data):
            self.spool = self.spool or Spool(connection.limits.memory_bytes)
            self.spool.write(data[sent:])

    def begin(self, known: Optional[int]) -> bytes:
        """Return the head; `known` is the length of the body where all of it is there."""
        if not self.head:
            raise AssertionError("the application did not call start_response (PEP 3333)")
        connection, request = self.connection, self.request
        leaving = connection.site.leaving[0]
        if leaving:  # what has arrived already is answered before the connection closes
            if not connection.ahead:
                recv, most = connection.sock.recv, Limits.block_bytes
                connection.ahead = connection.attempt(recv, most, DONTWAIT) or b""
            connection.term = min(connection.term, time.monotonic() + connection.limits.linger_s)
            leaving = not connection.ahead or time.monotonic() > connection.term
        said, length, second, framing, head = request.answered
        # In the same second the same is said again.
        if said is not self.head or length != known or not second <= time.time() < second + 1 or leaving:
            lines, framing = self.head.frame(request, known, leaving)
            head = lines + (b"\r\n" if self.head.dated else date_line())
            if not leaving:
                request.answered = self.head, known, DATE[0], framing, head
        self.left, self.chunked, self.bodiless, self.close = framing
        self.begun = True
        return head

    def whole(self, blocks: Any) -> bytes:
        """Return head and body in one where the body is one block, b"" where it is not."""
        if type(blocks) is not list or len(blocks) != 1 or type(blocks[0]) is not bytes or self.begun:
            return b""
        block = blocks[0]
        if self.head and self.head.length not in (None, len(block)):
            return b""
        head = self.begin(len(block))
        if self.bodiless:
            return head
        self.size = len(block)
        return head + block

    def framed(self, data: bytes, known: Optional[int] = None) -> bytes:
        """Return `data` as it goes on the wire, after the head where that is still to be sent."""
        head = b"" if self.begun else self.begin(known)
        if self.bodiless or not data:
            return head
        if self.chunked:
            self.size += len(data)
            return b"%b%x\r\n%b\r\n" % (head, len(data), data)
        if self.left is not None:
            if len(data) > self.left and not self.excess:
                say(f"{self.request.line.decode()}: what exceeds its Content-Length is cut off")
                self.excess = True
            data = data[: self.left]
            self.left -= len(data)
        self.size += len(data)
        return head + data if head else data

    def end(self) -> bytes:
        """Return what follows the last block. Raises EOFError where the body is too short."""
        data = self.framed(b"", 0)
        if self.left:
            self.put(data)
            raise EOFError(f"{self.left} bytes of the Content-Length are missing")
        return data + b"0\r\n\r\n" if self.chunked else data


# ---- log: what is told on stderr, and in the access log ---------------------------------------


def say(message: str) -> None:
    """Write one line to stderr, in one write. A stderr that is closed or full stops nothing."""
    try:
        sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {message}\n")
        sys.stderr.flush()
    except Exception:  # stderr may be anything that the application has made it
        pass


def flush_streams() -> None:
    """Write what is left for stdout and stderr; give up those that take no more."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:
            setattr(sys, name, None)


def report(head: Union[bytes, bytearray], error: BaseException) -> str:
    """Show a failure on stderr, below the request-line that met it; return the name that it has there."""
    line, name = ascii(first_line(head).decode("latin-1"))[1:-1], os.urandom(4).hex()
    try:
        import traceback  # takes 10 ms, and healthy applications never need it

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")
        # What a client has sent may be in it, and forges no line.
        text = re.sub(r"[^\n\t -~\xa0-\U0010ffff]", lambda match: ascii(match[0])[1:-1], "\n" + text)
        say(f"{line} failed ({name})" + text.replace("\n", "\n  "))
    except Exception:  # no memory, stack or descriptor is left to show more
        say(f"{line} failed ({name}): {type(error).__name__}")
    return name


def first_line(head: Union[bytes, bytearray]) -> bytes:
    """Return the first line of a head, however it ends."""
    return bytes(head).splitlines()[0] if head else b""


class AccessLog:
    """A file with a line for each exchange, each by one write: they stay whole whoever else writes, also in a
    pipe, which takes 4096 bytes at once."""

    COMBINED = "%%b - - [%d/{}/%Y:%H:%M:%S +0000] %%b %%d %%d %%b %%d\n"
    JSON = '"client":"%%b","time":"%Y-%m-%dT%H:%M:%SZ",%%b,"status":%%d,"bytes":%%d,%%b,"microseconds":%%d'

    def __init__(self, path: str, as_json: bool) -> None:
        """Raises OSError."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self.file = 2 if path == "-" else os.open(path, flags, 0o666)
        self.as_json = as_json
        self.next_second, self.line = 0.0, b""

    def close(self) -> None:
        """Close the file."""
        if self.file != 2:
            os.close(self.file)

    def tell(self, connection: Connection, status: int, size: int) -> None:
        """Tell how the last request on a connection was answered. Where that fails, the server goes on."""
        request, client, now = connection.request, connection.peer[0], time.monotonic()
        told = connection.site.board.memory
        if now >= self.next_second:
            self.turn(now)
        if request:
            request.logged = request.logged or self.said(request.line, request.environ)
            line, fields = request.logged
            client = request.client[0] if request.client else client
        else:  # it is none
            line, fields = self.said(first_line(connection.head or connection.ahead), {})
        try:
            taken = (now - connection.since) * 1e6 if request else 0
            text = self.line % (client.encode() or b"unix", line, status, size, fields, taken)
            if told[3]:  # a line was cut
                told[3], text = 0, b"\n" + text
            told[3] = os.write(self.file, text) < len(text)
        except OSError as error:
            if not told[2]:
                told[2] = 1
                say(f"the access log cannot be written: {error.strerror}")

    def turn(self, now: float) -> None:
        """Make the line for the second that has begun."""
        wall = time.time()
        self.next_second = now + 1 - wall % 1
        then = time.gmtime(wall)
        form = "{" + self.JSON + "}\n" if self.as_json else self.COMBINED.format(MONTHS[then.tm_mon - 1])
        self.line = time.strftime(form, then).encode()

    def said(self, line: bytes, environ: Environ) -> Tuple[bytes, bytes]:
        """Return what the log has of a request-line, and of the fields."""
        request = self.quote(line.decode("latin-1"), 1900)
        fields = (environ.get("HTTP_" + name, "-") for name in ("REFERER", "USER_AGENT"))
        referer, agent = (self.quote(field, 900) for field in fields)
        if self.as_json:
            return b'"request":' + request, b'"referer":%b,"user_agent":%b' % (referer, agent)
        return request, b"%b %b" % (referer, agent)

    def quote(self, text: str, most: int) -> bytes:
        """Return `text` in quotes, in `most` characters or so: it forges no line, and no terminal obeys."""
        quoted = self.escape(text)
        while len(quoted) > most:
            text = text[: len(text) * most // len(quoted) - 4]
            quoted = self.escape(text + "...")
        return quoted.encode()

    def escape(self, text: str) -> str:
        """Return `text` in quotes."""
        if self.as_json:
            import json

            return json.dumps(text)
        return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'


# ---- conversation: a connection from its first byte to its last -------------------------------


def converse(connection: Connection) -> Steps[None]:
    """Serve one connection, to whatever end it comes."""
    site = connection.site
    try:
        if site.tls:
            yield from connection.shake_hands(site.tls)
        if (yield from serve_requests(connection)):
            # A client that has not said close may be sending on.
            unread = connection.ahead or connection.attempt(connection.sock.recv, 1, DONTWAIT)
            if unread or (connection.request and connection.request.persistent):
                yield from connection.linger()
    except HTTPError as error:
        if site.talks and error.status != 500:
            say(f"{connection.peer[0] or 'unix'} {error.rule} {error.status}")
        yield from refuse(connection, error, connection.head or connection.ahead)
    except ClientGone:
        if isinstance(connection.sock, TLSSocket):
            connection.sock.whole = False
    except Exception as error:  # ours, or the memory's: this connection ends, and no other
        report(connection.head or b"", error)


def serve_requests(connection: Connection) -> Steps[bool]:
    """Read request, call application, write response, again; return whether the last response ends the
    connection, and not the client. Raises HTTPError, ClientGone."""
    alone, limits, log, known = connection.alone, connection.limits, connection.site.log, connection.known
    head: Optional[bytes] = None
    while True:
        # Pipelined: others have their turn before it.
        if connection.ahead and not alone and not (yield WRITING, limits.send_timeout_s):
            return False
        likely = connection.ahead or alone or not head  # recv may wait where it may block
        head = connection.head = read_head(connection) if likely else None
        if head is None and connection.request:
            ready = yield IDLE, limits.keep_alive_s
            head = connection.head = read_head(connection)  # also at the last moment
            if head is None and not ready:
                return False
        head = connection.head = head or (yield from gather_head(connection))
        if not head:
            return False
        request = connection.request = known.get(head) or parse(head, connection)
        if log:
            connection.since = time.monotonic()
        body = (yield from Body(connection).read(request)) if request.framing else io.BytesIO()
        environ = request.environ_for(connection, body)
        response = Response(connection, request)
        try:
            goes_on = yield from exchange(response, environ)
        except ClientGone:
            if response.begun and response.left is None and not response.chunked:  # ends with it
                connection.reset()
            raise
        finally:
            if log and response.begun and response.head:  # else it is refused, or for nobody
                log.tell(connection, response.head.code, response.size - connection.unsent)
        if not goes_on:
            return True
        del body, environ, response  # an idle connection holds none


def exchange(response: Response, environ: Environ) -> Steps[bool]:
    """Call the application and send its response; return whether the connection goes on.
    Every call is made in the request's own context. Raises HTTPError, ClientGone."""
    request, connection = response.request, response.connection
    site, run = connection.site, contextvars.copy_context().run
    blocks: Any = None
    site.left -= 1
    if not site.left:
        site.spent()
    try:
        if connection.call:  # as `call` does, without a generator on the way of every request
            blocks = connection.call(connection, run, site.app, environ, response.start)
        else:
            blocks = yield CALL, functools.partial(run, site.app, environ, response.start)
        data = response.whole(blocks)
        if not data:
            response.put((yield from send_blocks(response, blocks, run)))  # close() may take its time
    except site.through:
        raise
    except BaseException as error:  # SystemExit and MemoryError too: the next request is not to blame
        yield from fail(response, error)
    finally:
        response.ended = True
        if type(blocks) is not list and hasattr(blocks, "close"):
            try:
                yield from call(connection, run, blocks.close)
            except BaseException as error:
                report(request.line, error)
        if connection.release:
            connection.release()
    del blocks  # data may be a copy, and its client slow
    if response.spool:
        yield from send_spool(response)
    sent = connection.attempt(connection.sock.send, data) if data else 0
    if sent != len(data):
        yield from connection.send(data, sent or 0)
    return not response.close


def fail(response: Response, error: BaseException) -> Steps[None]:
    """Show what the application raised, and have the client see that this was no whole response. Raises
    HTTPError, ClientGone."""
    name = report(response.request.line, error)
    yield from send_spool(response)
    if not response.begun:
        raise HTTPError(500, f"the application failed; the log has it as {name}") from None
    raise ClientGone from error


def send_blocks(response: Response, blocks: Any, run: Any) -> Steps[bytes]:
    """Send what the application returned, each block before the next is asked for; return the last
    bytes, which need the application no longer."""
    connection, limits, end = response.connection, response.connection.limits, object()
    iterable = hasattr(blocks, "__iter__") or hasattr(blocks, "__getitem__")
    if isinstance(blocks, (str, bytes)) or not iterable:
        raise TypeError(f"the application returned {type(blocks).__name__}, no iterable of bytes (PEP 3333)")
    extent = blocks.extent() if isinstance(blocks, FileWrapper) and not response.begun else None
    if extent:
        return (yield from send_extent(response, *extent))
    blocks = yield from call(connection, run, iter, blocks)
    connection.turn = time.monotonic() + limits.turn_s
    while True:
        if connection.call:
            block = connection.call(connection, run, next, blocks, end)
        else:
            block = yield from call(connection, run, next, blocks, end)
        if block is end:
            break
        if response.spool:
            yield from send_spool(response)
        if not isinstance(block, bytes):
            raise TypeError(f"the application yielded {type(block).__name__}, not bytes (PEP 3333)")
        if block:
            data = response.framed(block)
            sent = connection.attempt(connection.sock.send, data) or 0
            if sent < len(data):
                if response.left == 0 and len(data) <= limits.memory_bytes:
                    response.put(data[sent:])  # the last, probably: the application need not wait
                else:
                    yield from connection.send(data, sent)
        else:  # nothing is sent that would tell whether the client is there
            connection.attempt(connection.sock.recv, 1, socket.MSG_PEEK | DONTWAIT)
        if response.excess or (response.begun and response.bodiless):
            break
        yield from connection.share()
    return response.end()


def send_extent(response: Response, file: int, offset: int, size: int) -> Steps[bytes]:
    """Send a regular file from `offset`, to the Content-Length, or its end; return the last bytes."""
    connection = response.connection
    yield from connection.send(response.begin(size))
    response.size = min(size, response.left or 0)
    yield from connection.send_file(file, offset, response.size)
    response.left = (response.left or 0) - response.size
    return response.end()


def send_spool(response: Response) -> Steps[None]:
    """Send what was put by."""
    if response.spool:
        file, response.spool = response.spool.file, None
        file.seek(0)
        with file:
            for data in iter(functools.partial(file.read, Limits.block_bytes), b""):
                yield from response.connection.send(data)


def refuse(connection: Connection, error: HTTPError, head: Union[bytes, bytearray]) -> Steps[None]:
    """Answer a refused request with the rule that it broke, and close so that it can be read."""
    title = f"{error.status} {REASONS[error.status]}"
    body = f"{title}: {error.rule}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    lines, log = Head(title, headers).lines, connection.site.log
    length, body = len(body), b"" if head.startswith(b"HEAD ") else body
    if log:
        log.tell(connection, error.status, len(body))
    data = b"%bContent-Length: %d\r\nConnection: close\r\n%b" % (lines, length, date_line())
    try:
        yield from connection.send(data + body)
        yield from connection.linger()
    except ClientGone:
        return


def call(connection: Connection, act: Callable[..., Any], *arguments: Any) -> Steps[Any]:
    """Call into the application: in place, or in the thread that the request has."""
    if connection.call:
        return connection.call(connection, act, *arguments)
    return (yield CALL, functools.partial(act, *arguments))


def advance(conversation: Steps[Any], value: Any, failure: Optional[BaseException] = None) -> Any:
    """Resume `conversation` until it waits; return what for, None at its end. `failure`, which a call
    raised, is raised where the conversation asked for the call."""
    try:
        return conversation.send(value) if failure is None else conversation.throw(failure)
    except StopIteration:
        return None


# ---- loop: resumes whoever is ready, or whose deadline has passed -----------------------------


class Wait:
    """Somebody who waits for `key`, a descriptor or, with a deadline alone, anything: `resume` is called
    with True when it is ready, with False when the deadline has passed."""

    __slots__ = ("deadline", "events", "key")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.events = NOTHING
        self.deadline = NEVER

    def resume(self, ready: bool) -> None:
        """Go on."""
        raise NotImplementedError


class Callback(Wait):
    """A function that waits."""

    __slots__ = ("call",)
    call: Resume

    def resume(self, ready: bool) -> None:
        """Call it."""
        self.call(ready)


class Loop:
    """An event loop that knows no HTTP, handles no signal and forks nothing. A deadline that
    moves costs nothing: all are looked at when the earliest that was seen has passed."""

    SCAN_S = 0.1  # at most so often

    def __init__(self) -> None:
        self.poller: Any = getattr(select, "epoll", select.poll)()  # with the same methods
        self.unit = 1 if hasattr(select, "epoll") else 1000  # poll takes milliseconds
        self.waits: Dict[Any, Wait] = {}
        self.next = NEVER
        self.running = True

    def wait(self, wait: Wait, events: int, deadline: float) -> None:
        """Resume `wait` when its key is ready for `events`, or at `deadline`."""
        if wait.events != events:
            self.change(wait, events)
        wait.deadline = deadline
        if deadline < self.next:
            self.next = deadline

    def change(self, wait: Wait, events: int) -> None:
        """Wait for other events."""
        if not events:
            self.poller.unregister(wait.key)
        elif wait.events:
            self.poller.modify(wait.key, events)
        else:
            self.poller.register(wait.key, events)
        wait.events = events

    def on(self, key: Any, events: int, call: Resume, deadline: float = NEVER) -> None:
        """Call `call` whenever `key` is ready, and at the deadline."""
        wait: Any = self.waits.get(key) or self.waits.setdefault(key, Callback(key))
        wait.call = call
        self.wait(wait, events, deadline)

    def forget(self, key: Any) -> None:
        """Wait for `key` no longer."""
        wait = self.waits.pop(key, None)
        if wait:
            self.wait(wait, NOTHING, NEVER)

    def close(self) -> None:
        """Close the poller: an epoll set is shared by fork, and a child must not unregister from it."""
        if hasattr(self.poller, "close"):
            self.poller.close()

    def run(self) -> None:
        """Turn until `running` is made false."""
        poll, waits = self.poller.poll, self.waits
        while self.running:
            timeout = None if self.next == NEVER else max(0.0, self.next - time.monotonic()) * self.unit
            for key, _ in poll(timeout):
                wait = waits.get(key)
                if wait and wait.events:  # not forgotten meanwhile, nor busy with something else
                    wait.resume(True)
            now = time.monotonic()
            if now >= self.next:
                for wait in list(waits.values()):
                    if wait.deadline <= now:
                        wait.deadline = NEVER
                        wait.resume(False)
                earliest = min((wait.deadline for wait in waits.values()), default=NEVER)
                self.next = max(earliest, now + self.SCAN_S)


# ---- scoreboard: what every child is at, in memory that outlives it ---------------------------


class Scoreboard:
    """Shared memory, a slot for each request that can be in the application at once: the state, the
    load of a worker, an instant (when the call began, or from when on the client may be asked to give
    way) and the request-line. The first byte of all is the server's: while it is not zero, nobody
    goes idle. No locks: a slot has one writer."""

    SLOT_BYTES, LINE = 256, 16  # where the client and the request-line begin
    NOBODY = 0xFFFFFFFF  # the load of a worker that accepts no more

    def __init__(self, slots: int) -> None:
        self.memory = mmap.mmap(-1, (slots + 1) * self.SLOT_BYTES)
        self.words = memoryview(self.memory).cast("I")
        self.instants = memoryview(self.memory).cast("d")

    def mark(self, at: int, state: int, instant: float) -> None:
        """Keep what is going on at the slot that begins at `at`, and its instant."""
        self.instants[at // 8 + 1] = instant
        self.memory[at] = state

    def note(self, at: int, line: bytes) -> None:
        """Keep whose connection it is, where no request is known."""
        struct.pack_into("240p", self.memory, at + self.LINE, line)

    def describe(self, connection: Connection) -> Tuple[Request, bytes]:
        """Return the connection's request, and what is kept of it: the client and the request-line."""
        assert connection.request
        line = b"%b %b" % (connection.client().encode(), connection.request.line)
        return connection.request, struct.pack("240p", line)

    def read(self, at: int) -> Tuple[int, float, bytes]:
        """Return the state, the instant and the request-line of a slot."""
        state, instant, line = struct.unpack_from("B7xd240p", self.memory, at)
        return state, instant, line

    def weigh(self, at: int, load: int) -> None:
        """Keep how many connections a worker has."""
        self.words[at // 4 + 1] = load

    def loads(self, slots: Sequence[int]) -> Any:
        """Return the loads of workers, which change, whose slots begin at equal distances."""
        return self.words[slots[-1] // 4 + 1 :: (slots[-2] - slots[-1]) // 4]


class Slot:
    """The place on the scoreboard of one who calls the application."""

    def __init__(self, board: Scoreboard, at: int, rest: int = IDLE) -> None:
        self.board = board
        self.memory: Any = board.memory
        self.instants: Any = board.instants
        self.at = at
        self.since = at // 8 + 1  # of the instants
        self.rest = rest  # the state after a call
        self.lapsed = False
        self.line = slice(at + board.LINE, at + board.SLOT_BYTES)
        self.shown: Any = None

    def call(self, connection: Connection, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the application, and show meanwhile what is served, for whom and since when."""
        shown = connection.shown
        if shown[0] is not connection.request:
            shown = connection.shown = self.board.describe(connection)
        if shown is not self.shown:
            self.shown = shown
            self.memory[self.line] = shown[1]
        self.instants[self.since] = time.monotonic()
        self.memory[self.at] = CALL
        try:
            return act(*arguments)
        finally:
            self.memory[self.at] = self.rest

    def lapse(self) -> None:
        """Leave the place to another: where the call writes its end, nobody reads."""
        self.memory[self.at] = self.rest
        self.memory, self.lapsed = bytearray(self.at + 1), True


# ---- listener: addresses and sockets ----------------------------------------------------------


BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/]*)):([0-9]{1,5})")
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address that this machine does not have
# A client that left before it was accepted, or was taken by another.
SKIPPED = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.EAGAIN, errno.EWOULDBLOCK)
LACKS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)  # what passes


class Listener:
    """A listening socket, the names of it and of its server, and the requests that came before."""

    def __init__(self, sock: socket.socket, bind: str, name: str = "", file: Any = None) -> None:
        """`bind` is what asked for it, `name` the server's, `file` the identity of a file that is ours."""
        sock.setblocking(False)
        # Connections inherit these. Without the second a slow reader's socket takes megabytes at once, then
        # nothing for minutes.
        for option, value in (("TCP_NODELAY", 1), ("TCP_NOTSENT_LOWAT", Limits.unsent_bytes)):
            try:
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
            except (AttributeError, OSError):  # not everywhere, and not of AF_UNIX
                pass
        self.sock = sock
        self.bind = bind
        self.name = name
        self.file = file
        self.path = bind[len("unix:") :]
        address = sock.getsockname()
        self.unix = sock.family not in (socket.AF_INET, socket.AF_INET6)
        self.where = f"unix:{address}" if self.unix else f"port {address[1]}"
        name = name or socket.gethostname()
        port = "80" if self.unix else str(address[1])
        self.environ = {"SERVER_NAME": f"[{name}]" if ":" in name else name, "SERVER_PORT": port}
        # By their heads, which came twice: of those who are not trusted, of those who are.
        self.requests: Tuple[Dict[bytes, Request], Dict[bytes, Request]] = {}, {}
        self.seen: Set[int] = set()  # hashes of heads

    def forget(self) -> None:
        """Remember no request."""
        for memory in (self.seen, *self.requests):
            memory.clear()

    def remove(self) -> None:
        """Remove the file of a socket, if it is the one that was made here."""
        remove_file(self.path, self.file)


def identity(path: str) -> Optional[List[int]]:
    """Return what tells a file from another of its name, None where there is no file."""
    try:
        status = os.lstat(path)
        return [status.st_dev, status.st_ino]
    except OSError:
        return None


def remove_file(path: str, file: Any) -> None:
    """Remove the file of a socket, if its identity is this one."""
    if file and identity(path) == file:
        os.unlink(path)


def listen(bind: str, backlog: int) -> List[Listener]:
    """Return listeners for what --bind names: HOST:PORT on every address, all on the same port; unix:PATH;
    fd://N, which somebody else opened. Raises UsageError."""
    try:
        if re.match("unix:.", bind):
            return [Listener(bind_unix(bind[5:], backlog), bind, "", identity(bind[5:]))]
        if re.fullmatch("fd://[0-9]{1,9}", bind):
            return [Listener(adopt(int(bind[5:])), bind)]
        match = BIND.fullmatch(bind)
        if not match or int(match[3]) > 65535:
            raise UsageError(f"not HOST:PORT, :PORT, [IPV6]:PORT, unix:PATH or fd://N: {bind}")
        host, port = match[1] or match[2], int(match[3])
        names = ("127.0.0.1", "::1") if host == "localhost" else (host or None,)
        resolve, kind = socket.getaddrinfo, socket.SOCK_STREAM
        infos = [info for name in names for info in resolve(name, port, 0, kind, 0, socket.AI_PASSIVE)]
        found = list(dict.fromkeys((family, address) for family, _, _, _, address in infos))
        return [Listener(sock, bind, host) for sock in bind_all(found, port, backlog)]
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", None) or error).split(" (")[0]
        raise UsageError(f"cannot listen on {bind}: {reason}") from None


def bind_unix(path: str, backlog: int) -> socket.socket:
    """Return a listening socket with a file, in place of one where nobody listens. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            with socket.socket(socket.AF_UNIX) as client:
                client.setblocking(False)  # a full queue is a living server's
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


def adopt(descriptor: int) -> socket.socket:
    """Return the listening socket that this descriptor is. Raises OSError."""
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.detach()
        raise OSError(errno.EINVAL, "this is no listening socket")
    return sock


def binds_of(environ: Any) -> List[str]:
    """Return where to listen unless told: what the service manager has opened (sd_listen_fds(3)), a port by
    which a platform asks, or the article's."""
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") == str(os.getpid()) and re.fullmatch("[1-9][0-9]{0,3}", count):
        return [f"fd://{3 + number}" for number in range(int(count))]
    return [f"0.0.0.0:{environ['PORT']}" if environ.get("PORT") else "localhost:8888"]


def bind_all(found: List[Tuple[Any, Any]], port: int, backlog: int, tries: int = 20) -> List[socket.socket]:
    """Return a listening socket for each of these addresses that this machine has. Raises OSError."""
    socks: List[socket.socket] = []
    try:
        for family, (host, _, *scope) in found:
            one = socks[0].getsockname()[1] if socks else port
            try:
                socks.append(socket.create_server((host, one, *scope), family=family, backlog=backlog))
            except OSError as error:
                if error.errno not in ABSENT or len(found) == 1:
                    raise
                absent = error
        if not socks:
            raise absent
        return socks
    except OSError as error:
        for sock in socks:
            sock.close()
        if error.errno == errno.EADDRINUSE and not port and tries:  # free on one address, taken on another
            return bind_all(found, port, backlog, tries - 1)
        raise


GOING, PARTING = 1, 2  # the scoreboard's first byte


class Acceptor:
    """Accepts connections for those who serve them. Nobody is lost: who cannot be served now stays in
    the kernel's queue, or is one of those that were accepted already."""

    alone = False  # no other process accepts from the listeners

    def __init__(self, site: Site, listeners: List[Listener], loop: Loop) -> None:
        self.site = site
        self.limits = site.limits
        self.listeners = listeners
        self.loop = loop
        self.accepted: List[Tuple[Listener, socket.socket, Any]] = []  # and not served yet
        self.told: List[str] = []
        self.parting = 0  # GOING where connections close, PARTING after their next response
        self.closed = False
        self.rest: List[Listener] = []  # of those that are closed, where some still wait in the queue

    def hindrance(self) -> str:
        """Return why nobody more can be served now, "" when somebody can."""
        return ""

    def admit(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Serve a connection. Raises OSError where the system refuses."""
        raise NotImplementedError

    def dismiss(self) -> bool:
        """Ask those to go who keep others waiting; return whether somebody went at once."""
        raise NotImplementedError

    def listen(self, _ready: bool = False) -> None:
        """Go on: with the connection that was accepted, then with those that come."""
        if self.serve() and not self.closed:
            for listener in self.listeners:
                self.loop.on(listener.sock.fileno(), READ, functools.partial(self.welcome, listener))

    def pause(self, timeout: float, then: Optional[Resume] = None) -> None:
        """Leave the listeners out for so many seconds, or until told to listen."""
        for listener in () if self.closed else self.listeners:
            self.loop.on(listener.sock.fileno(), NOTHING, self.listen)
        self.loop.on(self, NOTHING, then or self.listen, time.monotonic() + timeout)

    def welcome(self, listener: Listener, _ready: bool) -> None:
        """Heed that connections wait."""
        self.accept(listener)

    def accept(self, listener: Listener, waits: bool = True) -> bool:
        """Accept one connection; return whether it is served. Where there is no room, have others give way
        if somebody `waits` for sure: for want of descriptors accept fails with nobody there, too."""
        hindrance = self.hindrance()
        if hindrance:
            if waits:
                self.make_room(hindrance)
            return False
        try:
            sock, peer = listener.sock.accept()
        except OSError as error:
            if error.errno in SKIPPED:
                self.site.leaving[0] = self.parting  # who waited has left
            elif error.errno == errno.EINVAL:  # another worker has closed it for all
                self.pause(self.limits.moment_s)
            elif waits:
                self.make_room(f"accept: {error.strerror}: see ulimit -n, and the limits of the system")
            return False
        if not peer and not listener.unix:  # BSD's way to say that the client has left
            sock.close()
            return True
        self.accepted.append((listener, sock, peer))
        return self.serve()

    def serve(self) -> bool:
        """Serve the connections that were accepted; return whether that could be."""
        while self.accepted:
            reason = self.hindrance()
            try:
                if not reason:
                    self.admit(*self.accepted[0])
            except OSError as error:
                reason = f"fork: {error.strerror}: see ulimit -u, and the limits of the system"
            if reason:
                self.make_room(reason)
                return False
            del self.accepted[0]
            self.site.leaving[0] = self.parting
        return True

    def make_room(self, reason: str) -> None:
        """Nobody more can be served now: ask those to go who keep others waiting, and wait."""
        if reason not in self.told:
            self.told.append(reason)
            say(reason)
        self.site.leaving[0] = 1  # before the look: who goes idle from now on sees it
        # What the system refused, it does not say when it can grant; children do not say what they wait for.
        self.pause(0.0 if self.dismiss() else self.limits.moment_s)

    def part_soon(self) -> None:
        """Close each connection after its next response, and accept further ones."""
        self.site.leaving[0] = self.parting = PARTING

    def close(self, take: bool = True) -> None:
        """Accept no more but, where nobody else does, those who wait in the kernel's queue."""
        self.closed = True
        self.site.leaving[0] = self.parting = GOING
        self.rest = [*self.listeners]
        for listener in self.rest:
            self.loop.forget(listener.sock.fileno())
        self.take_rest(self.limits.backlog if take else 0)

    def take_rest(self, most: int, _ready: bool = False) -> None:
        """Accept those who wait in the queue, at most so many, and close it when there are no more."""
        for listener in [*self.rest]:
            try:
                for _ in range(most):
                    self.accepted.append((listener, *listener.sock.accept()))
            except OSError as error:
                if error.errno in LACKS:  # until some of the others have ended
                    then = functools.partial(self.take_rest, most)
                    self.loop.on("rest", NOTHING, then, time.monotonic() + self.limits.moment_s)
                    continue
            self.rest.remove(listener)
            if (self.alone or most) and not listener.bind.startswith("fd://"):
                try:  # a process that has it still would keep clients waiting
                    listener.sock.shutdown(socket.SHUT_RDWR)
                except OSError:  # not everywhere
                    pass
            listener.sock.close()
        self.serve()


# ---- hosting: many conversations in one process, in a worker or with --no-fork ----------------


class Overtime(BaseException):
    """Raised by a signal in an application that runs for longer than --timeout allows."""


class Guest(Wait):
    """A connection among others: its conversation, and the thread that its request has."""

    __slots__ = ("connection", "gone", "host", "state", "steps", "thread")

    def __init__(self, host: Host, connection: Connection) -> None:
        super().__init__(connection.sock.fileno())
        self.host = host
        self.connection = connection
        self.thread: Any = None
        self.gone = False  # the connection is closed, and the application to hear of it
        self.state = SILENT
        self.steps = converse(connection)

    def resume(self, ready: Any, error: Optional[BaseException] = None) -> None:
        """Go on until the conversation waits again, or has ended."""
        host = self.host
        try:
            event = self.steps.send(ready) if error is None else self.steps.throw(error)
            while self.gone and event[0] != CALL:
                event = self.steps.throw(ClientGone())
        except (StopIteration, ClientGone):  # the latter where it had ended before
            host.part(self)
            return
        self.state, timeout = event
        if self.state == CALL:
            host.pool.submit(self, timeout)
        else:
            if host.cutting and self.state <= SILENT:
                timeout = min(timeout, Limits.likely_s)
            events = self.connection.wants or (WRITE if self.state == WRITING else READ)
            host.loop.wait(self, events, time.monotonic() + timeout)


def most_connections() -> int:
    """Return how many connections this process may have, with some descriptors left to the application."""
    try:
        import resource  # not everywhere
    except ImportError:
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - 48, soft // 2) if 0 < soft < Limits.connections else Limits.connections


class Host(Acceptor):
    """Serves its connections on a loop, next to each other. One of several leaves new connections to
    those who have fewer."""

    SLACK = 4  # connections more than another has, and an eighth
    BREAK_S = 0.005  # the listeners are left out so long, lest another have to wait for long
    MOST_AT_ONCE = 64  # connections accepted, between which nobody else is served

    def __init__(self, site: Site, listeners: List[Listener], loop: Loop, at: int = 0) -> None:
        super().__init__(site, listeners, loop)
        self.pid = os.getpid()
        self.at = at or Scoreboard.SLOT_BYTES
        self.load = 0  # connections
        self.most = most_connections()
        self.loads: Any = None  # of all workers, where there are others
        self.batch = 1  # connections that are accepted at once
        self.grant = 1  # after a break
        self.least = 0.0  # connections that another had before it
        self.cutting = False  # who is idle goes soon
        self.slot = Slot(site.board, self.at)
        self.pool: Any = None

    def hindrance(self) -> str:
        """Return why nobody more can be served now, "" when somebody can."""
        most = self.most
        return "" if self.load < most else f"all {most} connections are taken: ulimit -n allows more"

    def let_go(self) -> None:
        """Close what is the server's, in a process that the application has forked: there it would keep the
        port taken, and clients from seeing the end of their connections."""
        for guest in self.loop.waits.values():
            if isinstance(guest, Guest):
                os.close(guest.connection.sock.detach())
        for listener in self.listeners:
            listener.sock.close()
        self.loop.close()

    def start_threads(self, count: int) -> None:
        """Have the application called by so many threads."""
        self.pool = Pool(self, count)

    def weigh(self, more: int) -> None:
        """Count a connection more or less, where other workers see it."""
        self.load += more
        if self.loads:
            self.site.board.weigh(self.at, self.weight())

    def weight(self) -> int:
        """Return how many connections others see here: most where no thread is free."""
        return Scoreboard.NOBODY - 1 if self.is_full() else self.load

    def is_full(self) -> bool:
        """Return whether no thread is free to call the application."""
        return bool(self.pool) and not self.pool.turns

    def welcome(self, listener: Listener, _ready: bool) -> None:
        """Accept connections, while no other worker has fewer: one, and each time in a row that all were
        there twice as many, lest those who wait be let in one by one between the requests of a thousand."""
        for count in range(self.batch):
            least = min(self.loads) if self.loads else NEVER
            if self.weight() > least + least // 8 + self.SLACK:
                if least != self.least:  # the others are alive
                    self.grant = 1
                self.least = least
                self.pause(self.BREAK_S, self.end_break)
                return
            if not self.accept(listener, waits=not count):
                self.batch = 1
                return
        self.batch = min(2 * self.batch, self.MOST_AT_ONCE)

    def end_break(self, _ready: bool = False) -> None:
        """Accept who still waits, whoever has fewer: one, and each time that the others took nobody meanwhile
        twice as many."""
        self.listen()
        left = 0 if self.closed or self.is_full() else self.grant
        for listener in self.listeners:
            while left and self.accept(listener, waits=False):
                left -= 1
        self.grant = 1 if left else min(2 * self.grant, self.MOST_AT_ONCE)

    def admit(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Serve the connection among the others."""
        sock.setblocking(False)
        connection = Connection(sock, peer, listener, self.site)
        guest = self.loop.waits[sock.fileno()] = Guest(self, connection)
        if self.pool:
            connection.release = functools.partial(self.pool.release, guest)
        else:
            connection.call = self.slot.call
        self.weigh(1)
        guest.resume(None)

    def part(self, guest: Guest) -> None:
        """Close a connection whose conversation has ended, or is given up."""
        if not guest.gone:
            guest.gone = True
            self.loop.forget(guest.key)
            guest.connection.sock.close()
            self.weigh(-1)
            self.finish()

    def dismiss(self, states: Sequence[int] = range(CALL), threads: bool = False) -> bool:
        """Ask a share of those to go who keep others waiting, or keep a thread, least progress first."""
        now, able = time.monotonic(), []
        for guest in self.loop.waits.values():
            if isinstance(guest, Guest) and guest.state in states and (guest.thread or not threads):
                able.append((guest.state, expendable(self.limits, guest.state, guest.deadline), guest))
        able = sorted((one for one in able if one[1] <= now), key=lambda one: one[:2])
        for _, _, guest in able[: math.ceil(self.limits.share * len(able))]:
            if guest.state in states and not guest.gone:  # the end of another may have changed that
                guest.resume(False)
        return bool(able)

    def leave(self, at_once: bool) -> None:
        """Accept no more, and be done when the last connection is: at once for those who are idle, or with
        their next request."""
        self.loads = None
        self.site.board.weigh(self.at, Scoreboard.NOBODY)
        self.cutting = self.cutting or at_once
        if not self.closed:
            self.close(take=at_once)
        soon = time.monotonic() + Limits.likely_s  # a request may be on its way
        for guest in self.loop.waits.values():
            if self.cutting and isinstance(guest, Guest) and guest.state <= SILENT:
                self.loop.wait(guest, READ, soon)
        self.finish()

    def descriptors(self) -> List[int]:
        """Return what is left open at the end."""
        return []

    def is_done(self) -> bool:
        """Return whether the drain is complete."""
        return self.closed and not (self.load or self.accepted or self.rest)

    def finish(self) -> None:
        """Leave the loop when there is nothing left to do."""
        if self.is_done():
            self.loop.running = False

    def heed_signal(self) -> None:
        """End calls that take longer than --timeout allows, and have the worker replaced."""
        if self.pool:
            self.pool.late = True
            os.write(self.pool.wake[1], b".")
        elif self.is_late(self.slot):
            self.site.spent()
            raise Overtime(f"for {self.limits.timeout_s:.15g} seconds")

    def is_late(self, slot: Slot) -> bool:
        """Return whether the call that has this slot takes too long."""
        state, since, _ = self.site.board.read(slot.at)
        return state == CALL and 0 < self.limits.timeout_s <= time.monotonic() - since


class Pool:
    """Threads that call the application for the conversations of one loop, so many at once. A request
    keeps its thread, which serves no other, until its calls are over; while it waits for its client,
    another thread may take its turn."""

    MOST_THREADS = 1024  # of which most wait for the clients of their requests, with 20 kB each

    def __init__(self, host: Host, count: int) -> None:
        import collections
        import queue
        import threading

        self.make_inbox, self.make_thread = queue.SimpleQueue, threading.Thread
        self.host = host
        self.board = host.site.board
        self.count = count
        self.waiting: Any = collections.deque()  # calls that wait for their turn, or for a thread
        self.done: Any = collections.deque()  # what calls have returned, and what they have raised
        self.turns = [Slot(self.board, host.at + n * Scoreboard.SLOT_BYTES) for n in range(count)]
        self.calls: Dict[Slot, Guest] = {}
        self.idle: List[Any] = []  # the inboxes of threads
        self.threads = 0
        self.short = False  # of threads
        self.late = False  # calls are to be looked through for those that take too long
        self.wake = os.pipe()
        for end in self.wake:
            os.set_blocking(end, False)
        host.loop.on(self.wake[0], READ, self.go_on)

    def submit(self, guest: Guest, act: Callable[[], Any]) -> None:
        """Have the thread of a request call `act` as soon as it is its turn."""
        self.host.loop.wait(guest, NOTHING, NEVER)
        self.waiting.append((guest, act))
        self.take_turns()

    def take_turns(self) -> None:
        """Begin calls, as many as may run at once."""
        for _ in range(len(self.waiting) if self.turns else 0):
            guest, act = self.waiting.popleft()
            guest.thread = guest.thread or self.find_thread()
            if not guest.thread:
                self.waiting.append((guest, act))  # behind those who have one
                continue
            slot = self.turns.pop()
            self.calls[slot] = guest
            guest.thread.put((slot, guest.connection, act))
            if not self.turns:
                break
        self.host.weigh(0)

    def find_thread(self) -> Any:
        """Return the inbox of an idle thread or of a new one, None where there can be no more."""
        if self.idle:
            return self.idle.pop()
        inbox: Any = self.make_inbox()
        try:
            if self.threads < self.MOST_THREADS:
                self.make_thread(target=self.work, args=(inbox,), daemon=True).start()
                self.threads += 1
                return inbox
        except RuntimeError:  # the system refuses
            pass
        if not self.short:
            self.short = True
            self.host.loop.on(self, NOTHING, self.find_room, time.monotonic() + self.host.limits.moment_s)
        return None

    def find_room(self, _ready: bool) -> None:
        """Ask those to go who keep a thread and others waiting, and go on."""
        self.short = False
        self.host.dismiss(threads=True)
        self.take_turns()

    def release(self, guest: Guest) -> None:
        """Take the thread of a request whose calls are over."""
        if guest.thread:
            if len(self.idle) < self.count:
                self.idle.append(guest.thread)
            else:
                guest.thread.put(None)
                self.threads -= 1
            guest.thread = None

    def work(self, inbox: Any) -> None:
        """Make calls, in a thread, until told that there are no more."""
        for slot, connection, act in iter(inbox.get, None):
            value: Any = None
            failure: Optional[BaseException] = None
            try:
                value = slot.call(connection, act)
            except GeneratorExit as error:  # thrown as it is, it would close the conversation
                failure = RuntimeError(repr(error))
            except BaseException as error:
                failure = error
            self.done.append((slot, value, failure))
            del slot, connection, act, value, failure  # an idle thread holds nothing
            try:
                os.write(self.wake[1], b".")
            except BlockingIOError:
                pass  # full: it wakes

    def go_on(self, _ready: bool = True) -> None:
        """Resume the conversations whose calls have returned."""
        os.read(self.wake[0], 4096)
        while self.done:
            slot, value, failure = self.done.popleft()
            if not slot.lapsed:
                self.turns.append(slot)
            self.calls.pop(slot).resume(value, failure)
        if self.late:
            self.late = False
            for slot, guest in list(self.calls.items()):
                if not slot.lapsed and self.host.is_late(slot):
                    self.give_up(slot, guest)
        self.take_turns()

    def give_up(self, slot: Slot, guest: Guest) -> None:
        """Close a connection whose call does not return, and have the worker replaced."""
        slot.lapse()
        self.turns.append(Slot(self.board, slot.at))
        self.host.site.spent()
        guest.connection.reset()
        self.host.part(guest)


class Server(Host):
    """A server in the calling thread of any program, without signals or forks, and with the names of what
    users of wsgiref's call."""

    def __init__(self, site: Site, listeners: List[Listener]) -> None:
        import threading

        super().__init__(site, listeners, Loop())
        self.one = False  # connection to be served
        self.socket = listeners[0].sock
        self.server_address = self.socket.getsockname()
        self.server_name = listeners[0].environ["SERVER_NAME"]
        self.server_port = int(listeners[0].environ["SERVER_PORT"])
        self.fileno = self.socket.fileno
        self.wake = os.pipe()
        self.begun = False  # to serve, once
        self.ending = False  # as soon as the loop hears of it
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.stopped.set()
        self.site.through = ClientGone, KeyboardInterrupt
        os.set_blocking(self.wake[0], False)
        self.loop.on(self.wake[0], READ, self.stop)

    def stop(self, _ready: bool) -> None:
        """Leave the loop, when told to."""
        os.read(self.wake[0], 4096)
        self.loop.running = not self.ending

    def finish(self) -> None:
        """Note the end of a connection."""
        if self.one:
            self.loop.running = False

    def serve_forever(self, poll_interval: float = 0.0) -> None:
        """Serve until shutdown() is called, or not at all where it was."""
        if self.closed:
            return
        self.begun = True
        self.stopped.clear()
        try:
            self.loop.running = not self.ending
            self.listen()
            self.loop.run()
        finally:
            self.accepted.clear()  # where an exception has come between
            with self.lock:
                self.ending = False
                self.stopped.set()

    def shutdown(self) -> None:
        """Have serve_forever() return, in another thread, and wait until it has; where it has not begun, have
        it return at once."""
        with self.lock:
            if self.closed or (self.begun and self.stopped.is_set()):
                return
            self.ending = True
            os.write(self.wake[1], b".")
        self.stopped.wait()

    def handle_request(self) -> None:
        """Serve one connection, with one request."""
        self.one = True
        self.part_soon()
        try:
            self.serve_forever()
        finally:
            self.one = False
            self.site.leaving[0] = self.parting = 0

    def server_close(self) -> None:
        """Close the listeners, and what is open; serve no more."""
        if self.closed:
            return
        for guest in [wait for wait in self.loop.waits.values() if isinstance(wait, Guest)]:
            guest.resume(None, ClientGone())
        self.close(take=False)
        for listener in self.listeners:
            listener.remove()
        self.loop.close()
        for descriptor in self.wake:
            os.close(descriptor)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        self.server_close()


def make_server(host: str, port: int, app: Application) -> Server:
    """Return a server of `app`, which listens on `host` and `port` (0: any free one). Raises UsageError."""
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Server(Site(app, Limits()), listen(bind, Limits.backlog))


# ---- children: a process for each connection --------------------------------------------------

LIKELY = struct.pack("@ll", 0, int(Limits.likely_s * 1e6))  # a struct timeval


class GiveWay(BaseException):
    """Raised by a signal in a child that waits for its client, and only there."""


class Child:
    """Runs one conversation, blocking where it waits, and keeps its slot of the scoreboard."""

    expendable = NEVER  # from when on it may be asked to go
    asked = False  # to go, and going
    orphan = False  # the parent is dead

    def __init__(self, parent: Parent, lifeline: int, at: int, connection: Connection) -> None:
        self.pid = os.getpid()
        self.parent = parent
        self.lifeline = lifeline
        self.at = at  # its slot
        self.board = parent.site.board
        self.memory = self.board.memory
        self.site = connection.site
        self.limits = self.site.limits
        self.connection = connection
        sock = connection.sock
        self.key = sock.fileno()
        self.slot = Slot(self.board, at, WRITING)
        connection.alone, connection.call, connection.block = True, self.call, self.block
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, LIKELY)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, LIKELY)
        except OSError:  # the client has left, or this system's timeval is another
            sock.setblocking(False)

    def wait(self, state: int, timeout: float) -> bool:
        """Return True when the socket is ready, False after `timeout` seconds or when told to go."""
        poll = select.poll()
        poll.register(self.key, self.connection.wants or (WRITE if state == WRITING else READ))
        if state <= SILENT and self.site.tls and poll.poll(Limits.likely_s * 1000):  # recv does not wait
            return True
        if state <= SILENT:  # nothing is under way
            poll.register(self.lifeline, READ)  # nothing but its end ever comes
        # Who is idle here has been so for a moment, in recv.
        since = expendable(self.limits, state, time.monotonic() + timeout) if state > IDLE else 0.0
        self.board.mark(self.at, state, since)
        # After the mark: whoever set the flag sees one of the two.
        if (state == SILENT and self.asked) or (state == IDLE and self.memory[0] == GOING):
            return False
        try:
            self.expendable = since
            ready = poll.poll(max(0.0, timeout * 1000))
            self.expendable = NEVER
        except GiveWay:
            self.asked = True
            return False
        if ready and ready[-1][0] == self.lifeline:  # the parent drains or is dead
            self.memory[0] = 1  # its other children hear it from here
            return len(ready) > 1
        return bool(ready)

    def let_go(self) -> None:
        """Close the connection in a process that the application has forked: its end would be none."""
        if self.connection.sock.fileno() >= 0:
            os.close(self.connection.sock.detach())

    def call(self, connection: Connection, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call into the application."""
        self.heed_parent()
        return self.slot.call(connection, act, *arguments)

    def heed_parent(self) -> None:
        """Where the parent is dead, take no further request, and set a term to what is under way."""
        if os.getppid() != self.parent.pid and not self.orphan:
            self.orphan = True
            self.memory[0] = 1
            signal.alarm(math.ceil(self.limits.graceful_timeout_s))  # nobody else is left to cut it

    def heed_signal(self) -> None:
        """Give way, where it waits and may."""
        if self.expendable <= time.monotonic():
            self.expendable = NEVER
            raise GiveWay

    def block(self, steps: Steps[Any]) -> None:
        """Run `steps` to its end, within a call into the application."""
        self.heed_parent()
        self.run(steps)
        self.board.mark(self.at, CALL, time.monotonic())

    def run(self, steps: Steps[Any]) -> None:
        """Run `steps` to its end."""
        event = advance(steps, None)
        while event:
            event = advance(steps, self.wait(*event))


class Forking(Acceptor):
    """Serves each connection in a child of its own."""

    alone = True

    def __init__(self, parent: Parent, listeners: List[Listener]) -> None:
        super().__init__(parent.site, listeners, parent.loop)
        self.parent = parent
        self.lifeline = parent.elders.lifeline or os.pipe()
        parent.elders.lifeline = []
        self.asked: Set[Tuple[int, float, int]] = set()  # waits that were asked to give way

    def start(self) -> None:
        """Begin."""
        self.rehearse()
        self.parent.freeze()
        self.listen()
        self.parent.announce()

    def rehearse(self) -> None:
        """Serve the page to ourselves: what that warms, children find warm. It is worth a twelfth of
        the time of a connection that brings one request."""
        ours, theirs = socket.socketpair()
        connection = Connection(ours, ("", 0), self.listeners[0], Site(hello, self.limits))
        child = Child(self.parent, self.lifeline[0], self.parent.slots[-1], connection)
        child.orphan = True  # has no parent to heed
        with ours, theirs:
            for _ in range(20):  # CPython specializes what ran a few times
                theirs.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: -\r\nAccept: */*\r\n\r\n")
            theirs.shutdown(socket.SHUT_WR)
            child.run(converse(connection))
        self.listeners[0].forget()

    def private(self) -> List[int]:
        """Return the descriptors that children have no business with."""
        if self.closed:
            return [listener.sock.fileno() for listener in self.rest]
        return [self.lifeline[1], *(listener.sock.fileno() for listener in self.listeners)]

    def hindrance(self) -> str:
        """Return why nobody more can be served now, "" when somebody can."""
        most = self.limits.max_children
        busy = len(self.parent.children) + len(self.parent.elders.channels)
        return "" if busy < most else f"all {most} children are busy: --max-children allows more"

    def admit(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Fork a child for the connection. Raises OSError where the system refuses."""
        sock.setblocking(True)
        at = self.parent.slots[-1]
        deadline = time.monotonic() + self.limits.header_timeout_s
        self.site.board.mark(at, SILENT, expendable(self.limits, SILENT, deadline))
        date_line()  # once a second here, or once in each child
        whose = peer[0].encode() if type(peer) is tuple else b"unix"
        self.parent.fork(functools.partial(self.serve_one, listener, sock, peer), whose)
        sock.close()

    def serve_one(self, listener: Listener, sock: socket.socket, peer: Any, at: int) -> None:
        """Serve a connection, in a child."""
        connection = Connection(sock, peer, listener, self.site)
        self.parent.child = child = Child(self.parent, self.lifeline[0], at, connection)
        os.register_at_fork(after_in_child=child.let_go)
        child.run(converse(connection))
        connection.sock.close()  # now, not after what remains to be done: later bytes are told at once

    def dismiss(self) -> bool:
        """Ask a share of those to go who keep others waiting, least progress first: they hear it later."""
        board, now = self.site.board, time.monotonic()
        waits = ((*board.read(at)[:2], pid) for pid, at in self.parent.children.items())
        able = {wait for wait in waits if IDLE <= wait[0] < CALL and wait[1] <= now}
        self.asked &= able  # the others have moved on
        if self.asked == able:  # who was asked may have been busy
            self.asked = set()
        for wait in sorted(able - self.asked)[: math.ceil(self.limits.share * len(able))]:
            self.asked.add(wait)
            os.kill(wait[2], signal.SIGURG)  # ignored by default: harmless to whatever else it meets
        for pid, channel in self.parent.elders.channels.items():
            if channel < 0:  # no worker; it knows itself whether it may go
                os.kill(pid, signal.SIGURG)
        return False

    def ended(self, pid: int) -> None:
        """Go on with those who wait: there is room."""
        self.listen()

    def leave(self, _at_once: bool = True) -> None:
        """Accept no more, and tell children that wait for a request."""
        os.close(self.lifeline[1])
        self.close()

    def hand_over(self) -> Dict[int, int]:
        """Leave children to the next image of this process, each until its client's next request; return
        their pids, without a channel."""
        self.part_soon()
        return dict.fromkeys(self.parent.children, -1)

    def descriptors(self) -> List[int]:
        """Return what is left open at the end."""
        return [self.lifeline[0]]

    def is_done(self) -> bool:
        """Return whether the drain is complete."""
        return self.closed and not (self.parent.children or self.accepted or self.rest)


# ---- workers: processes forked beforehand, and replaced ---------------------------------------


def tell(channel: socket.socket, word: bytes) -> None:
    """Send a word of one byte. Who is dead need not hear it."""
    try:
        channel.send(word)
    except OSError:
        pass


def hear(channel: socket.socket) -> bytes:
    """Return the next word, b"" when the other is gone."""
    try:
        return channel.recv(1)
    except OSError:
        return b""


class Hand:
    """What the parent knows of a worker."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel  # its end tells the worker to leave
        self.born = time.monotonic()
        self.ready = self.spent = self.told = False


class Crew:
    """Keeps workers alive, each a Host: replaces those that die, and those that have served their share
    as soon as a successor is ready."""

    YOUNG_S = 1.0  # who dies before has done nothing useful
    FIRST_S = 0.05  # doubled each time
    MOST_S = 5.0  # between two tries to start a worker that cannot
    MOST_READY_S = 0.5  # and one that can, and dies at once
    CALM_S = 60.0  # after which the brake is off again; imports take seconds

    def __init__(self, parent: Parent, listeners: List[Listener], settings: Any) -> None:
        self.parent = parent
        self.site = parent.site
        self.listeners = listeners
        self.settings = settings
        self.hands: Dict[int, Hand] = {}
        self.accepted: List[Any] = []  # nobody, ever, in the parent
        self.delay = 0.0
        self.due = -NEVER  # when the next may be started
        self.started = self.announced = False  # a worker was ready once, all were at once
        self.failures = 0  # workers that never were
        self.parting, self.closed = 0, False
        for at in parent.all_slots:
            self.site.board.weigh(at, Scoreboard.NOBODY)

    def start(self) -> None:
        """Begin."""
        if self.site.app is not None:
            self.parent.freeze()
        self.maintain()

    def private(self) -> List[int]:
        """Return the descriptors that workers have no business with."""
        return [hand.channel.fileno() for hand in self.hands.values()]

    def maintain(self, _ready: bool = False) -> None:
        """Start the workers that are missing, as soon as they may be."""
        # Without a slot it goes on when a worker has ended.
        while not self.closed and self.parent.slots and self.missing():
            if time.monotonic() < self.due:
                self.parent.loop.on(self, NOTHING, self.maintain, self.due)
                return
            try:
                self.spawn()
            except OSError as error:
                self.brake(f"fork: {error.strerror}", self.MOST_READY_S)

    def missing(self) -> bool:
        """Return whether there are fewer workers than there should be."""
        return sum(not hand.spent for hand in self.hands.values()) < int(self.settings.workers)

    def spawn(self) -> None:
        """Start a worker. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self.hands[0] = hand = Hand(ours)  # private to the parent
                pid = self.parent.fork(functools.partial(self.work, theirs))
            except BaseException:
                ours.close()
                raise
            finally:
                del self.hands[0]
        self.hands[pid] = hand
        self.parent.loop.on(ours.fileno(), READ, functools.partial(self.hear, hand))

    def descriptors(self) -> List[int]:
        """Return what is left open at the end."""
        return []

    def is_done(self) -> bool:
        """Return whether the drain is complete."""
        return self.closed and not self.hands

    def part_soon(self) -> None:
        """Have workers close each connection after its next response, and accept further ones."""
        self.parting = PARTING
        for hand in self.hands.values():
            tell(hand.channel, b"p")

    def hand_over(self) -> Dict[int, int]:
        """Leave workers to the next image of this process; return their pids and channels."""
        return {pid: hand.channel.fileno() for pid, hand in self.hands.items()}

    def work(self, channel: socket.socket, at: int) -> None:
        """Be a worker: serve until told to leave."""
        site, settings, loop = self.site, self.settings, Loop()
        if site.app is None:
            site.board.memory[at] = SILENT
            try:
                site.app = settings.load()
            except BaseException:
                site.board.memory[at] = 0  # what is raised tells more than how the worker ended
                raise
            gc.collect()
            gc.freeze()
        site.leaving = bytearray(1)  # its own
        site.spent = functools.partial(tell, channel, b"s")
        if settings.max_requests:
            import random

            site.left = settings.max_requests + random.randint(0, settings.max_requests_jitter)
        self.parent.child = host = Host(site, self.listeners, loop, at)
        os.register_at_fork(after_in_child=channel.close)
        os.register_at_fork(after_in_child=host.let_go)
        host.loads = site.board.loads(self.parent.all_slots)
        site.board.memory[at] = IDLE
        host.weigh(0)
        if settings.threads > 1:
            host.start_threads(settings.threads)
        loop.on(channel.fileno(), READ, functools.partial(self.heed_parent, host, channel))
        if self.parting:
            host.part_soon()
        tell(channel, b"r")
        host.listen()
        loop.run()

    def heed_parent(self, host: Host, channel: socket.socket, _ready: bool) -> None:
        """Heed what a worker is told: to close each connection after its next response, to leave with that,
        or to leave at once."""
        word = hear(channel)
        if word == b"p":
            host.part_soon()
            return
        if not word:
            host.loop.forget(channel.fileno())
            # Where the parent is dead, nobody else is left to cut what is under way.
            signal.alarm(math.ceil(host.limits.graceful_timeout_s) + 1)
        host.leave(at_once=not word)

    def hear(self, hand: Hand, _ready: bool) -> None:
        """Heed a worker: it is ready, or it has served its share."""
        word = hear(hand.channel)
        if word == b"r":
            hand.ready = self.started = True
            if not self.announced and all(hand.ready for hand in self.hands.values()):
                self.announced = True
                self.parent.announce()
            old = next((hand for hand in self.hands.values() if hand.spent and not hand.told), None)
            if old:
                old.told = True
                tell(old.channel, b"l")
        elif word == b"s":
            hand.spent = True
            self.maintain()
        else:  # it has ended
            self.parent.loop.forget(hand.channel.fileno())

    def ended(self, pid: int) -> None:
        """Replace a worker that has ended."""
        hand = self.hands.pop(pid)
        self.parent.loop.forget(hand.channel.fileno())
        hand.channel.close()
        if self.closed:
            return
        if hand.told:
            self.maintain()  # its slot may have been wanted
            return
        self.failures += not hand.ready
        if not self.started and self.failures == self.settings.workers and not self.parent.elders.channels:
            say("no worker could start")
            self.parent.status = 1
            self.parent.drain()
        elif not hand.ready or time.monotonic() - hand.born < self.YOUNG_S:
            self.brake("workers die as soon as they start", self.MOST_READY_S if hand.ready else self.MOST_S)
        self.maintain()

    def brake(self, reason: str, most: float) -> None:
        """Start the worker after the next later, and ever later while that goes on."""
        now = time.monotonic()
        if now > self.due + self.CALM_S:  # it has not gone on
            self.due, self.delay = now, self.FIRST_S
            return
        if self.delay == self.FIRST_S:
            say(f"{reason}: the next ones are started later")
        self.delay = min(2 * self.delay, most)
        self.due = now + self.delay

    def leave(self, _at_once: bool = True) -> None:
        """Accept no more, and tell the workers."""
        self.closed = True
        for listener in self.listeners:
            listener.sock.close()
        for hand in self.hands.values():
            self.parent.loop.forget(hand.channel.fileno())
            hand.channel.close()


# ---- restart: the same command line anew, in this process -------------------------------------

STOPS = (signal.SIGTERM, signal.SIGINT)
HEEDED = (*STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGURG, signal.SIGCHLD)
SIGNALS = {number.value: number.name for number in signal.Signals}


def working_folder() -> str:
    """Return the current folder by the name that it was entered by: a link in it may lead elsewhere later."""
    name = os.environ.get("PWD", "")
    try:
        return name if os.path.isabs(name) and os.path.samefile(name, ".") else os.getcwd()
    except OSError:
        return os.getcwd()


class Start:
    """How this program was started, to do it again, and what an earlier image of this process has left."""

    HANDED, CHECK = "WEBSERVER_HANDED", "WEBSERVER_CHECK"  # in the environment
    FITS = 86  # the exit status of a trial that got to its end; what calls sys.exit() on the way did not

    def __init__(self) -> None:
        self.text = os.environ.pop(self.HANDED, "")
        self.report = os.environ.pop(self.CHECK, "")  # where a process that tries the code tells of its files
        self.environ = dict(os.environ)  # before the application changes it
        self.directory = working_folder()
        self.command = getattr(sys, "orig_argv", None) or [sys.executable, *sys.argv]
        self.watcher: Optional[Watcher] = None
        self.pid = os.getpid()
        self.handed: Any = {"listeners": {}, "elders": [], "lifeline": []}
        self.noted: List[int] = []  # signals
        if self.text:
            import json

            handed = json.loads(self.text)
            if handed["pid"] == os.getpid():
                self.handed = handed
                for signum in HEEDED:
                    signal.signal(signum, self.note)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)  # see Parent.exchange_image

    def note(self, signum: int, _frame: Optional[FrameType]) -> None:
        """Note a signal that comes before the parent heeds it, unless the application has forked. A second
        one that stops cuts, for imports may take long."""
        if os.getpid() != self.pid:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        self.noted.append(signum)
        if signum in STOPS and sum(one in STOPS for one in self.noted) > 1:
            self.remove_files()
            for pid, _ in self.handed["elders"]:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)

    def listen(self, binds: List[str], backlog: int) -> List[Listener]:
        """Return the listeners for what --bind names, those of the earlier image where it had them, and close
        its others. Raises UsageError."""
        handed: Dict[str, Any] = self.handed["listeners"]
        found: Dict[str, List[Listener]] = {}
        try:
            for bind in [bind for bind in dict.fromkeys(binds) if bind not in handed]:
                if bind in (f"fd://{one.sock.fileno()}" for some in found.values() for one in some):
                    raise UsageError(f"cannot listen on {bind}: it was not open")
                found[bind] = listen(bind, backlog)
        except UsageError:
            for one in (one for some in found.values() for one in some):
                one.remove()
            raise
        for bind, some in handed.items():
            found[bind] = [Listener(adopt(descriptor), bind, name, file) for descriptor, name, file in some]
        for one in (one for bind in {*found} - {*binds} for one in found.pop(bind)):
            one.remove()
            one.sock.close()
        return [one for bind in dict.fromkeys(binds) for one in found[bind]]

    def check(self) -> int:
        """Start a process that tries to start, and ends; return its pid. Raises OSError."""
        environ, directory = {**self.environ, self.CHECK: "-"}, os.getcwd()
        actions = [(os.POSIX_SPAWN_DUP2, 2, 1)]
        if self.watcher:
            environ[self.CHECK] = "3"
            actions.append((os.POSIX_SPAWN_DUP2, self.watcher.pipe[1], 3))
        try:
            os.chdir(self.directory)
            return os.posix_spawn(sys.executable, self.command, environ, file_actions=actions)
        finally:
            os.chdir(directory)

    def again(self, listeners: List[Listener], elders: Dict[int, int], lifeline: Any) -> NoReturn:
        """Become a new image of the program, with what it needs of this one. Raises OSError."""
        import json

        binds: Dict[str, List[Any]] = {}
        for one in listeners:
            binds.setdefault(one.bind, []).append((one.sock.fileno(), one.name, one.file))
        inherited = [*(one.sock.fileno() for one in listeners), *elders.values(), *lifeline]
        for descriptor in inherited:
            if descriptor >= 0:
                os.set_inheritable(descriptor, True)
        handed = {"pid": os.getpid(), "listeners": binds, "elders": [*elders.items()], "lifeline": lifeline}
        os.chdir(self.directory)
        os.execve(sys.executable, self.command, {**self.environ, self.HANDED: json.dumps(handed)})

    def heed_failure(self, error: Exception) -> bool:
        """Have the files watched that led to a failure to start. Where the code broke after it was tried,
        wait for the next HUP, or for the end; return whether that has come."""
        if self.report not in ("", "-"):
            tell_names(int(self.report), imported(error))
        if self.watcher:
            self.watcher.names |= imported(error)
        if not self.handed["listeners"]:
            return False
        if isinstance(error, UsageError):
            say(str(error))
        else:
            sys.excepthook(type(error), error, error.__traceback__)
        self.try_again()
        return True

    def try_again(self) -> None:
        """Leave what is handed over, and wait for the next HUP, or for the end."""
        say("the new code cannot start: what is from before goes on, and others wait for the next HUP")
        if self.watcher:
            self.watcher.broken = True
        while not {*self.noted} & {*STOPS}:
            if signal.SIGHUP in self.noted or (self.watcher and self.watcher.has_changed()):
                signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
                os.chdir(self.directory)
                os.execve(sys.executable, self.command, {**self.environ, self.HANDED: self.text})
            time.sleep(Watcher.LOOK_S)
        self.remove_files()

    def remove_files(self) -> None:
        """Remove the files of sockets that were handed over, at the end."""
        for bind, handed in self.handed["listeners"].items():
            for _, _, file in handed:
                remove_file(bind[len("unix:") :], file)


class Watcher:
    """Looks whether a file has changed that was imported, in whatever process."""

    LOOK_S = 1.0
    TICK_S = 0.02  # the clock of files may be late by so much

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.pipe = os.pipe()  # from other processes, with names of files
        self.names: Set[str] = set()
        self.since = time.time()  # the code is as it was then, or as it was tried
        self.seen: Dict[str, float] = {}  # when files were written, for the clock may be set back
        self.broken = False  # and cannot start
        self.call: Resume
        for end in self.pipe:
            os.set_blocking(end, False)

    def around(self, app: Application) -> Application:
        """Return `app`, made to report what was imported."""

        def application(environ: Environ, start_response: Callable[..., Any]) -> Any:
            try:
                return app(environ, start_response)
            finally:
                self.report()

        return application

    def report(self) -> None:
        """Have the parent watch what was imported here."""
        new = imported() - self.names
        self.names |= new if os.getpid() == self.pid else tell_names(self.pipe[1], new)

    def start(self, loop: Loop, call: Resume) -> None:
        """Call `call` when a file has changed."""
        self.call = call
        self.look(loop)

    def look(self, loop: Loop, _ready: bool = False) -> None:
        """Look, now and in a second."""
        if self.has_changed():
            self.since = time.time()
            self.seen.clear()
            self.call(False)
        loop.on("look", NOTHING, functools.partial(self.look, loop), time.monotonic() + self.LOOK_S)

    def has_changed(self) -> bool:
        """Return whether a file has changed, or one beside it while the code cannot start."""
        rest = b""
        try:
            while True:
                *told, rest = (rest + os.read(self.pipe[0], 65536)).split(b"\0")
                self.names |= {*map(os.fsdecode, told)}
        except BlockingIOError:
            pass
        names = {*self.names}
        for folder in {os.path.dirname(name) for name in names} if self.broken else ():
            entries = os.listdir(folder) if os.path.isdir(folder) else []
            names |= {os.path.join(folder, entry) for entry in entries if entry.endswith(".py")}
        return any(map(self.is_new, names))

    def is_new(self, name: str) -> bool:
        """Return whether a file has been written or renamed since the code was read."""
        try:
            status = os.stat(name)
        except OSError:  # it is about to be written
            return False
        when = status.st_ctime  # st_mtime may be anything
        return when > self.since - self.TICK_S or when != self.seen.setdefault(name, when)


def imported(error: Optional[BaseException] = None) -> Set[str]:
    """Return the files of what is imported, and of what was on the way to `error`."""
    names = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    names.add(getattr(error, "filename", None))  # of a SyntaxError
    step = error.__traceback__ if error else None
    while step:
        names.add(step.tb_frame.f_code.co_filename)
        step = step.tb_next
    return {os.path.abspath(name) for name in names if type(name) is str}


def tell_names(descriptor: int, names: Set[str]) -> Set[str]:
    """Write names of files, each whole: others write, too. Return those for which there was room."""
    told: Set[str] = set()
    try:
        for name in names:
            os.write(descriptor, os.fsencode(name) + b"\0")
            told.add(name)
    except OSError:  # of who reads it an earlier image may be gone
        pass
    return told


class Elders:
    """Children of an earlier image of this process, which a HUP has replaced: they finish what they have."""

    def __init__(self, handed: Any) -> None:
        self.channels: Dict[int, int] = dict(handed["elders"])  # by pid, -1 where there is none
        self.lifeline: Any = handed["lifeline"]  # where its holder is not another
        for descriptor in self.descriptors():
            os.set_inheritable(descriptor, False)

    def workers(self) -> List[int]:
        """Return the channels of those that are workers."""
        return [channel for channel in self.channels.values() if channel >= 0]

    def descriptors(self) -> List[int]:
        """Return those whose end tells them to go."""
        return [*self.lifeline, *self.workers()]

    def relieve(self) -> None:
        """Tell workers that others accept connections from now on."""
        for channel in self.workers():
            try:
                os.write(channel, b"l")
            except OSError:  # it has ended
                pass

    def leave(self) -> None:
        """Have them close what is idle, and go."""
        for descriptor in self.descriptors():
            os.close(descriptor)
        self.lifeline, self.channels = [], dict.fromkeys(self.channels, -1)

    def ended(self, pid: int) -> None:
        """Note the end of one."""
        channel = self.channels.pop(pid)
        if channel >= 0:
            os.close(channel)


# ---- parent: forks and reaps, and heeds signals -----------------------------------------------

STATES = ["", "idle", "silent", "in a head", "in a body", "in a response", "in the application"]


class Parent:
    """Forks, reaps and heeds signals; it never parses a byte of HTTP. Its role is how it serves: by a
    child for each connection, by workers, or as the host of all."""

    SHOW_S = 0.05  # from one process's stacks to the next one's
    LATE_S = 0.2  # from a stack shown to an exception in the call, and from there to SIGKILL

    def __init__(self, site: Site, listeners: List[Listener], settings: Any, start: Start) -> None:
        self.site = site
        self.limits = site.limits
        self.origin = start
        self.elders = Elders(start.handed)
        self.loop = Loop()
        self.pid = os.getpid()
        self.children: Dict[int, int] = {}  # pid: slot
        self.wide = max(1, settings.threads) * Scoreboard.SLOT_BYTES  # what a child has of the scoreboard
        last = len(site.board.memory) - self.wide
        self.all_slots = list(range(last, 0, -self.wide))
        self.slots = self.all_slots.copy()  # free ones
        self.wake = os.pipe()
        self.child: Any = None  # in a child, what heeds signals there
        self.stops = 0
        self.status = 0
        self.renewal = 0  # a request of HUP that is still to be heeded
        self.asked = False  # by USR1, what every process does
        self.checking = 0  # the process that tries the new code
        self.checked = 0.0  # since when
        self.parting = self.draining = False
        self.role: Any
        if settings.no_fork:
            self.role = Host(site, listeners, self.loop)
        else:
            self.role = Crew(self, listeners, settings) if settings.workers else Forking(self, listeners)
        self.forks = not settings.no_fork
        self.name = "worker" if settings.workers else "child"
        self.listeners = listeners
        self.killed: Set[int] = set()  # children, by this parent
        self.late: Dict[Any, int] = {}  # calls that take too long, and how often they were seen

    def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        for end in self.wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)
        before = {signum: signal.signal(signum, self.on_signal) for signum in HEEDED}
        for signum in self.origin.noted:
            self.on_signal(signum, None)
        # In each process, which shows its stacks; one that is in the application cannot do it otherwise.
        faulthandler.register(signal.SIGUSR1, file=2, chain=True)
        self.loop.on(self.wake[0], READ, self.on_wake)
        if self.forks:
            self.role.start()
            if self.limits.timeout_s:
                self.watch()
        else:
            os.register_at_fork(after_in_child=self.role.let_go)
            self.freeze()
            self.role.listen()
            self.announce()
        self.on_wake()  # a child of an earlier image may have ended
        if self.origin.watcher:
            self.origin.watcher.start(self.loop, self.renew)
        self.loop.run()
        faulthandler.unregister(signal.SIGUSR1)
        signal.set_wakeup_fd(-1)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        for descriptor in (*self.wake, *self.role.descriptors()):
            os.close(descriptor)
        self.loop.close()
        if self.site.log:
            self.site.log.close()
        return self.status

    def freeze(self) -> None:
        """Leave what is there now to its pages: children share them as long as nobody counts in them."""
        gc.collect()
        gc.freeze()

    def announce(self) -> None:
        """Print the ready line."""
        where = ", ".join(dict.fromkeys(listener.where for listener in self.listeners))
        try:
            print(f"Serving HTTP{'S' if self.site.tls else ''} on {where} ...", flush=True)
        except (OSError, ValueError):  # nobody reads it
            pass
        self.elders.relieve()

    def fork(self, serve: Callable[[int], None], peer: bytes = b"") -> int:
        """Fork a child that runs `serve` with its slot, and ends; return its pid. Raises OSError where the
        system refuses, IndexError without a slot."""
        at = self.slots[-1]
        self.site.board.note(at, peer)
        pid = os.fork()
        if not pid:
            self.be_child(serve, at)
        self.children[pid] = self.slots.pop()
        return pid

    def be_child(self, serve: Callable[[int], None], at: int) -> NoReturn:
        """Serve and end: no path leads a child back from here."""
        status = 70  # EX_SOFTWARE, unless the end is reached
        try:
            signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            for descriptor in (*self.wake, *self.role.private(), *self.elders.descriptors()):
                os.close(descriptor)
            self.loop.close()
            serve(at)
            status = 0
        except UsageError as error:
            say(str(error))
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            try:
                flush_streams()  # os._exit loses what is not flushed
            finally:
                if not status:
                    self.site.board.memory[at] = 0
                os._exit(status)

    # Heed signals: reap, drain, cut.

    def on_signal(self, signum: int, frame: Optional[FrameType]) -> None:
        """Note a signal: TERM or INT drains, the second time it cuts. A child inherits this, so that no
        signal finds it unprepared: it heeds SIGURG, and leaves the rest to its parent."""
        if self.child:
            if os.getpid() != self.child.pid:  # a process that the application has forked
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            elif signum == signal.SIGURG:
                self.child.heed_signal()
        elif signum in STOPS:
            self.stops += 1
            if self.stops > 1 and not self.forks:  # the loop may be in the application
                self.cut()
        elif signum == signal.SIGHUP:
            self.renewal = True
        elif signum == signal.SIGUSR1:
            self.asked = self.forks
            if not self.forks:  # the loop may be in the application
                self.show([self.pid])

    def on_wake(self, _ready: bool = True) -> None:
        """Do what the signals that have arrived call for."""
        try:
            os.read(self.wake[0], 4096)
        except BlockingIOError:
            pass
        if self.forks or self.pid == 1:  # else children are the application's
            self.reap()
        if self.asked:
            self.asked = False
            self.show([*self.elders.channels, *self.children])
        if self.renewal and not self.stops:
            self.renew()
        if self.stops and not self.parting:
            self.part()
        if self.stops > 1:
            self.cut()
        self.finish()

    def finish(self) -> None:
        """Leave the loop when the drain is complete."""
        if self.role.is_done() and not self.elders.channels:
            self.loop.running = False

    def reap(self) -> None:
        """Reap every child that has ended, for signals coalesce."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                at = self.children.pop(pid, 0)
                if at:  # not an orphan that PID 1 inherited
                    self.slots.append(at)
                    self.tell_end(pid, status, at)
                    self.killed.discard(pid)
                    self.role.ended(pid)
                elif pid in self.elders.channels:
                    if status:
                        say(f"{pid}, from before the restart, {self.death(pid, status)}")
                    self.elders.ended(pid)
                elif pid == self.checking:
                    self.checking = 0
                    self.heed_check(status)
        except ChildProcessError:
            return

    def tell_end(self, pid: int, status: int, at: int) -> None:
        """Say how a child died that did not come to its end, and what it was serving."""
        board = self.site.board
        slots = [board.read(slot) for slot in range(at, at + self.wide, board.SLOT_BYTES)]
        for slot in range(at, at + self.wide, board.SLOT_BYTES):
            board.mark(slot, 0, 0.0)
        board.weigh(at, board.NOBODY)
        if slots[0][0]:
            lines = [line.decode("latin-1") for state, _, line in slots if b" " in line and state >= WRITING]
            last = max(slots, key=lambda slot: slot[1])[2].decode("latin-1")
            when = f"after {last}" if " " in last else "before its first request"
            how = self.death(pid, status)
            say(f"{self.name} {pid} {how} " + ("while serving " + ", ".join(lines) if lines else when))

    def death(self, pid: int, status: int) -> str:
        """Return how a process died."""
        if not os.WIFSIGNALED(status):
            return f"exited with status {os.WEXITSTATUS(status)}"
        number = os.WTERMSIG(status)
        alien = number == signal.SIGKILL and pid not in self.killed
        hint = " (not by this server: for want of memory?)" if alien else ""
        return f"was killed by {SIGNALS.get(number, f'signal {number}')}{hint}"

    def part(self) -> None:
        """Drain; before it, go on for --drain-delay, for those who have to learn that the end is near."""
        self.parting = True
        if self.limits.drain_delay_s:
            self.role.part_soon()
            self.loop.on("part", NOTHING, self.drain, time.monotonic() + self.limits.drain_delay_s)
        else:
            self.drain()

    def drain(self, _ready: bool = False) -> None:
        """Accept no more, let what is in flight finish, close what is idle."""
        self.parting = self.draining = True
        if self.checking:
            os.kill(self.checking, signal.SIGKILL)
        for listener in self.listeners:
            listener.remove()
        self.role.leave(True)
        self.elders.leave()
        deadline = time.monotonic() + self.limits.graceful_timeout_s
        self.loop.on("drain", NOTHING, lambda _: self.cut(), deadline)
        self.finish()

    def cut(self) -> None:
        """End what is still in flight."""
        if not self.forks:
            for listener in self.listeners:
                listener.remove()
            sys.stdout.flush()
            os._exit(0)
        if not self.draining:
            self.drain()
        for pid in (*self.children, *self.elders.channels):
            self.kill(pid, signal.SIGKILL)
        self.role.accepted.clear()
        self.loop.running = bool(self.children or self.elders.channels)

    # Renew: the same command line, run anew in this process, after a trial in another.

    def renew(self, _ready: bool = True) -> None:
        """Try the new code in a process of its own."""
        self.renewal = False
        if not self.forks:
            say("HUP and --reload: not with --no-fork")
        elif self.checking:
            self.renewal = True  # once more: what is tried may be old again
            if time.monotonic() - self.checked > self.limits.graceful_timeout_s:  # it hangs
                self.kill(self.checking, signal.SIGKILL)
        else:
            try:
                self.checking, self.checked = self.origin.check(), time.monotonic()
            except OSError as error:
                say(f"the new code cannot be tried: {error.strerror}")

    def heed_check(self, status: int) -> None:
        """Start the new code, or go on with the old."""
        fits = os.WIFEXITED(status) and os.WEXITSTATUS(status) == self.origin.FITS
        if self.origin.watcher:
            self.origin.watcher.broken = not fits
        if fits:
            self.exchange_image()
        elif not self.renewal and not self.stops:
            say("the new code cannot start: the old goes on")

    def exchange_image(self, _ready: bool = False) -> None:
        """Become the new code. The pid stays, and the children with what they need, until that serves."""
        if self.role.accepted:  # it would be lost
            self.loop.on("renew", NOTHING, self.exchange_image, time.monotonic() + self.limits.moment_s)
            return
        elders = {**self.elders.channels, **self.role.hand_over()}
        lifeline = getattr(self.role, "lifeline", self.elders.lifeline)
        # A signal that comes before the new image has its handlers waits until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
        try:
            if not self.stops:
                self.origin.again(self.listeners, elders, lifeline)
        except OSError as error:
            self.site.leaving[0] = self.role.parting = 0
            say(f"the new code cannot be started: {error.strerror}")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)

    # Show.

    def show(self, pids: List[int], _ready: bool = False) -> None:
        """Say on stderr what each of these processes is doing, and have it show its stacks."""
        pid = pids.pop() if pids else 0
        if pid in self.children or pid == self.pid:
            self.show_slots(pid, self.children.get(pid, Scoreboard.SLOT_BYTES))
        elif pid in self.elders.channels:
            say(f"{pid} is from before the restart")
        if pid in (*self.children, *self.elders.channels):
            os.kill(pid, signal.SIGUSR1)
        if pids:  # one after the other, lest they mix
            self.loop.on("show", NOTHING, functools.partial(self.show, pids), time.monotonic() + self.SHOW_S)

    def show_slots(self, pid: int, at: int) -> None:
        """Say what the scoreboard has of a process."""
        board, now = self.site.board, time.monotonic()
        load = board.words[at // 4 + 1]
        has = f" has {load} connections" if self.name == "worker" and load < board.NOBODY - 1 else ""
        say(f"{self.name} {pid}{has}")
        for slot in range(at, at + self.wide, board.SLOT_BYTES):
            state, since, line = board.read(slot)
            if state == CALL or (state and self.name == "child" and self.forks):
                since -= Limits.fresh_s if state in (SILENT, HEADING) else 0.0  # see expendable
                long = f" for {now - since:.1f} s" if state in (SILENT, HEADING, CALL) else ""
                say(f"{self.name} {pid} is {STATES[state]}{long}: {line.decode('latin-1')}")

    def kill(self, pid: int, signum: int) -> None:
        """Send a signal to a child, and remember whom it ends."""
        if signum == signal.SIGKILL:
            self.killed.add(pid)
        os.kill(pid, signum)

    def watch(self, _ready: bool = False) -> None:
        """Look for calls into the application that take too long: show the stacks, then end them."""
        now, late, board = time.monotonic(), {}, self.site.board
        for pid, at in self.children.items():
            for slot in range(at, at + self.wide, board.SLOT_BYTES):
                state, since, line = board.read(slot)
                key = pid, slot, since
                if state != CALL or now - since < self.limits.timeout_s:
                    continue
                late[key] = looks = self.late.get(key, 0) + 1
                if looks == 1:
                    what = line.decode("latin-1")
                    say(f"{self.name} {pid} is in the application for {now - since:.1f} s: {what}")
                # Apart, for a system call that the first interrupts goes on after the second.
                self.kill(pid, (signal.SIGUSR1, signal.SIGURG, signal.SIGKILL)[min(looks, 3) - 1])
        self.late = late
        again = self.LATE_S if late else min(1.0, self.limits.timeout_s / 4)
        self.loop.on("watch", NOTHING, self.watch, now + again)


# ---- command line: from arguments to a running server -----------------------------------------

LIMITS = (  # option, attribute of Limits, metavar, help
    ("--max-children", "max_children", "N", "processes at once; further clients wait"),
    ("--backlog", "backlog", "N", "connections that may wait in the kernel's queue"),
    ("--header-timeout", "header_timeout_s", "S", "seconds in which the head of a request arrives"),
    ("--keep-alive", "keep_alive_s", "S", "seconds that an idle connection waits for its next request"),
    ("--stall-timeout", "stall_timeout_s", "S", "seconds that a body may be behind --min-rate"),
    ("--send-timeout", "send_timeout_s", "S", "seconds that a client who reads may be behind --min-rate"),
    ("--min-rate", "rate_bytes_per_s", "BYTES", "bytes a second that a client sends of a body, or reads"),
    ("--timeout", "timeout_s", "S", "seconds after which a call into the application is ended; 0 is never"),
    ("--graceful-timeout", "graceful_timeout_s", "S", "seconds that requests in flight have at the end"),
    ("--drain-delay", "drain_delay_s", "S", "seconds to go on before that, saying Connection: close"),
    ("--max-body", "body_bytes", "BYTES", "the largest body of a request"),
)
SETTINGS: Any = (  # option, default, metavar (None for a flag), help
    ("--app", None, "MODULE:APP", "the application: MODULE, MODULE:NAME or MODULE:FACTORY(); "
     "without one, a page says hello"),
    ("--bind", [], "HOST:PORT", "where to listen, also :PORT, [IPV6]:PORT, unix:PATH and fd://N, and several "
     "times; port 0 is any free one; other defaults are what systemd has opened, and 0.0.0.0:PORT where the "
     "environment names a PORT (localhost:8888)"),
    ("--no-fork", False, None, "serve in one process, for debuggers; slow requests delay all"),
    ("--workers", "0", "N", "fork workers beforehand, each for many connections: auto is one for each "
     "processor, 0 a process for each connection; WEB_CONCURRENCY in the environment is another default"),
    ("--threads", 1, "N", "threads that call the application in each worker"),
    ("--max-requests", 0, "N", "requests after which a worker is replaced; 0 is never"),
    ("--max-requests-jitter", 0, "N", "at most so many requests more, at random"),
    ("--check-config", False, None, "say what keeps the server from starting or from serving well, and exit"),
    ("--reload", False, None, "start anew when a file changes that the application has imported"),
    ("--no-preload", False, None, "import the application in each worker"),
    ("--root-path", "", "/PATH", "mount the application below this path"),
    ("--certfile", None, "FILE", "speak TLS, with this certificate and those that lead to it"),
    ("--keyfile", None, "FILE", "its private key, where --certfile does not have it"),
    ("--ca-certs", None, "FILE", "clients need a certificate that one of these has signed"),
    ("--forwarded-allow-ips", "127.0.0.1,::1", "LIST", "proxies whose X-Forwarded-For, -Proto and -Host are "
     "believed: addresses, networks, unix, or * for all; FORWARDED_ALLOW_IPS in the environment is another "
     "default"),
    ("--validate", False, None, "hold the application to PEP 3333, by wsgiref.validate"),
    ("--access-log", None, "FILE", "a line for each request; - is stderr, and the default on a terminal"),
    ("--access-log-format", "combined", "FORMAT", "combined, with the microseconds taken, or json"),
    ("--verbose", False, None, "say on stderr what is wrong with each refused request, as on a terminal"),
)
APP = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)(?::([^\W\d]\w*(?:\.[^\W\d]\w*)*)(\(\))?)?")


def hello(environ: Environ, start_response: Callable[..., Any]) -> List[bytes]:
    """The article's page."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, World!\n"]


def load(spec: str) -> Application:
    """Return the application that MODULE:APP names. Raises UsageError, and whatever the
    application's own module raises."""
    match = APP.fullmatch(spec)
    if not match:
        raise UsageError(f"not MODULE, MODULE:APP or MODULE:FACTORY(): {spec}")
    module, path, factory = match.groups()
    sys.path.insert(0, os.getcwd())
    import importlib

    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module + ".").startswith(error.name + "."):
            raise UsageError(f"no module named {error.name}") from None
        raise
    for name in (path or ("application" if hasattr(found, "application") else "app")).split("."):
        if not hasattr(found, name):
            raise UsageError(f"{module} has no {path or 'application, and no app'}")
        found = getattr(found, name)
    if factory and callable(found):
        found = found()
    if not callable(found):
        raise UsageError(f"{spec} is no WSGI application: {type(found).__name__} is not callable")
    application: Application = found
    return application


def load_application(found: Any, app: Any, watcher: Optional[Watcher]) -> Application:
    """Return the application that the command line names, or `app`, or the page."""
    spec = found.module if found.app is None else found.app
    try:
        application: Application = load(spec) if spec is not None else hello if app is None else app
    except SystemExit as error:
        raise UsageError(f"{spec} ends the program at its import: SystemExit({error.code!r})") from None
    if watcher:
        watcher.report()
        application = watcher.around(application)
    if found.validate:
        from wsgiref.validate import validator

        application = validator(application)
    return application


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


def make_parser() -> Any:
    """Return the parser of the command line, which raises UsageError."""
    import argparse  # takes 10 ms, and a program that imports this file never needs it

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(message)

    layout = functools.partial(argparse.HelpFormatter, width=100)  # without a width it loads shutil
    description = (__doc__ or "").split("\n")[0]
    parser = Parser(prog="webserver.py", allow_abbrev=False, description=description, formatter_class=layout)
    add = parser.add_argument
    add("module", nargs="?", metavar="MODULE:APP", help="the WSGI application, as --app names it")
    for option, default, metavar, text in SETTINGS:
        if metavar is None:
            add(option, action="store_true", help=text)
        elif default == []:
            add(option, action="append", default=[], metavar=metavar, help=text)
        else:
            shown = f" ({default})" if default not in (None, "") else ""
            kind = str if default is None else type(default)
            add(option, type=kind, default=default, metavar=metavar, help=text + shown)
    for option, name, metavar, text in LIMITS:
        default = getattr(Limits, name)
        text = f"{text} ({default:.15g})"
        add(option, dest=name, type=type(default), default=default, metavar=metavar, help=text)
    add("--version", action="version", version="webserver.py " + __version__)
    parser.set_defaults(workers=os.environ.get("WEB_CONCURRENCY") or "0")
    if "FORWARDED_ALLOW_IPS" in os.environ:
        parser.set_defaults(forwarded_allow_ips=os.environ["FORWARDED_ALLOW_IPS"])
    return parser


def parse_arguments(arguments: Optional[Sequence[str]]) -> Tuple[Any, Limits]:
    """Return what the command line says, and the limits with its changes. Raises UsageError."""
    found, limits = make_parser().parse_args(arguments), Limits()
    if found.app is not None and found.module is not None:
        raise UsageError("the application is named twice")
    if not re.fullmatch(r"(/[^/?#\x00-\x20\x7f]+)*", found.root_path):
        raise UsageError(f"--root-path: /PATH, without a slash at its end, not {found.root_path}")
    if found.access_log_format not in ("combined", "json"):
        raise UsageError(f"--access-log-format: combined or json, not {found.access_log_format}")
    if found.certfile is None and (found.keyfile, found.ca_certs) != (None, None):
        raise UsageError("--keyfile, --ca-certs: for --certfile only")
    folder = working_folder()  # the application may change it
    for name in ("access_log", "certfile", "keyfile", "ca_certs"):
        if getattr(found, name) not in (None, "", "-"):
            setattr(found, name, os.path.join(folder, getattr(found, name)))
    relative = re.compile("unix:[^/]").match
    found.bind = [f"unix:{folder}/{bind[5:]}" if relative(bind) else bind for bind in found.bind]
    try:
        found.trust = Trust(found.forwarded_allow_ips)
    except ValueError as error:
        raise UsageError(f"--forwarded-allow-ips, FORWARDED_ALLOW_IPS: {error}") from None
    check_workers(found)
    for option, name, metavar, _ in LIMITS:
        value, most = getattr(found, name), 10**15 if metavar == "BYTES" else 10**6
        if not 0 < value <= most and value != getattr(Limits, name):
            raise UsageError(f"{option}: a number above 0, up to {most}, not {value}")
        setattr(limits, name, value)
    return found, limits


def check_workers(found: Any) -> None:
    """Make --workers a number. Raises UsageError where it does not go with the other options."""
    if found.workers == "auto":
        affinity = getattr(os, "sched_getaffinity", None)
        found.workers = len(affinity(0)) if affinity else os.cpu_count() or 1
    elif not re.fullmatch("[0-9]{1,4}", found.workers):
        raise UsageError(f"--workers, WEB_CONCURRENCY: a number or auto, not {found.workers}")
    found.workers = 0 if found.no_fork else int(found.workers)
    for name, least in (("threads", 1), ("max_requests", 0), ("max_requests_jitter", 0)):
        value, option = getattr(found, name), "--" + name.replace("_", "-")
        if not least <= value <= 10**6:
            raise UsageError(f"{option}: a number from {least} to {10**6}, not {value}")
        if value > least and not found.workers:
            raise UsageError(f"{option}: for --workers only")
    if found.no_preload and not found.workers:
        raise UsageError("--no-preload: for --workers only")
    if found.timeout_s and found.no_fork:
        raise UsageError("--timeout: not with --no-fork")


def make_site(found: Any, limits: Limits, app: Any, checks: bool) -> Site:
    """Return what all conversations share, as the command line has it; who `checks` leaves no log that was
    not there. Raises UsageError."""
    one = 1 if found.no_fork else limits.max_children
    # As many workers again while the old ones leave.
    slots = (2 * found.workers + 2) * found.threads if found.workers else one
    site = Site(app, limits, found.root_path, slots, found.trust)
    site.environ["wsgi.multithread"] = found.threads > 1
    site.talks = found.verbose or os.isatty(2)
    if found.certfile is not None:
        site.tls = tls_context(found.certfile, found.keyfile, found.ca_certs)
        site.environ["wsgi.url_scheme"] = "https"
    if found.access_log or os.isatty(2):
        new = checks and found.access_log not in (None, "-") and not os.path.exists(found.access_log)
        try:
            site.log = AccessLog(found.access_log or "-", found.access_log_format == "json")
            if new:
                os.unlink(found.access_log)
        except OSError as error:
            raise UsageError(f"--access-log: cannot write {found.access_log}: {error.strerror}") from None
    return site


def start(arguments: Optional[Sequence[str]], app: Any = None) -> int:
    """Do what the command line says, with `app` where it names no application; return the exit status. Raises
    UsageError, and whatever the application's own module raises."""
    origin = Start()
    try:
        parent = prepare(arguments, app, origin)
    except Exception as error:
        if not origin.heed_failure(error):
            raise
        return 0
    return parent.run() if parent else 0


def prepare(arguments: Optional[Sequence[str]], app: Any, origin: Start) -> Optional[Parent]:
    """Return a parent that is ready to run, None where the command line asks for a check alone. Raises as
    `start` does."""
    found, limits = parse_arguments(arguments)
    checks = bool(found.check_config or origin.report)
    if not found.no_fork and not hasattr(os, "fork"):
        raise UsageError("this platform has no fork: use --no-fork")
    if found.reload and not checks:
        origin.watcher = Watcher()
    found.load = functools.partial(load_application, found, app, origin.watcher)
    app = found.load() if checks or not found.no_preload else None
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # said below
    threads = sys.modules.get("threading")
    if threads and threads.active_count() > 1 and not found.no_fork:
        say("the application started threads at import: they do not exist in the children that serve")
    site = make_site(found, limits, app, checks)
    if origin.report:  # for the server that has the listeners; and by a program that calls serve(), perhaps
        os._exit(origin.FITS)
    listeners = origin.listen(found.bind or binds_of(os.environ), limits.backlog)
    if not checks:
        return Parent(site, listeners, found, origin)
    for listener in listeners:
        listener.remove()
    for doubt in doubts(found, limits):
        print(doubt)
    return None


def doubts(found: Any, limits: Limits) -> Iterator[str]:
    """Say what this system does not grant of what the options ask for, and what to do about it."""
    import resource

    def soft(name: str) -> float:
        value = resource.getrlimit(getattr(resource, name))[0]
        return NEVER if value == resource.RLIM_INFINITY else value

    files, processes = soft("RLIMIT_NOFILE"), soft("RLIMIT_NPROC") if os.getuid() else NEVER
    children = found.workers or (0 if found.no_fork else limits.max_children)
    if files < 1024 and (found.workers or found.no_fork):
        yield f"one process takes {most_connections()} connections: raise ulimit -n, which is {files}"
    if files < 64:
        yield f"ulimit -n is {files}, which an application soon needs: raise it"
    if processes < children + 64:
        yield f"ulimit -u is {processes}, with what else this user runs: raise it, or lower --max-children"
    try:
        with open("/proc/sys/net/core/somaxconn") as file:
            most = int(file.read())
    except (OSError, ValueError):  # not everywhere
        return
    if most < limits.backlog:
        yield f"the kernel lets {most} connections wait: raise net.core.somaxconn, or lower --backlog to that"


def serve(app: Application, **options: Any) -> int:
    """Serve `app` until TERM or INT; return the exit status. `options` are the command line's, by the same
    names: serve(app, bind="localhost:8888", workers=2). Raises UsageError, and ValueError in a thread."""
    arguments: List[str] = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is not None and one is not False:
                arguments.append(option if one is True else f"{option}={one}")
    if not callable(app):
        raise UsageError(f"serve takes a WSGI application, not {type(app).__name__}")
    open_standard_streams()
    before = signal.set_wakeup_fd(-1)
    try:
        return start(arguments, app)
    finally:
        signal.set_wakeup_fd(before)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The program: return its exit status."""
    open_standard_streams()
    try:
        status = start(arguments)
        threads = sys.modules.get("threading")
        flush_streams()
        if threads and threads.active_count() > 1:  # they would be waited for
            os._exit(status)
        return status
    except UsageError as error:
        sys.stderr.write("webserver.py: " + "\\n".join(str(error).splitlines()) + "\n")
        return 1 if "--check-config" in (sys.argv if arguments is None else arguments) else 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # the application's own failure, shown to its author
        sys.excepthook(type(error), error, error.__traceback__)
        return 1


if __name__ == "__main__":
    sys.exit(main())
