"""The pictures that a command line names."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from carcls.data.sources.folder import walk
from carcls.data.sources.sift import LeftOut, sift, summary
from carcls.errors import InputError, printable


def files(named: Iterable[Path]) -> tuple[list[Path], list[InputError]]:
    """Each of `named`, and for a folder the images in and below it; then what cannot be read in a folder.

    Links are followed as in training. What a folder holds beside images is counted on stderr.
    """
    found: list[Path] = []
    errors: list[InputError] = []
    left_out: list[LeftOut] = []
    for path in named:
        if not os.path.isdir(path):  # unlike Path.is_dir, never raises
            found.append(path)
            continue
        inside, unreadable = [], []
        for name, error in walk(path):
            if error:
                unreadable.append(_unreadable(path / name, error))
            else:
                inside.append(name)
        images, others = sift(inside)
        found += [path / name for name in images] or ([] if unreadable else [path])
        errors += unreadable
        left_out += others
    if left_out:
        print(f"left out: {printable(summary(left_out))}", file=sys.stderr)
    return found, errors


def read(path: Path) -> bytes:
    """The bytes of `path`. Raises InputError where it cannot be read, or is a folder without images."""
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path} holds no images.") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {error.strerror}.")
