"""What one asks of derivatives: Jacobians, Hessians, products with vectors, and whether they are right.

`derivatives.py` computes them exactly, by backward passes; `checking.py` approximates by difference quotients;
`anomaly.py` finds where the first NaN came from.

Public: `vjp`, `jvp`, `jacobian`, `hvp`, `hessian`; `numeric_gradient`, `gradcheck`, `gradgradcheck`, `GradcheckError`;
`detect_anomaly`, `AnomalyError`.
"""

from .anomaly import AnomalyError, detect_anomaly
from .checking import GradcheckError, gradcheck, gradgradcheck, numeric_gradient
from .derivatives import hessian, hvp, jacobian, jvp, vjp

__all__ = [
    "vjp", "jvp", "jacobian", "hvp", "hessian", "numeric_gradient", "gradcheck", "gradgradcheck", "GradcheckError",
    "detect_anomaly", "AnomalyError",
]  # fmt: skip
