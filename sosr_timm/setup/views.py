"""Batches with several views of an image, or of several image sizes: which options they allow, and their batch norm."""

from __future__ import annotations

from torch import Tensor, nn

from sosr_timm.errors import UserError
from sosr_timm.losses.spec import LossSpec
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.sample_order import batch_sizes


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
    if options.model.split_bn and not (splits or augmentation.resplit):
        raise UserError("--split-bn: nothing splits the batch; add --aug-splits or --resplit")
    if options.model.split_bn and options.model.sync_bn:
        raise UserError("--split-bn cannot be combined with --sync-bn")
    if augmentation.resplit and not splits and batch_size % 2:
        raise UserError(f"--resplit: --batch-size {batch_size} has no halves: it must be even")
    if not splits:
        return
    if augmentation.no_aug:
        raise UserError("--aug-splits: with --no-aug all views of an image would be the same")
    if augmentation.mixup or augmentation.cutmix or augmentation.cutmix_minmax is not None:
        raise UserError("--aug-splits: Mixup and CutMix would mix views of different images; leave one of them out")
    if options.sizes.train_img_sizes is not None:
        raise UserError("--aug-splits cannot be combined with --train-img-sizes")


def _check_sizes(options: TrainOptions) -> None:
    sizes, augmentation = options.sizes, options.augmentation
    if sizes.train_img_sizes is None:
        for name in ("train_batch_sizes", "train_size_probs"):
            if getattr(sizes, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} needs --train-img-sizes")
        return
    pairs = "Mixup and CutMix mix pairs" if augmentation.mixup or augmentation.cutmix else ""
    halves = "--resplit spares half of a batch" if augmentation.resplit else ""
    odd = [size for size in batch_sizes(sizes, options.optimizer.batch_size) if size % 2]
    if odd and (pairs or halves):
        raise UserError(f"--train-batch-sizes: {pairs or halves}, so {odd[0]} must be even")


def with_splits(spec: LossSpec, splits: int) -> LossSpec:
    """The loss with the number of views that jsd compares.

    Raises:
        UserError: jsd without views, or for another number of them.
    """
    if spec.base.name != "jsd":
        return spec
    if not splits:
        raise UserError("the loss jsd compares views of an image: add --aug-splits 3 and, for instance, --aa augmix-m3")
    if "splits" in spec.base.given and spec.base.keywords["splits"] != splits:
        raise UserError(f"--aug-splits {splits} contradicts --loss {spec.base}")
    return LossSpec(spec.base.having(splits=splits), spec.penalties)


def with_split_batch_norm(model: nn.Module, options: TrainOptions) -> nn.Module:
    """The model with --split-bn: each view, or each half of the batch with --resplit, has its own batch norm."""
    if not options.model.split_bn:
        return model
    from timm.layers import convert_splitbn_model

    return convert_splitbn_model(model, max(options.augmentation.aug_splits, 2))


def without_split_batch_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without what only training with --split-bn uses: evaluation takes the first view's batch norm."""
    return {name: tensor for name, tensor in state.items() if ".aux_bn." not in name}
