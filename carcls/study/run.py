"""The files that the report reads: those of a study in the project folder, or of one results folder."""

import io
import json
from functools import cache
from pathlib import Path

import pandas as pd

from carcls.errors import InputError
from carcls.imageset import archive

TEXT = (  # columns that are text, even if a class is called NA or 7
    *("name", "class", "actual", "predicted", "split", "reason", "path", "sha256"),
    *("kind", "other", "other_class", "other_split", "left_out"),
    *("levels", "layer", "photograph", "answer", "variant", "attack", "class_attacked"),
    *("corruption", "condition", "measure", "nearest"),
)
LIMITS = "plots/test/limits.csv"  # exists only for a calibrated model


class Run:
    """The files of a run by their path relative to `root`. Each JSON or csv file is read once."""

    def __init__(self, root: Path, trained: bool = True) -> None:
        """`trained`: whether the run includes a training, and therefore training and validation images."""
        self.root = root
        self.shown = "train" if trained else "test"  # the split of the images that represent their classes
        self.json = cache(self._json)
        self.csv = cache(self._csv)

    def has(self, path: str) -> bool:
        return (self.root / path).exists()

    def bytes(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{self.root / path} is missing: run `dvc repro` to create it.") from None

    def _json(self, path: str) -> dict:
        return json.loads(self.bytes(path))

    def _csv(self, path: str) -> pd.DataFrame:
        """Python parses the numbers, because pandas may lose the last bit of a float."""
        frame = pd.read_csv(io.BytesIO(self.bytes(path)), dtype=str, keep_default_na=False)
        for column in frame.columns.difference(TEXT):
            frame[column] = [
                int(text) if text.isdecimal() else float(text or "nan") for text in frame[column]
            ]
        return frame

    def value(self, path: str, key: str) -> float | int:
        try:
            return self.json(path)[key]
        except KeyError:
            raise InputError(
                f"{self.root / path} has no {key}: run `dvc repro -f` to create it again."
            ) from None

    def tar(self, split: str) -> Path:
        """The archive of a split's images."""
        return self.root / f"data/images/{split}.tar"

    def index(self, split: str) -> pd.DataFrame:
        """The index of the archive of a split. Empty for train and val in a run without training."""
        if self.shown == "test" != split:
            return pd.DataFrame(columns=["name", "class", "source", "operations"])
        return archive.read_index(self.tar(split))
