"use strict";

/* Asks for the figures once a second while the page is visible, and shows them. */

const PAUSE_MS = 1000, LIMIT_MS = 4000, OLD_AFTER_MS = 5000;
const VERDICTS = {ok: "everything works", warning: "works, with warnings", failing: "something fails"};

let received = null;  // when the last figures came, by the clock of the browser
let trouble = "";     // why no newer ones came

const number = (value) => value === null || value === undefined ? "–"
  : value.toLocaleString("en", {maximumSignificantDigits: 3});
const rate = (value) => `${number(value)}/s`;
const share = (value) => value === null || value === undefined ? "–" : `${number(value * 100)} %`;
const lag = (value) => value === null || value === undefined ? "–" : `${number(value)} s`;
const clock = (ms) => new Date(ms).toLocaleTimeString();

function duration(value_s) {
  if (value_s === null || value_s === undefined) return "–";
  return value_s < 1 ? `${number(value_s * 1000)} ms` : `${number(value_s)} s`;
}

function ahead(value_s) {
  return Math.abs(value_s) < 0.5 ? "agrees" : `${number(Math.abs(value_s))} s ${value_s > 0 ? "ahead" : "behind"}`;
}

function since(ms) {
  return ms ? new Date(ms).toLocaleString(undefined, {dateStyle: "short", timeStyle: "short"}) : "–";
}

function load(row) {
  return row.limit ? `${row.in_flight} of ${row.limit}` : "–";
}

function setText(id, text) {
  const place = document.getElementById(id);
  // Only what has changed: screen readers announce some of these.
  if (place.textContent !== text) place.textContent = text;
  return place;
}

function show(data) {
  const plots = data.history.routes;
  const plotted = (row, key, name, format) => figure(
    format(row[key]), plot([...(plots[row.route]?.[key] ?? []), row[key]], name, format));
  const verdict = setText("verdict", `${SIGNS[data.state]} ${VERDICTS[data.state]}`);
  verdict.setAttribute("data-state", data.state);
  document.title = `${SIGNS[data.state]} Rendezvous live`;
  const scope = setText("scope", data.scope === "all" ? ""
    : `Figures of one process only (${data.answered_by}): ${data.scope_reason}`);
  scope.hidden = data.scope === "all";
  showFindings(data.findings);
  showTotals(data.totals, data.history.totals);
  showTable("routes", [
    {title: "Route", cell: (row) => code(row.route), wide: true},
    {title: "Topic", cell: (row) => code(row.topic)},
    {title: "State", cell: (row) => state(row.state)},
    {title: "Rate", cell: (row) => plotted(row, "rate", "Rate", rate)},
    {title: "p50", cell: (row) => plotted(row, "p50_s", "p50", duration)},
    {title: "p99", cell: (row) => plotted(row, "p99_s", "p99", duration)},
    {title: "Errors", cell: (row) => plotted(row, "failed_share", "Errors", share)},
    {title: "Waiting", cell: (row) => number(row.waiting)},
  ], data.routes, "No routes.", (row) => row.state === "failing" ? "failing" : "");
  showTable("breakers", [
    {title: "Topic", cell: (row) => code(row.topic)},
    {title: "State", cell: (row) => state(row.state)},
    {title: "Open in", cell: (row) => row.open_in.length ? code(row.open_in.join(", ")) : "–"},
    {title: "Clients", cell: (row) => number(row.clients)},
  ], data.breakers, "No breakers yet.", (row) => row.state === "open" ? "failing" : "");
  showPath(data.reply_path);
  showProcesses(data.processes);
  showTable("problems", [
    {title: "Time", cell: (row) => clock(row.time_ms)},
    {title: "Problem", cell: (row) => `${row.status} ${row.type}`},
    {title: "Route", cell: (row) => code(row.route), wide: true},
    {title: "Sent", cell: (row) => row.sent || "–"},
    {title: "Client", cell: (row) => row.client || "–"},
    {title: "Node", cell: (row) => code(row.node ?? "–")},
    {title: "Correlation id (begins with)", cell: (row) => code(row.correlation_id || "–"), wide: true},
  ], data.problems, "None since the processes started.");
}

function showFindings(findings) {
  const place = document.getElementById("findings");
  const items = findings.map((finding) => {
    const item = element("li", `${SIGNS[finding.state]} `, {"data-state": finding.state});
    item.append(element("span", finding.text));
    return item;
  });
  replace(place, ...(items.length ? items : [element("li", "✔ nothing", {"data-state": "ok"})]));
}

function showTotals(totals, history) {
  const shown = [
    ["Rate", rate(totals.rate), plot([...history.rate, totals.rate], "Rate", rate)],
    ["p50", duration(totals.p50_s), plot([...history.p50_s, totals.p50_s], "p50", duration)],
    ["p99", duration(totals.p99_s), plot([...history.p99_s, totals.p99_s], "p99", duration)],
    ["Errors", share(totals.failed_share), plot([...history.failed_share, totals.failed_share], "Errors", share)],
    ["In flight", load(totals), plot([...history.in_flight, totals.in_flight], "In flight", number)],
    ["Queue", `${totals.queued} of ${totals.queue_limit}`, null],
    ["Reply lag", lag(history.lag_s.findLast((value) => value !== null)), plot(history.lag_s, "Lag", lag)],
  ];
  document.getElementById("totals").replaceChildren(...shown.map(([name, text, drawn]) => {
    const made = element("div"), value = element("dd", text);
    if (drawn) value.append(drawn);
    made.append(element("dt", name), value);
    return made;
  }));
}

function showPath(path) {
  setText("path-note", `Topic ${path.topic}, ${path.replies_processes} replies processes`
    + (path.modes.length ? `, mode ${path.modes.join(", ")}` : ""));
  const counts = Object.entries(path.counts).map(([outcome, n]) => `${outcome} ${number(n)}`);
  setText("path-counts", counts.length ? `Replies so far: ${counts.join(", ")}` : "");
  showTable("partitions", [
    {title: "Partition", cell: (row) => number(row.partition)},
    {title: "State", cell: (row) => state(row.state)},
    {title: "Replies processes", cell: (row) => code(row.replies.join(", ") || "–")},
    {title: "Lag", cell: (row) => lag(row.lag_s)},
    {title: "Read straight by gateways", cell: (row) => code(row.gateways.join(", ") || "–"), wide: true},
  ], path.partitions, "Not known: no process reads the reply topic.",
  (row) => row.state === "read" ? "" : "failing");
}

function showProcesses(processes) {
  showTable("processes", [
    {title: "Process", cell: (row) => row.kind},
    {title: "Node", cell: (row) => code(row.node)},
    {title: "State", cell: (row) => state(row.state)},
    {title: "Heard", cell: (row) => `${number(row.age_s)} s ago`},
    {title: "Host, pid", cell: (row) => `${row.host}, ${row.pid}`},
    {title: "Version", cell: (row) => row.version},
    {title: "Since", cell: (row) => since(row.since_ms)},
    {title: "In flight", cell: (row) => load(row)},
    {title: "Queue", cell: (row) => row.queue_limit ? `${row.queued} of ${row.queue_limit}` : "–"},
    {title: "Partitions, topics", cell: (row) => [...row.partitions, ...row.topics].join(", ") || "–"},
    {title: "Clock", cell: (row) => ahead(row.clock_ahead_s)},
  ], processes, "None.", (row) => row.state === "silent" ? "failing" : "");
}

function showAge() {
  const age_ms = received === null ? Infinity : Date.now() - received;
  const isOld = age_ms > OLD_AFTER_MS;
  document.body.setAttribute("data-stale", isOld && received !== null ? "yes" : "no");
  if (received !== null) {
    document.getElementById("age").textContent = `as of ${clock(received)}, ${Math.round(age_ms / 1000)} s ago`;
  }
  const stale = document.getElementById("stale");
  stale.hidden = !trouble && !(isOld && received !== null);
  if (!stale.hidden) {
    setText("stale", (trouble || "The gateway does not answer.")
      + (received === null ? "" : ` The figures below are of ${clock(received)}.`));
  }
}

async function ask() {
  try {
    const response = await fetch("live/figures", {cache: "no-store", signal: AbortSignal.timeout(LIMIT_MS)});
    if (response.status === 401) {
      trouble = "The gateway does not accept the API key any more; reload this page.";
    } else if (!response.ok) {
      trouble = `The gateway answers ${response.status} instead of figures.`;
    } else {
      show(await response.json());
      received = Date.now();
      trouble = "";
    }
  } catch (error) {
    trouble = error instanceof TypeError || error.name === "TimeoutError" || error.name === "AbortError"
      ? "The gateway cannot be reached." : `These figures cannot be shown: ${error.message}`;
  }
  showAge();
}

async function run() {
  for (;;) {
    if (!document.hidden) await ask();
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
}

setInterval(showAge, 500);
run();
