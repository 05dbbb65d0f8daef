"""Measure the data stages at the paper's size: 196 classes, 16,185 photographs in, 122,448 images out.

The benchmark copies the project to a temporary folder (in `--work`; 20 GB at 400 pixels). It repeats a few
photographs under different names, and makes each copy unique by a JPEG comment. Three sizes show how time and
memory grow. Time is that of `dvc repro --single-item STAGE`, which also hashes the outputs and copies them to
DVC's cache. Memory is the peak of all its processes together; shared pages are counted once per process.

    python -m benchmarks.scale [FOLDER | ZIP | TAR] [--image-size 400]
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil
import yaml

from benchmarks.common import described, machine, photographs, table

ROOT = Path(__file__).parents[1]
CODE = (
    "carcls",
    "stages",
    "dvc.yaml",
    ".dvcignore",
    ".gitignore",
    "data/.gitignore",
    ".dvc/config",
    ".dvc/plots",
)
CLASSES, TRAIN, TEST = 196, 8144, 8041  # Stanford Cars
GROWTH = (3, 16, CLASSES)  # classes; `augment` uses several processes even for the smallest
STAGES = {  # with their outs
    "download": ["data/raw.*"],
    "split": ["data/split.csv"],
    "augment": ["data/images/*"],
}


class Cost(NamedTuple):
    """The cost of a command: seconds, CPU seconds, and bytes of memory at the peak."""

    wall: float
    cpu: float
    memory: int

    def cells(self) -> tuple[str, str, str]:
        return f"{self.wall:.1f}", f"{self.cpu:.1f}", f"{self.memory / 1e6:.0f}"


def main() -> None:
    arguments = _arguments()
    sources = photographs(arguments.path, arguments.photographs)
    print(machine())
    print(described(sources, arguments.path.name if arguments.path else "the demo") + ", repeated")
    print(f"to {arguments.image_size} x {arguments.image_size}\n", flush=True)
    growth = []
    for classes in sorted(arguments.classes):
        with TemporaryDirectory(dir=arguments.work) as folder:
            project = Path(folder, "project")
            counts = {"download": _write_project(project, sources, classes, arguments.image_size)}
            _dvc(project, "repro", "--single-item", "watch_photographs")
            costs = {stage: _dvc(project, "repro", "--single-item", stage) for stage in STAGES}
            counts["augment"] = sum(_lines(csv) for csv in (project / "data/images").glob("*.csv"))
            for stage, images in counts.items():
                each = f"{1000 * costs[stage].cpu / images:.2f}"
                growth.append((stage, f"{images:,}", *costs[stage].cells(), each))
            if classes == max(arguments.classes):
                read, made = counts.values()
                print(f"{classes} classes, {read:,} photographs in, {made:,} images out\n")
                _report(project, costs)
    print("Growth with the number of images:\n")
    growth.sort(key=lambda row: row[0], reverse=True)
    table(("stage", "images", "s", "CPU s", "peak MB", "CPU ms per image"), growth)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "path", nargs="?", type=Path, help="folder, zip or tar of JPEGs (default: demo images)"
    )
    parser.add_argument("--photographs", type=int, default=200, help="number of different photographs")
    parser.add_argument("--image-size", type=int, default=400, help="image side in pixels")
    parser.add_argument(
        "--classes", type=int, nargs="+", default=GROWTH, help="numbers of classes to measure"
    )
    parser.add_argument("--work", type=Path, help="parent of the temporary folder")
    return parser.parse_args()


def _write_project(project: Path, sources: list[bytes], classes: int, image_size: int) -> int:
    """Write the code, the paper's params and photographs of `classes` classes. Returns their number."""
    for name in CODE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, project / name)
    settings = yaml.safe_load((ROOT / "presets/paper.yaml").read_text())
    settings["data"] |= {"source": "folder", "folder": "../photographs", "image_size": image_size}
    (project / "params.yaml").write_text(yaml.safe_dump(settings))
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    count = 0
    for split, images in (("train", TRAIN), ("test", TEST)):
        for label in range(classes):
            folder = project.parent / "photographs" / split / f"class {label:03}"
            folder.mkdir(parents=True)
            for number in range(images * label // CLASSES, images * (label + 1) // CLASSES):
                (folder / f"{number:05}.jpg").write_bytes(_unique(sources[count % len(sources)], count))
                count += 1
    return count


def _unique(jpeg: bytes, number: int) -> bytes:
    """`jpeg` with `number` in a comment: different bytes, same pixels."""
    return jpeg[:2] + b"\xff\xfe\x00\x0a%08d" % number + jpeg[2:]


def _dvc(project: Path, *arguments: str) -> Cost:
    """Run DVC in `project`. Measures it and the processes that it starts."""
    before, start = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [sys.executable, "-m", "dvc", *arguments]
    environment = {**os.environ, "PATH": path}
    process = psutil.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _memory(process))
        time.sleep(0.05)
    wall, after = time.perf_counter() - start, getrusage(RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed.")
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak)


def _memory(process: psutil.Process) -> int:
    """Bytes in memory of `process` and its descendants."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # it has ended
            pass
    return total


def _report(project: Path, costs: dict[str, Cost]) -> None:
    """Print the cost of each stage, and the time of DVC without work."""
    rows = []
    for stage, outs in STAGES.items():
        disk = sum(file.stat().st_size for out in outs for file in project.glob(out))
        rows.append((stage, *costs[stage].cells(), f"{disk / 1e6:,.1f}"))
    table(("stage", "s", "CPU s", "peak MB", "MB written"), rows)
    files = [file for file in (project / ".dvc/cache").rglob("*") if file.is_file()]
    print(
        f"DVC's cache has copies of these files: {sum(file.stat().st_size for file in files) / 1e9:.2f} GB.\n"
    )
    idle = []
    for arguments in (["status"], ["repro", "augment"]):
        times = [_dvc(project, *arguments).wall for _ in range(3)]
        idle.append((f"`dvc {' '.join(arguments)}`", f"{median(times):.1f}", f"{max(times):.1f}"))
    table(("without work", "s, median of 3", "slowest"), idle)


def _lines(csv: Path) -> int:
    with open(csv) as file:
        return sum(1 for _ in file) - 1


if __name__ == "__main__":
    main()
