"""Measure the time of `carcls predict` for 1, 20 and 1,000 images, and of the page for one.

The model is an untrained ResNet-18 at 224 pixels, because its predictions do not matter. The rate with 1,000
images is compared with that of the stage `evaluate`, the page with the time of the model.

    python -m benchmarks.predict FOLDER [--images 1000] [--rounds 9]

FOLDER contains JPEGs at any depth.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx

from benchmarks.common import machine, photographs, table
from carcls.base import startup
from carcls.data import augment
from carcls.evaluation.scores import predict
from carcls.imageset import archive, images
from carcls.inference.classifier import Classifier
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import MEAN, STD, ModelInfo, build_model, save_model

SIZE, CLASSES = 224, 12
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    startup.set_up()
    print(machine())
    with TemporaryDirectory() as made:
        folder = Path(made)
        model = folder / "models/resnet18-pretrained.safetensors"
        classes = [f"class {number}" for number in range(CLASSES)]
        info = ModelInfo("resnet18", "pretrained", classes, SIZE, MEAN, STD, 0.5, 1)
        save_model(model, build_model("resnet18", CLASSES, seed=1), info)
        for number, data in enumerate(photographs(arguments.path, arguments.images)):
            path = folder / f"pictures/{number:05}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
        _command(folder, model, arguments.images)
        _page(folder, model, arguments.rounds)


def _command(folder: Path, model: Path, count: int) -> None:
    pictures = sorted((folder / "pictures").iterdir())
    seconds = {}
    for number in (1, 20, count):
        took = [_timed(model, pictures[:number]) for _ in range(3 if number <= 20 else 1)]
        seconds[number] = median(took)
    start_up = seconds[1]
    rate = (count - 1) / (seconds[count] - start_up)
    evaluated = _evaluated(folder, model, pictures)
    table(
        ("`carcls predict`", "s", ""),
        [
            ("1 picture", f"{seconds[1]:.2f}", ""),
            ("20 pictures", f"{seconds[20]:.2f}", f"{seconds[20] / seconds[1]:.2f} times one"),
            (f"{count:,} pictures", f"{seconds[count]:.1f}", f"{rate:.0f} images/s after start-up"),
            (
                "`evaluate`, the same pictures",
                "",
                f"{evaluated:.0f} images/s; `predict` has {rate / evaluated:.2f} of this rate",
            ),
        ],
    )


def _timed(model: Path, pictures: list[Path]) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "carcls.cli", "predict", str(model), *map(str, pictures), "--csv"]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _evaluated(folder: Path, model: Path, pictures: list[Path]) -> float:
    """Images/s from photographs to logits, with the functions of `augment` and `evaluate`."""
    classifier = Classifier.load(model)
    start = time.perf_counter()
    with archive.create(folder / "test.tar", augment.COLUMNS) as writer:
        for picture in pictures:
            image = images.resize(images.decode(picture.read_bytes(), picture.name), SIZE)
            row = {"label": 0, "class": "a", "source": picture.name, "operations": ""}
            writer.add(picture.name, images.encode(image, 95), **row)
    predict(classifier.model, ArchiveSet(folder / "test.tar"), resolve_device("cpu"))
    return len(pictures) / (time.perf_counter() - start)


def _page(folder: Path, model: Path, rounds: int) -> None:
    picture = next((folder / "pictures").iterdir())
    classifier = Classifier.load(model)
    own = []
    for _ in range(rounds):
        start = time.perf_counter()
        classifier.answer(classifier.prepare(picture.read_bytes(), picture.name))
        own.append(time.perf_counter() - start)
    command = [sys.executable, "-m", "carcls.cli", "web", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout  # a pipe
        [address] = re.findall(r"http://\S+", server.stdout.readline())
        asked = [_ask(address, model.relative_to(folder), picture) for _ in range(rounds)]
        server.terminate()
    ours, page = median(own), median(asked)
    rows = [
        ("the model", f"{1000 * ours:.0f}", ""),
        ("the page", f"{1000 * page:.0f}", f"{page / ours:.2f} times"),
    ]
    table((f"one picture, median of {rounds}", "ms", ""), rows)


def _ask(address: str, model: Path, picture: Path) -> float:
    """Seconds until the page returns the prediction for an image that was uploaded before."""
    with httpx.Client(base_url=address, timeout=60) as client:
        functions = client.get("/config").json()["dependencies"]
        [number] = {function["id"] for function in functions if function["api_name"] == "_predict"}
        uploaded = client.post(
            "/gradio_api/upload", files={"files": (picture.name, picture.read_bytes())}
        ).json()
        file = {"path": uploaded[0], "orig_name": picture.name, "meta": {"_type": "gradio.FileData"}}
        body = {
            "data": [str(model), file, False, False],
            "fn_index": number,
            "session_hash": "a",
            "event_data": None,
        }
        start = time.perf_counter()
        client.post("/gradio_api/run/predict", json=body).raise_for_status()
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
