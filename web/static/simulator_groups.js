// Pure sums: which messages belong together, and what is happening to each. No DOM, no network.

// A message this young may be newer than the counts beside it.
const SETTLED_MS = 3000;
// A flush takes what is due within a second; after so long nobody does.
const LATE_MS = 5000;

// Returns the conversation as rows, oldest first. Every customer's row gets a `state`
// (sending, failed, accepted, open, flight, answered, left), and a `group` it shares with the
// messages that are answered together, "" for none.
export function rowsOf(state, outbox) {
  const rows = [
    ...state.messages.map((message) => ({ ...message })),
    ...outbox.map((item) => ({ ...item, from: "customer" })),
  ];
  const covered = new Map();
  for (const row of rows) {
    if (row.from !== "business") continue;
    row.group = `answer:${row.answers.join(" ")}`;
    for (const id of row.answers) covered.set(id, row.group);
  }
  const waiting = [];
  for (const row of rows) {
    if (row.from !== "customer") continue;
    row.group = covered.get(row.id) ?? "";
    if (row.group) row.state = "answered";
    else if (row.state !== "sending" && row.state !== "failed") waiting.push(row);
  }
  place(waiting, state);
  return withPlaces(rows);
}

// The newest waiting messages are the open batch's, those before them the batch's in flight.
function place(waiting, state) {
  const openFrom = waiting.length - state.open.count;
  const flightFrom = openFrom - state.flight.count;
  waiting.forEach((row, index) => {
    if (index >= openFrom) Object.assign(row, { state: "open", group: "open" });
    else if (index >= flightFrom) Object.assign(row, { state: "flight", group: "flight" });
    else row.state = state.now_ms - row.at_ms < SETTLED_MS ? "accepted" : "left";
  });
}

// Marks the ends of every run of neighbours in one group, for the bracket beside them.
function withPlaces(rows) {
  const mine = (row, group) => row !== undefined && row.from === "customer" && row.group === group;
  rows.forEach((row, index) => {
    if (row.from !== "customer" || !row.group) return;
    const before = mine(rows[index - 1], row.group);
    const after = mine(rows[index + 1], row.group);
    if (before) row.place = after ? "middle" : "last";
    else row.place = after ? "first" : "only";
  });
  // The parts of one answer share one caption: it stands under the last.
  const last = new Map();
  for (const row of rows) if (row.from === "business") last.set(row.group, row);
  for (const row of last.values()) row.caption = true;
  return rows;
}

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

const span = (ms) => (ms < 60_000 ? `${Math.floor(ms / 1000)} s` : `${Math.floor(ms / 60_000)} min`);

// Says since when the oldest message without an answer waits, null if none does.
function waitsSince({ messages, open, flight }) {
  const answered = new Set(messages.flatMap((message) => message.answers ?? []));
  const waiting = messages.filter(({ from, id }) => from === "customer" && !answered.has(id));
  return waiting.slice(-(open.count + flight.count))[0]?.at_ms ?? null;
}

export function phaseOf(state, nowMs, overdueMs) {
  const { open, flight } = state;
  if (open.count && !flight.count && nowMs - (open.due_ms ?? nowMs) > LATE_MS) {
    const what = plural(open.count, "message");
    return { phase: "late", text: `Late: the answer to ${what} was due ${span(nowMs - open.due_ms)} ago. Do a scheduler and a worker run?` };
  }
  const sinceMs = flight.count ? waitsSince(state) : null;
  if (sinceMs !== null && nowMs - sinceMs > overdueMs) {
    const stage = flight.waiting ? "it is tried again" : flight.stage === "send" ? "it is being sent" : "it is being written";
    return { phase: "late", text: `Late: ${plural(flight.count, "message")} waited ${span(nowMs - sinceMs)} for an answer; ${stage}.` };
  }
  if (flight.count) {
    const what = plural(flight.count, "message");
    if (flight.waiting) return { phase: "wait", text: `The answer to ${what} did not work out yet. It is tried again.` };
    if (flight.stage === "send") return { phase: "send", text: `Sending the answer to ${what}…` };
    return { phase: "generate", text: `Writing one answer to ${what}…` };
  }
  if (open.count) {
    const left = Math.max(0, (open.due_ms ?? nowMs) - nowMs);
    const when = left ? `answer in ${(left / 1000).toFixed(1)} s` : "answering now";
    return { phase: "collect", text: `${plural(open.count, "message")} collected, ${when}`, leftMs: left };
  }
  return { phase: "idle", text: "Nothing is waiting." };
}
