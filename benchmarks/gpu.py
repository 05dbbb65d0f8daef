"""Measure the paper's study on one GPU in under eight minutes, and compare it with plain PyTorch and timm.

    python -m benchmarks.gpu FOLDER [--sections tests equal speed study fgsm]

FOLDER contains class folders with at least 512 JPEGs, which are used several times. Each section runs in its
own process with a time limit. A section that exceeds it is ended with a message. A section that fails does
not stop the others. Without a GPU, everything runs on the CPU in tiny sizes, to test the script.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice, product, repeat
from multiprocessing import get_context, set_start_method
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import peers
from benchmarks.common import machine, spread, table, write_archive, write_folder
from carcls import params
from carcls.base import startup
from carcls.evaluation import attack
from carcls.evaluation.scores import predict
from carcls.learning import loading, training, variant
from carcls.learning.loading import ImageSet
from carcls.learning.model import backbone_of, build_model, normalise, save_backbone, split_frozen
from carcls.learning.training import Inputs, Recipe

ROOT = Path(__file__).resolve().parents[1]
ARCHS = ("resnet18", "resnet34")
PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
TRAIN, VAL, TEST = 86_430, 27_977, 8_041  # images of the paper
BAR = 0.7  # target: images/s of the whole loop relative to a step alone
WARM = 5  # steps before the measurement, in which libraries select their kernels


@dataclass(frozen=True)
class Sizes:
    """The sizes of the measurements."""

    photographs: int  # number of different photographs
    train: int
    val: int
    equal: int  # images that the section equal trains on
    pixels: int
    batch_sizes: tuple[int, int]
    seconds: float  # duration of the measurement of a rate
    workers: int  # DataLoader processes of the peers
    tests: tuple[str, ...]  # arguments of pytest


FULL = Sizes(
    photographs=512,
    train=10_240,
    val=1_024,
    equal=512,
    pixels=400,
    batch_sizes=(64, 256),
    seconds=1.5,
    workers=startup.cores(),
    tests=(
        "tests/learning/test_training.py",
        "tests/evaluation/test_evaluation.py",
        "tests/evaluation/test_apgd.py",
    ),
)
TINY = Sizes(
    photographs=6,
    train=24,
    val=8,
    equal=8,
    pixels=32,
    batch_sizes=(4, 8),
    seconds=0,
    workers=1,
    tests=("tests/evaluation/test_evaluation.py", "-k", "fgsm or epsilon"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, metavar="FOLDER", help="folder with class folders of JPEGs")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sizes = FULL if device.type == "cuda" else TINY
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: tiny sizes, to test the script"
    print(f"{machine()}, PyTorch {torch.__version__}; {gpu}", flush=True)
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        _write(Path(folder), arguments.path, sizes)
        ended_well = [_run(name, Path(folder), sizes, device) for name in arguments.sections]
    print(f"Total time: {time.perf_counter() - start:.0f} s.")
    sys.exit(0 if all(ended_well) else 1)


def _write(folder: Path, path: Path, sizes: Sizes) -> None:
    """Write random weights, and the photographs as data/ of a study and as class folders for the peers."""
    photographs = spread(path, sizes.photographs)
    for split, count in (("train", sizes.train), ("val", sizes.val)):
        chosen = list(islice(cycle(photographs), count))
        write_archive(folder / f"data/images/{split}.tar", chosen, sizes.pixels)
        if split == "train":
            write_folder(folder / "folder", chosen)
    for arch in ARCHS:
        weights = backbone_of(build_model(arch, 1, seed=1).state_dict())
        save_backbone(folder / f"weights/{arch}.safetensors", weights)


def _run(name: str, folder: Path, sizes: Sizes, device: torch.device) -> bool:
    """Run the section `name` within its time limit. Returns False if it failed."""
    title, budget, _ = SECTIONS[name]
    print(f"\n### {title}\n", flush=True)
    child = get_context("spawn").Process(target=_section, args=(name, folder, sizes, device))
    child.start()
    child.join(budget)
    if child.is_alive():
        child.kill()
        child.join()
        print(f"Cut short: this section exceeded its limit of {budget} s.", flush=True)
    elif child.exitcode:
        print(f"This section failed with status {child.exitcode}.", flush=True)
        return False
    return True


def _section(name: str, folder: Path, sizes: Sizes, device: torch.device) -> None:
    # otherwise the DataLoader processes of the peers would be spawned as well, which takes minutes
    set_start_method(None, force=True)
    startup.set_up()
    SECTIONS[name][2](folder, sizes, device)


# --- Sections


def _tests(folder: Path, sizes: Sizes, device: torch.device) -> None:
    import pytest

    os.environ["CARCLS_TEST_DEVICE"] = device.type
    os.chdir(ROOT)
    sys.exit(pytest.main([*sizes.tests, "-rs", "-p", "no:cacheprovider"]))


def _equal(folder: Path, sizes: Sizes, device: torch.device) -> None:
    def row(arch: str, config: str, precision: str) -> tuple[str, str, str, str]:
        first, second = (_trained(folder, arch, config, precision, sizes, device) for _ in range(2))
        return arch, config, precision, "yes" if first == second else "NO"

    cells = product(ARCHS, ("scratch", "freeze6", "freeze8"), PRECISIONS)
    table(("", "", "precision", "equal bytes"), (row(*cell) for cell in cells))


def _trained(
    folder: Path, arch: str, config: str, precision: str, sizes: Sizes, device: torch.device
) -> tuple[list[training.Epoch], bytes]:
    """The history of a short training and the bytes of its model file."""
    cell = _cell(folder, arch, config, device)
    places = list(range(0, sizes.train, sizes.train // sizes.equal))
    sets = cell.train.select(places), cell.val.select(list(range(0, sizes.val, 8)))
    recipe = replace(cell.recipe, epochs=2, precision=PRECISIONS[precision])
    history = list(training.fit(cell.model, *sets, recipe))
    save_backbone(folder / "trained.safetensors", cell.model.state_dict())
    return history, (folder / "trained.safetensors").read_bytes()


def _speed(folder: Path, sizes: Sizes, device: torch.device) -> None:
    shares = []

    def row(precision: str, batch_size: int, arch: str) -> tuple[object, ...]:
        cell = _cell(folder, arch, "scratch", device)
        recipe = replace(cell.recipe, precision=PRECISIONS[precision], batch_size=batch_size)
        pixels, labels = (part.to(device) for part in _batch(cell.train, batch_size))
        step, whole = _our_rates(cell, recipe, (pixels, labels), sizes)
        batch = normalise(pixels), labels
        shares.append(whole / step)
        task = peers.Task(
            folder / "folder", sizes.pixels, batch_size, arch, workers=sizes.workers, device=device
        )
        theirs = [
            _peer_rates(peer, task, recipe.precision, batch, sizes) for peer in (peers.plain, peers.timm)
        ]
        name = f"{arch}, {precision}, {batch_size}"
        return name, f"{step:.0f}", f"{whole:.0f}", f"{whole / step:.0%}", *theirs[0], *theirs[1]

    columns = ("carcls: step", "loop", "of a step", "plain PyTorch: step", "loop", "timm: step", "loop")
    cells = product(PRECISIONS, sizes.batch_sizes, ARCHS)
    table(("images/s", *columns), (row(*cell) for cell in cells))
    print(
        f"The whole loop reaches at least {min(shares):.0%} of the rate of a step; the goal is {BAR:.0%}.",
        flush=True,
    )


def _study(folder: Path, sizes: Sizes, device: torch.device) -> None:
    hours = 0.0

    def row(arch: str, config: str, variants: int, name: str) -> tuple[object, ...]:
        nonlocal hours
        cell = _cell(folder, arch, config, device)
        once, train, val = _pace(cell, sizes)
        taken = (once + cell.recipe.epochs * (TRAIN / train + VAL / val)) / 3600
        hours += variants * taken
        return f"{arch} {name}", f"{once:.0f}", f"{train:.0f}", f"{val:.0f}", f"{taken:.2f}"

    configs = (("scratch", 2, "scratch, pretrained"), ("freeze6", 1, "freeze6"), ("freeze8", 1, "freeze8"))
    columns = ("features, s", "training images/s", "validation images/s", "hours per variant")
    rows = (row(arch, *config) for arch, config in product(ARCHS, configs))
    table(("", *columns), rows)
    print(
        f"The paper's eight variants, {TRAIN:,} + {VAL:,} images, without early stopping: {hours:.1f} hours.",
        flush=True,
    )


def _fgsm(folder: Path, sizes: Sizes, device: torch.device) -> None:
    settings = _paper().fgsm
    epsilons = sorted({settings.epsilon, *settings.sweep})

    def rows(arch: str) -> Iterator[tuple[str, str, str]]:
        cell = _cell(folder, arch, "scratch", device)
        for name, work in (
            ("evaluation", partial(predict, cell.model, cell.val, device)),
            (
                f"FGSM at {len(epsilons)} epsilons",
                partial(attack.attack, cell.model, cell.val, epsilons, device),
            ),
        ):
            work()
            rate = len(cell.val) / _seconds(work, device)
            yield f"{arch}: {name}", f"{rate:.0f}", f"{TEST / rate:.0f}"

    columns = ("images/s", f"s for the {TEST:,} test images")
    table(("float32", *columns), (row for arch in ARCHS for row in rows(arch)))


# --- carcls, with images that are not in memory


def _paper() -> params.Params:
    return params.load(ROOT / "presets/paper.yaml")


def _cell(folder: Path, arch: str, config: str, device: torch.device) -> variant.Variant:
    """The paper's variant on the photographs. As with the paper's 86,430 images, none stays in memory."""
    with patch.object(loading, "MEMORY_LIMIT", 0):
        return variant.prepare(_paper(), folder, arch, config, device)


def _our_rates(
    cell: variant.Variant, recipe: Recipe, batch: tuple[Tensor, Tensor], sizes: Sizes
) -> tuple[float, float]:
    """Images/s of training on `batch` in the memory of the device, and of the whole loop."""
    pixels, labels = batch

    def resident(_: ImageSet, places: Iterable[Tensor], __: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        yield from ((pixels[: len(place)], labels[: len(place)]) for place in places)

    model = cell.model.to(recipe.device)
    inputs = Inputs(cell.train, normalise)
    with patch.object(training, "batches", resident):
        step = _training_rate(model, inputs, recipe, sizes)
    return step, _training_rate(model, inputs, recipe, sizes, reading=startup.cores())


def _training_rate(
    trained: torch.nn.Module, inputs: Inputs, recipe: Recipe, sizes: Sizes, reading: int = 0
) -> float:
    """Images/s of `training.train_epoch`. The first batches, which were read ahead, are not measured."""
    clock = Clock(recipe.device, WARM + reading, sizes.seconds)

    class Bar(tqdm):
        def __init__(self, **settings) -> None:
            super().__init__(**settings | {"disable": True})

        def update(self, n: float = 1) -> None:
            clock.tick(int(n))

    step = training.TrainingState(trained, recipe).step
    return clock.rate(lambda: training.train_epoch(trained, inputs, 1, step, recipe, Bar))


def _pace(cell: variant.Variant, sizes: Sizes) -> tuple[float, float, float]:
    """Seconds for the features of the paper's images, and images/s of training and of validation."""
    recipe = cell.recipe
    frozen, trained = split_frozen(cell.model.to(recipe.device), recipe.frozen_layers)
    embed = partial(_embed, frozen, recipe)
    val, train = embed(cell.val, VAL, torch.float32), embed(cell.train, TRAIN, recipe.precision)
    once = 0.0
    for images, of, precision in ((cell.val, VAL, torch.float32), (cell.train, TRAIN, recipe.precision)):
        seconds = _seconds(partial(embed, images, of, precision), recipe.device)
        once += seconds * of / len(images)
    validate = partial(training.validate, trained, val, recipe.device)
    validate()
    validation = len(cell.val) / _seconds(validate, recipe.device)
    return once, _training_rate(trained, train, recipe, sizes, reading=startup.cores()), validation


def _embed(
    frozen: torch.nn.Module, recipe: Recipe, images: ImageSet, of: int, precision: torch.dtype
) -> Inputs:
    """`training.embed` with a memory limit scaled as if `images` were `of` images."""
    limit = training.MEMORY_LIMIT * len(images) // of
    with patch.object(training, "MEMORY_LIMIT", limit):
        return training.embed(frozen, images, recipe.device, precision)


# --- The peers


def _peer_rates(
    build_peer: Callable[[peers.Task], peers.Peer],
    task: peers.Task,
    precision: torch.dtype,
    batch: tuple[Tensor, Tensor],
    sizes: Sizes,
) -> tuple[str, str]:
    """Images/s of a step and of the whole loop, or the error that prevents their measurement."""
    try:
        with _as_peers_compute():
            peer = build_peer(task)
            layout = _layout(peer.model)
            in_memory = repeat((batch[0].contiguous(memory_format=layout), batch[1]))
            step, whole = (
                _peer_rate(peer, task.device, batches, precision, sizes, ahead)
                for batches, ahead in ((in_memory, 0), (peer.loader, task.workers))
            )
            return f"{step:.0f}", f"{whole:.0f}"
    except Exception as error:  # if a peer is not installed or fails, the others continue
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return why, why


def _peer_rate(
    peer: peers.Peer,
    device: torch.device,
    batches: Iterable[tuple[Tensor, Tensor]],
    precision: torch.dtype,
    sizes: Sizes,
    ahead: int,
) -> float:
    clock = Clock(device, WARM + ahead, sizes.seconds)
    return clock.rate(lambda: peers.loop(peer.model, clock.over(batches), peer.optimizer, precision))


def _layout(model: torch.nn.Module) -> torch.memory_format:
    """The memory format of the weights of `model`."""
    convolution = next(weights for weights in model.parameters() if weights.dim() == 4)
    last = convolution.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


@contextmanager
def _as_peers_compute() -> Iterator[None]:
    """A context without determinism, in which cuDNN selects its fastest algorithm, as in timm's script."""
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)


# --- Clocks


class Over(Exception):
    """The measurement is complete."""


class Clock:
    """Measures images/s between two moments at which the device is idle."""

    def __init__(self, device: torch.device, warm: int, seconds: float) -> None:
        """Skips `warm` steps, then measures steps for `seconds`, but at least one."""
        self._device, self._warm, self._seconds = device, warm, seconds
        self._steps = self._images = 0
        self._start = 0.0

    def tick(self, images: int) -> None:
        """Count a step with `images` images. Raises Over at the end of the measurement."""
        self._steps += 1
        if self._steps == self._warm:
            _wait(self._device)
            self._start = time.perf_counter()
        elif self._steps > self._warm:
            self._images += images
            if time.perf_counter() - self._start >= self._seconds:
                raise Over

    def over(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in batches:
            yield images, labels
            self.tick(len(labels))

    def rate(self, epoch: Callable[[], object]) -> float:
        """Call `epoch`, whose steps call `tick`, until the measurement is complete."""
        try:
            while True:
                epoch()
        except Over:
            _wait(self._device)
            return self._images / (time.perf_counter() - self._start)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _batch(images: ImageSet, count: int) -> tuple[Tensor, Tensor]:
    return images.read(range(count)), images.labels[:count]


# title, time limit in seconds and function; with writing the photographs, under eight minutes
SECTIONS: dict[str, tuple[str, int, Callable[[Path, Sizes, torch.device], None]]] = {
    "tests": ("The tests of training and attack", 45, _tests),
    "equal": ("Two equal trainings", 75, _equal),
    "speed": ("Training: a step on images in the GPU's memory, and the whole loop", 245, _speed),
    "study": ("The paper's study, estimated", 55, _study),
    "fgsm": ("FGSM", 25, _fgsm),
}


if __name__ == "__main__":
    main()
