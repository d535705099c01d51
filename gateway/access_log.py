"""gunicorn's access log as JSON: one object per line, whatever a client puts into its path."""

import json
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger


class JsonAccessLogger(Logger):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's logger, except that the access log is built as JSON and not pasted together."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Log one request."""
        if not self.cfg.accesslog:
            return
        headers = {str(name).lower(): str(value) for name, value in resp.headers}
        event = {
            "time": self.now(),
            "event": "access",
            "client": environ.get("REMOTE_ADDR"),
            "method": environ.get("REQUEST_METHOD"),
            "target": environ.get("RAW_URI"),
            "status": resp.status_code,
            "bytes": getattr(resp, "sent", None),
            "duration_ms": round(request_time.total_seconds() * 1000),
            "correlation_id": headers.get("x-correlation-id"),
            "request_id": environ.get("HTTP_X_REQUEST_ID"),
        }
        self.access_log.info(json.dumps(event))
