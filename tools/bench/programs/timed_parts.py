"""The parts of the gateway that timed_gateway.py times."""

from gunicorn.http.parser import Parser
from kafka.producer.sender import Sender

from gateway.exchange.mailbox import Mailbox
from gateway.exchange.requester import Requester
from gateway.exchange.waiter import Waiter
from gateway.server.access_log import TextAccessLogger
from gateway.server.http import HttpResponse
from gateway.server.request_handler import RequestHandler
from gateway.server.worker import GatewayWorker
from gateway.web.fast_path import FastPath, FastRoute
from rendezvous.kafka_client.producer import RequestProducer
from rendezvous.redis_store.replies import ReplyStore

#: Name, class and method of each part; how they nest is in experiments/cpu_profile.py.
PARTS: tuple[tuple[str, type, str], ...] = (
    ("main loop", GatewayWorker, "wait_for_and_dispatch_events"),
    ("request", RequestHandler, "handle"),
    ("parse", Parser, "__next__"),
    ("application", FastPath, "__call__"),
    ("fast path", FastRoute, "exchange"),
    ("id", Requester, "issue_id"),
    ("exchange", Requester, "exchange"),
    ("send", RequestProducer, "send"),
    ("wait", Waiter, "wait"),
    ("write", HttpResponse, "_send"),
    ("access log", TextAccessLogger, "access"),
    ("next request", GatewayWorker, "_expect_request"),
    ("sender", Sender, "run_once"),
    ("poller", Mailbox, "_fetch"),
    ("query", ReplyStore, "fetch_many"),
)
