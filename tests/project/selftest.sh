#!/bin/sh
# Checks the checks: each must pass on a clean little tree and fail on a planted fault.
# Argument: the folder of the scripts.
set -eu

here=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/include" "$work/tests" "$work/bench" "$work/examples" "$work/src/base" \
    "$work/src/train" "$work/src/cli" "$work/src/graph"
echo '/* clean */' >"$work/include/sumi.h"
printf '/* clean */\n#include "base/base.h"\n' >"$work/src/train/train.h"

passes() {
    sh "$here/$1.sh" "$work" >"$work/out" 2>&1 || { cat "$work/out" && exit 1; }
}
# fails CHECK FILE TEXT: with TEXT in FILE the check must fail.
fails() {
    printf '%b' "$3" >"$work/$2"
    if sh "$here/$1.sh" "$work" >"$work/out" 2>&1; then
        echo "$1.sh did not see: $3"
        exit 1
    fi
    grep -q "$2" "$work/out" || { cat "$work/out" && exit 1; }
    rm "$work/$2"
}

passes layers
fails layers src/base/a.c '/* a */\n#include "graph/graph.h"\n'
fails layers src/graph/a.c '/* a */\n#include "train/train.h"\n'
fails layers src/train/a.c '/* a */\n#include "cpu/cpu.h"\n'
fails layers src/cli/a.c '/* a */\n#include "graph/graph.h"\n'
fails layers examples/a.c '/* a */\n#include "base/base.h"\n'
passes style
fails style src/base/a.c 'int a;\n'
fails style src/base/a.c "/* a */\nvoid a(void)\n{\n$(printf '    b();\\n%.0s' $(seq 69))}\n"
fails style src/base/a.c "/* a */\n$(printf '\\n%.0s' $(seq 800))"
fails style src/base/a.c "/* $(printf 'a%.0s' $(seq 95)) */\n"
fails style src/base/a.c '/* a */\n/* TO''DO: b */\n'
fails style src/base/a.h '/* a */\nint sumi_a(int a, int b, int c, int d, int e, int f,\n    int g, int h, int i);\n'
fails style src/base/a.c '/* a */\nvoid a(void)\n{\n    exit(1);\n}\n'
passes locale
fails locale src/base/a.c '/* a */\nvoid a(char *b)\n{\n    snprintf(b, 9,\n             "%%.3g", 1.0);\n}\n'
fails locale src/train/a.c '/* a */\ndouble a(const char *b)\n{\n    return strtod(b, NULL);\n}\n'
