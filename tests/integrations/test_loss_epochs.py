"""A loop by hand with `LossEpochs` does what the plain loop does, and resumes exactly."""

import importlib
import sys

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from sosr_timm import ResumableSampler, create_loss
from sosr_timm.errors import UserError
from sosr_timm.integrations import LossEpochs
from tests.integrations.task import (
    BATCHES,
    CLASSES,
    COMBINATIONS,
    EPOCHS,
    SEED,
    Recorder,
    Samples,
    assert_same_state,
    batch_size,
    make_model,
    make_optimizer,
    plain_loop,
)


def train(folder, spec, killed=None, resume=None, wrap=lambda model: model, after_epochs=False):
    """A loop as anyone writes it, which saves after every batch, or after every epoch.

    Returns:
        the model, the loss and the parts of its batches.
    """
    model, loss, samples = make_model(), create_loss(spec, num_classes=CLASSES), Samples()
    recorder, optimizer, sampler = Recorder(loss), make_optimizer(model), ResumableSampler(samples, seed=SEED)
    epochs = LossEpochs(loss, EPOCHS)
    loader = DataLoader(samples, batch_size(), sampler=sampler, drop_last=True)
    if resume:
        stored = torch.load(resume)
        model.load_state_dict(stored["model"])
        epochs.load_state_dict(stored["loss"])
        sampler.load_state_dict(stored["sampler"])
    wrapped = wrap(model)

    def save():
        states = {"model": model.state_dict(), "loss": epochs.state_dict(), "sampler": sampler.state_dict()}
        torch.save(states, folder / f"{done}.pt")

    done = 0
    for epoch in range(sampler.epoch, EPOCHS):
        sampler.set_epoch(epoch)
        with epochs.epoch(epoch):
            for features, labels in loader:
                optimizer.zero_grad()
                loss(wrapped(features), labels).backward()
                optimizer.step()
                sampler.advance(len(labels))
                done += 1
                if not after_epochs:
                    save()
                if done == killed:
                    return model, loss, recorder.parts
        if after_epochs:
            save()
    return model, loss, recorder.parts


@pytest.mark.parametrize("spec", COMBINATIONS)
def test_two_epochs_equal_the_plain_loop(tmp_path, spec):
    model, loss, parts = train(tmp_path, spec)
    expected, plain_loss, plain_model = plain_loop(spec)
    assert parts == expected
    assert_same_state(loss, plain_loss)
    assert_same_state(model, plain_model)


@pytest.mark.parametrize(
    ("killed", "saved", "after_epochs"),
    [
        *((killed, killed, False) for killed in range(1, EPOCHS * BATCHES + 1)),
        (BATCHES + 2, BATCHES, True),
    ],
)
def test_a_run_that_was_killed_continues_exactly(tmp_path, killed, saved, after_epochs):
    train(tmp_path, COMBINATIONS[2], killed, after_epochs=after_epochs)
    model, loss, parts = train(tmp_path, COMBINATIONS[2], resume=tmp_path / f"{saved}.pt")
    expected, plain_loss, plain_model = plain_loop(COMBINATIONS[2])
    assert parts == expected[saved:]
    assert_same_state(loss, plain_loss)
    assert_same_state(model, plain_model)


def count(loss: nn.Module) -> torch.Tensor:
    """Let a loss see a batch in training; returns what OLS has counted."""
    loss((4 * torch.eye(CLASSES)).requires_grad_(), torch.arange(CLASSES))
    return loss.base.correct_count


def test_an_exception_does_not_end_the_epoch():
    loss = create_loss("ols", num_classes=CLASSES)
    with pytest.raises(ZeroDivisionError), LossEpochs(loss, 2).epoch(0):
        count(loss)
        1 / 0  # noqa: B018
    assert loss.base.correct_count.sum() == CLASSES


def test_an_epoch_ends_once():
    loss = create_loss("ols", num_classes=CLASSES)
    epochs = LossEpochs(loss, 2)
    with epochs.epoch(0):
        count(loss)
    soft_labels = loss.base.soft_labels.clone()
    epochs.end(0)
    assert loss.base.soft_labels.equal(soft_labels)
    assert soft_labels.argmax(dim=1).equal(torch.arange(CLASSES))


def test_the_schedule_goes_from_start_to_end():
    loss = create_loss("ce+maxsup(start=0.1, end=0.5)")
    weights = []
    for epochs in (LossEpochs(loss, 5), LossEpochs(loss, 1)):
        for epoch in range(epochs.epochs):
            with epochs.epoch(epoch):
                weights.append(loss.penalties["maxsup"].weight.item())
    assert weights == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.1])


def test_every_loss_of_a_module_is_found():
    heads = nn.ModuleDict({"coarse": create_loss("ols", num_classes=CLASSES), "fine": create_loss("ce+maxsup")})
    epochs = LossEpochs(heads, 2)
    with epochs.epoch(0):
        count(heads["coarse"])
    state = epochs.state_dict()
    assert "coarse.base.soft_labels" in state and "fine.penalties.maxsup.weight" in state
    others = nn.ModuleDict({"coarse": create_loss("ols"), "fine": create_loss("ce+maxsup")})
    LossEpochs(others, 2).load_state_dict(state)
    assert_same_state(others, heads)


def test_a_state_fits_a_compiled_loss_too():
    loss = create_loss("ols", num_classes=CLASSES)
    compiled = torch.compile(create_loss("ols"))
    count(loss)
    LossEpochs(compiled, 2).load_state_dict(LossEpochs(loss, 2).state_dict())
    assert compiled.base.correct_count.sum() == CLASSES
    LossEpochs(loss, 2).load_state_dict(LossEpochs(compiled, 2).state_dict())


def test_a_state_is_a_copy():
    loss = create_loss("ols", num_classes=CLASSES)
    state = LossEpochs(loss, 2).state_dict()
    count(loss)
    assert state["base.correct_count"].sum() == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="CrossEntropyLoss contains no loss made by create_loss"):
        LossEpochs(nn.CrossEntropyLoss(), 2)
    epochs = LossEpochs(create_loss("ols", num_classes=CLASSES), 2)
    with pytest.raises(ValueError, match="not saved by LossEpochs"):
        epochs.load_state_dict({})
    with pytest.raises(ValueError, match=r"saved with another loss than ols\(.*penalties.maxsup.weight"):
        epochs.load_state_dict(LossEpochs(create_loss("ce+maxsup"), 2).state_dict())


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_a_missing_framework_is_named_with_its_extra(name, monkeypatch):
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"sosr_timm.integrations.{name}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"pip install 'sosr-timm\[{name}\]'"):
        importlib.import_module(f"sosr_timm.integrations.{name}")
