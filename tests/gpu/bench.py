"""Training steps on the GPU: here, in PyTorch on the same GPU, and here on the CPU. Has not yet run on a real device.

    python -m tests.gpu.bench

Median of seven runs of some steps each, the kinds interleaved; the clock stops when the device has done its work.
"""

import statistics
import time

import numpy as np

import minigrad as mg
import optim


def build(name, nn):
    """The network, the shape of a batch, and how many classes it has."""
    if name == "MLP 784-256-128-10, batch 64":
        net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
        return net, (64, 784), 10
    if name == "CNN 1-16-32, 32 x 28 x 28":
        layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10)]
        return nn.Sequential(*layers), (32, 1, 28, 28), 10
    if name == "20 layers of (1000, 1000)":
        return (
            nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(1000, 1000), nn.Tanh()))),
            (32, 1000),
            1000,
        )

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.out = nn.LayerNorm(64), nn.Linear(64, 10)
            self.attention = nn.MultiheadAttention(64, 4, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64))

        def forward(self, x):
            y = self.norm(x)
            x = x + self.attention(y, y, y, need_weights=False)[0]
            return self.out((x + self.mlp(x)).mean(1))

    return Block(), (16, 64, 64), 10


NAMES = (
    "MLP 784-256-128-10, batch 64",
    "CNN 1-16-32, 32 x 28 x 28",
    "transformer block, 16 x 64 x 64",
    "20 layers of (1000, 1000)",
)


def stepper(name, lib, optimizers, device, wait):
    """A function that takes some steps of Adam and waits for the last."""
    net, shape, classes = build(name, lib.nn)
    net.to(device)
    rng = np.random.default_rng(0)
    x = lib.tensor(rng.standard_normal(shape).astype(np.float32)).to(device)
    target = lib.tensor(rng.integers(0, classes, shape[0])).to(device)
    loss_fn, opt = lib.nn.CrossEntropyLoss(), optimizers.Adam(net.parameters())

    def steps(n):
        for _ in range(n):
            opt.zero_grad()
            loss_fn(net(x), target).backward()
            opt.step()
        wait()

    return steps


def main():
    kinds = {"here": (mg, optim, "cuda", mg.cuda.synchronize), "here, CPU": (mg, optim, "cpu", lambda: None)}
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: no comparison with it")
    else:
        if torch.cuda.is_available():
            kinds["PyTorch"] = (torch, torch.optim, "cuda", torch.cuda.synchronize)
    print(f"ms a step: {'':24}", *(f"{kind:>12}" for kind in kinds))
    for name in NAMES:
        runs = {kind: stepper(name, *how) for kind, how in kinds.items()}
        times = {kind: [] for kind in kinds}
        for steps in runs.values():
            steps(3)  # compiles kernels, fills pools
        for _ in range(7):
            for kind, steps in runs.items():
                start = time.perf_counter()
                steps(10)
                times[kind].append((time.perf_counter() - start) * 100)
        print(f"{name:35}", *(f"{statistics.median(times[kind]):12.3f}" for kind in kinds))


if __name__ == "__main__":
    main()
