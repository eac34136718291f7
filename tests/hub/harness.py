"""The command line of the Hub in this process, and a process that has timm and nothing of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch
from accelerate.state import AcceleratorState, GradientState
from safetensors.torch import load_file

from sosr_timm.hub import __main__ as program

STRANGER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sosr_timm":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
try:
    import sosr_timm
except ModuleNotFoundError:
    import timm, torch
    from safetensors.torch import load_file, save_file
found = {}
for number, name in enumerate(sys.argv[2:]):
    model = timm.create_model(name, pretrained=True).eval()
    config = timm.data.resolve_model_data_config(model)
    images = torch.linspace(-1, 1, 2 * 8 * 8 * config["input_size"][0]).reshape(2, -1, 8, 8)
    with torch.no_grad():
        found[f"logits {number}"] = model(images)
        other = timm.create_model(name, pretrained=True, num_classes=3).eval()
        found[f"features {number}"] = other.forward_features(images)
        found[f"head {number}"] = other(images)
save_file({name: tensor.contiguous() for name, tensor in found.items()}, sys.argv[1])
"""


def reset() -> None:
    """Accelerate allows one precision a process; a new run starts anew."""
    AcceleratorState._reset_state(True)
    GradientState._reset_state()


def hub_command(*arguments: object) -> int:
    """`sosr-hub ARGUMENTS` in this process; a UserError is raised as it is."""
    reset()
    words = [str(argument) for argument in arguments]
    return program.VERBS[words[0]](words[1:])


def stranger_loads(*names: str, folder: Path, endpoint: str = "http://127.0.0.1:9") -> dict[str, torch.Tensor]:
    """Logits, features and those of another head of models, loaded where `import sosr_timm` fails."""
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    environment.pop("HF_TOKEN", None)
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(folder / "found.safetensors"), *names],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return load_file(folder / "found.safetensors")


def images(channels: int = 1) -> torch.Tensor:
    """The images that the stranger looks at."""
    return torch.linspace(-1, 1, 2 * 8 * 8 * channels).reshape(2, -1, 8, 8)
