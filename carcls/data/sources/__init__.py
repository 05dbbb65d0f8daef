"""Where photographs come from: every source yields the same `Photograph`s."""

from collections.abc import Iterator
from typing import NamedTuple

from carcls.data.sources.sift import LeftOut


class Photograph(NamedTuple):
    """One picture as its source gives it.

    `name` is unique, `split/class/file` or `class/file`; `split` is the source's own: train, val, test or
    "" where it has none; `data` holds the original bytes.
    """

    name: str
    class_name: str
    split: str
    data: bytes


class Source(NamedTuple):
    """What a source holds: its class names in order, how many photographs, these by name, and what else."""

    classes: list[str]
    total: int
    photographs: Iterator[Photograph]
    left_out: list[LeftOut]
