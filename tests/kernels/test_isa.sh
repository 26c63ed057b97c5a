#!/bin/sh
# Checks the object files of the kernels: each isa_*.o exports exactly one symbol (a second one,
# compiled for a foreign instruction set, could be picked by the linker for everybody), and those
# for AVX2 and AVX-512 multiply with fused multiply-adds.
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
    case $name in
    avx2 | avx512)
        command -v objdump >/dev/null || continue
        # A target without the instruction set leaves only a null pointer.
        nm "$object" | grep -q ' conv_tile$' || continue
        count=$(objdump -d --no-show-raw-insn "$object" | grep -c vfmadd || true)
        [ "$count" -ge 200 ] || say "$object has only $count fused multiply-adds"
        ;;
    esac
done
exit $failed
