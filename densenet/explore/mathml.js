"use strict";
/*
 * The notes' notation as MathML. Names are written once, as plain text: w(1)_{1,3}, f'(z(2)_1), dE/dz(4)_1, y^_1.
 * Each name becomes an element with a data-key, so that it can light up together with the picture.
 */

const MATHML = "http://www.w3.org/1998/Math/MathML";
const NAME = String.raw`(?:new )?[A-Za-z][A-Za-z0-9]*'?\(\d+\)(?:_(?:\{[\d,]+\}|\d+))?`;
const SLOPE = String.raw`f'\(z\(\d+\)(?:_\d+)?\)`;
const OUTPUT = String.raw`y\^(?:_\d+)?`;
const TOKENS = new RegExp(
  String.raw`dE/d(?:${NAME}|${OUTPUT})|${SLOPE}|${NAME}|${OUTPUT}|[py]_\d+|E_\d+|\balpha\b|\bPhi\b|\bphi\b|` +
    String.raw`\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z]+|\^|\s+x\s+|[^\sA-Za-z0-9]|\s+`,
  "g",
);

/** A number as it is shown everywhere: six digits. @param {number} value */
function digits(value) {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf").replace("NaN", "nan");
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(5).replace(/\.?0+e/, "e").replace(/e([+-])(\d)$/, "e$10$2");
  return String(Number(value.toPrecision(6)));
}

const RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";
/** A whole number as an exponent. @param {string} power */
const raised = (power) => String(Number(power)).replace(/./g, (c) => (c === "-" ? "\u207b" : RAISED[Number(c)]));

/** The same as plain text beside formulas: with a minus sign, and 4.26 \u00d7 10\u207b\u2076 for 4.26e-06. @param {number} value */
function plain(value) {
  const [number, power] = digits(value).split("e");
  const mantissa = number.replace("-", "\u2212");
  return power === undefined ? mantissa : `${mantissa} \u00d7 10${raised(power)}`;
}

/** A side of numbers alone as plain text, which is laid out faster than MathML. @param {string} text */
function numbersText(text) {
  return text
    .replace(/(\d)e([+-]?\d+)/g, (_, digit, power) => `${digit}\u00b710${raised(power)}`)
    .replace(/\^(\d)/g, (_, power) => raised(power))
    .replace(/ x /g, "\u00b7")
    .replace(/-/g, "\u2212");
}

/** A number inside a product or sum: in brackets where it is negative. @param {number} value */
function signed(value) {
  return value < 0 ? `(${digits(value)})` : digits(value);
}

/** @param {string} tag @param {...(Node | string)} children */
function math(tag, ...children) {
  const element = document.createElementNS(MATHML, tag);
  element.append(...children);
  return element;
}

/** A number in MathML, 2e-05 as 2 . 10^-5. @param {string} text */
function mathNumber(text) {
  const [mantissa, power] = text.split("e");
  if (power === undefined) return math("mn", mantissa);
  const exponent = math("mn", String(Number(power)).replace("-", "\u2212"));
  return math("mrow", math("mn", mantissa), math("mo", "\u00b7"), math("msup", math("mn", "10"), exponent));
}

/** The key of a name, which picture, formula and derivation share: "w(2)_{3,2}" is "w2_3_2". @param {string} name */
function keyOf(name) {
  return name.replace(/[(){}^']/g, "").replace(/,/g, "_");
}

/** One name such as w(1)_{1,3}. @param {string} text @returns {Element} */
function mathName(text) {
  const derivative = text.match(/^dE\/d(.*)$/);
  if (derivative) {
    const fraction = math(
      "mfrac",
      math("mrow", math("mo", "\u2202"), math("mi", "E")),
      math("mrow", math("mo", "\u2202"), mathName(derivative[1])),
    );
    fraction.setAttribute("data-key", keyOf(text));
    return fraction;
  }
  const slope = text.match(/^f'\((z.*)\)$/);
  if (slope) {
    const prime = math("msup", math("mi", "f"), math("mo", "\u2032"));
    const row = math("mrow", prime, math("mo", "("), mathName(slope[1]), math("mo", ")"));
    row.setAttribute("data-key", `f${keyOf(slope[1])}`);
    return row;
  }
  if (text.startsWith("y^")) {
    const hat = math("mover", math("mi", "y"), math("mo", "^"));
    const output = text.length > 2 ? math("msub", hat, math("mn", text.slice(3))) : hat;
    output.setAttribute("data-key", keyOf(text));
    return output;
  }
  const parts = text.match(/^(new )?([A-Za-z][A-Za-z0-9]*)('?)\((\d+)\)(?:_\{?([\d,]+)\}?)?$/);
  if (parts) {
    const [, fresh, letter, prime, layer, below] = parts;
    const upper = math("mrow", math("mo", "("), math("mn", layer), math("mo", ")"));
    if (prime) upper.prepend(math("mo", "\u2032"));
    if (fresh) upper.append(math("mtext", "new"));
    const name = below
      ? math("msubsup", math("mi", letter), math("mn", below), upper)
      : math("msup", math("mi", letter), upper);
    name.setAttribute("data-key", keyOf(text.replace("new ", "")));
    return name;
  }
  const [letter, below] = text.split("_");
  const plain = below ? math("msub", math("mi", letter), math("mn", below)) : math("mi", letter);
  plain.setAttribute("data-key", keyOf(text));
  return plain;
}

/** Tokens of a formula as MathML nodes. @param {string} text */
function mathNodes(text) {
  /** @type {Element[]} */
  const nodes = [];
  let power = false;
  for (const [token] of text.matchAll(TOKENS)) {
    /** @type {Element | null} */
    let node;
    if (/^\s+x\s+$/.test(token)) node = math("mo", "\u00b7");
    else if (/^\s+$/.test(token)) continue;
    else if (token === "^") {
      power = true;
      continue;
    } else if (/^\d/.test(token)) node = mathNumber(token);
    else if (token === "alpha") node = math("mi", "\u03b1");
    else if (token === "Phi") node = math("mi", "\u03a6");
    else if (token === "phi") node = math("mi", "\u03c6");
    else if (token === "-") {
      node = math("mo", "\u2212");
      if (!nodes.length || /^[(=\u00b7/+\u2212|]$/.test(nodes[nodes.length - 1].textContent ?? "")) node.setAttribute("form", "prefix");
    }
    else if (/^[A-Za-z]$/.test(token)) node = math("mi", token);
    else if (/^[A-Za-z]+$/.test(token)) node = math("mtext", `\u00a0${token}\u00a0`);
    else if (/^[A-Za-z]/.test(token)) node = mathName(token);
    else node = math("mo", token);
    if (power && nodes.length) {
      const base = /** @type {Element} */ (nodes.pop());
      if (base.textContent === ")") {
        let open = nodes.length - 1;
        while (open > 0 && nodes[open].textContent !== "(") open--;
        node = math("msup", math("mrow", ...nodes.splice(open), base), node);
      } else node = math("msup", base, node);
      power = false;
    }
    nodes.push(node);
  }
  return nodes;
}

/**
 * One side of an equation. What the teacher's view hides has the class "number": decimals, and sides of numbers alone.
 * @param {string} text
 */
function mathSide(text) {
  const row = math("mrow", ...mathNodes(text));
  if (!/[A-Za-z]/.test(text.replace(/e[+-]?\d| x /g, ""))) row.setAttribute("class", "number");
  row.querySelectorAll("mn").forEach((number) => number.textContent?.includes(".") && number.setAttribute("class", "number"));
  return row;
}

/** A formula in the notes' notation as one math element. @param {string} text */
function formula(text) {
  return math("math", mathSide(text));
}

/** The sides of an equation without those that are empty or already there. @param {(string | number | null)[]} sides */
function sidesOf(sides) {
  const shown = sides.map((side) => (typeof side === "number" ? digits(side) : side ?? ""));
  return shown.filter((side, at) => side && !shown.slice(0, at).includes(side));
}

/** left = side = side ... as one math element. @param {(string | number | null)[]} sides */
function equation(sides) {
  const row = math("mrow");
  sidesOf(sides).forEach((side, at) => {
    if (at) row.append(math("mo", "="));
    row.append(mathSide(side));
  });
  return math("math", row);
}

/** The same as a line that may go on below before each = but the first. @param {(string | number | null)[]} sides */
function equationLine(sides) {
  const [left, right, ...more] = sidesOf(sides);
  const rest = more.map((side) => {
    const row = mathSide(side);
    row.prepend(math("mo", "="));
    return math("math", row);
  });
  return html("div", "line", ...[equation([left, right]), ...rest].flatMap((part) => [part, " "]));
}
