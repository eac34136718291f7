"""The Triton kernel without a GPU: its interpreter in a process of its own, and its compiler for a Hopper GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")


def test_in_the_interpreter():
    file = Path(__file__).with_name("test_triton_interpreted.py")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(file)]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=file.parents[2])
    assert done.returncode == 0 and " passed" in done.stdout and "skipped" not in done.stdout, done.stdout[-3000:]


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter is on")
@pytest.mark.parametrize(
    "dense, once, curve, more, part",
    [(False, True, 0, False, 0), (True, False, 0, True, 0), (False, True, 1, True, 1), (False, False, 3, False, 3)],
)
def test_compiles_for_a_gpu(dense, once, curve, more, part):
    """And a row of one block is loaded once: as many loads of logits as it takes registers to hold it."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sosr_timm.kernels.triton_kernel import row_kernel

    names = row_kernel.arg_names
    flags = {"DENSE": dense, "SOFT": dense, "COUNT": dense, "SOSR": True, "GRADIENT": True, "ONCE": once}
    flags |= {"CHANGING": False, "CURVE": curve, "LOGIT": more, "MARGIN": more, "PART": part}
    constants = {**flags, "BLOCK": 1024 if once else 16_384}
    pointers = {"logits": "bf16", "gradient": "bf16", "values": "fp32", "index": "i64", "dense": "fp32"}
    pointers |= {"soft_labels": "fp64", "probability_sum": "fp64", "correct_count": "fp64"}
    pointers |= {"incoming": "fp32", "maxsup_weight": "fp32", "changing_smoothing": "fp32"}
    signature = {name: f"*{kind}" for name, kind in pointers.items()}
    signature |= dict.fromkeys(("rows", "classes", "row_stride", "class_stride"), "i32")
    signature = {name: "constexpr" if name in constants else signature.get(name, "fp32") for name in names}
    source = ASTSource(row_kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    warps = 2 if once else 16
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": warps})
    code = compiled.asm["ptx"]
    assert "st.global" in code and "ld.local" not in code
    if once:  # 1024 numbers for 64 threads, and label, incoming, MaxSup's weight and the label's logit
        assert code.count("ld.global") <= 1024 // 64 + 3 + (part > 0)
