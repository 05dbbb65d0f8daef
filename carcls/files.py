"""Files that are either there whole or not there at all."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

CHECKPOINTS = ".carcls/checkpoints"  # below a root; no output of DVC, which deletes outputs first

if TYPE_CHECKING:  # who writes no table does not pay for pandas
    import pandas as pd


@contextmanager
def replacing(*paths: Path) -> Iterator[list[Path]]:
    """Temporary paths beside `paths`, renamed over them when the block ends well and removed when it fails.

    A kill leaves at most a hidden `.NAME.tmp`, which the next run overwrites.
    """
    temporary = [path.with_name(f".{path.name}.tmp") for path in paths]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        for source, target in zip(temporary, paths, strict=True):
            os.replace(source, target)
    finally:
        for source in temporary:
            source.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    with replacing(path) as [temporary]:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping) -> None:
    """`content` as indented JSON, its keys in the order given."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, table: "pd.DataFrame | Iterable[Mapping]") -> None:
    """`table`, or its rows, without an index, floats at the shortest digits that read back as the same."""
    import pandas as pd

    write_text(path, pd.DataFrame(table).to_csv(index=False, lineterminator="\n"))
