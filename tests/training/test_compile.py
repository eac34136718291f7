"""--torchcompile: network and loss are one graph, the figures stay, and a resumed run is still exact."""

import pytest
import torch
from timm.task import ClassificationTask
from torch._dynamo.testing import CompileCounter

from sosr_timm.checkpoints.format import checkpoint_folders
from sosr_timm.losses import create_loss
from sosr_timm.setup.task import compile_step
from tests.training.harness import SMALL, TINY, assert_same_run, copy_until, only_run, tensors_of, train_here


def make_task(spec: str) -> ClassificationTask:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5))
    return ClassificationTask(network, criterion=create_loss(spec, num_classes=5), verbose=False)


@pytest.mark.parametrize("spec", ["ce+sosr(threshold=0.1)", "ols+sosr+maxsup+cp"])
@pytest.mark.parametrize("mixed", [False, True], ids=["index", "mixed"])
def test_network_and_loss_are_one_graph(spec, mixed):
    torch._dynamo.reset()
    plain, compiled, graphs = make_task(spec), make_task(spec), CompileCounter()
    compile_step(compiled, graphs, None)
    for task in (plain, compiled):
        task.criterion.set_progress(0.0)
    images = torch.randn(6, 3, 2, 2)
    target = torch.rand(6, 5).softmax(dim=1) if mixed else torch.arange(6) % 5
    for _ in range(2):
        results = [task(images, target)["loss"] for task in (plain, compiled)]
        torch.testing.assert_close(*results)
        for result in results:
            result.backward()
    assert graphs.frame_count == 1, "one graph, for training and with state that has come about on the way"
    parts = [task.criterion.parts for task in (plain, compiled)]
    assert parts[0].keys() == parts[1].keys()
    for name, part in parts[0].items():
        torch.testing.assert_close(parts[1][name], part)
    for one, two in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)
    graphs.clear()
    torch.testing.assert_close(compiled.get_eval_model()(images), plain.get_eval_model()(images))
    assert graphs.frame_count == 1, "evaluation is compiled too, without the loss"


def test_a_compiled_run_resumes_exactly(tmp_path):
    torch._dynamo.reset()
    arguments = [*SMALL, *TINY, "--loss", "ols+sosr(threshold=0.3)", "--epochs", "1", "--torchcompile", "eager"]
    arguments += ["--checkpoint-every", "5"]
    assert train_here(*arguments, "--output", tmp_path / "straight") == 0
    straight = only_run(tmp_path / "straight")
    name = sorted(path.name for path in checkpoint_folders(straight.checkpoints))[0]
    copy = copy_until(straight, name, tmp_path / "copy")
    assert train_here(*arguments, "--output", tmp_path / "copy", "--resume", "auto") == 0
    assert_same_run(straight, copy)
    assert not any("_orig_mod" in name for name in tensors_of(checkpoint_folders(copy.checkpoints)[0]))
