"""data/weights/ARCH.safetensors: the backbone that pretrained variants start from."""

import argparse
from pathlib import Path

from safetensors.torch import save

from carcls import params
from carcls.files import write_bytes
from carcls.weights import backbone
from stages import stage


@stage
def main() -> None:
    parser = argparse.ArgumentParser("stages.weights", description=__doc__)
    parser.add_argument("arch", help="resnet18, resnet34, ...")
    arch = parser.parse_args().arch
    write_bytes(Path(f"data/weights/{arch}.safetensors"), save(backbone(params.load(), arch)))


if __name__ == "__main__":
    main()
