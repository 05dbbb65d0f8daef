"""models/ARCH-CONFIG.safetensors: one variant, fine-tuned; with it its metrics and its history."""

import argparse
from pathlib import Path

from carcls import params
from carcls.files import write_csv, write_json
from carcls.model import save_model
from carcls.training import train_variant
from stages import stage


@stage
def main() -> None:
    parser = argparse.ArgumentParser("stages.train", description=__doc__)
    parser.add_argument("arch", help="resnet18, resnet34, ...")
    parser.add_argument("config", help="a key of configs in params.yaml")
    arguments = parser.parse_args()
    variant = f"{arguments.arch}-{arguments.config}"
    model, info, history, metrics = train_variant(
        params.load(), arguments.arch, arguments.config, Path("data")
    )
    write_csv(Path(f"plots/history/{variant}.csv"), history)
    write_json(Path(f"metrics/train/{variant}.json"), metrics)
    save_model(Path(f"models/{variant}.safetensors"), model, info)


if __name__ == "__main__":
    main()
