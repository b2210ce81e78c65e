#!/usr/bin/env bats
# Flask, Bottle and Django behind the server, as curl, requests and httpx use them.
#
# bats file_tags=kinds

load helper

setup_file() {
    shares on_flask on_bottle on_django
}

# Fills in the form as a browser does, and is sent on to what it said.
fills_in() {
    [ "$(browses "$url/said")" = nothing ]
    token=$(browses "$url/form" | sed -n 's/.*name="csrfmiddlewaretoken" value="\([^"]*\)".*/\1/p')
    browses -L -o "$answer" --data-urlencode "name=Zoë" --data-urlencode "note=a&b=c +d%" \
        ${token:+--data-urlencode "csrfmiddlewaretoken=$token"} "$url/form"
    [ "$(cat "$answer")" = "Zoë: a&b=c +d%" ]
    [ "$(browses "$url/said")" = "Zoë: a&b=c +d%" ]
}

@test "serves forms, redirects and sessions to curl" {
    each fills_in
}

# Sends the large file by form, and gets the same; sends it by chunks, and gets its digest.
sends_large() {
    browses -o "$answer" -F "file=@$UPLOAD" "$url/upload"
    cmp "$UPLOAD" "$answer"
    digest=$("$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())' <"$UPLOAD")
    [ "$(browses -T - "$url/upload" <"$UPLOAD")" = "$digest" ]
    [ "$(browses -T "$UPLOAD" "$url/upload")" = "$digest" ]
}

@test "takes 30 MB from curl, and gives them back" {
    large_file "$UPLOAD"
    each sends_large
}

@test "serves forms, sessions and 30 MB to requests and httpx, leaves its error to the application, and serves on" {
    large_file "$UPLOAD"
    each drives form upload error
    grep -q 'LookupError: on purpose' "$BATS_FILE_TMPDIR"/on_*/stderr
}

# Reads the first block while the application waits for the second, which stands in a pipe.
reads_stream() {
    mkfifo "$GATE"
    browses -N "$url/stream" >"$answer" 3>&- 4>&- & client=$!
    eventually grep -q -x first "$answer"
    echo second >"$GATE"
    wait_for "$client"
    [ "$(cat "$answer")" = $'first\nsecond' ]
    drives stream
    rm "$GATE"
}

@test "sends what an application yields when it yields it" {
    each reads_stream
}

# Continues a download that was cut.
continues() {
    [ "$application" != on_django ] || return 0 # it offers no ranges
    head -c 400000 "$UPLOAD" >"$answer"
    browses -C - -o "$answer" "$url/file"
    cmp "$UPLOAD" "$answer"
    drives file
}

@test "serves the ranges that an application offers" {
    "$PYTHON" -c 'import sys; print(*range(200000))' >"$UPLOAD"
    each continues
}
