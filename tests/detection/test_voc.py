"""VOC's annotations: coordinates, lists, classes, and one line for everything that is wrong with them."""

import shutil

import numpy as np
import pytest
from PIL import Image

from sosr_timm.data.prepare.voc import CLASSES
from sosr_timm.detection.voc import open_scenes
from sosr_timm.errors import UserError
from tools.fashion_scenes import Item, annotation, write_list

OBJECT = (
    "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
SIZE = "<size><width>40</width><height>30</height><depth>3</depth></size>"


@pytest.fixture
def one(tmp_path):
    """One image of 40 x 30 pixels, and a function that writes its annotation and reads the list."""
    write_list(tmp_path, "2007", "test", [(Image.new("RGB", (40, 30)), [])])
    path = tmp_path / "VOCdevkit/VOC2007/Annotations/000001.xml"

    def read(content: str, class_map: str = ""):
        path.write_text(f"<annotation>{content}</annotation>")
        return open_scenes(tmp_path, ("2007_test",), class_map).scenes[0]

    return read


def test_pixels_are_counted_from_1_and_the_last_one_is_included(one):
    scene = one(SIZE + OBJECT.format(1, 1, 40, 30) + OBJECT.format(5, 6, 7, 9))
    assert scene.boxes.tolist() == [[0, 0, 40, 30], [4, 5, 7, 9]] and scene.boxes.dtype == np.float32
    assert scene.labels.tolist() == [CLASSES.index("cat")] * 2
    assert scene.difficult.tolist() == [False, False]  # older annotations do not say
    assert (scene.name, scene.width, scene.height) == ("2007/000001", 40, 30)


def test_an_image_without_objects_and_boxes_in_fractions(one):
    assert one(SIZE).boxes.shape == (0, 4)
    assert one(SIZE + OBJECT.format("4.5", 1, "10.25", 9)).boxes.tolist() == [[3.5, 0, 10.25, 9]]


def test_what_the_generator_writes_is_what_is_read(one):
    items = [Item("dog", (3, 4, 20, 21), True), Item("cat", (0, 0, 40, 30), False)]
    text = annotation("000001", Image.new("RGB", (40, 30)), items).decode()
    scene = one(text.removeprefix("<annotation>").rpartition("</annotation>")[0])
    assert scene.boxes.tolist() == [list(item.box) for item in items]
    assert scene.difficult.tolist() == [True, False]


def test_lists_are_joined_in_order_and_an_image_may_be_in_one_only(voc):
    data = open_scenes(voc, ("2012_trainval", "2007_trainval"))
    assert [scene.name for scene in data.scenes][::5] == ["2012/000001", "2007/000001"] and len(data) == 9
    assert data.origin == {"splits": ["2012_trainval", "2007_trainval"]}
    with pytest.raises(UserError, match="5 images are in more than one of the lists"):
        open_scenes(voc, ("2012_trainval", "2012_trainval"))


def test_other_classes_come_from_a_class_map(one, tmp_path):
    (tmp_path / "names.txt").write_text("bat\ncat\n")
    assert one(SIZE + OBJECT.format(1, 1, 4, 4), "names.txt").labels.tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SIZE + OBJECT.format(1, 1, 40, 30).replace("cat", "cta"), "unknown class 'cta': did you mean 'cat'"),
        (SIZE + OBJECT.format(1, 1, 45, 30), r"box of 'cat' from \(1, 1\) to \(45, 30\) is outside of the image of 40"),
        (SIZE + OBJECT.format(-3, 1, 5, 30), "outside of the image"),
        (SIZE + OBJECT.format(9, 1, 5, 30), "has no area"),
        (SIZE + OBJECT.format(1, 1, "wide", 30), "<bndbox><xmax> is 'wide', not a number"),
        (SIZE + OBJECT.format(1, "nan", 4, 30), "<bndbox><ymin> is 'nan', not a number"),
        (SIZE + "<object><name>cat</name></object>", "<bndbox><xmin> is None, not a number"),
        (OBJECT.format(1, 1, 4, 4), "<size><width> is None, not a number"),
        (SIZE.replace("40", "0"), "the image has 0 x 30 pixels"),
        (SIZE + "<object>", r"000001.xml is not valid XML \(mismatched tag"),
    ],
)
def test_a_wrong_annotation_is_one_line_with_its_file(one, content, message):
    with pytest.raises(UserError, match=message) as raised:
        one(content)
    assert "000001.xml" in str(raised.value)


def test_missing_files_are_one_line(voc, tmp_path):
    with pytest.raises(UserError, match=r"where is VOC.*sosr-data prepare voc"):
        open_scenes(None, ("2007_test",))
    with pytest.raises(UserError, match="no such directory; make it with: sosr-data prepare voc"):
        open_scenes(tmp_path / "none", ("2007_test",))
    with pytest.raises(UserError, match="has no VOCdevkit"):
        open_scenes(tmp_path, ("2007_test",))
    with pytest.raises(UserError, match=r"unknown list '2007_tset'.*did you mean '2007_test'"):
        open_scenes(voc, ("2007_tset",))
    copy = shutil.copytree(voc, tmp_path / "copy")
    (copy / "VOCdevkit/VOC2007/JPEGImages/000100.jpg").unlink()
    with pytest.raises(UserError, match=r"000100.jpg is missing; .*000100.xml describes it"):
        open_scenes(copy, ("2007_test",))
    (copy / "VOCdevkit/VOC2007/Annotations/000100.xml").unlink()
    with pytest.raises(UserError, match=r"000100.xml cannot be read \(No such file"):
        open_scenes(copy, ("2007_test",))
    (copy / "VOCdevkit/VOC2007/ImageSets/Main/test.txt").write_text("\n")
    with pytest.raises(UserError, match="names no image"):
        open_scenes(copy, ("2007_test",))
