"""data/variants.csv: the variants of the study."""

from pathlib import Path

from carcls.base.variants import cells
from carcls.errors import InputError
from carcls.files import write_csv
from carcls.params import Params


def variants(params: Params, root: Path) -> None:
    """Write the cells of the matrix of `train`: columns arch and config.

    `robustness` reads this file instead of params.model: selecting another of the eight variants does not
    change the file, so DVC does not run that stage again. Raises InputError if split.val is null.
    """
    if params.split.val is None:
        raise InputError(
            "split.val is null, but the study compares its variants on validation images: set it to a share "
            "of each class's training photographs, such as 0.25."
        )
    rows = cells(params.model.arch, params.model.config)
    write_csv(root / "data/variants.csv", [{"arch": arch, "config": config} for arch, config in rows])
