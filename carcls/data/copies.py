"""Duplicates in two splits or under two classes, and near-duplicates (rescaled or recompressed)."""

from itertools import combinations

import numpy as np
import pandas as pd

COLUMNS = ("kind", "name", "class", "split", "other", "other_class", "other_split", "left_out")
CONTRADICTING, SHARED, NEAR = "under two classes", "in two splits", "near copy"
NEAR_BITS = 10  # of 144; copies of 3,000 cars at 2/3 of the size and JPEG quality 60 differ in at most 8
BLOCK = 128  # rows that are compared at a time, to limit memory


def contradicting(rows: pd.DataFrame) -> pd.DataFrame:
    """Images in `rows` (name, class, split, sha256) of two classes, with the first image of another class."""
    classes = rows.groupby("sha256")["class"].transform("nunique")
    doubtful = rows[classes > 1]
    pairs = doubtful.merge(doubtful, on="sha256", suffixes=("", "_other"))
    pairs = pairs[pairs["class"] != pairs["class_other"]].drop_duplicates("name")
    return _table(CONTRADICTING, pairs, left_out=pairs["split"] != "test")


def shared(rows: pd.DataFrame) -> pd.DataFrame:
    """Images of `rows` that also are in another split. Test has priority over val, and val over train."""
    order = rows["split"].map({"test": 0, "val": 1, "train": 2})
    first = rows.loc[order.sort_values(kind="stable").index].drop_duplicates("sha256")
    pairs = rows.merge(first, on="sha256", suffixes=("", "_other"))
    pairs = pairs[pairs["split"] != pairs["split_other"]]
    return _table(SHARED, pairs, left_out=True)


def near(rows: pd.DataFrame) -> pd.DataFrame:
    """Near-duplicates: each image with the most similar image of each later split.

    Their `fingerprint`s differ in at most NEAR_BITS bits, and their bytes differ. `rows` also has the columns
    sha256 and fingerprint.
    """
    found: list[tuple[int, int]] = []
    prints = _packed(rows["fingerprint"])
    places = {split: np.flatnonzero(rows["split"] == split) for split in ("train", "val", "test")}
    for one, other in combinations(places, 2):
        for start in range(0, len(places[one]), BLOCK):
            block = places[one][start : start + BLOCK]
            if not len(places[other]):
                break
            bits = np.bitwise_count(prints[block, None] ^ prints[places[other]]).sum(2)
            alike = bits.min(1) <= NEAR_BITS
            nearest = places[other][bits.argmin(1)]
            found += zip(block[alike].tolist(), nearest[alike].tolist(), strict=True)
    pairs = pd.concat(
        [
            rows.iloc[[pair[0] for pair in found]].reset_index(drop=True),
            rows.iloc[[pair[1] for pair in found]].reset_index(drop=True).add_suffix("_other"),
        ],
        axis=1,
    )
    return _table(NEAR, pairs[pairs["sha256"] != pairs["sha256_other"]], left_out=False)


def _packed(fingerprints: pd.Series) -> np.ndarray:
    """(n, words) of 64 bits each."""
    digits = [bytes.fromhex(text.zfill(-(-len(text) // 16) * 16)) for text in fingerprints]
    return np.frombuffer(b"".join(digits), np.uint64).reshape(len(digits), -1)


def _table(kind: str, pairs: pd.DataFrame, left_out: pd.Series | bool) -> pd.DataFrame:
    named = pairs.rename(
        columns={"name_other": "other", "class_other": "other_class", "split_other": "other_split"}
    )
    return named.assign(kind=kind, left_out=left_out)[list(COLUMNS)]
