"""Atomic writes: a file exists complete or not at all."""

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from carcls.errors import InputError

CHECKPOINTS = ".carcls/checkpoints"  # below a root; not a DVC output: DVC deletes outputs before a run
FEATURES = "features.safetensors"  # of the training images, beside the model file

if TYPE_CHECKING:  # only write_csv needs pandas
    import pandas as pd


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, an OSError without a file name, as from read() and write(), gets the name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Temporary paths beside `paths`. They replace `paths` if the block succeeds and are removed if it fails.

    After a kill, a hidden `.NAME.tmp` may remain, which the next run overwrites. An OSError names one of
    `paths`, never a temporary path.
    """
    targets = {path.parent / _temporary_name(path.name): path for path in paths}
    try:
        with naming(paths[0]):
            for path in paths:
                if path.exists() and not path.is_file():  # replacing /dev/null would break the system
                    raise InputError(f"{path} is a folder or a device: name a file.")
                path.parent.mkdir(parents=True, exist_ok=True)
            yield list(targets)
            for source, target in targets.items():
                os.replace(source, target)
    except OSError as error:
        named = Path(os.fsdecode(error.filename))
        error.filename = str(targets.get(named, named))
        raise
    finally:
        for source in targets:
            with suppress(OSError):  # a missing or unwritable folder has been reported
                source.unlink()


def _temporary_name(name: str) -> str:
    """`.NAME.tmp`, with a digest instead of a long name: file systems limit names to 255 bytes or fewer."""
    if len(os.fsencode(name)) > 100:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return f".{name}.tmp"


def write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as [temporary]:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping) -> None:
    """Write `content` as indented JSON, with its keys in the given order.

    Raises InputError with the first key whose value is not finite, which JSON does not allow.
    """
    for key, value in _numbers(content):
        if not math.isfinite(value):
            raise InputError(f"{path}: {key} is {value}, not a finite number: train again with a lower lr.")
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def _numbers(content: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Each float in `content`, mappings and lists at any depth, with its keys joined by dots."""
    if isinstance(content, float):
        yield key, content
    elif isinstance(content, Mapping | list | tuple):
        parts = content.items() if isinstance(content, Mapping) else enumerate(content)
        for name, value in parts:
            yield from _numbers(value, f"{key}.{name}" if key else str(name))


def write_csv(path: Path, table: "pd.DataFrame | Iterable[Mapping]") -> None:
    """`table`, or its rows, without an index, floats at the shortest digits that read back as the same."""
    import pandas as pd

    buffer = io.StringIO()
    pd.DataFrame(table).to_csv(UnixLines(buffer), index=False, lineterminator="\r\n")
    write_text(path, buffer.getvalue())


class UnixLines:
    """A text stream for csv writers: they end rows in CRLF, and `stream` gets LF.

    A csv writer quotes CR and LF only where its line terminator has them, and file names may contain both.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")
