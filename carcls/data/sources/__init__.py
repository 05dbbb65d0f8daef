"""The sources of photographs. Each of them yields `Photograph`s."""

from collections.abc import Iterator
from typing import NamedTuple

from carcls.data.sources.filter import LeftOut


class Photograph(NamedTuple):
    """One image of a source.

    `name` is unique: `split/class/file` or `class/file`. `split` is train, val, test or, if the source has no
    splits, "". `data` contains the original bytes.
    """

    name: str
    class_name: str
    split: str
    data: bytes


class Source(NamedTuple):
    """A source: sorted class names, number of photographs, photographs by name, and skipped files."""

    classes: list[str]
    total: int
    photographs: Iterator[Photograph]
    left_out: list[LeftOut]
