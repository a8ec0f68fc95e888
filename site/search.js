"use strict";
// Pages that hold every word, those with the words in their title first.
const ROOT = document.currentScript.dataset.root;
const FIELD = document.getElementById("search");
const FOUND = document.getElementById("found");

function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const scored = INDEX.map((page) => {
    const title = page.title.toLowerCase(), text = page.text.toLowerCase();
    if (!words.every((word) => title.includes(word) || text.includes(word))) return [0, page];
    const exact = title === words.join(" ") || title === "dn." + words.join(" ") ? 100 : 0;
    const inTitle = words.filter((word) => title.includes(word)).length;
    const count = words.reduce((sum, word) => sum + Math.min(9, text.split(word).length - 1), 0);
    return [1 + exact + 10 * inTitle + count / 9, page];
  });
  return scored.filter(([score]) => score).sort((a, b) => b[0] - a[0]).slice(0, 20).map(([, page]) => page);
}

function line(page, query) {
  const word = query.toLowerCase().split(/\s+/).find((part) => page.text.toLowerCase().includes(part)) || "";
  const at = Math.max(0, page.text.toLowerCase().indexOf(word) - 60);
  const item = document.createElement("li"), link = document.createElement("a"), said = document.createElement("small");
  link.href = ROOT + page.url;
  link.textContent = page.title;
  said.textContent = (at ? "…" : "") + page.text.slice(at, at + 160) + "…";
  item.append(link, said);
  return item;
}

FIELD.addEventListener("input", () => {
  const query = FIELD.value.trim(), pages = search(query);
  FOUND.hidden = !query;
  FOUND.replaceChildren(...pages.map((page) => line(page, query)));
  if (query && !pages.length) FOUND.textContent = `No page holds “${query}”.`;
});
FIELD.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const first = FOUND.querySelector("a");
  if (first) location.href = first.href;
});
