#!/bin/sh
# Checks that no file is compiled for this very machine or with loose floating-point rules: what is
# built here must run elsewhere and give the same bits.
# Arguments: compile_commands.json, the source tree.
set -eu

[ "$(grep -c '"command"' "$1")" -ge 40 ]
! grep -HnE -e '-march=|-mtune=native|-mcpu=native|-ffast-math|-Ofast|-funsafe-math|-fassociative' \
    "$1" "$2/CMakeLists.txt" "$2"/src/*/CMakeLists.txt "$2"/CMakePresets.json
