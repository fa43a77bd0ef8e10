import { tool } from "@opencode-ai/plugin"

const toBinary = (bytes: Uint8Array) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")

export default tool({
  description: "Encodes and decodes base64",
  args: { text: tool.schema.string(), decode: tool.schema.boolean().optional(), urlsafe: tool.schema.boolean().optional() },
  async execute({ text, decode, urlsafe }) {
    if (decode) {
      const binary = atob(urlsafe ? text.replace(/-/g, "+").replace(/_/g, "/") : text)
      return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(binary, (c) => c.charCodeAt(0)))
    }
    const encoded = btoa(toBinary(new TextEncoder().encode(text)))
    return urlsafe ? encoded.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "") : encoded
  },
})
