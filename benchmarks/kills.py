"""Kill campaign: check that killed runs of `carcls train` and `dvc repro` resume to equal bytes.

    python -m benchmarks.kills [--train 60] [--repro 40] [--seed 1]

Each round kills the process group with SIGKILL at a random moment, and runs the command again, `carcls train`
with --resume. Every fifth round kills it while a checkpoint, the report or dvc.lock is written. The outputs
are compared with those of an uninterrupted run. The images are the cars of the demo at 32 pixels.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.common import machine, table
from carcls import params
from carcls.demo import photographs as demo

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ["--no-pretrained", "--image-size", "32", "--epochs", "4", "--batch-size", "8", "--device", "cpu"]
TRAIN = [sys.executable, "-m", "carcls.cli", "train"]
REPRO = [str(Path(sys.executable).with_name("dvc")), "repro", "evaluate"]
CODE = ("carcls", "stages", ".dvc", ".dvcignore", ".gitignore", "data", "models", "dvc.yaml")
SMALL = {
    "data": {"image_size": 32, "demo": {"train_per_class": 6, "test_per_class": 2}},
    "augment": {"per_class": {"train": 6, "val": 3}},
    "pretrain": {"images_per_class": 2, "shallow_epochs": 1, "epochs": 1},
    "model": {"arch": "resnet18", "config": "scratch"},
}


class Campaign:
    """A command, the command that resumes it after a kill, and the outputs that must be equal."""

    def __init__(
        self, make: Callable[[Path], None], first: list[str], again: list[str], outputs: str
    ) -> None:
        self.make, self.first, self.again, self.outputs = make, first, again, outputs

    def reference(self, folder: Path) -> tuple[dict[str, str], float]:
        """The digests of the outputs of an uninterrupted run, and its time in seconds."""
        self.make(folder)
        start = time.monotonic()
        assert _run(folder, self.first) == 0, f"the reference run in {folder} failed"
        return self.digests(folder), time.monotonic() - start

    def digests(self, folder: Path) -> dict[str, str]:
        found = [path for pattern in self.outputs.split() for path in folder.glob(pattern) if path.is_file()]
        return {str(path.relative_to(folder)): hashlib.sha256(_content(path)).hexdigest() for path in found}

    def round(self, folder: Path, kill_now: Callable[[Path, float], bool]) -> tuple[str, dict[str, str]]:
        """Kill the command when `kill_now` is true, and resume it. Returns the outcome and the digests."""
        self.make(folder)
        process = subprocess.Popen(self.first, **_surroundings(folder), start_new_session=True)
        start = time.monotonic()
        while process.poll() is None and not kill_now(folder, time.monotonic() - start):
            time.sleep(0.0005)
        killed = process.poll() is None
        if killed:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        begun = not killed or (folder / "results/run/params.yaml").exists() or self.again == self.first
        finished = not killed or (folder / "results/run/report.html").exists()
        ended = 0 if finished else _run(folder, self.again if begun else self.first)
        how = "killed" if killed else "finished first"
        if ended and _unlocked(folder):
            ended, how = _run(folder, self.again), "killed, dvc.lock deleted"
        return how if ended == 0 else "NOT RESUMED", self.digests(folder)


def _content(path: Path) -> bytes:
    """The bytes of a file. dvc.lock is sorted, because DVC writes stages in the order in which they run."""
    if path.name == "dvc.lock":
        return json.dumps(yaml.safe_load(path.read_text()), sort_keys=True).encode()
    return path.read_bytes()


def _unlocked(folder: Path) -> bool:
    """Delete a dvc.lock that a killed DVC left unreadable, as the FAQ in README recommends."""
    if "dvc.lock' validation failed" not in (folder / "log").read_text():
        return False
    (folder / "dvc.lock").unlink()
    return True


def _surroundings(folder: Path) -> dict:
    environment = os.environ | {"PYTHONPATH": str(folder if (folder / "carcls").exists() else ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    log = (folder / "log").open("a")
    return {"cwd": folder, "env": environment, "stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}


def _run(folder: Path, command: list[str]) -> int:
    return subprocess.run(command, **_surroundings(folder)).returncode


def make_photographs(folder: Path) -> None:
    for photograph in demo.photographs(demo.TARGET[:3], 1, 8, 0):
        path = folder / "cars" / photograph.class_name / Path(photograph.name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photograph.data)


def make_project(folder: Path) -> None:
    for name in CODE:
        source, ignore = (
            ROOT / name,
            shutil.ignore_patterns("*.tar", "*.csv", "*.safetensors", "tmp", "cache"),
        )
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    content = params.load(ROOT / "params.yaml").model_dump()
    _update(content, SMALL)
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def _update(content: dict, changes: dict) -> None:
    for key, value in changes.items():
        if isinstance(value, dict):
            _update(content[key], value)
        else:
            content[key] = value


def at(moment: float) -> Callable[[Path, float], bool]:
    return lambda folder, elapsed: elapsed >= moment


def while_writing(patterns: str, number: int) -> Callable[[Path, float], bool]:
    """Kill at the `number`-th time that a temporary file of `patterns` exists, or that dvc.lock changes."""
    seen: set[tuple] = set()

    def kill_now(folder: Path, elapsed: float) -> bool:
        for pattern in patterns.split():
            for path in folder.glob(pattern):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
                seen.add((path, status.st_ino, status.st_mtime_ns if path.name == "dvc.lock" else 0))
        return len(seen) >= number

    return kill_now


TEMPORARY = "results/run/.work/.carcls/checkpoints/.*.tmp results/run/.work/report/.*.tmp results/run/.*.tmp"
CAMPAIGNS = {
    "train": (
        Campaign(
            make_photographs,
            [*TRAIN, "cars", *OPTIONS, "--name", "run"],
            [*TRAIN, "--resume", "run"],
            " ".join(f"results/run/*.{kind}" for kind in ("safetensors", "csv", "json", "html", "tar")),
        ),
        TEMPORARY,
    ),
    "repro": (
        Campaign(make_project, REPRO, REPRO, "dvc.lock metrics/**/* plots/**/* models/*.safetensors"),
        ".carcls/checkpoints/.*.tmp dvc.lock",
    ),
}


def run(name: str, rounds: int, seed: int, keep: Path) -> Counter:
    """The number of rounds with each outcome. The folder of a failed round is moved to `keep`."""
    campaign, written = CAMPAIGNS[name]
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    with TemporaryDirectory() as made:
        expected, seconds = campaign.reference(Path(made) / "reference")
        for number in range(rounds):
            folder = Path(made) / str(number)
            folder.mkdir()
            writing = number % 5 == 4
            kill_now = while_writing(written, rng.randint(1, 5)) if writing else at(rng.uniform(0, seconds))
            how, found = campaign.round(folder, kill_now)
            if found != expected:
                how = f"DIFFERENT ({how})"
            how = f"{how}, {'while writing' if writing else 'at a random moment'}"
            print(f"{name}, round {number + 1} of {rounds}: {how}", flush=True)
            outcomes[how] += 1
            if "DIFFERENT" in how or "NOT" in how:
                shutil.move(folder, keep / f"{name}-{number}")
            else:
                shutil.rmtree(folder)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=60, metavar="ROUNDS")
    parser.add_argument("--repro", type=int, default=40, metavar="ROUNDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("logs"), help="folder for failed rounds")
    arguments = parser.parse_args()
    print(machine())
    arguments.keep.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, rounds in (("train", arguments.train), ("repro", arguments.repro)):
        outcomes = run(name, rounds, arguments.seed, arguments.keep) if rounds else Counter()
        rows += [(name, how, count) for how, count in sorted(outcomes.items())]
    table(("command", "outcome", "rounds"), rows)


if __name__ == "__main__":
    main()
