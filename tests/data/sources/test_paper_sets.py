"""The papers' data sets by name: prepared, as torchvision lays them out, and as plain folders; and a run on one."""

import hashlib
import json
import pickle
import shutil
import tarfile

import numpy as np
import pytest
from torchvision import datasets

from sosr_timm.checkpoints.run_folder import LABELS as TRAINING_LABELS
from sosr_timm.data.loaders.device_loader import arrays_of
from sosr_timm.data.prepare.preparations import PREPARATIONS
from sosr_timm.data.prepare.run import prepare
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.source import Joined
from sosr_timm.errors import UserError
from sosr_timm.results import load_result
from tests.data.archives import SMALL, small
from tests.data.images import array_source, class_folders
from tests.training.harness import only_run, train_here

CLASSES = {
    "cifar10": "kind0",
    "cifar100": "kind0",
    "tiny_imagenet": "n01",
    "imagenet": "n01",
    "cub200": "Black footed Albatross",
    "stanford_cars": "AM General Hummer SUV 2000",
    "flowers102": "001",
    "aircraft": "Boeing 707-320",
}


def refusal(*arguments):
    with pytest.raises(UserError) as caught:
        open_source(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def prepared(name, folder, **keywords):
    preparation = small(name, folder / "archives")
    prepare(preparation, folder / "archives", folder / "made", **keywords)
    return preparation


@pytest.mark.parametrize("name", CLASSES)
def test_a_prepared_set_opens_by_name(tmp_path, name):
    counts = prepared(name, tmp_path).spec.counts
    evaluation = "val" if "val" in counts else "test"
    for asked, official in (("train", "train"), ("training", "train"), ("validation", evaluation), ("val", evaluation)):
        source = open_source(name, str(tmp_path / "made"), asked)
        assert len(source) == counts[official]
        assert source.info.num_classes == SMALL[name][2] and source.info.class_names[0] == CLASSES[name]
        labels = [source.load(index)[1] for index in range(len(source))]
        assert source.read_labels().tolist() == labels and set(labels) <= set(range(SMALL[name][2]))
        manifest = (tmp_path / "made" / "manifest.json").read_bytes()
        digest = hashlib.sha256(manifest).hexdigest()
        assert source.info.origin == {"name": name, "subset": False, "manifest_sha256": digest}
    assert (arrays_of(source) is not None) == name.startswith("cifar")
    said = refusal(name, str(tmp_path / "made"), "trian")
    assert said.startswith(f"data set '{name}' has the splits train") and said.endswith("not 'trian'")


def test_labels_and_images_belong_together(tmp_path):
    prepared("cub200", tmp_path)
    source = open_source("cub200", str(tmp_path / "made"), "train")
    found = {source.name(index).rsplit("/", 2)[1]: source.load(index)[1] for index in range(len(source))}
    assert found == {"001.Black_footed_Albatross": 0, "002.Laysan_Albatross": 1}


@pytest.mark.parametrize("name", ["flowers102", "aircraft"])
def test_three_parts(tmp_path, name):
    counts = prepared(name, tmp_path).spec.counts
    root = str(tmp_path / "made")
    assert len(open_source(name, root, "test")) == counts["test"]
    both = open_source(name, root, "trainval")
    parts = [open_source(name, root, part) for part in ("train", "val")]
    assert len(both) == counts["train"] + counts["val"]
    assert [both.name(index) for index in range(len(both))] == [p.name(i) for p in parts for i in range(len(p))]
    assert both.read_labels().tolist() == [both.load(index)[1] for index in range(len(both))]


def test_joined_sources_are_found_at_their_edges():
    parts = [array_source(count) for count in (3, 1, 5)]
    joined = Joined(parts)
    assert len(joined) == 9
    for index, (part, place) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)]):
        assert np.array_equal(joined.load(index)[0], parts[part].load(place)[0])


def test_a_changed_folder_is_refused_and_the_file_named(tmp_path):
    prepared("tiny_imagenet", tmp_path)
    root = tmp_path / "made"
    shutil.copy(root / "train" / "n01" / "n01_0.JPEG", root / "train" / "n01" / "copy.JPEG")
    said = refusal("tiny_imagenet", str(root), "train")
    assert said.startswith(f"{root / 'train/n01/copy.JPEG'} does not belong to the data set (1 such files in train)")
    assert f"sosr-data check {root}" in said
    assert len(open_source("tiny_imagenet", str(root), "val")) == 3
    (root / "val" / "n02" / "val_0.JPEG").unlink()
    assert refusal("tiny_imagenet", str(root), "val").startswith(f"{root / 'val/n02/val_0.JPEG'} is missing")
    assert refusal("cub200", str(root), "train") == f"{root} was prepared as tiny_imagenet, not as cub200"


@pytest.mark.parametrize("name", CLASSES)
def test_nothing_there_says_what_to_get(tmp_path, name):
    spec = PREPARATIONS[name].spec
    advice = f"get {', '.join(archive.file for archive in spec.archives)} from {spec.page}, then: sosr-data"
    assert refusal(name, None, "train").startswith(f"{name}: name its directory with --data-dir; {advice}")
    assert refusal(name, str(tmp_path / "x"), "train").startswith(
        f"{name}: directory {tmp_path / 'x'} does not exist; {advice}"
    )
    assert refusal(name, str(tmp_path), "train").startswith(f"{name}: no files of it in {tmp_path}; {advice}")


def test_voc_is_no_set_of_single_labels(tmp_path):
    assert refusal("voc", str(tmp_path), "train").startswith("data set 'voc' is for detection")


def test_a_plain_folder_must_have_the_official_counts(tmp_path, monkeypatch):
    root = class_folders(tmp_path, classes=("n01", "n02"), splits=("train", "val"))
    assert refusal("imagenet", str(root), "train") == (
        f"{root} has 6 images of 2 classes in train; imagenet has 1,281,167 of 1000 (without --dataset a directory may "
        "hold any)"
    )
    preparation = small("imagenet", tmp_path / "archives")
    monkeypatch.setitem(PREPARATIONS, "imagenet", preparation)
    shutil.rmtree(tmp_path / "archives")
    assert open_source("imagenet", str(root), "train").info.class_names == ("n01", "n02")
    assert "has 6 images of 2 classes in val; imagenet has 4 of 2" in refusal("imagenet", str(root), "validation")


def test_the_unpacked_binary_version_of_cifar_opens_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(PREPARATIONS, "cifar10", prepared("cifar10", tmp_path))
    with tarfile.open(tmp_path / "archives" / "cifar-10-binary.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    expected = open_source("cifar10", str(tmp_path / "made"), "train")
    for place in (tmp_path, tmp_path / "cifar-10-batches-bin"):
        source = open_source("cifar10", str(place), "train")
        assert source.fingerprint() == expected.fingerprint() and source.info.origin == {}
    (tmp_path / "cifar-10-batches-bin" / "data_batch_2.bin").unlink()
    assert "data_batch_2.bin" in refusal("cifar10", str(tmp_path), "train")


def test_pickles_of_cifar_are_read_only_where_torchvision_knows_their_md5(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    trap = tmp_path / "trap"

    class Trap:
        def __reduce__(self):
            return trap.write_text, ("sprung",)

    for name, _ in datasets.CIFAR10.train_list + datasets.CIFAR10.test_list:
        (folder / name).write_bytes(pickle.dumps({"data": Trap(), "labels": []}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": Trap()}))
    assert "not found or corrupted" in refusal("cifar10", str(tmp_path), "train")
    assert not trap.exists()

    pixels = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    files = {name: {"data": pixels, "labels": [1, 0, 1, 0]} for name in ("data_batch_1", "test_batch")}
    files["batches.meta"] = {"label_names": ["a", "b"]}
    md5 = {}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
        md5[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": md5["batches.meta"]})
    assert "has 4 images of 10 classes in train; cifar10 has 50,000" in refusal("cifar10", str(tmp_path), "train")
    preparation = small("cifar10", tmp_path / "archives")
    spec = preparation.spec
    spec.counts.update(train=4, test=4)
    monkeypatch.setitem(PREPARATIONS, "cifar10", preparation)
    source = open_source("cifar10", str(tmp_path), "train")
    images, labels = arrays_of(source)
    assert images.shape == (4, 32, 32, 3) and labels.tolist() == [1, 0, 1, 0] == source.read_labels().tolist()
    assert source.info.mean == (0.4914, 0.4822, 0.4465) and source.info.std == (0.2023, 0.1994, 0.2010)


@pytest.mark.parametrize(("name", "below"), [("aircraft", ""), ("stanford_cars", "stanford_cars")])
def test_torchvisions_own_layouts(tmp_path, monkeypatch, name, below):
    preparation = small(name, tmp_path / below)
    monkeypatch.setitem(PREPARATIONS, name, preparation)
    for path in list((tmp_path / below).iterdir()):
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                archive.extractall(tmp_path / below, filter="data")
    prepare(preparation, tmp_path / below, tmp_path / "made")
    theirs, ours = (open_source(name, str(root), "train") for root in (tmp_path, tmp_path / "made"))
    assert theirs.info.class_names == ours.info.class_names
    assert sorted(theirs.load(n)[1] for n in range(len(theirs))) == sorted(ours.read_labels().tolist())


def test_a_run_on_a_part_of_cifar100_trains_and_says_that_it_is_one(tmp_path, capsys):
    prepared("cifar100", tmp_path, allow_subset=True)
    arguments = ("--dataset", "cifar100", "--data-dir", tmp_path / "made", "--model", "cifar_resnet20")
    arguments += ("--opt", "momentum", "--crop-padding", "4", "--batch-size", "50", "--epochs", "1")
    arguments += ("--warmup-epochs", "0", "--label-noise", "0.4", "--workers", "0", "--output", tmp_path / "output")
    assert train_here(*arguments) == 0
    said = "".join(capsys.readouterr())
    assert "the data set is only a part of cifar100: its metrics are not comparable" in " ".join(said.split())
    run = only_run(tmp_path / "output")
    record = load_result(run.path / "result.json")
    assert record.dataset == "cifar100" and record.data["subset"] is True and record.data["label_noise"] == 0.4
    assert 20 < record.data["labels_exchanged"] < 60 and (run.path / TRAINING_LABELS).is_file()
    about = json.loads(run.about.read_text())
    assert about["num_classes"] == 100 and about["image_format"]["mean"] == [0.4914, 0.4822, 0.4465]
    assert about["class_names"][:2] == ["kind0", "kind1"]
