"""The same picture twice: in two splits, under two classes, or rescaled and recompressed."""

from itertools import combinations

import numpy as np
import pandas as pd

COLUMNS = ("kind", "name", "class", "split", "other", "other_class", "other_split", "left_out")
CONTRADICTING, SHARED, NEAR = "under two classes", "in two splits", "near copy"
NEAR_BITS = 10  # of 144: of 3,000 cars, all copies at two thirds of the size and quality 60 lay within 8
BLOCK = 128  # rows compared at a time


def contradicting(rows: pd.DataFrame) -> pd.DataFrame:
    """The pictures of `rows` (name, class, split, sha256) under two classes, beside the first of another."""
    classes = rows.groupby("sha256")["class"].transform("nunique")
    doubtful = rows[classes > 1]
    pairs = doubtful.merge(doubtful, on="sha256", suffixes=("", "_other"))
    pairs = pairs[pairs["class"] != pairs["class_other"]].drop_duplicates("name")
    return _table(CONTRADICTING, pairs, left_out=pairs["split"] != "test")


def shared(rows: pd.DataFrame) -> pd.DataFrame:
    """The pictures of `rows` that another split has, too: test is kept before val before train."""
    order = rows["split"].map({"test": 0, "val": 1, "train": 2})
    first = rows.loc[order.sort_values(kind="stable").index].drop_duplicates("sha256")
    pairs = rows.merge(first, on="sha256", suffixes=("", "_other"))
    pairs = pairs[pairs["split"] != pairs["split_other"]]
    return _table(SHARED, pairs, left_out=True)


def near(rows: pd.DataFrame) -> pd.DataFrame:
    """Each picture with the one of each later split that it looks most like, where they look alike.

    Their `fingerprint`s differ in NEAR_BITS at most, their bytes too. `rows` has columns sha256 and
    fingerprint as well.
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
