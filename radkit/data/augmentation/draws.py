"""Random numbers as functions of (seed, name, place): integer hashes, the same on every host and device.

TensorFlow's stateless generators are slow within XLA on a processor (a hundred times), so these are the project's own:
each number is a hash of its place's index, mixed with two 32-bit keys that are hashes of the seed and of the name of
what is drawn. Nothing is drawn in an order: a new change of the image moves no other change's numbers.
"""

import math
import zlib
from collections.abc import Sequence

import tensorflow as tf

Key = tuple[tf.Tensor, tf.Tensor]  # two () uint32

# Odd factors of integer hashes with little bias, found by search: https://github.com/skeeto/hash-prospector.
_FACTORS = (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)
_SHIFTS = (17, 11, 15, 14)
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio, odd: neighbours' indices differ in many bits

# The sum of four 16-bit uniforms, from -2 to 2, becomes a normal deviate by an odd polynomial: its coefficients are a
# weighted Chebyshev fit of the composition of the sum's distribution function (Irwin and Hall's) with the normal
# quantile. Its own distribution function is within 5e-5 of the normal's; the largest value is 5.6.
_NORMAL = (
    1.6709195478825773, 0.0013451101759609117, 0.17279434154304185, -0.2006148882897768, 0.11438126100319689,
    -0.030088312645391385, 0.00310663946870292,
)  # fmt: skip


def key(seed: tf.Tensor, name: str) -> Key:
    """Returns the key of what is drawn for a seed under a name.

    Args:
        seed: (2,) int32 or int64; the lower 32 bits of each count.
        name: Of the change, as "noise": each name has numbers of its own.
    """
    first, second = tf.unstack(tf.bitcast(tf.cast(seed, tf.int32), tf.uint32))
    stream = _constant(zlib.crc32(name.encode()))
    one = _hash(_xor(_hash(first + stream), second))
    return one, _hash(_hash(_xor(second, one)) + first)


def bits(of: Key, shape: Sequence[int]) -> tf.Tensor:
    """Returns uint32 of a static shape, each of them a hash of its index."""
    # One range an axis, not one reshaped: XLA would divide every index to find its place. The key comes first, so that
    # XLA does not keep all the indices as a constant.
    index = tf.reshape(of[0], [1] * len(shape))
    for axis, size in enumerate(shape):
        step = math.prod(shape[axis + 1 :]) * _GOLDEN % 2**32
        place = tf.cast(tf.range(size, dtype=tf.int32), tf.uint32) * _constant(step)
        index += tf.reshape(place, [-1 if a == axis else 1 for a in range(len(shape))])
    return _hash(_xor(_round(index, 0), of[1]), (1, 2))


def uniform(of: Key, shape: Sequence[int], low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """Returns float32 of a static shape, evenly between `low` and `high`, neither of which is reached."""
    # 23 bits and a half: every value is exact in float32, none is 0 or 1.
    share = (_float(_right(bits(of, shape), 9)) + 0.5) * 2.0**-23
    return share * (high - low) + low


def normal(of: Key, shape: Sequence[int]) -> tf.Tensor:
    """Returns float32 of a static shape with mean 0 and deviation 1."""
    one = bits(of, shape)
    other = _hash(one + of[1], (0, 1))
    low = _constant(0xFFFF)
    halves = [tf.bitwise.bitwise_and(one, low), tf.bitwise.bitwise_and(other, low)]
    halves += [_right(word, 16) for word in (one, other)]
    total = (_float(halves[0] + halves[1] + halves[2] + halves[3]) - 131070.0) * 2.0**-16
    square = total * total
    value = tf.constant(_NORMAL[-1])
    for coefficient in reversed(_NORMAL[:-1]):
        value = value * square + coefficient
    return value * total


def happens(seed: tf.Tensor, name: str, chance: float) -> tf.Tensor:
    """Returns () bool: whether something of this name, that happens so often, happens for this seed."""
    if chance >= 1.0:
        return tf.constant(True)
    return uniform(key(seed, f"{name} happens"), []) < chance


def _hash(word: tf.Tensor, rounds: Sequence[int] = (0, 1, 2)) -> tf.Tensor:
    for number in rounds:
        word = _round(word, number)
    return _xor(word, _right(word, _SHIFTS[3]))


def _round(word: tf.Tensor, number: int) -> tf.Tensor:
    return _xor(word, _right(word, _SHIFTS[number])) * _constant(_FACTORS[number])


_xor = tf.bitwise.bitwise_xor


def _right(word: tf.Tensor, places: int) -> tf.Tensor:
    return tf.bitwise.right_shift(word, _constant(places))


def _constant(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint32)


def _float(word: tf.Tensor) -> tf.Tensor:
    # By way of int32: processors convert these many at a time, unsigned ones singly.
    return tf.cast(tf.bitcast(word, tf.int32), tf.float32)
