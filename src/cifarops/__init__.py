"""cifarops: the whole life of an image classifier, from images to a served, promoted and reversible model."""

from importlib.metadata import version

__version__ = version("cifarops")
