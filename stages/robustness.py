"""plots/fgsm/variants.csv: every variant on validation originals, clean, with noise and under FGSM."""

from pathlib import Path

import pandas as pd

from carcls import params
from carcls.files import write_csv
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import load_model
from carcls.results.tested import WITHSTOOD, withstood
from stages import log, stage


@stage
def main() -> None:
    settings = params.load()
    device = resolve_device(settings.train.device)
    val = ArchiveSet(Path("data/images/val.tar"))
    originals, tables = val.originals(WITHSTOOD), []  # the test set is for the chosen variant alone
    for path in sorted(Path("models").glob("*-*.safetensors")):
        model, info = load_model(path)
        if info.classes != val.classes:
            log.warning("left out: %s, which was trained on other classes", path)
            continue
        table = withstood(model, originals, settings, device)
        tables.append(table.assign(variant=path.stem))
    write_csv(Path("plots/fgsm/variants.csv"), pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    main()
