"""A ticket as a file: what names a pruned random network, and not one weight of it.

A .npz file of two arrays of bytes. The bytes of the file are a function of the ticket, whatever
numpy and Python write it, and no other bytes are read.

    header  JSON: format, the fields of `Ticket` but for its neurons, and a SHA-256 digest of
            all else in the file
    kept    for each slot 0 for none, or 1 + the kept neuron's rank: of b blocks, block j mod b
            holds neuron j at rank j div b. A number takes as many bits as the block size has,
            lowest first; layers follow each other, slots go by side, output, input

Format 2 is for pooled: a layer is one block, so that a rank is the neuron itself, and none is there
twice. Format 3 is for rule subset: for each output and input, a bit for every neuron of the block.

Weights are those of trial 0 of the seed, by the addresses of `ltjax.weights.draws`.
"""

import hashlib
import json
import math
import reprlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.experiments.network.config import Network
from ltjax.networks.pruned import block_counts, block_numbers, slots
from ltjax.system import files
from ltjax.system.files import FilePath
from ltjax.validate import MAX_WIDTH, check_seed

TRIAL = 0  # of the seed: the random network that every ticket is cut from
CONSTRUCTIONS = ("blocks", "separate", "pooled")
RULES = ("nearest", "subset")
FORMATS = {
    ("blocks", "nearest"): "ltjax-ticket/1",
    ("separate", "nearest"): "ltjax-ticket/1",
    ("pooled", "nearest"): "ltjax-ticket/2",
    ("blocks", "subset"): "ltjax-ticket/3",
}
MOST_SUBSET = 64  # neurons of a block by rule subset: sums of their products are exact in int64
LEAST_SCALE, MOST_SCALE = 1e-300, 1e300  # with which an error keeps the precision of float64
FIELDS = {
    "seed": int,
    "sizes": tuple,
    "last": str,
    "construction": str,
    "rule": str,
    "scales": tuple,
    "blocks": tuple,
    "target": str,
    "epsilon": float,
}
ELEMENTS = {"sizes": int, "scales": float, "blocks": int}
MOST_FLOAT = float(np.finfo(np.float64).max)
HEX = frozenset("0123456789abcdef")
# How zip marks a member: version 4.5, stored, of 1 January 1980; and the rights of its file.
ZIP = (45, 0, 0, 0, 0x21)
RIGHTS = 0o600 << 16
NPY_HEADER = 128  # bytes before the numbers of a short array


@dataclass(frozen=True, kw_only=True, eq=False)
class Ticket:
    """A pruned random network g~, and the target f that scale * g~ stands for.

    seed: of the random network, which is trial 0.
    sizes: d, n_1, ..., outputs; l + 1 numbers.
    last: linear or relu, what the last layer ends with.
    construction: blocks, separate or pooled; `networks.pruned` says what they are.
    rule: nearest, which keeps one neuron for each slot, or subset, which keeps any neurons of the
        block of a weight, in construction blocks.
    scales: what each layer of the target was divided by.
    blocks: block size m of each layer; of a pool, the neurons in all.
    ranks: of each layer, the kept neurons' places in their block, [name, n_out, n_in]; -1 for none.
        By rule nearest each side names one, and in a pool no two are the same; by rule subset there
        are m names, of which r names rank r or none.
    target: `digest` of the target as given.
    epsilon: error allowed, in the units of the target as given.
    """

    seed: int
    sizes: tuple[int, ...]
    last: str
    construction: str
    rule: str = "nearest"
    scales: tuple[float, ...]
    blocks: tuple[int, ...]
    ranks: tuple[np.ndarray, ...]
    target: str
    epsilon: float

    def __post_init__(self):
        _check_fields({f.name: getattr(self, f.name) for f in fields(self) if f.name != "ranks"})
        shapes = _shapes(self.rule, self.sizes, self.blocks)
        if [ranks.shape for ranks in self.ranks] != shapes:
            raise InputError(f"ranks must be of the shapes {shapes}.")
        if any(ranks.dtype.kind != "i" for ranks in self.ranks):
            raise InputError("ranks must be integers.")
        for name, values in (("scales", self.scales), ("epsilon", [self.epsilon])):
            for value in values:
                if not 0.0 < value < math.inf:
                    found = decimals.exact(value)
                    raise InputError(f"{name} must be positive and finite, got {found}.")
        if not LEAST_SCALE <= self.scale <= MOST_SCALE:
            raise InputError(
                f"scales must have a product between {LEAST_SCALE:g} and {MOST_SCALE:g}, got "
                f"{reprlib.repr(self.scales)}."
            )
        for m, width, ranks in zip(self.blocks, self.widths, self.ranks, strict=True):
            if width > MAX_WIDTH:
                raise InputError(f"blocks must make 1 to {MAX_WIDTH} neurons a layer, got {width}.")
            if ranks.min() < -1 or ranks.max() >= m:
                raise InputError(f"ranks must lie below the block size {m}, got {ranks.max()}.")
            if self.rule == "subset" and np.any((ranks >= 0) & (ranks != _by_name(m))):
                raise InputError("ranks must be r or -1 at the name r by rule subset.")
            if self.construction == "pooled" and (twice := _first_twice(ranks[ranks >= 0])) >= 0:
                raise InputError(
                    f"ranks must name a neuron of a pool once, got neuron {twice} in two slots."
                )
        if len(self.target) != 64 or not HEX.issuperset(self.target):
            raise InputError(f"target must be 64 hex digits, got {reprlib.repr(self.target)}.")

    @property
    def scale(self) -> float:
        """The factor between g~ and the target as given."""
        return scale_of(self.scales)

    @property
    def widths(self) -> list[int]:
        """Hidden neurons of the random layers."""
        counts = block_counts(self.construction, self.sizes)
        return [m * count for m, count in zip(self.blocks, counts, strict=True)]

    @property
    def neurons(self) -> list[np.ndarray]:
        """The kept neurons of each layer, [side, n_out, n_in]; -1 where a slot is empty."""
        parts = zip(self.ranks, block_counts(self.construction, self.sizes), strict=True)
        return [
            np.where(
                ranks < 0, -1, ranks * count + block_numbers(self.construction, *ranks.shape[1:])
            )
            for ranks, count in parts
        ]


def _shapes(rule: str, sizes: Sequence[int], blocks: Sequence[int]) -> list[tuple[int, int, int]]:
    """[name, n_out, n_in] of every layer's ranks."""
    parts = zip(slots(sizes), blocks, strict=True)
    return [(m if rule == "subset" else sides, n_out, n_in) for (sides, n_out, n_in), m in parts]


def _by_name(m: int) -> np.ndarray:
    """The rank that each name has by rule subset, [m, 1, 1]."""
    return np.arange(m)[:, None, None]


def _first_twice(numbers: np.ndarray) -> int:
    """The least of the numbers that is there more than once; -1 where none is."""
    values, counts = np.unique(numbers, return_counts=True)
    return int(values[counts > 1][0]) if np.any(counts > 1) else -1


def scale_of(scales: Sequence[float]) -> float:
    """The product of finite scales, correctly rounded whatever the order; inf where too large."""
    product = math.prod(map(Fraction, scales), start=Fraction(1))
    return float(product) if product <= MOST_FLOAT else math.inf


def _check_fields(names: dict[str, Any]) -> None:
    """`InputError` unless every field but the ranks is of its type itself, and of its length.

    A bool is no int here, and an int no float: what is written would read back as another thing.
    """
    for name, kind in FIELDS.items():
        _check_type(name, kind, names[name])
    for name, kind in ELEMENTS.items():
        for value in names[name]:
            _check_type(name, kind, value)
    check_seed(names["seed"])
    Network(sizes=names["sizes"], last=names["last"])
    check_construction(names["construction"], names["rule"])
    layers = len(names["sizes"]) - 1
    if not len(names["scales"]) == len(names["blocks"]) == layers:
        raise InputError(f"scales and blocks must be {layers} numbers each.")
    for m in names["blocks"]:
        if not 0 < m <= MAX_WIDTH:
            raise InputError(f"blocks must be 1 to {MAX_WIDTH} neurons, got {reprlib.repr(m)}.")
        if names["rule"] == "subset" and m > MOST_SUBSET:
            raise InputError(f"blocks must be 1 to {MOST_SUBSET} neurons by rule subset, got {m}.")


def check_construction(construction: str, rule: str = "nearest") -> None:
    for name, value, known in (
        ("construction", construction, CONSTRUCTIONS),
        ("rule", rule, RULES),
    ):
        if value not in known:
            found = reprlib.repr(value)
            raise InputError(f"{name} must be one of {', '.join(known)}, got {found}.")
    if (construction, rule) not in FORMATS:
        raise InputError(f"construction must be blocks by rule {rule}, got {construction}.")


def _check_type(name: str, kind: type, value: Any) -> None:
    if type(value) is not kind:
        raise InputError(
            f"{name} must be of type {kind.__name__}, got {reprlib.repr(value)} of type "
            f"{type(value).__name__}."
        )


def digest(layers: Sequence[np.ndarray], last: str) -> str:
    """SHA-256 of a target: its shapes, `last` and its weights as little-endian float64.

    A zero counts as 0.0 whatever its sign: with either the network is the same.
    """
    shapes = json.dumps([last, *map(np.shape, layers)])
    weights = (np.ascontiguousarray(layer + 0.0, "<f8").tobytes() for layer in layers)
    return hashlib.sha256(b"".join([shapes.encode(), *weights])).hexdigest()


def to_bytes(ticket: Ticket) -> bytes:
    """The file of a ticket. Equal tickets have equal files."""
    header, kept = _parts(ticket)
    return _archive({"header.npy": _npy(header), "kept.npy": _npy(kept)})


def _npy(part: bytes) -> bytes:
    """A .npy file of bytes, as numpy 2 writes it."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(part)},), }}"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", NPY_HEADER - 10)
    return start + text.ljust(NPY_HEADER - 11).encode() + b"\n" + part


def _archive(members: dict[str, bytes]) -> bytes:
    """An uncompressed zip archive, as `numpy.savez` writes it with Python 3.11.4 or later.

    Written here because others have changed, and may change, where equal archives differ.
    """
    body, directory = b"", b""
    for name, data in members.items():
        check, size = zlib.crc32(data), len(data)
        place = len(body)
        # Sizes are in the extra field alone, eight bytes each, and both here and in the directory.
        body += struct.pack(
            "<4s5H3I2H", b"PK\3\4", *ZIP, check, 2**32 - 1, 2**32 - 1, len(name), 20
        )
        body += name.encode() + struct.pack("<2H2Q", 1, 16, size, size) + data
        directory += struct.pack(
            "<4s2B5H3I5H2I", b"PK\1\2", ZIP[0], 3, *ZIP, check, size, size, len(name), 0, 0, 0, 0,
            RIGHTS, place,
        )  # fmt: skip
        directory += name.encode()
    counts = 0, 0, len(members), len(members), len(directory), len(body), 0
    return body + directory + struct.pack("<4s4H2IH", b"PK\5\6", *counts)


def read(path: FilePath) -> Ticket:
    """The ticket of a file, or `InputError`: whole, of this format, and as it was written."""
    return from_bytes(files.read_bytes(path, "ticket"), path)


def from_bytes(data: bytes, path: FilePath) -> Ticket:
    """The inverse of `to_bytes`, or `InputError`; of a file that `path` names."""
    arrays = files.parse_arrays(data, path, "ticket")
    try:
        header, kept = (arrays[part].tobytes() for part in ("header", "kept"))
        names = json.loads(header)
        if names.pop("format") not in FORMATS.values():
            raise ValueError
        seal = names.pop("digest")
    except Exception:  # whatever a foreign file may hold
        *others, last = sorted(set(FORMATS.values()))
        known = f"{', '.join(others)} or {last}"
        raise InputError(f"ticket must be a file of format {known}, got {path}.") from None
    if seal != _seal(names, kept):
        raise InputError(f"ticket was edited or damaged, its digest does not fit: {path}.")
    try:
        ticket = _ticket(names, kept)
    except InputError as error:
        raise InputError(f"{path} holds no ticket: {error}") from None
    except Exception as error:  # whatever a foreign value can do to a constructor
        raise InputError(f"{path} holds no ticket: {type(error).__name__}.") from None
    if to_bytes(ticket) != data:
        raise InputError(
            f"ticket must be the bytes that ltjax writes for it, and not one other, got {path}."
        )
    return ticket


def _parts(ticket: Ticket) -> tuple[bytes, bytes]:
    """The two arrays of bytes."""
    parts = zip(ticket.ranks, ticket.blocks, strict=True)
    bits = np.concatenate([_bits(ticket.rule, *part).ravel() for part in parts])
    kept = np.packbits(bits.astype(np.uint8)).tobytes()
    unsaid = {"ranks"} | ({"rule"} if ticket.rule == "nearest" else set())
    names = {f.name: getattr(ticket, f.name) for f in fields(ticket) if f.name not in unsaid}
    version = FORMATS[ticket.construction, ticket.rule]
    sealed = {"format": version, **names, "digest": _seal(names, kept)}
    return json.dumps(sealed, separators=(",", ":")).encode(), kept


def seal(ticket: Ticket) -> str:
    """The digest that the file of a ticket ends its header with."""
    return json.loads(_parts(ticket)[0])["digest"]


def _bits(rule: str, ranks: np.ndarray, m: int) -> np.ndarray:
    """The ranks of a layer as bits, in the order of the file."""
    if rule == "subset":
        return np.moveaxis(ranks >= 0, 0, -1)
    return (ranks[..., None] + 1 >> np.arange(m.bit_length())) & 1


def _ranks(rule: str, bits: np.ndarray, shape: tuple[int, int, int], m: int) -> np.ndarray:
    """The inverse of `_bits`."""
    if rule == "subset":
        return np.where(np.moveaxis(bits.reshape(*shape[1:], m), -1, 0), _by_name(m), -1)
    return bits.reshape(*shape, -1) @ (1 << np.arange(m.bit_length())) - 1


def _seal(names: dict, kept: bytes) -> str:
    return hashlib.sha256(json.dumps(names).encode() + kept).hexdigest()


def _ticket(names: dict, kept: bytes) -> Ticket:
    """The inverse of `_parts`; any exception where header and positions make no ticket."""
    names = {name: tuple(v) if isinstance(v, list) else v for name, v in names.items()}
    names = {"rule": "nearest"} | names
    _check_fields(names)
    rule, blocks = names["rule"], names["blocks"]
    shapes = _shapes(rule, names["sizes"], blocks)
    sizes = [1 if rule == "subset" else m.bit_length() for m in blocks]
    ends = np.cumsum([b * math.prod(shape) for b, shape in zip(sizes, shapes, strict=True)])
    if len(kept) != -(-ends[-1] // 8):
        raise InputError(f"positions must be {-(-ends[-1] // 8)} bytes, got {len(kept)}.")
    *bits, _ = np.split(np.unpackbits(np.frombuffer(kept, np.uint8)), ends)
    parts = zip(bits, shapes, blocks, strict=True)
    return Ticket(**names, ranks=tuple(_ranks(rule, *part) for part in parts))
