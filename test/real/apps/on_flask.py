"""Flask: a form, a session, uploads, a stream, ranges and an error. The other applications offer the same."""

import hashlib
import os
import tempfile

import flask

app = flask.Flask(__name__)
app.secret_key = "not a secret"


@app.get("/form")
def ask():
    return '<form method="post"><input name="name"><input name="note"></form>'


@app.post("/form")
def take():
    flask.session["said"] = "{name}: {note}".format(**flask.request.form)
    return flask.redirect("/said", 303)


@app.get("/said")
def said():
    return flask.session.get("said", "nothing")


@app.post("/upload")
def upload():
    sent = tempfile.TemporaryFile()  # Flask closes its own before the response is read
    flask.request.files["file"].save(sent)
    sent.seek(0)
    return flask.send_file(sent, "application/octet-stream")


@app.put("/upload")
def digest():
    hashed = hashlib.sha256()
    for block in iter(lambda: flask.request.stream.read(1 << 16), b""):
        hashed.update(block)
    return hashed.hexdigest()


@app.get("/stream")
def stream():
    def blocks():
        yield "first\n"
        with open(os.environ["GATE"]) as gate:
            yield gate.read()

    return flask.Response(blocks(), mimetype="text/plain")


@app.get("/file")
def file():
    return flask.send_file(os.environ["UPLOAD"], "application/octet-stream")


@app.get("/error")
def error():
    raise LookupError("on purpose")
