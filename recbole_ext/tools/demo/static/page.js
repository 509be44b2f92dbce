"use strict";

const at = (id) => document.getElementById(id);
const choices = JSON.parse(at("page").dataset.choices);
const likes = JSON.parse(at("page").dataset.likes);
const still = matchMedia("(prefers-reduced-motion: reduce)");

const rated = new Map(); // token → {item, rating}
const skipped = new Set(); // tokens
let ranks = new Map(); // token → rank, of the list that is shown
let titles = new Map(); // token → title, of the same
let latest = 0; // the last request; earlier ones that arrive later are dropped

/* Everything shown is a text node or an attribute, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function button(text, attributes, action) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", action);
  return element;
}

function described(item) {
  const details = item.details.map(([name, text]) => make("span", { title: name }, text));
  return make(
    "div",
    { class: "what" },
    make("span", { class: "title" }, item.title),
    make("span", { class: "details" }, ...details),
  );
}

function ratingButtons(item, given) {
  return choices.map((rating) => {
    const text = likes ? "Like" : String(rating);
    const attributes = { class: "choice", "aria-pressed": String(rating === given) };
    return button(text, attributes, () => {
      rated.set(item.token, { item, rating });
      update();
    });
  });
}

function askedRow(item) {
  const skip = () => {
    skipped.add(item.token);
    update();
  };
  const buttons = [...ratingButtons(item), button("Don’t know it", { class: "plain" }, skip)];
  return row(item, described(item), group(item, buttons));
}

function ratedRow({ item, rating }) {
  const remove = () => {
    rated.delete(item.token);
    update();
  };
  const buttons = likes ? [] : ratingButtons(item, rating);
  buttons.push(button("Remove", { class: "plain" }, remove));
  return row(item, described(item), group(item, buttons));
}

function row(item, ...children) {
  return make("li", { "data-token": item.token }, ...children);
}

function group(item, buttons) {
  return make("div", { class: "buttons", role: "group", "aria-label": item.title }, ...buttons);
}

function recommendedRow(item, rank, change) {
  const score = make("span", { class: "score" }, item.score.toFixed(2));
  if (!likes) {
    const [min, max] = [choices[0], choices[choices.length - 1]];
    score.append(make("meter", { min, max, value: item.score, "aria-hidden": "true" }));
  }
  const label = make("span", { class: `change ${change.kind}` }, change.text);
  const place = make("span", { class: "rank", "aria-hidden": "true" }, String(rank));
  return row(item, place, described(item), label, score);
}

function changeOf(token, rank) {
  const before = ranks.get(token);
  if (!ranks.size || before === rank) return { kind: "same", text: "" };
  if (before === undefined) return { kind: "new", text: "new" };
  return before > rank
    ? { kind: "up", text: `▲ ${before - rank}` }
    : { kind: "down", text: `▼ ${rank - before}` };
}

/* The keyboard's place is kept: on the same button of the row that is now where the old one was. */
function replace(list, rows) {
  const active = document.activeElement;
  const place = [...list.children].findIndex((old) => old.contains(active));
  const buttons = (some) => [...some.querySelectorAll("button")];
  const which = place < 0 ? -1 : buttons(list.children[place]).indexOf(active);
  list.replaceChildren(...rows);
  if (which < 0 || !rows.length) return;
  const now = buttons(rows[Math.min(place, rows.length - 1)]);
  now[Math.min(which, now.length - 1)].focus();
}

function showList(items) {
  const list = at("recommended");
  const tops = new Map([...list.children].map((old) => [old.dataset.token, old.offsetTop]));
  const changes = items.map((item, place) => changeOf(item.token, place + 1));
  list.replaceChildren(...items.map((item, k) => recommendedRow(item, k + 1, changes[k])));
  if (!still.matches && ranks.size) slide(list, tops);
  const left = [...titles].filter(([token]) => !items.some((item) => item.token === token));
  at("status").textContent = summary(changes, left);
  ranks = new Map(items.map((item, place) => [item.token, place + 1]));
  titles = new Map(items.map((item) => [item.token, item.title]));
}

function slide(list, tops) {
  for (const moved of list.children) {
    const before = tops.get(moved.dataset.token);
    const start =
      before === undefined
        ? { opacity: 0 }
        : { transform: `translateY(${before - moved.offsetTop}px)` };
    moved.animate([start, {}], { duration: 500, easing: "ease-in-out" });
  }
}

function summary(changes, left) {
  if (!ranks.size) return "";
  const moved = changes.filter(({ kind }) => kind === "up" || kind === "down").length;
  const gone = left.map(([token, title]) => (rated.has(token) ? `${title} (rated)` : title));
  if (!moved && !gone.length) return "The list has not changed.";
  const out = gone.length ? ` Gone: ${gone.join(", ")}.` : "";
  return `${changes.filter(({ kind }) => kind === "new").length} new, ${moved} moved.${out}`;
}

function show(answer) {
  const none = make("li", { class: "none" }, "There is nothing left to ask about.");
  replace(at("ask"), answer.ask.length ? answer.ask.map(askedRow) : [none]);
  replace(at("rated"), [...rated.values()].reverse().map(ratedRow));
  at("said").hidden = !rated.size;
  at("again").hidden = !skipped.size;
  showList(answer.recommended);
}

function profile() {
  if (!at("profile")) return {};
  const told = [...at("profile").elements].map((field) => {
    const several = field.dataset.several;
    if (several === undefined) return [field.name, field.value];
    return [field.name, [...field.selectedOptions].map((option) => option.value).join(several)];
  });
  return Object.fromEntries(told.filter(([, value]) => value));
}

async function request() {
  const body = {
    profile: profile(),
    ratings: [...rated].map(([token, { rating }]) => [token, rating]),
    skipped: [...skipped],
  };
  const response = await fetch("answer", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (response.ok) return response.json();
  const told = await response.json().catch(() => ({ error: response.statusText }));
  throw new Error(told.error);
}

async function update() {
  if (at("profile") && !at("profile").reportValidity()) return;
  const mine = ++latest;
  at("list").setAttribute("aria-busy", "true");
  let answer, problem;
  try {
    answer = await request();
  } catch (error) {
    problem = error instanceof TypeError ? "The server does not answer." : error.message;
  }
  if (mine !== latest) return;
  at("list").removeAttribute("aria-busy");
  at("error").hidden = !problem;
  at("error").textContent = problem ?? "";
  if (answer) show(answer);
}

at("profile")?.addEventListener("change", update);
at("profile")?.addEventListener("submit", (event) => event.preventDefault());
at("again").addEventListener("click", () => {
  skipped.clear();
  update();
});
at("restart").addEventListener("click", () => {
  rated.clear();
  skipped.clear();
  update();
});
at("page").hidden = false;
update();
