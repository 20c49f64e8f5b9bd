from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

from tests.engine.tiny_taggers import SIDE, mean_network, write_deepdanbooru, write_wd_tagger
from webui.catalog.taggers import list_taggers
from webui.core.errors import ModelError
from webui.core.interrogation import Tag, Tagger
from webui.engine.tags import read_tags

BLUE, GREEN, RED = (0, 0, 255), (0, 255, 0), (255, 0, 0)


def tagger_in(models: Path) -> Tagger:
    [tagger] = list_taggers(models)
    return tagger


def sure(picture: Image.Image, tagger: Tagger) -> set[str]:
    return {tag.name for tag in read_tags(picture, tagger) if tag.share > 0.9}


def flat(colour: tuple[int, ...], size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.new("RGBA" if len(colour) == 4 else "RGB", size, colour)


@pytest.fixture
def wd(tmp_path: Path) -> Tagger:
    write_wd_tagger(tmp_path / "Taggers" / "wd-tiny")
    return tagger_in(tmp_path)


def test_a_wd_tagger_sees_blue_green_red_from_0_to_255(wd: Tagger) -> None:
    assert [sure(flat(colour), wd) for colour in (BLUE, GREEN, RED)] == [{"rating_safe"}, {"red_hair"}, {"grin_(face)"}]
    [_, *rest] = read_tags(flat((0, 128, 0)), wd)
    assert rest[0].share == pytest.approx(0.5, abs=0.02)
    assert [tag.kind for tag in read_tags(flat(RED), wd)] == ["rating", "general", "general", "character"]


def test_a_wd_tagger_sees_the_picture_in_the_middle_of_a_white_square(wd: Tagger) -> None:
    # Three quarters of the square are white, on which all three are sure; stretched, a red picture would have red alone.
    for size in ((80, 20), (20, 80)):
        assert sure(flat(RED, size), wd) == {"rating_safe", "red_hair", "grin_(face)"}
    assert sure(flat((0, 0, 0, 0)), wd) == {"rating_safe", "red_hair", "grin_(face)"}


def test_deepdanbooru_sees_red_green_blue_from_0_to_1_and_smeared_edges(tmp_path: Path) -> None:
    write_deepdanbooru(tmp_path / "torch_deepdanbooru")
    tagger = tagger_in(tmp_path)
    assert (tagger.kind, tagger.model.name) == ("deepdanbooru", "deepdanbooru.onnx")
    for name, colour in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        assert sure(flat(colour, (80, 20)), tagger) == {name, "rating:safe"}
    assert read_tags(flat(RED), tagger)[-1].kind == "rating"


def test_taggers_are_listed_by_name_and_folders_that_lack_a_part_are_not(tmp_path: Path) -> None:
    assert list_taggers(tmp_path) == ()
    for name in ("wd-10", "wd-9"):
        write_wd_tagger(tmp_path / "Taggers" / name)
    (write_wd_tagger(tmp_path / "Taggers" / "half") / "selected_tags.csv").unlink()
    (write_wd_tagger(tmp_path / "Taggers" / "other") / "model.onnx").unlink()
    assert [one.name for one in list_taggers(tmp_path)] == ["wd-9", "wd-10"]


def broken_model(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"nothing of the kind")


def another_shape(folder: Path) -> None:
    write_wd_tagger(folder, network=mean_network(np.eye(SIDE, 4), np.zeros(4), shape=(1, 3, SIDE, SIDE)))


def another_list(folder: Path) -> None:
    write_wd_tagger(folder, (("one", "0"), ("two", "0")), mean_network(np.eye(3, 4), np.zeros(4)))


def no_list(folder: Path) -> None:
    (folder / "selected_tags.csv").write_text("a,b\n1,2\n")


def empty_list(folder: Path) -> None:
    (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n")


def binary_list(folder: Path) -> None:
    (folder / "selected_tags.csv").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (broken_model, "cannot be used as a tagger"), (another_shape, "side, side, 3"), (another_list, "4 tags .* names 2"),
        (no_list, "columns"), (empty_list, "no list of tags"), (binary_list, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_tagger_says_why(tmp_path: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(write_wd_tagger(tmp_path / "Taggers" / "wd-tiny"))
    with pytest.raises(ModelError, match=says):
        read_tags(flat(RED), tagger_in(tmp_path))


@pytest.mark.parametrize("place", ["../../secret", "/etc/hostname"])
def test_a_model_reads_no_numbers_from_outside_its_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(48))
    network = mean_network(np.eye(3, 4), np.zeros(4))
    outside = network.graph.initializer[0]
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in (("location", place), ("length", "48")):
        entry = outside.external_data.add()
        entry.key, entry.value = key, value
    write_wd_tagger(tmp_path / "Taggers" / "wd-tiny", network=network)
    with pytest.raises(ModelError, match="cannot be used as a tagger") as raised:
        read_tags(flat(RED), tagger_in(tmp_path))
    assert str(tmp_path) not in str(raised.value)


def test_an_answer_has_all_tags_in_the_order_of_their_list(wd: Tagger) -> None:
    tags = read_tags(flat(GREEN), wd)
    assert [tag.name for tag in tags] == ["rating_safe", "red_hair", "grin_(face)", "green_(series)"]
    assert all(isinstance(tag, Tag) and 0 <= tag.share <= 1 for tag in tags)
