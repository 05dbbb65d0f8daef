"""Duplicates in two splits or under two classes, near-duplicates, and images that must share a split."""

import numpy as np
import pandas as pd

COLUMNS = ("kind", "name", "class", "split", "other", "other_class", "other_split", "left_out")
CONTRADICTING, SHARED = "under two classes", "in two splits"
NEAR, GROUPED = "near-duplicate", "near-duplicate in one split"
NEAR_BITS = 14  # of 144; docs/data.md#duplicates lists what this threshold finds
BLOCK = 128  # rows compared at a time, to limit memory


def contradicting(rows: pd.DataFrame) -> pd.DataFrame:
    """Images of `rows` (name, class, split, sha256) with two classes, each with its copy in another class."""
    classes = rows.groupby("sha256")["class"].transform("nunique")
    doubtful = rows[classes > 1]
    pairs = doubtful.merge(doubtful, on="sha256", suffixes=("", "_other"))
    pairs = pairs[pairs["class"] != pairs["class_other"]].drop_duplicates("name")
    return _table(CONTRADICTING, pairs, left_out=pairs["split"] != "test")


def shared(rows: pd.DataFrame) -> pd.DataFrame:
    """Images of `rows` that are also in another split. Test has priority over val, and val over train."""
    order = rows["split"].map({"test": 0, "val": 1, "train": 2})
    first = rows.loc[order.sort_values(kind="stable").index].drop_duplicates("sha256")
    pairs = rows.merge(first, on="sha256", suffixes=("", "_other"))
    pairs = pairs[pairs["split"] != pairs["split_other"]]
    return _table(SHARED, pairs, left_out=True)


def near_pairs(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns one, other (labels of the index of `rows`) and bits: all pairs of near-duplicates.

    Their `fingerprint`s differ in at most NEAR_BITS bits, and their bytes (sha256) differ.
    """
    prints, contents = _packed(rows["fingerprint"]), rows["sha256"].to_numpy()
    found: list[np.ndarray] = []
    for start in range(0, len(rows), BLOCK):
        bits = np.bitwise_count(prints[start : start + BLOCK, None] ^ prints[start:]).sum(2, dtype=int)
        one, other = np.nonzero(np.triu(bits <= NEAR_BITS, 1))
        found.append(np.stack([one + start, other + start, bits[one, other]], 1))
    one, other, bits = np.concatenate(found).T
    pairs = pd.DataFrame({"one": rows.index[one], "other": rows.index[other], "bits": bits})
    return pairs[contents[one] != contents[other]]


def groups(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.Series:
    """A number for each of `rows`, equal for images that must share a split.

    Two images must share a split if they have equal bytes, are one of `pairs`, or have the same text in the
    column `group`. The relation is transitive: if A shares with B and B with C, all three have one number.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    places = pd.Series(range(len(rows)), rows.index)
    one, other = [places[pairs["one"]]], [places[pairs["other"]]]
    for key, of in (("sha256", rows), ("group", rows[rows["group"] != ""])):
        one.append(places[of.index])
        other.append(places[of.index].groupby(of[key]).transform("first"))
    edges = np.concatenate(one), np.concatenate(other)
    graph = coo_array((np.ones(len(edges[0])), edges), shape=(len(rows), len(rows)))
    return pd.Series(connected_components(graph, directed=False)[1], rows.index)


def near(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """For each of `rows`, the most similar image of each later split and of earlier rows of its split."""
    pairs = pairs[pairs["one"].isin(rows.index) & pairs["other"].isin(rows.index)]
    order = rows["split"].map({"train": 0, "val": 1, "test": 2})
    first, second = order[pairs["one"]].to_numpy(), order[pairs["other"]].to_numpy()
    swap = first >= second
    one, other = np.where(swap, pairs["other"], pairs["one"]), np.where(swap, pairs["one"], pairs["other"])
    oriented = pd.DataFrame({"one": one, "other": other, "bits": pairs["bits"].to_numpy()})
    oriented = oriented.sort_values("bits", kind="stable")
    oriented["split"] = rows["split"].reindex(oriented["other"]).to_numpy()
    nearest = oriented.drop_duplicates(["one", "split"]).sort_values(["one", "split"], kind="stable")
    left, right = rows.loc[nearest["one"]], rows.loc[nearest["other"]].add_suffix("_other")
    found = pd.concat([left.reset_index(drop=True), right.reset_index(drop=True)], axis=1)
    kinds = np.where(found["split"] == found["split_other"], GROUPED, NEAR)
    return _table(kinds, found, left_out=False)


def _packed(fingerprints: pd.Series) -> np.ndarray:
    """The fingerprints as 64-bit words, (n, words)."""
    digits = [bytes.fromhex(text.zfill(-(-len(text) // 16) * 16)) for text in fingerprints]
    return np.frombuffer(b"".join(digits), np.uint64).reshape(len(digits), -1)


def _table(kind: str | np.ndarray, pairs: pd.DataFrame, left_out: pd.Series | bool) -> pd.DataFrame:
    named = pairs.rename(
        columns={"name_other": "other", "class_other": "other_class", "split_other": "other_split"}
    )
    return named.assign(kind=kind, left_out=left_out)[list(COLUMNS)]
