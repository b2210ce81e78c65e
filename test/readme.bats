#!/usr/bin/env bats
# What README.md says of the programs, their tests and the Makefile is what they are.

load test_helper

# Prints the words of the README's command number $1, of the block that it begins with.
first_command() {
    awk -v number="$1" '/^    / && ++count == number { sub(/#.*/, ""); print; exit }' "$repository/README.md"
}

# Prints the options in column $2 of the table in section $1, each with its default, which follows in brackets.
documented() {
    # shellcheck disable=SC2016
    awk -F ' *[|] *' -v section="## $1" -v column="$2" '
        /^## / { inside = $0 == section }
        inside && /^[|]/ { print $(column + 1) }' "$repository/README.md" |
        grep -o -E '`(--[a-z-]+|[A-Z:]+)( [^` ]+)?`( \([^()]*\))?' | tr -d '`()'
}

# Prints the limits in the table that have no option, each with its value.
limits() {
    awk -F ' *[|] *' '
        /^## / { inside = $0 == "## Limits" }
        inside && $2 ~ /^`[a-z]/ {
            gsub(/[`,]/, "")
            count = split($2, names, " ")
            split($3, values, " ")
            for (i = 1; i <= count; i++) print names[i], values[i]
        }' "$repository/README.md"
}

# Prints each argument that --help of program $1 names, with its default, if any: what the text ends with in brackets.
helped() {
    COLUMNS=200 NO_COLOR=1 "$PYTHON" "$1" --help |
        awk '/^          / { line = line $0; next } { print line; line = $0 } END { print line }' |
        sed -n -E 's/^  (-h, )?([^ ]+( [^ ]+)?)  +(.*[^)]|.*\(([^()]*)\))$/\2 \5/p' |
        sed 's/ none$//'
}

# Sorts, and writes large numbers as --help does, which rounds them.
arranged() {
    awk '$NF ~ /^[0-9]+[0-9.e+]*$/ { $NF = sprintf("%g", $NF) } { $1 = $1; print }' | LC_ALL=C sort
}

# Prints the limits of webserver.py whose names stand first in the lines of stdin.
actual() {
    "$PYTHON" -c 'import runpy, sys
limits = runpy.run_path(sys.argv[1])["Limits"]
for line in sys.stdin:
    print(line.split()[0], format(getattr(limits, line.split()[0]), ".15g"))' "$WEBSERVER"
}

# Prints the rooms in the first column of their table.
rooms() {
    awk -F ' *[|] *' '/^\| rooms /, /^$/ { if (NF > 1 && $2 !~ /^(rooms |---)/) print $2 }' "$repository/README.md" |
        tr ',' '\n' | sed 's/^ //'
}

# Prints file and first line of each test that the ladder cites; a row that cites none, as it is. A file's name counts until
# the next one.
cited() {
    awk -F '|' '
        /^## / { inside = $0 == "## The ladder" }
        !inside || !/^\|/ || /^\| (stage|---) / { next }
        { count = split($4, part, "`") }
        count < 5 { print }
        { for (i = 2; i <= count; i += 2) if (part[i] ~ /\.bats$/) file = part[i]; else print file ":@test \"" part[i] "\" {" }
    ' "$repository/README.md"
}

@test "serves the page with the first command of the README" {
    read -r -a words <<<"$(first_command 1)"
    [ "${words[*]:0:2}" = "python3 webserver.py" ]
    start_server "${words[@]:2}"
    [ "$(curl -s -m 10 "$url/hello")" = "Hello, World!" ]
}

@test "serves an application with the second command of the README" {
    cp "$BATS_TEST_DIRNAME/apps/echo.py" "$BATS_TEST_TMPDIR/module.py"
    read -r -a words <<<"$(first_command 2)"
    [ "${words[*]}" = "python3 webserver.py --app module:app" ]
    PYTHONPATH=$BATS_TEST_TMPDIR start_server "${words[@]:2}"
    [ "$(curl -s -m 10 -d "a form" "$url")" = "a form" ]
}

@test "runs by each command of the README" {
    cp "$BATS_TEST_DIRNAME/apps/echo.py" "$BATS_TEST_TMPDIR/module.py"
    start_server
    sed -n -E 's/ *#.*//; s/^    (python3 )/\1/p' "$repository/README.md" | sort -u >"$BATS_TEST_TMPDIR/commands"
    [ "$(grep -c . "$BATS_TEST_TMPDIR/commands")" -ge 4 ]
    cd "$BATS_TEST_TMPDIR"
    while read -r line; do
        read -r -a words <<<"${line//http:\/\/localhost:8888/$url}"
        case ${words[1]} in
            webserver.py) words=("$WEBSERVER" "${words[@]:2}" --bind 127.0.0.1:0 --check-config) ;;
            *) words=("$repository/${words[1]}" "${words[@]:2}") ;;
        esac
        run "$PYTHON" "${words[@]}" </dev/null
        [ "$status" -eq 0 ] || { echo "$line: $output" && false; }
    done <"$BATS_TEST_TMPDIR/commands"
}

# --no-cache-dir is pip's.
@test "has every option that the README names anywhere" {
    grep -o -E -e '--[a-z][a-z-]*' "$repository/README.md" | sort -u >"$BATS_TEST_TMPDIR/named"
    { "$PYTHON" "$PROGRAM" --help && "$PYTHON" "$CLIENT" --help; } | grep -o -E -e '--[a-z][a-z-]*' >"$BATS_TEST_TMPDIR/there"
    run grep -v -x -F -e --no-cache-dir -f "$BATS_TEST_TMPDIR/there" "$BATS_TEST_TMPDIR/named"
    [ "$output" = "" ]
}

@test "serves from a copy in an empty folder, with nothing installed" {
    mkdir "$BATS_TEST_TMPDIR/empty"
    cp "$WEBSERVER" "$BATS_TEST_TMPDIR/empty/webserver.py"
    (cd "$BATS_TEST_TMPDIR/empty" && exec "$PYTHON" -S -E webserver.py --bind 127.0.0.1:0) >"$BATS_TEST_TMPDIR/ready" 3>&- & server_pid=$!
    eventually grep -q '^Serving' "$BATS_TEST_TMPDIR/ready"
    [ "$(curl -s -m 10 "http://127.0.0.1:$(tr -dc 0-9 <"$BATS_TEST_TMPDIR/ready")")" = "Hello, World!" ]
}

@test "has the options that its README names, with the same defaults, and no others" {
    diff <(documented Options 1 | arranged) <(helped "$WEBSERVER" | arranged)
}

@test "has a client with the options that the README names, with the same defaults, and no others" {
    diff <(documented client.py 2 | arranged) <(helped "$CLIENT" | arranged)
}

@test "has the limits that its README names" {
    limits | grep -q head_bytes
    diff <(limits) <(limits | actual)
}

@test "has the rooms that its README names, in this order" {
    diff <(rooms) <(sed -n 's/^# ---- \([a-z ]*\):.*/\1/p' "$WEBSERVER")
}

@test "has the tests that the ladder of its README cites, and one at least for each promise" {
    cited >"$BATS_TEST_TMPDIR/cited"
    cd "$BATS_TEST_DIRNAME"
    grep '^@test ' -- *.bats >"$BATS_TEST_TMPDIR/tests"
    run grep -v -x -F -f "$BATS_TEST_TMPDIR/tests" "$BATS_TEST_TMPDIR/cited"
    [ -s "$BATS_TEST_TMPDIR/cited" ] && [ "$output" = "" ] || { echo "$output" && false; }
}

@test "has the make targets that its README names, and no others" {
    diff <(grep -o -E '`make [a-z-]+' "$repository/README.md" | awk '{ print $NF }' | sort -u) \
        <(sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' "$repository/Makefile" | sort -u)
}
