// What is seen around the messages: whom one writes to, what is happening, where one writes.

import { byId, make } from "./simulator_dom.js";
import { phaseOf } from "./simulator_groups.js";
import { Messages } from "./simulator_messages.js";

export class View {
  constructor(actions) {
    this.actions = actions;
    this.messages = new Messages(actions.retry);
    this.skewMs = 0;
    this.offline = false;
    this.bindComposer();
    byId("new-customer").addEventListener("click", () => { actions.newCustomer(); byId("text").focus(); });
    byId("account").addEventListener("change", (event) => actions.chooseAccount(event.target.value));
    byId("burst").addEventListener("click", (event) => { event.target.disabled = true; actions.burst(); byId("text").focus(); });
  }

  bindComposer() {
    const text = byId("text");
    const fit = () => { text.style.height = "auto"; text.style.height = `${text.scrollHeight + 2}px`; };
    this.fit = fit;
    const send = () => {
      const words = text.value.trim();
      if (!words || this.isTooLong()) return;
      text.value = "";
      fit();
      this.actions.draft("");
      this.actions.send(words);
      this.messages.toNewest();
    };
    text.addEventListener("input", () => { fit(); this.isTooLong(); this.actions.draft(text.value); });
    text.addEventListener("keydown", (event) => {
      // isComposing: Enter accepts the suggestion of an input method, it does not send.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    byId("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); text.focus(); });
  }

  // Nothing that was written is cut off: it says so, and waits to be shortened.
  isTooLong() {
    const max = this.account?.text_characters_max ?? Infinity;
    const count = [...byId("text").value.trim()].length;
    const note = byId("too-long");
    note.hidden = count <= max;
    if (!note.hidden) note.textContent = `${count.toLocaleString()} characters: at most ${max.toLocaleString()} can be sent at once.`;
    return !note.hidden;
  }

  // What was being written to this account as this customer.
  showDraft(words) {
    byId("text").value = words;
    this.fit();
    this.isTooLong();
    // On a phone the keyboard would cover the page before anything was read.
    if (matchMedia("(pointer: fine)").matches) byId("text").focus();
  }

  listAccounts(accounts) {
    byId("account").replaceChildren(...accounts.map((account) => {
      const option = make("option", "", account.name);
      option.value = account.id;
      return option;
    }));
    byId("account").disabled = accounts.length < 2;
  }

  showAccount(account, burst) {
    this.account = account;
    byId("account").value = account.id;
    byId("business").textContent = account.name;
    byId("business-avatar").textContent = [...account.name][0].toUpperCase();
    byId("burst-preview").replaceChildren(...burst.map((text) => Object.assign(make("li", "", text), { dir: "auto" })));
    const seconds = (ms) => `${ms / 1000} s`;
    const rules = [
      [seconds(account.idle_ms), "after the last message"],
      [String(account.max_messages), "messages are answered at once"],
      [seconds(account.max_wait_ms), "at the latest, however long you write"],
    ];
    byId("rules").replaceChildren(...rules.flatMap(([term, rule]) => [make("dt", "", term), make("dd", "", rule)]));
  }

  showCustomer(customer) {
    const number = `+${customer.slice(0, 1)} ${customer.slice(1, 4)} ${customer.slice(4, 7)} ${customer.slice(7)}`;
    byId("customer").textContent = number;
    byId("writer").textContent = `You: ${number}`;
    byId("customer-avatar").textContent = customer.slice(-2);
  }

  showNoAccounts() {
    this.offline = true;
    byId("business").textContent = "No account";
    byId("presence").textContent = "not configured";
    byId("status-text").textContent = 'No account with channel = "simulator" is configured.';
  }

  showOffline(reason) {
    this.offline = true;
    byId("presence").textContent = "no connection";
    byId("presence").dataset.state = "offline";
    byId("status").dataset.phase = "offline";
    byId("status-text").textContent = `Not connected: ${reason}. Trying again.`;
    this.announce("offline", "Not connected. Trying again.");
  }

  clear() {
    this.messages.clear();
    this.state = null;
    byId("typing").hidden = true;
    byId("burst").disabled = false;
  }

  render(state, rows) {
    this.state = state;
    this.skewMs = state.now_ms - Date.now();
    const stay = this.messages.atNewest();
    byId("welcome").hidden = rows.length > 0;
    this.messages.show(rows);
    byId("typing").hidden = !state.flight.count || state.flight.waiting;
    this.tick();
    if (stay) this.messages.toNewest();
  }

  tick() {
    if (!this.state || this.offline) return;
    const { phase, text, leftMs } = phaseOf(this.state, Date.now() + this.skewMs, this.account.overdue_ms);
    byId("status").dataset.phase = phase;
    byId("status-text").textContent = text;
    const filled = phase === "collect" ? Math.min(1, leftMs / this.account.idle_ms) : phase === "idle" ? 0 : 0.3;
    byId("ring").setAttribute("stroke-dashoffset", String(100 - 100 * filled));
    const typing = phase === "generate" || phase === "send";
    byId("presence").textContent = typing ? "typing…" : "online";
    byId("presence").dataset.state = typing ? "typing" : "online";
    this.steps(phase, text);
    this.announce(phase, { collect: "Collecting messages.", late: "The answer is late." }[phase] ?? text);
  }

  steps(phase, text) {
    const names = ["collect", "generate", "send"];
    const now = names.indexOf({ wait: "generate", late: this.state.flight.stage ?? "collect" }[phase] ?? phase);
    names.forEach((name, index) => {
      const step = byId("steps").querySelector(`[data-step="${name}"]`);
      const detail = step.querySelector("[data-detail]");
      detail.dataset.rest ??= detail.textContent;
      step.dataset.state = index === now ? "now" : index < now ? "done" : "";
      detail.textContent = index === now ? text : detail.dataset.rest;
    });
  }

  // Only a change of phase is read out, not every tenth of a second.
  announce(phase, text) {
    if (this.announced === phase) return;
    this.announced = phase;
    byId("announcer").textContent = text;
  }
}
