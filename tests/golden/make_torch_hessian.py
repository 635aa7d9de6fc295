"""Write `torch_hessian.npz`: loss, gradient and Hessian of a small network (`mlp` of `paths.py`) by PyTorch.

Run from the root of the checkout where PyTorch is installed: ``python -m tests.golden.make_torch_hessian``. The file in
the repository was made by PyTorch 2.13.0 (CPU).
"""

import numpy as np
import torch

from tests.golden.paths import HERE, PROBLEMS

if __name__ == "__main__":
    loss_of, start, _ = PROBLEMS["mlp"]
    shapes = [part.shape for part in start]
    x = torch.cat([torch.tensor(part).ravel() for part in start])

    def loss(x):
        parts = torch.split(x, [int(np.prod(shape)) for shape in shapes])
        return loss_of([p.reshape(s) for p, s in zip(parts, shapes)], torch.tensor, torch.tanh)

    np.savez(
        HERE / "torch_hessian.npz",
        loss=loss(x).numpy(),
        g=torch.autograd.functional.jacobian(loss, x).numpy(),
        H=torch.autograd.functional.hessian(loss, x).numpy(),
    )
