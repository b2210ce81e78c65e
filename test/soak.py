"""Hold servers under everything at once: mixed clients, HUPs, and workers that are killed.

    SOAK_SECONDS=60 python soak.py WEBSERVER      needs Linux, for /proc, and openssl

Three servers run side by side: a process for each connection, two workers, and two workers with threads that speak TLS.
Each gets HUP every five seconds, and one of its workers, which are the leaves of its tree of processes, is killed every
seven. To be seen, or it is told and the exit status is 1:

    every request is answered, rightly, but those on a connection that a killed process held
    HUPs have the application imported anew; those that come while one is obeyed may count as one
    memory, the private dirty pages of all processes, and descriptors are at the end what they were
    no zombie stays, no process stays without clients, no traceback is logged
    TERM ends each with exit status 0
"""

from __future__ import annotations

import collections
import os
import random
import re
import select
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Set, Tuple

SECONDS = float(os.environ.get("SOAK_SECONDS") or 60)
HUP_EVERY_S, KILL_EVERY_S = 5, 7
PATIENCE_S = 20
EXCUSED_S = 5  # in which a client sees that its connection is gone; then its port may be another's
ZOMBIE_S = 2  # on a machine where all else runs too
LARGE = 300_000
# A thread for each client: where one waits for a thread, another that reads too slowly loses its own.
MODES = {"fork": "", "workers": "--workers 2", "tls": "--workers 2 --threads 8"}
IMPORT = os.urandom(8).hex()  # where this is the application


def app(environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the target, or with much of it, and with what was sent."""
    body: bytes = environ["PATH_INFO"].encode() + b"\n" + environ["wsgi.input"].read()
    if body.startswith(b"/large"):
        body *= LARGE // len(body)
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Import", IMPORT)])
    return [body[start : start + 16384] for start in range(0, len(body), 16384)]


# ---- processes ----------------------------------------------------------------------------------


class Process(NamedTuple):
    """One line of the process table."""

    parent: int
    state: str


def processes() -> Dict[int, Process]:
    """Return all processes, by pid."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        found[int(name)] = Process(int(fields[1]), fields[0])
    return found


def tree(root: int) -> Dict[int, str]:
    """Return the state of a process and of all that descend from it."""
    table = processes()
    pids = [root] if root in table else []
    for pid in pids:
        pids += [child for child, process in table.items() if process.parent == pid]
    return {pid: table[pid].state for pid in pids}


def private_dirty(pid: int) -> int:
    """Return the kB that a process has for itself and has written to."""
    match = re.search(r"(?m)^Private_Dirty: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(match[1]) if match else 0


def clients_of(pid: int) -> Set[int]:
    """Return the ports of the clients whose connections a process holds."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue  # it is closed by now
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    # A listener's peer has the port 0.
    return {int(line[2].rpartition(":")[2], 16) for line in lines if f"socket:[{line[9]}]" in inodes} - {0}


class Server:
    """A server that runs, and what was seen of it."""

    def __init__(self, webserver: str, name: str, folder: Path) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        self.context: Optional[ssl.SSLContext] = None
        options = MODES[name].split()
        if name == "tls":
            options += ["--certfile", str(folder / "cert.pem"), "--keyfile", str(folder / "key.pem")]
            self.context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        command = [sys.executable, webserver, "--bind", "127.0.0.1:0", "--keep-alive", "2", *options, "soak:app"]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent)}
        self.process = subprocess.Popen(
            command, cwd=str(folder), env=environ, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log.open("wb"), text=True,
        )  # fmt: skip
        assert self.process.stdout
        match = re.search(r" on port (\d+) ", self.process.stdout.readline())
        assert match, f"{name} is not ready: {self.log.read_text()}"
        self.port = int(match[1])
        self.at_start = len(tree(self.process.pid))
        self.excused: Dict[int, float] = {}  # the ports of clients whose process was killed, and when
        self.counts: collections.Counter[str] = collections.Counter()
        self.faults: collections.Counter[str] = collections.Counter()
        self.imports: Set[str] = set()
        self.samples: List[Tuple[float, float]] = []  # kB and descriptors
        self.dead: Dict[int, float] = {}  # zombies, and when they were first seen

    def kill_worker(self) -> None:
        """Kill a process that has no child and serves clients, and excuse what it holds: it is stopped meanwhile."""
        table, found = processes(), tree(self.process.pid)
        leaves = found.keys() - {process.parent for process in table.values()}
        for pid in random.sample(sorted(leaves), len(leaves)):
            try:
                if not clients_of(pid):
                    continue  # it is about to be a server, or about to end
                os.kill(pid, signal.SIGSTOP)
                self.excused.update(dict.fromkeys(clients_of(pid), time.monotonic()))
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue  # it has ended by itself
            self.counts["killed"] += 1
            return

    def look(self) -> None:
        """Note what the processes take, and zombies that stay."""
        found, now = tree(self.process.pid), time.monotonic()
        self.dead = {pid: self.dead.get(pid, now) for pid, state in found.items() if state == "Z"}
        for since in self.dead.values():
            if now - since > ZOMBIE_S:
                self.faults[f"a zombie stays for more than {ZOMBIE_S} s"] += 1
        memory, descriptors = 0, 0
        for pid in found.keys() - self.dead.keys():
            try:
                memory += private_dirty(pid)
                descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            except OSError:
                continue  # it has ended
        self.samples.append((memory, descriptors))

    def grows(self) -> None:
        """Hold the last third against the second: the first is a start."""
        third = len(self.samples) // 3
        for number, what, slack in ((0, "kB of private memory", 4000), (1, "descriptors", 10)):
            middle, last = (
                statistics.median(sample[number] for sample in part)
                for part in (self.samples[third:-third], self.samples[-third:])
            )
            print(f"{self.name}: {middle:.0f} {what} in the middle, {last:.0f} at the end")
            if last > middle * 1.2 + slack:
                self.faults[f"{what}: {middle:.0f} in the middle, {last:.0f} at the end"] += 1

    def end(self) -> None:
        """See that nothing is left without clients, and that TERM ends the server."""
        deadline = time.monotonic() + PATIENCE_S
        while len(tree(self.process.pid)) > self.at_start and time.monotonic() < deadline:
            time.sleep(0.1)
        left = tree(self.process.pid)
        if len(left) != self.at_start:
            self.faults[f"{len(left)} processes are left, and {self.at_start} were there at the start"] += 1
        self.process.terminate()
        try:
            status = self.process.wait(40)
        except subprocess.TimeoutExpired:
            status = -1
        if status:
            self.faults[f"TERM ends it with status {status}"] += 1
        text = self.log.read_text(errors="replace")
        if "Traceback" in text:
            self.faults["a traceback is logged:\n" + text[text.index("Traceback") :][:3000]] += 1


# ---- clients: each goes on until `stop`, and raises OSError or Wrong for a request that was lost ---------------


class Wrong(Exception):
    """An answer is not that to its request."""


class Client:
    """One client of a server, which counts what is answered and what is lost."""

    def __init__(self, server: Server, kind: str, stop: threading.Event) -> None:
        self.server, self.kind, self.stop = server, kind, stop
        self.sock: Optional[socket.socket] = None
        self.data, self.number, self.port, self.answers = b"", 0, 0, 0
        self.random = random.Random(f"{server.name} {kind}")

    def run(self) -> None:
        """Do as this kind does, again and again; a failure counts unless the connection was in a killed process."""
        while not self.stop.is_set():
            try:
                getattr(self, self.kind)()
            except (OSError, Wrong) as error:
                excused = time.monotonic() - self.server.excused.get(self.port, -EXCUSED_S) < EXCUSED_S
                if excused and not isinstance(error, Wrong):
                    self.server.counts["lost in a killed process"] += 1
                else:
                    where = f"after {self.answers} answers on its connection"
                    self.server.faults[f"a request of a client of kind {self.kind}, {where}: {error!r}"] += 1
                self.close()
            self.pause(0.02)
        self.close()

    def pause(self, longest_s: float) -> None:
        """Think for a while."""
        time.sleep(self.random.uniform(0, longest_s))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self.sock:
            self.sock.close()
        self.sock = None

    def dial(self) -> socket.socket:
        """Return a connection that is open: a new one, unless there is one that the server has not ended."""
        if self.sock and not self.data and select.select([self.sock], [], [], 0)[0]:
            self.close()  # it has ended while nothing was asked
        if not self.sock:
            self.data, self.answers, self.port = b"", 0, 0
            sock = socket.create_connection(("127.0.0.1", self.server.port), PATIENCE_S)
            self.port = sock.getsockname()[1]
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sock = sock
            if self.server.context:
                self.sock = self.server.context.wrap_socket(sock, server_hostname="127.0.0.1")
        return self.sock

    def request(self, path: str = "", body: bytes = b"", close: bool = False) -> Tuple[bytes, bytes]:
        """Return a request, each another, and the body that answers it."""
        self.number += 1
        target = f"{path}/{self.kind}/{self.number}"
        fields = f"Host: a\r\n{'Connection: close' * close or 'X: y'}\r\nContent-Length: {len(body)}\r\n\r\n"
        right = target.encode() + b"\n" + body
        if path == "/large":
            right *= LARGE // len(right)
        return f"{'POST' if body else 'GET'} {target} HTTP/1.1\r\n{fields}".encode() + body, right

    def receive(self) -> None:
        """Receive more. Raises OSError."""
        assert self.sock
        block = self.sock.recv(1 << 16)
        if not block:
            raise ConnectionResetError("the connection ended")
        self.data += block

    def expect(self, right: bytes) -> bool:
        """Read an answer with this body; return whether the connection goes on. Raises OSError and Wrong."""
        while b"\r\n\r\n" not in self.data:
            self.receive()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        match = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200 ") or not match:
            raise Wrong(head)
        while len(self.data) < int(match[1]):
            self.receive()
        body, self.data = self.data[: int(match[1])], self.data[int(match[1]) :]
        if body != right:
            raise Wrong(f"{body[:100]!r} for {right[:100]!r}")
        made = re.search(rb"(?i)\r\nX-Import: (\w+)", head)
        if made:
            self.server.imports.add(made[1].decode())
        self.server.counts["answered"] += 1
        self.answers += 1
        return b"\r\nconnection: close" not in head.lower()

    def kept(self) -> None:
        """Ask on a connection that is kept."""
        data, right = self.request(body=b"x" * self.random.choice((0, 0, 10, 5000)))
        self.dial().sendall(data)
        if not self.expect(right):
            self.close()

    def each(self) -> None:
        """Ask on a connection of its own."""
        data, right = self.request(close=True)
        self.dial().sendall(data)
        if self.expect(right):
            raise Wrong("it does not say that it closes")
        self.close()

    def slow(self) -> None:
        """Send a request in five pieces, and read a large answer in many."""
        data, right = self.request(self.random.choice(("", "/large")), b"x" * 1000)
        sock = self.dial()
        for start in range(0, len(data), len(data) // 4):
            sock.sendall(data[start : start + len(data) // 4])
            self.pause(0.4)
        if not self.expect(right):
            self.close()

    def aborting(self) -> None:
        """Give up in the middle of a request, or of the answer, by a reset; nothing is lost with it."""
        data, _ = self.request("/large", b"x" * 1000)
        try:
            sock = self.dial()
            sock.sendall(data[: self.random.choice((0, 30, 500, len(data)))])
            self.pause(0.05)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (ConnectionResetError, BrokenPipeError):
            pass
        self.server.counts["aborted"] += 1
        self.close()

    def pipelining(self) -> None:
        """Send five requests at once; where the server closes after one, the others were not accepted."""
        pairs = [self.request(body=b"x" * (number % 2)) for number in range(5)]
        self.dial().sendall(b"".join(data for data, _ in pairs))
        for _, right in pairs:
            if not self.expect(right):
                self.close()
                return


# ---- the soak -----------------------------------------------------------------------------------


def make_certificate(folder: Path) -> None:
    """Make a certificate for 127.0.0.1, and its key."""
    options = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    command = ["openssl", *options.split(), "-out", "cert.pem", "-keyout", "key.pem"]
    subprocess.run(command, cwd=str(folder), check=True, stderr=subprocess.DEVNULL)


def soak(servers: List[Server]) -> None:
    """Load the servers, and disturb them on the way."""
    stop = threading.Event()
    kinds = ["kept", "kept", "each", "each", "slow", "slow", "aborting", "pipelining"]
    clients = [Client(server, kind, stop) for server in servers for kind in kinds]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    for second in range(1, int(SECONDS) + 1):
        time.sleep(max(0.0, started + second - time.monotonic()))
        for server in servers:
            server.look()
            if second % KILL_EVERY_S == 0:
                server.kill_worker()
            if second % HUP_EVERY_S == 0 and second < SECONDS:
                server.process.send_signal(signal.SIGHUP)
                server.counts["HUPs"] += 1
    stop.set()
    for thread in threads:
        thread.join()


def main() -> int:
    """Soak, and tell what was seen."""
    servers: List[Server] = []
    with tempfile.TemporaryDirectory(prefix="webserver-soak-") as folder:
        try:
            make_certificate(Path(folder))
            for name in MODES:
                servers.append(Server(sys.argv[1], name, Path(folder).resolve()))
            soak(servers)
            for server in servers:
                server.grows()
                server.end()
        finally:
            for pid in [pid for server in servers for pid in tree(server.process.pid)]:
                os.kill(pid, signal.SIGKILL)
        return tell(servers)


def tell(servers: List[Server]) -> int:
    """Print what was seen, and return the exit status."""
    for server in servers:
        if len(server.imports) <= server.counts["HUPs"] // 2:
            server.faults[f"only {len(server.imports)} imports of the application"] += 1
        for what in ("killed", "answered"):
            if not server.counts[what]:
                server.faults[f"nothing was {what}"] += 1
        print(f"{server.name}: " + ", ".join(f"{count} {what}" for what, count in sorted(server.counts.items())))
        for fault, count in server.faults.items():
            print(f"{server.name}: {count} x {fault}")
        if server.faults:
            print(*server.log.read_text(errors="replace").splitlines()[-20:], sep="\n")
    return any(server.faults for server in servers)


if __name__ == "__main__":
    sys.exit(main())
