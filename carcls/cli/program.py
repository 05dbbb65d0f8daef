"""The commands and their options. Each command imports what it needs when it runs."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from carcls.base.startup import set_up, set_up_matplotlib
from carcls.cli import attack, predict, train
from carcls.errors import InputError, reported
from carcls.evaluation.attacks import ON_ONE_IMAGE
from carcls.evaluation.example import STEPS
from carcls.files import naming
from carcls.results.settings import preset


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command in `arguments` (default: sys.argv)."""
    set_up_matplotlib()
    with reported():
        _check_streams()
        parsed = _parser().parse_args(arguments)
        try:
            parsed.run(parsed)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has ended, as in `carcls predict ... | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _check_streams() -> None:
    """Make both output streams usable. Raises InputError when standard output is closed."""
    if sys.stderr is None:  # closed: tqdm would fail
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        raise InputError("Standard output is closed: redirect it to a file or to /dev/null.")
    # do not replace a stream that the caller set, such as pytest's
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
            encoding=sys.stdout.encoding,
            errors="backslashreplace",  # a name may have characters that the encoding lacks
            line_buffering=sys.stdout.line_buffering,
        )


class _Output(io.FileIO):
    """Standard output. Its errors contain its name."""

    def write(self, data: Any) -> int:
        with naming(Path("standard output")):
            return super().write(data)


MODEL = "results/resnet18-1/model.safetensors"
COMMANDS = {  # what each does, and examples
    "train": (
        "Train a classifier on a folder of class folders and write its report",
        ("photos", "photos --arch resnet34 --epochs 20", "--resume NAME"),
    ),
    "evaluate": ("Score a model on other photos", (f"{MODEL} other_photos",)),
    "predict": (
        "Print the most probable classes of images",
        (f"{MODEL} car.jpg", f"{MODEL} photos --csv > predictions.csv", f"{MODEL} photos --sort sorted"),
    ),
    "attack": ("Attack images with FGSM, PGD or noise and draw the result", (f"{MODEL} car.jpg",)),
    "export": ("Export a model as ONNX", (MODEL,)),
    "web": ("Serve the web page on this machine", ("--port 8000",)),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "carcls", description="Train a classifier on your own photos and use it."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = (_add_train, _add_evaluate, _add_predict, _add_attack, _add_export, _add_web)
    for (name, (summary, examples)), add_options in zip(COMMANDS.items(), add, strict=True):
        command = commands.add_parser(
            name,
            help=summary[0].lower() + summary[1:],
            description=f"{summary}.",
            epilog="\n".join(["examples:", *(f"  carcls {name} {example}" for example in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add_options(command)
    return parser


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "onnx", type=Path, nargs="?", metavar="ONNX", help="the file to write (default: MODEL with .onnx)"
    )
    parser.set_defaults(run=_export)


def _add_web(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=int,
        default=7860,
        metavar="N",
        help="port of the page; 0: any free port (default: 7860)",
    )
    parser.set_defaults(run=_web)


def _add_train(parser: argparse.ArgumentParser) -> None:
    start = preset()
    config, settings = start.configs[start.model.config], start.train
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="folder of class folders: CLASS/* or {train,test}/CLASS/*"
    )
    options: dict[str, tuple[type, str, Any, str]] = {
        "arch": (str, "NAME", start.model.arch, "resnet18, resnet34 or another ResNet of torchvision"),
        "weights": (str, "imagenet|demo|FILE", start.weights, "pretrained weights, or your own model file"),
        "frozen-layers": (int, "N", config.frozen_layers, "number of first layers to freeze, 0 to 8"),
        "epochs": (int, "N", settings.epochs, "number of epochs"),
        "image-size": (int, "N", start.data.image_size, "image side in pixels"),
        "lr": (float, "X", settings.lr, "learning rate"),
        "batch-size": (int, "N", settings.batch_size, "images per training step"),
        "labels": (str, "FILE", start.data.labels, "CSV of corrections: image, class (or exclude), group"),
        "folds": (int, "K", start.split.folds, "test all images by K-fold cross-validation"),
        "val": (float, "X", start.split.val, "share of the training images to hold out for validation"),
        "keep": (str, "last|best", settings.keep, "epoch to keep; best: by validation F1, needs --val"),
        "tta": (str, "flip|none", settings.tta, "flip: average predictions over an image and its mirror"),
        "normalise": (str, "weights|imagenet|half", settings.normalise, "mean and std of the input"),
        "class-weights": (float, "X", settings.class_weights, "exponent of inverse class frequency in loss"),
        "device": (str, "NAME", settings.device, "auto, cpu, cuda, cuda:N or mps"),
    }  # fmt: skip
    for name, (kind, metavar, default, meaning) in options.items():
        description = f"{meaning} (default: {'none' if default is None else default})"
        parser.add_argument(f"--{name}", type=kind, metavar=metavar, help=description)
    switches = {
        "pretrained": (config.pretrained, "start from --weights"),
        "flip": (settings.flip, "flip images at random; use --no-flip if left and right distinguish classes"),
    }
    for name, (on, meaning) in switches.items():
        description = f"{meaning} (default: {'yes' if on else 'no'})"
        parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=description)
    _add_set(parser)
    parser.add_argument("--name", metavar="NAME", help="new folder in results/ (default: ARCH-NUMBER)")
    parser.add_argument("--resume", metavar="NAME", help="continue an interrupted training in results/NAME")
    parser.set_defaults(run=train.train)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="set any other key of params.yaml"
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of class folders with the model's classes"
    )
    _add_set(parser)
    parser.add_argument(
        "--name", metavar="NAME", help="new folder in results/ (default: MODEL-on-FOLDER-NUMBER)"
    )
    parser.set_defaults(run=train.evaluate)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model file (.safetensors)")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="an image or a folder of images"
    )
    parser.add_argument("--top", type=_count, default=15, metavar="N", help="number of classes (default: 15)")
    parser.add_argument(
        "--look", type=Path, metavar="FOLDER", help="write a heat map (Grad-CAM) of each image to this folder"
    )
    parser.add_argument(
        "--reject", action="store_true", help='answer "none of these" to images unlike the training images'
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument(
        "--csv", action="store_true", help="print CSV: image, rank, class, probability, novelty"
    )
    form.add_argument(
        "--sort", type=Path, metavar="FOLDER", help="copy images to FOLDER/CLASS/; FOLDER must be new"
    )
    parser.add_argument(
        "--link", action="store_true", help="with --sort: make symbolic links instead of copies"
    )
    parser.add_argument(
        "--min-probability",
        type=_probability,
        metavar="P",
        help="with --sort: put images whose first class has a lower probability into FOLDER/uncertain "
        f"(default: {predict.MIN_PROBABILITY})",
    )
    parser.set_defaults(run=predict.run)


def _add_attack(parser: argparse.ArgumentParser) -> None:
    epsilon = preset().fgsm.epsilon
    _add_model(parser)
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGE", help="an image or a folder of images"
    )
    parser.add_argument(
        "--attack",
        choices=ON_ONE_IMAGE,
        default="fgsm",
        help="noise has random signs, as a control (default: fgsm)",
    )
    parser.add_argument("--steps", type=int, metavar="N", help=f"steps of PGD (default: {STEPS})")
    parser.add_argument(
        "--target", metavar="CLASS", help="class to move towards (default: away from the prediction)"
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        default=epsilon,
        metavar="X",
        help=f"largest change of a pixel value in [0, 1] (default: {epsilon})",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("attack.png"),
        metavar="PNG",
        help="figure to write (default: attack.png)",
    )
    parser.set_defaults(run=attack.run)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to 1")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a positive integer")
    return int(text)


def _export(arguments: argparse.Namespace) -> None:
    _need("onnx", "onnx", "onnxscript")
    from carcls.inference.export import export

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
            raise InputError(f"This command needs the package {module}: run `pip install 'carcls[{extra}]'`.")
