"""Measure how far chance moves the demo: the validation F1 of its variants for several seeds.

    python -m benchmarks.stability FOLDER --seeds 1 2 3

Each seed has its own split and copies. All seeds share the photographs and the backbones, as in
`dvc exp run -S seed=2`. With the same FOLDER and params, a second run measures only missing seeds. To
limit an x86 processor to AVX2, precede the command with

    ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

from benchmarks.common import machine, table
from carcls import params
from carcls.base.startup import set_up
from carcls.base.variants import cells, variant_name
from carcls.pipeline.augment import augment
from carcls.pipeline.download import download
from carcls.pipeline.split import split
from carcls.pipeline.train import train
from carcls.pipeline.weights import weights


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder for images and models, several GB")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    set_up()
    settings = params.load()
    print(machine(), end="\n\n")
    runs = [scores(settings, arguments.folder.resolve(), seed) for seed in arguments.seeds]
    rows = []
    for variant in runs[0]:
        found = [run[variant] for run in runs]
        mean = fmean(found)
        rows.append(
            (variant, *(f"{score:.3f}" for score in (*found, mean, max(abs(x - mean) for x in found))))
        )
    table(("variant", *map(str, arguments.seeds), "mean", "largest deviation"), rows)


def scores(settings: params.Params, folder: Path, seed: int) -> dict[str, float]:
    """The validation F1 of each variant, trained in folder/seedSEED with the backbones in folder/data."""
    root = folder / f"seed{seed}"
    settings = settings.model_copy(update={"seed": seed})
    variants = cells(settings.model.arch, settings.model.config)
    found = {variant_name(*cell): root / f"metrics/train/{variant_name(*cell)}.json" for cell in variants}
    if not all(path.exists() for path in found.values()):
        for arch in sorted({arch for arch, _ in variants}):
            if not (folder / f"data/weights/{arch}.safetensors").exists():
                weights(settings, folder, arch)
        (root / "data").mkdir(parents=True, exist_ok=True)
        if not (root / "data/weights").exists():
            (root / "data/weights").symlink_to(folder / "data/weights")
        for stage in (download, split, augment):
            stage(settings, root)
        for arch, config in variants:
            train(settings, root, arch, config)
    return {name: json.loads(path.read_text())["val_f1"] for name, path in found.items()}


if __name__ == "__main__":
    main()
