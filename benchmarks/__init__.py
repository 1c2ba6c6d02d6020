"""JAX and PyTorch on the same work, in one process and one run: `python -m benchmarks run`.

Outputs are compared before anything is timed, and the contenders take turns. Each is compared with the rates that the
same machine reaches on large products, convolutions and copies. The benchmarks are not part of the library: they run
from a clone, without installation.

Modules and packages, from the ground up; each imports only those before it:

- `errors`, `progress`, and `case`, the vocabulary: workloads, cases and their contenders;
- `frameworks`: the two sides, JAX and PyTorch, alone in knowing how each is timed, compiled, profiled and trained;
- `harness`: agreement, timing, limits of the machine, one measured row, the results file; imports neither framework;
- `reports`: tables, pages, pictures and comparisons made of the results file; needs no PyTorch;
- `workloads`: the catalogue of cases, and the targets on a GPU;
- `run` and `train`: the commands that measure workloads on this machine;
- `checker`: the command that tries the bijector checker on maps of other libraries;
- `conventions`: the command that certifies networks with wrong conventions;
- `gpu`: the command that measures all that is worth knowing about a GPU;
- `commands` and `cli`: the command line.
"""
