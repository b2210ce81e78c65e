"""Send mutated requests to the server, cut at random, and hold its answers against h11 (RFC 9112 by another hand).

    python fuzz.py [--seed S] [--count N] [--only I] [--port PORT]

Without --port it starts $WEBSERVER with $PYTHON and the application seen:app. Input I of seed S is the
same everywhere: `--seed S --only I` repeats it. What the server serves is what h11 reads: method,
target, fields and body. What it refuses, h11 refuses too, or it breaks a rule of STRICTER, and
the refusal names that rule's clause. No input gets a 500, silence, or an answer too many, and the
server writes nothing on stderr.
"""

import argparse
import ast
import os
import random
import re
import subprocess
import sys
import tempfile
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote_to_bytes

import h11
from tables import TABLES
from verdicts import CLAUSE, Exchange, Response, responses, same_clause, serves_another, talk

TOGETHER = 40
PAUSE_S = 0.01  # between two parts
LARGEST = 6000  # bytes of an input

# Where the server is milder than h11, because the text says so: these are taken out before h11 reads.
BLANK_LINES = re.compile(rb"(?:\r\n){0,4}")  # before a request-line (RFC 9112 2.2)
BAD_SPACE = re.compile(rb"(?m)^([0-9A-Fa-f]+)([ \t]+);")  # before a chunk extension (RFC 9112 7.1.1, 9110 5.6.3)
TRAILER = re.compile(rb"(?im)^(?:content-length|transfer-encoding)(?=:)")  # it is dropped (RFC 9110 6.5.1)


class Message(NamedTuple):
    """A request as h11 reads it, and the bytes that it took."""

    data: bytes
    method: bytes
    target: bytes
    version: bytes
    fields: List[Tuple[bytes, bytes]]
    body: bytes

    def values(self, name: bytes) -> List[bytes]:
        return [value for found, value in self.fields if found == name]

    @property
    def persistent(self) -> bool:
        options = [option.strip(b" \t").lower() for value in self.values(b"connection") for option in value.split(b",")]
        return b"close" not in options and (self.version > b"1.0" or b"keep-alive" in options)

    @property
    def head(self) -> bytes:
        end = re.search(rb"\n\r?\n", self.data)
        return self.data[: end.end()] if end else self.data

    @property
    def path(self) -> bytes:
        """The path with its escapes; that of `*` is empty."""
        path = re.sub(rb"\A[A-Za-z]+://[^/?]*", b"", self.target).partition(b"?")[0] or b"/"
        return b"" if path == b"*" else path


def read_message(data: bytes) -> Tuple[str, Optional[Message]]:
    """Return what h11 makes of the first request in `data`, without what it need not refuse."""
    found = h11_message(data)
    if found[0] == "wrong":
        end = data.find(b"\r\n\r\n") + 4
        body = TRAILER.sub(lambda match: b"X" * len(match[0]), BAD_SPACE.sub(rb"\1;\2", data[end:]))
        found = h11_message(data[:end] + body)
    return found


def h11_message(data: bytes) -> Tuple[str, Optional[Message]]:
    """Let h11 read the first request in `data`: ("whole", it), ("half", None or what is known), ("wrong", None)."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    request, body = None, b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif event is h11.NEED_DATA or isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)):
                break
    except h11.RemoteProtocolError:
        return "wrong", None
    if request is None:
        return "half", None
    rest = len(connection.trailing_data[0]) if isinstance(event, h11.EndOfMessage) else 0
    message = Message(
        data[: len(data) - rest], request.method, request.target, request.http_version, list(request.headers), body
    )
    return ("whole" if isinstance(event, h11.EndOfMessage) else "half"), message


# ---- the rules by which the server is stricter than h11 ---------------------------------------------------

H16 = rb"[0-9A-Fa-f]{1,4}"
HOST = re.compile(rb"(?:\[(?P<v6>[0-9A-Fa-f:.]*)\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::[0-9]*)?")
CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]+)(?:[ \t]*;[ \t]*[!#-'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*=[ \t]*(?:[!#-'*+\-.^_`|~0-9A-Za-z]+|"
    rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*\r\n'
)
TRAILERS = re.compile(rb"(?:[!#-'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")


def is_host(value: bytes) -> bool:
    match = HOST.fullmatch(value)
    if match and match["v6"] is not None:
        import ipaddress

        try:
            ipaddress.IPv6Address(match["v6"].decode())
        except ValueError:
            return False
    return bool(match)


def bad_chunks(message: Message) -> bool:
    """Say whether the chunks break the grammar, as far as they have come."""
    rest = message.data[len(message.head) :]
    if not message.values(b"transfer-encoding"):
        return False
    while rest:
        line = CHUNK_LINE.match(rest)
        if not line:
            return True
        size = int(line[1], 16)
        if len(line[1]) > 15 or size > 1 << 30:
            return True
        rest = rest[line.end() :]
        if not size:
            return not TRAILERS.fullmatch(rest)
        if rest[size : size + 2] not in (b"\r\n", b"\r", b""):
            return True
        rest = rest[size + 2 :]
    return False


def bad_target(message: Message) -> bool:
    if message.method == b"CONNECT":
        return True
    absolute = re.match(rb"(?i:http)://([^/?]*)", message.target)
    if absolute:
        return not is_host(absolute[1])
    return not message.target.startswith(b"/") and (message.method, message.target) != (b"OPTIONS", b"*")


def bad_length(message: Message) -> bool:
    """Say whether there is a Content-Length that h11 has repaired, or that is too large."""
    lines = re.findall(rb"(?im)^content-length:[ \t]*([^\r\n]*?)[ \t]*\r?$", message.head)
    return len(lines) > 1 or any(not re.fullmatch(rb"[0-9]{1,18}", line) or int(line) > 1 << 30 for line in lines)


def repeats(message: Message) -> bool:
    deciding = (b"content-length", b"content-type", b"transfer-encoding", b"authorization", b"host")
    return any(len(message.values(name)) > 1 for name in deciding) or bad_length(message)


def in_1_0(message: Message) -> bool:
    return message.version < b"1.1"


STRICTER: Tuple[Tuple[str, str, Callable[[Message], bool]], ...] = (  # what is broken, clauses, the test
    ("a line ends in CRLF, and CR and LF stand nowhere else", "9112 2.2",
     lambda message: bool(re.search(rb"(?<!\r)\n|\r(?!\n)", message.head))),
    ("a head has no control characters", "9110 5.5|9112 2.2|9112 3",
     lambda message: bool(re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", message.head))),
    ("a field line is not folded", "9112 5.2",
     lambda message: bool(re.search(rb"\n[ \t]", message.head))),
    ("the major version is 1", "9110 15.6.6|9112 2.3", lambda message: not message.version.startswith(b"1.")),
    ("a target has no fragment", "9112 3", lambda message: b"#" in message.target),
    ("a target has one of four forms", "9112 3.2|9110 7.4|9110 4.2|9110 9.3.6", bad_target),
    ("a path escapes by two hexadecimal digits", "3986 2.1",
     lambda message: bool(re.search(rb"%(?![0-9A-Fa-f]{2})", message.path))),
    ("a Host is one by its grammar", "9112 3.2|9110 7.2",
     lambda message: not (in_1_0(message) or message.values(b"host")) or not all(map(is_host, filter(None, message.values(b"host"))))),
    ("what decides stands once", "9110 5.3|9112 6|9110 8.6", repeats),
    ("a Content-Length is digits, and not too many", "9110 8.6|9110 15.5.14|9112 6", bad_length),
    ("there is one length", "9112 6",
     lambda message: bool(message.values(b"content-length") and message.values(b"transfer-encoding"))),
    ("HTTP/1.0 has no Transfer-Encoding", "9112 6.1",
     lambda message: in_1_0(message) and bool(message.values(b"transfer-encoding"))),
    ("chunks keep to their grammar", "9112 7.1|9112 5|9110 15.5.14|6585 5", bad_chunks),
    ("the one expectation is 100-continue", "9110 10.1.1|9110 15.5.18",
     lambda message: not in_1_0(message)
     and b", ".join(message.values(b"expect")).lower() not in (b"", b"100-continue")),
    ("there are limits", "6585 5|9110 15.5|9110 5.4",
     lambda message: len(message.fields) > 128 or any(len(value) > 16000 for _, value in message.fields)),
)


# ---- inputs -----------------------------------------------------------------------------------------------

SEEDS = {  # by whether all is served
    good: tuple(
        template % row[2]
        for template, _, rows in TABLES.values()
        for row in rows
        if isinstance(row[2], bytes) and len(template) + len(row[2]) < 600 and (not re.search("[-45]", row[0])) == good
    )
    for good in (True, False)
}
PIECES = (
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xa0", b"\xff", b":", b",", b";", b"=",
    b'"', b"\\", b"#", b"%", b"%00", b"/", b"//", b"?", b"*", b"@", b"[", b"]", b"0", b"1", b"5", b"a", b"_", b"-", b"+", b"0x",
    b"\r\n\r\n", b"\r\n ", b"\n\n", b" :", b": ", b"0\r\n\r\n", b"5\r\nhello\r\n", b";a=b", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET http://b/ HTTP/1.1\r\n", b"Host: a\r\n", b"Host: [::1]:80\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content_Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip\r\n", b"Expect: 100-continue\r\n", b"X: y\r\n", b"x: z\r\n",
    b"Proxy: z\r\n", b"Cookie: a=1\r\n", b"HEAD", b"POST", b"OPTIONS",
)  # fmt: skip


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return `data` with one change."""
    start = rng.randrange(len(data) + 1)
    end = min(len(data), start + rng.choice((0, 1, 1, 1, 2, 4, 16)))
    kind = rng.randrange(9)
    if kind == 0:  # insert
        return data[:start] + rng.choice(PIECES) + data[start:]
    if kind == 1:  # replace
        return data[:start] + rng.choice(PIECES) + data[end:]
    if kind == 2:  # delete
        return data[:start] + data[end:]
    if kind == 3:  # flip a bit
        return data[:start] + bytes(byte ^ 1 << rng.randrange(8) for byte in data[start : start + 1]) + data[start + 1 :]
    if kind == 4:  # any byte
        return data[:start] + bytes([rng.randrange(256)]) + data[end:]
    lines = data.split(b"\r\n")
    line = rng.randrange(len(lines))
    if kind == 5:  # a line twice, perhaps elsewhere
        lines.insert(rng.randrange(len(lines) + 1), lines[line])
    elif kind == 6:  # a line less
        del lines[line]
    elif kind == 7:  # two lines change places
        other = rng.randrange(len(lines))
        lines[line], lines[other] = lines[other], lines[line]
    else:  # a line of another request
        lines.insert(line, rng.choice(rng.choice(SEEDS[True]).split(b"\r\n")))
    return b"\r\n".join(lines)


def make_input(seed: str, index: int) -> Tuple[bytes, List[bytes]]:
    """Return input `index` of `seed`, and the parts in which it is sent."""
    rng = random.Random(f"{seed}:{index}")
    data = b"".join(rng.choice(SEEDS[rng.random() < 0.8]) for _ in range(rng.choice((1, 1, 1, 2, 3))))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        data = mutate(rng, data)
    data = data[:LARGEST]
    points = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 1, 2, 4))))
    return data, [data[start:end] for start, end in zip([0, *points], [*points, len(data)])]


# ---- comparison -------------------------------------------------------------------------------------------


def expected(message: Message) -> Dict[str, object]:
    """Return what the application is to see of `message`."""
    seen: Dict[str, object] = {"REQUEST_METHOD": message.method.decode(), "REQUEST_URI": message.target.decode()}
    for raw_name, raw_value in message.fields:
        name, value = raw_name.decode().upper().replace("-", "_"), raw_value.decode("latin-1")
        if b"_" in raw_name or name in ("PROXY", "TRANSFER_ENCODING"):
            continue
        key = name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + name
        glue = "; " if name == "COOKIE" else ", "
        seen[key] = f"{seen[key]}{glue}{value}" if key in seen else value
    seen["PATH_INFO"] = unquote_to_bytes(message.path).decode("latin-1")
    seen["QUERY_STRING"] = message.target.partition(b"?")[2].decode()
    absolute = re.match(rb"[A-Za-z]+://([^/?]*)", message.target)
    if absolute:
        seen["HTTP_HOST"] = absolute[1].decode()
    if seen.get("HTTP_HOST") == "":
        del seen["HTTP_HOST"]
    if "CONTENT_LENGTH" in seen:
        seen["CONTENT_LENGTH"] = str(int(str(seen["CONTENT_LENGTH"])))  # without leading zeros
    if message.values(b"transfer-encoding"):
        seen["CONTENT_LENGTH"] = str(len(message.body))
    seen["body"] = message.body
    return seen


def served_wrongly(message: Message, response: Response) -> Iterator[str]:
    """Yield what differs between what h11 reads and what the application saw."""
    if message.method == b"HEAD":
        return
    lines = [line.partition("=") for line in response.body.decode().splitlines()]  # a token has no =
    seen = {name: ast.literal_eval(value) for name, _, value in lines}
    for name in ("SERVER_PROTOCOL", "SCRIPT_NAME"):
        seen.pop(name)
    if seen != expected(message):
        yield f"the application saw {seen}, h11 {expected(message)}"


def refused_wrongly(kind: str, message: Optional[Message], data: bytes, response: Response) -> Iterator[str]:
    """Yield what is wrong with a refusal of what h11 has read as far as `message`."""
    if kind == "wrong":
        return
    broken = [(rule, clauses) for rule, clauses, test in STRICTER if message and test(message)]
    if message is None:  # h11 waits for the rest of a head: what would it make of this end?
        kind, message = read_message(re.sub(rb"\r?\n?\Z", b"", data) + b"\r\n\r\n")
        if kind == "wrong" or not message:
            return
        message = message._replace(data=data)
        broken = [(rule, clauses) for rule, clauses, test in STRICTER if test(message)]
    named = CLAUSE.findall(response.body.decode())
    if not broken:
        yield f"{response.status} for what h11 reads, and no rule is broken: {response.body!r}"
    elif named and not any(same_clause(named[0], one) for _, clauses in broken for one in clauses.split("|")):
        yield f"the refusal names another clause than of {[rule for rule, _ in broken]}: {response.body!r}"


def differences(data: bytes, exchange: Exchange) -> Iterator[str]:
    """Yield what is wrong with the answers to `data`."""
    if exchange.ended == "silent":
        yield "the connection stays open"
    to_head, rest, verdicts = [], data, []
    while True:  # first what h11 makes of it, for an answer to HEAD has no body
        rest = BLANK_LINES.sub(b"", rest, 1)
        if not rest:
            break
        kind, message = read_message(rest)
        verdicts.append((kind, message, rest))
        to_head.append(rest.startswith(b"HEAD "))
        if kind != "whole" or not message or not message.persistent:
            break
        rest = rest[len(message.data) :]
    try:
        answers = list(responses(exchange.received, to_head))
    except ValueError as error:
        yield str(error)
        return
    asked = [message for _, message, _ in verdicts if message and message.values(b"expect") and message.version > b"1.0"]
    if len([answer for answer in answers if answer.status == 100]) > len(asked):
        yield "100 Continue unasked"
    answers = [answer for answer in answers if answer.status != 100]
    if len(answers) > len(verdicts):
        yield f"{len(answers)} answers to {len(verdicts)} requests"
    for (kind, message, rest), answer in zip(verdicts, answers):
        if answer.status in (500, 408):
            yield f"the status is {answer.status}"
        elif answer.status >= 400:
            yield from refused_wrongly(kind, message, rest, answer)
        elif kind != "whole" or not message:
            yield f"served, although h11 says {kind}: {answer.body!r}"
        else:
            broken = [rule for rule, _, test in STRICTER if test(message)]
            if broken:
                yield f"served, although it breaks {broken}"
            yield from served_wrongly(message, answer)
    refused = bool(answers) and answers[-1].status >= 400
    missing = [kind for kind, _, data in verdicts[len(answers) :] if kind == "whole" or (kind == "wrong" and not waits(data))]
    if missing and not refused:
        yield f"no answer to what h11 calls {missing}"


def waits(data: bytes) -> bool:
    """Say whether the server may still wait for the end of a head or of a line, which h11 has refused before."""
    return b"\r\n\r\n" not in data or bool(re.search(rb"(?i)^transfer-encoding|^content-length", data, re.MULTILINE))


def run(port: int, seed: str, indexes: List[int]) -> int:
    """Run the inputs; print and count what is wrong."""
    wrong = served = refused = 0
    for start in range(0, len(indexes), TOGETHER):
        batch = [(index, *make_input(seed, index)) for index in indexes[start : start + TOGETHER]]
        exchanges = [Exchange(port, parts, half_close=True) for _, _, parts in batch]
        talk(exchanges, PAUSE_S)
        for (index, data, _), exchange in zip(batch, exchanges):
            served += exchange.received.count(b"HTTP/1.1 200 ")
            refused += bool(re.search(rb"HTTP/1.1 [45]", exchange.received))
            for difference in differences(data, exchange):
                wrong += 1
                print(f"--seed {seed} --only {index}: {difference}\n    sent     {data!r}\n    received {exchange.received!r}")
    if not serves_another(port):
        wrong += 1
        print("The next client is not served.")
    print(f"seed {seed}: {len(indexes)} inputs, {served} requests served, {refused} refused, {wrong} differences")
    return wrong


def with_server(seed: str, indexes: List[int]) -> int:
    """Run the inputs against a server of our own."""
    folder = os.path.dirname(os.path.abspath(__file__))
    webserver = os.environ.get("WEBSERVER") or os.path.join(os.path.dirname(folder), "webserver.py")
    command = [os.environ.get("PYTHON") or sys.executable, webserver, "--bind", "127.0.0.1:0", "seen:app"]
    command += os.environ.get("SERVER_OPTIONS", "").split()
    with tempfile.TemporaryFile() as stderr:
        server = subprocess.Popen(command, cwd=os.path.join(folder, "apps"), stdout=subprocess.PIPE, stderr=stderr)
        assert server.stdout
        try:
            ready = re.search(rb"port (\d+)", server.stdout.readline())
            wrong = run(int(ready[1]), seed, indexes) if ready else 1
        finally:
            server.terminate()
            status = server.wait(60)
        stderr.seek(0)
        told = stderr.read()
    if told or status:
        print(f"The server ended with status {status}, and wrote on stderr:\n{told.decode(errors='replace')}")
        wrong += 1
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default="0")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--only", type=int)
    parser.add_argument("--port", type=int)
    found = parser.parse_args()
    indexes = list(range(found.count)) if found.only is None else [found.only]
    wrong = run(found.port, found.seed, indexes) if found.port else with_server(found.seed, indexes)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
