"""Where a model looks: Grad-CAM (Selvaraju et al. 2017) of the last convolutions, by captum."""

import torch
from torch import Tensor, nn

from carcls.learning.loading import BATCH_SIZE
from carcls.learning.model import normalise


def heat(model: nn.Module, images: Tensor, answers: Tensor, device: torch.device) -> Tensor:
    """How much each place of `images` (uint8 or float in [0, 1], (n, 3, h, w)) speaks for its class.

    `answers` (int64, (n,)) are the classes. float32 of shape (n, h / 32, w / 32), rounded up, on the CPU: one
    value for each place of layer4's map, of which an image's largest is 1; all 0 where none speaks for it.
    """
    from captum.attr import LayerGradCam  # who asks for no heat does not wait for it, and Matplotlib with it

    model.eval().requires_grad_(False).to(device)
    gradcam = LayerGradCam(model, model.layer4)
    maps = torch.cat(
        [
            gradcam.attribute(normalise(pixels.to(device), model), labels.to(device), relu_attributions=True)
            .detach()[:, 0]
            .cpu()
            for pixels, labels in zip(images.split(BATCH_SIZE), answers.split(BATCH_SIZE), strict=True)
        ]
    )
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
