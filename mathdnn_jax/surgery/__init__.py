"""Surgery: pure functions from (network, variables) to (network, variables, report) that preserve the output."""

from mathdnn_jax.surgery.batch_norm_removal import remove_batch_norm
from mathdnn_jax.surgery.fold_tree import fold_batch_norms
from mathdnn_jax.surgery.folding import Folded, fold_batch_norm
from mathdnn_jax.surgery.frequency_domain import frequency_domain
from mathdnn_jax.surgery.operation_count import LayerCount, OperationCount, count_operations
from mathdnn_jax.surgery.receptive_field import receptive_fields
from mathdnn_jax.surgery.report import LayerReport, SurgeryReport
from mathdnn_jax.surgery.sign_bias import to_sign_bias
from mathdnn_jax.surgery.sliding import dense_to_conv

__all__ = [
    "Folded",
    "LayerCount",
    "LayerReport",
    "OperationCount",
    "SurgeryReport",
    "count_operations",
    "dense_to_conv",
    "fold_batch_norm",
    "fold_batch_norms",
    "frequency_domain",
    "receptive_fields",
    "remove_batch_norm",
    "to_sign_bias",
]
