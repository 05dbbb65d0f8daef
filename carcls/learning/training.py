"""The training loop (paper, section 4.1), which yields one epoch at a time."""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from carcls.base.scoring import macro_f1
from carcls.base.seeds import derive
from carcls.errors import InputError, ResourceError, is_out_of_memory
from carcls.learning import distributed, kernels
from carcls.learning.checkpoint import Checkpoint
from carcls.learning.device import autocast
from carcls.learning.loading import BATCH_SIZE, MEMORY_LIMIT, ImageSet, batches
from carcls.learning.model import normalise, split_frozen
from carcls.learning.perturbation import descend, draw
from carcls.params import Adversarial

log = logging.getLogger(__name__)

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}


@dataclass(frozen=True)
class Recipe:
    """The settings of a training, independent of model and images."""

    frozen_layers: int  # see model.split_frozen
    epochs: int
    patience: int  # epochs without a better validation F1 before training ends
    optimizer: str  # a key of OPTIMIZERS
    batch_size: int  # over all processes
    lr: float
    head_lr_multiplier: float  # the learning rate of the classifier is lr times this
    weight_decay: float
    device: torch.device
    precision: torch.dtype  # of training; validation is in float32
    seed: int
    adversarial: Adversarial | None = None
    keep: str = "best"  # the epoch of the best validation F1, or "last"
    flip: bool = False  # mirror each image left to right with probability 0.5 in each epoch
    class_weights: float = 0.0  # power of the inverse class frequency by which losses are weighted


@dataclass(frozen=True)
class Epoch:
    """One row of the history of a training. Losses are means over images, F1 is macro F1.

    Without a validation set, the validation scores are None.
    """

    epoch: int
    lr: float
    train_loss: float
    train_f1: float
    val_loss: float | None = None
    val_loss_std: float | None = None  # over the means of batches, the band of the paper's Figure 3
    val_f1: float | None = None

    def __str__(self) -> str:
        text = f"epoch {self.epoch}: train loss {self.train_loss:.4f}, F1 {self.train_f1:.4f}"
        return text if self.val_f1 is None else f"{text}; val loss {self.val_loss:.4f}, F1 {self.val_f1:.4f}"


def fit(
    model: nn.Module,
    train: ImageSet,
    val: ImageSet,
    recipe: Recipe,
    *,
    checkpoint: Checkpoint | None = None,
    bar: type[tqdm] = tqdm,
    fast_kernels: bool = True,
) -> Generator[Epoch, None, None]:
    """Train `model` in place and yield each epoch as it ends.

    Minimises the cross-entropy with a cosine schedule. When the iterator ends or is closed, the model has the
    weights of `kept_epoch`. If that is the best epoch, training stops after `patience` epochs without a
    better one. If it is the last epoch, `val` may be empty. Epochs in `checkpoint` are yielded again, and a
    resumed training ends with the same bytes. `bar` shows the images of an epoch. An exception in its
    `update` ends the training. Processes that train together (distributed.joined) pass equal arguments.
    Raises InputError if a loss is not finite, and ResourceError if memory runs out. That epoch is not saved.
    """
    frozen, trained = split_frozen(model.to(recipe.device), recipe.frozen_layers)
    state = TrainingState(trained, recipe)
    try:
        yield from state.resume(checkpoint)
        if state.is_over():
            return
        with _memory_error_named(recipe):
            train_inputs = embed(frozen, train, recipe.device, recipe.precision, mirrored=recipe.flip)
            val_inputs = embed(frozen, val, recipe.device, torch.float32) if val else None
            parallel = distributed.parallel(trained)
            while not state.is_over():
                with kernels.applied(recipe.device, recipe.precision) if fast_kernels else nullcontext():
                    scores = train_epoch(parallel, train_inputs, state.next_epoch(), state.step, recipe, bar)
                state.add(*scores, *(validate(trained, val_inputs, recipe.device) if val_inputs else ()))
                state.save(checkpoint)
                yield state.history[-1]
    finally:
        state.restore_kept()
        model.eval()


class TrainingState:
    """A training after its last completed epoch: its history, and all that is needed to resume it."""

    def __init__(self, trained: nn.Module, recipe: Recipe) -> None:
        self.recipe = recipe
        self.history: list[Epoch] = []
        self._trained = trained
        *layers, head_weight, head_bias = trained.parameters()  # the last layer is the classifier
        head = {"params": [head_weight, head_bias], "lr": recipe.lr * recipe.head_lr_multiplier}
        self._optimizer = OPTIMIZERS[recipe.optimizer](
            [{"params": layers}, head], lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
        )
        self._schedule = CosineAnnealingLR(self._optimizer, recipe.epochs)
        self._kept_weights: dict[str, Tensor] = {}

    def lr(self) -> float:
        return self._optimizer.param_groups[0]["lr"]

    def step(self) -> None:
        """Update the weights by their gradients."""
        self._optimizer.step()

    def next_epoch(self) -> int:
        return len(self.history) + 1

    def is_over(self) -> bool:
        done = len(self.history)
        if not done or done == self.recipe.epochs:
            return bool(done)
        return done - self._kept_epoch() >= self.recipe.patience

    def _kept_epoch(self) -> int:
        return kept_epoch(self.history, self.recipe.keep).epoch

    def add(self, train_loss: float, train_f1: float, *validated: float) -> None:
        """Add a completed epoch; `validated` is the result of `validate`.

        Raises InputError if a loss is not finite.
        """
        number = self.next_epoch()
        _check_finite("training loss", train_loss, number, self.recipe)
        names = ("validation loss", "validation loss's standard deviation", "validation F1")
        for name, value in zip(names[: len(validated)], validated, strict=True):
            _check_finite(name, value, number, self.recipe)
        self.history.append(Epoch(number, self.lr(), train_loss, train_f1, *validated))
        self._schedule.step()
        if self._kept_epoch() == number:
            weights = self._trained.state_dict()
            self._kept_weights = {name: tensor.clone() for name, tensor in weights.items()}

    def restore_kept(self) -> None:
        if self.history:
            self._trained.load_state_dict(self._kept_weights)

    def save(self, checkpoint: Checkpoint | None) -> None:
        if not checkpoint or not distributed.is_main():
            return
        newest = self._kept_epoch() == len(self.history)
        checkpoint.save(
            {
                "history": [asdict(epoch) for epoch in self.history],
                "weights": self._trained.state_dict(),
                "kept_weights": None if newest else self._kept_weights,
                "optimizer": self._optimizer.state_dict(),
                "schedule": self._schedule.state_dict(),
            }
        )

    def resume(self, checkpoint: Checkpoint | None) -> list[Epoch]:
        """Restore the state in `checkpoint`, if there is one. Returns its epochs."""
        state = distributed.from_main(checkpoint.load() if checkpoint and distributed.is_main() else None)
        if state:
            log.info("resuming after epoch %d", len(state["history"]))
            self.history = [Epoch(**epoch) for epoch in state["history"]]
            self._trained.load_state_dict(state["weights"])
            self._kept_weights = state["kept_weights"] or state["weights"]
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
        return list(self.history)


def kept_epoch(history: list[Epoch], keep: str) -> Epoch:
    """The last epoch or, if `keep` is "best", the first epoch with the highest validation F1."""
    return history[-1] if keep == "last" else max(history, key=lambda epoch: epoch.val_f1 or 0.0)


@dataclass(frozen=True)
class Inputs:
    """Stored images, and the function that turns them into the input of the trained layers."""

    images: ImageSet
    prepare: Callable[[Tensor], Tensor]
    copies: int = 1  # 2: the second half of `images` comes from the mirror images of the first half

    def __len__(self) -> int:
        return len(self.images) // self.copies


def embed(
    frozen: nn.Module,
    images: ImageSet,
    device: torch.device,
    precision: torch.dtype,
    *,
    mirrored: bool = False,
) -> Inputs:
    """The input of the trained layers for `images` and, if `mirrored`, for their mirror images.

    Frozen layers give the same output in every epoch, so it is computed once if it fits in MEMORY_LIMIT.
    """
    if not list(frozen.children()):
        return Inputs(images, partial(normalise, model=frozen))

    @torch.no_grad()
    def prepare(pixels: Tensor) -> Tensor:
        with autocast(device, precision):
            return frozen(normalise(pixels, frozen))

    copies = 1 + mirrored
    if copies * len(images) * prepare(images.read([0]).to(device)).nbytes > MEMORY_LIMIT:
        return Inputs(images, prepare)
    features = []
    for copy in range(copies):
        loader = batches(images, images.in_turn(BATCH_SIZE), device)
        features += [prepare(pixels.flip(-1) if copy else pixels).cpu() for pixels, _ in loader]
    return Inputs(ImageSet(torch.cat(features), images.labels.repeat(copies)), lambda batch: batch, copies)


def train_epoch(
    trained: nn.Module,
    inputs: Inputs,
    number: int,
    step: Callable[[], None],
    recipe: Recipe,
    bar: type[tqdm],
) -> tuple[float, float]:
    """Mean loss over images and macro F1 of the predictions during epoch `number`; `step` updates weights."""
    processes = distributed.size()
    order = _order(len(inputs), recipe, number)
    shares = [batch[distributed.rank() :: processes] for batch in order]
    actual = inputs.images.labels[torch.cat(shares)]
    # one tensor: small ones, kept by every step, would fragment the memory that the next step reuses
    predicted = torch.empty_like(actual, device=recipe.device)
    weight = _class_weights(inputs.images.labels, trained, recipe)
    trained.train()
    loss_sum = torch.zeros((), device=recipe.device)
    with _bar(bar, recipe, number, total=sum(map(len, order))) as progress:
        loader = _loaded(inputs, shares, recipe, number)
        if recipe.adversarial:
            loader = _attacked(loader, trained, order, recipe, number)
        answers = predicted.split([len(share) for share in shares])
        for whole, (batch, labels), answer in zip(order, loader, answers, strict=True):
            with autocast(recipe.device, recipe.precision):
                logits = trained(inputs.prepare(batch))
            loss = nn.functional.cross_entropy(logits.float(), labels, weight, reduction="sum")
            trained.zero_grad()
            # processes average their gradients; the average must be the gradient of the mean over the batch
            (loss * (processes / len(whole))).backward()
            step()
            # kept on the device, because reading a number would make every step wait for the device
            loss_sum += loss.detach()
            answer.copy_(logits.argmax(1))
            if progress.update(len(whole)):  # True if the bar was drawn, at most ten times a second
                progress.set_postfix(loss=loss.item() / len(labels), refresh=False)
    results = distributed.gather((loss_sum.item(), predicted.cpu(), actual))
    losses, all_predicted, all_actual = zip(*results, strict=True)
    return sum(losses) / sum(map(len, order)), macro_f1(torch.cat(all_predicted), torch.cat(all_actual))


def _loaded(
    inputs: Inputs, shares: Sequence[Tensor], recipe: Recipe, number: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of `shares`. If the recipe has `flip`, each image is mirrored with probability 0.5.

    The random numbers are drawn per image, so that they do not depend on the number of processes.
    """
    if not recipe.flip:
        return batches(inputs.images, shares, recipe.device)
    generator = torch.Generator().manual_seed(derive(recipe.seed, "flip", number))
    flips = torch.rand(len(inputs), generator=generator) < 0.5
    if inputs.copies == 2:
        mirrored = [share + flips[share] * len(inputs) for share in shares]
        return batches(inputs.images, mirrored, recipe.device)
    loader = batches(inputs.images, shares, recipe.device)
    flipped = flips[torch.cat([*shares]), None, None, None].to(recipe.device).split([*map(len, shares)])
    return (
        (torch.where(flip, pixels.flip(-1), pixels), labels)
        for (pixels, labels), flip in zip(loader, flipped, strict=True)
    )


def _class_weights(labels: Tensor, trained: nn.Module, recipe: Recipe) -> Tensor | None:
    """The weight of each class in the loss. The mean over the images is 1."""
    if not recipe.class_weights:
        return None
    *_, head_bias = trained.parameters()
    counts = labels.bincount(minlength=len(head_bias)).clamp(min=1)
    weights = counts**-recipe.class_weights
    return (weights * (len(labels) / (weights * counts).sum())).to(recipe.device)


def _attacked(
    loader: Iterator[tuple[Tensor, Tensor]],
    trained: nn.Module,
    order: Sequence[Tensor],
    recipe: Recipe,
    number: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of `loader`, each attacked with the current weights of `trained`.

    One step from a random point is the fast training of Wong et al. 2020, with their step of 1.25 epsilon.
    Several steps are the training of Madry et al. 2018, with their step of 2.5 epsilon / steps.
    """
    assert recipe.adversarial
    epsilon, steps = recipe.adversarial.epsilon, recipe.adversarial.steps
    model = distributed.unwrapped(trained)
    step_size = epsilon * min(1.25, 2.5 / steps)
    for place, (whole, (pixels, labels)) in enumerate(zip(order, loader, strict=True)):
        # drawn for the whole batch, so that it does not depend on the number of processes
        start = draw((len(whole), *pixels.shape[1:]), recipe.seed, "adversarial", number, place)
        start = start[distributed.rank() :: distributed.size()].to(pixels.device)
        pixels = pixels.float() / 255
        model.requires_grad_(False)  # saves the time for gradients of the weights
        with autocast(recipe.device, recipe.precision):
            pixels = descend(model, pixels, labels, start, epsilon=epsilon, steps=steps, step_size=step_size)
        model.requires_grad_(True)
        yield pixels, labels


@torch.no_grad()
def validate(trained: nn.Module, inputs: Inputs, device: torch.device) -> tuple[float, float, float]:
    """Mean loss over images, its standard deviation over batches, and macro F1, in float32.

    Each of several processes takes whole batches, so that the results are those of one process.
    """
    trained.eval()
    share = inputs.images.in_turn(BATCH_SIZE)[distributed.rank() :: distributed.size()]
    losses, predicted = [], []
    for batch, labels in batches(inputs.images, share, device):
        logits = trained(inputs.prepare(batch))
        losses.append(nn.functional.cross_entropy(logits, labels, reduction="none").cpu())
        predicted.append(logits.argmax(1).cpu())
    losses, predicted = _in_turn(distributed.gather(losses)), _in_turn(distributed.gather(predicted))
    std = torch.stack([loss.mean() for loss in losses]).std(correction=0).item()
    return (
        torch.cat(losses).mean().item(),
        std,
        macro_f1(torch.cat(predicted), inputs.images.labels),
    )


def _in_turn(shares: list[list[Tensor]]) -> list[Tensor]:
    """The batches of all processes, in the order in which one process takes them."""
    return [batch for row in zip_longest(*shares) for batch in row if batch is not None]


def _order(images: int, recipe: Recipe, epoch: int) -> tuple[Tensor, ...]:
    """All places in batches, in a random order that depends only on the seed and the epoch."""
    generator = torch.Generator().manual_seed(derive(recipe.seed, "order", epoch))
    order = torch.randperm(images, generator=generator).split(recipe.batch_size)
    # the last batch is dropped if it is one image, for BatchNorm, or has no image for some process
    return order[:-1] if len(order[-1]) < max(2, distributed.size()) and len(order) > 1 else order


def _bar(bar: type[tqdm], recipe: Recipe, number: int, total: int) -> tqdm:
    return bar(
        total=total,
        desc=f"epoch {number}/{recipe.epochs}",
        unit="img",
        leave=False,
        disable=None if distributed.is_main() else True,
    )


def _check_finite(name: str, value: float, number: int, recipe: Recipe) -> None:
    if not math.isfinite(value):
        raise InputError(f"The {name} was {value} in epoch {number}: lower lr (now {recipe.lr}).")


@contextmanager
def _memory_error_named(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            f"Memory ran out on {recipe.device} with batches of {recipe.batch_size}: "
            "free memory or lower batch_size."
        ) from None
