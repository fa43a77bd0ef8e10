// fetch, Headers, Request, Response, FormData: over the host's gate, whole answers only.
(host) => {
  const STATUS = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 301: "Moved Permanently", 302: "Found", 304: "Not Modified",
    400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    408: "Request Timeout", 409: "Conflict", 410: "Gone", 413: "Content Too Large", 415: "Unsupported Media Type",
    422: "Unprocessable Content", 429: "Too Many Requests", 500: "Internal Server Error", 501: "Not Implemented",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
  };

  class Headers {
    #pairs = [];
    constructor(init) {
      if (!init) return;
      const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
      for (const [name, value] of pairs) this.append(name, value);
    }
    append(name, value) { this.#pairs.push([String(name).toLowerCase(), String(value).trim()]); }
    delete(name) { name = String(name).toLowerCase(); this.#pairs = this.#pairs.filter(([key]) => key !== name); }
    set(name, value) { this.delete(name); this.append(name, value); }
    has(name) { name = String(name).toLowerCase(); return this.#pairs.some(([key]) => key === name); }
    get(name) {
      name = String(name).toLowerCase();
      const found = this.#pairs.filter(([key]) => key === name).map(([, value]) => value);
      return found.length ? found.join(", ") : null;
    }
    getSetCookie() { return this.#pairs.filter(([key]) => key === "set-cookie").map(([, value]) => value); }
    forEach(each) { for (const [name, value] of this) each(value, name, this); }
    *entries() { for (const name of [...new Set(this.#pairs.map(([key]) => key))].sort()) yield [name, this.get(name)]; }
    *keys() { for (const [name] of this) yield name; }
    *values() { for (const [, value] of this) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    static pairs(headers) { return headers.#pairs; }
  }
  const pairsOf = Headers.pairs;
  delete Headers.pairs;

  class FormData {
    #pairs = [];
    append(name, value) { this.#pairs.push([String(name), String(value)]); }
    set(name, value) { this.delete(name); this.append(name, value); }
    delete(name) { this.#pairs = this.#pairs.filter(([key]) => key !== name); }
    get(name) { return this.#pairs.find(([key]) => key === name)?.[1] ?? null; }
    getAll(name) { return this.#pairs.filter(([key]) => key === name).map(([, value]) => value); }
    has(name) { return this.#pairs.some(([key]) => key === name); }
    *entries() { yield* this.#pairs; }
    [Symbol.iterator]() { return this.entries(); }
  }

  // A body as bytes, and the content type that goes with it.
  const packed = (body) => {
    if (body === null || body === undefined) return [undefined, undefined];
    if (body instanceof URLSearchParams) return [host.encode(body.toString()), "application/x-www-form-urlencoded;charset=UTF-8"];
    if (body instanceof FormData) {
      const boundary = `----opg${Math.random().toString(36).slice(2)}`;
      const quoted = (name) => name.replace(/[\r\n"]/g, encodeURIComponent);
      const parts = [...body].map(([name, value]) => `--${boundary}\r\ncontent-disposition: form-data; name="${quoted(name)}"\r\n\r\n${value}\r\n`);
      return [host.encode(`${parts.join("")}--${boundary}--\r\n`), `multipart/form-data; boundary=${boundary}`];
    }
    if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return [host.bytesOf(body).slice(), undefined];
    return [host.encode(String(body)), "text/plain;charset=UTF-8"];
  };

  class Body {
    #bytes;
    bodyUsed = false;
    constructor(bytes) { this.#bytes = bytes; }
    #take() {
      if (this.bodyUsed) throw new TypeError("the body was read already; clone it first");
      this.bodyUsed = true;
      return this.#bytes ?? new Uint8Array(0);
    }
    async bytes() { return this.#take(); }
    async arrayBuffer() { return this.#take().slice().buffer; }
    async text() { return host.decode(this.#take(), false).replace(/^\ufeff/, ""); }
    async json() { return JSON.parse(await this.text()); }
    async formData() { throw new TypeError("this runtime does not read forms; use text() or json()"); }
    async blob() { throw new TypeError("there is no Blob in this runtime; use bytes() or arrayBuffer()"); }
    // The whole of it, as one chunk: answers come whole.
    get body() {
      if (this.#bytes === undefined) return null;
      const body = this;
      let done = false;
      const read = async () => (done ? { done: true, value: undefined } : ((done = true), { done: false, value: body.#take() }));
      return {
        getReader: () => ({ read, releaseLock() {}, cancel: async () => { done = true; } }),
        cancel: async () => { done = true; },
        async *[Symbol.asyncIterator]() { for (let next = await read(); !next.done; next = await read()) yield next.value; },
      };
    }
    static bytes(body) { return body.#bytes; }
  }
  const bytesIn = Body.bytes;
  delete Body.bytes;

  class Request extends Body {
    constructor(input, init = {}) {
      const from = input instanceof Request ? input : {};
      const [bytes, type] = init.body === undefined && input instanceof Request ? [bytesIn(input), undefined] : packed(init.body);
      super(bytes);
      this.url = new URL(input instanceof Request ? input.url : String(input)).href;
      this.method = String(init.method ?? from.method ?? "GET").toUpperCase();
      this.headers = new Headers(init.headers ?? from.headers);
      this.signal = init.signal ?? from.signal ?? null;
      this.redirect = init.redirect ?? from.redirect ?? "follow";
      if (type && !this.headers.has("content-type")) this.headers.set("content-type", type);
      if (bytes && (this.method === "GET" || this.method === "HEAD")) throw new TypeError(`a ${this.method} request has no body`);
    }
    clone() { return new Request(this); }
  }

  class Response extends Body {
    constructor(body = null, init = {}) {
      const [bytes, type] = packed(body);
      super(bytes);
      this.status = init.status ?? 200;
      this.statusText = init.statusText ?? "";
      this.headers = new Headers(init.headers);
      this.url = init.url ?? "";
      this.redirected = false;
      this.type = "default";
      if (type && !this.headers.has("content-type")) this.headers.set("content-type", type);
    }
    get ok() { return this.status >= 200 && this.status < 300; }
    clone() {
      if (this.bodyUsed) throw new TypeError("the body was read already");
      return new Response(bytesIn(this) ?? null, this);
    }
    static json(value, init = {}) {
      const response = new Response(JSON.stringify(value), init);
      response.headers.set("content-type", "application/json");
      return response;
    }
    static error() { return Object.assign(new Response(null), { status: 0, type: "error" }); }
  }

  const waiting = new Map();
  host.requests = () => waiting.size;
  host.answered = (id, answer) => {
    const settle = waiting.get(id);
    waiting.delete(id);
    settle?.(answer);
  };
  const failed = (why, stack) => Object.defineProperty(new TypeError(`fetch failed: ${why}`), "stack", { value: stack, configurable: true, writable: true });

  // Requests over the host's bound wait here for one of those before them.
  const MOST_AT_ONCE = 16;
  const queue = [];
  const next = () => { if (queue.length && waiting.size < MOST_AT_ONCE) queue.shift()(); };

  const fetch = async (input, init) => {
    // Where it was called: by the time it fails, nobody is on the stack.
    const { stack } = new Error();
    const request = new Request(input, init);
    if (host.loading()) throw new Error("nothing can be fetched while a tool is being uploaded; call `fetch` inside `execute`");
    const { signal } = request;
    signal?.throwIfAborted();
    while (waiting.size >= MOST_AT_ONCE) await new Promise((go) => queue.push(go));
    signal?.throwIfAborted();
    try {
      return await new Promise((resolve, reject) => {
        let id;
        const giveUp = () => {
          host.cancel(id);
          waiting.delete(id);
          reject(signal.reason);
        };
        const settle = ({ error, status, headers, body }) => {
          signal?.removeEventListener("abort", giveUp);
          if (error !== undefined) return reject(failed(error, stack));
          resolve(new Response(body, { status, statusText: STATUS[status] ?? "", headers, url: request.url }));
        };
        const started = host.start(request.method, request.url, pairsOf(request.headers), bytesIn(request));
        if (typeof started === "string") return reject(failed(started, stack));
        id = started;
        waiting.set(id, settle);
        signal?.addEventListener("abort", giveUp, { once: true });
      });
    } finally {
      next();
    }
  };
  Object.assign(globalThis, { fetch, Headers, FormData, Request, Response });
}
