// The simulator: sends what the customer writes to the webhook, and asks often how things stand.

import { rowsOf } from "./simulator_groups.js";
import { View } from "./simulator_view.js";

const BUSY_MS = 350;
const IDLE_MS = 1500;
const OFFLINE_MS = 2000;
const REQUEST_MS = 8000;
const BURST_GAP_MS = 700;
const BURSTS = {
  en: ["Hi!", "Can I book a haircut", "for tomorrow, 15:00?"],
  ru: ["Здравствуйте!", "Можно записаться на стрижку", "завтра на 15:00?"],
};

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// crypto.randomUUID needs https or localhost; a phone in the same network has neither.
const randomHex = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");

const inventCustomer = () =>
  `7000${String(crypto.getRandomValues(new Uint32Array(1))[0] % 10_000_000).padStart(7, "0")}`;

// Storage may be switched off; the page then forgets, and works.
const memory = {
  get(key) {
    try { return localStorage.getItem(key); } catch { return null; }
  },
  set(key, value) {
    try { localStorage.setItem(key, value); } catch { /* see above */ }
  },
};

async function request(path, body) {
  const options = { signal: AbortSignal.timeout(REQUEST_MS), cache: "no-store" };
  if (body !== undefined) {
    Object.assign(options, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  }
  // The browser's own words ("Failed to fetch") say less than these.
  const response = await fetch(path, options).catch(() => { throw new Error("the server does not answer"); });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error?.message ?? `the server says ${response.status}`);
  return answer;
}

class Simulator {
  constructor() {
    this.view = new View({
      send: (text) => this.send(text),
      retry: (id) => this.deliver(this.outbox.get(id)),
      burst: () => this.burst(),
      draft: (words) => memory.set(this.draftKey(), words),
      newCustomer: () => this.setCustomer(inventCustomer()),
      chooseAccount: (id) => this.chooseAccount(id),
    });
    this.accounts = [];
    this.account = null;
    this.customer = memory.get("simulator.customer") ?? inventCustomer();
    this.outbox = new Map();
    this.duplicates = new Set();
    this.state = null;
    this.round = 0;
    this.queue = Promise.resolve();
  }

  async start() {
    while (!this.accounts.length) {
      try {
        this.accounts = (await request("/simulator/accounts")).accounts;
        if (!this.accounts.length) { this.view.showNoAccounts(); return; }
      } catch (error) {
        this.view.showOffline(error.message);
        await pause(OFFLINE_MS);
      }
    }
    const wanted = memory.get("simulator.account");
    this.view.listAccounts(this.accounts);
    this.setCustomer(this.customer);
    this.chooseAccount(this.accounts.some((account) => account.id === wanted) ? wanted : this.accounts[0].id);
    setInterval(() => this.view.tick(), 100);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.poll(); });
  }

  chooseAccount(id) {
    this.account = this.accounts.find((account) => account.id === id);
    memory.set("simulator.account", id);
    this.view.showAccount(this.account, this.burstTexts());
    this.restart();
  }

  setCustomer(customer) {
    this.customer = customer;
    memory.set("simulator.customer", customer);
    this.view.showCustomer(customer);
    if (this.account) this.restart();
  }

  burstTexts() {
    return BURSTS[this.account.language.slice(0, 2)] ?? BURSTS.en;
  }

  restart() {
    this.state = null;
    this.outbox = new Map();
    for (const item of JSON.parse(memory.get(this.outboxKey()) ?? "[]")) {
      this.outbox.set(item.id, { ...item, state: "failed", reason: "was not delivered" });
    }
    this.view.clear();
    this.view.showDraft(memory.get(this.draftKey()) ?? "");
    this.poll();
  }

  outboxKey() {
    return `simulator.outbox.${this.account.id}.${this.customer}`;
  }

  draftKey() {
    return `simulator.draft.${this.account.id}.${this.customer}`;
  }

  keepOutbox() {
    const unsent = [...this.outbox.values()].filter((item) => item.state !== "accepted");
    memory.set(this.outboxKey(), JSON.stringify(unsent.map(({ id, text, at_ms }) => ({ id, text, at_ms }))));
  }

  send(text) {
    const item = { id: `sim-${randomHex(12)}`, text, at_ms: Date.now() + this.view.skewMs };
    this.outbox.set(item.id, item);
    this.deliver(item);
  }

  // One at a time: the messages arrive in the order in which they were written.
  deliver(item) {
    Object.assign(item, { state: "sending", reason: "" });
    const { account, customer } = this;
    this.render();
    this.queue = this.queue.then(async () => {
      try {
        const answer = await request(`/webhooks/simulator/${encodeURIComponent(account.id)}`,
          { customer, message_id: item.id, text: item.text });
        item.state = "accepted";
        if (answer.duplicate) this.duplicates.add(item.id);
      } catch (error) {
        Object.assign(item, { state: "failed", reason: error.message });
      }
      if (account === this.account && customer === this.customer) {
        this.keepOutbox();
        this.render();
        this.poll();
      }
    });
  }

  async burst() {
    for (const text of this.burstTexts()) {
      this.send(text);
      await pause(BURST_GAP_MS);
    }
  }

  // Every call starts a new round; the answers and the timer of an older one are dropped.
  async poll() {
    this.round += 1;
    const { round } = this;
    clearTimeout(this.timer);
    let next = IDLE_MS;
    try {
      const path = `/simulator/state/${encodeURIComponent(this.account.id)}/${encodeURIComponent(this.customer)}`;
      const state = await request(path);
      if (round !== this.round) return;
      this.state = state;
      this.view.offline = false;
      for (const message of state.messages) {
        if (this.outbox.delete(message.id)) this.keepOutbox();
      }
      this.render();
      if (state.open.count || state.flight.count) next = BUSY_MS;
    } catch (error) {
      if (round !== this.round) return;
      this.view.showOffline(error.message);
      next = OFFLINE_MS;
    }
    this.timer = setTimeout(() => this.poll(), next);
  }

  render() {
    if (!this.state) return;
    const rows = rowsOf(this.state, [...this.outbox.values()]);
    for (const row of rows) row.duplicate = this.duplicates.has(row.id);
    this.view.render(this.state, rows);
  }
}

new Simulator().start();
