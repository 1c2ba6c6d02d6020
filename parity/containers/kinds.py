"""Other kinds of files, named for what they are: a whole file is not called damaged because it is of another kind."""

from __future__ import annotations

from collections.abc import Collection

from parity.errors import CheckpointError, CorruptCheckpointError, UnsafeCheckpointError, UnsupportedCheckpointError

HEAD_BYTES = 512
"""Number of bytes at the beginning of a file by which its kind is recognised."""
MIN_GZIP_BYTES = 18
AGAIN = "save the weights with torch.save(model.state_dict(), path), or as safetensors, where they were created"

_SIGNATURES = (
    (b"\x93NUMPY", f"is a NumPy array (.npy), one array without a name: read it with numpy.load, or {AGAIN}"),
    (b"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras writes them: {AGAIN}"),
    (b"GGUF", f"is a GGUF file, whose weights may be quantised: {AGAIN}"),
    (b"BZh", "is compressed with bzip2: decompress it first"),
    (b"\xfd7zXZ\x00", "is compressed with xz: decompress it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstd: decompress it first"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive: unpack it first"),
)
_DOWNLOADS = (
    (b"<html", "is a web page"),
    (b"<!doctype", "is a web page"),
    (b"version https://git-lfs", "is a pointer of Git LFS and not the file that it stands for"),
)


def other_kind(path: object, head: bytes, size: int) -> CheckpointError | None:
    """The error for a file that is known by its first bytes to be no checkpoint, or None if they do not tell."""
    for start, what in _SIGNATURES:
        if head.startswith(start):
            return UnsupportedCheckpointError(f"{path} {what}")
    if head.startswith(b"\x1f\x8b") and size >= MIN_GZIP_BYTES:
        return UnsupportedCheckpointError(f"{path} is compressed with gzip: decompress it first")
    if head[257:262] == b"ustar" and not head.startswith(b"\x80"):
        return UnsupportedCheckpointError(
            f"{path} is a tar archive: unpack it first; if it is a checkpoint of PyTorch before version 0.2, {AGAIN}"
        )
    for start, what in _DOWNLOADS:
        if head.lstrip().lower().startswith(start):
            return CorruptCheckpointError(f"{path} {what}: the download went wrong; obtain it again")
    if head[:1] == b"{" and size > 2:
        return UnsupportedCheckpointError(
            f"{path} is JSON text; of such files only the index of a checkpoint in parts is read, whose name ends in "
            f".index.json"
        )
    return None


def other_archive(path: object, names: Collection[str]) -> CheckpointError | None:
    """The error for a zip archive that is known by the names of its records not to hold just a state dict."""
    if any(name.endswith("/constants.pkl") and name.count("/") == 1 for name in names):
        return UnsafeCheckpointError(
            f"{path} is a TorchScript archive, which is a program and not only weights; none of it was run. Save "
            f"module.state_dict() where it was created"
        )
    if sum(name.endswith("/data.pkl") and name.count("/") == 1 for name in names) == 1:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return UnsupportedCheckpointError(
            f"{path} is an archive of {len(names):,} NumPy arrays (.npz): read it with numpy.load, which gives a state "
            f"as `parity.convert` takes it"
        )
    return UnsupportedCheckpointError(
        f"{path} is a zip archive without exactly one data.pkl in a folder: it was not written by torch.save; {AGAIN}"
    )
