#!/bin/sh
# One machine, one process a GPU. On several machines run the same on each of them, with
# --nnodes and --rdzv-endpoint as for training, or simply start it once on each: the processes find
# each other by the recording alone. --max-restarts starts one that died again.
set -eu

OUT=${OUT:-recordings/modelnet40.zarr}   # a folder that all machines see, or s3://BUCKET/NAME.zarr
GPUS=${GPUS:-4}

torchrun --standalone --nproc-per-node "$GPUS" --max-restarts 3 -m kdrec.cli \
    record "$OUT" \
    --teacher pointnet --weights best.npz \
    --data modelnet40_hdf5/ --split file=train --preset modelnet40 \
    --views 300 --batch-size 256 --device cuda --price-per-hour 2.5
