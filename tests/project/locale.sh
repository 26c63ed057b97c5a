#!/bin/sh
# The library's numbers and orders do not depend on the program's locale: no source outside of the
# two that see to it formats or reads a real number, or sorts by a locale. The program sets no
# locale of numbers, so src/cli may.
# Argument: the source tree.
set -eu

cd "$1"
# shellcheck disable=SC2016 # what $0 is, awk knows
found=$(find src -name '*.[ch]' -not -path 'src/cli/*' -not -path src/base/text.c -not -path src/io/json.c |
    sort | xargs awk '
    FNR == 1 { statement = "" }
    { statement = statement $0 }
    /[;{}]/ {
        if (statement ~ /(^|[^_a-z])(strtod|strtof|strtold|atof|sscanf|localeconv|json_loadb|json_loads|json_dumps|json_dumpb|alphasort|strcoll|strn?casecmp|isalnum|isalpha|isspace|tolower|toupper|strftime_l) *\(/ ||
            statement ~ /[ (,]alphasort[,)]/ ||
            (statement ~ /(^|[^_a-z])(printf|fprintf|snprintf|sprintf|vsnprintf) *\(/ &&
             statement ~ /%[-+ #0-9.*]*[aefgAEFG]/))
            print FILENAME ":" FNR ": " statement
        statement = ""
    }')
[ -z "$found" ] || {
    echo "use sumi_format, sumi_parse_real, sumi_json_load or sumi_text_json:"
    echo "$found"
    exit 1
}
