"""Compare FGSM, PGD and APGD with torchattacks on the same model and images; PGD also has the same starts.

    pip install --no-deps torchattacks==3.5.1
    python -m benchmarks.attack results/NAME [--epsilon 0.01]

results/NAME is a results folder of `carcls train`. Its model and its test images are used, in float32.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchattacks
from torch import Tensor, nn

from benchmarks.common import machine, table
from carcls.base import startup
from carcls.evaluation.apgd import apgd
from carcls.learning.loading import ArchiveSet, ImageSet
from carcls.learning.model import infer, load_model
from carcls.learning.perturbation import descend, gradient_sign, perturb

BATCH = 64
STEPS = 10
THIRD, APGD_STEPS = 3, 20


class OfPixels(nn.Module):
    """The model for torchattacks: from pixel values in [0, 1] to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return infer(self.model, pixels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, metavar="results/NAME")
    parser.add_argument("--epsilon", type=float, default=0.01)
    arguments = parser.parse_args()
    startup.set_up()
    print(machine())
    model = load_model(arguments.results / "model.safetensors")[0].requires_grad_(False)
    images = ArchiveSet(arguments.results / "test.tar")
    pixels = images.read(range(len(images))).float() / 255
    _race(model, pixels, images.labels, arguments.epsilon)
    some = slice(None, None, THIRD)  # APGD-T is slow on images that stay correct
    _apgd(model, ImageSet(images.read(range(len(images)))[some], images.labels[some]), arguments.epsilon)


def _race(model: nn.Module, pixels: Tensor, labels: Tensor, epsilon: float) -> None:
    starts = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    whole = OfPixels(model).eval()

    def their_pgd(batch: Tensor, of: Tensor, start: Tensor) -> Tensor:
        """Patches uniform_, with which torchattacks draws its start, to return ours."""
        theirs = torchattacks.PGD(whole, eps=epsilon, alpha=epsilon / 4, steps=STEPS)
        drawn = torch.Tensor.uniform_
        torch.Tensor.uniform_ = lambda self, *_: self.copy_(epsilon * start)  # type: ignore
        try:
            return theirs(batch, of)
        finally:
            torch.Tensor.uniform_ = drawn  # type: ignore

    contenders: dict[str, tuple[Callable, Callable]] = {
        "FGSM": (
            lambda batch, of, _: perturb(batch, gradient_sign(model, batch, of), epsilon),
            lambda batch, of, _: torchattacks.FGSM(whole, eps=epsilon)(batch, of),
        ),
        f"PGD, {STEPS} steps": (
            lambda batch, of, start: descend(
                model, batch, of, start, epsilon=epsilon, steps=STEPS, step_size=epsilon / 4
            ),
            their_pgd,
        ),
    }
    rows: list[tuple[str, ...]] = [("none", f"{_accuracy(whole, pixels, labels):.4f}", "", "", "", "", "")]
    for name, (ours, theirs) in contenders.items():
        (mine, my_time), (other, their_time) = (
            _attacked(run, pixels, labels, starts) for run in (ours, theirs)
        )
        apart = ((mine - other).abs() > 1e-6).double().mean().item()
        scores = (f"{_accuracy(whole, moved, labels):.4f}" for moved in (mine, other))
        speeds = (f"{len(labels) / seconds:.0f}" for seconds in (my_time, their_time))
        rows.append((name, *scores, *speeds, f"{their_time / my_time:.2f} times", f"{1000 * apart:.3f}"))
    titles = (
        "attack",
        "accuracy",
        "torchattacks'",
        "images/s",
        "torchattacks'",
        "carcls is",
        "different values per 1,000",
    )
    table(titles, rows)


def _apgd(model: nn.Module, images: ImageSet, epsilon: float) -> None:
    """Accuracy after APGD-CE, then APGD-T on images that are still correct, by both tools; starts differ."""
    whole, labels = OfPixels(model).eval(), images.labels
    pixels = images.read(range(len(images))).float() / 255
    settings = {"eps": epsilon, "steps": APGD_STEPS, "n_restarts": 1, "seed": 1}
    start = time.perf_counter()
    answers = apgd(model, images, epsilon, APGD_STEPS, torch.device("cpu"), seed=1).argmax(1)
    middle = time.perf_counter()
    right = torch.cat([whole(batch).argmax(1) for batch in pixels.split(BATCH)]) == labels
    for theirs in (
        torchattacks.APGD(whole, **settings),
        torchattacks.APGDT(whole, n_classes=len(infer(model, pixels[:1])[0]), **settings),
    ):
        for held in right.nonzero()[:, 0].split(BATCH):
            moved = theirs(pixels[held], labels[held])
            right[held] = whole(moved).argmax(1) == labels[held]
    end = time.perf_counter()
    accuracies = (f"{part.double().mean().item():.4f}" for part in (answers == labels, right))
    times = (f"{middle - start:.0f}", f"{end - middle:.0f}", f"{(end - middle) / (middle - start):.2f} times")
    print(f"APGD-CE, then APGD-T, {APGD_STEPS} steps, {len(labels)} images:")
    table(("accuracy", "torchattacks'", "s", "torchattacks'", "carcls is"), [(*accuracies, *times)])


def _attacked(run: Callable, pixels: Tensor, labels: Tensor, starts: Tensor) -> tuple[Tensor, float]:
    """The result of `run` for `pixels`, and the shortest time of three runs in seconds."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        moved = [
            run(*parts)
            for parts in zip(*(whole.split(BATCH) for whole in (pixels, labels, starts)), strict=True)
        ]
        times.append(time.perf_counter() - start)
    return torch.cat(moved), min(times)


@torch.inference_mode()
def _accuracy(whole: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    answers = torch.cat([whole(batch).argmax(1) for batch in pixels.split(BATCH)])
    return (answers == labels).double().mean().item()


if __name__ == "__main__":
    main()
