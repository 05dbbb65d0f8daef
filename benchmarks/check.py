"""Check that training has not become slower: exit status 1 below 0.9 of the committed speed.

One epoch of carcls next to one of a plain PyTorch loop, in the same run, on drawn cars at 128 pixels. The
ratio of their times is compared with the one of this kind of processor in benchmarks/ratios.json. A ratio
that is too low is measured again, up to four times, because other work on the machine can disturb it.

    python -m benchmarks.check            # check, as .ci/run does
    python -m benchmarks.check --commit   # write the ratio of this processor to benchmarks/ratios.json
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.common import photographs
from benchmarks.training import PEERS, _carcls, _race, _write
from carcls.learning.device import resolve_precision

COMMITTED = Path(__file__).with_name("ratios.json")
SIZE, IMAGES, CLASSES, ROUNDS, TRIES = 128, 192, 4, 3, 5
LEAST = 0.9  # of the committed ratio; repeated measurements on an idle machine differ by up to 20 %


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commit", action="store_true", help="write the ratio instead of checking it")
    commit = parser.parse_args().commit
    committed = json.loads(COMMITTED.read_text())
    kind = _kind()
    with TemporaryDirectory() as folder:
        _draw(Path(folder))
        if commit:
            committed[kind] = round(median(_ratio(Path(folder)) for _ in range(TRIES)), 2)
            COMMITTED.write_text(json.dumps(committed, indent=2) + "\n")
        elif kind not in committed:
            print(f"{kind}: {_ratio(Path(folder)):.2f} times plain PyTorch. No ratio is committed for it.")
        else:
            _check(Path(folder), kind, committed[kind])


def _check(folder: Path, kind: str, committed: float) -> None:
    for _ in range(TRIES):
        ratio = _ratio(folder)
        print(f"{kind}: {ratio:.2f} times plain PyTorch, committed {committed:.2f}", flush=True)
        if ratio >= LEAST * committed:
            return
    sys.exit(f"Training is slower than {LEAST} of the committed {committed:.2f} times plain PyTorch.")


def _kind() -> str:
    """The processor by vendor, family and model, and the precision of training on it."""
    import torch

    info = Path("/proc/cpuinfo")
    lines = (line.partition(":") for line in (info.read_text() if info.exists() else "").splitlines())
    values = {key.strip(): value.strip() for key, _, value in lines}
    precision = str(resolve_precision("auto", torch.device("cpu"))).removeprefix("torch.")
    return " ".join([*(values.get(key, "?") for key in ("vendor_id", "cpu family", "model")), precision])


def _draw(folder: Path) -> None:
    for number, data in enumerate(photographs(None, IMAGES)):
        path = folder / f"drawn/{number % CLASSES}/{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    _write(folder, argparse.Namespace(path=folder / "drawn", sizes=[SIZE]), IMAGES)


def _ratio(folder: Path) -> float:
    contenders = {"carcls": _carcls, "plain": PEERS["plain"]}
    seconds = _race(contenders, (folder, SIZE, 1, 0), ROUNDS)
    return median(seconds["plain"]) / median(seconds["carcls"])


if __name__ == "__main__":
    main()
