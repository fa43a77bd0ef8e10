// URL and URLSearchParams. Parsing is the host side's (`src/host.rs`).
(host) => {
  const PARTS = ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"];
  const decode = (text) => {
    text = text.replace(/\+/g, " ");
    try { return decodeURIComponent(text); } catch { return text; }
  };
  const encode = (text) => encodeURIComponent(text).replace(/%20/g, "+").replace(/[!'()~]/g, (c) => "%" + c.charCodeAt(0).toString(16).toUpperCase());

  class URLSearchParams {
    #pairs = [];
    #changed = () => {};
    constructor(init = "") {
      if (typeof init === "object" && init !== null) {
        const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
        for (const [name, value] of pairs) this.#pairs.push([String(name), String(value)]);
      } else {
        this.#parse(String(init));
      }
    }
    #parse(text) {
      this.#pairs = [];
      for (const part of text.replace(/^\?/, "").split("&")) {
        if (!part) continue;
        const at = part.indexOf("=");
        this.#pairs.push(at < 0 ? [decode(part), ""] : [decode(part.slice(0, at)), decode(part.slice(at + 1))]);
      }
    }
    static of(text, changed) {
      const params = new URLSearchParams(text);
      params.#changed = changed;
      return params;
    }
    static replace(params, text) { params.#parse(text); }
    get size() { return this.#pairs.length; }
    get(name) { return this.#pairs.find(([key]) => key === String(name))?.[1] ?? null; }
    getAll(name) { return this.#pairs.filter(([key]) => key === String(name)).map(([, value]) => value); }
    has(name) { return this.#pairs.some(([key]) => key === String(name)); }
    append(name, value) { this.#pairs.push([String(name), String(value)]); this.#changed(); }
    delete(name) { this.#pairs = this.#pairs.filter(([key]) => key !== String(name)); this.#changed(); }
    set(name, value) {
      const at = this.#pairs.findIndex(([key]) => key === String(name));
      if (at < 0) this.#pairs.push([String(name), String(value)]);
      else this.#pairs = this.#pairs.filter(([key], index) => index <= at || key !== String(name)).with(at, [String(name), String(value)]);
      this.#changed();
    }
    sort() { this.#pairs.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); this.#changed(); }
    forEach(each) { for (const [name, value] of this.#pairs) each(value, name, this); }
    *entries() { for (const pair of this.#pairs) yield [...pair]; }
    *keys() { for (const [name] of this.#pairs) yield name; }
    *values() { for (const [, value] of this.#pairs) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return this.#pairs.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&"); }
  }

  // Ours, not the author's.
  const { of: paramsOf, replace: replaceIn } = URLSearchParams;
  delete URLSearchParams.of;
  delete URLSearchParams.replace;

  class URL {
    #parts;
    #params;
    constructor(url, base) {
      const parts = host.parseUrl(String(url), base === undefined ? undefined : String(base));
      if (!parts) throw new TypeError(`Invalid URL: ${url}`);
      this.#parts = parts;
      this.#params = paramsOf(this.search, () => this.#set("search", this.#params.toString()));
    }
    #set(part, value) { this.#parts = host.changeUrl(this.href, part, String(value)) ?? this.#parts; }
    get searchParams() { return this.#params; }
    toString() { return this.href; }
    toJSON() { return this.href; }
    static canParse(url, base) { return Boolean(host.parseUrl(String(url), base === undefined ? undefined : String(base))); }
    static parse(url, base) { return URL.canParse(url, base) ? new URL(url, base) : null; }
    static {
      PARTS.forEach((part, index) => {
        const set = function (value) {
          this.#set(part, value);
          if (part === "search" || part === "href") replaceIn(this.#params, this.search);
        };
        Object.defineProperty(URL.prototype, part, {
          get() { return this.#parts[index]; },
          set: part === "origin" ? undefined : set,
          enumerable: true,
          configurable: true,
        });
      });
    }
  }
  Object.assign(globalThis, { URL, URLSearchParams });
}
