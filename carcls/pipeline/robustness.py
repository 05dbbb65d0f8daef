"""plots/*/variants.csv: every variant on validation originals.

fgsm: clean, with noise and under attack; corruptions: under common corruptions; calibration: before and after
temperature scaling.
"""

from pathlib import Path

import pandas as pd
import torch
from torch import nn

from carcls.base.variants import variant_name
from carcls.evaluation import attack
from carcls.evaluation.calibration import calibration_scores
from carcls.evaluation.corruptions import corruptions
from carcls.evaluation.scores import predict
from carcls.files import write_csv
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet, ImageSet
from carcls.learning.model import check_classes, load_model
from carcls.params import Params

MOST = 8  # originals of a class, attacked and corrupted: all variants cost eight times as much as one


def robustness(params: Params, root: Path) -> None:
    """Attack and corrupt the variants of data/variants.csv, and scale their temperature.

    The test set is for the selected variant alone. Raises InputError when a model is missing or was trained
    on other classes.
    """
    device = resolve_device(params.train.device)
    val = ArchiveSet(root / "data/images/val.tar")
    originals, some = val.originals(), val.originals(MOST)
    tables: dict[str, list[pd.DataFrame]] = {"fgsm": [], "corruptions": [], "calibration": []}
    cells = pd.read_csv(root / "data/variants.csv").itertuples(index=False)
    for variant in sorted(variant_name(*cell) for cell in cells):
        path = root / f"models/{variant}.safetensors"
        model, info = load_model(path)
        check_classes(path, info, val.classes)
        calibrated = calibration_scores(predict(model, originals, device, path), originals.labels)
        corrupted = corruptions(model, some, device, params.seed, path)
        tables["fgsm"].append(_attacked(model, some, params, device).assign(variant=variant))
        tables["corruptions"].append(corrupted.assign(variant=variant))
        tables["calibration"].append(pd.DataFrame([calibrated]).assign(variant=variant))
    for name, parts in tables.items():
        write_csv(root / f"plots/{name}/variants.csv", pd.concat(parts, ignore_index=True))


def _attacked(model: nn.Module, images: ImageSet, params: Params, device: torch.device) -> pd.DataFrame:
    """Columns attack, epsilon, images and those of `scores.scores`, for one model on `images`.

    The rows are FGSM with each epsilon of params.fgsm, clean images (epsilon 0) and noise. If
    params.attack.apgd_steps is not 0, PGD and APGD follow; attacking all variants with them takes long.
    """
    epsilon, settings = params.fgsm.epsilon, params.attack
    if not settings.apgd_steps:
        settings = settings.model_copy(update={"steps": 0})
    logits = attack.attack(model, images, sorted({0.0, epsilon, *params.fgsm.sweep}), device)
    tables = {"fgsm": attack.sweep(logits, images.labels)}
    for name, answer in attack.answers(model, images, epsilon, settings, device, params.seed).items():
        tables[name] = attack.sweep({epsilon: answer}, images.labels)
    named = [table.assign(attack=name, images=len(images)) for name, table in tables.items()]
    return pd.concat(named, ignore_index=True)
