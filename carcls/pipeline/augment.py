"""data/images/{train,val,test}.tar: the photographs at image_size, and copies that balance the classes."""

from pathlib import Path

import pandas as pd

from carcls.data.augment import write_image_sets
from carcls.params import Params


def augment(params: Params, root: Path) -> None:
    """Write the image sets of data/split.csv. Raises InputError like `write_image_sets`."""
    write_image_sets(
        root / "data/raw.tar",
        pd.read_csv(root / "data/split.csv", dtype={"class": str}, keep_default_na=False),
        root / "data/images",
        settings=params.augment,
        image_size=params.data.image_size,
        seed=params.seed,
    )
