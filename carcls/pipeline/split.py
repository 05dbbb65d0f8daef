"""data/split.csv: training, validation or test for each photograph; data/copies.csv: the duplicates."""

from pathlib import Path

import pandas as pd

from carcls.data.split import assign
from carcls.errors import InputError
from carcls.files import write_csv
from carcls.imageset.archive import read_index
from carcls.params import Params


def split(params: Params, root: Path) -> None:
    """Assign every photograph of data/raw.tar. Raises InputError as `assign`, and if split.folds is set."""
    if params.split.folds:
        raise InputError(
            f"split.folds is {params.split.folds}, but only `carcls train` cross-validates: set it to null."
        )
    write_split(root, *assign(read_index(root / "data/raw.tar"), params.split, params.seed))


def write_split(root: Path, rows: pd.DataFrame, copies: pd.DataFrame) -> None:
    """Write data/split.csv with the SHA-256 of each photograph, and data/copies.csv."""
    raw = read_index(root / "data/raw.tar")
    write_csv(root / "data/split.csv", rows.merge(raw[["name", "sha256"]]))
    write_csv(root / "data/copies.csv", copies)
