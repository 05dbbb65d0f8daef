"""Who is train, val and test."""

import pandas as pd

from carcls.errors import InputError
from carcls.params import Split
from carcls.seeds import generator

SPLITS = ("train", "val", "test")


def assign(raw: pd.DataFrame, settings: Split, seed: int) -> pd.DataFrame:
    """Columns name, label, class, split for the photographs of `raw`, the csv of the raw archive.

    A test or val set that the source has is kept. Where it has none, `settings.test` of each class become
    test, and `settings.val` of each class's remaining photographs val (paper, section 3: 2 : 1). Which ones
    depends on the seed, the class and its photographs alone; equal photographs of a class stay together.

    Raises InputError for a class too small to split, for a missing test set where `settings.test` is null
    and for equal photographs in two splits, unless `settings.drop_duplicates` is set.
    """
    if raw["class"].nunique() < 2:
        raise InputError(f"All images are of the class {raw['class'].iloc[0]!r}; it takes two to tell apart.")
    rows = raw.assign(split=raw["split"].replace("", "train"))
    if not (rows["split"] == "test").any():
        if settings.test is None:
            raise InputError(
                "The data has no test set: set split.test to the share of each class that becomes one."
            )
        rows = _take(rows, "test", settings.test, seed)
    if not (rows["split"] == "val").any():
        rows = _take(rows, "val", settings.val, seed)
    rows = _without_leaks(rows, settings.drop_duplicates)
    _check_classes(rows)
    return rows[["name", "label", "class", "split"]].reset_index(drop=True)


def _take(rows: pd.DataFrame, split: str, share: float, seed: int) -> pd.DataFrame:
    """`rows` with `share` of each class's train photographs moved to `split`: one at least, never all."""
    train = rows[rows["split"] == "train"]
    taken = []
    for class_name, members in train.groupby("class"):
        contents = members["sha256"].unique()
        if len(contents) < 2:
            raise InputError(
                f"The class {class_name!r} has too few different images to take some for {split}: "
                "add some or remove the class."
            )
        count = min(max(1, round(share * len(contents))), len(contents) - 1)
        chosen = generator(seed, split, class_name).permutation(contents)[:count]
        taken.append(members.index[members["sha256"].isin(chosen)])
    return rows.assign(split=rows["split"].where(~rows.index.isin(pd.Index([]).append(taken)), split))


def _without_leaks(rows: pd.DataFrame, drop: bool) -> pd.DataFrame:
    """`rows` once no photograph is in two splits; of those that are, test is kept before val before train."""
    order = rows["split"].map({"test": 0, "val": 1, "train": 2})
    first = rows.loc[order.sort_values(kind="stable").index].drop_duplicates("sha256").set_index("sha256")
    leaks = rows[rows["split"] != rows["sha256"].map(first["split"])]
    if len(leaks) and not drop:
        leak = leaks.iloc[0]
        raise InputError(
            f"{leak['name']} ({leak['split']}) and {first['name'][leak['sha256']]} "
            f"({first['split'][leak['sha256']]}) are the same image: remove one, or set split.drop_duplicates"
            f" to true to leave such copies out of training ({len(leaks)} in all)."
        )
    return rows.drop(leaks.index)


def _check_classes(rows: pd.DataFrame) -> None:
    """Every class must be in train and val; a test set may lack some."""
    for split in ("train", "val"):
        for class_name in rows["class"].unique():
            if not ((rows["split"] == split) & (rows["class"] == class_name)).any():
                raise InputError(
                    f"The class {class_name!r} has no image in {split}: add some or remove the class."
                )
