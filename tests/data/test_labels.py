"""Tables of labels: classes, exclusions, groups, and messages for invalid tables."""

import hashlib
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import draw_shapes

from carcls.data import labels
from carcls.data.collect import EXCLUDED, UNLABELLED, collect
from carcls.data.sources.folder import open_folder
from carcls.errors import InputError
from carcls.imageset.archive import read_index
from carcls.results.settings import count


@pytest.fixture
def shapes(tmp_path) -> Path:
    draw_shapes(tmp_path / "shapes", 4)
    return tmp_path / "shapes"


@pytest.fixture
def flat(shapes) -> Path:
    """The images of `shapes` in one folder, named CLASS-NUMBER.png."""
    folder = shapes.with_name("flat")
    folder.mkdir()
    for path in shapes.rglob("*.png"):
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def table(folder: Path, *rows: str) -> labels.Labels:
    path = folder.with_name("labels.csv")
    path.write_text("\n".join(rows) + "\n")
    return labels.read(path)


def collected(folder: Path, decided: labels.Labels) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    raw = folder.with_name("raw.tar")
    left_out = collect(labels.open_labelled(folder, decided), raw, False, decided)
    return read_index(raw).set_index("name"), left_out


def test_rows_set_class_exclusion_and_group_and_keep_other_images(shapes):
    (shapes / "bar/02.png").write_bytes(b"damaged")
    decided = table(
        shapes,
        "sha256,image,class,reason,group",
        f"{sha256(shapes / 'disc/00.png').upper()},elsewhere.png,square,round,",
        ",bar/02.png,exclude,,",
        ",bar/01.png,,,front",
        ",./square\\03.png,,kept,",
    )
    rows, left_out = collected(shapes, decided)
    assert rows["class"]["disc/00.png"] == "square" and rows["label"]["disc/00.png"] == 2
    assert left_out == [(EXCLUDED, "bar/02.png")] and "bar/02.png" not in rows.index
    assert rows[rows["group"] != ""]["group"].to_dict() == {"bar/01.png": "front"}
    others = rows.drop("disc/00.png")
    assert (others["class"] == [name.partition("/")[0] for name in others.index]).all() and len(rows) == 11
    assert len(count(str(shapes), str(decided.path)).rows) == 11


def test_images_are_paths_in_the_folder_or_names_in_photographs_csv(shapes):
    draw_shapes(shapes.parent / "top/wrapper/Training", 3)
    draw_shapes(shapes.parent / "top/wrapper/Testing", 1)
    for image in ("wrapper/Training/disc/00.png", "train/disc/00.png"):
        rows, _ = collected(shapes.parent / "top", table(shapes, "image,class", f"{image},bar"))
        assert rows["class"]["train/disc/00.png"] == "bar", image


def test_a_flat_folder_gets_the_classes_of_the_table(flat, caplog):
    names = sorted(path.name for path in flat.iterdir())[1:]
    rows = [f"{name},{name.partition('-')[0].title()}" for name in names]
    decided = table(flat, "image,label,extra", *(f"{row},1" for row in rows), "none.png,Ring,1")
    found = count(str(flat), str(decided.path))
    assert found.classes() == ["Bar", "Disc", "Square"] and len(found.rows) == 11
    index, left_out = collected(flat, decided)
    assert index["class"].value_counts().to_dict() == {"Bar": 3, "Disc": 4, "Square": 4}
    assert left_out == [(UNLABELLED, "bar-00.png")]
    assert "1 of 12 rows match no photograph: line 13 (none.png)" in caplog.text


def test_a_table_of_all_images_replaces_the_classes_of_the_folders(shapes):
    rows = [
        f"{path.relative_to(shapes)},{'odd' if path.stem > '01' else 'even'}"
        for path in shapes.rglob("*.png")
    ]
    assert set(collected(shapes, table(shapes, "image,class", *rows))[0]["class"]) == {"even", "odd"}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["image,class", "bar/00.png,Bar"], r"line 2: 'Bar' is not a class .* \(did you mean 'bar'\?\)"),
        (["image,class", "a.png,bar", "a.png,disc"], "lines 2 and 3 refer to the same image, a.png"),
        (["image,class", "a.png,bar"], "no row matches a photograph"),
        (["sha256,class", f"{'0' * 64},bar"], "no row matches a photograph"),
        (["image,kind", "bar/00.png,bar"], "columns image, kind: it needs class or label"),
        (["class", "bar"], "columns class: it needs class or label, and sha256 or image"),
        (["sha256,image,class", ",,bar"], "line 2: sha256 and image are empty"),
        (["image,class", '"bar/00.png,bar'], "not a CSV file in UTF-8"),
        ([""], r"columns \(none\)"),
    ],
)
def test_an_invalid_table_gives_one_message(shapes, rows, expected):
    with pytest.raises(InputError, match=rf"labels\.csv.*{expected}"):
        collected(shapes, table(shapes, *rows))


def test_two_rows_for_one_photograph_are_named(shapes):
    rows = ["sha256,image,class", f"{sha256(shapes / 'bar/00.png')},,disc", ",bar/00.png,square"]
    with pytest.raises(InputError, match="lines 2 and 3 refer to the same image, bar/00.png"):
        collected(shapes, table(shapes, *rows))


def test_a_class_named_exclude_is_rejected(shapes):
    (shapes / "disc").rename(shapes / "exclude")
    with pytest.raises(InputError, match="is also a class of the photographs: rename its folder"):
        collected(shapes, table(shapes, "image,class", "bar/00.png,exclude"))


def test_a_class_without_remaining_images_and_a_missing_table_are_named(shapes):
    rows = [f"bar/0{number}.png,exclude" for number in range(4)]
    with pytest.raises(
        InputError, match=r"'bar' has no readable image: .*, or change its rows in .*labels\.csv"
    ):
        collected(shapes, table(shapes, "image,class", *rows))
    with pytest.raises(InputError, match=r"data\.labels: .*none\.csv does not exist"):
        labels.read(shapes / "none.csv")


def test_a_path_with_another_sha256_matches_no_image_in_a_flat_folder(flat):
    decided = table(
        flat,
        "sha256,image,class",
        *(f"{number:064},{name},{name[:3]}" for number, name in enumerate(os.listdir(flat))),
    )
    with pytest.raises(InputError, match="no row matches a photograph"):
        collected(flat, decided)


def test_without_a_table_no_image_has_a_group(shapes):
    raw = shapes.with_name("raw.tar")
    collect(open_folder(shapes), raw, False)
    assert set(read_index(raw)["group"]) == {""}
