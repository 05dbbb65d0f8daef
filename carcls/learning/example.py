"""An attacked image with the answers to it: what the attack gives and what figures, tables and page show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the page shows an example without a table
    import pandas as pd


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
