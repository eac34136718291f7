"""Several sources as one, one after the other."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sosr_timm.data.sources.source import ImageSource


class Joined(ImageSource):
    """The images of several sources of the same classes.

    Args:
        sources: at least one; what is known of the first holds for all.
    """

    def __init__(self, sources: list[ImageSource]):
        self.sources, self.info = sources, sources[0].info
        self.ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _find(self, index: int) -> tuple[ImageSource, int]:
        place = int(np.searchsorted(self.ends, index, side="right"))
        return self.sources[place], index - (int(self.ends[place - 1]) if place else 0)

    def load(self, index: int) -> tuple[Image.Image, int]:
        source, place = self._find(index)
        return source.load(place)

    def read_labels(self) -> np.ndarray:
        return np.concatenate([source.read_labels() for source in self.sources])

    def name(self, index: int) -> str:
        source, place = self._find(index)
        return source.name(place)
