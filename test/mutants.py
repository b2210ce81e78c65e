"""Show that the tests have teeth: break webserver.py in one way at a time, and see which test fails.

    python test/mutants.py [NAME...]        all mutants, or those whose names match: 'chunk-*'

Each mutant is a copy of webserver.py with a known mistake: a stage of the article that does
not work yet, a rule of HTTP that is not kept. The tests named beside it run first; the rest
of the suite runs only when those pass. A test that caught a mutant has to pass for
webserver.py as it is, and a change that no longer applies is an error. The last line is
`N caught, N survived`; the exit status is 0 when every mutant was caught.

    PYTHON      the interpreter that runs the mutants (python3)
    WEBSERVER   what is broken (webserver.py)
    JOBS        how many mutants are tried at once (the number of processors)
"""

import ast
import concurrent.futures
import fnmatch
import functools
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.environ.get("WEBSERVER") or os.path.join(os.path.dirname(HERE), "webserver.py")


class Mutant:
    """A mistake: its name, what it breaks in words, the tests that should notice, and the changes.

    `tests` is `file: pattern of test names`, or a file alone; a semicolon stands between several.
    A change is where (a function, a class, a name of the module; "" for anywhere), old, new: the
    old text stands there once.
    """

    def __init__(self, name: str, breaks: str, tests: str, *changes: "tuple[str, str, str]") -> None:
        self.name = name
        self.breaks = breaks
        self.tests = [tuple((part.strip() + ":").split(":", 1)) for part in tests.split(";")]
        self.changes = changes

    def applied(self, source: str) -> str:
        """Return the source with the mistake. Raises ValueError when that is not possible."""
        for where, old, new in self.changes:
            start, end = extent(source, where)
            found = source.count(old, start, end)
            if found != 1:
                raise ValueError(f"{where or 'webserver.py'} contains {found} times: {old}")
            source = source[:start] + source[start:end].replace(old, new) + source[end:]
        try:
            compile(source, "webserver.py", "exec", dont_inherit=True)
        except SyntaxError as error:
            raise ValueError(f"the change makes no Python: {error}") from None
        return source


def extent(source: str, where: str) -> "tuple[int, int]":
    """Return where in the source the definition begins and ends."""
    if not where:
        return 0, len(source)
    node = ast.parse(source)
    for name in where.split("."):
        for child in node.body:
            names = [target.id for target in getattr(child, "targets", ()) if isinstance(target, ast.Name)]
            if name in (getattr(child, "name", None), *names):
                node = child
                break
        else:
            raise ValueError(f"webserver.py defines no {where}")
    lines = source.splitlines(keepends=True)
    return len("".join(lines[: node.lineno - 1])), len("".join(lines[: node.end_lineno]))


MUTANTS = [
    # ---- the parent: connections and descriptors ----
    Mutant("no-close-in-parent", "the parent keeps its copy of each connection",
           "ladder: keeps no descriptor",
           ("Parent.serve", "self.accepted[1].close()", "pass")),
    Mutant("no-close-of-listener-in-child", "the port stays taken as long as a child lives",
           "life: finishes .* leaves its port free; children: no descriptor but",
           ("Parent.run", ", *(one.sock.fileno() for one in self.listeners)", "")),
    Mutant("no-close-of-lifeline-in-child", "children hold each other's lifeline open",
           "life: leaves no idle child",
           ("Parent.run", "self.lifeline[1], ", "")),
    Mutant("no-close-of-wake-up-pipe-in-child", "children keep the pipe that wakes the parent",
           "children: no descriptor but",
           ("Parent.run", "[*self.wake, ", "[")),
    Mutant("no-close-of-selector-in-child", "children keep the parent's epoll set",
           "children: no descriptor but",
           ("Parent.run", "self.private.append(self.loop.selector.fileno())", "pass")),
    Mutant("child-unregisters", "a child takes the listener out of the epoll set that it shares with the parent",
           "ladder: process of its own",
           ("Parent.be_child", "for descriptor in self.private:",
            "for one in self.listeners:\n                self.loop.forget(one.sock)\n"
            "            for descriptor in self.private:")),
    Mutant("iterative", "the parent serves each connection itself, one after another",
           "ladder: process of its own",
           ("Parent.serve", "if self.fork:", "if False:")),
    Mutant("loop-that-ticks", "the loop wakes ten times a second",
           "life: sleeps in the kernel",
           ("Loop.run", "timeout = None if", "timeout = 0.1 if")),

    # ---- the parent: reaping ----
    Mutant("no-reaper", "children that have ended stay zombies",
           "ladder: no zombie after",
           ("Parent.on_wake", "if self.reap():", "if False:")),
    Mutant("one-wait-per-signal", "signals coalesce, and all children but one stay zombies",
           "ladder: 128 children end at once",
           ("Parent.reap", "self.tell_end(pid, status, slot)",
            "self.tell_end(pid, status, slot)\n                    return True")),
    Mutant("blocking-wait", "reaping waits for children that still serve",
           "ladder: answers others",
           ("Parent.reap", "os.WNOHANG", "0")),
    Mutant("lost-signal", "a signal before the wait does not end it, for nothing is written to the wake-up pipe",
           "ladder: no zombie after; life: can be stopped",
           ("Parent.run", "signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)", "pass")),
    Mutant("children-ignored", "SIGCHLD is ignored: the system reaps, and the parent never learns",
           "limits: never has more",
           ("Parent.run", "signal.signal(signal.SIGCHLD, lambda *_: None)",
            "signal.signal(signal.SIGCHLD, signal.SIG_IGN)")),
    Mutant("children-unheard", "SIGCHLD has its default, which wakes nobody",
           "ladder: no zombie after",
           ("Parent.run", "signal.signal(signal.SIGCHLD, lambda *_: None)", "pass")),
    Mutant("no-child-is-an-error", "waiting for no child at all ends the server",
           "ladder: is not disturbed",
           ("Parent.reap", "except ChildProcessError:", "except ZeroDivisionError:")),
    Mutant("orphan-crashes", "an inherited orphan, a pid that the parent never forked, ends PID 1",
           "life: orphan",
           ("Parent.reap", "self.children.pop(pid, 0)", "self.children.pop(pid)")),
    Mutant("orphan-taken-for-child", "an inherited orphan frees a slot that it never had",
           "life: orphan",
           ("Parent.reap", "if slot:", "if True:")),
    Mutant("slot-lost", "a child that has ended counts for ever",
           "limits: 40 clients",
           ("Parent.reap", "self.slots.append(slot)", "pass")),
    Mutant("death-untold", "a child that crashes is not told",
           "children: reports",
           ("Parent.tell_end", "if state:", "if False:")),
    Mutant("signal-untold", "a child killed by a signal is said to have exited",
           "children: reports",
           ("Parent.tell_end", "if os.WIFSIGNALED(status):", "if False:")),
    Mutant("end-reported", "a child that ends well is reported as dead",
           "children: says nothing",
           ("Parent.be_child", "if not status:", "if False:")),
    Mutant("request-not-noted", "the report of a death does not name the request",
           "children: reports",
           ("Child.call", "if request.line is not self.line:", "if False:")),
    Mutant("stale-request", "the report of a death names a request of the slot's previous child",
           "children: names no request",
           ("Parent.spawn", "memory[slot : slot + 2] = bytes((SILENT, 0))", "memory[slot] = SILENT")),

    # ---- the parent: what the system refuses ----
    Mutant("emfile-ends-the-server", "an accept that fails for want of descriptors ends the server",
           "limits: EMFILE",
           ("Parent.accept", "if error.errno not in SKIPPED:",
            "if error.errno not in SKIPPED:\n                raise")),
    *[
        Mutant(f"{name.lower()}-ends-the-server", f"an accept that fails with {name} ends the server",
               f"limits: accept .*{name}",
               ("Parent.accept", "if error.errno not in SKIPPED:",
                f"if error.errno == errno.{name}:\n                raise\n"
                "            if error.errno not in SKIPPED:"))
        for name in ("ENFILE", "ENOBUFS", "ENOMEM", "EAGAIN", "ECONNABORTED", "EPROTO", "EINTR")
    ],
    *[
        Mutant(f"{name.lower()}-waits", f"an accept that fails with {name} holds up the clients that follow",
               f"limits: accept .*{name}",
               ("SKIPPED", f"errno.{name}, ", ""))
        for name in ("ECONNABORTED", "EINTR", "EPROTO")
    ],
    Mutant("accept-error-spins", "an accept that fails is tried again at once, for ever",
           "limits: sleeps while there is no descriptor",
           ("Parent.accept", "if error.errno not in SKIPPED:", "if False:")),
    Mutant("listener-polled-while-full", "the listener is polled although nobody can be accepted",
           "limits: sleeps while there is no descriptor",
           ("Parent.make_room", "self.loop.wait(listener.sock, NOTHING, self.listen, NEVER)", "pass")),
    Mutant("fork-failure-ends-the-server", "a fork that fails ends the server",
           "limits: fork fails",
           ("Parent.serve", "except OSError as error:", "except ZeroDivisionError as error:")),
    Mutant("fork-not-retried", "a fork that fails loses the connection that was accepted",
           "limits: fork fails",
           ("Parent.serve", 'self.make_room(f"fork',
            'sock.close()\n                self.accepted = None\n                self.make_room(f"fork')),
    Mutant("no-moment", "without a child to reap, what the system refused is never asked for again",
           "limits: accept .*EMFILE",
           ("Parent.make_room", "self.limits.moment_s if asked or self.slots else NEVER", "NEVER")),
    Mutant("no-rest", "what the system refused is asked for again without a rest",
           "limits: sleeps while there is no process",
           ("Parent.make_room", "self.limits.moment_s if asked or self.slots else NEVER", "0.0")),
    Mutant("no-ceiling", "more children are forked than --max-children allows",
           "limits: never has more",
           ("Parent.accept", "not self.slots", "False"),
           ("Parent.spawn", "self.slots[-1]", "self.limits.max_children"),
           ("Parent.spawn", "self.slots.pop()", "slot")),
    Mutant("told-again-and-again", "stderr says each time that the ceiling is reached",
           "limits: says once",
           ("Parent.make_room", "if reason not in self.told:", "if True:")),

    # ---- the parent and its children: who gives way ----
    Mutant("no-give-way", "nobody who is idle is asked to go at the ceiling",
           "limits: asks",
           ("Parent.make_room", "os.kill(pid, signal.SIGURG)", "pass")),
    Mutant("asks-the-busy", "whoever came first is asked to go, idle or not",
           "limits: asks",
           ("Parent.make_room", " if board.read(slot)[0] == IDLE]", "]")),
    Mutant("give-way-does-not-go", "an idle child does not heed the parent's signal",
           "limits: asks",
           ("Parent.on_signal", "raise GiveWay", "pass")),
    Mutant("give-way-without-last-recv", "a request that has arrived when the child is asked to go is lost",
           "limits: arrived unread",
           ("converse", "yield IDLE, site.limits.keep_alive_s",
            "if not (yield IDLE, site.limits.keep_alive_s):\n                    return")),
    Mutant("give-way-in-application", "a child that is asked to go leaves its request",
           "limits: leaves a request alone",
           ("Parent.on_signal", "and self.child.idle", "")),
    Mutant("idle-mark-stays", "a child that was idle once leaves a later request when it is asked to go",
           "limits: leaves a request alone",
           ("Child.wait", "self.idle = False", "pass")),
    Mutant("state-not-noted", "the parent does not learn which child is idle",
           "limits: asks",
           ("Child.wait", "self.memory[self.at] = state", "pass")),
    Mutant("call-not-noted", "a child in the application passes for idle",
           "limits: asks",
           ("Child.call", "self.memory[self.at] = CALL", "pass")),
    Mutant("flag-not-raised", "children do not learn that others wait",
           "limits: go idle",
           ("Parent.make_room", "board.memory[0] = 1", "pass")),
    Mutant("flag-not-checked", "a child goes idle although others wait",
           "limits: go idle",
           ("Child.wait", "if state == IDLE and self.memory[0]:", "if False:")),
    Mutant("flag-not-lowered", "connections are closed although nobody waits any more",
           "limits: nobody waits any more",
           ("Parent.serve", "self.site.board.memory[0] = self.draining", "pass")),
    Mutant("close-not-said", "the last response before a child leaves does not say so",
           "limits: go idle; life: last response",
           ("Response.head", "if self.close or self.site.board.memory[0]:", "if self.close:")),

    # ---- the parent: the end ----
    Mutant("drain-cuts", "TERM cuts what is in flight",
           "life: in flight on TERM",
           ("Parent.on_wake", "self.drain()", "self.drain()\n            self.cut()")),
    Mutant("second-term-ignored", "a second TERM changes nothing",
           "life: second TERM",
           ("Parent.on_wake", "if self.stops > 1:", "if False:")),
    Mutant("second-term-ignored-without-fork", "a second TERM waits for the application with --no-fork",
           "life: second TERM",
           ("Parent.on_signal", "if self.stops > 1 and not self.fork:", "if False:")),
    Mutant("no-end-of-grace", "what is in flight may take for ever",
           "life: grace",
           ("Parent.drain", "time.monotonic() + self.limits.graceful_timeout_s", "NEVER")),
    Mutant("listens-while-draining", "clients that can no longer be served are not refused",
           "life: in flight on TERM",
           ("Parent.drain", "listener.sock.close()", "pass")),
    Mutant("idle-not-told-of-the-end", "idle children keep the server from ending",
           "life: closes",
           ("Parent.drain", "os.close(self.lifeline[1])", "pass")),
    Mutant("busy-not-told-of-the-end", "a response in flight does not say that its connection closes",
           "life: last response",
           ("Parent.drain", "self.site.board.memory[0] = 1", "pass")),
    Mutant("ends-before-its-children", "the parent ends while children still serve",
           "life: in flight on TERM; children: whole process group",
           ("Parent.finish", "not self.children and ", "")),
    Mutant("ends-before-the-accepted", "a connection that waits for its fork is lost on TERM",
           "limits: told to stop",
           ("Parent.finish", " and not self.accepted", "")),
    Mutant("cut-asks-only", "a child that hangs is asked to end, not killed",
           "life: second TERM",
           ("Parent.cut", "os.kill(pid, signal.SIGKILL)", "os.kill(pid, signal.SIGTERM)")),
    Mutant("cut-waits-for-fork", "a connection that cannot be forked for keeps the server from ending",
           "limits: sleeps while there is no process",
           ("Parent.cut", "self.accepted = None", "pass")),
    Mutant("int-unheeded", "Ctrl-C is a KeyboardInterrupt in the parent",
           "life: INT",
           ("STOPS", ", signal.SIGINT", ",")),
    Mutant("term-unheeded", "TERM kills the parent",
           "life: in flight on TERM",
           ("STOPS", "signal.SIGTERM, signal.SIGINT", "signal.SIGINT,")),
    Mutant("no-dismissal", "idle connections keep the server from ending with --no-fork",
           "life: no-fork",
           ("Parent.drain", "self.loop.dismiss(len(self.loop.waits), SILENT)", "pass")),
    Mutant("idle-while-draining", "a connection goes idle with --no-fork although the server drains",
           "life: no-fork",
           ("Parent.host", "if state <= SILENT and self.draining:", "if False:")),
    Mutant("no-give-way-without-fork", "nobody who is idle gives way for want of descriptors with --no-fork",
           "limits: no-fork",
           ("Parent.make_room", "self.loop.dismiss(1, IDLE)", "pass")),

    # ---- the child ----
    Mutant("no-lifeline", "children serve on when the parent is dead",
           "life: leaves no idle child",
           ("Child.poller", "if state <= SILENT:", "if False:")),
    Mutant("lifeline-for-the-idle-alone", "children that wait for a first byte do not hear that the parent drains",
           "life: sent nothing",
           ("Child.poller", "if state <= SILENT:", "if state == IDLE:")),
    Mutant("lifeline-always", "a child that hears that the parent drains leaves a request that has begun",
           "life: head is not whole",
           ("Child.poller", "if state <= SILENT:", "if True:")),
    Mutant("lifeline-taken-for-client", "a child takes the end of the lifeline for bytes from its client",
           "life: closes",
           ("Child.wait", "ready[0][0] != ", "-1 != ")),
    Mutant("siblings-not-told", "when the parent was killed, responses do not say that their connection closes",
           "life: killed with -9",
           ("Child.wait", "self.memory[0] = 1", "pass")),
    Mutant("orphan-streams-for-ever", "an endless stream goes on when nobody is left to cut it",
           "life: endless",
           ("Child.call", "signal.alarm(", "abs(")),
    Mutant("no-flush", "what the application printed is lost at the child's end",
           "children: without a newline",
           ("Parent.be_child", "stream.flush()", "pass")),
    Mutant("sys-exit", "a child ends in sys.exit, and runs what belongs to the parent",
           "children: atexit",
           ("Parent.be_child", "os._exit(status)", "sys.exit(status)")),
    Mutant("no-line-buffering", "what the application prints into a pipe shows at the end",
           "children: at once",
           ("open_standard_streams", "stream.reconfigure(line_buffering=True)", "pass")),
    Mutant("wake-up-fd-in-child", "a child's signals write into whatever file has the pipe's number now",
           "children: no signal blocked",
           ("Parent.be_child", "signal.set_wakeup_fd(-1)", "pass")),
    Mutant("sigchld-in-child", "the application finds a handler of SIGCHLD that is not its own",
           "children: leaves SIGCHLD",
           ("Parent.be_child", "_signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)", "pass")),
    Mutant("stops-kill-the-child", "Ctrl-C and TERM to the whole group end a request in flight",
           "children: whole process group",
           ("Parent.be_child", "signal.set_wakeup_fd(-1)",
            "signal.set_wakeup_fd(-1), [signal.signal(one, signal.SIG_DFL) for one in STOPS]")),
    Mutant("stops-ignored-in-child", "programs that the application starts ignore INT and TERM",
           "children: default INT and TERM",
           ("Parent.be_child", "signal.set_wakeup_fd(-1)",
            "signal.set_wakeup_fd(-1), [signal.signal(one, signal.SIG_IGN) for one in STOPS]")),
    Mutant("stops-blocked-in-child", "a child blocks signals, and so do the programs that it starts",
           "children: no signal blocked",
           ("Parent.be_child", "signal.set_wakeup_fd(-1)",
            "signal.set_wakeup_fd(-1), signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)")),
    Mutant("system-exit-escapes", "an application that raises SystemExit gets no answer for its client",
           "children: SystemExit",
           ("exchange", "except BaseException as error:  # SystemExit", "except Exception as error:  # SystemExit")),
    Mutant("shared-context", "an application's context variables last into the next request",
           "children: context",
           ("Child.call", "context.run(*call)", "call[0](*call[1:])")),
    Mutant("close-in-another-context", "close() does not see the context variables of its request",
           "children: context",
           ("exchange", "(request, context, (blocks.close,))",
            "(request, contextvars.copy_context(), (blocks.close,))")),
    Mutant("descriptors-missing", "the listener takes the place of a stdout that was closed at the start",
           "life: missing at the start",
           ("main", "open_standard_streams()", "pass")),
    Mutant("threads-untold", "nobody is told that threads started at import do not exist in children",
           "children: threads started at import",
           ("start", "threads and threads.active_count() > 1", "False")),
]


class Trial:
    """A server given to the tests, and what they said."""

    def __init__(self, folder: str, name: str, source: str) -> None:
        self.path = os.path.join(folder, name, "webserver.py")
        os.mkdir(os.path.dirname(self.path))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(source)

    def failures(self, file: str, pattern: str = "") -> "list[str]":
        """Run the tests of a file whose names match; return the names of those that fail."""
        environ = {**os.environ, "WEBSERVER": self.path, "FILTER": pattern, "BATS_TEST_TIMEOUT": "60", "JOBS": "1"}
        command = [os.path.join(HERE, "run"), f"test/{file}.bats"]
        done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.clean()
        failed = re.findall(r"^test/\w+\.bats: not ok \d+ (.*?)(?: # .*)?$", done.stdout, re.MULTILINE)
        if done.returncode and not failed and "No test matches." not in done.stdout:
            raise RuntimeError(f"test/{file}.bats did not run:\n{done.stdout}")
        return failed

    def clean(self) -> None:
        """Kill the servers that a mutant left behind: none but they run a file in its folder."""
        listing = subprocess.run(["ps", "-A", "-ww", "-o", "pid=,args="], stdout=subprocess.PIPE, text=True).stdout
        for line in listing.splitlines():
            pid, _, arguments = line.strip().partition(" ")
            if self.path in arguments:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass


def exactly(name: str) -> str:
    """Return the pattern that matches this name of a test and no other."""
    return "^" + re.sub(r"[^\w ]", ".", name) + "$"


class Unbroken(Trial):
    """webserver.py as it is: a test that fails here has caught nothing."""

    def __init__(self, folder: str, source: str) -> None:
        super().__init__(folder, "unbroken", source)
        self.lock = threading.Lock()
        self.passes = functools.lru_cache(maxsize=None)(lambda file, name: not self.failures(file, exactly(name)))

    def passes_in_turn(self, file: str, name: str) -> bool:
        with self.lock:
            return self.passes(file, name)


def other_files(named: "set[str]") -> "list[str]":
    """Return the test files that start a server and are not among those named."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.bats"))):
        with open(path, encoding="utf-8") as file:
            starts = "start_server" in file.read()
        if starts and os.path.basename(path)[:-5] not in named:
            found.append(os.path.basename(path)[:-5])
    return found


def attempt(mutant: Mutant, source: str, folder: str, unbroken: Unbroken) -> "tuple[str, str]":
    """Return `caught`, `survived` or `error`, and by what or why."""
    try:
        trial = Trial(folder, mutant.name, mutant.applied(source))
        whole = {file for file, pattern in mutant.tests if not pattern}
        rest = [file for file, pattern in mutant.tests if pattern and file not in whole]
        rest += other_files(whole | set(rest))
        for file, pattern in mutant.tests + [(file, "") for file in dict.fromkeys(rest)]:
            for name in trial.failures(file, pattern.strip()):
                if not unbroken.passes_in_turn(file, name):
                    return "error", f"{file}.bats: {name}: fails for webserver.py as it is"
                return "caught", f"{file}.bats: {name}"
    except (ValueError, RuntimeError) as error:
        return "error", str(error)
    return "survived", mutant.breaks


def main() -> int:
    chosen = [one for one in MUTANTS if not sys.argv[1:] or any(fnmatch.fnmatch(one.name, a) for a in sys.argv[1:])]
    with open(SERVER, encoding="utf-8") as file:
        source = file.read()
    counts = {"caught": 0, "survived": 0, "error": 0}
    with tempfile.TemporaryDirectory(prefix="webserver-mutants.") as folder:
        os.chmod(folder, 0o755)  # a test runs its server as nobody
        unbroken = Unbroken(folder, source)
        jobs = int(os.environ.get("JOBS") or os.cpu_count() or 2)
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            trials = pool.map(lambda one: attempt(one, source, folder, unbroken), chosen)
            for mutant, (verdict, detail) in zip(chosen, trials):
                counts[verdict] += 1
                print(f"{mutant.name}: {verdict if verdict != 'survived' else 'SURVIVED'}: {detail}", flush=True)
    errors = f", {counts['error']} errors" if counts["error"] else ""
    print(f"\n{counts['caught']} caught, {counts['survived']} survived{errors}")
    return 1 if counts["survived"] or counts["error"] or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
