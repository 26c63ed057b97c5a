#!/bin/sh
# bench/ablate with a program that stands for sumi: means, intervals and ratios that are known, the
# right fields of a report, and that what is done is not done again.
set -eu
root=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/sumi" <<'EOF'
#!/bin/sh
echo "$@" >>"$0.calls"
case $1 in
train)
    while [ "$1" != --out ]; do [ "$1" != --seed ] || seed=$2; shift; done
    mkdir -p "$2"
    : >"$2/model.safetensors"
    case $* in *batch*) base=5 ;; *) base=3 ;; esac
    echo "{\"steps\": 100, \"distance\": $((base + seed))}" >"$2/config.json"
    ;;
eval)
    distance=$(sed 's/.*: \([0-9]*\)}/\1/' "$2/config.json")
    echo "{\"evaluator\": {\"accuracy\": 0.5}, \"frechet\": $distance, \"label_accuracy\": 0.75}"
    ;;
esac
EOF
chmod +x "$folder/sumi"
printf '# none\nstandard:\nbatch 32: --batch 32\n' >"$folder/list"

# ablate SEEDS
ablate() {
    SUMI="$folder/sumi" "$root/bench/ablate" -d D -m 1 -s "$1" -o "$folder/runs" "$folder/list" |
        tr -s ' '
}
# expect WHAT FOUND
expect() {
    [ "$1" = "$2" ] || { echo "expected '$1', found '$2'"; exit 1; }
}
expect '| batch 32 | 5.000 | one seed | 1.667 | one seed | 0.750 | 100 |' "$(ablate 0 | tail -1)"
# Of 5, 6, 7: Student's t of two degrees of freedom, 4.303, by a deviation of 1 over the root of 3.
# The ratios are 5/3, 6/4 and 7/5, whose logarithms have a mean of 0.418 and a deviation of 0.0878.
expect '| batch 32 | 6.000 | 3.516 to 8.484 | 1.518 | 1.221 to 1.888 | 0.750 | 100 |' "$(ablate '0 1 2' | tail -1)"
expect 6 "$(grep -c '^train' "$folder/sumi.calls")"
expect 6 "$(grep -c '^eval' "$folder/sumi.calls")"
expect 6 "$(grep -c '^train D --minutes 1 ' "$folder/sumi.calls")"
# By steps: as many for all, but where a set has a number of its own; and no run by minutes is taken for
# one of as many steps.
printf 'standard:\nbatch 32: --batch 32 --steps 90\n' >"$folder/list"
SUMI="$folder/sumi" "$root/bench/ablate" -d D -k 1 -s 0 -o "$folder/runs" "$folder/list" >/dev/null
expect 2 "$(grep -c '^train D --steps 1 ' "$folder/sumi.calls")"
expect 1 "$(grep -c '^train D --steps 1 .* --steps 90' "$folder/sumi.calls")"
! SUMI="$folder/sumi" "$root/bench/ablate" "$folder/none" >/dev/null 2>&1 || {
    echo 'a missing list passed'
    exit 1
}
