"""A forgotten end_epoch or set_progress is noticed, once; a loop that calls them hears nothing."""

import copy
import pickle
import warnings

import pytest
import torch
from timm.task import ClassificationTask
from torch._dynamo.testing import CompileCounterWithBackend

from sosr_timm.losses import create_loss, reminder
from tests.losses.cases import batch
from tests.training.harness import SMALL, train_here

END_EPOCH = r"ols: .*end_epoch\(\) was never called.*Call loss\.end_epoch\(\) after each pass"
SET_PROGRESS = r"maxsup: set_progress\(\) was never called.*Call loss\.set_progress\(epoch / \(epochs - 1\)\)"


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def train(loss, batches=3, rows=6):
    logits, index, _ = batch(rows, dtype=torch.float32)
    for _ in range(batches):
        loss(logits.requires_grad_(), index).backward()


def evaluate(loss):
    logits, index, _ = batch(dtype=torch.float32)
    with torch.no_grad():
        loss(logits, index)


def switched(loss):
    loss.eval()
    evaluate(loss)
    loss.train()


@pytest.mark.parametrize("evaluation", [evaluate, switched, torch.nn.Module.eval, torch.nn.Module.train])
def test_soft_labels_without_end_epoch(evaluation):
    loss = create_loss("ols+sosr")
    train(loss)
    evaluation(loss)
    loss.train()
    with pytest.warns(UserWarning, match=END_EPOCH):
        train(loss, 1)
    for _ in range(3):  # it is said once
        evaluation(loss)
        loss.train()
        train(loss)


def test_a_task_of_timm():
    task = ClassificationTask(torch.nn.Linear(3, 5), criterion_kwargs={"loss_type": "ols"}, verbose=False)
    images, target = torch.randn(4, 3), torch.randint(5, (4,))
    for _ in range(3):
        task.train()
        task(images, target)["loss"].backward()
    for _ in range(2):
        task(images, target)["loss"].backward()
    task.train()
    with pytest.warns(UserWarning, match=END_EPOCH):
        task(images, target)["loss"].backward()


def test_a_loop_without_any_evaluation(monkeypatch):
    monkeypatch.setattr(reminder, "MANY_BATCHES", 10)
    loss = create_loss("ols")
    train(loss, 10)
    with pytest.warns(UserWarning, match="ols: more than 10 training batches, and end_epoch"):
        train(loss, 1)


def test_a_loop_that_stops_calling_end_epoch():
    loss = create_loss("ols")
    for _ in range(3):
        train(loss, 5)
        loss.end_epoch()
    train(loss, 10)
    with pytest.warns(UserWarning, match=r"66 samples in a pass, after passes of at most 30, and end_epoch"):
        train(loss, 1)


@pytest.mark.parametrize("evaluate_first", [False, True])
def test_a_loop_that_calls_them_hears_nothing(evaluate_first):
    loss = create_loss("ols+maxsup")
    evaluate(loss)  # before the first epoch, as Lightning does
    for epoch in range(4):
        loss.train()
        loss.set_progress(epoch / 3)
        # The first pass is the rest of one that was stopped; the others do not all have the same length.
        train(loss, [1, 10, 8, 12][epoch])
        if evaluate_first:
            switched(loss)
            evaluate(loss)
        loss.end_epoch()
        if not evaluate_first:
            switched(loss)


def test_an_evaluation_in_the_middle_is_no_end_once_end_epoch_was_called():
    loss = create_loss("ols")
    loss.end_epoch()
    for _ in range(3):
        train(loss)
        switched(loss)
        train(loss)
        loss.end_epoch()


def test_train_before_each_batch_is_no_end_of_a_pass():
    loss = create_loss("ols")
    for _ in range(20):
        loss.train()
        train(loss, 1)


def test_a_schedule_without_progress():
    loss = create_loss("maxsup")
    train(loss, 1)
    evaluate(loss.eval())
    loss.train()
    loss = create_loss("maxsup")
    train(loss, 1)
    with pytest.warns(UserWarning, match=SET_PROGRESS):
        train(loss, 1)
    train(loss, 5)


def test_rising_label_smoothing_without_progress():
    loss = create_loss("ls(end=0.2)")
    train(loss, 1)
    with pytest.warns(UserWarning, match=r"ce: set_progress\(\) was never called"):
        train(loss, 1)


def test_no_schedule_needs_no_progress():
    train(create_loss("maxsup(start=0.1, end=0.1)"), 5)
    train(create_loss("ls(end=0.1)"), 5)
    loss = create_loss("maxsup")
    loss.set_progress(0.0)
    train(loss, 5)


def test_evaluation_alone_needs_nothing():
    loss = create_loss("ols+maxsup")
    for _ in range(3):
        evaluate(loss)
        switched(loss)


@pytest.mark.parametrize("spec", ["ce+sosr+cp", "bce", "maxsup(start=0.1, end=0.1)"])
def test_terms_that_need_no_calls_have_no_reminder(spec):
    assert create_loss(spec).reminder is None


def test_switched_off():
    loss = create_loss("ols+maxsup")
    loss.reminder = None
    for _ in range(3):
        train(loss)
        switched(loss)
        loss.end_epoch()


def test_copies_keep_what_was_seen():
    loss = create_loss("ols")
    train(loss)
    evaluate(loss)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        with pytest.warns(UserWarning, match=END_EPOCH):
            train(other, 1)


def test_compiled_it_notices_at_the_evaluation_and_compiles_once():
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    loss = create_loss("ols+maxsup", num_classes=5)
    compiled = torch.compile(loss, fullgraph=True, backend=counter)
    train(compiled)
    compiled_at_first = counter.frame_count
    with pytest.warns(UserWarning, match=SET_PROGRESS):
        loss.eval()
    loss.train()
    train(compiled)
    with pytest.warns(UserWarning, match=END_EPOCH):
        loss.eval()
    loss.train()
    for epoch in range(3):
        loss.set_progress(epoch / 2)
        train(compiled)
        loss.end_epoch()
    assert counter.frame_count == compiled_at_first


def test_the_loop_of_this_package_hears_nothing(tmp_path):
    arguments = [*SMALL, "--loss", "ols+maxsup", "--epochs", "3", "--val-interval", "2", "--output", str(tmp_path)]
    assert train_here(*arguments) == 0


def test_compiled_and_called_it_is_silent():
    torch._dynamo.reset()
    loss = create_loss("ols+maxsup")
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for epoch in range(3):
        loss.set_progress(epoch / 2)
        loss.train()
        train(compiled)
        loss.eval()
        evaluate(compiled)
        loss.end_epoch()
