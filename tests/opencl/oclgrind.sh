#!/bin/sh
# oclgrind.sh PROGRAM: every kernel at a small size under Oclgrind, which looks for accesses outside
# of buffers and for races: what is tried when a device is used for the first time. 77: it is not
# installed.
set -eu
program=$1
library=${SUMI_OCLGRIND:-/usr/lib/oclgrind/liboclgrind-rt.so}
[ -f "$library" ] || {
    echo "skipped: there is no $library; ./dev setup installs Oclgrind"
    exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Kernels that other drivers made are not Oclgrind's, and the other way round.
XDG_CACHE_HOME=$folder SUMI_OPENCL=$library OCLGRIND_DATA_RACES=1 OCLGRIND_LOG=$folder/log \
    "$program" --trial || {
    [ ! -f "$folder/log" ] || head -40 "$folder/log"
    exit 1
}
if [ -s "$folder/log" ]; then
    head -40 "$folder/log"
    exit 1
fi
