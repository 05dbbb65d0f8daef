"""Check that the ResNet-18 and the ResNet-34 of the demo are different networks. Run it after `dvc repro`.

    python -m benchmarks.architectures

For each configuration, the table shows the share of validation images for which both architectures predict
the same class. It also shows the validation macro F1 of each architecture as it is, and with only the first
residual block of each layer (the others are removed, which makes them identities).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.common import machine, table
from carcls import params
from carcls.base import startup
from carcls.base.scoring import macro_f1
from carcls.evaluation.scores import predict
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import load_model

ARCHS = ("resnet18", "resnet34")
CPU = torch.device("cpu")


def answers(arch: str, config: str, val: ArchiveSet, identities: bool = False) -> Tensor:
    """The predictions (int64, (n,)) of a variant on the images of `val`."""
    path = Path(f"models/{arch}-{config}.safetensors")
    model, _ = load_model(path)
    for layer in model.children() if identities else ():
        if isinstance(layer, nn.Sequential):
            del layer[1:]
    return predict(model, val, CPU, path).argmax(1)


def main() -> None:
    startup.set_up()
    print(machine())
    val = ArchiveSet(Path("data/images/val.tar"))
    rows = []
    for config in params.load().configs:
        first, second = (answers(arch, config, val) for arch in ARCHS)
        scores = [f"{macro_f1(found, val.labels):.3f}" for found in (first, second)]
        cut = [f"{macro_f1(answers(arch, config, val, True), val.labels):.3f}" for arch in ARCHS]
        same = (first == second).float().mean().item()
        rows.append((config, f"{same:.3f}", *scores, *cut))
    without = [f"{arch}, identities" for arch in ARCHS]
    table(("configuration", "same answer", *ARCHS, *without), rows)


if __name__ == "__main__":
    main()
