// JSON (RFC 8259) as tokens need it, over jansson: an object with a duplicate member is refused, so that two readers
// can never disagree about what a token says.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <jansson.h>

#include "absl/status/statusor.h"

namespace postern::token {

struct JsonFree {
  void operator()(json_t* json) const { json_decref(json); }
};
using JsonPtr = std::unique_ptr<json_t, JsonFree>;

// Parses one JSON object that fills `text`. INVALID_ARGUMENT/JSON_MALFORMED, without quoting the text.
absl::StatusOr<JsonPtr> ParseJsonObject(std::string_view text);

// Compact, members in the order of insertion. Takes what JsonPtr holds as it is; never fails for values that
// ParseJsonObject or jansson's own constructors made.
std::string DumpJson(const json_t* json);

// A JSON string of `text`; null (then an absent member) if `text` is not UTF-8.
json_t* NewJsonString(std::string_view text);
json_t* NewJsonStrings(const std::vector<std::string>& texts);

// Members of an object. nullopt: absent or of another type.
std::optional<std::string> StringMember(const json_t* object, const char* name);
// A NumericDate (RFC 7519 section 2); fractions are cut off. nullopt also outside of ±2^53.
std::optional<int64_t> NumericDateMember(const json_t* object, const char* name);
// An array of strings. nullopt also if one element is something else.
std::optional<std::vector<std::string>> StringsMember(const json_t* object, const char* name);
// An array of strings, or a single one.
std::optional<std::vector<std::string>> StringOrStringsMember(const json_t* object, const char* name);

}  // namespace postern::token
