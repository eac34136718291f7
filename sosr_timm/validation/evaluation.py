"""The evaluation of one run or model: its sets of weights, its images, its metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from torch import nn

from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.sources.real_labels import real_accuracy
from sosr_timm.data.sources.source import ImageSource, names_of_classes
from sosr_timm.data.transforms.image import ImageFormat
from sosr_timm.distributed.processes import Processes
from sosr_timm.environment import environment
from sosr_timm.errors import UserError
from sosr_timm.metrics.bootstrap import BINS, MOST_CLASSWISE
from sosr_timm.metrics.confusion import ClassCounts
from sosr_timm.metrics.out_of_distribution import out_of_distribution
from sosr_timm.metrics.samples import Samples
from sosr_timm.metrics.shots import accuracy_by_shots
from sosr_timm.metrics.temperature import calibrate
from sosr_timm.metrics.titles import WEIGHTS
from sosr_timm.options.load import Loaded
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.validate import ValidateOptions
from sosr_timm.setup.batches import most_workers
from sosr_timm.setup.metric_names import new_table
from sosr_timm.setup.stored_run import StoredRun, format_of_run, model_by_name, models_of_run
from sosr_timm.validation.collective_errors import together
from sosr_timm.validation.data import Classes, choose_classes, data_name, real_labels_of
from sosr_timm.validation.inference_model import place
from sosr_timm.validation.loader import make_loader
from sosr_timm.validation.measure import PassResult, measure
from sosr_timm.validation.metrics import check_finite, check_labels, metrics_of
from sosr_timm.validation.model_selection import EvaluatedModel
from sosr_timm.validation.other_data import Unlabelled, loading, other_data_name, other_source
from sosr_timm.validation.predictions import MOST_LOGITS
from sosr_timm.validation.retry import with_smaller_batches
from sosr_timm.validation.task import task_of


@dataclass
class Evaluation:
    """What an evaluation found.

    Attributes:
        record: as evaluation.json holds it.
        samples: the predictions by the name of the weights; none where images have many labels.
        class_names: by number, or None.
        classes: K of the predictions.
        outside: the predictions of another data set's images, where there is one.
    """

    record: dict[str, Any]
    classes: int
    class_names: tuple[str, ...] | None
    samples: dict[str, Samples] = field(default_factory=dict)
    outside: dict[str, Samples] = field(default_factory=dict)


def evaluate_model(
    evaluated: EvaluatedModel,
    loaded: Loaded[ValidateOptions],
    processes: Processes,
    source: ImageSource,
    retry: bool,
    keep_logits: bool = False,
) -> Evaluation:
    """Evaluate every set of weights of a run or model on the same images; what fails on one process fails on all.

    Args:
        evaluated: the run or model.
        loaded: the options of all models, with what was given.
        processes: that share the work.
        source: of the images.
        retry: take smaller batches where memory runs out.
        keep_logits: keep all logits, also where no option asks for them.

    Raises:
        UserError: anything that the user can fix.
    """
    options, run = evaluated.options, evaluated.run
    data = options.data
    task = task_of(evaluated, source)
    models, form = together(processes, lambda: _models(evaluated, source))
    model_classes = run.about["num_classes"] if run else next(iter(models.values())).num_classes
    classes = choose_classes(options, source.info, model_classes, run.about.get("data_classes") if run else None)
    real = real_labels_of(options, source, classes)
    workers, batch_size = data.workers, data.batch_size or 256
    if run is not None:
        if "workers" not in loaded.command_line:
            workers = min(run.options.data.workers, most_workers())  # the run may be of a larger machine
        stored = run.options.optimizer
        batch_size = data.batch_size or stored.validation_batch_size or stored.batch_size
    parameters = sum(parameter.numel() for parameter in next(iter(models.values())).parameters())
    record: dict[str, Any] = {"subject": evaluated.name, "data": data_name(options, run), "num_classes": classes.count}
    record |= {"weights": {}, "speed": {}}
    if is_multi_label(task):
        record |= {"task": task.task, "multilabel_threshold": task.multilabel_threshold}
    names = source.info.class_names if classes.renumbered else names_of_classes(source.info.class_names, classes.count)
    found = Evaluation(record, classes.count, names if names and len(names) == classes.count else None)
    sizes = training_class_sizes(run, classes.count)
    other = together(processes, lambda: other_source(data, source))
    for title, model in models.items():
        placed, fed = _place(model, form, options, processes, classes)

        def one_pass(
            size: int, placed: nn.Module = placed, fed: ImageFormat = fed, title: str = title, foreign: bool = False
        ) -> PassResult:
            images = other if foreign else source
            order = EvaluationOrder(len(images), size, processes.count, processes.rank)
            loader = make_loader(images, fed, order, processes.device, loading(data) if foreign else data, workers)
            return measure(
                placed,
                Unlabelled(loader) if foreign else loader,
                order,
                processes,
                classes=classes.count,
                table=new_table(task, order, classes.count, processes.device),
                title=WEIGHTS[title] + (f" on {other_data_name(data)}" if foreign else ""),
                channels_last=options.model.channels_last,
                keep_logits=not foreign and (keep_logits or keeps_logits(options, len(source), classes.count)),
                p_norm=options.report.p_norm,
                interval=options.report.log_freq,
            )

        measured, batch_size = with_smaller_batches(one_pass, batch_size, retry)
        record["speed"][title], record["image_format"] = measured.speed, asdict(fed)
        if measured.samples is None:
            check_finite(measured.table, source, WEIGHTS[title])
            record["weights"][title] = measured.table.compute()
            continue
        samples = measured.samples.read()
        check_labels(samples, source, classes.allowed if not classes.renumbered else None)
        check_finite(samples, source, WEIGHTS[title])
        record["weights"][title] = metrics_of(
            measured.table, samples, measured.classwise, classes.count, options.report.p_norm
        )
        if sizes is not None:
            counts = ClassCounts.of(samples.target, samples.guesses[:, 0], classes.count)
            record["weights"][title]["shots"] = accuracy_by_shots(counts, sizes)
        if real is not None:
            record["weights"][title]["real_labels"] = real_accuracy(samples.guesses, real)
        if options.report.temperature and processes.is_main and not options.model.compare:
            record["weights"][title]["temperature"] = _calibrated(samples, options)
        found.samples[title] = samples
        if other is not None:
            passed, batch_size = with_smaller_batches(partial(one_pass, foreign=True), batch_size, retry)
            outside = passed.samples.read()
            check_finite(outside, other, f"{WEIGHTS[title]} on {other_data_name(data)}")
            about = {"data": other_data_name(data), "split": data.ood_split}
            record["weights"][title]["ood"] = about | out_of_distribution(samples, outside)
            found.outside[title] = outside
    record.update(batch_size=batch_size, parameters=parameters, environment=environment())
    return found


def keeps_logits(options: ValidateOptions, images: int, classes: int) -> bool:
    """Whether all logits are kept: a temperature needs them; files and comparisons take them where they are few."""
    wanted = options.report.predictions.endswith(".npz") and images * classes <= MOST_LOGITS
    compared = bool(options.model.compare) and images * classes * BINS <= MOST_CLASSWISE
    return bool(options.report.temperature) or wanted or compared


def _calibrated(samples: Samples, options: ValidateOptions) -> dict[str, Any]:
    try:
        return calibrate(samples.logits, samples.target, options.report.temperature, options.report.seed)
    except ValueError as error:
        raise UserError(f"--temperature: {error}") from None


def _models(evaluated: EvaluatedModel, source: ImageSource) -> tuple[dict[str, nn.Module], ImageFormat]:
    options = evaluated.options
    if evaluated.run is not None:
        return models_of_run(evaluated.run, options.model.use_ema), format_of_run(evaluated.run, options)
    model, form = model_by_name(options, source.info, keep_head=bool(options.data.valid_labels))
    return {"weights": model}, form


def _place(
    model: nn.Module, form: ImageFormat, options: ValidateOptions, processes: Processes, classes: Classes
) -> tuple[nn.Module, ImageFormat]:
    return together(
        processes,
        lambda: place(model, form, options.model, processes.device, classes.allowed, classes.renumbered),
    )


def training_class_sizes(run: StoredRun | None, classes: int) -> list[int] | None:
    """Training images of each class of a run with --long-tail; None for any other, or where classes were left out."""
    if run is None or run.options.data.long_tail is None:
        return None
    sizes = run.about["data"]["class_sizes"]
    return sizes if len(sizes) == classes else None
