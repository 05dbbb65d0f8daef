"""FGSM and PGD beside torchattacks: one model, the same test images, the same starts.

    pip install --no-deps torchattacks==3.5.1
    python -m benchmarks.attack results/NAME [--epsilon 0.01]

results/NAME is a results folder of `carcls train`: its model attacks its own test images, in float32.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchattacks
from torch import Tensor, nn

from benchmarks.common import machine, table
from carcls import process
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import load_model, normalise
from carcls.learning.perturbation import descend, gradient_sign, perturb

BATCH = 64
STEPS = 10


class OfPixels(nn.Module):
    """The model as torchattacks takes it: from pixel values in [0, 1] to logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model(normalise(pixels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, metavar="results/NAME")
    parser.add_argument("--epsilon", type=float, default=0.01)
    arguments = parser.parse_args()
    process.set_up()
    print(machine())
    model = load_model(arguments.results / "model.safetensors")[0].requires_grad_(False)
    images = ArchiveSet(arguments.results / "test.tar")
    pixels = images.read(range(len(images))).float() / 255
    _race(model, pixels, images.labels, arguments.epsilon)


def _race(model: nn.Module, pixels: Tensor, labels: Tensor, epsilon: float) -> None:
    starts = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    whole = OfPixels(model).eval()

    def their_pgd(batch: Tensor, of: Tensor, start: Tensor) -> Tensor:
        """torchattacks draws its start by uniform_, which is given ours here."""
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
        "values apart, in 1,000",
    )
    table(titles, rows)


def _attacked(run: Callable, pixels: Tensor, labels: Tensor, starts: Tensor) -> tuple[Tensor, float]:
    """What `run` makes of `pixels`, and the fastest of three times that it took, in seconds."""
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
