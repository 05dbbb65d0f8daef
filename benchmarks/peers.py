"""Other ways to train: a plain PyTorch loop, and timm's model, loader and optimizer.

They read photographs from class folders and decode them with PIL, as their users do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

LR, WEIGHT_DECAY = 1e-3, 0.01
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Task:
    """The model to train, the photographs and the device."""

    folder: Path  # of class folders
    size: int  # pixels
    batch_size: int
    arch: str = "resnet18"
    frozen: int = 0  # layers
    workers: int = 0  # DataLoader processes
    device: torch.device = CPU


class Peer(NamedTuple):
    """The arguments of `loop`."""

    model: nn.Module
    loader: Iterable[tuple[Tensor, Tensor]]
    optimizer: torch.optim.Optimizer


def plain(task: Task) -> Peer:
    """The loader and optimizer of PyTorch's tutorials."""
    from torchvision import datasets, models, transforms

    steps = [
        transforms.Resize((task.size, task.size)),
        transforms.ToTensor(),
        transforms.Normalize([0.5] * 3, [0.5] * 3),
    ]
    data = datasets.ImageFolder(task.folder, transforms.Compose(steps))
    loader = torch.utils.data.DataLoader(
        data,
        task.batch_size,
        shuffle=True,
        num_workers=task.workers,
        pin_memory=task.device.type == "cuda",
    )
    model = models.get_model(task.arch, num_classes=len(data.classes)).to(task.device)
    for layer in list(model.children())[: task.frozen]:
        layer.requires_grad_(False)
    return Peer(model, loader, torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=WEIGHT_DECAY))


def timm(task: Task) -> Peer:
    """The setup of timm's script, on a GPU with its prefetcher and channels last. No layer is frozen."""
    from timm import create_model
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2

    gpu = task.device.type == "cuda"
    data = create_dataset("", str(task.folder))
    loader = create_loader(
        data,
        input_size=(3, task.size, task.size),
        batch_size=task.batch_size,
        is_training=True,
        no_aug=True,
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        num_workers=task.workers,
        persistent_workers=task.workers > 0,
        pin_memory=gpu,
        use_prefetcher=gpu,
        device=task.device,
    )
    model = create_model(task.arch, num_classes=len(data.reader.class_to_idx)).to(task.device)
    if gpu:
        model = model.to(memory_format=torch.channels_last)
    return Peer(model, loader, create_optimizer_v2(model, "adamw", lr=LR, weight_decay=WEIGHT_DECAY))


def loop(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    precision: torch.dtype = torch.float32,
) -> None:
    """One epoch of the loop in PyTorch's tutorials."""
    device = next(model.parameters()).device
    model.train()
    running_loss = 0.0
    for images, labels in batches:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
