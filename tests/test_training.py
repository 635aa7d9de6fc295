"""Training: the loop against one written by hand, validation, early stopping, history, checkpoints."""

import builtins
import io
import sys

import numpy as np
import pytest

import minigrad as mg
import optim
from minigrad import nn, training
from minigrad.data import DataLoader, TensorDataset
from minigrad.training import EarlyStopping, History, accuracy, evaluate, fit

NUMBERS = np.random.default_rng(0)
X = NUMBERS.standard_normal((23, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int64)
DATA = TensorDataset(X, Y)


def network():
    mg.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2))


def parts(model=None):
    model = network() if model is None else model
    return model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def same(model, other):
    pairs = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(np.array_equal(a.data, b.data) for a, b in pairs)


# ------------------------------------------------------------------------------------------------------- the loop


def test_fit_does_what_a_loop_written_by_hand_does_bit_for_bit_and_its_history_tells_it():
    model, loss_fn, optimizer = parts()
    losses, norms = [], []
    for _ in range(3):
        for k in range(0, 23, 5):
            optimizer.zero_grad()
            loss = loss_fn(model(mg.tensor(X[k : k + 5])), mg.tensor(Y[k : k + 5]))
            loss.backward()
            losses.append(loss.item())
            norms.append(np.sqrt(sum((p.grad.numpy().astype(float) ** 2).sum() for p in model[4].parameters())))
            optimizer.step()
    other = network()
    history = fit(*parts(other), DataLoader(DATA, 5), epochs=3)
    assert same(model, other) and history.loss == losses and history.epoch_end == [5, 10, 15]
    np.testing.assert_allclose(history.gradient_norm["4"], norms, rtol=1e-6)
    assert [*history.gradient_norm] == ["0", "1", "4"]  # layers with parameters, by name
    assert history.lr == [0.1] * 15 and not history.validation_loss
    assert history.epoch_loss(1) == pytest.approx(np.mean(losses[5:10])) and history.epoch_loss() == np.mean(
        losses[10:]
    )


def test_fit_puts_the_model_into_training_mode():
    model, loss_fn, optimizer = parts()
    fit(model.eval(), loss_fn, optimizer, DataLoader(DATA, 5), 1)
    assert model.training and model[1].num_batches_tracked.item() == 5


def test_validation_is_in_evaluation_mode_over_the_whole_set_and_leaves_each_module_in_its_mode():
    model, loss_fn, optimizer = parts()
    model[1].eval()  # a frozen layer
    history = fit(model, loss_fn, optimizer, DataLoader(DATA, 5), 0)
    model[1].eval()
    state = model.state_dict()
    loss, share = evaluate(model, loss_fn, DataLoader(DATA, 4), accuracy)
    assert same_state(model, state) and model.training and not model[1].training and history.loss == []
    with model.evaluating():
        scores = model(mg.tensor(X))
    assert loss == pytest.approx(loss_fn(scores, mg.tensor(Y)).item(), rel=1e-6)
    assert share == pytest.approx((scores.numpy().argmax(axis=1) == Y).mean())
    assert evaluate(model, loss_fn, DataLoader(DATA, 4))[1] is None


def same_state(model, state):
    return all(np.array_equal(model.state_dict()[k].data, v.data) for k, v in state.items())


def test_every_epoch_is_validated():
    history = fit(*parts(), DataLoader(DATA, 5), 3, validation=DataLoader(DATA, 23), metric=accuracy)
    assert len(history.validation_loss) == len(history.validation_metric) == 3
    assert all(0 <= value <= 1 for value in history.validation_metric)
    assert "metric" in history.last() and "validation loss" in history.last()


class Halving:
    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self):
        self.optimizer.param_groups[0]["lr"] /= 2


@pytest.mark.parametrize(
    ("each", "rates"), [("epoch", [8.0, 8.0, 8.0, 4.0, 4.0, 4.0]), ("step", [8.0, 4.0, 2.0, 1.0, 0.5, 0.25])]
)
def test_a_scheduler_is_stepped_after_each_epoch_or_after_each_step_and_the_rate_in_use_is_noted(each, rates):
    model = nn.Linear(3, 2)
    optimizer = optim.SGD(model.parameters(), lr=8.0)
    schedule = Halving(optimizer)
    loader = DataLoader(DATA, 8)
    history = fit(
        model, nn.CrossEntropyLoss(), optimizer, loader, 2, scheduler=schedule, scheduler_each=each, progress=False
    )
    assert history.lr == rates


def test_a_callback_sees_the_history_and_ends_the_training_by_returning_true():
    seen = []

    def two_epochs(history):
        seen.append(len(history.validation_loss))
        return len(seen) == 2

    calls = []
    history = fit(
        *parts(), DataLoader(DATA, 5), 9, validation=DataLoader(DATA, 23), callbacks=[two_epochs, calls.append]
    )
    assert seen == [1, 2] and len(history.epoch_end) == 2 and calls == [history, history]


def test_a_second_fit_goes_on_where_the_first_ended():
    model, other = network(), network()
    mg.manual_seed(5)
    whole = fit(*parts(model), DataLoader(DATA, 5, shuffle=True), 4)
    mg.manual_seed(5)
    things = parts(other)
    history = fit(*things, DataLoader(DATA, 5, shuffle=True), 1)
    assert fit(*things, DataLoader(DATA, 5, shuffle=True), 4, history=history) is history
    assert history == whole and same(model, other)


def test_several_inputs_come_before_the_target():
    class Add(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 2)

        def forward(self, a, b):
            return self.layer(a + b)

    history = fit(*parts(Add()), DataLoader(TensorDataset(X, X, Y), 5), 1)
    assert len(history.loss) == 5 and [*history.gradient_norm] == ["layer"]


def test_a_layer_without_gradient_has_norm_0():
    model = network()
    model[0].requires_grad_(False)
    assert fit(*parts(model), DataLoader(DATA, 5), 1).gradient_norm["0"] == [0.0] * 5


def test_optimizers_that_call_the_closure_several_times_fit_too():
    model = network()
    base = optim.SGD(model.parameters(), lr=0.1)
    state = model[1].num_batches_tracked
    history = fit(model, nn.CrossEntropyLoss(), optim.SAM(base), DataLoader(DATA, 5), 2)
    assert len(history.loss) == 10 and state.item() == 10  # running statistics counted once a step


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"metric": accuracy}, "validation=loader"),
        ({"early_stopping": EarlyStopping()}, "validation=loader"),
        ({"scheduler_each": "batch"}, "'batch'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_the_first_step(settings, words):
    model, loss_fn, optimizer = parts()
    before = model.state_dict()
    with pytest.raises(ValueError, match=words):
        fit(model, loss_fn, optimizer, DataLoader(DATA, 5), 1, **settings)
    assert same_state(model, before)


def test_an_empty_validation_set_is_an_error():
    with pytest.raises(ValueError, match="no batch"):
        evaluate(*parts()[:2], DataLoader(DATA, 30, drop_last=True))


# ------------------------------------------------------------------------------------------------------- early stopping


def stopped(metrics, **settings):
    """The epochs that are run when the metric takes these values, and the weight that remains; it counts epochs."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    class Counting(optim.SGD):
        def step(self, closure):
            loss = super().step(closure)
            with mg.no_grad():
                model.weight += 1.0
            return loss

    values = iter(metrics)
    history = fit(
        model,
        nn.MSELoss(),
        Counting(model.parameters(), lr=0.0),
        DataLoader(TensorDataset(mg.zeros((1, 1)), mg.zeros((1, 1)))),
        len(metrics),
        validation=DataLoader(TensorDataset(mg.zeros((1, 1)), mg.zeros((1, 1)))),
        metric=lambda outputs, targets: next(values),
        early_stopping=EarlyStopping(**settings),
    )
    return len(history.epoch_end), model.weight.item()


@pytest.mark.parametrize(
    ("metrics", "settings", "epochs", "weight"),
    [
        ([1, 2, 3, 2, 2, 9], {"patience": 2}, 5, 3),
        ([1, 2, 3, 2, 4, 1], {"patience": 2}, 6, 5),
        ([3, 2, 1, 2, 2, 9], {"patience": 2, "higher_is_better": False}, 5, 3),
        ([1, 1, 1, 1], {"patience": 1}, 2, 1),
        ([1.0, 1.05, 1.2, 1.25, 1.3], {"patience": 2, "min_delta": 0.1}, 5, 3),
        ([1, float("nan"), float("nan"), 5], {"patience": 2}, 3, 1),
        ([1, 0, 0], {"patience": 2, "restore_best": False}, 3, 3),
        ([1, 0], {"patience": 5}, 2, 1),  # not stopped, and restored all the same
    ],
)
def test_training_stops_when_nothing_got_better_for_long_enough_and_the_best_epoch_is_restored(
    metrics, settings, epochs, weight
):
    assert stopped(metrics, **settings) == (epochs, weight)


def test_without_a_metric_the_validation_loss_decides_and_lower_is_better():
    history = History(validation_loss=[1.0])
    stopping, model = EarlyStopping(patience=1), nn.Linear(1, 1)
    stopping.saw_epoch(history, model)
    history.validation_loss.append(0.5)
    stopping.saw_epoch(history, model)
    assert stopping.best == -0.5 and not stopping.over
    history.validation_loss.append(0.7)
    stopping.saw_epoch(history, model)
    assert stopping.over


@pytest.mark.parametrize("settings", [{"patience": 0}, {"min_delta": -1.0}])
def test_early_stopping_refuses_settings_that_would_never_or_always_stop(settings):
    with pytest.raises(ValueError, match="patience >= 1 and min_delta >= 0"):
        EarlyStopping(**settings)


# ------------------------------------------------------------------------------------------------------- seeing it


def test_the_plot_shows_loss_metric_norms_and_rate():
    history = fit(*parts(), DataLoader(DATA, 5), 3, validation=DataLoader(DATA, 23), metric=accuracy)
    losses, metrics, norms, rates = history.plot().axes
    assert [line.get_label() for line in losses.lines][2] == "validation"
    assert losses.lines[0].get_ydata().tolist() == history.loss
    assert metrics.lines[0].get_ydata().tolist() == history.validation_metric
    assert [line.get_label() for line in norms.lines] == ["0", "1", "4"] and norms.get_yscale() == "log"
    assert rates.lines[0].get_ydata().tolist() == history.lr
    fit(*parts(), DataLoader(DATA, 5), 1).plot().savefig(io.BytesIO())  # without validation


def without(monkeypatch, name):
    """Let the import of a package fail, as where it is not installed."""
    real = builtins.__import__

    def refuse(wanted, *args, **kwargs):
        if wanted.split(".")[0] == name:
            raise ImportError(name)
        return real(wanted, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_without_matplotlib_the_plot_says_what_to_install(monkeypatch):
    without(monkeypatch, "matplotlib")
    with pytest.raises(ImportError, match=r"pip install.*\[plot\]"):
        History().plot()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_shown_on_a_terminal_only_and_only_if_wanted(monkeypatch):
    pytest.importorskip("tqdm")
    for stream, progress, shown in ((Terminal(), True, True), (Terminal(), False, False), (io.StringIO(), True, False)):
        monkeypatch.setattr(sys, "stderr", stream)
        fit(*parts(), DataLoader(DATA, 5), 2, progress=progress)
        assert ("10/10" in stream.getvalue() and "loss" in stream.getvalue()) == shown == bool(stream.getvalue())


def test_without_tqdm_training_is_silent(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    without(monkeypatch, "tqdm")
    fit(*parts(), DataLoader(DATA, 5), 1)
    assert stream.getvalue() == ""


# ------------------------------------------------------------------------------------------------------- checkpoints


def things():
    """All that a run consists of, by name."""
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    loader = DataLoader(DATA, 5, shuffle=True, generator=3)
    stopping = EarlyStopping(patience=3)
    return {"model": model, "optimizer": optimizer, "loader": loader, "history": History(), "stopping": stopping}


def run(epochs, callbacks=(), *, model, optimizer, loader, history, stopping):
    held = DataLoader(DATA, 23)
    return fit(
        model,
        nn.CrossEntropyLoss(),
        optimizer,
        loader,
        epochs,
        validation=held,
        early_stopping=stopping,
        callbacks=callbacks,
        history=history,
    )


def test_a_fit_saved_in_a_callback_and_loaded_elsewhere_goes_on_bit_for_bit(tmp_path):
    path, first = tmp_path / "run.npz", things()

    def save(history):
        if len(history.epoch_end) == 2:
            training.save_checkpoint(path, **first)

    run(5, [save], **first)
    second = things()
    mg.manual_seed(99)
    training.load_checkpoint(path, **second)
    assert len(second["history"].epoch_end) == 2
    run(5, **second)
    assert same(first["model"], second["model"]) and first["history"] == second["history"]
    assert first["stopping"].best == second["stopping"].best and first["stopping"].waited == second["stopping"].waited


def test_a_run_that_had_stopped_early_stays_stopped(tmp_path):
    parts = things()
    run(1, **parts)
    parts["stopping"].waited = 3
    training.save_checkpoint(tmp_path / "run.npz", **parts)
    again = things()
    training.load_checkpoint(tmp_path / "run.npz", **again)
    assert len(run(9, **again).epoch_end) == 1


def snapshot(parts):
    return str({name: part.state_dict() for name, part in parts.items()}) + str(mg.get_rng_state())


def other_network(parts):
    return parts | {"model": nn.Linear(3, 2)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda parts: {k: v for k, v in parts.items() if k != "loader"}, "loader"),
        (lambda parts: parts | {"schedule": Halving(None)}, None),
        (other_network, "model: load_state_dict"),
        (lambda parts: parts | {"loader": DataLoader(DATA, 5)}, "loader: DataLoader.load_state_dict.*generator"),
        (lambda parts: parts | {"history": EarlyStopping()}, "history: EarlyStopping: wanted"),
        (lambda parts: parts | {"stopping": History()}, "stopping: History: wanted"),
    ],
)
def test_a_checkpoint_of_other_parts_is_refused_by_file_and_part_and_nothing_has_changed(tmp_path, change, words):
    saved = things()
    run(1, **saved)
    path = tmp_path / "run.npz"
    training.save_checkpoint(path, **saved)
    parts = things()
    run(2, **parts)
    parts = change(parts)
    if words is None:  # a part that cannot be saved is a mistake of the caller's
        with pytest.raises(AttributeError, match="state_dict"):
            training.load_checkpoint(path, **parts)
        return
    before = snapshot(parts)
    with pytest.raises(mg.CheckpointError, match=f"run.npz.*{words}"):
        training.load_checkpoint(path, **parts)
    assert snapshot(parts) == before


def test_a_file_that_is_no_checkpoint_of_a_run_is_refused(tmp_path):
    mg.save({"weights": mg.ones(3)}, tmp_path / "other.npz")
    with pytest.raises(mg.CheckpointError, match=r"other.npz.*\['parts', 'random'\]"):
        training.load_checkpoint(tmp_path / "other.npz", model=nn.Linear(1, 1))
    with pytest.raises(FileNotFoundError):
        training.load_checkpoint(tmp_path / "nowhere.npz", model=nn.Linear(1, 1))


def test_an_optimizer_of_another_model_or_none_at_all_is_refused_before_anything_is_done():
    model, other = nn.Linear(1, 1), nn.Linear(1, 1)
    batches = [(mg.ones((2, 1)), mg.ones((2, 1)))]
    before = model.weight.data.copy()
    with pytest.raises(ValueError, match="fit: the optimizer has none of the model's parameters"):
        fit(model, nn.MSELoss(), optim.SGD(other.parameters(), lr=0.1), batches, 1)
    with pytest.raises(TypeError, match="fit: optimizer is .*SGD.*; wanted one that was made"):
        fit(model, nn.MSELoss(), optim.SGD, batches, 1)
    assert model.weight.data == before
