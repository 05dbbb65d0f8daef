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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("carcls", description="Models of your own photographs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands.add_parser("train", help="a model of a folder of classes, and its report"))
    _add_evaluate(commands.add_parser("evaluate", help="scores and report of a model on other photographs"))
    _add_predict(commands.add_parser("predict", help="the most probable classes of images"))
    _add_attack(commands.add_parser("attack", help="images under FGSM, PGD or noise, as a picture"))

    export = commands.add_parser("export", help="a model as ONNX")
    export.add_argument("model", type=Path, metavar="MODEL")
    export.add_argument("onnx", type=Path, nargs="?", metavar="ONNX", help="default: MODEL with .onnx")
    export.set_defaults(run=_export)

    web = commands.add_parser("web", help="the page to train, query and compare models, on this machine only")
    web.add_argument("--port", type=int, default=7860)
    web.set_defaults(run=_web)
    return parser


def _add_train(parser: argparse.ArgumentParser) -> None:
    start = preset()
    config, settings = start.configs[start.model.config], start.train
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="CLASS/* or {train,test}/CLASS/*")
    defaults = {
        "arch": (start.model.arch, "resnet18, resnet34, ..."),
        "weights": (start.weights, "where it starts: imagenet, demo or a file"),
        "frozen_layers": (config.frozen_layers, "0 to 8 of the first layers stay as they are"),
        "epochs": (settings.epochs, ""),
        "image_size": (start.data.image_size, "pixels a side"),
        "lr": (settings.lr, "learning rate"),
        "batch_size": (settings.batch_size, ""),
        "device": (settings.device, "auto, cpu, cuda, cuda:N or mps"),
    }
    for name, (default, meaning) in defaults.items():
        told = f"{meaning} (default: {default})".strip()
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), metavar="X", help=told)
    parser.add_argument(
        "--pretrained",
        action=argparse.BooleanOptionalAction,
        help=f"start from weights (default: {config.pretrained})",
    )
    _add_set(parser)
    parser.add_argument("--name", help="of the new folder in results/ (default: ARCH-NUMBER)")
    parser.add_argument("--resume", metavar="NAME", help="go on with a training that was cut off")
    parser.set_defaults(run=train.train)


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other key of params.yaml"
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the classes that the model knows")
    _add_set(parser)
    parser.add_argument("--name", help="of the new folder in results/ (default: MODEL-on-FOLDER-NUMBER)")
    parser.set_defaults(run=train.evaluate)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="models/*.safetensors, results/*/model...")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="an image, or a folder of them")
    parser.add_argument("--top", type=_count, default=15, metavar="N", help="classes told (default: 15)")
    parser.add_argument("--look", type=Path, metavar="OUT", help="a folder for pictures of where it looked")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of a table")
    form.add_argument("--csv", action="store_true", help="print CSV: image, rank, class, probability")
    parser.set_defaults(run=predict.run)


def _add_attack(parser: argparse.ArgumentParser) -> None:
    epsilon = preset().fgsm.epsilon
    _add_model(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="an image, or a folder of them")
    parser.add_argument(
        "--attack", choices=ON_ONE_IMAGE, default="fgsm", help="noise: the control (default: fgsm)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help=f"of PGD (default: {STEPS})")
    parser.add_argument("--target", metavar="CLASS", help="to be answered (default: any but the answer)")
    parser.add_argument(
        "--epsilon",
        type=float,
        default=epsilon,
        metavar="E",
        help=f"how far each value of [0, 1] may move (default: {epsilon})",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("attack.png"), metavar="PNG", help="default: attack.png"
    )
    parser.set_defaults(run=attack.run)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
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
