"""The raw image set: all photographs of the source, checked, in one archive."""

import hashlib
import logging
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from carcls.data.sources import Source
from carcls.data.sources.filter import LeftOut, summary
from carcls.errors import InputError
from carcls.imageset import archive
from carcls.imageset.images import decode, fingerprint

FIX = "Repair or remove it, or set data.skip_unreadable to true to skip such files."

log = logging.getLogger(__name__)


def collect(source: Source, raw: Path, skip_unreadable: bool) -> list[LeftOut]:
    """Write the archive `raw` with all photographs of `source`. Each is decoded once to check it.

    The csv has the columns name, label, class, split (of the source), sha256, fingerprint (see images), width
    and height (upright, in pixels), offset and size. Returns and logs the files that the source skipped and,
    with `skip_unreadable`, damaged photographs. Raises InputError for a damaged photograph otherwise, and for
    a class without photographs.
    """
    left_out = list(source.left_out)
    labels = {class_name: label for label, class_name in enumerate(source.classes)}
    counts: Counter[str] = Counter()
    columns = ["label", "class", "split", "sha256", "fingerprint", "width", "height"]
    with archive.create(raw, columns) as writer:
        for photograph in tqdm(source.photographs, "photographs", source.total, unit="img", disable=None):
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
                sha256=hashlib.sha256(photograph.data).hexdigest(),
                fingerprint=fingerprint(image),
                width=image.shape[1],
                height=image.shape[0],
                **{"class": photograph.class_name},
            )
        _check_classes(source.classes, counts)
    if left_out:
        log.warning("skipped: %s", summary(left_out))
    return left_out


def _check_classes(classes: list[str], counts: Counter[str]) -> None:
    for class_name in classes:
        if not counts[class_name]:
            raise InputError(f"The class {class_name!r} has no readable image: repair or remove its folder.")
