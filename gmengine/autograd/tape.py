"""A tape: the primitives that a computation called, in order, walked backwards once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from gmengine.autograd.tensor import Tensor as Tensor
from gmengine.autograd.tensor import as_array
from gmengine.autograd.trees import children, is_record, leaves, tree_map, walk
from gmengine.backend import Array, namespace
from gmengine.errors import DTypeError, ShapeError, TapeError

if TYPE_CHECKING:
    from gmengine.autograd.primitive import Primitive


class Entry(NamedTuple):
    """One recorded call: everything that its vjp will need."""

    primitive: Primitive
    residuals: Any
    parents: tuple[int | None, ...]
    outputs: tuple[int, ...]


class Tape:
    """An append-only record of primitive calls.

    Calls are recorded because an input is a `Tensor` of this tape, never because a mode is on. Tensors
    hold slot numbers, not pointers, so the memory of a computation goes when its tape does.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._forms: list[tuple[tuple[int, ...], Any]] = []  # (shape, dtype) of each slot
        self._released = False

    def watch(self, source: Any) -> Any:
        """Return `source` (an array, a Mixture, or a dict, list or tuple of them) with Tensors for arrays.

        Raises
        ------
        DTypeError
            If an array is neither float32 nor float64.
        TapeError
            If `source` holds Tensors already: there are no gradients of gradients.
        """
        for path, leaf in walk(source):
            if isinstance(leaf, Tensor):
                raise TapeError(
                    f"watch: source{path} is a Tensor; gradients of gradients are not supported "
                    "(watch value_of(tensor) to cut it off from its history)"
                )
            namespace(leaf)
            if str(leaf.dtype).rpartition(".")[2] not in ("float32", "float64"):
                raise DTypeError(f"watch: source{path} must be float32 or float64, got {leaf.dtype}")
        return tree_map(self.tensor, source)

    def tensor(self, array: Array) -> Tensor:
        """Return one `array` as a Tensor with a new slot."""
        array = as_array(array)
        self._forms.append((array.shape, array.dtype))
        return Tensor(array, self, len(self._forms) - 1)

    def record(self, entry: Entry) -> None:
        """Append one call; its outputs' slots must come from `tensor`."""
        self._entries.append(entry)

    def pull_back(
        self, target: Any, sources: Sequence[Tensor], cotangent: Any = None, release: bool = False
    ) -> list[Array | None]:
        """Return the gradient of <cotangent, target> for each source, None where it never reached the target.

        `target`, `cotangent` and `release` are as in `gradient`; of a tree, the inner products are summed. The
        gradients may be views of each other: do not write to them.
        """
        slots: dict[int, Array] = {}
        for tensor, given in self._seeds(target, cotangent):
            slots[tensor.slot] = given if tensor.slot not in slots else as_array(slots[tensor.slot] + given)
        for i, source in enumerate(sources):
            if not isinstance(source, Tensor):
                raise TapeError(
                    f"gradient: source #{i} is a {type(source).__name__}, not a Tensor; forgot to watch it?"
                )
            if source.tape is not self:
                raise TapeError(f"gradient: source #{i} was recorded on another tape")
        if self._released:
            raise TapeError("gradient: this tape was walked back before, and released what it held")
        self._released = release
        kept = {s.slot for s in sources}
        for entry in self._backwards(release):  # append order is a topological order
            self._walk_back(entry, slots, kept)
        return [slots.get(s.slot) for s in sources]

    def _backwards(self, release: bool) -> Iterator[Entry]:
        if release:
            while self._entries:
                yield self._entries.pop()
        else:
            yield from reversed(self._entries)

    def _walk_back(self, entry: Entry, slots: dict[int, Array], kept: set[int]) -> None:
        """Exchange the cotangents of a call's outputs for those of its inputs.

        A function of its own: what it holds is free before the next one starts.
        """
        cotangents = [slots.get(o) if o in kept else slots.pop(o, None) for o in entry.outputs]
        reached = next((c for c in cotangents if c is not None), None)
        if reached is None:
            return
        for i, o in enumerate(entry.outputs):
            if cotangents[i] is None:
                shape, dtype = self._forms[o]
                cotangents[i] = namespace(reached).zeros(shape, dtype=dtype)
        needs = tuple([p is not None for p in entry.parents])
        grads = entry.primitive.vjp(entry.residuals, tuple(cotangents), needs)
        for i, (parent, grad) in enumerate(zip(entry.parents, grads, strict=True)):
            if parent is None or grad is None:
                continue
            shape, dtype = self._forms[parent]
            if grad.shape != shape or grad.dtype != dtype:  # adding it up would broadcast or promote it
                raise TapeError(
                    f"{entry.primitive.name}: input {i} is {dtype} of shape {tuple(shape)}, "
                    f"but its vjp returned {grad.dtype} of shape {tuple(grad.shape)}"
                )
            slots[parent] = grad if parent not in slots else as_array(slots[parent] + grad)

    def _seeds(self, target: Any, cotangent: Any) -> Iterator[tuple[Tensor, Array]]:
        targets = list(walk(target))
        cotangents = [None] * len(targets) if cotangent is None else leaves(cotangent)
        if len(cotangents) != len(targets):
            raise ShapeError(
                f"gradient: {len(targets)} targets need as many cotangents, got {len(cotangents)}"
            )
        for (path, tensor), given in zip(targets, cotangents, strict=True):
            if not isinstance(tensor, Tensor):
                kind = type(tensor).__name__
                raise TapeError(
                    f"gradient: target{path} is a {kind}, not a Tensor: it depends on nothing watched"
                )
            if tensor.tape is not self:
                raise TapeError(f"gradient: target{path} was recorded on another tape")
            if given is None:
                if tensor.ndim:
                    raise ShapeError(
                        f"gradient: target{path} of shape {tensor.shape} needs a cotangent of that shape"
                    )
                given = namespace(tensor.value).ones((), dtype=tensor.dtype)
            if tuple(given.shape) != tensor.shape:
                raise ShapeError(
                    f"gradient: target{path} has shape {tensor.shape}, its cotangent {tuple(given.shape)}"
                )
            if given.dtype != tensor.dtype:
                raise DTypeError(f"gradient: target{path} is {tensor.dtype}, its cotangent {given.dtype}")
            yield tensor, given

    def gradient(self, target: Any, sources: Any, cotangent: Any = None, release: bool = False) -> Any:
        """Return the gradient of <cotangent, target> with the structure of `sources`.

        Parameters
        ----------
        target : Tensor, Mixture, or dict, list or tuple of them
            Recorded on this tape; a scalar unless `cotangent` is given.
        sources : Tensor, Mixture, or dict, list or tuple of them
            What `watch` returned, or any Tensor recorded later.
        cotangent : arrays of the target's structure, shapes and dtypes, optional
            Ones for a scalar target.
        release : bool
            Free what each call keeps for its gradient as soon as that is known. It is the last walk then: another
            is a TapeError.

        Raises
        ------
        TapeError
            If a source has no path to the target: a forgotten `watch` must not look like a zero gradient.
            A Mixture is one source: where some of its arrays reached the target, the others get zeros.
        """
        grads = self.pull_back(target, leaves(sources), cotangent, release)
        missing = _unreached(sources, iter(grads))
        if missing:
            raise TapeError(f"gradient: {', '.join(missing)} never reached the target")
        found = iter(grads)

        def gradient_of(tensor: Tensor) -> Array:
            grad = next(found)
            return namespace(tensor.value).zeros(tensor.shape, dtype=tensor.dtype) if grad is None else grad

        return tree_map(gradient_of, sources)


def _unreached(tree: Any, grads: Iterator[Array | None], path: str = "source") -> list[str]:
    """Name the sources (leaves, or whole records) that have no gradient."""
    if is_record(tree):
        reached = [next(grads) is not None for _ in leaves(tree)]
        return [] if any(reached) else [f"{path} (a {type(tree).__name__})"]
    below = children(tree)
    if below is None:
        return [f"{path} of shape {tree.shape}"] if next(grads) is None else []
    return [name for step, child in below for name in _unreached(child, grads, path + step)]
