#!/usr/bin/env bats
# Programs of the trade as clients: git, litmus for WebDAV, twine and pip, Node. No mode makes a difference to them, but where
# locks are in the memory of a process.

load helper

# needs COMMAND PACKAGE  skips where the command is absent.
needs() {
    type "$1" >/dev/null 2>&1 || skip "there is no $1: Debian's package $2 has it"
}

# git with no configuration but ours; it never asks for a password.
commits() {
    HOME=$BATS_TEST_TMPDIR GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 command git -c user.name=a -c user.email=a@example.com \
        -c init.defaultBranch=main "$@" 2>>"$BATS_TEST_TMPDIR/git"
}

# Starts a git server with an empty repository, and makes one commit with a large file, to be pushed there.
serves_git() {
    needs git git
    [ -x "$(git --exec-path)/git-http-backend" ] || skip "this git has no http-backend"
    export REPOSITORIES=$BATS_TEST_TMPDIR/repositories HOME=$BATS_TEST_TMPDIR
    commits init -q --bare "$REPOSITORIES/a.git"
    commits -C "$REPOSITORIES/a.git" config http.receivepack true
    start_server on_git:app
    mine=$BATS_TEST_TMPDIR/mine other=$BATS_TEST_TMPDIR/other
    commits init -q "$mine"
    head -c 3000000 /dev/urandom >"$mine/large" # more than http.postBuffer, 1 MB
    commits -C "$mine" add large
    commits -C "$mine" commit -q -m "A large file"
}

@test "takes a git push, by chunks, and gives it to a git clone" {
    serves_git
    commits -C "$mine" push -q "$url/a.git" main
    commits clone -q "$url/a.git" "$other"
    cmp "$mine/large" "$other/large"
    commits -C "$other" fsck --strict
}

@test "takes a git push with a length, and gives it to a pull and to a shallow clone" {
    serves_git
    commits -C "$mine" -c http.postBuffer=50000000 push -q "$url/a.git" main
    commits clone -q -b main "$url/a.git" "$other"
    for number in 1 2 3; do
        echo "$number" >"$other/$number"
        commits -C "$other" add "$number"
        commits -C "$other" commit -q -m "$number"
    done
    commits -C "$other" push -q origin main
    commits -C "$mine" pull -q "$url/a.git" main
    cmp "$mine/3" "$other/3"
    commits clone -q -b main --depth 1 "$url/a.git" "$BATS_TEST_TMPDIR/shallow"
    [ "$(commits -C "$BATS_TEST_TMPDIR/shallow" rev-list --count HEAD)" -eq 1 ]
}

@test "tells git that there is no such repository" {
    serves_git
    run commits clone -q "$url/none.git" "$other"
    [ "$status" -ne 0 ]
    grep -q "repository '$url/none.git/' not found" "$BATS_TEST_TMPDIR/git"
}

# serves_litmus "SUITE..." ARGUMENT...  serves an empty folder by WebDAV and runs these suites of litmus, whose files are left
# where it stands.
serves_litmus() {
    needs litmus litmus
    "$PYTHON" -c 'import wsgidav' || skip "make test-apps installs what this needs"
    export SHARE=$BATS_TEST_TMPDIR/share
    mkdir -p "$SHARE" "$BATS_TEST_TMPDIR/litmus"
    start_server on_wsgidav:app "${@:2}"
    (cd "$BATS_TEST_TMPDIR/litmus" && TESTS=$1 litmus -k "$url/") >"$answer" 3>&- 4>&- || { cat "$answer" && false; }
    [ "$(grep -c '^<- summary .* 0 failed' "$answer")" -eq "$(wc -w <<<"$1")" ]
}

# Locks and properties are in the memory of one process, where litmus's two connections have to meet.
@test "serves WebDAV with locks and properties to litmus, by threads" {
    serves_litmus "basic copymove props locks http" --workers 1 --threads 4
}

# Makes a wheel of one module, large enough to be sent in pieces.
make_wheel() {
    "$PYTHON" - "$1" <<'END'
import base64, hashlib, os, sys, zipfile
info = "parcel-1.0.dist-info/"
files = {
    "parcel.py": b"CONTENT = '%b'\n" % base64.b64encode(os.urandom(3_000_000)),
    info + "METADATA": b"Metadata-Version: 2.1\nName: parcel\nVersion: 1.0\nSummary: what is sent\n",
    info + "WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
digest = lambda data: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
lines = [f"{name},sha256={digest(data)},{len(data)}\n" for name, data in files.items()]
files[info + "RECORD"] = "".join([*lines, info + "RECORD,,\n"]).encode()
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, data in files.items():
        wheel.writestr(name, data)
END
}

@test "takes a package from twine, and gives it to pip" {
    "$PYTHON" -c 'import pypiserver' || skip "make test-apps installs what this needs"
    twine=$(cd "$repository" && PIP_NO_DEPS=1 test/tools twine) || skip "twine could not be installed"
    export PACKAGES=$BATS_TEST_TMPDIR/packages
    mkdir "$PACKAGES" "$BATS_TEST_TMPDIR/got"
    start_server 'on_pypiserver:create_app()'
    wheel=parcel-1.0-py3-none-any.whl
    make_wheel "$BATS_TEST_TMPDIR/$wheel"
    (cd "$repository" && "$twine" -m twine upload --config-file /dev/null --non-interactive --disable-progress-bar -u a -p a \
        --repository-url "$url/" "$BATS_TEST_TMPDIR/$wheel")
    cmp "$BATS_TEST_TMPDIR/$wheel" "$PACKAGES/$wheel"
    # Isolated: no index but this one is asked.
    "$PYTHON" -m pip --isolated --disable-pip-version-check --no-cache-dir install --no-deps --index-url "$url/simple" \
        --target "$BATS_TEST_TMPDIR/got" parcel==1.0
    PYTHONPATH=$BATS_TEST_TMPDIR/got "$PYTHON" -c 'import parcel; assert len(parcel.CONTENT) == 4_000_000'
}

@test "serves Node's agent on four connections that it keeps, and takes 30 MB from it" {
    needs node nodejs
    large_file "$UPLOAD"
    serves on_flask --keep-alive 60
    node "$BATS_TEST_DIRNAME/asks.js" "$url" "$UPLOAD" 3>&- 4>&-
}

@test "calls factories that are named as gunicorn's are" {
    serves 'factories:create_app()'
    [ "$(curl -sS -f -m 20 "$url")" = "made by factory" ]
    restart 'factories:Project.create_app()'
    [ "$(curl -sS -f -m 20 "$url")" = "made by an attribute" ]
}
