"""Photographs from a folder of the user's own."""

import os
from collections.abc import Iterator
from pathlib import Path

from carcls.data.sources import Photograph, Source
from carcls.data.sources.devkit import arrange
from carcls.data.sources.layout import EXPECTED, Arranged, Placed
from carcls.errors import InputError


def open_folder(folder: Path) -> Source:
    """The photographs of a tree of class folders, as `layout` tells them, or of Stanford Cars' devkit.

    Links are followed. Raises InputError as
    `find_photographs` does, and while the photographs are read.
    """
    rows, left_out = find_photographs(folder)
    classes = sorted({row.class_name for row in rows})
    return Source(classes, len(rows), _photographs(existing(folder), rows), left_out)


def find_photographs(folder: Path) -> Arranged:
    """Which photographs `folder` holds, by name, with class and split, and what is left out; none is read.

    Raises InputError when the folder is missing, holds nothing that `devkit.arrange` can place, or a file or
    folder in it cannot be read.
    """
    folder = existing(folder)
    return arrange(
        _files(folder, "", frozenset()), lambda path: _read(folder / path), f"data.folder: {folder}"
    )


def existing(folder: Path) -> Path:
    """`folder` with its whole path. Raises InputError when there is none."""
    folder = folder.expanduser().absolute()  # an experiment in a copy of the project is elsewhere
    if not folder.exists():
        raise InputError(f"data.folder: {folder} does not exist; {EXPECTED}.")
    if not folder.is_dir():
        raise InputError(f"data.folder: {folder} is not a folder; {EXPECTED}.")
    return folder


def _photographs(folder: Path, rows: list[Placed]) -> Iterator[Photograph]:
    for row in rows:
        yield Photograph(row.name, row.class_name, row.split, _read(folder / row.path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _files(folder: Path, relative: str, above: frozenset[Path]) -> Iterator[str]:
    """Paths, relative to `folder`, of the files below its subfolder `relative`.

    `above` are the real paths of the folders on the way here: a link back to one of them is not followed.
    """
    here = folder / relative
    real = here.resolve()
    if real in above:
        return
    try:
        entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                yield from _files(folder, path, above | {real})
            elif entry.is_file() or entry.is_symlink():  # a dangling link is reported when it is read
                yield path
    except OSError as error:
        raise _unreadable(here, error) from None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"data.folder: {path} cannot be read ({error.strerror}); make it readable or take it away."
    )
