// The list of messages. Every text of a person or of the model enters the page as text, never as
// markup.

import { byId, make } from "./simulator_dom.js";
import { plural } from "./simulator_groups.js";

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const MARKS = {
  sending: ["sending", "M12 7v5l3 2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18"],
  accepted: ["accepted", "M5 12.5l4.5 4.5L19 7.5"],
  answered: ["answered", "M2 12.5l4.5 4.5L15.5 7.5M11 16.5l.5.5L21 7.5"],
  failed: ["failed", "M12 7v6M12 16.8v.2M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18"],
};

function mark(name) {
  const [label, path] = MARKS[name];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path);
  svg.append(line);
  return svg;
}

export class Messages {
  constructor(retry) {
    this.retry = retry;
    this.nodes = new Map();
    this.pinned = "";
    this.pointed = "";
    this.stays = true;
    byId("to-newest").addEventListener("click", () => this.toNewest());
    byId("scroller").addEventListener("scroll", () => {
      this.stays = this.atNewest();
      if (this.stays) byId("to-newest").hidden = true;
    });
    // A phone that is turned, or its keyboard: who read the newest goes on reading it.
    new ResizeObserver(() => { if (this.stays) this.toNewest(); }).observe(byId("scroller"));
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") this.pin(""); });
  }

  clear() {
    byId("messages").replaceChildren();
    this.nodes.clear();
    this.pinned = "";
    this.pointed = "";
    byId("to-newest").hidden = true;
  }

  // Nodes are kept by id: what stands on the page already is not announced or animated again.
  show(rows) {
    const list = byId("messages");
    const wanted = [];
    let day = "";
    for (const row of rows) {
      const today = DAY.format(row.at_ms);
      if (today !== day) wanted.push(this.node(`day:${today}`, today, () => make("li", "day", today)));
      day = today;
      wanted.push(this.node(`${row.from}:${row.id}`, JSON.stringify(row), (old) => this.message(row, old)));
    }
    const keep = new Set(wanted);
    for (const child of [...list.children]) if (!keep.has(child)) child.remove();
    wanted.forEach((node, index) => {
      if (list.children[index] === node) return;
      list.insertBefore(node, list.children[index] ?? null);
      if (!this.atNewest() && node.classList.contains("business")) byId("to-newest").hidden = false;
    });
    this.light();
  }

  node(key, signature, build) {
    const known = this.nodes.get(key);
    if (known?.signature === signature) return known.element;
    const element = build(known?.element);
    this.nodes.set(key, { element, signature });
    return element;
  }

  message(row, old) {
    const item = old ?? make("li");
    item.className = `message ${row.from}`;
    Object.assign(item.dataset, { state: row.state ?? "", group: row.group ?? "" });
    if (row.place) item.dataset.place = row.place; else delete item.dataset.place;
    if (row.state === "open") item.dataset.bracket = "open"; else delete item.dataset.bracket;
    const bubble = make("div", "bubble");
    const meta = make("div", "meta");
    const time = make("time", "", TIME.format(row.at_ms));
    time.dateTime = new Date(row.at_ms).toISOString();
    meta.append(time);
    if (row.from === "customer") meta.append(mark(row.state in MARKS ? row.state : "accepted"));
    const words = make("div", "words", row.text);
    words.dir = "auto";
    bubble.append(words, meta);
    item.replaceChildren(bubble, ...this.under(row));
    if (row.from === "business") {
      item.onmouseenter = () => this.point(row.group);
      item.onmouseleave = () => this.point("");
    }
    return item;
  }

  under(row) {
    if (row.from === "business") return row.caption ? [this.covers(row)] : [];
    if (row.state === "failed") {
      const line = make("div", "under bad", `Not sent: ${row.reason}`);
      const retry = make("button", "retry", "Try again");
      retry.type = "button";
      retry.addEventListener("click", () => this.retry(row.id));
      line.append(retry);
      return [line];
    }
    if (row.state === "left") return [make("div", "under warn", "No automatic answer")];
    if (row.duplicate) return [make("div", "under", "Had arrived already, counts once")];
    return [];
  }

  covers(row) {
    const button = make("button", "covers", `answers ${plural(row.answers.length, "message")}`);
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => this.pin(this.pinned === row.group ? "" : row.group));
    button.addEventListener("focus", () => this.point(row.group));
    button.addEventListener("blur", () => this.point(""));
    return button;
  }

  pin(group) {
    this.pinned = group;
    this.light();
  }

  point(group) {
    this.pointed = group;
    this.light();
  }

  light() {
    const group = this.pointed || this.pinned;
    for (const item of byId("messages").children) {
      item.classList.toggle("lit", Boolean(group) && item.dataset.group === group);
      const button = item.querySelector(".covers");
      button?.setAttribute("aria-pressed", String(Boolean(this.pinned) && item.dataset.group === this.pinned));
    }
  }

  atNewest() {
    const box = byId("scroller");
    return box.scrollHeight - box.scrollTop - box.clientHeight < 80;
  }

  toNewest() {
    const box = byId("scroller");
    box.scrollTop = box.scrollHeight;
    byId("to-newest").hidden = true;
  }
}
