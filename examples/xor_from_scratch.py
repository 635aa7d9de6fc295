"""How little does it take to learn? XOR on raw Tensors: no layers, no optimizer, the update step written by hand.

    python examples/xor_from_scratch.py

XOR is the least that no single layer can do; eight tanh units between input and output are enough.
"""

import minigrad as mg

mg.manual_seed(1)
x = mg.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
y = mg.tensor([[0.0], [1.0], [1.0], [0.0]])
w1, b1 = mg.randn(2, 8, requires_grad=True), mg.zeros(8, requires_grad=True)
w2, b2 = mg.randn(8, 1, requires_grad=True), mg.zeros(1, requires_grad=True)

for step in range(501):
    guess = mg.tanh(x @ w1 + b1) @ w2 + b2
    loss = ((guess - y) ** 2).mean()
    loss.backward()
    with mg.no_grad():
        for p in (w1, b1, w2, b2):
            p -= 0.1 * p.grad
            p.grad = None
    if step % 100 == 0:
        print(f"step {step}: loss {loss:.6f}")

for (a, b), g in zip(x, guess):
    print(f"{a:.0f} xor {b:.0f} = {g.item():.2f}")
