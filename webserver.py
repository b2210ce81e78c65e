#!/usr/bin/env python3
"""A concurrent HTTP/1.1 and WSGI server in one file, with nothing to install.

    python webserver.py                      every request gets `Hello, World!`
    python webserver.py --app module:app     a WSGI application, a process per connection

Two stories, each told once, in the order in which things happen.

    Data    bytes -> head -> request -> body -> environ -> application -> response -> bytes
    Life    listen -> accept -> fork -> serve -> reap -> drain

A connection is one *conversation*: a generator that reads straight down and never blocks.
It yields what it needs, and whoever runs it provides that and resumes it:

    (state, timeout)                    wait until the socket is ready, or for so many seconds
    (CALL, request, run, call, ...)     hand back what run(call, ...) returns: the application is called

                 listener
                    | accept
    parent ---------+-------------------------------.   never parses HTTP, reaps every child
      |  \\                                           \\
      |   fork                                        --no-fork: one Loop, many conversations
      v
    child: one conversation, poll, _exit
      `--- lifeline: a pipe that the parent holds open; its end tells a waiting child to go
      `--- scoreboard: shared memory, a slot each: state, when it may be asked to go, request-line

Rooms: limits, errors, grammar, transport, request, body, environ, response, conversation,
loop, scoreboard, listener, processes, command line. Each does one thing, in the words of the
RFCs 9110 and 9112 and of PEP 3333.
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
import selectors
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
    Resume = Callable[[bool], None]
    Application = Callable[[Environ, Callable[..., Any]], Any]

__version__ = "1.0"


# ---- limits: every number, its unit in its name, its reason beside it -----------------------


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
    backlog = 2048  # connections that wait in the kernel, which has a ceiling of its own
    graceful_timeout_s = 30.0  # for what is in flight when the server is told to stop
    moment_s = 0.1  # before the system is asked again for what it refused
    likely_s = 0.02  # a child waits in recv so long, then polls: a busy client costs one call, not two
    share = 0.125  # of those who may be asked to give way is asked at once
    fresh_s = 0.25  # nobody is asked to give way before: first bytes may be on their way
    block_bytes = 32768  # of one read: glibc tidies its whole heap when it frees twice as much
    unsent_bytes = 65536  # in the kernel, for one client
    remembered_names = 1024  # of fields; a thousand clients use fifty
    remembered_heads = 1024  # of responses


# ---- errors: what ends an exchange, a connection or the program ------------------------------


class HTTPError(Exception):
    """A request is refused: the status, the rule that it broke, and the offending part."""

    def __init__(self, status: int, rule: str, part: str = "") -> None:
        super().__init__(status, rule)
        self.status = status
        self.rule = rule + (": " + ascii(part[:60]) if part else "")


def excess(status: int, what: str, most: float, units: str = "bytes") -> HTTPError:
    """Return the refusal of what goes beyond a limit."""
    clause = "RFC 6585 5" if status == 431 else f"RFC 9110 15.5.{status - 399}"  # 408 is in 15.5.9, and so on
    return HTTPError(status, f"{what} has {most:.15g} {units} at the most ({clause})")


class ClientGone(Exception):
    """The connection is no more: reset, closed too early, or too slow to be kept."""


class UsageError(Exception):
    """The command line asks for what cannot be had: one line, exit status 2."""


REASONS = {400: "Bad Request", 404: "Not Found", 408: "Request Timeout", 413: "Content Too Large"}
REASONS.update({414: "URI Too Long", 417: "Expectation Failed", 431: "Request Header Fields Too Large"})
REASONS.update({500: "Internal Server Error", 501: "Not Implemented", 505: "HTTP Version Not Supported"})


# ---- grammar: RFC 9110, RFC 9112 and RFC 3986 as regular expressions -------------------------

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
VALUE = r"[\t\x20-\x7e\x80-\xff]*"  # field-value with its OWS; obs-text is kept as latin-1
TARGET = r"[\x21\x22\x24-\x7e]+"  # visible ASCII; a fragment is never sent (RFC 9112 3.2)
AUTHORITY = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)(?::[0-9]*)?"  # no userinfo

HEAD = re.compile(rf"({TOKEN}) ({TARGET}) HTTP/1\.([0-9])\r\n((?:{TOKEN}:{VALUE}\r\n)*)\r\n")
FIELD = re.compile(rf"({TOKEN}):[ \t]*({VALUE})\r\n")
TRAILER_LINE = re.compile(rf"(?:{TOKEN}:{VALUE})?\r\n".encode("latin-1"))
CRLF = re.compile(rb"\r\n")
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
ABSOLUTE = re.compile(rf"(?i:http)://({AUTHORITY})(/[^?]*|)(\?.*|)")
TUNNEL = re.compile(rf"(?=.*:[0-9]+\Z){AUTHORITY}")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
DIGITS = re.compile(r"[0-9]+")
LENGTH = re.compile(r"[0-9]{1,18}")
QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
EXTENSION = rf"[ \t]*;[ \t]*{TOKEN}(?:[ \t]*=[ \t]*(?:{TOKEN}|{QUOTED}))?"
CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]{{1,15}})(?:{EXTENSION})*\r\n".encode("latin-1"))
STATUS = re.compile(rf"[2-5][0-9][0-9] {VALUE}")
NAME = re.compile(TOKEN)
CONTENT = re.compile(VALUE)

# Wrong wherever it stands in a head, and told before the head is whole. A bare LF or CR is a
# line end to some and not to others: two readings, and between them a smuggled request.
STRAY = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# Why a head is not one, most telling first: what to search for, the status, the rule.
FAULTS = (
    (r"\A\r\n", 400, "few empty lines stand before a request-line (RFC 9112 2.2)"),
    (r"(?<!\r)\n", 400, "a line ends in CRLF, not in a bare LF (RFC 9112 2.2)"),
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


# ---- transport: the socket, tried first and waited for by yielding ---------------------------

# What a conversation waits for, in the order in which they give way when others have to wait.
IDLE, SILENT, HEADING, BODY, WRITING, CALL = 1, 2, 3, 4, 5, 6

NEVER = float("inf")


def expendable(limits: Limits, state: int, timeout: float) -> float:
    """Return from when on a client who may wait `timeout` seconds more can be asked to give way: at
    once when it is idle, else a moment after it fell behind what its state allows."""
    if state == IDLE:
        return 0.0
    whole = {BODY: limits.stall_timeout_s, WRITING: limits.send_timeout_s}.get(state, limits.header_timeout_s)
    return time.monotonic() + timeout - whole + limits.fresh_s


class Connection:
    """A client's bytes: `ahead` are those that were received and not yet used; `block` runs steps to
    their end, and is None where nothing may block."""

    __slots__ = ("ahead", "block", "limits", "site", "sock")

    def __init__(self, sock: socket.socket, site: Site, block: Any) -> None:
        self.sock = sock
        self.site = site
        self.limits = site.limits
        self.block = block
        self.ahead: Any = b""  # bytes, and a bytearray while a head is gathered

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a call on the socket returns, None where it would block. Raises ClientGone."""
        try:
            return call(*arguments)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ClientGone from error

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
        """Send `data`, but for the bytes `sent` already, as the client reads it. Raises ClientGone,
        also for one who reads too slowly."""
        stall_s = self.limits.send_timeout_s
        rest, deadline = memoryview(data)[sent:], self.later(stall_s)
        while rest:
            count = self.attempt(self.sock.send, rest)
            if count:
                rest, deadline = rest[count:], self.later(stall_s, deadline, count)
            elif not (yield WRITING, deadline - time.monotonic()):
                raise ClientGone

    def send_file(self, file: int, offset: int, count: int) -> Steps[None]:
        """Send `count` bytes of a regular file, from `offset`, without reading them here."""
        stall_s = self.limits.send_timeout_s
        deadline = self.later(stall_s)
        while count:
            sent = self.attempt(os.sendfile, self.sock.fileno(), file, offset, count)
            if sent:
                offset, count, deadline = offset + sent, count - sent, self.later(stall_s, deadline, sent)
            elif sent == 0:
                raise EOFError("the file became shorter while it was sent")
            elif not (yield WRITING, deadline - time.monotonic()):
                raise ClientGone

    def later(self, stall_s: float, deadline: float = NEVER, moved: int = 0) -> float:
        """Return the deadline of a transfer: each byte puts it off by what the slowest rate takes for
        it, and never beyond one stall."""
        return min(time.monotonic() + stall_s, deadline + moved / self.limits.rate_bytes_per_s)

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


# ---- request: from bytes to a head that has one reading --------------------------------------

SINGULAR = ("HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING", "HTTP_AUTHORIZATION")


class Request:
    """A head, read: `environ` is what the application sees of it, copied for each exchange."""

    def __init__(self, head: bytes, connection_environ: Environ, limits: Limits) -> None:
        """Raises HTTPError for a head that breaks a rule."""
        text = head.decode("latin-1")
        match = HEAD.fullmatch(text)
        if not match:
            raise fault(text)
        self.head = head
        self.method, target, minor, section = match.groups()
        self.minor = int(minor)
        self.line = head[: head.index(b"\r")]
        if len(self.line) > limits.request_line_bytes:
            raise excess(414, "a request-line", limits.request_line_bytes)
        self.environ = environ = connection_environ.copy()
        environ["REQUEST_METHOD"] = self.method
        environ["REQUEST_URI"] = environ["RAW_URI"] = target
        environ["SERVER_PROTOCOL"] = "HTTP/1.1" if self.minor else "HTTP/1.0"
        if max(map(len, section.split("\r\n"))) > limits.field_line_bytes:
            raise excess(431, "a field line", limits.field_line_bytes)
        self.add_fields(FIELD.findall(section), limits)
        self.place(target)
        self.frame(limits)
        options = members(environ.get("HTTP_CONNECTION", ""))
        self.persistent = "close" not in options and (self.minor > 0 or "keep-alive" in options)
        self.answered: Tuple[Any, ...] = (None, None, ())  # the last response to it: head, length, framing

    def add_fields(self, fields: List[Tuple[str, str]], limits: Limits) -> None:
        """Add the field lines to the environ, repeated ones joined in order (RFC 9110 5.3)."""
        environ = self.environ
        if len(fields) > limits.fields:
            raise excess(431, "a header section", limits.fields, "field lines")
        for name, value in fields:
            key = environ_key(name)
            value = value.rstrip(" \t")
            if key in environ:
                if key in SINGULAR:
                    raise HTTPError(400, "this field stands once in a request (RFC 9110 5.3)", name)
                value = environ[key] + ("; " if key == "HTTP_COOKIE" else ", ") + value
            if key:
                environ[key] = value

    def place(self, target: str) -> None:
        """Read the four forms of a request-target, and Host beside them (RFC 9112 3.2)."""
        environ, method = self.environ, self.method
        host = environ.get("HTTP_HOST", "" if self.minor else None)
        absolute = ABSOLUTE.fullmatch(target)
        for authority in (host, absolute and absolute[1]):
            if authority is not None and not is_authority(authority):
                rule = "HTTP/1.1 has one Host, a host and perhaps a port (RFC 9112 3.2)"
                raise HTTPError(400, rule, authority)
        if method == "CONNECT" and TUNNEL.fullmatch(target):
            raise HTTPError(501, "this server is no tunnel (RFC 9110 9.3.6)")
        if target[0] == "/" and method != "CONNECT":
            path, _, query = target.partition("?")
        elif absolute and method != "CONNECT":
            environ["HTTP_HOST"] = absolute[1]  # whatever Host says (RFC 9112 3.2.2)
            path, query = absolute[2] or "/", absolute[3][1:]
        elif target == "*" and method == "OPTIONS":
            path = query = ""
        else:
            raise HTTPError(400, f"this is no request-target of {method} (RFC 9112 3.2)", target)
        if BAD_ESCAPE.search(path):
            raise HTTPError(400, "a % stands before two hexadecimal digits (RFC 3986 2.1)", path)
        path, root = ESCAPE.sub(lambda match: chr(int(match[1], 16)), path), environ["SCRIPT_NAME"]
        if root and path and not (path + "/").startswith(root + "/"):
            raise HTTPError(404, "nothing is here (RFC 9110 15.5.5)")
        environ["PATH_INFO"] = path[len(root) :]
        environ["QUERY_STRING"] = query

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
                status = 400 if {*members(coding)} <= {"chunked", ""} else 501
                raise HTTPError(status, "the one coding is chunked, once (RFC 9112 6.1)", coding)
        if not DIGITS.fullmatch(length):
            raise HTTPError(400, "Content-Length is digits alone (RFC 9110 8.6)", length)
        if len(length) > 18 or int(length) > limits.body_bytes:  # int() of a million digits takes seconds
            raise excess(413, "a body", limits.body_bytes)
        self.length = int(length)
        expect = environ.get("HTTP_EXPECT", "").lower() if self.minor else ""
        if expect not in ("", "100-continue"):
            raise HTTPError(417, "the one expectation is 100-continue (RFC 9110 10.1.1)", expect)
        self.continues = bool(expect)


def is_authority(text: str) -> bool:
    """Return whether `text` is a host and perhaps a port (RFC 3986 3.2)."""
    match = HOST.fullmatch(text)
    try:
        return bool(match and (not match[1] or socket.inet_pton(socket.AF_INET6, match[1])))
    except OSError:
        return False


def members(value: str) -> List[str]:
    """Return the members of a list-based field value, in lower case (RFC 9110 5.6.1)."""
    return [member.strip(" \t") for member in value.lower().split(",")]


@functools.lru_cache(maxsize=Limits.remembered_names)
def environ_key(name: str) -> str:
    """Return the environ's key for a field name, "" for a field that must not reach it: one
    with an underscore would pass for another, and Proxy for a setting (httpoxy)."""
    key = name.upper().replace("-", "_")
    if "_" in name or key == "PROXY":
        return ""
    return key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + key


def read_head(connection: Connection, last: Optional[bytes]) -> Optional[bytes]:
    """Return the next head if all of it is there, b"" if not, None if nothing is. A client that
    stays repeats its `last` head byte for byte. Raises ClientGone."""
    data: Optional[bytes] = connection.ahead or connection.attempt(connection.sock.recv, Limits.block_bytes)
    if not data or data == last:
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
    limits, seen, blank = connection.limits, 0, 0
    data = connection.ahead = bytearray(connection.ahead)
    deadline = time.monotonic() + limits.header_timeout_s
    while True:
        while data.startswith(b"\r\n") and blank < limits.blank_lines:
            del data[:2]
            seen, blank = 0, blank + 1
        end = data.find(b"\r\n\r\n", max(0, seen - 3))
        size = end if end >= 0 else len(data)
        if STRAY.search(data, max(0, seen - 1), size):
            raise fault(data.decode("latin-1"))
        longest = limits.request_line_bytes + 2
        if size >= longest and data.find(b"\r\n", 0, longest) < 0:
            raise excess(414, "a request-line", limits.request_line_bytes)
        if size > limits.head_bytes:
            raise excess(431, "a head", limits.head_bytes)
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


# ---- body: read whole before the application is called, by either framing --------------------


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

    def fill(self) -> Steps[None]:
        """Add to the buffer what arrives next."""
        try:
            more = yield from self.connection.receive(BODY, self.deadline)
        except TimeoutError:
            rule = f"a body brings {self.limits.rate_bytes_per_s} bytes a second (RFC 9110 15.5.9)"
            raise HTTPError(408, rule) from None
        self.deadline = self.connection.later(self.limits.stall_timeout_s, self.deadline, len(more))
        if not more:  # a body that ends early is never shown as a whole one (RFC 9112 8)
            raise ClientGone
        self.buffer += more

    def move(self, count: int) -> Steps[None]:
        """Move the next `count` bytes to the spool."""
        while True:
            part = self.buffer[:count]
            del self.buffer[:count]
            self.spool.write(part)
            count -= len(part)
            if not count:
                return
            yield from self.fill()

    def move_chunks(self) -> Steps[None]:
        """Move the data of all chunks; drop the trailer section, which is not merged (RFC 9112 7.1)."""
        limits = self.limits
        for _ in range(limits.chunks):
            line = yield from self.take(CHUNK_LINE, limits.chunk_line_bytes, "a chunk-size is hexadecimal")
            size = int(line[1], 16)
            if self.spool.size + size > limits.body_bytes:
                raise excess(413, "a body", limits.body_bytes)
            if not size:
                break
            yield from self.move(size)
            yield from self.take(CRLF, 2, "a chunk ends in CRLF")
        else:
            raise excess(413, "a body", limits.chunks, "chunks")
        for _ in range(limits.fields):
            line = yield from self.take(TRAILER_LINE, limits.field_line_bytes, "a trailer is a field line")
            if line[0] == b"\r\n":
                return
        raise excess(431, "a trailer section", limits.fields, "field lines")

    def take(self, pattern: re.Pattern[bytes], limit: int, rule: str) -> Steps[re.Match[bytes]]:
        """Take a line from the buffer; return its match with `pattern`."""
        while True:
            end = self.buffer.find(b"\n", 0, limit) + 1
            found = pattern.fullmatch(bytes(self.buffer[:end]))
            if found:
                del self.buffer[:end]
                return found
            if end or len(self.buffer) >= limit:
                raise HTTPError(400, f"{rule} (RFC 9112 7.1)", self.buffer[:60].decode("latin-1"))
            yield from self.fill()


# ---- environ: what the application is told (PEP 3333) ----------------------------------------


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
        is read from a GzipFile is not what its descriptor gives."""
        if type(getattr(self.file, "raw", self.file)) is not io.FileIO:  # a subclass may read otherwise
            return None
        try:
            file, offset = self.file.fileno(), self.file.tell()
            status = os.fstat(file)
        except (OSError, ValueError):
            return None
        left = status.st_size - offset if stat.S_ISREG(status.st_mode) else 0
        return (file, offset, left) if left > 0 else None


class Site:
    """What all conversations share: the application, the limits, the scoreboard that says
    whether to leave, and the part of the environ that is the same for all."""

    talks = False  # a line on stderr for each request

    def __init__(self, app: Application, limits: Limits, root: str, multiprocess: bool) -> None:
        self.app = app
        self.limits = limits
        self.board = Scoreboard(limits.max_children)
        self.environ: Environ = {
            "SCRIPT_NAME": os.fsencode(root).decode("latin-1"),
            "SERVER_SOFTWARE": "webserver.py/" + __version__,
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.url_scheme": "http",
            "wsgi.multithread": False,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }

    def connection_environ(self, listener: Listener, peer: Any) -> Environ:
        """Return the part of the environ that one connection's requests share."""
        own = {"SERVER_NAME": listener.name, "SERVER_PORT": str(listener.port)}
        return {**self.environ, **own, "REMOTE_ADDR": peer[0], "REMOTE_PORT": str(peer[1])}


# ---- response: from what the application says to bytes ---------------------------------------


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
    day = "Mon Tue Wed Thu Fri Sat Sun".split()[now.tm_wday]
    month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()[now.tm_mon - 1]
    line = time.strftime(f"Date: {day}, %d {month} %Y %H:%M:%S GMT\r\n\r\n", now).encode()
    DATE[:] = second, line
    return line


# The server's own, whatever the application says of them (RFC 9110 7.6.1, PEP 3333).
HOP_BY_HOP = frozenset("connection keep-alive proxy-connection te trailer transfer-encoding upgrade".split())

BODILESS = (204, 205, 304)  # RFC 9110 6.4.1, 15.3.6; an application does not send 1xx


class Head:
    """What an application says to start_response, checked; `lines` are as they go on the wire."""

    def __init__(self, status: str, headers: List[Tuple[str, str]]) -> None:
        """Raises TypeError and ValueError for what HTTP cannot carry."""
        if not STATUS.fullmatch(status):
            raise ValueError(f"a status is 200 to 599, a space and a reason, not {status!r} (PEP 3333)")
        lines, names = f"HTTP/1.1 {status}\r\n", {}
        self.close = False
        for header in headers:
            name, value = header
            if type(header) is not tuple or not NAME.fullmatch(name) or not CONTENT.fullmatch(value):
                raise ValueError(f"HTTP cannot carry this header: {name!r}: {value!r} (RFC 9110 5)")
            lower = name.lower()
            if lower == "content-length" and (lower in names or not LENGTH.fullmatch(value)):
                raise ValueError(f"Content-Length is digits, and stands once, not {value!r} (RFC 9110 8.6)")
            names[lower] = value
            if lower == "connection":
                self.close = self.close or "close" in members(value)
            elif lower != "content-length" and lower not in HOP_BY_HOP:
                lines += f"{name}: {value}\r\n"
        if "server" not in names:
            lines += "Server: webserver.py\r\n"
        self.code = int(status[:3])
        self.length = int(names["content-length"]) if "content-length" in names else None
        self.dated = "date" in names
        self.lines = lines.encode("latin-1")

    def frame(self, request: Request, known: Optional[int], leaving: int) -> Tuple[Any, ...]:
        """Return the head without its Date and its end, the length of the body, and whether it is
        chunked, left out, the last on its connection (RFC 9112 6.3)."""
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
        return lines, 0 if bodiless else length, chunked, bodiless, close


HEADS: Dict[Any, Head] = {}  # by status and headers: an application repeats itself


class Response:
    """One response: start_response and write for the application, framing for the wire."""

    __slots__ = "begun bodiless chunked close connection excess head left request spool".split()

    def __init__(self, connection: Connection, request: Request) -> None:
        self.connection = connection
        self.request = request
        self.head: Optional[Head] = None  # what start_response was told
        self.begun = False  # the head is on its way
        self.excess = False  # there is more than the Content-Length says
        self.spool: Optional[Spool] = None  # what write() may not send at once

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
        data = self.framed(data) if data else data
        connection = self.connection
        if connection.block:
            connection.block(connection.send(data))
        else:
            sent = 0 if self.spool else connection.attempt(connection.sock.send, data) or 0
            if sent < len(data):
                self.spool = self.spool or Spool(connection.limits.memory_bytes)
                self.spool.write(data[sent:])

    def begin(self, known: Optional[int]) -> bytes:
        """Return the head; `known` is the length of the body where all of it is there."""
        if not self.head:
            raise AssertionError("the application did not call start_response (PEP 3333)")
        request, head, self.begun = self.request, self.head, True
        # What has arrived already is answered before the connection closes.
        leaving = self.connection.site.board.memory[0] and not self.connection.ahead
        said, length, framing = request.answered
        if said is not head or length != known or leaving:  # a client that stays gets the same again
            framing = head.frame(request, known, leaving)
            request.answered = head, known, framing
        lines: bytes
        lines, self.left, self.chunked, self.bodiless, self.close = framing
        return lines + (b"\r\n" if head.dated else date_line())

    def whole(self, blocks: Any) -> bytes:
        """Return head and body in one where the body is one block, b"" where it is not."""
        block = blocks[0] if type(blocks) in (list, tuple) and len(blocks) == 1 and not self.begun else None
        if type(block) is not bytes or (self.head and self.head.length not in (None, len(block))):
            return b""
        head = self.begin(len(block))
        return head if self.bodiless else head + block

    def framed(self, data: bytes, known: Optional[int] = None) -> bytes:
        """Return `data` as it goes on the wire, after the head where that is still to be sent."""
        head = b"" if self.begun else self.begin(known)
        if self.bodiless or not data:
            return head
        if self.chunked:
            return b"%b%x\r\n%b\r\n" % (head, len(data), data)
        if self.left is not None:
            if len(data) > self.left and not self.excess:
                say(f"{self.request.line.decode()}: what exceeds its Content-Length is cut off")
                self.excess = True
            data = data[: self.left]
            self.left -= len(data)
        return head + data if head else data


def say(message: str) -> None:
    """Write one line to stderr, in one write. A stderr that is closed or full stops nothing."""
    try:
        sys.stderr.write(f"webserver: {message}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


# ---- conversation: a connection from its first byte to its last ------------------------------


def converse(sock: socket.socket, environ: Environ, site: Site, block: Any = None) -> Steps[None]:
    """Serve one connection: read request, call application, write response, again."""
    connection = Connection(sock, site, block)
    request: Optional[Request] = None
    head: Optional[bytes] = None
    try:
        while True:
            # Pipelined: others have their turn before it.
            if connection.ahead and not block and not (yield WRITING, site.limits.send_timeout_s):
                return
            likely = connection.ahead or block or not request  # recv may wait where it may block
            head = read_head(connection, head) if likely else None
            while head is None and request:
                ready = yield IDLE, site.limits.keep_alive_s
                head = read_head(connection, request.head)  # also at the last moment
                if head is None and not ready:
                    return
            head = head or (yield from gather_head(connection))
            if not head:
                return
            if not request or head != request.head:  # a client that stays repeats its head
                request = Request(head, environ, site.limits)
            body: BinaryIO = io.BytesIO()
            if request.chunked or request.length:
                body = yield from Body(connection).read(request)
            goes_on = yield from exchange(Response(connection, request), body)
            del body  # an idle connection holds none
            if not goes_on:
                break
        # A client that has not said close may be sending on.
        if request.persistent or connection.ahead or connection.attempt(sock.recv, 1, socket.MSG_DONTWAIT):
            yield from connection.linger()
    except HTTPError as error:
        if site.talks and error.status != 500:
            say(f"{environ['REMOTE_ADDR']} {error.rule} {error.status}")
        yield from refuse(connection, error, head or connection.ahead)
    except ClientGone:
        return
    except Exception as error:  # ours, or the memory's: this connection ends, and no other
        report(head or b"", error)


def exchange(response: Response, body: BinaryIO) -> Steps[bool]:
    """Call the application and send its response; return whether the connection goes on.
    Every call is made in the request's own context. Raises HTTPError, ClientGone."""
    request, connection = response.request, response.connection
    site = connection.site
    environ = request.environ.copy()
    environ["wsgi.input"] = body
    if request.chunked:
        environ["CONTENT_LENGTH"] = str(body.seek(0, 2))
        body.seek(0)
    run = contextvars.copy_context().run
    blocks: Any = None
    try:
        blocks = yield CALL, request, run, site.app, environ, response.start
        data = response.whole(blocks)
        if data:
            sent = connection.attempt(connection.sock.send, data)
            if sent != len(data):
                yield from connection.send(data, sent or 0)
        else:
            yield from send_blocks(response, blocks, run)
    except ClientGone:
        raise
    except BaseException as error:  # SystemExit and MemoryError too: the next request is not to blame
        report(request.head, error)
        if response.spool:
            yield from send_spool(response)
        if response.begun:
            raise ClientGone from error
        raise HTTPError(500, "the application failed") from None
    finally:
        if site.talks:
            code = response.head.code if response.begun and response.head else 500
            say(f"{request.environ['REMOTE_ADDR']} {request.line.decode()} {code}")
        if type(blocks) is not list and hasattr(blocks, "close"):
            try:
                yield CALL, request, run, blocks.close
            except BaseException as error:
                report(request.head, error)
    return not response.close


def send_blocks(response: Response, blocks: Any, run: Any) -> Steps[None]:
    """Send what the application returned, each block before the next is asked for."""
    request, connection, end = response.request, response.connection, object()
    iterable = hasattr(blocks, "__iter__") or hasattr(blocks, "__getitem__")
    if isinstance(blocks, (str, bytes)) or not iterable:
        raise TypeError(f"the application returned {type(blocks).__name__}, no iterable of bytes (PEP 3333)")
    extent = blocks.extent() if isinstance(blocks, FileWrapper) and not response.begun else None
    if extent:  # to the Content-Length, or to the end of the file
        file, offset, size = extent
        yield from connection.send(response.begin(size))
        count = min(size, response.left or 0)
        yield from connection.send_file(file, offset, count)
        response.left = (response.left or 0) - count
    else:
        blocks = yield CALL, request, run, iter, blocks
        while True:
            # Others have their turn before each block.
            if not connection.block and not (yield WRITING, connection.limits.send_timeout_s):
                raise ClientGone
            block = yield CALL, request, run, next, blocks, end
            if response.spool:
                yield from send_spool(response)
            if block is end:
                break
            if not isinstance(block, bytes):
                raise TypeError(f"the application yielded {type(block).__name__}, not bytes (PEP 3333)")
            if block:
                yield from connection.send(response.framed(block))
            if response.excess or (response.begun and response.bodiless):
                break
    yield from connection.send(response.framed(b"", 0))
    if response.left:
        raise EOFError(f"{response.left} bytes of the Content-Length are missing")
    if response.chunked:
        yield from connection.send(b"0\r\n\r\n")


def send_spool(response: Response) -> Steps[None]:
    """Send what write() left."""
    assert response.spool
    file, response.spool = response.spool.file, None
    file.seek(0)
    with file:
        for data in iter(functools.partial(file.read, Limits.block_bytes), b""):
            yield from response.connection.send(data)


def report(head: bytes, error: BaseException) -> None:
    """Show a failure on stderr, below the request-line that met it."""
    line = head.split(b"\r", 1)[0].decode("latin-1")
    try:
        import traceback  # takes 10 ms, and healthy applications never need it

        lines = traceback.format_exception(type(error), error, error.__traceback__)
        say(f"{line} failed\n" + "".join(lines).rstrip("\n"))
    except Exception:  # no memory, stack or descriptor is left to show more
        say(f"{line} failed: {type(error).__name__}")


def refuse(connection: Connection, error: HTTPError, head: Union[bytes, bytearray]) -> Steps[None]:
    """Answer a refused request with the rule that it broke, and close so that it can be read."""
    title = f"{error.status} {REASONS[error.status]}"
    body = f"{title}: {error.rule}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]
    lines = Head(title, headers).lines
    data = b"%bContent-Length: %d\r\nConnection: close\r\n%b" % (lines, len(body), date_line())
    try:
        yield from connection.send(data if head.startswith(b"HEAD ") else data + body)
        yield from connection.linger()
    except ClientGone:
        return


def advance(conversation: Steps[Any], ready: Any, call: Callable[..., Any]) -> Optional[Tuple[Any, ...]]:
    """Resume `conversation` and make its calls until it waits; return (state, timeout), or
    None at its end. What a call raises is raised where the conversation asked for it."""
    try:
        event = conversation.send(ready)
        while event[0] == CALL:
            try:
                value = call(*event[1:])
            except GeneratorExit as error:  # thrown as it is, it would close the conversation
                event = conversation.throw(RuntimeError(repr(error)))
            except BaseException as error:
                event = conversation.throw(error)
            else:
                event = conversation.send(value)
        return event
    except StopIteration:
        return None


# ---- loop: resumes whoever is ready, or whose deadline has passed ----------------------------

NOTHING, READ, WRITE = 0, selectors.EVENT_READ, selectors.EVENT_WRITE


class Wait:
    """Somebody who waits: `resume` is called with True when `key` is ready, with False when
    the deadline has passed. `gives` says who gives way first, and from when on; 0 never does."""

    events = NOTHING
    resume: Resume
    deadline: float
    gives: Tuple[int, float]


class Loop:
    """An event loop that knows no HTTP, handles no signal and forks nothing. A deadline that
    moves costs nothing: all are looked at when the earliest that was seen has passed."""

    SCAN_S = 0.1  # at most so often

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.waits: Dict[Any, Wait] = {}
        self.next = NEVER
        self.running = True

    def wait(self, key: Any, events: int, resume: Resume, deadline: float, gives: Any = (0, NEVER)) -> None:
        """Resume when `key` (a socket, a descriptor; anything, for NOTHING) is ready or at `deadline`."""
        wait = self.waits.get(key) or self.waits.setdefault(key, Wait())
        if wait.events != events:
            if wait.events:
                self.selector.unregister(key)
            if events:
                self.selector.register(key, events, wait)
        wait.events, wait.resume, wait.deadline, wait.gives = events, resume, deadline, gives
        self.next = min(self.next, deadline)

    def forget(self, key: Any) -> None:
        """Wait for `key` no longer."""
        if key in self.waits:
            self.wait(key, NOTHING, self.waits[key].resume, NEVER)
            del self.waits[key]

    def run(self) -> None:
        """Turn until `running` is made false."""
        while self.running:
            timeout = None if self.next == NEVER else max(0.0, self.next - time.monotonic())
            for key, _ in self.selector.select(timeout):
                if key.data.events:  # not forgotten meanwhile
                    key.data.resume(True)
            now = time.monotonic()
            if now >= self.next:
                for wait in list(self.waits.values()):
                    if wait.deadline <= now:
                        wait.deadline = NEVER
                        wait.resume(False)
                earliest = min((wait.deadline for wait in self.waits.values()), default=NEVER)
                self.next = max(earliest, now + self.SCAN_S)

    def dismiss(self, share: float, highest: int, instant: float) -> bool:
        """Ask a share of those to go who give way by that instant, the first first, up to rank
        `highest`; return whether there was one."""
        able = [w for w in self.waits.values() if 0 < w.gives[0] <= highest and w.gives[1] <= instant]
        for wait in sorted(able, key=lambda wait: wait.gives)[: math.ceil(share * len(able))]:
            wait.resume(False)
        return bool(able)


# ---- scoreboard: what every child is at, in memory that outlives it --------------------------


class Scoreboard:
    """Shared memory, a slot for each child: its state, from when on it may be asked to give way, and
    the request-line that it is serving. The first byte of all is the server's: while it is not
    zero, nobody goes idle. No locks: a slot has one writer."""

    SLOT_BYTES = 256

    def __init__(self, slots: int) -> None:
        self.memory = mmap.mmap(-1, (slots + 1) * self.SLOT_BYTES)

    def mark(self, at: int, state: int, expendable: float) -> None:
        """Keep what the child waits for whose slot begins at `at`."""
        struct.pack_into("B7xd", self.memory, at, state, expendable)

    def note(self, at: int, line: bytes) -> None:
        """Keep the request-line that it is serving."""
        struct.pack_into("240p", self.memory, at + 16, line)

    def read(self, at: int) -> Tuple[int, float, bytes]:
        """Return the state, the instant and the request-line of a slot."""
        state, expendable, line = struct.unpack_from("B7xd240p", self.memory, at)
        return state, expendable, line


# ---- listener: addresses and sockets ---------------------------------------------------------


BIND = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]/]*)):([0-9]{1,5})")
ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address that this machine does not have


class Listener:
    """A listening socket and the name under which its clients know it."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit these
        try:  # else a slow reader's socket takes megabytes at once, and then nothing for minutes
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, Limits.unsent_bytes)
        except (AttributeError, OSError):  # not everywhere
            pass
        self.sock = sock
        self.name = f"[{name}]" if ":" in name else name
        self.port: int = sock.getsockname()[1]


def listen(bind: str, backlog: int) -> List[Listener]:
    """Return listeners on every address of HOST:PORT, all on the same port. Raises UsageError."""
    match = BIND.fullmatch(bind)
    if not match or int(match[3]) > 65535:
        raise UsageError(f"not HOST:PORT, :PORT or [IPV6]:PORT: {bind}")
    host, port = match[1] or match[2], int(match[3])
    names = ("127.0.0.1", "::1") if host == "localhost" else (host or None,)
    try:
        resolve, kind = socket.getaddrinfo, socket.SOCK_STREAM
        infos = [info for name in names for info in resolve(name, port, 0, kind, 0, socket.AI_PASSIVE)]
        found = list(dict.fromkeys((family, address) for family, _, _, _, address in infos))
        return [Listener(sock, host or socket.gethostname()) for sock in bind_all(found, port, backlog)]
    except (OSError, UnicodeError) as error:
        reason = str(getattr(error, "strerror", error)).split(" (")[0]
        raise UsageError(f"cannot listen on {bind}: {reason}") from None


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


# ---- processes: the parent that forks and reaps, the child that serves one connection --------

STOPS = (signal.SIGTERM, signal.SIGINT)
SIGNALS = {number.value: number.name for number in signal.Signals}
# A client that left before it was accepted, or was taken by another.
SKIPPED = (errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.EAGAIN, errno.EWOULDBLOCK)
LIKELY = struct.pack("@ll", 0, int(Limits.likely_s * 1e6))  # a struct timeval


class GiveWay(BaseException):
    """Raised by a signal in a child that waits for its client, and only there."""


class Child:
    """Runs one conversation, blocking where it waits, and keeps its slot of the scoreboard."""

    line = b""  # on the scoreboard
    expendable = NEVER  # from when on it may be asked to go
    asked = False  # to go, and going
    orphan = False  # the parent is dead

    def __init__(self, parent: Parent, sock: socket.socket, at: int) -> None:
        self.pid = os.getpid()
        self.parent = parent
        self.sock = sock
        self.memory = parent.site.board.memory
        self.at = at  # its slot
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, LIKELY)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, LIKELY)
        except OSError:  # the client has left, or this system's timeval is another
            sock.setblocking(False)

    def wait(self, state: int, timeout: float) -> bool:
        """Return True when the socket is ready, False after `timeout` seconds or when told to go."""
        lifeline, poll = self.parent.lifeline[0], select.poll()
        poll.register(self.sock, select.POLLOUT if state == WRITING else select.POLLIN)
        if state <= SILENT:  # nothing is under way
            poll.register(lifeline, select.POLLIN)  # nothing but its end ever comes
        since = expendable(self.parent.limits, state, timeout)
        self.parent.site.board.mark(self.at, state, since)
        # After the mark: whoever set the flag sees one of the two.
        if (state == SILENT and self.asked) or (state == IDLE and self.memory[0]):
            return False
        try:
            self.expendable = since
            ready = poll.poll(max(0.0, timeout * 1000))
            self.expendable = NEVER
        except GiveWay:
            self.asked = True
            return False
        if ready and ready[-1][0] == lifeline:  # the parent drains or is dead
            self.memory[0] = 1  # its other children hear it from here
            return len(ready) > 1
        return bool(ready)

    def call(self, request: Request, run: Callable[..., Any], call: Any, *arguments: Any) -> Any:
        """Call into the application, with the request-line where the parent finds it."""
        if request.line is not self.line:
            self.line = request.line
            self.parent.site.board.note(self.at, self.line)
        self.memory[self.at] = CALL
        self.heed_parent()
        return run(call, *arguments)

    def heed_parent(self) -> None:
        """Where the parent is dead, take no further request, and set a term to what is under way."""
        if os.getppid() != self.parent.pid and not self.orphan:
            self.orphan = True
            self.memory[0] = 1
            signal.alarm(math.ceil(self.parent.limits.graceful_timeout_s))  # nobody else is left to cut it

    def block(self, steps: Steps[Any]) -> None:
        """Run `steps` to its end."""
        self.heed_parent()
        event = advance(steps, None, self.call)
        while event:
            event = advance(steps, self.wait(*event), self.call)


class Parent:
    """Listens, forks, reaps and drains; it never parses a byte of HTTP."""

    def __init__(self, site: Site, listeners: List[Listener], fork: bool) -> None:
        self.site = site
        self.limits = site.limits
        self.listeners = listeners
        self.fork = fork
        self.loop = Loop()
        self.children: Dict[int, int] = {}  # pid: slot
        self.slots = [n * Scoreboard.SLOT_BYTES for n in range(self.limits.max_children, 0, -1)]  # free ones
        self.accepted: Optional[Tuple[Listener, socket.socket, Any]] = None  # and not served yet
        self.lifeline = os.pipe()
        self.wake = os.pipe()
        self.pid = os.getpid()
        self.child: Optional[Child] = None  # in a child, that one
        self.stops = 0
        self.draining = False
        self.paused = True
        self.told: List[str] = []
        self.asked: Set[Tuple[int, float, int]] = set()  # waits that were asked to give way

    def run(self) -> int:
        """Serve until told to stop; return the exit status."""
        for end in self.wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only wakes: then every child is reaped
        for signum in (*STOPS, signal.SIGURG):
            signal.signal(signum, self.on_signal)
        faulthandler.register(signal.SIGUSR1, file=2)  # children inherit it: each shows its own stack
        self.loop.wait(self.wake[0], READ, self.on_wake, NEVER)
        self.open = [self.lifeline[1], *(listener.sock.fileno() for listener in self.listeners)]
        self.private = [*self.wake]  # with `open`, what children have no business with
        if isinstance(self.loop.selector, getattr(selectors, "EpollSelector", ())):
            self.private.append(self.loop.selector.fileno())  # shared by fork: a child closes it, no more
        if self.fork:
            self.rehearse()
        gc.collect()
        gc.freeze()  # children share these pages as long as nobody counts in them
        self.listen()
        print(f"Serving HTTP on port {self.listeners[0].port} ...", flush=True)
        self.loop.run()
        return 0

    def rehearse(self) -> None:
        """Serve the page to ourselves: what that warms, children find warm. It is worth a twelfth of
        the time of a connection that brings one request."""
        ours, theirs = socket.socketpair()
        site = Site(hello, self.limits, "", True)
        child = Child(self, ours, self.slots[-1])
        child.orphan = True  # has no parent to heed
        conversation = converse(ours, site.connection_environ(self.listeners[0], ("", 0)), site, child.block)
        with ours, theirs:
            for _ in range(20):  # CPython specializes what ran a few times
                theirs.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: -\r\nAccept: */*\r\n\r\n")
            theirs.shutdown(socket.SHUT_WR)
            child.block(conversation)

    # Accept and fork. Nobody is lost: who cannot be served now stays in the kernel's queue, or
    # is the one that was accepted already.

    def listen(self, _ready: bool = False) -> None:
        """Go on: with the connection that was accepted, then with those that come."""
        if self.accepted:
            self.serve()
        elif self.paused and not self.draining:
            self.paused = False
            for listener in self.listeners:
                self.loop.wait(listener.sock, READ, functools.partial(self.accept, listener), NEVER)

    def accept(self, listener: Listener, _ready: bool) -> None:
        """Accept one connection, if there is room."""
        if self.fork and not self.slots:
            self.make_room(f"all {self.limits.max_children} children are busy: --max-children allows more")
            return
        try:
            sock, peer = listener.sock.accept()
        except OSError as error:
            if error.errno not in SKIPPED:
                self.make_room(f"accept: {error.strerror}: see ulimit -n, and the limits of the system")
            else:
                self.site.board.memory[0] = self.draining  # who waited has left
            return
        if not peer:  # BSD's way to say that the client has left
            sock.close()
            return
        sock.setblocking(self.fork)
        self.accepted = listener, sock, peer
        self.serve()

    def serve(self) -> None:
        """Serve the accepted connection: in a child, or here among others."""
        assert self.accepted
        if self.fork:
            try:
                self.spawn(*self.accepted)
            except OSError as error:
                self.make_room(f"fork: {error.strerror}: see ulimit -u, and the limits of the system")
                return
            self.accepted[1].close()
        else:
            self.host(*self.accepted)
        self.accepted = None
        self.site.board.memory[0] = self.draining
        self.listen()

    def make_room(self, reason: str) -> None:
        """Nobody more can be served now: ask those to go who keep others waiting, and wait."""
        if reason not in self.told:
            self.told.append(reason)
            say(reason)
        board, now = self.site.board, time.monotonic()
        board.memory[0] = 1  # before the look: who goes idle from now on sees it
        waits = ((*board.read(slot)[:2], pid) for pid, slot in self.children.items())
        able = {wait for wait in waits if IDLE <= wait[0] < CALL and wait[1] <= now}
        self.asked &= able  # the others have moved on
        if self.asked == able:  # who was asked may have been busy
            self.asked = set()
        for wait in sorted(able - self.asked)[: math.ceil(self.limits.share * len(able))]:
            self.asked.add(wait)
            os.kill(wait[2], signal.SIGURG)  # ignored by default: harmless to whatever else it meets
        self.paused = True
        for listener in self.listeners:
            self.loop.wait(listener.sock, NOTHING, self.listen, NEVER)
        # What the system refused, it does not say when it can grant; children do not say what they wait for.
        again = 0.0 if self.loop.dismiss(self.limits.share, WRITING, now) else self.limits.moment_s
        self.loop.wait(self, NOTHING, self.listen, now + again)

    def spawn(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Fork a child for the connection. Raises OSError where the system refuses."""
        slot, board = self.slots[-1], self.site.board
        board.note(slot, b"")
        board.mark(slot, SILENT, expendable(self.limits, SILENT, self.limits.header_timeout_s))
        date_line()  # once a second here, or once in each child
        pid = os.fork()
        if not pid:
            self.be_child(listener, sock, peer, slot)
        self.children[pid] = self.slots.pop()

    def be_child(self, listener: Listener, sock: socket.socket, peer: Any, slot: int) -> NoReturn:
        """Serve one connection and end: no path leads a child back from here."""
        status = 70  # EX_SOFTWARE, unless the end is reached
        try:
            self.child = child = Child(self, sock, slot)
            signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            for descriptor in self.private + self.open:
                os.close(descriptor)
            environ = self.site.connection_environ(listener, peer)
            child.block(converse(sock, environ, self.site, child.block))
            sock.close()  # now, not after what remains to be done: later bytes are told at once
            status = 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            try:
                for stream in (sys.stdout, sys.stderr):  # os._exit loses what is not flushed
                    stream.flush()
            except (OSError, ValueError):
                pass
            finally:
                if not status:
                    self.site.board.memory[slot] = 0
                os._exit(status)

    def host(self, listener: Listener, sock: socket.socket, peer: Any) -> None:
        """Serve the connection in this process, among others."""
        conversation = converse(sock, self.site.connection_environ(listener, peer), self.site)

        def resume(ready: Optional[bool]) -> None:
            event = advance(conversation, ready, lambda request, run, *call: run(*call))
            if event:
                state, timeout = event
                if state <= SILENT and self.draining:
                    timeout = 0.0
                events = WRITE if state == WRITING else READ
                gives = state, expendable(self.limits, state, timeout)
                self.loop.wait(sock, events, resume, time.monotonic() + timeout, gives)
            else:
                self.loop.forget(sock)
                sock.close()
                self.finish()

        resume(None)

    # Heed signals: reap, drain, cut.

    def on_signal(self, signum: int, frame: Optional[FrameType]) -> None:
        """Note TERM or INT: the first drains, the second cuts. A child inherits this, so that no
        signal finds it unprepared: it heeds SIGURG while it waits, and leaves the rest to its parent."""
        if self.child:
            if os.getpid() != self.child.pid:  # a process that the application has forked
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            elif signum == signal.SIGURG and self.child.expendable <= time.monotonic():
                self.child.expendable = NEVER
                raise GiveWay
        elif signum in STOPS:
            self.stops += 1
            if self.stops > 1 and not self.fork:  # the loop may be in the application
                self.cut()

    def on_wake(self, _ready: bool) -> None:
        """Do what the signals that have arrived call for."""
        try:
            os.read(self.wake[0], 4096)
        except BlockingIOError:
            pass
        if (self.fork or self.pid == 1) and self.reap():  # else children are the application's
            self.listen()
        if self.stops and not self.draining:
            self.drain()
        if self.stops > 1:
            self.cut()
        self.finish()

    def reap(self) -> bool:
        """Reap every child that has ended, for signals coalesce; return whether there was one."""
        reaped = False
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return reaped
                slot = self.children.pop(pid, 0)
                if slot:  # not an orphan that PID 1 inherited
                    reaped = True
                    self.slots.append(slot)
                    self.tell_end(pid, status, slot)
        except ChildProcessError:
            return reaped

    def tell_end(self, pid: int, status: int, slot: int) -> None:
        """Say how a child died that did not come to its end, and what it was serving."""
        state, _, line = self.site.board.read(slot)
        if state:
            how = f"exited with status {os.WEXITSTATUS(status)}"
            if os.WIFSIGNALED(status):
                number = os.WTERMSIG(status)
                how = "was killed by " + SIGNALS.get(number, f"signal {number}")
            when = "before a further request" if line else "before its first request"
            if line and state >= WRITING:
                when = "while serving " + line.decode("latin-1")
            say(f"child {pid} {how} {when}")

    def drain(self) -> None:
        """Accept no more, let what is in flight finish, close what is idle."""
        self.draining = True
        self.site.board.memory[0] = 1
        for listener in self.listeners:
            self.loop.forget(listener.sock)
            listener.sock.detach()
        for descriptor in self.open:
            os.close(descriptor)
        self.open = []
        self.loop.dismiss(1, SILENT, NEVER)
        deadline = time.monotonic() + self.limits.graceful_timeout_s
        self.loop.wait("drain", NOTHING, lambda _: self.cut(), deadline)

    def cut(self) -> None:
        """End what is still in flight."""
        if not self.fork:
            sys.stdout.flush()
            os._exit(0)
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)
        if self.accepted:
            self.accepted[1].close()
            self.accepted = None
        self.loop.running = bool(self.children)

    def finish(self) -> None:
        """Leave the loop when the drain is complete."""
        if self.draining and not self.children and not self.accepted:
            self.loop.running = any(wait.gives[0] for wait in self.loop.waits.values())


# ---- command line: from arguments to a running server ----------------------------------------

OPTIONS = (  # option, attribute of Limits, metavar, help
    ("--max-children", "max_children", "N", "processes at once; further clients wait"),
    ("--backlog", "backlog", "N", "connections that may wait in the kernel's queue"),
    ("--header-timeout", "header_timeout_s", "S", "seconds in which the head of a request arrives"),
    ("--keep-alive", "keep_alive_s", "S", "seconds that an idle connection waits for its next request"),
    ("--stall-timeout", "stall_timeout_s", "S", "seconds that a body may be behind --min-rate"),
    ("--send-timeout", "send_timeout_s", "S", "seconds that a client who reads may be behind --min-rate"),
    ("--min-rate", "rate_bytes_per_s", "BYTES", "bytes a second that a client sends of a body, or reads"),
    ("--graceful-timeout", "graceful_timeout_s", "S", "seconds that requests in flight have at the end"),
    ("--max-body", "body_bytes", "BYTES", "the largest body of a request"),
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


def parse_arguments(arguments: Optional[Sequence[str]]) -> Tuple[Any, Limits]:
    """Return what the command line says, and the limits with its changes. Raises UsageError."""
    import argparse  # takes 10 ms, and a program that imports this file never needs it

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError(message)

    layout = functools.partial(argparse.HelpFormatter, width=100)  # without a width it loads shutil
    description = (__doc__ or "").split("\n")[0]
    parser = Parser(prog="webserver.py", allow_abbrev=False, description=description, formatter_class=layout)
    add = parser.add_argument
    add("module", nargs="?", metavar="MODULE:APP", help="the WSGI application, as --app names it")
    text = "the application: MODULE, MODULE:NAME or MODULE:FACTORY(); without one, a page says hello"
    add("--app", metavar="MODULE:APP", help=text)
    text = "where to listen, also :PORT and [IPV6]:PORT; port 0 is any free one (%(default)s)"
    add("--bind", default="localhost:8888", metavar="HOST:PORT", help=text)
    add("--no-fork", action="store_true", help="serve in one process, for debuggers; slow requests delay all")
    add("--root-path", default="", metavar="/PATH", help="mount the application below this path")
    add("--validate", action="store_true", help="hold the application to PEP 3333, by wsgiref.validate")
    add("--verbose", action="store_true", help="a line on stderr for each request and refusal")
    for option, name, metavar, text in OPTIONS:
        default = getattr(Limits, name)
        text = f"{text} ({default:.15g})"
        add(option, dest=name, type=type(default), default=default, metavar=metavar, help=text)
    add("--version", action="version", version="webserver.py " + __version__)
    found = parser.parse_args(arguments)
    if found.app is not None and found.module is not None:
        raise UsageError("the application is named twice")
    if not re.fullmatch(r"(/[^/?#\x00-\x20\x7f]+)*", found.root_path):
        raise UsageError(f"--root-path: /PATH, without a slash at its end, not {found.root_path}")
    limits = Limits()
    for option, name, metavar, _ in OPTIONS:
        value, most = getattr(found, name), 10**15 if metavar == "BYTES" else 10**6
        if not 0 < value <= most:
            raise UsageError(f"{option}: a number above 0, up to {most}, not {value}")
        setattr(limits, name, value)
    return found, limits


def start(arguments: Optional[Sequence[str]]) -> int:
    """Do what the command line says; return the exit status. Raises UsageError."""
    found, limits = parse_arguments(arguments)
    fork = not found.no_fork
    if fork and not hasattr(os, "fork"):
        raise UsageError("this platform has no fork: use --no-fork")
    spec = found.module if found.app is None else found.app
    try:
        app = hello if spec is None else load(spec)
        if found.validate:
            from wsgiref.validate import validator

            app = validator(app)
    except (UsageError, KeyboardInterrupt):
        raise
    except BaseException as error:  # the application's own failure, shown to its author
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # said below
    threads = sys.modules.get("threading")
    if fork and threads and threads.active_count() > 1:
        say("the application started threads at import: they do not exist in the children that serve")
    listeners = listen(found.bind, limits.backlog)
    site = Site(app, limits, found.root_path, fork)
    site.talks = found.verbose or sys.stderr.isatty()
    status = Parent(site, listeners, fork).run()
    if threads and threads.active_count() > 1:  # they would be waited for
        sys.stdout.flush()
        os._exit(status)
    return status


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The program: return its exit status."""
    open_standard_streams()
    try:
        return start(arguments)
    except UsageError as error:
        sys.stderr.write("webserver.py: " + "\\n".join(str(error).splitlines()) + "\n")
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
