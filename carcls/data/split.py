"""Assign photographs to train, val and test."""

import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from carcls.base.seeds import derive, generator
from carcls.data import copies
from carcls.errors import InputError
from carcls.params import Split

SPLITS = ("train", "val", "test")
NAMED = 5  # number of duplicates that a log line names

log = logging.getLogger(__name__)


def assign(raw: pd.DataFrame, settings: Split, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the photographs of `raw`, the csv of the raw archive. Returns the splits and the duplicates.

    The first table has the columns name, label, class and split. A test or val set of the source is kept. If
    there is no test set, the share `settings.test` of each class becomes test. If there is no val set, the
    share `settings.val` of the remaining photographs of each class becomes val (paper, section 3: 2 : 1). If
    `settings.val` is None, there is no val set, and the val set of the source becomes train. The draw depends
    only on the seed, the class and its photographs. Photographs of a group (`copies.groups`) stay together:
    duplicates, near-duplicates with `settings.group_near_duplicates`, and photographs with the same text in
    the column `group` of `raw`.

    The second table has the columns `copies.COLUMNS` and lists all duplicates. A duplicate in two splits is
    removed from training, one under two classes from train and val. Near-duplicates are only listed. They can
    be in two splits if the source separates them, or if a class has only one group.

    Raises InputError for a class that is too small to split, for a missing test set if `settings.test` is
    None, for a class in which all training photographs are duplicates, and for the first duplicate if
    `settings.drop_duplicates` is false.
    """
    if raw["class"].nunique() < 2:
        raise InputError(f"All images have the class {raw['class'].iloc[0]!r}: add images of a second class.")
    contradicting = copies.contradicting(raw)
    rows = _without(raw, contradicting, settings.drop_duplicates)
    rows, pairs = _grouped(rows, settings.group_near_duplicates)
    rows = _divided(rows, settings, seed)
    shared = copies.shared(rows)
    rows = _without(rows, shared, settings.drop_duplicates)
    near = copies.near(rows, pairs)
    apart = (near["kind"] == copies.NEAR).sum()
    if apart:
        log.info("%d near-duplicates in different splits are listed in the report", apart)
    found = [part for part in (contradicting, shared, near) if len(part)]
    table = pd.concat(found, ignore_index=True) if found else near
    _check_classes(raw, rows, table, ("train",) if settings.val is None else ("train", "val"))
    return rows[["name", "label", "class", "split"]].reset_index(drop=True), table


def assign_folds(raw: pd.DataFrame, settings: Split, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Like `assign`, but for cross-validation: all photographs are train, with the column fold.

    Folds are numbered from 1 to settings.folds and have about equal shares of each class. Raises InputError
    for data with a test set, and for a class with fewer groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if (raw["split"] == "test").any():
        raise InputError(
            f"The data has a test set, but split.folds is {settings.folds}: set split.folds to null, or put "
            "all images of a class into one folder."
        )
    contradicting = copies.contradicting(raw)
    rows = _without(raw, contradicting, settings.drop_duplicates)
    rows, pairs = _grouped(rows.assign(split="train"), settings.group_near_duplicates)
    least = rows.groupby("class")["together"].nunique()
    if least.min() < settings.folds:
        raise InputError(
            f"The class {least.idxmin()!r} has {least.min()} images without near-duplicates, fewer than "
            f"split.folds, which is {settings.folds}: add images, lower split.folds or remove the class."
        )
    folds = StratifiedGroupKFold(settings.folds, shuffle=True, random_state=derive(seed, "folds") % 2**32)
    for number, (_, held_out) in enumerate(folds.split(rows, rows["label"], rows["together"]), 1):
        rows.loc[rows.index[held_out], "fold"] = number
    rows = rows.astype({"fold": int})
    table = pd.concat([contradicting, copies.near(rows, pairs)], ignore_index=True)
    return rows[["name", "label", "class", "split", "fold"]].reset_index(drop=True), table


def _divided(rows: pd.DataFrame, settings: Split, seed: int) -> pd.DataFrame:
    """`rows` with the splits of the source. Missing splits are drawn at random."""
    training = ["", "val"] if settings.val is None else [""]
    rows = rows.assign(split=rows["split"].replace(training, "train"))
    if not (rows["split"] == "test").any():
        if settings.test is None:
            raise InputError(
                "The data has no test set: set split.test to the share of each class for the test set."
            )
        rows = _take(rows, "test", settings.test, seed)
    if settings.val is not None and not (rows["split"] == "val").any():
        rows = _take(rows, "val", settings.val, seed)
    return rows


def _grouped(rows: pd.DataFrame, near: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`rows` with the number of their group in the column `together`, and the pairs of near-duplicates."""
    pairs = copies.near_pairs(rows)
    return rows.assign(together=copies.groups(rows, pairs if near else pairs[:0])), pairs


def _take(rows: pd.DataFrame, split: str, share: float, seed: int) -> pd.DataFrame:
    """`rows` with `share` of each class's train photographs moved to `split`: at least one, never all.

    A group with several classes goes to the split that the first of these classes draws.
    """
    taken: dict[object, bool] = {}
    moved = pd.Series(False, rows.index)
    for class_name, members in rows[rows["split"] == "train"].groupby("class"):
        units = members["together"]
        if units.nunique() < 2 <= members["sha256"].nunique():
            log.warning(
                "the class %r has only one group of near-duplicates: it is split at random", class_name
            )
            units = members["sha256"]
        sizes = members["sha256"].groupby(units, sort=False).nunique()
        if len(sizes) < 2:
            raise InputError(
                f"The class {class_name!r} has too few different images to use some for {split}: "
                "add images or remove the class."
            )
        count = min(max(1, round(share * sizes.sum())), sizes.sum() - 1)
        taken |= _draw(sizes, count, generator(seed, split, class_name), taken)
        moved[members.index] = units.map(taken).astype(bool)
    return rows.assign(split=rows["split"].where(~moved, split))


def _draw(
    sizes: pd.Series, count: int, rng: np.random.Generator, taken: Mapping[object, bool]
) -> dict[object, bool]:
    """Which groups of `sizes` to take for about `count` images. At least one is taken; `taken` is fixed."""
    drawn = {unit: taken[unit] for unit in sizes.index if unit in taken}
    left = count - sum(sizes[unit] for unit in drawn if drawn[unit])
    free = [unit for unit in rng.permutation(sizes.index.to_numpy()) if unit not in drawn]
    for unit in free:
        drawn[unit] = bool(sizes[unit] <= left)
        left -= sizes[unit] * drawn[unit]
    if free and not any(drawn.values()):
        drawn[min(free, key=lambda unit: sizes[unit])] = True
    return drawn


def _without(rows: pd.DataFrame, table: pd.DataFrame, drop: bool) -> pd.DataFrame:
    """`rows` without those marked left_out in `table`. Logs them or, without `drop`, raises InputError."""
    if table.empty:
        return rows
    first = table.iloc[0]
    if not drop:
        raise InputError(
            f"{first['name']} and {first['other']} are the same image, {first['kind']}: remove one, or set "
            f"split.drop_duplicates to true to remove such duplicates from training ({len(table)} in all)."
        )
    named = [f"{row['name']} = {row['other']}" for row in table.head(NAMED).to_dict("records")]
    if len(table) > NAMED:
        named.append(f"{len(table) - NAMED} more")
    left_out, kind = table["left_out"], first["kind"]
    log.warning(
        "duplicates %s: %d, %d of them removed from training: %s",
        kind, len(table), left_out.sum(), ", ".join(named),
    )  # fmt: skip
    return rows[~rows["name"].isin(table.loc[left_out, "name"])]


def _check_classes(
    raw: pd.DataFrame, rows: pd.DataFrame, table: pd.DataFrame, splits: tuple[str, ...]
) -> None:
    """Check that each of `splits` contains every class. The test set may lack some."""
    left_out = table[table["left_out"].astype(bool)]
    for split in splits:
        for class_name in raw["class"].unique():
            if ((rows["split"] == split) & (rows["class"] == class_name)).any():
                continue
            lost = left_out[left_out["class"] == class_name]
            why = ""
            if len(lost):
                row = lost.iloc[0]
                example = f"{row['name']} = {row['other']}"
                plural = "s" * (len(lost) > 1)
                why = f" after removing {len(lost)} duplicate{plural} {row['kind']} (for example {example})"
            raise InputError(
                f"The class {class_name!r} has no image in {split}{why}: add some or remove the class."
            )
