"""A ticket as a file: what names a pruned random network, and not one weight of it.

A .npz file of two arrays of bytes.

    header  JSON: format, the fields of `Ticket` but for its neurons, and a SHA-256 digest of
            all else in the file
    kept    for each slot 0 for none, or 1 + the kept neuron's rank: of b blocks, block j mod b
            holds neuron j at rank j div b. A number takes as many bits as the block size has,
            lowest first; layers follow each other, slots go by side, output, input

Weights are those of trial 0 of the seed, by the addresses of `ltjax.draws`.
"""

import hashlib
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ltjax import files
from ltjax.configs import Network
from ltjax.errors import InputError
from ltjax.files import FilePath
from ltjax.networks import block_counts, slots
from ltjax.problem import MAX_WIDTH, check_seed

FORMAT = "ltjax-ticket/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Ticket:
    """A pruned random network g~, and the target f that scale * g~ stands for.

    seed: of the random network, which is trial 0.
    sizes: d, n_1, ..., outputs; l + 1 numbers.
    last: linear or relu, what the last layer ends with.
    construction: blocks or separate; `configs.Network` says what they are.
    scales: what each layer of the target was divided by.
    blocks: block size m of each layer.
    ranks: of each layer, the kept neuron's place in its block, [side, n_out, n_in]; -1 for none.
    target: `digest` of the target as given.
    epsilon: error allowed, in the units of the target as given.
    """

    seed: int
    sizes: tuple[int, ...]
    last: str
    construction: str
    scales: tuple[float, ...]
    blocks: tuple[int, ...]
    ranks: tuple[np.ndarray, ...]
    target: str
    epsilon: float

    def __post_init__(self):
        check_seed(self.seed)
        Network(sizes=self.sizes, last=self.last, constructions=(self.construction,))
        shapes = slots(self.sizes)
        if [ranks.shape for ranks in self.ranks] != shapes:
            raise InputError(f"ranks must be of the shapes {shapes}.")
        if not len(self.scales) == len(self.blocks) == len(shapes):
            raise InputError(f"scales and blocks must be {len(shapes)} numbers each.")
        for name, value in (("scales", self.scale), ("epsilon", self.epsilon)):
            if not 0.0 < value < math.inf:
                raise InputError(f"{name} must be positive and finite, got {value:g}.")
        for m, width, ranks in zip(self.blocks, self.widths, self.ranks, strict=True):
            if not 0 < width <= MAX_WIDTH:
                raise InputError(f"blocks must make 1 to {MAX_WIDTH} neurons a layer, got {width}.")
            if ranks.min() < -1 or ranks.max() >= m:
                raise InputError(f"ranks must lie below the block size {m}, got {ranks.max()}.")

    @property
    def scale(self) -> float:
        """The factor between g~ and the target as given; NaN unless every scale is positive."""
        return math.prod(self.scales) if min(self.scales) > 0.0 else math.nan

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
            np.where(ranks < 0, -1, ranks * count + np.arange(count).reshape(-1, ranks.shape[2]))
            for ranks, count in parts
        ]


def digest(layers: Sequence[np.ndarray], last: str) -> str:
    """SHA-256 of a target: its shapes, `last` and its weights as little-endian float64."""
    shapes = json.dumps([last, *map(np.shape, layers)])
    weights = (np.ascontiguousarray(layer, "<f8").tobytes() for layer in layers)
    return hashlib.sha256(b"".join([shapes.encode(), *weights])).hexdigest()


def to_bytes(ticket: Ticket) -> bytes:
    """The file of a ticket. Equal tickets have equal files."""
    file = io.BytesIO()
    header, kept = (np.frombuffer(part, np.uint8) for part in _parts(ticket))
    np.savez(file, header=header, kept=kept)
    return file.getvalue()


def read(path: FilePath) -> Ticket:
    """The ticket of a file, or `InputError`: whole, of this format, and as it was written."""
    arrays = files.read_arrays(path, "ticket")
    try:
        header, kept = (arrays[part].tobytes() for part in ("header", "kept"))
        names = json.loads(header)
        if names.pop("format") != FORMAT:
            raise ValueError
        seal = names.pop("digest")
    except Exception:  # whatever a foreign file may hold
        raise InputError(f"ticket must be a file of format {FORMAT}, got {path}.") from None
    if seal != _seal(names, kept):
        raise InputError(f"ticket was edited or damaged, its digest does not fit: {path}.")
    try:
        ticket = _ticket(names, kept)
        if _parts(ticket) != (header, kept):
            raise InputError("not a field more, and each as it is written, make a ticket.")
    except InputError as error:
        raise InputError(f"{path} holds no ticket: {error}") from None
    except Exception as error:  # whatever a foreign value can do to a constructor
        raise InputError(f"{path} holds no ticket: {error!r}.") from None
    return ticket


def _parts(ticket: Ticket) -> tuple[bytes, bytes]:
    """The two arrays of bytes."""
    bits = [
        (ranks.ravel()[:, None] + 1 >> np.arange(m.bit_length())) & 1
        for ranks, m in zip(ticket.ranks, ticket.blocks, strict=True)
    ]
    kept = np.packbits(np.concatenate([b.ravel() for b in bits]).astype(np.uint8)).tobytes()
    names = {f.name: getattr(ticket, f.name) for f in fields(ticket) if f.name != "ranks"}
    sealed = {"format": FORMAT, **names, "digest": _seal(names, kept)}
    return json.dumps(sealed, separators=(",", ":")).encode(), kept


def _seal(names: dict, kept: bytes) -> str:
    return hashlib.sha256(json.dumps(names).encode() + kept).hexdigest()


def _ticket(names: dict, kept: bytes) -> Ticket:
    """The inverse of `_parts`; any exception where header and positions make no ticket."""
    names = {name: tuple(v) if isinstance(v, list) else v for name, v in names.items()}
    for name, kind in (("seed", int), ("target", str), ("epsilon", float)):
        if type(names[name]) is not kind:
            raise InputError(f"{name} must be of type {kind.__name__}, got {names[name]!r}.")
    shapes, sizes = slots(names["sizes"]), [m.bit_length() for m in names["blocks"]]
    ends = np.cumsum([b * math.prod(shape) for b, shape in zip(sizes, shapes, strict=True)])
    bits = np.split(np.unpackbits(np.frombuffer(kept, np.uint8)), ends)
    ranks = tuple(
        one.reshape(*shape, size) @ (1 << np.arange(size)) - 1
        for one, shape, size in zip(bits, shapes, sizes, strict=False)
    )
    return Ticket(**names, ranks=ranks)
