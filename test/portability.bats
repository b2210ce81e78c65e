#!/usr/bin/env bats
# The tests, the scripts and the Makefile run with what macOS has: bash 3.2, the tools of BSD, GNU Make 3.81. Each
# ban stands with its reason. (Brackets in a pattern keep it from matching the line that it stands on.)

load test_helper

# Lines of shell, without comments and the names of tests.
shell() {
    cd "$repository" || return
    grep -n '' .ci/run test/lint test/run test/tools test/*.bash test/*.bats test/real/*.bash test/real/*.bats |
        grep -v -E '^[^:]*:[0-9]*:[[:space:]]*(#|@test )'
}

# banned PATTERN REASON  fails, and shows where, when a line of shell matches.
banned() {
    if shell | grep -E -e "$1"; then
        echo "^ $2"
        return 1
    fi
}

# before and after the name of a command
start='(^[^:]*:[0-9]*:|[&|;(`{]|then|do|else|!|exec|eventually|run)[[:space:]]*'
end='([^A-Za-z0-9_]|$)'

@test "the tests call no command that macOS lacks" {
    banned "${start}(time[o]ut|gtime[o]ut) " "bound a wait with read -t, curl -m, wait_for or eventually"
    banned "${start}set[s]id" "set -m gives a background job a process group of its own"
    banned "${start}(pid[o]f|fl[o]ck|np[r]oc|t[a]c|unbuf[f]er|trunc[a]te|sha256s[u]m|md5s[u]m)$end" "not there"
    banned "${start}s[s] -" "it reads Linux's netlink; lsof -i is on both"
    banned "${start}(realp[a]th|readl[i]nk -f)" "only since macOS 13: cd there and ask pwd"
}

@test "the tests kill nothing by name" {
    banned "${start}(pk[i]ll|kill[a]ll)$end" "it meets processes of others: keep the pid"
    banned "kill -[0] " "it succeeds for a zombie: ask ps -A -o pid=,stat="
}

@test "the tests give no option that BSD's tools lack" {
    banned "grep .*-[a-zA-Z]*[P]" "BSD's grep has no Perl expressions: use -E or awk"
    banned "sed .*-[i]" "BSD's takes the next argument as a suffix: write to another file"
    banned "date .*%[0-9]*[N]" "BSD's prints the letter: time with SECONDS, or in Python"
    banned "${start}stat -[c]" "BSD's has -f with other letters: use wc, ls or Python"
    banned "${start}ps .*--[a-z]" "no long options: ps -A -o pid=,ppid=,stat= | awk"
    banned "head .*-[nc] *-[0-9]" "no counting from the end: use sed or awk"
    banned "xargs .*-[r]$end" "some have no such option; BSD's runs nothing on no input anyway"
    banned "mktemp .*(-[p]|--[t])" "no such options: give a whole template"
    banned "(tail|sort|base64|cp|ls|du|mv|rm|mkdir) .*--[a-z]" "no long options"
    banned "wc -[lcw]\)\" *(=|==|!=) " "it pads with blanks: compare numbers, or count with grep -c"
}

@test "the tests use nothing newer than bash 3.2" {
    banned "${start}(map[f]ile|read[a]rray|cop[r]oc)$end" "bash 4: read in a loop"
    banned "${start}(declare|local|typeset) +-[a-zA-Z]*[Ang]" "bash 4: no associative arrays, references or -g"
    banned '\$\{[a-zA-Z_0-9@*]+(\[[^]]*\])?(\^|,)' "bash 4: change the case with tr"
    banned '\$\{[a-zA-Z_0-9]+(\[[^]]*\])?@[A-Z]\}' "bash 4.4: quote with printf %q"
    banned '\[-[1]\]' "bash 4.3: count the elements"
    banned "wait -[n]" "bash 4.3: wait for a pid"
    banned "read .*-t *[0-9]*[.]" "bash 4: whole seconds"
    banned "read .*-[N]" "bash 4: use head -c"
    banned '(&[>]>|\|[&]|;[&])' "bash 4: write 2>&1 | and 2>&1 >>, and repeat the case"
    banned "\{[a-z_]+\}[<]|\{[a-z_]+\}[>]" "bash 4.1: name the descriptor by a number"
    banned "\[\[? +-[v] " "bash 4.2: ask \${name+set}"
    banned "%\([^)]*\)[T]" "bash 4.2: use date"
    banned "(EPOC[H]|BASHP[I]D)" "bash 4 and 5: use SECONDS, and \$PPID of a sh -c"
}

# bash 3.2 goes on after a `[[` or `((` that fails in mid-test: use `[`, or add `|| false`.
@test "no failure of a test passes unseen in bash 3.2" {
    run awk '
        /^[[:space:]]*(#|$)/ { next }
        bare && $0 != "}" { print bare }
        { bare = /^[[:space:]]*(\[\[ .*\]\]|\(\(.*\)\))$/ ? FILENAME ":" FNR ":" $0 : "" }' "$repository"/test/*.bats
    [ "$output" = "" ] || { echo "$output" && false; }
}

@test "no failure of a test passes unseen in any bash" {
    banned '^[^:]*bats:[0-9]*:[[:space:]]+! ' "what is negated never fails a test: add || false, or use run -1"
}

@test "the Makefile needs no more than GNU Make 3.81" {
    run grep -n -E '^[A-Za-z_]+ *(!|:::?)=|^\.(ONESHELL|SHELLFLAGS)|\$\((file|guile) ' "$repository/Makefile"
    [ "$output" = "" ]
}

# A folder named test exists: without this, make test does nothing.
@test "every target of the Makefile is phony" {
    targets=$(sed -n 's/^\([a-z][a-z-]*\):.*/\1/p' "$repository/Makefile" | sort)
    phony=$(sed -n 's/^\.PHONY: *//p' "$repository/Makefile" | tr ' ' '\n' | sort)
    [ "$targets" = "$phony" ]
    for target in run test test-apps lint mutants clean help; do echo "$phony" | grep -q -x "$target" || false; done
}

@test "the files of pinned tools name no place to fetch from" {
    run grep -h -v -E '^#|^[a-z0-9-]+==[0-9.]+( ; [^:]*)? \\$|^    --hash=sha256:[0-9a-f]+( \\)?$' "$repository"/test/requirements-*.txt
    [ "$output" = "" ]
}
