"""Seeing what an optimizer walks on.

Public: `surfaces`, functions of two numbers with a shape that is known.
"""

from . import surfaces

__all__ = ["surfaces"]
