#!/bin/sh
# Installs sumi into an empty folder, moves that folder, and builds a small outside program against
# it through pkg-config (shared and static) and through find_package.
# Arguments: the build folder, the compiler, the folder of this script.
set -eu

build=$1 cc=$2 here=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/made" >"$work/log" || { cat "$work/log" && exit 1; }
mv "$work/made" "$work/moved"
prefix=$work/moved
for file in bin/sumi include/sumi.h include/sumi_device.h include/sumi_eval.h share/man/man1/sumi.1 \
    share/bash-completion/completions/sumi; do
    [ -s "$prefix/$file" ] || { echo "not installed: $file" && exit 1; }
done
libdir=$(dirname "$(find "$prefix" -name libsumi.a)")

export PKG_CONFIG_PATH="$libdir/pkgconfig"
expected=$(pkg-config --modversion sumi)
# shellcheck disable=SC2046 # the flags are words
$cc -std=c17 "$here/outside/main.c" $(pkg-config --cflags --libs sumi) -o "$work/shared"
[ "$(LD_LIBRARY_PATH=$libdir "$work/shared")" = "$expected" ]
# The dynamic library would win over the archive of the same name.
# shellcheck disable=SC2046
$cc -std=c17 "$here/outside/main.c" $(pkg-config --cflags sumi) "$libdir/libsumi.a" \
    $(pkg-config --static --libs sumi | sed 's/-lsumi//') -o "$work/static"
[ "$("$work/static")" = "$expected" ]

cmake -S "$here/outside" -B "$work/outside" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" || { cat "$work/log" && exit 1; }
cmake --build "$work/outside" >"$work/log" || { cat "$work/log" && exit 1; }
[ "$("$work/outside/with_shared")" = "$expected" ]
[ "$("$work/outside/with_static")" = "$expected" ]
[ "$("$prefix/bin/sumi" version)" = "sumi $expected" ]
