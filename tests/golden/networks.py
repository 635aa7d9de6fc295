"""Networks, activations and losses as text that runs under PyTorch and under minigrad: `nn` is the one or the other.

`make_torch_networks.py` has PyTorch compute the golden values, `tests/nn/test_golden.py` compares ours. That one text
serves both is itself a test: of names, arguments and defaults.
"""

import json
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("torch_networks.npz")


def save(arrays, notes):
    """Write arrays by name as one vector of each dtype: 500 members of a zip file would weigh more than the numbers."""
    index = [[name, str(a.dtype), a.shape] for name, a in arrays.items()]
    dtypes = sorted({dtype for _, dtype, _ in index})
    flat = {dtype: np.concatenate([a.ravel() for a in arrays.values() if a.dtype == dtype]) for dtype in dtypes}
    text = json.dumps({"notes": notes, "index": index})
    np.savez_compressed(FILE, text=np.frombuffer(text.encode(), np.uint8), **flat)


def load():
    """What `save` was given: the arrays by name, and the notes."""
    with np.load(FILE) as file:
        text = json.loads(file["text"].tobytes())
        flat = {dtype: file[dtype] for dtype in file.files if dtype != "text"}
    arrays, read = {}, dict.fromkeys(flat, 0)
    for name, dtype, shape in text["index"]:
        begin, read[dtype] = read[dtype], read[dtype] + int(np.prod(shape))
        arrays[name] = flat[dtype][begin : read[dtype]].reshape(shape)
    return arrays, text["notes"]


def mlp(nn):
    return nn.Sequential(
        nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3), nn.LogSoftmax(dim=-1)
    )


def cnn(nn):
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2),
        nn.BatchNorm2d(6, eps=1e-3, momentum=None, affine=False),
        nn.GELU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(6, 2, 2, padding=2, dilation=2),
        nn.AvgPool2d(2, stride=1, padding=1),
        nn.Flatten(),
        nn.Linear(32, 5),
        nn.BatchNorm1d(5, momentum=0.3),
        nn.Linear(5, 3),
        nn.BatchNorm1d(3, track_running_stats=False),
    )


def batch_norm_of_sequences(nn):
    return nn.BatchNorm1d(3)


def layer_norm(nn):
    return nn.Sequential(nn.LayerNorm((3, 4)), nn.LayerNorm(4, eps=1e-2, bias=False))


def rnn(nn):
    return nn.RNN(3, 4)


def rnn_deep(nn):
    return nn.RNN(3, 4, num_layers=2, nonlinearity="relu", bias=False, batch_first=True, bidirectional=True)


def lstm(nn):
    return nn.LSTM(3, 4)


def lstm_deep(nn):
    return nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)


def gru(nn):
    return nn.GRU(3, 4)


def gru_deep(nn):
    return nn.GRU(3, 4, num_layers=3, bidirectional=True)


def language_model(nn):
    class LanguageModel(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 4, padding_idx=0)
            self.lstm = nn.LSTM(4, 5, batch_first=True)
            self.out = nn.Linear(5, 7)

        def forward(self, x):
            return self.out(self.lstm(self.embedding(x))[0])

    return LanguageModel()


def attention(nn):
    return nn.MultiheadAttention(6, 2)


def transformer_block(nn):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1 = nn.LayerNorm(6)
            self.attention = nn.MultiheadAttention(6, 3, batch_first=True)
            self.norm2 = nn.LayerNorm(6)
            self.mlp = nn.Sequential(nn.Linear(6, 12), nn.GELU(approximate="tanh"), nn.Linear(12, 6), nn.Dropout(0.0))

        def forward(self, x, mask):
            y = self.norm1(x)
            x = x + self.attention(y, y, y, need_weights=False, attn_mask=mask)[0]
            return x + self.mlp(self.norm2(x))

    return Block()


# A network, and the shapes of its arguments: of standard normal numbers, or ("ints", n, *shape), ("mask", *shape).
# fmt: off
NETWORKS = {
    "mlp":               (mlp,               (8, 4)),
    "cnn":               (cnn,               (4, 2, 8, 7)),
    "batch_norm_of_sequences": (batch_norm_of_sequences, (4, 3, 5)),
    "layer_norm":        (layer_norm,        (2, 3, 4)),
    "rnn":               (rnn,               (5, 2, 3), (1, 2, 4)),
    "rnn_deep":          (rnn_deep,          (2, 5, 3)),
    "lstm":              (lstm,              (5, 2, 3), ((1, 2, 4), (1, 2, 4))),
    "lstm_deep":         (lstm_deep,         (2, 5, 3)),
    "gru":               (gru,               (5, 2, 3), (1, 2, 4)),
    "gru_deep":          (gru_deep,          (5, 2, 3)),
    "language_model":    (language_model,    ("ints", 7, 2, 6)),
    "attention":         (attention,         (4, 2, 6), (5, 2, 6), (5, 2, 6), ("mask", 2, 5)),
    "transformer_block": (transformer_block, (2, 5, 6), ("mask", 5, 5)),
}

ACTIVATIONS = {
    "relu":             lambda nn: nn.ReLU(),
    "leaky_relu":       lambda nn: nn.LeakyReLU(0.1),
    "leaky_relu_usual": lambda nn: nn.LeakyReLU(),
    "elu":              lambda nn: nn.ELU(alpha=0.7),
    "elu_usual":        lambda nn: nn.ELU(),
    "gelu":             lambda nn: nn.GELU(),
    "gelu_tanh":        lambda nn: nn.GELU(approximate="tanh"),
    "silu":             lambda nn: nn.SiLU(),
    "sigmoid":          lambda nn: nn.Sigmoid(),
    "tanh":             lambda nn: nn.Tanh(),
    "softplus":         lambda nn: nn.Softplus(beta=2.0),
    "softmax":          lambda nn: nn.Softmax(dim=1),
    "log_softmax":      lambda nn: nn.LogSoftmax(dim=-1),
    "identity":         lambda nn: nn.Identity(),
}

# A loss, made with one weight per class or element (`w`), and what it is of: scores and "classes", "log"-probabilities
# and classes, "probabilities" and targets, scores and "targets", two "numbers".
LOSSES = {
    "cross_entropy":          (lambda nn, w, **r: nn.CrossEntropyLoss(**r), "classes"),
    "cross_entropy_weighted": (lambda nn, w, **r: nn.CrossEntropyLoss(w, **r), "classes"),
    "cross_entropy_smoothed": (lambda nn, w, **r: nn.CrossEntropyLoss(label_smoothing=0.2, **r), "classes"),
    "cross_entropy_ignoring": (lambda nn, w, **r: nn.CrossEntropyLoss(ignore_index=1, **r), "classes"),
    "cross_entropy_all":      (lambda nn, w, **r: nn.CrossEntropyLoss(w, ignore_index=1, label_smoothing=0.2, **r), "classes"),
    "cross_entropy_images":   (lambda nn, w, **r: nn.CrossEntropyLoss(w, ignore_index=2, label_smoothing=0.1, **r), "pixels"),
    "nll":                    (lambda nn, w, **r: nn.NLLLoss(**r), "log"),
    "nll_weighted":           (lambda nn, w, **r: nn.NLLLoss(w, ignore_index=1, **r), "log"),
    "mse":                    (lambda nn, w, **r: nn.MSELoss(**r), "numbers"),
    "l1":                     (lambda nn, w, **r: nn.L1Loss(**r), "numbers"),
    "huber":                  (lambda nn, w, **r: nn.HuberLoss(**r), "numbers"),
    "huber_wide":             (lambda nn, w, **r: nn.HuberLoss(delta=1.5, **r), "numbers"),
    "bce":                    (lambda nn, w, **r: nn.BCELoss(**r), "probabilities"),
    "bce_weighted":           (lambda nn, w, **r: nn.BCELoss(w, **r), "probabilities"),
    "bce_logits":             (lambda nn, w, **r: nn.BCEWithLogitsLoss(**r), "targets"),
    "bce_logits_weighted":    (lambda nn, w, **r: nn.BCEWithLogitsLoss(w, pos_weight=2 * w, **r), "targets"),
}
# fmt: on
