"""data/weights/ARCH.safetensors: the backbone that pretrained variants start from."""

import argparse
from pathlib import Path

from carcls import params
from carcls.model import save_backbone
from carcls.weights import backbone
from stages import stage


@stage
def main() -> None:
    parser = argparse.ArgumentParser("stages.weights", description=__doc__)
    parser.add_argument("arch", help="resnet18, resnet34, ...")
    arch = parser.parse_args().arch
    save_backbone(Path(f"data/weights/{arch}.safetensors"), backbone(params.load(), arch))


if __name__ == "__main__":
    main()
