"""cluster/ on a real Slurm on this machine: two nodes, eight cells, two of them requeued."""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from conftest import ROOT, on_several_machines, run, start

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
pytestmark = [
    on_several_machines,
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason="slurm-wlm and munge are not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="Slurm's daemons want to be started by root"),
]
CONFIGURATION = """\
ClusterName=carcls
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket,cred_expire=5 # seconds until a requeued job starts
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
ProctrackType=proctrack/linuxproc # no cgroups: this may be a container
TaskPlugin=task/none
SelectType=select/linear
SlurmdParameters=config_overrides # nodes of any size
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cpus}
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cpus}
PartitionName=both Nodes=one,two Default=YES
"""


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in sockets]


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def done(folder: Path, *command: str, **environment: str) -> str:
    result = run(folder, *command, **environment)
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


@contextmanager
def dvc_notes(folder: Path) -> Iterator[dict[str, Any]]:
    """DVC's record of the processes that use files. Locked as by DVC while it is open."""
    path = folder / ".dvc/tmp/rwlock"
    with (folder / ".dvc/tmp/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        notes = json.loads(path.read_text()) if path.exists() else {}
        yield notes
        path.write_text(json.dumps(notes))


@pytest.fixture
def slurm(tmp_path) -> Iterator[dict[str, str]]:
    """Start Slurm. Yields the environment variables for its commands.

    Its nodes have as many cores as the study was computed with: the last bits depend on it.
    """
    folder = tmp_path / "slurm"
    (folder / "state").mkdir(parents=True)
    key, path = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    host, cpus = socket.gethostname().split(".")[0], torch.get_num_threads()
    path.write_text(CONFIGURATION.format(folder=folder, host=host, ports=free_ports(3), cpus=cpus))
    # two trainings share the cores, so that waiting threads must not spin
    environment = {"SLURM_CONF": str(path), "OMP_WAIT_POLICY": "passive"}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
    daemons = {
        "munged": ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
        "slurmctld": ["slurmctld", "-D"],
        "one": ["slurmd", "-D", "-N", "one"],
        "two": ["slurmd", "-D", "-N", "two"],
    }

    def prints(expected: str, *command: str) -> Callable[[], bool]:
        return lambda: run(folder, *command, **environment).stdout.strip() == expected

    with ExitStack() as stack:
        for name, command in daemons.items():
            output = stack.enter_context((folder / f"{name}.log").open("w"))
            process = subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            if name == "munged":
                wait_until((folder / "munge.socket").exists, "munged", 60)
        wait_until(prints("2", "sinfo", "--noheader", "--states=idle", "--format=%D"), "two nodes", 60)
        yield environment
        run(folder, "scancel", "--user=root", **environment)
        wait_until(prints("", "squeue", "--noheader"), "the end of every job", 60)


def dvc_catches(number: int, parent: int) -> bool:
    """Whether `parent` has started DVC and DVC handles the signal `number`."""
    for child in psutil.Process(parent).children():
        status = Path(f"/proc/{child.pid}/status").read_text()
        caught = int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16)
        if "dvc.cli" in " ".join(child.cmdline()) and caught & 1 << number - 1:
            return True
    return False


def test_a_job_terminated_while_waiting_runs_nothing_and_leaves_rwlock_empty(tmp_path):
    (tmp_path / "dvc.yaml").write_text("stages: {touch: {cmd: touch made, outs: [made]}}")
    done(tmp_path, "dvc", "init", "--no-scm")
    done(tmp_path, "dvc", "status")
    job = ("sh", "-c", 'exec "$0" touch > log 2>&1', str(ROOT / "cluster/repro.sbatch"))
    with dvc_notes(tmp_path):
        process = start(tmp_path, *job, SLURM_JOB_ID="1", SLURM_CPUS_ON_NODE="1")
        wait_until(lambda: dvc_catches(signal.SIGTERM, process.pid), "DVC", 60)
        os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) != 0
    assert "failed to reproduce 'touch'" in (tmp_path / "log").read_text()
    assert not (tmp_path / "made").exists()
    with dvc_notes(tmp_path) as notes:
        assert not notes.get("write") and not notes.get("read")


def test_a_job_array_gives_the_results_of_dvc_repro(study, slurm, tmp_path):
    folder, lock = tmp_path / "clone", tmp_path / "clone/dvc.lock"
    done(tmp_path, "git", "clone", "--quiet", str(study), str(folder))
    done(folder, "dvc", "cache", "dir", "--local", str(study / ".dvc/cache"))
    done(folder, "dvc", "config", "--local", "cache.type", "hardlink")
    # so that DVC writes each entry again
    lock.write_text(re.sub(r"md5: \w+", f"md5: {'f' * 32}", lock.read_text()))

    submitted = done(folder, "cluster/study.sh", "2", **slurm)
    train, finish = re.search(r"train (\d+) with 8 cells, finish (\d+)", submitted).groups()

    def log(job: str) -> str:
        path = folder / f"logs/slurm/{job}.log"
        return path.read_text() if path.exists() else ""

    def once(text: str, task: int, *command: str) -> None:
        wait_until(lambda: text in log(f"train-{train}_{task}"), f"{text} of task {task}", 300)
        done(folder, *command, f"{train}_{task}", **slurm)

    def state(task: int) -> str:
        return done(folder, "squeue", "--noheader", "--format=%T", f"--jobs={train}_{task}", **slurm).strip()

    # like preemption
    once("epoch 1:", 4, "scontrol", "requeuehold")
    wait_until(lambda: state(4) == "PENDING", "the end of task 4", 60)
    with dvc_notes(folder) as notes:
        assert "train@resnet34-scratch" not in str(notes)  # DVC removes the entry when a training ends
        # like a lost node whose process number was reused
        used = {"pid": os.getpid(), "cmd": "dvc repro --single-item train@resnet34-scratch"}
        notes.setdefault("write", {})[str(folder / "models/resnet34-scratch.safetensors")] = used
    done(folder, "scontrol", "release", f"{train}_4", **slurm)
    # like the time limit; Slurm uses the number of the last task for the whole array
    once("Running stage", 7, "scancel", "--batch", "--signal=USR1")
    wait_until(lambda: not done(folder, "squeue", "--noheader", **slurm), "the end of the study", 600)

    assert done(folder, "git", "status", "--porcelain") == ""
    assert "resuming after epoch 1" in log(f"train-{train}_4")
    logs = [*(log(f"train-{train}_{task}") for task in range(8)), log(f"finish-{finish}")]
    assert [text.count("Running stage") for text in logs] == [1, 1, 1, 1, 2, 1, 1, 2, 5]
    after = re.findall("Running stage '(.+?)'", logs[-1])
    assert after == ["evaluate", "fgsm", "corruptions", "robustness", "report"]  # variants: from the cache
    assert not list((folder / ".carcls/checkpoints").iterdir())
