"""The meeting of processes before JAX's runtime, which can only abort where one of them does not come.

Process 0 listens at the coordinator's address until every other process has connected and said who it is; then it
dismisses them all at once. Whatever else listens there, or nobody, is thus noticed in time and in words.
"""

from __future__ import annotations

import contextlib
import socket
import time

from mathdnn_jax.errors import ConfigurationError, ProcessesError

GREETING, WELCOME, REFUSAL = "mathdnn_jax process", "mathdnn_jax go", "mathdnn_jax no: "
PAUSE = 0.2
"""The seconds between two attempts to connect."""
LONGEST_LINE = 500


def parse_address(coordinator: str) -> tuple[str, int]:
    """Split HOST:PORT, where an IPv6 host may stand in brackets.

    Returns:
        The host and the port.

    Raises:
        ConfigurationError: It is something else.
    """
    host, colon, port = coordinator.rpartition(":")
    if not (colon and host and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise ConfigurationError(
            f"given {coordinator!r} as the address of process 0: expected HOST:PORT, such as localhost:1234, with a "
            "port from 1 to 65535"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def meet(coordinator: str, processes: int, own: int, seconds: float) -> None:
    """Return once all processes have met.

    Raises:
        ConfigurationError: The address is not HOST:PORT.
        ProcessesError: Process 0 cannot listen there, cannot be reached, or is another program; or not all processes
            came within the time; or they do not agree on their number.
    """
    host, port = parse_address(coordinator)
    until = time.monotonic() + seconds
    if own:
        _go(host, port, f"{GREETING} {own} of {processes}", until, seconds)
    elif processes > 1:
        _wait(port, processes, until, seconds)


def _wait(port: int, processes: int, until: float, seconds: float) -> None:
    """Process 0: wait for all the others."""
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=processes)
    except OSError as error:
        raise ProcessesError(
            f"process 0 cannot listen at port {port} ({error.strerror or error}): choose a free port"
        ) from error
    came: dict[int, socket.socket] = {}
    with server, contextlib.ExitStack() as stack:
        while len(came) < processes - 1:
            missing = sorted(set(range(1, processes)) - set(came))
            try:
                server.settimeout(_left(until))
                visitor, _ = server.accept()
                stack.callback(visitor.close)
                line = _read_line(visitor, min(until, time.monotonic() + 10))
            except TimeoutError:
                if time.monotonic() < until:
                    continue
                raise ProcessesError(
                    f"of {processes} processes, {', '.join(map(str, missing))} did not come to port {port} within "
                    f"{seconds:g} s: start them all with the same address, or allow more time"
                ) from None
            except OSError:
                continue  # a visitor that left
            number, refusal = _recognise(line, processes)
            if refusal:
                _send(visitor, REFUSAL + refusal)
            if number is not None:
                came[number] = visitor
        for visitor in came.values():
            _send(visitor, WELCOME)


def _recognise(line: str, processes: int) -> tuple[int | None, str]:
    """The number of a process that says this, or None and why not."""
    number, of, total = line.removeprefix(GREETING).strip().partition(" of ")
    if not line.startswith(GREETING) or not (of and number.isdecimal() and total.isdecimal()):
        return None, "expected a process that trains"
    if int(total) != processes or not 0 < int(number) < processes:
        return None, f"process {number} was started as one of {total}, process 0 as one of {processes}"
    return int(number), ""


def _go(host: str, port: int, greeting: str, until: float, seconds: float) -> None:
    """Any other process: go to process 0, which may not be there yet, and wait for the rest."""
    answer, what = "", "closed the connection"
    while not answer:
        try:
            with socket.create_connection((host, port), timeout=_left(until)) as connection:
                _send(connection, greeting)
                answer, what = _read_line(connection, until), "closed the connection"
        except socket.gaierror as error:
            raise ProcessesError(f"there is no host {host!r} ({error.strerror}): check the address") from error
        except OSError as error:
            what = "did not answer" if isinstance(error, TimeoutError) else f"cannot be reached ({error.strerror})"
        if not answer and time.monotonic() + PAUSE >= until:
            raise ProcessesError(
                f"process 0 at {host}:{port} {what}, and {seconds:g} s are over: start it, check the address, or allow "
                "more time"
            )
        if not answer:
            time.sleep(PAUSE)
    if answer.startswith(REFUSAL):
        raise ProcessesError(f"process 0 at {host}:{port} refused: {answer.removeprefix(REFUSAL)}")
    if answer != WELCOME:
        raise ProcessesError(
            f"{host}:{port} is another program, which answered {answer[:60]!r}: choose the address of process 0"
        )


def _send(connection: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(f"{line}\n".encode())


def _read_line(connection: socket.socket, until: float) -> str:
    """A line, or what came of it before the other side closed."""
    received = b""
    while not received.endswith(b"\n") and len(received) < LONGEST_LINE:
        connection.settimeout(_left(until))
        part = connection.recv(LONGEST_LINE)
        if not part:
            break
        received += part
    return received.decode(errors="replace").strip()


def _left(until: float) -> float:
    """The remaining seconds, always positive, since a timeout of zero would mean not to wait at all."""
    return max(until - time.monotonic(), 1e-3)
