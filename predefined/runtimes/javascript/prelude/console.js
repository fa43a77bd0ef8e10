// console and process: the call's log, and the names of secrets.
(host) => {
  const shown = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}\n${value.stack}`.trimEnd() : String(value);
    if (typeof value === "function") return `[function ${value.name || "(anonymous)"}]`;
    if (value === null || typeof value !== "object") return typeof value === "bigint" ? `${value}n` : String(value);
    const above = [];
    const plain = function (key, inner) {
      if (typeof inner === "bigint") return `${inner}n`;
      if (inner === null || typeof inner !== "object") return inner;
      while (above.length && above.at(-1) !== this) above.pop();
      if (above.includes(inner)) return "[circular]";
      above.push(inner);
      if (inner instanceof Map) return { map: [...inner] };
      if (inner instanceof Set) return { set: [...inner] };
      if (inner instanceof Error) return `${inner.name}: ${inner.message}`;
      return inner;
    };
    try { return JSON.stringify(value, plain); } catch { return String(value); }
  };
  const formatted = ([first, ...rest]) => {
    if (typeof first !== "string") return [first, ...rest];
    const text = first.replace(/%([sdifjoOc%])/g, (found, kind) => {
      if (kind === "%") return "%";
      if (!rest.length) return found;
      const value = rest.shift();
      if (kind === "c") return "";
      if (kind === "d" || kind === "i") return String(kind === "i" ? Math.trunc(Number(value)) : Number(value));
      return kind === "f" ? String(Number(value)) : shown(value);
    });
    return [text, ...rest];
  };
  const line = (level) => (...values) => host.log(level, formatted(values).map(shown).join(" "));
  const begun = new Map();
  const counts = new Map();
  globalThis.console = {
    debug: line("debug"), trace: line("debug"), log: line("info"), info: line("info"), dir: line("info"), table: line("info"),
    warn: line("warn"), error: line("error"),
    assert: (holds, ...values) => { if (!holds) console.error("assertion failed:", ...values); },
    group: line("info"), groupCollapsed: line("info"), groupEnd() {},
    count: (name = "default") => { counts.set(name, (counts.get(name) ?? 0) + 1); console.log(`${name}: ${counts.get(name)}`); },
    time: (name = "default") => { begun.set(name, host.now()); },
    timeLog: (name = "default") => console.log(`${name}: ${Math.round(host.now() - (begun.get(name) ?? host.now()))} ms`),
    timeEnd: (name = "default") => { console.timeLog(name); begun.delete(name); },
  };

  // A name gives a reference to the secret, which the host replaces in headers on the way out.
  const env = new Proxy(Object.create(null), {
    get: (own, name) => (typeof name === "symbol" ? undefined : name in own ? own[name] : host.secret(name)),
    has: (own, name) => typeof name === "string" && (name in own || host.secret(name) !== undefined),
    set: (own, name, value) => { own[name] = String(value); return true; },
  });
  globalThis.process = {
    env,
    argv: [],
    platform: "opg",
    versions: {},
    cwd: () => "/",
    nextTick: (run, ...given) => queueMicrotask(() => run(...given)),
    exit: () => { throw new Error("a tool cannot exit; return or throw"); },
  };
}
