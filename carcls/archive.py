"""Image sets on disk: one uncompressed tar and one csv beside it that says what and where each image is.

One file instead of a folder of 100,000: DVC spends its time per file. Any tar tool opens the archive; a
reader that has the csv seeks straight to an image by `offset` and `size`.
"""

import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from carcls.errors import InputError
from carcls.files import replacing, write_csv


class ArchiveWriter:
    """Appends images to an open tar and keeps their rows for the csv. Made by `create`."""

    def __init__(self, file, columns: Sequence[str]) -> None:
        self._file = file
        self._columns = ["name", *columns]
        self._rows: list[tuple] = []

    def add(self, name: str, data: bytes, **values) -> None:
        """Append one image. Names arrive in increasing order, so that equal sets are equal bytes.

        `values` are the row's other columns. Raises ValueError when `name` is out of order or a column is
        missing.
        """
        if self._rows and name <= self._rows[-1][0]:
            raise ValueError(f"{name!r} added after {self._rows[-1][0]!r}: names must increase")
        header = tarfile.TarInfo(name)
        header.size = len(data)
        self._file.write(header.tobuf(tarfile.GNU_FORMAT))
        row = {"name": name, **values}
        self._rows.append((*(row.pop(column) for column in self._columns), self._file.tell(), len(data)))
        if row:
            raise ValueError(f"unknown columns {sorted(row)}")
        self._file.write(data)
        self._file.write(bytes(-len(data) % tarfile.BLOCKSIZE))

    def index(self) -> pd.DataFrame:
        """The rows so far: name, the columns of `create`, offset and size in bytes."""
        return pd.DataFrame(self._rows, columns=[*self._columns, "offset", "size"])


@contextmanager
def create(tar: Path, columns: Sequence[str]) -> Iterator[ArchiveWriter]:
    """Write the image set `tar` and the csv of the same name; both appear together, when the block ends well.

    `columns` are the csv's columns between `name` and `offset`, `size`.
    """
    with replacing(tar, tar.with_suffix(".csv")) as [tar_part, csv_part]:
        with open(tar_part, "wb") as file:
            writer = ArchiveWriter(file, columns)
            yield writer
            file.write(bytes(2 * tarfile.BLOCKSIZE))  # how a tar ends
        write_csv(csv_part, writer.index())


def read_index(tar: Path) -> pd.DataFrame:
    """The csv beside `tar`, one row an image; names and classes are kept as text (a class may be called NA).

    Raises InputError when it is missing.
    """
    path = tar.with_suffix(".csv")
    try:
        return pd.read_csv(path, dtype={"name": str, "class": str, "split": str}, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; `dvc repro` makes it.") from None


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
