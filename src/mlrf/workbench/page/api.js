// Requests to the server that this page came from. The key stays in this module's memory.
let key = "", underWay = 0;

export const SUPERSEDED = "SUPERSEDED";

// `data-busy` of the document says whether answers are awaited.
function count(change) {
  underWay += change;
  document.documentElement.dataset.busy = String(underWay > 0);
}

export function useKey(value) {
  key = value;
}

export class ServerError extends Error {
  constructor(message, status, code, details) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details ?? {};
  }
}

// Return the JSON answer. Throws ServerError, with status 0 where no server answered or `signal` ended the request.
export async function ask(method, path, body, signal) {
  const response = await send(method, path, body, signal);
  let answer;
  try {
    answer = JSON.parse(response.text);
  } catch {
    throw new ServerError(`The answer with status ${response.status} is not JSON`, response.status, "NOT_JSON");
  }
  if (!response.ok) throw new ServerError(answer.error ?? "refused", response.status, answer.code, answer.details);
  return answer;
}

export async function askText(path, signal) {
  const response = await send("GET", path, undefined, signal);
  if (response.ok) return response.text;
  let answer = {};
  try {
    answer = JSON.parse(response.text);
  } catch {
    // A proxy's own page: its status says enough.
  }
  throw new ServerError(answer.error ?? `${path} was answered with status ${response.status}`, response.status, answer.code);
}

async function send(method, path, body, signal) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  count(1);
  try {
    const response = await fetch(path, { method, headers, body: text, signal, credentials: "omit", cache: "no-store" });
    return { ok: response.ok, status: response.status, text: await response.text() };
  } catch {
    if (signal?.aborted) throw new ServerError("another request took its turn", 0, SUPERSEDED);
    throw new ServerError("The server does not answer. Is it running, and is the network there?", 0, "UNREACHABLE");
  } finally {
    count(-1);
  }
}

export const ofModel = (model, route) => `/models/${encodeURIComponent(model)}${route}`;

// The answer to a row with its explanation, or without where the key may not explain or the model cannot be explained.
export async function askWhy(model, row, signal) {
  const body = { features: Object.fromEntries(row) };
  try {
    return await ask("POST", ofModel(model.name, "/explain"), body, signal);
  } catch (error) {
    if (error.code !== "NOT_EXPLAINABLE" && error.status !== 403) throw error;
    return ask("POST", ofModel(model.name, "/predict"), body, signal);
  }
}

export const askCurve = (model, row, vary, signal) =>
  ask("POST", ofModel(model.name, "/curve"), { features: Object.fromEntries(row), vary }, signal);

// Wait; counted as an answer that is awaited.
export async function pause(milliseconds) {
  count(1);
  await new Promise((done) => setTimeout(done, milliseconds));
  count(-1);
}

// Return a function that gives the signal of a new request and ends the request before it.
export function superseding() {
  let current = null;
  return () => {
    current?.abort();
    current = new AbortController();
    return current.signal;
  };
}

// Run `work` again and again as long as it is called, one run at a time; calls during a run make one more.
export function latest(work) {
  let running = false, again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        await work();
      } while (again);
    } finally {
      running = false;
    }
  };
}
