"""Image sets on disk: one uncompressed tar and one csv beside it that says what and where each image is.

One file instead of a folder of 100,000: DVC spends its time per file. Any tar tool opens the archive; a
reader that has the csv seeks straight to an image by `offset` and `size`.
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

if TYPE_CHECKING:  # a prediction and a training read no table
    import pandas as pd

NUMBERS = ("label", "offset", "size")  # columns; the others are text: a class may be called NA or 1


class ArchiveWriter:
    """Appends images to an open tar and their rows to its open csv; keeps neither. Made by `create`."""

    def __init__(self, tar: BinaryIO, index: TextIO, columns: Sequence[str]) -> None:
        self._tar = tar
        self._rows = csv.DictWriter(UnixLines(index), ["name", *columns, "offset", "size"])
        self._rows.writeheader()
        self._last = ""

    def add(self, name: str, data: bytes, **values) -> None:
        """Append one image. Names arrive in increasing order, so that equal sets are equal bytes.

        `values` are the row's other columns. Raises ValueError when `name` is out of order or a column is
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
    """Write the image set `tar` and the csv of the same name; both appear together, when the block ends well.

    `columns` are the csv's columns between `name` and `offset`, `size`.
    """
    with replacing(tar, tar.with_suffix(".csv")) as [tar_part, csv_part]:
        with open(tar_part, "wb") as file, open(csv_part, "w", encoding="utf-8", newline="") as index:
            yield ArchiveWriter(file, index, columns)
            file.write(bytes(2 * tarfile.BLOCKSIZE))  # how a tar ends


def read_columns(tar: Path) -> dict[str, list]:
    """The csv beside `tar` by column, a value an image: integers in NUMBERS, text in all others.

    Raises InputError when it is missing.
    """
    path = tar.with_suffix(".csv")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; `dvc repro` makes it.") from None
    values = zip(*rows, strict=True) if rows else ((),) * len(header)
    columns = {name: list(column) for name, column in zip(header, values, strict=True)}
    return columns | {name: [int(value) for value in columns[name]] for name in NUMBERS if name in columns}


def read_index(tar: Path) -> "pd.DataFrame":
    """What `read_columns` reads as a table, one row an image. Raises InputError as it does."""
    import pandas as pd

    return pd.DataFrame(read_columns(tar))


class ArchiveReader:
    """Reads images of `tar` by their place in it; one object serves several threads and forked processes."""

    def __init__(self, tar: Path) -> None:
        self.path = tar
        try:
            self._descriptor = os.open(tar, os.O_RDONLY)
        except FileNotFoundError:
            raise InputError(f"{tar} is missing; `dvc repro` makes it.") from None

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`. Raises InputError when the archive ends before them."""
        with naming(self.path):
            data = os.pread(self._descriptor, size, offset)  # pread has no file position to share
        if len(data) != size:
            raise InputError(
                f"{self.path} is shorter than its csv says; `dvc repro -f` of its stage makes it anew."
            )
        return data

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()
