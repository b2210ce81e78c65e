#!/usr/bin/env python3
"""Send an HTTP server many requests, or faulty ones on purpose, and report what came back.

    parent ---- fork ----> load process: one selector, one *conversation* per connection
      |  <----- link -----   every tick the Stats since the last one; end of file: done, or dead
      '----- lifeline ---->  end of file: all are done, or Ctrl-C, or the parent is dead

A conversation is a generator: connect, send, read the whole response, again. It reads straight down
and never blocks: it yields until what it waits for has come.
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
import itertools
import json
import math
import multiprocessing.connection
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
from bisect import bisect
from collections import Counter, defaultdict
from multiprocessing.context import ForkProcess
from typing import Any, Callable, Generator, TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]  # a part of a conversation, returning T
ERRORS = ("refused", "reset", "timed out", "malformed", "cut short", "failed")
READ, WRITE, NEVER = selectors.EVENT_READ, selectors.EVENT_WRITE, math.inf
NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Limits:
    process_descriptors = 3  # that the parent has for each: a link, and two of multiprocessing
    spare_descriptors = 32  # for streams, pipes, the selector, and what the shell left open
    part_bytes = 65536  # of a head, a chunk-size or a trailer field: more than servers and proxies send
    block_bytes = 65536  # of one read or write, and of a chunk
    slow_buffer_bytes = 4096  # what the kernel may read ahead of --slow
    tick_s = 0.05  # between reports to the parent; a pause after an error, and for late bytes at the end
    step_s = 0.0001  # of the sleep before a request that is due within a millisecond
    late_s = 0.01  # a request that is sent so long after it was due is late
    example_bytes = 60  # of what was malformed


# ---- transport: a socket, and the bytes that came on it; knows no HTTP -----------------------

class ExchangeError(Exception):
    """What ends an exchange early; the arguments are its kind, the reason, and the bytes that show it."""


class Connection:
    """One socket after another. What waits raises OSError, and ExchangeError at the deadline."""

    def __init__(self, options: Options, selector: selectors.BaseSelector) -> None:
        self.options, self.selector = options, selector
        self.sock: Any = None
        self.unread, self.ended = bytearray(), False  # bytes that came and are part of no response yet
        self.due_times: list[float] = []  # of the requests in flight, or of the next one
        self.allowance = options.pipeline if options.hold else NEVER  # requests that it may still take
        self.conversation: Any = None  # goes on at these events, or at this time
        self.events, self.wake_at = 0, 0.0
        self.awaited, self.deadline = "", NEVER
        self.sent, self.received, self.abort_at = 0, 0, NEVER  # bytes; abort_at: of those received

    def wait(self, events: int, seconds: float = NEVER) -> Steps[None]:
        """Wait for `events`, or `seconds`, and take what has come where READ is among them."""
        if self.events and self.events != events:
            self.selector.unregister(self.sock)
        if events and self.events != events:
            self.selector.register(self.sock, events, self)
        self.events, self.wake_at = events, min(self.deadline, time.monotonic() + seconds)
        if not (events & READ and self.options.tls and self.sock.pending()):  # decrypted bytes have no event
            yield
        if time.monotonic() >= self.deadline:
            raise ExchangeError("timed out", f"no {self.awaited} in time", b"")
        if events & READ:
            with contextlib.suppress(*NOT_READY):
                block = self.sock.recv(int(min(self.options.read_bytes, self.abort_at - self.received)))
                self.ended = not block
                self.unread += block
                self.received += len(block)
                self.show("<", block)

    def open(self) -> Steps[None]:
        """Connect to the first address that accepts."""
        self.awaited, self.deadline = "connection", time.monotonic() + self.options.connect_timeout
        for family, kind, protocol, _, address in self.options.addresses:
            self.close()
            self.sock = socket.socket(family, kind, protocol)
            self.sock.setblocking(False)
            if self.options.slow_read:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, Limits.slow_buffer_bytes)
            # No event tells that the backlog of a UNIX socket is no longer full.
            while (error := self.sock.connect_ex(address)) == errno.EAGAIN:
                yield from self.wait(0, Limits.tick_s)
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
        """Close the socket, if there is one, and drop what came on it."""
        if self.events:
            self.selector.unregister(self.sock)
        if self.sock:
            self.sock.close()
        self.sock, self.events, self.unread, self.ended = None, 0, bytearray(), False

    def show(self, mark: str, data: bytes) -> None:
        """Print every byte with --debug, by lines."""
        for line in data.splitlines(True) if self.options.debug else ():
            print(mark, ascii(line)[2:-1], flush=True)

    def send(self, data: bytes) -> Steps[bool]:
        """Send `data`; return False if a response or the end came before all was sent."""
        rest, rate = memoryview(data), self.options.slow_send
        while rest:
            try:
                count = self.sock.send(rest[: self.options.send_bytes])
            except NOT_READY:
                count = 0
            self.sent += count
            self.show(">", bytes(rest[:count]))
            rest = rest[count:]
            if rest:
                yield from self.wait(READ, count / rate) if rate else self.wait(READ | WRITE)
                if self.unread or self.ended:
                    return False
        return True

    def receive(self, part: str) -> Steps[bool]:
        """Wait for bytes; return False at the end. Raises ExchangeError at an end within this part."""
        if self.received >= self.abort_at:
            linger = array.array("i", (1, 0))  # not at all: a reset
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            raise ExchangeError("aborted", f"after {self.options.abort_after} bytes", b"")
        if self.options.slow_read:
            yield from self.wait(0, self.options.read_bytes / self.options.slow_read)
        received = self.received
        while self.received == received and not self.ended:
            yield from self.wait(READ)
        if self.ended and part:
            where = "before" if part == "head" and not self.unread else "in"
            raise ExchangeError("cut short", f"{where} the {part}", self.unread)
        return not self.ended

    def read_through(self, mark: bytes, part: str) -> Steps[bytes]:
        """Take the bytes through `mark`."""
        while (end := self.unread.find(mark, 0, Limits.part_bytes)) < 0:
            if len(self.unread) >= Limits.part_bytes:
                reason = f"no end of the {part} within {Limits.part_bytes} bytes"
                raise ExchangeError("malformed", reason, self.unread)
            yield from self.receive(part)
        taken = bytes(self.unread[: end + len(mark)])
        del self.unread[: len(taken)]
        return taken

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


def parse(part: str, rule: re.Pattern[bytes], data: bytes) -> re.Match[bytes]:
    """Return the groups of `rule` in `data`. Raises ExchangeError where it breaks the rule."""
    if match := rule.fullmatch(data):
        return match
    raise ExchangeError("malformed", f"not a {part}", data)


@functools.lru_cache(maxsize=16)  # most heads equal one that came before
def parse_head(data: bytes, bodiless: bool) -> tuple[str, bool, float]:
    """Return the status, whether another may follow, and the length of the body: NEVER, until the end."""
    head = parse("head", HEAD, data)
    status, http_1_0 = head[2].decode(), head[1] == b"0"
    fields: dict[bytes, list[bytes]] = defaultdict(list)
    for name, value in FIELD.findall(head[3]):  # a list may be split over several lines (RFC 9110 5.3)
        fields[name.lower()] += [item.strip(b" \t") for item in value.lower().split(b",")]
    tokens, codings, lengths = fields[b"connection"], fields[b"transfer-encoding"], fields[b"content-length"]
    persistent = b"close" not in tokens and (not http_1_0 or b"keep-alive" in tokens)  # RFC 9112 9.3
    two_ends = codings and (lengths or http_1_0 or b"chunked" in codings[:-1])  # RFC 9112 6.1, 6.3, 7.1
    if two_ends or len(set(lengths)) > 1 or (lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0])):
        raise ExchangeError("malformed", "two readings of where the body ends (RFC 9112 6)", data)
    length = CHUNKED if codings[-1:] == [b"chunked"] else int(lengths[0]) if lengths else NEVER
    if bodiless or status[0] == "1" or status in ("204", "304"):
        length = 0
    return status, persistent and length != NEVER, length


def skip_response(connection: Connection, bodiless: bool) -> Steps[tuple[str, bool]]:
    """Read a response; return its status and whether another may follow."""
    status, length = "1", 0.0
    while status[0] == "1":  # interim: the final response is still to come (RFC 9110 15.2)
        head = yield from connection.read_through(b"\r\n\r\n", "head")
        status, persistent, length = parse_head(head, bodiless)
    if length != CHUNKED:
        yield from connection.skip(length)
        return status, persistent
    size = -1
    while size:  # RFC 9112 7.1
        line = yield from connection.read_through(b"\r\n", "chunk-size")
        size = int(parse("chunk-size", CHUNK_LINE, line)[1], 16)
        yield from connection.skip(size)
        if size:
            parse("chunk end", CHUNK_END, (yield from connection.read_through(b"\r\n", "chunk")))
    while line != b"\r\n":
        line = yield from connection.read_through(b"\r\n", "trailer section")
        parse("trailer field", TRAILER, line)
    return status, persistent


# ---- load: what one process sends, all its conversations on one selector ---------------------

SYSTEM_ERRORS = {errno.ECONNREFUSED: "refused", errno.ENOENT: "refused", errno.ETIMEDOUT: "timed out",
                 errno.ECONNRESET: "reset", errno.EPIPE: "reset", errno.ENOTCONN: "reset"}


class Stats:
    """What became of requests: in one process since its last report, and in the parent of all."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()  # by kind, and status or reason
        self.totals: Counter[str] = Counter()  # by the names that --json prints
        self.examples: dict[str, str] = {}  # the first error of each kind
        self.latencies = array.array("f")  # seconds, in 4 bytes a request
        self.seconds = 0.0  # until the last outcome

    def add(self, other: Stats) -> None:
        """Add those of a report."""
        self.counts.update(other.counts)
        self.totals.update(other.totals)
        self.examples = {**other.examples, **self.examples}
        self.latencies.extend(other.latencies)
        self.seconds = max(self.seconds, other.seconds)

    def count(self, *kinds: str) -> int:
        """Return how many requests ended so."""
        return sum(n for (kind, _), n in self.counts.items() if kind in kinds)


class LoadProcess:
    """One process: its connections, and its share of the requests."""

    def __init__(self, options: Options, index: int, started: float) -> None:
        self.options, self.started, self.stats = options, started, Stats()
        self.interval = options.processes / options.rate if options.rate else 0.0
        self.next_due = started + index / options.rate if options.rate else 0.0  # 0: at any time
        count = len(range(index, options.connections, options.processes))
        requests = len(range(index, options.requests, options.processes))
        self.unsent = count * options.pipeline if options.hold else requests
        self.selector = selectors.DefaultSelector()
        self.connections = [Connection(options, self.selector) for _ in range(count)]

    def run(self, link: Any, lifeline: int) -> None:
        """Run the conversations, and report every tick, until all have ended or are cut."""
        self.selector.register(lifeline, READ)
        for connection in self.connections:
            connection.conversation = self.converse(connection)
        deadline = self.started + (self.options.duration or NEVER)
        linger_s = NEVER if self.options.hold and self.options.duration else Limits.tick_s
        wake_at, next_tick, done_at, interrupted, ended = 0.0, 0.0, NEVER, False, False
        while not ended:
            # Most selectors round up to milliseconds: the last one before a request passes in small steps.
            delay = max(0.0, wake_at - time.monotonic())
            if delay < 0.001:
                time.sleep(min(delay, Limits.step_s))
            for key, _ in self.selector.select(max(0.0, delay - 0.001)):
                if key.data:
                    next(key.data.conversation)
                else:
                    interrupted = True
            now = time.monotonic()
            for connection in self.connections:
                if connection.wake_at <= now:
                    next(connection.conversation)
            if not self.unsent and not any(connection.due_times for connection in self.connections):
                done_at = min(done_at, now)
            ended = interrupted or now >= min(deadline, done_at + linger_s)
            if ended:
                self.count_rest(min(now, deadline, done_at), interrupted)
            if ended or now >= next_tick:
                next_tick = now + Limits.tick_s
                with contextlib.suppress(BrokenPipeError):  # if the parent is dead, the lifeline ends
                    link.send(self.stats)
                self.stats = Stats()
            wake_at = min(next_tick, *(connection.wake_at for connection in self.connections))

    def count_rest(self, now: float, interrupted: bool) -> None:
        """Count what the end has cut, and the totals."""
        totals, used = self.stats.totals, resource.getrusage(resource.RUSAGE_SELF)
        cut = sum(due <= now for connection in self.connections for due in connection.due_times)
        if interrupted:
            self.stats.counts["failed", "interrupted"] += cut
        else:
            overdue = (now - self.next_due) // self.interval + 1 if self.interval else 0
            totals["cut_by_deadline"] = cut + max(0, min(self.unsent, int(overdue)))
        self.stats.seconds = now - self.started
        totals["cpu_us"] = round(1e6 * (used.ru_utime + used.ru_stime))
        for connection in self.connections:
            totals.update(bytes_sent=connection.sent, bytes_received=connection.received)

    def converse(self, connection: Connection) -> Steps[None]:
        """Send and read without end, on a new socket where the last has ended."""
        due_times = connection.due_times
        while True:
            connection.deadline, now = NEVER, time.monotonic()
            self.take(connection, now)
            try:
                if due_times and due_times[0] <= now:
                    yield from self.exchange(connection)
                    continue
                next_s = due_times[0] - now if due_times else NEVER
                yield from connection.wait(READ if connection.sock else 0, next_s)
                if connection.unread:
                    raise ExchangeError("malformed", "a response without a request", connection.unread)
                if connection.ended:
                    connection.close()
            except (OSError, ExchangeError) as error:
                in_flight = [due for due in due_times if due <= now]
                self.fail(error, len(in_flight))
                del due_times[: len(in_flight)]
                connection.close()
                connection.deadline = NEVER
                yield from connection.wait(0, Limits.tick_s)

    def take(self, connection: Connection, now: float) -> None:
        """Add requests that are due, or the next, to those that a closing server left (RFC 9112 9.6)."""
        room = min(self.options.pipeline - len(connection.due_times), connection.allowance, self.unsent)
        while room and (self.next_due <= now or not connection.due_times):
            connection.due_times.append(self.next_due or now)
            self.next_due += self.interval
            self.unsent, connection.allowance, room = self.unsent - 1, connection.allowance - 1, room - 1

    def exchange(self, connection: Connection) -> Steps[None]:
        """Send the requests in hand, and read a response to each."""
        options, due_times, now = self.options, connection.due_times, time.monotonic()
        if options.rate:
            self.stats.totals["sent_late"] += sum(now - due > Limits.late_s for due in due_times)
        if not connection.sock:
            yield from connection.open()
        connection.awaited = "whole response"
        connection.deadline = options.timeout + (self.started if options.held else time.monotonic())
        connection.abort_at = connection.received + (options.abort_after or NEVER)
        whole = yield from connection.send(options.request * len(due_times))
        if options.half_close:
            connection.sock.shutdown(socket.SHUT_WR)
        while due_times:
            status, persistent = yield from skip_response(connection, options.method == "HEAD")
            latency, last = time.monotonic() - due_times[0], len(due_times) == 1
            ends = not persistent or (last and (not whole or options.half_close or options.no_keepalive))
            if ends and whole and not options.hold and not connection.unread:
                with contextlib.suppress(ConnectionResetError):  # an end as well, after a whole response
                    yield from connection.receive("")
            if connection.unread and (ends or last):
                raise ExchangeError("malformed", "more than the response", connection.unread)
            del due_times[0]
            self.stats.latencies.append(latency)
            self.stats.counts["answered", status] += 1
            if ends and (due_times or not options.hold):
                return connection.close()
        return None

    def fail(self, error: OSError | ExchangeError, count: int) -> None:
        """Count an error for so many requests, and keep the first of its kind."""
        if isinstance(error, OSError):
            kind = SYSTEM_ERRORS.get(error.errno or 0, "failed")
            error = ExchangeError(kind, str(error.strerror or error) if kind == "failed" else "", b"")
        kind, reason, data = error.args
        # A server may end an idle connection in any way, but send no response without a request.
        if count := count or int(kind == "malformed"):
            self.stats.counts[kind, reason] += count
            shown = ascii(bytes(data[: Limits.example_bytes]))[1:] if data else ""
            after = f", after {time.monotonic() - self.started:.3f} s"
            self.stats.examples.setdefault(kind, f"{reason or kind} {shown}".rstrip() + after)


def run_in_child(link: Any, lifeline: int, others: list[Any], *share: Any) -> None:
    """Run one process, and hold what is open until all are done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    for other in others:
        other.close()  # the parent alone may have these ends
    LoadProcess(*share).run(link, lifeline)
    link.close()
    os.read(lifeline, 1)  # until its end


# ---- parent: the processes, and what they report ---------------------------------------------

def run_processes(options: Options) -> tuple[Stats, dict[str, Any], bool]:
    """Fork the processes and follow them; return their stats, those of --during, and if Ctrl-C came."""
    started, stats, command = time.monotonic(), Stats(), None
    lifeline, end = os.pipe()
    anchor = open(end, "wb", buffering=0)  # a file, unlike a descriptor, may be closed twice
    signal.signal(signal.SIGINT, lambda *_: anchor.close())
    links: list[Any] = []
    for index in range(options.processes):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        links.append(ours)
        args = (theirs, lifeline, [anchor, *links], options, index, started)
        with theirs:
            ForkProcess(target=run_in_child, args=args, daemon=True).start()
    processes = multiprocessing.active_children()
    while links:
        for link in multiprocessing.connection.wait(links):
            try:
                stats.add(link.recv())  # type: ignore[union-attr, arg-type, call-arg]
            except (EOFError, OSError):  # done, or dead in the middle of a message
                links.remove(link)
        took_s, errors = time.monotonic() - started, stats.count(*ERRORS)
        done = len(stats.latencies) + errors
        progress = min(1.0, max(done / options.requests, took_s / (options.duration or NEVER)))
        if options.during and not command and progress >= 1 / 3:
            command = subprocess.Popen(options.during, shell=True, stdout=sys.stderr)
        if sys.stderr.isatty():
            line = f"\r[{'#' * int(30 * progress):30}] {done} done, {done / took_s:,.0f}/s, {errors} errors "
            print(line, end="" if links else "\r\33[K", file=sys.stderr, flush=True)
    during = {"command": options.during, "outlasted": command.poll() is not None} if command else {}
    interrupted = anchor.closed
    anchor.close()
    for process in processes:
        process.join()
    if dead := sum(process.exitcode != 0 for process in processes):
        missing = options.requests - done - stats.count("aborted")
        lost = dead * options.connections // options.processes if options.duration else missing
        stats.counts["failed", "the process died"] += lost
    if command:
        during.update(status=command.wait(), lost=stats.count(*ERRORS))
    return stats, during, interrupted


# ---- summary: for people and for scripts -----------------------------------------------------

def summarize(stats: Stats, during: dict[str, Any]) -> dict[str, Any]:
    """Return all of it by name, as --json prints it; times are in seconds."""
    ordered, totals = sorted(stats.latencies), stats.totals
    parts = {"fastest": 0, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "99.9 %": 0.999, "slowest": 1}
    latency = {name: ordered[math.ceil(part * (len(ordered) - 1))] for name, part in parts.items() if ordered}
    if ordered:
        latency["average"] = sum(ordered) / len(ordered)
    bounds = [n * 10.0**power for power in range(-7, 5) for n in (1, 2, 5)]
    return {
        "answered": len(ordered),
        "errors": {kind: stats.count(kind) for kind in ERRORS},
        "aborted": stats.count("aborted"),
        "seconds": stats.seconds,
        "per_second": len(ordered) / (stats.seconds or NEVER),
        **{name: totals[name] for name in ("bytes_sent", "bytes_received", "cut_by_deadline", "sent_late")},
        "cpu_seconds": totals["cpu_us"] / 1e6,
        "statuses": {status: n for (kind, status), n in sorted(stats.counts.items()) if kind == "answered"},
        "examples": stats.examples,
        "during": during or None,
        "latency": latency,
        "histogram": Counter(f"{bounds[bisect(bounds, took) - 1]:g}" for took in ordered),
    }


def print_summary(summary: dict[str, Any], stats: Stats, held: bool) -> None:
    """Print the outcomes, and of a load also its rate, bytes, latencies and first errors."""
    kinds = {"answered": summary["answered"], **summary["errors"]}
    print(", ".join(f"{n} {kind}" for kind, n in kinds.items()) + f" in {summary['seconds']:.2f} s")
    for (kind, detail), n in sorted(stats.counts.items()):
        if detail and n and set(stats.counts) != {("answered", "200")}:
            print(f"{n:6} {kind}: {detail}")
    if during := summary["during"]:
        when = "" if during["outlasted"] else ", but the load ended first"
        what = f"exit status {during['status']}, {during['lost'] or 'no'} requests lost"
        print(f"during: {during['command']}: {what}{when}")
    if held:
        return
    sizes = f"{summary['bytes_sent']:,} bytes sent, {summary['bytes_received']:,} received"
    print(f"{summary['per_second']:,.0f} a second, {sizes}, {summary['cpu_seconds']:.2f} s of own CPU time")
    if summary["latency"]:
        print("ms: " + ", ".join(f"{name} {took * 1000:.3g}" for name, took in summary["latency"].items()))
    for bound, n in summary["histogram"].items():
        bar = "#" * math.ceil(50 * n / max(summary["histogram"].values()))
        print(f"{float(bound) * 1000:9g} ms on {n:9} {bar}")
    for name in ("cut_by_deadline", "sent_late"):
        if summary[name]:
            print(f"{summary[name]:6} {name.replace('_', ' ')}")
    for kind, example in summary["examples"].items():
        print(f"first {kind}: {example}")


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
METHOD = matching(rf"(?!CONNECT$){TOKEN.decode()}", "a method that can be sent")
FIELD_LINE = matching(rf"{TOKEN.decode()}:[^\r\n\0]*", "NAME: VALUE")
STATUSES = matching("[1-5][0-9]{2}(,[1-5][0-9]{2})*", "a list of statuses", lambda text: text.split(","))
SLOW = matching("((send|read):)?[1-9][0-9]{0,8}", "[send:|read:]BYTES_PER_S")
HELD = "in place of a load: connections held open, any status is a success"
OPTIONS: tuple[tuple[str, str, Any, Any, str, str], ...] = (  # group, name, type, default, metavar, meaning
    ("load", "requests", COUNT, 200, "N", "requests in all; unlimited with --duration"),
    ("load", "connections", COUNT, 50, "C", "connections open at once"),
    ("load", "duration", AMOUNT, "none", "S", "seconds after which it stops"),
    ("load", "rate", AMOUNT, "none", "R", "requests a second; latency counts from when one was due"),
    ("load", "processes", COUNT, "processors", "N", "load processes, an event loop each"),
    ("load", "hold", None, "", "", "send one --pipeline on each connection, keep all open until the end"),
    (HELD, "max-clients", COUNT, 1, "N", "processes"),
    (HELD, "max-conns", COUNT, 1024, "N", "connections of each process"),
    ("request", "method", METHOD, "GET", "METHOD", "method; POST where there is a body"),
    ("request", "header", FIELD_LINE, "none", "LINE", "field line, in place of its own; may be repeated"),
    ("request", "data", os.fsencode, "none", "TEXT", "body"),
    ("request", "data-file", str, "none", "FILE", "file with the body"),
    ("request", "chunked", None, "", "", "send the body in chunks"),
    ("request", "expect", STATUSES, "200", "STATUS", "statuses that are a success, with commas"),
    ("connection", "timeout", AMOUNT, 60, "S", "seconds for a request; with --max-conns for all of it"),
    ("connection", "connect-timeout", AMOUNT, 60, "S", "seconds for a connection"),
    ("connection", "no-keepalive", None, "", "", "open a connection for each request"),
    ("connection", "unix", str, "none", "PATH", "UNIX socket to connect to"),
    ("connection", "insecure", None, "", "", "accept any certificate"),
    ("faults", "pipeline", COUNT, 1, "N", "requests sent at once on a connection"),
    ("faults", "slow", SLOW, "none", "BYTES_PER_S", "send and read no faster; send:N or read:N slows one"),
    ("faults", "half-close", None, "", "", "shut the sending side down after a request"),
    ("faults", "abort-after", COUNT, "none", "BYTES", "reset the connection after so much of a response"),
    ("report", "during", str, "none", "COMMAND", "run it in the shell after a third: are requests lost?"),
    ("report", "debug", None, "", "", "send one request, and print every byte"),
    ("report", "json", None, "", "", "print the summary as JSON"),
)


def parse_arguments(parser: argparse.ArgumentParser) -> Options:
    """Return the options, and what follows from them."""
    options = Options(url="http://localhost:8888/")
    parser.add_argument("url", nargs="?", metavar="URL", help=f"http[s]://HOST[:PORT][/PATH] ({options.url})")
    for title, rows in itertools.groupby(OPTIONS, key=lambda row: row[0]):
        group = parser.add_argument_group(title)
        for _, name, kind, default, metavar, text in rows:
            setattr(options, name.replace("-", "_"), default if isinstance(default, int) else None)
            action = "append" if name == "header" else "store" if kind else "store_true"
            details = {"type": kind, "metavar": metavar} if kind else {}
            help_text = f"{text} ({default})" if kind else text
            group.add_argument(f"--{name}", action=action, help=help_text, **details)
    given = vars(parser.parse_args())
    vars(options).update(given)
    options.held = "max_clients" in given or "max_conns" in given
    if options.held:
        if not given.keys().isdisjoint(name for group, name, *_ in OPTIONS if group == "load"):
            parser.error("--max-clients and --max-conns replace the options of a load, --requests to --hold")
        options.hold, options.processes, options.connect_timeout = True, options.max_clients, options.timeout
        options.connections = options.max_clients * options.max_conns
    if options.debug:
        options.requests = options.pipeline = 1
    elif options.hold:
        options.requests = options.connections * options.pipeline
    elif options.duration and "requests" not in given:
        options.requests = sys.maxsize
    options.connections = min(options.connections, options.requests)
    options.processes = min(options.processes or os.cpu_count() or 1, options.connections)
    options.expect = options.expect or ([] if options.held else ["200"])
    way, _, rate = (options.slow or "0").rpartition(":")
    options.slow_send, options.slow_read = (0 if way == other else int(rate) for other in ("read", "send"))
    options.send_bytes, options.read_bytes = (
        max(1, int(rate * Limits.tick_s)) if rate else Limits.block_bytes
        for rate in (options.slow_send, options.slow_read))
    return options


def resolve_target(options: Options) -> None:
    """Add the addresses of the URL, its TLS context, and the request. Raises OSError, ValueError."""
    host_and_port = r"((\[[0-9A-F:.]+\]|[A-Z0-9\-._~%!$&'()*+,;=]+)(?::([0-9]{1,5}))?)"
    match = re.fullmatch(rf"(https?)://{host_and_port}(/[!\"$-~]*)?(?:#.*)?", options.url, re.IGNORECASE)
    if not match or not 0 < int(match[4] or 80) < 65536:
        raise ValueError(f"a URL is http[s]://HOST[:PORT][/PATH], not {options.url!a}")
    scheme, authority, host, port, path = match.groups()
    options.host = host.strip("[]")
    options.tls = ssl.create_default_context() if scheme.lower() == "https" else None
    if options.tls and options.insecure:
        options.tls.check_hostname, options.tls.verify_mode = False, ssl.CERT_NONE
    if options.tls and options.half_close:
        raise ValueError("--half-close: not with https, for TLS ends both sides")
    options.request = build_request(options, authority, path or "/")
    options.addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", options.unix)]
    if not options.unix:
        port = port or (443 if options.tls else 80)
        options.addresses = socket.getaddrinfo(options.host, port, type=socket.SOCK_STREAM)


def build_request(options: Options, authority: str, target: str) -> bytes:
    """Return the request, and add its method. Raises OSError."""
    body = options.data
    if options.data_file:
        with open(options.data_file, "rb") as file:
            body = file.read()
    options.method = options.method or ("GET" if body is None else "POST")
    fields = {"host": f"Host: {authority}"}
    if options.no_keepalive:
        fields["connection"] = "Connection: close"
    if body is not None and options.chunked:
        fields["transfer-encoding"] = "Transfer-Encoding: chunked"
        chunks = [body[at : at + Limits.block_bytes] for at in range(0, len(body), Limits.block_bytes)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    elif body is not None:
        fields["content-length"] = f"Content-Length: {len(body)}"
    for line in options.header or ():
        fields.pop(line.partition(":")[0].lower(), None)
    lines = [f"{options.method} {target} HTTP/1.1", *fields.values(), *(options.header or ()), "", ""]
    return os.fsencode("\r\n".join(lines)) + (body or b"")


def allow_descriptors(count: int) -> None:
    """Have the soft limit be so much, and some to spare. Raises OSError, ValueError."""
    count += Limits.spare_descriptors
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ValueError(f"{count} descriptors are needed, {hard} allowed (ulimit -Hn)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def main() -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        "client.py", argparse.SUPPRESS, "usage: client.py [option]... [URL]",
        allow_abbrev=False, argument_default=argparse.SUPPRESS)
    options = parse_arguments(parser)
    try:
        resolve_target(options)
        per_process = -(-options.connections // options.processes)
        allow_descriptors(per_process + Limits.process_descriptors * options.processes)
        stats, during, interrupted = run_processes(options)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    summary = summarize(stats, during)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a reader that stops early, such as head, has seen enough
    if options.json:
        print(json.dumps(summary, indent=2))
    else:
        print_summary(summary, stats, options.held)
    if interrupted:
        return 130
    unexpected = options.expect and set(summary["statuses"]) - set(options.expect)
    nothing = not summary["answered"] and not summary["aborted"]
    return 1 if nothing or unexpected or stats.count(*ERRORS) or during.get("status") else 0


if __name__ == "__main__":
    sys.exit(main())
