#!/bin/sh
# Training, sampling and scoring under mpirun: the bits of one process, whatever the number of ranks, and what happens where
# ranks do not agree, are stopped, killed or hang.
# Arguments: the part, sumi, mpirun, the program that takes leases on files, sumi without MPI, and
# the source folder.
set -eu
part=$1 sumi=$(readlink -f "$2") mpirun=$3 lease=$4 without=$5 source=$6
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# Open MPI as root, on fewer cores than ranks; another MPI does not look at these.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_btl_vader_single_copy_mechanism=none

tutorial='--recipe tutorial --base-channels 16 --size 16x16 --batch 20'
standard='--recipe standard --base-channels 16 --size 16x16 --batch 20'
common='--seed 5 --groups 8 --grid 0 --threads 1'

fail() {
    echo "$*" >&2
    for log in ./*.log; do
        [ ! -f "$log" ] || sed "s|^|$log: |" "$log" >&2
    done
    exit 1
}

# mpirun with a limit of time that a slow machine does not come near. In the foreground timeout sends a
# signal to mpirun alone; else it sends it to mpirun and then to mpirun's whole group, and Open MPI's
# mpirun that gets SIGTERM twice within five seconds ends at once, without its ranks.
start() {
    timeout --foreground 1000 "$mpirun" "$@"
}

# What each rank does first: it leaves its process id. Open MPI and MPICH tell it which it is.
# shellcheck disable=SC2016
as_rank='echo $$ >"../$0.rank${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" && exec "$@"'

# begin FOLDER N ARGUMENT...: sumi train on N ranks (0: without mpirun) in a folder of its own, so
# that what is written of paths and commands is the same. Its output goes to FOLDER.log.
begin() {
    folder=$1 ranks=$2
    shift 2
    launch "$folder" "$ranks" train "$@"
}

# launch FOLDER N COMMAND ARGUMENT...: the same of any command.
launch() {
    folder=$1 ranks=$2
    shift 2
    mkdir -p "$folder"
    if [ "$ranks" -eq 0 ]; then
        (cd "$folder" && exec "$sumi" "$@") >"$folder.log" 2>&1
    else
        # shellcheck disable=SC2016 # expanded by that shell
        (cd "$folder" && exec sh -c 'echo $$ >"../$0.pid" && exec timeout --foreground 1000 "$@"' \
            "$folder" "$mpirun" -n "$ranks" sh -c "$as_rank" "$folder" "$sumi" "$@") \
            >"$folder.log" 2>&1
    fi
}

# same A B: the newest checkpoints and the losses of two runs.
same() {
    for file in model.safetensors optim.safetensors; do
        cmp "$1/run/checkpoints/$(cat "$1/run/latest")/$file" \
            "$2/run/checkpoints/$(cat "$2/run/latest")/$file" || fail "$1 and $2: other bits"
    done
    for run in "$1" "$2"; do
        sed 's/"lr".*//' "$run/run/metrics.jsonl" >"$run.losses"
    done
    cmp "$1.losses" "$2.losses" || fail "$1 and $2: other losses"
}

# lines N PATTERN LOG: exactly so many lines of the log have the pattern.
lines() {
    [ "$(grep -c "$2" "$3")" -eq "$1" ] || fail "expected $1 line(s) with: $2"
}

# refused PATTERN FOLDER: one line of sumi's own has it, and no run was made.
refused() {
    lines 1 "$1" "$2.log"
    lines 1 '^sumi: ' "$2.log"
    [ ! -e "$2/run/latest" ] || fail "$2: there is a run"
}

# pids FOLDER: of its ranks that are there, one a line, rank 0 first.
pids() {
    for rank in 0 1 2 3; do
        pid=$(cat "$1.rank$rank" 2>/dev/null) || break
        [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" != "$sumi" ] || echo "$pid"
    done
}

# until COMMAND...: waits until it succeeds, while mpirun runs.
until_true() {
    while ! "$@" >/dev/null 2>&1; do
        kill -0 "$job" 2>/dev/null || fail "ended before: $*"
        sleep 0.05
    done
}

all_there() {
    [ "$(pids "$1" | wc -l)" -eq "$2" ]
}

# all_gone FOLDER: its ranks have ended, or will in a moment.
all_gone() {
    for _ in $(seq 300); do
        [ -n "$(pids "$1")" ] || return 0
        sleep 0.2
    done
    fail "$1: there are ranks left"
}

# nobody_left FOLDER: mpirun has ended, with a failure, and so have all of its ranks.
nobody_left() {
    ! wait "$job" || fail "$1: expected a failure"
    lines 0 'timeout: ' "$1.log"
    all_gone "$1"
}

part_bits() {
    for recipe in tutorial standard; do
        options=$tutorial
        [ "$recipe" = tutorial ] || options=$standard
        # Three epochs, of which the last batches have 8 images: one a group.
        # shellcheck disable=SC2086 # options are words
        set -- shapes $options $common --steps 3 --out run
        begin "$recipe-0" 0 "$@" || fail "$recipe alone"
        for ranks in 1 2 3 4; do
            begin "$recipe-$ranks" "$ranks" "$@" || fail "$recipe on $ranks ranks"
            same "$recipe-0" "$recipe-$ranks"
        done
    done
    # Eight groups are what several ranks take where nobody says so.
    # shellcheck disable=SC2086
    begin implied 2 shapes $tutorial --seed 5 --grid 0 --threads 2 --steps 3 --out run
    "$sumi" diff tutorial-0/run/model.safetensors implied/run/model.safetensors >/dev/null ||
        fail "implied groups: other bits"
}

part_resume() {
    # shellcheck disable=SC2086
    set -- shapes $standard $common --lr-warmup 1 --lr-steps 6 --ema 0.9 --out run
    begin whole 3 "$@" --steps 6
    begin pieces 2 "$@" --steps 2
    begin pieces 3 --resume run --steps 4 --threads 1
    begin pieces 0 --resume run --steps 6 --threads 1
    cmp whole/run/checkpoints/step_6/optim.safetensors \
        pieces/run/checkpoints/step_6/optim.safetensors ||
        fail "resumed on other numbers of ranks: other bits"
    for file in model ema; do
        "$sumi" diff "whole/run/checkpoints/step_6/$file.safetensors" \
            "pieces/run/checkpoints/step_6/$file.safetensors" >/dev/null ||
            fail "resumed on other numbers of ranks: other $file"
    done
    "$sumi" verify pieces/run --threads 1 >verify.log 2>&1 || fail "verify"
}

# The second rank's arguments differ. both FOLDER "ARGUMENTS" "ARGUMENTS"
both() {
    mkdir "$1"
    # shellcheck disable=SC2086
    ! (cd "$1" && start -n 1 $2 : -n 1 $3) >"$1.log" 2>&1 ||
        fail "$1: was not refused"
}

part_refusals() {
    base="$sumi train shapes $tutorial $common --steps 2 --out run"
    both settings "$base" "$base --lr 0.002"
    refused 'rank 1: train learning_rate is 0.002 here and 0.001 at rank 0' settings
    both isa "$base" "env SUMI_ISA=generic $base"
    refused 'rank 1: program instruction_set is "generic" here and ' isa
    cp "$sumi" other
    printf x >>other
    both build "$base" "$work/other train shapes $tutorial $common --steps 2 --out run"
    refused 'rank 1: program build is ".*" here and ".*" at rank 0' build
    # The same code that calls itself by another version: in its first digit, as linkers let shorter
    # texts begin within a longer one.
    version=$("$sumi" --version | sed 's/.* //')
    LC_ALL=C sed "s/$(echo "$version" | sed 's/\./\\./g')/9${version#?}/g" "$sumi" >newer
    chmod +x newer
    both version "$base" "$work/newer train shapes $tutorial $common --steps 2 --out run"
    refused "rank 1: program version is \"9${version#?}\" here and \"$version\" at rank 0" version
    both data "$base" "$base --split test"
    refused 'rank 1: data SHA-256 is ".*" here and ".*" at rank 0' data
    both missing "$base" "$sumi train nowhere $tutorial $common --steps 2 --out run"
    refused 'rank 1: .*nowhere' missing
    ! begin usage 2 shapes --stepps 2 || fail usage
    lines 1 '^sumi: ' usage.log
    mkdir sample
    ! (cd sample && start -n 2 "$sumi" info m.pth) >sample.log 2>&1 || fail sample
    refused '2 processes were started together, and only train, sample and eval are shared' sample
    both few "$base --batch 1 --groups 1" "$base --batch 1 --groups 1"
    refused 'batch is 1, and there are 2 ranks' few
    both hidden "$sumi train shapes $tutorial $common --steps 2 --out /dev/null/run" "$base"
    refused '/dev/null' hidden
    # Another rank need not see the folder, nor makes one.
    mkdir seen elsewhere
    # shellcheck disable=SC2016,SC2086
    (cd seen && start -n 1 $base : -n 1 sh -c 'cd ../elsewhere && exec "$@"' rank $base) >seen.log 2>&1 ||
        fail seen
    [ -s seen/run/model.safetensors ] || fail "seen: there is no model"
    [ ! -e elsewhere/run ] || fail "elsewhere: there is a run"
    # A run that another process trains.
    mkdir -p locked/run
    (flock 9 && ! begin locked 2 shapes --recipe tutorial --size 16x16 --steps 1 --out run) \
        9>locked/run/run.lock || fail "locked: was not refused"
    lines 1 '^sumi: ' locked.log
}

# Without MPI: what SUMI_MPI=OFF builds, and the program that it would build, alone and under mpirun.
part_none() {
    cmake -S "$source" -B off -G Ninja -DSUMI_MPI=OFF >off.log 2>&1 || fail "SUMI_MPI=OFF"
    grep -q 'src/dist/none\.c' off/build.ninja || fail "SUMI_MPI=OFF: where is none.c"
    ! grep -q 'dist/mpi/\|libmpi' off/build.ninja || fail "SUMI_MPI=OFF: there is MPI"
    ! ldd "$without" | grep -q libmpi || fail "linked to MPI"
    # shellcheck disable=SC2086
    set -- shapes $tutorial $common --steps 2 --out run
    begin with 0 "$@" || fail with
    sumi=$without
    begin alone 0 "$@" || fail alone
    cmp with/run/checkpoints/step_2/optim.safetensors alone/run/checkpoints/step_2/optim.safetensors ||
        fail "without MPI: other bits"
    ! begin several 2 "$@" || fail "several: was not refused"
    refused '2 processes were started together, and this sumi was built without MPI' several
}

part_stop() {
    # Open MPI kills what it has passed SIGTERM on to a second later, and a checkpoint may take longer
    # here. It then sleeps so long whatever its ranks do, which other things are done in.
    export OMPI_MCA_odls_base_sigkill_timeout=20
    # shellcheck disable=SC2086
    begin stopped 3 shapes $tutorial $common --steps 100000 --out run &
    job=$! stopping=$!
    until_true grep -q '"step": 5,' stopped/run/metrics.jsonl
    # timeout passes it on to mpirun, and that to all ranks.
    kill -TERM "$(cat stopped.pid)"
    until_true grep -q 'stopped and saved at step' stopped.log
    all_gone stopped
    cp -r stopped on
    step=$(sed 's/step_//' on/run/latest)
    begin on 0 --resume run --steps $((step + 2)) --threads 1 || fail "cannot go on"
    # One rank alone is asked to: all stop.
    export OMPI_MCA_odls_base_sigkill_timeout=1
    # shellcheck disable=SC2086
    begin one 3 shapes $tutorial $common --steps 100000 --out run &
    job=$!
    until_true grep -q '"step": 5,' one/run/metrics.jsonl
    kill -TERM "$(pids one | tail -1)"
    ! wait "$job" || fail "one: expected 130"
    lines 1 'stopped and saved at step' one.log
    ! wait "$stopping" || fail "stopped: expected 130"
    lines 1 'stopped and saved at step' stopped.log
    lines 1 '^stopping: ' stopped.log
}

# in_phase NAME NOW OVER: has rank 0 stopped in the phase that has begun when the shell command NOW
# succeeds and that is over when OVER does; fails where it was over before this shell had looked. A
# phase that comes again, and was too short, is waited for again.
in_phase() {
    until_true all_there "$1" 3
    first=$(pids "$1" | head -1)
    while :; do
        until eval "$2"; do
            kill -0 "$job" 2>/dev/null || fail "$1 ended before: $2"
        done
        kill -STOP "$first" || fail "$1 ended before: $2"
        ! eval "$3" || return 1
        ! eval "$2" || return 0
        kill -CONT "$first"
    done
}

# kill_in NAME RANK NOW OVER COMMAND...: of three ranks one is killed in a phase of rank 0, which
# decides when a phase ends. On a machine that is busy this shell may miss a phase: then all of it is
# done again.
kill_in() {
    name=$1 rank=$2 now=$3 over=$4
    shift 4
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        launch "$name" 3 "$@" &
        job=$!
        ! in_phase "$name" "$now" "$over" || break
        [ "$attempt" -lt 10 ] || fail "$name: was too quick ten times"
        kill -KILL "$first"
        nobody_left "$name"
        rm -rf "$name" "$name".rank? "$name.log"
    done
    kill -KILL "$(pids "$name" | sed -n "$((rank + 1))p")"
    [ "$rank" -eq 0 ] || kill -CONT "$first"
    nobody_left "$name"
    # It was mpirun that saw it: nobody had to wait for silence.
    lines 0 'has not been heard of' "$name.log"
}

# goes_on NAME: its last checkpoint is whole, and one process takes a step from there.
goes_on() {
    step=$(sed 's/step_//' "$1/run/latest")
    begin "$1" 0 --resume run --steps $((step + 1)) --threads 1 || fail "$1: cannot go on"
}

# Where files can be leased: ranks wait to open their data.
kill_reading() {
    "$lease" d.npy >lease.log &
    holder=$!
    while ! grep -q taken lease.log; do
        kill -0 "$holder" 2>/dev/null || return 0
        sleep 0.05
    done
    # shellcheck disable=SC2086
    kill_in reading 1 'grep -q wanted lease.log' '[ -e reading/run/latest ]' \
        train ../d.npy $quick --steps 10 --out run
    kill "$holder"
    ! wait "$holder" || fail "lease: ended by itself"
}

# saves FOLDER: a checkpoint is being written.
saves() {
    for folder in "$1"/run/checkpoints/.*.sumi-tmp; do
        [ ! -d "$folder" ] || return 0
    done
    return 1
}

# says NAME TEXT: in its progress.
says() {
    grep -q "$2" "$1.log"
}

part_kill() {
    quick='--recipe tutorial --base-channels 4 --time-dim 4 --size 8x8 --batch 24 --timesteps 8 --seed 5'
    quick="$quick --groups 8 --threads 1 --json"
    endless="$quick --steps 100000000 --out run"
    # shellcheck disable=SC2086
    begin model 0 shapes $quick --steps 2 --grid 0 --out run || fail model
    (cd model && "$sumi" sample run -n 300 --size 8 --seed 1 -q --out ../d.npy &&
        "$sumi" classify train ../d.npy --shape random-conv -q --out ../e.safetensors) || fail data
    kill_reading
    # shellcheck disable=SC2086
    set -- train shapes $endless --grid 0
    kill_in beginning 2 : false "$@"
    kill_in first 1 '[ -e first/run/latest ]' '[ -s first/run/metrics.jsonl ]' "$@"
    kill_in steps 1 'grep -qs "\"step\": 3," steps/run/metrics.jsonl' false "$@"
    kill_in leader 0 'grep -qs "\"step\": 9," leader/run/metrics.jsonl' false "$@" \
        --checkpoint-every 2
    kill_in saving 2 'saves saving' false "$@" --checkpoint-every 1
    kill_in writing 0 'saves writing && [ -e writing/run/latest ]' false "$@" --checkpoint-every 1
    # What rank 0 does alone, while the others wait.
    # shellcheck disable=SC2086
    set -- train ../d.npy $endless
    # shellcheck disable=SC2046
    kill_in grid 1 'says grid sample' 'says grid "\"grid\""' \
        $(echo "$@" | sed 's/--timesteps 8/--timesteps 64/') --grid 1024
    kill_in score 2 'says score sample' '[ -s score/run/eval.jsonl ]' "$@" --grid 0 \
        --eval-every 1 --eval-images 5000
    # shellcheck disable=SC2086
    kill_in tuning 1 'says tuning sample' '[ -e tuning/run/tuning.json ]' train shapes $quick \
        --tune --grid 0 --batch 1200 --steps 40 --out run
    for name in steps leader saving writing grid score tuning; do
        goes_on "$name"
    done
    kill_in sampling 1 'says sampling sample' '[ -e sampling/x.npy ]' \
        sample ../model/run -n 1000000 --size 8 --threads 1 --json --out x.npy
    kill_in scoring 1 'says scoring sample' 'says scoring subject' \
        eval ../model/run --data ../d.npy --evaluator ../e.safetensors -n 1000000 --threads 1 --json
}

part_hang() {
    # shellcheck disable=SC2086
    begin hung 3 shapes $tutorial $common --steps 100000 --out run &
    job=$!
    until_true grep -q '"step": 5,' hung/run/metrics.jsonl
    stopped=$(pids hung | sed -n 2p)
    kill -STOP "$stopped"
    nobody_left hung
    lines 1 'rank 1 of 3 has not been heard of' hung.log
    # Counted, so that a slow machine changes nothing: with what mpirun takes, within half a minute.
    silence=$(sed -n 's/.*not been heard of for \([0-9]*\) seconds.*/\1/p' hung.log)
    [ "$silence" -le 25 ] || fail "hung: noticed after $silence seconds"
}

# A model, and on N ranks (0: without mpirun) what ARGUMENT... make of it, in the same folder, so that
# the words are the same.
make_model() {
    # shellcheck disable=SC2086
    begin model 0 shapes $tutorial $common --steps 2 --out run || fail model
}

on() {
    ranks=$1 log=$2
    shift 2
    if [ "$ranks" -eq 0 ]; then
        (cd model && exec "$sumi" "$@") >"$log.log" 2>"$log.err.log"
    else
        (cd model && start -n "$ranks" "$sumi" "$@") >"$log.log" 2>"$log.err.log"
    fi
}

part_sample() {
    make_model
    for kind in 'npy --solver ddim --steps 5' 'npy --solver rk45 --steps 100' 'png --solver ddim --steps 3' \
        'gif --gif x.gif --steps 3'; do
        out=x.${kind%% *}
        [ "$out" != x.gif ] || out=y.png
        # shellcheck disable=SC2086
        set -- sample run -n 21 --threads 1 --seed 3 ${kind#* } --out "$out"
        for ranks in 0 1 2 3 4; do
            on "$ranks" "sample$ranks" "$@" || fail "$kind on $ranks ranks"
            [ "$ranks" -ne 0 ] || cp "model/$out" one
            cmp "model/$out" one || fail "$kind: $ranks ranks make another file"
            lines 1 'wrote 21 images' "sample$ranks.err.log"
        done
    done
    # Only the first needs to see the file; where that cannot, it says so.
    ! on 2 nowhere sample run -n 4 --solver ddim --steps 2 --out /dev/null/x.npy || fail nowhere
    lines 1 '^sumi: .*/dev/null' nowhere.err.log
    lines 1 '^sumi: ' nowhere.err.log
    base="$sumi sample run -n 6 --solver ddim --steps 2 --threads 1 --out x.npy"
    mkdir seeds && cp -r model/run seeds
    # shellcheck disable=SC2086
    ! (cd seeds && start -n 1 $base : -n 1 $base --seed 9) >seeds.log 2>&1 || fail seeds
    lines 1 'rank 1: sample seed is 9 here and 0 at rank 0' seeds.log
    lines 1 '^sumi: ' seeds.log
}

part_eval() {
    export HOME="$work"
    make_model
    on 0 data sample run -n 300 --solver ddim --steps 2 --threads 1 --out d.npy || fail data
    on 0 evaluator classify train d.npy --shape random-conv --out e.safetensors || fail evaluator
    for ranks in 0 1 3; do
        on "$ranks" "eval$ranks" eval run --data d.npy --size 16x16 --evaluator e.safetensors \
            -n 200 --steps 2 --threads 1 --json || fail "eval on $ranks ranks"
        grep '"subject"' "eval$ranks.log" | sed 's/"seconds":[0-9.e-]*,//' >"eval$ranks.json"
        lines 1 '"frechet":' "eval$ranks.json"
        cmp eval0.json "eval$ranks.json" || fail "$ranks ranks have other scores"
    done
    # What only the first can find is told once, and nobody waits for it.
    ! on 2 none eval run --data d.npy --size 16x16 --evaluator none.safetensors -n 200 || fail none
    lines 1 '^sumi: .*none.safetensors' none.err.log
}

# As bfloat16: the bits are those of a number of ranks, and that is said.
part_transport() {
    # shellcheck disable=SC2086
    set -- shapes $tutorial $common --transport bf16 --steps 2 --keep-last 3 --checkpoint-every 1
    begin narrow 2 "$@" --out run || fail narrow
    begin again 2 "$@" --out run || fail again
    begin exact 0 "$@" --out run || fail exact
    lines 1 'with another number of ranks than 2 the weights are others' narrow.log
    same narrow again
    ! "$sumi" diff narrow/run/model.safetensors exact/run/model.safetensors >/dev/null ||
        fail "bf16 between ranks rounds nothing"
    ! "$sumi" verify narrow/run --threads 1 >verify.log 2>&1 || fail "verify"
    lines 1 '(transport)' verify.log
}

"part_$part"
