"""Find possible label errors in the photographs of a results folder."""

from pathlib import Path

import numpy as np
import pandas as pd

from carcls.evaluation.doubts import doubts, features
from carcls.files import write_csv
from carcls.imageset.archive import read_index
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.variant import start
from carcls.params import Params


def label_errors(params: Params, root: Path) -> None:
    """Write plots/doubts.csv: `doubts` of the training and validation photographs, most suspicious first.

    It uses features of the backbone from which the training started, which was not trained on these labels.
    Columns: split, name (in the archive), photograph, class, answer, given, doubt.
    """
    rows, found = [], []
    device = resolve_device(params.train.device)
    arch = params.model.arch
    model = start(arch, 1, root / f"data/weights/{arch}.safetensors", params.train, params.seed)
    for split in ("train", "val"):
        index = read_index(root / f"data/images/{split}.tar")
        if index.empty:
            continue
        images = ArchiveSet(root / f"data/images/{split}.tar")
        rows.append(index[index["operations"] == ""].assign(split=split))
        found.append(features(model, images.originals(), device))
    photographs = pd.concat(rows, ignore_index=True)
    table = doubts(np.concatenate(found), photographs["label"].to_numpy(), params.seed)
    of = photographs.loc[table.pop("place"), ["split", "name", "source", "class"]].reset_index(drop=True)
    names = photographs.drop_duplicates("label").set_index("label")["class"]
    table["answer"] = names.loc[table["answer"]].to_numpy()
    table = pd.concat([of.rename(columns={"source": "photograph"}), table], axis=1)
    write_csv(root / "plots/doubts.csv", table)
