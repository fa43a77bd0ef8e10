// The little of a C library that a tool needs, and text and JSON. Everything here trusts no byte of its input.

#include "opg.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// --- memory ---------------------------------------------------------------

// A call has a memory of its own that is gone when it ends, so blocks are put one after the other.

#define PAGE_BYTES ((size_t)65536)
// As the strictest type wants it; each block has its size before it.
#define ALIGN_BYTES ((size_t)16)

extern unsigned char __heap_base;
static uintptr_t next_free;

_Noreturn void abort(void) { __builtin_trap(); }

void *malloc(size_t size) {
    if (next_free == 0) next_free = ((uintptr_t)&__heap_base + ALIGN_BYTES - 1) & ~(ALIGN_BYTES - 1);
    if (size > SIZE_MAX - next_free - 2 * ALIGN_BYTES) return NULL;
    uintptr_t block = next_free + ALIGN_BYTES;
    uintptr_t end = (block + size + ALIGN_BYTES - 1) & ~(ALIGN_BYTES - 1);
    size_t pages = __builtin_wasm_memory_size(0);
    size_t wanted = (end + PAGE_BYTES - 1) / PAGE_BYTES;
    if (wanted > pages && __builtin_wasm_memory_grow(0, wanted - pages) == SIZE_MAX) return NULL;
    *(size_t *)(block - sizeof(size_t)) = size;
    next_free = end;
    return (void *)block;
}

void *calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    // Never used before, and so zero.
    return malloc(count * size);
}

void *realloc(void *block, size_t size) {
    if (block == NULL) return malloc(size);
    size_t had = *(size_t *)((uintptr_t)block - sizeof(size_t));
    if (size <= had) return block;
    void *larger = malloc(size);
    if (larger != NULL) memcpy(larger, block, had);
    return larger;
}

void free(void *block) { (void)block; }

static void *must_malloc(size_t size) {
    void *block = malloc(size);
    if (block == NULL) abort();
    return block;
}

// The machine has instructions for these two.
void *memmove(void *to, const void *from, size_t size) { return __builtin_memmove(to, from, size); }
void *memset(void *to, int byte, size_t size) { return __builtin_memset(to, byte, size); }
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    return __builtin_memmove(to, from, size);
}

int memcmp(const void *left, const void *right, size_t size) {
    const unsigned char *l = left, *r = right;
    for (size_t i = 0; i < size; i++) {
        if (l[i] != r[i]) return l[i] < r[i] ? -1 : 1;
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t length = 0;
    while (text[length] != 0) length++;
    return length;
}

// --- text -----------------------------------------------------------------

plugin_string_t opg_text(const char *text) { return (plugin_string_t){(uint8_t *)text, strlen(text)}; }

void opg_add(plugin_string_t *text, plugin_string_t more) {
    if (more.len > SIZE_MAX - text->len) abort();
    uint8_t *bytes = must_malloc(text->len + more.len);
    if (text->len > 0) memcpy(bytes, text->ptr, text->len);
    if (more.len > 0) memcpy(bytes + text->len, more.ptr, more.len);
    *text = (plugin_string_t){bytes, text->len + more.len};
}

void opg_log(opg_host_log_level_t level, plugin_string_t line) { opg_host_log_write(level, &line); }

// --- JSON -----------------------------------------------------------------

// What is left to read.
typedef struct {
    const uint8_t *at, *end;
} reader;

static bool is_space(uint8_t byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

static void pass_spaces(reader *json) {
    while (json->at < json->end && is_space(*json->at)) json->at++;
}

static bool next_is(reader *json, uint8_t byte) {
    pass_spaces(json);
    if (json->at == json->end || *json->at != byte) return false;
    json->at++;
    return true;
}

// Passes a string; `inside` is what stands between its quotes.
static bool pass_string(reader *json, plugin_string_t *inside) {
    if (!next_is(json, '"')) return false;
    const uint8_t *from = json->at;
    while (json->at < json->end && *json->at != '"') {
        if (*json->at == '\\') json->at++;
        if (json->at < json->end) json->at++;
    }
    if (json->at == json->end) return false;
    *inside = (plugin_string_t){(uint8_t *)from, (size_t)(json->at - from)};
    json->at++;
    return true;
}

// Passes one value, however deep: brackets are counted, for what is in them needs no reading.
static bool pass_value(reader *json, plugin_string_t *value) {
    plugin_string_t inside;
    size_t depth = 0;
    pass_spaces(json);
    const uint8_t *from = json->at;
    while (json->at < json->end) {
        uint8_t byte = *json->at;
        if (byte == '"') {
            if (!pass_string(json, &inside)) return false;
            continue;
        }
        if (depth == 0 && (byte == ',' || byte == '}' || byte == ']')) break;
        if (byte == '{' || byte == '[') depth++;
        if (byte == '}' || byte == ']') depth--;
        json->at++;
    }
    const uint8_t *to = json->at;
    while (to > from && is_space(to[-1])) to--;
    *value = (plugin_string_t){(uint8_t *)from, (size_t)(to - from)};
    return depth == 0 && to > from;
}

static bool hex4(const uint8_t *at, const uint8_t *end, uint32_t *unit) {
    if (end - at < 4) return false;
    *unit = 0;
    for (size_t i = 0; i < 4; i++) {
        uint8_t c = at[i];
        uint32_t digit;
        if (c >= '0' && c <= '9') digit = c - '0';
        else if (c >= 'a' && c <= 'f') digit = c - 'a' + 10;
        else if (c >= 'A' && c <= 'F') digit = c - 'A' + 10;
        else return false;
        *unit = *unit << 4 | digit;
    }
    return true;
}

static uint8_t *put_utf8(uint8_t *to, uint32_t code) {
    if (code < 0x80) {
        *to++ = (uint8_t)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (uint8_t)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (uint8_t)(0xe0 | code >> 12);
        } else {
            *to++ = (uint8_t)(0xf0 | code >> 18);
            *to++ = (uint8_t)(0x80 | (code >> 12 & 0x3f));
        }
        *to++ = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    }
    *to++ = (uint8_t)(0x80 | (code & 0x3f));
    return to;
}

// What stands between the quotes of a string, its escapes resolved. It never gets longer.
static bool unescape(plugin_string_t inside, plugin_string_t *text) {
    const uint8_t *at = inside.ptr, *end = inside.ptr + inside.len;
    uint8_t *bytes = must_malloc(inside.len), *to = bytes;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        if (end - at < 2) return false;
        uint8_t escape = at[1];
        at += 2;
        switch (escape) {
            case '"': case '\\': case '/': *to++ = escape; break;
            case 'b': *to++ = '\b'; break;
            case 'f': *to++ = '\f'; break;
            case 'n': *to++ = '\n'; break;
            case 'r': *to++ = '\r'; break;
            case 't': *to++ = '\t'; break;
            case 'u': {
                uint32_t code, low;
                if (!hex4(at, end, &code)) return false;
                at += 4;
                if (code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u' &&
                    hex4(at + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
                // Half of a pair is no character.
                if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
                to = put_utf8(to, code);
                break;
            }
            default: return false;
        }
    }
    *text = (plugin_string_t){bytes, (size_t)(to - bytes)};
    return true;
}

bool opg_get(plugin_string_t json, const char *key, plugin_string_t *value) {
    reader object = {json.ptr, json.ptr + json.len};
    size_t length = strlen(key);
    if (!next_is(&object, '{')) return false;
    do {
        plugin_string_t inside, name;
        if (!pass_string(&object, &inside) || !unescape(inside, &name) || !next_is(&object, ':')) return false;
        if (!pass_value(&object, value)) return false;
        if (name.len == length && memcmp(name.ptr, key, length) == 0) return true;
    } while (next_is(&object, ','));
    return false;
}

bool opg_get_text(plugin_string_t json, const char *key, plugin_string_t *text) {
    plugin_string_t value, inside;
    if (!opg_get(json, key, &value)) return false;
    reader string = {value.ptr, value.ptr + value.len};
    return pass_string(&string, &inside) && string.at == string.end && unescape(inside, text);
}

plugin_string_t opg_json(plugin_string_t text) {
    static const char HEX[] = "0123456789abcdef";
    // The longest escape of a byte has six.
    if (text.len > (SIZE_MAX - 2) / 6) abort();
    uint8_t *bytes = must_malloc(text.len * 6 + 2), *to = bytes;
    *to++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        uint8_t byte = text.ptr[i];
        if (byte == '"' || byte == '\\') {
            *to++ = '\\';
            *to++ = byte;
        } else if (byte < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = (uint8_t)HEX[byte >> 4];
            to[5] = (uint8_t)HEX[byte & 15];
            to += 6;
        } else {
            *to++ = byte;
        }
    }
    *to++ = '"';
    return (plugin_string_t){bytes, (size_t)(to - bytes)};
}
