"""The actor as the robot side runs it: numpy only, from safetensors bytes that are checked before use."""

import hashlib

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save


class Policy:
    """mu(x, reference) of one version. Immutable."""

    def __init__(self, layers: list[tuple[np.ndarray, np.ndarray]], version: int):
        self.layers, self.version = layers, version

    def mean(self, state: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """(A,) float32 normalised chunk for state (S,) and reference (A,)."""
        x = np.concatenate([state, reference])
        for weight, bias in self.layers[:-1]:
            x = np.maximum(x @ weight + bias, 0.0)
        weight, bias = self.layers[-1]
        return x @ weight + bias + reference


def pack(weights: dict[str, np.ndarray], version: int) -> bytes:
    """Bytes of an actor's weights: matrices w0 (S + A, h), w1 (h, h), ... and biases b0 (h,) or (1, h), ..."""
    tensors = {}
    for name, value in weights.items():
        array = np.asarray(value, np.float32)
        tensors[name] = np.ascontiguousarray(array if name.startswith('w') else array.reshape(-1))
    return save(tensors, {'version': str(version)})


def unpack(data: bytes, version: int, sha256: str, state_size: int, chunk_size: int) -> Policy:
    """A policy from bytes. Raises ValueError where hash, shapes or numbers are wrong."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError('hash does not match: the message was damaged')
    try:
        tensors = load(data)
    except (SafetensorError, KeyError) as error:  # KeyError: a number format that numpy does not have
        raise ValueError(f'no safetensors: {error}') from None
    count = len(tensors) // 2
    try:
        layers = [(tensors[f'w{i}'], tensors[f'b{i}']) for i in range(count)]
    except KeyError as error:
        raise ValueError(f'layer {error} is missing') from None
    sizes = [state_size + chunk_size, *(bias.size for _, bias in layers)]
    shapes_fit = all(
        w.shape == (a, b) and bias.shape == (b,) for (w, bias), a, b in zip(layers, sizes, sizes[1:], strict=False)
    )
    if count < 2 or not shapes_fit or sizes[-1] != chunk_size:
        raise ValueError(f'shapes do not fit state size {state_size} and chunk size {chunk_size}')
    if not all(np.isfinite(array).all() for layer in layers for array in layer):
        raise ValueError('weights are not finite')
    return Policy(layers, version)
