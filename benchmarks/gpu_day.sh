#!/usr/bin/env bash
# Everything that waits for a GPU, in one go, on a CUDA machine, from the repository's root: bash benchmarks/gpu_day.sh
# Tests first: the speed of a kernel that is wrong is worth nothing.
set -euo pipefail
python -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"; print(torch.cuda.get_device_name())'
python -m pytest -q tests/kernels/test_cuda.py tests/data/loaders/test_prefetch.py tests/training/test_no_waiting.py
for kernel in plain triton; do
  SOSR_TIMM_KERNEL=$kernel python -m benchmarks.bench_loss --device cuda
  mv results/bench_loss_cuda.json "results/bench_loss_${kernel}_cuda.json"
done
python -m benchmarks.bench_loader
python -m benchmarks.bench_step
python -m benchmarks.bench_train
python -m benchmarks.bench_validate
python -m benchmarks.plots
