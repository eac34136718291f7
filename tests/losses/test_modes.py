"""Training after somebody used a loss under `torch.inference_mode`, in this thread or another, larger or smaller."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sosr_timm.kernels import use_kernel
from sosr_timm.losses import create_loss
from tests.losses.cases import OURS, batch, targets_of


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    """The working memory that the CPU kernel has kept from other tests is gone."""
    monkeypatch.setattr("sosr_timm.kernels.scratch.KEPT", threading.local())


def train(loss, rows=6, seed=0):
    """Two training batches and what comes between epochs; the gradient of the second."""
    for progress in (0.0, 1.0):
        loss.set_progress(progress)
        logits, index, _ = batch(rows, dtype=torch.float32, seed=seed)
        loss(logits.requires_grad_(), index).backward()
        loss.end_epoch()
    return logits.grad


def evaluate(loss, rows):
    logits, index, dense = batch(rows, dtype=torch.float32)
    for target in targets_of(loss.full_form, index, dense):
        loss(logits, target)


MODES = {"inference_mode": torch.inference_mode, "no_grad": torch.no_grad}


@pytest.mark.parametrize("kernel", ["cpu", "plain"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", [2, 6, 50])
@pytest.mark.parametrize("spec", OURS)
def test_training_after_an_evaluation(spec, rows, mode, kernel):
    expected = train(create_loss(spec))
    loss = create_loss(spec)
    with use_kernel(kernel):
        with MODES[mode]():
            evaluate(loss, rows)
        torch.testing.assert_close(train(loss), expected)


@pytest.mark.parametrize("spec", OURS)
def test_the_life_of_a_loss_under_inference_mode(spec):
    expected = train(create_loss(spec))
    with torch.inference_mode():
        loss = create_loss(spec, num_classes=5)
        loaded = create_loss(spec)
        loaded.load_state_dict(loss.state_dict())
        moved = copy.deepcopy(create_loss(spec, num_classes=5)).to("meta").to_empty(device="cpu")
        moved.load_state_dict(loss.state_dict())
        for each in (loss, loaded, moved):
            each.set_progress(0.3)
            each.end_epoch()
    for each in (loss, loaded, moved):
        torch.testing.assert_close(train(each), expected)


def test_one_thread_evaluates_and_another_trains():
    expected = train(create_loss("ols+sosr+maxsup+cp"))

    def evaluation(rows):
        with torch.inference_mode():
            evaluate(create_loss("ols+sosr+maxsup+cp"), rows)

    loss = create_loss("ols+sosr+maxsup+cp")
    with ThreadPoolExecutor(1) as evaluating, ThreadPoolExecutor(1) as training:
        for rows in (50, 6):
            evaluating.submit(evaluation, rows).result()
            torch.testing.assert_close(training.submit(train, copy.deepcopy(loss)).result(), expected)
        torch.testing.assert_close(evaluating.submit(train, loss).result(), expected)


def test_a_loop_in_the_style_of_torchvision():
    """Its evaluation runs under inference_mode, with larger batches and a smaller last one; training goes on."""
    torch.manual_seed(0)
    model, criterion = torch.nn.Linear(3, 5), create_loss("ols+sosr(threshold=0.3)+maxsup+cp")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    images, labels = torch.randn(40, 3), torch.randint(5, (40,))
    for epoch in range(3):
        criterion.set_progress(epoch / 2)
        model.train()
        for rows in torch.arange(40).split(8):
            optimizer.zero_grad()
            criterion(model(images[rows]), labels[rows]).backward()
            optimizer.step()
        counted = criterion.base.correct_count.clone()
        model.eval()
        with torch.inference_mode():
            for rows in torch.arange(40).split(24):
                assert criterion(model(images[rows]), labels[rows]).isfinite()
        assert torch.equal(criterion.base.correct_count, counted)
        criterion.end_epoch()


@pytest.mark.parametrize("training", [True, False])
def test_compiled_and_validated_before_the_first_epoch(training):
    torch._dynamo.reset()
    expected = train(create_loss("ols+maxsup"))
    loss = create_loss("ols+maxsup").train(training)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    logits, index, _ = batch(dtype=torch.float32)
    with torch.inference_mode():
        compiled(logits, index)
    loss.train()
    for progress in (0.0, 1.0):
        loss.set_progress(progress)
        logits.requires_grad_().grad = None
        compiled(logits, index).backward()
        loss.end_epoch()
    torch.testing.assert_close(logits.grad, expected)
