import { tool } from "@opencode-ai/plugin"

// The description and the args are what the model reads.
export default tool({
  description: "Greets someone by name.",
  args: {
    name: tool.schema.string().describe("Who to greet"),
  },
  /** @param {{ name: string }} args */
  async execute(args) {
    console.log(`greeting ${args.name}`)
    return `Hello, ${args.name}!`
  },
})
