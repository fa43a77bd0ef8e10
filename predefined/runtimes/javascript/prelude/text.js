// Text and bytes: TextEncoder, TextDecoder, atob, btoa, crypto, structuredClone.
(host) => {
  const bytesOf = (data) => {
    if (data instanceof Uint8Array) return data;
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    throw new TypeError("expected an ArrayBuffer or a view of one");
  };
  host.bytesOf = bytesOf;

  globalThis.TextEncoder = class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return host.encode(String(text)); }
  };

  globalThis.TextDecoder = class TextDecoder {
    #fatal;
    #rest = new Uint8Array(0);
    constructor(label = "utf-8", { fatal = false } = {}) {
      if (!/^utf-?8$/i.test(label)) throw new RangeError(`this runtime decodes utf-8 only, not ${label}`);
      this.#fatal = fatal;
    }
    get encoding() { return "utf-8"; }
    get fatal() { return this.#fatal; }
    decode(data, { stream = false } = {}) {
      let bytes = data === undefined ? new Uint8Array(0) : bytesOf(data);
      if (this.#rest.length) {
        const joined = new Uint8Array(this.#rest.length + bytes.length);
        joined.set(this.#rest);
        joined.set(bytes, this.#rest.length);
        bytes = joined;
        this.#rest = new Uint8Array(0);
      }
      if (stream) {
        const whole = bytes.length - unfinished(bytes);
        this.#rest = bytes.slice(whole);
        bytes = bytes.subarray(0, whole);
      }
      const text = host.decode(bytes, this.#fatal);
      if (text === null) throw new TypeError("the bytes are not UTF-8");
      return text;
    }
  };

  // How many bytes at the end begin a character that has not come whole.
  const unfinished = (bytes) => {
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
      const byte = bytes[bytes.length - back];
      if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0;
      if (byte < 0x80) return 0;
    }
    return 0;
  };

  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const invalid = (text) => Object.assign(new Error(text), { name: "InvalidCharacterError" });
  globalThis.btoa = (text) => {
    text = String(text);
    const parts = [];
    for (let at = 0; at < text.length; at += 3) {
      const [a, b, c] = [text.charCodeAt(at), text.charCodeAt(at + 1), text.charCodeAt(at + 2)];
      if (a > 255 || b > 255 || c > 255) throw invalid("btoa takes characters up to U+00FF; encode with TextEncoder first");
      const more = text.length - at;
      parts.push(
        DIGITS[a >> 2], DIGITS[((a & 3) << 4) | (b >> 4)],
        more > 1 ? DIGITS[((b & 15) << 2) | (c >> 6)] : "=", more > 2 ? DIGITS[c & 63] : "=",
      );
    }
    return parts.join("");
  };
  globalThis.atob = (text) => {
    text = String(text).replace(/[\t\n\f\r ]/g, "");
    if (text.length % 4 === 0) text = text.replace(/==?$/, "");
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw invalid("the text is not base64");
    const parts = [];
    let bits = 0, held = 0;
    for (const digit of text) {
      held = ((held << 6) | DIGITS.indexOf(digit)) & 0xfffff;
      bits += 6;
      if (bits >= 8) parts.push(String.fromCharCode((held >> (bits -= 8)) & 255));
    }
    return parts.join("");
  };

  const hex = (byte) => byte.toString(16).padStart(2, "0");
  globalThis.crypto = {
    getRandomValues(array) {
      const bytes = bytesOf(array);
      bytes.set(host.randomBytes(bytes.length));
      return array;
    },
    randomUUID() {
      const bytes = host.randomBytes(16);
      bytes[6] = (bytes[6] & 15) | 64;
      bytes[8] = (bytes[8] & 63) | 128;
      const digits = Array.from(bytes, hex).join("");
      return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    },
  };
  Math.random = () => host.random();

  globalThis.structuredClone = (value) => {
    const seen = new Map();
    const clone = (value) => {
      if (typeof value === "function" || typeof value === "symbol") {
        throw Object.assign(new Error(`${String(value)} could not be cloned`), { name: "DataCloneError" });
      }
      if (value === null || typeof value !== "object") return value;
      if (seen.has(value)) return seen.get(value);
      const keep = (copy) => (seen.set(value, copy), copy);
      if (value instanceof Date) return keep(new Date(value));
      if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
      if (value instanceof ArrayBuffer) return keep(value.slice(0));
      if (value instanceof DataView) return keep(new DataView(value.buffer.slice(0), value.byteOffset, value.byteLength));
      if (ArrayBuffer.isView(value)) return keep(value.slice());
      if (value instanceof Map) {
        const copy = keep(new Map());
        for (const [key, inner] of value) copy.set(clone(key), clone(inner));
        return copy;
      }
      if (value instanceof Set) {
        const copy = keep(new Set());
        for (const inner of value) copy.add(clone(inner));
        return copy;
      }
      if (value instanceof Error) {
        const copy = keep(Object.create(Object.getPrototypeOf(value)));
        for (const key of ["message", "stack", "cause"]) if (key in value) copy[key] = clone(value[key]);
        return copy;
      }
      const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
      for (const key of Object.keys(value)) copy[key] = clone(value[key]);
      return copy;
    };
    return clone(value);
  };
}
