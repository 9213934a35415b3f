"""`python -m manyviews`, which torchrun wants."""

from manyviews.cli import main

main()
