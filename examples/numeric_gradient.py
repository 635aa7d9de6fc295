"""How small should the step of a difference quotient be?

The derivative of a function can be had by moving its input by h and looking what changes: ahead only, or ahead and
behind (central). A smaller step cuts a shorter chord, which is closer to the tangent. But it also subtracts two numbers
that are nearly equal: the digits that they share are lost, and what is left is mostly rounding error, divided by a
small h. So the error falls, turns, and rises again. Here is f(x) = exp(sin 3x) at 200 points between 0 and 1, in
float32 and in float64, with steps from 1/2 to 2⁻⁴⁸, against the exact derivative by backward in float64.

What it shows: the quotient ahead is best near h = √u (u is the precision of the numbers, 6e-8 or 1e-16) and leaves half
of their digits; the central one near ∛u, and leaves two thirds. In float32 that is less than five digits, too few to
tell a slightly wrong rule from a right one, so `gradcheck` wants float64 and moves by 1e-6. Backward takes no step: it
keeps nearly all digits, in float32 too.

    python examples/numeric_gradient.py

The picture goes to examples/output/numeric_gradient.png.
"""

from pathlib import Path

import matplotlib
import numpy as np

import minigrad as mg

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
STEPS = [2.0**-k for k in range(1, 49)]  # powers of two, so that dividing by them rounds nothing


def f(x):
    return mg.exp(mg.sin(3 * x))


def ahead(x, h):
    return (f(x + h) - f(x)) / h


def central(x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def by_backward(points):
    """f′ at each point: the gradient of the sum, as every point has a term of its own."""
    x = mg.tensor(points, requires_grad=True)
    f(x).sum().backward()
    return x.grad.numpy()


def relative_error(found, exact):
    """By the root of the mean square over all points, so that a zero of f′ does no harm."""
    return float(np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)))


def main():
    OUTPUT.mkdir(exist_ok=True)
    points = np.linspace(0, 1, 200, dtype=np.float32)  # float64 holds them exactly, so both answer the same question
    exact = by_backward(points.astype(np.float64))

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    print("numbers  quotient  best step  error left")
    for dtype, colour in ((np.float32, "tab:orange"), (np.float64, "tab:blue")):
        x, name = points.astype(dtype), dtype.__name__
        for quotient, line in ((ahead, "--"), (central, "-")):
            errors = [relative_error(quotient(x, h), exact) for h in STEPS]
            best = int(np.argmin(errors))
            print(f"{name}  {quotient.__name__:8}  {STEPS[best]:9.0e}  {errors[best]:10.0e}")
            axes.loglog(STEPS, errors, line, color=colour, label=f"{name}, {quotient.__name__}")
            axes.plot(STEPS[best], errors[best], "o", color=colour)
    error = relative_error(by_backward(points), exact)
    print(f"float32  backward         -  {error:10.0e}")
    axes.axhline(error, color="tab:orange", linestyle=":", label="float32, backward")
    axes.set(xlabel="step h", ylabel="relative error of f′", ylim=(1e-12, 30), title="f(x) = exp(sin 3x)")
    axes.invert_xaxis()  # to the right the step gets smaller
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(OUTPUT / "numeric_gradient.png", dpi=120)
    print("picture: examples/output/numeric_gradient.png")


if __name__ == "__main__":
    main()
