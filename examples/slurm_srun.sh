#!/bin/sh
#SBATCH --job-name=kdrec
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
# One job of eight processes; srun tells each its number and its GPU. --no-kill and
# --kill-on-bad-exit let the others go on when a node is lost.
set -eu

OUT=${OUT:-recordings/modelnet40.zarr}

srun --no-kill --kill-on-bad-exit=0 kdrec record "$OUT" \
    --teacher pointnet --weights best.npz \
    --data modelnet40_hdf5/ --split file=train --preset modelnet40 \
    --views 300 --batch-size 256 --device cuda
