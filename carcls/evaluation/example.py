"""An attacked image with the answers to it: what the attack gives and what figures, tables and page show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from carcls.errors import InputError

if TYPE_CHECKING:  # the page shows an example without a table
    import pandas as pd


STEPS = 10  # of PGD, where no other number is asked for


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
    """What is done to a picture. Raises InputError for what cannot be done."""

    kind: str  # one of attacks.ON_ONE_IMAGE
    epsilon: float  # how far each value of [0, 1] may move
    steps: int = STEPS  # of PGD
    target: str | None = None  # the class to be answered; None: any but the answer

    def __post_init__(self) -> None:
        # the page gives what stands in its boxes, which can be nothing
        if not isinstance(self.epsilon, int | float) or not 0 <= self.epsilon <= 1:
            raise InputError(f"Epsilon is {self.epsilon}: it takes a number from 0 to 1.")
        if self.kind == "pgd" and (not isinstance(self.steps, int) or self.steps < 1):
            raise InputError(f"The number of PGD's steps is {self.steps}: it takes a whole one from 1 on.")
        if self.kind == "noise" and self.target is not None:
            raise InputError("Noise goes nowhere, so it has no target: FGSM and PGD have.")


@dataclass(frozen=True)
class AttackResult:
    """A picture attacked, and the answers to it.

    In `row`, `after` answers `adversarial` itself: rounded to 8 bits, as a screen and a file have it.
    """

    row: Example
    unrounded: tuple[str, float]  # the first class before that rounding
    target: tuple[str, float, float] | None  # the class aimed at, its probability before and in `after`


def example_rows(examples: Sequence[Example]) -> "pd.DataFrame":
    """The numbers of Figure 5: for each example its top classes before and after, and where those went."""
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
