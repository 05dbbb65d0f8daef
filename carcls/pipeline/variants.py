"""data/variants.csv: the variants of the study."""

from pathlib import Path

from carcls.base.variants import cells
from carcls.errors import InputError
from carcls.files import write_csv
from carcls.params import Params


def variants(params: Params, root: Path) -> None:
    """Write the cells of the matrix of `train`: columns arch and config.

    It is a file because of DVC: a stage that reads all variants does not run again when another of them is
    selected, since this file stays the same. Raises InputError when there will be no validation images.
    """
    if params.split.val is None:
        raise InputError("split.val is null, but a study compares its variants on validation images: set it.")
    found = cells(params.model.arch, params.model.config)
    write_csv(root / "data/variants.csv", [{"arch": arch, "config": config} for arch, config in found])
