"""Can a network learn to spell? A recurrent network and a transformer, side by side, invent words.

Data: the words of three to fourteen small letters in Python's own language reference, some 2,700, which every Python
brings along (the module pydoc_data.topics). A tenth is kept for validation, a tenth for the test. Both networks read a
word letter by letter and say what they expect next; the loss is how surprised they are by what comes, in nats per
letter. Two numbers to compare with: log 27 = 3.3 for one who knows nothing, and what counting pairs of letters gives.

    python examples/char_lm.py

Prints invented words, and the loss on words that none of the three has seen. The picture, examples/output/char_lm.png,
shows how the networks learn, and at which letters of unseen words the transformer is surprised: where a known word
could have ended, or a known syllable goes on in another way. Both networks do much better than counting pairs, for what
comes next depends on more than one letter. Of so few words the recurrent network makes more: it reads in order by its
nature, while the transformer has to learn from examples what places mean. Both end by learning the words by heart:
training loss falls on when validation loss no longer does.
"""

import re
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib
import numpy as np

import minigrad as mg
import optim
from minigrad import nn
from minigrad.data import DataLoader, TensorDataset, random_split
from minigrad.nn import functional as F
from minigrad.training import EarlyStopping, evaluate, fit

matplotlib.use("agg")
import matplotlib.pyplot as plt

OUTPUT = Path(__file__).parent / "output"
LETTERS = ".abcdefghijklmnopqrstuvwxyz"  # the dot begins and ends a word
LONGEST = 14
NOTHING = -100  # the target after the end of a word, which counts nothing
EPOCHS = 25


def words():
    """The words of the language reference, in the order of the alphabet."""
    return sorted({word for text in topics.values() for word in re.findall(rf"\b[a-z]{{3,{LONGEST}}}\b", text)})


def encode(words):
    """What is read, and what comes next: ``.word`` and ``word.`` as numbers, (N, 15) each."""
    read = np.zeros((len(words), LONGEST + 1), np.int64)
    following = np.full_like(read, NOTHING)
    for k, word in enumerate(words):
        numbers = [LETTERS.index(letter) for letter in f".{word}."]
        read[k, : len(word) + 1] = numbers[:-1]
        following[k, : len(word) + 1] = numbers[1:]
    return TensorDataset(read, following)


class RecurrentNet(nn.Module):
    """A state that is carried from letter to letter."""

    def __init__(self, width=128):
        self.embed = nn.Embedding(len(LETTERS), width)
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.score = nn.Linear(width, len(LETTERS))

    def forward(self, letters):
        states, _ = self.recurrent(self.embed(letters))
        return self.score(F.dropout(states, 0.2, self.training))


class Block(nn.Module):
    """Look at the letters so far, then think about each: a pre-norm transformer block."""

    def __init__(self, width, heads):
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.think = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width), nn.Dropout(0.2)
        )

    def forward(self, x):
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False, is_causal=True)[0]
        return x + self.think(self.norm2(x))


class Transformer(nn.Module):
    """Every letter looks back at all the letters before it."""

    def __init__(self, width=64, heads=4, depth=2):
        self.embed = nn.Embedding(len(LETTERS), width)
        self.place = nn.Embedding(LONGEST + 1, width)
        self.blocks = [Block(width, heads) for _ in range(depth)]
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, len(LETTERS))

    def forward(self, letters):
        x = self.embed(letters) + self.place(np.arange(letters.shape[1], like=letters))
        for block in self.blocks:
            x = block(x)
        return self.score(self.norm(x))


def surprise(scores, following, reduction="mean"):
    """-log p of the letters that came, in nats per letter."""
    return F.cross_entropy(scores.swapaxes(1, 2), following, ignore_index=NOTHING, reduction=reduction)


class PairCounts(nn.Module):
    """How often each letter follows each other one, plus one: the scores are log counts."""

    def __init__(self, dataset):
        read, following = (t.numpy() for t in dataset[np.arange(len(dataset))])
        counts = np.ones((len(LETTERS), len(LETTERS)), np.float32)
        np.add.at(counts, (read[following != NOTHING], following[following != NOTHING]), 1)
        self.scores = mg.tensor(np.log(counts))

    def forward(self, letters):
        return self.scores[letters]


def invent(model, count, rng):
    """Words drawn letter by letter from what the model expects."""
    text = np.zeros((count, LONGEST + 1), np.int64)
    model.eval()
    with mg.no_grad():
        for k in range(LONGEST):
            p = F.softmax(model(mg.tensor(text[:, : k + 1]))[:, -1]).numpy()
            text[:, k + 1] = (p.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1).clip(max=len(LETTERS) - 1)
    return ["".join(LETTERS[i] for i in line[1:]).split(".")[0] for line in text]


def show_surprise(axes, model, test, count=10):
    """Some unseen words, each letter as dark as the model was surprised by it."""
    read, following = test[np.arange(count)]
    with mg.no_grad():
        losses = surprise(model(read), following, reduction="none").numpy()
    here = following.numpy() != NOTHING
    image = axes.imshow(np.where(here, losses, np.nan), cmap="Oranges", vmin=0, vmax=6, aspect="auto")
    for (i, j), letter in np.ndenumerate(following.numpy()):
        if here[i, j]:
            color = "white" if losses[i, j] > 3.5 else "black"
            axes.text(j, i, LETTERS[letter], ha="center", va="center", color=color)
    axes.set(title="surprise of the transformer, in nats, at unseen words", xticks=[], yticks=[])
    axes.figure.colorbar(image, ax=axes)


def main():
    OUTPUT.mkdir(exist_ok=True)
    mg.manual_seed(0)
    known = words()
    dataset = encode(known)
    train, validation, test = random_split(dataset, [0.8, 0.1, 0.1])
    print(f"{len(known)} words, such as {', '.join(known[:: len(known) // 5][:5])}")
    whole_test = DataLoader(test, batch_size=len(test))
    pairs, _ = evaluate(PairCounts(train), surprise, whole_test)
    print(f"counting pairs: {pairs:.3f} nats per letter of unseen words")

    figure, (curves, letters) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for name, model in {"recurrent": RecurrentNet(), "transformer": Transformer()}.items():
        history = fit(
            model,
            surprise,
            optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1),
            DataLoader(train, batch_size=64, shuffle=True),
            EPOCHS,
            validation=DataLoader(validation, batch_size=len(validation)),
            early_stopping=EarlyStopping(patience=3),
        )
        loss, _ = evaluate(model, surprise, whole_test)
        invented = [word for word in invent(model, 60, np.random.default_rng(0)) if word not in known]
        print(f"{name}: {sum(p.size for p in model.parameters()):,} parameters, {len(history.epoch_end)} epochs")
        print(f"{name}: {loss:.3f} nats per letter of unseen words")
        print(f"{name} invents {', '.join(invented[:15])}")
        epochs = range(1, len(history.epoch_end) + 1)
        (line,) = curves.plot(epochs, history.validation_loss, marker=".", label=f"{name}, validation")
        training = [history.epoch_loss(k) for k in range(len(epochs))]
        curves.plot(epochs, training, color=line.get_color(), linestyle=":", label=f"{name}, training")
    curves.axhline(pairs, color="grey", label="counting pairs")
    curves.set(title="nats per letter", xlabel="epoch")
    curves.legend()
    show_surprise(letters, model, test)
    figure.savefig(OUTPUT / "char_lm.png", dpi=120)
    print("picture: examples/output/char_lm.png")


if __name__ == "__main__":
    main()
