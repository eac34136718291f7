"""A trained model as ONNX or torch.export file with its preprocessing: `sosr-export` from its options to its files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from sosr_timm.data.transforms.image import evaluation_transform
from sosr_timm.environment import environment
from sosr_timm.errors import UserError, one_line, reason_of
from sosr_timm.extras import import_extra
from sosr_timm.files import replacing, write_json
from sosr_timm.inference.trained_model import TrainedModel, find_trained_run, load_trained_model
from sosr_timm.options.inference import ExportOptions
from sosr_timm.options.load import Loaded
from sosr_timm.tracking.console import logger, show_log

ONNX, TORCH = ".onnx", ".pt2"
INPUT, OUTPUT = "images", "logits"
TOLERANCE = 1e-4  # of the largest logit: runtimes add up in another order
Runtime = Callable[[Tensor], Tensor]


def run_export(loaded: Loaded[ExportOptions]) -> int:
    """Export as the options say.

    Returns:
        0.

    Raises:
        UserError: anything that the user can fix, a package that is missing, a model that cannot be exported, or other
            logits than the model's; nothing is written then.
    """
    options = loaded.options
    target = options.target
    path = Path(target.output)
    if path.suffix not in (ONNX, TORCH):
        raise UserError(
            f"--output {target.output!r}: name the file to write, ending in {ONNX} or {TORCH} (torch.export)"
        )
    if path.suffix == TORCH and target.opset is not None:
        raise UserError(f"--opset is for {ONNX}")
    if path.suffix == ONNX:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            import_extra(package, "export", f"an {ONNX} file")
    show_log(True)
    model = load_trained_model(options.model, find_trained_run(options.model))
    size = target.fixed_batch
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            made = Path(folder) / path.name
            write, read = (_write_onnx, _read_onnx) if path.suffix == ONNX else (_write_torch, _read_torch)
            example = _noise(model, size or 2)
            _quietly(lambda: write(model.module, example, made, size is None, target.opset))
            check = check_logits(model, read(made), (size,) if size else (1, 3))
            record = describe(model, made, size, check)
            with replacing(path) as temporary:
                made.replace(temporary)
            write_json(path.with_suffix(".json"), record)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason_of(error)})") from None
    logger.info("%s written to %s, its preprocessing to %s", model.name, path, path.with_suffix(".json"))
    logger.info(
        "its logits differ from the model's by at most %.2g (%s)", check["largest_difference"], check["runtime"]
    )
    return 0


def _quietly(action: Callable[[], None]) -> None:
    """Run an exporter without its remarks; its error is one line.

    Raises:
        UserError: the model cannot be exported.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            action()
    except OSError:
        raise
    except Exception as error:  # exporters raise anything
        raise UserError(
            f"the model cannot be exported ({type(error).__name__}: {one_line(error)}); --fixed-batch 1 exports it "
            "for one batch size, which more models allow"
        ) from None


def _dynamic(any_size: bool) -> dict[str, Any]:
    return {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},)} if any_size else {}


def _write_onnx(module: nn.Module, example: Tensor, path: Path, any_size: bool, opset: int | None) -> None:
    torch.onnx.export(
        module,
        (example,),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=opset,
        **_dynamic(any_size),
    )


def _read_onnx(path: Path) -> tuple[Runtime, str]:
    import onnx
    import onnxruntime

    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    return run, f"onnxruntime {onnxruntime.__version__}"


def _write_torch(module: nn.Module, example: Tensor, path: Path, any_size: bool, opset: int | None) -> None:
    torch.export.save(torch.export.export(module, (example,), **_dynamic(any_size)), path)


def _read_torch(path: Path) -> tuple[Runtime, str]:
    return torch.export.load(path).module(), f"torch {torch.__version__}"


def _noise(model: TrainedModel, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *model.image_format.input_size, generator=generator)


@torch.no_grad()
def check_logits(model: TrainedModel, made: tuple[Runtime, str], sizes: tuple[int, ...]) -> dict[str, Any]:
    """Compare what was exported with the model, on normalised noise.

    Args:
        model: that was exported.
        made: the exported file's runtime, and what to call it.
        sizes: of the batches.

    Returns:
        `runtime`, `batch_sizes`, `largest_logit` and `largest_difference`.

    Raises:
        UserError: the logits differ by more than rounding.
    """
    run, runtime = made
    largest, difference = 0.0, 0.0
    for size in sizes:
        images = _noise(model, size)
        expected = model.module(images)
        try:
            found = run(images)
        except Exception as error:  # runtimes raise anything
            raise UserError(f"what was exported does not run ({runtime}: {one_line(error)})") from None
        if found.shape != expected.shape or not torch.isfinite(found).all():
            raise UserError(f"what was exported gives no logits like the model's ({runtime}: {tuple(found.shape)})")
        largest = max(largest, expected.abs().max().item())
        difference = max(difference, (found - expected).abs().max().item())
    if difference > TOLERANCE * max(1.0, largest):
        raise UserError(
            f"what was exported gives other logits than the model: they differ by up to {difference:.3g} ({runtime})"
        )
    return {
        "runtime": runtime,
        "batch_sizes": list(sizes),
        "largest_logit": largest,
        "largest_difference": difference,
    }


def describe(model: TrainedModel, path: Path, fixed_batch: int | None, check: dict[str, Any]) -> dict[str, Any]:
    """What the file beside an exported model says: how to make its input, what its output means."""
    form = model.image_format
    transform = evaluation_transform(form)
    versions = environment()
    return {
        "format": 1,
        "model": model.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input": {"name": INPUT, "shape": [fixed_batch or "batch", *form.input_size], "dtype": "float32"},
        "output": {"name": OUTPUT, "shape": [fixed_batch or "batch", len(model.class_names)], "dtype": "float32"},
        "preprocessing": {**asdict(form), "steps": [str(step) for step in transform.transforms]},
        "probabilities": "sigmoid" if model.multi_label else "softmax",
        "temperature": model.temperature,
        "class_names": list(model.class_names),
        "check": check,
        "versions": {name: versions[name] for name in ("sosr_timm", "torch", "timm")},
    }
