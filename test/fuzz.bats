#!/usr/bin/env bats
# Mutated requests, cut at random, against h11. The same inputs in every run; `make fuzz` takes more and others.

load test_helper

fuzz() {
    python=$(cd "$repository" && test/tools fuzz 2>"$BATS_TEST_TMPDIR/tools") ||
        skip "h11 is not here: $(tail -n 1 "$BATS_TEST_TMPDIR/tools")"
    start_server seen:app
    "$repository/$python" "$BATS_TEST_DIRNAME/fuzz.py" --port "$port" "$@"
    [ ! -s "$stderr" ]
}

@test "reads mutated requests as another parser of HTTP does, or refuses them for a named rule" {
    fuzz --seed 1 --count "$([ -n "${ALL_MODES-}" ] && echo 2000 || echo 300)" # with --all more
}

# bats test_tags=all
@test "reads other mutated requests as another parser of HTTP does" {
    fuzz --seed 2 --count 1000
}
