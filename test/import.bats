#!/usr/bin/env bats
# While the code after HUP is imported, the server goes on as before, with what it has promised.

load test_helper

setup() {
    export PYTHONPATH="$BATS_TEST_TMPDIR:$BATS_TEST_DIRNAME/apps"
    export PYTHONDONTWRITEBYTECODE=1 # a cache does not tell two files of one second and one size apart
    answer="$BATS_TEST_TMPDIR/answer"
    modes=("" "--workers 1" "--workers 1 --threads 2")
}

# app_is STATEMENT...  makes the application.
app_is() {
    printf '%s\n' "$@" >"$BATS_TEST_TMPDIR/it.py"
}

answers() {
    [ "$(curl -s -m 10 "$url")" = "$1" ]
}

@test "keeps nobody waiting for an import that takes its time after HUP" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        app_is 'from says import says' 'app = says("one")'
        start_server it:app
        app_is 'import time' 'from says import says' 'time.sleep(2)' 'app = says("two")'
        kill -HUP "$server_pid"
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            [ "$(curl -s -m 1 -o "$answer" -w '%{http_code}' "$url")" = 200 ] # it took 2 s, else
            grep -q one "$answer" || break
            sleep 0.2
        done
        eventually answers two
        stop_server
    done
}

# Its --timeout has begun before HUP.
@test "ends a call from before HUP that takes too long" {
    for SERVER_OPTIONS in "${modes[@]}"; do
        start_server --timeout 1 hangs:app
        printf 'GET /hang HTTP/1.1\r\nHost: a\r\n\r\n' | raw >"$answer" 3>&- & client=$!
        eventually in_application
        kill -HUP "$server_pid"
        wait_for "$client" || [ "$?" -eq 1 ] # or a reset, of which cat complains
        stop_server
    done
}

in_application() {
    kill -USR1 "$server_pid" && grep -q ' in hang$' "$stderr"
}
