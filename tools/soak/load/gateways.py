"""Which gateway a client uses, as a load balancer in front of them would choose."""

import http.client
import time

from tools.devstack.ports import LOOPBACK

#: Timeout of a client, longer than any response may take, in seconds.
CLIENT_TIMEOUT_S = 15.0
#: Time without new connections to a gateway that refused one, in seconds.
COOL_DOWN_S = 1.0
#: Time between two checks of /readyz, in seconds; well below DRAIN_DELAY_S.
CHECK_PAUSE_S = 0.2
CHECK_TIMEOUT_S = 1.0
REFUSES, ANSWERS, READY = range(3)


class Gateways:
    """Chooses the gateway of a connection; avoids those that refused one recently."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        self._ports = ports
        self._avoid_until_s = [0.0] * len(ports)

    def choose(self, preferred: int) -> int:
        """Return *preferred* modulo their number, or another gateway while that is avoided."""
        now_s = time.monotonic()
        numbers = [(preferred + step) % len(self._ports) for step in range(len(self._ports))]
        return next((n for n in numbers if self._avoid_until_s[n] <= now_s), numbers[0])

    def avoid(self, number: int) -> None:
        """Avoid gateway *number* for COOL_DOWN_S."""
        self._avoid_until_s[number] = time.monotonic() + COOL_DOWN_S

    def leaves(self, number: int) -> bool:
        """Return whether clients leave gateway *number* after the response."""
        return False

    def watch(self) -> None:
        """Watch the gateways for ever, if that is needed to choose."""

    def connect(self, number: int) -> http.client.HTTPConnection:
        """Return a connection, opened by its first request."""
        return http.client.HTTPConnection(LOOPBACK, self._ports[number], timeout=CLIENT_TIMEOUT_S)


class CheckedGateways(Gateways):
    """Chooses a gateway whose /readyz answers 200, and leaves one that stops."""

    def __init__(self, ports: tuple[int, ...]) -> None:
        super().__init__(ports)
        self._states = [READY] * len(ports)

    def choose(self, preferred: int) -> int:
        """Return *preferred* modulo their number if no other is in a better state."""
        numbers = [(preferred + step) % len(self._ports) for step in range(len(self._ports))]
        return max(numbers, key=lambda number: self._states[number])

    def leaves(self, number: int) -> bool:
        """Return whether another gateway is in a better state."""
        return self._states[number] < max(self._states)

    def watch(self) -> None:
        """Check the gateways again and again."""
        while True:
            self.check()
            time.sleep(CHECK_PAUSE_S)

    def check(self) -> None:
        """Ask each gateway for /readyz."""
        for number in range(len(self._ports)):
            self._states[number] = self._state(number)

    def _state(self, number: int) -> int:
        port = self._ports[number]
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=CHECK_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return READY if connection.getresponse().status == 200 else ANSWERS
        except (OSError, http.client.HTTPException):
            return REFUSES
        finally:
            connection.close()
