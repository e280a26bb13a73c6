/* What the page asks of the server. Latest wins: while a picture is made, only the newest drawing
   waits; older ones are never sent. */

let token = new URLSearchParams(location.hash.slice(1)).get("token") ?? sessionStorage.getItem("token") ?? "";

export class Refused extends Error {}

export async function ask(path, options = {}) {
  const headers = token ? { Authorization: "Bearer " + token } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    const given = prompt("This server asks for its token:");
    if (given === null) throw new Refused("no picture without the server's token: load the page again");
    token = given.trim();
    sessionStorage.setItem("token", token);
    return ask(path, options);
  }
  if (!answer.ok) {
    const { detail } = await answer.json().catch(() => ({ detail: "the server answered " + answer.status }));
    throw new Refused(detail);
  }
  return answer;
}

export class Latest {
  #busy = false;
  #next = null;
  constructor(work) { this.work = work; }
  async ask(...what) {
    this.#next = what;
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#next) {
        const now = this.#next;
        this.#next = null;
        await this.work(...now);
      }
    } finally {
      this.#busy = false;
    }
  }
}
