"""The raw image set: all photographs of the source, checked, in one archive."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from carcls.data.labels import EXCLUDE, Labels
from carcls.data.sources import Photograph, Source
from carcls.data.sources.filter import LeftOut, summary
from carcls.errors import InputError
from carcls.imageset import archive
from carcls.imageset.images import decode, fingerprint

FIX = "Repair or remove it, or set data.skip_unreadable to true to skip such files."

EXCLUDED, UNLABELLED = "excluded by data.labels", "not in data.labels"
COLUMNS = ("label", "class", "split", "sha256", "fingerprint", "width", "height", "group")

log = logging.getLogger(__name__)


def collect(source: Source, raw: Path, skip_unreadable: bool, table: Labels | None = None) -> list[LeftOut]:
    """Write the archive `raw` with all photographs of `source`. Each is decoded once to check it.

    The CSV has the columns name, label, class, split (of the source), sha256, fingerprint, width and height
    (upright, in pixels), group, offset and size. `table` can change the class of a photograph, set its group
    or exclude it. Returns and logs the files skipped by the source, by `table` or by `skip_unreadable`.

    Raises InputError for a damaged photograph without `skip_unreadable`, for a class without photographs, and
    like `Labels.find` and `Labels.report_unused`.
    """
    left_out = list(source.left_out)
    labels = {class_name: label for label, class_name in enumerate(source.classes)}
    counts: Counter[str] = Counter()
    with archive.create(raw, COLUMNS) as writer:
        for photograph, sha256, group in _labelled(source, table, left_out):
            try:
                image = decode(photograph.data, photograph.name)
            except InputError as error:
                if not skip_unreadable:
                    raise InputError(f"{error} {FIX}") from None
                log.warning("skipped: %s", error)
                left_out.append(LeftOut("unreadable", photograph.name))
                continue
            counts[photograph.class_name] += 1
            writer.add(
                photograph.name,
                photograph.data,
                label=labels[photograph.class_name],
                split=photograph.split,
                sha256=sha256,
                fingerprint=fingerprint(image),
                width=image.shape[1],
                height=image.shape[0],
                group=group,
                **{"class": photograph.class_name},
            )
        _check(source, counts, table)
    if left_out:
        log.warning("skipped: %s", summary(left_out))
    return left_out


def _labelled(
    source: Source, table: Labels | None, left_out: list[LeftOut]
) -> Iterator[tuple[Photograph, str, str]]:
    """Each photograph with its class in `table`, its SHA-256 and group. Excluded ones go to `left_out`."""
    for photograph in tqdm(source.photographs, "photographs", source.total, unit="img", disable=None):
        sha256 = hashlib.sha256(photograph.data).hexdigest()
        label = table.find(photograph.name, sha256, source.classes) if table else None
        class_name = (label and label.class_name) or photograph.class_name
        if class_name in ("", EXCLUDE) and table:
            left_out.append(LeftOut(EXCLUDED if class_name else UNLABELLED, photograph.name))
        else:
            yield photograph._replace(class_name=class_name), sha256, label.group if label else ""


def _check(source: Source, counts: Counter[str], table: Labels | None) -> None:
    """Raise InputError for a class without photographs, and if `table` matches no photograph."""
    if table:
        table.report_unused()
    for class_name in source.classes:
        if not counts[class_name]:
            raise InputError(
                f"The class {class_name!r} has no readable image: repair or remove its folder"
                f"{f', or change its rows in {table.path}' if table else ''}."
            )
