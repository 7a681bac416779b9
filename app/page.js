"use strict";

// Over HTTP/1.1 a browser opens six connections to a host, and the event stream has one of them. One more
// request would wait in the browser, and that wait would count as the service's.
const CONNECTIONS = 5;
const TIMEOUT = 10; // seconds for a response, in addition to the sleep of its path
const SLEEP = 3600; // seconds, the maximum of SLEEP_LIMIT
const STREAM_TIMEOUT = 10; // seconds, the timeout of a stream without an event
const BACKOFF = { first: 0.5, most: 15 }; // seconds before a reconnect, doubled with each attempt
const ROWS = { wide: 24, narrow: 30 }; // of squares that are kept
const MINUTES = 2; // of latencies that are drawn
const PODS = 40; // that are listed, those with the latest responses or events
const LINES = 200; // of the log
const COLOURS = 5; // of versions, as page.css has them
const TIMER_DELAY = 250; // milliseconds by which a timer may be late; requests of that time are still sent
const BODY = 10000; // characters that are shown of a response
const RATES = { least: 1, most: 50 }; // requests per second
const PATH = /^\/api(\/sleep(\/[^/?#\s]+)?)?$/;

// The page is the root of the service, which may have a path prefix, and may be requested without its last slash.
const BASE = location.origin + location.pathname.replace(/\/*$/, "");

const $ = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const seconds = (value) => `${value.toFixed(1)} s`;
const latency = (ms) => (ms < 9.95 ? `${ms.toFixed(1)} ms` : ms < 999.5 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);
const clock = (date) => date.toLocaleTimeString("en-GB");

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function setText(element, text) {
  // Only if the text differs, so that a screen reader is notified of changes only.
  if (element.textContent !== text) element.textContent = text;
}

function json(text) {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" ? value : {};
  } catch {
    return {};
  }
}

// ---- state ---------------------------------------------------------------------------------------

const versions = []; // in order of appearance; the index is the colour
let seen; // the state that Reset clears

function clearFigures() {
  seen = { responses: 0, failed: 0, held: 0, byVersion: new Map(), pods: new Map(), buckets: new Map(), unlogged: [] };
}

function colour(version) {
  if (!versions.includes(version)) {
    versions.push(version);
    log(`version ${version} responds for the first time`);
  }
  return `v${versions.indexOf(version) % COLOURS}`;
}

function recordPod(pod, version, use) {
  const known = seen.pods.get(pod) ?? { responses: 0 };
  known.version = version;
  known.at = Date.now();
  if (use === "response") known.responses += 1;
  seen.pods.set(pod, known);
  if (seen.pods.size > PODS) {
    const [longest] = [...seen.pods].sort(([, one], [, other]) => one.at - other.at)[0];
    seen.pods.delete(longest);
  }
}

function log(text) {
  const list = $("log");
  const follow = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  list.append(make("p", {}, make("time", { textContent: clock(new Date()) }), text));
  while (list.childElementCount > LINES) list.firstChild.remove();
  if (follow) list.scrollTop = list.scrollHeight;
}

// ---- requests ------------------------------------------------------------------------------------

const load = { path: "/api", rate: 10, paused: false, inFlight: 0, due: 0 };

async function request(path) {
  // Send one request; return its result: { ok, ms, status?, problem, body?, version?, pod? }.
  const slept = path === "/api/sleep" ? 1 : Math.min(SLEEP, Math.max(0, Number(path.split("/")[3]) || 0));
  const sent = performance.now();
  load.inFlight += 1;
  try {
    const response = await fetch(BASE + path, { cache: "no-store", signal: AbortSignal.timeout(1000 * (slept + TIMEOUT)) });
    const body = await response.text();
    const ms = performance.now() - sent;
    const { version, pod, detail } = json(body);
    if (!response.ok) {
      const problem = `${response.status} ${response.statusText}: ${detail ?? "no problem details"}`;
      return { ok: false, ms, status: response.status, problem, body };
    }
    if (typeof version !== "string" || typeof pod !== "string") {
      return { ok: false, ms, status: response.status, problem: "a response without version and pod", body };
    }
    return { ok: true, ms, status: response.status, version, pod };
  } catch (error) {
    const ms = performance.now() - sent;
    const problem = error.name === "TimeoutError" ? `no whole response within ${slept + TIMEOUT} s` : "refused or aborted: no whole response";
    return { ok: false, ms, problem };
  } finally {
    load.inFlight -= 1;
  }
}

async function requestAndCount() {
  const era = seen;
  const path = load.path;
  const result = Object.assign(await request(path), { path, at: new Date() });
  if (era !== seen) return; // sent before a reset
  const bucket = bucketOf(Math.floor(Date.now() / 1000));
  if (result.ok) {
    seen.responses += 1;
    seen.byVersion.set(result.version, (seen.byVersion.get(result.version) ?? 0) + 1);
    bucket.latencies.push(result.ms);
    bucket.versions.set(result.version, (bucket.versions.get(result.version) ?? 0) + 1);
    recordPod(result.pod, result.version, "response");
  } else {
    seen.failed += 1;
    bucket.failed += 1;
    seen.unlogged.push(result);
    showFailure(result);
  }
  draw(result);
}

function bucketOf(second) {
  // Return the results of one second of the clock.
  if (!seen.buckets.has(second)) {
    seen.buckets.set(second, { latencies: [], versions: new Map(), failed: 0 });
    for (const old of seen.buckets.keys()) if (old < second - 60 * MINUTES - 1) seen.buckets.delete(old);
  }
  return seen.buckets.get(second);
}

function pace() {
  // Send requests at the chosen rate, whatever the responses; without a free place a request is held back.
  // Some are sent together: one after the other, all would use one connection, and so one pod.
  const now = performance.now();
  const together = Math.min(CONNECTIONS, Math.ceil(load.rate / 4));
  if (now - load.due > TIMER_DELAY) load.due = now; // a background tab or a machine asleep: those requests are not sent later
  while (load.due <= now) {
    load.due += (1000 * together) / load.rate;
    for (let each = 0; each < together && !load.paused; each += 1) {
      if (load.inFlight < CONNECTIONS) requestAndCount();
      else seen.held += 1;
    }
  }
  setTimeout(pace, Math.max(0, load.due - performance.now()));
}

function showFailure(result) {
  const [, text, whole] = $("failure").children;
  $("failure").hidden = false;
  setText(text, `${clock(result.at)} GET ${result.path} after ${latency(result.ms)}: ${result.problem}`);
  setText(whole, (result.body ?? "").slice(0, BODY));
  whole.hidden = !result.body;
}

// ---- squares -------------------------------------------------------------------------------------

const squares = $("squares");
let picked = null;

function square(kind, more = "") {
  return make("i", { className: `${kind} ${more}`.trim() });
}

function columns(grid) {
  return Math.max(1, Math.floor((grid.clientWidth - 8 + 2) / 14)); // padding, gap and width of page.css
}

function draw(result) {
  const one = square(result.ok ? colour(result.version) : "lost");
  one.result = result;
  squares.append(one);
  // Whole rows are removed, so that the others keep their position.
  const row = columns(squares);
  const rows = innerWidth > 760 ? ROWS.wide : ROWS.narrow;
  if (squares.childElementCount > row * rows) for (let each = 0; each < row; each += 1) squares.firstChild.remove();
}

function pick(one) {
  picked?.classList.remove("picked-one");
  picked = one;
  one.classList.add("picked-one");
  const { at, path, ms, ok, version, pod, problem } = one.result;
  setText($("picked"), `${clock(at)} GET ${path}: ${ok ? `${version} from ${pod}` : problem}, ${latency(ms)}`);
}

squares.addEventListener("pointerover", ({ target }) => target.result && pick(target));
squares.addEventListener("keydown", (event) => {
  const all = squares.children;
  if (!all.length) return;
  const here = picked?.isConnected ? [...all].indexOf(picked) : all.length;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns(squares), ArrowDown: columns(squares), Home: -here, End: all.length };
  if (!(event.key in steps)) return;
  event.preventDefault();
  pick(all[Math.min(all.length - 1, Math.max(0, here + steps[event.key]))]);
});

// ---- streams -------------------------------------------------------------------------------------

class Stream {
  // Base of event stream and WebSocket: the count of their numbers, and the reconnect. A number is lost if a
  // later one arrives without it, repeated if it is not later than the last one.

  constructor(title) {
    this.title = title;
    const part = $("stream").content.cloneNode(true);
    this.root = part.firstElementChild;
    this.root.id = title.toLowerCase().replace(" ", "-");
    this.root.querySelector("h2").textContent = title;
    this.root.querySelector("h2").id = `${this.root.id}-heading`;
    this.root.setAttribute("aria-labelledby", `${this.root.id}-heading`);
    this.row = this.root.querySelector(".ticks");
    $("streams").append(part);
    this.last = null;
    this.reset();
    this.begin();
  }

  reset() {
    Object.assign(this, { received: 0, lost: 0, repeated: 0, notified: 0, aborted: 0, longest: 0, pod: null });
    this.row.replaceChildren();
  }

  begin() {
    this.tries = 0; // attempts to connect since the last event
    this.waiting = false; // for the next attempt
    this.live = false; // a tick has arrived on this connection
    this.notice = false; // the server has announced the end
    this.receivedAt = performance.now();
    this.state = "connecting";
    this.open();
  }

  tick({ sequence, version, pod }) {
    if (!Number.isSafeInteger(sequence) || typeof version !== "string" || typeof pod !== "string") {
      log(`${this.title}: an event that is no tick`); // the next tick shows that its number is missing
      return;
    }
    const now = performance.now();
    const marks = this.brokenAt === undefined ? "" : this.wasNotified ? "resumed" : "resumed aborted";
    if (marks) log(`${this.title}: continues at ${pod} after ${seconds((now - this.brokenAt) / 1000)}`);
    if (this.received) this.longest = Math.max(this.longest, (now - this.lastAt) / 1000);
    this.lastAt = this.receivedAt = now;
    this.live = true;
    this.tries = 0;
    this.brokenAt = undefined;
    this.state = "live";
    this.pod = pod;
    this.received += 1;
    recordPod(pod, version, "tick");
    if (this.last !== null && sequence <= this.last) {
      this.repeated += 1;
      log(`${this.title}: ${sequence} came twice`);
      this.show(square("repeated", marks));
      return;
    }
    if (this.last !== null) this.lose(sequence - this.last - 1, `${this.last + 1} to ${sequence - 1}`);
    this.last = sequence;
    this.show(square(colour(version), marks));
  }

  lose(number, which) {
    if (!number) return;
    this.lost += number;
    log(`${this.title}: ${number} lost, ${which}`);
    for (let each = 0; each < Math.min(number, 60); each += 1) this.show(square("lost"));
  }

  missing({ missing, first, detail }) {
    // The service no longer has the ticks after our last number; its next tick is `first`. Without a count
    // our number is unknown to the service, and the count starts again.
    if (!Number.isSafeInteger(first)) return;
    this.receivedAt = performance.now();
    if (Number.isSafeInteger(missing) && missing > 0) this.lose(missing, `to ${first - 1}, older than the service repeats`);
    else log(`${this.title}: begins at ${first}. ${detail ?? ""}`);
    this.last = first - 1;
  }

  show(one) {
    this.row.append(one);
    // Two rows; when both are full, the first one is removed.
    const row = columns(this.row);
    while (this.row.childElementCount > 2 * row) for (let each = 0; each < row; each += 1) this.row.firstChild.remove();
  }

  broken(what) {
    // The connection has ended. It counts once, as notified or aborted, however many attempts to reconnect fail.
    if (this.brokenAt === undefined) {
      this.brokenAt = performance.now();
      this.wasNotified = this.notice;
      this[this.notice ? "notified" : "aborted"] += 1;
      log(`${this.title}: ${this.notice ? `asked to reconnect by ${this.pod}` : `aborted, ${what}`}`);
    }
    this.live = this.notice = false;
    this.receivedAt = performance.now();
  }

  async again(wait = null) {
    // Connect after `wait` seconds; without it after a random part of a delay that doubles with each attempt,
    // so that clients that were disconnected together do not reconnect together.
    const most = Math.min(BACKOFF.most, BACKOFF.first * 2 ** this.tries);
    const delay = wait ?? most * (0.5 + Math.random() / 2);
    this.tries += 1;
    this.state = `reconnects in ${seconds(delay)}`;
    this.waiting = true;
    await new Promise((resolve) => setTimeout(resolve, 1000 * delay));
    this.state = "connecting";
    if (wait === null && this.tries > 1 && this.last !== null) await this.check();
    this.waiting = false;
    this.receivedAt = performance.now();
    this.open();
  }

  async check() {
    // Log the reason of a refusal, which neither EventSource nor WebSocket reports.
    const stop = new AbortController();
    const late = setTimeout(() => stop.abort(), 1000 * TIMEOUT);
    try {
      const response = await fetch(`${BASE}/api/events?last_event_id=${this.last}`, { cache: "no-store", signal: stop.signal });
      if (!response.ok) log(`${this.title}: ${response.status}, ${json(await response.text()).detail ?? "refused"}`);
    } catch {
      // The service does not respond at all, so the next attempt fails too.
    } finally {
      clearTimeout(late);
      stop.abort(); // if the response is a stream
    }
  }

  watch() {
    // The connection to a peer that vanished without notice would stay open for ever.
    if (this.waiting || performance.now() - this.receivedAt < 1000 * STREAM_TIMEOUT) return;
    this.close();
    this.broken(`silent for ${STREAM_TIMEOUT} s`);
    this.again();
  }

  render() {
    const field = (name) => this.root.querySelector(`[data-field=${name}]`);
    for (const name of ["received", "lost", "repeated", "notified", "aborted"]) {
      setText(field(name), count(this[name]));
      field(name).classList.toggle("bad", ["lost", "repeated", "aborted"].includes(name) && this[name] > 0);
    }
    setText(field("last"), this.last === null ? "–" : String(this.last));
    setText(field("pod"), this.pod ?? "–");
    setText(field("longest"), this.longest ? seconds(this.longest) : "–");
    setText(field("state"), this.state);
    const label = `${this.title}: ${this.received} events, ${this.lost} lost, ${this.repeated} repeated`;
    this.row.setAttribute("aria-label", label);
  }
}

class Events extends Stream {
  // EventSource reconnects automatically, with the last id and after the server's `retry`. It stops for good if
  // the response is no event stream (such as a 503 of a proxy): then this class reconnects.

  open() {
    const source = new EventSource(`${BASE}/api/events` + (this.last === null ? "" : `?last_event_id=${this.last}`));
    this.source = source;
    source.addEventListener("tick", ({ data }) => this.tick(json(data)));
    source.addEventListener("missing", ({ data }) => this.missing(json(data)));
    source.addEventListener("restart", () => {
      this.notice = true;
    });
    source.onerror = () => {
      this.broken("the connection ended without a notice");
      if (source.readyState === EventSource.CLOSED) this.again();
      else this.state = "reconnects automatically";
    };
  }

  close() {
    this.source.onerror = null;
    this.source.close();
  }
}

class Socket extends Stream {
  // A WebSocket does not reconnect automatically. Close code 1012 is a restart; its reason has the delay in ms.

  open() {
    const socket = new WebSocket(`${BASE.replace(/^http/, "ws")}/api/ws` + (this.last === null ? "" : `?last=${this.last}`));
    this.socket = socket;
    socket.onmessage = ({ data }) => {
      const message = json(data);
      if (message.type === "tick") this.tick(message);
      if (message.type === "missing") this.missing(message);
    };
    socket.onclose = ({ code, reason }) => {
      const { retry } = json(reason);
      this.notice = code === 1012 && Number.isFinite(retry) && retry >= 0;
      const wait = this.notice ? retry / 1000 : null;
      this.broken(`closed with code ${code}`);
      this.again(wait);
    };
  }

  close() {
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
  }
}

// ---- display -------------------------------------------------------------------------------------

function percentile(sorted, part) {
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)];
}

function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function drawLatency() {
  const width = Math.max(240, $("latency").clientWidth);
  const area = { left: 52, right: width - 6, top: 8, bottom: 150, share: 158, end: 172, height: 194 };
  const now = Math.floor(Date.now() / 1000) - 1; // the last whole second
  const span = 60 * MINUTES;
  const x = (second) => area.right - ((now - second) / span) * (area.right - area.left);
  // A logarithmic scale from 1 ms to 10 s: paths with and without a sleep fit in.
  const y = (ms) => area.bottom - (Math.log10(Math.min(Math.max(ms, 1), 10000)) / 4) * (area.bottom - area.top);
  const parts = [];
  for (const [ms, label] of [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1000, "1 s"], [10000, "10 s"]]) {
    parts.push(svg("line", { class: "grid", x1: area.left, x2: area.right, y1: y(ms), y2: y(ms) }));
    parts.push(svg("text", { x: area.left - 6, y: y(ms) + 4, "text-anchor": "end" }, label));
  }
  for (const [ago, label, anchor] of [[span, `${MINUTES} min ago`, "start"], [span / 2, "1 min ago", "middle"], [0, "now", "end"]]) {
    parts.push(svg("text", { x: x(now - ago), y: area.height - 4, "text-anchor": anchor }, label));
  }
  const lines = { worst: "", typical: "" };
  let before = null;
  let latest = null;
  for (let second = now - span; second <= now; second += 1) {
    const bucket = seen.buckets.get(second);
    if (!bucket) continue;
    if (bucket.latencies.length) {
      const sorted = bucket.latencies.slice().sort((one, other) => one - other);
      // One or two seconds without a response are due to a slow path; more are a pause, a gap in the line.
      const step = before !== null && second - before <= 3 ? "L" : "M";
      before = second;
      latest = { typical: percentile(sorted, 0.5), worst: percentile(sorted, 0.99) };
      for (const name of Object.keys(lines)) lines[name] += `${step}${x(second).toFixed(1)} ${y(latest[name]).toFixed(1)}`;
    }
    if (bucket.failed) {
      const [at, size] = [x(second), 4];
      parts.push(svg("path", { class: "mark", d: `M${at - size} ${area.top}l${2 * size} ${2 * size}m0 ${-2 * size}l${-2 * size} ${2 * size}` }));
    }
    const whole = [...bucket.versions.values()].reduce((sum, each) => sum + each, 0);
    let top = area.share;
    for (const [version, some] of [...bucket.versions].sort(([one], [other]) => versions.indexOf(one) - versions.indexOf(other))) {
      const height = (some / whole) * (area.end - area.share);
      const at = { x: x(second) - (x(1) - x(0)) / 2, y: top, width: x(1) - x(0) + 0.3, height };
      parts.push(svg("rect", { class: `share ${colour(version)}`, ...at }));
      top += height;
    }
  }
  for (const [name, d] of Object.entries(lines)) parts.push(svg("path", { class: name, d }));
  const label = latest ? `Latency, last second: p50 ${latency(latest.typical)}, p99 ${latency(latest.worst)}` : "Latency: no responses yet";
  const chart = svg("svg", { viewBox: `0 0 ${width} ${area.height}`, role: "img", "aria-label": label });
  chart.append(...parts);
  $("latency").replaceChildren(chart);

  const minute = [];
  for (const [second, bucket] of seen.buckets) if (second > now - 60) minute.push(...bucket.latencies);
  minute.sort((one, other) => one - other);
  for (const [id, part] of [["p50", 0.5], ["p99", 0.99]]) setText($(id), minute.length ? latency(percentile(minute, part)) : "–");
}

function renderPods() {
  const rows = [...seen.pods].map(([pod, { version, responses, at }]) => {
    const ago = Math.round((Date.now() - at) / 1000);
    const uses = streams.filter((stream) => stream.live && stream.pod === pod).map((stream) => stream.title);
    const row = make(
      "tr",
      { className: ago >= 5 ? "silent" : "" },
      make("td", {}, pod, make("div", { className: "uses", textContent: uses.join(", ") })),
      make("td", {}, make("span", { className: "version" }, square(colour(version)), version)),
      make("td", { textContent: count(responses) }),
      make("td", { textContent: ago < 2 ? "now" : `${ago} s ago` }),
    );
    row.dataset.pod = pod;
    return row;
  });
  $("pods").replaceChildren(...rows);
}

function renderLegend() {
  const entry = (kind, name, some) => make("li", {}, square(kind), `${name}: ${count(some)}`);
  const entries = [...seen.byVersion].map(([version, some]) => entry(colour(version), version, some));
  $("legend").replaceChildren(...entries, entry("lost", "failed", seen.failed));
}

function renderVerdict() {
  const wrong = [];
  if (seen.failed) wrong.push(`${count(seen.failed)} ${seen.failed === 1 ? "request" : "requests"} failed`);
  for (const stream of streams) {
    const parts = ["lost", "repeated", "aborted"].filter((name) => stream[name]).map((name) => `${count(stream[name])} ${name}`);
    if (parts.length) wrong.push(`${stream.title}: ${parts.join(", ")}`);
  }
  const nothing = !seen.responses && !seen.failed;
  const verdict = wrong.length ? `✗ ${wrong.join("; ")}` : nothing ? "No responses yet" : "✓ Nothing is lost";
  setText($("verdict"), load.paused ? `${verdict} (requests are paused)` : verdict);
  $("verdict").className = `verdict ${wrong.length ? "bad" : nothing ? "" : "good"}`;
  document.title = `${wrong.length ? "✗" : nothing ? "…" : "✓"} ${count(seen.responses)} responses, ${count(seen.failed)} failed`;
}

function render() {
  for (const name of ["responses", "failed", "held"]) setText($(name), count(seen[name]));
  $("failed").parentElement.classList.toggle("bad", seen.failed > 0);
  if (seen.unlogged.length) {
    const [first, ...more] = seen.unlogged.splice(0);
    log(`GET ${first.path} failed, ${first.problem}` + (more.length ? ` (and ${count(more.length)} more in this second)` : ""));
  }
  renderLegend();
  renderPods();
  for (const stream of streams) stream.render();
  renderVerdict();
  drawLatency();
}

let rendered = performance.now();

function everySecond() {
  const now = performance.now();
  // After a pause of this page itself (the machine slept) the timeout of the streams starts again.
  if (now - rendered < 5000) for (const stream of streams) stream.watch();
  else for (const stream of streams) stream.receivedAt = now;
  rendered = now;
  render();
}

// ---- controls ------------------------------------------------------------------------------------

let attempt = 0;

function complain(field, text, body = "") {
  field?.setAttribute("aria-invalid", "true");
  const whole = body ? [make("pre", { textContent: body, tabIndex: 0 })] : [];
  $("problem").replaceChildren(make("p", { textContent: text }), ...whole);
  field?.focus();
}

async function set() {
  const [path, rate] = [$("path").value.trim(), $("rate").value.trim()];
  attempt += 1;
  const mine = attempt;
  for (const field of [$("path"), $("rate")]) field.removeAttribute("aria-invalid");
  $("problem").replaceChildren();
  if (!/^[0-9]+$/.test(rate) || Number(rate) < RATES.least || Number(rate) > RATES.most) {
    complain($("rate"), `The rate is “${rate}”; allowed is a whole number from ${RATES.least} to ${RATES.most} requests a second.`);
    return;
  }
  if (!PATH.test(path)) {
    complain($("path"), `The path is “${path}”; allowed are /api, /api/sleep and /api/sleep/<seconds>.`);
    return;
  }
  load.rate = Number(rate);
  if (path !== load.path) {
    // Requested once before many requests: the service decides whether the seconds are allowed.
    const result = await request(path);
    if (mine !== attempt) return;
    if (result.status >= 400 && result.status < 500) {
      complain($("path"), `The service does not take this path, so the page continues with ${load.path}. Its response:`, result.body);
      return;
    }
  }
  load.path = path;
  history.replaceState(null, "", `?${new URLSearchParams({ path, rate })}`);
}

$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  set();
});

$("pause").addEventListener("click", () => {
  load.paused = !load.paused;
  $("pause").setAttribute("aria-pressed", String(load.paused));
  renderVerdict();
});

$("reset").addEventListener("click", () => {
  clearFigures();
  squares.replaceChildren();
  picked = null;
  $("log").replaceChildren();
  $("failure").hidden = true;
  for (const stream of streams) stream.reset();
  render();
});

// ---- start ---------------------------------------------------------------------------------------

clearFigures();
const streams = [new Events("Event stream"), new Socket("WebSocket")];
load.due = performance.now();
pace();
setInterval(everySecond, 1000);
if (location.search) {
  const wanted = new URLSearchParams(location.search);
  for (const name of ["path", "rate"]) if (wanted.has(name)) $(name).value = wanted.get(name);
  set();
}
