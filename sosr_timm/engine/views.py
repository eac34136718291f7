"""What goes together where a batch holds several views of an image, or batches have several image sizes."""

from __future__ import annotations

from sosr_timm.engine.order import batch_sizes
from sosr_timm.errors import UserError
from sosr_timm.options.train import TrainOptions


def check_views(options: TrainOptions) -> None:
    """Refuse what is not defined with --aug-splits, --resplit and --train-img-sizes.

    Raises:
        UserError: which option, and why.
    """
    _check_splits(options)
    _check_sizes(options)


def _check_splits(options: TrainOptions) -> None:
    augmentation, batch_size = options.augmentation, options.optimizer.batch_size
    splits = augmentation.aug_splits
    if splits < 0 or splits == 1:
        raise UserError(f"--aug-splits {splits}: 0 for off, or at least 2 views of an image")
    if augmentation.resplit and not splits and batch_size % 2:
        raise UserError(f"--resplit: --batch-size {batch_size} has no halves, it must be even")
    if not splits:
        return
    if augmentation.no_aug:
        raise UserError("--aug-splits: with --no-aug all views of an image would be alike")
    if augmentation.mixup or augmentation.cutmix or augmentation.cutmix_minmax is not None:
        raise UserError("--aug-splits: Mixup and CutMix would mix views of different images; leave one of them out")
    if options.sizes.train_img_sizes is not None:
        raise UserError("--aug-splits: not together with --train-img-sizes")


def _check_sizes(options: TrainOptions) -> None:
    sizes, augmentation = options.sizes, options.augmentation
    if sizes.train_img_sizes is None:
        for name in ("train_batch_sizes", "train_size_probs"):
            if getattr(sizes, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} is for --train-img-sizes, which is not given")
        return
    pairs = "Mixup and CutMix mix pairs" if augmentation.mixup or augmentation.cutmix else ""
    halves = "--resplit spares half of a batch" if augmentation.resplit else ""
    odd = [size for size in batch_sizes(sizes, options.optimizer.batch_size) if size % 2]
    if odd and (pairs or halves):
        raise UserError(f"--train-batch-sizes: {pairs or halves}, so {odd[0]} must be even")
