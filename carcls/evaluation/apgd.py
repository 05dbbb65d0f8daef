"""Auto-PGD, the first two attacks of AutoAttack (Croce and Hein 2020), the strongest attacks of the study.

Projected gradient descent with momentum that halves its step, image by image, where it no longer gains. The
authors' constants are kept; the number of steps is all that is left to choose, and theirs is 100.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from tqdm import tqdm

from carcls.learning.loading import BATCH_SIZE, ImageSet, batches
from carcls.learning.model import infer
from carcls.learning.perturbation import draw

TARGETS = 9
MOMENTUM = 0.75
GAINS = 0.75  # the step is halved unless more than this share of a period's steps raised the loss
PERIODS = (0.22, 0.03, 0.06)  # of all steps: the first period, how much shorter each next is, the shortest

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits (n, classes), labels and targets (n,): (n,)


def apgd(
    model: nn.Module, images: ImageSet, epsilon: float, steps: int, device: torch.device, seed: int
) -> Tensor:
    """Logits (float32, (n, classes), CPU) of all `images` after the first of these that turns each.

    APGD-CE, then APGD-T towards each of the TARGETS likeliest other classes. An image that is answered wrong
    is left as it is; one that nothing turns has its answer to the last attack.
    """
    model.eval().requires_grad_(False).to(device)
    logits = []
    loader = enumerate(batches(images, images.in_turn(BATCH_SIZE), device))
    with tqdm(total=len(images), desc="APGD", unit="img", leave=False, disable=None) as bar:
        for place, (pixels, labels) in loader:
            pixels = pixels.float() / 255
            with torch.no_grad():
                answers = infer(model, pixels)
            others = answers.scatter(1, labels[:, None], -torch.inf).argsort(
                dim=1, descending=True, stable=True
            )
            for attempt in range(1 + min(TARGETS, answers.shape[1] - 1)):
                right = (answers.argmax(1) == labels).nonzero()[:, 0]
                if not len(right):
                    break
                start = draw(pixels.shape, seed, "apgd", attempt, place).to(device)
                loss, targets = (towards, others[:, attempt - 1]) if attempt else (cross_entropy, labels)
                rows = (each[right] for each in (pixels, labels, targets, start))
                answers[right] = ascend(model, loss, *rows, epsilon=epsilon, steps=steps)
            logits.append(answers.cpu())
            bar.update(len(labels))
    return torch.cat(logits)


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of APGD-CE; `targets` have no part in it."""
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def towards(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of APGD-T: the lead of `targets` over `labels`, by the spread of the highest logits.

    With fewer than four classes there is no such spread, and the lead is left as it is.
    """
    lead = (logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None]))[:, 0]
    if logits.shape[1] < 4:
        return lead
    highest = logits.topk(4, 1).values
    return lead / (highest[:, 0] - highest[:, 2:].mean(1) + 1e-12)


def ascend(
    model: nn.Module,
    loss: Loss,
    pixels: Tensor,
    labels: Tensor,
    targets: Tensor,
    start: Tensor,
    *,
    epsilon: float,
    steps: int,
) -> Tensor:
    """Logits (n, classes) of `pixels` (float32 in [0, 1], (n, 3, h, w)) where each is first turned, else at
    the last of `steps`. The way begins `epsilon` x `start` from them, `start` scaled to reach 1.
    """
    start = start / start.abs().amax((1, 2, 3), keepdim=True)
    climb = _Climb.begin(pixels, labels, targets, start, epsilon)
    answers = climb.look(model, loss)
    checkpoints = _checkpoints(steps)
    for number in range(1, steps + 1):
        climb.keep(answers[climb.row].argmax(1) == climb.labels)
        if not len(climb.row):  # an image is done with once it is turned
            break
        climb.move(1.0 if number == 1 else MOMENTUM)
        answers[climb.row] = climb.look(model, loss)
        if number in checkpoints:
            climb.check(checkpoints[number])
    return answers


@dataclass
class _Climb:
    """Images on their way uphill, a row each: tensors (n, 3, h, w), and (n,) where said."""

    row: Tensor  # (n,), its place in the batch
    labels: Tensor  # (n,)
    targets: Tensor  # (n,)
    low: Tensor
    high: Tensor
    place: Tensor
    before: Tensor  # the place before this one
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    step: Tensor  # (n, 1, 1, 1)
    loss: Tensor  # (n,)
    best_loss: Tensor  # (n,)
    checked_loss: Tensor  # (n,), the best at the last checkpoint
    halved: Tensor  # (n,), whether the step was halved there
    gains: Tensor  # (n,), steps since then that raised the loss

    @classmethod
    def begin(
        cls, pixels: Tensor, labels: Tensor, targets: Tensor, start: Tensor, epsilon: float
    ) -> "_Climb":
        low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
        place = torch.clamp(pixels + epsilon * start, low, high)
        worst = torch.full(labels.shape, -torch.inf, device=pixels.device)
        return cls(
            row=torch.arange(len(labels), device=pixels.device),
            labels=labels,
            targets=targets,
            low=low,
            high=high,
            place=place,
            before=place,
            gradient=torch.zeros_like(place),
            best=place.clone(),
            best_gradient=torch.zeros_like(place),
            step=torch.full((len(labels), 1, 1, 1), 2 * epsilon, device=pixels.device),
            loss=worst,
            best_loss=worst.clone(),
            checked_loss=worst.clone(),
            halved=torch.ones_like(labels, dtype=torch.bool),
            gains=torch.full_like(labels, -1),  # the first look is no step
        )

    def look(self, model: nn.Module, loss: Loss) -> Tensor:
        """Take note of loss and gradient here; returns the logits (n, classes)."""
        place = self.place.detach().requires_grad_()
        logits = infer(model, place)
        losses = loss(logits, self.labels, self.targets)
        (self.gradient,) = torch.autograd.grad(losses.sum(), place)
        losses = losses.detach()
        self.gains = self.gains + (losses > self.loss)
        better = losses > self.best_loss
        self.best[better], self.best_gradient[better] = self.place[better], self.gradient[better]
        self.loss, self.best_loss = losses, torch.maximum(losses, self.best_loss)
        return logits.detach()

    def move(self, momentum: float) -> None:
        """One step along the sign of the gradient, of which `1 - momentum` is the step before."""
        ahead = torch.clamp(self.place + self.step * self.gradient.sign(), self.low, self.high)
        moved = self.place + momentum * (ahead - self.place) + (1 - momentum) * (self.place - self.before)
        self.before, self.place = self.place, torch.clamp(moved, self.low, self.high)

    def check(self, period: int) -> None:
        """Halve the step and go back to the best place where the last `period` steps gained too little."""
        halve = (self.gains <= GAINS * period) | (~self.halved & (self.checked_loss >= self.best_loss))
        self.step[halve] /= 2
        self.place, self.gradient = (
            torch.where(halve[:, None, None, None], best, here)
            for best, here in ((self.best, self.place), (self.best_gradient, self.gradient))
        )
        self.halved, self.checked_loss = halve, self.best_loss
        self.gains = torch.zeros_like(self.gains)

    def keep(self, rows: Tensor) -> None:
        """Leave out all images but those where `rows` (n,) is true."""
        if not rows.all():
            for field in fields(self):
                setattr(self, field.name, getattr(self, field.name)[rows])


def _checkpoints(steps: int) -> dict[int, int]:
    """After which of `steps` the step is looked at, and how many there were since the last time."""
    period, shorter, shortest = (max(int(share * steps), 1) for share in PERIODS)
    end, checkpoints = period, {}
    while end <= steps:
        checkpoints[end] = period
        period = max(period - shorter, shortest)
        end += period
    return checkpoints
