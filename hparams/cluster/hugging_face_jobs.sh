#!/bin/bash
# Hugging Face Jobs: one machine of eight GPUs, a process for each. Not tested: no job was submitted.
# command: bash hparams/cluster/hugging_face_jobs.sh
# A job runs on one machine and keeps no disk: ORGANISATION/BUCKET holds the data and the run folders, and a job that is
# started again continues the run. REPOSITORY is the address of a checkout.
set -euo pipefail

hf jobs run --flavor a100x8 --timeout 24h --secrets HF_TOKEN --volume hf://buckets/ORGANISATION/BUCKET:/bucket \
    pytorch/pytorch:latest bash -c '
        git clone REPOSITORY /sosr_timm && cd /sosr_timm && pip install -e . &&
        exec accelerate launch --quiet --config_file hparams/accelerate/eight_gpus.yaml --num_processes 8 \
            train.py --config hparams/imagenet/sosr_resnet50.yaml --loss sosr --batch-size 32 \
            --data-dir /bucket/imagenet --output /bucket/runs --resume auto --experiment sosr-timm'
