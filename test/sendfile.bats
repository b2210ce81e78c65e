#!/usr/bin/env bats
# Where the system refuses sendfile (sandboxes, FUSE, file systems of clusters), files are sent all the same.

load test_helper

setup() {
    export FILE="$BATS_TEST_TMPDIR/file"
    answer="$BATS_TEST_TMPDIR/answer"
    "$PYTHON" -c 'import os, sys; open(sys.argv[1], "wb").write(os.urandom(8000000))' "$FILE"
}

# refuses_after CALLS  succeeds when files arrive as they are, twice on one connection, where sendfile is refused after so
# many calls, for each reason in another mode.
refuses_after() {
    for error in "ENOSYS" "EINVAL --no-fork" "EOPNOTSUPP --workers 1" "EPERM --workers 1 --threads 2"; do
        rm -f "$BATS_TEST_TMPDIR/stderr"
        altered "sendfile:${error%% *}:9999:$1"
        SERVER_OPTIONS=${error#"${error%% *}"} start_server sends_file:app
        curl -sf -m 10 "$url/file" "$url/partly-read" >"$answer"
        tail -c +7 "$FILE" | cat "$FILE" - | cmp - "$answer"
        grep -q "injected sendfile" "$stderr"
        stop_server
    done
}

@test "sends a file whole where sendfile is refused" {
    refuses_after 0
}

@test "goes on where it was when sendfile is refused in the middle of a file" {
    refuses_after 1
}
