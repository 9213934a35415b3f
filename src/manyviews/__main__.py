"""`python -m manyviews`, which torchrun wants."""

from manyviews.verbs.cli import main

main()
