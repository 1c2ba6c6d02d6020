"""What is worth measuring on a GPU, in one command that may be cut at any moment: `python -m benchmarks gpu`.

- `plan`: the steps, the most valuable first;
- `supervise`: the process that keeps the time and writes the results, and never touches the GPU;
- `process`: the other process, which does one step after another and may fail, hang or be killed;
- `steps`: what each kind of step does, `ceilings`, `rows`, `certificates`, `identities`, `claims`, `profiles`;
- `card`: what the figures were measured on;
- `page`: the results as tables.
"""
