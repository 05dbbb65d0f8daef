"""data/split.csv: training, validation or test for each photograph; data/copies.csv: the duplicates."""

from pathlib import Path

from carcls.data.split import assign
from carcls.files import write_csv
from carcls.imageset.archive import read_index
from carcls.params import Params


def split(params: Params, root: Path) -> None:
    """Assign every photograph of data/raw.tar. Raises InputError as `assign`."""
    raw = read_index(root / "data/raw.tar")
    rows, copies = assign(raw, params.split, params.seed)
    write_csv(root / "data/split.csv", rows.merge(raw[["name", "sha256"]]))
    write_csv(root / "data/copies.csv", copies)
