"""Tar shards by position: webdataset's conventions, the index, splits, and what is refused."""

import gzip
import json
import os
import pickle
import shutil
import struct
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from sosr_timm.data.__main__ import main
from sosr_timm.data.loaders.worker_loader import TrainingBatches, training_loader
from sosr_timm.data.order.order import TrainingOrder, TrainingSampler
from sosr_timm.data.prepare import index_shards as indexing
from sosr_timm.data.prepare.index_shards import UNFINISHED, index_shards
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.held_out import hold_out
from sosr_timm.data.sources.reader_options import ReaderOptions
from sosr_timm.data.sources.shard_index import FILE_NAME, ShardIndex
from sosr_timm.data.sources.shard_names import expand_braces
from sosr_timm.data.sources.shards import OPEN_SHARDS
from sosr_timm.data.sources.source import Joined, Subset, spread
from sosr_timm.data.transforms.image import training_transform
from sosr_timm.errors import UserError
from tests.data.images import class_folders, image_format, picture
from tests.data.shards import encoded, folders_as_tar, samples, write_shards, write_tar


def opened(root, split="train", **keywords):
    return open_source("wds/", str(root), split, **keywords)


def refusal(root, split="train", **keywords):
    with pytest.raises(UserError) as caught:
        open_source("wds/", root and str(root), split, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def not_indexed(*paths, **keywords):
    with pytest.raises(UserError) as caught:
        index_shards([str(path) for path in paths], **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_samples_are_read_by_position_with_their_labels(tmp_path):
    write_shards(tmp_path, shards=3, each=4)
    assert index_shards([str(tmp_path)]) == [f"{tmp_path / FILE_NAME}: 12 samples in 3 shards"]
    source = opened(tmp_path)
    assert len(source) == 12 and source.info.num_classes == 3
    for index in (11, 0, 5, 4, 3):
        image, label = source.load(index)
        assert np.array_equal(image, picture(index)) and label == index % 3
    assert source.read_labels().tolist() == [index % 3 for index in range(12)]
    assert source.read_labels().dtype == np.int64
    assert source.name(5) == f"{tmp_path}/set-001.tar/000005.png" and source.key(5) == "000005.png"
    assert source.shard_ends().tolist() == [4, 8, 12]
    with pytest.raises(IndexError):
        source.load(12)
    assert not (tmp_path / UNFINISHED).exists()


def test_the_index_is_a_safetensors_file_without_pickle(tmp_path):
    from safetensors.numpy import load_file

    write_shards(tmp_path)
    index_shards([str(tmp_path)], checksums=True)
    stored = load_file(tmp_path / FILE_NAME)
    assert set(stored) == {"offsets", "sizes", "labels", "names", "name_ends", "checksums"}
    assert stored["labels"].tolist() == [index % 3 for index in range(12)]
    first = (tmp_path / "set-000.tar").read_bytes()[stored["offsets"][0] :][: stored["sizes"][0]]
    assert first == encoded(0)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_batches_are_those_of_class_directories_bit_for_bit(tmp_path, workers):
    folder = class_folders(tmp_path / "files", ("ant", "bee", "cat"), each=4) / "train"
    folders_as_tar(folder, tmp_path / "shards" / "train.tar")
    index_shards([str(tmp_path / "shards")])
    form = image_format()
    transform = training_transform(form, None, scale=(0.08, 1.0), hflip=0.5, color_jitter=0.4, re_prob=0.5)
    streams = []
    for source in (opened(tmp_path / "shards"), open_source("", str(tmp_path / "files"), "train")):
        batches = TrainingBatches(source, transform, "RGB", 7, 0, None)
        sampler = TrainingSampler(TrainingOrder(len(source), 4, seed=7), 0, 1, 3)
        streams.append(list(training_loader(batches, sampler, workers, False)))
    assert len(streams[0]) == 8
    for ours, theirs in zip(*streams, strict=True):
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.target, theirs.target)


def test_what_is_held_out_is_that_of_class_directories(tmp_path):
    folder = class_folders(tmp_path / "files", each=9) / "train"
    folders_as_tar(folder, tmp_path / "shards" / "train.tar")
    index_shards([str(tmp_path / "shards")])
    ours = hold_out(opened(tmp_path / "shards"), 0.3)[1]
    theirs = hold_out(open_source("", str(folder), "train"), 0.3)[1]
    assert [ours.key(i) for i in range(len(ours))] == [theirs.key(i) for i in range(len(theirs))]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{8..11}.tar", ["a-8.tar", "a-9.tar", "a-10.tar", "a-11.tar"]),
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{b,a}-{0..1}", ["b-0", "b-1", "a-0", "a-1"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_brace_patterns(pattern, names):
    assert expand_braces(pattern) == names


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("a-{3..1}.tar", "falls"),
        ("a-{0..1.tar", "do not match"),
        ("a-{}.tar", "neither a range"),
        ("a-{0..99999999}", "100,000,000 names"),
        ("{0..9999}{0..9999}", "100,000,000 names"),
    ],
)
def test_a_wrong_pattern_is_one_line(pattern, said):
    with pytest.raises(UserError, match=said):
        expand_braces(pattern)


def test_splits_by_pattern_directory_file_name_and_info_file(tmp_path):
    write_shards(tmp_path / "a", 3, stem="set-train")
    write_shards(tmp_path / "a", 1, stem="set-val")
    index_shards([str(tmp_path / "a")])
    assert len(opened(tmp_path / "a")) == 12 and len(opened(tmp_path / "a", "validation")) == 4
    assert len(opened(tmp_path / "a", "set-train-{000..001}.tar")) == 8
    assert len(opened(tmp_path / "a", "set-train-{000..001}.tar|8")) == 8
    assert len(opened(tmp_path / "a" / "set-train-{000..001}.tar")) == 8
    assert len(opened(tmp_path / "a" / "*train*.tar")) == 12
    assert len(opened(tmp_path / "a", "set-train-000.tar::set-val-000.tar")) == 8
    assert "has no split 'extra'" in refusal(tmp_path / "a", "extra")
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "train")
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "test")
    assert len(opened(tmp_path / "b")) == 16 and len(opened(tmp_path / "b", "validation")) == 16
    info = {"splits": {"train": {"filenames": ["set-val-000.tar"]}, "other": {"filenames": ["no.tar"]}}}
    (tmp_path / "a" / "_info.json").write_text(json.dumps(info))
    assert len(opened(tmp_path / "a")) == 4
    assert refusal(tmp_path / "a", "other") == f"shard {tmp_path}/a/no.tar does not exist"
    assert "has no split 'validation'" in refusal(tmp_path / "a", "validation")
    (tmp_path / "a" / "_info.json").write_text("[1]")
    assert "no list of the shards" in refusal(tmp_path / "a")


def test_what_cannot_be_read_by_position_is_refused(tmp_path):
    assert "mount the bucket" in refusal("s3://bucket/a-{0..3}.tar")
    assert "mount the bucket" in refusal("pipe:curl http://x/a.tar")
    assert refusal(tmp_path / "none") == f"data directory {tmp_path / 'none'} does not exist"
    assert refusal(tmp_path).endswith("holds no .tar file")
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    assert "compressed shards such as a.tar.gz" in refusal(tmp_path)
    assert "compressed" in refusal(tmp_path / "{a,a}.tar.gz")
    assert refusal(None).startswith("--dataset wds/ needs the directory")
    with pytest.raises(UserError, match="--target-format: wds/ has no such choice"):
        opened(tmp_path, reading=ReaderOptions(target_format="multihot"))


def test_without_an_index_the_command_is_named(tmp_path):
    write_shards(tmp_path)
    assert refusal(tmp_path).endswith(f"have no index; make it once with: sosr-data index {tmp_path}")
    index_shards([str(tmp_path / "set-000.tar")])
    assert refusal(tmp_path) == (
        f"shard {tmp_path}/set-001.tar is not in the index beside it; run again: sosr-data index {tmp_path}"
    )
    assert len(opened(tmp_path / "set-000.tar")) == 4


def test_a_shard_that_changed_is_refused_by_name(tmp_path):
    first, second, _ = write_shards(tmp_path)
    index_shards([str(tmp_path)])
    write_tar(second, samples(5, 4))
    said = refusal(tmp_path)
    assert said.startswith(f"shard {second} changed since it was indexed (") and "sosr-data index" in said
    write_shards(tmp_path)  # the same members at another time
    assert len(opened(tmp_path)) == 12
    changed = samples(4)
    changed[0] = ("other.png", changed[0][1])
    changed[1] = ("other.cls", changed[1][1])
    write_tar(first, changed)
    assert f"shard {first} changed since it was indexed: its members are not the same" in refusal(tmp_path)
    index_shards([str(tmp_path)])
    assert opened(tmp_path).key(0) == "other.png"


def test_an_indexed_shard_that_is_missing_is_refused_by_name(tmp_path, capsys):
    for stem in ("a-train", "a-validation"):
        write_shards(tmp_path, shards=2, stem=stem)
    index_shards([str(tmp_path)], checksums=True)
    gone = tmp_path / "a-train-001.tar"
    gone.unlink()
    said = f"shard {gone} was indexed and is missing; copy it again, or index the rest: sosr-data index {tmp_path}"
    assert refusal(tmp_path) == said
    assert main(["check", str(tmp_path)]) == 2 and said in capsys.readouterr().err
    assert len(opened(tmp_path, "validation")) == 8, "another split"
    assert len(opened(tmp_path, "a-train-*.tar")) == 4, "as asked for"
    index_shards([str(tmp_path)])
    assert len(opened(tmp_path)) == 4


def test_changed_bytes_are_found_with_checksums(tmp_path, capsys):
    (first, *_) = write_shards(tmp_path)
    index_shards([str(tmp_path)])
    assert main(["check", str(tmp_path)]) == 2 and "--checksums" in capsys.readouterr().err
    index_shards([str(tmp_path)], checksums=True)
    assert main(["check", str(tmp_path)]) == 0 and "12 images in 3 shards are as they were" in capsys.readouterr().out
    source = opened(tmp_path)
    content, stat = bytearray(first.read_bytes()), first.stat()
    content[512 + 30] ^= 1
    first.write_bytes(content)
    os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(OSError, match="not those that were indexed"):
        source.load(0)
    assert main(["check", str(tmp_path)]) == 2 and "000000.png: its bytes" in capsys.readouterr().err
    with first.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(OSError, match="changed while it was used"):
        opened_again = pickle.loads(pickle.dumps(source))
        opened_again.load(0)


def test_only_what_is_new_is_read_again(tmp_path, monkeypatch):
    write_shards(tmp_path, shards=2)
    index_shards([str(tmp_path)])
    read = []
    original = indexing.read_samples
    monkeypatch.setattr(indexing, "read_samples", lambda path, *rest: read.append(path.name) or original(path, *rest))
    write_tar(tmp_path / "set-002.tar", samples(2, 8))
    assert index_shards([str(tmp_path)])[0].endswith("10 samples in 3 shards, 1 of them read now")
    assert read == ["set-002.tar"]
    (tmp_path / "set-000.tar").unlink()
    index_shards([str(tmp_path)])
    assert read == ["set-002.tar"] and len(opened(tmp_path)) == 6
    index_shards([str(tmp_path)], checksums=True)
    assert len(read) == 3
    index_shards([str(tmp_path)], target_key="cls")
    assert len(read) == 5


def test_an_interrupted_index_is_continued(tmp_path, monkeypatch):
    write_shards(tmp_path, shards=3)
    read = []
    original = indexing.read_samples

    def interrupted(path, *rest):
        read.append(path.name)
        if path.name == "set-002.tar" and len(read) == 3:
            raise KeyboardInterrupt
        return original(path, *rest)

    monkeypatch.setattr(indexing, "read_samples", interrupted)
    assert main(["index", str(tmp_path)]) == 130
    assert not (tmp_path / FILE_NAME).exists()
    assert main(["index", str(tmp_path)]) == 0
    assert read == ["set-000.tar", "set-001.tar", "set-002.tar", "set-002.tar"]
    assert [opened(tmp_path).load(index)[1] for index in range(12)] == [index % 3 for index in range(12)]


def test_several_processes_make_the_same_index(tmp_path):
    write_shards(tmp_path, shards=3)
    index_shards([str(tmp_path)])
    alone = (tmp_path / FILE_NAME).read_bytes()
    (tmp_path / FILE_NAME).unlink()
    index_shards([str(tmp_path)], workers=2)
    assert (tmp_path / FILE_NAME).read_bytes() == alone


def test_any_number_of_shards_is_indexed_with_few_open_files(tmp_path):
    import resource

    write_shards(tmp_path, shards=40, each=1)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = set(map(int, os.listdir("/proc/self/fd")))
    free = [number for number in range(len(taken) + 30) if number not in taken]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[20], limits[1]))
    try:
        index_shards([str(tmp_path)])
        (tmp_path / FILE_NAME).rename(tmp_path / "other")
        write_shards(tmp_path, shards=40, each=1)
        index_shards([str(tmp_path)], checksums=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len(opened(tmp_path)) == 40 and opened(tmp_path).load(39)[1] == 0


def test_directories_of_splits_are_indexed_together(tmp_path, capsys):
    write_shards(tmp_path / "train")
    write_shards(tmp_path / "val", shards=1)
    assert main(["index", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("sosr-index.safetensors: ") == 2
    assert len(opened(tmp_path)) == 12 and len(opened(tmp_path, "validation")) == 4


def test_read_only_shards_are_indexed_through_links(tmp_path):
    paths = write_shards(tmp_path / "mounted")
    (tmp_path / "links").mkdir()
    for path in paths:
        (tmp_path / "links" / path.name).symlink_to(path)
    index_shards([str(tmp_path / "links")])
    assert np.array_equal(opened(tmp_path / "links").load(7)[0], picture(7))
    assert not (tmp_path / "mounted" / FILE_NAME).exists()


def test_labels_in_json_and_as_names(tmp_path):
    write_tar(tmp_path / "json" / "a.tar", samples(4, label="json"))
    index_shards([str(tmp_path / "json")])
    assert opened(tmp_path / "json").read_labels().tolist() == [0, 1, 2, 0]
    index_shards([str(tmp_path / "json")], target_key="json/id")
    assert opened(tmp_path / "json").read_labels().tolist() == [0, 1, 2, 3]
    keys = ReaderOptions(target_key="json/label")
    assert "was made with json/id; index the shards again" in refusal(tmp_path / "json", reading=keys)
    assert len(opened(tmp_path / "json", reading=ReaderOptions(target_key="json/id"))) == 4

    def named(first, names):
        return [
            member
            for number, name in enumerate(names, first)
            for member in ((f"{number}.png", encoded(number)), (f"{number}.cls", name.encode()))
        ]

    write_tar(tmp_path / "text" / "train-0.tar", named(0, ["class 10", "class 9"]))
    write_tar(tmp_path / "text" / "train-1.tar", named(2, ["7", "class 9"]))
    index_shards([str(tmp_path / "text")])
    source = opened(tmp_path / "text")
    assert source.info.class_names == ("7", "class 9", "class 10")
    assert source.read_labels().tolist() == [2, 1, 0, 1] and source.load(0)[1] == 2
    (tmp_path / "map.txt").write_text("class 9\nclass 10\n")
    source = opened(tmp_path / "text", class_map=str(tmp_path / "map.txt"))
    assert source.info.class_names == ("class 9", "class 10")
    assert [source.load(index)[1] for index in range(len(source))] == [1, 0, 0] == source.read_labels().tolist()
    assert source.shard_ends().tolist() == [2, 3]


def test_names_of_numbered_classes_are_beside_the_shards(tmp_path):
    write_shards(tmp_path)
    index_shards([str(tmp_path)])
    assert opened(tmp_path).info.class_names is None
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\ndog\n")
    source = opened(tmp_path)
    assert source.info.num_classes == 4 and source.info.class_names == ("ant", "bee", "cat", "dog")
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    assert "label 2 is none of the 2 classes" in refusal(tmp_path)


def test_image_endings_and_what_webdataset_passes_over(tmp_path):
    members = [
        ("./a/", b""),
        ("__meta__", b"junk"),
        ("a/0.seg.png", encoded(5)),
        ("a/0.JPG", encoded(1, "JPEG")),
        ("a/0.cls", b" 1\n"),
        ("a/0.txt", b"beside it"),
    ]
    write_tar(tmp_path / "a.tar", members[1:])
    index_shards([str(tmp_path)])
    assert opened(tmp_path).key(0) == "a/0.JPG"
    index_shards([str(tmp_path)], input_key="seg.png")
    assert opened(tmp_path).key(0) == "a/0.seg.png"
    assert "has no image (tif) but seg.png, jpg, cls, txt" in not_indexed(tmp_path, input_key="tif")
    assert "endings without a dot" in not_indexed(tmp_path, input_key=".png")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("0.png", b"x")], "sample '0' has no label (cls, json/label) but png"),
        ([("0.cls", b"1")], "sample '0' has no image"),
        ([("0.png", b"x"), ("0.cls", b"")], "label '0.cls' is no class: ''"),
        ([("0.png", b"x"), ("0.cls", b"\xff\xfe")], "label '0.cls' cannot be read"),
        ([("0.png", b"x"), ("0.json", b"[[[")], "label '0.json' cannot be read"),
        ([("0.png", b"x"), ("0.json", b'{"label": [1, 2]}')], "neither a number nor a name"),
        ([("0.png", b"x"), ("0.json", b"[" * 100_000)], "label '0.json' cannot be read"),
        ([("0.png", b"x"), ("0.png", b"x")], "two members are called '0.png'"),
        ([("readme", b"x")], "has no image"),
        ([], "holds no sample"),
    ],
)
def test_samples_that_are_none_are_one_line(tmp_path, members, said):
    write_tar(tmp_path / "a.tar", members)
    assert said in not_indexed(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()


def test_truncated_and_hostile_shards_are_one_line(tmp_path):
    path = write_tar(tmp_path / "a.tar", samples(3))
    whole = path.read_bytes()
    end = whole.rstrip(b"\0")
    boundary = -(-len(end) // 512) * 512  # the members without the end mark
    for length in (0, 100, 512, 700, 1500, boundary - 512, boundary):
        path.write_bytes(whole[:length])
        assert not_indexed(tmp_path).startswith(f"shard {path}: "), length
    damaged = bytearray(whole)
    damaged[512 * 4 : 512 * 4 + 100] = b"\xff" * 100
    for content in (
        gzip.compress(whole),
        b"\xff" * 4096,
        bytes(damaged),
        whole + whole,
        whole[:124] + b"77777777777\0" + whole[136:],
        negative_size(whole),
        pax_header_of(b"30 size=99999999999999999999\n"),
        pax_header_of(b"18 size=-99999999\n"),
        pax_header_of(b"99999999999 path=x\n"),
    ):
        path.write_bytes(content)
        started = time.perf_counter()
        assert not_indexed(tmp_path).startswith(f"shard {path}: ")
        assert time.perf_counter() - started < 5


def with_checksum(header: bytes) -> bytes:
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    return header[:148] + b"%06o\0 " % total + header[156:]


def negative_size(whole: bytes) -> bytes:
    """A first member whose size is -1024 in base 256, which sends a careless reader back."""
    size = b"\xff" * 4 + struct.pack(">q", -1024)
    return with_checksum(whole[:124] + size + whole[136:512]) + whole[512:]


def pax_header_of(content: bytes) -> bytes:
    header = bytearray(512)
    header[:1], header[100:108] = b"x", b"0000644\0"
    header[124:136], header[136:148] = b"%011o\0" % len(content), b"00000000000\0"
    header[156:157], header[257:265] = b"x", b"ustar\x0000"
    rest = bytearray(512)
    rest[:5], rest[124:136], rest[136:148] = b"a.png", b"00000000000\0", b"00000000000\0"
    rest[156:157], rest[257:265] = b"0", b"ustar\x0000"
    body = content + b"\0" * (-len(content) % 512)
    return with_checksum(bytes(header)) + body + with_checksum(bytes(rest)) + b"\0" * 1024


def test_a_damaged_index_is_one_line(tmp_path):
    write_shards(tmp_path)
    index_shards([str(tmp_path)])
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    for content in (b"", b"junk", whole[:100], whole[:-1], b"\xff" * 8 + whole[8:], whole.replace(b"I64", b"I32", 1)):
        path.write_bytes(content)
        said = refusal(tmp_path)
        assert said.startswith(f"index {path} is damaged") and "sosr-data index" in said
    index_shards([str(tmp_path)])
    assert len(opened(tmp_path)) == 12


def test_a_failed_write_leaves_the_old_index(tmp_path, monkeypatch):
    write_shards(tmp_path, shards=1)
    index_shards([str(tmp_path)])
    before = (tmp_path / FILE_NAME).read_bytes()
    write_tar(tmp_path / "set-001.tar", samples(2, 4))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sosr_timm.data.sources.shard_index.os.replace", full, raising=False)
    monkeypatch.setattr("sosr_timm.files.os.replace", full)
    assert "No space left on device" in not_indexed(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


class Pixels(Dataset):
    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        image, label = self.source.load(index)
        return int(np.asarray(image, dtype=np.int64).sum()), label


def test_processes_read_at_once_from_files_opened_before(tmp_path):
    write_shards(tmp_path, shards=4, each=8)
    index_shards([str(tmp_path)])
    source = opened(tmp_path)
    expected = [Pixels(source)[index] for index in range(len(source))]  # opens every shard in this process
    loader = DataLoader(Pixels(source), batch_size=None, num_workers=4)
    assert [tuple(pair) for pair in loader] == expected
    assert [Pixels(source)[index] for index in range(len(source))] == expected


def test_few_files_stay_open_and_none_is_pickled(tmp_path, monkeypatch):
    write_shards(tmp_path, shards=5, each=1)
    index_shards([str(tmp_path)])
    monkeypatch.setattr("sosr_timm.data.sources.shards.OPEN_SHARDS", 2)
    assert OPEN_SHARDS > 2
    source = opened(tmp_path)
    for index in (0, 1, 2, 3, 4, 0, 4):
        source.load(index)
    assert list(source.files._open) == [0, 4]
    copied = pickle.loads(pickle.dumps(source))
    assert not copied.files._open and len(pickle.dumps(source)) < 20_000
    assert np.array_equal(copied.load(3)[0], picture(3))
    before = len(os.listdir("/proc/self/fd"))
    del source, copied
    assert len(os.listdir("/proc/self/fd")) <= before - 3  # the maps of the index are closed too


def test_parts_and_joins_know_their_shards(tmp_path):
    write_shards(tmp_path, shards=3, each=4)
    index_shards([str(tmp_path)])
    source = opened(tmp_path)
    assert spread(source, 6).shard_ends().tolist() == [2, 4, 6]
    assert Subset(source, np.array([0, 9, 10])).shard_ends().tolist() == [1, 3]
    assert Subset(source, np.array([9, 0])).shard_ends() is None
    assert Joined([source, spread(source, 3)]).shard_ends().tolist() == [4, 8, 12, 13, 14, 15]
    assert Joined([source, open_source("digits", None, "train")]).shard_ends() is None


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    write_shards(tmp_path / "a")
    write_shards(tmp_path / "b")
    write_shards(tmp_path / "c", classes=2)
    index_shards([str(tmp_path)])
    prints = [opened(tmp_path / name).fingerprint() for name in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_the_index_of_many_samples_is_not_read_into_memory(tmp_path):
    write_shards(tmp_path, shards=1)
    index_shards([str(tmp_path)])
    index = ShardIndex(tmp_path / FILE_NAME)
    assert all(isinstance(index.array(name), np.memmap) for name in ("offsets", "sizes", "labels", "names"))
