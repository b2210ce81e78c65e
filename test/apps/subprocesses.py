"""Run programs: /output answers with what one prints, the other paths with how one ends.

The one of /status exits with 7; those of /terminate and /interrupt are sent TERM and INT.
"""

import signal
import subprocess


def run(path):
    if path == "/output":
        return subprocess.check_output(["echo", "from a program"]).decode()
    if path == "/status":
        return f"status {subprocess.call(['sh', '-c', 'exit 7'])}\n"
    # It says first that it runs: the signal must not meet this program's half of the spawn.
    program = subprocess.Popen(["sh", "-c", "echo ready; exec sleep 60"], stdout=subprocess.PIPE)
    program.stdout.readline()
    program.send_signal(signal.SIGINT if path == "/interrupt" else signal.SIGTERM)
    return f"status {program.wait()}\n"


def app(environ, start_response):
    body = run(environ["PATH_INFO"]).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
