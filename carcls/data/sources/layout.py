"""The class and split of a photograph, determined only by its path.

Folders that contain only one folder are ignored. The next level may be split folders (train, val, test). The
next level is the class, and deeper folders belong to it. A tree with ambiguous names is rejected, so that no
test image is used for training because of a name.
"""

import logging
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from carcls.data.sources.filter import LOOSE, LeftOut, filter_images, parts
from carcls.data.sources.splits import SplitName, is_filler, is_part, parse_split, split_of
from carcls.errors import InputError
from carcls.imageset.images import suffixes

# Cyrillic, then Greek letters whose capitals have the shape of a Latin capital, as str.casefold gives them
LATIN_SHAPES = str.maketrans("авсенкмортхуіѕј" + "αβεζηικμνορτυχ", "abcehkmoptxyisj" + "abezhikmnoptyx")
EXPECTED = "photographs are expected in class folders, CLASS/* or train/CLASS/* and test/CLASS/*"
RENAME = "rename the split folders to train, val and test, and rename classes with such names"
log = logging.getLogger(__name__)


class Placed(NamedTuple):
    """One image file: its path, its unique name `split/class/file` or `class/file`, its class and split."""

    path: str
    name: str
    class_name: str
    split: str


class Arranged(NamedTuple):
    """The photographs of a tree, sorted by name, and its other files."""

    rows: list[Placed]
    left_out: list[LeftOut]


class Labelled(NamedTuple):
    """A path, its class and split, and the rest of its name after these."""

    path: str
    class_name: str
    split: str
    rest: str


@dataclass
class Folder:
    """The photographs in the folder `path`, and its folders that contain any."""

    path: str
    files: list[str] = field(default_factory=list)
    folders: dict[str, "Folder"] = field(default_factory=dict)

    def all_files(self) -> Iterator[str]:
        yield from self.files
        for folder in self.folders.values():
            yield from folder.all_files()

    def all_folders(self) -> Iterator[str]:
        """The names of all folders in it, at any depth."""
        for name, folder in self.folders.items():
            yield name
            yield from folder.all_folders()


def arrange(paths: Iterable[str], origin: str) -> Arranged:
    """The images among `paths` by class and split (train, val, test or ""), and the skipped files.

    `paths` are relative, with "/". `origin` names the tree in messages. Raises InputError if it is ambiguous
    which folders are splits and which are classes, and like `place`.
    """
    photographs, left_out = filter_images(paths)
    top, found = _tree(photographs), []
    top = _without_wrappers(top)
    splits = _splits(top, origin)
    if splits is None:
        found = list(_classes(top, "", origin))
    else:
        for name, split in splits.items():
            found += _classes(_inside_split(top.folders[name]), split, origin)
    placed = {row.path for row in found}
    left_out += [LeftOut(LOOSE, path) for path in photographs if path not in placed]
    return Arranged(place(found, origin), left_out)


def _tree(paths: Iterable[str]) -> Folder:
    top = Folder("")
    for path in paths:
        folder = top
        for part in parts(path)[:-1]:
            folder = folder.folders.setdefault(part, Folder(f"{folder.path}{part}/"))
        folder.files.append(path)
    return top


def _without_wrappers(folder: Folder) -> Folder:
    """`folder`, or the first folder below it that does more than wrap one folder of folders."""
    while not folder.files and len(folder.folders) == 1:
        [(name, inner)] = folder.folders.items()
        if not inner.folders or (parse_split(name) and not any(map(parse_split, inner.folders))):
            break  # it is a class or a split
        folder = inner
    return folder


def _inside_split(folder: Folder) -> Folder:
    """The folder in a split that contains the classes, as in `seg_train/seg_train` or `train/images`."""
    while not folder.files and len(folder.folders) == 1:
        [(name, inner)] = folder.folders.items()
        if not inner.folders or not (parse_split(name) or is_filler(name)):
            break
        folder = inner
    return folder


def _holds_classes(name: str, folder: Folder) -> bool:
    """Whether the folder `name` contains class folders, unlike `val/images/*`, which has only images."""
    folder = _inside_split(folder)
    if len(folder.folders) == 1:
        [(inside, inner)] = folder.folders.items()
        return bool(inner.folders) or not (inside == name or is_filler(inside))
    return bool(folder.folders)


def _splits(top: Folder, origin: str) -> dict[str, str] | None:
    """The split of each folder of `top` that is one; None if `top` contains the classes."""
    parsed = {name: words for name in top.folders if (words := parse_split(name))}
    with_classes = [name for name, folder in top.folders.items() if _holds_classes(name, folder)]
    candidates = {name: parsed[name] for name in with_classes if name in parsed}
    others = [name for name in top.folders if name not in parsed]
    splits = {words.split for words in parsed.values()}
    if not candidates:
        if "train" in splits and len(splits) > 1:
            raise InputError(
                f"{origin}: {_list(parsed)} contain photographs but no class folders; {EXPECTED}."
            )
        pieces = [name for name in with_classes if is_part(name)]
        if len(pieces) > 1:
            raise InputError(
                f"{origin}: {_list(pieces)} look like parts of one data set; merge their class folders."
            )
        return None
    if others and len({words.split for words in candidates.values()}) == 1:
        [(_, words), *further] = candidates.items()
        if words.other_words and not further:  # a class, such as `train_station` beside `airport`
            return None
        raise InputError(
            f"{origin}: {_list(candidates)}, beside {_list(others)}, may be a split or a class; {RENAME}."
        )
    _check_unambiguous(candidates, origin)
    deep = [name for name in others if name in with_classes]
    if deep:
        raise InputError(
            f"{origin}: {_list(deep)}, beside {_list(candidates)}, is not the name of a split; {RENAME}."
        )
    return {name: words.split for name, words in candidates.items()}


def _check_unambiguous(candidates: Mapping[str, SplitName], origin: str) -> None:
    """Check that each split has one folder with the same other words, unlike `train_station`, `test_site`."""
    for split in ("train", "val", "test"):
        names = [name for name, words in candidates.items() if words.split == split]
        if len(names) > 1:
            raise InputError(f"{origin}: {_list(names)} all mean {split}; merge them or remove all but one.")
    if len({words.other_words for words in candidates.values() if words.other_words}) > 1:
        raise InputError(f"{origin}: {_list(candidates)} may be splits or classes; {RENAME}.")


def _classes(folder: Folder, split: str, origin: str) -> Iterator[Labelled]:
    """All photographs in the class folders of `folder`. `split` is its split, or "" without splits."""
    if not split and all(map(_is_divided, folder.folders.values())):
        for class_name, inner in folder.folders.items():
            for name, part in inner.folders.items():
                yield from _of(class_name, split_of(name), part)
        return
    inside = [(name, below) for name, inner in folder.folders.items() for below in inner.all_folders()]
    of_others = [pair for pair in inside if split_of(pair[1]) not in ("", split or "train")]
    if of_others:
        name, below = of_others[0]
        raise InputError(
            f"{origin}: {below}, in the class folder {name}, may be a split; {EXPECTED}; {RENAME}."
        )
    if inside:
        log.info("%s: folders in a class folder belong to it: %s is read as %s", origin, *inside[0][::-1])
    for class_name, inner in folder.folders.items():
        yield from _of(class_name, split, inner)


def _is_divided(folder: Folder) -> bool:
    """Whether the class folder `folder` contains only splits, as CLASS/train/* and CLASS/test/*."""
    splits = [split_of(name) for name in folder.folders]
    flat = not folder.files and not any(part.folders for part in folder.folders.values())
    return flat and "train" in splits and "" not in splits and len(splits) == len(set(splits))


def _of(class_name: str, split: str, folder: Folder) -> Iterator[Labelled]:
    for path in folder.all_files():
        yield Labelled(path, class_name, split, "/".join(parts(path)).removeprefix(folder.path))


def place(labelled: Iterable[Labelled], origin: str) -> list[Placed]:
    """The rows of `labelled` with unique names, sorted by name.

    Raises InputError if two photographs would get the same name, a class has no training photograph, or there
    are fewer than two classes.
    """
    placed: dict[str, Placed] = {}
    for path, folder, split, rest in labelled:
        class_name = canonical_class(folder)
        rest = unicodedata.normalize("NFC", rest)
        name = "/".join(part for part in (split, class_name, rest) if part)
        if name in placed:
            first, second = sorted((placed[name].path, path))
            raise InputError(f"{origin}: {first} and {second} would both be {name}; rename one of them.")
        placed[name] = Placed(path, name, class_name, split)
    rows = [placed[name] for name in sorted(placed)]
    _check_text(rows, origin)
    for message in merged(rows):
        log.warning("%s: %s", origin, message)
    _check_classes(rows, origin)
    return rows


def merged(rows: Iterable[Placed]) -> list[str]:
    """A message for each class that several folder names stand for."""
    spellings: dict[str, set[str]] = {}
    for row in rows:
        folders = (part for part in parts(row.path)[:-1] if canonical_class(part) == row.class_name)
        spellings.setdefault(row.class_name, set()).update(folders)
    return [
        f"The folders {_list(map(ascii, folders))} are read as one class, {class_name!r}: rename them if "
        "they are different classes."
        for class_name, folders in spellings.items()
        if len(folders) > 1
    ]


def canonical_class(name: str) -> str:
    """`name` as a folder name, the same for all copies of a data set.

    Stanford Cars' `Ram C/V Cargo Van Minivan 2012` has a slash. Its copies replace it by "-", "_" or "".
    """
    name = unicodedata.normalize("NFC", name).strip().replace("/", "-")
    return re.sub(r"^Ram C[-_ ]?V\b", "Ram C-V", name)


def lookalikes(classes: Collection[str]) -> list[str]:
    """A message for each group of class names that look alike, and for each name that mixes alphabets.

    Names look alike if they differ only in case, white space, invisible characters, characters that Unicode
    calls compatible, or Cyrillic or Greek letters of a Latin shape. A name mixes alphabets if a word has
    Latin, Cyrillic or Greek letters together.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(classes):
        seen = unicodedata.normalize("NFKC", name).casefold()
        seen = seen.translate(LATIN_SHAPES)
        key = "".join(letter for letter in seen if letter.isprintable() and not letter.isspace())
        groups.setdefault(key, []).append(name)
    return [
        f"{_list(map(_shown, names))} are different classes, but their names look alike: if they are the "
        "same class, give their folders one name."
        for names in groups.values()
        if len(names) > 1
    ] + [
        f"The class name {_shown(name)} mixes letters of different alphabets, which may look alike: "
        "check that it is what you mean."
        for name in sorted(classes)
        if any(len(_alphabets(word)) > 1 for word in name.split())
    ]


def _shown(name: str) -> str:
    """`name` in quotes, with the codes of its characters if it is not ASCII."""
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"


def _alphabets(word: str) -> set[str]:
    """Which of the alphabets that share letter shapes occur in `word`."""
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in word} & {
        "LATIN",
        "CYRILLIC",
        "GREEK",
    }


def _list(names: Iterable[str]) -> str:
    """`names` as text, at most four: `a, b, c and 5 more`."""
    names = sorted(names)
    shown = names[:4] if len(names) <= 4 else [*names[:3], f"{len(names) - 3} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _check_text(rows: list[Placed], origin: str) -> None:
    for row in rows:
        try:
            row.name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{origin}: the name of {row.path!r} is not valid UTF-8; rename it.") from None


def _check_classes(rows: list[Placed], origin: str) -> None:
    classes = sorted({row.class_name for row in rows})
    if not classes:
        raise InputError(
            f"{origin} contains no images in class folders ({', '.join(sorted(suffixes()))}); {EXPECTED}."
        )
    if len(classes) == 1:
        raise InputError(f"{origin} contains only one class, {classes[0]!r}; add a second class.")
    trained = {row.class_name for row in rows if row.split in ("train", "")}
    for row in rows:
        if row.class_name not in trained:
            raise InputError(
                f"{origin}: the class {row.class_name!r} is in {row.split} but not in train; "
                "add training photographs of it or remove it."
            )
