#!/bin/sh
# The manual page and the bash completion, held against the programs that read them: man and mandoc
# find nothing to warn about, and bash completes commands, options, choices and files.
# Usage: test_pages.sh PROGRAM. What is not installed here is not asked.
set -eu
sumi=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$sumi" help --man >"$folder/sumi.1"
if command -v man >/dev/null && command -v groff >/dev/null; then
    warnings=$(man --warnings -E UTF-8 -l -Tutf8 -Z "$folder/sumi.1" 2>&1 >/dev/null || true)
    if [ -n "$warnings" ]; then
        echo "man --warnings: $warnings"
        exit 1
    fi
fi
if command -v mandoc >/dev/null; then
    mandoc -T lint -W style "$folder/sumi.1"
fi

command -v bash >/dev/null || exit 0
"$sumi" help --bash-completion >"$folder/completion"
: >"$folder/model.pth"

# completes 'EXPECTED' WORD...: the last word is the one being typed.
completes()
{
    expected=$1
    shift
    found=$(cd "$folder" && bash -c '. ./completion
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        _sumi
        echo "${COMPREPLY[*]}"' bash sumi "$@")
    if [ "$found" != "$expected" ]; then
        echo "sumi $*: completes to '$found' instead of '$expected'"
        exit 1
    fi
}
completes 'train' tr
completes 'list info preview' data ''
completes '--split --size --skip-bad' data info --s
completes 'train test all rest held-back' data info shapes --split ''
completes '--device' train --dev
completes 'cpu cuda' train --device c
completes 'model.pth' info mod
completes 'model.pth' train --init mod
completes '' train --lr ''
completes 'ddpm ddpm-large ddim ddim-inverse' sample model.pth --solver dd
completes 'trailing uniform leading karras logsnr quadratic' sample model.pth --spacing ''
completes 'sample' help sa
completes 'bf16' train --precision = b
completes 'fp32 bf16 fixed16' train --precision =
completes 'model.pth' train --init = mod
completes 'model.pth' train mod
completes '' info shap
for name in $("$sumi" data list | sed -n 's/^\([^ ]\{1,\}\) .*/\1/p'); do
    completes "$name" train "$name"
    completes "$name" data info "$name"
done
completes 'shapes' train sh
