"use strict";
// Two comforts; the pages can be read without. A name lights up wherever it stands, on both sides,
// and the search looks through what the index file lists.

// Where both sides make it in one line each, these lines light up with it.
const marks = (name) =>
  document.querySelectorAll(`.n[data-n="${CSS.escape(name)}"], [data-makes~="${CSS.escape(name)}"]`);
let held = null;

function light(name, on) {
  for (const mark of marks(name)) {
    mark.classList.toggle("lit", on);
    if (mark.tagName === "BUTTON") mark.setAttribute("aria-pressed", String(on));
  }
}

function hold(name) {
  if (held) light(held, false);
  held = held === name ? null : name;
  if (held) light(held, true);
}

document.addEventListener("mouseover", (event) => {
  const mark = event.target.closest(".n");
  if (mark) light(mark.dataset.n, true);
});
document.addEventListener("mouseout", (event) => {
  const mark = event.target.closest(".n");
  if (mark && mark.dataset.n !== held) light(mark.dataset.n, false);
});
document.addEventListener("click", (event) => {
  const mark = event.target.closest(".n");
  if (mark) hold(mark.dataset.n);
});

const box = document.getElementById("search");
const found = document.getElementById("found");
const root = document.body.dataset.root;

// Every word must occur. What has them in its own name comes first, then the higher rank: a page
// before a convention before a mistake.
function look(words) {
  const hits = [];
  for (const entry of window.SEARCH || []) {
    const title = entry.title.toLowerCase();
    const all = `${title} ${entry.says} ${entry.words}`.toLowerCase();
    if (!words.every((word) => all.includes(word))) continue;
    const named = words.filter((word) => title.includes(word)).length;
    const whole = title === words.join(" ") || title.split(", ").includes(words.join(" "));
    const score = 20 * whole + 10 * (named === words.length) + named + entry.rank;
    hits.push([score, entry]);
  }
  return hits.sort((a, b) => b[0] - a[0]).slice(0, 12).map((hit) => hit[1]);
}

function show() {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  found.hidden = words.length === 0;
  found.replaceChildren();
  if (found.hidden) return;
  const hits = look(words);
  if (!hits.length) {
    found.textContent = `Nothing found for “${box.value.trim()}”.`;
    return;
  }
  const list = document.createElement("ul");
  for (const entry of hits) {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = root + entry.href;
    link.textContent = entry.title;
    const says = document.createElement("small");
    says.textContent = entry.says;
    item.append(link, says);
    list.append(item);
  }
  found.append(list);
}

box.addEventListener("input", show);
box.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const first = found.querySelector("a");
  if (first) first.click();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    box.value = "";
    show();
    if (held) hold(held);
  }
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    box.focus();
  }
  const links = [...found.querySelectorAll("a")];
  const at = links.indexOf(document.activeElement);
  if (event.key === "ArrowDown" && links.length && (at >= 0 || document.activeElement === box)) {
    event.preventDefault();
    links[Math.min(at + 1, links.length - 1)].focus();
  }
  if (event.key === "ArrowUp" && at >= 0) {
    event.preventDefault();
    (links[at - 1] || box).focus();
  }
});
