"""The pictures that a command line names."""

from collections.abc import Iterable
from pathlib import Path

from carcls.data.sources.sift import is_photograph
from carcls.errors import InputError


def files(named: Iterable[Path]) -> list[Path]:
    """Each of `named`; of a folder the images in and below it. Where it has none, `read` says so."""
    found: list[Path] = []
    for path in named:
        inside = sorted(file for file in path.rglob("*") if is_photograph(str(file.relative_to(path))))
        found += inside if path.is_dir() and inside else [path]
    return found


def read(path: Path) -> bytes:
    """The bytes of `path`. Raises InputError where it cannot be read, or is a folder without images."""
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path} holds no images.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
