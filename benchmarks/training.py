"""Compare the speed of training with other tools on the same photographs, model and batch size.

The model is a ResNet-18 from scratch with AdamW and batches of 32. The peers read photographs as their users
do: a plain PyTorch loop (ImageFolder, PIL, float32), timm's loader and model, fastai's learner. carcls reads
the archive of its stage `augment`, and also scores two validation images after each epoch. No contender
augments during training. `--workers` sets the number of DataLoader processes, which do not help on two cores.
Each contender runs in its own process, trains on 64 images as a warm-up, and alternates with the others.

    pip install timm fastai
    python -m benchmarks.training FOLDER [--sections epoch kernels frozen parts accuracy] [--rounds 2]

FOLDER contains class folders at any depth. `--peers plain` needs neither timm nor fastai. The sections are

    epoch      one epoch, including reading
    kernels    the same epoch by carcls with and without its own kernels
    frozen     epochs with frozen layers
    parts      start-up, evaluation and FGSM
    accuracy   validation F1 after training in bfloat16 and in float32
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory

from benchmarks.common import machine, spread, table, write_archive, write_folder
from benchmarks.peers import LR, WEIGHT_DECAY, Task, loop, plain, timm
from carcls.base import startup

BATCH_SIZE = 32

# Only the contenders of carcls call startup.set_up (determinism, memory).


def main() -> None:
    arguments = _arguments()
    print(machine())
    with TemporaryDirectory() as folder:
        for section in arguments.sections:
            SECTIONS[section](arguments, Path(folder, section))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, help="folder with class folders of JPEGs")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=["epoch", "frozen", "parts"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224], help="image sides in pixels")
    parser.add_argument("--arch", default="resnet18", help="architecture in the section kernels")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--images", type=int, default=960, help="photographs per epoch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15, help="epochs of the sections frozen and accuracy")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--backbone", type=Path, help="weights file for the section accuracy (default: from scratch)"
    )
    parser.add_argument("--workers", type=int, default=0, help="DataLoader processes of the peers")
    return parser.parse_args()


# --- Contenders: each returns the seconds to read and train on folder/NAME (carcls: NAME-SIZE.tar).


def _carcls(
    folder: Path,
    name: str,
    size: int,
    epochs: int,
    frozen: int,
    arch: str = "resnet18",
    fast_kernels: bool = True,
) -> float:
    from carcls.learning.loading import ArchiveSet
    from carcls.learning.model import build_model
    from carcls.learning.training import fit

    startup.set_up()
    val = ArchiveSet(folder / f"val-{size}.tar")
    start = time.perf_counter()
    train = ArchiveSet(folder / f"{name}-{size}.tar")
    model = build_model(arch, len(train.classes), seed=1)
    for _ in fit(model, train, val, _recipe(frozen, epochs), fast_kernels=fast_kernels):
        pass
    return time.perf_counter() - start


def _recipe(frozen: int, epochs: int, precision: str = "auto", seed: int = 1):
    import torch

    from carcls.learning.device import resolve_precision
    from carcls.learning.training import Recipe

    device = torch.device("cpu")
    return Recipe(
        frozen_layers=frozen,
        epochs=epochs,
        patience=epochs,
        optimizer="adamw",
        batch_size=BATCH_SIZE,
        lr=LR,
        head_lr_multiplier=1,
        weight_decay=WEIGHT_DECAY,
        device=device,
        precision=resolve_precision(precision, device),
        seed=seed,
    )


def _peer(
    build: Callable, folder: Path, name: str, size: int, epochs: int, frozen: int, workers: int = 0
) -> float:
    start = time.perf_counter()
    peer = build(Task(folder / name, size, BATCH_SIZE, frozen=frozen, workers=workers))
    for _ in range(epochs):
        loop(*peer)
    return time.perf_counter() - start


def _fastai(folder: Path, name: str, size: int, epochs: int, frozen: int, workers: int = 0) -> float:
    from fastai.vision.all import (
        CategoryBlock,
        DataBlock,
        ImageBlock,
        Learner,
        Normalize,
        Resize,
        ResizeMethod,
        get_image_files,
        parent_label,
    )
    from torchvision import models

    start = time.perf_counter()
    block = DataBlock(
        (ImageBlock, CategoryBlock),
        get_items=get_image_files,
        get_y=parent_label,
        splitter=lambda files: (range(len(files)), [0]),  # fastai requires a validation image
        item_tfms=Resize(size, ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats([0.5] * 3, [0.5] * 3),
    )
    loaders = block.dataloaders(folder / name, bs=BATCH_SIZE, num_workers=workers, device="cpu")
    learner = Learner(loaders, models.resnet18(num_classes=len(loaders.vocab)), lr=LR, wd=WEIGHT_DECAY)
    with learner.no_bar(), learner.no_logging():
        learner.fit(epochs)
    return time.perf_counter() - start


PEERS: dict[str, Callable] = {
    "plain": partial(_peer, plain),
    "timm": partial(_peer, timm),
    "fastai": _fastai,
}


# --- Sections


def _race(contenders: dict[str, Callable], arguments: tuple, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender for `arguments` (folder, size, epochs, frozen layers) in each round."""
    folder, size, epochs, frozen = arguments
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for name in contenders
        }
        for name, train in contenders.items():
            pools[name].submit(train, folder, "warm", size, 1, frozen).result()
        for number in range(rounds):
            for name in list(contenders) if number % 2 else reversed(contenders):
                run = pools[name].submit(contenders[name], folder, "train", size, epochs, frozen)
                seconds[name].append(run.result())
    return seconds


def _epoch(arguments: argparse.Namespace, folder: Path) -> None:
    peers: dict[str, Callable] = {
        name: partial(PEERS[name], workers=arguments.workers) for name in arguments.peers
    }
    contenders = {"carcls": _carcls} | peers
    _write(folder, arguments, arguments.images)
    for size in arguments.sizes:
        seconds = _race(contenders, (folder, size, 1, 0), arguments.rounds)
        rates = {name: [arguments.images / second for second in taken] for name, taken in seconds.items()}
        best = max(peers, key=lambda name: median(rates[name]))
        print(f"\nOne epoch of {arguments.images} photographs at {size} pixels, {arguments.rounds} rounds:\n")
        rows = []
        for name, rate in rates.items():
            span = f"{min(rate):.1f} to {max(rate):.1f}"
            ratio = median(rates["carcls"]) / median(rate)
            rows.append((name, f"{median(rate):.1f}", span, f"{ratio:.2f} times"))
        table(("", "images/s", "slowest to fastest", "carcls is"), rows)
        print(f"carcls over the best peer, {best}: {median(rates['carcls']) / median(rates[best]):.2f} times")


def _kernels(arguments: argparse.Namespace, folder: Path) -> None:
    _write(folder, arguments, arguments.images)
    contenders: dict[str, Callable] = {
        name: partial(_carcls, arch=arguments.arch, fast_kernels=fast)
        for name, fast in (("with", True), ("without", False))
    }
    rows = []
    for size in arguments.sizes:
        seconds = _race(contenders, (folder, size, 1, 0), arguments.rounds)
        with_them, without = (median(seconds[name]) for name in contenders)
        rows.append((size, f"{with_them:.1f}", f"{without:.1f}", f"{without / with_them:.2f} times"))
    print(f"\nOne epoch of {arguments.images} photographs, {arguments.arch}, seconds:\n")
    table(("pixels", "with kernels", "without", "with them carcls is"), rows)


def _frozen(arguments: argparse.Namespace, folder: Path) -> None:
    size, count = arguments.sizes[0], arguments.images // 2
    _write(folder, arguments, count)
    contenders: dict[str, Callable] = {
        "carcls": _carcls,
        "plain PyTorch": partial(_peer, plain, workers=arguments.workers),
    }
    rows = []
    for frozen in (8, 6):
        seconds = _race(contenders, (folder, size, arguments.epochs, frozen), 1)
        ours, theirs = (median(seconds[name]) for name in contenders)
        rows.append((f"freeze{frozen}", f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.1f} times"))
    print(
        f"\n{arguments.epochs} epochs of {count} photographs at {size} pixels with frozen layers, seconds:\n"
    )
    table(("", "carcls", "plain PyTorch", "carcls is"), rows)


def _parts(arguments: argparse.Namespace, folder: Path) -> None:
    from carcls.evaluation.attack import attack
    from carcls.evaluation.scores import predict
    from carcls.learning.loading import ArchiveSet
    from carcls.learning.model import build_model

    startup.set_up()
    rows = []
    for statement in ("import torch", "import torch, torchvision", "import stages.train"):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        rows.append((f"start-up: `{statement}`", f"{time.perf_counter() - start:.2f} s"))
    for size in arguments.sizes:
        write_archive(folder / "parts.tar", spread(arguments.path, 256), size)
        start = time.perf_counter()
        test = ArchiveSet(folder / "parts.tar")
        rows.append((f"{size} pixels: open and decode an archive", _rate(start, len(test))))
        recipe = _recipe(0, 1)
        model = build_model("resnet18", len(test.classes), seed=1)
        for name, run in (
            ("evaluate, float32", partial(predict, model, test, recipe.device)),
            (
                "FGSM at 7 epsilons, float32",
                partial(attack, model, test, [0.01 * i for i in range(7)], recipe.device),
            ),
        ):
            start = time.perf_counter()
            run()
            rows.append((f"{size} pixels: {name}", _rate(start, len(test))))
    table(("part of carcls", ""), rows)


def _rate(start: float, count: int) -> str:
    return f"{count / (time.perf_counter() - start):.0f} images/s"


def _accuracy(arguments: argparse.Namespace, folder: Path) -> None:
    from carcls.learning.loading import ArchiveSet
    from carcls.learning.model import build_model, load_backbone
    from carcls.learning.training import fit

    startup.set_up()
    size = arguments.sizes[0]
    photographs = sorted(arguments.path.rglob("*.jpg"))
    for name, part in (("train", [p for i, p in enumerate(photographs) if i % 3]), ("val", photographs[::3])):
        write_archive(folder / f"{name}.tar", part, size)
    train, val = ArchiveSet(folder / "train.tar"), ArchiveSet(folder / "val.tar")
    rows = []
    for precision in ("bf16", "fp32"):
        best = []
        for seed in arguments.seeds:
            model = build_model("resnet18", len(train.classes), seed=seed)
            if arguments.backbone:
                load_backbone(model, arguments.backbone)
            history = fit(model, train, val, _recipe(0, arguments.epochs, precision, seed))
            best.append(max(epoch.val_f1 or 0.0 for epoch in history))
        rows.append((precision, *(f"{f1:.3f}" for f1 in best), f"{mean(best):.3f}"))
    begin = arguments.backbone.name if arguments.backbone else "scratch"
    print(f"\nBest validation macro F1 of {arguments.epochs} epochs at {size} pixels, from {begin}:")
    print(f"{len(train)} photographs, {len(val)} others to validate, {len(val.classes)} classes\n")
    table(("precision", *(f"seed {seed}" for seed in arguments.seeds), "mean"), rows)


def _write(folder: Path, arguments: argparse.Namespace, count: int) -> None:
    """Write the photographs for training, warm-up and validation, as folders and as archives."""
    for name, number in (("train", count), ("warm", 64), ("val", 2)):
        chosen = spread(arguments.path, number)
        write_folder(folder / name, chosen)
        for size in arguments.sizes:
            write_archive(folder / f"{name}-{size}.tar", chosen, size)


SECTIONS = {"epoch": _epoch, "kernels": _kernels, "frozen": _frozen, "parts": _parts, "accuracy": _accuracy}


if __name__ == "__main__":
    main()
