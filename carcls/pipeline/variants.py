"""data/variants.csv: the variants of the study."""

from pathlib import Path

from carcls.base.variants import cells
from carcls.files import write_csv
from carcls.params import Params


def variants(params: Params, root: Path) -> None:
    """Write the cells of the matrix of `train`: columns arch and config.

    It is a file because of DVC: a stage that reads all variants does not run again when another of them is
    selected, since this file stays the same.
    """
    found = cells(params.model.arch, params.model.config)
    write_csv(root / "data/variants.csv", [{"arch": arch, "config": config} for arch, config in found])
