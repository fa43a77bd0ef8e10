#include "opg.h"

// What the model reads: what the tool does, and with what.
#define NAME "greet"
#define DESCRIPTION "Greets someone by name."
#define SCHEMA                                                                                      \
    "{\"type\":\"object\",\"required\":[\"name\"],\"additionalProperties\":false,"                  \
    "\"properties\":{\"name\":{\"type\":\"string\",\"description\":\"Who to greet.\"}}}"

static exports_opg_tool_tool_definition_t tools[1];

void exports_opg_tool_tool_describe(exports_opg_tool_tool_list_definition_t *ret) {
    tools[0].name = opg_text(NAME);
    tools[0].description = opg_text(DESCRIPTION);
    tools[0].input_schema = opg_text(SCHEMA);
    *ret = (exports_opg_tool_tool_list_definition_t){tools, 1};
}

bool exports_opg_tool_tool_call(plugin_string_t *name, plugin_string_t *input,
                                exports_opg_tool_tool_context_t *context, plugin_string_t *ret,
                                exports_opg_tool_tool_error_t *err) {
    (void)name, (void)context;
    plugin_string_t who, line = {0}, greeting = {0};
    if (!opg_get_text(*input, "name", &who) || who.len == 0) {
        err->tag = EXPORTS_OPG_TOOL_TOOL_ERROR_INVALID_INPUT;
        err->val.invalid_input = opg_text("the name is empty; say who to greet");
        return false;
    }
    opg_add(&line, opg_text("greeting "));
    opg_add(&line, who);
    opg_log(OPG_HOST_LOG_LEVEL_INFO, line);
    opg_add(&greeting, opg_text("Hello, "));
    opg_add(&greeting, who);
    opg_add(&greeting, opg_text("!"));
    *ret = opg_json(greeting);
    return true;
}
