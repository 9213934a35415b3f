"""What the makers of views of images have in common."""

from collections.abc import Sequence

from manyviews.core.sample import WHOLE, Window


class OfWhole:
    """Makes views of whole images: one piece is decoded, once, for all of them."""

    def windows(
        self, index: int, epoch: int, span: float, around: Sequence[Window] = ()
    ) -> list[Window]:
        """The whole image."""
        return [WHOLE]
