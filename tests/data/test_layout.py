import random

import pytest

from carcls.data.sources.layout import Placed, arrange, canonical_class
from carcls.errors import InputError


def sentence(*paths: str) -> str:
    with pytest.raises(InputError) as error:
        arrange(paths, "tree")
    return str(error.value)


def test_splits_are_found_at_any_depth_and_in_any_spelling():
    rows = arrange(
        ["car_data/car_data/train/B/2.jpg", "x/Valid/A/1.PNG", "Testing/deep/A/1.webp", "TRAIN/A/1.jpeg"],
        "tree",
    )
    assert rows == [
        Placed("Testing/deep/A/1.webp", "test/A/1.webp", "A", "test"),
        Placed("TRAIN/A/1.jpeg", "train/A/1.jpeg", "A", "train"),
        Placed("car_data/car_data/train/B/2.jpg", "train/B/2.jpg", "B", "train"),
        Placed("x/Valid/A/1.PNG", "val/A/1.PNG", "A", "val"),
    ]


def test_without_splits_the_name_is_class_and_file():
    assert [row.name for row in arrange(["data/B/1.jpg", "data/A/1.jpg"], "tree")] == ["A/1.jpg", "B/1.jpg"]


def test_a_leading_dot_is_no_hidden_folder():
    assert arrange(["./A/1.jpg", "./B/1.jpg"], "tree")[0] == Placed("./A/1.jpg", "A/1.jpg", "A", "")


def test_the_nearest_split_folder_counts():
    assert arrange(["test/train/A/1.jpg", "test/train/B/1.jpg"], "tree")[0].split == "train"


def test_order_of_paths_does_not_matter():
    paths = [
        f"{split}/{name}/{number}.jpg" for split in ("train", "test") for name in "BA" for number in range(9)
    ]
    shuffled = random.Random(1).sample(paths, len(paths))
    rows = arrange(shuffled, "tree")
    assert rows == arrange(paths, "tree")
    assert [row.name for row in rows] == sorted(row.name for row in rows)


def test_files_that_are_no_photographs_are_left_out():
    junk = [
        "A/.1.jpg",
        ".cache/A/1.jpg",
        "__MACOSX/A/1.jpg",
        "A/Thumbs.db",
        "labels.csv",
        "A/notes.txt",
        "A/jpg",
    ]
    assert len(arrange(["A/1.jpg", "B/1.jpg", *junk], "tree")) == 2


@pytest.mark.parametrize("spelling", ["Ram C/V", "Ram C-V", "Ram C_V", "Ram CV"])
def test_the_class_with_a_slash_is_one_class(spelling):
    assert canonical_class(f"{spelling} Cargo Van Minivan 2012") == "Ram C-V Cargo Van Minivan 2012"


def test_other_classes_keep_their_names():
    assert canonical_class("Honda CR-V 2012") == "Honda CR-V 2012"
    assert canonical_class("Citroe\u0308n C4") == "Citro\u00ebn C4"


def test_spellings_of_one_class_are_merged_across_splits():
    rows = arrange(["train/Ram CV 2012/1.jpg", "test/Ram C_V 2012/2.jpg", "train/A/1.jpg"], "tree")
    assert {row.class_name for row in rows} == {"A", "Ram C-V 2012"}


def test_a_class_may_be_missing_from_test():
    assert len(arrange(["train/A/1.jpg", "train/B/1.jpg", "test/A/2.jpg"], "tree")) == 3


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["A/notes.txt"], ["tree", "holds no images", ".jpg"]),
        (["A/1.jpg", "A/2.jpg"], ["tree", "one class only", "'A'"]),
        (["A/1.jpg", "B/1.jpg", "loose.jpg"], ["loose.jpg", "no class folder"]),
        (["train/1.jpg", "train/A/1.jpg"], ["train/1.jpg", "no class folder"]),
        (["cars_train/00001.jpg", "cars_test/00001.jpg"], ["cars_train/00001.jpg", "no class folder"]),
        (
            ["train/A/1.jpg", "train/B/1.jpg", "B/2.jpg"],
            ["B/2.jpg", "outside the train, val and test folders"],
        ),
        (["train/A/1.jpg", "train/B/1.jpg", "test/C/1.jpg"], ["'C'", "in test but not in train"]),
        (["x/A/1.jpg", "y/A/1.jpg", "B/1.jpg"], ["x/A/1.jpg and y/A/1.jpg", "rename"]),
        (["A/\udcff.jpg", "B/1.jpg"], ["\\udcff.jpg", "UTF-8"]),
    ],
)
def test_each_fault_has_its_sentence(paths, words):
    text = sentence(*paths)
    assert all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".")
