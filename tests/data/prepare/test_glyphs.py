"""`glyphs` from a small system with matplotlib's fonts; counts and hashes where Debian's fonts are installed."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sosr_timm.data.__main__ import main
from sosr_timm.data.prepare import glyph_packages, glyphs
from sosr_timm.data.prepare.glyph_fonts import CHARACTERS, debian_licence, licence_of, read_fonts
from sosr_timm.data.prepare.glyph_packages import Package, find_packages, font_files, listed_packages
from sosr_timm.data.prepare.glyph_pictures import distances, distinct_pictures, render
from sosr_timm.data.prepare.glyphs import OTHER_SIGNS, PREPARATION, RULES, design_of, group_families, split_of
from sosr_timm.data.prepare.manifest import check_folder, read_manifest
from sosr_timm.data.prepare.run import prepare
from sosr_timm.data.sources.catalog import open_source
from sosr_timm.data.sources.held_out import hold_out
from sosr_timm.errors import UserError
from tests.data.debian_root import FONTS, PACKAGES, debian_root, write
from tools.checkout import ROOT

RECORD = json.loads((ROOT / "results/pictures/glyphs.json").read_text(encoding="utf-8"))


def refusal(function, *arguments, **keywords):
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return debian_root(tmp_path_factory.mktemp("debian"))


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "glyphs"
    said = prepare(PREPARATION, root, folder, allow_subset=True)
    assert said.startswith(f"{folder}: glyphs, 94 classes, images: ") and said.endswith(
        "(a part, not the official set)"
    )
    return folder


def fonts_of(folder):
    with open(folder / "fonts.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_list_names_packages_once_in_order_with_versions():
    names = [package.name for package in listed_packages()]
    assert names == sorted(set(names)) and len(names) == RECORD["packages"]
    assert all(name.startswith("fonts-") for name in names) and all(package.version for package in listed_packages())


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path, capsys):
    root = debian_root(tmp_path / "root")
    said = refusal(find_packages, root, part=False)
    missing = [package.name for package in listed_packages() if package.name not in PACKAGES]
    assert said == (
        f"glyphs: {len(missing)} of {len(listed_packages())} font packages are not installed; install them with: "
        f"apt-get install --no-install-recommends {' '.join(missing)}"
    )
    assert main(["prepare", "glyphs", str(root), str(tmp_path / "made")]) == 2
    assert capsys.readouterr().err == f"sosr-data: error: {said}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root"]
    assert [package.name for package in find_packages(root, part=True)] == list(PACKAGES)


def test_a_system_without_any_of_the_packages_is_refused_even_as_a_part(tmp_path):
    root = debian_root(tmp_path / "root", {})
    assert refusal(find_packages, root, part=True).startswith("glyphs: 303 of 303 font packages are not installed")


def test_other_systems_are_told_what_is_needed(tmp_path):
    said = refusal(find_packages, tmp_path, part=True)
    assert f"{tmp_path / 'var/lib/dpkg/status'} cannot be read" in said and "on Debian 12" in said


def test_other_versions_are_refused_and_a_part_records_them(root, monkeypatch):
    listed = tuple(Package(name, "0") for name in PACKAGES)
    monkeypatch.setattr(glyph_packages, "listed_packages", lambda: listed)
    said = refusal(find_packages, root, part=False)
    assert said.startswith("glyphs: 3 of 3 font packages are not of the versions") and "fonts-dejavu-core" in said
    assert all(package.version != "0" for package in find_packages(root, part=True))


def test_a_package_whose_list_is_gone(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "root")
    (copy / "var/lib/dpkg/info/fonts-lyx.list").unlink()
    assert "dpkg's list of fonts-lyx cannot be read" in refusal(font_files, copy, "fonts-lyx")


def test_links_and_other_files_of_a_package_are_no_fonts(tmp_path):
    root = debian_root(tmp_path)
    folder = root / "usr/share/fonts/truetype/fonts-lyx"
    (folder / "link.ttf").symlink_to("cmr10.ttf")
    path = root / "var/lib/dpkg/info/fonts-lyx.list"
    write(path, path.read_text() + f"/{(folder / 'link.ttf').relative_to(root)}\n/usr/gone.ttf\n/usr/share/doc/x\n")
    assert [path.name for path in font_files(root, "fonts-lyx")] == ["cmex10.ttf", "cmr10.ttf"]


def test_every_font_has_names_version_and_licence(made):
    rows = fonts_of(made)
    assert {row["family"] for row in rows} == {"DejaVu Sans", "DejaVu Serif", "STIXGeneral"}
    assert all(row["version"] and row["licence"] and row["package_version"] for row in rows)
    assert {row["package"] for row in rows} == {"fonts-dejavu-core", "fonts-stix"}
    assert (made / rows[0]["file"]).suffix == ".ttf" and rows[0]["index"] == "0"


def test_what_is_left_out_is_counted_by_its_rule(made):
    with open(made / "left_out.csv", newline="") as file:
        counted = {row["rule"]: int(row["fonts"]) for row in csv.DictReader(file)}
    assert list(counted) == list(RULES)
    # cmr10 and cmex10 have TeX's encoding, STIXNonUni lacks characters.
    assert {rule: count for rule, count in counted.items() if count} == {"other signs": 2, "lacks characters": 1}


def test_the_same_packages_give_the_same_files(root, made, tmp_path):
    prepare(PREPARATION, root, tmp_path / "again", allow_subset=True)
    names = sorted(path.name for path in made.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    assert all((made / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    assert check_folder(made) == []
    content = json.loads((made / "manifest.json").read_text())
    assert content["archives"][0] == {"package": "fonts-dejavu-core", "version": "2.37-6"}
    assert set(content["made_with"]) == {"freetype", "pillow", "fonttools"}


def test_the_data_set_opens_with_a_font_and_a_character_for_each_image(made):
    parts = {split: open_source("glyphs", str(made), split) for split in ("train", "validation")}
    rows = fonts_of(made)
    assert sum(len(part) for part in parts.values()) == 94 * len(rows)
    for split, part in parts.items():
        assert part.info.num_classes == 94 and part.info.class_names == CHARACTERS and part.info.image_size == 32
        assert part.info.origin["subset"] and part.read_labels().tolist() == list(range(94)) * (len(part) // 94)
        fonts = [row for row in rows if row["split"] == ("train" if split == "train" else "test")]
        assert part.name(94 * len(fonts) - 1) == f"{fonts[-1]['file']}, character ~"
        image, label = part.load(33)
        assert image.size == (32, 32) and CHARACTERS[label] == "B"


def test_related_families_are_held_out_together(made):
    part = open_source("glyphs", str(made), "train")
    assert {part.held_out_key(index) for index in range(len(part))} == {
        f"held out: {row['group']}" for row in fonts_of(made) if row["split"] == "train"
    }
    left, held = hold_out(two_groups(part), 0.5)
    assert len(left) % 94 == 0 and len(held) % 94 == 0 and len(held)


def two_groups(part):
    """The source with each font a group of its own, of names whose hashes fall on both sides."""
    part.groups = [f"group {place}" for place in range(len(part.fonts))]
    return part


def test_a_set_that_is_not_there_says_how_it_is_made(tmp_path, monkeypatch, made):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said = refusal(open_source, "glyphs", None, "train")
    assert said == (
        f"glyphs: not in {tmp_path / 'sosr_timm' / 'glyphs'}; make it from Debian's font packages with: "
        "sosr-data prepare glyphs"
    )
    shutil.copytree(made, tmp_path / "sosr_timm" / "glyphs")
    assert len(open_source("glyphs", None, "train"))
    assert refusal(open_source, "glyphs", str(tmp_path), "train").endswith(f"sosr-data prepare glyphs / {tmp_path}")


def test_files_that_do_not_fit_each_other_are_refused(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    lines = (copy / "fonts.csv").read_text().splitlines(True)
    (copy / "fonts.csv").write_text("".join(lines[:2]))
    assert "do not fit each other; prepare glyphs again" in refusal(open_source, "glyphs", str(copy), "train")


def test_prepare_without_paths_uses_the_defaults_of_glyphs_and_refuses_other_sets(monkeypatch, tmp_path, capsys, root):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert PREPARATION.default_source == Path("/") and PREPARATION.default_destination().is_relative_to(tmp_path)
    assert main(["prepare", "glyphs", str(root), "--allow-subset"]) == 0
    assert read_manifest(tmp_path / "sosr_timm" / "glyphs").subset
    assert main(["prepare", "cifar10"]) == 2
    assert capsys.readouterr().err.startswith("sosr-data: error: cifar10: name the source and the destination; get ")
    assert main(["prepare", "cifar10", "here"]) == 2
    assert capsys.readouterr().err.startswith("sosr-data: error: cifar10: name the destination; get ")
    assert main(["packages"]) == 0
    assert capsys.readouterr().out.split() == [package.name for package in listed_packages()]


def test_counts_that_are_not_the_published_ones_are_refused(root, tmp_path, monkeypatch):
    versions = {package.name: package for package in listed_packages()}
    monkeypatch.setattr(glyph_packages, "listed_packages", lambda: tuple(versions[name] for name in PACKAGES))
    with pytest.raises(UserError, match="images of class 0 in train, not 994"):
        prepare(PREPARATION, root, tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_pictures_share_scale_and_baseline_and_keep_a_margin():
    pictures = render(FONTS / "DejaVuSans.ttf", 0)
    assert pictures.shape == (94, 32, 32) and pictures.dtype == np.uint8
    ink = pictures > 0
    assert not ink[:, :2].any() and not ink[:, -2:].any() and not ink[:, :, :2].any() and not ink[:, :, -2:].any()
    assert distinct_pictures(pictures) == 94
    height = {
        character: np.flatnonzero((picture > 127).any(axis=1))
        for character, picture in zip(CHARACTERS, pictures, strict=True)
    }
    assert np.ptp(height["o"]) < np.ptp(height["O"])
    assert height["H"][-1] == height["I"][-1] and height["'"][-1] < height[","][0]


def test_a_file_that_is_no_font_is_unreadable(tmp_path):
    (tmp_path / "bad.ttf").write_bytes(b"no font at all")
    (found,) = read_fonts(tmp_path, Path("bad.ttf"), "fonts-bad", "1")
    assert found.rule == "unreadable" and render(tmp_path / "bad.ttf", 0) is None
    content = (FONTS / "DejaVuSans.ttf").read_bytes()
    (tmp_path / "half.ttf").write_bytes(content[: len(content) // 3])
    found = list(read_fonts(tmp_path, Path("half.ttf"), "fonts-bad", "1"))
    assert len(found) == 1 and found[0].rule == "unreadable"


def test_distances_are_root_mean_squares():
    fonts = np.random.default_rng(0).integers(0, 256, (5, 94, 32, 32), dtype=np.uint8)
    found = distances(fonts)
    flat = fonts.reshape(5, -1).astype(np.float64)
    expected = [[np.sqrt(((one - other) ** 2).mean()) for other in flat] for one in flat]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_fonts_that_look_the_same_are_left_out_after_the_first(tmp_path, monkeypatch):
    names = ("DejaVuSans.ttf", "STIXGeneral.ttf")
    root = debian_root(tmp_path, {"fonts-dejavu-core": names, "fonts-stix": names})
    found = glyphs.collect(root, find_packages(root, part=True))
    assert len(found.fonts) == 2 and found.left_out["same pictures"] == 2
    assert {font.package for font in found.fonts} == {"fonts-dejavu-core"}
    apart = np.array([[0, 3.9, 9], [3.9, 0, 3.9], [9, 3.9, 0]])
    assert glyphs._without_look_alikes(apart) == [0, 2], "only fonts that are kept make later ones duplicates"


def test_families_of_one_design_are_one_group():
    families = ["Alpha", "Alpha Light", "Beta", "Gamma", "Delta"]
    apart = np.full((5, 5), 50.0)
    apart[2, 3] = apart[3, 2] = glyphs.RELATED - 0.1
    assert group_families(families, apart) == ["Alpha", "Alpha", "Beta", "Beta", "Delta"]


@pytest.mark.parametrize(
    ("family", "design"),
    [
        ("Clear Sans Light", "clear sans"),
        ("OCRABold", "ocra"),
        ("RobotoBoldItalic", "roboto"),
        ("Routed Gothic Narrow Half Italic", "routed gothic"),
        ("Px IBM VGA8-2x", "px ibm vga8"),
        ("Accanthis ADF Std No2", "accanthis adf"),
        ("Light", "light"),
        ("DejaVu Sans Mono", "dejavu sans mono"),
    ],
)
def test_words_of_style_at_the_end_of_a_family_name(family, design):
    assert design_of(family) == design


def test_the_split_depends_on_the_name_alone_and_is_about_a_fifth():
    parts = [split_of(f"family {number}") for number in range(2000)]
    assert 0.17 < parts.count("test") / 2000 < 0.23
    assert split_of("IBM 3270") == "train" and split_of("Gillius ADF") == "test"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("This Font Software is licensed under the SIL Open Font License, Version 1.1.", "OFL-1.1"),
        ("http://www.apache.org/licenses/LICENSE-2.0", "Apache-2.0"),
        ("GNU Lesser General Public License", "LGPL"),
        ("GPL with font exception", "GPL"),
        ("CC BY-SA 4.0", "CC-BY-SA"),
        ("Creative Commons Attribution", "CC-BY"),
        ("All rights reserved.", ""),
    ],
)
def test_licences_are_known_by_their_text(text, name):
    assert licence_of(text) == name


def test_licences_of_debians_copyright_files(root, tmp_path):
    assert debian_licence(root, "fonts-stix") == "OFL-1.1", "that of debian/ is the packaging's"
    write(tmp_path / "usr/share/doc/fonts-x/copyright", "It may be used under the GNU GPL.\n")
    assert debian_licence(tmp_path, "fonts-x") == "GPL"
    write(tmp_path / "usr/share/doc/fonts-x/copyright", "Ask the author.\n")
    assert debian_licence(tmp_path, "fonts-x") == "see copyright of fonts-x"
    assert debian_licence(tmp_path, "fonts-y") == "unknown (No such file or directory)"


def test_the_published_counts_are_those_of_the_record():
    spec = PREPARATION.spec
    assert {split: part["images"] for split, part in RECORD["splits"].items()} == spec.counts
    assert {split: part["fonts"] for split, part in RECORD["splits"].items()} == spec.per_class
    assert RECORD["families"] >= 500 and all(isinstance(reason, str) for reason in OTHER_SIGNS.values())
    info = open_info()
    assert (RECORD["mean"],) == info.mean and (RECORD["std"],) == info.std


def open_info():
    from sosr_timm.data.sources.glyphs import INFO

    return dataclasses.replace(INFO)


@pytest.mark.slow
def test_debians_packages_give_the_published_files(tmp_path):
    try:
        find_packages(Path("/"), part=False)
    except UserError as error:
        pytest.skip(str(error)[:200])
    if glyphs.libraries() != RECORD["made_with"]:
        pytest.skip(f"made with {glyphs.libraries()}; the published hashes are of {RECORD['made_with']}")
    prepare(PREPARATION, Path("/"), tmp_path / "glyphs")
    lines = [
        line
        for split in ("train", "test")
        for line in (tmp_path / "glyphs" / f"{split}.sha256").read_text().split("\n")
    ]
    assert {line.split("  ")[1]: line.split("  ")[0] for line in lines if line} == RECORD["sha256"]
