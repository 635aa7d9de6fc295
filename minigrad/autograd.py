"""What one asks of derivatives: Jacobians, Hessians, products with vectors, and whether they are right.

`derivatives.py` computes them exactly, by backward passes; `checking.py` approximates by difference quotients.

Public: `vjp`, `jvp`, `jacobian`, `hvp`, `hessian`; `numeric_gradient`, `gradcheck`, `gradgradcheck`, `GradcheckError`.
"""

from .checking import GradcheckError, gradcheck, gradgradcheck, numeric_gradient
from .derivatives import hessian, hvp, jacobian, jvp, vjp

__all__ = [
    "vjp", "jvp", "jacobian", "hvp", "hessian", "numeric_gradient", "gradcheck", "gradgradcheck", "GradcheckError",
]  # fmt: skip
