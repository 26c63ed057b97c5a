#!/bin/sh
# Trains on four machines of a Slurm cluster, one rank on each with all of its cores:
#     sbatch slurm.sh DATA RUN [OPTION OF SUMI TRAIN...]
# RUN need be seen by the first machine alone. Two minutes before the time is up the run is saved; the
# same command goes on with it, with the options that it began with.
#SBATCH --job-name sumi
#SBATCH --nodes 4
#SBATCH --ntasks-per-node 1
#SBATCH --cpus-per-task 32
#SBATCH --time 8:00:00
#SBATCH --signal TERM@120
set -eu
data=$1 run=$2
shift 2
if [ -e "$run/latest" ]; then
    set -- --resume "$run"
else
    set -- "$data" --out "$run" "$@"
fi
exec srun --mpi="${SUMI_SRUN_MPI:-pmix}" --kill-on-bad-exit sumi train "$@"
