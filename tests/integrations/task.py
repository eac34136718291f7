"""A task of a few samples, and the plain loop that every trainer is compared with."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from sosr_timm import create_loss
from sosr_timm.data.order.order import TrainingOrder

SAMPLES, FEATURES, CLASSES = 53, 6, 4
BATCH, EPOCHS, SEED = 8, 2, 7
BATCHES = SAMPLES // BATCH
COMBINATIONS = ["ols+sosr(threshold=0.5)", "ce+maxsup", "ols+sosr(threshold=0.5)+maxsup"]


def batch_size() -> int:
    """Samples of a batch in each process: the global batch is the same for any number of them."""
    return BATCH // (dist.get_world_size() if dist.is_initialized() else 1)


class Samples(torch.utils.data.Dataset):
    """Features and labels that a linear model learns in part, as tuples or as the dictionaries of transformers."""

    def __init__(self, names: tuple[str, str] | None = None):
        generator = torch.Generator().manual_seed(1)
        self.features = torch.randn(SAMPLES, FEATURES, generator=generator)
        self.labels = (self.features[:, :CLASSES] + torch.randn(SAMPLES, CLASSES, generator=generator)).argmax(dim=1)
        self.names = names

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int):
        pair = self.features[index], self.labels[index]
        return pair if self.names is None else dict(zip(self.names, pair, strict=True))


def make_model() -> nn.Linear:
    model = nn.Linear(FEATURES, CLASSES)
    with torch.no_grad():
        model.weight.copy_(torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(2)))
        model.bias.zero_()
    return model


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.5)


class Recorder:
    """The parts of every training batch that a loss sees."""

    def __init__(self, loss: nn.Module):
        self.parts: list[dict[str, float]] = []
        loss.register_forward_hook(self._record)

    def _record(self, loss: nn.Module, inputs: object, value: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            self.parts.append({name: part.item() for name, part in loss.parts.items()})


def plain_loop(spec: str, epochs: int = EPOCHS) -> tuple[list[dict[str, float]], nn.Module, nn.Module]:
    """Two epochs by hand, with nothing of `sosr_timm.integrations`.

    Returns:
        the parts of each batch, the loss and the model as they ended.
    """
    samples, model, loss = Samples(), make_model(), create_loss(spec, num_classes=CLASSES)
    optimizer, recorder = make_optimizer(model), Recorder(loss)
    order = TrainingOrder(SAMPLES, BATCH, seed=SEED)
    for epoch in range(epochs):
        loss.set_progress(epoch / max(1, epochs - 1))
        for key in order.keys(epoch, 0, epoch + 1):
            indices = list(key.indices)
            optimizer.zero_grad()
            loss(model(samples.features[indices]), samples.labels[indices]).backward()
            optimizer.step()
        loss.end_epoch()
    return recorder.parts, loss, model


def assert_same_state(found: nn.Module, expected: nn.Module, **tolerance: float) -> None:
    """Two modules have the same state, to the last bit without a tolerance."""
    one, two = found.state_dict(), expected.state_dict()
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=name)
