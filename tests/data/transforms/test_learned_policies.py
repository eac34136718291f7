"""AutoAugment's policies are torchvision's to the bit; a policy file does what it says, as often as it says."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision import transforms
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from sosr_timm.data.__main__ import main
from sosr_timm.data.order.seeding import seed_cpu
from sosr_timm.data.transforms.image import training_transform
from sosr_timm.data.transforms.learned_policies import OPERATIONS, FilePolicy, learned_policy, read_policy
from sosr_timm.errors import UserError
from tests.data.images import image_format, picture

PICTURE = picture(3, (32, 32))
FORM = image_format(height=32, width=32)
NORMALISE = transforms.Compose([transforms.ToTensor(), transforms.Normalize(FORM.mean, FORM.std)])
PLAIN = {"hflip": 0.0, "color_jitter": 0.4, "interpolation": "bilinear"}


TORCHVISIONS = {name: AutoAugment(AutoAugmentPolicy(name)) for name in ("cifar10", "imagenet", "svhn")}
TORCHVISIONS |= {"ra": transforms.RandAugment(), "ta_wide": transforms.TrivialAugmentWide()}


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_the_policies_by_name_are_torchvisions(name):
    ours = training_transform(FORM, 0, auto_augment=name, **PLAIN)
    theirs = TORCHVISIONS[name]
    different = 0
    for seed in range(40):
        seed_cpu(seed)
        found = ours(PICTURE)
        seed_cpu(seed)
        expected = NORMALISE(theirs(PICTURE))
        assert torch.equal(found, expected)
        different += not torch.equal(expected, NORMALISE(PICTURE))
    assert different > 20, "the policy does something"


def test_a_policy_comes_after_crop_and_flip_and_one_from_a_file_before_them(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("[[[Invert, 1.0, 0.0]]]")
    names = {"cifar10": "AutoAugment", str(path): "FilePolicy"}
    orders = {}
    for policy, kind in names.items():
        stages = training_transform(FORM, 4, auto_augment=policy, **{**PLAIN, "hflip": 0.5}).transforms
        kinds = [type(stage).__name__ for stage in stages]
        assert "ColorJitter" not in kinds
        orders[kind] = [word for word in kinds if word in (kind, "RandomCrop", "RandomHorizontalFlip")]
    assert orders["AutoAugment"] == ["RandomCrop", "RandomHorizontalFlip", "AutoAugment"]
    assert orders["FilePolicy"] == ["FilePolicy", "RandomCrop", "RandomHorizontalFlip"]
    full = training_transform(FORM, None, auto_augment=str(path), scale=(0.5, 1.0), ratio=(1.0, 1.0), **PLAIN)
    assert isinstance(full.transforms[0], FilePolicy)
    off = training_transform(FORM, 0, auto_augment=str(path), no_aug=True, **PLAIN)
    assert torch.equal(off(PICTURE), NORMALISE(PICTURE))


def test_sub_policies_and_operations_come_as_often_as_stated(monkeypatch):
    seen = []
    for name in ("Invert", "Equalize", "Color", "Contrast"):
        monkeypatch.setitem(
            OPERATIONS, name, (lambda image, value, name=name: seen.append((name, value)) or image, 0, 2)
        )
    policy = FilePolicy(
        [(("Invert", 0.3, 0.5),), (("Equalize", 0.9, 0.1), ("Color", 0.5, 1.0)), (("Contrast", 0.0, 0.0),)]
    )
    count = 6000
    torch.manual_seed(0)
    for _ in range(count):
        policy(PICTURE)
    found = {name: sum(entry[0] == name for entry in seen) for name in ("Invert", "Equalize", "Color", "Contrast")}
    assert found["Contrast"] == 0 and {value for name, value in seen if name == "Invert"} == {1.0}
    for name, probability in (("Invert", 0.3), ("Equalize", 0.9), ("Color", 0.5)):
        share = probability / 3
        assert abs(found[name] / count - share) < 4 * (share * (1 - share) / count) ** 0.5


def applied(name, level, image=PICTURE, seed=0):
    torch.manual_seed(seed)
    return FilePolicy([((name, 1.0, level),)])(image)


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("Rotate", 0.75, {15: lambda v: PICTURE.rotate(v), -15: lambda v: PICTURE.rotate(v)}),
        (
            "ShearX",
            1.0,
            {v: lambda v: PICTURE.transform((32, 32), Image.AFFINE, (1, v, 0, 0, 1, 0)) for v in (0.3, -0.3)},
        ),
        (
            "TranslateY",
            0.0,
            {v: lambda v: PICTURE.transform((32, 32), Image.AFFINE, (1, 0, 0, 0, 1, v * 32)) for v in (0.45, -0.45)},
        ),
    ],
)
def test_geometry_goes_both_ways(name, level, expected):
    pictures = {value: np.asarray(make(value)).tobytes() for value, make in expected.items()}
    found = [np.asarray(applied(name, level, seed=seed)).tobytes() for seed in range(100)]
    assert set(found) == set(pictures.values())
    assert all(30 <= found.count(picture) <= 70 for picture in pictures.values())


def test_levels_are_shares_of_the_ranges():
    pixels = np.asarray(PICTURE)
    assert np.array_equal(applied("Brightness", 0.5), pixels), "a factor of 1"
    assert np.asarray(applied("Brightness", 0.0)).mean() < 0.2 * pixels.mean()
    assert np.array_equal(applied("Posterize", 0.0), pixels & 0xF0) and np.array_equal(
        applied("Posterize", 1.0), pixels
    )
    assert np.array_equal(applied("Solarize", 0.0), 255 - pixels) and np.array_equal(applied("Solarize", 1.0), pixels)
    assert np.array_equal(applied("Solarize", 0.5), np.where(pixels < 128, pixels, 255 - pixels))
    assert np.array_equal(applied("Cutout", 0.0), pixels)
    white = Image.new("RGB", (40, 40), "white")
    for seed in range(20):
        cut = (np.asarray(applied("Cutout", 1.0, white, seed)) == (125, 123, 114)).all(axis=2)
        rows, columns = cut.any(axis=1).sum(), cut.any(axis=0).sum()
        assert cut.sum() == rows * columns and 4 <= rows <= 9 and 4 <= columns <= 9
    assert applied("Cutout", 1.0, white.convert("L")).getextrema()[0] == 123


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_operation_at_every_level(name, mode):
    for level in (0.0, 0.3, 1.0):
        image = applied(name, level, picture(1, (20, 30), mode))
        assert image.mode == mode and image.size == (20, 30)


def test_timms_names_stay_timms():
    for name in (None, "v0", "rand-m9-mstd0.5", "augmix-m5", "original"):
        assert learned_policy(name) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "does not hold a list of sub-policies"),
        ("[]", "does not hold a list of sub-policies"),
        ("[[]]", "sub-policy 1 is not a list of operations"),
        ("[[[Invert, 1, 0]], [[Rotat, 1, 0]]]", "sub-policy 2: unknown operation 'Rotat': did you mean 'Rotate'"),
        ("[[[Invert, 1.5, 0]]]", "sub-policy 1: 1.5 in Invert is not a number in [0, 1]"),
        ("[[[Invert, true, 0]]]", "sub-policy 1: True in Invert"),
        ("[[[Invert, 1]]]", "sub-policy 1: ['Invert', 1] is not [operation, probability, level]"),
        ("[[", "cannot be read"),
    ],
)
def test_a_wrong_policy_file(tmp_path, text, said):
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        learned_policy(str(path))
    assert str(caught.value).startswith(f"--aa {path}") and said in str(caught.value)


SOURCE = """
import os
os.system("touch sprung")

def fa_reduced_cifar10():
    p = [[["Contrast", 0.25, 0.5], ["Cutout", 7.8e-05, 1]], [["Invert", 1.0, 0.0]]]
    return p

def another():
    return [[('ShearX', 0.5, 0.5)]]

def computed():
    p = [list(range(3))]
    return p
"""


def test_a_policy_out_of_the_authors_file_which_is_not_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archive.py").write_text(SOURCE)
    assert main(["policy", "archive.py", "fa_reduced_cifar10", "fast.yaml"]) == 0
    assert capsys.readouterr().out == "fast.yaml: 2 sub-policies\n" and not (tmp_path / "sprung").exists()
    expected = [(("Contrast", 0.25, 0.5), ("Cutout", 7.8e-05, 1.0)), (("Invert", 1.0, 0.0),)]
    assert read_policy(tmp_path / "fast.yaml") == expected
    assert (tmp_path / "fast.yaml").read_text().startswith("# fa_reduced_cifar10 of archive.py (SHA-256 ")
    assert main(["policy", "archive.py", "another", "other.yaml"]) == 0
    assert yaml.safe_load((tmp_path / "other.yaml").read_text()) == [[["ShearX", 0.5, 0.5]]]
    for function, said in (("fa_cifar10", "did you mean 'fa_reduced_cifar10'"), ("computed", "is not plain data")):
        assert main(["policy", "archive.py", function, "none.yaml"]) == 2
        assert said in capsys.readouterr().err
    assert main(["policy", "missing.py", "f", "none.yaml"]) == 2
    assert not (tmp_path / "none.yaml").exists()
