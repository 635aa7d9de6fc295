"""Write `torch_networks.npz`: layers, networks, losses and attention as PyTorch computes them, in float64.

Run from the root of the checkout where PyTorch is installed: ``python -m tests.golden.make_torch_networks``. The file in
the repository was made by PyTorch 2.13.0 (CPU) and NumPy 2.4; both versions are stored in it.

For each network: its state_dict, arguments, a weight for every element of every output ("probe"); in training and in
evaluation mode the outputs and the gradients of Σ probe · output (arguments, then parameters; as one vector); after
training the state_dict again. The same for activations, losses, attention under each kind of mask, and clipping.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.golden.networks import ACTIVATIONS, FILE, LOSSES, NETWORKS, save

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
rng = np.random.default_rng(0)
golden = {}


def keep(name, values):
    for k, value in enumerate(values):
        golden[f"{name}/{k}"] = value.detach().numpy().copy()


def draw(shape):
    if isinstance(shape[0], tuple):
        return tuple(draw(part) for part in shape)
    if shape[0] == "ints":
        return torch.tensor(rng.integers(0, shape[1], shape[2:]))
    if shape[0] == "mask":
        return torch.tensor(np.triu(np.ones(shape[1:], bool), 1))
    return torch.tensor(rng.standard_normal(shape), requires_grad=True)


def flat(values):
    for value in values:
        if isinstance(value, tuple):
            yield from flat(value)
        else:
            yield value


def probed(outputs, probes):
    return sum((z * probe).sum() for z, probe in zip(outputs, probes))


for name, (build, *shapes) in NETWORKS.items():
    network = build(nn)
    for p in network.parameters():  # away from zeros and ones, so that every path counts
        p.data += 0.1 * torch.randn(p.shape)
    arguments = [draw(shape) for shape in shapes]
    keep(f"{name}/argument", flat(arguments))
    for key, value in network.state_dict().items():
        golden[f"{name}/before/{key}"] = value.numpy().copy()
    with torch.no_grad():
        network(*arguments)  # a first batch, so that running statistics move twice
    for mode in ("train", "eval"):
        network.train(mode == "train")
        outputs = [*flat([network(*arguments)])]
        probes = [torch.tensor(rng.standard_normal(z.shape)) for z in outputs]
        leaves = [x for x in flat(arguments) if x.requires_grad] + [*network.parameters()]
        grads = torch.autograd.grad(probed(outputs, probes), leaves)
        keep(f"{name}/{mode}/output", outputs)
        keep(f"{name}/{mode}/probe", probes)
        golden[f"{name}/{mode}/grads"] = np.concatenate([g.numpy().ravel() for g in grads])
    for key, value in network.state_dict().items():
        golden[f"{name}/after/{key}"] = value.numpy().copy()

x = torch.tensor(np.concatenate([rng.standard_normal((4, 5)) * 3, [[-40.0, -7.0, 0.0, 7.0, 30.0]]]), requires_grad=True)
probe = torch.tensor(rng.standard_normal((5, 5)))
keep("activations/x", [x, probe])
for name, build in ACTIVATIONS.items():
    z = build(nn)(x)
    keep(f"activations/{name}", [z, *torch.autograd.grad((z * probe).sum(), x)])

w = torch.tensor(rng.random(3) + 0.5)
data = {
    "classes": (torch.tensor(rng.standard_normal((6, 3))), torch.tensor([0, 1, 2, 2, 1, 0])),
    "pixels": (torch.tensor(rng.standard_normal((2, 3, 2, 2))), torch.tensor(rng.integers(0, 3, (2, 2, 2)))),
    "log": (torch.tensor(rng.standard_normal((6, 3))).log_softmax(1), torch.tensor([0, 1, 2, 2, 1, 0])),
    "probabilities": (torch.tensor(rng.random((6, 3))), torch.tensor(rng.random((6, 3)))),
    "targets": (torch.tensor(rng.standard_normal((6, 3)) * 20), torch.tensor(rng.integers(0, 2, (6, 3)) * 1.0)),
    "numbers": (torch.tensor(rng.standard_normal((6, 3)) * 2), torch.tensor(rng.standard_normal((6, 3)) * 2)),
}
keep("losses/w", [w])
for kind, pair in data.items():
    keep(f"losses/data/{kind}", pair)
for name, (build, kind) in LOSSES.items():
    for reduction in ("mean", "sum", "none"):
        x = data[kind][0].clone().requires_grad_()
        loss = build(nn, w, reduction=reduction)(x, data[kind][1])
        keep(f"losses/{name}/{reduction}", [loss, *torch.autograd.grad(loss.sum(), x)])

q, k, v = (torch.tensor(rng.standard_normal((2, 2, length, 4)), requires_grad=True) for length in (3, 5, 5))
allowed, added = torch.tensor(rng.random((3, 5)) < 0.6), torch.tensor(rng.standard_normal((2, 1, 3, 5)))
allowed[:, 0] = True
probe = torch.tensor(rng.standard_normal((2, 2, 3, 4)))
keep("sdpa/argument", [q, k, v, allowed, added, probe])
kinds = {"plain": {}, "bool": {"attn_mask": allowed}, "float": {"attn_mask": added}, "causal": {"is_causal": True}}
for name, kwargs in (kinds | {"scaled": {"scale": 0.3}}).items():
    z = F.scaled_dot_product_attention(q, k, v, **kwargs)
    keep(f"sdpa/{name}", [z, *torch.autograd.grad((z * probe).sum(), (q, k, v))])

grads = [torch.tensor(rng.standard_normal(shape)) for shape in ((3, 2), (4,))]
keep("clip/grad", grads)
for norm_type in (1.0, 2.0, 3.0, float("inf")):
    leaves = [torch.zeros_like(g, requires_grad=True) for g in grads]
    for leaf, g in zip(leaves, grads):
        leaf.grad = g.clone()
    norm = nn.utils.clip_grad_norm_(leaves, 0.5, norm_type)
    keep(f"clip/{norm_type}", [norm, *(leaf.grad for leaf in leaves)])

shown = {name: repr(build(nn)) for name, (build, *_) in NETWORKS.items()}
shown |= {name: repr(build(nn)) for name, build in ACTIVATIONS.items()}
save(golden, {"versions": f"torch {torch.__version__}, numpy {np.__version__}", "shown": shown})
print(f"{FILE}: {len(golden)} arrays, {FILE.stat().st_size / 1000:.0f} kB")
