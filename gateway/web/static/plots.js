"use strict";

/* Small line plots of the last ten minutes, as SVG. */

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 120, HEIGHT = 24;

/* Returns a plot of `values`, where null means nothing was measured. */
function plot(values, name, format) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const known = values.filter((value) => value !== null);
  const highest = Math.max(0, ...known);
  svg.setAttribute("aria-label", known.length
    ? `${name} in the last ten minutes, highest ${format(highest)}`
    : `${name}: nothing in the last ten minutes`);
  const title = document.createElementNS(SVG, "title");
  title.textContent = svg.getAttribute("aria-label");
  svg.append(title, line(0, HEIGHT - 1, WIDTH, HEIGHT - 1));
  for (const points of runs(values, highest || 1)) {
    const drawn = document.createElementNS(SVG, "polyline");
    drawn.setAttribute("points", points.join(" "));
    svg.append(drawn);
  }
  return svg;
}

/* Returns the points of each run of known values. */
function runs(values, highest) {
  const step = WIDTH / Math.max(1, values.length - 1);
  const found = [];
  let run = [];
  values.forEach((value, place) => {
    if (value === null) {
      run = [];
      return;
    }
    if (!run.length) found.push(run);
    const x = place * step, y = HEIGHT - 1 - (HEIGHT - 3) * value / highest;
    run.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  });
  // One value alone is a short line, since a point would not show.
  return found.map((points) => points.length > 1 ? points : [points[0], shifted(points[0])]);
}

function shifted(point) {
  const [x, y] = point.split(",").map(Number);
  return `${(x + 1.5).toFixed(1)},${y.toFixed(1)}`;
}

function line(x1, y1, x2, y2) {
  const drawn = document.createElementNS(SVG, "line");
  for (const [name, value] of Object.entries({x1, y1, x2, y2})) drawn.setAttribute(name, value);
  return drawn;
}
