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
import contextlib
import fnmatch
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
        self.tests = [part.strip().partition(": ")[::2] for part in tests.split(";")]
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
           ("Forking.admit", "sock.close()", "self.told.append(sock)")),
    Mutant("no-close-of-listener-in-child", "the port stays taken as long as a child lives",
           "life: finishes .* leaves its port free; children: no descriptor but",
           ("Forking.private", "[self.lifeline[1], *listening]", "[self.lifeline[1]]")),
    Mutant("no-close-of-lifeline-in-child", "children hold each other's lifeline open",
           "life: leaves no idle child",
           ("Forking.private", "[self.lifeline[1], *listening]", "listening")),
    Mutant("no-close-of-wake-up-pipe-in-child", "children keep the pipe that wakes the parent",
           "children: no descriptor but",
           ("Parent.be_child", "(*self.wake, *self.role.private(), ", "(*self.role.private(), ")),
    Mutant("no-close-of-selector-in-child", "children keep the parent's epoll set",
           "children: no descriptor but",
           ("Parent.be_child", "self.loop.close()", "pass")),
    Mutant("child-unregisters", "a child takes the listener out of the epoll set that its parent uses",
           "ladder: process of its own",
           ("Parent.be_child", "signal.set_wakeup_fd(-1)",
            "signal.set_wakeup_fd(-1), [self.loop.forget(one.sock.fileno()) for one in self.role.listeners]")),
    Mutant("iterative", "the parent serves each connection itself, one after another",
           "ladder: process of its own",
           ("Forking.admit", "self.parent.fork(functools.partial(self.serve_one, listener, sock, peer))",
            "self.serve_one(listener, sock, peer, at)"),
           ("Forking.serve_one", "self.parent.child = child =", "child ="),
           ("Child.call", "self.heed_parent()", "pass")),
    Mutant("loop-that-ticks", "the loop wakes ten times a second",
           "life: sleeps in the kernel",
           ("Loop.run", "timeout = None if", "timeout = 0.1 if")),

    # ---- the parent: reaping ----
    Mutant("no-reaper", "children that have ended stay zombies",
           "ladder: no zombie after",
           ("Parent.on_wake", "if self.forks or self.pid == 1:", "if False:")),
    Mutant("one-wait-per-signal", "signals coalesce, and all children but one stay zombies",
           "ladder: 128 children end at once",
           ("Parent.reap", "self.role.ended(pid)", "self.role.ended(pid)\n                    return")),
    Mutant("blocking-wait", "reaping waits for children that still serve",
           "ladder: hands no connection",
           ("Parent.reap", "os.WNOHANG", "0")),
    Mutant("lost-signal", "a signal that comes just before the wait does not end it",
           "ladder: no zombie after; life: can be stopped",
           ("Parent.run", "signal.set_wakeup_fd(self.wake[1], warn_on_full_buffer=False)", "pass")),
    Mutant("children-ignored", "SIGCHLD is ignored: the system reaps, and the parent never learns",
           "limits: never has more",
           ("Parent.run", "for signum in HEEDED}",
            "for signum in HEEDED}\n        signal.signal(signal.SIGCHLD, signal.SIG_IGN)")),
    Mutant("children-unheard", "SIGCHLD has its default, which wakes nobody",
           "ladder: no zombie after",
           ("Parent.run", "for signum in HEEDED}", "for signum in HEEDED if signum != signal.SIGCHLD}")),
    Mutant("no-child-is-an-error", "waiting for no child at all ends the server",
           "ladder: is not disturbed",
           ("Parent.reap", "except ChildProcessError:", "except ZeroDivisionError:")),
    Mutant("orphan-crashes", "an inherited orphan, a pid that the parent never forked, ends PID 1",
           "life: orphan",
           ("Parent.reap", "self.children.pop(pid, 0)", "self.children.pop(pid)")),
    Mutant("orphan-taken-for-child", "an inherited orphan frees a slot that it never had",
           "life: orphan",
           ("Parent.reap", "if at:", "if True:")),
    Mutant("slot-lost", "a child that has ended counts for ever",
           "limits: 40 clients",
           ("Parent.reap", "self.slots.append(at)", "pass")),
    Mutant("death-untold", "a child that crashes is not told",
           "children: reports",
           ("Parent.tell_end", "if slots[0][0]:", "if False:")),
    Mutant("signal-untold", "a child killed by a signal is said to have exited",
           "children: reports",
           ("Parent.tell_end", "if os.WIFSIGNALED(status):", "if False:")),
    Mutant("end-reported", "a child that ends well is reported as dead",
           "children: says nothing",
           ("Parent.be_child", "if not status:", "if False:")),
    Mutant("request-not-noted", "the report of a death does not name the request",
           "children: reports",
           ("Slot.call", "if shown is not self.shown:", "if False:")),
    Mutant("stale-request", "the report of a death names a request of the slot's previous child",
           "children: names no request",
           ("Parent.fork", 'self.site.board.memory[at + Scoreboard.LINE] = 0', "pass")),

    # ---- the parent: what the system refuses ----
    Mutant("emfile-ends-the-server", "an accept that fails for want of descriptors ends the server",
           "limits: EMFILE",
           ("Acceptor.accept", "if error.errno in SKIPPED:",
            "if error.errno not in SKIPPED:\n                raise\n            if True:")),
    *[
        Mutant(f"{name.lower()}-ends-the-server", f"an accept that fails with {name} ends the server",
               f"limits: accept .*{name}",
               ("Acceptor.accept", "if error.errno in SKIPPED:",
                f"if error.errno == errno.{name}:\n                raise\n            if error.errno in SKIPPED:"))
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
           ("Acceptor.accept", "elif waits:", "elif False:")),
    Mutant("listener-polled-while-full", "the listener is polled although nobody can be accepted",
           "limits: sleeps while there is no descriptor",
           ("Acceptor.pause", "self.loop.on(listener.sock.fileno(), NOTHING, self.listen)", "pass")),
    Mutant("fork-failure-ends-the-server", "a fork that fails ends the server",
           "limits: fork fails",
           ("Acceptor.serve", "except OSError as error:", "except ZeroDivisionError as error:")),
    Mutant("fork-not-retried", "a fork that fails loses the connection that was accepted",
           "limits: fork fails",
           ("Acceptor.serve", 'self.make_room(f"fork',
            'self.accepted[1].close()\n            self.accepted = None\n            self.make_room(f"fork')),
    Mutant("no-moment", "without a child to reap, what the system refused is never asked for again",
           "limits: accept .*EMFILE",
           ("Acceptor.make_room", "else self.limits.moment_s", "else NEVER")),
    Mutant("no-rest", "what the system refused is asked for again without a rest",
           "limits: sleeps while there is no process",
           ("Acceptor.make_room", "else self.limits.moment_s", "else 0.0"), ("Loop", "SCAN_S = 0.1", "SCAN_S = 0.0")),
    Mutant("no-ceiling", "more children are forked than --max-children allows",
           "limits: never has more",
           ("make_site", "else limits.max_children", "else 1024")),
    Mutant("told-again-and-again", "stderr says each time that the ceiling is reached",
           "limits: says once",
           ("Acceptor.make_room", "if reason not in self.told:", "if True:")),

    # ---- the parent and its children: who gives way ----
    Mutant("no-give-way", "nobody is asked to go at the ceiling",
           "give_way: idle connection give way",
           ("Forking.dismiss", "os.kill(wait[2], signal.SIGURG)", "pass")),
    *[
        Mutant(f"{name}-stays", f"a client {words} does not give way", tests,
               ("Forking.dismiss", "IDLE <= wait[0] < CALL", f"{state} != wait[0] < CALL and wait[0]"))
        for name, state, words, tests in (
            ("idle", "IDLE", "between two requests", "give_way: idle connection give way"),
            ("silent", "SILENT", "that has sent nothing", "give_way: nothing has come"),
            ("heading", "HEADING", "in a head", "give_way: unfinished head give way, with"),
            ("body", "BODY", "in a body", "give_way: unfinished body give way, with"),
            ("reader", "WRITING", "that does not read", "give_way: client give way that does not read"),
        )
    ],
    *[
        Mutant(f"{name}-stays-without-fork", f"a client {words} does not give way with --no-fork", tests,
               ("Host.dismiss", "Guest) and guest.state", f"Guest) and {state} != guest.state"))
        for name, state, words, tests in (
            ("silent", "SILENT", "that has sent nothing", "give_way: nothing has come"),
            ("heading", "HEADING", "in a head", "give_way: unfinished head give way, with"),
            ("body", "BODY", "in a body", "give_way: unfinished body give way, with"),
            ("reader", "WRITING", "that does not read", "give_way: client give way that does not read"),
        )
    ],
    Mutant("last-first", "whoever is furthest with a request is asked to go first",
           "give_way: before; give_way: first",
           ("Forking.dismiss", "sorted(able - self.asked)", "sorted(able - self.asked, reverse=True)")),
    Mutant("last-first-without-fork", "whoever is furthest with a request is asked to go first with --no-fork",
           "give_way: before; give_way: first",
           ("Host.dismiss", "key=lambda one: one[:2])", "key=lambda one: one[:2], reverse=True)")),
    Mutant("asks-the-fresh", "a client is asked to go whose first bytes may be on their way",
           "give_way: on their way",
           ("expendable", " + limits.fresh_s", " - 1e6")),
    Mutant("asks-the-fresh-without-fork", "a client is asked to go whose first bytes may be on their way with --no-fork",
           "give_way: on their way",
           ("Host.dismiss", " if one[1] <= now", "")),
    Mutant("asks-the-steady", "a client is asked to go although it keeps the pace",
           "give_way: good pace",
           ("expendable", "if state == IDLE:", "if state in (IDLE, BODY, WRITING):")),
    Mutant("asks-the-busy", "a client in the application is asked to go, and goes",
           "give_way: in the application",
           ("Forking.dismiss", "< CALL and wait[1] <= now", "<= CALL"),
           ("Child.heed_signal", "if self.expendable <= time.monotonic():", "if True:")),
    Mutant("asks-once", "who was asked and did not hear is never asked again",
           "limits: asks again",
           ("Forking.dismiss", "self.asked = set()", "pass")),
    Mutant("asks-the-same", "who does not go is asked again and again, and nobody else",
           "limits: asks another",
           ("Forking.dismiss", "self.asked.add(wait)", "pass")),
    Mutant("asks-all", "everybody who may be asked is asked at once",
           "give_way: longest",
           ("Forking.dismiss", "math.ceil(self.limits.share * len(able))", "len(able)")),
    Mutant("give-way-does-not-go", "a child that waits does not heed the parent's signal",
           "give_way: idle connection give way",
           ("Child.heed_signal", "raise GiveWay", "pass")),
    Mutant("give-way-without-last-recv", "a request that has arrived when the child is asked to go is lost",
           "limits: arrived unread",
           ("serve_requests", "ready = yield IDLE, limits.keep_alive_s",
            "ready = yield IDLE, limits.keep_alive_s\n            if not ready:\n                return False")),
    Mutant("deadline-without-last-recv", "bytes that have arrived when their time is over are lost",
           "limits: first request that has arrived unread",
           ("Connection.receive", "ready = yield state, deadline - time.monotonic()",
            "ready = yield state, deadline - time.monotonic()\n            if not ready:\n                raise TimeoutError")),
    Mutant("give-way-in-application", "a child that is asked to go leaves its request",
           "limits: leaves a request alone",
           ("Child.heed_signal", "if self.expendable <= time.monotonic():", "if True:")),
    Mutant("give-way-while-fresh", "a child that is asked too late, or by another, leaves a client who is in time",
           "limits: in time",
           ("Child.heed_signal", "self.expendable <= time.monotonic()", "self.expendable < NEVER")),
    Mutant("expendable-mark-stays", "a child that waited once leaves a later request when it is asked to go",
           "limits: leaves a request alone",
           ("Child.wait", "self.expendable = NEVER", "pass")),
    Mutant("state-not-noted", "the parent does not learn what a child waits for",
           "give_way: is idle give way before",
           ("Child.wait", "self.board.mark(self.at, state, since)", "pass")),
    Mutant("call-not-noted", "a child in the application passes for idle",
           "children: reports",
           ("Slot.call", "self.memory[self.at] = CALL", "pass")),
    Mutant("flag-not-raised", "children do not learn that others wait",
           "limits: go idle",
           ("Acceptor.make_room", "self.site.leaving[0] = 1", "pass")),
    Mutant("flag-not-checked", "a child goes idle although others wait",
           "limits: go idle",
           ("Child.wait", "(state == IDLE and self.memory[0])", "False")),
    Mutant("flag-not-lowered", "connections are closed although nobody waits any more",
           "limits: nobody waits any more",
           ("Acceptor.serve", "self.site.leaving[0] = self.parting", "pass")),
    Mutant("close-not-said", "the last response before a child leaves does not say so",
           "limits: go idle; life: last response",
           ("Head.frame", " or bool(leaving)", "")),

    # ---- the parent: the end ----
    Mutant("drain-cuts", "TERM cuts what is in flight",
           "life: in flight on TERM",
           ("Parent.on_wake", "self.part()", "self.part()\n            self.cut()")),
    Mutant("second-term-ignored", "a second TERM changes nothing",
           "life: second TERM",
           ("Parent.on_wake", "if self.stops > 1:", "if False:")),
    Mutant("second-term-ignored-without-fork", "a second TERM waits for the application with --no-fork",
           "life: second signal",
           ("Parent.on_signal", "if self.stops > 1 and not self.forks:", "if False:")),
    Mutant("no-end-of-grace", "what is in flight may take for ever",
           "life: grace",
           ("Parent.drain", "time.monotonic() + self.limits.graceful_timeout_s", "NEVER")),
    Mutant("listens-while-draining", "clients that can no longer be served are not refused",
           "life: in flight on TERM",
           ("Acceptor.close", "listener.sock.close()", "pass")),
    Mutant("idle-not-told-of-the-end", "idle children keep the server from ending",
           "life: closes",
           ("Forking.leave", "os.close(self.lifeline[1])", "pass")),
    Mutant("busy-not-told-of-the-end", "a response in flight does not say that its connection closes",
           "life: last response",
           ("Acceptor.close", "self.part_soon()", "pass")),
    Mutant("closes-what-is-closed", "a child forked while the server drains closes again what is closed",
           "limits: told to stop",
           ("Forking.private", "[] if self.closed else ", "")),
    Mutant("ends-before-its-children", "the parent ends while children still serve",
           "life: second TERM",
           ("Forking.is_done", "not self.parent.children and ", "")),
    Mutant("ends-before-the-accepted", "a connection that waits for its fork is lost on TERM",
           "limits: told to stop",
           ("Forking.is_done", " and not self.accepted", "")),
    Mutant("cut-asks-only", "a child that hangs is asked to end, not killed",
           "life: second TERM",
           ("Parent.cut", "self.kill(pid, signal.SIGKILL)", "self.kill(pid, signal.SIGTERM)")),
    Mutant("cut-waits-for-fork", "a connection that cannot be forked for keeps the server from ending",
           "limits: nobody can be forked for",
           ("Parent.cut", "self.role.accepted = None\n        self.loop.running = bool(self.children or self.elders.pids)",
            "self.role.finish()")),
    Mutant("int-unheeded", "Ctrl-C is a KeyboardInterrupt in the parent",
           "life: INT",
           ("STOPS", ", signal.SIGINT", ",")),
    Mutant("term-unheeded", "TERM kills the parent",
           "life: in flight on TERM",
           ("STOPS", "signal.SIGTERM, signal.SIGINT", "signal.SIGINT,")),
    Mutant("no-dismissal", "idle connections keep the server from ending with --no-fork",
           "life: no-fork",
           ("Host.leave", "self.loop.wait(guest, READ, soon)", "pass")),
    Mutant("idle-while-draining", "a connection goes idle with --no-fork although the server drains",
           "life: no-fork",
           ("Guest.resume", "if host.cutting and self.state <= SILENT:", "if False:")),
    Mutant("no-give-way-without-fork", "nobody gives way for want of descriptors with --no-fork",
           "give_way: nothing has come",
           ("Host.dismiss", "guest.resume(False)", "pass")),
    Mutant("one-a-moment", "only one client a moment gives way with --no-fork",
           "give_way: three clients for each place",
           ("Host.dismiss", "math.ceil(self.limits.share * len(able))", "1"),
           ("Acceptor.make_room", "0.0 if self.dismiss() else", "0.0 if self.dismiss() is None else")),
    Mutant("report-fails", "a failure that cannot be shown ends the server with --no-fork",
           "limits: outlives a failure",
           ("report", "except Exception:", "except MemoryError:")),

    # ---- the child ----
    Mutant("no-lifeline", "children serve on when the parent is dead",
           "life: leaves no idle child",
           ("Child.wait", "if state <= SILENT:", "if False:")),
    Mutant("lifeline-for-the-idle-alone", "children that wait for a first byte are not told to go",
           "life: sent nothing",
           ("Child.wait", "if state <= SILENT:", "if state == IDLE:")),
    Mutant("lifeline-always", "a child that hears that the parent drains leaves a request that has begun",
           "life: head is not whole",
           ("Child.wait", "if state <= SILENT:", "if True:")),
    Mutant("lifeline-taken-for-client", "a child takes the end of the lifeline for bytes from its client",
           "life: closes",
           ("Child.wait", "if ready and ready[-1][0] == self.lifeline:", "if False:")),
    Mutant("siblings-not-told", "when the parent was killed, responses do not say that they are the last",
           "life: killed with -9",
           ("Child.wait", "self.memory[0] = 1", "pass")),
    Mutant("orphan-streams-for-ever", "an endless stream goes on when nobody is left to cut it",
           "life: endless",
           ("Child.heed_parent", "signal.alarm(", "abs(")),
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
           "children: writes nothing into",
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
           ("exchange", "except BaseException as error:  # S", "except Exception as error:  # S")),
    Mutant("shared-context", "an application's context variables last into the next request",
           "children: context",
           ("exchange", "contextvars.copy_context().run", "lambda act, *arguments: act(*arguments)")),
    Mutant("close-in-another-context", "close() does not see the context variables of its request",
           "children: context",
           ("exchange", "call(connection, run, blocks.close)",
            "call(connection, contextvars.copy_context().run, blocks.close)")),
    Mutant("descriptors-missing", "the listener takes the place of a stdout that was closed at the start",
           "life: missing at the start",
           ("main", "open_standard_streams()", "pass")),
    Mutant("ready-before-its-signals", "whoever reads the ready line and stops the server kills it",
           "life: can be stopped as soon",
           ("start", "status = Parent(",
            'print(f"Serving HTTP on {listeners[0].where} ...", flush=True)\n    time.sleep(0.5)\n    status = Parent(')),
    Mutant("ready-before-it-listens", "whoever reads the ready line and connects is refused",
           "cli: only when it listens",
           ("start", "binds = found.bind or binds_of(os.environ)",
            'print("Serving HTTP on port 1 ...", flush=True)\n    binds = found.bind or binds_of(os.environ)')),
    Mutant("no-stack-on-usr1", "USR1 kills a process instead of showing where it is",
           "give_way: idle connection give way",
           ("Parent.run", "faulthandler.register(signal.SIGUSR1, file=2, chain=True)", "pass")),
    Mutant("threads-untold", "nobody is told that threads started at import do not exist in children",
           "children: threads started at import",
           ("start", "if threads and threads.active_count() > 1 and not found.no_fork:", "if False:")),

    Mutant("nameless-signal", "a child's death by a signal without a name ends the parent",
           "children: any signal",
           ("Parent.tell_end", 'SIGNALS.get(number, f"signal {number}")', "signal.Signals(number).name")),
    Mutant("forked-process-deaf", "a process that the application forked does not heed TERM",
           "children: it has forked",
           ("Parent.on_signal", "os.getpid() != self.child.pid", "False")),
    Mutant("reaps-the-application's", "in one process the application's children are reaped by the server",
           "children: own children",
           ("Parent.on_wake", "if self.forks or self.pid == 1:", "if True:")),
    Mutant("pipelined-lost", "what was pipelined is dropped when the server is told to stop",
           "life: pipelined before",
           ("Response.begin", " and not connection.ahead", "")),
    Mutant("endless-credit", "a client that was quick may stall for hours, and for longer than poll() can count",
           "deadlines: came fast",
           ("Connection.later", "return min(", "return deadline + moved / self.limits.rate_bytes_per_s if moved else min(")),
    Mutant("no-credit", "a body that keeps the pace, and takes longer than a stall, is refused",
           "deadlines: body that comes at",
           ("Connection.later", "moved / self.limits.rate_bytes_per_s", "0")),
    Mutant("no-credit-for-a-reader", "a client that reads as fast as it has to, and longer than a stall, is left",
           "deadlines: client that reads",
           ("Connection.transfer", "self.later(stall_s, deadline, sent)", "deadline")),
    Mutant("no-drain-after-the-last", "what a client sends after a last response destroys that response",
           "responses: drains what comes",
           ("converse", "if unread or (connection.request and connection.request.persistent):", "if unread:")),
    Mutant("more-for-ever", "an application is asked for more although its Content-Length has come",
           "responses: no more where",
           ("send_blocks", "response.excess or ", "")),
    Mutant("generator-exit", "a GeneratorExit of the application closes the conversation without an answer",
           "responses: plain 500",
           ("Pool.work", "RuntimeError(repr(error))", "error")),

    # ---- reading a head ----
    Mutant("bare-lf", "a bare LF ends a field line",
           "requests: what it should of field lines",
           ("HEAD", r"{VALUE}\r\n)*", r"{VALUE}\r?\n)*"),
           ("Request.__init__", r'section.split("\r\n")', r're.split("\r?\n", section)'),
           ("STRAY", r"(?<!\r)\n|", "")),
    Mutant("bare-lf-after-request-line", "a bare LF ends the request-line",
           "requests: bare LF",
           ("HEAD", r"([0-9])\r\n", r"([0-9])\r?\n"), ("STRAY", r"(?<!\r)\n|", "")),
    Mutant("bare-cr", "a bare CR stands in a value",
           "requests: bare CR",
           ("VALUE", r"[\t", r"[\t\r"), ("STRAY", r"\r(?=[^\n])|", "")),
    Mutant("nul", "a NUL stands in a value",
           "requests: NUL",
           ("VALUE", r"[\t", r"[\t\0"), ("STRAY", r"\x00-", r"\x01-")),
    Mutant("space-before-colon", "a name that others trim and this one does not, or the other way round",
           "requests: space before the colon",
           ("HEAD", "(?:{TOKEN}:", r"(?:{TOKEN}[ \t]*:"),
           ("read_field", "name.upper()", r'name.rstrip(" \t").upper()')),
    Mutant("obs-fold", "a line that begins with a space continues the line before it",
           "requests: folded",
           ("HEAD", "{VALUE}", r"{VALUE}(?:\r\n[ \t]{VALUE})*"),
           ("Request.__init__", r'section.split("\r\n")', r're.split(r"\r\n(?![ \t])", section)')),
    Mutant("several-spaces", "several spaces stand in a request-line",
           "requests: second space",
           ("HEAD", "({TOKEN}) ({TARGET}) ", "({TOKEN}) +({TARGET}) +")),
    Mutant("any-major-version", "HTTP/2.0 passes for HTTP/1.0",
           "requests: major version",
           ("HEAD", r"HTTP/1\.", r"HTTP/[0-9]\.")),
    Mutant("version-in-any-case", "http/1.1 is a version",
           "requests: request-lines",
           ("HEAD", "HTTP/1", "(?i:http)/1")),
    Mutant("fragment", "a target has a fragment",
           "requests: fragment",
           ("TARGET", r"\x22\x24-", r"\x22-")),
    Mutant("eight-bit-target", "a target has 8-bit bytes",
           "requests: 8-bit",
           ("TARGET", r"\x7e]", r"\x7e\x80-\xff]")),
    Mutant("empty-lines-without-end", "a client sends empty lines for ever",
           "requests: empty lines",
           ("gather_head", "blank < limits.blank_lines", "True")),
    Mutant("no-empty-line", "an empty line before a request-line is not skipped",
           "requests: empty lines",
           ("gather_head", "blank < limits.blank_lines", "False")),
    Mutant("values-stripped", "white space of Unicode, which HTTP does not know, is trimmed",
           "requests: white space",
           ("read_field", r'value.strip(" \t")', "value.strip()")),
    Mutant("last-field-wins", "of repeated fields the last is taken",
           "requests: joins repeated",
           ("Request.add_fields", "value = environ[key] +", "value = value or environ[key] +")),
    Mutant("cookies-joined-with-a-comma", "cookies are joined as other fields are",
           "requests: repeated fields",
           ("Request.add_fields", '("; " if key == "HTTP_COOKIE" else ", ")', '", "')),
    *[
        Mutant(f"{name.lower().replace('_', '-')}-twice", f"two of {name} pass for one",
               "requests: repeated fields",
               ("SINGULAR", f'"{key}"', '""'))
        for name, key in (("CONTENT_TYPE", "CONTENT_TYPE"), ("AUTHORIZATION", "HTTP_AUTHORIZATION"))
    ],
    Mutant("host-twice", "of two Hosts the last is taken",
           "requests: two Hosts",
           ("Request.add_fields", "if key in environ:", 'if key in environ and key != "HTTP_HOST":')),
    Mutant("host-missing", "a request of HTTP/1.1 has no Host",
           "requests: without a Host",
           ("Request.place", 'if self.minor and "HTTP_HOST" not in environ:', "if False:")),
    Mutant("host-unchecked", "a Host is anything",
           "requests: Host that is none",
           ("HOST", "re.compile(", 're.compile(".+()") or re.compile(')),
    Mutant("underscore", "X_Forwarded_For passes for X-Forwarded-For",
           "requests: underscore",
           ("read_field", '"_" in name or ', "")),
    Mutant("proxy", "Proxy becomes HTTP_PROXY, a setting",
           "requests: HTTP_PROXY",
           ("read_field", ' or key == "PROXY"', "")),
    Mutant("absolute-form-ignored", "Host is believed rather than the target",
           "requests: absolute-form",
           ("Request.place", 'environ["HTTP_HOST"] = absolute[1]', "pass")),
    Mutant("asterisk-for-all", "any method asks for *",
           "requests: asterisk-form",
           ("Request.place", ' and method == "OPTIONS"', "")),
    Mutant("connect-to-a-path", "CONNECT asks for a path",
           "requests: request-targets",
           ("Request.place", 'target[0] == "/" and method != "CONNECT"', 'target[0] == "/"')),
    Mutant("half-an-escape", "a % stands for itself",
           "requests: request-targets",
           ("Request.place", "if BAD_ESCAPE.search(path):", "if False:")),
    Mutant("decoded-twice", "%252e becomes a dot",
           "wsgi: decodes the path once",
           ("Request.place", "16)), path)", "16)), ESCAPE.sub(lambda match: chr(int(match[1], 16)), path))")),
    Mutant("root-within-a-name", "/application is below the root path /app",
           "wsgi: root-path",
           ("Request.place", '(path + "/").startswith(root + "/")', "path.startswith(root)")),
    Mutant("root-not-checked", "a path outside of the root path reaches the application",
           "wsgi: root-path",
           ("Request.place", "raise HTTPError(404", "HTTPError(404")),
    Mutant("root-not-stripped", "PATH_INFO repeats the root path",
           "wsgi: root-path",
           ("Request.place", "path[len(root) :]", "path")),
    Mutant("root-before-escapes", "the root path is not found where a client has escaped it",
           "wsgi: root-path",
           ("Request.place", '(path + "/").startswith', '(target.partition("?")[0] + "/").startswith')),
    Mutant("root-for-the-asterisk", "OPTIONS * is not found below a root path",
           "wsgi: other forms of a target",
           ("Request.place", "if root and path and not", "if root and not")),
    Mutant("root-with-a-slash", "a root path may end in a slash",
           "cli: no number above zero",
           ("parse_arguments", r"\x7f]+)*", r"\x7f]*)*")),
    Mutant("root-in-unicode", "SCRIPT_NAME has characters where PEP 3333 wants bytes",
           "wsgi: root-path",
           ("Site.__init__", 'os.fsencode(root).decode("latin-1")', "root")),
    Mutant("no-validation", "--validate changes nothing",
           "wsgi: --validate",
           ("load_application", "if found.validate:", "if False:")),
    Mutant("quiet", "--verbose changes nothing",
           "cli: --verbose",
           ("make_site", "found.verbose or ", "")),
    Mutant("quiet-refusals", "--verbose says nothing of a refusal",
           "cli: --verbose",
           ("converse", "if site.talks and error.status != 500:", "if False:")),
    Mutant("talkative", "each request leaves a line on stderr",
           "cli: without --verbose",
           ("make_site", "found.verbose or sys.stderr.isatty()", "True")),
    *[
        Mutant(f"{name}-ignored", f"--{name} changes nothing", tests,
               ("LIMITS", f'("--{name}", "{attribute}"', f'("--{name}", "unused"'),
               ("Limits", f"    {attribute} = ", f"    unused = {default}\n    {attribute} = "))
        for name, attribute, default, tests in (
            ("stall-timeout", "stall_timeout_s", "10.0", "deadlines: body no more time for each"),
            ("min-rate", "rate_bytes_per_s", "1024", "deadlines: body that comes at"),
            ("header-timeout", "header_timeout_s", "10.0", "deadlines: head no more time"),
            ("keep-alive", "keep_alive_s", "5.0", "deadlines: idle"),
            ("graceful-timeout", "graceful_timeout_s", "30.0", "life: grace"),
            ("max-body", "body_bytes", "1 << 30", "framing: beyond its limit"),
        )
    ],
    Mutant("number-beyond-poll", "an option takes more seconds than poll() can count",
           "cli: no number above zero",
           ("parse_arguments", "10**6", "10**9")),
    *[
        Mutant(f"unlimited-{name.replace('_', '-')}", f"nothing bounds {words}", tests,
               ("Limits", f"    {name} = ", f"    {name} = 1 << 40 or "))
        for name, words, tests in (
            ("request_line_bytes", "a request-line", "requests: request-line that is too long"),
            ("field_line_bytes", "a field line", "requests: field line that is too long"),
            ("fields", "the number of fields", "requests: too many fields"),
            ("head_bytes", "a head", "requests: without end"),
            ("chunk_line_bytes", "a chunk's extensions", "framing: what it should of chunks"),
        )
    ],
    Mutant("unlimited-body", "nothing bounds a body",
           "framing: beyond its limit",
           ("Request.frame", " or int(digits) > limits.body_bytes", "")),
    Mutant("unlimited-memory", "a body of any size is kept in memory",
           "framing: in memory",
           ("Spool.write", "if self.size <= self.memory_bytes < self.size + len(data):", "if False:")),
    Mutant("unlimited-chunks", "nothing bounds the number of chunks",
           "framing: number of chunks",
           ("Body.move_chunks", "range(limits.chunks + 1)", "range(1 << 40)")),
    Mutant("unlimited-time-of-a-head", "a head may take for ever",
           "deadlines: does not arrive in time",
           ("gather_head", "time.monotonic() + limits.header_timeout_s", "time.monotonic() + 1e6")),
    Mutant("unlimited-time-of-a-body", "a body that stalls is waited for",
           "deadlines: stalls",
           ("Body.arrive", "receive(BODY, self.deadline)", "receive(BODY, self.deadline + 1e6)")),
    Mutant("unlimited-time-between-requests", "an idle connection is kept for ever",
           "deadlines: idle",
           ("serve_requests", "yield IDLE, limits.keep_alive_s", "yield IDLE, 1e6")),
    Mutant("unlimited-time-of-a-refusal", "a refused client keeps its connection for ever",
           "deadlines: refused client",
           ("Connection.linger", "time.monotonic() + self.limits.linger_s", "time.monotonic() + 1e6")),
    Mutant("unlimited-bytes-after-a-refusal", "a refused client sends on for ever",
           "deadlines: refused client",
           ("Connection.linger", "drained < self.limits.linger_bytes", "True")),
    Mutant("a-byte-renews-the-deadline", "a head may take as long as it brings a byte now and then",
           "deadlines: head no more time",
           ("gather_head", "SILENT, deadline)", "SILENT, time.monotonic() + limits.header_timeout_s)")),
    Mutant("a-byte-renews-the-deadline-of-a-body", "a body may take as long as it brings a byte now and then",
           "deadlines: body no more time",
           ("Connection.later", ", deadline + moved / self.limits.rate_bytes_per_s", ", NEVER")),
    Mutant("another-head-remembered", "a head as long as one that is remembered passes for the same",
           "framing: hundreds of pipelined",
           ("serve_requests", "known.get(head)", "next((known[one] for one in known if len(one) == len(head)), None)")),
    Mutant("head-of-the-same-length", "what comes at once and is as long as a remembered head passes for a whole one",
           "framing: as long as the last head",
           ("read_head", "data in connection.known", "len(data) in map(len, connection.known)")),
    Mutant("head-that-begins-alike", "what begins with a remembered head passes for that alone",
           "framing: is repeated",
           ("read_head", "data in connection.known",
            "any(map(data.startswith, connection.known))")),
    Mutant("head-and-more", "what begins with a remembered head passes for that alone, and the rest is lost",
           "framing: is repeated",
           ("read_head", "data in connection.known",
            "any(map(data.startswith, connection.known))"),
           ("read_head", 'connection.ahead = b""\n        return data',
            'connection.ahead = b""\n        return next(filter(data.startswith, connection.known), data)')),
    Mutant("repeated-head-stays", "a head that repeats the last one is answered for ever",
           "framing: pipelined",
           ("read_head", 'connection.ahead = b""', "pass")),
    Mutant("blank-line-in-a-head", "an empty line before a request is taken for a part of its head",
           "requests: empty lines",
           ("read_head", r' or data.startswith(b"\r\n")', "")),
    Mutant("shared-environ", "what an application leaves in its environ reaches the next request",
           "wsgi: fresh environ",
           ("Request.environ_for", "self.environ.copy()", "self.environ")),

    # ---- where a body ends: what smuggling rests on ----
    *[
        Mutant(f"length-{name}", f"a Content-Length with {words} is taken",
               "framing: Content-Length",
               ("Request.frame", "DIGITS.fullmatch(length)", f're.fullmatch("{pattern}", length)'))
        for name, words, pattern in (
            ("plus", "a plus sign", "[+]?[0-9]+"), ("minus", "a minus sign", "-?[0-9]+"),
            ("underscore", "an underscore", "[0-9_]+"),
        )
    ],
    Mutant("length-blank", "a Content-Length with white space of Unicode is taken",
           "framing: Content-Length",
           ("Request.frame", 'environ.get("CONTENT_LENGTH", "0")',
            'environ.get("CONTENT_LENGTH", "0").strip()')),
    Mutant("length-empty", "an empty Content-Length is zero",
           "framing: Content-Length",
           ("Request.frame", 'environ.get("CONTENT_LENGTH", "0")', 'environ.get("CONTENT_LENGTH") or "0"')),
    Mutant("length-list", "of a list in Content-Length the first is taken",
           "framing: Content-Length",
           ("Request.frame", 'environ.get("CONTENT_LENGTH", "0")',
            'environ.get("CONTENT_LENGTH", "0").split(",")[0]')),
    Mutant("length-twice", "of two Content-Lengths the last is taken",
           "framing: two lengths",
           ("Request.add_fields", "if key in environ:", 'if key in environ and key != "CONTENT_LENGTH":')),
    Mutant("length-twice-the-same", "two Content-Lengths pass for one when they are the same",
           "framing: two lengths",
           ("Request.add_fields", "if key in environ:",
            'if key in environ and (key, value) != ("CONTENT_LENGTH", environ[key]):')),
    Mutant("length-of-a-million-digits", "a number is read before its digits are counted",
           "framing: Content-Length",
           ("Request.frame", "len(digits) > 18 or ", "")),
    Mutant("coding-and-length", "Content-Length stands beside Transfer-Encoding",
           "framing: beside Content-Length",
           ("Request.frame", 'if "CONTENT_LENGTH" in environ:', "if False:")),
    Mutant("coding-in-1.0", "HTTP/1.0 has a Transfer-Encoding",
           "framing: HTTP/1.0",
           ("Request.frame", "if not self.minor:", "if False:")),
    Mutant("coding-ignored", "a Transfer-Encoding other than chunked is ignored",
           "framing: another coding",
           ("Request.frame", "self.chunked = coding is not None",
            'self.chunked = (coding or "").lower() == "chunked"'),
           ("Request.frame", 'if coding.lower() != "chunked":', "if False:")),
    *[
        Mutant(f"coding-{name}", f"a Transfer-Encoding {words} passes for chunked",
               tests, ("Request.frame", 'coding.lower() != "chunked"', test))
        for name, words, tests, test in (
            ("last", "with chunked last", "framing: another coding", 'members(coding)[-1] != "chunked"'),
            ("twice", "of chunked twice", "framing: chunked twice", '{*members(coding)} != {"chunked"}'),
            ("blank", "with white space of Unicode", "framing: of Transfer-Encoding",
             'coding.lower().strip() != "chunked"'),
            ("within", "with chunked somewhere in it", "framing: of Transfer-Encoding",
             '"chunked" not in coding.lower()'),
        )
    ],
    Mutant("coding-in-any-case", "CHUNKED is refused",
           "framing: of Transfer-Encoding",
           ("Request.frame", 'coding.lower() != "chunked"', 'coding != "chunked"')),
    Mutant("coding-shown", "the application sees a Transfer-Encoding that is decoded already",
           "wsgi: chunked body",
           ("Request.frame", 'environ.pop("HTTP_TRANSFER_ENCODING"', 'environ.get("HTTP_TRANSFER_ENCODING"')),
    *[
        Mutant(f"chunk-size-{name}", f"a chunk-size {words} is taken",
               "framing: chunk-size; framing: what it should of chunks",
               ("CHUNK_LINE", "([0-9", f"{pattern}"))
        for name, words, pattern in (
            ("plus", "with a sign", "([+]?[0-9"), ("0x", "that begins with 0x", "((?:0[xX])?[0-9"),
            ("underscore", "with an underscore", "([_0-9"), ("blank", "after a blank", "[ ]*([0-9"),
        )
    ],
    Mutant("chunk-line-bare-lf", "a bare LF ends a chunk-size",
           "framing: what it should of chunks",
           ("CHUNK_LINE", r"\r\n", r"\r?\n")),
    Mutant("chunk-extension-unchecked", "a chunk extension is anything",
           "framing: what it should of chunks",
           ("CHUNK_LINE", "(?:{EXTENSION})*", r"(?:;[^\r\n]*)?")),
    Mutant("chunk-end-unchecked", "two bytes after a chunk are skipped, whatever they are",
           "framing: end in CRLF",
           ("Body.move_chunks", 'yield from self.take(CRLF, 2, 400, "a chunk ends in CRLF")',
            "del self.buffer[:2]")),
    Mutant("chunk-end-bare-lf", "a bare LF ends a chunk",
           "framing: end in CRLF; framing: what it should of chunks",
           ("CRLF", r"\r\n", r"\r?\n")),
    Mutant("chunks-unlimited", "many chunks make a body larger than a body may be",
           "framing: beyond its limit",
           ("Body.move_chunks", "if self.spool.size + size > limits.body_bytes:", "if False:")),
    Mutant("trailers-merged", "a trailer passes for a field of the head",
           "framing: merges no trailer",
           ("Body.read", "if request.continues", "self.request = request\n        if request.continues"),
           ("Body.move_chunks", r'if line[0] == b"\r\n":',
            'name, _, value = line[0].decode("latin-1").partition(":")\n'
            '            self.request.environ["HTTP_" + name.upper().replace("-", "_")] = value.strip()\n'
            r'            if line[0] == b"\r\n":')),
    Mutant("trailers-unchecked", "a trailer is anything",
           "framing: trailers",
           ("TRAILER_LINE", "(?:{TOKEN}:{VALUE})?", r"[^\n]*?")),
    Mutant("trailer-bare-lf", "a bare LF ends a trailer",
           "framing: trailers",
           ("TRAILER_LINE", r"\r\n", r"\r?\n")),
    Mutant("trailers-unlimited", "nothing bounds the number of trailers",
           "framing: trailers",
           ("Body.move_chunks", "for _ in range(limits.fields + 1):", "while True:")),
    Mutant("truncated-body", "a body that ended early is shown as a whole one",
           "framing: ended early",
           ("Body.read", "except OSError as error:",
            "except ClientGone:\n            self.spool.file.seek(0)\n        except OSError as error:")),
    Mutant("body-left", "the body of a GET becomes the next request",
           "framing: never takes",
           ("serve_requests", "if request.framing else", 'if request.framing and request.method != "GET" else')),
    Mutant("request-lost-behind-a-body", "what follows a body in one packet is lost",
           "framing: pipelined",
           ("Body.read", "self.connection.ahead = bytes(self.buffer)", 'self.connection.ahead = b""')),
    Mutant("on-after-a-refusal", "what follows a refused head is the next request",
           "requests: answers nothing that follows",
           ("serve_requests", "request = connection.request = known.get(head) or parse(head, connection)",
            "try:\n            request = connection.request = known.get(head) or parse(head, connection)\n"
            "        except HTTPError:\n"
            r'            yield from connection.send(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")'
            "\n            continue")),
    Mutant("on-after-close", "a client that says close is served on",
           "framing: after Connection: close",
           ("Request.__init__", '"close" not in options and ', "")),
    Mutant("pipeliner-first", "a client that pipelines without end keeps others waiting with --no-fork",
           "framing: pipelines without end",
           ("serve_requests", "(yield WRITING, limits.send_timeout_s)", "True")),
    Mutant("continue-always", "100 Continue is sent to all",
           "framing: expectations",
           ("Body.read", "if request.continues and not self.buffer:", "if not self.buffer:")),
    Mutant("continue-never", "100 Continue is not sent",
           "framing: 100 Continue",
           ("Body.read", "if request.continues and not self.buffer:", "if False:")),
    Mutant("continue-although-it-came", "100 Continue is sent although the body is there",
           "framing: has come with the head",
           ("Body.read", "if request.continues and not self.buffer:", "if request.continues:")),
    Mutant("continue-to-1.0", "100 Continue is sent to HTTP/1.0",
           "framing: 100 Continue to HTTP/1.0",
           ("Request.frame", '"").lower() if self.minor else ""', '"").lower()')),
    Mutant("expectation-ignored", "another expectation is ignored",
           "framing: another expectation",
           ("Request.frame", 'if not {*members(expect)} <= {"", "100-continue"}:', "if False:")),

    # ---- refusals ----
    Mutant("no-linger", "a refusal is lost when the client still sends",
           "requests: still sends",
           ("refuse", "yield from connection.linger()", "pass")),
    Mutant("no-linger-after-close", "the last response is lost when the client still sends",
           "framing: still sends after",
           ("converse", "yield from connection.linger()", "pass")),
    Mutant("refusal-of-head-with-body", "the refusal of HEAD has a body",
           "requests: HEAD without a body",
           ("refuse", 'head.startswith(b"HEAD ")', "False")),
    Mutant("refusal-unescaped", "the refusal repeats what the client sent as it is",
           "requests: escaped",
           ("HTTPError.__init__", "ascii(part[:60])", "part")),
    Mutant("refusal-sniffed", "a browser may take a refusal for another type of content",
           "requests: says in one sentence",
           ("refuse", ', ("X-Content-Type-Options", "nosniff")', "")),

    # ---- responses ----
    Mutant("crlf-in-a-value", "a value of the application's begins a line of its own",
           "wsgi: control character",
           ("Head.__init__", " or not CONTENT.fullmatch(value)", "")),
    Mutant("name-unchecked", "a field name of the application's is anything",
           "wsgi: no token",
           ("Head.__init__", "not NAME.fullmatch(name) or ", "")),
    Mutant("status-unchecked", "a status of the application's begins a line of its own",
           "wsgi: status that is none",
           ("Head.__init__", "STATUS.fullmatch(status)", 're.match("[2-5][0-9][0-9] ", status)')),
    Mutant("informational-status", "the application sends 100 or 999",
           "wsgi: informational",
           ("STATUS", "[2-5]", "[1-9]")),
    Mutant("response-length-unchecked", "the application's Content-Length is anything",
           "wsgi: Content-Length that is no number",
           ("Head.__init__", 'if lower == "content-length" and not LENGTH.fullmatch(value):', "if False:")),
    Mutant("response-length-twice", "the application's Content-Length stands twice",
           "wsgi: stands there twice",
           ("ONCE", "content-length ", "")),
    Mutant("more-than-its-length", "more is sent than the application's Content-Length",
           "responses: cuts",
           ("Response.framed", "data = data[: self.left]", "pass"), ("Response.framed", "if len(data) > self.left and", "if False and")),
    Mutant("more-than-its-length-in-one-block", "one block is sent whatever its Content-Length says",
           "responses: cuts",
           ("Response.whole", "if self.head and self.head.length not in (None, len(block)):", "if False:")),
    Mutant("less-than-its-length", "the connection goes on although bytes are missing",
           "responses: less than",
           ("Response.end", "if self.left:", "if False:")),
    Mutant("no-last-chunk", "the last chunk is missing",
           "responses: last chunk",
           ("Response.end", r'b"0\r\n\r\n"', 'b""')),
    Mutant("last-chunk-after-a-failure", "a response that failed in the middle passes for a whole one",
           "responses: fails in the middle",
           ("fail", "raise ClientGone from error",
            "yield from response.connection.send(response.end())\n    raise ClientGone from error")),
    Mutant("empty-chunk", "an empty block ends the response",
           "responses: empty block",
           ("send_blocks", "if block:", "if True:"),
           ("Response.framed", "if self.bodiless or not data:",
            "if self.bodiless or (not data and known is not None):")),
    Mutant("head-with-an-empty-block", "an empty block sends the head, which could still be replaced",
           "wsgi: start_response",
           ("send_blocks", "if block:", "if True:")),
    Mutant("chunked-to-1.0", "HTTP/1.0 gets chunks",
           "responses: HTTP/1.0",
           ("Head.frame", "chunked = request.minor > 0", "chunked = True")),
    Mutant("kept-without-a-word", "HTTP/1.0 is not told that its connection is kept",
           "responses: HTTP/1.0",
           ("Head.frame", "elif not request.minor:", "elif False:")),
    Mutant("kept-unasked", "the connection of HTTP/1.0 is kept, asked or not",
           "responses: HTTP/1.0",
           ("Request.__init__", '(self.minor > 0 or "keep-alive" in options)', "True")),
    Mutant("body-for-head", "the answer to HEAD has a body",
           "responses: HEAD",
           ("Head.frame", ' or request.method == "HEAD"', "")),
    *[
        Mutant(f"body-with-{code}", f"a response {code} has a body",
               f"responses: {code}", ("BODILESS", f"{code}", "999"))
        for code in (204, 205, 304)
    ],
    Mutant("hop-by-hop", "the application's hop-by-hop fields are sent",
           "wsgi: hop-by-hop",
           ("Head.__init__", " and lower not in HOP_BY_HOP", "")),
    Mutant("close-not-honoured", "the application's Connection: close is dropped",
           "wsgi: honours",
           ("Head.__init__", 'self.close = self.close or "close" in members(value)', "pass")),
    Mutant("server-twice", "Server stands twice",
           "responses: Server",
           ("Head.__init__", 'if "server" not in names:', "if True:")),
    Mutant("date-twice", "Date stands twice",
           "responses: Date",
           ("Response.begin", "if self.head.dated", "if False")),
    Mutant("no-date", "Date is missing",
           "responses: Date",
           ("Response.begin", "if self.head.dated", "if True")),
    Mutant("stale-date", "Date is the hour's",
           "responses: time of",
           ("date_line", "second + 1", "second + 3600")),
    Mutant("date-never-renewed", "Date is that of the first response",
           "responses: time of",
           ("date_line", "second <= time.time() < second + 1", "line")),
    Mutant("stale-framing", "a response has the length of the one before, where its head is the same",
           "responses: whatever the one before",
           ("Response.begin", " or length != known", "")),
    Mutant("stale-head", "a response has the head of the one before, where its length is the same",
           "responses: whatever the one before",
           ("Response.begin", "said is not self.head or ", "")),
    Mutant("stale-persistence", "a response like the one before does not say that it is the last",
           "life: last response; limits: go idle",
           ("Response.begin", " or leaving:", ":")),
    Mutant("another-head-sent", "a head that was sent before passes for one with the same status",
           "wsgi: same name apart",
           ("Response.start", "HEADS.get((status, *headers))",
            "next((HEADS[key] for key in HEADS if key[0] == status), None)")),
    Mutant("write-without-end", "a client that does not read is waited for without end",
           "deadlines: nothing of its response",
           ("Connection.transfer", "deadline - time.monotonic()", "deadline - time.monotonic() + 1e6")),
    Mutant("blocking-recv", "a child waits in recv, and hears neither its deadline nor its parent",
           "deadlines: idle; life: closes",
           ("Child.__init__", "sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, LIKELY)", "pass")),
    Mutant("blocking-send", "a child waits in send, and does not hear its deadline",
           "deadlines: nothing of its response",
           ("Child.__init__", "sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, LIKELY)", "pass")),
    Mutant("busy-orphan", "a child whose parent is dead serves on as long as its client is busy",
           "life: busy client",
           ("Child.heed_parent", "self.memory[0] = 1", "pass")),
    Mutant("orphan-writes-for-ever", "a child whose parent is dead writes on, through write()",
           "life: through write",
           ("Child.block", "self.heed_parent()", "pass")),

    # ---- the application ----
    Mutant("failure-shown", "the client sees what the application failed with",
           "responses: plain 500",
           ("fail", 'f"the application failed; the log has it as {name}"', "repr(error)")),
    Mutant("start-response-twice", "start_response may be called again without exc_info",
           "wsgi: start_response is called twice",
           ("Response.start", "elif self.head:", "elif False:")),
    Mutant("exc-info-too-late", "start_response replaces a head that is on its way",
           "wsgi: raises exc_info",
           ("Response.start", "if self.begun:", "if False:")),
    Mutant("stream-collected", "blocks are sent when the last is there",
           "wsgi: each block",
           ("send_blocks", "iter, blocks)", 'iter, [b"".join(blocks)])')),
    Mutant("str-for-an-iterable", "a str is taken for an iterable of blocks",
           "wsgi: says what the application returned",
           ("send_blocks", "isinstance(blocks, (str, bytes)) or ", "")),
    Mutant("no-close", "close() is not called",
           "wsgi: closes",
           ("exchange", 'hasattr(blocks, "close")', "False")),
    Mutant("close-after-success-alone", "close() is not called after a failure, or when the client leaves",
           "wsgi: closes",
           ("exchange", 'hasattr(blocks, "close")', 'not sys.exc_info()[0] and hasattr(blocks, "close")')),
    Mutant("one-context-for-all", "two responses made at the same time see each other's context variables",
           "wsgi: contexts",
           ("exchange", "contextvars.copy_context().run",
            "contextvars.copy_context().run if connection.alone else lambda act, *arguments: act(*arguments)")),
    Mutant("file-from-its-start", "a file is sent from its start, not from its position",
           "wsgi: from its position",
           ("FileWrapper.extent", "self.file.tell()", "0")),
    Mutant("file-to-its-end", "a file is sent to its end, whatever Content-Length says",
           "wsgi: file to its Content-Length",
           ("send_extent", "min(size, response.left or 0)", "size")),

    # ---- workers, and what attacks found ----
    # ---- workers: who takes a connection ----
    Mutant("never-left-to-others", "a worker takes whatever comes, however few connections the others have",
           "workers: opened one by one; workers: opened at once",
           ("Host.welcome", "if self.weight() > least + least // 8 + self.SLACK:", "if False:")),
    Mutant("break-without-end", "a worker that leaves the listeners out does so until it is told",
           "workers: fewer that takes none",
           ("Host.welcome", "self.pause(self.BREAK_S, self.end_break)", "self.pause(NEVER, self.end_break)")),
    Mutant("nobody-taken-after-a-break", "a worker takes nobody after a break, where another has fewer",
           "workers: fewer that takes none",
           ("Host.end_break", "while left and self.accept(listener, waits=False):", "while False:")),
    Mutant("all-taken-after-a-break", "a worker takes whoever waits after its first break",
           "workers: opened at once",
           ("Host.end_break", "else self.grant", "else Host.MOST_AT_ONCE")),
    Mutant("grant-never-lapses", "a worker that once took many after its breaks takes as many after each",
           "workers: again and again",
           ("Host.welcome", "self.grant = 1", "pass")),
    Mutant("batch-without-a-look", "a worker accepts a batch of connections whoever has fewer",
           "workers: opened at once",
           ("Host.welcome", "for count in range(self.batch):", "for count in range(64):"),
           ("Host.welcome", "if self.weight() >", "if not count and self.weight() >")),
    Mutant("room-made-for-nobody", "a worker that is full has others give way although nobody waits",
           "workers: nobody else waits",
           ("Host.welcome", "waits=not count", "waits=True")),
    Mutant("load-untold", "workers do not show how many connections they have",
           "workers: opened at once; workers: one by one",
           ("Host.weigh", "self.site.board.weigh(self.at, self.weight())", "pass")),
    Mutant("load-of-the-unborn", "slots without a worker count as workers without connections",
           "workers: opened at once; workers: one by one",
           ("Crew.__init__", "self.site.board.weigh(at, Scoreboard.NOBODY)", "pass")),
    Mutant("successor-knows-nobody", "a worker that replaces another does not look at the others' connections",
           "workers: again and again",
           ("Crew.work", "host.loads = site.board.loads(self.parent.all_slots)",
            "host.loads = None if self.announced else site.board.loads(self.parent.all_slots)")),
    Mutant("full-worker-takes-connections", "a worker whose threads are all busy takes connections",
           "workers: thread free",
           ("Host.weight", "Scoreboard.NOBODY - 1 if self.is_full() else self.load", "self.load")),
    Mutant("no-descriptor-left", "connections take the descriptors that the application needs",
           "workers: whatever connections take",
           ("most_connections", "max(soft - 48, soft // 2)", "soft")),
    Mutant("no-hindrance", "a worker takes more connections than it has descriptors for",
           "workers: whatever connections take",
           ("Host.hindrance", "self.load < most", "True")),
    Mutant("moved-on-resumed", "who was to be resumed is, although it waits for its call meanwhile",
           "workers: together with one who has to wait",
           ("Loop.run", "if wait and wait.events:", "if wait:")),

    # ---- workers: their parent keeps them ----
    Mutant("worker-not-replaced", "a worker that has died is not replaced",
           "workers: that was killed",
           ("Crew.ended", "            self.brake(\"workers die as soon as they start\","
            " self.MOST_READY_S if hand.ready else self.MOST_S)\n        self.maintain()",
            "            self.brake(\"workers die as soon as they start\","
            " self.MOST_READY_S if hand.ready else self.MOST_S)")),
    Mutant("worker's-request-untold", "the report of a worker's death does not name its request",
           "workers: that was killed",
           ("Slot.call", "self.memory[self.line] = shown[1]", "pass")),
    Mutant("no-brake", "workers that die as soon as they start are started without a pause",
           "workers: starts workers ever later that die as soon as they start$",
           ("Crew.brake", "self.due = now + self.delay", "self.due = now")),
    Mutant("steady-brake", "workers that cannot start are started as often as at first, for ever",
           "workers: starts workers ever later that die as soon as they start$",
           ("Crew.brake", "self.delay = min(2 * self.delay, most)", "self.delay = self.FIRST_S + 1e-9")),
    Mutant("brake-untold", "nobody is told that workers start later",
           "workers: says so once",
           ("Crew.brake", "if self.delay == self.FIRST_S:", "if False:")),
    Mutant("brake-told-each-time", "stderr says for each worker that it starts later",
           "workers: says so once",
           ("Crew.brake", "if self.delay == self.FIRST_S:", "if True:")),
    Mutant("no-end-without-workers", "the server goes on when no worker could ever start",
           "workers: ends with status 1",
           ("Crew.ended", "if not self.started and self.failures", "if False and self.failures")),
    Mutant("failed-fork-ends-the-server-of-workers", "a fork of a worker that fails ends the server",
           "workers: although fork fails at first",
           ("Crew.maintain", "except OSError as error:", "except ZeroDivisionError as error:")),
    Mutant("web-concurrency-ignored", "WEB_CONCURRENCY changes nothing",
           "workers: WEB_CONCURRENCY",
           ("make_parser", 'os.environ.get("WEB_CONCURRENCY") or "0"', '"0"')),
    Mutant("auto-is-one", "--workers auto is one worker",
           "workers: from the processors",
           ("check_workers", "len(affinity(0)) if affinity else os.cpu_count() or 1", "1")),
    Mutant("no-preload-ignored", "--no-preload changes nothing",
           "workers: with --no-preload",
           ("start", "found.load() if checks or not found.no_preload else None", "found.load()")),
    Mutant("multithread-unsaid", "the application is not told that threads call it",
           "workers: threads call the application",
           ("make_site", "found.threads > 1\n    site.talks", "False\n    site.talks")),
    Mutant("multithread-always", "the application is told of threads that there are not",
           "workers: threads call the application",
           ("make_site", "found.threads > 1\n    site.talks", "found.workers > 0\n    site.talks")),

    # ---- workers: who has served his share ----
    Mutant("share-without-end", "--max-requests changes nothing",
           "workers: successor",
           ("Crew.work", "if settings.max_requests:", "if False:")),
    Mutant("jitter-ignored", "--max-requests-jitter changes nothing",
           "workers: max-requests-jitter",
           ("Crew.work", "random.randint(0, settings.max_requests_jitter)", "0")),
    Mutant("spent-worker-leaves-at-once", "a worker that has served its share does not wait for its successor",
           "workers: until its successor is ready",
           ("Crew.hear", "hand.spent = True", 'hand.spent = hand.told = True\n            tell(hand.channel, b"l")')),
    Mutant("spent-worker-stays", "a worker that has served its share is not told to leave",
           "workers: have served their share",
           ("Crew.hear", 'tell(old.channel, b"l")', "pass")),
    Mutant("spent-worker-not-replaced", "a worker that has served its share has no successor",
           "workers: successor",
           ("Crew.hear", "hand.spent = True\n            self.maintain()", "hand.spent = True")),
    Mutant("spent-worker-cuts-the-idle", "a worker that is told to leave cuts idle connections",
           "workers: until its next request",
           ("Crew.work", "host.leave(not word)", "host.leave(True)")),
    Mutant("spent-worker-listens", "a worker that is told to leave takes connections while it has others",
           "workers: takes no new one",
           ("Crew.work", "host.leave(not word)", "None if word and host.load else host.leave(not word)")),
    Mutant("last-response-unsaid-in-a-worker", "a worker that leaves keeps connections that were idle",
           "workers: until its next request",
           ("Acceptor.close", "self.part_soon()", "pass")),
    Mutant("idle-cut-without-a-moment", "a worker that is told to end cuts whose request is on its way",
           "workers: loses no request of clients",
           ("Host.leave", "time.monotonic() + Limits.likely_s", "0.0")),
    Mutant("telling-the-dead", "the server ends when it tells a worker to leave that is dead",
           "workers: before it can be told",
           ("tell", "        pass", "        raise")),
    Mutant("no-alarm-for-orphans", "a worker whose parent is dead serves an endless response",
           "life: endless response after",
           ("Crew.work", "signal.alarm(math.ceil(site.limits.graceful_timeout_s) + 1)", "pass")),
    Mutant("orphan-worker-stays", "a worker whose parent is dead keeps its idle connections",
           "life: leaves no idle child",
           ("Crew.work", "host.leave(not word)", "host.leave(False)")),

    # ---- workers: calls that take too long ----
    Mutant("no-overtime", "a call that takes too long in a worker is killed with all that the worker has",
           "workers: loses no other connection of a worker; workers: in a worker, and replaces it",
           ("Host.heed_signal", 'raise Overtime(f"for {self.limits.timeout_s:.15g} seconds")', "pass")),
    Mutant("late-call-told-only", "a call that takes too long is told, and goes on",
           "workers: ends a call that takes too long",
           ("Parent.watch", "self.kill(pid, (signal.SIGUSR1, signal.SIGURG, signal.SIGKILL)[min(looks, 3) - 1])",
            "os.kill(pid, (signal.SIGUSR1, 0)[min(looks, 2) - 1])")),
    Mutant("deaf-call-stays", "a call that heeds no exception is not ended",
           "workers: heeds no exception",
           ("Parent.watch", "signal.SIGKILL)[min(looks, 3) - 1]", "signal.SIGURG)[min(looks, 3) - 1]")),
    Mutant("stack-and-end-together", "the signal that ends a call comes together with that for its stack, and is lost in a read",
           "workers: loses no other connection of a worker",
           ("Parent.watch", "self.kill(pid, (signal.SIGUSR1, signal.SIGURG, signal.SIGKILL)[min(looks, 3) - 1])",
            "for signum in ((signal.SIGUSR1, signal.SIGURG), (), (signal.SIGKILL,))[min(looks, 3) - 1]:\n"
            "                    os.kill(pid, signum)")),
    Mutant("no-stack-of-a-late-call", "stderr does not show where a call hangs",
           "workers: ends a call that takes too long",
           ("Parent.watch", "(signal.SIGUSR1, signal.SIGURG", "(0, signal.SIGURG")),
    Mutant("client-of-a-late-call-unsaid", "stderr does not say whose call hangs",
           "workers: ends a call that takes too long",
           ("Scoreboard.describe", "connection.client().encode()", 'b"-"')),
    Mutant("time-of-a-request", "a response is ended whose calls take too long together, each being short",
           "workers: stream that comes slowly",
           ("Slot.call", "            self.memory[self.line] = shown[1]\n        self.instants[",
            "            self.memory[self.line] = shown[1]\n            self.instants[")),
    Mutant("late-worker-not-replaced", "a worker is not replaced in which a call took too long",
           "workers: ends the calls of all threads",
           ("Pool.give_up", "self.host.site.spent()", "pass")),
    Mutant("turn-not-given-back", "a call that was given up keeps its turn",
           "workers: ends the calls of all threads",
           ("Pool.give_up", "self.turns.append(Slot(self.board, slot.at))", "pass")),
    Mutant("slot-of-the-given-up", "a call that was given up goes on showing that it runs, and the worker is killed",
           "workers: ends the calls of all threads",
           ("Pool.give_up", "slot.lapse()", "slot.lapsed = True")),
    Mutant("slot-reused", "a slot that was given up serves other calls, which are not seen there",
           "workers: ends the calls of all threads",
           ("Pool.give_up", "self.turns.append(Slot(self.board, slot.at))", "self.turns.append(slot)")),
    Mutant("given-up-client-waits", "the client of a call that was given up is not told by the end of its connection",
           "workers: takes too long in a thread",
           ("Pool.give_up", "self.host.part(guest)", "pass")),

    # ---- workers: threads ----
    Mutant("another-thread", "each call of a request has whatever thread is free",
           "workers: keeps one thread",
           ("Pool.take_turns", "guest.thread or self.find_thread()", "self.find_thread()")),
    Mutant("thread-lent", "a thread serves others before its request's close",
           "workers: keeps one thread",
           ("Pool.go_on", "self.calls.pop(slot).resume(value, failure)",
            "guest = self.calls.pop(slot)\n            guest.thread and self.idle.append(guest.thread)\n"
            "            guest.resume(value, failure)")),
    Mutant("thread-not-released", "the thread of a request that is over serves no other",
           "workers: takes back the threads",
           ("Pool.release", "if guest.thread:", "if False:")),
    Mutant("threads-without-end", "a thread that nobody needs stays, and is forgotten",
           "workers: takes back the threads",
           ("Pool.release", "guest.thread.put(None)", "pass")),
    Mutant("calls-without-limit", "more calls run at once than --threads allows",
           "workers: no more calls at once",
           ("Pool.__init__", "host.at + n * Scoreboard.SLOT_BYTES) for n in range(count)",
            "host.at + n % count * Scoreboard.SLOT_BYTES) for n in range(64 * count)")),
    Mutant("turn-not-returned", "a call that has returned keeps its turn",
           "workers: keeps one thread",
           ("Pool.go_on", "self.turns.append(slot)", "pass")),
    Mutant("called-in-the-loop", "the application is called in the loop although there are threads",
           "workers: keeps one thread; workers: in a thread",
           ("Host.admit", "if self.pool:", "if False:")),
    Mutant("slow-reader-keeps-its-turn", "as many clients who read slowly as there are threads hold up all others",
           "workers: more clients than threads",
           ("Pool.go_on", "            if not slot.lapsed:\n                self.turns.append(slot)\n"
            "            self.calls.pop(slot).resume(value, failure)",
            "            guest = self.calls.pop(slot)\n            guest.resume(value, failure)\n"
            "            if not slot.lapsed and not (guest.thread and guest.state == WRITING):\n"
            "                self.turns.append(slot)")),
    Mutant("no-thread-ends-the-worker", "a thread that the system refuses ends the worker",
           "workers: threads that it gets",
           ("Pool.find_thread", "except RuntimeError:", "except ZeroDivisionError:")),

    # ---- workers: what belongs to them alone ----
    Mutant("connections-in-a-process-of-the-application's", "a process that the application forks keeps connections open",
           "workers: forks, and ends them",
           ("Host.let_go", "os.close(guest.connection.sock.detach())", "pass")),
    Mutant("listeners-in-a-process-of-the-application's", "a process that the application forks keeps the port taken",
           "workers: processes that the application forks",
           ("Host.let_go", "listener.sock.close()", "pass")),

    # ---- next to others: nobody holds them up ----
    Mutant("upload-without-turns", "a body that comes fast in small chunks holds up all others",
           "workers: 300,000 chunks",
           ("Body.arrive", "yield from self.connection.share()", "pass")),
    Mutant("write-blocks", "the write callable waits for its client, and all others with it",
           "workers: nothing of what is written",
           ("Response.put", "connection.attempt(connection.sock.send, data) or 0",
            "connection.sock.setblocking(True) or connection.sock.sendall(data) or len(data)")),

    # ---- responses and applications ----
    Mutant("header-formatted", "a str says something else on the wire than what was checked",
           "wsgi: text of a str",
           ("Head.__init__", r'lines += name, ": ", value, "\r\n"', r'lines.append(f"{name}: {value}\r\n")')),
    Mutant("date-repeated", "Date stands twice where the application says it twice",
           "wsgi: stands there twice",
           ("ONCE", " date", "")),
    Mutant("server-repeated", "Server stands twice where the application says it twice",
           "wsgi: stands there twice",
           ("ONCE", " server", "")),
    Mutant("read-not-called", "a file is sent by the kernel although its read is another",
           "wsgi: whose read is another",
           ("FileWrapper.extent", "type(self.file) not in PLAIN_FILES", "not isinstance(self.file, PLAIN_FILES)")),
    Mutant("wrapper-not-iterated", "a file is sent by the kernel although its wrapper iterates otherwise",
           "wsgi: whose read is another",
           ("FileWrapper.extent", "type(self) is not FileWrapper or ", "")),
    Mutant("close-before-the-end", "a client waits for the end of its response until the iterable has closed",
           "wsgi: before the iterable has closed",
           ("exchange", "response.put((yield from send_blocks(response, blocks, run)))",
            "data = yield from send_blocks(response, blocks, run)")),
    Mutant("failure-of-1.0-passes", "a body without a length that has failed ends like a whole one",
           "responses: resets the connection",
           ("fail", "response.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)", "pass")),
    Mutant("empty-blocks-for-nobody", "an iterable of empty blocks goes on when its client has gone",
           "wsgi: iterable of empty blocks",
           ("send_blocks", "connection.attempt(connection.sock.recv, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)", "pass")),
    Mutant("written-after-the-end", "what is written after a response goes out in front of the next",
           "wsgi: written after a response",
           ("exchange", "response.ended = True", "response.ended = False")),
    Mutant("opening-unchecked", "a request-line that is none is waited upon",
           "requests: can begin no request",
           ("gather_head", "(LINES if read else OPENING).fullmatch(data, read, last + 2)",
            "not read or LINES.fullmatch(data, read, last + 2)")),
    Mutant("lines-unchecked", "a field line that is none is waited upon, where it comes later than the first",
           "requests: at once what cannot become",
           ("gather_head", "(LINES if read else OPENING).fullmatch(data, read, last + 2)",
            "read or OPENING.fullmatch(data, read, last + 2)")),
]


def run(command: "list[str]", environ: "dict[str, str]") -> "tuple[int, str]":
    """Return the exit status of a command, and what it wrote."""
    done = subprocess.run(
        command, check=False, env={**os.environ, **environ}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout


WHOLE = threading.Lock()  # one whole file at a time: some tests bind port 8888, or count what a user runs


class Trial:
    """A server given to the tests, and what they said."""

    def __init__(self, folder: str, name: str, source: str) -> None:
        self.path = os.path.join(folder, name, "webserver.py")
        os.mkdir(os.path.dirname(self.path))
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(source)

    def failures(self, file: str, pattern: str = "") -> "list[str] | None":
        """Run the tests of a file whose names match; return the names of those that fail, None
        when no name matches."""
        choice = {"WEBSERVER": self.path, "FILTER": pattern, "BATS_TEST_TIMEOUT": "60", "JOBS": "1"}
        with contextlib.nullcontext() if pattern else WHOLE:
            code, output = run([os.path.join(HERE, "run"), f"test/{file}.bats"], choice)
        self.clean()
        failed = re.findall(r"^test/\w+\.bats(?: --[^:]*)?: not ok \d+ (.*?)(?: # .*)?$", output, re.MULTILINE)
        if "No test matches." in output:
            return None
        if code and not failed:
            raise RuntimeError(f"test/{file}.bats did not run:\n{output}")
        return failed

    def clean(self) -> None:
        """Kill the servers that a mutant left behind: none but they run a file in its folder."""
        for line in run(["ps", "-A", "-ww", "-o", "pid=,args="], {})[1].splitlines():
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
        self.known = {}  # (file, name of the test): passes

    def passes(self, file: str, name: str) -> bool:
        with self.lock:
            if (file, name) not in self.known:
                self.known[file, name] = self.failures(file, exactly(name)) == []
            return self.known[file, name]


def server_files() -> "list[str]":
    """Return the test files that start a server."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "*.bats"))):
        with open(path, encoding="utf-8") as file:
            if "start_server" in file.read():
                found.append(os.path.basename(path)[:-5])
    return found


def attempt(mutant: Mutant, source: str, folder: str, unbroken: Unbroken) -> "tuple[str, str]":
    """Return `caught`, `SURVIVED` or `ERROR`, and by what or why."""
    note = ""
    try:
        trial = Trial(folder, mutant.name, mutant.applied(source))
        named = [file for file, _ in mutant.tests]
        whole = [file for file, pattern in mutant.tests if not pattern]
        rest = [file for file in [*named, *server_files()] if file not in whole]
        for file, pattern in [*mutant.tests, *((file, "") for file in dict.fromkeys(rest))]:
            failed = trial.failures(file, pattern)
            if failed is None:
                note += f" ({file}.bats has no test {pattern!r})"
            elif failed:
                name = next((name for name in failed if unbroken.passes(file, name)), None)
                if name:
                    return "caught", f"{file}.bats: {name}" + note
                note += f" ({file}.bats: {failed[0]}: fails for webserver.py as it is)"
    except (ValueError, RuntimeError) as error:
        return "ERROR", str(error)
    return "SURVIVED", mutant.breaks + note


def main() -> int:
    wanted = sys.argv[1:] or ["*"]
    chosen = [mutant for mutant in MUTANTS if any(fnmatch.fnmatch(mutant.name, name) for name in wanted)]
    with open(SERVER, encoding="utf-8") as file:
        source = file.read()
    verdicts = []
    with tempfile.TemporaryDirectory(prefix="webserver-mutants.") as folder:
        os.chmod(folder, 0o755)  # a test runs its server as nobody
        unbroken = Unbroken(folder, source)
        with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS") or os.cpu_count() or 2)) as pool:
            trials = pool.map(lambda mutant: attempt(mutant, source, folder, unbroken), chosen)
            for mutant, (verdict, detail) in zip(chosen, trials):
                verdicts.append(verdict)
                print(f"{mutant.name}: {verdict}: {detail}", flush=True)
    caught, survived, wrong = (verdicts.count(verdict) for verdict in ("caught", "SURVIVED", "ERROR"))
    print(f"\n{caught} caught, {survived} survived" + (f", {wrong} wrong" if wrong else ""))
    return 0 if caught == len(chosen) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
