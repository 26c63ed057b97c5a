#!/bin/sh
# Checks who includes whom: a layer includes itself and the layers before it, the command line
# sees the public header and a few layers' own, and examples see the public header alone. What
# computes (cpu) is included in one place, which hands out its table; but for measuring pictures
# (eval), which needs no network's tensors, nobody else sees kernels (the names of the activations
# apart) or gives threads work.
# Argument: the source tree.
set -eu
cd "$1"

# awk gets lines "file:#include ...", prints the forbidden ones.
forbidden() {
    grep -rn '^ *# *include *"' --include='*.[ch]' src examples | awk -F: '
    BEGIN {
        count = split("base kernels graph cpu opencl io diffusion models data train sample eval run dist", names, " ")
        for (i = 1; i <= count; i++)
            rank[names[i]] = i
        split("base io data dist cli", words, " ")
        for (i in words)
            cli[words[i]] = 1
    }
    {
        split($1, path, "/")
        match($3, /"[^"]*"/)
        header = substr($3, RSTART + 1, RLENGTH - 2)
        to = header
        sub(/\/.*/, "", to)
        if (header == "sumi.h")
            next
        from = path[2]
        if (path[1] == "examples")
            bad = 1
        else if (from ~ /^sumi(_averages|_context|_lists|_ranks|_recipes|_bodies)?\.[ch]$/)
            bad = header != "sumi_bodies.h" && !(to in rank)
        else if (header !~ /\//) # beside the file itself
            bad = from != "cli" && !(from in rank)
        else if (from == "cli")
            bad = !(to in cli)
        else if (to == "kernels" && header != "kernels/act.h")
            bad = from != "kernels" && from != "cpu" && from != "eval"
        else if (to == "cpu" || to == "opencl") # others compute through the table of a backend
            bad = from != to && $1 != "src/models/devices.c"
        else
            bad = !(from in rank) || !(to in rank) || rank[to] > rank[from]
        if (bad)
            print $1 ":" $2 ": may not include " header
    }'
}

# Calls that need no include of their own, since base offers them to all. An evaluator's images are
# shared out to devices of one thread each (docs/ARCHITECTURE.md).
threading() {
    grep -rnE 'sumi_parallel_|sumi_pool_|sumi_kernels' --include='*.[ch]' src |
        grep -vE '^src/(base|kernels|cpu|eval)/|^src/train/features\.c:' || true
}

found=$(forbidden; threading)
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi
# A check that sees nothing would pass, too.
[ "$(grep -rc '^#include "' src/train/train.h | cut -d: -f2)" -ge 1 ]
