// Speaks to the owner's API, and listens to its stream.

// What went wrong with a request, in words for the owner.
export class Fault extends Error {
  constructor(words, status) {
    super(words);
    this.told = true;
    this.status = status;
  }
}

const REQUEST_TIMEOUT_MS = 15_000;

export async function api(method, path, body) {
  const options = { method, cache: 'no-store', headers: {}, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) };
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Fault('The handset does not answer.', 0);
  }
  if (response.status === 401) {
    // Signed out, or the secret is another one now: the page becomes the way in.
    location.reload();
    throw new Fault('This window is signed out.', 401);
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    const words = problem.detail || problem.title || `The handset answered ${response.status}.`;
    throw new Fault(words, response.status);
  }
  const text = await response.text();
  return text ? JSON.parse(text) : undefined;
}

const POLL_MS = 2_000;
const POLL_HIDDEN_MS = 5_000;
const AGAIN_MS = 1_000;
const AGAIN_MOST_MS = 15_000;

// Has `heard` told of every event for as long as the page lives. While there is no stream the prompts are asked for
// again and again instead. A window that nobody sees has no stream: a browser lets a site have six connections, and
// the owner may have more windows than that.
export function listen(heard) {
  let source;
  let poll;
  let again = AGAIN_MS;
  let retry;

  async function ask() {
    try {
      heard('prompts', await api('GET', '/api/prompts'));
      heard('up', true);
    } catch (fault) {
      if (!fault.told) throw fault;
      heard('up', false);
    }
    clearTimeout(poll);
    if (source?.readyState !== EventSource.OPEN) poll = setTimeout(ask, document.hidden ? POLL_HIDDEN_MS : POLL_MS);
  }

  function close() {
    clearTimeout(retry);
    source?.close();
    source = undefined;
  }

  function open() {
    close();
    source = new EventSource('/api/stream');
    source.onopen = () => {
      again = AGAIN_MS;
      clearTimeout(poll);
      heard('up', true);
      heard('open');
    };
    source.onerror = () => {
      clearTimeout(poll);
      poll = setTimeout(ask, AGAIN_MS);
      if (source?.readyState === EventSource.CLOSED) {
        retry = setTimeout(open, again);
        again = Math.min(again * 2, AGAIN_MOST_MS);
      }
    };
    for (const name of ['prompts', 'access', 'users', 'handset', 'lost']) {
      source.addEventListener(name, (event) => heard(name, JSON.parse(event.data)));
    }
  }

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) {
      close();
      ask();
    } else open();
  });
  // A page in the browser's back-forward cache has lost its stream.
  addEventListener('pageshow', (event) => event.persisted && open());
  if (document.hidden) ask();
  else open();
}

// At most one call in `ms`, and one at the end: what is told a thousand times a second is done a few times.
export function seldom(ms, act) {
  let waiting = false;
  let last = 0;
  return () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      last = Date.now();
      act();
    }, Math.max(0, last + ms - Date.now()));
  };
}
