#!/bin/sh
# The libraries that sumi and its tests are linked with, built with Clang's memory sanitizer: it
# takes what code without it writes for never written. They are the sources that this system's
# packages were built from, without what is written in assembly, which it cannot see into.
# Usage: msan_libraries.sh FOLDER: they go to FOLDER/lib and FOLDER/include. Needs apt-get.
set -eu
mkdir -p "$1"
folder=$(cd "$1" && pwd)
[ ! -f "$folder/done" ] || exit 0
cd "$folder"

# Lists of their own, so that neither root nor the system's settings are needed.
# shellcheck disable=SC1091 # the system's
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mkdir -p lists/partial archives sources
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
    "http://deb.debian.org/debian $release main" >sources.list
get() {
    apt-get -q -o Dir::Etc::sourcelist="$folder/sources.list" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$folder/lists" -o APT::Sandbox::User=root "$@"
}
get update
(cd archives && get source --download-only --tar-only zlib libpng1.6 libjpeg-turbo jansson cmocka)
for archive in archives/*.tar.*; do
    case $archive in *.asc) ;; *) tar -C sources -xf "$archive" ;; esac
done

# build NAME OPTION...
build() {
    name=$1
    shift
    cmake -G Ninja -S "$(echo sources/"$name"-[0-9]*)" -B "build-$name" \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang \
        -DCMAKE_C_FLAGS='-O1 -g -w -fsanitize=memory -fno-omit-frame-pointer' \
        -DCMAKE_PREFIX_PATH="$folder" -DCMAKE_INSTALL_PREFIX="$folder" \
        -DCMAKE_INSTALL_LIBDIR=lib "$@" >"$name.log"
    cmake --build "build-$name" --target install >>"$name.log"
    echo "$name is built"
}
# Debian leaves a folder for Windows out of zlib, whose CMakeLists.txt still names a file of it.
for sources in sources/zlib-*; do
    mkdir -p "$sources/win32"
    touch "$sources/win32/zlib1.rc"
done
build zlib
build libpng -DPNG_HARDWARE_OPTIMIZATIONS=OFF -DPNG_TESTS=OFF
build libjpeg-turbo -DWITH_SIMD=0 -DWITH_TURBOJPEG=0
# Shared, as it is in the system: tests take the place of malloc in what is linked into them.
build jansson -DJANSSON_BUILD_SHARED_LIBS=ON -DJANSSON_BUILD_DOCS=OFF -DJANSSON_EXAMPLES=OFF \
    -DJANSSON_WITHOUT_TESTS=ON
build cmocka -DWITH_EXAMPLES=OFF
touch "$folder/done"
