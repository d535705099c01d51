"""Answers a whole request through the WSGI application; runs in a thread."""

import errno
from datetime import datetime
from io import BytesIO
from typing import Any

from gateway.server.connection import Connection
from gateway.server.http import HttpResponse, create_response

#: What a connection that the client has closed raises.
_CLOSED = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


class RequestHandler:
    """Answers the requests of a worker's connections."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._log = worker.log

    def serve(self, conn: Connection) -> None:
        """Handle the requests of *conn*, then close it or hand it back; never raise."""
        try:
            self._handle_requests(conn)
        except BaseException:  # noqa: BLE001  # a connection that is not handed back is lost
            self._worker.close_soon(conn)
            self._log.exception("the request of %s failed; closing its connection", conn.address)

    def _handle_requests(self, conn: Connection) -> None:
        """Handle a whole request, and those that follow soon."""
        while True:
            keep = self.handle(conn) and not conn.is_last
            conn.release_request()
            data, conn.ahead = conn.ahead, b""
            if not keep:
                self._worker.close_soon(conn)
                return
            if not (conn.is_quick and not data and self._worker.has_spare_thread()):
                self._worker.hand_back(conn, data)
                return
            received = conn.receive_soon(self._worker.limits.max_body_bytes)
            if received is not None:
                self._worker.hand_back(conn, received)
                return

    def handle(self, conn: Connection) -> bool:
        """Answer the request of *conn*; return whether another one may follow."""
        req = None
        try:
            conn.init()
            req = next(conn.parser)
            return self._handle_request(req, conn)
        except StopIteration:
            self._log.debug("closing the connection of %s", conn.address)
        except OSError as error:
            if error.errno not in _CLOSED:
                self._log.exception("the connection of %s failed", conn.address)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # it is answered and logged
            self._worker.handle_error(req, conn.sock, conn.client, error)
        return False

    def _handle_request(self, req: Any, conn: Connection) -> bool:
        worker = self._worker
        if conn.is_last:
            req.force_close()
        else:
            req.mark_body_received()
        resp: HttpResponse | None = None
        environ: dict[str, Any] = {}
        try:
            worker.cfg.pre_request(worker, req)
            resp, environ = create_response(req, conn, worker.cfg)
            if conn.body is not None:
                # Passed as it is: gunicorn's readers would search its end again.
                environ["wsgi.input"] = BytesIO(conn.body)
            self._count_request()
            if not self._may_keep_alive():
                resp.force_close()
            self._respond(req, conn, resp, environ)
            return not resp.should_close()
        finally:
            self._call_post_request(req, environ, resp)

    def _count_request(self) -> None:
        worker = self._worker
        worker.nr += 1
        if worker.nr >= worker.max_requests and worker.alive:
            self._log.info("restarting this worker after the current request")
            worker.alive = False

    def _may_keep_alive(self) -> bool:
        worker = self._worker
        has_room = len(worker.keepalived_conns) < worker.max_keepalived
        return bool(worker.alive and worker.cfg.keepalive and has_room)

    def _respond(self, req: Any, conn: Connection, resp: HttpResponse, environ: Any) -> None:
        begun = datetime.now()
        try:
            self._run_application(environ, resp)
        except TimeoutError as error:
            self._log.warning("%s does not read its response", conn.address)
            raise BrokenPipeError(errno.EPIPE, "the response is not read") from error
        except (Exception, SystemExit) as error:
            if isinstance(error, OSError) or not resp.headers_sent:
                raise
            # The client would take a second response for a part of the first.
            self._log.exception("a response failed after its head was sent; closing its connection")
            raise StopIteration from error
        finally:
            if resp.status is not None:
                self._log.access(resp, req, environ, datetime.now() - begun)

    def _call_post_request(self, req: Any, environ: Any, resp: HttpResponse | None) -> None:
        try:
            self._worker.cfg.post_request(self._worker, req, environ, resp)
        except Exception:  # noqa: BLE001  # it is logged
            self._log.exception("the post_request hook failed")

    def _run_application(self, environ: Any, resp: HttpResponse) -> None:
        parts = self._worker.wsgi(environ, resp.start_response)
        try:
            for part in parts:
                resp.write(part)
            resp.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()
