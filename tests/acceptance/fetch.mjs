// Calls URLs as people do with fetch and setTimeout, and prints as JSON what became of each in its first minute.
//
//     node fetch.mjs API_KEY URL…
//
// Nobody waits: the minute is counted, from what Node makes of each timer. A delay that is too large for it is 1 ms there.

const [apiKey, ...urls] = process.argv.slice(2);
const options = { headers: { Authorization: `Bearer ${apiKey}` } };
const MINUTE = 60_000;
const PATIENCE = 50; // requests: a call that comes back at once would go on for ever
let clock, requests;

class Over extends Error {}

function setTimeout(resume, ms) {
  const timer = globalThis.setTimeout(() => {}, ms);
  clock += timer._idleTimeout; // what Node has made of ms
  clearTimeout(timer);
  queueMicrotask(resume);
}

async function fetch(url, options) {
  if (clock >= MINUTE || requests >= PATIENCE) throw new Over();
  requests += 1;
  return globalThis.fetch(url, options);
}

// As the page of LendWorks has it, without its types.
async function apiCall(url, options) {
  const response = await fetch(url, options);
  if (response.status === 429) {
    const retryAfter = parseInt(response.headers.get('Retry-After') || '60', 10);
    await new Promise(r => setTimeout(r, retryAfter * 1000));
    return apiCall(url, options); // Retry
  }
  return response;
}

// The same for a Retry-After in dates.
async function untilThen(url, options) {
  const response = await fetch(url, options);
  if (response.status === 429) {
    const date = new Date(response.headers.get('Retry-After'));
    await new Promise(r => setTimeout(r, date - new Date()));
    return untilThen(url, options);
  }
  return response;
}

process.removeAllListeners('warning'); // of a delay that is too large
const told = [];
for (const url of urls) {
  clock = requests = 0;
  const call = url.endsWith('/date') ? untilThen : apiCall;
  const status = await call(url, options).then(response => response.status, error => {
    if (error instanceof Over) return 429;
    throw error;
  });
  told.push([requests, status]);
}
console.log(JSON.stringify(told));
