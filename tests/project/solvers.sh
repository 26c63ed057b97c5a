#!/bin/sh
# bench/solvers with a program that stands for sumi: its table and plot, that a solver which the
# model cannot use is left out with its reason, and that what is done is not done again.
set -eu
root=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/sumi" <<'EOF'
#!/bin/sh
echo "$@" >>"$0.calls"
while [ "$1" != --solver ]; do shift; done
case $2,$4 in
flow-heun,*) echo 'sumi: eval: flow-heun is for flow models' >&2; exit 13 ;;
broken,*) echo 'sumi: eval: no memory' >&2; exit 5 ;;
ddpm,1000) distance=4 ;;
*,10) distance=8 ;;
*) distance=6 ;;
esac
echo "{\"frechet\": $distance, \"frechet_interval\": [3.5, 9], \"kernel\": 0.25}"
EOF
chmod +x "$folder/sumi"

solvers() {
    "$root/bench/solvers" model D -k 10 20 -n 9 --folder "$folder/reports" --sumi "$folder/sumi" "$@"
}
# expect WHAT FOUND
expect() {
    [ "$1" = "$2" ] || { echo "expected '$1', found '$2'"; exit 1; }
}

set -- --solvers ddim flow-heun --reference '--solver ddpm --steps 1000' --options '--threads 1'
solvers "$@" --plot "$folder/plot.svg" >"$folder/table" 2>"$folder/notes"
expect '| ddim | 8.00 (3.50 .. 9.00), 2.00x | 6.00 (3.50 .. 9.00), 1.50x |' \
    "$(grep ddim "$folder/table")"
expect 'reference, --solver ddpm --steps 1000: 4.00 (3.50 .. 9.00), kernel distance 0.2500' \
    "$(tail -1 "$folder/table")"
expect 'flow-heun: sumi: eval: flow-heun is for flow models' "$(cat "$folder/notes")"
grep -q '</svg>' "$folder/plot.svg"
expect 'eval model --data D -n 9 --seed 0 --json --quiet --solver flow-heun --steps 20 --threads 1' \
    "$(tail -1 "$folder/sumi.calls")"

calls=$(wc -l <"$folder/sumi.calls")
solvers "$@" >/dev/null 2>&1
expect "$calls" "$(wc -l <"$folder/sumi.calls")"
! solvers --solvers broken >/dev/null 2>&1 || { echo 'a failure passed as a refusal'; exit 1; }

# bench/curve: two curves, and a line that is none.
printf '# minutes\na 1 8\na 10 2\nb_c 10 4\n' | "$root/bench/curve" Distance minutes 1 real >"$folder/curve.svg"
expect 2 "$(grep -c '<polyline' "$folder/curve.svg")"
grep -q '>b c</text>' "$folder/curve.svg"
! echo 'a 1' | "$root/bench/curve" Distance minutes >/dev/null 2>&1 || { echo 'half a point passed'; exit 1; }
