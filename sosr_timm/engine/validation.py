"""An evaluation from its command line to its table and JSON."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sosr_timm import results
from sosr_timm.data.catalog import open_source
from sosr_timm.data.loaders import EvaluationBatches, evaluation_loader
from sosr_timm.data.order import EvaluationOrder
from sosr_timm.data.source import ImageSource, spread
from sosr_timm.data.transforms import evaluation_transform
from sosr_timm.engine.evaluation_files import COLUMNS, say, show, write_folder
from sosr_timm.engine.figures import check_finite, figures
from sosr_timm.engine.launch import Processes, start_processes
from sosr_timm.engine.measure import measure
from sosr_timm.engine.subject import StoredRun, find_run, format_of_run, network_by_name, networks_of_run
from sosr_timm.errors import UserError
from sosr_timm.options.load import Loaded
from sosr_timm.options.validate import ValidateOptions


def run_validation(loaded: Loaded[ValidateOptions]) -> int:
    """Evaluate what the options name; the table and one JSON go to standard output, the JSON into the run folder too.

    Returns:
        0.

    Raises:
        UserError: anything that whoever started the evaluation can mend.
    """
    options = loaded.options
    run = find_run(options.subject.subject, options.subject.which)
    if run is None and options.subject.model is None:
        named = options.subject.subject
        if named and not Path(named).is_dir():
            raise UserError(f"{named}: no such run folder, checkpoint or data folder")
        raise UserError(f"{named or 'nothing to evaluate'}: name a run folder, a checkpoint, or a model with --model")
    amp, amp_dtype = options.subject.amp, options.subject.amp_dtype
    if run is not None:
        # The figure of the run is the one under the run's own precision.
        amp, amp_dtype = amp or run.options.model.amp, run.options.model.amp_dtype if not amp else amp_dtype
    processes = start_processes(amp=amp, amp_dtype=amp_dtype, expected=options.report.num_processes)
    source = evaluation_source(options, run)
    if run is not None:
        networks, form = networks_of_run(run, options.subject.use_ema), format_of_run(run, options)
        batch_size = options.data.batch_size or run.options.optimizer.validation_batch_size
        batch_size = batch_size or run.options.optimizer.batch_size
        workers = options.data.workers if "workers" in loaded.command_line else run.options.data.workers
        classes = run.about["num_classes"]
    else:
        network, form = network_by_name(options, source.info)
        networks, classes = {"weights": network}, network.num_classes
        batch_size, workers = options.data.batch_size or 256, options.data.workers
    if source.info.num_classes is not None and source.info.num_classes != classes:
        raise UserError(f"the network has {classes} classes, the data set {source.info.num_classes}")
    if batch_size < 1 or workers < 0:
        raise UserError("--batch-size is at least 1 and --workers at least 0")
    order = EvaluationOrder(len(source), batch_size, processes.count, processes.rank)
    batches = EvaluationBatches(source, evaluation_transform(form), form.image_mode, order)
    record: dict[str, Any] = {"subject": subject_name(options, run), "data": data_name(options, run)}
    record.update(weights={}, speed={})
    for title, network in networks.items():
        loader = evaluation_loader(batches, workers, options.data.pin_mem)
        placed = place(network, options, processes)
        layout = options.subject.channels_last
        found = measure(placed, loader, order, processes, classes=classes, title=title, channels_last=layout)
        samples = found.samples.read()
        check_finite(samples, source, title)
        record["weights"][title] = figures(found.table, samples, classes)
        record["speed"][title] = found.speed
    record.update(image_format=asdict(form), batch_size=batch_size, environment=results.environment())
    if processes.is_main:
        report(record, options, run)
    return 0


def evaluation_source(options: ValidateOptions, run: StoredRun | None) -> ImageSource:
    """The images: as the options say, else as the run's options say."""
    data = options.data
    dataset, root, split, class_map = data.dataset, data.data_dir, data.split, data.class_map
    count = data.num_samples
    if run is None:
        root = root or options.subject.subject
    elif not (dataset or root):
        stored = run.options.data
        dataset, root, class_map = stored.dataset, stored.data or stored.data_dir, class_map or stored.class_map
        split = stored.val_split if split == "validation" else split
        count = stored.val_num_samples if count is None else count
    return spread(open_source(dataset, root, split, download=data.dataset_download, class_map=class_map), count)


def place(network: nn.Module, options: ValidateOptions, processes: Processes) -> nn.Module:
    """The network on its device, in its layout, compiled where asked for."""
    subject = options.subject
    network = network.to(processes.device)
    if subject.channels_last:
        network = network.to(memory_format=torch.channels_last)
    if subject.torchcompile:
        network = torch.compile(network, backend=subject.torchcompile, mode=subject.torchcompile_mode)
    return network


def subject_name(options: ValidateOptions, run: StoredRun | None) -> str:
    if run is None:
        return str(options.subject.model)
    return f"{run.options.model.model} {run.about.get('loss', '')} {run.checkpoint.name}"


def data_name(options: ValidateOptions, run: StoredRun | None) -> str:
    named = options.data.dataset or options.data.data_dir
    if named:
        return named
    if run is None:
        return str(options.subject.subject)
    stored = run.options.data
    return stored.dataset or str(stored.data or stored.data_dir)


def report(record: dict[str, Any], options: ValidateOptions, run: StoredRun | None) -> None:
    """The table and the JSON on standard output, the files in the run folder, and what --results-file asks for."""
    show(record)
    say(record)
    try:
        if run is not None:
            write_folder(run.folder.path, record)
        if options.report.results_file:
            write_results(Path(options.report.results_file), options.report.results_format, record)
    except OSError as error:
        raise UserError(f"the results could not be written ({error})") from None


def write_results(path: Path, form: str, record: dict[str, Any]) -> None:
    """The results as one JSON, or as CSV with a row for each set of weights."""
    if form == "json":
        results.write_json(path, record)
        return
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["subject", "data", "weights", *COLUMNS, "count"])
        for title, metrics in record["weights"].items():
            values = [metrics[name] for name in (*COLUMNS, "count")]
            writer.writerow([record["subject"], record["data"], title, *values])
