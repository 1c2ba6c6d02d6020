"""SIGINT and SIGTERM as requests to stop, acted on where nothing is broken off in the middle.

A Python signal handler runs wherever the main thread happens to be. An exception that it raises inside a callback of
XLA's compiler crashes the process or is swallowed, and one that unwinds past threads that write a checkpoint leaves
them to a dying interpreter. So the handlers here only take note. The operating system also wakes a thread, which speaks
and acts at once even while the main thread compiles for minutes.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from mathdnn_jax.files import discard_temporaries

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""The exit status of a process that a signal has ended, as a shell reports it."""
PATIENCE = 1.0
"""The seconds for which a message and the end of a process wait for whoever reads their output."""


class StopRequest:
    """Whether this process has been asked to stop by SIGINT or SIGTERM: `request()` says so, for `fit(..., stop=)`.

    The first signal ends the process, unless it is postponed; then it is only noted, and the program stops when it is
    ready. A second signal always ends the process. `signal` is the first one received, or None.
    """

    def __init__(self, waker: socket.socket | None = None) -> None:
        self._waker = waker  # kept open
        self.signal: signal.Signals | None = None
        self._announcement: str | None = None
        # The handler may interrupt its own thread while that holds the lock.
        self._lock = threading.RLock()
        self._handled = self._woken = self._noted = 0

    def __call__(self) -> bool:
        """Whether there was a signal."""
        return self.signal is not None

    @property
    def status(self) -> int:
        """The exit status of a process that stopped as requested."""
        return STATUS[self.signal or signal.SIGTERM]

    def postpone(self, announcement: str) -> None:
        """From now on, only note a first signal, and print its name and `announcement`."""
        with self._lock:
            self._announcement = announcement

    def act(self) -> None:
        """From now on, a first signal ends the process; if one was noted, it ends here."""
        with self._lock:
            self._announcement = None
            if self.signal is None:
                return
        end_process(self.status)

    def handle(self, number: int, _: object) -> None:
        """The Python handler, called in the main thread once that executes Python."""
        self._handled += 1
        self._note(number)

    def wake(self, number: int) -> None:
        """Called in the watching thread as soon as the signal arrives."""
        self._woken += 1
        self._note(number)

    def _note(self, number: int) -> None:
        with self._lock:
            # Each signal is reported twice, in either order; an event loop may keep the thread's report for itself.
            if max(self._handled, self._woken) <= self._noted:
                return
            self._noted += 1
            received = signal.Signals(number)
            first, self.signal = self.signal is None, self.signal or received
            if first and self._announcement is not None:
                _say(f"{received.name}: {self._announcement}")
                return
        end_process(STATUS[received], f"stopped by {received.name}")


_installed: StopRequest | None = None


def watch_signals() -> tuple[StopRequest, Callable[[], None]]:
    """Replace the handlers of SIGINT and SIGTERM by a `StopRequest`, in the main thread.

    Signals that the process was started to ignore, as `nohup` does, remain ignored.

    Returns:
        The request, and a function that restores what was there. If a request is installed already, it is that one;
        outside the main thread, where handlers cannot be installed, one that never hears of a signal.
    """
    global _installed
    if _installed is not None:
        return _installed, lambda: None
    if threading.current_thread() is not threading.main_thread():
        return StopRequest(), lambda: None
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    request = StopRequest(sender)
    before = {number: signal.getsignal(number) for number in STATUS}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    threading.Thread(target=_watch, args=(receiver, request, frozenset(before)), daemon=True).start()
    descriptor = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    for number in before:
        signal.signal(number, request.handle)
    _installed = request

    def restore() -> None:
        global _installed
        _installed = None
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(descriptor)
        sender.close()

    return request, restore


def stop_request() -> StopRequest:
    """The installed request; if there is none, one that never hears of a signal."""
    return _installed or StopRequest()


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Stop training at the end of an epoch on SIGINT or SIGTERM, rather than anywhere by an exception.

    While the context lasts, the first signal is noted and said, and a second one ends the process. `fit` asks the
    yielded object between two dispatches, saves what there is, and raises `TrainingStoppedError`.

    Returns:
        A context manager that yields the `StopRequest` to pass as `fit(..., stop=)`. Its `status` is the exit status
        for a program that ends after the signal.

    Example:
        >>> import mathdnn_jax as mj
        >>> with mj.training.stop_on_signals() as stop:
        ...     print(stop())  # instead: result = fit(..., stop=stop)
        False
    """
    request, restore = watch_signals()
    request.postpone("stopping at the end of this epoch; a second signal stops at once")
    try:
        yield request
    finally:
        restore()


def end_process(status: int, message: str = "") -> NoReturn:
    """End the process here and now, with its output flushed, no temporary files left, and no traceback."""
    try:
        if message:
            _say(message)
        # A buffer may be locked by a thread that waits for the reader of a pipe.
        flusher = threading.Thread(target=_flush, daemon=True)
        flusher.start()
        flusher.join(PATIENCE)
        discard_temporaries()
    finally:
        os._exit(status)


def _watch(receiver: socket.socket, request: StopRequest, numbers: frozenset[int]) -> None:
    with receiver:
        while woken := receiver.recv(1):
            if woken[0] in numbers:
                request.wake(woken[0])


def _say(message: str) -> None:
    """Print a line without the locks of `sys.stderr`, which the interrupted thread may hold."""
    descriptor = 2
    # The cursor that a progress bar hides is shown again.
    start = "\r\x1b[K\x1b[?25h" if os.isatty(descriptor) else ""
    with contextlib.suppress(OSError):
        if select.select([], [descriptor], [], PATIENCE)[1]:
            os.write(descriptor, f"{start}mathdnn: {message}\n".encode())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _forget_in_child() -> None:
    """A forked child would report its own signals through its parent's socket."""
    global _installed
    if _installed is not None:
        _installed = None
        signal.set_wakeup_fd(-1)
        for number in STATUS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
