#!/bin/sh
# bench/compare --device: what it asks the program, the least time that it tells, and the line and the
# exit code where there is no such device; from a program that stands for sumi.
set -eu
root=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/sumi" <<'EOF'
#!/bin/sh
echo "$@" >>"$0.calls"
case "$*" in
*"--device mps"*) echo '{"error":"device mps is not there; there is: cpu","exit":17}' >&2; exit 17 ;;
*--profile*) echo '{"ops": [{"gflop": 4, "bytes": 1e8}, {"gflop": 0, "bytes": 1e9}]}' ;;
*) echo '{"version": "1", "isa": "x", "device": "A card", "ms": 20.0}' ;;
esac
EOF
chmod +x "$folder/sumi"
compare() {
    "$root/bench/compare" "$@" --sumi "$folder/sumi" --alone --rounds 1 --threads 1 2>&1
}

# expect WHAT FOUND
expect() {
    case $2 in
    *"$1"*) ;;
    *) echo "expected '$1', found '$2'"; exit 1 ;;
    esac
}

code=0
said=$(compare train --device mps) || code=$?
expect "17 bench/compare: device mps is not there; there is: cpu" "$code $said"
[ "$(printf '%s\n' "$said" | wc -l)" = 1 ] || { echo "more than a line: $said"; exit 1; }

# 8 of 16 images: 2 ms of operations and then 10 ms of bytes, twice, at 2 TFLOP/s and 100 GB/s.
said=$(compare train --device cuda --batch 16 --limits 2 100)
expect "train tutorial 28x28, batch 16, 1 threads, A card" "$said"
expect "train unet 28x28, batch 16, 1 threads, A card" "$said"
expect "8.0 GFLOP and 2.20 GB take 24.00 ms at least; sumi fp32 is at 120 % of that" "$said"
expect "--precision fp32 --device cuda" "$(cat "$folder/sumi.calls")"
expect "no limits of this device are known" "$(compare sample --net unet --device cuda)"
