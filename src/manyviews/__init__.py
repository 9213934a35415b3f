"""manyviews: self-supervised learning on unlabelled images, from a folder to an encoder."""

__version__ = "0.1.0"
