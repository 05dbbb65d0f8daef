"""Photographs to review: possible label errors and near-duplicates, and the decisions about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carcls.data import copies, labels
from carcls.data.split import SPLITS
from carcls.errors import InputError
from carcls.files import write_csv
from carcls.imageset import archive
from carcls.results import folder as files

MOST = 500  # rows of each kind whose images are kept
ERRORS, NEAR = "Possible label errors", "Near-duplicates"


@dataclass(frozen=True)
class Suspect:
    """A photograph to review, by its name in photographs.csv.

    `other` is its near-duplicate or "". `suggestion` is the class that it may have instead.
    """

    name: str
    class_name: str
    other: str
    suggestion: str
    why: str


def write_review(root: Path) -> None:
    """Write data/review.tar with its csv: the input image of the model for each photograph to review."""
    listed = [*_errors(root / "plots/doubts.csv"), *_near(root / "data/copies.csv")]
    names = {name for suspect in listed for name in (suspect.name, suspect.other)}
    found = {}
    for split in SPLITS:
        tar = root / f"data/images/{split}.tar"
        with archive.ArchiveReader(tar) as reader:
            for row in archive.read_index(tar).to_dict("records"):
                if row["source"] in names and row["operations"] == "":
                    found[row["source"]] = reader.read(row["offset"], row["size"])
    with archive.create(root / "data/review.tar", []) as writer:
        for name in sorted(found):
            writer.add(name, found[name])


def suspects(folder: Path, kind: str) -> list[Suspect]:
    """The photographs of the results folder `folder` to review, most suspicious first.

    Raises InputError if a file is damaged.
    """
    return _errors(folder / "doubts.csv") if kind == ERRORS else _near(folder / "copies.csv")


def decisions(folder: Path) -> list[labels.Label]:
    """The rows of labels.csv in `folder`. Raises InputError like `labels.read`."""
    path = folder / files.LABELS
    return list(labels.read(path).rows.values()) if path.exists() else []


def decision(made: Sequence[labels.Label], name: str, sha256: str) -> labels.Label | None:
    """The decision in `made` about a photograph, or None."""
    return next((label for label in made if label.key in (name, sha256)), None)


def decide(folder: Path, name: str, class_name: str, reason: str) -> None:
    """Write a decision about the photograph `name` to labels.csv in `folder`, in place of an earlier one.

    `class_name` is the new class, labels.EXCLUDE, or "" to keep the class of the photograph.
    """
    sha256 = photographs(folder / files.PHOTOGRAPHS)["sha256"][name]
    made = decisions(folder)
    before = decision(made, name, sha256)
    group = before.group if before else ""
    others = [label for label in made if label is not before]
    rows = [*others, labels.Label(0, sha256, name, class_name, reason, group)]
    write_csv(folder / files.LABELS, [label.row() for label in sorted(rows, key=lambda label: label.image)])


def photographs(csv: Path) -> pd.DataFrame:
    """photographs.csv or data/split.csv, a row for each name. Raises InputError if it is damaged."""
    return _read(csv, "sha256", "class").set_index("name")


def classes(folder: Path) -> list[str]:
    """The sorted class names of the photographs of `folder`."""
    return sorted(photographs(folder / files.PHOTOGRAPHS)["class"].unique())


def _errors(csv: Path) -> list[Suspect]:
    if not csv.exists():  # a model trained from scratch
        return []
    return [
        Suspect(row["photograph"], row["class"], "", row["answer"],
                f"a model that was not trained on it predicts {row['answer']}")
        for row in _read(csv, "photograph", "answer").head(MOST).to_dict("records")
    ]  # fmt: skip


def _near(csv: Path) -> list[Suspect]:
    table = _read(csv, "kind", "other", "other_class")
    table = table[table["kind"].isin((copies.NEAR, copies.GROUPED))]
    doubt = 2 * (table["class"] != table["other_class"]) + (table["kind"] == copies.NEAR)
    table = table.loc[doubt.sort_values(ascending=False, kind="stable").index]
    return [
        Suspect(row["name"], row["class"], row["other"], row["other_class"], f"looks like {row['other']}")
        for row in table.head(MOST).to_dict("records")
    ]


def _read(csv: Path, *columns: str) -> pd.DataFrame:
    """A csv of a results folder as text. Raises InputError if it lacks one of `columns` or cannot be read."""
    try:
        table = pd.read_csv(csv, dtype=str, keep_default_na=False)
        table[["name", *columns]]
    except (KeyError, ValueError, OSError):
        raise InputError(f"{csv} is missing or damaged: restore it, or train again.") from None
    return table
