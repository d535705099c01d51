"use strict";

/* Tables whose cells are text only: names and ids come from clients. */

/* What shows a state besides its colour. */
const SIGNS = {
  ok: "✔", closed: "✔", read: "✔", running: "✔",
  failing: "✖", open: "✖", "not read": "✖", silent: "✖", stopped: "■",
  warning: "▲", errors: "▲", "open for some": "▲", draining: "▼", idle: "–", unknown: "…",
};

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function state(name) {
  return element("span", `${SIGNS[name] ?? "?"} ${name}`, {class: "state", "data-state": name});
}

function code(text) {
  return element("span", text, {class: "code"});
}

/* Returns a value with its plot below. */
function figure(text, drawn) {
  const made = element("div");
  made.append(text);
  if (drawn) made.append(drawn);
  return made;
}

/*
 * Replaces the table in the element `id`.
 *
 * columns: for each column its title, a function from row to text or element, and options.
 * The roles are named, because tables that are laid out as cards on a phone lose them.
 */
function showTable(id, columns, rows, none, rowState = () => "") {
  const place = document.getElementById(id);
  if (!rows.length) {
    replace(place, element("p", none, {class: "note"}));
    return;
  }
  const table = element("table", undefined, {
    role: "table", "aria-labelledby": place.parentElement.getAttribute("aria-labelledby"),
  });
  const head = element("tr", undefined, {role: "row"});
  for (const {title} of columns) {
    head.append(element("th", title, {scope: "col", role: "columnheader"}));
  }
  const thead = element("thead", undefined, {role: "rowgroup"});
  thead.append(head);
  const tbody = element("tbody", undefined, {role: "rowgroup"});
  for (const row of rows) {
    const tr = element("tr", undefined, {role: "row", "data-row": rowState(row)});
    for (const {title, cell, wide} of columns) {
      const td = element("td", undefined, {role: "cell", "data-label": title});
      if (wide) td.setAttribute("data-wide", "");
      td.append(cell(row));
      tr.append(td);
    }
    tbody.append(tr);
  }
  table.append(thead, tbody);
  replace(place, table);
}

/* Replaces the content of `place` if it differs, unless a part of it is selected, to be copied. */
function replace(place, ...made) {
  const selection = document.getSelection();
  const isSelected = selection && !selection.isCollapsed && place.contains(selection.anchorNode);
  const isSame = place.childElementCount === made.length
    && made.every((child, number) => child.isEqualNode(place.children[number]));
  if (!isSame && !isSelected) place.replaceChildren(...made);
}
