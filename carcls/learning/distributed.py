"""Processes that train one model together: torch.distributed, or the single process that there is without it.

Every function here also works in a process that is alone, so that the training loop has one form.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.parallel import DistributedDataParallel

from carcls.errors import InputError
from carcls.learning.heartbeat import heartbeat

T = TypeVar("T")


def launched() -> bool:
    """Whether torchrun, or `launch`, started this process."""
    return dist.is_torchelastic_launched()


def launch(processes: int, module: str, *arguments: str) -> None:
    """Run `python -m module arguments` in `processes` processes of this machine, as torchrun does.

    Ends this process with the status of the first one that fails; that one has said why.
    """
    threads = max(1, torch.get_num_threads() // processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        run_id="carcls",
    )
    # the process that fails says why; what its launcher adds is about the launcher
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode)


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Inside, this process is one of those that torchrun started, if it did; yields the device to work on."""
    if not launched():
        yield device
        return
    _end_with_parent()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        with heartbeat():
            yield device
    except RuntimeError as error:
        if "gloo" not in str(error):  # which has no class of its own for it
            raise
        raise InputError(
            "Another process of this training has ended: see what it said, then start the training again; it "
            "goes on after the last finished epoch."
        ) from None
    finally:
        dist.destroy_process_group()


def _end_with_parent() -> None:
    """A launcher that was killed cannot end its processes: they watch it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the process that writes and shows things."""
    return rank() == 0


def gather(value: T) -> list[T]:
    """The `value` of every process, in order of rank."""
    if size() == 1:
        return [value]
    values = [value] * size()
    dist.all_gather_object(values, value)
    return values


def from_main(value: T) -> T:
    """The `value` of the main process."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def parallel(trained: nn.Module) -> nn.Module:
    """`trained`, its gradients averaged over the processes, its BatchNorm statistics taken over all of them.

    The layers stay those of `trained`, so that its state dict holds what this one learns.
    """
    if size() == 1:
        return trained
    for module in list(trained.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, SyncBatchNorm.like(child))
    return DistributedDataParallel(trained)


def alone(trained: nn.Module) -> nn.Module:
    """What `parallel` was given, with its layers as they are now: no gradient of it is averaged."""
    return trained.module if isinstance(trained, DistributedDataParallel) else trained


class SyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batch of all processes. torch.nn.SyncBatchNorm is the same for CUDA alone."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "SyncBatchNorm":
        """One that shares the parameters and buffers of `norm`."""
        synced = cls(norm.num_features, norm.eps, norm.momentum)
        synced.__dict__.update(norm.__dict__)
        return synced

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        wide = input.float()
        count = wide.new_tensor(wide.numel() // self.num_features)
        total = _Sum.apply(torch.cat([wide.sum((0, 2, 3)), count[None]]))
        mean = (total[:-1] / total[-1])[:, None, None]
        variance = _Sum.apply((wide - mean).square().sum((0, 2, 3))) / total[-1]
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(variance * total[-1] / (total[-1] - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return ((wide - mean) * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


class _Sum(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(context, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient
