// Requests to the server that this page came from. The key stays in this module's memory.
let key = "", underWay = 0;

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

// Return the JSON answer; throws ServerError, with status 0 where nobody answered.
export async function ask(method, path, body) {
  count(1);
  try {
    return await send(method, path, body);
  } finally {
    count(-1);
  }
}

async function send(method, path, body) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "omit", cache: "no-store",
    });
  } catch {
    throw new ServerError("The server does not answer. Is it running, and is the network there?", 0, "UNREACHABLE");
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new ServerError(`The answer with status ${response.status} is not JSON`, response.status, "NOT_JSON");
  }
  if (!response.ok) throw new ServerError(answer.error ?? "refused", response.status, answer.code, answer.details);
  return answer;
}

export const ofModel = (model, route) => `/models/${encodeURIComponent(model)}${route}`;

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
