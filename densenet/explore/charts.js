"use strict";
/* Small charts in SVG, which follow the page's colours and print well. */

/** @typedef {{x: (v: number) => number, y: (v: number) => number}} Scales */

const CHART = { width: 420, height: 180, left: 62, right: 10, top: 22, bottom: 30 };

/** A scale for a chart's frame. @param {number} x0 @param {number} x1 @param {number} y0 @param {number} y1 @returns {Scales} */
function scales(x0, x1, y0, y1) {
  const { width, height, left, right, top, bottom } = CHART;
  const spanX = x1 - x0 || 1;
  const spanY = y1 - y0 || 1;
  return {
    x: (v) => left + ((v - x0) / spanX) * (width - left - right),
    y: (v) => height - bottom - ((v - y0) / spanY) * (height - top - bottom),
  };
}

/** Round values between two ends, at least `count` - 1 of them. @param {number} low @param {number} high @param {number} count */
function ticks(low, high, count = 3) {
  const power = 10 ** Math.floor(Math.log10((high - low) / count || 1));
  const steps = [10, 5, 2, 1, 0.5].map((k) => k * power);
  const step = steps.find((s) => Math.floor(high / s) - Math.ceil(low / s) >= count - 2) ?? steps[4];
  /** @type {number[]} */
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return found;
}

/** A tick's number, with as many digits as tell it from its neighbours. @param {number} v @param {number[]} all */
function label(v, all) {
  const step = all.length > 1 ? Math.abs(all[1] - all[0]) : Math.abs(v);
  const places = Math.ceil(Math.log10(Math.max(...all.map(Math.abs), step) / step || 1)) + 1;
  return plain(Number(v.toPrecision(Math.min(6, Math.max(3, places)))));
}

/** A frame with numbers along both axes. @param {Scales} s @param {number[]} xs @param {number[]} ys @param {string} xName @param {string} yName */
function frame(s, xs, ys, xName, yName) {
  const { width, height, left, right, bottom, top } = CHART;
  const group = svg("g");
  for (const v of ys) {
    group.append(svg("path", { class: "axis", d: `M${left} ${s.y(v)}H${width - right}` }));
    group.append(svg("text", { class: "small number", x: left - 5, y: s.y(v) + 4, "text-anchor": "end" }, label(v, ys)));
  }
  for (const v of xs) {
    group.append(svg("text", { class: "small number", x: s.x(v), y: height - bottom + 14, "text-anchor": "middle" }, label(v, xs)));
  }
  group.append(svg("text", { class: "small", x: width - right, y: height - 4, "text-anchor": "end" }, xName));
  group.append(svg("text", { class: "small", x: 2, y: top - 9 }, yName));
  return group;
}

/** A polyline. @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys @param {Scales} s */
function polyline(xs, ys, s) {
  let d = "";
  for (let i = 0; i < xs.length; i++) {
    if (Number.isFinite(ys[i])) d += `${d ? "L" : "M"}${s.x(xs[i]).toFixed(1)} ${s.y(ys[i]).toFixed(1)}`;
  }
  return d;
}

/** Put children into a chart. @param {SVGElement} chart @param {...Node} children */
function fill(chart, ...children) {
  chart.setAttribute("viewBox", `0 0 ${CHART.width} ${CHART.height}`);
  chart.replaceChildren(...children);
}

/** The ends of some numbers, a little apart where they are equal. @param {ArrayLike<number>} values */
function ends(values) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  if (low > high) return [0, 1];
  if (high - low < 1e-12 * Math.max(Math.abs(low), Math.abs(high), 1e-30)) return [low - 0.5 * Math.abs(low || 1), high + 0.5 * Math.abs(high || 1)];
  return [low, high];
}
