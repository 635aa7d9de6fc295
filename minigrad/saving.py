"""Saving to a file and loading from it, so that what is loaded is what was saved, or an error.

Public: `save`, `load`, `CheckpointError`.

A checkpoint is a ``.npz`` archive, never a pickle: loading one runs no code. Each array is a member of it; the dicts
and lists around the arrays are one more, as JSON. Three ideas make it trustworthy. The new file is written under
another name and takes the old one's place in one step, so that a save cut short leaves the old file whole. The archive
ends with the SHA-256 digest of all that comes before, so that no damaged bit goes unseen. Nothing in it is compressed,
so that what a file takes of the memory is what it takes of the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from . import backend
from .replacement import replacement
from .tensor import Tensor

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

FORMAT = 1
ENDING = "minigrad checkpoint, format {}, sha256 "  # the archive's comment, before the 64 digits of the digest
DEEPEST = 100  # levels of nesting


class CheckpointError(ValueError):
    """Something is wrong with a checkpoint: damaged, cut short, of another kind, or impossible to write."""


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write `obj` to a file, whole or not at all.

    Parameters
    ----------
    obj
        Dicts (keys: strings, numbers or None), lists and tuples, nested, of strings, numbers, None, arrays, NumPy's
        scalars and Tensors that are leaves. Of a Tensor the values and `requires_grad` are saved, not `.grad`.
    path
        Exactly this file; nothing is appended to the name. A file that is there is replaced and keeps its permissions;
        through a symbolic link, the file that it points to.

    Raises
    ------
    TypeError
        For anything else in `obj`, with the keys that lead to it; nothing has been written.
    FileNotFoundError, PermissionError
        Where the folder is missing, or the file or folder may not be written to.
    CheckpointError
        Where the file cannot be written to its end, because the disk is full. What was there before is unchanged.

    Examples
    --------
    >>> import minigrad as mg, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
    >>> mg.save({"epoch": 3, "w": mg.tensor([1.0, 2.0])}, path)
    >>> mg.load(path)
    {'epoch': 3, 'w': tensor([1., 2.], dtype=float32, device='cpu')}
    """
    import json  # here, not above: with zipfile 7 ms of every `import minigrad`
    import zipfile

    path = os.fsdecode(path)
    arrays: dict[str, Any] = {}
    structure = json.dumps(flatten(obj, (), arrays), ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        with replacement(path) as file:
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo("structure.json"), structure)
                archive.comment = ENDING.format(FORMAT).encode() + bytes(64)
            size = file.seek(0, os.SEEK_END) - 64
            digits = digest(file, size)
            file.seek(size)
            file.write(digits)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise CheckpointError(f"save: {path}: {error}; what was there before is unchanged") from error


def load(path: str | os.PathLike[str]) -> Any:
    """What `save` wrote to a file: the same types, dtypes, shapes and bits, on the CPU.

    Memory beyond the file's own size is never asked for, and no code in it is run, so that a stranger's file is safe to
    load. Whether its shapes fit a model is the matter of the model's `load_state_dict`.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    CheckpointError
        Where the file is not what `save` wrote, to the last bit. It names the file, and the key if it is known.
    """
    import json
    import zipfile

    path = os.fsdecode(path)
    with open(path, "rb") as file, naming(path):
        size = check(file)
        with zipfile.ZipFile(file) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
                raise ValueError("it holds compressed members, and save compresses nothing")
            if sum(info.file_size for info in archive.infolist()) > size:
                raise ValueError("its members claim more bytes than the file has")
            structure = archive.read(members.pop("structure.json")).decode("utf-8", "surrogatepass")
            obj = rebuild(json.loads(structure), f"{path}: obj", archive, members)
        if members:
            raise ValueError(f"it holds members that belong to nothing: {sorted(members)}")
    return obj


# --------------------------------------------------------------------------------------------- between objects and JSON


def flatten(x: Any, keys: tuple[Any, ...], arrays: dict[str, Any]) -> Any:
    """`x` as what JSON can hold, its arrays put into `arrays`. Anything that JSON lacks is written {kind: content}."""
    if len(keys) > DEEPEST:
        raise TypeError(f"save: {place(keys)} lies deeper than {DEEPEST} levels; does it contain itself?")
    if x is None or type(x) in (bool, float, str):
        return x
    if type(x) is int:
        return x if x.bit_length() < 64 else {"int": hex(x)}  # Python refuses decimals of more than 4,300 digits
    if type(x) is list:
        return [flatten(v, (*keys, i), arrays) for i, v in enumerate(x)]
    if type(x) is tuple:
        return {"tuple": [flatten(v, (*keys, i), arrays) for i, v in enumerate(x)]}
    if type(x) is dict:
        for key in x:
            if key is not None and type(key) not in (bool, int, float, str):
                raise TypeError(f"save: {place(keys)} has the key {key!r}; wanted strings, numbers or None as keys")
        return {"dict": [[flatten(k, keys, arrays), flatten(v, (*keys, k), arrays)] for k, v in x.items()]}

    if isinstance(x, Tensor):
        if not x.is_leaf:
            raise TypeError(f"save: {place(keys)} is a computed Tensor, and its graph cannot be saved; use x.detach()")
        kind, array = "tensor, requires_grad" if x.requires_grad else "tensor", x.data
    elif isinstance(x, np.generic):
        kind, array = "scalar", np.asarray(x)
    elif type(x) in backend.ARRAY_TYPES:
        kind, array = "array", x
    else:
        hint = "; save its state_dict()" if hasattr(x, "state_dict") else ""
        raise TypeError(
            f"save: {place(keys)} is a {type(x).__name__}; wanted dicts, lists, tuples, strings, numbers, None, arrays "
            f"or Tensors{hint}"
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(f"save: {place(keys)} has dtype {array.dtype}; wanted floats, integers or booleans")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", ".".join(map(str, keys)))[:100] or "array"
    if name in arrays:
        name = f"{name}#{len(arrays)}"
    arrays[name] = backend.to_device(array, "cpu")
    return {kind: name}


def place(keys: tuple[Any, ...]) -> str:
    """Where something lies in what is saved, as Python would write it."""
    return "obj" + "".join(f"[{key!r}]" for key in keys)


def rebuild(x: Any, where: str, archive: ZipFile, members: dict[str, ZipInfo]) -> Any:
    """The reverse of `flatten`. Takes from `members` what it uses, so that nothing is read twice."""
    if type(x) is list:
        return [rebuild(v, f"{where}[{i}]", archive, members) for i, v in enumerate(x)]
    if type(x) is not dict:
        return x
    with naming(where):
        [(kind, content)] = x.items()
        if kind == "int":
            return int(content, 16)
        if kind == "tuple":
            return tuple(rebuild(v, f"{where}[{i}]", archive, members) for i, v in enumerate(content))
        if kind == "dict":
            pairs = [(rebuild(k, where, archive, members), v) for k, v in content]
            return {k: rebuild(v, f"{where}[{k!r}]", archive, members) for k, v in pairs}
        array = read_array(archive, members.pop(f"{content}.npy"))
        if kind == "array":
            return array
        if kind == "scalar":
            return array[()]
        if kind not in ("tensor", "tensor, requires_grad"):
            raise ValueError(f"unknown kind {kind!r}")
        tensor = Tensor(array)
        tensor.requires_grad = kind != "tensor"
        return tensor


def read_array(archive: ZipFile, info: ZipInfo) -> Any:
    """One member as an array, after its header has been found to promise just the bytes that are there."""
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError("it is of another .npy version than 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.kind not in "fiub":
            raise ValueError(f"it has dtype {dtype}; wanted floats, integers or booleans")
        if math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
            raise ValueError(f"it claims to be {dtype}{list(shape)} and has {info.file_size - member.tell()} bytes")
    with archive.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Whatever goes wrong inside is a CheckpointError that names the place."""
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # zipfile, json and numpy have about ten kinds, for a file made to deceive
        raise CheckpointError(f"load: {where}: {error or type(error).__name__}") from error


# ------------------------------------------------------------------------------------------------ the digest at the end


def digest(file: IO[bytes], size: int) -> bytes:
    """The SHA-256 digest of a file's first `size` bytes, in hexadecimal. A gigabyte takes half a second."""
    sha = hashlib.sha256()
    file.seek(0)
    while size > 0 and (block := file.read(min(size, 2**20))):
        sha.update(block)
        size -= len(block)
    return sha.hexdigest().encode()


def check(file: IO[bytes]) -> int:
    """The file's size, if it ends with the digest of what comes before. Raises ValueError where it does not."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 128, 0))
    ending = re.search(ENDING.format(r"(\d+)") + r"([0-9a-f]{64})\Z", file.read().decode("latin-1"))
    if ending is None:
        raise ValueError("it was cut short, or not written by minigrad's save")
    version, digits = ending.groups()
    if digest(file, size - 64) != digits.encode():
        raise ValueError("its bytes are not those that were saved")
    if int(version) != FORMAT:
        raise ValueError(f"it has format {version}, and this minigrad reads format {FORMAT}")
    return size
