"""Bottle: a form, a cookie, uploads, a stream, ranges and an error. The other applications offer the same."""

import hashlib
import os

import bottle

app = bottle.Bottle()
SECRET = "not a secret"


@app.get("/form")
def ask():
    return '<form method="post"><input name="name"><input name="note"></form>'


@app.post("/form")
def take():
    form = bottle.request.forms
    bottle.response.set_cookie("said", f"{form.name}: {form.note}", secret=SECRET)
    bottle.redirect("/said", 303)


@app.get("/said")
def said():
    return bottle.request.get_cookie("said", "nothing", secret=SECRET)


@app.post("/upload")
def upload():
    bottle.response.content_type = "application/octet-stream"
    return bottle.request.files.file.file


@app.put("/upload")
def digest():
    hashed, body = hashlib.sha256(), bottle.request.body
    for block in iter(lambda: body.read(1 << 16), b""):
        hashed.update(block)
    return hashed.hexdigest()


@app.get("/stream")
def stream():
    bottle.response.content_type = "text/plain"
    yield "first\n"
    with open(os.environ["GATE"]) as gate:
        yield gate.read()


@app.get("/file")
def file():
    folder, name = os.path.split(os.environ["UPLOAD"])
    return bottle.static_file(name, folder, "application/octet-stream")


@app.get("/error")
def error():
    raise LookupError("on purpose")
