#!/usr/bin/env bats
# A browser's way of using a server: several connections, some of them silent, some given up.
#
# bats file_tags=kinds

load helper

@test "serves what uses it as a browser does" {
    start_server --keep-alive 1 page:app
    "$PYTHON" "$BATS_TEST_DIRNAME/browses.py" "$url" 1
    [ ! -s "$stderr" ]
}

# The name of a Chromium that is installed.
installed_chromium() {
    local name
    for name in chromium chromium-browser google-chrome "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
        /Applications/Chromium.app/Contents/MacOS/Chromium; do
        if type "$name" >/dev/null 2>&1; then echo "$name" && return; fi
    done
    return 1
}

@test "serves Chromium" {
    chromium=$(installed_chromium) || skip "there is no Chromium"
    start_server page:app
    root=()
    [ "$(id -u)" -ne 0 ] || root=(--no-sandbox)
    "$chromium" --headless --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$BATS_TEST_TMPDIR/profile" \
        ${root[@]+"${root[@]}"} --no-proxy-server --dump-dom "$url" \
        >"$answer" 2>"$BATS_TEST_TMPDIR/chromium" 3>&- 4>&- || { tail "$BATS_TEST_TMPDIR/chromium" && false; }
    grep -q '>24 loaded<' "$answer" || { cat "$answer" "$BATS_TEST_TMPDIR/chromium" && false; }
}
