#!/usr/bin/env bats
# Django's admin with its static files, a session in sqlite, and forms that a token protects.
#
# bats file_tags=kinds

load helper

# Sends the form at path $1 as curl's arguments say, with the token that it holds.
submits() {
    token=$(browses "$url$1" | sed -n 's/.*name="csrfmiddlewaretoken" value="\([^"]*\)".*/\1/p' | sed 1q)
    browses -L -e "$url$1" -d "csrfmiddlewaretoken=$token" "${@:2}" "$url$1" >"$answer"
}

logs_in() {
    submits /admin/login/ -d username=admin -d password=admin -d next=/admin/
    grep -q 'Site administration' "$answer"
}

@test "lets a user into Django's admin, and out again" {
    serves on_django
    browses "$url/admin/" -o /dev/null -w '%{redirect_url}' | grep -q '/admin/login/'
    logs_in
    browses "$url/admin/" | grep -q 'Site administration'
    submits /admin/password_change/ -d old_password=admin -d new_password1=a-new-one-7 -d new_password2=a-new-one-7
    submits /admin/ -o /dev/null || true # the token of the form that logs out
    browses -e "$url/admin/" -d "csrfmiddlewaretoken=$token" "$url/admin/logout/" | grep -q 'Logged out'
    browses "$url/admin/" -o /dev/null -w '%{http_code}' | grep -q 302
}

@test "keeps what is entered into Django's admin" {
    serves on_django
    logs_in
    submits /admin/auth/group/add/ --data-urlencode "name=Zoë & friends"
    browses "$url/admin/auth/group/" | grep -q 'Zoë &amp; friends'
    for number in 1 2 3 4 5 6; do submits /admin/auth/group/add/ -d "name=group $number"; done
    browses "$url/admin/auth/group/" | grep -q '7 groups'
}

@test "serves the static files of Django's admin" {
    serves on_django
    static=$("$PYTHON" -c 'import os, django.contrib.admin as admin; print(os.path.dirname(admin.__file__))')/static
    browses "$url/admin/login/" | grep -o '/static/[^"]*' >"$BATS_TEST_TMPDIR/links"
    while read -r link; do
        browses "$url$link" | cmp - "$static/${link#/static/}"
    done <"$BATS_TEST_TMPDIR/links"
    [ "$(grep -c . "$BATS_TEST_TMPDIR/links")" -ge 3 ]
    browses -z "$static/admin/css/base.css" -w '%{http_code}' "$url/static/admin/css/base.css" | grep -q -x 304
}

@test "refuses nothing of a log-in by requests" {
    serves on_django
    "$PYTHON" - "$url" <<'END'
import sys, requests
session = requests.Session()
session.trust_env = False
page = session.get(sys.argv[1] + "/admin/login/?next=/admin/", timeout=20)
fields = {"csrfmiddlewaretoken": session.cookies["csrftoken"], "username": "admin", "password": "admin", "next": "/admin/"}
page = session.post(page.url, data=fields, headers={"Referer": page.url}, timeout=20)
assert "Site administration" in page.text and [r.status_code for r in page.history] == [302], page.text
END
}
