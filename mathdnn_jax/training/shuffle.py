"""The random order in which an epoch visits the examples."""

from __future__ import annotations

import jax
import jax.numpy as jnp

ROUNDS = 8
LEAST_BITS = 8
"""On fewer than 8 bits a Feistel network has too few permutations; cycle walking restricts it to smaller sets."""


def shuffled(key: jax.Array, count: int) -> jax.Array:
    """A pseudo-random permutation of 0, …, count − 1: int32 (count,).

    A Feistel network with a keyed hash as its round function is a bijection of the b-bit numbers, 2ᵇ ≥ count. An image
    that is not below `count` is mapped again until it is. This takes time O(count) and does not sort. Sorting random
    words, as `jax.random.permutation` does, took XLA 44 ms for 60,000 examples on the CPU on which this took 0.6 ms; a
    tenth of an epoch of a small network.

    Source: Luby, Rackoff, "How to construct pseudorandom permutations from pseudorandom functions", 1988; Black,
    Rogaway, "Ciphers with arbitrary finite domains", 2002.
    """
    bits = max(LEAST_BITS, (count - 1).bit_length())
    low, high = bits // 2, bits - bits // 2
    round_keys = jax.random.bits(key, (ROUNDS, 2), jnp.uint32)

    def encrypt(number: jax.Array) -> jax.Array:
        left, right = number >> low, number & jnp.uint32(2**low - 1)
        for k in range(0, ROUNDS, 2):
            left ^= _hash(right, round_keys[k]) & jnp.uint32(2**high - 1)
            right ^= _hash(left, round_keys[k + 1]) & jnp.uint32(2**low - 1)
        return jnp.asarray((left << low) | right)

    def walk(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        numbers, beyond = carry
        numbers = jnp.where(beyond, encrypt(numbers), numbers)
        return numbers, numbers >= count

    start = jnp.arange(count, dtype=jnp.uint32), jnp.ones(count, bool)
    numbers, _ = jax.lax.while_loop(lambda carry: carry[1].any(), walk, start)
    return jnp.asarray(numbers, jnp.int32)


def _hash(word: jax.Array, key: jax.Array) -> jax.Array:
    """The finaliser of MurmurHash3 with one key mixed in before it and another after its first product."""
    word = (word ^ key[0]) * jnp.uint32(0x85EBCA6B)
    word = ((word ^ (word >> 13)) + key[1]) * jnp.uint32(0xC2B2AE35)
    mixed: jax.Array = word ^ (word >> 16)
    return mixed
