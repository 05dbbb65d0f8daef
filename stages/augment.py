"""data/images/{train,val,test}.tar: the photographs at image_size, and copies that balance the classes."""

from pathlib import Path

import pandas as pd

from carcls import params
from carcls.data.augment import build
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    build(
        Path("data/raw.tar"),
        pd.read_csv("data/split.csv", dtype={"class": str}, keep_default_na=False),
        Path("data/images"),
        settings=settings.augment,
        image_size=settings.data.image_size,
        seed=settings.seed,
    )


if __name__ == "__main__":
    main()
