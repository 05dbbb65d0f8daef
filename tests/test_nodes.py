"""torchrun on two machines: two network namespaces joined by a virtual cable, each with its own folder."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import copy_project, on_several_machines

HISTORY = "plots/history/resnet18-scratch.csv"
STAGE = ("-m", "stages.train", "resnet18", "scratch")
LOST = "error: Another process of this training has ended or does not answer"
# a small lr, because training all layers amplifies the rounding of sums in another order
CHANGES = {("train", "optimizer"): "sgd", ("train", "lr"): 1e-6}


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def namespaces_can_be_made() -> bool:
    name = f"carcls-{os.getpid()}-try"
    try:
        ip("netns", "add", name)
        ip("link", "add", "one", "netns", name, "type", "veth", "peer", "two", "netns", name)
        ip("netns", "exec", name, "true")
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        if shutil.which("ip"):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    return True


pytestmark = [
    on_several_machines,
    pytest.mark.skipif(
        "CARCLS_TEST_MACHINES" in os.environ and not namespaces_can_be_made(),
        reason="no network namespace can be made: it takes Linux, ip and root",
    ),
]


class Machine:
    """A network namespace with one end of the cable and its own project."""

    def __init__(self, rank: int, folder: Path) -> None:
        self.rank, self.folder = rank, folder
        self.name, self.cable = f"carcls-{os.getpid()}-{rank}", f"cc{os.getpid() % 10**6}-{rank}"

    def train(self, log: str) -> subprocess.Popen:
        torchrun = Path(sys.executable).with_name("torchrun")
        at = (f"--node-rank={self.rank}", "--master-addr=10.77.0.1", "--master-port=29500")
        with (self.folder / log).open("w") as output:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, torchrun, "--nnodes=2", *at, "--nproc-per-node=1", *STAGE],
                cwd=self.folder,
                env=os.environ | {"GLOO_SOCKET_IFNAME": self.cable, "OMP_NUM_THREADS": "1"},
                stdout=output,
                stderr=output,
            )

    def said(self, log: str) -> str:
        return (self.folder / log).read_text()

    def plug(self, state: str) -> None:
        ip("-netns", self.name, "link", "set", self.cable, state)


@pytest.fixture
def machines(data, tmp_path) -> Iterator[list[Machine]]:
    machines = [Machine(rank, tmp_path / f"machine-{rank}") for rank in range(2)]
    try:
        for machine in machines:
            ip("netns", "add", machine.name)
        (first, second), ends = machines, [machine.cable for machine in machines]
        ip("link", "add", ends[0], "netns", first.name, "type", "veth", "peer", ends[1], "netns", second.name)
        for machine in machines:
            ip(
                "-netns",
                machine.name,
                "address",
                "add",
                f"10.77.0.{machine.rank + 1}/24",
                "dev",
                machine.cable,
            )
            ip("-netns", machine.name, "link", "set", "lo", "up")
            machine.plug("up")
        yield machines
    finally:
        for machine in machines:
            subprocess.run(["ip", "netns", "delete", machine.name], capture_output=True)


def project(folder: Path, data: Path, epochs: int) -> Path:
    copy_project(folder, CHANGES | {("train", "epochs"): epochs, ("train", "patience"): epochs})
    shutil.copytree(data, folder / "data", dirs_exist_ok=True)
    return folder


def epochs(machine: Machine) -> int:
    path = machine.folder / HISTORY
    return len(pd.read_csv(path)) if path.exists() else 0


def wait_for_an_epoch(machine: Machine, log: str) -> None:
    started = time.monotonic()
    while not epochs(machine):
        assert time.monotonic() - started < 120, machine.said(log)
        time.sleep(0.1)


def ended(machine: Machine, process: subprocess.Popen, log: str, within: float) -> int:
    try:
        return process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"machine {machine.rank} did not end within {within} s: {machine.said(log)}")


def test_two_machines_train_like_one_process(machines, data, tmp_path):
    for machine in machines:
        project(machine.folder, data, epochs=2)
    trainings = [machine.train("log") for machine in machines]
    for machine, training in zip(machines, trainings, strict=True):
        assert ended(machine, training, "log", within=120) == 0, machine.said("log")
    alone = project(tmp_path / "alone", data, epochs=2)
    subprocess.run([sys.executable, *STAGE], cwd=alone, check=True, capture_output=True)
    together = pd.read_csv(machines[0].folder / HISTORY)
    pd.testing.assert_frame_equal(together, pd.read_csv(alone / HISTORY), rtol=1e-4)
    assert (machines[0].folder / "models/resnet18-scratch.safetensors").exists()
    assert epochs(machines[1]) == 0  # only the first machine writes


def test_a_machine_whose_training_stops_ends_the_other(machines, data):
    for machine in machines:
        project(machine.folder, data, epochs=40)
    trainings = [machine.train("log") for machine in machines]
    wait_for_an_epoch(machines[0], "log")
    trainings[1].terminate()
    assert ended(machines[0], trainings[0], "log", within=60) == 1
    assert LOST in machines[0].said("log")


def test_a_disconnected_machine_ends_the_other_and_both_resume(machines, data):
    for machine in machines:
        project(machine.folder, data, epochs=40)
    trainings = [machine.train("cut") for machine in machines]
    wait_for_an_epoch(machines[0], "cut")
    machines[1].plug("down")
    cut = time.monotonic()
    for machine, training in zip(machines, trainings, strict=True):
        assert ended(machine, training, "cut", within=300 - (time.monotonic() - cut)) == 1
        assert machine.said("cut").count("error:") == machine.said("cut").count(LOST) == 1
    done = epochs(machines[0])
    assert 0 < done < 40

    machines[1].plug("up")
    trainings = [machine.train("again") for machine in machines]
    for machine, training in zip(machines, trainings, strict=True):
        assert ended(machine, training, "again", within=120) == 0, machine.said("again")
    assert f"resuming after epoch {done}" in machines[0].said("again")
    assert epochs(machines[0]) == 40
