"""--dry-run says what the run would do, tries it, and leaves nothing behind."""

import pytest
import torch
from torch import nn

from sosr_timm.distributed.determinism import set_backends
from sosr_timm.errors import UserError
from sosr_timm.text import rate
from sosr_timm.training import dry_run as dry_run_module
from sosr_timm.training.memory import (
    Estimate,
    available_memory,
    bytes_of,
    bytes_of_optimizer,
    count_saved,
    estimate_memory,
)
from sosr_timm.training.plan import BARS
from tests.training.harness import SMALL, build_here, train_here, train_processes


def dry_run(tmp_path, capsys, *arguments):
    code = train_here(*SMALL, "--dry-run", "--output", tmp_path / "runs", *arguments)
    assert code == 0
    assert not (tmp_path / "runs").exists()
    return capsys.readouterr().out


def test_the_plan_names_data_model_loss_and_length(tmp_path, capsys):
    text = dry_run(tmp_path, capsys, "--loss", "sosr", "--grad-accum-steps", "2")
    assert "56 for training, 40 for evaluation" in text
    assert "cifar_resnet20, 272,186 parameters" in text
    assert "ce(smoothing=0.0)+sosr(threshold=0.99, beta=0.5)" in text
    assert "16 samples: 8 per process x 1 process x 2 batches" in text
    assert "2 epochs (0 to 1) of 4 updates, 8 in all" in text
    assert "nothing was written" in text


def test_two_updates_are_those_of_the_run(tmp_path, capsys):
    text = dry_run(tmp_path, capsys, "--loss", "sosr", "--loader", "workers", "--mixup", "0.2")
    planned = [line for line in text.splitlines() if line.split()[:1] == ["loss"]][-1].split()[1:]
    assert "made by this process" in text
    train_here(
        *SMALL, "--loss", "sosr", "--loader", "workers", "--mixup", "0.2", "--log-interval", "1", "--output", tmp_path
    )
    trained = [
        line.split("loss ")[1].split()[0]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("epoch") and "  update " in line
    ]
    assert [word.strip(",") for word in planned] == trained[:2]


@pytest.mark.parametrize(
    ("arguments", "makers"),
    [
        ((), "made on the device"),
        (("--crop-pct", "0.5"), "made on the device, those of evaluation by this process"),
        (("--loader", "workers"), "made by this process"),
    ],
)
def test_it_says_who_makes_the_batches(tmp_path, capsys, arguments, makers):
    lines = dry_run(tmp_path, capsys, *arguments).splitlines()
    assert [line.split("batches", 1)[1].strip() for line in lines if line.split()[:1] == ["batches"]] == [makers]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "0.1: timm's default without --loss"),
        (("--bce-loss",), "0.1: timm's default without --loss"),
        (("--loss", "ce"), "0: --loss is taken as written; timm's default of 0.1 is for runs without --loss"),
        (("--loss", "ls"), "0.1: --loss says so"),
        (("--loss", "ce", "--smoothing", "0.2"), "0.2: --smoothing"),
        (("--loss", "ce(smoothing=0.3)"), "0.3: --loss says so"),
        (("--loss", "sosr"), "0: not asked for"),
    ],
)
def test_it_says_where_smoothing_comes_from(tmp_path, capsys, arguments, expected):
    assert expected in dry_run(tmp_path, capsys, *arguments)


def test_the_learning_rate_is_shown_for_the_whole_run(tmp_path, capsys):
    schedule = ("--epochs", "100", "--sched", "multistep", "--decay-milestones", "51", "76", "--decay-rate", "0.1")
    text = dry_run(tmp_path, capsys, *schedule)
    (curve,) = (word for line in text.splitlines() for word in line.split() if set(word) <= set(BARS))
    assert curve == BARS[7] * 30 + BARS[1] * 15 + BARS[0] * 15
    assert "0.05 (0)" in text and "0.0005 (99)" in text


def test_memory_is_counted(tmp_path, capsys):
    text = dry_run(tmp_path, capsys, "--model-ema", "--opt", "adamw")
    sizes = {line.strip().rsplit("  ", 1)[0].strip(): line for line in text.splitlines() if " MB" in line}
    assert {"weights", "gradients", "optimizer", "EMA", "saved for the backward pass"} <= set(sizes)
    assert " 2.2 MB" in sizes["optimizer"]  # two moments for each of the 272,186 parameters


def test_saved_tensors_are_counted_once_and_without_weights():
    layer, images = nn.Linear(3, 5), torch.randn(7, 3)
    with count_saved(layer.parameters()) as saved:
        hidden = layer(images)
        total = hidden.exp() + hidden.sigmoid() * hidden
    # The images for the layer; exp and sigmoid save their results, the product both of its factors.
    assert saved.bytes == bytes_of([images, hidden, hidden, hidden])
    total.sum().backward()
    assert layer.weight.grad is not None


def test_it_does_not_resume(tmp_path):
    with pytest.raises(UserError, match="--dry-run plans a new run"):
        train_here(*SMALL, "--dry-run", "--resume", "auto", "--output", tmp_path)


@pytest.mark.slow
def test_two_processes_make_a_plan_together(tmp_path):
    ended = train_processes(*SMALL, "--dry-run", "--output", tmp_path / "runs", processes=2)
    assert ended.returncode == 0, ended.stderr
    assert "16 samples: 8 per process x 2 processes x 1 batch" in ended.stdout
    assert ended.stdout.count("nothing was written") == 1
    assert not (tmp_path / "runs").exists()


def test_deterministic_algorithms_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        assert train_here(*SMALL, "--dry-run", "--deterministic", "--output", tmp_path / "runs") == 0
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        assert not torch.backends.cuda.matmul.allow_tf32
    finally:
        set_backends(deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark


def test_the_estimate_comes_before_the_updates_and_agrees_with_what_they_need(tmp_path, capsys):
    text = dry_run(tmp_path, capsys, "--model-ema", "--opt", "adamw", "--batch-size", "28")
    estimated, measured = text.index("estimated"), text.index("measured")
    assert text.index("\nplan") < estimated < measured if "\nplan" in text else estimated < measured

    def numbers(block: str) -> dict[str, float]:
        lines = [line.strip().rsplit("  ", 1) for line in block.splitlines() if line.rstrip().endswith(" MB")]
        return {name.strip(): float(size.removesuffix(" MB").replace(",", "")) for name, size in lines}

    before, after = numbers(text[estimated:measured]), numbers(text[measured:])
    assert {"weights", "gradients", "optimizer", "EMA", "saved for the backward pass"} <= set(after) <= set(before)
    for name, size in after.items():
        assert before[name] == pytest.approx(size, rel=0.05, abs=0.2), name


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw", "adafactor", "lamb", "lion", "rmsproptf"])
def test_the_state_of_an_optimizer_is_known_before_its_first_step(optimizer, tmp_path):
    run = build_here(tmp_path, *SMALL, "--opt", optimizer)
    expected = bytes_of_optimizer(run.optimizer.optimizer)
    assert not run.optimizer.state, "the optimizer itself must not have stepped"
    for parameter in run.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    state = [value for entry in run.optimizer.state.values() for value in entry.values()]
    assert expected == bytes_of(value for value in state if isinstance(value, torch.Tensor))


def test_an_optimizer_that_cannot_step_on_nothing_counts_as_two_tensors_for_each_parameter():
    class Reads(torch.optim.Optimizer):
        def __init__(self, parameters):
            super().__init__(parameters, {})

        def step(self, closure=None):
            return self.param_groups[0]["params"][0].grad.sum().item()

    assert bytes_of_optimizer(Reads([nn.Parameter(torch.zeros(10))])) == 80


def test_an_estimate_changes_nothing(tmp_path):
    run = build_here(tmp_path, *SMALL, "--drop", "0.2", "--aug-splits", "2", "--split-bn", "--aa", "augmix-m3-w1")
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    assert estimate_memory(run).batch == 16
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())
    assert all(parameter.grad is None for parameter in run.model.parameters())


def test_updates_that_cannot_fit_are_refused_with_a_batch_size_that_fits(tmp_path, monkeypatch, capsys):
    run = build_here(tmp_path / "one", *SMALL, "--batch-size", "28")
    estimate = estimate_memory(run)
    half = Estimate(estimate.present, estimate.fixed, estimate.per_sample, 14)
    monkeypatch.setattr(dry_run_module, "available_memory", lambda device: half.needed() + 1)
    monkeypatch.setattr(dry_run_module, "try_updates", lambda run: pytest.fail("tried"))
    expected = r"two updates need about .* MB are available: --batch-size 14 --grad-accum-steps 2 fit"
    with pytest.raises(UserError, match=expected):
        train_here(*SMALL, "--batch-size", "28", "--dry-run", "--output", tmp_path)
    assert "estimated" in capsys.readouterr().out
    monkeypatch.setattr(dry_run_module, "available_memory", lambda device: 1000)
    with pytest.raises(UserError, match=r"no batch fits; try --grad-checkpointing"):
        train_here(*SMALL, "--batch-size", "28", "--dry-run", "--output", tmp_path)


def test_the_memory_of_the_machine_is_shared_by_its_processes(monkeypatch, tmp_path):
    alone = available_memory(torch.device("cpu"))
    assert alone > 50_000_000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_memory(torch.device("cpu")) == pytest.approx(alone / 4, rel=0.5)
    limit, used = tmp_path / "limit", tmp_path / "used"
    limit.write_text("1000000\n")
    used.write_text("200000\n")
    monkeypatch.setattr("sosr_timm.training.memory.CGROUPS", ((str(limit), str(used)),))
    assert available_memory(torch.device("cpu")) == 200_000
    limit.write_text("max\n")
    assert available_memory(torch.device("cpu")) > 10_000_000
    assert available_memory(torch.device("meta")) is None


@pytest.mark.parametrize(
    ("per_second", "expected"), [(1576.2, "1,576 images/s"), (12.4, "12 images/s"), (0.034, "0.034 images/s")]
)
def test_a_slow_speed_is_not_said_to_be_nothing(per_second, expected):
    assert rate(per_second) == expected
