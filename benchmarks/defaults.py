"""Compare the defaults of `carcls train` with other tools on photographs.

All contenders use the same ResNet-18 backbone, training photographs, number of epochs and test images:

    carcls          the preset carcls/results/photographs.yaml with the changes of --set
    carcls before   the same with its values until 2026-11 (BEFORE)
    plain           a PyTorch loop: AdamW 1e-3, half a cosine, random flips; a fifth of the photographs is
                    held out of training and selects the epoch
    plain, all      the same on all photographs, keeping the last epoch
    timm recipe     "plain, all" with RandAugment, label smoothing, a warm-up and averaged weights (EMA)
    fastai          fine_tune with its default augmentation, one epoch frozen; needs `pip install fastai`

    python -m benchmarks.defaults TASK [TASK ...] --backbone resnet18.safetensors [--epochs 10]

A TASK is a folder, zip or tar of CLASS/* or {train,test}/CLASS/*, at any depth. A plus sign joins several
of them. Options follow after commas. train=N and test=N: at most N photographs per class. classes=N: N
classes, the same for all seeds. unbalanced: every second class keeps a quarter of its training photographs.
Without a test set, the test images are those that `train` leaves, or half of each class. The seed determines
all other random choices.

Seconds are processor time of training, including reading the images.
"""

import argparse
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import files, machine, table
from carcls.base import startup
from carcls.cli.train import pairs

VAL = 0.2
LR, WEIGHT_DECAY = 1e-3, 0.01  # of the plain loop; fastai uses its defaults
BEFORE = {
    "split.val": VAL,
    "train.keep": "best",
    "train.flip": False,
    "train.tta": "none",
    "train.normalise": "half",
    "train.batch_size": 32,
}


def main() -> None:
    arguments = _arguments()
    startup.set_up()
    print(machine(), flush=True)
    rows = []
    for task in arguments.tasks:
        name, runs = task.replace(str(Path(task.split(",")[0]).parent) + "/", ""), defaultdict(list)
        for seed in arguments.seeds:
            with TemporaryDirectory() as made:
                description = make(task, Path(made), seed)
                for contender in arguments.only:
                    runs[contender].append(CONTENDERS[contender](Path(made), arguments, seed))
                    print(
                        name, seed, contender, *(f"{value:.3f}" for value in runs[contender][-1]), flush=True
                    )
        for contender, found in runs.items():
            scores, seconds = zip(*found, strict=True)
            spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
            each = ", ".join(f"{score:.3f}" for score in scores)
            rows.append(
                (
                    f"{name}: {description}",
                    contender,
                    each,
                    f"{mean(scores):.3f}{spread}",
                    f"{mean(seconds):.0f}",
                )
            )
    seeds = " ".join(map(str, arguments.seeds))
    table(("task", "", f"test macro F1, seeds {seeds}", "mean ± deviation", "s"), rows)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", metavar="TASK")
    parser.add_argument("--backbone", type=Path, required=True, help="weights file of a ResNet-18")
    parser.add_argument("--size", type=int, default=96, help="image side in pixels")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of carcls"
    )
    return parser.parse_args()


# --- Tasks: folders of train/CLASS/* and test/CLASS/*


def make(task: str, folder: Path, seed: int) -> str:
    """Write the photographs of `task` below `folder`. Returns a description of them."""
    source, *options = task.split(",")
    chosen = {key: int(value or 1) for key, _, value in (option.partition("=") for option in options)}
    found: dict[str, dict[str, list[bytes]]] = {"train": defaultdict(list), "test": defaultdict(list)}
    for path in source.split("+"):
        for name, data in sorted(files(Path(path))):
            if name.lower().endswith((".jpg", ".jpeg", ".png")):
                *above, class_name, _ = Path(name).parts
                found["test" if "test" in above else "train"][class_name].append(data)
    classes = sorted(
        random.Random(0).sample(sorted(found["train"]), chosen.get("classes", len(found["train"])))
    )
    written = {"train": 0, "test": 0}
    for number, name in enumerate(classes):
        train, test = found["train"][name], found["test"][name]
        random.Random(f"{seed} {name}").shuffle(train)
        most = chosen.get("train", len(train) if test else len(train) // 2)
        train, test = train[:most], (test or train[most:])[: chosen.get("test")]
        if not test:
            sys.exit(f"{task}: train={most} leaves no test image of {name}: set it below {most}.")
        if "unbalanced" in chosen and number % 2:
            train = train[: max(2, len(train) // 4)]
        for split, images in (("train", train), ("test", test)):
            (folder / split / name).mkdir(parents=True)
            written[split] += len(images)
            for place, data in enumerate(images):
                (folder / split / name / f"{place:04}.jpg").write_bytes(data)
    return f"{len(classes)} classes, {written['train']} training and {written['test']} test images"


# --- Contenders: test macro F1 and the seconds of training


def _before(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    return _trained(folder, arguments, seed, BEFORE)


def _carcls(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    return _trained(folder, arguments, seed, pairs(arguments.set))


def _trained(folder: Path, arguments: argparse.Namespace, seed: int, changes: dict) -> tuple[float, float]:
    from carcls.evaluation.scores import predict, scores
    from carcls.learning.device import resolve_device
    from carcls.learning.loading import ArchiveSet
    from carcls.learning.variant import prepare
    from carcls.pipeline.augment import augment
    from carcls.pipeline.download import download
    from carcls.pipeline.split import split
    from carcls.pipeline.weights import weights
    from carcls.results.settings import with_overrides

    options = {
        "seed": seed,
        "weights": str(arguments.backbone),
        "data.image_size": arguments.size,
        "train.epochs": arguments.epochs,
    } | changes
    settings = with_overrides(str(folder), options, "The benchmark")
    arch, device = settings.model.arch, resolve_device("auto")
    with TemporaryDirectory() as made:
        work = Path(made)
        start = time.process_time()
        for step in (download, split, augment):
            step(settings, work)
        weights(settings, work, arch)
        variant = prepare(settings, work, arch, settings.model.config, device)
        for _ in variant.fit():
            pass
        seconds = time.process_time() - start
        test = ArchiveSet(work / "data/images/test.tar")
        return scores(predict(variant.model, test, device), test.labels)["f1"], seconds


def _plain(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    return _loop(folder, arguments, seed, VAL)


def _all(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    return _loop(folder, arguments, seed, 0)


def _timm(folder: Path, arguments: argparse.Namespace, seed: int) -> tuple[float, float]:
    return _loop(folder, arguments, seed, 0, timm=True)


def _loop(folder: Path, arguments: argparse.Namespace, seed: int, held_out: float, timm: bool = False):
    import torch
    from torch.utils.data import DataLoader, Subset
    from torchvision import datasets, models, transforms

    torch.manual_seed(seed)
    random.seed(seed)
    usual = [
        transforms.Resize((arguments.size, arguments.size)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    changed = [transforms.RandomHorizontalFlip(), *([transforms.RandAugment(2, 9)] if timm else [])]
    flipped, plain = transforms.Compose([*usual[:1], *changed, *usual[1:]]), transforms.Compose(usual)
    train, val = (datasets.ImageFolder(folder / "train", steps) for steps in (flipped, plain))
    test = DataLoader(datasets.ImageFolder(folder / "test", plain), 64)
    order = torch.randperm(len(train)).tolist()
    held = round(held_out * len(train))
    model = models.resnet18(num_classes=len(train.classes))
    model.load_state_dict(_weights(arguments), strict=False)
    start = time.process_time()
    model = _fit(
        model,
        DataLoader(Subset(train, order[held:]), 32, shuffle=True, drop_last=True),
        DataLoader(Subset(val, order[:held]), 64) if held else None,
        arguments.epochs,
        timm,
    )
    seconds = time.process_time() - start
    return _score(model, test), seconds


def _fit(model, train, val, epochs: int, timm: bool):
    """Train `model`. Returns the best epoch by `val`, or the last without it; averaged weights if `timm`."""
    import torch
    from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule: Any = CosineAnnealingLR(optimizer, epochs)
    if timm:
        cosine = CosineAnnealingLR(optimizer, epochs - 1)
        schedule = SequentialLR(optimizer, [LinearLR(optimizer, 0.1, 1, 1), cosine], [1])
    averaged = (
        AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.95), use_buffers=True) if timm else None
    )
    best, weights = -1.0, None
    for _ in range(epochs):
        model.train()
        for images, labels in train:
            optimizer.zero_grad()
            smoothing = 0.1 if timm else 0.0
            torch.nn.functional.cross_entropy(model(images), labels, label_smoothing=smoothing).backward()
            optimizer.step()
            if averaged:
                averaged.update_parameters(model)
        schedule.step()
        if val and (score := _score(model, val)) > best:
            best, weights = score, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if weights:
        model.load_state_dict(weights)
    return averaged or model


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

    model_meta[resnet18] = model_meta[models.resnet18]  # how fastai splits it into body and head
    set_seed(seed)
    start = time.process_time()
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
        seconds = time.process_time() - start
        files = get_image_files(folder / "test")
        answers, _ = learner.get_preds(dl=loaders.test_dl(files))
    actual = torch.tensor([list(loaders.vocab).index(file.parent.name) for file in files])
    return macro_f1(torch.as_tensor(answers.argmax(1)), actual), seconds


CONTENDERS: dict[str, Callable] = {
    "carcls": _carcls,
    "carcls before": _before,
    "plain": _plain,
    "plain, all": _all,
    "timm recipe": _timm,
    "fastai": _fastai,
}

if __name__ == "__main__":
    main()
