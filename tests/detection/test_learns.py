"""A detector learns: items of Fashion-MNIST on textured canvases, from random weights, in minutes."""

import pytest

from sosr_timm.results import load_result
from tests.detection.harness import build_here, detect
from tests.training.harness import only_run
from tools.fashion_scenes import CLASS_MAP, write_scenes

OPTIONS = (
    *("--class-map", CLASS_MAP, "--model", "resnet10t", "--no-pretrained", "--no-freeze-bn"),
    *("--model-kwargs", "channels=(32,64,128,256)", "--pyramid-channels", "64", "--min-side", "96", "--max-side", "96"),
    *("--batch-size", "4", "--lr", "5e-4", "--clip-grad", "5", "--sched", "cosine", "--epochs", "5", "--workers", "0"),
)


def test_the_same_arguments_give_the_same_scenes(tmp_path):
    for name in ("one", "two"):
        write_scenes(tmp_path / name, seed=3, train=4, test=2)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 2 * 6 + 3 + 1
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_map_is_far_above_that_of_an_untrained_detector(tmp_path):
    write_scenes(tmp_path / "scenes", seed=0, train=500, test=200)
    untrained = build_here(tmp_path, tmp_path / "scenes", *OPTIONS)
    before = untrained.evaluate(untrained.model)
    assert detect(tmp_path / "scenes", *OPTIONS, "--output", tmp_path / "runs") == 0
    after = load_result(only_run(tmp_path / "runs").path / "result.json").best
    for name in ("map_11point", "map_area"):
        assert before[name] < 1 and after[name] > 8
