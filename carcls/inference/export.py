"""Export a trained model to ONNX, for programs without PyTorch."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from carcls.evaluation.novelty import TrainingFeatures
from carcls.files import replacing
from carcls.inference.classifier import Classifier
from carcls.learning.model import infer_with_features

OPSET = 18  # the lowest that PyTorch's exporter writes; onnxruntime reads it from 1.14 on
IR_VERSION = 8  # ONNX's file format of that opset
INPUT = {
    "colours": "RGB",
    "range": [0, 1],
    "normalisation": "in the graph",
    "resize": "to image_size x image_size, the aspect ratio not kept; the mean of the pixels when shrinking",
}


OUTPUT = {
    "logits": "divided by temperature in the graph; their softmax is the calibrated probability",
    "novelty": "cosine distance to the training images; above novelty_threshold the image is unknown",
}


class Answers(nn.Module):
    """`model` with its normalisation, test-time augmentation and temperature: takes float32 in [0, 1].

    Returns logits, and with `training` the novelty of each image, (n,).
    """

    def __init__(self, model: nn.Module, training: TrainingFeatures | None) -> None:
        super().__init__()
        self.model = model
        self.training_features = training

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        logits, features = infer_with_features(self.model, images)
        if self.training_features is None:
            return (logits,)
        return logits, self.training_features.nearest(features)[0][:, -1]


def export(model: Path, onnx: Path) -> None:
    """Write the model file `model` as the ONNX file `onnx`.

    Its input `images` is float32 RGB in [0, 1], (n, 3, image_size, image_size), its output `logits` float32,
    (n, classes). If the features of the training images are next to the model file, the graph contains them
    and has the output `novelty`, float32, (n,). The metadata entry `carcls` is JSON: class names, image size,
    the resize method, and the metadata of the model file. Raises InputError as `model.load_model`.
    """
    classifier = Classifier.load(model)
    network, info, training = classifier.model, classifier.info, classifier.training
    outputs = ["logits"] if training is None else ["logits", "novelty"]
    program = torch.onnx.export(
        Answers(network, training).eval(),
        # not one image, which the exporter would take for a constant
        (torch.zeros(2, 3, info.image_size, info.image_size),),
        dynamo=True,
        input_names=["images"],
        output_names=outputs,
        opset_version=OPSET,
        dynamic_shapes={"images": {0: torch.export.Dim("n")}},
        verbose=False,
    )
    assert program is not None  # it is None only without dynamo=True
    about = asdict(info) | {"tta": "none" if info.tta == "none" else f"{info.tta}, in the graph"}
    # nested, so that a program does not normalise its images again
    read = INPUT | {"normalised_by": {name: about.pop(name) for name in ("mean", "std")}}
    program.model.ir_version = IR_VERSION
    program.model.metadata_props["carcls"] = json.dumps(
        about | {"input": read, "output": {name: OUTPUT[name] for name in outputs}}
    )
    with replacing(onnx) as [temporary]:
        program.save(temporary, external_data=False)
