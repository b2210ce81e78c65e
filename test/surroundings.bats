#!/usr/bin/env bats
# Where the server finds itself: in a folder that is gone, with a standard library that was patched. It says so.

load test_helper

setup() {
    export PYTHONPATH="$BATS_TEST_DIRNAME/apps"
    answer="$BATS_TEST_TMPDIR/answer"
    modes=("" --no-fork "--workers 1 --threads 2")
}

# ends MODE ARGUMENT...  starts the server, which may serve or not, and sets code to its exit status, or to "serves".
ends() {
    code=0
    rm -f "$BATS_TEST_TMPDIR/stderr"
    if SERVER_OPTIONS="$1" start_server "${@:2}" >"$answer"; then
        code=serves
        return
    fi
    wait_for "$server_pid" || code=$?
    server_pid=
}

@test "says in a line that its folder is gone, and ends" {
    # shellcheck disable=SC2016
    launch=(bash -c 'mkdir "$0" && cd "$0" && rmdir "$0" && exec "$@"' "$BATS_TEST_TMPDIR/gone")
    ends "" hello:app
    cat "$stderr"
    [ "$code" != serves ]
    [ "$code" -ne 0 ]
    [ "$(grep -c '' "$stderr")" -eq 1 ]
}

# gevent's patch_all() in the module of the application: workers of another kind, where the loop is a real one.
@test "says that a standard library that was patched is not supported, and does not hang" {
    for mode in "${modes[@]}"; do
        ends "$mode" like_gevent:app
        cat "$stderr"
        [ "$(grep -c -i patch "$stderr")" -ge 1 ]
        if [ "$code" = serves ]; then
            [ "$(curl -s -m 10 "$url")" = "Hello, World!" ]
            stop_server
        else
            [ "$code" -ne 0 ]
        fi
    done
}
