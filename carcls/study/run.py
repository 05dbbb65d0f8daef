"""The files of a run, as the report reads them: a study in the project's folder, or one model in its own."""

import io
import json
from functools import cache
from pathlib import Path

import pandas as pd

from carcls.errors import InputError
from carcls.imageset import archive

TEXT = (  # a class may be called NA
    *("name", "class", "actual", "predicted", "split", "reason", "path", "sha256"),
    *("kind", "other", "other_class", "other_split", "left_out"),
    *("levels", "layer", "photograph", "answer", "variant", "attack", "class_attacked"),
    *("corruption", "condition", "measure", "nearest"),
)
LIMITS = "plots/test/limits.csv"  # only of a model with a temperature


class Run:
    """The files of a run by their path from its folder, each read once."""

    def __init__(self, root: Path, trained: bool = True) -> None:
        """`trained`: whether a training is part of the run, and with it images to train and choose on."""
        self.root = root
        self.shown = "train" if trained else "test"  # the split whose images stand for their classes
        self.json = cache(self._json)
        self.csv = cache(self._csv)

    def has(self, path: str) -> bool:
        return (self.root / path).exists()

    def bytes(self, path: str) -> bytes:
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            raise InputError(f"{self.root / path} is missing; `dvc repro` makes it.") from None

    def _json(self, path: str) -> dict:
        return json.loads(self.bytes(path))

    def _csv(self, path: str) -> pd.DataFrame:
        """Numbers are parsed by Python: pandas may lose the last bit of a float, and here that is shown."""
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
            raise InputError(f"{self.root / path} has no {key}; `dvc repro -f` makes it anew.") from None

    def tar(self, split: str) -> Path:
        """The archive of a split's images."""
        return self.root / f"data/images/{split}.tar"

    def index(self, split: str) -> pd.DataFrame:
        """What is in the archive of a split; no row where a run without training has none."""
        if self.shown == "test" != split:
            return pd.DataFrame(columns=["name", "class", "source", "operations"])
        return archive.read_index(self.tar(split))
