#!/bin/sh
# Checks what the compiler and clang-format do not: the length of functions, files and lines, the
# number of parameters in headers, words that announce unfinished work, a head comment in each file.
# Argument: the source tree.
set -eu
cd "$1"

files() {
    find include src tests examples bench -name '*.[ch]' -type f | sort
}

problems() {
    # Headers of kernels (body_*.h) hold bodies, and are measured as such.
    # shellcheck disable=SC2016 # the dollars are awk's
    files | xargs awk '
    FNR == 1 {
        kernel = FILENAME ~ /^src\/kernels\//
        # The public interface is one header, however much it offers.
        file_max = FILENAME ~ /^include\// || kernel ? 1000 : 800
        function_max = kernel || FILENAME ~ /^tests\// ? 120 : 70
        open = 0
        if ($0 !~ /^\/\*/)
            print FILENAME ":1: begins with no comment that says what it does"
    }
    FNR == file_max + 1 { print FILENAME ": longer than " file_max " lines" }
    length($0) > 100 { print FILENAME ":" FNR ": longer than 100 columns" }
    /\t/ { print FILENAME ":" FNR ": a tab" }
    /TODO|FIXME/ { print FILENAME ":" FNR ": unfinished work" }
    /^\{/ { open = FNR }
    /^\}/ {
        if (open && FNR - open + 1 > function_max)
            print FILENAME ":" open ": a function of " FNR - open + 1 " lines"
        open = 0
    }'
    # Declarations in the headers, one a line, without comments and callbacks of their own.
    # shellcheck disable=SC2016
    find include src -name '*.h' -not -name 'body_*' | sort | xargs awk '
    FNR == 1 { text = "" }
    { sub(/\/\*.*\*\//, ""); sub(/\/\/.*/, "") }
    /^[a-z].*sumi_[a-z0-9_]*\(/ || text != "" {
        text = text $0
        if ($0 ~ /;|\{/) {
            commas = gsub(/,/, ",", text)
            if (commas > 7 && text !~ /printf/)
                print FILENAME ":" FNR ": a function of " commas + 1 " parameters"
            text = ""
        }
    }' | grep -v 'src/base/base.h.*format' || true
    # Nothing but the command line prints or ends the process.
    find src -name '*.[ch]' -not -path 'src/cli/*' -exec grep -nHE \
        '\b(printf|puts|putchar|exit|_exit|abort|perror|vprintf)\(|\b(stdout|stderr)\b' {} + |
        grep -vE '^[^:]*:[0-9]*: *(/?\*|//)|__attribute__' | sed 's/$/   <- the library is silent/'
}

found=$(problems)
if [ -n "$found" ]; then
    echo "$found"
    exit 1
fi
