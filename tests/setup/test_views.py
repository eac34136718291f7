"""--aug-splits, --jsd-loss, --split-bn, --resplit, --train-img-sizes: what they build, what does not fit together."""

import pytest
import torch
from timm.layers import SplitBatchNorm2d
from timm.loss import JsdCrossEntropy

from sosr_timm.checkpoints.run_folder import claim_folder
from sosr_timm.distributed.processes import start_processes
from sosr_timm.errors import UserError
from sosr_timm.options.load import load
from sosr_timm.options.train import TrainOptions
from sosr_timm.setup.stored_run import find_run, models_of_run
from sosr_timm.training.build import build_run
from tests.training.harness import SMALL, only_run, read_lines_of, train_here

VIEWS = ("--aug-splits", "3", "--aa", "augmix-m3-w1", "--in-chans", "3", "--input-img-mode", "RGB")


def build(tmp_path, *arguments):
    options = load(TrainOptions, [*SMALL, *map(str, arguments)]).options
    return build_run(options, start_processes(), claim_folder(tmp_path, "run"))


def refusal(tmp_path, *arguments):
    with pytest.raises(UserError) as caught:
        build(tmp_path, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_loss_over_views_is_timms(tmp_path):
    run = build(tmp_path, "--jsd-loss", *VIEWS, "--smoothing", "0.1", "--split-bn")
    assert run.loss.full_form == "jsd(smoothing=0.1, splits=3)"
    batch = next(run.batches())
    assert batch.images.shape == (24, 3, 8, 8) and torch.equal(batch.target[:8], batch.target[16:])
    logits = run.model(batch.images)
    torch.testing.assert_close(run.loss(logits, batch.target), JsdCrossEntropy(3, smoothing=0.1)(logits, batch.target))
    norms = [module for module in run.model.modules() if isinstance(module, SplitBatchNorm2d)]
    assert norms and all(norm.num_splits == 3 for norm in norms)
    trained = {id(parameter) for group in run.optimizer.param_groups for parameter in group["params"]}
    assert all(id(parameter) in trained for norm in norms for parameter in norm.aux_bn.parameters())


def test_a_run_with_split_batch_norm_is_evaluated_without_it(tmp_path):
    arguments = ["--resplit", "--split-bn", "--reprob", "0.5", "--epochs", "1", "--model-ema", "--output", tmp_path]
    assert train_here(*SMALL, *arguments) == 0
    networks = models_of_run(find_run(str(only_run(tmp_path).path), "last"), False)
    for network in networks.values():
        assert not any(isinstance(module, SplitBatchNorm2d) for module in network.modules())
    assert len(networks) == 2


def test_batches_of_several_sizes_reach_the_network_weighed_as_asked(tmp_path):
    arguments = ["--train-img-sizes", "8", "16", "--train-batch-sizes", "8", "2", "--variable-batch-loss-scale", "sqrt"]
    run = build(tmp_path, *arguments, "--train-steps-per-epoch", "9")
    batches = [next(stream) for stream in [run.batches()] for _ in range(9)]
    shapes = {tuple(batch.images.shape) for batch in batches}
    assert shapes == {(8, 1, 8, 8), (2, 1, 16, 16)}
    scales = {len(batch.images): run.loss_scale(batch) for batch in batches}
    assert scales == {8: 1.0, 2: 0.5}
    run.progress.update = 4
    assert run.samples_of_last(3) == sum(len(batch.images) for batch in batches[1:4])
    assert run.updates_per_epoch == 9
    plain = build(tmp_path, "--variable-batch-loss-scale", "linear", *VIEWS)
    assert plain.loss_scale(next(plain.batches())) == 1.0


def test_the_weight_scales_the_gradient_not_the_logged_loss(tmp_path):
    losses = {}
    for scale in ("none", "linear"):
        arguments = ["--train-img-sizes", "8", "--train-batch-sizes", "4", "--variable-batch-loss-scale", scale]
        arguments += ["--opt", "momentum", "--lr", "0.1", "--momentum", "0", "--epochs", "1", "--log-interval", "1"]
        lr = "0.1" if scale == "linear" else "0.05"
        assert train_here(*SMALL, *arguments, "--lr", lr, "--weight-decay", "0", "--output", tmp_path / scale) == 0
        records = read_lines_of(only_run(tmp_path / scale))
        losses[scale] = [record["loss"] for record in records if record["kind"] == "train"]
    assert len(losses["none"]) == 14
    assert losses["none"] == pytest.approx(losses["linear"], rel=1e-4), "half the weight at twice the rate is the same"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--jsd-loss", "the loss jsd compares views of an image: add --aug-splits 3"),
        ("--loss jsd", "the loss jsd compares views"),
        ("--loss jsd(splits=2) --aug-splits 3 --aa augmix", "--aug-splits 3 contradicts --loss jsd("),
        ("--loss sosr --jsd-loss --aug-splits 3", "--jsd-loss contradicts the loss 'sosr', whose base is ce"),
        ("--aug-splits 1", "--aug-splits must be 0 or from 2 to 16, not 1"),
        ("--aug-splits 2 --mixup 0.5", "--aug-splits: Mixup and CutMix would mix views"),
        ("--aug-splits 2 --no-aug", "--aug-splits: with --no-aug all views"),
        ("--aug-splits 2", "augmentation: all views of an image would be the same: give --aa, or --reprob"),
        ("--aug-splits 2 --train-img-sizes 8", "--aug-splits cannot be combined with --train-img-sizes"),
        ("--split-bn", "--split-bn: nothing splits the batch"),
        ("--split-bn --aug-splits 2 --sync-bn", "--split-bn cannot be combined with --sync-bn"),
        ("--resplit --batch-size 7", "--resplit: --batch-size 7 has no halves"),
        ("--aug-repeats 0.5", "--aug-repeats must be 0 or from 1 to 1,000, not 0.5"),
        ("--epoch-repeats -1", "--epoch-repeats must be 0 or from 1 to 10,000, not -1.0"),
        ("--train-steps-per-epoch 0", "--train-steps-per-epoch must be from 1 to 10,000,000, not 0"),
        ("--train-batch-sizes 8", "--train-batch-sizes needs --train-img-sizes"),
        ("--train-img-sizes 8 16 --train-batch-sizes 8", "--train-batch-sizes has 1 values, --train-img-sizes 2"),
        ("--train-img-sizes 8 16 --train-size-probs 1", "--train-size-probs has 1 values, --train-img-sizes 2"),
        ("--train-img-sizes 8 0", "each value of --train-img-sizes must be from 1 to 8,192, not 0"),
        ("--train-img-sizes 8 --train-size-schedule progressive", "--train-img-sizes: A progressive schedule requires"),
        (
            "--train-img-sizes 8 --train-batch-sizes 5 --cutmix 1",
            "--train-batch-sizes: Mixup and CutMix mix pairs",
        ),
        ("--train-img-sizes 8 --train-batch-sizes 99", "--train-img-sizes: No full scheduled batch fits"),
        ("--loader device --aug-repeats 3", "--loader device: --aug-repeats brings an image several times"),
        ("--loader device --train-img-sizes 8", "--loader device: --train-img-sizes is made image by image"),
        ("--loader device --aug-splits 2 --reprob 0.5", "--loader device: --aug-splits is made image by image"),
    ],
)
def test_what_does_not_go_together_is_refused_with_one_line(arguments, said, tmp_path):
    assert refusal(tmp_path, *arguments.split()).startswith(said)
