from collections import Counter

import pandas as pd
import pytest

from carcls.data import copies
from carcls.data.split import assign as assign_all
from carcls.data.split import assign_folds
from carcls.errors import InputError
from carcls.params import Split

SETTINGS = Split(val=0.3333, test=0.2, drop_duplicates=True, group_near_duplicates=True, folds=None)
STRICT = SETTINGS.model_copy(update={"drop_duplicates": False})


def assign(*arguments) -> pd.DataFrame:
    return assign_all(*arguments)[0]


def photographs(class_name, split, count):
    return [(class_name, split, f"{class_name}{split}{number}") for number in range(count)]


def counts(rows: pd.DataFrame, class_name: str) -> dict[str, int]:
    return dict(Counter(rows.loc[rows["class"] == class_name, "split"]))


def test_the_official_test_set_is_kept_and_train_is_split_two_to_one_by_class(raw_index):
    raw = raw_index(
        [*photographs("a", "train", 30), *photographs("b", "train", 42), *photographs("a", "test", 9)]
    )
    rows = assign(raw, SETTINGS, 1)
    assert counts(rows, "a") == {"train": 20, "val": 10, "test": 9}
    assert counts(rows, "b") == {"train": 28, "val": 14}
    official = raw.loc[raw["split"] == "test", "name"]
    assert set(rows.loc[rows["split"] == "test", "name"]) == set(official)


def test_a_share_becomes_the_test_set_if_the_source_has_none(raw_index):
    rows = assign(raw_index([*photographs("a", "", 30), *photographs("b", "", 30)]), SETTINGS, 1)
    assert counts(rows, "a") == {"train": 16, "val": 8, "test": 6}


def test_without_a_val_share_all_other_images_are_for_training(raw_index):
    settings = SETTINGS.model_copy(update={"val": None})
    none = assign(raw_index([*photographs("a", "", 10), *photographs("b", "", 2)]), settings, 1)
    assert counts(none, "a") == {"train": 8, "test": 2} and counts(none, "b") == {"train": 1, "test": 1}
    official = [
        row for name in "ab" for split in ("train", "val", "test") for row in photographs(name, split, 5)
    ]
    assert counts(assign(raw_index(official), settings, 1), "a") == {"train": 10, "test": 5}


def test_an_official_val_set_is_kept(raw_index):
    raw = [row for name in "ab" for split in ("train", "val", "test") for row in photographs(name, split, 5)]
    assert counts(assign(raw_index(raw), SETTINGS, 1), "a") == {"train": 5, "val": 5, "test": 5}


def test_the_split_of_a_class_depends_on_the_seed_but_not_on_other_classes(raw_index):
    a, b, c = (photographs(name, "", 40) for name in "abc")
    first = assign(raw_index(a + b), SETTINGS, 1).set_index("name")["split"]
    more = assign(raw_index(a + b + c), SETTINGS, 1).set_index("name")["split"]
    assert more[first.index].equals(first)
    assert not assign(raw_index(a + b), SETTINGS, 2).set_index("name")["split"].equals(first)


def test_duplicates_in_one_class_are_kept_in_one_split(raw_index):
    raw = raw_index([("a", "", f"{number // 2}") for number in range(40)] + photographs("b", "", 9))
    rows = assign(raw, SETTINGS, 1).merge(raw[["name", "sha256"]], on="name")
    assert (rows.groupby("sha256")["split"].nunique() == 1).all()


def test_a_duplicate_of_a_test_image_is_removed_from_training_and_counted(raw_index, caplog):
    rows = [*photographs("a", "train", 6), *photographs("b", "train", 6), ("a", "test", "atrain2")]
    kept, table = assign_all(raw_index(rows), SETTINGS, 1)
    assert len(kept) == 12 and "train/a/002.jpg" not in set(kept["name"])
    assert "duplicates in two splits: 1, 1 of them removed from training: train/a/002.jpg" in caplog.text
    assert table[["kind", "name", "other", "left_out"]].values.tolist() == [
        [copies.SHARED, "train/a/002.jpg", "test/a/012.jpg", True]
    ]
    with pytest.raises(InputError, match=r"train/a/002\.jpg and test/a/012\.jpg .*drop_duplicates"):
        assign(raw_index(rows), STRICT, 1)


def test_a_class_whose_training_images_are_all_duplicates_is_named_with_the_reason(raw_index):
    rows = [*photographs("a", "train", 6), ("b", "train", "same"), ("b", "test", "same")]
    rows += photographs("b", "val", 2) + photographs("a", "val", 2)
    with pytest.raises(
        InputError,
        match=r"'b' has no image in train after removing 1 duplicate in two splits \(for example train/b/006",
    ):
        assign(raw_index(rows), SETTINGS, 1)


def test_duplicates_in_two_classes_are_removed_from_training(raw_index, caplog):
    rows = [*photographs("a", "", 9), *photographs("b", "", 9), ("a", "", "same"), ("b", "", "same")]
    kept, table = assign_all(raw_index(rows), SETTINGS, 1)
    assert len(kept) == 18 and table["kind"].unique().tolist() == [copies.CONTRADICTING]
    assert "all/a/018.jpg = all/b/019.jpg" in caplog.text
    with pytest.raises(InputError, match=r"all/a/018\.jpg and all/b/019\.jpg are the same image, under two"):
        assign(raw_index(rows), STRICT, 1)


def test_a_test_image_with_a_duplicate_in_another_class_stays_in_the_test_set(raw_index):
    rows = [*photographs("a", "train", 9), *photographs("b", "train", 9), ("a", "train", "same")]
    kept = assign(raw_index([*rows, ("b", "test", "same")]), SETTINGS, 1)
    assert len(kept) == 19 and (kept["split"] == "test").sum() == 1


def test_near_duplicates_across_official_splits_are_listed_and_kept(raw_index):
    raw = raw_index([*photographs("a", "train", 9), *photographs("b", "train", 9), ("b", "test", "other")])
    raw.loc[18, "fingerprint"] = f"{int(raw.loc[2, 'fingerprint'], 16) ^ 0b1011:036x}"
    kept, table = assign_all(raw, SETTINGS, 1)
    assert len(kept) == 19
    assert table[["kind", "name", "other", "left_out"]].values.tolist() == [
        [copies.NEAR, "train/a/002.jpg", "test/b/018.jpg", False]
    ]


def burst(raw: pd.DataFrame, *places: int) -> None:
    """Make each image at `places` of `raw` a near-duplicate of the one before it."""
    first = int(raw.loc[places[0], "fingerprint"], 16)
    for number, place in enumerate(places):
        raw.loc[place, "fingerprint"] = f"{first ^ (1 << 10 * number) - 1:036x}"


def splits_of(raw: pd.DataFrame, places: list[int], settings: Split, seed: int) -> set[str]:
    rows = assign(raw, settings, seed).set_index("name")["split"]
    return set(rows[raw.loc[places, "name"]])


def test_chains_of_near_duplicates_are_in_one_split_unless_disabled(raw_index):
    raw, places = raw_index([*photographs("a", "", 20), *photographs("b", "", 20)]), [3, 7, 11, 15]
    burst(raw, *places)  # the first and the last differ in 30 bits
    off = SETTINGS.model_copy(update={"group_near_duplicates": False})
    seeds = range(12)
    found = [splits_of(raw, places, SETTINGS, seed) for seed in seeds]
    assert {len(splits) for splits in found} == {1} and len(set.union(*found)) > 1
    assert max(len(splits_of(raw, places, off, seed)) for seed in seeds) > 1
    assert counts(assign(raw, SETTINGS, 1), "a") == {"train": 11, "val": 5, "test": 4}
    table = assign_all(raw, SETTINGS, 1)[1]
    assert table["kind"].unique().tolist() == [copies.GROUPED] and len(table) == 3


def test_a_group_of_several_classes_is_in_one_split(raw_index):
    raw, places = raw_index([*photographs("a", "", 20), *photographs("b", "", 20)]), [3, 7, 25, 30, 31]
    raw.loc[places, "group"] = "video 1"
    found = [splits_of(raw, places, SETTINGS, seed) for seed in range(12)]
    assert {len(splits) for splits in found} == {1} and len(set.union(*found)) > 1
    for class_name in "ab":
        assert set(counts(assign(raw, SETTINGS, 1), class_name)) == {"train", "val", "test"}


def test_a_class_of_one_group_is_split_at_random_with_a_warning(raw_index, caplog):
    raw = raw_index([*photographs("a", "", 6), *photographs("b", "", 20)])
    burst(raw, *range(6))
    assert sum(counts(assign(raw, SETTINGS, 1), "a").values()) == 6
    assert "the class 'a' has only one group of near-duplicates" in caplog.text


def test_folds_keep_groups_together_and_divide_each_class(raw_index):
    raw, places = raw_index([*photographs("a", "", 20), *photographs("b", "val", 10)]), [3, 7, 11, 15]
    burst(raw, *places)
    settings = SETTINGS.model_copy(update={"val": None, "folds": 5})
    rows, table = assign_folds(raw, settings, 1)
    assert set(rows["split"]) == {"train"} and len(rows) == 30 and len(table) == 3
    assert rows.groupby("class")["fold"].nunique().to_list() == [5, 5]
    assert rows["fold"].value_counts().max() <= 8 and rows["fold"][places].nunique() == 1
    assert rows.equals(assign_folds(raw, settings, 1)[0]) and not rows.equals(
        assign_folds(raw, settings, 2)[0]
    )


def test_data_that_cannot_be_divided_into_folds_gives_one_message(raw_index):
    settings = SETTINGS.model_copy(update={"val": None, "folds": 5})
    few = raw_index([*photographs("a", "", 20), *photographs("b", "", 4)])
    with pytest.raises(InputError, match="'b' has 4 images .*: add images, lower split.folds"):
        assign_folds(few, settings, 1)
    official = raw_index([*photographs("a", "train", 20), *photographs("b", "test", 10)])
    with pytest.raises(InputError, match="has a test set, but split.folds is 5"):
        assign_folds(official, settings, 1)


@pytest.mark.parametrize(
    ("rows", "test", "expected"),
    [
        (photographs("a", "", 9), 0.2, "All images have the class 'a'"),
        (photographs("a", "", 9) + photographs("b", "", 1), 0.2, "'b' has too few"),
        (photographs("a", "", 9) + photographs("b", "", 2), 0.2, "'b' has too few"),
        (photographs("a", "", 9) + photographs("b", "", 9), None, "split.test"),
        (
            photographs("a", "train", 9) + photographs("b", "val", 9) + photographs("c", "test", 9),
            None,
            "no image in",
        ),
    ],
)
def test_data_that_cannot_be_split_gives_one_message(raw_index, rows, test, expected):
    with pytest.raises(InputError, match=expected):
        assign(raw_index(rows), SETTINGS.model_copy(update={"test": test}), 1)
