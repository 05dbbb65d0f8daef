"""The command `carcls`: what a user does with a trained model."""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from carcls.data.sources.sift import is_photograph
from carcls.errors import InputError, printable, reported
from carcls.process import cores, set_up

if TYPE_CHECKING:  # --help pays for neither
    import numpy as np

    from carcls.learning.inference import Classifier

BATCH = 32  # images that are answered together


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that `arguments` (None: the program's own) name; each imports what it needs."""
    parsed = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names have letters that a terminal may lack
    try:
        with reported():
            parsed.run(parsed)
            sys.stdout.flush()
    except BrokenPipeError:  # `carcls predict ... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("carcls", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser("predict", help="the most probable classes of images")
    predict.add_argument("model", type=Path, metavar="MODEL", help="models/*.safetensors, results/*/model...")
    predict.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="an image, or a folder of them"
    )
    predict.add_argument("--top", type=_count, default=15, metavar="N", help="classes told (default: 15)")
    form = predict.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--csv", action="store_true", help="print CSV: image, rank, class, probability")
    predict.set_defaults(run=_predict)

    export = commands.add_parser("export", help="a model as ONNX")
    export.add_argument("model", type=Path, metavar="MODEL")
    export.add_argument("onnx", type=Path, nargs="?", metavar="ONNX", help="default: MODEL with .onnx")
    export.set_defaults(run=_export)

    web = commands.add_parser("web", help="the page to train, query and compare models, on this machine only")
    web.add_argument("--port", type=int, default=7860)
    web.set_defaults(run=_web)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _predict(arguments: argparse.Namespace) -> None:
    from carcls.learning.inference import Classifier

    set_up()
    classifier = Classifier.load(arguments.model)
    files = [file for named in arguments.images for file in _files(named)]
    refused, told, rows = [], [], csv.writer(sys.stdout, lineterminator="\n")
    if arguments.csv:
        rows.writerow(["image", "rank", "class", "probability"])
    for path, answer in _answers(classifier, files, arguments.top):
        if isinstance(answer, InputError):
            refused.append(printable(str(answer)))
        elif arguments.json:
            top = [{"class": name, "probability": probability} for name, probability in answer]
            told.append({"image": str(path), "top": top})
        elif arguments.csv:
            rows.writerows((path, rank, *row) for rank, row in enumerate(answer, start=1))
        else:
            print(printable(str(path)))
            for rank, (name, probability) in enumerate(answer, start=1):
                print(f"{rank:4}  {probability:.4f}  {printable(name)}")
    if arguments.json:
        print(json.dumps(told, indent=2))  # ASCII, which every locale can print and every reader reads
    if refused:  # the other images have their answer all the same
        raise InputError("\nerror: ".join(refused))


def _answers(
    classifier: "Classifier", files: Sequence[Path], count: int
) -> Iterator[tuple[Path, "list[tuple[str, float]] | InputError"]]:
    """Each of `files` in turn with its `count` most probable classes, or with what is wrong with it."""

    def prepare(path: Path) -> "np.ndarray | InputError":
        try:
            return classifier.prepare(_read(path), str(path))
        except InputError as error:
            return error

    with ThreadPoolExecutor(cores()) as pool:
        for start in tqdm(range(0, len(files), BATCH), unit="batch", disable=len(files) <= BATCH or None):
            some = files[start : start + BATCH]
            prepared = list(pool.map(prepare, some))
            images = [image for image in prepared if not isinstance(image, InputError)]
            tops = iter(classifier.tops(images, count) if images else [])
            for path, image in zip(some, prepared, strict=True):
                yield path, image if isinstance(image, InputError) else next(tops)


def _files(path: Path) -> Sequence[Path]:
    """`path`, or the images in and below it where it is a folder; where it has none, `_read` says so."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if is_photograph(str(file.relative_to(path))))
    return found or [path]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path} holds no images.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None


def _export(arguments: argparse.Namespace) -> None:
    _need("onnx", "onnx", "onnxscript")
    from carcls.learning.export import export

    set_up()
    onnx = arguments.onnx or arguments.model.with_suffix(".onnx")
    export(arguments.model, onnx)
    print(onnx)


def _web(arguments: argparse.Namespace) -> None:
    _need("web", "gradio")
    from carcls.web import keep_gradio_offline

    keep_gradio_offline()
    from carcls.web.server import serve

    set_up()
    serve(arguments.port)


def _need(extra: str, *modules: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            raise InputError(f"This takes the package {module}: run `pip install 'carcls[{extra}]'`.")


if __name__ == "__main__":
    main()
