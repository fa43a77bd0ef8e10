// `node:fs/promises` over the files of the session, and `node:path`.
(host) => {
  const ROOT = "/workspace";

  // --- paths, as POSIX has them; what is relative is relative to the workspace ---
  const asText = (path) => {
    if (typeof path !== "string") throw new TypeError("a path is text");
    return path;
  };
  const normalize = (path) => {
    const absolute = asText(path).startsWith("/");
    const names = [];
    for (const name of path.split("/")) {
      if (name === "" || name === ".") continue;
      if (name !== ".." || (!absolute && (names.length === 0 || names.at(-1) === ".."))) names.push(name);
      else names.pop();
    }
    const joined = names.join("/") + (path.endsWith("/") && names.length ? "/" : "");
    return absolute ? `/${joined}` : joined || ".";
  };
  const join = (...paths) => normalize(paths.filter((path) => asText(path) !== "").join("/") || ".");
  const resolve = (...paths) => {
    let whole = "";
    for (const path of [ROOT, ...paths].reverse()) {
      if (asText(path) === "") continue;
      whole = whole ? `${path}/${whole}` : path;
      if (path.startsWith("/")) break;
    }
    const normal = normalize(whole);
    return normal.length > 1 ? normal.replace(/\/$/, "") : normal;
  };
  const trimmed = (path) => asText(path).replace(/(.)\/+$/, "$1");
  const basename = (path, suffix = "") => {
    const name = trimmed(path).split("/").at(-1);
    return suffix && name !== suffix && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  };
  const dirname = (path) => {
    const at = trimmed(path).lastIndexOf("/");
    return at < 0 ? "." : at === 0 ? "/" : path.slice(0, at);
  };
  const extname = (path) => {
    const name = basename(path);
    const at = name.lastIndexOf(".");
    return at > 0 ? name.slice(at) : "";
  };
  const relative = (from, to) => {
    const [a, b] = [from, to].map((path) => resolve(path).split("/").filter(Boolean));
    let same = 0;
    while (same < a.length && same < b.length && a[same] === b[same]) same++;
    return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/");
  };
  const parse = (path) => {
    const [base, ext] = [basename(path), extname(path)];
    return { root: path.startsWith("/") ? "/" : "", dir: path.includes("/") ? dirname(path) : "", base, ext, name: base.slice(0, base.length - ext.length) };
  };
  const paths = {
    join, resolve, normalize, basename, dirname, extname, relative, parse,
    isAbsolute: (path) => asText(path).startsWith("/"),
    sep: "/", delimiter: ":",
  };
  host.modules["node:path"] = { ...paths, posix: paths, default: { ...paths, posix: paths } };

  // --- files ---
  const failed = ({ code, error }, call, path) =>
    Object.assign(new Error(`${code}: ${error}, ${call} '${path}'`), { code, syscall: call, path });
  const told = (answer, call, path) => {
    if (answer.error !== undefined) throw failed(answer, call, path);
    return answer;
  };
  const encodingOf = (options) => {
    const encoding = typeof options === "string" ? options : options?.encoding;
    if (encoding === undefined || encoding === null || encoding === "buffer") return undefined;
    if (!/^utf-?8$/i.test(encoding)) throw new RangeError(`this runtime knows the encoding utf8, not ${encoding}`);
    return "utf8";
  };
  const bytesOf = (data) => typeof data === "string" ? host.encode(data) : host.bytesOf(data);

  const readFile = async (path, options) => {
    const encoding = encodingOf(options);
    const parts = [];
    let at = 0, size;
    do {
      const part = told(host.readFile(resolve(path), at), "open", path);
      ({ size } = part);
      parts.push(part.bytes);
      at += part.bytes.length;
      if (part.bytes.length === 0) break;
    } while (at < size);
    let whole = parts[0];
    if (parts.length > 1) {
      whole = new Uint8Array(at);
      let filled = 0;
      for (const part of parts) {
        whole.set(part, filled);
        filled += part.length;
      }
    }
    return encoding ? host.decode(whole, false) : whole;
  };
  const has = (path) => host.listFiles(resolve(path), false).error === undefined;
  const writeFile = async (path, data, options) => {
    encodingOf(options);
    const flag = options?.flag ?? "w";
    if (flag.includes("x") && has(path)) throw failed({ code: "EEXIST", error: "there is one already" }, "open", path);
    told(host.writeFile(resolve(path), bytesOf(data), flag.startsWith("a")), "open", path);
  };
  const appendFile = (path, data, options) => writeFile(path, data, { encoding: encodingOf(options), flag: "a" });

  const entryOf = ({ path, directory, size, modifiedMs }) => ({
    name: basename(path),
    parentPath: dirname(`${ROOT}/${path}`),
    size,
    mode: directory ? 0o40755 : 0o100644,
    mtimeMs: modifiedMs,
    mtime: new Date(modifiedMs),
    isFile: () => !directory,
    isDirectory: () => directory,
    isSymbolicLink: () => false,
  });
  const stat = async (path) => entryOf(told(host.listFiles(resolve(path), false), "stat", path).entries[0]);
  const inside = (path, of) => {
    const all = [];
    for (;;) {
      const { entries } = told(host.listFiles(path, true, all.length ? basename(all.at(-1).path) : undefined), "scandir", of);
      if (entries.length === 0) return all;
      all.push(...entries);
    }
  };
  const readdir = async (path, options) => {
    const from = resolve(path);
    const found = inside(from, path);
    if (options?.recursive) {
      for (let at = 0; at < found.length; at++) if (found[at].directory) found.push(...inside(`${ROOT}/${found[at].path}`, path));
    }
    return found.map((entry) => options?.withFileTypes ? entryOf(entry) : relative(from, `${ROOT}/${entry.path}`));
  };

  const mkdir = async (path, options) => {
    if (!options?.recursive) {
      if (has(path)) throw failed({ code: "EEXIST", error: "there is one already" }, "mkdir", path);
      if (!has(dirname(resolve(path)))) throw failed({ code: "ENOENT", error: "the directory it is in is not there" }, "mkdir", path);
    }
    told(host.changeFile("mkdir", resolve(path)), "mkdir", path);
  };
  const rm = async (path, { recursive = false, force = false } = {}) => {
    const removed = host.changeFile(recursive ? "removeAll" : "remove", resolve(path));
    if (!(force && removed.code === "ENOENT")) told(removed, "rm", path);
  };
  const unlink = async (path) => {
    if ((await stat(path)).isDirectory()) throw failed({ code: "EISDIR", error: "it is a directory" }, "unlink", path);
    told(host.changeFile("remove", resolve(path)), "unlink", path);
  };
  const rmdir = async (path) => {
    if (!(await stat(path)).isDirectory()) throw failed({ code: "ENOTDIR", error: "it is no directory" }, "rmdir", path);
    told(host.changeFile("remove", resolve(path)), "rmdir", path);
  };
  const rename = async (from, to) => { told(host.changeFile("rename", resolve(from), resolve(to)), "rename", from); };
  const access = async (path) => { await stat(path); };
  const copyFile = async (from, to) => { await writeFile(to, await readFile(from)); };
  const files = { readFile, writeFile, appendFile, readdir, stat, lstat: stat, mkdir, rm, rmdir, unlink, rename, access, copyFile };
  host.modules["node:fs/promises"] = { ...files, default: files };
}
