"""Answer with the descriptors from 3 to 9 that a program has which is given all that may be inherited, one a line."""

import subprocess

PROGRAM = 'for number in 3 4 5 6 7 8 9; do (eval ": <&$number") 2>/dev/null && echo "$number"; done; :'


def app(environ, start_response):
    program = subprocess.run(["sh", "-c", PROGRAM], stdout=subprocess.PIPE, close_fds=False, check=True)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(program.stdout)))])
    return [program.stdout]
