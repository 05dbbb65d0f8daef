"""Heat maps as a table: how much each part of an image contributes to a prediction."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

LEVELS = 255


def table(names: Sequence[str], maps: np.ndarray, layer: str) -> pd.DataFrame:
    """Columns name, layer, height, width, levels: `maps` ((n, h, w) in [0, 1]) as 0 to LEVELS, row by row.

    `layer` is the layer of the model that `maps` are from.
    """
    levels = np.rint(maps * LEVELS).astype(int)
    return pd.DataFrame(
        {
            "name": list(names),
            "layer": layer,
            "height": maps.shape[1],
            "width": maps.shape[2],
            "levels": [" ".join(map(str, level.ravel())) for level in levels],
        }
    )


def read(row: dict) -> np.ndarray:
    """The map in a row of `table`: float32 (h, w) in [0, 1]."""
    levels = np.array(row["levels"].split(), np.float32)
    return levels.reshape(row["height"], row["width"]) / LEVELS
