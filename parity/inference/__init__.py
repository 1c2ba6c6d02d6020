"""Proposing rule tables from names, order, shapes and structure. Ambiguity is an error, never resolved by a guess."""

from parity.inference.infer import infer_rules
from parity.inference.structure import Use, trace

__all__ = ["Use", "infer_rules", "trace"]
