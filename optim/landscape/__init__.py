"""Seeing what an optimizer walks on.

    spectrum = hessian_spectrum(lambda: cross_entropy(model(images), labels), model)
    spectrum.eigenvalues
    spectrum.draw().savefig("spectrum.png")

Public: `surfaces`, functions of two numbers with a shape that is known. For a function and a point, or for a network
and its loss on fixed data: `hessian_spectrum`, `Spectrum`, `condition_number`, `critical_point`, `CriticalPoint`,
`taylor2`, `Taylor2`, `sharpness`, `slice_1d`, `slice_2d`, `Slice`, `random_direction`. For a function on a box:
`convexity`, `Convexity`. For a network and a data set: `gradient_noise`, `GradientNoise`. For a run:
`convergence_rate`, `Rate`. What most of them share is in `landscape.py`.
"""

from . import surfaces
from .convexity import Convexity, convexity
from .critical import CriticalPoint, critical_point
from .noise import GradientNoise, gradient_noise
from .rates import Rate, convergence_rate
from .sharpness import sharpness
from .slices import Slice, random_direction, slice_1d, slice_2d
from .spectrum import Spectrum, condition_number, hessian_spectrum
from .taylor import Taylor2, taylor2

__all__ = [
    "surfaces",
    "hessian_spectrum", "Spectrum", "condition_number",
    "critical_point", "CriticalPoint",
    "taylor2", "Taylor2",
    "sharpness",
    "slice_1d", "slice_2d", "Slice", "random_direction",
    "convexity", "Convexity",
    "gradient_noise", "GradientNoise",
    "convergence_rate", "Rate",
]  # fmt: skip
