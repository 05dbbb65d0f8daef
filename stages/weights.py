"""data/weights/ARCH.safetensors: the backbone that pretrained variants start from."""

from pathlib import Path

from carcls import params
from stages import stage

if __name__ != "__mp_main__":  # as which the processes that draw pictures import this; they need no PyTorch
    from carcls.learning.model import save_backbone
    from carcls.learning.weights import backbone


@stage
def main(arch: str) -> None:
    save_backbone(Path(f"data/weights/{arch}.safetensors"), backbone(params.load(), arch))


if __name__ == "__main__":
    main()
