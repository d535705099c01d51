"""Problem details of a gateway."""

import json

PROBLEM_TYPE = "application/problem+json"
PROBLEMS = "/problems/"


def problem_in(content_type: str | None, content: bytes) -> tuple[str, str]:
    """Return problem type and "sent" of a gateway's error; ("", "") for other content."""
    if content_type != PROBLEM_TYPE:
        return "", ""
    try:
        problem = json.loads(content)
        address, sent = str(problem["type"]), str(problem.get("sent", ""))
    except (ValueError, KeyError, TypeError):
        return "", ""
    kind = address.removeprefix(PROBLEMS)
    return (kind, sent) if kind != address else ("", "")
