// `@opencode-ai/plugin` and the life of a tool: what a file exports, and calling it.
(host) => {
  const zod = globalThis.__zod;
  delete globalThis.__zod;
  const { z } = zod;
  // Compiling a function for each schema costs more than one call gains.
  z.config({ jitless: true });
  const tool = (definition) => definition;
  tool.schema = z;

  // Modules, by what is imported: their values, exported under their own names.
  host.modules = { "@opencode-ai/plugin": { tool }, zod };

  // --- what is in a file ---
  const tools = new Map();
  const isTool = (value) => value !== null && typeof value === "object" && typeof value.execute === "function";

  // A pattern the host checks must be short and have no look-around: zod checks all of them when called.
  const PATTERN_BYTES_MAX = 200;
  const simple = (pattern) => host.encode(pattern).length <= PATTERN_BYTES_MAX && !/\(\?[=!<]|\\[1-9k]/.test(pattern);
  const trimmed = ({ jsonSchema }) => {
    if (jsonSchema.pattern !== undefined && (jsonSchema.format !== undefined || !simple(jsonSchema.pattern))) delete jsonSchema.pattern;
    if (jsonSchema.propertyNames?.pattern !== undefined && !simple(jsonSchema.propertyNames.pattern)) delete jsonSchema.propertyNames;
  };
  const inputSchema = (name, shape) => {
    try {
      const { $schema, ...schema } = z.toJSONSchema(shape, { io: "input", unrepresentable: "any", override: trimmed });
      return JSON.stringify(schema);
    } catch (cause) {
      throw new TypeError(`the args of \`${name}\` are no schema: ${cause.message}`, { cause });
    }
  };
  const asShape = (name, args = {}) => {
    if (args instanceof z.ZodType) return args;
    for (const [arg, schema] of Object.entries(args)) {
      if (!(schema instanceof z.ZodType)) {
        throw new TypeError(`the arg \`${arg}\` of \`${name}\` is no schema; write it with tool.schema, such as tool.schema.string()`);
      }
    }
    return z.object(args);
  };

  // Remembers the tools of a module; gives what `describe` says of them and of what they want.
  host.define = (exports, plugin) => {
    const definitions = [];
    const defaultFirst = ([a], [b]) => Number(b === "default") - Number(a === "default");
    for (const [exported, definition] of Object.entries(exports).sort(defaultFirst)) {
      if (!isTool(definition)) continue;
      const name = exported === "default" ? plugin : `${plugin}_${exported}`;
      if (typeof definition.description !== "string" || !definition.description.trim()) {
        throw new TypeError(`\`${exported}\` has no description: a model would not know when to call it`);
      }
      const shape = asShape(exported, definition.args);
      tools.set(name, { definition, shape });
      definitions.push({ name, description: definition.description, inputSchema: inputSchema(exported, shape) });
    }
    return JSON.stringify({ definitions, capabilities: wanted(exports.capabilities) });
  };
  const wanted = (capabilities) => {
    if (capabilities === undefined) return undefined;
    const ok = (one) => ["kind", "target", "reason"].every((key) => typeof one?.[key] === "string");
    if (!Array.isArray(capabilities) || !capabilities.every(ok)) {
      throw new TypeError('`capabilities` is a list of { kind, target, reason }, such as { kind: "http", target: "api.example.com", reason: "…" }');
    }
    return capabilities.map(({ kind, target, reason }) => ({ kind, target, reason }));
  };

  // --- calling ---
  const noted = (what) => { host.emit(JSON.stringify({ type: "tool_metadata", ...what })); };
  const contextOf = ({ session, invocation, timeLimitMs }) => ({
    sessionID: session ?? "",
    messageID: invocation,
    callID: invocation,
    agent: "",
    directory: "/workspace",
    worktree: "/workspace",
    // Early enough to still say something.
    abort: host.endingIn(timeLimitMs - Math.min(500, timeLimitMs / 10)),
    metadata: ({ title, metadata } = {}) => noted({ title, metadata }),
    ask: async ({ permission = "", patterns = [], always = [], metadata = {} } = {}) => {
      const began = host.now();
      const refused = host.ask(String(permission), patterns.map(String), always.map(String), JSON.stringify(metadata));
      // The time a person takes is not the call's.
      host.endLater(host.now() - began);
      if (refused !== undefined && refused !== null) throw new Error(refused);
    },
  });

  class InvalidInput extends Error { get invalidInput() { return true; } }

  host.call = async (name, input, context) => {
    const { definition, shape } = tools.get(name) ?? {};
    if (!definition) throw new InvalidInput(`there is no tool \`${name}\` in this file`);
    const given = await shape.safeParseAsync(JSON.parse(input));
    if (!given.success) throw new InvalidInput(z.prettifyError(given.error));
    return asOutput(await definition.execute(given.data, contextOf(JSON.parse(context))));
  };
  // What the model gets: the text of a result, or the value as JSON.
  const asOutput = (result) => {
    if (result !== null && typeof result === "object" && typeof result.output === "string") {
      const { output, title, metadata, attachments } = result;
      if (title !== undefined || metadata !== undefined) noted({ title, metadata });
      return JSON.stringify(attachments?.length ? { output, attachments } : output);
    }
    const text = JSON.stringify(result === undefined ? null : result);
    if (text === undefined) throw new TypeError(`\`execute\` returned a ${typeof result}, which is no JSON; return text`);
    return text;
  };
}
