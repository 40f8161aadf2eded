#!/bin/sh
#SBATCH --job-name=kdrec
#SBATCH --array=1-16%4
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=kdrec-%A-%a.out
# A job array: sixteen parts, four at a time. Any of them may be killed, requeued or never start:
# the others record what it left. Slurm sends SIGTERM before it kills; the block at hand is given
# back within seconds.
set -eu

OUT=${OUT:-recordings/modelnet40.zarr}   # on a file system that all nodes see, with file locks

kdrec record "$OUT" \
    --part "$SLURM_ARRAY_TASK_ID/16" \
    --teacher pointnet --weights best.npz \
    --data modelnet40_hdf5/ --split file=train --preset modelnet40 \
    --views 300 --batch-size 256 --device cuda
