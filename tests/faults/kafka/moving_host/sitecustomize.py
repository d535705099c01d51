"""Resolves the host name BROKER_HOST to the address in the file BROKER_ADDRESS_FILE."""

import os
import socket
from pathlib import Path
from typing import Any

_host, _file = os.environ["BROKER_HOST"], Path(os.environ["BROKER_ADDRESS_FILE"])
_getaddrinfo = socket.getaddrinfo


def _resolve(host: Any, *args: Any, **options: Any) -> Any:
    return _getaddrinfo(_file.read_text() if host == _host else host, *args, **options)


socket.getaddrinfo = _resolve
