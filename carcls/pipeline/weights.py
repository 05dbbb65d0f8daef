"""data/weights/ARCH.safetensors: the backbone that pretrained variants of an architecture start from."""

from pathlib import Path

from carcls.demo.pretraining import pretrain
from carcls.learning.model import save_backbone
from carcls.learning.weights import backbone, normalisation
from carcls.params import Params


def weights(params: Params, root: Path, arch: str) -> None:
    """Write the backbone that params.weights names. Raises InputError when it cannot be had."""
    found = pretrain(params, root, arch) if params.weights == "demo" else backbone(params, arch)
    save_backbone(root / f"data/weights/{arch}.safetensors", found, normalisation(params, arch))
