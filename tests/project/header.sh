#!/bin/sh
# Checks that sumi.h is plain C++17 and C11, whatever of it is used, and without a warning.
# Arguments: the source tree, the C compiler. Exit status 77: there is no C++ compiler.
set -eu

source=$1 cc=$2
here=$source/tests/project
command -v c++ >/dev/null || exit 77

# A macro that header.cpp does not use is not checked.
sed -n 's/^#define \(SUMI_[A-Z_]*_INIT\)\b.*/\1/p' "$source"/include/sumi*.h | while read -r macro; do
    grep -q "= $macro;" "$here/header.cpp" || {
        echo "header.cpp does not use $macro" >&2
        exit 1
    }
done
warnings="-Wall -Wextra -Werror -pedantic-errors -fsyntax-only"
# shellcheck disable=SC2086 # several words
c++ -std=c++17 $warnings -I"$source/include" "$here/header.cpp"
# shellcheck disable=SC2086 # the same program is one of C, but for main() and comments
sed 's/main()/main(void)/; s|^//.*||' "$here/header.cpp" |
    $cc -std=c11 $warnings -I"$source/include" -x c -
