import random

import pytest

from carcls.data.sources import layout
from carcls.data.sources.filter import summary
from carcls.data.sources.layout import Placed, canonical_class, lookalikes
from carcls.data.sources.splits import parse_split, split_of
from carcls.errors import InputError


def arrange(paths, origin="tree") -> list[Placed]:
    return layout.arrange(paths, origin).rows


def tree(*folders: str) -> list[str]:
    """Two photographs in each of `folders`."""
    return [f"{folder}/{number}.jpg" for folder in folders for number in (1, 2)]


def labels(*folders: str) -> set[tuple[str, str]]:
    return {(row.split, row.class_name) for row in arrange(tree(*folders))}


def error_message(*paths: str) -> str:
    with pytest.raises(InputError) as error:
        arrange(paths, "tree")
    return str(error.value)


def test_wrapper_folders_are_ignored_and_splits_come_before_classes():
    rows = arrange(["x/data/train/B/2.jpg", "x/data/Testing/A/1.webp", "x/data/train/A/1.PNG"])
    assert rows == [
        Placed("x/data/Testing/A/1.webp", "test/A/1.webp", "A", "test"),
        Placed("x/data/train/A/1.PNG", "train/A/1.PNG", "A", "train"),
        Placed("x/data/train/B/2.jpg", "train/B/2.jpg", "B", "train"),
    ]


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("TRAIN", "Valid", "Testing"),
        ("seg_train/seg_train", "seg_val", "seg_test/seg_test"),
        ("train_images", "val_images", "test_images"),
        ("trainset", "valset", "testset"),
        ("01-Training (70%)", "02-Validation", "03-Test"),
        ("TrainingData", "ValidationData", "TestData"),
        ("train2017", "val2017", "test2017"),
        ("cars_train/images", "cars_dev/images", "cars_test/images"),
        ("trn", "vld", "tst"),
        ("train", "val", "holdout"),
        ("Entrenamiento", "Validación", "Prueba"),
        ("训练集", "验证集", "测试集"),
    ],
)
def test_splits_are_recognised_in_many_spellings(train, val, test):
    folders = [f"{split}/{name}" for split in (train, val, test) for name in ("A", "B")]
    assert labels(*folders) == {(split, name) for split in ("train", "val", "test") for name in "AB"}


def test_a_single_split_is_recognised_and_a_wrapper_named_like_a_split_is_ignored():
    assert labels("train/A", "train/B") == {("train", "A"), ("train", "B")}
    folders = [f"test_data/{split}/{name}" for split in ("train", "test") for name in "AB"]
    assert labels(*folders) == {(split, name) for split in ("train", "test") for name in "AB"}


@pytest.mark.parametrize("name", ["train_or_test", "sea", "crash", "trained", "contest", "valley", "2017"])
def test_other_words_are_not_splits(name):
    assert parse_split(name) is None


def test_a_folder_of_train_and_validation_counts_as_train():
    assert split_of("trainval") == split_of("train_val") == "train"


def test_folders_in_a_class_folder_belong_to_the_class():
    rows = arrange(tree("Audi/front", "Audi/rear", "BMW/front"))
    assert [row.name for row in rows][:3] == ["Audi/front/1.jpg", "Audi/front/2.jpg", "Audi/rear/1.jpg"]
    assert {row.class_name for row in rows} == {"Audi", "BMW"}
    assert labels("A/train", "B/front") == {("", "A"), ("", "B")}
    assert labels("train/A/train", "train/B", "test/A/test", "test/B") == {
        (s, c) for s in ("train", "test") for c in "AB"
    }
    assert labels("train/A/x", "train/B", "test/A/y", "test/B") == {
        (s, c) for s in ("train", "test") for c in "AB"
    }


def test_a_folder_is_a_split_only_if_it_contains_class_folders():
    assert labels("bus", "car", "train") == {("", "bus"), ("", "car"), ("", "train")}
    assert labels("control", "test") == {("", "control"), ("", "test")}
    assert labels("airport/in", "train_station/in") == {("", "airport"), ("", "train_station")}
    both = {(split, name) for split in ("train", "test") for name in ("bus", "train")}
    assert labels("train/bus", "train/train", "test/bus", "test/train") == both


def test_splits_inside_class_folders_are_recognised():
    folders = [f"{name}/{split}" for name in "AB" for split in ("train", "test")]
    assert labels(*folders) == {(split, name) for split in ("train", "test") for name in "AB"}


def test_photographs_outside_class_folders_are_skipped_if_there_are_splits():
    others = tree("seg_pred/seg_pred", "test-multiple", "val/images", "to predict")
    rows, left_out = layout.arrange([*others, *tree("train/A", "train/B", "test/A", "test/B")], "tree")
    assert len(rows) == 8 and len(left_out) == len(others)


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (["train", "test"], "test and train"),
        (["train/A", "train/B", "train_aug/A", "test/A"], "train and train_aug all mean train"),
        (["train/A", "train/B", "test/A", "extra/A"], "extra"),
        (["train/A", "train/B", "extra"], "train, beside extra, may be a split or a class"),
        (["train_station/A", "test_site/B"], "test_site and train_station"),
        (["A/train/x", "A/test/x", "B/train/x", "B/test/x"], "test, in the class folder A"),
        (["fold_1/A", "fold_1/B", "fold_2/A", "fold_2/B"], "fold_1 and fold_2 look like parts"),
        (["one/train", "two/test"], "in the class folder"),
        (["train/A/test", "train/B", "test/A", "test/B"], "test, in the class folder A"),
        (["A/front", "A/test", "B/front"], "test, in the class folder A"),
        (["images/train/A", "images/test/A", "masks/train/A", "masks/test/A"], "in the class folder images"),
    ],
)
def test_folders_with_ambiguous_names_are_named(folders, named):
    assert named in error_message(*tree(*folders))


def test_skipped_files_are_counted_by_reason():
    others = [
        "seg_pred/1.jpg",
        "seg_pred/2.jpg",
        "seg_train/a.jpg",
        "seg_train/A/x.txt",
        "seg_train/A/.x.jpg",
    ]
    others += [
        "seg_train/A/@eaDir/1.jpg/THUMB.jpg",
        "seg_train/.ipynb_checkpoints/1.jpg",
        "Thumbs.db",
        "notes",
    ]
    folders = tree("seg_train/A", "seg_train/B", "seg_test/A", "seg_test/B")
    rows, left_out = layout.arrange([*others, *folders], "tree")
    assert len(rows) == 8
    assert summary(left_out) == (
        "3 outside class folders (such as seg_pred/1.jpg), 2 hidden, 2 system, 1 .txt, 1 without a suffix"
    )


def test_without_splits_the_name_is_class_and_file():
    assert [row.name for row in arrange(["data/B/1.jpg", "data/A/1.jpg"], "tree")] == ["A/1.jpg", "B/1.jpg"]


def test_a_leading_dot_and_slash_is_not_a_hidden_folder():
    assert arrange(["./A/1.jpg", "./B/1.jpg"], "tree")[0] == Placed("./A/1.jpg", "A/1.jpg", "A", "")


def test_the_order_of_paths_does_not_matter():
    paths = [
        f"{split}/{name}/{number}.jpg" for split in ("train", "test") for name in "BA" for number in range(9)
    ]
    shuffled = random.Random(1).sample(paths, len(paths))
    rows = arrange(shuffled, "tree")
    assert rows == arrange(paths, "tree")
    assert [row.name for row in rows] == sorted(row.name for row in rows)


def test_files_that_are_not_photographs_are_skipped():
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
        (["A/notes.txt"], ["tree", "contains no images", ".jpg"]),
        (["A/1.jpg", "A/2.jpg"], ["tree", "only one class", "'A'"]),
        (["1.jpg"], ["tree", "no images in class folders"]),
        (["cars_train/00001.jpg", "cars_test/00001.jpg"], ["cars_test and cars_train", "no class folders"]),
        (["train/A/1.jpg", "train/B/1.jpg", "B/2.jpg"], ["train, beside B, may be a split or a class"]),
        (["train/A/1.jpg", "train/B/1.jpg", "test/C/1.jpg"], ["'C'", "in test but not in train"]),
        (["Ram CV/1.jpg", "Ram C-V/1.jpg", "B/1.jpg"], ["Ram C-V/1.jpg and Ram CV/1.jpg", "rename"]),
        (["A/\udcff.jpg", "B/1.jpg"], ["\\udcff.jpg", "UTF-8"]),
    ],
)
def test_each_invalid_tree_has_its_message(paths, words):
    text = error_message(*paths)
    assert all(word in text for word in words), text
    assert "\n" not in text and text.endswith(".")


@pytest.mark.parametrize(
    "pair", [("BMW", "bmw"), ("Audi A4", "Audi  A4"), ("Fiat", "Fi\u200bat"), ("ﬁat", "fiat")]
)
def test_classes_that_look_alike_are_named_with_the_fix(pair):
    [message] = lookalikes([*pair, "Volvo"])
    assert all(repr(name) in message for name in pair) and "give their folders one name" in message
    assert lookalikes(["Audi A4", "Audi A5", "Audi", "宝马", "大众"]) == []


def test_a_word_that_mixes_alphabets_is_named():
    cyrillic = "BМW"  # its second letter is Cyrillic
    [message] = lookalikes([cyrillic, "Volvo", "Лада", "Lada Лада"])
    assert ascii(cyrillic) in message and "different alphabets" in message


@pytest.mark.parametrize(("other", "latin"), [("МОСТ", "MOCT"), ("ΜΑΝ", "MAN")])
def test_cyrillic_and_greek_names_of_a_latin_shape_look_alike(other, latin):
    [message] = lookalikes([other, latin, "Лада"])
    assert ascii(other) in message and "look alike" in message


def test_folders_merged_into_one_class_are_named(caplog):
    composed, decomposed = "Citroe\u0308n", "Citro\u00ebn"
    assert {row.class_name for row in arrange(["Audi/1.jpg", "Audi /2.jpg", "B/1.jpg"])} == {"Audi", "B"}
    assert "'Audi ' and 'Audi'" in caplog.text and "rename them" in caplog.text
    caplog.clear()
    arrange([f"{composed}/1.jpg", f"{decomposed}/2.jpg", "B/1.jpg"])
    assert ascii(composed) in caplog.text and ascii(decomposed) in caplog.text
    caplog.clear()
    arrange(["train/A/1.jpg", "test/A/2.jpg", "train/B/1.jpg"])
    assert not caplog.text
