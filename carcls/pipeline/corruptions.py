"""metrics/corruptions.json and plots/corruptions/test.csv: the selected variant under common corruptions."""

from pathlib import Path

from carcls.evaluation.corruptions import corruptions as evaluate
from carcls.files import write_csv, write_json
from carcls.params import Params
from carcls.pipeline.chosen import load_chosen


def corruptions(params: Params, root: Path) -> None:
    """Corrupt the test images. Raises InputError as `load_chosen`."""
    chosen = load_chosen(params, root)
    table = evaluate(chosen.model, chosen.test, chosen.device, params.seed, chosen.path)
    condition = table.corruption + " " + table.severity.astype(str)  # the bars of `dvc plots`
    write_csv(root / "plots/corruptions/test.csv", table.assign(condition=condition))
    accuracy = (table.accuracy * table.images).sum() / table.images.sum()
    write_json(root / "metrics/corruptions.json", {"corruptions_accuracy": float(accuracy)})
