#!/usr/bin/env python3
"""Send an HTTP server many requests, or faulty ones on purpose, and report what came back.

    parent ---- fork ----> load process: one selector, one *conversation* per connection
      |  <----- link -----   its Report when it has ended; end of file without one: it died
      '----- lifeline ---->  end of file: all are done, or Ctrl-C, or the parent is dead

A conversation is a generator: connect, send, read the whole response, again. It yields to wait.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # before the long imports: Ctrl-C during them shows no traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import array
import contextlib
import errno
import functools
import json
import multiprocessing
import os
import re
import resource
import selectors
import socket
import ssl
import subprocess
import sys
import time
from argparse import Namespace as Options  # of the command line, and what follows from them
from collections import Counter, defaultdict
from multiprocessing.context import ForkProcess
from typing import Any, Callable, Generator, NamedTuple, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]  # a part of a conversation, returning T
ERRORS = ("refused", "reset", "timed out", "malformed", "cut short", "failed")
READ, WRITE, NEVER = selectors.EVENT_READ, selectors.EVENT_WRITE, float("inf")
cached_match = functools.lru_cache(maxsize=64)(re.Pattern.fullmatch)  # most heads equal one that came before
NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

TICK_S = 0.05  # between looks for what is overdue; a pause after an error, and for late bytes at the end
EARLY_S = 0.001  # that a request may be sent before it is due, for most selectors round up to milliseconds
BLOCK_BYTES = 65536  # of one read, write or chunk; of a head, too: more than servers and proxies send
SLOW_BUFFER_BYTES = 4096  # what the kernel may read ahead of --slow
SHOWN_BYTES = 60  # of what was malformed
PROCESS_DESCRIPTORS = 3  # that the parent has for each: a link, and two of multiprocessing
SPARE_DESCRIPTORS = 32  # for streams, pipes, the selector, and what the shell left open


# ---- transport: a socket, and the bytes that came on it; knows no HTTP -----------------------
class ExchangeError(Exception):
    """What ends an exchange early; the arguments are its kind and the reason."""


class Connection:
    """One socket after another. What waits raises OSError, and ExchangeError at the deadline."""

    def __init__(self, options: Options, selector: selectors.BaseSelector) -> None:
        self.options, self.selector = options, selector
        self.sock: Any = None
        self.unread, self.ended = bytearray(), False  # bytes that came and are part of no response yet
        self.due_times: list[float] = []  # of the requests in flight
        self.allowance = options.pipeline if options.hold else NEVER  # requests that it may still take
        self.conversation: Any = None  # goes on at these events; at the next tick if there are none
        self.events, self.awaited, self.deadline = 0, "", NEVER
        self.sent, self.received, self.abort_at = 0, 0, NEVER  # bytes; abort_at: of those received

    def wait(self, events: int, slow: int = 0) -> Steps[None]:
        """Wait for `events`, or for the next tick, and take what has come where READ is among them."""
        if slow:
            yield from self.wait(0)
        if self.events != events:
            if self.events:
                self.selector.unregister(self.sock)
            if events:
                self.selector.register(self.sock, events, self)
            self.events = events
        if not (events & READ and self.options.tls and self.sock.pending()):  # decrypted bytes have no event
            yield
        if events & READ:
            try:
                room = min(self.options.slow_read or BLOCK_BYTES, self.abort_at - self.received)
                block = self.sock.recv(int(room))
            except NOT_READY:
                return
            self.ended = not block
            self.unread += block
            self.received += len(block)
            self.show("<", block)

    def open(self) -> Steps[None]:
        """Connect to the first address that accepts."""
        for family, kind, protocol, _, address in self.options.addresses:
            self.close()
            self.awaited, self.deadline = "connection", time.monotonic() + self.options.connect_timeout
            self.sock = socket.socket(family, kind, protocol)
            self.sock.setblocking(False)
            if self.options.slow_read:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER_BYTES)
            # No event tells that the backlog of a UNIX socket is no longer full.
            while (error := self.sock.connect_ex(address)) == errno.EAGAIN:
                yield from self.wait(0)
            if error == errno.EINPROGRESS:
                yield from self.wait(WRITE)
                error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                break
        else:
            raise OSError(error, os.strerror(error))
        if self.options.tls:
            wrap, host = self.options.tls.wrap_socket, self.options.host
            self.sock = wrap(self.sock, server_hostname=host, do_handshake_on_connect=False)
            while not self.sock.version():
                try:
                    self.sock.do_handshake()
                except NOT_READY:  # to read: what a handshake sends fits into the buffer of a new socket
                    yield from self.wait(READ)

    def close(self) -> None:
        if self.events:
            self.selector.unregister(self.sock)
        if self.sock:
            self.sock.close()
        self.sock, self.events, self.deadline, self.unread, self.ended = None, 0, NEVER, bytearray(), False

    def show(self, mark: str, data: bytes | memoryview) -> None:
        for line in bytes(data).splitlines(True) if self.options.debug else ():
            print(mark, ascii(line)[2:-1], flush=True)

    def send(self, data: bytes) -> Steps[bool]:
        """Send `data`; return False if a response or the end came before all was sent."""
        rest = memoryview(data)
        while rest and not self.unread and not self.ended:
            try:
                count = self.sock.send(rest[: self.options.slow_send or BLOCK_BYTES])
            except NOT_READY:
                count = 0
            self.sent += count
            self.show(">", rest[:count])
            rest = rest[count:]
            if rest:
                yield from self.wait(READ | WRITE, self.options.slow_send)
        return not rest

    def receive(self, part: str) -> Steps[bool]:
        """Wait for bytes; return False at the end. Raises ExchangeError at an end within this part."""
        if self.received >= self.abort_at:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, array.array("i", (1, 0)))  # a reset
            raise ExchangeError("aborted", f"after {self.options.abort_after} bytes")
        yield from self.wait(READ, self.options.slow_read)
        if self.ended and part:
            where = "before" if part == "head" and not self.unread else "in"
            raise ExchangeError("cut short", f"{where} the {part}")
        return not self.ended

    def read_through(self, mark: bytes, part: str, rule: re.Pattern[bytes]) -> Steps[re.Match[bytes]]:
        """Take the bytes through `mark`, which have to follow `rule`."""
        while (end := self.unread.find(mark, 0, BLOCK_BYTES)) < 0:
            if len(self.unread) >= BLOCK_BYTES:
                raise ExchangeError("malformed", f"no end of the {part} within {BLOCK_BYTES} bytes")
            yield from self.receive(part)
        taken = bytes(self.unread[: end + len(mark)])
        del self.unread[: len(taken)]
        if match := cached_match(rule, taken):
            return match  # type: ignore[return-value]  # it knows str alone
        raise ExchangeError("malformed", f"not a {part}: {ascii(taken[:SHOWN_BYTES])[1:]}")

    def skip(self, count: float) -> Steps[None]:
        """Drop the next `count` bytes; with NEVER, all until the end."""
        while len(self.unread) < count:
            count -= len(self.unread)
            self.unread.clear()
            if not (yield from self.receive("body" if count < NEVER else "")):
                return
        del self.unread[: int(count)]


# ---- response: read whole, by RFC 9112; knows no sockets -------------------------------------
TOKEN, VALUE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", rb"[\t\x20-\x7e\x80-\xff]*"
STATUS = rb"(?!101)[1-5][0-9][0-9]"  # 101 answers a request with Upgrade alone (RFC 9110 15.2.2)
HEAD = re.compile(rb"HTTP/1\.([0-9]) (%b) %b\r\n((?:%b:%b\r\n)*)\r\n" % (STATUS, VALUE, TOKEN, VALUE))
FIELD = re.compile(rb"(%b):(%b)\r\n" % (TOKEN, VALUE))
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;%b)?\r\n" % VALUE)
CHUNK_END, TRAILER = re.compile(rb"\r\n"), re.compile(rb"(?:%b:%b)?\r\n" % (TOKEN, VALUE))
CHUNKED = -1  # in place of a length


@functools.lru_cache(maxsize=16)
def parse_head(head: re.Match[bytes], bodiless: bool) -> tuple[str, bool, float]:
    """Return the status, whether another may follow, and the length of the body: NEVER, until the end."""
    minor, status, lines = head[1], head[2].decode(), head[3]
    fields: dict[bytes, list[bytes]] = defaultdict(list)
    for name, value in FIELD.findall(lines):  # a list may be split over several lines (RFC 9110 5.3)
        fields[name.lower()] += [item.strip(b" \t") for item in value.lower().split(b",")]
    tokens, codings, lengths = fields[b"connection"], fields[b"transfer-encoding"], fields[b"content-length"]
    persistent = b"close" not in tokens and (minor != b"0" or b"keep-alive" in tokens)  # RFC 9112 9.3
    two_ends = codings and (lengths or minor == b"0" or b"chunked" in codings[:-1])  # RFC 9112 6.1, 6.3, 7.1
    if two_ends or len(set(lengths)) > 1 or (lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0])):
        raise ExchangeError("malformed", "two readings of where the body ends (RFC 9112 6)")
    if bodiless or status[0] == "1" or status in ("204", "304"):
        return status, persistent, 0
    length = CHUNKED if codings[-1:] == [b"chunked"] else int(lengths[0]) if lengths else NEVER
    return status, persistent and length != NEVER, length


def skip_response(connection: Connection, bodiless: bool) -> Steps[tuple[str, bool]]:
    """Read a response; return its status and whether another may follow."""
    status = "1"
    while status[0] == "1":  # interim: the final response is still to come (RFC 9110 15.2)
        head = yield from connection.read_through(b"\r\n\r\n", "head", HEAD)
        status, persistent, length = parse_head(head, bodiless)
    if length != CHUNKED:
        yield from connection.skip(length)
        return status, persistent
    while size := int((yield from connection.read_through(b"\r\n", "chunk-size", CHUNK_LINE))[1], 16):
        yield from connection.skip(size)
        yield from connection.read_through(b"\r\n", "chunk end", CHUNK_END)
    while (yield from connection.read_through(b"\r\n", "trailer field", TRAILER))[0] != b"\r\n":
        pass
    return status, persistent


# ---- load: what one process sends, all its conversations on one selector ---------------------
SYSTEM_ERRORS = {errno.ECONNREFUSED: "refused", errno.ENOENT: "refused", errno.ETIMEDOUT: "timed out",
                 errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ENOTCONN: "reset"}


class Report(NamedTuple):
    """What became of the requests of one process."""
    counts: Counter[tuple[str, str]]  # by kind, and status or reason
    latencies: array.array[float]  # seconds, in 4 bytes a request
    seconds: float  # until the last outcome


class LoadProcess:
    """One process: its connections, and its share of the requests."""

    def __init__(self, options: Options, index: int) -> None:
        self.options, self.started = options, time.monotonic()
        self.report = Report(Counter(), array.array("f"), 0.0)
        self.interval = options.processes / options.rate if options.rate else 0.0
        self.next_due = self.started + index / options.rate if options.rate else 0.0  # 0: at any time
        self.selector = selectors.DefaultSelector()
        count = len(range(index, options.connections, options.processes))
        self.connections = [Connection(options, self.selector) for _ in range(count)]
        self.idle: set[Connection] = set()  # that may take a request
        requests = len(range(index, options.requests, options.processes))
        self.unsent = count * options.pipeline if options.hold else requests
        self.pending = self.unsent  # without an outcome yet
        self.during = "" if index else options.during

    def run(self, lifeline: int) -> Report:
        """Run the conversations until all have ended or are cut."""
        self.selector.register(lifeline, READ)
        for connection in self.connections:
            connection.conversation = self.converse(connection)
            next(connection.conversation)
        deadline = self.started + (self.options.duration or NEVER)
        third, third_at = self.pending * 2 // 3, self.started + (self.options.duration or NEVER) / 3
        now, next_tick, done_at, interrupted, command = 0.0, 0.0, NEVER, False, None
        while not interrupted and now < min(deadline, done_at + TICK_S):
            wake_at = min(next_tick, self.next_due if self.idle and self.unsent else NEVER)
            for key, _ in self.selector.select(wake_at - time.monotonic() - EARLY_S):
                interrupted = interrupted or not key.data
                if key.data:
                    next(key.data.conversation)
            now = time.monotonic()
            while self.idle and self.unsent and self.next_due <= now + EARLY_S:
                next(self.idle.pop().conversation)
            if now >= next_tick - EARLY_S:
                self.tick(now)
                next_tick = time.monotonic() + self.options.tick_s
            if self.during and not command and (self.pending <= third or now >= third_at):
                command = subprocess.Popen(self.during, shell=True, stdout=sys.stderr)
            done_at = min(done_at, NEVER if self.pending or (self.options.hold and deadline < NEVER) else now)
        if command:
            late = ", after the load" if command.poll() is None else ""
            kind = "failed" if command.wait() else "during"
            self.report.counts[kind, f"--during: exit status {command.returncode}{late}"] += 1
        return self.count_rest(min(now, deadline, done_at), interrupted)

    def tick(self, now: float) -> None:
        """Go on where a pause is over, or a deadline has passed."""
        for connection in self.connections:
            if connection.deadline <= now:
                connection.conversation.throw(ExchangeError("timed out", f"no {connection.awaited} in time"))
            elif not connection.events:
                next(connection.conversation)

    def count_rest(self, now: float, interrupted: bool) -> Report:
        """Count what the end has cut, and the totals; return the report."""
        counts = self.report.counts
        overdue = int((now - self.next_due) // self.interval + 1) if self.interval else 0
        cut = self.pending - self.unsent + max(0, min(self.unsent, overdue))
        counts[("failed", "interrupted") if interrupted else ("cut", "by the deadline")] += cut
        counts["cpu_us", ""] = round(1e6 * time.process_time())
        counts["bytes_sent", ""] = sum(connection.sent for connection in self.connections)
        counts["bytes_received", ""] = sum(connection.received for connection in self.connections)
        return self.report._replace(seconds=now - self.started)

    def converse(self, connection: Connection) -> Steps[None]:
        """Send and read without end, on a new socket where the last has ended."""
        while True:
            connection.deadline, now = NEVER, time.monotonic()
            self.idle.discard(connection)
            # What is due comes to the requests that a closing server left (RFC 9112 9.6).
            room = min(self.options.pipeline - len(connection.due_times), connection.allowance, self.unsent)
            while room > 0 and self.next_due <= now + EARLY_S:
                connection.due_times.append(min(self.next_due or now, now))
                self.next_due += self.interval
                self.unsent, connection.allowance, room = self.unsent - 1, connection.allowance - 1, room - 1
            try:
                if connection.due_times:
                    yield from self.exchange(connection)
                    continue
                if connection.allowance:
                    self.idle.add(connection)
                yield from connection.wait(READ if connection.sock else 0)
                if connection.unread:
                    raise ExchangeError("malformed", "a response without a request")
                if connection.ended:
                    connection.close()
            except (OSError, ExchangeError) as error:
                self.fail(connection, error)
                yield from connection.wait(0)

    def exchange(self, connection: Connection) -> Steps[None]:
        """Send the requests in hand, and read a response to each."""
        options, due_times = self.options, connection.due_times
        if not connection.sock:
            yield from connection.open()
        connection.awaited, connection.deadline = "whole response", time.monotonic() + options.timeout
        connection.abort_at = connection.received + (options.abort_after or NEVER)
        whole = yield from connection.send(options.request * len(due_times))
        if options.half_close:
            socket.socket.shutdown(connection.sock, socket.SHUT_WR)  # SSLSocket's own would end TLS, too
        while due_times and connection.sock:
            status, persistent = yield from skip_response(connection, options.method == "HEAD")
            latency, last = time.monotonic() - due_times[0], len(due_times) == 1
            ends = not persistent or (last and (not whole or options.half_close or options.no_keepalive))
            if ends and whole and not options.hold and not connection.unread:
                with contextlib.suppress(ConnectionResetError):  # an end as well, after a whole response
                    yield from connection.receive("")
            if connection.unread and (ends or last):
                raise ExchangeError("malformed", "more than the response")
            del due_times[0]
            self.pending -= 1
            self.report.latencies.append(latency)
            self.report.counts["answered", status] += 1
            if ends and (due_times or not options.hold):
                connection.close()

    def fail(self, connection: Connection, error: Exception) -> None:
        """Count an error for the requests in flight, and close."""
        if isinstance(error, OSError):
            error = ExchangeError(SYSTEM_ERRORS.get(error.errno or 0, "failed"), error.strerror or str(error))
        kind, reason = error.args
        # A server may end an idle connection in any way, but send no response without a request.
        self.report.counts[kind, reason] += len(connection.due_times) or int(kind == "malformed")
        self.pending -= len(connection.due_times)
        connection.due_times.clear()
        connection.close()


def run_in_child(link: Any, lifeline: int, others: list[Any], *share: Any) -> None:
    """Run one process, and hold what is open until all are done."""
    signal.signal(signal.SIGINT, lambda *_: None)  # the parent answers Ctrl-C, and the command of --during
    for other in others:
        other.close()  # the parent alone may have these ends
    with contextlib.suppress(BrokenPipeError):  # the parent is dead
        link.send(LoadProcess(*share).run(lifeline))
    os.read(lifeline, 1)  # until its end


def run_processes(options: Options) -> tuple[list[Report], bool]:
    """Fork the processes, and wait; return what they report, and whether Ctrl-C came."""
    reports = []
    lifeline, end = os.pipe()
    anchor = open(end, "wb", buffering=0)  # a file, unlike a descriptor, may be closed twice
    signal.signal(signal.SIGINT, lambda *_: anchor.close())
    links: list[Any] = []
    for index in range(options.processes):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        links.append(ours)
        args = (theirs, lifeline, [anchor, *links], options, index)
        with theirs:
            ForkProcess(target=run_in_child, args=args, daemon=True).start()
    for index, link in enumerate(links):
        try:
            reports.append(link.recv())
        except (EOFError, OSError):  # perhaps in the middle of a message
            total = options.connections if options.duration else options.requests
            lost = {("failed", "the process died"): len(range(index, total, options.processes))}
            reports.append(Report(Counter(lost), array.array("f"), 0.0))
    interrupted = anchor.closed
    anchor.close()
    for process in multiprocessing.active_children():
        process.join()
    return reports, interrupted


def summarize(reports: list[Report], options: Options) -> int:
    """Print what came of the requests, and of a load also its pace; return the exit status."""
    counts: Counter[tuple[str, str]] = sum((report.counts for report in reports), Counter())
    seconds = max(report.seconds for report in reports)
    names = ("answered", *ERRORS, "aborted", "cut", "bytes_sent", "bytes_received", "cpu_us")
    kinds = {name: sum(n for (kind, _), n in counts.items() if kind == name) for name in names}
    details = {f"{kind}: {detail}": n for (kind, detail), n in sorted(counts.items()) if detail}
    ordered = sorted(latency for report in reports for latency in report.latencies)
    parts = {"fastest": 0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "99.9 %": 0.999, "slowest": 1}
    latency = {name: ordered[round(part * (len(ordered) - 1))] for name, part in parts.items() if ordered}
    if options.json:
        print(json.dumps({**kinds, "seconds": seconds, "latency": latency, "details": details}, indent=2))
    else:
        print(", ".join(f"{kinds[kind]} {kind}" for kind in ("answered", *ERRORS)), f"in {seconds:.2f} s")
        for detail, n in details.items() if set(details) != {"answered: 200"} else ():
            print(f"{n:6} {detail}")
    if not options.json and not options.held:
        print(f"{len(ordered) / (seconds or NEVER):,.0f} a second, {kinds['bytes_sent']:,} bytes sent,",
              f"{kinds['bytes_received']:,} received, {kinds['cpu_us'] / 1e6:.2f} s of own CPU time")
        print("ms:", ", ".join(f"{name} {took * 1000:.3g}" for name, took in latency.items()))
    good = (kinds["answered"] or kinds["aborted"]) and not any(kinds[kind] for kind in ERRORS)
    statuses = {detail for kind, detail in counts if kind == "answered"}
    return 0 if good and not (options.expect and statuses - set(options.expect)) else 1


# ---- command line: from arguments to an exit status ------------------------------------------
def matching(pattern: str, meaning: str, convert: Callable[[str], Any] = str) -> Callable[[str], Any]:
    """Return a function that converts an argument of this pattern, and refuses any other."""
    def read(text: str) -> Any:
        if re.fullmatch(pattern, text):
            return convert(text)
        raise argparse.ArgumentTypeError(f"{text!a} is not {meaning}")
    return read


COUNT = matching("[1-9][0-9]{0,8}", "a whole number from 1 to 999999999", int)
AMOUNT = matching("(?=.*[1-9])[0-9]{1,6}([.][0-9]{1,6})?", "a number above 0 and below 1000000", float)
STATUSES = matching("[1-5][0-9]{2}(,[1-5][0-9]{2})*", "a list of statuses", lambda text: text.split(","))
SLOW = matching("((send|read):)?[1-9][0-9]{0,8}", "[send:|read:]BYTES_PER_S")
URL, URL_FORM = "http://localhost:8888/", "http[s]://HOST[:PORT][/PATH]"
OPTIONS: tuple[tuple[str, Any, Any, str, str], ...] = (  # name, type, default, metavar, meaning
    ("requests", COUNT, "200", "N", "requests in all; unlimited with --duration"),
    ("connections", COUNT, 50, "C", "connections open at once"),
    ("duration", AMOUNT, "none", "S", "seconds after which it stops"),
    ("rate", AMOUNT, "none", "R", "requests a second; latency counts from when one was due"),
    ("processes", COUNT, "processors", "N", "load processes, an event loop each"),
    ("hold", None, "", "", "send one --pipeline on each connection, keep all open until the end"),
    ("max-clients", COUNT, "1", "N", "load processes that hold their connections, any status is a success"),
    ("max-conns", COUNT, "1024", "N", "connections of each of them"),
    ("method", str, "GET", "METHOD", "method; POST where there is a body"),
    ("header", str, "none", "LINE", "field line, in place of its own; may be repeated"),
    ("data", os.fsencode, "none", "TEXT", "body"),
    ("data-file", str, "none", "FILE", "file with the body"),
    ("chunked", None, "", "", "send the body in chunks"),
    ("expect", STATUSES, "200", "STATUS", "statuses that are a success, with commas"),
    ("timeout", AMOUNT, 60, "S", "seconds for a request"),
    ("connect-timeout", AMOUNT, 60, "S", "seconds for a connection"),
    ("no-keepalive", None, "", "", "open a connection for each request"),
    ("unix", str, "none", "PATH", "UNIX socket to connect to"),
    ("insecure", None, "", "", "accept any certificate"),
    ("pipeline", COUNT, 1, "N", "requests sent at once on a connection"),
    ("slow", SLOW, "none", "BYTES_PER_S", "send and read no faster; send:N or read:N slows one"),
    ("half-close", None, "", "", "shut the sending side down after a request"),
    ("abort-after", COUNT, "none", "BYTES", "reset the connection after so much of a response"),
    ("during", str, "none", "COMMAND", "run it in the shell after a third: are requests lost?"),
    ("debug", None, "", "", "send one request, and print every byte"),
    ("json", None, "", "", "print the summary as JSON"),
)


def parse_arguments(parser: argparse.ArgumentParser) -> Options:
    """Return the options, and what follows from them."""
    parser.add_argument("url", nargs="?", default=URL, metavar="URL", help=f"{URL_FORM} ({URL})")
    for name, kind, default, metavar, text in OPTIONS:
        action = "append" if name == "header" else "store" if kind else "store_true"
        details = {"type": kind, "metavar": metavar} if kind else {}
        value: Any = [] if name == "header" else default if isinstance(default, int) else None
        help_text = f"{text} ({default})" if kind else text
        parser.add_argument(f"--{name}", action=action, default=value, help=help_text, **details)
    options = parser.parse_args()
    options.held = options.max_clients or options.max_conns
    if options.held and (options.requests or options.processes or options.connections != 50):
        parser.error("--max-clients, --max-conns: without --requests, --connections and --processes")
    if options.held:
        options.hold, options.processes = True, options.max_clients or 1
        options.connections = options.processes * (options.max_conns or 1024)
    if options.debug:
        options.requests = options.pipeline = 1
    elif options.hold:
        options.requests = options.connections * options.pipeline
    elif not options.requests:
        options.requests = sys.maxsize if options.duration else 200
    options.connections = min(options.connections, options.requests)
    options.processes = min(options.processes or os.cpu_count() or 1, options.connections)
    options.expect = options.expect or ([] if options.held else ["200"])
    way, _, rate = (options.slow or "0").rpartition(":")
    options.tick_s = max(TICK_S, 1 / (int(rate) or NEVER))
    block = int(int(rate) * options.tick_s + 1e-6)  # of a tick; 20 * 0.05 may be less than 1
    options.slow_send, options.slow_read = (0 if way == other else block for other in ("read", "send"))
    return options


def prepare(options: Options) -> None:
    """Add what the URL means: TLS context, addresses and the request. Raises OSError, ValueError."""
    host_and_port = r"((\[[0-9A-F:.]+\]|[A-Z0-9\-._~%!$&'()*+,;=]+)(?::([0-9]{1,5}))?)"
    match = re.fullmatch(rf"(https?)://{host_and_port}(/[!\"$-~]*)?(?:#.*)?", options.url, re.IGNORECASE)
    if not match or not 0 < int(match[4] or 80) < 65536:
        raise ValueError(f"a URL is {URL_FORM}, not {options.url!a}")
    scheme, authority, host, port, path = match.groups()
    options.host = host.strip("[]")
    options.tls = ssl.create_default_context() if scheme.lower() == "https" else None
    if options.tls and options.insecure:
        options.tls.check_hostname, options.tls.verify_mode = False, ssl.CERT_NONE
    options.addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", options.unix)] if options.unix else (
        socket.getaddrinfo(options.host, port or (443 if options.tls else 80), type=socket.SOCK_STREAM))
    body = open(options.data_file, "rb").read() if options.data_file else options.data
    options.method = options.method or ("GET" if body is None else "POST")
    fields = {"host": f"Host: {authority}"}
    if options.no_keepalive:
        fields["connection"] = "Connection: close"
    if body is not None and options.chunked:
        fields["transfer-encoding"] = "Transfer-Encoding: chunked"
        chunks = [body[at : at + BLOCK_BYTES] for at in range(0, len(body), BLOCK_BYTES)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    elif body is not None:
        fields["content-length"] = f"Content-Length: {len(body)}"
    for line in options.header:
        fields.pop(line.partition(":")[0].lower(), None)
    lines = [f"{options.method} {path or '/'} HTTP/1.1", *fields.values(), *options.header, "", ""]
    options.request = os.fsencode("\r\n".join(lines)) + (body or b"")


def main() -> int:
    usage = "usage: client.py [option]... [URL]"  # as a description, for what is wrong takes one line alone
    parser = argparse.ArgumentParser("client.py", argparse.SUPPRESS, usage, allow_abbrev=False)
    options = parse_arguments(parser)
    try:
        prepare(options)
        needed = -(-options.connections // options.processes)  # of a process; and of the parent:
        needed += PROCESS_DESCRIPTORS * options.processes + SPARE_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= hard < needed:
            raise ValueError(f"{needed} descriptors are needed, {hard} allowed (ulimit -Hn)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        reports, interrupted = run_processes(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that stops early, such as head, has seen enough
    status = summarize(reports, options)
    return 130 if interrupted else status


if __name__ == "__main__":
    sys.exit(main())
