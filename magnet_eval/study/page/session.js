// Where the answers are: in localStorage first, then on the server if there is one, else in a file at the end.

const WAITS = [500, 1000, 2000, 4000, 8000]; // ms between tries, the last one for ever

const CODE = /^[A-Za-z0-9_-]{1,64}$/; // an e-mail does not fit

/** A refusal of the server: trying again would not help. */
export class Refused extends Error {
  constructor(status, reason) {
    super(reason);
    this.status = status;
  }
}

/** One listener's way through the study. */
export class Session {
  constructor(packet, online) {
    this.packet = packet;
    this.online = online; // whether there is a server
    this.place = `magnet-eval/${packet.study_id}`;
    const parameters = new URLSearchParams(location.search);
    this.code = ["PROLIFIC_PID", "workerId", "code"].map((name) => parameters.get(name)).find(Boolean);
    this.slot = parameters.has("slot") ? Number(parameters.get("slot")) : undefined;
    this.state = this.#read(); // {session, slot, order, answered: {page_id: body, or true once the server has it}, draft}
    if (this.code && this.begun && this.code !== this.state.code) this.state = {}; // another person on this device
  }

  get begun() {
    return Boolean(this.state.session);
  }

  /** Position of the first page without an answer; the number of pages if there is none. */
  get next() {
    const open = this.state.order.findIndex(({ page_id }) => !(page_id in this.state.answered));
    return open < 0 ? this.state.order.length : open;
  }

  /** Goes on with the session of this browser, if the server still knows it. */
  async resume(lost) {
    if (!this.online || !this.begun) return;
    try {
      this.#take(await this.#send("POST", "api/session", { session: this.state.session }, lost));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#write({});
      throw error;
    }
    // What was answered while the server was away.
    for (const [page_id, body] of Object.entries(this.state.answered)) {
      if (body !== true) await this.save(page_id, body, lost);
    }
  }

  /** Begins: a slot and its order from the server, or from the packet's own list. */
  async begin(facts, lost) {
    const wish = { ...facts, code: this.code, slot: this.slot };
    if (this.online) return this.#take(await this.#send("POST", "api/session", wish, lost), facts);
    if (this.code && !CODE.test(this.code)) throw new Refused(422, "code must be 1 to 64 letters, digits, _ or -"); // as the server does
    const slots = await assignments();
    const slot = slots.has(wish.slot) ? wish.slot : [...slots.keys()][Math.floor(Math.random() * slots.size)];
    const session = `r_${[...crypto.getRandomValues(new Uint8Array(12))].map((byte) => (byte % 32).toString(32)).join("")}`;
    return this.#write({ ...wish, session, slot, order: slots.get(slot), answered: {}, started: new Date().toISOString() });
  }

  /** Keeps an unfinished page, so that a reload loses nothing. */
  draft(page_id, body) {
    this.#write({ ...this.state, draft: { page_id, body } });
  }

  draftOf(page_id) {
    return this.state.draft?.page_id === page_id ? this.state.draft.body : null;
  }

  /** Stores the answers of a page. With a server: resolves when it has them, however long that takes. */
  async save(page_id, body, lost) {
    this.#write({ ...this.state, answered: { ...this.state.answered, [page_id]: body }, draft: undefined });
    if (!this.online) return;
    try {
      await this.#send("PUT", `api/session/${this.state.session}/page/${page_id}`, body, lost);
    } catch (error) {
      const { [page_id]: refused, ...answered } = this.state.answered;
      this.#write({ ...this.state, answered });
      throw error;
    }
    this.#write({ ...this.state, answered: { ...this.state.answered, [page_id]: true } });
  }

  /** Ends the session: {completion_code} from the server, or {file} with all answers. */
  async finish(lost) {
    if (this.online) {
      const done = await this.#send("POST", `api/session/${this.state.session}/finish`, {}, lost);
      this.#write({ ...this.state, done });
      return done;
    }
    const { study_id, key_sha256, schema_version } = this.packet;
    const { draft, order, answered, ...session } = this.state;
    const finished = this.state.finished ?? new Date().toISOString();
    this.#write({ ...this.state, finished });
    const content = { schema_version, study_id, key_sha256, ...session, finished, pages: answered };
    return { file: new Blob([JSON.stringify(content, null, 1)], { type: "application/json" }) };
  }

  #take(reply, facts = {}) {
    const answered = Object.fromEntries(Object.keys(reply.answered).map((page_id) => [page_id, true]));
    const waiting = Object.fromEntries(Object.entries(this.state.answered ?? {}).filter(([, body]) => body !== true));
    this.#write({ ...this.state, language: facts.language ?? this.state.language, code: this.code ?? this.state.code, session: reply.session, slot: reply.slot, order: reply.order, answered: { ...waiting, ...answered } });
  }

  async #send(method, url, body, lost) {
    for (let attempt = 0; ; attempt++) {
      try {
        const headers = { "Content-Type": "application/json", "Idempotency-Key": `${url}/${body.t_client ?? ""}` };
        const response = await fetch(url, { method, headers, body: JSON.stringify(body), keepalive: method === "PUT" });
        if (response.ok) return await response.json();
        if (response.status < 500 && response.status !== 429) {
          const { error } = await response.json().catch(() => ({}));
          throw new Refused(response.status, error ?? response.statusText);
        }
      } catch (error) {
        if (error instanceof Refused) throw error; // else the connection is gone: try again
      }
      lost?.();
      await new Promise((resolve) => setTimeout(resolve, WAITS[Math.min(attempt, WAITS.length - 1)]));
    }
  }

  #read() {
    try {
      return JSON.parse(localStorage.getItem(this.place)) ?? {};
    } catch {
      return {};
    }
  }

  #write(state) {
    this.state = state;
    try {
      localStorage.setItem(this.place, JSON.stringify(state));
    } catch {
      // A private window without storage: the server still has every page that was finished.
    }
  }
}

/** Whether the study's server answers; false on a plain web host. Waits while nothing answers at all. */
export async function hasServer(lost) {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch("api/study", { cache: "no-store" });
      if (response.status < 500) return response.ok && (response.headers.get("content-type") ?? "").includes("json");
    } catch {
      // no network
    }
    lost();
    await new Promise((resolve) => setTimeout(resolve, WAITS[Math.min(attempt, WAITS.length - 1)]));
  }
}

/** Whether the browser had kept files of the page of which its host has newer ones; now it has these. */
export async function outdated() {
  if (performance.getEntriesByType("navigation")[0].type === "reload") return false; // once is enough
  const loaded = performance.getEntriesByType("resource").map(({ name }) => name);
  const files = [location.href, ...loaded.filter((name) => /\.(js|css)$/.test(name))];
  const text = async (url, cache) => (await fetch(url, { cache })).text();
  // Not no-cache: all packets have the same dates, and a host that compares dates would find nothing new.
  const changed = files.map(async (url) => (await text(url, "force-cache")) !== (await text(url, "reload")));
  return Promise.all(changed).then((all) => all.some(Boolean), () => false);
}

/** slot -> order: [{page_id, stimuli}], from assignments.csv, whose fields need no quotes. */
export async function assignments() {
  const text = await (await fetch("assignments.csv", { cache: "no-store" })).text();
  const [header, ...rows] = text.trim().split(/\r?\n/).map((line) => line.split(","));
  const column = Object.fromEntries(header.map((name, index) => [name, index]));
  const slots = new Map();
  for (const row of rows) {
    const slot = Number(row[column.slot]);
    if (!slots.has(slot)) slots.set(slot, []);
    slots.get(slot).push({ page_id: row[column.page_id], stimuli: row[column.stimuli].split(" ") });
  }
  return slots;
}
