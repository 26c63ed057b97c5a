#!/bin/sh
# Checks the object files of the kernels: each isa_*.o exports exactly one symbol (a second one,
# compiled for a foreign instruction set, could be picked by the linker for everybody), those for
# AVX2, AVX-512 and AMX multiply with fused multiply-adds, and AMX's alone uses matrix tiles.
# Arguments: the object files. Exit status 77: nothing could be checked.
set -eu

failed=0
say() {
    echo "$1" >&2
    failed=1
}

command -v nm >/dev/null || exit 77
for object in "$@"; do
    case $object in
    */isa_*) ;;
    *) continue ;;
    esac
    exported=$(nm "$object" | awk '$2 ~ /^[A-TV-Z]$/ && $3 !~ /asan|ubsan|tsan|odr/ { print $3 }')
    name=$(basename "$object" | sed 's/^isa_//; s/\..*//')
    [ "$exported" = "sumi_kernels_$name" ] || say "$object exports: $exported"
    command -v objdump >/dev/null || continue
    # A target without the instruction set leaves only a null pointer.
    nm "$object" | grep -q ' conv_tile$' || continue
    case $name in
    avx2 | avx512 | amx)
        count=$(objdump -d --no-show-raw-insn "$object" | grep -c vfmadd || true)
        [ "$count" -ge 200 ] || say "$object has only $count fused multiply-adds"
        ;;
    esac
    tiles=$(objdump -d --no-show-raw-insn "$object" | grep -cw -e tdpbf16ps -e ldtilecfg || true)
    case $name in
    amx) [ "$tiles" -ge 4 ] || say "$object has only $tiles instructions for matrix tiles" ;;
    *) [ "$tiles" -eq 0 ] || say "$object has $tiles instructions for matrix tiles" ;;
    esac
done
exit $failed
