"""Which class and split a photograph belongs to, told from its path alone."""

import posixpath
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from carcls.data.images import SUFFIXES
from carcls.errors import InputError

SPLITS = {
    "train": "train",
    "training": "train",
    "cars_train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "cars_test": "test",
}
EXPECTED = "photographs are expected in class folders, CLASS/* or train/CLASS/* and test/CLASS/*"


class Placed(NamedTuple):
    """One image file: its path, its unique name `split/class/file` or `class/file`, its class and split."""

    path: str
    name: str
    class_name: str
    split: str


def arrange(paths: Iterable[str], origin: str) -> list[Placed]:
    """The image files among `paths`, sorted by name; all others, hidden ones included, are left out.

    A photograph's class is the folder it lies in; its split (train, val, test or "") is the nearest folder
    above that has a name of SPLITS, in any case. `paths` are relative, with "/"; `origin` is what the
    sentences call the tree. Raises InputError as `place` does, and for an image that lies in no class folder.
    """
    return place(((path, *_labels(path, origin)) for path in paths if is_photograph(path)), origin)


def place(labelled: Iterable[tuple[str, str, str]], origin: str) -> list[Placed]:
    """The (path, class name, split) of `labelled` with their names, sorted by these.

    Raises InputError when two photographs would have one name, only some have a split, a class has no
    training photograph, or there are fewer than two classes.
    """
    placed: dict[str, Placed] = {}
    for path, class_name, split in labelled:
        class_name = canonical_class(class_name)
        file = unicodedata.normalize("NFC", posixpath.basename(path))
        name = "/".join(part for part in (split, class_name, file) if part)
        if name in placed:
            first, second = sorted((placed[name].path, path))
            raise InputError(f"{origin}: {first} and {second} would both be {name}; rename one of them.")
        placed[name] = Placed(path, name, class_name, split)
    rows = [placed[name] for name in sorted(placed)]
    _check_text(rows, origin)
    _check_splits(rows, origin)
    _check_classes(rows, origin)
    return rows


def is_photograph(path: str) -> bool:
    """Whether `path` has an image's suffix and is not hidden."""
    return posixpath.splitext(path)[1].lower() in SUFFIXES and not is_hidden(path)


def is_hidden(path: str) -> bool:
    """Whether `path` or a folder above it has a name that starts with a dot or is __MACOSX."""
    return any(part.startswith(".") or part == "__MACOSX" for part in _parts(path))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def canonical_class(name: str) -> str:
    """`name` as a folder can have it, the same however a copy of the data set spells it.

    Stanford Cars' `Ram C/V Cargo Van Minivan 2012` has a slash, which its copies write as "-", "_" or "".
    """
    name = unicodedata.normalize("NFC", name).strip().replace("/", "-")
    return re.sub(r"^Ram C[-_ ]?V\b", "Ram C-V", name)


def _labels(path: str, origin: str) -> tuple[str, str]:
    *above, folder = _parts(path)[:-1] or [""]
    if not folder or folder.lower() in SPLITS:
        raise InputError(f"{origin}: {path} lies in no class folder; {EXPECTED}.")
    splits = [SPLITS[part.lower()] for part in above if part.lower() in SPLITS]
    return folder, splits[-1] if splits else ""


def _check_text(rows: list[Placed], origin: str) -> None:
    for row in rows:
        try:
            row.name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{origin}: the name of {row.path!r} is not valid UTF-8; rename it.") from None


def _check_splits(rows: list[Placed], origin: str) -> None:
    stray = [row.path for row in rows if not row.split]
    if 0 < len(stray) < len(rows):
        raise InputError(
            f"{origin}: {stray[0]} lies outside the train, val and test folders that others are in; "
            "move it into one of them or out of the tree."
        )


def _check_classes(rows: list[Placed], origin: str) -> None:
    classes = sorted({row.class_name for row in rows})
    if not classes:
        raise InputError(f"{origin} holds no images ({', '.join(sorted(SUFFIXES))}); {EXPECTED}.")
    if len(classes) == 1:
        raise InputError(f"{origin} holds one class only, {classes[0]!r}; give at least two.")
    trained = {row.class_name for row in rows if row.split in ("train", "")}
    for row in rows:
        if row.class_name not in trained:
            raise InputError(
                f"{origin}: the class {row.class_name!r} is in {row.split} but not in train; "
                "add training photographs of it or remove it."
            )
