"""A trained model as ONNX, for programs that do without PyTorch."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from carcls.files import replacing
from carcls.learning.model import infer, load_model

OPSET = 18  # the lowest that PyTorch's exporter writes; onnxruntime reads it from 1.14 on
IR_VERSION = 8  # ONNX's file format of that opset
INPUT = {
    "colours": "RGB",
    "range": [0, 1],
    "normalisation": "in the graph",
    "resize": "to image_size x image_size, the aspect ratio not kept; the mean of the pixels when shrinking",
}


class Answers(nn.Module):
    """`model` with its normalisation and test-time augmentation: takes float32 in [0, 1]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return infer(self.model, images)


def export(model: Path, onnx: Path) -> None:
    """Write the model file `model` as the ONNX file `onnx`.

    Its input `images` is float32 RGB in [0, 1], (n, 3, image_size, image_size), its output `logits` float32,
    (n, classes). The entry `carcls` of its metadata is JSON: class names, image size, how a picture becomes
    `images`, and what else the model file says of itself. Raises InputError as `model.load_model`.
    """
    network, info = load_model(model)
    program = torch.onnx.export(
        Answers(network).eval(),
        # not one image, which the exporter would take for a constant
        (torch.zeros(2, 3, info.image_size, info.image_size),),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        opset_version=OPSET,
        dynamic_shapes={"images": {0: torch.export.Dim("n")}},
        verbose=False,
    )
    assert program is not None  # with dynamo=True there is one
    about = asdict(info) | {"tta": "none" if info.tta == "none" else f"{info.tta}, in the graph"}
    # not beside the image size: who reads them there would normalise what the graph normalises
    read = INPUT | {"normalised_by": {name: about.pop(name) for name in ("mean", "std")}}
    program.model.ir_version = IR_VERSION
    program.model.metadata_props["carcls"] = json.dumps(about | {"input": read})
    with replacing(onnx) as [temporary]:
        program.save(temporary, external_data=False)
