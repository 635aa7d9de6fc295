"""Print the Chebyshev coefficients of `functional.activations.CHEBYSHEV`.

``python -m tests.golden.make_normal_cdf`` where mpmath is installed. erfc(z) = t exp(-z² + h(t)) with t = 2 / (2 + z)
defines h, which is smooth on [0, 1]; it is interpolated in 25 Chebyshev nodes, with 40 digits.
"""

import mpmath as mp

mp.mp.dps = 40
N = 25


def h(t):
    z = 2 * (1 - t) / t
    return mp.log(mp.erfc(z) * mp.exp(z * z) / t)


angles = [mp.pi * (k + mp.mpf(1) / 2) / N for k in range(N)]
values = [h((mp.cos(angle) + 1) / 2) for angle in angles]
for j in range(N):
    c = sum(v * mp.cos(j * angle) for v, angle in zip(values, angles)) * (2 if j else 1) / N
    print(f"{float(c):.16e}")
