"""Training steps of networks: two multi-layer perceptrons, a convolutional network, a transformer block."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from tests.benchmarks.workload import Step, Workload, leaves, normal, set_parameters


def linear_weights(*sizes: int) -> list[Any]:
    """Weight (out, in) and bias of each layer between the sizes."""
    pairs = [(normal(m, n, scale=1 / math.sqrt(n)), normal(m, scale=0.1)) for n, m in pairwise(sizes)]
    return [array for pair in pairs for array in pair]


def softmax_loss(scores: Any, target: Any) -> tuple[Any, Any]:
    """By hand: the mean cross-entropy of a batch, and its gradient."""
    rows = np.arange(len(target))
    shifted = scores - scores.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1, keepdims=True)
    loss = (np.log(total[:, 0]) - shifted[rows, target]).mean()
    g = e / total
    g[rows, target] -= 1
    g /= np.float32(len(target))
    return loss, g


class SmallMLP(Workload):
    title = "2-16-16-1 tanh MLP, batch 32, SGD step"
    hold = 0.45
    lr = 0.1

    def __init__(self) -> None:
        self.x, self.y = normal(32, 2), normal(32, 1)
        self.weights = linear_weights(2, 16, 16, 1)

    def framework(self, lib: Any, optim: Any) -> Step:
        nn = lib.nn
        net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
        params = set_parameters(net, self.weights)
        x, y, loss_fn = lib.tensor(self.x), lib.tensor(self.y), nn.MSELoss()
        opt = optim.SGD(net.parameters(), lr=self.lr)

        def step() -> Any:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            return loss, params

        return step

    def numpy(self) -> Step:
        params = W1, b1, W2, b2, W3, b3 = [w.copy() for w in self.weights]
        x, y, lr = self.x, self.y, self.lr

        def step() -> Any:
            h1 = np.tanh(x @ W1.T + b1)
            h2 = np.tanh(h1 @ W2.T + b2)
            error = h2 @ W3.T + b3 - y
            loss = (error * error).mean()

            g3 = error * (2 / error.size)
            g2 = g3 @ W3
            g2 -= g2 * h2 * h2
            g1 = g2 @ W2
            g1 -= g1 * h1 * h1
            for W, b, g, h in ((W1, b1, g1, x), (W2, b2, g2, h1), (W3, b3, g3, h2)):
                W -= lr * (g.T @ h)
                b -= lr * g.sum(axis=0)
            return loss, params

        return step


class LargeMLP(Workload):
    title = "784-256-128-10 MLP, batch 64, Adam step"
    hold = 0.9
    tolerance = 1e-4  # Adam's first steps are ± lr: rounding of a gradient near 0 becomes a whole step
    lr = 1e-3

    def __init__(self) -> None:
        self.x = normal(64, 784)
        self.y = np.arange(64) % 10
        self.weights = linear_weights(784, 256, 128, 10)

    def framework(self, lib: Any, optim: Any) -> Step:
        nn = lib.nn
        net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
        params = set_parameters(net, self.weights)
        x, y, loss_fn = lib.tensor(self.x), lib.tensor(self.y), nn.CrossEntropyLoss()
        opt = optim.Adam(net.parameters(), lr=self.lr, eps=1e-4)

        def step() -> Any:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            return loss, params

        return step

    def numpy(self) -> Step:
        params = W1, b1, W2, b2, W3, b3 = [w.copy() for w in self.weights]
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
        x, y, lr, t = self.x, self.y, self.lr, 0

        def step() -> Any:
            nonlocal t
            h1 = np.maximum(x @ W1.T + b1, 0)
            h2 = np.maximum(h1 @ W2.T + b2, 0)
            loss, g3 = softmax_loss(h2 @ W3.T + b3, y)

            g2 = g3 @ W3
            g2 *= h2 > 0
            g1 = g2 @ W2
            g1 *= h1 > 0
            grads = [g1.T @ x, g1.sum(axis=0), g2.T @ h1, g2.sum(axis=0), g3.T @ h2, g3.sum(axis=0)]
            t += 1
            for p, g, (m, v) in zip(params, grads, moments):
                m *= 0.9
                m += 0.1 * g
                v *= 0.999
                g *= g
                g *= 1 - 0.999
                v += g
                change = np.sqrt(v)
                change *= 1 / math.sqrt(1 - 0.999**t)
                change += 1e-4
                np.divide(m, change, out=change)
                change *= lr / (1 - 0.9**t)
                p -= change
            return loss, params

        return step


class CNN(Workload):
    title = "CNN 1→16→32 on 32×28×28, SGD step"
    hold, hold_memory = 1.4, ("NumPy", 1.0)
    tolerance = 1e-4
    lr = 0.05

    def __init__(self) -> None:
        self.x = normal(32, 1, 28, 28)
        self.y = np.arange(32) % 10
        self.weights = [
            *(normal(16, 1, 3, 3, scale=1 / 3), normal(16, scale=0.1)),
            *(normal(32, 16, 3, 3, scale=1 / 12), normal(32, scale=0.1)),
            *linear_weights(32 * 7 * 7, 10),
        ]

    def framework(self, lib: Any, optim: Any) -> Step:
        nn = lib.nn
        net = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(32 * 7 * 7, 10)),
        )
        params = set_parameters(net, self.weights)
        x, y, loss_fn = lib.tensor(self.x), lib.tensor(self.y), nn.CrossEntropyLoss()
        opt = optim.SGD(net.parameters(), lr=self.lr)

        def step() -> Any:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            return loss, params

        return step

    def numpy(self) -> Step:
        params = K1, c1, K2, c2, W, b = [w.copy() for w in self.weights]
        x, y, lr = self.x.swapaxes(0, 1).copy(), self.y, self.lr  # images are (C, N, H, W) here

        def step() -> Any:
            columns1 = windows(x)
            z1 = np.maximum((K1.reshape(16, -1) @ columns1 + c1[:, None]).reshape(16, 32, 28, 28), 0)
            h1 = pool(z1)
            columns2 = windows(h1)
            z2 = np.maximum((K2.reshape(32, -1) @ columns2 + c2[:, None]).reshape(32, 32, 14, 14), 0)
            h2 = pool(z2)
            features = h2.swapaxes(0, 1).reshape(32, -1)
            loss, g = softmax_loss(features @ W.T + b, y)

            gW, gb = g.T @ features, g.sum(axis=0)
            g2 = unpool((g @ W).reshape(32, 32, 7, 7).swapaxes(0, 1), z2, h2)
            g2 *= z2 > 0
            g2 = g2.reshape(32, -1)
            gK2, gc2 = g2 @ columns2.T, g2.sum(axis=1)
            g1 = unpool(unwindows(K2.reshape(32, -1).T @ g2, h1.shape), z1, h1)
            g1 *= z1 > 0
            g1 = g1.reshape(16, -1)
            gK1, gc1 = g1 @ columns1.T, g1.sum(axis=1)
            for p, g in zip(params, (gK1, gc1, gK2, gc2, gW, gb)):
                p -= lr * g.reshape(p.shape)
            return loss, params

        return step


def windows(x: Any) -> Any:
    """The 3×3 windows around every pixel, as columns: ``(C, N, H, W) -> (C * 9, N * H * W)``."""
    c, n, h, w = x.shape
    framed = np.zeros((c, n, h + 2, w + 2), x.dtype)
    framed[:, :, 1:-1, 1:-1] = x
    columns = np.empty((c, 3, 3, n, h, w), x.dtype)
    for i in range(3):
        for j in range(3):
            columns[:, i, j] = framed[:, :, i : i + h, j : j + w]
    return columns.reshape(c * 9, -1)


def unwindows(columns: Any, shape: tuple[int, ...]) -> Any:
    """Columns added back to the pixels they came from."""
    c, n, h, w = shape
    columns = columns.reshape(c, 3, 3, n, h, w)
    framed = np.zeros((c, n, h + 2, w + 2), columns.dtype)
    for i in range(3):
        for j in range(3):
            framed[:, :, i : i + h, j : j + w] += columns[:, i, j]
    return framed[:, :, 1:-1, 1:-1]


CORNERS = [(..., slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]


def pool(x: Any) -> Any:
    """The largest pixel of each 2×2 square."""
    a, b, c, d = (x[corner] for corner in CORNERS)
    return np.maximum(np.maximum(a, b), np.maximum(c, d))


def unpool(g: Any, x: Any, z: Any) -> Any:
    """g at the first pixel of each square that is its largest, 0 elsewhere."""
    out = np.empty_like(x)
    free = np.ones(z.shape, bool)
    for corner in CORNERS:
        won = x[corner] == z
        won &= free
        free ^= won
        np.multiply(g, won, out=out[corner])
    return out


class TransformerBlock(Workload):
    """h = x + MHA(norm(x)), then h + W₂ gelu(W₁ norm(h)): 4 heads, a hidden layer of 256, GELU's tanh form."""

    title = "transformer block 16×64×64, forward + backward"
    hold = 1.3
    tolerance = 1e-4
    heads, width = 4, 64

    def __init__(self) -> None:
        d = self.width
        self.x, self.r = normal(16, 64, d), normal(16, 64, d, seed=1)
        norms = [1 + normal(d, scale=0.1), normal(d, scale=0.1)]
        self.weights = [*norms, *linear_weights(d, 3 * d), *linear_weights(d, d), *norms, *linear_weights(d, 4 * d, d)]

    def framework(self, lib: Any, optim: Any) -> Step:
        leaf = leaves(lib, [self.x, *self.weights])
        x, a1, d1, W_in, b_in, W_out, b_out, a2, d2, W1, b1, W2, b2 = leaf
        r, heads, width, F = lib.tensor(self.r), self.heads, self.width, lib.nn.functional

        def step() -> Any:
            n, s, _ = x.shape
            qkv = F.linear(F.layer_norm(x, (width,), a1, d1), W_in, b_in).reshape(n, s, 3, heads, -1)
            q, k, v = (qkv[:, :, j].swapaxes(1, 2) for j in range(3))
            mixed = F.scaled_dot_product_attention(q, k, v).swapaxes(1, 2).reshape(n, s, width)
            h = x + F.linear(mixed, W_out, b_out)
            h = h + F.linear(F.gelu(F.linear(F.layer_norm(h, (width,), a2, d2), W1, b1), approximate="tanh"), W2, b2)
            loss = (h * r).sum()
            for p in leaf:
                p.grad = None
            loss.backward()
            return loss, [p.grad for p in leaf]

        return step

    def numpy(self) -> Step:
        x, a1, d1, W_in, b_in, W_out, b_out, a2, d2, W1, b1, W2, b2 = self.x, *self.weights
        r, heads, width = self.r, self.heads, self.width
        n, s, _ = x.shape
        scale, c = 1 / math.sqrt(width // heads), math.sqrt(2 / math.pi)

        def norm(x: Any, a: Any, d: Any) -> Any:
            x = x - x.mean(axis=-1, keepdims=True)
            x *= 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
            return x * a + d

        def norm_gradients(g: Any, x: Any, a: Any) -> Any:
            x = x - x.mean(axis=-1, keepdims=True)
            scale = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5)
            x *= scale
            ga, gd = (g * x).sum(axis=(0, 1)), g.sum(axis=(0, 1))
            g = g * a
            g -= g.mean(axis=-1, keepdims=True) + x * (g * x).mean(axis=-1, keepdims=True)
            g *= scale
            return g, ga, gd

        def linear_gradients(g: Any, x: Any, W: Any) -> Any:
            flat = g.reshape(-1, len(W))
            return g @ W, flat.T @ x.reshape(len(flat), -1), flat.sum(axis=0)

        def step() -> Any:
            u = norm(x, a1, d1)
            q, k, v = (u @ W_in.T + b_in).reshape(n, s, 3, heads, -1).transpose(2, 0, 3, 1, 4)
            attention = q @ k.swapaxes(2, 3)
            attention *= scale
            attention -= attention.max(axis=-1, keepdims=True)
            np.exp(attention, out=attention)
            attention /= attention.sum(axis=-1, keepdims=True)
            mixed = (attention @ v).swapaxes(1, 2).reshape(n, s, width)
            h = x + mixed @ W_out.T + b_out
            w = norm(h, a2, d2)
            y = w @ W1.T + b1
            t = np.tanh(c * (y + 0.044715 * (y * y * y)))
            e = 0.5 * y * (1 + t)
            loss = ((h + e @ W2.T + b2) * r).sum()

            ge, gW2, gb2 = linear_gradients(r, e, W2)
            ge *= 0.5 * (1 + t) + (0.5 * c) * y * (1 - t * t) * (1 + (3 * 0.044715) * (y * y))
            gw, gW1, gb1 = linear_gradients(ge, w, W1)
            gh, ga2, gd2 = norm_gradients(gw, h, a2)
            gh += r
            g, gW_out, gb_out = linear_gradients(gh, mixed, W_out)
            g = g.reshape(n, s, heads, -1).swapaxes(1, 2)
            g_qkv = np.empty((3, n, heads, s, width // heads), g.dtype)
            np.matmul(attention.swapaxes(2, 3), g, out=g_qkv[2])
            g = g @ v.swapaxes(2, 3)
            g -= (g * attention).sum(axis=-1, keepdims=True)
            g *= attention
            g *= scale
            np.matmul(g, k, out=g_qkv[0])
            np.matmul(g.swapaxes(2, 3), q, out=g_qkv[1])
            g, gW_in, gb_in = linear_gradients(g_qkv.transpose(1, 3, 0, 2, 4).reshape(n, s, 3 * width), u, W_in)
            gx, ga1, gd1 = norm_gradients(g, x, a1)
            gx += gh
            return loss, [gx, ga1, gd1, gW_in, gb_in, gW_out, gb_out, ga2, gd2, gW1, gb1, gW2, gb2]

        return step
