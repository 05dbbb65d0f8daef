"""An attacked image and its predictions: the result of an attack, shown by figures, tables and the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from carcls.errors import InputError

if TYPE_CHECKING:  # the page needs no pandas to show an example
    import pandas as pd


STEPS = 10  # of PGD, by default


@dataclass(frozen=True)
class Example:
    """One row of the paper's Figure 5. Images are uint8 (h, w, 3); `noise` is -1, 0 or 1 for each value."""

    name: str
    actual: str
    epsilon: float
    original: np.ndarray
    noise: np.ndarray
    adversarial: np.ndarray
    before: list[tuple[str, float]]
    after: list[tuple[str, float]]
    rank_after: list[int]


@dataclass(frozen=True)
class AttackSpec:
    """How an image is attacked. Raises InputError for invalid values."""

    kind: str  # one of attacks.ON_ONE_IMAGE
    epsilon: float  # the largest change of a pixel value in [0, 1]
    steps: int = STEPS  # of PGD
    target: str | None = None  # the class to move towards; None: away from the prediction

    def __post_init__(self) -> None:
        # the page passes the content of its boxes, which is None if they are empty
        if not isinstance(self.epsilon, int | float) or not 0 <= self.epsilon <= 1:
            raise InputError(f"Epsilon must be a number from 0 to 1, not {self.epsilon}.")
        if self.kind == "pgd" and (not isinstance(self.steps, int) or self.steps < 1):
            raise InputError(f"The number of PGD steps must be a positive integer, not {self.steps}.")
        if self.kind == "noise" and self.target is not None:
            raise InputError("Noise cannot have a target: choose FGSM or PGD, or no target.")


@dataclass(frozen=True)
class AttackResult:
    """An attacked image and its predictions.

    `row.after` is the prediction on `row.adversarial`, which is rounded to 8 bits, as in a file.
    """

    row: Example
    unrounded: tuple[str, float]  # the predicted class and its probability before rounding
    target: tuple[str, float, float] | None  # the target class and its probability before and after


def example_rows(examples: Sequence[Example]) -> "pd.DataFrame":
    """The numbers of Figure 5: the top classes of each example before and after, and their new ranks."""
    import pandas as pd

    return pd.DataFrame(
        {
            "name": example.name,
            "actual": example.actual,
            "rank": rank,
            "class": before[0],
            "probability": before[1],
            "rank_attacked": rank_after,
            "class_attacked": after[0],
            "probability_attacked": after[1],
        }
        for example in examples
        for rank, (before, after, rank_after) in enumerate(
            zip(example.before, example.after, example.rank_after, strict=True), start=1
        )
    )


def example_arrays(examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """The images of Figure 5, (n, h, w, 3) each: original and adversarial uint8, noise int8."""
    names = ("original", "noise", "adversarial")
    return {name: np.stack([getattr(example, name) for example in examples]) for name in names}


def read_examples(table: "pd.DataFrame", arrays: dict[str, np.ndarray], epsilon: float) -> list[Example]:
    """The examples whose `example_rows` are `table` and whose `example_arrays` are `arrays`."""
    examples = []
    for place, (name, rows) in enumerate(table.groupby("name", sort=False)):
        after = rows[["class_attacked", "probability_attacked"]].itertuples(index=False, name=None)
        before = rows[["class", "probability"]].itertuples(index=False, name=None)
        images = {key: images[place] for key, images in arrays.items()}
        ranks, actual = rows["rank_attacked"].to_list(), rows["actual"].iloc[0]
        tops = {"before": list(before), "after": list(after), "rank_after": ranks}
        examples.append(Example(str(name), actual, epsilon, **images, **tops))
    return examples
