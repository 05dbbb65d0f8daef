"""Auto-PGD, the first two attacks of AutoAttack (Croce and Hein 2020), the strongest attacks of the study.

Auto-PGD is projected gradient descent with momentum. It halves the step of an image whose loss increases too
rarely. The constants are those of the authors. Only the number of steps is a setting; the authors use 100.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from carcls.evaluation.scores import attacked_logits
from carcls.learning.loading import ImageSet
from carcls.learning.model import infer
from carcls.learning.perturbation import draw

TARGETS = 9
MOMENTUM = 0.75
GAINS = 0.75  # the step is halved unless more than this share of a period's steps increased the loss
PERIODS = (0.22, 0.03, 0.06)  # shares of the steps: first period, decrease per period, shortest period

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits (n, classes), labels and targets (n,): (n,)


def apgd(
    model: nn.Module, images: ImageSet, epsilon: float, steps: int, device: torch.device, seed: int
) -> Tensor:
    """Logits (float32, (n, classes), CPU) of all `images` after APGD-CE and APGD-T.

    APGD-T runs for each of the TARGETS most probable other classes. Each attack skips the images that are
    already misclassified. The logits of an image are those of the first attack that succeeds, or of the last.
    """

    def answer(place: int, pixels: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            answers = infer(model, pixels)
        others = answers.scatter(1, labels[:, None], -torch.inf).argsort(dim=1, descending=True, stable=True)
        for attempt in range(1 + min(TARGETS, answers.shape[1] - 1)):
            correct = (answers.argmax(1) == labels).nonzero()[:, 0]
            if not len(correct):
                break
            start = draw(pixels.shape, seed, "apgd", attempt, place).to(device)
            loss, targets = (targeted_dlr, others[:, attempt - 1]) if attempt else (cross_entropy, labels)
            rows = (each[correct] for each in (pixels, labels, targets, start))
            answers[correct] = ascend(model, loss, *rows, epsilon=epsilon, steps=steps)
        return answers

    return attacked_logits(model, images, device, answer, "APGD")


def cross_entropy(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of APGD-CE, which ignores `targets`."""
    return nn.functional.cross_entropy(logits, labels, reduction="none")


def targeted_dlr(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The loss of APGD-T: the lead of `targets` over `labels`, divided by the spread of the highest logits.

    With fewer than four classes, that spread is undefined, and the loss is the lead itself.
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
    """Logits (n, classes) of each image at its first misclassified point, or else at its last point.

    `pixels`: float32 in [0, 1], (n, 3, h, w). The first point is `pixels` + `epsilon` * `start`, with `start`
    scaled to a maximum of 1.
    """
    start = start / start.abs().amax((1, 2, 3), keepdim=True)
    ascent = _Ascent.begin(pixels, labels, targets, start, epsilon)
    answers = ascent.evaluate(model, loss)
    checkpoints = _checkpoints(steps)
    for number in range(1, steps + 1):
        ascent.select(answers[ascent.row].argmax(1) == ascent.labels)
        if not len(ascent.row):  # all are misclassified
            break
        ascent.move(1.0 if number == 1 else MOMENTUM)
        answers[ascent.row] = ascent.evaluate(model, loss)
        if number in checkpoints:
            ascent.halve_steps(checkpoints[number])
    return answers


@dataclass
class _Ascent:
    """The images that are not yet misclassified: one row each, of shape (n, 3, h, w) unless noted."""

    row: Tensor  # (n,), the index in the batch
    labels: Tensor  # (n,)
    targets: Tensor  # (n,)
    low: Tensor
    high: Tensor
    point: Tensor
    previous: Tensor  # the previous point
    gradient: Tensor
    best: Tensor
    best_gradient: Tensor
    step: Tensor  # (n, 1, 1, 1)
    loss: Tensor  # (n,)
    best_loss: Tensor  # (n,)
    checked_loss: Tensor  # (n,), best_loss at the last checkpoint
    halved: Tensor  # (n,), whether the step was halved there
    gains: Tensor  # (n,), steps since then that increased the loss

    @classmethod
    def begin(
        cls, pixels: Tensor, labels: Tensor, targets: Tensor, start: Tensor, epsilon: float
    ) -> "_Ascent":
        low, high = (pixels - epsilon).clamp(min=0), (pixels + epsilon).clamp(max=1)
        point = torch.clamp(pixels + epsilon * start, low, high)
        lowest = torch.full(labels.shape, -torch.inf, device=pixels.device)
        return cls(
            row=torch.arange(len(labels), device=pixels.device),
            labels=labels,
            targets=targets,
            low=low,
            high=high,
            point=point,
            previous=point,
            gradient=torch.zeros_like(point),
            best=point.clone(),
            best_gradient=torch.zeros_like(point),
            step=torch.full((len(labels), 1, 1, 1), 2 * epsilon, device=pixels.device),
            loss=lowest,
            best_loss=lowest.clone(),
            checked_loss=lowest.clone(),
            halved=torch.ones_like(labels, dtype=torch.bool),
            gains=torch.full_like(labels, -1),  # the first evaluation is not a step
        )

    def evaluate(self, model: nn.Module, loss: Loss) -> Tensor:
        """Update loss and gradient for the current point. Returns the logits (n, classes)."""
        point = self.point.detach().requires_grad_()
        logits = infer(model, point)
        losses = loss(logits, self.labels, self.targets)
        (self.gradient,) = torch.autograd.grad(losses.sum(), point)
        losses = losses.detach()
        self.gains = self.gains + (losses > self.loss)
        better = losses > self.best_loss
        self.best[better], self.best_gradient[better] = self.point[better], self.gradient[better]
        self.loss, self.best_loss = losses, torch.maximum(losses, self.best_loss)
        return logits.detach()

    def move(self, momentum: float) -> None:
        """Move by `momentum` of a step along the sign of the gradient and 1 - `momentum` of the last move."""
        ahead = torch.clamp(self.point + self.step * self.gradient.sign(), self.low, self.high)
        moved = self.point + momentum * (ahead - self.point) + (1 - momentum) * (self.point - self.previous)
        self.previous, self.point = self.point, torch.clamp(moved, self.low, self.high)

    def halve_steps(self, period: int) -> None:
        """Halve the step and return to the best point where the last `period` steps gained too little."""
        halve = (self.gains <= GAINS * period) | (~self.halved & (self.checked_loss >= self.best_loss))
        self.step[halve] /= 2
        self.point, self.gradient = (
            torch.where(halve[:, None, None, None], best, here)
            for best, here in ((self.best, self.point), (self.best_gradient, self.gradient))
        )
        self.halved, self.checked_loss = halve, self.best_loss
        self.gains = torch.zeros_like(self.gains)

    def select(self, rows: Tensor) -> None:
        """Remove the images where `rows` (bool, (n,)) is false."""
        if not rows.all():
            for field in fields(self):
                setattr(self, field.name, getattr(self, field.name)[rows])


def _checkpoints(steps: int) -> dict[int, int]:
    """The numbers of the steps that end a period, each with the length of its period."""
    period, shorter, shortest = (max(int(share * steps), 1) for share in PERIODS)
    end, checkpoints = period, {}
    while end <= steps:
        checkpoints[end] = period
        period = max(period - shorter, shortest)
        end += period
    return checkpoints
