"""A sample becomes views and cues: parameters are drawn, pixels are made, masks are chosen."""

from manyviews.views.image.plain import Plain, normalise

__all__ = ["Plain", "normalise"]
