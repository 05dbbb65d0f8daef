"""Select the photographs of a tree by their paths, and count the other files."""

import posixpath
from collections.abc import Iterable
from typing import NamedTuple

from carcls.imageset.images import HEIC_SUFFIXES, NEEDS_HEIC, suffixes

SYSTEM = {  # files and folders of file servers and operating systems, in lower case
    "__macosx", "@eadir", "@tmp", "@__thumb", "#recycle", "@recycle", "@recently-snapshot", "#snapshot",
    "$recycle.bin", "recycler", "system volume information", "lost+found", "__pycache__", "_vti_cnf",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
LOOSE = "outside class folders"


class LeftOut(NamedTuple):
    """A skipped file: the reason in a few words, and its path."""

    reason: str
    path: str


def filter_images(paths: Iterable[str]) -> tuple[list[str], list[LeftOut]]:
    """The photographs among `paths`, sorted, and the other files with the reason for skipping them."""
    photographs, left_out = [], []
    read = suffixes()
    for path in sorted(paths):
        reason = _reason(path, read)
        if reason:
            left_out.append(LeftOut(reason, path))
        else:
            photographs.append(path)
    return photographs, left_out


def is_photograph(path: str) -> bool:
    """Whether `path` has the suffix of an image and is neither hidden nor a system file."""
    return not _reason(path, suffixes())


def is_system(path: str) -> bool:
    """Whether `path` is hidden or a system file, or in such a folder."""
    return bool(_system(path))


def _system(path: str) -> str:
    names = parts(path)
    if any(name.lower() in SYSTEM for name in names):
        return "system"
    return "hidden" if any(name.startswith(".") for name in names) else ""


def _reason(path: str, read: frozenset[str]) -> str:
    """Why the file `path` is skipped; "" if it is a photograph."""
    system = _system(path)
    if system:
        return system
    suffix = posixpath.splitext(path)[1].lower()
    return "" if suffix in read else suffix or "without a suffix"


def parts(path: str) -> list[str]:
    """The names of the folders and of the file in `path`."""
    return [part for part in path.split("/") if part not in ("", ".")]


def summary(left_out: Iterable[tuple[str, str]]) -> str:
    """The number of files by reason: `12 .heic (...), 1 outside class folders (such as sea.jpg)`."""
    by_reason: dict[str, list[str]] = {}
    for reason, path in left_out:
        by_reason.setdefault(reason, []).append(path)
    counted = []
    for reason, paths in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        of_note = f" (such as {min(paths)})" if reason == LOOSE else ""
        if reason in HEIC_SUFFIXES:
            of_note = f" ({NEEDS_HEIC})"
        counted.append(f"{len(paths):,} {reason}{of_note}")
    return ", ".join(counted)
