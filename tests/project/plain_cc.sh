#!/bin/sh
# Builds the program without CMake and uses it: a script makes C of the kernels of OpenCL, and one
# line of cc does the rest. Only the generic kernels are
# in it, as no file gets flags of its own.
# Arguments: the source tree, the compiler, the version.
set -eu

source=$1 cc=$2 version=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"
kernels=src/opencl/kernels
sh src/opencl/embed.sh "$work/kernels.c" $kernels/args.h $kernels/common.cl \
    $kernels/elementwise.cl $kernels/vectors.cl $kernels/conv.cl $kernels/images.cl
$cc -std=gnu17 -O1 -Iinclude -Isrc src/*.c src/*/*.c "$work/kernels.c" \
    -lz -lpng -ljpeg -ljansson -lm -lpthread -ldl -o "$work/sumi"
cd "$work"
unset SUMI_ISA
[ "$(./sumi version)" = "sumi $version" ]
./sumi train shapes --base-channels 8 --batch 4 --steps 2 --grid 0 --out run --quiet
./sumi sample run -n 1 --size 16x16 --solver ddim --steps 2 --out x.png --quiet
[ -s x.png ]
./sumi bench sample --size 16x16 --batch 1 --steps 1 | grep -q generic
