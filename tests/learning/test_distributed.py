"""Training in two processes on the CPU, compared with one process."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import torch
from conftest import ROOT

from carcls.learning import distributed, training
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import build_model
from carcls.params import Adversarial

# (frozen_layers, lr, attacked): lr is small for all layers, whose training amplifies rounding
CASES = [(0, 1e-6, 0), (8, 1e-3, 0), (0, 1e-6, 1)]
SCRIPT = """
import json, sys
from pathlib import Path
import torch
from carcls.learning import distributed
from test_distributed import CASES, trained

data, out = map(Path, sys.argv[1:])
with distributed.joined(torch.device("cpu")) as device:
    found = [trained(data, device, *case) for case in CASES]
if found[0]["rank"] == 0:
    out.write_text(json.dumps(found))
"""


def trained(data: Path, device: torch.device, frozen_layers: int, lr: float, attacked: int) -> dict:
    """The results of this process, which runs alone or as one of several."""
    sets = [ArchiveSet(data / f"images/{split}.tar") for split in ("train", "val")]
    recipe = training.Recipe(
        frozen_layers=frozen_layers,
        epochs=2,
        patience=2,
        optimizer="sgd",
        batch_size=15,
        lr=lr,
        head_lr_multiplier=1,
        weight_decay=0.01,
        device=device,
        precision=torch.float32,
        seed=1,
        adversarial=Adversarial(epsilon=0.01, steps=1) if attacked else None,
    )
    model = build_model("resnet18", 12, seed=1)
    epochs = [asdict(epoch) for epoch in training.fit(model, *sets, recipe)]
    sums = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
    everyone = distributed.gather((epochs, sums))
    assert all(other == everyone[0] for other in everyone), "the processes disagree"
    return {"processes": len(everyone), "rank": distributed.rank(), "epochs": epochs, "sums": sums}


def start(folder: Path, script: str, *arguments: object) -> subprocess.Popen:
    """Start `script` in two processes by `distributed.launch`."""
    (folder / "script.py").write_text(script)
    code = "import sys; from carcls.learning.distributed import launch; launch(2, 'script', *sys.argv[1:])"
    path = (ROOT, ROOT / "tests", Path(__file__).parent, folder)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def launch(folder: Path, script: str, *arguments: object) -> tuple[int, str]:
    """The exit status of the launch, and the stderr of it and its processes."""
    with start(folder, script, *arguments) as process:
        _, errors = process.communicate()
    return process.returncode, errors


@pytest.fixture(scope="module")
def by_two(data, tmp_path_factory) -> dict[tuple, dict]:
    """The results of two processes for each of CASES."""
    folder = tmp_path_factory.mktemp("by_two")
    status, errors = launch(folder, SCRIPT, data, folder / "two.json")
    assert status == 0, errors
    return dict(zip(CASES, json.loads((folder / "two.json").read_text()), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_two_processes_give_the_results_of_one(data, by_two, case):
    one, two, attacked = trained(data, torch.device("cpu"), *case), by_two[case], case[2]
    assert (one["processes"], two["processes"]) == (1, 2)
    for alone, together in zip(one["epochs"], two["epochs"], strict=True):
        # rounding can change the sign of a gradient near zero, and thus the direction of a pixel
        if attacked:
            assert together["train_loss"] == pytest.approx(alone["train_loss"], rel=5e-2)
        else:
            assert together == pytest.approx(alone, rel=1e-4)
    if not attacked:
        assert two["sums"] == pytest.approx(one["sums"], rel=1e-4, abs=1e-4)


# argument: the action of the second process while the first waits for it
PAIR = """
import os, time
from datetime import timedelta
import torch
from carcls.errors import InputError, reported
from carcls.learning import distributed

distributed.TIMEOUT = timedelta(seconds={timeout})
with reported(), distributed.joined(torch.device("cpu")):
    distributed.gather(0)
    os.write(1, b"%d\\n" % os.getpid())  # one write per line, so that the lines of two processes do not mix
    if not distributed.is_main():
        {second}
    distributed.gather(0)
"""


def test_only_the_message_of_the_failed_process_is_printed(tmp_path):
    fails = PAIR.format(timeout=60, second='raise InputError("one message")')
    assert launch(tmp_path, fails) == (1, "error: one message\n")


def test_launch_exits_with_the_status_of_the_failed_process(tmp_path):
    assert launch(tmp_path, PAIR.format(timeout=60, second="os._exit(3)")) == (3, "")


def test_a_process_that_does_not_respond_ends_the_others(tmp_path):
    status, errors = launch(tmp_path, PAIR.format(timeout=1, second="time.sleep(600)"))
    assert status == 1
    assert errors.startswith("error: Another process of this training has ended or does not answer")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_ending_a_launch_ends_its_processes(tmp_path, number, status):
    with start(tmp_path, PAIR.format(timeout=60, second="time.sleep(600)")) as launcher:
        started = [psutil.Process(int(launcher.stdout.readline())) for _ in range(2)]
        launcher.send_signal(number)
        assert launcher.wait(60) == status
        assert not psutil.wait_procs(started, 60)[1]
        assert "Traceback" not in launcher.stderr.read()


def test_synchronised_batchnorm_in_one_process_equals_batchnorm():
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        expected, norm = torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3)
        synced = distributed.CPUSyncBatchNorm.like(norm)
        images = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 3 + 1
        first, second = images.clone().requires_grad_(), images.clone().requires_grad_()
        weight = torch.arange(25.0).view(5, 5)
        (expected(first) * weight).sum().backward()
        (synced(second) * weight).sum().backward()
        assert torch.allclose(first.grad, second.grad, atol=1e-4)
        for name, tensor in expected.state_dict().items():
            assert torch.allclose(tensor, norm.state_dict()[name], atol=1e-6), name
    finally:
        torch.distributed.destroy_process_group()
