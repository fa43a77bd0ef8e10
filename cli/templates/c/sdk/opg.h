// What a tool in C has beside the contract: text, and the JSON it comes and goes in.
//
// `plugin.h` is the contract, made of `wit/` by wit-bindgen: what a tool exports, and all it may ask of its host.
// Text is bytes with a length, UTF-8, without a zero at its end.
#pragma once

#include "plugin.h"
#include <stdbool.h>
#include <stddef.h>

// A text that is there for good: one written in the program.
plugin_string_t opg_text(const char *text);

// The text under `key` of the object `json`, its escapes resolved. False where there is none, or no text.
bool opg_get_text(plugin_string_t json, const char *key, plugin_string_t *text);

// The value under `key` of the object `json`, as it is written there. False where there is none.
bool opg_get(plugin_string_t json, const char *key, plugin_string_t *value);

// Adds to a text; it starts as `{0}`.
void opg_add(plugin_string_t *text, plugin_string_t more);

// A text as JSON: in quotes, with escapes.
plugin_string_t opg_json(plugin_string_t text);

// Writes a line to the call's log.
void opg_log(opg_host_log_level_t level, plugin_string_t line);
