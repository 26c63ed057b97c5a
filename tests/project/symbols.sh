#!/bin/sh
# Checks what the libraries show: libsumi.so exports exactly what the headers declare, every global name
# in libsumi.a begins with sumi_, and libsumi.a holds no data that anybody could write to.
# Arguments: libsumi.so libsumi.a, the folder of the headers. Exit status 77: the tools are missing.
set -eu

shared=$1 static=$2 headers=$3
command -v nm >/dev/null && command -v objdump >/dev/null || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
say() {
    echo "$1" >&2
    failed=1
}

# A declaration may go over two lines; its name is the word before the first bracket.
cat "$headers"/*.h | sed '/^#/d' | tr '\n' ' ' | grep -o 'SUMI_API [^;(]*(' | sed 's/ *($//; s/.*[ *]//' |
    sort >"$work/declared"
nm -D --defined-only "$shared" | awk '{ print $3 }' | sort >"$work/exported"
[ "$(wc -l <"$work/declared")" -ge 30 ] || say "found too few declarations in $headers"
diff -u "$work/declared" "$work/exported" >&2 || say "$shared does not export what $headers declares"

leaked=$(nm --defined-only "$static" | awk '$2 ~ /^[A-Z]$/ && $3 !~ /^sumi_/ { print $3 }')
[ -z "$leaked" ] || say "$static has global names without sumi_: $leaked"

# .data.rel.ro is read-only once the program is loaded: constant tables of pointers live there.
# Allowed: create_error, why this thread's last sumi_context_create failed, as there is no context
# yet that could keep the message.
writable=$(objdump -t "$static" | awk '
    $0 ~ / (\.data|\.bss|\.tbss|\.tdata|\.data\.rel|\*COM\*|\.data\.rel\.local)[.a-z_]*\t/ &&
    $0 !~ /\.data\.rel\.ro/ && $NF !~ /^\.(t?data|t?bss)/ && $NF != "create_error" { print $NF }')
[ -z "$writable" ] || say "$static holds writable data: $writable"
exit $failed
