#!/bin/sh
# bench/rank against distances whose rank correlation is known, from a program that stands for sumi.
set -eu
root=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/sumi" <<'EOF'
#!/bin/sh
case $2 in
a) echo '{"n": 10, "frechet": 1.5, "frechet_interval": [1, 2], "frechet_second": 2.5e-1, "scale": {"frechet": 9}}' ;;
b) echo '{"frechet": 2.5, "frechet_second": 3.5, "frechet_second_interval": [3, 4], "scale": {"frechet": 9}}' ;;
c) echo '{"frechet": 3.5, "frechet_second": 3.0, "scale": {"frechet": 9}}' ;;
*) echo '{"frechet": 3.5, "frechet_second": null}' ;;
esac
echo "$@" >>"$0.calls"
EOF
chmod +x "$folder/sumi"

# expect WHAT FOUND
expect() {
    [ "$1" = "$2" ] || { echo "expected '$1', found '$2'"; exit 1; }
}

export SUMI="$folder/sumi"
expect 'Spearman rho 0.500 of 3' "$("$root/bench/rank" D a b c -- -n 9 | tail -1)"
expect 'eval c --data D --held-back --json --quiet -n 9' "$(tail -1 "$folder/sumi.calls")"
# Equal distances share their ranks: 1, 2.5, 4, 2.5 and 1, 3.5, 2, 3.5.
expect 'Spearman rho 0.333 of 4' "$("$root/bench/rank" D a b c b | tail -1)"
! "$root/bench/rank" D a none >/dev/null 2>&1 || { echo 'a missing distance passed'; exit 1; }
