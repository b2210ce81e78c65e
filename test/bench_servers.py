"""The servers that make bench compares: how they are installed and started, and what their processes take."""

from __future__ import annotations

import contextlib
import http.client
import os
import platform
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, NamedTuple, Set, Tuple

import bench_apps

TEST = Path(__file__).resolve().parent
ROOT = TEST.parent
VENV = ROOT / ".tools" / "bench" / platform.python_version()  # a venv names its interpreter
# An address of our own, where the loopback has more than one: nothing else takes a port between its choice and its use.
HOST = f"127.{64 + os.getpid() % 64}.{os.getpid() // 64 % 256}.1" if sys.platform == "linux" else "127.0.0.1"

# How each server is started, with its best fair options; none logs requests.
COMMANDS = {
    "webserver": "{python} -m webserver --bind {host}:{port} {options} --app bench_apps:{app}",
    "yardstick": "{python} {test}/bench_yardstick.py loop {ending} {host} {port}",
    "fork yardstick": "{python} {test}/bench_yardstick.py fork {ending} {host} {port} {options}",
    "wsgiref": "{python} {test}/bench_wsgiref.py {app} {host} {port}",
    "bjoern": "{python} {test}/bench_apps.py {app} {host} {port} {workers}",
    "granian": "{python} -m granian --host {host} --port {port} --interface wsgi --workers {workers} --http 1"
    " --no-ws --blocking-threads 1 --backlog 2048 --log-level error {options} bench_apps:{app}",
    "gunicorn sync": "{python} -m gunicorn --bind {host}:{port} --workers {workers} --no-control-socket"
    " --log-level error bench_apps:{app}",
    "gunicorn gthread": "{python} -m gunicorn --bind {host}:{port} --workers {workers} --no-control-socket"
    " --log-level error --worker-class gthread --threads 4 --keep-alive 60 {options} bench_apps:{app}",
    "uwsgi": "{venv}/bin/uwsgi {options} {host}:{port} --virtualenv {venv} --pythonpath {test} --module"
    " bench_apps:{app} --master --processes {workers} --need-app --disable-logging --die-on-term --listen 1024",
    "waitress": "{python} -m waitress --listen={host}:{port} --threads=4 bench_apps:{app}",  # one process
    "cheroot": "{python} -m cheroot --bind {host}:{port} --threads 32 bench_apps:{app}",  # one process
    "nginx": "nginx -p {temp} -e stderr -c {temp}/nginx-{port}.conf",
}
OURS = "webserver"
SELVES = (OURS, "none idle", "one worker")  # ours, in other circumstances
COMMANDS.update(dict.fromkeys(SELVES, COMMANDS[OURS]))
PEERS = ("granian", "bjoern", "uwsgi", "gunicorn gthread", "gunicorn sync", "waitress", "cheroot")
HINTS = {
    "bjoern": "it needs a C compiler, Python's and libev's headers: Debian's package libev-dev, Homebrew's libev",
    "uwsgi": "it needs a C compiler and Python's headers: Debian's packages build-essential and python3-dev",
    "nginx": "Debian's and Homebrew's package nginx brings it",
    "wrk": "Debian's and Homebrew's package wrk brings it",
}
NGINX = """{user}daemon off; worker_processes 1; pid nginx-{port}.pid; error_log stderr;
events {{ }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server {{ listen {host}:{port}; location / {{ root {temp}; try_files /file =404; }} }}
}}
"""


# ---- peers: what is installed, and what is missing ----------------------------------------------


def make_venv() -> str:
    """Make the environment of the peers unless it is there; return why that cannot be, "" if it can."""
    python = VENV / "bin" / "python"
    if python.exists() and run(str(python), "-c", "import pip")[0] == 0:
        return ""
    shutil.rmtree(VENV, ignore_errors=True)
    if run(sys.executable, "-m", "venv", str(VENV))[0] == 0:
        return ""
    shutil.rmtree(VENV, ignore_errors=True)
    return f"{sys.executable} makes no venv: Debian's package python3-venv brings what that needs"


def install(wanted: Set[str]) -> Tuple[str, Dict[str, str]]:
    """Install the peers, each by itself; return the interpreter, and why those that are missing are."""
    blocks = (TEST / "requirements-bench.txt").read_text().split("\n#\n")[1:]
    packages = {block.split("==")[0]: block for block in blocks}
    missing = {"nginx": HINTS["nginx"]} if "nginx" in wanted and not shutil.which("nginx") else {}
    why = make_venv()
    if why:
        return sys.executable, {**missing, **dict.fromkeys(packages, why)}
    python = str(VENV / "bin" / "python")
    options = "--disable-pip-version-check --no-input --no-deps --require-hashes --requirement".split()
    for name in sorted(wanted & packages.keys()):
        begun, done, log = (VENV / f"{name}.{end}" for end in ("begun", "done", "log"))
        if done.exists() and done.read_text() == packages[name]:
            continue
        print(f"installing {name} ...", file=sys.stderr, flush=True)
        begun.write_text(packages[name])
        status, said = run(python, "-m", "pip", "install", *options, str(begun), timeout_s=900)
        log.write_text(said)
        if status == 0:
            begun.replace(done)
        else:
            why = (re.findall("ERROR: (.*)", said) or [""])[-1]
            missing[name] = f"pip could not install it, see {log.relative_to(ROOT)}: {why}"
            missing[name] += f"; {HINTS[name]}" if name in HINTS else ""
    return python, missing


def versions(python: str) -> Dict[str, str]:
    """Return the version of everything that is measured, or measures; that of the server is its commit."""
    text = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version)"
    found = dict(line.lower().split(" ", 1) for line in run(python, "-c", text)[1].splitlines())
    for name in ("nginx", "wrk"):
        match = re.search(rf"(?m)^(?:nginx version: )?{name}[ /](?:debian/)?(\S+)", run(name, "-v")[1])
        found[name] = match[1] if match else ""
    git = ("git", "-C", str(ROOT))
    commit, changes = run(*git, "rev-parse", "--short", "HEAD"), run(*git, "status", "--porcelain", "webserver.py")
    found["webserver"] = commit[1].strip() + "+" * bool(changes[1]) if commit[0] == 0 else ""
    return found


def run(*command: str, timeout_s: float = 60) -> Tuple[int, str]:
    """Return the exit status of a command and what it prints."""
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout


# ---- processes: those of a server, their time and their memory ---------------------------------


def seconds(text: str) -> float:
    """Return what ps calls a time, as 1-02:03:04.05, in seconds."""
    days, _, clock = text.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + int(days or 0) * 86400


class Process(NamedTuple):
    """What a process took so far."""

    parent: int
    cpu_s: float  # and that of its reaped children
    child_faults: int  # the page faults of its reaped children


def processes() -> Dict[int, Process]:
    """Return all processes; where there is no /proc, without what belongs to the reaped."""
    found = {}
    if not os.path.exists("/proc/self/stat"):
        for line in run(*"ps -A -o pid=,ppid=,time=".split())[1].splitlines():
            pid, parent, taken = line.split()
            found[int(pid)] = Process(int(parent), seconds(taken), 0)
        return found
    tick = os.sysconf("SC_CLK_TCK")
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended
            fields = list(map(int, Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[1:]))
            found[int(name)] = Process(fields[0], sum(fields[10:14]) / tick, fields[7])
    return found


def tree(root: int, found: Dict[int, Process]) -> List[int]:
    """Return a process and all that descend from it."""
    pids = [root] if root in found else []
    for pid in pids:
        pids += [child for child, process in found.items() if process.parent == pid]
    return pids


def start_cpu_ms(place: Place) -> Tuple[float, float]:
    """Return the CPU that the server takes from its start to its ready line beyond what Python takes to do nothing,
    and the latter. Raises Failed."""
    idle = subprocess.Popen([place.python, "-c", "pass"], env=place.environ)
    usage = os.wait4(idle.pid, 0)[2]
    idle.returncode = 0  # it is reaped
    command = [place.python, "-m", "webserver", "--bind", f"{HOST}:0"]
    with subprocess.Popen(command, env=place.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        assert server.stdout
        line = server.stdout.readline()
        try:  # in nanoseconds, where stat counts hundredths of a second
            pids = tree(server.pid, processes())
            taken = sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)
        except OSError as error:
            raise Failed(f"its CPU is not known: {error}") from None
        finally:
            server.terminate()
    if b"Serving" not in line:
        raise Failed(f"it says {line!r}")
    nothing = (usage.ru_utime + usage.ru_stime) * 1e3
    return taken / 1e6 - nothing, nothing


def private_kb(pid: int) -> int:
    """Return the private memory of a process, shared after a fork or not; 0 where there is no /proc."""
    with contextlib.suppress(OSError):
        match = re.search(r"(?m)^RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(match[1]) if match else 0
    return 0


def memory_of(pid: int) -> int:
    """Return the bytes of memory of a process, its part of what is shared."""
    try:
        match = re.search(r"(?m)^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        match = re.search(r"(\d+)", run("ps", "-o", "rss=", "-p", str(pid))[1])
    return int(match[1]) * 1024 if match else 0


class Failed(Exception):
    """A server is not measured, for this reason."""


class Place(NamedTuple):
    """Where servers run: by which Python, with which files and which environment."""

    python: str
    folder: str
    environ: Dict[str, str]


class Server:
    """A server that runs, in a process group of its own, and has given the right answer."""

    def __init__(
        self, place: Place, kind: str, app: str, workers: int, close: bool, options: str, tls: bool = False
    ) -> None:
        """Start it. Raises Failed."""
        self.tls = tls
        with socket.create_server((HOST, 0)) as free:
            self.port: int = free.getsockname()[1]
        values = {"python": place.python, "root": ROOT, "test": TEST, "venv": VENV, "temp": place.folder}
        values.update(app=app, host=HOST, port=self.port, workers=workers, ending="close" if close else "keep")
        command: List[str] = []
        for word in COMMANDS[kind].split():
            command += options.split() if word == "{options}" else [word.format(**values)]
        if kind == "nginx":
            user = "user root;\n" if os.geteuid() == 0 else ""  # else it gives up its rights to the file
            Path(place.folder, f"nginx-{self.port}.conf").write_text(NGINX.format(user=user, **values))
        log = Path(place.folder, f"log-{self.port}")
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=place.folder, env={**place.environ, "BENCH_APP": app}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            self.check(kind, app, close)
        except Failed as error:
            self.close()
            said = log.read_text(errors="replace").strip().split("\n")[-1]
            raise Failed(f"{error}. {said}") from None
        except BaseException:
            self.close()
            raise

    def check(self, kind: str, app: str, close: bool) -> None:
        """Return once it has answered, and rightly. Raises Failed."""
        answer, data = self.first_answer(app, close)
        if answer.status != 200 or not bench_apps.is_right(app, data):
            raise Failed(f"it answers {answer.status} and {data[:60]!r}")
        if kind == OURS and not answer.getheader("Date"):
            raise Failed("it sends no Date")
        if self.process.poll() is not None:
            raise Failed("it has ended, and something else answers")
        self.closes: bool = answer.will_close and not close

    def first_answer(self, app: str, close: bool, timeout_s: float = 20.0) -> Tuple[http.client.HTTPResponse, bytes]:
        """Return the first answer and its body. Raises Failed."""
        deadline = time.monotonic() + timeout_s
        body = b"x" * bench_apps.BODY_BYTES if app == "body" else None
        while True:
            client = http.client.HTTPConnection(HOST, self.port, timeout=10)
            if self.tls:
                anyone = ssl._create_unverified_context()
                client = http.client.HTTPSConnection(HOST, self.port, timeout=10, context=anyone)
            try:
                client.request("POST" if body else "GET", "/", body, {"Connection": "close"} if close else {})
                answer = client.getresponse()
                return answer, answer.read()
            except (OSError, http.client.HTTPException) as error:
                if self.process.poll() is not None:
                    raise Failed(f"it ended with status {self.process.returncode}") from None
                if time.monotonic() > deadline:
                    raise Failed(f"it does not answer: {error!r}") from None
                time.sleep(0.05)
            finally:
                client.close()

    def taken(self) -> Tuple[float, int]:
        """Return the seconds of CPU that all its processes took so far, and the page faults of those that are reaped."""
        found = processes()
        own = [found[pid] for pid in tree(self.process.pid, found)]
        return sum(process.cpu_s for process in own), sum(process.child_faults for process in own)

    def private_kb(self) -> int:
        """Return the private memory of its largest process."""
        return max(map(private_kb, tree(self.process.pid, processes())))

    def memory(self) -> int:
        """Return the bytes of memory of all its processes."""
        return sum(map(memory_of, tree(self.process.pid, processes())))

    def close(self) -> None:
        """End the processes of its group: first asked, then without asking."""
        try:
            self.process.terminate()
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
