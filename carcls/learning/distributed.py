"""Processes that train one model together, by torch.distributed.

Every function also works in a single process, so that there is one training loop.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun
from torch.nn.parallel import DistributedDataParallel

from carcls.errors import InputError

T = TypeVar("T")
# The time that a process waits for the others in a collective operation. Only this ends the processes of a
# disconnected machine, which should take at most five minutes including their end. A process may be late when
# it loads or saves a checkpoint, reads images, validates or computes the features of frozen layers.
TIMEOUT = timedelta(minutes=4)
LEAD = 5  # seconds that torchrun has to end this process after another process of this machine has failed


def launched() -> bool:
    """Whether torchrun, or `launch`, started this process."""
    return dist.is_torchelastic_launched()


def launch(processes: int, module: str, *arguments: str) -> None:
    """Run `python -m module arguments` in `processes` processes of this machine by torchrun.

    Exits with the status of the first process that fails, which has printed its own message, or with 128 plus
    the number of the signal that ended this process.
    """
    threads = max(1, torch.get_num_threads() // processes)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    # the failed process prints the reason; torchrun's log is only about torchrun
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        torchrun(["--standalone", f"--nproc-per-node={processes}", "--module", module, *arguments])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode)
    except SignalException as error:  # torchrun has ended the processes
        sys.exit(128 + error.sigval)


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the process group if torchrun started this process; yields the device to compute on.

    Raises InputError if another process has ended or has not answered for TIMEOUT (Gloo). With NCCL,
    PyTorch's watchdog aborts the process after TIMEOUT and logs the operation that it was waiting for.
    """
    if not launched():
        yield device
        return
    _end_with_parent()
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        yield device
    except RuntimeError as error:
        if "gloo" not in str(error):  # Gloo has no exception class of its own
            raise
        time.sleep(LEAD)
        raise InputError(
            "Another process of this training has ended or does not answer: check its output, its machine "
            "and the network, then start the training again; it continues after the last completed epoch."
        ) from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _end_with_parent() -> None:
    """End this process when its parent has ended: torchrun, killed by SIGKILL, does not end its processes."""
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
    """Whether this is the process that writes files and shows progress."""
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
    """`trained`, with its gradients averaged and its BatchNorm statistics computed over all processes.

    The BatchNorm layers of `trained` are replaced in place, by layers that share their parameters and
    buffers: its state dict keeps its names and holds what the returned module learns.
    """
    if size() == 1:
        return trained
    if next(trained.parameters()).device.type == "cuda":
        trained = nn.SyncBatchNorm.convert_sync_batchnorm(trained)
    else:
        _convert_on_cpu(trained)
    return DistributedDataParallel(trained)


def unwrapped(trained: nn.Module) -> nn.Module:
    """The module that `parallel` wraps in `trained`. Its gradients are not averaged."""
    return trained.module if isinstance(trained, DistributedDataParallel) else trained


def _convert_on_cpu(trained: nn.Module) -> None:
    for module in list(trained.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, CPUSyncBatchNorm.like(child))


class CPUSyncBatchNorm(nn.BatchNorm2d):
    """torch.nn.SyncBatchNorm for the CPU, where torch 2.15 raises ValueError in training."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> "CPUSyncBatchNorm":
        """A layer that shares the parameters and buffers of `norm`."""
        synced = cls(norm.num_features)
        synced.__dict__.update(norm.__dict__)
        return synced

    def forward(self, input: Tensor) -> Tensor:
        """`input` and the result are (N, C, H, W) of one dtype; N may differ between processes."""
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
