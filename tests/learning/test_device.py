"""The device and precision that a name means on this machine."""

import pytest
import torch

from carcls.errors import InputError
from carcls.learning.device import autocast, fork_seed, resolve_device, resolve_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def machine(monkeypatch):
    """Simulate a machine with a number of CUDA GPUs, with or without an Apple GPU."""

    def has(gpus: int, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("gpus", "mps", "name", "device"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (2, True, "auto", "cuda"),
        (2, True, "cpu", "cpu"),
        (2, False, "cuda:1", "cuda:1"),
        (1, False, "cuda", "cuda"),
    ],
)
def test_the_device_is_resolved_from_its_name(machine, gpus, mps, name, device):
    machine(gpus, mps)
    assert resolve_device(name) == torch.device(device)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("cuda", "train.device is cuda, but this machine has 0 CUDA"), ("mps", "mps, which this machine lacks")],
)
def test_a_missing_device_gives_one_message(machine, name, expected):
    machine(0, False)
    with pytest.raises(InputError, match=expected):
        resolve_device(name)
    machine(2, False)
    with pytest.raises(InputError, match="cuda:2, but this machine has 2 CUDA devices"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("capability", "bf16", "device", "precision"),
    [
        ("AVX512", True, CPU, torch.bfloat16),
        ("AVX512", False, CPU, torch.float32),
        ("AVX2", True, CPU, torch.float32),  # with ATEN_CPU_CAPABILITY=avx2
        ("AVX512", True, torch.device("mps"), torch.float32),
        ("AVX2", True, GPU, torch.bfloat16),
        ("AVX512", False, GPU, torch.float32),
    ],
)
def test_bfloat16_is_used_if_the_hardware_supports_it(monkeypatch, capability, bf16, device, precision):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    emulated = {True: True, False: bf16}
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: emulated[including_emulation]
    )
    assert resolve_precision("auto", device) == precision
    assert resolve_precision("bf16", device) == torch.bfloat16
    assert resolve_precision("fp32", device) == torch.float32


def test_autocast_is_on_only_for_bfloat16_and_fork_seed_keeps_the_global_state():
    for precision in (torch.float32, torch.bfloat16):
        with autocast(CPU, precision):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == precision
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    drawn = []
    for purpose in ("a", "a", "b"):
        with fork_seed(1, purpose):
            drawn.append(torch.rand(3))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
