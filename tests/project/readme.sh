#!/bin/sh
# Checks that the documents say what is so: every command and option of sumi and ./dev that they
# name exists, every file they link to is there, and the version is the same everywhere.
# Arguments: the source tree, the program.
set -eu

cd "$1"
program=$2
failed=0
say() {
    echo "$1" >&2
    failed=1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Lines of code blocks that begin with sumi, a path to it or a prompt, up to a comment or pipe.
awk '/^```/ { code = !code } code' README.md docs/*.md CONTRIBUTING.md |
    sed -n 's/^\(\$ \)\{0,1\}\(build\/\)\{0,1\}sumi \([^#|]*\).*/\3/p' | sort -u >"$work/lines"
[ "$(wc -l <"$work/lines")" -ge 12 ] || say "found too few commands in the documents"
while read -r first second rest; do
    case $first in
    data | bench | classify) command="$first $second" ;;
    *) command=$first rest="$second $rest" ;;
    esac
    # shellcheck disable=SC2086 # a command of two words
    if ! "$program" help $command >"$work/help" 2>&1; then
        say "there is no 'sumi $command'"
        continue
    fi
    for word in $rest; do
        case $word in
        --*) grep -q -e "${word%%=*}\b" "$work/help" || say "sumi $command has no $word" ;;
        esac
    done
done <"$work/lines"

# Each command of the program has its example in README.md.
"$program" help | sed -n 's/^  \([a-z]\{2,\}\( [a-z]\{2,\}\)\{0,1\}\)  .*/\1/p' >"$work/commands"
[ "$(wc -l <"$work/commands")" -ge 10 ] || say "found too few commands in sumi help"
while read -r command; do
    grep -q "sumi $command" README.md || say "README.md does not show sumi $command"
done <"$work/commands"

# shellcheck disable=SC2013 # words are meant
for command in $(grep -oh '\./dev [a-z]*' README.md docs/*.md CONTRIBUTING.md | cut -d' ' -f2); do
    grep -q "^do_$command()" dev || say "there is no ./dev $command"
done

for document in README.md CONTRIBUTING.md docs/*.md; do
    for link in $(grep -o '](\([^)#]*\)' "$document" | sed 's/^](//' | grep -v '^http' || true); do
        [ -e "$(dirname "$document")/$link" ] || say "$document links to $link, which is not there"
    done
    # Paths of files of the tree, in backquotes.
    # shellcheck disable=SC2016 # backquotes in the text
    for path in $(grep -o '`\(src\|tests\|docs\|examples\|include\|bench\|cmake\)/[A-Za-z0-9_./-]*`' \
        "$document" | tr -d '`'); do
        [ -e "$path" ] || say "$document names $path, which is not there"
    done
done

version=$(sed -n 's/^project(sumi VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
[ "$("$program" version)" = "sumi $version" ] || say "sumi version is not CMake's $version"
grep -q "^#define SUMI_VERSION \"$version\"" include/sumi.h || say "sumi.h has another version"
latest=$(sed -n 's/^## \([0-9][0-9.]*\).*/\1/p' CHANGELOG.md | head -n 1)
[ "$latest" = "$version" ] || say "CHANGELOG.md begins with $latest, not $version"
exit $failed
