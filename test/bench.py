"""Hold the server against its peers and against a yardstick, side by side, on this machine.

    BENCH="hello flask" ROUNDS=5 SECONDS_EACH=2 python bench.py     prints tables and verdicts of these rows

Every server of a table runs at once and is measured in turn, round after round; a ratio is of one round's
figures, ours over its, and shown as the median (quartiles). The yardstick is what Python costs at least: a bare
epoll loop that answers anything with the same bytes; the fork yardstick does so in a process for each connection,
and is as large as ours. CPU is that of all processes of a server, reaped ones included, for each request that was
answered; page faults are those of the reaped. The tables are Markdown.

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
import shutil
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
from bench_servers import (
    HINTS, HOST, OURS, PEERS, SELVES, TEST, Failed, Place, Server, install, run, start_cpu_ms, versions
)  # fmt: skip

ROUNDS = max(1, int(os.environ.get("ROUNDS") or 5))
SECONDS_EACH = max(1, int(os.environ.get("SECONDS_EACH") or 2))
IDLE, BUSY = 10_000, 1_000
FILES = IDLE + BUSY + 1000  # open at once in one process
TITLES = {
    "rate": "req/s", "cpu": "CPU us/request", "p99": "p99 ms", "slowest": "slowest ms", "memory": "bytes each",
    "faults": "page faults/child", "start": "CPU ms",
}  # fmt: skip
LOW = TITLES.keys() - {"rate"}  # less is better

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
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
    varied: bool = False  # a browser's head of 1 kB, with another path and cookie each time
    tls: bool = False
    clients: int = 32
    how: str = "compare"  # the method of Bench that measures
    idle: int = 0  # connections that only wait


ROWS: Dict[str, List[Table]] = {
    "hello": [
        Table("hello, kept alive, one process", "hello", (OURS, "yardstick", "bjoern"),
              (Must("cpu", "yardstick", 1.5), Must("cpu", "yardstick", 1.35, "aim"), Must("cpu", "bjoern", 1, "aim"))),
        Table("hello, kept alive, 2 workers", "hello", (OURS, *PEERS),
              (Must("rate", "granian", 1), Must("rate", "gunicorn", 10), Must("rate", "bjoern", 1, "aim")), 2),
    ],
    "close": [
        Table("hello, a connection each, one process", "hello", (OURS, "yardstick"),
              (Must("rate", "yardstick", 0.9),), close=True),
        Table("hello, a connection each, 2 workers", "hello", (OURS, "one worker", *PEERS),
              (Must("rate", "gunicorn", 2.5), Must("rate", "granian", 1), Must("rate", "granian", 1.2, "aim"),
               Must("rate", "one worker", 1, "aim")), 2, close=True),
    ],
    "tls": [
        Table("hello by TLS, kept alive, 2 workers", "hello", (OURS, "granian", "gunicorn gthread"),
              (Must("rate", "granian", 1.08), Must("rate", "gunicorn", 6), Must("rate", "granian", 1.2, "aim")),
              2, tls=True),
        Table("hello by TLS, a connection each, 2 workers", "hello", (OURS, "granian", "gunicorn gthread"),
              (Must("rate", "granian", 1.1), Must("rate", "gunicorn", 3), Must("rate", "granian", 1.2, "aim")),
              2, close=True, tls=True),
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
              (Must("rate", "granian", 1.1), Must("cpu", "granian", 0.88), Must("rate", "granian", 1.4, "aim"),
               Must("cpu", "granian", 0.69, "aim")), 2, varied=True),
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
        Table("hello, a connection and a process each", "hello", (OURS, "wsgiref", "fork yardstick"),
              (Must("rate", "wsgiref", 1.4), Must("faults", "fork yardstick", 2), Must("rate", "wsgiref", 2, "aim"),
               Must("faults", "fork yardstick", 1.5, "aim")), 0, close=True),
    ],
    "fork-flask": [
        Table("Flask's JSON, 64 clients at once, kept alive, a process each", "flask", (OURS,),
              (Must("slowest", "", 2000), Must("p99", "", 300, "aim")), 0, clients=64, how="ask_at_once"),
    ],
    "start": [
        Table("CPU from the start to the ready line, beyond python -c pass", "", (OURS, "python -c pass"),
              (Must("start", "", 50), Must("start", "", 35, "aim")), how="start_up"),
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
            client.sendall(REQUEST)
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


def ask_at_once(port: int, count: int, seconds: float) -> List[float]:
    """Have clients ask again and again, each on a connection that it keeps, and return the seconds that each answer
    took, also of those that come after the end. Raises Failed."""
    poll, taken = select.poll(), []
    asked: Dict[int, Tuple[socket.socket, float]] = {}
    end = time.monotonic() + seconds
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            asked_at = time.monotonic()
            client = stack.enter_context(socket.create_connection((HOST, port), 10))
            client.sendall(REQUEST)
            asked[client.fileno()] = client, asked_at
            poll.register(client, select.POLLIN)
        while asked:
            ready = poll.poll(20_000)
            if not ready:
                raise Failed(f"{len(asked)} clients are not answered in 20 s")
            for number, _ in ready:
                client, asked_at = asked[number]
                data = client.recv(65536)
                if not data.endswith(b"}\n"):
                    raise Failed(f"an answer is {data!r}")
                now = time.monotonic()
                taken.append(now - asked_at)
                asked[number] = client, now
                if now < end:
                    client.sendall(REQUEST)
                else:
                    poll.unregister(number)
                    del asked[number]
    return sorted(taken)


def lua(table: Table) -> str:
    """Return the script that has wrk send what the table asks for, and print what we read."""
    if table.varied:
        head = " .. n .. ".join(map(json.dumps, HEAD.split("@")))
        return LUA + f"n = 10000000\nrequest = function() n = n + 1; return {head} end\n"
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
        environ["PYTHONPATH"] = os.pathsep.join((str(TEST), str(TEST.parent)))
        self.place = Place(python, folder, environ)
        self.missing = missing
        self.versions = versions(python)
        self.notes: Dict[str, str] = {}  # what is odd about a server of this table
        self.verdicts: List[List[str]] = []  # lines of the summary
        self.size_kb = 0  # of our server of this table

    def hindrance(self, table: Table) -> str:
        """Return why a table cannot be measured here, "" if it can."""
        if table.how == "compare" and not self.versions["wrk"]:
            return "the load comes from wrk, which is missing: " + HINTS["wrk"]
        if table.app == "flask" and "flask" in self.missing:
            return "Flask is missing: " + self.missing["flask"]
        if table.tls and not shutil.which("openssl"):
            return "the certificate comes from openssl, which is missing"
        files, needed = resource.getrlimit(resource.RLIMIT_NOFILE)[0], FILES if table.idle else 0
        if files < needed:
            return f"it takes {needed} open files in a process, and {files} are allowed here: see ulimit -Hn"
        return ""

    def measure(self, table: Table) -> None:
        """Measure the servers of a table, and print what came of it."""
        say(f"\n{table.title}\n")
        why = self.hindrance(table)
        if why:
            say(f"not measured: {why}")
            self.verdicts.append([table.title, "", "not measured", ""])
            return
        if table.tls:
            self.make_certificate()
        if table.app == "file":
            Path(os.environ["FILE"]).write_bytes(os.urandom(bench_apps.FILE_BYTES))
        missing = {kind: self.missing.get(kind.split()[0]) for kind in table.kinds}
        self.notes = {kind: f"missing: {why}" for kind, why in missing.items() if why}
        samples = getattr(self, table.how)(table, [kind for kind, why in missing.items() if not why])
        samples = {kind: found for kind, found in samples.items() if kind not in self.notes or found}
        show(table, samples, self.notes, self.versions)
        self.verdicts += [[table.title, *judge(must, table.kinds, samples)] for must in table.musts]

    def make_certificate(self) -> None:
        """Make a certificate and its key; nobody checks them."""
        certificate = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        run(*certificate.split(), "-out", f"{self.place.folder}/cert", "-keyout", f"{self.place.folder}/key")

    def start(self, stack: contextlib.ExitStack, kind: str, table: Table) -> Server:
        """Return a server that `stack` ends. Raises Failed."""
        name, options = kind.split()[0], ""
        if kind in SELVES:
            workers = 1 if kind == "one worker" else table.workers
            options = f"--workers {workers} " * (workers > 0) + "--keep-alive 900" * (table.idle > 0)
        elif kind == "fork yardstick":
            options = str(self.size_kb)
        elif name == "granian" and table.idle:
            options = f"--backpressure {2 * table.idle}"  # it takes no more connections than that
        elif name == "uwsgi":  # what keeps alive cannot stream
            options = "--http-socket" if table.app == "stream" else "--http11-socket"
        if table.tls:
            names = "--ssl-certificate {0}/cert --ssl-keyfile" if name == "granian" else "--certfile {0}/cert --keyfile"
            options += f" {names} {{0}}/key".format(self.place.folder)
        server = Server(self.place, kind, table.app, max(1, table.workers), table.close, options, table.tls)
        stack.enter_context(contextlib.closing(server))
        if kind == OURS:
            self.size_kb = server.private_kb()
        return server

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
        scheme = "https" if table.tls else "http"
        command = f"wrk -t1 -c{table.clients} -d{seconds}s --timeout 20s {scheme}://{HOST}:{server.port}/ -s".split()
        command += [f"{self.place.folder}/load.lua", *("-H", "Connection: close") * table.close]
        cpu_before, faults_before = server.taken()
        said = run(*command, timeout_s=seconds + 60)[1]
        time.sleep(0.1)  # the last children are reaped
        cpu_s, faults = server.taken()
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
        sample = {"rate": answers / microseconds * 1e6, "cpu": (cpu_s - cpu_before) / answers * 1e6}
        if table.idle:
            sample["p99"] = p99 / 1000
        if table.workers == 0 and table.close:  # a child for each answer
            sample["faults"] = (faults - faults_before) / answers
        return sample

    def ask_at_once(self, table: Table, kinds: List[str]) -> Samples:
        """Have clients come at once, and measure each answer. wrk knows nothing of those that never come."""
        samples: Samples = {kind: [] for kind in kinds}
        for kind in kinds:
            with self.noting(kind, samples), contextlib.ExitStack() as stack:
                server = self.start(stack, kind, table)
                for _ in range(ROUNDS):
                    taken = ask_at_once(server.port, table.clients, SECONDS_EACH * 3)
                    sample = {"rate": len(taken) / SECONDS_EACH / 3, "p99": taken[int(len(taken) * 0.99)] * 1000}
                    samples[kind].append({**sample, "slowest": taken[-1] * 1000})
        return samples

    def start_up(self, _table: Table, kinds: List[str]) -> Samples:
        """Start the server, and Python alone, in turn."""
        samples: Samples = {kind: [] for kind in kinds}
        for _ in range(ROUNDS * 4):
            with self.noting(OURS, samples):
                for kind, taken in zip(kinds, start_cpu_ms(self.place)):
                    samples[kind].append({"start": taken})
        return samples

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
    """Return the median, and the quartiles."""
    low, middle, high = statistics.quantiles(values * 2 if len(values) == 1 else values, n=4, method="inclusive")
    digits = 0 if middle >= 100 else 2
    return f"{middle:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"


def judge(must: Must, kinds: Tuple[str, ...], samples: Samples) -> List[str]:
    """Return what must be, what is, and whether that holds: against the hardest to beat where peers are several."""
    sign = "<=" if must.metric in LOW else ">="
    text = f"{must.word}: {TITLES[must.metric]} {sign} {must.bound:g}" + f" x {must.peer}" * bool(must.peer)
    peers = [kind for kind in kinds[1:] if must.peer in (kind, kind.split()[0], "every peer")]
    lost = [kind for kind in peers if kind not in samples]
    ours = samples.get(OURS)
    if not ours or (must.peer and len(lost) == len(peers)):
        return [text, "not measured", ""]
    found = {kind: ratios(ours, samples[kind], must.metric) for kind in peers if kind in samples}
    if not must.peer:
        found = {OURS: [sample[must.metric] for sample in ours]}
    kind, figures = sorted(found.items(), key=lambda item: statistics.median(item[1]))[-(must.metric in LOW)]
    middle = statistics.median(figures)
    holds = middle <= must.bound if must.metric in LOW else middle >= must.bound
    figure = spread(figures) + f", by {kind}" * (len(peers) > 1) + f"; not measured: {', '.join(lost)}" * bool(lost)
    return [text, figure, "yes" if holds else "NO"]


def say_table(lines: List[List[str]]) -> None:
    """Print a Markdown table, whose first line is its head."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines = [lines[0], ["-" * width for width in widths], *lines[1:]]
    for line in lines:
        say(f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths))} |")


def show(table: Table, samples: Samples, notes: Dict[str, str], version: Dict[str, str]) -> None:
    """Print what each server of a table did, and our figure over its."""
    metrics = list(next(iter(samples.values()))[0]) if samples else []
    compared, noted = len(table.kinds) > 1, bool(notes)
    head = ["server", "version"]
    for metric in metrics:
        head += [TITLES[metric], *["ours/its"] * compared]
    lines, ours = [head + ["note"] * noted], samples.get(OURS)
    for kind in table.kinds:
        line = [kind, version.get(OURS if kind in SELVES else kind.split()[0], "")]
        for metric in metrics:
            measured, other = samples.get(kind), kind != OURS and ours
            line.append(spread([sample[metric] for sample in measured]) if measured else "")
            if compared:
                line.append(spread(ratios(ours, measured, metric)) if ours and other and measured else "")
        lines.append(line + [notes.get(kind, "")] * noted)
    say_table(lines)


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
    say("")
    say_table([["work", "bound", "median (quartiles)", "holds"], *bench.verdicts])
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
