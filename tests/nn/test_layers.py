"""Layers: second derivatives, float32 kept, bad inputs and arguments refused; batch norm, dropout and embedding besides."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.autograd import gradcheck, gradgradcheck
from tests.golden.networks import NETWORKS
from tests.nn.test_golden import flat, loaded


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_first_and_second_derivatives_of_a_network_agree_with_difference_quotients(name, mode):
    network, arguments = loaded(name)
    network.train(mode == "train")
    if name == "language_model":  # the row of the padding has an influence, and on purpose no gradient
        arguments = [mg.maximum(arguments[0], 1)]
    leaves = tuple(x for x in flat(tuple(arguments)) if x.requires_grad) + tuple(network.parameters())

    def outputs(*_):
        return tuple(flat(network(*arguments)))

    assert gradcheck(outputs, leaves, fast=True)
    assert gradgradcheck(outputs, leaves, fast=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_float32_computes_in_float32_throughout(name):
    network, arguments = loaded(name)
    network.to(np.float32)

    def single(x):
        return tuple(map(single, x)) if isinstance(x, tuple) else x.astype(np.float32) if x.dtype.kind == "f" else x

    outputs = [*flat(network(*map(single, arguments)))]
    sum((z * z).sum() for z in outputs).backward()
    assert {z.dtype for z in outputs} == {p.grad.dtype for p in network.parameters()} == {np.dtype(np.float32)}


F64 = np.float64
# fmt: off
REFUSED = [  # the layer, a bad input for it, the error, and words that its message holds
    (lambda: nn.Linear(3, 2),             lambda: mg.ones((4, 5)),            ValueError, ["Linear", "(..., 3)", "(4, 5)"]),
    (lambda: nn.Linear(3, 2),             lambda: mg.ones((4, 3), F64),       TypeError,  ["Linear", "float64", "float32", "astype"]),
    (lambda: nn.Linear(3, 2),             lambda: mg.ones((4, 3), np.int64),  TypeError,  ["Linear", "int64", "astype"]),
    (lambda: nn.Linear(3, 2),             lambda: [[1.0, 2.0, 3.0]],          TypeError,  ["Linear", "list"]),
    (lambda: nn.Linear(3, 2),             lambda: mg.ones(()),                ValueError, ["Linear", "(..., 3)"]),
    (lambda: nn.Linear(3, 2).to(F64),     lambda: mg.ones((4, 3)),            TypeError,  ["Linear", "float32", "float64"]),
    (lambda: nn.Conv2d(2, 4, 3),          lambda: mg.ones((4, 3, 8, 8)),      ValueError, ["conv2d", "(4, 3, 8, 8)"]),
    (lambda: nn.Conv2d(2, 4, 3),          lambda: mg.ones((2, 8, 8)),         ValueError, ["conv2d", "(N, C, H, W)"]),
    (lambda: nn.Conv2d(2, 4, 9),          lambda: mg.ones((1, 2, 8, 8)),      ValueError, ["(9, 9)"]),
    (lambda: nn.Conv2d(2, 4, 3),          lambda: mg.ones((1, 2, 8, 8), F64), TypeError,  ["Conv2d", "float64"]),
    (lambda: nn.MaxPool2d(9),             lambda: mg.ones((1, 2, 8, 8)),      ValueError, ["(9, 9)"]),
    (lambda: nn.AvgPool2d(2),             lambda: mg.ones((2, 8)),            ValueError, ["(N, C, H, W)"]),
    (lambda: nn.BatchNorm1d(3),           lambda: mg.ones((4, 2)),            ValueError, ["BatchNorm1d", "('N', 3) or ('N', 3, 'L')"]),
    (lambda: nn.BatchNorm1d(3),           lambda: mg.ones((1, 3)),            ValueError, ["one value per channel"]),
    (lambda: nn.BatchNorm2d(3),           lambda: mg.ones((4, 3)),            ValueError, ["BatchNorm2d", "(4, 3)"]),
    (lambda: nn.BatchNorm2d(3),           lambda: mg.ones((4, 3, 2, 2), F64), TypeError,  ["BatchNorm2d", "float64"]),
    (lambda: nn.LayerNorm((3, 4)),        lambda: mg.ones((2, 4, 3)),         ValueError, ["(..., 3, 4)", "(2, 4, 3)"]),
    (lambda: nn.LayerNorm(4),             lambda: mg.ones((2, 4), F64),       TypeError,  ["LayerNorm", "float64"]),
    (lambda: nn.Embedding(5, 2),          lambda: mg.ones(3),                 TypeError,  ["embedding", "integers", "float32"]),
    (lambda: nn.Embedding(5, 2),          lambda: mg.tensor([0, 5]),          ValueError, ["0 … 4", "5"]),
    (lambda: nn.Embedding(5, 2),          lambda: mg.tensor([-1]),            ValueError, ["-1"]),
    (lambda: nn.LSTM(3, 4),               lambda: mg.ones((5, 2, 4)),         ValueError, ["LSTM", "(..., 3)"]),
    (lambda: nn.GRU(3, 4),                lambda: mg.ones((5, 3)),            ValueError, ["GRU", "3 axes"]),
    (lambda: nn.RNN(3, 4),                lambda: mg.ones((5, 2, 3), F64),    TypeError,  ["RNN", "float64"]),
    (lambda: nn.RNN(3, 4),                lambda: mg.ones((0, 2, 3)),         ValueError, ["RNN", "(0, 2, 3)"]),
    (lambda: nn.Flatten(2, 1),            lambda: mg.ones((2, 3, 4)),         ValueError, ["Flatten", "start_dim=2", "end_dim=1"]),
]
ARGUMENTS = [  # a bad construction, the error, and words
    (lambda: nn.Linear(3, 2, device="cpu"),                   TypeError,  ["device"]),
    (lambda: nn.ReLU(inplace=True),                           TypeError,  ["ReLU"]),
    (lambda: nn.Conv2d(2, 4, 3, padding_mode="reflect"),      TypeError,  ["padding_mode"]),
    (lambda: nn.Conv2d(2, 4, 3, padding="same"),              ValueError, ["Conv2d: padding", "'same'"]),
    (lambda: nn.Conv2d(2, 4, 3, groups=3),                    ValueError, ["groups=3", "2 and 4"]),
    (lambda: nn.Conv2d(2, 4, 0),                              ValueError, ["kernel_size", "0"]),
    (lambda: nn.Conv2d(2, 4, 3, stride=0),                    ValueError, ["stride"]),
    (lambda: nn.MaxPool2d(2, ceil_mode=True),                 TypeError,  ["ceil_mode"]),
    (lambda: nn.MaxPool2d(2, padding=2),                      ValueError, ["MaxPool2d", "half"]),
    (lambda: nn.AvgPool2d(2, count_include_pad=False),        TypeError,  ["count_include_pad"]),
    (lambda: nn.Dropout(1.5),                                 ValueError, ["Dropout", "1.5"]),
    (lambda: nn.Embedding(5, 2, max_norm=1.0),                TypeError,  ["max_norm"]),
    (lambda: nn.Embedding(5, 2, padding_idx=5),               ValueError, ["padding_idx = 5"]),
    (lambda: nn.LSTM(3, 4, proj_size=2),                      TypeError,  ["proj_size"]),
    (lambda: nn.GRU(3, 4, num_layers=0),                      ValueError, ["GRU", "num_layers"]),
    (lambda: nn.RNN(3, 4, nonlinearity="gelu"),               ValueError, ["RNN", "'gelu'"]),
    (lambda: nn.MultiheadAttention(6, 4),                     ValueError, ["num_heads=4", "embed_dim=6"]),
    (lambda: nn.MultiheadAttention(6, 2, kdim=3),             TypeError,  ["kdim"]),
    (lambda: nn.MSELoss(reduction="average"),                 ValueError, ["MSELoss", "'average'"]),
    (lambda: nn.CrossEntropyLoss(size_average=True),          TypeError,  ["size_average"]),
    (lambda: nn.GELU(approximate="erf")(mg.ones(2)),          ValueError, ["'erf'"]),
]
# fmt: on


@pytest.mark.parametrize(("make", "x", "error", "words"), REFUSED)
def test_a_layer_refuses_a_bad_input_and_says_what_it_wants(make, x, error, words):
    layer = make()
    before = layer.state_dict()
    with pytest.raises(error) as caught:
        layer(x())
    assert all(word in str(caught.value) for word in words), caught.value
    assert all((value.data == before[key].data).all() for key, value in layer.state_dict().items())


@pytest.mark.parametrize(("make", "error", "words"), ARGUMENTS)
def test_an_argument_that_is_unknown_or_makes_no_sense_is_refused_and_never_ignored(make, error, words):
    with pytest.raises(error) as caught:
        make()
    assert all(word in str(caught.value) for word in words), caught.value


# ------------------------------------------------------------------------------------------------------- batch norm


def test_running_statistics_can_be_frozen_for_a_second_forward_pass():
    """As in sharpness-aware minimization, which would count each batch twice."""
    norm, x = nn.BatchNorm1d(3), mg.randn(8, 3)
    first = norm(x).numpy()
    state = norm.state_dict()
    with nn.freeze_statistics():
        second = norm(x).numpy()
        with nn.freeze_statistics():
            norm(x)
        norm(x)
    np.testing.assert_array_equal(first, second)  # still by the batch's own statistics
    assert all((value.data == state[key].data).all() for key, value in norm.state_dict().items())
    norm(x)
    assert norm.num_batches_tracked.item() == 2


def test_freezing_ends_also_when_the_pass_fails():
    norm = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="BatchNorm1d"), nn.freeze_statistics():
        norm(mg.ones((2, 5)))
    norm(mg.randn(4, 3))
    assert norm.num_batches_tracked.item() == 1


def test_batch_norm_leaves_its_statistics_alone_in_evaluation_and_uses_the_batch_if_it_keeps_none():
    norm, x = nn.BatchNorm2d(2), mg.randn(4, 2, 3, 3)
    norm.eval()(x)
    assert norm.num_batches_tracked.item() == 0 and (norm.running_mean.data == 0).all()
    free = nn.BatchNorm2d(2, track_running_stats=False, affine=False)
    assert not free.state_dict() and not [*free.parameters()]
    np.testing.assert_array_equal(free(x).numpy(), free.eval()(x).numpy())


def test_batch_norm_normalizes_each_channel_to_mean_0_and_variance_1():
    z = nn.BatchNorm2d(2, eps=0.0).to(np.float64)(mg.randn(4, 2, 3, 3, dtype=np.float64) * 5.0 + 3.0).numpy()
    np.testing.assert_allclose(z.mean(axis=(0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(z.var(axis=(0, 2, 3)), 1, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------- dropout


def test_dropout_drops_a_share_scales_the_rest_and_does_nothing_in_evaluation():
    mg.manual_seed(0)
    layer, x = nn.Dropout(0.3), mg.ones((1000, 100))
    z = layer(x).numpy()
    values, counts = np.unique(z, return_counts=True)
    np.testing.assert_allclose(values, [0, 1 / 0.7], rtol=1e-6)
    assert abs(counts[0] / z.size - 0.3) < 5 * np.sqrt(0.3 * 0.7 / z.size)  # five standard deviations
    assert z.dtype == np.float32 and layer.eval()(x) is x


def test_the_gradient_of_dropout_passes_where_the_value_passed_and_it_is_repeatable():
    x = mg.ones((50,), requires_grad=True)
    mg.manual_seed(3)
    z = nn.Dropout(0.5)(x)
    z.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), z.numpy())
    mg.manual_seed(3)
    np.testing.assert_array_equal(nn.Dropout(0.5)(x).numpy(), z.numpy())


@pytest.mark.parametrize(("p", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_dropout_of_nothing_and_of_everything(p, value):
    assert (nn.Dropout(p)(mg.ones(9)).data == value).all()


# ------------------------------------------------------------------------------------------------------- embedding


def test_the_gradient_of_an_embedding_counts_repeats_and_leaves_the_padding_row_alone():
    layer = nn.Embedding(4, 2, padding_idx=-1)
    assert (layer.weight.data[3] == 0).all() and layer.padding_idx == 3
    layer(mg.tensor([[0, 1, 1], [3, 3, 1]])).sum().backward()
    assert layer.weight.grad.data.tolist() == [[1, 1], [3, 3], [0, 0], [0, 0]]


# ------------------------------------------------------------------------------------------------------- recurrent


def test_batch_first_is_the_same_network_with_two_axes_exchanged():
    mg.manual_seed(0)
    plain, first = nn.LSTM(3, 4, 2), nn.LSTM(3, 4, 2, batch_first=True)
    first.load_state_dict(plain.state_dict())
    x = mg.randn(5, 2, 3)
    (z, (h, c)), (z_, (h_, c_)) = plain(x), first(x.swapaxes(0, 1))
    for a, b in ((z, z_.swapaxes(0, 1)), (h, h_), (c, c_)):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_sequence_read_in_two_parts_with_the_state_handed_on_gives_what_it_gives_in_one():
    mg.manual_seed(0)
    for network in (nn.RNN(3, 4, 2), nn.LSTM(3, 4, 2), nn.GRU(3, 4, 2)):
        x = mg.randn(6, 2, 3)
        whole, last = network(x)
        begin, state = network(x[:4])
        end, last_ = network(x[4:], state)
        np.testing.assert_allclose(mg.concatenate([begin, end]).numpy(), whole.numpy(), rtol=1e-5, atol=1e-6)
        for a, b in zip(flat((last,)), flat((last_,)), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_dropout_between_recurrent_layers_acts_in_training_only_and_not_after_the_last():
    mg.manual_seed(0)
    network, x = nn.GRU(3, 4, num_layers=2, dropout=0.5), mg.randn(5, 2, 3)
    assert (network(x)[0].data != network(x)[0].data).any()
    assert (network(x)[0].data != 0).all()
    network.eval()
    assert (network(x)[0].data == network(x)[0].data).all()


def test_a_state_of_the_wrong_shape_or_number_is_refused():
    network, x = nn.LSTM(3, 4), mg.ones((5, 2, 3))
    with pytest.raises(ValueError, match=r"a pair of states of shape \(1, 2, 4\)"):
        network(x, mg.ones((1, 2, 4)))
    with pytest.raises(ValueError, match=r"a state of shape \(1, 2, 4\), got \[\(2, 4\)\]"):
        nn.GRU(3, 4)(x, mg.ones((2, 4)))


def test_reading_a_sequence_twice_as_long_takes_about_twice_as_many_writes_in_backward():
    """Elements taken one by one would each bring a gradient of the whole length: n² writes."""
    written = []

    class Watcher:
        def computed(self, row, args, z, node):
            pass

        def differentiated(self, node, parent, g, grad):
            written.append(grad.size)

    from minigrad import engine
    from minigrad.nn.recurrent import unstack

    def total(n):
        written.clear()
        x = mg.ones((n, 2), requires_grad=True)
        loss = mg.stack(unstack(x)).sum()
        with engine.recording(Watcher()):
            loss.backward()
        return sum(written)

    assert total(256) < 2.5 * total(128)


# ------------------------------------------------------------------------------------------------------- attention


def test_attention_weights_are_probabilities_and_masked_keys_get_none():
    mg.manual_seed(0)
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True), mg.randn(2, 4, 6)
    padding = mg.tensor(np.array([[False, False, False, True], [False, True, True, True]]))
    _, weights = layer(x, x, x, key_padding_mask=padding, is_causal=True, average_attn_weights=False)
    weights = weights.numpy()
    assert weights.shape == (2, 2, 4, 4)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    assert (weights[:, :, np.triu_indices(4, 1)[0], np.triu_indices(4, 1)[1]] == 0).all()
    assert (weights[0, :, :, 3] == 0).all() and (weights[1, :, :, 1:] == 0).all()
    assert layer(x, x, x, need_weights=False)[1] is None


def test_two_masks_are_both_kept():
    layer, x = nn.MultiheadAttention(4, 1), mg.randn(3, 1, 4)
    first, second = np.array([[True, False, False]] * 3), np.array([[False, True, False]])
    _, weights = layer(x, x, x, key_padding_mask=mg.tensor(second), attn_mask=mg.tensor(first))
    assert weights.data[0].tolist() == [[0, 0, 1]] * 3


def test_a_mask_may_be_per_head_and_added():
    mg.manual_seed(0)
    layer, x = nn.MultiheadAttention(6, 2, batch_first=True), mg.randn(2, 4, 6)
    blocked = np.zeros((4, 4, 4), bool)  # (N * heads, L, S)
    blocked[1, :, 0] = True
    _, weights = layer(x, x, x, attn_mask=mg.tensor(blocked), average_attn_weights=False)
    assert (weights.data[0, 1, :, 0] == 0).all() and (weights.data[0, 0, :, 0] > 0).all()
    added = mg.tensor(np.where(blocked, -np.inf, 0).astype(np.float32))
    np.testing.assert_array_equal(layer(x, x, x, attn_mask=added, average_attn_weights=False)[1].data, weights.data)


def test_attention_refuses_inputs_without_a_batch_or_of_another_width():
    layer, x = nn.MultiheadAttention(4, 2), mg.ones((3, 1, 4))
    with pytest.raises(ValueError, match=r"3 axes, got \(3, 4\)"):
        layer(x, x[:, 0], x)
    with pytest.raises(ValueError, match=r"\(..., 4\), got \(3, 1, 5\)"):
        layer(x, x, mg.ones((3, 1, 5)))


def test_attention_dropout_acts_in_training_only():
    mg.manual_seed(0)
    layer, x = nn.MultiheadAttention(6, 2, dropout=0.5), mg.randn(4, 2, 6)
    assert (layer(x, x, x)[0].data != layer(x, x, x)[0].data).any()
    layer.eval()
    assert (layer(x, x, x)[0].data == layer(x, x, x)[0].data).all()
