"""Image archives as tensors, decoded once if they fit in memory, and otherwise batch by batch in threads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carcls.base.startup import cores
from carcls.imageset.archive import ArchiveReader, read_columns
from carcls.imageset.images import imdecode

BATCH_SIZE = 64  # of every evaluation; another size could change the last bit of a sum
MEMORY_LIMIT = 4 << 30  # bytes of decoded images or features; a constant, so that runs are comparable
THREADS = cores()  # each decodes one of the next batches
CPU = torch.device("cpu")


class ImageSet:
    """Images of one size with their labels.

    `labels`: int64 of shape (n,). `size`: the side of the square images in pixels.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        """`images`: uint8 of shape (n, 3, size, size), or features of frozen layers: (n, c, h, w)."""
        self.labels = labels
        self.size = images.shape[-1]
        self._images: Tensor | None = images

    def __len__(self) -> int:
        return len(self.labels)

    def in_turn(self, batch_size: int) -> Sequence[Tensor]:
        """All places in batches, in order. The last batch may be smaller."""
        return torch.arange(len(self)).split(batch_size)

    @property
    def in_memory(self) -> bool:
        return self._images is not None

    def select(self, places: Sequence[int] | Tensor) -> "ImageSet":
        """The images at `places` as a set in memory."""
        return ImageSet(self.read(places), self.labels[places])

    def read(self, places: Sequence[int] | Tensor) -> Tensor:
        """The images at `places`: uint8, (len(places), 3, size, size), channels last."""
        # copies whole images; indexing with `places` would copy each number separately
        assert self._images is not None  # a set that is not in memory overrides `read`
        rows = self._images.permute(0, 2, 3, 1).index_select(0, torch.as_tensor(places))
        return rows.permute(0, 3, 1, 2)


class ArchiveSet(ImageSet):
    """The images of an archive that `augment` wrote: JPEGs of one size.

    `names`: the names of the images in the archive. `classes`: the sorted names of the classes.
    """

    def __init__(self, tar: Path) -> None:
        """Raises InputError if `tar` or its csv is missing."""
        columns = read_columns(tar)
        self.labels = torch.tensor(columns["label"])
        self.names: list[str] = columns["name"]
        self.classes: list[str] = sorted(set(columns["class"]))
        self._operations = columns["operations"]
        self._reader = ArchiveReader(tar)
        self._spans = list(zip(columns["offset"], columns["size"], strict=True))
        self.size = self._decode(0).shape[0] if len(self) else 0
        self._images = None
        if len(self) * 3 * self.size**2 <= MEMORY_LIMIT:
            with ThreadPoolExecutor(THREADS) as pool:
                self._images = self._read(range(len(self)), pool.map)

    def originals(self, most: int | None = None) -> ImageSet:
        """The images that are no copies of others, in memory and in the order of the archive.

        `most`: so many of each class, evenly spread over it.
        """
        places = torch.tensor([place for place, operations in enumerate(self._operations) if not operations])
        labels, chosen = self.labels[places], []
        for label in labels.unique():
            of_class = places[labels == label]
            count = min(most or len(of_class), len(of_class))
            chosen.append(of_class[torch.arange(count) * len(of_class) // count])
        return self.select(torch.cat(chosen).sort().values)

    def read(self, places: Sequence[int] | Tensor) -> Tensor:
        return super().read(places) if self.in_memory else self._read(places)

    def _decode(self, place: int) -> np.ndarray:
        # `augment` wrote and checked these JPEGs, which have no orientation
        return imdecode(self._reader.read(*self._spans[place]))

    def _read(self, places: Sequence[int] | Tensor, over: Callable = map) -> Tensor:
        """The images at `places`. `over` is `map`, or the `map` of a thread pool."""
        images = np.empty((len(places), self.size, self.size, 3), np.uint8)

        def fill(row: int, place: int) -> None:
            images[row] = self._decode(int(place))

        deque(over(fill, range(len(places)), places), maxlen=0)
        return torch.from_numpy(images).permute(0, 3, 1, 2)


def batches(
    images: ImageSet, places: Sequence[Tensor], device: torch.device = CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """(images uint8, labels int64) on `device` for each batch of `places`.

    Threads read and decode the next batches while the device computes. Images in memory for the CPU are read
    without threads, because indexing in threads wakes OpenMP workers that slow down the model.
    """

    def read(batch: Tensor) -> tuple[Tensor, Tensor]:
        pixels, labels = images.read(batch), images.labels[batch]
        # copies to a GPU are asynchronous only from pinned memory
        return (pixels.pin_memory(), labels.pin_memory()) if device.type == "cuda" else (pixels, labels)

    if images.in_memory and device.type == "cpu":
        yield from map(read, places)
        return
    remaining = iter(places)
    with ThreadPoolExecutor(THREADS) as pool:
        pending = deque(pool.submit(read, batch) for batch in islice(remaining, THREADS + 1))
        while pending:
            pixels, labels = pending.popleft().result()
            yield pixels.to(device, non_blocking=True), labels.to(device, non_blocking=True)
            pending.extend(pool.submit(read, batch) for batch in islice(remaining, 1))
