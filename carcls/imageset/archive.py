"""Image sets on disk: one uncompressed tar, and beside it one csv with the labels and places of the images.

One tar replaces a folder of 100,000 files, because DVC needs time for each file. Any tar tool opens it. With
the `offset` and `size` in the csv, a reader seeks directly to an image.
"""

import csv
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from carcls.errors import InputError
from carcls.files import UnixLines, naming, replacing

if TYPE_CHECKING:  # prediction and training do without pandas
    import pandas as pd

NUMBERS = (
    "label",
    "offset",
    "size",
)  # columns of integers; the others are text, because a class may be called NA or 1


class ArchiveWriter:
    """Appends images to an open tar and their rows to its open csv. `create` creates and closes both."""

    def __init__(self, tar: BinaryIO, index: TextIO, columns: Sequence[str]) -> None:
        self._tar = tar
        self._rows = csv.DictWriter(UnixLines(index), ["name", *columns, "offset", "size"])
        self._rows.writeheader()
        self._last = ""

    def add(self, name: str, data: bytes, **values) -> None:
        """Append one image. Names must increase, so that equal sets have equal bytes.

        `values` are the other columns of the row. Raises ValueError if `name` is out of order or a column is
        missing or unknown.
        """
        if name <= self._last:
            raise ValueError(f"{name!r} added after {self._last!r}: names must increase")
        self._last = name
        header = tarfile.TarInfo(name)
        header.size = len(data)
        self._tar.write(header.tobuf(tarfile.GNU_FORMAT))
        row = {"name": name, **values, "offset": self._tar.tell(), "size": len(data)}
        if row.keys() != set(self._rows.fieldnames):
            raise ValueError(f"columns {sorted(row)} instead of {sorted(self._rows.fieldnames)}")
        self._rows.writerow(row)
        self._tar.write(data)
        self._tar.write(bytes(-len(data) % tarfile.BLOCKSIZE))


@contextmanager
def create(tar: Path, columns: Sequence[str]) -> Iterator[ArchiveWriter]:
    """Write the image set `tar` and the csv of the same name. Both appear together if the block succeeds.

    `columns` are the csv's columns between `name` and `offset`, `size`.
    """
    with replacing(tar, tar.with_suffix(".csv")) as [tar_part, csv_part]:
        with open(tar_part, "wb") as file, open(csv_part, "w", encoding="utf-8", newline="") as index:
            yield ArchiveWriter(file, index, columns)
            file.write(bytes(2 * tarfile.BLOCKSIZE))  # marks the end of a tar


def read_columns(tar: Path) -> dict[str, list]:
    """The columns of the csv beside `tar`, with one value per image: int in NUMBERS, otherwise str.

    Raises InputError if it is missing.
    """
    path = tar.with_suffix(".csv")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: run `dvc repro` to create it.") from None
    values = zip(*rows, strict=True) if rows else ((),) * len(header)
    columns = {name: list(column) for name, column in zip(header, values, strict=True)}
    return columns | {name: [int(value) for value in columns[name]] for name in NUMBERS if name in columns}


def read_index(tar: Path) -> "pd.DataFrame":
    """The result of `read_columns` as a table with one row per image. Raises InputError like it."""
    import pandas as pd

    return pd.DataFrame(read_columns(tar))


class ArchiveReader:
    """Reads images of `tar` by their place in it. Threads and forked processes may share one object."""

    def __init__(self, tar: Path) -> None:
        self.path = tar
        try:
            self._descriptor = os.open(tar, os.O_RDONLY)
        except FileNotFoundError:
            raise InputError(f"{tar} is missing: run `dvc repro` to create it.") from None

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises InputError if the archive ends before them."""
        with naming(self.path):
            data = os.pread(self._descriptor, size, offset)  # unlike read, pread uses no shared file position
        if len(data) != size:
            raise InputError(
                f"{self.path} is shorter than its csv says: run its stage again with `dvc repro -f STAGE`."
            )
        return data

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()
