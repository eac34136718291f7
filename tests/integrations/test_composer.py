"""Composer with the callback of docs/integrations.md does what the plain loop does, and resumes exactly.

Composer asks for older versions of torch and NumPy than the other tests, so no extra installs it: these tests run where
it is installed.
"""

from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader

from sosr_timm import create_loss
from tests.integrations.page import scripts
from tests.integrations.task import (
    BATCH,
    BATCHES,
    CLASSES,
    COMBINATIONS,
    EPOCHS,
    SEED,
    Recorder,
    Samples,
    assert_same_state,
    make_model,
    make_optimizer,
    plain_loop,
)

composer = pytest.importorskip("composer")


@pytest.fixture(scope="module")
def page():
    """What the page's script defines: its callback and its sampler."""
    (text,) = (text for text in scripts().values() if "composer.Callback" in text)
    namespace: dict = {}
    exec(compile(text.split("digits = ")[0], "docs/integrations.md", "exec"), namespace)
    return SimpleNamespace(**namespace)


class Classifier(composer.ComposerModel):
    def __init__(self, criterion):
        super().__init__()
        self.model, self.criterion = make_model(), [criterion]

    def forward(self, batch):
        return self.model(batch[0])

    def loss(self, outputs, batch):
        return self.criterion[0](outputs, batch[1])


class Stop(composer.Callback):
    """Ends the run as a crash does, after a number of batches."""

    def __init__(self, batches):
        self.batches = batches

    def batch_start(self, state, logger):
        if int(state.timestamp.batch) == self.batches:
            raise ConnectionAbortedError


def fit(folder, spec, page, *callbacks, resume=None):
    loss = create_loss(spec, num_classes=CLASSES)
    recorder, model = Recorder(loss), Classifier(loss)
    sampler = page.OrderedSampler(Samples(), seed=SEED)
    trainer = composer.Trainer(
        model=model,
        train_dataloader=DataLoader(Samples(), BATCH, sampler=sampler, drop_last=True),
        optimizers=make_optimizer(model),
        max_duration=f"{EPOCHS}ep",
        callbacks=[page.LossCallback(loss, EPOCHS), *callbacks],
        device="cpu",
        progress_bar=False,
        save_folder=str(folder) if callbacks else None,
        save_interval="1ba",
        load_path=str(resume) if resume else None,
        load_weights_only=False,
    )
    try:
        trainer.fit()
    except ConnectionAbortedError:
        assert callbacks
    finally:
        trainer.close()
    return model.model, loss, recorder.parts


@pytest.mark.parametrize("spec", COMBINATIONS)
def test_two_epochs_equal_the_plain_loop(tmp_path, page, spec):
    model, loss, parts = fit(tmp_path, spec, page)
    expected, plain_loss, plain_model = plain_loop(spec)
    assert parts == expected
    assert_same_state(loss, plain_loss)
    assert_same_state(model, plain_model)


@pytest.mark.parametrize("killed", [2, BATCHES, BATCHES + 1])
def test_a_run_that_was_killed_continues_exactly(tmp_path, page, killed):
    spec = COMBINATIONS[2]
    fit(tmp_path, spec, page, Stop(killed))
    (checkpoint,) = tmp_path.glob(f"ep*-ba{killed}-rank0.pt")
    model, loss, parts = fit(tmp_path, spec, page, resume=checkpoint)
    expected, plain_loss, plain_model = plain_loop(spec)
    assert parts == expected[killed:]
    assert_same_state(loss, plain_loss)
    assert_same_state(model, plain_model)
