// Events, AbortController, timers: what waits, and for how long.
(host) => {
  class Event {
    constructor(type, init = {}) { this.type = String(type); this.cancelable = Boolean(init.cancelable); this.defaultPrevented = false; }
    preventDefault() { this.defaultPrevented = this.cancelable; }
    stopPropagation() {}
  }
  class CustomEvent extends Event {
    constructor(type, init = {}) { super(type, init); this.detail = init.detail ?? null; }
  }
  class EventTarget {
    #listeners = [];
    addEventListener(type, listener, options) {
      if (!listener || this.#listeners.some((known) => known.type === type && known.listener === listener)) return;
      const once = typeof options === "object" && Boolean(options?.once);
      this.#listeners.push({ type, listener, once });
      if (typeof options === "object") options?.signal?.addEventListener("abort", () => this.removeEventListener(type, listener), { once: true });
    }
    removeEventListener(type, listener) {
      this.#listeners = this.#listeners.filter((known) => known.type !== type || known.listener !== listener);
    }
    dispatchEvent(event) {
      event.target = event.currentTarget = this;
      this[`on${event.type}`]?.(event);
      for (const { type, listener, once } of [...this.#listeners]) {
        if (type !== event.type) continue;
        if (once) this.removeEventListener(type, listener);
        if (typeof listener === "function") listener.call(this, event);
        else listener.handleEvent(event);
      }
      return !event.defaultPrevented;
    }
    static listens(target) { return target.#listeners.length > 0 || typeof target.onabort === "function"; }
  }
  const listens = EventTarget.listens;
  delete EventTarget.listens;

  class DOMException extends Error {
    #name;
    constructor(message = "", name = "Error") { super(message); this.#name = name; }
    get name() { return this.#name; }
  }

  const abort = Symbol("abort");
  class AbortSignal extends EventTarget {
    aborted = false;
    reason = undefined;
    onabort = null;
    [abort](reason) {
      if (this.aborted) return;
      this.aborted = true;
      this.reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      this.dispatchEvent(new Event("abort"));
    }
    throwIfAborted() { if (this.aborted) throw this.reason; }
    static abort(reason) {
      const signal = new AbortSignal();
      signal[abort](reason);
      return signal;
    }
    static timeout(ms) {
      const signal = new AbortSignal();
      later(() => signal[abort](new DOMException("The operation timed out", "TimeoutError")), ms, { background: true });
      return signal;
    }
    static any(signals) {
      const signal = new AbortSignal();
      for (const one of signals) {
        if (one.aborted) { signal[abort](one.reason); break; }
        one.addEventListener("abort", () => signal[abort](one.reason), { once: true });
      }
      return signal;
    }
  }
  class AbortController {
    signal = new AbortSignal();
    abort(reason) { this.signal[abort](reason); }
  }

  // --- timers ---
  let timers = [];
  let timersMade = 0;
  const later = (run, ms, { every, background = false } = {}) => {
    if (host.loading()) {
      throw new Error("timers do not run while a tool is being uploaded; set them inside `execute`");
    }
    const timer = { id: ++timersMade, at: host.now() + Math.max(0, Number(ms) || 0), run, every, background };
    insert(timer);
    return timer.id;
  };
  const insert = (timer) => {
    const at = timers.findIndex((other) => other.at > timer.at);
    timers.splice(at < 0 ? timers.length : at, 0, timer);
  };
  const forget = (id) => { timers = timers.filter((timer) => timer.id !== id); };
  const callable = (run) => {
    if (typeof run !== "function") throw new TypeError("expected a function to call later");
    return run;
  };
  globalThis.setTimeout = (run, ms = 0, ...given) => (callable(run), later(() => run(...given), ms));
  globalThis.setInterval = (run, ms = 0, ...given) => (callable(run), later(() => run(...given), ms, { every: Math.max(1, Number(ms) || 1) }));
  globalThis.setImmediate = (run, ...given) => globalThis.setTimeout(run, 0, ...given);
  globalThis.clearTimeout = globalThis.clearInterval = globalThis.clearImmediate = forget;
  globalThis.queueMicrotask = (run) => { Promise.resolve().then(run); };
  globalThis.performance = { now: () => host.now(), timeOrigin: 0 };

  // Runs what is due.
  host.tick = () => {
    const now = host.now();
    while (timers.length && timers[0].at <= now) {
      const timer = timers.shift();
      if (timer.every) insert({ ...timer, at: now + timer.every });
      timer.run();
      // What this timer promised comes before the next timer.
      host.runJobs();
    }
  };

  // --- the end of the call ---
  let ending;
  let endingTimer;
  // The signal of a call: it fires shortly before the call's time is up.
  host.endingIn = (ms) => {
    const controller = new AbortController();
    ending = controller.signal;
    const reason = new DOMException("the call's time is nearly up", "TimeoutError");
    endingTimer = later(() => controller.abort(reason), ms, { background: true });
    return controller.signal;
  };
  // Puts it off.
  host.endLater = (ms) => {
    const timer = timers.find((one) => one.id === endingTimer);
    if (!timer) return;
    forget(endingTimer);
    timer.at += ms;
    insert(timer);
  };

  // What to wait for: milliseconds to the next timer, or -1 where nothing can come any more.
  host.idle = (requests) => {
    const foreground = requests > 0 || timers.some((timer) => !timer.background) || (ending && !ending.aborted && listens(ending));
    const next = timers[0];
    if (!foreground || (!next && requests === 0)) return -1;
    return next ? Math.max(0, next.at - host.now()) : -2;
  };

  Object.assign(globalThis, { Event, CustomEvent, EventTarget, DOMException, AbortSignal, AbortController });
}
