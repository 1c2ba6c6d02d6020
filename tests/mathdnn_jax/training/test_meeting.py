"""Processes meet before JAX's runtime starts, or say why they cannot."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from mathdnn_jax.errors import ConfigurationError, ProcessesError
from mathdnn_jax.training.meeting import meet, parse_address


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def outcomes(*given: tuple[int, int], seconds: float = 5.0) -> list[str]:
    """What becomes of processes that are each started as (own, processes): "" or the message of the error."""
    address, said = f"localhost:{free_port()}", [""] * len(given)

    def take_part(place: int, own: int, processes: int) -> None:
        try:
            meet(address, processes, own, seconds)
        except ProcessesError as error:
            said[place] = str(error)

    threads = [threading.Thread(target=take_part, args=(place, *each)) for place, each in enumerate(given)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_they_meet_in_any_order() -> None:
    assert outcomes((2, 3), (0, 3), (1, 3)) == ["", "", ""]
    assert outcomes((0, 1)) == [""]


def test_one_that_does_not_come_is_named() -> None:
    first, other = outcomes((0, 3), (1, 3), seconds=0.5)
    assert "of 3 processes, 2 did not come" in first
    assert "0.5 s are over" in other


def test_two_numbers_of_processes() -> None:
    first, other = outcomes((0, 2), (1, 3), seconds=0.5)
    assert "of 2 processes, 1 did not come" in first
    assert "refused: process 1 was started as one of 3, process 0 as one of 2" in other


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of another program."""
    with socket.create_server(("localhost", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"localhost:{server.getsockname()[1]}"
        thread.join()


def test_a_coordinator_that_is_another_program_or_never_answers() -> None:
    with served(lambda it: it.sendall(b"220 mail ready\r\n")) as address:
        with pytest.raises(ProcessesError, match="another program, which answered '220 mail ready'"):
            meet(address, 2, 1, 5)
        with pytest.raises(ProcessesError, match="cannot listen at port"):
            meet(address, 2, 0, 5)
    began = time.monotonic()
    with served(lambda it: time.sleep(0.8)) as address, pytest.raises(ProcessesError, match="did not answer"):
        meet(address, 2, 1, 0.5)
    with pytest.raises(ProcessesError, match="cannot be reached"):
        meet(f"localhost:{free_port()}", 2, 1, 0.3)
    assert time.monotonic() < began + 5
    with pytest.raises(ProcessesError, match="no host"):
        meet("no-such-host.invalid:1", 2, 1, 0.3)


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":12", "localhost:port", "h:0", "h:65536", "h:-1", "h:²"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ConfigurationError, match="expected HOST:PORT"):
        meet(address, 2, 1, 1)


def test_addresses() -> None:
    assert parse_address("localhost:1234") == ("localhost", 1234)
    assert parse_address("[::1]:80") == ("::1", 80)
