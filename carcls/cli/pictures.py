"""The image files named on the command line."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from carcls.data.sources.filter import LeftOut, filter_images, summary
from carcls.data.sources.folder import walk
from carcls.errors import InputError, printable


def files(named: Iterable[Path]) -> tuple[list[Path], list[InputError]]:
    """The image files of `named`, and an error for each unreadable file in a folder.

    A folder means all images in and below it. Links are followed as in training. Other files in a folder
    are skipped and counted on stderr.
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
        images, others = filter_images(inside)
        found += [path / name for name in images] or ([] if unreadable else [path])
        errors += unreadable
        left_out += others
    if left_out:
        print(f"skipped: {printable(summary(left_out))}", file=sys.stderr)
    return found, errors


def read(path: Path) -> bytes:
    """The bytes of `path`. Raises InputError if it cannot be read or is a folder without images."""
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path} contains no images: name an image or a folder of images.") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read: {error.strerror}.")
