"""Views of an evaluation image: which they are, and that their mean is what is measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms import functional as F

from sosr_timm.data.loaders.worker_loader import EvaluationBatches
from sosr_timm.data.order.order import EvaluationOrder
from sosr_timm.data.transforms.image import ImageFormat, evaluation_transform
from sosr_timm.data.transforms.test_time_views import AveragedViews
from sosr_timm.training.evaluate import mean_over_views
from tests.data.images import array_source, picture

FORM = ImageFormat(3, 8, 8, (0.5,) * 3, (0.5,) * 3, "bilinear", 0.8, "center", "RGB")


def test_ten_views_are_torchvisions_ten_crops_in_pairs():
    transform = evaluation_transform(FORM)
    image = picture(size=(10, 10))
    resized = transform.transforms[0](image)
    assert resized.size == (10, 10)
    top_left, top_right, bottom_left, bottom_right, centre = F.five_crop(resized, [8, 8])
    views = AveragedViews(transform, 10)(image)
    for place, crop in enumerate((centre, top_left, top_right, bottom_left, bottom_right)):
        for view, expected in ((views[2 * place], crop), (views[2 * place + 1], F.hflip(crop))):
            assert np.array_equal(((view * 0.5 + 0.5) * 255).round().numpy().transpose(1, 2, 0), np.asarray(expected))
    assert torch.equal(views[0], transform(image))
    for count in (2, 5):
        assert torch.equal(AveragedViews(transform, count)(image), views[:count])


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(30, 10), (9, 24), (3, 3)])
def test_any_image_has_views_of_the_networks_size(mode, size):
    form = replace(FORM, crop_mode=mode)
    assert AveragedViews(evaluation_transform(form), 10)(picture(size=size)).shape == (10, 3, 8, 8)


@pytest.mark.parametrize("count", [-1, 1, 11])
def test_other_numbers_of_views_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} views of an image: 2 to 10"):
        AveragedViews(evaluation_transform(FORM), count)


def test_the_logits_of_an_image_are_the_mean_over_its_views():
    source, transform = array_source(6), AveragedViews(evaluation_transform(FORM), 4)
    batch = EvaluationBatches(source, transform, "RGB", EvaluationOrder(6, 6))[0]
    assert batch.images.shape == (24, 3, 8, 8) and batch.target.shape == (6,)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    logits = mean_over_views(model(batch.images), 6)
    for index in range(6):
        views = transform(source.load(index)[0])
        torch.testing.assert_close(logits[index], model(views).mean(dim=0))
    alone = EvaluationBatches(source, evaluation_transform(FORM), "RGB", EvaluationOrder(6, 6))[0]
    assert torch.equal(mean_over_views(model(alone.images), 6), model(alone.images))
