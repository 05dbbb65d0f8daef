from collections import Counter

import pandas as pd
import pytest

from carcls.data.split import assign
from carcls.errors import InputError
from carcls.params import Split

SETTINGS = Split(val=0.3333, test=0.2, drop_duplicates=False)


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


def test_a_share_becomes_test_where_there_is_none(raw_index):
    rows = assign(raw_index([*photographs("a", "", 30), *photographs("b", "", 30)]), SETTINGS, 1)
    assert counts(rows, "a") == {"train": 16, "val": 8, "test": 6}


def test_an_official_val_set_is_kept(raw_index):
    raw = [row for name in "ab" for split in ("train", "val", "test") for row in photographs(name, split, 5)]
    assert counts(assign(raw_index(raw), SETTINGS, 1), "a") == {"train": 5, "val": 5, "test": 5}


def test_another_class_or_order_changes_nothing_and_another_seed_does(raw_index):
    a, b, c = (photographs(name, "", 40) for name in "abc")
    first = assign(raw_index(a + b), SETTINGS, 1).set_index("name")["split"]
    more = assign(raw_index(a + b + c), SETTINGS, 1).set_index("name")["split"]
    assert more[first.index].equals(first)
    assert not assign(raw_index(a + b), SETTINGS, 2).set_index("name")["split"].equals(first)


def test_equal_photographs_of_a_class_stay_together(raw_index):
    raw = raw_index([("a", "", f"{number // 2}") for number in range(40)] + photographs("b", "", 9))
    rows = assign(raw, SETTINGS, 1).merge(raw[["name", "sha256"]], on="name")
    assert (rows.groupby("sha256")["split"].nunique() == 1).all()


def test_the_same_image_in_two_splits_is_reported_with_both_names(raw_index):
    rows = [*photographs("a", "train", 6), *photographs("b", "train", 6), ("a", "test", "atrain2")]
    with pytest.raises(InputError, match=r"train/a/002\.jpg .* test/a/012\.jpg .*drop_duplicates"):
        assign(raw_index(rows), SETTINGS, 1)
    kept = assign(raw_index(rows), SETTINGS.model_copy(update={"drop_duplicates": True}), 1)
    assert len(kept) == 12
    assert "train/a/002.jpg" not in set(kept["name"])


@pytest.mark.parametrize(
    ("rows", "test", "says"),
    [
        (photographs("a", "", 9), 0.2, "All images are of the class 'a'"),
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
def test_what_cannot_be_split_is_one_sentence(raw_index, rows, test, says):
    with pytest.raises(InputError, match=says):
        assign(raw_index(rows), SETTINGS.model_copy(update={"test": test}), 1)
