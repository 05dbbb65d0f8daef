"""The table of labels: the classes of photographs, which to exclude, and which must share a split.

It is a CSV file. The column `class` or `label` has a class name, EXCLUDE, or nothing to keep the class of the
folder. At least one of the columns `sha256` and `image` is required; `reason` and `group` are optional. A row
with a SHA-256 applies to the photographs with these bytes. Any other row applies to the image with that path
in the folder, or with that name in photographs.csv. The table can also label a folder without class folders.
"""

import csv
import logging
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from carcls.data.sources import Source
from carcls.data.sources.filter import LeftOut, filter_images
from carcls.data.sources.folder import find_photographs, list_files, read_photographs
from carcls.data.sources.layout import Placed, canonical_class
from carcls.errors import InputError

COLUMNS = ("sha256", "image", "class", "reason", "group")
EXCLUDE = "exclude"
NAMED = 5  # rows that a log line names

log = logging.getLogger(__name__)


class Label(NamedTuple):
    """A row of the table; `line` is its line in the file."""

    line: int
    sha256: str
    image: str
    class_name: str
    reason: str = ""
    group: str = ""

    @property
    def key(self) -> str:
        """The photograph of the row: its SHA-256, or its path or name."""
        return self.sha256 or self.image

    def row(self) -> dict[str, str]:
        """The row as written to a file."""
        return dict(zip(COLUMNS, self[1:], strict=True))


@dataclass
class Labels:
    """The rows of the table `path` by their `key`.

    `paths` maps the name of a photograph to its path, if they differ. `used` maps a line to its row, if the
    row matched a photograph; `image` is then the name of that photograph.
    """

    path: Path
    rows: dict[str, Label]
    paths: dict[str, str] = field(default_factory=dict)
    used: dict[int, Label] = field(default_factory=dict)

    @property
    def images(self) -> dict[str, Label]:
        """The rows that name an image, by its path or name."""
        return {label.image: label for label in self.rows.values() if label.image}

    def check(self, label: Label, classes: Collection[str]) -> None:
        """Raise InputError if the class of a row is not one of `classes`."""
        if EXCLUDE in classes:
            raise InputError(
                f"{self.path}: {EXCLUDE!r} is also a class of the photographs: rename its folder."
            )
        if label.class_name not in ("", EXCLUDE, *classes):
            near = get_close_matches(label.class_name, classes, 1)
            raise InputError(
                f"{self.path}, line {label.line}: {label.class_name!r} is not a class of the photographs"
                f"{f' (did you mean {near[0]!r}?)' if near else ''}: correct it, or use a table for this "
                "data set."
            )

    def find(self, name: str, sha256: str, classes: Collection[str]) -> Label | None:
        """The row of the photograph `name` with these bytes.

        Raises InputError if two rows match, or if the class of the row is not one of `classes`.
        """
        keys = dict.fromkeys((sha256, name, self.paths.get(name, name)))
        found = [self.rows[key] for key in keys if key in self.rows]
        if len(found) > 1:
            raise InputError(_same_image(self.path, found[0], found[1], name))
        for label in found:
            self.check(label, classes)
            self.used.setdefault(label.line, label._replace(image=name))
            return label
        return None

    def report_unused(self) -> None:
        """Log the rows that match no photograph. Raises InputError if no row does."""
        unused = [label for label in self.rows.values() if label.line not in self.used]
        if unused and not self.used:
            raise InputError(
                f"{self.path}: no row matches a photograph: use a table for this data set, or no table."
            )
        if unused:
            named = [f"line {label.line} ({label.image or label.sha256})" for label in unused[:NAMED]]
            more = [f"{len(unused) - NAMED} more"] if len(unused) > NAMED else []
            log.warning(
                "%s: %d of %d rows match no photograph: %s",
                self.path, len(unused), len(self.rows), ", ".join(named + more),
            )  # fmt: skip


def read(path: Path) -> Labels:
    """Read the table `path`. Raises InputError, which names the invalid line, if it cannot be read."""
    path = Path(path).expanduser().absolute()
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = list(reader.fieldnames or ())
            if not {"class", "label"} & {*columns} or not {"sha256", "image"} & {*columns}:
                raise InputError(
                    f"{path} has the columns {', '.join(columns) or '(none)'}: "
                    "it needs class or label, and sha256 or image."
                )
            if "class" not in columns:
                reader.fieldnames = ["class" if name == "label" else name for name in columns]
            rows = [_label(path, reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise InputError(f"data.labels: {path} does not exist: correct the path.") from None
    except OSError as error:
        raise InputError(
            f"data.labels: {path} cannot be read ({error.strerror}): correct the path or make it readable."
        ) from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a CSV file in UTF-8 ({error}): save it in this format.") from None
    by_key: dict[str, Label] = {}
    for label in rows:
        other = by_key.setdefault(label.key, label)
        if other is not label:
            raise InputError(_same_image(path, other, label, label.image or label.key))
    return Labels(path, by_key)


def _same_image(path: Path, one: Label, other: Label, name: str) -> str:
    return f"{path}: lines {one.line} and {other.line} refer to the same image, {name}: remove one."


def _label(path: Path, line: int, row: dict) -> Label:
    values = {name: (row.get(name) or "").strip() for name in COLUMNS}
    values["image"] = _normal(values["image"].replace("\\", "/").removeprefix("./"))
    label = Label(line, values["sha256"].lower(), values["image"], *list(values.values())[2:])
    if not label.key:
        raise InputError(f"{path}, line {line}: sha256 and image are empty: fill in one, or remove the row.")
    return label._replace(class_name=canonical_class(label.class_name))


def open_labelled(folder: Path, labels: Labels) -> Source:
    """The photographs of `folder` with their classes. Raises InputError like `find_labelled`."""
    rows, left_out, classes = find_labelled(folder, labels)
    labels.paths.update((row.name, _normal(row.path)) for row in rows)
    return Source(classes, len(rows), read_photographs(folder, rows), left_out)


def find_labelled(folder: Path, labels: Labels) -> tuple[list[Placed], list[LeftOut], list[str]]:
    """The photographs in `folder`, the skipped files and the class names. Does not read the images.

    A photograph has the class of its folder, or no class ("") if all photographs are in one folder. The
    classes are those of the folders. If there are no class folders, or if `labels` names every photograph,
    they are those of `labels`. Raises InputError like `find_photographs`, for an unknown class, and if there
    are no class folders and no row names a photograph.
    """
    photographs, left_out = filter_images(list_files(folder))
    if len({path.rpartition("/")[0] for path in photographs}) < 2:
        rows = [Placed(path, _normal(path), "", "") for path in photographs]
    else:
        rows, left_out = find_photographs(folder)
    images, named, classes = labels.images, apply(rows, labels), {row.class_name for row in rows}
    if classes <= {""} and not named:
        raise InputError(
            f"{folder} has no class folders, and {labels.path} names no image in it: add the column image "
            "with the path of each image in the folder."
        )
    if "" in classes or all(_label_of(row, images) for row in rows):
        classes = {row.class_name for row in named}
    for row in rows:
        if label := _label_of(row, images):
            labels.check(label, classes)
    return rows, left_out, sorted(classes)


def apply(rows: Iterable[Placed], labels: Labels) -> list[Placed]:
    """`rows` with their classes in `labels`, without those that are excluded or have no class."""
    images, applied = labels.images, []
    for row in rows:
        label = _label_of(row, images)
        class_name = (label and label.class_name) or row.class_name
        if class_name not in ("", EXCLUDE):
            applied.append(row._replace(class_name=class_name))
    return applied


def _label_of(row: Placed, images: Mapping[str, Label]) -> Label | None:
    return images.get(_normal(row.path)) or images.get(row.name)


def _normal(path: str) -> str:
    return unicodedata.normalize("NFC", path)
