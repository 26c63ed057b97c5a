#!/bin/sh
# Mutations: makes small mistakes in a source file, one at a time, and counts those that its tests
# notice. What they do not is listed; some change nothing that anybody could see.
# Usage: mutate.sh BUILD COUNT SOURCE TEST...: COUNT mistakes spread over the file SOURCE.
set -eu

build=$1
count=$2
source=$3
shift 3
work=$(mktemp -d)
cp "$source" "$work/original"
restore() {
    cp "$work/original" "$source"
    rm -rf "$work"
}
trap restore EXIT
trap 'exit 1' INT TERM

# Lines "number<tab>new line": each operator at each place where it applies.
awk '
function put(text) { if (text != $0) print NR "\t" text }
function change(from, to,   at, text) {
    at = index($0, from)
    if (at > 0) {
        text = substr($0, 1, at - 1) to substr($0, at + length(from))
        put(text)
    }
}
/^ *(\/\*|\*|#)/ || /^[a-z]/ { next }
/^static|^}|^{/ { next }
{
    change(" == ", " != "); change(" != ", " == ")
    change(" < ", " <= "); change(" > ", " >= "); change(" <= ", " < "); change(" >= ", " > ")
    change(" && ", " || "); change(" || ", " && ")
    change(" + 1", " + 2"); change(" - 1", " - 0"); change("++", "--")
    change("if (!", "if ("); change("true", "false"); change("false", "true")
    if ($0 ~ /^ +[a-z_]+\(.*\);$/) put("")
    if ($0 ~ /^ +status = .*;$/) put("")
}' "$source" >"$work/all"
total=$(wc -l <"$work/all")
[ "$total" -gt 0 ] || exit 1
[ "$count" -le "$total" ] || count=$total
awk -v total="$total" -v count="$count" '
    int(NR * count / total) > int((NR - 1) * count / total)' "$work/all" >"$work/chosen"

# Tests that fail anyway would notice everything. A mistake may let them run on and on: each gets ten
# times what it takes without.
if ! ninja -C "$build" "$@" >"$work/log" 2>&1; then
    cat "$work/log"
    exit 1
fi
for test in "$@"; do
    program=$(find "$build/tests" -name "$test" -type f)
    start=$(date +%s)
    "$program" >"$work/log" 2>&1 || { cat "$work/log" && exit 1; }
    echo "$program $((30 + 10 * ($(date +%s) - start)))" >>"$work/programs"
done

killed=0
tried=0
while IFS='	' read -r line text; do
    awk -v line="$line" -v text="$(printf '%s' "$text" | sed 's/\\/\\\\/g')" \
        'NR == line { print text; next } { print }' "$work/original" >"$source"
    # What does not compile is no mistake that could be made.
    if ! ninja -C "$build" "$@" >"$work/log" 2>&1; then
        grep -q 'error:' "$work/log" || cat "$work/log"
        continue
    fi
    tried=$((tried + 1))
    noticed=0
    while read -r program seconds; do
        timeout "$seconds" "$program" >/dev/null 2>&1 </dev/null || { noticed=1 && break; }
    done <"$work/programs"
    killed=$((killed + noticed))
    [ "$noticed" = 1 ] || printf 'survived: %s:%s: %s\n' "$source" "$line" "$text"
done <"$work/chosen"
printf '%s: %d of %d mistakes noticed\n' "$source" "$killed" "$tried"
