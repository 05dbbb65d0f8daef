"""Copy or link images into one folder per class."""

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from carcls.errors import InputError
from carcls.files import UnixLines, naming, replacing

UNCERTAIN = "uncertain"
CSV = "predictions.csv"


class Sorter:
    """Sorts images into the new folder `out`: out/CLASS, or out/UNCERTAIN below `min_probability`.

    `link` makes symbolic links instead of copies. Use `opened`.
    """

    def __init__(self, out: Path, classes: list[str], link: bool, min_probability: float) -> None:
        self._out, self._link, self._min_probability = out, link, min_probability
        self._folders = {name: _folder_name(name) for name in classes}
        self._uncertain = UNCERTAIN
        while self._uncertain in self._folders.values():
            self._uncertain = f"_{self._uncertain}"
        self._repeats: Counter[Path] = Counter()
        self.counts: Counter[str] = Counter()

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Create the folder and a CSV file with a row per image. Raises InputError if the folder exists."""
        try:
            self._out.mkdir(parents=True)
        except FileExistsError:
            raise InputError(f"--sort: {self._out} exists: name a new folder.") from None
        path = self._out / CSV
        with naming(path), open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            self._rows = csv.writer(UnixLines(file))
            self._rows.writerow(["image", "file", "class", "probability"])
            yield

    def add(self, image: Path, class_name: str, probability: float | None) -> None:
        """Sort `image`. Without a probability, it has no class and counts as uncertain."""
        certain = probability is not None and probability >= self._min_probability
        folder = self._folders[class_name] if certain else self._uncertain
        target = self._free(self._out / folder, image)
        with replacing(target) as [temporary]:
            if self._link:
                temporary.unlink(missing_ok=True)  # left by a killed process
                temporary.symlink_to(image.absolute())
            else:
                shutil.copy2(image, temporary)
        self._rows.writerow([image, target.relative_to(self._out), class_name, probability])
        self.counts[folder] += 1

    def _free(self, folder: Path, image: Path) -> Path:
        """The path for `image` in `folder`, with a number if that name exists."""
        target = folder / image.name
        while os.path.lexists(target):
            self._repeats[folder / image.name] += 1
            target = folder / f"{image.stem}-{self._repeats[folder / image.name] + 1}{image.suffix}"
        return target

    def summary(self) -> str:
        uncertain = self.counts[self._uncertain]
        sorted_ones = self.counts.total() - uncertain
        return (
            f"{self._out}: {sorted_ones} images in {len(self.counts) - (uncertain > 0)} class folders, "
            f"{uncertain} with a probability below {self._min_probability} in {self._uncertain}"
        )


def _folder_name(class_name: str) -> str:
    """`class_name` as a valid folder name, because a model file may contain any text."""
    name = re.sub(r"[/\0]", "-", class_name)
    return name if name.strip(".") else f"_{name}"
