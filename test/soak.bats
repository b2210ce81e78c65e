#!/usr/bin/env bats
# Half a minute of everything at once, as soak.py says; SOAK_SECONDS=600 makes it ten. On most days it shows little: make test
# leaves it to make test-all.
#
# bats file_tags=all

load test_helper

BATS_TEST_TIMEOUT=$((${SOAK_SECONDS:-60} + 120))

@test "loses no request but those in a killed worker, and takes no more in the end, under clients of every kind, HUPs and kills" {
    [ -r /proc/self/smaps_rollup ] || skip "there is no /proc to see processes by"
    type openssl >/dev/null 2>&1 || skip "there is no openssl to make a certificate with"
    "$PYTHON" -c 'import ssl' || skip "this Python has no ssl"
    "$PYTHON" "$BATS_TEST_DIRNAME/soak.py" "$WEBSERVER"
}
