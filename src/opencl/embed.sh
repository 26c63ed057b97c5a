#!/bin/sh
# embed.sh OUT SOURCE...: writes OUT, a C file that holds the sources one after the other as bytes.
set -eu
out=$1
shift
{
    echo '/* Made from src/opencl/kernels by embed.sh. */'
    echo '#include "opencl/source.h"'
    echo
    echo 'const unsigned char sumi_cl_source[] = {'
    cat "$@" | od -An -v -tu1 | sed 's/[0-9][0-9]*/&,/g'
    echo '0};'
    echo 'const size_t sumi_cl_source_size = sizeof sumi_cl_source - 1;'
} >"$out.part"
mv "$out.part" "$out"
