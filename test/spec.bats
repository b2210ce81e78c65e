#!/usr/bin/env bats
# How an application is named: as users of gunicorn write it, with arguments for a factory, and in a file with a dash.

load test_helper

setup() {
    answer="$BATS_TEST_TMPDIR/answer"
    export PYTHONPATH="$BATS_TEST_TMPDIR"
    printf '%s\n' 'from says import says' 'def create_app(*given, **named):' '    return says(ascii((given, named)))' \
        'class holder: make = staticmethod(create_app)' >"$BATS_TEST_TMPDIR/factory.py"
}

# serves BODY ARGUMENT...  succeeds when the application that is named so answers with this.
serves() {
    start_server "${@:2}"
    [ "$(curl -s -m 10 "$url")" = "$1" ]
    stop_server
}

@test "calls a factory with literals" {
    serves "(('x',), {'debug': True})" --app 'factory:create_app("x", debug=True)'
    serves "((1, -2.5, [None, ('a',)]), {'where': {'a': b'b'}})" "factory:create_app(1, -2.5, [None, ('a',)], where={'a': b'b'})"
    SERVER_OPTIONS="--workers 1" serves "((), {'key': 'a,b)('})" 'factory:holder.make( key = "a,b)(" )'
}

# What is no literal is not evaluated.
@test "refuses arguments for a factory that are no literals, in a line" {
    for call in 'create_app(x)' 'create_app(open("evil", "w"))' 'create_app(*[1])' 'create_app(**{"a": 1})' 'create_app(1' \
        'create_app("x").other' 'create_app(1)(2)' 'create_app(debug=os)' 'create_app(f"{1}")' 'create_app(1 if 1 else 2)'; do
        printf "'' '%s'\n" "factory:$call"
    done | refuses
    [ ! -e "$BATS_TEST_DIRNAME/apps/evil" ]
}

@test "takes a module whose file has a dash in its name" {
    mkdir "$BATS_TEST_TMPDIR/my-package"
    cp "$BATS_TEST_DIRNAME/apps/hello.py" "$BATS_TEST_TMPDIR/my-app.py"
    cp "$BATS_TEST_DIRNAME/apps/hello.py" "$BATS_TEST_TMPDIR/my-package/my-app.py"
    serves "Hello, World!" my-app:app
    serves "Hello, World!" --app my-app
    serves "Hello, World!" my-package.my-app:app
}
