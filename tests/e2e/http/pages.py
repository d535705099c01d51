"""Handlers that answer GET: pages for a browser, and items that caches keep."""

from collections import Counter

from rendezvous.contract import Reply, Request
from responder.registry import HandlerError, handles

HTML, SCRIPT = "text/html; charset=utf-8", "text/javascript"
#: A page that shows in its attributes what the browser has executed and fetched.
INDEX = """<!doctype html><body><script>var ran = []</script>
<script src="/pages/script"></script>
<script src="/pages/script?typed=1"></script>
<iframe src="/pages/frame"></iframe>
<iframe src="/pages/frame?typed=1"></iframe>
<script>
const text = async (path) => (await fetch(path)).text()
onload = async () => {
  document.body.dataset.ran = ran.sort().join(" ")
  const found = []
  for (const id of ["fresh", "fresh", "tagged", "tagged"]) found.push(await text("/items/" + id))
  document.body.dataset.fetched = found.join(" ")
}
</script>"""
_calls: Counter[str] = Counter()


@handles("pages")
def page(request: Request) -> Reply:
    """Return a page, or a script, with its content type if the query says so."""
    name, kind = request.path_parameters["name"], "typed" if request.query else "untyped"
    if name == "index":
        return Reply.to(request, INDEX.encode(), content_type=HTML)
    if name == "script":
        body, content_type = f'ran.push("{kind}-script")', SCRIPT
    elif name == "frame":
        body, content_type = f'<script>parent.ran.push("{kind}-frame")</script>', HTML
    else:
        raise HandlerError(404, "there is no such page")
    given = content_type if kind == "typed" else None
    return Reply.to(request, body.encode(), content_type=given)


@handles("items")
def item(request: Request) -> Reply:
    """Return how often an item was asked for, and how long the answer is current."""
    item_id = request.path_parameters["item_id"]
    _calls[item_id] += 1
    named = {
        "fresh": [("cache-control", "private, max-age=60")],
        "tagged": [("etag", '"1"'), ("last-modified", "Fri, 27 Nov 2026 12:00:00 GMT")],
    }
    body = b"%s-%d" % (item_id.encode(), _calls[item_id])
    return Reply.to(request, body, content_type="text/plain", headers=named.get(item_id, ()))
