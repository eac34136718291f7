"""A run from its options: every part built once, before the first step."""

from __future__ import annotations

from timm.layers import set_fast_norm
from timm.task import ClassificationTask
from timm.utils import unwrap_model

from sosr_timm.checkpoints.run_folder import RunFolder
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.order.seeding import seed_everything
from sosr_timm.distributed.processes import Processes
from sosr_timm.distributed.stop_signals import StopSignals
from sosr_timm.metrics.titles import LOWER_IS_BETTER
from sosr_timm.options.task import is_multi_label
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.batches import evaluation_by_workers, make_batches, make_mixing
from sosr_timm.setup.consistency import check_options
from sosr_timm.setup.datasets import open_sources
from sosr_timm.setup.image_format import image_format
from sosr_timm.setup.loss import make_loss
from sosr_timm.setup.metric_names import best_metric, evaluation_columns, parts_of_task
from sosr_timm.setup.model import create_model
from sosr_timm.setup.optimizer import create_optimizer, learning_rate
from sosr_timm.setup.sample_order import make_order
from sosr_timm.setup.schedule import check_rates, create_schedule
from sosr_timm.setup.task import check_labels, make_task
from sosr_timm.setup.transforms import formats
from sosr_timm.tracking.console import Console
from sosr_timm.tracking.meters import Meters
from sosr_timm.tracking.metrics_log import MetricsLog
from sosr_timm.tracking.saved_images import SavedImages
from sosr_timm.tracking.stopwatch import Stopwatch
from sosr_timm.training.confidence import CLEAN, COLUMNS, CleanImages, ConfidenceRecord
from sosr_timm.training.features import FeatureRecord
from sosr_timm.training.nonfinite import Guard
from sosr_timm.training.run import Progress, Run


def build_run(options: TrainOptions, processes: Processes, folder: RunFolder, resumed: bool = False) -> Run:
    """Every part of a run, in its initial state.

    Args:
        options: all options of the run.
        processes: the processes that train.
        folder: where the run writes.
        resumed: the run was started before, with these options.

    Raises:
        UserError: options that are incompatible with each other, the data or the model.
    """
    check_options(options, resumed)
    training_source, evaluation_source = open_sources(options.data, options.model, processes, options.run.seed)
    check_labels(options.task, training_source.info)
    seed_everything(options.run.seed)
    set_fast_norm(options.model.fast_norm)
    model = create_model(options.model, training_source.info)
    form = image_format(options.model, training_source.info, model, options.data.input_img_mode)
    num_classes = model.num_classes

    augmentation = options.augmentation
    mixed = augmentation.mixup > 0 or augmentation.cutmix > 0 or augmentation.cutmix_minmax is not None
    loss = make_loss(options.loss, options.task, num_classes, mixed, augmentation.aug_splits)
    mixing = None
    if mixed:
        mixing = make_mixing(
            augmentation,
            loss.smoothing,
            num_classes,
            options.optimizer.batch_size,
            formats(form, options.sizes),
            is_multi_label(options.task),
        )

    seed, batch_size = options.run.seed, options.optimizer.batch_size
    order = make_order(options, training_source, processes)
    evaluation = None
    if evaluation_source is not None:
        size = options.optimizer.validation_batch_size or batch_size
        evaluation = EvaluationOrder(len(evaluation_source), size, processes.count, processes.rank)
    training, of_evaluation = make_batches(
        options, training_source, evaluation_source, form, mixing, evaluation, processes
    )

    task = make_task(model, loss, options, form, processes)
    optimizer = create_optimizer(
        task.trainable_module, options.optimizer, learning_rate(options.optimizer, options.schedule, processes.count)
    )
    task.trainable_module, optimizer = processes.accelerator.prepare(task.trainable_module, optimizer)
    updates = -(-order.batches_per_epoch // options.optimizer.grad_accum_steps)
    smaller = best_metric(options) in LOWER_IS_BETTER
    schedule, epochs = create_schedule(optimizer, options.schedule, updates, seed, smaller)
    if not resumed:
        check_rates(schedule, optimizer, options.schedule, epochs)
    names = (*loss.parts, *parts_of_task(options.task))
    columns = [f"train_{name}" for name in ("loss", *names)]
    columns += evaluation_columns(options)
    clean_images = None
    if options.run.record_confidence == CLEAN:
        size = options.optimizer.validation_batch_size or batch_size
        of_clean = EvaluationOrder(len(training_source), size, processes.count, processes.rank)
        of_workers = evaluation_by_workers(options, training_source, form, of_clean, processes.device, tta=0)
        clean_images = CleanImages(of_clean, of_workers)
    features = FeatureRecord()
    if options.run.record_features:
        samples = order.samples_of(0, slice(None)) // processes.count
        features = FeatureRecord(unwrap_model(task.get_eval_model()), samples, processes.device)
    compiled = bool(options.model.torchcompile) and isinstance(task, ClassificationTask)  # see compile_step
    return Run(
        options=options,
        processes=processes,
        folder=folder,
        task=task,
        loss=loss,
        optimizer=optimizer,
        schedule=schedule,
        epochs=epochs,
        order=order,
        training=training,
        evaluation=evaluation,
        evaluation_loader=of_evaluation,
        image_format=form,
        meters=Meters(names, processes.device),
        metrics_log=MetricsLog(folder, ("epoch", *columns, "lr"), COLUMNS),
        stop_signals=StopSignals(processes, str(options.run.recovery_interval or options.run.checkpoint_every)),
        progress=Progress(epoch=options.schedule.start_epoch or 0),
        console=Console(processes.is_main, updates * min(epochs, options.schedule.stop_epoch or epochs)),
        stopwatch=Stopwatch(),
        saved_images=SavedImages(
            folder.path / "images" if options.run.save_images and processes.is_main else None, form
        ),
        guard=Guard(names, options.run.on_nonfinite, options.data.max_bad_images, len(training_source), processes),
        confidence=ConfidenceRecord(
            options.run.record_confidence, processes.device, loss.gradient if compiled else None
        ),
        clean_images=clean_images,
        features=features,
    )
