"""metrics/fgsm.json and plots/fgsm: the chosen model under the Fast Gradient Sign Method."""

from pathlib import Path

from carcls import params
from carcls.files import write_json
from carcls.imageset.archive import read_columns
from carcls.learning.device import resolve_device
from carcls.learning.loading import ArchiveSet
from carcls.learning.model import check_classes, load_model
from carcls.results.tested import attacked
from stages import stage


@stage
def main() -> None:
    settings = params.load()
    device = resolve_device(settings.train.device)
    path = Path(f"models/{settings.model.arch}-{settings.model.config}.safetensors")
    (model, info), images = load_model(path), ArchiveSet(Path("data/images/test.tar"))
    check_classes(path, info, sorted(set(read_columns(Path("data/images/val.tar"))["class"])))
    metrics = attacked(model, info, images, settings, device, Path("plots/fgsm"))
    write_json(Path("metrics/fgsm.json"), metrics)


if __name__ == "__main__":
    main()
