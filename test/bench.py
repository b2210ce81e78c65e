"""Hold the server against its peers and against a yardstick, side by side, on this machine.

    BENCH="hello flask" ROUNDS=5 SECONDS_EACH=2 python bench.py     prints tables and verdicts of these rows

Every server of a table runs at once and is measured in turn, round after round; a ratio is of one round's
figures, ours over its, and shown as the median (least..most). The yardstick is what Python costs at least: a bare
epoll loop that answers anything with the same bytes; the fork yardstick does so in a process for each connection.
CPU is that of all processes of a server, reaped ones included, for each request that was answered.

The peers are installed in .tools/bench, for the Python that runs this file: it also runs webserver.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import resource
import select
import signal
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, NoReturn, Tuple

import bench_apps
from bench_heads import HEAD
from bench_servers import HINTS, HOST, OURS, PEERS, TEST, Failed, Place, Server, install, run, versions

ROUNDS = max(1, int(os.environ.get("ROUNDS") or 5))
SECONDS_EACH = max(1, int(os.environ.get("SECONDS_EACH") or 2))
IDLE, BUSY = 10_000, 1_000
FILES = IDLE + BUSY + 1000  # open at once in one process
LOW = ("cpu", "p99", "memory")  # less is better
TITLES = {"rate": "req/s", "cpu": "CPU us/request", "p99": "p99 ms", "memory": "bytes each"}

# A line for us, whatever else wrk prints.
LUA = """done = function(summary, latency)
    local e = summary.errors
    io.write(string.format("\\nbench %d %d %d %d %d\\n", summary.requests, summary.duration, summary.bytes,
        latency:percentile(99), e.status + e.connect + e.timeout))
end
"""


class Must(NamedTuple):
    """Our figure over that of `peer`, a server or `every peer`, has this bound; without a peer, our figure has."""

    metric: str
    peer: str
    bound: float
    word: str = "must"


class Table(NamedTuple):
    """Servers of one application under one load; the ratios are of the first, which is ours, to the others."""

    title: str
    app: str
    kinds: Tuple[str, ...]
    musts: Tuple[Must, ...]
    workers: int = 1  # 0 is our fork mode
    close: bool = False  # a connection for each request
    varied: bool = False  # a head of 1 kB, each time another
    clients: int = 32
    how: str = "compare"  # the method of Bench that measures
    idle: int = 0  # connections that only wait


ROWS: Dict[str, List[Table]] = {
    "hello": [
        Table("hello, kept alive, one process", "hello", (OURS, "yardstick", "bjoern"),
              (Must("cpu", "yardstick", 1.5), Must("cpu", "yardstick", 1.2, "aim"), Must("cpu", "bjoern", 1, "aim"))),
        Table("hello, kept alive, 2 workers", "hello", (OURS, *PEERS),
              (Must("rate", "granian", 1), Must("rate", "gunicorn", 10), Must("rate", "bjoern", 1, "aim")), 2),
    ],
    "close": [
        Table("hello, a connection each, one process", "hello", (OURS, "yardstick"),
              (Must("rate", "yardstick", 0.9),), close=True),
        Table("hello, a connection each, 2 workers", "hello", (OURS, *PEERS),
              (Must("rate", "gunicorn", 2.5), Must("rate", "granian", 1, "aim")), 2, close=True),
    ],
    "flask": [
        Table("Flask's JSON, kept alive, 2 workers", "flask", (OURS, *PEERS),
              (Must("rate", "uwsgi", 1), Must("rate", "granian", 1.2), Must("rate", "bjoern", 1.2),
               Must("rate", "gunicorn", 2), Must("rate", "granian", 1.5, "aim")), 2),
    ],
    "file": [  # one at a time: where several fill a receiver, the kernel tidies in the sender's time
        Table("a file of 100 MB by wsgi.file_wrapper, one process", "file",
              (OURS, "nginx", "gunicorn sync", "uwsgi"), (Must("cpu", "nginx", 1.5),), clients=1),
    ],
    "body": [Table("1 MB in, 2 workers", "body", (OURS, *PEERS), (Must("rate", "every peer", 1),), 2)],
    "stream": [Table("1 MB out, by 16 kB, 2 workers", "stream", (OURS, *PEERS), (Must("rate", "every peer", 1),), 2)],
    "heads": [
        Table("heads of 1 kB, each another, read in process", "", (OURS, "h11"), (Must("cpu", "h11", 0.5),),
              how="read_heads"),
        Table("heads of 1 kB, each another, 2 workers", "hello", (OURS, "granian", "bjoern"),
              (Must("rate", "granian", 1),), 2, varied=True),
    ],
    "idle": [
        Table(f"memory of each of {IDLE} idle connections, one worker", "hello", (OURS, "granian", "bjoern"),
              (Must("memory", "", 4000),), how="weigh_idle", idle=IDLE),
    ],
    "busy": [
        Table(f"{BUSY} busy connections among {IDLE} idle, and alone, one worker", "hello", (OURS, "none idle"),
              (Must("p99", "none idle", 1.3),), clients=BUSY, idle=IDLE),
    ],
    "fork": [
        Table("hello, kept alive, a process each", "hello", (OURS, "fork yardstick"),
              (Must("rate", "fork yardstick", 0.65),), 0),
        Table("hello, a connection and a process each", "hello", (OURS, "fork yardstick"),
              (Must("rate", "fork yardstick", 0.7),), 0, close=True),
    ],
}  # fmt: skip


# ---- loads ------------------------------------------------------------------------------------


def hold_idle(stack: contextlib.ExitStack, port: int, count: int) -> List[socket.socket]:
    """Return connections that have each had one answer, which `stack` closes. Their addresses are several, for ports
    are few. Raises Failed."""
    held = []
    for number in range(count):
        source = (f"127.0.0.{1 + number % 4}", 0) if sys.platform == "linux" else None
        try:
            client = stack.enter_context(socket.create_connection((HOST, port), 10, source))
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = more = client.recv(4096)
            while more and not data.endswith(b"Hello, World!\n"):
                more = client.recv(4096)
                data += more
        except OSError as error:
            raise Failed(f"idle connection {number + 1}: {error}") from None
        held.append(client)
    return held


def expect_open(held: List[socket.socket]) -> None:
    """Check that the server keeps the connections that are idle. Raises Failed."""
    poll = select.poll()
    for client in held:
        poll.register(client, select.POLLIN)
    closed = len(poll.poll(0))
    if closed:
        raise Failed(f"it closed {closed} idle connections")


def lua(table: Table) -> str:
    """Return the script that has wrk send what the table asks for, and print what we read."""
    if table.varied:
        before, after = map(json.dumps, HEAD.split("@"))
        return LUA + f"n = 10000000\nrequest = function() n = n + 1; return {before} .. n .. {after} end\n"
    if table.app == "body":
        return LUA + f'wrk.method = "POST"\nwrk.body = string.rep("x", {bench_apps.BODY_BYTES})\n'
    return LUA


# ---- measuring: round after round, side by side -------------------------------------------------

Sample = Dict[str, float]  # figures of one round
Samples = Dict[str, List[Sample]]  # for each server


class Bench:
    """A run: where the servers are, who is missing, and the verdicts so far."""

    def __init__(self, python: str, missing: Dict[str, str], folder: str) -> None:
        # Servers take options from the environment, too.
        foreign = re.compile("WEB_CONCURRENCY|FORWARDED_ALLOW_IPS|(GUNICORN|GRANIAN|UWSGI|FLASK|PYTHON).*")
        environ = {name: value for name, value in os.environ.items() if not foreign.fullmatch(name)}
        os.environ["FILE"] = environ["FILE"] = str(Path(folder, "file"))
        environ["PYTHONPATH"] = str(TEST)
        self.place = Place(python, folder, environ)
        self.missing = missing
        self.versions = versions(python)
        self.notes: Dict[str, str] = {}  # what is odd about a server of this table
        self.verdicts: List[str] = []

    def hindrance(self, table: Table) -> str:
        """Return why a table cannot be measured here, "" if it can."""
        if table.how == "compare" and not self.versions["wrk"]:
            return "the load comes from wrk, which is missing: " + HINTS["wrk"]
        if table.app == "flask" and "flask" in self.missing:
            return "Flask is missing: " + self.missing["flask"]
        files, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], FILES if table.idle else 0
        if files < needed:
            return f"it takes {needed} open files in a process, and {files} are allowed here: see ulimit -Hn"
        return ""

    def measure(self, table: Table) -> None:
        """Measure the servers of a table, and print what came of it."""
        say(f"\n{table.title}")
        why = self.hindrance(table)
        if why:
            say(f"  not measured: {why}")
            self.verdicts.append(f"{table.title}: not measured")
            return
        if table.app == "file":
            Path(os.environ["FILE"]).write_bytes(os.urandom(bench_apps.FILE_BYTES))
        missing = {kind: self.missing.get(kind.split()[0]) for kind in table.kinds}
        self.notes = {kind: f"missing: {why}" for kind, why in missing.items() if why}
        samples = getattr(self, table.how)(table, [kind for kind, why in missing.items() if not why])
        samples = {kind: found for kind, found in samples.items() if kind not in self.notes or found}
        show(table, samples, self.notes, self.versions)
        for must in table.musts:
            verdict = judge(must, table.kinds, samples)
            say(f"  {verdict}")
            self.verdicts.append(f"{table.title}: {verdict}")

    def start(self, stack: contextlib.ExitStack, kind: str, table: Table) -> Server:
        """Return a server that `stack` ends. Raises Failed."""
        name, options = kind.split()[0], ""
        if kind in (OURS, "none idle"):
            options = f"--workers {table.workers} " * (table.workers > 0) + "--keep-alive 900" * (table.idle > 0)
        elif name == "granian" and table.idle:
            options = f"--backpressure {2 * table.idle}"  # it takes no more connections than that
        elif name == "uwsgi":  # what keeps alive cannot stream
            options = "--http-socket" if table.app == "stream" else "--http11-socket"
        server = Server(self.place, kind, table.app, max(1, table.workers), table.close, options)
        return stack.enter_context(contextlib.closing(server))

    def compare(self, table: Table, kinds: List[str]) -> Samples:
        """Load the servers in turn, in each round another first."""
        Path(self.place.folder, "load.lua").write_text(lua(table))
        servers: Dict[str, Server] = {}
        held: List[socket.socket] = []
        samples: Samples = {}
        seconds = SECONDS_EACH * 3 if table.idle else SECONDS_EACH  # a p99 without the burst of connections at the start
        with contextlib.ExitStack() as stack:
            for kind in kinds:
                with self.noting(kind, servers):
                    servers[kind] = self.start(stack, kind, table)
                    self.load(servers[kind], kind, table, 1)  # unmeasured
                    samples[kind] = []
                    if table.idle and kind == OURS:
                        held = hold_idle(stack, servers[kind].port, table.idle)
            for number in range(ROUNDS):
                order = list(servers)
                first = number % max(1, len(order))
                for kind in order[first:] + order[:first]:
                    with self.noting(kind, servers, samples):
                        samples[kind].append(self.load(servers[kind], kind, table, seconds))
            with self.noting(OURS, servers, samples):
                expect_open(held)
        return samples

    @contextlib.contextmanager
    def noting(self, kind: str, *groups: Dict[str, Any]) -> Iterator[None]:
        """Note why a server failed, and take it out of the groups: a failed one is not measured."""
        try:
            yield
        except Failed as error:
            self.notes[kind] = f"not measured: {error}"
            for group in groups:
                group.pop(kind, None)

    def load(self, server: Server, kind: str, table: Table, seconds: int) -> Sample:
        """Return what a server does under a load of so many seconds. Raises Failed."""
        command = f"wrk -t1 -c{table.clients} -d{seconds}s --timeout 20s http://{HOST}:{server.port}/ -s".split()
        command += [f"{self.place.folder}/load.lua", *("-H", "Connection: close") * table.close]
        before = server.cpu_s()
        said = run(*command, timeout_s=seconds + 60)[1]
        time.sleep(0.1)  # the last children are reaped
        cpu_s = server.cpu_s() - before
        match = re.search(r"(?m)^bench (\d+) (\d+) (\d+) (\d+) (\d+)$", said)
        if not match:
            raise Failed(f"wrk says {said!r}")
        answers, microseconds, size, p99, errors = map(float, match.groups())
        if table.app == "file":
            answers = size / bench_apps.FILE_BYTES  # also of those under way
        if not answers:
            raise Failed("it answers nothing under load")
        if server.closes:
            self.notes[kind] = "closes each connection"
        if errors:
            self.notes[kind] = f"{errors:.0f} errors in one round"
        sample = {"rate": answers / microseconds * 1e6, "cpu": cpu_s / answers * 1e6}
        return {"p99": p99 / 1000, **sample} if table.idle else sample

    def read_heads(self, _table: Table, kinds: List[str]) -> Samples:
        """Have each parser read the same heads, in a process of its own."""
        samples: Samples = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind in [kind for kind in kinds if kind in samples]:
                with self.noting(kind, samples):
                    status, said = run(self.place.python, str(TEST / "bench_heads.py"), kind)
                    if status:
                        raise Failed(said.strip().split("\n")[-1])
                    samples[kind].append({"cpu": float(said)})
        return samples

    def weigh_idle(self, table: Table, kinds: List[str]) -> Samples:
        """Have each server hold idle connections, a new one in each round: memory is seldom given back."""
        samples: Samples = {kind: [] for kind in kinds}
        for _ in range(min(ROUNDS, 3)):
            for kind in [kind for kind in kinds if kind in samples]:
                with self.noting(kind, samples), contextlib.ExitStack() as stack:
                    server = self.start(stack, kind, table)
                    with contextlib.ExitStack() as warm:
                        hold_idle(warm, server.port, 100)
                    before = server.memory()
                    held = hold_idle(stack, server.port, table.idle)
                    samples[kind].append({"memory": (server.memory() - before) / table.idle})
                    expect_open(held)
        return samples


# ---- report -------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def ratios(ours: List[Sample], theirs: List[Sample], metric: str) -> List[float]:
    """Return our figure over theirs for each round."""
    return [mine[metric] / (other[metric] or float("nan")) for mine, other in zip(ours, theirs)]


def spread(values: List[float]) -> str:
    """Return the median, and least..most."""
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 2
    return f"{middle:.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def judge(must: Must, kinds: Tuple[str, ...], samples: Samples) -> str:
    """Return what must be, what is, and whether that holds: against the hardest to beat where peers are several."""
    sign = "<=" if must.metric in LOW else ">="
    text = f"{must.word}: {TITLES[must.metric]} {sign} {must.bound:g}" + f" x {must.peer}" * bool(must.peer)
    peers = [kind for kind in kinds[1:] if must.peer in (kind, kind.split()[0], "every peer")]
    lost = [kind for kind in peers if kind not in samples]
    ours = samples.get(OURS)
    if not ours or (must.peer and len(lost) == len(peers)):
        return f"{text}: not measured"
    found = {kind: ratios(ours, samples[kind], must.metric) for kind in peers if kind in samples}
    if not must.peer:
        found = {OURS: [sample[must.metric] for sample in ours]}
    kind, figures = sorted(found.items(), key=lambda item: statistics.median(item[1]))[-(must.metric in LOW)]
    middle = statistics.median(figures)
    holds = middle <= must.bound if must.metric in LOW else middle >= must.bound
    text += f": {spread(figures)} {'yes' if holds else 'NO'}" + f", by {kind}" * (len(peers) > 1)
    return text + f"; not measured: {', '.join(lost)}" * bool(lost)


def show(table: Table, samples: Samples, notes: Dict[str, str], version: Dict[str, str]) -> None:
    """Print the table: what each server did, and our figure over its."""
    metrics = list(next(iter(samples.values()))[0]) if samples else []
    titles = "".join(f"{TITLES[metric]:25}{'ours/its':20}" for metric in metrics)
    say(f"  {'server':17}{'version':13}{titles}".rstrip())
    ours = samples.get(OURS)
    for kind in table.kinds:
        name = OURS if kind == "none idle" else kind.split()[0]
        line = f"  {kind:17}{version.get(name, ''):13}"
        for metric in metrics if kind in samples else []:
            ratio = spread(ratios(ours, samples[kind], metric)) if ours and kind != OURS else ""
            line += f"{spread([sample[metric] for sample in samples[kind]]):25}{ratio:20}"
        say((line + notes.get(kind, "")).rstrip())


def machine(cores: int) -> str:
    """Return what this machine is."""
    try:
        model = re.search(r"(?m)^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    name = model[1] if model else platform.processor() or platform.machine()
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return f"{name}, {os.cpu_count()} processors, {cores} of them used; {system}; load {os.getloadavg()[0]:.1f} before"


def prepare() -> int:
    """Allow many open files, and use two processors, where that can be; return how many processors are used."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for most in (hard, FILES):  # the second raises the hard limit, as root may
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, most))
            break
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cores)
    return len(cores)


def main() -> int:
    """Measure the rows that BENCH names, by default all."""
    rows = (os.environ.get("BENCH") or " ".join(ROWS)).split()
    unknown = [row for row in rows if row not in ROWS]
    if unknown:
        sys.stderr.write(f"BENCH: the rows are {', '.join(ROWS)}, not {', '.join(unknown)}\n")
        return 2
    tables = [table for row in rows for table in ROWS[row]]
    wanted = {kind.split()[0] for table in tables for kind in table.kinds}
    python, missing = install(wanted | {"flask" for table in tables if table.app == "flask"})
    cores = prepare()
    with tempfile.TemporaryDirectory(prefix="webserver-bench-") as folder:
        bench = Bench(python, missing, folder)
        say(machine(cores))
        interpreter = f"{platform.python_implementation()} {platform.python_version()}"
        wrk = bench.versions["wrk"] or "missing"
        say(f"{interpreter}, wrk {wrk}; {ROUNDS} rounds of {SECONDS_EACH} s each")
        for table in tables:
            bench.measure(table)
    say("\nsummary\n  " + "\n  ".join(bench.verdicts))
    return 0


def interrupt(_number: int, _frame: Any) -> NoReturn:
    """End as ^C does, and so end the servers."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
