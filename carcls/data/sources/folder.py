"""Photographs from a folder."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from carcls.data.sources import Photograph, Source
from carcls.data.sources.devkit import arrange
from carcls.data.sources.filter import is_photograph, is_system
from carcls.data.sources.layout import EXPECTED, Arranged, Placed
from carcls.errors import InputError


class Found(NamedTuple):
    """A file below a folder: its path relative to that folder, and the error if it cannot be read.

    Unreadable folders and dangling links count as files, because their content is unknown.
    """

    path: str
    error: OSError | None = None


def open_folder(folder: Path) -> Source:
    """The photographs of a tree of class folders (see `layout`) or of Stanford Cars' devkit.

    Links are followed. Raises InputError like `find_photographs`, and for a photograph that cannot be read.
    """
    rows, left_out = find_photographs(folder)
    classes = sorted({row.class_name for row in rows})
    return Source(classes, len(rows), read_photographs(folder, rows), left_out)


def find_photographs(folder: Path) -> Arranged:
    """The photographs in `folder` with class and split, and the skipped files. Does not read the images.

    Raises InputError if the folder is missing, if `devkit.arrange` does not understand its layout, or if a
    file or folder in it cannot be read.
    """
    folder = existing(folder)
    return arrange(list_files(folder), lambda path: _read(folder / path), f"data.folder: {folder}")


def list_files(folder: Path) -> list[str]:
    """The paths of all files below `folder`. Raises InputError if a file or folder cannot be read."""
    folder, paths = existing(folder), []
    for path, error in walk(folder):
        if error:
            raise _unreadable(folder / path, error)
        paths.append(path)
    return paths


def as_named(text: str) -> Path:
    """The folder `text`, or `text` without surrounding white space if only that exists.

    Raises InputError if the path is not valid UTF-8, which params.yaml cannot contain.
    """
    folder = Path(text)
    if not folder.expanduser().exists() and Path(text.strip()).expanduser().exists():
        folder = Path(text.strip())
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"The path {str(folder.absolute())!r} is not valid UTF-8: rename the folder, or use a link."
        ) from None
    return folder


def existing(folder: Path) -> Path:
    """`folder` as an absolute path. Raises InputError if it does not exist or is not a folder."""
    # absolute, because an experiment may run in a copy of the project
    folder = Path(os.path.expanduser(folder)).absolute()
    try:
        mode = folder.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"data.folder: {folder} does not exist; {EXPECTED}.") from None
    except OSError as error:
        raise _unreadable(folder, error) from None
    if not stat.S_ISDIR(mode):
        raise InputError(f"data.folder: {folder} is not a folder; {EXPECTED}.")
    return folder


def read_photographs(folder: Path, rows: Iterable[Placed]) -> Iterator[Photograph]:
    """The photographs of `rows` in `folder`. Raises InputError when one cannot be read."""
    folder = existing(folder)
    for row in rows:
        yield Photograph(row.name, row.class_name, row.split, _read(folder / row.path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def walk(folder: Path, relative: str = "", above: frozenset[str] = frozenset()) -> Iterator[Found]:
    """The files below the subfolder `relative` of `folder`, sorted by name in each folder.

    Links are followed, except to a parent folder: `above` contains the real paths of these. Hidden files and
    files of operating systems have no error, because they are not read.
    """
    here = folder / relative
    try:
        real = os.path.realpath(here, strict=True)
        entries = sorted(os.scandir(here), key=lambda entry: entry.name)
    except OSError as error:
        yield Found(relative, None if is_system(relative) else error)
        return
    if real in above:
        return
    for entry in entries:
        path = f"{relative}/{entry.name}" if relative else entry.name
        try:
            if entry.is_dir():
                yield from walk(folder, path, above | {real})
            else:
                yield Found(path, None if entry.is_file() or is_system(path) else _not_regular(entry))
        except OSError as error:  # a dangling or circular link
            yield Found(path, None if is_system(path) else error)


def _not_regular(entry: os.DirEntry) -> OSError | None:
    """The error for a pipe, socket or device with the name of a photograph, or None.

    Raises OSError for a dangling link.
    """
    entry.stat()
    return OSError(0, "it is not a regular file") if is_photograph(entry.name) else None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"data.folder: {path} cannot be read ({error.strerror}); make it readable or remove it."
    )
