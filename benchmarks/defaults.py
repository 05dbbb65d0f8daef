"""The defaults of `carcls train` beside what people would use instead, on one's own photographs.

Each contender starts from the same ResNet-18 backbone, trains on the same photographs, a fifth of which it
may choose an epoch by, for the same number of epochs, and answers the same test images: carcls by the preset
carcls/results/photographs.yaml; a plain PyTorch loop (AdamW 1e-3, half a cosine, random flips, the epoch of
the best macro F1); fastai's fine_tune with its usual augmentation (one epoch frozen, the others not). Seconds
are those of training and of reading what it trains on.

    pip install fastai
    python -m benchmarks.defaults FOLDER [FOLDER ...] --backbone resnet18.safetensors [--epochs 10]

A FOLDER holds train/CLASS/* and test/CLASS/*.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory

from benchmarks.common import machine, table
from carcls.base import startup

VAL = 0.2
LR, WEIGHT_DECAY = 1e-3, 0.01  # of the plain loop; fastai has its own


def main() -> None:
    arguments = _arguments()
    startup.set_up()
    print(machine(), flush=True)
    rows = []
    for folder in arguments.folders:
        for name, contender in CONTENDERS.items():
            runs = [contender(folder, arguments, seed) for seed in arguments.seeds]
            scores, seconds = zip(*runs, strict=True)
            spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
            each = ", ".join(f"{score:.3f}" for score in scores)
            rows.append((folder.name, name, each, f"{mean(scores):.3f}{spread}", f"{mean(seconds):.0f}"))
            print(rows[-1], flush=True)
    seeds = " ".join(map(str, arguments.seeds))
    table(("photographs", "", f"test macro F1, seeds {seeds}", "mean ± deviation", "s"), rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--backbone", type=Path, required=True, help="a ResNet-18, as weights: PATH takes it")
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    return parser.parse_args()


# --- Contenders: test macro F1 and the seconds of training


def _carcls(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    from carcls.evaluation.scores import predict, scores
    from carcls.learning.device import resolve_device
    from carcls.learning.loading import ArchiveSet
    from carcls.learning.variant import prepare
    from carcls.pipeline.augment import augment
    from carcls.pipeline.download import download
    from carcls.pipeline.split import split
    from carcls.pipeline.weights import weights
    from carcls.results.settings import lay_over

    options = {
        "seed": seed,
        "weights": str(arguments.backbone),
        "data.image_size": arguments.size,
        "train.epochs": arguments.epochs,
    }
    settings = lay_over(str(folder), options, "The benchmark")
    arch, device = settings.model.arch, resolve_device("auto")
    with TemporaryDirectory() as made:
        work = Path(made)
        start = time.perf_counter()
        for step in (download, split, augment):
            step(settings, work)
        weights(settings, work, arch)
        variant = prepare(settings, work, arch, settings.model.config, device)
        for _ in variant.fit():
            pass
        seconds = time.perf_counter() - start
        test = ArchiveSet(work / "data/images/test.tar")
        return scores(predict(variant.model, test, device), test.labels)["f1"], seconds


def _plain(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision import datasets, models, transforms

    torch.manual_seed(seed)
    usual = [
        transforms.Resize((arguments.size, arguments.size)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    flipped = transforms.Compose([transforms.RandomHorizontalFlip(), *usual])
    plain = transforms.Compose(usual)
    train, val = (datasets.ImageFolder(folder / "train", steps) for steps in (flipped, plain))
    test = DataLoader(datasets.ImageFolder(folder / "test", plain), 64)
    order = torch.randperm(len(train)).tolist()
    held_out = round(VAL * len(train))
    model = models.resnet18(num_classes=len(train.classes))
    model.load_state_dict(_weights(arguments), strict=False)
    start = time.perf_counter()
    _fit(
        model,
        DataLoader(Subset(train, order[held_out:]), 32, shuffle=True, drop_last=True),
        DataLoader(Subset(val, order[:held_out]), 64),
        arguments.epochs,
    )
    seconds = time.perf_counter() - start
    return _score(model, test), seconds


def _fit(model, train, val, epochs: int) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best, weights = -1.0, model.state_dict()
    for _ in range(epochs):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        schedule.step()
        score = _score(model, val)
        if score > best:
            best, weights = score, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)


def _score(model, loader) -> float:
    import torch

    from carcls.base.scoring import macro_f1

    model.eval()
    with torch.inference_mode():
        answers = [(model(images).argmax(1), labels) for images, labels in loader]
    predicted, actual = (torch.cat(parts) for parts in zip(*answers, strict=True))
    return macro_f1(predicted, actual)


def _weights(arguments: argparse.Namespace) -> dict:
    from carcls.learning.weights import read_weights

    return read_weights(arguments.backbone, "resnet18")


def _fastai(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    import torch
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        ResizeMethod,
        aug_transforms,
        get_image_files,
        set_seed,
        vision_learner,
    )
    from fastai.vision.learner import model_meta
    from torchvision import models

    from carcls.base.scoring import macro_f1

    def resnet18(weights: object = None):
        model = models.resnet18()
        model.load_state_dict(_weights(arguments), strict=False)
        return model

    model_meta[resnet18] = model_meta[models.resnet18]  # where fastai cuts it into body and head
    set_seed(seed)
    start = time.perf_counter()
    loaders = ImageDataLoaders.from_folder(
        folder / "train",
        valid_pct=VAL,
        seed=seed,
        item_tfms=Resize(arguments.size, ResizeMethod.Squish),
        batch_tfms=[*aug_transforms(size=arguments.size), Normalize.from_stats([0.5] * 3, [0.5] * 3)],
        bs=32,
        num_workers=0,
        device="cpu",
    )
    learner = vision_learner(loaders, resnet18, normalize=False)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(arguments.epochs - 1)
        seconds = time.perf_counter() - start
        files = get_image_files(folder / "test")
        answers, _ = learner.get_preds(dl=loaders.test_dl(files))
    actual = torch.tensor([list(loaders.vocab).index(file.parent.name) for file in files])
    return macro_f1(torch.as_tensor(answers.argmax(1)), actual), seconds


CONTENDERS: dict[str, Callable] = {"carcls": _carcls, "plain PyTorch": _plain, "fastai": _fastai}

if __name__ == "__main__":
    main()
