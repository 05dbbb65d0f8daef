"""data/weights/ARCH.safetensors: the backbone from which pretrained variants of an architecture start."""

from pathlib import Path

from carcls.demo.pretraining import pretrain
from carcls.learning.model import save_backbone
from carcls.learning.weights import backbone, normalisation
from carcls.params import Params


def weights(params: Params, root: Path, arch: str) -> None:
    """Write the backbone that params.weights names. Raises InputError if it is not available."""
    state = pretrain(params, root, arch) if params.weights == "demo" else backbone(params, arch)
    save_backbone(root / f"data/weights/{arch}.safetensors", state, normalisation(params, arch))
