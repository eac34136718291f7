"""sosr-data pack: class directories become indexed shards; the same images, or smaller ones."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from sosr_timm.data.__main__ import main
from sosr_timm.data.prepare import pack as packing
from sosr_timm.data.prepare.pack import Packing, pack
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.errors import UserError
from tests.data.images import class_folders, picture, write_picture


def opened(root, split="train"):
    return open_source("wds/", str(root), split)


def test_packed_files_are_the_images_of_the_class_directories(tmp_path, capsys):
    folder = class_folders(tmp_path / "files", ("ant", "bee"), each=5)
    assert main(["pack", str(folder), str(tmp_path / "packed"), "--per-shard", "4"]) == 0
    said = capsys.readouterr().out
    size = sum(file.stat().st_size for file in folder.rglob("*.png"))
    assert f"20 images, {size:,} bytes before, {size:,} after, 100 %" in said
    for split in ("train", "validation"):
        ours, theirs = opened(tmp_path / "packed", split), open_source("", str(folder), split)
        assert ours.info.class_names == theirs.info.class_names == ("ant", "bee")
        assert len(ours) == len(theirs) == 10 and ours.has_checksums()
        for index in range(10):
            assert ours.key(index) == theirs.key(index)
            assert np.array_equal(ours.load(index)[0], theirs.load(index)[0])
            assert ours.load(index)[1] == theirs.load(index)[1]
    assert opened(tmp_path / "packed").shard_ends().tolist() == [4, 8, 10]
    before = {file: file.read_bytes() for file in (tmp_path / "packed").rglob("*.tar")}
    assert main(["pack", str(folder), str(tmp_path / "packed"), "--per-shard", "4"]) == 0
    assert capsys.readouterr().out == said
    assert before == {file: file.read_bytes() for file in (tmp_path / "packed").rglob("*.tar")}
    assert main(["check", str(tmp_path / "packed")]) == 0
    assert "20 images in 6 shards are as they were indexed" in capsys.readouterr().out
    gone = tmp_path / "packed" / "train" / "000001.tar"
    gone.unlink()
    assert main(["pack", str(folder), str(tmp_path / "packed"), "--per-shard", "4"]) == 2
    assert f"shard {gone} was packed and is missing" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "packed")]) == 2
    assert f"shard {gone} was indexed and is missing" in capsys.readouterr().err


def test_large_images_become_smaller_and_small_ones_stay(tmp_path, capsys):
    folder = tmp_path / "files"
    large = write_picture(folder / "ant" / "large.JPG", 1, (200, 100), format="JPEG")
    small = write_picture(folder / "ant" / "small.png", 2, (40, 50))
    write_picture(folder / "bee" / "alpha.png", 3, (90, 120), mode="RGBA")
    deep = folder / "bee" / "deep.png"
    Image.fromarray(np.arange(120 * 90, dtype=np.uint16).reshape(120, 90)).save(deep)
    assert main(["pack", str(folder), "--max-side", "60"]) == 0
    said = capsys.readouterr().out
    assert "4 images" in said and "2 images made smaller" in said and "for you to judge" in said
    source = opened(tmp_path / "files-60")
    sizes = {source.key(index): source.load(index)[0].size for index in range(4)}
    assert sizes == {
        "ant/large.jpg": (60, 30),
        "ant/small.png": (40, 50),
        "bee/alpha.png": (45, 60),
        "bee/deep.png": (90, 120),
    }
    assert source.content(1) == small.read_bytes() and source.content(3) == deep.read_bytes()
    expected = Image.open(large).resize((60, 30), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(source.load(0)[0], float) - np.asarray(expected, float)).mean() < 12


def test_an_image_keeps_its_orientation(tmp_path):
    # timm shows images as they are stored, whatever their EXIF data say; packing must not turn them.
    image, exif = picture(1, (100, 50)), Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "files" / "ant").mkdir(parents=True)
    image.save(tmp_path / "files" / "ant" / "1.jpg", exif=exif)
    pack(tmp_path / "files", tmp_path / "packed", Packing(max_side=50))
    assert opened(tmp_path / "packed").load(0)[0].size == (50, 25)


def test_an_interrupted_packing_continues(tmp_path, monkeypatch, capsys):
    folder = class_folders(tmp_path / "files", splits=("",), each=6)
    pack(folder, tmp_path / "straight", Packing(per_shard=4))
    packed = []
    original = packing.packed_image

    def interrupted(file, how):
        packed.append(file)
        if len(packed) == 6:
            raise KeyboardInterrupt
        return original(file, how)

    monkeypatch.setattr(packing, "packed_image", interrupted)
    command = ["pack", str(folder), str(tmp_path / "packed"), "--per-shard", "4"]
    assert main(command) == 130 and "run the same command again" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "packed").glob("*.tar")) == ["000000.tar"]
    assert main(command) == 0 and len(packed) == 6 + 8
    for path in (tmp_path / "straight").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "packed" / path.name).read_bytes()
    assert not (tmp_path / "packed" / ".unfinished").exists()


def test_another_packing_in_the_same_directory_is_refused(tmp_path):
    folder = class_folders(tmp_path / "files", splits=("",))
    pack(folder, tmp_path / "packed", Packing())
    with pytest.raises(UserError, match="packed with other max_side"):
        pack(folder, tmp_path / "packed", Packing(max_side=50))
    write_picture(folder / "cat" / "new.png", 9)
    with pytest.raises(UserError, match="packed with other images, names_sha256"):
        pack(folder, tmp_path / "packed", Packing())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="holds other files"):
        pack(folder, tmp_path / "other", Packing())
    (tmp_path / "packed" / "plan.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        pack(folder, tmp_path / "packed", Packing())


def test_shuffled_shards_mix_the_classes(tmp_path):
    folder = class_folders(tmp_path / "files", splits=("",), each=20)
    pack(folder, tmp_path / "packed", Packing(per_shard=10, shuffle=1))
    labels = opened(tmp_path / "packed").read_labels().reshape(4, 10)
    assert sorted(labels.ravel().tolist()) == [0] * 20 + [1] * 20 and (labels.min(1) < labels.max(1)).all()


def test_several_processes_write_the_same_shards(tmp_path):
    folder = class_folders(tmp_path / "files", splits=("",), each=6)
    for name, workers in (("one", 1), ("two", 2)):
        pack(folder, tmp_path / name, Packing(max_side=8, per_shard=4), workers)
    for path in (tmp_path / "one").glob("*.tar"):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert json.loads((tmp_path / "one" / "plan.json").read_text())["counts"]["smaller"] == 12


def test_names_with_dots_are_keys_of_their_own(tmp_path):
    for number, name in enumerate(("a.1.png", "a.2.png", "a_1.png", "a.1.jpg")):
        write_picture(tmp_path / "files" / "cat" / name, number)
    pack(tmp_path / "files", tmp_path / "packed", Packing())
    source = opened(tmp_path / "packed")
    assert sorted(source.key(index) for index in range(4)) == [
        "cat/a_1-2.png",
        "cat/a_1-3.png",
        "cat/a_1.jpg",
        "cat/a_2.png",
    ]


def test_what_cannot_be_packed_is_one_line(tmp_path, capsys, monkeypatch):
    folder = class_folders(tmp_path / "files", splits=("",))
    (folder / "cat" / "broken.jpg").write_bytes(b"no image")
    assert main(["pack", str(folder), "--max-side", "50"]) == 2
    assert "broken.jpg cannot be packed: cannot identify" in capsys.readouterr().err
    (folder / "cat" / "broken.jpg").unlink()
    (folder / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert main(["pack", str(folder), str(tmp_path / "other")]) == 2
    assert "gone.jpg cannot be packed: No such file or directory" in capsys.readouterr().err
    (folder / "cat" / "gone.jpg").unlink()
    monkeypatch.setattr(packing, "MOST_PIXELS", 100)
    shutil.rmtree(tmp_path / "files-50")
    assert main(["pack", str(folder), "--max-side", "50"]) == 2
    assert "12 x 10 pixels; at most 100 in all" in capsys.readouterr().err
    wrong_numbers = ("--quality 0", "--quality 101", "--max-side 4", "--per-shard 0", "--workers 0")
    for wrong in map(str.split, wrong_numbers):
        assert main(["pack", str(folder), *wrong]) == 2
        assert wrong[0] in capsys.readouterr().err
    assert main(["pack", str(tmp_path / "none")]) == 2
    assert "is no directory" in capsys.readouterr().err
