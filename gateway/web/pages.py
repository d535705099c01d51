"""
What we say, for people: HTML pages without script.

Whatever is put into them is escaped: paths, headers and ids come from clients, and details repeat
them.
"""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Any

from gateway.problems import Problem

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem;line-height:1.2}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}"
    "dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}"
)
#: Nothing is loaded and nothing runs; the style is known by its hash.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def problem_page(problem: Problem) -> str:
    """Return the page of a *problem* that has just happened."""
    members = problem.body()
    kind, title = members["type"], str(members["title"])
    facts = {
        "Status": str(members["status"]),
        "Was the request sent?": str(members.get("sent", "")),
        "Send it again as it is?": "that is safe" if members["retryable"] else "no",
        "Correlation id": str(members.get("correlation_id", "")),
    }
    lines = [f"<p>{escape(str(members['detail']))}</p>", *_faults(members), _facts(facts)]
    if "status_url" in members:
        lines.append(f"<p>{_link(str(members['status_url']), 'Ask for the reply')}</p>")
    if kind != "about:blank":
        lines.append(f"<p>{_link(kind, 'What this means')}</p>")
    return _page(title, lines)


def kind_page(kind: type[Problem]) -> str:
    """Return the page that explains one *kind* of problem."""
    return _page(
        kind.title,
        [
            f"<p>{escape(kind.meaning)}</p>",
            "<h2>Sending the request again</h2>",
            f"<p>{escape(kind.retry)}</p>",
            f"<p>{_link('/problems', 'All problems')}</p>",
        ],
    )


def kinds_page(kinds: Iterable[type[Problem]]) -> str:
    """Return the page that lists *kinds* of problems."""
    return _page(
        "Problems",
        [
            "<dl>",
            *(
                f"<dt>{_link(kind.type_path(), kind.kind)}</dt><dd>{escape(kind.meaning)}</dd>"
                for kind in kinds
            ),
            "</dl>",
        ],
    )


def _page(title: str, lines: Iterable[str]) -> str:
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            f"<h1>{escape(title)}</h1>",
            *lines,
            "</html>",
            "",
        ]
    )


def _faults(members: dict[str, Any]) -> list[str]:
    faults = members.get("faults", [])
    items = (f"<li>{escape(fault['path'])} {escape(fault['fault'])}</li>" for fault in faults)
    return [f"<ul>{''.join(items)}</ul>"] if faults else []


def _facts(facts: dict[str, str]) -> str:
    said = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v)
    return f"<dl>{''.join(said)}</dl>"


def _link(url: str, text: str) -> str:
    return f'<a href="{escape(url)}">{escape(text)}</a>'
