"""Fine-tuning, from top to bottom: what the paper's section 4.1 says, an epoch at a time."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from carcls.device import autocast, resolve_device, resolve_precision
from carcls.errors import InputError
from carcls.evaluation import BATCH_SIZE, macro_f1
from carcls.loading import MEMORY_LIMIT, ArchiveSet, ImageSet, batches
from carcls.model import MEAN, STD, ModelInfo, build, load_backbone, normalise, split_frozen
from carcls.params import Params
from carcls.seeds import derive

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Epoch:
    """One row of a training's history. Losses are means over images, F1 is macro."""

    epoch: int
    lr: float
    train_loss: float
    train_f1: float
    val_loss: float
    val_loss_std: float  # over the means of batches, the band of the paper's Figure 3
    val_f1: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}: train loss {self.train_loss:.4f}, F1 {self.train_f1:.4f}; "
            f"val loss {self.val_loss:.4f}, F1 {self.val_f1:.4f}"
        )


@dataclass(frozen=True)
class Inputs:
    """What the trained layers are fed: images as they are stored, and what makes them input."""

    images: ImageSet
    prepare: Callable[[Tensor], Tensor]


def fit(
    model: nn.Module,
    train: ImageSet,
    val: ImageSet,
    *,
    frozen_layers: int,
    epochs: int,
    patience: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    device: torch.device,
    precision: torch.dtype,
    seed: int,
) -> Iterator[Epoch]:
    """Train `model` in place and yield each epoch as it ends.

    AdamW on the cross-entropy, the learning rate following half a cosine over `epochs`. Ends early when
    `patience` epochs in a row have not raised the validation F1. When the iterator ends or is closed, the
    model holds the weights of its best epoch. Training computes in `precision`, validation in float32.
    Raises InputError when the loss is no longer finite.
    """
    model.to(device)
    frozen, trained = split_frozen(model, frozen_layers)
    train_inputs = embed(frozen, train, device, precision)
    val_inputs = embed(frozen, val, device, torch.float32)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    schedule = CosineAnnealingLR(optimizer, epochs)
    best_f1, best_epoch, best_weights = -1.0, 0, {}
    try:
        for number in range(1, epochs + 1):
            order = _order(len(train), batch_size, seed, number)
            bar = tqdm(
                total=len(order), desc=f"epoch {number}/{epochs}", unit="img", leave=False, disable=None
            )
            with bar:
                train_loss, train_f1 = train_epoch(
                    trained, train_inputs, order, batch_size, optimizer, device, precision, bar
                )
            if not math.isfinite(train_loss):
                raise InputError(f"The training loss was {train_loss} in epoch {number}: lower train.lr.")
            val_loss, val_loss_std, val_f1 = validate(trained, val_inputs, device)
            if val_f1 > best_f1:
                best_f1, best_epoch = val_f1, number
                best_weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            learning_rate = optimizer.param_groups[0]["lr"]
            schedule.step()
            yield Epoch(number, learning_rate, train_loss, train_f1, val_loss, val_loss_std, val_f1)
            if number - best_epoch >= patience:
                return
    finally:
        if best_weights:
            model.load_state_dict(best_weights)
        model.eval()


def embed(frozen: nn.Module, images: ImageSet, device: torch.device, precision: torch.dtype) -> Inputs:
    """The input of the trained layers for `images`.

    Frozen layers give the same output in every epoch, so it is computed once where it fits in MEMORY_LIMIT.
    """

    if not len(frozen):
        return Inputs(images, normalise)

    @torch.no_grad()
    def prepare(pixels: Tensor) -> Tensor:
        with autocast(device, precision):
            return frozen(normalise(pixels))

    if len(images) * prepare(images.read([0]).to(device)).nbytes > MEMORY_LIMIT:
        return Inputs(images, prepare)
    features = torch.cat([prepare(pixels.to(device)).cpu() for pixels, _ in batches(images, BATCH_SIZE)])
    return Inputs(ImageSet(features, images.labels), lambda batch: batch)


def train_epoch(
    trained: nn.Module,
    inputs: Inputs,
    order: Tensor,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    precision: torch.dtype,
    bar: tqdm,
) -> tuple[float, float]:
    """One pass over `order`: the mean loss and the macro F1 of the predictions made on the way."""
    trained.train()
    loss_sum = torch.zeros((), device=device)
    predicted = []
    for batch, labels in batches(inputs.images, batch_size, order):
        labels = labels.to(device, non_blocking=True)
        with autocast(device, precision):
            logits = trained(inputs.prepare(batch.to(device, non_blocking=True)))
            loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        # kept on the device: reading a number here would make the device wait for every step
        loss_sum += loss.detach() * len(labels)
        predicted.append(logits.detach().argmax(1))
        bar.update(len(labels))
    f1 = macro_f1(torch.cat(predicted).cpu(), inputs.images.labels[order])
    return loss_sum.item() / len(order), f1


@torch.no_grad()
def validate(trained: nn.Module, inputs: Inputs, device: torch.device) -> tuple[float, float, float]:
    """Mean loss over images, its standard deviation over batches, and macro F1, in float32."""
    trained.eval()
    losses, predicted = [], []
    for batch, labels in batches(inputs.images, BATCH_SIZE):
        logits = trained(inputs.prepare(batch.to(device))).cpu()
        losses.append(nn.functional.cross_entropy(logits, labels, reduction="none"))
        predicted.append(logits.argmax(1))
    std = torch.stack([loss.mean() for loss in losses]).std(correction=0).item()
    return torch.cat(losses).mean().item(), std, macro_f1(torch.cat(predicted), inputs.images.labels)


def _order(images: int, batch_size: int, seed: int, epoch: int) -> Tensor:
    """A shuffle of all places that depends on `seed` and `epoch` alone."""
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    order = torch.randperm(images, generator=generator)
    # BatchNorm has no variance to take from a last batch of one image
    return order[:-1] if images % batch_size == 1 and images > 1 else order


def train_variant(
    params: Params, arch: str, config: str, data: Path
) -> tuple[nn.Module, ModelInfo, pd.DataFrame, dict[str, float]]:
    """Train one cell of the study on data/images, from data/weights where its config is pretrained.

    Returns the model with the weights of its best epoch, what its file says of it, the history (a row an
    Epoch) and the metrics of the best epoch.
    """
    if config not in params.configs:
        raise InputError(f"configs has no {config}: it has {', '.join(params.configs)}.")
    start, settings = params.configs[config], params.train
    train, val = ArchiveSet(data / "images/train.tar"), ArchiveSet(data / "images/val.tar")
    model = build(arch, len(train.classes), seed=params.seed)
    if start.pretrained:
        load_backbone(model, data / f"weights/{arch}.safetensors")
    device = resolve_device(settings.device)
    epochs = fit(
        model,
        train,
        val,
        frozen_layers=start.frozen_layers,
        epochs=settings.epochs,
        patience=settings.patience,
        batch_size=settings.batch_size,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        device=device,
        precision=resolve_precision(settings.precision, device),
        seed=params.seed,
    )
    history = []
    for epoch in epochs:
        log.info("%s-%s, %s", arch, config, epoch)
        history.append(epoch)
    best = max(history, key=lambda epoch: epoch.val_f1)  # the first of equals, as `fit` keeps it
    parameters = list(model.parameters())
    metrics = {
        "val_f1": best.val_f1,
        "val_loss": best.val_loss,
        "train_f1": best.train_f1,
        "train_loss": best.train_loss,
        "epoch": best.epoch,
        "epochs": len(history),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }
    info = ModelInfo(arch, config, train.classes, train.size, MEAN, STD, best.val_f1, best.epoch)
    return model, info, pd.DataFrame([asdict(epoch) for epoch in history]), metrics
