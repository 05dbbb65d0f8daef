"""Heat maps by Grad-CAM (Selvaraju et al. 2017), computed by captum."""

import torch
from torch import Tensor, nn

from carcls.learning.loading import BATCH_SIZE
from carcls.learning.model import normalise

# pixels of the image per cell of the map, in each direction
STRIDES = {"layer4": 32, "layer3": 16, "layer2": 8, "layer1": 4}
CELLS = 4  # in each direction; a coarser map cannot separate parts of a car


def layer(image_size: int) -> str:
    """The layer that `heat` uses: the deepest whose map has at least CELLS x CELLS cells, else layer1.

    `image_size` is the shorter side in pixels.
    """
    return next((name for name, stride in STRIDES.items() if image_size > (CELLS - 1) * stride), "layer1")


def heat(model: nn.Module, images: Tensor, answers: Tensor, device: torch.device) -> Tensor:
    """How much each part of `images` (uint8 or float in [0, 1], (n, 3, h, w)) contributes to a class.

    `answers` (int64, (n,)) are the classes. Returns float32 of shape (n, h / s, w / s), rounded up, on the
    CPU, where s is the stride of `layer`. The maximum of each map is 1; a map is 0 where nothing contributes.
    """
    # imported late, because captum imports Matplotlib, which predictions without heat maps do not need
    from captum.attr import LayerGradCam

    model.eval().requires_grad_(False).to(device)
    gradcam = LayerGradCam(model, getattr(model, layer(min(images.shape[2:]))))
    maps = torch.cat(
        [
            gradcam.attribute(normalise(pixels.to(device), model), labels.to(device), relu_attributions=True)
            .detach()[:, 0]
            .cpu()
            for pixels, labels in zip(images.split(BATCH_SIZE), answers.split(BATCH_SIZE), strict=True)
        ]
    )
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
