"""Measure the photographs of a results folder: shortcuts to their classes, and unusual photographs."""

from pathlib import Path

import pandas as pd

from carcls.data.split import SPLITS
from carcls.evaluation.shortcuts import MEASURES, measure, shortcuts, unusual
from carcls.files import write_csv
from carcls.imageset.archive import ArchiveReader, read_index
from carcls.imageset.images import imdecode
from carcls.params import Params


def quality(params: Params, root: Path) -> None:
    """Write plots/measures.csv, plots/shortcuts.csv and plots/unusual.csv.

    Brightness and sharpness are measured on the input images of the model. `size` (square root of the number
    of pixels) and `aspect ratio` (width by height) are measured on the photographs.
    """
    raw = read_index(root / "data/raw.tar").set_index("name")
    tables = []
    for split in SPLITS:
        tar = root / f"data/images/{split}.tar"
        index = read_index(tar)
        rows = index[index["operations"] == ""].assign(split=split)
        if rows.empty:  # without a validation set
            continue
        with ArchiveReader(tar) as reader:
            spans = zip(rows["offset"], rows["size"], strict=True)
            measured = [measure(imdecode(reader.read(*span))) for span in spans]
        rows[["brightness", "sharpness"]] = pd.DataFrame(measured, rows.index, columns=[*MEASURES[:2]])
        width, height = (raw.loc[rows["source"], side].to_numpy(float) for side in ("width", "height"))
        tables.append(rows.assign(**{"size": (width * height) ** 0.5, "aspect ratio": width / height}))
    photographs = pd.concat(tables, ignore_index=True)[
        ["split", "name", "source", "label", "class", *MEASURES]
    ].rename(columns={"source": "photograph"})
    write_csv(root / "plots/measures.csv", photographs)
    write_csv(root / "plots/shortcuts.csv", shortcuts(photographs, params.seed))
    write_csv(root / "plots/unusual.csv", unusual(photographs))
