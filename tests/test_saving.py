"""Saving: what comes back is what went in, and a file that is wrong in any way is refused."""

import enum
import errno
import io
import json
import math
import os
import pickle
import stat
import struct
import subprocess
import sys
import textwrap
import tracemalloc
import zipfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
from minigrad import replacement, saving

OLD = {"epoch": 1, "w": np.arange(1000.0)}


@pytest.fixture
def path(tmp_path):
    """A file that holds OLD, alone in its folder."""
    mg.save(OLD, tmp_path / "run.npz")
    return tmp_path / "run.npz"


def same(x, y):
    """Are two objects equal in type, dtype, shape and every bit?"""
    if type(x) is not type(y):
        return False
    if isinstance(x, mg.Tensor):
        return x.requires_grad == y.requires_grad and same(x.numpy(), y.numpy())
    if isinstance(x, (np.ndarray, np.generic)):
        bits = x.tobytes() == y.tobytes() or (
            x.dtype.char == "g" and np.array_equal(x, y)
        )  # 6 of its 16 bytes are padding
        return x.dtype == y.dtype and x.shape == y.shape and bits
    if isinstance(x, dict):
        return len(x) == len(y) and all(same(a, b) for a, b in zip(x.items(), y.items()))
    if isinstance(x, (list, tuple)):
        return len(x) == len(y) and all(map(same, x, y))
    if isinstance(x, float):
        return (math.isnan(x) and math.isnan(y)) or struct.pack("d", x) == struct.pack("d", y)
    return x == y


# ------------------------------------------------------------------------------------------------ what comes back

dtypes = st.one_of(
    hnp.boolean_dtypes(), hnp.integer_dtypes(endianness="?"), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes()
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
text = st.text(st.characters())  # lone surrogates too
keys = st.none() | st.booleans() | st.integers() | st.floats() | text
leaves = keys | arrays | arrays.map(mg.tensor) | hnp.arrays(dtypes, ()).map(lambda a: a[()])
nested = st.recursive(
    leaves,
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=10,
)


@settings(max_examples=60)
@given(obj=nested)
def test_whatever_is_nested_of_the_allowed_things_comes_back_bit_for_bit(tmp_path_factory, obj):
    path = tmp_path_factory.getbasetemp() / "nested.npz"
    mg.save(obj, path)
    assert same(mg.load(path), obj)


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.5),
        np.zeros((0, 3), np.int16),
        np.arange(24.0).reshape(2, 3, 4)[:, ::-2, ::2],
        np.arange(6.0).reshape(2, 3).T,
        np.broadcast_to(np.float32(7), (2, 3)),
        np.arange(5, dtype=">i4"),
        np.array([True, False]),
        np.array([1e-7, -0.0, np.inf, np.nan], np.float16),
        np.array([1, 2], np.longdouble) / 3,
        np.array([2**64 - 1], np.uint64),
    ],
    ids=lambda a: f"{a.dtype.str}{list(a.shape)}",
)
def test_an_array_keeps_its_dtype_and_shape_and_can_be_written_to(tmp_path, array):
    mg.save(array, tmp_path / "a.npz")
    loaded = mg.load(tmp_path / "a.npz")
    assert same(loaded, array) and loaded.flags.writeable


def test_the_memory_order_of_a_transposed_array_is_kept_so_that_products_round_alike(tmp_path):
    mg.save(np.ones((2, 3)).T, tmp_path / "a.npz")
    assert mg.load(tmp_path / "a.npz").flags.f_contiguous


def test_numbers_of_any_size_are_kept(path):
    numbers = [2**63, -(2**63), 2**128 + 1, 10**5000, -0.0, 5e-324, 1.7e308, math.inf, -math.inf, math.nan]
    mg.save(numbers, path)
    assert same(mg.load(path), numbers)


def test_a_scalar_of_numpy_comes_back_as_one_also_where_it_is_a_python_number_too(path):
    scalars = [np.float64(0.1), np.float32(0.1), np.int8(-1), np.bool(True), np.longdouble(1) / 3]
    mg.save(scalars, path)
    assert same(mg.load(path), scalars)


def test_text_is_kept_also_where_it_is_not_valid_unicode(path):
    words = ["é", "\0", "\ud83d", "\ud83d" + "\ude00", "\U0001f600"]
    mg.save({word: word for word in words}, path)
    assert same(mg.load(path), {word: word for word in words})


def test_a_tensor_keeps_requires_grad_and_leaves_its_gradient_behind(path):
    w = mg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    mg.save((w, w.detach()), path)
    a, b = mg.load(path)
    assert a.requires_grad and a.is_leaf and a.grad is None and not b.requires_grad


def test_the_same_array_twice_comes_back_as_two_arrays(path):
    mg.save([OLD["w"], OLD["w"]], path)
    a, b = mg.load(path)
    assert same(a, b) and not np.shares_memory(a, b)


def test_keys_that_look_alike_stay_apart(path):
    obj = {"a": {"b": np.zeros(1)}, "a.b": np.ones(1), 0: np.zeros(2), "0": np.ones(2), "a/b": np.ones(3), "a b": 2}
    mg.save(obj, path)
    assert same(mg.load(path), obj)


def test_numpy_reads_the_arrays_by_their_keys_without_minigrad(path):
    mg.save({"model": {"0.weight": mg.tensor([[1.0, 2.0]])}, "epoch": 3}, path)
    with np.load(path, allow_pickle=False) as archive:
        assert archive["model.0.weight"].tolist() == [[1.0, 2.0]]
        assert json.loads(archive["structure.json"])["dict"][1] == ["epoch", 3]


def test_the_same_object_gives_the_same_bytes_on_another_day(path, tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile.time, "localtime", lambda *args: (2001, 2, 3, 4, 5, 6))
    mg.save(OLD, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_the_random_stream_goes_on_from_a_file(path):
    mg.save(mg.get_rng_state(), path)
    first = mg.randn(5)
    mg.set_rng_state(mg.load(path))
    assert same(mg.randn(5), first)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: None,
        lambda s: {},
        lambda s: {**s, "bit_generator": "MT19937"},
        lambda s: {**s, "state": {"state": -1, "inc": 1}},
        lambda s: {**s, "state": {"state": 1.5, "inc": 1}},
        lambda s: {**s, "state": []},
        lambda s: {**s, "uinteger": "0"},
    ],
)
def test_a_wrong_random_state_is_refused_and_the_stream_stays_where_it_was(change):
    before = mg.get_rng_state()
    with pytest.raises(ValueError, match="set_rng_state: .*wanted what get_rng_state returned"):
        mg.set_rng_state(change(before))
    assert mg.get_rng_state() == before


# ------------------------------------------------------------------------------------------------ what is not saved


class Sneaky(dict):
    """A dict with behaviour of its own, which a file could not keep."""


class Colour(enum.IntEnum):
    """An int with a name, which a file could not keep."""

    RED = 1


itself: list = []
itself.append(itself)
w = mg.tensor([1.0], requires_grad=True)


@pytest.mark.parametrize(
    "bad, message",
    [
        (object(), r"obj\['a'\]\[1\] is a object"),
        (print, "is a builtin_function_or_method"),
        (lambda: 0, r"obj\['a'\]\[1\] is a function; wanted dicts, lists"),
        ({1, 2}, "is a set"),
        (b"bytes", "is a bytes"),
        (1 + 2j, "is a complex"),
        (range(3), "is a range"),
        (Sneaky(), "is a Sneaky"),
        (Colour.RED, "is a Colour"),
        (np.str_("a"), "has dtype <U1"),
        (np.ma.masked_array([1.0]), "is a MaskedArray"),
        (np.array([None]), "has dtype object; wanted floats"),
        (np.array(["cat"]), "has dtype <U3"),
        (np.zeros(2, np.complex64), "has dtype complex64"),
        (np.zeros(2, "f4,i4"), "has dtype"),
        (np.complex128(1), "has dtype complex128"),
        (np.datetime64("2020-01-01"), "has dtype datetime64"),
        (w * 2, r"is a computed Tensor, and its graph cannot be saved; use x.detach\(\)"),
        ({"b": {(1, 2): 0}}, r"obj\['a'\]\[1\]\['b'\] has the key \(1, 2\); wanted strings"),
        ({np.int64(1): 0}, "has the key"),
        (itself, "deeper than 100 levels; does it contain itself"),
        (type("Model", (), {"state_dict": dict})(), r"is a Model; .* save its state_dict\(\)"),
    ],
)
def test_anything_else_is_refused_by_its_key_before_anything_is_written(path, bad, message):
    before = path.read_bytes()
    with pytest.raises(TypeError, match=f"save: .*{message}"):
        mg.save({"a": [np.zeros(3), bad]}, path)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["run.npz"]


# ------------------------------------------------------------------------------------------------ the file that is written


@pytest.mark.parametrize("name", ["run", "run.checkpoint", "übung 1.npz", "x" * 255])
@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
def test_the_file_is_written_under_exactly_the_name_given(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    mg.save(OLD, kind(name))
    assert os.listdir(tmp_path) == [name] and same(mg.load(kind(name)), OLD)


@pytest.mark.parametrize("wrong", [3, None, io.BytesIO()])
def test_what_is_no_path_is_refused(wrong):
    for function in (lambda: mg.save(OLD, wrong), lambda: mg.load(wrong)):
        with pytest.raises(TypeError, match="PathLike"):
            function()


def test_a_missing_file_or_folder_is_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError, match="no_such"):
        mg.load(tmp_path / "no_such.npz")
    with pytest.raises(FileNotFoundError, match="no_such"):
        mg.save(OLD, tmp_path / "no_such" / "run.npz")


def test_a_folder_is_not_written_over(tmp_path):
    (tmp_path / "runs").mkdir()
    with pytest.raises(mg.CheckpointError, match="save: .*runs: it is a folder or a device; wanted the name of a file"):
        mg.save(OLD, tmp_path / "runs")
    assert os.listdir(tmp_path) == ["runs"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # stands for /dev/null too, which no test should put at risk
    with pytest.raises(mg.CheckpointError, match="pipe: it is a folder or a device"):
        mg.save(OLD, tmp_path / "pipe")
    assert os.listdir(tmp_path) == ["pipe"] and stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


@pytest.mark.skipif(os.name != "posix", reason="permission bits are POSIX's")
def test_permissions_are_those_that_open_would_give(path):
    os.chmod(path, 0o640)
    mg.save(OLD, path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
    mg.save(OLD, path.parent / "new.npz")
    (path.parent / "opened").touch()
    assert os.stat(path.parent / "new.npz").st_mode == os.stat(path.parent / "opened").st_mode


def test_a_read_only_file_is_not_replaced(path):
    os.chmod(path, 0o444)
    if os.access(path, os.W_OK):
        pytest.skip("nothing is read-only to the superuser")
    with pytest.raises(PermissionError):
        mg.save({"new": 1}, path)
    assert same(mg.load(path), OLD)


def test_a_symbolic_link_stays_one_and_what_it_points_to_is_replaced(path, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "latest.npz").symlink_to(path)
    mg.save({"new": 1}, folder / "latest.npz")
    assert (folder / "latest.npz").is_symlink() and mg.load(path) == {"new": 1}


# ------------------------------------------------------------------------------------------------ cut short while saving


def test_a_full_disk_is_a_checkpoint_error_and_leaves_the_old_file(path):
    resource = pytest.importorskip("resource")
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    new = {"w": np.zeros(3000), "text": "x" * 10_000}
    mg.save(new, path.parent / "new.npz")
    size = (path.parent / "new.npz").stat().st_size
    os.unlink(path.parent / "new.npz")
    for limit in [0, 1, 100, *range(1000, size, 5000), size - 1]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(mg.CheckpointError, match=r"save: .*run.npz: .*unchanged"):
                mg.save(new, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before and os.listdir(path.parent) == ["run.npz"]


@pytest.mark.parametrize("call", ["fsync", "chmod", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_error_at_the_last_steps_leaves_the_old_file_and_no_other(path, monkeypatch, call, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(os, call, fail)
    with pytest.raises((mg.CheckpointError, KeyboardInterrupt)):
        mg.save({"new": 1}, path)
    monkeypatch.undo()
    assert same(mg.load(path), OLD) and os.listdir(path.parent) == ["run.npz"]


def test_the_bytes_are_flushed_before_the_renaming_and_the_folder_after_it(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda f: (calls.append("folder" if stat.S_ISDIR(os.fstat(f).st_mode) else "file"), fsync(f))
    )
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names)))
    mg.save({"new": 1}, path)
    assert calls == ["file", "replace", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="there an open file cannot be removed, by anyone")
def test_the_next_save_removes_what_a_killed_one_left_but_not_what_one_under_way_is_writing(path):
    dead = path.parent / (replacement.UNFINISHED + "dead")
    dead.write_bytes(b"half a file")
    with replacement.replacement(str(path)) as file:
        assert not dead.exists()
        mg.save({"other": 1}, path.parent / "other.npz")
        assert os.path.exists(file.name)
        file.write(path.read_bytes())
    assert sorted(os.listdir(path.parent)) == ["other.npz", "run.npz"] and same(mg.load(path), OLD)


@pytest.mark.skipif(sys.platform == "win32", reason="there is nothing to remove it there")
def test_no_other_save_takes_an_unfinished_file_for_a_stray_however_close_to_its_beginning_or_end(path, monkeypatch):
    lock, rename, removed = replacement.lock, os.replace, []

    def unlucky(file, wait):
        if wait and not removed:
            removed.append(file.name)
            replacement.remove_strays(path.parent)
            assert not os.path.exists(file.name)
        lock(file, wait)

    monkeypatch.setattr(replacement, "lock", unlucky)
    monkeypatch.setattr(os, "replace", lambda *names: (replacement.remove_strays(path.parent), rename(*names)))
    mg.save({"new": 1}, path)
    assert removed and mg.load(path) == {"new": 1} and os.listdir(path.parent) == ["run.npz"]


def test_a_file_system_without_locks_or_flushing_of_folders_can_be_saved_to(path, monkeypatch):
    fsync = os.fsync

    def lock(file, wait):
        raise OSError(errno.ENOSYS, "Function not implemented")

    def fsync_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(replacement, "lock", lock)
    monkeypatch.setattr(os, "fsync", fsync_files)
    mg.save({"new": 1}, path)
    assert mg.load(path) == {"new": 1} and os.listdir(path.parent) == ["run.npz"]


def test_two_saves_of_one_file_at_once_leave_one_of_the_two_whole(path):
    with replacement.replacement(str(path)) as file:
        file.write(path.read_bytes())
        mg.save({"second": 1}, path)
    assert same(mg.load(path), OLD) and os.listdir(path.parent) == ["run.npz"]


# A process forks children that save without end, each to be killed, and loads what is there then. The moments are
# random times (from outside), or each call into the operating system in turn (the child kills itself just before it).
# Prints how many kills there were and how many left an unfinished file behind, so struck in the middle.
KILLS = """
    import io, os, signal, sys, time
    import numpy as np
    import minigrad as mg
    from minigrad import replacement, saving

    path, kills = sys.argv[1], int(sys.argv[2])
    folder, name = os.path.split(path)
    rng = np.random.default_rng(kills)

    def content(k):
        return {"k": k, "arrays": [np.full(20_000, k), mg.tensor(np.full((50, 20), float(k)))], "text": str(k) * 999}

    def whole():
        found = mg.load(path)
        k, (a, b), text = found["k"], found["arrays"], found["text"]
        assert a.shape == (20_000,) and b.shape == (50, 20) and (a == k).all() and (b.data == k).all()
        assert text == str(k) * 999
        return k

    def watch(call):
        def profile(frame, event, function):
            module, owner = getattr(function, "__module__", None), getattr(function, "__self__", None)
            if event == "c_call" and (module in ("posix", "fcntl", "_io") or isinstance(owner, io.IOBase)):
                call()

        sys.setprofile(profile)

    def die_at(moment):
        countdown = iter(range(moment, -1, -1))
        watch(lambda: next(countdown) or os.kill(os.getpid(), signal.SIGKILL))

    def kill_one(moment):
        before = whole()
        child = os.fork()
        if child == 0:
            try:
                if kills == 0:
                    die_at(moment)
                for k in range(before + 1, 10**9):
                    mg.save(content(k), path)
            finally:
                os._exit(1)
        if kills:
            time.sleep(moment)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        assert whole() >= before
        return os.listdir(folder) != [name]

    mg.save(content(0), path)
    calls = []
    watch(lambda: calls.append(1))
    mg.save(content(0), path)
    sys.setprofile(None)
    moments = rng.uniform(0, 0.02, kills) if kills else range(len(calls))
    struck = sum(map(kill_one, moments))
    mg.save(content(0), path)
    assert os.listdir(folder) == [name]
    print(len(moments), struck)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kills", ["at every call", "10 random", pytest.param("200 random", marks=pytest.mark.slow)])
def test_a_process_killed_at_any_moment_of_saving_leaves_the_old_or_the_new_file_whole(tmp_path, kills):
    (tmp_path / "folder").mkdir()
    number = kills.split()[0] if "random" in kills else "0"
    environment = {**os.environ, "PYTHONPATH": str(Path(mg.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    arguments = [sys.executable, "-c", textwrap.dedent(KILLS), str(tmp_path / "folder" / "run.npz"), number]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    killed, struck = map(int, done.stdout.split())
    least = {"at every call": killed // 2, "10 random": 0, "200 random": 10}[kills]  # on however slow a machine
    assert killed >= 10 and struck >= least


# ------------------------------------------------------------------------------------------------ files that are wrong


def npy(array=None, shape="(3,)", descr="'<f4'", data=bytes(12), version=1, header=None):
    """The bytes of a .npy file, of an array or with a header that may lie."""
    if array is not None:
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        return file.getvalue()
    if header is None:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    header += "\n"
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header.encode() + data


THREE_ZEROS = npy()


def forge(structure='{"array": "w"}', w=THREE_ZEROS, compression=zipfile.ZIP_STORED, version=saving.FORMAT, more=()):
    """A checkpoint made by someone who knows how: its digest is right, whatever else may be wrong."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        if w is not None:
            archive.writestr("w.npy", w)
        if structure is not None:
            archive.writestr("structure.json", structure)
        for name, data in more:
            archive.writestr(name, data)
        archive.comment = saving.ENDING.format(version).encode() + bytes(64)
    return sign(file.getvalue())


def sign(data):
    """With the right digest at its end."""
    return data[:-64] + sha256(data[:-64]).hexdigest().encode()


def flip(data, position):
    return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]


def numpys(writer, *args, **kwargs):
    file = io.BytesIO()
    writer(file, *args, **kwargs)
    return file.getvalue()


def overlapping():
    """Two members in one place: the directory's entry for `v.npy` points to the bytes of `w.npy`."""
    data = forge(more=[("v.npy", npy())], structure='[{"array": "w"}, {"array": "v"}]', w=npy(np.zeros(1000)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        start, size = archive.getinfo("v.npy").header_offset, archive.getinfo("w.npy").file_size
        crc = archive.getinfo("w.npy").CRC
    entry = data.index(b"v.npy", data.index(b"PK\1\2")) - 46
    local = bytearray(data)
    local[entry + 16 : entry + 28] = struct.pack("<III", crc, size, size)
    local[entry + 42 : entry + 46] = struct.pack("<I", 0)
    assert start
    return sign(bytes(local))


def encrypted():
    """The flag of an encrypted member, in both places where a member has flags."""
    data = bytearray(forge())
    data[6] |= 1
    data[bytes(data).index(b"PK\1\2") + 8] |= 1
    return sign(bytes(data))


GOOD = forge()
BOMB = npy(np.zeros(20_000_000, np.uint8))

# fmt: off
BAD = {
    # damaged
    "empty":                          (b"",                                         "cut short"),
    "one byte short":                 (GOOD[:-1],                                   "cut short"),
    "half":                           (GOOD[: len(GOOD) // 2],                      "cut short"),
    "its end alone":                  (GOOD[-128:],                                 "not those that were saved"),
    "its beginning lost":             (GOOD[1:],                                    "not those that were saved"),
    "a byte longer":                  (GOOD + b"\0",                                "cut short"),
    "twice":                          (GOOD + GOOD,                                 "not those that were saved"),
    "a bit of the array":             (flip(GOOD, GOOD.index(b"\n") + 3),           "not those that were saved"),
    "a bit of the structure":         (flip(GOOD, GOOD.index(b'"array"') + 2),      "not those that were saved"),
    "a bit of a date":                (flip(GOOD, 11),                              "not those that were saved"),
    "a bit of the digest":            (flip(GOOD, len(GOOD) - 1),                   ""),
    "a block of zeros":               (GOOD[:50] + bytes(50) + GOOD[100:],          "not those that were saved"),
    # of another kind
    "text":                           (b"epoch,loss\n1,0.5\n" * 20,                 "not written by minigrad"),
    "noise":                          (np.random.default_rng(0).bytes(1000),        "not written by minigrad"),
    "a pickle":                       (pickle.dumps(OLD),                           "not written by minigrad"),
    "a .npy":                         (npy(np.zeros(3)),                            "not written by minigrad"),
    "NumPy's .npz":                   (numpys(np.savez, w=np.zeros(3)),             "not written by minigrad"),
    "NumPy's compressed .npz":        (numpys(np.savez_compressed, w=np.zeros(3)),  "not written by minigrad"),
    "a pickle inside an .npz":        (numpys(np.savez, w=np.array([OLD])),         "not written by minigrad"),
    "an older format":                (forge(version=0),                            "format 0, and this minigrad reads"),
    "a newer format":                 (forge(version=12),                           "format 12, and this minigrad reads"),
    # made to deceive: the digest is right
    "no archive":                     (sign(b"x" * 300 + GOOD[-105:]),              "zip"),
    "compressed":                     (forge(compression=zipfile.ZIP_DEFLATED),     "compressed members"),
    "absurdly compressed":            (forge(w=BOMB, compression=zipfile.ZIP_BZIP2), "compressed members"),
    "encrypted":                      (encrypted(),                                 "encrypted"),
    "overlapping members":            (overlapping(),                               "more bytes than the file has"),
    "no structure":                   (forge(structure=None),                       "structure.json"),
    "a structure that is no JSON":    (forge(structure='{"array": "w"'),            "delimiter"),
    "a structure that is no text":    (forge(structure=b'"\xff\xff"'),              "utf-8"),
    "a structure too deep":           (forge(structure="[" * 99_999),               "recursion"),
    "tuples too deep":                (forge('{"tuple": [' * 480 + "]}" * 480, w=None), "recursion"),
    "an unknown kind":                (forge(structure='{"code": "w"}'),            "unknown kind 'code'"),
    "two kinds in one":               (forge(structure='{"array": "w", "int": 1}'), "obj: too many values"),
    "an integer that is none":        (forge(structure='{"int": "w"}', w=None),     "obj: invalid literal"),
    "a key that cannot be one":       (forge(structure='{"dict": [[["a"], 1]]}', w=None), "obj: unhashable"),
    "a dict without values":          (forge(structure='{"dict": [["a"]]}', w=None), "obj: not enough values"),
    "a member that is missing":       (forge(structure='{"dict": [["m", {"array": "v"}]]}'), r"obj\['m'\]: 'v.npy'"),
    "a member used twice":            (forge(structure='[{"array": "w"}, {"array": "w"}]'), r"obj\[1\]: 'w.npy'"),
    "a member that is not used":      (forge(more=[("evil.py", b"print()")]),       "belong to nothing: .'evil.py'"),
    "a pickled array":                (forge(w=npy(np.array([OLD]))),               "obj: it has dtype object"),
    "a dtype that is object":         (forge(w=npy(descr="'|O'")),                  "obj: it has dtype object"),
    "a complex array":                (forge(w=npy(np.zeros(3, complex))),          "obj: it has dtype complex128"),
    "a record array":                 (forge(w=npy(np.zeros(3, "f4,i4"))),          "obj: it has dtype"),
    "a dtype that is none":           (forge(w=npy(descr="'float4096'")),           "obj: descr is not a valid dtype"),
    "a shape too large":              (forge(w=npy(shape="(4,)")),                  r"obj: it claims to be float32\[4\]"),
    "a shape of a terabyte":          (forge(w=npy(shape="(10**12,)")),             "obj: "),
    "a shape of four terabytes":      (forge(w=npy(shape="(1000000000000,)")),      "obj: it claims to be"),
    "a shape that overflows":         (forge(w=npy(shape="(4294967296, 4294967296)", data=b"")), "obj: it claims to be"),
    "a shape too small":              (forge(w=npy(shape="(2,)")),                  "obj: it claims to be"),
    "a negative shape":               (forge(w=npy(shape="(-1, -3)")),              "obj: "),
    "a shape that is none":           (forge(w=npy(shape="'abc'")),                 "obj: shape is not valid"),
    "a header that is code":          (forge(w=npy(header="__import__('os').abort()")), "obj: "),
    "a header that is no dictionary": (forge(w=npy(header="[1, 2]")),               "obj: Header is not a dictionary"),
    "another version of .npy":        (forge(w=npy(version=2)),                     "obj: it is of another .npy version"),
    "no .npy":                        (forge(w=b"hello, world"),                    "obj: "),
    "an integer that learns":         (forge('{"tensor, requires_grad": "w"}', npy(np.arange(3))), "obj: requires_grad"),
}
# fmt: on


def test_the_forger_of_bad_files_can_make_a_good_one(tmp_path):
    (tmp_path / "good.npz").write_bytes(GOOD)
    assert same(mg.load(tmp_path / "good.npz"), np.zeros(3, np.float32))


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_refused_by_one_exception_that_names_it(tmp_path, kind):
    data, message = BAD[kind]
    path = tmp_path / "run.npz"
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(mg.CheckpointError, match=f"load: .*run.npz: .*{message}") as caught:
        mg.load(path)
    assert str(caught.value).count("run.npz") == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    assert path.read_bytes() == data and os.listdir(tmp_path) == ["run.npz"]


@pytest.mark.parametrize("bits", ["one of every byte", pytest.param("all", marks=pytest.mark.slow)])
def test_a_file_with_any_one_bit_flipped_is_refused(tmp_path, bits):
    mg.save({"w": np.arange(3, dtype=np.float32)}, tmp_path / "run.npz")
    data = (tmp_path / "run.npz").read_bytes()
    for position in range(len(data)):
        for bit in range(8) if bits == "all" else [position % 8]:
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            (tmp_path / "run.npz").write_bytes(damaged)
            with pytest.raises(mg.CheckpointError):
                mg.load(tmp_path / "run.npz")


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    mg.save({"w": np.arange(3, dtype=np.float32)}, tmp_path / "run.npz")
    for size in reversed(range((tmp_path / "run.npz").stat().st_size)):
        os.truncate(tmp_path / "run.npz", size)
        with pytest.raises(mg.CheckpointError):
            mg.load(tmp_path / "run.npz")


def test_loading_never_unpickles(path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    monkeypatch.setattr(pickle, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "Unpickler", refuse)
    mg.load(path)
    path.write_bytes(forge(w=npy(np.array([OLD]))))
    with pytest.raises(mg.CheckpointError):
        mg.load(path)


def test_running_out_of_memory_is_not_blamed_on_the_file(path, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", fail)
    with pytest.raises(MemoryError):
        mg.load(path)
