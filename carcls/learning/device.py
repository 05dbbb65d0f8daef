"""The device, the precision and the random numbers of PyTorch."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from carcls.base.seeds import derive
from carcls.errors import InputError


def resolve_device(name: str) -> torch.device:
    """`name` (auto, cpu, mps, cuda or cuda:N) as a device of this machine.

    Raises InputError if the machine lacks it.
    """
    if name == "auto":
        if torch.cuda.is_available():
            name = "cuda"
        else:
            name = "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"train.device is {name}, but this machine has {torch.cuda.device_count()} CUDA devices: "
            "set it to auto or cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("train.device is mps, which this machine lacks: set it to auto or cpu.")
    return device


def resolve_precision(name: str, device: torch.device) -> torch.dtype:
    """`name` (auto, bf16 or fp32) as a dtype; auto is bfloat16 if `device` computes it in hardware."""
    if name == "auto":
        if device.type == "cuda":
            name = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        else:
            # ATEN_CPU_CAPABILITY may restrict PyTorch to fewer instructions than the processor has
            enabled = torch.backends.cpu.get_cpu_capability() == "AVX512"
            native = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() and enabled
            name = "bf16" if native else "fp32"
    return torch.bfloat16 if name == "bf16" else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    """A context whose forward passes compute in `precision` where PyTorch considers it safe."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


@contextmanager
def fork_seed(seed: int, *purpose: object) -> Iterator[None]:
    """Seed PyTorch's global generator with `derive(seed, *purpose)` inside, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *purpose))
        yield
