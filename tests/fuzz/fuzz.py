"""Spoil and amplify checkpoints, and read them: `python -m tests.fuzz.fuzz --count 10000 --seed 0`.

The files are read by child processes with bounded memory. If a child dies or hangs, that is a broken promise, and the
next one goes on after that file. `--only INDEX` reads a single file again, in this process, and keeps it.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .corpus import SoundFile
    from .mutations import SpoiltFile

BATCH = 2500
PATIENCE = 10.0
"""A child hangs if it is silent for this many seconds. Its own time limit is stricter."""
MEMORY = 2**32
"""The address space that a child may use in addition to what PyTorch and JAX use when it starts, in bytes."""


def child(first: int, last: int, seed: int) -> None:
    """Judge a range of files, and print a line before and after each of them."""
    from .corpus import corpus
    from .judge import Watch, judge
    from .mutations import SpoiltFile

    sound_files, watch = corpus(), Watch()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sound in sound_files:
            verdict = judge(SpoiltFile("sound", sound.content, sound.suffix, sound, False), folder, watch, rebuilt=True)
            assert verdict.outcome == "identical", (sound.name, verdict)
        limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for index in range(first, last):
            spoilt = case(sound_files, seed, index)
            print(json.dumps({"begin": index}), flush=True)
            verdict = judge(spoilt, folder, watch, rebuilt=index % 8 == 0)
            said = {"index": index, "how": spoilt.how, "of": _name(spoilt), "bytes": len(spoilt.content)}
            print(json.dumps({**said, **verdict._asdict()}), flush=True)


def case(sound_files: list[SoundFile], seed: int, index: int) -> SpoiltFile:
    """Return one file of a run: in turn a spoilt one, and one that asks for more work than it has bytes."""
    from .amplification import amplified
    from .mutations import make

    return amplified(seed, index // 2) if index % 2 else make(sound_files, seed, index)


def _name(spoilt: SpoiltFile) -> str:
    return spoilt.sound.name if spoilt.sound else "no sound file"


def run(count: int, seed: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the results of all files, and what went wrong outside the judge: children that died or hung."""
    results: list[dict[str, Any]] = []
    lost: list[str] = []
    first = 0
    while first < count:
        last = min(count, first + BATCH)
        command = [sys.executable, "-m", "tests.fuzz.fuzz", "--child", str(first), str(last), "--seed", str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            assert process.stdout is not None
            at = None
            patience = 120.0
            while True:
                if not select.select([process.stdout], [], [], patience)[0]:
                    process.kill()
                    lost.append(f"case {at} hung")
                    break
                line = process.stdout.readline()
                if not line:
                    break
                said = json.loads(line)
                if "begin" in said:
                    at, patience = said["begin"], PATIENCE
                else:
                    results.append(said)
                    first, at = said["index"] + 1, None
                    if len(results) % 1000 == 0:
                        print(f"{len(results):,} files", file=sys.stderr, flush=True)
        if first < last:
            if at is None:
                lost.append(f"the child ended before case {first}, with {process.returncode}")
                break
            if process.returncode and not (lost and lost[-1].startswith(f"case {at} ")):
                lost.append(f"case {at} ended the process with {process.returncode}")
            first = at + 1
    return results, lost


def only(index: int, seed: int) -> int:
    """Judge a single file again."""
    from .corpus import corpus
    from .judge import Watch, judge

    spoilt = case(corpus(), seed, index)
    folder = Path(tempfile.mkdtemp(prefix=f"case-{index}-"))
    print(f"{spoilt.how} of {_name(spoilt)}, {len(spoilt.content):,} bytes, in {folder}")
    verdict = judge(spoilt, folder, Watch(), rebuilt=True)
    print(verdict)
    return len(verdict.broken)


def main() -> int:
    """Run the command line. Return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--child", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        first, last = options.child
        child(first, last, options.seed)
        return 0
    if options.only is not None:
        return only(options.only, options.seed)
    results, lost = run(options.count, options.seed)
    for outcome, number in Counter(result["outcome"] for result in results).most_common():
        print(f"{number:7,} {outcome}")
    # Relative to the size of the file: what is left of 1 s + 1 µs a byte, and of 2 bytes a byte + 64 MiB.
    slowest = max(results, key=lambda r: float(r["seconds"]) / (1 + 1e-6 * r["bytes"]))
    hungriest = max(results, key=lambda r: int(r["memory"]) / (2**26 + 2 * r["bytes"]))
    print(f"slowest {slowest['seconds']:.2f} s for {slowest['bytes']:,} bytes ({slowest['how']}), most memory "
          f"{hungriest['memory'] / 2**20:.1f} MiB for {hungriest['bytes']:,} bytes ({hungriest['how']})")  # fmt: skip
    broken = [f"case {r['index']} ({r['how']} of {r['of']}): {'; '.join(r['broken'])}" for r in results if r["broken"]]
    for line in [*lost, *broken]:
        print(line)
    print(f"{len(results):,} files, {len(lost) + len(broken)} broken promises")
    return 1 if lost or broken else 0


if __name__ == "__main__":
    sys.exit(main())
