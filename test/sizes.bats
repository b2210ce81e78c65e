#!/usr/bin/env bats
# The limits that users raise: long queries, and long fields such as tickets of Kerberos, to 64 kB.

load test_helper

# sized PLACE BYTES  prints the statuses of the answers to a request whose request-line, or whose one long field line has
# so many bytes, the line end not counted, and to one more on that connection.
sized() {
    local filler
    case $1 in
        line) filler=$(($2 - 14)) && set -- "GET /$(printf "%0${filler}d" 0) HTTP/1.1" 'A: b' ;;
        field) filler=$(($2 - 3)) && set -- 'GET / HTTP/1.1' "A: $(printf "%0${filler}d" 0)" ;;
    esac
    printf '%s\r\n' "$1" 'Host: a' "$2" '' 'GET / HTTP/1.1' 'Host: a' 'Connection: close' '' | raw | statuses
}

@test "takes a request-line as long as --limit-request-line says, and refuses a longer one" {
    for most in 100 65536; do
        start_server --limit-request-line "$most" hello:app
        [ "$(sized line "$most")" = "200 200" ]
        [ "$(sized line "$((most + 1))")" = "414" ] # RFC 9110 15.5.15
        stop_server
    done
}

@test "takes a field line as long as --limit-request-field-size says, and refuses a longer one" {
    for most in 100 65536; do
        start_server --limit-request-field-size "$most" hello:app
        [ "$(sized field "$most")" = "200 200" ]
        [ "$(sized field "$((most + 1))")" = "431" ] # RFC 6585 5
        stop_server
    done
}

@test "takes the longest request-line and the longest field line together" {
    start_server --limit-request-line 65536 --limit-request-field-size 65536 hello:app
    long=$(printf '%065000d' 0)
    [ "$(printf '%s\r\n' "GET /$long HTTP/1.0" 'Host: a' "A: $long" '' | raw | statuses)" = "200" ]
}
