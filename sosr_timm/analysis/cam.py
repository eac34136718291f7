"""Class activation maps by Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): figure 2 of the MaxSup paper."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sosr_timm.analysis.registry import AnalyzeOptions, Result, analysis
from sosr_timm.analysis.subjects import Subject
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.source import ImageSource, Subset
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes
from sosr_timm.errors import UserError
from sosr_timm.extras import import_extra
from sosr_timm.files import replacing
from sosr_timm.metrics.plots import new_plot, save_plot
from sosr_timm.options.fields import flag
from sosr_timm.options.ranges import AT_LEAST_ONE, NOT_NEGATIVE, PROBABILITY
from sosr_timm.registry import close_names
from sosr_timm.validation.data import choose_classes
from sosr_timm.validation.inference_model import Placed, place
from sosr_timm.validation.loader import make_loader

TOP1, LABEL = "top1", "label"
COLOUR_MAP = "inferno"
ROW_LETTERS = 16  # of a run's title in a line beside its row


@dataclass
class CamOptions:
    layer: str = flag("", "module whose activations are shown; the last feature map where not given")
    images: tuple[int, ...] = flag((), "which images, by position in the split", allowed=NOT_NEGATIVE)
    count: int = flag(5, "how many images, spread over the split, where --images is not given", allowed=AT_LEAST_ONE)
    target: str = flag(TOP1, "class to explain: top1, label, or the name or number of a class")
    opacity: float = flag(0.5, "of the map over the image", allowed=PROBABILITY)


@dataclass(frozen=True)
class Maps:
    """What Grad-CAM gave for one model.

    Attributes:
        title: of the run or model.
        layer: that was shown.
        classes: (N,) the explained class of each image.
        probabilities: (N,) of these classes.
        guesses: (N,) the model's best class of each image.
        maps: (N, H, W) float32 in [0, 1], at the size of the input.
    """

    title: str
    layer: str
    classes: np.ndarray
    probabilities: np.ndarray
    guesses: np.ndarray
    maps: np.ndarray


def grad_cam_package() -> ModuleType:
    """The package `pytorch_grad_cam`.

    Raises:
        UserError: it is not installed, or OpenCV, which it needs, lacks a library of the system.
    """
    try:
        return import_extra("pytorch_grad_cam", "analysis", "cam")
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        raise UserError(
            f"cam: OpenCV cannot be loaded ({error}): install the library (Debian: apt install libgl1 libglib2.0-0), "
            "or pip install --force-reinstall opencv-python-headless"
        ) from None


def find_layer(model: nn.Module, images: Tensor, name: str) -> tuple[str, nn.Module]:
    """The module whose activations are shown.

    Args:
        model: a timm model.
        images: (1, C, H, W), to see what the modules give.
        name: of the module; "": the first norm of the last block of a transformer, as in the paper, else what gives the
            last feature map.

    Raises:
        UserError: no such module, with the nearest names; a model without a feature map.
    """
    modules = dict(model.named_modules())
    if name:
        if name not in modules:
            raise UserError(f"--layer: the model has no module '{name}': {close_names(name, modules)}")
        return name, modules[name]
    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.Sequential | nn.ModuleList) and len(blocks) and hasattr(blocks[-1], "norm1"):
        # Behind the last attention only the class token reaches the classifier, so that patches have no gradient.
        name = f"blocks.{len(blocks) - 1}.norm1"
        if isinstance(blocks[-1].norm1, nn.Module) and _is_map(_outputs(model, images, {name: modules[name]}), name):
            return name, modules[name]
    outputs = _outputs(model, images, modules)
    found = [name for name in outputs if name and _is_map(outputs, name)]
    if not found:
        raise UserError("cam: no module of the model gives a feature map; name one with --layer")
    return found[-1], modules[found[-1]]


def _outputs(model: nn.Module, images: Tensor, modules: dict[str, nn.Module]) -> dict[str, Any]:
    """The outputs of modules, in the order in which they were last done."""
    outputs: dict[str, Any] = {}

    def keep(name: str, output: Any) -> None:
        outputs.pop(name, None)
        outputs[name] = output.shape if isinstance(output, Tensor) else None

    hooks = [
        module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name, module in modules.items()
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _is_map(outputs: dict[str, Any], name: str) -> bool:
    """Whether a module gives more than one place: (N, C, H, W), (N, H, W, C) or (N, places, C)."""
    shape = outputs.get(name)
    if shape is None or len(shape) not in (3, 4):
        return False
    return shape[1] > 1 if len(shape) == 3 else shape[2] > 1 and max(shape[1], shape[3]) > 1


def as_maps(model: nn.Module, size: tuple[int, int], layer: str):
    """What turns activations of a layer, or gradients at them, into (N, C, H, W).

    Args:
        model: a timm model.
        size: height and width of the input.
        layer: for messages.
    """
    channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
    prefix = int(getattr(model, "num_prefix_tokens", 0) or 0)

    def transform(values: Any) -> Tensor:
        if not isinstance(values, Tensor) or values.ndim not in (3, 4):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise UserError(f"--layer {layer} gives {shape}, which is no feature map: choose another one")
        if values.ndim == 4:
            # A copy: what follows may change the activations in place.
            return values.permute(0, 3, 1, 2).clone() if channels_last else values.clone()
        places = values[:, prefix:]
        height, width = _grid(places.shape[1], size, layer)
        return places.unflatten(1, (height, width)).permute(0, 3, 1, 2).clone()

    return transform


def _grid(places: int, size: tuple[int, int], layer: str) -> tuple[int, int]:
    """Height and width of a number of patches that cover the input."""
    height = round(math.sqrt(places * size[0] / size[1]))
    if height < 1 or places % height:
        raise UserError(f"--layer {layer} gives {places} places, which are no grid: choose another one")
    return height, places // height


def grad_cam(placed: Placed, images: Tensor, targets: list[int] | None, layer: str, title: str) -> Maps:
    """Grad-CAM maps of a batch.

    Args:
        placed: the model, in float32.
        images: (N, C, H, W).
        targets: class of each image; None: the model's best.
        layer: as in `find_layer`.
        title: of the run.

    Raises:
        UserError: an unknown layer, or one that gives no feature map.
    """
    package = grad_cam_package()
    outputs = import_extra("pytorch_grad_cam.utils.model_targets", "analysis", "cam")
    name, module = find_layer(placed.model, images[:1], layer)
    with torch.no_grad():
        probabilities = placed(images).float().softmax(dim=1)
    guesses = probabilities.argmax(dim=1)
    classes = guesses if targets is None else torch.tensor(targets)
    transform = as_maps(placed.model, tuple(images.shape[2:]), name)
    check_layer(placed, images[:1], module, transform, name)
    wanted = [outputs.ClassifierOutputTarget(int(label)) for label in classes]
    with torch.enable_grad(), package.GradCAM(placed, [module], reshape_transform=transform) as explain:
        maps = explain(input_tensor=images.clone().requires_grad_(True), targets=wanted)
    chosen = probabilities[torch.arange(len(classes)), classes.to(probabilities.device)]
    return Maps(title, name, *(part.cpu().numpy() for part in (classes, chosen, guesses)), np.asarray(maps))


def check_layer(placed: Placed, images: Tensor, module: nn.Module, transform: Any, layer: str) -> None:
    """Raise where a layer gives no feature map, before the package does with an error of its own."""

    seen: list[Tensor] = []
    hook = module.register_forward_hook(lambda _, __, output: seen.append(transform(output)))
    try:
        with torch.no_grad():
            placed(images)
    finally:
        hook.remove()
    if not seen:
        raise UserError(f"--layer {layer}: the model's forward pass does not call this module: choose another one")


def explained_class(target: str, names: tuple[str, ...]) -> int | None:
    """The class that --target names; None for top1 and label.

    Raises:
        UserError: no such class.
    """
    if target in (TOP1, LABEL):
        return None
    if target in names:
        return names.index(target)
    if target.isdecimal():
        if int(target) < len(names):
            return int(target)
        raise UserError(f"--target {target}: the classes are numbered 0 to {len(names) - 1}")
    raise UserError(f"--target: unknown class '{target}': {close_names(target, [TOP1, LABEL, *names])}")


def chosen_images(source: ImageSource, images: tuple[int, ...], count: int) -> Subset:
    """The images to explain.

    Raises:
        UserError: the split has no such image.
    """
    beyond = [index for index in images if index >= len(source)]
    if beyond:
        raise UserError(f"--images {beyond[0]}: the split has images 0 to {len(source) - 1}")
    indices = np.array(images) if images else np.linspace(0, len(source), min(count, len(source)), endpoint=False)
    return Subset(source, indices.astype(np.int64))


def load_images(
    source: ImageSource, form: ImageFormat, processes: Processes, subject: Subject
) -> tuple[Tensor, np.ndarray]:
    """(N, C, H, W) as the model is fed, on its device, and (N,) labels."""
    order = EvaluationOrder(len(source), len(source))
    (batch,) = make_loader(source, form, order, processes.device, subject.options.data, 0)
    if batch.unreadable:
        raise UserError(f"{batch.unreadable[0].name} cannot be read ({batch.unreadable[0].reason})")
    return batch.images.to(processes.device, torch.float32), batch.target.cpu().numpy()


def as_pictures(images: Tensor, form: ImageFormat) -> np.ndarray:
    """(N, H, W, 3) in [0, 1] of normalised images."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (form.mean, form.std))
    pictures = (images * std + mean).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
    return pictures[..., :3] if pictures.shape[3] >= 3 else np.repeat(pictures[..., :1], 3, axis=3)


@analysis("cam", "class activation maps by Grad-CAM", "MaxSup, figure 2", CamOptions)
def cam(subjects: list[Subject], options: AnalyzeOptions, processes: Processes) -> Result:
    """Explain the same images for each run."""
    analysis = options.analysis
    found: list[Maps] = []
    pictures: np.ndarray | None = None
    labels, names = np.zeros(0, dtype=np.int64), ()
    for subject in subjects:
        source = subject.source()
        if source.info.multi_hot:
            raise UserError(f"{subject.title}: cam is for one class per image; the images have many labels")
        part = chosen_images(source, analysis.images, analysis.count)
        model, form = subject.model(source)
        trained = subject.run.about.get("data_classes") if subject.run else None
        classes = choose_classes(subject.options, source.info, model.num_classes, trained)
        plain = subject.options.model
        placed, form = place(model, form, plain, processes.device, classes.allowed, classes.renumbered)
        placed = placed.float()
        placed.dtype = torch.float32
        images, labels = load_images(part, form, processes, subject)
        known = source.info.class_names or ()
        names = tuple(known[: classes.count]) + tuple(map(str, range(len(known), classes.count)))
        label = explained_class(analysis.target, names)
        targets = None if analysis.target == TOP1 else labels.tolist() if label is None else [label] * len(labels)
        found.append(grad_cam(placed, images, targets, analysis.layer, subject.title))
        pictures = as_pictures(images, form) if pictures is None else pictures
    indices = part.indices.tolist()
    rows = [
        {
            "run": maps.title,
            "image": indices[place],
            "label": names[labels[place]],
            "explained": names[maps.classes[place]],
            "probability": float(maps.probabilities[place]),
            "guess": names[maps.guesses[place]],
            "layer": maps.layer,
        }
        for maps in found
        for place in range(len(indices))
    ]
    record = {"target": analysis.target, "layers": {maps.title: maps.layer for maps in found}, "images": rows}
    plots = {
        "cam.png": lambda path: draw(
            path, pictures, found, [names[label] for label in labels], names, analysis.opacity
        ),
        "cam.npz": lambda path: save_maps(path, found, indices),
    }
    return Result(record, rows, plots)


def save_maps(path: Path, found: list[Maps], indices: list[int]) -> None:
    """The maps themselves: `images`, their positions, `runs`, titles, and `map_0`, `map_1`, ..., (N, H, W) each."""
    maps = {f"map_{number}": one.maps for number, one in enumerate(found)}
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, images=np.array(indices), runs=np.array([one.title for one in found]), **maps)


def draw(
    path: Path, pictures: np.ndarray, found: list[Maps], labels: list[str], names: tuple[str, ...], opacity: float
) -> None:
    """A grid: above the images with their labels, then a row for each run with the maps over the images."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    across, down = len(pictures), 1 + len(found)
    figure = new_plot("Grad-CAM", (1.2 * across + 1.5, 1.42 * down + 0.4))
    axes = figure.subplots(down, across, squeeze=False)
    for column, picture in enumerate(pictures):
        axes[0, column].imshow(picture, interpolation="nearest")
        axes[0, column].set_title(labels[column], fontsize=10)
        for row, maps in enumerate(found, start=1):
            heat = colormaps[COLOUR_MAP](maps.maps[column])[..., :3]
            if heat.shape[:2] != picture.shape[:2]:
                raise UserError("cam: the runs take images of different sizes: give --img-size")
            axes[row, column].imshow((1 - opacity) * picture + opacity * heat, interpolation="nearest")
            text = f"{names[maps.classes[column]]} {maps.probabilities[column]:.2f}"
            axes[row, column].set_title(text, fontsize=8.5)
    for row, title in enumerate(["image", *(maps.title for maps in found)]):
        axes[row, 0].set_ylabel(textwrap.fill(title, ROW_LETTERS), fontsize=10)
    for one in axes.flat:
        one.set_xticks([])
        one.set_yticks([])
    bar = figure.colorbar(ScalarMappable(cmap=COLOUR_MAP), ax=axes, shrink=0.6, aspect=30)
    bar.set_label("activation (0: least, 1: most in the image)", fontsize=9)
    save_plot(figure, path)
