"""Rule tables proposed from names, order, shapes and structure; what is ambiguous is an error, never a guess."""

from parity.inference.infer import infer_rules
from parity.inference.structure import Use, trace

__all__ = ["Use", "infer_rules", "trace"]
