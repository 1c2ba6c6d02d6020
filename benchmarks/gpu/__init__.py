"""All that is worth measuring on a GPU, in one command that may be interrupted at any time: `python -m benchmarks gpu`.

- `plan`: the steps, in order of their value;
- `supervise`: the process that keeps the time and writes the results; it never uses the GPU;
- `process`: the process that does one step after another, and may fail, hang or be killed; `worker` starts it;
- `steps`: the function for each kind of step, from `ceilings`, `rows`, `certificates`, `identities`, `claims`,
  `profiles`;
- `card`: a description of the card; `failure`: an error as it is recorded;
- `page`: the results as tables.
"""
